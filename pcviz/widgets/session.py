"""What an explorer is about: its circuits and settings, the messages of its controls, and its two workers."""

from __future__ import annotations

import threading
from dataclasses import asdict, replace

from .bundle import send_plotly
from .circuits import DIGITS, Entry
from .compared_job import prepared, send_compared
from .device import DeviceWorker, prepare_digits
from .flows_job import FlowsJob
from .frames import FrameWorker, Generation, Settings, Task
from .kernel_job import KernelJob
from .learned_job import learned
from .outbox import Outbox
from .packing import pack
from .place import entry_named, placed
from .run_controls import RunControls
from .scenes.blocks_window import scene_flows
from .scenes.training import training_row
from .settings import changed_settings, describe
from .state import SETTINGS, VERSION, checked_state, first_view, page_state, scene_for_page, scene_state
from .teaching import SCENES, Scene, scene_named
from .training_run import Row, Training

UNASKED = ("ready", "painted", "plotly", "want", "part", "kernel", "dag", "compared", "state")  # messages of the page that answer no act of a person


class Session:
    """Controls arrive in ``receive`` (from the kernel's main thread or a subshell's), news leaves through the outbox."""

    def __init__(self, outbox: Outbox, entries: list[Entry], settings: Settings, block_size: int | None = None, focus: bool = False):
        self._outbox, self._settings, self._focus = outbox, settings, focus
        self._outside = settings  # those of before a scene
        self._lock = threading.RLock()
        self._entries = {entry.name: entry for entry in entries}
        self._entry = entries[0]
        self._number = 0
        self._generation: Generation | None = None
        self._prepared = False
        self.block_size = self._entry.first_size if block_size is None else block_size
        self.layer = self._entry.layer
        self.records: list[dict] = []
        self._frames = FrameWorker(outbox, self._layers_known)
        self._device = DeviceWorker(outbox, self._on_steps, self._send_all_steps, self._on_learned, self._on_measured, self._send_run)
        self._controls = RunControls(outbox, self._device, lambda: self.shown)
        self._learned: tuple[Training, bytes] | None = None  # the last scene of what a circuit has learned
        self._kernel = KernelJob()
        self._flows, self._dag_flows = FlowsJob(), FlowsJob()
        self._scene: Scene | None = None
        self._page = page_state({})
        self._jump = 0  # the page goes to the session's place, instead of keeping its own, when this changes
        self._awaited: dict | None = None  # a state of the digits circuit, until that is prepared
        self.arguments: dict[str, str] = {}  # of the call of explore: names of the circuit and its data, for "copy as code"

    # ---- from the page ----------------------------------------------------------------------------------------------

    def receive(self, message: dict) -> None:
        """One message of the page; whatever goes wrong ends in the status line."""
        try:
            handler = getattr(self, f"_do_{message['kind']}", None) or getattr(self._controls, f"do_{message['kind']}", None)
            if handler is None:
                raise ValueError(f"The page asks for {message['kind']!r}, which this kernel does not know: reload the page.")
            if message["kind"] not in UNASKED:
                self._outbox.acted()
            with self._lock:
                if self._generation is not None and message.get("block_size") in self._entry.sizes:
                    self.block_size, self.layer = int(message["block_size"]), int(message["layer"])
                    self._adopt_tolerance(message.get("tolerance"))
                handler(message)
        except Exception as error:  # an exception in a widget callback would vanish in JupyterLab
            self._outbox.error(error)

    def _adopt_tolerance(self, tolerance) -> None:
        """The page moves its slider of tolerances without a word; the next message says where it stands."""
        if tolerance in self._generation.tolerances:
            self._settings = replace(self._settings, padding_tolerance=float(tolerance))

    def _do_ready(self, _message: dict) -> None:
        self._outbox.replay()
        self._open(self._entry, self.block_size, self.layer)
        self._send_run()

    def _do_painted(self, _message: dict) -> None:
        """The first picture stands: now the engine may be loaded."""
        entry = self._entries.get(DIGITS)
        if entry is not None and entry.root is None and not self._prepared:
            self._prepared = True
            self._device.submit(lambda: self._prepare(entry))

    def _do_plotly(self, _message: dict) -> None:
        send_plotly(self._outbox)

    def _do_want(self, _message: dict) -> None:
        self._frames.want(self.block_size, self.layer, self._settings.padding_tolerance)

    def _do_commit(self, _message: dict) -> None:
        self._do_want(_message)
        self._controls.measure_unasked()

    def _do_set(self, message: dict) -> None:
        name, value = message["name"], message["value"]
        if name == "circuit":
            entry = entry_named(self._entries, value)
            self._leave_scene()
            self._open(entry, entry.first_size, entry.layer)
        elif name == "auto_measure":
            self._controls.auto_measure = bool(value)
            self._send_session()  # by which the page tells of its moves
            self._controls.measure_unasked()
        else:
            try:
                settings = changed_settings(self._settings, name, value)
            except ValueError as error:
                self._send_session(invalid=name)
                self._outbox.error(error)
                return
            if settings == self._settings:
                self._send_session()
                return
            self._settings = settings
            self._open(self._entry, self.block_size, self.layer)

    def _do_kernel(self, wish: dict) -> None:
        """The steps of one program, for the Kernel view."""
        entry, settings, generation = self._entry, self._settings, self._generation
        if entry.x is None:
            return
        size, layer, tolerance = self.block_size, self.layer, settings.padding_tolerance

        def work() -> None:
            scene = self._kernel.scene(entry, settings, generation.of(tolerance).report(size), size, layer, wish)
            self._outbox.send("frame", [pack(scene)], gen=generation.number, view="kernel", size=size, layer=layer, tolerance=tolerance)

        self._device.submit(work)

    def _do_state(self, message: dict) -> None:
        """The person changed what the page alone knows; block size and layer come with every message."""
        self._page = page_state(message)

    def _do_scene(self, message: dict) -> None:
        if message["name"] is None:
            self._leave_scene()
            self._open(self._entry, self.block_size, self.layer)
        else:
            self._restore(scene_state(scene_named(message["name"])) | {"presenter": bool(message.get("presenter"))})

    def _leave_scene(self) -> None:
        """No scene any more, and the settings of before it: a scene's batch size or tolerance would puzzle beside another circuit."""
        if self._scene is not None:
            self._scene, self._settings = None, self._outside

    def _do_save_page(self, _message: dict) -> None:
        entry, settings, size, layer = self._entry, self._settings, self.block_size, self.layer
        training = self._device.training
        rows = list(training.rows) if training is not None and training.entry is entry else []
        steps = [training_row(row.step, row.run, row.start) for row in rows]

        from .export import send_page  # the page of a session needs no session

        self._outbox.going("Saving this view as a page …", of="device")
        scene, stages = self._scene, self._page["stages"]
        each = [settings, *(other for other in (scene.all_settings if scene else ()) if other.padding_tolerance != settings.padding_tolerance)][:3]
        self._device.submit(lambda: send_page(self._outbox, entry, each, size, steps, layer, scene, stages))

    def _do_restore(self, message: dict) -> None:
        self._restore(checked_state(message["state"]))

    def _do_dag(self, message: dict) -> None:
        """A part of the circuit for the DAG view, or what a search there finds; with flows when they are asked for."""
        entry, settings, generation, size = self._entry, self._settings, self._generation, self.block_size

        def work() -> None:
            try:
                answer = generation.of(settings.padding_tolerance).dag.answer(message, size, flows_of)
            except ValueError as error:
                answer = {"error": str(error)}
            except Exception as error:  # the page waits for an answer
                answer = {"error": f"This could not be drawn: {type(error).__name__}: {error}"}
            self._outbox.send("answer", [pack(answer)], ask=message["ask"])

        def flows_of(sample: int | None):
            if entry.x is None:
                raise ValueError("Flows are those of data, and this circuit has none: pcv.explore(root, x).")
            self._device.write_back(entry)
            return self._dag_flows.nodes(entry, settings, generation.layering.numbering, sample)

        if message.get("flow") is None:
            work()
        else:
            self._device.submit(work)

    def _do_compared(self, message: dict) -> None:
        """The Compare view's scene of a circuit under settings that are not shown now."""

        def scene() -> dict:
            settings = Settings(**{name: message[name] for name in SETTINGS})
            with self._lock:
                entry = entry_named(self._entries, message["circuit"])
            return Generation(0, prepared(entry), settings).scene(Task("compare", None, None))

        send_compared(self._outbox, scene, message["ask"])

    def _do_part(self, wish: dict) -> None:
        """Part of the Blocks view: a finer picture, and the flows of its cells where the circuit has data."""
        self._frames.want_part(wish["part"], self.block_size, self.layer, self._settings.padding_tolerance, wish)
        if wish.get("cells") and self._entry.x is not None:
            self._send_flows(wish)

    def _send_flows(self, wish: dict) -> None:
        entry, settings, generation, size, layer = self._entry, self._settings, self._generation, self.block_size, self.layer
        where = {"size": size, "layer": layer, "tolerance": settings.padding_tolerance}

        def work() -> None:
            self._device.write_back(entry)
            flows_of, samples = self._flows.of(entry, settings)
            blocks = self._flows.blocks(generation.of(settings.padding_tolerance), size, layer)
            scene = scene_flows(blocks, wish["packed"], wish["window"], flows_of, samples)
            self._outbox.send("frame", [pack(scene)], gen=generation.number, view="blocks", part="flows", **where)

        self._device.submit(work)

    # ---- states and scenes ------------------------------------------------------------------------------------------

    @property
    def state(self) -> dict:
        """What is shown, as a dictionary for JSON; ``state.KEYS`` names its parts."""
        with self._lock:
            place = {"circuit": self._entry.name, "scene": self._scene and self._scene.name, "block_size": self.block_size, "layer": self.layer}
            return {"version": VERSION, **place, **asdict(self._settings), **self._page}

    @property
    def shown(self) -> tuple[Entry, Settings, int]:
        return self._entry, self._settings, self.block_size

    def place(self, state: dict) -> None:
        """Make a checked state the present one; what it does not say stays as it is. Nothing is sent. ValueError: nothing changes."""
        place = placed(state, self._entries, self._entry, self._settings, self.block_size)
        if place is None:
            self._awaited = state
            return
        if self._scene is None:
            self._outside = self._settings
        self._entry, self._settings, self._scene, self._page, self.block_size, self.layer = place
        self._entries.setdefault(place.entry.name, place.entry)
        self._jump += 1

    def _restore(self, state: dict) -> None:
        self.place(state)
        if self._awaited is not state:
            self._open(self._entry, self.block_size, self.layer)

    # ---- generations ------------------------------------------------------------------------------------------------

    def _open(self, entry: Entry, block_size: int, layer: int) -> None:
        """Show a circuit under the present settings; the page keeps its last picture until the new one is there."""
        if entry.root is None:
            raise ValueError(entry.why_not)
        self._entry = self._device.shown = entry
        self.block_size = block_size if block_size in entry.sizes else entry.sizes[-1]
        self.layer = layer
        self._number += 1
        self._generation = Generation(self._number, entry, self._settings)
        self._frames.show(self._generation, self.block_size, self.layer, first_view(self._page))
        self._send_all_steps()

    def _layers_known(self, generation: Generation) -> None:
        with self._lock:
            if generation is self._generation:
                self.layer = min(self.layer, len(generation.layering.layers))
                self._send_session()

    def _send_session(self, invalid: str = "") -> None:
        now = {"block_size": self.block_size, "layer": self.layer, "focus": self._focus, "invalid": invalid}
        now |= {"auto_measure": self._controls.auto_measure, "jump": self._jump, "can_save": True}
        now |= {"page": self._page, "scene": scene_for_page(self._scene), "arguments": self.arguments}
        now["needs"] = ["headline", first_view(self._page)]
        now["scenes"] = [{"name": scene.name, "title": scene.title} for scene in SCENES]
        self._outbox.send("session", **(describe(self._entry, self._generation, self._entries) | now))

    # ---- from the workers -------------------------------------------------------------------------------------------

    def _prepare(self, entry: Entry) -> None:
        self._device.cancelled.clear()
        try:
            done = prepare_digits(entry, self._outbox, self._device.cancelled)
        except Exception:  # the worker says which
            entry.label, entry.why_not = "Digits: PD (failed)", "Preparing the digits circuit failed: run the cell again."
            raise
        finally:
            entry.coming = False
        if not done:
            entry.label, entry.why_not = "Digits: PD (cancelled)", "The digits circuit was cancelled: run the cell again."
        with self._lock:
            self._send_session()
            if done and self._awaited is not None:
                awaited, self._awaited = self._awaited, None
                self._restore(awaited)
        text = "The digits circuit is ready: choose it in the circuit menu to train and measure."
        text = text if done else "Preparing the digits circuit was cancelled."
        self._outbox.message(text, of="device")

    def _on_steps(self, training: Training, rows: list[Row]) -> None:
        self.records.extend({"kind": "step", "circuit": training.entry.name, "run": row.run, **asdict(row.step)} for row in rows)
        if training.entry is self._entry:
            self._send_steps(rows, len(training.rows) - len(rows))

    def _send_all_steps(self) -> None:
        training = self._device.training
        mine = training is not None and training.entry is self._entry
        self._send_steps(list(training.rows) if mine else [], 0)
        known = self._learned if mine and self._learned is not None and self._learned[0] is training else None
        self._outbox.send("learned", [] if known is None else [known[1]])

    def _send_steps(self, rows: list[Row], first: int) -> None:
        """``first``: the place of these rows among all; the page keeps those before it."""
        self._outbox.send("steps", rows=[training_row(row.step, row.run, row.start) for row in rows], first=first)

    def _on_learned(self, training: Training, row: Row) -> None:
        self._learned = training, pack(learned(training, row))
        if training.entry is self._entry:
            self._outbox.send("learned", [self._learned[1]])

    def _on_measured(self, entry: Entry, measurement, settings: Settings) -> None:
        entry.measured.append((measurement, settings.padding_tolerance))
        self.records.append({"kind": "measurement", "circuit": entry.name, **asdict(measurement)})
        tolerance = settings.padding_tolerance
        if entry is self._entry and settings == replace(self._settings, padding_tolerance=tolerance) and tolerance in self._generation.tolerances:
            sized = (Task(view, measurement.block_size, None, tolerance) for view in ("headline", "table", "dag"))
            self._frames.refresh(Task("cost", None, None, tolerance), Task("compare", None, None, tolerance), *sized)

    def _send_run(self) -> None:
        device, training = self._device, self._device.training
        run = {"block_size": None, "circuit": None, "comparing": False}
        if training is not None:
            run = {"block_size": training.block_size, "circuit": training.entry.name, "comparing": training.comparing}
        self._outbox.send("run", state=device.state, measuring=device.measuring, **run)

    def close(self) -> None:
        self._outbox.close()
        self._device.close()
        self._frames.close()
        self._generation = None
        for entry in self._entries.values():
            entry.forget()
        self._entries.clear()
