// The Blocks picture itself: which picture to draw, geometry and pixels. Pure functions of a scene, so that a test can compare
// the canvas. What a cell holds is told by its pattern: edges solid, edges of parameter 0 dots, absent edges diagonal stripes,
// missing rows or columns level stripes, pseudo blocks crossed lines.

const BLOCKS_MOST = 256; // cells of a picture, down and across
const BLOCKS_TINY = 1024; // single cells of a layer that use the stage as they are: they hold their numbers without a zoom

// The scene seen as "launch" (a column per place in the launch, stored blocks first) or "matrix", with the pictures at hand:
// the whole one and finer ones that came since, all in units of blocks. R x C: blocks of the whole picture.
function blocks_picture(scene, mode) {
  const isPacked = mode === "launch", whole = blocks_raster(scene, isPacked ? scene.packed : scene.matrix);
  const finer = (scene.kept || []).filter((one) => one.packed === isPacked).map((one) => blocks_raster(scene, one));
  const bounds = [];
  for (const group of scene.groups) bounds.push((bounds[bounds.length - 1] || 0) + group.G);
  return { scene, isPacked, whole, finer, bounds, R: scene.sumBlocks, C: whole.c1, rowPseudo: isPacked ? null : scene.rowPseudo };
}

function blocks_raster(scene, one) {
  const [m, k] = one.cells ? [scene.sumBlock, scene.childBlock] : [1, 1], [r0, r1, c0, c1] = one.window;
  return { ...one, m, k, r0: r0 / m, r1: r1 / m, c0: c0 / k, c1: c1 / k, pr: one.per[0] / m, pc: one.per[1] / k, kinds: pv_u8(one.kinds), fill: pv_u8(one.fill) };
}

// The finest picture that covers what is visible.
function blocks_best(shown, g) {
  const covers = (one) => one.r0 <= g.r0 + 1e-9 && one.r1 >= g.r1 - 1e-9 && one.c0 <= g.c0 + 1e-9 && one.c1 >= g.c1 - 1e-9;
  const usable = shown.finer.filter((one) => covers(one) && (!one.cells || blocks_cells_wanted(shown, g)));
  const size = (one) => one.pr * one.pc - (one.cells ? 1e-9 : 0); // at block size 1 a block is a cell: those with parameters are finer
  return usable.reduce((best, one) => (size(one) < size(best) ? one : best), shown.whole);
}

// Single cells are drawn once they are 5 pixels wide and high.
function blocks_cells_wanted({ scene }, g) {
  const [rows, cols] = [(g.r1 - g.r0) * scene.sumBlock, (g.c1 - g.c0) * scene.childBlock];
  return g.sx >= 5 * scene.childBlock && g.sy >= 5 * scene.sumBlock && Math.max(rows, cols) <= BLOCKS_MOST - 4;
}

// Where the map lies, in CSS pixels: sx, sy pixels per block; r0 .. r1, c0 .. c1 the visible blocks. Whole, cells keep an
// aspect of at most 3:1 (packed rows: wider) and a limited size, which large blocks and tiny layers may exceed; zoomed in, both sides
// grow up to cells that hold a number.
function blocks_geometry(shown, zoom, width, height, font, dpr) {
  const { scene, whole, R, C } = shown;
  const widest = Math.max(pv_plural(R, "sum block").length, `× ${pv_count(shown.isPacked ? C : 0)} child blocks`.length);
  const gutter = Math.round(Math.min(0.45 * width, Math.max(10.4, 0.62 * widest + 1.2) * font)), top = Math.round(2.8 * font), bottom = Math.round(1.6 * font);
  const pseudoMax = shown.rowPseudo ? Math.max(0, ...shown.rowPseudo) / whole.pr : 0;
  const stripRoom = pseudoMax ? pv_clamp(0.22 * (width - gutter - 6), 24, 130) : 0;
  const room = width - gutter - 6 - (pseudoMax ? stripRoom + 8 : 0), tall = height - top - bottom;
  const tiny = R * scene.sumBlock * C * scene.childBlock <= BLOCKS_TINY, most = (usual, single, size) => (tiny ? single * size : Math.max(usual, Math.min(9 * font, 4.9 * size))); // from 5 pixels on, single cells are asked for
  let cw = Math.min(room / whole.cols, most((shown.isPacked ? 6 : 2.5) * font, 16 * font, scene.childBlock)), ch = Math.min(tall / whole.rows, most(2.5 * font, 7 * font, scene.sumBlock));
  cw = Math.min(cw, (shown.isPacked || tiny ? 48 : 3) * ch);
  ch = Math.min(ch, (tiny ? 12 : 3) * cw);
  const grow = (fit, most, f) => Math.max(fit, Math.min(fit * f, most)), wide = cw * whole.cols / C, high = ch * whole.rows / R;
  const sx = grow(wide, 3.8 * font * scene.childBlock, zoom.f), sy = grow(high, 1.9 * font * scene.sumBlock, zoom.f);
  const mapWidth = Math.round(Math.min(room, C * sx)), mapHeight = Math.round(Math.min(tall, R * sy));
  const nc = C * sx < room + 0.5 ? C : mapWidth / sx, nr = R * sy < tall + 0.5 ? R : mapHeight / sy, c0 = pv_clamp(zoom.u * C, 0, C - nc), r0 = pv_clamp(zoom.v * R, 0, R - nr);
  const unit = pseudoMax ? pv_clamp(wide, Math.min(18, stripRoom / pseudoMax), stripRoom / pseudoMax) : 0;
  return {
    x: gutter, y: top, sx: mapWidth / nc, sy: mapHeight / nr, r0, c0, r1: r0 + nr, c1: c0 + nc, mapWidth, mapHeight, unit, dpr, width, height,
    zoomed: zoom.f > 1.001, most: Math.max((3.8 * font * scene.childBlock) / wide, (1.9 * font * scene.sumBlock) / high, 1),
    stripX: gutter + mapWidth + 8, stripWidth: Math.ceil(unit * pseudoMax),
  };
}

// The picture as 32-bit pixels: pure, so a test can compare the canvas with it. Map and strip share one image.
function blocks_pixels(shown, g, theme) {
  const ink = {}, d = g.dpr, raster = shown.raster || blocks_best(shown, g);
  for (const [key, rgb] of Object.entries(PV_INK[theme])) ink[key] = blocks_rgba(rgb);
  const w = Math.max(1, Math.round(g.mapWidth * d)), h = Math.max(1, Math.round(g.mapHeight * d));
  const strip = Math.round(g.stripWidth * d), gap = strip ? Math.round(8 * d) : 0, full = w + gap + strip;
  const paint = { out: new Uint32Array(full * h), ink, full, w, h, period: Math.max(4, Math.round(6 * d)), g, d };
  paint.shades = Array.from({ length: 256 }, (_, f) => blocks_rgba(blocks_mix(PV_INK[theme].empty, PV_INK[theme].stored, 0.25 + 0.75 * (f / 255))));
  paint.lineX = raster.pc * g.sx * d >= 5 ? 1 : 0;
  paint.lineY = raster.pr * g.sy * d >= 5 ? 1 : 0;
  for (let y = 0; y < h; y++) paint.out.fill(ink.empty, y * full, y * full + w);
  const cell = { first: (at, edge, size) => Math.max(0, Math.floor((at - edge) / size)), last: (at, edge, size, n) => Math.min(n, Math.ceil((at - edge) / size)) };
  const first = cell.first(g.c0, raster.c0, raster.pc), last = cell.last(g.c1, raster.c0, raster.pc, raster.cols);
  for (let i = cell.first(g.r0, raster.r0, raster.pr); i < cell.last(g.r1, raster.r0, raster.pr, raster.rows); i++) {
    const y0 = blocks_y(paint, raster.r0 + i * raster.pr), y1 = blocks_y(paint, Math.min(raster.r1, raster.r0 + (i + 1) * raster.pr));
    for (let j = first; j < last; j++) blocks_cell(paint, raster, i, j, y0, y1);
  }
  blocks_lines_between(paint, shown, raster);
  if (strip) blocks_strips(paint, shown, w + gap);
  return { pixels: paint.out, width: full, height: h };
}

function blocks_x({ g, d, w }, column) {
  return pv_clamp(Math.round((column - g.c0) * g.sx * d), 0, w);
}

function blocks_y({ g, d, h }, row) {
  return pv_clamp(Math.round((row - g.r0) * g.sy * d), 0, h);
}

// The share of a stripe or dot is the share of the cell that is no edge with a parameter.
function blocks_cell(paint, raster, i, j, y0, y1) {
  const { out, ink, full, period } = paint, kind = raster.kinds[i * raster.cols + j], fill = raster.fill[i * raster.cols + j];
  if (kind === 0) return;
  const x0 = blocks_x(paint, raster.c0 + j * raster.pc), x1 = blocks_x(paint, Math.min(raster.c1, raster.c0 + (j + 1) * raster.pc)) - paint.lineX, last = y1 - paint.lineY;
  const alone = !(kind & (BLOCKS_EDGE | BLOCKS_PSEUDO)), share = 1 - fill / 255, width = pv_clamp(Math.round(period * share), 1, period - 1);
  const ground = kind & BLOCKS_EDGE ? paint.shades[kind === BLOCKS_EDGE ? fill : 255] : raster.cells ? ink.empty : paint.shades[255];
  const pattern = kind === BLOCKS_PSEUDO ? "cross" : kind & BLOCKS_ABSENT ? "diagonal" : kind & BLOCKS_MISSING ? "level" : kind & BLOCKS_ZERO ? "dots" : kind & BLOCKS_PSEUDO ? "cross" : "";
  const half = raster.cells || alone ? period >> 1 : width, dot = alone ? period >> 1 : pv_clamp(Math.round(period * Math.sqrt(share)), 1, period - 1); // some of the ground shows: it has edges
  for (let y = y0; y < last; y++) {
    if (pattern === "") out.fill(ground, y * full + x0, y * full + x1);
    else if (pattern === "level") out.fill(y % period < half ? ink.missing : ground, y * full + x0, y * full + x1);
    else if (pattern === "diagonal") for (let x = x0; x < x1; x++) out[y * full + x] = (x + y) % period < half ? ink.absent : ground;
    else if (pattern === "dots") for (let x = x0; x < x1; x++) out[y * full + x] = (x % period < dot && y % period < dot) === alone ? ink.stored : alone ? ink.empty : x % period < dot && y % period < dot ? ink.empty : ground;
    else blocks_cross(paint, y, x0, x1, kind === BLOCKS_PSEUDO ? ink.pseudoBg : ground);
  }
}

// Between groups, and between blocks where single cells are drawn.
function blocks_lines_between(paint, shown, raster) {
  const { out, ink, full, w, h, g } = paint;
  const level = (row) => { const y = blocks_y(paint, row); if (y > 0 && y < h) out.fill(ink.line, y * full, y * full + w); };
  for (const bound of shown.bounds) if (bound > g.r0 && bound < g.r1 && bound < shown.R) level(bound);
  if (!raster.cells || raster.m * raster.k === 1) return;
  for (let row = Math.ceil(g.r0); row < g.r1; row++) if (raster.m > 1) level(row);
  for (let column = Math.ceil(g.c0); column < g.c1; column++) {
    const x = blocks_x(paint, column);
    for (let y = 0; y < h && x > 0 && raster.k > 1; y++) out[y * full + x] = ink.line;
  }
}

// Pseudo blocks of each row, at the right of the matrix.
function blocks_strips(paint, shown, x0) {
  const { g, d } = paint, { whole } = shown;
  for (let r = Math.floor(g.r0 / whole.pr); r < Math.ceil(g.r1 / whole.pr); r++) {
    const y0 = blocks_y(paint, r * whole.pr), y1 = blocks_y(paint, Math.min(shown.R, (r + 1) * whole.pr)) - (whole.pr * g.sy * d >= 5 ? 1 : 0);
    const unit = g.unit * d, width = Math.round((shown.rowPseudo[r] / whole.pr) * unit), cells = unit >= 6 ? Math.max(1, Math.round(width / unit)) : 1;
    for (let y = y0; y < y1 && width; y++) for (let k = 0; k < cells; k++) blocks_cross(paint, y, x0 + Math.round((k * width) / cells), x0 + Math.round(((k + 1) * width) / cells) - (cells > 1 ? 1 : 0), paint.ink.pseudoBg);
  }
}

function blocks_cross({ out, ink, full, h, period }, y, x0, x1, ground) {
  for (let x = x0; x < x1; x++) out[y * full + x] = (x + y) % period === 0 || (x - y + period * h) % period === 0 ? ink.pseudo : ground;
}

function blocks_mix(a, b, t) {
  return a.map((v, i) => Math.round(v + (b[i] - v) * t));
}

function blocks_rgba([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
