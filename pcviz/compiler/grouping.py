"""Grouping: as few groups as possible while the pseudo edges stay under the padding tolerance (paper, section 4.2).

Blocks with similar numbers of children share a group and are padded to the largest number in it. Sorted by number of
children, an optimal group is a run of that order, so a dynamic program over the distinct numbers is exact.

A layer may mix block shapes; each shape is a *class* with a histogram of its own, and the tolerance is for the layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Histogram:
    """How many blocks (``blocks`` [n]) of one class have how many children (``counts`` [n], ascending).

    ``cells``: edges per stored block, sum_block * child_block.
    """

    counts: np.ndarray
    blocks: np.ndarray
    cells: int
    extra: tuple[np.ndarray, ...] = ()  # further sums over the blocks of each count

    @property
    def stored_edges(self) -> int:
        return int((self.counts * self.blocks).sum()) * self.cells


def histogram(counts: np.ndarray, cells: int, weights: np.ndarray | None = None, extra: tuple[np.ndarray, ...] = ()) -> Histogram:
    """Histogram of ``counts`` [n], each standing for ``weights`` [n] blocks (1 when None); ``extra`` [n] is summed too."""
    distinct, inverse = np.unique(counts, return_inverse=True)
    blocks = np.bincount(inverse, weights=weights).astype(np.int64)
    sums = tuple(np.bincount(inverse, weights=values).astype(np.int64) for values in extra)
    return Histogram(distinct.astype(np.int64), blocks, cells, sums)


@dataclass(frozen=True, eq=False)
class ClassTable:
    """The dynamic program of one class: ``costs`` [groups + 1, n + 1], float64: the least pseudo edges when the blocks with the
    first j of the n distinct numbers of children form g groups (inf where that cannot be).

    ``cuts``: of the chosen groups, ascending, how many distinct numbers lie up to the end of each; the last is n.
    """

    hist: Histogram
    costs: np.ndarray
    cuts: tuple[int, ...]

    @property
    def bounds(self) -> tuple[int, ...]:
        """The number of children that each chosen group is padded to, ascending."""
        return tuple(int(self.hist.counts[cut - 1]) for cut in self.cuts)


@dataclass(frozen=True, eq=False)
class GroupingTable:
    """How the groups of a layer were chosen: ``least`` [g + 1], float64: the least pseudo edges of all classes with g groups in
    all (inf where that cannot be); ``groups`` is the least g within ``budget`` pseudo edges, tolerance * ``stored_edges``."""

    classes: tuple[ClassTable, ...]
    least: np.ndarray
    groups: int
    budget: float
    stored_edges: int


def group_bounds(histograms: list[Histogram], tolerance: float) -> list[tuple[int, ...]]:
    """For each class, the number of children that each of its groups is padded to, ascending."""
    return [table.bounds for table in grouping_table(histograms, tolerance).classes]


def grouping_table(histograms: list[Histogram], tolerance: float) -> GroupingTable:
    """The dynamic program of a layer (paper, section 4.2) and what it chose, one ``Histogram`` a class.

    The total number of groups is the least for which pseudo edges / stored edges <= ``tolerance`` over all classes; among
    those, the pseudo edges are the fewest.
    """
    stored = sum(hist.stored_edges for hist in histograms)
    tables = [_Table(hist) for hist in histograms]
    most = sum(len(hist.counts) for hist in histograms)
    limit = len(histograms)
    while True:
        limit = min(2 * limit, most)
        best, choices = _combine(tables, limit)
        within = np.flatnonzero(best[: limit + 1] <= tolerance * stored)
        if len(within):
            groups = int(within[0])
            classes = tuple(ClassTable(table.hist, np.stack(table.rows), cuts) for table, cuts in zip(tables, _cuts(tables, choices, groups)))
            return GroupingTable(classes, best[: limit + 1], groups, tolerance * stored, stored)


def _combine(tables: list[_Table], limit: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """``best[g]``: least pseudo edges of all classes with g groups in all; ``choices[k][g]``: how many class k takes."""
    best, choices = np.zeros(1), []
    for table in tables:
        costs = table.costs(min(limit, len(table.hist.counts)))
        total = np.full(len(best) + len(costs) - 1, np.inf)
        choice = np.zeros(len(total), dtype=np.int64)
        for own in range(1, len(costs)):
            window = slice(own, own + len(best))
            better = best + costs[own] < total[window]
            total[window][better] = (best + costs[own])[better]
            choice[window][better] = own
        best = total
        choices.append(choice)
    return best, choices


def _cuts(tables: list[_Table], choices: list[np.ndarray], groups: int) -> list[tuple[int, ...]]:
    cuts = []
    for table, choice in zip(reversed(tables), reversed(choices)):
        own = int(choice[groups])
        cuts.append(table.cuts(own))
        groups -= own
    return cuts[::-1]


class _Table:
    """The dynamic program of one class, grown one group at a time.

    ``rows[g][j]``: least pseudo edges when the first j distinct counts form g groups.
    """

    def __init__(self, hist: Histogram):
        self.hist = hist
        n = len(hist.counts)
        blocks = np.concatenate([[0], np.cumsum(hist.blocks)])
        children = np.concatenate([[0], np.cumsum(hist.blocks * hist.counts)])
        # run_cost[i, j]: pseudo edges of one group that holds distinct counts i .. j-1, padded to counts[j-1]
        padded = np.concatenate([[0], hist.counts])
        run_cost = (padded[None, :] * (blocks[None, :] - blocks[:, None]) - (children[None, :] - children[:, None])) * float(hist.cells)
        self.run_cost = np.where(np.arange(n + 1)[:, None] < np.arange(n + 1)[None, :], run_cost, np.inf)
        self.rows = [np.concatenate([[0.0], np.full(n, np.inf)])]
        self.choices: list[np.ndarray] = [np.zeros(n + 1, dtype=np.int64)]

    def costs(self, groups: int) -> np.ndarray:
        """Least pseudo edges of the whole class with exactly 0 .. ``groups`` groups (inf for 0)."""
        while len(self.rows) <= groups:
            total = self.rows[-1][:, None] + self.run_cost
            choice = total.argmin(axis=0)
            self.rows.append(total[choice, np.arange(total.shape[1])])
            self.choices.append(choice)
        return np.array([row[-1] for row in self.rows[: groups + 1]])

    def cuts(self, groups: int) -> tuple[int, ...]:
        end, cuts = len(self.hist.counts), []
        for g in range(groups, 0, -1):
            cuts.append(end)
            end = int(self.choices[g][end])
        return tuple(reversed(cuts))
