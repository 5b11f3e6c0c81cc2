"""Training: full- and mini-batch EM as an iterator of EMStep records that can be stopped, saved and continued."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from .arguments import checked_integer, checked_pseudocount, checked_step_size
from .circuit import LN2, TensorCircuit, check_circuit
from .fitstate import FitState, parameters_of, set_parameters
from .schedules import Schedule


@dataclass(frozen=True)
class EMStep:
    """One mini-batch of EM. ``train_bpd`` is that of the mini-batch before its update, ``test_bpd`` after an epoch."""

    epoch: int  # from 1
    step: int  # from 1, over all epochs
    num_samples: int  # samples seen since the start
    seconds: float  # training time since the start, without the evaluations on the test data
    train_bpd: float  # bits per dimension; per observed dimension when values are missing
    test_bpd: float | None
    block_size: int
    batch_size: int
    step_size: float
    num_steps: int  # of the whole run, unless it stops early
    num_epochs: int
    best_epoch: int | None  # with the lowest test_bpd so far

    @property
    def ends_epoch(self) -> bool:
        return self.step * self.num_epochs == self.epoch * self.num_steps

    @property
    def seconds_left(self) -> float:
        """At the mean pace so far."""
        return self.seconds / self.step * (self.num_steps - self.step)


def bits_per_dimension(lls: torch.Tensor, num_vars: float) -> float:
    """Mean of -log2 p(x) / number of variables, from natural-log likelihoods [B]."""
    return float(-lls.double().mean()) / (LN2 * num_vars)


def fit(
    pc: TensorCircuit,
    x,
    *,
    epochs: int = 1,
    batch_size: int = 512,
    step_size: float | Schedule = 0.1,
    pseudocount: float = 0.1,
    seed: int = 0,
    x_test=None,
    observed=None,
    observed_test=None,
    patience: int | None = None,
    state: FitState | None = None,
) -> Fit:
    """Mini-batch EM (paper, section 5): an iterator that yields one EMStep a mini-batch; stop by not asking for more.

    x: integers [N, V], reshuffled every epoch by ``seed``; ``observed`` bool [N, V] or [1, V]: False is a missing value.
    batch_size: at least N together with ``step_size`` 1 is full-batch EM.
    step_size: a mini-batch moves each parameter from theta to (1 - step_size) theta + step_size (F + p / n) / (sum of F + p):
        F the flows summed over the mini-batch, p the ``pseudocount``, n the children of the sum or the categories of the input
        that are not zero. As PyJuice's ``mini_batch_em`` (2.6.3) where no parameter is zero; zeros stay zero here, as there
        with ``keep_zero_params``. A function of the progress in [0, 1] makes a schedule, see ``pcv.schedules``.
    x_test, observed_test: held-out data, evaluated after every epoch.
    patience: stop after this many epochs without a lower ``test_bpd``, and when the run is over give ``pc`` the parameters of
        the best epoch (in float32).
    state: of an earlier run on the same data (``Fit.state``); ``pc`` must have the parameters of that moment. ``epochs`` counts
        from the start of that run. The result is that of one uninterrupted run, on a CPU bit for bit.

    Raises ValueError at once for wrong arguments and data, and for a ``state`` of another run.
    """
    check_circuit(pc, "fit")
    epochs, batch_size = checked_integer("epochs", epochs), checked_integer("batch_size", batch_size)
    seed, pseudocount = checked_integer("seed", seed, least=None), checked_pseudocount(pseudocount)
    step_size = step_size if callable(step_size) else checked_step_size(step_size)
    if patience is not None:
        patience = checked_integer("patience", patience)
        if x_test is None:
            raise ValueError("patience needs x_test: data that are not trained on, to see whether the circuit still improves.")
    data = _Data.checked(pc, x, observed)
    test = None if x_test is None else _Data.checked(pc, x_test, observed_test)
    batch_size = min(batch_size, len(data.x))
    start = FitState(num_rows=len(data.x), batch_size=batch_size, seed=seed)
    if state is not None:
        state.check_continues(start, patience)
    return Fit(pc, data, test, epochs, step_size, pseudocount, patience, start if state is None else state)


class Fit:
    """A run of EM: iterate over it for its EMStep records. Made by ``fit``.

    ``state``: where the run stands; with the parameters of the circuit it is all that ``fit(..., state=)`` needs. It may be
    taken between any two records, and after ``close``.
    """

    def __init__(self, pc, data, test, epochs, step_size, pseudocount, patience, state):
        self.pc, self.state = pc, state
        self._data, self._test = data, test
        self._epochs, self._step_size, self._pseudocount, self._patience = epochs, step_size, pseudocount, patience
        self._batches = -(-state.num_rows // state.batch_size)  # of an epoch
        self._num_steps = epochs * self._batches
        self._steps = self._run()

    def __iter__(self) -> Iterator[EMStep]:
        return self._steps

    def __next__(self) -> EMStep:
        return next(self._steps)

    def close(self) -> None:
        """Ends the run where it stands; the circuit keeps its parameters."""
        self._steps.close()

    def _run(self) -> Iterator[EMStep]:
        generator = torch.Generator().manual_seed(self.state.seed)
        rows, size = self.state.num_rows, self.state.batch_size
        for epoch in range(1, self._epochs + 1):
            order = torch.randperm(rows, generator=generator)
            for batch in range(self._batches):
                if (epoch - 1) * self._batches + batch == self.state.step:
                    yield self._step(epoch, self._data.rows(order[batch * size : (batch + 1) * size]))
            if self._exhausted(epoch):
                break
        if self._patience is not None and self.state.best_params is not None:
            set_parameters(self.pc, self.state.best_params)

    def _step(self, epoch: int, batch: _Data) -> EMStep:
        start, pc, state = time.perf_counter(), self.pc, self.state
        step_size = self._step_size_at(state.step)
        pc.clear_flows()  # whatever an interrupted call left
        lls = pc.accumulate_checked(batch.x, batch.observed)
        pc.em_step(step_size, self._pseudocount)
        train_bpd = batch.bits_per_dimension(lls)
        seconds = state.seconds + time.perf_counter() - start
        self.state = replace(state, step=state.step + 1, seconds=seconds)
        test_bpd = self._evaluate(epoch) if self.state.step == epoch * self._batches and self._test is not None else None
        seen = (epoch - 1) * state.num_rows + min((self.state.step - (epoch - 1) * self._batches) * state.batch_size, state.num_rows)
        of_run = (self._num_steps, self._epochs, self.state.best_epoch)
        return EMStep(epoch, self.state.step, seen, seconds, train_bpd, test_bpd, pc.block_size, state.batch_size, step_size, *of_run)

    def _evaluate(self, epoch: int) -> float:
        bpd = self._test.bits_per_dimension(self.pc(self._test.x, self._test.observed))
        if self.state.best_bpd is None or bpd < self.state.best_bpd:
            best = parameters_of(self.pc.write_back()) if self._patience is not None else None
            self.state = replace(self.state, best_epoch=epoch, best_bpd=bpd, best_params=best)
        return bpd

    def _exhausted(self, epoch: int) -> bool:
        best = self.state.best_epoch
        return self._patience is not None and best is not None and epoch - best >= self._patience and self.state.step <= epoch * self._batches

    def _step_size_at(self, step: int) -> float:
        if not callable(self._step_size):
            return self._step_size
        progress = step / max(1, self._num_steps - 1)
        value = float(self._step_size(progress))
        if not 0 < value <= 1:
            raise ValueError(f"step_size({progress:.3f}) gave {value!r}; a schedule must give step sizes in (0, 1].")
        return value


@dataclass(frozen=True)
class _Data:
    """Checked samples and their mask (None: all observed)."""

    x: torch.Tensor
    observed: torch.Tensor | None

    @classmethod
    def checked(cls, pc: TensorCircuit, x, observed) -> _Data:
        return cls(*pc.check_evidence(x, observed))

    def rows(self, index: torch.Tensor) -> _Data:
        index = index.to(self.x.device)
        one = self.observed is None or len(self.observed) == 1
        return _Data(self.x[index], self.observed if one else self.observed[index])

    def bits_per_dimension(self, lls: torch.Tensor) -> float:
        """Bits per observed value; 0 where none is observed."""
        if self.observed is None:
            return bits_per_dimension(lls, self.x.shape[1])
        shared = float(self.observed.sum()) / len(self.observed)  # observed values of a sample
        return bits_per_dimension(lls, shared) if shared else 0.0
