"""``pcviz bench cold``: its circuits, and what it refuses."""

from types import SimpleNamespace

import pytest
import torch

import pcviz as pcv
from pcviz.bench_cold import CIRCUITS, _circuit, bench_cold, build, kernel_lines
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


def test_a_circuit_built_in_parts_is_the_circuit():
    """Also at another block size, with what was learned since."""
    x, root = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]]), pcv.PD((2, 2), num_latents=8, dist=pcv.Categorical(3), seed=0)
    pc, parts = build(root, 4, "cpu")
    assert list(parts) == ["plan", "launches", "parameters", "layout"] and min(parts.values()) >= 0
    assert torch.equal(pc(x), pcv.TensorCircuit(pcv.compile(root, block_size=4))(x))
    pc.accumulate_flows(x)
    pc.em_step(0.5, 0.1)
    other, parts = build(root, 2, "cpu", before=pc)
    assert list(parts) == ["plan", "launches", "parameters"] and other.block_size == 2
    torch.testing.assert_close(other(x), pc(x))


def test_kernels_by_what_they_took():
    def made(kernel, kernel_s, launcher_s, **options):
        return SimpleNamespace(kernel=kernel, options=options, kernel_s=kernel_s, launcher_s=launcher_s)

    times = [made("ratio", 0.5, 0.25), made("sums", 1.0, 0.0, TILE_M=8), made("sums", 2.0, 0.25, TILE_M=16)]
    total, first, second = kernel_lines(times)
    assert "3 kernels compiled beside it in 4.0 s of all processes, 0.5 of them" in total
    assert "3.25 s  sums x 2, the longest 2.00 s: TILE_M=16" in first and "0.75 s  ratio x 1" in second
    assert kernel_lines([]) == []
