"""What ``pcviz bench cold`` measures: how long a first step takes when no kernel is compiled yet, a new batch size, a new block size.

Each circuit gets a process of its own with an empty Triton cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from .bench_step import CHECKED, LARGEST_ERROR, timed
from .circuit import TensorCircuit
from .compiler import compile as compile_circuit
from .datasets import load_idx
from .ir.distributions import Categorical
from .ir.nodes import SumNodes, init_params
from .params import gather_params, move_params
from .structures import HCLT, HMM, PD, RAT_SPN

CIRCUITS = ("HCLT-256", "PD-256", "RAT-256", "HMM-1024")
BATCH_SIZE, OTHER_BATCH_SIZE = 512, 300
CHECKED_BLOCK_SIZE = 32  # of the float64 circuit, which has the same likelihoods at any


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
    """Measure one circuit in this process and print lines: totals, then what they are made of."""
    from pcviz_kernels import ahead  # not at the top: needs triton

    root, x, block_size = _circuit(name, folder)
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()  # CUDA itself has started
    pc, parts = build(root, block_size, "cuda")
    batch = pc.check_data(x)
    found, first = first_step(pc, batch)
    compiled = kernel_lines(ahead.times)
    second_s, _ = timed(lambda: _step(pc, batch))  # records graphs
    step_s, _ = timed(lambda: _step(pc, batch))
    other_s, _ = timed(lambda: _step(pc, batch[:OTHER_BATCH_SIZE]))
    likelihoods_s, likelihoods = timed(lambda: pc(batch))
    seen = len(ahead.times)
    other, other_parts = build(root, block_size // 2, "cuda", before=pc)
    _, other_first = first_step(other, batch)
    error = max(_error(lls, circuit, x) for lls, circuit in ((found, _circuit(name, folder)[0]), (likelihoods, pc.write_back())))
    if not error <= LARGEST_ERROR:
        raise RuntimeError(f"{name}: log p is off by {error:.1e} nats against float64; it gets no time.")
    parts, other_parts = parts | first, other_parts | other_first
    print(
        f"{name}, block size {block_size}, {torch.cuda.get_device_name()}: from circuit to first step {sum(parts.values()):.1f} s; "
        f"second {1e3 * second_s:.0f} ms, third {1e3 * step_s:.1f} ms; first step of {OTHER_BATCH_SIZE} samples instead of {BATCH_SIZE} "
        f"{1e3 * other_s:.0f} ms; first likelihoods without flows {1e3 * likelihoods_s:.0f} ms; block size {block_size // 2} instead: "
        f"{sum(other_parts.values()):.1f} s; log p within {error:.0e} of float64",
        *_lines(parts, compiled),
        f"  block size {block_size // 2} instead:",
        *_lines(other_parts, kernel_lines(ahead.times[seen:])),
        sep="\n", flush=True,
    )  # fmt: skip


def _error(lls: torch.Tensor, root: SumNodes, x: np.ndarray) -> float:
    """Largest error, in nats, of the first of ``lls``, against float64 with the parameters of ``root``."""
    exact = TensorCircuit(compile_circuit(root, block_size=CHECKED_BLOCK_SIZE), device="cuda", dtype=torch.float64)(x[:CHECKED])
    return (lls[:CHECKED].double() - exact).abs().max().item()


def build(root: SumNodes, block_size: int, device: str, before: TensorCircuit | None = None) -> tuple[TensorCircuit, dict[str, float]]:
    """A circuit as ``TensorCircuit``, or ``before.recompile``, builds it, and the seconds of each part."""
    parts: dict[str, float] = {}
    plan = _part(parts, "plan", lambda: compile_circuit(root, block_size=block_size))
    pc = TensorCircuit.__new__(TensorCircuit)
    _part(parts, "launches", lambda: pc._begin(plan, device, None, torch.float32, None, False))  # from here on kernels compile beside the rest
    if before is None:
        _part(parts, "parameters", lambda: init_params(root))
        _part(parts, "layout", lambda: pc.engine.load(*gather_params(plan, device=device)))
    else:
        _part(parts, "parameters", lambda: pc.engine.load(*move_params(before.plan, plan, before.params, before.tables)))
    return pc, parts


def first_step(pc: TensorCircuit, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
    """Likelihoods of the batch before its step of EM, and the seconds of each part; impl="triton"."""
    from pcviz_kernels import ahead

    parts: dict[str, float] = {}
    _part(parts, "buffers", lambda: pc.engine._reserve(len(batch)))
    _part(parts, "wait for kernels", lambda: ahead.finish(pc.engine._without_memory().step_calls(len(batch), False)))
    return _part(parts, "run", lambda: _step(pc, batch)), parts


def kernel_lines(times: Sequence) -> list[str]:
    """``times`` (pcviz_kernels.ahead.CompileTime): per kernel its variants and what other processes took for them, the longest first;
    nothing where this process compiled all."""
    kernels: dict[str, list] = {}
    for time_ in times:
        kernels.setdefault(time_.kernel, []).append(time_)
    total = {name: sum(time_.kernel_s + time_.launcher_s for time_ in found) for name, found in kernels.items()}
    launchers = sum(time_.launcher_s for time_ in times)
    lines = [f"    {len(times)} kernels compiled beside it in {sum(total.values()):.1f} s of all processes, {launchers:.1f} of them for launchers:"]
    for name in sorted(kernels, key=total.get, reverse=True):
        longest = max(kernels[name], key=lambda time_: time_.kernel_s)
        options = " ".join(f"{option}={value}" for option, value in longest.options.items())
        lines.append(f"      {total[name]:5.2f} s  {name} x {len(kernels[name])}, the longest {longest.kernel_s:.2f} s: {options}")
    return lines if times else []


def _lines(parts: dict[str, float], compiled: list[str]) -> list[str]:
    return ["    " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()) + " s", *compiled]


def _step(circuit: TensorCircuit, rows: torch.Tensor) -> torch.Tensor:
    lls = circuit.accumulate_flows(rows)
    circuit.em_step(0.01, 0.1)
    return lls


def _part(parts: dict[str, float], name: str, run: Callable):
    parts[name], result = timed(run)
    return result


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
