"""The explorer in a real JupyterLab. Circuits are small, so that a test waits for the page and not for a kernel."""

import random
import statistics
import time

import pytest

pytestmark = pytest.mark.browser

ROOT = "[data-pcv=root]"
READY = """count => {
    const root = document.querySelector('[data-pcv=root]');
    return root && root.dataset.blockSize && (root.dataset.ready || '').split(' ').length >= count;
}"""
SMALL = """
import pcviz as pcv
from pcviz.ir.nodes import init_params, sum_vectors
from pcviz.pruning import prune_edges
x = pcv.datasets.digits("train")
root = pcv.PD((8, 8), num_latents=8, split_intervals=4, dist=pcv.Categorical(num_cats=17), seed=0)
init_params(root, 0)
root = prune_edges(root, {id(nodes): nodes.params for nodes in sum_vectors(root)}, 0.4, 1)
explorer = pcv.explore(root, x, x_test=pcv.datasets.digits("test"))
explorer
"""
SIZES = [1, 2, 4, 8]
COUNTS = ("groups", "launches", "edges", "absent", "missing", "pseudo")
PLAN_COUNTS = """(lambda s, l: {
    "groups": [len(l.groups), s.num_groups],
    "launches": (lambda made: [made.count(l.index), len(made)])([one.layer for one in pcv.trace(s, 64, passes=("forward",), impl="triton").launches]),
    "edges": [l.edges, s.total("edges")], "absent": [l.absent_edges, s.total("absent_edges")],
    "missing": [l.missing_edges, s.total("missing_edges")], "pseudo": [l.pseudo_edges, s.total("pseudo_edges")],
})(*(lambda s: (s, s.layers[%d - 1]))(pcv.plan_summary(root, block_size=%d)))"""
# From the trusted input event to after the paint of the next frame, and whether all visible stages carry the new size then.
WATCH_SLIDER = """() => {
    window.moves = [];
    document.addEventListener('input', event => {
        const key = { slider: 'blockSize', 'blocks-tolerance': 'tolerance' }[event.target.dataset.pcv];
        if (!key) return;
        requestAnimationFrame(() => {
            const painted = new MessageChannel();
            painted.port1.onmessage = () => {
                const stages = [...document.querySelectorAll('.pcv-stage:not([hidden])')];
                const value = event.target.getAttribute('aria-valuetext').split(' ').pop();
                const shown = [...stages, document.querySelector('[data-pcv=headline]')].every(stage => stage.dataset[key] === value);
                moves.push({ ms: performance.now() - event.timeStamp, shown, trusted: event.isTrusted });
            };
            painted.port2.postMessage(0);
        });
    });
}"""

# How long the page takes for the kind of work that a move is, but always the same: a table of 480 cells, built and laid out.
WORK = """() => {
    const start = performance.now(), box = document.createElement('div');
    box.style.cssText = 'position: fixed; left: -999px; width: 500px; height: 500px; contain: strict';
    box.innerHTML = `<table>${`<tr>${'<td>word 0.5</td>'.repeat(8)}</tr>`.repeat(60)}</table>`;
    document.body.append(box);
    const laidOut = box.firstChild.offsetHeight > 0;
    box.remove();
    return laidOut && performance.now() - start;
}"""
WORK_MS = 12.5  # on a machine for which the budgets of a move are meant


def slowness(work):
    """How many times slower this machine is than one for which budgets are meant, from 1 to 3; ``work``: times of WORK after each move, in ms.
    A shared machine has a third of its speed for minutes, and more of it for moments: what counts is the page's own speed, then."""
    return min(max(1.0, statistics.median(work) / WORK_MS), 3.0)


def open_explorer(lab):
    lab.open([SMALL])
    lab.run_all()
    lab.page.wait_for_function(READY, arg=len(SIZES), timeout=60_000)
    return lab.wait("[data-pcv=slider]")


def value(lab, name):
    return float(lab.page.get_attribute(f"[data-pcv={name}]", "data-value"))


def status(lab):
    return lab.page.inner_text("[data-pcv=status]")


def wait_status(lab, text, seconds=60):
    """The status line once it says ``text``."""
    said = "text => { const said = document.querySelector('[data-pcv=status]').textContent; return said.includes(text) && said; }"
    return lab.page.wait_for_function(said, arg=text, timeout=seconds * 1000).json_value()


def wait_quiet(lab, seconds=1.5, limit=30):
    """Until nothing has come for some time: all frames are there."""
    seen, since, end = -1, time.monotonic(), time.monotonic() + limit
    while time.monotonic() - since < seconds and time.monotonic() < end:
        if lab.ws_bytes()[1] != seen:
            seen, since = lab.ws_bytes()[1], time.monotonic()
        lab.page.wait_for_timeout(100)


def wait_frames(lab, limit=60):
    """Until the kernel has made all frames that it makes unasked, and they are here: a slow machine is quiet between two of them."""
    end = time.monotonic() + limit
    ready = "(lambda worker: [worker._change.acquire(), worker._ready(), worker._change.release()][1])(explorer._session._frames)"
    while lab.kernel_eval(ready):
        assert time.monotonic() < end, f"frames are still made after {limit} s"
        lab.page.wait_for_timeout(200)
    wait_quiet(lab)


def click_slider(lab, index, count):
    box = lab.page.locator("[data-pcv=slider]").bounding_box()
    lab.page.mouse.click(box["x"] + 9 + (box["width"] - 18) * index / (count - 1), box["y"] + box["height"] / 2)


def type_over(lab, selector, text):
    lab.page.click(selector, click_count=3)
    lab.page.keyboard.type(text)
    lab.page.keyboard.press("Enter")


def test_opens_on_the_recorded_layer(lab):
    lab.open(["import pcviz as pcv\nexplorer = pcv.explore()\nexplorer"])
    lab.run_all()
    lab.page.wait_for_function(READY, arg=7, timeout=60_000)
    assert lab.page.evaluate("document.activeElement.dataset.pcv") == "slider"
    assert [tab for tab in ("blocks", "cost", "dag", "training") if lab.page.is_visible(f"[data-pcv=stage-{tab}]")] == ["blocks", "cost"]
    assert "Drag to 64" in lab.page.inner_text("[data-pcv=hint]")
    assert "PyJuice recorded, H100" in lab.page.inner_text("[data-pcv=headline-time]")
    cut = "() => [...document.querySelectorAll('.pcv-tile span, .pcv-side')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
    assert lab.page.evaluate(cut) == []
    slow = value(lab, "headline-time")
    lab.page.keyboard.press("End")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=hint]').dataset.explained === 'true'")
    fast = value(lab, "headline-time")
    assert slow / fast > 30
    assert lab.page.inner_text("[data-pcv=hint]").startswith("64 against 1: 32× faster, 7")
    lab.page.click("[data-pcv=cancel]", timeout=60_000) if lab.page.is_visible("[data-pcv=cancel]") else None
    lab.page.click("[data-pcv=settings]")
    lab.page.select_option("[data-pcv=device]", index=1)
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=hint]').textContent.startsWith('Drag to 64')")  # the news is of H100 figures
    lab.assert_clean()
    lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    lab.page.locator("[data-pcv=slider]").press("Home")
    lab.page.click("[data-pcv=measure]") if lab.page.is_enabled("[data-pcv=measure]") else lab.page.select_option("[data-pcv=device]", index=0)
    wait_status(lab, "run the cell again")
    assert not lab.errors


def test_counts_in_the_page_equal_the_plan(lab):
    slider = open_explorer(lab)
    slider.press("Home")
    for size in SIZES:
        for layer in (1, 4):
            lab.page.select_option("[data-pcv=blocks-layer]", str(layer))
            lab.wait(f"[data-pcv=stage-blocks][data-block-size='{size}'][data-layer='{layer}']")
            shown = {name: [value(lab, f"blocks-{name}"), value(lab, f"blocks-{name}-total")] for name in COUNTS}
            assert shown == lab.kernel_eval(PLAN_COUNTS % (layer, size))
        assert value(lab, "headline-launches") == value(lab, "blocks-launches-total")
        for name, figure in (("time", "time_ms"), ("l2", "l2_to_l1_bytes"), ("hbm", "hbm_bytes")):
            expected = lab.kernel_eval(f"pcv.estimate(pcv.plan_summary(root, block_size={size})).forward.{figure}")
            assert value(lab, f"headline-{name}") == pytest.approx(expected)
        slider.press("ArrowRight")
    menu, text = lab.page.locator("[data-pcv=blocks-layer]"), "menu => menu.selectedOptions[0].text"
    closed, whole = menu.evaluate(text), menu.get_attribute("title")
    assert whole.startswith(f"{closed}, ") and whole.endswith(" edges")  # no name is cut: details go
    menu.dispatch_event("pointerdown")
    assert menu.evaluate(text) == whole
    lab.page.select_option("[data-pcv=stage-cost] select[aria-label=pass]", "step")  # the headline follows the pass
    assert lab.wait("[data-pcv=headline-time] .pcv-tile-label").inner_text() == "Time, training step"
    made = "len(pcv.trace(pcv.plan_summary(root, block_size=8), 64, passes=('forward', 'backward', 'em'), impl='triton').launches)"
    assert value(lab, "headline-launches") == lab.kernel_eval(made)
    lab.assert_clean()


@pytest.mark.alone
def test_slider_moves_within_budget_while_the_kernel_sleeps(lab):
    open_explorer(lab)
    before, moves = slider_within_budget(lab, len(SIZES))
    move_tolerance(lab)
    wake(lab)
    assert (sum(lab.ws_bytes()) - before) / moves < 2000
    lab.assert_clean()


def slider_within_budget(lab, count):
    """Random non-adjacent moves among ``count`` sizes by mouse, the kernel asleep until ``wake``; (websocket bytes before them, moves)."""
    wait_frames(lab)
    lab.page.evaluate(WATCH_SLIDER)
    lab.page.evaluate("""() => {
        const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        window.asleep = kernel.requestExecute({code: 'import time; time.sleep(600)', silent: true, stop_on_error: false});
    }""")
    lab.page.wait_for_timeout(500)
    before, moves, rng, rounds = sum(lab.ws_bytes()), 30, random.Random(0), []
    for _ in range(3):  # the best round counts: a shared machine stutters
        lab.page.evaluate("moves.length = 0")
        at, work = 0, []
        for _ in range(moves):
            at = rng.choice([index for index in range(count) if abs(index - at) > 1])
            click_slider(lab, at, count)
            lab.page.wait_for_timeout(100)
            work.append(lab.page.evaluate(WORK))
        lab.page.wait_for_timeout(300)
        seen = lab.page.evaluate("moves")
        assert len(seen) >= moves - 1 and all(move["shown"] and move["trusted"] for move in seen)
        slow = slowness(work)
        times = sorted(move["ms"] / slow for move in seen)
        rounds.append((times[int(0.95 * len(times))], times[len(times) // 2]))
        print(f"slider: p95 {rounds[-1][0]:.0f} ms, median {rounds[-1][1]:.0f} ms, times {slow:.2f} on this machine")
        if rounds[-1][0] <= 50:
            break
    p95, median = min(rounds)
    assert median < 50 and p95 < 80  # the budget of an idle machine is a p95 of 50 ms
    return before, moves * len(rounds)


def wake(lab):
    """Ends the sleep, in which the kernel's main thread still is. Its status may say "idle": a subshell answers what the page says when a
    choice has stood for 0.7 s."""
    interrupted = lab.page.evaluate("""async () => {
        await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt();
        return (await window.asleep.done).content.ename;
    }""")
    assert interrupted == "KeyboardInterrupt"  # a sleep that has ended by itself gives no error


def move_tolerance(lab):
    """The second slider, by its keys: every stage and the headline follow, in the first slider's time."""
    seen, rounds = {}, []
    for _ in range(5):  # the best round counts, as above
        work = []
        lab.page.evaluate("moves.length = 0")
        lab.page.focus("[data-pcv=blocks-tolerance]")
        for key in ("End", "Home", *["ArrowRight"] * 4, *["ArrowLeft"] * 4, "End", "Home"):
            lab.page.keyboard.press(key)
            lab.page.wait_for_timeout(100)
            work.append(lab.page.evaluate(WORK))
            seen[lab.page.get_attribute("[data-pcv=headline]", "data-tolerance")] = value(lab, "blocks-groups-total")
        moves = lab.page.evaluate("moves")
        assert len(moves) == 12 and all(move["shown"] and move["trusted"] for move in moves)
        slow = slowness(work)
        times = sorted(move["ms"] / slow for move in moves)
        rounds.append((times[11], times[6]))
        print(f"tolerance: slowest {times[11]:.0f} ms, median {times[6]:.0f} ms, times {slow:.2f} on this machine")
        if times[11] <= 50:
            break
    assert list(seen) == ["1", "0", "0.1", "0.25", "0.5"] and seen["0"] > seen["0.25"] > seen["1"]
    slowest, median = (min(times) for times in zip(*rounds))
    assert median < 50 and slowest < 80  # the budget of an idle machine is a p95 of 50 ms


def test_opening_costs_less_than_six_megabytes(lab):
    open_explorer(lab)
    for name in ("cost", "dag", "training"):
        lab.page.click(f"[data-pcv=tab-{name}]")
    lab.page.wait_for_timeout(2000)
    assert sum(lab.ws_bytes()) < 6_000_000


def test_a_layer_of_the_dag_changes_every_stage(lab):
    open_explorer(lab)
    lab.page.click("[data-pcv=tab-dag]")
    column = lab.wait("[data-pcv=stage-dag] .pcv-dag-col[data-layer='2'], [data-pcv=stage-dag] .pcv-dag-col >> nth=2")
    column.click()
    lab.page.click("[data-pcv=tab-blocks]")
    lab.page.wait_for_function("() => ['2', '3'].includes(document.querySelector('[data-pcv=blocks-layer]').value)")  # its frame may be on its way
    chosen = int(lab.page.input_value("[data-pcv=blocks-layer]"))
    expected = lab.kernel_eval(f"pcv.plan_summary(root, block_size=1).layers[{chosen} - 1].edges")
    assert value(lab, "blocks-edges") == expected
    numbering = "__import__('pcviz.compiler.layering').compiler.layering.layering(root).numbering"
    vector = lab.kernel_eval(f"{numbering}.members[3, True][0]")
    node = lab.kernel_eval(f"int({numbering}.starts[{vector}]) + 1")
    lab.page.click("[data-pcv=tab-dag]")
    for words, opened in ((f"vector {vector}", f"vector:{vector}"), (f"{node:,}", f"node:{node}")):
        lab.page.fill("[data-pcv=dag-find]", words)
        lab.page.keyboard.press("Enter")
        lab.wait(f".pcv-dag[data-open='{opened}']")
    lab.page.select_option("[data-pcv=dag-quantity]", "flow_sample")
    lab.page.fill("[data-pcv=dag-sample]", "3")
    lab.page.keyboard.press("Tab")
    lab.page.wait_for_function("() => document.querySelector('[data-main]').getAttribute('aria-label').includes('flow ')")
    assert "of sample 3; computed" in lab.page.text_content(".pcv-dag .pcv-caption >> nth=1")
    lab.page.select_option("[data-pcv=dag-quantity]", "padding")
    lab.wait(".pcv-dag [data-main][aria-label*='padding']")
    slider = lab.page.locator("[data-pcv=slider]")
    slider.press("End")  # what is open stays open, in blocks of the new size
    lab.wait(f".pcv-dag[data-open='node:{node}'][data-size='{SIZES[-1]}']")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=blocks-layer]').value === '3'")
    lab.assert_clean()


# Records what JupyterLab does from now on. probe(node) focuses a node and lets JupyterLab alone hear all its notebook keys there;
# probeAll() does so with everything that takes the focus now, and says what was done there.
WATCH_SHORTCUTS = """async () => {
    const { commands } = window.jupyterapp, execute = commands.execute.bind(commands);
    const codes = { Enter: 13, Escape: 27, Backspace: 8, Tab: 9, End: 35, Home: 36, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40 };
    const keys = [...new Set(commands.keyBindings.filter(binding => /Notebook|Cell/.test(binding.selector)).flatMap(binding => binding.keys))];
    let probing = false;
    window.ran = [];
    commands.execute = (id, args) => { window.ran.push(id); return probing ? Promise.resolve() : execute(id, args); };
    window.addEventListener('keydown', event => {
        if (!probing) return;
        commands.processKeydownEvent(event);
        event.stopImmediatePropagation();
    }, true);
    window.probe = async (...nodes) => {
        for (const node of nodes) {
            node.focus({ preventScroll: true });
            probing = true;
            for (const key of keys) {
                const parts = key.split(' '), last = parts.pop(), held = name => parts.includes(name);
                const keyCode = codes[last] ?? last.charCodeAt(0), more = { ctrlKey: held('Ctrl'), shiftKey: held('Shift'), altKey: held('Alt') };
                node.dispatchEvent(new KeyboardEvent('keydown', { key: last, keyCode, bubbles: true, cancelable: true, ...more }));
            }
        }
        await new Promise(done => setTimeout(done, 20)); // JupyterLab may act a moment later
        probing = false;
        return window.ran.splice(0);
    };
    const larger = node => node.scrollHeight > node.clientHeight || node.scrollWidth > node.clientWidth;
    const scrolls = node => /auto|scroll/.test(getComputedStyle(node).overflow) && larger(node);
    window.probeAll = async () => {
        const focusable = node => !node.disabled && (node.tabIndex >= 0 || node.hasAttribute('tabindex') || scrolls(node)); // what scrolls is, too
        const nodes = [...document.querySelectorAll('[data-pcv=root], [data-pcv=root] *')].filter(node => node.checkVisibility() && focusable(node));
        const open = nodes.filter(node => node.dataset.lmSuppressShortcuts !== 'true');
        return (await probe(...nodes)).concat(open.map(node => node.outerHTML.slice(0, 120)));
    };
    return probe(document.querySelector('.jp-Notebook .jp-Cell')).then(done => [keys.length, new Set(done).size]);
}"""
KEYS = ("a", "b", "x", "d", "d", "m", "0", "0", "Shift+Enter", "ArrowDown", "Space", "Escape")


def press_all(lab, selector):
    lab.page.locator(f"{selector} >> visible=true").first.focus()
    for key in KEYS:
        lab.page.keyboard.press(key)


def test_jupyter_shortcuts_leave_the_notebook_alone(lab):
    """Every key that JupyterLab takes in a notebook, on everything that takes the focus; and real keys on each kind of control."""
    slider = open_explorer(lab)
    read_a_cell(lab)
    keys, done = lab.page.evaluate(WATCH_SHORTCUTS)
    assert keys >= 45 and done >= 30, "the probe finds JupyterLab's keys, and they act where nothing keeps them"
    lab.page.evaluate("window.ran.length = 0")
    kinds = {
        "blocks": "[data-pcv=blocks-map]", "dag": "[data-pcv=dag-layer]", "kernel": ".pcv-kernel input[type=range]",
        "memory": ".pcv-memory [tabindex='0']", "tiles": "select", "cost": ".pcv-cost [tabindex='0']",
        "training": "[data-pcv=training-page-learned]", "table": ".pcv-table-sheet", "compare": "select",
    }  # fmt: skip
    for view, selector in kinds.items():
        lab.page.click(f"[data-pcv=tab-{view}]")
        lab.page.wait_for_timeout(100)
        assert lab.page.evaluate("probeAll()") == [], view
        press_all(lab, f"[data-pcv=stage-{view}] {selector}")
        assert lab.page.evaluate("window.ran") == [], view
    in_panels_and_scenes(lab)
    lab.page.click("[data-pcv=tab-blocks]")
    press_all(lab, "[data-pcv=slider]")
    assert lab.page.evaluate("window.ran") == []
    save_from_everywhere(lab)
    cells = "() => [...window.jupyterapp.shell.currentWidget.content.model.cells].map(cell => [cell.type, cell.sharedModel.source])"
    assert lab.page.evaluate(cells) == [["code", SMALL]]
    slider.focus()
    slider.press("Home")
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "block size 2"


def in_panels_and_scenes(lab):
    """What opens later: parts of the DAG and names that fit, modes of Blocks, the menu with its text, a scene with its question."""
    lab.page.click("[data-pcv=tab-dag]")
    for words, opened in (("layer 2", "[data-pcv=dag-crumbs] b"), ("0:8", ".pcv-dag-found button")):
        lab.page.fill("[data-pcv=dag-find]", words)
        lab.page.keyboard.press("Enter")
        lab.wait(opened)
        assert lab.page.evaluate("probeAll()") == [], words
    lab.page.keyboard.press("Escape")
    lab.page.click("[data-pcv=tab-blocks]")
    for mode in ("figure", "cuts", "launch", "matrix"):
        lab.page.click(f"[data-pcv=blocks-mode-{mode}]")
        lab.page.wait_for_timeout(150)
        assert lab.page.evaluate("probeAll()") == [], mode
    lab.page.click("[data-pcv=share]")
    lab.page.click("[data-pcv=copy-state]")
    assert lab.page.evaluate("probeAll()") == []
    press_all(lab, "[data-pcv=copied]")
    assert lab.page.evaluate("window.ran") == []
    lab.page.locator("[data-pcv=slider]").press("1")
    lab.wait("[data-pcv=guess]")
    assert lab.page.evaluate("probeAll()") == []
    press_all(lab, "[data-pcv=guess]")
    lab.page.click("[data-pcv=skip]")
    lab.page.locator("[data-pcv=slider]").press("Control+z")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=root]').dataset.scene === ''")
    wait_quiet(lab)
    assert lab.page.evaluate("window.ran") == []


def save_from_everywhere(lab):
    """A click beside the controls keeps the keys in the explorer; Ctrl+S saves the notebook from there and from a control."""
    for place in ("[data-pcv=headline]", "[data-pcv=status-line]", "[data-pcv=slider]"):
        lab.page.click(place, position={"x": 3, "y": 3})
        for key in ("x", "d", "d", "Control+s"):
            lab.page.keyboard.press(key)
        assert lab.page.evaluate("window.ran.splice(0)") == ["docmanager:save"], place
    lab.page.click(".jp-CodeCell .jp-InputPrompt")  # outside: the cell gets its keys back
    assert lab.page.evaluate("document.activeElement.classList.contains('jp-Cell')")
    lab.page.focus("[data-pcv=slider]")


def read_a_cell(lab):
    """Zoom in to single cells by the keyboard, and along to one that is an edge: its parameter and flow are read out."""
    said = "document.querySelector('[data-pcv=blocks-map] [role=status]').textContent"
    lab.page.focus("[data-pcv=blocks-map]")
    for key in ("ArrowDown", "Enter"):
        lab.page.keyboard.press(key)
    lab.wait("[data-pcv=blocks-canvas][data-cells=single]")
    for _ in range(20):
        if "edge, parameter" in lab.page.evaluate(said):
            break
        lab.page.keyboard.press("ArrowLeft")
        lab.page.wait_for_timeout(150)
    lab.page.wait_for_function(f"() => /parameter [0-9.e-]+; flow [0-9.e-]+, summed over 512 samples/.test({said})")
    for key in ("a", "b", "x", "d", "d", "m", "0"):
        lab.page.keyboard.press(key)


def test_bad_input_shows_in_the_status_line(lab):
    open_explorer(lab)
    if not lab.page.is_visible("[data-pcv=tolerance]"):
        lab.page.click("[data-pcv=settings]")
    time_before = value(lab, "headline-time")
    type_over(lab, "[data-pcv=tolerance]", "-1")
    wait_status(lab, "Tolerance must be a share of 0 or more")
    assert lab.page.get_attribute("[data-pcv=tolerance]", "aria-invalid") == "true"
    assert value(lab, "headline-time") == time_before
    type_over(lab, "[data-pcv=tolerance]", "0")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=tolerance]').getAttribute('aria-invalid') === 'false'")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=blocks-pseudo-total]').dataset.value === '0'")
    lab.assert_clean()


def rate_while_sliding(lab):
    """Training points a second that reach the page while the slider moves."""
    started, before = time.monotonic(), value(lab, "training-points")
    for index in (0, 2, 0, 3, 1, 3):
        click_slider(lab, index, len(SIZES))
        lab.page.wait_for_timeout(300)
    return (value(lab, "training-points") - before) / (time.monotonic() - started)


def seconds_to_stop(lab):
    started = time.monotonic()
    lab.page.click("[data-pcv=stop]")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=root]').dataset.run === 'idle'")
    return time.monotonic() - started


def measures_each(lab, slider):
    """With its box ticked, after a move of the slider; with the button where a busy machine found that too long to do unasked."""
    if not lab.page.is_visible("[data-pcv=auto-measure]"):
        lab.page.click("[data-pcv=settings]")
    lab.page.check("[data-pcv=auto-measure]")
    for _ in range(100):  # the page tells of its moves from when the kernel has said that it knows
        if lab.kernel_eval("explorer._session._controls.auto_measure"):
            break
        lab.page.wait_for_timeout(100)
    slider.press("ArrowLeft")
    size = slider.get_attribute("aria-valuetext").capitalize()
    said = wait_status(lab, size)  # its time, or that it would take long
    lab.page.uncheck("[data-pcv=auto-measure]")
    if "press Measure" in said:
        lab.page.click("[data-pcv=measure]")
        wait_status(lab, f"{size}: ")


@pytest.mark.alone
def test_trains_measures_and_stops(lab):
    slider = open_explorer(lab)
    slider.press("End")
    lab.page.click("[data-pcv=tab-training]")
    lab.page.click("[data-pcv=train]")
    lab.page.wait_for_function("() => Number(document.querySelector('[data-pcv=training-points]')?.dataset.value) >= 3", timeout=90_000)
    lab.page.evaluate(WATCH_SLIDER)
    rates = [rate_while_sliding(lab) for _ in range(3)]
    seen = lab.page.evaluate("moves")
    print(f"{max(rates):.1f} points a second, slider {[round(move['ms']) for move in seen]} ms")
    assert max(rates) >= 5 and all(move["shown"] for move in seen)
    assert sorted(move["ms"] for move in seen)[len(seen) // 2] < 100
    lab.page.click("[data-pcv=training-page-learned]")
    drawn = "() => Number(document.querySelector('.pcv-learned').dataset.step)"
    before = lab.page.evaluate(drawn)
    lab.page.wait_for_function(f"before => ({drawn})() > before", arg=before)
    assert lab.page.evaluate("() => document.querySelector('[data-pcv=learned-completed]').width") > 320  # images have the room that there is
    lab.page.click("[data-pcv=training-page-curve]")
    assert lab.page.locator("[data-pcv=training-table] tbody tr").count() > 2
    lab.page.click("[data-pcv=measure]")
    wait_status(lab, " forward on this CPU")
    assert "training paused" in status(lab)
    measures_each(lab, slider)
    lab.page.click("[data-pcv=tab-dag]")
    measured = "[data-pcv=dag-quantity] option[value=measured_ms]"
    lab.page.wait_for_selector(f"{measured}:not([disabled])", state="attached")
    lab.page.select_option("[data-pcv=dag-quantity]", "measured_ms")
    assert lab.page.inner_text("[data-pcv=dag-kind]") == "measured" and "per layer" in lab.page.inner_text(".pcv-dag-legend")
    assert "figure 5's circuit alone" in lab.page.inner_text("[data-pcv=dag-quantity] option[value=recorded_ms][disabled]")
    stops = [seconds_to_stop(lab)]
    if stops[0] >= 0.5:  # once more: a shared machine stutters
        lab.page.click("[data-pcv=train]")
        lab.page.wait_for_function("() => document.querySelector('[data-pcv=root]').dataset.run === 'training'")
        stops.append(seconds_to_stop(lab))
    print(f"stopped after {min(stops):.2f} s")
    assert min(stops) < 0.5
    wait_status(lab, "Training stopped")
    steps = lab.kernel_eval("int((explorer.records['kind'] == 'step').sum())")
    lab.page.wait_for_function("count => Number(document.querySelector('[data-pcv=training-points]').dataset.value) === count", arg=steps)
    lab.page.click("[data-pcv=train]")
    lab.page.wait_for_function("() => document.querySelector('[data-pcv=root]').dataset.run === 'training'")
    lab.page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    lab.page.wait_for_selector(ROOT, state="detached")
    deadline = time.monotonic() + 15  # nobody sees it train, nobody could stop it
    while lab.kernel_eval("explorer._session._device.state") != "paused":
        assert time.monotonic() < deadline
        lab.page.wait_for_timeout(300)
    lab.assert_clean()


def test_close_frees_widgets_and_theme_is_followed(lab):
    open_explorer(lab)
    notebook = "document.querySelector('[data-pcv=root]').closest('.jp-WindowedPanel-outer')"
    lab.page.evaluate(f"{notebook}.scrollTop = 300")
    for theme in ("dark", "light"):
        lab.theme(theme)
        lab.page.wait_for_function("theme => [...document.querySelectorAll('.pcv-view')].every(view => view.dataset.pcvTheme === theme)", arg=theme)
        assert lab.screenshot(f"explorer-{theme}.png").stat().st_size > 20_000
        lab.page.wait_for_function(f"{notebook}.scrollTop === 300")  # JupyterLab alone would leave it at the top
    reload_page(lab)
    lab.kernel_eval("explorer.close()")
    assert lab.kernel_eval("len(__import__('ipywidgets').widgets.widget._instances)") == 0
    lab.page.wait_for_selector(ROOT, state="detached")
    lab.assert_clean()


def reload_page(lab):
    """A page that is loaded again goes on where the last one was, whichever subshell that one had."""
    lab.page.locator("[data-pcv=slider]").press("End")
    lab.page.click("[data-pcv=settings]")
    lab.page.select_option("[data-pcv=device]", index=1)
    wait_quiet(lab)
    lab.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    for _ in range(2):
        lab.page.reload()
        lab.page.wait_for_function(READY, arg=len(SIZES), timeout=30_000)
        assert lab.page.get_attribute(ROOT, "data-block-size") == str(SIZES[-1]) and lab.page.input_value("[data-pcv=device]") == "cpu"


def test_show_draws_a_run(lab):
    lab.open(["""
from types import SimpleNamespace
import pcviz as pcv
sizes = dict(block_size=8, batch_size=10, num_steps=8, num_epochs=8)
steps = [SimpleNamespace(epoch=i, step=i, num_samples=10 * i, seconds=0.1 * i, train_bpd=3 - i, test_bpd=3 - i, **sizes) for i in range(1, 9)]
shown = pcv.show(steps)
shown"""])
    lab.run_all()
    lab.wait("[data-pcv=single][data-drawn]")
    assert value(lab, "training-points") == 8
    lab.wait("[data-pcv=single] .js-plotly-plot")
    lab.kernel_eval("shown.close()")
    lab.page.wait_for_selector("[data-pcv=single]", state="detached")
    lab.assert_clean()
