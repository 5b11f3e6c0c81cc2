// Compare: A is kept (a block size of a circuit under its settings), B is what the explorer shows. One table of differences, and
// the chosen row of both against block size. A's scene stays here while circuit and settings go on.

const COMPARE_WORDS = { ms: ["faster", "slower"], bytes: ["less", "more"], count: ["fewer", "more"] };
const COMPARE_TEXT = { ms: pv_ms, bytes: pv_bytes, count: pv_short, share: pv_percent };

function draw_compare(el, scene, store) {
  const frame = pv_frame(el, "compare", store);
  if (!frame || !scene) return;
  const { view } = frame;
  if (!view.table) compare_build(frame);
  view.frame = frame;
  view.b = { scene, size: frame.state.blockSize };
  view.a ??= { scene };
  if (!view.kept && compare_elsewhere(view.a.scene, scene)) view.a = { scene, size: view.a.size };
  if (!view.kept && !(view.chosen && view.a.scene.sizes.includes(view.a.size))) view.a.size = view.a.scene.sizes.at(view.b.size === view.a.scene.sizes[0] ? -1 : 0); // so that there are differences to see
  view.phase = scene.values[frame.state.phase] ? frame.state.phase : "forward";
  view.phaseSelect.value = view.phase;
  view.body.dataset.mode = frame.width >= 58 * frame.font && frame.height < 45 * frame.font ? "columns" : "rows";
  compare_heads(view);
  compare_rows(view);
  compare_curves(view);
}

// Another circuit, batch or device; a move of the tolerance is what one compares.
function compare_elsewhere(a, b) {
  return ["circuit", "batchSize", "device"].some((key) => a[key] !== b[key]);
}

function compare_build(frame) {
  const { el, view } = frame, bar = pv_el("div", "pcv-bar");
  const again = () => draw_compare(el, view.b.scene, view.frame.store);
  view.row = "time_ms";
  view.top = 0; // row at the top, where there is room for some of them only
  view.more = pv_button("", () => {
    view.top = view.top + view.fit < view.b.scene.rows.length ? view.top + view.fit : 0;
    compare_rows(view);
  });
  view.more.dataset.pcv = "compare-more";
  view.phaseSelect = pv_select([["forward", "forward"], ["backward", "backward"], ["both", "forward + backward"]], "forward", "pass", (value) => view.frame.store.set({ phase: value }, { commit: true }));
  view.sizeSelect = pv_select([], "", "block size of A", (value) => {
    view.a = { ...view.a, size: Number(value) };
    view.chosen = true;
    again();
  });
  view.keep = pv_button("Keep B as A", () => {
    view.a = { ...view.b };
    view.kept = true;
    again();
  });
  view.swap = pv_button("Swap", () => {
    const size = view.a.size;
    view.a = { ...view.b };
    view.chosen = true;
    view.frame.store.set({ blockSize: size }, { commit: true });
  });
  view.keep.title = "A stays when circuit or settings change";
  for (const [name, node] of Object.entries({ phase: view.phaseSelect, size: view.sizeSelect, keep: view.keep, swap: view.swap })) node.dataset.pcv = `compare-${name}`;
  bar.append(view.phaseSelect, pv_el("span", "pcv-muted", "A: block size"), view.sizeSelect, view.swap, view.keep, pv_el("span", "pcv-grow"), view.more);
  view.about = pv_el("div", "pcv-keys pcv-compare-about");
  view.table = pv_el("table", "pcv-table pcv-compare-table");
  view.table.append(pv_el("caption", "pcv-sr", "Differences of A and B"), pv_el("thead"), pv_el("tbody"));
  view.plot = pv_el("div", "pcv-plot");
  view.chart = pv_svg("svg", { class: "pcv-compare-chart", role: "img" });
  view.plot.append(view.chart);
  view.body = pv_el("div", "pcv-body");
  view.body.append(view.table, view.plot);
  el.append(bar, view.about, view.body);
}

// "A 1" and "B 16", and what else tells them apart.
function compare_heads(view) {
  const { a, b } = view, same = a.scene === b.scene, ink = compare_ink(view);
  const key = a.scene.sizes.join();
  if (view.sizeKey !== key) {
    view.sizeKey = key;
    view.sizeSelect.replaceChildren(...a.scene.sizes.map((size) => Object.assign(pv_el("option", "", String(size)), { value: size })));
  }
  view.sizeSelect.value = a.size;
  view.swap.disabled = !same;
  view.swap.title = same ? "" : "A is of another circuit or of other settings";
  const keys = [["circuit", ""], ["batchSize", "batch "], ["tolerance", "tolerance "], ["device", "model, "]].filter(([name]) => !same && a.scene[name] !== b.scene[name]);
  view.about.replaceChildren(...[["A", a, ink.a, "5,3"], ["B", b, ink.b, ""]].map(([name, side, colour, dash]) => {
    const node = pv_el("span", "pcv-key"), rest = keys.map(([field, word]) => `${word}${side.scene[field]}`).join(", ");
    node.append(pv_swatch_line(colour, dash, name === "A" ? "square" : "circle"), pv_el("b", "", `${name}: block size ${side.size}`), pv_el("span", "", rest && `· ${rest}`));
    return node;
  }), pv_el("span", "", same || !keys.some(([name]) => name === "device") ? b.scene.modelLabel : ""));
}

function compare_ink(view) {
  const ink = PV_LINES[view.frame.theme];
  return { a: ink.naive, b: ink.model, text: ink.text, grid: ink.grid, muted: ink.muted };
}

function compare_value(view, side, key) {
  const at = side.scene.sizes.indexOf(side.size);
  return at < 0 ? null : side.scene.values[view.phase][key][at];
}

function compare_rows(view) {
  const { a, b } = view, head = pv_el("tr");
  head.append(...["", "A", "B", "B against A"].map((text) => Object.assign(pv_el("th", "", text), { scope: "col" })));
  view.table.tHead.replaceChildren(head);
  const old = document.activeElement?.dataset?.compareRow, body = view.table.tBodies[0], { rows } = b.scene;
  const all = rows.map((row) => compare_row(view, row, compare_value(view, a, row.key), compare_value(view, b, row.key)));
  body.replaceChildren(...all);
  const room = view.body.clientHeight, used = view.table.offsetHeight;
  view.fit = used <= room ? rows.length : Math.max(1, Math.floor(room / (used / (rows.length + 1))) - 1);
  if (view.fit === rows.length) view.top = 0;
  else body.replaceChildren(...all.slice(view.top, view.top + view.fit));
  view.more.hidden = view.fit === rows.length;
  view.more.textContent = `rows ${view.top + 1}–${Math.min(rows.length, view.top + view.fit)} of ${rows.length} ›`;
  if (old) view.table.querySelector(`[data-compare-row="${old}"]`)?.focus({ preventScroll: true });
}

function compare_row(view, { key, name, unit, kind }, before, now) {
  const row = pv_el("tr"), head = pv_el("th"), known = before !== null && now !== null, changed = known && before !== now;
  const button = pv_button(name, () => {
    view.row = key;
    compare_rows(view);
    compare_curves(view);
  });
  button.setAttribute("aria-pressed", String(view.row === key));
  button.title = `${kind}; draw it against block size`;
  Object.assign(button.dataset, { compareRow: key, pcv: `compare-row-${key}` });
  head.scope = "row";
  head.append(button);
  const cells = [before, now].map((value, i) => {
    const cell = pv_el("td", changed && i ? "pcv-compare-changed" : "");
    cell.dataset.pcv = `compare-${i ? "b" : "a"}-${key}`;
    pv_number(cell, value ?? "", value === null ? "–" : COMPARE_TEXT[unit](value));
    return cell;
  });
  const difference = pv_el("td", changed ? "pcv-compare-changed" : "pcv-muted", known ? compare_difference(unit, before, now) : "–");
  difference.dataset.pcv = `compare-change-${key}`;
  row.append(head, ...cells, difference);
  return row;
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
  const { a, b, chart, frame, row } = view, ink = compare_ink(view), [width, height] = [view.plot.clientWidth, view.plot.clientHeight], font = frame.font;
  chart.replaceChildren();
  if (height < 7 * font || width < 12 * font) return;
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) chart.setAttribute(name, value);
  const { name, unit } = b.scene.rows.find((each) => each.key === row), text = COMPARE_TEXT[unit];
  const sides = [{ ...a, ink: ink.a, dash: "5,3" }, { ...b, ink: ink.b, dash: "" }].map((side) => ({ ...side, y: side.scene.values[view.phase][row] }));
  const sizes = [...new Set(sides.flatMap((side) => side.scene.sizes))].sort((x, y) => x - y), all = sides.flatMap((side) => side.y);
  const log = all.every((y) => y > 0), scale = (y) => (log ? Math.log10(y) : y), low = log ? Math.min(...all.map(scale)) : 0, high = Math.max(...all.map(scale), low + (log ? 0.3 : 1e-9));
  const room = 0.14 * (high - low), bottom = low - room, span = high - low + 2 * room; // for "A" above and "B" below their marks
  const box = { x: 6 * font, y: 2.4 * font, w: width - 7.5 * font, h: height - 5.4 * font };
  const px = (size) => box.x + (sizes.length > 1 ? (sizes.indexOf(size) / (sizes.length - 1)) * box.w : 0), at = (y) => box.y + box.h - ((y - bottom) / span) * box.h, py = (y) => at(scale(y));
  const add = (tag, attributes, words) => chart.append(pv_svg(tag, attributes, words));
  add("text", { x: box.x, y: 1.1 * font, fill: ink.text, "font-size": font, "font-weight": 600 }, `${name} against block size`);
  for (const y of [low, high]) {
    add("path", { d: `M${box.x - 4},${at(y)}H${box.x + box.w}`, stroke: ink.grid });
    add("text", { x: box.x - 8, y: at(y) + 0.35 * font, "text-anchor": "end", fill: ink.muted, "font-size": font }, text(log ? 10 ** y : y));
  }
  for (const size of sizes) add("text", { x: px(size), y: box.y + box.h + 1.6 * font, "text-anchor": "middle", fill: ink.muted, "font-size": font }, size);
  for (const side of sides) add("path", { d: side.y.map((y, i) => `${i ? "L" : "M"}${px(side.scene.sizes[i])},${py(y)}`).join(""), fill: "none", stroke: side.ink, "stroke-width": 2, "stroke-dasharray": side.dash });
  sides.forEach((side, i) => {
    const value = compare_value(view, side, row);
    if (value === null) return;
    const [x, y] = [px(side.size), py(value)];
    add(i ? "circle" : "rect", i ? { cx: x, cy: y, r: 5.5, fill: side.ink } : { x: x - 5, y: y - 5, width: 10, height: 10, fill: side.ink });
    add("text", { x, y: i ? y + 1.6 * font : y - 0.8 * font, "text-anchor": "middle", fill: ink.text, "font-size": font, "font-weight": 600 }, i ? "B" : "A");
  });
  chart.setAttribute("aria-label", `${name} of A and B against block size`);
}
