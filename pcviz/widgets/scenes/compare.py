"""The Compare view: all that two choices differ in, as one table, and one quantity of both against block size.

A scene holds every block size of one circuit under one set of settings. The page keeps a scene as A while the person goes on to
other sizes, settings or circuits, which are B.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...compiler.plan import PlanSummary
from ...traffic import TrafficReport
from .common import count, html_table, milliseconds, percent, si_bytes

PHASES = ("forward", "backward", "both")
# key, name, unit, who computed it
COSTS = (
    ("time_ms", "time", "ms", "model"),
    ("l1_bytes", "L1 requests", "bytes", "model"),
    ("l2_to_l1_bytes", "L2 → L1", "bytes", "model"),
    ("hbm_bytes", "HBM", "bytes", "model"),
    ("flops", "FLOPs", "count", "model"),
)
COUNTS = (
    ("launches", "launches", "count", "plan"),
    ("groups", "groups", "count", "plan"),
    ("cells", "cells multiplied", "count", "plan"),
    ("padding_share", "padding", "share", "plan"),
    ("absent", "absent edges", "count", "plan"),
    ("pseudo", "pseudo edges", "count", "plan"),
    ("missing", "missing cells", "count", "plan"),
)


def scene_compare(circuit_name: str, summaries: Mapping[int, PlanSummary], reports: Mapping[int, TrafficReport]) -> dict:
    """Scene of all block sizes: per pass and row one value per size, not rounded. ``reports``: a TrafficReport per block size."""
    sizes = sorted(summaries)
    some = reports[sizes[0]]
    costs = {phase: {key: [_cost(reports[size], phase, key) for size in sizes] for key, *_ in COSTS} for phase in PHASES}
    counts = [_counts(summaries[size]) for size in sizes]
    launches = {phase: [_launches(summaries[size], reports[size], phase) for size in sizes] for phase in PHASES}
    shared = {key: [each[key] for each in counts] for key in counts[0]}
    return {
        "view": "compare",
        "circuit": circuit_name,
        "sizes": sizes,
        "batchSize": some.batch_size,
        "tolerance": summaries[sizes[0]].padding_tolerance,
        "device": some.device.name,
        "modelLabel": f"model ({some.launch_kind}), {some.device.name}",
        "rows": [dict(zip(("key", "name", "unit", "kind"), row)) for row in (*COSTS, *COUNTS)],
        "values": {phase: {**costs[phase], "launches": launches[phase], **shared} for phase in PHASES},
    }


def static_compare(scene: dict) -> str:
    """HTML table of a forward pass: one column per block size."""
    texts = {"ms": milliseconds, "bytes": si_bytes, "count": count, "share": percent}
    values = scene["values"]["forward"]
    rows = [[row["name"], *(texts[row["unit"]](value) for value in values[row["key"]])] for row in scene["rows"]]
    title = f"{scene['circuit']}: forward pass, batch size {scene['batchSize']}, tolerance {scene['tolerance']}, model of {scene['device']}"
    return html_table(title, ["block size", *scene["sizes"]], rows)


def _cost(report: TrafficReport, phase: str, key: str):
    passes = [name for name in ("forward", "backward") if phase in (name, "both")]
    return sum(getattr(report.of_pass(name), key) for name in passes)


def _launches(summary: PlanSummary, report: TrafficReport, phase: str) -> int:
    """As the headline counts them: all of a forward pass, those of the sum layers in a backward one."""
    forward, backward = summary.forward_launches, report.backward.launches
    return {"forward": forward, "backward": backward, "both": forward + backward}[phase]


def _counts(summary: PlanSummary) -> dict:
    edges = {name: summary.total(f"{name}_edges") for name in ("absent", "pseudo", "missing")}
    cells = summary.total("stored_edges") + summary.total("pseudo_edges")
    return {"groups": summary.num_groups, "cells": cells, "padding_share": summary.padding_share, **edges}
