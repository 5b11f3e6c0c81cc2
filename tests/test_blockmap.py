"""The block map against the plan's own index tensors: every cell, every total, at every block size."""

import numpy as np
import pytest
from circuits import random_circuit, small_circuits
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import pruned_digits

import pcviz as pcv
from pcviz.compiler.blockcells import cell_raster, child_blocks, edge_flows
from pcviz.compiler.blockmap import ABSENT, EDGE, MISSING, PSEUDO, ZERO, LayerBlocks, block_map
from pcviz.compiler.layering import layering
from pcviz.ir.nodes import ProdNodes, sum_vectors, topological
from pcviz.params import gather_params

BLOCK_SIZES = (1, 2, 4, 8, 16, 32, 64)


def cells_of_plan(plan, index):
    """(edges, edges of parameter 0, real cells, cells) [sum blocks, child blocks] of a layer, in plan order, read off the
    index tensors.

    Edges are counted through the parameter buffer of a circuit whose parameters are all 1, or 1 where they were 0.
    """
    vectors = [nodes for nodes in topological(plan.root) if not isinstance(nodes, ProdNodes)]
    saved = {id(nodes.storage): nodes.params for nodes in vectors}
    buffers = []
    for mark in (np.ones_like, lambda params: (params == 0).astype(np.float32)):
        for nodes in vectors:
            nodes.params = mark(saved[id(nodes.storage)])
        buffers.append(gather_params(plan)[0].numpy())
    for nodes in vectors:
        nodes.params = saved[id(nodes.storage)]
    layer = plan.layers[index - 1]
    columns = element_columns(layer)
    real_rows, real_cols = real_nodes(plan, layer)
    rows = sum(len(group.nids) for group in layer.groups)
    edges, zeros, real, cells = (np.zeros((rows, len(columns)), dtype=np.int64) for _ in range(4))
    row = 0
    for group in layer.groups:
        size = group.sum_block * group.child_block
        for nid, cids, pids in zip(group.nids, group.cids, group.pids):
            for cid, pid in zip(cids[pids > 0], pids[pids > 0]):
                at = row, columns[int(cid)]
                edges[at], zeros[at] = (flat[pid : pid + size].sum() for flat in buffers)
                real[at] = real_rows[nid : nid + group.sum_block].sum() * real_cols[cid : cid + group.child_block].sum()
                cells[at] = size
            row += 1
    return edges, zeros, real, cells


def element_columns(layer):
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
    edges, zeros, real, cells = cells_of_plan(plan, index)
    assert (found.matrix.rows, found.matrix.cols) == (found.sum_blocks, found.child_blocks) == edges.shape
    kinds, fill = picture(found.matrix)
    expected = (edges > zeros) * EDGE + (zeros > 0) * ZERO + (edges < real) * ABSENT + (real < cells) * MISSING
    np.testing.assert_array_equal(kinds, expected)
    np.testing.assert_array_equal(fill, np.ceil(255 * (edges - zeros) / np.maximum(cells, 1)))
    groups, layer = plan.layers[index - 1].groups, plan.layers[index - 1]
    packed, columns, row = next(picture(found.packed)), element_columns(layer), 0
    for group in groups:  # a row of the packed picture is a row of cids
        at = [[columns.get(int(cid), -1) for cid in cids] for cids in group.cids]
        own = np.where(group.cids > 0, np.take_along_axis(expected[row : row + len(group.nids)], np.maximum(at, 0), axis=1), PSEUDO)
        np.testing.assert_array_equal(packed[row : row + len(group.nids), : group.cids.shape[1]], own)
        assert not packed[row : row + len(group.nids), group.cids.shape[1] :].any()
        row += len(group.nids)
    assert list(found.row_groups) == [g for g, group in enumerate(groups) for _ in group.nids]
    assert list(found.row_pseudo) == [int((pids == 0).sum()) for group in groups for pids in group.pids]
    check_totals(found, plan.summary.layers[index - 1], edges, real, cells)


def picture(raster):
    return (np.frombuffer(data, dtype=np.uint8).reshape(raster.rows, raster.cols) for data in (raster.kinds, raster.fill))


def check_totals(found, layer, edges, real, cells):
    kinds = np.frombuffer(found.matrix.kinds, dtype=np.uint8)
    assert np.count_nonzero(kinds) == layer.stored_blocks
    assert sum(found.row_pseudo) == layer.pseudo_blocks
    assert np.bincount(found.row_groups).tolist() == [group.num_sum_blocks for group in layer.groups]
    assert edges.sum() == layer.edges
    assert (real - edges).sum() == layer.absent_edges
    assert (cells - real).sum() == layer.missing_edges
    assert (kinds & ABSENT).any() == (layer.absent_edges > 0)


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
        for raster in (found.matrix, found.packed):
            assert raster.rows <= 19 and raster.cols <= 19
            assert len(raster.kinds) == len(raster.fill) == raster.rows * raster.cols
        rows, cols = found.matrix.rows, found.matrix.cols
        assert len(found.row_groups) == len(found.row_pseudo) == len(found.row_labels) == rows
        assert len(found.col_labels) == cols
        assert found.sum_blocks == sum(group.num_sum_blocks for group in layer.groups)
        assert -(-found.sum_blocks // found.matrix.per_row) == rows
        assert sum(found.row_pseudo) == layer.pseudo_blocks
        kinds = np.frombuffer(found.matrix.kinds, dtype=np.uint8)
        assert 0 < np.count_nonzero(kinds) <= layer.stored_blocks
        for bit, padding in ((ABSENT, layer.absent_edges), (MISSING, layer.missing_edges), (PSEUDO, layer.pseudo_edges)):
            assert any(code & bit for code in found.packed.kinds) == (padding > 0)
        shrunk = found.matrix.per_row > 1 or found.matrix.per_col > 1
        assert ("each cell stands for" in found.caption) == shrunk
        if shrunk:
            assert f"{found.matrix.per_row} x {found.matrix.per_col} blocks" in found.caption


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


# ---- windows and single cells ---------------------------------------------------------------------------------------------


def dense_matrix(nodes, values):
    """[sums, children] values of the edges, NaN elsewhere."""
    if nodes.edge_ids is None:
        return values.astype(float)
    matrix, b = np.full((nodes.num_nodes, nodes.num_children), np.nan), nodes.edge_block
    for (r, c), block in zip(nodes.edge_ids.T, values):
        matrix[r * b : r * b + b, c * b : c * b + b] = block
    return matrix


def cells_by_hand(blocks):
    """(kinds, parameters) of every cell of a layer's matrix, block by block, in blocks of the layer's largest shape."""
    M, K = blocks.sum_block, blocks.child_block
    shape = blocks.sum_blocks * M, blocks.child_blocks * K
    kinds, params = np.zeros(shape, dtype=int), np.full(shape, np.nan)
    for part in blocks.parts:
        grid, matrix = part.grid, dense_matrix(part.grid.nodes, part.grid.nodes.params)
        m, k, tiles = grid.sum_block, grid.child_block, grid.tile_rows is not None and {*zip(grid.tile_rows, grid.tile_cols)}
        lengths = [child.num_nodes for child in grid.nodes.children]
        for r, c in np.ndindex(grid.num_rows, grid.num_cols):
            if tiles is not False and (r, c) not in tiles:
                continue
            child = np.searchsorted(grid.col_offsets, c, side="right") - 1
            start, within = sum(lengths[:child]), (c - grid.col_offsets[child]) * k
            own = matrix[r * m : (r + 1) * m, start + within : start + min(within + k, lengths[child])]
            block, kind = np.full((m, k), np.nan), np.full((m, k), MISSING)
            block[: own.shape[0], : own.shape[1]] = own
            kind[: own.shape[0], : own.shape[1]] = np.where(np.isnan(own), ABSENT, np.where(own == 0, ZERO, EDGE))
            down, across = part.positions[r] * M, part.columns[c] * K
            repeat = np.ones((M // m, K // k))
            kinds[down : down + M, across : across + K], params[down : down + M, across : across + K] = np.kron(kind, repeat), np.kron(block, repeat)
    return kinds, params


def with_zeros(root, seed=0):
    """``root`` with parameters, a third of them 0."""
    rng = np.random.default_rng(seed)
    for nodes in sum_vectors(root):
        nodes.params = (rng.random(nodes.param_shape) * (rng.random(nodes.param_shape) > 0.3)).astype(np.float32)
    return root


@settings(max_examples=25, deadline=None, derandomize=True)
@given(small_circuits(), st.sampled_from([1, 2, 8]), st.integers(0, 9))
def test_cells_and_windows_of_random_circuits(root, block_size, seed):
    """Every cell by hand; packed cells are those of the matrix in the order of cids; a window is a cut of the whole."""
    root, rng = with_zeros(root, seed), np.random.default_rng(seed)
    for index in range(1, len(layering(root).layers) + 1):
        blocks = LayerBlocks(root, index, block_size, 1.0)
        M, K = blocks.sum_block, blocks.child_block
        if max(blocks.sum_blocks * M, blocks.child_blocks * K) > 256:
            continue
        kinds, params = cells_by_hand(blocks)
        found = cell_raster(blocks, False, (0, kinds.shape[0], 0, kinds.shape[1]))
        np.testing.assert_array_equal(found.kinds, kinds)
        np.testing.assert_array_equal(found.params, params.astype(np.float32))
        np.testing.assert_array_equal(edge_flows(blocks, False, found.window, lambda nodes: nodes.params), found.params)
        whole = {packed: next(picture(blocks.raster(packed))) for packed in (False, True)}
        in_blocks = kinds.reshape(blocks.sum_blocks, M, -1, K)
        np.testing.assert_array_equal(np.bitwise_or.reduce(in_blocks, axis=(1, 3)), whole[False])
        for packed in (False, True):
            r0, c0 = rng.integers(blocks.sum_blocks), rng.integers(blocks.width(packed))
            r1, c1 = rng.integers(r0, blocks.sum_blocks) + 1, rng.integers(c0, blocks.width(packed)) + 1
            np.testing.assert_array_equal(next(picture(blocks.raster(packed, (r0, r1, c0, c1)))), whole[packed][r0:r1, c0:c1])
            children = child_blocks(blocks, packed, (r0, r1, c0, c1))
            want = in_blocks[np.arange(r0, r1)[:, None], :, np.maximum(children, 0)]
            want = np.where((children < 0)[..., None, None], whole[packed][r0:r1, c0:c1, None, None], want)
            want = want.transpose(0, 2, 1, 3).reshape((r1 - r0) * M, -1)[M // 2 :]
            cut = cell_raster(blocks, packed, (r0 * M + M // 2, r1 * M, c0 * K, min(c1 * K, c0 * K + 256)))
            np.testing.assert_array_equal(cut.kinds, want[:, : cut.kinds.shape[1]])


def test_windows_must_lie_in_the_layer():
    blocks = LayerBlocks(random_circuit(0), 1, 2)
    with pytest.raises(ValueError, match="window must lie in"):
        blocks.raster(False, (0, blocks.sum_blocks + 1, 0, 1))
    with pytest.raises(ValueError, match="at most 256 x 256"):
        cell_raster(LayerBlocks(pcv.figure_5_layer(), 1, 64), False, (0, 257, 0, 1))
