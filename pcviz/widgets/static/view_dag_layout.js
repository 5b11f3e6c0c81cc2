// Where the DAG's columns, glyphs and links stand, at the present zoom. Glyphs and links lie in fields that clip them, so
// that headings and numbers keep their places.

function dag_structure(view, scene, mode, frame) {
  const width = view.host.clientWidth, height = view.host.clientHeight, { font } = frame, { k } = view.zoom;
  const gutter = 5.2 * font, head = 1.7 * font, wide = width - gutter - 6, n = scene.columns.length + 1, step = (wide * k) / n;
  const foot = wide / n > 3.1 * font || step > 4.6 * font ? 4.5 * font : 0, high = Math.max(20, height - head - foot - 8);
  const g = { width, height, gutter, head, wide, high, step, font, foot: height - foot, tall: high * k, left: view.zoom.x, top: view.zoom.y };
  view.geometry = g;
  view.glyphs = [];
  for (const [key, value] of [["width", width], ["height", height]]) view.svg.setAttribute(key, value);
  view.svg.style.fontSize = `${font}px`;
  view.svg.classList.toggle("pcv-dag-zoomed", k > 1);
  const links = mode === "regions" ? dag_links(view, scene.regions, dag_places(scene, g)) : [dag_flows(scene, g)];
  const shapes = mode === "regions" ? dag_regions(view, scene, g) : dag_bars(view, scene, g);
  view.columns = [dag_column(g, 0, null, scene), ...scene.columns.map((column, i) => dag_column(g, i + 1, column, scene))];
  shapes.forEach((list, i) => view.columns[i].node.append(dag_field(g, list)));
  const area = pv_svg("svg", { x: gutter, y: 0, width: wide + 3, height });
  area.append(dag_field(g, links), ...view.columns.map((column) => column.node));
  const name = (text, i) => foot ? pv_svg("text", { x: gutter - 8, y: g.foot + (i + 1) * 1.25 * font, "text-anchor": "end", class: "pcv-soft" }, text) : pv_svg("text", {});
  const names = ["products", "sums", ""].map(name);
  view.rowName = names[2];
  names.push(pv_svg("text", { x: gutter - 8, y: head - 0.4 * font, "text-anchor": "end", class: "pcv-soft" }, view.columns[1].wide ? "" : "layer"));
  view.svg.replaceChildren(area, ...names);
}

// Clips what is drawn between headings and numbers.
function dag_field(g, shapes) {
  const field = pv_svg("svg", { x: 0, y: g.head + 2, width: g.wide + 3, height: g.high + 4 }), inner = pv_svg("g", { transform: "translate(0,2)" });
  inner.append(...shapes);
  field.append(inner);
  return field;
}

function dag_x(g, i) {
  return g.left + i * g.step;
}

// A column is a button: hit area, heading, numbers below.
function dag_column(g, i, column, scene) {
  const x = dag_x(g, i), middle = x + g.step / 2, node = pv_svg("g", column ? { class: "pcv-dag-col", role: "button", tabindex: "-1", "data-pcv": "dag-layer", "data-layer": column.layer } : {});
  const wide = g.step > 4.6 * g.font, texts = [];
  if (column) pv_focusable(node);
  node.append(pv_svg("rect", { class: "pcv-hit", x: x + 1, y: 1, width: Math.max(1, g.step - 2), height: g.height - 2, rx: 3, ...(column ? {} : { fill: "none" }) }));
  const every = Math.max(1, Math.ceil((2.6 * g.font) / g.step)), shown = !column || wide || i % every === 0 || i === scene.columns.length;
  const label = !column ? (g.step > 3.4 * g.font ? "inputs" : "in") : wide && column.last === column.layer ? column.label : column.last === column.layer ? String(column.layer) : `${column.layer}–${column.last}`;
  if (shown && (column || g.step > 1.6 * g.font)) node.append(pv_svg("text", { x: middle, y: g.head - 0.4 * g.font, "text-anchor": "middle" }, label));
  if (g.foot < g.height) for (let k = 0; k < 3; k++) {
    const text = pv_svg("text", { x: middle, y: g.foot + (k + 1) * 1.25 * g.font, "text-anchor": "middle" });
    texts.push(text);
    node.append(text);
  }
  return { node, texts, column, wide };
}

function dag_bar_boxes(scene, g) {
  const most = Math.sqrt(Math.max(scene.inputs.nodes, ...scene.columns.map((c) => Math.max(c.products, c.sums))));
  const box = (i, at, share, n) => {
    const h = Math.max(3, (Math.sqrt(n) / most) * g.tall), w = pv_clamp(share * g.step, 1.5, 44);
    return { x: dag_x(g, i) + at * g.step - w / 2, y: g.top + (g.tall - h) / 2, w, h };
  };
  return [[box(0, 0.5, 0.3, scene.inputs.nodes)], ...scene.columns.map((c, i) => [box(i + 1, 0.28, 0.28, c.products), box(i + 1, 0.72, 0.28, c.sums)])];
}

function dag_bars(view, scene, g) {
  return dag_bar_boxes(scene, g).map((boxes, i) => boxes.map((b, k) => {
    const sums = boxes.length === 2 && k === 1, part = i === 0 ? "inputs" : sums ? "sums" : "products";
    const rect = pv_svg("rect", { x: b.x, y: b.y, width: b.w, height: b.h, rx: Math.min(2, b.w / 3), class: "pcv-dag-glyph", "data-column": i, "data-part": part });
    view.glyphs.push({ node: rect, column: i, neutral: !sums });
    return rect;
  }));
}

function dag_flows(scene, g) {
  const boxes = dag_bar_boxes(scene, g).flat(), d = [];
  for (let i = 1; i < boxes.length; i++) {
    const a = boxes[i - 1], b = boxes[i];
    d.push(`M${a.x + a.w},${a.y}L${b.x},${b.y}V${b.y + b.h}L${a.x + a.w},${a.y + a.h}Z`);
  }
  return pv_svg("path", { d: d.join(""), class: "pcv-dag-flow" });
}

function dag_places(scene, g) {
  const counts = [];
  for (const glyph of scene.regions.glyphs) counts[glyph.column] = (counts[glyph.column] || 0) + 1;
  const most = Math.max(...scene.regions.glyphs.map((glyph) => glyph.sums / glyph.repeats));
  return scene.regions.glyphs.map((glyph) => {
    const room = g.tall / counts[glyph.column], h = pv_clamp(0.72 * room, 1.5, 22);
    const w = pv_clamp((0.18 + 0.3 * Math.sqrt(glyph.sums / glyph.repeats / most)) * g.step, 3, 46) * (glyph.repeats > 1 ? 1.2 : 1);
    return { x: dag_x(g, glyph.column) + g.step / 2, y: g.top + glyph.row * g.tall, w, h: glyph.repeats > 1 ? 3 * h : h };
  });
}

function dag_regions(view, scene, g) {
  const places = dag_places(scene, g), lists = Array.from({ length: scene.columns.length + 1 }, () => []);
  scene.regions.glyphs.forEach((glyph, i) => {
    const p = places[i], box = { x: p.x - p.w / 2, y: p.y - p.h / 2, width: p.w, height: p.h, rx: Math.min(3, p.h / 2) };
    const rect = pv_svg("rect", { ...box, class: "pcv-dag-glyph", "data-column": glyph.column, ...dag_glyph_button(view, glyph, i) });
    view.glyphs.push({ node: pv_focusable(rect), column: glyph.column, of: glyph, neutral: glyph.column === 0 });
    lists[glyph.column].push(rect);
    if (glyph.repeats > 1) lists[glyph.column].push(pv_svg("text", { x: p.x, y: p.y - p.h / 2 - 4, "text-anchor": "middle", class: "pcv-soft" }, `× ${pv_count(glyph.repeats)}`));
  });
  return lists;
}

function dag_glyph_button(view, glyph, i) {
  return { "data-glyph": i, role: "button", tabindex: "-1", "aria-label": dag_words(view, glyph).join(": ") };
}

function dag_links(view, picture, places) {
  const pairs = dag_pairs(picture), stride = picture.stride || 1;
  view.places = places;
  view.strong = pv_svg("path", { class: "pcv-dag-strong" });
  const drawn = pairs.filter((_, i) => i % stride === 0);
  const edge = pv_svg("path", { d: dag_curves(places, drawn), class: "pcv-dag-edge", "stroke-opacity": pv_clamp(60 / Math.sqrt(drawn.length + 1) / 10, 0.12, 0.6) });
  return [edge, view.strong];
}

// [reader, what it reads] of each link.
function dag_pairs(picture) {
  const bytes = pv_u8(picture.links), pairs = [];
  for (let i = 0; i + 3 < bytes.length; i += 4) pairs.push([bytes[i] | (bytes[i + 1] << 8), bytes[i + 2] | (bytes[i + 3] << 8)]);
  return pairs;
}

function dag_curves(places, pairs) {
  return pairs.map(([parent, child]) => {
    const p = places[parent], c = places[child], x0 = c.x + c.w / 2, x1 = p.x - p.w / 2, bend = (x1 - x0) * 0.45;
    return `M${x0.toFixed(1)},${c.y.toFixed(1)}C${(x0 + bend).toFixed(1)},${c.y.toFixed(1)} ${(x1 - bend).toFixed(1)},${p.y.toFixed(1)} ${x1.toFixed(1)},${p.y.toFixed(1)}`;
  }).join("");
}
