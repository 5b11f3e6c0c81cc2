"""Counts of a plan: from the circuit alone (``plan_summary``, what the slider uses) or read off index tensors.

Two routes to the same record: a test holds them equal, so the numbers on screen are the plan's.
"""

from __future__ import annotations

import numpy as np

from ..ir.nodes import Nodes, ProdNodes
from .arguments import check_block_size, check_tolerance
from .grouping import Histogram, group_bounds, histogram
from .layering import Layer, Layering, block_of, layering, num_blocks
from .plan import BackwardGroupSummary, CircuitPlan, GroupSummary, LayerPlan, LayerSummary, PlanSummary
from .tiles import TileGrid, tile_grid


def plan_summary(root: Nodes | Layering, *, block_size: int, padding_tolerance: float = 0.25) -> PlanSummary:
    """Counts of the plan that ``compile`` would make, without its index tensors.

    ``root`` may be a Layering, so that a sweep over block sizes checks and layers the circuit once.
    """
    check_block_size(block_size)
    check_tolerance(padding_tolerance)
    layers = root if isinstance(root, Layering) else layering(root)
    return PlanSummary(
        block_size=block_size,
        padding_tolerance=padding_tolerance,
        num_vars=layers.num_vars,
        num_input_vectors=len(layers.inputs),
        num_input_nodes=sum(nodes.num_nodes for nodes in layers.inputs),
        input_launches=len({input_shape(nodes, block_size) for nodes in layers.inputs}),
        layers=tuple(_summarise(layer, block_size, padding_tolerance) for layer in layers.layers),
    )


def input_shape(nodes, block_size: int) -> tuple[int, int]:
    """(rows taken in the node buffer, categories): input vectors of one shape share a launch."""
    block = block_of(nodes.num_nodes, block_size)
    return (block * num_blocks(nodes.num_nodes, block), nodes.dist.num_cats)


def product_shape(element: Nodes, block_size: int) -> tuple[int, int]:
    """(arity, run width): element vectors of one shape share a launch."""
    if not isinstance(element, ProdNodes):
        return (1, block_of(element.num_nodes, block_size))
    return (element.arity, block_of(element.num_nodes, block_size) if element.edge_ids is None else 1)


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


def _summarise(layer: Layer, block_size: int, tolerance: float) -> LayerSummary:
    grids, width = layer_grids(layer, block_size)
    edges = sum(grid.nodes.num_edges for grid in grids)
    missing = sum(grid.missing_edges() for grid in grids)
    stored = sum(grid.num_tiles * grid.sum_block * grid.child_block for grid in grids)
    widest = max(width.values())
    element_rows = widest + sum(num_blocks(e.num_nodes, width[id(e)]) * width[id(e)] for e in layer.elements)
    return LayerSummary(
        index=layer.index,
        num_sum_vectors=len(layer.sums),
        num_sums=sum(nodes.num_nodes for nodes in layer.sums),
        num_sum_rows=sum(grid.num_rows * grid.sum_block for grid in grids),
        num_product_vectors=len(layer.elements),
        num_products=sum(element.num_nodes for element in layer.elements),
        num_element_rows=num_blocks(element_rows, widest) * widest,
        edges=edges,
        absent_edges=stored - missing - edges,
        missing_edges=missing,
        groups=tuple(_groups(class_histograms(grids), tolerance, GroupSummary)),
        backward_groups=tuple(_groups(backward_histograms(grids), tolerance, BackwardGroupSummary)),
        product_launches=len({product_shape(element, block_size) for element in layer.elements}),
    )


def _groups(histograms: dict[tuple[int, int], Histogram], tolerance: float, record: type):
    bounds = group_bounds(list(histograms.values()), tolerance)
    for (shape, hist), limits in zip(histograms.items(), bounds):
        group = np.searchsorted(limits, hist.counts)
        for g, limit in enumerate(limits):
            members = group == g
            stored = int((hist.counts * hist.blocks)[members].sum())
            yield record(*shape, int(hist.blocks[members].sum()), int(limit), stored)


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
    )


def _count_layer(index: int, layer: LayerPlan) -> LayerSummary:
    sums = [slot.grid.nodes for slot in layer.sums]
    edges = sum(int(np.prod(nodes.param_shape, dtype=np.int64)) for nodes in sums)
    stored = sum(int((group.cids > 0).sum()) * group.sum_block * group.child_block for group in layer.groups)
    missing = sum(slot.grid.missing_edges() for slot in layer.sums)
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
        groups=tuple(GroupSummary(g.sum_block, g.child_block, *g.cids.shape, int((g.cids > 0).sum())) for g in layer.groups),
        backward_groups=tuple(
            BackwardGroupSummary(g.sum_block, g.child_block, *g.parids.shape, int((g.parids > 0).sum())) for g in layer.backward_groups
        ),
        product_launches=len(layer.products),
    )
