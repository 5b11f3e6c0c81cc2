"""Words of the opened DAG: names of vectors and nodes, ranges of node numbers, what a part reads and what reads it."""

from __future__ import annotations

import numpy as np

from ...compiler.numbering import Numbering
from ...ir.nodes import Nodes, describe_scope
from .common import count

MAX_RANGES = 40  # ranges of node numbers written out
MAX_NAMED = 3  # vectors whose numbers stand in the caption
KINDS = {"sum": "sums", "product": "products", "input": "inputs"}


def vector_name(nodes: Nodes, most: int = 4) -> str:
    """The vector's own name, else its kind and variables."""
    if nodes.name:
        return nodes.label
    return f"{nodes.kind} {describe_scope(nodes.scope, most)}"


def ranges(numbers: np.ndarray, most: int = MAX_RANGES) -> str:
    """'3, 5–9, 12': ascending numbers as ranges, the first ``most`` of them."""
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return span(int(numbers[0]), int(numbers[-1]) + 1)
    cuts = np.flatnonzero(np.diff(numbers) > 1)
    starts, ends = numbers[[0, *(cuts[:most] + 1)]].tolist(), numbers[[*cuts[:most], -1]].tolist()
    runs = ", ".join(span(low, high + 1) for low, high in zip(starts[:most], ends))
    return runs + (f", … {count(len(cuts) + 1)} ranges" if len(cuts) >= most else "")


def span(low: int, high: int) -> str:
    """'5–9' for the numbers from ``low`` up to and without ``high``."""
    return count(low) if high - low == 1 else f"{count(low)}–{count(high - 1)}"


def layer_name(layer: int) -> str:
    return f"layer {layer}" if layer else "inputs"


def unit_name(numbering: Numbering, unit) -> str:
    """Which vectors or nodes a glyph stands for."""
    if len(unit.vectors) > 1:
        return f"vectors {span(unit.vectors[0], unit.vectors[-1] + 1)}"
    name = f"vector {unit.vectors[0]}: {vector_name(numbering.vectors[unit.vectors[0]])}"
    if unit.rows is None:
        return name
    first = int(numbering.starts[unit.vectors[0]])
    text = ranges(unit.rows + first, 3)
    return f"{'node' if len(unit.rows) == 1 else 'nodes'} {text} of {name}"


def reads_of(numbering: Numbering, below) -> list[list]:
    """For each vector that a node reads: its name, the numbers of the nodes read, and how many they are."""
    rows = []
    for vector, sets in (below.sets if below else {}).items():
        own = np.flatnonzero(sets >= 0)
        rows.append([vector_name(numbering.vectors[vector]), ranges(own + int(numbering.starts[vector])), len(own)])
    return rows


def caption_of(numbering: Numbering, key: str, main, below, above, reads: list[list]) -> str:
    """One sentence: what the columns ``main``, ``below`` and ``above`` hold."""

    def nodes_of(column) -> str:
        sizes = {"input": 0, "product": 0, "sum": 0}
        for vector, sets in (column.sets if column else {}).items():
            sizes[numbering.vectors[vector].kind] += int((sets >= 0).sum())
        parts = [f"{count(size)} {KINDS[kind] if size > 1 else kind}" for kind, size in sizes.items() if size]
        return " and ".join(parts) or "nothing"

    subject = f"Node {count(int(key.split(':')[1]))}" if key.startswith("node:") else nodes_of(main).capitalize()
    verb = ("reads", "is") if key.startswith("node:") else ("read", "are")
    numbers = "; ".join(text for _, text, _ in reads[:MAX_NAMED]) + ("; …" if len(reads) > MAX_NAMED else "")
    return f"{subject} {verb[0]} {nodes_of(below)}{f' ({numbers})' if numbers else ''} and {verb[1]} read by {nodes_of(above)}."
