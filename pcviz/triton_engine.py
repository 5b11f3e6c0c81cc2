"""The Triton engine: buffers of one micro-batch, and the order of launches in a forward and a backward pass."""

from __future__ import annotations

import torch
from pcviz_kernels import triton_blocks as kernels
from pcviz_kernels.config import default_config
from pcviz_kernels.triton_launches import UNIT, TritonBuffers

from .compiler.plan import CircuitPlan
from .triton_launching import input_launch, layer_launches




class TritonEngine:
    """Values and flows of a plan on a GPU (or, under Triton's interpreter, on a CPU). ``batch`` samples at most at a time."""

    def __init__(self, plan: CircuitPlan, device: torch.device, batch: int):
        self.plan, self.device, self.batch = plan, device, batch
        self.inputs = tuple(input_launch(group, device) for group in plan.inputs)
        self.layers = tuple(layer_launches(layer, device) for layer in plan.layers)
        self.root_row = plan.rows_of(plan.root).start
        self.configs = {}
        pitch = kernels.columns(batch, 1)

        def buffer(rows: int, dtype=torch.float32) -> torch.Tensor:
            return torch.full((rows, pitch), torch.nan, dtype=dtype, device=device)  # nothing may be read unwritten

        widest = max(layer.products.num_rows for layer in self.layers)
        blocks = max(sum(launch.num_sum_blocks * launch.sum_block for launch in layer.sums) for layer in self.layers)
        self.buffers = TritonBuffers(
            logs=buffer(plan.num_node_rows),
            flows=buffer(plan.num_node_rows),
            elements=buffer(widest, torch.float16),
            tops=buffer(max(len(layer.products.unit_starts) for layer in self.layers)),
            ratios=buffer(max(layer.num_ratio_rows for layer in self.layers), torch.float16),
            ratio_tops=buffer(max(layer.num_ratio_units for layer in self.layers)),
            element_flows=buffer(widest),
            flags=torch.zeros(blocks * (pitch // 64), dtype=torch.int32, device=device),
        )
        self.buffers.logs[: min(plan.starts.values())] = -torch.inf
        self.buffers.ratio_tops[: UNIT] = -torch.inf
        self.params = self.half_params = self.edge_flows = None
        self.tables, self.table_flows = [], []

    def load(self, flat: torch.Tensor, tables: list[torch.Tensor]) -> None:
        """Parameters in the plan's layout; tables [vectors, stride, categories]."""
        self.params = flat.to(self.device, torch.float32)
        self.half_params = (self.params * 2.0**15).half()
        self.edge_flows = torch.zeros_like(self.params)
        self.tables = [table.to(self.device, torch.float32).transpose(1, 2).contiguous() for table in tables]
        self.table_flows = [torch.zeros_like(table) for table in self.tables]

    def config(self, phase: str, launch):
        key = (phase, launch.sum_block, launch.child_block)
        if key not in self.configs:
            self.configs[key] = default_config(*key)
        return self.configs[key]

    def forward(self, x: torch.Tensor, observed: torch.Tensor | None, batch: int) -> None:
        """Logarithms of inputs and sums for x [V, batch or more] int32; ``observed`` uint8 likewise."""
        for launch, table in zip(self.inputs, self.tables):
            kernels.input_forward(launch, table, x, observed, self.buffers, batch)
        for layer in self.layers:
            kernels.product_forward(layer.products, self.buffers, batch)
            for launch in layer.sums:
                kernels.sum_forward(launch, self.config("forward", launch), layer.products, self.params, self.half_params, self.buffers, batch)

    def backward(self, x: torch.Tensor, observed: torch.Tensor | None, batch: int) -> None:
        """Flows of nodes, and parameter flows added to ``edge_flows`` and ``table_flows``; after ``forward`` on the same x."""
        buffers = self.buffers
        buffers.flows.zero_()
        buffers.flows[self.root_row, :batch] = (buffers.logs[self.root_row, :batch] > -torch.inf).float()
        for layer in reversed(self.layers):
            self._layer_backward(layer, batch)
        for launch, flows in zip(self.inputs, self.table_flows):
            kernels.input_flows(launch, x, observed, buffers, flows, batch)

    def _layer_backward(self, layer, batch: int) -> None:
        buffers = self.buffers
        kernels.product_forward(layer.products, buffers, batch)
        shapes = {(launch.sum_block, launch.child_block) for launch in layer.elements}
        if len(shapes) > 1:  # a child block may get flows from several groups
            buffers.element_flows[: layer.products.num_rows].zero_()
        for launch in layer.sums:
            kernels.sum_ratios(launch, buffers, batch)
            kernels.param_flows(launch, self.config("param_flows", launch), buffers, self.edge_flows, batch)
        for launch in layer.elements:
            kernels.element_flows(launch, self.config("element_flows", launch), self.half_params, buffers, batch, add=len(shapes) > 1)
        for launch in layer.sums:
            kernels.flow_guard(launch, layer.products, self.params, buffers, self.edge_flows, batch)
        for launch in layer.factors:
            kernels.product_flows(launch, buffers, batch)

    def em_step(self, step_size: float, pseudocount: float) -> None:
        """One EM update from the accumulated flows, which are cleared."""
        for layer in self.layers:
            for launch in layer.sums:
                kernels.em_sums(launch, self.params, self.half_params, self.edge_flows, step_size, pseudocount)
        for launch, table, flows in zip(self.inputs, self.tables, self.table_flows):
            kernels.em_inputs(launch, table, flows, step_size, pseudocount)
