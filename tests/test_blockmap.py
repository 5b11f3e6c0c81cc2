"""The block map against the plan's own index tensors: every cell, every total, at every block size."""

import numpy as np
import pytest
from circuits import random_circuit, small_circuits
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import pruned_digits

import pcviz as pcv
from pcviz.compiler.blockmap import ABSENT, FULL, MISSING, NOTHING, block_map
from pcviz.compiler.layering import layering
from pcviz.compiler.params import gather_params
from pcviz.ir.nodes import ProdNodes, topological

BLOCK_SIZES = (1, 2, 4, 8, 16, 32, 64)


def cells_of_plan(plan, index):
    """(edges, real cells, cells) [sum blocks, child blocks] of a layer, in plan order, read off the index tensors.

    Edges are counted through the parameter buffer of a circuit whose parameters are all 1.
    """
    vectors = [nodes for nodes in topological(plan.root) if not isinstance(nodes, ProdNodes)]
    saved = [nodes.params for nodes in vectors]
    for nodes in vectors:
        nodes.params = np.ones_like(nodes.params)
    flat, _ = gather_params(plan)
    for nodes, params in zip(vectors, saved):
        nodes.params = params
    layer = plan.layers[index - 1]
    columns = child_blocks(layer)
    real_rows, real_cols = real_nodes(plan, layer)
    rows = sum(len(group.nids) for group in layer.groups)
    edges, real, cells = (np.zeros((rows, len(columns)), dtype=np.int64) for _ in range(3))
    row = 0
    for group in layer.groups:
        size = group.sum_block * group.child_block
        for nid, cids, pids in zip(group.nids, group.cids, group.pids):
            for cid, pid in zip(cids[pids > 0], pids[pids > 0]):
                at = row, columns[int(cid)]
                edges[at] = flat[pid : pid + size].sum()
                real[at] = real_rows[nid : nid + group.sum_block].sum() * real_cols[cid : cid + group.child_block].sum()
                cells[at] = size
            row += 1
    return edges, real, cells


def child_blocks(layer):
    """First element row of every child block -> its column, in the order of the rows."""
    starts = [section.start + section.width * i for section in layer.sections[1:] for i in range(section.count)]
    return {start: column for column, start in enumerate(starts)}


def real_nodes(plan, layer):
    """Boolean masks of node rows and element rows that stand for a node."""
    node_rows, element_rows = np.zeros(plan.num_node_rows, dtype=bool), np.zeros(layer.num_element_rows, dtype=bool)
    for slot in layer.sums:
        node_rows[plan.rows_of(slot.grid.nodes)] = True
    for element, start in layer.elements:
        element_rows[start : start + element.num_nodes] = True
    return node_rows, element_rows


def check_map(root, index, block_size, tolerance=0.25):
    plan = pcv.compile(root, block_size=block_size, padding_tolerance=tolerance)
    found = block_map(root, index, block_size, tolerance, max_cells=10**6)
    edges, real, cells = cells_of_plan(plan, index)
    assert (found.rows, found.cols) == (found.sum_blocks, found.child_blocks) == edges.shape
    kinds = np.frombuffer(found.kinds, dtype=np.uint8).reshape(edges.shape)
    expected = np.where(cells == 0, NOTHING, np.where(edges < real, ABSENT, np.where(real < cells, MISSING, FULL)))
    np.testing.assert_array_equal(kinds, expected)
    fill = np.frombuffer(found.fill, dtype=np.uint8).reshape(edges.shape)
    np.testing.assert_array_equal(fill, np.ceil(255 * edges / np.maximum(cells, 1)))
    groups = plan.layers[index - 1].groups
    assert list(found.row_groups) == [g for g, group in enumerate(groups) for _ in group.nids]
    assert list(found.row_pseudo) == [int((pids == 0).sum()) for group in groups for pids in group.pids]
    check_totals(found, plan.summary.layers[index - 1], edges, real, cells)


def check_totals(found, layer, edges, real, cells):
    kinds = np.frombuffer(found.kinds, dtype=np.uint8)
    assert np.count_nonzero(kinds) == layer.stored_blocks
    assert sum(found.row_pseudo) == layer.pseudo_blocks
    assert np.bincount(found.row_groups).tolist() == [group.num_sum_blocks for group in layer.groups]
    assert edges.sum() == layer.edges
    assert (real - edges).sum() == layer.absent_edges
    assert (cells - real).sum() == layer.missing_edges
    assert (ABSENT in kinds) == (layer.absent_edges > 0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(small_circuits(), st.sampled_from(BLOCK_SIZES[:5]), st.sampled_from([0.0, 0.25, 9.0]))
def test_maps_of_random_circuits_equal_the_plan(root, block_size, tolerance):
    for index in range(1, len(layering(root).layers) + 1):
        check_map(root, index, block_size, tolerance)


@pytest.mark.parametrize("block_size", BLOCK_SIZES[2:])
def test_maps_of_the_default_circuit_equal_the_plan(block_size):
    for index in (2, 3, 8):
        check_map(pruned_digits(), index, block_size)


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_aggregated_maps_keep_the_totals(block_size):
    layers = layering(pruned_digits())
    summary = pcv.plan_summary(layers, block_size=block_size)
    for layer in summary.layers:
        found = block_map(layers, layer.index, block_size, max_cells=19)
        assert found.rows <= 19 and found.cols <= 19
        assert len(found.kinds) == len(found.fill) == found.rows * found.cols
        assert len(found.row_groups) == len(found.row_pseudo) == len(found.row_labels) == found.rows
        assert len(found.col_labels) == found.cols
        assert found.sum_blocks == sum(group.num_sum_blocks for group in layer.groups)
        assert -(-found.sum_blocks // found.blocks_per_row) == found.rows
        assert sum(found.row_pseudo) == layer.pseudo_blocks
        kinds = np.frombuffer(found.kinds, dtype=np.uint8)
        assert 0 < np.count_nonzero(kinds) <= layer.stored_blocks
        assert (ABSENT in kinds) == (layer.absent_edges > 0)
        shrunk = found.blocks_per_row > 1 or found.blocks_per_col > 1
        assert ("each cell stands for" in found.caption) == shrunk
        if shrunk:
            assert f"{found.blocks_per_row} x {found.blocks_per_col} blocks" in found.caption


def test_labels_name_vectors_and_blocks():
    root = pruned_digits()
    found = block_map(root, 3, 8)
    names = {nodes.label for nodes in topological(root)}
    for label in (*found.row_labels, *found.col_labels):
        name, _, block = label.rpartition(", block ")
        assert name in names and block.isdigit()


@pytest.mark.parametrize(
    ("layer", "block_size", "tolerance", "message"),
    [(0, 8, 0.25, "layer must be 1 to"), (99, 8, 0.25, "layer must be 1 to"), (1, 3, 0.25, "power of two"), (1, 8, -1, "padding_tolerance")],
)
def test_bad_arguments(layer, block_size, tolerance, message):
    with pytest.raises(ValueError, match=message):
        block_map(random_circuit(0), layer, block_size, tolerance)
