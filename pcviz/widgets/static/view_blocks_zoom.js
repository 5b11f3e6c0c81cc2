// Zoom, pan and the cursor of the Blocks picture, and the finer pictures that the kernel sends on the way in.
// view.zoom: factor f, and the first visible column and row as shares u, v of the whole, so that it outlives a block size.

const BLOCKS_ASK_MS = 120; // after the last movement

function blocks_wire(view) {
  const map = pv_focusable(view.map);
  map.tabIndex = 0;
  map.dataset.pcv = "blocks-map";
  map.setAttribute("role", "application");
  map.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // without Ctrl the page scrolls
    event.preventDefault();
    blocks_zoom(view, Math.exp(-pv_clamp(event.deltaY, -100, 100) / 250), blocks_point(view, event));
  }, { passive: false });
  map.addEventListener("dblclick", (event) => blocks_zoom(view, event.shiftKey ? 0.5 : 2, blocks_point(view, event)));
  map.addEventListener("keydown", (event) => blocks_key(view, event));
  map.addEventListener("focus", () => blocks_show_cursor(view));
  map.addEventListener("blur", () => blocks_clear(view));
  map.addEventListener("mousemove", (event) => view.drag || blocks_hover(view, blocks_point(view, event)));
  map.addEventListener("mouseleave", () => (document.activeElement === map && view.cursor ? blocks_show_cursor(view) : blocks_clear(view)));
  map.addEventListener("pointerdown", (event) => {
    if (event.button === 0) view.drag = { x: event.clientX, y: event.clientY, id: event.pointerId, moved: false };
  });
  map.addEventListener("pointermove", (event) => blocks_drag(view, event));
  const end = (event) => {
    const drag = view.drag;
    view.drag = null;
    map.classList.remove("pcv-dragging");
    if (!drag || drag.moved || event.type === "pointercancel") return;
    view.cursor = blocks_at(view, blocks_point(view, event)) || view.cursor;
    if (document.activeElement === map) blocks_show_cursor(view);
  };
  map.addEventListener("pointerup", end);
  map.addEventListener("pointercancel", end);
}

function blocks_point(view, event) {
  const box = view.map.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function blocks_drag(view, event) {
  const drag = view.drag, g = view.geometry;
  if (!drag || !g.zoomed) return;
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  if (!drag.moved) view.map.setPointerCapture(drag.id);
  Object.assign(drag, { x: event.clientX, y: event.clientY, moved: true });
  view.map.classList.add("pcv-dragging");
  blocks_clear(view);
  blocks_pan(view, -dy / g.sy, -dx / g.sx);
}

function blocks_pan(view, rows, columns) {
  const { shown, geometry: g } = view;
  Object.assign(view.zoom, { u: (g.c0 + columns) / shown.C, v: (g.r0 + rows) / shown.R });
  blocks_redraw(view);
}

// Zooms about a point of the map, about the cursor when it is in sight, or about what is next to the middle.
function blocks_zoom(view, factor, point) {
  const { shown, geometry: g } = view, seen = view.cursor && blocks_spot(view, view.cursor);
  const [px, py] = point || (seen ? [seen.left + seen.width / 2, seen.top + seen.height / 2] : blocks_middle(shown, g));
  const dx = pv_clamp(px - g.x, 0, g.mapWidth), dy = pv_clamp(py - g.y, 0, g.mapHeight), c = g.c0 + dx / g.sx, r = g.r0 + dy / g.sy;
  const f = pv_clamp(view.zoom.f * factor, 1, g.most);
  view.zoom = { f: f < 1.02 ? 1 : f, u: 0, v: 0 };
  const next = blocks_geometry(shown, view.zoom, g.width, g.height, view.frame.font, g.dpr);
  Object.assign(view.zoom, { u: (c - dx / next.sx) / shown.C, v: (r - dy / next.sy) / shown.R });
  blocks_redraw(view);
}

// The cell with anything in it that lies next to the middle: a sparse matrix has little there.
function blocks_middle({ raster }, g) {
  const middle = [g.x + g.mapWidth / 2, g.y + g.mapHeight / 2];
  let best = middle, least = Infinity;
  for (let at = 0; at < raster.kinds.length; at++) {
    if (!raster.kinds[at]) continue;
    const r = raster.r0 + (Math.floor(at / raster.cols) + 0.5) * raster.pr, c = raster.c0 + ((at % raster.cols) + 0.5) * raster.pc;
    if (r < g.r0 || r >= g.r1 || c < g.c0 || c >= g.c1) continue;
    const point = [g.x + (c - g.c0) * g.sx, g.y + (r - g.r0) * g.sy], far = Math.hypot(point[0] - middle[0], point[1] - middle[1]);
    if (far < least) [best, least] = [point, far];
  }
  return best;
}

function blocks_reset(view) {
  view.zoom = { f: 1, u: 0, v: 0 };
  blocks_redraw(view);
}

// One drawing a frame, however many events come.
function blocks_redraw(view) {
  if (view.redraw) return;
  view.redraw = requestAnimationFrame(() => {
    view.redraw = null;
    if (view.map.isConnected) draw_blocks(view.frame.el, view.scene, view.frame.store);
  });
}

function blocks_key(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const g = view.geometry, step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (event.key === "+" || event.key === "=") blocks_zoom(view, 1.5);
  else if (event.key === "-" || event.key === "_") blocks_zoom(view, 1 / 1.5);
  else if (event.key === "0") blocks_reset(view);
  else if (event.key === "Enter") blocks_zoom(view, g.most);
  else if (step && event.shiftKey) blocks_pan(view, (step[0] * (g.r1 - g.r0)) / 4, (step[1] * (g.c1 - g.c0)) / 4);
  else if (step) blocks_step(view, ...step);
  else return;
  event.preventDefault();
}

// Moves the cursor by one cell. Zoomed in, the picture moves with it, as far as it reaches.
function blocks_step(view, down, across) {
  const { shown, geometry: g } = view, { raster } = shown, seen = view.cursor && blocks_spot(view, view.cursor);
  const from = seen ? view.cursor : { r: (g.r0 + g.r1) / 2, c: (g.c0 + g.c1) / 2 };
  const to = (at, by, first, size, end) => {
    const n = Math.ceil((end - first) / size - 1e-9), i = pv_clamp(Math.floor((at - first) / size) + by, 0, n - 1);
    return Math.min(first + (i + 0.5) * size, end - 1e-6);
  };
  view.cursor = {
    r: to(from.r, seen ? down : 0, raster.r0, raster.pr, shown.R),
    c: to(from.c, seen ? across : 0, raster.c0, raster.pc, shown.C),
  };
  if (g.zoomed && seen) blocks_pan(view, view.cursor.r - from.r, view.cursor.c - from.c);
  else blocks_show_cursor(view);
}

// The place under a point of the map: row and column in blocks; c is -1 in the strip of pseudo blocks.
function blocks_at(view, [x, y]) {
  const g = view.geometry, r = g.r0 + (y - g.y) / g.sy, c = g.c0 + (x - g.x) / g.sx;
  if (r < g.r0 || r >= g.r1) return null;
  if (g.stripWidth && x >= g.stripX && x < g.stripX + g.stripWidth) return { r, c: -1 };
  return c >= g.c0 && c < g.c1 ? { r, c } : null;
}

// The drawn cell at a place, in pixels of the map and in the picture; null out of sight.
function blocks_spot(view, at) {
  const { shown, geometry: g } = view, raster = at.c < 0 ? { ...shown.whole, cells: false } : shown.raster;
  const i = Math.floor((at.r - raster.r0) / raster.pr), j = at.c < 0 ? -1 : Math.floor((at.c - raster.c0) / raster.pc);
  if (at.r < g.r0 || at.r >= g.r1 || (j >= 0 && (at.c < g.c0 || at.c >= g.c1))) return null;
  const down = [Math.max(g.r0, raster.r0 + i * raster.pr), Math.min(g.r1, raster.r0 + (i + 1) * raster.pr)];
  const over = [Math.max(g.c0, raster.c0 + j * raster.pc), Math.min(g.c1, raster.c0 + (j + 1) * raster.pc)];
  const left = j < 0 ? g.stripX : g.x + (over[0] - g.c0) * g.sx, width = j < 0 ? g.stripWidth : (over[1] - over[0]) * g.sx;
  return { raster, i, j, r: Math.floor(at.r), c: Math.floor(at.c), left, width, top: g.y + (down[0] - g.r0) * g.sy, height: (down[1] - down[0]) * g.sy };
}

function blocks_hover(view, point) {
  const at = blocks_at(view, point), spot = at && blocks_spot(view, at);
  if (spot) blocks_point_out(view, spot, point);
  else blocks_clear(view);
}

function blocks_show_cursor(view) {
  const spot = view.cursor && blocks_spot(view, view.cursor);
  if (!spot) return blocks_clear(view);
  blocks_point_out(view, spot, [spot.left + spot.width, spot.top + spot.height]);
  const text = blocks_lines(view, spot).join("; ");
  if (view.said.textContent !== text) view.said.textContent = text;
}

function blocks_point_out(view, spot, [x, y]) {
  Object.assign(view.mark.style, { left: `${spot.left - 1}px`, top: `${spot.top - 1}px`, width: `${spot.width + 1}px`, height: `${spot.height + 1}px` });
  view.mark.hidden = false;
  pv_show_tip(view.tip, blocks_lines(view, spot), x, y);
}

function blocks_clear(view) {
  view.mark.hidden = view.tip.hidden = true;
}

// ---- finer pictures -----------------------------------------------------------------------------------------------------

// Keeps what came; flows, and the parameters that they belong to, join the cells of their window.
function blocks_keep(scene) {
  const same = (a, b) => a.packed === b.packed && a.window.join() === b.window.join();
  if (scene.window && scene.window !== scene.last) {
    scene.last = scene.window;
    scene.kept = [scene.window, ...(scene.kept || []).filter((one) => !same(one, scene.window) || one.cells !== scene.window.cells)].slice(0, 12);
  }
  const cells = scene.flows && (scene.kept || []).find((one) => one.cells && same(one, scene.flows));
  if (cells) Object.assign(cells, scene.flows);
}

// Finer pictures are of the scene in sight alone: those of many sizes and layers would fill the memory.
function blocks_drop(scene) {
  scene.kept = scene.window = scene.last = scene.flows = null;
}

// The window to ask for, or null when the drawn picture is as fine as the zoom needs.
function blocks_wanted(shown, g) {
  const { raster, scene } = shown, cells = blocks_cells_wanted(shown, g);
  const need = (visible) => Math.max(1, Math.ceil((1.5 * visible) / BLOCKS_MOST));
  if (cells ? raster.cells : raster.pr <= need(g.r1 - g.r0) && raster.pc <= need(g.c1 - g.c0)) return null;
  const span = (first, end, size, total) => {
    const [a, b] = [Math.floor(first * size), Math.ceil(end * size)], margin = cells ? Math.floor((BLOCKS_MOST - (b - a)) / 2) : Math.ceil((b - a) / 4);
    return [Math.max(0, a - margin), Math.min(total * size, b + margin)];
  };
  const [m, k] = cells ? [scene.sumBlock, scene.childBlock] : [1, 1];
  return { part: "window", packed: shown.isPacked, cells, window: [...span(g.r0, g.r1, m, shown.R), ...span(g.c0, g.c1, k, shown.C)] };
}

function blocks_ask(view) {
  const wish = blocks_wanted(view.shown, view.geometry), key = wish && JSON.stringify([wish, view.scene.blockSize, view.scene.layer]);
  if (key === view.wish) return;
  clearTimeout(view.asking);
  view.wish = key;
  if (wish) view.asking = setTimeout(() => view.frame.store.send({ kind: "part", ...wish }), BLOCKS_ASK_MS);
}
