"""What ``pcviz bench cold`` measures: how long a first step takes when no kernel is compiled yet, a new batch size, a new block size.

Each circuit gets a process of its own with an empty Triton cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from .circuit import TensorCircuit
from .compiler import compile as compile_circuit
from .datasets import load_idx
from .ir.distributions import Categorical
from .ir.nodes import SumNodes
from .structures import HCLT, HMM, PD, RAT_SPN

CIRCUITS = ("HCLT-256", "PD-256", "RAT-256", "HMM-1024")
BATCH_SIZE, OTHER_BATCH_SIZE = 512, 300
CHECKED = 16  # samples compared with float64
LARGEST_ERROR = 2e-2  # nats


def bench_cold(names, folder: Path | None = None) -> Iterator[str]:
    """Lines about each of the circuits ``names`` (of ``CIRCUITS``; none: all), random parameters. Data: the IDX images in ``folder``,
    else smooth random ones, of which a tree is much deeper than of Fashion-MNIST's; the HMM's are random symbols."""
    unknown = sorted(set(names) - set(CIRCUITS))
    if unknown:
        raise ValueError(f"bench cold knows the circuits {', '.join(CIRCUITS)}, got {', '.join(unknown)}.")
    if not torch.cuda.is_available():
        raise ValueError("bench cold needs a CUDA device: impl='torch' compiles no kernels.")
    for name in names or CIRCUITS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
            command = [sys.executable, "-c", f"from pcviz.bench_cold import run; run({name!r}, {folder and str(folder)!r})"]
            child = subprocess.run(command, env={**os.environ, "TRITON_CACHE_DIR": cache}, capture_output=True, text=True, check=False)
        if child.returncode:
            raise ValueError(f"bench cold {name} failed:\n{child.stderr}")
        yield from child.stdout.splitlines()


def run(name: str, folder: str | None = None) -> None:
    """Measure one circuit in this process and print lines."""
    root, x, block_size = _circuit(name, folder)
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()  # CUDA itself has started
    compile_s, pc = _seconds(lambda: TensorCircuit(compile_circuit(root, block_size=block_size), device="cuda", impl="triton"))
    batch = pc.check_data(x)

    def step(circuit: TensorCircuit, rows: torch.Tensor) -> torch.Tensor:
        lls = circuit.accumulate_flows(rows)
        circuit.em_step(0.01, 0.1)
        return lls

    first_s, found = _seconds(lambda: step(pc, batch))
    second_s, _ = _seconds(lambda: step(pc, batch))  # records graphs
    step_s, _ = _seconds(lambda: step(pc, batch))
    other_s, _ = _seconds(lambda: step(pc, batch[:OTHER_BATCH_SIZE]))
    block_s, other = _seconds(lambda: pc.recompile(block_size=block_size // 2))
    warm_s, _ = _seconds(lambda: step(other, batch))
    exact = TensorCircuit(compile_circuit(_circuit(name, folder)[0], block_size=block_size), device="cuda", dtype=torch.float64)(x[:CHECKED])
    error = (found[:CHECKED].double() - exact).abs().max().item()
    if not error <= LARGEST_ERROR:
        raise RuntimeError(f"{name}: log p is off by {error:.1e} nats against float64; it gets no time.")
    print(
        f"{name}, block size {block_size}, {torch.cuda.get_device_name()}: from circuit to first step {compile_s + first_s:.1f} s "
        f"(circuit {compile_s:.1f}, kernels and step {first_s:.1f}); second {1e3 * second_s:.0f} ms, third {1e3 * step_s:.1f} ms; "
        f"first step of {OTHER_BATCH_SIZE} samples instead of {BATCH_SIZE} {1e3 * other_s:.0f} ms; "
        f"block size {block_size // 2} instead: {block_s + warm_s:.1f} s (circuit {block_s:.1f}); log p within {error:.0e} of float64",
        flush=True,
    )


def _circuit(name: str, folder: str | None = None) -> tuple[SumNodes, np.ndarray, int]:
    """Root, data [BATCH_SIZE, V] and block size; the same at every call."""
    kind, size = name.partition("-")[0], int(name.partition("-")[2])
    rng = np.random.default_rng(0)
    if kind == "HMM":
        return HMM(32, size, num_emits=4023, seed=0), rng.integers(0, 4023, (BATCH_SIZE, 32)), 64
    if folder:
        images = load_idx(folder)[:2000].reshape(-1, 784)
    else:
        images = np.clip(np.cumsum(rng.normal(0, 12, (2000, 784)), axis=1) + 128, 0, 255).astype(np.uint8)  # neighbours are alike
    pixels, x = Categorical(num_cats=256), images[:BATCH_SIZE]
    if kind == "PD":
        return PD((28, 28), size, split_intervals=4, dist=pixels, conn_block=32, seed=0), x, 32
    if kind == "RAT":
        return RAT_SPN(784, size, depth=4, num_repetitions=4, dist=pixels, seed=0), x, 64
    return HCLT(images, size, num_bins=32, sigma=0.5 / 32, dist=pixels, seed=0), x, 64


def _seconds(run: Callable) -> tuple[float, object]:
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = run()
    torch.cuda.synchronize()
    return time.perf_counter() - start, result
