// A page from disk: what the kernel would answer is in the page, and this model hands it to the explorer.

class PageModel {
  constructor(page) {
    this.page = page;
    this.dag = new PageDag(page);
    this.hear = null;
  }

  get() {
    return "";
  }

  on(event, listener) {
    if (event === "msg:custom") this.hear = listener;
  }

  off(event) {
    if (event === "msg:custom") this.hear = null;
  }

  send(message) {
    const answer = { ready: () => this.open(this.page.sessions[0]), painted: () => this.painted(), plotly: () => this.plotly(), dag: () => this.dag.answer(message).then((found) => this.hear({ kind: "answer", ask: message.ask, ...found })), compared: () => this.hear({ kind: "answer", ask: message.ask, error: this.page.live }), set: () => this.set(message), restore: () => this.restore(message.state), scene: () => this.hear({ kind: "session", ...this.shown, scene: null }) }[message.kind];
    const quiet = ["want", "commit", "state", "part"];
    if (answer) setTimeout(answer);
    else if (!quiet.includes(message.kind)) this.refuse(this.page.live);
  }

  open(session) {
    this.shown = session;
    this.hear({ kind: "run", state: "idle" });
    this.hear({ kind: "session", ...session });
    const tolerances = new Map(this.page.sessions.map((one) => [one.gen, one.padding_tolerance])), own = (frame) => frame.gen === session.gen;
    const frames = [...this.page.frames.filter(own), ...this.page.frames.filter((frame) => !own(frame))]; // the others for the slider of tolerances
    for (const frame of frames) this.hear({ kind: "frame", ...frame, gen: session.gen, tolerance: tolerances.get(frame.gen), data: null }, [fromBase64(frame.data)]);
    this.hear({ kind: "steps", rows: this.page.steps, first: 0 });
    this.hear({ kind: "status", role: "idle", text: this.page.status });
  }

  // The picture for readers without scripts goes when the first frame stands.
  painted() {
    document.querySelector(".pcv-static")?.remove();
    document.body.dataset.live = "true";
  }

  plotly() {
    this.hear({ kind: "plotly" }, [fromBase64(this.page.plotly)]);
  }

  set({ name, value }) {
    const found = name === "padding_tolerance" && this.page.sessions.find((session) => session.padding_tolerance === Number(value));
    if (found) return this.open(found);
    const held = this.page.sessions.map((session) => session.padding_tolerance).join(", ");
    this.refuse(name === "padding_tolerance" ? `This page holds the tolerances ${held}.` : this.page.live);
  }

  restore(state) {
    const found = this.page.sessions.find((session) => session.padding_tolerance === state.padding_tolerance);
    this.jumps = (this.jumps ?? 0) + 1;
    this.open({ ...found, jump: this.jumps, page: state, block_size: state.block_size, layer: state.layer });
  }

  refuse(text) {
    this.hear({ kind: "status", role: "message", text, level: "error" });
  }
}

const PAGE_NO_ROW = 2 ** 32 - 1; // of products

// Parts of the DAG that the page holds: the kernel's answers, or what is missing and where to find it.
class PageDag {
  constructor({ dag, live }) {
    this.held = dag;
    this.live = live;
    this.pieces = new Map(dag.pieces.flatMap((piece) => piece.keys.map((key) => [`${piece.size}|${key}`, piece])));
  }

  async answer(message) {
    if (message.flow !== null && message.flow !== undefined) return { error: this.live };
    try {
      const found = message.find === undefined ? { key: message.open } : await this.find(message.find, message);
      if (found.key === undefined) return found;
      const part = await this.part(found.key, message);
      return part ? { ...found, part, samples: 0 } : { error: this.held.says };
    } catch (error) {
      return { error: error.message };
    }
  }

  // What layers and runs of vectors open into is the same at every block size; what it costs is not.
  async part(key, { block_size: size, tolerance, costs }) {
    const own = this.pieces.get(`${size}|${key}`), piece = own ?? (/^(layer|vectors):/.test(key) ? this.pieces.get(`${this.held.size}|${key}`) : null);
    if (!piece) return null;
    const part = { ...(await this.unpacked(piece))[key], blockSize: size };
    if (key.startsWith("node:")) part.caption = (await this.rowText(part, tolerance)) + part.caption;
    if (own && tolerance === this.held.tolerance) return part;
    const glyphs = part.glyphs.map((glyph) => ({ ...glyph, ...Object.fromEntries(this.held.costs.map((name) => [name, null])) }));
    const alone = `This page has the costs of its parts at block size ${this.held.size} and tolerance ${this.held.tolerance} alone.`;
    return { ...part, glyphs, caption: costs ? `${part.caption} ${alone}` : part.caption };
  }

  unpacked(piece) {
    return (piece.parts ??= unpackFrame(fromBase64(piece.data)));
  }

  async find(text, place) {
    const words = text.trim().replaceAll(",", "").toLowerCase(), number = words.match(/^(?:(node|layer|vector|row) )?#?(\d+)$/);
    if (words === "input" || words === "inputs") return { key: "layer:0" };
    if (!number) return this.named(words);
    if (number[1] === "row") return this.row(Number(number[2]), place);
    const kind = number[1] || "node", value = Number(number[2]), { starts } = await this.index(), vectors = starts.length - 1;
    const most = { node: starts[vectors], vector: vectors, layer: this.held.layers + 1 }[kind];
    if (value >= most) return { error: `There is no ${kind} ${pv_count(value)}: they are numbered 0 to ${pv_count(most - 1)}.` };
    return kind === "node" ? this.node(value, starts) : { key: `${kind}:${value}` };
  }

  // A node, or its vector where the page does not hold the node alone.
  node(value, starts) {
    const key = `node:${value}`, vector = starts.findLastIndex((start) => start <= value);
    if (this.pieces.has(`${this.held.size}|${key}`)) return { key };
    if (!this.pieces.has(`${this.held.size}|vector:${vector}`)) return { error: `Node ${pv_count(value)} belongs to vector ${pv_count(vector)}. ${this.held.says}` };
    return { matches: [[`vector:${vector}`, `vector ${pv_count(vector)}, which has node ${pv_count(value)}; the node alone is not in this page`]], total: 1 };
  }

  // A row of figure 4 of Blocks: another node at another block size or tolerance.
  async row(value, { block_size: size, tolerance }) {
    const { starts, rows } = await this.index(), first = rows.get(`${size}|${tolerance}`);
    if (!first) return { error: `Rows of figure 4 are in this page at block size ${this.held.size} alone; pcv.explore(root) in a notebook finds those at others.` };
    const vector = first.findIndex((row, at) => row <= value && value < row + starts[at + 1] - starts[at]), node = starts[vector] + value - first[vector];
    if (vector < 0) return { error: `No sum or input has row ${value} at block size ${size}: it is padding, or behind the last one.` };
    if (size === this.held.size) return this.node(node, starts);
    return { error: `Row ${value} at block size ${size} is node ${pv_count(node)}, of vector ${pv_count(vector)}. ${this.held.says}` };
  }

  // What stands before the caption of a sum's picture.
  async rowText({ key, layer, blockSize }, tolerance) {
    const node = Number(key.split(":")[1]), { starts, rows } = await this.index(), vector = starts.findLastIndex((start) => start <= node), first = rows.get(`${blockSize}|${tolerance}`)?.[vector];
    return layer && first < PAGE_NO_ROW ? `Figure 4 of Blocks: row ${first + node - starts[vector]} at block size ${blockSize} and tolerance ${tolerance}. ` : "";
  }

  // First nodes of the vectors, and their first rows at block sizes and tolerances.
  async index() {
    const numbers = (bytes) => new Uint32Array(bytes.slice().buffer), found = await (this.unpackedIndex ??= unpackFrame(fromBase64(this.held.index)));
    const starts = numbers(found.starts), rows = numbers(found.rows), each = starts.length - 1;
    return { starts, rows: new Map(this.held.rows.map(([size, tolerance], at) => [`${size}|${tolerance}`, rows.subarray(at * each, (at + 1) * each)])) };
  }

  async named(words) {
    const names = new Map();
    for (const piece of this.held.pieces) for (const [key, part] of Object.entries(await this.unpacked(piece))) if (key.startsWith("vector:")) names.set(key, part.crumbs.at(-1)[1]);
    const matches = words ? [...names].filter(([, name]) => name.toLowerCase().includes(words)) : [], exact = matches.filter(([, name]) => name.toLowerCase() === words);
    if (!matches.length) return { error: `No vector that this page holds is called “${words.slice(0, 60)}”. Search for a node number, a layer (layer 3) or a part of a vector's name.` };
    return matches.length === 1 || exact.length === 1 ? { key: (exact[0] ?? matches[0])[0] } : { matches: matches.slice(0, 12), total: matches.length };
  }
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function openPage(page, el) {
  render({ model: new PageModel(page), el });
}
