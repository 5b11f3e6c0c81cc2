"""Hidden Chow-Liu trees: a tree over the variables, learned from data, with a latent variable at every inner node."""

from __future__ import annotations

import numpy as np

from ..arguments import checked_integer, is_number
from ..datasets import as_array
from ..ir.distributions import Categorical, Distribution, Gaussian
from ..ir.nodes import Nodes, SumNodes, inputs, multiply, summate
from .arguments import check_dist, check_seed
from .information import mutual_information, soft_mutual_information


def HCLT(x, num_latents: int, *, dist: Distribution | None = None, seed: int = 0, num_bins: int = 32, sigma: float | None = None) -> SumNodes:
    """A hidden Chow-Liu tree (Liu and Van den Broeck, 2021) whose backbone is learned from ``x``.

    x: integers [N, V] (numpy, torch, pandas), categories from 0 up; a few thousand rows are enough to learn the tree.
    num_latents: values K of every latent variable.
    dist: distribution of the inputs; None takes the number of categories from the data.
    seed: seed of the initial parameters; the structure depends on the data alone.
    num_bins: variables with more categories are binned for the tree (not for the inputs).
    sigma: None counts values in sharp bins. A number counts them in soft ones of that width, of values scaled to [0, 1], as
        PyJuice does (its default is 0.5 / 32): the tree is then PyJuice's on the same data. ``x`` may hold real numbers then,
        if ``dist`` is Gaussian.

    Every inner node of the tree has a latent variable: one product vector (the inputs of its variable times what its
    children send) and K sums over it. Leaves of the tree have no latent of their own: their inputs are multiplied right
    into the products of their parent, as in PyJuice. The tree is rooted at its centre, so that it has few layers.

    Raises ValueError for wrong arguments, and for data with missing values or categories that ``dist`` does not have.
    """
    checked_integer("HCLT(num_latents=...)", num_latents)
    checked_integer("HCLT(num_bins=...)", num_bins, least=2)
    check_seed("HCLT", seed)
    if sigma is not None and not (is_number(sigma) and sigma > 0):
        raise ValueError(f"HCLT(sigma=...) expects a number above 0, such as 0.5 / 32, or None for sharp bins, got {sigma!r}.")
    if dist is not None:
        check_dist("HCLT", dist)
    x = _checked_data(x, real=sigma is not None and isinstance(dist, Gaussian))
    dist = _checked_dist(x, dist)
    neighbours = chow_liu_tree(mutual_information(x, num_bins) if sigma is None else soft_mutual_information(x, num_bins, float(sigma)))
    root = circuit_of_tree(neighbours, tree_centre(neighbours), int(num_latents), dist)
    root.seed = int(seed)
    return root


def chow_liu_tree(weights: np.ndarray) -> list[list[int]]:
    """Maximum spanning tree of a complete graph [V, V] by Prim's algorithm; returns the neighbours of each variable, ascending.

    It grows from the variable with the largest total weight, to which variables of weight 0 (constant ones) attach as leaves.
    """
    num_vars = len(weights)
    neighbours: list[list[int]] = [[] for _ in range(num_vars)]
    start = int(np.argmax(weights.sum(axis=1)))
    best, nearest = weights[start].copy(), np.full(num_vars, start)
    inside = np.zeros(num_vars, dtype=bool)
    best[start], inside[start] = -np.inf, True
    for _ in range(num_vars - 1):
        new = int(np.argmax(best))
        old = int(nearest[new])
        neighbours[old].append(new)
        neighbours[new].append(old)
        inside[new] = True
        best[new] = -np.inf
        closer = ~inside & (weights[new] > best)
        best[closer], nearest[closer] = weights[new][closer], new
    return [sorted(ids) for ids in neighbours]


def breadth_first(neighbours: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    """Order of the variables from ``root`` outwards, and the parent of each (-1 for the root)."""
    order, parents = [root], [-1] * len(neighbours)
    for v in order:
        for u in neighbours[v]:
            if u != parents[v]:
                parents[u] = v
                order.append(u)
    return order, parents


def tree_centre(neighbours: list[list[int]]) -> int:
    """The variable whose farthest variable is nearest; the lower one when there are two."""
    start = breadth_first(neighbours, 0)[0][-1]
    order, parents = breadth_first(neighbours, start)
    path = [order[-1]]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    return min(path[(len(path) - 1) // 2], path[len(path) // 2])


def circuit_of_tree(neighbours: list[list[int]], root: int, num_latents: int, dist: Distribution) -> SumNodes:
    """The circuit of a tree over variables with a latent of ``num_latents`` values at every inner node."""
    order, parents = breadth_first(neighbours, root)
    messages: dict[int, Nodes] = {}
    for v in reversed(order):
        own = inputs(v, num_nodes=num_latents, dist=dist, name=f"x{v}")
        received = [messages.pop(u) for u in neighbours[v] if u != parents[v]]
        factors = multiply(own, *received, name=f"z{v} products") if received else own
        if v == root:
            messages[v] = summate(factors, num_nodes=1, name="root")
        else:
            messages[v] = summate(factors, num_nodes=num_latents, name=f"z{v}") if received else own
    return messages[root]


def _checked_data(x, real: bool) -> np.ndarray:
    """``x`` [N, V]; ``real``: numbers may have fractions and be negative."""
    x = as_array(x, "HCLT: x")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"HCLT(x=...) expects data [N, V] with at least one row and one variable, got shape {list(x.shape)}.")
    if real and x.dtype.kind in "iuf":
        if not np.isfinite(x).all():
            raise ValueError("HCLT(x=...) expects finite numbers, got NaN or infinite ones; leave those rows out.")
        return x
    if not np.issubdtype(x.dtype, np.integer):
        hint = "convert with x.astype('uint8'), or pass dist=pcv.Gaussian(...) and sigma= for real numbers"
        raise ValueError(f"HCLT(x=...) expects integer categories, got dtype {x.dtype}; {hint}.")
    if x.min() < 0:
        raise ValueError(f"HCLT(x=...) expects categories from 0 up, got {x.min()}.")
    return x


def _checked_dist(x: np.ndarray, dist: Distribution | None) -> Distribution:
    """``dist``, if it has all values of ``x``; None: as many categories as ``x`` has."""
    if isinstance(dist, Gaussian):
        return dist
    num_cats = int(x.max()) + 1
    if dist is None:
        return Categorical(num_cats=num_cats)
    if num_cats > dist.num_cats:
        raise ValueError(f"HCLT: x has the value {num_cats - 1}, but {dist} allows 0 to {dist.num_cats - 1}; pass a dist with num_cats={num_cats}.")
    return dist
