"""Everything at once against enumeration: structures, distributions, ties, masks, prunings, widths, block sizes, both dtypes.

300 random circuits a run, always the same; 10,000 other ones with ``--hypothesis-profile=night``.
"""

import numpy as np
import pytest
import torch
from circuits import random_data, small_circuits, trained_params
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import log_likelihood, log_values, node_flows, param_flows, worlds_of
from pcviz_kernels import reference

import pcviz as pcv
from pcviz.ir.distributions import Gaussian
from pcviz.ir.nodes import InputNodes, ProdNodes, init_params, topological
from pcviz.reference import log_likelihood as reference_log_likelihood

BLOCK_SIZES = (1, 2, 4, 8, 16)
CONTINUOUS = 12  # samples of circuits that cannot be enumerated
NIGHT = settings.default.max_examples >= 10_000  # --hypothesis-profile=night
many = settings(max_examples=10_000 if NIGHT else 300, derandomize=not NIGHT, deadline=None)


@st.composite
def structures(draw):
    """Small circuits of every builder, with skewed parameters, some of them zero."""
    dist = draw(st.sampled_from([pcv.Categorical(2), pcv.Categorical(3), pcv.Bernoulli(), Gaussian()]))
    num_latents, seed = draw(st.sampled_from([1, 2, 3, 4, 6])), draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    kind = draw(st.sampled_from(["PD", "PD drawn", "HCLT", "RAT-SPN", "HMM"]))
    if kind == "PD":
        root = pcv.PD(draw(st.sampled_from([(2, 2), (3,), (1, 4)])), num_latents, dist=dist, seed=seed)
    elif kind == "PD drawn":
        root = pcv.PD((4,), 2 * num_latents, split_intervals=draw(st.integers(1, 2)), conn_block=draw(st.integers(1, 2)), dist=dist, seed=seed)
    elif kind == "HCLT":
        x = rng.integers(0, 2, (50, 4))
        x[:, 1], x[:, 2] = x[:, 0], rng.random(50) < 0.3
        root = pcv.HCLT(x, num_latents, dist=dist, sigma=draw(st.sampled_from([None, 0.1])))
    elif kind == "RAT-SPN":
        depth, repetitions, pieces = draw(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(2, 3)))
        root = pcv.RAT_SPN(4, num_latents, depth=depth, num_repetitions=repetitions, dist=dist, seed=seed, num_pieces=pieces)
    else:
        root = pcv.HMM(draw(st.integers(1, 4)), num_latents, draw(st.integers(2, 3)), homogeneous=draw(st.booleans()), seed=seed)
    init_params(root)
    if draw(st.booleans()):
        trained_params(root, rng, zero_share=draw(st.sampled_from([0.0, 0.3])))
    return root


circuits = st.one_of(small_circuits(), small_circuits(), small_circuits(gaussians=True), structures())


def vectors_with_rows(root):
    return [nodes for nodes in topological(root) if not isinstance(nodes, ProdNodes)]


def inputs_of(root):
    return [nodes for nodes in topological(root) if isinstance(nodes, InputNodes)]


def is_discrete(root):
    return not any(isinstance(nodes.dist, Gaussian) for nodes in inputs_of(root))


def close(found, expected, dtype, what):
    """float64 to rounding; float32 to 1e-5 relative, and of log p near 0 absolute."""
    near = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 2e-5}
    np.testing.assert_allclose(found, expected, err_msg=what, **near)


def check_values(root, x, observed, dtype, tolerance, block_sizes):
    """Every node's value, with and without a mask; each plan is what plan_summary said. Returns the circuits."""
    whole, masked = log_values(root, x), log_values(root, x, observed)
    if is_discrete(root):
        np.testing.assert_allclose(np.exp(whole[root]).sum(), 1, rtol=1e-5, err_msg="probabilities of all worlds")
    close(reference_log_likelihood(root, x), whole[root][0], torch.float64, "reference.py")
    result = []
    for block_size in block_sizes:
        plan = pcv.compile(root, block_size=block_size, padding_tolerance=tolerance)
        assert plan.summary == pcv.plan_summary(root, block_size=block_size, padding_tolerance=tolerance)
        pc = pcv.TensorCircuit(plan, dtype=dtype)
        close(pc(x), whole[root][0], dtype, f"block size {block_size}")
        close(pc(x, observed=observed), masked[root][0], dtype, f"block size {block_size}, masked")
        check_nodes(pc, pc.node_values(x), whole, f"nodes, block size {block_size}")
        check_nodes(pc, pc.node_values(x, observed=observed), masked, f"nodes, block size {block_size}, masked")
        result.append(pc)
    return result


def check_nodes(pc, found, expected, what):
    """``found`` [node rows, B] against the oracle's values of every input and sum vector; all other rows are impossible."""
    everywhere = np.full(found.shape, -np.inf)
    for nodes in pc.plan.node_vectors():
        everywhere[pc.plan.rows_of(nodes)] = expected[nodes]
    close(found, everywhere, pc.dtype, what)


def check_flows(root, pc, x, observed):
    """Node and parameter flows; those of a variable's inputs sum to 1 wherever x is possible."""
    lls, totals = log_likelihood(root, x, observed), np.zeros((x.shape[1], len(x)))
    near = {"rtol": 1e-6, "atol": 1e-6} if pc.dtype == torch.float64 else {"rtol": 2e-3, "atol": 2e-4}
    nodes_expected, params_expected = node_flows(root, x, observed), param_flows(root, x, observed)
    found, params = pc.node_flows(x, observed), pc.flows(x, observed)
    for nodes in vectors_with_rows(root):
        flow = found[pc.plan.rows_of(nodes)].numpy()
        np.testing.assert_allclose(flow, nodes_expected[nodes], err_msg=repr(nodes), **near)
        scale = max(1.0, np.abs(params_expected[nodes]).max())
        np.testing.assert_allclose(params.of(nodes) / scale, params_expected[nodes] / scale, err_msg=repr(nodes), **near)
        if isinstance(nodes, InputNodes):
            totals[nodes.var] += flow.sum(axis=0)
    possible = np.broadcast_to(np.isfinite(lls), totals.shape)
    np.testing.assert_allclose(totals, possible, atol=1e-9 if pc.dtype == torch.float64 else 1e-3)


def check_learning(pc, x, observed):
    """Two steps of full-batch EM never lower the likelihood, and keep what is normalised normalised. Writing them back rounds
    parameters to float32 and does nothing else: the circuit then equals enumeration, at this block size and at another one."""
    possible = np.isfinite(log_likelihood(pc.root, x, observed))
    if not possible.any():
        return
    x, observed, lls = x[possible], np.broadcast_to(observed, x.shape)[possible], []
    for _ in range(3):
        lls.append(float(pc.accumulate_flows(x, observed).double().mean()))
        pc.em_step()
    slack = 1e-6 if pc.dtype == torch.float64 else 1e-4  # parameters come from float32 and sum to 1 in it
    assert lls[1] >= lls[0] - slack * max(1, abs(lls[0])) and lls[2] >= lls[1] - slack * max(1, abs(lls[1])), lls
    trained, params, tables = pc(x), pc.params.clone(), [table.clone() for table in pc.tables]
    pc.write_back()
    pc.load_params()
    other = pc.recompile(block_size=4 if pc.block_size != 4 else 1)
    for found, expected in zip([pc.params, *pc.tables], [params, *tables]):
        np.testing.assert_allclose(found, expected, rtol=2.0**-23, atol=1.2e-38, err_msg="parameters written back")
    expected = log_likelihood(pc.root, x if pc.dtype == torch.float64 or is_discrete(pc.root) else x.astype(np.float32).astype(np.float64))
    close(pc(x), expected, pc.dtype, "trained and written back")
    close(other(x), expected, pc.dtype, "recompiled")
    if is_discrete(pc.root):  # a Gaussian of sigma 0.01 at 16.7 feels the rounding of its mean: 1e-4 nats
        close(trained, expected, torch.float32, "before it was written back")


def check_pruned(root, pc, x, keep, granularity, dtype):
    pruned = pcv.prune(pc, keep=keep, granularity=granularity, x=x)
    tied = [nodes for nodes in vectors_with_rows(pruned) if nodes.tied_to is not None]
    assert all(nodes.tied_to in vectors_with_rows(pruned) for nodes in tied), "a pruned circuit keeps its own parameters"
    assert bool(tied) <= any(len(set(map(id, group))) > 1 for group in classes(root))
    plan = pcv.compile(pruned, block_size=pc.block_size)
    smaller = pcv.TensorCircuit(plan, dtype=dtype)
    check_nodes(smaller, smaller.node_values(x), log_values(pruned, x), f"pruned, block size {pc.block_size}")


def classes(root):
    of = {}
    for nodes in vectors_with_rows(root):
        of.setdefault(id(nodes.storage), []).append(nodes)
    return of.values()


@pytest.mark.timeout(0 if NIGHT else 240)
@many
@given(
    root=circuits,
    dtype=st.sampled_from([torch.float64, torch.float32]),
    tolerance=st.sampled_from([0.0, 0.25, 4.0]),
    keep=st.sampled_from([0.7, 0.3, 1e-9]),
    granularity=st.integers(1, 2),
    seed=st.integers(0, 2**16),
)
def test_everything_equals_enumeration(root, dtype, tolerance, keep, granularity, seed):
    rng = np.random.default_rng(seed)
    x = worlds_of(root) if is_discrete(root) else random_data(root, CONTINUOUS, seed)
    observed = rng.random((1 if rng.random() < 0.5 else len(x), x.shape[1])) < 0.6
    pc, *_ = check_values(root, x, observed, dtype, tolerance, rng.permutation(BLOCK_SIZES)[:3])
    few = x[rng.permutation(len(x))[:CONTINUOUS]]
    mask = observed if len(observed) == 1 else observed[: len(few)]
    check_flows(root, pc, few, mask)
    by_reference = pcv.TensorCircuit(pc.plan, dtype=torch.float64)
    by_reference.engine.kernels = reference
    close(by_reference(few), log_likelihood(root, few), torch.float64, "reference kernels")
    check_pruned(root, pc, few, keep, granularity, dtype)
    check_learning(pc, few, mask)
