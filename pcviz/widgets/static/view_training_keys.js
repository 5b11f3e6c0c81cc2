// The legend of the Training view: a button per curve that hides and shows it. What nobody chose is shown, but for long earlier runs
// that would leave a comparison a corner of the axis.

const TRAINING_KEYS = 12; // curves that have a button; the newest
const TRAINING_KEY_EMS = 23; // width of a key with its values
const TRAINING_CHART_EMS = 11; // height that the chart is left with them, axis and all
const TRAINING_LONG = 3; // times as many epochs as all later runs: hidden until somebody wants it

function training_shown(view, all) {
  if (!all.length) view.wish.clear(); // another circuit, whose runs are counted from 1, too
  const squeezes = training_squeezing(all), alike = training_alike(all), others = all.filter((piece) => !alike.includes(piece));
  const shown = all.filter((piece) => view.wish.get(piece.id) ?? !squeezes.has(piece.run));
  view.others = alike.length > 1 ? others : [];
  view.only.hidden = view.others.length === 0;
  view.only.setAttribute("aria-pressed", String(!view.others.some((piece) => shown.includes(piece))));
  return shown;
}

// Runs that are over and went on for much longer than two or more later ones.
function training_squeezing(all) {
  const ends = new Map(all.map((piece) => [piece.run, piece.epoch[piece.epoch.length - 1]])), runs = [...ends.keys()];
  const current = all.reduce((latest, piece) => (piece.last > (latest?.last ?? -1) ? piece : latest), null)?.run;
  return new Set(runs.filter((run) => {
    const later = runs.filter((other) => other > run).map((other) => ends.get(other));
    return run !== current && later.length > 1 && ends.get(run) > TRAINING_LONG * Math.max(...later);
  }));
}

// The last run of each block size from the same parameters and in the same batches as the last of all.
function training_alike(pieces) {
  const own = pieces.filter((piece) => !piece.from), last = own[own.length - 1];
  return [...new Map(own.filter((piece) => piece.start === last.start && piece.batch === last.batch).map((piece) => [piece.size, piece])).values()];
}

// Buttons are kept while rows come in, so that a click and the focus stay on them.
function training_keys(view, all, shown, frame) {
  const listed = all.slice(-TRAINING_KEYS), brief = training_brief(view, listed.length, frame), made = (view.keyNodes ??= new Map());
  const nodes = listed.map((piece) => {
    if (!made.has(piece.id)) made.set(piece.id, training_key(view, piece.id));
    training_key_says(made.get(piece.id), piece, all, shown.includes(piece), brief, frame);
    return made.get(piece.id);
  });
  const sizes = brief && all.length ? "block size " : ""; // which the keys leave out
  const before = pv_el("span", "", sizes + (all.length > listed.length ? `${all.length - listed.length} earlier · ` : "")), after = pv_el("span", "", training_lines(all, shown));
  if (view.keysOf !== listed.map((piece) => piece.id).join()) {
    view.keysOf = listed.map((piece) => piece.id).join();
    view.keys.replaceChildren(pv_el("span"), ...nodes, pv_el("span"));
  }
  view.keys.firstChild.replaceWith(before);
  view.keys.lastChild.replaceWith(after);
}

// Without values, where lines with them, and that of what is drawn how, would leave the chart too little height.
function training_brief(view, count, { width, height, font }) {
  const { left, foot } = view, lines = 1 + Math.ceil(count / Math.max(1, Math.floor((left.clientWidth || width) / (TRAINING_KEY_EMS * font))));
  return height < 27 * font || left.clientHeight - foot.offsetHeight - 1.7 * lines * font < TRAINING_CHART_EMS * font;
}

function training_key(view, id) {
  const key = pv_button("", () => {
    view.wish.set(id, key.getAttribute("aria-pressed") !== "true");
    view.again();
  });
  key.className = "pcv-key pcv-key-button";
  key.dataset.pcv = `training-key-${id}`;
  return key;
}

function training_key_says(key, piece, all, shown, brief, frame) {
  const twin = all.some((other) => other !== piece && other.size === piece.size && other.from === piece.from), differ = (name) => new Set(all.map((one) => one[name])).size > 1;
  const end = piece.train[piece.train.length - 1], test = piece.test.bits[piece.test.bits.length - 1];
  const sizes = piece.from ? `${piece.from} → ${piece.size}` : brief ? String(piece.size) : `block size ${piece.size}`, run = `run ${piece.run}`;
  const name = !twin ? sizes : brief ? `${sizes} (${run})` : `${run}, ${sizes}`;
  const which = `${differ("start") && piece.start ? `, ${piece.start}` : ""}${differ("batch") ? `, batch ${piece.batch}` : ""}`;
  const value = `: ${test === undefined ? `train ${end.toFixed(3)}` : `test ${test.toFixed(3)}`}, ${pv_digits(piece.seconds[piece.seconds.length - 1])} s`;
  const line = pv_swatch_line(training_colour(piece, frame.theme), training_dash(piece, all) === "dash" ? "5,3" : "", training_mark(piece)), text = pv_el("span");
  text.append(pv_el("b", "", name), which, brief ? "" : value);
  key.replaceChildren(line, text);
  key.setAttribute("aria-pressed", String(shown));
  key.title = `${piece.from ? `${piece.from} → ${piece.size}` : `Block size ${piece.size}`}, run ${piece.run}${which}${value}. ${shown ? "Click to hide this curve" : "Hidden: click to show it"}`;
}

function training_lines(all, shown) {
  if (!all.length) return "";
  if (!shown.length) return "All curves are hidden: click one of them.";
  return shown.some((piece) => piece.test.bits.length) ? "thin line: train, mini-batch · marks: test" : "train, mini-batch";
}
