// The selection store and the frames of one explorer. Everything the slider needs is here, so a move asks the kernel nothing.

// "before" is the block size before the present move of the slider, "asked" the headline's figure that a scene asks about.
const LIVE_STATE = { blockSize: 1, before: null, tolerance: null, tolerances: [], layer: 1, nodeRange: null, phase: "forward", launch: null, compare: null, theme: "light", circuit: "", presenter: false, asked: null };

function createStore(send, ask, live) {
  let state = { ...LIVE_STATE };
  const listeners = new Set();
  return {
    get: () => state,
    set(patch, options = {}) {
      const changed = Object.keys(patch).filter((key) => state[key] !== patch[key]);
      if (!changed.length && !options.commit) return;
      state = { ...state, ...patch };
      for (const listener of [...listeners]) listener(state, changed, options);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    send,
    ask, // a question to the kernel: a promise of its answer
    live, // whether there is one
    compared: new Map(), // scenes of the Compare view of all that was shown, by what they are of
  };
}

const FRAME_KEYS = [
  (view, size, layer) => `${view}|${size}|${layer}`,
  (view, size) => `${view}|${size}|`,
  (view, size, layer) => `${view}||${layer}`,
  (view) => `${view}||`,
];

// Scenes of one generation (circuit, batch, device), by view, block size, layer and tolerance; null means "any".
class Frames {
  constructor(session) {
    this.session = session;
    this.tolerance = session.padding_tolerance ?? null; // the one that is shown
    this.scenes = new Map();
  }

  // A part belongs to the scene that is there already.
  put({ view, size, layer, tolerance, part }, scene) {
    if (part) Object.assign(this.get(view, size, layer, tolerance) ?? {}, { [part]: scene });
    else this.scenes.set(`${view}|${size ?? ""}|${layer ?? ""}|${tolerance ?? ""}`, scene);
  }

  get(view, size, layer, tolerance = this.tolerance) {
    for (const key of FRAME_KEYS) {
      const found = key(view, size, layer), scene = this.scenes.get(`${found}|${tolerance ?? ""}`) ?? this.scenes.get(`${found}|`);
      if (scene !== undefined) return scene;
    }
    return null;
  }

  has(views, size, layer) {
    return views.every((view) => this.get(view, size, layer) !== null);
  }
}

// One frame travels as a gzipped container: u32 length of the JSON, the JSON, then the byte fields one after another.
async function unpackFrame(buffer) {
  const raw = new Uint8Array(await gunzip(buffer));
  const length = new DataView(raw.buffer).getUint32(0, true);
  const bytes = raw.subarray(4 + length);
  const revive = (_key, value) =>
    value !== null && typeof value === "object" && Array.isArray(value.$bytes)
      ? bytes.subarray(value.$bytes[0], value.$bytes[0] + value.$bytes[1])
      : value;
  return JSON.parse(new TextDecoder().decode(raw.subarray(4, 4 + length)), revive);
}

async function gunzip(buffer) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack the explorer's data (no DecompressionStream): use a browser from 2023 or later.");
  }
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// Everything that belongs to one widget model: its store, its frames and what the kernel last said. Views come and go.
class Hub {
  constructor(model) {
    this.model = model;
    this.store = createStore((message) => this.send(message), (message) => this.ask(message), () => !(this.closed || this.gone || this.model.page));
    this.store.subscribe(({ tolerance }) => this.frames && (this.frames.tolerance = tolerance));
    this.answers = new Map(); // number of a question -> what waits for its answer
    this.asked = 0;
    this.frames = null; // active generation
    this.pending = null; // newer generation, until the current size is there
    this.notices = new Notices(() => this.tell("status"));
    this.run = { state: "idle" };
    this.steps = [];
    this.learned = null; // samples and flows of the circuit that trains
    this.views = new Set();
    this.notices.take({ role: "going", of: "page", text: "Opening …" });
    this.closed = false;
    let order = Promise.resolve(); // messages act in the order in which they were sent
    this.onMessage = (message, buffers) => {
      order = order.then(() => this.receive(message, buffers)).catch((error) => this.fail(error));
    };
    model.on("msg:custom", this.onMessage);
    this.onLive = () => this.send({ kind: "want" }); // hears at once whether there still is a kernel
    model.on("comm_live_update", this.onLive);
  }

  // The kernel hears of block size, layer and tolerance with the next message only: a move of a slider sends none. A page that has
  // nothing yet, such as one that was loaded again, has no place of its own.
  send(message) {
    const { blockSize, layer, tolerance } = this.store.get();
    if (this.closed) return;
    try {
      this.model.send({ ...(this.frames ? { block_size: blockSize, layer, tolerance } : {}), ...message });
    } catch (error) {
      this.lost(error);
    }
  }

  // The frames that are here stay; what needs the kernel does not.
  lost(error) {
    console.warn(error);
    const first = !this.gone;
    this.gone = true;
    this.run = { state: "idle" };
    this.tell("run");
    if (first) this.tell("gone");
    this.notices.end("The kernel behind this explorer is gone (restarted or shut down): run the cell again.");
  }

  ask(message) {
    return new Promise((resolve) => {
      this.answers.set(++this.asked, resolve);
      this.send({ ...message, ask: this.asked });
    });
  }

  async answer(message, buffer) {
    const resolve = this.answers.get(message.ask);
    this.answers.delete(message.ask);
    resolve?.(buffer ? await unpackFrame(buffer) : message);
  }

  fail(error) {
    console.error(error);
    this.notices.take({ role: "message", of: "page", text: error.message || String(error), level: "error" });
  }

  tell(what, detail) {
    for (const view of [...this.views]) view(what, detail);
  }

  async receive(message, buffers = []) {
    this.gone = false;
    if (message.kind === "session") this.openGeneration(message);
    else if (message.kind === "frame") await this.receiveFrame(message, buffers[0]);
    else if (message.kind === "answer") await this.answer(message, buffers[0]);
    else if (message.kind === "status") this.notices.take(message);
    else if (message.kind === "run") {
      this.run = message;
      this.tell("run");
    } else if (message.kind === "steps") {
      this.steps = this.steps.slice(0, message.first).concat(message.rows);
      this.tell("steps");
    } else if (message.kind === "learned") {
      this.learned = buffers.length ? await unpackFrame(buffers[0]) : null;
      this.tell("steps");
    } else if (message.kind === "file") pv_save_file(message.name, message.type, await gunzip(buffers[0]));
    else if (message.kind === "plotly") receivePlotly(await gunzip(buffers[0]));
  }

  openGeneration(session) {
    const same = this.frames && this.frames.session.circuit === session.circuit;
    const keep = this.pending?.session.gen === session.gen ? this.pending : this.frames?.session.gen === session.gen ? this.frames : null;
    if (keep) {
      keep.session = session;
    } else {
      this.pending = new Frames(session);
      if (!same && this.frames) this.tell("waiting");
    }
    this.tell("session");
    this.activate();
  }

  async receiveFrame(message, buffer) {
    const target = [this.pending, this.frames].find((frames) => frames && frames.session.gen === message.gen);
    if (!target) return; // an older generation
    const scene = await unpackFrame(buffer);
    target.put(message, scene);
    if (message.view === "compare") this.store.compared.set(compare_key(scene.place), scene);
    if (target === this.pending) this.activate();
    else this.tell("frame", message);
  }

  // The last good picture stays until the newer generation has what the current size needs.
  activate() {
    if (!this.pending) return;
    const { session } = this.pending;
    const state = this.store.get();
    const jumps = session.jump !== this.jump; // to a scene or a state, instead of keeping the page's own place
    const sameCircuit = this.frames && this.frames.session.circuit === session.circuit && !jumps;
    const size = sameCircuit && session.sizes.includes(state.blockSize) ? state.blockSize : session.block_size;
    const layer = sameCircuit && state.layer <= session.layers.length ? state.layer : session.layer;
    if (!this.pending.has(session.needs, size, layer)) return;
    this.frames = this.pending;
    this.pending = null;
    this.notices.take({ role: "done", of: "page" });
    this.jump = session.jump;
    const page = jumps && session.page ? { phase: session.page.phase, presenter: session.page.presenter, nodeRange: session.page.node_range, compare: session.page.compare ?? null } : {};
    if (jumps) page.launch = pv_launch_here(session.page?.launch, { layer, blockSize: size, tolerance: session.padding_tolerance });
    const { padding_tolerance: tolerance = null, tolerances = [] } = session;
    this.store.set({ blockSize: size, layer, tolerance, tolerances, circuit: session.circuit, nodeRange: sameCircuit ? state.nodeRange : null, before: sameCircuit ? state.before : null, ...page }, { commit: true, quiet: true });
    this.tell("generation");
  }

  close() {
    this.closed = true;
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onLive);
    this.frames = this.pending = null;
    this.steps = [];
    this.learned = null;
    this.answers.clear();
  }
}
