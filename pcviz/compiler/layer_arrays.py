"""A layer as flat arrays, so that counting at one block size is a few numpy calls whatever the number of vectors."""

from __future__ import annotations

import numpy as np

from ..ir.nodes import ProdNodes
from ..ir.ties import tie_classes
from .layering import Layer, factors_of


def blocks_of(lengths: np.ndarray, block_size: int) -> np.ndarray:
    """min(block_size, next power of two >= length), elementwise."""
    next_power = 1 << np.ceil(np.log2(lengths)).astype(np.int64)
    return np.minimum(block_size, next_power)


class LayerArrays:
    """``sum_len`` [S], ``element_len`` [P]; a *link* is a child of a sum vector: ``link_sum``, ``link_element`` [L].

    Sparse vectors' edges end to end, int32: ``edge_link`` numbers of links; ``edge_row``, ``edge_col`` first node within the vectors.
    ``edge_block``, ``edge_count`` [S]: nodes that one edge joins (1 of dense vectors), and edges (0); ``node_edges``: edges of each
    node of the sum vectors, end to end (0 of dense ones). ``sum_longest``, ``element_longest``: see Layer.longest. ``ties``: per class
    that has several vectors in this layer, their numbers; ``tied`` [S]: all but the first of each class.
    ``arity`` [P]; of products of node i with node i: ``factor_element``, ``factor`` [F] numbers, ``factor_len`` by factor; of others
    (``gathered``): element number and, per factor, its number and the nodes of it that are read.
    """

    def __init__(self, layer: Layer):
        number = {id(e): i for i, e in enumerate(layer.elements)}
        self.sum_len = np.array([s.num_nodes for s in layer.sums], dtype=np.int64)
        self.element_len = np.array([e.num_nodes for e in layer.elements], dtype=np.int64)
        self.num_edges = np.array([s.num_edges for s in layer.sums], dtype=np.int64)
        self.link_sum = np.repeat(np.arange(len(layer.sums)), [len(s.children) for s in layer.sums])
        self.link_element = np.array([number[id(e)] for s in layer.sums for e in s.children], dtype=np.int64)
        self.dense = np.array([s.edge_ids is None for s in layer.sums])
        self.sum_longest = np.array([layer.longest[id(s)] for s in layer.sums], dtype=np.int64)
        self.element_longest = np.array([layer.longest[id(e)] for e in layer.elements], dtype=np.int64)
        position = {id(s): i for i, s in enumerate(layer.sums)}
        self.ties = [[position[id(s)] for s in members] for members in tie_classes(layer.sums)]
        self.tied = np.zeros(len(layer.sums), dtype=bool)
        for _, *others in self.ties:
            self.tied[others] = True
        self._collect_edges(layer)
        self._collect_factors(layer)

    def _collect_factors(self, layer: Layer) -> None:
        factors = [factors_of(element) for element in layer.elements]
        lengths = {id(factor): factor.num_nodes for own in factors for factor in own}
        number = dict(zip(lengths, range(len(lengths))))
        self.arity = np.array([len(own) for own in factors], dtype=np.int64)
        self.factor_len = np.array(list(lengths.values()), dtype=np.int64)
        element, found = np.repeat(np.arange(len(factors)), self.arity), np.array([number[id(factor)] for own in factors for factor in own])
        gathers = np.array([isinstance(each, ProdNodes) and each.edge_ids is not None for each in layer.elements])
        self.factor_element, self.factor = element[~gathers[element]], found[~gathers[element]]
        self.gathered = [
            (i, number[id(factor)], np.unique(layer.elements[i].edge_ids[:, a]))
            for i in np.flatnonzero(gathers).tolist()
            for a, factor in enumerate(factors[i])
        ]

    def _collect_edges(self, layer: Layer) -> None:
        first_link = np.searchsorted(self.link_sum, np.arange(len(layer.sums)))
        pieces, degrees = [(np.zeros(0, np.int32),) * 3], []
        for first, nodes in zip(first_link.tolist(), layer.sums):
            b = nodes.edge_block
            if nodes.edge_ids is None:
                degrees.append(np.zeros(nodes.num_nodes, dtype=np.int64))
                continue
            blocks = np.array([child.num_nodes // b for child in nodes.children])
            link = np.repeat(np.arange(first, first + len(blocks), dtype=np.int32), blocks)  # of each child block
            start = np.repeat(np.cumsum(blocks) - blocks, blocks)
            row, col = nodes.edge_ids
            column = ((np.arange(len(start)) - start) * b).astype(np.int32)
            pieces.append((link[col], (row * b).astype(np.int32), column[col]))
            degrees.append(np.repeat(np.bincount(row, minlength=nodes.num_nodes // b) * b, b))
        self.edge_link, self.edge_row, self.edge_col = map(np.concatenate, zip(*pieces))
        self.edge_block = np.array([nodes.edge_block for nodes in layer.sums])
        self.edge_count = np.array([0 if nodes.edge_ids is None else nodes.edge_ids.shape[1] for nodes in layer.sums])
        self.node_edges = np.concatenate(degrees)
