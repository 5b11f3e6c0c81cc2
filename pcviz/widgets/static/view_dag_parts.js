// Parts of the circuit opened in the DAG view: the kernel answers with a part's picture, small circuits carry all of theirs.
// Where one is, the search, and the trace of what a glyph reads and what reads it.

const DAG_KEPT = 60; // pictures remembered
const DAG_RULER = document.createElement("canvas").getContext("2d"); // measures text
const DAG_TRACES = [["both", "trace both"], ["down", "trace reads"], ["up", "trace readers"], ["none", "no trace"]];

function dag_nav_build(view) {
  view.crumbs = pv_el("span", "pcv-dag-crumbs");
  view.crumbs.dataset.pcv = "dag-crumbs";
  view.find = pv_focusable(pv_el("input", "pcv-select pcv-dag-find"));
  Object.assign(view.find, { type: "text", placeholder: "find node or name" });
  view.find.dataset.pcv = "dag-find";
  view.find.setAttribute("aria-label", "Search: a node number, row 48 of figure 4, layer 3, vector 17, or a part of a name; Enter opens it");
  view.find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") dag_find(view, view.find.value);
    else if (event.key === "Escape") dag_found(view, []);
    else return;
    event.preventDefault();
  });
  view.found = pv_el("div", "pcv-dag-found");
  view.found.hidden = true;
  view.trace = pv_select(DAG_TRACES, "both", "Trace of the chosen glyph: both ways, what it reads, what reads it, or none", (value) => {
    view.tracing = value;
    dag_trace(view);
  });
  view.trace.dataset.pcv = "dag-trace";
  view.opener = pv_button("Open", () => dag_open_chosen(view));
  view.opener.dataset.pcv = "dag-open";
  view.said = pv_el("div", "pcv-caption pcv-dag-said");
  view.said.setAttribute("role", "status");
  view.said.dataset.pcv = "dag-said";
  view.said.style.visibility = "hidden";
  view.reads = pv_el("table", "pcv-sr");
  view.reads.dataset.pcv = "dag-reads";
}

function dag_nav(view) {
  const crumbs = view.part ? view.part.crumbs : [["", "circuit"]], text = JSON.stringify(crumbs);
  if (view.crumbs.dataset.text === text) return;
  view.crumbs.dataset.text = text;
  view.crumbs.hidden = !view.part;
  const focused = view.crumbs.contains(document.activeElement);
  view.crumbs.replaceChildren(...crumbs.flatMap(([key, label], i) => {
    const last = i === crumbs.length - 1, node = last ? pv_el("b", "", label) : pv_button(label, () => dag_open(view, key, true));
    node.title = label;
    return i ? [" › ", node] : [node];
  }));
  if (focused) view.wantFocus = true;
}

// ---- opening ------------------------------------------------------------------------------------------------------------

function dag_open(view, key, focus = false) {
  if (key === undefined || key === null) return;
  Object.assign(view, { open: key, selected: null, zoom: dag_zoom_none(), wantFocus: focus && Boolean(key), follow: Boolean(key) });
  dag_again(view);
}

// Parameters change with training: a node's picture is asked for anew each time it is opened.
function dag_drop_nodes(view) {
  for (const key of view.parts.keys()) if (key.startsWith("node:")) view.parts.delete(key);
}

function dag_open_chosen(view) {
  if (view.selected !== null && view.picture) dag_open(view, view.picture.glyphs[view.selected].key, true);
  else if (view.shown !== "part") dag_open(view, `layer:${view.frame.state.layer}`, true);
}

// The picture of what is open: at this block size, or while it is on its way the last one of the same part.
function dag_part(view) {
  const { scene, frame } = view;
  const circuit = `${frame.state.circuit}|${scene.key}`;
  if (view.circuit !== circuit) Object.assign(view, { circuit, open: "", selected: null, parts: new Map(), part: null, flows: null, refused: null });
  if (!view.open) return null;
  const size = frame.state.blockSize, flow = dag_flow_wish(view), extra = dag_extra(view), wish = `${view.open}|${size}|${extra}`;
  const found = (flow === null && (scene.parts || {})[view.open]) || view.parts.get(wish);
  if (found) {
    if (view.follow && found.layer && found.layer !== frame.state.layer) setTimeout(() => frame.store.set({ layer: found.layer }, { commit: true }));
    view.follow = false; // the other views go to the layer of what was opened, once
    return found;
  }
  if (view.wish !== wish && view.refused !== wish) dag_ask(view, wish, { open: view.open, flow, costs: dag_costs_wish(view), extra });
  return view.part || (scene.parts || {})[view.open] || null;
}

async function dag_ask(view, wish, question) {
  const { store, el } = view.frame, circuit = view.circuit;
  view.wish = wish;
  const answer = store.ask ? await store.ask({ kind: "dag", ...question }) : { error: "This page has no kernel that could open it." };
  if (view.wish === wish) view.wish = null;
  if (view.circuit !== circuit || !el.isConnected) return;
  view.refused = answer.error ? wish : null;
  if (answer.error) {
    if (question.open === view.open && view.open && !view.part) view.open = "";
    return dag_say(view, answer.error, question.find !== undefined);
  }
  if (answer.columns) view.flows = { ...answer, wish };
  if (answer.part) dag_drop_nodes(view);
  if (answer.part) dag_keep(view, Object.assign(answer.part, { extra: question.extra, samples: answer.samples }));
  if (answer.matches) return dag_found(view, answer.matches, answer.total);
  if (question.find !== undefined) return dag_open(view, answer.key, true);
  dag_again(view);
}

function dag_keep(view, part) {
  view.parts.set(`${part.key}|${part.blockSize}|${part.extra}`, part);
  if (view.parts.size > DAG_KEPT) view.parts.delete(view.parts.keys().next().value);
}

// ---- flows --------------------------------------------------------------------------------------------------------------

function dag_flow_build(view) {
  view.sample = pv_focusable(pv_el("input", "pcv-select pcv-dag-sample"));
  Object.assign(view.sample, { type: "number", min: 0, value: 0, hidden: true });
  view.sample.dataset.pcv = "dag-sample";
  view.sample.setAttribute("aria-label", "Number of the sample whose flow is shown");
  view.sample.addEventListener("change", () => dag_again(view));
}

// "data", the number of a sample, or null when the colour is no flow.
function dag_flow_wish(view) {
  return { flow_data: "data", flow_sample: String(Math.max(0, Math.floor(Number(view.sample.value) || 0))) }[view.quantity] ?? null;
}

// Whether the colour is one that takes the kernel a moment to lay out.
function dag_costs_wish(view) {
  const q = DAG_QUANTITIES[view.quantity];
  return Boolean(q.model || q.cost);
}

// What a part's picture must hold besides its structure; the padding tolerance changes costs alone.
function dag_extra(view) {
  const measured = DAG_QUANTITIES[view.quantity].times ? ` ${dag_times(view.scene, view.quantity).number}` : "";
  return dag_flow_wish(view) ?? (dag_costs_wish(view) ? `costs ${view.frame.state.tolerance}${measured}` : null);
}

// The flows of layers and regions, asked for once: they do not depend on the block size.
function dag_flow_overview(view) {
  const flow = dag_flow_wish(view), wish = `flows|${flow}`;
  if (flow === null || view.flows?.wish === wish || view.wish === wish || view.refused === wish) return;
  const glyphs = view.scene.regions ? view.scene.regions.glyphs.map((glyph) => glyph.key) : [];
  dag_ask(view, wish, { regions: glyphs, flow });
}

function dag_flow_says(view) {
  const here = dag_flow_here(view);
  if (!here) return "Colour: flow, on its way.";
  const of = view.quantity === "flow_sample" ? `of sample ${dag_flow_wish(view)}` : `mean of ${pv_count(here.samples)} samples`;
  return `Colour: flow, how many of the nodes a sample's explanation is expected to pass through (${of}; computed on this CPU when it was chosen).`;
}

// What has the flows that are asked for: the opened part, or those of layers and regions.
function dag_flow_here(view) {
  const flow = dag_flow_wish(view);
  if (flow === null) return null;
  if (view.part) return view.part.extra === flow ? view.part : null;
  return view.flows?.wish === `flows|${flow}` ? view.flows : null;
}

// A colour chosen anew is computed anew: training changes flows.
function dag_flow_anew(view) {
  view.sample.hidden = view.quantity !== "flow_sample";
  Object.assign(view, { flows: null, refused: null });
  for (const [key, part] of view.parts) if (part.extra !== null && !part.extra.startsWith("costs")) view.parts.delete(key);
}

// ---- searching ----------------------------------------------------------------------------------------------------------

function dag_find(view, text) {
  const words = text.trim().toLowerCase().replaceAll(",", ""), number = words.match(/^(?:(node|layer|vector) )?#?(\d+)$/), key = number && `${number[1] || "node"}:${Number(number[2])}`;
  dag_found(view, []);
  if (key && (view.scene.parts || {})[key]) return dag_open(view, key, true);
  dag_say(view, "searching …");
  dag_ask(view, `find|${words}`, { find: text, flow: dag_flow_wish(view), costs: dag_costs_wish(view), extra: dag_extra(view) });
}

function dag_found(view, matches, total) {
  view.found.hidden = !matches.length;
  view.found.replaceChildren(...matches.map(([key, name]) => Object.assign(pv_button(name, () => {
    dag_found(view, []);
    dag_open(view, key, true);
  }), { title: name })));
  if (!matches.length) return;
  if (total > matches.length) view.found.append(pv_el("span", "pcv-muted", `and ${pv_count(total - matches.length)} more: type more of the name`));
  dag_say(view, total === 1 ? "1 name fits" : `${pv_count(total)} names fit`);
  view.found.querySelector("button").focus();
}

// ---- drawing ------------------------------------------------------------------------------------------------------------

function dag_part_structure(view, part, frame) {
  const width = view.host.clientWidth, height = view.host.clientHeight, { font } = frame, { k } = view.zoom;
  const head = 1.7 * font, foot = height > 15 * font ? 2.6 * font : 0, wide = width - 12, n = part.columns.length, step = (wide * k) / n, high = Math.max(20, height - head - foot - 8);
  const g = { width, height, gutter: 6, head, wide, high, step, font, foot: height - foot, tall: high * k, left: view.zoom.x, top: view.zoom.y };
  Object.assign(view, { geometry: g, glyphs: [], columns: [] });
  for (const [key, value] of [["width", width], ["height", height]]) view.svg.setAttribute(key, value);
  view.svg.style.fontSize = `${font}px`;
  view.svg.classList.toggle("pcv-dag-zoomed", k > 1);
  DAG_RULER.font = `${font}px ${getComputedStyle(view.svg).fontFamily}`;
  const places = dag_part_places(part, g), area = pv_svg("svg", { x: g.gutter, y: 0, width: wide, height });
  const heads = part.columns.map((column, i) => pv_svg("text", { x: dag_x(g, i) + step / 2, y: head - 0.4 * font, "text-anchor": "middle", class: column.main ? "" : "pcv-soft" }, column.label));
  area.append(dag_field(g, [...dag_links(view, part, places), ...dag_part_glyphs(view, part, places, g)]), ...heads);
  view.svg.replaceChildren(area, ...(foot ? dag_reach(view, part, g) : []));
}

function dag_part_places(part, g) {
  const counts = [];
  for (const glyph of part.glyphs) counts[glyph.column] = (counts[glyph.column] || 0) + 1;
  return part.glyphs.map((glyph) => {
    const room = g.tall / counts[glyph.column], h = pv_clamp(0.86 * room, 1.5, 1.7 * g.font);
    return { x: dag_x(g, glyph.column) + g.step / 2, y: g.top + glyph.row * g.tall, w: Math.min(0.62 * g.step, 15 * g.font), h };
  });
}

function dag_part_glyphs(view, part, places, g) {
  return part.glyphs.flatMap((glyph, i) => {
    const p = places[i], box = { x: p.x - p.w / 2, y: p.y - p.h / 2, width: p.w, height: p.h, rx: Math.min(3, p.h / 2) }, shapes = [];
    if (glyph.repeats > 1 && p.h > 5) shapes.push(pv_svg("rect", { ...box, x: box.x + 3, y: box.y - 2, class: "pcv-dag-behind" }));
    const main = glyph.main ? { "data-main": "" } : {};
    const node = pv_focusable(pv_svg("rect", { ...box, class: `pcv-dag-glyph ${glyph.main ? "pcv-dag-main" : ""}`, "data-column": glyph.column, ...main, ...dag_glyph_button(view, glyph, i) }));
    const text = p.h >= g.font ? pv_svg("text", { x: p.x, y: p.y + 0.36 * g.font, "text-anchor": "middle" }, dag_fit(glyph, p.w)) : null;
    view.glyphs.push({ node, text, column: glyph.column, of: glyph, neutral: false });
    if (!view.glyphs.some((each) => each.node.getAttribute("tabindex") === "0") && glyph.main) node.setAttribute("tabindex", "0");
    shapes.push(node);
    if (text) shapes.push(text);
    return shapes;
  });
}

// What of a label fits its glyph, cut with an ellipsis; names from data may be in any script.
function dag_fit(glyph, width) {
  const share = glyph.theta === null ? "" : ` · ${pv_digits(glyph.theta)}`, text = `${glyph.label}${share}`, letters = [...text].slice(0, 100);
  const fits = (some) => DAG_RULER.measureText(some).width <= width - 6;
  if (fits(text)) return text;
  while (letters.length > 1 && !fits(`${letters.join("")}…`)) letters.pop();
  return `${letters.join("")}…`;
}

// A strip of the layers: how many of each layer's vectors the part depends on, directly or not, and how many depend on it.
function dag_reach(view, part, g) {
  const n = part.reach.down.length, cell = g.wide / n, y = g.foot + 0.3 * g.font, h = 0.9 * g.font, shapes = [];
  for (let i = 0; i < n; i++) {
    const x = g.gutter + i * cell, down = part.reach.down[i], up = part.reach.up[i], own = i === part.layer;
    const node = pv_svg("g", { class: "pcv-dag-reach" });
    node.append(pv_svg("title", {}, `${i ? `layer ${i}` : "inputs"}: the part depends on ${pv_percent(down)} of its vectors; ${pv_percent(up)} depend on the part`));
    node.append(pv_svg("rect", { x: x + 0.5, y, width: Math.max(1, cell - 1), height: h, class: `pcv-dag-cell ${own ? "pcv-dag-own" : ""}` }));
    if (down) node.append(pv_svg("rect", { x: x + 0.5, y: y + h * (1 - Math.max(down, 0.08)), width: Math.max(1, cell - 1), height: h * Math.max(down, 0.08), class: "pcv-dag-down" }));
    if (up) node.append(pv_svg("rect", { x: x + 0.5, y: y + h * (1 - Math.max(up, 0.08)), width: Math.max(1, cell - 1), height: h * Math.max(up, 0.08), class: "pcv-dag-up" }));
    shapes.push(node);
  }
  const line = pv_svg("text", { x: g.gutter, y: y + h + 1.15 * g.font, class: "pcv-soft" });
  for (const [text, cls] of [["share of each layer that ", ""], ["■", "pcv-dag-down"], [" it depends on, ", ""], ["■", "pcv-dag-up"], [" depends on it", ""]]) line.append(pv_svg("tspan", cls ? { class: cls } : {}, text));
  return [...shapes, line];
}

function dag_part_values(view, q) {
  view.svg.setAttribute("aria-label", `${view.part.crumbs.at(-1)[1]}, opened: ${view.part.caption} Colour: ${q.label}. ${DAG_HELP}`);
  const rows = [["reads nodes", "of", "how many"], ...view.part.reads.map(([name, nodes, number]) => [nodes, name, String(number)])];
  view.reads.replaceChildren(...rows.map((cells, i) => {
    const row = pv_el("tr");
    row.append(...cells.map((cell) => pv_el(i ? "td" : "th", "", cell)));
    return row;
  }));
  Object.assign(view.frame.el.dataset, { open: view.part.key, size: view.part.blockSize });
}

// ---- tracing ------------------------------------------------------------------------------------------------------------

function dag_select(view, glyph) {
  const index = glyph === undefined ? null : Number(glyph);
  if (view.selected === index) return;
  view.selected = index;
  dag_trace(view);
}

// The glyphs that a walk along the links reaches: from readers to what they read, or the other way.
function dag_walk(pairs, start, up) {
  const next = new Map(), seen = new Set([start]), queue = [start];
  for (const [parent, child] of pairs) {
    const [from, to] = up ? [child, parent] : [parent, child];
    if (!next.has(from)) next.set(from, []);
    next.get(from).push(to);
  }
  while (queue.length) for (const to of next.get(queue.pop()) || []) if (!seen.has(to)) seen.add(to) && queue.push(to);
  return seen;
}

// How much of the picture the trace lights up.
function dag_trace_says(view, down, up) {
  const sides = [view.tracing !== "up" && `it depends on ${pv_plural(down, "glyph")}`, view.tracing !== "down" && `${pv_count(up)} depend on it`];
  return `here ${sides.filter(Boolean).join(", ")}`;
}

function dag_trace(view) {
  const { picture, selected } = view, on = Boolean(picture) && selected !== null && selected < view.glyphs.length && view.tracing !== "none";
  view.trace.hidden = !picture;
  view.opener.textContent = selected !== null || view.shown === "part" ? "Open" : "Open layer";
  view.opener.setAttribute("aria-label", selected !== null || view.shown === "part" ? "Open the chosen glyph" : `Open layer ${view.frame.state.layer}`);
  view.opener.disabled = view.shown === "part" && (selected === null || !view.picture.glyphs[selected]?.key || view.picture.glyphs[selected].key === view.open);
  view.svg.classList.toggle("pcv-dag-traced", on);
  const pairs = on ? dag_pairs(picture) : [], sides = { down: view.tracing !== "up", up: view.tracing !== "down" };
  const down = on && sides.down ? dag_walk(pairs, selected, false) : new Set([selected]), up = on && sides.up ? dag_walk(pairs, selected, true) : new Set([selected]);
  view.glyphs.forEach((glyph, i) => {
    const lit = on && (down.has(i) || up.has(i));
    if (glyph.of) glyph.node.classList.toggle("pcv-dag-on", lit);
    glyph.text?.classList.toggle("pcv-dag-dim", on && !lit);
  });
  const lit = pairs.filter(([parent, child]) => (sides.down && down.has(parent) && down.has(child)) || (sides.up && up.has(parent) && up.has(child)));
  if (view.strong) view.strong.setAttribute("d", on ? dag_curves(view.places, lit) : "");
  if (!on) return;
  const opened = picture.kind === "node" && picture.glyphs[selected].main; // said in the caption's words, which have room; the crumbs name it
  const [name, counts] = dag_words(view, picture.glyphs[selected]), says = `${counts}; ${opened ? picture.caption : dag_trace_says(view, down.size - 1, up.size - 1)}`;
  dag_say(view, opened ? picture.caption : `${pv_cut(name, 60)}: ${says}`);
  view.said.title = `${name}: ${says}`;
}
