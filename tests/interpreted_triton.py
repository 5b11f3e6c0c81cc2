"""The Triton kernels under Triton's interpreter, against the float64 torch engine and enumeration. Not collected by name:
test_triton.py runs this file in a process of its own, because TRITON_INTERPRET=1 must be set before triton is imported."""

import functools
import itertools
import os

import numpy as np
import pytest
import torch
from circuits import extreme_params, random_circuit, random_data, trained_params, vectors_with_rows
from oracle import log_likelihood, log_values, node_flows, param_flows, worlds_of
from pcviz_kernels.calls import run_all
from pcviz_kernels.config import float32_config
from pcviz_kernels.tiles import SIDES, why_not, with_sides
from pcviz_kernels.triton_blocks import PITCH, em_sums
from triton.runtime.interpreter import InterpreterBuilder, InterpreterOptions, interpreter_builder

import pcviz as pcv
from pcviz.flow_steps import element_flows_program, em_program, em_tile, layer_values, param_flows_program
from pcviz.footprint import tensor_bytes
from pcviz.ir.nodes import ProdNodes, inputs, multiply, summate, topological
from pcviz.kernel_steps import forward_program
from pcviz.queries import max_values
from pcviz.widgets.teaching import CIRCUITS

interpreter_builder.options = InterpreterOptions(sanitize_overflow=False)  # half the time
assert os.environ.get("TRITON_INTERPRET") == "1", "run this file by tests/test_triton.py"

VALUE, FLOW = 5e-3, 2e-3  # nats; flows of a node are at most 1. float16 operands: 2^-11 a rounding
LIKELIHOOD = 2e-5  # of float32 operands, which likelihoods have unless a variant is asked for


def interpreted(root, block_size, variant=None, deterministic=False) -> pcv.TensorCircuit:
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size), impl="triton", variant=variant, deterministic=deterministic)
    assert pc.impl == "triton" and pc.engine.variant == (variant or "scaled")
    return pc


def exact(root, block_size=4) -> pcv.TensorCircuit:
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size), dtype=torch.float64)
    assert pc.impl == "torch"
    return pc


def close(found, expected, tolerance):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected)
    assert (np.isneginf(found) == np.isneginf(expected)).all(), "impossible in one, possible in the other"
    possible = ~np.isneginf(expected)
    np.testing.assert_allclose(found[possible], expected[possible], rtol=0, atol=tolerance)


def equal_to_enumeration(root, block_size, variant=None, deterministic=False):
    x = worlds_of(root)[: PITCH - 5]
    pc, tolerance = interpreted(root, block_size, variant, deterministic), LIKELIHOOD if variant in (None, "float32") else VALUE
    close(pc(x), log_likelihood(root, x), tolerance)
    values, flows, totals = log_values(root, x), node_flows(root, x), param_flows(root, x)
    found_values, found_flows, found = pc.node_values(x), pc.node_flows(x), pc.flows(x)
    close(found.lls, log_likelihood(root, x), tolerance if variant == "float32" else VALUE)
    for nodes in vectors_with_rows(root):
        rows = pc.plan.rows_of(nodes)
        close(found_values[rows], values[nodes], tolerance)
        close(found_flows[rows], flows[nodes], FLOW)
        np.testing.assert_allclose(found.of(nodes), totals[nodes], rtol=2e-3, atol=FLOW)


@pytest.mark.parametrize("seed", range(1, 6))
def test_random_circuits_equal_enumeration(seed):
    """Every width, sparse edges, ties, zeros; block sizes below and above the vectors."""
    equal_to_enumeration(random_circuit(seed), (1, 2, 4, 8, 16)[seed % 5])


@pytest.mark.parametrize("seed, variant", [(22, "paper"), (23, "paper"), (24, "scaled"), (25, "float32"), (26, "float32")])
def test_every_variant_equals_enumeration(seed, variant):
    equal_to_enumeration(random_circuit(seed), (1, 2, 4, 8, 16)[seed % 5], variant)


@pytest.mark.parametrize("seed, deterministic", [(40, False), (41, True), (42, False), (43, True)])
def test_parameters_of_any_size_equal_enumeration(seed, deterministic):
    """Parameters over many decades: most sums are too small for float16 and are computed again by the guard."""
    root = random_circuit(seed)
    extreme_params(root, np.random.default_rng(seed), decades=(8, 20, 36)[seed % 3])
    equal_to_enumeration(root, (2, 4, 8)[seed // 3 % 3], deterministic=deterministic)


def wide(num_latents: int, seed: int, sparse: bool = True):
    """Vectors wide enough for tensor cores, of lengths that are no multiple of a block, with sparse edges in one of them, or without: then
    the layer is level at block sizes from 16 on."""
    rng = np.random.default_rng(seed)
    leaves = [inputs(v, num_nodes=num_latents, dist=pcv.Categorical(3), name=f"x{v}") for v in range(4)]
    pairs = [multiply(leaves[0], leaves[1], name="left"), multiply(leaves[2], leaves[3], name="right")]
    left = summate(pairs[0], num_nodes=num_latents + 3, name="dense")
    connected = rng.random((num_latents + 3, num_latents)) < 0.3
    connected[np.arange(num_latents + 3), rng.integers(0, num_latents, num_latents + 3)] = True
    connected[rng.integers(0, num_latents + 3, num_latents), np.arange(num_latents)] = True
    edges = {"edge_ids": np.stack(np.nonzero(connected)), "name": "sparse"} if sparse else {"name": "dense too"}
    right = summate(pairs[1], num_nodes=num_latents + 3, **edges)
    root = summate(multiply(left, right), num_nodes=1, name="root")
    trained_params(root, rng, zero_share=0.2)
    return root


@pytest.mark.parametrize("block_size, num_latents, variant", [
    (16, 37, None), (32, 37, "paper"), (32, 37, "float32"), (64, 70, None), (128, 130, None),
])  # fmt: skip
def test_tensor_core_blocks_equal_enumeration(block_size, num_latents, variant):
    equal_to_enumeration(wide(num_latents, block_size), block_size, variant)


def few_variables(num_latents: int = 5, epochs: int = 0):
    """PD over 2 x 3 variables of 3 categories, and data for it; the interpreter takes milliseconds a step, so circuits are small."""
    x = np.random.default_rng(0).integers(0, 3, (PITCH + 3, 6))
    x[:, 3:] = x[:, :3]
    root = pcv.PD((2, 3), num_latents=num_latents, dist=pcv.Categorical(3))
    pc = exact(root)
    for _ in range(epochs):
        pc.accumulate_flows(x)
        pc.em_step()
    return pc.write_back(), x


def test_any_batch():
    """Odd batches, a full tile, more than one micro-batch; buffers are reused between them."""
    root, x = few_variables()
    pc, reference = interpreted(root, 4), exact(root)
    for batch in (1, 17, 1, PITCH, PITCH + 3, 1):
        rows = x[:batch]
        close(pc(rows), reference(rows), LIKELIHOOD)
        close(pc.flows(rows).lls, reference(rows), VALUE)
        close(pc.node_flows(rows)[pc.plan.rows_of(root)], reference.node_flows(rows)[reference.plan.rows_of(root)], FLOW)


def test_flows_that_are_written_once():
    """Flows of nodes are not cleared then: smaller batches after a larger one find nothing of it."""
    root = pcv.HMM(3, 6, num_emits=5, seed=1)
    x = np.random.default_rng(0).integers(0, 5, (PITCH + 3, 3))
    pc, reference = interpreted(root, 4), exact(root)
    assert pc.engine.flows_written_once
    for batch in (PITCH + 3, 17, 1):
        flows, expected = pc.node_flows(x[-batch:]), reference.node_flows(x[-batch:])
        for nodes in vectors_with_rows(root):
            close(flows[pc.plan.rows_of(nodes)], expected[reference.plan.rows_of(nodes)], FLOW)


@pytest.mark.parametrize("variant, deterministic", [("scaled", False), ("scaled", True), ("paper", False)])
@pytest.mark.parametrize("block_size, num_latents", [(16, 37), (32, 32), (64, 70)])
def test_level_layers(block_size, num_latents, variant, deterministic):
    """Elements and ratios of the backward pass on one scale; parameters that are zero, a smaller batch after a larger one, then EM."""
    root = wide(num_latents, block_size, sparse=False)
    pc, x = interpreted(root, block_size, variant, deterministic), worlds_of(root)
    assert [layer.level for layer in pc.plan.summary.layers] == [layer.level for layer in pc.engine.layers] == [True, False]
    for rows in (x, x[:17]):
        found, expected, totals, flows = pc.node_flows(rows), node_flows(root, rows), param_flows(root, rows), pc.flows(rows)
        for nodes in vectors_with_rows(root):
            np.testing.assert_allclose(found[pc.plan.rows_of(nodes)], expected[nodes], atol=FLOW)
            np.testing.assert_allclose(flows.of(nodes), totals[nodes], rtol=2e-3, atol=FLOW)
    reference = exact(root)
    for circuit in (pc, reference):
        circuit.accumulate_flows(x)
        circuit.em_step(0.5, 0.1)
    close(pc(x), reference(x), VALUE)


@pytest.mark.parametrize("deterministic", [False, True])
def test_flows_that_the_scale_of_a_level_layer_has_no_room_for(deterministic):
    """Sum 0 has the flow of nearly every sample, and is 2^14 below the largest child of its block: 2^12 is the most that a ratio takes."""
    leaf = inputs(0, num_nodes=16, dist=pcv.Categorical(2))
    leaf.params = np.tile(np.float32([0.5, 0.5]), (16, 1))
    leaf.params[0] = [2.0**-14, 1 - 2.0**-14]
    other = inputs(1, num_nodes=16, dist=pcv.Categorical(2))
    other.params = np.tile(np.float32([0.25, 0.75]), (16, 1))
    sums = summate(multiply(leaf, other), num_nodes=16)
    sums.params = np.full((16, 16), 1 / 15, np.float32)
    sums.params[:, 0], sums.params[0] = 0, 0
    sums.params[0, 0] = 1
    root = summate(sums, num_nodes=1)
    root.params = np.full((1, 16), 2.0**-20, np.float32)
    root.params[0, 0] = 1 - 15 * 2.0**-20
    pc, x = interpreted(root, 16, deterministic=deterministic), worlds_of(root)
    assert pc.engine.layers[0].level
    found, expected, totals = pc.node_flows(x), node_flows(root, x), param_flows(root, x)
    flows = pc.flows(x)
    if deterministic:  # of no sum the value is lost, of sum 0 the ratio is where the first variable is 0
        np.testing.assert_array_equal(
            (pc.engine.buffers.lost_ratios[pc.engine.layers[0].sums[0].first_row, : len(x)] > -torch.inf).numpy(), x[:, 0] == 0
        )
    assert expected[sums][0].min() > 0.8
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(found[pc.plan.rows_of(nodes)], expected[nodes], atol=FLOW)
        np.testing.assert_allclose(flows.of(nodes), totals[nodes], rtol=2e-3, atol=FLOW)


@pytest.mark.parametrize("deterministic", [False, True])
def test_elements_that_sums_of_two_layers_read_in_part(deterministic):
    """The flows of those that no sum of the layer reads are 0 there, not what the layer above has left."""
    elements = multiply(*(inputs(v, num_nodes=32, dist=pcv.Categorical(2)) for v in range(2)))
    below = summate(elements, num_nodes=16, edge_ids=np.array([[0], [0]]), edge_block=16)
    above = summate(elements, below, num_nodes=16, edge_ids=np.array([[0, 0], [1, 2]]), edge_block=16)
    root = summate(above, num_nodes=1)
    trained_params(root, np.random.default_rng(0))
    pc, x = interpreted(root, 16, deterministic=deterministic), worlds_of(root)
    assert [layer.unread_blocks for layer in pc.plan.summary.layers] == [1, 1, 0]
    found, expected, totals = pc.node_flows(x), node_flows(root, x), param_flows(root, x)
    flows = pc.flows(x)
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(found[pc.plan.rows_of(nodes)], expected[nodes], atol=FLOW)
        np.testing.assert_allclose(flows.of(nodes), totals[nodes], rtol=2e-3, atol=FLOW)


def test_hidden_values():
    root, x = few_variables(epochs=1)
    pc, reference, x = interpreted(root, 4), exact(root), x[:9]
    for observed in (np.random.default_rng(0).random((9, 6)) < 0.5, np.zeros((1, 6), dtype=bool)):
        close(pc(x, observed=observed), reference(x, observed=observed), LIKELIHOOD)
        flows, expected = pc.flows(x, observed=observed), reference.flows(x, observed=observed)
        for nodes in vectors_with_rows(root):
            np.testing.assert_allclose(flows.of(nodes), expected.of(nodes), rtol=2e-3, atol=FLOW)
    np.testing.assert_allclose(pc(x, observed=observed), 0, atol=LIKELIHOOD)


@pytest.mark.parametrize("keep", [0.3, 0.05])
def test_pruned_circuits(keep):
    """Absent edges, pseudo blocks and unequal groups, with trained parameters."""
    root, x = few_variables(num_latents=18, epochs=8)
    root = pcv.prune(exact(root), keep=keep, x=x)
    pc, reference = interpreted(root, 16), exact(root, 16)
    assert pc.plan.summary.total("absent_edges") > 0
    close(pc(x), reference(x), LIKELIHOOD)
    flows, expected = pc.flows(x), reference.flows(x)
    close(flows.lls, expected.lls, VALUE)
    for nodes in vectors_with_rows(root):
        np.testing.assert_allclose(flows.of(nodes), expected.of(nodes), rtol=5e-3, atol=5e-3, err_msg=repr(nodes))


def test_pruning_nothing_changes_no_likelihood():
    """Before and after are of one precision."""
    root, x = few_variables(epochs=2)
    _, report = pcv.prune(interpreted(root, 4), keep=1.0, x=x[:50], return_report=True)
    assert report.ll_before == report.ll_after


def test_a_sibling_200_nats_above_does_no_harm():
    """The largest child of the block has parameter zero in the sum that counts; its own children lie 200 nats lower."""
    far = np.exp(-200.0)
    tables = [np.array([[1 - 1e-6, 1e-6], [0.5, 0.5]]) for _ in range(15)]
    leaves = [inputs(v, num_nodes=2, dist=pcv.Categorical(2), params=table) for v, table in enumerate(tables)]
    products = multiply(*leaves)
    sums = summate(products, num_nodes=2, params=np.array([[1.0, 0.0], [0.5, 0.5]]))
    gate = inputs(15, num_nodes=2, dist=pcv.Categorical(2), params=np.array([[0.0, 1.0], [1.0, 0.0]]))
    root = summate(multiply(sums, gate), num_nodes=1, params=np.array([[0.5, 0.5]]))
    x = np.ones((3, 16), dtype=np.int64)
    x[1, 15] = 0
    x[2, :15] = 0
    assert far > 0
    equal = log_likelihood(root, x)
    for variant in ("scaled", "paper", "float32"):
        pc = interpreted(root, 2, variant)
        close(pc(x), equal, LIKELIHOOD if variant == "float32" else VALUE)
        flows = pc.flows(x)
        for nodes, expected in param_flows(root, x).items():
            np.testing.assert_allclose(flows.of(nodes), expected, rtol=5e-3, atol=FLOW)


def far_below(num_nodes: int, lost: int):
    """Two tied vectors of sums and one with more children (another group of the layer). Where variable ``lost`` (and, of the tied, the
    other) is 1, row 0 has only a child of parameter 1e-20, and the root reads row 0 alone: all flow goes through lost sums."""
    rng = np.random.default_rng(num_nodes)
    leaves = []
    for var, width in enumerate((num_nodes, num_nodes, 3 * num_nodes)):
        table = rng.dirichlet(np.ones(2), width).astype(np.float32)
        table[0] = (1, 0)
        leaves.append(inputs(var, num_nodes=width, dist=pcv.Categorical(2), params=table))
    vectors = []
    for i, leaf in ((0, leaves[0]), (2, leaves[2])):
        params = rng.dirichlet(np.ones(leaf.num_nodes), num_nodes)
        if (i == 2) == (lost == 2):
            params[0] = 1e-20
            params[0, 0] = 1
        vectors.append(summate(leaf, num_nodes=num_nodes, params=params.astype(np.float32)))
    vectors.insert(1, vectors[0].duplicate(leaves[1], tie_params=True))
    return summate(multiply(*vectors), num_nodes=1, params=np.eye(1, num_nodes, dtype=np.float32))


@pytest.mark.parametrize("num_nodes, lost", [(2, 2), (20, 0)])
def test_lost_flows_of_every_group_and_of_tied_sums(num_nodes, lost):
    """Atomically and in order; the ordered ones have the same bits again."""
    root = far_below(num_nodes, lost)
    x, block_size = worlds_of(root), min(16, num_nodes)
    expected, of_nodes = param_flows(root, x), node_flows(root, x)
    for deterministic in (False, True):
        pc = interpreted(root, block_size, deterministic=deterministic)
        assert len(pc.engine.layers[0].sums) == 2 and any(launch.repeats for launch in pc.engine.layers[0].sums)
        flows, found = pc.flows(x), pc.node_flows(x)
        assert (pc.engine.buffers.flags > 0).any(), "no sum was lost"
        for nodes in vectors_with_rows(root):
            close(found[pc.plan.rows_of(nodes)], of_nodes[nodes], FLOW)
            np.testing.assert_allclose(flows.of(nodes), expected[nodes], rtol=2e-3, atol=FLOW)
    again = pc.flows(x)
    assert (flows.edges == again.edges).all() and all((a == b).all() for a, b in zip(flows.tables, again.tables))


@pytest.mark.parametrize("variant, deterministic", [(None, False), (None, True), ("paper", False)])
def test_pseudo_blocks_in_runs(variant, deterministic):
    """Two vectors in one group, one with a fourth of the other's children: its pseudo child blocks form runs like real ones. A row
    of each is lost, so that the guards, too, meet them; an EM step of the parameters."""
    rng = np.random.default_rng(0)
    leaves = [inputs(v, num_nodes=64, dist=pcv.Categorical(2), params=rng.dirichlet(np.ones(2), 64).astype(np.float32)) for v in range(2)]
    both = multiply(leaves[0], leaves[1])
    few, many = summate(both, num_nodes=16), summate(*(multiply(*leaves) for _ in range(4)), num_nodes=16)
    leaves[0].params[0] = (1, 0)
    for nodes in (few, many):
        params = rng.dirichlet(np.ones(nodes.num_children), 16)
        params[0] = 1e-20
        params[0, 0] = 1
        nodes.params = params.astype(np.float32)
    root = summate(few, many, num_nodes=1)
    x = worlds_of(root)
    plan = pcv.compile(root, block_size=16, padding_tolerance=10.0)
    pc = pcv.TensorCircuit(plan, impl="triton", variant=variant, deterministic=deterministic)
    (launch,) = pc.engine.layers[0].sums
    assert (launch.run, launch.num_runs) == (64, 4) and (launch.pids == 0).any()
    expected, of_nodes = param_flows(root, x), node_flows(root, x)
    close(pc(x), log_likelihood(root, x), VALUE)
    flows, found = pc.flows(x), pc.node_flows(x)
    for nodes in vectors_with_rows(root):
        close(found[plan.rows_of(nodes)], of_nodes[nodes], FLOW)
        np.testing.assert_allclose(flows.of(nodes), expected[nodes], rtol=2e-3, atol=FLOW)
    after = []
    for circuit in (pc, exact(root)):
        circuit.accumulate_flows(x)
        circuit.em_step(0.5, 0.1)
        after.append(circuit(x))
    close(after[0], after[1], VALUE)


def test_impossible_evidence_has_no_flows():
    root = wide(20, 0)
    for nodes in vectors_with_rows(root):
        if nodes.kind == "input" and nodes.var == 0:
            nodes.params = np.tile(np.float32([0.5, 0.5, 0.0]), (20, 1))
    x = np.zeros((4, 4), dtype=np.int64)
    x[1:3, 0] = 2
    pc = interpreted(root, 16)
    lls = pc(x)
    assert torch.isneginf(lls[1:3]).all() and torch.isfinite(lls[[0, 3]]).all()
    assert (pc.node_flows(x)[:, 1:3] == 0).all()
    for nodes, expected in param_flows(root, x).items():
        np.testing.assert_allclose(pc.flows(x).of(nodes), expected, rtol=2e-3, atol=FLOW)


@pytest.mark.parametrize("step_size, pseudocount", [(1.0, 0.0), (0.3, 0.5)])
@pytest.mark.parametrize("block_size", [2, 16])
def test_a_step_of_em_equals_the_torch_engine(step_size, pseudocount, block_size):
    """Zeros stay zero, tied parameters are updated once; flows are cleared."""
    for root in (random_circuit(3), wide(20, 1)):
        x = worlds_of(root)[:50]
        kept = [None if isinstance(nodes, ProdNodes) else nodes.params.copy() for nodes in topological(root)]
        results = []
        for pc in (interpreted(root, block_size), exact(root, block_size)):
            pc.accumulate_flows(x)
            pc.em_step(step_size, pseudocount)
            assert (pc.engine.edge_flows == 0).all() and all((flows == 0).all() for flows in pc.engine.table_flows)
            pc.write_back()
            results.append([nodes.params for nodes in vectors_with_rows(root)])
            for nodes, params in zip(topological(root), kept):
                if params is not None:
                    nodes.params = params
        for found, expected in zip(*results):
            np.testing.assert_allclose(found, expected, rtol=5e-3, atol=2e-3)
            assert ((found == 0) == (expected == 0)).all()


def line_of_numbers(num_nodes: int):
    """Gaussian variables beside a categorical one; the first two share their table, another has a bound on its deviations that binds."""
    dists = [pcv.Gaussian(), pcv.Categorical(3), pcv.Gaussian(mu=5.0, sigma=0.02, min_sigma=0.3)]
    leaves = [inputs(v, num_nodes=num_nodes, dist=dist) for v, dist in zip((0, 2, 3), dists)]
    leaves.insert(1, leaves[0].duplicate(1, tie_params=True))
    root = summate(multiply(*leaves), num_nodes=1)
    trained_params(root, np.random.default_rng(num_nodes))
    return root


@pytest.mark.parametrize("num_nodes, block_size, deterministic", [(5, 4, False), (20, 16, True)])
def test_gaussian_inputs(num_nodes, block_size, deterministic):
    """Densities, hidden values, moments and EM of tied, bounded and mixed inputs; a value that only one node comes near, and one that
    is far from all."""
    rng = np.random.default_rng(0)
    root = line_of_numbers(num_nodes)
    x = random_data(root, 19)
    x[3, 3], x[4, 0], x[5, 1] = 6.0, root.children[0].children[0].params[0, 0], 12.0
    hidden = rng.random(x.shape) < 0.6
    hidden[6] = False
    pc, reference = interpreted(root, block_size, deterministic=deterministic), exact(root, block_size)
    for observed in (None, hidden):
        found, expected = pc(x, observed=observed), reference(x, observed=observed)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=LIKELIHOOD)
        flows, moments = pc.flows(x, observed=observed), reference.flows(x, observed=observed)
        for nodes in vectors_with_rows(root):
            expected = moments.of(nodes)
            np.testing.assert_allclose(flows.of(nodes), expected, rtol=5e-3, atol=2e-3 * max(1.0, np.abs(expected).max()), err_msg=repr(nodes))
    weights = {nodes: reference.flows(x).of(nodes) for nodes in vectors_with_rows(root)}
    for circuit in (pc, reference):
        circuit.accumulate_flows(x)
        circuit.em_step(0.4, 0.1)
        assert all((flows == 0).all() for flows in circuit.engine.table_flows)
    for group, found, expected in zip(pc.plan.inputs, pc.tables, reference.tables):
        for t, nodes in enumerate(group.sources):
            reached = torch.as_tensor(weights[nodes][:, 0] > 1e-6) if group.is_gaussian else slice(None)  # float16 resolves no less
            np.testing.assert_allclose(found[t, : nodes.num_nodes][reached], expected[t, : nodes.num_nodes][reached], rtol=5e-3, atol=2e-3)
            assert not group.is_gaussian or (found[t, : nodes.num_nodes, 1][reached] >= np.float32(group.dist.min_sigma)).all()
    states = pc.mpe(x, observed=hidden)
    np.testing.assert_allclose(states[torch.as_tensor(hidden)], x[hidden], rtol=1e-6)
    with pytest.raises(ValueError, match="variable 3 has an infinite value"):
        pc(np.where(np.arange(4) == 3, np.inf, x))


def test_training_and_queries_run_on_the_engine():
    root, x = few_variables()
    pc, reference = interpreted(root, 8), exact(root)
    for circuit in (pc, reference):
        list(pcv.fit(circuit, x, epochs=1, batch_size=70))
    close(pc(x), reference(x), VALUE)
    pc.write_back()
    reference.load_params()
    known = (np.arange(6) < 3)[None]
    states, logs = pc.mpe(x[:3], observed=known, return_log=True)
    close(logs, reference.mpe(x[:3], observed=known, return_log=True)[1], VALUE)
    assert (states.numpy()[:, :3] == x[:3, :3]).all()
    assert pc.sample(2, x=x[:3], observed=known, seed=1).shape == (2, 3, 6)
    other = pc.recompile(block_size=2)
    assert other.impl == "triton"
    close(other(x), pc(x), VALUE)


@pytest.mark.parametrize("kind, block_size", [("any width", 2), ("any size", 4), ("wide", 16), ("numbers", 8)])
def test_max_product_equals_the_torch_engine(kind, block_size):
    """Every node's value, given evidence; then the same maxima at the root as the search of the torch engine in float64."""
    root = {"any width": random_circuit(4), "any size": random_circuit(6), "wide": wide(20, 3), "numbers": line_of_numbers(5)}[kind]
    if kind == "any size":
        extreme_params(root, np.random.default_rng(0), decades=36)
    x = random_data(root, 11).astype(np.float32)
    x = x if kind == "numbers" else x.astype(np.int64)
    known = np.random.default_rng(1).random(x.shape) < 0.5
    pc, reference = interpreted(root, block_size), exact(root, block_size)
    found, expected = (max_values(circuit, *circuit.check_evidence(x, known)) for circuit in (pc, reference))
    for nodes in vectors_with_rows(root):
        rows = reference.plan.rows_of(nodes)
        possible = torch.isfinite(expected[rows])
        assert torch.equal(torch.isfinite(found[rows]), possible)
        torch.testing.assert_close(found[rows][possible].double(), expected[rows][possible], rtol=1e-6, atol=1e-5)
    if torch.isfinite(expected[reference.plan.rows_of(root)]).all():
        states, logs = pc.mpe(x, observed=known, return_log=True)
        np.testing.assert_allclose(logs, reference.mpe(x, observed=known, return_log=True)[1], rtol=1e-6, atol=1e-5)
        completed = max_values(reference, *reference.check_evidence(states, np.ones_like(known)))[reference.plan.rows_of(root)][0]
        np.testing.assert_allclose(completed, logs, rtol=1e-6, atol=1e-5)  # the states that the descent found reach the maximum


@pytest.mark.parametrize("deterministic", [False, True])
def test_memory_is_known_before(deterministic):
    pc = interpreted(line_of_numbers(5), 4, deterministic=deterministic)
    use = pc.memory(100)
    assert pc.engine.buffers is None and use.micro_batch == 100 and pc.memory(1000).micro_batch == PITCH
    x = random_data(pc.root, 3)
    pc.accumulate_flows(x, np.ones_like(x, dtype=bool))
    engine = pc.engine
    assert use.buffers == tensor_bytes(engine.buffers, engine.observed) == pc.memory(7).buffers
    assert use.total == tensor_bytes({name: value for name, value in vars(engine).items() if name not in ("plan", "settings", "_accepted")})


def test_wrong_arguments(monkeypatch):
    plan = pcv.compile(random_circuit(1), block_size=4)
    with pytest.raises(ValueError, match="variant expects one of 'scaled', 'paper', 'float32', got"):
        pcv.TensorCircuit(plan, impl="triton", variant="fast")
    with pytest.raises(ValueError, match="computes in float32"):
        pcv.TensorCircuit(plan, impl="triton", dtype=torch.float64)
    root = pair()
    for weights in ([[3.0, 5.0]], [[np.nan, 1.0]]):  # float16 has room below 2; what is set afterwards is not checked before
        root.params = np.array(weights, dtype=np.float32)
        with pytest.raises(ValueError, match=f"up to 1.999, and the largest of a sum here is {max(weights[0]):g}; scale"):
            interpreted(root, 2)
    monkeypatch.setattr("pcviz.triton_engine.MOST_VECTORS", 1)
    with pytest.raises(ValueError, match="takes 1 input vectors of a size and kind at most, got 2; use impl='torch'"):
        interpreted(pair(), 2)


def pair(num_nodes: int = 2):
    """The smallest circuit: a mixture over two variables of 3 categories."""
    leaves = [inputs(v, num_nodes=num_nodes, dist=pcv.Categorical(3)) for v in range(2)]
    return summate(multiply(*leaves), num_nodes=1)


def test_bad_data_leave_no_result_and_no_flows():
    """Checks run beside the passes here: data are brought into range first, and what they gave is dropped."""
    x = np.random.default_rng(0).integers(0, 3, (9, 2))
    pc = interpreted(pair(), 2)
    pc.accumulate_flows(x)
    kept = pc.engine.edge_flows.clone(), [flows.clone() for flows in pc.engine.table_flows]
    for row, column, value in ((0, 1, 3), (8, 0, -1), (3, 1, 2**40)):
        wrong = x.copy()
        wrong[row, column] = value
        for call in (pc, pc.accumulate_flows):
            with pytest.raises(ValueError, match=f"variable {column} has category {value}, expected 0 to 2"):
                call(wrong)
        hidden = np.ones(wrong.shape, dtype=bool)
        hidden[row, column] = False
        close(pc(wrong, observed=hidden), pc(x, observed=hidden), 0)
    close(pc(x.astype(np.uint8)), pc(x), 0)
    for wrong, message in ((x[:0], "empty batch"), (x.astype(float), "got dtype torch.float64"), (x[:, :1], "must have shape"), (x * np.nan, "NaN")):
        with pytest.raises(ValueError, match=message):
            pc.accumulate_flows(wrong)
    assert torch.equal(pc.engine.edge_flows, kept[0]) and all(map(torch.equal, pc.engine.table_flows, kept[1]))
    assert (pc.engine.edge_flows > 0).any()


def test_autotune_keeps_results(monkeypatch, tmp_path):
    """The fastest of a made-up order: whatever is chosen, likelihoods and flows stay, and a second circuit finds it in the file."""
    from pcviz import tuning

    a, b = (inputs(var, num_nodes=4, dist=pcv.Categorical(2)) for var in range(2))
    root = summate(multiply(a, b), num_nodes=1)
    x = worlds_of(root)
    pc = interpreted(root, 4)
    before, flows = pc(x), pc.flows(x).edges
    monkeypatch.setattr(tuning, "_milliseconds", lambda run, config: 1.0 + config.tile_b / 1000)
    records = list(pcv.autotune(pc, x, seconds=20, cache=tmp_path / "configs.json"))
    assert {record.phase for record in records} == {"forward", "element_flows", "param_flows"}
    assert all(record.best.tile_b == 32 and record.best_ms < record.rule_ms and record.wrong == 0 and not record.cached for record in records)
    assert {pc.engine.config("forward", launch).tile_b for layer in pc.engine.layers for launch in layer.sums} == {32}
    close(pc(x), before, 1e-5)
    np.testing.assert_allclose(pc.flows(x).edges, flows, rtol=1e-3, atol=1e-4)
    again = list(pcv.autotune(interpreted(root, 4), x, cache=tmp_path / "configs.json"))
    assert [record.best for record in again] == [record.best for record in records] and all(record.cached for record in again)
    written = (tmp_path / "configs.json").read_text().replace('"tile_b": 32', '"tile_b": 256')  # more samples than buffers have
    (tmp_path / "configs.json").write_text(written)
    assert not any(record.cached for record in pcv.autotune(interpreted(root, 4), x, seconds=0.1, cache=tmp_path / "configs.json"))


def test_possible_tiles_keep_results():
    """The least and the largest tile that pcviz_kernels.tiles calls possible, for blocks with and without tensor cores in one circuit."""
    root = wide(37, 16)
    x, pc = worlds_of(root), interpreted(root, 16)
    before, flows = pc(x), pc.flows(x).edges

    def config(pick, phase, sum_block, child_block, *_, **__):
        sides = itertools.product(SIDES["tile_m"], SIDES["tile_k"], SIDES["tile_b"])
        tiles = [with_sides(phase, sum_block, child_block, *each) for each in sides]
        return pick((t for t in tiles if not why_not(t, phase, sum_block, child_block)), key=lambda t: (t.tile_m * t.tile_k * t.tile_b, t.tile_k))

    for pick in (min, max):
        pc.engine.use_configs(functools.partial(config, pick))
        close(pc(x), before, LIKELIHOOD)
        np.testing.assert_allclose(pc.flows(x).edges, flows, rtol=2e-3, atol=FLOW)


def dumped_steps(monkeypatch, call) -> dict:
    """Runs a call of the real kernel; {program: [(x, theta) of each matrix product]}."""
    seen: dict[int, list] = {}
    real = InterpreterBuilder.create_dot

    def create_dot(self, a, b, d, *rest):
        seen.setdefault(self.grid_idx[0], []).append((a.data.copy(), b.data.copy()))
        return real(self, a, b, d, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(InterpreterBuilder, "create_dot", create_dot)
        call.run()
    return seen


@pytest.mark.parametrize("variant", ["paper", "scaled", "float32"])
@pytest.mark.parametrize("block_size, num_latents", [(4, 7), (16, 37), (64, 70)])
def test_steps_of_the_kernel_view_are_those_of_the_kernels(monkeypatch, block_size, num_latents, variant):
    """Operands of every matrix product, and what each program stores, to the last bit: ragged tiles, absent edges, pseudo blocks."""
    root = wide(num_latents, block_size)
    engine, x = interpreted(root, block_size, variant).engine, worlds_of(root)[:70]
    engine._fill(torch.as_tensor(np.ascontiguousarray(x.T)), None)
    sums = [(layer, g) for layer in engine.layers for g in range(len(layer.sums))]
    compared = products = 0
    for call in engine.calls(len(x), False, False):
        if not call.name.startswith("sum_forward"):
            call.run()
            continue
        layer, g = sums.pop(0)
        launch, config = layer.sums[g], engine.config("forward", layer.sums[g])
        config, params = (float32_config(config), engine.params) if variant == "float32" else (config, engine.half_params)
        node_logs = engine.buffers.logs[:, : len(x)].numpy().copy()
        dumped, columns = dumped_steps(monkeypatch, call), PITCH // config.tile_b
        for program in range(call.grid[0]):
            column, tile = program % columns, program // columns
            if column * config.tile_b >= len(x):
                continue
            made = forward_program(layer, g, node_logs, params.numpy(), config, column, tile, variant)
            per_block = launch.sum_block // config.tile_m
            first = int(launch.nids[tile // per_block]) + tile % per_block * config.tile_m
            low = column * config.tile_b
            stored = engine.buffers.logs[first : first + config.tile_m, low : low + config.tile_b].numpy()
            np.testing.assert_array_equal(made.logs, stored)
            compared += 1
            if program in dumped:
                assert len(dumped[program]) == len(made.steps)
                for step, (operand, theta) in zip(made.steps, dumped[program]):
                    np.testing.assert_array_equal(step.x.T, operand)
                    np.testing.assert_array_equal(step.theta, theta)
                    products += 1
    assert not sums and compared >= 6 and (products >= 6) == (block_size >= 16)


@pytest.mark.parametrize("block_size, num_latents, sparse", [(4, 7, True), (16, 37, True), (16, 37, False), (64, 70, True), (64, 70, False)])
def test_backward_steps_of_the_kernel_view_are_those_of_the_kernels(monkeypatch, block_size, num_latents, sparse):
    """Element and parameter flows: operands of every matrix product, and what each program stores, to the last bit."""
    root = wide(num_latents, block_size, sparse)
    engine, x = interpreted(root, block_size).engine, worlds_of(root)[:70]
    assert [layer.level for layer in engine.layers] == [not sparse, False]
    engine._fill(torch.as_tensor(np.ascontiguousarray(x.T)), None)
    engine._accepted.fill_(1.0)
    todo = {"param_flows": [(layer, g) for layer in reversed(engine.layers) for g in range(len(layer.sums))],
            "element_flows": [(layer, g) for layer in reversed(engine.layers) for g in range(len(layer.elements))]}  # fmt: skip
    compared, products, values, of = 0, 0, None, None
    for call in engine.calls(len(x), False, True):
        phase = next((name for name in todo if call.name.startswith(name)), None)
        if phase is None:
            call.run()
            continue
        layer, g = todo[phase].pop(0)
        if of is not layer:
            buffers, of = engine.buffers, layer
            values = layer_values(layer, buffers.logs[:, : len(x)].numpy().copy(), buffers.flows[:, : len(x)].numpy().copy())
        compared, products = (a + b for a, b in zip((compared, products), compare_flows(monkeypatch, engine, call, phase, layer, g, values, len(x))))
    assert not any(todo.values()) and compared >= 12 and (products >= 12) == (block_size >= 16)
    engine.settings.copy_(torch.tensor([0.3, 0.1]))
    changed = 0
    for launch in (launch for layer in engine.layers for launch in layer.sums if len(launch.em_pids)):
        params, flows = engine.params.numpy().copy(), engine.edge_flows.numpy().copy()
        run_all(em_sums(launch, engine.params, engine.half_params, engine.edge_flows, engine.settings))
        for tile in range(len(launch.em_pids) * launch.sum_block // em_tile(launch).tile_m):
            changed += compare_em(launch, em_program(launch, params, flows, tile, 0.3, 0.1), engine.params.numpy(), tile)
    assert changed >= 3


def test_sums_that_the_kernel_view_leaves_to_the_guard_are_those_of_the_kernels(block_size=16):
    """Forward, the sums that are stored as +inf, which the guard then finds; backward, those whose flows the ratio kernel leaves to it."""
    root, x = CIRCUITS["far apart"][1]()
    engine = interpreted(root, block_size, deterministic=True).engine
    engine.run(torch.as_tensor(np.ascontiguousarray(x.T)), None, backward=True)
    layer, logs, flows = engine.layers[0], engine.buffers.logs.numpy(), engine.buffers.flows.numpy()
    (launch,) = layer.sums
    config = engine.config("forward", launch)
    made = np.concatenate([
        forward_program(layer, 0, logs[:, : len(x)], engine.half_params.numpy(), config, 0, tile, "scaled").logs
        for tile in range(16 // config.tile_m)])[:, : len(x)]  # fmt: skip
    rows = launch.nids.numpy()[:, None] + np.arange(block_size)
    lost, found = made == np.inf, logs[rows.ravel(), : len(x)]
    assert 16 < lost.sum() < lost.size and np.isfinite(found[lost]).all()
    np.testing.assert_array_equal(found[~lost], made[~lost])
    values = layer_values(layer, logs[:, : len(x)], flows[:, : len(x)])
    own = slice(launch.first_row, launch.first_row + 16)
    np.testing.assert_array_equal(values.lost[own, : len(x)], engine.buffers.lost_ratios.numpy()[own, : len(x)] > -np.inf)
    assert values.lost.any()


def compare_em(launch, steps, params, tile) -> bool:
    """The parameters of one program of EM equal those that flow_steps writes; whether any has changed."""
    rows, written = em_tile(launch).tile_m, [step for step in steps if step.walk == 2]
    block, first_m = tile // (launch.sum_block // rows), tile % (launch.sum_block // rows) * rows
    for step in written:
        k = step.first + np.arange(step.count)
        pid = launch.em_pids.numpy().astype(np.int64)[block, k // launch.run]
        at = (pid + k % launch.run * launch.sum_block)[:, None] + first_m + np.arange(rows)
        np.testing.assert_array_equal(params[at[pid > 0]], step.new[: step.count][pid > 0])
    assert len(written) == len(steps) / 2
    return any((step.new != step.theta).any() for step in written)


def compare_flows(monkeypatch, engine, call, phase, layer, g, values, batch) -> tuple[int, int]:
    """(programs, matrix products) of one call that equal those of flow_steps; the call is run."""
    launch = (layer.elements if phase == "element_flows" else layer.sums)[g]
    config, compared, products = engine.config(phase, launch), 0, 0
    target = engine.edge_flows if phase == "param_flows" else engine.buffers.element_flows
    before = target.numpy().copy()
    dumped = dumped_steps(monkeypatch, call)
    columns = PITCH // config.tile_b if phase == "element_flows" else -(-launch.num_runs * launch.run // config.tile_k)
    for program in range(call.grid[0]):
        column, tile = program % columns, program // columns
        if phase == "param_flows":
            made = param_flows_program(layer, g, values, config, column, tile)
            block, first_m = tile // (launch.sum_block // config.tile_m), tile % (launch.sum_block // config.tile_m) * config.tile_m
            k = column * config.tile_k + np.arange(config.tile_k)
            k = k[k < launch.num_runs * launch.run]
            pid = launch.pids.numpy().astype(np.int64)[block, k // launch.run]
            at = (pid + k % launch.run * launch.sum_block)[:, None] + first_m + np.arange(config.tile_m)
            own = pid > 0
            np.testing.assert_array_equal(target.numpy()[at[own]], (before[at] + made.stored[: len(k)])[own])
        else:
            made = element_flows_program(layer, g, values, engine.half_params.numpy(), config, column, tile)
            per_block = launch.child_block // config.tile_k
            row = int(launch.chids[tile // per_block]) + tile % per_block * config.tile_k
            b = slice(column * config.tile_b, (column + 1) * config.tile_b)
            added = before[row : row + config.tile_k, b] if call.options["ADD"] else 0
            np.testing.assert_array_equal(target.numpy()[row : row + config.tile_k, b], made.stored + added)
        compared += 1
        for step, (left, right) in zip(made.steps, dumped.get(program, ())):
            a, b = (step.left, step.right.T) if phase == "param_flows" else (step.right.T, step.left)
            np.testing.assert_array_equal(left, a)
            np.testing.assert_array_equal(right, b)
            products += 1
    return compared, products


@pytest.mark.parametrize("conn_block", [None, 4])
def test_the_passes_that_bench_layer_times(conn_block):
    """They write what float64 says, to buffers that held nothing usable; with fewer samples than the buffers hold."""
    from pcviz.bench_layer import OurLayer, check_layer
    from pcviz.layer_reference import exact_layer

    root = pcv.figure_5_layer(2, 16, seed=1, conn_block=conn_block)
    x = np.random.default_rng(0).integers(0, 2, (PITCH - 5, 4))
    layer, exact_results = OurLayer(root, 16, "scaled", "cpu"), exact_layer(root, x)
    layer.prepare(x)
    errors = check_layer(layer, exact_results, layer.forward, layer.backward)
    assert errors.acceptable and max(errors.max_abs_error, errors.element_flow_error, errors.edge_flow_error) < 1e-3
    assert not check_layer(layer, exact_results, layer.forward, lambda: None).acceptable
    assert not check_layer(layer, exact_results, lambda: None, layer.backward).acceptable


@pytest.mark.parametrize("block_size", [1, 8, 16, 32])
def test_children_of_other_sums_set_no_scale(block_size):
    """Sums 0 to 15 have children 0 to 15, the others 16 to 31, whose values lie 60 nats below: none is lost in training, since they share no
    log-scale."""
    low = np.repeat([0.999, np.exp(-6.0)], 16)
    leaves = [inputs(v, num_nodes=32, dist=pcv.Categorical(2), params=np.stack([low, 1 - low], axis=1)) for v in range(10)]
    own = summate(multiply(*leaves), num_nodes=32, edge_ids=np.array([[0, 1], [0, 1]]), edge_block=16)
    pc, x = interpreted(summate(own, num_nodes=1), block_size), np.zeros((3, 10), np.int64)
    engine = pc.engine
    engine._fill(torch.as_tensor(np.ascontiguousarray(x.T)), None)
    for call in engine.calls(3, False, backward=True):
        if call.name == "sum_guard_kernel":
            break
        call.run()
    logs = engine.buffers.logs[pc.plan.rows_of(own), :3].numpy()
    assert np.isfinite(logs[:16]).all()
    assert np.isinf(logs[16:]).all() if block_size == 32 else np.isfinite(logs[16:]).all()  # a block of 32 sums reads all children
    np.testing.assert_allclose(pc(x).numpy(), exact(pc.root, block_size)(x).numpy(), atol=LIKELIHOOD)
