"""`pcviz lab`: the lesson folder, and the server in a real browser, with its token and all."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from lab_harness import free_port, isolated_env, notebook, stop_process
from tornado.websocket import WebSocketClosedError

from pcviz import lab as lab_module
from pcviz.assets import notebook_names, notebook_path

START_JS = Path(lab_module.__file__).parent / "jupyter/labextensions/pcviz-start/static/start.js"


def write_notebook(path, *cells):
    path.write_text(json.dumps(notebook(list(cells))), encoding="utf-8")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Two made-up shipped notebooks in place of the real ones; returns their folder."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name in ("start.ipynb", "01.ipynb"):
        write_notebook(folder / name, f"# {name}, first edition")
    monkeypatch.setattr(lab_module, "_shipped", lambda: {path.name: path for path in folder.glob("*.ipynb")})
    return folder


def test_unchanged_copies_are_refreshed_and_changed_ones_kept(shipped, tmp_path):
    mine = tmp_path / "mine"
    assert set(lab_module.sync_lessons(mine).copied) == {"start.ipynb", "01.ipynb"}
    write_notebook(mine / "01.ipynb", "# my own notes")
    for name in ("start.ipynb", "01.ipynb"):
        write_notebook(shipped / name, f"# {name}, second edition")
    again = lab_module.sync_lessons(mine)
    assert (again.refreshed, again.kept) == (("start.ipynb",), ("01.ipynb",))
    assert "second edition" in (mine / "start.ipynb").read_text() and "my own notes" in (mine / "01.ipynb").read_text()
    assert lab_module.sync_lessons(mine).kept == ("01.ipynb",), "a change stays a change, however often lessons are brought up to date"


def test_saved_outputs_are_no_change(shipped, tmp_path):
    mine = tmp_path / "mine"
    lab_module.sync_lessons(mine)
    document = json.loads((mine / "start.ipynb").read_text())
    output = {"output_type": "stream", "name": "stdout", "text": ["hello"]}
    document["cells"][0].update(execution_count=3, outputs=[output], source=["# start.ipynb, ", "first edition"])
    (mine / "start.ipynb").write_text(json.dumps(document))
    write_notebook(shipped / "start.ipynb", "# start.ipynb, second edition")
    assert lab_module.sync_lessons(mine).refreshed == ("start.ipynb",)


def test_deleted_copies_come_back(shipped, tmp_path):
    mine = tmp_path / "mine"
    lab_module.sync_lessons(mine)
    (mine / "01.ipynb").unlink()
    assert lab_module.sync_lessons(mine).copied == ("01.ipynb",)


@pytest.mark.parametrize("manifest", ["", "[1]", "{", pytest.param("[" * 100_000, id="deep"), None])
def test_a_damaged_manifest_overwrites_nothing(shipped, tmp_path, manifest):
    mine = tmp_path / "mine"
    lab_module.sync_lessons(mine)
    write_notebook(mine / "01.ipynb", "# my own notes")
    (mine / ".pcviz-lessons.json").unlink()
    if manifest is not None:
        (mine / ".pcviz-lessons.json").write_text(manifest)
    assert lab_module.sync_lessons(mine).kept == ("01.ipynb",)


def test_what_is_no_notebook_any_more_is_kept(shipped, tmp_path):
    mine = tmp_path / "mine"
    lab_module.sync_lessons(mine)
    (mine / "01.ipynb").write_text("merge conflict <<<<<<<")
    assert lab_module.sync_lessons(mine).kept == ("01.ipynb",)


def test_impossible_folders_are_refused(shipped, tmp_path):
    with pytest.raises(lab_module.LabError, match="shipped lessons themselves"):
        lab_module.sync_lessons(shipped)
    (tmp_path / "file").write_text("")
    with pytest.raises(lab_module.LabError, match="Choose another folder"):
        lab_module.sync_lessons(tmp_path / "file")


def test_a_copy_that_fails_leaves_nothing(shipped, tmp_path, monkeypatch):
    def full(*_paths):
        raise OSError("no space left")

    monkeypatch.setattr(lab_module.os, "replace", full)
    with pytest.raises(lab_module.LabError, match="no space left"):
        lab_module.sync_lessons(tmp_path / "mine")
    assert not list((tmp_path / "mine").glob("*.*"))


def test_links_in_the_folder_lead_nowhere(shipped, tmp_path):
    """A folder from a stranger: what it names is not written to."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.write_text("precious")
    for name in ("start.ipynb", "start.ipynb.part", "01.ipynb.part", ".pcviz-lessons.json", ".pcviz-lessons.json.part"):
        (mine / name).symlink_to(theirs)
    assert lab_module.sync_lessons(mine).kept == ("start.ipynb",)
    assert theirs.read_text() == "precious" and "first edition" in (mine / "01.ipynb").read_text()


@pytest.mark.parametrize("name", ["pcviz.py", "ipykernel_launcher.py", "torch/__init__.py", "numpy.cpython-311-x86_64-linux-gnu.so"])
def test_what_would_take_a_package_s_place_is_refused(tmp_path, name):
    """start.ipynb runs by itself, and a kernel imports from its folder first."""
    for harmless in ("notes.py", "random.py", "data.csv", "plotly/readme.txt", "my_package/__init__.py", name):
        (tmp_path / harmless).parent.mkdir(exist_ok=True)
        lab_module.check_modules(tmp_path)
        (tmp_path / harmless).touch()
    path, package = tmp_path / name.partition("/")[0], re.match(r"\w+", name)[0]
    with pytest.raises(lab_module.LabError, match=f"{re.escape(str(path))} would be imported in the place of the package {package}, .* rename"):
        lab_module.check_modules(tmp_path)


def test_shipped_notebooks_hold_no_outputs_and_the_right_hash():
    assert notebook_names()[0] == "start.ipynb"
    for name in notebook_names():
        cells = json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), f"{name} has outputs: clear them"
        assert all(len("".join(cell["source"]).splitlines()) <= 15 for cell in cells if cell["cell_type"] == "code")
    expected = lab_module.fingerprint(notebook_path("start.ipynb"))
    found = re.search(r"SHIPPED = '(\w+)'", START_JS.read_text()).group(1)
    assert found == expected, f"start.ipynb has changed: write its hash into {START_JS.name}: SHIPPED = '{expected}'"


@pytest.fixture(scope="module")
def served(browser_ready, tmp_path_factory):
    """(the three lines, lesson folder, process) of a `pcviz lab` that runs; the browser application is exposed to the test."""
    home = tmp_path_factory.mktemp("pcviz-lab")
    env = isolated_env(home)
    for settings in (home / "settings").rglob("*.jupyterlab-settings"):
        settings.unlink()  # a user who has never started JupyterLab
    command = [sys.executable, "-m", "pcviz", "lab", "--no-browser", "--port", str(free_port()), "--folder", str(home / "lessons")]
    command += ["--", "--expose-app-in-browser"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True)
    try:
        yield [process.stdout.readline().rstrip("\n") for _ in range(3)], home, process
    finally:
        stop_process(process)


def wait_for_server(url):
    for _ in range(100):
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"no answer at {url}")


@pytest.fixture
def page(served, chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(40_000)
    wait_for_server(address(served))
    yield page
    context.close()


def address(served, name="start.ipynb"):
    return re.search(r"http://\S+", served[0][2]).group(0).replace("start.ipynb", name)


def kernel_idle(page):
    """A page that is closed while its kernel starts leaves the server with errors of Jupyter's own."""
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")


def counter(page):
    """Text of the prompt of the last code cell."""
    return page.evaluate("() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].at(-1)?.textContent")


MOVE_AND_LEAVE = """() => {
    const slider = document.querySelector('[data-pcv=slider]');
    slider.value = '1';
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    window.dispatchEvent(new Event('pagehide'));
    return new Date().toISOString();
}"""


# What JupyterLab shows where its kernel answers a loaded page just after two seconds of looking for the widget.
NOT_FOUND = """() => {
    const output = document.querySelector('.jp-CodeCell .pcv').closest('.jp-OutputArea-output');
    output.classList.add('jupyter-widgets');
    output.textContent = 'Error displaying widget: model not found';
    return document.querySelectorAll('.pcv').length;
}"""


def wait_explorer(page, block_size, errors):
    """Until it is shown at ``block_size``; without it, the error says what is shown instead."""
    from playwright.sync_api import TimeoutError as NotShown

    try:
        page.wait_for_selector(f"[data-pcv=root][data-block-size='{block_size}']", timeout=60_000)
    except NotShown as error:
        shown = "() => [...document.querySelectorAll('.jp-OutputArea-output')].map(output => output.textContent.slice(0, 200))"
        kernel = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
        raise AssertionError(f"outputs: {page.evaluate(shown)}; kernel: {page.evaluate(kernel)}; errors: {errors}") from error


def told_states(page):
    """[(block size, when)] that the page tells the kernel in a message of its own."""
    told = []

    def sent(frame):
        frame = frame if isinstance(frame, bytes) else frame.encode()
        if state := re.search(rb'{"block_size":(\d+),[^{}]*"kind":"state"', frame):
            told.append((int(state[1]), re.search(rb'"date":"([^"]+)"', frame)[1].decode()))

    page.on("websocket", lambda socket: socket.on("framesent", sent))
    return told


@pytest.mark.browser
def test_first_start(served, page):
    lines, home, _ = served
    assert re.match(r"pcviz .+, torch .+, JupyterLab 4\S*; \S", lines[0])
    assert lines[1] == f"Lessons: {(home / 'lessons').resolve()} (your changes are kept)"
    assert re.match(r"Open http://localhost:\d+/doc/tree/start\.ipynb\?token=\w{20,} +Ctrl-C stops", lines[2])
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address(served).split("/doc/")[0] + "/api/contents", timeout=10)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    told = told_states(page)
    page.goto(address(served))
    page.wait_for_selector(".jp-CodeCell .pcv", timeout=60_000)
    page.wait_for_function("() => document.activeElement?.closest('.pcv')?.checkVisibility()")
    assert counter(page) == "[1]:" and not errors, errors
    assert page.locator(".jp-Dialog").count() == 0 and page.locator(".Toastify__toast").count() == 0, "no pop-up"
    assert page.evaluate("() => document.querySelector('.jp-MarkdownCell img')?.naturalWidth > 100"), "the picture is shown"
    assert not list((home / "settings").rglob("*.jupyterlab-settings")), "the user's settings are theirs"
    assert page.is_disabled("[data-pcv=measure]") and page.is_disabled("[data-pcv=auto-measure]"), "figure 5 has no data"
    page.wait_for_function("() => window.jupyterapp.shell.currentWidget.context.model.dirty === false")
    left = page.evaluate(MOVE_AND_LEAVE)
    for _ in range(200):
        if told:
            break
        page.wait_for_timeout(100)
    assert [size for size, _ in told] == [2] and told[0][1] <= left, "a move is told before the page goes"
    page.reload()
    wait_explorer(page, 2, errors)
    kernel_idle(page)
    page.wait_for_timeout(1_000)
    assert counter(page) == "[1]:" and page.locator("[data-pcv=root]").count() == 1, "the explorer of before, not another one"
    for _ in range(2):
        assert page.evaluate(NOT_FOUND) == 0
        wait_explorer(page, 2, errors)
    assert page.locator("text=Error displaying widget").count() == 0 and page.locator("[data-pcv=root]").count() == 1


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "cells"),
    [("start.ipynb", ["import pcviz as pcv\n\npcv.explore()", "print('not shipped')"]), ("copy.ipynb", None)],
    ids=["changed source", "another name"],
)
def test_no_other_notebook_runs_by_itself(served, page, name, cells):
    lessons = served[1] / "lessons"
    if cells is None:
        (lessons / name).write_bytes(notebook_path("start.ipynb").read_bytes())
    else:
        write_notebook(lessons / name, *cells)
    page.goto(address(served, name))
    page.wait_for_selector(".jp-CodeCell")
    kernel_idle(page)
    page.wait_for_timeout(2_000)
    assert counter(page) == "[ ]:"


@pytest.mark.browser
def test_an_opened_notebook_shows_the_saved_tables(served, page):
    table = "<table><tr><td>a saved table<script>window.ran = true</script></td></tr></table>"
    data = {"application/vnd.jupyter.widget-view+json": {"model_id": "gone", "version_major": 2, "version_minor": 0}, "text/html": table}
    document = notebook(["1", "2"])
    document["cells"][0]["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": data}]
    (served[1] / "lessons/saved.ipynb").write_text(json.dumps(document), encoding="utf-8")
    page.goto(address(served, "saved.ipynb"))
    page.wait_for_selector("td:has-text('a saved table')")
    kernel_idle(page)
    assert page.locator("text=Error displaying widget").count() == 0 and page.evaluate("() => window.ran === undefined")


def test_a_closed_page_leaves_no_traceback(caplog):
    logger = logging.getLogger("asyncio")
    logger.addFilter(lab_module._no_closed_page)
    try:
        logger.error("Task exception was never retrieved", exc_info=WebSocketClosedError())
        logger.error("Task exception was never retrieved", exc_info=OSError("disk full"))
    finally:
        logger.removeFilter(lab_module._no_closed_page)
    assert [type(record.exc_info[1]) for record in caplog.records] == [OSError]


@pytest.mark.browser
@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_stops_without_a_question(served):
    lines, home, process = served
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stdout.read() == "", "three lines, no more"
    log = (home / "log").read_text()
    assert "Traceback" not in log, log
    assert not list((home / "runtime").glob("kernel-*.json")), "kernels are gone too"
