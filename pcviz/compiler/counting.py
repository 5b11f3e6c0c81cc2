"""Counts of a plan: from the circuit alone (``plan_summary``, what the slider uses) or read off index tensors.

Two routes to the same record: a test holds them equal, so the numbers on screen are the plan's.
"""

from __future__ import annotations

import numpy as np
from pcviz_kernels.config import TENSOR_CORE_TILE
from pcviz_kernels.tuned import UNIT, unit_rows

from ..ir.distributions import Gaussian
from ..ir.nodes import InputNodes, Nodes, ProdNodes
from .arguments import TOLERANCE, checked_block_size, checked_tolerance
from .grouping import Histogram, group_bounds, histogram
from .layer_arrays import blocks_of
from .layer_count import LayerCount
from .layering import Layer, Layering, block_of, layering, num_blocks, read_alike
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
from .tiles import TileGrid, edges_per_tile, tile_grid
from .written_once import elements_with_blocks, flows_written_once


def plan_summary(root: Nodes | Layering, *, block_size: int, padding_tolerance: float = TOLERANCE) -> PlanSummary:
    """Counts of the plan that ``compile`` would make, without its index tensors.

    ``root`` may be a Layering, so that a sweep over block sizes checks and layers the circuit once. Arguments and errors are
    those of ``compile``.
    """
    block_size = checked_block_size(block_size)
    padding_tolerance = checked_tolerance(padding_tolerance)
    layers = root if isinstance(root, Layering) else layering(root)
    seen: set[int] = set()  # ids of vectors that keep parameters
    inputs = _inputs(layers.inputs, block_size)
    return PlanSummary(
        block_size=block_size,
        padding_tolerance=padding_tolerance,
        num_vars=layers.num_vars,
        num_input_vectors=len(layers.inputs),
        num_input_nodes=sum(nodes.num_nodes for nodes in layers.inputs),
        input_launches=len(inputs),
        layers=tuple(_summarise(layer, block_size, padding_tolerance, seen) for layer in layers.layers),
        inputs=inputs,
        flows_written_once=flows_written_once(
            zip(layer.elements, blocks_of(layer.arrays.element_longest, block_size).tolist()) for layer in layers.layers
        ),
    )


def _inputs(vectors: tuple[InputNodes, ...], block_size: int) -> tuple[InputSummary, ...]:
    return tuple(
        InputSummary(shape[0], len(members), len({id(nodes.storage) for nodes in members}), shape[2] if shape[1] == "categories" else 0)
        for shape, members in grouped_inputs(vectors, block_size)
    )


def grouped_inputs(vectors: tuple[InputNodes, ...], block_size: int) -> list[tuple[tuple, list[InputNodes]]]:
    """(``input_shape``, vectors) of each launch of inputs, in the order in which they are laid out: the widest first."""
    shapes: dict[tuple, list[InputNodes]] = {}
    for nodes in vectors:
        shapes.setdefault(input_shape(nodes, block_size), []).append(nodes)
    return sorted(shapes.items(), key=lambda item: -item[0][0])


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
    count = LayerCount(layer, block_size, np.array([id(nodes.storage) in seen for nodes in layer.sums]) | layer.arrays.tied)
    seen.update(id(nodes.storage) for nodes in layer.sums)
    edges, factors = int(layer.arrays.num_edges.sum()), tuple(count.factors(block_size))
    groups = tuple(_groups(count.forward(), tolerance, GroupSummary))
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
        groups=groups,
        backward_groups=tuple(_groups(count.backward(), tolerance, BackwardGroupSummary, count.tied_parents)),
        product_launches=len(factors),
        arity=max(2, int(count.arrays.arity.max())),
        element_units=count.element_units(unit_rows(max(group.num_child_blocks * group.child_block for group in groups))),
        factors=factors,
        unread_blocks=count.unread_blocks(),
        level=layer.reads_alike and all(min(group.sum_block, group.child_block) >= TENSOR_CORE_TILE for group in groups),
    )


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
        flows_written_once=flows_written_once(map(elements_with_blocks, plan.layers)),
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
        unread_blocks=unread_blocks(layer),
        level=is_level(layer),
    )


def is_level(layer: LayerPlan) -> bool:
    """See ``LayerSummary.level``."""
    fills = all(min(group.sum_block, group.child_block) >= TENSOR_CORE_TILE for group in layer.groups)
    return fills and read_alike([slot.grid.nodes for slot in layer.sums])


def unread_blocks(layer: LayerPlan) -> int:
    """Child blocks that no sum of the layer reads."""
    read = np.unique(np.concatenate([group.chids for group in layer.backward_groups]))
    return sum(section.count for section in layer.sections[1:]) - len(read)


def element_units(layer: LayerPlan) -> tuple[np.ndarray, np.ndarray]:
    """First element row and rows of every unit (``unit_rows``): those of the null block, then of each element vector."""
    null, unit = layer.sections[0], unit_rows(max(group.cids.shape[1] * group.child_block for group in layer.groups))
    blocks = zip(layer.elements, elements_with_blocks(layer))
    pieces = [(start, num_blocks(element.num_nodes, width) * width) for (element, start), (_, width) in blocks]
    cuts = [_cut(null.start, null.width, UNIT), *(_cut(start, rows, unit) for start, rows in pieces)]
    return np.concatenate([starts for starts, _ in cuts]), np.concatenate([rows for _, rows in cuts])


def _cut(start: int, rows: int, unit: int) -> tuple[np.ndarray, np.ndarray]:
    starts = np.arange(start, start + rows, unit)
    return starts, np.minimum(unit, start + rows - starts)


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
