// The Blocks picture itself: packing, geometry and pixels. Pure functions of a scene, so that a test can compare the canvas.

const BLOCKS_PSEUDO = 4;

// The scene with each row packed: a column per position in the launch (E of the widest group, at most 512 drawn), stored
// blocks in order, then pseudo blocks. Exact where a cell is one block; an aggregated row shows its mean.
function blocks_packed(scene) {
  if (scene.packed) return scene.packed;
  const widest = Math.max(1, ...scene.groups.map((group) => group.E)), cols = Math.min(widest, 512), kinds = new Uint8Array(scene.rows * cols), fill = new Uint8Array(scene.rows * cols);
  const from = pv_u8(scene.kinds), fills = pv_u8(scene.fill), groups = pv_u8(scene.rowGroup);
  for (let r = 0; r < scene.rows; r++) {
    const blocks = Math.min(scene.blocksPerRow, scene.sumBlocks - r * scene.blocksPerRow), cells = [];
    for (let c = r * scene.cols; c < (r + 1) * scene.cols; c++) if (from[c]) cells.push(c);
    const group = scene.groups[groups[r]], all = group ? group.E : widest, stored = all - scene.rowPseudo[r] / blocks;
    for (let j = 0; j < cols; j++) {
      const at = ((j + 0.5) * widest) / cols, cell = cells[Math.min(cells.length - 1, Math.floor((at * cells.length) / stored))];
      kinds[r * cols + j] = at > all ? 0 : at > stored ? BLOCKS_PSEUDO : from[cell];
      fill[r * cols + j] = at > stored ? 0 : fills[cell];
    }
  }
  scene.packed = { ...scene, kinds, fill, cols, childBlocks: widest, blocksPerCol: widest / cols, rowPseudo: new Array(scene.rows).fill(0), isPacked: true };
  return scene.packed;
}

// Where the map lies, in CSS pixels: cells keep an aspect of at most 3:1 (packed rows: wider) and a limited size.
function blocks_geometry(scene, width, height, font, dpr) {
  const widest = Math.max(pv_plural(scene.sumBlocks, "sum block").length, `× ${pv_count(scene.isPacked ? scene.childBlocks : 0)} child blocks`.length);
  const gutter = Math.round(Math.min(0.4 * width, Math.max(10.4, 0.62 * widest + 1.2) * font)), top = Math.round(2.8 * font), bottom = Math.round(1.6 * font);
  const pseudoMax = Math.max(0, ...scene.rowPseudo) / scene.blocksPerRow;
  const room = width - gutter - 6, tall = height - top - bottom;
  const stripRoom = pseudoMax ? pv_clamp(0.22 * room, 24, 130) : 0;
  let cw = Math.min((room - stripRoom - (pseudoMax ? 8 : 0)) / scene.cols, (scene.isPacked ? 6 : 2.5) * font);
  let ch = Math.min(tall / scene.rows, 2.5 * font);
  cw = Math.min(cw, (scene.isPacked ? 24 : 3) * ch);
  ch = Math.min(ch, 3 * cw);
  const mapWidth = Math.round(cw * scene.cols), mapHeight = Math.round(ch * scene.rows);
  const perBlock = mapWidth / (scene.cols * scene.blocksPerCol);
  const unit = pseudoMax ? pv_clamp(perBlock, Math.min(18, stripRoom / pseudoMax), stripRoom / pseudoMax) : 0;
  return {
    x: gutter, y: top, cw, ch, mapWidth, mapHeight, unit, dpr, width, height,
    stripX: gutter + mapWidth + 8, stripWidth: Math.ceil(unit * pseudoMax), perRow: 1 / scene.blocksPerRow,
  };
}

// The picture as 32-bit pixels: pure, so a test can compare the canvas with it. Map and strip share one image.
function blocks_pixels(scene, g, theme) {
  const ink = {}, d = g.dpr;
  for (const [key, rgb] of Object.entries(PV_INK[theme])) ink[key] = blocks_rgba(rgb);
  const w = Math.round(g.mapWidth * d), h = Math.max(1, Math.round(g.mapHeight * d));
  const strip = Math.round(g.stripWidth * d), gap = strip ? Math.round(8 * d) : 0, full = w + gap + strip;
  const paint = { out: new Uint32Array(full * h), ink, full, w, h, period: Math.max(4, Math.round(6 * d)), lineX: g.cw * d >= 5 ? 1 : 0, lineY: g.ch * d >= 5 ? 1 : 0 };
  paint.shades = Array.from({ length: 256 }, (_, f) => blocks_rgba(blocks_mix(PV_INK[theme].empty, PV_INK[theme].stored, 0.25 + 0.75 * (f / 255))));
  const groups = pv_u8(scene.rowGroup);
  for (let r = 0; r < scene.rows; r++) {
    const y0 = Math.round((r * h) / scene.rows), y1 = Math.round(((r + 1) * h) / scene.rows);
    blocks_cells(paint, scene, r, y0, y1);
    blocks_strip(paint, w + gap, Math.round(scene.rowPseudo[r] * g.perRow * g.unit * d), g.unit * d, y0, y1);
    if (r > 0 && groups[r] !== groups[r - 1]) paint.out.fill(ink.line, y0 * full, y0 * full + w);
  }
  return { pixels: paint.out, width: full, height: h };
}

// One row of cells. The share of a stripe is the share of the cell that is no edge.
function blocks_cells(paint, scene, r, y0, y1) {
  const { out, ink, full, w, period } = paint, kinds = pv_u8(scene.kinds), fill = pv_u8(scene.fill);
  const last = y1 - paint.lineY;
  for (let y = y0; y < y1; y++) out.fill(ink.empty, y * full, y * full + w);
  for (let c = 0; c < scene.cols; c++) {
    const cell = r * scene.cols + c, kind = kinds[cell];
    if (kind === 0) continue;
    const x0 = Math.round((c * w) / scene.cols), x1 = Math.round(((c + 1) * w) / scene.cols) - paint.lineX;
    const solid = paint.shades[kind === 1 ? fill[cell] : 255], stripe = kind === 2 ? ink.absent : ink.missing;
    const width = kind === 1 ? 0 : pv_clamp(Math.round(period * (1 - fill[cell] / 255)), 1, period - 1);
    for (let y = y0; y < last; y++) {
      if (kind === BLOCKS_PSEUDO) blocks_cross(paint, y, x0, x1);
      else if (kind !== 2) out.fill(y % period < width ? stripe : solid, y * full + x0, y * full + x1);
      else for (let x = x0; x < x1; x++) out[y * full + x] = (x + y) % period < width ? stripe : solid;
    }
  }
}

function blocks_strip(paint, x0, width, unit, y0, y1) {
  const cells = unit >= 6 ? Math.max(1, Math.round(width / unit)) : 1;
  for (let y = y0; y < y1 - paint.lineY && width; y++) for (let k = 0; k < cells; k++) blocks_cross(paint, y, x0 + Math.round((k * width) / cells), x0 + Math.round(((k + 1) * width) / cells) - (cells > 1 ? 1 : 0));
}

function blocks_cross({ out, ink, full, h, period }, y, x0, x1) {
  for (let x = x0; x < x1; x++) out[y * full + x] = (x + y) % period === 0 || (x - y + period * h) % period === 0 ? ink.pseudo : ink.pseudoBg;
}

function blocks_mix(a, b, t) {
  return a.map((v, i) => Math.round(v + (b[i] - v) * t));
}

function blocks_rgba([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
