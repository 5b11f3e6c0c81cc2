"""Numbers of vectors and nodes that do not change with the block size, and which node reads which.

Vectors are numbered inputs first, then layer by layer: the products that a layer is the first to read, then its sums. Nodes are
numbered in the same order, so that a vector's nodes are a range. Nothing here lists the edges of the whole circuit: a
question about some rows looks at the edges of these rows.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..ir.nodes import Nodes, ProdNodes, SumNodes
from .layering import Layering


class Numbering:
    """``vectors`` by number; ``starts`` [V + 1] their first nodes; ``layers`` [V], 0 for inputs; ``members`` by (layer, is sum)."""

    def __init__(self, cut: Layering):
        self.cut = cut
        self.vectors: list[Nodes] = list(cut.inputs)
        layers = [0] * len(cut.inputs)
        self.members: dict[tuple[int, bool], range] = {(0, False): range(len(self.vectors))}
        seen = set()
        for layer in cut.layers:
            for is_sum in (False, True):
                first = len(self.vectors)
                if is_sum:
                    self.vectors += layer.sums
                else:
                    fresh = [nodes for nodes in layer.elements if isinstance(nodes, ProdNodes) and id(nodes) not in seen]
                    seen.update(map(id, fresh))
                    self.vectors += fresh
                self.members[layer.index, is_sum] = range(first, len(self.vectors))
                layers += [layer.index] * (len(self.vectors) - first)
        self.layers = np.array(layers)
        self.starts = np.cumsum([0, *(nodes.num_nodes for nodes in self.vectors)])
        self.number = {id(nodes): i for i, nodes in enumerate(self.vectors)}

    @property
    def num_nodes(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def children(self) -> list[list[int]]:
        """Vectors that each vector reads, in its own order."""
        return [[self.number[id(child)] for child in nodes.children] for nodes in self.vectors]

    @cached_property
    def parents(self) -> list[list[int]]:
        """Vectors that read each vector, ascending."""
        found: list[list[int]] = [[] for _ in self.vectors]
        for number, children in enumerate(self.children):
            for child in children:
                found[child].append(number)
        return found

    def locate(self, node: int) -> tuple[int, int]:
        """(vector, row in it) of a node; ValueError when there is none of this number."""
        if not 0 <= node < self.num_nodes:
            raise ValueError(f"There is no node {node:,}: this circuit has the nodes 0 to {self.num_nodes - 1:,}.")
        vector = int(np.searchsorted(self.starts, node, "right")) - 1
        return vector, node - int(self.starts[vector])

    def reached(self, vectors: list[int], up: bool) -> list[int]:
        """Vectors that any of ``vectors`` depends on (``up``: that depend on one of them), directly or not, ascending."""
        step = self.parents if up else self.children
        seen, queue = set(), list(vectors)
        while queue:
            for other in step[queue.pop()]:
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        return sorted(seen)


def pair_counts(parent: Nodes, place: int, rows: np.ndarray, children: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Edges between sets of nodes, [shape]: from sets of ``parent``'s rows to sets of the nodes of its child ``place``.

    ``rows`` [num_nodes of the parent] and ``children`` [num_nodes of the child]: the set that each node is in, -1 for none.
    """
    if isinstance(parent, SumNodes) and parent.edge_ids is None:
        return np.outer(_sizes(rows, shape[0]), _sizes(children, shape[1]))
    if isinstance(parent, ProdNodes):
        read = children if parent.edge_ids is None else children[parent.edge_ids[:, place]]
        return _count(rows, read, shape)
    b, first = parent.edge_block, sum(child.num_nodes for child in parent.children[:place])
    of_rows, of_children = rows.reshape(-1, b), children.reshape(-1, b)
    inside = (parent.edge_ids[1] >= first // b) & (parent.edge_ids[1] < first // b + len(of_children))
    above = (of_rows >= 0).any(axis=1)
    inside &= above[parent.edge_ids[0]]
    i, j = of_rows[parent.edge_ids[0][inside]], of_children[parent.edge_ids[1][inside] - first // b]
    if (of_rows == of_rows[:, :1]).all() and (of_children == of_children[:, :1]).all():  # no set cuts through an edge block
        return _count(i[:, 0], j[:, 0], shape) * b * b
    i, j = np.broadcast_arrays(i[:, :, None], j[:, None, :])
    return _count(i.ravel(), j.ravel(), shape)


def _sizes(sets: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(sets[sets >= 0], minlength=count)


def _count(i: np.ndarray, j: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    keep = (i >= 0) & (j >= 0)
    return np.bincount(i[keep] * shape[1] + j[keep], minlength=shape[0] * shape[1]).reshape(shape)


def read_by(parent: Nodes, place: int, rows: np.ndarray) -> np.ndarray:
    """Mask of the nodes of child ``place`` that the rows of this mask read."""
    child = parent.children[place]
    if isinstance(parent, ProdNodes):
        return rows if parent.edge_ids is None else _mask(parent.edge_ids[rows, place], child.num_nodes)
    if parent.edge_ids is None:
        return np.full(child.num_nodes, rows.any())
    b, first = parent.edge_block, sum(each.num_nodes for each in parent.children[:place]) // parent.edge_block
    blocks = parent.edge_ids[1][rows.reshape(-1, b).any(axis=1)[parent.edge_ids[0]]] - first
    count = child.num_nodes // b
    return np.repeat(_mask(blocks[(blocks >= 0) & (blocks < count)], count), b)


def readers(parent: Nodes, place: int, children: np.ndarray) -> np.ndarray:
    """Mask of ``parent``'s rows that read a node of this mask of its child ``place``."""
    if isinstance(parent, ProdNodes):
        return children if parent.edge_ids is None else children[parent.edge_ids[:, place]]
    if parent.edge_ids is None:
        return np.full(parent.num_nodes, children.any())
    b, first = parent.edge_block, sum(each.num_nodes for each in parent.children[:place]) // parent.edge_block
    wanted = np.zeros(parent.num_children // b, dtype=bool)
    wanted[first : first + len(children) // b] = children.reshape(-1, b).any(axis=1)
    return np.repeat(_mask(parent.edge_ids[0][wanted[parent.edge_ids[1]]], parent.num_nodes // b), b)


def _mask(indices: np.ndarray, length: int) -> np.ndarray:
    mask = np.zeros(length, dtype=bool)
    mask[indices] = True
    return mask


def edges_per_row(nodes: Nodes) -> np.ndarray:
    """[num_nodes] how many nodes each node reads."""
    if isinstance(nodes, ProdNodes):
        return np.full(nodes.num_nodes, nodes.arity)
    if not isinstance(nodes, SumNodes):
        return np.zeros(nodes.num_nodes, dtype=np.int64)
    if nodes.edge_ids is None:
        return np.full(nodes.num_nodes, nodes.num_children)
    blocks = np.bincount(nodes.edge_ids[0], minlength=nodes.num_nodes // nodes.edge_block)
    return np.repeat(blocks * nodes.edge_block, nodes.edge_block)


def num_edges_of(nodes: Nodes, rows: np.ndarray | None = None) -> int:
    """How many nodes those in ``rows`` of a vector read, together; of None all."""
    if isinstance(nodes, SumNodes) and (rows is None or nodes.edge_ids is not None):
        return nodes.num_edges if rows is None else int(edges_per_row(nodes)[rows].sum())
    of_one = nodes.arity if isinstance(nodes, ProdNodes) else nodes.num_children if isinstance(nodes, SumNodes) else 0
    return of_one * (nodes.num_nodes if rows is None else len(rows))


def parameters(nodes: SumNodes, row: int) -> np.ndarray | None:
    """[num_children] parameters of sum ``row`` over its child vectors end to end, 0 where it has no edge; None before there are any."""
    if nodes.params is None or nodes.edge_ids is None:
        return None if nodes.params is None else nodes.params[row]
    b = nodes.edge_block
    own = np.flatnonzero(nodes.edge_ids[0] == row // b)
    values = np.zeros((nodes.num_children // b, b), dtype=np.float32)
    values[nodes.edge_ids[1][own]] = nodes.params[own, row % b]
    return values.ravel()
