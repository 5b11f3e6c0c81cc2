"""Computes the frames of a circuit in a thread: the current block size first, then its neighbours, then other layers.

A frame is a scene at one block size and layer. Each goes to the browser once; the slider then swaps them without us.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..compiler.arguments import TOLERANCE
from .circuits import FIGURE_5, Entry
from .compared_job import compared
from .dag_job import DagJob
from .headline import layer_points, recorded_points, scene_headline, short_gpu, step_points
from .outbox import Outbox, timed_status
from .packing import pack
from .scenes.blocks import scene_blocks
from .scenes.blocks_launches import scene_launches
from .scenes.blocks_window import scene_window
from .scenes.common import PASSES_OF
from .scenes.cost import scene_cost
from .scenes.kernel import scene_no_kernel
from .scenes.launch_counts import LaunchCounts
from .scenes.memory import scene_memory
from .scenes.table import scene_table
from .scenes.tiles import scene_tiles
from .scenes.training import scene_training

PRELOAD_BYTES = 1_500_000  # beyond this, frames of further layers are sent when they are asked for
KEPT_INDICES = 4_000_000  # child blocks of the sum blocks of a layer whose index tensors stay in memory
VIEWS = ["blocks", "cost", "dag", "memory", "tiles", "training", "table", "compare"]
TOLERANCES = (0.0, 0.1, 0.25, 0.5, 1.0)  # stops of the second slider; the settings' own is one, too
ANY_TOLERANCE = ("training", "kernel")  # views that no padding tolerance changes
OF_A_LAYER = ("blocks", "tiles")


@dataclass(frozen=True)
class Settings:
    """What the frames depend on besides circuit, block size and layer."""

    batch_size: int = 512
    padding_tolerance: float = TOLERANCE
    device: str = "H100-SXM"

    @property
    def cpu(self) -> bool:
        return self.device == "cpu"


@dataclass(frozen=True)
class Task:
    view: str
    size: int | None
    layer: int | None
    tolerance: float | None = None  # None: that of the settings


class Generation:
    """Frames of one circuit under one Settings, and by ``of`` under other padding tolerances. Only the worker's thread calls ``scene``."""

    def __init__(self, number: int, entry: Entry, settings: Settings):
        self.number, self.entry, self.settings = number, entry, settings
        self._reports: dict[int, object] = {}
        self.dag = DagJob(self)
        self._layering = None
        self._blocks: tuple = (None, None)
        self._plan: tuple = (None, None)
        self._zeros: int | None = None
        self._others: dict[float, Generation] = {}

    @property
    def tolerances(self) -> list[float]:
        return sorted({*TOLERANCES, self.settings.padding_tolerance})

    def of(self, tolerance: float | None) -> Generation:
        """The same circuit under another padding tolerance."""
        if tolerance is None or tolerance == self.settings.padding_tolerance:
            return self
        if tolerance not in self._others:
            self._others[tolerance] = Generation(self.number, self.entry, replace(self.settings, padding_tolerance=tolerance))
        return self._others[tolerance]

    def all_tasks(self, num_layers: int) -> set[Task]:
        """The tasks of every tolerance."""
        own = self.tasks(num_layers)
        free = {task for task in own if task.view in ANY_TOLERANCE}
        return free | {replace(task, tolerance=tolerance) for task in own - free for tolerance in self.tolerances}

    def tasks(self, num_layers: int) -> set[Task]:
        once = {Task(view, None, None) for view in ("cost", "memory", "training", "kernel", "compare")}
        sized = {Task(view, size, None) for view in ("headline", "dag", "table") for size in self.entry.sizes}
        layers = range(1, num_layers + 1)
        return once | sized | {Task(view, size, layer) for view in OF_A_LAYER for size in self.entry.sizes for layer in layers}

    @property
    def layering(self):
        if self._layering is None:
            from ..compiler.layering import layering

            self._layering = layering(self.entry.root)
        return self._layering

    def summary(self, size: int):
        return self.entry.summary(size, self.settings.padding_tolerance)

    def report(self, size: int):
        if size not in self._reports:
            from ..traffic import estimate

            self._reports[size] = estimate(self.summary(size), self.settings.batch_size, self.settings.device, PASSES_OF["step"])
        return self._reports[size]

    def measured(self) -> list:
        """Measurements under these settings."""
        wanted = (self.settings.batch_size, self.settings.padding_tolerance)
        return [record for record, tolerance in self.entry.measured if (record.batch_size, tolerance) == wanted]

    def scene(self, task: Task) -> dict:
        if self.of(task.tolerance) is not self:
            return self.of(task.tolerance).scene(task)
        match task.view:
            case "headline":
                return self._headline(task.size)
            case "blocks":
                return scene_blocks(self.summary(task.size), self._block_map(task), task.layer, self._total_zeros(), self._launches(task.size))
            case "cost":
                summaries = {size: self.summary(size) for size in self.entry.sizes}
                reports = {size: self.report(size) for size in self.entry.sizes}
                scene = scene_cost(self.entry.label, summaries, reports, self._recorded_points(), self.measured())
                return scene | {"unmeasured": "" if self.entry.can_train else self.entry.why_not}
            case "compare":
                return compared(self, self._recorded_points(), Settings.padding_tolerance)
            case "dag":
                return self.dag.scene(task.size)
            case "kernel":
                return scene_no_kernel(self.entry.why_no_kernel)
            case "memory":
                return scene_memory(self.entry.label, {size: self.report(size) for size in self.entry.sizes}, *self._model_error())
            case "table":
                return scene_table(self.summary(task.size), self.report(task.size), self._recorded_points(), self.measured())
            case "tiles":
                return scene_tiles(self.summary(task.size), self.report(task.size), task.layer)
            case "training":
                return scene_training([], self.entry.can_train, self.entry.why_not)  # the page adds the rows as they come
        raise ValueError(f"no view is called {task.view!r}")

    def _launches(self, size: int) -> LaunchCounts:
        return LaunchCounts(self.summary(size), self.report(size))

    def _headline(self, size: int) -> dict:
        measured = [record for record in self.measured() if record.block_size == size]
        return scene_headline(self.summary(size), self.report(size), self._recorded(size), measured[-1] if measured else None, self.settings.cpu)

    def _own_rows(self) -> list:
        """Recorded rows of our own kernels on this circuit's sum layer, under these settings."""
        from ..recorded import figure_5_rows, own_launches

        if self.entry.name != FIGURE_5 or self.settings.cpu:
            return []
        return [row for row in figure_5_rows(own_launches()) if row.batch_size == self.settings.batch_size]

    def _recorded_points(self) -> list[dict]:
        """What was recorded on this circuit, or on the reference circuit of its size, by any engine, with as many samples."""
        from ..recorded import layer_times, steps_of_size

        points = recorded_points([*(row for row in self.entry.recorded if row.batch_size == self.settings.batch_size), *self._own_rows()])
        if self.settings.cpu:
            return points
        if self.entry.name == FIGURE_5:
            times = [row for row in layer_times() if row.provenance.circuit == "fig5-dense" and row.batch_size == self.settings.batch_size]
            return points + layer_points(times)
        edges = self.summary(self.entry.sizes[0]).total("edges")
        steps = [row for row in steps_of_size(edges) if row.batch_size == self.settings.batch_size]
        return points + step_points(steps)

    def _model_error(self) -> tuple:
        """The model against our own kernels on the same GPU, where they were recorded; and the name of that recording."""
        from ..traffic import model_error

        rows = self._own_rows()
        if not rows:
            return (), ""
        made = rows[0].provenance
        summaries = {size: self.summary(size) for size in self.entry.sizes}
        return model_error(summaries, rows, self.settings.device), f"{made.engine}, {short_gpu(made.gpu)}, {made.date}"

    def _block_map(self, task: Task):
        from ..compiler.blockmap import block_map

        return block_map(self.layering, task.layer, task.size, self.settings.padding_tolerance)

    def _total_zeros(self) -> int:
        if self._zeros is None:
            from ..compiler.blockmap import count_zeros

            self._zeros = sum(count_zeros(nodes) for layer in self.layering.layers for nodes in layer.sums)
        return self._zeros

    def part(self, name: str, size: int, layer: int, wish: dict) -> dict:
        """A part of a scene that is too large to be sent at once, as the page asks for it."""
        if name == "window":
            scene = scene_window(self.blocks(size, layer), wish["packed"], wish["window"], wish["cells"])
            return scene | {"hasFlows": self.entry.x is not None}
        if name == "launches":
            return scene_launches(*self._groups(size, layer), self.blocks(size, layer), self.layering.numbering, wish.get("first"))
        raise ValueError(f"no part of a view is called {name!r}")

    def _groups(self, size: int, layer: int):
        """Index tensors of a layer's launches; the last ones are kept, unless they are large."""
        if self._plan[0] == (size, layer):
            return self._plan[1]
        from ..compiler.compile import layer_groups

        self._plan = None, None  # frees the others first
        found = layer_groups(self.layering, layer, block_size=size, padding_tolerance=self.settings.padding_tolerance)
        if sum(group.cids.size for group in found[0]) < KEPT_INDICES:
            self._plan = (size, layer), found
        return found

    def blocks(self, size: int, layer: int):
        """The blocks of a layer; those asked for last are kept."""
        from ..compiler.blockmap import LayerBlocks

        key = size, layer, self.settings.padding_tolerance
        if self._blocks[0] != key:
            self._blocks = key, LayerBlocks(self.layering, layer, size, self.settings.padding_tolerance)
        return self._blocks[1]

    def _recorded(self, size: int) -> dict | None:
        """{phase: row} of the recorded run, if it was made under these settings."""
        rows = [row for row in self.entry.recorded if row.block_size == size and row.batch_size == self.settings.batch_size]
        if self.settings.cpu or not rows:
            return None
        return {row.phase: row for row in rows}


class FrameWorker:
    """The thread that makes frames. ``show`` starts a generation, ``want`` says what the person looks at."""

    def __init__(self, outbox: Outbox, on_first: Callable[[Generation], None]):
        self._outbox, self._on_first = outbox, on_first
        self._change = threading.Condition()
        self._generation: Generation | None = None
        self._tasks: set[Task] = set()
        self._asked: set[Task] = set()
        self._parts: dict[str, tuple] = {}  # parts of scenes that the page waits for, by name; a newer wish replaces an older one
        self._wish = (1, 1, None)
        self._first = "blocks"  # the view that the page opens on
        self._sent = 0
        self._fresh = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pcviz-frames", daemon=True)
        self._thread.start()

    def show(self, generation: Generation, size: int, layer: int, first: str = "blocks") -> None:
        with self._change:
            self._first = first
            self._generation, self._wish, self._sent = generation, (size, layer, generation.settings.padding_tolerance), 0
            self._tasks, self._asked, self._parts = set(), set(), {}
            self._fresh = True
            self._change.notify()

    def want(self, size: int, layer: int, tolerance: float) -> None:
        with self._change:
            self._wish = (size, layer, tolerance)
            if self._generation is not None:
                self._asked |= {Task(view, each, layer, tolerance) for view in OF_A_LAYER for each in self._generation.entry.sizes} & self._tasks
            self._change.notify()

    def want_part(self, name: str, size: int, layer: int, tolerance: float, wish: dict) -> None:
        """The page waits for a part of the Blocks view: it comes before any frame."""
        with self._change:
            self._parts[name] = (size, layer, tolerance, wish)
            self._change.notify()

    def refresh(self, *tasks: Task) -> None:
        """Frames to make anew, because a measurement or a step changed what they show."""
        with self._change:
            self._tasks |= set(tasks)
            self._asked |= set(tasks)
            self._change.notify()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._closed and not self._ready():
                    self._change.wait()
                if self._closed:
                    self._generation, self._tasks, self._asked, self._parts = None, set(), set(), {}
                    return
                generation, fresh = self._generation, self._fresh
                self._fresh = False
                part = None if fresh or not self._parts else self._parts.popitem()
                task = None if fresh or part else min(self._candidates(), key=self._rank)
                self._tasks.discard(task)
            try:
                if fresh:
                    self._begin(generation)
                elif part:
                    self._make_part(generation, *part)
                else:
                    self._make(generation, task)
            except Exception as error:  # shown to the person; the last good picture stays
                what = part[0] if part else "the circuit" if task is None else f"the {task.view} view at block size {task.size}"
                self._outbox.error(f"Could not prepare {what}: {error}", of="frames")

    def _ready(self) -> bool:
        if self._generation is None:
            return False
        return self._fresh or bool(self._parts) or bool(self._candidates())

    def _candidates(self) -> set[Task]:
        """Frames to make: all of this tolerance, or beyond the preload only those that someone looks at; of others those of this layer."""
        _, layer, tolerance = self._wish
        all_layers = (None, tolerance) if self._sent < PRELOAD_BYTES else ()
        return {
            task for task in self._tasks if task.view not in OF_A_LAYER or task.layer == layer or task.tolerance in all_layers or task in self._asked
        }

    def _rank(self, task: Task) -> tuple:
        size, layer, tolerance = self._wish
        sizes = self._generation.entry.sizes
        distance = abs(sizes.index(task.size) - sizes.index(size)) if task.size in sizes and size in sizes else 0
        off = abs(task.layer - layer) if task.layer is not None else 0
        order = {"headline": 0, "blocks": 1, "cost": 2, "dag": 4, "table": 4, "tiles": 5}.get(task.view, 3)
        if task.tolerance not in (None, tolerance):  # what a move of their slider shows comes before other layers, the rest last
            soon = off == 0 and task.view in ("headline", "blocks", "cost") and task.size in (None, size)
            return (2.5 if soon else 4, off, distance, abs(task.tolerance - tolerance), order)
        if task.size == size and off == 0 and task.view in ("headline", "blocks", "dag"):  # what a large circuit opens on
            return (0, 0.5 if task.view == self._first else order)
        if task.size is None:
            return (1, order)
        return (2 if off == 0 else 3, off, distance, order)

    def _begin(self, generation: Generation) -> None:
        entry = generation.entry
        with timed_status(self._outbox, f"Preparing {entry.label} …", "frames"):
            num_layers = len(generation.layering.layers)
        with self._change:
            if self._generation is generation:
                self._tasks = generation.all_tasks(num_layers)
        self._on_first(generation)

    def _make(self, generation: Generation, task: Task) -> None:
        edges = sum(nodes.num_edges for layer in generation.layering.layers for nodes in layer.sums)
        sizes = "all block sizes" if task.size is None else f"block size {task.size}"
        with timed_status(self._outbox, f"Compiling {edges / 1e6:.3g}M edges at {sizes} …", "frames"):
            scene = generation.scene(task)
            container = pack(scene)
        with self._change:
            if self._closed or self._generation is not generation:
                return
            self._sent += len(container)
        where = {"size": task.size, "layer": task.layer, "tolerance": task.tolerance}
        self._outbox.send("frame", [container], gen=generation.number, view=task.view, **where)

    def _make_part(self, generation: Generation, name: str, wanted: tuple) -> None:
        size, layer, tolerance, wish = wanted
        container = pack(generation.of(tolerance).part(name, size, layer, wish))
        with self._change:
            if self._closed or self._generation is not generation:
                return
        self._outbox.send("frame", [container], gen=generation.number, view="blocks", size=size, layer=layer, tolerance=tolerance, part=name)
