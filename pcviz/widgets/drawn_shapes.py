"""Our own layered layout of a DAG picture: columns from the inputs to the root, as shapes that a file writer writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .scenes.dag_picture import THEMES, Picture, ink, ramp

STEP, WIDTH = 190.0, 132.0  # of a column, of a glyph; points
ROOM, HEIGHT = 21.0, 16.0
MARGIN, HEAD, FOOT = 16.0, 46.0, 58.0
FONT = 10.0
STEPS = 24  # of the legend's ramp


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = ""
    line: float = 0.7
    name: str = ""


@dataclass(frozen=True)
class Curve:
    """From (x0, y0) to (x1, y1), horizontal at both ends."""

    x0: float
    y0: float
    x1: float
    y1: float
    stroke: str


@dataclass(frozen=True)
class Text:
    x: float
    y: float
    text: str
    fill: str
    anchor: str = "start"
    size: float = FONT
    bold: bool = False


@dataclass(frozen=True)
class Shapes:
    """Drawn in order. ``width`` and ``height`` in points."""

    width: float
    height: float
    ground: str
    title: str
    shapes: tuple


def shapes_of(picture: Picture, theme: str) -> Shapes:
    ground, text, soft, _ = THEMES[theme]
    rooms: Counter = Counter()
    for glyph in picture.glyphs:
        rooms[glyph.column] += glyph.tall
    tall = ROOM * max(rooms.values())
    width = max(2 * MARGIN + STEP * len(picture.columns), 460.0)
    places = [(MARGIN + (glyph.column + 0.5) * STEP, HEAD + glyph.row * tall) for glyph in picture.glyphs]
    shapes: list = [Text(MARGIN, 20, picture.title, text, size=13, bold=True)]
    shapes += [Text(MARGIN + (i + 0.5) * STEP, HEAD - 8, name, soft, "middle") for i, name in enumerate(picture.columns) if name]
    for reader, read in picture.links:
        (x1, y1), (x0, y0) = places[reader], places[read]
        shapes.append(Curve(x0 + WIDTH / 2, y0, x1 - WIDTH / 2, y1, soft))
    for glyph, (x, y) in zip(picture.glyphs, places):
        height = HEIGHT * glyph.tall
        fill, left, top = ramp(glyph.share, theme), x - WIDTH / 2, y - height / 2
        if glyph.repeats > 1:
            shapes.append(Box(left + 3, top - 2, WIDTH, height, ground, soft))
        shapes.append(Box(left, top, WIDTH, height, fill, text, 1.6 if glyph.main else 0.7, glyph.name))
        shapes.append(Text(x, y + 0.35 * FONT, glyph.label, ink(glyph.share, theme), "middle"))
    return Shapes(width, HEAD + tall + FOOT, ground, picture.title, tuple(shapes + _legend(picture, HEAD + tall + 18, theme)))


def _legend(picture: Picture, y: float, theme: str) -> list:
    _, text, soft, _ = THEMES[theme]
    cell, start = 110.0 / STEPS, MARGIN + 6 * len(picture.low) + 6
    ramped = [Box(start + i * cell, y - 8, cell + 0.3, 10, ramp(i / (STEPS - 1), theme)) for i in range(STEPS)]
    end = Text(start + 116, y, f"{picture.high}   {picture.legend}", text)
    note = [Text(MARGIN, y + 20, picture.caption, soft)] if picture.caption else []
    return [Text(MARGIN, y, picture.low, text), *ramped, end, *note]
