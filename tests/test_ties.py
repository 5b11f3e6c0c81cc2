"""Ties: one array for several vectors, in the circuit, in a plan, in training, in pruning and in the traffic model."""

import re

import numpy as np
import pytest
import torch
from circuits import random_circuit, random_data, trained_params
from oracle import log_likelihood, param_flows, worlds_of

import pcviz as pcv
from pcviz.ir.checks import check_circuit
from pcviz.ir.distributions import Gaussian
from pcviz.ir.nodes import CircuitError, init_params, inputs, multiply, summate, topological
from pcviz.ir.ties import tie_classes
from pcviz.params import gather_params
from pcviz.pruning import prune_edges
from pcviz.tracing import trace

TRIT = pcv.Categorical(num_cats=3)


def leaf(var, num_nodes=4):
    return inputs(var, num_nodes=num_nodes, dist=TRIT, name=f"x{var}")


def chain(length=5, num_latents=4, edge_ids=None):
    """A homogeneous hidden Markov model by hand: transitions tied over layers, emissions over variables."""
    emission = leaf(length - 1, num_latents)
    state, transition = emission, None
    for var in reversed(range(length - 1)):
        if transition is None:
            transition = step = summate(state, num_nodes=num_latents, edge_ids=edge_ids, name=f"z{var}")
        else:
            step = transition.duplicate(state, tie_params=True, name=f"z{var}")
        state = multiply(emission.duplicate(var, tie_params=True, name=f"x{var}"), step)
    return summate(state, num_nodes=1, name="root")


def side_by_side(num_nodes=4, children=4):
    """Three vectors of one layer, the first and the last of which are tied."""
    parts = [summate(leaf(var, children), num_nodes=num_nodes, name=f"s{var}") for var in range(2)]
    parts.append(parts[0].duplicate(leaf(2, children), tie_params=True, name="s2"))
    return summate(multiply(*parts), num_nodes=1)


def tensor_circuit(root, block_size, dtype=torch.float64):
    return pcv.TensorCircuit(pcv.compile(root, block_size=block_size), dtype=dtype)


# ---- the symbolic circuit ---------------------------------------------------------------------------------------------


def test_tied_vectors_read_and_write_one_array():
    first = summate(leaf(0), num_nodes=2, params=np.full((2, 4), 0.25))
    second = first.duplicate(leaf(1), tie_params=True)
    third = second.duplicate(leaf(2), tie_params=True)
    assert second.tied_to is first and third.tied_to is first and first.tied_to is None
    assert second.storage is third.storage is first.storage is first
    assert second.params is first.params and third.num_edges == 8
    third.params = np.eye(4, dtype=np.float32)[:2]
    np.testing.assert_array_equal(first.params, np.eye(4)[:2])
    source = leaf(0)
    other = source.duplicate(3, tie_params=True, name="x3")
    assert (other.var, other.variables, other.dist, other.tied_to, other.label) == (3, (3,), TRIT, source, "x3")
    assert source.duplicate(tie_params=True).var == 0


def test_without_ties_the_structure_and_a_copy_of_the_parameters():
    edge_ids = [[0, 1, 1], [1, 0, 1]]
    first = summate(leaf(0), num_nodes=4, edge_ids=edge_ids, edge_block=2, params=np.full((3, 2, 2), 0.25))
    second = first.duplicate(leaf(1))
    np.testing.assert_array_equal(second.edge_ids, edge_ids)
    assert second.tied_to is None and second.edge_block == 2 and second.variables == (1,)
    np.testing.assert_array_equal(second.params, first.params)
    second.params[:] = 0
    assert (first.params == 0.25).all()
    assert leaf(0).duplicate(1).params is None
    pair = multiply(leaf(0), leaf(1, 2), edge_ids=[[0, 1], [3, 0]])
    again = pair.duplicate(leaf(2), leaf(3, 2))
    assert again.variables == (2, 3)
    np.testing.assert_array_equal(again.edge_ids, pair.edge_ids)


@pytest.mark.parametrize(
    ("children", "message"),
    [
        (lambda: [leaf(1), leaf(1)], r"1 child vectors of \[4\] nodes, got 2 of \[4, 4\]"),
        (lambda: [leaf(1, 5)], r"child vectors of \[4\] nodes, got 1 of \[5\]"),
        (lambda: [7], "node vectors.*got int"),
    ],
)
def test_children_must_match(children, message):
    with pytest.raises(CircuitError, match=message):
        summate(leaf(0), num_nodes=2, name="s").duplicate(*children(), tie_params=True)


def test_duplicates_are_checked_like_other_vectors():
    with pytest.raises(CircuitError, match="not smooth"):
        summate(leaf(0), multiply(leaf(0)), num_nodes=2).duplicate(leaf(1), leaf(2), tie_params=True)
    with pytest.raises(CircuitError, match=re.escape("variable index of 0 or more, got -1")):
        leaf(0).duplicate(-1)
    other = inputs(1, num_nodes=4, dist=pcv.Categorical(2))
    with pytest.raises(CircuitError, match="variable 1 has two distributions"):
        check_circuit(summate(multiply(leaf(0), leaf(0).duplicate(1)), multiply(leaf(0), other), num_nodes=1))


def test_a_tie_class_is_initialised_once():
    root = chain()
    init_params(root, seed=3)
    before = {nodes: nodes.params for nodes in topological(root) if nodes.kind != "product"}
    assert len({id(params) for params in before.values()}) == 3
    init_params(root, seed=4)
    assert all(nodes.params is params for nodes, params in before.items())
    init_params(root, seed=3, overwrite=True)
    for nodes, params in before.items():
        np.testing.assert_array_equal(nodes.params, params)


def test_a_source_may_lie_outside_the_circuit():
    """It is where the parameters are kept, nothing more: training the circuit changes it, and whatever else it is part of."""
    source = summate(leaf(0), num_nodes=3)
    root = summate(multiply(source.duplicate(leaf(0), tie_params=True), source.duplicate(leaf(1), tie_params=True)), num_nodes=1)
    pc = tensor_circuit(root, 2)
    x = worlds_of(root)
    np.testing.assert_allclose(pc(x), log_likelihood(root, x))
    before = source.params.copy()
    pc.accumulate_flows(x[:2])
    pc.em_step()
    pc.write_back()
    assert (source.params != before).any()


# ---- the plan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1, 2, 4, 8])
def test_tied_vectors_share_tiles_and_tables(block_size):
    plan = pcv.compile(chain(), block_size=block_size)
    slots = [slot for layer in plan.layers for slot in layer.sums]
    assert [slot.first_use for slot in slots] == [True, False, False, False, True]
    for slot in slots[1:4]:
        np.testing.assert_array_equal(slot.tile_pids, slots[0].tile_pids)
    (group,) = plan.inputs
    assert len(group.vectors) == 5 and len(group.sources) == 1 and (group.table_ids == 0).all()
    init_params(plan.root)
    flat, tables = gather_params(plan)
    assert np.count_nonzero(flat) == 16 + 4 and [table.shape for table in tables] == [(1, 4, 3)]


@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_a_launch_knows_that_its_tiles_repeat(block_size):
    plan = pcv.compile(side_by_side(), block_size=block_size)
    lower, upper = (layer.groups[0] for layer in plan.layers)
    blocks = 4 // block_size
    assert lower.repeats and lower.first_use.sum() == 2 * blocks and len(lower.nids) == 3 * blocks
    assert not upper.repeats and upper.first_use.all()
    pc = pcv.TensorCircuit(plan)
    (launch,) = pc.engine.layers[0].sums
    (update,) = pc.engine.layers[0].updates
    assert launch.pids.repeats and not update.pids.repeats
    assert update.num_sum_blocks == 2 * blocks and len(update.pids) == len(update.pids.numbers.unique())
    assert pc.engine.layers[1].updates == pc.engine.layers[1].sums


def test_ties_across_layers_read_children_in_blocks_of_one_size():
    """The tied vector has a sibling with a wide child; the tile of the class must fit both."""
    narrow = summate(leaf(0, 3), num_nodes=3, name="narrow")
    wide = inputs(1, num_nodes=16, dist=TRIT, name="wide")
    step = narrow.duplicate(multiply(leaf(1, 3)), tie_params=True)
    sibling = summate(step.children[0], wide, num_nodes=3)
    upper = narrow.duplicate(summate(leaf(2, 3), num_nodes=3), tie_params=True)
    root = summate(multiply(narrow, step, upper), multiply(narrow, sibling, upper), num_nodes=1)
    x = worlds_of(root)
    init_params(root)
    for block_size in (1, 2, 4, 8, 16, 32):
        plan = pcv.compile(root, block_size=block_size)
        assert plan.summary == pcv.plan_summary(root, block_size=block_size)
        shapes = {(slot.grid.sum_block, slot.grid.child_block) for layer in plan.layers for slot in layer.sums if slot.grid.nodes.storage is narrow}
        assert shapes == {(min(block_size, 4), min(block_size, 16))}
        np.testing.assert_allclose(pcv.TensorCircuit(plan, dtype=torch.float64)(x), log_likelihood(root, x), rtol=1e-9)


# ---- flows and EM -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [chain, side_by_side])
@pytest.mark.parametrize("block_size", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flows_of_tied_parameters_add_up_and_em_divides_them_once(make, block_size, dtype):
    root = make()
    trained_params(root, np.random.default_rng(1))
    x = worlds_of(root)[:50]
    pc, expected = tensor_circuit(root, block_size, dtype), param_flows(root, x)
    flows = pc.flows(x)
    pc.accumulate_flows(x)
    pc.em_step()
    pc.write_back()
    for nodes, flow in expected.items():
        np.testing.assert_allclose(flows.of(nodes), flow, rtol=2e-4, atol=1e-6, err_msg=repr(nodes))
        total = flow.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(nodes.params, (flow / total).astype(np.float32), rtol=2e-4, atol=1e-6, err_msg=repr(nodes))


@pytest.mark.parametrize("block_size", [1, 4])
def test_a_mini_batch_step_mixes_tied_parameters_once(block_size):
    """step_size 0.25 twice on one tile would be a step of 0.44."""
    root = chain()
    trained_params(root, np.random.default_rng(2))
    x = worlds_of(root)[:40]
    before = {nodes: nodes.params.copy() for nodes in topological(root) if nodes.kind != "product"}
    flows, pc = param_flows(root, x), tensor_circuit(root, block_size)
    pc.accumulate_flows(x)
    pc.em_step(step_size=0.25)
    pc.write_back()
    for nodes, params in before.items():
        target = flows[nodes] / flows[nodes].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(nodes.params, 0.75 * params + 0.25 * target, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [chain, side_by_side, lambda: random_circuit(4), lambda: random_circuit(11)])
@pytest.mark.parametrize("block_size", [2, 8])
def test_full_batch_em_never_lowers_the_likelihood(make, block_size):
    root = make()
    assert tie_classes(topological(root))
    trained_params(root, np.random.default_rng(3))
    worlds = worlds_of(root)
    rng = np.random.default_rng(0)
    x = worlds[rng.choice(len(worlds), size=200, p=rng.dirichlet(np.full(len(worlds), 0.3)))]
    pc, lls = tensor_circuit(root, block_size), []
    for _ in range(8):
        lls.append(float(pc.accumulate_flows(x).mean()))
        pc.em_step()
    assert all(after >= before - 1e-12 for before, after in zip(lls, lls[1:])) and lls[-1] > lls[0] + 1e-3


# ---- pruning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.7, 0.3, 1e-9])
def test_pruning_keeps_ties(keep):
    root = chain(length=6, num_latents=8)
    trained_params(root, np.random.default_rng(4))
    x = worlds_of(root)
    pruned = pcv.prune(tensor_circuit(root, 4), keep=keep, x=x)
    check_circuit(pruned)
    transitions = [nodes for nodes in topological(pruned) if nodes.kind == "sum"][:-1]
    emissions = [nodes for nodes in topological(pruned) if nodes.kind == "input"]
    assert len(transitions) == 5 and len({id(nodes.storage) for nodes in transitions}) == 1
    assert len(emissions) == 6 and len({id(nodes.storage) for nodes in emissions}) == 1
    assert transitions[0].storage is not root.children[0].children[1].storage
    lls = log_likelihood(pruned, x)
    np.testing.assert_allclose(np.exp(lls).sum(), 1, rtol=1e-5)
    for block_size in (1, 2, 8):
        np.testing.assert_allclose(tensor_circuit(pruned, block_size)(x), lls, rtol=1e-6)


def test_a_node_that_only_one_of_the_tied_vectors_needs_stays_in_all():
    """State 1 is never entered, so only the first transition (which the root reads) has a use for its row."""
    root = chain(length=4, num_latents=2, edge_ids=[[0, 0, 1, 1], [0, 1, 0, 1]])
    trained_params(root, np.random.default_rng(5))
    scores = {id(nodes): np.ones(nodes.param_shape) for nodes in topological(root) if nodes.kind == "sum"}
    transition = root.children[0].children[1]
    first = next(nodes for nodes in topological(root) if nodes.kind == "sum")
    assert first.storage is transition.storage
    scores[id(first)] = np.array([1.0, 0.0, 1.0, 0.0]).reshape(4, 1, 1)  # only into state 0
    pruned = prune_edges(root, scores, keep=(3 * 2 + 2) / (3 * 4 + 2), granularity=1)
    check_circuit(pruned)
    sums = [nodes for nodes in topological(pruned) if nodes.kind == "sum"]
    assert [nodes.num_nodes for nodes in sums] == [2, 2, 2, 1]
    x = worlds_of(pruned)
    np.testing.assert_allclose(np.exp(log_likelihood(pruned, x)).sum(), 1, rtol=1e-5)
    for block_size in (1, 2):
        pc = tensor_circuit(pruned, block_size)
        np.testing.assert_allclose(pc(x), log_likelihood(pruned, x), rtol=1e-6)
        flows, expected = pc.flows(x), param_flows(pruned, x)
        for nodes, flow in expected.items():
            np.testing.assert_allclose(flows.of(nodes), flow, rtol=1e-6, atol=1e-9)


def test_a_tied_vector_that_goes_takes_its_needs_along():
    """Node 1 of the first vector is there for the second one alone, which pruning removes."""
    first = summate(leaf(0), num_nodes=2, name="first")
    second = first.duplicate(leaf(1), tie_params=True, name="second")
    kept = multiply(first, leaf(1), edge_ids=[[0, i] for i in range(4)])
    lost = multiply(leaf(0), second, edge_ids=[[i, 1] for i in range(4)])
    root = summate(kept, lost, num_nodes=1, params=[[0.2] * 4 + [0.05] * 4])
    check_circuit(root)
    init_params(root)
    scores = {id(nodes): np.ones(nodes.param_shape) for nodes in (first, second)} | {id(root): np.array([[2.0] * 4 + [0.5] * 4])}
    pruned = prune_edges(root, scores, keep=(8 + 8 + 4) / 24, granularity=1)
    check_circuit(pruned)
    only = pruned.children[0].children[0]
    assert only.label == "first" and only.num_nodes == 1 and only.tied_to is None
    np.testing.assert_allclose(np.exp(log_likelihood(pruned, worlds_of(pruned))).sum(), 1, rtol=1e-5)


# ---- traffic ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_tied_parameters_count_once_per_launch(block_size):
    root = side_by_side()
    summary = pcv.plan_summary(root, block_size=block_size)
    assert summary == pcv.compile(root, block_size=block_size).summary
    (group,), (backward,) = summary.layers[0].groups, summary.layers[0].backward_groups
    assert group.stored_edges == 48 and group.tied_blocks == backward.tied_blocks == 16 // block_size**2
    for launch in trace(summary, 10):
        if launch.layer == 1:
            assert launch.operand("parameters").unique == 32
            assert launch.operand("parameters").loads % 48 == 0
            assert launch.phase != "param_flows" or launch.operand("parameter flows").unique == 32


def test_ties_across_layers_are_read_by_each_launch():
    summary = pcv.plan_summary(chain(), block_size=4)
    groups = [group for layer in summary.layers for group in layer.groups]
    assert [group.tied_blocks for group in groups] == [0] * 5
    assert [launch.layer for launch in trace(summary, 10, passes=("em",))] == [1, 5]  # the layers between have the parameters of the first
    assert [group.updated_elsewhere for group in groups] == [0, *(group.stored_blocks for group in groups[1:4]), 0]
    assert summary.total("edges") == 4 * 16 + 4


# ---- widths -----------------------------------------------------------------------------------------------------------


def wide_and_narrow():
    """Sums of 48, 5, 128 and 1 nodes in one layer, each tied to one in the next layer, over Gaussian and Bernoulli inputs;
    those of 48 and 128 have block-sparse edges."""
    dists, tops = (Gaussian(sigma=2.0), pcv.Bernoulli(), Gaussian(sigma=2.0), pcv.Bernoulli()), []
    for width in (48, 5, 128, 1):
        x = [inputs(var, num_nodes=width, dist=dist, name=f"x{var}.{width}") for var, dist in enumerate(dists)]
        x[2] = x[0].duplicate(2, tie_params=True)
        block = 16 if width > 5 else 1
        edge_ids = None if block == 1 else [[i, j] for i in range(width // block) for j in range(width // block) if i == j or (i + j) % 3 == 0]
        lower = summate(multiply(x[0], x[1]), num_nodes=width, edge_ids=None if edge_ids is None else np.transpose(edge_ids), edge_block=block)
        upper = lower.duplicate(multiply(x[2], lower, edge_ids=np.stack([np.arange(width), np.arange(width)[::-1]], axis=1)), tie_params=True)
        tops.append(multiply(upper, x[3]))
    return summate(*tops, num_nodes=1)


@pytest.mark.parametrize("block_size", [1, 8, 32, 128])
def test_several_widths_with_ties_and_distributions(block_size):
    root = wide_and_narrow()
    trained_params(root, np.random.default_rng(0))
    plan = pcv.compile(root, block_size=block_size)
    assert plan.summary == pcv.plan_summary(root, block_size=block_size)
    assert [layer.num_sum_vectors for layer in plan.summary.layers] == [4, 4, 1]
    assert not any(slot.first_use for slot in plan.layers[1].sums)
    x, pc = random_data(root, 20), pcv.TensorCircuit(plan, dtype=torch.float64)
    np.testing.assert_allclose(pc(x), log_likelihood(root, x), rtol=1e-9)
    np.testing.assert_allclose(pcv.TensorCircuit(plan)(x), log_likelihood(root, x), rtol=1e-5)
    flows = pc.flows(x)
    for nodes, flow in param_flows(root, x).items():
        np.testing.assert_allclose(flows.of(nodes), flow, rtol=1e-6, atol=1e-6, err_msg=repr(nodes))
