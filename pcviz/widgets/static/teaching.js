// A scene for teaching: what to look at, and a guess that locks before the slider may show the answer.

const VEILED = ["cost", "compare", "table"]; // stages that show other block sizes, too

class Teaching {
  constructor(shell) {
    this.shell = shell;
    this.hub = shell.hub;
    this.guesses = new Map(); // scene -> {text, skipped}; a locked guess stays locked
    const { part } = shell;
    part.lock.addEventListener("click", () => this.lock());
    part.guess.addEventListener("keydown", (event) => event.key === "Enter" && this.lock());
    // A scene's question takes the focus, and digits typed there are a guess: Escape gives keys 1 to 9 back.
    part.guess.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // the scene's text stays
      part.lock.focus({ preventScroll: true });
    });
    part.skip.addEventListener("click", () => this.lock(true));
    part["leave-scene"].addEventListener("click", () => this.hub.send({ kind: "scene", name: null }));
    part["scene-about"].addEventListener("click", () => this.about(part["scene-text"].hidden));
    part.scene.addEventListener("keydown", (event) => event.key === "Escape" && this.about(false));
    shell.undo.push(this.hub.store.subscribe((_state, changed) => this.show(changed.includes("presenter"))));
  }

  get scene() {
    return this.hub.frames?.session.scene ?? null;
  }

  get open() {
    return Boolean(this.scene?.question) && !this.guesses.has(this.scene.name);
  }

  // Title and text, which in presenter size lie over the stage while somebody wants them.
  about(open) {
    const { part } = this.shell;
    part["scene-text"].hidden = !open;
    part["scene-about"].setAttribute("aria-expanded", String(open));
  }

  // After a frame or session has arrived.
  show(resized = false) {
    const { part, root, slider, stages } = this.shell, { scene, open } = this;
    part.scene.hidden = !scene;
    part.hint.hidden = Boolean(scene);
    root.classList.toggle("pcv-asks", open);
    slider.element.disabled = open;
    slider.element.title = open ? "Lock your guess first" : "";
    for (const stage of stages) stage.section.classList.toggle("pcv-veiled", open && VEILED.includes(stage.name));
    root.dataset.scene = scene?.name ?? "";
    this.hub.store.set({ asked: scene?.question?.figure ?? null });
    if (!scene) return;
    part["scene-title"].textContent = scene.title;
    part["scene-look"].textContent = scene.look;
    this.showQuestion(scene);
    if (this.shown !== scene.name || resized) this.about(!this.hub.store.get().presenter);
    if (this.shown !== scene.name && open) part.guess.focus({ preventScroll: true });
    this.shown = scene.name;
  }

  // The question until it is answered, then the answer; what to do, where a scene has no question.
  showQuestion({ name, question, task }) {
    const { part } = this.shell, guess = this.guesses.get(name), open = Boolean(question) && !guess;
    part.ask.textContent = question ? question.ask : task;
    part["guess-field"].hidden = part.lock.hidden = part.skip.hidden = !open;
    part.guess.disabled = !open;
    part.answer.textContent = "";
    part.question.dataset.open = String(open);
    if (!question) return;
    part.unit.textContent = { padding: "%", launches: "" }[question.figure] ?? "×";
    if (!guess && this.shown !== name) part.guess.value = "";
    if (guess) part.answer.append(...this.answer(question, guess));
    part.answer.dataset.value = guess ? this.value(question)?.value ?? "" : "";
  }

  lock(skipped = false) {
    const { part, slider } = this.shell, text = skipped ? "" : part.guess.value.trim();
    const number = Number(text.replace(/[×x%]$/, "").replace(",", "."));
    const wrong = !skipped && (text === "" || !Number.isFinite(number) || number < 0);
    part.guess.setAttribute("aria-invalid", String(wrong));
    if (wrong) return this.hub.fail(new Error(`Your guess must be a number of 0 or more, got ${JSON.stringify(text)}.`));
    this.guesses.set(this.scene.name, { text, number, skipped });
    this.show();
    slider.element.focus({ preventScroll: true });
  }

  answer(question, guess) {
    const { blockSize } = this.hub.store.get(), found = this.value(question);
    const yours = guess.skipped ? "No guess." : `Locked: ${this.text(question, guess.number)}.`;
    if (blockSize !== question.size || !found) return [`${yours} Now move the slider to ${question.size}.`];
    const it = document.createElement("span"), kind = question.base === null ? "" : ` (${found.kind})`; // a count is nobody's
    it.textContent = `It is ${this.text(question, found.value)}${kind}.`; // in one piece, its date, too
    return [`${yours} `, it];
  }

  // The answer from the headline's own numbers; null until the page has them.
  value({ figure, size, base, more }) {
    const { frames, store } = this.hub, { phase } = store.get();
    const tile = HEADLINE.find((each) => each.name === figure);
    const at = (block) => frames.get("headline", block) && figuresOf(frames.get("headline", block), phase);
    const [there, here] = [at(size), base === null ? null : at(base)];
    if (!there || (base !== null && !here)) return null;
    const [value, other] = [tile.value(there), here && tile.value(here)];
    return { value: base === null ? (figure === "padding" ? 100 * value : value) : more ? value / other : other / value, kind: there.kinds[figure] };
  }

  text({ figure, base }, number) {
    if (base !== null) return `${formatRatio(number)}×`;
    return figure === "padding" ? `${number.toFixed(1)}%` : number.toLocaleString("en");
  }
}
