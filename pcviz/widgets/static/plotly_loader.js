// plotly.min.js comes from Python's plotly package, once per page: its promise lives on the window, so that further explorers share it.

let plotlyRequest = () => {
  throw new Error("no explorer is connected");
};

function loadPlotly() {
  if (window.pcvizPlotly) return window.pcvizPlotly.promise;
  const entry = { asked: performance.now() };
  entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
  window.pcvizPlotly = entry;
  try {
    plotlyRequest();
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
