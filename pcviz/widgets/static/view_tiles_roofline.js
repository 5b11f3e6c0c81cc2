// The chosen tile on the device's roofline: its operations per byte of HBM and of L2, below the roof of each, on axes that no tile moves.
// What was chosen before stays as a ghost, so that one sees where a move of the tile leads.

const TILES_LEVELS = [
  { name: "HBM", key: "hbm_bytes", phase: 0, ink: "model", dash: "" }, // phase: which of the Memory view's marks
  { name: "L2", key: "l2_bytes", phase: 1, ink: "layer", dash: "6,3" },
];

function tiles_roofline(view) {
  const { scene, launch, tile, svg } = view, { peaks } = scene.roofline, links = scene.roofline.links.filter((each) => TILES_LEVELS.some(({ name }) => name === each.name));
  const roof = { frame: view.frame, scene: { ...scene.roofline, links }, svg, axis: "FLOP per byte (model)" };
  const was = view.was ?? (tiles_is(tile, launch.rule) ? null : launch.rule), now = tiles_figures(view, tile), old = was && tiles_figures(view, was);
  tiles_roof_table(view, roof, [["now", tile, now], ["before", was, old]]);
  const s = memory_scale(roof), ink = PV_LINES[view.frame.theme], top = Math.max(...peaks.map((peak) => peak.tflops)), marks = pv_svg("g"), tbPerS = links.find((each) => each.name === "HBM").tbPerS;
  s.nameless = true; // the names stand in the head of the numbers
  roof.ground = pv_svg("g");
  memory_axes(roof, s, { name: "", tbPerS });
  for (const level of TILES_LEVELS) {
    const roofed = links.find((each) => each.name === level.name), low = Math.max(10 ** s.x0, 10 ** s.y0 / roofed.tbPerS), stroke = ink[level.ink];
    roof.ground.append(pv_svg("line", { x1: s.px(low), y1: s.py(low * roofed.tbPerS), x2: s.px(top / roofed.tbPerS), y2: s.py(top), stroke, "stroke-width": 2, "stroke-dasharray": level.dash }));
  }
  for (const level of [...TILES_LEVELS].reverse()) tiles_marks(marks, s, level, ink[level.ink], now && tiles_point(launch, now, level), old && tiles_point(launch, old, level));
  svg.setAttribute("viewBox", `0 0 ${s.width} ${s.height}`);
  svg.replaceChildren(roof.ground, marks);
  svg.setAttribute("aria-label", `Roofline of the chosen tile, ${links.map((each) => `${each.name} ${memory_bandwidth(each.tbPerS)}`).join(", ")}; its numbers stand below`);
}

// {x: FLOP per byte of the level, y: TFLOP/s}
function tiles_point(launch, figures, { key }) {
  return { x: launch.flops / figures[key], y: (launch.flops / figures.time_ms) * 1e-9 };
}

// The mark of now, full; the one of before, a ring around its place; an arrow where there is room between them.
function tiles_marks(out, s, { phase }, stroke, now, old) {
  if (old) out.append(memory_mark(s, { ...old, phase }, 8, { fill: "none", stroke, "stroke-dasharray": "3,2", "stroke-width": 1.6 }));
  if (now) out.append(memory_mark(s, { ...now, phase }, 5, { fill: stroke, stroke }));
  if (!now || !old) return;
  const [x1, y1, x2, y2] = [s.px(old.x), s.py(old.y), s.px(now.x), s.py(now.y)], length = Math.hypot(x2 - x1, y2 - y1);
  if (length < 22) return;
  const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length], [tx, ty] = [x2 - 7 * ux, y2 - 7 * uy];
  const head = `M${tx - 7 * ux + 4 * uy},${ty - 7 * uy - 4 * ux}L${tx},${ty}L${tx - 7 * ux - 4 * uy},${ty - 7 * uy + 4 * ux}`;
  out.append(pv_svg("path", { d: `M${x1 + 9 * ux},${y1 + 9 * uy}L${tx},${ty}${head}`, fill: "none", stroke, "stroke-width": 1.6 }));
}

// The same in numbers, and what the lines and marks are.
function tiles_roof_table(view, roof, rows) {
  const { launch } = view, ink = PV_LINES[view.frame.theme], at = { px: (x) => x, py: (y) => y, inside: () => true };
  const table = pv_el("table", "pcv-tiles-numbers"), line = (cells, tag) => {
    const row = pv_el("tr");
    row.append(...cells.map((cell, i) => {
      const node = pv_el(i ? tag : "th");
      node.append(cell);
      return node;
    }));
    return row;
  };
  const heads = TILES_LEVELS.map(({ name, phase, ink: of, dash }) => {
    const key = pv_el("span"), svg = pv_svg("svg", { width: 26, height: 14, "aria-hidden": "true" });
    svg.append(pv_svg("line", { x1: 0, x2: 26, y1: 7, y2: 7, stroke: ink[of], "stroke-width": 2, "stroke-dasharray": dash }), memory_mark(at, { x: 13, y: 7, phase }, 4.5, { fill: ink[of], stroke: ink[of] }));
    key.append(svg, ` ${name}`);
    key.title = `Roof of ${name}: ${memory_bandwidth(roof.scene.links.find((each) => each.name === name).tbPerS)}; FLOP per byte of its traffic`;
    return key;
  });
  const [unit, scale] = memory_unit(roof);
  table.append(line(["FLOP per byte", ...heads, unit], "th"));
  for (const [name, tile, figures] of rows) {
    if (!tile) continue;
    const points = figures && TILES_LEVELS.map((level) => tiles_point(launch, figures, level));
    const row = line([`${name}, ${tile.join("×")}`, ...(points ? [...points.map((p) => p.x), points[0].y * scale].map((value) => pv_digits(Number(value.toPrecision(3)))) : ["not possible"])], "td");
    if (!points) row.lastChild.colSpan = 3;
    table.append(row);
  }
  view.roofWords.replaceChildren(table);
}
