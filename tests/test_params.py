"""Parameters between canonical form and a plan's layout."""

import numpy as np
import pytest
import torch
from circuits import small_circuits
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import pruned_digits

import pcviz as pcv
from pcviz.ir.nodes import ProdNodes, topological
from pcviz.params import edge_values, gather_params, move_params, write_params

sizes = st.sampled_from([1, 2, 4, 8, 16, 32])


def with_params(root):
    return [nodes for nodes in topological(root) if not isinstance(nodes, ProdNodes)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(small_circuits(), sizes, st.sampled_from([torch.float32, torch.float64]))
def test_gather_and_write_are_inverse(root, block_size, dtype):
    plan = pcv.compile(root, block_size=block_size)
    check_round_trip(plan, dtype)


@pytest.mark.parametrize("block_size", [1, 8, 32])
@pytest.mark.parametrize("granularity", [1, 4])
def test_round_trip_of_edges_with_a_granularity(block_size, granularity):
    root = pcv.PD((4, 4), num_latents=20, dist=pcv.Categorical(3), conn_block=granularity, seed=granularity)
    pcv.TensorCircuit(pcv.compile(root, block_size=2))
    check_round_trip(pcv.compile(root, block_size=block_size), torch.float32)


def check_round_trip(plan, dtype):
    vectors = with_params(plan.root)
    before = {nodes: nodes.params.copy() for nodes in vectors}
    flat, tables = gather_params(plan, dtype)
    assert flat.dtype == dtype and flat.shape == (plan.num_params,)
    for nodes in vectors:
        nodes.params = np.full_like(nodes.params, np.nan)
    write_params(plan, flat, tables)
    for nodes in vectors:
        np.testing.assert_array_equal(nodes.params, before[nodes], err_msg=repr(nodes))
        nodes.params = before[nodes]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(small_circuits(zeros=False), sizes)
def test_every_parameter_is_stored_once_and_padding_is_zero(root, block_size):
    """With a number of its own for every edge, the buffer holds each once and zero everywhere else."""
    plan = pcv.compile(root, block_size=block_size)
    count = 0
    for nodes in {id(nodes.storage): nodes for nodes in with_params(root)}.values():
        nodes.params = np.arange(count + 1, count + 1 + nodes.params.size, dtype=np.float32).reshape(nodes.params.shape)
        count += nodes.params.size
    flat, tables = gather_params(plan)
    stored = torch.cat([flat, *(table.ravel() for table in tables)])
    assert sorted(stored[stored > 0].tolist()) == list(range(1, count + 1))


def test_tiles_are_child_major():
    """Entry (child k, sum m) of a block lies at pid + k * M + m."""
    dist = pcv.Categorical(2)
    leaf = pcv.inputs(0, num_nodes=6, dist=dist)
    middle = pcv.summate(leaf, num_nodes=3, params=np.arange(1, 19, dtype=np.float32).reshape(3, 6))
    root = pcv.summate(middle, num_nodes=1, params=np.ones((1, 3), np.float32) / 3)
    pcv.TensorCircuit(pcv.compile(root, block_size=1))  # gives the inputs parameters
    plan = pcv.compile(root, block_size=4)
    flat, _ = gather_params(plan)
    (group,) = plan.layers[0].groups
    assert (group.sum_block, group.child_block, group.cids.shape) == (4, 4, (1, 2))
    for block, columns in enumerate((slice(0, 4), slice(4, 6))):
        pid = group.pids[0, block]
        tile = flat[pid : pid + 16].reshape(4, 4)  # [K, M]
        expected = middle.params[:, columns].T
        np.testing.assert_array_equal(tile[: expected.shape[0], :3], expected)
        assert (tile[expected.shape[0] :] == 0).all() and (tile[:, 3] == 0).all()


@pytest.mark.parametrize("block_size", [1, 4, 32])
def test_pruned_circuit_round_trip(block_size):
    plan = pcv.compile(pruned_digits(), block_size=block_size)
    check_round_trip(plan, torch.float32)
    flat, _ = gather_params(plan)
    assert np.count_nonzero(flat) <= plan.summary.total("edges")
    for layer in plan.layers:
        for slot in layer.sums:
            np.testing.assert_array_equal(edge_values(slot, flat).numpy(), slot.grid.nodes.params)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(small_circuits(), sizes, sizes)
def test_parameters_move_from_plan_to_plan(root, block_size, other_size):
    check_move(root, block_size, other_size)


@pytest.mark.parametrize("sizes", [(1, 32), (32, 4)])
def test_pruned_parameters_move_from_plan_to_plan(sizes):
    check_move(pruned_digits(), *sizes)


def check_move(root, block_size, other_size):
    """As if through the node vectors, which have others meanwhile."""
    old, new = (pcv.compile(root, block_size=size) for size in (block_size, other_size))
    (flat, tables), (expected_flat, expected_tables) = gather_params(old), gather_params(new)
    before = {nodes: nodes.params for nodes in with_params(root)}
    for nodes, params in before.items():
        nodes.params = np.full_like(params, np.nan)
    found_flat, found_tables = move_params(old, new, flat, tables)
    for nodes, params in before.items():
        nodes.params = params
    np.testing.assert_array_equal(found_flat, expected_flat)
    assert len(found_tables) == len(expected_tables)
    for found, expected in zip(found_tables, expected_tables):
        np.testing.assert_array_equal(found, expected)
