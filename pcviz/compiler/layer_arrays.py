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

    Sparse vectors' edges end to end: ``edge_sum``, ``edge_element`` vector numbers; ``edge_row``, ``edge_col`` first node
    within the vector; ``edge_block`` nodes. ``sum_longest``, ``element_longest``: see Layer.longest. ``ties``: per class
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
        number: dict[int, int] = {}
        lengths, self.gathered, pairs = [], [], []
        for i, element in enumerate(layer.elements):
            for a, factor in enumerate(factors_of(element)):
                if id(factor) not in number:
                    number[id(factor)] = len(lengths)
                    lengths.append(factor.num_nodes)
                if not isinstance(element, ProdNodes) or element.edge_ids is None:
                    pairs.append((i, number[id(factor)]))
                else:
                    self.gathered.append((i, number[id(factor)], np.unique(element.edge_ids[:, a])))
        self.arity = np.array([len(factors_of(element)) for element in layer.elements], dtype=np.int64)
        self.factor_element, self.factor = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self.factor_len = np.array(lengths, dtype=np.int64)

    def _collect_edges(self, layer: Layer) -> None:
        first_link = np.searchsorted(self.link_sum, np.arange(len(layer.sums)))
        pieces = [(np.zeros(0, np.int64),) * 5]
        for i, nodes in enumerate(layer.sums):
            if nodes.edge_ids is not None:
                starts = np.cumsum([0] + [child.num_nodes for child in nodes.children])
                col = nodes.edge_ids[1] * nodes.edge_block
                child = np.searchsorted(starts, col, side="right") - 1
                same = np.full(len(col), i)
                element = self.link_element[first_link[i] + child]
                pieces.append((same, element, nodes.edge_ids[0] * nodes.edge_block, col - starts[child], np.full(len(col), nodes.edge_block)))
        self.edge_sum, self.edge_element, self.edge_row, self.edge_col, self.edge_block = map(np.concatenate, zip(*pieces))
