"""The Kernel view: counters equal to the traffic model, scenes of real programs, and the page. Its numbers against the Triton
kernels: interpreted_triton.py."""

import numpy as np
import pytest

import pcviz as pcv
from pcviz.ir.nodes import init_params
from pcviz.kernel_steps import bytes_before, program_bytes, wave_of
from pcviz.traffic import launch_traffic
from pcviz.widgets.circuits import user_entry
from pcviz.widgets.frames import Settings
from pcviz.widgets.kernel_job import KernelJob
from pcviz.widgets.packing import pack, unpack
from pcviz.widgets.scenes.kernel import source, static_kernel

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


@pytest.mark.parametrize("block_size, variant", [(1, "paper"), (4, "scaled"), (16, "paper"), (16, "scaled")])
def test_a_scene_holds_the_circuits_values(entry, block_size, variant):
    """What the last step leaves is log p of the torch engine, for the sums and samples that the scene names."""
    settings, job = Settings(batch_size=200), KernelJob()
    report = pcv.estimate(pcv.plan_summary(entry.root, block_size=block_size, padding_tolerance=0.25), 200)
    scene = unpack(pack(job.scene(entry, settings, report, block_size, 2, {"program": 3, "sample": 150, "variant": variant, "follow": True})))
    pc = pcv.TensorCircuit(pcv.compile(entry.root, block_size=block_size, padding_tolerance=0.25))
    group = pc.plan.layers[1].groups[scene["group"]]
    row = group.nids[scene["sums"] // group.sum_block] + scene["sums"] % group.sum_block
    low, high = scene["shown"]
    assert low <= 150 < high and high - low <= 64
    stored = np.frombuffer(scene["stored"], "<f4").reshape(-1, high - low)
    expected = pc.node_values(entry.x[:200])[row : row + len(stored), low:high].numpy()
    np.testing.assert_allclose(stored, expected, atol=3e-3)
    own = scene["indexBytes"] + scene["hidden"] + sum(step["bytes"] for step in scene["steps"]) + scene["storeBytes"]
    assert 0 < scene["before"] + own <= scene["launchBytes"]
    launches = pcv.trace(pc.plan, 200, passes=("forward",), impl="triton", variant=variant).phase("forward")
    launch = next(each for each in launches if (each.layer, each.group) == (2, scene["group"]))
    assert scene["launchBytes"] == launch_traffic(launch, report.device, "fp16").l1_bytes
    assert "from" in static_kernel(scene) and len(static_kernel(scene)) < 60_000


def test_the_lines_are_those_of_the_kernel():
    for variant, tensor, run, expected in [("paper", True, 64, "tl.dot"), ("scaled", True, 16, "for step"), ("scaled", True, 256, "for j in"),
                                           ("scaled", True, 64, "tl.exp2(scale - base)"), ("scaled", False, 4, "theta[:, :, None]")]:  # fmt: skip
        found = source(variant, tensor, run, 64)
        assert expected in "\n".join(found["lines"]["step"]) and "tl.store" in found["lines"]["store"][-1]


@pytest.mark.browser
def test_steps_in_the_page(lab):
    lab.open([CELL])
    lab.run_all()
    lab.wait("[data-pcv=slider]")
    lab.page.click("[data-pcv=tab-kernel]")
    lab.wait("[data-pcv=kernel-step]")
    lab.page.set_default_timeout(8000)
    assert "Step 1 of" in lab.page.inner_text("[data-pcv=kernel-text]")
    for theme in ("dark", "light"):
        lab.theme(theme)
        lab.page.wait_for_function("theme => document.querySelector('.pcv-kernel').dataset.pcvTheme === theme", arg=theme)
        lab.page.locator("[data-pcv=root]").evaluate("root => root.scrollIntoView()")
        lab.screenshot(f"kernel-{theme}.png")
    lab.page.locator("[data-pcv=kernel-step]").focus()
    lab.page.keyboard.press("End")
    assert lab.page.inner_text("[data-pcv=kernel-text]").startswith("Store log p")
    last = int(lab.page.get_attribute("[data-pcv=kernel-program]", "max"))
    lab.page.fill("[data-pcv=kernel-program]", str(last))
    lab.page.keyboard.press("Tab")
    same = "() => ['kernel-bytes', 'kernel-launch-bytes'].map(name => document.querySelector(`[data-pcv=${name}]`).dataset.value)"
    lab.page.wait_for_function(f"() => new Set(({same})()).size === 1")
    lab.page.select_option("[data-pcv=kernel-variant]", "scaled")
    lab.wait(".pcv-kernel[data-variant=scaled]")
    lab.page.locator("[data-pcv=kernel-step]").focus()
    for key in ("Home", "ArrowRight", "Space", "b", "x"):
        lab.page.keyboard.press(key)
    lab.page.wait_for_function("() => Number(document.querySelector('.pcv-kernel').dataset.step) >= 2")
    assert lab.cell_count() == 1
    lab.assert_clean()
