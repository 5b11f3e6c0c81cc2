"""The Table view: everything of one block size in numbers, a row per layer or per launch of the sum kernels.

Columns carry their unit; the page sorts, filters and saves them as CSV. Times and bytes are modelled unless a column says else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ...compiler.plan import LayerSummary, PlanSummary
from ...traffic import TrafficRecord, TrafficReport
from .common import LEVELS, PASSES_OF, PHASE_NAMES, count, rounded
from .launch_counts import LaunchCounts

MAX_LAYERS, MAX_LAUNCHES = 1000, 600
COSTS = (
    ("flops", "FLOPs", "flop"),
    *((key, LEVELS[key], "bytes") for key in ("l1_bytes", "l2_bytes", "hbm_bytes")),
    ("time_ms", "time, model", "ms"),
)
# key, title, unit, explanation
LAYER_COLUMNS = (
    ("layer", "layer", "", "1 is next to the inputs"),
    ("sums", "sums", "count", "sum nodes"),
    ("products", "products", "count", "product nodes that these sums read"),
    ("edges", "edges", "count", "of the circuit"),
    ("absent", "absent", "count", "cells of stored blocks that are no edge of the circuit"),
    ("missing", "missing", "count", "cells of stored blocks past the end of a vector"),
    ("pseudo", "pseudo", "count", "cells of blocks that even out a group"),
    ("block", "block", "", "sums x products of a block"),
    ("blocks", "blocks", "count", "stored blocks"),
    ("groups", "groups", "count", "a launch of the sum kernel each"),
    ("launches", "launches", "count", "all of this pass: sums, products, guards and others; in the total also those of no layer"),
)
LAUNCH_COLUMNS = (
    ("launch", "layer.launch", "", "layer and number of the launch in it"),
    ("phase", "phase", "", "forward, element flows, parameter flows or EM"),
    ("block", "block", "", "sums x products of a block"),
    ("rows", "blocks", "count", "sum blocks G; of element flows child blocks C"),
    ("fan_in", "each reads", "count", "child blocks E of a sum block, with pseudo blocks; of element flows its parents R"),
    ("stored", "stored", "count", "stored blocks"),
    ("pseudo", "pseudo", "count", "pseudo blocks"),
    ("tile", "tile", "", "tile_m x tile_k x tile_b of a program"),
    ("programs", "programs", "count", ""),
    ("waves", "waves", "count", "rounds in which the multiprocessors finish the programs"),
)
# what a narrow stage shows without scrolling; the others follow
LAYERS_FIRST = ("layer", "time_ms", "hbm_bytes", "l2_bytes", "launches", "edges", "absent", "missing", "pseudo")
LAUNCHES_FIRST = ("launch", "phase", "time_ms", "bound", "hbm_bytes", "l2_bytes", "block", "rows", "fan_in")
SCOPES = {"sums": "sum kernels", "layer": "all launches of the layer", "pass": "all launches"}  # what was recorded
LIMITER = ("bound", "limited by", "", "the slowest roof")


def scene_table(summary: PlanSummary, report: TrafficReport, recorded: Iterable[Mapping] = (), measured: Iterable = ()) -> dict:
    """Scene of one block size. ``recorded``: points as the Cost view takes them, those of this size and batch are shown;
    ``measured``: Measurement records of this machine, likewise."""
    points = [point for point in recorded if (point["block_size"], point["batch_size"]) == (summary.block_size, report.batch_size)]
    own = [m for m in measured if (m.block_size, m.batch_size) == (summary.block_size, report.batch_size)]
    labels = sorted({(point["label"], point["scope"]) for point in points})
    extra = [(f"recorded_{i}_ms", f"time, {label}, {SCOPES[scope]}", "ms", label) for i, (label, scope) in enumerate(labels)]
    extra += [("measured_ms", "time, measured", "ms", ", ".join(filter(None, (f"measured, {own[-1].device_name}", own[-1].caution))))] if own else []
    costs = [(key, title, unit, f"model, {report.device.name}") for key, title, unit in COSTS]
    layer_columns, launch_columns = (*LAYER_COLUMNS, *costs, *extra), (*LAUNCH_COLUMNS, *costs, LIMITER)
    of_layers, of_launches = _in_order(LAYERS_FIRST, layer_columns), _in_order(LAUNCHES_FIRST, launch_columns)
    launches = LaunchCounts(summary, report)
    shown, of_layer = summary.layers[-MAX_LAYERS:], {}
    for record in report.records:
        of_layer.setdefault(record.layer, []).append(record)
    slowest = sorted(report.records, key=lambda record: -record.time_ms)[:MAX_LAUNCHES]
    chosen = {id(record) for record in slowest}
    return {
        "view": "table",
        "blockSize": summary.block_size,
        "model": f"model ({report.launch_kind}), {report.device.name}, batch {report.batch_size:,}",
        "layers": {
            "columns": [list(column) for column in of_layers(layer_columns)],
            "rows": {
                name: [
                    of_layers(_layer_row(layer, of_layer.get(layer.index, []), name, labels, points, bool(own), launches.total(name, layer.index)))
                    for layer in shown
                ]
                for name in PASSES_OF
            },
            "total": {name: of_layers(_total(summary, report, name, labels, points, own, launches.total(name))) for name in PASSES_OF},
        },
        "launches": {
            "columns": [list(column) for column in of_launches(launch_columns)],
            "rows": [of_launches(_launch_row(record)) for record in report.records if id(record) in chosen],
        },
        "caption": _caption(len(summary.layers), len(report.records)),
    }


def _in_order(first: tuple[str, ...], columns: tuple) -> Callable[[Sequence], list]:
    """What brings a row of ``columns`` into the order of the page: those of the keys ``first`` in front."""
    order = sorted(range(len(columns)), key=lambda i: (first.index(columns[i][0]) if columns[i][0] in first else len(first), i))
    return lambda row: [row[i] for i in order]


def _layer_row(
    layer: LayerSummary, records: list[TrafficRecord], name: str, labels: list[tuple], points: list[Mapping], has_measured: bool, launches: int
) -> list:
    records = [record for record in records if record.direction in PASSES_OF[name]]
    blocks = sorted({(group.sum_block, group.child_block) for group in layer.groups}, reverse=True)
    block = ", ".join(f"{m} x {k}" for m, k in blocks) if len(blocks) < 3 else f"{len(blocks)} shapes"
    times = [_recorded(points, *label, layer.index, name) for label in labels]
    return [
        layer.index, layer.num_sums, layer.num_products, layer.edges, layer.absent_edges, layer.missing_edges, layer.pseudo_edges,
        block, layer.stored_blocks, len(layer.groups), launches,
        *_costs(records), *times, *([None] if has_measured else []),
    ]  # fmt: skip


def _total(
    summary: PlanSummary, report: TrafficReport, name: str, labels: list[tuple], points: list[Mapping], measured: list, launches: int
) -> list:
    records = [record for record in report.records if record.direction in PASSES_OF[name]]
    names = ("num_sums", "num_products", "edges", "absent_edges", "missing_edges", "pseudo_edges")
    own = [m.median_ms for m in measured if m.phase == name]
    return [
        "all", *(summary.total(each) for each in names), "", summary.total("stored_blocks"), summary.num_groups, launches,
        *_costs(records), *(_recorded(points, *label, None, name) for label in labels), *([rounded(own[-1]) if own else None] if measured else []),
    ]  # fmt: skip


def _launch_row(record: TrafficRecord) -> list:
    launch = record.launch
    return [
        f"{record.layer}.{record.group + 1}", PHASE_NAMES[record.phase], f"{launch.sum_block} x {launch.child_block}",
        launch.num_blocks, launch.fan_in, launch.stored_blocks, launch.num_blocks * launch.fan_in - launch.stored_blocks,
        " x ".join(map(str, launch.tile_sides)),
        launch.programs, record.waves, *_costs([record]), record.bound,
    ]  # fmt: skip


def _costs(records: list[TrafficRecord]) -> list:
    """Whole operations and bytes, milliseconds; None where nothing runs."""
    if not records:
        return [None] * len(COSTS)
    sums = [sum(getattr(record, key) for record in records) for key, _, _ in COSTS]
    return [*sums[:-1], rounded(sums[-1], 6)]


def _recorded(points: list[Mapping], label: str, scope: str, layer: int | None, name: str) -> float | None:
    """Milliseconds of a layer, or with None of the circuit."""
    wanted = (label, scope, layer)
    mine = {point["phase"]: point["time_ms"] for point in points if (point["label"], point["scope"], point["layer"]) == wanted}
    times = [mine.get(phase) for phase in (PASSES_OF["both"] if name == "both" and "both" not in mine else [name])]
    return None if None in times else rounded(sum(times), 6)


def _caption(num_layers: int, num_launches: int) -> str:
    parts = ["FLOPs, bytes and time are those of the sum kernels."]
    if num_layers > MAX_LAYERS:
        parts.append(f"The last {MAX_LAYERS} of {count(num_layers)} layers are listed.")
    if num_launches > MAX_LAUNCHES:
        parts.append(f"The {MAX_LAUNCHES} slowest of {count(num_launches)} launches are listed.")
    return " ".join(parts)
