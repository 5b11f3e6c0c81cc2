// The Kernel view: one program of a launch. Position 0 reads indices, 1..n are the steps, n + 1 stores the sums.

const KERNEL_PHASES = [["forward", "forward"], ["element_flows", "element flows"], ["param_flows", "parameter flows"], ["em", "EM"]];
const KERNEL_VARIANTS = [["paper", "paper: running maximum"], ["scaled", "scaled: scales of blocks"]];

function draw_kernel(el, scene, store) {
  const frame = pv_frame(el, "kernel", store);
  if (!frame) return;
  const { view } = frame;
  if (!view.bar) kernel_build(frame);
  view.stop?.(scene !== view.scene);
  view.note.hidden = Boolean(scene.steps);
  pv_waits(view.note, scene.why || "Computing the steps of a program …");
  for (const part of [view.body, view.counter, view.waves, view.text, view.caption]) part.hidden = !scene.steps;
  view.bar.hidden = !scene.steps && !(scene.others && view.scene); // a launch without a program leaves the choice of others
  const { blockSize, layer, tolerance } = frame.state, chosen = pv_launch(frame.state), follow = chosen !== view.chosen && chosen;
  view.chosen = chosen;
  if (!scene.steps) {
    const wish = `${blockSize}|${layer}|${tolerance}`;
    if (!scene.why && view.wish !== wish) kernel_ask(frame, { variant: view.variant, ...kernel_place(chosen) });
    view.wish = scene.why ? null : wish; // the scene may still be that of a circuit without data
    return;
  }
  view.wish = null;
  if (scene !== view.scene) {
    const last = view.scene && view.scene.phase === scene.phase && view.scene.numSteps === scene.numSteps;
    Object.assign(view, { scene, at: last ? view.at : 1, variant: scene.variant || view.variant, sample: scene.sample ?? view.sample });
    kernel_controls(frame);
  }
  view.frame = frame;
  if (follow && (follow.phase !== scene.phase || follow.group !== scene.group)) kernel_ask(frame, kernel_place(follow));
  kernel_paint(frame);
}

// What to ask for a chosen launch: its first program.
function kernel_place(chosen) {
  return chosen ? { phase: chosen.phase, group: chosen.group, program: 0 } : {};
}

// A launch that the person chooses here is chosen for all views.
function kernel_choose(frame, phase, group) {
  pv_choose_launch(frame.store, frame.view.scene.layer, phase, group);
}

function kernel_ask(frame, wish) {
  const scene = frame.view.scene || {};
  const kept = { group: scene.group, program: scene.program, sample: scene.sample ?? frame.view.sample, variant: scene.variant || frame.view.variant, phase: scene.phase };
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
  view.waves = pv_focusable(pv_el("canvas", "pcv-kernel-waves"));
  view.waves.dataset.pcv = "kernel-waves";
  view.waves.setAttribute("role", "img");
  view.waves.tabIndex = 0;
  view.waves.addEventListener("keydown", (event) => {
    const { program, programs, numSMs } = view.scene, by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -numSMs, ArrowDown: numSMs }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (program + by >= 0 && program + by < programs) kernel_ask(view.frame, { program: program + by });
  });
  view.waves.addEventListener("click", (event) => {
    const program = kernel_wave_at(view, event);
    if (program !== null) kernel_ask(view.frame, { program });
  });
  view.caption = pv_el("div", "pcv-caption pcv-kernel-caption");
  view.tiles = ["left", "right", "acc"].map((name, i) => {
    const box = pv_el("figure", "pcv-kernel-tile");
    const head = pv_el("figcaption");
    const canvas = pv_focusable(pv_el("canvas"));
    canvas.addEventListener("mousemove", (event) => kernel_hover(view, i, canvas, event));
    canvas.addEventListener("mouseleave", () => (view.tip.hidden = true));
    canvas.tabIndex = 0;
    canvas.dataset.pcv = `kernel-${name}`;
    canvas.addEventListener("keydown", (event) => kernel_cell_key(view, i, canvas, event));
    canvas.addEventListener("blur", () => (view.tip.hidden = true));
    box.append(head, canvas);
    view.row.append(box);
    return { name, head, canvas };
  });
  view.code = pv_focusable(pv_el("pre", "pcv-kernel-code"));
  view.code.tabIndex = 0;
  view.code.setAttribute("aria-label", "Source of the Triton kernel, lines of this step");
  view.body.append(view.code);
  view.table = pv_el("table", "pcv-sr");
  el.append(view.note, view.bar, view.text, view.body, view.counter, view.waves, view.caption, view.table);
  view.said = pv_el("div", "pcv-sr");
  view.said.setAttribute("role", "status");
  el.append(view.said);
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
  const phase = pv_select(KERNEL_PHASES, scene.phase, "Kernel", (value) => kernel_choose(frame, value, 0));
  phase.dataset.pcv = "kernel-phase";
  const parts = [pv_el("span", "pcv-title", `Layer ${scene.layer}`), phase];
  if (scene.variant) {
    const variant = pv_select(KERNEL_VARIANTS, scene.variant, "Variant of the kernel", (value) => kernel_ask(frame, { variant: value }));
    variant.dataset.pcv = "kernel-variant";
    parts.push(variant);
  }
  if (scene.numGroups > 1) {
    const groups = scene.groups.map((group) => [group, `launch ${group + 1}`]);
    parts.push(pv_select(groups, scene.group, "Launch", (value) => kernel_choose(frame, scene.phase, Number(value))));
  }
  parts.push(field("program", "program", scene.program, scene.programs - 1, (program) => ({ program })));
  if (scene.sample !== null) parts.push(field("sample", "sample", scene.sample, scene.batchSize - 1, (sample) => ({ sample, follow: true })));
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
  const { view, theme } = frame, { scene, at } = view, { steps } = scene, n = steps.length;
  const step = steps[pv_clamp(at, 1, n) - 1], stored = at > n, part = at === 0 ? "start" : stored ? "store" : "step";
  kernel_words(view, part, step);
  kernel_waves(view, theme);
  const { spans, lines, file } = scene.source, own = part === "step" ? step.part : part;
  view.code.replaceChildren(pv_el("b", "", `${file}, lines ${spans[own].join("–")}\n`), lines[own].join("\n"));
  const width = view.body.clientWidth, wide = width > 620;
  view.body.dataset.wide = String(wide);
  const below = wide ? 4.2 * frame.font : 11.4 * frame.font; // of the tiles: their heads, and five lines of source where it has no column
  const side = Math.max(48, Math.min(wide ? width * 0.205 : width / 3 - 16, view.body.clientHeight - below));
  view.values = view.tiles.map(({ name }) => kernel_values(stored && name === "acc" ? scene.stored : step[name]));
  view.shapes = view.tiles.map((_tile, i) => (stored && i === 2 ? scene.storedShape : step.shapes[i]));
  view.first = step.first;
  view.tiles.forEach(({ head, canvas }, i) => {
    const text = stored && i === 2 ? scene.storedHead : step.heads[i];
    head.textContent = text;
    head.style.width = `${Math.max(side, wide ? 8.5 * frame.font : width / 3 - 12)}px`;
    kernel_tile(canvas, at === 0 ? null : view.values[i], view.shapes[i], side, theme, stored && i === 2 ? scene.storedMark : step.marks[i]);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${text}; arrow keys read its numbers`);
  });
  view.slider.value = at;
  view.slider.setAttribute("aria-valuetext", `${part} ${at} of ${n + 1}`);
  Object.assign(frame.el.dataset, { step: at, variant: scene.variant, phase: scene.phase });
}

// What the step does, and how much has been moved by then.
function kernel_words(view, part, step) {
  const { scene, at } = view, { steps } = scene, n = steps.length;
  view.text.textContent = { start: scene.startText, step: `Step ${at} of ${scene.numSteps}: ${step.text}`, store: scene.storeText }[part];
  let own = scene.startBytes;
  for (let i = 0; i < Math.min(at, n); i++) own += steps[i].bytes;
  if (at > n) own += scene.hidden + scene.storeBytes;
  const number = (name, value) => {
    const node = pv_el("b");
    pv_number(node, value, pv_bytes(value));
    node.dataset.pcv = name;
    return node;
  };
  const sides = ["tile_m", "tile_k", "tile_b"].map((name, i) => [name, scene.tile[i]]).filter(([, side]) => side).map((pair) => pair.join(" ")).join(", ");
  view.counter.replaceChildren(`This program ${pv_bytes(own)}; launch so far `, number("kernel-bytes", scene.before + own), " of ", number("kernel-launch-bytes", scene.launchBytes),
    ` (${scene.kind}). Wave ${scene.wave} of ${scene.waves} on ${scene.device}; ${sides}.`);
  view.caption.textContent = scene.caption;
}

const KERNEL_ROWS = 8; // of the picture of waves; a row stands for several where there are more

// Waves over the multiprocessors: a column for each SM, a row for each wave, the programs before this one darker. One program at a time on
// an SM, handed out in order: what the model counts, not what a GPU's scheduler does.
function kernel_waves(view, theme) {
  const { scene } = view, { numSMs, programs, program, waves } = scene, canvas = view.waves, ink = PV_INK[theme];
  canvas.hidden = numSMs < 8;
  if (canvas.hidden) return;
  const rows = Math.min(waves, KERNEL_ROWS), each = Math.ceil(waves / rows), high = 3, context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [numSMs * 4, rows * (high + 1) + 5];
  canvas.style.height = `${canvas.height}px`;
  canvas.setAttribute("aria-label", `Program ${program} runs in wave ${scene.wave} of ${waves} on SM ${program % numSMs} of ${numSMs}; arrow keys choose another program`);
  canvas.title = each > 1 ? `Waves over ${numSMs} SMs; a row stands for ${each} waves` : `Waves over ${numSMs} SMs; a row for each wave`;
  for (let row = 0; row < Math.ceil(waves / each); row++) {
    for (let sm = 0; sm < numSMs; sm++) {
      const first = row * each * numSMs + sm;
      if (first >= programs) break;
      context.fillStyle = `rgb(${first < program ? ink.stored : ink.missing})`;
      context.fillRect(sm * 4, row * (high + 1), 3, high);
    }
  }
  context.fillStyle = `rgb(${ink.pseudo})`;
  context.fillRect((program % numSMs) * 4 - 1, Math.floor(program / numSMs / each) * (high + 1) - 1, 5, high + 6);
}

function kernel_wave_at(view, event) {
  const { numSMs, programs, waves } = view.scene, box = view.waves.getBoundingClientRect(), rows = Math.min(waves, KERNEL_ROWS), each = Math.ceil(waves / rows);
  const sm = pv_clamp(Math.floor(((event.clientX - box.left) / box.width) * numSMs), 0, numSMs - 1);
  const program = Math.floor((event.clientY - box.top) / 4) * each * numSMs + sm;
  return program < programs ? program : null;
}

// A logarithmic scale from the least to the largest value of the tile, six decades at most; zero has the ground's colour.
function kernel_tile(canvas, values, [rows, cols], side, theme, column) {
  const size = Math.max(1, Math.floor((side * devicePixelRatio) / Math.max(rows, cols)));
  const [w, h] = [Math.max(1, Math.floor((side * devicePixelRatio) / cols)), Math.max(1, Math.floor((side * devicePixelRatio) / rows))];
  const [dx, dy] = rows === 1 || cols === 1 ? [w, Math.min(h, 24)] : [Math.max(size, Math.min(w, 4 * size)), Math.max(size, Math.min(h, 4 * size))];
  canvas.width = dx * cols;
  canvas.height = dy * rows;
  const fit = Math.max(1 / devicePixelRatio, side / Math.max(canvas.width, canvas.height)); // cells of a fraction of a pixel more, where whole ones leave much room
  canvas.style.width = `${canvas.width * fit}px`;
  canvas.style.height = `${canvas.height * fit}px`;
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

function kernel_hover(view, i, canvas, event) {
  const [rows, cols] = view.shapes[i], box = canvas.getBoundingClientRect();
  const r = pv_clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
  const c = pv_clamp(Math.floor(((event.clientX - box.left) / box.width) * cols), 0, cols - 1);
  kernel_value(view, i, canvas, r, c);
}

// The arrow keys go from number to number of a tile, from its first cell on.
function kernel_cell_key(view, i, canvas, event) {
  const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [-1e9, -1e9] }[event.key];
  if (!move) return;
  event.preventDefault();
  const [rows, cols] = view.shapes[i], [r, c] = view.cell?.i === i ? view.cell.at : [0, -1];
  kernel_value(view, i, canvas, pv_clamp(r + move[0], 0, rows - 1), pv_clamp(c + move[1], 0, cols - 1));
}

// The number in a cell of a tile, beside it, and for a screen reader.
function kernel_value(view, i, canvas, r, c) {
  if (!view.at) return;
  const [rows, cols] = view.shapes[i], [down, across] = view.scene.axes[i], box = canvas.getBoundingClientRect(), host = view.frame.el.getBoundingClientRect();
  const place = `${rows === 1 && down === "child" ? "" : `${down} ${r}, `}${across === "sample" ? `sample ${view.first + c}` : `${across} ${c} of the tile`}`;
  const value = String(view.values[i][r * cols + c]);
  view.cell = { i, at: [r, c] };
  view.said.textContent = `${value}: ${place}`;
  pv_show_tip(view.tip, [value, place], box.left - host.left + ((c + 0.5) / cols) * box.width, box.top - host.top + ((r + 0.5) / rows) * box.height);
}
