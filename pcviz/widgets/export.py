"""``pcv.export_html``: the explorer of a circuit as one HTML file that works from a disk, without a kernel and without a network.

The page holds the explorer's own JavaScript and CSS, plotly, and the frames of all block sizes, in one inline script; page.js
answers in the kernel's place. Before the script stands a picture for readers that run none.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from html import escape
from pathlib import Path

from ..arguments import is_number
from ..compiler.compile import circuit_at
from ..ir.names import readable
from ..ir.nodes import Nodes
from ..whole_files import check_folder, whole_file
from . import bundle
from .circuits import Entry, figure_5_entry, user_entry
from .dag_export import held_parts
from .frames import Generation, Settings, Task
from .outbox import Outbox
from .packing import pack
from .picture import block_map_picture
from .scenes.blocks import static_blocks
from .scenes.cost import static_cost
from .scenes.kernel import scene_no_kernel
from .scenes.training import scene_training
from .settings import changed_settings, describe
from .state import page_state, scene_for_page
from .teaching import Scene, scene_entry, scene_named

LIMIT_BYTES = 8_000_000  # of a page; layers that do not fit are left out, and the page says which
MAX_TOLERANCES = 3
TELL_SECONDS = 0.5
Tell = Callable[[int, int, str], None]  # (views made, views at most, what comes next): progress of the sweep over block sizes
LIVE = "This page was saved, it has no engine: pcv.explore(...) in a notebook does this."


def export_html(
    circuit=None,
    path="pcviz.html",
    *,
    x=None,
    scene: str | None = None,
    block_size: int | None = None,
    batch_size: int = 512,
    padding_tolerance: float | Sequence[float] | None = None,
    device: str = "H100-SXM",
    steps: Iterable = (),
    title: str = "",
    tell: Tell = lambda done, most, text: None,
) -> Path:
    """Write the explorer of ``circuit`` to the HTML file ``path``, and return its path.

    The page holds every legal block size under one batch size [samples] and device and up to three padding tolerances [shares
    of stored edges]; the first is shown. Controls that need an engine are disabled and say why. It is one file below 8 MB that
    loads nothing from anywhere: layers that do not fit are left out, those farthest from the shown one first.

    circuit: a circuit, plan or TensorCircuit; None: the layer of the paper's figure 5 with its recorded figures. block_size,
    padding_tolerance: None takes those of a plan, else the first size and 0.25. x: its data [B, V], for the steps of a kernel's
    first program. scene: the name of a scene for teaching, which brings circuit, settings and question. steps: EMStep records of
    ``pcv.fit``, for the Training view. title: the circuit's name in the page. tell: called with (views made, views at most, what
    comes next) before each of them, and once with what the page holds. ValueError: no such scene, block size, batch size, tolerance
    or device; FileNotFoundError: no such folder.
    """
    target = Path(path)
    check_folder(target)
    circuit, block_size, padding_tolerance = circuit_at(circuit, block_size, padding_tolerance)
    if circuit is not None and not isinstance(circuit, Nodes):
        raise ValueError(f"pcv.export_html expects a circuit, a plan or a TensorCircuit, got {type(circuit).__name__}.")
    if scene is not None:
        if circuit is not None:
            raise ValueError("A scene brings its own circuit: pass a circuit or a scene.")
        chosen = scene_named(scene)
        write(target, page_html(scene_entry(chosen.circuit), chosen.all_settings, chosen.block_size, layer=chosen.layer, scene=chosen, tell=tell))
        return target
    entry = figure_5_entry() if circuit is None else user_entry(circuit, x)
    entry.label = readable(title) or entry.label
    each = _settings_of(batch_size, device, padding_tolerance)
    write(target, page_html(entry, each, block_size, scene_training(steps)["rows"], tell=tell))
    return target


def _settings_of(batch_size: int, device: str, padding_tolerance: float | Sequence[float]) -> list[Settings]:
    """One for each tolerance, checked."""
    settings = Settings()
    for name, value in (("batch_size", batch_size), ("device", device)):
        settings = changed_settings(settings, name, value)
    wanted = [padding_tolerance] if is_number(padding_tolerance) else list(padding_tolerance)
    if not 1 <= len(wanted) <= MAX_TOLERANCES:
        raise ValueError(f"padding_tolerance must be one to {MAX_TOLERANCES} shares, got {len(wanted)}.")
    return [changed_settings(settings, "padding_tolerance", tolerance) for tolerance in wanted]


def page_html(
    entry: Entry,
    settings: list[Settings],
    block_size: int | None = None,
    steps: list[list] = (),
    layer: int | None = None,
    scene: Scene | None = None,
    stages: Sequence[str] = (),
    tell: Tell = lambda done, most, text: None,
) -> str:
    """The page of one circuit, with a generation of frames for each of ``settings``; ``stages``: those that it opens with."""
    if block_size is not None and block_size not in entry.sizes:
        raise ValueError(f"block_size must be one of {', '.join(map(str, entry.sizes))} for this circuit, got {block_size!r}.")
    size, layer = block_size or entry.first_size, layer or entry.layer
    generations = [Generation(i + 1, entry, each) for i, each in enumerate(settings)]
    script, style, plotly = inline(bundle.page_js()), bundle.css() + PAGE_CSS, b64encode(bundle.plotly_js()).decode()
    static = _static(generations[0], size, layer)
    left = LIMIT_BYTES - len((script + style + static).encode()) - len(plotly) - 100_000  # the rest: sessions, steps, marks
    tolerances = [each.padding_tolerance for each in settings]
    dag = held_parts(generations[0], tolerances, size, left // 3, lambda parts: tell(0, 1, f"parts of the DAG, {parts:,} so far"))
    left -= len(json.dumps(dag))
    frames, layers = _frames(generations, size, layer, left - len(json.dumps(steps)), tell)
    tell(len(frames), len(frames), _status(generations[0], layers))
    sessions = [_session(generation, size, layer, layers) | {"tolerances": sorted({*tolerances})} for generation in generations]
    page = page_state({"stages": list(stages or (scene.stages if scene else ()))})
    told = scene and scene_for_page(scene) | {"task": scene.saved_task(bool(steps))}
    shown = {"arguments": {"root": "root"} if entry.name == "yours" else {}, "scene": told, "jump": 1, "page": page}
    sessions = [session | shown for session in sessions]
    if len(sessions) == 1:
        sessions[0]["disabled"]["tolerance"] = sessions[0]["disabled"]["batch-size"]
    page = {"sessions": sessions, "frames": frames, "dag": dag, "steps": steps, "plotly": plotly, "live": LIVE}
    page["status"] = _status(generations[0], layers)
    return PAGE.format(title=escape(f"{entry.label} - pcviz"), style=style, static=static, script=script, page=inline_json(page))


def send_page(outbox: Outbox, *shown) -> None:
    """The page of what an explorer shows, sent to be saved by the browser. ``shown``: the arguments of ``page_html``."""
    told = time.monotonic()

    def tell(done: int, most: int, text: str) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            outbox.going(f"Saving this view as a page: {text} …", of="device", progress=done / most, quiet=True)

    page = page_html(*shown, tell=tell).encode()
    outbox.send("file", [gzip.compress(page, 1)], name="pcviz.html", type="text/html")
    outbox.message(f"Saved as pcviz.html, {len(page) / 1e6:.1f} MB: it opens without a kernel.", of="device")


def write(target: Path, text: str) -> None:
    with whole_file(target) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def _frames(generations: list[Generation], size: int, layer: int, left: int, tell: Tell) -> tuple[list[dict], list[int]]:
    """(frames as page.js takes them, the layers that they show): all that is not of one layer, then layers while they fit."""
    num_layers = len(generations[0].layering.layers)
    tasks, frames, layers = generations[0].tasks(num_layers), [], []

    def made(wanted: Iterable[Task]) -> list[dict]:
        pairs, before = [(generation, task) for generation in generations for task in wanted], len(frames)
        return [_told(generation, task, tell, before + i, len(tasks) * len(generations)) for i, (generation, task) in enumerate(pairs)]

    common = sorted((task for task in tasks if task.layer is None), key=lambda task: (task.view != "headline", task.size != size))
    frames += made(common)
    left -= sum(len(frame["data"]) for frame in frames)
    for near in sorted(range(1, num_layers + 1), key=lambda each: (abs(each - layer), each)):
        more = made(sorted((task for task in tasks if task.layer == near), key=lambda task: task.size != size))
        left -= sum(len(frame["data"]) + 80 for frame in more)
        if left < 0 and layers:
            break
        frames += more
        layers.append(near)
    for frame in _kernel_frames(generations, layer):
        left -= len(frame["data"]) + 80
        if left > 0:
            frames.append(frame)
    return frames, sorted(layers)


def _told(generation: Generation, task: Task, tell: Tell, done: int, most: int) -> dict:
    of = "all block sizes" if task.size is None else f"block size {task.size}"
    tell(done, most, f"{task.view}, {of}{'' if task.layer is None else f', layer {task.layer}'}, tolerance {generation.settings.padding_tolerance:g}")
    return _frame(generation, task)


def _kernel_frames(generations: list[Generation], layer: int) -> Iterator[dict]:
    """Steps of the first program of the layer's launch at each block size, where the circuit has data. Needs torch."""
    from .kernel_job import KernelJob

    job = KernelJob()
    for generation in generations if generations[0].entry.x is not None else ():
        entry, settings = generation.entry, generation.settings
        for size in entry.sizes:
            steps = pack(job.scene(entry, settings, generation.report(size), size, layer, {}) | {"held": True})
            yield _frame_of(generation, Task("kernel", size, layer), steps)


def _frame(generation: Generation, task: Task) -> dict:
    scene = scene_no_kernel(LIVE) if task.view == "kernel" else generation.scene(task)
    if task.view == "training":
        scene |= {"live": False, "why": LIVE}
    if task.view == "cost":
        scene["unmeasured"] = "Nothing was measured before this page was saved."
    return _frame_of(generation, task, pack(scene))


def _frame_of(generation: Generation, task: Task, container: bytes) -> dict:
    return {"gen": generation.number, "view": task.view, "size": task.size, "layer": task.layer, "data": b64encode(container).decode()}


def _session(generation: Generation, size: int, layer: int, layers: list[int]) -> dict:
    entry, settings = generation.entry, generation.settings
    one = f"This page was saved for {settings.batch_size:,} samples on {settings.device}, tolerance {settings.padding_tolerance}. {LIVE}"
    disabled = {"circuit": LIVE, "batch-size": one, "device": one, "auto-measure": LIVE}
    return describe(entry, generation, {entry.name: entry}) | {
        "block_size": size, "layer": layer, "can_train": False, "can_measure": False, "why_not": LIVE, "disabled": disabled,
        "missing": f"not in this page, which holds the layers {layers[0]} to {layers[-1]}",
    }  # fmt: skip


def _status(generation: Generation, layers: list[int]) -> str:
    settings, num_layers = generation.settings, len(generation.layering.layers)
    left_out = f" Layers {layers[0]} to {layers[-1]} of {num_layers}: more do not fit." if len(layers) < num_layers else ""
    return f"Saved on {date.today()}: all block sizes at batch size {settings.batch_size:,}, {settings.device}.{left_out}"


def _static(generation: Generation, size: int, layer: int) -> str:
    blocks, cost = generation.scene(Task("blocks", size, layer)), generation.scene(Task("cost", None, None))
    head = f"<h1>{escape(generation.entry.label)}</h1>"
    note = "<p>With JavaScript this page is an explorer: a slider changes the block size. In JupyterLab press Trust HTML.</p>"
    return head + block_map_picture(blocks) + static_cost(cost) + static_blocks(blocks) + note


def inline(script: str) -> str:
    """JavaScript that may stand between script tags: ``</script`` and ``<!--`` occur in texts and patterns only, where ``\\`` changes nothing."""
    return re.sub(r"<(?=/script|!--)", r"<\\", script, flags=re.I)


def inline_json(value) -> str:
    """JSON as a JavaScript value between script tags."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


# No network, by the page's own rule. plotly's text is evaluated when a chart is first drawn, as in a notebook.
RULE = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
PAGE_CSS = """
body { margin: 13px; color-scheme: light dark; background: Canvas; color: CanvasText; }
body { font: 13px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.pcv-static h1 { font-size: 20px; }
.pcv-static img { image-rendering: pixelated; border: 1px solid GrayText; }
.pcv-static figure { margin: 0 0 16px; }
.pcv-static :is(td, th) { padding: 1px 8px; text-align: right; }
"""
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{RULE}">
<meta name="viewport" content="width=device-width">
<title>{{title}}</title>
<style>
{{style}}
</style>
</head>
<body>
<main>
<div class="pcv-static">{{static}}</div>
</main>
<script>
(() => {{{{
{{script}}
openPage({{page}}, document.querySelector("main"));
}}}})();
</script>
</body>
</html>
"""
