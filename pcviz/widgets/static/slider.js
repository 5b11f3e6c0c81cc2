// The block-size slider: a native range over the *index* of the legal sizes, with labelled ticks.

const KEY_COMMIT_MS = 600;

// Which ticks have a label, where all would lie on each other: the present one, the ends, and as many more as there is room for.
// widths: of the labels with 4 px of padding on each side; pitch: pixels from tick to tick.
function sliderLabels(widths, pitch, on) {
  const indices = widths.map((_width, index) => index), order = [on, 0, widths.length - 1, ...indices.filter((i) => i % 2 === 0), ...indices], shown = [];
  for (const i of order) if (shown.every((j) => i !== j && Math.abs(i - j) * pitch >= (widths[i] + widths[j]) / 2 - 4)) shown.push(i);
  return shown;
}

class Slider {
  constructor(root, { onInput, onCommit }) {
    Object.assign(this, { onInput, onCommit, sizes: [1], widths: [], pitch: Infinity, timer: null, dragging: false });
    const id = `${root.closest("[id]").id}-range`; // of the explorer: a page may have several
    root.innerHTML = `
      <label class="pcv-slider-label" for="${id}">Block size</label>
      <div class="pcv-slider-track">
        <input id="${id}" type="range" min="0" max="0" step="1" value="0" data-pcv="slider" data-lm-suppress-shortcuts="true">
        <div class="pcv-ticks" aria-hidden="true"></div>
      </div>
      <output class="pcv-slider-value" data-pcv="slider-value" aria-hidden="true"></output>`;
    this.element = root.querySelector("input");
    this.ticks = root.querySelector(".pcv-ticks");
    this.value = root.querySelector("output");
    this.resized = new ResizeObserver(() => this.measure());
    this.resized.observe(this.ticks);
    this.listen();
  }

  listen() {
    const { element, ticks } = this;
    element.addEventListener("input", (event) => {
      this.moved(event);
      clearTimeout(this.timer);
      this.timer = this.dragging ? null : setTimeout(() => this.commit(), KEY_COMMIT_MS);
    });
    element.addEventListener("pointerdown", () => (this.dragging = true));
    element.addEventListener("pointercancel", () => (this.dragging = false));
    element.addEventListener("change", () => {
      if (this.dragging) this.commit(); // a native range fires "change" on pointer up, and on every arrow key
    });
    element.addEventListener("pointerup", () => setTimeout(() => (this.dragging = false)));
    ticks.addEventListener("click", (event) => {
      const tick = event.target.closest("[data-index]");
      if (!tick) return;
      element.value = tick.dataset.index;
      this.moved(event);
      this.commit();
    });
  }

  get size() {
    return this.sizes[Number(this.element.value)];
  }

  moved(event) {
    this.show();
    this.onInput(this.size, event);
  }

  commit() {
    clearTimeout(this.timer);
    this.timer = null;
    this.onCommit(this.size);
  }

  show() {
    const on = Number(this.element.value), shown = sliderLabels(this.widths, this.pitch, on);
    this.element.setAttribute("aria-valuetext", `block size ${this.size}`);
    this.value.textContent = this.size;
    [...this.ticks.children].forEach((tick, index) => {
      tick.classList.toggle("pcv-on", index === on);
      tick.classList.toggle("pcv-crowded", !shown.includes(index));
    });
  }

  // How wide the labels are and how far apart.
  measure() {
    const { ticks, sizes } = this;
    this.widths = [...ticks.children].map((tick) => tick.offsetWidth);
    this.pitch = ticks.clientWidth ? ticks.clientWidth / Math.max(1, sizes.length - 1) : Infinity;
    this.show();
  }

  setSizes(next) {
    if (next.join() === this.sizes.join() && this.ticks.children.length) return;
    const current = this.size;
    this.sizes = next;
    this.element.max = String(next.length - 1);
    this.ticks.replaceChildren(
      ...next.map((each, index) => {
        const tick = pv_el("span", "", String(each));
        tick.dataset.index = index;
        tick.style.left = next.length > 1 ? `${(100 * index) / (next.length - 1)}%` : "0";
        return tick;
      }),
    );
    this.element.value = String(Math.max(0, next.indexOf(current)));
    this.measure();
  }

  setReady(isReady) {
    [...this.ticks.children].forEach((tick, index) => {
      const size = this.sizes[index], ready = isReady(size);
      tick.classList.toggle("pcv-hatched", !ready);
      tick.title = ready ? "" : `block size ${size}: compiling`;
    });
  }

  setSize(next) {
    if (this.size === next) return;
    this.element.value = String(Math.max(0, this.sizes.indexOf(next)));
    this.show();
  }

  dispose() {
    clearTimeout(this.timer);
    this.resized.disconnect();
  }
}
