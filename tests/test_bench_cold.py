"""``pcviz bench cold``: its circuits, and what it refuses."""

import pytest
import torch

from pcviz.bench_cold import CIRCUITS, _circuit, bench_cold
from pcviz.peers import SIZES


def test_the_circuits_are_those_of_bench_step_in_size():
    for name, variables in (("RAT-256", 784), ("HMM-1024", 32)):
        root, x, block_size = _circuit(name)
        assert root.scope.bit_length() == variables == x.shape[1] and len(x) == 512 and block_size == 64
    assert set(CIRCUITS) <= set(SIZES)


def test_what_is_refused():
    with pytest.raises(ValueError, match="bench cold knows the circuits HCLT-256.*got HCLT-1"):
        next(bench_cold(["HCLT-1"]))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="needs a CUDA device"):
            next(bench_cold([]))
