"""The budgets of the explorer on circuits of real size: the digits circuit that it prepares itself, and PD-128 with 608,257 nodes."""

import time

import pytest
from test_explorer_browser import READY, ROOT, slider_within_budget, value, wake

pytestmark = [pytest.mark.browser, pytest.mark.alone]
PD_128 = """
import pcviz as pcv
root = pcv.PD((28, 28), num_latents=128, split_intervals=4, dist=pcv.Categorical(num_cats=256), conn_block=32, seed=0)
explorer = pcv.explore(root)
explorer
"""


def stages(lab, *names):
    for name in names:
        lab.page.click(f"[data-pcv=tab-{name}]")
        lab.wait(f"[data-pcv=stage-{name}]")


def test_digits_circuit(lab):
    lab.open(["import pcviz as pcv\nexplorer = pcv.explore()\nexplorer"])
    lab.run_all()
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=circuit]')?.options[1]?.disabled === false", timeout=120_000)
    lab.page.select_option("[data-pcv=circuit]", index=1)
    lab.page.wait_for_function("root => document.querySelector(root).dataset.ready?.split(' ').length === 6", arg=ROOT, timeout=60_000)
    stages(lab, "cost", "blocks")
    before, moves = slider_within_budget(lab, 6)
    wake(lab)
    assert (sum(lab.ws_bytes()) - before) / moves < 2000 and sum(lab.ws_bytes()) < 6_000_000
    lab.assert_clean()


def test_pd_128(lab):
    lab.open([PD_128])
    start = time.monotonic()
    lab.run_all()
    lab.page.wait_for_function(READY, arg=1, timeout=60_000)
    print(f"PD-128: {time.monotonic() - start:.1f} s to the first frame")
    lab.page.wait_for_function(READY, arg=8, timeout=120_000)
    print(f"PD-128: {time.monotonic() - start:.1f} s to the frames of all sizes")
    stages(lab, "cost", "dag", "blocks")
    before, moves = slider_within_budget(lab, 8)
    wake(lab)
    assert (sum(lab.ws_bytes()) - before) / moves < 2000 and sum(lab.ws_bytes()) < 6_000_000
    size = int(lab.page.get_attribute("[data-pcv=headline]", "data-block-size"))
    assert value(lab, "headline-launches") == lab.kernel_eval(
        f"len(pcv.trace(pcv.plan_summary(root, block_size={size}), 512, passes=('forward',), impl='triton').launches)", timeout_s=60)
    lab.assert_clean()
