"""The buffers of a circuit: memory for one micro-batch, allocated once, and its views by the size of the micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pcviz_kernels.blocks import Scratch
from pcviz_kernels.launches import ElementBuffers, NodeBuffers

from .launching import LayerLaunches

WORKING_SET = 1 << 21  # element entries of the widest layer in one micro-batch: what a CPU's caches hold
KEPT = 1 << 24  # element entries of all layers that are kept for the backward pass; above it products are computed twice
SIZES = 8  # sizes of micro-batches whose views are kept


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
    """Buffers of one micro-batch of B samples. ``flows`` [node rows, B]; see NodeBuffers, ElementBuffers. ``keeps_elements``: each
    layer has elements of its own, so that the backward pass finds those of the forward pass; else each overwrites the last."""

    nodes: NodeBuffers
    flows: torch.Tensor
    layers: tuple[LayerViews, ...]
    keeps_elements: bool


class Memory:
    """``flat``: buffers by name, rows end to end, for ``micro_batch`` samples at most. Room for the elements of all layers is
    made when a backward pass first asks for it, and if they are few enough."""

    def __init__(self, num_node_rows: int, layers: Sequence[LayerLaunches], dtype: torch.dtype, device: torch.device):
        self._num_node_rows, self._layers, self._dtype, self._device = num_node_rows, layers, dtype, device
        rows = [layer.num_element_rows for layer in layers]
        self.micro_batch = min(max(WORKING_SET // max(rows) // 32 * 32, 64), 1024)
        self._can_keep = self.micro_batch * sum(rows) <= KEPT
        self.scratch = Scratch(dtype, device)
        self._views: dict[tuple[int, bool], Views] = {}
        self.flat: dict[str, torch.Tensor] = {}
        for name in ("values", "scales", "logs", "flows"):
            self._add(name, num_node_rows)
        for name in ("elements", "element_logs", "element_flows"):
            self._add(name, max(rows))
        self._add("element_scales", max(layer.num_scales for layer in layers))
        self._add("ratios", max(layer.num_ratio_rows for layer in layers))
        self._add("tops", max(layer.num_sum_blocks for layer in layers))

    def _add(self, name: str, rows: int) -> None:
        size = rows * self.micro_batch
        self.flat[name] = torch.full((size,), torch.nan, dtype=self._dtype, device=self._device)  # nothing may be read unwritten

    @property
    def num_bytes(self) -> int:
        """Of all buffers, the kept elements too, without scratch."""
        kept = 0
        if self._can_keep and "kept_elements" not in self.flat:
            kept = self.micro_batch * sum(2 * layer.num_element_rows + layer.num_scales for layer in self._layers) * self._dtype.itemsize
        return kept + sum(buffer.nbytes for buffer in self.flat.values())

    def views(self, batch: int, backward: bool = False) -> Views:
        """The same tensors every time, while few other sizes are asked for."""
        key = batch, backward and self._can_keep
        if key not in self._views:
            if len(self._views) == SIZES:
                self._views.clear()
                self.scratch.forget()
            self._views[key] = self._cut(*key)
        return self._views[key]

    def _rows(self, name: str, batch: int, count: int, first: int = 0) -> torch.Tensor:
        return self.flat[name][first * batch : (first + count) * batch].view(count, batch)

    def _cut(self, batch: int, keep: bool) -> Views:
        kept = "kept_" if keep else ""
        if keep and "kept_elements" not in self.flat:
            for name in ("kept_elements", "kept_element_logs"):
                self._add(name, sum(layer.num_element_rows for layer in self._layers))
            self._add("kept_element_scales", sum(layer.num_scales for layer in self._layers))
        nodes = NodeBuffers(*(self._rows(name, batch, self._num_node_rows) for name in ("values", "scales", "logs")))
        layers, row, scale = [], 0, 0
        for layer in self._layers:
            values, logs = (self._rows(kept + name, batch, layer.num_element_rows, row) for name in ("elements", "element_logs"))
            scales = self._rows(kept + "element_scales", batch, layer.num_scales, scale)
            elements = ElementBuffers(values, scales, logs, nodes, layer.products, self.scratch, logged=set())
            layers.append(self._of_layer(layer, elements, batch))
            if keep:
                row, scale = row + layer.num_element_rows, scale + layer.num_scales
        return Views(nodes, self._rows("flows", batch, self._num_node_rows), tuple(layers), keep)

    def _of_layer(self, layer: LayerLaunches, elements: ElementBuffers, batch: int) -> LayerViews:
        _, null_rows, _ = layer.sections[0]
        nothing = ((elements.values[:null_rows], 0.0), (elements.logs[:null_rows], -torch.inf), (elements.scales[:1], -torch.inf))
        flows = self._rows("element_flows", batch, layer.num_element_rows)
        ratios, tops = self._rows("ratios", batch, layer.num_ratio_rows), self._rows("tops", batch, layer.num_sum_blocks)
        no_parent = ((ratios[: layer.num_ratio_rows // layer.num_sum_blocks], 0.0), (tops[:1], torch.inf))
        return LayerViews(elements, flows, ratios, tops, nothing, no_parent)
