// What the Kernel view draws: the tiles of a step with their numbers, sums that go to the guard, and the waves over multiprocessors.

const KERNEL_ROWS = 8; // of the picture of waves; a row stands for several where there are more

// Waves over the multiprocessors: a column for each SM, a row for each wave, the programs before this one darker, SMs without a program
// empty. One program at a time on an SM, handed out in order: what the model counts, not what a GPU's scheduler does.
function kernel_waves(view, theme) {
  const { scene } = view, { numSMs, programs, program, waves } = scene, canvas = view.waves, ink = PV_INK[theme];
  canvas.hidden = numSMs < 8;
  if (canvas.hidden) return;
  const rows = Math.min(waves, KERNEL_ROWS), each = Math.ceil(waves / rows), high = rows > 2 ? 3 : 6, context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [numSMs * 4, rows * (high + 1) + 5];
  view.waveHigh = high + 1;
  canvas.style.height = `${canvas.height}px`;
  canvas.setAttribute("aria-label", `Program ${program} runs in wave ${scene.wave} of ${waves} on SM ${program % numSMs} of ${numSMs}; arrow keys choose another program`);
  canvas.title = each > 1 ? `Waves over ${numSMs} SMs; a row stands for ${each} waves` : `Waves over ${numSMs} SMs; a row for each wave, empty where an SM has no program`;
  for (let row = 0; row < Math.ceil(waves / each); row++) {
    for (let sm = 0; sm < numSMs; sm++) {
      const first = row * each * numSMs + sm;
      context.fillStyle = `rgb(${first >= programs ? ink.empty : first < program ? ink.stored : ink.missing})`;
      context.fillRect(sm * 4, row * (high + 1), 3, high);
    }
  }
  context.fillStyle = `rgb(${ink.pseudo})`;
  context.fillRect((program % numSMs) * 4 - 1, Math.floor(program / numSMs / each) * (high + 1) - 1, 5, high + 6);
}

function kernel_wave_at(view, event) {
  const { numSMs, programs, waves } = view.scene, box = view.waves.getBoundingClientRect(), rows = Math.min(waves, KERNEL_ROWS), each = Math.ceil(waves / rows);
  const sm = pv_clamp(Math.floor(((event.clientX - box.left) / box.width) * numSMs), 0, numSMs - 1);
  const program = Math.floor((event.clientY - box.top) / view.waveHigh) * each * numSMs + sm;
  return program < programs ? program : null;
}

// A logarithmic scale from the least to the largest value of the tile, six decades at most; zero has the ground's colour. ``lost``: cells
// that are left to the guard, chequered whatever their size. It fills what there is across and down, with cells at most 12 times as long as wide.
function kernel_tile(canvas, values, [rows, cols], [across, down], theme, lost) {
  const [w, h] = [Math.max(1, Math.floor((across * devicePixelRatio) / cols)), Math.max(1, Math.floor((down * devicePixelRatio) / rows))], size = Math.min(w, h);
  const [dx, dy] = rows === 1 || cols === 1 ? [w, Math.min(h, 24)] : [Math.max(size, Math.min(w, 12 * size)), Math.max(size, Math.min(h, 12 * size))];
  canvas.width = dx * cols;
  canvas.height = dy * rows;
  const fit = Math.max(1 / devicePixelRatio, Math.min(across / canvas.width, down / canvas.height)); // cells of a fraction of a pixel more, where whole ones leave much room
  canvas.style.width = `${canvas.width * fit}px`;
  canvas.style.height = `${canvas.height * fit}px`;
  const ink = PV_INK[theme];
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(${ink.empty})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (!values) return;
  const good = values.filter(Number.isFinite);
  const logs = good.some((value) => value < 0);
  const high = good.reduce((a, c) => Math.max(a, c), logs ? -Infinity : 0);
  const low = good.reduce((a, c) => (logs || c > 0 ? Math.min(a, c) : a), Infinity);
  const span = logs ? high - low : Math.min(6, Math.log10(high / low));
  for (let i = 0; i < rows * cols; i++) {
    const value = values[i];
    const share = !Number.isFinite(value) || value === 0 && !logs ? 0 : 0.2 + 0.8 * Math.max(0, 1 - (logs ? high - value : Math.log10(high / value)) / (span || 1));
    if (!share) continue;
    context.fillStyle = `rgb(${ink.stored.map((c, j) => Math.round(ink.empty[j] + (c - ink.empty[j]) * share))})`;
    context.fillRect((i % cols) * dx, Math.floor(i / cols) * dy, dx, dy);
  }
  if (!lost) return;
  context.fillStyle = kernel_chequers(context, theme, 1 / fit);
  for (let i = 0; i < rows * cols; i++) {
    if (lost[i]) context.fillRect((i % cols) * dx, Math.floor(i / cols) * dy, dx, dy);
  }
}

// A chequered ground, which no other mark of the explorer has, as in the legend.
function kernel_chequers(context, theme, scale) {
  const half = Math.max(2, Math.round(3 * scale)), tile = pv_el("canvas"), ink = PV_INK[theme];
  tile.width = tile.height = 2 * half;
  const pen = tile.getContext("2d");
  pen.fillStyle = `rgb(${ink.empty})`;
  pen.fillRect(0, 0, 2 * half, 2 * half);
  pen.fillStyle = `rgb(${ink.line})`;
  for (const at of [0, half]) pen.fillRect(at, at, half, half);
  return context.createPattern(tile, "repeat");
}

function kernel_swatch(theme) {
  const swatch = pv_el("canvas", "pcv-kernel-swatch");
  [swatch.width, swatch.height] = [18, 12];
  const context = swatch.getContext("2d");
  context.fillStyle = kernel_chequers(context, theme, 1);
  context.fillRect(0, 0, 18, 12);
  swatch.setAttribute("aria-hidden", "true");
  return swatch;
}

// A pointer above the column of the chosen sample.
function kernel_mark(mark, canvas, [, cols], column) {
  mark.hidden = !(column >= 0 && column < cols);
  mark.style.left = `${((column + 0.5) / cols) * parseFloat(canvas.style.width)}px`;
}

function kernel_hover(view, i, canvas, event) {
  const [rows, cols] = view.shapes[i], box = canvas.getBoundingClientRect();
  const r = pv_clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
  const c = pv_clamp(Math.floor(((event.clientX - box.left) / box.width) * cols), 0, cols - 1);
  kernel_value(view, i, canvas, r, c);
}

// The arrow keys go from number to number of a tile, from its first cell on.
function kernel_cell_key(view, i, canvas, event) {
  const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [-1e9, -1e9] }[event.key];
  if (!move) return;
  event.preventDefault();
  const [rows, cols] = view.shapes[i], [r, c] = view.cell?.i === i ? view.cell.at : [0, -1];
  kernel_value(view, i, canvas, pv_clamp(r + move[0], 0, rows - 1), pv_clamp(c + move[1], 0, cols - 1));
}

// The number in a cell of a tile, beside it, and for a screen reader.
function kernel_value(view, i, canvas, r, c) {
  if (!view.at || !kernel_step(view.scene, view.at)) return;
  const [rows, cols] = view.shapes[i], [down, across] = view.scene.axes[i], box = canvas.getBoundingClientRect(), host = view.frame.el.getBoundingClientRect();
  const place = `${rows === 1 && down === "child" ? "" : `${down} ${r}, `}${across === "sample" ? `sample ${view.first + c}` : `${across} ${c} of the tile`}`;
  const value = String(view.values[i][r * cols + c]), lost = view.lost[i]?.[r * cols + c], guarded = view.at > kernel_last(view.scene);
  const lines = lost ? [guarded ? `${value}, by the guard` : "left to the guard", place, view.scene.guardWhy] : [value, place];
  view.cell = { i, at: [r, c] };
  view.said.textContent = lines.join(": ");
  pv_show_tip(view.tip, lines, box.left - host.left + ((c + 0.5) / cols) * box.width, box.top - host.top + ((r + 0.5) / rows) * box.height);
}
