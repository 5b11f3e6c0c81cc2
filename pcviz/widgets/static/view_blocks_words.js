// What the Blocks view says about the cell under the mouse or the cursor.

// spot: see blocks_spot; column -1 is the strip of pseudo blocks.
function blocks_lines(view, spot) {
  const { shown } = view, { scene } = shown, { raster, i, j, r, c } = spot, found = shown.bounds.findIndex((end) => r < end), group = scene.groups[found];
  const rows = [Math.floor(raster.r0 + i * raster.pr), Math.min(shown.R, Math.ceil(raster.r0 + (i + 1) * raster.pr))];
  const lines = [`${group ? `launch ${group.launch}, ` : ""}${blocks_range("sum block", rows, blocks_row_name(shown, rows[0]))}`];
  const pseudo = raster === shown.whole || j < 0 ? scene.rowPseudo[Math.floor(r / scene.matrix.per[0])] : 0;
  if (j < 0) return [...lines, "pseudo blocks: probability 0, they read the null block", `${pv_plural(pseudo, "pseudo block")} in this row`];
  const at = i * raster.cols + j, kind = raster.kinds[at], cols = [Math.floor(raster.c0 + j * raster.pc), Math.ceil(raster.c0 + (j + 1) * raster.pc)];
  const child = shown.isPacked ? blocks_child(raster, r, c) : c, name = blocks_col_name(shown, shown.isPacked ? child : cols[0]);
  if (!shown.isPacked) lines.push(blocks_range("child block", [cols[0], Math.min(shown.C, cols[1])], name));
  else if (kind && group) lines.push(`place ${pv_count(c + 1)} of ${pv_count(group.E)} in the launch${child >= 0 ? `: child block ${pv_count(child)}${name && ` (${name})`}` : ""}`);
  return [...lines, ...(raster.cells ? blocks_cell_lines(shown, spot, group) : blocks_block_lines(raster, at))];
}

function blocks_block_lines(raster, at) {
  const kind = raster.kinds[at];
  if (!kind) return ["no block"];
  if (kind === BLOCKS_PSEUDO) return ["pseudo block: probability 0, reads the null block"];
  const parts = [[BLOCKS_ZERO, "edges of parameter 0"], [BLOCKS_ABSENT, "absent edges"], [BLOCKS_MISSING, "missing rows or columns"], [BLOCKS_PSEUDO, "pseudo blocks"]].filter(([bit]) => kind & bit);
  if (!parts.length) return ["stored, all cells are edges"];
  return [`stored, with ${parts.map(([, text]) => text).join(", ")}`, `${pv_percent(raster.fill[at] / 255)} of its cells are edges with a parameter`];
}

// One cell of the matrix: which sum and product, its kind, parameter and flow.
function blocks_cell_lines({ scene }, { raster, i, j }, group) {
  const own = group || { sumBlock: scene.sumBlock, childBlock: scene.childBlock }, at = i * raster.cols + j, kind = raster.kinds[at];
  const within = (cell, size, small) => Math.floor((cell % size) / (size / small));
  const lines = own.sumBlock * own.childBlock === 1 ? [] : [`sum ${within(raster.window[0] + i, scene.sumBlock, own.sumBlock)}, product ${within(raster.window[2] + j, scene.childBlock, own.childBlock)} of the block`];
  const text = { 0: "no block", [BLOCKS_ABSENT]: "absent edge", [BLOCKS_MISSING]: "missing row or column", [BLOCKS_PSEUDO]: "pseudo block: probability 0, reads the null block" }[kind];
  if (text) return [...lines, text];
  const value = blocks_floats(raster, "params")[at];
  lines.push(kind === BLOCKS_ZERO ? "edge of parameter 0" : Number.isFinite(value) ? `edge, parameter ${pv_digits(value)}` : "edge; the circuit has no parameters yet");
  if (!raster.hasFlows) return [...lines, "no flow: the circuit has no data"];
  if (!raster.flows) return [...lines, "flow: computing …"];
  return [...lines, `flow ${pv_digits(blocks_floats(raster, "flows")[at])}, summed over ${pv_plural(raster.samples, "sample")}`];
}

function blocks_range(what, [first, end], name) {
  if (end - first === 1) return `${what} ${pv_count(first)}${name && ` (${name})`}`;
  return `${what}s ${pv_count(first)}–${pv_count(end - 1)}${name && ` (from ${name})`}`;
}

// Names come with the pictures: of the whole for every per-th block, of a finer one for those in it.
function blocks_row_name(shown, row) {
  const { raster, scene } = shown, [first, step] = raster.labelRows || [0, scene.matrix.per[0]];
  const labels = raster.rowLabels || scene.rowLabels, at = (row - first) / step;
  return (Number.isInteger(at) && labels[at]) || scene.rowLabels[row / scene.matrix.per[0]] || "";
}

function blocks_col_name({ raster, scene }, column) {
  return (raster.colLabels && raster.colLabels[column]) || scene.colLabels[column / scene.matrix.per[1]] || "";
}

// The child block at a place of a packed picture, -1 where that is not known.
function blocks_child(raster, r, c) {
  if (!raster.children) return -1;
  raster.childIds = raster.childIds || new Int32Array(pv_u8(raster.children).slice().buffer);
  const [r0, , c0, c1] = raster.childWindow;
  return raster.childIds[(r - r0) * (c1 - c0) + c - c0] ?? -1;
}
