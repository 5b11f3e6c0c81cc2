"""Tiles: the blocks of a sum vector's parameter matrix that are stored, at one block size.

A tile connects sum block r to child block c, where child blocks of all children are numbered end to end. A fully
connected vector stores the whole grid; a vector with edge_ids stores the tiles that hold at least one edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..ir.nodes import SumNodes
from .layering import num_blocks


@dataclass(frozen=True, eq=False)
class TileGrid:
    """The grid of one sum vector. ``tile_rows``, ``tile_cols`` [T] sorted by row then column; None: all of it."""

    nodes: SumNodes
    sum_block: int
    child_block: int
    num_rows: int  # sum blocks
    col_offsets: tuple[int, ...]  # first child block of each child, and the total
    tile_rows: np.ndarray | None
    tile_cols: np.ndarray | None

    @property
    def num_cols(self) -> int:
        return self.col_offsets[-1]

    @property
    def num_tiles(self) -> int:
        return self.num_rows * self.num_cols if self.tile_rows is None else len(self.tile_rows)

    def children_per_row(self) -> np.ndarray:
        """[num_rows] stored tiles of each sum block."""
        if self.tile_rows is None:
            return np.full(self.num_rows, self.num_cols, dtype=np.int64)
        return np.bincount(self.tile_rows, minlength=self.num_rows)

    def parents_per_col(self) -> np.ndarray:
        """[num_cols] stored tiles of each child block."""
        if self.tile_cols is None:
            return np.full(self.num_cols, self.num_rows, dtype=np.int64)
        return np.bincount(self.tile_cols, minlength=self.num_cols)

    def missing_edges(self) -> int:
        """Cells of stored tiles that lie in a missing row or column."""
        cells = self.sum_block * self.child_block * self.num_tiles
        if self.tile_rows is None:
            return cells - self.nodes.num_nodes * self.nodes.num_children
        return cells - int((self.real_rows()[self.tile_rows] * self.real_cols()[self.tile_cols]).sum())

    def real_rows(self) -> np.ndarray:
        """[num_rows] nodes in each sum block."""
        return _real(self.nodes.num_nodes, self.sum_block)

    def real_cols(self) -> np.ndarray:
        """[num_cols] nodes in each child block."""
        return np.concatenate([_real(child.num_nodes, self.child_block) for child in self.nodes.children])


def _real(num_nodes: int, block: int) -> np.ndarray:
    real = np.full(num_blocks(num_nodes, block), block, dtype=np.int64)
    real[-1] = num_nodes - block * (len(real) - 1)
    return real


def tile_grid(nodes: SumNodes, sum_block: int, child_block: int) -> TileGrid:
    """The stored tiles of ``nodes`` in blocks of sum_block x child_block."""
    offsets = np.concatenate([[0], np.cumsum([num_blocks(child.num_nodes, child_block) for child in nodes.children])])
    rows = num_blocks(nodes.num_nodes, sum_block)
    tile_rows = tile_cols = None
    if nodes.edge_ids is not None:
        b = nodes.edge_block
        key = np.unique(_tile_keys(nodes, sum_block, child_block, offsets, starts_within(b, sum_block), starts_within(b, child_block)))
        tile_rows, tile_cols = np.divmod(key, offsets[-1])
    return TileGrid(nodes, sum_block, child_block, rows, tuple(offsets.tolist()), tile_rows, tile_cols)


def starts_within(b: int, tile: int) -> np.ndarray:
    """Nodes of an edge of b nodes, counted from its first, that meet every tile of ``tile`` nodes which the edge does, wherever it begins
    (at a multiple of b)."""
    nests = b % tile == 0 or tile % b == 0
    return np.arange(0, b, tile) if nests else np.append(np.arange(0, b - 1, tile), b - 1)


def _tile_keys(nodes: SumNodes, sum_block: int, child_block: int, offsets: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """row * num_cols + col of the tiles below these nodes of every edge (with repeats)."""
    sum_ids, child_ids = nodes.edge_ids
    sum_nodes, child_nodes = sum_ids[:, None] * nodes.edge_block + down, child_ids[:, None] * nodes.edge_block + across
    cols = child_columns(nodes, child_block, offsets, child_nodes)
    return ((sum_nodes // sum_block)[:, :, None] * offsets[-1] + cols[:, None, :]).ravel()


def child_columns(nodes: SumNodes, child_block: int, offsets: np.ndarray, child_nodes: np.ndarray) -> np.ndarray:
    """Child block of each child node (numbered end to end over all children)."""
    starts = np.concatenate([[0], np.cumsum([child.num_nodes for child in nodes.children])])
    position = np.searchsorted(starts, child_nodes, side="right") - 1
    return offsets[position] + (child_nodes - starts[position]) // child_block


def edges_per_tile(grid: TileGrid) -> np.ndarray:
    """[T] circuit edges in each stored tile of a vector with edge_ids."""
    b = grid.nodes.edge_block
    down, across = math.gcd(b, grid.sum_block), math.gcd(b, grid.child_block)  # steps of so many nodes stay within a tile
    keys = _tile_keys(grid.nodes, grid.sum_block, grid.child_block, np.array(grid.col_offsets), np.arange(0, b, down), np.arange(0, b, across))
    _, counts = np.unique(keys, return_counts=True)
    return counts * down * across
