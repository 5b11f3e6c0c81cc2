"""Scenes for teachers, states as JSON, undo, code to copy: without a browser, and once in a real JupyterLab."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from test_explorer_browser import wait_quiet

import pcviz as pcv
from pcviz.recorded import figure_5_rows
from pcviz.widgets.circuits import default_layer
from pcviz.widgets.state import KEYS, checked_state, notebook_names, scene_for_page, scene_state
from pcviz.widgets.teaching import SCENES, scene_entry, scene_named

ISSUE_NAMES = ("reloads", "block size 1 to 64", "padding-loses", "groups", "underflow", "same epochs, different seconds")


@pytest.fixture(scope="module")
def entries():
    return {scene.circuit: scene_entry(scene.circuit) for scene in SCENES}


def times(entry, tolerance=0.25):
    plans = {size: pcv.plan_summary(entry.root, block_size=size, padding_tolerance=tolerance) for size in entry.sizes}
    return plans, {size: pcv.estimate(plan).forward.time_ms for size, plan in plans.items()}


def test_scenes_are_whole(entries):
    assert {*ISSUE_NAMES} <= {scene.name for scene in SCENES} and len(SCENES) <= 9
    for scene in SCENES:
        entry = entries[scene.circuit]
        assert scene_named(scene.name.upper().replace(" ", "-")) is scene
        assert scene.block_size in entry.sizes and scene.title and scene.look.endswith(".")
        assert bool(scene.question) != scene.task.endswith(".")  # one line says what to do, in any size
        assert scene.question is None or {scene.question.size, scene.question.base or 1} <= set(entry.sizes)
        assert checked_state(scene_state(scene)) and json.dumps(scene_for_page(scene))


def test_a_saved_scene_has_the_tolerances_of_its_text():
    scene = scene_named("groups")
    tolerances = [each.padding_tolerance for each in scene.all_settings]
    assert tolerances[0] == 0 and all(f"{tolerance:g}" in scene.task for tolerance in tolerances)


def test_an_unknown_scene_names_the_known_ones():
    with pytest.raises(ValueError, match="no scene called 'nothing'; the scenes are 'reloads', .*'same epochs, different seconds'"):
        pcv.explore(scene="nothing")
    with pytest.raises(ValueError, match="brings its own circuit"):
        pcv.explore(scene_entry("width 48").root, scene="groups")


def test_what_the_scenes_say_is_so(entries):
    plans, ms = times(entries["scattered"])
    assert ms[8] > 3 * ms[1] and plans[1].padding_share == 0 and plans[8].padding_share > 0.9
    launches = [pcv.plan_summary(entries["pruned"].root, block_size=1, padding_tolerance=t).forward_launches for t in (0, 0.1, 0.25)]
    assert launches[0] > 2 * launches[1] and launches[1] > 1.2 * launches[2]
    plans, ms = times(entries["width 48"])
    assert plans[16].total("missing_edges") == 0 < plans[32].total("missing_edges") and ms[32] > ms[16]
    assert plans[16].total("absent_edges") == plans[16].total("pseudo_edges") == 0
    assert entries["learning"].can_train and not entries["pruned"].can_train


def test_a_saved_page_asks_for_nothing_that_it_cannot_do():
    asked = {scene.name: (scene.saved_task(False), scene.saved_task(True)) for scene in SCENES if scene.saved_task(False) != scene.task}
    (without, trained), name = asked.pop("same epochs, different seconds"), "same epochs, different seconds"
    assert without.startswith(f'In a notebook, pcv.explore(scene="{name}"): press Compare sizes') and "Compare" not in trained and not asked
    assert all(scene.saved_task(True) == scene.task for scene in SCENES if scene.name != name)


def test_underflow_loses_sums_that_the_engine_keeps(entries):
    """Sum i of the scene lies 12 i nats below sum 0: float16 loses the far ones, and the circuit's own value is right."""
    from pcviz.widgets.frames import Settings
    from pcviz.widgets.kernel_job import KernelJob

    entry, scene = entries["far apart"], scene_named("underflow")
    report = pcv.estimate(pcv.plan_summary(entry.root, block_size=16), 64)
    shown = KernelJob().scene(entry, Settings(batch_size=64), report, 16, 1, {"variant": "paper", "sample": 0})
    stored = np.frombuffer(shown["stored"], "<f4").reshape(16, -1)[:, 0]
    lost = np.frombuffer(shown["lost"], np.uint8).reshape(16, -1)[:, 0]
    assert not lost[0] and lost[-1] and 4 < lost.sum() < 16 and (np.diff(lost.astype(int)) >= 0).all()
    assert shown["steps"][0]["heads"][:2] == ["P: 16 sums × 16 of 64 children", "e: 16 of 64 children × 64 samples"]  # what is masked is not drawn
    assert shown["steps"][0]["shapes"] == [[16, 16], [16, 64], [16, 64]]
    assert shown["guard"].startswith(f"left to the guard: {lost.sum()} of 16 sums of sample 0, ")
    pc = pcv.TensorCircuit(pcv.compile(entry.root, block_size=16))
    values = pc.node_values(entry.x[:1], nodes=entry.root.children[0])[:, 0].numpy()
    np.testing.assert_allclose(values - values[0], -12.0 * np.arange(16) - values[0], atol=0.05)
    np.testing.assert_allclose(stored, values, atol=0.05)  # with those that the guard computes
    assert scene.layer == 1 and default_layer(entry.root) in (1, 2)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("{", "is no JSON"),
        ([1], "A state is a dictionary"),
        ({"size": 3}, "A state has no 'size'; it may have version, circuit"),
        ("[" * 10**5, "is no JSON"),
        (b"\xff", "is no JSON"),
        ('{"layer": ' + "9" * 5000 + "}", "is no JSON"),
        (" " * (1 << 20) + "{}", "at most 1,048,576 characters"),
        ({"version": "1"}, "version '1', this pcviz reads"),
        ({"block_size": True}, "block_size of a state must be a whole number of 1 or more, got True"),
        ({"layer": 10**5000}, "layer must be one of 1 to 2 for this circuit"),
        ({"circuit": ["digits"]}, r"circuit of a state must be a name, got \['digits'\]"),
        ({"scene": "groups", "circuit": "figure 5"}, "scene 'groups' is of the circuit 'pruned', got circuit 'figure 5'"),
        ({"scene": 4}, "scene of a state must be a name, got 4"),
        ({"scene": "x" * 10**6}, "no scene called 'xxx"),
        ({"device": {"name": "cpu"}}, "Device must be one of H100-SXM, cpu, got {'name'"),
        ({"padding_tolerance": 10**400}, "Tolerance must be a share of 0 or more"),
        ('{"padding_tolerance": NaN}', "Tolerance must be a share of 0 or more, such as 0.25, got nan"),
        ({"batch_size": "9" * 5000}, "Batch size must be a whole number"),
        ({"stages": ["cost", "<img>"]}, "stages of a state must be a list of some of blocks, cost"),
        ({"presenter": "no"}, "presenter of a state must be true or false, got 'no'"),
        ({"node_range": "all"}, "node_range of a state must be null or two node numbers"),
        ({"compare": {"circuit": "elsewhere"}}, "no circuit called 'elsewhere'"),
        ({"compare": {"block_size": True}}, "compare of a state must have"),
        ({"version": 2}, "version 2, this pcviz reads version 1"),
        ({"block_size": 0}, "block_size of a state must be a whole number"),
        ({"phase": "sideways"}, "phase of a state must be one of forward"),
        ({"stages": "cost"}, "stages of a state must be a list"),
        ({"circuit": "mine"}, "no circuit called 'mine'"),
        ({"block_size": 3}, "block_size must be one of 1, 2, 4"),
        ({"batch_size": 0}, "Batch size must be a whole number"),
        ({"compare": 16}, "compare of a state must have some of circuit, block_size, batch_size"),
        ({"compare": {"block_size": "16"}}, "a block size of 1 or more"),
        ({"compare": {"device": "abacus"}}, "Device must be one of"),
        ({"launch": {"phase": "sideways", "group": 0}}, "launch of a state must have a phase, one of forward"),
    ],
)
def test_damaged_states_are_refused(state, text):
    with pytest.raises(ValueError, match=text) as error:
        pcv.explore(state=state)
    assert len(str(error.value)) < 500


def test_a_state_comes_back_as_it_was():
    kept, launch = {"block_size": 8, "padding_tolerance": 0.5}, {"phase": "forward", "group": 0}
    first = pcv.explore(
        scene="missing rows",
        state={"block_size": 32, "batch_size": 64, "stages": ["dag", "cost"], "phase": "both", "compare": kept, "launch": launch},
    )
    try:
        state = first.state
        assert set(state) == set(KEYS) and json.loads(json.dumps(state)) == state
        assert (state["circuit"], state["block_size"], state["batch_size"], state["scene"]) == ("width 48", 32, 64, "missing rows")
        assert "RAT-SPN" in first._static and (state["compare"], state["launch"]) == (kept, launch)
    finally:
        first.close()
    again = pcv.explore(state=json.dumps(state))
    assert again.state == state
    again.close()


def test_code_names_the_variables_of_the_notebook(monkeypatch):
    import IPython

    root, x = object(), object()
    assert notebook_names(root=root, x=None) == {"root": "root"}
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"user_ns": {"_": root, "circuit": root, "x": x, "data": x}})())
    assert notebook_names(root=root, x=x) == {"root": "circuit", "x": "x"}


# ---- in the page --------------------------------------------------------------------------------------------------------


def shown(lab, name):
    return lab.page.inner_text(f"[data-pcv={name}]")


def press(lab, *keys):
    for key in keys:
        lab.page.keyboard.press(key)


def wait_place(lab, scene, size):
    at = "(() => { const { scene, blockSize } = document.querySelector('[data-pcv=root]').dataset; return `${scene}, ${blockSize}`; })()"
    lab.page.wait_for_function(f"place => {at} === place", arg=f"{scene}, {size}")


def saved_as(lab, name):
    with lab.page.expect_download(timeout=60_000) as saved:  # a page takes seconds of two idle cores
        lab.page.click(f"[data-pcv=save-{name}]")
    saved.value.save_as(lab.folder / "saved")
    return (lab.folder / "saved").read_bytes()


def answered(lab, text):
    lab.page.wait_for_function("text => document.querySelector('[data-pcv=answer]').textContent.startsWith(text)", arg=text)
    return float(lab.page.get_attribute("[data-pcv=answer]", "data-value"))


def wait_kernel(lab, size):
    wait_state(lab, f"explorer.state['block_size'] == {size}")


def wait_state(lab, condition, seconds=15):
    """The kernel hears of a change once it has stayed."""
    for _ in range(5 * seconds):
        if lab.kernel_eval(condition):
            return
        lab.page.wait_for_timeout(200)
    raise AssertionError(f"not so in the kernel: {condition}; the state is {lab.kernel_eval('explorer.state')}")


def kept_in_compare(lab):
    """A stays when the circuit changes, undo brings back the A before, and the state says what A is."""
    table = "[data-pcv=compare-a-time_ms]"
    lab.page.click("[data-pcv=tab-compare]")
    wait_state(lab, "'compare' in explorer.state['stages']")
    lab.page.click("[data-pcv=compare-keep]")
    time = float(lab.page.get_attribute(table, "data-value"))
    wait_state(lab, "(explorer.state['compare'] or {}).get('block_size') == 32")
    lab.page.select_option("[data-pcv=compare-size]", "16")
    wait_state(lab, "explorer.state['compare']['block_size'] == 16")
    assert float(lab.page.get_attribute(table, "data-value")) != time
    press(lab, "Control+z")
    lab.page.wait_for_function("time => Number(document.querySelector('[data-pcv=compare-a-time_ms]').dataset.value) === time", arg=time)
    lab.page.select_option("[data-pcv=circuit]", "figure 5")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=compare-b-groups]').dataset.value === '2'")
    assert float(lab.page.get_attribute(table, "data-value")) == time and "width 48" in lab.kernel_eval("explorer.state['compare']['circuit']")
    press(lab, "Control+z")
    wait_place(lab, "missing rows", 32)
    wait_state(lab, "explorer.state['compare'] == dict(circuit='width 48', block_size=32, batch_size=512, padding_tolerance=0.25, device='H100-SXM')")


def leave_the_stage_its_room(lab):
    """In presenter size a scene is a strip; its text lies over the stage while somebody wants it."""
    high = "['.pcv-stages', '[data-pcv=root]'].map(part => document.querySelector(part).clientHeight)"
    lab.page.click("[data-pcv=presenter]")
    for opened in (False, True, False):
        assert lab.page.is_visible("[data-pcv=scene-look]") == opened and lab.page.is_visible("[data-pcv=ask]")
        stage, whole = lab.page.evaluate(high)
        assert stage > 0.55 * whole
        lab.page.click("[data-pcv=scene-about]")
    lab.page.click("[data-pcv=presenter]")
    assert lab.page.is_visible("[data-pcv=scene-look]")
    lab.page.focus("[data-pcv=guess]")


@pytest.mark.browser
def test_a_lesson_in_the_page(lab):
    lab.open(['import pcviz as pcv\nexplorer = pcv.explore(scene="missing rows")\nexplorer'])
    lab.run_all()
    lab.page.set_default_timeout(20_000)
    lab.wait("[data-pcv=scene]")
    leave_the_stage_its_room(lab)
    slider = lab.page.locator("[data-pcv=slider]")
    assert slider.is_disabled() and lab.page.evaluate("document.activeElement.dataset.pcv") == "guess"
    press(lab, "m", "Enter")
    wait_quiet(lab)  # frames that come take nobody's message away
    assert "must be a number" in shown(lab, "status") and slider.is_disabled()
    press(lab, "Backspace", "3", "Enter")
    assert shown(lab, "status") == "Ready."
    assert lab.page.evaluate("document.activeElement.dataset.pcv") == "slider" and lab.page.is_disabled("[data-pcv=guess]")
    assert shown(lab, "answer") == "Locked: 3.0%. Now move the slider to 32."
    press(lab, "ArrowRight")
    share = pcv.plan_summary(scene_entry("width 48").root, block_size=32).padding_share
    assert answered(lab, "Locked: 3.0%. It is") == pytest.approx(100 * share)
    wait_kernel(lab, 32)
    press(lab, "Control+z")
    wait_place(lab, "missing rows", 16)
    press(lab, "Control+Shift+z")
    wait_place(lab, "missing rows", 32)
    lab.page.click("[data-pcv=presenter]")
    press(lab, "2")
    wait_place(lab, "block size 1 to 64", 1)
    assert lab.page.get_attribute("[data-pcv=presenter]", "aria-pressed") == "true"  # chosen a moment ago, and kept
    lab.page.evaluate("document.querySelector('[data-pcv=presenter]').click()")  # the guess keeps the focus
    assert lab.page.evaluate("document.activeElement.dataset.pcv") == "guess"  # a digit is a guess there
    press(lab, "Escape")
    assert lab.page.evaluate("document.activeElement.dataset.pcv") == "lock" and lab.page.is_visible("[data-pcv=scene-look]")
    lab.page.click("[data-pcv=skip]")
    press(lab, "End")
    ms = {row.block_size: row.time_ms for row in figure_5_rows() if row.phase == "forward"}
    assert answered(lab, "No guess. It is 32") == pytest.approx(ms[1] / ms[64])
    press(lab, "Control+z", "Control+z", "Control+z")
    wait_place(lab, "missing rows", 32)
    wait_kernel(lab, 32)
    wait_quiet(lab)  # all that was undone is there: two of the three may need the kernel, and the later one brings its own stages
    kept_in_compare(lab)
    lab.page.click("[data-pcv=share]")
    lab.page.click("[data-pcv=copy-code]")
    code = lab.page.input_value("[data-pcv=copied]")
    assert code.startswith('pcv.explore(scene="missing rows", state={')
    again = eval(code, {"pcv": pcv})
    assert again.state == lab.kernel_eval("explorer.state")
    again.close()
    lab.page.click("[data-pcv=copy-state]")
    assert json.loads(lab.page.input_value("[data-pcv=copied]")) == lab.kernel_eval("explorer.state")
    assert saved_as(lab, "page").startswith(b"<!doctype html>")
    picture, table = saved_as(lab, "png"), saved_as(lab, "csv").decode()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
    assert ElementTree.fromstring(saved_as(lab, "svg")).tag.endswith("svg")
    assert "Blocks" in table and "28672" in table
    assert lab.cell_count() == 1
    lab.errors = [error for error in lab.errors if "must be a number" not in error]
    lab.assert_clean()
