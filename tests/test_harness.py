"""The browser harness itself, with an anywidget of a dozen lines: if this fails, look here before looking at a view."""

import os
import subprocess
import sys

import lab_harness
import pytest

WIDGET = '''
import anywidget, traitlets
class Counter(anywidget.AnyWidget):
    _esm = """
    export default { render({ model, el }) {
        const button = document.createElement("button");
        button.className = "harness-counter";
        const draw = () => { button.textContent = `count ${model.get("count")}`; };
        button.onclick = () => { model.set("count", model.get("count") + 1); model.save_changes(); };
        model.on("change:count", draw); draw(); el.append(button);
    } };
    """
    count = traitlets.Int(0).tag(sync=True)
counter = Counter()
'''


@pytest.mark.browser
def test_widget_round_trip(lab):
    lab.open([WIDGET, "counter"])
    lab.run_all()
    button = lab.wait(".harness-counter")
    costs = []
    for count in (1, 2, 3):  # JupyterLab's own start may still be talking during the first
        sent, received = lab.ws_bytes()
        button.click()
        lab.page.wait_for_function("count => document.querySelector('.harness-counter').textContent === `count ${count}`", arg=count)
        assert lab.kernel_eval("counter.count") == count
        more_sent, more_received = lab.ws_bytes()
        assert more_sent > sent and more_received > received
        costs.append((more_sent - sent, more_received - received))
    assert all(min(cost) < 10_000 for cost in zip(*costs)), costs
    lab.kernel_eval("setattr(counter, 'count', 7)")
    lab.page.wait_for_function("() => document.querySelector('.harness-counter').textContent === 'count 7'")
    assert lab.cell_count() == 2
    for theme in ("dark", "light"):
        lab.theme(theme)
        assert lab.screenshot(f"{theme}.png").stat().st_size > 5_000
    lab.assert_clean()


@pytest.mark.browser
def test_errors_are_seen(lab):
    lab.open(["1 / 0"])
    lab.run_all()
    assert lab.cell_errors() == ["ZeroDivisionError: division by zero"]
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        lab.assert_clean()


@pytest.mark.skipif(any(os.path.isfile(path) for path in lab_harness._CHROMIUM_PATHS), reason="a browser is installed outside PATH")
@pytest.mark.slow
@pytest.mark.parametrize(("option", "outcome"), [([], "2 skipped"), (["--require-browser"], "2 errors")])
def test_without_chromium(option, outcome, tmp_path):
    command = [sys.executable, "-m", "pytest", __file__, "-m", "browser", "-p", "no:cacheprovider", *option]
    env = {**os.environ, "PATH": str(tmp_path), "PYTEST_ADDOPTS": ""}
    text = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, cwd=os.path.dirname(__file__)).stdout
    assert outcome in text and "no Chromium found on PATH" in text
