// What the circuit has learned, beside the curves: images that it draws, images that it completes, the flow of each layer.

const LEARNED_INK = {
  light: { paper: [240, 242, 245], ink: [28, 36, 48], made: [31, 95, 180] },
  dark: { paper: [38, 41, 47], ink: [233, 237, 243], made: [108, 176, 255] },
};
const LEARNED_COLUMNS = 8;
const LEARNED_FLOW_EMS = 8.4; // height of the bars, where there is room

function learned_draw(host, learned, frame) {
  if (!host._parts) learned_build(host);
  const parts = host._parts;
  parts.empty.hidden = Boolean(learned);
  parts.all.hidden = !learned;
  if (!learned) return;
  const key = [frame.theme, frame.font, host.clientWidth, host.clientHeight, frame.state.layer].join();
  if (host._learned === learned && host._key === key) return;
  host._learned = learned;
  host._key = key;
  const { images } = learned, when = learned_when(learned);
  const tight = host.clientHeight < 26 * frame.font, side = tight && Boolean(images) && host.clientWidth >= 34 * frame.font; // little height: images and flow side by side
  parts.all.dataset.side = String(side);
  const width = side ? host.clientWidth / 2 - 20 : host.clientWidth - 14;
  host.dataset.step = String(learned.step);
  for (const name of ["samplesHead", "samples", "completedHead", "completed", "originals"]) parts[name].hidden = !images || (name !== "samplesHead" && name !== "samples" && !images.numCompletions);
  parts.why.textContent = learned.why;
  parts.why.hidden = !learned.why;
  parts.flowHead.replaceChildren(pv_el("b", "", "Flow per layer"), `${images ? "" : ` ${when}`}, mean of ${pv_plural(learned.flow.numSamples, "sample")}`);
  parts.caption.textContent = learned.caption;
  const left = host.clientHeight - (images ? 0 : parts.left.offsetHeight) - parts.flowHead.offsetHeight - parts.caption.offsetHeight - 8, most = LEARNED_FLOW_EMS * frame.font;
  learned_flow(parts.flow, learned.flow, frame, [width, side || !images ? pv_clamp(left, 0.6 * most, most) : most]);
  if (images) learned_images({ width, height: host.clientHeight - (side ? 0 : parts.right.offsetHeight), tight }, parts, images, when, frame);
}

// Whose parameters are drawn: a comparison has runs of its own, after which the circuit has those of before.
function learned_when({ compared, blockSize, epoch, step }) {
  return `${compared ? "of the comparison's run " : ""}at block size ${blockSize}, epoch ${pv_count(epoch)}, mini-batch ${pv_count(step)}`;
}

function learned_build(host) {
  const parts = { empty: pv_el("div", "pcv-note", "Samples of the circuit and the flow through its layers come here as it trains."), all: pv_el("div", "pcv-learned-all") };
  parts.empty.style.inset = "0";
  for (const name of ["samplesHead", "completedHead", "flowHead"]) parts[name] = pv_el("div", "pcv-learned-head");
  for (const name of ["samples", "completed", "originals"]) {
    parts[name] = pv_el("canvas");
    parts[name].setAttribute("role", "img");
    parts[name].dataset.pcv = `learned-${name}`;
  }
  parts.why = pv_el("div", "pcv-caption");
  parts.flow = pv_svg("svg", { "aria-hidden": "true" }); // the table has the numbers
  parts.caption = pv_el("div", "pcv-caption");
  parts.left = pv_el("div");
  parts.left.append(parts.samplesHead, parts.samples, parts.completedHead, parts.completed, parts.originals, parts.why);
  parts.right = pv_el("div");
  parts.right.append(parts.flowHead, parts.flow, parts.caption);
  parts.all.append(parts.left, parts.right);
  host.append(parts.empty, parts.all);
  host._parts = parts;
}

function learned_images({ width, height, tight }, parts, images, when, frame) {
  const head = (node, title, text) => node.replaceChildren(pv_el("b", "", title), text);
  head(parts.samplesHead, "Samples", ` ${when}`);
  head(parts.completedHead, "Completions", ": the lower half is drawn by the circuit; below, the images themselves");
  const heads = [parts.samplesHead, parts.completedHead].reduce((sum, node) => sum + (node.hidden ? 0 : node.offsetHeight + 4), 0);
  const rowsOf = (samples) => Math.ceil(samples / LEARNED_COLUMNS) + (images.numCompletions ? 2 : 0), high = ((width / LEARNED_COLUMNS) * images.height) / images.width;
  const samples = tight && heads + 20 + rowsOf(images.numSamples) * high > height ? Math.min(images.numSamples, LEARNED_COLUMNS) : images.numSamples, rows = rowsOf(samples);
  const most = pv_clamp((height - heads - 20) / rows - 4, 16, 72); // pixels of an image
  learned_canvas(parts.samples, images, images.samples, samples, [width, most], frame, false);
  learned_canvas(parts.completed, images, images.completed, images.numCompletions, [width, most], frame, true);
  learned_canvas(parts.originals, images, images.originals, images.numCompletions, [width, most], frame, false);
  parts.samples.setAttribute("aria-label", `${images.numSamples} images drawn by the circuit, ${when}`);
  parts.completed.setAttribute("aria-label", `${images.numCompletions} images whose lower half the circuit has completed, ${when}`);
  parts.originals.setAttribute("aria-label", "The same images as they are in the data");
}

// Rows of images; what the circuit made of a half-hidden image is drawn in the accent colour.
function learned_canvas(canvas, images, pixels, count, [width, most], frame, halves) {
  const { height: h, width: w } = images, columns = Math.min(LEARNED_COLUMNS, Math.max(1, count)), gap = 4, rows = Math.ceil(count / columns);
  const scale = Math.min((width - gap * (columns - 1)) / columns / w, most / h), cell = [Math.max(1, Math.floor(scale * w)), Math.max(1, Math.floor(scale * h))];
  const ratio = window.devicePixelRatio || 1, size = [columns * (cell[0] + gap) - gap, rows * (cell[1] + gap) - gap];
  Object.assign(canvas, { width: size[0] * ratio, height: size[1] * ratio });
  Object.assign(canvas.style, { width: `${size[0]}px`, height: `${size[1]}px` });
  const context = canvas.getContext("2d"), one = document.createElement("canvas");
  Object.assign(one, { width: w, height: h });
  context.imageSmoothingEnabled = scale * ratio < 1;
  context.scale(ratio, ratio);
  for (let i = 0; i < count; i++) {
    one.getContext("2d").putImageData(learned_pixels(images, pixels.subarray(i * h * w, (i + 1) * h * w), LEARNED_INK[frame.theme], halves), 0, 0);
    context.drawImage(one, (i % columns) * (cell[0] + gap), Math.floor(i / columns) * (cell[1] + gap), ...cell);
  }
}

function learned_pixels(images, pixels, ink, halves) {
  const data = new ImageData(images.width, images.height);
  pixels.forEach((value, i) => {
    const full = halves && images.hidden[i] ? ink.made : ink.ink, share = value / 255;
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = ink.paper[c] + share * (full[c] - ink.paper[c]);
    data.data[4 * i + 3] = 255;
  });
  return data;
}

// Two bars per layer: how much flow it has, and which share of its sums carries 90% of that flow.
function learned_flow(svg, flow, frame, [width, height]) {
  const font = frame.font, half = (width - 12) / 2, most = `${100 * flow.most}%`;
  const heads = half > 12.5 * font ? ["Sums a sample passes", `Sums with ${most} of it`] : ["Sums passed", `Sums with ${most}`];
  Object.entries({ width, height }).forEach(([name, value]) => svg.setAttribute(name, value));
  const shares = flow.carriers.map((n, i) => n / flow.sums[i]);
  const title = (i) => `layer ${flow.layers[i]}: a sample passes ${pv_digits(flow.mass[i])} of ${pv_plural(flow.sums[i], "sum")}; ${pv_count(flow.carriers[i])} carry ${100 * flow.most}% of the flow`;
  svg.replaceChildren(
    learned_bars({ x: 0, width: half, height, head: heads[0], values: flow.mass, high: Math.max(...flow.mass, 1e-9), text: pv_digits, layers: flow.layers, title, frame }),
    learned_bars({ x: half + 12, width: half, height, head: heads[1], values: shares, high: 1, text: (v) => `${100 * v}%`, layers: flow.layers, title, frame }),
  );
}

function learned_bars({ x, width, height, head, values, high, text, layers, title, frame }) {
  const font = frame.font, left = 3 * font, bottom = 1.5 * font, top = 2 * font, step = (width - left) / values.length, ink = PV_LINES[frame.theme];
  const y = (value) => height - bottom - (value / high) * (height - bottom - top), every = Math.max(1, Math.ceil((2 * font) / step)), group = pv_svg("g", { transform: `translate(${x}, 0)` });
  const label = (at, fill, content, anchor) => group.append(pv_svg("text", { x: at[0], y: at[1], "text-anchor": anchor, fill, "font-size": font }, content));
  label([0, font], ink.text, head, "start");
  for (const value of [0, high]) {
    group.append(pv_svg("line", { x1: left, x2: width, y1: y(value), y2: y(value), stroke: ink.grid }));
    label([left - 4, y(value) + 0.35 * font], ink.muted, text(value), "end");
  }
  values.forEach((value, i) => {
    const current = layers[i] === frame.state.layer, bar = pv_svg("rect", { x: left + (i + 0.12) * step, width: Math.max(1, 0.76 * step), y: y(value), height: Math.max(0, y(0) - y(value)), fill: current ? ink.text : ink.model });
    bar.append(pv_svg("title", {}, title(i)));
    group.append(bar);
    if (i % every === 0) label([left + (i + 0.5) * step, height - 0.3 * font], current ? ink.text : ink.muted, String(layers[i]), "middle");
  });
  return group;
}

function learned_table(learned) {
  const { flow } = learned, head = ["layer", "sums that a sample passes", "sums", `carry ${100 * flow.most}% of the flow`];
  const rows = flow.layers.map((layer, i) => [layer, pv_digits(flow.mass[i]), pv_count(flow.sums[i]), `${pv_count(flow.carriers[i])} (${pv_percent(flow.carriers[i] / flow.sums[i])})`]);
  return pv_table(`Flow per layer ${learned_when(learned)}, mean of ${flow.numSamples} samples`, head, rows);
}
