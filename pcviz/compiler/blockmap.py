"""The block map of a layer: which sum blocks store a block of parameters towards which child blocks, and what is in them.

Counted from the same tile grids and groups as the plan. A picture (``Raster``) is cut out of a layer's blocks at any
window and aggregation; of the whole layer by ``block_map``, to at most ``max_cells`` x ``max_cells`` cells. Pictures of single
matrix cells are blockcells.py's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.nodes import Nodes, SumNodes
from .arguments import TOLERANCE, checked_block_size, checked_tolerance
from .counting import class_histograms, layer_grids
from .grouping import GroupingTable, grouping_table
from .indexing import lay_out_elements
from .layering import Layering, layering
from .tiles import TileGrid, child_columns, edges_per_tile

EDGE, ZERO, ABSENT, MISSING, PSEUDO = 1, 2, 4, 8, 16  # bits of a picture's cell


@dataclass(frozen=True, eq=False)
class Raster:
    """A picture of ``window`` (first and end row, first and end column, in blocks) as [rows, cols] cells, row-major.

    Rows are sum blocks in plan order: by group. Columns are child blocks in the order of their rows in the element buffer
    or, ``packed``, places in the launch: each sum block's child blocks in the order of its cids, then its pseudo blocks.
    A cell stands for ``per_row`` sum blocks x ``per_col`` columns. ``kinds``: what is in it, as bits: 1 edges, 2 edges
    whose parameter is 0, 4 absent edges, 8 missing rows or columns, 16 pseudo blocks; 0 where nothing is stored.
    ``fill``: edges with a parameter other than 0 / multiplied cells, 0..255, rounded up.
    """

    packed: bool
    window: tuple[int, int, int, int]
    per_row: int
    per_col: int
    rows: int
    cols: int
    kinds: bytes
    fill: bytes


@dataclass(frozen=True, eq=False)
class BlockMap:
    """A whole layer: ``matrix`` and ``packed`` pictures of it, each at most ``max_cells`` wide and high.

    ``row_groups``: the group (0-based) of each picture row's first sum block; ``row_pseudo``: pseudo blocks of each row.
    """

    layer: int
    block_size: int
    sum_blocks: int
    child_blocks: int
    matrix: Raster
    packed: Raster
    row_groups: tuple[int, ...]
    row_pseudo: tuple[int, ...]
    row_labels: tuple[str, ...]
    col_labels: tuple[str, ...]
    sum_block: int  # the largest in the layer
    child_block: int
    zero_edges: int  # whose parameter is 0
    grouping: GroupingTable
    shapes: dict  # (sum_block, child_block) -> its ClassTable
    caption: str


def block_map(root: Nodes | Layering, layer: int, block_size: int, padding_tolerance: float = TOLERANCE, max_cells: int = 256) -> BlockMap:
    """The block map of layer ``layer`` (1 is next to the inputs) at ``block_size``."""
    blocks = LayerBlocks(root, layer, block_size, padding_tolerance)
    matrix, packed = (blocks.raster(is_packed, max_cells=max_cells) for is_packed in (False, True))
    caption = f"{blocks.sum_blocks:,} sum blocks x {blocks.child_blocks:,} child blocks"
    if matrix.per_row > 1 or matrix.per_col > 1:
        caption += f"; each cell stands for {matrix.per_row} x {matrix.per_col} blocks"
    return BlockMap(
        layer=layer,
        block_size=block_size,
        sum_blocks=blocks.sum_blocks,
        child_blocks=blocks.child_blocks,
        matrix=matrix,
        packed=packed,
        row_groups=tuple(blocks.group[:: matrix.per_row].tolist()),
        row_pseudo=tuple(np.add.reduceat(blocks.pseudo, np.arange(0, blocks.sum_blocks, matrix.per_row)).tolist()),
        row_labels=tuple(blocks.row_labels(range(0, blocks.sum_blocks, matrix.per_row))),
        col_labels=tuple(blocks.col_labels(range(0, blocks.child_blocks, matrix.per_col))),
        sum_block=blocks.sum_block,
        child_block=blocks.child_block,
        zero_edges=sum(count_zeros(part.grid.nodes) for part in blocks.parts),
        grouping=blocks.grouping,
        shapes=blocks.shapes,
        caption=caption,
    )


def count_zeros(nodes: SumNodes) -> int:
    """Edges of a sum vector whose parameter is 0."""
    return 0 if nodes.params is None else nodes.params.size - int(np.count_nonzero(nodes.params))


class LayerBlocks:
    """The blocks of layer ``layer`` at one block size and tolerance, in plan order.

    Per sum block: ``group`` (0-based), ``children`` (stored blocks), ``pseudo`` blocks. ``parts``: the layer's vectors.
    ``sum_block`` and ``child_block`` are the largest of the layer. ``grouping`` is the table that the groups come from, ``shapes``
    the part of it of each (sum_block, child_block).
    """

    def __init__(self, root: Nodes | Layering, layer: int, block_size: int, padding_tolerance: float = TOLERANCE):
        block_size = checked_block_size(block_size)
        padding_tolerance = checked_tolerance(padding_tolerance)
        layers = root if isinstance(root, Layering) else layering(root)
        if not 1 <= layer <= len(layers.layers):
            raise ValueError(f"layer must be 1 to {len(layers.layers)}, got {layer!r}.")
        chosen = layers.layers[layer - 1]
        grids, width = layer_grids(chosen, block_size)
        order = _row_order(grids, padding_tolerance)
        starts, _, _ = lay_out_elements(order.grids, width)
        self.elements = sorted(chosen.elements, key=lambda e: starts[id(e)])
        self.element_width = width
        self.first_col = np.cumsum([0] + [-(-e.num_nodes // width[id(e)]) for e in self.elements])
        column = dict(zip(map(id, self.elements), self.first_col.tolist()))
        self.parts = [Part(grid, positions, column) for grid, positions in zip(order.grids, order.positions)]
        self.group, self.pseudo, self.children = order.group, order.pseudo, order.children
        self.sum_blocks, self.child_blocks = len(order.group), int(self.first_col[-1])
        self.sum_block, self.child_block = max(grid.sum_block for grid in grids), max(grid.child_block for grid in grids)
        self.cells, self.shapes, self.grouping = order.cells, order.shapes, order.table

    def width(self, packed: bool) -> int:
        """Columns of the whole picture."""
        return int((self.children + self.pseudo).max()) if packed else self.child_blocks

    def raster(self, packed: bool, window: tuple[int, int, int, int] | None = None, max_cells: int = 256) -> Raster:
        """The picture of ``window`` (all when None), aggregated to at most ``max_cells`` x ``max_cells`` cells."""
        window = r0, r1, c0, c1 = self._checked(packed, window)
        canvas = _Canvas(window, -(-(r1 - r0) // max_cells), -(-(c1 - c0) // max_cells))
        for part in self.parts:
            if part.meets(r0, r1):
                canvas.add(part, packed)
        if packed:
            canvas.add_pseudo(self)
        kinds, fill = canvas.finish()
        return Raster(packed, window, canvas.per_row, canvas.per_col, canvas.rows, canvas.cols, kinds, fill)

    def _checked(self, packed: bool, window):
        if window is None:
            return (0, self.sum_blocks, 0, self.width(packed))
        r0, r1, c0, c1 = window
        if not (0 <= r0 < r1 <= self.sum_blocks and 0 <= c0 < c1 <= self.width(packed)):
            raise ValueError(f"window must lie in {self.sum_blocks} rows and {self.width(packed)} columns, got {window!r}.")
        return (r0, r1, c0, c1)

    def row_labels(self, positions) -> list[str]:
        """Name of each sum block: its vector and its number in it."""
        return [f"{nodes.label}, block {block}" for nodes, block, _ in self.row_places(positions)]

    def col_labels(self, columns) -> list[str]:
        """Name of each child block: its vector and its number in it."""
        return [f"{nodes.label}, block {block}" for nodes, block, _ in self.col_places(columns)]

    def row_places(self, positions) -> list[tuple[Nodes, int, int]]:
        """Of each sum block its vector, its number in it, and its first node in it."""
        owner = np.empty(self.sum_blocks, dtype=np.int64)
        block = np.empty(self.sum_blocks, dtype=np.int64)
        for i, part in enumerate(self.parts):
            owner[part.positions], block[part.positions] = i, np.arange(len(part.positions))
        grids = [self.parts[owner[p]].grid for p in positions]
        return [(grid.nodes, int(block[p]), int(block[p]) * grid.sum_block) for grid, p in zip(grids, positions)]

    def col_places(self, columns) -> list[tuple[Nodes, int, int]]:
        """Of each child block the same."""
        columns = np.asarray(columns, dtype=np.int64)
        owner = np.searchsorted(self.first_col, columns, side="right") - 1
        found = [(self.elements[o], int(c - self.first_col[o])) for o, c in zip(owner, columns)]
        return [(nodes, block, block * self.element_width[id(nodes)]) for nodes, block in found]


class Part:
    """One sum vector in the map: ``positions`` [num_rows] of its sum blocks, ``columns`` [num_cols] of its child blocks."""

    def __init__(self, grid: TileGrid, positions: np.ndarray, column: dict[int, int]):
        self.grid, self.positions = grid, positions
        counts = np.diff(grid.col_offsets)
        self.columns = np.concatenate([column[id(child)] + np.arange(n) for child, n in zip(grid.nodes.children, counts)])

    def meets(self, first: int, end: int) -> bool:
        return bool(((self.positions >= first) & (self.positions < end)).any())

    def slots(self) -> np.ndarray:
        """[T] place of each tile in its sum block's cids; of a fully connected vector [num_cols]."""
        if self.grid.tile_rows is None:
            return np.arange(self.grid.num_cols)
        counts = self.grid.children_per_row()
        return np.arange(len(self.grid.tile_rows)) - np.repeat(np.cumsum(counts) - counts, counts)

    def tile_of(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Number of each stored tile, in a vector with edge_ids."""
        grid = self.grid
        return np.searchsorted(grid.tile_rows * grid.num_cols + grid.tile_cols, rows * grid.num_cols + cols)

    def zero_edges(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(row, column) in the grid of the tile under each edge whose parameter is 0; None without any."""
        nodes, grid = self.grid.nodes, self.grid
        if nodes.params is None or nodes.params.all():
            return None
        at = np.nonzero(nodes.params == 0)
        if nodes.edge_ids is None:
            sums, children = at
        else:
            edge, i, j = at
            sums, children = nodes.edge_ids[0][edge] * nodes.edge_block + i, nodes.edge_ids[1][edge] * nodes.edge_block + j
        return sums // grid.sum_block, child_columns(nodes, grid.child_block, np.array(grid.col_offsets), children)


@dataclass
class _RowOrder:
    """Sum blocks in plan order: ``grids`` and their blocks' ``positions``; per position its ``group``, ``pseudo`` and stored
    ``children``, and the ``cells`` of one of its blocks."""

    grids: list[TileGrid]
    positions: list[np.ndarray]
    group: np.ndarray
    pseudo: np.ndarray
    children: np.ndarray
    cells: np.ndarray
    shapes: dict  # (sum_block, child_block) -> its ClassTable
    table: GroupingTable


def _row_order(grids: list[TileGrid], tolerance: float) -> _RowOrder:
    histograms = class_histograms(grids)
    table = grouping_table(list(histograms.values()), tolerance)
    bounds = [one.bounds for one in table.classes]
    first_group = dict(zip(histograms, np.cumsum([0] + [len(limits) for limits in bounds]).tolist()))
    bounds_of = dict(zip(histograms, bounds))
    rows = []  # per grid: group, pseudo, children, cells of its blocks
    for grid in grids:
        shape, counts = (grid.sum_block, grid.child_block), grid.children_per_row()
        own = np.searchsorted(bounds_of[shape], counts)
        rows.append((first_group[shape] + own, np.array(bounds_of[shape])[own] - counts, counts, np.full(len(counts), shape[0] * shape[1])))
    order = sorted(range(len(grids)), key=lambda i: int(rows[i][0][0]))  # as the plan lays vectors out
    flat = [np.concatenate(columns) for columns in zip(*(rows[i] for i in order))]
    by_group = np.argsort(flat[0], kind="stable")
    position = np.empty(len(by_group), dtype=np.int64)
    position[by_group] = np.arange(len(by_group))
    grids = [grids[i] for i in order]
    ends = np.cumsum([grid.num_rows for grid in grids])[:-1]
    return _RowOrder(grids, np.split(position, ends), *(values[by_group] for values in flat), dict(zip(histograms, table.classes)), table)


class _Canvas:
    """Sums multiplied cells, edges and paddings of tiles into the cells of a picture."""

    def __init__(self, window: tuple[int, int, int, int], per_row: int, per_col: int):
        self.window, self.per_row, self.per_col = window, per_row, per_col
        self.rows, self.cols = -(-(window[1] - window[0]) // per_row), -(-(window[3] - window[2]) // per_col)
        self.stored, self.real, self.edges, self.zeros, self.pseudo = (np.zeros(self.rows * self.cols) for _ in range(5))

    def add(self, part: Part, packed: bool) -> None:
        grid, (r0, r1, c0, c1) = part.grid, self.window
        columns = part.slots() if packed else part.columns if grid.tile_rows is None else part.columns[grid.tile_cols]
        rows, cols = (part.positions - r0) // self.per_row, (columns - c0) // self.per_col
        row_in, col_in = (part.positions >= r0) & (part.positions < r1), (columns >= c0) & (columns < c1)
        if grid.tile_rows is None:
            self._add_dense(grid, rows, row_in, cols, col_in)
        else:
            keep = row_in[grid.tile_rows] & col_in
            at = rows[grid.tile_rows[keep]] * self.cols + cols[keep]
            real = (grid.real_rows()[grid.tile_rows] * grid.real_cols()[grid.tile_cols])[keep]
            for total, weights in ((self.stored, np.full(len(at), grid.sum_block * grid.child_block)), (self.real, real),
                                   (self.edges, edges_per_tile(grid)[keep])):  # fmt: skip
                total += np.bincount(at, weights=weights, minlength=len(total))
        zeros = part.zero_edges()
        if zeros is not None:
            down, across = zeros
            tile = across if grid.tile_rows is None else part.tile_of(down, across)
            keep = row_in[down] & col_in[tile]
            self.zeros += np.bincount(rows[down[keep]] * self.cols + cols[tile[keep]], minlength=len(self.zeros))

    def _add_dense(self, grid: TileGrid, rows, row_in, cols, col_in) -> None:
        """All tiles of a grid: sums over rows times sums over columns."""
        row_at, col_at = np.unique(rows[row_in]), np.unique(cols[col_in])
        at = row_at[:, None] * self.cols + col_at

        def spread(r, c):
            down = np.bincount(rows[row_in], weights=r[row_in], minlength=self.rows)[row_at]
            return down[:, None] * np.bincount(cols[col_in], weights=c[col_in], minlength=self.cols)[col_at]

        real = spread(grid.real_rows(), grid.real_cols())
        self.stored[at] += spread(np.full(grid.num_rows, grid.sum_block), np.full(grid.num_cols, grid.child_block))
        self.real[at] += real
        self.edges[at] += real

    def add_pseudo(self, blocks: LayerBlocks) -> None:
        """Pseudo blocks follow a sum block's stored ones."""
        r0, r1, c0, c1 = self.window
        row = np.flatnonzero(blocks.pseudo[r0:r1])
        first = blocks.children[r0 + row]
        key = np.stack([row // self.per_row, first, first + blocks.pseudo[r0 + row], blocks.cells[r0 + row]])
        key, count = np.unique(key, axis=1, return_counts=True)
        edge = np.minimum(c0 + self.per_col * np.arange(self.cols + 1), c1)
        overlap = np.minimum(key[2][:, None], edge[1:]) - np.maximum(key[1][:, None], edge[:-1])
        np.add.at(self.pseudo.reshape(self.rows, self.cols), key[0], np.maximum(overlap, 0) * (count * key[3])[:, None])

    def finish(self) -> tuple[bytes, bytes]:
        bits = ((self.edges > self.zeros, EDGE), (self.zeros > 0, ZERO), (self.edges < self.real, ABSENT), (self.real < self.stored, MISSING),
                (self.pseudo > 0, PSEUDO))  # fmt: skip
        kinds = sum(np.where(here, bit, 0) for here, bit in bits)
        cells = self.stored + self.pseudo
        fill = np.divide(255 * (self.edges - self.zeros), cells, out=np.zeros_like(cells), where=cells > 0)
        return kinds.astype(np.uint8).tobytes(), np.ceil(fill).astype(np.uint8).tobytes()
