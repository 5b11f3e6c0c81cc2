// The block-size slider: a native range over the *index* of the legal sizes, with labelled ticks.

const KEY_COMMIT_MS = 600;

// Which ticks have a label, where all would lie on each other: the present one, the ends, and as many more as there is room for.
// widths: of the labels with 4 px of padding on each side; pitch: pixels from tick to tick.
function sliderLabels(widths, pitch, on) {
  const indices = widths.map((_width, index) => index), order = [on, 0, widths.length - 1, ...indices.filter((i) => i % 2 === 0), ...indices], shown = [];
  for (const i of order) if (shown.every((j) => i !== j && Math.abs(i - j) * pitch >= (widths[i] + widths[j]) / 2 - 4)) shown.push(i);
  return shown;
}

function createSlider(root, { onInput, onCommit }) {
  const id = `${root.closest("[id]").id}-range`; // of the explorer: a page may have several
  root.innerHTML = `
    <label class="pcv-slider-label" for="${id}">Block size</label>
    <div class="pcv-slider-track">
      <input id="${id}" type="range" min="0" max="0" step="1" value="0" data-pcv="slider" data-lm-suppress-shortcuts="true">
      <div class="pcv-ticks" aria-hidden="true"></div>
    </div>
    <output class="pcv-slider-value" data-pcv="slider-value" aria-hidden="true"></output>`;
  const range = root.querySelector("input");
  const ticks = root.querySelector(".pcv-ticks");
  const value = root.querySelector("output");
  let sizes = [1];
  let widths = []; // of the labels
  let pitch = Infinity;
  let timer = null;
  let pointer = false;

  const size = () => sizes[Number(range.value)];
  const show = () => {
    const text = `block size ${size()}`;
    range.setAttribute("aria-valuetext", text);
    value.textContent = size();
    const on = Number(range.value), shown = sliderLabels(widths, pitch, on);
    [...ticks.children].forEach((tick, index) => {
      tick.classList.toggle("pcv-on", index === on);
      tick.classList.toggle("pcv-crowded", !shown.includes(index));
    });
  };
  const thin = () => {
    widths = [...ticks.children].map((tick) => tick.offsetWidth);
    pitch = ticks.clientWidth ? ticks.clientWidth / Math.max(1, sizes.length - 1) : Infinity;
    show();
  };
  const resized = new ResizeObserver(thin);
  resized.observe(ticks);
  const commit = () => {
    clearTimeout(timer);
    timer = null;
    onCommit(size());
  };
  range.addEventListener("input", (event) => {
    show();
    onInput(size(), event);
    clearTimeout(timer);
    timer = pointer ? null : setTimeout(commit, KEY_COMMIT_MS);
  });
  range.addEventListener("pointerdown", () => (pointer = true));
  range.addEventListener("pointercancel", () => (pointer = false));
  range.addEventListener("change", () => {
    if (pointer) commit(); // a native range fires "change" on pointer up, and on every arrow key
  });
  range.addEventListener("pointerup", () => setTimeout(() => (pointer = false)));
  ticks.addEventListener("click", (event) => {
    const tick = event.target.closest("[data-index]");
    if (!tick) return;
    range.value = tick.dataset.index;
    show();
    onInput(size(), event);
    commit();
  });

  return {
    element: range,
    setSizes(next) {
      if (next.join() === sizes.join() && ticks.children.length) return;
      const current = size();
      sizes = next;
      range.max = String(sizes.length - 1);
      ticks.replaceChildren(
        ...sizes.map((each, index) => {
          const tick = document.createElement("span");
          tick.textContent = each;
          tick.dataset.index = index;
          tick.style.left = sizes.length > 1 ? `${(100 * index) / (sizes.length - 1)}%` : "0";
          return tick;
        }),
      );
      range.value = String(Math.max(0, sizes.indexOf(current)));
      thin();
    },
    setReady(isReady) {
      [...ticks.children].forEach((tick, index) => {
        const ready = isReady(sizes[index]);
        tick.classList.toggle("pcv-hatched", !ready);
        tick.title = ready ? "" : `block size ${sizes[index]}: compiling`;
      });
    },
    setSize(next) {
      if (size() === next) return;
      range.value = String(Math.max(0, sizes.indexOf(next)));
      show();
    },
    get dragging() {
      return pointer;
    },
    dispose() {
      clearTimeout(timer);
      resized.disconnect();
    },
  };
}
