"""One thread owns the device: it prepares the default circuit, trains, and measures, one thing at a time.

Controls only set wishes (``train``, ``pause``, ``stop``, ``measure`` ...); the thread acts on them between mini-batches, so
Stop takes as long as one mini-batch. torch is imported here, in the thread, and nowhere else under widgets.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from ..datasets import digits
from ..ir.distributions import Categorical
from ..structures.pd import PD
from .circuits import Entry, default_layer, legal_sizes
from .frames import Settings
from .outbox import Outbox

FLUSH_SECONDS = 0.1  # records are sent at most ten times a second
TELL_SECONDS = 1.0
EPOCHS = 200
PREPARE_BATCH = 512
TRAIN_BATCH = 256  # at most: a record a mini-batch, several a second on a laptop
LONG_SECONDS = 2.0  # a measurement predicted to take longer needs its button
MEASURE_SECONDS = 0.5
BREATHER = 0.05  # share of a mini-batch's time left to the page on a machine with few cores


class Training:
    """A run on one circuit: the engine at its block size and the records so far."""

    def __init__(self, entry: Entry, block_size: int, settings):
        self.entry, self.block_size, self.settings = entry, block_size, settings
        self.circuit = None
        self.records: list = []  # EMSteps, counted from the start of the run
        self._state = None  # of the run, when fit starts anew: at another block size, or after a stop
        self._steps = None

    def step(self):
        """One mini-batch; None when the last epoch is over."""
        from ..training import fit

        if self.circuit is None:
            self.circuit = engine(self.entry, self.block_size, self.settings)
        if self._steps is None:
            epochs = EPOCHS + (self.records[-1].epoch if self.records else 0)
            batch_size = min(self.settings.batch_size, TRAIN_BATCH)
            x, x_test = self.entry.x, self.entry.x_test
            self._steps = fit(self.circuit, x, epochs=epochs, batch_size=batch_size, x_test=x_test, state=self._state)
        step = next(self._steps, None)
        self._state = self._steps.state
        if step is not None:
            self.records.append(step)
        return step

    def use(self, block_size: int) -> None:
        """Go on at another block size with the same parameters."""
        self.halt()
        self.block_size = block_size
        if self.circuit is not None:
            self.circuit = self.circuit.recompile(block_size=block_size)

    def halt(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        if self.circuit is not None:
            self.circuit.write_back()


def engine(entry: Entry, block_size: int, settings):
    """A TensorCircuit of the entry's circuit, with the parameters of its node vectors; for the worker's thread.

    It computes with half of the cores: the page, the server and the kernel's other threads run on the same machine, and
    OpenMP threads that wait for a core that someone else has make every operation several times slower.
    """
    import torch

    from ..circuit import TensorCircuit
    from ..compiler.compile import compile as compile_circuit

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    return TensorCircuit(compile_circuit(entry.root, block_size=block_size, padding_tolerance=settings.padding_tolerance))


class DeviceWorker:
    """The thread. ``on_steps(run, steps)``, ``on_measured(entry, measurement, settings)`` and ``on_run`` are called from it."""

    def __init__(self, outbox: Outbox, on_steps: Callable, on_measured: Callable, on_run: Callable[[], None]):
        self._outbox, self._on_steps, self._on_measured, self._on_run = outbox, on_steps, on_measured, on_run
        self._change = threading.Condition()
        self._jobs: list[Callable[[], None]] = []
        self._measurement: tuple | None = None
        self._closed = False
        self._next_size: int | None = None
        self._predicted: dict[tuple, float] = {}
        self.training: Training | None = None
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

    def train(self, entry: Entry, block_size: int, settings) -> None:
        with self._change:
            if self.training is None or self.training.entry is not entry:
                self.training = Training(entry, block_size, settings)
            elif self.state == "idle":
                self._next_size = block_size
            self._set_state("training")
            self._wake()

    def pause(self) -> None:
        self._only_when("training", "paused")

    def resume(self) -> None:
        self._only_when("paused", "training")

    def stop(self) -> None:
        with self._change:
            if self.state in ("training", "paused"):
                self._set_state("idle")
                self._wake()

    def use_for_training(self, block_size: int) -> None:
        with self._change:
            self._next_size = block_size
            self._wake()

    def measure(self, entry: Entry, block_size: int, settings, *, force: bool) -> None:
        """Queue a measurement; at most one waits, the last wins. Without ``force`` a long one only offers its button."""
        predicted = self.predicted_seconds(entry, block_size, settings)
        if not force and predicted is not None and predicted > LONG_SECONDS:
            self._outbox.status(f"Block size {block_size} takes about {predicted:.0f} s to measure: press Measure.")
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
                    return
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
                self._outbox.error(error)

    def _interrupted(self) -> bool:
        return self._closed or self.state != "training" or self._measurement is not None or bool(self._jobs)

    def _train(self) -> None:
        run = self.training
        if self._next_size is not None:
            run.use(self._next_size)
            self._next_size = None
        self._on_run()
        fresh: list = []
        flushed = told = time.monotonic()
        while not self._interrupted() and self._next_size is None:
            started = time.monotonic()
            step = run.step()
            now = time.monotonic()
            if step is None:
                with self._change:
                    self._set_state("idle")
                break
            fresh.append(step)
            if now - flushed >= FLUSH_SECONDS or len(run.records) < 3:
                self._on_steps(run, fresh)
                fresh, flushed = [], now
            if now - told >= TELL_SECONDS:
                told = now
                self._outbox.status(f"Training at block size {run.block_size}: epoch {step.epoch}, {step.train_bpd:.3f} bits per dimension.")
            time.sleep(BREATHER * (now - started))
        if fresh:
            self._on_steps(run, fresh)
        if self.state == "idle" and not self._closed:
            run.halt()
            self._outbox.status(f"Training stopped after {len(run.records)} mini-batches; the circuit keeps its parameters.", answer=True)
        elif self.state == "paused":
            self._outbox.status("Training paused.", answer=True)

    def _measure(self, entry: Entry, block_size: int, settings, force: bool) -> None:
        was_training = self.state == "training"
        self.measuring = True
        self.cancelled.clear()
        self._on_run()
        waits = "; training waits" if was_training else ""
        self._outbox.status(f"Measuring block size {block_size}{waits} …", cancel=True, answer=True)
        started = time.monotonic()
        try:
            result = self._measured(entry, block_size, settings, force, lambda: self._unwanted(was_training))
        finally:
            self.measuring = False
        if result is not None:
            seconds = self._predicted[(entry.name, block_size, settings.batch_size)] = time.monotonic() - started
            self._on_measured(entry, result, settings)
            waited = f"; training paused {seconds:.1f} s to measure" if was_training else ""
            spread = f"p20 to p80: {result.p20_ms:.3g} to {result.p80_ms:.3g} ms, {result.repeats} runs, result checked"
            self._outbox.status(f"Block size {block_size}: {result.median_ms:.3g} ms forward on this CPU ({spread}){waited}.", answer=True)
        self._on_run()

    def _unwanted(self, was_training: bool) -> bool:
        """Whether a running measurement is to be dropped: Cancel, close, or Stop while training waited for it."""
        return self._closed or self.cancelled.is_set() or (was_training and self.state == "idle")

    def _measured(self, entry: Entry, block_size: int, settings, force: bool, unwanted: Callable[[], bool]):
        """The Measurement; None, and the reason in the status line, when it was dropped or is too long to make unasked."""
        from ..benchmark import measure, predict_seconds

        if self.training is not None and self.training.entry is entry and self.training.circuit is not None:
            self.training.circuit.write_back()
        circuit, x = engine(entry, block_size, settings), entry.x[: settings.batch_size]
        seconds = self._predicted[(entry.name, block_size, settings.batch_size)] = predict_seconds(circuit, x)
        if seconds > LONG_SECONDS:
            if not force:
                self._outbox.status(f"Block size {block_size} takes about {seconds:.0f} s to measure: press Measure.", answer=True)
                return None
            self._outbox.status(f"Measuring block size {block_size}, about {seconds:.0f} s …", cancel=True, answer=True)
        result = measure(circuit, x, max_seconds=MEASURE_SECONDS, stop=unwanted)
        if result is None and not self._closed:
            self._outbox.status(f"Measuring block size {block_size} was cancelled; nothing is reported.", answer=True)
        return result


def prepare_digits(entry: Entry, outbox: Outbox, cancelled: threading.Event, *, num_latents: int = 32, epochs: int = 8, keep: float = 0.4) -> bool:
    """Build, train and prune the default circuit; False when cancelled. Runs in the worker's thread."""
    def tell(text: str, share: float) -> None:
        outbox.status(f"Preparing the digits circuit: {text}", progress=share, cancel=True)

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
    entry.x, entry.x_test = x, x_test
    entry.label = f"Digits: PD, K={num_latents}, pruned to {round(100 * keep)}%"
    entry.why_not = ""
    entry.root = pruned
    return True
