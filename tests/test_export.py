"""The explorer as one HTML file: what is in it, and that it works from a disk with the network blocked."""

import io
import re
from base64 import b64decode

import pytest

import pcviz as pcv
from pcviz import cli
from pcviz.compiler.layering import layering
from pcviz.console import one_line
from pcviz.ir.nodes import init_params, inputs, multiply, sum_vectors, summate
from pcviz.pruning import prune_edges
from pcviz.widgets import dag_export, export
from pcviz.widgets.circuits import legal_sizes, user_entry
from pcviz.widgets.dag_export import held_parts
from pcviz.widgets.frames import Generation, Settings
from pcviz.widgets.packing import pack, unpack
from pcviz.widgets.scenes.dag_parts import scene_dag_part

EVIL = "</script><script>document.title = 'hacked'</script><!--<script>"


@pytest.fixture(scope="module")
def root():
    made = pcv.PD((4, 4), 8, split_intervals=2, dist=pcv.Categorical(num_cats=17), seed=0)
    init_params(made, 0)
    return prune_edges(made, {id(nodes): nodes.params for nodes in sum_vectors(made)}, 0.4, 1)


def named_circuit():
    """Two layers with names that are HTML."""
    dist = pcv.Categorical(num_cats=2)
    leaves = [inputs(var, num_nodes=6, dist=dist, name=EVIL) for var in (0, 1)]
    return summate(summate(multiply(*leaves), num_nodes=6, name=EVIL), num_nodes=1, name=EVIL)


def test_a_page_is_one_script_and_loads_nothing(tmp_path):
    path = pcv.export_html(named_circuit(), tmp_path / "page.html", block_size=2)
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < export.LIMIT_BYTES
    assert len(re.findall("<script", text)) == len(re.findall("</script", text, re.I)) == 1
    assert "<!--" not in text and "\nimport " not in text and "\nexport " not in text
    assert not re.search(r'(src|href)="(?!data:)', text) and "default-src 'none'" in text
    assert text.index('src="data:image/png;base64,') < text.index("<table>") < text.index("<script>")


def test_scripts_and_data_cannot_end_the_script():
    assert export.inline("a = '</script>' + '</SCRIPT>' + '<!--'") == r"a = '<\/script>' + '<\/SCRIPT>' + '<\!--'"
    assert export.inline_json({"a": EVIL}).count("<") == 0


def test_layers_that_do_not_fit_are_left_out_farthest_first(root, monkeypatch, tmp_path):
    monkeypatch.setattr(dag_export, "DAG_BYTES", 0)  # whose share of a page would give way first
    whole = pcv.export_html(root, tmp_path / "whole.html").stat().st_size
    monkeypatch.setattr(export, "LIMIT_BYTES", whole + 60_000)
    text = pcv.export_html(root, tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(text) < export.LIMIT_BYTES
    found = re.search(r"Layers (\d+) to (\d+) of (\d+): more do not fit\.", text)
    low, high, count = map(int, found.groups())
    assert 1 <= low <= high <= count and high - low < count - 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"block_size": 3}, "block_size must be one of 1, 2, 4, 8"),
        ({"batch_size": 0}, "Batch size must be a whole number"),
        ({"padding_tolerance": [0, 1, 2, 3]}, "padding_tolerance must be one to 3 shares, got 4"),
        ({"padding_tolerance": -1}, "Tolerance must be a share of 0 or more"),
        ({"device": "abacus"}, "Device must be one of"),
    ],
)
def test_wrong_arguments_write_nothing(root, tmp_path, arguments, text):
    with pytest.raises(ValueError, match=text):
        pcv.export_html(root, tmp_path / "page.html", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_page_holds_parts_of_the_dag_while_they_fit(root):
    generation = Generation(1, user_entry(root), Settings())
    numbering, held = generation.layering.numbering, held_parts(generation, [0.25], 4, 10**7)
    parts = {(piece["size"], key): part for piece in held["pieces"] for key, part in unpack(b64decode(piece["data"])).items()}
    keys = {key for size, key in parts if size == 4}
    assert {f"vector:{v}" for v in range(len(numbering.vectors))} | {f"layer:{layer}" for layer in range(len(numbering.cut.layers) + 1)} <= keys
    for (size, key), part in list(parts.items())[::40]:
        assert part == unpack(pack(scene_dag_part(numbering, key, size, costs=generation.dag.costs(size))))
    assert {key for size, key in parts if size == 2} == {f"layer:{layer}" for layer in range(len(numbering.cut.layers) + 1)}
    most = sum(len(piece["data"]) for piece in held["pieces"]) // 2
    few = held_parts(generation, [0.25], 4, most + len(held["index"]))
    assert most / 4 < sum(len(piece["data"]) for piece in few["pieces"]) <= most
    number = sum(key.startswith("vector:") for piece in few["pieces"] if piece["size"] == 4 for key in piece["keys"])
    assert number > 0 and f"; {number} of {len(numbering.vectors)} vectors" in few["says"] and "pcv.draw(" in few["says"]


def test_wrong_places_and_things(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        pcv.export_html(root, tmp_path / "nowhere" / "page.html")
    with pytest.raises(ValueError, match="expects a circuit, a plan or a TensorCircuit, got int"):
        pcv.export_html(3, tmp_path / "page.html")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_command_takes_a_file_of_save(root, tmp_path, capsys, monkeypatch):
    """It shows its progress on a terminal, nothing elsewhere, and leaves no file when it is stopped."""
    pcv.save(root, tmp_path / "circuit.safetensors")
    command = ["export", str(tmp_path / "circuit.safetensors"), "-o", str(tmp_path / "page.html")]
    with monkeypatch.context() as patched:
        patched.setattr(export, "_kernel_frames", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli.main(command) == 130
    assert "was not written" in capsys.readouterr().err and not list(tmp_path.glob("page*"))
    assert cli.main(command) == 0
    said = capsys.readouterr()
    assert re.match(r".*page\.html: 2\.\d MB \(limit 8 MB\), opens .*\nSaved on .*: all block sizes at batch size 512", said.out)
    assert said.err == "" and (tmp_path / "page.html").is_file()
    terminal, told = Terminal(), []
    line = one_line(terminal)
    pcv.export_html(root, tmp_path / "page.html", tell=lambda *step: (told.append(step), line(*step)))
    parts = [text for *_, text in told if text.startswith("parts of the DAG, ")]
    assert parts[0].endswith(" 0 so far") and len(set(parts)) == len(parts) > 1
    views = told[len(parts) :]
    assert [done for done, *_ in views[:-1]] == list(range(views[0][1])) and views[-1][0] == views[-1][1]
    assert any(text.startswith("blocks, block size 8, layer 3") for *_, text in told)
    assert terminal.getvalue().startswith("\r  0%  parts of the DAG, 0 so far\r") and terminal.getvalue().endswith(" \r")
    assert cli.main(["export", str(tmp_path / "none.safetensors"), "-o", str(tmp_path / "page.html")]) == 1
    assert "none.safetensors" in capsys.readouterr().err


def assert_compares(page, root):
    """The table of differences between block size 1 and the last, then between two tolerances."""
    plans = [pcv.plan_summary(root, block_size=size) for size in (1, legal_sizes(root)[-1])]
    page.click("[data-pcv=tab-compare]")
    wanted = [
        {"flops": pcv.estimate(plan).forward.flops, "launches": len(pcv.trace(plan, 512, passes=("forward",), impl="triton").launches),
         "groups": plan.num_groups, "padding_share": plan.padding_share,
         **{name: plan.total(f"{name}_edges") for name in ("absent", "pseudo", "missing")}}
        for plan in plans
    ]  # fmt: skip
    for side, values in zip("ab", wanted):
        assert {key: float(page.get_attribute(f"[data-pcv=compare-{side}-{key}]", "data-value")) for key in values} == values
    outlined = page.locator(".pcv-compare-changed[data-pcv^=compare-b-]").evaluate_all("cells => cells.map(cell => cell.dataset.pcv.slice(10))")
    assert {*outlined} & {*wanted[0]} == {key for key in wanted[0] if wanted[0][key] != wanted[1][key]} != set()
    page.click("[data-pcv=compare-row-hbm_bytes]")
    assert page.locator(".pcv-compare-chart path[stroke-dasharray]").count() == 2
    rows = [row.split("\t") for row in page.locator("[data-pcv=compare-values] tbody tr").all_inner_texts()]  # the curves as a table
    assert [int(size) for size, *_ in rows] == list(legal_sizes(root)) and rows[0][1] == page.inner_text("[data-pcv=compare-a-hbm_bytes]")
    assert rows[-1][2] == page.inner_text("[data-pcv=compare-b-hbm_bytes]")
    page.set_viewport_size({"width": 1000, "height": 560})
    page.click("[data-pcv=presenter]")  # room for some rows only
    page.click("[data-pcv=compare-more]")
    assert page.locator(".pcv-compare-table tbody tr").first.inner_text().split() != ["time"]
    assert page.locator("[data-pcv=compare-b-missing], [data-pcv=compare-b-padding_share]").count() > 0
    page.click("[data-pcv=presenter]")
    page.set_viewport_size({"width": 1280, "height": 720})


def finds_rows(page, root, numbering):
    """Rows of figure 4 at the tolerance that the slider has; at another block size the node that it is there."""
    vector = next(v for v, nodes in enumerate(numbering.vectors) if nodes.kind == "sum" and v > len(numbering.vectors) // 2)
    node, said = int(numbering.starts[vector]) + 2, "text => document.querySelector('[data-pcv=dag-said]').textContent.startsWith(text)"

    def find(size):
        row = pcv.compile(root, block_size=size, padding_tolerance=0.25).starts[id(numbering.vectors[vector])] + 2
        page.fill("[data-pcv=dag-find]", f"row {row}")
        page.press("[data-pcv=dag-find]", "Enter")
        return row

    row = find(1)
    told = page.wait_for_selector(f"[data-open='node:{node}']").text_content()
    text = f"Figure 4 of Blocks: row {row} at block size 1 and tolerance 0.25. "
    assert text + scene_dag_part(numbering, f"node:{node}", 1)["caption"] in told and 2 * text not in told
    page.fill("[data-pcv=dag-find]", "row 0")
    page.press("[data-pcv=dag-find]", "Enter")
    page.wait_for_function(said, arg="No sum or input has row 0 at block size 1: ")
    page.locator("[data-pcv=slider]").press("End")
    page.wait_for_selector("[data-pcv=root][data-block-size='8']")
    row = find(8)
    page.wait_for_function(said, arg=f"Row {row} at block size 8 is node {node}, of vector {vector}. Not in this page: ")
    page.locator("[data-pcv=slider]").press("Home")


def assert_opens(page, root):
    """The DAG down to a node by searching, as the kernel would draw it; what the page does not hold, and flows, say what to do."""
    numbering = layering(root).numbering
    page.click("[data-pcv=tab-dag]")
    page.locator("[data-pcv=slider]").press("Home")  # the block size that the page was saved at
    page.wait_for_selector("[data-pcv=root][data-block-size='1']")
    stage = page.wait_for_selector("[data-pcv=stage-dag][data-waiting=false] .pcv-view")
    size, last = 1, numbering.num_nodes - 1
    for words, key in (("layer 2", "layer:2"), ("vector 70", "vector:70")):
        page.fill("[data-pcv=dag-find]", words)
        page.press("[data-pcv=dag-find]", "Enter")
        page.wait_for_selector(f"[data-open='{key}']")
        wanted = scene_dag_part(numbering, key, size)
        assert page.locator("[data-pcv=stage-dag] [data-glyph]").count() == len(wanted["glyphs"])
        assert wanted["caption"] in stage.text_content()
    page.fill("[data-pcv=dag-find]", f"{last}")
    page.press("[data-pcv=dag-find]", "Enter")
    page.wait_for_selector(f"[data-open='node:{last}'], [data-pcv=stage-dag] .pcv-dag-found button")
    finds_rows(page, root, numbering)
    page.select_option("[data-pcv=dag-quantity]", "flow_data")
    page.wait_for_function("text => document.querySelector('[data-pcv=dag-said]').textContent === text", arg=export.LIVE)
    page.select_option("[data-pcv=dag-quantity]", "edges")


@pytest.mark.browser
def test_a_scene_as_a_page(chromium, tmp_path):
    """The hand-out of a lesson: its text, its stages and the steps of a kernel."""
    path = pcv.export_html(path=tmp_path / "page.html", scene="underflow")
    page = chromium.new_page(offline=True)
    try:
        page.set_default_timeout(15_000)
        page.goto(path.as_uri())
        page.wait_for_selector("[data-pcv=scene]:visible")
        page.wait_for_selector(".pcv-kernel[data-step]")
        page.locator("[data-pcv=kernel-step]").press("End")
        assert "14 of 16 sums of sample 0" in page.inner_text("[data-pcv=kernel-guard]")
        page.click("[data-pcv=leave-scene]")
        page.wait_for_selector("[data-pcv=scene]", state="hidden")
    finally:
        page.close()
    with pytest.raises(ValueError, match="no scene called 'nothing'"):
        pcv.export_html(path=tmp_path / "page.html", scene="nothing")


@pytest.mark.browser
def test_a_page_works_from_disk_without_a_network(chromium, root, tmp_path):
    """Every view, its numbers those of plan and model; what needs an engine says so."""
    path = pcv.export_html(root, tmp_path / "page.html", padding_tolerance=[0.25, 0], steps=[], title=f"{EVIL}\ud800")
    live = export.LIVE
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark", offline=True)
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else problems.append(request.url))
    try:
        page.set_default_timeout(15_000)
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-live=true]")
        page.wait_for_selector(".pcv-chart .main-svg")  # plotly, from the page
        assert page.title() == f"{EVIL}\\ud800 - pcviz" and page.inner_text("[data-pcv=circuit] option") == f"{EVIL}\\ud800"
        page.focus("[data-pcv=slider]")
        for size in legal_sizes(root)[1:]:
            page.keyboard.press("ArrowRight")
            page.wait_for_selector(f"[data-pcv=headline][data-block-size='{size}']")
            forward = pcv.estimate(pcv.plan_summary(root, block_size=size)).forward
            for name, figure in (("time", "time_ms"), ("l2", "l2_to_l1_bytes"), ("hbm", "hbm_bytes")):
                assert float(page.get_attribute(f"[data-pcv=headline-{name}]", "data-value")) == getattr(forward, figure)
        page.focus("[data-pcv=blocks-tolerance]")
        launches = int(page.get_attribute("[data-pcv=headline-launches]", "data-value"))
        for key, tolerance in (("Home", "0"), ("End", "0.25")):
            page.keyboard.press(key)
            page.wait_for_selector(f"[data-pcv=headline][data-tolerance='{tolerance}']")
            pseudo = pcv.plan_summary(root, block_size=legal_sizes(root)[-1], padding_tolerance=float(tolerance)).total("pseudo_edges")
            assert int(page.get_attribute("[data-pcv=blocks-pseudo-total]", "data-value")) == pseudo
            if key == "Home":  # what a move of the tolerance changes
                more = int(page.get_attribute("[data-pcv=headline-launches]", "data-value")) - launches
                change = page.locator("[data-pcv=headline-launches] .pcv-tile-change")
                assert change.inner_text().strip() == (f"+{more}" if more else "same")
                assert change.get_attribute("title") == "compared with tolerance 0.25"
        assert_compares(page, root)
        for name in ("memory", "tiles", "cost", "table", "dag", "training", "kernel"):
            page.click(f"[data-pcv=tab-{name}]")
            stage = page.wait_for_selector(f"[data-pcv=stage-{name}][data-waiting=false]")
            assert (live in stage.inner_text()) == (name in ("training", "kernel")) and len(stage.inner_text()) > 60
        assert_opens(page, root)
        page.click("[data-pcv=tab-kernel]")
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_selector(f".pcv-kernel[data-pcv-theme={scheme}]")
            page.screenshot(path=str(tmp_path / f"export-{scheme}.png"))
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        for name in ("circuit", "batch-size", "device", "train", "measure", "auto-measure"):
            control = page.locator(f"[data-pcv={name}]")
            assert control.is_disabled() and "pcv.explore" in control.get_attribute("title")
        page.click("[data-pcv=tab-compare]")
        page.locator("[data-pcv=slider]").press("Home")
        page.click("[data-pcv=compare-keep]")
        pseudo = pcv.plan_summary(root, block_size=1).total("pseudo_edges")
        page.click("[data-pcv=settings]")
        page.fill("[data-pcv=tolerance]", "0")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('[data-pcv=compare-b-pseudo]').dataset.value === '0'")
        assert page.get_attribute("[data-pcv=compare-a-pseudo]", "data-value") == str(pseudo) != "0"
        assert "tolerance 0.25" in page.inner_text(".pcv-compare-about")
        assert not problems
    finally:
        context.close()
