// DAG: a column per layer, inputs left, root right. Layers: bars of products and sums, tall by count. Regions: a glyph per
// sum vector with links to what it reads. Colour is one chosen quantity. A frame only changes colours and numbers.

const DAG_QUANTITIES = {
  edges: { label: "edges", row: "edges", text: pv_count, short: pv_short, own: true, kind: "count" },
  params: { label: "parameters", row: "params", text: pv_count, short: pv_short, own: true, kind: "count" },
  sums: { label: "sums", row: "sums", text: pv_count, short: pv_short, own: true, kind: "count" },
  padding: { label: "padding", row: "padding", text: pv_percent, short: pv_percent, kind: "of the plan", says: "share of the multiplied cells that are no edge" },
  time_ms: { label: "time", row: "time", text: pv_ms, short: pv_ms, model: true, says: "time" },
  l2_bytes: { label: "bytes L1–L2", row: "L1–L2", text: pv_bytes, short: pv_bytes, model: true, says: "bytes between L1 and L2" },
  hbm_bytes: { label: "bytes HBM", row: "HBM", text: pv_bytes, short: pv_bytes, model: true, says: "bytes from and to HBM" },
  flops: { label: "FLOPs", row: "FLOPs", text: pv_flops, short: pv_flops, model: true, says: "floating-point operations" },
};
const DAG_RAMP = { light: [[222, 233, 247], [120, 171, 222], [31, 95, 180], [9, 40, 92]], dark: [[30, 48, 72], [44, 96, 160], [92, 164, 240], [214, 235, 255]] };
const DAG_HELP = "Arrow keys move, Enter chooses. Plus and minus zoom, Shift with arrows moves the picture, 0 shows all of it.";

function pv_flops(n) {
  for (const [unit, scale] of [["TFLOP", 1e12], ["GFLOP", 1e9], ["MFLOP", 1e6], ["kFLOP", 1e3]]) if (n >= scale) return `${pv_digits(n / scale)} ${unit}`;
  return `${pv_digits(n)} FLOP`;
}

function draw_dag(el, scene, store) {
  const frame = pv_frame(el, "dag", store);
  if (!frame || !scene) return;
  const { view } = frame;
  if (!view.svg) dag_build(frame);
  Object.assign(view, { scene, frame });
  const mode = scene.regions && view.mode !== "layers" ? "regions" : "layers";
  dag_bar(view, scene, mode, frame);
  const key = [scene.key, mode, frame.width, frame.height, frame.font, view.host.clientHeight, Object.values(view.zoom)].join();
  if (view.key !== key) {
    view.key = key;
    const focused = view.svg.contains(document.activeElement) ? document.activeElement.dataset.layer : null;
    dag_structure(view, scene, mode, frame);
    if (focused) view.svg.querySelector(`[tabindex][data-layer="${focused}"]`)?.focus({ preventScroll: true });
    dag_zoom_state(view);
  }
  dag_values(view, scene, frame);
}

function dag_build(frame) {
  const { view } = frame, bar = pv_el("div", "pcv-bar");
  Object.assign(view, { quantity: "edges", zoom: dag_zoom_none() });
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
  bar.append(view.select, ...view.modes, dag_zoom_buttons(view), pv_el("span", "pcv-grow"), dag_legend(view));
  view.host = pv_el("div", "pcv-map");
  view.svg = pv_svg("svg", { class: "pcv-dag-svg", role: "group", "aria-label": `The circuit, inputs left, root right. ${DAG_HELP}` });
  view.host.append(view.svg);
  view.tip = pv_tip(view.host);
  view.caption = pv_el("div", "pcv-caption");
  view.caption.style.padding = "0 6px 2px";
  frame.el.append(bar, view.host, view.caption);
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
  view.svg.addEventListener("click", (event) => { if (!view.dragged) dag_choose(view, event.target.closest("[data-layer]")); });
  view.svg.addEventListener("keydown", (event) => { if (!dag_zoom_key(view, event)) dag_key(view, event); });
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
  const q = DAG_QUANTITIES[view.quantity], own = mode === "regions" && Boolean(q.own);
  const values = own ? scene.regions.glyphs.filter((glyph) => glyph.column).map((glyph) => glyph[view.quantity]) : scene.columns.map((column) => column[view.quantity]);
  const known = values.filter((v) => v !== null && v !== undefined);
  view.own = own;
  view.range = known.length ? [Math.min(...known), Math.max(...known)] : null;
  view.low.textContent = view.range ? q.text(view.range[0]) : "no value yet";
  view.high.textContent = view.range ? `${q.text(view.range[1])} per ${own ? "region" : "layer"}` : "";
  view.kind.textContent = q.model ? "model" : q.kind;
  view.ramp.style.background = `linear-gradient(90deg, ${[0, 0.33, 0.67, 1].map((t) => dag_colour(t, frame.theme)).join(", ")})`;
  const what = q.model ? `Colour: ${q.says} of a layer (${scene.model || "none yet"}).` : q.says ? `Colour: ${q.says}.` : "";
  const how = mode === "layers" ? "Height: number of nodes, on a square-root scale." : "A glyph is a region (a vector of sums), lines lead to what it reads.";
  const brief = frame.height < 28 * frame.font; // presenter size in a small stage
  const caption = brief ? what || how : ["Inputs left, root right.", how, what, mode === "regions" ? scene.regions.caption : "", scene.caption].filter(Boolean).join(" ");
  view.caption.title = scene.caption;
  if (view.caption.textContent !== caption) view.caption.textContent = caption;
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
  view.columns.forEach(({ node, texts }, i) => {
    const column = scene.columns[i - 1];
    const lines = column ? [pv_short(column.products), pv_short(column.sums), q.row === "sums" ? "" : column[view.quantity] === null ? "–" : q.short(column[view.quantity])] : ["", pv_short(scene.inputs.nodes), ""];
    texts.forEach((text, k) => { if (text.textContent !== lines[k]) text.textContent = lines[k]; });
    if (!column) return;
    const chosen = layer >= column.layer && layer <= column.last;
    node.setAttribute("aria-pressed", String(chosen));
    node.setAttribute("tabindex", chosen ? "0" : "-1");
    const value = column[view.quantity];
    const more = q.own || value === null ? "" : `, ${q.says} ${q.text(value)}`;
    node.setAttribute("aria-label", `${column.label}: ${pv_count(column.products)} products, ${pv_count(column.sums)} sums, ${pv_count(column.edges)} edges${more}`);
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
  if (!at || view.dragged && event.buttons) {
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
    lines.push(`${column.label}: ${pv_plural(column.groups, "group")}`, `${pv_count(column.products)} products → ${pv_count(column.sums)} sums, ${pv_count(column.edges)} edges, ${pv_count(column.params)} parameters`, `padding ${pv_percent(column.padding)} of multiplied cells`);
    if (column.time_ms !== null) lines.push(`${pv_ms(column.time_ms)}, ${pv_bytes(column.l2_bytes)} L1–L2, ${pv_bytes(column.hbm_bytes)} HBM, ${pv_flops(column.flops)}`, scene.model);
  } else lines.push(`inputs: ${pv_count(scene.inputs.nodes)} nodes of ${pv_plural(scene.inputs.variables, "variable")}`);
  pv_show_tip(view.tip, lines, event.clientX - box.left, event.clientY - box.top);
}
