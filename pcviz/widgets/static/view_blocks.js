// Blocks: the blocks of one layer's parameter matrix, rows in plan order. "as launched" packs each sum block's child blocks
// side by side, as a launch reads them, with its pseudo blocks at the end; "matrix" puts them at their columns, with the
// pseudo blocks in a strip at the right. view_blocks_map.js paints, view_blocks_zoom.js moves.

const BLOCKS_EDGE = 1, BLOCKS_ZERO = 2, BLOCKS_ABSENT = 4, BLOCKS_MISSING = 8, BLOCKS_PSEUDO = 16; // what a cell holds, as bits
const BLOCKS_MODES = { launch: "launched", matrix: "matrix", figure: "figure 4", cuts: "groups" };
const BLOCKS_TITLES = { launch: "Rows as the launches read them", matrix: "The parameter matrix", figure: "Layer, matrix and launches with nids, cids and pids", cuts: "The dynamic program that chose the groups" };
const BLOCKS_LEGEND = [
  ["edges", "edges", "cells that the circuit connects", BLOCKS_EDGE],
  ["zero", "zero", "edges whose parameter is 0: multiplied like the others; EM keeps them at 0", BLOCKS_ZERO],
  ["absent", "absent", "cells of stored blocks that the circuit does not connect: the block grid is coarser than the circuit", BLOCKS_ABSENT],
  ["missing", "missing", "cells in missing rows or columns: a vector's length is no multiple of its block", BLOCKS_MISSING],
  ["pseudo", "pseudo", "cells of pseudo blocks, which give every sum block of a launch equally many child blocks", BLOCKS_PSEUDO],
];

function draw_blocks(el, scene, store) {
  const frame = pv_frame(el, "blocks", store);
  if (!frame || !scene) return;
  const view = frame.view;
  if (!view.canvas) blocks_build(frame);
  if (view.scene && view.scene.layer !== scene.layer) Object.assign(view, { zoom: { f: 1, u: 0, v: 0 }, cursor: null, pick: null });
  if (view.scene && view.scene.blockSize !== scene.blockSize) view.cursor = null;
  if (view.scene && view.scene !== scene) blocks_drop(view.scene);
  view.scene = scene;
  view.frame = frame;
  blocks_keep(scene);
  const font = frame.font, mode = frame.width >= 900 && frame.height > 24 * font ? "columns" : frame.height < 30 * font ? "tight" : frame.width >= 43 * font ? "rows" : frame.height < 38 * font ? "tight" : "stack"; // a stack has room for some launches
  if (view.body.dataset.mode !== mode) view.body.dataset.mode = mode;
  view.side.style.width = mode === "columns" ? `${Math.round(25 * font)}px` : "100%";
  blocks_bar(view, scene);
  blocks_counts(view, scene);
  const picture = view.mode === "launch" || view.mode === "matrix";
  if (view.map.hidden === picture) for (const [part, hidden] of [[view.map, !picture], [view.side, !picture], [view.zooms[0].parentNode, !picture], [view.panel, picture]]) part.hidden = hidden;
  const room = [frame.width, frame.height, font, mode, picture].join();
  if (view.room !== room) Object.assign(view, { room, barHeight: view.bar.offsetHeight, legendHeight: view.legend.offsetHeight }); // asking lays the page out
  const height = frame.height - view.barHeight, legend = view.legendHeight;
  const mapHeight = mode === "columns" ? height : mode === "stack" ? Math.round(0.5 * height) : height - legend - 8;
  const tableHeight = mode === "columns" ? height - legend - 8 : mode === "rows" || mode === "tight" ? legend : height - mapHeight - legend - 8;
  const width = mode === "columns" ? frame.width - Math.round(25 * font) - 8 : frame.width;
  if (!picture) {
    view.panel.style.height = `${height - 4}px`;
    return (view.mode === "figure" ? blocks_launches : blocks_cuts)(view, scene, frame.width - 12, height - 4, font);
  }
  const shown = (view.shown = blocks_picture(scene, view.mode));
  const g = (view.geometry = blocks_geometry(shown, view.zoom, width, mapHeight, font, window.devicePixelRatio || 1));
  Object.assign(view.zoom, { u: g.c0 / shown.C, v: g.r0 / shown.R });
  shown.raster = blocks_best(shown, g);
  blocks_caption(view, scene, shown.raster);
  view.map.style.height = mode === "columns" ? "auto" : `${mapHeight}px`;
  blocks_table(view, scene, tableHeight, font);
  blocks_paint(view, shown, g, frame.theme);
  blocks_gutter(view.svg, shown, g, font);
  blocks_numbers(view, shown, g, frame.theme);
  blocks_ask(view);
  blocks_notes(view, shown, g);
  view.tip.hidden = true;
  blocks_chosen(view);
  if (document.activeElement === view.map) blocks_show_cursor(view);
}

function blocks_build(frame) {
  const view = frame.view;
  Object.assign(view, { mode: "launch", zoom: { f: 1, u: 0, v: 0 } });
  view.side = pv_el("div", "pcv-side");
  blocks_legend(view);
  view.table = pv_el("div", "pcv-groups");
  view.caption = pv_el("div", "pcv-caption");
  const launches = pv_el("div", "pcv-launches");
  launches.append(view.table, view.caption);
  view.side.append(launches);
  view.panel = pv_el("div", "pcv-blocks-panel");
  view.panel.hidden = true;
  view.body = pv_el("div", "pcv-body");
  view.body.append(blocks_map(view), view.panel, view.side);
  frame.el.append(blocks_tools(frame), view.body);
  blocks_wire(view);
}

// Layer, what is drawn of it, zoom and tolerance.
function blocks_tools(frame) {
  const view = frame.view;
  view.bar = pv_el("div", "pcv-bar");
  view.title = pv_el("span", "pcv-title");
  view.select = pv_select([], "", "layer", (value) => frame.store.set({ layer: Number(value) }, { commit: true }));
  view.select.dataset.pcv = "blocks-layer";
  view.modes = Object.entries(BLOCKS_MODES).map(([mode, label]) => {
    const button = pv_button(label, () => {
      Object.assign(view, { mode, zoom: { f: 1, u: 0, v: 0 }, cursor: null, cutsKey: null, launchesKey: null });
      draw_blocks(frame.el, view.scene, view.frame.store);
    });
    Object.assign(button, { title: BLOCKS_TITLES[mode] }).dataset.pcv = `blocks-mode-${mode}`;
    button.dataset.mode = mode;
    return button;
  });
  const zoom = pv_el("span", "pcv-zoom");
  view.zooms = [["−", "Zoom out (minus key)", () => blocks_zoom(view, 1 / 1.5), "out"], ["+", "Zoom in (plus key, Ctrl + wheel, double click)", () => blocks_zoom(view, 1.5), "in"],
    ["whole", "The whole layer (0 key)", () => blocks_reset(view), "reset"]].map(([text, title, act, name]) => {
    const button = pv_button(text, act);
    Object.assign(button, { title }).dataset.pcv = `blocks-zoom-${name}`;
    button.setAttribute("aria-label", title);
    return button;
  });
  view.tolerance = blocks_tolerance(view);
  zoom.append(...view.zooms);
  view.bar.append(view.select, ...view.modes, zoom, view.tolerance.box, view.title);
  return view.bar;
}

function blocks_map(view) {
  view.map = pv_el("div", "pcv-map");
  view.canvas = pv_el("canvas", "pcv-canvas");
  view.canvas.dataset.pcv = "blocks-canvas";
  view.svg = pv_svg("svg", { class: "pcv-overlay", "aria-hidden": "true" });
  view.mark = pv_el("div", "pcv-mark");
  view.note = pv_el("div", "pcv-blocks-note");
  view.said = pv_el("div", "pcv-sr");
  view.said.setAttribute("role", "status");
  view.map.append(view.canvas, view.svg, view.mark, view.note, view.said);
  view.tip = pv_tip(view.map);
  return view.map;
}

// The second slider: over the index of the tolerances whose frames the page has or gets.
function blocks_tolerance(view) {
  const box = pv_el("label", "pcv-tolerance"), range = pv_focusable(pv_el("input")), said = pv_el("output");
  Object.assign(range, { type: "range", min: 0, step: 1 });
  range.dataset.pcv = "blocks-tolerance";
  range.setAttribute("aria-label", "padding tolerance");
  range.addEventListener("input", () => {
    const { store } = view.frame;
    store.set({ tolerance: store.get().tolerances[Number(range.value)] });
  });
  box.title = "Pseudo edges that a layer may have, as a share of its stored edges: more of them, fewer launches";
  box.append(pv_el("span", "", "tolerance"), range, said);
  return { box, range, said };
}

function blocks_show_tolerance({ frame, tolerance: { box, range, said } }) {
  const { tolerance, tolerances = [] } = frame.state, text = pv_digits(tolerance ?? 0);
  box.hidden = tolerances.length < 2;
  range.max = String(Math.max(0, tolerances.length - 1));
  range.value = String(tolerances.indexOf(tolerance));
  range.setAttribute("aria-valuetext", `tolerance ${text}`);
  if (said.textContent !== text) said.textContent = text;
}

function blocks_legend(view) {
  const table = (view.legend = pv_el("table", "pcv-legend"));
  const head = pv_el("tr");
  view.layerHead = pv_el("th", "", "layer");
  head.append(pv_el("th"), view.layerHead, pv_el("th", "", "of cells"), pv_el("th", "", "circuit"));
  const top = pv_el("thead");
  top.append(head);
  const body = pv_el("tbody");
  view.cells = {};
  view.swatches = {};
  for (const [key, label, why] of [["groups", "groups", "sum launches: one per group"], ["launches", "launches", "all launches of the forward pass: products and groups, on a GPU a guard after each group; the circuit's count has the inputs too"], ...BLOCKS_LEGEND]) {
    const row = pv_el("tr");
    row.title = why;
    const name = pv_el("th");
    name.scope = "row";
    if (BLOCKS_LEGEND.some((entry) => entry[0] === key)) name.append((view.swatches[key] = pv_el("canvas", "pcv-swatch")));
    if (key === "zero") row.classList.add("pcv-thereof"); // they are among the edges above
    name.append(pv_el("span", "", label));
    const cells = [pv_el("td"), pv_el("td"), pv_el("td", "pcv-muted")];
    cells[0].dataset.pcv = `blocks-${key}`;
    cells[2].dataset.pcv = `blocks-${key}-total`;
    row.append(name, ...cells);
    body.append(row);
    view.cells[key] = cells;
  }
  table.append(top, body);
  view.side.append(table);
}

function blocks_bar(view, scene) {
  const key = scene.layers.map((l) => `${l.index}:${l.groups}:${l.edges}`).join();
  if (view.layersKey !== key) {
    view.layersKey = key;
    view.layerTexts = scene.layers.map((l) => `layer ${l.index}: ${pv_plural(l.sums, "sum")}, ${pv_plural(l.groups, "group")}, ${pv_short(l.edges)} edges`);
    while (view.select.length > scene.layers.length) view.select.lastChild.remove();
    while (view.select.length < scene.layers.length) view.select.append(pv_el("option"));
    scene.layers.forEach((l, i) => (view.select.options[i].value = String(l.index)));
  }
  view.select.value = String(scene.layer);
  const { width, font, theme } = view.frame, room = [width, font, theme].join(), fits = `${key}|${scene.layer}|${room}`;
  if (view.fits !== fits) {
    view.fits = fits;
    pv_fit_options(view.select, view.layerTexts, room);
  }
  blocks_show_tolerance(view);
  view.title.textContent = view.frame.width < 74 * view.frame.font ? "" : `block size ${scene.blockSize}`;
  for (const button of view.modes) button.setAttribute("aria-pressed", String(button.dataset.mode === view.mode));
  view.map.setAttribute("aria-label", `Block map of layer ${scene.layer} at block size ${scene.blockSize}: ${scene.sumBlocks} sum blocks by ${scene.childBlocks} child blocks, ${scene.counts.groups} groups. Arrows move the cursor, with Shift the picture; plus, minus and 0 zoom.`);
}

function blocks_counts(view, scene) {
  view.layerHead.textContent = `layer ${scene.layer}`;
  for (const key of ["groups", "launches"]) {
    pv_number(view.cells[key][0], scene.counts[key]);
    pv_number(view.cells[key][2], scene.total[key], pv_short(scene.total[key]));
  }
  for (const [key] of BLOCKS_LEGEND) {
    if (scene.total[key] === null || scene.total[key] === undefined) scene.total[key] = scene.counts[key];
    pv_number(view.cells[key][0], scene.counts[key]);
    view.cells[key][1].textContent = pv_percent(scene.counts[key] / Math.max(1, scene.counts.cells));
    pv_number(view.cells[key][2], scene.total[key], pv_short(scene.total[key]));
  }
}

function blocks_caption(view, scene, { pr, pc }) {
  const aggregated = pr > 1 || pc > 1 ? `Aggregated: one cell is ${pv_count(Math.ceil(pr))} × ${pv_count(Math.ceil(pc))} blocks.` : "";
  const more = scene.counts.groups > scene.groups.length ? `${scene.groups.length} of ${pv_count(scene.counts.groups)} launches listed.` : "";
  view.caption.textContent = [aggregated, more].filter(Boolean).join(" ");
  view.caption.title = scene.caption;
}

function blocks_paint(view, shown, g, theme) {
  const image = blocks_pixels(shown, g, theme), canvas = view.canvas;
  blocks_put(canvas, image);
  Object.assign(canvas.style, { left: `${g.x}px`, top: `${g.y}px`, width: `${image.width / g.dpr}px`, height: `${image.height / g.dpr}px` });
  canvas.dataset.blockSize = String(shown.scene.blockSize);
  canvas.dataset.layer = String(shown.scene.layer);
  canvas.dataset.window = [g.r0, g.r1, g.c0, g.c1].map((n) => n.toFixed(3)).join(" ");
  canvas.dataset.cells = shown.raster.cells ? "single" : shown.raster.pr > 1 || shown.raster.pc > 1 ? "aggregated" : "blocks";
  if (view.swatchKey !== theme + g.dpr) blocks_swatches(view, theme, g.dpr);
}

function blocks_put(canvas, image) {
  if (canvas.width !== image.width) canvas.width = image.width;
  if (canvas.height !== image.height) canvas.height = image.height;
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(image.pixels.buffer), image.width, image.height), 0, 0);
}

// Legend swatches come from the same pixels as the map.
function blocks_swatches(view, theme, dpr) {
  view.swatchKey = theme + dpr;
  const g = { mapWidth: 22, mapHeight: 13, sx: 22, sy: 13, r0: 0, r1: 1, c0: 0, c1: 1, stripWidth: 0, dpr };
  for (const [key, , , kind] of BLOCKS_LEGEND) {
    const raster = { rows: 1, cols: 1, r0: 0, r1: 1, c0: 0, c1: 1, pr: 1, pc: 1, m: 1, k: 1, cells: true, kinds: [kind], fill: [255 * (kind === BLOCKS_EDGE)] };
    blocks_put(view.swatches[key], blocks_pixels({ raster, bounds: [], R: 1, C: 1 }, g, theme));
  }
}

// The parameters in their cells, where these are large enough to hold them.
function blocks_numbers(view, shown, g, theme) {
  const { raster } = shown, font = view.frame.font;
  if (!raster.cells || g.sx * raster.pc < 3.4 * font || g.sy * raster.pr < 1.5 * font) return;
  const params = blocks_floats(raster, "params"), parts = [];
  for (let i = Math.max(0, Math.floor((g.r0 - raster.r0) / raster.pr)); i < Math.min(raster.rows, (g.r1 - raster.r0) / raster.pr); i++) {
    for (let j = Math.max(0, Math.floor((g.c0 - raster.c0) / raster.pc)); j < Math.min(raster.cols, (g.c1 - raster.c0) / raster.pc); j++) {
      const at = i * raster.cols + j, x = g.x + (raster.c0 + (j + 0.5) * raster.pc - g.c0) * g.sx, y = g.y + (raster.r0 + (i + 0.5) * raster.pr - g.r0) * g.sy;
      if (raster.kinds[at] !== BLOCKS_EDGE || !Number.isFinite(params[at])) continue;
      if (x < g.x + 1.4 * font || x > g.x + g.mapWidth - 1.4 * font || y < g.y + 0.5 * font || y > g.y + g.mapHeight - 0.5 * font) continue;
      const ground = blocks_mix(PV_INK[theme].empty, PV_INK[theme].stored, 0.25 + 0.75 * (raster.fill[at] / 255));
      const bright = ground.reduce((sum, v, k) => sum + [0.2126, 0.7152, 0.0722][k] * (v / 255) ** 2.2, 0) > 0.18;
      const text = pv_svg("text", { x, y: y + 0.35 * font, "text-anchor": "middle" }, blocks_short(params[at]));
      text.style.fill = bright ? "#000000" : "#ffffff";
      parts.push(text);
    }
  }
  view.svg.append(...parts);
}

function blocks_short(p) {
  return p >= 0.001 ? p.toFixed(3).replace(/^0/, "") : `1e${Math.floor(Math.log10(p))}`.replace("1e-", "<1e-");
}

function blocks_floats(raster, key) {
  const bytes = pv_u8(raster[key]);
  return new Float32Array(bytes.slice().buffer);
}

// What stands in the way of a finer picture.
function blocks_notes(view, shown, g) {
  const coarse = shown.raster.pr > 1 || shown.raster.pc > 1, live = Boolean(view.frame.store.live?.()), finer = (live || g.zoomed) && blocks_wanted(shown, g);
  view.note.textContent = !finer ? "" : !live ? `No kernel answers here: ${coarse ? "the picture stays as coarse as it was sent" : "single cells cannot be shown"}.` : "finer cells …";
  view.note.hidden = !finer;
  view.zooms[0].disabled = view.zooms[2].disabled = !g.zoomed;
  view.zooms[1].disabled = view.zoom.f >= g.most - 1e-9;
  view.map.classList.toggle("pcv-zoomed", g.zoomed);
}

// Brackets with launch labels at the left, axes with counts at top and bottom.
function blocks_gutter(svg, shown, g, font) {
  svg.setAttribute("width", g.width);
  svg.setAttribute("height", g.height);
  const { scene } = shown, parts = [], say = (x, y, text, cls, anchor) => parts.push(pv_svg("text", { x, y, class: cls || "", "text-anchor": anchor || "start" }, text));
  const of = (size) => `of ${scene.mixed ? "≤ " : ""}${size}`, range = (a, b) => (Math.ceil(b) - Math.floor(a) > 1 ? `${pv_count(Math.floor(a))}–${pv_count(Math.ceil(b) - 1)}` : pv_count(Math.floor(a)));
  const across = `${shown.isPacked ? "up to " : ""}${pv_plural(shown.C, "child block")}`, each = shown.isPacked && 0.62 * font * (across.length + 16) < g.width - g.x;
  say(g.x, font, `${across}${each ? " per sum block" : ""} →`, "pcv-strong");
  say(g.x, 2.2 * font, g.zoomed ? `${range(g.c0, g.c1)} in sight` : shown.isPacked ? `${of(scene.childBlock)}, stored first, then pseudo` : `${of(scene.childBlock)}: ${pv_plural(scene.numProducts, "product")}`, "pcv-soft");
  say(g.x - 12, font, `${pv_plural(shown.R, "sum block")}`, "pcv-strong", "end");
  say(g.x - 12, 2.2 * font, g.zoomed ? range(g.r0, g.r1) : `${of(scene.sumBlock)}: ${pv_plural(scene.numSums, "sum")}`, "pcv-soft", "end");
  if (g.stripWidth) say(g.stripX, 2.2 * font, "pseudo", "pcv-pseudo");
  const base = g.y + g.mapHeight;
  for (const n of blocks_ticks(g, shown.C, font)) {
    const x = g.x + (n - g.c0) * g.sx;
    parts.push(pv_svg("path", { d: `M${x},${base + 1}v4`, class: "pcv-axis" }));
    say(x, base + 5 + font, pv_count(n), "pcv-soft", x < g.x + font ? "start" : x > g.x + g.mapWidth - font ? "end" : "middle");
  }
  blocks_brackets(parts, say, shown, g, font);
  svg.replaceChildren(...parts);
}

// Steps of a power of two that leave room for their numbers, and the end of what is visible; in blocks.
function blocks_ticks(g, C, font) {
  let step = 1;
  while (step * g.sx < 4 * font && step < C) step *= 2;
  const end = Math.floor(g.c1 + 1e-9), ticks = [], last = (0.6 * pv_count(end).length + 0.3 * pv_count(end - step).length + 1) * font;
  for (let t = Math.max(0, Math.ceil(g.c0 / step - 1e-9)) * step; t < end && (end - t) * g.sx > last; t += step) ticks.push(t);
  return end >= g.c0 ? [...ticks, end] : ticks;
}

// The launches in sight: their rows on the page; those beyond the listed ones as one.
function blocks_bands({ bounds, R }, g) {
  const ends = bounds.length && bounds[bounds.length - 1] < R ? [...bounds, R] : bounds, bands = [];
  ends.forEach((end, group) => {
    const first = Math.max(g.r0, group ? ends[group - 1] : 0), last = Math.min(g.r1, end);
    if (last > first) bands.push({ group, y0: g.y + (first - g.r0) * g.sy, y1: g.y + (last - g.r0) * g.sy });
  });
  return bands;
}

function blocks_brackets(parts, say, shown, g, font) {
  const { scene } = shown, line = 1.15 * font, bands = blocks_bands(shown, g), x = g.x - 6;
  const least = Math.max(line, Math.min(2 * line, (g.height - g.y) / Math.max(1, bands.length)));
  let free = g.y - 0.2 * line;
  bands.forEach((band, i) => {
    const group = scene.groups[band.group];
    parts.push(pv_svg("path", { d: `M${x + 4},${band.y0 + 0.5}h-4V${Math.max(band.y1 - 0.5, band.y0 + 1)}h4`, class: "pcv-axis pcv-bracket" }));
    const texts = group ? [`launch ${group.launch}`, `${pv_count(group.G)} × ${pv_count(group.E)}`, ...(group.pseudoBlocks ? [`${pv_count(group.pseudoBlocks)} pseudo`] : [])] : ["more"];
    if (group && band.y1 - band.y0 >= 4 * line) texts.splice(1, 1, pv_plural(group.G, "sum block"), `× ${pv_plural(group.E, "child block")}`);
    const limit = (i + 1 < bands.length ? Math.max(bands[i + 1].y0, free + least) : g.height) - 2;
    const lines = Math.floor((limit - Math.max(band.y0, free)) / line);
    if (lines < 1 || free + line > g.height) return;
    const short = group ? `${group.launch}: ${pv_count(group.G)} × ${pv_count(group.E)}` : "…", fits = (short.length + 7) * 0.55 * font < x - 6;
    const shown = lines >= texts.length ? texts : lines > 1 ? texts.slice(0, lines) : [fits ? `launch ${short}` : short];
    let y = Math.max(free, (band.y0 + band.y1) / 2 - (shown.length * line) / 2);
    y = Math.min(y, Math.max(free, limit - shown.length * line));
    shown.forEach((text, k) => say(x - 5, y + (k + 0.8) * line, text, k || lines === 1 ? "pcv-soft" : "pcv-strong", "end"));
    free = y + shown.length * line + 1;
  });
}

// One row per launch: the keyboard's way through the map. As many rows as fit, the rest on further pages.
function blocks_table(view, scene, room, font) {
  const key = JSON.stringify([scene.layer, scene.groups, Math.round(room), font, view.page || 0]);
  if (view.tableKey === key) return;
  const row = 1.55 * font, left = room - (view.caption.textContent ? 4.6 : 2) * font;
  const fits = scene.groups.length * row <= left, sizes = fits ? scene.groups.length : Math.max(1, Math.floor((left - 2.4 * font) / row));
  if (view.pageLayer !== scene.layer || (view.page || 0) * sizes >= scene.groups.length) view.page = 0;
  view.pageLayer = scene.layer;
  view.tableKey = JSON.stringify([scene.layer, scene.groups, Math.round(room), font, view.page]);
  const table = pv_el("table", "pcv-table"), head = pv_el("tr"), top = pv_el("thead"), body = pv_el("tbody");
  for (const [text, why] of [["launch", "one launch of the sum kernel"], ["G", "sum blocks"], ["E", "child blocks per sum block, after padding"], ["stored", "blocks of the circuit"], ["pseudo", "blocks that only pad"], ["cells", "parameters multiplied per sample: stored and pseudo"]]) {
    const cell = pv_el("th", "", text);
    cell.title = why;
    head.append(cell);
  }
  const start = view.page * sizes, shown = scene.groups.slice(start, start + sizes);
  for (const group of shown) body.append(blocks_row(view, group));
  top.append(head);
  table.append(top, body);
  view.table.replaceChildren(table);
  if (sizes < scene.groups.length) view.table.append(blocks_pager(view, start, sizes));
}

function blocks_row(view, group) {
  const row = pv_focusable(pv_el("tr"));
  row.tabIndex = 0;
  const paddings = `${pv_count(group.absent)} absent and ${pv_count(group.missing)} missing edges, ${pv_plural(group.pseudoBlocks, "pseudo block")}`;
  row.title = `launch ${group.launch}: ${pv_count(group.G)} sum blocks x ${pv_count(group.E)} child blocks of ${group.sumBlock} x ${group.childBlock}; ${paddings}`;
  row.setAttribute("aria-label", row.title);
  row.append(pv_el("th", "", String(group.launch)), ...[group.G, group.E, group.stored, group.pseudoBlocks, group.cells].map((n) => pv_el("td", "", pv_short(n))));
  const mark = () => blocks_mark(view, group.launch - 1);
  const clear = () => blocks_chosen(view);
  const choose = () => pv_choose_launch(view.frame.store, view.scene.layer, "forward", group.launch - 1);
  row.dataset.launch = group.launch;
  row.addEventListener("click", choose);
  row.addEventListener("keydown", (event) => event.key === "Enter" && choose());
  row.addEventListener("focus", mark);
  row.addEventListener("mouseenter", mark);
  row.addEventListener("blur", clear);
  row.addEventListener("mouseleave", clear);
  return row;
}

function blocks_pager(view, start, size) {
  const pager = pv_el("div", "pcv-pager"), total = view.scene.groups.length;
  const go = (by) => { view.page = pv_clamp(view.page + by, 0, Math.ceil(total / size) - 1); draw_blocks(view.frame.el, view.scene, view.frame.store); };
  const back = pv_button("‹", () => go(-1)), on = pv_button("›", () => go(1));
  back.setAttribute("aria-label", "previous launches");
  on.setAttribute("aria-label", "next launches");
  pager.append(back, pv_el("span", "", `launches ${start + 1}–${Math.min(total, start + size)} of ${total}`), on);
  return pager;
}

// The chosen launch, where it is one over groups of sum blocks, stays marked.
function blocks_chosen(view) {
  const launch = pv_launch(view.frame.state), group = launch && launch.phase !== "element_flows" ? launch.group : -1;
  for (const row of view.table.querySelectorAll("tr[data-launch]")) {
    const current = row.dataset.launch === String(group + 1);
    row.classList.toggle("pcv-current", current);
    row.setAttribute("aria-current", String(current));
  }
  if (group < 0) view.mark.hidden = true;
  else blocks_mark(view, group);
}

function blocks_mark(view, group) {
  const g = view.geometry, band = blocks_bands(view.shown, g).find((one) => one.group === group);
  view.mark.hidden = !band;
  if (band) Object.assign(view.mark.style, { left: `${g.x - 2}px`, top: `${band.y0 - 2}px`, width: `${g.mapWidth + (g.stripWidth ? g.stripWidth + 8 : 0) + 4}px`, height: `${band.y1 - band.y0 + 4}px` });
}
