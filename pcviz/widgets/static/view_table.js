// Table: everything of the current block size, a row per layer or per launch. Also the keyboard's way to a layer for all views.

const TABLE_MODES = { layers: "layers", launches: "launches" };
const TABLE_PHASES = Object.fromEntries(Object.entries(PV_LAUNCHES).map(([phase, { name }]) => [name, phase]));
const TABLE_PAGE = 100; // rows that are drawn at once
const TABLE_TEXT = { count: pv_count, bytes: pv_bytes, ms: pv_ms, flop: (n) => `${pv_short(n)}`, "": String };
const TABLE_TESTS = { "<": (a, b) => a < b, ">": (a, b) => a > b, "=": (a, b) => a === b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b };

function draw_table(el, scene, store) {
  const frame = pv_frame(el, "table", store);
  if (!frame || !scene) return;
  const { view } = frame;
  if (!view.table) table_build(frame);
  const phase = PV_PHASES[frame.state.phase] ? frame.state.phase : "forward";
  Object.assign(view, { frame, scene, phase });
  view.phaseSelect.value = phase;
  const key = [view.mode, phase, view.filter, view.page, JSON.stringify(view.sort)].join();
  if (view.drawn !== scene || view.key !== key) {
    view.drawn = scene;
    view.key = key;
    table_fill(view);
  }
  table_current(view);
}

function table_build(frame) {
  const { el, view } = frame, again = () => draw_table(el, view.scene, view.frame.store);
  Object.assign(view, { mode: "layers", filter: "", page: 0, sort: null, again });
  view.sheet = pv_focusable(pv_el("div", "pcv-table-sheet"));
  view.sheet.tabIndex = 0; // scrolls with the arrow keys
  view.sheet.setAttribute("role", "region");
  view.sheet.setAttribute("aria-label", "Table of this block size");
  view.table = pv_el("table", "pcv-table");
  view.title = pv_el("caption", "pcv-sr");
  view.parts = ["thead", "tbody", "tfoot"].map((tag) => pv_el(tag));
  view.table.append(view.title, ...view.parts);
  view.table.addEventListener("keydown", (event) => table_key(view, event));
  view.sheet.append(view.table);
  view.caption = pv_el("div", "pcv-caption pcv-table-caption");
  el.append(table_bar(view), view.sheet, view.caption);
}

// Which rows are shown, and what takes them elsewhere.
function table_bar(view) {
  const { again } = view;
  view.modes = Object.entries(TABLE_MODES).map(([mode, text]) => {
    const button = pv_button(text, () => {
      Object.assign(view, { mode, page: 0, sort: null, active: null });
      again();
    });
    Object.assign(button.dataset, { mode, pcv: `table-mode-${mode}` });
    return button;
  });
  view.phaseSelect = pv_phase_select(view);
  view.phaseSelect.dataset.pcv = "table-phase";
  view.input = pv_focusable(pv_el("input", "pcv-table-filter"));
  Object.assign(view.input, { type: "text", placeholder: "filter: edges>9" });
  view.input.dataset.pcv = "table-filter";
  view.input.setAttribute("aria-label", "Filter rows: words, or conditions such as pseudo>0");
  view.input.title = "Words that a row has, and conditions on columns: pseudo>0 time>0.01 (ms)";
  view.input.addEventListener("input", () => {
    Object.assign(view, { filter: view.input.value, page: 0 });
    again();
  });
  view.count = pv_el("span", "pcv-muted");
  view.count.dataset.pcv = "table-count";
  view.count.setAttribute("role", "status");
  view.pager = ["‹", "›"].map((text, i) => {
    const button = pv_button(text, () => {
      view.page += i ? 1 : -1;
      again();
    });
    button.setAttribute("aria-label", i ? "next rows" : "previous rows");
    return button;
  });
  const save = pv_button("CSV", () => table_save(view));
  save.dataset.pcv = "table-csv";
  save.title = "Save these rows as a CSV file: plain numbers, units in the heads";
  view.copy = pv_button("Copy", () => table_copy(view));
  view.copy.dataset.pcv = "table-copy";
  view.copy.title = "Copy these rows for a spreadsheet (Ctrl+C in the table): plain numbers between tabs, units in the heads";
  const bar = pv_el("div", "pcv-bar");
  bar.append(...view.modes, view.phaseSelect, view.input, view.count, ...view.pager, pv_el("span", "pcv-grow"), view.copy, save);
  return bar;
}

function table_fill(view) {
  const { scene, mode, phase } = view, part = scene[mode], [head, body, foot] = view.parts;
  for (const button of view.modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  const all = mode === "layers" ? part.rows[phase] : part.rows.filter((row) => PV_PASSES[phase].includes(PV_LAUNCHES[TABLE_PHASES[row[part.columns.findIndex(([key]) => key === "phase")]]].pass));
  const { rows, problem } = table_filtered(view, all);
  view.rows = table_sorted(view, rows);
  view.page = pv_clamp(view.page, 0, Math.max(0, Math.ceil(view.rows.length / TABLE_PAGE) - 1));
  const start = view.page * TABLE_PAGE, shown = view.rows.slice(start, start + TABLE_PAGE), focused = view.table.contains(document.activeElement) && document.activeElement.closest("tbody");
  table_head(view, head, part.columns);
  view.buttons = [];
  body.replaceChildren(...shown.map((row) => table_row(view, row, part.columns)));
  foot.replaceChildren(...(mode === "layers" ? [table_total(part.total[phase], part.columns)] : []));
  if (!view.buttons.some((button) => button.dataset.row === view.active)) view.active = view.buttons[0]?.dataset.row;
  table_activate(view, view.active, focused);
  const many = view.rows.length > TABLE_PAGE, range = many ? `${pv_count(start + 1)}–${pv_count(start + shown.length)} of ` : "";
  pv_number(view.count, view.rows.length, problem || `${range}${pv_count(view.rows.length)} ${view.rows.length === all.length ? "rows" : `of ${pv_count(all.length)} rows`}`);
  view.pager.forEach((button, i) => Object.assign(button, { hidden: !many, disabled: i ? start + TABLE_PAGE >= view.rows.length : start === 0 }));
  view.title.textContent = `${TABLE_MODES[mode]} at block size ${scene.blockSize}, ${PV_PHASES[phase]}; ${scene.model}`;
  const more = view.sheet.scrollWidth > view.sheet.clientWidth + 1 ? ` ${part.columns.length} columns: scroll →` : "";
  view.caption.textContent = `Block size ${scene.blockSize}: ${scene.model}. ${scene.caption}${more}`;
  view.sheet.dataset.blockSize = String(scene.blockSize);
}

// Heads that sort: numbers from the largest down first, a second press turns the order round.
function table_head(view, head, columns) {
  const key = columns.map((column) => column[0]).join();
  if (head.dataset.key !== key) {
    head.dataset.key = key;
    const row = pv_el("tr");
    row.append(...columns.map(([name, title, unit, why], i) => {
      const cell = pv_el("th"), button = pv_button(title, () => {
        view.sort = view.sort?.at === i ? { at: i, down: !view.sort.down } : { at: i, down: Boolean(unit) };
        view.page = 0;
        view.again();
      });
      button.className = "pcv-table-sort";
      button.dataset.pcv = `table-sort-${name}`;
      button.append(pv_el("span", "pcv-table-arrow"));
      cell.scope = "col";
      cell.classList.toggle("pcv-table-long", title.length > 20);
      cell.title = why;
      cell.append(button);
      return cell;
    }));
    head.replaceChildren(row);
  }
  [...head.firstChild.children].forEach((cell, i) => {
    const mine = view.sort?.at === i;
    cell.setAttribute("aria-sort", mine ? (view.sort.down ? "descending" : "ascending") : "none");
    cell.querySelector(".pcv-table-arrow").textContent = mine ? (view.sort.down ? "\u00a0▾" : "\u00a0▴") : "";
  });
}

function table_row(view, row, columns) {
  const line = pv_el("tr"), layer = parseInt(row[0], 10), name = pv_el("th"), phase = TABLE_PHASES[row[1]];
  const button = pv_button(String(row[0]), () => table_choose(view, line));
  button.className = "pcv-table-name";
  button.tabIndex = -1;
  Object.assign(button.dataset, { row: `${row[0]} ${view.mode === "launches" ? row[1] : ""}`, pcv: "table-row" });
  button.setAttribute("aria-label", view.mode === "layers" ? `layer ${layer}` : `layer ${layer}, launch ${String(row[0]).split(".")[1]}, ${row[1]}`);
  view.buttons.push(button);
  name.scope = "row";
  name.append(button);
  line.dataset.layer = String(layer);
  if (view.mode === "launches") line.dataset.launch = `${row[0]} ${phase}`; // as "3.1 element_flows"
  line.append(name, ...table_cells(row, columns));
  line.addEventListener("click", (event) => event.target !== button && table_choose(view, line));
  return line;
}

function table_cells(row, columns) {
  return row.slice(1).map((value, i) => {
    const [key, , unit] = columns[i + 1], cell = pv_el("td", "", value === null ? "–" : TABLE_TEXT[unit](value));
    cell.dataset.column = key;
    if (unit) cell.dataset.value = value ?? "";
    if (unit && unit !== "count" && value !== null) cell.title = `${pv_format.format(value)} ${unit}`;
    return cell;
  });
}

function table_total(row, columns) {
  const line = pv_el("tr"), name = pv_el("th", "", row[0]);
  name.scope = "row";
  line.dataset.pcv = "table-total";
  line.append(name, ...table_cells(row, columns));
  return line;
}

// {rows, problem}: a word must occur in some cell, a condition such as pseudo>0 must hold for the first column so called.
function table_filtered(view, rows) {
  const { columns } = view.scene[view.mode], tests = [];
  for (const word of view.filter.toLowerCase().split(/\s+/).filter(Boolean)) {
    const [, name, sign, number] = /^([a-z_]\w*)(<=|>=|=|<|>)(-?\d[\d.e+-]*)$/.exec(word) || [];
    if (!name) {
      tests.push((row) => row.some((value, i) => value !== null && TABLE_TEXT[columns[i][2]](value).toLowerCase().includes(word)));
      continue;
    }
    const at = columns.findIndex(([key, title]) => key.startsWith(name) || title.toLowerCase().startsWith(name));
    if (at < 0) return { rows, problem: `no column is called ${name}` };
    tests.push((row) => row[at] !== null && TABLE_TESTS[sign](parseFloat(row[at]), Number(number)));
  }
  return { rows: rows.filter((row) => tests.every((test) => test(row))), problem: "" };
}

function table_sorted(view, rows) {
  if (!view.sort) return rows;
  const { at, down } = view.sort, turn = down ? -1 : 1;
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...rows].sort((a, b) => (a[at] === null) - (b[at] === null) || turn * order(a[at], b[at]));
}

function table_choose(view, line) {
  const button = line.querySelector("button");
  table_activate(view, button.dataset.row, false);
  const layer = Number(line.dataset.layer), { launch } = line.dataset, { store } = view.frame;
  if (!launch) return store.set({ layer, launch: null }, { commit: true });
  const [number, phase] = launch.split(" ");
  pv_choose_launch(store, layer, phase, Number(number.split(".")[1]) - 1);
}

function table_current(view) {
  for (const line of view.parts[1].children) {
    const launch = view.mode === "launches" ? pv_launch(view.frame.state) : null;
    const current = launch ? line.dataset.launch === `${launch.layer}.${launch.group + 1} ${launch.phase}` : line.dataset.layer === String(view.frame.state.layer);
    line.classList.toggle("pcv-current", current);
    line.setAttribute("aria-current", String(current));
  }
}

// One row at a time is a stop of the Tab key; arrows go from row to row.
function table_activate(view, row, focus) {
  view.active = row;
  for (const button of view.buttons) {
    const active = button.dataset.row === row;
    button.tabIndex = active ? 0 : -1;
    if (active && focus) button.focus({ preventScroll: true });
  }
}

function table_key(view, event) {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "c" && getSelection().isCollapsed) {
    event.preventDefault();
    event.stopPropagation();
    return void table_copy(view);
  }
  const at = view.buttons.indexOf(document.activeElement), last = view.buttons.length - 1;
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last, PageDown: at + 10, PageUp: at - 10 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  const button = view.buttons[pv_clamp(to, 0, last)];
  table_activate(view, button.dataset.row, true);
  button.scrollIntoView({ block: "nearest" });
}

// All rows of the filter in the order shown, without the total; heads name the quantity, its unit and where it comes from.
function table_lines(view) {
  const { columns } = view.scene[view.mode];
  return [columns.map(table_head_text), ...view.rows.map((row) => row.map((value) => (value === null ? "" : String(value))))];
}

function table_head_text([key, title, unit, why]) {
  if (/^(recorded|measured)/.test(key)) return `${title.includes(why) ? title : why}, ${unit}`;
  return why.startsWith("model") ? `${key} (${why.replace(",", "")})` : key; // as "time_ms (model H100-SXM)"
}

function table_csv(view) {
  return table_lines(view).map((line) => line.map(pv_csv).join(",") + "\n").join("");
}

async function table_copy(view) {
  const ok = await pv_copy(table_lines(view).map((line) => line.join("\t") + "\n").join(""));
  view.count.textContent = ok ? `${pv_plural(view.rows.length, "row")} copied` : "The browser does not let this page copy: use CSV.";
}

function table_save(view) {
  pv_save_file(`pcviz-${view.mode}-block-size-${view.scene.blockSize}-${view.phase}.csv`, "text/csv", table_csv(view));
}
