"""Names that anyone may have written, in every view of a real browser and in the page that it saves: shown as text, nothing run,
nothing added to the page, nothing broken by their length."""

import ast
import re
from xml.etree import ElementTree

import pytest
from test_access import CLIPPED
from test_explorer_browser import READY, wait_quiet
from test_teaching import saved_as

from pcviz.ir.names import readable

pytestmark = pytest.mark.browser
NAMES = [
    '<img src=x onerror="window.hacked=1">',
    '"><script>window.hacked=2</script>',
    "&lt;b&gt; 'one' \"two\" `${window.hacked=3}`",
    "line one\nline two\t\u202eesrever\u2066 \x1b[31m \ud800",
    "L" + "o" * 298 + "g",
    "שלום 17",
    "</script></style><!--",
    "%{x} {{y}} <b>bold</b><a href='javascript:window.hacked=4'>a</a>",
    "many words " * 50,
]
# A circuit by hand, saved and loaded, and its data under a name that no code can say.
CELL = f"""
import numpy as np
import pcviz as pcv
from pcviz.ir.nodes import init_params
names = iter(3 * {NAMES!r})
def region(*variables):
    if len(variables) == 1:
        return pcv.inputs(variables[0], num_nodes=6, dist=pcv.Categorical(2), name=next(names))
    half = len(variables) // 2
    below = [region(*variables[:half]), region(*variables[half:])]
    return pcv.summate(*(pcv.multiply(*below, name=next(names)) for _ in range(2)), num_nodes=6, name=next(names))
root = pcv.summate(pcv.multiply(region(0, 1), region(2, 3, 4), name=next(names)), num_nodes=1, name=next(names))
init_params(root)
pcv.save(root, "hostile.safetensors")
circuit = pcv.load("hostile.safetensors")
globals()["x); import os; (x"] = (np.random.default_rng(0).random((64, 5)) < 0.3).astype(np.uint8)
explorer = pcv.explore(circuit, globals()["x); import os; (x"])
explorer
"""
INJECTED = """() => [window.hacked, ...[...document.querySelectorAll(
    '[data-pcv=root] :is(img, script, iframe, object, embed, base, style, a, b b, [onerror], [onload], [onclick])')].map(node => node.outerHTML)]"""
# What is cut with an ellipsis has its whole text in the tooltip.
WHOLE = "([...document.querySelectorAll('[data-pcv=root] [title]')].map(node => [node.textContent.trim().slice(0, 40), node.title]))"
FOUND = """name => [...document.querySelectorAll('.pcv-dag-found:not([hidden]) button, .pcv-dag-crumbs b')]
    .some(node => node.title.startsWith(name))"""
VIEWS = ("table", "kernel", "memory", "tiles", "cost", "training", "compare", "blocks", "dag")


def assert_text_alone(page, where):
    titles = [(text, title) for text, title in page.evaluate(WHOLE) if text and len(title) >= len(text)]
    clipped = [found for found in page.evaluate(CLIPPED) if not (found.startswith("cut: ") and any(found.endswith(text) for text, _ in titles))]
    assert page.evaluate(INJECTED) == [None] and clipped == [], where


def walk(page, kernel: bool):
    """Through every view, of a saved page those with names, and over what has names there; a name is searched for by the kernel."""
    for view in VIEWS if kernel else VIEWS[-2:]:
        page.click(f"[data-pcv=tab-{view}]")
        page.wait_for_timeout(100)
        assert_text_alone(page, view)
    hover_regions(page)
    if kernel:
        search(page)
    blocks(page)
    if kernel:
        page.wait_for_selector("[data-pcv=blocks-canvas][data-cells=single]")


def hover_regions(page):
    page.click("[data-pcv=dag-mode-regions]")
    glyphs, tip = page.locator(".pcv-dag [data-glyph]"), page.locator(".pcv-dag .pcv-tip")
    seen = []
    for i in range(glyphs.count()):
        glyphs.nth(i).hover(force=True)
        seen.append(tip.inner_text().split("\n")[0])
        assert glyphs.nth(i).get_attribute("aria-label").startswith(seen[-1])
        box, stage = tip.bounding_box(), page.locator(".pcv-dag .pcv-map").bounding_box()
        assert box["width"] <= 300 and box["y"] + box["height"] <= stage["y"] + stage["height"] + 1
    assert len(seen) == 9 and all(any(text.startswith(readable(name)) for name in NAMES) for text in seen) and max(map(len, seen)) >= 300


def search(page):
    """Each name is found by what is shown of it, and opens; what is open is said, too."""
    for name in NAMES:
        page.fill("[data-pcv=dag-find]", readable(name)[:60])
        page.keyboard.press("Enter")
        page.wait_for_function(FOUND, arg=readable(name))
        if page.locator(".pcv-dag-found").is_visible():
            assert_text_alone(page, name)
            page.keyboard.press("Enter")
            page.wait_for_function("() => document.querySelector('.pcv-dag-found').hidden")
        assert_text_alone(page, name)


def blocks(page):
    """The words about a cell, by mouse; the launches with their rows."""
    page.click("[data-pcv=tab-blocks]")
    page.select_option("[data-pcv=blocks-layer]", "1")
    page.wait_for_selector("[data-pcv=stage-blocks][data-layer='1']")
    page.locator("[data-pcv=blocks-canvas]").hover()
    text = page.locator(".pcv-blocks .pcv-tip").inner_text()
    assert any(f"{readable(name)}, block" in text for name in NAMES), text
    assert_text_alone(page, text)


def test_names_are_shown_as_text(lab, chromium):
    lab.open([CELL])
    lab.run_all()
    lab.page.wait_for_function(READY, arg=4, timeout=60_000)
    walk(lab.page, kernel=True)
    lab.page.click("[data-pcv=share]")
    lab.page.click("[data-pcv=copy-code]")
    code = lab.page.input_value("[data-pcv=copied]")
    said = {node.id for node in ast.walk(ast.parse(code, mode="eval")) if isinstance(node, ast.Name)}
    assert said == {"pcv", "circuit", "x"} and len(ast.parse(code).body) == 1
    picture = ElementTree.fromstring(saved_as(lab, "svg"))
    assert not [node for node in picture.iter() if re.search("script|iframe|object|img", node.tag) and not node.get("src", "").startswith("data:")]
    wait_quiet(lab)
    with lab.page.expect_download() as saved:
        lab.page.click("[data-pcv=save-page]")
    saved.value.save_as(lab.folder / "page.html")
    lab.assert_clean()
    page = chromium.new_page(offline=True, viewport={"width": 1280, "height": 720})
    try:
        page.set_default_timeout(15_000)
        page.goto((lab.folder / "page.html").as_uri())
        page.wait_for_selector("body[data-live=true]")
        walk(page, kernel=False)
    finally:
        page.close()
