"""Index tensors of one layer: where sum blocks write (nids), what they read (cids, pids), and the way back.

Order decides locality: sum vectors are laid out by block shape and group, element vectors by first use and parameters
by group, so that in a dense circuit a launch reads and writes consecutive rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.nodes import Nodes, ProdNodes
from .counting import backward_histograms, class_histograms, layer_grids, parents_per_element, product_shape
from .grouping import group_bounds
from .layering import Layer, factors_of, num_blocks
from .plan import BackwardGroup, LayerPlan, ProductGroup, Section, SumGroup, SumSlot
from .tiles import TileGrid


@dataclass
class Cursor:
    """Next free node row and parameter entry while layers are laid out; ``starts`` collects first node rows, ``tiles`` the
    parameter tiles by id of the vector that keeps the parameters."""

    node_row: int
    param: int
    starts: dict[int, int]
    tiles: dict[int, np.ndarray]

    def take_rows(self, nodes: Nodes, block: int) -> int:
        self.node_row = -(-self.node_row // block) * block
        start = self.starts[id(nodes)] = self.node_row
        self.node_row += num_blocks(nodes.num_nodes, block) * block
        return start


@dataclass(frozen=True, eq=False)
class _Laid:
    """Where the vectors of a layer lie. ``members``: per block shape its grids and their first node rows; ``bounds``: its groups."""

    members: dict[tuple[int, int], list[tuple[TileGrid, int]]]
    bounds: dict[tuple[int, int], tuple[int, ...]]
    width: dict[int, int]
    elements: dict[int, int]
    sections: tuple[Section, ...]
    num_rows: int


def _lay_out(layer: Layer, block_size: int, tolerance: float, cursor: Cursor) -> _Laid:
    """Takes the layer's node rows of ``cursor``; sum vectors by block shape and group, element vectors by first use."""
    grids, width = layer_grids(layer, block_size)
    histograms = class_histograms(grids)
    bounds = dict(zip(histograms, group_bounds(list(histograms.values()), tolerance)))
    shapes = list(histograms)

    def position(grid: TileGrid):
        shape = (grid.sum_block, grid.child_block)
        first = grid.num_cols if grid.tile_rows is None else np.count_nonzero(grid.tile_rows == 0)
        return shapes.index(shape), int(np.searchsorted(bounds[shape], first))

    grids = sorted(grids, key=position)  # stable
    members: dict[tuple[int, int], list] = {shape: [] for shape in shapes}
    for grid in grids:
        members[grid.sum_block, grid.child_block].append((grid, cursor.take_rows(grid.nodes, grid.sum_block)))
    return _Laid(members, bounds, width, *lay_out_elements(grids, width))


def pass_layer(layer: Layer, block_size: int, tolerance: float, cursor: Cursor, needed: set[int]) -> None:
    """Advances ``cursor`` past a layer as ``index_layer`` does, without index tensors; the parameter tiles are kept of
    vectors in ``needed`` alone (ids of those that keep the parameters)."""
    laid = _lay_out(layer, block_size, tolerance, cursor)
    for shape, members in laid.members.items():
        if any(id(grid.nodes.storage) in needed for grid, _ in members):
            counts = np.concatenate([grid.children_per_row() for grid, _ in members])
            _place_parameters(members, counts, np.searchsorted(laid.bounds[shape], counts), cursor)
            continue
        cells = shape[0] * shape[1]
        fresh = {id(grid.nodes.storage): grid.num_tiles for grid, _ in reversed(members) if id(grid.nodes.storage) not in cursor.tiles}
        cursor.param = (-(-cursor.param // cells) + sum(fresh.values())) * cells
        cursor.tiles |= dict.fromkeys(fresh, np.empty(0, dtype=np.int64))


def forward_groups(layer: Layer, block_size: int, tolerance: float, cursor: Cursor) -> tuple[tuple[SumGroup, ...], tuple[Section, ...]]:
    """The forward launches of one layer and the sections of its element buffer, as ``index_layer`` has them."""
    laid = _lay_out(layer, block_size, tolerance, cursor)
    groups = [group for shape, members in laid.members.items() for group in _forward(members, laid.bounds[shape], laid.elements, cursor)[1]]
    return tuple(groups), laid.sections


def index_layer(layer: Layer, block_size: int, tolerance: float, cursor: Cursor) -> LayerPlan:
    """Lay out one layer and build its index tensors; advances ``cursor``."""
    laid = _lay_out(layer, block_size, tolerance, cursor)
    elements, width, sections, num_rows = laid.elements, laid.width, laid.sections, laid.num_rows
    sums, groups = [], []
    for shape, members in laid.members.items():
        slots, shape_groups = _forward(members, laid.bounds[shape], elements, cursor)
        sums += slots
        groups += shape_groups
    ordered = tuple(sorted(((e, elements[id(e)]) for e in layer.elements), key=lambda pair: pair[1]))
    return LayerPlan(
        products=_products(ordered, width, block_size, cursor.starts),
        groups=tuple(groups),
        backward_groups=tuple(_backward(sums, elements, tolerance)),
        sections=sections,
        num_element_rows=num_rows,
        sums=tuple(sums),
        elements=ordered,
    )


def lay_out_elements(grids: list[TileGrid], width: dict[int, int]) -> tuple[dict[int, int], tuple[Section, ...], int]:
    """First element row of every element vector; wide blocks first so that every start is aligned."""
    elements = {id(e): e for grid in grids for e in grid.nodes.children}
    widest = max(width[key] for key in elements)
    starts, sections, row = {}, [Section(0, widest, 1)], widest
    for w in sorted({width[key] for key in elements}, reverse=True):
        first = row
        for key, element in elements.items():
            if width[key] == w:
                starts[key] = row
                row += num_blocks(element.num_nodes, w) * w
        sections.append(Section(first, w, (row - first) // w))
    return starts, tuple(sections), num_blocks(row, widest) * widest


def _child_starts(grid: TileGrid, elements: dict[int, int]) -> np.ndarray:
    """[num_cols] first element row of every child block."""
    counts = np.diff(grid.col_offsets)
    first = np.array([elements[id(child)] for child in grid.nodes.children], dtype=np.int64)
    within = np.arange(grid.num_cols) - np.repeat(grid.col_offsets[:-1], counts)
    return np.repeat(first, counts) + within * grid.child_block


def _forward(members, bounds, elements, cursor: Cursor) -> tuple[list[SumSlot], list[SumGroup]]:
    """Slots and groups of all sum vectors of one block shape."""
    sum_block, child_block = members[0][0].sum_block, members[0][0].child_block
    counts = np.concatenate([grid.children_per_row() for grid, _ in members])
    nids = np.concatenate([start + sum_block * np.arange(grid.num_rows) for grid, start in members])
    cids = np.concatenate([_tile_children(grid, elements) for grid, _ in members])
    group = np.searchsorted(bounds, counts)
    first = np.concatenate([[0], np.cumsum(counts)])
    slots, first_use, pids = _place_parameters(members, counts, group, cursor)
    groups = []
    for g, most in enumerate(bounds):
        blocks = np.flatnonzero(group == g)
        tiles, slot = _ragged(first[blocks], counts[blocks]), _padded_slots(counts[blocks], most)
        tables = (_pad(entries[tiles], slot, most) for entries in (cids, pids))
        repeats = not first_use[blocks].all() and len(np.unique(pids[first[blocks]])) < len(blocks)
        groups.append(SumGroup(sum_block, child_block, nids[blocks], *tables, first_use[blocks], repeats))
    return slots, groups


def _place_parameters(members, counts: np.ndarray, group: np.ndarray, cursor: Cursor) -> tuple[list[SumSlot], np.ndarray, np.ndarray]:
    """Take parameter entries for the tiles of ``members``, group by group; tied vectors get the tiles of their first use.

    ``counts``, ``group``: tiles and group of each sum block. Returns the slots, for each sum block whether it is a first use,
    and the tiles of all sum blocks.
    """
    cells = members[0][0].sum_block * members[0][0].child_block
    keys = [id(grid.nodes.storage) for grid, _ in members]
    first_member = {key: i for i, key in reversed(list(enumerate(keys)))}
    fresh = [key not in cursor.tiles and first_member[key] == i for i, key in enumerate(keys)]
    first_use = np.repeat(fresh, [grid.num_rows for grid, _ in members])
    cursor.param = -(-cursor.param // cells) * cells
    pids = _consecutive_tiles(counts[first_use], group[first_use], cursor.param, cells)
    cursor.param += len(pids) * cells
    end, slots = 0, []
    for (grid, start), key, new in zip(members, keys, fresh):
        if new:
            cursor.tiles[key] = pids[end : end + grid.num_tiles]
            end += grid.num_tiles
        slots.append(SumSlot(grid, start, cursor.tiles[key], new))
    return slots, first_use, pids if all(fresh) else np.concatenate([slot.tile_pids for slot in slots])


def _consecutive_tiles(counts: np.ndarray, group: np.ndarray, start: int, cells: int) -> np.ndarray:
    """First entries of the tiles of sum blocks with ``counts`` tiles each, block by block: those of a ``group`` are one run."""
    tiles = np.arange(int(counts.sum()), dtype=index_dtype(start + int(counts.sum()) * cells))
    order = np.argsort(group, kind="stable")
    if (np.diff(order) != 1).any():
        position = np.empty(len(order), dtype=tiles.dtype)  # of each sum block's first tile
        position[order] = np.cumsum(counts[order]) - counts[order]
        tiles += np.repeat(position - (np.cumsum(counts) - counts).astype(tiles.dtype), counts)
    tiles *= cells
    tiles += start
    return tiles


def _tile_children(grid: TileGrid, elements: dict[int, int]) -> np.ndarray:
    """[T] first element row of every tile's child block."""
    starts = _child_starts(grid, elements)
    starts = starts.astype(index_dtype(int(starts.max())))
    return np.tile(starts, grid.num_rows) if grid.tile_cols is None else starts[grid.tile_cols]


def _backward(sums: list[SumSlot], elements: dict[int, int], tolerance: float):
    """Groups of child blocks by number of parents, for each block shape."""
    grids = [slot.grid for slot in sums]
    histograms = backward_histograms(grids)
    bounds = dict(zip(histograms, group_bounds(list(histograms.values()), tolerance)))
    per_element = parents_per_element(grids)
    for shape in histograms:
        yield from _backward_groups(
            shape,
            [slot for slot in sums if (slot.grid.sum_block, slot.grid.child_block) == shape],
            {key[2]: counts for key, counts in per_element.items() if key[:2] == shape},
            elements,
            bounds[shape],
        )


def _backward_groups(shape, slots: list[SumSlot], parents: dict[int, np.ndarray], elements, bounds):
    sum_block, child_block = shape
    order = sorted(parents, key=elements.__getitem__)
    counts = np.concatenate([parents[key] for key in order])
    chids = np.concatenate([elements[key] + child_block * np.arange(len(parents[key])) for key in order])
    base = dict(zip(order, np.cumsum([0] + [len(parents[key]) for key in order])))  # first child block of a vector
    first = np.concatenate([[0], np.cumsum(counts)])
    parids = np.empty(first[-1], dtype=index_dtype(max(s.start + s.grid.num_rows * sum_block for s in slots)))
    parpids = np.empty(first[-1], dtype=np.result_type(*(slot.tile_pids.dtype for slot in slots)))
    free = first[:-1].copy()
    for slot in slots:
        grid = slot.grid
        cols = np.concatenate([base[id(child)] + np.arange(n) for child, n in zip(grid.nodes.children, np.diff(grid.col_offsets))])
        nids = slot.start + sum_block * np.arange(grid.num_rows)
        if grid.tile_rows is None:
            where = free[cols][:, None] + np.arange(grid.num_rows)
            parids[where] = nids
            parpids[where] = slot.tile_pids.reshape(grid.num_rows, grid.num_cols).T
            free[cols] += grid.num_rows
        else:
            tiles = np.argsort(grid.tile_cols, kind="stable")
            per_col = grid.parents_per_col()
            rank = np.arange(len(tiles)) - np.repeat(np.cumsum(per_col) - per_col, per_col)
            where = free[cols[grid.tile_cols[tiles]]] + rank
            parids[where] = nids[grid.tile_rows[tiles]]
            parpids[where] = slot.tile_pids[tiles]
            free[cols] += per_col
    group = np.where(counts > 0, np.searchsorted(bounds, counts), -1)
    for g, most in enumerate(bounds):
        blocks = np.flatnonzero(group == g)
        entries, slot = _ragged(first[blocks], counts[blocks]), _padded_slots(counts[blocks], most)
        yield BackwardGroup(sum_block, child_block, chids[blocks], _pad(parids[entries], slot, most), _pad(parpids[entries], slot, most))


def _products(elements, width: dict[int, int], block_size: int, starts: dict[int, int]) -> tuple[ProductGroup, ...]:
    """Element vectors by arity, run width and element block; see ProductGroup. Missing rows read the null block."""
    pieces: dict[tuple[int, int, int], list] = {}
    for element, row in elements:
        rows = num_blocks(element.num_nodes, width[id(element)]) * width[id(element)]
        shape = arity, run, _ = product_shape(element, width[id(element)], block_size)
        factor_rows = np.array([starts[id(factor)] for factor in factors_of(element)])
        eids = row + np.arange(0, rows, run)
        cids = np.zeros((len(eids), arity), dtype=np.int64)
        if isinstance(element, ProdNodes) and element.edge_ids is not None:
            cids[: element.num_nodes] = factor_rows + element.edge_ids
        else:
            runs = num_blocks(element.num_nodes, run)
            cids[:runs] = factor_rows + run * np.arange(runs)[:, None]
        pieces.setdefault(shape, []).append((eids, cids))
    return tuple(_product_group(run, block, *map(np.concatenate, zip(*members))) for (_, run, block), members in sorted(pieces.items()))


def _product_group(width: int, element_block: int, eids: np.ndarray, cids: np.ndarray) -> ProductGroup:
    children, elements = cids.ravel(), np.repeat(eids, cids.shape[1])
    real = children > 0
    children, elements = children[real], elements[real]
    order = np.argsort(children, kind="stable")
    nids, counts = np.unique(children, return_counts=True)
    return ProductGroup(width, element_block, eids, cids, nids, elements[order], np.concatenate([[0], np.cumsum(counts)]))


def index_dtype(largest: int):
    """int32 while it fits: index tensors are read by every program."""
    return np.int32 if largest < 2**31 else np.int64


def _ragged(starts: np.ndarray, counts: np.ndarray):
    """Indices starts[i] .. starts[i] + counts[i] for all i, end to end; a slice when they are one run."""
    total = int(counts.sum())
    if len(starts) and (starts[1:] == (starts + counts)[:-1]).all():
        return slice(int(starts[0]), int(starts[0]) + total)
    return np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(total)


def _padded_slots(counts: np.ndarray, most: int):
    """Where ragged entries go in a [len(counts), most] table; None when no row needs padding."""
    return None if (counts == most).all() else np.arange(most) < counts[:, None]


def _pad(entries: np.ndarray, slots, most: int) -> np.ndarray:
    """Entries as a table [-1, most], zeros (null block, zero parameters) in the padding."""
    if slots is None:
        return entries.reshape(-1, most)
    table = np.zeros(slots.shape, dtype=entries.dtype)
    table[slots] = entries
    return table
