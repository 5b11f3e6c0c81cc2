"""The traffic model: bytes against closed forms, roofs, reuse, devices, tables, and the recorded counters beside it."""

import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from statistics import median

import pytest
from pcviz_kernels.config import NAIVE, LaunchConfig
from test_tracing import dense_summary

import pcviz as pcv
from pcviz.devices import H100_SXM, THIS_MACHINE, DeviceSpec, ThisMachine, device_spec
from pcviz.ir.nodes import init_params, sum_vectors
from pcviz.pruning import prune_edges
from pcviz.recorded import RecordedLaunch, compared_steps, figure_5_rows, layer_times, own_launches, recorded_kernels, recorded_roofs
from pcviz.traffic import launch_traffic, model_error
from pcviz.widgets.scenes.memory import scene_memory

estimate = partial(pcv.estimate, impl="planned")
TINY_L2 = DeviceSpec("tiny", "gpu", 4, 4096, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def figure_5():
    root = pcv.figure_5_layer()
    return {size: pcv.plan_summary(root, block_size=size) for size in (1, 2, 4, 8, 16, 32, 64)}


def test_forward_bytes_of_a_fully_connected_layer():
    m, n, b = 256, 1024, 512
    record = estimate(dense_summary(m, n, 64, 64), b, passes=("forward",), config=LaunchConfig(32, 32, 64)).records[0]
    indices = 4 * record.programs * (2 * 16 * 2 + 1)  # 16 child blocks in steps of half a block, and where to store
    assert record.l2_to_l1_bytes == 4 * (m * n * (b // 64) + n * b * (m // 32)) + indices
    assert record.l1_to_l2_bytes == 4 * m * b
    assert record.l1_bytes == record.l2_bytes == record.l2_to_l1_bytes + record.l1_to_l2_bytes
    assert record.hbm_bytes == 4 * (m * n + n * b + m * b) + 4 * (2 * 4 * 16 + 4)
    assert record.flops == 2 * m * n * b


def test_naive_is_its_own_estimate():
    summary = dense_summary(256, 1024, 64, 64)
    naive, blocked = estimate(summary, naive=True), estimate(summary)
    assert naive.naive and naive.records == estimate(summary, config=NAIVE).records
    assert naive.forward.l2_bytes > 20 * blocked.forward.l2_bytes
    assert naive.total.flops == blocked.total.flops and naive.total.hbm_bytes == blocked.total.hbm_bytes
    assert "naive parallelization" in str(naive)
    with pytest.raises(ValueError, match="leave config=None"):
        estimate(summary, naive=True, config=NAIVE)


def test_operands_are_read_again_when_l2_cannot_hold_what_lies_between():
    summary = dense_summary(256, 1024, 64, 64)
    held = estimate(summary, passes=("forward",)).records[0]
    spilled = estimate(summary, device=TINY_L2, passes=("forward",)).records[0]
    elements, params = spilled.launch.operand("elements"), spilled.launch.operand("parameters")
    assert held.hbm_bytes < spilled.hbm_bytes
    assert elements.loads + params.loads <= spilled.hbm_read_bytes / 4 <= elements.loads + params.loads + spilled.launch.operand("indices").unique
    assert "exceed L2" in spilled.formulas["hbm_bytes"] and "exceed L2" not in held.formulas["hbm_bytes"]


def test_precision_sets_entry_bytes_and_rate():
    summary = dense_summary(256, 1024, 64, 64)
    tf32, bf16, fp32 = (estimate(summary, precision=p, passes=("forward",)).records[0] for p in (None, "bf16", "fp32"))
    assert tf32.precision == "tf32" and fp32.l2_bytes == tf32.l2_bytes
    index_bytes = 4 * tf32.launch.operand("indices").loads
    assert 2 * (bf16.l2_bytes - index_bytes) == tf32.l2_bytes - index_bytes
    assert dict(tf32.terms_ms)["tensor cores"] < dict(fp32.terms_ms)["CUDA cores"]
    flows = estimate(summary, precision="bf16", passes=("backward",)).records[1]
    assert flows.l1_to_l2_bytes == 4 * 256 * 1024  # flows of parameters stay in 4 bytes


def test_small_tiles_run_without_tensor_cores():
    for size in (1, 8):
        assert "CUDA cores" in dict(estimate(dense_summary(256, 1024, size, size)).records[0].terms_ms)
    assert "tensor cores" in dict(estimate(dense_summary(256, 1024, 16, 16)).records[0].terms_ms)


def test_time_is_the_slowest_roof_and_bound_names_it(figure_5):
    for record in estimate(figure_5[16]).records:
        terms = dict(record.terms_ms)
        assert record.time_ms == pytest.approx(max(terms.values()) + H100_SXM.launch_overhead_us * 1e-3)
        assert record.bound in (*terms, "launch")
    tiny = estimate(dense_summary(1, 2, 1, 2), 1).records[0]
    assert tiny.bound == "launch" and tiny.programs == 1 and tiny.waves == 1


def test_totals_add_up(figure_5):
    report = estimate(figure_5[8])
    assert report.label == "model, planned launch"
    assert report.total.launches == len(report.records) == 6
    for name in ("time_ms", "hbm_bytes", "l2_bytes", "l1_bytes", "flops"):
        assert getattr(report.total, name) == pytest.approx(sum(getattr(record, name) for record in report.records))
        assert getattr(report.total, name) == pytest.approx(getattr(report.forward, name) + getattr(report.backward, name))
        halves = [getattr(report.of_layer(1, direction), name) for direction in ("forward", "backward")]
        assert getattr(report.of_layer(1), name) == pytest.approx(sum(halves))


def test_larger_blocks_never_move_more_between_l1_and_l2(figure_5):
    moved = [estimate(figure_5[size]).total.l2_bytes for size in sorted(figure_5)]
    assert moved == sorted(moved, reverse=True) and moved[0] > 25 * moved[-1]
    memory = [estimate(figure_5[size]).total.hbm_bytes for size in sorted(figure_5)]
    assert memory[0] < 2.5 * memory[-1]


def test_formulas_carry_the_numbers(figure_5):
    report = estimate(figure_5[64])
    record = report.records[0]
    assert record.formulas["flops"] == "2 x 29,622,272 cells x 512 samples = 30.33 GFLOP"
    assert "29,622,272 cells x 4 batch tiles x 4 B" in record.formulas["l2_bytes"]
    assert f"{record.l2_bytes / 1e9:.4g} GB" in record.formulas["l2_bytes"]
    assert record.formulas["programs"] == "4 x 452 = 1,808 programs of 16 steps"
    assert record.formulas["time_ms"].endswith(f"= {1000 * record.time_ms:.4g} µs, bound by {record.bound}")
    assert "in 2 launches; the largest, forward of layer 1, group 0" in report.formulas("forward")["hbm_bytes"]


def test_tables(figure_5):
    report = estimate(figure_5[64])
    lines = str(report).splitlines()
    assert lines[0].startswith("model, planned launch: sum layers at block size 64, batch 512, tf32, H100-SXM")
    assert [line.split()[0] for line in lines[1:]] == ["pass", "forward", "backward", "total"]
    page = report._repr_html_()
    assert page.count("<tr>") == 4 and "<caption>model, planned launch" in page


def test_estimate_of_a_summary_takes_under_five_milliseconds():
    root = pcv.PD((8, 8), num_latents=32, split_intervals=2, dist=pcv.Categorical(num_cats=17), seed=0)
    plan = pcv.compile(root, block_size=8)
    assert estimate(plan.summary) == estimate(plan)
    best = float("inf")
    for _ in range(10):
        start = time.process_time()  # what an idle core needs
        estimate(plan.summary)
        best = min(best, time.process_time() - start)
    assert best < 5e-3


def test_h100_roofs_are_the_recorded_ones():
    roofs = {roof.name: roof for roof in recorded_roofs()}
    pairs = {
        "num_sms": H100_SXM.num_sms, "copy": H100_SXM.hbm_tb_per_s, "l1_read": H100_SXM.l1_tb_per_s,
        "fp32_gemm": H100_SXM.fp32_tflops, "tf32_gemm": H100_SXM.tf32_tflops, "bf16_gemm": H100_SXM.bf16_tflops,
        "fp16_gemm": H100_SXM.fp16_tflops, "exp": H100_SXM.tera_exp_per_s, "launch_in_graph": H100_SXM.launch_overhead_us,
    }  # fmt: skip
    for name, value in pairs.items():
        assert value == pytest.approx(roofs[name].value, rel=0.03), name
    most = max((row.l2_to_l1_bytes + row.l1_to_l2_bytes) / row.time_ms * 1e-9 for row in own_launches())  # above the 7.7 of plain reads of L2
    assert H100_SXM.l2_tb_per_s == pytest.approx(most, rel=0.03) and most > roofs["l2_read_24mb"].value
    assert roofs["copy"].provenance.date == H100_SXM.date and "roofs_h100.csv" in H100_SXM.source


def test_model_against_recorded_counters(figure_5, capsys):
    """PyJuice's launches are not the planned ones: its tiles differ, so ratios show how far apart the two are."""
    errors = model_error(figure_5, figure_5_rows())
    assert len(errors) == 14 and {error.engine for error in errors} == {"pyjuice 2.6.3"}
    with capsys.disabled():
        print("\nmodel of the planned launch / PyJuice's recorded counters (figure-5 layer, H100, batch 512)")
        print("pass      block   time    HBM  L2->L1     L1")
        for e in errors:
            print(f"{e.phase:9} {e.block_size:5} {e.time_ratio:6.2f} {e.hbm_ratio:6.2f} {e.l2_to_l1_ratio:7.2f} {e.l1_ratio:6.2f}")
    for error in errors:
        assert error.time_ratio < 1  # a roofline bound may not exceed what was measured
        assert 0.55 < error.hbm_ratio < 1.05
        if error.block_size >= 16:
            assert 0.9 < error.hbm_ratio < 1.05


PHASE_OF_ROLE = {"sum_forward": "forward", "product_backward": "product_flows"}  # of a recorded role, where they have other names
FILLS = ("fill", "root_flows")  # torch's kernels


@dataclass(frozen=True)
class LaunchError:
    """One recorded launch of pcviz's kernels and its model. Ratios: model over recorded figure; L2 is both directions."""

    row: RecordedLaunch
    time_ratio: float
    l2_ratio: float
    hbm_ratio: float


def launch_errors(summaries, launches) -> list[LaunchError]:
    """The launches of a circuit's first layer, both passes, beside their counters; torch's fills are left out."""
    errors = []
    for size, summary in summaries.items():
        rows = [row for row in launches if row.block_size == size and row.role != "fill"]
        modelled = [one for one in pcv.trace(summary, rows[0].batch_size, impl="triton") if one.layer == 1 and one.phase not in FILLS]
        assert [PHASE_OF_ROLE.get(row.role, row.role) for row in rows] == [launch.phase for launch in modelled], size
        for row, launch in zip(rows, modelled):
            got = launch_traffic(launch, H100_SXM, "fp16", "")
            l2_bytes = row.l2_to_l1_bytes + row.l1_to_l2_bytes
            ratios = got.time_ms / row.time_ms, got.l2_bytes / max(1, l2_bytes), got.hbm_bytes / max(1, row.hbm_bytes)
            errors.append(LaunchError(row, *ratios))
    return errors


MOVES = 1e7  # bytes: below it a launch's traffic is of the size of what other launches left in L2


def test_model_of_our_launches_against_recorded_counters(figure_5, capsys):
    """Launch by launch: bytes within 10 % (median) and 25 % (95 of 100) of Nsight Compute's; the others are printed. Time within 5 % (median),
    15 % (95 of 100) and never beyond 25 %. At block sizes 1 and 2, where L1 keeps scales of single rows for a while, within a factor of 2."""
    errors = launch_errors(figure_5, [row for row in own_launches() if row.provenance.circuit == "fig5-dense"])
    assert {error.row.block_size for error in errors} == {1, 2, 4, 8, 16, 32, 64}
    moving = [error for error in errors if error.row.hbm_bytes >= MOVES]
    assert len(moving) == 49 and sum(error.row.time_ms for error in moving) > 0.97 * sum(error.row.time_ms for error in errors)
    assert all(0.5 < ratio < 2 for error in moving for ratio in (error.l2_ratio, error.hbm_ratio, error.time_ratio))
    counted = [error for error in moving if error.row.block_size >= 4]
    with capsys.disabled():
        print("\nmodel of our launches / counters, |ratio - 1| (figure-5 layer, H100, batch 512): median, 95 of 100, largest")
        for name in ("l2_ratio", "hbm_ratio", "time_ratio"):
            off = sorted(abs(getattr(error, name) - 1) for error in counted)
            print(f"{name:10} {median(off):5.3f} {off[int(0.95 * len(off))]:5.3f} {off[-1]:5.3f}")
            assert median(off) < (0.05 if name == "time_ratio" else 0.1), name
            assert off[int(0.95 * len(off))] < (0.15 if name == "time_ratio" else 0.25) and off[-1] < 0.25, name
        for error in counted:
            if max(abs(error.l2_ratio - 1), abs(error.hbm_ratio - 1)) > 0.1:
                where = f"block {error.row.block_size:2} {error.row.kernel:28}"
                print(f"  {where} L2 {error.l2_ratio:.2f} HBM {error.hbm_ratio:.2f} time {error.time_ratio:.2f}")
    assert all(error.time_ratio < 1.15 for error in counted)


def test_time_of_a_layer_that_no_figure_was_fitted_to(figure_5, capsys):
    """All launches of each figure-5 layer against their recorded times; the one with drawn connections is held out."""
    root, off = pcv.figure_5_layer(conn_block=8), {"fig5-dense": [], "fig5-drawn": []}
    for row in layer_times():
        if row.provenance.is_own:
            dense = row.provenance.circuit == "fig5-dense"
            report = pcv.estimate(figure_5[row.block_size] if dense else pcv.plan_summary(root, block_size=row.block_size), row.batch_size)
            for name, ms in (("forward", row.forward_ms), ("backward", row.backward_ms)):
                records = [r for r in (*report.records, *report.around) if (r.layer, r.direction) == (1, name)]
                off[row.provenance.circuit].append(abs(sum(record.time_ms for record in records) / ms - 1))
    with capsys.disabled():
        for name, values in off.items():
            print(f"\nmodelled / recorded time of {name}, |ratio - 1|: median {median(values):.3f}, largest {max(values):.3f}", end="")
    assert median(off["fig5-dense"]) < 0.05 and max(off["fig5-dense"]) < 0.2
    assert len(off["fig5-drawn"]) == 16 and median(off["fig5-drawn"]) < 0.1 and max(off["fig5-drawn"]) < 0.25


def test_steps_on_tensor_cores_wait_for_memory_and_then_for_l2(figure_5):
    """More than either roof, less than both for all that is moved: stores are not waited for. One after the other forward, where each step
    scales its product; beside each other in a level layer backward. Planned launches have the roofs alone."""
    for record in (record for record in pcv.estimate(figure_5[32]).records if record.layer == 1):
        terms = dict(record.terms_ms)
        how = "one after the other" if record.phase == "forward" else "root of the sum of squares of HBM and 0.83 of L2"
        assert record.bound == "HBM + L2" and f"HBM + L2 {how}, " in record.formulas["time_ms"]
        assert max(terms["HBM"], terms["L2"]) < terms["HBM + L2"] < terms["HBM"] + terms["L2"]
    for record in pcv.estimate(figure_5[32], impl="planned").records:
        assert "HBM + L2" not in dict(record.terms_ms) and "HBM + L2" not in record.formulas["time_ms"]


def test_the_error_of_our_sum_kernels(figure_5):
    errors = model_error(figure_5, figure_5_rows(own_launches()))
    assert {error.engine.split()[0] for error in errors} == {"pcviz"} and len(errors) >= 10
    for error in errors:
        assert 0.75 < error.l2_to_l1_ratio < 1.25 and 0.9 < error.hbm_ratio < 1.1


def test_a_gpu_runs_triton_launches_unless_a_precision_is_asked_for():
    summary = pcv.plan_summary(pcv.figure_5_layer(2, 16), block_size=16)
    report = pcv.estimate(summary)
    assert (report.impl, report.precision, report.label) == ("triton", "fp16", "model, Triton launch")
    assert [record.phase for record in report.records] == ["forward", "forward", "param_flows", "element_flows", "param_flows", "element_flows"]
    assert len(report.records) + len(report.around) == len(pcv.trace(summary, 512, impl="triton"))
    assert pcv.estimate(summary, precision="tf32").impl == pcv.estimate(summary, naive=True).impl == "planned"
    assert pcv.estimate(summary, device=TINY_L2).impl == "planned"  # no tensor cores for float16
    with pytest.raises(ValueError, match="impl='triton'.*models fp16 operands, got precision 'tf32'"):
        pcv.estimate(summary, precision="tf32", impl="triton")


def test_kernels_of_whole_circuits(capsys):
    """All launches of a kernel together, against their recorded time, in circuits that no figure was fitted to: as many launches, and within
    20 % (median) and 40 % (all) of the time; a whole pass within 15 %."""
    pixels = pcv.Categorical(256)
    roots = {"RAT-256": pcv.RAT_SPN(784, 256, depth=4, num_repetitions=4, dist=pixels),
             "PD-256": pcv.PD((28, 28), 256, split_intervals=4, dist=pixels, conn_block=32)}  # fmt: skip
    off, passes = [], defaultdict(lambda: [0.0, 0.0])
    with capsys.disabled():
        for row in recorded_kernels():
            if row.provenance.circuit in roots and row.time_ms > 0.05:
                summary = pcv.plan_summary(roots[row.provenance.circuit], block_size=row.block_size)
                report = pcv.estimate(summary, row.batch_size, passes=tuple(row.passes.split()))
                found = [record for record in (*report.records, *report.around) if record.launch.kernel == row.kernel]
                modelled = sum(record.time_ms for record in found)
                off.append(modelled / row.time_ms - 1)
                passes[row.provenance.circuit, row.passes][0] += modelled
                passes[row.provenance.circuit, row.passes][1] += row.time_ms
                print(f"\n{row.provenance.circuit}, {row.kernel}: modelled / recorded {1 + off[-1]:.2f}", end="")
                assert len(found) == row.launches
    assert len(off) == 25 and median(map(abs, off)) < 0.2 and max(map(abs, off)) < 0.4
    assert len(passes) == 6 and all(0.85 < modelled / recorded < 1.15 for modelled, recorded in passes.values())


@pytest.mark.parametrize("variant", ["scaled", "paper", "float32"])
def test_whole_steps(variant):
    """Both passes and EM, against recorded steps: by each kernel of sums, in circuits that none was fitted to."""
    pixels = pcv.Categorical(256)
    roots = {"RAT-256": pcv.RAT_SPN(784, 256, depth=4, num_repetitions=4, dist=pixels),
             "PD-128": pcv.PD((28, 28), 128, split_intervals=4, dist=pixels, conn_block=32)}  # fmt: skip
    rows = [row for row in compared_steps(variant=variant) if row.provenance.is_own and not row.deterministic and row.circuit in roots]
    assert {row.circuit for row in rows} == set(roots)
    for row in rows:
        summary = pcv.plan_summary(roots[row.circuit], block_size=row.block_size)
        reports = [pcv.estimate(summary, row.batch_size, passes=part, variant=variant) for part in ("forward", "backward", "em")]
        assert 0.85 < sum(record.time_ms for report in reports for record in (*report.records, *report.around)) / row.step_ms < 1.15


def test_forward_passes_in_float32():
    """Against recorded ones of more than 2 ms, in circuits that the model was not fitted to."""
    roots = {"PD-128": pcv.PD((28, 28), 128, split_intervals=4, dist=pcv.Categorical(256), conn_block=32),
             "PD-256": pcv.PD((28, 28), 256, split_intervals=4, dist=pcv.Categorical(256), conn_block=32),
             "HMM-2048": pcv.HMM(32, 2048, num_emits=4023)}  # fmt: skip
    rows = {row.circuit: row for row in compared_steps(variant="float32") if row.provenance.is_own and row.circuit in roots}
    assert set(rows) == set(roots) and all(row.forward_ms > 2 for row in rows.values())
    for circuit, row in rows.items():
        report = pcv.estimate(pcv.plan_summary(roots[circuit], block_size=row.block_size), row.batch_size, passes="forward", variant="float32")
        assert report.precision == "fp32" and {record.bound for record in report.records} <= {"instructions", "latency"}
        assert 0.8 < sum(record.time_ms for record in (*report.records, *report.around)) / row.forward_ms < 1.1, circuit


def test_the_precision_of_float32_likelihoods():
    summary = pcv.plan_summary(pcv.RAT_SPN(4, 32, depth=1, num_repetitions=1, dist=pcv.Categorical(5)), block_size=16)
    report = pcv.estimate(summary, 32, variant="float32", precision="fp32")
    assert report.impl == "triton" and report.precision == "fp32" and "batch 32, fp16 and fp32, " in str(report), "the backward pass is the same"
    scene_memory("", {16: report})  # which looks up the rate of a precision
    assert {record.launch.phase: record.precision for record in report.records} == {
        "forward": "fp32", "element_flows": "fp16", "param_flows": "fp16"}  # fmt: skip
    with pytest.raises(ValueError, match="variant='float32'. models fp32 operands, got precision 'fp16'"):
        pcv.estimate(summary, 32, variant="float32", precision="fp16", impl="triton")


def test_em_is_what_recorded_steps_take_beyond_both_passes():
    root, rows = pcv.HMM(32, 2048, num_emits=4023), [row for row in compared_steps() if (row.circuit, row.deterministic) == ("HMM-2048", 0)]
    (row,) = (row for row in rows if row.provenance.is_own)
    report = pcv.estimate(pcv.plan_summary(root, block_size=row.block_size), row.batch_size, passes="em")
    modelled = sum(record.time_ms for record in (*report.records, *report.around))
    assert 0.7 < modelled / (row.step_ms - row.forward_backward_ms) < 1
    assert report.total.launches == len(report.records) and {record.direction for record in report.around} == {"em"}


def test_this_machine_is_measured_once():
    start = time.perf_counter()
    spec = ThisMachine(max_seconds=0.1).spec
    assert time.perf_counter() - start < 20  # torch's import included
    assert spec.kind == "cpu" and 1e-4 < spec.hbm_tb_per_s < 2 and 1e-4 < spec.fp32_tflops < 100
    assert device_spec("cpu") is device_spec("cpu") is THIS_MACHINE.spec
    report = estimate(dense_summary(64, 64, 16, 16), 32, device="cpu")
    assert report.precision == "fp32" and {name for name, _ in report.records[0].terms_ms} == {"HBM", "arithmetic"}
    assert report.records[0].formulas and "this machine" in str(report)


def test_bad_arguments_say_what_to_do():
    summary = dense_summary(4, 4, 2, 2)
    with pytest.raises(ValueError, match="Unknown device 'A100'. Known devices: 'H100-SXM', 'cpu'"):
        estimate(summary, device="A100")
    with pytest.raises(ValueError, match="batch_size expects an integer of at least 1, got 0"):
        estimate(summary, 0)
    with pytest.raises(ValueError, match="precision expects None or one of 'fp32'"):
        estimate(summary, precision="int8")
    with pytest.raises(ValueError, match=r"passes=\('backward',\)"):
        estimate(summary, passes=("forward",)).of_pass("backward")
    with pytest.raises(ValueError, match="No layer 7; this plan has layers 1"):
        estimate(summary).of_layer(7)
    with pytest.raises(ValueError, match=r"DeviceSpec\(hbm_tb_per_s=...\) expects a positive number"):
        DeviceSpec("x", "gpu", 1, 1, 0.0, None, None, 1.0)
    with pytest.raises(ValueError, match="has no rate for bf16; it has fp32"):
        estimate(summary, device=TINY_L2, precision="bf16")


def test_importing_the_model_imports_no_torch():
    code = "import sys, pcviz.traffic, pcviz.recorded; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_groups_of_a_layer_share_its_scales():
    """A launch reads the scales of its own children: all launches of a layer together about those that its products store, not all for each."""
    root = pcv.PD((6, 6), 8, split_intervals=2, dist=pcv.Categorical(4), seed=0)
    init_params(root)
    root = prune_edges(root, {id(nodes): nodes.params for nodes in sum_vectors(root)}, 0.4, 1)
    plan, shared = pcv.plan_summary(root, block_size=4, padding_tolerance=0.0), 0
    launches = [record.launch for record in pcv.estimate(plan, batch_size=512, passes=("forward",)).records]
    for layer in plan.layers:
        scales = [launch.operand("scales").unique for launch in launches if launch.layer == layer.index and launch.phase == "forward"]
        assert sum(scales) <= 512 * 1.2 * (layer.element_units + len(scales))
        shared += len(scales) > 2
    assert shared
