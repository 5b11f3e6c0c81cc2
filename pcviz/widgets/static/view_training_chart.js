// The chart of the Training view, by plotly.

const TRAINING_COLOURS = {
  light: ["#1f5fb4", "#b0145a", "#0b7a6a", "#8a5a00", "#5b3fb8", "#3f4854", "#c2410c", "#5d7000", "#0e7490"],
  dark: ["#6cb0ff", "#ff7ab0", "#4fd6bd", "#f0b350", "#b8a4ff", "#c9d1dc", "#ff9d6b", "#c6d84a", "#5fd4f0"],
};
const TRAINING_MARKS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star", "hexagon"];

// Colour and mark belong to the block size, whichever run it is in.
function training_colour(piece, theme) {
  return TRAINING_COLOURS[theme][Math.round(Math.log2(piece.size)) % 9];
}

function training_mark(piece) {
  return TRAINING_MARKS[Math.round(Math.log2(piece.size)) % 9];
}

// Where runs of both starts are drawn, those from random parameters are dashed.
function training_dash(piece, pieces) {
  return piece.start === "random" && pieces.some((other) => other.start !== "random") ? "dash" : "solid";
}

// Against epochs curves lie on each other: marks of earlier ones are open and larger, so that all are seen. Long runs have a few marks.
function training_test_mark(piece, behind) {
  const shared = { maxdisplayed: 16 };
  return behind ? { ...shared, symbol: `${training_mark(piece)}-open`, size: 7 + 3 * Math.min(behind, 4), line: { width: 1.5 } } : { ...shared, symbol: training_mark(piece), size: 7 };
}

function training_traces(pieces, axis, theme) {
  return pieces.flatMap((piece, i) => {
    const behind = axis === "epoch" ? pieces.length - 1 - i : 0;
    const color = training_colour(piece, theme), dash = training_dash(piece, pieces), shared = { mode: "lines+markers" }, where = `block size ${piece.size}`;
    return [
      { ...shared, x: piece[axis].slice(), y: piece.train.slice(), line: { color, width: 1.2, dash }, marker: { size: 3, maxdisplayed: 100 }, opacity: 0.75, hovertemplate: `${where}, train %{y:.4f}<extra></extra>`, name: "train" },
      { ...shared, x: piece.test[axis].slice(), y: piece.test.bits.slice(), line: { color, width: 2.4, dash }, marker: training_test_mark(piece, behind), hovertemplate: `${where}, test %{y:.4f}<extra></extra>`, name: "test" },
    ];
  });
}

// Where a run went on at another block size: a line across, with the sizes.
function training_handovers(pieces, axis, frame) {
  const ink = PV_LINES[frame.theme], moved = pieces.filter((piece) => piece.from);
  return {
    shapes: moved.map((piece) => ({ type: "line", xref: "x", yref: "paper", x0: piece[axis][0], x1: piece[axis][0], y0: 0, y1: 1, line: { color: ink.muted, width: 1.2, dash: "dot" } })),
    annotations: moved.map((piece, i) => ({ xref: "x", yref: "paper", x: piece[axis][0], y: 1 - 0.07 * (i % 3), yanchor: "top", xanchor: "left", text: `${piece.from} → ${piece.size}`, showarrow: false, font: { size: frame.font, color: ink.muted } })),
  };
}

// A low chart names no axis: the buttons above it do.
function training_layout(view, pieces, frame) {
  const tall = view.plot.clientHeight, low = tall < 8 * frame.font;
  return {
    ...pv_layout(frame),
    ...training_handovers(pieces, view.axis, frame),
    width: view.plot.clientWidth, height: tall,
    margin: { l: 4.6 * frame.font, r: 14, t: 8, b: (low ? 1.9 : 3.7) * frame.font },
    xaxis: { ...pv_axis(frame), title: { text: low ? "" : TRAINING_AXES[view.axis], standoff: 6, font: { size: frame.font } }, rangemode: "tozero" },
    yaxis: { ...pv_axis(frame), ...(low ? { nticks: 3 } : {}), title: { text: tall < 13 * frame.font ? "" : "bits per dimension", standoff: 8, font: { size: frame.font } } },
  };
}

function training_chart(view, pieces, frame) {
  const [width, height] = [view.plot.clientWidth, view.plot.clientHeight];
  if (width < 60 || height < 60) return;
  const key = [view.axis, frame.theme, frame.font, width, height, ...pieces.map((piece) => `${piece.id}-${piece.size}`)].join();
  const sizes = pieces.flatMap((piece) => [piece.train.length, piece.test.bits.length]);
  view.wanted = { key, sizes, pieces, frame };
  if (view.busy) return;
  view.busy = true;
  loadPlotly().then((plotly) => training_plot(view, plotly)).catch((error) => {
    view.note.textContent = `The chart could not be drawn: ${error.message}`;
    view.note.hidden = false;
  }).finally(() => {
    view.busy = false;
    const wanted = view.wanted;
    if (wanted && view.drawn && (wanted.key !== view.drawn.key || wanted.sizes.join() !== view.drawn.sizes.join())) training_chart(view, wanted.pieces, wanted.frame);
  });
}

async function training_plot(view, plotly) {
  const { key, sizes, pieces, frame } = view.wanted, drawn = view.drawn;
  if (!view.chart.isConnected) return;
  const same = drawn && drawn.key === key && drawn.sizes.length === sizes.length && sizes.every((n, i) => n >= drawn.sizes[i]);
  view.drawn = { key, sizes };
  if (!same) {
    await plotly.react(view.chart, training_traces(pieces, view.axis, frame.theme), training_layout(view, pieces, frame), PV_PLOT_CONFIG);
    return;
  }
  const grown = sizes.map((n, i) => i).filter((i) => sizes[i] > drawn.sizes[i]);
  if (!grown.length) return;
  const x = [], y = [];
  for (const i of grown) {
    const piece = pieces[i >> 1], from = drawn.sizes[i];
    x.push((i % 2 ? piece.test[view.axis] : piece[view.axis]).slice(from));
    y.push((i % 2 ? piece.test.bits : piece.train).slice(from));
  }
  await plotly.extendTraces(view.chart, { x, y }, grown);
}
