"""The block map of a layer: which sum blocks store a block of parameters towards which child blocks.

Counted from the same tile grids and groups as the plan, aggregated to at most ``max_cells`` x ``max_cells`` cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.nodes import Nodes
from .arguments import check_block_size, check_tolerance
from .counting import class_histograms, layer_grids
from .grouping import group_bounds
from .indexing import lay_out_elements
from .layering import Layering, layering
from .tiles import TileGrid, edges_per_tile

NOTHING, FULL, ABSENT, MISSING = range(4)


@dataclass(frozen=True, eq=False)
class BlockMap:
    """Cells [rows, cols], row-major. A cell stands for ``blocks_per_row`` sum blocks x ``blocks_per_col`` child blocks.

    ``kinds``: 0 nothing stored, 1 every cell an edge, 2 with absent edges, 3 with missing rows or columns (and no absent
    edge). ``fill``: edges / stored cells, 0..255. ``row_groups``: the group (0-based) of each row's first sum block;
    ``row_pseudo``: pseudo blocks of each row. Sum blocks stand in plan order: by group.
    """

    layer: int
    block_size: int
    rows: int
    cols: int
    sum_blocks: int
    child_blocks: int
    blocks_per_row: int
    blocks_per_col: int
    kinds: bytes
    fill: bytes
    row_groups: tuple[int, ...]
    row_pseudo: tuple[int, ...]
    row_labels: tuple[str, ...]
    col_labels: tuple[str, ...]
    sum_block: int  # the largest in the layer
    child_block: int
    caption: str


def block_map(root: Nodes | Layering, layer: int, block_size: int, padding_tolerance: float = 0.25, max_cells: int = 256) -> BlockMap:
    """The block map of layer ``layer`` (1 is next to the inputs) at ``block_size``."""
    check_block_size(block_size)
    check_tolerance(padding_tolerance)
    layers = root if isinstance(root, Layering) else layering(root)
    if not 1 <= layer <= len(layers.layers):
        raise ValueError(f"layer must be 1 to {len(layers.layers)}, got {layer!r}.")
    chosen = layers.layers[layer - 1]
    grids, width = layer_grids(chosen, block_size)
    order = _row_order(grids, padding_tolerance)
    starts, _, _ = lay_out_elements(order.grids, width)
    elements = sorted(chosen.elements, key=lambda e: starts[id(e)])
    counts = [-(-e.num_nodes // width[id(e)]) for e in elements]
    first_col = dict(zip(map(id, elements), np.cumsum([0, *counts]).tolist()))
    child_blocks = sum(counts)
    per_row, per_col = -(-len(order.group) // max_cells), -(-child_blocks // max_cells)
    canvas = _Canvas(-(-len(order.group) // per_row), -(-child_blocks // per_col), per_row, per_col)
    for grid, positions in zip(order.grids, order.positions):
        canvas.add(grid, positions, np.concatenate([first_col[id(c)] + np.arange(n) for c, n in zip(grid.nodes.children, np.diff(grid.col_offsets))]))
    kinds, fill = canvas.finish()
    row_labels = [""] * len(order.group)
    for grid, positions in zip(order.grids, order.positions):
        for r, position in enumerate(positions):
            row_labels[position] = f"{grid.nodes.label}, block {r}"
    col_labels = [f"{e.label}, block {b}" for e, n in zip(elements, counts) for b in range(n)]
    caption = f"{len(order.group):,} sum blocks x {child_blocks:,} child blocks"
    if per_row > 1 or per_col > 1:
        caption += f"; each cell stands for {per_row} x {per_col} blocks"
    return BlockMap(
        layer=layer,
        block_size=block_size,
        rows=canvas.rows,
        cols=canvas.cols,
        sum_blocks=len(order.group),
        child_blocks=child_blocks,
        blocks_per_row=per_row,
        blocks_per_col=per_col,
        kinds=kinds,
        fill=fill,
        row_groups=tuple(order.group[::per_row].tolist()),
        row_pseudo=tuple(np.add.reduceat(order.pseudo, np.arange(0, len(order.pseudo), per_row)).tolist()),
        row_labels=tuple(row_labels[::per_row]),
        col_labels=tuple(col_labels[::per_col]),
        sum_block=max(grid.sum_block for grid in grids),
        child_block=max(grid.child_block for grid in grids),
        caption=caption,
    )


@dataclass
class _RowOrder:
    """Sum blocks in plan order: ``grids`` and their blocks' ``positions``; per position its ``group`` and ``pseudo``."""

    grids: list[TileGrid]
    positions: list[np.ndarray]
    group: np.ndarray
    pseudo: np.ndarray


def _row_order(grids: list[TileGrid], tolerance: float) -> _RowOrder:
    histograms = class_histograms(grids)
    bounds = group_bounds(list(histograms.values()), tolerance)
    first_group = dict(zip(histograms, np.cumsum([0] + [len(limits) for limits in bounds]).tolist()))
    bounds_of = dict(zip(histograms, bounds))
    groups, pseudo = [], []
    for grid in grids:
        shape, counts = (grid.sum_block, grid.child_block), grid.children_per_row()
        own = np.searchsorted(bounds_of[shape], counts)
        groups.append(first_group[shape] + own)
        pseudo.append(np.array(bounds_of[shape])[own] - counts)
    order = sorted(range(len(grids)), key=lambda i: int(groups[i][0]))  # as the plan lays vectors out
    grids, groups, pseudo = ([items[i] for i in order] for items in (grids, groups, pseudo))
    flat = np.concatenate(groups)
    by_group = np.argsort(flat, kind="stable")
    position = np.empty(len(flat), dtype=np.int64)
    position[by_group] = np.arange(len(flat))
    return _RowOrder(grids, np.split(position, np.cumsum([len(g) for g in groups])[:-1]), flat[by_group], np.concatenate(pseudo)[by_group])


class _Canvas:
    """Sums stored cells, edges and missing cells of tiles into map cells."""

    def __init__(self, rows: int, cols: int, per_row: int, per_col: int):
        self.rows, self.cols, self.per_row, self.per_col = rows, cols, per_row, per_col
        self.stored, self.real, self.edges = (np.zeros(rows * cols) for _ in range(3))

    def add(self, grid: TileGrid, positions: np.ndarray, columns: np.ndarray) -> None:
        cells = grid.sum_block * grid.child_block
        rows, cols = positions // self.per_row, columns // self.per_col
        if grid.tile_rows is None:
            row_at, col_at = np.unique(rows), np.unique(cols)
            at = row_at[:, None] * self.cols + col_at

            def spread(r, c):
                down = np.bincount(rows, weights=r, minlength=self.rows)[row_at]
                return down[:, None] * np.bincount(cols, weights=c, minlength=self.cols)[col_at]

            real = spread(grid.real_rows(), grid.real_cols())
            self.stored[at] += spread(np.full(grid.num_rows, grid.sum_block), np.full(grid.num_cols, grid.child_block))
            self.real[at] += real
            self.edges[at] += real
            return
        at = rows[grid.tile_rows] * self.cols + cols[grid.tile_cols]
        real = grid.real_rows()[grid.tile_rows] * grid.real_cols()[grid.tile_cols]
        size = self.rows * self.cols
        self.stored += np.bincount(at, minlength=size) * float(cells)
        self.real += np.bincount(at, weights=real, minlength=size)
        self.edges += np.bincount(at, weights=edges_per_tile(grid), minlength=size)

    def finish(self) -> tuple[bytes, bytes]:
        kinds = np.where(self.stored == 0, NOTHING, np.where(self.edges < self.real, ABSENT, np.where(self.real < self.stored, MISSING, FULL)))
        fill = np.divide(255 * self.edges, self.stored, out=np.zeros_like(self.edges), where=self.stored > 0)
        return kinds.astype(np.uint8).tobytes(), np.ceil(fill).astype(np.uint8).tobytes()
