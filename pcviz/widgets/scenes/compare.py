"""The Compare view: all that two choices differ in, as one table, and one quantity of both against block size.

A scene holds every block size of one circuit under one set of settings: what the model says, and in sections of their own what was
recorded on a named GPU or measured here. The page keeps a choice as A while the person goes on to other sizes, settings or
circuits, which are B.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...compiler.plan import PlanSummary
from ...traffic import TrafficReport
from .common import LEVELS, PASSES_OF
from .launch_counts import LaunchCounts
from .table import SCOPES

# key, name, unit, who computed it
COSTS = (
    ("time_ms", "time", "ms", "model"),
    ("l1_bytes", "L1 requests", "bytes", "model"),
    ("l2_to_l1_bytes", LEVELS["l2_to_l1_bytes"], "bytes", "model"),
    ("hbm_bytes", LEVELS["hbm_bytes"], "bytes", "model"),
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
SEEN = tuple((key, name, unit) for key, name, unit, _ in COSTS[:4])  # what a recording may have
MEASURED_PHASES = {"forward": "forward", "forward+backward": "both"}


def scene_compare(
    circuit_name: str, summaries: Mapping[int, PlanSummary], reports: Mapping[int, TrafficReport], recorded: Iterable[Mapping] = (), measured=()
) -> dict:
    """Scene of all block sizes: per pass and row one value per size, not rounded; None where there is none.

    ``reports``: a TrafficReport per block size. ``recorded``: points as the Cost view takes them, those of this batch size are shown;
    ``measured``: Measurement records of this machine, likewise.
    """
    sizes = sorted(summaries)
    some = reports[sizes[0]]
    phases = [phase for phase, passes in PASSES_OF.items() if set(passes) <= set(some.passes)]
    costs = {phase: {key: [_cost(reports[size], phase, key) for size in sizes] for key, *_ in COSTS} for phase in phases}
    counts = [_counts(summaries[size]) for size in sizes]
    made = [LaunchCounts(summaries[size], reports[size]) for size in sizes]
    launches = {phase: [each.total(phase) for each in made] for phase in phases}
    shared = {key: [each[key] for each in counts] for key in counts[0]}
    points = [*recorded, *map(_measured_point, measured)]
    return {
        "view": "compare",
        "circuit": circuit_name,
        "sizes": sizes,
        "batchSize": some.batch_size,
        "tolerance": summaries[sizes[0]].padding_tolerance,
        "device": some.device.name,
        "modelLabel": f"model ({some.launch_kind}), {some.device.name}",
        "rows": [dict(zip(("key", "name", "unit", "kind"), row)) for row in (*COSTS, *COUNTS)],
        "values": {phase: {**costs[phase], "launches": launches[phase], **shared} for phase in phases},
        "seen": _seen([point for point in points if point["batch_size"] == some.batch_size], sizes),
    }


def _cost(report: TrafficReport, phase: str, key: str):
    return sum(getattr(report.of_pass(name), key) for name in PASSES_OF[phase])


def _counts(summary: PlanSummary) -> dict:
    edges = {name: summary.total(f"{name}_edges") for name in ("absent", "pseudo", "missing")}
    cells = summary.total("stored_edges") + summary.total("pseudo_edges")
    return {"groups": summary.num_groups, "cells": cells, "padding_share": summary.padding_share, **edges}


def _seen(points: list[Mapping], sizes: list[int]) -> list[dict]:
    """A section per recording and per measuring device: {name, values: {pass: {quantity: a value per size}}}."""
    found: dict[str, dict] = {}
    for point in points:
        name = f"{point['label']}: {SCOPES[point['scope']]}"
        section = found.setdefault(name, {"name": name, "rows": [dict(zip(("key", "name", "unit"), row)) for row in SEEN], "values": {}})
        of_pass = section["values"].setdefault(point["phase"], {})
        for key, *_ in SEEN:
            if point.get(key) is not None and point["block_size"] in sizes:
                of_pass.setdefault(key, [None] * len(sizes))[sizes.index(point["block_size"])] = point[key]
    for section in found.values():
        _add_both(section["values"])
    return list(found.values())


def _add_both(values: dict) -> None:
    """Where both passes were recorded apart, their sum is that of both."""
    if "both" in values or not {"forward", "backward"} <= values.keys():
        return
    forward, backward = values["forward"], values["backward"]
    pairs = {key: zip(forward[key], backward[key], strict=True) for key in forward.keys() & backward.keys()}
    values["both"] = {key: [None if None in pair else sum(pair) for pair in of] for key, of in pairs.items()}


def _measured_point(measurement) -> dict:
    """A Measurement as a point; a newer one of the same size takes the older one's place, those of a busy machine stand apart."""
    label = f"measured, {measurement.device_name}, {measurement.date}{', while the machine was busy' * measurement.busy}"
    same = {"label": label, "scope": "pass", "batch_size": measurement.batch_size, "block_size": measurement.block_size}
    return same | {"phase": MEASURED_PHASES[measurement.phase], "time_ms": measurement.median_ms}
