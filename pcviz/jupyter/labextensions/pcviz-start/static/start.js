// Runs start.ipynb when it is opened, only while its source is the shipped one (pcviz.lab.fingerprint computes the same hash).
(() => {
  const SHIPPED = '1b9caa17e542b54d84e9846a148dcb79d474b20978ac42b97e643d4273dae95c';
  const hash = async text => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))),
    byte => byte.toString(16).padStart(2, '0')).join('');
  const join = source => (Array.isArray(source) ? source.join('') : source);
  const seen = new WeakSet();

  const run = async app => {
    const panel = app.shell.currentWidget;
    if (panel?.context?.path !== 'start.ipynb' || !panel.sessionContext || seen.has(panel)) return;
    seen.add(panel);
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session?.kernel?.info;
    const cells = panel.context.model.toJSON().cells.map(cell => [cell.cell_type, join(cell.source)]);
    if (await hash(JSON.stringify(cells)) === SHIPPED) await app.commands.execute('notebook:run-all-cells');
  };
  const plugin = {
    id: 'pcviz-start:run',
    autoStart: true,
    activate: app => {
      app.restored.then(() => { app.shell.currentChanged.connect(() => run(app)); return run(app); });
    },
  };
  // A hand-written module-federation container: all that JupyterLab asks of a prebuilt extension.
  const module = { __esModule: true, default: plugin };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['pcviz-start'] = { init: () => {}, get: async () => () => module };
})();
