"""The oracle agrees with itself: three definitions, one answer."""

import numpy as np
from circuits import random_circuit, small_circuits
from hypothesis import given, settings
from oracle import categories, choices, flows_by_autograd, log_likelihood, mpe_logs, node_flows, param_flows, worlds, worlds_of

import pcviz as pcv
from pcviz.ir.checks import check_circuit
from pcviz.ir.distributions import Bernoulli, Categorical
from pcviz.ir.nodes import InputNodes, ProdNodes, SumNodes, topological

few = settings(max_examples=40, deadline=None)


def test_worlds_are_all_assignments():
    assert worlds(2, 3).tolist() == [[a, b] for a in range(3) for b in range(3)]
    assert worlds(2, [1, 3]).tolist() == [[0, 0], [0, 1], [0, 2]]


@few
@given(small_circuits())
def test_small_circuits_are_valid_and_normalised(root):
    assert check_circuit(root)[-1] is root
    np.testing.assert_allclose(np.exp(log_likelihood(root, worlds_of(root))).sum(), 1.0, rtol=1e-5)


@few
@given(small_circuits())
def test_marginals_are_sums_over_worlds(root):
    x = worlds_of(root)
    observed = np.zeros((1, x.shape[1]), dtype=bool)
    observed[0, ::2] = True
    likelihoods = np.exp(log_likelihood(root, x))
    same = (x[:, None, ::2] == x[None, :, ::2]).all(axis=2)
    np.testing.assert_allclose(np.exp(log_likelihood(root, x, observed)), same @ likelihoods, rtol=1e-5, atol=1e-12)


@few
@given(small_circuits())
def test_flows_are_gradients(root):
    x = worlds_of(root)
    flows, gradients = param_flows(root, x), flows_by_autograd(root, x)
    assert flows.keys() == gradients.keys()
    for nodes, flow in flows.items():
        np.testing.assert_allclose(flow, gradients[nodes], rtol=1e-7, atol=1e-10, err_msg=repr(nodes))


@few
@given(small_circuits())
def test_flows_of_each_variable_sum_to_one(root):
    x = worlds_of(root)
    flows, possible = node_flows(root, x), np.isfinite(log_likelihood(root, x))
    totals = np.zeros((x.shape[1], len(x)))
    for nodes, flow in flows.items():
        if isinstance(nodes, InputNodes):
            totals[nodes.var] += flow.sum(axis=0)
    np.testing.assert_allclose(totals, np.broadcast_to(possible, totals.shape), atol=1e-9)


def test_choices_of_latents_add_up_to_the_likelihood_and_their_largest_is_max_product():
    """Every choice of latents is written out, on the circuits where they are few enough to be."""
    checked = 0
    for seed in range(60):
        root = random_circuit(seed)
        x = worlds_of(root)
        x = x[:: max(1, len(x) // 6)]
        every = [choices(root, row, most=600) for row in x]
        if None in every:
            continue
        checked += 1
        np.testing.assert_allclose([sum(terms) for terms in every], np.exp(log_likelihood(root, x)), rtol=1e-9)
        np.testing.assert_allclose([max(terms) for terms in every], np.exp(mpe_logs(root, x)), rtol=1e-9)
    assert checked >= 10, f"only {checked} circuits have few enough choices"


def test_random_circuits_have_every_shape():
    """Each shape that the strategy promises occurs, so that a property test over it means something."""
    roots = [random_circuit(seed) for seed in range(60)]
    vectors = [nodes for root in roots for nodes in topological(root)]
    sums = [nodes for nodes in vectors if isinstance(nodes, SumNodes)]
    products = [nodes for nodes in vectors if isinstance(nodes, ProdNodes)]
    assert {nodes.num_nodes for nodes in vectors} >= {1, 2, 3, 5, 8}
    assert {len(categories(root)) for root in roots} == {2, 3, 4}
    assert {count for root in roots for count in categories(root)} == {2, 3, 4}
    assert {nodes.arity for nodes in products} == {1, 2, 3}
    assert {nodes.edge_ids is None for nodes in products} == {True, False}
    assert {nodes.edge_block for nodes in sums if nodes.edge_ids is not None} == {1, 2}
    assert {type(child) for nodes in sums for child in nodes.children} == {InputNodes, ProdNodes, SumNodes}
    assert any(len({child.num_nodes for child in nodes.children}) > 2 for nodes in sums)
    assert any((nodes.params == 0).any() for nodes in sums)
    assert {type(nodes.dist) for nodes in vectors if isinstance(nodes, InputNodes)} == {Categorical, Bernoulli}
    plans = [pcv.compile(root, block_size=2) for root in roots]
    assert any(group.repeats for plan in plans for layer in plan.layers for group in layer.groups), "ties within a launch"
    assert any(not slot.first_use for plan in plans for layer in plan.layers[1:] for slot in layer.sums), "ties across layers"
    assert any(len(group.sources) < len(group.vectors) for plan in plans for group in plan.inputs), "tied inputs"
    assert any(nodes.tied_to and nodes.edge_ids is not None for nodes in sums), "ties of sparse vectors"
    uses = [child for root in roots for nodes in topological(root) for child in nodes.children]
    assert any(isinstance(child, ProdNodes) and uses.count(child) > 1 for child in uses)
