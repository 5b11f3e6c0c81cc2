// Figure 4 of the paper with the layer's own numbers: child blocks and sum blocks, their matrix, and the index tensors of the launches
// as the plan has them. The three share their rows; a place that is pointed at or focused shows in all of them.

function blocks_launches(view, scene, width, height, font) {
  const { panel } = view, data = scene.launches;
  if (!data) return blocks_ask_launches(view, scene);
  view.pick = view.pick || { row: 0, place: 0 };
  const key = [scene.blockSize, scene.layer, scene.tolerance, data.rows[0].position, Math.round(width), Math.round(height), font, view.frame.theme].join();
  if (view.launchesOf !== data || view.launchesKey !== key) {
    Object.assign(view, { launchesOf: data, launchesKey: key });
    const held = panel.contains(document.activeElement) && document.activeElement.closest("svg");
    panel.replaceChildren(...blocks_figure(view, scene, width, height, font));
    if (held) panel.querySelector("[tabindex='0']")?.focus();
  }
  blocks_pick(view, view.pick.row, view.pick.place, false);
}

// Nothing is there yet: from the cursor's sum block on, if there is one, else some of every launch.
function blocks_ask_launches(view, scene) {
  const key = `${scene.blockSize}|${scene.layer}|${scene.tolerance}`, known = view.launchesWish === key, live = view.frame.store.live?.();
  const text = live ? `Compiling ${pv_plural(scene.counts.edges, "edge")} of the layer for their index tensors …` : "No kernel answers here: the index tensors come from a compiled plan.";
  view.panel.replaceChildren(pv_waits(pv_el("p", "pcv-absent"), text));
  view.launchesKey = null;
  if (known) return;
  view.launchesWish = key;
  blocks_send_launches(view, view.cursor ? Math.floor(view.cursor.r) : null);
}

function blocks_send_launches(view, first) {
  view.pick = { row: 0, place: 0 };
  view.frame.store.send({ kind: "part", part: "launches", first });
}

// Further sum blocks, and back to some of every launch.
function blocks_launches_pager(view, { rows, sumBlocks, first }) {
  const pager = pv_el("div", "pcv-pager"), at = rows[0].position, shown = view.figure.g.y.length, go = (to) => blocks_send_launches(view, to);
  const back = pv_button("‹", () => go(Math.max(0, at - shown))), on = pv_button("›", () => go(first === null ? 0 : Math.min(at + shown, sumBlocks - 1)));
  back.setAttribute("aria-label", "earlier sum blocks");
  on.setAttribute("aria-label", "later sum blocks");
  back.disabled = first === null || at === 0;
  on.disabled = first !== null && at + shown >= sumBlocks;
  const each = pv_button("some of each launch", () => go(null));
  each.disabled = first === null;
  pager.append(back, pv_el("span", "", first === null ? "some of each launch" : `sum blocks ${pv_count(at)}–${pv_count(at + shown - 1)} of ${pv_count(sumBlocks)}`), on);
  if (first !== null) pager.append(each);
  return pager;
}

// Where everything lies: rows of sum blocks, with a line of head above each launch.
function blocks_plan_geometry(data, width, height, font) {
  const told = blocks_told_height(width, height, font), room = height - told - 1.8 * font, launches = [], heads = (some) => new Set(some.map((row) => row.launch)).size * 1.8 * font;
  const two = data.rows.length * 2.7 * font + heads(data.rows) <= room, line = (two ? 2.7 : 1.45) * font; // cids, and pids below them
  const rows = blocks_fitting_rows(data, (some) => some.length * line + heads(some) <= room);
  let y = 1.6 * font;
  const places = rows.map((row, i) => {
    if (!i || rows[i - 1].launch !== row.launch) {
      launches.push({ launch: row.launch, y: y + 1.3 * font });
      y += 1.8 * font;
    }
    y += line;
    return y - line;
  });
  const a = Math.round(width * 0.2), slot = 4.2 * font, both = !two && width > 58 * font, b = Math.round(width * (both ? 0.22 : 0.3)), c = width - a - b - 2 * font;
  const slots = Math.max(1, Math.floor((c - 6 * font - (both ? font : 0)) / slot / (both ? 2 : 1)));
  const columns = blocks_first_columns(rows, Math.max(1, Math.floor((b - 2 * font) / (0.62 * font))));
  return { rows, line, two, told, y: places, launches, bottom: y, a, b, slot, both, slots, columns, x: { matrix: a + font, launch: a + b + 2 * font }, cell: Math.min(1.3 * font, (b - 2 * font) / columns.length) };
}

// The rows that fit: as many as can be, of some of each launch the first few of every one.
function blocks_fitting_rows({ rows, first }, fits) {
  for (let n = rows.length; n > 1; n--) {
    const seen = new Map(), count = (row) => seen.set(row.launch, (seen.get(row.launch) || 0) + 1).get(row.launch);
    const some = first === null ? rows.filter((row) => count(row) <= n) : rows.slice(0, n);
    if (fits(some)) return some;
  }
  let some = rows.filter((row, i) => first === null ? !i || rows[i - 1].launch !== row.launch : !i);
  while (some.length > 1 && !fits(some)) some = some.slice(0, -1);
  return some;
}

// Room for what is said below: some 230 letters and, where there is height for it, a caption of some 90.
function blocks_told_height(width, height, font) {
  const lines = (letters) => Math.ceil((letters * 0.56 * font) / width);
  return (lines(230) * 1.35 + (height < 24 * font ? 0 : 2.6 + 1.35 * lines(90))) * font + 14;
}

// Child blocks that fit: those in the first place of every row, then in the second, and so on.
function blocks_first_columns(rows, most) {
  const kept = new Set();
  for (let place = 0; place < Math.max(...rows.map((row) => row.places.length)); place++) {
    for (const row of rows) if (row.places[place] && row.places[place][2] >= 0 && kept.size < most) kept.add(row.places[place][2]);
  }
  return [...kept].sort((a, b) => a - b);
}

function blocks_figure(view, scene, width, height, font) {
  const data = scene.launches, g = blocks_plan_geometry(data, width, height, font), svg = pv_svg("svg", { width, height: Math.max(40, height - g.told), class: "pcv-figure" });
  view.figure = { g, cells: new Map(), slots: new Map(), links: new Map() };
  const say = (x, y, text, cls, anchor) => svg.append(pv_svg("text", { x, y, class: cls || "", "text-anchor": anchor || "start" }, text));
  svg.append(blocks_patterns(view));
  say(4, font, "layer", "pcv-strong");
  say(g.x.matrix, font, "matrix", "pcv-strong");
  say(g.x.launch, font, `launches: nids | cids${g.both ? " | pids" : g.two ? " over pids" : ""}`, "pcv-strong");
  blocks_figure_layer(view, svg, data, font);
  g.rows.forEach((row, i) => blocks_figure_row(view, svg, row, i, font));
  for (const { launch, y } of g.launches) {
    const group = data.groups.find((one) => one.launch === launch);
    say(g.x.launch, y, `launch ${launch}: G ${pv_count(group.G)} × E ${pv_count(group.E)}`, "pcv-soft");
  }
  view.told = pv_el("div", "pcv-figure-told");
  view.told.setAttribute("role", "status");
  view.told.dataset.pcv = "blocks-told";
  svg.addEventListener("keydown", (event) => blocks_figure_key(view, event));
  const some = (n, all, what) => (n < all ? `${n} of ${pv_count(all)} ${what}` : "");
  const cut = [some(g.rows.length, data.sumBlocks, "sum blocks"), some(g.columns.length, data.columns.length, "child blocks"), data.caption].filter(Boolean).join("; ");
  const foot = pv_el("div", "pcv-figure-foot");
  if (data.sumBlocks > data.rows.length || data.first !== null) foot.append(blocks_launches_pager(view, data));
  foot.append(pv_el("div", "pcv-caption", cut ? `Shown: ${cut}.` : ""));
  foot.hidden = height < 24 * font;
  return [svg, view.told, foot];
}

// Patterns of the kinds as in the map, for SVG; ids are this view's own.
function blocks_patterns(view) {
  const defs = pv_svg("defs"), ink = Object.fromEntries(Object.entries(PV_INK[view.frame.theme]).map(([key, rgb]) => [key, `rgb(${rgb})`]));
  view.patternId = view.patternId || `pcv-blocks-${Math.random().toString(36).slice(2, 8)}`;
  const shapes = {
    absent: [ink.stored, ["path", { d: "M-1,7L7,-1M-1,1L1,-1M5,7L7,5", stroke: ink.absent, "stroke-width": 2.2 }]],
    missing: [ink.stored, ["path", { d: "M0,1.5H6", stroke: ink.missing, "stroke-width": 3 }]],
    zero: [ink.empty, ["rect", { width: 3, height: 3, fill: ink.stored }]],
    pseudo: [ink.pseudoBg, ["path", { d: "M0,0L6,6M6,0L0,6", stroke: ink.pseudo, "stroke-width": 1 }]],
  };
  for (const [name, [ground, [tag, mark]]] of Object.entries(shapes)) {
    const pattern = pv_svg("pattern", { id: `${view.patternId}-${name}`, width: 6, height: 6, patternUnits: "userSpaceOnUse" });
    pattern.append(pv_svg("rect", { width: 6, height: 6, fill: ground }), pv_svg(tag, mark));
    defs.append(pattern);
  }
  return defs;
}

function blocks_fill(view, kind) {
  const name = kind === BLOCKS_PSEUDO ? "pseudo" : kind & BLOCKS_ABSENT ? "absent" : kind & BLOCKS_MISSING ? "missing" : kind & BLOCKS_ZERO ? "zero" : "";
  return name ? `url(#${view.patternId}-${name})` : `rgb(${PV_INK[view.frame.theme].stored})`;
}

// Child blocks at the left, sum blocks at the right of the layer; links where a block of parameters is stored.
function blocks_figure_layer(view, svg, data, font) {
  const { g, links } = view.figure, at = new Map(g.columns.map((column, i) => [column, 1.9 * font + ((i + 0.5) * (g.bottom - 1.9 * font)) / g.columns.length]));
  const left = 3.4 * font, right = g.a - 0.6 * font;
  g.rows.forEach((row, i) => row.places.forEach(([, , column], place) => {
    if (!at.has(column)) return;
    const link = pv_svg("path", { d: `M${left},${at.get(column)}L${right},${g.y[i] + 0.5 * g.line}`, class: "pcv-figure-link" });
    links.set(`${i}|${place}`, link);
    svg.append(link);
  }));
  const every = Math.ceil((1.15 * font * g.columns.length) / Math.max(1, g.bottom - 1.9 * font));
  g.columns.forEach((column, i) => {
    svg.append(pv_svg("circle", { cx: left, cy: at.get(column), r: Math.min(0.36 * font, 6), class: "pcv-figure-node" }));
    if (i % every === 0) svg.append(pv_svg("text", { x: left - 0.6 * font, y: at.get(column) + 0.35 * font, "text-anchor": "end", class: "pcv-soft" }, pv_count(column)));
  });
  g.y.forEach((y) => svg.append(pv_svg("rect", { x: right - 0.35 * font, y: y + 0.5 * g.line - 0.35 * font, width: 0.7 * font, height: 0.7 * font, class: "pcv-figure-node" })));
}

function blocks_figure_row(view, svg, row, i, font) {
  const { g, cells, slots } = view.figure, y = g.y[i], high = g.line - 3;
  const number = (x, text) => svg.append(pv_svg("text", { x, y: y + 0.5 * g.line + 0.35 * font, "text-anchor": "end" }, text));
  svg.append(pv_svg("rect", { x: g.x.matrix, y: y + 1, width: g.cell * g.columns.length, height: high, class: "pcv-figure-ground" }));
  number(g.x.launch + 4 * font, String(row.nid));
  row.places.forEach(([cid, pid, column, kind], place) => {
    const at = column < 0 ? -1 : g.columns.indexOf(column), key = `${i}|${place}`, on = () => blocks_pick(view, i, place, false);
    if (at >= 0) {
      const cell = pv_svg("rect", { x: g.x.matrix + at * g.cell, y: y + 1, width: Math.max(2, g.cell - 1), height: high, fill: blocks_fill(view, kind), class: "pcv-figure-cell" });
      cell.addEventListener("mouseenter", on);
      cells.set(key, cell);
      svg.append(cell);
    }
    if (place >= g.slots) return;
    const slot = pv_focusable(pv_svg("g", { tabindex: -1, role: "button", class: "pcv-figure-slot" }));
    const boxes = [[g.x.launch + 4.4 * font, cid], ...(g.both ? [[g.x.launch + 5.4 * font + g.slots * g.slot, pid]] : [])];
    for (const [x, value] of boxes) {
      slot.append(pv_svg("rect", { x: x + place * g.slot, y: y + 1, width: g.slot - 2, height: high, ...(kind === BLOCKS_PSEUDO ? { fill: blocks_fill(view, kind) } : {}) }));
      const middle = y + (g.two ? 0.3 : 0.5) * g.line + 0.35 * font;
      if (kind !== BLOCKS_PSEUDO) slot.append(pv_svg("text", { x: x + (place + 1) * g.slot - 5, y: middle, "text-anchor": "end" }, blocks_index(value)));
    }
    if (g.two && kind !== BLOCKS_PSEUDO) slot.append(pv_svg("text", { x: boxes[0][0] + (place + 1) * g.slot - 5, y: y + 0.68 * g.line + 0.35 * font, "text-anchor": "end", class: "pcv-soft" }, blocks_index(pid)));
    slot.setAttribute("aria-label", blocks_told(view, i, place).join(" "));
    slot.addEventListener("focus", () => blocks_pick(view, i, place, false));
    slot.addEventListener("mouseenter", on);
    slots.set(key, slot);
    svg.append(slot);
  });
  if (row.width > g.slots) number(Math.min(g.x.launch + 5.6 * font + g.slots * g.slot, svg.width.baseVal.value - 2), "…");
}

// An index in the room of six digits.
function blocks_index(n) {
  return String(n).length > 6 ? pv_short(n) : String(n);
}

function blocks_figure_key(view, event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  blocks_pick(view, view.pick.row + step[0], view.pick.place + step[1], true);
}

function blocks_pick(view, row, place, focus) {
  const { g, cells, slots, links } = view.figure, { rows } = g;
  row = pv_clamp(row, 0, g.y.length - 1);
  place = pv_clamp(place, 0, rows[row].places.length - 1);
  view.pick = { row, place };
  const key = `${row}|${place}`, shown = `${row}|${Math.min(place, Math.min(g.slots, rows[row].places.length) - 1)}`;
  for (const map of [cells, slots, links]) for (const [at, node] of map) node.classList.toggle("pcv-on", at === key);
  for (const [at, node] of slots) node.setAttribute("tabindex", at === shown ? 0 : -1);
  if (focus) slots.get(shown)?.focus();
  view.pick = { row, place };
  const [head, ...more] = blocks_told(view, row, place);
  view.told.replaceChildren(pv_el("b", "", head), ` ${more.join(" ")}`);
}

function blocks_told(view, i, place) {
  const { launches } = view.scene, row = view.figure.g.rows[i], group = launches.groups.find((one) => one.launch === row.launch), [cid, pid, column, kind] = row.places[place];
  const head = `launch ${row.launch}: nids[${row.place}] = ${String(row.nid)}, cids[${row.place}, ${place}] = ${String(cid)}, pids[${row.place}, ${place}] = ${String(pid)}.`;
  const from = `Writes sums at rows ${blocks_from_to(row.nid, group.sumBlock)} (${row.label}, DAG's node ${blocks_from_to(row.node, group.sumBlock)});`;
  if (kind === BLOCKS_PSEUDO) return [head, from, "pseudo block: reads the null block (rows 0 …) and the zero parameters."];
  const at = launches.columns.indexOf(column), nodes = blocks_from_to(launches.colNodes[at], group.childBlock), size = group.sumBlock * group.childBlock;
  return [head, from, `reads products at rows ${blocks_from_to(cid, group.childBlock)} (${launches.colLabels[at]}, DAG's node ${nodes}) and parameters ${blocks_from_to(pid, size)}.`];
}

function blocks_from_to(first, size) {
  return size > 1 ? `${first}–${first + size - 1}` : String(first);
}
