"""A DAG picture laid out by Graphviz's ``dot``, within a time limit."""

from __future__ import annotations

import shutil
import subprocess

import graphviz

from .scenes.dag_picture import THEMES, Picture, ink, ramp


class DotError(Exception):
    """Graphviz drew nothing; the message says why."""


def find_dot() -> str | None:
    """Path of Graphviz's program, or None."""
    return shutil.which("dot")


def draw_with_dot(picture: Picture, kind: str, time_limit: float, theme: str, prefix: str) -> bytes:
    """The file, "svg" or "pdf". DotError: it failed or took longer than ``time_limit`` seconds; FileNotFoundError: no Graphviz."""
    program = find_dot()
    if program is None:
        raise FileNotFoundError("Graphviz's program dot is not installed (Debian: apt-get install graphviz); layout='columns' needs none.")
    source = dot_source(picture, theme, prefix)
    try:
        done = subprocess.run([program, f"-T{kind}"], input=source.encode(), capture_output=True, timeout=time_limit)
    except subprocess.TimeoutExpired as error:
        raise DotError(f"Graphviz took longer than time_limit={time_limit:g} seconds; use layout='columns'.") from error
    if done.returncode or not done.stdout:
        raise DotError(f"Graphviz failed: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout


def dot_source(picture: Picture, theme: str, prefix: str) -> str:
    """The graph in Graphviz's language, from left to right; names from data are plain text, every id starts with ``prefix``."""
    ground, text, soft, _ = THEMES[theme]
    note = f"{picture.legend}: {picture.low} (first) to {picture.high} (last colour)\n{picture.caption}"
    graph = graphviz.Digraph(
        prefix, graph_attr={"rankdir": "LR", "bgcolor": ground, "label": _plain(f"{picture.title}\n{note}"), "fontcolor": text, "ranksep": "0.7",
                            "nodesep": "0.08", "id": prefix, "fontname": "Helvetica", "fontsize": "11", "tooltip": _plain(picture.title)},
        node_attr={"shape": "box", "style": "filled,rounded", "color": text, "margin": "0.08,0.02", "fontname": "Helvetica", "fontsize": "10"},
        edge_attr={"color": soft, "arrowhead": "none", "tailport": "e", "headport": "w", "penwidth": "0.5"},
    )  # fmt: skip
    columns: dict[int, list[str]] = {}
    for i, glyph in enumerate(picture.glyphs):
        columns.setdefault(glyph.column, []).append(f"g{i}")
        more = {"height": f"{0.22 * glyph.tall:.2f}"} | ({"peripheries": "2"} if glyph.repeats > 1 else {})
        graph.node(f"g{i}", _plain(glyph.label), id=f"{prefix}-{i}", tooltip=_plain(glyph.name), fillcolor=ramp(glyph.share, theme),
                   fontcolor=ink(glyph.share, theme), penwidth="2" if glyph.main else "0.7", **more)  # fmt: skip
    for names in columns.values():
        with graph.subgraph() as column:
            column.attr(rank="same")
            for name in names:
                column.node(name)
    for i, (reader, read) in enumerate(picture.links):
        graph.edge(f"g{read}", f"g{reader}", id=f"{prefix}-link-{i}", tooltip=" ")
    return graph.source


def _plain(text: str) -> str:
    """Text without Graphviz's own escapes and HTML labels."""
    printable = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
    return graphviz.escape(printable)
