"""The cells inside a few blocks of a layer: what each is, its parameter and its flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.nodes import SumNodes
from .blockmap import ABSENT, EDGE, MISSING, PSEUDO, ZERO, LayerBlocks, Part

MAX_CELLS = 256  # rows and columns of a picture of cells


@dataclass(frozen=True, eq=False)
class CellRaster:
    """Cells [rows, cols] of ``window`` (first and end row, first and end column, in cells of the whole picture). Every block
    takes ``sum_block`` x ``child_block`` cells, the largest of the layer; a smaller block's own cells are repeated.

    ``kinds`` uint8: one bit of blockmap.py, 0 where nothing is stored. ``params`` float32: an edge's parameter, NaN elsewhere
    and while the circuit has none.
    """

    window: tuple[int, int, int, int]
    kinds: np.ndarray
    params: np.ndarray


def cell_raster(blocks: LayerBlocks, packed: bool, window: tuple[int, int, int, int]) -> CellRaster:
    """The cells of ``window``; at most 256 x 256 of them."""
    corner, cut = _enclosing(blocks, packed, window)
    kinds, params = _kinds_outside_tiles(blocks, packed, corner), _empty(blocks, corner)
    for part, tiles in _parts(blocks, packed, corner):
        found = _cells_of(part, tiles, (blocks.sum_block, blocks.child_block), part.grid.nodes.params)
        kinds[found.at], params[found.at] = found.kinds, found.values
    return CellRaster(window, kinds[cut], params[cut])


def edge_flows(blocks: LayerBlocks, packed: bool, window: tuple[int, int, int, int], flows_of) -> np.ndarray:
    """Flow of each cell's edge in a CellRaster of ``window``, float32, NaN where there is none.

    ``flows_of(nodes)``: the flows of a sum vector's edges, in the shape of its params.
    """
    corner, cut = _enclosing(blocks, packed, window)
    flows = _empty(blocks, corner)
    for part, tiles in _parts(blocks, packed, corner):
        found = _cells_of(part, tiles, (blocks.sum_block, blocks.child_block), flows_of(part.grid.nodes))
        flows[found.at] = found.values
    return flows[cut]


def child_blocks(blocks: LayerBlocks, packed: bool, window: tuple[int, int, int, int]) -> np.ndarray:
    """[rows, columns] int32 of ``window``, in blocks: the child block (column of the matrix) of each block, -1 without one."""
    r0, r1, c0, c1 = window
    found = np.full((r1 - r0, c1 - c0), -1, dtype=np.int32)
    for part, tiles in _parts(blocks, packed, window):
        found[tiles.down, tiles.across] = part.columns[tiles.cols]
    return found


def _enclosing(blocks: LayerBlocks, packed: bool, window) -> tuple[tuple[int, int, int, int], tuple[slice, slice]]:
    """The window of whole blocks around a window of cells, and the cut that is left of it."""
    i0, i1, j0, j1 = window
    M, K = blocks.sum_block, blocks.child_block  # noqa: N806 (the shape legend's letters)
    high, wide = blocks.sum_blocks * M, blocks.width(packed) * K
    if not (0 <= i0 < i1 <= high and 0 <= j0 < j1 <= wide and i1 - i0 <= MAX_CELLS and j1 - j0 <= MAX_CELLS):
        raise ValueError(f"window must be at most {MAX_CELLS} x {MAX_CELLS} of the {high} x {wide} cells, got {window!r}.")
    corner = i0 // M, -(-i1 // M), j0 // K, -(-j1 // K)
    top, left = corner[0] * M, corner[2] * K
    return corner, (slice(i0 - top, i1 - top), slice(j0 - left, j1 - left))


def _empty(blocks: LayerBlocks, corner) -> np.ndarray:
    r0, r1, c0, c1 = corner
    return np.full(((r1 - r0) * blocks.sum_block, (c1 - c0) * blocks.child_block), np.nan, dtype=np.float32)


def _kinds_outside_tiles(blocks: LayerBlocks, packed: bool, corner) -> np.ndarray:
    """PSEUDO in the places after a sum block's stored ones, up to the group's width; else 0."""
    r0, r1, c0, c1 = corner
    slot, first = np.arange(c0, c1), blocks.children[r0:r1, None]
    pseudo = (slot >= first) & (slot < first + blocks.pseudo[r0:r1, None]) & packed
    return np.kron(pseudo * np.uint8(PSEUDO), np.ones((blocks.sum_block, blocks.child_block), dtype=np.uint8))


def _parts(blocks: LayerBlocks, packed: bool, corner):
    for part in blocks.parts:
        if part.meets(corner[0], corner[1]):
            yield part, _tiles(part, packed, corner)


@dataclass
class _Tiles:
    """Stored tiles in a window: ``rows``, ``cols`` in the grid; ``down``, ``across``: blocks from the window's corner."""

    rows: np.ndarray
    cols: np.ndarray
    down: np.ndarray
    across: np.ndarray


def _tiles(part: Part, packed: bool, window: tuple[int, int, int, int]) -> _Tiles:
    grid, (r0, r1, c0, c1) = part.grid, window
    own = np.flatnonzero((part.positions >= r0) & (part.positions < r1))
    if grid.tile_rows is None:
        columns = part.slots() if packed else part.columns
        across = np.flatnonzero((columns >= c0) & (columns < c1))
        rows, cols = (index.ravel() for index in np.meshgrid(own, across, indexing="ij"))
        return _Tiles(rows, cols, part.positions[rows] - r0, columns[cols] - c0)
    columns = part.slots() if packed else part.columns[grid.tile_cols]
    tile = np.flatnonzero(np.isin(grid.tile_rows, own) & (columns >= c0) & (columns < c1))
    return _Tiles(grid.tile_rows[tile], grid.tile_cols[tile], part.positions[grid.tile_rows[tile]] - r0, columns[tile] - c0)


@dataclass
class _Cells:
    at: tuple[np.ndarray, np.ndarray]  # [T, M, 1], [T, 1, K] in the picture
    kinds: np.ndarray  # [T, M, K]
    values: np.ndarray


def _cells_of(part: Part, tiles: _Tiles, shape: tuple[int, int], values: np.ndarray | None) -> _Cells:
    grid, nodes = part.grid, part.grid.nodes
    lengths = np.array([child.num_nodes for child in nodes.children])
    child = np.searchsorted(grid.col_offsets, tiles.cols, side="right") - 1
    i = np.arange(shape[0]) // (shape[0] // grid.sum_block)
    j = np.arange(shape[1]) // (shape[1] // grid.child_block)
    sums = (tiles.rows * grid.sum_block)[:, None] + i
    within = ((tiles.cols - np.array(grid.col_offsets)[child]) * grid.child_block)[:, None] + j
    real = (sums < nodes.num_nodes)[:, :, None] & (within < lengths[child][:, None])[:, None, :]
    children = np.minimum(within, lengths[child][:, None] - 1) + (np.cumsum(lengths) - lengths)[child][:, None]
    found, value = _edges(nodes, np.minimum(sums, nodes.num_nodes - 1)[:, :, None], children[:, None, :], values)
    found &= real
    kinds = np.where(found, np.where(value == 0, ZERO, EDGE), np.where(real, ABSENT, MISSING))
    at = (tiles.down * shape[0])[:, None, None] + np.arange(shape[0])[:, None], (tiles.across * shape[1])[:, None, None] + np.arange(shape[1])
    return _Cells(at, kinds, np.where(found, value, np.nan))


def _edges(nodes: SumNodes, sums: np.ndarray, children: np.ndarray, values: np.ndarray | None):
    """(whether there is an edge, its value) of each pair, [T, M, K]; the value is NaN without ``values``."""
    sums, children = np.broadcast_arrays(sums, children)
    if nodes.edge_ids is None:
        return np.ones(sums.shape, dtype=bool), np.full(sums.shape, np.nan) if values is None else values[sums, children]
    b, width = nodes.edge_block, nodes.num_children // nodes.edge_block
    near = np.flatnonzero(np.isin(nodes.edge_ids[0], np.unique(sums // b)))
    if not sums.size or not near.size:
        return np.zeros(sums.shape, dtype=bool), np.full(sums.shape, np.nan)
    keys = nodes.edge_ids[0][near] * width + nodes.edge_ids[1][near]
    order = np.argsort(keys, kind="stable")
    wanted = (sums // b) * width + children // b
    at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    value = np.full(sums.shape, np.nan) if values is None else values[near[at], sums % b, children % b]
    return keys[at] == wanted, value
