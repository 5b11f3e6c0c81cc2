"""EM kernels (paper, section 5): theta <- (1 - step) theta + step (F + pc / n) / sum_c (F + pc / n), zeros stay zero."""

import triton
import triton.language as tl

from .triton_primitives import to_half


@triton.jit(do_not_specialize=["num_children", "sum_block", "run"])
def em_sums_kernel(pids, weights, half_params, param_flows, num_children, settings, sum_block, run,
                   TILE_M: tl.constexpr, TILE_K: tl.constexpr):  # fmt: skip
    """A program owns TILE_M sums of one block: totals over all their children, then the update. Flows are cleared."""
    step_size, pseudocount = tl.load(settings), tl.load(settings + 1)
    g = tl.program_id(0) // (sum_block // TILE_M)
    m = tl.program_id(0) % (sum_block // TILE_M) * TILE_M + tl.arange(0, TILE_M)
    total = tl.zeros([TILE_M], tl.float32)
    edges = tl.zeros([TILE_M], tl.float32)
    for step in range(tl.cdiv(num_children * run, TILE_K)):
        k = step * TILE_K + tl.arange(0, TILE_K)
        inside = k < num_children * run
        pid = tl.load(pids + g * num_children + k // run, mask=inside, other=0).to(tl.int64)
        at = (pid + k % run * sum_block)[:, None] + m[None, :]
        mask = (inside & (pid > 0))[:, None] & (m < sum_block)[None, :]
        theta = tl.load(weights + at, mask=mask, other=0.0)
        total += tl.sum(theta * tl.load(param_flows + at, mask=mask, other=0.0), axis=0)
        edges += tl.sum((theta > 0).to(tl.float32), axis=0)
    total = total * 1099511627776.0 + tl.where(edges > 0, pseudocount, 0.0)  # 2^40: launches.FLOW_SCALE
    share = pseudocount / tl.maximum(edges, 1.0)
    for step in range(tl.cdiv(num_children * run, TILE_K)):
        k = step * TILE_K + tl.arange(0, TILE_K)
        inside = k < num_children * run
        pid = tl.load(pids + g * num_children + k // run, mask=inside, other=0).to(tl.int64)
        at = (pid + k % run * sum_block)[:, None] + m[None, :]
        mask = (inside & (pid > 0))[:, None] & (m < sum_block)[None, :]
        theta = tl.load(weights + at, mask=mask, other=0.0)
        count = theta * tl.load(param_flows + at, mask=mask, other=0.0) * 1099511627776.0
        target = (count + tl.where(theta > 0, share[None, :], 0.0)) / total[None, :]
        theta = tl.where((total > 0)[None, :], theta + step_size * (target - theta), theta)
        tl.store(weights + at, theta, mask=mask)
        tl.store(half_params + at, to_half(theta), mask=mask)
        tl.store(param_flows + at, tl.zeros([TILE_K, TILE_M], tl.float32), mask=mask)


@triton.jit(do_not_specialize=["stride", "num_cats"])
def em_inputs_kernel(table, table_flows, stride, num_cats, settings, ROWS: tl.constexpr, CATS: tl.constexpr):
    """The same over the categories of input nodes; tables [T, num_cats, stride]. A program owns ROWS nodes of one table."""
    step_size, pseudocount = tl.load(settings), tl.load(settings + 1)
    first = tl.program_id(0).to(tl.int64) * num_cats
    r = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    total = tl.zeros([ROWS], tl.float32)
    nonzero = tl.zeros([ROWS], tl.float32)
    for step in range(tl.cdiv(num_cats, CATS)):
        k = step * CATS + tl.arange(0, CATS)
        at = (first + k)[:, None] * stride + r[None, :]
        mask = (k < num_cats)[:, None] & (r < stride)[None, :]
        theta = tl.load(table + at, mask=mask, other=0.0)
        total += tl.sum(tl.load(table_flows + at, mask=mask, other=0.0), axis=0)
        nonzero += tl.sum((theta > 0).to(tl.float32), axis=0)
    total += tl.where(nonzero > 0, pseudocount, 0.0)
    share = pseudocount / tl.maximum(nonzero, 1.0)
    for step in range(tl.cdiv(num_cats, CATS)):
        k = step * CATS + tl.arange(0, CATS)
        at = (first + k)[:, None] * stride + r[None, :]
        mask = (k < num_cats)[:, None] & (r < stride)[None, :]
        theta = tl.load(table + at, mask=mask, other=0.0)
        count = tl.load(table_flows + at, mask=mask, other=0.0)
        target = (count + tl.where(theta > 0, share[None, :], 0.0)) / total[None, :]
        tl.store(table + at, tl.where((total > 0)[None, :], theta + step_size * (target - theta), theta), mask=mask)
        tl.store(table_flows + at, tl.zeros([CATS, ROWS], tl.float32), mask=mask)
