"""Plans: counts equal the index tensors, index tensors are sound, and the plan is what runs."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from circuits import random_circuit, small_circuits
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import worlds_of
from pcviz_kernels import torch_blocks
from trained import digits, pruned_digits, small_pd

import pcviz as pcv
from pcviz.compiler.compile import layer_groups
from pcviz.compiler.layering import block_of, layering
from pcviz.ir.nodes import CircuitError, inputs, summate, topological
from pcviz.tracing import trace

BLOCK_SIZES = (1, 2, 4, 8, 16, 32, 64)
STRUCTURES = {
    "PD": lambda: pcv.PD((8, 8), num_latents=12, split_intervals=2, dist=pcv.Categorical(17)),
    "PD-K20-drawn": lambda: pcv.PD((6, 5), num_latents=20, split_intervals=2, dist=pcv.Categorical(4), conn_block=4, seed=2),
    "HCLT": lambda: pcv.HCLT(digits(300), num_latents=11),
    "figure-5-small": lambda: pcv.figure_5_layer(num_regions=5, num_latents=16, products=3),
    "random": lambda: random_circuit(11),
    "pruned-PD": pruned_digits,
}


@pytest.fixture(scope="module", params=STRUCTURES)
def root(request):
    return STRUCTURES[request.param]()


# ---- counts -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(small_circuits(), st.sampled_from([0.0, 0.1, 0.25, 1.0, 10.0]))
def test_summary_equals_the_plan_on_random_circuits(root, tolerance):
    for block_size in BLOCK_SIZES[:6]:
        check_summary(root, block_size, tolerance)


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_summary_equals_the_plan(root, block_size):
    check_summary(root, block_size, 0.25)


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 3.0])
def test_summary_equals_the_plan_at_other_tolerances(tolerance):
    for block_size in (2, 16):
        check_summary(pruned_digits(), block_size, tolerance)


def check_summary(root, block_size, tolerance):
    plan = pcv.compile(root, block_size=block_size, padding_tolerance=tolerance)
    summary = pcv.plan_summary(root, block_size=block_size, padding_tolerance=tolerance)
    assert plan.summary == summary
    if summary.flows_written_once:  # by launches of products, row by row
        times = np.zeros(plan.num_node_rows, dtype=np.int64)
        for group in (group for layer in plan.layers for group in layer.products):
            times += np.bincount((group.nids[:, None] + np.arange(group.width)).ravel(), minlength=len(times))
        assert all((times[plan.rows_of(nodes)] == 1).all() for nodes in plan.node_vectors() if nodes is not root)
    assert pcv.plan_summary(layering(root), block_size=block_size, padding_tolerance=tolerance) == summary
    assert summary.total("edges") == sum(nodes.num_edges for nodes in topological(root) if nodes.kind == "sum")
    for layer, executed in zip(summary.layers, plan.layers):
        assert layer.edges + layer.absent_edges + layer.missing_edges == layer.stored_edges
        assert min(layer.absent_edges, layer.missing_edges, layer.pseudo_edges) >= 0
        for name in ("edges", "absent_edges", "missing_edges", "stored_edges", "pseudo_edges"):
            assert sum(getattr(group, name) for group in layer.groups) == getattr(layer, name)
        assert layer.pseudo_edges <= tolerance * layer.stored_edges
        assert sum(group.cids.size * group.sum_block * group.child_block for group in executed.groups) == layer.stored_edges + layer.pseudo_edges
        assert sum(group.num_sum_blocks * group.sum_block for group in layer.groups) == layer.num_sum_rows
        assert sum(group.stored_blocks for group in layer.backward_groups) == layer.stored_blocks
    if block_size == 1:
        assert summary.total("absent_edges") == summary.total("missing_edges") == 0


def test_dense_structures_have_no_padding():
    for block_size in BLOCK_SIZES[:5]:
        summary = pcv.plan_summary(STRUCTURES["figure-5-small"](), block_size=block_size)
        assert summary.padding_share == 0
        assert [len(layer.groups) for layer in summary.layers] == [1, 1]


def test_the_default_circuit_shows_groups_and_paddings():
    """PD on digits, trained and pruned to 40 %: what the explorer and lesson 4 show."""
    summaries = {size: pcv.plan_summary(pruned_digits(), block_size=size) for size in BLOCK_SIZES}
    for size, summary in summaries.items():
        assert sum(len(layer.groups) >= 2 for layer in summary.layers) >= 2, size
    shares = {
        name: [summary.total(name) / summary.total("stored_edges") for summary in summaries.values()] for name in ("pseudo_edges", "absent_edges")
    }
    for name, values in shares.items():
        assert sum(value > 0.05 for value in values) >= 2, (name, values)
        assert len({round(value, 3) for value in values}) >= 4, (name, values)


# ---- index tensors ------------------------------------------------------------------------------------------------------


def test_flows_of_trees_are_written_once():
    """A box of PD is a factor in several layers, a vector of the others in one; of a random circuit anything may be true."""
    x = digits(100)[:, :9]
    trees = pcv.HCLT(x, num_latents=5), pcv.HMM(4, 6, num_emits=5), pcv.RAT_SPN(16, 6, depth=2, num_repetitions=3, dist=pcv.Categorical(17))
    assert all(pcv.plan_summary(tree, block_size=4).flows_written_once for tree in trees)
    assert not pcv.plan_summary(small_pd(), block_size=4).flows_written_once
    assert {pcv.plan_summary(random_circuit(seed), block_size=4).flows_written_once for seed in range(12)} == {True, False}


@pytest.mark.parametrize("block_size", [1, 4, 32])
def test_index_tensors_are_sound(root, block_size):
    check_plan(pcv.compile(root, block_size=block_size))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(small_circuits(), st.sampled_from(BLOCK_SIZES[:5]), st.sampled_from([0.0, 0.5, 9.0]))
def test_index_tensors_of_random_circuits_are_sound(root, block_size, tolerance):
    check_plan(pcv.compile(root, block_size=block_size, padding_tolerance=tolerance))


def check_plan(plan):
    node_rows, params = Intervals(plan.num_node_rows), Intervals(plan.num_params)
    stored = set()
    for group in plan.inputs:
        assert [group.sources[t].storage for t in group.table_ids] == [nodes.storage for nodes in group.vectors]
        starts = group.start + group.stride * np.arange(len(group.vectors))
        node_rows.add(starts, group.stride, align=block_of(group.vectors[0].num_nodes, plan.block_size))
    for layer in plan.layers:
        elements = Intervals(layer.num_element_rows)
        for group in layer.products:
            elements.add(group.eids, group.width)
            check_aligned(group.cids, group.width, plan.num_node_rows)
            check_product_back(group)
        tiles = {}
        for group in layer.groups:
            m, k = group.sum_block, group.child_block
            node_rows.add(group.nids, m)
            check_aligned(group.cids, k, layer.num_element_rows)
            check_aligned(group.pids, m * k, plan.num_params)
            np.testing.assert_array_equal(group.cids == 0, group.pids == 0, err_msg="a pseudo block has neither child nor parameters")
            first_use = group.pids[group.first_use]
            if first_use.size:
                params.add(first_use[first_use > 0], m * k)
            stored |= set(first_use[first_use > 0].tolist())
            assert set(group.pids[group.pids > 0].tolist()) <= stored, "what is not a first use was stored before"
            assert group.repeats == (len(np.unique(group.pids[group.pids > 0])) < (group.pids > 0).sum())
            nids = np.broadcast_to(group.nids[:, None], group.cids.shape)
            for nid, cid, pid in np.stack([nids, group.cids, group.pids], axis=-1)[group.pids > 0].tolist():
                tiles[nid, cid] = (pid, m, k)
        slot_tiles = np.concatenate([slot.tile_pids for slot in layer.sums])
        assert sorted(slot_tiles.tolist()) == sorted(pid for pid, _, _ in tiles.values()), "the groups have each stored tile once per use"
        assert sorted(backward_tiles(plan, layer)) == sorted((pid, nid, cid, m, k) for (nid, cid), (pid, m, k) in tiles.items())
    check_ties(plan)
    node_rows.check()
    params.check()


def check_ties(plan):
    """Tied vectors have the same tiles, others have tiles of their own."""
    slots = [slot for layer in plan.layers for slot in layer.sums]
    tiles = {}
    for slot in slots:
        first = tiles.setdefault(id(slot.grid.nodes.storage), slot)
        assert slot.first_use == (first is slot)
        assert (slot.grid.sum_block, slot.grid.child_block) == (first.grid.sum_block, first.grid.child_block)
        np.testing.assert_array_equal(slot.tile_pids, first.tile_pids)


def backward_tiles(plan, layer):
    for group in layer.backward_groups:
        m, k = group.sum_block, group.child_block
        check_aligned(group.chids, k, layer.num_element_rows)
        check_aligned(group.parids, m, plan.num_node_rows)
        check_aligned(group.parpids, m * k, plan.num_params)
        assert len(np.unique(group.chids)) == len(group.chids) and (group.chids > 0).all()
        np.testing.assert_array_equal(group.parids == 0, group.parpids == 0)
        chids = np.broadcast_to(group.chids[:, None], group.parids.shape)
        for pid, nid, cid in np.stack([group.parpids, group.parids, chids], axis=-1)[group.parpids > 0].tolist():
            yield (pid, nid, cid, m, k)


def check_product_back(group):
    """The backward index of a product group lists the same (element run, node run) pairs, null runs left out."""
    forward = sorted((int(cid), int(eid)) for eid, cids in zip(group.eids, group.cids) for cid in cids if cid > 0)
    ends = group.offsets
    backward = sorted((int(nid), int(eid)) for i, nid in enumerate(group.nids) for eid in group.parids[ends[i] : ends[i + 1]])
    assert forward == backward


def check_aligned(starts, width, limit):
    starts = np.asarray(starts)
    assert starts.min() >= 0 and starts.max() + width <= limit
    assert (starts % width == 0).all()


class Intervals:
    """Ranges of a buffer that must be aligned, in range, disjoint, and clear of the null block at 0."""

    def __init__(self, limit):
        self.limit, self.ranges = limit, []

    def add(self, starts, width, align=None):
        check_aligned(starts, align or width, self.limit)
        self.ranges += [(int(start), int(start) + width) for start in starts]

    def check(self):
        ranges = sorted(self.ranges)
        assert ranges[0][0] > 0 and ranges[-1][1] <= self.limit
        assert all(a[1] <= b[0] for a, b in pairwise(ranges))


def test_plans_are_frozen():
    plan = pcv.compile(random_circuit(0), block_size=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.block_size = 8
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.layers[0].groups[0].cids = None


# ---- the plan is what runs ----------------------------------------------------------------------------------------------


def replaced(plan, kind, position, **fields):
    """``plan`` with fields of one group of the first layer that has enough of them replaced."""
    layers = list(plan.layers)
    layer, at = position
    groups = list(getattr(layers[layer], kind))
    groups[at] = dataclasses.replace(groups[at], **fields)
    layers[layer] = dataclasses.replace(layers[layer], **{kind: tuple(groups)})
    return dataclasses.replace(plan, layers=tuple(layers))


def largest(plan, kind, name):
    """(layer, position) of the group with the longest index tensor ``name``."""
    places = [(layer, at) for layer in range(len(plan.layers)) for at in range(len(getattr(plan.layers[layer], kind)))]
    return max(places, key=lambda place: getattr(getattr(plan.layers[place[0]], kind)[place[1]], name).size)


@pytest.mark.parametrize("block_size", [1, 8, 32])
@pytest.mark.parametrize(("kind", "name"), [("groups", "cids"), ("groups", "pids"), ("groups", "nids"), ("products", "cids")])
def test_permuting_index_tensors_changes_the_likelihood(block_size, kind, name):
    plan, x = pcv.compile(pruned_digits(), block_size=block_size), digits(8)
    place = largest(plan, kind, name)
    ids = getattr(getattr(plan.layers[place[0]], kind)[place[1]], name)
    shuffled = np.roll(ids.ravel(), 1).reshape(ids.shape)
    right, wrong = pcv.TensorCircuit(plan)(x), pcv.TensorCircuit(replaced(plan, kind, place, **{name: shuffled}))(x)
    assert ((right - wrong).abs() > 1e-3).all()


@pytest.mark.parametrize("name", ["chids", "parids", "parpids"])
def test_permuting_backward_index_tensors_changes_the_flows(name):
    plan, x = pcv.compile(pruned_digits(), block_size=8), digits(8)
    place = largest(plan, "backward_groups", name)
    ids = getattr(plan.layers[place[0]].backward_groups[place[1]], name)
    changed = replaced(plan, "backward_groups", place, **{name: np.roll(ids.ravel(), 1).reshape(ids.shape)})
    right, wrong = pcv.TensorCircuit(plan), pcv.TensorCircuit(changed)
    torch.testing.assert_close(right(x), wrong(x), rtol=0, atol=0)
    assert (right.node_flows(x) - wrong.node_flows(x)).abs().max() > 1e-3


def recorded_launches(monkeypatch) -> dict[str, list]:
    """Wraps every kernel function; the result collects the launch records in the order in which they run."""
    calls = {}

    def wrap(name):
        kernel = getattr(torch_blocks, name)
        calls[name] = []

        def wrapped(launch, *arguments):
            calls[name].append(launch)
            return kernel(launch, *arguments)

        monkeypatch.setattr(torch_blocks, name, wrapped)

    for name in ("input_forward", "product_forward", "sum_forward", "element_flows", "param_flows", "product_flows", "input_flows"):
        wrap(name)
    return calls


@pytest.mark.parametrize("block_size", [1, 8, 64])
def test_executed_launches_equal_summary_and_trace(monkeypatch, block_size):
    calls, x = recorded_launches(monkeypatch), digits(5)
    pc = pcv.TensorCircuit(pcv.compile(pruned_digits(), block_size=block_size))
    assert pc.impl == "torch"
    summary = pc.plan.summary
    pc(x)
    assert {name: len(launches) for name, launches in calls.items() if launches} == {
        "input_forward": summary.input_launches,
        "product_forward": summary.total("product_launches"),
        "sum_forward": summary.sum_launches,
    }
    assert sum(map(len, calls.values())) == summary.forward_launches
    for launches in calls.values():
        launches.clear()
    pc.flows(x)
    traced = trace(pc.plan, len(x))
    for phase, name in (("forward", "sum_forward"), ("param_flows", "param_flows"), ("element_flows", "element_flows")):
        expected = [(t.sum_block, t.child_block, t.num_blocks, t.fan_in) for t in traced.phase(phase)]
        assert expected == [shape_of(launch, phase) for launch in calls[name]], phase
    assert len(traced) == sum(len(calls[name]) for name in ("sum_forward", "param_flows", "element_flows"))


def shape_of(launch, phase):
    blocks, fan = (launch.num_child_blocks, launch.num_parents) if phase == "element_flows" else (launch.num_sum_blocks, launch.num_child_blocks)
    return (launch.sum_block, launch.child_block, blocks, fan)


def test_a_batch_above_the_micro_batch_repeats_the_launches(monkeypatch):
    calls = recorded_launches(monkeypatch)
    pc = pcv.TensorCircuit(pcv.compile(small_pd(2), block_size=2))
    pc(np.resize(digits(100), (2 * pc.micro_batch + 1, 64)))
    assert len(calls["sum_forward"]) == 3 * pc.plan.summary.sum_launches


# ---- tables and errors --------------------------------------------------------------------------------------------------


def test_the_table_shows_the_counts():
    plan = pcv.compile(pruned_digits(), block_size=8, padding_tolerance=0.1)
    summary, text, html = plan.summary, str(plan), plan._repr_html_()
    assert text == str(summary) and html == summary._repr_html_()
    header, *rows = text.splitlines()[1:]
    assert len(rows) == summary.num_groups + 1
    for shown in (header, html):
        assert all(word in shown for word in ("layer", "launch", "absent", "missing", "pseudo"))
    groups = [(layer, group) for layer in summary.layers for group in layer.groups]
    for row, (layer, group) in zip(rows, groups):
        for number in (group.num_sum_blocks, group.num_child_blocks, group.stored_edges, group.pseudo_edges):
            assert f"{number:,}" in row.split() and f">{number:,}<" in html
        assert f"{group.sum_block} x {group.child_block}" in row
        assert [f"{group.absent_edges:,}", f"{group.missing_edges:,}"] == row.split()[-4:-2]
        if group is layer.groups[0]:
            assert row.split()[0] == f"{layer.index}"
    for name in ("stored_edges", "absent_edges", "missing_edges", "pseudo_edges"):
        assert f"{summary.total(name):,}" in rows[-1].split() and f">{summary.total(name):,}<" in html
    for shown in (text, html):
        assert f"block size 8, padding tolerance 0.1: {summary.total('edges'):,} edges" in shown
        assert f"{summary.num_groups} groups, {summary.forward_launches} launches forward" in shown


@pytest.mark.parametrize("block_size", [0, -4, 3, 24, 2.0, True, None, "8"])
def test_block_sizes_that_are_no_power_of_two_are_refused(block_size):
    for call in (pcv.compile, pcv.plan_summary):
        with pytest.raises(ValueError, match="block_size must be a power of two"):
            call(random_circuit(0), block_size=block_size)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf"), None, "0.25"])
def test_bad_tolerances_are_refused(tolerance):
    for call in (pcv.compile, pcv.plan_summary):
        with pytest.raises(ValueError, match="padding_tolerance must be a number of at least 0"):
            call(random_circuit(0), block_size=8, padding_tolerance=tolerance)


def test_wrong_structures_are_refused():
    leaf = inputs(0, num_nodes=4, dist=pcv.Categorical(2))
    for call in (pcv.compile, pcv.plan_summary):
        with pytest.raises(CircuitError, match="root must be one sum node"):
            call(summate(leaf, num_nodes=2), block_size=8)


def test_a_child_vector_listed_twice_is_refused():
    leaf = inputs(0, num_nodes=4, dist=pcv.Categorical(2), name="leaf")
    with pytest.raises(CircuitError, match=r"leaf.*is given twice"):
        summate(leaf, leaf, num_nodes=2)


def test_numpy_integers_are_block_sizes():
    root = random_circuit(4)
    assert pcv.plan_summary(root, block_size=np.int64(4)) == pcv.plan_summary(root, block_size=4)
    x = worlds_of(root)
    torch.testing.assert_close(
        pcv.TensorCircuit(pcv.compile(root, block_size=np.int64(4)))(x), pcv.TensorCircuit(pcv.compile(root, block_size=4))(x)
    )


@given(small_circuits(), st.sampled_from([1, 2, 8]), st.sampled_from([0.0, 0.25, 9.0]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_one_layer_alone_has_the_index_tensors_of_the_plan(root, block_size, tolerance):
    plan = pcv.compile(root, block_size=block_size, padding_tolerance=tolerance)
    for index, layer in enumerate(plan.layers, start=1):
        groups, sections = layer_groups(root, index, block_size=block_size, padding_tolerance=tolerance)
        assert [vars(one) for one in sections] == [vars(one) for one in layer.sections] and len(groups) == len(layer.groups)
        for alone, whole in zip(groups, layer.groups):
            for name in ("nids", "cids", "pids", "first_use"):
                np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name))
            assert (alone.sum_block, alone.child_block, alone.repeats) == (whole.sum_block, whole.child_block, whole.repeats)
