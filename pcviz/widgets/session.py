"""What an explorer is about: its circuits and settings, the messages of its controls, and its two workers."""

from __future__ import annotations

import threading
from dataclasses import asdict, replace

from .bundle import plotly_js
from .circuits import DIGITS, Entry
from .device import DeviceWorker, prepare_digits
from .frames import VIEWS, FrameWorker, Generation, Settings, Task
from .kernel_job import KernelJob
from .learned_job import learned
from .outbox import Outbox
from .packing import pack
from .scenes.training import training_row
from .training_run import STARTS, Row, Training

DEVICES = {"H100-SXM": "H100-SXM (model)", "cpu": "this CPU (model)"}


class Session:
    """Controls arrive in ``receive`` (from the kernel's main thread or a subshell's), news leaves through the outbox."""

    def __init__(self, outbox: Outbox, entries: list[Entry], settings: Settings, block_size: int | None = None, focus: bool = False):
        self._outbox, self._settings, self._focus = outbox, settings, focus
        self._lock = threading.RLock()
        self._entries = {entry.name: entry for entry in entries}
        self._entry = entries[0]
        self._number = 0
        self._generation: Generation | None = None
        self._auto_measure = False
        self._prepared = False
        self.block_size = self._entry.first_size if block_size is None else block_size
        self.layer = self._entry.layer
        self.records: list[dict] = []
        self._frames = FrameWorker(outbox, self._layers_known)
        self._device = DeviceWorker(outbox, self._on_steps, self._send_all_steps, self._on_learned, self._on_measured, self._send_run)
        self._learned: tuple[Training, bytes] | None = None  # the last scene of what a circuit has learned
        self._kernel = KernelJob()
        self._num_layers: dict[str, list[dict]] = {}

    # ---- from the page ----------------------------------------------------------------------------------------------

    def receive(self, message: dict) -> None:
        """One message of the page; whatever goes wrong ends in the status line."""
        try:
            handler = getattr(self, f"_do_{message['kind']}", None)
            if handler is None:
                raise ValueError(f"The page asks for {message['kind']!r}, which this kernel does not know: reload the page.")
            with self._lock:
                if self._generation is not None and message.get("block_size") in self._entry.sizes:
                    self.block_size, self.layer = int(message["block_size"]), int(message["layer"])
                handler(message)
        except Exception as error:  # an exception in a widget callback would vanish in JupyterLab
            self._outbox.error(error)

    def _do_ready(self, _message: dict) -> None:
        if self._outbox.last_status:
            self._outbox.send("status", **self._outbox.last_status)
        self._open(self._entry, self.block_size, self.layer)
        self._send_run()

    def _do_painted(self, _message: dict) -> None:
        """The first picture stands: now the engine may be loaded."""
        entry = self._entries.get(DIGITS)
        if entry is not None and entry.root is None and not self._prepared:
            self._prepared = True
            self._device.submit(lambda: self._prepare(entry))
        else:
            self._outbox.status("Ready.")

    def _do_plotly(self, _message: dict) -> None:
        send_plotly(self._outbox)

    def _do_want(self, _message: dict) -> None:
        self._frames.want(self.block_size, self.layer)

    def _do_commit(self, _message: dict) -> None:
        self._frames.want(self.block_size, self.layer)
        if self._auto_measure and self._entry.can_train:
            self._device.measure(self._entry, self.block_size, self._settings, force=False)

    def _do_set(self, message: dict) -> None:
        name, value = message["name"], message["value"]
        if name == "circuit":
            entry = self._entries[value]
            self._open(entry, entry.first_size, entry.layer)
        elif name == "auto_measure":
            self._auto_measure = bool(value)
            if self._auto_measure and self._entry.can_train:
                self._device.measure(self._entry, self.block_size, self._settings, force=False)
        else:
            try:
                settings = changed_settings(self._settings, name, value)
            except ValueError as error:
                self._send_session(invalid=name)
                self._outbox.error(error)
                return
            self._outbox.status("Ready.", answer=True)
            if settings == self._settings:
                self._send_session()
                return
            self._settings = settings
            self._open(self._entry, self.block_size, self.layer)

    def _do_train(self, _message: dict) -> None:
        self._check_trainable()
        self._device.train(self._entry, self.block_size, self._settings)
        self._outbox.status("Training starts …", answer=True)

    def _do_start_over(self, message: dict) -> None:
        self._check_trainable()
        size, start = self.block_size, _start(message)
        self._device.train(self._entry, size, self._settings, lambda training: training.start_over(size, start))
        self._outbox.status(f"A new run starts, from {start} parameters …", answer=True)

    def _do_compare(self, message: dict) -> None:
        """Some epochs at each block size, the fastest sizes first."""
        self._check_trainable()
        sizes, start, epochs = list(reversed(self._entry.sizes)), _start(message), max(1, int(message["epochs"]))
        self._device.train(self._entry, sizes[0], self._settings, lambda training: training.compare(sizes, start, epochs))
        self._outbox.status(f"{epochs} epochs at each block size, from {start} parameters and with the same seed …", answer=True)

    def _do_pace(self, message: dict) -> None:
        self._device.pace(max(0.0, float(message["seconds"])))

    def _do_pause(self, _message: dict) -> None:
        self._device.pause()

    def _do_resume(self, _message: dict) -> None:
        self._device.resume()

    def _do_stop(self, _message: dict) -> None:
        self._outbox.status("Training stops after this mini-batch.", answer=True)
        self._device.stop()

    def _do_use_for_training(self, _message: dict) -> None:
        self._device.use_for_training(self.block_size)

    def _do_measure(self, message: dict) -> None:
        self._check_trainable()
        self._device.measure(self._entry, self.block_size, self._settings, force=bool(message.get("force")))

    def _do_kernel(self, wish: dict) -> None:
        """The steps of one program, for the Kernel view."""
        entry, settings, generation = self._entry, self._settings, self._generation
        if entry.x is None:
            return
        size, layer = self.block_size, self.layer

        def work() -> None:
            scene = self._kernel.scene(entry, settings, generation.report(size), size, layer, wish)
            self._outbox.send("frame", [pack(scene)], gen=generation.number, view="kernel", size=size, layer=layer)

        self._device.submit(work)

    def _do_cancel(self, _message: dict) -> None:
        self._device.cancelled.set()

    def _check_trainable(self) -> None:
        if not self._entry.can_train:
            raise ValueError(self._entry.why_not or "This circuit has no data.")

    # ---- generations ------------------------------------------------------------------------------------------------

    def _open(self, entry: Entry, block_size: int, layer: int) -> None:
        """Show a circuit under the present settings; the page keeps its last picture until the new one is there."""
        if entry.root is None:
            raise ValueError(entry.why_not)
        self._entry = entry
        self.block_size = block_size if block_size in entry.sizes else entry.sizes[-1]
        self.layer = layer
        self._number += 1
        self._generation = Generation(self._number, entry, self._settings)
        self._frames.show(self._generation, self.block_size, self.layer)
        self._send_all_steps()

    def _layers_known(self, generation: Generation) -> None:
        with self._lock:
            if generation is self._generation:
                self.layer = min(self.layer, len(generation.layering.layers))
                self._send_session()

    def _send_session(self, invalid: str = "") -> None:
        now = {"block_size": self.block_size, "layer": self.layer, "auto_measure": self._auto_measure, "focus": self._focus, "invalid": invalid}
        self._outbox.send("session", **describe(self._entry, self._generation, self._entries), **now)

    # ---- from the workers -------------------------------------------------------------------------------------------

    def _prepare(self, entry: Entry) -> None:
        self._device.cancelled.clear()
        done = prepare_digits(entry, self._outbox, self._device.cancelled)
        if not done:
            entry.label, entry.why_not = "Digits: PD (cancelled)", "The digits circuit was cancelled: run the cell again."
        with self._lock:
            self._send_session()
        text = "The digits circuit is ready: choose it in the circuit menu to train and measure."
        text = text if done else "Preparing the digits circuit was cancelled."
        self._outbox.status(text, answer=True)

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
        self._learned = training, pack(learned(training.circuit, training.entry, row))
        if training.entry is self._entry:
            self._outbox.send("learned", [self._learned[1]])

    def _on_measured(self, entry: Entry, measurement, settings: Settings) -> None:
        entry.measured.append((measurement, settings.padding_tolerance))
        self.records.append({"kind": "measurement", "circuit": entry.name, **asdict(measurement)})
        if entry is self._entry and settings == self._settings:
            self._frames.refresh(Task("cost", None, None), *(Task(view, measurement.block_size, None) for view in ("headline", "table")))

    def _send_run(self) -> None:
        device = self._device
        training = device.training
        self._outbox.send(
            "run",
            state=device.state,
            block_size=None if training is None else training.block_size,
            circuit=None if training is None else training.entry.name,
            measuring=device.measuring,
        )

    def close(self) -> None:
        self._outbox.close()
        self._device.close()
        self._frames.close()
        self._generation = None
        self._entries.clear()


def describe(entry: Entry, generation: Generation, entries: dict[str, Entry]) -> dict:
    """What the page is told of a generation: circuit, sizes, layers, settings, and what can be done with them."""
    settings = generation.settings
    return {
        "gen": generation.number,
        "circuit": entry.name,
        "circuits": [{"value": each.name, "label": each.label, "disabled": each.root is None} for each in entries.values()],
        "sizes": list(entry.sizes),
        "layers": [layer.index for layer in generation.layering.layers],
        "views": VIEWS,
        "needs": ["headline", "blocks"],
        "batch_size": settings.batch_size,
        "padding_tolerance": settings.padding_tolerance,
        "device": settings.device,
        "devices": [{"value": value, "label": label} for value, label in DEVICES.items()],
        "can_train": entry.can_train,
        "can_measure": entry.can_train,
        "why_not": entry.why_not,
        "hint": entry.hint,
    }


def _start(message: dict) -> str:
    if message.get("start") not in STARTS:
        raise ValueError(f"A run starts from {' or '.join(STARTS)} parameters, got {message.get('start')!r}.")
    return message["start"]


def send_plotly(outbox: Outbox) -> None:
    """Compress and send plotly.min.js without holding up other messages."""

    def work() -> None:
        try:
            outbox.send("plotly", [plotly_js()])
        except OSError as error:
            outbox.error(f"plotly's JavaScript could not be read from its package: {error}")

    threading.Thread(target=work, name="pcviz-plotly", daemon=True).start()


def changed_settings(settings: Settings, name: str, value) -> Settings:
    """``settings`` with one control changed; ValueError says what the control takes."""
    if name == "batch_size":
        try:
            number = int(str(value).replace(",", ""))
        except ValueError:
            number = 0
        if not 1 <= number <= 1 << 20:
            raise ValueError(f"Batch size must be a whole number from 1 to 1,048,576, got {value!r}; {settings.batch_size} stays.")
        return replace(settings, batch_size=number)
    if name == "padding_tolerance":
        try:
            share = float(value)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share < float("inf"):
            raise ValueError(f"Tolerance must be a share of 0 or more, such as 0.25, got {value!r}; {settings.padding_tolerance} stays.")
        return replace(settings, padding_tolerance=share)
    if name == "device":
        if value not in DEVICES:
            raise ValueError(f"Device must be one of {', '.join(DEVICES)}, got {value!r}.")
        return replace(settings, device=value)
    raise ValueError(f"There is no setting called {name!r}.")

