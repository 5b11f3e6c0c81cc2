// Training: bits per dimension against epochs or seconds, a curve per run and block size, and what the circuit has learned
// so far. Rows only ever grow at the end, so new points are appended to the traces; anything else redraws.

const TRAINING_AXES = { epoch: "epochs", seconds: "seconds of training, measured" };
const TRAINING_PACES = [["0", "pace: full"], ["0.25", "pace: 4 per s"], ["1", "pace: 1 per s"]];
const TRAINING_STARTS = [["own", "own parameters"], ["random", "random parameters"]];
const TRAINING_PAGES = { curve: "curve", learned: "samples, flow" };
const TRAINING_NOTE = "No training yet. Press Train or Compare sizes: each mini-batch adds a point here, and test data is evaluated as it goes.";
const TRAINING_EPOCHS = 3; // of each block size in a comparison

function draw_training(el, scene, store) {
  const frame = pv_frame(el, "training", store);
  if (!frame || !scene) return;
  const view = frame.view;
  if (!view.plot) training_build(frame);
  view.scene = scene;
  view.frame = frame;
  const all = training_pieces(scene), empty = all.length === 0, pieces = training_shown(view, all);
  training_arrange(view, frame, Boolean(scene.live || scene.learned));
  training_text(view, scene, pieces);
  training_keys(view, all, pieces, frame);
  training_sheet(view, pieces);
  view.note.hidden = !empty;
  view.note.textContent = scene.why || TRAINING_NOTE;
  view.chart.style.visibility = empty ? "hidden" : "";
  if (!view.left.hidden && !empty) training_chart(view, pieces, frame);
  if (!view.right.hidden) learned_draw(view.right, scene.learned, frame);
}

function training_build(frame) {
  const view = frame.view;
  view.axis = "epoch";
  view.page = "curve";
  view.wish = new Map(); // curve -> whether somebody wants it; the others as training_shown has it
  view.again = () => draw_training(frame.el, view.scene, view.frame.store);
  view.sheet = pv_sheet("training", "Training as tables");
  view.sheetCurve = pv_el("div");
  view.sheetFlow = pv_el("div");
  view.sheet.append(view.sheetCurve, view.sheetFlow);
  view.right = pv_el("div", "pcv-learned");
  view.body = pv_el("div", "pcv-body pcv-training-body");
  view.body.append(training_left(view), view.right, view.sheet);
  view.controls = training_controls(view);
  frame.el.append(training_bar(view), view.controls, view.body);
}

// What is drawn, and against what.
function training_bar(view) {
  const choice = (name, values, part) => Object.entries(values).map(([value, text]) => {
    const button = pv_button(text, () => {
      view[name] = value;
      view.again();
    });
    button.dataset.pcv = `training-${part}-${value}`;
    button.dataset[name] = value;
    return button;
  });
  view.axes = choice("axis", { epoch: "epochs", seconds: "seconds" }, "axis");
  view.pages = choice("page", TRAINING_PAGES, "page");
  view.points = pv_el("span", "pcv-muted");
  view.points.dataset.pcv = "training-points";
  view.title = pv_el("span", "pcv-title", "Bits per dimension against");
  const bar = pv_el("div", "pcv-bar");
  bar.append(...view.pages, view.title, ...view.axes, pv_el("span", "pcv-grow"), view.points, pv_sheet_button(view.sheet));
  return bar;
}

// The curves with their legend, and what they show in words.
function training_left(view) {
  view.keys = pv_el("div", "pcv-keys");
  view.plot = pv_el("div", "pcv-plot");
  view.chart = pv_el("div", "pcv-chart");
  view.chart.setAttribute("role", "img");
  view.note = pv_el("div", "pcv-note", TRAINING_NOTE);
  view.note.style.inset = "0";
  view.plot.append(view.chart, view.note);
  view.caption = pv_el("div", "pcv-caption");
  view.only = pv_button("compared runs only", () => {
    const wanted = view.only.getAttribute("aria-pressed") === "true";
    for (const piece of view.others) view.wish.set(piece.id, wanted);
    view.again();
  });
  view.only.dataset.pcv = "training-only";
  view.foot = pv_el("div", "pcv-training-foot");
  view.foot.append(view.caption, view.only);
  view.left = pv_el("div", "pcv-training-left");
  view.left.append(view.keys, view.plot, view.foot);
  return view.left;
}

// What needs a kernel that trains: another run, a comparison, the pace.
function training_controls(view) {
  const send = (message) => view.frame.store.send(message);
  const start = pv_select(TRAINING_STARTS, "own", "a new run starts from", () => {});
  start.title = "Own: those that the circuit had when training began. Random: new ones, the same each time";
  const over = pv_button("Start over", () => send({ kind: "start_over", start: start.value }));
  over.title = "A new run at the block size of the slider, with the same order of samples and the batch size of the settings, at most 256";
  const compare = pv_button("Compare sizes", () => send({ kind: "compare", start: start.value, epochs: TRAINING_EPOCHS }));
  compare.title = `${TRAINING_EPOCHS} epochs at each block size, from the same parameters and with the same order of samples; then the circuit gets its parameters of now back`;
  const pace = pv_select(TRAINING_PACES, "0", "mini-batches per second", (value) => send({ kind: "pace", seconds: Number(value) }));
  Object.entries({ start, over, compare, pace }).forEach(([name, node]) => (node.dataset.pcv = `training-${name}`));
  const bar = pv_el("div", "pcv-bar");
  bar.append(pv_el("span", "pcv-muted", "from"), start, over, compare, pv_el("span", "pcv-grow"), pace);
  return bar;
}

// Curve and samples side by side where there is room, otherwise one of them at a time.
function training_arrange(view, frame, learns) {
  const wide = frame.width >= 54 * frame.font && frame.height >= 27 * frame.font, both = learns && wide;
  for (const button of view.pages) button.hidden = !learns || wide;
  view.left.hidden = !both && learns && view.page !== "curve";
  view.right.hidden = !learns || (!both && view.page !== "learned");
  for (const button of view.axes) button.hidden = view.left.hidden;
  view.body.dataset.both = String(both);
  view.title.hidden = !wide;
  view.controls.hidden = !view.scene.live;
  for (const button of [...view.axes, ...view.pages]) {
    const name = button.dataset.axis ? "axis" : "page";
    button.setAttribute("aria-pressed", String(button.dataset[name] === view[name]));
  }
}

// Rows grow while a kernel trains: base is the kernel's scene, rows are steps (arrays in the order of base.columns) that
// may start before base ends; what base already has is not added twice.
function extendTraining(base, rows) {
  if (!rows || !rows.length) return base;
  const last = base.rows[base.rows.length - 1], at = base.columns.indexOf("seconds"), step = base.columns.indexOf("step");
  let from = 0;
  if (last) for (let i = rows.length - 1; i >= 0 && !from; i--) if (rows[i][step] === last[step] && rows[i][at] === last[at]) from = i + 1;
  const more = rows.slice(from);
  return more.length ? { ...base, rows: base.rows.concat(more), points: (base.points ?? base.rows.length) + more.length } : base;
}

// The curves: a run at one block size is one piece; a run that went on at another block size is several, which touch.
function training_pieces(scene) {
  const at = Object.fromEntries(scene.columns.map((name, i) => [name, i])), pieces = [];
  for (const [i, row] of scene.rows.entries()) {
    const test = row[at.test_bpd] ?? null, last = pieces.findLast((one) => one.run === row[at.run]); // a comparison may lie between
    let piece = last;
    if (last?.size !== row[at.block_size]) pieces.push((piece = training_piece(row, at, last, pieces)));
    piece.last = i;
    piece.epoch.push(row[at.epochs_done]);
    piece.seconds.push(row[at.seconds]);
    piece.train.push(row[at.train_bpd]);
    if (test !== null || row[at.epochs_done] === row[at.epoch]) piece.epochs.push([row[at.epoch], row[at.step], row[at.seconds], row[at.train_bpd], test]);
    if (test === null) continue;
    piece.test.epoch.push(row[at.epochs_done]);
    piece.test.seconds.push(row[at.seconds]);
    piece.test.bits.push(test);
  }
  return pieces;
}

// ``last``: the place of its last row among all.
function training_piece(row, at, before, pieces) {
  const id = `${row[at.run]}-${pieces.filter((one) => one.run === row[at.run]).length + 1}`;
  const piece = { id, run: row[at.run], size: row[at.block_size], batch: row[at.batch_size], start: row[at.start], from: before?.size, epoch: [], seconds: [], train: [], epochs: [], test: { epoch: [], seconds: [], bits: [] } };
  for (const name of before ? ["epoch", "seconds", "train"] : []) piece[name].push(before[name][before[name].length - 1]);
  return piece;
}

function training_text(view, scene, pieces) {
  const n = scene.points ?? scene.rows.length;
  const last = scene.rows[scene.rows.length - 1], batch = last?.[scene.columns.indexOf("batch_size")];
  pv_number(view.points, n, n ? `${pv_plural(n, "mini-batch").replace("batchs", "batches")} of ${batch}` : "");
  view.caption.textContent = [training_lesson(pieces), scene.caption].filter(Boolean).join(" ");
  view.caption.hidden = !view.caption.textContent;
  view.chart.setAttribute("aria-label", `Bits per dimension against ${TRAINING_AXES[view.axis]}, ${pv_plural(pieces.length, "curve")}; the table has the numbers`);
}

// What a comparison shows, in its own numbers: the test values of runs that started alike (without test data those of an
// epoch's last mini-batch), at the last epoch that all of them have, and how long each took to get there.
function training_lesson(pieces) {
  const tested = pieces.some((piece) => piece.test.bits.length);
  const alike = training_alike(pieces).filter((piece) => piece.epochs.length && (!tested || piece.test.bits.length));
  if (alike.length < 2) return "";
  const epoch = Math.min(...alike.map((piece) => piece.epochs[piece.epochs.length - 1][0]));
  const found = alike.map((piece) => ({ size: piece.size, row: piece.epochs.find((row) => row[0] === epoch) })).filter((one) => one.row);
  if (found.length < 2) return "";
  const bits = found.map((one) => one.row[tested ? 4 : 3]), spread = Math.max(...bits) - Math.min(...bits), bySeconds = found.sort((a, b) => a.row[2] - b.row[2]);
  const fast = bySeconds[0], slow = bySeconds[bySeconds.length - 1], differ = spread < 0.001 ? "less than 0.001" : spread.toFixed(3);
  return `At epoch ${epoch} the ${tested ? "test" : "training"} values of ${found.length} block sizes differ by ${differ} bits; block size ${slow.size} took ${pv_digits(slow.row[2])} s, ${fast.size} took ${pv_digits(fast.row[2])} s.`;
}

// An epoch a row; the same numbers as the chart's marks.
function training_sheet(view, pieces) {
  const rows = pieces.flatMap((piece) => piece.epochs.map((epoch) => [piece, ...epoch])), key = rows.map((row) => row.slice(1).join()).join("|");
  if (key !== view.sheetKey) {
    view.sheetKey = key;
    const head = ["run", "block size", "from", "epoch", "mini-batches", "seconds", "train", "test"];
    const body = rows.map(([piece, epoch, step, seconds, train, test]) => [piece.run, piece.size, piece.start || "–", epoch, step, seconds.toFixed(2), train.toFixed(4), test === null ? "–" : test.toFixed(4)]);
    view.sheetCurve.replaceChildren(pv_table("Bits per dimension after each epoch", head, body.length ? body : [["No epoch is over yet."]]));
  }
  const { learned } = view.scene;
  if (learned === view.sheetLearned) return;
  view.sheetLearned = learned;
  view.sheetFlow.replaceChildren(...(learned ? [learned_table(learned)] : []));
}
