// The Kernel view: one program of a launch. Position 0 reads indices, 1..n are the steps, n + 1 stores the sums.

const KERNEL_PHASES = Object.entries(PV_LAUNCHES).map(([phase, { name }]) => [phase, name]);
const KERNEL_VARIANTS = [["paper", "paper: running maximum"], ["scaled", "scaled: scales of blocks"], ["float32", "float32: for likelihoods"]];

function draw_kernel(el, scene, store) {
  const frame = pv_frame(el, "kernel", store);
  if (!frame) return;
  const { view } = frame;
  if (!view.bar) kernel_build(frame);
  view.stop?.(scene !== view.scene);
  view.note.hidden = Boolean(scene.steps);
  pv_waits(view.note, scene.why || KERNEL_COMPUTES);
  for (const part of [view.body, view.foot, view.words, view.caption]) part.hidden = !scene.steps;
  view.bar.hidden = !scene.steps && !(scene.others && view.scene); // a launch without a program leaves the choice of others
  [...view.bar.children].slice(2).forEach((part) => (part.hidden = !scene.steps)); // behind the layer and the choice of kernels
  const { blockSize, layer, tolerance } = frame.state, chosen = pv_launch(frame.state), follow = chosen !== view.chosen && chosen;
  view.chosen = chosen;
  if (!scene.steps) {
    if (scene.why && scene !== view.none) kernel_came(view);
    view.none = scene;
    const wish = `${blockSize}|${layer}|${tolerance}`;
    if (scene.others && follow) kernel_ask(frame, kernel_place(follow)); // from a layer's EM without a launch to another of its launches
    if (!scene.why && view.wish !== wish) kernel_ask(frame, { variant: view.variant, ...kernel_place(chosen) });
    view.wish = scene.why ? null : wish; // the scene may still be that of a circuit without data
    return;
  }
  view.wish = null;
  if (scene !== view.scene) {
    const last = view.scene && view.scene.phase === scene.phase && view.scene.numSteps === scene.numSteps && view.scene.layer === scene.layer;
    Object.assign(view, { scene, at: last ? view.at : 1, variant: scene.variant || view.variant, sample: scene.sample ?? view.sample });
    view.waiting = false;
    kernel_came(view);
    kernel_controls(frame);
  }
  view.frame = frame;
  if (follow && (follow.phase !== scene.phase || follow.group !== scene.group)) kernel_ask(frame, kernel_place(follow));
  kernel_go(view, view.at);
}

// What to ask for a chosen launch: its first program.
function kernel_place(chosen) {
  return chosen ? { phase: chosen.phase, group: chosen.group, program: 0, step: 1 } : {};
}

// A launch that the person chooses here is chosen for all views.
function kernel_choose(frame, phase, group) {
  pv_choose_launch(frame.store, frame.view.scene.layer, phase, group);
}

const KERNEL_STOPS = 24; // of the slider that have marks
const KERNEL_COMPUTES = "Computing the steps of a program …";
const KERNEL_PATIENCE_MS = 200; // before the old picture fades
const KERNEL_LIMIT_MS = 30_000; // an answer that has not come by then failed, as the status line says

// Asks for another program, or for other steps of this one. What was asked before and has not come yet is part of the wish.
function kernel_ask(frame, wish) {
  const { view, state } = frame, scene = view.scene || {}, place = [state.blockSize, state.layer, state.tolerance].join();
  const shown = { group: scene.group, program: scene.program, sample: scene.sample ?? view.sample, variant: scene.variant || view.variant, phase: scene.phase, step: view.at };
  const asked = view.asked?.place === place ? view.asked : { place, wish: shown, left: 0 };
  view.asked = { place, wish: { ...asked.wish, ...wish }, left: asked.left + 1 };
  const { follow, ...lasting } = view.asked.wish;
  frame.store.send({ kind: "kernel", ...view.asked.wish });
  view.asked.wish = lasting;
  if (frame.store.live?.()) kernel_wait(view);
}

// While an answer is on its way the picture of before fades: it is not of what the controls say.
function kernel_wait(view) {
  clearTimeout(view.fading);
  view.fading = setTimeout(() => {
    view.body.dataset.fading = "true";
    view.text.textContent = KERNEL_COMPUTES;
    view.fading = setTimeout(() => kernel_came(view, true), KERNEL_LIMIT_MS);
  }, KERNEL_PATIENCE_MS);
}

function kernel_came(view, all) {
  if (view.asked) view.asked.left -= 1;
  if (view.asked?.left > 0 && !all) return;
  view.asked = null;
  clearTimeout(view.fading);
  delete view.body.dataset.fading;
}

function kernel_build(frame) {
  const { el, view } = frame;
  view.note = pv_el("p", "pcv-absent");
  view.bar = pv_el("div", "pcv-bar");
  view.bar.addEventListener("keydown", (event) => kernel_key(view, event));
  view.words = pv_el("div", "pcv-kernel-words");
  view.words.setAttribute("role", "status");
  view.text = pv_el("div");
  view.text.dataset.pcv = "kernel-text";
  view.guard = pv_el("div", "pcv-kernel-guard");
  view.guard.dataset.pcv = "kernel-guard";
  view.words.append(view.text, view.guard);
  view.row = pv_el("div", "pcv-kernel-row");
  view.tiles = ["left", "right", "acc"].map((name, i) => kernel_tile_build(view, name, i));
  view.code = pv_focusable(pv_el("pre", "pcv-kernel-code"));
  view.code.tabIndex = 0;
  view.code.setAttribute("aria-label", "Source of the Triton kernel, lines of this step");
  view.body = pv_el("div", "pcv-kernel-body");
  view.body.append(view.row, view.code);
  view.counter = pv_el("div", "pcv-kernel-counter");
  view.waves = kernel_waves_build(view);
  view.foot = pv_el("div", "pcv-kernel-foot");
  view.foot.append(view.counter, view.waves);
  view.caption = pv_el("div", "pcv-caption pcv-kernel-caption");
  view.table = pv_el("table", "pcv-sr");
  view.said = pv_el("div", "pcv-sr");
  view.said.setAttribute("role", "status");
  el.append(view.bar, view.note, view.words, view.body, view.foot, view.caption, view.table, view.said);
  view.tip = pv_tip(el);
  kernel_player_build(view);
}

// One of the three tiles of a step: {name, head, canvas, mark}.
function kernel_tile_build(view, name, i) {
  const box = pv_el("figure", "pcv-kernel-tile"), head = pv_el("figcaption");
  const place = pv_el("div", "pcv-kernel-place"), mark = pv_el("i", "pcv-kernel-mark");
  mark.title = "the chosen sample";
  const canvas = pv_focusable(pv_el("canvas"));
  canvas.tabIndex = 0;
  canvas.dataset.pcv = `kernel-${name}`;
  canvas.addEventListener("mousemove", (event) => kernel_hover(view, i, canvas, event));
  canvas.addEventListener("mouseleave", () => (view.tip.hidden = true));
  canvas.addEventListener("keydown", (event) => kernel_cell_key(view, i, canvas, event));
  canvas.addEventListener("blur", () => (view.tip.hidden = true));
  place.append(mark, canvas);
  box.append(head, place);
  view.row.append(box);
  return { name, head, canvas, mark };
}

// The programs of the launch, a row a wave: arrows and a click choose another one.
function kernel_waves_build(view) {
  const waves = pv_focusable(pv_el("canvas", "pcv-kernel-waves"));
  waves.dataset.pcv = "kernel-waves";
  waves.setAttribute("role", "img");
  waves.tabIndex = 0;
  waves.addEventListener("keydown", (event) => {
    const { program, programs, numSMs } = view.scene, by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -numSMs, ArrowDown: numSMs }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (program + by >= 0 && program + by < programs) kernel_ask(view.frame, { program: program + by });
  });
  waves.addEventListener("click", (event) => {
    const program = kernel_wave_at(view, event);
    if (program !== null) kernel_ask(view.frame, { program });
  });
  return waves;
}

// Play, the slider of steps, and the button of the source.
function kernel_player_build(view) {
  view.play = pv_button("Play", () => kernel_play(view));
  view.play.dataset.pcv = "kernel-play";
  view.showCode = pv_button("code", () => {
    view.codeOpen = !view.codeOpen;
    kernel_paint(view.frame);
  });
  view.showCode.dataset.pcv = "kernel-code";
  view.showCode.title = "The lines of the Triton kernel that this step runs, in the place of the tiles";
  view.slider = pv_focusable(pv_el("input"));
  Object.assign(view.slider, { type: "range", min: 0, step: 1 });
  view.slider.dataset.pcv = "kernel-step";
  view.slider.setAttribute("aria-label", "Step of the program");
  view.stops = Object.assign(pv_el("datalist"), { id: `pcv-kernel-${Math.random().toString(36).slice(2, 8)}` });
  view.slider.setAttribute("list", view.stops.id);
  view.slider.title = "start · the steps · store";
  view.slider.addEventListener("input", () => kernel_go(view, Number(view.slider.value)));
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
    view.variants = pv_select(KERNEL_VARIANTS, scene.variant, "Variant of the kernel", (value) => kernel_ask(frame, { variant: value }));
    view.variants.dataset.pcv = "kernel-variant";
    parts.push(view.variants);
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
  const stops = kernel_last(scene) + 2; // start and store besides the steps: with marks one sees that a single step lies between them
  view.slider.max = stops - 1;
  view.stops.replaceChildren(...(stops <= KERNEL_STOPS ? Array.from({ length: stops }, (_, at) => Object.assign(pv_el("option"), { value: at })) : []));
  const focused = view.bar.contains(document.activeElement) ? document.activeElement.dataset.pcv : null;
  const steps = pv_el("span", "pcv-kernel-steps");
  steps.append(view.play, back, view.slider, view.stops, next, view.showCode);
  view.bar.replaceChildren(...parts, steps);
  if (focused) view.bar.querySelector(`[data-pcv="${focused}"]`)?.focus();
  const cells = (tag, values) => values.map((value) => pv_el(tag, "", value));
  view.table.replaceChildren(...[["step", "what it does", "bytes"], ...scene.steps.map((step, i) => [String(scene.firstStep + i + 1), step.text, pv_count(step.bytes)])].map((values, i) => {
    const row = pv_el("tr");
    row.append(...cells(i ? "td" : "th", values));
    return row;
  }));
}

function kernel_key(view, event) {
  if (event.target.tagName === "SELECT" || event.target.type === "number") return;
  const to = { ArrowRight: view.at + 1, ArrowLeft: view.at - 1, Home: 0, End: kernel_last(view.scene) + 1 }[event.key];
  if (to !== undefined) kernel_go(view, to);
  else if (event.key === " ") kernel_play(view);
  else return;
  event.preventDefault();
}

// The last step that one can go to: a page from disk holds the first ones alone.
function kernel_last(scene) {
  return scene.held ? scene.firstStep + scene.steps.length : scene.numSteps;
}

// The step at a position: of the start the first and of the store the last; undefined where it has not been sent yet.
function kernel_step(scene, at) {
  return scene.steps[pv_clamp(at, 1, kernel_last(scene)) - 1 - scene.firstStep];
}

function kernel_go(view, to) {
  view.at = pv_clamp(to, 0, kernel_last(view.scene) + 1);
  if (!kernel_step(view.scene, view.at) && !view.waiting) {
    view.waiting = true; // one question at a time; the answer's scene asks again where the person has gone on
    kernel_ask(view.frame, {});
  }
  kernel_paint(view.frame);
}

function kernel_play(view) {
  if (view.timer) return view.stop(true);
  const last = kernel_last(view.scene) + 1;
  if (view.at === last) kernel_go(view, 0);
  view.play.textContent = "Pause";
  view.timer = setInterval(() => {
    if (!view.body.isConnected || view.at >= last) return view.stop(true);
    if (!kernel_step(view.scene, view.at)) return; // comes
    kernel_go(view, view.at + 1);
  }, window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 2500 : 900);
}

function kernel_values(bytes) {
  return new Float32Array(bytes.slice().buffer);
}

function kernel_paint(frame) {
  const { view, theme } = frame, { scene, at } = view, n = kernel_last(scene);
  const step = kernel_step(scene, at), stored = at > n, part = at === 0 ? "start" : stored ? "store" : "step";
  kernel_words(view, part, step);
  kernel_waves(view, theme);
  const room = kernel_room(frame);
  view.slider.value = at;
  view.slider.setAttribute("aria-valuetext", part === "step" ? `step ${at} of ${scene.numSteps}` : part);
  Object.assign(frame.el.dataset, { step: at, variant: scene.variant, phase: scene.phase, loaded: String(Boolean(step)) });
  if (!step) return;
  const { spans, lines, file } = scene.source, own = part === "step" ? step.part : part;
  view.code.replaceChildren(pv_el("b", "", `${file}, lines ${spans[own].join("–")}\n`), lines[own].join("\n"));
  const heads = view.tiles.map((_tile, i) => (stored && i === 2 ? scene.storedHead : step.heads[i])), sides = kernel_sides(frame, room, heads);
  view.values = view.tiles.map(({ name }) => kernel_values(stored && name === "acc" ? scene.stored : step[name]));
  view.shapes = view.tiles.map((_tile, i) => (stored && i === 2 ? scene.storedShape : step.shapes[i]));
  view.lost = [null, step.lost, at >= n && scene.lost].map((bytes) => (bytes ? pv_u8(bytes) : null));
  view.first = step.first;
  view.tiles.forEach(({ canvas, mark }, i) => {
    kernel_tile(canvas, at === 0 ? null : view.values[i], view.shapes[i], sides, theme, at === 0 ? null : view.lost[i]);
    kernel_mark(mark, canvas, view.shapes[i], stored && i === 2 ? scene.storedMark : step.marks[i]);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${heads[i]}; arrow keys read its numbers`);
  });
}

// What there is room for. ``low``, as in presenter size: the tiles come before words and source.
function kernel_room({ el, view, font, height }) {
  const many = view.body.clientWidth / font > 72, low = height < (many ? 24 : 30) * font, tight = low || (!many && height < 36 * font), wide = many && !tight;
  el.dataset.low = String(low);
  Object.assign(view.body.dataset, { wide: String(wide), shows: !tight ? "both" : view.codeOpen ? "code" : "tiles" });
  view.showCode.hidden = !tight;
  view.showCode.setAttribute("aria-pressed", String(Boolean(view.codeOpen)));
  if (view.bar.contains(view.variants)) pv_fit_options(view.variants, KERNEL_VARIANTS.map(([, text]) => text));
  return { low, tight, wide };
}

// Room of each tile across and down, below its head and above five lines of source where that has no column.
function kernel_sides({ view, font }, { low, tight, wide }, texts) {
  const width = view.body.clientWidth, high = view.body.clientHeight, third = width / 3 - 16;
  const side = (most, below) => Math.max(48, Math.min(most, high - below));
  const column = side(width * 0.205, 4.6 * font);
  view.tiles.forEach(({ head }, i) => {
    head.textContent = texts[i];
    head.style.width = `${wide ? Math.max(column, 8.5 * font) : third + 4}px`;
  });
  if (wide) return [column, column];
  const down = side(third, tight ? Math.max(...view.tiles.map(({ head }) => head.offsetHeight)) + 10 : 11.8 * font);
  return [low ? third : down, down];
}

// What the step does, and how much has been moved by then.
function kernel_words(view, part, step) {
  const { scene, at } = view, n = kernel_last(scene), sizes = new Uint32Array(pv_u8(scene.stepBytes).slice().buffer);
  const words = step ? `Step ${at} of ${scene.numSteps}: ${step.text}` : `Step ${Math.min(at, n)} of ${scene.numSteps}: being computed …`;
  const waits = view.body.dataset.fading; // somebody steps on while another launch is on its way
  view.text.textContent = waits ? KERNEL_COMPUTES : { start: scene.startText, step: words, store: step ? scene.storeText : words }[part];
  const own = scene.startBytes + sizes.subarray(0, at > n ? scene.numSteps : at).reduce((a, b) => a + b, 0) + (at > n ? scene.storeBytes : 0);
  const guard = at > 0 ? (at >= n && scene.guard) || step?.guard || "" : "";
  view.guard.hidden = !guard;
  view.guard.title = scene.guardWhy;
  if (guard) view.guard.replaceChildren(kernel_swatch(view.frame.theme), ` ${guard}`);
  const number = (name, value) => {
    const node = pv_el("b");
    pv_number(node, value, pv_bytes(value));
    node.dataset.pcv = name;
    return node;
  };
  const sides = ["tile_m", "tile_k", "tile_b"].map((name, i) => [name, scene.tile[i]]).filter(([, side]) => side).map((pair) => pair.join(" ")).join(", ");
  view.counter.replaceChildren(`This program ${pv_bytes(own)}; launch so far `, number("kernel-bytes", scene.before + own), " of ", number("kernel-launch-bytes", scene.launchBytes),
    ` (${scene.kind}).`, pv_el("span", "pcv-kernel-where", ` Wave ${scene.wave} of ${scene.waves} on ${scene.device}; ${sides}.`));
  view.caption.textContent = scene.caption;
}
