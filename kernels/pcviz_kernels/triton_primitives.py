"""Pieces that several Triton kernels share. Logarithms are to base 2; see kernels/README.md for layout and guard."""

import triton
import triton.language as tl

HALF = tl.constexpr(15.0)  # values in [0, 1] are stored as float16 times 2^15: 29 bits below the largest keep full precision
UNIT = tl.constexpr(64)
FLOW_SCALE_LOG2 = tl.constexpr(-40.0)  # launches.FLOW_SCALE
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)  # Triton's interpreter runs no assembly


@triton.jit
def finite(top):
    """``top`` where it is finite, else 0: a base that may be subtracted."""
    return tl.where(top > -float("inf"), top, 0.0)


@triton.jit
def fast_log2(values):
    """log2 by the GPU's instruction for it, off by at most 2^-22 (between 1/2 and 2, elsewhere 2^-22 of the result); ``tl.log2`` is exact to
    rounding, in 35 instructions."""
    if INTERPRETED:
        return tl.log2(values)
    else:
        return tl.inline_asm_elementwise("lg2.approx.f32 $0, $1;", "=f,f", [values], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit
def log2_of(values, exact: tl.constexpr):
    """log2, exact to rounding; or fast, for what is rounded to float16 next."""
    if exact:
        return tl.log2(values)
    else:
        return fast_log2(values)


@triton.jit
def to_half(values):
    """Values in [0, 1] as float16 times 2^15."""
    return (values * 32768.0).to(tl.float16)


@triton.jit
def stored(values, kind: tl.constexpr):
    """Values in [0, 1] as a buffer of ``kind`` has them: float16 times 2^15, or float32."""
    if kind == tl.float32:
        return values
    else:
        return to_half(values)


@triton.jit
def unscaled(products, kind: tl.constexpr):
    """Sums of products of two values that are ``stored`` as ``kind``."""
    if kind == tl.float32:
        return products
    else:
        return products * 9.313225746154785e-10  # 2^-30


@triton.jit
def block_top(tops, block_units, num_units, pitch, b):
    """[tile_b] largest log-scale among the units that a sum block reads."""
    top = tl.full(b.shape, -float("inf"), tl.float32)
    for first in range(0, num_units, 8):
        u = first + tl.arange(0, 8)
        unit = tl.load(block_units + u, mask=u < num_units, other=0).to(tl.int64)  # unit 0 is a null unit
        top = tl.maximum(top, tl.max(tl.load(tops + unit[:, None] * pitch + b[None, :]), axis=0))
    return top


@triton.jit
def _factor_logs(factors, logs, rows, valid, b, pitch):
    factor = tl.load(factors + rows, mask=valid, other=0)
    return tl.load(logs + factor.to(tl.int64)[:, None] * pitch + b[None, :], mask=(factor >= 0)[:, None], other=0.0)


@triton.jit
def product_logs(factors, logs, rows, valid, b, arity, num_rows, pitch, PAIRS: tl.constexpr):
    """[rows, tile_b] log2 of elements from the logarithms of their ``arity`` factors (PAIRS: exactly two); -inf where not ``valid``."""
    total = _factor_logs(factors, logs, rows, valid, b, pitch)
    if PAIRS:
        total += _factor_logs(factors + num_rows, logs, rows, valid, b, pitch)
    else:
        for a in range(1, arity):
            total += _factor_logs(factors + a * num_rows, logs, rows, valid, b, pitch)
    return tl.where(valid[:, None], total, -float("inf"))


@triton.jit
def child_logs(cids, pids, weights, factors, logs, g, m, step, b, num_children, arity, num_rows, pitch, sum_block, run, PAIRS: tl.constexpr,
               TILE_K: tl.constexpr):  # fmt: skip
    """(log2 p_c [TILE_K, tile_b], theta, element row, place of the parameter, which of them there are) of the children that a guard's step
    reads for row m of sum block g; from float32 parameters and the logarithms of factors. p_c is 0 where theta is."""
    k = step * TILE_K + tl.arange(0, TILE_K)
    inside = k < num_children * run
    e = g * num_children + k // run
    row = tl.load(cids + e, mask=inside, other=0) + k % run
    pid = tl.load(pids + e, mask=inside, other=0).to(tl.int64) + k % run * sum_block + m
    theta = tl.load(weights + pid, mask=inside, other=0.0)
    return product_logs(factors, logs, row, inside & (theta > 0), b, arity, num_rows, pitch, PAIRS), theta, row, pid, inside


@triton.jit
def is_lost(log_p, log_flow, top, lost_log2, most):
    """Whether a sum is too far below the scale of its children for float16, or its ratio F / p too far above what that scale leaves room for
    (``most``, infinite where each unit of ratios has a scale of its own)."""
    return (log_p < top + lost_log2) | (log_flow - log_p > most - top)


@triton.jit
def any_flag(flags, first, flag_b, SAMPLES: tl.constexpr):
    """Whether a flag of the samples ``first`` to ``first + SAMPLES`` is set; each stands for ``flag_b`` of them, 16 or more."""
    return tl.max(tl.load(flags + (first + tl.arange(0, SAMPLES // 16) * 16) // flag_b)) != 0


@triton.jit
def bits_of(found, ROWS: tl.constexpr):
    """An integer whose bit i says whether row i of ``found`` [ROWS, tile_b] has something: a guard looks at a few sums of many."""
    return tl.sum(tl.max(found.to(tl.int32), axis=1) << tl.arange(0, ROWS), axis=0)
