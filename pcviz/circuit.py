"""TensorCircuit: a plan on a device. Buffers, likelihoods, flows, EM; the only module that launches kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from pcviz_kernels.api import implementation
from pcviz_kernels.blocks import Scratch
from pcviz_kernels.launches import FLOW_SCALE, ElementBuffers, NodeBuffers, log_of, smallest_value

from . import queries
from .compiler.compile import compile as compile_circuit
from .compiler.params import edge_values, gather_params, input_values, write_params
from .compiler.plan import CircuitPlan
from .datasets import as_array
from .ir.nodes import InputNodes, Nodes, SumNodes, init_params
from .launching import LayerLaunches, input_launches, layer_launches

LN2 = math.log(2.0)
WORKING_SET = 1 << 20  # element entries of the widest layer in one micro-batch: what a CPU's caches hold
KEPT = 1 << 23  # element entries of all layers that are kept for the backward pass; above it products are computed twice


@dataclass(frozen=True, eq=False)
class CircuitFlows:
    """Flows summed over a batch. ``lls`` [B] natural-log likelihoods; ``of(nodes)`` the flows of a vector's parameters, for a
    tied vector summed over all vectors that share them."""

    plan: CircuitPlan
    lls: torch.Tensor
    edges: np.ndarray  # laid out like the flat parameters, the factor theta included
    tables: list[np.ndarray]

    def of(self, nodes: Nodes) -> np.ndarray:
        """F_{n,c}(D) in canonical shape: like ``nodes.params`` of a sum vector, [num_nodes, num_cats] of an input vector."""
        if isinstance(nodes, InputNodes):
            for group, table in zip(self.plan.inputs, self.tables):
                for vector, values in zip(group.vectors, input_values(group, table)):
                    if vector is nodes:
                        return values
        for layer in self.plan.layers:
            for slot in layer.sums:
                if slot.grid.nodes is nodes:
                    return edge_values(slot, self.edges)
        raise ValueError(f"{nodes!r} is no input or sum vector of this circuit.")


class TensorCircuit:
    """The circuit of ``plan`` with its parameters on ``device``.

    ``impl``: "torch", or None to let the device choose; never replaced silently (``pc.impl`` says which runs).
    ``dtype``: torch.float32 or torch.float64. Parameters are copied from the node vectors (random ones are given to
    vectors that have none); ``write_back`` returns them.
    """

    def __init__(self, plan: CircuitPlan, device: str = "cpu", impl: str | None = None, dtype: torch.dtype = torch.float32):
        if not isinstance(plan, CircuitPlan):
            raise ValueError(f"TensorCircuit expects a plan from pcv.compile(root, block_size=...), got {type(plan).__name__}.")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}.")
        self.plan, self.device, self.dtype = plan, torch.device(device), dtype
        self.impl, self._kernels = implementation(impl, self.device.type)
        self._inputs = input_launches(plan, self.device)
        block_starts = plan.block_starts()
        self._layers = tuple(layer_launches(layer, block_starts, self.device) for layer in plan.layers)
        self._block_starts = torch.as_tensor(block_starts, device=self.device)
        real = np.zeros(plan.num_node_rows, dtype=bool)
        for nodes in plan.node_vectors():
            real[plan.rows_of(nodes)] = True
        self._unused_rows = torch.as_tensor(np.flatnonzero(~real), device=self.device)  # null block, missing rows, gaps
        self._allocate()
        self.load_params()

    @property
    def root(self) -> SumNodes:
        return self.plan.root

    @property
    def block_size(self) -> int:
        return self.plan.block_size

    # ---- parameters -------------------------------------------------------------------------------------------------

    def load_params(self) -> None:
        """Copy the parameters of the node vectors into the plan's layout."""
        init_params(self.root)
        flat, tables = gather_params(self.plan, np.float64 if self.dtype == torch.float64 else np.float32)
        self.params = torch.as_tensor(flat, device=self.device)
        self.tables = [torch.as_tensor(table, device=self.device) for table in tables]
        self._refresh_inputs()

    def write_back(self) -> SumNodes:
        """Copy the parameters to the node vectors; returns the root."""
        write_params(self.plan, self._numpy32(self.params), [self._numpy32(table) for table in self.tables])
        return self.root

    def recompile(self, *, block_size: int, padding_tolerance: float | None = None) -> TensorCircuit:
        """The same circuit with the same parameters at another block size (this one's parameters are written back)."""
        tolerance = self.plan.padding_tolerance if padding_tolerance is None else padding_tolerance
        plan = compile_circuit(self.root, block_size=block_size, padding_tolerance=tolerance)
        self.write_back()
        return TensorCircuit(plan, device=str(self.device), impl=self.impl, dtype=self.dtype)

    def _refresh_inputs(self) -> None:
        """Tables by category, as kernels gather them; and whether some real entry needs its logarithm kept."""
        self._by_category = [table.transpose(1, 2).reshape(-1, table.shape[1]).contiguous() for table in self.tables]
        small = smallest_value(self.dtype)
        self._exact_inputs = [bool(((table < small) & launch.real).any()) for launch, table in zip(self._inputs, self.tables)]

    @staticmethod
    def _numpy32(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().to("cpu", torch.float32).numpy()

    # ---- queries ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def __call__(self, x, observed=None) -> torch.Tensor:
        """[B] natural-log likelihoods of ``x`` [B, V] integers. ``observed`` bool [B, V] or [1, V]: False is marginalised."""
        x, observed = self.check_evidence(x, observed)
        return torch.cat([self._root_logs(self._forward(*part)) for part in self._micro_batches(x, observed)])

    @torch.no_grad()
    def node_values(self, x, observed=None, nodes: Nodes | None = None) -> torch.Tensor:
        """[node rows, B] natural-log values of input and sum nodes; with an input or sum vector ``nodes``, its [num_nodes, B].

        Row ``plan.rows_of(nodes)`` of the whole is a vector's; rows of no node hold -inf.
        """
        rows = slice(None) if nodes is None else self.plan.rows_of(nodes)
        x, observed = self.check_evidence(x, observed)
        return torch.cat([self._all_logs(self._forward(*part))[rows] for part in self._micro_batches(x, observed)], dim=1)

    @torch.no_grad()
    def sample(self, n: int, x=None, observed=None, seed: int = 0) -> torch.Tensor:
        """[n, V] exact samples of the circuit's distribution; given evidence ``x`` [B, V], [n, B, V]: n samples for each row
        from p(hidden values | observed values), which keep their values.

        ``observed`` bool [B, V] or [1, V]: False is drawn, whatever ``x`` holds there. The same seed gives the same samples
        on one plan and device. Raises ValueError, naming the rows, when evidence is impossible.
        """
        return queries.sample(self, n, x, observed, seed)

    @torch.no_grad()
    def mpe(self, x=None, observed=None, return_log: bool = False) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """[B, V] most probable explanation: the hidden values of the largest summand of p(x), evidence ``x`` kept.

        Max-product maximises over latent and hidden variables *together*: one child of every sum is taken. That is not
        argmax p(x), which sums over the latents first (and is NP-hard). Ties: any maximiser. ``return_log``: also [B] the
        natural log of the maximum, at most the log-likelihood of the state. ``observed`` and errors as in ``sample``.
        """
        states, logs = queries.mpe(self, x, observed)
        return (states, logs) if return_log else states

    @torch.no_grad()
    def marginals(self, x=None, observed=None) -> torch.Tensor:
        """[B, V, categories] posterior P(x_v = k | observed values), each variable on its own; 0 or 1 where observed.

        ``observed`` and errors as in ``sample``. Variables with fewer categories than the widest one have 0 in the rest.
        """
        return queries.marginals(self, x, observed)

    @torch.no_grad()
    def node_flows(self, x, observed=None, nodes: Nodes | None = None) -> torch.Tensor:
        """[node rows, B] flows d log p_root / d log p_n of input and sum nodes (paper, section 5): how probable it is that a
        sample from the posterior given x passes through n. With ``nodes``, that vector's [num_nodes, B].

        With a mask, flows given the observed values. Drops flows accumulated for ``em_step``.
        """
        rows = slice(None) if nodes is None else self.plan.rows_of(nodes)
        x, observed = self.check_evidence(x, observed)
        parts = []
        for part in self._micro_batches(x, observed):
            parts.append(self._backward(*part, self._forward(*part))[rows].clone())
        self._clear_flows()
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def flows(self, x, observed=None) -> CircuitFlows:
        """Flows per edge: F_{n,c}(D) summed over the batch, and the likelihoods; ``flows(x).of(nodes)`` are a vector's.

        Pass one row for the flows of one sample. With a mask, those given the observed values; hidden variables count for
        no category. Drops flows accumulated for ``em_step``.
        """
        self._clear_flows()
        lls = self.accumulate_flows(x, observed)
        edges = (self.params * self.edge_flows / FLOW_SCALE).cpu().numpy()
        edges[: self._null_params] = 0
        tables = [table.cpu().numpy().copy() for table in self.table_flows]
        self._clear_flows()
        return CircuitFlows(self.plan, lls, edges, tables)

    # ---- training ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def accumulate_flows(self, x, observed=None) -> torch.Tensor:
        """Forward and backward pass; adds to the flow buffers that ``em_step`` reads. Returns likelihoods [B]."""
        x, observed = self.check_evidence(x, observed)
        roots = []
        for part in self._micro_batches(x, observed):
            kept = [] if self._keeps_elements else None
            nodes = self._forward(*part, kept)
            roots.append(self._root_logs(nodes))
            self._backward(*part, nodes, kept)
        return torch.cat(roots)

    @torch.no_grad()
    def em_step(self, step_size: float = 1.0, pseudocount: float = 0.0) -> None:
        """One EM update from the accumulated flows, which are cleared. ``step_size`` 1 is full-batch EM."""
        for layer in self._layers:
            for launch in layer.updates:
                self._kernels.em_sums(launch, self.params, self.edge_flows, step_size, pseudocount)
        for table, flows in zip(self.tables, self.table_flows):
            self._kernels.em_inputs(table, flows, step_size, pseudocount)
        self._refresh_inputs()
        self._clear_flows()

    def _clear_flows(self) -> None:
        self.edge_flows.zero_()
        for flows in self.table_flows:
            flows.zero_()

    # ---- one micro-batch --------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        plan, rows = self.plan, [layer.num_element_rows for layer in self._layers]
        size = WORKING_SET // max(rows) // 32 * 32
        self.micro_batch = batch = min(max(size, 64), 1024)
        self._keeps_elements = batch * sum(rows) <= KEPT
        self._root_row = plan.rows_of(plan.root).start
        self._null_rows = min(plan.starts.values())
        self._null_params = min(group.pids[group.pids > 0].min() for layer in plan.layers for group in layer.groups)

        def buffer(rows: int) -> torch.Tensor:
            return torch.full((rows * batch,), torch.nan, dtype=self.dtype, device=self.device)  # nothing may be read unwritten

        self._node_values, self._node_scales, self._node_flows, self._ratios = (buffer(plan.num_node_rows) for _ in range(4))
        space = sum if self._keeps_elements else max
        self._elements, self._element_logs = (buffer(space(rows)) for _ in range(2))
        self._element_flows = buffer(max(rows))
        self._node_logs = buffer(plan.num_node_rows)
        self._scratch = Scratch(self.dtype, self.device)
        self._element_scales = buffer(space(layer.num_scales for layer in self._layers))
        self._tops = buffer(max(layer.num_sum_blocks for layer in self._layers))
        self.edge_flows = torch.zeros(plan.num_params, dtype=self.dtype, device=self.device)
        self.table_flows = [
            torch.zeros((len(group.sources), group.stride, group.num_cats), dtype=self.dtype, device=self.device) for group in plan.inputs
        ]

    def _micro_batches(self, x: torch.Tensor, observed: torch.Tensor | None):
        """(x [V, b], mask) of micro-batches of about the same size."""
        size = -(-len(x) // -(-len(x) // self.micro_batch))
        for first in range(0, len(x), size):
            rows = slice(first, first + size)
            mask = observed if observed is None or len(observed) == 1 else observed[rows]
            yield x[rows].t().contiguous(), None if mask is None else mask.t()

    def _rows(self, buffer: torch.Tensor, rows: int, batch: int, after: int = 0) -> torch.Tensor:
        """[rows, batch] of a buffer, after as many rows."""
        return buffer[after * batch : (after + rows) * batch].view(rows, batch)

    def _elements_of(self, layer: LayerLaunches, nodes: NodeBuffers, kept: list[ElementBuffers] | None = None) -> ElementBuffers:
        """Products of one layer, behind those of the ``kept`` ones."""
        batch, before = nodes.values.shape[1], kept or ()
        rows, num_scales = sum(len(e.values) for e in before), sum(len(e.scales) for e in before)
        values, logs = (self._rows(buffer, layer.num_element_rows, batch, rows) for buffer in (self._elements, self._element_logs))
        scales = self._rows(self._element_scales, layer.num_scales, batch, num_scales)
        elements = ElementBuffers(values, scales, logs, nodes, layer.products, self._scratch, logged=set())
        _, null_rows, _ = layer.sections[0]
        values[:null_rows], logs[:null_rows], scales[0] = 0, -torch.inf, -torch.inf
        for launch in layer.products:
            self._kernels.product_forward(launch, nodes, elements)
        if kept is not None:
            kept.append(elements)
        return elements

    def _forward(self, x: torch.Tensor, observed: torch.Tensor | None, kept: list[ElementBuffers] | None = None) -> NodeBuffers:
        """Inputs and sums for x [V, b]. The layers' elements stay in a list ``kept``; without one they are overwritten."""
        batch, rows = x.shape[1], self.plan.num_node_rows
        nodes = NodeBuffers(*(self._rows(buffer, rows, batch) for buffer in (self._node_values, self._node_scales, self._node_logs)))
        for buffer, nothing in ((nodes.values, 0.0), (nodes.scales, -torch.inf), (nodes.logs, -torch.inf)):
            buffer.index_fill_(0, self._unused_rows, nothing)
        for launch, table, exact in zip(self._inputs, self._by_category, self._exact_inputs):
            self._kernels.input_forward(launch, table, exact, x, observed, nodes)
        for layer in self._layers:
            elements = self._elements_of(layer, nodes, kept)
            for launch in layer.sums:
                self._kernels.sum_forward(launch, self.params, elements, nodes)
        return nodes

    def _backward(
        self, x: torch.Tensor, observed: torch.Tensor | None, nodes: NodeBuffers, kept: list[ElementBuffers] | None = None
    ) -> torch.Tensor:
        """[node rows, b] flows, after ``_forward`` on the same x; adds to the parameter flows. Elements that were not ``kept``
        are computed again."""
        batch, plan, kernels = x.shape[1], self.plan, self._kernels
        flows, ratios = (self._rows(buffer, plan.num_node_rows, batch) for buffer in (self._node_flows, self._ratios))
        flows.zero_()
        ratios[: self._null_rows] = 0
        flows[self._root_row] = (self._root_logs(nodes) > -torch.inf).to(flows.dtype)
        for layer in reversed(self._layers):
            elements = kept.pop() if kept else self._elements_of(layer, nodes)
            tops = self._rows(self._tops, layer.num_sum_blocks, batch)
            tops[0] = torch.inf  # a pseudo parent hands down nothing
            element_flows = self._rows(self._element_flows, layer.num_element_rows, batch).zero_()
            for launch in layer.sums:
                kernels.param_flows(launch, self.params, elements, nodes, flows, ratios, tops, self.edge_flows, element_flows)
            for launch in layer.elements:
                kernels.element_flows(launch, self.params, elements, ratios, tops, element_flows)
            for launch in layer.products:
                kernels.product_flows(launch, element_flows, flows, self._scratch)
        for launch, table in zip(self._inputs, self.table_flows):
            kernels.input_flows(launch, x, observed, flows, table)
        return flows

    def _root_logs(self, nodes: NodeBuffers) -> torch.Tensor:
        """[b] natural-log likelihoods."""
        root = self._root_row
        return log_of(nodes.values[root], nodes.scales[root], nodes.logs[root]) * LN2

    def _all_logs(self, nodes: NodeBuffers) -> torch.Tensor:
        """[node rows, b] natural-log values."""
        return log_of(nodes.values, nodes.scales[self._block_starts], nodes.logs) * LN2

    # ---- checks of data ---------------------------------------------------------------------------------------------

    def check_data(self, x) -> torch.Tensor:
        """``x`` (tensor, numpy array, lists, pandas DataFrame) as int64 [B, V] on the device.

        Raises ValueError: wrong shape, dtype, NaN, empty, category out of range.
        """
        x = self._check_shape(x)
        if len(x) == 0:
            raise ValueError("x is an empty batch (0 samples); pass at least one row.")
        if x.is_floating_point() or x.is_complex():
            if torch.isnan(x).any():
                raise ValueError("x contains NaN; to leave values out pass observed= with False at those places, and any category in x.")
            raise ValueError(f"x must hold integers (categories), got dtype {x.dtype}; convert it, e.g. x.astype('int64').")
        x = x.to(self.device, torch.int64)
        low, high = x.amin(dim=0), x.amax(dim=0)
        wrong = ((low < 0) | (high >= self._num_cats())).nonzero().flatten()
        if len(wrong):
            v = int(wrong[0])
            found = int(low[v]) if low[v] < 0 else int(high[v])
            raise ValueError(f"x: variable {v} has category {found}, expected 0 to {int(self._num_cats()[v]) - 1} ({len(wrong)} such variables).")
        return x

    def check_evidence(self, x, observed=None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Checked data and mask; a value that is not observed may be anything, and is read as 0."""
        if observed is None:
            return self.check_data(x), None
        x = self._check_shape(x).to(self.device)
        observed = self._check_mask(observed, x)
        return self.check_data(x.masked_fill(~observed, 0)), observed

    def _check_shape(self, x) -> torch.Tensor:
        x = x if isinstance(x, torch.Tensor) else torch.as_tensor(as_array(x))
        if x.ndim != 2 or x.shape[1] != self.plan.num_vars:
            raise ValueError(f"x must have shape [B, {self.plan.num_vars}] (samples, variables), got {list(x.shape)}.")
        return x

    def _num_cats(self) -> torch.Tensor:
        if not hasattr(self, "_cats"):
            self._cats = torch.zeros(self.plan.num_vars, dtype=torch.int64, device=self.device)
            for launch in self._inputs:
                self._cats[launch.variables] = launch.num_cats
        return self._cats

    def _check_mask(self, observed, x: torch.Tensor) -> torch.Tensor:
        observed = torch.as_tensor(observed, device=self.device)
        if observed.dtype != torch.bool:
            raise ValueError(f"observed must be a bool mask (True: observed), got dtype {observed.dtype}.")
        if observed.ndim != 2 or observed.shape[1] != x.shape[1] or observed.shape[0] not in (1, len(x)):
            raise ValueError(f"observed must have shape [{len(x)}, {x.shape[1]}] or [1, {x.shape[1]}], got {list(observed.shape)}.")
        return observed
