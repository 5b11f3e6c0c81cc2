// Shared by the views: elements, numbers with units, colours. Names start with pv_.

const PV_INK = {
  light: { bg: [255, 255, 255], empty: [244, 245, 247], stored: [36, 92, 168], absent: [250, 205, 135], missing: [150, 156, 166], pseudo: [176, 20, 84], pseudoBg: [253, 232, 241], line: [70, 76, 88] },
  dark: { bg: [17, 17, 17], empty: [33, 35, 40], stored: [92, 164, 240], absent: [128, 82, 22], missing: [120, 126, 138], pseudo: [255, 120, 176], pseudoBg: [70, 22, 46], line: [190, 196, 206] },
};

const PV_LINES = {
  light: { model: "#1f5fb4", layer: "#0b7a6a", naive: "#8a5a00", recorded: "#b0145a", measured: "#5b3fb8", text: "#1c2430", muted: "#5c6675", grid: "#dfe3e8" },
  dark: { model: "#6cb0ff", layer: "#4fd6bd", naive: "#f0b350", recorded: "#ff7ab0", measured: "#b8a4ff", text: "#e9edf3", muted: "#a5aebb", grid: "#363b44" },
};

// What a person may look at, and the passes that are added up. A training step of a mini-batch ends with EM.
const PV_PHASES = { forward: "forward", backward: "backward", both: "both passes", em: "EM", step: "training step" };
const PV_LAUNCHES = { // what launches of sum layers do: their name, and the pass that they are of
  forward: { name: "forward", pass: "forward" }, element_flows: { name: "element flows", pass: "backward" },
  param_flows: { name: "parameter flows", pass: "backward" }, em: { name: "EM", pass: "em" },
};
const PV_PASSES = { forward: ["forward"], backward: ["backward"], both: ["forward", "backward"], em: ["em"], step: ["forward", "backward", "em"] };

function pv_el(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A note in the place of what is on its way; the shell adds what the kernel is at meanwhile.
function pv_waits(node, text, work = "") {
  node.dataset.waits = text;
  const said = [text, work].filter(Boolean);
  if (said.join() !== [...node.children].map((line) => line.textContent).join()) node.replaceChildren(...said.map((line) => pv_el("span", "", line)));
  return node;
}

function pv_svg(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// JupyterLab's shortcuts act on focus inside an output unless the focused element itself says otherwise.
function pv_focusable(node) {
  node.setAttribute("data-lm-suppress-shortcuts", "true");
  return node;
}

function pv_select(options, value, label, onchange) {
  const select = pv_focusable(pv_el("select", "pcv-select"));
  select.setAttribute("aria-label", label);
  for (const [key, text] of options) {
    const option = pv_el("option", "", text);
    option.value = key;
    select.append(option);
  }
  select.value = value;
  select.addEventListener("change", () => onchange(select.value));
  return select;
}

const pv_ruler = document.createElement("canvas").getContext("2d");
const PV_ARROW = 1.43; // em of a closed menu

// A closed menu shows as much of the chosen text as it has room for: details go, from the end ("layer 4: 359 sums, 3 groups" ->
// "layer 4: 359 sums" -> "layer 4"), alike for all options. The open list and tooltips have the texts whole. ``room``: a key
// of all that the menu's width depends on, if a caller knows it: texts that it has seen fit there are fitted without laying the page out.
function pv_fit_options(select, texts, room = null) {
  if (!select.pvTexts) {
    const whole = (event) => (event.type === "pointerdown" || [" ", "Enter"].includes(event.key) || event.altKey) && select.pvTexts.forEach((text, i) => (select.options[i].text = text));
    for (const opens of ["pointerdown", "keydown"]) select.addEventListener(opens, whole);
    for (const closes of ["change", "blur"]) select.addEventListener(closes, () => pv_fit_options(select, select.pvTexts, select.pvRoom));
  }
  select.pvTexts = texts;
  if (room === null || select.pvRoom !== room) Object.assign(select, { pvRoom: room, pvFitted: new Map() });
  const chosen = Math.max(0, select.selectedIndex);
  texts.forEach((text, i) => (select.options[i].title = text));
  if (!select.disabled) select.title = texts[chosen] ?? ""; // otherwise it says why
  const key = [chosen, ...texts].join("|"), known = select.pvFitted.get(key);
  for (let shown = known ?? texts; ; shown = shown.map(pv_shorter)) {
    shown.forEach((text, i) => select.options[i].text !== text && (select.options[i].text = text));
    if (known) return;
    const style = getComputedStyle(select), width = select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - PV_ARROW * parseFloat(style.fontSize);
    pv_ruler.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const text = shown[chosen] ?? "";
    if (width <= 0) return;
    if (pv_shorter(text) === text || pv_ruler.measureText(text).width <= width) return select.pvFitted.set(key, shown);
  }
}

function pv_shorter(text) {
  const end = Math.max(text.lastIndexOf(", "), text.lastIndexOf(": "));
  return end > 0 ? text.slice(0, end) : text;
}

// The passes that a view adds up, the same in all views; ``view.frame`` has the store.
function pv_phase_select(view) {
  const select = pv_select(Object.entries(PV_PHASES), "forward", "pass", (value) => view.frame.store.set({ phase: value }, { commit: true }));
  select.title = "A training step is a forward pass, a backward pass and EM, the update of the parameters";
  return select;
}

function pv_button(text, onclick) {
  const button = pv_focusable(pv_el("button", "pcv-button", text));
  button.type = "button";
  button.addEventListener("click", onclick);
  return button;
}

const pv_format = new Intl.NumberFormat("en-US");

function pv_count(n) {
  return pv_format.format(Math.round(n));
}

// 12,345 in full below a hundred thousand, else 123k, 29.6M
function pv_short(n) {
  const three = pv_three(n);
  return n < 1e5 ? pv_count(n) : three < 1e6 ? `${pv_digits(three / 1e3)}k` : three < 1e9 ? `${pv_digits(three / 1e6)}M` : `${pv_digits(three / 1e9)}G`;
}

// Three digits, before a unit is chosen: 999.7 kB are 1 MB.
function pv_three(x) {
  return Number(x.toPrecision(3));
}

function pv_plural(n, one) {
  return `${pv_count(n)} ${one}${n === 1 ? "" : "s"}`;
}

// A cell of a CSV file; what a spreadsheet would take for a formula stands behind an apostrophe.
function pv_csv(text) {
  const plain = /^[=@]|^[+-].*[(|!]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

// For plotly, which takes some tags and all entities in texts for HTML.
function pv_plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

// At most so many characters, none of them cut in two; names from data may be long.
function pv_cut(text, most) {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

function pv_digits(x) {
  if (x === 0) return "0";
  return x >= 1000 ? pv_count(x) : String(pv_three(x));
}

function pv_bytes(n) {
  if (n === null || n === undefined) return "–";
  for (const [unit, scale] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (pv_three(n) >= scale) return `${pv_digits(n / scale)} ${unit}`;
  return `${pv_digits(n)} B`;
}

function pv_ms(t) {
  if (t === null || t === undefined) return "–";
  if (pv_three(t) >= 1000) return `${pv_digits(t / 1000)} s`;
  return pv_three(t) >= 1 || t === 0 ? `${pv_digits(t)} ms` : `${pv_digits(t * 1000)} µs`;
}

function pv_percent(share) {
  const p = 100 * share;
  return p === 0 || p >= 0.1 ? `${p.toFixed(1)}%` : `${p.toPrecision(2)}%`;
}

// Any form in which bytes may arrive, as Uint8Array.
function pv_u8(value) {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return new Uint8Array(value || []);
}

// Marks el as a view in the present theme and text size; null while it has no size (hidden, not attached).
function pv_frame(el, name, store) {
  const state = store.get();
  const theme = state.theme === "dark" ? "dark" : "light";
  if (!el._pcv || el._pcv.name !== name || (el._pcv.first && el._pcv.first.parentNode !== el)) {
    el.replaceChildren();
    el._pcv = { name };
    el.classList.add("pcv-view", `pcv-${name}`);
  }
  if (el.dataset.pcvTheme !== theme) el.dataset.pcvTheme = theme;
  el.classList.toggle("pcv-presenter", Boolean(state.presenter));
  if (!el._pcv.first) el._pcv.first = el.firstElementChild;
  const [width, height] = pv_size(el);
  if (width < 40 || height < 40) return null;
  return { el, view: el._pcv, state, theme, width, height, font: state.presenter ? 18 : 12, store };
}

// A chosen launch {phase, group} belongs to a layer at a block size and tolerance: elsewhere launches are others, and none is chosen.
function pv_launch(state) {
  const { launch } = state;
  return launch && ["layer", "blockSize", "tolerance"].every((key) => launch[key] === state[key]) ? launch : null;
}

function pv_launch_here(launch, { layer, blockSize, tolerance }) {
  return launch ? { phase: launch.phase, group: launch.group, layer, blockSize, tolerance } : null;
}

// Layer and launch for all views, and a pass in which it runs.
function pv_choose_launch(store, layer, phase, group) {
  const state = store.get(), { pass } = PV_LAUNCHES[phase];
  const launch = pv_launch_here({ phase, group }, { ...state, layer });
  store.set({ layer, launch, phase: PV_PASSES[state.phase].includes(pass) ? state.phase : pass }, { commit: true });
}

// [width, height] of a stage: as measured for this frame, or now.
function pv_size(el) {
  return el._pcvSize || [el.clientWidth, el.clientHeight];
}

// A number that tests and assistive tools read: text with separators, plain integer in data-value.
function pv_number(node, value, text) {
  node.dataset.value = String(value);
  node.textContent = text === undefined ? pv_count(value) : text;
}

function pv_clamp(x, low, high) {
  return Math.min(Math.max(x, low), high);
}

function pv_tip(host) {
  const tip = pv_el("div", "pcv-tip");
  tip.hidden = true;
  host.append(tip);
  return tip;
}

function pv_show_tip(tip, lines, x, y) {
  tip.replaceChildren(...lines.map((line, i) => pv_el("div", i ? "" : "pcv-tip-head", line)));
  tip.hidden = false;
  const host = tip.parentElement;
  const left = x + 14 + tip.offsetWidth > host.clientWidth ? x - tip.offsetWidth - 10 : x + 14;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${pv_clamp(y + 12, 0, Math.max(0, host.clientHeight - tip.offsetHeight))}px`;
}

// To the clipboard: false where the browser does not let a page.
async function pv_copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = Object.assign(document.createElement("textarea"), { value: text, style: "position: fixed; opacity: 0" }), focused = document.activeElement;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    focused?.focus?.({ preventScroll: true });
    return done;
  }
}

function pv_save_file(name, type, content) {
  const link = pv_el("a"), address = URL.createObjectURL(new Blob([content], { type }));
  Object.assign(link, { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// What a view has as tables: for assistive tools, and over its picture while the button is pressed.
function pv_sheet(view, label) {
  const sheet = pv_focusable(pv_el("div", "pcv-sr"));
  sheet.dataset.pcv = `${view}-table`;
  sheet.tabIndex = 0; // scrolls with the arrow keys
  sheet.setAttribute("role", "region");
  sheet.setAttribute("aria-label", label);
  return sheet;
}

function pv_sheet_button(sheet) {
  const button = pv_button("table", () => {
    const open = sheet.classList.toggle("pcv-sheet");
    sheet.classList.toggle("pcv-sr", !open);
    button.setAttribute("aria-pressed", String(open));
  });
  button.dataset.pcv = `${sheet.dataset.pcv}-toggle`;
  button.setAttribute("aria-pressed", String(sheet.classList.contains("pcv-sheet")));
  return button;
}

// A table of texts; the first column names its row.
function pv_table(title, head, rows) {
  const table = pv_el("table", "pcv-table"), top = pv_el("thead"), body = pv_el("tbody"), line = (texts, heads) => {
    const row = pv_el("tr");
    row.append(...texts.map((text, i) => {
      const cell = pv_el(heads || i === 0 ? "th" : "td", "", String(text));
      if (heads || i === 0) cell.scope = heads ? "col" : "row";
      return cell;
    }));
    return row;
  };
  top.append(line(head, true));
  body.append(...rows.map((row) => line(row, false)));
  table.append(pv_el("caption", "pcv-table-title", title), top, body);
  return table;
}

const PV_PLOT_CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, scrollZoom: false };

function pv_layout(frame) {
  const ink = PV_LINES[frame.theme];
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", dragmode: false, autosize: false,
    font: { family: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", size: frame.font, color: ink.text },
    hoverlabel: { font: { size: frame.font } },
  };
}

function pv_axis(frame) {
  const ink = PV_LINES[frame.theme];
  return { gridcolor: ink.grid, linecolor: ink.muted, tickcolor: ink.muted, zeroline: false, showline: true, ticks: "outside", ticklen: 4, fixedrange: true, automargin: false };
}

// A piece of a line with its mark, for legends.
function pv_swatch_line(colour, dash, symbol) {
  const svg = pv_svg("svg", { width: 30, height: 12, "aria-hidden": "true" });
  svg.append(pv_svg("path", { d: "M1,6H29", stroke: colour, "stroke-width": 2.2, fill: "none", ...(dash ? { "stroke-dasharray": dash } : {}) }));
  const shapes = { circle: "M15,2a4,4 0 1,0 .01,0Z", square: "M11.5,2.5h7v7h-7Z", diamond: "M15,1l5,5l-5,5l-5,-5Z", "triangle-up": "M15,1l5,9h-10Z", cross: "M13.5,1.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z", x: "M11,2L19,10M19,2L11,10", "triangle-down": "M15,11l5,-9h-10Z", star: "M15,0l1.5,4h4.5l-3.5,2.8l1.3,4.4l-3.8,-2.6l-3.8,2.6l1.3,-4.4l-3.5,-2.8h4.5Z", hexagon: "M15,1l4.5,2.5v5l-4.5,2.5l-4.5,-2.5v-5Z" };
  if (symbol) svg.append(pv_svg("path", { d: shapes[symbol], fill: symbol === "x" ? "none" : colour, stroke: colour, "stroke-width": symbol === "x" ? 2 : 0 }));
  return svg;
}
