"""Siblings: blocks with the same readers, and no others, are of one set; where a launch relies on one scale there is one."""

import numpy as np
import pytest
import torch
from pcviz_kernels import torch_blocks
from pcviz_kernels.blocks import Sets
from trained import digits, pruned_digits, small_pd

import pcviz as pcv
from pcviz.siblings import PADDING, lead_scales, sibling_sets


def test_blocks_with_the_same_readers_are_one_set():
    """Blocks 1 to 8, read by 5 sum blocks of two launches; block 0 pads. 7 is formed by another launch than 6."""
    ids = [np.array([[1, 2, 3], [2, 1, 0], [4, 5, 0]]), np.array([[6, 7], [8, 8]])]
    found = sibling_sets(ids, [np.array([1, 2, 3, 4, 5, 6, 8]), np.array([7])], num_scales=9)
    same = found[:, None] == found
    np.testing.assert_array_equal(same.nonzero(), np.array([[0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7, 8], [0, 1, 2, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8]]))
    assert lead_scales(ids[0], found) is None and lead_scales(ids[1], found) is None
    np.testing.assert_array_equal(lead_scales(ids[0][1:], found), [2, 4])


def test_one_large_set_among_many_small_ones_is_given_up():
    """A table as wide as the largest set must not outgrow the blocks."""
    ids = [np.arange(1, 21)[None], *(np.array([[block]]) for block in range(21, 121))]
    found = sibling_sets(ids, [np.arange(1, 121)], num_scales=121)
    assert 101 * 20 > PADDING * 120 and len(np.unique(found)) == 121
    assert lead_scales(ids[0], found) is None


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_of_each_set(seed):
    rng = np.random.default_rng(seed)
    numbers = np.unique(rng.integers(0, 6, size=20), return_inverse=True)[1]
    values = rng.normal(size=(20, 3))
    expected = [values[numbers == number].max(axis=0) for number in numbers]
    np.testing.assert_array_equal(Sets(torch.as_tensor(numbers)).amax(torch.as_tensor(values)), expected)


@pytest.mark.parametrize("block_size", [1, 4, 32])
def test_where_a_launch_relies_on_one_scale_there_is_one(monkeypatch, block_size):
    seen = set()

    def sum_forward(launch, params, elements, nodes, run=torch_blocks.sum_forward):
        if launch.lead_scales is not None:
            scales = elements.scales[launch.scale_ids]  # [G, E, B]
            assert ((scales == elements.scales[launch.lead_scales][:, None]) | (launch.scale_ids == 0)[:, :, None]).all()
        seen.add(("sums", launch.lead_scales is not None))
        run(launch, params, elements, nodes)

    def element_flows(launch, params, elements, ratios, tops, flows, run=torch_blocks.element_flows):
        if launch.level:
            assert ((elements.scales[launch.scale_ids][:, None] == tops[launch.parents]) | (launch.parents == 0)[:, :, None]).all()
        seen.add(("elements", launch.level))
        run(launch, params, elements, ratios, tops, flows)

    monkeypatch.setattr(torch_blocks, "sum_forward", sum_forward)
    monkeypatch.setattr(torch_blocks, "element_flows", element_flows)
    for root in (pruned_digits(10), small_pd(num_latents=20)):
        pcv.TensorCircuit(pcv.compile(root, block_size=block_size)).flows(digits(7))
    assert seen == {(kind, one) for kind in ("sums", "elements") for one in (True, False)}
