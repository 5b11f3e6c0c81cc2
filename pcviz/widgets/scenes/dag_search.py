"""Search in the DAG view, and the parts that a page keeps when it has no kernel to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...compiler.layering import Layering
from ...compiler.numbering import Numbering
from ...ir.names import unmarked
from .common import count
from .dag_costs import Costs
from .dag_parts import scene_dag_part
from .dag_words import vector_name

MAX_MATCHES = 12
MAX_KEPT_NODES = 150  # of a circuit whose parts are all kept in the page


def find_part(numbering: Numbering, text: str) -> dict:
    """{"key": part to open} for a node id, a layer, a vector number or the only name that fits, else {"matches": [[key, name]]}.

    ValueError says what can be searched for.
    """
    words = unmarked(" ".join(str(text).split()))
    plain = words.replace(",", "").lower()
    number = re.fullmatch(r"(?:(node|layer|vector) )?#?(\d{1,18})", plain)
    if plain in ("inputs", "input"):
        return {"key": "layer:0"}
    if number:
        kind, value = number[1] or "node", int(number[2])
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


def kept_parts(cut: Layering, block_size: int, costs: Costs) -> dict[str, dict]:
    """Every part of a small circuit by its key; of others none."""
    numbering = cut.numbering
    if numbering.num_nodes > MAX_KEPT_NODES:
        return {}
    queue, parts = [f"layer:{layer}" for layer in range(len(cut.layers) + 1)], {}
    queue += [f"node:{node}" for node in range(numbering.num_nodes)]
    while queue:
        key = queue.pop()
        if key not in parts:
            parts[key] = scene_dag_part(numbering, key, block_size, costs=costs)
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
