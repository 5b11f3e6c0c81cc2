"""Nodes that nothing reads are left out, and nothing else changes."""

import numpy as np
import pytest
from circuits import random_circuit, trained_params
from equality import assert_same_array
from oracle import worlds_of

import pcviz as pcv
from pcviz.ir.checks import check_circuit
from pcviz.ir.nodes import CircuitError, ProdNodes, SumNodes, input_vectors, inputs, multiply, sum_vectors, summate, topological
from pcviz.ir.unread import without_unread
from pcviz.reference import log_likelihood

TRIT = pcv.Categorical(num_cats=3)


def thinned(root: SumNodes, rng: np.random.Generator, keep: float = 0.5) -> SumNodes:
    """The circuit with edges left out at random, one a sum block at least; ties stay. Nodes may lose all their parents."""
    new, keepers = {}, {}
    for nodes in topological(root):
        children = [new[id(child)] for child in nodes.children]
        if isinstance(nodes, ProdNodes):
            new[id(nodes)] = ProdNodes(children, nodes.edge_ids, nodes.name)
            continue
        keeper = keepers.get(id(nodes.storage))
        if keeper is not None:
            new[id(nodes)] = keeper.duplicate(*(children or (nodes.var,)), tie_params=True, name=nodes.name)
        elif not children:
            new[id(nodes)] = inputs(nodes.var, num_nodes=nodes.num_nodes, dist=nodes.dist, params=nodes.params, name=nodes.name)
        elif nodes.edge_ids is None:
            new[id(nodes)] = SumNodes(children, nodes.num_nodes, None, 1, nodes.params, nodes.name)
        else:
            kept = rng.random(nodes.edge_ids.shape[1]) < keep
            kept[np.unique(nodes.edge_ids[0], return_index=True)[1]] = True
            new[id(nodes)] = SumNodes(children, nodes.num_nodes, nodes.edge_ids[:, kept], nodes.edge_block, nodes.params[kept], nodes.name)
        keepers.setdefault(id(nodes.storage), new[id(nodes)])
    return new[id(root)]


def test_random_circuits_without_some_of_their_edges():
    shrunk = tied = 0
    for seed in range(150):
        before = thinned(random_circuit(seed), np.random.default_rng(seed))
        after = without_unread(before)
        check_circuit(after)
        x = worlds_of(after)
        np.testing.assert_allclose(log_likelihood(after, x), log_likelihood(before, x), rtol=1e-12)
        assert without_unread(after) is after
        sizes = [sum(nodes.num_nodes for nodes in topological(root)) for root in (before, after)]
        shrunk += sizes[1] < sizes[0]
        tied += sizes[1] < sizes[0] and any(nodes.tied_to for nodes in topological(after) if not isinstance(nodes, ProdNodes))
    assert shrunk > 50 and tied > 10, (shrunk, tied)


def two_blocks(edge_ids):
    """A root over four sums in blocks of two, which are read by edge_ids; sums over products of two variables."""
    x = [inputs(var, num_nodes=4, dist=TRIT, name=f"x{var}") for var in range(2)]
    middle = summate(multiply(*x), num_nodes=4, edge_ids=[[0, 1], [0, 1]], edge_block=2, name="middle")
    root = summate(middle, num_nodes=1, edge_ids=edge_ids)
    trained_params(root, np.random.default_rng(0))
    return root, middle


def test_blocks_that_are_live_stay_blocks():
    root, middle = two_blocks([[0, 0], [2, 3]])
    with pytest.raises(CircuitError, match="unreachable: node 0 of .*middle"):
        check_circuit(root)
    found = without_unread(root)
    (child,) = found.children
    assert child.num_nodes == 2 and child.edge_block == 2 and child.edge_ids.tolist() == [[0], [0]]
    assert_same_array(child.params, middle.params[1:], np.float32)
    assert [leaf.num_nodes for leaf in input_vectors(found)] == [2, 2]
    for leaf, old in zip(input_vectors(found), input_vectors(root)):
        assert_same_array(leaf.params, old.params[2:], np.float32)


def test_blocks_that_are_live_in_part_are_taken_apart():
    root, middle = two_blocks([[0, 0, 0], [0, 2, 3]])
    (child,) = without_unread(root).children
    assert child.num_nodes == 3 and child.edge_block == 1
    np.testing.assert_array_equal(child.params.ravel(), np.concatenate([middle.params[0, 0], middle.params[1].ravel()]))


def test_a_child_without_edges_is_no_child():
    """Even when another vector reads it."""
    x = [inputs(var, num_nodes=2, dist=TRIT) for var in range(3)]
    left, right = multiply(x[0], x[1]), multiply(x[0], x[1])
    one = summate(left, right, num_nodes=2, edge_ids=[[0, 1], [0, 1]])
    both = summate(left, right, num_nodes=2)
    root = summate(multiply(one, x[2]), multiply(both, x[2]), num_nodes=1)
    check_circuit(root)
    trained_params(root, np.random.default_rng(0))
    found = without_unread(root)
    assert [len(nodes.children) for nodes in sum_vectors(found)] == [1, 2, 2]
    np.testing.assert_allclose(log_likelihood(found, worlds_of(root)), log_likelihood(root, worlds_of(root)), rtol=1e-12)


def test_a_circuit_that_reads_all_of_its_nodes_is_returned_itself():
    for root in (pcv.PD((4, 4), 4, dist=TRIT, conn_block=2), pcv.figure_5_layer(2, 4)):
        assert without_unread(root) is root


def test_a_circuit_without_parameters():
    root, middle = two_blocks([[0, 0], [2, 3]])
    for nodes in (*sum_vectors(root), *input_vectors(root)):
        nodes.params = None
    found = without_unread(root)
    assert all(nodes.params is None for nodes in (*sum_vectors(found), *input_vectors(found)))
    assert found.num_children == 2
