// One view alone, for pcv.show: its frame comes with the model's first answer.
function renderSingle(hub, el) {
  const stage = STAGES.find((each) => each.name === hub.model.get("_view"));
  const root = document.createElement("div");
  root.className = "pcv pcv-single";
  root.dataset.pcv = "single";
  const body = document.createElement("div");
  body.className = "pcv-stage-body";
  root.append(body);
  el.append(root);
  keepKeys(root);
  const draw = () => {
    const scene = hub.frames?.get(stage.name);
    root.dataset.theme = hub.store.get().theme;
    if (!scene || !body.clientWidth || !body.clientHeight) return;
    stage.draw(body, scene, hub.store);
    guardShortcuts(body);
    root.dataset.drawn = "true";
  };
  const themed = () => hub.store.set({ theme: pageTheme() });
  const theme = new MutationObserver(themed);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  const sized = new ResizeObserver(draw);
  sized.observe(body);
  const undo = [hub.store.subscribe(draw), () => theme.disconnect(), () => sized.disconnect(), () => hub.views.delete(draw), () => root.remove()];
  hub.views.add(draw);
  themed();
  draw();
  return () => undo.forEach((each) => each());
}
