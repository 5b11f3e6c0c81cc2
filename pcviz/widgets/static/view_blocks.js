// Blocks: the blocks of one layer's parameter matrix, rows in plan order. "as launched" packs each sum block's child blocks
// side by side, as a launch reads them, with its pseudo blocks at the end; "matrix" puts them at their columns, with the
// pseudo blocks in a strip at the right. Full blocks are solid, absent edges diagonal stripes, missing rows or columns
// level stripes, pseudo blocks crossed lines.

const BLOCKS_KINDS = ["no block", "stored block, all cells are edges", "stored block with absent edges", "stored block with missing rows or columns", "pseudo block: probability 0, reads the null block"];
const BLOCKS_MODES = { launch: "as launched", matrix: "matrix" };
const BLOCKS_LEGEND = [
  ["edges", "edges", "cells that the circuit connects"],
  ["absent", "absent", "cells of stored blocks that the circuit does not connect: the block grid is coarser than the circuit"],
  ["missing", "missing", "cells in missing rows or columns: a vector's length is no multiple of its block"],
  ["pseudo", "pseudo", "cells of pseudo blocks, which give every sum block of a launch equally many child blocks"],
];

function draw_blocks(el, scene, store) {
  const frame = pv_frame(el, "blocks", store);
  if (!frame || !scene) return;
  const view = frame.view;
  if (!view.canvas) blocks_build(frame);
  view.scene = scene;
  view.frame = frame;
  const font = frame.font, mode = frame.width >= 900 && frame.height > 24 * font ? "columns" : frame.height < 30 * font ? "tight" : frame.width >= 43 * font ? "rows" : "stack";
  if (view.body.dataset.mode !== mode) view.body.dataset.mode = mode;
  view.side.style.width = mode === "columns" ? `${Math.round(25 * font)}px` : "100%";
  blocks_bar(view, scene);
  blocks_counts(view, scene);
  const room = [frame.width, frame.height, font, mode].join();
  if (view.room !== room) Object.assign(view, { room, barHeight: view.bar.offsetHeight, legendHeight: view.legend.offsetHeight }); // asking lays the page out
  const height = frame.height - view.barHeight, legend = view.legendHeight;
  const mapHeight = mode === "columns" ? height : mode === "stack" ? Math.round(0.5 * height) : height - legend - 8;
  const tableHeight = mode === "columns" ? height - legend - 8 : mode === "rows" || mode === "tight" ? legend : height - mapHeight - legend - 8;
  const width = mode === "columns" ? frame.width - Math.round(25 * font) - 8 : frame.width;
  const shown = view.mode === "matrix" ? scene : blocks_packed(scene);
  view.shown = shown;
  const g = blocks_geometry(shown, width, mapHeight, font, window.devicePixelRatio || 1);
  view.map.style.height = mode === "columns" ? "auto" : `${mapHeight}px`;
  view.geometry = g;
  blocks_table(view, scene, tableHeight, font);
  blocks_paint(view, shown, g, frame.theme);
  blocks_gutter(view.svg, shown, g, font);
  view.mark.hidden = view.tip.hidden = true;
}

function blocks_build(frame) {
  const view = frame.view;
  view.bar = pv_el("div", "pcv-bar");
  view.title = pv_el("span", "pcv-title");
  view.select = pv_select([], "", "layer", (value) => frame.store.set({ layer: Number(value) }, { commit: true }));
  view.select.dataset.pcv = "blocks-layer";
  view.mode = "launch";
  view.modes = Object.entries(BLOCKS_MODES).map(([mode, label]) => {
    const button = pv_button(label, () => {
      view.mode = mode;
      draw_blocks(frame.el, view.scene, view.frame.store);
    });
    button.dataset.pcv = `blocks-mode-${mode}`;
    button.dataset.mode = mode;
    return button;
  });
  view.bar.append(view.select, ...view.modes, view.title);
  view.body = pv_el("div", "pcv-body");
  view.map = pv_el("div", "pcv-map");
  view.canvas = pv_el("canvas", "pcv-canvas");
  view.canvas.dataset.pcv = "blocks-canvas";
  view.svg = pv_svg("svg", { class: "pcv-overlay", "aria-hidden": "true" });
  view.mark = pv_el("div", "pcv-mark");
  view.map.append(view.canvas, view.svg, view.mark);
  view.tip = pv_tip(view.map);
  view.side = pv_el("div", "pcv-side");
  blocks_legend(view);
  view.table = pv_el("div", "pcv-groups");
  view.caption = pv_el("div", "pcv-caption");
  const launches = pv_el("div", "pcv-launches");
  launches.append(view.table, view.caption);
  view.side.append(launches);
  view.body.append(view.map, view.side);
  frame.el.append(view.bar, view.body);
  view.map.addEventListener("mousemove", (event) => blocks_hover(view, event));
  view.map.addEventListener("mouseleave", () => { view.tip.hidden = view.mark.hidden = true; });
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
  for (const [key, label, why] of [["groups", "groups", "sum launches: one per group"], ["launches", "launches", "all launches of the forward pass: products and groups; the circuit's count has the inputs too"], ...BLOCKS_LEGEND]) {
    const row = pv_el("tr");
    row.title = why;
    const name = pv_el("th");
    name.scope = "row";
    if (BLOCKS_LEGEND.some((entry) => entry[0] === key)) name.append((view.swatches[key] = pv_el("canvas", "pcv-swatch")));
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
  const key = scene.layers.map((l) => `${l.index}:${l.groups}`).join();
  if (view.layersKey !== key) {
    view.layersKey = key;
    while (view.select.length > scene.layers.length) view.select.lastChild.remove();
    while (view.select.length < scene.layers.length) view.select.append(pv_el("option"));
    scene.layers.forEach((l, i) => {
      const option = view.select.options[i], text = `layer ${l.index} of ${scene.numLayers}: ${pv_plural(l.sums, "sum")}, ${pv_plural(l.groups, "group")}, ${pv_short(l.edges)} edges`;
      if (option.text !== text) option.text = text;
      option.value = String(l.index);
    });
  }
  view.select.value = String(scene.layer);
  view.title.textContent = view.frame.width < 62 * view.frame.font ? "" : `block size ${scene.blockSize}`;
  for (const button of view.modes) button.setAttribute("aria-pressed", String(button.dataset.mode === view.mode));
  view.canvas.setAttribute("role", "img");
  view.canvas.setAttribute("aria-label", `Block map of layer ${scene.layer} at block size ${scene.blockSize}: ${scene.sumBlocks} sum blocks by ${scene.childBlocks} child blocks, ${scene.counts.groups} groups`);
}

function blocks_counts(view, scene) {
  view.layerHead.textContent = `layer ${scene.layer}`;
  for (const key of ["groups", "launches"]) {
    pv_number(view.cells[key][0], scene.counts[key]);
    pv_number(view.cells[key][2], scene.total[key], pv_short(scene.total[key]));
  }
  for (const [key] of BLOCKS_LEGEND) {
    pv_number(view.cells[key][0], scene.counts[key]);
    view.cells[key][1].textContent = pv_percent(scene.counts[key] / Math.max(1, scene.counts.cells));
    pv_number(view.cells[key][2], scene.total[key], pv_short(scene.total[key]));
  }
  const rows = pv_plural(scene.blocksPerRow, "sum block"), matrix = view.mode === "matrix";
  const aggregated = matrix ? `Aggregated: one cell is ${pv_count(scene.blocksPerRow)} × ${pv_count(scene.blocksPerCol)} blocks.` : `Aggregated: one row is the mean of ${rows}.`;
  const more = scene.counts.groups > scene.groups.length ? `${scene.groups.length} of ${pv_count(scene.counts.groups)} launches listed.` : "";
  view.caption.textContent = [scene.blocksPerRow > 1 || (matrix && scene.blocksPerCol > 1) ? aggregated : "", more].filter(Boolean).join(" ");
  view.caption.title = scene.caption;
}

function blocks_paint(view, scene, g, theme) {
  const image = blocks_pixels(scene, g, theme), canvas = view.canvas;
  if (canvas.width !== image.width) canvas.width = image.width;
  if (canvas.height !== image.height) canvas.height = image.height;
  Object.assign(canvas.style, { left: `${g.x}px`, top: `${g.y}px`, width: `${image.width / g.dpr}px`, height: `${image.height / g.dpr}px` });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(image.pixels.buffer), image.width, image.height), 0, 0);
  canvas.dataset.blockSize = String(scene.blockSize);
  canvas.dataset.layer = String(scene.layer);
  if (view.swatchKey !== theme + g.dpr) blocks_swatches(view, theme, g.dpr);
}

// Legend swatches come from the same pixels as the map.
function blocks_swatches(view, theme, dpr) {
  view.swatchKey = theme + dpr;
  BLOCKS_LEGEND.forEach(([key], i) => {
    const scene = { rows: 1, cols: 1, kinds: [i + 1], fill: [i ? 128 : 255], rowGroup: [0], rowPseudo: [0] };
    const image = blocks_pixels(scene, { cw: 0, ch: 0, mapWidth: 22, mapHeight: 13, unit: 0, stripWidth: 0, perRow: 1, dpr }, theme), canvas = view.swatches[key];
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(image.pixels.buffer), image.width, image.height), 0, 0);
  });
}

// Brackets with launch labels at the left, axes with counts at top and bottom.
function blocks_gutter(svg, scene, g, font) {
  svg.setAttribute("width", g.width);
  svg.setAttribute("height", g.height);
  const parts = [], say = (x, y, text, cls, anchor) => parts.push(pv_svg("text", { x, y, class: cls || "", "text-anchor": anchor || "start" }, text));
  const of = (size) => `of ${scene.mixed ? "≤ " : ""}${size}`;
  say(g.x, font, scene.isPacked ? `up to ${pv_plural(scene.childBlocks, "child block")} per sum block →` : `${pv_plural(scene.childBlocks, "child block")} →`, "pcv-strong");
  say(g.x, 2.2 * font, scene.isPacked ? `${of(scene.childBlock)}, stored first, then pseudo` : `${of(scene.childBlock)}: ${pv_plural(scene.numProducts, "product")}`, "pcv-soft");
  say(g.x - 12, font, `${pv_plural(scene.sumBlocks, "sum block")}`, "pcv-strong", "end");
  say(g.x - 12, 2.2 * font, `${of(scene.sumBlock)}: ${pv_plural(scene.numSums, "sum")}`, "pcv-soft", "end");
  if (g.stripWidth) say(g.stripX, 2.2 * font, "pseudo", "pcv-pseudo");
  const base = g.y + g.mapHeight;
  const unit = g.mapWidth / (scene.cols * scene.blocksPerCol);
  for (const n of blocks_ticks(scene.childBlocks, unit, font)) {
    const x = g.x + n * unit;
    parts.push(pv_svg("path", { d: `M${x},${base + 1}v4`, class: "pcv-axis" }));
    say(x, base + 5 + font, pv_count(n), "pcv-soft", n === 0 ? "start" : n === scene.childBlocks ? "end" : "middle");
  }
  blocks_brackets(parts, say, scene, g, font);
  svg.replaceChildren(...parts);
}

// 0, steps of a power of two that leave room for their numbers, and n itself; unit: pixels per block.
function blocks_ticks(n, unit, font) {
  let step = 1;
  while (step < n && step * unit < 4 * font) step *= 2;
  const ticks = [], last = 0.6 * font * pv_count(n).length + 0.3 * font * pv_count(n - step).length + font;
  for (let t = 0; t < n && (t === 0 || (n - t) * unit > last); t += step) ticks.push(t);
  return [...ticks, n];
}

function blocks_bands(scene, g) {
  const groups = pv_u8(scene.rowGroup), bands = [];
  for (let r = 0; r < scene.rows; r++) {
    const last = bands[bands.length - 1];
    if (last && last.group === groups[r]) last.end = r + 1;
    else bands.push({ group: groups[r], start: r, end: r + 1 });
  }
  for (const band of bands) {
    band.y0 = g.y + (band.start * g.mapHeight) / scene.rows;
    band.y1 = g.y + (band.end * g.mapHeight) / scene.rows;
  }
  return bands;
}

function blocks_brackets(parts, say, scene, g, font) {
  const line = 1.15 * font, bands = blocks_bands(scene, g), x = g.x - 6;
  const least = Math.max(line, Math.min(2 * line, (g.height - g.y) / Math.max(1, bands.length)));
  let free = g.y - 0.2 * line;
  bands.forEach((band, i) => {
    const group = scene.groups[band.group];
    parts.push(pv_svg("path", { d: `M${x + 4},${band.y0 + 0.5}h-4V${Math.max(band.y1 - 0.5, band.y0 + 1)}h4`, class: "pcv-axis pcv-bracket" }));
    const texts = group ? [`launch ${group.launch}`, `${pv_count(group.G)} × ${pv_count(group.E)}`, ...(group.pseudoBlocks ? [`${pv_count(group.pseudoBlocks)} pseudo`] : [])] : ["more"];
    if (group && band.y1 - band.y0 >= 4 * line) texts.splice(1, 1, `${pv_count(group.G)} sum blocks`, `× ${pv_count(group.E)} child blocks`);
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
  const clear = () => { view.mark.hidden = true; };
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

function blocks_mark(view, group) {
  const band = blocks_bands(view.scene, view.geometry).find((one) => one.group === group), g = view.geometry;
  view.mark.hidden = !band;
  if (band) Object.assign(view.mark.style, { left: `${g.x - 2}px`, top: `${band.y0 - 2}px`, width: `${g.mapWidth + (g.stripWidth ? g.stripWidth + 8 : 0) + 4}px`, height: `${band.y1 - band.y0 + 4}px` });
}

function blocks_range(cell, per, blocks, label) {
  const first = cell * per, last = Math.min(first + per, blocks) - 1;
  return first === last ? `${pv_count(first)} (${label})` : `${pv_count(first)}–${pv_count(last)} (from ${label})`;
}

function blocks_hover(view, event) {
  const g = view.geometry, scene = view.shown, box = view.map.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const row = Math.floor(((y - g.y) * scene.rows) / g.mapHeight), col = Math.floor(((x - g.x) * scene.cols) / g.mapWidth);
  const inRow = row >= 0 && row < scene.rows, inStrip = x >= g.stripX && x < g.stripX + g.stripWidth;
  if (!inRow || !(inStrip || (col >= 0 && col < scene.cols))) {
    view.tip.hidden = view.mark.hidden = true;
    return;
  }
  const w = g.mapWidth / scene.cols, h = g.mapHeight / scene.rows, left = inStrip ? g.stripX : g.x + col * w;
  Object.assign(view.mark.style, { left: `${left - 1}px`, top: `${g.y + row * h - 1}px`, width: `${(inStrip ? g.stripWidth : w) + 1}px`, height: `${h + 1}px` });
  view.mark.hidden = false;
  pv_show_tip(view.tip, blocks_lines(view, row, inStrip ? -1 : col), x, y);
}

// What a hover says about a cell (column -1: the strip of pseudo blocks).
function blocks_lines(view, row, col) {
  const scene = view.shown, pseudo = view.scene.rowPseudo[row], group = pv_u8(scene.rowGroup)[row], cell = row * scene.cols + col, kind = col < 0 ? BLOCKS_PSEUDO : pv_u8(scene.kinds)[cell];
  const lines = [`launch ${group + 1}, sum blocks ${blocks_range(row, scene.blocksPerRow, scene.sumBlocks, scene.rowLabels[row])}`];
  if (col >= 0 && !scene.isPacked) lines.push(`child blocks ${blocks_range(col, scene.blocksPerCol, scene.childBlocks, scene.colLabels[col])}`);
  else if (col >= 0 && kind) lines.push(`child block ${pv_count(Math.floor(col * scene.blocksPerCol) + 1)} of ${scene.groups[group] ? pv_count(scene.groups[group].E) : "–"} in the launch`);
  lines.push(BLOCKS_KINDS[kind]);
  if (kind && kind !== BLOCKS_PSEUDO) lines.push(`${pv_percent(pv_u8(scene.fill)[cell] / 255)} of its stored cells are edges`);
  if (pseudo) lines.push(`${pv_plural(pseudo, "pseudo block")} in this row`);
  return lines;
}
