"""``pcviz bench step``: a training step of large circuits on a GPU, ours and PyJuice's in one process, as rows for assets/recorded.

Both engines run the same circuit: PyJuice's, carried over with its parameters. Before anything is timed, both likelihoods are
compared with float64 on part of the batch; a configuration that is wrong gets no time.
"""

from __future__ import annotations

import csv
import datetime
import gc
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from pcviz_kernels.api import kernel_hash

from . import __version__
from .benchmark import WrongResult
from .circuit import TensorCircuit
from .compiler import compile as compile_circuit
from .ir.counts import circuit_counts
from .ir.nodes import SumNodes
from .peers import SEQUENCE, SIZES, SYMBOLS, pyjuice_circuit, pyjuice_kernels
from .recorded import Machine, StepFigures, is_own
from .triton_trace import precision_of

CHECKED = 16  # samples compared with float64
LARGEST_ERROR, LARGEST_MEAN_ERROR = 2e-2, 2e-3  # nats: what is asked of the default precision
STEP_SIZE, PSEUDOCOUNT = 0.01, 0.1
BLOCK_SIZE, PD_BLOCK_SIZE = 64, 32  # PD draws its connections per 32 nodes


@dataclass(frozen=True)
class MeasuredRow(Machine):
    """The columns with which rows of assets/recorded begin: where, when and with what; ``kernel_hash`` is empty for other libraries."""

    commit: str
    kernel_hash: str
    engine: str
    circuit: str
    block_size: int
    batch_size: int
    precision: str
    variant: str


@dataclass(frozen=True)
class StepRow(StepFigures, MeasuredRow):
    """One circuit and engine, with where and when they were measured."""


def bench_step(
    names,
    images: np.ndarray | None,
    *,
    block_size: int,
    batch_size: int,
    repeats: int,
    variants: tuple[str, ...],
    peers: bool,
    commit: str,
    out: Path | None,
    deterministic: bool = False,
) -> Iterator[str]:
    """Lines, one a circuit and engine; rows go to ``out`` (CSV) as they are measured. ``peers``: PyJuice too; ``deterministic``: each
    variant in this mode too, after the default one."""
    unknown = sorted(set(names) - set(SIZES))
    if unknown:
        raise ValueError(f"bench step knows the circuits {', '.join(SIZES)}, got {', '.join(unknown)}.")
    if not torch.cuda.is_available():
        raise ValueError("bench step needs a CUDA device; on this machine try 'pcviz bench digits'.")
    for name in names:
        for row in _circuit_rows(name, images, block_size, batch_size, repeats, variants, (False, True)[: 1 + deterministic], peers, commit):
            if out is not None:
                append_row(out, row)
            mode = ", deterministic" if row.deterministic else ""
            yield (
                f"{row.circuit} {row.engine} {row.variant}{mode}: step {row.step_ms:.2f} ms, forward {row.forward_ms:.2f}, "
                f"forward + backward {row.forward_backward_ms:.2f}, peak {row.peak_gib:.2f} GiB, "
                f"compile {row.compile_s:.1f} s, first step {row.first_step_s:.1f} s, "
                f"log p within {row.max_abs_error:.1e} of float64 (mean {row.mean_error:+.1e})"
            )


def append_row(path: Path, row) -> None:
    """Append a record to a CSV file, with a header when it is new."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(row)))
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def sample_data(name: str, images: np.ndarray | None, batch_size: int) -> np.ndarray:
    """One batch: images, or for an HMM sequences of random symbols."""
    if name.startswith("HMM"):
        return np.random.default_rng(0).integers(0, SYMBOLS, (batch_size, SEQUENCE))
    if images is None or len(images) < batch_size:
        raise ValueError(f"{name} needs at least {batch_size} images of 784 pixels; pass --images with a folder of IDX files (Fashion-MNIST).")
    return np.asarray(images[:batch_size])


def _circuit_rows(name, images, block_size, batch_size, repeats, variants, modes, peers, commit) -> Iterator[StepRow]:
    from .exchange import from_pyjuice

    x = sample_data(name, images, batch_size)
    block_size = block_size or (PD_BLOCK_SIZE if name.startswith("PD") else BLOCK_SIZE)
    root_ns = pyjuice_circuit(name, images)
    root = from_pyjuice(root_ns)
    exact = exact_likelihoods(root, block_size, x)
    for variant, mode in product(variants, modes):
        build = partial(Ours, root, block_size, variant, mode)
        yield _measure(name, build, root, x, exact, repeats, commit, f"pcviz {__version__}", block_size, variant, mode)
    if peers:
        engine = f"pyjuice {version('pyjuice')}"
        row = _measure(name, partial(PyJuice, root_ns), root, x, exact, repeats, commit, engine, 0, "default")
        yield replace(row, variant=pyjuice_kernels())  # asked for now: to compile them is part of the first step


def exact_likelihoods(root: SumNodes, block_size: int, x: np.ndarray) -> np.ndarray:
    """float64 log-likelihoods of the first samples, by the torch engine."""
    pc = TensorCircuit(compile_circuit(root, block_size=block_size), device="cuda", impl="torch", dtype=torch.float64)
    found = pc(x[:CHECKED]).cpu().numpy()
    del pc
    free()
    return found


class Ours:
    """pcviz as the benchmark calls it. ``precision``: of the operands of sums in the forward pass."""

    def __init__(
        self, root: SumNodes, block_size: int, variant: str | None, deterministic: bool = False, device: str = "cuda", impl: str = "triton"
    ):
        plan = compile_circuit(root, block_size=block_size)
        self.pc = TensorCircuit(plan, device=device, impl=impl, variant=variant, deterministic=deterministic)
        self.precision = precision_of(variant)
        if self.pc.impl != impl:
            raise RuntimeError(f"asked for impl={impl!r}, got {self.pc.impl!r}.")

    def prepare(self, x: np.ndarray) -> None:
        self.x = self.data(x)

    def data(self, x: np.ndarray) -> torch.Tensor:
        """``x`` on the GPU, as ``prepare`` keeps a batch."""
        return self.pc.check_data(x)

    def forward(self) -> torch.Tensor:
        return self.pc(self.x)

    def forward_backward(self) -> torch.Tensor:
        return self.pc.accumulate_flows(self.x)

    def em(self, step_size: float = STEP_SIZE, pseudocount: float = PSEUDOCOUNT) -> None:
        self.pc.em_step(step_size, pseudocount)

    def drop(self) -> None:
        """Drop accumulated flows."""
        self.pc.clear_flows()


class PyJuice:
    """PyJuice as its documentation trains: forward, backward and mini-batch EM, CUDA graphs recorded."""

    precision = "default"

    def __init__(self, root_ns):
        import pyjuice

        self.pc = pyjuice.compile(root_ns)
        self.pc.to("cuda")

    def prepare(self, x: np.ndarray) -> None:
        self.x = self.data(x)

    def data(self, x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(x.astype(np.int64), device="cuda")

    def forward(self) -> torch.Tensor:
        return self.pc(self.x, record_cudagraph=True)[:, 0]

    def forward_backward(self) -> torch.Tensor:
        lls = self.pc(self.x, record_cudagraph=True)[:, 0]
        self.pc.backward(self.x, flows_memory=0.0, record_cudagraph=True)
        return lls

    def em(self, step_size: float = STEP_SIZE, pseudocount: float = PSEUDOCOUNT) -> None:
        self.pc.mini_batch_em(step_size=step_size, pseudocount=pseudocount)

    def drop(self) -> None:
        """Nothing to do: every backward pass starts with empty flows (``flows_memory=0``)."""


def _measure(name, build: Callable, root, x, exact, repeats, commit, engine, block_size, variant, deterministic=False) -> StepRow:
    """Check, warm up and time one engine; its memory is given back."""
    free()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    compile_s, running = timed(build)
    running.prepare(x)

    def step() -> None:
        running.forward_backward()
        running.em()

    first_forward_s, found = timed(running.forward)
    error = check_error(name, f"{engine} {variant}", exact, found)
    first_step_s = first_forward_s + timed(step)[0]
    forward, both, steps = (milliseconds_in_a_row(run, repeats) for run in (running.forward, running.forward_backward, step))
    peak, counts = (torch.cuda.max_memory_allocated() - before) / 2**30, circuit_counts(root)
    return StepRow(
        **measured(commit, engine, name, block_size, len(x), running.precision, variant), deterministic=int(deterministic),
        nodes=counts.nodes, edges=counts.edges, sum_edges=counts.sum_edges,
        compile_s=round(compile_s, 2), first_step_s=round(first_step_s, 2),
        forward_ms=round(statistics.median(forward), 4), forward_backward_ms=round(statistics.median(both), 4),
        step_ms=round(statistics.median(steps), 4),
        peak_gib=round(peak, 3), max_abs_error=float(f"{np.abs(error).max():.2e}"), mean_error=float(f"{error.mean():.2e}"),
        samples=" ".join(f"{value:.3f}" for value in steps),
    )  # fmt: skip


def check_error(name: str, engine: str, exact: np.ndarray, found: torch.Tensor) -> np.ndarray:
    """[CHECKED] errors in nats of likelihoods [B]; WrongResult when ours are too large."""
    error = found.detach()[:CHECKED].double().cpu().numpy() - exact
    if not (np.abs(error).max() <= LARGEST_ERROR and abs(error.mean()) <= LARGEST_MEAN_ERROR) and is_own(engine):
        size = f"up to {np.abs(error).max():.1e} nats (mean {error.mean():+.1e})"
        raise WrongResult(f"{name}, {engine}: log p is off by {size} against float64; it gets no time.")
    return error


def timed(run: Callable) -> tuple[float, object]:
    """Seconds of a call, what the GPU has to do included, and what it returned."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    result = run()
    wait()
    return time.perf_counter() - start, result


def milliseconds_in_a_row(run: Callable, repeats: int) -> list[float]:
    """Times by CUDA events of calls one behind the other, after three warm-up calls."""
    for _ in range(3):
        run()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        run()
        mark.record()
    marks[-1].synchronize()
    return [mark.elapsed_time(following) for mark, following in pairwise(marks)]


def milliseconds(run: Callable, repeats: int) -> list[float]:
    """Times by CUDA events of calls by themselves, after three warm-up calls."""
    for _ in range(3):
        run()
    samples = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        samples.append(start.elapsed_time(end))
    return samples


def free() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def measured(commit: str, engine: str, circuit: str, block_size: int, batch_size: int, precision: str, variant: str) -> dict:
    """The columns of a MeasuredRow of today on this machine."""
    own = {"commit": commit, "kernel_hash": kernel_hash() if is_own(engine) else "", "engine": engine, "circuit": circuit}
    return {**machine(), **own, "block_size": block_size, "batch_size": batch_size, "precision": precision, "variant": variant}


def machine() -> dict[str, str]:
    """date (ISO), gpu, driver and versions of torch and triton, on the current CUDA device."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()
    versions = {"torch": torch.__version__, "triton": version("triton")}
    return {"date": datetime.date.today().isoformat(), "gpu": torch.cuda.get_device_name(), "driver": driver, **versions}
