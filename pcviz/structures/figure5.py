"""The sum layer of the method paper's figure 5: one large layer on which block size alone can be studied."""

from __future__ import annotations

import numpy as np

from ..arguments import checked_integer
from ..ir.distributions import Categorical
from ..ir.nodes import SumNodes, inputs, multiply, summate
from .arguments import check_seed
from .pd import DRAWN_PRODUCTS, block_edges


def figure_5_layer(
    num_regions: int = 113, num_latents: int = 256, products: int | None = None, seed: int = 0, conn_block: int | None = None
) -> SumNodes:
    """A circuit with one large sum layer, shaped like a PD layer: dense, without padding at any power-of-two block size.

    Region r covers the binary variables 2r and 2r + 1 with ``products`` product vectors (default 4), each multiplying inputs of its
    own, and ``num_latents`` sums over all of them; the root sums over the product of all regions. The default has 28,928
    sums with 1,024 children each: 29.6 million edges.

    conn_block: an integer c draws connections instead, the way PD(conn_block=c) does: every c sums of a region draw four of its
        product vectors (default 8), independently of each other. There are as many edges, and above block size c some padding.
    """
    products = (4 if conn_block is None else 2 * DRAWN_PRODUCTS) if products is None else products
    for name, value in (("num_regions", num_regions), ("num_latents", num_latents), ("products", products)):
        checked_integer(f"figure_5_layer({name}=...)", value)
    check_seed("figure_5_layer", seed)
    if conn_block is not None:
        checked_integer("figure_5_layer(conn_block=...)", conn_block)
        if num_latents % conn_block:
            raise ValueError(f"figure_5_layer: conn_block={conn_block} must divide num_latents={num_latents}.")
        if products < DRAWN_PRODUCTS:
            raise ValueError(f"figure_5_layer: with conn_block, products expects at least {DRAWN_PRODUCTS}, got {products}.")
    rng = np.random.default_rng(seed)
    regions = [_region(r, num_latents, products, conn_block, rng) for r in range(num_regions)]
    root = summate(multiply(*regions, name="all regions") if num_regions > 1 else regions[0], num_nodes=1, name="root")
    root.seed = int(seed)
    return root


def _region(r: int, num_latents: int, products: int, conn_block: int | None, rng: np.random.Generator) -> SumNodes:
    dist, used, edges = Categorical(num_cats=2), range(products), {}
    if conn_block is not None:
        drawn = np.stack([rng.choice(products, DRAWN_PRODUCTS, replace=False) for _ in range(num_latents // conn_block)])
        edge_ids, used = block_edges(drawn)
        edges = {"edge_ids": edge_ids, "edge_block": conn_block}
    pairs = [[inputs(var, num_nodes=num_latents, dist=dist, name=f"x{var}.{i}") for var in (2 * r, 2 * r + 1)] for i in used]
    members = [multiply(*pair, name=f"region {r}, product {i}") for i, pair in zip(used, pairs)]
    return summate(*members, num_nodes=num_latents, name=f"region {r}", **edges)
