"""The DAG view's picture as a record for files: glyphs in columns with colours and labels, and links."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .common import count, milliseconds, percent, si_bytes
from .dag_costs import ESTIMATES

# name: (what it says, number as text)
QUANTITIES = {
    "edges": ("edges", count),
    "params": ("parameters", count),
    "sums": ("nodes", count),
    "padding": ("padding, share of the multiplied cells", percent),
    "time_ms": ("time", milliseconds),
    "l2_bytes": ("bytes between L1 and L2", si_bytes),
    "hbm_bytes": ("bytes from and to HBM", si_bytes),
    "flops": ("floating-point operations", lambda value: f"{value / 1e9:.3g} GFLOP"),
}
RAMPS = {  # from little to much, in files and in the page
    "light": ((222, 233, 247), (120, 171, 222), (31, 95, 180), (9, 40, 92)),
    "dark": ((30, 48, 72), (44, 96, 160), (92, 164, 240), (214, 235, 255)),
}
# ground, text, soft text, glyphs without a value
THEMES = {"light": ("#ffffff", "#1c2430", "#545e6d", "#e3e6ea"), "dark": ("#111111", "#e9edf3", "#b3bcc9", "#3a404a")}
TALLEST = 14


@dataclass(frozen=True)
class Glyph:
    """``share``: place of its value in the legend, 0 to 1, or None. ``row``: 0 to 1 in its column. ``tall``: height, 1 is usual."""

    column: int
    row: float
    label: str
    name: str
    share: float | None
    repeats: int = 1
    main: bool = False
    tall: float = 1.0


@dataclass(frozen=True)
class Picture:
    """``links``: (reader, read) places in ``glyphs``."""

    title: str
    columns: tuple[str, ...]
    glyphs: tuple[Glyph, ...]
    links: tuple[tuple[int, int], ...]
    legend: str
    low: str
    high: str
    caption: str


def ramp(share: float | None, theme: str) -> str:
    """Colour of a glyph, '#rrggbb'."""
    if share is None:
        return THEMES[theme][3]
    stops = np.array(RAMPS[theme], float)
    at = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    i = min(int(at), len(stops) - 2)
    return "#" + "".join(f"{round(v):02x}" for v in stops[i] + (stops[i + 1] - stops[i]) * (at - i))


def ink(share: float | None, theme: str) -> str:
    """Colour of a label on a glyph, '#rrggbb'."""
    strong = share is not None and share > 0.5
    return {"light": ("#14202f", "#ffffff"), "dark": ("#f2f6fb", "#0b1420")}[theme][strong]


def picture_of_circuit(scene: dict, colour: str) -> Picture:
    """Of a DAG scene: its regions, or where they are too many the products and sums of each layer."""
    glyphs, links, columns = _regions(scene) if scene["regions"] else _layers(scene)
    title = f"{scene['numLayers']} layers at block size {scene['blockSize']}"
    return _picture(scene, colour, title, columns, glyphs, links, scene["caption"])


def picture_of_part(scene: dict, part: dict, colour: str) -> Picture:
    """Of an opened part (``scene_dag_part``) of the circuit of ``scene``."""
    links = np.frombuffer(part["links"], "<u2").reshape(-1, 2).tolist()
    title = ", ".join(label for _, label in part["crumbs"][1:]) + f", at block size {part['blockSize']}"
    return _picture(scene, colour, title, [column["label"] for column in part["columns"]], part["glyphs"], links, part["caption"])


def _regions(scene: dict):
    regions = scene["regions"]
    links = np.frombuffer(regions["links"], "<u2").reshape(-1, 2)[:: regions["stride"]].tolist()
    glyphs = [{**glyph, "label": glyph["name"].split(": ")[0]} for glyph in regions["glyphs"]]
    return glyphs, links, ["inputs", *(column["label"] for column in scene["columns"])]


def _layers(scene: dict):
    """A glyph for the inputs and for the products and the sums of each layer; heights by the square root of their number."""
    most = max([scene["inputs"]["nodes"], *(max(column["products"], column["sums"]) for column in scene["columns"])])

    def glyph(i: int, what: str, number: int, **more) -> dict:
        name = f"{count(number)} {what}"
        tall = max(1.0, TALLEST * (number / most) ** 0.5)
        return {"column": i, "row": 0.5, "label": name, "name": name, "sums": number, "repeats": 1, "tall": tall, **more}

    glyphs = [glyph(0, "inputs", scene["inputs"]["nodes"])]
    for column in scene["columns"]:
        glyphs.append(glyph(len(glyphs), "products", column["products"]))
        glyphs.append(glyph(len(glyphs), "sums", column["sums"], **{key: column[key] for key in QUANTITIES if key != "sums"}))
    names = ["inputs", *(name for column in scene["columns"] for name in ("", column["label"]))]
    return glyphs, [(i, i - 1) for i in range(1, len(glyphs))], names


def _picture(scene: dict, colour: str, title: str, columns: list[str], glyphs: list[dict], links, caption: str) -> Picture:
    says, text = QUANTITIES[colour]
    values = [glyph.get(colour) for glyph in glyphs]
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0, 0)
    shares = [None if value is None else (value - low) / (high - low) if high > low else 0.5 for value in values]
    drawn = tuple(
        Glyph(glyph["column"], glyph["row"], _label(glyph), glyph["name"], share, glyph["repeats"], glyph.get("main", False),
              glyph.get("tall", 1.0))
        for glyph, share in zip(glyphs, shares)
    )  # fmt: skip
    kind = f" ({scene['model']})" if colour in ESTIMATES else ""
    legend = f"Colour: {says}{kind}"
    return Picture(title, tuple(columns), drawn, tuple(map(tuple, links)), legend, text(low), text(high), caption)


def _label(glyph: dict) -> str:
    """At most 24 characters, with the parameter of a child of a single sum."""
    text = glyph["label"] if glyph.get("theta") is None else f"{glyph['label']} · {glyph['theta']:.3g}"
    text = text if glyph["repeats"] == 1 or "×" in text else f"{text} × {glyph['repeats']}"
    return text if len(text) <= 24 else text[:23] + "…"
