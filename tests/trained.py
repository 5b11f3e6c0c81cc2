"""Trained circuits that several test modules share; each is made once per process, that of the GPU once per run."""

from functools import cache
from pathlib import Path

import numpy as np

import pcviz as pcv
from pcviz.ir.nodes import SumNodes


@cache
def trained_digits() -> pcv.TensorCircuit:
    """The explorer's default circuit before pruning: PD on 8 x 8 digits, K = 32, eight epochs. Do not train it further."""
    root = pcv.PD((8, 8), num_latents=32, split_intervals=2, dist=pcv.Categorical(num_cats=17), seed=0)
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=32))
    for _ in pcv.fit(pc, pcv.datasets.digits("train"), epochs=8, batch_size=128):
        pass
    pc.write_back()
    return pc


@cache
def pruned_digits(percent: int = 40) -> SumNodes:
    """``trained_digits`` pruned by flow to ``percent`` of its edges."""
    return pcv.prune(trained_digits(), keep=percent / 100, x=pcv.datasets.digits("train"))


def small_pd(num_latents: int = 5, epochs: int = 0, seed: int = 0) -> SumNodes:
    """A small PD over 8 x 8 digits, optionally trained; a fresh one at every call."""
    root = pcv.PD((8, 8), num_latents=num_latents, split_intervals=4, dist=pcv.Categorical(num_cats=17), seed=seed)
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=8))
    for _ in pcv.fit(pc, digits(640), epochs=epochs or 1, batch_size=64) if epochs else ():
        pass
    return pc.write_back()


def digits(count: int, split: str = "train") -> np.ndarray:
    return pcv.datasets.digits(split)[:count]


def smooth_images(count: int, shape: tuple[int, int] = (28, 28), seed: int = 0) -> np.ndarray:
    """Random images of 16 grey values [count, pixels] whose neighbours depend on each other, across and down; the first ones of more.
    Their Chow-Liu tree is about as deep as that of photographs (100 layers of a circuit, not the 400 of a chain) and branches."""
    down, across = (np.cos(np.pi * np.arange(3) * (np.arange(length)[:, None] + 0.5) / length) for length in shape)
    low = np.random.default_rng(seed).normal(size=(count, 3, 3))  # of the lowest frequencies of a cosine transform
    return np.clip(8 + 2 * down @ low @ across.T, 0, 15).astype(np.uint8).reshape(count, -1)


def hclt_on_gpu(folder: Path) -> SumNodes:
    """HCLT over 784 variables, 96 latents (no power of two), after six epochs on 2,000 ``smooth_images``. The first process of a run
    that asks leaves it in ``folder``, which all have; the others wait and load it, too."""
    import fcntl  # not at the top: not on Windows, where there is no Triton either

    path = folder / "hclt_on_gpu.safetensors"
    with open(folder / "hclt_on_gpu.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            x = smooth_images(2000)
            pc = pcv.TensorCircuit(pcv.compile(pcv.HCLT(x[:1000], 96, dist=pcv.Categorical(16)), block_size=32), device="cuda", impl="triton")
            for _ in pcv.fit(pc, x, epochs=6, batch_size=500):
                pass
            pcv.save(pc, path)
    return pcv.load(path)
