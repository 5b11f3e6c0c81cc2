"""``pcviz bench layer``: the large layer of figure 5 on a GPU at every block size, ours and PyJuice's in one process, as rows for assets/recorded.

Both are timed from stored values to stored values, as CUDA graphs. Forward: the products (formed again in every pass), the sums.
Backward: the products again, element flows, parameter flows, and the flows of the products' factors. What prepares or guards a
buffer of the layer counts. Before anything is timed, values, element flows and parameter flows of that graph on the whole batch
are compared with float64; a configuration of ours that is wrong gets no time.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from pcviz_kernels.launches import FLOW_SCALE

from . import __version__
from .bench_step import LARGEST_ERROR, LARGEST_MEAN_ERROR, MeasuredRow, append_row, free, measured, milliseconds
from .benchmark import WrongResult
from .circuit import LN2, TensorCircuit
from .compiler import compile as compile_circuit
from .ir.nodes import InputNodes, SumNodes
from .layer_reference import ExactLayer, coarse_circuit, coarse_edges, exact_layer, regions_of
from .params import edge_values
from .peers import pyjuice_kernels
from .recorded import LayerFigures, is_own
from .structures import figure_5_layer
from .triton_trace import precision_of

LAYERS = {"fig5-dense": figure_5_layer, "fig5-drawn": partial(figure_5_layer, conn_block=8)}
BLOCK_SIZES = {"fig5-dense": (64, 32, 16, 8, 4, 2, 1), "fig5-drawn": (128, 64, 32, 16, 8, 4, 2, 1)}
LARGEST_FLOW_ERROR = 1e-2  # of flows, as a share of the largest exact one: operands have 11 bits


@dataclass(frozen=True)
class LayerRow(LayerFigures, MeasuredRow):
    """One layer, block size and engine, with where and when it was measured."""


@dataclass(frozen=True)
class LayerErrors:
    """See LayerFigures."""

    max_abs_error: float
    mean_error: float
    element_flow_error: float
    edge_flow_error: float

    @property
    def acceptable(self) -> bool:
        """Also False when one of them is NaN."""
        values = self.max_abs_error <= LARGEST_ERROR and abs(self.mean_error) <= LARGEST_MEAN_ERROR
        return values and max(self.element_flow_error, self.edge_flow_error) <= LARGEST_FLOW_ERROR and not math.isnan(self.edge_flow_error)

    def __str__(self):
        return (
            f"log p within {self.max_abs_error:.1e} of float64 (mean {self.mean_error:+.1e}), "
            f"element flows {self.element_flow_error:.1e}, parameter flows {self.edge_flow_error:.1e}"
        )


def bench_layer(
    names,
    *,
    block_sizes: tuple[int, ...] | None,
    batch_size: int,
    repeats: int,
    variants: tuple[str, ...],
    peers: bool,
    commit: str,
    out: Path | None,
) -> Iterator[str]:
    """Lines, one a layer, block size and engine; rows go to ``out`` (CSV) as they are measured. ``block_sizes`` None: ``BLOCK_SIZES``.

    Raises WrongResult at the end when a configuration of ours was wrong; the others have been measured by then.
    """
    check_arguments(names, peers)
    wrong = []
    for name, block_size, engine, variant, build, root, exact, x in configurations(names, block_sizes, batch_size, variants, peers):
        what = f"{name}, block size {block_size}, {engine} {variant}"
        try:
            row = _measure(name, block_size, engine, variant, build, root, exact, x, repeats, commit)
        except WrongResult as error:
            wrong.append(str(error))
            continue
        except Exception as error:  # of the other library, any: ours go on without it
            if is_own(engine):
                raise
            yield f"{what}: failed, {type(error).__name__}: {error}"
            continue
        if out is not None:
            append_row(out, row)
        errors = LayerErrors(row.max_abs_error, row.mean_error, row.element_flow_error, row.edge_flow_error)
        yield f"{what}: forward {row.forward_ms:.3f} ms, backward {row.backward_ms:.3f} ms; {errors}"
    if wrong:
        raise WrongResult("\n".join(wrong))


def configurations(names, block_sizes, batch_size: int, variants: tuple[str, ...], peers: bool, device: str = "cuda") -> Iterator[tuple]:
    """(layer's name, block size, engine, variant, what builds it, circuit, float64 results, data) of everything that is asked for."""
    for name in names or LAYERS:
        root = LAYERS[name]()
        x = np.random.default_rng(0).integers(0, 2, (batch_size, root.scope.bit_length()))
        exact = exact_layer(root, x, device)
        for block_size in block_sizes or BLOCK_SIZES[name]:
            for variant in variants:
                yield name, block_size, f"pcviz {__version__}", variant, partial(OurLayer, root, block_size, variant), root, exact, x
            if peers:
                yield name, block_size, f"pyjuice {version('pyjuice')}", pyjuice_kernels(), partial(PyJuiceLayer, root, block_size), root, exact, x


def check_arguments(names, peers: bool) -> None:
    unknown = sorted(set(names) - set(LAYERS))
    if unknown:
        raise ValueError(f"bench layer knows the layers {', '.join(LAYERS)}, got {', '.join(unknown)}.")
    if not torch.cuda.is_available():
        raise ValueError("bench layer needs a CUDA device; on this machine try 'pcviz bench digits'.")
    if peers and importlib.util.find_spec("pyjuice") is None:
        raise ValueError("bench layer --against pyjuice needs PyJuice: pip install pyjuice")


class OurLayer:
    """The first layer of a plan as the benchmark calls it: ``forward`` and ``backward`` run its launches on what ``prepare`` left."""

    def __init__(self, root: SumNodes, block_size: int, variant: str | None, device: str = "cuda"):
        self.pc = TensorCircuit(compile_circuit(root, block_size=block_size), device=device, impl="triton", variant=variant)
        self.layer, self.precision = self.pc.plan.summary.layers[0], precision_of(variant)

    @property
    def stored_edges(self) -> int:
        return sum(group.stored_blocks * group.sum_block * group.child_block for group in self.layer.groups)

    def prepare(self, x: np.ndarray) -> None:
        """Both passes of the whole circuit: kernels are compiled, and values and flows of all nodes are there."""
        self.batch = len(x)
        self.pc.accumulate_flows(x)
        if self.pc.engine.buffers.pitch < self.batch:
            raise ValueError(f"{self.batch} samples do not fit at a time; pass a smaller --batch-size.")

    def forward(self) -> None:
        from pcviz_kernels.calls import run_all  # not at the top: needs triton

        engine = self.pc.engine
        run_all(engine.layer_forward(engine.layers[0], self.batch, engine.variant))

    def backward(self) -> None:
        from pcviz_kernels.calls import run_all

        run_all(self.pc.engine.layer_backward(self.pc.engine.layers[0], self.batch))

    def forget(self, regions: tuple[SumNodes, ...]) -> None:
        """Make what the two passes write unusable."""
        plan, engine = self.pc.plan, self.pc.engine
        engine.clear_flows()
        for region in regions:
            engine.buffers.logs[plan.rows_of(region)] = torch.nan
        for nodes in plan.node_vectors():
            if isinstance(nodes, InputNodes):
                engine.buffers.flows[plan.rows_of(nodes)] = torch.nan if engine.flows_written_once else 0  # where the pass adds to them

    def values(self, region: SumNodes, number: int) -> torch.Tensor:
        return self.pc.engine.node_logs()[self.pc.plan.rows_of(region)] * LN2

    def factor_flows(self, region: SumNodes, number: int) -> list[torch.Tensor]:
        """[C, B] flows of the first factors of a region's products, and of the second ones."""
        rows, flows = self.pc.plan.rows_of, self.pc.engine.node_flows()
        return [torch.cat([flows[rows(product.children[a])] for product in region.children]) for a in range(2)]

    def edge_flows(self, exact: ExactLayer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(found, expected) per region."""
        flat = (self.pc.params * self.pc.engine.edge_flows / FLOW_SCALE).cpu()
        slots = {slot.grid.nodes: slot for slot in self.pc.plan.layers[0].sums}
        for region, expected in zip(exact.regions, exact.edge_flows):
            yield edge_values(slots[region], flat).numpy(), expected


class PyJuiceLayer:
    """The same layer of PyJuice, in the order in which its circuit runs it. Its buffers of products are filled before a pass."""

    precision = "default"

    def __init__(self, root: SumNodes, block_size: int):
        import pyjuice

        from .exchange import to_pyjuice

        self.block = block_size
        self.root_ns = to_pyjuice(coarse_circuit(root, block_size), largest_block=block_size)
        self.pc = pyjuice.compile(self.root_ns)
        self.pc.to("cuda")

    @property
    def regions(self):
        top = self.root_ns.chs[0]
        return list(top.chs) if len(top.chs) > 1 else [top.chs[0]]

    @property
    def stored_edges(self) -> int:
        return sum(self.pc.get_node_params(region, clone=False).numel() for region in self.regions)

    def prepare(self, x: np.ndarray) -> None:
        x = torch.as_tensor(x.astype(np.int64), device=self.pc.device)
        with torch.no_grad():
            self.pc(x)
            self.pc.backward(x, flows_memory=0.0)

    @torch.no_grad()
    def forward(self) -> None:
        pc = self.pc
        pc.element_mars.fill_(-torch.inf)
        pc.inner_layer_groups[0](pc.node_mars, pc.element_mars)
        pc.inner_layer_groups[1](pc.node_mars, pc.element_mars, pc.params, propagation_alg="LL")

    @torch.no_grad()
    def backward(self) -> None:
        pc = self.pc
        products, sums = pc.inner_layer_groups[0], pc.inner_layer_groups[1]
        pc.element_flows.fill_(-torch.inf)
        products.forward(pc.node_mars, pc.element_mars, _for_backward=True)
        buffers = (pc.node_flows, pc.element_flows, pc.node_mars, pc.element_mars, pc.params)
        sums.backward(*buffers, param_flows=pc.param_flows, propagation_alg="LL", logspace_flows=True)
        products.backward(pc.node_flows, pc.element_flows, logspace_flows=True)

    @torch.no_grad()
    def forget(self, regions: tuple[SumNodes, ...]) -> None:
        self.pc.param_flows.zero_()
        for region in self.regions:
            self.pc.get_node_mars(region).fill_(torch.nan)
            for product in region.chs:
                for factor in product.chs:
                    self.pc.get_node_flows(factor).fill_(-torch.inf)

    def values(self, region: SumNodes, number: int) -> torch.Tensor:
        return self.pc.get_node_mars(self.regions[number])

    def factor_flows(self, region: SumNodes, number: int) -> list[torch.Tensor]:
        flows = self.pc.get_node_flows
        return [torch.cat([flows(product.chs[a]) for product in self.regions[number].chs]).exp() for a in range(2)]

    def edge_flows(self, exact: ExactLayer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        from .exchange.outgoing import tiled_edges

        for found, nodes, expected in zip(self.regions, exact.regions, exact.edge_flows):
            edge_ids, width = nodes.edge_ids, nodes.edge_block
            if edge_ids is not None and width < self.block:
                edge_ids, expected = coarse_edges(nodes, expected, self.block)
                width = self.block
            edges = SimpleNamespace(params=expected, edge_ids=edge_ids, edge_block=width, num_children=nodes.num_children)
            yield self.pc.get_node_param_flows(found).cpu().numpy(), tiled_edges(edges, found.block_size, found.ch_block_size)[1]


def check_layer(running, exact: ExactLayer, forward: Callable, backward: Callable) -> LayerErrors:
    """Run both passes on buffers that hold nothing usable; their errors."""
    running.forget(exact.regions)
    forward()
    backward()
    largest = total = flow = size = 0.0
    for number, region in enumerate(exact.regions):
        error = running.values(region, number).double() - exact.values[number]
        largest, total = _larger(largest, error.abs().max().item()), total + error.sum().item()
        expected = exact.element_flows[number]
        size = max(size, expected.max().item())
        for found in running.factor_flows(region, number):
            flow = _larger(flow, (found.double() - expected).abs().max().item())
    edge = edge_size = 0.0
    for found, expected in running.edge_flows(exact):
        edge, edge_size = _larger(edge, float(np.abs(found - expected).max())), max(edge_size, float(expected.max()))
    return LayerErrors(largest, total / sum(values.numel() for values in exact.values), flow / size, edge / edge_size)


def _larger(a: float, b: float) -> float:
    """The larger one; NaN when one of them is."""
    return b if math.isnan(b) or b > a else a


def accepted(name: str, block_size: int, engine: str, errors: LayerErrors) -> LayerErrors:
    """``errors``; WrongResult when they are ours and too large."""
    if is_own(engine) and not errors.acceptable:
        raise WrongResult(f"{name}, block size {block_size}, {engine}: {errors}; it gets no time.")
    return errors


def _measure(name, block_size, engine, variant, build, root, exact: ExactLayer, x, repeats, commit) -> LayerRow:
    """Build, check, time one engine; its memory is given back."""
    free()
    start = time.perf_counter()
    running = build()
    compile_s = time.perf_counter() - start
    running.prepare(x)
    forward, backward = (_recorded(run) for run in (running.forward, running.backward))
    errors = accepted(name, block_size, f"{engine} {variant}", check_layer(running, exact, forward, backward))
    forward_ms, backward_ms = milliseconds(forward, repeats), milliseconds(backward, repeats)
    regions = regions_of(root)
    return LayerRow(
        **measured(commit, engine, name, block_size, len(x), running.precision, variant),
        sums=sum(nodes.num_nodes for nodes in regions), edges=sum(nodes.num_edges for nodes in regions), stored_edges=running.stored_edges,
        compile_s=round(compile_s, 2),
        forward_ms=round(statistics.median(forward_ms), 4), backward_ms=round(statistics.median(backward_ms), 4),
        **{key: float(f"{value:.2e}") for key, value in vars(errors).items()},
        forward_samples=_text(forward_ms), backward_samples=_text(backward_ms),
    )  # fmt: skip


def _text(samples: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in samples)


def _recorded(run: Callable[[], None]) -> Callable[[], None]:
    """``run`` as a CUDA graph, recorded after a run on its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
