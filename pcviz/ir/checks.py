"""Checks of a whole circuit: a proper root, variables without gaps, nothing unreachable.

Smoothness, decomposability and the edges of one vector are checked when the vector is built (nodes.py).
"""

import numpy as np

from .nodes import CircuitError, InputNodes, Nodes, ProdNodes, SumNodes, describe_scope, topological
from .ties import equal_lengths


def check_circuit(root: Nodes) -> list[Nodes]:
    """Check the circuit under ``root``; returns its vectors, children before parents.

    Raises CircuitError, naming node vector and variables, when the root is not a single sum, a variable is missing or
    has two distributions, or no parent reaches a node.
    """
    if not isinstance(root, SumNodes) or root.num_nodes != 1:
        found = repr(root) if isinstance(root, Nodes) else type(root).__name__
        raise CircuitError(f"the root must be one sum node, got {found}; end with pcv.summate(..., num_nodes=1).")
    order = topological(root)
    check_variables(root, order)
    check_reachable(root, order)
    return order


def check_variables(root: Nodes, order: list[Nodes]) -> None:
    """Variables are 0 .. V-1 without a gap, and each has one distribution."""
    num_vars = root.scope.bit_length()
    missing = ~root.scope & ((1 << num_vars) - 1)
    if missing:
        raise CircuitError(f"the root covers variables up to {num_vars - 1} but not {describe_scope(missing)}; number variables from 0 without gaps.")
    dists: dict[int, InputNodes] = {}
    for nodes in order:
        if isinstance(nodes, InputNodes) and dists.setdefault(nodes.var, nodes).dist != nodes.dist:
            first = dists[nodes.var]
            raise CircuitError(f"variable {nodes.var} has two distributions: {first.dist} in {first!r} and {nodes.dist} in {nodes!r}; use one.")


def check_reachable(root: Nodes, order: list[Nodes]) -> None:
    """Every node of every vector has a parent; a node that no edge reaches would silently cost memory and time.

    Where ties ask for equally long vectors, a parent of the node in one of them is enough.
    """
    of = equal_lengths(order)
    used: dict[int, np.ndarray | None] = {of[id(root)]: None}  # None: all nodes are used
    for parent in order:
        start, read = 0, _read_children(parent)
        for position, child in enumerate(parent.children):
            ids = None
            if isinstance(parent, ProdNodes) and parent.edge_ids is not None:
                ids = parent.edge_ids[:, position]
            elif isinstance(parent, SumNodes) and parent.edge_ids is not None:
                ids = np.flatnonzero(read[start : start + child.num_nodes])
            start += child.num_nodes
            if ids is None:
                used[of[id(child)]] = None
            elif used.get(of[id(child)], ()) is not None:
                used.setdefault(of[id(child)], np.zeros(child.num_nodes, dtype=bool))[ids] = True
    for nodes in order:
        mask = used.get(of[id(nodes)])
        if mask is not None and not mask.all():
            lost = np.flatnonzero(~mask)
            raise CircuitError(f"unreachable: node {int(lost[0])} of {nodes!r} has no parent ({len(lost)} such nodes); remove it or connect it.")


def _read_children(parent: Nodes) -> np.ndarray | None:
    """[num_children] bool: which child nodes a sparse sum vector reads; of other vectors None."""
    if not isinstance(parent, SumNodes) or parent.edge_ids is None:
        return None
    blocks = np.zeros(parent.num_children // parent.edge_block, dtype=bool)
    blocks[parent.edge_ids[1]] = True
    return np.repeat(blocks, parent.edge_block)
