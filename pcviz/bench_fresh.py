"""What it takes to prepare a circuit, in a process of its own: there the first run is on fresh memory, which is slower to write to."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from .compiler import compile as compile_circuit
from .footprint import tensor_bytes
from .ir.counts import circuit_counts
from .ir.nodes import SumNodes, init_params
from .params import gather_params


@dataclass(frozen=True)
class Preparation:
    """``seconds`` [runs, 3]: compile, initial parameters, their layout in the plan. ``peak_bytes``: the most that Python and numpy
    held at a time from structure to layout (tracemalloc), or what they and the tensors hold at the end, if that is more; the structure itself
    is part of it."""

    num_edges: int
    seconds: np.ndarray
    peak_bytes: int


def prepare_in_fresh_process(build: Callable[[], SumNodes], block_size: int, repeats: int) -> Preparation:
    """``build``: gives a new circuit at each call; travels to the process, so a function of a module, or a partial of one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_prepare, build, block_size, repeats).result()


def _prepare(build: Callable[[], SumNodes], block_size: int, repeats: int) -> Preparation:
    seconds = np.array([_seconds(build(), block_size) for _ in range(repeats)])
    gc.collect()
    tracemalloc.start()
    root = build()
    plan = compile_circuit(root, block_size=block_size)
    init_params(root)
    flat, tables = gather_params(plan)
    numpys, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tensors = tensor_bytes(flat, tables)
    return Preparation(circuit_counts(root).sum_edges, seconds, max(most, numpys + tensors))


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
