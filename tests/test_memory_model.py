"""Modelled memory is what the engines say once the circuit is on its device."""

import pytest
import torch
from trained import digits

import pcviz as pcv
from pcviz import memory_model
from pcviz.compiler.layering import layering
from pcviz.footprint import MemoryUse, tensor_bytes
from pcviz.ir.nodes import init_params
from pcviz.memory_model import model_memory
from pcviz.params import gather_params
from pcviz.recorded import compared_steps

CATS = pcv.Categorical(17)


def pruned():
    pc = pcv.TensorCircuit(pcv.compile(pcv.PD((8, 8), 8, split_intervals=4, dist=CATS), block_size=8))
    return pcv.prune(pc, keep=0.3)


CIRCUITS = {
    "PD": lambda: pcv.PD((8, 8), 16, split_intervals=4, dist=CATS),
    "drawn": lambda: pcv.PD((8, 8), 16, split_intervals=4, dist=CATS, conn_block=4),
    "HCLT": lambda: pcv.HCLT(digits(200), 24),
    "HMM": lambda: pcv.HMM(12, 40, num_emits=30),  # tied across layers
    "RAT-SPN": lambda: pcv.RAT_SPN(64, 20, depth=3, num_repetitions=2, dist=pcv.Gaussian()),
    "pruned": pruned,
}


@pytest.fixture(scope="module", params=CIRCUITS)
def circuit(request):
    root = CIRCUITS[request.param]()
    init_params(root)
    return root


def check(found: MemoryUse, expected: MemoryUse):
    """Parameters, flows and buffers to 1% (alignment of vectors that pruning left odd), all bytes to 3%."""
    for name in ("parameters", "flows", "buffers"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=0.01), name
    assert found.total == pytest.approx(expected.total, rel=0.03)
    assert (found.batch_size, found.micro_batch) == (expected.batch_size, expected.micro_batch)


@pytest.mark.parametrize("block_size", [1, 16])
def test_on_a_cpu(circuit, block_size):
    summary = pcv.plan_summary(circuit, block_size=block_size)
    pc = pcv.TensorCircuit(pcv.compile(circuit, block_size=block_size))
    check(model_memory(layering(circuit), summary, 512, "cpu"), pc.memory(512))


@pytest.mark.parametrize("block_size", [1, 16])
def test_on_a_gpu(circuit, block_size):
    """The Triton engine's arrays, made on the CPU; its buffers as it would make them for 512 samples."""
    pytest.importorskip("triton", reason="Triton has no build for this system")
    from pcviz.triton_engine import TritonEngine

    plan = pcv.compile(circuit, block_size=block_size)
    engine = TritonEngine(plan, torch.device("cpu"))
    flat, tables = gather_params(plan)
    engine.load(flat, tables)
    expected = MemoryUse(
        parameters=tensor_bytes(engine.params, engine.half_params, engine._tables),
        flows=tensor_bytes(engine.edge_flows, engine._table_flows),
        indices=tensor_bytes(engine.inputs, engine.layers),
        buffers=engine.bytes_per_sample() * 512 + 4 * engine._num_flags(512),
        batch_size=512,
        micro_batch=512,
    )
    check(model_memory(layering(circuit), plan.summary, 512, "gpu"), expected)


def test_a_gpu_says_which_batch_fits(monkeypatch):
    """Of what the driver has free, and the caching allocator keeps unused; a GPU that has no room for the smallest batch says how much it needs."""
    pytest.importorskip("triton", reason="Triton has no build for this system")
    from pcviz.triton_engine import FREE_SHARE, TritonEngine

    engine = TritonEngine(pcv.compile(pcv.HMM(4, 16, num_emits=5), block_size=16), torch.device("cpu"))
    engine.device = torch.device("cuda")  # which is asked for its memory alone
    need, unused = round(128 * engine.bytes_per_sample() / FREE_SHARE) + 1, 5000
    free = {"now": 0}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["now"] - unused, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * unused)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * unused)
    for batches, fits in ((1, 128), (3, 384), (1000, 4096)):
        free["now"] = batches * need
        assert engine.micro_batch == fits == engine.piece(10_000)
    free["now"] = need // 2
    with pytest.raises(RuntimeError, match=r"out of memory: 128 samples, the smallest batch, need 0\.00 GiB, and 0\.00 GiB are free on cuda"):
        engine.piece(1)


def test_sizes_are_those_of_the_engine():
    pytest.importorskip("triton", reason="Triton has no build for this system")
    from pcviz_kernels import triton_blocks, triton_launches

    from pcviz import triton_engine, triton_launching

    mine = (memory_model.UNIT, memory_model.PITCH, memory_model.FLAG_B, memory_model.LARGEST_BATCH, memory_model.LONGEST_RUN, memory_model.FREE_SHARE)
    its = (triton_launches.UNIT, triton_blocks.PITCH, triton_blocks.FLAG_B, triton_engine.LARGEST_BATCH, triton_launching.LONGEST_RUN)
    assert mine == (*its, triton_engine.FREE_SHARE)


def test_the_recorded_peaks_of_an_hmm():
    """HMM-1024 as PyJuice builds it: within 1% of the peak that was recorded on an H100."""
    own = [row for row in compared_steps() if row.circuit == "HMM-1024" and row.provenance.is_own]
    (row,) = (row for row in own if not row.deterministic)
    root = pcv.HMM(32, 1024, 4023)
    summary = pcv.plan_summary(root, block_size=row.block_size)
    assert model_memory(layering(root), summary, row.batch_size).total / 2**30 == pytest.approx(row.peak_gib, rel=0.01)
