"""What ``pcviz bench compile`` measures: how fast circuits become plans, and with parameters, and what memory that takes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from .bench import NUM_LATENTS, digits_circuit, median_ms
from .bench_fresh import Preparation, prepare_in_fresh_process
from .compiler import compile as compile_circuit
from .compiler import plan_summary
from .datasets import load_idx
from .ir.distributions import Categorical
from .ir.nodes import SumNodes
from .peers import SEQUENCE, SYMBOLS, TREE_SAMPLES
from .structures import HMM, PD, figure_5_layer
from .structures.hclt import chow_liu_tree, circuit_of_tree, tree_centre
from .structures.information import soft_mutual_information

BYTES = Categorical(num_cats=256)
LARGE = 32  # block size of the large circuits


def bench_compile(images: Path | None = None, repeats: int = 5) -> Iterator[str]:
    """Lines: compile and plan_summary on the digits circuit, the figure-5 layer and PD on 28 x 28; then large circuits from
    structure to parameters in a plan's layout, each in a fresh process. ``images``: folder of IDX files, for the tree of HCLT."""
    x = None if images is None else load_idx(images)  # a wrong folder is told at once
    yield from _plans(repeats)
    yield _prepared("PD 28x28, K=256", prepare_in_fresh_process(partial(large_pd, 256), LARGE, repeats))
    if x is None:
        yield "HCLT, K=512: not measured; its tree is learned from images: --images FOLDER, e.g. of the Debian package dataset-fashion-mnist"
    else:
        yield _prepared(f"HCLT on {Path(images).name}, K=512", prepare_in_fresh_process(image_hclt(x, 512), LARGE, repeats))
    yield _prepared(f"HMM of {SEQUENCE} steps, K=2048", prepare_in_fresh_process(partial(HMM, SEQUENCE, 2048, SYMBOLS), LARGE, repeats))


def _plans(repeats: int) -> Iterator[str]:
    sizes = [1 << i for i in range(8)]
    circuits = {
        "PD on digits": (digits_circuit, (1, NUM_LATENTS)),
        "figure-5 layer, 29.6M edges": (figure_5_layer, (1, 64)),
        "PD 28x28, K=128, 38.8M edges": (partial(large_pd, 128), (LARGE,)),
    }
    for name, (build, blocks) in circuits.items():
        root = build()
        for block_size in blocks:
            spent = median_ms(lambda: compile_circuit(root, block_size=block_size), repeats)  # noqa: B023 (called at once)
            yield f"{name}: compile at block size {block_size} {spent:.0f} ms"
        spent = median_ms(lambda: [plan_summary(root, block_size=b) for b in sizes], repeats)  # noqa: B023
        yield f"{name}: plan_summary at {len(sizes)} block sizes {spent:.0f} ms"


def large_pd(num_latents: int) -> SumNodes:
    return PD((28, 28), num_latents, split_intervals=4, dist=BYTES, conn_block=32)


def image_hclt(x: np.ndarray, num_latents: int) -> partial[SumNodes]:
    """What builds the HCLT that PyJuice is measured on; the tree is learned here, once."""
    tree = chow_liu_tree(soft_mutual_information(x[:TREE_SAMPLES], 32, 0.5 / 32))
    return partial(circuit_of_tree, tree, tree_centre(tree), num_latents, BYTES)


def _prepared(name: str, found: Preparation) -> str:
    """Median times of compile, of initial parameters and of their layout, each time of a new circuit; and the peak of memory."""
    compiling, initial, layout = 1e3 * np.median(found.seconds, axis=0)
    totals = 1e3 * found.seconds.sum(axis=1)
    return (
        f"{name}, {found.num_edges / 1e6:.1f}M edges: compile at block size {LARGE} {compiling:.0f} ms, initial parameters {initial:.0f} ms, "
        f"their layout {layout:.0f} ms: {np.median(totals):.0f} ms in all ({totals[0]:.0f} ms the first time, on fresh memory); "
        f"peak {found.peak_bytes / 2**30:.2f} GiB"
    )
