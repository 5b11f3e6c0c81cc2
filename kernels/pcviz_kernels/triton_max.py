"""Max-product: the largest child of every sum instead of their sum, in float32 logarithms. Nothing is scaled and nothing is lost."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["num_children", "num_columns", "sum_block", "run"])
def sum_max_kernel(nids, cids, pids, weights, elements, logs, num_children, num_columns, pitch, sum_block, run, TILE_M: tl.constexpr,
                   TILE_K: tl.constexpr, TILE_B: tl.constexpr):  # fmt: skip
    """log max_c theta_{n,c} p_c. A program owns [TILE_M, TILE_B] sums and walks over their children, TILE_K at a time."""
    column, tile = tl.program_id(0) % num_columns, tl.program_id(0) // num_columns
    g = tile // (sum_block // TILE_M)
    m = tile % (sum_block // TILE_M) * TILE_M + tl.arange(0, TILE_M)
    b = column * TILE_B + tl.arange(0, TILE_B)
    largest = tl.full([TILE_M, TILE_B], -float("inf"), tl.float32)
    for step in range(tl.cdiv(num_children * run, TILE_K)):
        k = step * TILE_K + tl.arange(0, TILE_K)
        inside = k < num_children * run
        e = g * num_children + k // run
        row = tl.load(cids + e, mask=inside, other=0).to(tl.int64) + k % run
        child = tl.load(elements + row[:, None] * pitch + b[None, :])  # [TILE_K, TILE_B] log p
        at = tl.load(pids + e, mask=inside, other=0).to(tl.int64) + k % run * sum_block
        theta = tl.load(weights + at[:, None] + m[None, :], mask=inside[:, None], other=0.0)  # [TILE_K, TILE_M]
        largest = tl.maximum(largest, tl.max(tl.log2(theta)[:, :, None] + child[:, None, :], axis=0))
    row = tl.load(nids + g).to(tl.int64) + m
    tl.store(logs + row[:, None] * pitch + b[None, :], largest)
