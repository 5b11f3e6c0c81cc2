"""Circuits from PyJuice."""

from __future__ import annotations

import numpy as np

from ..ir.checks import check_circuit
from ..ir.distributions import Bernoulli, Categorical, Distribution, Gaussian, wrong_weights
from ..ir.nodes import Nodes, ParamNodes, SumNodes, inputs, multiply, summate
from ..ir.ties import tie
from ..ir.unread import without_unread


def from_pyjuice(root_ns) -> SumNodes:
    """The circuit of a PyJuice root: ``root_ns`` its node vector, or its TensorCircuit (whose parameters are fetched first; where
    a sum reads something that is not right below it, PyJuice's compiler has put sums of one child in between, which come along).

    Parameters are copied; vectors that have none yet stay without. A sum vector that is fully connected has no edge_ids,
    another one keeps its own at the smaller of its two block sizes. A product of a single child, node by node, such as
    PyJuice puts between a sum and its inputs, vanishes, and so do nodes that nothing reads (products that PD did not draw).

    Raises ValueError for what is no circuit of PyJuice and for inputs of a kind that pcviz does not have.
    """
    if hasattr(root_ns, "update_parameters") and hasattr(root_ns, "root_ns"):
        root_ns.update_parameters()
        root_ns = root_ns.root_ns
    order = _vectors(root_ns)
    built: dict[int, Nodes] = {}
    for ns in order:
        built[id(ns)] = _converted(ns, built)
    keepers = {id(ns): built[id(ns)] for ns in order}  # of a tie class whose source is not in the circuit, the first vector keeps the parameters
    for ns in order:
        if _kind(ns) == "ProdNodes":
            continue
        source = ns if ns._source_node is None else ns._source_node
        nodes, keeper = built[id(ns)], keepers.setdefault(id(source), built[id(ns)])
        if nodes is keeper:
            nodes.params = _params(source, nodes)
        else:
            tie(nodes, keeper)
    root = without_unread(built[id(root_ns)])
    check_circuit(root)
    return root


def _vectors(root_ns) -> list:
    """Every vector that the root reaches, children before parents. (PyJuice's own iterator recurses.)"""
    if _kind(root_ns) is None:
        raise ValueError(f"from_pyjuice expects the root node vector of a PyJuice circuit, or its TensorCircuit, got {type(root_ns).__name__}.")
    order, seen, stack = [], {id(root_ns)}, [(root_ns, iter(root_ns.chs))]
    while stack:
        ns, remaining = stack[-1]
        child = next(remaining, None)
        if child is None:
            order.append(ns)
            stack.pop()
        elif id(child) not in seen:
            seen.add(id(child))
            stack.append((child, iter(child.chs)))
    return order


def _kind(ns) -> str | None:
    """"InputNodes", "ProdNodes", "SumNodes"; None for what this module does not know."""
    name = type(ns).__name__
    return name if type(ns).__module__.startswith("pyjuice.") and name in ("InputNodes", "ProdNodes", "SumNodes") else None


def _converted(ns, built: dict[int, Nodes]) -> Nodes:
    """The vector of ``ns``, without parameters."""
    children = [built[id(child)] for child in ns.chs]
    kind = _kind(ns)
    if kind == "InputNodes":
        (var,) = _variables(ns)
        return inputs(var, num_nodes=ns.num_nodes, dist=_from_distribution(ns), name=f"x{var}")
    if kind == "ProdNodes":
        return _from_products(ns, children)
    if kind == "SumNodes":
        return _from_sums(ns, children)
    raise ValueError(f"from_pyjuice: {ns!r} is a {type(ns).__name__}, expected InputNodes, ProdNodes or SumNodes; replace it in the circuit.")


def _variables(ns) -> list[int]:
    variables = ns.scope.to_list()
    if len(variables) != 1:
        raise ValueError(f"from_pyjuice: {ns!r} is an input over variables {variables}; expected inputs over one variable each.")
    return variables


def _from_distribution(ns) -> Distribution:
    dist, name = ns.dist, type(ns.dist).__name__
    match name:
        case "Categorical":
            return Categorical(num_cats=int(dist.num_cats))
        case "Bernoulli":
            return Bernoulli()
        case "Gaussian":  # mu and sigma, where parameters start, may be missing there
            start = {key: float(value) for key, value in (("mu", dist.mu), ("sigma", dist.sigma)) if value is not None}
            return Gaussian(**start, min_sigma=float(dist.min_sigma))
    expected = "Categorical, Bernoulli or Gaussian"
    raise ValueError(f"from_pyjuice: {ns!r} over variable {_variables(ns)[0]} has distribution {name}, expected {expected}.")


def _from_products(ns, children: list[Nodes]) -> Nodes:
    """Products; a single child that is multiplied node by node stands for itself."""
    edge_ids = _numpy(ns.edge_ids)
    if len(edge_ids) == ns.num_node_blocks:
        edge_ids = (edge_ids[:, None] * ns.block_size + np.arange(ns.block_size)[:, None]).reshape(ns.num_nodes, -1)
    identity = (edge_ids == np.arange(ns.num_nodes)[:, None]).all() and all(child.num_nodes == ns.num_nodes for child in children)
    if identity and len(children) == 1:
        return children[0]
    return multiply(*children, edge_ids=None if identity else edge_ids)


def _from_sums(ns, children: list[Nodes]) -> SumNodes:
    """Sums, fully connected or at the smaller of the two block sizes."""
    edges = _SumEdges(ns)
    children = _distinct([child for child, kept in zip(children, edges.kept) if kept])
    if edges.connects_all:
        return summate(*children, num_nodes=ns.num_nodes)
    rows, cols = edges.rows, edges.cols
    sums = edges.sums[:, None, None] * rows + np.arange(rows)[:, None]
    blocks = edges.blocks[:, None, None] * cols + np.arange(cols)
    edge_ids = np.stack([part.ravel() for part in np.broadcast_arrays(sums, blocks)])
    return summate(*children, num_nodes=ns.num_nodes, edge_ids=edge_ids, edge_block=edges.block)


def _distinct(children: list[Nodes]) -> list[Nodes]:
    """Products of one child vanish; where a sum reads the same vector twice because of that, they have to stay."""
    seen: set[int] = set()
    result = []
    for child in children:
        result.append(multiply(child) if id(child) in seen else child)
        seen.add(id(child))
    return result


class _SumEdges:
    """Edges of a PyJuice sum vector without the children that it has no edge to (``kept``: bool per child vector).

    ``sums``, ``blocks`` [E]; a block of PyJuice is ``rows`` x ``cols`` blocks of ``block`` nodes of the circuit.
    """

    def __init__(self, ns):
        self.sums, blocks = _numpy(ns.edge_ids)
        ends = np.cumsum([child.num_node_blocks for child in ns.chs])
        read = np.zeros(ends[-1], dtype=bool)
        read[blocks] = True
        self.kept = [part.any() for part in np.split(read, ends[:-1])]
        there = np.repeat(self.kept, [child.num_node_blocks for child in ns.chs])
        self.blocks = (np.cumsum(there) - 1)[blocks]
        self.block = min(ns.block_size, ns.ch_block_size)
        self.rows, self.cols = ns.block_size // self.block, ns.ch_block_size // self.block
        self.grid = (ns.num_node_blocks, int(there.sum()))
        self.places = self.sums * self.grid[1] + self.blocks  # in row-major order

    @property
    def connects_all(self) -> bool:
        return len(self.places) == self.grid[0] * self.grid[1] and (self.in_order or len(np.unique(self.places)) == len(self.places))

    @property
    def in_order(self) -> bool:
        return bool((self.places == np.arange(len(self.places))).all())


def _params(ns, nodes: ParamNodes) -> np.ndarray | None:
    """A copy of the parameters of ``ns`` in the canonical form of ``nodes``."""
    if ns._params is None:
        return None
    params = _numpy(ns._params).astype(np.float32, copy=False)
    if isinstance(nodes, SumNodes):
        result = _canonical(_SumEdges(ns), params, nodes.edge_ids is None).reshape(nodes.param_shape)
        wrong = wrong_weights(result)
    else:
        both = isinstance(nodes.dist, Bernoulli)  # PyJuice keeps p(1) alone
        result = np.stack([1 - params, params], axis=1) if both else params.reshape(nodes.num_nodes, nodes.dist.num_params)
        wrong = nodes.dist.wrong_params(result)
    if wrong is not None:
        raise ValueError(f"from_pyjuice: parameters of {ns!r} over variables {nodes.variables[:6]} must be {wrong}.")
    return result.copy() if np.may_share_memory(result, params) else result


def _canonical(edges: _SumEdges, params: np.ndarray, connects_all: bool) -> np.ndarray:
    """``params`` [E, block size, child block size] in the order of the canonical form."""
    if not connects_all:
        return params.reshape(-1, edges.rows, edges.block, edges.cols, edges.block).transpose(0, 1, 3, 2, 4)
    tiles = params
    if not edges.in_order:
        tiles = np.empty_like(params)
        tiles[edges.places] = params
    return tiles.reshape(*edges.grid, *params.shape[1:]).transpose(0, 2, 1, 3)


def _numpy(tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
