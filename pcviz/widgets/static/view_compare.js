// Compare: A is kept (a block size of a circuit under its settings), B is what the explorer shows. One table of differences, and
// the chosen row of both against block size. The store's "compare" says what A is; what it does not say is as in B.

const COMPARE_WORDS = { ms: ["faster", "slower"], bytes: ["less", "more"], count: ["fewer", "more"] };
const COMPARE_TEXT = { ms: pv_ms, bytes: pv_bytes, count: pv_short, share: pv_percent };
const COMPARE_AGAIN_MS = 2000; // a circuit that is being prepared is asked for again

function draw_compare(el, scene, store) {
  const frame = pv_frame(el, "compare", store);
  if (!frame || !scene) return;
  const { view } = frame;
  if (!view.table) compare_build(frame);
  Object.assign(view, { frame, b: { scene, size: frame.state.blockSize } });
  view.a = compare_kept(view);
  view.phase = scene.values[frame.state.phase] ? frame.state.phase : "forward";
  view.phaseSelect.value = view.phase;
  view.body.dataset.mode = frame.width >= 58 * frame.font && frame.height < 45 * frame.font ? "columns" : "rows";
  compare_heads(view);
  compare_rows(view);
  compare_curves(view);
}

// ``place``: what a scene is of, under the names of explorer.state.
function compare_key({ circuit, batch_size: batch, padding_tolerance: tolerance, device }) {
  return JSON.stringify([circuit, batch, tolerance, device]);
}

// A's scene and size; the scene is null until the kernel has sent it.
function compare_kept(view) {
  const { b, frame } = view, { compare } = frame.state, place = { ...b.scene.place, ...compare }, key = compare_key(place);
  const scene = key === compare_key(b.scene.place) ? b.scene : (frame.store.compared.get(key) ?? null);
  const sizes = scene?.sizes ?? [compare?.block_size ?? b.size], wanted = compare?.block_size;
  if (!scene) compare_ask(view, place, key);
  return { scene, place, size: sizes.includes(wanted) ? wanted : sizes.at(b.size === sizes[0] ? -1 : 0) }; // so that there are differences to see
}

async function compare_ask(view, place, key) {
  if (view.asked === key) return;
  Object.assign(view, { asked: key, problem: "" });
  const { store } = view.frame, scene = await store.ask({ kind: "compared", ...place });
  if (scene.error) {
    view.problem = scene.error;
    if (scene.soon) setTimeout(() => view.asked === key && ((view.asked = ""), view.again()), COMPARE_AGAIN_MS);
  } else store.compared.set(key, scene);
  if (!scene.error || view.asked === key) view.again();
}

function compare_build(frame) {
  const { el, view } = frame, bar = pv_el("div", "pcv-bar");
  const keep = (compare) => view.frame.store.set({ compare }, { commit: true });
  view.again = () => draw_compare(el, view.b.scene, view.frame.store);
  view.row = "time_ms";
  view.top = 0; // line at the top, where there is room for some of them only
  view.more = pv_button("", () => {
    view.top = view.next;
    compare_rows(view);
  });
  view.phaseSelect = pv_phase_select(view);
  view.sizeSelect = pv_select([], "", "block size of A", (value) => keep({ ...view.frame.state.compare, block_size: Number(value) }));
  view.toleranceSelect = pv_select([], "", "tolerance of A", (value) => keep({ ...view.frame.state.compare, block_size: view.a.size, padding_tolerance: Number(value) }));
  view.keep = pv_button("Keep B as A", () => keep({ ...view.b.scene.place, block_size: view.b.size }));
  view.keep.title = "A stays when circuit or settings change";
  view.release = pv_button("Release A", () => keep(null));
  view.release.title = "A is of B's circuit and settings again";
  view.swap = pv_button("Swap", () => compare_swap(view));
  for (const [name, node] of Object.entries({ phase: view.phaseSelect, size: view.sizeSelect, tolerance: view.toleranceSelect, keep: view.keep, release: view.release, swap: view.swap, more: view.more })) node.dataset.pcv = `compare-${name}`;
  bar.append(view.phaseSelect, pv_el("b", "", "A:"), view.sizeSelect, view.toleranceSelect, view.swap, view.keep, view.release);
  view.about = pv_el("div", "pcv-keys pcv-compare-about");
  view.about.setAttribute("role", "status");
  const line = pv_el("div", "pcv-compare-line");
  line.append(view.about, view.more);
  view.table = pv_el("table", "pcv-table pcv-compare-table");
  view.table.append(pv_el("caption", "pcv-sr", "Differences of A and B"), pv_el("thead"), pv_el("tbody"));
  const head = pv_el("tr");
  head.append(...["", "A", "B", "B against A"].map((text) => Object.assign(pv_el("th", "", text), { scope: "col" })));
  view.table.tHead.append(head);
  view.plot = pv_el("div", "pcv-plot");
  view.chart = pv_svg("svg", { class: "pcv-compare-chart", role: "img" });
  view.values = pv_el("div", "pcv-sr");
  view.values.dataset.pcv = "compare-values";
  view.plot.append(view.chart, view.values);
  view.body = pv_el("div", "pcv-body");
  view.body.append(view.table, view.plot);
  el.append(bar, line, view.body);
}

// Where A differs in block size and tolerance alone: the explorer goes to A, and what it showed becomes A.
function compare_swap({ a, b, frame }) {
  const kept = frame.state.compare?.circuit ? b.scene.place : a.scene === b.scene ? {} : { padding_tolerance: b.scene.tolerance };
  frame.store.set({ blockSize: a.size, tolerance: a.place.padding_tolerance, compare: { ...kept, block_size: b.size } }, { commit: true });
}

// "A 1" and "B 16", and what else tells them apart.
function compare_heads(view) {
  const { a, b, frame } = view, same = a.scene === b.scene, ink = compare_ink(view), own = b.scene.place, { tolerances } = frame.state;
  const near = ["circuit", "batch_size", "device"].every((key) => a.place[key] === own[key]) && tolerances.includes(a.place.padding_tolerance);
  const shown = [...new Set([...tolerances, a.place.padding_tolerance])].sort((x, y) => x - y);
  compare_options(view.sizeSelect, a.scene?.sizes ?? [a.size], "block size", a.size);
  compare_options(view.toleranceSelect, shown, "tolerance", a.place.padding_tolerance);
  view.swap.disabled = !near || !a.scene;
  view.swap.title = near ? "" : "A is of another circuit or of other settings";
  view.release.hidden = !frame.state.compare;
  const keys = [["circuit", ""], ["batchSize", "batch "], ["tolerance", "tolerance "], ["device", "model, "]].filter(([name]) => !same && a.scene && a.scene[name] !== b.scene[name]);
  view.about.replaceChildren(...[["A", a, ink.a, "5,3"], ["B", b, ink.b, ""]].map(([name, side, colour, dash]) => {
    const node = pv_el("span", "pcv-key"), rest = side.scene ? keys.map(([field, word]) => `${word}${side.scene[field]}`).join(", ") : view.problem || "being computed …";
    node.append(pv_swatch_line(colour, dash, name === "A" ? "square" : "circle"), pv_el("b", "", `${name}: block size ${side.size}`), pv_el("span", "", rest && `· ${rest}`));
    return node;
  }), pv_el("span", "", keys.some(([name]) => name === "device") ? "" : b.scene.modelLabel));
}

function compare_options(select, values, word, chosen) {
  const key = values.join();
  if (select.dataset.values !== key) select.replaceChildren(...values.map((value) => Object.assign(pv_el("option", "", `${word} ${value}`), { value })));
  select.dataset.values = key;
  select.value = chosen;
}

function compare_ink(view) {
  const ink = PV_LINES[view.frame.theme];
  return { a: ink.naive, b: ink.model, text: ink.text, grid: ink.grid, muted: ink.muted };
}

// A value per block size: of the model or the plan, or of the section that was recorded or measured.
function compare_series(scene, phase, { key, section }) {
  if (!section) return scene?.values[phase][key] ?? null;
  return scene?.seen.find((each) => each.name === section)?.values[phase]?.[key] ?? null;
}

function compare_value(view, side, row) {
  return compare_series(side.scene, view.phase, row)?.[side.scene.sizes.indexOf(side.size)] ?? null;
}

// The rows of the table: the model's and the plan's, then those that were recorded for both, or measured for one at least.
function compare_list(view) {
  const { a, b } = view, sections = [...(a.scene?.seen ?? []), ...b.scene.seen];
  const known = (row) => [a, b].filter((side) => compare_value(view, side, row) !== null).length;
  const seen = [...new Map(sections.map((section) => [section.name, section])).values()].flatMap(({ name, rows }, i) =>
    rows.map((row) => ({ ...row, section: name, kind: name, id: `seen${i}-${row.key}` })).filter((row) => known(row) >= (name.startsWith("measured") ? 1 : 2)),
  );
  return [...b.scene.rows.map((row) => ({ ...row, id: row.key })), ...seen];
}

function compare_rows(view) {
  const old = document.activeElement?.dataset?.compareRow, body = view.table.tBodies[0], { font } = view.frame, rows = compare_list(view);
  view.chosen = rows.find((row) => row.id === view.row) ?? rows[0];
  if (view.top >= rows.length) view.top = 0;
  const lines = compare_lines(view, rows, 0), chart = view.body.dataset.mode === "rows" && view.body.clientHeight > 24 * font ? 9 * font : 0;
  const fits = () => view.table.offsetHeight + 4 <= view.body.clientHeight - chart; // with its margins
  body.replaceChildren(...lines);
  if (fits()) view.top = 0;
  else {
    const from = compare_lines(view, rows, view.top), each = view.table.offsetHeight / (lines.length + 1);
    body.replaceChildren(...from.slice(0, Math.max(2, Math.floor((view.body.clientHeight - chart) / each))));
    while (body.rows.length > 1 && !fits()) body.lastChild.remove();
    while (body.rows.length > 1 && body.lastChild.dataset.section) body.lastChild.remove(); // a heading of nothing
  }
  const shown = body.querySelectorAll("button").length, end = view.top + shown;
  view.next = end < rows.length ? end : 0;
  view.more.hidden = shown === rows.length;
  view.more.textContent = `rows ${view.top + 1}–${end} of ${rows.length} ›`;
  if (old) view.table.querySelector(`[data-compare-row="${old}"]`)?.focus({ preventScroll: true });
}

// Lines from the row numbered ``first`` on, a heading before those that were recorded or measured.
function compare_lines(view, rows, first) {
  return rows.slice(first).flatMap((row, i) => {
    const line = compare_row(view, row);
    if (!row.section || (i && rows[first + i - 1].section === row.section)) return [line];
    const heading = pv_el("tr"), cell = Object.assign(pv_el("th", "pcv-compare-section", row.section), { colSpan: 4, scope: "rowgroup" });
    heading.dataset.section = row.section;
    heading.append(cell);
    return [heading, line];
  });
}

function compare_row(view, row) {
  const { name, unit, kind, id } = row, line = pv_el("tr"), head = pv_el("th"), [before, now] = [view.a, view.b].map((side) => compare_value(view, side, row));
  const known = before !== null && now !== null, changed = known && before !== now;
  const button = pv_button(name, () => {
    view.row = id;
    compare_rows(view);
    compare_curves(view);
  });
  button.setAttribute("aria-pressed", String(view.chosen === row));
  button.title = `${kind}; draw it against block size`;
  Object.assign(button.dataset, { compareRow: id, pcv: `compare-row-${id}` });
  head.scope = "row";
  head.append(button);
  const cells = [before, now].map((value, i) => {
    const cell = pv_el("td", changed && i ? "pcv-compare-changed" : "");
    cell.dataset.pcv = `compare-${i ? "b" : "a"}-${id}`;
    pv_number(cell, value ?? "", value === null ? "–" : COMPARE_TEXT[unit](value));
    return cell;
  });
  const difference = pv_el("td", changed ? "pcv-compare-changed" : "pcv-muted", known ? compare_difference(unit, before, now) : "–");
  difference.dataset.pcv = `compare-change-${id}`;
  line.append(head, ...cells, difference);
  return line;
}

function compare_difference(unit, before, now) {
  if (before === now) return "same";
  if (unit === "share") return points(before, now);
  if (!before || !now) return `${now > before ? "+" : "−"}${COMPARE_TEXT[unit](Math.abs(now - before))}`;
  const factor = now / before, percent = Math.abs(100 * (factor - 1));
  const [less, more] = COMPARE_WORDS[unit];
  if (percent < 0.05) return `slightly ${factor > 1 ? more : less}`;
  if (factor > 1 / 1.5 && factor < 1.5) return `${factor > 1 ? "+" : "−"}${percent < 9.95 ? percent.toFixed(1) : Math.round(percent)}%`;
  return factor > 1 ? `${formatRatio(factor)}× ${more}` : `${formatRatio(1 / factor)}× ${less}`;
}

// Both lines over all block sizes; logarithmic where every value is above zero.
function compare_curves(view) {
  const { a, b, chart, frame, chosen } = view, ink = compare_ink(view), [width, height] = [view.plot.clientWidth, view.plot.clientHeight], font = frame.font;
  chart.replaceChildren();
  const sides = [{ ...a, name: "A", ink: ink.a, dash: "5,3" }, { ...b, name: "B", ink: ink.b, dash: "" }].map((side) => ({ ...side, y: compare_series(side.scene, view.phase, chosen) })).filter((side) => side.y);
  compare_values(view, sides);
  if (height < 7 * font || width < 12 * font || !sides.length) return;
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) chart.setAttribute(name, value);
  const { name, unit, section } = chosen, text = COMPARE_TEXT[unit], what = `${name}${section ? `, ${section.split(",")[0]},` : ""} against block size`;
  const whole = a.scene === b.scene ? `${what}, one curve: same settings` : what, title = whole.length * 0.58 * font < width ? whole : what;
  const sizes = [...new Set(sides.flatMap((side) => side.scene.sizes))].sort((x, y) => x - y), all = sides.flatMap((side) => side.y).filter((y) => y !== null);
  const log = all.every((y) => y > 0), scale = (y) => (log ? Math.log10(y) : y), least = log ? Math.min(...all) : 0, most = Math.max(...all);
  const extent = Math.max(scale(most) - scale(least), log ? 0.3 : 1e-9), low = log ? (scale(least) + scale(most) - extent) / 2 : 0, high = low + extent; // what differs little looks so
  const room = 0.14 * (high - low), bottom = low - room, span = high - low + 2 * room; // for "A" above and "B" below their marks
  const box = { x: 6 * font, y: 2.7 * font, w: width - 7.5 * font, h: height - 5.7 * font };
  const px = (size) => box.x + (sizes.length > 1 ? (sizes.indexOf(size) / (sizes.length - 1)) * box.w : 0), at = (y) => box.y + box.h - ((y - bottom) / span) * box.h, py = (y) => at(scale(y));
  const add = (tag, attributes, words) => chart.append(pv_svg(tag, attributes, words));
  add("text", { x: 0.5 * font, y: 1.1 * font, fill: ink.text, "font-size": font, "font-weight": 600 }, title);
  for (const y of py(least) - py(most) > 1.2 * font ? [least, most] : [most]) {
    add("path", { d: `M${box.x - 4},${py(y)}H${box.x + box.w}`, stroke: ink.grid });
    add("text", { x: box.x - 8, y: py(y) + 0.35 * font, "text-anchor": "end", fill: ink.muted, "font-size": font }, text(y));
  }
  for (const size of sizes) add("text", { x: px(size), y: box.y + box.h + 1.6 * font, "text-anchor": "middle", fill: ink.muted, "font-size": font }, size);
  for (const side of sides) add("path", { d: compare_path(side, px, py), fill: "none", stroke: side.ink, "stroke-width": 2, "stroke-dasharray": side.dash });
  for (const side of sides) {
    const value = compare_value(view, side, chosen);
    if (value === null) continue;
    const [x, y] = [px(side.size), py(value)], isB = side.name === "B";
    add(isB ? "circle" : "rect", isB ? { cx: x, cy: y, r: 5.5, fill: side.ink } : { x: x - 5, y: y - 5, width: 10, height: 10, fill: side.ink });
    const beside = isB && y > box.y + box.h - font; // below it stands the axis
    const left = side.size === sizes[sizes.length - 1];
    const where = beside ? { x: x + (left ? -0.7 : 0.7) * font, y: y - 0.5 * font, "text-anchor": left ? "end" : "start" } : { x, y: isB ? y + 1.6 * font : y - 0.8 * font, "text-anchor": "middle" };
    add("text", { ...where, fill: ink.text, "font-size": font, "font-weight": 600 }, side.name);
  }
  chart.setAttribute("aria-label", `${title}, of A and B`);
}

// The curves for whoever does not see them.
function compare_values({ chosen, values }, sides) {
  const sizes = [...new Set(sides.flatMap((side) => side.scene.sizes))].sort((x, y) => x - y), value = ({ scene, y }, size) => y[scene.sizes.indexOf(size)] ?? null;
  const rows = sizes.map((size) => [size, ...sides.map((side) => (value(side, size) === null ? "–" : COMPARE_TEXT[chosen.unit](value(side, size))))]);
  values.replaceChildren(pv_table(`${chosen.name} against block size`, ["block size", ...sides.map((side) => side.name)], rows));
}

// A line from size to size; sizes that were not recorded or measured are skipped.
function compare_path({ scene, y }, px, py) {
  return y.map((value, i) => (value === null ? "" : `${px(scene.sizes[i])},${py(value)}`)).filter(Boolean).map((point, i) => `${i ? "L" : "M"}${point}`).join("");
}
