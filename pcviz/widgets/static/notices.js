// What the status line says. News of work in progress comes and goes; a message that somebody needs stays until that person acts
// or a newer message comes.

const LEAST_MS = 3000; // a message that is no error can be read for this long, whatever the person does meanwhile
const NO_ACT = ["Tab", "Shift", "Control", "Alt", "AltGraph", "Meta"];

class Notices {
  constructor(changed) {
    this.changed = changed;
    this.idle = { text: "Ready." };
    this.message = null;
    this.going = new Map(); // who does the work -> its latest news
  }

  // role: "going", "done" (with this work), "message" (a result of it, or an error) or "idle" (what stands here otherwise).
  take({ role, of = "", ...notice }) {
    if (role === "idle") this.idle = notice;
    else if (role === "going") {
      this.going.set(of, notice);
      if (this.message?.leaves) this.message = null;
    } else this.going.delete(of);
    if (role === "message") this.message = { ...notice, since: performance.now() };
    if (notice.level === "error") this.going.delete("page"); // it waits in vain
    this.changed();
  }

  // Nothing will ever go on again, and this is why.
  end(text) {
    this.going.clear();
    this.message = null;
    this.take({ role: "idle", text, level: "error" });
  }

  acted() {
    const { message } = this;
    if (!message) return;
    const left = message.level === "error" ? 0 : message.since + LEAST_MS - performance.now();
    message.leaves = true;
    if (left > 0) return setTimeout(() => this.leave(message), left);
    this.leave(message);
  }

  leave(message) {
    if (this.message !== message) return;
    this.message = null;
    this.changed();
  }

  // The latest news of work.
  get work() {
    return [...this.going.values()].at(-1)?.text ?? "";
  }

  get shown() {
    const works = [...this.going.values()], bar = works.findLast((work) => work.cancel) ?? works.at(-1);
    const { text, level = "info", quiet = false } = this.message ?? works.at(-1) ?? this.idle;
    return { text, level, quiet, progress: bar?.progress ?? null, cancel: Boolean(bar?.cancel) };
  }
}

// Whether a press of a key or of the mouse is more than a look around.
function isAct({ type, key, target }) {
  if (target.closest("[data-pcv=status-line]")) return false;
  return type === "keydown" ? !NO_ACT.includes(key) : Boolean(target.closest(`${FOCUSABLE}, label, .pcv-ticks`));
}
