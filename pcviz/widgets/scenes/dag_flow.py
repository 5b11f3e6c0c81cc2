"""Flows of every node, for the colours of the DAG view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...compiler.numbering import Numbering
from ...ir.nodes import Nodes, ProdNodes, SumNodes
from .common import rounded


def node_flows(numbering: Numbering, flows_of: Callable[[Nodes], np.ndarray], samples: int) -> np.ndarray:
    """[num_nodes] float64: mean over ``samples`` of each node's flow, d log p(root) / d log p(node) (paper, section 5).

    ``flows_of``: flows of a sum vector's edges summed over the samples, in the shape of its params. A node's flow is what arrives
    on the edges of its readers, so vectors are taken from the root down; a product hands all of its flow to each factor.
    """
    total = np.zeros(numbering.num_nodes)
    total[numbering.starts[numbering.number[id(numbering.cut.root)]]] = samples
    for number in range(len(numbering.vectors) - 1, -1, -1):
        nodes = numbering.vectors[number]
        if isinstance(nodes, SumNodes):
            _hand_down(total, numbering, number, _by_child(nodes, flows_of(nodes)))
        elif isinstance(nodes, ProdNodes):
            own = total[numbering.starts[number] : numbering.starts[number + 1]]
            for place, child in enumerate(numbering.children[number]):
                first = numbering.starts[child]
                rows = np.arange(nodes.num_nodes) if nodes.edge_ids is None else nodes.edge_ids[:, place]
                total[first : first + nodes.children[place].num_nodes] += np.bincount(rows, own, nodes.children[place].num_nodes)
    return total / samples


def _by_child(nodes: SumNodes, edges: np.ndarray) -> np.ndarray:
    """[num_children] flow that arrives at each child node."""
    if nodes.edge_ids is None:
        return edges.sum(axis=0, dtype=np.float64)
    arriving = np.zeros((nodes.num_children // nodes.edge_block, nodes.edge_block))
    np.add.at(arriving, nodes.edge_ids[1], edges.sum(axis=1, dtype=np.float64))
    return arriving.ravel()


def _hand_down(total: np.ndarray, numbering: Numbering, number: int, arriving: np.ndarray) -> None:
    start = 0
    for child in numbering.children[number]:
        first, last = numbering.starts[child], numbering.starts[child + 1]
        total[first:last] += arriving[start : start + last - first]
        start += int(last - first)


def overview_flows(numbering: Numbering, flows: np.ndarray, glyph_keys: list[str]) -> dict:
    """Sums over the nodes of each layer's sums ("columns", first layer first) and of each region glyph ("regions"), by its key."""
    vectors = np.add.reduceat(flows, numbering.starts[:-1])
    layers = [vectors[list(numbering.members[layer.index, True])].sum() for layer in numbering.cut.layers]
    inputs = vectors[list(numbering.members[0, False])].sum()
    regions = [inputs if key == "layer:0" else vectors[int(key.split(":")[1])] for key in glyph_keys]
    return {"columns": [rounded(value) for value in layers], "regions": [rounded(value) for value in regions]}
