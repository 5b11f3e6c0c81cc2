// Tiles: what a launch moves and takes with each tile that its kernel can run. Rows are tile_m, columns tile_k, the buttons tile_b; tiles
// that are not possible stay in the picture and say why.

const TILES_LESSON = "Block size is the data's: the slider cuts and stores the parameters anew. A tile is the launch's: the part that one program works on at a time; the stored data stay.";

function draw_tiles(el, scene, store) {
  const frame = pv_frame(el, "tiles", store);
  if (!frame || !scene) return;
  const { view } = frame;
  if (!view.bar) tiles_build(frame);
  view.frame = frame;
  for (const part of [view.bar, view.body, view.lesson]) part.hidden = Boolean(scene.why);
  view.note.hidden = !scene.why;
  view.note.textContent = scene.why;
  if (scene.why) return void (view.scene = scene);
  const chosen = pv_launch(frame.state), follow = chosen && chosen !== view.chosen ? scene.launches.findIndex((each) => each.phase === chosen.phase && each.group === chosen.group) : -1;
  view.chosen = chosen;
  if (follow >= 0) tiles_open(view, scene, follow);
  else if (view.scene !== scene) {
    const kept = scene.launches.findIndex((launch) => launch.title === view.title);
    const first = scene.launches.findIndex((launch) => (frame.state.phase === "backward") === (launch.phase !== "forward"));
    tiles_open(view, scene, kept >= 0 ? kept : Math.max(0, first));
  }
  const tight = frame.height < 27 * frame.font, one = tight || (frame.width < 43 * frame.font && frame.height < 38 * frame.font); // a small stage has room for one of the two
  const shows = one && view.shows === "both" ? "grid" : view.shows;
  Object.assign(el.dataset, { tight: String(tight), shows, collapsed: String(one || (shows === "both" && frame.width < 70 * frame.font)) });
  el.dataset.stacked = String(new Set(view.launch.tiles.map(([, k]) => k)).size > 4); // a grid of many columns takes the width
  view.modes.value = shows;
  view.modes.options[1].disabled = one;
  tiles_paint(view);
}

function tiles_build(frame) {
  const { el, view } = frame;
  view.note = pv_el("p", "pcv-absent");
  view.bar = pv_el("div", "pcv-bar");
  view.main = pv_focusable(pv_el("div", "pcv-tiles-main"));
  view.main.tabIndex = 0;
  view.main.dataset.pcv = "tiles-grid";
  view.main.setAttribute("role", "group");
  view.main.setAttribute("aria-label", "Tiles: arrow keys change tile_m and tile_k, plus and minus tile_b, Home takes the rule's");
  view.main.addEventListener("keydown", (event) => tiles_key(view, event));
  view.facts = pv_el("div", "pcv-tiles-facts");
  view.facts.setAttribute("role", "status");
  view.facts.dataset.pcv = "tiles-facts";
  view.lesson = pv_el("div", "pcv-caption pcv-tiles-lesson", TILES_LESSON);
  view.svg = pv_svg("svg", { class: "pcv-tiles-plot", role: "img" });
  view.roofWords = pv_el("div", "pcv-tiles-roof-words");
  view.roofWords.dataset.pcv = "tiles-roof-words";
  view.roof = pv_el("div", "pcv-tiles-roof");
  view.roof.append(view.svg, view.roofWords);
  view.shows = "both";
  view.modes = pv_select([["grid", "all tiles"], ["both", "tiles, roofline"], ["roof", "roofline"]], "both", "what is shown", (value) => {
    view.shows = value;
    draw_tiles(view.frame.el, view.scene, view.frame.store);
  });
  view.modes.dataset.pcv = "tiles-shows";
  const both = pv_el("div", "pcv-tiles-both");
  both.append(view.main, view.roof);
  view.body = pv_el("div", "pcv-tiles-body");
  view.body.append(view.facts, both);
  el.append(view.note, view.bar, view.body, view.lesson);
}

// A launch of the scene; the tile stays where the launch can have it, else it is the rule's.
function tiles_open(view, scene, number) {
  const launch = scene.launches[number];
  const same = view.launch && view.launch.title === launch.title && view.scene.layer === scene.layer && tiles_at(launch, view.tile) >= 0 && !tiles_is(view.tile, view.launch.rule);
  if (!same) view.was = null;
  Object.assign(view, { scene, number, launch, title: launch.title, table: kernel_values(pv_u8(launch.table)), why: pv_u8(launch.why), tile: same ? view.tile : [...launch.rule] });
  const select = pv_select(scene.launches.map((each, i) => [i, each.title]), number, "launch", (value) => {
    const { phase, group } = scene.launches[Number(value)];
    pv_choose_launch(view.frame.store, scene.layer, phase, group);
  });
  select.dataset.pcv = "tiles-launch";
  view.rule = pv_button("the rule's", () => tiles_go(view, [...launch.rule]));
  view.rule.dataset.pcv = "tiles-rule";
  view.depth = scene.sides.tile_b.map((b) => {
    const button = pv_button(String(b), () => tiles_go(view, [view.tile[0], view.tile[1], b]));
    button.dataset.pcv = `tiles-b-${b}`;
    return button;
  });
  const group = pv_el("span", "pcv-tiles-depth");
  group.append(pv_el("span", "", `tile_b, ${tiles_role(launch, "tile_b")} samples`), ...view.depth);
  view.bar.replaceChildren(pv_el("span", "pcv-title", `Layer ${scene.layer}`), select, view.modes, view.rule, group);
  tiles_grid(view);
}

// A program owns two sides of its tile and walks over the third.
function tiles_role(launch, name) {
  return launch.owned.includes(name) ? "owned" : "walked";
}

function tiles_is(a, b) {
  return a.every((side, i) => side === b[i]);
}

function tiles_at(launch, tile) {
  return launch.tiles.findIndex((each) => tiles_is(each, tile));
}

// A row of the table as an object, or null for a tile that is not possible.
function tiles_figures(view, tile) {
  const at = tiles_at(view.launch, tile), { metrics } = view.scene;
  return at < 0 ? null : Object.fromEntries(metrics.map((name, i) => [name, view.table[at * metrics.length + i]]));
}

function tiles_reason(view, [m, k, b]) {
  const { sides } = view.scene, at = (sides.tile_m.indexOf(m) * sides.tile_k.length + sides.tile_k.indexOf(k)) * sides.tile_b.length + sides.tile_b.indexOf(b);
  return view.why[at] ? view.launch.reasons[view.why[at] - 1] : "";
}

function tiles_grid(view) {
  const { sides } = view.scene, { launch } = view, table = pv_el("table", "pcv-tiles-grid"), head = pv_el("tr"), top = pv_el("thead"), body = pv_el("tbody");
  view.words = pv_el("div", "pcv-muted");
  head.append(pv_el("th"), ...sides.tile_k.map((k) => pv_el("th", "", String(k))));
  top.append(head);
  const empty = (i, side) => String(!launch.tiles.some((tile) => tile[i] === side));
  sides.tile_k.forEach((k, i) => (head.children[i + 1].dataset.empty = empty(1, k)));
  view.cells = [];
  for (const m of sides.tile_m) {
    const row = pv_el("tr");
    row.append(pv_el("th", "", String(m)));
    row.dataset.empty = empty(0, m);
    for (const k of sides.tile_k) {
      const cell = pv_el("td");
      cell.dataset.empty = empty(1, k);
      cell.addEventListener("click", () => tiles_go(view, [m, k, view.tile[2]]));
      view.cells.push({ cell, m, k });
      row.append(cell);
    }
    body.append(row);
  }
  table.append(top, body);
  view.main.replaceChildren(view.words, table);
}

function tiles_go(view, tile) {
  if (!tiles_is(tile, view.tile) && tiles_figures(view, view.tile)) view.was = view.tile; // the possible one before this
  view.tile = tile;
  tiles_paint(view);
}

function tiles_key(view, event) {
  const { sides } = view.scene, [m, k, b] = view.tile;
  const move = (name, value, by) => sides[name][pv_clamp(sides[name].indexOf(value) + by, 0, sides[name].length - 1)];
  const to = {
    ArrowUp: () => [move("tile_m", m, -1), k, b], ArrowDown: () => [move("tile_m", m, 1), k, b], ArrowLeft: () => [m, move("tile_k", k, -1), b],
    ArrowRight: () => [m, move("tile_k", k, 1), b], "-": () => [m, k, move("tile_b", b, -1)], "+": () => [m, k, move("tile_b", b, 1)], "=": () => [m, k, move("tile_b", b, 1)],
    Home: () => [...view.launch.rule],
  }[event.key];
  if (!to) return;
  tiles_go(view, to());
  event.preventDefault();
}

function tiles_paint(view) {
  const { launch, tile } = view, times = launch.tiles.map((each, i) => view.table[i * view.scene.metrics.length]);
  const [low, high] = [Math.min(...times), Math.max(...times)], unit = tiles_unit(view, high);
  view.words.textContent = `tile_m, ${tiles_role(launch, "tile_m")} sums ↓ · tile_k, ${tiles_role(launch, "tile_k")} children →, darker: more time${unit ? `, in ${unit[0]}` : ""}`;
  for (const { cell, m, k } of view.cells) {
    const here = [m, k, tile[2]], figures = tiles_figures(view, here), share = figures && high > low ? Math.log(figures.time_ms / low) / Math.log(high / low) : 0;
    cell.textContent = !figures ? "" : unit ? pv_digits(figures.time_ms * unit[1]) : pv_ms(figures.time_ms);
    cell.title = figures ? `tile_m ${m}, tile_k ${k}: ${pv_ms(figures.time_ms)} (model)` : tiles_reason(view, here);
    cell.dataset.possible = String(Boolean(figures));
    cell.dataset.rule = String(tiles_is(here, launch.rule));
    cell.dataset.chosen = String(tiles_is(here, tile));
    cell.style.setProperty("--pv-share", `${Math.round(8 + 40 * share)}%`);
  }
  view.depth.forEach((button, i) => {
    const b = view.scene.sides.tile_b[i], reason = tiles_reason(view, [tile[0], tile[1], b]);
    button.setAttribute("aria-pressed", String(b === tile[2]));
    button.setAttribute("aria-disabled", String(Boolean(reason)));
    button.title = reason;
  });
  view.rule.disabled = tiles_is(tile, launch.rule);
  tiles_facts(view);
  if (view.frame.el.dataset.shows !== "grid") tiles_roofline(view);
  Object.assign(view.frame.el.dataset, { tile: tile.join(" "), blockSize: view.scene.blockSize });
}

// The unit of all times and its number in a ms, where the cells are too narrow for one each; null where they are not.
function tiles_unit(view, longest) {
  const head = view.main.querySelector("thead").rows[0], shown = [...head.cells].slice(1).filter((cell) => cell.offsetWidth);
  if (!shown.length || shown[0].offsetWidth > 4.6 * view.frame.font) return null;
  return longest >= 1 ? ["ms", 1] : ["µs", 1000];
}

function tiles_facts(view) {
  const { scene, launch, tile } = view, now = tiles_figures(view, tile), rule = tiles_figures(view, launch.rule);
  const head = pv_el("div");
  head.append(pv_el("b", "", `Tile ${tile.join(" × ")}`), pv_el("span", "pcv-muted", ` of ${launch.shape}`));
  if (!now) {
    const not = pv_el("div", "pcv-tiles-not", `Not possible. ${tiles_reason(view, tile)}`);
    not.dataset.pcv = "tiles-reason";
    return view.facts.replaceChildren(head, not);
  }
  const cost = pv_el("div"), time = pv_el("b"), change = now.time_ms / rule.time_ms, own = tiles_is(tile, launch.rule);
  pv_number(time, now.time_ms, pv_ms(now.time_ms));
  time.dataset.pcv = "tiles-time";
  const beside = own ? ", the rule's choice" : Math.abs(change - 1) < 0.005 ? `, as with the rule's ${launch.rule.join(" × ")}` : `, ${pv_digits(Number(Math.max(change, 1 / change).toPrecision(3)))}× ${change > 1 ? "slower" : "faster"} than the rule's ${launch.rule.join(" × ")}`;
  const bytes = (key) => `${PV_LEVELS[key]} ${pv_bytes(now[key])}${own || now[key] === rule[key] ? "" : ` (the rule's: ${pv_bytes(rule[key])})`}`;
  cost.append(time, ` (model), limited by ${scene.bounds[now.bound]}${beside}. ${bytes("l2_bytes")}, ${bytes("hbm_bytes")}.`);
  const waves = `${pv_plural(now.programs, "program")} × ${pv_plural(now.steps, "step")}, ${pv_plural(now.waves, "wave")} over ${scene.numSMs} SMs`;
  const holds = `accumulator ${pv_digits(now.accumulators)} of ${scene.registers} registers a thread, operands in flight ${pv_bytes(now.in_flight_bytes)} of ${pv_bytes(scene.sharedBytes)} shared memory (estimates)`;
  view.facts.replaceChildren(head, cost, pv_el("div", "", `${waves}; ${holds}.`));
}
