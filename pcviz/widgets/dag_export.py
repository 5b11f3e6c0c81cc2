"""Parts of a circuit's DAG that a saved page holds, so that they open without a kernel, and what it says of those that it does not hold."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..compiler.compile import first_rows
from .packing import pack
from .scenes.common import count
from .scenes.dag_costs import ESTIMATES
from .scenes.dag_parts import scene_dag_part
from .scenes.dag_times import KINDS

LEVELS = ("layer", "vectors", "vector", "rows", "node")  # kinds of parts, from coarse to fine
SWEEPS = ((True, "vectors"), (True, "vector"), (False, "vectors"), (False, "vector"), (False, "rows"), (False, "node"))  # (own glyphs alone, kind)
DAG_BYTES = 1_600_000  # of a page
MAX_PARTS = 3000  # for more there is no time
TOGETHER = 32  # parts that are compressed as one piece
NO_ROW = 2**32 - 1  # of products, which are computed where they are read
ROWS_NODES = 100_000  # of a circuit whose rows are held at every block size; laying out a larger one takes long


def held_parts(generation, tolerances: Sequence[float], size: int, left: int, made: Callable[[int], None] = lambda parts: None) -> dict:
    """What page.js answers from, at most ``left`` characters: "pieces" of packed parts, each of one block size; "index", the first node of
    each vector and, at the block sizes and tolerances of "rows", its first row as figure 4 of Blocks has it; "says", what is held and what
    to do for more. Layers come first, at every block size, then at ``size`` what they open into, coarse before fine. ``made`` hears how
    many parts there are as they grow.
    """
    numbering, sizes = generation.layering.numbering, generation.entry.sizes
    rows = [(each, tolerance) for each in (sizes if numbering.num_nodes <= ROWS_NODES else [size]) for tolerance in tolerances]
    index = b64encode(_index(numbering, rows)).decode()
    left = min(left, DAG_BYTES) - len(index)
    pieces, held = [], dict.fromkeys(LEVELS, 0)
    made(0)
    for one in _pieces(generation, size, (size, *(other for other in sizes if other != size))):
        left -= len(one["data"]) + 20 * len(one["keys"])
        if left < 0:
            break
        pieces.append(one)
        made(sum(len(piece["keys"]) for piece in pieces))
        for key in one["keys"] if one["size"] == size else ():
            held[key.split(":")[0]] += 1
    place = {"size": size, "tolerance": generation.settings.padding_tolerance, "rows": rows, "layers": len(numbering.cut.layers)}
    costs = ["padding", *ESTIMATES, *KINDS]
    return place | {"pieces": pieces, "index": index, "costs": costs, "says": _says(numbering, held, size)}


def _index(numbering, rows: list[tuple[int, float]]) -> bytes:
    starts = [first_rows(numbering.cut, block_size=size, padding_tolerance=tolerance) for size, tolerance in rows]
    first = np.array([[of.get(id(nodes), NO_ROW) for nodes in numbering.vectors] for of in starts], "<u4")
    return pack({"starts": numbering.starts.astype("<u4").tobytes(), "rows": first.tobytes()})


def _pieces(generation, size: int, sizes: tuple[int, ...]) -> Iterator[dict]:
    """Layers at ``sizes``, then at ``size`` what they open into; made as they are asked for, because the first ones may fill the page."""
    numbering = generation.layering.numbering
    layers = [f"layer:{layer}" for layer in range(len(numbering.cut.layers) + 1)]
    found: dict[str, dict] = {}
    for other in sizes:
        costs = generation.dag.costs(other)
        parts = {key: scene_dag_part(numbering, key, other, costs=costs) for key in layers}
        found = found or dict(parts)
        yield from _packed(parts, other)
    for main, level in SWEEPS:
        queue, fresh = [key for part in found.values() for key in _opens(part, main, level)], {}
        for key in queue:  # which grows
            if key in found or len(found) >= MAX_PARTS:
                continue
            found[key] = fresh[key] = scene_dag_part(numbering, key, size, costs=generation.dag.costs(size))
            queue += _opens(found[key], main, level)
            if len(fresh) == TOGETHER:
                yield from _packed(fresh, size)
                fresh = {}
        yield from _packed(fresh, size)


def _opens(part: dict, main: bool, level: str) -> list[str]:
    """Keys of a level that a part's glyphs open into; ``main``: its own glyphs alone, not what it reads and what reads it."""
    return [glyph["key"] for glyph in part["glyphs"] if glyph["key"].startswith(f"{level}:") and (glyph["main"] or not main)]


def _packed(parts: dict[str, dict], size: int) -> Iterator[dict]:
    keys = list(parts)
    for first in range(0, len(keys), TOGETHER):
        own = keys[first : first + TOGETHER]
        yield {"size": size, "keys": own, "data": b64encode(pack({key: parts[key] for key in own})).decode()}


def _says(numbering, held: dict[str, int], size: int) -> str:
    """What to do for a part that the page does not hold, and which it holds."""
    totals = {"layer": len(numbering.cut.layers) + 1, "vector": len(numbering.vectors), "node": numbering.num_nodes}
    names = dict(zip(LEVELS, ("layers, inputs among them", "runs of vectors", "vectors", "blocks and runs of nodes", "nodes")))
    parts = [f"{count(number)}{f' of {count(totals[kind])}' if kind in totals else ''} {names[kind]}" for kind, number in held.items() if number]
    return (
        'Not in this page: pcv.explore(root) in a notebook opens it, pcv.draw(root, "part.svg", part="vector 17") draws it. '
        f"The page holds, at block size {size}, {'; '.join(parts)}; of these, at other block sizes, layers and runs of vectors."
    )
