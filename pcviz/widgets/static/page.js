// A page from disk: what the kernel would answer is in the page, and this model hands it to the explorer.

class PageModel {
  constructor(page) {
    this.page = page;
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
    const answer = { ready: () => this.open(this.page.sessions[0]), painted: () => this.painted(), plotly: () => this.plotly(), dag: () => this.hear({ kind: "answer", ask: message.ask, error: this.page.live }), compared: () => this.hear({ kind: "answer", ask: message.ask, error: this.page.live }), set: () => this.set(message), restore: () => this.restore(message.state), scene: () => this.hear({ kind: "session", ...this.shown, scene: null }) }[message.kind];
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

function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function openPage(page, el) {
  render({ model: new PageModel(page), el });
}
