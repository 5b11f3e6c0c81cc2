"""float32 at its limits: exact zeros, pruned circuits, a sibling far above the real children, impossible evidence."""

import math

import numpy as np
import pytest
import torch
from circuits import extreme_params, random_circuit, vectors_with_rows
from oracle import log_values, node_flows, param_flows, worlds_of
from pcviz_kernels import reference
from pcviz_kernels.launches import ProductLaunch
from trained import digits, pruned_digits, small_pd

import pcviz as pcv
from pcviz import memory
from pcviz.ir.nodes import inputs, multiply, summate

F32, F64 = torch.float32, torch.float64


def tensor_circuit(root, block_size, dtype=F32) -> pcv.TensorCircuit:
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size), dtype=dtype)
    assert pc.impl == "torch"
    return pc


def by_reference(root, block_size, dtype=F64) -> pcv.TensorCircuit:
    """A circuit that runs the naive kernels on the same launches."""
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size), dtype=dtype)
    pc.engine.kernels = reference
    return pc


def of_nodes(pc, rows: torch.Tensor) -> torch.Tensor:
    """The rows of ``rows`` that stand for a node; those in between, which keep blocks aligned, belong to nobody."""
    return torch.cat([rows[pc.plan.rows_of(nodes)] for nodes in vectors_with_rows(pc.root)])


# ---- the reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_the_reference_equals_enumeration(seed):
    root = random_circuit(seed)
    x = worlds_of(root)
    pc = by_reference(root, (1, 2, 4, 8)[seed % 4])
    values, flows, totals = log_values(root, x), node_flows(root, x), param_flows(root, x)
    found_values, found_flows, found_totals = pc.node_values(x).numpy(), pc.node_flows(x).numpy(), pc.flows(x)
    assert not pc.engine.memory.flat["elements"].nan_to_num(0).any(), "the reference reads and writes no scaled values (only the null block is set)"
    for nodes in vectors_with_rows(root):
        rows = pc.plan.rows_of(nodes)
        np.testing.assert_allclose(found_values[rows], values[nodes], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found_flows[rows], flows[nodes], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found_totals.of(nodes), totals[nodes], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step_size, pseudocount", [(1.0, 0.0), (0.3, 0.0), (0.3, 0.5)])
def test_one_em_step_equals_the_reference(step_size, pseudocount):
    root = pcv.PD((3, 4), num_latents=5, dist=pcv.Categorical(17), split_intervals=2)
    fast, naive = tensor_circuit(root, 4, F64), by_reference(root, 4)
    for pc in (fast, naive):
        pc.accumulate_flows(digits(40)[:, 20:32])
        pc.em_step(step_size, pseudocount)
    torch.testing.assert_close(fast.params, naive.params, rtol=1e-9, atol=1e-12)
    for table, expected in zip(fast.tables, naive.tables):
        torch.testing.assert_close(table, expected, rtol=1e-9, atol=1e-12)


# ---- trained and pruned -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [100, 30, 10, 3])
@pytest.mark.parametrize("block_size", [4, 32])
def test_trained_and_pruned_circuits_in_float32(percent, block_size):
    root, x = pruned_digits(percent), digits(17, "test")
    exact, found = tensor_circuit(root, block_size, F64), tensor_circuit(root, block_size)
    error = (found(x).double() - exact(x)).abs()
    assert error.max() <= 1e-3  # nats, where log p is near -100
    values, expected = of_nodes(found, found.node_values(x)).double(), of_nodes(exact, exact.node_values(x))
    reached = expected > -torch.inf
    assert torch.equal(reached, values > -torch.inf)
    torch.testing.assert_close(values[reached], expected[reached], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found.node_flows(x).double(), exact.node_flows(x), rtol=1e-3, atol=1e-5)
    flows, exact_flows = found.flows(x), exact.flows(x)
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(flows.of(nodes), exact_flows.of(nodes), rtol=2e-3, atol=1e-5, err_msg=repr(nodes))


@pytest.mark.parametrize("percent", [30, 3])
def test_pruned_circuits_equal_the_reference(percent):
    root, x = pruned_digits(percent), digits(5, "test")
    naive, fast = by_reference(root, 32), tensor_circuit(root, 32, F64)
    torch.testing.assert_close(fast(x), naive(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fast.node_flows(x), naive.node_flows(x), rtol=1e-7, atol=1e-9)


def test_exact_zeros_in_trained_parameters():
    """A third of all edges set to exactly zero in a dense circuit: the same as if they were absent."""
    root, x = small_pd(num_latents=20, epochs=2), digits(4)
    rng = np.random.default_rng(0)
    for nodes in vectors_with_rows(root):
        if nodes.kind == "sum":
            drop = rng.random(nodes.params.shape) < 0.33
            drop[:, 0] = False
            nodes.params = np.where(drop, 0, nodes.params).astype(np.float32)
            nodes.params /= nodes.params.sum(axis=1, keepdims=True)
    exact = by_reference(root, 32)
    for block_size in (1, 8, 32):
        found = tensor_circuit(root, block_size)
        torch.testing.assert_close(found(x).double(), exact(x), rtol=1e-5, atol=0)
        flows, expected = found.flows(x), exact.flows(x)
        for nodes in vectors_with_rows(root):
            np.testing.assert_allclose(flows.of(nodes), expected.of(nodes), rtol=2e-3, atol=1e-5)
            assert (flows.of(nodes)[nodes.params == 0] == 0).all()


def test_784_variables():
    """The paper's size, K = 12, skewed parameters: within the accuracy that is asked of the engine."""
    root = pcv.figure_5_layer(num_regions=392, num_latents=12, products=2, seed=1)
    rng = np.random.default_rng(1)
    pcv.TensorCircuit(pcv.compile(root, block_size=4))
    for nodes in vectors_with_rows(root):
        weights = rng.gamma(0.1, size=nodes.params.shape) + 1e-7
        nodes.params = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    x = rng.integers(0, 2, size=(9, 784))
    exact = tensor_circuit(root, 16, F64)(x)
    for block_size in (1, 4, 16):
        error = tensor_circuit(root, block_size)(x).double() - exact
        assert error.abs().max() <= 2e-2 and abs(error.mean()) <= 2e-3


def test_3072_variables():
    root = pcv.figure_5_layer(num_regions=1536, num_latents=3, products=2)
    x = np.random.default_rng(2).integers(0, 2, size=(3, 3072))
    pc = tensor_circuit(root, 4)
    torch.testing.assert_close(pc(x).double(), tensor_circuit(root, 4, F64)(x), rtol=1e-5, atol=0)
    assert not torch.isnan(pc.node_flows(x)).any()


# ---- a sibling far above ------------------------------------------------------------------------------------------------


def far_apart(nats: float, form: str, spread: int = 40):
    """Two sums in one block over two products in one block; sum 0 has product 0 alone, which lies ``nats`` below
    product 1. Beyond them, x = 0 of the last variable is possible with sum 0 only, so log p hangs on the low child.

    ``form``: "zero" parameters (dense), "absent" edges, or a "mixed" low row with two low children.
    """
    dist, low = pcv.Categorical(2), math.exp(-nats / spread)
    leaves = [inputs(v, num_nodes=2, dist=dist, params=[[low, 1 - low], [0.999, 0.001]]) for v in range(spread)]
    children = multiply(*leaves)
    if form == "zero":
        sums = summate(children, num_nodes=2, params=[[1, 0], [0, 1]])
    elif form == "absent":
        sums = summate(children, num_nodes=2, edge_ids=[[0, 1], [0, 1]], params=np.ones((2, 1, 1)))
    else:
        again = [inputs(v, num_nodes=2, dist=dist, params=[[low, 1 - low], [0.9, 0.1]], name=f"y{v}") for v in range(spread)]
        sums = summate(children, multiply(*again), num_nodes=2, params=[[0.25, 0, 0.75, 0], [0, 0.5, 0, 0.5]])
    last = inputs(spread, num_nodes=2, dist=dist, params=[[1, 0], [0, 1]])
    return summate(multiply(sums, last), num_nodes=1, params=[[0.5, 0.5]]), sums


@pytest.mark.parametrize("nats", [20, 50, 60, 85, 110, 200, 700])
@pytest.mark.parametrize("form", ["zero", "absent", "mixed"])
@pytest.mark.parametrize("block_size", [1, 2, 32])
def test_a_sibling_far_above_does_no_harm(nats, form, block_size):
    root, sums = far_apart(nats, form)
    x = np.zeros((3, 41), dtype=np.int64)
    x[1, -1] = 1  # hangs on the high child
    x[2, :40:2] = 1  # and a mixture
    values = log_values(root, x)[sums]
    assert values[1, 0] - values[0, 0] > nats - 10
    check_against_enumeration(root, x, block_size)


@pytest.mark.parametrize("seed", range(30))
def test_extreme_parameters(seed):
    """Random circuits whose nodes lie up to hundreds of nats apart inside a block, in float32 against enumeration."""
    root = random_circuit(seed)
    extreme_params(root, np.random.default_rng(seed), decades=(8, 20, 36)[seed % 3])
    x = worlds_of(root)
    check_against_enumeration(root, x, (1, 2, 4, 8)[seed // 3 % 4])


@pytest.mark.parametrize("block_size", [2, 8])
def test_elements_that_are_computed_twice_equal_those_that_are_kept(monkeypatch, block_size):
    """Those too that were renewed because they were weak."""
    roots = [pruned_digits(3), *(random_circuit(seed) for seed in range(12))]
    for seed, root in enumerate(roots[1:]):
        extreme_params(root, np.random.default_rng(seed), decades=36)
    kept = [tensor_circuit(root, block_size) for root in roots]
    monkeypatch.setattr(memory, "KEPT", 0)
    twice = [tensor_circuit(root, block_size) for root in roots]
    renewed = set()
    for one, other in zip(kept, twice):
        x = worlds_of(one.root) if one is not kept[0] else digits(40)
        one.engine.run(one.check_data(x).t().contiguous(), None)
        renewed.update(type(launch) for launch in one.engine.views.nodes.careful)
        for pc in (one, other):
            pc.accumulate_flows(x)
        assert one.engine.views.keeps_elements and not other.engine.views.keeps_elements
        torch.testing.assert_close(one.engine.edge_flows, other.engine.edge_flows, rtol=1e-6, atol=0)
        for table, expected in zip(one.engine.table_flows, other.engine.table_flows):
            torch.testing.assert_close(table, expected, rtol=1e-6, atol=0)
    assert ProductLaunch in renewed


def check_against_enumeration(root, x, block_size):
    pc = tensor_circuit(root, block_size)
    values, flows, totals = log_values(root, x), node_flows(root, x), param_flows(root, x)
    np.testing.assert_allclose(pc(x).numpy(), values[root][0], rtol=1e-5, atol=1e-5)
    found, found_flows, found_totals = pc.node_values(x).numpy(), pc.node_flows(x).numpy(), pc.flows(x)
    for nodes in vectors_with_rows(root):
        rows = pc.plan.rows_of(nodes)
        np.testing.assert_allclose(found[rows], values[nodes], rtol=1e-5, atol=1e-5, err_msg=repr(nodes))
        np.testing.assert_allclose(found_flows[rows], flows[nodes], rtol=1e-3, atol=1e-5, err_msg=repr(nodes))
        np.testing.assert_allclose(found_totals.of(nodes), totals[nodes], rtol=1e-3, atol=1e-5, err_msg=repr(nodes))


def staircase(nats: float, steps: int):
    """Two columns of sums; at each step column 0 falls ``nats`` further behind column 1, and only it is possible in the
    end when the last variable is 0. Its values leave the range of a shared scale step by step."""
    dist, low = pcv.Categorical(2), math.exp(-nats)
    below = inputs(0, num_nodes=2, dist=dist, params=[[low, 1 - low], [1, 0]])
    for step in range(1, steps):
        leaf = inputs(step, num_nodes=2, dist=dist, params=[[low, 1 - low], [0.999, 0.001]])
        below = summate(multiply(below, leaf), num_nodes=2, params=[[1, 0], [0, 1]] if step % 2 else [[1, 0], [1e-6, 1 - 1e-6]])
    last = inputs(steps, num_nodes=2, dist=dist, params=[[1, 0], [0, 1]])
    return summate(multiply(below, last), num_nodes=1, params=[[0.5, 0.5]])


@pytest.mark.parametrize("nats", [3, 25, 50, 80])
@pytest.mark.parametrize("block_size", [1, 2])
def test_differences_add_up_over_layers(nats, block_size):
    x = np.zeros((4, 10), dtype=np.int64)
    x[1, -1] = 1
    x[2, 3:6] = 1
    x[3, 1:10:2] = 1
    check_against_enumeration(staircase(nats, steps=9), x, block_size)


def test_training_on_the_low_child_alone_stays_finite():
    root, sums = far_apart(300, "mixed")
    pc, x = tensor_circuit(root, 2), np.zeros((5, 41), dtype=np.int64)
    before = pc(x)
    for _ in range(3):
        pc.accumulate_flows(x)
        pc.em_step()
    assert (pc(x) > before).all()
    pc.write_back()
    assert (sums.params[0, [1, 3]] == 0).all() and np.isfinite(sums.params).all()


@pytest.mark.parametrize("theta", [1e-20, 1e-30, 1e-37, 2e-38, 1e-42])
@pytest.mark.parametrize("block_size", [1, 2])
def test_a_tiny_parameter_that_is_the_only_way(theta, block_size):
    """flow / theta of such a parameter exceeds float32; the flow itself is the number of samples."""
    leaf = inputs(0, num_nodes=2, dist=pcv.Categorical(2), params=[[1, 0], [0, 1]])
    root = summate(leaf, num_nodes=1, params=[[1 - theta, theta]])
    pc, x = tensor_circuit(root, block_size), np.array([[0]] * 3 + [[1]] * 61)
    np.testing.assert_allclose(pc(x)[-1], math.log(np.float32(theta)), rtol=1e-6)
    np.testing.assert_allclose(pc.flows(x).of(root), [[3, 61]], rtol=1e-5)
    pc.accumulate_flows(x)
    pc.em_step()
    np.testing.assert_allclose(pc(x).exp().numpy(), np.where(x[:, 0] == 0, 3, 61) / 64, rtol=1e-5)


# ---- impossible evidence, marginals, poison -----------------------------------------------------------------------------


def with_impossible_samples(block_size):
    """A trained digits circuit in which pixel 0 never has category 5, and data of which every third sample has it."""
    root = small_pd(num_latents=5, epochs=1)
    for nodes in vectors_with_rows(root):
        if nodes.kind == "input" and nodes.var == 0:
            nodes.params = nodes.params.copy()
            nodes.params[:, 5] = 0
            nodes.params /= nodes.params.sum(axis=1, keepdims=True)
    x = digits(31).copy()
    x[::3, 0] = 5
    x[1::3, 0] = 0
    return tensor_circuit(root, block_size), x


@pytest.mark.parametrize("block_size", [1, 4, 8])
def test_impossible_evidence(block_size):
    pc, x = with_impossible_samples(block_size)
    lls, flows = pc(x), pc.node_flows(x)
    assert (lls[::3] == -torch.inf).all() and torch.isfinite(lls[1::3]).all() and torch.isfinite(lls[2::3]).all()
    assert not torch.isnan(of_nodes(pc, pc.node_values(x))).any()
    assert (flows[:, ::3] == 0).all() and torch.isfinite(flows).all()
    all_flows = pc.flows(x)
    possible = pc.flows(x[np.arange(31) % 3 > 0])
    for nodes in vectors_with_rows(pc.root):
        assert np.isfinite(all_flows.of(nodes)).all()
        np.testing.assert_allclose(all_flows.of(nodes), possible.of(nodes), rtol=1e-4, atol=1e-6)


def test_training_on_impossible_samples_makes_no_nan():
    pc, x = with_impossible_samples(4)
    for pseudocount in (0.0, 0.1):
        pc.accumulate_flows(x)
        pc.em_step(1.0, pseudocount)
    assert torch.isfinite(pc.params).all() and all(torch.isfinite(table).all() for table in pc.tables)
    assert (pc(x[::3]) == -torch.inf).all() and torch.isfinite(pc(x[1::3])).all()
    only_impossible, params = x[::3], pc.params.clone()
    pc.accumulate_flows(only_impossible)
    pc.em_step(1.0, 0.0)
    torch.testing.assert_close(pc.params, params, rtol=0, atol=0)


@pytest.mark.parametrize("block_size", [1, 4, 32])
def test_impossible_variables_may_be_marginalised(block_size):
    pc, x = with_impossible_samples(block_size)
    observed = np.ones((1, 64), dtype=bool)
    observed[0, 0] = False
    assert torch.isfinite(pc(x, observed=observed)).all()
    nothing = np.zeros((1, 64), dtype=bool)
    np.testing.assert_allclose(pc(x, observed=nothing), 0, atol=1e-4)
    np.testing.assert_allclose(pc.node_flows(x, nothing)[pc.plan.rows_of(pc.root)], 1)


@pytest.mark.parametrize("block_size", [1, 8, 32])
def test_nothing_is_read_before_it_is_written(block_size):
    """Buffers start as NaN and hold stale values after a batch; neither may show. Infinity poisons what NaN does not."""
    root, few = pruned_digits(10), digits(3)
    fresh = tensor_circuit(root, block_size)
    assert all(torch.isnan(buffer).all() for buffer in fresh.engine.memory.flat.values())
    first, lls = fresh.flows(few), fresh(few)
    assert torch.isfinite(lls).all() and torch.isfinite(fresh.node_flows(few)).all()
    assert not torch.isnan(of_nodes(fresh, fresh.node_values(few))).any()
    for poison in (torch.nan, torch.inf):
        used = tensor_circuit(root, block_size)
        used.flows(digits(40))
        buffers = [*used.engine.memory.flat.values(), *used.engine.memory.scratch._buffers.values()]
        for buffer in buffers:
            buffer.fill_(poison)
        torch.testing.assert_close(used(few), lls, rtol=0, atol=0)
        for buffer in buffers:
            buffer.fill_(poison)
        again = used.flows(few)
        for nodes in vectors_with_rows(root):
            assert np.isfinite(first.of(nodes)).all()
            np.testing.assert_array_equal(first.of(nodes), again.of(nodes))
