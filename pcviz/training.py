"""Training: full- and mini-batch EM as a generator of EMStep records; pruning by flow."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .circuit import LN2, TensorCircuit
from .ir.nodes import SumNodes
from .pruning import prune_edges


@dataclass(frozen=True)
class EMStep:
    """One mini-batch of EM. ``train_bpd`` is that of the mini-batch before its update, ``test_bpd`` after an epoch."""

    epoch: int  # from 1
    step: int  # from 1, over all epochs
    num_samples: int  # samples seen since the start
    seconds: float  # training time since the start, without the evaluations on the test data
    train_bpd: float  # bits per dimension
    test_bpd: float | None
    block_size: int
    batch_size: int


def bits_per_dimension(lls: torch.Tensor, num_vars: int) -> float:
    """Mean of -log2 p(x) / number of variables, from natural-log likelihoods [B]."""
    return float(-lls.double().mean()) / (LN2 * num_vars)


def fit(
    pc: TensorCircuit,
    x,
    *,
    epochs: int = 1,
    batch_size: int = 512,
    step_size: float = 0.1,
    pseudocount: float = 0.1,
    seed: int = 0,
    x_test=None,
) -> Iterator[EMStep]:
    """Mini-batch EM (paper, section 5): a generator that yields one EMStep a mini-batch; stop by not asking for more.

    ``x`` [N, V] integers, reshuffled every epoch by ``seed``. ``batch_size`` of at least N with ``step_size`` 1 is
    full-batch EM. ``pseudocount`` is shared by a sum's children. ``x_test`` is evaluated after every epoch.
    """
    _check_arguments(epochs, batch_size, step_size, pseudocount)
    x = pc.check_data(x)
    x_test = None if x_test is None else pc.check_data(x_test)
    return _steps(pc, x, epochs, min(batch_size, len(x)), step_size, pseudocount, seed, x_test)


def _steps(pc, x, epochs, batch_size, step_size, pseudocount, seed, x_test) -> Iterator[EMStep]:
    generator = torch.Generator().manual_seed(seed)
    step, seen, seconds = 0, 0, 0.0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        for first in range(0, len(x), batch_size):
            start = time.perf_counter()
            batch = x[order[first : first + batch_size]]
            lls = pc.accumulate_flows(batch)
            pc.em_step(step_size, pseudocount)
            train_bpd = bits_per_dimension(lls, pc.plan.num_vars)
            seconds += time.perf_counter() - start
            step, seen = step + 1, seen + len(batch)
            last = first + batch_size >= len(x)
            test_bpd = bits_per_dimension(pc(x_test), pc.plan.num_vars) if last and x_test is not None else None
            yield EMStep(epoch, step, seen, seconds, train_bpd, test_bpd, pc.block_size, batch_size)


def prune(pc: TensorCircuit, keep: float = 0.4, granularity: int = 1, x=None) -> SumNodes:
    """A new circuit with the low-flow edges gone and parameters renormalised (pruning by flow, as in the sparse-PC
    literature: Dang, Liu, Van den Broeck 2022).

    ``keep``: share of the sum edges to keep, over the whole circuit. ``granularity``: edges go in blocks of that many
    sums x children. ``x`` [N, V]: the data whose flows decide; None: parameters alone (a circuit without data). Every
    sum keeps its strongest edge; nodes that nothing reads any more go too.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], the share of sum edges to keep, got {keep!r}.")
    if granularity < 1 or granularity != int(granularity):
        raise ValueError(f"granularity must be an integer of at least 1, got {granularity!r}.")
    pc.write_back()
    flows = None if x is None else pc.flows(x)
    scores = {id(nodes): (nodes.params if flows is None else flows.of(nodes)) for nodes in _sums(pc)}
    return prune_edges(pc.root, scores, keep, int(granularity))


def _sums(pc: TensorCircuit):
    return (slot.grid.nodes for layer in pc.plan.layers for slot in layer.sums)


def _check_arguments(epochs, batch_size, step_size, pseudocount) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    if not (isinstance(step_size, (int, float)) and 0 < step_size <= 1):
        raise ValueError(f"step_size must be in (0, 1] (1: the new estimate replaces the old), got {step_size!r}.")
    if not (isinstance(pseudocount, (int, float)) and pseudocount >= 0 and math.isfinite(pseudocount)):
        raise ValueError(f"pseudocount must be a number of at least 0, got {pseudocount!r}.")
