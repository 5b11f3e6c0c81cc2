// Memory: bytes on the links from the multiprocessors to the memory, and a roofline whose axes belong to the device. A move of the
// slider moves the points; the size before it stays as a ghost.

const MEMORY_LAUNCHES = Object.keys(PV_LAUNCHES); // the scene's phases are places in it
const MEMORY_LOW = 22; // lines: a lower stage has no room for boxes and links below each other, and the words
const MEMORY_SYMBOLS = ["circle", "square", "diamond", "triangle"];

function draw_memory(el, scene, store) {
  const frame = pv_frame(el, "memory", store);
  if (!frame || !scene) return;
  const { view } = frame;
  if (!view.bar) memory_build(frame);
  if (view.scene !== scene) {
    Object.assign(view, { scene, at: null, level: scene.links.some((link) => link.name === view.level) ? view.level : scene.links.at(-1).name });
    memory_controls(frame);
  }
  Object.assign(view, { frame, phase: PV_PHASES[frame.state.phase] ? frame.state.phase : "forward", size: frame.state.blockSize });
  view.before = frame.state.before !== view.size && scene.points[frame.state.before] ? frame.state.before : null;
  view.layer = scene.layers.includes(frame.state.layer) ? frame.state.layer : null;
  view.link = scene.links.find((link) => link.name === view.level);
  view.phaseSelect.value = view.phase;
  view.layerSelect.value = String(view.layer ?? "");
  for (const button of view.levels) button.setAttribute("aria-pressed", String(button.dataset.level === view.level));
  view.body.dataset.mode = frame.width > 2 * frame.height ? "columns" : "rows";
  view.low = view.body.dataset.mode === "columns" && frame.height < MEMORY_LOW * frame.font;
  view.body.dataset.low = String(view.low);
  memory_chain(view);
  memory_words(view);
  memory_legend(view);
  memory_plot(view);
  clearTimeout(view.later); // the table waits until the slider rests, unless it is what one looks at
  if (view.sheet.classList.contains("pcv-sheet") || !view.sheet.firstChild) memory_table(view);
  else view.later = setTimeout(() => memory_table(view), 300);
  Object.assign(el.dataset, { before: view.before ?? "", level: view.level });
}

function memory_build(frame) {
  const { el, view } = frame;
  view.bar = pv_el("div", "pcv-bar");
  view.body = pv_el("div", "pcv-body pcv-memory-body");
  view.chain = pv_el("div", "pcv-memory-chain");
  view.chain.setAttribute("role", "group");
  view.chain.setAttribute("aria-label", "Traffic between the levels of memory");
  view.words = pv_el("div", "pcv-memory-words");
  view.words.dataset.pcv = "memory-words";
  view.keys = pv_el("div", "pcv-keys");
  view.left = pv_el("div", "pcv-memory-left");
  view.left.append(view.chain, view.words);
  view.right = pv_el("div", "pcv-memory-right");
  view.svg = pv_focusable(pv_svg("svg", { class: "pcv-memory-plot", tabindex: 0, role: "group" }));
  view.svg.dataset.pcv = "memory-roofline";
  view.svg.setAttribute("aria-label", "Roofline: left and right arrow go from launch to launch, the slowest first; Enter chooses a launch's layer");
  view.svg.addEventListener("keydown", (event) => memory_key(view, event));
  view.svg.addEventListener("blur", () => memory_focus(view, null));
  view.svg.addEventListener("mousemove", (event) => memory_hover(view, event));
  view.svg.addEventListener("mouseleave", () => memory_focus(view, null));
  view.svg.addEventListener("click", () => memory_choose(view));
  view.right.append(view.keys, view.svg);
  view.body.append(view.left, view.right);
  view.caption = pv_el("div", "pcv-caption pcv-memory-caption");
  view.sheet = pv_sheet("memory", "Traffic and launches, as a table");
  view.said = pv_el("div", "pcv-sr");
  view.said.setAttribute("role", "status");
  const main = pv_el("div", "pcv-memory-main");
  main.append(view.body, view.sheet);
  el.append(view.bar, main, view.caption, view.said);
  view.tip = pv_tip(el);
}

function memory_controls(frame) {
  const { view } = frame, { scene } = view;
  const again = () => draw_memory(frame.el, view.scene, view.frame.store);
  view.layerSelect = pv_select(scene.layers.map((layer) => [layer, `layer ${layer}`]), "", "layer", (value) => view.frame.store.set({ layer: Number(value) }, { commit: true }));
  view.layerSelect.dataset.pcv = "memory-layer";
  view.phaseSelect = pv_phase_select(view);
  view.phaseSelect.dataset.pcv = "memory-phase";
  view.levels = [...scene.links].reverse().map((link) => {
    const button = pv_button(link.name, () => {
      view.level = link.name;
      again();
    });
    Object.assign(button.dataset, { level: link.name, pcv: `memory-level-${link.name}` });
    button.title = `Roofline over the bytes of ${link.bytes}`;
    return button;
  });
  const levels = pv_el("span", "pcv-memory-levels");
  levels.setAttribute("role", "group");
  levels.setAttribute("aria-label", "Level of the roofline");
  levels.append(...view.levels);
  view.bar.replaceChildren(view.layerSelect, view.phaseSelect, levels, pv_el("span", "pcv-muted", `batch ${pv_count(scene.batchSize)}`), pv_el("span", "pcv-grow"), pv_sheet_button(view.sheet));
}

// Sums of a layer (or "all") at a block size, over the chosen passes; null where there are none.
function memory_sums(view, size, layer) {
  const of = size === null || layer === null ? null : view.scene.totals[size]?.[layer];
  if (!of) return null;
  const parts = PV_PASSES[view.phase].map((phase) => of[phase]).filter(Boolean);
  if (!parts.length) return null;
  const sums = { bounds: {} };
  for (const part of parts) {
    for (const [key, value] of Object.entries(part)) if (key !== "bounds") sums[key] = (sums[key] || 0) + value;
    for (const [name, ms] of Object.entries(part.bounds)) sums.bounds[name] = (sums.bounds[name] || 0) + ms;
  }
  return sums;
}

function memory_rate(sums, key) {
  return sums.time_ms ? (sums[key] / sums.time_ms) * 1e-9 : 0; // TB/s, and TFLOP/s for flops
}

function memory_share(sums, link) {
  return link.tbPerS && sums ? memory_rate(sums, link.key) / link.tbPerS : null;
}

// A share of a roof; the model's own rounding never makes it more than all of it.
function memory_percent(share) {
  return share >= 0.1 ? `${Math.round(100 * Math.min(share, 1))}%` : pv_percent(share);
}

// ---- the links -----------------------------------------------------------------------------------------------------------

function memory_chain(view) {
  const { scene } = view, one = memory_sums(view, view.size, view.layer ?? "all"), all = memory_sums(view, view.size, "all");
  const was = memory_sums(view, view.before, view.layer ?? "all");
  const parts = [memory_box(scene.links[0].from, one ? memory_flops(view, memory_rate(one, "flops")) : "")], cache = pv_bytes(scene.device.cacheBytes);
  for (const link of scene.links) parts.push(memory_link(view, link, one, was, view.layer === null ? null : all), memory_box(link.to, link.to === "L2" || link.to === "last-level cache" ? cache : ""));
  if (view.layer !== null && all) {
    parts.push(pv_el("div", "pcv-muted pcv-memory-whole", "circuit"));
    for (const link of scene.links) parts.push(memory_whole(link, all), pv_el("div"));
  }
  view.chain.style.gridTemplateColumns = `auto${" minmax(0, 1fr) auto".repeat(scene.links.length)}`;
  view.chain.replaceChildren(...parts);
}

// Rates in units that suit the device: an H100 has TFLOP/s and TB/s, a laptop GFLOP/s and GB/s.
function memory_unit(view) {
  return view.scene.peaks[0].tflops < 1 ? ["GFLOP/s", 1000] : ["TFLOP/s", 1];
}

function memory_flops(view, tflops) {
  const [unit, scale] = memory_unit(view);
  return `${pv_digits(tflops * scale)} ${unit}`;
}

function memory_bandwidth(tb) {
  return tb < 1 ? `${pv_digits(1000 * tb)} GB/s` : `${pv_digits(tb)} TB/s`;
}

function memory_box(name, note) {
  const box = pv_el("div", "pcv-memory-box");
  box.append(pv_el("b", "", name), ...(note ? [pv_el("span", "pcv-muted", note)] : []));
  return box;
}

function memory_link(view, link, one, was, all) {
  const node = pv_el("div", "pcv-memory-link"), bytes = pv_el("b"), share = memory_share(one, link), meter = pv_el("div", "pcv-memory-meter"), rate = pv_el("div");
  node.dataset.pcv = `memory-link-${link.name}`;
  if (!one) return node;
  pv_number(bytes, one[link.key], pv_bytes(one[link.key]));
  bytes.dataset.pcv = `memory-bytes-${link.name}`;
  node.title = memory_formula(link, one);
  node.append(pv_el("div", "pcv-muted pcv-memory-was", was ? `was ${pv_bytes(was[link.key])}` : ""), bytes, meter, rate);
  if (all) node.append(pv_el("div", "pcv-muted pcv-memory-also", `circuit ${memory_total(link, all)}`));
  if (share === null) {
    rate.append(pv_el("span", "pcv-muted", "no roof measured"));
    meter.dataset.unknown = "true";
    return node;
  }
  const fill = pv_el("i"), percent = pv_el("span", "pcv-memory-percent", memory_percent(share));
  fill.style.width = `${100 * Math.min(share, 1)}%`;
  meter.append(fill);
  meter.dataset.high = String(share > 0.8);
  if (was) meter.append(Object.assign(pv_el("u"), { style: `left:${100 * Math.min(memory_share(was, link), 1)}%` }));
  percent.dataset.value = String(share);
  percent.dataset.pcv = `memory-percent-${link.name}`;
  rate.append(percent, pv_el("span", "pcv-memory-of", ` of ${memory_bandwidth(link.tbPerS)}`));
  return node;
}

function memory_total(link, all) {
  const share = memory_share(all, link);
  return `${pv_bytes(all[link.key])}${share === null ? "" : `, ${memory_percent(share)}`}`;
}

function memory_whole(link, all) {
  const node = pv_el("div", "pcv-muted pcv-memory-whole", memory_total(link, all));
  node.dataset.value = String(all[link.key]);
  node.dataset.pcv = `memory-whole-${link.name}`;
  node.title = memory_formula(link, all);
  return node;
}

function memory_formula(link, sums) {
  const ways = { l2_bytes: ["l2_to_l1_bytes", "l1_to_l2_bytes"], hbm_bytes: ["hbm_read_bytes", "hbm_write_bytes"] }[link.key];
  const parts = ways && link.tbPerS ? `${pv_bytes(sums[ways[0]])} up + ${pv_bytes(sums[ways[1]])} down = ` : "";
  return `${parts}${pv_bytes(sums[link.key])} in ${pv_ms(sums.time_ms)} = ${memory_bandwidth(memory_rate(sums, link.key))}${link.tbPerS ? ` of ${memory_bandwidth(link.tbPerS)}` : ""}`;
}

// One sentence: how long the layer's launches take, what limits them, and how far the model is from what was recorded.
function memory_words(view) {
  const sums = memory_sums(view, view.size, view.layer ?? "all"), was = memory_sums(view, view.before, view.layer ?? "all"), parts = [];
  const what = view.layer === null ? "The circuit" : `Layer ${view.layer}`;
  if (!sums) parts.push(`${what} has no launches in this pass.`);
  else parts.push(`${what}: ${sums.launches === 1 ? "1 launch" : `${pv_count(sums.launches)} launches`} of its sums in ${pv_ms(sums.time_ms)}${memory_change(view, sums, was)}. ${memory_limits(view, sums)}`);
  const error = view.scene.errors[view.size]?.[view.phase], hidden = view.scene.hidden[view.size];
  const notes = [view.scene.caption, ...(hidden ? [`${pv_count(hidden)} launches with the least time are not drawn.`] : [])];
  if (error) (view.low ? notes : parts).push(`Model ÷ recorded (${view.scene.recorded}): time ${error.time_ms}, ${PV_LEVELS.l2_to_l1_bytes} ${error.l2_to_l1_bytes}, HBM ${error.hbm_bytes}.`);
  view.words.textContent = parts.join(" ");
  view.caption.textContent = notes.join(" ");
}

function memory_change(view, sums, was) {
  if (!was) return "";
  const speed = was.time_ms / sums.time_ms, times = pv_digits(Number(Math.max(speed, 1 / speed).toPrecision(2)));
  return times === "1" ? `, as at block size ${view.before}` : `, ${times}× ${speed > 1 ? "faster" : "slower"} than at block size ${view.before}`;
}

function memory_limits(view, sums) {
  const bounds = Object.entries(sums.bounds).sort((a, b) => b[1] - a[1]);
  if (bounds.length === 1) return `Limited by ${bounds[0][0]}.`;
  return `Limited by ${bounds.map(([name, ms]) => `${name} for ${memory_percent(ms / sums.time_ms)}`).join(", ")} of the time.`;
}

// ---- table ---------------------------------------------------------------------------------------------------------------

function memory_rows(caption, head, rows) {
  const table = pv_el("table", "pcv-table"), top = pv_el("thead"), body = pv_el("tbody"), line = (cells, first) => {
    const row = pv_el("tr");
    row.append(...cells.map((text, i) => pv_el(i && !first ? "td" : "th", "", text)));
    return row;
  };
  top.append(line(head, true));
  body.append(...rows.map((cells) => line(cells)));
  table.append(pv_el("caption", "", caption), top, body);
  return table;
}

function memory_table(view) {
  const { scene } = view, of = (size, layer) => memory_sums(view, size, layer);
  const scopes = [...(view.layer === null ? [] : [[`layer ${view.layer}`, view.layer]]), ["circuit", "all"]];
  const links = scopes.flatMap(([name, layer]) => [view.size, view.before].filter((size) => size !== null && of(size, layer)).map((size) => {
    const sums = of(size, layer);
    return [`${name}, block size ${size}`, pv_ms(sums.time_ms), ...scene.links.flatMap((link) => {
      const share = memory_share(sums, link);
      return [pv_bytes(sums[link.key]), share === null ? "–" : memory_percent(share)];
    })];
  }));
  const title = `${PV_PHASES[view.phase]}, ${scene.modelLabel}`;
  const points = memory_launches(view, view.size).map((p) => [memory_name(view, p), pv_ms(p.time_ms), p.bound, memory_flops(view, memory_rate(p, "flops")), pv_digits(p.flops / p[view.link.key]), ...scene.links.map((link) => pv_bytes(p[link.key]))]);
  view.sheet.replaceChildren(
    memory_rows(title, ["", "time", ...scene.links.flatMap((link) => [link.bytes, "of peak"])], links),
    memory_rows(`Launches at block size ${view.size}`, ["launch", "time", "limited by", "rate", `FLOP/byte, ${view.link.bytes}`, ...scene.links.map((link) => link.bytes)], points),
  );
}
