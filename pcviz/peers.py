"""The seven circuits on which pcviz is measured against PyJuice, built by PyJuice itself."""

from __future__ import annotations

import importlib.util
import random

SIZES = {"PD-128": 128, "PD-256": 256, "HCLT-256": 256, "HCLT-512": 512, "RAT-256": 256, "HMM-1024": 1024, "HMM-2048": 2048}
SEQUENCE, SYMBOLS = 32, 4023  # of the hidden Markov models
TREE_SAMPLES = 2000  # images from which the tree of an HCLT is learned


def pyjuice_kernels() -> str:
    """Variant of PyJuice here: "CUDA" with its optional kernels of sums (a Hopper GPU, nvcc, headers of CUTLASS), which compile at the first call,
    for minutes, and run where they are faster; else "default", its Triton kernels alone."""
    try:
        from pyjuice.layer.kernels import c as cuda_kernels
    except ImportError:  # a version without them
        return "default"
    return "CUDA" if cuda_kernels.is_available() else "default"


def pyjuice_circuit(name: str, x=None, seed: int = 0):
    """PyJuice's root node vector, with random parameters, of one of the circuits ``SIZES``; compile it with pyjuice.compile.

    PD and HCLT are over 28 x 28 variables of 256 categories, RAT over 784 such, HMM over 32 of 4,023. ``x`` [N, 784] are the
    images (Fashion-MNIST) whose first 2,000 give the HCLT its tree; the others need none. The same ``seed`` gives the same
    circuit; the global random states are left as they were. Raises ValueError for another name and for an HCLT without images,
    ModuleNotFoundError without PyJuice.
    """
    if name not in SIZES:
        raise ValueError(f"pyjuice_circuit expects one of {', '.join(SIZES)}, got {name!r}.")
    kind, size = name.partition("-")[0], SIZES[name]
    if kind == "HCLT" and x is None:
        raise ValueError(f"pyjuice_circuit({name!r}) learns its tree from images: pass x, e.g. pcv.datasets.load_idx('fashion-mnist/').")
    if importlib.util.find_spec("pyjuice") is None:
        raise ModuleNotFoundError(f"{name} is built by PyJuice: pip install pyjuice")
    import torch

    state = random.getstate()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)  # RAT_SPN shuffles variables with it
        root_ns = _build(kind, size, x)
        root_ns.init_parameters(visited=set())  # the default argument would keep every circuit alive
    random.setstate(state)
    return root_ns


def _build(kind: str, size: int, x):
    import torch
    from pyjuice import structures

    if kind == "PD":
        return structures.PD((28, 28), size, split_intervals=4)
    if kind == "RAT":
        return structures.RAT_SPN(784, size, depth=4, num_repetitions=4)
    if kind == "HMM":
        return structures.HMM(SEQUENCE, size, SYMBOLS)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.as_tensor(x[:TREE_SAMPLES]).to(device, torch.float32)
    return structures.HCLT(images, num_latents=size, num_bins=32, sigma=0.5 / 32)
