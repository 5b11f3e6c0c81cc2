"""How large a circuit is."""

from __future__ import annotations

from dataclasses import dataclass

from .nodes import Nodes, ProdNodes, SumNodes, topological


@dataclass(frozen=True)
class CircuitCounts:
    """Nodes and edges of a circuit; a recorded circuit is known by the first three. ``edges``: of sums and of products."""

    nodes: int
    edges: int
    sum_edges: int
    sums: int


def circuit_counts(root: Nodes) -> CircuitCounts:
    """Of everything that ``root`` reaches."""
    vectors = topological(root)
    sums = [nodes for nodes in vectors if isinstance(nodes, SumNodes)]
    sum_edges = sum(nodes.num_edges for nodes in sums)
    product_edges = sum(nodes.num_nodes * nodes.arity for nodes in vectors if isinstance(nodes, ProdNodes))
    return CircuitCounts(
        sum(nodes.num_nodes for nodes in vectors), sum_edges + product_edges, sum_edges, sum(nodes.num_nodes for nodes in sums)
    )
