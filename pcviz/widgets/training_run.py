"""Training on one circuit: runs that start from the same parameters, and go on across changes of the block size."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from .circuits import Entry

if TYPE_CHECKING:
    from ..training import EMStep

EPOCHS = 200
TRAIN_BATCH = 256  # at most: a record a mini-batch, several a second on a laptop
SEED = 0  # of random parameters
STARTS = ("own", "random")  # parameters that the circuit had when training began, or random ones


class Row(NamedTuple):
    """One mini-batch: the number of its run, the parameters that this run started from, and the record."""

    run: int
    start: str
    step: EMStep


class Before(NamedTuple):
    """What a comparison interrupts, and gives back: parameters, block size, and where the run stood."""

    params: tuple
    block_size: int
    run: int
    start: str
    state: object
    settings: object


class Training:
    """Runs on one circuit, one after another, all with the same order of samples. For the worker's thread."""

    def __init__(self, entry: Entry, block_size: int, settings):
        self.entry, self.block_size, self.settings = entry, block_size, settings
        self.wished = settings  # of the next run; a run keeps its batch size
        self.circuit = self._warmed = None
        self.rows: list[Row] = []
        self.waiting: list[int] = []  # block sizes whose turn in a comparison comes later
        self._run, self._start, self._epochs = 1, "own", None
        self._comparison = ("own", 1)  # start and epochs of each run
        self._before: Before | None = None  # while sizes are compared
        self._first = None  # parameters when training began
        self._state = None  # of the run, when fit starts anew: at another block size, or after a stop
        self._steps = None

    def step(self) -> Row | None:
        """One mini-batch; None when the last epoch is over."""
        from ..training import fit

        if self._steps is None:
            self._prepare()
            epochs, batch_size = self._epochs or EPOCHS + self._epochs_done, self._batch_size
            x, x_test = self.entry.x, self.entry.x_test
            self._warm(x[:batch_size])
            self._steps = fit(self.circuit, x, epochs=epochs, batch_size=batch_size, x_test=x_test, state=self._state)
        step = next(self._steps, None)
        self._state = self._steps.state
        if step is None:
            self._epochs = None
            return None
        self.rows.append(Row(self._run, self._start, step))
        return self.rows[-1]

    def use(self, block_size: int) -> None:
        """Go on at another block size with the same parameters; ends a comparison."""
        self.finish()
        self.settings = self.wished if self._state is None else replace(self.settings, padding_tolerance=self.wished.padding_tolerance)
        self._move(block_size)

    def _move(self, block_size: int) -> None:
        self.halt()
        tolerance = self.settings.padding_tolerance
        if self.circuit is not None and (block_size, tolerance) != (self.circuit.plan.block_size, self.circuit.plan.padding_tolerance):
            self.circuit = self.circuit.recompile(block_size=block_size, padding_tolerance=tolerance)
        self.block_size = block_size

    def start_over(self, block_size: int, start: str) -> None:
        """A new run; it takes the place of an earlier one that started alike and stayed at this block size and batch size."""
        self.waiting, self._before = [], None
        self._begin(block_size, start)

    def _begin(self, block_size: int, start: str, epochs: int | None = None) -> None:
        from ..fitstate import set_parameters
        from ..ir.nodes import init_params

        self._prepare()
        self.halt()
        self.settings = self.wished
        self._move(block_size)
        if start == "random":
            init_params(self.circuit.root, SEED, overwrite=True)
            self.circuit.load_params()
        else:
            set_parameters(self.circuit, self._first)
        self._drop(start, {(block_size, self._batch_size)})
        self._run = 1 + max([self._run, *(row.run for row in self.rows)])
        self._start, self._epochs, self._state = start, epochs, None

    def _drop(self, start: str, like: set[tuple[int, int]]) -> None:
        """Forget runs that started so and had these block and batch sizes alone, but not the one that a comparison interrupts."""
        found: dict[int, set] = {}
        for row in self.rows:
            found.setdefault(row.run, set()).add((row.step.block_size, row.step.batch_size))
        kept = self._before.run if self._before is not None else None
        self.rows = [row for row in self.rows if row.run == kept or row.start != start or found[row.run] != like]

    def compare(self, sizes: list[int], start: str, epochs: int) -> None:
        """A run of ``epochs`` at each block size, from the same parameters; then the circuit gets back those of now."""
        from ..fitstate import parameters_of

        self._prepare()
        self.finish()
        self._before = Before(parameters_of(self.circuit.root), self.block_size, self._run, self._start, self._state, self.settings)
        self.waiting, self._comparison = list(sizes), (start, epochs)
        self.compare_next()

    def compare_next(self) -> None:
        start, epochs = self._comparison
        self._begin(self.waiting.pop(0), start, epochs)

    def halt(self) -> None:
        """Stop between two mini-batches; the node vectors get the parameters."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        if self.circuit is not None:
            self.circuit.write_back()

    def finish(self) -> None:
        """Stop; a comparison ends, and the circuit has the parameters and the run that it had before."""
        from ..fitstate import set_parameters

        self.halt()
        self.waiting = []
        if self._before is None:
            return
        before, self._before = self._before, None
        self._run, self._start, self._state, self.settings, self._epochs = before.run, before.start, before.state, before.settings, None
        self._move(before.block_size)
        set_parameters(self.circuit, before.params)

    @property
    def comparing(self) -> bool:
        return self._before is not None

    def _warm(self, x) -> None:
        """A circuit's first pass makes its buffers: not a part of training, whose seconds are compared."""
        if self.circuit is not self._warmed:
            self.circuit.accumulate_flows(x)
            self.circuit.clear_flows()
            self._warmed = self.circuit

    @property
    def _batch_size(self) -> int:
        return min(self.settings.batch_size, TRAIN_BATCH, len(self.entry.x))

    @property
    def _epochs_done(self) -> int:
        state = self._state
        return 0 if state is None else state.step // -(-state.num_rows // state.batch_size)

    def _prepare(self) -> None:
        from ..fitstate import parameters_of

        if self.circuit is None:
            self.circuit = engine(self.entry, self.block_size, self.settings)
            self._first = parameters_of(self.circuit.root)


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
