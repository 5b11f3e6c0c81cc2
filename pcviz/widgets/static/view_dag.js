// DAG: a column per layer, inputs left, root right. Layers: bars of products and sums, tall by count. Regions: a glyph per
// sum vector with links to what it reads. Either opens into its parts, down to single nodes (view_dag_parts.js).
// Colour is one chosen quantity. A frame only changes colours and numbers.

const DAG_QUANTITIES = {
  edges: { label: "edges", row: "edges", text: pv_count, short: pv_short, own: true, kind: "count" },
  params: { label: "parameters", row: "params", text: pv_count, short: pv_short, own: true, kind: "count" },
  sums: { label: "sums", row: "sums", text: pv_count, short: pv_short, own: true, kind: "count" },
  padding: { label: "padding", row: "padding", text: pv_percent, short: pv_percent, cost: true, kind: "of the plan", says: "share of the multiplied cells that are no edge" },
  time_ms: { label: "time, model", row: "time", text: pv_ms, short: pv_ms, model: true, says: "time" },
  recorded_ms: { label: "time, recorded", row: "time", text: pv_ms, short: pv_ms, cost: true, times: true, kind: "recorded" },
  measured_ms: { label: "time, measured", row: "time", text: pv_ms, short: pv_ms, cost: true, times: true, kind: "measured" },
  l2_bytes: { label: `bytes ${PV_LEVELS.l2_bytes}`, row: PV_LEVELS.l2_bytes, text: pv_bytes, short: pv_bytes, model: true, says: "bytes between L1 and L2" },
  hbm_bytes: { label: `bytes ${PV_LEVELS.hbm_bytes}`, row: PV_LEVELS.hbm_bytes, text: pv_bytes, short: pv_bytes, model: true, says: "bytes from and to HBM" },
  flow_data: { label: "flow, data", row: "flow", text: pv_flow, short: pv_flow, own: true, flow: true, kind: "computed" },
  flow_sample: { label: "flow, sample", row: "flow", text: pv_flow, short: pv_flow, own: true, flow: true, kind: "computed" },
  flops: { label: "FLOPs", row: "FLOPs", text: pv_flops, short: pv_short, model: true, says: "floating-point operations" },
};
const DAG_HELP = "Arrow keys move, Enter chooses and opens, Escape goes back. Plus and minus zoom, Shift with arrows moves the picture, 0 shows all of it.";

function pv_flops(n) {
  for (const [unit, scale] of [["TFLOP", 1e12], ["GFLOP", 1e9], ["MFLOP", 1e6], ["kFLOP", 1e3]]) if (n >= scale) return `${pv_digits(n / scale)} ${unit}`;
  return `${pv_digits(n)} FLOP`;
}

function pv_flow(flow) {
  return flow === 0 || flow >= 1e-4 ? String(Number(flow.toPrecision(3))) : flow.toExponential(1);
}

function draw_dag(el, scene, store) {
  const frame = pv_frame(el, "dag", store);
  if (!frame || !scene) return;
  const { view } = frame;
  if (!view.svg) dag_build(frame);
  Object.assign(view, { scene, frame });
  view.part = dag_part(view);
  if (!view.part) dag_flow_overview(view);
  const mode = view.part ? "part" : scene.regions && view.mode !== "layers" ? "regions" : "layers";
  view.shown = mode;
  dag_nav(view);
  dag_bar(view, scene, mode, frame);
  const key = [scene.key, mode, view.part && `${view.part.key}|${view.part.blockSize}|${view.part.extra}`, dag_flow_here(view) && dag_flow_wish(view), frame.width, frame.height, frame.font, view.host.clientHeight, Object.values(view.zoom)].join();
  if (view.key !== key) {
    view.key = key;
    view.tip.hidden = true; // it spoke of what is gone
    dag_forget(view);
    const focused = view.svg.contains(document.activeElement) ? dag_focus_key(document.activeElement) : null;
    if (mode === "part") dag_part_structure(view, view.part, frame);
    else dag_structure(view, scene, mode, frame);
    view.picture = mode === "part" ? view.part : mode === "regions" ? scene.regions : null;
    dag_refocus(view, focused);
    dag_zoom_state(view);
  }
  view.host.classList.toggle("pcv-dag-stale", dag_stale(view));
  dag_values(view, scene, frame);
  dag_trace(view);
}

// The opened part of the last block size, until that of the present one is there.
function dag_stale(view) {
  return Boolean(view.part) && view.part.blockSize !== view.frame.state.blockSize;
}

// Another picture: what was chosen in the last one means nothing here.
function dag_forget(view) {
  const shown = view.part ? `${view.part.key}|${view.part.blockSize}` : view.shown;
  if (view.chosenIn === shown) return;
  Object.assign(view, { chosenIn: shown, selected: null });
  dag_say(view, "");
}

function dag_again(view) {
  draw_dag(view.frame.el, view.scene, view.frame.store);
}

// Which element has the focus, in words that hold after the picture is built anew.
function dag_focus_key(node) {
  return node.dataset.glyph !== undefined ? `[data-glyph="${node.dataset.glyph}"]` : node.dataset.layer !== undefined ? `[tabindex][data-layer="${node.dataset.layer}"]` : null;
}

function dag_refocus(view, selector) {
  const arrived = view.wantFocus && view.part?.key === view.open; // not while what was opened is on its way
  const node = arrived ? view.svg.querySelector("[data-main]") : selector && view.svg.querySelector(selector);
  if (arrived) view.wantFocus = false;
  node?.focus({ preventScroll: true });
}

function dag_build(frame) {
  const { view } = frame, bar = pv_el("div", "pcv-bar pcv-dag-bar");
  Object.assign(view, { quantity: "edges", zoom: dag_zoom_none(), open: "", selected: null, tracing: "both", parts: new Map() });
  view.select = pv_select(Object.entries(DAG_QUANTITIES).map(([key, q]) => [key, `colour: ${q.label}`]), "edges", "quantity shown by colour", (value) => {
    view.quantity = value;
    dag_flow_anew(view);
    dag_say(view, "");
    dag_again(view);
  });
  view.select.dataset.pcv = "dag-quantity";
  view.modes = ["layers", "regions"].map((mode) => {
    const button = pv_button(mode, () => { view.mode = mode; dag_open(view, ""); });
    button.dataset.pcv = `dag-mode-${mode}`;
    button.dataset.mode = mode;
    return button;
  });
  dag_nav_build(view);
  dag_flow_build(view);
  bar.append(view.select, view.sample, ...view.modes, dag_zoom_buttons(view), view.find, dag_legend(view), view.trace, view.opener, view.crumbs, view.found);
  view.host = pv_el("div", "pcv-map");
  view.svg = pv_svg("svg", { class: "pcv-dag-svg", role: "group", "aria-label": `The circuit, inputs left, root right. ${DAG_HELP}` });
  view.host.append(view.svg);
  view.tip = pv_tip(view.host);
  view.caption = pv_el("div", "pcv-caption");
  const foot = pv_el("div", "pcv-dag-foot"); // one place for both, so that an answer does not change the drawing's size
  foot.append(view.said, view.caption);
  frame.el.append(bar, view.host, foot, view.reads);
  dag_events(view);
}

function dag_legend(view) {
  const legend = pv_el("span", "pcv-dag-legend");
  view.low = pv_el("span", "pcv-muted");
  view.ramp = pv_el("span", "pcv-ramp");
  view.high = pv_el("span", "pcv-muted");
  view.kind = pv_el("span", "pcv-dag-kind");
  view.kind.dataset.pcv = "dag-kind";
  legend.append(view.low, view.ramp, view.high, view.kind);
  return legend;
}

function dag_events(view) {
  view.svg.addEventListener("mousemove", (event) => dag_hover(view, event));
  view.svg.addEventListener("mouseleave", () => { view.tip.hidden = true; });
  view.svg.addEventListener("click", (event) => { if (!view.dragged) dag_click(view, event); });
  view.svg.addEventListener("dblclick", (event) => { if (!view.dragged) dag_open_at(view, event.target.closest("[data-glyph], [data-layer]")); });
  view.svg.addEventListener("keydown", (event) => { if (!dag_zoom_key(view, event)) dag_key(view, event); });
  view.svg.addEventListener("focusin", (event) => dag_select(view, event.target.dataset.glyph));
  view.svg.addEventListener("wheel", (event) => dag_wheel(view, event), { passive: false });
  dag_drag(view);
}

// Everything around the drawing, before its size is read: the texts decide how much room is left.
function dag_bar(view, scene, mode, frame) {
  for (const button of view.modes) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    button.disabled = button.dataset.mode === "regions" && !scene.regions;
    button.title = button.disabled ? scene.caption : "";
  }
  dag_choices(view, scene);
  const q = DAG_QUANTITIES[view.quantity];
  const glyphs = mode === "part" ? view.part.glyphs : mode === "regions" ? scene.regions.glyphs.filter((glyph) => glyph.column) : null;
  const known = (glyphs ? glyphs.map((glyph) => dag_value(view, glyph)) : scene.columns.map((column) => dag_of_column(view, column))).filter((v) => v !== null && v !== undefined);
  view.range = known.length ? [Math.min(...known), Math.max(...known)] : null;
  view.low.textContent = view.range ? q.text(view.range[0]) : "no value";
  view.high.textContent = view.range ? `${q.text(view.range[1])} per ${{ part: "glyph", regions: "region", layers: "layer" }[mode]}` : "";
  view.kind.textContent = q.model ? "model" : q.kind;
  view.ramp.style.background = `linear-gradient(90deg, ${[0, 0.33, 0.67, 1].map((t) => dag_colour(t, frame.theme)).join(", ")})`;
  const text = dag_caption(view, scene, mode, q, frame.height < 28 * frame.font); // presenter size in a small stage: brief
  view.caption.title = mode === "part" ? view.part.caption : scene.caption;
  if (view.caption.textContent !== text) view.caption.textContent = text;
  dag_clamp(view);
}

// Times that are no model: offered where there are any; elsewhere the choice says why not.
function dag_choices(view, scene) {
  for (const option of view.select.options) {
    const q = DAG_QUANTITIES[option.value], why = q.times ? dag_times(scene, option.value).why : "";
    option.disabled = Boolean(why) && option.value !== view.quantity; // a chosen one stays, and its caption says why it has no value
    option.textContent = `colour: ${q.label}${option.disabled ? ` (${why})` : ""}`;
    option.title = why;
  }
}

function dag_times(scene, quantity) {
  return (scene.times || {})[quantity] || { label: "", why: "This picture has none.", number: 0 };
}

function dag_times_says(view, scene, mode) {
  const { label, why } = dag_times(scene, view.quantity);
  if (why) return `Colour: time, ${DAG_QUANTITIES[view.quantity].kind}. ${why}`;
  const share = view.quantity === "measured_ms" ? "a glyph's share of the launches of its layer's sums" : "a glyph's share of its layer by multiplied cells";
  return `Colour: time of a forward pass, ${mode === "layers" ? "products and sums of a layer" : share} (${label}).`;
}

// What the person just did is answered in the caption's place.
function dag_say(view, text, wrong = false) {
  view.said.textContent = view.said.title = text;
  dag_clamp(view);
  view.said.style.visibility = text ? "" : "hidden";
  view.caption.style.visibility = text ? "hidden" : "";
  view.find.setAttribute("aria-invalid", String(wrong));
}

// The answer has as many lines as what it takes the place of, so that the drawing keeps its height.
function dag_clamp(view) {
  view.said.style.webkitLineClamp = view.said.textContent ? String(Math.max(2, Math.round(view.caption.offsetHeight / (1.35 * view.frame.font)))) : "";
}

function dag_caption(view, scene, mode, q, brief) {
  const what = q.flow ? dag_flow_says(view) : q.times ? dag_times_says(view, scene, mode) : q.model ? `Colour: ${q.says}, ${mode === "layers" ? "a layer" : "a glyph's share of its layer"}'s launches (${scene.model || "none yet"}).` : q.says ? `Colour: ${q.says}.` : "";
  const now = view.frame.state.blockSize, refused = view.refused?.startsWith(`${view.open}|${now}|`);
  const stale = refused ? `This is the picture at block size ${view.part?.blockSize}, there is none at ${now}.` : `Opening this at block size ${now} …`;
  if (mode === "part") return [dag_stale(view) ? stale : view.part.caption, brief ? "" : what].filter(Boolean).join(" ");
  const how = mode === "layers" ? "Height: number of nodes, on a square-root scale; a double click opens." : "A glyph is a region (a vector of sums), lines lead to what it reads; a double click opens.";
  return brief ? what || how : ["Inputs left, root right.", how, what, mode === "regions" ? scene.regions.caption : "", scene.caption].filter(Boolean).join(" ");
}

// Of a glyph of regions or of a part; null for what has none, such as the time of products.
function dag_value(view, glyph) {
  const q = DAG_QUANTITIES[view.quantity];
  if (q.flow) return view.part ? (dag_flow_here(view) ? glyph.flow : null) : dag_flow_here(view)?.regions[view.scene.regions.glyphs.indexOf(glyph)];
  if (view.part && (q.model || q.cost) && view.part.extra !== undefined && view.part.extra !== dag_extra(view)) return null;
  return glyph[view.quantity] ?? null;
}

function dag_of_column(view, column) {
  return DAG_QUANTITIES[view.quantity].flow ? dag_flow_here(view)?.columns[column.layer - 1] ?? null : column[view.quantity];
}

function dag_layer(scene, glyph) {
  return glyph.layer === undefined ? scene.columns[glyph.column - 1] : scene.columns.find((column) => glyph.layer >= column.layer && glyph.layer <= column.last);
}

// Colours, numbers and the chosen layer: all that a move of the slider or a click changes.
function dag_values(view, scene, frame) {
  const q = DAG_QUANTITIES[view.quantity], [low, high] = view.range || [0, 1], neutral = frame.theme === "dark" ? "#3a404a" : "#e3e6ea";
  for (const glyph of view.glyphs) {
    const v = glyph.neutral ? null : glyph.of ? dag_value(view, glyph.of) : dag_of_column(view, scene.columns[glyph.column - 1]);
    const known = v !== null && v !== undefined, t = high > low ? (v - low) / (high - low) : 0.5, fill = known ? dag_colour(t, frame.theme) : neutral;
    if (glyph.fill === fill) continue;
    glyph.node.setAttribute("fill", (glyph.fill = fill));
    glyph.text?.setAttribute("class", `pcv-dag-label ${(known ? t : 0) > 0.5 ? "pcv-dag-inverse" : ""}`);
  }
  if (view.shown === "part") return dag_part_values(view, q);
  delete frame.el.dataset.open;
  view.svg.setAttribute("aria-label", `The circuit, inputs left, root right. Colour: ${q.label}. ${DAG_HELP}`);
  view.rowName.textContent = q.row === "sums" || !view.rowName.hasAttribute("x") ? "" : q.row;
  dag_columns(view, scene, frame, q);
}

// Forms for columns that are too narrow for the usual ones, of three digits at most: 37.6k, 82%.
const DAG_TIGHT = new Map([
  [pv_short, (n) => (n < 1000 ? String(n) : n < 1e6 ? `${pv_digits(n / 1000)}k` : pv_short(n))],
  [pv_percent, (share) => (share < 0.1 ? pv_percent(share) : `${Math.round(100 * share)}%`)],
]);

function dag_columns(view, scene, frame, q) {
  const layer = frame.state.layer, { step, font } = view.geometry;
  const ems = (text) => 0.58 * text.length + (text.endsWith("%") ? 0.4 : 0);
  const each = (texts) => Math.ceil((font * Math.max(...texts.map(ems)) + 4) / step); // how many columns a text takes
  const form = (usual, values) => (each(values.map(usual)) > 1 ? DAG_TIGHT.get(usual) ?? usual : usual);
  const own = scene.columns.map((column) => dag_of_column(view, column)), known = own.filter((value) => value !== null), counted = q.short === pv_short;
  const short = form(pv_short, [scene.inputs.nodes, ...scene.columns.flatMap((column) => [column.products, column.sums]), ...(counted ? known : [])]);
  const value = counted ? short : form(q.short, known);
  const rows = [["", short(scene.inputs.nodes), ""], ...scene.columns.map((column, i) => [short(column.products), short(column.sums), q.row === "sums" ? "" : own[i] === null ? "–" : value(own[i])])];
  const every = [0, 1, 2].map((k) => each(rows.map((lines) => lines[k]))); // what is still too wide stands at every second
  view.columns.forEach(({ node, texts }, i) => {
    const column = scene.columns[i - 1], value = column ? own[i - 1] : null, lines = rows[i].map((line, k) => (i % every[k] ? "" : line));
    texts.forEach((text, k) => { if (text.textContent !== lines[k]) text.textContent = lines[k]; });
    if (!column) return;
    const chosen = layer >= column.layer && layer <= column.last;
    node.setAttribute("aria-pressed", String(chosen));
    node.setAttribute("tabindex", chosen ? "0" : "-1");
    const more = (q.flow || q.times) && value !== null ? `, ${q.flow ? "flow" : q.label} ${q.text(value)}` : q.own || value === null ? "" : `, ${q.says} ${q.text(value)}`;
    node.setAttribute("aria-label", `${column.label}: ${pv_count(column.products)} products, ${pv_count(column.sums)} sums, ${pv_count(column.edges)} edges${more}`);
  });
  if (!view.columns.some(({ node }) => node.getAttribute("tabindex") === "0") && view.columns[1]) view.columns[1].node.setAttribute("tabindex", "0");
}

function dag_colour(t, theme) {
  const stops = DAG_RAMP[theme], at = pv_clamp(t, 0, 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
  return `rgb(${stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * (at - i))).join(",")})`;
}

function dag_click(view, event) {
  const glyph = event.target.closest("[data-glyph]"), column = event.target.closest("[data-layer]");
  if (glyph) glyph.focus({ preventScroll: true });
  else dag_select(view);
  if (view.shown !== "part") dag_choose(view, column);
}

function dag_choose(view, node) {
  if (node) view.frame.store.set({ layer: Number(node.dataset.layer) }, { commit: true });
}

function dag_open_at(view, node) {
  if (node?.dataset.glyph !== undefined) dag_open(view, view.picture.glyphs[Number(node.dataset.glyph)].key, true);
  else if (node?.dataset.layer !== undefined) dag_open(view, `layer:${node.dataset.layer}`, true);
}

// Columns: arrows left and right, Enter chooses the layer, Enter again opens it; down enters the glyphs.
function dag_key(view, event) {
  const glyph = event.target.closest("[data-glyph]"), node = glyph || event.target.closest("[data-layer]");
  if (!node) return;
  if (event.key === "Enter" || event.key === " ") {
    if (glyph || node.getAttribute("aria-pressed") === "true") dag_open_at(view, node);
    else dag_choose(view, node);
  } else if ((event.key === "Escape" || event.key === "Backspace") && view.open) dag_open(view, view.part ? view.part.crumbs.at(-2)[0] : "", true);
  else if (event.key.startsWith("Arrow")) dag_arrow(view, glyph, node, event.key);
  else return;
  event.preventDefault();
}

function dag_arrow(view, glyph, node, key) {
  const side = { ArrowRight: 1, ArrowLeft: -1 }[key] || 0, step = { ArrowDown: 1, ArrowUp: -1 }[key] || 0;
  if (glyph) return dag_arrow_glyph(view, view.glyphs[Number(glyph.dataset.glyph)], side, step);
  const nodes = view.columns.slice(1).map((column) => column.node), at = nodes.indexOf(node), first = view.glyphs.find((each) => each.of && each.column === at + 1);
  if (step === 1 && first) return first.node.focus();
  nodes[pv_clamp(at + (side || -step), 0, nodes.length - 1)].focus();
}

function dag_arrow_glyph(view, from, side, step) {
  const near = view.glyphs.filter((each) => each.of && each.column === from.column + side).sort((a, b) => a.of.row - b.of.row);
  if (step) near[pv_clamp(near.indexOf(from) + step, 0, near.length - 1)].node.focus();
  else if (near.length) near.reduce((a, b) => (Math.abs(b.of.row - from.of.row) < Math.abs(a.of.row - from.of.row) ? b : a)).node.focus();
}

function dag_hover(view, event) {
  const at = event.target.closest("[data-column], [data-layer]"), scene = view.scene;
  if (!at || view.dragged && event.buttons) {
    view.tip.hidden = true;
    return;
  }
  const box = view.host.getBoundingClientRect(), glyph = at.dataset.glyph === undefined ? null : view.picture.glyphs[Number(at.dataset.glyph)];
  const index = at.dataset.column !== undefined ? Number(at.dataset.column) : scene.columns.findIndex((c) => String(c.layer) === at.dataset.layer) + 1;
  const column = glyph ? dag_layer(scene, glyph) : scene.columns[index - 1], lines = glyph ? dag_words(view, glyph) : [];
  if (column) {
    lines.push(`${column.label}: ${pv_plural(column.groups, "group")}`, `${pv_count(column.products)} products → ${pv_count(column.sums)} sums, ${pv_count(column.edges)} edges, ${pv_count(column.params)} parameters`, `padding ${pv_percent(column.padding)} of multiplied cells`);
    if (column.time_ms !== null) lines.push(`${pv_ms(column.time_ms)}, ${pv_bytes(column.l2_bytes)} ${PV_LEVELS.l2_bytes}, ${pv_bytes(column.hbm_bytes)} ${PV_LEVELS.hbm_bytes}, ${pv_flops(column.flops)}`, scene.model);
    for (const [key, q] of Object.entries(DAG_QUANTITIES)) if (q.times && column[key]) lines.push(`${pv_ms(column[key])} ${q.kind}`);
  } else lines.push(`inputs: ${pv_count(scene.inputs.nodes)} nodes of ${pv_plural(scene.inputs.variables, "variable")}`);
  pv_show_tip(view.tip, lines, event.clientX - box.left, event.clientY - box.top);
}

function dag_words(view, glyph) {
  const kind = glyph.kind || (glyph.column ? "sum" : "input"), counts = [pv_plural(glyph.sums, kind)];
  if (glyph.edges) counts.push(pv_plural(glyph.edges, "edge"));
  const flow = DAG_QUANTITIES[view.quantity].flow ? dag_value(view, glyph) : null;
  if (flow !== null && flow !== undefined) counts.push(`flow ${pv_flow(flow)}`);
  if (glyph.time_ms) counts.push(`${pv_ms(glyph.time_ms)}, ${pv_percent(glyph.padding)} padding (model)`);
  for (const [key, q] of Object.entries(DAG_QUANTITIES)) if (q.times && glyph[key]) counts.push(`${pv_ms(glyph[key])} ${q.kind}`);
  if (glyph.theta !== null && glyph.theta !== undefined) counts.push(`parameter ${pv_digits(glyph.theta)}`);
  return [glyph.name, counts.join(", ")];
}
