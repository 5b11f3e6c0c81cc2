"""Random small circuits: every shape that the symbolic circuit allows, with parameters as after training.

``small_circuits()`` is a hypothesis strategy; ``random_circuit(seed)`` makes the same circuits without hypothesis.
"""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from pcviz.ir.distributions import Bernoulli, Categorical, Distribution, Gaussian
from pcviz.ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes, inputs, multiply, normalise_edges, summate, topological

WIDTHS = (1, 2, 3, 5, 8)


@st.composite
def small_circuits(draw, zeros: bool = True, gaussians: bool = False) -> SumNodes:
    """Valid circuits over 2 to 4 variables of 2 to 4 categories, vectors of 1, 2, 3, 5 or 8 nodes, with ties or without.

    zeros: whether parameters may be exactly zero (then samples may be impossible). gaussians: whether variables may be
    real; the first one is.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**16), label="parameters"))
    return _Builder(lambda low, high: draw(st.integers(low, high)), rng, zeros, gaussians).circuit()


def random_circuit(seed: int, zeros: bool = True, gaussians: bool = False) -> SumNodes:
    """A circuit like those of ``small_circuits``, from a seed."""
    rng = np.random.default_rng(seed)
    return _Builder(lambda low, high: int(rng.integers(low, high + 1)), rng, zeros, gaussians).circuit()


def random_data(root: Nodes, count: int, seed: int = 0) -> np.ndarray:
    """[count, V] values within the variables' domains, float64; real ones around the means of their inputs."""
    rng = np.random.default_rng(seed)
    dists = {nodes.var: nodes.dist for nodes in topological(root) if isinstance(nodes, InputNodes)}
    columns = [
        rng.normal(dist.mu, 2 * dist.sigma, count) if isinstance(dist, Gaussian) else rng.integers(0, dist.num_cats, count)
        for _, dist in sorted(dists.items())
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def trained_params(root: Nodes, rng: np.random.Generator, zero_share: float = 0.0) -> None:
    """Replace all parameters by skewed ones, a share of them exactly zero; every row still sums to 1."""
    for nodes in topological(root):
        if isinstance(nodes, ProdNodes):
            continue
        if isinstance(nodes, InputNodes) and isinstance(nodes.dist, Gaussian):
            means = rng.normal(nodes.dist.mu, nodes.dist.sigma, nodes.num_nodes)
            nodes.params = np.stack([means, nodes.dist.sigma * rng.gamma(2.0, 0.4, nodes.num_nodes) + 0.02], axis=1).astype(np.float32)
            continue
        shape = (nodes.num_nodes, nodes.dist.num_cats) if isinstance(nodes, InputNodes) else nodes.param_shape
        weights = rng.gamma(0.5, size=shape) + 1e-4
        weights[_droppable(nodes, rng.random(shape) < zero_share)] = 0.0
        if isinstance(nodes, InputNodes):
            nodes.params = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        else:
            nodes.params = normalise_edges(nodes, weights)


def vectors_with_rows(root: Nodes) -> list[Nodes]:
    """Input and sum vectors, children before parents."""
    return [nodes for nodes in topological(root) if not isinstance(nodes, ProdNodes)]


def extreme_params(root, rng, decades):
    """Parameters spread evenly over ``decades`` powers of ten, some exactly zero; every row sums to 1."""
    for nodes in vectors_with_rows(root):
        weights = 10.0 ** -(decades * rng.random(nodes.params.shape))
        weights[nodes.params == 0] = 0
        if nodes.kind == "input":
            nodes.params = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        else:
            nodes.params = normalise_edges(nodes, weights)


def _droppable(nodes: Nodes, drop: np.ndarray) -> np.ndarray:
    """``drop`` without the first parameter of each node, so that no row becomes zero."""
    if isinstance(nodes, InputNodes) or nodes.edge_ids is None:
        drop[:, 0] = False
    else:
        first_edges = np.unique(nodes.edge_ids[0], return_index=True)[1]
        drop[first_edges, :, 0] = False
    return drop


class _Builder:
    """``pick(low, high)`` makes every structural decision; 0 is always the plainest one, for shrinking."""

    def __init__(self, pick: Callable[[int, int], int], rng: np.random.Generator, zeros: bool, gaussians: bool = False):
        self.pick, self.rng, self.zeros = pick, rng, zeros
        self.dists = [self.dist(gaussians and (var == 0 or pick(0, 1) == 1)) for var in range(pick(2, 4))]
        self.ties = pick(0, 2) > 0
        if self.ties and pick(0, 1) == 1:
            self.dists = [self.dists[0]] * len(self.dists)
        self.vectors: dict[tuple[int, ...], list[Nodes]] = {}
        self.leaves: list[InputNodes] = []
        self.made: list[SumNodes] = []

    def dist(self, gaussian: bool) -> Distribution:
        if gaussian:
            return Gaussian(mu=self.pick(-3, 3), sigma=(1.0, 0.2, 30.0)[self.pick(0, 2)])
        return Bernoulli() if self.pick(0, 3) == 3 else Categorical(self.pick(2, 4))

    def circuit(self) -> SumNodes:
        scope = tuple(range(len(self.dists)))
        children = self.products(scope)
        if self.pick(0, 3) == 3:
            children.append(self.sums(children, self.width()))  # a sum over a sum
        root = self.sums(children, 1)
        trained_params(root, self.rng, zero_share=self.pick(0, 2) * 0.2 if self.zeros else 0.0)
        return root

    def width(self) -> int:
        if self.ties and self.made and self.pick(0, 2) > 0:
            return self.made[-1].num_nodes  # equal lengths, so that there is something to tie
        return WIDTHS[self.pick(0, len(WIDTHS) - 1)]

    def region(self, scope: tuple[int, ...]) -> Nodes:
        """One vector over ``scope``: shared with an earlier use, or new."""
        known = self.vectors.setdefault(scope, [])
        if known and self.pick(0, 2) < 2:
            return known[self.pick(0, len(known) - 1)]
        if len(scope) == 1:
            new = self.variable(scope[0])
        else:
            products = self.products(scope)
            if self.pick(0, 3) == 3:
                known.append(self.sums(products, self.width()))  # a second vector of sums over the same products
            new = self.sums(products, self.width())
        known.append(new)
        return new

    def variable(self, var: int) -> Nodes:
        """Inputs, or sums right over one or two vectors of inputs, or over products of a single input."""
        leaf = self.leaf(var, f"x{var}")
        kind = self.pick(0, 4)
        if kind < 2:
            return leaf
        if kind == 2:
            return self.sums([leaf], self.width())
        other = self.leaf(var, f"x{var}b")
        return self.sums([leaf, other] if kind == 3 else [leaf, multiply(other)], self.width())

    def leaf(self, var: int, name: str) -> InputNodes:
        """New inputs, or such as are tied to earlier ones."""
        same = [leaf for leaf in self.leaves if leaf.dist == self.dists[var]] if self.ties else []
        if same and self.pick(0, 1) == 1:
            return same[self.pick(0, len(same) - 1)].duplicate(var, tie_params=True, name=name)
        self.leaves.append(inputs(var, num_nodes=self.width(), dist=self.dists[var], name=name))
        return self.leaves[-1]

    def products(self, scope: tuple[int, ...]) -> list[Nodes]:
        return [self.product(scope) for _ in range(self.pick(1, 3))]

    def product(self, scope: tuple[int, ...]) -> ProdNodes:
        """Products over a random partition of ``scope`` into two parts, or three."""
        order = [int(v) for v in self.rng.permutation(scope)]
        cut = self.pick(1, len(order) - 1)
        parts = [order[:cut], order[cut:]]
        if len(parts[1]) > 1 and self.pick(0, 2) == 2:
            parts[1:] = [parts[1][:1], parts[1][1:]]
        children = [self.region(tuple(sorted(part))) for part in parts]
        widths = {child.num_nodes for child in children}
        if len(widths) == 1 and self.pick(0, 2) < 2:
            return multiply(*children)
        num_products = max(max(widths), self.width())
        columns = [self.cover(child.num_nodes, num_products) for child in children]
        return multiply(*children, edge_ids=np.stack(columns, axis=1))

    def cover(self, num_nodes: int, count: int) -> np.ndarray:
        """``count`` indices in which every one of 0 .. num_nodes - 1 occurs."""
        extra = self.rng.integers(0, num_nodes, count - num_nodes)
        return self.rng.permutation(np.concatenate([np.arange(num_nodes), extra]))

    def sums(self, children: list[Nodes], num_nodes: int) -> SumNodes:
        """Sums over all children: fully connected, or sparse at a granularity of 1 or 2; or tied to earlier ones, which may be
        in the same layer or in another one, over the same children or over others."""
        lengths = [child.num_nodes for child in children]
        same = [sums for sums in self.made if [child.num_nodes for child in sums.children] == lengths] if self.ties else []
        if same and num_nodes > 1 and self.pick(0, 2) > 0:
            return same[self.pick(0, len(same) - 1)].duplicate(*children, tie_params=True)
        made = self.fresh_sums(children, num_nodes)
        if num_nodes > 1:
            self.made.append(made)
        return made

    def fresh_sums(self, children: list[Nodes], num_nodes: int) -> SumNodes:
        blocks = self.pick(0, 2)
        if blocks == 2 and any(nodes % 2 for nodes in (num_nodes, *(child.num_nodes for child in children))):
            blocks = 1
        if blocks == 0:
            return summate(*children, num_nodes=num_nodes)
        rows, cols = num_nodes // blocks, sum(child.num_nodes for child in children) // blocks
        connected = self.rng.random((rows, cols)) < 0.4
        connected[np.arange(rows), self.rng.integers(0, cols, rows)] = True  # no sum without a child
        connected[self.rng.integers(0, rows, cols), np.arange(cols)] = True  # no child without a parent
        edge_ids = self.rng.permutation(np.stack(np.nonzero(connected)), axis=1)
        return summate(*children, num_nodes=num_nodes, edge_ids=edge_ids, edge_block=blocks)
