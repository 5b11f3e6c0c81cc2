"""The Kernel view: counters equal to the traffic model, scenes of real programs, and the page. Its numbers against the Triton
kernels: interpreted_triton.py."""

import re

import numpy as np
import pytest
from pcviz_kernels.tiles import PITCH, SIDES

import pcviz as pcv
from pcviz.ir.nodes import init_params
from pcviz.kernel_steps import bytes_before, program_bytes, wave_of
from pcviz.traffic import launch_traffic
from pcviz.widgets.circuits import user_entry
from pcviz.widgets.frames import Settings
from pcviz.widgets.kernel_job import KernelJob
from pcviz.widgets.packing import pack, unpack
from pcviz.widgets.scenes import kernel as kernel_module
from pcviz.widgets.scenes.kernel import MAX_CELLS, MAX_STEPS, source, steps_at

CELL = """
import pcviz as pcv
from pcviz.ir.nodes import init_params
x = pcv.datasets.digits("train")
root = pcv.PD((8, 8), num_latents=16, split_intervals=4, dist=pcv.Categorical(num_cats=17), seed=0)
init_params(root, 0)
explorer = pcv.explore(root, x, batch_size=300, block_size=16)
explorer
"""


@pytest.fixture(scope="module")
def entry():
    root = pcv.PD((8, 8), num_latents=12, split_intervals=4, dist=pcv.Categorical(num_cats=17), seed=0)
    init_params(root, 0)
    return user_entry(root, pcv.datasets.digits("train"))


def program_total(scene):
    """Bytes of one program; those of the steps that are drawn are among those of all."""
    sizes = np.frombuffer(scene["stepBytes"], "<u4")
    assert len(sizes) == scene["numSteps"]
    assert [step["bytes"] for step in scene["steps"]] == sizes[scene["firstStep"] :][: len(scene["steps"])].tolist()
    return scene["startBytes"] + int(sizes.sum()) + scene["storeBytes"]


@pytest.mark.parametrize("block_size, batch", [(1, 7), (4, 200), (16, 300)])
def test_counters_add_up_to_the_models_totals(entry, block_size, batch):
    summary = pcv.plan_summary(entry.root, block_size=block_size)
    for record in [r for impl in ("planned", "triton") for r in pcv.estimate(summary, batch, passes=("forward",), impl=impl).records]:
        launch, seen = record.launch, 0
        for program in range(launch.programs):
            assert bytes_before(launch, program, 4) == seen
            seen += sum(program_bytes(launch, program % launch.grid[0], 4))
        assert seen == record.l1_bytes
        assert wave_of(launch, launch.programs - 1, 132) == (record.waves, record.waves)


@pytest.mark.parametrize("block_size, variant", [(1, "paper"), (4, "scaled"), (16, "paper"), (16, "scaled"), (4, "float32"), (16, "float32")])
def test_a_scene_holds_the_circuits_values(entry, block_size, variant):
    """What the last step leaves is log p of the torch engine, for the sums and samples that the scene names."""
    settings, job = Settings(batch_size=200), KernelJob()
    report = pcv.estimate(pcv.plan_summary(entry.root, block_size=block_size, padding_tolerance=0.25), 200)
    scene = unpack(pack(job.scene(entry, settings, report, block_size, 2, {"program": 3, "sample": 150, "variant": variant, "follow": True})))
    pc = pcv.TensorCircuit(pcv.compile(entry.root, block_size=block_size, padding_tolerance=0.25))
    group = pc.plan.layers[1].groups[scene["group"]]
    row = group.nids[scene["sums"] // group.sum_block] + scene["sums"] % group.sum_block
    low, high = scene["shown"]
    assert low <= 150 < high and high - low == scene["tile"][2], "all samples of the tile"
    stored = np.frombuffer(scene["stored"], "<f4").reshape(-1, high - low)
    expected = pc.node_values(entry.x[:200])[row : row + len(stored), low:high].numpy()
    np.testing.assert_allclose(stored[:, : expected.shape[1]], expected, atol=1e-5 if variant == "float32" else 3e-3)
    own = program_total(scene)
    assert 0 < scene["before"] + own <= scene["launchBytes"]
    launches = pcv.trace(pc.plan, 200, passes=("forward",), impl="triton", variant=variant).phase("forward")
    launch = next(each for each in launches if (each.layer, each.group) == (2, scene["group"]))
    assert scene["launchBytes"] == launch_traffic(launch, report.device, "fp16").l1_bytes


@pytest.mark.parametrize("impl", ["triton", "planned"])
def test_the_guards_bound_is_that_of_the_variant(entry, impl):
    report = pcv.estimate(pcv.plan_summary(entry.root, block_size=16), 200, impl=impl)
    for variant, bound in (("scaled", r"2\^-2[0-9] .* float16"), ("float32", r"2\^-9[0-9] .* float32")):
        scene = KernelJob().scene(entry, Settings(batch_size=200), report, 16, 2, {"variant": variant})
        assert re.search(rf"Below {bound} may have lost", scene["guardWhy"]), scene["guardWhy"]


def scene_of(entry, phase, block_size, **wish):
    """A scene of the Kernel view in layer 2, and the circuit it is of."""
    report = pcv.estimate(pcv.plan_summary(entry.root, block_size=block_size, padding_tolerance=0.25), 200, passes=("forward", "backward", "em"))
    scene = unpack(pack(KernelJob().scene(entry, Settings(batch_size=200), report, block_size, 2, {"phase": phase, **wish})))
    return scene, pcv.TensorCircuit(pcv.compile(entry.root, block_size=block_size, padding_tolerance=0.25)), report


def drawn(scene, name):
    return np.frombuffer(scene[name], "<f4").reshape(scene[f"{name}Shape"])


@pytest.mark.parametrize("block_size", [1, 4, 16])
def test_parameter_flows_of_a_scene_are_the_circuits(entry, block_size):
    """P times what the program adds is F of the edges over the batch, as the torch engine has it."""
    scene, pc, report = scene_of(entry, "param_flows", block_size, program=1)
    group, (tile_m, tile_k, _) = pc.plan.layers[1].groups[scene["group"]], scene["tile"]
    columns = -(-group.cids.shape[1] * group.child_block // tile_k)
    column, tile = scene["program"] % columns, scene["program"] // columns
    g, first = divmod(tile * tile_m, group.sum_block)
    k = np.arange(column * tile_k, min((column + 1) * tile_k, group.cids.shape[1] * group.child_block))
    at = (group.pids[g, k // group.child_block] + k % group.child_block * group.sum_block)[:, None] + first + np.arange(tile_m)
    own = group.pids[g, k // group.child_block] > 0
    found = pc.params.numpy()[at] * drawn(scene, "stored")[: len(k)]
    np.testing.assert_allclose(found[own], pc.flows(entry.x[:200]).edges[at][own], rtol=3e-3, atol=3e-3)
    check_bytes(scene, report, "param_flows")
    level = pc.plan.summary.layers[1].level
    assert level == (block_size == 16) and all(("with their scales" in step["text"]) != level for step in scene["steps"])


def test_element_flows_of_all_programs_are_the_flows_of_the_layers_sums(entry):
    """What flows into the sums of a layer flows out of them: for one sample, over all launches and programs."""
    job, sample, total, group, groups = KernelJob(), 150, 0.0, 0, 1
    report = pcv.estimate(pcv.plan_summary(entry.root, block_size=16, padding_tolerance=0.25), 200)
    while group < groups:
        program, programs = 0, 1
        while program < programs:
            wish = {"phase": "element_flows", "group": group, "program": program, "sample": sample, "follow": True}
            scene = job.scene(entry, Settings(batch_size=200), report, 16, 2, wish)
            programs, groups = scene["programs"], scene["numGroups"]
            check_bytes(scene, report, "element_flows")
            total += drawn(scene, "stored")[:, scene["storedMark"]].sum()
            program += 256 // scene["tile"][2]  # batch tiles of 200 samples, filled up to 256
        group += 1
    pc = pcv.TensorCircuit(pcv.compile(entry.root, block_size=16, padding_tolerance=0.25))
    rows = np.concatenate([np.add.outer(g.nids, np.arange(g.sum_block)).ravel() for g in pc.plan.layers[1].groups])
    assert total == pytest.approx(float(pc.node_flows(entry.x[sample : sample + 1])[rows].sum()), rel=1e-3)


def check_bytes(scene, report, phase):
    """What this program and those before request is part of what the model says, which all of them reach."""
    records = [record for record in report.records if (record.layer, record.phase) == (2, phase)]
    assert scene["launchBytes"] == records[scene["group"]].l1_bytes
    own = program_total(scene)
    rest = scene["launchBytes"] * (scene["program"] + 1) // scene["programs"]
    assert scene["before"] + own == rest and min(step["bytes"] for step in scene["steps"]) > 0


@pytest.mark.parametrize("block_size", [1, 16])
def test_em_of_a_scene_is_that_of_the_circuit(entry, block_size):
    scene, pc, _ = scene_of(entry, "em", block_size)
    pc.accumulate_flows(entry.x[:200])
    pc.em_step(step_size=0.1, pseudocount=0.1)
    group, rows = pc.plan.layers[1].groups[scene["group"]], scene["tile"][0]
    writes = [step for step in scene["steps"] if step["part"] == "write"]
    first = np.frombuffer(writes[0]["acc"], "<f4").reshape(writes[0]["shapes"][2])
    k = np.arange(min(len(first), group.cids.shape[1] * group.child_block))
    pid = group.pids[0, k // group.child_block]
    at = (pid + k % group.child_block * group.sum_block)[:, None] + np.arange(rows)
    np.testing.assert_allclose(first[: len(k)][pid > 0], pc.params.numpy()[at][pid > 0], rtol=1e-4, atol=1e-6)
    assert [step["part"] for step in scene["steps"]] == ["step"] * len(writes) + ["write"] * len(writes)


def tied_chain():
    """Transitions tied over five layers: EM updates those of the first."""
    root = pcv.HMM(6, 24, num_emits=5)
    init_params(root, 0)
    return user_entry(root, np.random.default_rng(0).integers(0, 5, (50, 6)).astype(np.uint8))


@pytest.mark.parametrize("impl", ["triton", "planned"])
@pytest.mark.parametrize("block_size, circuit", [(1, "PD"), (4, "PD"), (16, "PD"), (16, "tied")])
def test_counters_of_em_add_up_to_the_models_totals(entry, block_size, circuit, impl):
    """Every program of every launch, pseudo blocks and missing rows included; a layer whose parameters are all tied has none."""
    chosen, job = entry if circuit == "PD" else tied_chain(), KernelJob()
    summary = pcv.plan_summary(chosen.root, block_size=block_size, padding_tolerance=0.25)
    report, settings = pcv.estimate(summary, 50, passes="em", impl=impl, precision="fp16"), Settings(batch_size=50)
    for layer in (1, 2):
        records = [record for record in report.records if record.layer == layer]
        for group, record in enumerate(records):
            seen, many = 0, record.programs > 40
            for program in [0, 7, record.programs - 1] if many else range(record.programs):
                scene = job.scene(chosen, settings, report, block_size, layer, {"phase": "em", "group": group, "program": program})
                assert many or scene["before"] == seen
                seen = scene["before"] + program_total(scene)
            assert seen == scene["launchBytes"] == record.l1_bytes
        if not records:
            assert (circuit, layer) == ("tied", 2)
            assert "tied" in job.scene(chosen, settings, report, block_size, layer, {"phase": "em"})["why"]


def test_long_walks_are_sent_around_the_step_that_the_person_looks_at(entry, monkeypatch):
    """Every step of a program can be reached, whatever their number; so can what is stored behind the last."""
    count, seen = 200, set()
    assert steps_at(1, 5) == range(5) == steps_at(6, 5)
    for step in range(1, count + 2):
        shown = steps_at(step, count)
        assert min(step, count) - 1 in shown and len(shown) == MAX_STEPS and shown.stop <= count
        seen |= set(shown)
    assert seen == set(range(count))
    monkeypatch.setattr(kernel_module, "MAX_STEPS", 1)
    early, late = (scene_of(entry, "param_flows", 16, step=step)[0] for step in (1, 4))  # 200 samples in steps of 64
    assert (early["firstStep"], late["firstStep"], late["numSteps"], len(late["steps"])) == (0, 3, 4, 1)
    assert late["stepBytes"] == early["stepBytes"] and program_total(late) == program_total(early)


def test_no_legal_tile_is_cut():
    """All rows, columns and samples of a tile are drawn."""
    assert max(*SIDES["tile_m"], *SIDES["tile_k"], PITCH) <= MAX_CELLS


def test_every_phase_shows_lines_of_its_kernel(entry):
    for phase, block_size, expected in (("element_flows", 16, "tl.dot(tl.trans(ratio), theta)"), ("element_flows", 4, "theta[:, :, None]"),
                                        ("param_flows", 16, "acc = tl.dot("), ("param_flows", 4, "x[:, None, :]"),
                                        ("em", 4, "counts += theta * tl.load(param_flows")):  # fmt: skip
        lines = scene_of(entry, phase, block_size)[0]["source"]["lines"]
        assert expected in "\n".join(lines["step"]) and "tl.store" in "\n".join(lines["store"])


def test_the_lines_are_those_of_the_kernel():
    for variant, tensor, run, expected in [("paper", True, 64, "tl.dot"), ("scaled", True, 16, "for step"), ("scaled", True, 256, "for j in"),
                                           ("scaled", True, 64, "tl.exp2(scale - base)"), ("scaled", False, 4, "theta[:, :, None]")]:  # fmt: skip
        found = source(variant, tensor, run, 64)
        assert expected in "\n".join(found["lines"]["step"]) and "tl.store" in found["lines"]["store"][-1]


def tiles_have_the_room(lab):
    """In presenter size, of a class that sits far away."""
    lab.page.click("[data-pcv=presenter]")
    lab.page.wait_for_function("""() => {
        const tiles = [...document.querySelectorAll('.pcv-kernel-place canvas')].map(tile => tile.clientHeight);
        return Math.min(...tiles) > 0.45 * document.querySelector('.pcv-kernel').clientHeight;
    }""")
    chosen = "menu => menu.selectedOptions[0].text"
    assert lab.page.locator("[data-pcv=kernel-variant]").evaluate(chosen) == "paper"
    lab.page.click("[data-pcv=presenter]")
    lab.page.wait_for_function("() => document.querySelector('.pcv-kernel').dataset.low === 'false'")
    assert lab.page.locator("[data-pcv=kernel-variant]").evaluate(chosen) == "paper: running maximum"


@pytest.mark.browser
def test_steps_in_the_page(lab):
    lab.open([CELL])
    lab.run_all()
    lab.wait("[data-pcv=slider]")
    lab.page.click("[data-pcv=tab-kernel]")
    lab.wait("[data-pcv=kernel-step]")
    lab.page.set_default_timeout(8000)
    assert "Step 1 of" in lab.page.inner_text("[data-pcv=kernel-text]")
    tiles_have_the_room(lab)
    lab.theme("dark")
    lab.page.wait_for_function("() => document.querySelector('.pcv-kernel').dataset.pcvTheme === 'dark'")
    lab.page.locator("[data-pcv=kernel-right]").press("ArrowRight")
    lab.page.locator("[data-pcv=kernel-right]").press("ArrowRight")
    assert "child 0, sample 1" in lab.page.inner_text(".pcv-kernel .pcv-tip")
    lab.page.locator("[data-pcv=kernel-step]").focus()
    lab.page.keyboard.press("End")
    assert lab.page.inner_text("[data-pcv=kernel-text]").startswith("Store log p")
    last = int(lab.page.get_attribute("[data-pcv=kernel-program]", "max"))
    lab.page.fill("[data-pcv=kernel-program]", str(last))
    lab.page.keyboard.press("Tab")
    same = "() => ['kernel-bytes', 'kernel-launch-bytes'].map(name => document.querySelector(`[data-pcv=${name}]`).dataset.value)"
    lab.page.wait_for_function(f"() => new Set(({same})()).size === 1")
    assert f"Program {last} runs in wave" in lab.page.get_attribute("[data-pcv=kernel-waves]", "aria-label")
    for variant in ("float32", "scaled"):
        lab.page.select_option("[data-pcv=kernel-variant]", variant)
        lab.wait(f".pcv-kernel[data-variant={variant}]")
    lab.page.select_option("[data-pcv=kernel-phase]", "element_flows")
    lab.page.fill("[data-pcv=kernel-sample]", "5")  # before the answer to the choice has come
    lab.page.keyboard.press("Tab")
    came = "() => !document.querySelector('[data-fading]') && document.querySelector('[data-pcv=kernel-sample]').value === '5'"
    lab.wait(".pcv-kernel[data-phase=element_flows]")
    lab.page.wait_for_function(came)
    for phase in ("em", "param_flows"):
        lab.page.select_option("[data-pcv=kernel-phase]", phase)
        lab.wait(f".pcv-kernel[data-phase={phase}]")
    lab.page.locator("[data-pcv=kernel-step]").focus()
    for key in ("Home", "ArrowRight", "Space", "b", "x"):
        lab.page.keyboard.press(key)
    lab.page.wait_for_function("() => Number(document.querySelector('.pcv-kernel').dataset.step) >= 2")
    assert lab.cell_count() == 1
    lab.assert_clean()
