"""The torch engine: the order of launches in a forward and a backward pass. A CPU's engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from pcviz_kernels import torch_blocks
from pcviz_kernels.launches import ElementBuffers, log_of, smallest_value

from .compiler.plan import CircuitPlan
from .footprint import MemoryUse, tensor_bytes
from .launching import LayerLaunches, input_launches, layer_launches
from .memory import LayerViews, Memory


class TorchEngine:
    """Values and flows of a plan on any device that torch runs on, in float32 or float64.

    ``kernels``: the module of the launches' computations; pcviz_kernels.reference has the same functions.
    """

    defers_checks = False  # on a CPU nothing is gained

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
        self._root_row = plan.rows_of(plan.root).start
        self.memory = Memory(plan.num_node_rows, self.layers, dtype, device)
        self.micro_batch = self.memory.micro_batch

    @property
    def query_launches(self) -> TorchEngine:
        """What queries run: ``inputs`` and ``layers`` in the records of pcviz_kernels.launches, and ``kernels`` that take them."""
        return self

    # ---- parameters -------------------------------------------------------------------------------------------------

    def load(self, flat: torch.Tensor, tables: list[torch.Tensor]) -> None:
        """Parameters in the plan's layout; tables [T, stride, categories], of Gaussian inputs [T, stride, 2]. Flows are dropped:
        they were of the parameters before."""
        self.params = flat.to(self.device, self.dtype)
        self.memory.scratch.forget()  # views of other parameters
        self.edge_flows = torch.zeros_like(self.params)
        self.tables = [table.to(self.device, self.dtype) for table in tables]
        self.table_flows = [table.new_zeros(len(table), group.stride, group.num_flows) for group, table in zip(self.plan.inputs, self.tables)]
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

    # ---- passes -----------------------------------------------------------------------------------------------------

    def memory_use(self, batch_size: int) -> MemoryUse:
        parameters = tensor_bytes(self.params, self.tables, self._gathered)
        indices = tensor_bytes(self.inputs, self.layers, self._block_starts, self._unused_rows)
        flows = tensor_bytes(self.edge_flows, self.table_flows)
        return MemoryUse(parameters, flows, indices, self.memory.num_bytes, batch_size, min(batch_size, self.micro_batch))

    def piece(self, batch: int) -> int:
        """Samples of ``batch`` that one run takes."""
        return self.micro_batch

    def run(self, x: torch.Tensor, observed: torch.Tensor | None, backward: bool = False, fits: None = None) -> None:
        """A forward pass for x [V, b] integers, ``observed`` bool [V, b or 1]; then, if asked for, the backward pass, which adds to
        the parameter flows. ``root_logs``, ``node_logs`` and ``node_flows`` are of the last run. Data are checked before: no ``fits``."""
        x = x.contiguous()
        self.views = self.memory.views(x.shape[1], backward)
        self._forward(x, observed)
        if backward:
            self._backward(x, observed)

    def time_launches(self, x: torch.Tensor, observed: torch.Tensor | None = None) -> dict[tuple[str, int, int], float]:
        """A forward pass like ``run``'s: seconds of each of its launches, by the keys of ``_forward_launches``."""
        x, seconds = x.contiguous(), {}
        self.views = self.memory.views(x.shape[1], False)
        for key, launch in self._forward_launches(x, observed):
            start = time.perf_counter()
            launch()
            seconds[key] = time.perf_counter() - start
        return seconds

    def root_logs(self) -> torch.Tensor:
        """[b] base-2 log-likelihoods."""
        root, nodes = self._root_row, self.views.nodes
        return log_of(nodes.values[root], nodes.scales[root], nodes.logs[root])

    def node_logs(self) -> torch.Tensor:
        """[node rows, b] base-2 logarithms; -inf in rows of no node."""
        nodes = self.views.nodes
        return log_of(nodes.values, nodes.scales[self._block_starts], nodes.logs)

    def node_flows(self) -> torch.Tensor:
        """[node rows, b] flows; overwritten by the next run."""
        return self.views.flows

    def form_elements(self, layer: LayerLaunches, views: LayerViews) -> ElementBuffers:
        """Products of one layer."""
        elements = views.clear_elements()
        for launch in layer.products:
            self.kernels.product_forward(launch, elements.nodes, elements)
        return elements

    def _forward(self, x: torch.Tensor, observed: torch.Tensor | None) -> None:
        """Inputs and sums for x [V, b]."""
        for _, launch in self._forward_launches(x, observed):
            launch()

    def _forward_launches(self, x: torch.Tensor, observed: torch.Tensor | None) -> Iterator[tuple[tuple[str, int, int], Callable[[], None]]]:
        """((role, layer, number), launch) in the plan's order, each to run before the next is taken: role "input" (layer 0), "product", "sum"."""
        nodes, kernels = self.views.nodes, self.kernels
        nodes.careful.clear()
        for buffer, nothing in ((nodes.values, 0.0), (nodes.scales, -torch.inf), (nodes.logs, -torch.inf)):
            buffer.index_fill_(0, self._unused_rows, nothing)
        for i, (launch, table, exact) in enumerate(zip(self.inputs, self._gathered, self._exact_inputs)):
            yield ("input", 0, i), partial(kernels.input_forward, launch, table, exact, x, observed, nodes)
        for index, (layer, mine) in enumerate(zip(self.layers, self.views.layers), start=1):
            elements = mine.clear_elements()
            for i, launch in enumerate(layer.products):
                yield ("product", index, i), partial(kernels.product_forward, launch, elements.nodes, elements)
            for i, launch in enumerate(layer.sums):
                yield ("sum", index, i), partial(kernels.sum_forward, launch, self.params, elements, nodes)

    def _backward(self, x: torch.Tensor, observed: torch.Tensor | None) -> None:
        """After ``_forward`` on the same x. Elements that were not kept are computed again."""
        kernels, nodes, flows = self.kernels, self.views.nodes, self.views.flows
        flows.zero_()
        flows[self._root_row] = (self.root_logs() > -torch.inf).to(flows.dtype)
        for layer, mine in zip(reversed(self.layers), reversed(self.views.layers)):
            elements = mine.elements if self.views.keeps_elements else self.form_elements(layer, mine)
            mine.clear_flows(layer.unset_rows)
            for launch in layer.sums:
                kernels.param_flows(launch, self.params, elements, nodes, flows, mine.ratios, mine.tops, self.edge_flows, mine.flows)
            for launch in layer.elements:
                kernels.element_flows(launch, self.params, elements, mine.ratios, mine.tops, mine.flows)
            for launch in layer.products:
                kernels.product_flows(launch, mine.flows, flows, self.memory.scratch)
        for launch, table, table_flows in zip(self.inputs, self.tables, self.table_flows):
            kernels.input_flows(launch, table, x, observed, flows, table_flows)
