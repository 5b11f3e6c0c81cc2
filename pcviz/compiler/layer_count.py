"""Counts of one layer at one block size, for all its vectors at once: stored tiles, children, parents, missing cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pcviz_kernels.tuned import UNIT

from .grouping import Histogram, histogram
from .layer_arrays import blocks_of
from .layering import Layer, num_blocks
from .plan import FactorSummary
from .tiles import starts_within, tile_grid


class LayerCount:
    """From the circuit alone; ``summary_of_plan`` has the same from index tensors. ``later`` [S]: not the first of the plan with their parameters."""

    def __init__(self, layer: Layer, block_size: int, later: np.ndarray):
        self.layer, self.later = layer, later
        self.arrays = a = layer.arrays
        self.sum_block = blocks_of(a.sum_len, block_size)
        self.element_block = blocks_of(a.element_longest, block_size)
        self.child_block = blocks_of(a.sum_longest, block_size)
        self.rows = -(-a.sum_len // self.sum_block)  # sum blocks of each sum vector
        self.cols = -(-a.element_len // self.element_block)  # child blocks of each element vector
        self.first_row = np.cumsum(self.rows) - self.rows
        self.first_col = np.cumsum(self.cols) - self.cols
        self._dense()
        self._sparse()
        self.stored = int((self.dense_tiles * self.cells).sum()) + self.sparse_stored

    def _dense(self) -> None:
        a, links = self.arrays, self.arrays.dense[self.arrays.link_sum]
        size = len(a.sum_len)
        self.cells = self.sum_block * self.child_block
        self.dense_children = np.bincount(a.link_sum[links], weights=self.cols[a.link_element[links]], minlength=size).astype(np.int64)
        self.dense_tiles = self.dense_children * self.rows
        self.missing = int((self.dense_tiles * self.cells)[a.dense].sum() - a.num_edges[a.dense].sum())

    def _sparse(self) -> None:
        """Stored tiles of the sparse vectors: ``row_children`` per sum block, ``col_parents`` per child block and shape;
        ``row_edges`` and ``row_missing`` count cells of a sum block's tiles."""
        a, node = self.arrays, np.cumsum(self.arrays.sum_len) - self.arrays.sum_len
        self.row_children, self.row_missing = (np.zeros(int(self.rows.sum()), dtype=np.int64) for _ in range(2))
        self.row_edges = np.add.reduceat(a.node_edges, np.repeat(node, self.rows) + self._places(self.rows) * np.repeat(self.sum_block, self.rows))
        self.col_parents = {shape: np.zeros(int(self.cols.sum()), dtype=np.int64) for shape in self._shapes()}
        self.sparse_stored = 0
        sums = np.flatnonzero(~a.dense)
        kinds, kind = np.unique(np.stack([a.edge_block, self.sum_block, self.child_block])[:, sums], axis=1, return_inverse=True)
        for number, (b, sum_block, child_block) in enumerate(kinds.T.tolist()):
            mine = slice(None) if kinds.shape[1] == 1 else np.repeat(kind == number, a.edge_count[sums])
            row, col, unit = self._tiles(a.edge_link[mine], a.edge_row[mine], a.edge_col[mine], b, (sum_block, child_block))
            self._count_tiles(row, col, unit, (sum_block, child_block))

    def _tiles(self, link, row, col, b: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """(first sum block, first child block, unit) of what edges of b x b nodes store; of tiles within one edge only their unit is listed."""
        a, (sum_block, child_block) = self.arrays, shape
        tall, wide = max(sum_block, b), max(child_block, b)  # the unit, in nodes
        if tall % min(sum_block, b) or wide % min(child_block, b):  # edges and tiles do not nest: every tile is a unit
            tall, wide = shape
        if (tall, wide) == (b, b):
            row, col = row // sum_block, col // child_block
        else:
            width = -(-a.element_len // wide)[a.link_element]
            ends = np.cumsum(-(-a.sum_len // tall)[a.link_sum] * width)
            starts = np.append(0, ends[:-1])
            cells = self._distinct(((starts[link] + (row + down) // tall * width[link] + (col + right) // wide)
                                    for down in starts_within(b, tall) for right in starts_within(b, wide)), int(ends[-1]), len(row))  # fmt: skip
            link = np.repeat(np.arange(len(ends)), np.diff(np.searchsorted(cells, np.append(0, ends))))
            row, col = np.divmod(cells - starts[link], width[link])
            row, col = row * (tall // sum_block), col * (wide // child_block)
        return self.first_row[a.link_sum][link] + row, self.first_col[a.link_element][link] + col, (tall, wide)

    @staticmethod
    def _distinct(pieces: Iterator[np.ndarray], cells: int, most: int) -> np.ndarray:
        """Distinct numbers below ``cells``, ascending: by marking each, unless few of very many occur."""
        if cells > 64 * most:
            return np.unique(np.concatenate(list(pieces)))
        found = np.zeros(cells, dtype=bool)
        for piece in pieces:
            found[piece] = True
        return np.flatnonzero(found)

    def _count_tiles(self, row: np.ndarray, col: np.ndarray, unit: tuple[int, int], shape: tuple[int, int]) -> None:
        """Add units of tall x wide nodes, distinct, which begin at these sum and child blocks."""
        (tall, wide), (sum_block, child_block) = unit, shape
        down, across = np.arange(tall // sum_block), np.arange(wide // child_block)
        below = np.minimum(np.repeat(self.arrays.element_len, self.cols) - self._places(self.cols) * child_block, wide)  # real nodes from a block on
        left = np.minimum(np.repeat(self.arrays.sum_len, self.rows) - self._places(self.rows) * sum_block, sum_block)
        units, real = np.bincount(row), np.bincount(row, weights=below[col]).astype(np.int64)
        first = np.flatnonzero(units)
        blocks, units = first[:, None] + down, units[first, None]
        missing = sum_block * wide * units - left[blocks] * real[first, None]
        self.row_children[blocks] += units * len(across)
        self.row_missing[blocks] += missing
        parents = np.bincount(col)
        first = np.flatnonzero(parents)
        self.col_parents[shape][first[:, None] + across] += parents[first, None] * len(down)
        self.sparse_stored += len(row) * tall * wide
        self.missing += int(missing.sum())

    @staticmethod
    def _places(counts: np.ndarray) -> np.ndarray:
        """0, 1, ... for each of several vectors of so many blocks, end to end."""
        return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)

    def element_rows(self) -> int:
        """Rows of the element buffer, the null block included."""
        widest = int(self.element_block.max())
        return num_blocks(widest + int((self.cols * self.element_block).sum()), widest) * widest

    def element_units(self, unit: int) -> int:
        """Runs of up to ``unit`` rows that element vectors are cut into, and of UNIT rows of the null block."""
        return int((-(-(self.cols * self.element_block) // unit)).sum()) + num_blocks(int(self.element_block.max()), UNIT)

    def factors(self, block_size: int) -> Iterator[FactorSummary]:
        """By launch of products, in the order of ``compile``: its shape is (arity, run, element block), see ``product_shape``."""
        a = self.arrays
        run = blocks_of(a.element_len, block_size)
        run[[element for element, *_ in a.gathered]] = 1
        widest = int(self.element_block.max()) + 1
        keys = (a.arity * widest + run) * widest + self.element_block
        for key in np.unique(keys):
            mine = keys == key
            width, found = int(key // widest % widest), np.unique(a.factor[mine[a.factor_element]])
            runs = -(-a.factor_len[found] // width)
            gathered = [np.stack([np.full(len(nodes), factor), nodes]) for element, factor, nodes in a.gathered if mine[element]]
            alone = np.unique(np.concatenate(gathered, axis=1), axis=1) if gathered else np.zeros((2, 0), dtype=np.int64)
            alone = alone[:, ~np.isin(alone[0], found)]  # of the others all nodes are counted already
            parents = -(-a.element_len[mine] // run[mine]) * a.arity[mine]
            yield FactorSummary(width, int(runs.sum()) + alone.shape[1], int(parents.sum()))

    def _shapes(self) -> list[tuple[int, int]]:
        return sorted({*zip(self.sum_block.tolist(), self.child_block.tolist())}, reverse=True)

    def forward(self) -> dict[tuple[int, int], Histogram]:
        """Stored children per sum block, for each (sum_block, child_block); extra: the other counts of a GroupSummary."""
        owner, a = np.repeat(np.arange(len(self.rows)), self.rows), self.arrays
        missing = self.dense_tiles * self.cells - a.num_edges
        sums = [(a.num_edges, self.row_edges), (missing, self.row_missing)]
        for mask in (a.tied, self.later):
            sums += [(self.dense_tiles * mask, self.row_children * mask[owner]), (self.rows * mask, mask[owner] * 1)]
        result = {}
        for shape in self._shapes():
            mine = (self.sum_block == shape[0]) & (self.child_block == shape[1])
            dense, sparse = mine & self.arrays.dense, (mine & ~self.arrays.dense)[owner]
            counts = np.concatenate([self.dense_children[dense], self.row_children[sparse]])
            weights = np.concatenate([self.rows[dense], np.ones(int(sparse.sum()), dtype=np.int64)])
            extra = tuple(np.concatenate([whole[dense], part[sparse]]) for whole, part in sums)
            result[shape] = histogram(counts, shape[0] * shape[1], weights, extra)
        return result

    def backward(self) -> dict[tuple[int, int], Histogram]:
        """Stored parents per child block, for each (sum_block, child_block)."""
        parents = {shape: self._parents(shape) for shape in self._shapes()}
        return {shape: histogram(counts[counts > 0], shape[0] * shape[1]) for shape, counts in parents.items()}

    def _parents(self, shape: tuple[int, int]) -> np.ndarray:
        """[child blocks] stored parents of this block shape."""
        a = self.arrays
        links = ((self.sum_block == shape[0]) & (self.child_block == shape[1]) & a.dense)[a.link_sum]
        dense = np.bincount(a.link_element[links], weights=self.rows[a.link_sum[links]], minlength=len(a.element_len))
        return np.repeat(dense.astype(np.int64), self.cols) + self.col_parents[shape]

    def unread_blocks(self) -> int:
        """Child blocks without a parent in this layer: an element vector may have sums of several layers, each reading some of it."""
        return int((sum(self._parents(shape) for shape in self._shapes()) == 0).sum())

    def tied_parents(self, shape: tuple[int, int], limits: tuple[int, ...]) -> np.ndarray:
        """[groups] stored blocks of each backward group whose parameters another one in it has already."""
        tied, a = np.zeros(len(limits), dtype=np.int64), self.arrays
        classes = [members for members in a.ties if (self.sum_block[members[0]], self.child_block[members[0]]) == shape]
        group = np.searchsorted(limits, self._parents(shape)) if classes else None
        for members in classes:
            elements = [a.link_element[a.link_sum == s] for s in members]
            groups = np.array([group[np.concatenate([self.first_col[e] + np.arange(self.cols[e]) for e in own])] for own in elements])
            per_col = tile_grid(self.layer.sums[members[0]], *shape).parents_per_col()
            for g in range(len(limits)):
                here = groups == g  # [members, child blocks]
                tied[g] += int((np.maximum(here.sum(axis=0) - 1, 0) * per_col).sum())
        return tied
