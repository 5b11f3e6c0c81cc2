"""Parameters between canonical form (on the node vectors) and the flat buffer of a plan, both ways, and from plan to plan; bit-exact."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from .compiler.plan import CircuitPlan, InputGroup, SumSlot
from .compiler.tiles import TileGrid, child_columns
from .ir.nodes import InputNodes
from .ir.threads import for_each


def gather_params(plan: CircuitPlan, dtype: torch.dtype = torch.float32, device="cpu") -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(flat buffer [num_params], one tensor [tables, stride, num_params] per input group); zeros in every padding.

    On a GPU sums are laid out there: the cores of the CPU are busy with kernels that compile.
    """
    flat = torch.zeros(plan.num_params, dtype=dtype, device=device)
    for slot in _first_uses(plan):
        _store(slot, _tensor(slot.grid.nodes.params).to(device), flat)
    tables = [torch.zeros(len(group.sources), group.stride, group.num_params, dtype=dtype) for group in plan.inputs]

    def store(place: tuple[np.ndarray, InputNodes]) -> None:
        place[0][: place[1].num_nodes] = place[1].params

    for_each(store, _table_places(plan, [table.numpy() for table in tables]), sum(table.numel() for table in tables))
    return flat, [table.to(device) for table in tables]


def write_params(plan: CircuitPlan, flat: torch.Tensor, tables: list[torch.Tensor]) -> None:
    """The inverse of ``gather_params``, from any device: replaces ``params`` of every input and sum vector, float32 or float64."""
    for slot in _first_uses(plan):
        slot.grid.nodes.params = edge_values(slot, flat).cpu().numpy()
    for rows, nodes in _table_places(plan, [table.cpu() for table in tables]):
        nodes.params = rows[: nodes.num_nodes].numpy().copy()


def move_params(old: CircuitPlan, new: CircuitPlan, flat: torch.Tensor, tables: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """``flat`` and ``tables`` of the plan ``old`` as those of ``new``, a plan of the same circuit, on the same device."""
    moved = flat.new_zeros(new.num_params)
    slots = {id(slot.grid.nodes.storage): slot for slot in _first_uses(old)}
    for slot in _first_uses(new):
        _store(slot, edge_values(slots[id(slot.grid.nodes.storage)], flat), moved)
    rows = {id(nodes.storage): rows for rows, nodes in _table_places(old, tables)}
    moved_tables = [flat.new_zeros(len(group.sources), group.stride, group.num_params) for group in new.inputs]
    for place, nodes in _table_places(new, moved_tables):
        place[: nodes.num_nodes] = rows[id(nodes.storage)][: nodes.num_nodes]
    return moved, moved_tables


def _first_uses(plan: CircuitPlan) -> Iterator[SumSlot]:
    """One slot for every array of sum parameters."""
    return (slot for layer in plan.layers for slot in layer.sums if slot.first_use)


def _table_places(plan: CircuitPlan, tables: list) -> Iterator[tuple]:
    """(rows of a table, vector whose parameters they are), one for every array of input parameters."""
    return ((rows, nodes) for group, table in zip(plan.inputs, tables) for rows, nodes in zip(table, group.sources))


def input_values(group: InputGroup, table: np.ndarray) -> list[np.ndarray]:
    """Per input vector of the group, its rows [num_nodes, n] of an array [tables, stride, n]."""
    return [table[t, : nodes.num_nodes].copy() for t, nodes in zip(group.table_ids, group.vectors)]


def edge_values(slot: SumSlot, flat: torch.Tensor) -> torch.Tensor:
    """Values of a sum vector's edges, in canonical shape, out of a flat buffer laid out like the parameters."""
    grid, nodes = slot.grid, slot.grid.nodes
    if nodes.edge_ids is not None:
        cells, at = _sub_blocks(slot, flat)
        return cells[at].permute(0, 1, 4, 2, 3).reshape(nodes.param_shape)
    tiles = _tiles(slot, flat).reshape(grid.num_rows, grid.num_cols, grid.child_block, grid.sum_block)
    matrix = tiles.permute(0, 3, 1, 2).reshape(grid.num_rows * grid.sum_block, grid.num_cols * grid.child_block)
    return torch.cat([matrix[: nodes.num_nodes, rows] for rows, _ in _child_slices(grid)], dim=1)


def _store(slot: SumSlot, params: torch.Tensor, flat: torch.Tensor) -> None:
    grid, nodes = slot.grid, slot.grid.nodes
    params = params.to(flat.dtype)
    if nodes.edge_ids is not None:
        cells, at = _sub_blocks(slot, flat)
        (_, rows, cols), (gc, gr) = at[0].shape, cells.shape[2::2]
        cells[at] = params.reshape(-1, rows, gr, cols, gc).permute(0, 1, 3, 4, 2)
        return
    matrix = params
    if grid.missing_edges():
        matrix = flat.new_zeros(grid.num_rows * grid.sum_block, grid.num_cols * grid.child_block)
        for padded, canonical in _child_slices(grid):
            matrix[: nodes.num_nodes, padded] = params[:, canonical]
    tiles = matrix.reshape(grid.num_rows, grid.sum_block, grid.num_cols, grid.child_block).permute(0, 2, 3, 1)
    run = _one_run(slot)
    if run is None:
        flat.view(-1, grid.child_block * grid.sum_block)[_tensor(_tile_numbers(slot)).to(flat.device)] = tiles.reshape(grid.num_tiles, -1)
    else:
        flat[run].view(tiles.shape).copy_(tiles)


def _tensor(array: np.ndarray) -> torch.Tensor:
    """``array`` itself, where torch can take it (it warns of arrays that must not be written to)."""
    return torch.from_numpy(array if array.flags.writeable and array.flags.c_contiguous else array.copy())


def _tiles(slot: SumSlot, flat: torch.Tensor) -> torch.Tensor:
    run, cells = _one_run(slot), slot.grid.child_block * slot.grid.sum_block
    return flat.view(-1, cells)[_tensor(_tile_numbers(slot)).to(flat.device)] if run is None else flat[run]


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


def _sub_blocks(slot: SumSlot, flat: torch.Tensor):
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
    at = torch.broadcast_tensors(*(_tensor(index).to(flat.device) for index in (tile, within // gc, sums % M // gr)))
    return flat.view(-1, K // gc, gc, M // gr, gr), (at[0], at[1], slice(None), at[2], slice(None))
