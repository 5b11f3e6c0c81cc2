"""Ties: vectors that share their parameters (``duplicate(..., tie_params=True)``), and what must be equal because of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np

from .nodes import CircuitError, InputNodes, Nodes, ParamNodes, ProdNodes, SumNodes


class DisjointSets:
    """Sets that merge. ``find`` names the set of an item; an item never seen is a set of its own."""

    def __init__(self):
        self._parent: dict[Hashable, Hashable] = {}

    def find(self, item: Hashable) -> Hashable:
        parent = self._parent
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def merge(self, first: Hashable, second: Hashable) -> None:
        self._parent[self.find(second)] = self.find(first)


def tie(nodes: ParamNodes, source: ParamNodes) -> None:
    """Let ``nodes`` share the parameters of ``source``, as if it were its tied duplicate; its own are dropped.

    Raises CircuitError unless both have the same kind, length, distribution, edges and lengths of children.
    """
    if not isinstance(source, ParamNodes) or type(nodes) is not type(source) or nodes.num_nodes != source.num_nodes:
        raise CircuitError(f"{nodes!r} cannot be tied to {source!r}: tied vectors are of one kind and length; give it parameters of its own.")
    if isinstance(nodes, InputNodes) and nodes.dist != source.dist:
        raise CircuitError(f"{nodes!r} with {nodes.dist} cannot be tied to {source!r} with {source.dist}; use one distribution.")
    if isinstance(nodes, SumNodes) and not _same_edges(nodes, source):
        raise CircuitError(f"{nodes!r} cannot be tied to {source!r}: lengths of children, edge_block and edge_ids must be equal, in the same order.")
    if nodes.storage is not source.storage:
        nodes.params = None
        nodes.tied_to = source.storage


def _same_edges(first: SumNodes, second: SumNodes) -> bool:
    lengths = [[child.num_nodes for child in nodes.children] for nodes in (first, second)]
    if lengths[0] != lengths[1] or first.edge_block != second.edge_block or (first.edge_ids is None) != (second.edge_ids is None):
        return False
    return first.edge_ids is None or np.array_equal(first.edge_ids, second.edge_ids)


def tie_classes(vectors: Iterable[Nodes]) -> list[list[Nodes]]:
    """The input or sum vectors among ``vectors`` that share parameters, two or more each, in the order given.

    The source of a class need not be among them: it is only where the parameters are kept.
    """
    classes: dict[int, list[Nodes]] = {}
    for nodes in vectors:
        if not isinstance(nodes, ProdNodes):
            classes.setdefault(id(nodes.storage), []).append(nodes)
    return [members for members in classes.values() if len(members) > 1]


def equal_lengths(vectors: list[Nodes]) -> dict[int, Hashable]:
    """id of each vector -> name of the set of vectors that must stay as long as it is, node by node.

    Tied vectors have as many nodes as each other, and so have their first children, their second children, ...
    """
    sets = DisjointSets()
    for first, *others in tie_classes(vectors):
        for other in others:
            sets.merge(id(first), id(other))
            for child, same in zip(first.children, other.children, strict=True):
                sets.merge(id(child), id(same))
    return {id(nodes): sets.find(id(nodes)) for nodes in vectors}
