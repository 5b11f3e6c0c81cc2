"""The buffers of a circuit: memory for one micro-batch, allocated once, and its views by the size of the micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pcviz_kernels.blocks import Scratch
from pcviz_kernels.launches import ElementBuffers, NodeBuffers

from .launching import LayerLaunches

WORKING_SET = 1 << 20  # element entries of the widest layer in one micro-batch: what a CPU's caches hold
KEPT = 1 << 23  # element entries of all layers that are kept for the backward pass; above it products are computed twice
SIZES = 4  # sizes of micro-batches whose views are kept


@dataclass(frozen=True, eq=False)
class LayerViews:
    """One layer's elements and their flows [element rows, B]; of its sums the ratios [ratio rows, B] and the scales that they were
    computed on [sum blocks, B]. The last three are memory that all layers share."""

    elements: ElementBuffers
    flows: torch.Tensor
    ratios: torch.Tensor
    tops: torch.Tensor
    nothing: tuple[tuple[torch.Tensor, float], ...]  # what the null block of elements is filled with
    no_parent: tuple[tuple[torch.Tensor, float], ...]  # and what a pseudo parent, so that it hands down nothing

    def clear_elements(self) -> ElementBuffers:
        """The elements, to be computed."""
        self.elements.logged.clear()
        for null_block, value in self.nothing:
            null_block.fill_(value)
        return self.elements

    def clear_flows(self, unset_rows: torch.Tensor) -> None:
        """Before the layer's backward pass; ``unset_rows``: see LayerLaunches."""
        self.elements.has_flows = False
        for null_block, value in self.no_parent:
            null_block.fill_(value)
        if unset_rows.shape[0]:
            self.flows.index_fill_(0, unset_rows, 0.0)


@dataclass(frozen=True, eq=False)
class Views:
    """Buffers of one micro-batch of B samples. ``flows`` [node rows, B]; see NodeBuffers, ElementBuffers."""

    nodes: NodeBuffers
    flows: torch.Tensor
    layers: tuple[LayerViews, ...]


class Memory:
    """``flat``: buffers by name, rows end to end, ``micro_batch`` samples at most. ``keeps_elements``: the elements of all
    layers lie side by side, so that the backward pass finds those of the forward pass; else each layer overwrites the last.
    """

    def __init__(self, num_node_rows: int, layers: Sequence[LayerLaunches], dtype: torch.dtype, device: torch.device):
        self._num_node_rows, self._layers = num_node_rows, layers
        rows = [layer.num_element_rows for layer in layers]
        self.micro_batch = min(max(WORKING_SET // max(rows) // 32 * 32, 64), 1024)
        self.keeps_elements = self.micro_batch * sum(rows) <= KEPT
        self.scratch = Scratch(dtype, device)
        self._views: dict[int, Views] = {}
        space = sum if self.keeps_elements else max
        sizes = dict.fromkeys(("values", "scales", "logs", "flows"), num_node_rows)
        sizes |= dict.fromkeys(("elements", "element_logs"), space(rows))
        sizes |= {"element_scales": space(layer.num_scales for layer in layers)}
        sizes |= {"element_flows": max(rows), "ratios": max(layer.num_ratio_rows for layer in layers)}
        sizes |= {"tops": max(layer.num_sum_blocks for layer in layers)}
        self.flat = {  # NaN: nothing may be read unwritten
            name: torch.full((size * self.micro_batch,), torch.nan, dtype=dtype, device=device) for name, size in sizes.items()
        }

    def views(self, batch: int) -> Views:
        """The same tensors every time, while few other sizes are asked for."""
        if batch not in self._views:
            if len(self._views) == SIZES:
                self._views.clear()
                self.scratch.forget()
            self._views[batch] = self._cut(batch)
        return self._views[batch]

    def _cut(self, batch: int) -> Views:
        def rows(name: str, count: int, first: int = 0) -> torch.Tensor:
            return self.flat[name][first * batch : (first + count) * batch].view(count, batch)

        nodes = NodeBuffers(*(rows(name, self._num_node_rows) for name in ("values", "scales", "logs")))
        layers, row, scale = [], 0, 0
        for layer in self._layers:
            values, logs = (rows(name, layer.num_element_rows, row) for name in ("elements", "element_logs"))
            scales = rows("element_scales", layer.num_scales, scale)
            elements = ElementBuffers(values, scales, logs, nodes, layer.products, self.scratch, logged=set())
            _, null_rows, _ = layer.sections[0]
            nothing = ((values[:null_rows], 0.0), (logs[:null_rows], -torch.inf), (scales[:1], -torch.inf))
            flows, ratios = rows("element_flows", layer.num_element_rows), rows("ratios", layer.num_ratio_rows)
            tops = rows("tops", layer.num_sum_blocks)
            no_parent = ((ratios[: layer.num_ratio_rows // layer.num_sum_blocks], 0.0), (tops[:1], torch.inf))
            layers.append(LayerViews(elements, flows, ratios, tops, nothing, no_parent))
            if self.keeps_elements:
                row, scale = row + layer.num_element_rows, scale + layer.num_scales
        return Views(nodes, rows("flows", self._num_node_rows), tuple(layers))
