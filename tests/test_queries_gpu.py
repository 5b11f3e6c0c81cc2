"""Queries by every engine, structure by structure: the same tests by the torch engine on the CPU, small, in every run, and by Triton on a
GPU at real sizes, with ``pytest -m gpu tests/test_queries_gpu.py``. Answers are from reference.py and the float64 torch engine."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from circuits import trained_params, vectors_with_rows
from oracle import worlds_of
from test_queries import ALMOST_NEVER, p_value
from trained import hclt_on_gpu, smooth_images

import pcviz as pcv
from pcviz.ir.nodes import SumNodes, init_params, sum_vectors
from pcviz.reference import log_likelihood

STRUCTURES = ("PD", "HCLT", "RAT-SPN", "HMM")
HIDDEN = np.array([[False, True, True, False, True, False]])  # the evidence of the small circuits
NATS = 5e-3  # of the small ones, what float16 values and parameters of their few layers may cost


@dataclass(frozen=True)
class Where:
    device: str
    impl: str
    num_latents: int  # of circuits over six variables
    image_shape: tuple[int, int]
    image_latents: int

    @property
    def num_vars(self) -> int:
        return self.image_shape[0] * self.image_shape[1]

    def circuit(self, root, block_size: int = 32, **options) -> pcv.TensorCircuit:
        pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size), device=self.device, **options)
        assert pc.impl == self.impl, "what runs is what is tested"
        return pc


CPU, GPU = Where("cpu", "torch", 12, (8, 8), 6), Where("cuda", "triton", 96, (28, 28), 96)
GPU_MARKS = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(params=[pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu", marks=GPU_MARKS)])
def where(request) -> Where:
    return request.param


@cache
def small(kind: str, num_latents: int) -> SumNodes:
    """Six variables of three categories, so that all 729 worlds can be listed; skewed parameters, some of them zero."""
    rng = np.random.default_rng(7)
    if kind == "PD":
        root = pcv.PD((2, 3), num_latents, dist=pcv.Categorical(3))
    elif kind == "HCLT":
        x = rng.integers(0, 3, (200, 6))
        x[:, 1:3] = x[:, :1]
        root = pcv.HCLT(x, num_latents, dist=pcv.Categorical(3))
    elif kind == "RAT-SPN":
        root = pcv.RAT_SPN(6, num_latents, depth=2, num_repetitions=3, dist=pcv.Categorical(3))
    else:
        root = pcv.HMM(6, num_latents, 3)
    init_params(root)
    trained_params(root, rng, zero_share=0.2)
    return root


@cache
def posterior(kind: str, num_latents: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All worlds, their probabilities, three rows of evidence, and the worlds' probabilities given each [3, worlds]."""
    root = small(kind, num_latents)
    worlds = worlds_of(root)
    shares = np.exp(log_likelihood(root, worlds))
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-5)
    x = worlds[np.argsort(-shares)[[0, 5, 40]]]
    agree = (worlds[None] == x[:, None])[:, :, ~HIDDEN[0]].all(axis=2)
    return worlds, shares, x, agree * shares


@pytest.mark.parametrize("kind", STRUCTURES)
def test_samples_pass_chi_square(where, kind):
    worlds, shares, x, given = posterior(kind, where.num_latents)
    pc = where.circuit(small(kind, where.num_latents), 16)
    found = pc.sample(20_000, seed=3)
    assert found.device.type == where.device
    assert p_value(found.cpu(), worlds, shares) > ALMOST_NEVER
    found = pc.sample(5000, x=np.where(HIDDEN, 2, x), observed=~HIDDEN, seed=4).cpu()
    for row in range(len(x)):
        assert p_value(found[:, row], worlds, given[row]) > ALMOST_NEVER
    assert torch.equal(pc.sample(50, seed=3), pc.sample(50, seed=3))


@pytest.mark.parametrize("kind", STRUCTURES)
def test_marginals_equal_enumeration(where, kind):
    worlds, _, x, given = posterior(kind, where.num_latents)
    found = where.circuit(small(kind, where.num_latents), 16).marginals(x, observed=~HIDDEN).cpu().numpy()
    for row, weights in enumerate(given):
        expected = [np.bincount(worlds[:, var], weights, minlength=3) / weights.sum() for var in range(6)]
        np.testing.assert_allclose(found[row], expected, atol=NATS)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_mpe_reaches_the_maximum(where, kind):
    """The state's own best latents, in float64, are as good as the best of all states; ties and near ties may differ."""
    worlds, _, x, given = posterior(kind, where.num_latents)
    root = small(kind, where.num_latents)
    exact = pcv.TensorCircuit(pcv.compile(root, block_size=16), dtype=torch.float64)
    possible = worlds[given.any(axis=0)]
    best = dict(zip(map(tuple, possible.tolist()), exact.mpe(possible, return_log=True)[1].tolist()))
    states, logs = where.circuit(root, 16).mpe(x, observed=~HIDDEN, return_log=True)
    assert (states.cpu().numpy() == x)[:, ~HIDDEN[0]].all()
    for row, state in enumerate(states.tolist()):
        reachable = max(best[tuple(world.tolist())] for world in worlds[given[row] > 0])
        assert best[tuple(state)] == pytest.approx(reachable, abs=NATS) and float(logs[row]) == pytest.approx(reachable, abs=NATS)


# ---- images -------------------------------------------------------------------------------------------------------------


@cache
def trained_on(where: Where, folder: Path) -> tuple[SumNodes, np.ndarray]:
    x = smooth_images(600, where.image_shape)
    if where is GPU:
        return hclt_on_gpu(folder), x
    pc = where.circuit(pcv.HCLT(x, where.image_latents, dist=pcv.Categorical(16)))
    for _ in pcv.fit(pc, x, epochs=4, batch_size=200):
        pass
    return pc.write_back(), x


@pytest.fixture
def trained(where, shared_folder) -> tuple[SumNodes, np.ndarray]:
    return trained_on(where, shared_folder)


def exact_of(where: Where, root, block_size: int = 32) -> pcv.TensorCircuit:
    return pcv.TensorCircuit(pcv.compile(root, block_size=block_size), device=where.device, dtype=torch.float64)


def nats(where: Where) -> float:
    return 2e-2 if where.impl == "triton" else 1e-3  # engine.md's bound of the default precision at 784 variables


def test_values_and_flows_of_nodes(where, trained):
    root, x = trained
    x, observed = x[:70], np.random.default_rng(1).random((70, where.num_vars)) < 0.7
    pc, exact = where.circuit(root, 16), exact_of(where, root, 16)
    values, flows = (f(x, observed) for f in (pc.node_values, pc.node_flows))
    expected, expected_flows = (f(x, observed) for f in (exact.node_values, exact.node_flows))
    summed, expected_summed = pc.flows(x, observed), exact.flows(x, observed)
    torch.testing.assert_close(summed.lls.double(), expected_summed.lls, rtol=0, atol=nats(where))
    for nodes in vectors_with_rows(root)[:: max(1, where.num_vars // 40)]:
        rows, same = pc.plan.rows_of(nodes), exact.plan.rows_of(nodes)
        torch.testing.assert_close(values[rows].double(), expected[same], rtol=0, atol=nats(where))
        torch.testing.assert_close(flows[rows].double(), expected_flows[same], rtol=1e-2, atol=nats(where))
        expected_edges = expected_summed.of(nodes)
        np.testing.assert_allclose(summed.of(nodes), expected_edges, rtol=1e-2, atol=nats(where) * max(1.0, expected_edges.max()))


def test_completions(where, trained):
    """The second half hidden: marginals and MPE as in float64, samples in agreement with the marginals, evidence kept."""
    root, x = trained
    x, observed = x[:3], np.arange(where.num_vars)[None] < where.num_vars // 2
    pc, exact = where.circuit(root), exact_of(where, root)
    found, expected = pc.marginals(x, observed), exact.marginals(x, observed)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=nats(where))
    states, logs = pc.mpe(x, observed, return_log=True)
    _, best = exact.mpe(x, observed, return_log=True)
    torch.testing.assert_close(logs.double(), best, rtol=0, atol=nats(where))
    torch.testing.assert_close(exact.mpe(states, return_log=True)[1], best, rtol=0, atol=2 * nats(where))
    samples = pc.sample(2000, x=x, observed=observed, seed=1)
    assert (samples == torch.as_tensor(x, device=samples.device).long())[..., torch.as_tensor(observed[0], device=samples.device)].all()
    shares = torch.nn.functional.one_hot(samples, 16).double().mean(dim=0)
    wide = 6 * (expected * (1 - expected) / len(samples)).sqrt() + 1e-3 + nats(where) * expected
    assert ((shares - expected).abs() <= wide).all(), float(((shares - expected).abs() - wide).max())


@pytest.mark.parametrize("granularity", [1, 2])
def test_pruned_by_flow(where, trained, granularity):
    """As many edges as by the float64 engine, nearly all of them the same ones, and the pruned circuit is right."""
    root, x = trained
    pruned, expected = (pcv.prune(pc, keep=0.3, granularity=granularity, x=x[:200]) for pc in (where.circuit(root), exact_of(where, root)))
    edges, expected_edges = (sum(nodes.num_edges for nodes in sum_vectors(circuit)) for circuit in (pruned, expected))
    assert edges == pytest.approx(expected_edges, rel=0.02)
    lls = exact_of(where, pruned)(x[:100])
    torch.testing.assert_close(where.circuit(pruned)(x[:100]).double(), lls, rtol=0, atol=nats(where))
    assert float(lls.mean()) == pytest.approx(float(exact_of(where, expected)(x[:100]).mean()), rel=2e-3)


def test_a_file_brings_everything_back(where, trained, tmp_path):
    root, x = trained
    pc = where.circuit(root)
    pc.accumulate_flows(x[:100])
    pc.em_step(0.5, 0.1)
    pcv.save(pc, tmp_path / "circuit")
    again = where.circuit(pcv.load(tmp_path / "circuit"))
    assert torch.equal(again.params, pc.params) and all(map(torch.equal, again.tables, pc.tables))
    torch.testing.assert_close(again(x[:100]), pc(x[:100]), rtol=0, atol=1e-5)


def test_training_continues_from_a_file(where, trained, tmp_path):
    """Two epochs, a file, two more: the bits of four in a row, by an engine that adds in a fixed order."""
    _, x = trained
    x, arguments = x[:300], {"epochs": 4, "batch_size": 100, "seed": 5}
    start = pcv.HCLT(x, where.image_latents, dist=pcv.Categorical(16))
    init_params(start)
    pcv.save(start, tmp_path / "start")
    whole, first = (where.circuit(pcv.load(tmp_path / "start"), deterministic=True) for _ in range(2))
    steps = list(pcv.fit(whole, x, **arguments))
    run = pcv.fit(first, x, **arguments)
    half = [step for _, step in zip(range(6), run)]
    pcv.save_fit(run, tmp_path / "run")
    root, state = pcv.load_fit(tmp_path / "run")
    other = where.circuit(root, deterministic=True)
    rest = list(pcv.fit(other, x, **arguments, state=state))
    assert [step.train_bpd for step in half + rest] == [step.train_bpd for step in steps]
    assert torch.equal(other.params, whole.params) and all(map(torch.equal, other.tables, whole.tables))


def test_what_a_query_can_not_answer_is_refused(where):
    """Impossible evidence by its rows, values and masks that do not fit, a wrong number of samples."""
    root = small("HMM", where.num_latents)
    emission = next(nodes for nodes in vectors_with_rows(root) if nodes.kind == "input")
    kept = emission.params
    emission.params = (kept * [1, 1, 0] / (kept * [1, 1, 0]).sum(axis=1, keepdims=True)).astype(np.float32)  # nobody says 2
    try:
        pc = where.circuit(root, 16)
    finally:
        emission.params = kept
    x = np.zeros((3, 6), dtype=np.int64)
    x[1, 0] = 2
    for query in (lambda *given: pc.sample(2, *given), pc.mpe, pc.marginals):
        with pytest.raises(ValueError, match=r"1 of 3 samples \(rows 1\) have probability 0"):
            query(x, ~HIDDEN)
        assert torch.isfinite(query(x, x != 2).float()).all()
        with pytest.raises(ValueError, match="expected 0 to 2"):
            query(x + 3, ~HIDDEN)
        with pytest.raises(ValueError, match="observed"):
            query(x, ~HIDDEN[:, :5])
    assert torch.isneginf(pc(x)[1]) and (pc.node_flows(x)[:, 1] == 0).all()
    with pytest.raises(ValueError, match="the number of samples, expects an integer of at least 1"):
        pc.sample(0)
