"""Gaussian inputs: densities, moments weighted by flows, and the EM step. Logarithms of densities may be above 0; all later scales
are relative, so that nothing else changes. Tables [T, 2, stride] of mean and standard deviation, flows [T, 3, stride] (see
launches.GaussianLaunch): moments about them."""

import triton
import triton.language as tl

HALF_LOG2_E = tl.constexpr(0.7213475204444817)  # log2(e) / 2
HALF_LOG2_TAU = tl.constexpr(1.3257480647361593)  # log2(2 pi) / 2


@triton.jit(do_not_specialize=["start", "stride", "batch"])
def gaussian_forward_kernel(variables, num_nodes, table_ids, table, reals, observed, logs, start, stride, batch, pitch, x_pitch,
                            HAS_MASK: tl.constexpr, MAX: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """log N(x_v; mean, std); where v is hidden 0, or (MAX) the density at the mean. A program owns [ROWS, TILE_B] of one vector."""
    v = tl.program_id(1)
    b = tl.program_id(0) * TILE_B + tl.arange(0, TILE_B)
    r = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    variable = tl.load(variables + v).to(tl.int64)
    x = tl.load(reals + variable * x_pitch + b, mask=b < batch, other=0.0)
    real = r < tl.load(num_nodes + v)
    at = table + tl.load(table_ids + v).to(tl.int64) * 2 * stride + r
    mean, std = tl.load(at, mask=real, other=0.0), tl.load(at + stride, mask=real, other=1.0)
    z = (x[None, :] - mean[:, None]) / std[:, None]
    value = -HALF_LOG2_E * z * z - (tl.log2(std) + HALF_LOG2_TAU)[:, None]
    if HAS_MASK:
        seen = tl.load(observed + variable * x_pitch + b, mask=b < batch, other=1)
        unseen = tl.zeros([ROWS], tl.float32)  # a density integrates to 1
        if MAX:
            unseen = -(tl.log2(std) + HALF_LOG2_TAU)
        value = tl.where((seen == 0)[None, :], unseen[:, None], value)
    row = start + v.to(tl.int64) * stride + r
    tl.store(logs + row[:, None] * pitch + b[None, :], tl.where(real[:, None], value, -float("inf")), mask=(r < stride)[:, None])


@triton.jit(do_not_specialize=["start", "stride", "batch"])
def gaussian_flows_kernel(variables, table_vectors, table_offsets, table, reals, observed, flows, table_flows, start, stride, batch, pitch, x_pitch,
                          HAS_MASK: tl.constexpr, ROWS: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """Sums over the samples of F, F z and F z^2, z = (x - mean) / std, added to the table's. A program owns ROWS nodes of one table and
    walks over its vectors and the batch, so that the order of the sums is fixed."""
    t = tl.program_id(0)
    r = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    inside = r < stride
    at = table + t.to(tl.int64) * 2 * stride + r
    mean, std = tl.load(at, mask=inside, other=0.0), tl.load(at + stride, mask=inside, other=1.0)
    zeroth = tl.zeros([ROWS, TILE_B], tl.float32)
    first = tl.zeros([ROWS, TILE_B], tl.float32)
    second = tl.zeros([ROWS, TILE_B], tl.float32)
    for i in range(tl.load(table_offsets + t), tl.load(table_offsets + t + 1)):
        v = tl.load(table_vectors + i)
        variable = tl.load(variables + v).to(tl.int64)
        row = start + v.to(tl.int64) * stride + r
        for step in range(tl.cdiv(batch, TILE_B)):
            b = step * TILE_B + tl.arange(0, TILE_B)
            seen = b < batch
            x = tl.load(reals + variable * x_pitch + b, mask=seen, other=0.0)
            if HAS_MASK:
                seen = seen & (tl.load(observed + variable * x_pitch + b, mask=seen, other=0) != 0)
            flow = tl.load(flows + row[:, None] * pitch + b[None, :], mask=inside[:, None] & seen[None, :], other=0.0)
            z = tl.where(flow > 0, (x[None, :] - mean[:, None]) / std[:, None], 0.0)  # an impossible sample may lie infinitely far
            zeroth += flow
            first += flow * z
            second += flow * z * z
    at = table_flows + t.to(tl.int64) * 3 * stride + r
    tl.store(at, tl.load(at, mask=inside, other=0.0) + tl.sum(zeroth, axis=1), mask=inside)
    tl.store(at + stride, tl.load(at + stride, mask=inside, other=0.0) + tl.sum(first, axis=1), mask=inside)
    tl.store(at + 2 * stride, tl.load(at + 2 * stride, mask=inside, other=0.0) + tl.sum(second, axis=1), mask=inside)


@triton.jit(do_not_specialize=["stride", "min_sigma"])
def em_gaussian_kernel(table, table_flows, stride, min_sigma, settings, ROWS: tl.constexpr):
    """E x and E x^2 of a node move to those of its samples by the step size; nodes without flow stay. No prior, so no pseudocount;
    ``min_sigma`` bounds the densities. A program owns ROWS nodes of one table; flows are cleared."""
    step_size = tl.load(settings)
    t = tl.program_id(0).to(tl.int64)
    r = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    inside = r < stride
    at, flow_at = table + t * 2 * stride + r, table_flows + t * 3 * stride + r
    mean, std = tl.load(at, mask=inside, other=0.0), tl.load(at + stride, mask=inside, other=1.0)
    total = tl.load(flow_at, mask=inside, other=0.0)
    reached = inside & (total > 0)
    divisor = tl.where(reached, total, 1.0)
    shift = step_size * tl.load(flow_at + stride, mask=inside, other=0.0) / divisor  # E z, which is 0 before the step
    square = 1 + step_size * (tl.load(flow_at + 2 * stride, mask=inside, other=0.0) / divisor - 1)  # E z^2, which is 1
    new = tl.maximum(std * tl.sqrt(tl.maximum(square - shift * shift, 0.0)), min_sigma)
    tl.store(at, mean + std * shift, mask=reached)
    tl.store(at + stride, new, mask=reached)
    nothing = tl.zeros([ROWS], tl.float32)
    tl.store(flow_at, nothing, mask=inside)
    tl.store(flow_at + stride, nothing, mask=inside)
    tl.store(flow_at + 2 * stride, nothing, mask=inside)
