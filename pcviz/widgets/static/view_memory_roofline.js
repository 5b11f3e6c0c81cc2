// The roofline of the Memory view: ceilings of the device, a point per launch, rings for the sums of a layer and of the circuit.

function memory_phase(place) {
  return PV_LAUNCHES[MEMORY_LAUNCHES[place]];
}

// The launches of the chosen passes at a block size as objects, the slowest first.
function memory_launches(view, size) {
  const { columns } = view.scene;
  const rows = view.scene.points[size] || [];
  return rows.map((row) => Object.fromEntries(row.map((value, i) => [columns[i], value]))).filter((p) => PV_PASSES[view.phase].includes(memory_phase(p.phase).pass));
}

function memory_scale(view) {
  const { frame, scene } = view, width = view.svg.clientWidth || 300, height = view.svg.clientHeight || 200, font = frame.font;
  const box = { x: 3.9 * font, y: 1.1 * font, w: Math.max(40, width - 4.7 * font), h: Math.max(30, height - 4.2 * font) };
  const [x0, x1] = scene.axes.x, [y0, y1] = scene.axes.y;
  const at = (log, low, high) => (log - low) / (high - low);
  return {
    ...box, width, height, font, x0, x1, y0, y1,
    px: (value) => box.x + pv_clamp(at(Math.log10(value), x0, x1), 0, 1) * box.w,
    py: (value) => box.y + (1 - pv_clamp(at(Math.log10(value), y0, y1), 0, 1)) * box.h,
    inside: (x, y) => Math.log10(x) >= x0 && Math.log10(x) <= x1 && Math.log10(y) >= y0 && Math.log10(y) <= y1,
  };
}

function memory_plot(view) {
  const { frame, scene } = view;
  const key = [frame.theme, frame.font, frame.width, frame.height, view.level, view.keys.textContent, view.words.textContent.length >> 5].join();
  if (view.plotKey !== key || view.plotScene !== scene) {
    const scale = (view.scale = memory_scale(view));
    view.ground = pv_svg("g");
    memory_axes(view, scale, view.link);
    view.marks = pv_svg("g");
    view.svg.setAttribute("viewBox", `0 0 ${scale.width} ${scale.height}`);
    view.svg.replaceChildren(view.ground, view.marks);
    Object.assign(view, { plotKey: key, plotScene: scene });
  }
  memory_points(view);
}

function memory_axes(view, s, link) {
  const ink = PV_LINES[view.frame.theme], out = view.ground, text = (x, y, words, more) => out.append(pv_svg("text", { x, y, fill: ink.text, "font-size": s.font, ...more }, words));
  const line = (x1, y1, x2, y2, more) => out.append(pv_svg("line", { x1, y1, x2, y2, stroke: ink.grid, ...more }));
  const stepX = Math.ceil((4.5 * s.font * (s.x1 - s.x0)) / s.w);
  for (let e = Math.ceil(s.x0); e <= s.x1; e += stepX) {
    line(s.px(10 ** e), s.y, s.px(10 ** e), s.y + s.h);
    text(s.px(10 ** e), s.y + s.h + 1.15 * s.font, pv_format.format(10 ** e), { "text-anchor": "middle" });
  }
  const [unit, factor] = memory_unit(view), step = Math.ceil((1.4 * s.font * (s.y1 - s.y0)) / s.h);
  for (let e = Math.ceil(s.y0); e <= s.y1; e += step) {
    line(s.x, s.py(10 ** e), s.x + s.w, s.py(10 ** e));
    text(s.x - 5, s.py(10 ** e) + 0.35 * s.font, String(Number((10 ** e * factor).toPrecision(1))), { "text-anchor": "end" });
  }
  text(s.x + s.w / 2, s.y + s.h + 2.5 * s.font, view.axis ?? `FLOP per byte of ${link.bytes} traffic`, { "text-anchor": "middle" });
  text(1.1 * s.font, s.y + s.h / 2, unit, { "text-anchor": "middle", transform: `rotate(-90 ${1.1 * s.font} ${s.y + s.h / 2})` });
  const peaks = view.scene.peaks, top = Math.max(...peaks.map((peak) => peak.tflops));
  const roofed = view.scene.links.filter((each) => each.tbPerS), crowded = s.nameless || memory_crowded(s, roofed, top);
  roofed.forEach((each, i) => memory_roof(out, s, each, top, each.name === link.name ? ink.text : ink.muted, each.name === link.name, i, crowded));
  const roofs = view.scene.links.map((each) => each.tbPerS).filter(Boolean), own = link.tbPerS;
  peaks.forEach((peak, i) => {
    const from = own ? peak.tflops / own : 10 ** s.x0;
    line(s.px(from), s.py(peak.tflops), s.x + s.w, s.py(peak.tflops), { stroke: ink.text, "stroke-width": 1.6 });
    if (own && roofs.length > 1) line(s.px(peak.tflops / Math.max(...roofs)), s.py(peak.tflops), s.px(from), s.py(peak.tflops), { stroke: ink.muted, "stroke-dasharray": "3,3" });
    const under = i && s.py(peak.tflops) - s.py(peaks[i - 1].tflops) < 1.4 * s.font; // no room between the lines
    const name = s.w < 36 * s.font ? peak.name.split(", ").at(-1) : peak.name;
    text(s.x + s.w, s.py(peak.tflops) + (under ? 1.1 * s.font : -4), `${name}: ${memory_flops(view, peak.tflops)}`, { "text-anchor": "end" });
  });
}

// Whether the names along the slanted roofs would lie on each other: lines closer than letters are high, names not past each other.
function memory_crowded(s, roofs, top) {
  const decade = [s.w / (s.x1 - s.x0), s.h / (s.y1 - s.y0)], slope = Math.hypot(...decade);
  const long = (Math.log10(top) - s.y0) * slope, name = 7.5 * s.font;
  return roofs.slice(1).some((each, i) => {
    const apart = (Math.abs(Math.log10(roofs[i].tbPerS / each.tbPerS)) * decade[0] * decade[1]) / slope;
    return apart < 0.85 * s.font && 0.16 * long < name;
  });
}

// A slanted roof: bandwidth times intensity, up to the highest peak; its name stands along it.
function memory_roof(out, s, each, top, colour, own, i, crowded) {
  const low = Math.max(10 ** s.x0, 10 ** s.y0 / each.tbPerS), high = top / each.tbPerS;
  const [x1, y1, x2, y2] = [s.px(low), s.py(low * each.tbPerS), s.px(high), s.py(top)];
  out.append(pv_svg("line", { x1, y1, x2, y2, stroke: colour, "stroke-width": own ? 2 : 1, ...(own ? {} : { "stroke-dasharray": "3,3" }) }));
  if (crowded && !own) return;
  const share = crowded ? 0.06 : 0.06 + 0.16 * i, x = x1 + share * (x2 - x1), y = y1 + share * (y2 - y1), angle = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
  out.append(pv_svg("text", { x, y: y - 4, fill: colour, "font-size": s.font, "font-weight": own ? 600 : 400, transform: `rotate(${angle} ${x} ${y})` }, `${each.name} ${memory_bandwidth(each.tbPerS)}`));
}

function memory_points(view) {
  const { scale: s, link } = view, ink = PV_LINES[view.frame.theme], out = [], launch = pv_launch(view.frame.state);
  view.points = memory_launches(view, view.size);
  const longest = Math.max(...view.points.map((p) => p.time_ms), 1e-9);
  const place = (p) => Object.assign(p, { x: p.flops / p[link.key], y: memory_rate(p, "flops") });
  for (const p of memory_launches(view, view.before).map(place)) {
    if (p.layer === view.layer || view.layer === null) out.push(memory_mark(s, p, 4, { fill: "none", stroke: ink.muted, "stroke-dasharray": "2,2" }));
  }
  for (const p of view.points.map(place)) {
    const own = p.layer === view.layer, r = 3 + 5 * Math.sqrt(p.time_ms / longest);
    const chosen = own && p.launch === launch?.group + 1 && MEMORY_LAUNCHES[p.phase] === launch.phase;
    if (chosen) out.push(memory_mark(s, p, r + 4, { fill: "none", stroke: ink.text, "stroke-width": 2, "data-pcv": "memory-chosen" }));
    out.push(memory_mark(s, p, r, own ? { fill: ink.model, stroke: ink.model } : { fill: ink.muted, "fill-opacity": 0.25, stroke: ink.muted }));
  }
  const ends = [["circuit", "all", ink.recorded], ...(view.layer === null ? [] : [[`layer ${view.layer}`, view.layer, ink.model]])].map(([name, layer, colour]) => memory_sum_mark(view, out, name, layer, colour));
  memory_labels(view, out, ends.filter(Boolean));
  view.marks.replaceChildren(...out);
  view.at = null;
}

// A symbol at (FLOP per byte, TFLOP/s); what lies beyond the axes stands at their edge, without a fill.
function memory_mark(s, p, r, style) {
  const x = s.px(p.x), y = s.py(p.y), beyond = s.inside(p.x, p.y) ? {} : { fill: "none", "stroke-width": 2 };
  const d = { circle: `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`, square: `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`,
    diamond: `M${x},${y - 1.2 * r}l${1.2 * r},${1.2 * r}l${-1.2 * r},${1.2 * r}l${-1.2 * r},${-1.2 * r}Z`,
    triangle: `M${x},${y - 1.2 * r}l${1.15 * r},${2 * r}h${-2.3 * r}Z` }[MEMORY_SYMBOLS[p.phase ?? 0]];
  return pv_svg("path", { d, "stroke-width": 1.2, ...style, ...beyond });
}

// Where all launches of a layer (or of the circuit) stand together: a ring, from the ring of the size before it.
function memory_sum_mark(view, out, name, layer, colour) {
  const { scale: s, link } = view;
  const [now, was] = [view.size, view.before].map((size) => {
    const sums = memory_sums(view, size, layer);
    return sums && { px: s.px(sums.flops / sums[link.key]), py: s.py(memory_rate(sums, "flops")) };
  });
  if (!now) return null;
  const ring = (at, more) => out.push(pv_svg("circle", { cx: at.px, cy: at.py, r: 10, fill: "none", stroke: colour, "stroke-width": 2, ...more }));
  ring(now);
  if (was) {
    ring(was, { "stroke-dasharray": "3,3", "stroke-width": 1.5 });
    const length = Math.hypot(now.px - was.px, now.py - was.py);
    if (length > 26) {
      const [ux, uy] = [(now.px - was.px) / length, (now.py - was.py) / length], tip = [now.px - 11 * ux, now.py - 11 * uy];
      const head = `M${tip[0] - 8 * ux + 4 * uy},${tip[1] - 8 * uy - 4 * ux}L${tip}L${tip[0] - 8 * ux - 4 * uy},${tip[1] - 8 * uy + 4 * ux}`;
      out.push(pv_svg("path", { d: `M${was.px + 11 * ux},${was.py + 11 * uy}L${tip}${head}`, fill: "none", stroke: colour, "stroke-width": 1.6 }));
    }
  }
  return { name, colour, ...now, rises: Boolean(was) && was.py - now.py > 30 };
}

// Names beside the rings; above and below each other where the rings are close, below them where a peak's name is in the way.
function memory_labels(view, out, ends) {
  const { scale: s } = view, halo = view.frame.theme === "dark" ? "#111" : "#fff";
  ends.forEach((end, i) => {
    const other = ends[1 - i], near = other && Math.abs(other.py - end.py) < 1.3 * s.font && Math.abs(other.px - end.px) < 8 * s.font;
    const upper = near && (end.py < other.py || (end.py === other.py && i === 0)), edge = end.px > s.x + s.w - 7 * s.font;
    const under = end.px > s.x + s.w - 22 * s.font && view.scene.peaks.some((peak) => Math.abs(s.py(peak.tflops) - 4 - end.py) < 2 * s.font);
    const below = under && !end.rises, anchor = edge || (under && end.rises) ? "end" : under ? "middle" : "start"; // an arrow from below stays in sight
    const dy = below ? (near && !upper ? 3.1 : 1.9) : near ? (upper ? -0.6 : 1.2) : 0.35;
    out.push(pv_svg("text", { x: end.px + { end: below ? 10 : -14, middle: 0, start: 14 }[anchor], y: Math.max(s.y + s.font, end.py + dy * s.font), fill: end.colour, "font-size": s.font, "font-weight": 600,
      "text-anchor": anchor, stroke: halo, "stroke-width": 3, "paint-order": "stroke" }, end.name));
  });
}

function memory_legend(view) {
  const ink = PV_LINES[view.frame.theme], phases = [0, 1, 2, 3].filter((phase) => PV_PASSES[view.phase].includes(memory_phase(phase).pass));
  const key = (draw, text) => {
    const node = pv_el("span", "pcv-key"), svg = pv_svg("svg", { width: 16, height: 14, "aria-hidden": "true" });
    svg.append(draw);
    node.append(svg, pv_el("span", "", text));
    return node;
  };
  const at = { px: (x) => x, py: (y) => y, inside: () => true };
  const keys = phases.map((phase) => key(memory_mark(at, { x: 8, y: 7, phase }, 4.5, { fill: ink.model, stroke: ink.model }), memory_phase(phase).name));
  keys.push(key(memory_mark(at, { x: 8, y: 7, phase: phases[0] }, 4.5, { fill: ink.muted, "fill-opacity": 0.25, stroke: ink.muted }), "other layers"));
  if (view.before !== null) keys.push(key(memory_mark(at, { x: 8, y: 7, phase: phases[0] }, 4.5, { fill: "none", stroke: ink.muted, "stroke-dasharray": "2,2" }), `at block size ${view.before}`));
  const words = [view.phase, view.before, view.frame.theme].join();
  if (words === view.keyed) return;
  view.keyed = words;
  view.keys.replaceChildren(pv_el("span", "", "One point per launch:"), ...keys);
}

// ---- hover and keys ------------------------------------------------------------------------------------------------------

function memory_key(view, event) {
  const last = view.points.length - 1, at = view.at ?? -1;
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
  if (to !== undefined && last >= 0) memory_focus(view, pv_clamp(to, 0, last));
  else if (event.key === "Enter" || event.key === " ") memory_choose(view);
  else if (event.key === "Escape") memory_focus(view, null);
  else return;
  event.preventDefault();
}

function memory_hover(view, event) {
  const box = view.svg.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  const far = view.points.map((p) => Math.hypot(view.scale.px(p.x) - x, view.scale.py(p.y) - y));
  const nearest = far.indexOf(Math.min(...far));
  memory_focus(view, far[nearest] < 14 ? nearest : null);
}

function memory_choose(view) {
  const point = view.at === null ? null : view.points[view.at];
  if (point) pv_choose_launch(view.frame.store, point.layer, MEMORY_LAUNCHES[point.phase], point.launch - 1);
}

// The launch under the pointer or the keys: a cross hair, its text, and where it stands on the other levels.
function memory_focus(view, at) {
  if (at === view.at) return;
  view.at = at;
  view.cursor?.remove();
  view.tip.hidden = at === null;
  view.said.textContent = "";
  if (at === null) return;
  const p = view.points[at], { scale: s } = view, ink = PV_LINES[view.frame.theme], y = s.py(p.y);
  view.cursor = pv_svg("g");
  const others = view.scene.links.filter((link) => link.tbPerS || link.name === view.level).map((link) => [link.name, s.px(p.flops / p[link.key])]);
  const xs = others.map(([, x]) => x);
  view.cursor.append(pv_svg("line", { x1: Math.min(...xs), y1: y, x2: Math.max(...xs), y2: y, stroke: ink.text }));
  for (const [, x] of others) view.cursor.append(pv_svg("line", { x1: x, y1: y - 6, x2: x, y2: y + 6, stroke: ink.text, "stroke-width": 2 }));
  view.cursor.append(pv_svg("circle", { cx: s.px(p.x), cy: y, r: 12, fill: "none", stroke: ink.text, "stroke-width": 2 }));
  view.svg.append(view.cursor);
  const lines = memory_tip(view, p), host = view.frame.el.getBoundingClientRect(), box = view.svg.getBoundingClientRect();
  pv_show_tip(view.tip, lines, s.px(p.x) + box.left - host.left, y + box.top - host.top);
  view.said.textContent = lines.join(". ");
}

function memory_name(view, p) {
  return `${memory_phase(p.phase).name}, layer ${p.layer}, launch ${p.launch}`;
}

function memory_tip(view, p) {
  const { scene } = view, key = { HBM: "hbm_bytes", memory: "hbm_bytes", L2: "l2_bytes", L1: "l1_bytes" };
  const terms = scene.terms.flatMap((name, i) => {
    if (p.terms[i] === null) return [];
    const link = scene.links.find((each) => each.key === key[name]), bytes = link ? `${pv_bytes(p[link.key])}: ` : "";
    return `${link?.name ?? name}${p.bound === name ? " (the limit)" : ""}: ${bytes}${pv_ms(p.terms[i])}`;
  });
  const launch = scene.device.overheadUs ? [`launch${p.bound === "launch" ? " (the limit)" : ""}: ${pv_digits(scene.device.overheadUs)} µs, added`] : [];
  return [memory_name(view, p), `${pv_ms(p.time_ms)} (model), limited by ${p.bound}`, `${memory_flops(view, p.y)}, ${pv_digits(p.x)} FLOP per byte of ${view.level}`,
    ...terms, ...launch, `${pv_count(p.programs)} programs, ${pv_plural(p.waves, "wave")} on ${scene.links[0].from}`];
}
