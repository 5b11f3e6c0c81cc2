"""Trained circuits that several test modules share; each is made once per test run."""

from functools import cache

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
