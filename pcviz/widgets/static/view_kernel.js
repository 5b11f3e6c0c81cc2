// The Kernel view: one program of a launch. Position 0 reads indices, 1..n are the steps, n + 1 stores the sums.

function draw_kernel(el, scene, store) {
  const frame = pv_frame(el, "kernel", store);
  if (!frame) return;
  const { view } = frame;
  if (!view.bar) kernel_build(frame);
  view.stop?.(scene !== view.scene);
  view.note.hidden = Boolean(scene.steps);
  view.note.textContent = scene.why || "Computing the steps of a program …";
  for (const part of [view.bar, view.body, view.counter, view.text, view.caption]) part.hidden = !scene.steps;
  const { blockSize, layer, tolerance } = frame.state;
  if (!scene.steps) {
    const wish = `${blockSize}|${layer}|${tolerance}`;
    if (!scene.why && view.wish !== wish) kernel_ask(frame, { variant: view.variant });
    view.wish = scene.why ? null : wish; // the scene may still be that of a circuit without data
    return;
  }
  view.wish = null;
  if (scene !== view.scene) {
    const last = view.scene && view.scene.numSteps === scene.numSteps;
    Object.assign(view, { scene, at: last ? view.at : 1, variant: scene.variant });
    kernel_controls(frame);
  }
  view.frame = frame;
  kernel_paint(frame);
}

function kernel_ask(frame, wish) {
  const scene = frame.view.scene || {};
  const kept = { group: scene.group, program: scene.program, sample: scene.sample, variant: scene.variant };
  frame.store.send({ kind: "kernel", ...kept, ...wish });
}

function kernel_build(frame) {
  const { el, view } = frame;
  view.note = pv_el("p", "pcv-absent");
  view.bar = pv_el("div", "pcv-bar");
  view.text = pv_el("div", "pcv-kernel-text");
  view.text.setAttribute("role", "status");
  view.text.dataset.pcv = "kernel-text";
  view.body = pv_el("div", "pcv-kernel-body");
  view.row = pv_el("div", "pcv-kernel-row");
  view.body.append(view.row);
  view.counter = pv_el("div", "pcv-kernel-counter");
  view.caption = pv_el("div", "pcv-caption pcv-kernel-caption");
  view.tiles = ["theta", "e", "acc"].map((name) => {
    const box = pv_el("figure", "pcv-kernel-tile");
    const head = pv_el("figcaption");
    const canvas = pv_focusable(pv_el("canvas"));
    canvas.addEventListener("mousemove", (event) => kernel_hover(view, name, canvas, event));
    canvas.addEventListener("mouseleave", () => (view.tip.hidden = true));
    box.append(head, canvas);
    view.row.append(box);
    return { name, head, canvas };
  });
  view.code = pv_focusable(pv_el("pre", "pcv-kernel-code"));
  view.code.tabIndex = 0;
  view.code.setAttribute("aria-label", "Source of the Triton kernel, lines of this step");
  view.body.append(view.code);
  view.table = pv_el("table", "pcv-sr");
  el.append(view.note, view.bar, view.text, view.body, view.counter, view.caption, view.table);
  view.tip = pv_tip(el);
  view.play = pv_button("Play", () => kernel_play(view));
  view.play.dataset.pcv = "kernel-play";
  view.slider = pv_focusable(pv_el("input"));
  Object.assign(view.slider, { type: "range", min: 0, step: 1 });
  view.slider.dataset.pcv = "kernel-step";
  view.slider.setAttribute("aria-label", "Step of the program");
  view.slider.addEventListener("input", () => kernel_go(view, Number(view.slider.value)));
  view.bar.addEventListener("keydown", (event) => kernel_key(view, event));
  view.stop = (other) => {
    if (!other && view.timer) return;
    clearInterval(view.timer);
    view.timer = null;
    view.play.textContent = "Play";
  };
}

function kernel_controls(frame) {
  const { view } = frame;
  const { scene } = view;
  const field = (text, name, value, max, ask) => {
    const label = pv_el("label", "", `${text} `);
    const input = pv_focusable(pv_el("input", "pcv-select pcv-kernel-number"));
    Object.assign(input, { type: "number", min: 0, max, value });
    input.dataset.pcv = `kernel-${name}`;
    input.addEventListener("change", () => kernel_ask(frame, ask(Number(input.value))));
    label.append(input, ` of ${pv_count(max + 1)}`);
    return label;
  };
  const variants = [["paper", "paper: running maximum"], ["scaled", "scaled: scales of blocks"]];
  const variant = pv_select(variants, scene.variant, "Variant of the kernel", (value) => kernel_ask(frame, { variant: value }));
  variant.dataset.pcv = "kernel-variant";
  const parts = [pv_el("span", "pcv-title", `Forward, layer ${scene.layer}`), variant];
  if (scene.numGroups > 1) {
    const groups = Array.from({ length: scene.numGroups }, (_, i) => [i, `launch ${i + 1}`]);
    parts.push(pv_select(groups, scene.group, "Launch", (value) => kernel_ask(frame, { group: Number(value), program: 0 })));
  }
  parts.push(field("program", "program", scene.program, scene.programs - 1, (program) => ({ program })));
  parts.push(field("sample", "sample", scene.sample, scene.batchSize - 1, (sample) => ({ sample, follow: true })));
  const back = pv_button("◀", () => kernel_go(view, view.at - 1));
  const next = pv_button("▶", () => kernel_go(view, view.at + 1));
  back.setAttribute("aria-label", "Step back");
  next.setAttribute("aria-label", "Step forward");
  next.dataset.pcv = "kernel-next";
  view.slider.max = scene.steps.length + 1;
  const focused = view.bar.contains(document.activeElement) ? document.activeElement.dataset.pcv : null;
  const steps = pv_el("span", "pcv-kernel-steps");
  steps.append(view.play, back, view.slider, next);
  view.bar.replaceChildren(...parts, steps);
  if (focused) view.bar.querySelector(`[data-pcv="${focused}"]`)?.focus();
  const cells = (tag, values) => values.map((value) => pv_el(tag, "", value));
  view.table.replaceChildren(...[["step", "what it does", "bytes"], ...scene.steps.map((step, i) => [String(i + 1), step.text, pv_count(step.bytes)])].map((values, i) => {
    const row = pv_el("tr");
    row.append(...cells(i ? "td" : "th", values));
    return row;
  }));
}

function kernel_key(view, event) {
  if (event.target.tagName === "SELECT" || event.target.type === "number") return;
  const to = { ArrowRight: view.at + 1, ArrowLeft: view.at - 1, Home: 0, End: view.scene.steps.length + 1 }[event.key];
  if (to !== undefined) kernel_go(view, to);
  else if (event.key === " ") kernel_play(view);
  else return;
  event.preventDefault();
}

function kernel_go(view, to) {
  view.at = pv_clamp(to, 0, view.scene.steps.length + 1);
  kernel_paint(view.frame);
}

function kernel_play(view) {
  if (view.timer) return view.stop(true);
  const last = view.scene.steps.length + 1;
  if (view.at === last) kernel_go(view, 0);
  view.play.textContent = "Pause";
  view.timer = setInterval(() => {
    if (!view.body.isConnected || view.at >= last) return view.stop(true);
    kernel_go(view, view.at + 1);
  }, window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 2500 : 900);
}

function kernel_values(bytes) {
  return new Float32Array(bytes.slice().buffer);
}

function kernel_paint(frame) {
  const { view, theme } = frame;
  const { scene, at } = view;
  const { steps } = scene;
  const n = steps.length;
  const part = at === 0 ? "start" : at > n ? "store" : "step";
  const step = steps[pv_clamp(at, 1, n) - 1];
  const [m, k, b] = step.shape;
  const values = { theta: kernel_values(step.theta), e: kernel_values(step.e), acc: kernel_values(at > n ? scene.stored : step.acc) };
  view.values = values;
  view.shapes = { theta: [m, k], e: [k, b], acc: [m, b] };
  const reference = scene.variant === "paper" ? "running max" : "scale of the block";
  const heads = {
    theta: `P: ${m} sums × ${k} children`,
    e: `e: ${k} children × ${b} samples, relative to the ${reference}`,
    acc: at > n ? `log p (nats): ${m} sums × ${b} samples` : `accumulator: ${m} sums × ${b} samples`,
  };
  const width = view.body.clientWidth;
  const wide = width > 620;
  const below = wide ? 4.2 * frame.font : 9.8 * frame.font; // of the tiles: their heads, and five lines of source where it has no column
  const side = Math.max(48, Math.min(wide ? width * 0.205 : width / 3 - 16, view.body.clientHeight - below));
  view.body.dataset.wide = String(wide);
  for (const { name, head, canvas } of view.tiles) {
    head.textContent = heads[name];
    head.style.width = `${side}px`;
    const empty = at === 0;
    kernel_tile(canvas, empty ? null : values[name], view.shapes[name], side, theme, name === "theta" ? -1 : scene.sample - scene.shown[0], name);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", heads[name]);
  }
  const column = scene.sample - scene.shown[0];
  const base = kernel_values(step.base)[column];
  const where = `Sample ${scene.sample}: ${reference} ${pv_digits_any(base)} nats${scene.variant === "paper" ? `, old accumulator × ${pv_digits_any(kernel_values(step.kept)[column])}` : ""}.`;
  const texts = {
    start: `Start: read ${pv_bytes(scene.indexBytes)} of ${scene.startReads}, accumulator = 0.`,
    step: `Step ${at} of ${scene.numSteps}: ${step.text} ${where}`,
    store: `Store log p of ${scene.tile[0]} sums: ${pv_bytes(scene.storeBytes)}. NaN: lost in float16, the guard computes it again.`,
  };
  view.text.textContent = texts[part];
  let own = scene.indexBytes;
  for (let i = 0; i < Math.min(at, n); i++) own += steps[i].bytes;
  if (at > n) own += scene.hidden + scene.storeBytes;
  const span = document.createElement("b");
  pv_number(span, scene.before + own, pv_bytes(scene.before + own));
  span.dataset.pcv = "kernel-bytes";
  const total = document.createElement("b");
  pv_number(total, scene.launchBytes, pv_bytes(scene.launchBytes));
  total.dataset.pcv = "kernel-launch-bytes";
  view.counter.replaceChildren(`This program ${pv_bytes(own)}; launch so far `, span, " of ", total,
    ` (model, L1–L2). Wave ${scene.wave} of ${scene.waves} on ${scene.device}; tile_m ${scene.tile[0]}, tile_k ${scene.tile[1]}, tile_b ${scene.tile[2]}.`);
  view.caption.textContent = scene.caption;
  view.slider.value = at;
  view.slider.setAttribute("aria-valuetext", `${part} ${at} of ${n + 1}`);
  Object.assign(frame.el.dataset, { step: at, variant: scene.variant });
  const { spans, lines, file } = scene.source;
  view.code.replaceChildren(pv_el("b", "", `${file}, lines ${spans[part].join("–")}\n`), lines[part].join("\n"));
}

// A logarithmic scale from the least to the largest value of the tile, six decades at most; zero has the ground's colour.
function kernel_tile(canvas, values, [rows, cols], side, theme, column, name) {
  const size = Math.max(1, Math.floor((side * devicePixelRatio) / Math.max(rows, cols)));
  const [w, h] = [Math.max(1, Math.floor((side * devicePixelRatio) / cols)), Math.max(1, Math.floor((side * devicePixelRatio) / rows))];
  const [dx, dy] = rows === 1 || cols === 1 ? [w, Math.min(h, 24)] : [Math.max(size, Math.min(w, 4 * size)), Math.max(size, Math.min(h, 4 * size))];
  canvas.width = dx * cols;
  canvas.height = dy * rows;
  canvas.style.width = `${canvas.width / devicePixelRatio}px`;
  canvas.style.height = `${canvas.height / devicePixelRatio}px`;
  const ink = PV_INK[theme];
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(${ink.empty})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (!values) return;
  const good = values.filter(Number.isFinite);
  const logs = good.some((value) => value < 0);
  const high = good.reduce((a, c) => Math.max(a, c), logs ? -Infinity : 0);
  const low = good.reduce((a, c) => (logs || c > 0 ? Math.min(a, c) : a), Infinity);
  const span = logs ? high - low : Math.min(6, Math.log10(high / low));
  for (let i = 0; i < rows * cols; i++) {
    const value = values[i];
    const share = !Number.isFinite(value) || value === 0 && !logs ? 0 : 0.2 + 0.8 * Math.max(0, 1 - (logs ? high - value : Math.log10(high / value)) / (span || 1));
    if (!share) continue;
    context.fillStyle = `rgb(${ink.stored.map((c, j) => Math.round(ink.empty[j] + (c - ink.empty[j]) * share))})`;
    context.fillRect((i % cols) * dx, Math.floor(i / cols) * dy, dx, dy);
  }
  if (column >= 0 && column < cols) {
    context.strokeStyle = `rgb(${ink.pseudo})`;
    context.lineWidth = 2;
    context.strokeRect(column * dx, 1, dx, canvas.height - 2);
  }
}

function pv_digits_any(x) {
  return Number.isFinite(x) ? String(Number(x.toPrecision(4))) : "−∞";
}

function kernel_hover(view, name, canvas, event) {
  if (!view.at) return;
  const [rows, cols] = view.shapes[name];
  const box = canvas.getBoundingClientRect();
  const r = pv_clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
  const c = pv_clamp(Math.floor(((event.clientX - box.left) / box.width) * cols), 0, cols - 1);
  const across = name === "theta" ? `child ${c}` : `sample ${view.scene.shown[0] + c}`;
  const down = name === "e" ? `child ${r}` : `sum ${r}`;
  const host = view.frame.el.getBoundingClientRect();
  pv_show_tip(view.tip, [String(view.values[name][r * cols + c]), `${down}, ${across} of the tile`], event.clientX - host.left, event.clientY - host.top);
}
