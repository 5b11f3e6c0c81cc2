"""Every view in both themes looks as it did when somebody looked at it: pictures in tests/pictures, at most 0.1% of pixels different.

After a change that is meant: `pytest tests/test_pictures_browser.py --update-pictures`, then look at what git shows as changed.
Pictures depend on the browser's version and its fonts; where those are others than of the pictures, the test is skipped and says so.
"""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_explorer_browser import SIZES, open_explorer

pytestmark = pytest.mark.browser
FOLDER = Path(__file__).parent / "pictures"
VIEWS = ("dag", "blocks", "kernel", "memory", "cost", "training", "table", "tiles", "compare")
MOST_DIFFERENT = 1e-3  # of the pixels
VISIBLE = 24  # of 255 in a channel: antialiasing of the same line comes out one or two dozen steps different, text moved by a pixel 200


def made_with(browser) -> dict[str, str]:
    command = ["fc-match", "sans-serif"] if shutil.which("fc-match") else None
    font = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() if command else "unknown"
    return {"Chromium": browser.version, "font": font}


def test_views_look_as_they_did(lab, chromium, pytestconfig):
    update, expected = pytestconfig.getoption("--update-pictures"), FOLDER / "made_with.json"
    here = made_with(chromium)
    if not update and here != json.loads(expected.read_text(encoding="utf-8")):
        pytest.skip(f"pictures were made with {json.loads(expected.read_text(encoding='utf-8'))}, here is {here}")
    slider = open_explorer(lab)
    slider.press("Home")
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    lab.wait(f"[data-pcv=headline][data-block-size='{SIZES[2]}']")
    wrong = {}
    for theme in ("light", "dark"):
        lab.theme(theme)
        for view in VIEWS:
            picture, path = taken(lab, view), FOLDER / f"{view}-{theme}.png"
            if update:
                FOLDER.mkdir(exist_ok=True)
                picture.save(path, optimize=True)
                continue
            share = different(picture, Image.open(path).convert("RGB"))
            if share > MOST_DIFFERENT:
                picture.save(lab.folder / path.name)
                wrong[f"{view}, {theme}"] = f"{share:.2%} of the pixels differ, see {lab.folder / path.name}"
    if update:
        expected.write_text(json.dumps(here, indent=1) + "\n", encoding="utf-8")
    assert not wrong, wrong


def taken(lab, view: str) -> Image.Image:
    """The view's picture, once it has stopped to change."""
    lab.page.click(f"[data-pcv=tab-{view}]")
    stage = lab.wait(f"[data-pcv=stage-{view}]")
    lab.page.mouse.move(1, 1)
    lab.page.evaluate("() => document.activeElement.blur()")
    last = None
    for _ in range(80):
        lab.page.wait_for_timeout(250)
        computes = "Computing" in stage.inner_text()  # before the picture: the answer may come between the two
        shot = stage.screenshot(animations="disabled", caret="hide")
        if shot == last and not computes:
            return Image.open(io.BytesIO(shot)).convert("RGB")
        last = shot
    raise AssertionError(f"the view {view} still changes, or still computes, after 20 s")


def different(found: Image.Image, expected: Image.Image) -> float:
    """Share of the pixels that differ visibly; 1 for pictures of another size."""
    if found.size != expected.size:
        return 1.0
    distance = np.abs(np.asarray(found, dtype=np.int16) - np.asarray(expected, dtype=np.int16)).max(axis=2)
    return float((distance > VISIBLE).mean())
