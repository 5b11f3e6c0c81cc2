// plotly.min.js comes from Python's plotly package, once per page: its promise lives on the window, so that further explorers share it.

const plotlySources = []; // a function for each explorer that is connected: the last one is asked

function addPlotlySource(ask) {
  plotlySources.push(ask);
}

// Who waits for an explorer that closes is served by another one.
function removePlotlySource(ask) {
  plotlySources.splice(plotlySources.indexOf(ask), 1);
  const entry = window.pcvizPlotly;
  if (!entry || entry.done || entry.source !== ask) return;
  if (plotlySources.length) askForPlotly(entry);
  else abandonPlotly(new Error("the explorer was closed"));
}

function askForPlotly(entry) {
  entry.source = plotlySources[plotlySources.length - 1];
  if (!entry.source) throw new Error("no explorer is connected");
  entry.source();
}

function loadPlotly() {
  if (window.pcvizPlotly) return window.pcvizPlotly.promise;
  const entry = { asked: performance.now() };
  entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
  window.pcvizPlotly = entry;
  try {
    askForPlotly(entry);
  } catch (error) {
    abandonPlotly(error);
  }
  return entry.promise;
}

function receivePlotly(bytes) {
  const entry = window.pcvizPlotly;
  if (!entry || entry.done) return;
  const module = { exports: {} };
  const before = window.Plotly;
  try {
    new Function("module", "exports", "define", new TextDecoder().decode(bytes))(module, module.exports, undefined);
    entry.done = true;
    entry.resolve(module.exports.newPlot ? module.exports : window.Plotly);
  } catch (error) {
    abandonPlotly(error);
  } finally {
    if (before === undefined) delete window.Plotly;
    else window.Plotly = before;
  }
}

// An explorer that closes while it waits for plotly must not leave the next one waiting.
function abandonPlotly(error) {
  const entry = window.pcvizPlotly;
  if (!entry || entry.done) return;
  delete window.pcvizPlotly;
  entry.promise.catch(() => {});
  entry.reject(error);
}
