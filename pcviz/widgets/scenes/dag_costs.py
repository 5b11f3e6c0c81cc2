"""What sum vectors and their nodes cost at one block size: their share of the launches that compute them."""

from __future__ import annotations

import numpy as np

from ...compiler.blockmap import LayerBlocks
from ...compiler.layering import Layering
from ...ir.nodes import SumNodes
from .common import rounded
from .dag_times import KINDS, Times

ESTIMATES = ("time_ms", "l2_bytes", "hbm_bytes", "flops")
FIGURES = ("cells", *ESTIMATES, *KINDS)


class Costs:
    """Layers are laid out when they are first asked for. ``report``: a TrafficReport, or None: cells and padding alone. ``times``: those
    that are no model, by name."""

    def __init__(self, cut: Layering, block_size: int, padding_tolerance: float, report=None, times: dict[str, Times] | None = None):
        self._times = times or {}
        self._cut, self._size, self._tolerance = cut, block_size, padding_tolerance
        self._records = [record for record in report.records if record.phase == "forward"] if report is not None else []
        self._layers: dict[int, dict[int, np.ndarray]] = {}
        self._whole: dict[int, dict[str, float]] = {}  # of vectors, which many pictures show

    def of(self, nodes: SumNodes, layer: int, rows: np.ndarray | None = None) -> dict[str, float]:
        """Share of its launches: "cells" multiplied and the model's figures of a forward pass. ``rows``: of these sums of ``nodes`` alone.

        All sum blocks of a launch multiply equally many cells and so have equal shares, and so have the sums of a block.
        """
        if layer not in self._layers:
            self._layers[layer] = self._of_layer(layer)
        block, costs = self._layers[layer][id(nodes)]
        if rows is None:
            if id(nodes) not in self._whole:
                self._whole[id(nodes)] = dict(zip(FIGURES, costs.sum(axis=1).tolist()))
            return self._whole[id(nodes)]
        low, high = int(rows[0]) // block, int(rows[-1]) // block + 1  # its blocks; the last one of a vector may have fewer rows
        real = np.minimum(nodes.num_nodes, block * np.arange(low + 1, high + 1)) - block * np.arange(low, high)
        share = np.bincount(rows // block - low, minlength=high - low) / real
        return dict(zip(FIGURES, (costs[:, low:high] @ share).tolist()))

    def figures(self, vectors: list[SumNodes], layers: list[int], edges: int, rows: np.ndarray | None = None) -> dict[str, float | None]:
        """"padding" (share of the multiplied cells that are no edge) and the figures of the model, for a glyph of vectors of these layers.
        ``edges``: its own."""
        each = [self.of(nodes, layer, rows) for nodes, layer in zip(vectors, layers, strict=True)]
        figures: dict[str, float | None] = {"padding": round(1 - edges / sum(cost["cells"] for cost in each), 6)}
        figures |= {key: rounded(sum(cost[key] for cost in each)) if self._records else None for key in ESTIMATES}
        for key in self._times:
            total = sum(cost[key] for cost in each)
            figures[key] = None if np.isnan(total) else rounded(total)
        return figures

    def _of_layer(self, layer: int) -> dict[int, tuple[int, np.ndarray]]:
        """id of sum vector -> (rows of its blocks, [figures, blocks])."""
        blocks = LayerBlocks(self._cut, layer, self._size, self._tolerance)
        launches = np.zeros((len(ESTIMATES), int(blocks.group.max()) + 1))
        for record in self._records:
            if record.layer == layer:
                launches[:, record.group] = [getattr(record, key) for key in ESTIMATES]
        launches /= np.bincount(blocks.group)
        cells = (blocks.children + blocks.pseudo) * blocks.cells
        times = [self._times.get(kind, Times()).of_blocks(layer, blocks.group, cells) for kind in KINDS]
        figures = np.concatenate([cells[None], launches[:, blocks.group], np.array(times)])
        return {id(part.grid.nodes): (part.grid.sum_block, figures[:, part.positions]) for part in blocks.parts}
