// The menu of scenes and sharing, the history behind undo, and the state of the explorer as JSON and as code.

const SETTLE_MS = 700; // a change that stays this long is a step of the history, and the kernel hears of it
const DEFAULTS = { batch_size: 512, padding_tolerance: 0.25, device: "H100-SXM", phase: "forward", presenter: false, node_range: null, launch: null, compare: null };
const KERNEL_KEYS = (session) => ["circuit", "scene", ...Object.keys(session.settings || {})];

class Share {
  constructor(shell) {
    this.shell = shell;
    this.hub = shell.hub;
    this.past = [];
    this.at = -1;
    this.build();
    const unsubscribe = this.hub.store.subscribe((_state, changed) => changed.length && this.later());
    const leaving = () => this.note(); // a page that is loaded again opens where the kernel was told
    window.addEventListener("pagehide", leaving);
    shell.undo.push(unsubscribe, () => clearTimeout(this.timer), () => window.removeEventListener("pagehide", leaving));
    shell.root.addEventListener("keydown", (event) => this.key(event));
  }

  build() {
    const { root, part } = this.shell;
    this.panel = part["share-panel"];
    this.list = pv_el("div", "pcv-share-scenes");
    this.shown = pv_el("textarea", "pcv-share-text");
    Object.assign(this.shown, { readOnly: true, rows: 4, hidden: true });
    this.shown.setAttribute("aria-label", "What was copied");
    this.shown.dataset.pcv = "copied";
    const row = pv_el("div", "pcv-share-row"), files = pv_el("div", "pcv-share-row");
    const button = (name, text, act) => {
      const node = pv_button(text, act);
      node.dataset.pcv = name;
      return node;
    };
    this.back = button("undo", "Undo", () => this.go(-1));
    this.forth = button("redo", "Redo", () => this.go(1));
    this.back.title = "Ctrl+Z";
    this.forth.title = "Ctrl+Shift+Z";
    this.save = button("save-page", "page", () => (this.note(), this.hub.send({ kind: "save_page" }))); // of what is shown now
    this.save.title = "One HTML file that opens without a kernel and without a network";
    row.append(this.back, this.forth, button("copy-code", "Copy as code", () => this.copy(stateAsCode(this.state(), this.session()))), button("copy-state", "Copy state", () => this.copy(JSON.stringify(this.state()))));
    const save = ([kind, title]) => Object.assign(button(`save-${kind}`, kind.toUpperCase(), () => saveShown(this.shell, kind).catch((error) => this.hub.fail(error))), { title });
    files.append(pv_el("span", "pcv-share-head", "Save as"), this.save, ...[["png", "Picture of what is shown"], ["svg", "Picture of what is shown, for a browser"], ["csv", "Tables of what is shown"]].map(save));
    this.head = pv_el("div", "pcv-share-head", "Scenes, keys 1 to 9");
    this.panel.append(this.head, this.list, pv_el("div", "pcv-share-head", "This view"), row, files, this.shown);
    part.share.addEventListener("click", () => this.toggle(this.panel.hidden));
    this.panel.addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
    root.addEventListener("pointerdown", (event) => {
      if (!this.panel.hidden && !event.target.closest("[data-pcv=share-panel], [data-pcv=share]")) this.toggle(false, false);
    });
  }

  toggle(open, focus = true) {
    const { part } = this.shell;
    this.panel.hidden = !open;
    part.share.setAttribute("aria-expanded", String(open));
    if (open) this.show();
    if (focus) (open ? this.panel.querySelector("button:not(:disabled)") : part.share).focus();
  }

  session() {
    return (this.hub.frames ?? this.hub.pending)?.session ?? {};
  }

  show() {
    const { scenes = [], scene, can_save: canSave } = this.session();
    this.back.disabled = this.at <= 0;
    this.forth.disabled = this.at >= this.past.length - 1;
    this.head.hidden = !scenes.length;
    this.save.hidden = !canSave;
    const key = JSON.stringify([scenes, scene?.name]);
    if (key === this.listed) return;
    this.listed = key;
    this.list.replaceChildren(
      ...scenes.map(({ name, title }, i) => {
        const item = pv_button("", () => this.open(i));
        item.dataset.pcv = `scene-${i + 1}`;
        item.setAttribute("aria-pressed", String(name === scene?.name));
        item.append(pv_el("kbd", "", i < 9 ? String(i + 1) : ""), pv_el("b", "", name), pv_el("span", "pcv-share-title", title));
        return item;
      }),
    );
  }

  open(index) {
    const chosen = (this.session().scenes || [])[index];
    if (!chosen) return;
    this.toggle(false, false);
    this.hub.notices.take({ role: "going", of: "page", text: `Opening the scene “${chosen.name}” …` }); // its circuit is built first
    this.hub.send({ kind: "scene", name: chosen.name, presenter: this.hub.store.get().presenter });
  }

  key(event) {
    if (event.target.closest("textarea, select, input:not([type=range]):not([type=checkbox])")) return;
    const control = event.ctrlKey || event.metaKey;
    if (!control && !event.altKey && /^[1-9]$/.test(event.key)) this.open(Number(event.key) - 1);
    else if (control && event.key.toLowerCase() === "z") this.go(event.shiftKey ? 1 : -1);
    else if (control && event.key.toLowerCase() === "y") this.go(1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  state() {
    const { blockSize, layer, tolerance, phase, nodeRange, presenter, compare } = this.hub.store.get(), session = this.session();
    const { shell } = this, chosen = pv_launch(this.hub.store.get());
    const stages = shell.chosen.slice(0, shell.visibleCount || 1);
    return {
      version: 1, circuit: session.circuit, scene: session.scene?.name ?? null, block_size: blockSize, layer, ...session.settings, padding_tolerance: tolerance,
      phase, node_range: nodeRange, stages, presenter, compare, launch: chosen && { phase: chosen.phase, group: chosen.group },
    };
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.note(), SETTLE_MS);
  }

  // The state becomes a step of the history, unless it is the one that stands there.
  note() {
    clearTimeout(this.timer);
    if (!this.hub.frames || this.shell.slider.dragging) return;
    const text = JSON.stringify(this.state());
    if (text === this.past[this.at]) return;
    const first = this.at < 0;
    this.past = [...this.past.slice(0, this.at + 1), text].slice(-100);
    this.at = this.past.length - 1;
    this.show();
    if (!first) this.tell();
  }

  tell() {
    const { phase, node_range, stages, presenter, compare, launch } = this.state();
    this.hub.send({ kind: "state", phase, node_range, stages, presenter, compare, launch });
  }

  go(by) {
    this.note();
    if (!(this.at + by in this.past)) return;
    this.at += by;
    this.apply(JSON.parse(this.past[this.at]));
    this.show();
  }

  apply(state) {
    const now = this.state(), session = this.session();
    const known = session.tolerances.includes(state.padding_tolerance) ? "padding_tolerance" : ""; // its frames are here
    if (KERNEL_KEYS(session).some((key) => key !== known && JSON.stringify(state[key]) !== JSON.stringify(now[key]))) return this.hub.send({ kind: "restore", state });
    this.shell.base = null;
    this.shell.committed = state.block_size;
    this.hub.store.set({ blockSize: state.block_size, layer: state.layer, tolerance: state.padding_tolerance, phase: state.phase, nodeRange: state.node_range, presenter: state.presenter, compare: state.compare, launch: pv_launch_here(state.launch, { layer: state.layer, blockSize: state.block_size, tolerance: state.padding_tolerance }) }, { commit: true });
    this.shell.showStages(state.stages);
    this.tell();
  }

  // After a new circuit, setting, scene or state has arrived.
  generation() {
    const session = this.session();
    if (session.jump !== this.jump) this.shell.showStages(session.page?.stages || []);
    this.jump = session.jump;
    this.note();
    this.show();
  }

  async copy(text) {
    Object.assign(this.shown, { hidden: false, value: text });
    const copied = await pv_copy(text);
    if (!copied) this.shown.focus(), this.shown.select(); // Firefox selects without the focus
    this.hub.notices.take({ role: "message", text: copied ? "Copied." : "The browser does not let this page copy: the text is selected." });
  }
}

// The call of pcv.explore that shows this state again: arguments that are not its defaults, and a state of the rest.
function stateAsCode(state, session) {
  const call = [], rest = {};
  const names = Object.entries(session.arguments || {});
  const own = state.circuit === "yours";
  if (own) for (const [argument, name] of names) call.push(["root", "x"].includes(argument) ? name : `${argument}=${name}`);
  if (state.scene) call.push(`scene=${pythonText(state.scene)}`);
  else if (!own && session.circuits?.[0]?.value !== state.circuit) rest.circuit = state.circuit;
  const place = state.scene || rest.circuit ? rest : null; // of a circuit that the call does not name
  for (const [key, value] of Object.entries(state)) {
    if (["version", "circuit", "scene"].includes(key)) continue;
    const usual = key in DEFAULTS && !(own && key === "padding_tolerance") && JSON.stringify(DEFAULTS[key]) === JSON.stringify(value); // a plan has its own
    if (place === null && ["block_size", "batch_size", "padding_tolerance", "device"].includes(key)) usual || call.push(`${key}=${pythonText(value)}`);
    else if (!usual || state.scene) rest[key] = value;
  }
  call.push(`state=${pythonText(rest)}`);
  return `pcv.explore(${call.join(", ")})`;
}

function pythonText(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonText).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${pythonText(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}
