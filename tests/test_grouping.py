"""The grouping dynamic program against exhaustive search over all partitions of the blocks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcviz.compiler.grouping import Histogram, group_bounds, grouping_table, histogram

many = settings(max_examples=150, deadline=None, derandomize=True)
children = st.one_of(st.integers(1, 6), st.integers(1, 40), st.sampled_from([1, 2, 4, 8, 16, 32]))
tolerances = st.one_of(st.just(0.0), st.sampled_from([0.05, 0.1, 0.25, 0.5, 1.0, 5.0]), st.floats(0, 3))


def partitions(items: list[int]):
    """Every set partition of ``items``, as lists of groups (not only runs of the sorted order)."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        yield [[first], *smaller]
        for i, group in enumerate(smaller):
            yield [*smaller[:i], [first, *group], *smaller[i + 1 :]]


def pseudo_of(partition: list[list[int]]) -> int:
    return sum(max(group) * len(group) - sum(group) for group in partition)


def best_by_search(classes: list[tuple[list[int], int]], tolerance: float) -> tuple[int, int]:
    """(groups, pseudo edges): the fewest groups within the tolerance, then the least padding; classes are (counts, cells)."""
    budget = tolerance * sum(sum(counts) * cells for counts, cells in classes)
    options = [{(len(p), pseudo_of(p) * cells) for p in partitions(counts)} for counts, cells in classes]
    totals = ((sum(g for g, _ in choice), sum(p for _, p in choice)) for choice in itertools.product(*options))
    return min(total for total in totals if total[1] <= budget)


def found(classes: list[tuple[list[int], int]], tolerance: float) -> tuple[int, int]:
    """(groups, pseudo edges) of ``group_bounds``, each block in the narrowest group that holds it."""
    bounds = group_bounds([histogram(np.array(counts), cells) for counts, cells in classes], tolerance)
    pseudo = 0
    for (counts, cells), limits in zip(classes, bounds):
        assert list(limits) == sorted(set(limits))
        assert set(limits) <= set(counts) and limits[-1] == max(counts), "a group is as wide as its widest block"
        pseudo += cells * sum(min(limit for limit in limits if limit >= count) - count for count in counts)
    return sum(map(len, bounds)), pseudo


@many
@given(st.lists(children, min_size=1, max_size=7), tolerances)
def test_one_class_equals_exhaustive_search(counts, tolerance):
    classes = [(counts, 4)]
    assert found(classes, tolerance) == best_by_search(classes, tolerance)


@many
@given(st.lists(children, min_size=1, max_size=5), st.lists(children, min_size=1, max_size=5), st.sampled_from([1, 2, 64]), tolerances)
def test_two_classes_equal_exhaustive_search(first, second, cells, tolerance):
    """One tolerance for the layer: padding may be spent in the class where it saves most groups."""
    classes = [(first, 16), (second, cells)]
    assert found(classes, tolerance) == best_by_search(classes, tolerance)


def test_three_classes_equal_exhaustive_search():
    rng = np.random.default_rng(5)
    for _ in range(40):
        classes = [(rng.geometric(0.2, size=rng.integers(1, 5)).tolist(), int(cells)) for cells in (256, 64, 1)]
        tolerance = float(rng.choice([0.0, 0.1, 0.4, 2.0]))
        assert found(classes, tolerance) == best_by_search(classes, tolerance)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**16), st.sampled_from([0.0, 0.01, 0.1, 0.25, 1.0]))
def test_large_layers_stay_within_the_tolerance(seed, tolerance):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 200, size=rng.integers(1, 500)).tolist()
    groups, pseudo = found([(counts, 1024)], tolerance)
    assert pseudo <= tolerance * sum(counts) * 1024
    tighter, _ = found([(counts, 1024)], tolerance / 2)
    assert groups <= tighter


def test_tolerance_zero_pads_nothing():
    assert found([([3, 1, 3, 7, 1], 16)], 0.0) == (3, 0)
    assert found([([5, 5, 5], 16), ([2], 4)], 0.0) == (2, 0)


def test_the_tolerance_itself_is_allowed():
    """One group over 3 and 5 children pads 2 of 8 stored blocks: exactly 0.25."""
    assert found([([3, 5], 1)], 0.25) == (1, 2)
    assert found([([3, 5], 1)], 0.2499) == (2, 0)


def test_weights_stand_for_repeated_blocks():
    weighted = histogram(np.array([2, 7, 2]), 4, np.array([10, 1, 5]))
    repeated = histogram(np.array([2] * 15 + [7]), 4)
    assert weighted.counts.tolist() == repeated.counts.tolist() == [2, 7]
    assert weighted.blocks.tolist() == repeated.blocks.tolist() == [15, 1]
    assert weighted.stored_edges == (15 * 2 + 7) * 4


@pytest.mark.parametrize("tolerance", [0.0, 0.25])
def test_an_empty_padding_budget_is_met_by_one_group_per_number(tolerance):
    hist = Histogram(np.array([1, 10, 100]), np.array([5, 5, 5]), 1)
    (bounds,) = group_bounds([hist], tolerance)
    assert bounds == ((1, 10, 100) if tolerance == 0 else (10, 100))


@many
@given(st.lists(children, min_size=1, max_size=6), st.lists(children, min_size=1, max_size=4), tolerances)
def test_every_entry_of_the_table_equals_exhaustive_search(first, second, tolerance):
    """costs[g][j]: the best partition into g groups of the blocks with the j least numbers of children; least: of both classes."""
    classes = [(first, 16), (second, 4)]
    table = grouping_table([histogram(np.array(counts), cells) for counts, cells in classes], tolerance)
    for (counts, cells), one in zip(classes, table.classes):
        for (g, j), cost in np.ndenumerate(one.costs):
            members = [count for count in counts if count in one.hist.counts[:j]]
            found = [pseudo_of(p) * cells for p in partitions(members) if len({max(group) for group in p}) == len(p) == g]
            assert cost == min(found, default=np.inf) or (g > len(set(members)) and cost == np.inf)
    assert [one.bounds for one in table.classes] == group_bounds([one.hist for one in table.classes], tolerance)
    assert sum(len(one.cuts) for one in table.classes) == table.groups
    chosen = sum(one.costs[len(one.cuts), -1] for one in table.classes)
    assert chosen == table.least[table.groups] <= table.budget == tolerance * table.stored_edges
    assert not (table.least[: table.groups] <= table.budget).any()
