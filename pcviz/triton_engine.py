"""The Triton engine: buffers of one micro-batch, and the order of launches in a forward and a backward pass.

On a GPU the launches of a pass are recorded once per batch size as a CUDA graph and replayed, so that no time is lost between
them. Under Triton's interpreter (TRITON_INTERPRET=1, set before the first import) the same launches run on a CPU.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from functools import cache, cached_property, partial
from itertools import chain
from types import SimpleNamespace

import torch
from pcviz_kernels import ahead, torch_blocks
from pcviz_kernels import triton_blocks as kernels
from pcviz_kernels.calls import run_all
from pcviz_kernels.config import LaunchConfig, default_config, float32_config
from pcviz_kernels.tiles import FLAGGED
from pcviz_kernels.triton_blocks import PITCH, Calls
from pcviz_kernels.triton_launches import UNIT, TritonBuffers, TritonLayer

from .compiler.counting import unread_blocks
from .compiler.plan import CircuitPlan
from .compiler.written_once import elements_with_blocks, flows_written_once
from .footprint import MemoryUse, tensor_bytes
from .launching import input_launches as torch_input_launches
from .launching import layer_launches as torch_layer_launches
from .triton_launching import input_launch, layer_launches
from .triton_trace import VARIANTS

LARGEST_BATCH = 4096
MOST_VECTORS = 65535  # of inputs in a launch: programs along the second axis of a CUDA grid
LARGEST_PARAM = torch.finfo(torch.float16).max / 2**15  # of a sum; kernels read them times 2^15
FREE_SHARE = 0.8  # of the memory that is free when buffers are made
GRAPHS = 8  # recorded passes that are kept
_recording = threading.Lock()  # a process records one graph at a time


@cache
def _recording_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all graphs of a GPU; that of ``torch.cuda.graph`` is of the GPU where it was used first."""
    return torch.cuda.Stream(device)


class TritonEngine:
    """Values and flows of a plan on a GPU. ``variant``: the kernel of the sums in forward passes: "scaled", of float16 operands, "float32",
    or the running maximum of the "paper"; None: "scaled" before a backward pass, "float32" where likelihoods are all that is asked for.
    ``deterministic``: nothing is added atomically, so that results are the same bits in every run."""

    defers_checks = True

    def __init__(self, plan: CircuitPlan, device: torch.device, variant: str | None = None, deterministic: bool = False):
        if variant is not None and variant not in VARIANTS:
            raise ValueError(f"variant expects one of {', '.join(map(repr, VARIANTS))}, got {variant!r}.")
        self.plan, self.device, self.deterministic = plan, device, deterministic
        self.variant, self.variant_of_likelihoods = variant or "scaled", variant or "float32"
        self.inputs = tuple(input_launch(group, device) for group in plan.inputs)
        if (most := max(len(launch.variables) for launch in self.inputs)) > MOST_VECTORS:
            raise ValueError(f"impl='triton' takes {MOST_VECTORS:,} input vectors of a size and kind at most, got {most:,}; use impl='torch'.")
        self.layers = self._layer_launches()
        self.root_row = plan.rows_of(plan.root).start
        self.flows_written_once = flows_written_once(map(elements_with_blocks, plan.layers))
        self._partly_read = {launches for launches, layer in zip(self.layers, plan.layers) if unread_blocks(layer)}
        self.settings, self._set = torch.zeros(2, dtype=torch.float32, device=device), (0.0, 0.0)  # of EM: step size, pseudocount
        self._accepted = torch.ones(1, dtype=torch.float32, device=device)  # 0: a batch failed its checks and may leave no flows
        self.buffers = self.observed = None
        self._graphs: dict[tuple, torch.cuda.CUDAGraph] = {}
        self._compiled: set[tuple] = set()
        self.configs: Callable[..., LaunchConfig] = default_config
        if device.type == "cuda":
            with torch.cuda.device(device):
                twin = self._without_memory()
                ahead.begin(twin.step_calls(PITCH, False), twin.calls(PITCH, False, backward=False))

    def _layer_launches(self) -> tuple[TritonLayer, ...]:
        layers, self._num_blocks = [], 1  # rows of ``block_tops``; the first is of no sum block
        for layer in self.plan.layers:
            layers.append(layer_launches(layer, self.device, self._num_blocks))
            if self._level(layers[-1]):
                self._num_blocks += sum(launch.num_sum_blocks for launch in layers[-1].sums)
        return tuple(layers)

    def _level(self, layer: TritonLayer) -> bool:
        """Whether the backward pass of ``layer`` is on the scales that the forward pass leaves; the kernel of the paper leaves none."""
        return layer.level and self.variant == "scaled"

    def _without_memory(self) -> TritonEngine:
        """This engine on tensors that have types and shapes only: its calls are compiled before there are parameters and data.

        They are made without arithmetic: with the first of it on such tensors torch imports its own compiler, for seconds.
        """
        twin = copy.copy(self)
        twin.device, twin.buffers, twin._graphs = torch.device("meta"), None, {}
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(twin, name, value.to("meta"))
        twin.params, twin.half_params, twin.edge_flows = (
            torch.empty(self.plan.num_params, dtype=dtype, device="meta") for dtype in (torch.float32, torch.float16, torch.float32)
        )
        twin._tables = [torch.empty(len(group.sources), group.num_params, group.stride, device="meta") for group in self.plan.inputs]
        twin._table_flows = [torch.empty(len(group.sources), group.num_flows, group.stride, device="meta") for group in self.plan.inputs]
        twin._clear_flows_of_nodes = lambda batch: None
        twin._reserve(PITCH)
        return twin

    @cached_property
    def query_launches(self) -> SimpleNamespace:
        """What queries run: launches in the records of pcviz_kernels.launches, and the torch kernels, on this device."""
        starts = self.plan.block_starts()
        layers = tuple(torch_layer_launches(layer, starts, self.device) for layer in self.plan.layers)
        return SimpleNamespace(inputs=torch_input_launches(self.plan, self.device), layers=layers, kernels=torch_blocks)

    # ---- parameters -------------------------------------------------------------------------------------------------

    def load(self, flat: torch.Tensor, tables: list[torch.Tensor]) -> None:
        """Parameters in the plan's layout; tables [T, stride, categories], of Gaussian inputs [T, stride, 2]. Flows are dropped."""
        if not (largest := float(flat.amax())) <= LARGEST_PARAM:
            raise ValueError(
                f"impl='triton' multiplies parameters as float16, up to {LARGEST_PARAM:.3f}, and the largest of a sum here is {largest:g}; "
                "scale the parameters of each sum so that they sum to 1, or use impl='torch'."
            )
        self._graphs.clear()
        self.params = flat.to(self.device, torch.float32)
        self.half_params = (self.params * 2.0**15).half()
        self.edge_flows = torch.zeros_like(self.params)
        self._tables = [table.to(self.device, torch.float32).transpose(1, 2).contiguous() for table in tables]
        self._table_flows = [table.new_zeros(len(table), group.num_flows, group.stride) for group, table in zip(self.plan.inputs, self._tables)]

    @property
    def tables(self) -> list[torch.Tensor]:
        """[T, stride, categories or 2], copies: the engine's own are [T, categories or 2, stride]."""
        return [table.transpose(1, 2).contiguous() for table in self._tables]

    @property
    def table_flows(self) -> list[torch.Tensor]:
        return [flows.transpose(1, 2) for flows in self._table_flows]

    # ---- memory -----------------------------------------------------------------------------------------------------

    def bytes_per_sample(self) -> int:
        """Bytes of the buffers per sample of a micro-batch (a multiple of ``PITCH`` samples is allocated)."""
        return sum(rows * dtype.itemsize for rows, dtype in self._rows().values()) + self.plan.num_vars  # and the mask

    def _rows(self) -> dict[str, tuple[int, torch.dtype]]:
        elements = max(layer.products.num_rows for layer in self.layers)
        sums = max(layer.num_ratio_rows for layer in self.layers)
        more = {"lost_ratios": (sums, torch.float32)} if self.deterministic else {}
        if any(launch.is_gaussian for launch in self.inputs):
            more["reals"] = self.plan.num_vars, torch.float32
        return {
            "logs": (self.plan.num_node_rows, torch.float32),
            "flows": (self.plan.num_node_rows, torch.float32),
            "elements": (elements, torch.float16),
            "tops": (max(len(layer.products.unit_starts) for layer in self.layers), torch.float32),
            "ratios": (sums, torch.float16),
            "ratio_tops": (max(layer.num_ratio_units for layer in self.layers), torch.float32),
            "element_flows": (elements, torch.float32),
            "block_tops": (self._num_blocks, torch.float32),
            "categories": (self.plan.num_vars, torch.int32),
            **more,
        }

    @property
    def micro_batch(self) -> int:
        """Samples that fit at a time, at most LARGEST_BATCH."""
        if self.device.type != "cuda":
            return PITCH
        free = torch.cuda.mem_get_info(self.device)[0] + (0 if self.buffers is None else self.bytes_per_sample() * self.buffers.pitch)
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        fits = int(FREE_SHARE * free / self.bytes_per_sample()) // PITCH * PITCH
        if fits == 0:
            need, has = (f"{size / 2**30:.2f} GiB" for size in (PITCH * self.bytes_per_sample() / FREE_SHARE, free))
            raise RuntimeError(f"out of memory: {PITCH} samples, the smallest batch, need {need}, and {has} are free on {self.device}.")
        return min(fits, LARGEST_BATCH)

    def memory_use(self, batch_size: int) -> MemoryUse:
        micro_batch = min(batch_size, self.piece(batch_size))
        pitch = kernels.columns(micro_batch, 1)
        if self.buffers is not None:
            pitch = max(pitch, self.buffers.pitch)
        parameters, flows = tensor_bytes(self.params, self.half_params, self._tables), tensor_bytes(self.edge_flows, self._table_flows)
        buffers = self.bytes_per_sample() * pitch + 4 * self._num_flags(pitch)
        return MemoryUse(parameters, flows, tensor_bytes(self.inputs, self.layers), buffers, batch_size, micro_batch)

    def piece(self, batch: int) -> int:
        """Samples of ``batch`` that one run takes. What fits the buffers that there are asks the driver for nothing."""
        limit = PITCH if self.device.type != "cuda" else LARGEST_BATCH
        if self.buffers is not None and batch <= min(self.buffers.pitch, limit):
            return batch
        return self.micro_batch

    def _num_flags(self, pitch: int) -> int:
        rows = max(max(layer.num_ratio_units, *(launch.num_sum_blocks * launch.sum_block for launch in layer.sums)) for layer in self.layers)
        return rows * (pitch // FLAGGED)

    def _reserve(self, batch: int) -> None:
        """Buffers for ``batch`` samples, filled with NaN: nothing may be read unwritten."""
        pitch = kernels.columns(batch, 1)
        if self.buffers is not None and self.buffers.pitch >= pitch:
            return
        self._graphs.clear()
        self.buffers = self.observed = None
        buffers = {}
        for name, (rows, dtype) in self._rows().items():
            buffers[name] = torch.full((rows, pitch), torch.nan if dtype.is_floating_point else 0, dtype=dtype, device=self.device)
        self.buffers = TritonBuffers(**buffers, flags=torch.zeros(self._num_flags(pitch), dtype=torch.int32, device=self.device))
        self.buffers.logs.fill_(-torch.inf)  # rows that no node has are impossible; they are never written
        self.buffers.ratio_tops[:UNIT] = -torch.inf  # of pseudo parents
        self.buffers.block_tops[0] = -torch.inf
        self.buffers.flows.zero_()  # likewise
        for nodes in self.plan.node_vectors():
            self.buffers.logs[self.plan.rows_of(nodes)] = self.buffers.flows[self.plan.rows_of(nodes)] = torch.nan
        self.observed = torch.zeros((self.plan.num_vars, pitch), dtype=torch.uint8, device=self.device)

    # ---- passes -----------------------------------------------------------------------------------------------------

    def run(self, x: torch.Tensor, observed: torch.Tensor | None, backward: bool = False, fits: torch.Tensor | None = None) -> None:
        """A forward pass for x [V, b], ``observed`` bool [V, b or 1]; then, if asked for, the backward pass, which adds to
        the parameter flows. ``root_logs``, ``node_logs`` and ``node_flows`` are of the last run. ``fits``: see domain.Evidence."""
        batch, masked = x.shape[1], observed is not None
        self._fill(x, observed)
        if backward:
            self._accepted.fill_(1.0) if fits is None else self._accepted.copy_(fits)
        self._replay(("run", batch, masked, backward), lambda: self.calls(batch, masked, backward))

    def max_logs(self, x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """[node rows, b] base-2 logarithms of max-product values: sums take the largest child, hidden inputs their largest value."""
        self._fill(x, observed)
        self._replay(("max", x.shape[1]), lambda: self._max_calls(x.shape[1]))
        return self.node_logs()

    def _fill(self, x: torch.Tensor, observed: torch.Tensor | None) -> None:
        """Copy data and mask to where the kernels read them."""
        batch = self._batch = x.shape[1]
        self._reserve(batch)
        self.buffers.categories[:, :batch] = x
        if self.buffers.reals is not None:
            self.buffers.reals[:, :batch] = x
        if observed is not None:
            self.observed[:, :batch] = observed

    def calls(self, batch: int, masked: bool, backward: bool) -> Calls:
        """The kernel calls of ``run``, on the data that it left. Each is to be run before the next is asked for: buffers are
        cleared in between."""
        mask = self.observed if masked else None
        yield from self._forward(mask, batch, self.variant if backward else self.variant_of_likelihoods)
        if backward:
            yield from self._backward(mask, batch)

    def step_calls(self, batch: int, masked: bool) -> Calls:
        """Those of a training step: both passes, and EM."""
        yield from self.calls(batch, masked, True)
        yield from self._em()

    def root_logs(self) -> torch.Tensor:
        """[b] base-2 log-likelihoods; overwritten by the next run."""
        return self.buffers.logs[self.root_row, : self._batch]

    def node_logs(self) -> torch.Tensor:
        """[node rows, b] base-2 logarithms; -inf in rows of no node."""
        return self.buffers.logs[:, : self._batch]

    def node_flows(self) -> torch.Tensor:
        """[node rows, b] flows; overwritten by the next run."""
        return self.buffers.flows[:, : self._batch]

    def em_step(self, step_size: float, pseudocount: float) -> None:
        """One EM update from the accumulated flows, which are cleared."""
        if self._set != (step_size, pseudocount):
            self.settings.copy_(torch.tensor([step_size, pseudocount]))
            self._set = (step_size, pseudocount)
        self._replay(("em",), self._em)

    def clear_flows(self) -> None:
        self.edge_flows.zero_()
        for flows in self._table_flows:
            flows.zero_()

    def _replay(self, key: tuple, calls: Callable[[], Calls]) -> None:
        """Run ``calls()``: one by one the first time (kernels are compiled then), from a recorded graph afterwards."""
        kind = (key[0], *key[2:])
        if self.device.type != "cuda":
            run_all(calls())
            return
        with torch.cuda.device(self.device):  # Triton launches on the current one
            self._replay_on_gpu(key, kind, calls)

    def _replay_on_gpu(self, key: tuple, kind: tuple, calls: Callable[[], Calls]) -> None:
        if kind not in self._compiled:
            self._compiled.add(kind)
            ahead.finish(chain(calls(), self._em()) if kind[-1] is True else calls())  # after a backward pass comes EM
            run_all(calls())
        else:
            self._graph(key, calls).replay()

    def _graph(self, key: tuple, calls: Callable[[], Calls]) -> torch.cuda.CUDAGraph:
        graph = self._graphs.pop(key, None)
        if graph is None:
            graph = torch.cuda.CUDAGraph()
            stream = _recording_stream(self.device)
            with _recording, torch.cuda.stream(stream):  # torch leaves it only where recording ends well
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):  # other threads may load kernels
                    run_all(calls())
        self._graphs[key] = graph  # the most recent is last
        if len(self._graphs) > GRAPHS:
            del self._graphs[next(iter(self._graphs))]
        return graph

    @staticmethod
    def shape(phase: str, launch) -> tuple[str, int, int, int]:
        """What a LaunchConfig is chosen by: phase, sum block, child block, and the rows that the launch owns."""
        rows = launch.num_child_blocks * launch.child_block if phase == "element_flows" else launch.num_sum_blocks * launch.sum_block
        return phase, launch.sum_block, launch.child_block, rows

    def config(self, phase: str, launch) -> LaunchConfig:
        *blocks, rows = self.shape(phase, launch)
        return self.configs(*blocks, num_rows=rows)

    def use_configs(self, configs: Callable[..., LaunchConfig]) -> None:
        """Launch with ``configs``, called like ``default_config``, from now on."""
        self.configs = configs
        self._graphs.clear()
        self._compiled.clear()

    def _forward(self, observed: torch.Tensor | None, batch: int, variant: str) -> Calls:
        for launch, table in zip(self.inputs, self._tables):
            yield from kernels.input_forward(launch, table, observed, self.buffers, batch, exact=variant == "float32")
        for layer in self.layers:
            yield from self.layer_forward(layer, batch, variant)

    def layer_forward(self, layer: TritonLayer, batch: int, variant: str) -> Calls:
        """Values of a layer's sums, from those of the layers below it."""
        float32 = variant == "float32"
        if variant == "paper":
            products, sums = kernels.product_forward_paper, kernels.sum_forward_paper
        else:
            products = partial(kernels.product_forward, float32=float32)
            sums = partial(kernels.sum_forward, level=layer.level and not float32, float32=float32)
        yield from products(layer.products, self.buffers, batch)
        for launch in layer.sums:
            config = self.config("forward", launch)
            config = float32_config(config) if float32 else config
            yield from sums(launch, config, layer.products, self.params, self.half_params, self.buffers, batch)

    def _backward(self, observed: torch.Tensor | None, batch: int) -> Calls:
        buffers = self.buffers
        self._clear_flows_of_nodes(batch)
        for layer in reversed(self.layers):
            yield from self.layer_backward(layer, batch)
        for launch, table, flows in zip(self.inputs, self._tables, self._table_flows):
            yield from kernels.input_flows(launch, table, observed, buffers, flows, batch)

    def _clear_flows_of_nodes(self, batch: int) -> None:
        """0 for all that launches add to; the root's are 1 where a sample is possible and the batch has passed its checks."""
        flows, logs = self.buffers.flows, self.buffers.logs
        if not self.flows_written_once:
            flows.zero_()
        flows[self.root_row, :batch] = (logs[self.root_row, :batch] > -torch.inf) * self._accepted

    def layer_backward(self, layer: TritonLayer, batch: int) -> Calls:
        """Parameter flows of a layer, and the flows of its sums' children added to those of the nodes below."""
        buffers, level = self.buffers, self._level(layer)
        yield from kernels.product_forward(layer.products, buffers, batch, level)
        shared = len({(launch.sum_block, launch.child_block) for launch in layer.elements}) > 1  # a child block may get flows from two groups
        if shared or layer in self._partly_read:  # no launch writes the flows of the rest
            buffers.element_flows[: layer.products.num_rows].zero_()
        for launch in layer.sums:
            yield from kernels.sum_ratios(launch, buffers, batch, level)
            yield from kernels.param_flows(launch, self.config("param_flows", launch), buffers, self.edge_flows, batch, level)
        for launch in layer.elements:
            yield from kernels.element_flows(launch, self.config("element_flows", launch), self.half_params, buffers, batch, shared, level)
        if self.deterministic:
            for launch in layer.elements:
                yield from kernels.lost_element_flows(launch, layer.products, self.params, buffers, batch)
        for launch in layer.sums:
            flows = launch, layer.products, self.params, buffers, self.edge_flows, batch
            yield from kernels.lost_param_flows(*flows) if self.deterministic else kernels.flow_guard(*flows, level)
        for launch in layer.factors:
            yield from kernels.product_flows(launch, buffers, batch, add=not self.flows_written_once)

    def _max_calls(self, batch: int) -> Calls:
        for launch, table in zip(self.inputs, self._tables):
            yield from kernels.input_forward(launch, table, self.observed, self.buffers, batch, exact=True, hidden=table.amax(dim=1).log2())
        for layer in self.layers:
            yield from kernels.product_forward_paper(layer.products, self.buffers, batch)
            for launch in layer.sums:
                yield from kernels.sum_max(launch, self.params, self.buffers, batch)

    def _em(self) -> Calls:
        for layer in self.layers:
            for launch in layer.sums:
                yield from kernels.em_sums(launch, self.params, self.half_params, self.edge_flows, self.settings)
        for launch, table, flows in zip(self.inputs, self._tables, self._table_flows):
            yield from kernels.em_inputs(launch, table, flows, self.settings)
