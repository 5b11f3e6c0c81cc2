"""``pcviz bench epochs``: mini-batch EM on a GPU, ours and PyJuice's, epoch by epoch on the same mini-batches, as rows for assets/recorded.

Equal per epoch is what must come out; how long an epoch takes is what differs. Both start from the same parameters.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from . import __version__
from .bench_step import BLOCK_SIZE, PD_BLOCK_SIZE, MeasuredRow, Ours, PyJuice, append_row, check_error, exact_likelihoods, measured
from .datasets import load_idx
from .peers import SIZES, pyjuice_circuit, pyjuice_kernels
from .recorded import EpochFigures
from .training import bits_per_dimension

STEP_SIZE, PSEUDOCOUNT = 0.1, 0.1


@dataclass(frozen=True)
class EpochRow(EpochFigures, MeasuredRow):
    """One epoch of one engine, with where and when it was measured."""


def bench_epochs(name: str, folder: Path, *, epochs: int, batch_size: int, peers: bool, commit: str = "", out: Path | None = None) -> Iterator[str]:
    """Lines, one an epoch and engine; rows go to ``out`` (CSV). ``folder`` holds IDX images; ``peers``: PyJuice too.

    Whole mini-batches only, so that neither engine meets a second batch size.
    """
    if name not in SIZES or name.startswith("HMM"):
        raise ValueError(f"bench epochs trains one of {', '.join(key for key in SIZES if not key.startswith('HMM'))} on images, got {name!r}.")
    if not torch.cuda.is_available():
        raise ValueError("bench epochs needs a CUDA device; on this machine try 'pcviz bench fashion'.")
    from .exchange import from_pyjuice

    train, test = (load_idx(folder, split) for split in ("train", "test"))
    train, test = (x.reshape(len(x), -1)[: len(x) // batch_size * batch_size] for x in (train, test))
    root_ns = pyjuice_circuit(name, train)
    root = from_pyjuice(root_ns)
    block_size = PD_BLOCK_SIZE if name.startswith("PD") else BLOCK_SIZE
    exact = exact_likelihoods(root, block_size, train[:batch_size])
    engines = [(f"pcviz {__version__}", "scaled", block_size, partial(Ours, root, block_size, "scaled"))]
    if peers:
        engines.append((f"pyjuice {version('pyjuice')}", pyjuice_kernels(), 0, partial(PyJuice, root_ns)))
    for engine, variant, block, build in engines:
        running = build()
        of_all = {
            **measured(commit, engine, name, block, batch_size, running.precision, variant),
            "data": Path(folder).name, "images": len(train), "step_size": STEP_SIZE, "pseudocount": PSEUDOCOUNT,
        }  # fmt: skip
        for result in _train(running, train, test, epochs, batch_size, partial(check_error, name, engine, exact)):
            row = EpochRow(**of_all, **result)
            if out is not None:
                append_row(out, row)
            yield (
                f"{name} {engine}: epoch {row.epoch}, {row.seconds:.2f} s; bits per dimension {row.train_bpd:.4f}, {row.test_bpd:.4f} on test images"
            )
        del running
        gc.collect()
        torch.cuda.empty_cache()


def _train(running, train: np.ndarray, test: np.ndarray, epochs: int, batch_size: int, check) -> Iterator[dict]:
    """Numbers of each epoch. The order of images is that of the epoch's number, for every engine."""
    num_vars = train.shape[1]
    running.prepare(train[:batch_size])
    check(running.forward())  # compiles, too
    train, test = running.data(train), running.data(test)
    running.x = train[:batch_size].clone()
    running.forward_backward()
    running.drop()
    seconds = 0.0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch)).to(train.device)
        total = torch.zeros((), dtype=torch.float64, device=train.device)
        _wait(train.device)
        start = time.perf_counter()
        for rows in order.split(batch_size):
            running.x.copy_(train[rows])  # in place: PyJuice's recorded graphs are of one tensor
            total += running.forward_backward().double().sum()
            running.em(STEP_SIZE, PSEUDOCOUNT)
        _wait(train.device)
        seconds += time.perf_counter() - start
        held_out = 0.0
        for rows in test.split(batch_size):
            running.x.copy_(rows)
            held_out += running.forward().double().sum().item()
        bpd = (bits_per_dimension(torch.tensor([value / count]), num_vars) for value, count in ((total.item(), len(train)), (held_out, len(test))))
        yield {"epoch": epoch, "seconds": round(seconds, 4), **dict(zip(("train_bpd", "test_bpd"), (round(value, 5) for value in bpd)))}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
