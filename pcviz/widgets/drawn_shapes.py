"""A DAG picture as shapes that a file writer writes, and our own layered layout: columns from the inputs to the root."""

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
class Path:
    """Bezier curves end to end: ``points`` (x, y), the first one and then three for each curve."""

    points: tuple[tuple[float, float], ...]
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


@dataclass(frozen=True)
class Layout:
    """Where a picture's things stand, in points from the upper left corner: middles of ``glyphs`` and of ``columns``, the points of
    each of its ``links`` (see Path); ``width`` and ``height`` of it all."""

    glyphs: tuple[tuple[float, float], ...]
    columns: tuple[float, ...]
    links: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


def columns_layout(picture: Picture) -> Layout:
    """Our own: columns of equal width, in which glyphs stand as in the view."""
    rooms: Counter = Counter()
    for glyph in picture.glyphs:
        rooms[glyph.column] += glyph.tall
    tall = ROOM * max(rooms.values())
    columns = tuple((i + 0.5) * STEP for i in range(len(picture.columns)))
    places = tuple((columns[glyph.column], glyph.row * tall) for glyph in picture.glyphs)
    return Layout(places, columns, tuple(_curve(places[read], places[reader]) for reader, read in picture.links), STEP * len(columns), tall)


def _curve(start: tuple[float, float], end: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """From the right side of a glyph to the left side of another, horizontal at both ends."""
    (x0, y0), (x1, y1) = (start[0] + WIDTH / 2, start[1]), (end[0] - WIDTH / 2, end[1])
    bend = 0.45 * (x1 - x0)
    return (x0, y0), (x0 + bend, y0), (x1 - bend, y1), (x1, y1)


def shapes_of(picture: Picture, layout: Layout, theme: str) -> Shapes:
    """The picture as the DAG view draws it, by either layout."""
    ground, text, soft, _ = THEMES[theme]
    shapes: list = [Text(MARGIN, 20, picture.title, text, size=13, bold=True)]
    shapes += [Text(MARGIN + x, HEAD - 8, name, soft, "middle") for x, name in zip(layout.columns, picture.columns) if name]
    shapes += [Path(tuple((MARGIN + x, HEAD + y) for x, y in points), soft) for points in layout.links]
    for glyph, (x, y) in zip(picture.glyphs, layout.glyphs):
        height, fill = HEIGHT * glyph.tall, ramp(glyph.share, theme)
        left, top = MARGIN + x - WIDTH / 2, HEAD + y - height / 2
        if glyph.repeats > 1:
            shapes.append(Box(left + 3, top - 2, WIDTH, height, ground, soft))
        shapes.append(Box(left, top, WIDTH, height, fill, text, 1.6 if glyph.main else 0.7, glyph.name))
        shapes.append(Text(MARGIN + x, HEAD + y + 0.35 * FONT, glyph.label, ink(glyph.share, theme), "middle"))
    end = HEAD + layout.height
    return Shapes(max(2 * MARGIN + layout.width, 460.0), end + FOOT, ground, picture.title, tuple(shapes + _legend(picture, end + 18, theme)))


def _legend(picture: Picture, y: float, theme: str) -> list:
    _, text, soft, _ = THEMES[theme]
    cell, start = 110.0 / STEPS, MARGIN + 6 * len(picture.low) + 6
    ramped = [Box(start + i * cell, y - 8, cell + 0.3, 10, ramp(i / (STEPS - 1), theme)) for i in range(STEPS)]
    end = Text(start + 116, y, f"{picture.high} · {picture.legend}", text)
    note = [Text(MARGIN, y + 20, picture.caption, soft)] if picture.caption else []
    return [Text(MARGIN, y, picture.low, text), *ramped, end, *note]
