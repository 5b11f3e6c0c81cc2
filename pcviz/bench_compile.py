"""What ``pcviz bench compile`` measures: how fast circuits become plans, and with parameters, and what memory that takes."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np

from .bench import NUM_LATENTS, digits_circuit, median_ms
from .compiler import compile as compile_circuit
from .compiler import plan_summary
from .compiler.params import gather_params
from .ir.distributions import Categorical
from .ir.nodes import SumNodes, init_params, sum_vectors
from .structures import HMM, PD, figure_5_layer
from .structures.hclt import chow_liu_tree, circuit_of_tree, tree_centre

BYTES = Categorical(num_cats=256)
LARGE = 32  # block size of the large circuits


def bench_compile(repeats: int = 5) -> Iterator[str]:
    """Lines: compile and plan_summary on the digits circuit, the figure-5 layer and PD on 28 x 28; then large circuits from
    structure to parameters in a plan's layout."""
    sizes = [1 << i for i in range(8)]
    circuits = {
        "PD on digits": (digits_circuit, (1, NUM_LATENTS)),
        "figure-5 layer, 29.6M edges": (figure_5_layer, (1, 64)),
        "PD 28x28, K=128, 38.8M edges": (lambda: large_pd(128), (LARGE,)),
    }
    for name, (build, blocks) in circuits.items():
        root = build()
        for block_size in blocks:
            spent = median_ms(lambda: compile_circuit(root, block_size=block_size), repeats)  # noqa: B023 (called at once)
            yield f"{name}: compile at block size {block_size} {spent:.0f} ms"
        spent = median_ms(lambda: [plan_summary(root, block_size=b) for b in sizes], repeats)  # noqa: B023
        yield f"{name}: plan_summary at {len(sizes)} block sizes {spent:.0f} ms"
    large = {
        "PD 28x28, K=256": lambda: large_pd(256),
        "HCLT over a 28x28 grid, K=512": lambda: grid_hclt(512),
        "HMM of 32 steps, K=2048, 4023 symbols": lambda: HMM(32, 2048, 4023),
    }
    for name, build in large.items():
        yield f"{name}: {_from_structure(build, repeats)}"


def large_pd(num_latents: int) -> SumNodes:
    return PD((28, 28), num_latents, split_intervals=4, dist=BYTES, conn_block=32)


def grid_hclt(num_latents: int) -> SumNodes:
    """The circuit of a random spanning tree of a 28 x 28 grid: like an HCLT on images, but needs none."""
    side, rng = 28, np.random.default_rng(0)
    weights = np.zeros((side, side, side, side))
    at = np.arange(side)
    for row in range(side):
        weights[row, at[1:], row, at[:-1]] = rng.random(side - 1)
        weights[at[1:], row, at[:-1], row] = rng.random(side - 1)
    weights = weights.reshape(side**2, side**2)
    tree = chow_liu_tree(weights + weights.T)
    return circuit_of_tree(tree, tree_centre(tree), num_latents, BYTES)


def _from_structure(build: Callable[[], SumNodes], repeats: int) -> str:
    """Median times of compile, of initial parameters and of their layout, each time of a new circuit; and the peak of memory."""
    runs = np.array([_prepare(build()) for _ in range(repeats)])
    compiling, initial, layout = 1e3 * np.median(runs, axis=0)
    gc.collect()
    tracemalloc.start()
    root = build()
    _prepare(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    total, first = 1e3 * np.median(runs.sum(axis=1)), 1e3 * runs[0].sum()
    edges = sum(nodes.num_edges for nodes in sum_vectors(root))
    return (
        f"{edges / 1e6:.1f}M edges: compile at block size {LARGE} {compiling:.0f} ms, initial parameters {initial:.0f} ms, "
        f"their layout {layout:.0f} ms: {total:.0f} ms in all ({first:.0f} ms the first time, on fresh memory); peak {peak / 2**30:.2f} GiB"
    )


def _prepare(root: SumNodes) -> tuple[float, float, float]:
    """Seconds for the plan, for initial parameters, for their layout in the plan."""
    gc.collect()  # a circuit and what is known of it refer to each other
    times = [time.perf_counter()]
    plan = compile_circuit(root, block_size=LARGE)
    times.append(time.perf_counter())
    init_params(root)
    times.append(time.perf_counter())
    gather_params(plan)
    times.append(time.perf_counter())
    return tuple(np.diff(times))
