"""Forward kernels: inputs, products, sums (paper, sections 2, 4.1 and 4.2).

A sum block is a plain matrix product, each unit of children brought to the largest scale among them: of float16 values, or where
elements and parameters are float32, of those (``variant="float32"``: the same kernels, on CUDA cores). Sums too far below
that scale (kernels/README.md, "Guard") are marked and computed again by ``sum_guard``.
Orientation: the batch is the first axis of every matrix product, so that narrow sum blocks still fill the tensor cores.
"""

import triton
import triton.language as tl

from .triton_primitives import UNIT, any_flag, bits_of, block_top, child_logs, fast_log2, finite, log2_of, product_logs, stored, to_half, unscaled

LOST = tl.constexpr(float("inf"))  # log p of a sum that sum_guard has to compute


@triton.jit(do_not_specialize=["start", "stride", "num_cats", "batch"])
def input_forward_kernel(variables, num_nodes, table_ids, table, x, observed, logs, hidden, start, stride, num_cats, batch, pitch, x_pitch,
                         HAS_MASK: tl.constexpr, MAX: tl.constexpr, EXACT: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """log p_n(x) = log theta_{n, x_v}; where v is hidden 0, or (MAX) the logarithm of its largest, in ``hidden`` [T, stride]. A program
    owns [ROWS, TILE_B] of one vector. EXACT: see ``log2_of``."""
    v = tl.program_id(1)
    b = tl.program_id(0) * TILE_B + tl.arange(0, TILE_B)
    r = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    variable = tl.load(variables + v).to(tl.int64)
    category = tl.load(x + variable * x_pitch + b, mask=b < batch, other=0)
    row = tl.load(table_ids + v).to(tl.int64) * num_cats + category
    p = tl.load(table + row[:, None] * stride + r[None, :], mask=(r < stride)[None, :], other=0.0)  # [TILE_B, ROWS]
    value = log2_of(p, EXACT)
    if HAS_MASK:
        seen = tl.load(observed + variable * x_pitch + b, mask=b < batch, other=1)
        real = r < tl.load(num_nodes + v)
        unseen = tl.zeros([ROWS], tl.float32)
        if MAX:
            unseen = tl.load(hidden + tl.load(table_ids + v) * stride + r, mask=real, other=0.0)
        value = tl.where((seen == 0)[:, None] & real[None, :], unseen[None, :], value)
    row = start + v.to(tl.int64) * stride + r
    tl.store(logs + row[:, None] * pitch + b[None, :], tl.trans(value), mask=(r < stride)[:, None])


@triton.jit(do_not_specialize=["num_columns", "arity", "num_rows", "batch"])
def product_forward_kernel(unit_starts, unit_rows, factors, logs, elements, tops, readers, block_tops, arity, num_rows, batch, num_columns, pitch,
                           PAIRS: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr, LEVEL: tl.constexpr):  # fmt: skip
    """p_c = prod_n p_n. A program owns a unit of elements and TILE_B samples: sums of logarithms, scaled to the largest; or (LEVEL, backward)
    to the largest of all children of a sum block that reads the unit, which the forward pass has left in ``block_tops``. Programs go
    through all units before the next samples: so L2 keeps the factors that several units have."""
    num_all = tl.num_programs(0) // num_columns
    column, unit = tl.program_id(0) // num_all, tl.program_id(0) % num_all
    b = column * TILE_B + tl.arange(0, TILE_B)
    start = tl.load(unit_starts + unit)
    r = tl.arange(0, ROWS)
    valid = r < tl.load(unit_rows + unit)
    if LEVEL:  # asked for before the factors: it comes meanwhile
        top = tl.load(block_tops + tl.load(readers + unit).to(tl.int64) * pitch + b)
    total = product_logs(factors, logs, start + r, valid, b, arity, num_rows, pitch, PAIRS)
    total = tl.where((b < batch)[None, :], total, -float("inf"))  # columns past the batch: p = 0
    if not LEVEL:
        top = tl.max(total, axis=0)
    value = stored(tl.exp2(total - finite(top)[None, :]), elements.dtype.element_ty)
    tl.store(elements + (start + r).to(tl.int64)[:, None] * pitch + b[None, :], value, mask=valid[:, None])
    tl.store(tops + unit.to(tl.int64) * pitch + b, top)


@triton.jit(do_not_specialize=["num_columns", "num_children", "num_units", "first_block", "lost_below"])
def sum_forward_kernel(nids, cids, pids, units, block_units, num_nodes, weights, elements, tops, block_tops, logs, flags,
                       num_children, num_units, first_block, num_columns, pitch, lost_below,
                       M: tl.constexpr, K: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr,
                       LEVEL: tl.constexpr):  # fmt: skip
    """p_n = sum_c theta_{n,c} p_c on tensor cores, in float32 on CUDA cores. A program owns [TILE_M, TILE_B] sums and walks over their
    children. LEVEL: the largest scale of a block's children is kept for the backward pass.

    "ieee" asks for all bits of float32 operands, and says nothing of others. A tile of parameters begins at a multiple of its size;
    told so, the compiler loads 16 bytes at a time, ahead of the step.
    """
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile // (M // TILE_M)
    m = tile % (M // TILE_M) * TILE_M + tl.arange(0, TILE_M)
    b = column * TILE_B + tl.arange(0, TILE_B)
    top = block_top(tops, block_units + g * num_units, num_units, pitch, b)
    base = finite(top)
    acc = tl.zeros([TILE_B, TILE_M], tl.float32)
    first = g * num_children
    if K > TILE_K:  # runs of several steps
        for e in range(first, first + num_children):
            row, pid, unit = tl.load(cids + e).to(tl.int64), tl.multiple_of(tl.load(pids + e), 16).to(tl.int64), tl.load(units + e).to(tl.int64)
            for j in range(0, K, TILE_K):
                k = j + tl.arange(0, TILE_K)
                x = tl.load(elements + (row + k)[:, None] * pitch + b[None, :])  # [TILE_K, TILE_B]
                theta = tl.load(weights + pid + k[:, None] * M + m[None, :])  # [TILE_K, TILE_M]
                scale = tl.load(tops + (unit + j // UNIT) * pitch + b)
                acc += tl.dot(tl.trans(x), theta, input_precision="ieee") * tl.exp2(scale - base)[:, None]
    elif K == TILE_K:
        for e in range(first, first + num_children):
            k = tl.arange(0, TILE_K)
            row = tl.load(cids + e).to(tl.int64) + k
            x = tl.load(elements + row[:, None] * pitch + b[None, :])
            theta = tl.load(weights + tl.multiple_of(tl.load(pids + e), 16).to(tl.int64) + k[:, None] * M + m[None, :])
            scale = tl.load(tops + tl.load(units + e).to(tl.int64) * pitch + b)
            acc += tl.dot(tl.trans(x), theta, input_precision="ieee") * tl.exp2(scale - base)[:, None]
    else:  # a step spans child blocks, each on its own scale
        for step in range(tl.cdiv(num_children * K, TILE_K)):
            k = step * TILE_K + tl.arange(0, TILE_K)
            inside = k < num_children * K
            e = first + k // K
            row = tl.load(cids + e, mask=inside, other=0).to(tl.int64) + k % K
            unit = tl.load(units + e, mask=inside, other=0).to(tl.int64)
            x = tl.load(elements + row[:, None] * pitch + b[None, :]).to(tl.float32)
            x *= tl.exp2(tl.load(tops + unit[:, None] * pitch + b[None, :]) - base[None, :])
            at = tl.multiple_of(tl.load(pids + e, mask=inside, other=0), [16]).to(tl.int64) + k % K * M
            theta = tl.load(weights + at[:, None] + m[None, :], mask=inside[:, None], other=0.0)
            acc += tl.dot(tl.trans(x.to(theta.dtype)), theta, input_precision="ieee")
    value = unscaled(tl.trans(acc), elements.dtype.element_ty)
    lost = (value < lost_below) & (top > -float("inf"))[None, :] & (m < tl.load(num_nodes + g))[:, None]
    row = tl.load(nids + g).to(tl.int64) + m
    tl.store(logs + row[:, None] * pitch + b[None, :], tl.where(lost, LOST, log2_of(value, elements.dtype.element_ty == tl.float32) + top[None, :]))
    if LEVEL:
        tl.store(block_tops + (first_block + g).to(tl.int64) * pitch + b, top)
    tl.store(flags + tile * num_columns + column, tl.max(lost.to(tl.int32)))


@triton.jit(do_not_specialize=["num_columns", "num_children", "num_units", "lost_below"])
def sum_forward_small_kernel(nids, cids, pids, units, block_units, num_nodes, weights, elements, tops, logs, flags,
                             num_children, num_units, num_columns, pitch, lost_below,
                             M: tl.constexpr, K: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """The same for sum blocks below 16 rows, without tensor cores: TILE_M = M rows, children gathered TILE_K at a time."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile
    m = tl.arange(0, M)
    b = column * TILE_B + tl.arange(0, TILE_B)
    top = block_top(tops, block_units + g * num_units, num_units, pitch, b)
    base = finite(top)
    acc = tl.zeros([TILE_K, M, TILE_B], tl.float32)
    first = g * num_children
    for step in range(tl.cdiv(num_children * K, TILE_K)):
        k = step * TILE_K + tl.arange(0, TILE_K)
        inside = k < num_children * K
        e = first + k // K
        row = tl.load(cids + e, mask=inside, other=0).to(tl.int64) + k % K
        unit = (tl.load(units + e, mask=inside, other=0) + k % K // UNIT).to(tl.int64)
        x = tl.load(elements + row[:, None] * pitch + b[None, :]).to(tl.float32)
        x *= tl.exp2(tl.load(tops + unit[:, None] * pitch + b[None, :]) - base[None, :])
        at = tl.load(pids + e, mask=inside, other=0).to(tl.int64) + k % K * M
        theta = tl.load(weights + at[:, None] + m[None, :], mask=inside[:, None], other=0.0).to(tl.float32)
        acc += theta[:, :, None] * x[:, None, :]
    value = unscaled(tl.sum(acc, axis=0), elements.dtype.element_ty)
    lost = (value < lost_below) & (top > -float("inf"))[None, :] & (m < tl.load(num_nodes + g))[:, None]
    row = tl.load(nids + g).to(tl.int64) + m
    tl.store(logs + row[:, None] * pitch + b[None, :], tl.where(lost, LOST, log2_of(value, elements.dtype.element_ty == tl.float32) + top[None, :]))
    tl.store(flags + tile * num_columns + column, tl.max(lost.to(tl.int32)))


@triton.jit(do_not_specialize=["num_columns", "arity", "num_children", "num_rows", "sum_block", "run", "flag_m", "flag_b"])
def sum_guard_kernel(nids, cids, pids, weights, factors, logs, flags, num_children, arity, num_rows, num_columns, pitch,
                     sum_block, run, flag_m, flag_b, PAIRS: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr,
                     TILE_B: tl.constexpr, SAMPLES: tl.constexpr):  # fmt: skip
    """Exact log-sum-exp of the sums that ``sum_forward`` marked as lost, from float32 parameters and their own children's logarithms.
    A program looks after TILE_M sums and SAMPLES samples, TILE_B at a time; where no flag is set, it ends at once."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile // (sum_block // TILE_M)
    first_m = tile % (sum_block // TILE_M) * TILE_M
    flags += tile * TILE_M // flag_m * (num_columns * SAMPLES // flag_b)
    if any_flag(flags, column * SAMPLES, flag_b, SAMPLES):
        at = logs + (tl.load(nids + g).to(tl.int64) + first_m + tl.arange(0, TILE_M))[:, None] * pitch
        for first in range(column * SAMPLES, (column + 1) * SAMPLES, TILE_B):
            b = first + tl.arange(0, TILE_B)
            lost = bits_of(tl.load(at + b[None, :]) == LOST, TILE_M)
            for i in range(TILE_M):
                if (lost >> i) & 1 != 0:
                    _sum_again(nids, cids, pids, weights, factors, logs, g, first_m + i, b, num_children, arity, num_rows, pitch, sum_block, run,
                               PAIRS, TILE_K)  # fmt: skip


@triton.jit
def _sum_again(nids, cids, pids, weights, factors, logs, g, m, b, num_children, arity, num_rows, pitch, sum_block, run,
               PAIRS: tl.constexpr, TILE_K: tl.constexpr):  # fmt: skip
    """One sum, for those of the samples ``b`` where it is lost."""
    at = logs + (tl.load(nids + g).to(tl.int64) + m) * pitch + b
    lost = tl.load(at) == LOST
    best = tl.full(b.shape, -float("inf"), tl.float32)
    total = tl.zeros(b.shape, tl.float32)
    for step in range(tl.cdiv(num_children * run, TILE_K)):
        own, theta, _, _, _ = child_logs(cids, pids, weights, factors, logs, g, m, step, b, num_children, arity, num_rows, pitch, sum_block, run,
                                         PAIRS, TILE_K)  # fmt: skip
        terms = tl.where((theta > 0)[:, None], tl.log2(theta)[:, None] + own, -float("inf"))
        new = tl.maximum(best, tl.max(terms, axis=0))
        total = total * tl.exp2(best - finite(new)) + tl.sum(tl.exp2(terms - finite(new)[None, :]), axis=0)
        best = new
    tl.store(at, tl.log2(total) + finite(best), mask=lost)


@triton.jit(do_not_specialize=["num_columns", "arity", "num_rows", "batch"])
def product_logs_kernel(unit_starts, unit_rows, factors, logs, elements, arity, num_rows, batch, num_columns, pitch,
                        PAIRS: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """log p_c of a unit of elements, float32: what the kernel of the paper reads."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    b = column * TILE_B + tl.arange(0, TILE_B)
    rows = tl.load(unit_starts + tile) + tl.arange(0, ROWS)
    valid = tl.arange(0, ROWS) < tl.load(unit_rows + tile)
    total = product_logs(factors, logs, rows, valid, b, arity, num_rows, pitch, PAIRS)
    total = tl.where((b < batch)[None, :], total, -float("inf"))
    tl.store(elements + rows.to(tl.int64)[:, None] * pitch + b[None, :], total, mask=valid[:, None])


@triton.jit(do_not_specialize=["num_columns", "num_children", "lost_below"])
def sum_forward_paper_kernel(nids, cids, pids, num_nodes, weights, elements, logs, flags, num_children, num_columns, pitch, lost_below,
                             M: tl.constexpr, K: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr,
                             TENSOR_CORES: tl.constexpr):  # fmt: skip
    """The kernel of the paper (section 4.1): log-sum-exp with a running maximum, over logarithms of the children.

    A program owns [TILE_M, TILE_B] sums. Each step takes TILE_K children, brings them to the largest value seen so far,
    multiplies by the parameters, and adds to an accumulator that is brought to the new maximum.
    """
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile // (M // TILE_M)
    m = tile % (M // TILE_M) * TILE_M + tl.arange(0, TILE_M)
    b = column * TILE_B + tl.arange(0, TILE_B)
    largest = tl.full([TILE_B], -float("inf"), tl.float32)
    acc = tl.zeros([TILE_B, TILE_M], tl.float32)
    for step in range(tl.cdiv(num_children * K, TILE_K)):
        k = step * TILE_K + tl.arange(0, TILE_K)
        inside = k < num_children * K
        e = g * num_children + k // K
        row = tl.load(cids + e, mask=inside, other=0).to(tl.int64) + k % K
        child = tl.load(elements + row[:, None] * pitch + b[None, :], mask=inside[:, None], other=-float("inf"))  # [TILE_K, TILE_B] log p
        at = tl.load(pids + e, mask=inside, other=0).to(tl.int64) + k % K * M
        theta = tl.load(weights + at[:, None] + m[None, :], mask=inside[:, None], other=0.0)  # [TILE_K, TILE_M]
        new = tl.maximum(largest, tl.max(child, axis=0))
        x = to_half(tl.exp2(child - finite(new)[None, :]))
        if TENSOR_CORES:
            products = tl.dot(tl.trans(x), theta)
        else:
            products = tl.trans(tl.sum(theta.to(tl.float32)[:, :, None] * x.to(tl.float32)[:, None, :], axis=0))
        acc = acc * tl.exp2(largest - finite(new))[:, None] + products
        largest = new
    value = unscaled(tl.trans(acc), tl.float16)
    lost = (value < lost_below) & (largest > -float("inf"))[None, :] & (m < tl.load(num_nodes + g))[:, None]
    row = tl.load(nids + g).to(tl.int64) + m
    tl.store(logs + row[:, None] * pitch + b[None, :], tl.where(lost, LOST, fast_log2(value) + largest[None, :]))
    tl.store(flags + tile * num_columns + column, tl.max(lost.to(tl.int32)))
