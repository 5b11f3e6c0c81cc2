"""Finer pictures of part of the Blocks view, which the page asks for when someone zooms in: blocks, and cells inside blocks."""

from __future__ import annotations

import numpy as np

from ...compiler.blockcells import cell_raster, child_blocks, edge_flows
from ...compiler.blockmap import EDGE, LayerBlocks
from .blocks import picture

DECADES = 6  # a parameter this many powers of ten below the largest has the lightest shade
LIGHTEST = 0.15
MAX_LABELS = 512  # names of child blocks


def scene_window(blocks: LayerBlocks, packed: bool, window: list[int], cells: bool) -> dict:
    """The picture of ``window`` [first and end row, first and end column]: of blocks, aggregated to 256 x 256, or with ``cells``
    of single cells of the matrix, with their parameters (float32, NaN where there is none). ``fill`` of an edge's cell is its
    parameter on a logarithmic scale."""
    r0, r1, c0, c1 = (int(n) for n in window)
    scene = {"packed": bool(packed), "cells": bool(cells)}
    if cells:
        size = blocks.sum_block, blocks.child_block
        scene |= {"window": [r0, r1, c0, c1], "per": [1, 1], "rows": r1 - r0, "cols": c1 - c0} | _cells(blocks, packed, (r0, r1, c0, c1))
        r0, r1, c0, c1 = r0 // size[0], -(-r1 // size[0]), c0 // size[1], -(-c1 // size[1])
        step = 1, 1
    else:
        raster = blocks.raster(packed, (r0, r1, c0, c1))
        scene |= picture(raster)
        step = raster.per_row, raster.per_col
    return scene | _names(blocks, packed, (r0, r1, c0, c1), step)


def scene_flows(blocks: LayerBlocks, packed: bool, window: list[int], flows_of, samples: int) -> dict:
    """Flows of a window of cells, summed over ``samples`` samples, with the parameters that they belong to; float32, NaN where there
    is no edge."""
    window = tuple(int(n) for n in window)
    flows = edge_flows(blocks, packed, window, flows_of)
    scene = {"packed": bool(packed), "window": list(window), "flows": flows.astype("<f4").tobytes(), "samples": samples}
    return scene | _cells(blocks, packed, window)


def _cells(blocks: LayerBlocks, packed: bool, window: tuple[int, int, int, int]) -> dict:
    raster = cell_raster(blocks, packed, window)
    cells = {"kinds": raster.kinds.tobytes(), "fill": _shades(raster.kinds, raster.params).tobytes()}
    return cells | {"params": raster.params.astype("<f4").tobytes()}


def _shades(kinds: np.ndarray, params: np.ndarray) -> np.ndarray:
    """[rows, cols] 0..255: 0 for what is no edge, 255 for the largest parameter of the picture and where none are known."""
    edge = kinds == EDGE
    known = edge & (params > 0)
    shade = np.where(edge, 1.0, 0.0)
    if known.any():
        shade[known] = np.maximum(LIGHTEST, 1 + np.log10(params[known] / params[known].max()) / DECADES)
    return np.ceil(255 * shade).astype(np.uint8)


def _names(blocks: LayerBlocks, packed: bool, window: tuple[int, int, int, int], step: tuple[int, int]) -> dict:
    """Names of the sum blocks (every ``step[0]``-th) and child blocks of a window of blocks; ``children`` [rows, columns] int32:
    which child block each block reads, -1 for none, while a cell is at most one block."""
    r0, r1, c0, c1 = window
    names = {"labelRows": [r0, step[0]], "rowLabels": blocks.row_labels(range(r0, r1, step[0]))}
    if max(step) > 1:
        shown = range(c0, c1, step[1]) if not packed else ()
    else:
        children = child_blocks(blocks, packed, window)
        names |= {"children": children.astype("<i4").tobytes(), "childWindow": list(window)}
        shown = np.unique(children[children >= 0])[:MAX_LABELS].tolist()
    return names | {"colLabels": {str(c): label for c, label in zip(shown, blocks.col_labels(shown))}}
