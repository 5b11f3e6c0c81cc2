"""The torch engine: buffers of one micro-batch, and the order of launches in a forward and a backward pass. A CPU's engine."""

from __future__ import annotations

import numpy as np
import torch
from pcviz_kernels import torch_blocks
from pcviz_kernels.blocks import Scratch
from pcviz_kernels.launches import ElementBuffers, NodeBuffers, log_of, smallest_value

from .compiler.plan import CircuitPlan
from .launching import LayerLaunches, input_launches, layer_launches

WORKING_SET = 1 << 20  # element entries of the widest layer in one micro-batch: what a CPU's caches hold
KEPT = 1 << 23  # element entries of all layers that are kept for the backward pass; above it products are computed twice


class TorchEngine:
    """Values and flows of a plan on any device that torch runs on, in float32 or float64.

    ``kernels``: the module of the launches' computations; pcviz_kernels.reference has the same functions.
    """

    def __init__(self, plan: CircuitPlan, device: torch.device, dtype: torch.dtype):
        self.plan, self.device, self.dtype, self.kernels = plan, device, dtype, torch_blocks
        self.inputs = input_launches(plan, device)
        block_starts = plan.block_starts()
        self.layers = tuple(layer_launches(layer, block_starts, device) for layer in plan.layers)
        self._block_starts = torch.as_tensor(block_starts, device=device)
        real = np.zeros(plan.num_node_rows, dtype=bool)
        for nodes in plan.node_vectors():
            real[plan.rows_of(nodes)] = True
        self._unused_rows = torch.as_tensor(np.flatnonzero(~real), device=device)  # null block, missing rows, gaps
        self._allocate()

    @property
    def query_launches(self) -> TorchEngine:
        """What queries run: ``inputs`` and ``layers`` in the records of pcviz_kernels.launches, and ``kernels`` that take them."""
        return self

    # ---- parameters -------------------------------------------------------------------------------------------------

    def load(self, flat: torch.Tensor, tables: list[torch.Tensor]) -> None:
        """Parameters in the plan's layout; tables [T, stride, categories], of Gaussian inputs [T, stride, 2]."""
        self.params = flat.to(self.device, self.dtype)
        self.tables = [table.to(self.device, self.dtype) for table in tables]
        self._refresh_inputs()

    def _refresh_inputs(self) -> None:
        """Tables as kernels gather them, categories by row; and whether some real entry needs its logarithm kept."""
        small = smallest_value(self.dtype)
        self._gathered, self._exact_inputs = list(self.tables), [True] * len(self.tables)
        for i, (group, launch, table) in enumerate(zip(self.plan.inputs, self.inputs, self.tables)):
            if not group.is_gaussian:
                self._gathered[i] = table.transpose(1, 2).reshape(-1, table.shape[1]).contiguous()
                self._exact_inputs[i] = bool(((table < small) & launch.real).any())

    def em_step(self, step_size: float, pseudocount: float) -> None:
        """One EM update from the accumulated flows, which are cleared."""
        for layer in self.layers:
            for launch in layer.updates:
                self.kernels.em_sums(launch, self.params, self.edge_flows, step_size, pseudocount)
        for launch, table, flows in zip(self.inputs, self.tables, self.table_flows):
            self.kernels.em_inputs(launch, table, flows, step_size, pseudocount)
        self._refresh_inputs()
        self.clear_flows()

    def clear_flows(self) -> None:
        self.edge_flows.zero_()
        for flows in self.table_flows:
            flows.zero_()

    # ---- memory -----------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        plan, rows = self.plan, [layer.num_element_rows for layer in self.layers]
        size = WORKING_SET // max(rows) // 32 * 32
        self.micro_batch = batch = min(max(size, 64), 1024)
        self._keeps_elements = batch * sum(rows) <= KEPT
        self._root_row = plan.rows_of(plan.root).start
        self._null_rows = min(plan.starts.values())

        def buffer(rows: int) -> torch.Tensor:
            return torch.full((rows * batch,), torch.nan, dtype=self.dtype, device=self.device)  # nothing may be read unwritten

        self._node_values, self._node_scales, self._node_flows, self._ratios = (buffer(plan.num_node_rows) for _ in range(4))
        space = sum if self._keeps_elements else max
        self._elements, self._element_logs = (buffer(space(rows)) for _ in range(2))
        self._element_flows = buffer(max(rows))
        self._node_logs = buffer(plan.num_node_rows)
        self._scratch = Scratch(self.dtype, self.device)
        self._element_scales = buffer(space(layer.num_scales for layer in self.layers))
        self._tops = buffer(max(layer.num_sum_blocks for layer in self.layers))
        self.edge_flows = torch.zeros(plan.num_params, dtype=self.dtype, device=self.device)
        self.table_flows = [
            torch.zeros((len(group.sources), group.stride, group.num_flows), dtype=self.dtype, device=self.device) for group in plan.inputs
        ]

    def _rows(self, buffer: torch.Tensor, rows: int, batch: int, after: int = 0) -> torch.Tensor:
        """[rows, batch] of a buffer, after as many rows."""
        return buffer[after * batch : (after + rows) * batch].view(rows, batch)

    # ---- passes -----------------------------------------------------------------------------------------------------

    def run(self, x: torch.Tensor, observed: torch.Tensor | None, backward: bool = False) -> None:
        """A forward pass for x [V, b] integers, ``observed`` bool [V, b or 1]; then, if asked for, the backward pass, which adds to
        the parameter flows. ``root_logs``, ``node_logs`` and ``node_flows`` are of the last run."""
        kept = [] if backward and self._keeps_elements else None
        self.nodes = self.forward(x, observed, kept)
        if backward:
            self._backward(x, observed, kept)

    def root_logs(self) -> torch.Tensor:
        """[b] base-2 log-likelihoods."""
        root, nodes = self._root_row, self.nodes
        return log_of(nodes.values[root], nodes.scales[root], nodes.logs[root])

    def node_logs(self) -> torch.Tensor:
        """[node rows, b] base-2 logarithms; -inf in rows of no node."""
        nodes = self.nodes
        return log_of(nodes.values, nodes.scales[self._block_starts], nodes.logs)

    def node_flows(self) -> torch.Tensor:
        """[node rows, b] flows; overwritten by the next run."""
        return self._rows(self._node_flows, self.plan.num_node_rows, self.nodes.values.shape[1])

    def elements_of(self, layer: LayerLaunches, nodes: NodeBuffers, kept: list[ElementBuffers] | None = None) -> ElementBuffers:
        """Products of one layer, behind those of the ``kept`` ones."""
        batch, before = nodes.values.shape[1], kept or ()
        rows, num_scales = sum(len(e.values) for e in before), sum(len(e.scales) for e in before)
        values, logs = (self._rows(buffer, layer.num_element_rows, batch, rows) for buffer in (self._elements, self._element_logs))
        scales = self._rows(self._element_scales, layer.num_scales, batch, num_scales)
        elements = ElementBuffers(values, scales, logs, nodes, layer.products, self._scratch, logged=set())
        _, null_rows, _ = layer.sections[0]
        values[:null_rows], logs[:null_rows], scales[0] = 0, -torch.inf, -torch.inf
        for launch in layer.products:
            self.kernels.product_forward(launch, nodes, elements)
        if kept is not None:
            kept.append(elements)
        return elements

    def forward(self, x: torch.Tensor, observed: torch.Tensor | None, kept: list[ElementBuffers] | None = None) -> NodeBuffers:
        """Inputs and sums for x [V, b]. The layers' elements stay in a list ``kept``; without one they are overwritten."""
        batch, rows = x.shape[1], self.plan.num_node_rows
        nodes = NodeBuffers(*(self._rows(buffer, rows, batch) for buffer in (self._node_values, self._node_scales, self._node_logs)))
        for buffer, nothing in ((nodes.values, 0.0), (nodes.scales, -torch.inf), (nodes.logs, -torch.inf)):
            buffer.index_fill_(0, self._unused_rows, nothing)
        for launch, table, exact in zip(self.inputs, self._gathered, self._exact_inputs):
            self.kernels.input_forward(launch, table, exact, x, observed, nodes)
        for layer in self.layers:
            elements = self.elements_of(layer, nodes, kept)
            for launch in layer.sums:
                self.kernels.sum_forward(launch, self.params, elements, nodes)
        return nodes

    def _backward(self, x: torch.Tensor, observed: torch.Tensor | None, kept: list[ElementBuffers] | None) -> None:
        """After ``forward`` on the same x. Elements that were not ``kept`` are computed again."""
        nodes, batch, plan, kernels = self.nodes, x.shape[1], self.plan, self.kernels
        flows, ratios = (self._rows(buffer, plan.num_node_rows, batch) for buffer in (self._node_flows, self._ratios))
        flows.zero_()
        ratios[: self._null_rows] = 0
        flows[self._root_row] = (self.root_logs() > -torch.inf).to(flows.dtype)
        for layer in reversed(self.layers):
            elements = kept.pop() if kept else self.elements_of(layer, nodes)
            tops = self._rows(self._tops, layer.num_sum_blocks, batch)
            tops[0] = torch.inf  # a pseudo parent hands down nothing
            element_flows = self._rows(self._element_flows, layer.num_element_rows, batch).zero_()
            for launch in layer.sums:
                kernels.param_flows(launch, self.params, elements, nodes, flows, ratios, tops, self.edge_flows, element_flows)
            for launch in layer.elements:
                kernels.element_flows(launch, self.params, elements, ratios, tops, element_flows)
            for launch in layer.products:
                kernels.product_flows(launch, element_flows, flows, self._scratch)
        for launch, table, table_flows in zip(self.inputs, self.tables, self.table_flows):
            kernels.input_flows(launch, table, x, observed, flows, table_flows)
