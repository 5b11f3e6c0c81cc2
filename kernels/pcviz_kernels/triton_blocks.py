"""impl="triton": one function per launch record, which yields the kernel calls that compute it, to be run one after the other.

Grids and tiles come from the LaunchConfig that the trace and the traffic model read too.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
from triton.runtime.errors import OutOfResources  # noqa: F401  (what a config that needs too much raises)

from .calls import KernelCall
from .config import LaunchConfig, em_config, em_gaussian_config, em_inputs_config, input_flows_config
from .triton_em import em_inputs_kernel, em_sums_kernel
from .triton_flows import (
    element_flows_kernel,
    element_flows_small_kernel,
    flow_guard_kernel,
    input_flows_kernel,
    input_scatter_kernel,
    param_flows_kernel,
    product_flows_kernel,
    ratio_kernel,
)
from .triton_forward import (
    input_forward_kernel,
    product_forward_kernel,
    product_logs_kernel,
    sum_forward_kernel,
    sum_forward_paper_kernel,
    sum_forward_small_kernel,
    sum_guard_kernel,
)
from .triton_gaussian import em_gaussian_kernel, gaussian_flows_kernel, gaussian_forward_kernel
from .triton_launches import (
    LARGEST_RATIO,
    LEAST_FLOW,
    UNIT,
    TritonBuffers,
    TritonElements,
    TritonFactors,
    TritonInputs,
    TritonProducts,
    TritonSums,
    lost_log2,
)
from .triton_max import sum_max_kernel
from .triton_ordered import lost_element_flows_kernel, lost_param_flows_kernel

Calls = Iterator[KernelCall]
MANY_CATEGORIES = 512  # above it, flows of categories are added one by one instead of by a matrix product
GUARD_B, FLAG_B = 32, 64  # samples of a step of the guards, and of a tile of ``sum_ratios``
PITCH = 128  # buffers hold a multiple of this many samples, and kernels fill all of them: no load needs a mask along the batch


def columns(batch: int, tile_b: int) -> int:
    """Batch tiles that cover ``batch`` samples and the padding behind them."""
    return triton.cdiv(batch, PITCH) * PITCH // tile_b


def input_forward(
    launch: TritonInputs, table: torch.Tensor, observed: torch.Tensor | None, buffers: TritonBuffers, batch: int, exact: bool,
    hidden: torch.Tensor | None = None,
) -> Calls:  # fmt: skip
    """``exact``: logarithms for sums in float32. ``hidden``: for max-product, [T, stride] logarithms of the largest value of a node (of a
    Gaussian one anything)."""
    rows, tile_b = min(UNIT, triton.next_power_of_2(launch.stride)), 64
    grid = (columns(batch, tile_b), len(launch.variables), triton.cdiv(launch.stride, rows))
    sizes = {"HAS_MASK": observed is not None, "MAX": hidden is not None, "ROWS": rows, "TILE_B": tile_b}
    x = buffers.reals if launch.is_gaussian else buffers.categories
    read = (launch.variables, launch.num_nodes, launch.table_ids, table, x, x if observed is None else observed, buffers.logs, launch.start)
    if launch.is_gaussian:
        yield KernelCall.of(gaussian_forward_kernel, grid, *read, launch.stride, batch, buffers.pitch, x.stride(0), **sizes)
    else:
        read = (*read[:-1], table if hidden is None else hidden, launch.start, launch.stride, launch.num_cats)
        yield KernelCall.of(input_forward_kernel, grid, *read, batch, buffers.pitch, x.stride(0), **sizes, EXACT=exact)


def product_forward(launch: TritonProducts, buffers: TritonBuffers, batch: int, level: bool = False, float32: bool = False) -> Calls:
    """Elements of a layer, each unit on its own scale; ``level``: on that which the forward pass has left in ``buffers.block_tops``.
    ``float32``: in the buffer of element flows, which a forward pass does not need."""
    elements = buffers.element_flows if float32 else buffers.elements
    tile_b = 64
    num_columns = columns(batch, tile_b)
    yield KernelCall.of(
        product_forward_kernel, (num_columns * len(launch.unit_starts),),
        launch.unit_starts, launch.unit_rows, launch.factors, buffers.logs, elements, buffers.tops, launch.readers, buffers.block_tops,
        launch.arity, launch.num_rows, batch, num_columns, buffers.pitch, PAIRS=launch.arity == 2, ROWS=UNIT, TILE_B=tile_b, LEVEL=level,
        num_warps=4 if launch.arity == 2 else 8,
    )  # fmt: skip


def sum_forward(
    launch: TritonSums, config: LaunchConfig, products: TritonProducts, params, half_params, buffers: TritonBuffers, batch: int,
    level: bool = False, float32: bool = False,
) -> Calls:  # fmt: skip
    """Sums of a group, then the lost ones again. ``level``: the scales of their children are left in ``buffers.block_tops``.
    ``float32``: of such elements and parameters."""
    weights, elements = (params, buffers.element_flows) if float32 else (half_params, buffers.elements)
    num_columns = columns(batch, config.tile_b)
    grid = (num_columns * (launch.num_sum_blocks * launch.sum_block // config.tile_m),)
    read = (launch.nids, launch.cids, launch.pids, launch.units, launch.block_units, launch.num_nodes, weights, elements, buffers.tops)
    sizes = {
        "M": launch.sum_block, "K": launch.run, "TILE_M": config.tile_m, "TILE_K": config.tile_k, "TILE_B": config.tile_b,
        "num_warps": config.num_warps, "num_stages": config.num_stages, **_registers(config),
    }  # fmt: skip
    counts = launch.num_runs, launch.block_units.shape[1]
    more = num_columns, buffers.pitch, _lost_below(launch, float32)
    if config.uses_tensor_cores:
        written = buffers.block_tops, buffers.logs, buffers.flags
        yield KernelCall.of(sum_forward_kernel, grid, *read, *written, *counts, launch.first_block, *more, **sizes, LEVEL=level)
    else:
        yield KernelCall.of(sum_forward_small_kernel, grid, *read, buffers.logs, buffers.flags, *counts, *more, **sizes)
    yield from _sum_guard(launch, config, products, params, buffers, batch)


def product_forward_paper(launch: TritonProducts, buffers: TritonBuffers, batch: int) -> Calls:
    """Logarithms of all elements of a layer, in the buffer of element flows, which a forward pass does not need."""
    tile_b = 64
    num_columns = columns(batch, tile_b)
    yield KernelCall.of(
        product_logs_kernel, (num_columns * len(launch.unit_starts),),
        launch.unit_starts, launch.unit_rows, launch.factors, buffers.logs, buffers.element_flows, launch.arity, launch.num_rows, batch,
        num_columns, buffers.pitch, PAIRS=launch.arity == 2, ROWS=UNIT, TILE_B=tile_b,
    )  # fmt: skip


def sum_forward_paper(
    launch: TritonSums, config: LaunchConfig, products: TritonProducts, params, half_params, buffers: TritonBuffers, batch: int
) -> Calls:
    """``sum_forward`` by the kernel of the paper, after ``product_forward_paper``."""
    num_columns = columns(batch, config.tile_b)
    yield KernelCall.of(
        sum_forward_paper_kernel, (num_columns * (launch.num_sum_blocks * launch.sum_block // config.tile_m),),
        launch.nids, launch.cids, launch.pids, launch.num_nodes, half_params, buffers.element_flows, buffers.logs, buffers.flags,
        launch.num_runs, num_columns, buffers.pitch, _lost_below(launch), M=launch.sum_block, K=launch.run, TILE_M=config.tile_m,
        TILE_K=config.tile_k, TILE_B=config.tile_b, TENSOR_CORES=config.uses_tensor_cores, num_warps=config.num_warps, num_stages=config.num_stages,
    )  # fmt: skip
    yield from _sum_guard(launch, config, products, params, buffers, batch)


def sum_max(launch: TritonSums, params, buffers: TritonBuffers, batch: int) -> Calls:
    """log max_c theta_{n,c} p_c of a group, after ``product_forward_paper``; exact, so no guard follows."""
    rows, tile_b = min(16, launch.sum_block), 64
    num_columns = columns(batch, tile_b)
    yield KernelCall.of(
        sum_max_kernel, (num_columns * (launch.num_sum_blocks * launch.sum_block // rows),),
        launch.nids, launch.cids, launch.pids, params, buffers.element_flows, buffers.logs, launch.num_runs, num_columns, buffers.pitch,
        launch.sum_block, launch.run, TILE_M=rows, TILE_K=min(32, 4096 // (rows * tile_b)), TILE_B=tile_b,
    )  # fmt: skip


def _registers(config: LaunchConfig) -> dict[str, int]:
    """At most 128 for each thread where eight warps are a program: with more, a multiprocessor has room for one program only."""
    return {"maxnreg": 128} if config.num_warps == 8 else {}


def _lost_below(launch: TritonSums, float32: bool = False) -> float:
    return 2.0 ** lost_log2(launch.num_runs * launch.run, float32)


def _sum_guard(launch: TritonSums, config: LaunchConfig, products: TritonProducts, params, buffers: TritonBuffers, batch: int) -> Calls:
    rows, num_columns = min(16, config.tile_m), columns(batch, PITCH)
    yield KernelCall.of(
        sum_guard_kernel, (num_columns * (launch.num_sum_blocks * launch.sum_block // rows),),
        launch.nids, launch.cids, launch.pids, params, products.factors, buffers.logs, buffers.flags, launch.num_runs, products.arity,
        products.num_rows, num_columns, buffers.pitch, launch.sum_block, launch.run, config.tile_m, config.tile_b, PAIRS=products.arity == 2,
        TILE_M=rows, TILE_K=UNIT, TILE_B=GUARD_B, SAMPLES=PITCH,
    )  # fmt: skip


def _most(level: bool) -> float:
    return LARGEST_RATIO if level else float("inf")


def param_flows(launch: TritonSums, config: LaunchConfig, buffers: TritonBuffers, flows: torch.Tensor, batch: int, level: bool = False) -> Calls:
    """Parameter flows of a group, without the factor theta and times FLOW_SCALE; after ``sum_ratios``."""
    width = launch.num_runs * launch.run
    num_columns = triton.cdiv(width, config.tile_k)
    ordered = buffers.lost_ratios is not None and launch.repeats
    num_blocks = len(launch.user_offsets) - 1 if ordered else launch.num_sum_blocks
    yield KernelCall.of(
        param_flows_kernel, (num_columns * (num_blocks * launch.sum_block // config.tile_m),),
        launch.users, launch.user_offsets, launch.cids, launch.pids, launch.units, buffers.elements, buffers.tops, buffers.ratios, buffers.ratio_tops,
        flows, launch.first_row, launch.first_unit, launch.num_runs, batch, num_columns, buffers.pitch, lost_log2(width), _most(level),
        launch.run, ONE_UNIT=launch.run >= config.tile_k, M=launch.sum_block, ROWS=min(UNIT, launch.sum_block), TILE_M=config.tile_m,
        TILE_K=config.tile_k, TILE_B=config.tile_b, TENSOR_CORES=config.uses_tensor_cores, REPEATS=launch.repeats, ORDERED=ordered, LEVEL=level,
        num_warps=config.num_warps, num_stages=config.num_stages,
    )  # fmt: skip


def sum_ratios(launch: TritonSums, buffers: TritonBuffers, batch: int, level: bool = False) -> Calls:
    """F_n / p_n of a group into ``buffers.ratios``; flags the lost sums that have flow."""
    rows, tile_b = min(UNIT, launch.sum_block), FLAG_B
    num_columns = columns(batch, tile_b)
    yield KernelCall.of(
        ratio_kernel, (num_columns * (launch.num_sum_blocks * launch.sum_block // rows),),
        launch.nids, launch.block_units, launch.num_nodes, buffers.logs, buffers.flows, buffers.tops, buffers.ratios, buffers.ratio_tops,
        buffers.ratio_tops if buffers.lost_ratios is None else buffers.lost_ratios, buffers.flags, launch.first_row, launch.first_unit,
        launch.block_units.shape[1], batch, num_columns, buffers.pitch, lost_log2(launch.num_runs * launch.run), _most(level), LEAST_FLOW,
        M=launch.sum_block, ROWS=rows, TILE_B=tile_b, KEEP=buffers.lost_ratios is not None, LEVEL=level,
    )  # fmt: skip


def flow_guard(
    launch: TritonSums, products: TritonProducts, params, buffers: TritonBuffers, flows: torch.Tensor, batch: int, level: bool = False
) -> Calls:
    """Flows of the lost sums of a group, to parameters and elements; flags are those of ``sum_ratios``."""
    rows, flag_m = min(16, launch.sum_block), min(UNIT, launch.sum_block)
    num_columns = columns(batch, PITCH)
    yield KernelCall.of(
        flow_guard_kernel, (num_columns * (launch.num_sum_blocks * launch.sum_block // rows),),
        launch.nids, launch.cids, launch.pids, launch.block_units, params, products.factors, buffers.logs, buffers.flows, buffers.tops,
        buffers.element_flows, flows, buffers.flags, launch.first_unit, launch.num_runs, launch.block_units.shape[1], products.arity,
        products.num_rows, batch, num_columns, buffers.pitch,
        lost_log2(launch.num_runs * launch.run), _most(level), LEAST_FLOW, launch.sum_block, launch.run, flag_m, PAIRS=products.arity == 2,
        TILE_M=rows, TILE_K=UNIT, TILE_B=GUARD_B, FLAG_B=FLAG_B, SAMPLES=PITCH,
    )  # fmt: skip


def lost_param_flows(launch: TritonSums, products: TritonProducts, params, buffers: TritonBuffers, flows: torch.Tensor, batch: int) -> Calls:
    """What ``flow_guard`` does for parameters, in a fixed order."""
    rows, tile_k = min(16, launch.sum_block), 32
    num_columns = triton.cdiv(launch.num_runs * launch.run, tile_k)
    num_blocks = len(launch.user_offsets) - 1 if launch.repeats else launch.num_sum_blocks
    yield KernelCall.of(
        lost_param_flows_kernel, (num_columns * (num_blocks * launch.sum_block // rows),),
        launch.users, launch.user_offsets, launch.cids, launch.pids, params, products.factors, buffers.logs, buffers.lost_ratios, buffers.flags,
        flows, launch.num_runs, launch.first_row, launch.first_unit, products.arity, products.num_rows, batch, num_columns, columns(batch, FLAG_B),
        buffers.pitch, M=launch.sum_block, K=launch.run, ROWS=min(UNIT, launch.sum_block), PAIRS=products.arity == 2, REPEATS=launch.repeats,
        TILE_M=rows, TILE_K=tile_k, TILE_B=GUARD_B, FLAG_B=FLAG_B,
    )  # fmt: skip


def lost_element_flows(launch: TritonElements, products: TritonProducts, params, buffers: TritonBuffers, batch: int) -> Calls:
    """What ``flow_guard`` does for elements, in a fixed order; after ``element_flows``."""
    rows, num_columns = min(32, launch.child_block), columns(batch, GUARD_B)
    yield KernelCall.of(
        lost_element_flows_kernel, (num_columns * (launch.num_child_blocks * launch.child_block // rows),),
        launch.chids, launch.parrows, launch.parunits, launch.parpids, params, products.factors, buffers.logs, buffers.lost_ratios, buffers.flags,
        buffers.element_flows, launch.num_parents, products.arity, products.num_rows, num_columns, buffers.pitch, M=launch.sum_block,
        K=launch.child_block, ROWS=min(UNIT, launch.sum_block), PAIRS=products.arity == 2, TILE_K=rows, TILE_B=GUARD_B, FLAG_B=FLAG_B,
    )  # fmt: skip


def element_flows(
    launch: TritonElements, config: LaunchConfig, half_params, buffers: TritonBuffers, batch: int, add: bool, level: bool = False
) -> Calls:
    """Flows of a group's child blocks into ``buffers.element_flows``; ``add`` to what other groups left there."""
    num_columns = columns(batch, config.tile_b)
    grid = (num_columns * (launch.num_child_blocks * launch.child_block // config.tile_k),)
    arguments = (
        launch.chids, launch.units, launch.parrows, launch.parunits, launch.parpids, launch.steps, half_params, buffers.elements, buffers.tops,
        buffers.ratios, buffers.ratio_tops, buffers.element_flows, launch.num_parents, num_columns, buffers.pitch, -31.0,
    )  # fmt: skip
    sizes = {
        "M": launch.sum_block, "K": launch.child_block, "ROWS": min(UNIT, launch.sum_block), "TILE_M": config.tile_m, "TILE_K": config.tile_k,
        "TILE_B": config.tile_b, "EVEN": launch.even, "ADD": add, "num_warps": config.num_warps, "num_stages": config.num_stages,
    }  # fmt: skip
    if config.uses_tensor_cores:
        yield KernelCall.of(element_flows_kernel, grid, *arguments, _most(level), **sizes, LEVEL=level)
    else:
        yield KernelCall.of(element_flows_small_kernel, grid, *arguments, **sizes)


def product_flows(launch: TritonFactors, buffers: TritonBuffers, batch: int, add: bool) -> Calls:
    """Flows of the products of a layer to their factors; ``add``: to the flows that there are."""
    rows, tile_b = min(UNIT, launch.width), 64
    num_columns = columns(batch, tile_b)
    yield KernelCall.of(
        product_flows_kernel, (num_columns * (len(launch.nids) * (launch.width // rows)),),
        launch.nids,
        launch.parents,
        launch.offsets,
        buffers.element_flows,
        buffers.flows,
        num_columns,
        buffers.pitch,
        WIDTH=launch.width,
        ROWS=rows,
        TILE_B=tile_b,
        ADD=add,
        num_warps=8,
    )


def input_flows(launch: TritonInputs, table, observed, buffers: TritonBuffers, flows: torch.Tensor, batch: int) -> Calls:
    x = buffers.reals if launch.is_gaussian else buffers.categories
    mask, has_mask = (x, False) if observed is None else (observed, True)
    rows = min(UNIT, triton.next_power_of_2(launch.stride))
    if launch.is_gaussian:
        rows = min(16, rows)
        yield KernelCall.of(
            gaussian_flows_kernel, (launch.num_tables, triton.cdiv(launch.stride, rows)),
            launch.variables, launch.table_vectors, launch.table_offsets, table, x, mask, buffers.flows, flows, launch.start, launch.stride, batch,
            buffers.pitch, x.stride(0), HAS_MASK=has_mask, ROWS=rows, TILE_B=128,
        )  # fmt: skip
    elif launch.num_cats > MANY_CATEGORIES and buffers.lost_ratios is None:
        tile_b = 32
        yield KernelCall.of(
            input_scatter_kernel, (columns(batch, tile_b), len(launch.variables), triton.cdiv(launch.stride, rows)),
            launch.variables, launch.table_ids, x, mask, buffers.flows, flows, launch.start, launch.stride, launch.num_cats, batch,
            buffers.pitch, x.stride(0), HAS_MASK=has_mask, ROWS=rows, TILE_B=tile_b,
        )  # fmt: skip
    else:
        config = input_flows_config(launch.stride, launch.num_cats)
        grid = launch.num_tables, triton.cdiv(launch.stride, config.tile_m), triton.cdiv(launch.num_cats, config.tile_k)
        yield KernelCall.of(
            input_flows_kernel, grid,
            launch.variables, launch.table_vectors, launch.table_offsets, x, mask, buffers.flows, flows, launch.start, launch.num_cats, batch,
            buffers.pitch, x.stride(0), HAS_MASK=has_mask, STRIDE=launch.stride, ROWS=config.tile_m, CATS=config.tile_k, TILE_B=config.tile_b,
            num_warps=config.num_warps,
        )  # fmt: skip


def em_sums(launch: TritonSums, params, half_params, flows, settings: torch.Tensor) -> Calls:
    """One EM step of the parameters that this group is the first to use; their flows are cleared. ``settings``: float32
    [step size, pseudocount], on the device so that a recorded graph of launches reads them anew."""
    config, num_blocks = em_config(launch.sum_block, launch.num_runs * launch.run), len(launch.em_pids)
    if num_blocks:
        yield KernelCall.of(
            em_sums_kernel, (num_blocks * launch.sum_block // config.tile_m,),
            launch.em_pids, params, half_params, flows, launch.num_runs, settings,
            M=launch.sum_block, K=launch.run, TILE_M=config.tile_m, TILE_K=config.tile_k, num_warps=config.num_warps,
        )  # fmt: skip


def em_inputs(launch: TritonInputs, table: torch.Tensor, flows: torch.Tensor, settings: torch.Tensor) -> Calls:
    """One EM step of the tables; their flows are cleared."""
    if launch.is_gaussian:
        rows = em_gaussian_config(launch.stride).tile_m
        grid = launch.num_tables, triton.cdiv(launch.stride, rows)
        yield KernelCall.of(em_gaussian_kernel, grid, table, flows, launch.stride, launch.min_sigma, settings, ROWS=rows)
    else:
        config = em_inputs_config(launch.stride, launch.num_cats)
        yield KernelCall.of(
            em_inputs_kernel, (launch.num_tables, triton.cdiv(launch.stride, config.tile_m)), table, flows, launch.num_cats, settings,
            STRIDE=launch.stride, ROWS=config.tile_m, CATS=config.tile_k, AT_ONCE=launch.num_cats <= config.tile_k, num_warps=config.num_warps,
        )  # fmt: skip
