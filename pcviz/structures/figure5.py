"""The sum layer of the method paper's figure 5: one large layer on which block size alone can be studied."""

from __future__ import annotations

from ..ir.distributions import Categorical
from ..ir.nodes import SumNodes, inputs, multiply, summate
from .arguments import check_integer, check_seed


def figure_5_layer(num_regions: int = 113, num_latents: int = 256, products: int = 4, seed: int = 0) -> SumNodes:
    """A circuit with one large sum layer, shaped like a PD layer: dense, without padding at any power-of-two block size.

    Region r covers the binary variables 2r and 2r + 1 with ``products`` product vectors, each multiplying inputs of its
    own, and ``num_latents`` sums over all of them; the root sums over the product of all regions. The default has 28,928
    sums with 1,024 children each: 29.6 million edges.
    """
    for name, value in (("num_regions", num_regions), ("num_latents", num_latents), ("products", products)):
        check_integer(f"figure_5_layer({name}=...)", value)
    check_seed("figure_5_layer", seed)
    dist = Categorical(num_cats=2)
    regions = []
    for r in range(num_regions):
        pairs = [[inputs(var, num_nodes=num_latents, dist=dist, name=f"x{var}.{i}") for var in (2 * r, 2 * r + 1)] for i in range(products)]
        members = [multiply(*pair, name=f"region {r}, product {i}") for i, pair in enumerate(pairs)]
        regions.append(summate(*members, num_nodes=num_latents, name=f"region {r}"))
    root = summate(multiply(*regions, name="all regions") if num_regions > 1 else regions[0], num_nodes=1, name="root")
    root.seed = int(seed)
    return root
