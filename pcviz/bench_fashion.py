"""What ``pcviz bench fashion`` measures: EM on Fashion-MNIST (or any folder of IDX images), a hidden Chow-Liu tree, this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from .benchmark import check_likelihoods, device_name
from .circuit import TensorCircuit
from .compiler import compile as compile_circuit
from .datasets import load_idx
from .ir.distributions import Categorical
from .structures import HCLT
from .training import fit

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of the Debian package dataset-fashion-mnist
TREE_ROWS = 2000  # images that the tree is learned from


def bench_fashion(
    folder: Path = FOLDER, num_latents: int = 64, epochs: int = 1, batch_size: int = 512, images: int | None = None, block_size: int | None = None
) -> Iterator[str]:
    """Lines: an epoch of mini-batch EM over the training images (the first ``images`` of them), bits per dimension.

    ``block_size`` None: the smallest power of two that holds a vector of latents, at most 64.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder} is no folder: install the Debian package dataset-fashion-mnist, or pass --folder with IDX images.")
    x, x_test = (load_idx(folder, split)[:images] for split in ("train", "test"))
    if block_size is None:
        block_size = min(64, 1 << (num_latents - 1).bit_length())
    root = HCLT(x[:TREE_ROWS], num_latents, dist=Categorical(num_cats=256))
    pc = TensorCircuit(compile_circuit(root, block_size=block_size))
    error = check_likelihoods(pc, x)
    yield f"{device_name(pc.device)}, torch {torch.__version__}; {Path(folder).name}, HCLT, K={num_latents}; log p within {error:.0e} of float64"
    seconds = 0.0
    for step in fit(pc, x, epochs=epochs, batch_size=batch_size, x_test=x_test):
        if step.ends_epoch:
            batches = step.num_steps // step.num_epochs
            spent, seconds = step.seconds - seconds, step.seconds
            yield (
                f"epoch {step.epoch} of EM over {len(x):,} images, block size {block_size}, mini-batches of {step.batch_size}: {spent:.1f} s "
                f"({1e3 * spent / batches:.0f} ms a mini-batch); {step.train_bpd:.4f} bits per dimension, {step.test_bpd:.4f} on test images"
            )
