"""Bundled data: the right bytes, the right split, offline."""

import zlib

import numpy as np
import pytest

from pcviz.assets import asset_path
from pcviz.datasets import digits


@pytest.mark.parametrize("split, rows", [("train", 1437), ("test", 360), ("all", 1797)])
def test_shapes(split, rows):
    x = digits(split)
    assert x.shape == (rows, 64) and x.dtype == np.uint8 and x.flags.c_contiguous
    assert x.min() == 0 and x.max() == 16


def test_values_are_those_of_the_source():
    assert zlib.crc32(digits("all").tobytes()) == 0xF3A2533C
    assert digits("all")[0, :16].tolist() == [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]


def test_split_is_a_partition_and_always_the_same():
    everything, train, test = digits("all"), digits(), digits(split="test")
    np.testing.assert_array_equal(test, everything[::5])
    np.testing.assert_array_equal(train, np.delete(everything, np.s_[::5], axis=0))


def test_result_may_be_changed():
    digits("all")[:] = 0
    assert digits("all").any()


@pytest.mark.parametrize("split", ["valid", "", None, 0])
def test_unknown_split(split):
    with pytest.raises(ValueError, match=r"'train', 'test', 'all', got " + repr(split)):
        digits(split)


def test_attribution_lies_beside_the_data():
    text = asset_path("digits.LICENSE.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text and "Alpaydin" in text and "digits.csv.gz" in text
