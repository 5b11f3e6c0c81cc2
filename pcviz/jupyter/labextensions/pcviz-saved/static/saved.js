// In a notebook that is opened again the widgets of before are gone, and JupyterLab says so in their place, even where the output
// brings a table along: the renderer of widgets wins over that of HTML. Here the table takes the place of the message. The message
// can also be wrong: a page that is loaded again looks two seconds for its widgets, and can miss what a busy kernel sends just then.
(() => {
  const GONE = 'Error displaying widget: model not found';
  const WIDGET = 'application/vnd.jupyter.widget-view+json';

  const MOST_LOOKS = 5; // more, of two seconds each, for a widget that its kernel has
  const looks = new Map();

  const isThere = async (id, kernel) => {
    const reply = await kernel?.requestCommInfo({ target_name: 'jupyter.widget' });
    return id in (reply?.content.comms ?? {});
  };
  const replaceMessage = async (area, index, panel) => {
    const output = area.model.get(index);
    const message = [...area.widgets[index].node.querySelectorAll('.jupyter-widgets')].find(node => node.textContent === GONE);
    if (!message || !output?.data[WIDGET] || !output.data['text/html']) return;
    message.textContent = '';
    const table = panel.content.rendermime.createRenderer('text/html'); // JupyterLab's own: cleaned where the notebook is not trusted
    await table.renderModel(output);
    message.replaceChildren(table.node);
    const id = output.data[WIDGET].model_id;
    const before = looks.get(id) ?? 0;
    if (before === MOST_LOOKS || !(await isThere(id, panel.sessionContext.session?.kernel))) return;
    looks.set(id, before + 1);
    if (area.model.get(index) === output) area.model.set(index, output.toJSON()); // JupyterLab renders it anew
  };
  const look = panel => {
    for (const { outputArea } of panel.content.widgets) {
      outputArea?.widgets.forEach((_, index) => replaceMessage(outputArea, index, panel));
    }
  };
  const watched = new WeakSet();
  const watch = panel => {
    if (!panel?.content?.rendermime || !panel.sessionContext || watched.has(panel)) return; // no notebook, or one that is watched
    watched.add(panel);
    const says = node => node.data === GONE || node.matches?.('.jp-Cell, .jp-OutputArea-child, .jp-OutputArea-output');
    const observer = new MutationObserver(changes => changes.some(change => [...change.addedNodes].some(says)) && look(panel));
    observer.observe(panel.content.node, { childList: true, subtree: true });
    panel.disposed.connect(() => observer.disconnect());
    look(panel);
  };
  const plugin = {
    id: 'pcviz-saved:table',
    autoStart: true,
    activate: app => {
      app.restored.then(() => { app.shell.currentChanged.connect(() => watch(app.shell.currentWidget)); watch(app.shell.currentWidget); });
    },
  };
  const module = { __esModule: true, default: plugin };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['pcviz-saved'] = { init: () => {}, get: async () => () => module };
})();
