"""Samples, MPE and marginals where some variables are real: against the same circuit over intervals, and exhaustive search."""

import itertools

import numpy as np
import pytest
import torch
from circuits import random_circuit, random_data, small_circuits
from hypothesis import given
from hypothesis import strategies as st
from oracle import log_input, log_likelihood, mpe_logs, worlds_of
from scipy.stats import kstest, norm
from test_queries import ALMOST_NEVER, F64, examples, p_value, sizes, tensor_circuit

import pcviz as pcv
from pcviz.ir.nodes import InputNodes, ProdNodes, input_vectors, inputs, multiply, summate, topological


def real_variables(root) -> list[int]:
    return sorted({nodes.var for nodes in input_vectors(root) if isinstance(nodes.dist, pcv.Gaussian)})


def means(root, var) -> np.ndarray:
    return np.concatenate([nodes.params[:, 0] for nodes in input_vectors(root) if nodes.var == var]).astype(np.float64)


def over_intervals(root, cuts, row=None, observed=()):
    """The circuit in which real values are known only by the interval between ``cuts`` {variable: [values]} they fall in, and
    the ``observed`` values of ``row`` are constants: a variable with one category, whose weight is the value's density."""
    copies = {}
    for nodes in topological(root):
        children = [copies[child] for child in nodes.children]
        if isinstance(nodes, InputNodes):
            if nodes.var in observed:
                params = np.exp([log_input(nodes, i, row[nodes.var : nodes.var + 1]) for i in range(nodes.num_nodes)])
            elif isinstance(nodes.dist, pcv.Gaussian):
                ends = norm.cdf(np.array([-np.inf, *cuts[nodes.var], np.inf]), nodes.params[:, :1], nodes.params[:, 1:])
                params = np.diff(ends, axis=1)
            else:
                params = nodes.params
            copies[nodes] = inputs(nodes.var, num_nodes=nodes.num_nodes, dist=pcv.Categorical(params.shape[1]), params=params)
        elif isinstance(nodes, ProdNodes):
            copies[nodes] = multiply(*children, edge_ids=nodes.edge_ids)
        else:
            shape = {"num_nodes": nodes.num_nodes, "edge_ids": nodes.edge_ids, "edge_block": nodes.edge_block}
            copies[nodes] = summate(*children, **shape, params=nodes.params)
    return copies[root]


def intervals(samples, cuts, observed=()) -> np.ndarray:
    """Samples [n, V] as states of ``over_intervals``."""
    states = np.asarray(samples).astype(np.float64)
    for var, values in cuts.items():
        states[:, var] = np.digitize(states[:, var], values)
    states[:, list(observed)] = 0
    return states.astype(np.int64)


def check_samples(samples, root, cuts, row=None, observed=()):
    copy = over_intervals(root, cuts, row, observed)
    worlds = worlds_of(copy)
    assert p_value(intervals(samples, cuts, observed), worlds, np.exp(log_likelihood(copy, worlds))) > ALMOST_NEVER


@pytest.mark.parametrize("block_size", [1, 4, 32])
@pytest.mark.parametrize("seed", range(8))
def test_samples_follow_distribution_and_posterior(seed, block_size):
    root, rng = random_circuit(seed, gaussians=True), np.random.default_rng(seed)
    cuts = {var: np.unique(np.quantile(means(root, var), [0.1, 0.5, 0.8])) for var in real_variables(root)}
    pc = tensor_circuit(root, block_size)
    samples = pc.sample(10_000, seed=seed)
    assert samples.dtype == pc.dtype and torch.isfinite(samples).all()
    check_samples(samples, root, cuts)
    x = samples[:4].numpy()
    mask = rng.random(x.shape) < 0.5
    mask[0, 0], mask[1, 0] = True, False  # variable 0 is real
    found = pc.sample(5000, x=np.where(mask, x, np.nan), observed=mask, seed=seed)
    assert (found[:, mask] == torch.as_tensor(x[mask])).all()
    for b in range(len(x)):
        check_samples(found[:, b], root, cuts, x[b].astype(np.float64), tuple(np.flatnonzero(mask[b])))


def test_a_gaussian_is_sampled_in_every_detail():
    """One input, then a mixture of two with very different spreads: Kolmogorov-Smirnov over 200,000 samples."""
    leaf = inputs(0, num_nodes=2, dist=pcv.Gaussian(), params=[[3.0, 0.01], [-100.0, 20.0]])
    for weights in ([1.0, 0.0], [0.3, 0.7]):
        pc = tensor_circuit(summate(leaf, num_nodes=1, params=[weights]), 2, F64)
        found = pc.sample(200_000)[:, 0].numpy()
        assert len(np.unique(found)) == len(found)
        result = kstest(found, lambda v: weights[0] * norm.cdf(v, 3, np.float32(0.01)) + weights[1] * norm.cdf(v, -100, 20))  # noqa: B023
        assert result.pvalue > ALMOST_NEVER


@examples(60)
@given(small_circuits(gaussians=True), sizes, st.integers(0, 2**16))
def test_mpe_equals_exhaustive_search(root, block_size, seed):
    """The real values of a maximum are means of inputs, so that these, all categories, and all latents are searched."""
    rng, real = np.random.default_rng(seed), real_variables(root)
    x = random_data(root, 4, seed)
    observed = rng.random(x.shape) < 0.6
    counts = {nodes.var: nodes.dist.num_cats for nodes in input_vectors(root) if nodes.var not in real}
    pc = tensor_circuit(root, block_size, F64)
    for row, mask in zip(x, observed):
        options = [[row[v]] if mask[v] else np.unique(means(root, v)) if v in real else range(counts[v]) for v in range(len(row))]
        if np.prod([len(option) for option in options]) > 5000:
            mask[real[0]], options[real[0]] = True, [row[real[0]]]
        if np.prod([len(option) for option in options]) > 20_000:
            continue
        expected = mpe_logs(root, np.array(list(itertools.product(*options)))).max()
        if expected == -np.inf:
            with pytest.raises(ValueError, match="have probability 0"):
                pc.mpe(row[None], observed=mask[None])
            continue
        state, log = pc.mpe(np.where(mask, row, np.inf)[None], observed=mask[None], return_log=True)
        assert (state[0].numpy() == row)[mask].all()
        np.testing.assert_allclose(log[0], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(mpe_logs(root, state.numpy())[0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_marginals_of_categories_given_real_evidence(seed):
    root, rng = random_circuit(seed, gaussians=True), np.random.default_rng(seed)
    real, pc = real_variables(root), tensor_circuit(root, 4, F64)
    x = pc.sample(3, seed=seed).numpy()
    observed = rng.random(x.shape) < 0.5
    if len(real) == x.shape[1]:
        with pytest.raises(ValueError, match="every variable of this circuit is Gaussian"):
            pc.marginals(x, observed=observed)
        return
    found = pc.marginals(np.where(observed, x, np.nan), observed=observed).numpy()
    assert (found[:, real] == 0).all()
    for b, (row, mask) in enumerate(zip(x, observed)):
        copy = over_intervals(root, {var: [] for var in real}, row, tuple(np.flatnonzero(mask)))
        worlds = worlds_of(copy)
        weights = np.exp(log_likelihood(copy, worlds))
        for v in set(range(x.shape[1])) - set(real):
            expected = np.bincount(worlds[:, v], weights=weights, minlength=found.shape[2]) / weights.sum()
            if mask[v]:
                expected = np.eye(found.shape[2])[int(row[v])]
            np.testing.assert_allclose(found[b, v], expected, rtol=1e-4, atol=1e-6)


def test_far_real_evidence_gives_finite_completions():
    """A value thousands of standard deviations away: densities underflow in float32, logarithms do not."""
    root = random_circuit(3, gaussians=True)
    pc, x = tensor_circuit(root, 4), random_data(root, 2).astype(np.float32)
    x[:, 0] = 1e5
    observed = np.zeros(x.shape, dtype=bool)
    observed[:, 0] = True
    states, logs = pc.mpe(x, observed=observed, return_log=True)
    assert torch.isfinite(pc.sample(50, x=x, observed=observed)).all() and torch.isfinite(states).all() and torch.isfinite(logs).all()
    np.testing.assert_allclose(mpe_logs(root, states.numpy().astype(np.float64)), logs, rtol=1e-4)
