"""Measurements: first the result is checked, then it is timed. A wrong result gets no time."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .arguments import checked_integer
from .circuit import TensorCircuit, check_circuit
from .reference import log_likelihood
from .traffic_text import milliseconds_between
from .waiting import longest_wait, waits

PHASES = ("forward", "forward+backward")
TOLERANCE = 1e-4  # relative, float32 against float64
CHECKED_SAMPLES = 16
WAITS = 0.15  # share of the time that a thread waits for a core, above which a machine is called busy; an idle one has a few percent
SPREAD = 1.5  # p80 over p20 above which it is, where the system does not count that
LAUNCH_PASSES = 5  # of which each launch's median is taken


class WrongResult(RuntimeError):
    """A configuration computed a wrong result; it gets no time."""


@dataclass(frozen=True)
class LaunchTime:
    """Median of one launch of a forward pass, its micro-batches added up. ``role``: "input" (layer 0), "product" or "sum"; ``number``: among
    the launches of this role in the layer, in the plan's order."""

    role: str
    layer: int
    number: int
    time_ms: float


@dataclass(frozen=True)
class Measurement:
    """Times of one configuration on one device: median and spread of ``samples_ms``, taken after a warm-up.

    ``max_rel_error``: largest relative error of log p against float64 in the same run. ``impl``: what ran. ``launches``: those of a
    forward pass one by one, from passes of their own, where they were asked for. ``waited_share``: share of the time in which the thread
    that was kept waiting most had no core (see ``pcviz.waiting``), None where the system does not say.
    """

    block_size: int
    batch_size: int
    phase: str
    median_ms: float
    p20_ms: float
    p80_ms: float
    repeats: int
    max_rel_error: float
    impl: str
    device_name: str
    date: str
    samples_ms: tuple[float, ...]
    launches: tuple[LaunchTime, ...] = ()
    waited_share: float | None = None

    @property
    def busy(self) -> bool:
        """Whether other programs took the cores meanwhile, so that the times are too long."""
        return self.p80_ms > SPREAD * self.p20_ms if self.waited_share is None else self.waited_share > WAITS

    @property
    def caution(self) -> str:
        """What has to be said with the figure; nothing if the machine was idle."""
        return f"measured while the machine was busy: {milliseconds_between(min(self.samples_ms), max(self.samples_ms))}" if self.busy else ""


def device_name(device: torch.device) -> str:
    """'NVIDIA H100 80GB HBM3', or '2-thread x86_64 CPU (AMD EPYC)'."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"CPU, {name}, {threads} thread{'s' if threads > 1 else ''}"


def check_likelihoods(pc: TensorCircuit, x: np.ndarray, expected: np.ndarray | None = None, phase: str = "forward") -> float:
    """Largest relative error of the likelihoods that ``phase`` finds for the first samples, against float64. Raises WrongResult above the
    tolerance. ``expected``: their log-likelihoods in float64 where they are known, of as many samples as it is long."""
    if expected is None:
        pc.write_back()
    sample = pc.check_data(x[: CHECKED_SAMPLES if expected is None else len(expected)])
    found = runner(pc, sample, phase)().cpu().double().numpy()
    expected = log_likelihood(pc.root, sample.cpu().numpy()) if expected is None else expected
    if (np.isneginf(found) != np.isneginf(expected)).any():
        raise WrongResult(f"block size {pc.block_size}: impossible samples are {np.isneginf(found).sum()}, expected {np.isneginf(expected).sum()}.")
    possible = ~np.isneginf(expected)
    error = float(np.max(np.abs(found - expected)[possible] / np.maximum(1, np.abs(expected[possible])), initial=0.0))
    if not error <= TOLERANCE:
        raise WrongResult(f"block size {pc.block_size}: log p is off by {error:.1e} relative to float64 (allowed {TOLERANCE:.0e}); it gets no time.")
    return error


def runner(pc: TensorCircuit, x: torch.Tensor, phase: str) -> Callable[[], torch.Tensor]:
    """What is timed: one call on the whole batch, which returns likelihoods; parameters stay as they are, flows add up in their buffers and
    stay on the device."""
    if phase not in PHASES:
        raise ValueError(f"phase must be one of {', '.join(PHASES)}, got {phase!r}.")

    call = pc if phase == "forward" else pc.accumulate_flows
    return lambda: call(x)


def time_once(run: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call, this thread's queue of the device drained before and after: to wait for a whole GPU is an error in a thread that
    records a graph for it meanwhile."""
    wait = torch.cuda.current_stream(device).synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def measure(
    pc: TensorCircuit,
    x,
    *,
    phase: str = "forward",
    repeats: int = 10,
    warm_up: int = 2,
    max_seconds: float = 0.5,
    by_launch: bool = False,
    stop: Callable[[], bool] = lambda: False,
    expected: np.ndarray | None = None,
) -> Measurement | None:
    """Check, call ``phase`` ("forward" or "forward+backward") on ``x`` [B, V] ``warm_up`` times, then time it: at least ``repeats`` calls,
    more while ``max_seconds`` last. Raises WrongResult, and measures nothing, where likelihoods are not those of float64. On a GPU "forward"
    runs variant "float32", as ``pc(x)`` does, unless the circuit has one of its own (``TensorCircuit``).

    ``by_launch``: the launches of a forward pass, too (impl="torch" on a CPU alone: elsewhere a launch returns before it is done).
    ``stop`` is asked between calls; when it answers True the measurement is dropped and None returned. ``expected``: see
    ``check_likelihoods``. Flows that were accumulated for ``em_step`` are dropped by phase "forward+backward".
    """
    check_circuit(pc, "measure")
    repeats, warm_up = checked_integer("measure(repeats=...)", repeats), checked_integer("measure(warm_up=...)", warm_up, least=0)
    x = pc.check_data(x)
    run = runner(pc, x, phase)
    try:
        error = check_likelihoods(pc, x, expected, phase)
        if _repeated(run, pc.device, warm_up, 0.0, stop) is None:
            return None
        before = waits()
        samples = _repeated(run, pc.device, repeats, max_seconds, stop)
        if samples is None:
            return None
        waited = longest_wait(before)
    finally:
        if phase != "forward":
            pc.clear_flows()
    launches = _launch_times(pc, x, stop) if by_launch else ()
    if launches is None:
        return None
    return _measurement(pc, len(x), phase, error, samples, waited, launches)


def _measurement(
    pc: TensorCircuit, batch_size: int, phase: str, error: float, samples: list[float], waited: float | None, launches: tuple[LaunchTime, ...]
) -> Measurement:
    """``samples`` and ``waited`` in seconds."""
    low, median, high = np.percentile(samples, [20, 50, 80]) * 1e3
    return Measurement(
        block_size=pc.block_size,
        batch_size=batch_size,
        phase=phase,
        median_ms=float(median),
        p20_ms=float(low),
        p80_ms=float(high),
        repeats=len(samples),
        max_rel_error=error,
        impl=pc.impl,
        device_name=device_name(pc.device),
        date=datetime.date.today().isoformat(),
        samples_ms=tuple(1e3 * sample for sample in samples),
        launches=launches,
        waited_share=None if waited is None else waited / sum(samples),
    )


def _repeated(run: Callable[[], None], device: torch.device, repeats: int, max_seconds: float, stop: Callable[[], bool]) -> list[float] | None:
    """Seconds of each call: at least ``repeats``, more while ``max_seconds`` last; None once ``stop`` says so."""
    samples: list[float] = []
    while len(samples) < repeats or sum(samples) + sum(samples[-1:]) < max_seconds:
        if stop():
            return None
        samples.append(time_once(run, device))
    return samples


def _launch_times(pc: TensorCircuit, x: torch.Tensor, stop: Callable[[], bool]) -> tuple[LaunchTime, ...] | None:
    if pc.impl != "torch" or pc.device.type != "cpu":
        return ()
    passes: list[dict[tuple, float]] = []
    while len(passes) < LAUNCH_PASSES:
        if stop():
            return None
        passes.append({})
        for part, mask in pc.micro_batches(x):
            for key, seconds in pc.engine.time_launches(part, mask).items():
                passes[-1][key] = passes[-1].get(key, 0.0) + seconds
    return tuple(LaunchTime(*key, 1e3 * float(np.median([each[key] for each in passes]))) for key in passes[0])


def predict_seconds(pc: TensorCircuit, x, *, phase: str = "forward", repeats: int = 10) -> float:
    """How long ``measure`` will take, from one call on a micro-batch; flows as in ``measure``."""
    x = pc.check_data(x)
    part = x[: pc.micro_batch]
    seconds = time_once(runner(pc, part, phase), pc.device) * (len(x) / len(part)) * (repeats + 2)
    if phase != "forward":
        pc.clear_flows()
    return seconds
