"""Access: contrast of the explorer's colours (WCAG 2.2, AA), nothing clipped at 1280 x 720 and at a zoom of 150%, live regions."""

import re

import pytest
from test_explorer_browser import READY, ROOT, open_explorer

from pcviz.widgets import bundle

THEMES = ("light", "dark")
TEXT, GRAPHIC = 4.5, 3.0  # least contrast of text (1.4.3), of controls and lines of charts (1.4.11)
PAIRS = {  # text and what it stands on
    "--pcv-": ["ink bg", "ink panel", "muted bg", "muted panel", "accent bg", "accent panel", "accent-ink accent", "good bg", "bad bg", "bad panel"],
    "--pv-": ["text bg", "text panel", "soft bg", "soft panel", "accent bg", "accent panel", "bg accent", "pseudo bg", "bg text"],
}
EDGES = {"--pcv-": ["edge bg", "edge panel", "accent panel"], "--pv-": ["edge bg", "edge panel"]}


def variables(prefix: str, theme: str) -> dict[str, tuple[int, int, int]]:
    """Colours of the variables that begin so, in a theme: those of the light one, replaced where the dark one says else."""
    root = {"--pcv-": (r"\.pcv", r'\.pcv\[data-theme="dark"\]'), "--pv-": (r"\.pcv-view", r'\.pcv-view\[data-pcv-theme="dark"\]')}[prefix]
    found: dict[str, tuple] = {}
    for selector in root[: 1 + THEMES.index(theme)]:
        for rule in re.findall(rf"(?m)^{selector} \{{([^}}]*)\}}", bundle.css()):
            found |= {name: rgb(value) for name, value in re.findall(rf"{prefix}([\w-]+): (#[0-9a-f]{{6}})", rule)}
    return found


def inks(name: str, theme: str) -> dict[str, tuple]:
    """Colours of a constant in the JavaScript, such as PV_LINES, by their names or places."""
    body = re.search(rf"const {name} = \{{(.*?)\n\}};", bundle.esm(), re.S)[1]
    line = re.search(rf"{theme}: [\[{{](.*?)[\]}}],?\n", body + "\n", re.S)[1]
    return {key or str(i): rgb(value) for i, (key, value) in enumerate(re.findall(r'(?:(\w+): )?"(#[0-9a-f]{6})"', line))}


def rgb(text: str) -> tuple[int, int, int]:
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def contrast(a, b) -> float:
    """WCAG: (L1 + 0.05) / (L2 + 0.05) of relative luminances."""

    def luminance(colour) -> float:
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast((0, 0, 0), (255, 255, 255)) == 21 and contrast(rgb("#777777"), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_controls_have_contrast(theme):
    for pairs, least in ((PAIRS, TEXT), (EDGES, GRAPHIC)):
        for prefix, names in pairs.items():
            colours = variables(prefix, theme)
            low = {pair: contrast(*(colours[name] for name in pair.split())) for pair in names}
            assert min(low.values()) >= least, {pair: round(value, 2) for pair, value in low.items() if value < least}


@pytest.mark.parametrize("theme", THEMES)
def test_lines_and_labels_of_charts_have_contrast(theme):
    ground = variables("--pv-", theme)["bg"]
    for name in ("PV_LINES", "TRAINING_COLOURS"):
        colours = inks(name, theme)
        assert len(colours) >= 8
        for key, colour in colours.items():
            text = key in ("text", "muted", "model", "recorded", "measured")  # values in the heads of charts too
            assert key == "grid" or contrast(colour, ground) >= (TEXT if text else GRAPHIC), (name, key)


# Text, controls and canvases that their own box or one around it cuts off. What scrolls may be longer; what is there for
# screen readers alone (clip-path) is not seen, nor is what a change is compared with, where there is no room for it.
CLIPPED = """() => {
  const root = document.querySelector('[data-pcv=root]'), found = [];
  const hides = v => v === 'hidden' || v === 'clip', scrolls = v => v === 'auto' || v === 'scroll';
  const own = node => [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
  const under = head => [...head.querySelectorAll('.pcv-value')].some(value =>
    value.textContent && value.getBoundingClientRect().left < head.querySelector('b').getBoundingClientRect().right);
  const say = (node, what) => found.push(`${what}: ${node.tagName} ${node.getAttribute('class')} ${node.textContent.trim().slice(0, 40)}`);
  for (const node of root.querySelectorAll('*')) {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.tagName === 'OPTION' || node.matches('.pcv-tile-change span + span')) continue;
    if (node.matches('.pcv-memory-link') && node.scrollWidth > node.clientWidth + 1) say(node, 'over a box');
    if (node.matches('.pcv-panel-head') && under(node)) say(node, 'under its value');
    if (!own(node) && !/^(canvas|button|select|input)$/i.test(node.tagName)) continue;
    const rect = node.getBoundingClientRect(), style = getComputedStyle(node);
    if (!rect.width || !rect.height || style.clipPath !== 'none') continue;
    const wide = hides(style.overflowX) && node.scrollWidth > node.clientWidth + 1;
    const high = hides(style.overflowY) && node.scrollHeight > node.clientHeight + 1;
    if (own(node) && !(node instanceof SVGElement) && (wide || high)) say(node, 'cut');
    for (let box = node.parentElement; box && box !== root.parentElement; box = box.parentElement) {
      const around = getComputedStyle(box);
      if (scrolls(around.overflowX) || scrolls(around.overflowY) || around.clipPath !== 'none') break;
      if (!hides(around.overflowX) && !hides(around.overflowY)) continue;
      const b = box.getBoundingClientRect(), out = Math.max(b.left - rect.left, rect.right - b.right, b.top - rect.top, rect.bottom - b.bottom);
      if (out > 1.5) { say(node, `${out.toFixed(0)} px out of ${box.getAttribute('class')}`); break; }
    }
  }
  return found;
}"""


# What looks as if a mouse could press it, and no key can reach.
MOUSE_ONLY = """() => {
  const root = document.querySelector('[data-pcv=root]'),
    keyed = 'button, select, input, label, summary, a[href], [tabindex]:not([data-pcv=root]), .pcv-ticks, .main-svg';
  return [...root.querySelectorAll('*')].filter(node => node.checkVisibility({ visibilityProperty: true })
    && /pointer|grab|crosshair|zoom-in/.test(getComputedStyle(node).cursor) && !root.contains(node.closest(keyed)) && !node.querySelector(keyed))
    .map(node => `${node.tagName} ${node.getAttribute('class')} ${node.textContent.slice(0, 40)}`);
}"""  # the slider's ticks do what its keys do; plotly's charts have tables


def clipped_at_last(lab):
    """What is still clipped when plotly, or numbers from the kernel, which come later, have had their time."""
    for wait_ms in (150, *8 * (500,)):
        lab.page.wait_for_timeout(wait_ms)
        if not (found := lab.page.evaluate(CLIPPED)):
            break
    return found


# With a side bar; half of a large screen; at a zoom of 150%; a wide projector; full screens of a projector, without and with that zoom.
# Width, height, presenter size, full.
SIZES_OF_A_PAGE = ((1280, 720, False, False), (1120, 720, False, False), (1018, 720, True, False), (853, 480, False, False),
                   (1600, 900, True, False), (1280, 720, True, True), (853, 480, True, True))  # fmt: skip


def resize(lab, width, height, presenter, full):
    lab.page.set_viewport_size({"width": width, "height": height})
    if presenter != lab.page.locator(f"{ROOT}.pcv-presenter-size").count():
        lab.page.click("[data-pcv=presenter]")
    if full != lab.page.evaluate("Boolean(document.fullscreenElement)"):
        lab.page.click("[data-pcv=full-screen]")


def nothing_clipped_in_blocks(lab):
    for mode in ("matrix", "figure", "cuts", "launch"):
        lab.page.click(f"[data-pcv=blocks-mode-{mode}]")
        if mode == "figure":
            lab.wait("[data-pcv=blocks-told]")
        assert lab.page.evaluate(CLIPPED) == [], mode


# The longest changes of a headline, and none, as before the first move, in the place of those that are shown.
LONG_CHANGES, NO_CHANGES = ("128× slower", "128× less", "49% more", "+43.7 pts", "−1,234"), 5 * ("",)
CHANGED = """texts => texts.forEach((text, at) => {
  for (const [i, part] of document.querySelectorAll('.pcv-tile-change')[at].querySelectorAll('span').entries()) part.textContent = i ? '' : text;
})"""


def headline_keeps_its_changes(lab):
    """At 848 px in presenter size, in the lines that there are."""
    high = "document.querySelector('.pcv-head').clientHeight"
    before = lab.page.evaluate(high)
    for texts in (LONG_CHANGES, NO_CHANGES):
        lab.page.evaluate(CHANGED, texts)
        assert lab.page.evaluate(CLIPPED) == [] and lab.page.evaluate(high) == before


@pytest.mark.browser
def test_nothing_is_clipped_and_charts_have_names(lab):
    open_explorer(lab).press("Home")
    lab.page.keyboard.press("End")
    for width, height, presenter, full in SIZES_OF_A_PAGE:
        resize(lab, width, height, presenter, full)
        headline_keeps_its_changes(lab) if width == 1018 else None
        for tab in lab.page.locator(".pcv-tab").all()[:: 1 if width < 1280 else 2]:  # two stages stand side by side in the wide one
            tab.click()
            assert clipped_at_last(lab) == [], (width, full, tab.inner_text())
            assert lab.page.evaluate(MOUSE_ONLY) == [], tab.inner_text()
            if "Blocks" in tab.inner_text() and width in (1280, 853):
                nothing_clipped_in_blocks(lab)
    nameless = """root => [...root.querySelectorAll('canvas, svg, select, input, [tabindex="0"]:not(tr), [role=img]')]
        .filter(node => node.checkVisibility() && !node.closest('[aria-hidden=true], [role=img] *, label, .main-svg, table'))
        .filter(node => !node.getAttribute('aria-label') && !node.getAttribute('aria-labelledby') && !node.textContent.trim() && !node.labels?.length)
        .map(node => node.outerHTML.slice(0, 120))"""
    assert lab.page.locator(ROOT).evaluate(nameless) == []
    assert lab.page.get_attribute("[data-pcv=status]", "role") == "status"
    lab.assert_clean()


@pytest.mark.browser
def test_recorded_values_beside_those_of_the_model_are_not_clipped(lab):
    """Heads of the cost charts have two values then, whose kinds are said too."""
    lab.open(["import pcviz as pcv\npcv.explore()"])
    lab.run_all()
    lab.page.wait_for_function(READY, arg=7, timeout=60_000)
    two = "() => Math.max(...[...document.querySelectorAll('.pcv-panel-head')].map(head => head.querySelectorAll('.pcv-value').length))"
    for width, height, presenter, full in SIZES_OF_A_PAGE:
        resize(lab, width, height, presenter, full)
        lab.page.click("[data-pcv=tab-cost]")
        for source in ("recorded", "model"):
            lab.page.click(f"[data-pcv=cost-source-{source}]")
            assert clipped_at_last(lab) == [], (width, full, source)
        assert lab.page.evaluate(two) == 2
    lab.assert_clean()
