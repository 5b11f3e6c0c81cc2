"""Circuits to PyJuice, at the largest block sizes that it allows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ir.checks import check_circuit
from ..ir.distributions import Bernoulli, Categorical, Distribution, Gaussian
from ..ir.nodes import InputNodes, Nodes, ParamNodes, ProdNodes, SumNodes
from ..ir.ties import DisjointSets, tie_classes

MAX_BLOCK = 1024  # the largest block size that PyJuice's own structures choose


def to_pyjuice(root: Nodes, largest_block: int = MAX_BLOCK):
    """The PyJuice root node vector of the circuit under ``root``, or of a TensorCircuit (which writes its parameters back).

    Every vector gets the largest block size up to ``largest_block`` that PyJuice allows: a power of two that divides the lengths of all
    vectors that must share it (a product's with its children's, those of a sum's children, those of tied vectors) and that
    edges respect. Nothing is padded: with a vector of odd length the block size is 1, and PyJuice is slow. A sum that reads
    other sums gets products of a single child in between, as PyJuice asks for. Of Bernoulli inputs it keeps p(1) alone: a
    p(0) far below 1e-7 is lost there.

    Raises ModuleNotFoundError without PyJuice, CircuitError for a wrong structure, and ValueError for Bernoulli inputs whose
    probabilities do not sum to 1.
    """
    try:
        import pyjuice  # only whoever calls this needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"to_pyjuice needs PyJuice ({error}): pip install pyjuice") from error
    root = root.write_back() if hasattr(root, "write_back") else root
    order = check_circuit(root)
    builder = _ToPyJuice(pyjuice, order, largest_block)
    for nodes in order:
        builder.add(nodes)
    builder.tie()
    return builder.built[id(root)]


class _ToPyJuice:
    """Builds PyJuice's vectors, children before parents."""

    def __init__(self, pyjuice, order: list[Nodes], largest_block: int):
        import torch

        self.juice, self.tensor = pyjuice, torch.tensor
        self.order, self.blocks = order, block_sizes(order, largest_block)
        self.built: dict[int, Any] = {}
        self.wrapped: dict[int, Any] = {}
        self.keepers = {id(nodes): nodes for nodes in order}  # of a tie class whose source is not in the circuit, the first vector
        for nodes in order:
            if isinstance(nodes, ParamNodes):
                self.keepers.setdefault(id(nodes.storage), nodes)

    def add(self, nodes: Nodes) -> None:
        block = self.blocks[id(nodes)]
        if isinstance(nodes, InputNodes):
            ns = self.juice.inputs(nodes.var, num_nodes=nodes.num_nodes, dist=self.distribution(nodes.dist), block_size=block)
            params = _single_probability(nodes) if isinstance(nodes.dist, Bernoulli) else nodes.params
        elif isinstance(nodes, ProdNodes):
            ns, params = self.products(nodes, block), None
        else:
            ns, params = self.sums(nodes, block)
        self.built[id(nodes)] = ns
        if params is not None and self.keepers[id(nodes.storage)] is nodes:
            ns.set_params(self.tensor(np.ascontiguousarray(params)), normalize=False)

    def distribution(self, dist: Distribution):
        match dist:
            case Categorical():
                return self.juice.distributions.Categorical(num_cats=int(dist.num_cats))
            case Bernoulli():
                return self.juice.distributions.Bernoulli()
            case Gaussian():
                return self.juice.distributions.Gaussian(mu=dist.mu, sigma=dist.sigma, min_sigma=dist.min_sigma)

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


def _single_probability(nodes: InputNodes) -> np.ndarray | None:
    """p(1) of Bernoulli inputs; p(0) is what is left, which must be what it is here."""
    if nodes.params is not None and np.abs(nodes.params.sum(axis=1) - 1).max() > 1e-5:
        raise ValueError(f"to_pyjuice: the probabilities of {nodes!r} must sum to 1, because PyJuice keeps p(1) alone; normalise its params.")
    return None if nodes.params is None else nodes.params[:, 1]


def block_sizes(order: list[Nodes], largest_block: int = MAX_BLOCK) -> dict[int, int]:
    """PyJuice's block size of every vector, by id: the largest up to ``largest_block`` that its rules and the edges allow."""
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
    largest = {key: min(largest_block, common_limit & -common_limit) for key, common_limit in common.items()}
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
