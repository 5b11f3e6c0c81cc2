// Training: bits per dimension against epochs or seconds, one curve per run. Rows only ever grow at the end, so new
// points are appended to the traces; anything else redraws.

const TRAINING_COLOURS = {
  light: ["#1f5fb4", "#b0145a", "#0f8a78", "#8a5a00", "#5b3fb8", "#3f4854"],
  dark: ["#6cb0ff", "#ff7ab0", "#4fd6bd", "#f0b350", "#b8a4ff", "#c9d1dc"],
};
const TRAINING_MARKS = ["circle", "square", "diamond", "triangle-up", "cross", "x"];
const TRAINING_AXES = { epoch: "epochs", seconds: "seconds of training" };

function draw_training(el, scene, store) {
  const frame = pv_frame(el, "training", store);
  if (!frame || !scene) return;
  const view = frame.view;
  if (!view.plot) training_build(frame);
  view.scene = scene;
  view.frame = frame;
  const runs = training_runs(scene);
  training_text(view, scene, runs, frame);
  const empty = runs.length === 0;
  view.note.hidden = !empty;
  view.chart.style.visibility = empty ? "hidden" : "";
  if (!empty) training_chart(view, runs, frame);
}

function training_build(frame) {
  const view = frame.view;
  view.axis = "epoch";
  const bar = pv_el("div", "pcv-bar");
  view.heading = pv_el("span", "pcv-title", "Bits per dimension");
  view.toggles = Object.keys(TRAINING_AXES).map((axis) => {
    const button = pv_button(axis === "epoch" ? "epochs" : "seconds", () => {
      view.axis = axis;
      draw_training(frame.el, view.scene, view.frame.store);
    });
    button.dataset.pcv = `training-axis-${axis}`;
    button.dataset.axis = axis;
    return button;
  });
  view.points = pv_el("span", "pcv-muted");
  view.points.dataset.pcv = "training-points";
  bar.append(view.heading, pv_el("span", "pcv-muted", "against"), ...view.toggles, pv_el("span", "pcv-grow"), view.points);
  view.keys = pv_el("div", "pcv-keys");
  view.plot = pv_el("div", "pcv-plot");
  view.chart = pv_el("div", "pcv-chart");
  view.note = pv_el("div", "pcv-note", "No training yet. Press Train: each mini-batch adds a point here, and the test data is evaluated as it goes.");
  view.note.style.inset = "0";
  view.plot.append(view.chart, view.note);
  view.caption = pv_el("div", "pcv-caption");
  frame.el.append(bar, view.keys, view.plot, view.caption);
}

// Rows grow while a kernel trains: base is the kernel's scene, rows are steps (arrays in the order of base.columns) that
// may start before base ends; what base already has is not added twice.
function extendTraining(base, rows) {
  if (!rows || !rows.length) return base;
  const last = base.rows[base.rows.length - 1], at = base.columns.indexOf("seconds"), step = base.columns.indexOf("step");
  let from = 0;
  if (last) for (let i = rows.length - 1; i >= 0 && !from; i--) if (rows[i][step] === last[step] && rows[i][at] === last[at]) from = i + 1;
  const more = rows.slice(from);
  return more.length ? { ...base, rows: base.rows.concat(more), points: (base.points ?? base.rows.length) + more.length } : base;
}

function training_runs(scene) {
  const at = Object.fromEntries(scene.columns.map((name, i) => [name, i])), runs = [];
  let last = null;
  for (const row of scene.rows) {
    const test = row[at.test_bpd] ?? null;
    let run = runs[runs.length - 1];
    if (!run || row[at.step] <= last || run.size !== row[at.block_size]) {
      const goesOn = run && row[at.step] > last; // another block size in the middle of a run
      run = { size: row[at.block_size], samples: [], seconds: [], train: [], perEpoch: goesOn ? run.perEpoch : 0, test: { samples: [], seconds: [], bits: [] } };
      runs.push(run);
    }
    last = row[at.step];
    run.samples.push(row[at.num_samples]);
    run.seconds.push(row[at.seconds]);
    run.train.push(row[at.train_bpd]);
    run.perEpoch = run.perEpoch || (test !== null ? row[at.num_samples] / row[at.epoch] : 0);
    if (test !== null) {
      run.test.samples.push(row[at.num_samples]);
      run.test.seconds.push(row[at.seconds]);
      run.test.bits.push(test);
    }
  }
  for (const run of runs) {
    const per = run.perEpoch || run.samples[run.samples.length - 1];
    run.epoch = run.samples.map((n) => n / per);
    run.test.epoch = run.test.samples.map((n) => n / per);
  }
  return runs;
}

function training_text(view, scene, runs, frame) {
  for (const button of view.toggles) button.setAttribute("aria-pressed", String(button.dataset.axis === view.axis));
  const n = scene.points ?? scene.rows.length;
  pv_number(view.points, n, n ? `${pv_count(n)} ${n === 1 ? "mini-batch" : "mini-batches"}` : "");
  view.caption.textContent = scene.caption || "";
  view.caption.hidden = !scene.caption;
  const shown = runs.slice(-6), first = runs.length - shown.length;
  view.keys.replaceChildren(...shown.map((run, k) => {
    const i = first + k, key = pv_el("span", "pcv-key"), end = run.train[run.train.length - 1], test = run.test.bits[run.test.bits.length - 1];
    const colour = training_colour(i, frame.theme);
    key.append(pv_swatch_line(colour, i % 2 ? "5,3" : "", TRAINING_MARKS[i % 6]));
    const text = pv_el("span", "");
    text.append(pv_el("b", "", `block size ${run.size}`), `: train ${end.toFixed(3)}`, test === undefined ? "" : `, test ${test.toFixed(3)}`, `, ${pv_digits(run.seconds[run.seconds.length - 1])} s`);
    key.append(text);
    return key;
  }));
  if (runs.length) view.keys.append(pv_el("span", "", "thin line: train, mini-batch · marks: test"));
  if (runs.length > 6) view.keys.prepend(pv_el("span", "", `${first} earlier runs · `));
}

function training_colour(i, theme) {
  return TRAINING_COLOURS[theme][i % TRAINING_COLOURS[theme].length];
}

function training_traces(runs, axis, theme) {
  const traces = [];
  runs.forEach((run, i) => {
    const colour = training_colour(i, theme), dash = i % 2 ? "dash" : "solid";
    traces.push({ x: run[axis].slice(), y: run.train.slice(), mode: "lines+markers", line: { color: colour, width: 1.2, dash }, marker: { size: 3 }, opacity: 0.75, hovertemplate: `block size ${run.size}, train %{y:.4f}<extra></extra>`, name: "train" });
    traces.push({ x: run.test[axis].slice(), y: run.test.bits.slice(), mode: "lines+markers", line: { color: colour, width: 2.4, dash }, marker: { symbol: TRAINING_MARKS[i % 6], size: 6 }, hovertemplate: `block size ${run.size}, test %{y:.4f}<extra></extra>`, name: "test" });
  });
  return traces;
}

function training_layout(view, frame) {
  return {
    ...pv_layout(frame),
    width: view.plot.clientWidth, height: view.plot.clientHeight,
    margin: { l: 4.6 * frame.font, r: 14, t: 8, b: 3.7 * frame.font },
    xaxis: { ...pv_axis(frame), title: { text: TRAINING_AXES[view.axis], standoff: 6 }, rangemode: "tozero" },
    yaxis: { ...pv_axis(frame), title: { text: "bits per dimension", standoff: 8 } },
  };
}

function training_chart(view, runs, frame) {
  const key = [view.axis, frame.theme, frame.font, view.plot.clientWidth, view.plot.clientHeight, ...runs.map((run) => run.perEpoch)].join();
  const sizes = runs.flatMap((run) => [run.train.length, run.test.bits.length]);
  view.wanted = { key, sizes, runs, frame };
  if (view.busy) return;
  view.busy = true;
  loadPlotly().then((plotly) => training_plot(view, plotly)).catch((error) => {
    view.note.textContent = `The chart could not be drawn: ${error.message}`;
    view.note.hidden = false;
  }).finally(() => {
    view.busy = false;
    const wanted = view.wanted;
    if (wanted && view.drawn && (wanted.key !== view.drawn.key || wanted.sizes.join() !== view.drawn.sizes.join())) training_chart(view, wanted.runs, wanted.frame);
  });
}

async function training_plot(view, plotly) {
  const { key, sizes, runs, frame } = view.wanted, drawn = view.drawn;
  if (!view.chart.isConnected) return;
  const same = drawn && drawn.key === key && drawn.sizes.length === sizes.length && sizes.every((n, i) => n >= drawn.sizes[i]);
  view.drawn = { key, sizes };
  if (!same) {
    await plotly.react(view.chart, training_traces(runs, view.axis, frame.theme), training_layout(view, frame), PV_PLOT_CONFIG);
    return;
  }
  const grown = sizes.map((n, i) => i).filter((i) => sizes[i] > drawn.sizes[i]);
  if (!grown.length) return;
  const x = [], y = [];
  for (const i of grown) {
    const run = runs[i >> 1], from = drawn.sizes[i];
    x.push((i % 2 ? run.test[view.axis] : run[view.axis]).slice(from));
    y.push((i % 2 ? run.test.bits : run.train).slice(from));
  }
  await plotly.extendTraces(view.chart, { x, y }, grown);
}
