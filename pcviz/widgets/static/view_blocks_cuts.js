// Why these groups: the dynamic program of the layer. Left, the fewest pseudo edges with 1, 2, ... groups against the budget of the
// tolerance; right, its table for one block shape: row g, column j is the least when the sum blocks with up to j children form
// g groups. Outlined: the way to the chosen cuts.

function blocks_cuts(view, scene, width, height, font) {
  const { cuts } = scene, panel = view.panel, wide = width > 42 * font;
  const shape = (view.shape = Math.min(view.shape || 0, cuts.classes.length - 1)), rows = Math.max(2, Math.floor((height - 12.5 * font) / (1.55 * font)));
  const key = JSON.stringify([scene.layer, scene.blockSize, scene.tolerance, shape, Math.round(width), Math.round(height), font]);
  if (view.cutsKey === key && panel.firstChild) return;
  view.cutsKey = key;
  const first = Math.max(0, Math.min(cuts.groups - 1, cuts.groups - rows + 1));
  const head = pv_el("p", "pcv-cuts-head");
  head.append("The fewest groups whose pseudo edges stay within tolerance × stored edges = ", pv_el("b", "", `${pv_digits(scene.tolerance)} × ${pv_count(cuts.stored)} = ${pv_count(Math.floor(cuts.budget + 1e-9))}`), ":");
  const both = pv_el("div", "pcv-cuts");
  const program = blocks_program(view, cuts.classes[shape], width - (wide ? 22 : 15) * font, rows, font);
  both.append(blocks_least(scene, first, rows, wide), program);
  const note = pv_el("div", "pcv-caption", blocks_cuts_note(cuts, cuts.classes[shape], Number(program.dataset.columns), height < 15 * font));
  panel.replaceChildren(head, both, note);
}

// ``brief``: where there is room for two lines.
function blocks_cuts_note(cuts, table, shown, brief) {
  const some = table.numbers > shown ? ` (${shown} of ${pv_count(table.numbers)} shown)` : "";
  if (brief) return `Cell: least pseudo edges when sum blocks with up to that many children${some} form g groups. Outlined: the chosen ones.`;
  const parts = ["Cell: least pseudo edges when the sum blocks with up to that many children form g groups, each padded to its last column. Outlined: the chosen groups."];
  if (table.numbers > shown) parts.push(`${shown} of ${pv_count(table.numbers)} numbers of children are shown: columns between them are left out.`);
  if (cuts.classes.length > 1) parts.push("One budget for all block shapes of the layer.");
  return parts.join(" ");
}

function blocks_least({ cuts }, first, rows, wide) {
  const table = pv_el("table", "pcv-table"), head = pv_el("tr"), body = pv_el("tbody"), top = pv_el("thead");
  table.dataset.pcv = "blocks-least";
  for (const text of ["groups", "pseudo", "of stored", ""]) head.append(pv_el("th", "", text));
  cuts.least.slice(first, first + rows).forEach((cost, i) => {
    const g = first + i + 1, row = pv_el("tr", g === cuts.groups ? "pcv-current" : ""), within = cost !== null && cost <= cuts.budget;
    const said = cost === null ? "– cannot be" : g === cuts.groups ? "✓ chosen" : within ? "✓ more" : "✗ too many";
    row.append(pv_el("th", "", String(g)), pv_el("td", "", cost === null ? "–" : pv_short(cost)), pv_el("td", "", cost === null ? "–" : pv_percent(cost / cuts.stored)), pv_el("td", "pcv-cuts-said", wide ? said : said[0]));
    row.title = cost === null ? "Blocks of different shapes share no launch" : within && g !== cuts.groups ? "More launches than need be" : said.slice(2);
    body.append(row);
  });
  top.append(head);
  table.append(top, body);
  return table;
}

function blocks_program(view, table, width, rows, font) {
  const box = pv_el("div", "pcv-cuts-program"), columns = blocks_columns(table, Math.max(table.cuts.length ? 2 : 1, Math.floor((width - 5.6 * font) / (4.2 * font)))), [m, k] = table.shape;
  box.dataset.columns = columns.length;
  const { classes } = view.scene.cuts, name = (one) => `blocks of ${one.shape[0]} × ${one.shape[1]}`;
  if (classes.length > 1) {
    const choose = pv_select(classes.map((one, i) => [i, name(one)]), view.shape, "Block shape", (value) => { view.shape = Number(value); blocks_redraw(view); });
    box.append(choose);
  } else box.append(pv_el("div", "pcv-strong", width > 26 * font ? `Sum blocks of ${m}, child blocks of ${k}` : name(table)));
  const grid = pv_el("table", "pcv-table pcv-cuts-table"), body = pv_el("tbody"), ends = new Set(table.cuts), cell = (tag, text, at) => pv_el(tag, ends.has(at) ? "pcv-cut" : "", text);
  grid.dataset.pcv = "blocks-program";
  const line = (tag, label, values) => {
    const row = pv_el("tr");
    row.append(pv_el("th", "", label), ...columns.map((at) => cell(tag, values(at), at)));
    return row;
  };
  const top = pv_el("thead");
  top.append(line("th", "children", (at) => pv_count(table.counts[at])), line("th", "sum blocks", (at) => pv_short(table.blocks[at])));
  const start = Math.max(0, Math.min(table.groups - 1, table.groups - rows + 3));
  table.costs.slice(start, start + Math.max(1, rows - 2)).forEach((costs, i) => {
    const g = start + i, row = line("td", `g = ${g + 1}`, (at) => (costs[at] === null ? "–" : pv_short(costs[at])));
    const chosen = g < table.groups ? columns.indexOf(table.cuts[g]) : -1;
    if (chosen >= 0) row.children[chosen + 1].classList.add("pcv-chosen");
    body.append(row);
  });
  grid.append(top, body);
  box.append(grid);
  return box;
}

// The columns that fit: the ends of groups first, then others spread evenly.
function blocks_columns({ counts, cuts }, most) {
  const n = counts.length;
  if (n <= most) return counts.map((_, at) => at);
  const kept = new Set(cuts.slice(-most));
  for (let i = 0; i < most && kept.size < most; i++) kept.add(Math.round((i * (n - 1)) / Math.max(1, most - 1)));
  return [...kept].sort((a, b) => a - b);
}
