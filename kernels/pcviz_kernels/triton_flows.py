"""Backward kernels (paper, section 5): parameter flows, element flows, flows of nodes and of input tables.

With F_n = d log p_root / d log p_n, an edge has F_{n,c} = theta_{n,c} p_c (F_n / p_n). The ratio F / p of a sum is stored once as
float16 (``ratios``), so that both products of the backward pass are plain matrix products: on a scale of its unit, which each step
brings together with that of the elements, or in a level layer on the scale of the sum's children, where nothing is left to bring together.
"""

import triton
import triton.language as tl

from .triton_primitives import FLOW_SCALE_LOG2, UNIT, any_flag, bits_of, block_top, child_logs, fast_log2, finite, is_lost, to_half

WIDE = tl.constexpr(512)  # samples of a reduction over the batch


@triton.jit(do_not_specialize=["num_columns", "first_row", "first_unit", "num_units", "batch", "lost_log2", "most", "least_flow"])
def ratio_kernel(nids, block_units, num_nodes, logs, flows, tops, ratios, ratio_tops, lost_ratios, flags, first_row, first_unit, num_units, batch,
                 num_columns, pitch, lost_log2, most, least_flow, M: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr,
                 KEEP: tl.constexpr, LEVEL: tl.constexpr):  # fmt: skip
    """F_n / p_n of a unit of sums, scaled to its largest, or (LEVEL) to 2^most over the scale of the children: then no scale is left in
    the product of a child's value and a ratio. Lost sums get 0 here and their flows from ``flow_guard``, or (KEEP) from the kernels of
    triton_ordered.py, which find log2 F / p in ``lost_ratios``."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile // (M // ROWS)
    m = tile % (M // ROWS) * ROWS + tl.arange(0, ROWS)
    b = column * TILE_B + tl.arange(0, TILE_B)
    top = block_top(tops, block_units + g * num_units, num_units, pitch, b)
    real = (m < tl.load(num_nodes + g))[:, None]
    at = (tl.load(nids + g).to(tl.int64) + m)[:, None] * pitch + b[None, :]
    log_p = tl.load(logs + at, mask=real, other=-float("inf"))
    flow = tl.where((b < batch)[None, :], tl.load(flows + at, mask=real, other=0.0), 0.0)
    log_flow = fast_log2(flow)
    lost = is_lost(log_p, log_flow, top[None, :], lost_log2, most)
    log_ratio = tl.where((flow > 0) & (lost == 0) & (log_p > -float("inf")), log_flow - log_p, -float("inf"))
    if LEVEL:
        largest = tl.where(top > -float("inf"), most - top, -float("inf"))
    else:
        largest = tl.max(log_ratio, axis=0)
    row = first_row + g.to(tl.int64) * M + m
    tl.store(ratios + row[:, None] * pitch + b[None, :], to_half(tl.exp2(log_ratio - finite(largest)[None, :])))
    tl.store(ratio_tops + (first_unit + tile).to(tl.int64) * pitch + b, largest)
    missed = lost & (flow > least_flow) & (log_p > -float("inf"))
    tl.store(flags + (first_unit + tile) * num_columns + column, tl.max(missed.to(tl.int32)))
    if KEEP:
        tl.store(lost_ratios + row[:, None] * pitch + b[None, :], tl.where(missed, log_flow - log_p, -float("inf")))


@triton.jit
def _child_rows(cids, units, g, k, inside, num_children, run):
    """Element rows of the children ``k`` of sum block g, and their units."""
    e = g * num_children + k // run
    row = tl.load(cids + e, mask=inside, other=0).to(tl.int64) + k % run
    return row, (tl.load(units + e, mask=inside, other=0) + k % run // UNIT).to(tl.int64)


@triton.jit
def _level_flows(cids, elements, ratios, g, first_m, first_k, first_row, num_children, batch, pitch, most, run, M: tl.constexpr,
                 TILE_M: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """[TILE_K, TILE_M] sum over the batch of p_c F_n / p_n for sum block g of a level layer, whose products are on one scale."""
    k = first_k + tl.arange(0, TILE_K)
    row = tl.load(cids + g * num_children + k // run, mask=k < num_children * run, other=0).to(tl.int64) + k % run
    ratio_row = first_row + g.to(tl.int64) * M + first_m + tl.arange(0, TILE_M)
    acc = tl.zeros([TILE_K, TILE_M], tl.float32)
    for step in range(tl.cdiv(batch, TILE_B)):
        b = step * TILE_B + tl.arange(0, TILE_B)
        x = tl.load(elements + row[:, None] * pitch + b[None, :])  # [TILE_K, TILE_B]
        ratio = tl.load(ratios + ratio_row[:, None] * pitch + b[None, :])  # [TILE_M, TILE_B]
        acc = tl.dot(x, tl.trans(ratio), acc)
    return acc * tl.exp2(most + (FLOW_SCALE_LOG2 - 30.0))


@triton.jit
def _tile_flows(cids, units, elements, tops, ratios, ratio_tops, g, first_m, first_k, first_row, first_unit, num_children, batch, pitch, lost_log2,
                run, ONE_UNIT: tl.constexpr, M: tl.constexpr, ROWS: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr,
                TILE_B: tl.constexpr):  # fmt: skip
    """[TILE_K, TILE_M] the same where units have scales of their own."""
    k = first_k + tl.arange(0, TILE_K)
    row, unit = _child_rows(cids, units, g, k, k < num_children * run, num_children, run)
    one_unit = tl.load(units + g * num_children + first_k // run) + first_k % run // UNIT
    ratio_row = first_row + g.to(tl.int64) * M + first_m + tl.arange(0, TILE_M)
    ratio_unit = (first_unit + g * (M // ROWS) + first_m // ROWS).to(tl.int64)
    largest = tl.full((), -float("inf"), tl.float32)  # of p_c F_n / p_n: x is brought to it, so that float16 holds all that counts
    if ONE_UNIT:
        for step in range(tl.cdiv(batch, WIDE)):  # many samples at a time: each reduction is waited for
            b = step * WIDE + tl.arange(0, WIDE)
            above = tl.load(ratio_tops + ratio_unit * pitch + b, mask=b < batch, other=-float("inf"))
            largest = tl.maximum(largest, tl.max(tl.load(tops + one_unit.to(tl.int64) * pitch + b, mask=b < batch, other=-float("inf")) + above))
    else:
        for step in range(tl.cdiv(batch, TILE_B)):
            b = step * TILE_B + tl.arange(0, TILE_B)
            above = tl.load(ratio_tops + ratio_unit * pitch + b)
            largest = tl.maximum(largest, tl.max(tl.max(tl.load(tops + unit[:, None] * pitch + b[None, :]) + above[None, :], axis=1), axis=0))
    largest = tl.minimum(finite(largest), -lost_log2)
    acc = tl.zeros([TILE_K, TILE_M], tl.float32)
    for step in range(tl.cdiv(batch, TILE_B)):
        b = step * TILE_B + tl.arange(0, TILE_B)
        x = tl.load(elements + row[:, None] * pitch + b[None, :])  # [TILE_K, TILE_B]
        ratio = tl.load(ratios + ratio_row[:, None] * pitch + b[None, :])  # [TILE_M, TILE_B]
        above = tl.load(ratio_tops + ratio_unit * pitch + b) - largest
        if ONE_UNIT:
            scale = tl.exp2(tl.minimum(tl.load(tops + one_unit.to(tl.int64) * pitch + b) + above, 0.0))[None, :]
        else:
            scale = tl.exp2(tl.minimum(tl.load(tops + unit[:, None] * pitch + b[None, :]) + above[None, :], 0.0))
        acc = tl.dot((x.to(tl.float32) * scale).to(tl.float16), tl.trans(ratio), acc)
    return acc * tl.exp2(largest + (FLOW_SCALE_LOG2 - 30.0))


@triton.jit
def _small_tile_flows(cids, units, elements, tops, ratios, ratio_tops, g, first_k, first_row, first_unit, num_children, batch, pitch,
                      lost_log2, run, M: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """[TILE_K, M] the same for sum blocks below 16 rows, without tensor cores."""
    k = first_k + tl.arange(0, TILE_K)
    row, unit = _child_rows(cids, units, g, k, k < num_children * run, num_children, run)
    ratio_row = first_row + g.to(tl.int64) * M + tl.arange(0, M)
    acc = tl.zeros([TILE_K, M, TILE_B], tl.float32)
    for step in range(tl.cdiv(batch, TILE_B)):
        b = step * TILE_B + tl.arange(0, TILE_B)
        x = tl.load(elements + row[:, None] * pitch + b[None, :]).to(tl.float32)
        above = tl.load(ratio_tops + (first_unit + g).to(tl.int64) * pitch + b)
        x *= tl.exp2(tl.minimum(tl.load(tops + unit[:, None] * pitch + b[None, :]) + above[None, :], -lost_log2))
        ratio = tl.load(ratios + ratio_row[:, None] * pitch + b[None, :]).to(tl.float32)
        acc += x[:, None, :] * ratio[None, :, :]
    return tl.sum(acc, axis=2) * tl.exp2(FLOW_SCALE_LOG2 - 30.0)


@triton.jit
def _flows_of(cids, units, elements, tops, ratios, ratio_tops, g, first_m, first_k, first_row, first_unit, num_children, batch, pitch, lost_log2,
              most, run, ONE_UNIT: tl.constexpr, M: tl.constexpr, ROWS: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr,
              TILE_B: tl.constexpr, TENSOR_CORES: tl.constexpr, LEVEL: tl.constexpr):  # fmt: skip
    if LEVEL:
        return _level_flows(cids, elements, ratios, g, first_m, first_k, first_row, num_children, batch, pitch, most, run, M, TILE_M, TILE_K, TILE_B)
    elif TENSOR_CORES:
        return _tile_flows(cids, units, elements, tops, ratios, ratio_tops, g, first_m, first_k, first_row, first_unit, num_children, batch, pitch,
                           lost_log2, run, ONE_UNIT, M, ROWS, TILE_M, TILE_K, TILE_B)  # fmt: skip
    else:
        return _small_tile_flows(cids, units, elements, tops, ratios, ratio_tops, g, first_k, first_row, first_unit, num_children, batch, pitch,
                                 lost_log2, run, M, TILE_K, TILE_B)  # fmt: skip


@triton.jit(do_not_specialize=["num_columns", "first_row", "first_unit", "num_children", "batch", "lost_log2", "most", "run"])
def param_flows_kernel(users, user_offsets, cids, pids, units, elements, tops, ratios, ratio_tops, param_flows, first_row, first_unit, num_children,
                       batch, num_columns, pitch, lost_log2, most, run, ONE_UNIT: tl.constexpr, M: tl.constexpr, ROWS: tl.constexpr,
                       TILE_M: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr, TENSOR_CORES: tl.constexpr, REPEATS: tl.constexpr,
                       ORDERED: tl.constexpr, LEVEL: tl.constexpr):  # fmt: skip
    """F_{n,c}(D) / theta_{n,c} = sum_b p_c F_n / p_n. A program owns [TILE_K, TILE_M] parameters and walks over the batch.

    ONE_UNIT: a tile of children lies inside one run and unit. REPEATS: tied sum blocks have the same parameters; their flows are
    added atomically, or (ORDERED) by one program, block by block.
    """
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile // (M // TILE_M)
    first_m = tile % (M // TILE_M) * TILE_M
    if ORDERED:
        value = tl.zeros([TILE_K, TILE_M], tl.float32)
        first_user, last_user = tl.load(user_offsets + g), tl.load(user_offsets + g + 1)
        for i in range(first_user, last_user):
            g = tl.load(users + i)
            value += _flows_of(cids, units, elements, tops, ratios, ratio_tops, g, first_m, column * TILE_K, first_row, first_unit, num_children,
                                batch, pitch, lost_log2, most, run, ONE_UNIT, M, ROWS, TILE_M, TILE_K, TILE_B, TENSOR_CORES, LEVEL)  # fmt: skip
    else:
        value = _flows_of(cids, units, elements, tops, ratios, ratio_tops, g, first_m, column * TILE_K, first_row, first_unit, num_children,
                           batch, pitch, lost_log2, most, run, ONE_UNIT, M, ROWS, TILE_M, TILE_K, TILE_B, TENSOR_CORES, LEVEL)  # fmt: skip
    k = column * TILE_K + tl.arange(0, TILE_K)
    inside = k < num_children * run
    pid = tl.multiple_of(tl.load(pids + g * num_children + k // run, mask=inside, other=0), [M]).to(tl.int64)
    at = param_flows + (pid + k % run * M)[:, None] + (first_m + tl.arange(0, TILE_M))[None, :]
    mask = (inside & (pid > 0))[:, None]
    if REPEATS and not ORDERED:
        tl.atomic_add(at, value, mask=mask)
    else:
        tl.store(at, tl.load(at, mask=mask, other=0.0) + value, mask=mask)


@triton.jit(do_not_specialize=["num_columns", "num_parents", "lost_log2", "most"])
def element_flows_kernel(chids, units, parrows, parunits, parpids, steps, weights, elements, tops, ratios, ratio_tops, element_flows, num_parents,
                         num_columns, pitch, lost_log2, most, M: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr, TILE_M: tl.constexpr,
                         TILE_K: tl.constexpr, TILE_B: tl.constexpr, EVEN: tl.constexpr, ADD: tl.constexpr, LEVEL: tl.constexpr):  # fmt: skip
    """F_c = p_c sum_n theta_{n,c} F_n / p_n, on tensor cores. A program owns [TILE_K, TILE_B] elements and walks over their parents.
    LEVEL: all ratios are on the scale that brings those of the elements to 2^most."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    c = tile // (K // TILE_K)
    first_k = tile % (K // TILE_K) * TILE_K
    k = first_k + tl.arange(0, TILE_K)
    b = column * TILE_B + tl.arange(0, TILE_B)
    own = tl.load(tops + (tl.load(units + c) + first_k // UNIT).to(tl.int64) * pitch + b)
    acc = tl.zeros([TILE_B, TILE_K], tl.float32)
    largest = tl.full([TILE_B], -float("inf"), tl.float32)
    first = c * num_parents
    if M >= TILE_M:  # a step lies inside one parent block and one unit of ratios
        row, pid, unit = tl.load(parrows + first).to(tl.int64), tl.load(parpids + first).to(tl.int64), tl.load(parunits + first).to(tl.int64)
        row_step, pid_step, unit_step = tl.load(steps + 3 * c), tl.load(steps + 3 * c + 1), tl.load(steps + 3 * c + 2)
        for step in range(num_parents * (M // TILE_M)):
            r = step // (M // TILE_M)
            j = step % (M // TILE_M) * TILE_M
            m = j + tl.arange(0, TILE_M)
            if EVEN:  # parents at equal distances: no index is waited for
                at_row, at_pid, at_unit = row + r * row_step, pid + r * pid_step, unit + r * unit_step
            else:
                at_row, at_pid = tl.load(parrows + first + r).to(tl.int64), tl.load(parpids + first + r).to(tl.int64)
                at_unit = tl.load(parunits + first + r).to(tl.int64)
            ratio = tl.load(ratios + (at_row + m)[:, None] * pitch + b[None, :])  # [TILE_M, TILE_B]
            theta = tl.load(weights + tl.multiple_of(at_pid, 16) + k[None, :] * M + m[:, None])  # [TILE_M, TILE_K]
            if LEVEL:
                acc = tl.dot(tl.trans(ratio), theta, acc)
            else:
                above = tl.load(ratio_tops + (at_unit + j // ROWS) * pitch + b)
                acc += tl.dot(tl.trans(ratio), theta) * tl.exp2(tl.minimum(own + above, -lost_log2))[:, None]
    else:  # a step spans parents, each on its own scale: all are brought to the largest
        for parent in range(first, first + num_parents * (1 - LEVEL)):
            largest = tl.maximum(largest, tl.load(ratio_tops + tl.load(parunits + parent).to(tl.int64) * pitch + b))
        for step in range(tl.cdiv(num_parents * M, TILE_M)):
            m = step * TILE_M + tl.arange(0, TILE_M)
            inside = m < num_parents * M
            r = first + m // M
            row = tl.load(parrows + r, mask=inside, other=0).to(tl.int64) + m % M
            unit = tl.load(parunits + r, mask=inside, other=0).to(tl.int64)
            ratio = tl.load(ratios + row[:, None] * pitch + b[None, :])
            if not LEVEL:
                ratio = ratio.to(tl.float32) * tl.exp2(tl.load(ratio_tops + unit[:, None] * pitch + b[None, :]) - finite(largest)[None, :])
            at = tl.load(parpids + r, mask=inside, other=0).to(tl.int64) + m % M
            theta = tl.load(weights + at[:, None] + k[None, :] * M, mask=inside[:, None], other=0.0)
            acc += tl.dot(tl.trans(ratio.to(tl.float16)), theta)
        if not LEVEL:
            acc *= tl.exp2(tl.minimum(own + largest, -lost_log2))[:, None]
    if LEVEL:
        acc *= tl.exp2(most)
    row = tl.load(chids + c).to(tl.int64) + k
    at = row[:, None] * pitch + b[None, :]
    flow = tl.trans(acc) * tl.load(elements + at).to(tl.float32) * 2.842170943040401e-14  # 2^-45
    if ADD:
        flow += tl.load(element_flows + at)
    tl.store(element_flows + at, flow)


@triton.jit(do_not_specialize=["num_columns", "num_parents", "lost_log2"])
def element_flows_small_kernel(chids, units, parrows, parunits, parpids, steps, weights, elements, tops, ratios, ratio_tops, element_flows,
                               num_parents,
                               num_columns, pitch,
                               lost_log2, M: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr,
                               TILE_B: tl.constexpr, EVEN: tl.constexpr, ADD: tl.constexpr):  # fmt: skip
    """The same for child blocks below 16 rows, without tensor cores (TILE_K = K); parents are gathered TILE_M at a time."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    c = tile
    k = tl.arange(0, K)
    b = column * TILE_B + tl.arange(0, TILE_B)
    own = tl.load(tops + tl.load(units + c).to(tl.int64) * pitch + b)
    acc = tl.zeros([TILE_M, K, TILE_B], tl.float32)
    first = c * num_parents
    for step in range(tl.cdiv(num_parents * M, TILE_M)):
        m = step * TILE_M + tl.arange(0, TILE_M)
        inside = m < num_parents * M
        r = first + m // M
        row = tl.load(parrows + r, mask=inside, other=0).to(tl.int64) + m % M
        unit = (tl.load(parunits + r, mask=inside, other=0) + m % M // ROWS).to(tl.int64)
        ratio = tl.load(ratios + row[:, None] * pitch + b[None, :]).to(tl.float32)
        above = tl.load(ratio_tops + unit[:, None] * pitch + b[None, :])
        ratio *= tl.exp2(tl.minimum(own[None, :] + above, -lost_log2))
        at = tl.load(parpids + r, mask=inside, other=0).to(tl.int64) + m % M
        theta = tl.load(weights + at[:, None] + k[None, :] * M, mask=inside[:, None], other=0.0).to(tl.float32)
        acc += theta[:, :, None] * ratio[:, None, :]
    row = tl.load(chids + c).to(tl.int64) + k
    at = row[:, None] * pitch + b[None, :]
    flow = tl.sum(acc, axis=0) * tl.load(elements + at).to(tl.float32) * 2.842170943040401e-14  # 2^-45
    if ADD:
        flow += tl.load(element_flows + at)
    tl.store(element_flows + at, flow)


@triton.jit(do_not_specialize=["num_columns"])
def product_flows_kernel(
    nids, parents, offsets, element_flows, flows, num_columns, pitch, WIDTH: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr, ADD: tl.constexpr
):
    """F_n = sum of F_c over the products c with factor n; ADD: to a flow from other launches. A program owns [ROWS, TILE_B] of one run.
    Programs go through all runs before the next samples: so L2 keeps the flows of products until their last factor."""
    num_all = tl.num_programs(0) // num_columns
    column, tile = tl.program_id(0) // num_all, tl.program_id(0) % num_all
    run = tile // (WIDTH // ROWS)
    r = tile % (WIDTH // ROWS) * ROWS + tl.arange(0, ROWS)
    b = column * TILE_B + tl.arange(0, TILE_B)
    at = flows + (tl.load(nids + run).to(tl.int64) + r)[:, None] * pitch + b[None, :]
    if ADD:
        total = tl.load(at)
    else:
        total = tl.zeros([ROWS, TILE_B], tl.float32)
    for i in range(tl.load(offsets + run), tl.load(offsets + run + 1)):
        row = tl.load(parents + i).to(tl.int64) + r
        total += tl.load(element_flows + row[:, None] * pitch + b[None, :])
    tl.store(at, total)


@triton.jit(do_not_specialize=["start", "num_cats", "batch"])
def input_flows_kernel(variables, table_vectors, table_offsets, x, observed, flows, table_flows, start, num_cats, batch, pitch, x_pitch,
                       HAS_MASK: tl.constexpr, STRIDE: tl.constexpr, ROWS: tl.constexpr, CATS: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """F_{n,k}(D) = sum of F_n over the samples with x_v = k: a matrix product with the indicators of x_v = k, so that the order
    of the sum is fixed. A program owns [CATS, ROWS] of one table and walks over its vectors and the batch. Indicators are the first
    factor: tensor cores take it from registers, where they are made."""
    table = tl.program_id(0)
    r = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    k = tl.program_id(2) * CATS + tl.arange(0, CATS)
    acc = tl.zeros([CATS, ROWS], tl.float32)
    for i in range(tl.load(table_offsets + table), tl.load(table_offsets + table + 1)):
        v = tl.load(table_vectors + i)
        variable = tl.load(variables + v).to(tl.int64)
        row = start + v.to(tl.int64) * STRIDE + r
        for step in range(tl.cdiv(batch, TILE_B)):
            b = step * TILE_B + tl.arange(0, TILE_B)
            flow = tl.load(flows + row[:, None] * pitch + b[None, :], mask=(r < STRIDE)[:, None], other=0.0)  # [ROWS, TILE_B]
            category = tl.load(x + variable * x_pitch + b)
            seen = b < batch
            if HAS_MASK:
                seen &= tl.load(observed + variable * x_pitch + b) != 0
            hit = (k[:, None] == tl.where(seen, category, -1)[None, :]).to(tl.float16)
            acc = tl.dot(hit, tl.trans(to_half(flow)), acc)
    at = table_flows + (table.to(tl.int64) * num_cats + k)[:, None] * STRIDE + r[None, :]
    mask = (k < num_cats)[:, None] & (r < STRIDE)[None, :]
    tl.store(at, tl.load(at, mask=mask, other=0.0) + acc * 3.0517578125e-05, mask=mask)


@triton.jit(
    do_not_specialize=["num_columns", "arity", "first_unit", "num_children", "num_units", "num_rows", "batch", "lost_log2", "most", "least_flow",
                       "sum_block", "run", "flag_m"],
)  # fmt: skip
def flow_guard_kernel(nids, cids, pids, block_units, weights, factors, logs, flows, tops, element_flows, param_flows, flags, first_unit,
                      num_children, num_units, arity, num_rows, batch, num_columns, pitch, lost_log2, most, least_flow, sum_block, run, flag_m,
                      PAIRS: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr, FLAG_B: tl.constexpr,
                      SAMPLES: tl.constexpr):  # fmt: skip
    """Flows of the edges of lost sums, exactly: F_{n,c} = theta_{n,c} p_c / p_n F_n from float32 parameters and logarithms. A program
    looks after TILE_M sums and SAMPLES samples, TILE_B at a time; where no flag is set, it ends at once."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile // (sum_block // TILE_M)
    first_m = tile % (sum_block // TILE_M) * TILE_M
    flags += (first_unit + tile * TILE_M // flag_m) * (num_columns * SAMPLES // FLAG_B)
    if any_flag(flags, column * SAMPLES, FLAG_B, SAMPLES):
        row = tl.load(nids + g).to(tl.int64) + first_m
        for first in range(column * SAMPLES, (column + 1) * SAMPLES, TILE_B):
            b = first + tl.arange(0, TILE_B)
            top = block_top(tops, block_units + g * num_units, num_units, pitch, b)
            at = (row + tl.arange(0, TILE_M))[:, None] * pitch + b[None, :]
            lost = bits_of(_has_lost_flow(logs, flows, at, top[None, :], lost_log2, most, (b < batch)[None, :], least_flow), TILE_M)
            for i in range(TILE_M):
                if (lost >> i) & 1 != 0:
                    _flows_again(cids, pids, weights, factors, logs, flows, element_flows, param_flows, g, first_m + i, row + i, b, top, lost_log2,
                                 most, num_children, arity, num_rows, batch, pitch, least_flow, sum_block, run, PAIRS, TILE_K)  # fmt: skip


@triton.jit
def _has_lost_flow(logs, flows, at, top, lost_log2, most, mask, least_flow):
    log_p = tl.load(logs + at, mask=mask, other=-float("inf"))
    flow = tl.load(flows + at, mask=mask, other=0.0)
    return is_lost(log_p, fast_log2(flow), top, lost_log2, most) & (log_p > -float("inf")) & (flow > least_flow)


@triton.jit
def _flows_again(cids, pids, weights, factors, logs, flows, element_flows, param_flows, g, m, nid, b, top, lost_log2, most, num_children, arity,
                 num_rows, batch, pitch, least_flow, sum_block, run, PAIRS: tl.constexpr, TILE_K: tl.constexpr):  # fmt: skip
    """Those of one sum, for those of the samples ``b`` where it is lost and has flow."""
    at = nid * pitch + b
    lost = _has_lost_flow(logs, flows, at, top, lost_log2, most, b < batch, least_flow)
    log_p = tl.load(logs + at)
    flow = tl.load(flows + at)
    for step in range(tl.cdiv(num_children * run, TILE_K)):
        own, theta, row, pid, inside = child_logs(cids, pids, weights, factors, logs, g, m, step, b, num_children, arity, num_rows, pitch,
                                                  sum_block, run, PAIRS, TILE_K)  # fmt: skip
        edge = theta > 0
        use = edge[:, None] & lost[None, :]
        share = tl.where(use, tl.exp2(own - finite(log_p)[None, :] + tl.log2(theta)[:, None]) * flow[None, :], 0.0)
        tl.atomic_add(element_flows + row.to(tl.int64)[:, None] * pitch + b[None, :], share, mask=use)
        ungated = tl.sum(share * tl.exp2(FLOW_SCALE_LOG2), axis=1) / tl.where(edge, theta, 1.0)
        tl.atomic_add(param_flows + pid, ungated, mask=inside & edge)


@triton.jit(do_not_specialize=["start", "stride", "num_cats", "batch"])
def input_scatter_kernel(variables, table_ids, x, observed, flows, table_flows, start, stride, num_cats, batch, pitch, x_pitch,
                         HAS_MASK: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """What ``input_flows`` computes, for tables of many categories: added sample by sample, in no fixed order."""
    v = tl.program_id(1)
    r = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    b = tl.program_id(0) * TILE_B + tl.arange(0, TILE_B)
    variable = tl.load(variables + v).to(tl.int64)
    row = start + v.to(tl.int64) * stride + r
    flow = tl.load(flows + row[:, None] * pitch + b[None, :], mask=(r < stride)[:, None], other=0.0)
    seen = b < batch
    if HAS_MASK:
        seen = seen & (tl.load(observed + variable * x_pitch + b, mask=seen, other=0) != 0)
    category = tl.load(x + variable * x_pitch + b, mask=seen, other=0)
    at = table_flows + (tl.load(table_ids + v).to(tl.int64) * num_cats + category)[:, None] * stride + r[None, :]
    tl.atomic_add(at, tl.trans(flow), mask=seen[:, None] & (r < stride)[None, :], sem="relaxed")
