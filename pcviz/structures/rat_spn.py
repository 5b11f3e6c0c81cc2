"""RAT-SPNs: random, tensorised sum-product networks (Peharz et al., UAI 2019)."""

from __future__ import annotations

import numpy as np

from ..arguments import checked_integer
from ..ir.distributions import Distribution
from ..ir.nodes import InputNodes, ProdNodes, SumNodes, inputs, multiply, summate
from .arguments import check_dist, check_seed


def RAT_SPN(
    num_vars: int, num_latents: int, *, depth: int, num_repetitions: int, dist: Distribution, seed: int = 0, num_pieces: int = 2
) -> SumNodes:
    """A mixture of ``num_repetitions`` random hierarchies over the variables 0 .. num_vars - 1, as PyJuice builds them.

    num_latents: nodes K of every vector (the root is one sum).
    depth: how often the variables are split. A region that is not split further is the product of its variables' inputs.
    dist: distribution of the inputs, one vector of K for each variable, which all repetitions share.
    seed: seed of the splits and of the initial parameters.
    num_pieces: regions of about equal size into which a region is split.

    Every region has one product vector and K sums over it; the root sums over the products of all variables, one vector for
    each repetition. Raises ValueError for wrong arguments.
    """
    for name, value in (("num_vars", num_vars), ("num_latents", num_latents), ("num_repetitions", num_repetitions)):
        checked_integer(f"RAT_SPN({name}=...)", value)
    checked_integer("RAT_SPN(depth=...)", depth, least=0)
    checked_integer("RAT_SPN(num_pieces=...)", num_pieces, least=2)
    check_dist("RAT_SPN", dist)
    check_seed("RAT_SPN", seed)
    rng = np.random.default_rng(seed)
    leaves = [inputs(var, num_nodes=int(num_latents), dist=dist, name=f"x{var}") for var in range(num_vars)]
    everything = np.arange(num_vars)
    products = [_products(everything, int(depth), int(num_pieces), leaves, rng, f"repetition {r}") for r in range(num_repetitions)]
    root = summate(*products, num_nodes=1, name="root")
    root.seed = int(seed)
    return root


def _products(variables: np.ndarray, depth: int, num_pieces: int, leaves: list[InputNodes], rng: np.random.Generator, name: str) -> ProdNodes:
    """The product vector of a region that is split ``depth`` times more."""
    if depth == 0 or len(variables) < num_pieces:
        return multiply(*(leaves[v] for v in variables), name=name)
    pieces = np.array_split(rng.permutation(variables), num_pieces)
    parts = []
    for i, piece in enumerate(pieces):
        products = _products(np.sort(piece), depth - 1, num_pieces, leaves, rng, f"{name}.{i}")
        parts.append(summate(products, num_nodes=products.num_nodes, name=f"{name}.{i}"))
    return multiply(*parts, name=name)
