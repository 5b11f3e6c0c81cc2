"""Second opinions: other libraries on the same parameters and real data. Each test is skipped where its library is not installed."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from peers import spflow_log_likelihood, to_cirkit, to_spflow
from test_idx import FASHION
from trained import digits

import pcviz as pcv
from pcviz.ir.nodes import InputNodes, topological
from pcviz.peers import pyjuice_kernels

SMALL = ("HCLT on digits", "PD on digits", "PD with drawn connections", "HCLT on the middle of Fashion-MNIST")


@pytest.fixture
def spflow():
    return pytest.importorskip("spflow", reason="spflow is not installed (extra peers)")


@pytest.fixture
def cirkit():
    return pytest.importorskip("cirkit", reason="libcirkit is not installed (extra peers)")


def circuit_and_data(name: str) -> tuple[pcv.TensorCircuit, np.ndarray]:
    """A circuit after some steps of EM, and images it has not seen."""
    if "Fashion" in name:
        if not FASHION.is_dir():
            pytest.skip(f"no {FASHION} (Debian package dataset-fashion-mnist)")
        x = pcv.datasets.load_idx(FASHION, "test")
        x = x.reshape(-1, 28, 28)[:, 9:19, 9:19].reshape(-1, 100) if "middle" in name else x
        root = pcv.HCLT(x[:300], num_latents=4, dist=pcv.Categorical(256))
        x, unseen = x[:300], x[300:340]
    else:
        x, unseen = digits(600), digits(100, "test")
        if "HCLT" in name:
            root = pcv.HCLT(x, num_latents=6)
        else:
            conn_block = 2 if "drawn" in name else None
            root = pcv.PD((8, 8), num_latents=8, split_intervals=4 if conn_block is None else 2, dist=pcv.Categorical(17), conn_block=conn_block)
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=4))
    for _ in pcv.fit(pc, x, epochs=2, batch_size=100):
        pass
    pc.write_back()
    return pc, unseen


@pytest.mark.parametrize("found, expected", [(None, "default"), (False, "default"), (True, "CUDA")])
def test_pyjuices_kernels_are_named(monkeypatch, found, expected):
    """``found``: what PyJuice says of its optional kernels; None: it has none."""
    for name in ("pyjuice", "pyjuice.layer", "pyjuice.layer.kernels"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    if found is not None:
        sys.modules["pyjuice.layer.kernels"].c = SimpleNamespace(is_available=lambda: found)
    assert pyjuice_kernels() == expected


@pytest.mark.parametrize("name", [*SMALL, "HCLT on Fashion-MNIST"])
def test_spflow_agrees(spflow, name):
    pc, x = circuit_and_data(name)
    module = to_spflow(pc.root)
    np.testing.assert_allclose(spflow_log_likelihood(module, x), pc(x).numpy(), rtol=1e-5)
    observed = np.random.default_rng(0).random(x.shape) < 0.5
    np.testing.assert_allclose(spflow_log_likelihood(module, x, observed), pc(x, observed).numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_cirkit_agrees(cirkit, name):
    """libcirkit 0.3.1 raises every log p below -708 nats to -708, so its images are small."""
    pc, x = circuit_and_data(name)
    with torch.no_grad():
        found = to_cirkit(pc.root)(torch.as_tensor(x.astype(np.int64)))
    np.testing.assert_allclose(found.flatten().numpy(), pc(x).numpy(), rtol=1e-5)


@pytest.mark.parametrize("pseudocount", [0.0, 0.5])
def test_a_step_of_em_is_that_of_cirkit(cirkit, pseudocount):
    """Its mini-batch EM has the same step size and pseudocount: likelihoods agree after three steps."""
    from cirkit.backend.torch.em_optimizer import EM

    pc, unseen = circuit_and_data("HCLT on digits")
    peer, x = to_cirkit(pc.root), digits(150)
    optimizer = EM(peer, lr=0.3, pseudocount=pseudocount, alpha=0.0)
    before = pc(unseen)
    for part in np.split(x, 3):
        optimizer.zero_grad()
        peer(torch.as_tensor(part.astype(np.int64))).sum().backward()
        optimizer.step()
        pc.accumulate_flows(part)
        pc.em_step(0.3, pseudocount)
    with torch.no_grad():
        found = peer(torch.as_tensor(unseen.astype(np.int64))).flatten()
    assert float((pc(unseen) - before).abs().max()) > 1
    np.testing.assert_allclose(found.numpy(), pc(unseen).numpy(), rtol=2e-4)


def test_a_full_step_of_em_is_that_of_spflow(spflow):
    """spflow's EM has no step size and no pseudocount, but keeps categories from being zero; on data that has them all it agrees."""
    from spflow.learn.expectation_maximization import expectation_maximization

    x = np.random.default_rng(0).integers(0, 3, (400, 6))
    x[:, 1:] = (x[:, :-1] + (np.random.default_rng(1).random((400, 5)) < 0.3)) % 3
    pc = pcv.TensorCircuit(pcv.compile(pcv.HCLT(x, num_latents=3), block_size=4))
    module = to_spflow(pc.root)
    expectation_maximization(module, torch.as_tensor(x, dtype=torch.float32), max_steps=3)
    for _ in range(3):
        pc.accumulate_flows(x)
        pc.em_step()
    np.testing.assert_allclose(spflow_log_likelihood(module, x), pc(x).numpy(), rtol=1e-4)


def test_conversions_keep_every_parameter():
    """Without a peer: the dense weights of sparse sums have the parameters in place."""
    from peers import weights_of

    root = pcv.PD((8, 8), num_latents=8, split_intervals=2, dist=pcv.Categorical(17), conn_block=2)
    pcv.TensorCircuit(pcv.compile(root, block_size=4))
    for nodes in topological(root):
        if nodes.kind == "sum":
            dense = weights_of(nodes)
            np.testing.assert_allclose(dense.sum(axis=1), 1, rtol=1e-5)
            assert (dense > 0).sum() == nodes.num_edges
            if nodes.edge_ids is not None:
                (i, j), b = nodes.edge_ids[:, -1], nodes.edge_block
                np.testing.assert_array_equal(dense[i * b : i * b + b, j * b : j * b + b], nodes.params[-1])
        assert not isinstance(nodes, InputNodes) or nodes.params.shape == (8, 17)
