"""Pruning by flow: how much is kept, what it costs, that the result is a sound circuit."""

import numpy as np
import pytest
import torch
from circuits import random_circuit
from oracle import log_likelihood, worlds_of
from trained import digits, pruned_digits, small_pd, trained_digits

import pcviz as pcv
from pcviz.ir.checks import check_circuit
from pcviz.ir.nodes import InputNodes, ProdNodes, SumNodes, edge_totals, sum_vectors, topological
from pcviz.pruning import prune_edges


def tensor_circuit(root, block_size=8) -> pcv.TensorCircuit:
    return pcv.TensorCircuit(pcv.compile(root, block_size=block_size))


def num_edges(root) -> int:
    return sum(nodes.num_edges for nodes in sum_vectors(root))


def check_pruned(root, original):
    assert root is not original and isinstance(root, SumNodes)
    check_circuit(root)
    assert root.scope == original.scope and root.seed == original.seed
    for nodes in topological(root):
        if isinstance(nodes, SumNodes):
            np.testing.assert_allclose(edge_totals(nodes, nodes.params), 1, rtol=1e-5, err_msg=repr(nodes))
            assert (nodes.params > 0).all()
        elif isinstance(nodes, InputNodes):
            np.testing.assert_allclose(nodes.params.sum(axis=1), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def trained():
    return tensor_circuit(small_pd(num_latents=16, epochs=4))


@pytest.mark.parametrize("keep", [0.9, 0.4, 0.1])
@pytest.mark.parametrize("granularity", [1, 4, 16])
def test_keeps_about_what_is_asked_for(trained, keep, granularity):
    root = pcv.prune(trained, keep=keep, granularity=granularity, x=digits(400))
    check_pruned(root, trained.root)
    share = num_edges(root) / num_edges(trained.root)
    fewest = num_edges(pcv.prune(trained, keep=1e-9, granularity=granularity, x=digits(400))) / num_edges(trained.root)
    assert share <= max(keep, fewest), "more only where every sum keeping its best edge takes more"
    assert share >= (0.99 if granularity == 1 else 0.9) * keep  # a block that goes may take dead nodes with all their edges along
    assert torch.isfinite(tensor_circuit(root)(digits(100, "test"))).all()


def test_granularity_keeps_whole_blocks(trained):
    """At 16 x 16 every vector of K = 16 stays dense towards the children it keeps, so nothing is absent at block 16."""
    root = pcv.prune(trained, keep=0.5, granularity=16, x=digits(400))
    summary = pcv.plan_summary(root, block_size=16)
    assert summary.total("absent_edges") == 0
    fine = pcv.plan_summary(pcv.prune(trained, keep=0.5, granularity=1, x=digits(400)), block_size=16)
    assert fine.total("absent_edges") > 0.1 * fine.total("stored_edges")
    assert summary.padding_share < fine.padding_share


def test_the_default_circuit_keeps_40_percent():
    original, root = trained_digits().root, pruned_digits()
    check_pruned(root, original)
    assert 0.3 <= num_edges(root) / num_edges(original) <= 0.41
    before, after = (float(tensor_circuit(r, 32)(digits(360, "test")).mean()) for r in (original, root))
    assert before - 3 < after <= before + 0.5


@pytest.mark.parametrize("keep", [0.7, 0.25, 0.05, 0.02])
def test_the_share_is_met_within_a_hundredth(keep):
    """However many edges dead nodes take along: at 5% the first guess of the score would have kept 3%."""
    root = pcv.prune(trained_digits(), keep=keep, x=digits(300))
    assert 0.99 * keep <= num_edges(root) / num_edges(trained_digits().root) <= keep


def test_the_report_has_the_likelihood_before_and_after(trained):
    x, observed = digits(200, "test"), np.random.default_rng(0).random((200, 64)) < 0.8
    for mask in (None, observed):
        root, report = pcv.prune(trained, keep=0.1, x=x, observed=mask, return_report=True)
        assert (report.num_edges_before, report.num_edges_after) == (num_edges(trained.root), num_edges(root))
        assert (report.keep, report.granularity, report.num_samples, report.num_vars) == (0.1, 1, 200, 64)
        np.testing.assert_allclose(report.kept_share, 0.1, rtol=0.01)
        np.testing.assert_allclose(report.ll_before, float(trained(x, mask).mean()), rtol=1e-6)
        np.testing.assert_allclose(report.ll_after, log_likelihood(root, x, mask).mean(), rtol=1e-5)
    assert "asked for 10.0%" in str(report) and "bits per dimension" in str(report)
    assert f"{report.ll_before:.2f} before, {report.ll_after:.2f} after" in str(report)
    again = pcv.prune(trained, keep=0.1, x=x, observed=observed)
    assert [nodes.num_edges for nodes in sum_vectors(again)] == [nodes.num_edges for nodes in sum_vectors(root)]


def test_without_data_the_report_has_no_likelihood(trained):
    _, report = pcv.prune(trained, keep=0.5, return_report=True)
    assert report.ll_before is report.ll_after is None and report.num_samples == 0
    assert "asked for 50.0%)" in str(report) and "likelihood" not in str(report)


@pytest.mark.parametrize("keep", [0.5, 0.1])
def test_pruning_by_flow_loses_less_than_random_pruning(trained, keep):
    x = digits(600)
    before = float(trained(x).mean())
    by_flow = before - float(tensor_circuit(pcv.prune(trained, keep=keep, x=x))(x).mean())
    for seed in range(2):
        rng = np.random.default_rng(seed)
        scores = {id(nodes): rng.random(nodes.param_shape) for nodes in sum_vectors(trained.root)}
        root = prune_edges(trained.root, scores, keep, 1)
        check_pruned(root, trained.root)
        at_random = before - float(tensor_circuit(root)(x).mean())
        assert by_flow < 0.5 * at_random


def test_without_data_the_parameters_decide(trained):
    root = pcv.prune(trained, keep=0.4)
    check_pruned(root, trained.root)
    assert 0.2 * num_edges(trained.root) < num_edges(root) <= 0.42 * num_edges(trained.root)


def test_the_strongest_edges_stay():
    leaf = pcv.inputs(0, num_nodes=4, dist=pcv.Categorical(4), params=np.eye(4, dtype=np.float32))
    root = pcv.summate(leaf, num_nodes=1, params=[[0.4, 0.1, 0.3, 0.2]])
    pruned = pcv.prune(tensor_circuit(root), keep=0.5)
    assert pruned.num_edges == 2 and pruned.children[0].num_nodes == 2
    np.testing.assert_allclose(pruned.params.ravel(), [4 / 7, 3 / 7], rtol=1e-6)
    np.testing.assert_array_equal(pruned.children[0].params, np.eye(4, dtype=np.float32)[[0, 2]])
    data = [[3]] * 9 + [[1]] * 8 + [[0]]  # the data, not the parameters, decide when given
    by_data = pcv.prune(tensor_circuit(root), keep=0.5, x=data)
    np.testing.assert_array_equal(by_data.children[0].params, np.eye(4, dtype=np.float32)[[1, 3]])


def test_every_sum_keeps_an_edge(trained):
    root = pcv.prune(trained, keep=1e-9, x=digits(50))
    check_pruned(root, trained.root)
    for nodes in sum_vectors(root):
        assert nodes.num_edges == nodes.num_nodes
    assert torch.isfinite(tensor_circuit(root)(digits(20))).all()


def test_keep_everything_changes_nothing():
    for seed in range(6):
        root = random_circuit(seed, zeros=False)
        x = worlds_of(root)
        pruned = pcv.prune(tensor_circuit(root), keep=1.0, x=x)
        check_pruned(pruned, root)
        assert num_edges(pruned) == num_edges(root)
        np.testing.assert_allclose(log_likelihood(pruned, x), log_likelihood(root, x), rtol=1e-5)


@pytest.mark.parametrize("granularity", [1, 2])
def test_random_circuits_stay_sound(granularity):
    for seed in range(15):
        root = random_circuit(seed)
        x = worlds_of(root)
        for keep in (0.7, 0.2):
            pruned = pcv.prune(tensor_circuit(root, 4), keep=keep, granularity=granularity, x=x)
            check_pruned(pruned, root)
            lls = log_likelihood(pruned, x)
            np.testing.assert_allclose(np.exp(lls).sum(), 1, rtol=1e-5)
            np.testing.assert_allclose(tensor_circuit(pruned, 4)(x), lls, rtol=1e-5, atol=1e-5)


def test_pruning_leaves_the_circuit_alone(trained):
    before = [nodes.params.copy() for nodes in topological(trained.root) if not isinstance(nodes, ProdNodes)]
    pcv.prune(trained, keep=0.2, x=digits(50))
    after = [nodes.params for nodes in topological(trained.root) if not isinstance(nodes, ProdNodes)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after))


def test_a_pruned_circuit_trains_on(trained):
    pc, x = tensor_circuit(pcv.prune(trained, keep=0.2, x=digits(400))), digits(400)
    before = float(pc(x).mean())
    for _ in pcv.fit(pc, x, epochs=2, batch_size=100):
        pass
    assert float(pc(x).mean()) > before + 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0}, r"keep must be in \(0, 1\].*got 0"),
        ({"keep": 1.5}, r"keep must be in \(0, 1\]"),
        ({"keep": float("nan")}, r"keep must be in \(0, 1\]"),
        ({"granularity": 0}, "granularity expects an integer of at least 1, got 0"),
        ({"granularity": 2.5}, "granularity expects an integer"),
        ({"observed": np.ones((1, 64), dtype=bool)}, "observed is a mask of x; pass x too"),
        ({"x": np.zeros((0, 64), dtype=int)}, "empty batch"),
    ],
)
def test_bad_arguments(trained, arguments, message):
    with pytest.raises(ValueError, match=message):
        pcv.prune(trained, **arguments)
