// Cost: time and traffic against block size as small multiples. The charts are drawn once per scene, layer and theme; a
// move of the slider only shifts rules and changes numbers.

const COST_PANELS = {
  time_ms: { title: "Time", short: "Time", text: pv_ms, why: "Sum of the launches" },
  l2_bytes: { title: `${PV_LEVELS.l2_bytes} traffic`, long: `${PV_LEVELS.l2_bytes} traffic, both ways`, short: PV_LEVELS.l2_bytes, text: pv_bytes, why: "Bytes between L1 and L2, both directions" },
  hbm_bytes: { title: `${PV_LEVELS.hbm_bytes} traffic`, short: PV_LEVELS.hbm_bytes, text: pv_bytes, why: "Bytes read from and written to memory" },
  l1_bytes: { title: `${PV_LEVELS.l1_bytes} requests`, short: PV_LEVELS.l1_bytes, text: pv_bytes, why: "Bytes that programs request; the model assumes no reuse in L1" },
  loads: { title: "Loads per input", short: "loads per input", text: (n) => (n === null ? "–" : `${pv_digits(n)}×`), why: "How often the forward pass loads a value that a sum layer reads: M times by the naive parallelization, M / tile_m times by a program of tile_m sums" },
  cpu: { title: "Torch engine, this CPU, not modelled", short: "This CPU, not modelled", text: pv_ms, why: "Measured here; no model of this machine is drawn beside it" },
};
const COST_WORDS = [{ model: "model", recorded0: "recorded", measured: "measured" }, { model: "model", recorded0: "rec.", measured: "measured" }];
const COST_ROOM = 16.8; // em: in narrower panels titles are short, and of two values one stands below the other
const COST_SYMBOLS = ["square", "diamond", "triangle-up", "x"];

function draw_cost(el, scene, store) {
  const frame = pv_frame(el, "cost", store);
  if (!frame || !scene) return;
  const view = frame.view;
  if (!view.plot) cost_build(frame);
  if (view.asked !== frame.state.asked) cost_asked(view, frame.state.asked);
  const phase = PV_PHASES[frame.state.phase] ? frame.state.phase : "forward";
  const recorded = scene.recorded.length > 0;
  if (view.scene !== scene) view.source = recorded ? "recorded" : "model";
  const key = [frame.state.layer, phase, view.source, view.one, view.third, frame.theme, frame.font, frame.width, frame.height].join();
  view.frame = frame;
  view.phase = phase;
  if (view.scene !== scene || view.key !== key) {
    view.scene = scene;
    view.key = key;
    view.phaseSelect.value = phase;
    view.tight = frame.height < 30 * frame.font;
    view.panelSelect.hidden = !view.tight;
    view.wide = frame.width >= 75 * frame.font;
    view.thirdSelect.hidden = view.tight || view.wide;
    view.title.hidden = view.tight;
    for (const button of view.sources) {
      button.hidden = !recorded;
      button.setAttribute("aria-pressed", String(button.dataset.source === view.source));
    }
    view.lines = cost_lines(scene, phase, frame.state.layer, view.source);
    cost_keys(view, frame);
    cost_room(view, frame);
    cost_table(view);
    view.panels = cost_panels(view, frame);
    cost_heads(view);
    cost_chart(view, frame);
  }
  cost_mark(view, frame.state.blockSize);
}

// Where there is room for one panel: the one that a scene asks about.
function cost_asked(view, asked) {
  view.asked = asked;
  const one = { time: "time_ms", l2: "l2_bytes", hbm: "hbm_bytes" }[asked];
  if (one) view.panelSelect.value = view.one = one;
}

function cost_build(frame) {
  const view = frame.view, bar = pv_el("div", "pcv-bar");
  view.phaseSelect = pv_phase_select(view);
  view.phaseSelect.dataset.pcv = "cost-phase";
  view.title = pv_el("span", "pcv-muted");
  view.sheet = pv_sheet("cost", "Cost by block size, as a table");
  view.one = "time_ms"; // the panel that is shown where there is room for only one
  view.panelSelect = pv_select(Object.entries(COST_PANELS).map(([name, panel]) => [name, name === "cpu" ? "this CPU" : panel.short]), "time_ms", "quantity", (value) => {
    view.one = value;
    view.key = "";
    draw_cost(frame.el, view.scene, view.frame.store);
  });
  view.third = "hbm_bytes"; // and of the panels that do not fit, the one beside time, traffic and this CPU
  view.thirdSelect = pv_select(["hbm_bytes", "loads", "l1_bytes"].map((name) => [name, COST_PANELS[name].short]), view.third, "third panel", (value) => {
    view.third = value;
    view.key = "";
    draw_cost(frame.el, view.scene, view.frame.store);
  });
  view.thirdSelect.dataset.pcv = "cost-third";
  // recorded runs of another implementation than the model's are never on its axis; those of its own are beside it
  view.sources = ["recorded", "model"].map((source) => {
    const button = pv_button(source, () => {
      view.source = source;
      draw_cost(frame.el, view.scene, view.frame.store);
    });
    button.dataset.source = source;
    button.dataset.pcv = `cost-source-${source}`;
    return button;
  });
  bar.append(view.phaseSelect, view.panelSelect, view.thirdSelect, ...view.sources, view.title, pv_el("span", "pcv-grow"), pv_sheet_button(view.sheet));
  view.keys = pv_focusable(pv_el("div", "pcv-keys"));
  view.plot = pv_el("div", "pcv-plot");
  view.charts = []; // the last shown first
  view.overlay = pv_el("div", "pcv-cost-overlay");
  view.plot.append(view.overlay, view.sheet);
  frame.el.append(bar, view.keys, view.plot);
}

// Every line of the charts as {panel, name, x, y, style}; the legend, the table and plotly read the same list.
function cost_lines(scene, phase, layer, source) {
  const sourced = source === "recorded" ? cost_recorded(scene, phase) : cost_modelled(scene, phase, layer);
  return [...sourced, ...cost_measured_lines(scene, phase)];
}

function cost_modelled(scene, phase, layer) {
  const lines = [], one = scene.layers[String(layer)], many = Object.keys(scene.layers).length > 1;
  const model = (key, name, values, style) => lines.push(...cost_panel_lines(key, name, values, { x: scene.sizes, ...style }));
  model("model", `${scene.modelLabel}: circuit`, scene.model[phase], { ink: "model", symbol: "circle" });
  if (one && many) model("layer", `${scene.modelLabel}: layer ${layer}`, one[phase], { ink: "layer", dash: "dash", symbol: "circle" });
  const naive = (scene.naive.total || {})[phase];
  if (naive) for (const panel of ["time_ms", "l2_bytes", "l1_bytes", "loads"]) if (naive[panel]) lines.push({ key: "naive", name: `${scene.modelLabel}: naive parallelization, circuit`, panel, x: scene.sizes, y: scene.sizes.map(() => naive[panel]), ink: "naive", dash: "dot" });
  for (const line of scene.whole) lines.push({ key: "whole", name: `${scene.modelLabel}:${cost_scope(line)}`, panel: "time_ms", x: scene.sizes, y: line[phase], ink: "model", dash: "dash", symbol: "x" });
  return [...lines, ...cost_recorded(scene, phase, (line) => line.own)];
}

function cost_panel_lines(key, name, values, style) {
  const panels = ["time_ms", "l2_bytes", "hbm_bytes", "l1_bytes", ...(values.loads ? ["loads"] : [])];
  return panels.map((panel) => ({ key, name, panel, y: values[panel] || [], ...style }));
}

function cost_scope({ scope, layer }) {
  return { sums: ` sum kernels of layer ${layer}`, layer: ` all launches of layer ${layer}`, pass: " all launches" }[scope] || "";
}

function cost_recorded(scene, phase, chosen = () => true) {
  return scene.recorded.filter((line) => line.phase === phase && chosen(line)).flatMap((line, i) => {
    return cost_panel_lines(`recorded${i}`, line.label + "," + cost_scope(line), line, { ink: "recorded", dash: line.own ? "" : "dash", symbol: COST_SYMBOLS[i % COST_SYMBOLS.length], x: line.sizes });
  });
}

function cost_measured_lines(scene, phase) {
  const lines = [];
  for (const line of cost_measured(scene, phase)) {
    const at = (k) => line.points.map((p) => p[k]);
    lines.push({ key: "measured", name: `measured, ${line.device}, batch ${line.batchSize}: median, bar from p20 to p80`, panel: "cpu", x: at(0), y: at(1), low: at(2), high: at(3), caution: at(4), ink: "measured", symbol: "circle" });
  }
  return lines;
}

function cost_measured(scene, phase) {
  return scene.measured.filter((line) => line.phase === phase && line.points.length);
}

// The lines in sight: one panel alone has not all of them.
function cost_seen(view) {
  const found = view.lines.filter((line) => line.panel === view.one && line.y.some((v) => v > 0));
  return view.tight && found.length ? found : view.lines;
}

function cost_keys(view, frame) {
  const ink = PV_LINES[frame.theme], seen = new Set(), keys = [], model = `${view.scene.modelLabel}: `;
  const heads = { [model]: model, "recorded, ": "recorded: " }; // said once
  for (const line of cost_seen(view)) {
    if (seen.has(line.name)) continue;
    seen.add(line.name);
    const key = pv_el("span", "pcv-key"), head = Object.keys(heads).find((each) => line.name.startsWith(each)) ?? "";
    if (head && !keys.some((each) => each.textContent === heads[head])) keys.push(pv_el("span", "", heads[head]));
    key.append(pv_swatch_line(ink[line.ink], line.dash === "dash" ? "6,3" : line.dash === "dot" ? "2,3" : "", line.symbol), pv_el("span", "", line.name.slice(head.length)));
    keys.push(key);
  }
  view.keys.replaceChildren(...keys);
  const low = frame.height < 18 * frame.font; // a curve is worth more than its whole legend, which scrolls then
  Object.assign(view.keys.style, { maxHeight: low ? `${2.8 * frame.font}px` : "", overflowY: low ? "auto" : "" });
  view.keys.tabIndex = low ? 0 : -1;
  view.title.textContent = `batch ${view.scene.batchSize === null ? "–" : pv_count(view.scene.batchSize)}`;
}

// The plot's size is what the bar and the legend leave. Asked for only when these may have changed: asking lays the page out.
function cost_room(view, frame) {
  const room = [frame.width, frame.height, frame.font, frame.theme, view.scene.recorded.length > 0, view.title.textContent, view.keys.textContent].join();
  if (view.room !== room) Object.assign(view, { room, plotWidth: view.plot.clientWidth, plotHeight: view.plot.clientHeight });
}

// Where each panel lies in the plot, in pixels, with its ranges (log2 of the block size, log10 of the quantity).
function cost_panels(view, frame) {
  const { wide, plotWidth: width, plotHeight: height } = view, { font } = frame, fifth = view.source === "model" ? "loads" : "l1_bytes"; // the model's L1 requests are its L2 traffic
  const names = view.tight ? [view.one] : wide ? ["time_ms", "l2_bytes", "hbm_bytes", "cpu", fifth] : ["time_ms", "l2_bytes", view.third, "cpu"];
  const cols = view.tight ? 1 : wide ? 3 : 2, rows = view.tight ? 1 : 2, left = 4.9 * font, bottom = 1.9 * font, right = 0.8 * font;
  const w = width / cols, h = (height - 1.1 * font) / rows, stacked = w - left - right < COST_ROOM * font && names.some((name) => cost_marks(view, name).length > 1);
  const top = (stacked ? 2.95 : 1.7) * font, head = top - 0.25 * font; // of the boxes; what of it the heads take
  const last = view.scene.sizes.length - 1, sizes = view.scene.sizes;
  const xr = [Math.log2(sizes[0]) - 0.4, Math.log2(sizes[Math.max(0, last)]) + 0.4];
  return names.map((name, i) => {
    const box = { x: (i % cols) * w + left, y: Math.floor(i / cols) * h + top, w: Math.max(20, w - left - right), h: Math.max(20, h - top - bottom) };
    return { name, box, head, stacked, xr, yr: cost_range(view.lines.filter((line) => line.panel === name)) };
  });
}

function cost_range(lines) {
  const values = lines.flatMap((line) => [...line.y, ...(line.low || []), ...(line.high || [])]).filter((v) => v > 0).map(Math.log10);
  if (!values.length) return [-1, 1];
  let low = Math.min(...values), high = Math.max(...values);
  if (high - low < 1) [low, high] = [(low + high) / 2 - 0.5, (low + high) / 2 + 0.5];
  const pad = 0.07 * (high - low);
  return [low - pad, high + pad];
}

// Heads, rules and empty-panel notes lie over the chart, so that a frame touches no SVG.
function cost_heads(view) {
  view.overlay.replaceChildren();
  for (const panel of view.panels) {
    const { box, name } = panel, head = pv_el("div", panel.stacked ? "pcv-panel-head pcv-stacked" : "pcv-panel-head"), font = view.frame.font, place = (node, left, top, width) => Object.assign(node.style, { left: `${left}px`, top: `${top}px`, width: `${width}px` });
    const narrow = box.w < (name === "cpu" ? 34 : 26) * font, inside = name === "cpu" && narrow; // the long title leaves no room beside it
    panel.marks = cost_marks(view, name).map((line) => ({ line, value: pv_el("span", inside ? "pcv-cost-inside" : "pcv-value"), dot: pv_el("div", "pcv-dot") }));
    const out = narrow && (inside || panel.marks.length > 1) ? 4.4 * font : 0;
    place(head, box.x - out, box.y - panel.head, box.w + out);
    panel.words = COST_WORDS[narrow ? 1 : 0];
    panel.marks.forEach(({ line, value, dot }, i) => {
      value.dataset.pcv = `cost-${name}-${line.key}`;
      value.title = line.name;
      value.style.color = dot.style.borderColor = PV_LINES[view.frame.theme][line.ink];
      if (inside) {
        place(value, box.x, box.y + 1.25 * i * font, box.w - 4);
        view.overlay.append(value);
      } else head.append(value);
      view.overlay.append(dot);
    });
    const { title, long = title, short } = COST_PANELS[name], little = panel.marks.length > 1 || box.w < COST_ROOM * font;
    head.append(pv_el("b", "", !narrow ? long : little ? short : title));
    panel.rule = pv_el("div", "pcv-rule");
    Object.assign(panel.rule.style, { top: `${box.y}px`, height: `${box.h}px` });
    view.overlay.append(head, panel.rule);
    if (!view.lines.some((line) => line.panel === name && line.y.some((v) => v > 0))) {
      const note = pv_el("div", "pcv-note", cost_note(view, name));
      place(note, box.x, box.y, box.w);
      note.style.height = `${box.h}px`;
      panel.rule.hidden = true;
      view.overlay.append(note);
    }
  }
  view.how = null;
  if (view.panels.length === 5) {
    const free = view.panels[2].box, row = view.panels[3].box;
    view.how = pv_el("div", "pcv-cost-how");
    Object.assign(view.how.style, { left: `${free.x - 2 * view.frame.font}px`, top: `${row.y - 1.45 * view.frame.font}px`, width: `${free.w + 2 * view.frame.font}px`, height: `${row.h + 3 * view.frame.font}px` });
    view.overlay.append(view.how);
  }
}

// The lines whose values stand in a panel's head: the circuit's model, and recorded or measured points.
function cost_marks(view, name) {
  return view.lines.filter((line) => line.panel === name && ["model", "recorded0", "measured"].includes(line.key)).slice(0, 2);
}

function cost_note(view, name) {
  if (name === "loads") return view.source === "model" ? "Of the forward pass." : "Modelled, not recorded.";
  if (name !== "cpu") return view.source === "model" ? "No estimate yet." : "Not recorded of this pass: press model.";
  const other = view.scene.measured.filter((line) => line.points.length).map((line) => line.phase);
  if (other.length) return `Measured for ${[...new Set(other)].join(", ")} only.`;
  if (view.scene.unmeasured) return view.scene.unmeasured;
  return "Nothing measured yet: press Measure. Each point is checked for a right result first, then timed on this machine.";
}

function cost_mark(view, blockSize) {
  const x = Math.log2(blockSize);
  for (const panel of view.panels) {
    const { box, xr, yr, name } = panel, left = box.x + ((x - xr[0]) / (xr[1] - xr[0])) * box.w;
    panel.rule.style.transform = `translateX(${left}px)`;
    for (const { line, value: text, dot } of panel.marks) {
      const at = line.x.indexOf(blockSize), value = at < 0 ? null : line.y[at];
      dot.hidden = !(value > 0);
      if (value > 0) dot.style.transform = `translate(${left}px, ${box.y + ((yr[1] - Math.log10(value)) / (yr[1] - yr[0])) * box.h}px)`;
      const caution = line.caution?.[at] ?? "";
      text.textContent = value > 0 ? `${panel.words[line.key]} ${COST_PANELS[name].text(value)}${caution && ", busy"}` : "";
      text.title = caution;
      text.dataset.value = value ?? "";
    }
  }
  for (const row of view.rows) {
    row.classList.toggle("pcv-current", row.dataset.size === String(blockSize));
    row.setAttribute("aria-current", String(row.dataset.size === String(blockSize)));
  }
  view.sheet.dataset.blockSize = String(blockSize);
  if (view.formula.dataset.size !== String(blockSize)) cost_formula(view, blockSize);
}

// All lines as a table, a column per line and quantity; the naive parallelization, which has no block size, is the last row.
function cost_table(view) {
  const lines = view.lines.filter((line) => line.key !== "naive"), names = [...new Set(lines.map((line) => line.name))];
  const columns = names.flatMap((name) => lines.filter((line) => line.name === name));
  const table = pv_el("table", "pcv-table pcv-cost-table"), groups = pv_el("tr"), head = pv_el("tr"), top = pv_el("thead"), body = pv_el("tbody");
  table.append(pv_el("caption", "pcv-sr", "Cost by block size"));
  groups.append(pv_el("th"), ...names.map((name) => {
    const cell = pv_el("th", "", name);
    cell.colSpan = columns.filter((line) => line.name === name).length;
    cell.scope = "colgroup";
    return cell;
  }));
  head.append(pv_el("th", "", "block size"), ...columns.map((line) => pv_el("th", "", line.panel === "cpu" ? "median (p20–p80)" : COST_PANELS[line.panel].short)));
  view.rows = view.scene.sizes.map((size) => cost_row(size, columns));
  const naive = view.lines.filter((line) => line.key === "naive"), last = pv_el("tr");
  last.append(pv_el("th", "", "naive"), ...columns.map((line) => {
    const found = line.key === "model" && naive.find((one) => one.panel === line.panel);
    return pv_el("td", "", found ? COST_PANELS[line.panel].text(found.y[0]) : "");
  }));
  top.append(groups, head);
  body.append(...view.rows, ...(naive.length ? [last] : []));
  table.append(top, body);
  view.formula = pv_el("div", "pcv-caption");
  view.sheet.replaceChildren(table, view.formula, pv_el("div", "pcv-caption", view.scene.caption || ""));
}

function cost_row(size, columns) {
  const row = pv_el("tr"), name = pv_el("th", "", String(size));
  row.dataset.size = String(size);
  name.scope = "row";
  row.append(name, ...columns.map((line) => {
    const at = line.x.indexOf(size), value = at < 0 ? null : line.y[at], text = COST_PANELS[line.panel].text;
    const cell = pv_el("td", "", at >= 0 && line.low ? `${text(value)} (${text(line.low[at])}–${text(line.high[at])})${line.caution?.[at] ? ", busy" : ""}` : text(value));
    cell.title = line.caution?.[at] ?? "";
    cell.dataset.value = value ?? "";
    return cell;
  }));
  return row;
}

function cost_formula(view, blockSize) {
  const layer = view.frame.state.layer, lines = ((view.scene.formulas || {})[String(layer)] || {})[String(blockSize)] || [];
  view.formula.dataset.size = String(blockSize);
  const parts = () => (lines.length ? [pv_el("b", "", `How the model gets there: slowest forward launch of layer ${layer} at block size ${blockSize}`), ...lines.map((line) => pv_el("div", "", line))] : []);
  view.formula.replaceChildren(...parts());
  if (view.how) view.how.replaceChildren(...parts());
}

// Ticks of a logarithmic axis with full texts: decades, or 1, 2, 5 where the range is short.
function cost_ticks([low, high], text) {
  const steps = high - low < 1.7 ? [1, 2, 5] : [1], every = Math.max(1, Math.ceil((high - low) / 4)), values = [];
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) for (const m of steps) if ((m > 1 || e % every === 0) && Math.log10(m) + e >= low && Math.log10(m) + e <= high) values.push(m * 10 ** e);
  return { tickmode: "array", tickvals: values, ticktext: values.map(text) };
}

function cost_traces(view, frame) {
  const ink = PV_LINES[frame.theme], number = Object.fromEntries(view.panels.map((panel, i) => [panel.name, i ? String(i + 1) : ""]));
  return view.lines.filter((line) => number[line.panel] !== undefined).map((line) => {
    const colour = ink[line.ink], spread = line.low ? {
      error_y: { type: "data", symmetric: false, array: line.high.map((v, i) => v - line.y[i]), arrayminus: line.y.map((v, i) => v - line.low[i]), color: colour, thickness: 1.5, width: 4 },
    } : {};
    const text = COST_PANELS[line.panel].text, texts = line.y.map((v, i) => `${line.x[i]}: ${text(v)}`);
    return {
      x: line.x.map(Math.log2), y: line.y, xaxis: `x${number[line.panel]}`, yaxis: `y${number[line.panel]}`, mode: line.symbol ? "lines+markers" : "lines",
      line: { color: colour, width: 2, dash: line.dash || "solid" }, marker: { color: colour, size: 6, symbol: line.symbol || "circle" }, name: pv_plain(line.name), text: texts,
      hovertemplate: "%{fullData.name}<br>block size %{text}<extra></extra>", ...spread,
    };
  });
}

function cost_layout(view, frame) {
  const { plotWidth: width, plotHeight: height } = view;
  const layout = { ...pv_layout(frame), width, height, margin: { l: 0, r: 0, t: 0, b: 0, pad: 0 } };
  view.panels.forEach((panel, i) => {
    const { box, xr, yr, name } = panel, n = i ? String(i + 1) : "";
    layout[`xaxis${n}`] = {
      ...pv_axis(frame), anchor: `y${n}`, domain: [box.x / width, (box.x + box.w) / width], range: xr, tickmode: "array", showgrid: false,
      tickvals: view.scene.sizes.map(Math.log2), ticktext: view.scene.sizes.map(String), tickfont: { size: frame.font }, tickangle: 0,
    };
    layout[`yaxis${n}`] = {
      ...pv_axis(frame), anchor: `x${n}`, domain: [1 - (box.y + box.h) / height, 1 - box.y / height], type: "log", range: yr, ...cost_ticks(yr, COST_PANELS[name].text), tickfont: { size: frame.font },
    };
  });
  layout.annotations = [{ text: "block size", xref: "paper", yref: "paper", x: 0.5, y: 0, yanchor: "bottom", showarrow: false, font: { size: frame.font } }];
  return layout;
}

// The charts of the last scenes stay: a slider that goes back and forth between tolerances shows what is drawn already.
function cost_chart(view, frame) {
  const kept = view.charts.find((one) => one.scene === view.scene && one.key === view.key);
  view.wanted = kept ? null : { scene: view.scene, key: view.key, traces: cost_traces(view, frame), layout: cost_layout(view, frame) };
  if (kept) return cost_show(view, kept);
  if (view.busy) return;
  view.busy = true;
  loadPlotly().then(async (plotly) => {
    while (view.wanted) {
      const { scene, key, traces, layout } = view.wanted, one = cost_free_chart(view);
      view.wanted = one.scene = null;
      if (one.chart.isConnected) await plotly.react(one.chart, traces, layout, PV_PLOT_CONFIG);
      Object.assign(one, { scene, key });
      if (view.scene === scene && view.key === key) cost_show(view, one);
    }
  }).catch((error) => view.overlay.append(pv_el("div", "pcv-note", `The charts could not be drawn: ${error.message}`))).finally(() => { view.busy = false; });
}

const COST_CHARTS = 5; // as many as the slider of tolerances has stops

// A chart to draw on: a new one, or the one not shown for longest. What is shown stays until the other is drawn.
function cost_free_chart(view) {
  if (view.charts.length >= COST_CHARTS) return view.charts[view.charts.length - 1];
  const chart = pv_el("div", "pcv-chart");
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", "Time and traffic against block size; the table has the numbers");
  cost_hide(chart, true);
  view.plot.prepend(chart);
  view.charts.push({ chart });
  return view.charts[view.charts.length - 1];
}

function cost_show(view, one) {
  view.charts = [one, ...view.charts.filter((other) => other !== one)];
  for (const { chart } of view.charts) cost_hide(chart, chart !== one.chart);
}

// By a class whose properties nothing inside inherits: with "visibility" the browser would style whole charts anew.
function cost_hide(chart, hidden) {
  chart.classList.toggle("pcv-kept", hidden);
  chart.setAttribute("aria-hidden", String(hidden));
}
