"""Training on one circuit: runs that start from the same parameters, and go on across changes of the block size."""

from __future__ import annotations

import os
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


class Training:
    """Runs on one circuit, one after another, all with the same order of samples. For the worker's thread."""

    def __init__(self, entry: Entry, block_size: int, settings):
        self.entry, self.block_size, self.settings = entry, block_size, settings
        self.circuit = self._warmed = None
        self.rows: list[Row] = []
        self.waiting: list[int] = []  # block sizes whose turn in a comparison comes later
        self._run, self._start, self._epochs = 1, "own", None
        self._comparison = ("own", 1)  # start and epochs of each run
        self._first = None  # parameters when training began
        self._state = None  # of the run, when fit starts anew: at another block size, or after a stop
        self._steps = None

    def step(self) -> Row | None:
        """One mini-batch; None when the last epoch is over."""
        from ..training import fit

        if self._steps is None:
            self._prepare()
            epochs = self._epochs or EPOCHS + (self.rows[-1].step.epoch if self._goes_on else 0)
            batch_size = min(self.settings.batch_size, TRAIN_BATCH)
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
        self.waiting = []
        self._move(block_size)

    def _move(self, block_size: int) -> None:
        self.halt()
        if block_size != self.block_size and self.circuit is not None:
            self.circuit = self.circuit.recompile(block_size=block_size)
        self.block_size = block_size

    def start_over(self, block_size: int, start: str) -> None:
        """A new run; it takes the place of an earlier one that started alike and stayed at this block size."""
        self.waiting = []
        self._begin(block_size, start)

    def _begin(self, block_size: int, start: str, epochs: int | None = None) -> None:
        from ..fitstate import set_parameters
        from ..ir.nodes import init_params

        self._prepare()
        self._move(block_size)
        if start == "random":
            init_params(self.circuit.root, SEED, overwrite=True)
            self.circuit.load_params()
        else:
            set_parameters(self.circuit, self._first)
        sizes: dict[int, set] = {}
        for row in self.rows:
            sizes.setdefault(row.run, set()).add(row.step.block_size)
        self.rows = [row for row in self.rows if row.start != start or sizes[row.run] != {block_size}]
        self._run, self._start, self._epochs, self._state = self._run + 1, start, epochs, None

    def compare(self, sizes: list[int], start: str, epochs: int) -> None:
        """A run of ``epochs`` at each block size, from the same parameters."""
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

    def _warm(self, x) -> None:
        """A circuit's first pass makes its buffers: not a part of training, whose seconds are compared."""
        if self.circuit is not self._warmed:
            self.circuit.accumulate_flows(x)
            self.circuit.clear_flows()
            self._warmed = self.circuit

    @property
    def _goes_on(self) -> bool:
        return bool(self.rows) and self.rows[-1].run == self._run

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
