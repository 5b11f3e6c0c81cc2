"""Why these groups: the dynamic program of a layer for the Blocks view, at most 24 numbers of children and 12 rows of it."""

from __future__ import annotations

import numpy as np

from ...compiler.grouping import ClassTable, GroupingTable

MAX_COUNTS = 24
MAX_ROWS = 12


def scene_cuts(grouping: GroupingTable, shapes: dict[tuple[int, int], ClassTable]) -> dict:
    """``least``: the fewest pseudo edges with 1, 2, ... groups in all (None where there cannot be so few); ``classes``: of each
    block shape the distinct numbers of children, how many sum blocks have each, the ends of the chosen groups (as places
    among the columns shown) and the rows of costs."""
    rows = min(len(grouping.least) - 1, max(MAX_ROWS, grouping.groups))
    return {
        "stored": grouping.stored_edges,
        "budget": grouping.budget,
        "groups": grouping.groups,
        "least": [_whole(cost) for cost in grouping.least[1 : rows + 1]],
        "classes": [_class(shape, table) for shape, table in sorted(shapes.items(), key=lambda item: -len(item[1].hist.counts))],
    }


def _class(shape: tuple[int, int], table: ClassTable) -> dict:
    hist = table.hist
    n, chosen = len(hist.counts), len(table.cuts)
    columns = _columns(n, table.cuts)
    rows = min(len(table.costs) - 1, max(MAX_ROWS, chosen))
    place = {column: at for at, column in enumerate(columns)}
    return {
        "shape": list(shape),
        "numbers": n,
        "groups": chosen,
        "counts": [int(hist.counts[j - 1]) for j in columns],
        "blocks": [int(hist.blocks[j - 1]) for j in columns],
        "cuts": [place[cut] for cut in table.cuts if cut in place],
        "costs": [[_whole(table.costs[g, j]) for j in columns] for g in range(1, rows + 1)][: max(MAX_ROWS, chosen)],
    }


def _columns(n: int, cuts: tuple[int, ...]) -> list[int]:
    """All of 1 .. n, or the ends of the first groups, n, and others spread evenly."""
    if n <= MAX_COUNTS:
        return list(range(1, n + 1))
    kept = {*cuts[: MAX_COUNTS // 2], n}
    for column in np.linspace(1, n, MAX_COUNTS).round().astype(int).tolist():
        if len(kept) < MAX_COUNTS:
            kept.add(column)
    return sorted(kept)


def _whole(cost: float) -> int | None:
    return int(cost) if np.isfinite(cost) else None
