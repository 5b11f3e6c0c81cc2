"""What it takes to prepare a circuit in a fresh process: times, and the peak of memory as the operating system counts it.

Its own process, because a process's peak never falls again, and because memory that was used before is faster.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from .compiler import compile as compile_circuit
from .compiler.params import gather_params
from .ir.nodes import SumNodes, init_params, sum_vectors


@dataclass(frozen=True)
class Preparation:
    """``seconds`` [runs, 3]: compile, initial parameters, their layout in the plan; the first run is on fresh memory.
    ``peak_bytes``: resident memory that the first run added to what Python and the imports held; None on Windows."""

    num_edges: int
    seconds: np.ndarray
    peak_bytes: int | None


def prepare_in_fresh_process(build: Callable[[], SumNodes], block_size: int, repeats: int) -> Preparation:
    """``build``: gives a new circuit at each call; travels to the process, so a function of a module, or a partial of one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(prepare, build, block_size, repeats).result()


def prepare(build: Callable[[], SumNodes], block_size: int, repeats: int) -> Preparation:
    """The same in this process: the peak is then that of all it ever did."""
    before, runs, peak = _peak_bytes(), [], None
    for _ in range(repeats):
        root = build()
        runs.append(_seconds(root, block_size))
        if peak is None and before is not None:
            peak = _peak_bytes() - before
    return Preparation(sum(nodes.num_edges for nodes in sum_vectors(root)), np.array(runs), peak)


def _seconds(root: SumNodes, block_size: int) -> list[float]:
    gc.collect()  # a circuit and what is known of it refer to each other
    times = [time.perf_counter()]
    plan = compile_circuit(root, block_size=block_size)
    times.append(time.perf_counter())
    init_params(root)
    times.append(time.perf_counter())
    gather_params(plan)
    times.append(time.perf_counter())
    return np.diff(times).tolist()


def _peak_bytes() -> int | None:
    """The most resident memory that this process ever had."""
    try:
        import resource  # Unix only
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
