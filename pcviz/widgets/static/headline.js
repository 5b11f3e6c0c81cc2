// The headline strip: what the chosen block size costs, with units, the kind of each number and its change.

const HEADLINE = [
  { name: "time", label: "Time", value: (h) => h.time_ms, text: pv_ms, change: ratio("faster", "slower") },
  { name: "l2", label: PV_LEVELS.l2_to_l1_bytes, value: (h) => h.l2_bytes, text: pv_bytes, change: ratio("less", "more") },
  { name: "hbm", label: PV_LEVELS.hbm_bytes, value: (h) => h.hbm_bytes, text: pv_bytes, change: ratio("less", "more") },
  { name: "padding", label: "Padding", value: (h) => h.padding_share, text: pv_percent, change: points },
  { name: "launches", label: "Launches", value: (h) => h.launches, text: pv_count, change: difference },
];

// ``before``: what the figures are compared with; ``at``: its block size, or "tolerance 0".
function drawHeadline(el, now, before, at, state) {
  if (!el.firstChild) {
    el.innerHTML = HEADLINE.map(
      ({ name, label }) => `<div class="pcv-tile" data-pcv="headline-${name}"><span class="pcv-tile-label">${label}</span>
        <span class="pcv-tile-value"></span><span class="pcv-tile-change"></span><span class="pcv-tile-kind"></span></div>`,
    ).join("");
  }
  Object.assign(el.dataset, { blockSize: now ? state.blockSize : "", tolerance: now ? state.tolerance : "" });
  for (const [index, tile] of HEADLINE.entries()) {
    const node = el.children[index];
    const [label, value, change, kind] = node.children;
    if (tile.name === "time") label.textContent = `Time, ${PV_PHASES[now?.phases[state.phase] ? state.phase : "forward"]}`;
    const figures = now && figuresOf(now, state.phase);
    const figure = figures ? tile.value(figures) : null;
    node.dataset.value = figure ?? "";
    value.textContent = figure === null || figure === undefined ? "–" : tile.text(figure);
    const old = before && tile.value(figuresOf(before, state.phase));
    const text = figure !== null && old !== null && old !== undefined ? tile.change(old, figure) : "";
    const against = text && tile.name === "time" ? `${text === "same" ? "as" : "than"} at ${at}` : ""; // falls away where there is no room
    change.replaceChildren(pv_el("span", "", text), " ", pv_el("span", "", against));
    change.title = text && `compared with ${typeof at === "number" ? "block size " : ""}${at}`;
    kind.textContent = kind.title = figures ? figures.kinds[tile.name] ?? "" : "";
    node.title = figures?.formulas?.[tile.name] ?? "";
  }
}

function figuresOf(headline, phase) {
  return headline.phases[phase] ?? headline.phases.forward;
}

function explain(before, after, phase) {
  if (!before || !after) return "";
  const [a, b] = [figuresOf(before, phase), figuresOf(after, phase)];
  if (!(a.time_ms > 1.5 * b.time_ms)) return "";
  const times = (x, y) => `${formatRatio(x / y)}×`, hbm = a.hbm_bytes > 1.05 * b.hbm_bytes ? `only ${times(a.hbm_bytes, b.hbm_bytes)} less HBM` : "no less HBM";
  return `${after.block_size} against ${before.block_size}: ${times(a.time_ms, b.time_ms)} faster, ${times(a.l2_bytes, b.l2_bytes)} less ${PV_LEVELS.l2_to_l1_bytes}, ${hbm}.`;
}

function ratio(less, more) {
  return (before, now) => {
    if (!before || !now) return "";
    const factor = before / now;
    if (Math.abs(factor - 1) < 0.005) return "same";
    if (factor > 1) return factor < 1.5 ? `${Math.round(100 * (1 - 1 / factor))}% ${less}` : `${formatRatio(factor)}× ${less}`;
    return factor > 1 / 1.5 ? `${Math.round(100 * (1 / factor - 1))}% ${more}` : `${formatRatio(1 / factor)}× ${more}`;
  };
}

function points(before, now) {
  const change = 100 * (now - before);
  return Math.abs(change) < 0.05 ? "same" : `${change > 0 ? "+" : "−"}${Math.abs(change).toFixed(1)} pts`;
}

function difference(before, now) {
  return now === before ? "same" : `${now > before ? "+" : "−"}${pv_count(Math.abs(now - before))}`;
}

function formatRatio(factor) {
  return factor >= 9.95 ? pv_count(factor) : factor.toFixed(1).replace(/\.0$/, "");
}
