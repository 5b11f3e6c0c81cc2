"""Equality of circuits, bit for bit, for tests of what copies them."""

import numpy as np

from pcviz.ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes, topological


def assert_same_circuit(found: Nodes, expected: Nodes, names: bool = True) -> None:
    """Same vectors in the same order, children, names, edges (and their order), distributions, parameters, ties, seed."""
    order, wanted = topological(found), topological(expected)
    assert len(order) == len(wanted)
    place, wanted_place = ({id(nodes): i for i, nodes in enumerate(vectors)} for vectors in (order, wanted))
    assert found.seed == expected.seed
    for a, b in zip(order, wanted):
        assert type(a) is type(b) and a.num_nodes == b.num_nodes and a.scope == b.scope, (a, b)
        assert not names or a.name == b.name, (a, b)
        assert [place[id(child)] for child in a.children] == [wanted_place[id(child)] for child in b.children], (a, b)
        if isinstance(a, InputNodes):
            assert a.var == b.var and a.dist == b.dist
        else:
            assert_same_array(a.edge_ids, b.edge_ids, np.int64)
        if isinstance(a, SumNodes):
            assert a.edge_block == b.edge_block
        if not isinstance(a, ProdNodes):
            assert_same_array(a.params, b.params, np.float32)
    assert ties(order) == ties(wanted)


def ties(order: list[Nodes]) -> list[int | None]:
    """Which vector keeps the parameters of each, by number; the first of its tie class when the source is no vector of the circuit."""
    keepers = {id(nodes): i for i, nodes in enumerate(order)}
    return [None if isinstance(nodes, ProdNodes) else keepers.setdefault(id(nodes.storage), i) for i, nodes in enumerate(order)]


def assert_same_array(found: np.ndarray | None, expected: np.ndarray | None, dtype) -> None:
    """Equal to the last bit, or both None."""
    if found is None or expected is None:
        assert found is expected, (found, expected)
        return
    assert found.dtype == expected.dtype == dtype and found.shape == expected.shape
    assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected).tobytes()
