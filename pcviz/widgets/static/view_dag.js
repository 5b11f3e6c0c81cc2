// DAG: a column per layer, inputs left, root right. Layers: bars of products and sums, tall by count. Regions: a glyph per
// sum vector with links to what it reads. Colour is one chosen quantity. A frame only changes colours and numbers.

const DAG_QUANTITIES = {
  edges: { label: "edges", row: "edges", text: pv_count, short: pv_short },
  padding: { label: "padding share", row: "padding", text: pv_percent, short: pv_percent },
  time_ms: { label: "estimated time", row: "time", text: pv_ms, short: pv_ms },
  sums: { label: "sums", row: "sums", text: pv_count, short: pv_short },
};
const DAG_RAMP = { light: [[222, 233, 247], [120, 171, 222], [31, 95, 180], [9, 40, 92]], dark: [[30, 48, 72], [44, 96, 160], [92, 164, 240], [214, 235, 255]] };

function draw_dag(el, scene, store) {
  const frame = pv_frame(el, "dag", store);
  if (!frame || !scene) return;
  const view = frame.view;
  if (!view.svg) dag_build(frame);
  view.scene = scene;
  view.frame = frame;
  const mode = scene.regions && view.mode !== "layers" ? "regions" : "layers";
  dag_bar(view, scene, mode, frame);
  const key = [scene.key, mode, frame.width, frame.height, frame.font, view.host.clientHeight].join();
  if (view.key !== key) {
    view.key = key;
    dag_structure(view, scene, mode, frame);
  }
  dag_values(view, scene, frame);
}

function dag_build(frame) {
  const view = frame.view, bar = pv_el("div", "pcv-bar");
  view.quantity = "edges";
  const again = () => draw_dag(frame.el, view.scene, view.frame.store);
  view.select = pv_select(Object.entries(DAG_QUANTITIES).map(([key, q]) => [key, `colour: ${q.label}`]), "edges", "quantity shown by colour", (value) => {
    view.quantity = value;
    again();
  });
  view.select.dataset.pcv = "dag-quantity";
  view.modes = ["layers", "regions"].map((mode) => {
    const button = pv_button(mode, () => { view.mode = mode; again(); });
    button.dataset.pcv = `dag-mode-${mode}`;
    button.dataset.mode = mode;
    return button;
  });
  const legend = pv_el("span", "pcv-dag-legend");
  view.low = pv_el("span", "pcv-muted");
  view.ramp = pv_el("span", "pcv-ramp");
  view.high = pv_el("span", "pcv-muted");
  legend.append(view.low, view.ramp, view.high);
  bar.append(view.select, ...view.modes, pv_el("span", "pcv-grow"), legend);
  view.host = pv_el("div", "pcv-map");
  view.svg = pv_svg("svg", { class: "pcv-dag-svg", role: "group", "aria-label": "Layers of the circuit; left and right arrow keys move, Enter chooses" });
  view.host.append(view.svg);
  view.tip = pv_tip(view.host);
  view.caption = pv_el("div", "pcv-caption");
  view.caption.style.padding = "0 6px 2px";
  frame.el.append(bar, view.host, view.caption);
  view.svg.addEventListener("mousemove", (event) => dag_hover(view, event));
  view.svg.addEventListener("mouseleave", () => { view.tip.hidden = true; });
  view.svg.addEventListener("click", (event) => dag_choose(view, event.target.closest("[data-layer]")));
  view.svg.addEventListener("keydown", (event) => dag_key(view, event));
}

// Everything around the drawing, before its size is read: the texts decide how much room is left.
function dag_bar(view, scene, mode, frame) {
  for (const button of view.modes) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    button.disabled = button.dataset.mode === "regions" && !scene.regions;
    button.title = button.disabled ? scene.caption : "";
  }
  const q = DAG_QUANTITIES[view.quantity], own = mode === "regions" && (view.quantity === "edges" || view.quantity === "sums");
  const values = own ? scene.regions.glyphs.filter((glyph) => glyph.column).map((glyph) => glyph[view.quantity]) : scene.columns.map((column) => column[view.quantity]);
  const known = values.filter((v) => v !== null && v !== undefined);
  view.mode = mode === "layers" && !scene.regions ? view.mode : mode;
  view.own = own;
  view.range = known.length ? [Math.min(...known), Math.max(...known)] : null;
  view.low.textContent = view.range ? q.text(view.range[0]) : "no value yet";
  view.high.textContent = view.range ? `${q.text(view.range[1])} per ${own ? "region" : "layer"}` : "";
  view.ramp.style.background = `linear-gradient(90deg, ${[0, 0.33, 0.67, 1].map((t) => dag_colour(t, frame.theme)).join(", ")})`;
  const what = { time_ms: `Colour: ${scene.timeLabel}.`, padding: "Colour: share of the multiplied cells that are no edge." }[view.quantity] || "";
  const how = mode === "layers" ? "Height: number of nodes, on a square-root scale." : "A glyph is a region: one vector of sums; lines lead to what it reads.";
  const brief = frame.height < 28 * frame.font; // presenter size in a small stage
  const caption = brief ? what || how : ["Inputs left, root right.", how, what, mode === "regions" ? scene.regions.caption : "", scene.caption].filter(Boolean).join(" ");
  view.caption.title = scene.caption;
  if (view.caption.textContent !== caption) view.caption.textContent = caption;
}

function dag_structure(view, scene, mode, frame) {
  const width = view.host.clientWidth, height = view.host.clientHeight, font = frame.font, gutter = 5.2 * font;
  const n = scene.columns.length + 1, step = (width - gutter - 6) / n, foot = step > 3.1 * font ? 4.2 * font : 0, head = 1.7 * font;
  view.geometry = { width, height, gutter, head, step, font, top: head + 4, tall: Math.max(20, height - head - foot - 8), foot: height - foot };
  view.svg.setAttribute("width", width);
  view.svg.setAttribute("height", height);
  view.svg.style.fontSize = `${font}px`;
  const g = view.geometry;
  view.glyphs = [];
  const links = mode === "regions" ? dag_links(scene, g) : dag_flows(scene, g);
  view.columns = [dag_column(view, scene, g, 0, null), ...scene.columns.map((column, i) => dag_column(view, scene, g, i + 1, column))];
  const shapes = mode === "regions" ? dag_regions(view, scene, g) : dag_bars(view, scene, g);
  shapes.forEach((list, i) => view.columns[i].node.append(...list));
  const names = ["products", "sums", ""].map((text, i) => foot === 0 ? pv_svg("text", {}) : pv_svg("text", { x: gutter - 8, y: g.foot + (i + 1) * 1.25 * font, "text-anchor": "end", class: "pcv-soft" }, text));
  view.rowName = names[2];
  names.push(pv_svg("text", { x: gutter - 8, y: head - 0.4 * font, "text-anchor": "end", class: "pcv-soft" }, view.columns[1].wide ? "" : "layer"));
  view.svg.replaceChildren(...view.columns.map((column) => column.back).filter(Boolean), links, ...view.columns.map((column) => column.node), ...names);
}

function dag_x(g, i) {
  return g.gutter + i * g.step;
}

// A column is a button: hit area, heading, numbers below.
function dag_column(view, scene, g, i, column) {
  const x = dag_x(g, i), middle = x + g.step / 2, node = pv_svg("g", column ? { class: "pcv-dag-col", role: "button", tabindex: "-1", "data-pcv": "dag-layer", "data-layer": column.layer } : {});
  const wide = g.step > 4.6 * g.font, texts = [];
  if (column) pv_focusable(node);
  node.append(pv_svg("rect", { class: "pcv-hit", x: x + 1, y: 1, width: Math.max(1, g.step - 2), height: g.height - 2, rx: 3, ...(column ? {} : { fill: "none" }) }));
  const every = Math.max(1, Math.ceil((2.6 * g.font) / g.step)), shown = !column || wide || i % every === 0 || i === scene.columns.length;
  const label = !column ? "inputs" : wide && column.last === column.layer ? column.label : column.last === column.layer ? String(column.layer) : `${column.layer}–${column.last}`;
  if (shown && (column || g.step > 3.4 * g.font)) node.append(pv_svg("text", { x: middle, y: g.head - 0.4 * g.font, "text-anchor": "middle" }, label));
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
    const sums = boxes.length === 2 && k === 1, rect = pv_svg("rect", { x: b.x, y: b.y, width: b.w, height: b.h, rx: Math.min(2, b.w / 3), class: "pcv-dag-glyph", "data-column": i, "data-part": i === 0 ? "inputs" : sums ? "sums" : "products" });
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
  const lists = Array.from({ length: scene.columns.length + 1 }, () => []), places = dag_places(scene, g);
  scene.regions.glyphs.forEach((glyph, i) => {
    const p = places[i], rect = pv_svg("rect", { x: p.x - p.w / 2, y: p.y - p.h / 2, width: p.w, height: p.h, rx: Math.min(3, p.h / 2), class: "pcv-dag-glyph", "data-column": glyph.column, "data-region": i });
    view.glyphs.push({ node: rect, column: glyph.column, region: i, neutral: glyph.column === 0 });
    lists[glyph.column].push(rect);
    if (glyph.repeats > 1) lists[glyph.column].push(pv_svg("text", { x: p.x, y: p.y - p.h / 2 - 4, "text-anchor": "middle", class: "pcv-soft" }, `× ${pv_count(glyph.repeats)}`));
  });
  return lists;
}

function dag_links(scene, g) {
  const bytes = pv_u8(scene.regions.links), places = dag_places(scene, g), d = [];
  for (let i = 0; i + 3 < bytes.length; i += 4) {
    const p = places[bytes[i] | (bytes[i + 1] << 8)], c = places[bytes[i + 2] | (bytes[i + 3] << 8)];
    const x0 = c.x + c.w / 2, x1 = p.x - p.w / 2, bend = (x1 - x0) * 0.45;
    d.push(`M${x0.toFixed(1)},${c.y.toFixed(1)}C${(x0 + bend).toFixed(1)},${c.y.toFixed(1)} ${(x1 - bend).toFixed(1)},${p.y.toFixed(1)} ${x1.toFixed(1)},${p.y.toFixed(1)}`);
  }
  return pv_svg("path", { d: d.join(""), class: "pcv-dag-edge", "stroke-opacity": pv_clamp(60 / Math.sqrt(bytes.length / 4 + 1) / 10, 0.12, 0.6) });
}

function dag_value(view, glyph) {
  if (view.own) return view.scene.regions.glyphs[glyph.region][view.quantity];
  return view.scene.columns[glyph.column - 1][view.quantity];
}

// Colours, numbers and the chosen layer: all that a move of the slider or a click changes.
function dag_values(view, scene, frame) {
  const q = DAG_QUANTITIES[view.quantity], [low, high] = view.range || [0, 1], neutral = frame.theme === "dark" ? "#3a404a" : "#e3e6ea";
  for (const glyph of view.glyphs) {
    const v = glyph.neutral ? null : dag_value(view, glyph);
    const fill = v === null || v === undefined ? neutral : dag_colour(high > low ? (v - low) / (high - low) : 0.5, frame.theme);
    if (glyph.fill !== fill) glyph.node.setAttribute("fill", (glyph.fill = fill));
  }
  view.rowName.textContent = q.row === "sums" || !view.rowName.hasAttribute("x") ? "" : q.row;
  dag_columns(view, scene, frame, q);
}

function dag_columns(view, scene, frame, q) {
  const layer = frame.state.layer;
  view.columns.forEach(({ node, texts, wide }, i) => {
    const column = scene.columns[i - 1];
    const lines = column ? [pv_short(column.products), pv_short(column.sums), q.row === "sums" ? "" : column[view.quantity] === null ? "–" : q.short(column[view.quantity])] : ["", pv_short(scene.inputs.nodes), ""];
    texts.forEach((text, k) => { if (text.textContent !== lines[k]) text.textContent = lines[k]; });
    if (!column) return;
    const chosen = layer >= column.layer && layer <= column.last;
    node.setAttribute("aria-pressed", String(chosen));
    node.setAttribute("tabindex", chosen ? "0" : "-1");
    node.setAttribute("aria-label", `${column.label}: ${pv_count(column.products)} products, ${pv_count(column.sums)} sums, ${pv_count(column.edges)} edges, ${pv_percent(column.padding)} padding`);
  });
  if (!view.columns.some(({ node }) => node.getAttribute("tabindex") === "0") && view.columns[1]) view.columns[1].node.setAttribute("tabindex", "0");
}

function dag_colour(t, theme) {
  const stops = DAG_RAMP[theme], at = pv_clamp(t, 0, 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
  return `rgb(${stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * (at - i))).join(",")})`;
}

function dag_choose(view, node) {
  if (node) view.frame.store.set({ layer: Number(node.dataset.layer) }, { commit: true });
}

function dag_key(view, event) {
  const node = event.target.closest("[data-layer]"), step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  if (!node) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    dag_choose(view, node);
  } else if (step) {
    event.preventDefault();
    const nodes = view.columns.slice(1).map((column) => column.node), next = nodes[pv_clamp(nodes.indexOf(node) + step, 0, nodes.length - 1)];
    next.focus();
  }
}

function dag_hover(view, event) {
  const at = event.target.closest("[data-column], [data-layer]"), scene = view.scene;
  if (!at) {
    view.tip.hidden = true;
    return;
  }
  const box = view.host.getBoundingClientRect(), index = at.dataset.column !== undefined ? Number(at.dataset.column) : scene.columns.findIndex((c) => String(c.layer) === at.dataset.layer) + 1;
  const column = scene.columns[index - 1], lines = [];
  if (at.dataset.region !== undefined) {
    const glyph = scene.regions.glyphs[Number(at.dataset.region)];
    lines.push(glyph.name, `${pv_count(glyph.sums)} ${glyph.column ? "sums" : "input nodes"}${glyph.edges ? `, ${pv_count(glyph.edges)} edges` : ""}`);
  }
  if (column) {
    lines.push(`${column.label}: ${pv_plural(column.groups, "group")}`, `${pv_count(column.products)} products → ${pv_count(column.sums)} sums, ${pv_count(column.edges)} edges`, `padding ${pv_percent(column.padding)} of multiplied cells`);
    if (column.time_ms !== null) lines.push(`${scene.timeLabel}: ${pv_ms(column.time_ms)}`);
  } else lines.push(`inputs: ${pv_count(scene.inputs.nodes)} nodes of ${pv_plural(scene.inputs.variables, "variable")}`);
  pv_show_tip(view.tip, lines, event.clientX - box.left, event.clientY - box.top);
}
