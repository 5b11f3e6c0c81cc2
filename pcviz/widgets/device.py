"""One thread owns the device: it prepares the default circuit, trains, and measures, one thing at a time.

Controls only set wishes (``train``, ``pause``, ``stop``, ``measure`` ...); the thread acts on them between mini-batches, so
Stop takes as long as one mini-batch. torch is imported here, in the thread, and nowhere else under widgets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from ..datasets import digits
from ..ir.distributions import Categorical
from ..structures.pd import PD
from ..traffic_text import milliseconds, milliseconds_between
from .circuits import Entry, default_layer, legal_sizes
from .frames import Settings
from .outbox import Outbox
from .training_run import Row, Training, engine

FLUSH_SECONDS = 0.1  # records are sent at most ten times a second
TELL_SECONDS = 1.0
LOOK_SECONDS = 1.0
PREPARE_BATCH = 512
LONG_SECONDS = 2.0  # a measurement predicted to take longer needs its button
MEASURE_SECONDS = 0.5
BREATHER = 0.05  # share of a mini-batch's time left to the page on a machine with few cores


class DeviceWorker:
    """The thread. ``on_steps(training, rows)``, ``on_restart``, ``on_learned(training, row)``, ``on_measured(entry, measurement,
    settings)`` and ``on_run`` are called from it; rows that came before ``on_restart`` are to be read from ``training.rows``."""

    def __init__(self, outbox: Outbox, on_steps: Callable, on_restart: Callable, on_learned: Callable, on_measured: Callable, on_run: Callable):
        self._outbox, self._on_steps, self._on_restart, self._on_learned = outbox, on_steps, on_restart, on_learned
        self._on_measured, self._on_run = on_measured, on_run
        self._change = threading.Condition()
        self._jobs: list[Callable[[], None]] = []
        self._measurement: tuple | None = None
        self._closed = False
        self._order: Callable[[Training], None] | None = None  # what training does before its next mini-batch
        self._seconds_each = 0.0  # a mini-batch takes at least
        self._look_again = 0.0  # when what the circuit has learned is shown again
        self._predicted: dict[tuple, float] = {}
        self.training: Training | None = None
        self.shown: Entry | None = None  # the circuit that the page shows, which may be another than the one that trains
        self.state = "idle"
        self.measuring = False
        self.cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- wishes, from any thread ------------------------------------------------------------------------------------

    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job`` in the worker's thread when it is free."""
        with self._change:
            self._jobs.append(job)
            self._wake()

    def train(self, entry: Entry, block_size: int, settings, order: Callable[[Training], None] | None = None) -> None:
        """Go on, or begin; ``order``: something else than to go on at this block size, such as to start over."""
        with self._change:
            if self.training is None or self.training.entry is not entry:
                if self.training is not None:
                    self._jobs.append(self.training.finish)  # the other circuit keeps what it has learned
                self.training = Training(entry, block_size, settings)
            self.training.wished = settings
            if order is not None or self.state == "idle":
                self._order = order or (lambda training: training.use(block_size))
            self._set_state("training")
            self._wake()

    def pace(self, seconds_each: float) -> None:
        with self._change:
            self._seconds_each = seconds_each
            self._change.notify_all()

    def pause(self) -> None:
        self._only_when("training", "paused")

    def resume(self) -> None:
        self._only_when("paused", "training")

    def stop(self) -> None:
        with self._change:
            if self.state == "paused":
                self._jobs.append(partial(self._end, self.training))
            if self.state in ("training", "paused"):
                self._set_state("idle")
                self._wake()

    def use_for_training(self, block_size: int) -> None:
        with self._change:
            self._order = lambda training: training.use(block_size)
            if self.state == "paused":
                self._jobs.append(self._use_while_paused)
            self._wake()

    def measure(self, entry: Entry, block_size: int, settings, *, force: bool) -> None:
        """Queue a measurement; at most one waits, the last wins. Without ``force`` a long one only offers its button."""
        predicted = self.predicted_seconds(entry, block_size, settings)
        if not force and predicted is not None and predicted > LONG_SECONDS:
            self._outbox.message(f"Block size {block_size} takes about {predicted:.0f} s to measure: press Measure.")
            return
        with self._change:
            self._measurement = (entry, block_size, settings, force)
            self._wake()

    def predicted_seconds(self, entry: Entry, block_size: int, settings) -> float | None:
        """Time that a measurement will take, known once it was predicted or made."""
        return self._predicted.get((entry.name, block_size, settings.batch_size))

    def close(self) -> None:
        with self._change:
            self._closed = True
            self.cancelled.set()
            self._jobs.clear()
            self._measurement = None
            self._change.notify_all()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
        self.training = None

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _only_when(self, state: str, then: str) -> None:
        with self._change:
            if self.state == state:
                self._set_state(then)
                self._wake()

    def _set_state(self, state: str) -> None:
        self.state = state
        self._on_run()

    def _wake(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="pcviz-device", daemon=True)
            self._thread.start()
        self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                while not (self._closed or self._jobs or self._measurement or self.state == "training"):
                    self._change.wait()
                if self._closed:
                    break
                job = self._jobs.pop(0) if self._jobs else None
                measurement, self._measurement = (self._measurement, None) if job is None else (None, self._measurement)
            try:
                if job is not None:
                    job()
                elif measurement is not None:
                    self._measure(*measurement)
                else:
                    self._train()
            except Exception as error:  # shown to the person; the last good state stays
                with self._change:
                    if job is None and measurement is None:
                        self._set_state("idle")
                self._outbox.error(error, of="device")
        if self.training is not None and self.state != "idle":
            self.training.finish()  # closed while it trained: the circuit keeps what it has learned

    def _interrupted(self) -> bool:
        return self._closed or self.state != "training" or self._measurement is not None or bool(self._jobs) or self._order is not None

    def _train(self) -> None:
        training = self.training
        if self._order is not None:
            self._obey(training)
        self._on_run()
        fresh: list[Row] = []
        flushed = told = time.monotonic()
        while not self._interrupted():
            started = time.monotonic()
            row = training.step()
            now = time.monotonic()
            if row is None:
                self._on_steps(training, fresh)
                fresh = []
                self._run_is_over(training)
                continue
            fresh.append(row)
            if now - flushed >= FLUSH_SECONDS or len(training.rows) < 3:
                self._on_steps(training, fresh)
                fresh, flushed = [], now
            if now - told >= TELL_SECONDS:
                told = now
                self._outbox.going(progress_text(training, row, self.shown), of="device", quiet=True)
            self._look(training, row)
            self._rest(started, now)
        if fresh:
            self._on_steps(training, fresh)
        if self.state != "training" and training.rows and not self._closed:
            self._on_learned(training, training.rows[-1])
        if self.state == "idle" and not self._closed:
            self._end(training)
        elif self.state == "paused":
            self._outbox.message("Training paused.", of="device")

    def _end(self, training: Training) -> None:
        text = stopped_text(training)
        training.finish()
        self._outbox.message(text, of="device")

    def _obey(self, training: Training) -> None:
        with self._change:
            order, self._order = self._order, None
        before = len(training.rows)
        order(training)
        self._look_again = 0.0
        if len(training.rows) < before:
            self._on_restart()

    def _use_while_paused(self) -> None:
        if self._order is not None:
            self._obey(self.training)
        self._on_run()
        self._outbox.message(f"Training is paused and will go on at block size {self.training.block_size}.", of="device")

    def _run_is_over(self, training: Training) -> None:
        """Idle, or the next block size of a comparison."""
        with self._change:
            if not training.waiting:
                return self._set_state("idle")
            self._order = self._order or Training.compare_next
        self._obey(training)
        self._on_run()

    def _look(self, training: Training, row: Row) -> None:
        """What the circuit has learned, at most once a second and in at most a tenth of the time."""
        started = time.monotonic()
        if started < self._look_again or self._interrupted():
            return
        self._on_learned(training, row)
        now = time.monotonic()
        self._look_again = now + max(LOOK_SECONDS, 9 * (now - started))

    def _rest(self, started: float, ended: float) -> None:
        """A breather for the page; at a slower pace until the next mini-batch is due, or something else is wished."""
        time.sleep(BREATHER * (ended - started))
        pace = self._seconds_each
        with self._change:
            left = started + pace - time.monotonic()
            if left > 0:
                self._change.wait_for(lambda: self._interrupted() or self._seconds_each != pace, left)

    def _measure(self, entry: Entry, block_size: int, settings, force: bool) -> None:
        was_training = self.state == "training"
        self.measuring = True
        self.cancelled.clear()
        self._on_run()
        waits = "; training waits" if was_training else ""
        self._outbox.going(f"Measuring block size {block_size}{waits} …", of="device", cancel=True)
        started = time.monotonic()
        try:
            result = self._measured(entry, block_size, settings, force, lambda: self._unwanted(was_training))
        finally:
            self.measuring = False
        if result is not None:
            seconds = self._predicted[(entry.name, block_size, settings.batch_size)] = time.monotonic() - started
            self._on_measured(entry, result, settings)
            waited = f"; training paused {seconds:.1f} s to measure" if was_training else ""
            spread = f"p20 to p80: {milliseconds_between(result.p20_ms, result.p80_ms)}, {result.repeats} runs, result checked"
            spread = f"{result.caution}; {result.repeats} runs, result checked" if result.busy else spread
            self._outbox.message(f"Block size {block_size}: {milliseconds(result.median_ms)} forward on this CPU ({spread}){waited}.", of="device")
        self._on_run()

    def _unwanted(self, was_training: bool) -> bool:
        """Whether a running measurement is to be dropped: Cancel, close, or Stop while training waited for it."""
        return self._closed or self.cancelled.is_set() or (was_training and self.state == "idle")

    def write_back(self, entry: Entry) -> None:
        """The circuit of the entry gets what training has learned so far; in this thread."""
        if self.training is not None and self.training.entry is entry and self.training.circuit is not None:
            self.training.circuit.write_back()

    def _measured(self, entry: Entry, block_size: int, settings, force: bool, unwanted: Callable[[], bool]):
        """The Measurement; None, and the reason in the status line, when it was dropped or is too long to make unasked."""
        from ..benchmark import LAUNCH_PASSES, measure, predict_seconds

        self.write_back(entry)
        circuit, x = engine(entry, block_size, settings), entry.x[: settings.batch_size]
        seconds = self._predicted[(entry.name, block_size, settings.batch_size)] = predict_seconds(circuit, x, repeats=10 + LAUNCH_PASSES)
        if seconds > LONG_SECONDS:
            if not force:
                self._outbox.message(f"Block size {block_size} takes about {seconds:.0f} s to measure: press Measure.", of="device")
                return None
            self._outbox.going(f"Measuring block size {block_size}, about {seconds:.0f} s …", of="device", cancel=True)
        result = measure(circuit, x, max_seconds=MEASURE_SECONDS, by_launch=True, stop=unwanted)
        if result is None and not self._closed:
            self._outbox.message(f"Measuring block size {block_size} was cancelled; nothing is reported.", of="device")
        return result


def _batches(count: int) -> str:
    return f"{count:,} mini-batch{'es' if count != 1 else ''}"


def stopped_text(training: Training) -> str:
    if training.comparing:
        return "The comparison is over; the circuit has the parameters that it had before."
    count = sum(row.run == training.rows[-1].run for row in training.rows) if training.rows else 0
    return f"Training stopped after {_batches(count)} of this run; the circuit keeps its parameters."


def progress_text(training: Training, row: Row, shown: Entry | None = None) -> str:
    left = f" (block sizes to come: {', '.join(map(str, training.waiting))})" if training.waiting else ""
    which = f" of {training.entry.label}" if shown is not None and shown is not training.entry else ""
    return f"Training{which} at block size {training.block_size}: epoch {row.step.epoch}, {row.step.train_bpd:.3f} bits per dimension{left}."


def prepare_digits(entry: Entry, outbox: Outbox, cancelled: threading.Event, *, num_latents: int = 32, epochs: int = 8, keep: float = 0.4) -> bool:
    """Build, train and prune the default circuit; False when cancelled. Runs in the worker's thread."""
    def tell(text: str, share: float) -> None:
        outbox.going(f"Preparing the digits circuit: {text}", of="device", progress=share, cancel=True, quiet=0 < share)

    tell("loading the engine", 0.0)
    from ..flow_pruning import prune
    from ..training import fit

    x, x_test = digits("train"), digits("test")
    root = PD((8, 8), num_latents, split_intervals=2, dist=Categorical(num_cats=17), seed=0)
    circuit = engine(Entry("", "", root=root), num_latents, Settings())
    for step in fit(circuit, x, epochs=epochs, batch_size=PREPARE_BATCH, seed=0):
        if cancelled.is_set():
            return False
        tell(f"epoch {step.epoch} of {epochs}, {step.train_bpd:.2f} bits per dimension", 0.1 + 0.7 * step.epoch / epochs)
        time.sleep(0.02)
    tell("pruning by flow", 0.85)
    pruned = prune(circuit, keep=keep, x=x)
    entry.sizes, entry.layer = legal_sizes(pruned), default_layer(pruned)
    entry.x, entry.x_test, entry.image = x, x_test, (8, 8)
    entry.label = f"Digits: PD, K={num_latents}, keeps {round(100 * keep)}%"
    entry.why_not = ""
    entry.root = pruned
    return True
