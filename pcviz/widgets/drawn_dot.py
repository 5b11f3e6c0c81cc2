"""A DAG picture laid out by Graphviz's ``dot``, within a time limit. Graphviz says where things stand; the picture is drawn as ours is."""

from __future__ import annotations

import shutil
import subprocess

import graphviz

from .drawn_shapes import HEIGHT, ROOM, STEP, WIDTH, Layout
from .scenes.dag_picture import Picture

INCH = 72.0  # points


class DotError(Exception):
    """Graphviz drew nothing; the message says why."""


def find_dot() -> str | None:
    """Path of Graphviz's program (which pygraphviz runs, too), or None."""
    return shutil.which("dot")


def dot_layout(picture: Picture, time_limit: float) -> Layout:
    """DotError: dot failed or took longer than ``time_limit`` seconds; FileNotFoundError: no Graphviz."""
    program = find_dot()
    if program is None:
        raise FileNotFoundError("Graphviz's program dot is not installed (Debian: apt-get install graphviz); layout='columns' needs none.")
    try:
        done = subprocess.run([program, "-Tplain"], input=dot_source(picture).encode(), capture_output=True, timeout=time_limit)
    except subprocess.TimeoutExpired as error:
        raise DotError(f"Graphviz took longer than time_limit={time_limit:g} seconds; use layout='columns'.") from error
    if done.returncode or not done.stdout:
        raise DotError(f"Graphviz failed: {done.stderr.decode(errors='replace').strip()[:300]}")
    return _layout(picture, done.stdout.decode())


def dot_source(picture: Picture) -> str:
    """The graph in Graphviz's language, from left to right; without names from data. A chain of invisible nodes keeps columns in order."""
    graph = graphviz.Digraph(
        graph_attr={"rankdir": "LR", "ranksep": f"{(STEP - WIDTH) / INCH:.3f}", "nodesep": f"{(ROOM - HEIGHT) / INCH:.3f}"},
        node_attr={"shape": "box", "fixedsize": "true", "label": "", "width": f"{WIDTH / INCH:.3f}"},
        edge_attr={"arrowhead": "none", "tailport": "e", "headport": "w"},
    )
    for i in range(len(picture.columns)):
        with graph.subgraph() as column:
            column.attr(rank="same")
            column.node(f"c{i}", style="invis", height="0.01")
            for number, glyph in enumerate(picture.glyphs):
                if glyph.column == i:
                    column.node(f"g{number}", height=f"{HEIGHT * glyph.tall / INCH:.3f}")
        if i:
            graph.edge(f"c{i - 1}", f"c{i}", style="invis", weight="0")
    for reader, read in picture.links:
        graph.edge(f"g{read}", f"g{reader}")
    return graph.source


def _layout(picture: Picture, plain: str) -> Layout:
    """Of dot's plain format: lines "node NAME x y ..." and "edge TAIL HEAD n x1 y1 ... xn yn ...", in inches, y upwards."""
    rows = [line.split() for line in plain.splitlines()]
    width, height = (float(value) * INCH for value in rows[0][2:4])

    def point(x: str, y: str) -> tuple[float, float]:
        return float(x) * INCH, height - float(y) * INCH

    places = {row[1]: point(*row[2:4]) for row in rows if row[0] == "node"}
    links = {(row[1], row[2]): tuple(point(*row[k : k + 2]) for k in range(4, 4 + 2 * int(row[3]), 2)) for row in rows if row[0] == "edge"}
    return Layout(
        tuple(places[f"g{i}"] for i in range(len(picture.glyphs))),
        tuple(places[f"c{i}"][0] for i in range(len(picture.columns))),
        tuple(links[f"g{read}", f"g{reader}"] for reader, read in picture.links),
        width,
        height,
    )
