"""One part of a circuit opened: its parts in the middle, what they truly read on the left, what reads them on the right.

A part is named by a key that does not change with the block size: ``layer:3``, ``vectors:40-80`` (numbers of a Numbering, of one
layer and kind), ``vector:17``, ``rows:17:0-724`` (rows of a vector: blocks of it while longer than one block, else nodes) and
``node:12345``. Whatever is too long for a column is cut into runs ("x n"), which can be opened in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...compiler.layering import block_of
from ...compiler.numbering import Numbering, num_edges_of, pair_counts, parameters, read_by, readers
from ...ir.nodes import InputNodes, Nodes, SumNodes
from .common import count, rounded
from .dag_costs import Costs
from .dag_words import KINDS, caption_of, layer_name, reads_of, span, unit_name, vector_name

MAX_COLUMN = 48  # glyphs of a column; four columns at most


@dataclass
class Unit:
    """A glyph: whole vectors, or rows of one vector."""

    vectors: list[int]
    rows: np.ndarray | None = None  # ascending; None: all rows
    label: str = ""
    key: str = ""
    parts: int = 1  # how many parts of the same kind it stands for
    theta: float | None = None
    main: bool = False


@dataclass
class Column:
    """Units, and the unit of each row of each vector that occurs (-1: in none)."""

    label: str
    units: list[Unit] = field(default_factory=list)
    sets: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, numbering: Numbering, units: list[Unit]) -> Column:
        for unit in units:
            for vector in unit.vectors:
                rows = self.sets.setdefault(vector, np.full(numbering.vectors[vector].num_nodes, -1))
                rows[slice(None) if unit.rows is None else unit.rows] = len(self.units)
            self.units.append(unit)
        return self

    def masks(self) -> dict[int, np.ndarray]:
        return {vector: rows >= 0 for vector, rows in self.sets.items()}


def scene_dag_part(numbering: Numbering, key: str, block_size: int, flows: np.ndarray | None = None, costs: Costs | None = None) -> dict:
    """Scene of the part ``key`` at ``block_size``. ``flows`` [num_nodes]: of each node; ``costs``: of sums.

    ValueError when there is no such part.
    """
    kind, main, crumbs = _main(numbering, key, block_size)
    vectors = sorted(main.sets)
    whole = kind in ("layer", "vectors")
    below = _below(numbering, main, whole, block_size, kind == "node")
    factors = _below(numbering, below, whole, block_size) if below and any(_is(numbering, v, "product") for v in below.sets) else None
    above = _above(numbering, main, whole, block_size)
    reads = reads_of(numbering, below) if kind == "node" else []
    columns = [column for column in (factors, below, main, above) if column]
    glyphs, shown = [], []
    for place, column in enumerate(columns):
        shown.append({"label": column.label, "main": column is main})
        for i, unit in enumerate(column.units):
            glyph = _glyph(numbering, unit, place, (i + 0.5) / len(column.units), flows)
            glyphs.append(glyph | (_costs(numbering, unit, costs, glyph["edges"]) if costs else {}))
    return {
        "view": "dag-part", "key": key, "kind": kind, "blockSize": block_size, "crumbs": crumbs, "columns": shown, "glyphs": glyphs,
        "links": _links(numbering, columns), "reach": _reach(numbering, vectors), "layer": int(numbering.layers[vectors[0]]),
        "reads": reads, "caption": caption_of(numbering, key, main, below, above, reads),
    }  # fmt: skip


# ---- the opened part ----------------------------------------------------------------------------------------------------


def _main(numbering: Numbering, key: str, block_size: int) -> tuple[str, Column, list]:
    try:
        kind, *rest = key.split(":")
        numbers = [int(n) for part in rest for n in part.split("-")]
        units, crumbs = {"layer": _layer, "vectors": _vectors, "vector": _vector, "rows": _rows, "node": _node}[kind](numbering, block_size, *numbers)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{key!r} is no part of this circuit: expected layer:3, vectors:40-80, vector:17, rows:17:0-32 or node:12345.") from error
    for unit in units:
        unit.main = True
    what = KINDS[numbering.vectors[units[0].vectors[0]].kind] if kind != "node" else numbering.vectors[units[0].vectors[0]].kind
    return kind, Column(what).add(numbering, units), [["", "circuit"], *crumbs]


def _layer(numbering: Numbering, _size: int, layer: int):
    members = numbering.members[layer, layer > 0]
    return _vector_units(numbering, list(members)), [[f"layer:{layer}", layer_name(layer)]]


def _vectors(numbering: Numbering, _size: int, low: int, high: int):
    layer, kind = int(numbering.layers[low]), numbering.vectors[low].kind
    if not low < high or numbering.layers[high - 1] != layer or numbering.vectors[high - 1].kind != kind:
        raise KeyError(low)
    crumb = [f"vectors:{low}-{high}", f"{count(high - low)} vectors of {KINDS[kind]}"]
    return _vector_units(numbering, list(range(low, high))), [[f"layer:{layer}", layer_name(layer)], crumb]


def _vector(numbering: Numbering, block_size: int, vector: int):
    _check_vector(numbering, vector)
    layer, nodes = int(numbering.layers[vector]), numbering.vectors[vector]
    units = _row_units(numbering, vector, 0, nodes.num_nodes, block_size)
    return units, [[f"layer:{layer}", layer_name(layer)], [f"vector:{vector}", vector_name(nodes)]]


def _rows(numbering: Numbering, block_size: int, vector: int, low: int, high: int):
    _, crumbs = _vector(numbering, block_size, vector)
    if not 0 <= low < high <= numbering.vectors[vector].num_nodes:
        raise KeyError(low)
    first = int(numbering.starts[vector])
    own = [f"rows:{vector}:{low}-{high}", f"nodes {span(first + low, first + high)}"]
    return _row_units(numbering, vector, low, high, block_size), [*crumbs, own]


def _node(numbering: Numbering, block_size: int, node: int):
    vector, row = numbering.locate(node)
    block = _block(numbering, vector, block_size)
    low = row // block * block
    _, crumbs = _rows(numbering, block_size, vector, low, min(low + block, numbering.vectors[vector].num_nodes))
    own = [*crumbs[: 2 + (block > 1)], [f"node:{node}", f"node {count(node)}"]]
    return [Unit([vector], np.array([row]), count(node), f"node:{node}")], own


def _check_vector(numbering: Numbering, vector: int) -> None:
    if not 0 <= vector < len(numbering.vectors):
        raise ValueError(f"There is no vector {vector:,}: this circuit has the vectors 0 to {len(numbering.vectors) - 1:,}.")


def _block(numbering: Numbering, vector: int, block_size: int) -> int:
    """Nodes of one block of a vector: of sums and inputs their own, of products the one in which its layer reads them."""
    nodes, layer = numbering.vectors[vector], int(numbering.layers[vector])
    length = numbering.cut.layers[layer - 1].longest[id(nodes)] if nodes.kind == "product" else nodes.num_nodes
    return block_of(length, block_size)


def _row_units(numbering: Numbering, vector: int, low: int, high: int, block_size: int) -> list[Unit]:
    """Rows as blocks, or as nodes when they are one block; runs of them when they are many."""
    first, block = int(numbering.starts[vector]), _block(numbering, vector, block_size)
    step = block if high - low > block else 1
    run = step * -(-(high - low) // (MAX_COLUMN * step))
    units = []
    for start in range(low, high, run):
        stop = min(start + run, high)
        parts = -(-(stop - start) // step)
        if step == 1 and parts == 1:
            label, key = count(first + start), f"node:{first + start}"
        else:
            name = "block" if step > 1 else "node"
            label = f"block {start // step}" if parts == 1 else f"{name}s × {count(parts)}"
            key = f"rows:{vector}:{start}-{stop}"
        units.append(Unit([vector], np.arange(start, stop), label, key, parts))
    return units


def _vector_units(numbering: Numbering, vectors: list[int], cap: int = MAX_COLUMN) -> list[Unit]:
    """One unit a vector, or runs of neighbours of one layer and kind; in a column of very many layers, of one kind."""
    classes = _classes(vectors, lambda v: (int(numbering.layers[v]), numbering.vectors[v].kind))
    if len(classes) > cap:
        classes = _classes(vectors, lambda v: numbering.vectors[v].kind)
    run = -(-len(vectors) // cap)
    while sum(-(-len(own) // run) for own in classes) > cap:
        run += 1
    return [_run(numbering, own[i : i + run]) for own in classes for i in range(0, len(own), run)]


def _classes(vectors: list[int], key) -> list[list[int]]:
    found: dict = {}
    for vector in vectors:
        found.setdefault(key(vector), []).append(vector)
    return list(found.values())


def _run(numbering: Numbering, own: list[int]) -> Unit:
    if len(own) == 1:
        return Unit(own, None, vector_name(numbering.vectors[own[0]], 3), f"vector:{own[0]}")
    one = numbering.layers[own[0]] == numbering.layers[own[-1]]  # what spans layers cannot be opened
    return Unit(own, None, f"× {count(len(own))}", f"vectors:{own[0]}-{own[-1] + 1}" if one else "", len(own))


# ---- what it reads, and what reads it -----------------------------------------------------------------------------------


def _below(numbering: Numbering, column: Column, whole: bool, block_size: int, ranked: bool = False) -> Column | None:
    masks: dict[int, np.ndarray] = {}
    for vector, rows in column.masks().items():
        parent = numbering.vectors[vector]
        for place, child in enumerate(numbering.children[vector]):
            mask = np.ones(parent.children[place].num_nodes, dtype=bool) if whole else read_by(parent, place, rows)
            masks[child] = masks[child] | mask if child in masks else mask
    theta = _theta(numbering, column) if ranked else None
    return _column(numbering, masks, whole, block_size, theta)


def _above(numbering: Numbering, column: Column, whole: bool, block_size: int) -> Column | None:
    masks: dict[int, np.ndarray] = {}
    for vector, rows in column.masks().items():
        for number in numbering.parents[vector]:
            parent = numbering.vectors[number]
            for place in [i for i, child in enumerate(numbering.children[number]) if child == vector]:
                mask = np.ones(parent.num_nodes, dtype=bool) if whole else readers(parent, place, rows)
                masks[number] = masks[number] | mask if number in masks else mask
    return _column(numbering, masks, whole, block_size)


def _theta(numbering: Numbering, column: Column) -> dict[int, np.ndarray]:
    """Child vector -> parameters of the one sum in ``column``; empty for products and before there are parameters."""
    ((vector, sets),) = column.sets.items()
    nodes = numbering.vectors[vector]
    values = parameters(nodes, int(np.flatnonzero(sets >= 0)[0])) if isinstance(nodes, SumNodes) else None
    if values is None:
        return {}
    ends = np.cumsum([child.num_nodes for child in nodes.children])
    return dict(zip(numbering.children[vector], np.split(values, ends[:-1])))


def _column(numbering: Numbering, masks: dict[int, np.ndarray], whole: bool, block_size: int, theta=None) -> Column | None:
    """Units of the nodes in ``masks``, as fine as a column has room for."""
    masks = {vector: masks[vector] for vector in sorted(masks) if masks[vector].any()}
    if not masks:
        return None
    kinds = {numbering.vectors[vector].kind for vector in masks}
    column = Column(" and ".join(KINDS[kind] for kind in ("input", "product", "sum") if kind in kinds))
    if whole or len(masks) > MAX_COLUMN // 2:
        return column.add(numbering, _vector_units(numbering, list(masks)))
    total = sum(int(mask.sum()) for mask in masks.values())
    if total <= MAX_COLUMN:
        units = [unit for vector, mask in masks.items() for unit in _nodes(numbering, vector, np.flatnonzero(mask), theta)]
    elif theta:
        units = _strongest(numbering, masks, theta)
    else:
        units = _blocks(numbering, masks, block_size)
    return column.add(numbering, units)


def _nodes(numbering: Numbering, vector: int, rows: np.ndarray, theta=None) -> list[Unit]:
    first = int(numbering.starts[vector])
    share = (lambda row: rounded(theta[vector][row])) if theta else (lambda row: None)
    return [Unit([vector], np.array([row]), count(first + row), f"node:{first + row}", theta=share(row)) for row in rows]


def _strongest(numbering: Numbering, masks: dict[int, np.ndarray], theta: dict[int, np.ndarray]) -> list[Unit]:
    """The children with the largest parameters one by one, and the others of each vector together."""
    values = np.concatenate([theta[vector][mask] for vector, mask in masks.items()])
    least = np.sort(values)[-(MAX_COLUMN - len(masks))]
    left, units = MAX_COLUMN - len(masks), []
    for vector, mask in masks.items():
        rows = np.flatnonzero(mask)
        strong = rows[theta[vector][rows] >= least][:left]
        left -= len(strong)
        units += _nodes(numbering, vector, strong, theta)
        others = np.setdiff1d(rows, strong)
        if len(others):
            label, share = f"nodes × {count(len(others))}", rounded(theta[vector][others].sum())
            units.append(Unit([vector], others, label, f"vector:{vector}", len(others), share))
    return units


def _blocks(numbering: Numbering, masks: dict[int, np.ndarray], block_size: int) -> list[Unit]:
    """Blocks of which a node is meant; runs of a vector's blocks where they are too many for the column."""
    room, units = max(1, MAX_COLUMN // len(masks)), []
    for vector, mask in masks.items():
        block, first = _block(numbering, vector, block_size), int(numbering.starts[vector])
        meant = np.flatnonzero(mask)
        used, firsts = np.unique(meant // block, return_index=True)
        size, more = divmod(len(used), min(room, len(used)))  # the first runs have one block more
        cuts = [i * size + min(i, more) for i in range(min(room, len(used)) + 1)]
        for low, high in zip(cuts, cuts[1:]):
            run, rows = used[low:high], meant[firsts[low] : firsts[high] if high < len(used) else None]
            stop = min(int(run[-1] + 1) * block, len(mask))
            one = f"block {run[0]}" if block > 1 else count(first + int(run[0]))
            label = one if len(run) == 1 else f"{'blocks' if block > 1 else 'nodes'} × {count(len(run))}"
            if block >= len(mask):  # the vector is one block
                label = vector_name(numbering.vectors[vector], 3)
            elif len(masks) > 1 and block > 1:
                label += f", {vector_name(numbering.vectors[vector], 3)}"
            units.append(Unit([vector], rows, label, f"rows:{vector}:{int(run[0]) * block}-{stop}", len(run)))
    return units


def _links(numbering: Numbering, columns: list[Column]) -> bytes:
    """Pairs (reader, read) of glyphs."""
    firsts = np.cumsum([0, *(len(column.units) for column in columns)])
    pairs = []
    for right in range(1, len(columns)):
        left, upper = columns[right - 1], columns[right]
        shape = (len(upper.units), len(left.units))
        linked = np.zeros(shape, dtype=bool)
        for vector, rows in upper.sets.items():
            for place, child in enumerate(numbering.children[vector]):
                if child in left.sets:
                    linked |= _linked(numbering.vectors[vector], place, rows, left.sets[child], shape)
        found = np.argwhere(linked)
        pairs.append(np.stack([found[:, 0] + firsts[right], found[:, 1] + firsts[right - 1]], 1))
    return np.concatenate(pairs).astype("<u2").tobytes() if pairs else b""


def _linked(parent: Nodes, place: int, rows: np.ndarray, children: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if rows[0] >= 0 and children[0] >= 0 and (rows == rows[0]).all() and (children == children[0]).all():  # vector and vector
        linked = np.zeros(shape, dtype=bool)
        linked[rows[0], children[0]] = True
        return linked
    return pair_counts(parent, place, rows, children, shape) > 0


# ---- glyphs ------------------------------------------------------------------------------------------------------------


def _glyph(numbering: Numbering, unit: Unit, column: int, row: float, flows: np.ndarray | None) -> dict:
    vectors = [numbering.vectors[vector] for vector in unit.vectors]
    rows = unit.rows
    sums = sum(nodes.num_nodes for nodes in vectors) if rows is None else len(rows)
    edges = None  # of sums alone, as everywhere else
    if isinstance(vectors[0], SumNodes):
        edges = sum(num_edges_of(nodes, rows) for nodes in vectors)
    return {
        "name": unit_name(numbering, unit), "label": unit.label, "key": unit.key, "column": column, "row": round(row, 5), "main": unit.main,
        "kind": vectors[0].kind, "sums": sums, "repeats": unit.parts, "layer": int(numbering.layers[unit.vectors[0]]), "theta": unit.theta,
        "edges": edges, "params": _num_params(vectors, edges, rows), "flow": None if flows is None else rounded(_flow(numbering, unit, flows)),
    }  # fmt: skip


def _costs(numbering: Numbering, unit: Unit, costs: Costs, edges: int) -> dict:
    """Of a glyph of sums: the model knows the launches of sums alone."""
    if not _is(numbering, unit.vectors[0], "sum"):
        return {}
    return costs.figures([numbering.vectors[vector] for vector in unit.vectors], numbering.layers[unit.vectors].tolist(), edges, unit.rows)


def _flow(numbering: Numbering, unit: Unit, flows: np.ndarray) -> float:
    """Sum over the nodes of a glyph."""
    own = [flows[numbering.starts[vector] : numbering.starts[vector + 1]] for vector in unit.vectors]
    return float(sum(each.sum() for each in own) if unit.rows is None else own[0][unit.rows].sum())


def _num_params(vectors: list[Nodes], edges: int | None, rows: np.ndarray | None) -> int | None:
    """One for each edge of sums; products have none."""
    if isinstance(vectors[0], InputNodes):
        return sum(nodes.dist.num_params * (nodes.num_nodes if rows is None else len(rows)) for nodes in vectors)
    return edges


def _is(numbering: Numbering, vector: int, kind: str) -> bool:
    return numbering.vectors[vector].kind == kind


def _reach(numbering: Numbering, vectors: list[int]) -> dict:
    """Per layer (0: inputs), the share of its vectors that the opened part depends on ("down") and that depend on it ("up")."""
    totals = np.bincount(numbering.layers)
    found = {}
    for name, up in (("down", False), ("up", True)):
        reached = numbering.layers[np.array(numbering.reached(vectors, up), dtype=np.int64)]
        found[name] = [rounded(share, 3) for share in np.bincount(reached, minlength=len(totals)) / totals]
    return found
