// The explorer's frame: top bar, headline, stages and status line. Views draw into the stages; the kernel fills the hub.

const LEAST_HEIGHT = { wide: 560, narrow: 640, presenter: 800 }; // pixels in which every stage shows all it has
const ONE_MOVE_MS = 600; // between two of the tolerance, which are then one
const LEFT_MS = 1500; // after which an output that is gone is hardly one that is being moved
const hubs = new WeakMap();
const shown = (window.pcvShown ??= new Map()); // key of an explorer -> in how many places of the page
let rootCount = 0;

class Shell {
  constructor(hub, el) {
    this.hub = hub;
    this.store = hub.store;
    this.base = null; // block size before the present move, which the headline compares with,
    this.baseTolerance = null; // or the tolerance before, if that has moved since
    this.committed = null;
    this.chosen = ["blocks", "cost", "dag", "training", "kernel", "memory", "tiles", "table", "compare"]; // most recently chosen stages first
    this.undo = [];
    this.root = document.createElement("div");
    this.root.className = "pcv";
    this.root.id = `pcv-${Date.now().toString(36)}-${++rootCount}`;
    this.root.dataset.pcv = "root";
    this.root.innerHTML = SHELL_HTML;
    el.append(this.root);
    this.part = Object.fromEntries([...this.root.querySelectorAll("[data-pcv]")].map((node) => [node.dataset.pcv, node]));
    this.slider = new Slider(this.root.querySelector(".pcv-slider"), {
      onInput: (size) => this.move(size),
      onCommit: (size) => this.commit(size),
    });
    this.buildStages();
    this.wireControls();
    this.wirePage();
    hub.views.add((this.listener = (what, detail) => this.hear(what, detail)));
    this.undo.push(() => hub.views.delete(this.listener));
    this.undo.push(this.store.subscribe((state, changed, options) => this.stateChanged(state, changed, options)));
    this.showStatus();
    this.showSession();
    this.showRun();
    this.share = new Share(this);
    this.teaching = new Teaching(this);
    if (hub.frames) this.generation();
    guardShortcuts(this.root);
    keepKeys(this.root);
    this.undo.push(leaveKeys(this.root));
  }

  buildStages() {
    const list = this.root.querySelector(".pcv-tablist");
    const host = this.root.querySelector(".pcv-stages");
    this.stages = STAGES.map((stage) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.className = "pcv-tab";
      tab.dataset.pcv = `tab-${stage.name}`;
      tab.textContent = stage.title;
      tab.addEventListener("click", () => this.choose(stage.name));
      list.append(tab);
      const section = document.createElement("section");
      section.className = "pcv-stage";
      section.dataset.pcv = `stage-${stage.name}`;
      section.setAttribute("aria-label", stage.title);
      section.hidden = true;
      const body = document.createElement("div");
      body.className = "pcv-stage-body";
      const mark = document.createElement("div");
      mark.className = "pcv-compiling";
      mark.dataset.pcv = `compiling-${stage.name}`;
      mark.hidden = true;
      section.append(body, mark);
      host.append(section);
      return { ...stage, tab, section, body, mark, drawn: null };
    });
    const resized = new ResizeObserver((entries) => {
      for (const entry of entries) {
        const stage = this.stages.find((each) => each.body === entry.target);
        if (entry.contentRect.width > 0 && entry.contentRect.height > 0) this.drawStage(stage, "size");
      }
    });
    this.stages.forEach((stage) => resized.observe(stage.body));
    this.undo.push(() => resized.disconnect());
  }

  wireControls() {
    const { part, hub } = this;
    part.circuit.addEventListener("change", () => hub.send({ kind: "set", name: "circuit", value: part.circuit.value }));
    for (const field of [part["batch-size"], part.tolerance, part.device]) {
      const submit = () => {
        if (field.value === field.dataset.sent) return;
        field.dataset.sent = field.value;
        hub.send({ kind: "set", name: field.dataset.name, value: field.value });
      };
      field.addEventListener("change", submit);
      field.addEventListener("keydown", (event) => event.key === "Enter" && submit()); // JupyterLab keeps Enter from causing "change"
    }
    const act = (name, message) => part[name].addEventListener("click", () => hub.send(message()));
    const acted = (event) => isAct(event) && hub.notices.acted();
    for (const type of ["pointerdown", "keydown"]) this.root.addEventListener(type, acted, true); // before what the act itself has to say
    act("train", () => ({ kind: { training: "pause", paused: "resume" }[this.trains() ? hub.run.state : "idle"] || "train" }));
    act("stop", () => ({ kind: "stop" }));
    act("measure", () => ({ kind: "measure", force: true }));
    act("use-for-training", () => ({ kind: "use_for_training" }));
    act("cancel", () => ({ kind: "cancel" }));
    part["auto-measure"].addEventListener("change", () => hub.send({ kind: "set", name: "auto_measure", value: part["auto-measure"].checked }));
    part.presenter.addEventListener("click", () => this.store.set({ presenter: !this.store.get().presenter }));
    part["full-screen"].addEventListener("click", () => this.toggleFullScreen());
    part.settings.addEventListener("click", () => {
      const open = this.root.classList.toggle("pcv-settings-open");
      part.settings.setAttribute("aria-expanded", String(open));
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.root.classList.contains("pcv-settings-open")) part.settings.click();
    });
  }

  wirePage() {
    const scroll = new KeepScroll();
    const themed = () => this.store.set({ theme: pageTheme() });
    const themeObserver = new MutationObserver((records) => {
      scroll.hear(records);
      themed();
    });
    themeObserver.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"], childList: true });
    const preference = window.matchMedia("(prefers-color-scheme: dark)");
    preference.addEventListener("change", themed);
    this.undo.push(() => themeObserver.disconnect(), () => preference.removeEventListener("change", themed));
    themed();
    this.root.dataset.theme = this.store.get().theme;

    let host = null;
    const fit = () => {
      if (!this.root.isConnected) return;
      const found = this.root.closest(".jp-WindowedPanel-outer, .jp-Notebook, .jp-LinkedOutputView");
      if (found !== host) {
        if (host) sized.unobserve(host);
        host = found;
        if (host) sized.observe(host);
        scroll.watch(host);
      }
      this.fit(host);
      scroll.restore();
    };
    const sized = new ResizeObserver(fit);
    sized.observe(this.root);
    window.addEventListener("resize", fit);
    const fullScreen = () => fit();
    document.addEventListener("fullscreenchange", fullScreen);
    this.undo.push(() => sized.disconnect(), () => scroll.watch(null), () => window.removeEventListener("resize", fit), () => document.removeEventListener("fullscreenchange", fullScreen));
  }

  // Height: what the notebook shows, so that nothing scrolls inside; where that is too little (zoom of 150%), the notebook scrolls. Stages: one under 900 px, two up to 1600, then three.
  fit(host) {
    const full = document.fullscreenElement === this.root;
    const width = this.root.clientWidth;
    if (!width) return;
    const { presenter } = this.store.get(), scale = presenter ? 1.4 : 1; // of the text
    const visible = full ? window.innerHeight : (host ? host.clientHeight : window.innerHeight) - 28;
    const least = LEAST_HEIGHT[width >= 700 ? "wide" : presenter ? "presenter" : "narrow"];
    this.root.style.height = `${Math.max(least, Math.round(visible))}px`;
    const is = { wide: width >= 1480 && !presenter, compact: width < 1100 || presenter, tight: width < (presenter ? 1000 : 700), narrow: width < 700, tiny: width < 560 * scale };
    for (const [name, so] of Object.entries(is)) this.root.classList.toggle(`pcv-${name}`, so);
    this.fitCircuit();
    const count = width < 900 * scale ? 1 : width <= 1600 * scale ? 2 : 3;
    if (count !== this.visibleCount) {
      this.visibleCount = count;
      this.arrange();
    }
  }

  fitCircuit() {
    const { circuit } = this.part;
    if (circuit.pvTexts) pv_fit_options(circuit, circuit.pvTexts);
  }

  choose(name) {
    const shown = this.chosen.slice(0, this.visibleCount);
    if (shown.includes(name)) this.chosen = [name, ...this.chosen.filter((each) => each !== name)]; // the next choice takes the place of the other stage
    else this.showStages([name]);
  }

  showStages(names) {
    const known = names.filter((name) => this.stages.some((stage) => stage.name === name));
    this.chosen = [...known, ...this.chosen.filter((each) => !known.includes(each))];
    this.arrange();
    this.share?.later();
  }

  arrange() {
    const shown = this.chosen.slice(0, this.visibleCount || 1);
    for (const stage of this.stages) {
      const visible = shown.includes(stage.name);
      stage.section.hidden = !visible;
      stage.tab.setAttribute("aria-pressed", String(visible));
    }
    this.drawAll("shown"); // after all of them have their size
  }

  toggleFullScreen() {
    if (document.fullscreenElement === this.root) document.exitFullscreen();
    else this.root.requestFullscreen().catch((error) => this.hub.fail(error));
  }

  hear(what, detail) {
    if (what === "status") this.showStatus();
    else if (what === "session") this.showSession(), this.teaching.show();
    else if (what === "run") this.showRun();
    else if (what === "steps") this.stepsArrived();
    else if (what === "gone") this.drawAll("shown");
    else if (what === "generation") this.generation();
    else if (what === "frame") this.frameArrived(detail);
  }

  // As they come; with reduced motion once a second.
  stepsArrived() {
    if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) return this.drawNamed("training");
    this.calm ??= setTimeout(() => {
      this.calm = null;
      this.drawNamed("training");
    }, 1000);
  }

  generation() {
    const { blockSize, tolerance } = this.store.get();
    this.committed = blockSize;
    Object.assign(this, { tolerance, baseTolerance: null });
    if (!this.hub.frames.session.sizes.includes(this.base)) this.base = null;
    this.showSession();
    this.showHeadline();
    this.share.generation();
    this.teaching.show();
    this.drawAll("frame");
    this.showReady();
    if (!this.hub.painted) {
      this.hub.painted = true;
      requestAnimationFrame(() => setTimeout(() => this.hub.send({ kind: "painted" })));
    }
    if (this.hub.frames.session.focus && !this.focused) this.takeFocus();
  }

  frameArrived({ view, size, layer, tolerance = null }) {
    const state = this.store.get();
    const matches = (size === null || size === state.blockSize) && (layer === null || layer === state.layer) && (tolerance === null || tolerance === state.tolerance);
    this.showReady();
    if (!matches) return;
    if (view === "headline") this.showHeadline(), this.teaching.show();
    else this.drawNamed(view);
  }

  // A move between ready sizes ends here: no message, no waiting.
  move(size) {
    if (this.base === null || this.moveDone) {
      this.base = this.committed;
      this.moveDone = false;
    }
    this.store.set({ blockSize: size, before: this.base === size ? null : this.base });
  }

  // Moves that follow at once are one.
  moveTolerance(tolerance) {
    const now = performance.now();
    if (this.baseTolerance === null || now - this.tolerated > ONE_MOVE_MS) this.baseTolerance = this.tolerance;
    Object.assign(this, { tolerance, tolerated: now });
  }

  commit(size) {
    this.moveDone = true;
    if (size === this.committed) return;
    this.committed = size;
    this.store.set({}, { commit: true });
    if (this.hub.frames?.session.auto_measure) this.hub.send({ kind: "commit" });
    this.explainMove();
  }

  stateChanged(state, changed, options) {
    if (changed.includes("presenter")) {
      this.root.classList.toggle("pcv-presenter-size", state.presenter);
      this.part.presenter.setAttribute("aria-pressed", String(state.presenter));
      this.fit(this.root.closest(".jp-WindowedPanel-outer, .jp-Notebook, .jp-LinkedOutputView"));
    }
    if (changed.includes("theme")) this.root.dataset.theme = state.theme;
    if (options.quiet) return;
    if (changed.includes("tolerance")) this.moveTolerance(state.tolerance);
    if (changed.includes("blockSize")) {
      this.baseTolerance = null;
      this.slider.setSize(state.blockSize);
      this.showUse();
    }
    if (["blockSize", "tolerance", "phase"].some((key) => changed.includes(key))) this.showHeadline();
    if (changed.includes("tolerance")) {
      this.showReady();
      setField(this.part.tolerance, state.tolerance);
    }
    if (changed.length) this.drawAll(changed.join());
    if (changed.includes("layer")) {
      this.showReady();
      this.hub.send({ kind: "want" });
    }
  }

  drawAll(reason) {
    const shown = this.stages.filter((stage) => !stage.section.hidden);
    // All sizes first: asking for one after a stage has drawn would lay the page out once more for each stage.
    for (const { body } of shown) body._pcvSize = [body.clientWidth, body.clientHeight];
    for (const stage of shown) this.drawStage(stage, reason);
    for (const { body } of shown) body._pcvSize = null;
    if (this.hub.frames) this.root.dataset.blockSize = this.store.get().blockSize;
  }

  // JupyterLab hides the page for a moment when the theme changes, and the size is the old one when it comes back.
  drawLater() {
    if (this.later || (this.retries = (this.retries ?? 0) + 1) > 20) return;
    this.later = setTimeout(() => {
      this.later = null;
      this.drawAll("shown");
    }, 100);
  }

  drawNamed(name) {
    const stage = this.stages.find((each) => each.name === name);
    if (stage && !stage.section.hidden) this.drawStage(stage, "frame");
  }

  drawStage(stage, reason) {
    const frames = this.hub.frames;
    if (!frames || stage.section.hidden) return;
    if (!pv_size(stage.body).every(Boolean)) return this.drawLater();
    this.retries = 0;
    const state = this.store.get();
    const found = frames.get(stage.name, state.blockSize, state.layer);
    const scene = found && stage.name === "training" ? { ...extendTraining(found, this.hub.steps), learned: this.hub.learned } : found;
    const waiting = scene === null && frames.session.views.includes(stage.name);
    stage.mark.hidden = !waiting;
    stage.mark.textContent = waiting ? frames.session.missing ?? `compiling block size ${state.blockSize} …` : "";
    stage.section.classList.toggle("pcv-stale", waiting);
    stage.section.dataset.waiting = String(waiting);
    if (waiting) {
      if (reason !== "size") this.ask(state);
      if (!stage.drawn) return;
    }
    stage.drawn = scene ?? stage.drawn;
    if (!stage.drawn) return this.showAbsent(stage, frames.session);
    try {
      if (stage.absent) stage.body.replaceChildren();
      stage.absent = false;
      stage.draw(stage.body, stage.drawn, this.store);
      if (!waiting) Object.assign(stage.section.dataset, { blockSize: state.blockSize, layer: state.layer, tolerance: state.tolerance });
    } catch (error) {
      this.hub.fail(new Error(`The ${stage.title} view could not be drawn: ${error.message}`, { cause: error }));
    }
    this.tellWaiting();
    guardShortcuts(stage.body);
  }

  showAbsent(stage, session) {
    stage.absent = true;
    const note = document.createElement("p");
    note.className = "pcv-absent";
    note.textContent = (session.absent || {})[stage.name] || `${stage.title} has nothing to show for this circuit.`;
    stage.body.replaceChildren(note);
  }

  ask(state) {
    const wish = `${state.blockSize}|${state.layer}|${state.tolerance}|${this.hub.frames.session.gen}`;
    if (wish === this.wish) return;
    this.wish = wish;
    this.hub.send({ kind: "want" });
  }

  showReady() {
    const { frames } = this.hub;
    if (!frames) return;
    const { layer } = this.store.get();
    this.slider.setReady((size) => frames.has(["headline", "blocks"], size, layer));
    this.root.dataset.ready = frames.session.sizes.filter((size) => frames.has(frames.session.views, size, layer)).join(" ");
  }

  showSession() {
    const latest = this.hub.pending ?? this.hub.frames;
    if (!latest) return;
    const { part } = this;
    const { session } = latest;
    const active = this.hub.frames?.session ?? session;
    fillSelect(part.circuit, session.circuits, session.circuit);
    fillSelect(part.device, session.devices, session.device);
    setField(part["batch-size"], session.batch_size, session.invalid);
    setField(part.tolerance, this.hub.pending ? session.padding_tolerance : this.store.get().tolerance, session.invalid);
    part["auto-measure"].checked = Boolean(session.auto_measure);
    for (const [name, why] of Object.entries(session.disabled || {})) Object.assign(part[name], { disabled: true, title: why });
    this.slider.setSizes(active.sizes);
    this.slider.setSize(this.store.get().blockSize);
    if (this.explained?.gen !== active.gen) this.explained = null; // of another circuit or setting
    part.hint.textContent = this.explained?.text ?? active.hint ?? "";
    part.hint.dataset.explained = String(Boolean(this.explained));
    this.showRun();
  }

  showRun() {
    const { part, hub } = this;
    const session = (hub.pending ?? hub.frames)?.session ?? {};
    const { state } = hub.run;
    this.root.dataset.run = state;
    const able = Boolean(session.can_train);
    part.train.textContent = { training: "Pause", paused: "Resume" }[this.trains() ? state : "idle"] || "Train";
    part.train.disabled = !able || state === "preparing";
    part.train.title = able ? "" : session.why_not || "The engine is not ready yet";
    part.stop.disabled = !(state === "training" || state === "paused");
    part.measure.disabled = part["auto-measure"].disabled = !session.can_measure;
    part["auto-measure"].title = session.can_measure ? "" : session.why_not || "The engine is not ready yet";
    part.measure.textContent = hub.run.measuring ? "Measuring …" : session.measure_label || "Measure";
    part.measure.title = session.can_measure ? "Check the result, then time the forward pass on this machine" : session.why_not || "The engine is not ready yet";
    this.showUse();
  }

  // Whether the run is one of the circuit that is shown.
  trains() {
    const { run, pending, frames } = this.hub, circuit = (pending ?? frames)?.session.circuit;
    return (run.state === "training" || run.state === "paused") && run.circuit === circuit;
  }

  showUse() {
    const { run } = this.hub;
    const { blockSize } = this.store.get();
    const running = this.trains();
    const button = this.part["use-for-training"];
    button.hidden = !(running && !run.comparing && run.block_size !== blockSize);
    const word = document.createElement("span"); // left out where the tabs leave little room
    word.textContent = "block size ";
    button.replaceChildren("Trains at ", word, `${run.block_size}. Use ${blockSize}`);
  }

  showHeadline() {
    const { frames } = this.hub;
    if (!frames) return;
    const state = this.store.get();
    const now = frames.get("headline", state.blockSize);
    const { base, baseTolerance: tolerance } = this, moved = tolerance === null ? base !== null && base !== state.blockSize : tolerance !== state.tolerance;
    const before = !moved ? null : tolerance === null ? frames.get("headline", base) : frames.get("headline", state.blockSize, null, tolerance);
    drawHeadline(this.part.headline, now, before, tolerance === null ? base : `tolerance ${tolerance}`, state);
  }

  // After the first drag to the last size, one sentence says why.
  explainMove() {
    const { frames } = this.hub;
    if (!frames || !frames.session.hint) return;
    const state = this.store.get();
    const text = explain(frames.get("headline", this.base), frames.get("headline", state.blockSize), state.phase);
    if (!text) return;
    this.explained = { text, gen: frames.session.gen };
    this.part.hint.textContent = text;
    this.part.hint.dataset.explained = "true";
  }

  showStatus() {
    const { text, level, quiet, progress, cancel } = this.hub.notices.shown;
    const { part } = this;
    part.status.setAttribute("aria-live", quiet ? "off" : "polite");
    if (part.status.textContent !== text) part.status.textContent = part.status.title = text;
    part["status-line"].dataset.level = level;
    part.progress.hidden = progress === null;
    if (!part.progress.hidden) part.progress.value = progress;
    part.cancel.hidden = !cancel;
    this.tellWaiting();
  }

  // What is on its way waits for what the kernel is at: a note says so.
  tellWaiting() {
    for (const note of this.root.querySelectorAll("[data-waits]")) pv_waits(note, note.dataset.waits, this.hub.notices.work);
  }

  takeFocus() {
    this.focused = true;
    const active = document.activeElement;
    if (active && active.closest(".cm-content, input, textarea, select") && !this.root.contains(active)) return;
    this.root.scrollIntoView({ block: "nearest" });
    this.slider.element.focus({ preventScroll: true });
  }

  dispose() {
    this.slider.dispose();
    clearTimeout(this.later);
    clearTimeout(this.calm);
    this.undo.forEach((undo) => undo());
    for (const stage of this.stages) {
      const charts = stage.body.querySelectorAll(".js-plotly-plot");
      if (charts.length) loadPlotly().then((Plotly) => charts.forEach((chart) => Plotly.purge(chart)), () => {});
    }
    this.root.remove();
  }
}

function render({ model, el }) {
  let hub = hubs.get(model);
  if (!hub) {
    hub = new Hub(model);
    hubs.set(model, hub);
    const ask = () => hub.send({ kind: "plotly" });
    addPlotlySource(ask);
    hub.send({ kind: "ready" });
    model.on("comm:close", () => {
      hub.close();
      removePlotlySource(ask);
    });
  }
  if (model.get("_view")) return renderSingle(hub, el);
  const shell = new Shell(hub, el);
  const key = model.get("_key"); // a model is another object in each of its views
  shown.set(key, (shown.get(key) ?? 0) + 1);
  return () => {
    shown.set(key, shown.get(key) - 1);
    setTimeout(() => rest(hub, key), LEFT_MS);
    shell.dispose();
  };
}

// An explorer that is shown nowhere any more, as after its cell was run again: nobody sees it train, and nobody could stop it.
function rest(hub, key) {
  if (shown.get(key) === 0 && hub.run.state === "training") hub.send({ kind: "pause" });
}
