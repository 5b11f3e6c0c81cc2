"""Circuits to and from PyJuice: structure, parameters, ties and block sizes, exactly (float32), without compiling there.

PyJuice (2.6.3) keeps edges and parameters in blocks: ``edge_ids`` [2, E] of a sum vector join ``block_size`` sums to
``ch_block_size`` children, ``_params`` is [E, block_size, ch_block_size]. A product vector has one row of ``edge_ids`` per
block, or one per node. All children of a product have its block size, those of a sum one of their own, a power of two that
divides their lengths. PyJuice is imported in ``to_pyjuice`` alone; ``from_pyjuice`` knows its classes by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .ir.checks import check_circuit
from .ir.distributions import Categorical
from .ir.nodes import InputNodes, Nodes, ParamNodes, ProdNodes, SumNodes, inputs, multiply, summate
from .ir.ties import DisjointSets, tie, tie_classes
from .ir.unread import without_unread

MAX_BLOCK = 1024  # the largest block size that PyJuice's own structures choose


# ---- from PyJuice -------------------------------------------------------------------------------------------------------


def from_pyjuice(root_ns) -> SumNodes:
    """The circuit of a PyJuice root: ``root_ns`` its node vector, or its TensorCircuit (whose parameters are fetched first; where
    a sum reads something that is not right below it, PyJuice's compiler has put sums of one child in between, which come along).

    Parameters are copied; vectors that have none yet stay without. A sum vector that is fully connected has no edge_ids,
    another one keeps its own at the smaller of its two block sizes. A product of a single child, node by node, such as
    PyJuice puts between a sum and its inputs, vanishes, and so do nodes that nothing reads (products that PD did not draw).
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


def _from_distribution(ns) -> Categorical:
    name = type(ns.dist).__name__
    if name != "Categorical":
        raise ValueError(f"from_pyjuice: {ns!r} over variable {_variables(ns)[0]} has distribution {name}, expected Categorical.")
    return Categorical(num_cats=int(ns.dist.num_cats))


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
    if not ((params >= 0) & (params < np.inf)).all():
        raise ValueError(f"from_pyjuice: {ns!r} has parameters that are not finite or negative; expected probabilities.")
    if isinstance(nodes, InputNodes):
        return params.reshape(nodes.num_nodes, nodes.dist.num_cats).copy()
    result = _canonical(_SumEdges(ns), params, nodes.edge_ids is None).reshape(nodes.param_shape)
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


# ---- to PyJuice ---------------------------------------------------------------------------------------------------------


def to_pyjuice(root: Nodes):
    """The PyJuice root node vector of the circuit under ``root``, or of a TensorCircuit (which writes its parameters back).

    Every vector gets the largest block size up to 1024 that PyJuice allows: a power of two that divides the lengths of all
    vectors that must share it (a product's with its children's, those of a sum's children, those of tied vectors) and that
    edges respect. Nothing is padded: with a vector of odd length the block size is 1, and PyJuice is slow. A sum that reads
    other sums gets products of a single child in between, as PyJuice asks for.
    """
    try:
        import pyjuice  # only whoever calls this needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"to_pyjuice needs PyJuice ({error}): pip install pyjuice") from error
    root = root.write_back() if hasattr(root, "write_back") else root
    order = check_circuit(root)
    builder = _ToPyJuice(pyjuice, order)
    for nodes in order:
        builder.add(nodes)
    builder.tie()
    return builder.built[id(root)]


class _ToPyJuice:
    """Builds PyJuice's vectors, children before parents."""

    def __init__(self, pyjuice, order: list[Nodes]):
        import torch

        self.juice, self.tensor = pyjuice, torch.tensor
        self.order, self.blocks = order, block_sizes(order)
        self.built: dict[int, Any] = {}
        self.wrapped: dict[int, Any] = {}
        self.keepers = {id(nodes): nodes for nodes in order}  # of a tie class whose source is not in the circuit, the first vector
        for nodes in order:
            if isinstance(nodes, ParamNodes):
                self.keepers.setdefault(id(nodes.storage), nodes)

    def add(self, nodes: Nodes) -> None:
        block = self.blocks[id(nodes)]
        if isinstance(nodes, InputNodes):
            dist = self.juice.distributions.Categorical(num_cats=nodes.dist.num_cats)
            ns = self.juice.inputs(nodes.var, num_nodes=nodes.num_nodes, dist=dist, block_size=block)
            params = nodes.params
        elif isinstance(nodes, ProdNodes):
            ns, params = self.products(nodes, block), None
        else:
            ns, params = self.sums(nodes, block)
        self.built[id(nodes)] = ns
        if params is not None and self.keepers[id(nodes.storage)] is nodes:
            ns.set_params(self.tensor(np.ascontiguousarray(params)), normalize=False)

    def products(self, nodes: ProdNodes, block: int):
        children = [self.built[id(child)] for child in nodes.children]
        if nodes.edge_ids is None:
            return self.juice.multiply(*children)
        tiles = nodes.edge_ids.reshape(-1, block, nodes.arity)
        whole = (tiles == tiles[:, :1] + np.arange(block)[:, None]).all() and (tiles[:, 0] % block == 0).all()
        edge_ids = tiles[:, 0] // block if whole else nodes.edge_ids
        return self.juice.multiply(*children, edge_ids=self.tensor(edge_ids), sparse_edges=not whole)

    def sums(self, nodes: SumNodes, block: int):
        children = [self.readable(child) for child in nodes.children]
        edge_ids, params = tiled_edges(nodes, block, self.blocks[id(nodes.children[0])])
        edge_ids = None if edge_ids is None else self.tensor(edge_ids)
        return self.juice.summate(*children, num_nodes=nodes.num_nodes, edge_ids=edge_ids, block_size=block), params

    def readable(self, nodes: Nodes):
        """What a sum of PyJuice can read: a product, an input (which it wraps itself), or a product of one sum vector."""
        if not isinstance(nodes, SumNodes):
            return self.built[id(nodes)]
        if id(nodes) not in self.wrapped:
            self.wrapped[id(nodes)] = self.juice.multiply(self.built[id(nodes)])
        return self.wrapped[id(nodes)]

    def tie(self) -> None:
        for nodes in self.order:
            if isinstance(nodes, ParamNodes) and self.keepers[id(nodes.storage)] is not nodes:
                self.built[id(nodes)].set_source_ns(self.built[id(self.keepers[id(nodes.storage)])])


def block_sizes(order: list[Nodes]) -> dict[int, int]:
    """PyJuice's block size of every vector, by id: the largest that its rules and the edges allow."""
    sets = DisjointSets()
    for nodes in order:
        children = [id(child) for child in nodes.children]
        for child in children[1:] if isinstance(nodes, SumNodes) else children:
            sets.merge(id(nodes) if isinstance(nodes, ProdNodes) else children[0], child)
    for first, *others in tie_classes(order):
        for other in others:
            sets.merge(id(first), id(other))
            for child, same in zip(first.children, other.children):
                sets.merge(id(child), id(same))
    common: dict[Any, int] = {}  # what divides the lengths and respects the edges of each set
    for nodes in order:
        limits = [(nodes, nodes.num_nodes)]
        if isinstance(nodes, SumNodes) and nodes.edge_ids is not None:
            limits += zip((nodes, nodes.children[0]), granularity(nodes))
        for vector, limit in limits:
            key = sets.find(id(vector))
            common[key] = math.gcd(common.get(key, 0), limit)
    largest = {key: min(MAX_BLOCK, common_limit & -common_limit) for key, common_limit in common.items()}
    return {id(nodes): largest[sets.find(id(nodes))] for nodes in order}


def granularity(nodes: SumNodes) -> tuple[int, int]:
    """(sums, children): edges join whole, aligned runs of that many sums to whole runs of that many children."""
    sums, children = nodes.edge_ids
    return nodes.edge_block * _run_length(children, sums), nodes.edge_block * _run_length(sums, children)


def _run_length(lines: np.ndarray, places: np.ndarray) -> int:
    """The largest power of two r such that every line (a row of the block matrix) has all or none of each r aligned places."""
    r, num_places = 1, int(places.max()) + 1
    while 2 * r <= num_places and (np.unique(lines * num_places + places // (2 * r), return_counts=True)[1] == 2 * r).all():
        r *= 2
    return r


def tiled_edges(nodes: SumNodes, block: int, child_block: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(edge_ids [2, E], params [E, block, child_block]) of blocks of ``block`` sums x ``child_block`` children.

    edge_ids None: fully connected, in PyJuice's order. Blocks of the circuit are cut into cells that both layouts are made
    of, and the cells put together; edges keep their order when nothing has to be put together.
    """
    params = nodes.params
    if nodes.edge_ids is None:
        if params is not None:
            params = params.reshape(-1, block, nodes.num_children // child_block, child_block).transpose(0, 2, 1, 3)
            params = params.reshape(-1, block, child_block)
        return None, params
    b = nodes.edge_block
    rows, cols = math.gcd(b, block), math.gcd(b, child_block)  # of a cell
    sums = nodes.edge_ids[0][:, None, None] * (b // rows) + np.arange(b // rows)[:, None]
    children = nodes.edge_ids[1][:, None, None] * (b // cols) + np.arange(b // cols)
    sums, children = (part.ravel() for part in np.broadcast_arrays(sums, children))
    if params is not None:
        params = params.reshape(-1, b // rows, rows, b // cols, cols).transpose(0, 1, 3, 2, 4).reshape(-1, rows, cols)
    down, across = block // rows, child_block // cols  # cells of a block of PyJuice
    if down * across > 1:
        order = np.lexsort((children % across, sums % down, children // across, sums // down))
        sums, children = (part[order][:: down * across] for part in (sums // down, children // across))
        if params is not None:
            params = params[order].reshape(-1, down, across, rows, cols).transpose(0, 1, 3, 2, 4).reshape(-1, block, child_block)
    return np.stack([sums, children]), params
