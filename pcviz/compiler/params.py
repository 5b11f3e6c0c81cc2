"""Parameters between canonical form (on the node vectors) and the flat buffer of a plan; both ways, bit-exact."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..ir.nodes import InputNodes
from ..ir.threads import for_each
from .plan import CircuitPlan, InputGroup, SumSlot
from .tiles import TileGrid, child_columns


def gather_params(plan: CircuitPlan, dtype=np.float32) -> tuple[np.ndarray, list[np.ndarray]]:
    """(flat buffer [num_params], one array [tables, stride, num_params] per input group); zeros in every padding."""
    flat = np.zeros(plan.num_params, dtype=dtype)
    for_each(lambda slot: _store(slot, slot.grid.nodes.params, flat), _first_uses(plan), plan.num_params)
    tables = [np.zeros((len(group.sources), group.stride, group.num_params), dtype=dtype) for group in plan.inputs]

    def store(place: tuple[np.ndarray, InputNodes]) -> None:
        place[0][: place[1].num_nodes] = place[1].params

    for_each(store, _table_places(plan, tables), sum(table.size for table in tables))
    return flat, tables


def write_params(plan: CircuitPlan, flat: np.ndarray, tables: list[np.ndarray]) -> None:
    """The inverse of ``gather_params``: replaces ``params`` of every input and sum vector."""

    def write(slot: SumSlot) -> None:
        slot.grid.nodes.params = edge_values(slot, flat)

    for_each(write, _first_uses(plan), plan.num_params)
    for rows, nodes in _table_places(plan, tables):
        nodes.params = rows[: nodes.num_nodes].copy()


def _first_uses(plan: CircuitPlan) -> Iterator[SumSlot]:
    """One slot for every array of sum parameters."""
    return (slot for layer in plan.layers for slot in layer.sums if slot.first_use)


def _table_places(plan: CircuitPlan, tables: list[np.ndarray]) -> Iterator[tuple[np.ndarray, InputNodes]]:
    """(rows of a table, vector whose parameters they are), one for every array of input parameters."""
    return ((rows, nodes) for group, table in zip(plan.inputs, tables) for rows, nodes in zip(table, group.sources))


def input_values(group: InputGroup, table: np.ndarray) -> list[np.ndarray]:
    """Per input vector of the group, its rows [num_nodes, n] of an array [tables, stride, n]."""
    return [table[t, : nodes.num_nodes].copy() for t, nodes in zip(group.table_ids, group.vectors)]


def edge_values(slot: SumSlot, flat: np.ndarray) -> np.ndarray:
    """Values of a sum vector's edges, in canonical shape, out of a flat buffer laid out like the parameters."""
    grid, nodes = slot.grid, slot.grid.nodes
    if nodes.edge_ids is not None:
        cells, at = _sub_blocks(slot, flat)
        return cells[at].transpose(0, 1, 4, 2, 3).reshape(nodes.param_shape)
    tiles = _tiles(slot, flat).reshape(grid.num_rows, grid.num_cols, grid.child_block, grid.sum_block)
    matrix = tiles.transpose(0, 3, 1, 2).reshape(grid.num_rows * grid.sum_block, grid.num_cols * grid.child_block)
    return np.concatenate([matrix[: nodes.num_nodes, rows] for rows, _ in _child_slices(grid)], axis=1)


def _store(slot: SumSlot, params: np.ndarray, flat: np.ndarray) -> None:
    grid, nodes = slot.grid, slot.grid.nodes
    if nodes.edge_ids is not None:
        cells, at = _sub_blocks(slot, flat)
        (_, rows, cols), (gc, gr) = at[0].shape, cells.shape[2::2]
        cells[at] = params.reshape(-1, rows, gr, cols, gc).transpose(0, 1, 3, 4, 2)
        return
    matrix = params
    if grid.missing_edges():
        matrix = np.zeros((grid.num_rows * grid.sum_block, grid.num_cols * grid.child_block), dtype=flat.dtype)
        for padded, canonical in _child_slices(grid):
            matrix[: nodes.num_nodes, padded] = params[:, canonical]
    tiles = matrix.reshape(grid.num_rows, grid.sum_block, grid.num_cols, grid.child_block).transpose(0, 2, 3, 1)
    run = _one_run(slot)
    if run is None:
        flat.reshape(-1, grid.child_block * grid.sum_block)[_tile_numbers(slot)] = tiles.reshape(grid.num_tiles, -1)
    else:
        flat[run].reshape(tiles.shape)[...] = tiles


def _tiles(slot: SumSlot, flat: np.ndarray) -> np.ndarray:
    run = _one_run(slot)
    return flat.reshape(-1, slot.grid.child_block * slot.grid.sum_block)[_tile_numbers(slot)] if run is None else flat[run]


def _tile_numbers(slot: SumSlot) -> np.ndarray:
    return slot.tile_pids // (slot.grid.child_block * slot.grid.sum_block)


def _one_run(slot: SumSlot) -> slice | None:
    """The slice of the flat buffer that holds all tiles in order, or None when they are scattered."""
    cells = slot.grid.child_block * slot.grid.sum_block
    if len(slot.tile_pids) > 1 and (np.diff(slot.tile_pids) != cells).any():
        return None
    return slice(int(slot.tile_pids[0]), int(slot.tile_pids[0]) + len(slot.tile_pids) * cells)


def _child_slices(grid: TileGrid):
    """(columns of the padded matrix, columns of the canonical one) of each child."""
    start = 0
    for child, offset in zip(grid.nodes.children, grid.col_offsets):
        first = offset * grid.child_block
        yield slice(first, first + child.num_nodes), slice(start, start + child.num_nodes)
        start += child.num_nodes


def _sub_blocks(slot: SumSlot, flat: np.ndarray):
    """(``cells``, ``at``): cells[at] are the parameters of all edges, [E, rows, cols, gc, gr].

    Edges join b x b nodes and tiles M x K, so both are made of sub-blocks of gr = gcd(b, M) sums x gc = gcd(b, K)
    children: rows x cols of them in an edge.
    """
    grid, nodes = slot.grid, slot.grid.nodes
    b, M, K = nodes.edge_block, grid.sum_block, grid.child_block  # noqa: N806 (the shape legend's letters)
    gr, gc = math.gcd(b, M), math.gcd(b, K)
    sums = (nodes.edge_ids[0][:, None] * b + np.arange(0, b, gr))[:, :, None]
    children = (nodes.edge_ids[1][:, None] * b + np.arange(0, b, gc))[:, None, :]
    cols = child_columns(nodes, K, np.array(grid.col_offsets), children)
    starts = np.cumsum([0] + [child.num_nodes for child in nodes.children])
    within = (children - starts[np.searchsorted(starts, children, side="right") - 1]) % K
    key = (sums // M) * grid.num_cols + cols
    tile = _tile_numbers(slot)[np.searchsorted(grid.tile_rows * grid.num_cols + grid.tile_cols, key)]
    at = np.broadcast_arrays(tile, within // gc, sums % M // gr)
    return flat.reshape(-1, K // gc, gc, M // gr, gr), (at[0], at[1], slice(None), at[2], slice(None))
