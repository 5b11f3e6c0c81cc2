"""EM kernels (paper, section 5): theta <- (1 - step) theta + step (F + pc / n) / sum_c (F + pc / n), zeros stay zero."""

import triton
import triton.language as tl

from .triton_primitives import to_half


@triton.jit
def _step_cells(pids, first, step, num_children, m, M: tl.constexpr, K: tl.constexpr, TILE_K: tl.constexpr):
    """Places [TILE_K, TILE_M] of the parameters of a step, and which of them there are."""
    if K >= TILE_K:  # inside one run
        pid = tl.multiple_of(tl.load(pids + first + step // (K // TILE_K)), M)
        k = step % (K // TILE_K) * TILE_K + tl.arange(0, TILE_K)
        return (pid.to(tl.int64) + k * M)[:, None] + m[None, :], (k < K)[:, None] & (pid > 0)
    else:
        k = step * TILE_K + tl.arange(0, TILE_K)
        inside = k < num_children * K
        pid = tl.multiple_of(tl.load(pids + first + k // K, mask=inside, other=0), [M])
        return (pid.to(tl.int64) + k % K * M)[:, None] + m[None, :], (inside & (pid > 0))[:, None]


@triton.jit
def _total(counts, edges, pseudocount):
    """[columns] the denominator, and each edge's share of the pseudocount."""
    num_edges = tl.sum(edges, axis=0)
    return tl.sum(counts, axis=0) + tl.where(num_edges > 0, pseudocount, 0.0), pseudocount / tl.maximum(num_edges, 1.0)


@triton.jit
def _moved(theta, count, total, share, step_size):
    target = (count + tl.where(theta > 0, share[None, :], 0.0)) / total[None, :]
    return tl.where((total > 0)[None, :], theta + step_size * (target - theta), theta)


@triton.jit(do_not_specialize=["num_children"])
def em_sums_kernel(pids, weights, half_params, param_flows, num_children, settings,
                   M: tl.constexpr, K: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr):  # fmt: skip
    """A program owns TILE_M sums of one block: totals over all their children, then the update. Flows are cleared."""
    step_size, pseudocount = tl.load(settings), tl.load(settings + 1)
    first = tl.program_id(0) // (M // TILE_M) * num_children
    m = tl.program_id(0) % (M // TILE_M) * TILE_M + tl.arange(0, TILE_M)
    counts = tl.zeros([TILE_K, TILE_M], tl.float32)
    edges = tl.zeros([TILE_K, TILE_M], tl.float32)
    for step in range(tl.cdiv(num_children * K, TILE_K)):
        at, mask = _step_cells(pids, first, step, num_children, m, M, K, TILE_K)
        theta = tl.load(weights + at, mask=mask, other=0.0)
        counts += theta * tl.load(param_flows + at, mask=mask, other=0.0)
        edges += (theta > 0).to(tl.float32)
    total, share = _total(counts * 1099511627776.0, edges, pseudocount)  # 2^40: launches.FLOW_SCALE
    for step in range(tl.cdiv(num_children * K, TILE_K)):
        at, mask = _step_cells(pids, first, step, num_children, m, M, K, TILE_K)
        theta = tl.load(weights + at, mask=mask, other=0.0)
        count = theta * tl.load(param_flows + at, mask=mask, other=0.0) * 1099511627776.0
        theta = _moved(theta, count, total, share, step_size)
        tl.store(weights + at, theta, mask=mask)
        tl.store(half_params + at, to_half(theta), mask=mask)
        tl.store(param_flows + at, tl.zeros([TILE_K, TILE_M], tl.float32), mask=mask)


@triton.jit
def _table_cells(step, num_cats, STRIDE: tl.constexpr, ROWS: tl.constexpr, CATS: tl.constexpr):
    """Places [CATS, ROWS] of the categories of a step, and which of them there are."""
    k = step * CATS + tl.arange(0, CATS)
    r = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(0).to(tl.int64) * num_cats
    return (first + k)[:, None] * STRIDE + r[None, :], (k < num_cats)[:, None] & (r < STRIDE)[None, :]


@triton.jit(do_not_specialize=["num_cats"])
def em_inputs_kernel(table, table_flows, num_cats, settings, STRIDE: tl.constexpr, ROWS: tl.constexpr, CATS: tl.constexpr,
                     AT_ONCE: tl.constexpr):  # fmt: skip
    """The same over the categories of input nodes; tables [T, num_cats, stride]. A program owns ROWS nodes of one table; where it can
    hold all their categories AT_ONCE, it reads them once."""
    step_size, pseudocount = tl.load(settings), tl.load(settings + 1)
    if AT_ONCE:
        at, mask = _table_cells(0, num_cats, STRIDE, ROWS, CATS)
        theta = tl.load(table + at, mask=mask, other=0.0)
        count = tl.load(table_flows + at, mask=mask, other=0.0)
        total, share = _total(count, (theta > 0).to(tl.float32), pseudocount)
        tl.store(table + at, _moved(theta, count, total, share, step_size), mask=mask)
        tl.store(table_flows + at, tl.zeros([CATS, ROWS], tl.float32), mask=mask)
    else:
        counts = tl.zeros([CATS, ROWS], tl.float32)
        edges = tl.zeros([CATS, ROWS], tl.float32)
        for step in range(tl.cdiv(num_cats, CATS)):
            at, mask = _table_cells(step, num_cats, STRIDE, ROWS, CATS)
            counts += tl.load(table_flows + at, mask=mask, other=0.0)
            edges += (tl.load(table + at, mask=mask, other=0.0) > 0).to(tl.float32)
        total, share = _total(counts, edges, pseudocount)
        for step in range(tl.cdiv(num_cats, CATS)):
            at, mask = _table_cells(step, num_cats, STRIDE, ROWS, CATS)
            theta = tl.load(table + at, mask=mask, other=0.0)
            count = tl.load(table_flows + at, mask=mask, other=0.0)
            tl.store(table + at, _moved(theta, count, total, share, step_size), mask=mask)
            tl.store(table_flows + at, tl.zeros([CATS, ROWS], tl.float32), mask=mask)
