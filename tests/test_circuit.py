"""TensorCircuit against enumeration: likelihoods, marginals and flows at every block size; what it says to bad input."""

import numpy as np
import pytest
import torch
from circuits import random_circuit, small_circuits
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import flows_by_autograd, log_likelihood, log_values, node_flows, param_flows, worlds_of
from trained import digits, small_pd

import pcviz as pcv
from pcviz.ir.nodes import InputNodes, ProdNodes, inputs, multiply, summate, topological

BLOCK_SIZES = (1, 2, 4, 8, 16, 32)
sizes = st.sampled_from(BLOCK_SIZES)
tolerances = st.sampled_from([0.0, 0.25, 4.0])


def tensor_circuit(root, block_size, dtype=torch.float64, tolerance=0.25) -> pcv.TensorCircuit:
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size, padding_tolerance=tolerance), dtype=dtype)
    assert pc.impl == "torch"
    return pc


def examples(count):
    return settings(max_examples=count, deadline=None, derandomize=True)


def vectors_with_rows(root):
    return [nodes for nodes in topological(root) if not isinstance(nodes, ProdNodes)]


# ---- against enumeration ------------------------------------------------------------------------------------------------


@examples(40)
@given(small_circuits(), sizes, tolerances, st.integers(0, 2**16))
def test_likelihoods_and_marginals_equal_enumeration(root, block_size, tolerance, seed):
    x, pc = worlds_of(root), tensor_circuit(root, block_size, tolerance=tolerance)
    lls = pc(x)
    np.testing.assert_allclose(lls.numpy(), log_likelihood(root, x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(lls.exp().sum(), 1.0, rtol=1e-5)
    rng = np.random.default_rng(seed)
    for observed in (rng.random(x.shape) < 0.5, rng.random((1, x.shape[1])) < 0.5):
        np.testing.assert_allclose(pc(x, observed=observed).numpy(), log_likelihood(root, x, observed), rtol=1e-9, atol=1e-6)


@examples(25)
@given(small_circuits(), sizes)
def test_every_node_has_its_value(root, block_size):
    x, pc = worlds_of(root), tensor_circuit(root, block_size)
    found, expected = pc.node_values(x).numpy(), log_values(root, x)
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(found[pc.plan.rows_of(nodes)], expected[nodes], rtol=1e-9, atol=1e-9, err_msg=repr(nodes))


@examples(25)
@given(small_circuits(), sizes, tolerances)
def test_parameter_flows_equal_gradients(root, block_size, tolerance):
    """F_{n,c}(D) = theta d log p / d theta, by autograd over the circuit's own definition."""
    x, pc = worlds_of(root), tensor_circuit(root, block_size, tolerance=tolerance)
    flows, gradients = pc.flows(x), flows_by_autograd(root, x)
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(flows.of(nodes), gradients[nodes], rtol=1e-6, atol=1e-6, err_msg=repr(nodes))
    np.testing.assert_allclose(flows.lls.numpy(), log_likelihood(root, x), rtol=1e-9, atol=1e-9)


@examples(25)
@given(small_circuits(), sizes, st.booleans())
def test_node_flows_equal_enumeration_and_sum_to_one(root, block_size, masked):
    x, pc = worlds_of(root), tensor_circuit(root, block_size)
    observed = np.random.default_rng(len(x)).random(x.shape) < 0.6 if masked else None
    found, expected = pc.node_flows(x, observed).numpy(), node_flows(root, x, observed)
    totals = np.zeros((x.shape[1], len(x)))
    for nodes in vectors_with_rows(root):
        flow = found[pc.plan.rows_of(nodes)]
        np.testing.assert_allclose(flow, expected[nodes], rtol=1e-6, atol=1e-6, err_msg=repr(nodes))
        if isinstance(nodes, InputNodes):
            totals[nodes.var] += flow.sum(axis=0)
    possible = np.isfinite(log_likelihood(root, x, observed))
    np.testing.assert_allclose(totals, np.broadcast_to(possible, totals.shape), atol=1e-9)


@examples(30)
@given(small_circuits(), sizes)
def test_masked_flows_count_observed_variables_only(root, block_size):
    x, pc = worlds_of(root), tensor_circuit(root, block_size)
    observed = np.arange(x.shape[1])[None] % 2 == 0
    flows, expected = pc.flows(x, observed), param_flows(root, x, observed)
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(flows.of(nodes), expected[nodes], rtol=1e-6, atol=1e-6, err_msg=repr(nodes))


@examples(25)
@given(small_circuits())
def test_block_sizes_agree_in_float32(root):
    x = worlds_of(root)
    results = [tensor_circuit(root, size, dtype=torch.float32)(x).numpy() for size in BLOCK_SIZES]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-5, atol=1e-5)


def test_block_sizes_agree_on_digits():
    """64 variables, K = 20 (no power of two), random edges: log p and flows in float32."""
    root = pcv.PD((8, 8), num_latents=20, split_intervals=2, dist=pcv.Categorical(17), seed=3, conn_block=4)
    x = digits(33)
    first = tensor_circuit(root, 1, dtype=torch.float32)
    lls, flows = first(x), first.flows(x)
    for size in BLOCK_SIZES[1:]:
        pc = tensor_circuit(root, size, dtype=torch.float32)
        torch.testing.assert_close(pc(x), lls, rtol=1e-5, atol=0)
        other = pc.flows(x)
        for nodes in vectors_with_rows(root):
            np.testing.assert_allclose(other.of(nodes), flows.of(nodes), rtol=2e-3, atol=1e-4)


# ---- shapes -------------------------------------------------------------------------------------------------------------


def widths_in_one_layer():
    """Sums of 48, 5, 128 and 1 nodes in one layer, over products of 48, 5, 128 and 1, all over the same variables."""
    dist = pcv.Categorical(3)
    members = []
    for width in (48, 5, 128, 1):
        members.append(multiply(*(inputs(var, num_nodes=width, dist=dist, name=f"x{var}.{width}") for var in (0, 1))))
    wide = [summate(p, num_nodes=p.num_nodes, name=f"own {p.num_nodes}") for p in members]
    mixed = [summate(*members, num_nodes=width, name=f"mixed {width}") for width in (7, 20)]
    tops = [multiply(s, inputs(2, num_nodes=s.num_nodes, dist=dist)) for s in (*wide, *mixed)]
    return summate(*tops, num_nodes=1)


@pytest.mark.parametrize("block_size", [1, 4, 32, 128, 256])
def test_several_widths_meet_in_one_layer(block_size):
    root = widths_in_one_layer()
    pc, x = tensor_circuit(root, block_size), worlds_of(root)
    assert {layer.num_sum_vectors for layer in pc.plan.summary.layers} == {6, 1}
    np.testing.assert_allclose(pc(x).numpy(), log_likelihood(root, x), rtol=1e-9)
    expected, flows = param_flows(root, x), pc.flows(x)
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(flows.of(nodes), expected[nodes], rtol=1e-6, atol=1e-6, err_msg=repr(nodes))


@pytest.mark.parametrize("num_latents", [3, 20])
def test_number_of_latents_that_is_no_power_of_two_or_below_the_block(num_latents):
    root = pcv.PD((2, 2), num_latents=num_latents, dist=pcv.Categorical(2), seed=1)
    x = worlds_of(root)
    for block_size in (2, 16, 64):
        pc = tensor_circuit(root, block_size)
        assert max(group.sum_block for layer in pc.plan.layers for group in layer.groups) == min(block_size, 4 if num_latents == 3 else 32)
        np.testing.assert_allclose(pc(x).numpy(), log_likelihood(root, x), rtol=1e-9)


# ---- parameters ---------------------------------------------------------------------------------------------------------


@examples(25)
@given(small_circuits())
def test_parameters_survive_recompilation_bit_by_bit(root):
    before = {nodes: nodes.params.copy() for nodes in vectors_with_rows(root)}
    pc = tensor_circuit(root, 4, dtype=torch.float32)
    for block_size in (1, 32, 2, 8, 4):
        pc = pc.recompile(block_size=block_size)
        assert pc.block_size == block_size and pc.root is root
        assert pc.write_back() is root
        for nodes, params in before.items():
            assert nodes.params.dtype == np.float32
            np.testing.assert_array_equal(nodes.params, params, err_msg=f"block size {block_size}: {nodes!r}")


def test_recompile_takes_trained_parameters_along_and_write_back_returns_them():
    root = random_circuit(3)
    x, pc = worlds_of(root), tensor_circuit(root, 2, dtype=torch.float32)
    before = {nodes: nodes.params.copy() for nodes in vectors_with_rows(root)}
    pc.accumulate_flows(x)
    pc.em_step()
    for nodes, params in before.items():
        np.testing.assert_array_equal(nodes.params, params, err_msg="parameters reach the node vectors with write_back only")
    trained = pc(x)
    other = pc.recompile(block_size=8, padding_tolerance=0.0)
    assert other.plan.padding_tolerance == 0.0 and pc.recompile(block_size=8).plan.padding_tolerance == 0.25
    torch.testing.assert_close(other(x), trained, rtol=1e-5, atol=1e-6)
    for nodes, params in before.items():
        np.testing.assert_array_equal(nodes.params, params, err_msg="nor do they with recompile")
    other.write_back()
    assert any((nodes.params != before[nodes]).any() for nodes in before)
    fresh = tensor_circuit(root, 1, dtype=torch.float32)
    torch.testing.assert_close(fresh(x), trained, rtol=1e-5, atol=1e-6)


def test_vectors_without_parameters_get_those_of_the_seed():
    roots = [pcv.PD((2, 3), num_latents=4, dist=pcv.Categorical(3), seed=seed) for seed in (1, 1, 2)]
    x = worlds_of(roots[0])
    first, same, other = (tensor_circuit(root, size)(x) for root, size in zip(roots, (2, 8, 2)))
    torch.testing.assert_close(first, same)
    assert not torch.allclose(first, other)


# ---- batches ------------------------------------------------------------------------------------------------------------


def test_batches_of_one_and_one_more_than_a_micro_batch():
    root = small_pd(num_latents=3)
    pc = tensor_circuit(root, 4)
    x = np.resize(digits(700), (pc.micro_batch + 1, 64))
    lls, flows = pc(x), pc.node_flows(x)
    assert lls.shape == (pc.micro_batch + 1,)
    for i in (0, 1, pc.micro_batch - 1, pc.micro_batch):
        torch.testing.assert_close(pc(x[i : i + 1]), lls[i : i + 1])
        torch.testing.assert_close(pc.node_flows(x[i : i + 1]), flows[:, i : i + 1])
    whole = pc.flows(x)
    halves = [pc.flows(x[:333]), pc.flows(x[333:])]
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(whole.of(nodes), sum(part.of(nodes) for part in halves), rtol=1e-9, atol=1e-12)


def test_masks_are_cut_into_micro_batches_like_the_data():
    root = small_pd(num_latents=3)
    pc = tensor_circuit(root, 4)
    x = np.resize(digits(700), (pc.micro_batch + 3, 64))
    observed = np.random.default_rng(0).random(x.shape) < 0.5
    part = slice(pc.micro_batch - 2, pc.micro_batch + 3)
    torch.testing.assert_close(pc(x, observed=observed)[part], pc(x[part], observed=observed[part]))


def test_queries_do_not_disturb_each_other():
    root = random_circuit(7)
    x, pc = worlds_of(root), tensor_circuit(root, 4)
    lls = pc(x)
    pc.flows(x[:3])
    pc(x[:2], observed=np.zeros((1, x.shape[1]), dtype=bool))
    torch.testing.assert_close(pc(x), lls, rtol=0, atol=0)


def test_accepts_lists_tensors_and_small_integers():
    pc = tensor_circuit(small_pd(num_latents=3), 4)
    x = digits(5)
    assert x.dtype == np.uint8
    for same in (x.tolist(), torch.as_tensor(x), x.astype(np.int32), x.astype(np.uint16), torch.as_tensor(x).long()):
        assert torch.equal(pc(same, observed=x > 0), pc(x, observed=x > 0))
        torch.testing.assert_close(pc(same), pc(x), rtol=0, atol=0)
        deferred = pc.domain.deferred(same)
        deferred.confirm()
        torch.testing.assert_close(deferred.x, torch.as_tensor(x).long(), rtol=0, atol=0)


def test_memory_is_known_before():
    pc = tensor_circuit(small_pd(num_latents=3), 4)
    use = pc.memory(100)
    pc.accumulate_flows(digits(100))
    again = pc.memory(100)  # impl="torch" makes some of its indices when they are first read
    assert (again.parameters, again.flows, again.buffers) == (use.parameters, use.flows, use.buffers) and again.indices >= use.indices
    assert pc.memory(5).buffers == use.buffers and pc.memory(10**6).micro_batch == pc.micro_batch
    assert use.buffers == sum(buffer.nbytes for buffer in pc.engine.memory.flat.values())
    assert use.parameters >= 8 * pc.plan.num_params and use.flows >= 8 * pc.plan.num_params and use.indices > 0
    assert "100 of 100 samples at a time" in str(use) and "total" in str(use)
    with pytest.raises(ValueError, match="batch_size=...\\) expects an integer of at least 1, got 0"):
        pc.memory(0)


# ---- bad input ----------------------------------------------------------------------------------------------------------

ONES = np.ones((4, 64), dtype=np.int64)


@pytest.fixture(scope="module")
def small():
    return tensor_circuit(small_pd(num_latents=2), 4)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (ONES[:, :63], r"x must have shape \[B, 64\].*got \[4, 63\]"),
        (ONES[0], r"x must have shape \[B, 64\].*got \[64\]"),
        (ONES[None], r"got \[1, 4, 64\]"),
        (ONES[:0], "empty batch"),
        (ONES.astype(np.float32), r"must hold integers.*float32.*astype"),
        (changed(ONES.astype(np.float64), (1, 2), np.nan), "NaN.*observed="),
        (ONES.astype(np.complex64), "must hold integers.*complex64"),
        (changed(ONES, (2, 37), 17), "variable 37 has category 17, expected 0 to 16"),
        (changed(ONES, (0, 5), -1), "variable 5 has category -1, expected 0 to 16"),
    ],
)
def test_bad_data_is_refused(small, x, message):
    for call in (small, small.flows, small.node_flows, small.node_values, small.accumulate_flows):
        with pytest.raises(ValueError, match=message):
            call(x)
    with pytest.raises(ValueError, match=message):
        small.domain.deferred(x).confirm()  # what a GPU's engine does
    with pytest.raises(ValueError, match=message):
        pcv.fit(small, x)
    with pytest.raises(ValueError, match=message):
        pcv.fit(small, ONES, x_test=x)


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        (np.ones((4, 64)), "bool mask.*float64"),
        (np.ones((3, 64), dtype=bool), r"shape \[4, 64\] or \[1, 64\], got \[3, 64\]"),
        (np.ones((4, 63), dtype=bool), r"got \[4, 63\]"),
        (np.ones(64, dtype=bool), r"got \[64\]"),
    ],
)
def test_bad_masks_are_refused(small, observed, message):
    for call in (small, small.flows, small.node_flows):
        with pytest.raises(ValueError, match=message):
            call(ONES, observed=observed)


def test_bad_construction_is_refused():
    root = random_circuit(0)
    plan = pcv.compile(root, block_size=4)
    with pytest.raises(ValueError, match="expects a plan from pcv.compile"):
        pcv.TensorCircuit(root)
    with pytest.raises(ValueError, match="impl expects one of 'torch', 'triton'"):
        pcv.TensorCircuit(plan, impl="fast")
    with pytest.raises(ValueError, match="float32 or torch.float64"):
        pcv.TensorCircuit(plan, dtype=torch.float16)
    pc = pcv.TensorCircuit(plan)
    with pytest.raises(ValueError, match="power of two"):
        pc.recompile(block_size=3)
    with pytest.raises(ValueError, match="no input or sum vector of this circuit"):
        pc.flows(worlds_of(root)).of(random_circuit(1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "meta", None, [1]])
def test_a_device_that_is_not_here_is_named(device):
    plan = pcv.compile(small_pd(num_latents=2), block_size=2)
    expected = "needs an NVIDIA GPU; torch .* finds no NVIDIA GPU" if "cuda" in str(device) else "expects 'cpu', 'cuda' or 'cuda:N'"
    with pytest.raises(ValueError, match=f"device.*{expected}"):
        pcv.TensorCircuit(plan, device=device)


def test_a_circuit_says_what_it_is():
    pc = pcv.TensorCircuit(pcv.compile(small_pd(num_latents=2), block_size=2), dtype=torch.float64)
    sums = [nodes for nodes in vectors_with_rows(pc.root) if not isinstance(nodes, InputNodes)]
    size = f"{sum(nodes.num_nodes for nodes in sums):,} sums, {sum(nodes.num_edges for nodes in sums):,} edges"
    assert repr(pc) == f"TensorCircuit({size}; block_size=2, device='cpu', impl='torch', dtype=torch.float64)"
    for call in (lambda: pcv.fit(pc.root, None), lambda: pcv.prune(pc.root), lambda: pcv.autotune(pc.root, None)):
        with pytest.raises(ValueError, match="expects a TensorCircuit, .*, got SumNodes"):
            call()
