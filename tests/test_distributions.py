"""Bernoulli and Gaussian inputs: their definitions, circuits that mix them, learning, and what is said to bad data."""

import math

import numpy as np
import pytest
import torch
from circuits import random_circuit, random_data, small_circuits, trained_params
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import log_likelihood, log_values, node_flows, param_flows
from pcviz_kernels import reference

import pcviz as pcv
from pcviz.domain import Domain
from pcviz.ir.distributions import Bernoulli, Categorical, Gaussian
from pcviz.ir.nodes import CircuitError, InputNodes, ProdNodes, init_params, inputs, multiply, summate, topological
from pcviz.reference import log_likelihood as reference_log_likelihood

sizes = st.sampled_from([1, 2, 4, 8, 16])


def examples(count):
    return settings(max_examples=count, deadline=None, derandomize=True)


def tensor_circuit(root, block_size, dtype=torch.float64) -> pcv.TensorCircuit:
    return pcv.TensorCircuit(pcv.compile(root, block_size=block_size), dtype=dtype)


def by_reference(root, block_size) -> pcv.TensorCircuit:
    pc = tensor_circuit(root, block_size)
    pc.engine.kernels = reference
    return pc


def vectors_with_rows(root):
    return [nodes for nodes in topological(root) if not isinstance(nodes, ProdNodes)]


def gaussian_inputs(root):
    return [nodes for nodes in topological(root) if isinstance(nodes, InputNodes) and isinstance(nodes.dist, Gaussian)]


def mixture(means, stds, min_sigma=0.01, weights=None):
    """A mixture of normal distributions over one variable."""
    dist = Gaussian(min_sigma=min_sigma)
    leaf = inputs(0, num_nodes=len(means), dist=dist, params=np.stack([means, stds], axis=1), name="x0")
    weights = np.full(len(means), 1 / len(means)) if weights is None else weights
    return summate(leaf, num_nodes=1, params=[weights])


# ---- definitions ------------------------------------------------------------------------------------------------------


def test_bernoulli_is_a_categorical_of_two_values():
    dist = pcv.Bernoulli()
    assert repr(dist) == "Bernoulli()" and dist.num_cats == dist.num_params == 2
    assert dist == Bernoulli() and dist != Categorical(2) and len({dist, Bernoulli()}) == 1
    leaf = inputs(0, num_nodes=3, dist=dist)
    root = summate(leaf, num_nodes=1)
    init_params(root)
    assert leaf.params.shape == (3, 2)
    np.testing.assert_allclose(leaf.params.sum(axis=1), 1, rtol=1e-6)
    x = np.array([[0], [1], [1]])
    pc = tensor_circuit(root, 2)
    np.testing.assert_allclose(pc(x).exp(), (root.params @ leaf.params)[0, x[:, 0]], rtol=1e-6)
    np.testing.assert_array_equal(pc(x.astype(bool)), pc(x))
    with pytest.raises(ValueError, match="variable 0 has category 2, expected 0 to 1"):
        pc([[2]])


def test_initial_gaussians_lie_where_the_data_do():
    params = Gaussian(mu=100.0, sigma=5.0).init_params(4000, np.random.default_rng(0))
    assert params.shape == (4000, 2) and params.dtype == np.float32
    assert abs(params[:, 0].mean() - 100) < 0.5 and abs(params[:, 0].std() - 5) < 0.3
    assert (params[:, 1] > 4.5).all() and (params[:, 1] <= 5).all()
    assert (Gaussian(sigma=1e-3, min_sigma=0.5).init_params(9, np.random.default_rng(0))[:, 1] == 0.5).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mu": math.nan}, r"Gaussian\(mu=...\) expects a finite number, got nan"),
        ({"sigma": "1"}, r"Gaussian\(sigma=...\) expects a finite number, got '1'"),
        ({"sigma": 0.0}, "sigma and min_sigma must be above 0, got 0.0 and 0.01"),
        ({"min_sigma": -1.0}, "must be above 0"),
        ({"min_sigma": True}, "expects a finite number, got True"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(**arguments)


@pytest.mark.parametrize("params", [[[0.0, 0.0]], [[0.0, -1.0]], [[np.nan, 1.0]], [[0.0, np.inf]]])
def test_wrong_gaussian_parameters(params):
    with pytest.raises(CircuitError, match="x0.*finite, with standard deviations above 0"):
        inputs(0, num_nodes=1, dist=Gaussian(), params=params, name="x0")


def test_negative_means_are_parameters_and_shapes_are_checked():
    assert inputs(0, num_nodes=1, dist=Gaussian(), params=[[-3.0, 1.0]]).params.tolist() == [[-3.0, 1.0]]
    with pytest.raises(CircuitError, match=r"\[1, 2\].*\[1, 3\]"):
        inputs(0, num_nodes=1, dist=Gaussian(), params=[[0.0, 1.0, 2.0]])


def test_vectors_of_one_kind_share_a_launch():
    plan = pcv.compile(mixed_line(), block_size=4)
    assert pcv.plan_summary(plan.root, block_size=4) == plan.summary
    kinds = [(type(group.dist), group.num_params, group.num_flows, len(group.vectors)) for group in plan.inputs]
    assert sorted(kinds, key=str) == sorted([(Categorical, 3, 3, 1), (Bernoulli, 2, 2, 2), (Gaussian, 2, 3, 1), (Gaussian, 2, 3, 2)], key=str)


def mixed_line():
    """Variables: Gaussian, Bernoulli, Gaussian with other initial values, Categorical(3), Categorical(2), another min_sigma."""
    dists = [Gaussian(), Bernoulli(), Gaussian(mu=5.0), Categorical(3), Categorical(2), Gaussian(min_sigma=0.5)]
    return summate(multiply(*(inputs(var, num_nodes=4, dist=dist) for var, dist in enumerate(dists))), num_nodes=1)


# ---- against the definition -------------------------------------------------------------------------------------------


@examples(40)
@given(small_circuits(gaussians=True), sizes, st.integers(0, 2**16))
def test_mixed_circuits_equal_their_definition(root, block_size, seed):
    x, pc = random_data(root, 24, seed), tensor_circuit(root, block_size)
    rng = np.random.default_rng(seed)
    for observed in (None, rng.random(x.shape) < 0.6, rng.random((1, x.shape[1])) < 0.5):
        expected = log_likelihood(root, x, observed)
        np.testing.assert_allclose(pc(x, observed=observed), expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(by_reference(root, block_size)(x, observed=observed), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(reference_log_likelihood(root, x), log_likelihood(root, x), rtol=1e-9, atol=1e-9)


@examples(30)
@given(small_circuits(gaussians=True), sizes, st.booleans())
def test_every_node_and_every_flow(root, block_size, masked):
    x = random_data(root, 20, len(topological(root)))
    observed = np.random.default_rng(1).random(x.shape) < 0.6 if masked else None
    values, flows, totals = log_values(root, x, observed), node_flows(root, x, observed), param_flows(root, x, observed)
    for pc in (tensor_circuit(root, block_size), by_reference(root, block_size)):
        found_values, found_flows, found_totals = pc.node_values(x, observed), pc.node_flows(x, observed), pc.flows(x, observed)
        for nodes in vectors_with_rows(root):
            rows = pc.plan.rows_of(nodes)
            np.testing.assert_allclose(found_values[rows], values[nodes], rtol=1e-9, atol=1e-9, err_msg=repr(nodes))
            np.testing.assert_allclose(found_flows[rows], flows[nodes], rtol=1e-6, atol=1e-6, err_msg=repr(nodes))
            np.testing.assert_allclose(found_totals.of(nodes), totals[nodes], rtol=1e-6, atol=1e-6, err_msg=repr(nodes))


@examples(15)
@given(small_circuits(gaussians=True))
def test_block_sizes_agree_in_float32(root):
    x = random_data(root, 24)
    exact = log_likelihood(root, x)
    for block_size in (1, 2, 4, 8, 16):
        np.testing.assert_allclose(tensor_circuit(root, block_size, torch.float32)(x), exact, rtol=1e-5, atol=1e-4)


@examples(12)
@given(small_circuits(gaussians=True), sizes)
def test_moments_are_gradients(root, block_size):
    """d log p / d mean = sum F (x - mean) / std^2, d log p / d std = sum F ((x - mean)^2 / std^3 - 1 / std): by differences."""
    x = random_data(root, 12, 3)
    x = x[np.isfinite(log_likelihood(root, x))]
    if not len(x):
        return
    flows, step = tensor_circuit(root, block_size).flows(x), 2.0**-9
    for nodes in gaussian_inputs(root)[:2]:
        before, (mean, std) = nodes.params, nodes.params.astype(np.float64).T
        total, first, second = flows.of(nodes).T
        spread = second - 2 * mean * first + mean**2 * total
        gradient = np.stack([(first - mean * total) / std**2, spread / std**3 - total / std], axis=1)
        for i in range(min(2, nodes.num_nodes)):
            for k in (0, 1):
                size = step * std[i]
                ends = []
                for sign in (1, -1):
                    nodes.params = before.astype(np.float64)  # float64 for exact differences
                    nodes.params[i, k] += sign * size
                    ends.append(log_likelihood(root, x).sum())
                nodes.params = before
                scale = np.abs(gradient).max() + 1 / std[i]
                np.testing.assert_allclose((ends[0] - ends[1]) / (2 * size), gradient[i, k], rtol=1e-3, atol=1e-3 * scale)


# ---- numbers at their limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_densities_far_above_and_below_one(dtype, block_size):
    """A narrow density of 4e4 and tails of e^-5000 meet in one block."""
    root = mixture(means=[0.0, 0.0, 10.0, -100.0], stds=[1e-5, 1.0, 0.1, 1.0], min_sigma=1e-6)
    x = np.array([[0.0], [2e-5], [3.0], [10.0], [-100.0], [60.0], [-50.0]])
    pc = tensor_circuit(root, block_size, dtype)
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(pc(x), log_likelihood(root, x), **near)
    assert pc(x).max() > 8 and pc(x).min() < -1000
    values, expected = pc.node_values(x)[pc.plan.rows_of(root.children[0])], log_values(root, x)[root.children[0]]
    np.testing.assert_allclose(values, expected, **near)
    flows = pc.flows(x)
    for nodes, flow in param_flows(root, x).items():
        np.testing.assert_allclose(flows.of(nodes), flow, rtol=1e-3, atol=1e-4 * np.abs(flow).max())


def test_a_value_beyond_all_numbers_is_impossible_not_nan():
    root = mixture(means=[0.0, 1.0, 2.0], stds=[1.0, 2.0, 3.0])
    pc = tensor_circuit(root, 4, torch.float32)
    lls = pc([[1e30], [0.5]])
    assert lls[0] == -torch.inf and torch.isfinite(lls[1])
    pc.accumulate_flows([[1e30], [0.5]])
    pc.em_step()
    assert torch.isfinite(pc.tables[0]).all() and torch.isfinite(pc.params).all()


def test_many_gaussian_variables():
    """784 variables: log p near -1500 and far beyond what float32 holds as a number; every scale is exact."""
    dist = Gaussian(mu=10.0, sigma=3.0)
    root = pcv.PD((28, 28), num_latents=6, split_intervals=14, conn_block=2, dist=dist, seed=0)
    x = np.random.default_rng(0).normal(10, 3, (6, 784))
    for block_size, dtype in ((2, torch.float32), (8, torch.float32), (8, torch.float64)):
        pc = tensor_circuit(root, block_size, dtype)
        exact = reference_log_likelihood(root, x)
        np.testing.assert_allclose(pc(x), exact, rtol=1e-5 if dtype == torch.float32 else 1e-12)
        flows = pc.node_flows(x)
        per_variable = sum(flows[pc.plan.rows_of(nodes)].sum(dim=0) for nodes in gaussian_inputs(root) if nodes.var == 300)
        rounding = np.abs(exact).max() * torch.finfo(dtype).eps  # of a scale, which a ratio of values takes over
        np.testing.assert_allclose(per_variable, 1, atol=4 * rounding)


# ---- learning ---------------------------------------------------------------------------------------------------------


def em_by_hand(root, x, step_size, min_sigma):
    """Means and standard deviations of the mixture ``root`` after one step, in numpy from the definition of EM."""
    mean, std = root.children[0].params.astype(np.float64).T
    joint = root.params.astype(np.float64)[0] * np.exp(-0.5 * ((x - mean) / std) ** 2) / std  # [N, K]
    share = joint / joint.sum(axis=1, keepdims=True)
    total = share.sum(axis=0)
    first, second = (1 - step_size) * mean, (1 - step_size) * (mean**2 + std**2)
    first += step_size * (share * x).sum(axis=0) / total
    second += step_size * (share * x**2).sum(axis=0) / total
    return np.stack([first, np.sqrt(np.maximum(second - first**2, min_sigma**2))], axis=1)


@pytest.mark.parametrize("step_size", [1.0, 0.2])
@pytest.mark.parametrize("block_size", [1, 2, 8])
@pytest.mark.parametrize("run", [tensor_circuit, by_reference])
def test_one_step_equals_em_by_hand(step_size, block_size, run):
    root = mixture(means=[-2.0, 0.5, 3.0], stds=[1.0, 0.3, 2.0])
    x = np.random.default_rng(0).normal(1.0, 3.0, (50, 1))
    expected = em_by_hand(root, x, step_size, 0.01)
    pc = run(root, block_size)
    pc.accumulate_flows(x)
    pc.em_step(step_size)
    pc.write_back()
    np.testing.assert_allclose(root.children[0].params, expected, rtol=1e-6)


def test_far_from_zero_no_digits_are_lost():
    """Data around 1e4 with a spread of 0.1: x^2 has lost the spread in float32, moments about the mean have not."""
    root = mixture(means=[9999.8, 10000.3], stds=[0.3, 0.3])
    x = np.random.default_rng(0).normal(10000, 0.1, (400, 1)).astype(np.float32)
    expected = em_by_hand(root, x.astype(np.float64), 1.0, 0.01)
    pc = tensor_circuit(root, 2, torch.float32)
    pc.accumulate_flows(x)
    pc.em_step()
    pc.write_back()
    np.testing.assert_allclose(root.children[0].params, expected, rtol=2e-3)


def test_a_standard_deviation_stops_at_min_sigma():
    root = mixture(means=[0.0, 5.0], stds=[1.0, 1.0], min_sigma=0.25)
    pc = tensor_circuit(root, 2)
    for _ in range(5):
        pc.accumulate_flows([[0.0]] * 9 + [[5.0], [5.0]])
        pc.em_step()
    pc.write_back()
    np.testing.assert_allclose(root.children[0].params, [[0.0, 0.25], [5.0, 0.25]], atol=1e-5)


@pytest.mark.parametrize("pseudocount", [0.0, 0.5])
def test_a_node_without_flow_keeps_its_parameters(pseudocount):
    root = mixture(means=[0.0, 7.0], stds=[1.0, 2.0], weights=[1.0, 0.0])
    pc = tensor_circuit(root, 2)
    pc.accumulate_flows([[0.0], [2.0]])
    pc.em_step(1.0, pseudocount)
    pc.write_back()
    np.testing.assert_allclose(root.children[0].params, [[1.0, 1.0], [7.0, 2.0]], atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_batch_em_never_lowers_the_likelihood(seed, dtype):
    root = random_circuit(seed, zeros=False, gaussians=True)
    assert gaussian_inputs(root)
    x, pc = random_data(root, 120, seed), tensor_circuit(root, (1, 2, 4, 8)[seed % 4], dtype)
    lls = []
    for _ in range(10):
        lls.append(float(pc.accumulate_flows(x).double().mean()))
        pc.em_step()
    slack = 1e-5 if dtype == torch.float32 else 1e-10
    assert all(after >= before - slack * max(1, abs(before)) for before, after in zip(lls, lls[1:])), lls
    assert lls[-1] > lls[0] + 1e-2


def test_tied_gaussians_learn_from_all_their_variables():
    source = inputs(0, num_nodes=3, dist=Gaussian(), name="x0")
    root = summate(multiply(source, source.duplicate(1, tie_params=True), source.duplicate(2, tie_params=True)), num_nodes=1)
    trained_params(root, np.random.default_rng(0))
    x, expected = random_data(root, 40), None
    for block_size in (1, 2, 4):
        pc = tensor_circuit(root, block_size)
        assert pc.tables[0].shape == (1, 4 if block_size > 1 else 3, 2)
        flows = pc.flows(x).of(source)
        np.testing.assert_allclose(flows, param_flows(root, x)[source], rtol=1e-9)
        assert abs(flows[:, 0].sum() - 3 * len(x)) < 1e-9
        pc.accumulate_flows(x)
        pc.em_step()
        expected = pc.tables[0][0, :3] if expected is None else expected
        torch.testing.assert_close(pc.tables[0][0, :3], expected)


def test_fit_and_prune_and_recompile_with_real_data():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 0.5, (300, 6)), rng.normal(3, 1.0, (300, 6))]).astype(np.float32)
    root = pcv.PD((2, 3), num_latents=6, dist=Gaussian(mu=0.5, sigma=2.6), seed=0)
    pc = tensor_circuit(root, 4, torch.float32)
    steps = list(pcv.fit(pc, x, epochs=8, batch_size=100))
    assert steps[-1].train_bpd < steps[0].train_bpd - 0.3
    lls = pc(x)
    torch.testing.assert_close(pc.recompile(block_size=2)(x), lls, rtol=1e-5, atol=1e-5)
    pruned = pcv.prune(pc, keep=0.5, x=x)
    assert float(tensor_circuit(pruned, 4)(x).mean()) > float(lls.mean()) - 1


# ---- data -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    return tensor_circuit(mixed_line(), 4)


GOOD = np.array([[0.3, 1, 5.5, 2, 0, -1.0], [-0.7, 0, 4.5, 0, 1, 0.25]])


def test_data_may_be_floats_integers_or_lists(mixed):
    lls = mixed(GOOD)
    torch.testing.assert_close(mixed(GOOD.tolist()), lls, rtol=1e-6, atol=0)
    torch.testing.assert_close(mixed(torch.as_tensor(GOOD)), lls, rtol=0, atol=0)
    assert mixed.check_data(np.ones((2, 6), dtype=np.uint8)).dtype == torch.float64
    assert torch.isfinite(mixed(np.ones((2, 6), dtype=np.uint8))).all()
    for x in (GOOD, np.ones((2, 6), dtype=np.uint8)):
        deferred = mixed.domain.deferred(x)
        deferred.confirm()
        assert torch.equal(deferred.x, mixed.check_data(x))


def changed(index, value):
    x = GOOD.copy()
    x[index] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (changed((0, 3), 0.5), "variable 3 is categorical and has the value 0.5, expected an integer"),
        (changed((1, 3), 3), r"variable 3 has category 3, expected 0 to 2 \(1 such"),
        (changed((1, 1), -1), "variable 1 has category -1, expected 0 to 1"),
        (changed((1, 4), np.inf), "variable 4 is categorical and has the value inf|variable 4 has category"),
        (changed((1, 2), np.inf), r"variable 2 has an infinite value, expected finite numbers \(1 such"),
        (changed((0, 0), np.nan), "NaN.*observed="),
        (GOOD[:, :5], r"x must have shape \[B, 6\]"),
        (GOOD[:0], "empty batch"),
        (GOOD.astype(np.complex64), "must hold numbers, got dtype torch.complex64"),
    ],
)
def test_bad_data_is_refused(mixed, x, message):
    for call in (mixed, lambda x: mixed.domain.deferred(x).confirm()):
        with pytest.raises(ValueError, match=message):
            call(x)
    if x.shape == GOOD.shape:  # what is not observed may be anything
        hidden = mixed.domain.deferred(x.real, x.real == GOOD)
        hidden.confirm()
        assert torch.equal(hidden.x, mixed.check_evidence(x.real, x.real == GOOD)[0])


def test_numbers_beyond_float32_are_refused_by_circuits_of_float32():
    """Such a number would be infinite there: at once or deferred, as an engine asks for it."""
    domain = Domain(pcv.compile(mixed_line(), block_size=4), torch.float32, torch.device("cpu"))
    for x in (changed((1, 2), -1e39), changed((1, 2), np.nextafter(float(np.finfo(np.float32).max), np.inf))):
        for check in (domain.checked, lambda x: domain.deferred(x).confirm()):
            with pytest.raises(ValueError, match=r"variable 2 has the value -?\d\S+, beyond the largest torch.float32, expected finite.* \(1 such"):
                check(x)
    hidden = domain.deferred(x, x == GOOD)
    hidden.confirm()
    assert torch.equal(hidden.x, domain.checked(x, x == GOOD).x)


def test_hidden_values_integrate_to_one(mixed):
    observed = np.zeros((1, 6), dtype=bool)
    np.testing.assert_allclose(mixed(GOOD, observed=observed), 0, atol=1e-6)
    flows = mixed.flows(GOOD, observed=observed)
    for nodes in gaussian_inputs(mixed.root):
        assert (flows.of(nodes) == 0).all()


def test_a_density_integrates_to_one():
    root = mixture(means=[-1.0, 0.0, 2.5], stds=[0.4, 1.0, 0.7])
    grid = np.linspace(-8, 10, 4001)
    np.testing.assert_allclose(np.trapezoid(tensor_circuit(root, 4)(grid[:, None]).exp().numpy(), grid), 1, rtol=1e-6)
