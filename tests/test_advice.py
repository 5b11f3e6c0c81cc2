"""Recommendations: a Pareto front of the model's figures, in words and rows, with what is recorded beside them."""

import math
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from trained import digits

import pcviz as pcv
from pcviz.advice import Choice, _compared
from pcviz.compiler.layering import layering
from pcviz.devices import H100_SXM
from pcviz.footprint import MemoryUse
from pcviz.memory_model import model_memory
from pcviz.recorded import figure_5_rows, own_launches
from pcviz.traffic import SUM_PHASES, model_error

CPU = replace(H100_SXM, name="a CPU", kind="cpu", tf32_tflops=None, bf16_tflops=None, fp16_tflops=None, num_sms=2)


@pytest.fixture(scope="module")
def root():
    return pcv.PD((8, 8), num_latents=64, split_intervals=2, dist=pcv.Categorical(17), conn_block=16)


@pytest.fixture(scope="module")
def found(root):
    return pcv.recommend(root, batch_size=2048)


def test_every_legal_block_size_and_variant_is_a_choice(root, found):
    assert [(choice.block_size, choice.variant) for choice in found.choices] == [(2**i, v) for i in range(7) for v in ("scaled", "paper")]
    for choice in found.choices:
        summary = pcv.plan_summary(root, block_size=choice.block_size)
        report = pcv.estimate(summary, 2048, variant=choice.variant)
        launches = [*report.records, *report.around]
        assert choice.time_ms == pytest.approx(sum(record.time_ms for record in launches)) and choice.launches == len(launches)
        assert choice.memory == model_memory(layering(root), summary, 2048)
        assert choice.padding_share == summary.padding_share


def test_the_papers_kernel_is_never_the_faster_one(found):
    for scaled, paper in zip(found.choices[::2], found.choices[1::2], strict=True):
        assert scaled.time_ms <= paper.time_ms and scaled.corrected_ms <= paper.corrected_ms and scaled.memory == paper.memory


def test_front_and_best(found):
    points = {choice: (choice.decides_ms, choice.memory.total) for choice in found.choices}
    for choice, (time, memory) in points.items():
        dominated = any(t <= time and m <= memory and (t, m) != (time, memory) for t, m in points.values())
        assert choice.on_front is not dominated
    fastest = min(found.choices, key=lambda choice: choice.decides_ms)
    assert fastest.on_front and sum(choice.is_best for choice in found.choices) == 1
    assert found.best is fastest and fastest.reason.startswith("fastest; ")


def choice(time_ms: float, gib: float) -> Choice:
    return Choice(32, "scaled", time_ms, time_ms, MemoryUse(0, 0, 0, int(gib * 2**30), 512, 512), 0.0, 10, "L2", 0.5, 0.0, None, None)


@pytest.mark.parametrize(
    "points, best",
    [
        ([(1.0, 2.0), (1.2, 1.8)], 1),  # a tenth less memory, in a time that the model cannot tell apart
        ([(1.0, 2.0), (1.3, 1.0)], 0),  # too slow, whatever it needs
        ([(1.0, 2.0), (1.2, 1.99)], 0),  # what it saves is not worth a word
        ([(1.0, 2.0), (1.001, 1.99)], 1),
        ([(1.0, 2.0), (1.2, 1.8), (1.24, 1.5), (1.1, 2.5)], 2),
    ],
)
def test_memory_decides_where_the_model_cannot(points, best):
    found = _compared([choice(*point) for point in points])
    assert [each.is_best for each in found] == [i == best for i in range(len(points))]


def test_a_smaller_choice_says_what_it_costs():
    """PD-128's kind: 64 is the fastest, but 32 needs less memory."""
    fast, small = _compared([replace(choice(1.0, 2.0), block_size=64), choice(1.15, 1.8)])
    assert small.reason == "15% slower than block size 64, 10% less memory; L2 sets the pace in 50% of the time" and small.is_best
    assert fast.reason == "13% faster than block size 32, 11% more memory; L2 sets the pace in 50% of the time" and fast.on_front


def test_reasons_are_what_the_numbers_say(found):
    rows = {(choice.block_size, choice.variant): choice for choice in found.choices}
    slow, best = rows[1, "scaled"], found.best
    ratio, share = slow.decides_ms / min(c.decides_ms for c in found.choices if c.beats(slow)), rows[64, "scaled"].padding_share
    assert f"{ratio:.2g}x the time of block size" in slow.reason and "tiles below 16 leave tensor cores idle" in slow.reason
    assert share > 0.05 and f"{100 * share:.0f}% of the cells are padding" in rows[64, "scaled"].reason
    assert "tensor cores" not in rows[16, "scaled"].reason and "padding" not in rows[8, "scaled"].reason
    assert best.reason.startswith(f"fastest; by the model {best.bound} sets the pace in ")


def test_the_error_is_that_of_the_recorded_figure_5_layer(found):
    rows, layer = figure_5_rows(own_launches()), pcv.figure_5_layer()
    for choice in found.choices:
        mine = [row for row in rows if row.block_size == choice.block_size]
        if choice.variant == "scaled" and mine:
            errors = model_error({choice.block_size: pcv.plan_summary(layer, block_size=choice.block_size)}, mine)
            low, high = sorted(error.time_ratio for error in errors)
            assert low < choice.model_ratio < high
        else:
            assert choice.model_ratio is None
    assert any(choice.model_ratio is not None for choice in found.choices)


def test_sum_kernels_are_corrected_by_the_nearest_recorded_block_size(root, found):
    ratios = {choice.block_size: choice.model_ratio for choice in found.choices if choice.model_ratio is not None}
    assert set(ratios) == {choice.block_size for choice in found.choices if choice.block_size <= 64}
    for choice in (found.choices[2], found.choices[4], found.choices[8]):
        nearest = choice.block_size
        assert choice.variant == "scaled"
        report = pcv.estimate(pcv.plan_summary(root, block_size=choice.block_size), 2048)
        sums = [*report.records, *(record for record in report.around if record.phase in SUM_PHASES)]
        work = sum(record.time_ms - 1e-3 * H100_SXM.launch_overhead_us for record in sums)
        assert choice.corrected_ms == pytest.approx(choice.time_ms - work + work / ratios[nearest])
    recorded = pcv.recommend(pcv.HMM(32, 1024, 4023)).choices[12]
    assert recorded.corrected_ms == pytest.approx(recorded.recorded.forward_backward_ms, rel=0.25)


def test_a_recorded_circuit_is_recognised():
    """HMM-1024 was measured at block size 64 with 512 samples; nothing else of it was."""
    hmm = pcv.recommend(pcv.HMM(32, 1024, 4023))
    (choice,) = (choice for choice in hmm.choices if choice.recorded is not None)
    row = choice.recorded
    assert (choice.block_size, choice.variant, row.circuit) == (64, "scaled", "HMM-1024")
    assert f"recorded: pcviz 0.1.0, NVIDIA H100 80GB HBM3, {row.provenance.date}: forward and backward {row.forward_backward_ms:.2f} ms" in str(hmm)
    assert choice.row()["recorded_step_ms"] == row.step_ms and "HMM" not in str(pcv.recommend(pcv.HMM(32, 512, 4023)))
    assert all(choice.recorded is None for choice in pcv.recommend(pcv.HMM(32, 1024, 4023), batch_size=256).choices)


def test_text_table_and_frame(found):
    lines = str(found).splitlines()
    assert lines[0].startswith(f"{found.sums:,} sums, {found.edges:,} edges; 2,048 samples on H100-SXM")
    assert "Model: time of all launches, forward and backward" in lines[0]
    assert len(lines) == 5 + len(found.choices) and sum(line.startswith(">") for line in lines) == 1
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame) and len(frame) == len(found.choices)
    assert frame.loc[frame["best"], "block_size"].tolist() == [found.best.block_size]
    assert frame["model_memory_bytes"].tolist() == [choice.memory.total for choice in found.choices]
    assert found._repr_html_().count("<tr>") == 1 + len(found.choices) and repr(found) == str(found)


def test_a_cpu_has_one_variant_and_nothing_recorded():
    found = pcv.recommend(pcv.HCLT(digits(100), 6), CPU, 64)
    assert {choice.variant for choice in found.choices} == {"torch"} and all(choice.model_ratio is None for choice in found.choices)
    assert "Nothing is recorded of these block sizes on a CPU." in str(found) and "small blocks are slower" in str(found)
    assert not {"measured", "corrected"} & set(str(found).splitlines()[1].split())


def test_a_cpu_that_nobody_measured_takes_large_blocks():
    """What a call on a small block costs is not in the model: among times that it cannot tell apart, the largest block wins."""
    found = _compared([replace(choice(time, 2.0), block_size=size) for size, time in ((1, 1.0), (8, 1.0), (32, 1.2), (64, 1.4))], "cpu")
    assert [each.is_best for each in found] == [False, False, True, False]
    assert found[2].reason.startswith("1.2x the time of block size 1, the same memory")


def test_a_batch_that_does_not_fit_is_cut_to_what_does():
    root = pcv.HCLT(digits(100), 12)
    room = 20_000_000
    small = pcv.recommend(root, replace(H100_SXM, memory_bytes=room), 4096)
    for mine, free in zip(small.choices, pcv.recommend(root, batch_size=4096).choices, strict=True):
        assert mine.memory.micro_batch < free.memory.micro_batch == 4096 and mine.memory.total < room < free.memory.total
        assert mine.memory.parameters == free.memory.parameters
    assert "samples run at a time" in str(small) and "at a time" not in str(pcv.recommend(root))
    assert "4,096 samples run at a time" in str(pcv.recommend(root, batch_size=10_000))


def test_a_plan_or_a_circuit_on_a_device_will_do():
    plan = pcv.compile(pcv.HCLT(digits(100), 6), block_size=2)
    wanted = str(pcv.recommend(plan.root))
    assert str(pcv.recommend(plan)) == str(pcv.recommend(pcv.TensorCircuit(plan))) == wanted
    with pytest.raises(ValueError, match="the root must be one sum node, got int;"):
        pcv.recommend(3)


def test_memory_that_is_not_there_rules_a_choice_out(monkeypatch):
    """On a GPU, where the engine or torch say so; each circuit is gone before the next is made."""
    x, seen = digits(20), []

    def measured(pc, data, **_):
        assert len(data) == 64 and all(ref() is None for ref in seen)
        seen.append(weakref.ref(pc))
        if pc.block_size < 4:
            raise torch.OutOfMemoryError("CUDA out of memory.") if pc.block_size == 2 else RuntimeError("DefaultCPUAllocator: can't allocate memory")
        busy, caution = pc.block_size == 8, "measured while the machine was busy: 7 to 9 ms"
        return SimpleNamespace(median_ms=float(pc.block_size), device_name="a GPU", date="today", repeats=5, busy=busy, caution=caution)

    monkeypatch.setattr("pcviz.benchmark.measure", measured)
    found = pcv.recommend(pcv.HCLT(x, 12), CPU, 64, x=x)
    assert [each.measured_ms for each in found.choices] == [math.inf, math.inf, 4.0, 8.0, 16.0] and found.best.block_size == 4
    assert [choice.reason.endswith("busy: 7 to 9 ms") for choice in found.choices] == [False, False, False, True, False]
    assert "their order may be wrong" in str(found)
    assert "too large" in str(found) and found.choices[0].reason == "does not fit into the memory of this machine"
    monkeypatch.setattr("pcviz.benchmark.measure", lambda pc, data, **_: (_ for _ in ()).throw(RuntimeError("out of memory: 128 samples")))
    with pytest.raises(RuntimeError, match="out of memory at every block size"):
        pcv.recommend(pcv.HCLT(x, 2), CPU, 64, x=x)


def test_with_data_choices_are_measured_and_compared_by_it(monkeypatch):
    x, told = digits(80), []
    found = pcv.recommend(pcv.HCLT(x, 12), CPU, 64, x=x, tell=lambda *step: told.append(step))
    assert [done for done, *_ in told] == [*range(len(found.choices)), len(found.choices)] and told[0][2].startswith("block size 1, ")
    for choice in found.choices:
        assert choice.measured.median_ms == choice.measured_ms == choice.decides_ms != choice.corrected_ms == choice.time_ms
        assert (choice.measured.block_size, choice.measured.batch_size, choice.measured.phase) == (choice.block_size, 64, "forward+backward")
        assert "; by the model " in choice.reason
    fastest = min(found.choices, key=lambda choice: choice.measured_ms)
    assert fastest.on_front and found.best.measured_ms <= 1.1 * fastest.measured_ms
    assert "Measured: forward and backward pass, all layers, CPU" in str(found) and "small blocks are slower" not in str(found)
    assert not any(choice.reason.endswith("one run") for choice in found.choices)
    monkeypatch.setattr("pcviz.advice.LONGEST_SECONDS", 0)  # those that take long run once, as much checked as all others
    monkeypatch.setattr("pcviz.benchmark.longest_wait", lambda before: 1e3)
    long = pcv.recommend(pcv.HCLT(x, 2), CPU, 64, x=x)
    for choice in long.choices:
        assert choice.measured.repeats == 1 and choice.measured.max_rel_error < 1e-4 and choice.measured.median_ms == choice.measured_ms
        assert choice.reason.endswith(f"; one run; {choice.measured.caution}") and choice.measured.caution
    assert "their order may be wrong" in str(long)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device is found"):
        pcv.recommend(pcv.HCLT(x, 2), x=x)


@pytest.mark.parametrize(
    "wrong, message",
    [({"device": "TPU"}, "Unknown device"), ({"batch_size": 0}, "batch_size"), ({"padding_tolerance": -1}, "padding_tolerance must be")],
)
def test_bad_arguments(root, wrong, message):
    with pytest.raises(ValueError, match=message):
        pcv.recommend(root, **wrong)
