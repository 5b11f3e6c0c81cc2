"""Exact ground truth from outside: Bayesian networks as circuits, against their own tables."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from bayesian_networks import Network, circuit_of, known_networks, random_network, read_bif
from oracle import worlds

import pcviz as pcv
from pcviz.ir.checks import check_circuit

KNOWN = known_networks()


def bif(name: str) -> Network:
    """A network of the collection that pgmpy ships; only the file is read."""
    spec = importlib.util.find_spec("pgmpy")
    if spec is None:
        pytest.skip("pgmpy is not installed (extra peers): its .bif files are not there")
    path = Path(spec.submodule_search_locations[0]) / "utils" / "example_models" / f"{name}.bif.gz"
    return read_bif(gzip.decompress(path.read_bytes()).decode("utf-8"))


def engine(network: Network, block_size: int = 8) -> pcv.TensorCircuit:
    root = circuit_of(network)
    check_circuit(root)
    return pcv.TensorCircuit(pcv.compile(root, block_size=block_size))


def check_assignments(pc, network: Network, x: np.ndarray):
    found, expected = pc(x).double().numpy(), network.log_joint(x)
    possible = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), possible)
    np.testing.assert_allclose(found[possible], expected[possible], rtol=1e-5, atol=2e-5)


def check_marginals(pc, network: Network, seed: int, rounds: int = 6):
    """P of random sets of up to four variables, every assignment of each set."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        keep = sorted(rng.choice(network.num_vars, size=min(network.num_vars, int(rng.integers(1, 5))), replace=False).tolist())
        table = network.marginal(keep)
        assigned = worlds(len(keep), list(table.shape))
        x, observed = rng.integers(0, min(network.states), (len(assigned), network.num_vars)), np.zeros((1, network.num_vars), dtype=bool)
        x[:, keep], observed[:, keep] = assigned, True
        np.testing.assert_allclose(pc(x, observed=observed).exp().numpy(), table.ravel(), rtol=3e-5, atol=1e-7)


def every_world(network: Network) -> np.ndarray:
    return worlds(network.num_vars, network.states)


@pytest.mark.parametrize("block_size", [1, 4, 32])
@pytest.mark.parametrize("name", KNOWN)
def test_known_networks(name, block_size):
    network = KNOWN[name]
    pc, x = engine(network, block_size), every_world(network)
    check_assignments(pc, network, x)
    np.testing.assert_allclose(float(pc(x).double().exp().sum()), 1, rtol=1e-5)
    check_marginals(pc, network, seed=block_size)


def test_published_answers():
    """Asia: P(tub | asia), P(bronc | dysp) and P(either) as the publication has them."""
    pc = engine(KNOWN["asia"])

    def probability(**values):
        names = ["asia", "tub", "smoke", "lung", "bronc", "either", "xray", "dysp"]
        x, observed = np.zeros((1, 8), dtype=int), np.array([[name in values for name in names]])
        for name, value in values.items():
            x[0, names.index(name)] = value
        return float(pc(x, observed=observed).exp())

    np.testing.assert_allclose(probability(tub=0, asia=0) / probability(asia=0), 0.05, rtol=1e-5)
    np.testing.assert_allclose(probability(either=0), 0.064828, rtol=1e-5)  # 1 - P(no lung cancer and no tuberculosis)
    np.testing.assert_allclose(probability(bronc=0, dysp=0) / probability(dysp=0), 0.8337, rtol=1e-3)
    assert probability(either=1, lung=0) == 0


@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed):
    network = random_network(seed, num_vars=3 + seed % 5)
    pc, x = engine(network, (1, 2, 4, 8)[seed % 4]), every_world(network)
    check_assignments(pc, network, x)
    check_marginals(pc, network, seed)


def test_em_counts_where_nothing_is_hidden():
    """A circuit of a tree has no latent variable, so one step of full-batch EM gives the maximum-likelihood tables."""
    network = random_network(3, num_vars=7, max_parents=1)
    x = network.sample(4000)
    pc = engine(network)
    truth = float(network.log_joint(x).mean())
    for _ in pcv.fit(pc, x, epochs=1, batch_size=4000, step_size=1.0, pseudocount=0.0):
        pass
    counted = float(np.mean(sum(_log_share(x, scope) for scope in network.scopes())))
    assert counted > truth
    np.testing.assert_allclose(float(pc(x).double().mean()), counted, rtol=1e-5)


def _log_share(x: np.ndarray, scope) -> np.ndarray:
    """log of the share of x's value among the samples with the same parents, per sample."""
    _, both, pairs = np.unique(x[:, scope], axis=0, return_inverse=True, return_counts=True)
    _, given, rows = np.unique(x[:, [*scope[:-1]]], axis=0, return_inverse=True, return_counts=True) if len(scope) > 1 else (0, 0, None)
    return np.log(pairs[both.ravel()] / (len(x) if len(scope) == 1 else rows[given.ravel()]))


def test_samples_follow_their_tables():
    network = random_network(4, num_vars=5)
    x = network.sample(20000)
    for v in range(5):
        share = np.bincount(x[:, v], minlength=network.states[v]) / len(x)
        np.testing.assert_allclose(share, network.marginal([v]), atol=0.02)
    assert np.isfinite(network.log_joint(x)).all()


def test_bif_files_are_read_as_published():
    for name, known in KNOWN.items():
        network = bif(name)
        assert (network.states, network.parents) == (known.states, known.parents)
        keep = list(range(network.num_vars))
        np.testing.assert_allclose(network.marginal(keep), known.marginal(keep), atol=1e-12)


@pytest.mark.parametrize("name", ["sachs", "child", "alarm"])
def test_collection(name):
    network = bif(name)
    pc = engine(network, block_size=16)
    anything = np.random.default_rng(0).integers(0, network.states, (200, network.num_vars))
    check_assignments(pc, network, np.concatenate([network.sample(500), anything]))
    check_marginals(pc, network, seed=0, rounds=3)
    nothing = torch.zeros((1, network.num_vars), dtype=torch.bool)
    assert abs(float(pc(np.zeros((1, network.num_vars), dtype=int), observed=nothing))) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["insurance", "hailfinder", "hepar2", "win95pts", "pathfinder", "andes", "pigs"])
def test_large_networks(name):
    """Up to 441 variables. Left out: diabetes and munin3 (both pass, in minutes); the others need more than 2^18 products a step."""
    network = bif(name)
    root = circuit_of(network)
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=16))
    check_assignments(pc, network, network.sample(100))
    nothing = torch.zeros((1, network.num_vars), dtype=torch.bool)
    assert abs(float(pc(np.zeros((1, network.num_vars), dtype=int), observed=nothing))) < 1e-3
