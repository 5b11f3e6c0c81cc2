"""Memory of a circuit at a block size, from counts alone: what ``pc.memory(batch_size)`` says once the circuit is on its device.

A model for block sizes that nobody has compiled yet and for GPUs that are not there. Parameters, their flows and buffers follow
the engines' layouts; indices are counted per stored block, and as if child blocks that may lie next to each other did (impl="triton"
then reads them as one). Beside it stand the data, results, what single operations need for a moment, and CUDA's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pcviz_kernels.tiles import LONGEST_RUN, PITCH
from pcviz_kernels.tuned import UNIT

from .compiler.counting import input_shape
from .compiler.layer_arrays import blocks_of
from .compiler.layering import Layer, Layering, block_of, factors_of, num_blocks
from .compiler.plan import LayerSummary, PlanSummary
from .compiler.tiles import tile_grid
from .footprint import MemoryUse
from .ir.distributions import Gaussian
from .ir.nodes import InputNodes

LARGEST_BATCH, FLAG_B, FREE_SHARE = 4096, 64, 0.8  # of impl="triton", whose modules need torch; equal to its own, by test
FLOATS = 4  # bytes; parameters, values and flows of both engines are float32


@dataclass(frozen=True)
class LayerSizes:
    """Rows of one layer's buffers, null blocks included."""

    summary: LayerSummary
    widest_element: int  # rows of its null block
    element_blocks: int
    product_runs: int
    arity: int
    is_dense: bool  # every sum vector is fully connected
    edge_block: int  # the smallest of the others

    @property
    def gpu_element_rows(self) -> int:
        """impl="triton" reads at least UNIT rows of null block."""
        return self.summary.num_element_rows + max(0, UNIT - self.widest_element)

    @property
    def widest(self) -> int:
        return max(group.sum_block for group in self.summary.groups)

    @property
    def sum_blocks(self) -> int:
        return sum(group.num_sum_blocks for group in self.summary.groups)

    @property
    def sum_units(self) -> int:
        groups = self.summary.groups
        return num_blocks(self.widest, UNIT) + sum(group.num_sum_blocks * num_blocks(group.sum_block, UNIT) for group in groups)


@dataclass(frozen=True)
class Sizes:
    """Entries of a circuit's arrays at one block size. ``table_params``, ``table_flows``: of inputs."""

    node_rows: int
    params: int
    table_params: int
    table_flows: int
    gathered: int  # of discrete inputs, kept in a second order by impl="torch"
    num_vars: int
    has_reals: bool
    layers: tuple[LayerSizes, ...]

    def most(self, read) -> int:
        return max(read(layer) for layer in self.layers)


def model_memory(layers: Layering, summary: PlanSummary, batch_size: int, kind: str = "gpu", room: int | None = None) -> MemoryUse:
    """Modelled MemoryUse of the circuit ``layers`` at the block size of ``summary``: by impl="triton" on a GPU with ``room`` bytes of
    memory (None: enough), which takes at most 4,096 samples at a time and fewer where these do not fit, or by impl="torch" on a "cpu"."""
    sizes = circuit_sizes(layers, summary)
    return _on_gpu(sizes, batch_size, room) if kind == "gpu" else _on_cpu(sizes, batch_size)


def circuit_sizes(layers: Layering, summary: PlanSummary) -> Sizes:
    block_size = summary.block_size
    widest = max(block_of(nodes.num_nodes, block_size) for nodes in _vectors(layers))
    input_rows = sum(input_shape(nodes, block_size)[0] for nodes in layers.inputs)
    tables = list({id(nodes.storage): nodes for nodes in layers.inputs}.values())
    params = widest**2 + summary.total("stored_edges") - _tied_cells(layers, block_size)
    return Sizes(
        node_rows=num_blocks(widest + input_rows + summary.total("num_sum_rows"), widest) * widest,
        params=num_blocks(params, widest**2) * widest**2,
        table_params=sum(input_shape(nodes, block_size)[0] * nodes.dist.num_params for nodes in tables),
        table_flows=sum(input_shape(nodes, block_size)[0] * _num_flows(nodes) for nodes in tables),
        gathered=sum(input_shape(nodes, block_size)[0] * nodes.dist.num_params for nodes in tables if not _is_gaussian(nodes)),
        num_vars=layers.num_vars,
        has_reals=any(_is_gaussian(nodes) for nodes in tables),
        layers=tuple(_layer_sizes(*pair, block_size) for pair in zip(layers.layers, summary.layers)),
    )


def _vectors(layers: Layering):
    return (*layers.inputs, *(nodes for layer in layers.layers for nodes in (*layer.sums, *layer.elements)))


def _is_gaussian(nodes: InputNodes) -> bool:
    return isinstance(nodes.dist, Gaussian)


def _num_flows(nodes: InputNodes) -> int:
    return 3 if _is_gaussian(nodes) else nodes.dist.num_params


def _tied_cells(layers: Layering, block_size: int) -> int:
    """Cells of stored blocks whose parameters a vector before has already."""
    seen, cells = set(), 0
    for layer in layers.layers:
        for nodes in layer.sums:
            if id(nodes.storage) in seen:
                shape = block_of(nodes.num_nodes, block_size), block_of(layer.longest[id(nodes)], block_size)
                cells += tile_grid(nodes, *shape).num_tiles * shape[0] * shape[1]
            seen.add(id(nodes.storage))
    return cells


def _layer_sizes(layer: Layer, summary: LayerSummary, block_size: int) -> LayerSizes:
    lengths = layer.arrays.element_len
    widths = blocks_of(layer.arrays.element_longest, block_size)
    blocks = -(-lengths // widths)
    sparse = [nodes.edge_block for nodes in layer.sums if nodes.edge_ids is not None]
    return LayerSizes(
        summary=summary,
        widest_element=int(widths.max()),
        element_blocks=1 + int(blocks.sum()),
        product_runs=int((blocks * widths // np.minimum(blocks_of(lengths, block_size), widths)).sum()),
        arity=max(2, *(len(factors_of(element)) for element in layer.elements)),
        is_dense=not sparse,
        edge_block=min(sparse, default=0),
    )


# ---- impl="triton" ------------------------------------------------------------------------------------------------------


def _on_gpu(sizes: Sizes, batch_size: int, room: int | None) -> MemoryUse:
    elements = sizes.most(lambda layer: layer.gpu_element_rows)
    ratios = sizes.most(lambda layer: layer.summary.num_sum_rows)
    units, ratio_units = sizes.most(lambda layer: layer.summary.element_units), sizes.most(lambda layer: layer.sum_units)
    data = (5 + 4 * sizes.has_reals) * sizes.num_vars  # categories, mask and real numbers
    kept = 1 + sum(layer.sum_blocks for layer in sizes.layers if layer.summary.level)  # scales of level layers, for the backward pass
    per_sample = 8 * sizes.node_rows + 6 * elements + 4 * (units + kept) + 2 * ratios + 4 * ratio_units + data
    parameters = 6 * sizes.params + FLOATS * sizes.table_params  # in 4 bytes, and in 2 for tensor cores
    flows, indices = FLOATS * (sizes.params + sizes.table_flows), sum(map(_gpu_indices, sizes.layers))
    micro_batch = min(batch_size, LARGEST_BATCH)
    if room is not None:
        fits = int(FREE_SHARE * (room - parameters - flows - indices) / per_sample) // PITCH * PITCH
        micro_batch = min(micro_batch, max(fits, PITCH))  # one that has no room for the smallest batch is as large as it is
    pitch = num_blocks(micro_batch, PITCH) * PITCH
    flags = FLOATS * sizes.most(_flag_rows) * (pitch // FLAG_B)
    return MemoryUse(
        parameters=parameters,
        flows=flows,
        indices=indices,
        buffers=per_sample * pitch + flags,
        batch_size=batch_size,
        micro_batch=micro_batch,
    )


def _flag_rows(layer: LayerSizes) -> int:
    return max(layer.sum_units, *(group.num_sum_blocks * group.sum_block for group in layer.summary.groups))


def _gpu_indices(layer: LayerSizes) -> int:
    """int32, of which there are four for a run of child blocks, and three for a parent of a child block."""
    forward = sum(group.num_sum_blocks * (4 + 4 * _runs(layer, group)) for group in layer.summary.groups)
    backward = sum(group.num_child_blocks * (8 + 3 * group.num_parents) for group in layer.summary.backward_groups)
    products = layer.arity * (layer.gpu_element_rows + 2 * layer.product_runs) + 2 * layer.summary.element_units
    return 4 * (forward + backward + products)


def _runs(layer: LayerSizes, group) -> int:
    """Runs of child blocks that a sum block reads one after the other; of drawn or pruned edges none longer than an edge's block."""
    longest = LONGEST_RUN if layer.is_dense else max(layer.edge_block, group.child_block)
    rows, run = group.num_child_blocks * group.child_block, group.child_block
    while 2 * run <= longest and rows % (2 * run) == 0:
        run *= 2
    return rows // run


# ---- impl="torch" -------------------------------------------------------------------------------------------------------


def _on_cpu(sizes: Sizes, batch_size: int) -> MemoryUse:
    from .memory import KEPT, WORKING_SET  # needs torch

    rows = [layer.summary.num_element_rows for layer in sizes.layers]
    blocks = [layer.element_blocks for layer in sizes.layers]
    micro_batch = min(max(WORKING_SET // max(rows) // 32 * 32, 64), 1024)
    ratios = sizes.most(lambda layer: (1 + layer.sum_blocks) * layer.widest)
    buffers = 4 * sizes.node_rows + 3 * max(rows) + max(blocks) + ratios + sizes.most(lambda layer: 1 + layer.sum_blocks)
    if micro_batch * sum(rows) <= KEPT:
        buffers += 2 * sum(rows) + sum(blocks)
    return MemoryUse(
        parameters=FLOATS * (sizes.params + sizes.table_params + sizes.gathered),
        flows=FLOATS * (sizes.params + sizes.table_flows),
        indices=sum(map(_cpu_indices, sizes.layers)),
        buffers=FLOATS * micro_batch * buffers,
        batch_size=batch_size,
        micro_batch=min(batch_size, micro_batch),
    )


def _cpu_indices(layer: LayerSizes) -> int:
    """int64, first rows and numbers of blocks and their scales: five for each child block of a sum block and each parent of a child block."""
    forward = sum(group.num_sum_blocks * (4 + 5 * group.num_child_blocks) for group in layer.summary.groups)
    backward = sum(group.num_child_blocks * (3 + 5 * group.num_parents) for group in layer.summary.backward_groups)
    return 8 * (forward + backward + (4 + 3 * layer.arity) * layer.product_runs)
