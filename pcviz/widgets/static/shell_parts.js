// What the explorer is made of: its stages, its HTML, and small helpers of its controls.

const STAGES = [
  { name: "blocks", title: "Blocks", draw: (...args) => draw_blocks(...args) },
  { name: "kernel", title: "Kernel", draw: (...args) => draw_kernel(...args) },
  { name: "memory", title: "Memory", draw: (...args) => draw_memory(...args) },
  { name: "tiles", title: "Tiles", draw: (...args) => draw_tiles(...args) },
  { name: "cost", title: "Cost", draw: (...args) => draw_cost(...args) },
  { name: "dag", title: "DAG", draw: (...args) => draw_dag(...args) },
  { name: "training", title: "Training", draw: (...args) => draw_training(...args) },
  { name: "table", title: "Table", draw: (...args) => draw_table(...args) },
  { name: "compare", title: "Compare", draw: (...args) => draw_compare(...args) },
];
const SCROLLING = ".pcv-dag-found, .pcv-tiles-facts, .pcv-sheet"; // what scrolls takes the focus, too: by a click beside its controls
const FOCUSABLE = `button, input, select, textarea, summary, a[href], canvas, [tabindex], [contenteditable], ${SCROLLING}`;
const SHELL_HTML = `
  <div class="pcv-top" data-pcv="topbar" role="toolbar" aria-label="Explorer">
    <label class="pcv-field pcv-field-circuit"><span>Circuit</span><select data-pcv="circuit"></select></label>
    <div class="pcv-slider"></div>
    <button type="button" class="pcv-button pcv-settings-toggle" data-pcv="settings" aria-expanded="false" aria-label="Settings" title="Batch, tolerance, device">
      <span>Settings</span>
      <svg viewBox="0 0 16 16" width="15" height="15" aria-hidden="true"><path d="M1 4h7M12 4h3M1 12h3M8 12h7" stroke="currentColor" stroke-width="1.6"/><circle cx="10" cy="4" r="2" fill="none" stroke="currentColor" stroke-width="1.6"/><circle cx="6" cy="12" r="2" fill="none" stroke="currentColor" stroke-width="1.6"/></svg>
    </button>
    <div class="pcv-settings" data-pcv="settings-panel">
      <label class="pcv-field"><span>Batch</span><input data-pcv="batch-size" data-name="batch_size" inputmode="numeric" size="4"></label>
      <label class="pcv-field" title="Pseudo edges allowed per layer, as a share of its stored edges"><span>Tolerance</span><input data-pcv="tolerance" data-name="padding_tolerance" inputmode="decimal" size="4"></label>
      <label class="pcv-field"><span>Device</span><select data-pcv="device" data-name="device"></select></label>
      <label class="pcv-check" title="Time the circuit on this machine after each move of the slider"><input type="checkbox" data-pcv="auto-measure">measure each</label>
    </div>
    <div class="pcv-buttons">
      <button type="button" class="pcv-button pcv-primary" data-pcv="train">Train</button>
      <button type="button" class="pcv-button" data-pcv="stop" disabled>Stop</button>
      <button type="button" class="pcv-button" data-pcv="measure">Measure</button>
      <button type="button" class="pcv-button pcv-icon" data-pcv="presenter" aria-pressed="false" title="Presenter size" aria-label="Presenter size">A<span>A</span></button>
      <button type="button" class="pcv-button pcv-icon" data-pcv="full-screen" title="Full screen" aria-label="Full screen">
        <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path d="M1 6V1h5M10 1h5v5M15 10v5h-5M6 15H1v-5" fill="none" stroke="currentColor" stroke-width="1.6"/></svg>
      </button>
      <button type="button" class="pcv-button pcv-icon" data-pcv="share" aria-expanded="false" title="Scenes, undo, copy, save" aria-label="Scenes and sharing">
        <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path d="M1 3h14M1 8h14M1 13h14" fill="none" stroke="currentColor" stroke-width="1.8"/></svg>
      </button>
      <div class="pcv-share" data-pcv="share-panel" role="group" aria-label="Scenes and sharing" hidden></div>
    </div>
  </div>
  <div class="pcv-head" data-pcv="headline" role="group" aria-label="What the chosen block size costs"></div>
  <div class="pcv-tabs">
    <div class="pcv-tablist" role="group" aria-label="Stages"></div>
    <button type="button" class="pcv-button pcv-use" data-pcv="use-for-training" hidden></button>
    <p class="pcv-hint" data-pcv="hint" aria-live="polite"></p>
  </div>
  <div class="pcv-scene" data-pcv="scene" role="region" aria-label="Scene" hidden>
    <p class="pcv-scene-text" data-pcv="scene-text"><b data-pcv="scene-title"></b> <span data-pcv="scene-look"></span></p>
    <div class="pcv-question" data-pcv="question">
      <label><span data-pcv="ask"></span><span class="pcv-guess" data-pcv="guess-field"><input data-pcv="guess" inputmode="decimal" autocomplete="off"><span data-pcv="unit"></span></span></label>
      <button type="button" class="pcv-button pcv-primary" data-pcv="lock">Lock my guess</button>
      <button type="button" class="pcv-button" data-pcv="skip">Show</button>
      <output class="pcv-answer" data-pcv="answer" role="status"></output>
    </div>
    <button type="button" class="pcv-button pcv-icon" data-pcv="scene-about" title="What to look at" aria-label="What to look at">
      <svg viewBox="0 0 16 16" width="15" height="15" aria-hidden="true"><circle cx="8" cy="8" r="7" fill="none" stroke="currentColor" stroke-width="1.4"/><path d="M8 7v5M8 3.6v1.8" stroke="currentColor" stroke-width="1.8"/></svg>
    </button>
    <button type="button" class="pcv-button pcv-icon" data-pcv="leave-scene" title="Leave the scene" aria-label="Leave the scene">✕</button>
  </div>
  <div class="pcv-stages"></div>
  <div class="pcv-status" data-pcv="status-line">
    <span class="pcv-status-text" data-pcv="status" role="status" aria-live="polite"></span>
    <progress class="pcv-progress" data-pcv="progress" max="1" hidden></progress>
    <button type="button" class="pcv-button" data-pcv="cancel" hidden>Cancel</button>
  </div>`;

// JupyterLab's shortcuts act on focus in an output ("b" inserts a cell, "x" cuts it) unless each focusable element says otherwise.
function guardShortcuts(root) {
  for (const node of root.querySelectorAll(FOCUSABLE)) {
    if (node.dataset.lmSuppressShortcuts !== "true") node.dataset.lmSuppressShortcuts = "true";
  }
}

// A click beside the controls focuses the explorer, not its cell, which a key such as "x" would cut; and of keys with Ctrl, Alt or
// Command that the explorer leaves alone, JupyterLab gets those of the whole page, such as Ctrl+S: outside the guard, where no
// cell has the focus.
function keepKeys(root) {
  root.tabIndex = -1;
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || !(event.ctrlKey || event.metaKey || event.altKey)) return;
    if (!root.parentElement.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
  });
}

// Somebody who clicks on a cell outside the explorer means the cell: JupyterLab gives it the keys only when nothing in the notebook has them.
function leaveKeys(root) {
  const left = (event) => {
    const active = document.activeElement;
    if (root.contains(active) && !root.contains(event.target) && event.target.closest?.(".jp-Cell")) active.blur();
  };
  document.addEventListener("pointerdown", left, true);
  return () => document.removeEventListener("pointerdown", left, true);
}

function pageTheme() {
  const lab = document.body.dataset.jpThemeLight;
  if (lab !== undefined) return lab === "true" ? "light" : "dark";
  return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function fillSelect(select, options, value) {
  const wanted = JSON.stringify(options);
  if (select.dataset.options !== wanted) {
    select.dataset.options = wanted;
    select.replaceChildren(
      ...options.map((option) => {
        const node = document.createElement("option");
        node.value = option.value;
        node.textContent = option.label;
        node.disabled = Boolean(option.disabled);
        return node;
      }),
    );
  }
  select.value = value;
  pv_fit_options(select, options.map((option) => option.label));
  select.dataset.sent = value;
}

function setField(input, value, invalid) {
  const wrong = Boolean(invalid && invalid === input.dataset.name);
  input.setAttribute("aria-invalid", String(wrong));
  if (wrong) return;
  if (Number(input.value) !== value || !input.value) input.value = value;
  input.dataset.sent = input.value;
}
