"""Counts of a plan: from the circuit alone (``plan_summary``, what the slider uses) or read off index tensors.

Two routes to the same record: a test holds them equal, so the numbers on screen are the plan's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from pcviz_kernels.tuned import UNIT

from ..ir.distributions import Gaussian
from ..ir.nodes import InputNodes, Nodes, ProdNodes
from .arguments import check_block_size, check_tolerance
from .grouping import Histogram, group_bounds, histogram
from .layer_arrays import blocks_of
from .layering import Layer, Layering, block_of, layering, num_blocks
from .plan import (
    BackwardGroupSummary,
    CircuitPlan,
    FactorSummary,
    GroupSummary,
    InputSummary,
    LayerPlan,
    LayerSummary,
    PlanSummary,
    SumGroup,
)
from .tiles import TileGrid, edges_per_tile, starts_within, tile_grid


def plan_summary(root: Nodes | Layering, *, block_size: int, padding_tolerance: float = 0.25) -> PlanSummary:
    """Counts of the plan that ``compile`` would make, without its index tensors.

    ``root`` may be a Layering, so that a sweep over block sizes checks and layers the circuit once.
    """
    check_block_size(block_size)
    check_tolerance(padding_tolerance)
    layers = root if isinstance(root, Layering) else layering(root)
    seen: set[int] = set()  # ids of vectors that keep parameters
    return PlanSummary(
        block_size=block_size,
        padding_tolerance=padding_tolerance,
        num_vars=layers.num_vars,
        num_input_vectors=len(layers.inputs),
        num_input_nodes=sum(nodes.num_nodes for nodes in layers.inputs),
        input_launches=len({input_shape(nodes, block_size) for nodes in layers.inputs}),
        layers=tuple(_summarise(layer, block_size, padding_tolerance, seen) for layer in layers.layers),
        inputs=_inputs(layers.inputs, block_size),
    )


def _inputs(vectors: tuple[InputNodes, ...], block_size: int) -> tuple[InputSummary, ...]:
    shapes: dict[tuple, list[InputNodes]] = {}
    for nodes in vectors:
        shapes.setdefault(input_shape(nodes, block_size), []).append(nodes)
    ordered = sorted(shapes.items(), key=lambda item: -item[0][0])  # as compile lays them out
    return tuple(
        InputSummary(shape[0], len(members), len({id(nodes.storage) for nodes in members}), shape[2] if shape[1] == "categories" else 0)
        for shape, members in ordered
    )


def input_shape(nodes: InputNodes, block_size: int) -> tuple:
    """(rows taken in the node buffer, kind of distribution, its number): input vectors of one shape share a launch."""
    block = block_of(nodes.num_nodes, block_size)
    rows = block * num_blocks(nodes.num_nodes, block)
    match nodes.dist:
        case Gaussian(min_sigma=min_sigma):
            return (rows, "Gaussian", min_sigma)
        case discrete:
            return (rows, "categories", discrete.num_cats)


def product_shape(element: Nodes, element_block: int, block_size: int) -> tuple[int, int, int]:
    """(arity, run width, rows of an element block): element vectors of one shape share a launch."""
    run = block_of(element.num_nodes, block_size)
    if not isinstance(element, ProdNodes):
        return (1, run, element_block)
    return (element.arity, run if element.edge_ids is None else 1, element_block)


def layer_grids(layer: Layer, block_size: int) -> tuple[list[TileGrid], dict[int, int]]:
    """Tile grids of the sum vectors of a layer, in their order, and the widths of its element vectors."""
    sum_block, width = layer.widths(block_size)
    return [tile_grid(nodes, sum_block[id(nodes)], width[id(nodes)]) for nodes in layer.sums], width


def class_histograms(grids: list[TileGrid]) -> dict[tuple[int, int], Histogram]:
    """Histogram of stored children per sum block for each (sum_block, child_block), largest blocks first."""
    counts: dict[tuple[int, int], list] = {}
    for grid in grids:
        pieces = counts.setdefault((grid.sum_block, grid.child_block), [])
        if grid.tile_rows is None:
            pieces.append((np.array([grid.num_cols]), np.array([grid.num_rows])))
        else:
            pieces.append((grid.children_per_row(), np.ones(grid.num_rows, dtype=np.int64)))
    return _histograms(counts)


def backward_histograms(grids: list[TileGrid]) -> dict[tuple[int, int], Histogram]:
    """Histogram of stored parents per child block for each (sum_block, child_block), largest blocks first."""
    counts: dict[tuple[int, int], list] = {}
    for (sum_block, child_block, _), parents in parents_per_element(grids).items():
        counts.setdefault((sum_block, child_block), []).append(np.unique(parents[parents > 0], return_counts=True))
    return _histograms(counts)


def parents_per_element(grids: list[TileGrid]) -> dict[tuple[int, int, int], np.ndarray]:
    """(sum_block, child_block, id of element vector) -> [child blocks] number of stored parents."""
    parents: dict[tuple[int, int, int], np.ndarray] = {}
    for grid in grids:
        per_col = grid.parents_per_col()
        for position, child in enumerate(grid.nodes.children):
            key = (grid.sum_block, grid.child_block, id(child))
            piece = per_col[grid.col_offsets[position] : grid.col_offsets[position + 1]]
            parents[key] = parents[key] + piece if key in parents else piece
    return parents


def _histograms(counts: dict[tuple[int, int], list]) -> dict[tuple[int, int], Histogram]:
    result = {}
    for shape in sorted(counts, reverse=True):
        children = np.concatenate([piece[0] for piece in counts[shape]])
        blocks = np.concatenate([piece[1] for piece in counts[shape]])
        result[shape] = histogram(children, shape[0] * shape[1], blocks)
    return result


def _summarise(layer: Layer, block_size: int, tolerance: float, seen: set[int]) -> LayerSummary:
    """``seen``: vectors whose parameters the layers below have; those of this layer are added."""
    count = _LayerCount(layer, block_size, np.array([id(nodes.storage) in seen for nodes in layer.sums]) | layer.arrays.tied)
    seen.update(id(nodes.storage) for nodes in layer.sums)
    edges = int(layer.arrays.num_edges.sum())
    return LayerSummary(
        index=layer.index,
        num_sum_vectors=len(layer.sums),
        num_sums=int(layer.arrays.sum_len.sum()),
        num_sum_rows=int((count.rows * count.sum_block).sum()),
        num_product_vectors=len(layer.elements),
        num_products=int(layer.arrays.element_len.sum()),
        num_element_rows=count.element_rows(),
        edges=edges,
        absent_edges=count.stored - count.missing - edges,
        missing_edges=count.missing,
        groups=tuple(_groups(count.forward(), tolerance, GroupSummary)),
        backward_groups=tuple(_groups(count.backward(), tolerance, BackwardGroupSummary, count.tied_parents)),
        product_launches=len({product_shape(e, w, block_size) for e, w in zip(layer.elements, count.element_block.tolist())}),
        arity=max(2, int(count.arrays.arity.max())),
        element_units=count.element_units(),
        factors=tuple(count.factors(block_size)),
    )


class _LayerCount:
    """Counts of one layer at one block size, for all its vectors at once. ``later`` [S]: not the first of the plan with their parameters."""

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

    def element_units(self) -> int:
        """Runs of up to UNIT rows that an element vector, or the null block, is cut into."""
        rows = np.append(self.cols * self.element_block, self.element_block.max())
        return int((-(-rows // UNIT)).sum())

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


def _groups(histograms: dict[tuple[int, int], Histogram], tolerance: float, record: type, tied=None):
    bounds = group_bounds(list(histograms.values()), tolerance)
    for (shape, hist), limits in zip(histograms.items(), bounds):
        group = np.searchsorted(limits, hist.counts)
        extra = [] if tied is None else tied(shape, limits)
        for g, limit in enumerate(limits):
            members = group == g
            stored = int((hist.counts * hist.blocks)[members].sum())
            sums = [int(values[members].sum()) for values in hist.extra] if tied is None else [int(extra[g])]
            yield record(*shape, int(hist.blocks[members].sum()), int(limit), stored, *sums)


def summary_of_plan(plan: CircuitPlan) -> PlanSummary:
    """The same counts, read off the index tensors of ``plan``."""
    return PlanSummary(
        block_size=plan.block_size,
        padding_tolerance=plan.padding_tolerance,
        num_vars=plan.num_vars,
        num_input_vectors=sum(len(group.vectors) for group in plan.inputs),
        num_input_nodes=sum(nodes.num_nodes for group in plan.inputs for nodes in group.vectors),
        input_launches=len(plan.inputs),
        layers=tuple(_count_layer(index, layer) for index, layer in enumerate(plan.layers, start=1)),
        inputs=tuple(
            InputSummary(group.stride, len(group.vectors), len(group.sources), 0 if group.is_gaussian else group.dist.num_cats)
            for group in plan.inputs
        ),
    )


def _count_layer(index: int, layer: LayerPlan) -> LayerSummary:
    sums = [slot.grid.nodes for slot in layer.sums]
    cells = _cells_by_row(layer)
    edges = sum(int(np.prod(nodes.param_shape, dtype=np.int64)) for nodes in sums)
    stored = sum(int((group.cids > 0).sum()) * group.sum_block * group.child_block for group in layer.groups)
    missing = sum(slot.grid.missing_edges() for slot in layer.sums)
    ties = any(group.repeats for group in layer.groups)
    return LayerSummary(
        index=index,
        num_sum_vectors=len(sums),
        num_sums=sum(nodes.num_nodes for nodes in sums),
        num_sum_rows=sum(len(group.nids) * group.sum_block for group in layer.groups),
        num_product_vectors=len(layer.elements),
        num_products=sum(element.num_nodes for element, _ in layer.elements),
        num_element_rows=layer.num_element_rows,
        edges=edges,
        absent_edges=stored - missing - edges,
        missing_edges=missing,
        groups=tuple(_count_group(group, cells) for group in layer.groups),
        backward_groups=tuple(
            BackwardGroupSummary(g.sum_block, g.child_block, *g.parids.shape, int((g.parids > 0).sum()), _repeated(g.parpids) if ties else 0)
            for g in layer.backward_groups
        ),
        product_launches=len(layer.products),
        arity=max(2, *(group.cids.shape[1] for group in layer.products)),
        element_units=len(element_units(layer)[0]),
        factors=tuple(FactorSummary(group.width, len(group.nids), len(group.parids)) for group in layer.products),
    )


def element_units(layer: LayerPlan) -> tuple[np.ndarray, np.ndarray]:
    """First element row and rows of every unit, a run of up to UNIT rows: those of the null block, then of each element vector."""
    null = layer.sections[0]
    pieces = [(null.start, null.width)]
    sections = np.array([section.start for section in layer.sections])
    for element, start in layer.elements:
        width = layer.sections[int(np.searchsorted(sections, start, side="right")) - 1].width
        pieces.append((start, num_blocks(element.num_nodes, width) * width))
    starts = np.concatenate([np.arange(start, start + rows, UNIT) for start, rows in pieces])
    ends = np.concatenate([np.minimum(np.arange(start, start + rows, UNIT) + UNIT, start + rows) for start, rows in pieces])
    return starts, ends - starts


def _cells_by_row(layer: LayerPlan) -> tuple[np.ndarray, np.ndarray]:
    """(nids, [edges, missing edges]) of every sum block of a layer, by ascending nid."""
    nids, cells = [], []
    for slot in layer.sums:
        grid, nodes = slot.grid, slot.grid.nodes
        if grid.tile_rows is None:
            edges = real = grid.real_rows() * nodes.num_children
        else:
            tiles = grid.real_rows()[grid.tile_rows] * grid.real_cols()[grid.tile_cols]
            real, edges = (np.bincount(grid.tile_rows, weights=values, minlength=grid.num_rows) for values in (tiles, edges_per_tile(grid)))
        nids.append(slot.start + grid.sum_block * np.arange(grid.num_rows))
        cells.append(np.stack([edges, grid.children_per_row() * grid.sum_block * grid.child_block - real]))
    order = np.argsort(np.concatenate(nids))
    return np.concatenate(nids)[order], np.concatenate(cells, axis=1)[:, order]


def _count_group(group: SumGroup, cells: tuple[np.ndarray, np.ndarray]) -> GroupSummary:
    nids, values = cells
    edges, missing = values[:, np.searchsorted(nids, group.nids)].sum(axis=1)
    stored, tied = int((group.cids > 0).sum()), _repeated(group.pids) if group.repeats else 0
    tied_rows = len(group.pids) - len(np.unique(group.pids, axis=0)) if group.repeats else 0
    elsewhere = int((group.cids[~group.first_use] > 0).sum()), int((~group.first_use).sum())
    return GroupSummary(group.sum_block, group.child_block, *group.cids.shape, stored, int(edges), int(missing), tied, tied_rows, *elsewhere)


def _repeated(pids: np.ndarray) -> int:
    """How many stored blocks have the parameters of another one."""
    stored = pids[pids > 0]
    return len(stored) - len(np.unique(stored))
