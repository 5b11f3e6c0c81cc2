"""Figure 4 of the paper, of a real layer: sum blocks and child blocks, their parameter matrix, and the index tensors of the launches
(nids, cids, pids) as the plan has them. A part of the layer, at most 12 sum blocks with 12 child blocks each."""

from __future__ import annotations

import numpy as np

from ...compiler.blockmap import LayerBlocks
from ...compiler.numbering import Numbering
from ...compiler.plan import Section, SumGroup
from ...ir.nodes import Nodes
from .common import count

MAX_ROWS = 12
MAX_PLACES = 12


def scene_launches(
    groups: tuple[SumGroup, ...], sections: tuple[Section, ...], blocks: LayerBlocks, numbering: Numbering, first: int | None = None
) -> dict:
    """``groups``, ``sections``: of the layer's plan. Sum blocks from ``first`` (position in plan order) on, or of None the first
    ones of every launch. ``rows``: the launch, the place in it, the nid, and per place its cid, pid, child block (-1: the null
    block) and kind (bits of blockmap.py). ``node``, ``colNodes``: the first node of a sum block and of a child block by its number in the
    DAG view, which does not change with the block size as rows do."""
    ends = np.cumsum([len(group.nids) for group in groups])
    columns = _columns(sections)
    rows = [_row(groups, ends, position, columns, blocks) for position in _positions(ends, first)]
    for row, place in zip(rows, blocks.row_places([row["position"] for row in rows])):
        row["node"] = _node(numbering, place)
    shown = sorted({place[2] for row in rows for place in row["places"] if place[2] >= 0})
    widest = max(group.cids.shape[1] for group in groups)
    return {
        "rows": rows,
        "groups": [_group(g, groups[g]) for g in sorted({row["launch"] - 1 for row in rows})],
        "numGroups": len(groups),
        "sumBlocks": int(ends[-1]),
        "first": first if first is None else rows[0]["position"],
        "columns": shown,
        "colLabels": blocks.col_labels(shown),
        "colNodes": [_node(numbering, place) for place in blocks.col_places(shown)],
        "caption": f"the first {MAX_PLACES} of up to {count(widest)} places" if widest > MAX_PLACES else "",
    }


def _node(numbering: Numbering, place: tuple[Nodes, int, int]) -> int:
    nodes, _, first = place
    return int(numbering.starts[numbering.number[id(nodes)]]) + first


def _positions(ends: np.ndarray, first: int | None) -> list[int]:
    total = int(ends[-1])
    if total <= MAX_ROWS:
        return list(range(total))
    if first is not None:
        start = min(max(0, int(first)), total - 1)
        return list(range(start, min(total, start + MAX_ROWS)))
    starts = np.concatenate([[0], ends[:-1]])[:MAX_ROWS]
    each = MAX_ROWS // len(starts)
    return [int(p) for start, end in zip(starts, ends) for p in range(start, min(end, start + each))]


def _columns(sections: tuple[Section, ...]) -> dict[int, int]:
    """First element row of every child block -> its column of the matrix, in the order of the rows; the null block has none."""
    starts = np.concatenate([section.start + section.width * np.arange(section.count) for section in sections[1:]])
    return {int(start): column for column, start in enumerate(np.sort(starts))}


def _row(groups, ends: np.ndarray, position: int, columns: dict[int, int], blocks: LayerBlocks) -> dict:
    g = int(np.searchsorted(ends, position, side="right"))
    group = groups[g]
    place = position - int(ends[g]) + len(group.nids)
    cids, pids = group.cids[place, :MAX_PLACES].tolist(), group.pids[place, :MAX_PLACES].tolist()
    kinds = blocks.raster(True, (position, position + 1, 0, len(cids))).kinds
    return {
        "position": position,
        "launch": g + 1,
        "place": place,
        "nid": int(group.nids[place]),
        "label": blocks.row_labels([position])[0],
        "places": [[cid, pid, columns[cid] if cid else -1, kind] for cid, pid, kind in zip(cids, pids, kinds)],
        "width": group.cids.shape[1],
    }


def _group(g: int, group: SumGroup) -> dict:
    return {"launch": g + 1, "G": len(group.nids), "E": group.cids.shape[1], "sumBlock": group.sum_block, "childBlock": group.child_block}
