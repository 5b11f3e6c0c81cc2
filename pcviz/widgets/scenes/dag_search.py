"""Search in the DAG view, and the parts that a page keeps when it has no kernel to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...compiler.compile import first_rows
from ...compiler.layering import Layering
from ...compiler.numbering import Numbering
from ...ir.names import unmarked
from .common import count
from .dag_costs import Costs
from .dag_parts import scene_dag_part
from .dag_words import vector_name

MAX_MATCHES = 12
MAX_KEPT_NODES = 150  # of a circuit whose parts are all kept in the page


def find_part(numbering: Numbering, text: str, rows: dict[int, int] | None = None, block_size: int = 0) -> dict:
    """{"key": part to open} for a node id, a layer, a vector number or the only name that fits, else {"matches": [[key, name]]}.

    ``rows``: the first row of vectors in the buffer of values at ``block_size``, by id, for "row 7696" as figure 4 of Blocks has it.
    ValueError says what can be searched for.
    """
    words = unmarked(" ".join(str(text).split()))
    plain = words.replace(",", "").lower()
    number = re.fullmatch(r"(?:(node|layer|vector|row) )?#?(\d{1,18})", plain)
    if plain in ("inputs", "input"):
        return {"key": "layer:0"}
    if number:
        kind, value = number[1] or "node", int(number[2])
        if kind == "row":
            return {"key": f"node:{_node_at(numbering, value, rows or {}, block_size)}"}
        if kind == "node":
            numbering.locate(value)  # says which nodes there are
        elif value >= (len(numbering.cut.layers) + 1 if kind == "layer" else len(numbering.vectors)):
            raise ValueError(f"There is no {words}: this circuit has {len(numbering.cut.layers)} layers and {count(len(numbering.vectors))} vectors.")
        return {"key": f"{kind}:{value}"}
    if not words:
        raise ValueError("Search for a node number, a layer (layer 3), a vector (vector 17) or a part of a vector's name.")
    sought = words.lower()
    found = [(f"vector:{i}", nodes) for i, nodes in enumerate(numbering.vectors) if any(sought in name for name in _searched(nodes))]
    exact = [match for match in found if sought in [*_searched(match[1])]]
    if not found:
        raise ValueError(f"No vector is called {words[:60]!r}. Search for a node number, a layer (layer 3) or a part of a vector's name.")
    if len(found) == 1 or len(exact) == 1:
        return {"key": (exact or found)[0][0]}
    return {"matches": [[key, f"{vector_name(nodes)} ({_place(numbering, key)})"] for key, nodes in found[:MAX_MATCHES]], "total": len(found)}


def row_of(numbering: Numbering, node: int, rows: dict[int, int]) -> int | None:
    """The row of a sum, as figure 4 has it in the nids; None of inputs and of products, which are computed where they are read."""
    vector, place = numbering.locate(node)
    nodes = numbering.vectors[vector]
    return rows[id(nodes)] + place if nodes.kind == "sum" else None


def row_text(numbering: Numbering, part: dict, rows: dict[int, int], tolerance: float) -> str:
    """What stands before the caption of a sum's picture; of other parts nothing."""
    row = row_of(numbering, int(part["key"].removeprefix("node:")), rows) if part["kind"] == "node" else None
    return "" if row is None else f"Figure 4 of Blocks: row {row} at block size {part['blockSize']} and tolerance {tolerance:g}. "


def _node_at(numbering: Numbering, row: int, rows: dict[int, int], block_size: int) -> int:
    for vector, nodes in enumerate(numbering.vectors):
        place = row - rows.get(id(nodes), row + 1)
        if 0 <= place < nodes.num_nodes:
            return int(numbering.starts[vector]) + place
    raise ValueError(f"No sum or input has row {row} at block size {block_size}: it is padding, or behind the last one.")


def kept_parts(cut: Layering, block_size: int, tolerance: float, costs: Costs) -> dict[str, dict]:
    """Every part of a small circuit by its key; of others none."""
    numbering = cut.numbering
    if numbering.num_nodes > MAX_KEPT_NODES:
        return {}
    rows = first_rows(cut, block_size=block_size, padding_tolerance=tolerance)
    queue, parts = [f"layer:{layer}" for layer in range(len(cut.layers) + 1)], {}
    queue += [f"node:{node}" for node in range(numbering.num_nodes)]
    while queue:
        key = queue.pop()
        if key not in parts:
            parts[key] = scene_dag_part(numbering, key, block_size, costs=costs)
            parts[key]["caption"] = row_text(numbering, parts[key], rows, tolerance) + parts[key]["caption"]
            queue += [glyph["key"] for glyph in parts[key]["glyphs"] if glyph["key"]] + [crumb[0] for crumb in parts[key]["crumbs"] if crumb[0]]
    return parts


def _searched(nodes) -> Iterator[str]:
    """A vector's name as it is shown, and as it was given."""
    for name in (unmarked(vector_name(nodes)), nodes.name or ""):
        yield " ".join(name.lower().split())


def _place(numbering: Numbering, key: str) -> str:
    vector = int(key.split(":")[1])
    layer = int(numbering.layers[vector])
    return f"{numbering.vectors[vector].kind}, layer {layer}" if layer else "input"
