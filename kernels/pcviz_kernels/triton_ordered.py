"""Flows of lost sums in a fixed order, for deterministic training: what ``flow_guard`` adds atomically, a program that owns its
results adds up here. ``lost_ratios`` holds log2 F_n / p_n of lost sums that have flow, -inf elsewhere (see ``ratio``)."""

import triton
import triton.language as tl

from .triton_primitives import FLOW_SCALE_LOG2, product_logs


@triton.jit(do_not_specialize=["num_parents", "arity", "num_rows", "num_columns"])
def lost_element_flows_kernel(chids, parrows, parunits, parpids, weights, factors, logs, lost_ratios, flags, element_flows, num_parents,
                              arity, num_rows, num_columns, pitch, M: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr,
                              PAIRS: tl.constexpr, TILE_K: tl.constexpr, TILE_B: tl.constexpr, FLAG_B: tl.constexpr):  # fmt: skip
    """F_c += sum of theta_{n,c} p_c F_n / p_n over the lost parents n. A program owns [TILE_K, TILE_B] elements; most return at once."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    c = tile // (K // TILE_K)
    k = tile % (K // TILE_K) * TILE_K + tl.arange(0, TILE_K)
    flag_columns = tl.cdiv(num_columns * TILE_B, FLAG_B)
    flag = flags + column * TILE_B // FLAG_B
    first = c * num_parents
    found = 0
    for step in range(0, num_parents * (M // ROWS), 32):
        u = step + tl.arange(0, 32)
        inside = u < num_parents * (M // ROWS)
        unit = tl.load(parunits + first + u // (M // ROWS), mask=inside, other=0) + u % (M // ROWS)
        found = tl.maximum(found, tl.max(tl.load(flag + unit * flag_columns, mask=inside, other=0)))
    if found != 0:
        b = column * TILE_B + tl.arange(0, TILE_B)
        row = tl.load(chids + c) + k
        own = product_logs(factors, logs, row, k < K, b, arity, num_rows, pitch, PAIRS)
        total = tl.zeros([TILE_K, TILE_B], tl.float32)
        for n in range(num_parents * M):
            r, m = first + n // M, n % M
            if tl.load(flag + (tl.load(parunits + r) + m // ROWS) * flag_columns) != 0:
                above = tl.load(lost_ratios + (tl.load(parrows + r).to(tl.int64) + m) * pitch + b)
                if tl.max(above) > -float("inf"):
                    theta = tl.load(weights + tl.load(parpids + r).to(tl.int64) + k * M + m)
                    use = (theta > 0)[:, None] & (above > -float("inf"))[None, :]
                    total += tl.where(use, tl.exp2(own + above[None, :] + tl.log2(theta)[:, None]), 0.0)
        at = element_flows + row.to(tl.int64)[:, None] * pitch + b[None, :]
        tl.store(at, tl.load(at) + total)


@triton.jit(do_not_specialize=["num_children", "first_row", "first_unit", "arity", "num_rows", "batch", "num_columns", "num_flags"])
def lost_param_flows_kernel(users, user_offsets, cids, pids, weights, factors, logs, lost_ratios, flags, param_flows, num_children, first_row,
                            first_unit, arity, num_rows, batch, num_columns, num_flags, pitch, M: tl.constexpr, K: tl.constexpr,
                            ROWS: tl.constexpr, PAIRS: tl.constexpr, REPEATS: tl.constexpr, TILE_M: tl.constexpr, TILE_K: tl.constexpr,
                            TILE_B: tl.constexpr, FLAG_B: tl.constexpr):  # fmt: skip
    """F_{n,c}(D) / theta_{n,c} += sum of p_c F_n / p_n over the samples in which n is lost. A program owns [TILE_K, TILE_M] parameters;
    most return at once."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    first_m = tile % (M // TILE_M) * TILE_M
    m = tl.arange(0, TILE_M)
    k = column * TILE_K + tl.arange(0, TILE_K)
    inside = k < num_children * K
    first_user, last_user = tile // (M // TILE_M), tile // (M // TILE_M) + 1
    if REPEATS:
        first_user, last_user = tl.load(user_offsets + first_user), tl.load(user_offsets + last_user)
    total = tl.zeros([TILE_K, TILE_M], tl.float32)
    found = 0
    g = tile // (M // TILE_M)
    for i in range(first_user, last_user):
        if REPEATS:
            g = tl.load(users + i)
        unit = first_unit + g * (M // ROWS) + first_m // ROWS
        lost = 0
        for first in range(0, num_flags, 64):
            f = first + tl.arange(0, 64)
            lost = tl.maximum(lost, tl.max(tl.load(flags + unit * num_flags + f, mask=f < num_flags, other=0)))
        if lost != 0:
            found = 1
            row = tl.load(cids + g * num_children + k // K, mask=inside, other=0) + k % K
            above_row = (first_row + g.to(tl.int64) * M + first_m) * pitch
            for step in range(tl.cdiv(batch, TILE_B)):
                if tl.load(flags + unit * num_flags + step * TILE_B // FLAG_B) != 0:
                    b = step * TILE_B + tl.arange(0, TILE_B)
                    own = product_logs(factors, logs, row, inside, b, arity, num_rows, pitch, PAIRS)
                    for j in range(TILE_M):
                        above = tl.load(lost_ratios + above_row + j * pitch + b)
                        if tl.max(above) > -float("inf"):
                            shares = tl.where((above > -float("inf"))[None, :], tl.exp2(own + above[None, :] + FLOW_SCALE_LOG2), 0.0)
                            total += tl.where((m == j)[None, :], tl.sum(shares, axis=1)[:, None], 0.0)
    if found != 0:
        pid = tl.load(pids + g * num_children + k // K, mask=inside, other=0).to(tl.int64)
        at = (pid + k % K * M)[:, None] + (first_m + m)[None, :]
        theta = tl.load(weights + at, mask=(inside & (pid > 0))[:, None], other=0.0)
        tl.store(param_flows + at, tl.load(param_flows + at, mask=theta > 0, other=0.0) + total, mask=theta > 0)
