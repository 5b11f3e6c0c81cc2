"""The Cost view: time and traffic against block size; modelled, recorded and measured, never mixed up.

A model is compared with measurements of the same GPU and implementation only, so recorded runs of another implementation
are lines of their own and measured times of this machine have a panel of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...compiler.plan import PlanSummary
from ...traffic import TrafficRecord, TrafficReport, estimate
from .common import LEVELS, PASSES_OF, html_table, milliseconds, rounded, si_bytes

QUANTITIES = ("time_ms", "l2_bytes", "hbm_bytes", "l1_bytes")
PHASES = tuple(PASSES_OF)
LOADS = "loads"  # of each input of a sum layer by the forward launches, on average
MAX_LAYERS = 128  # layers with lines of their own
MAX_MEASURED = 200
NAMES = {**LEVELS, "flops": "FLOPs", "time_ms": "time"}  # of formulas


def scene_cost(circuit_name: str, summaries: Mapping[int, PlanSummary], reports: Mapping[int, TrafficReport], recorded=(), measured=()) -> dict:
    """Scene of all block sizes. ``reports``: a TrafficReport per block size (sizes without one are gaps);
    ``recorded``: dictionaries with label, own (of the implementation that is modelled), scope ("sums": sum kernels of the layer, "layer":
    all its launches, "pass": those of the circuit), phase, layer, block_size, batch_size and the quantities; ``measured``: Measurement
    records of this machine."""
    sizes = sorted(summaries)
    some = next(iter(reports.values()), None)
    index = [layer.index for layer in summaries[sizes[0]].layers] if sizes else []
    shown = index[-MAX_LAYERS:]
    device = some.device.name if some is not None else "no estimate"
    records = {size: _of_layers(report) for size, report in reports.items()}
    return {
        "view": "cost",
        "circuit": circuit_name,
        "sizes": sizes,
        "batchSize": getattr(some, "batch_size", None),
        "device": device,
        "modelLabel": f"model ({some.launch_kind if some is not None else 'no estimate'}), {device}",
        "phases": list(PHASES),
        "model": _series(sizes, records, None),
        "layers": {str(layer): _series(sizes, records, layer) for layer in shown},
        "naive": {"label": f"naive parallelization (model), {device}", **_naive(summaries, some, shown)},
        "formulas": _formulas(sizes, reports, shown),
        "whole": _whole(sizes, reports, recorded),
        "recorded": _recorded_lines(recorded),
        "measured": _measured_lines(measured),
        "caption": f"Lines of single layers: the last {MAX_LAYERS} of {len(index)} layers." if len(index) > MAX_LAYERS else "",
    }


def static_cost(scene: dict) -> str:
    """HTML table: one row per block size, forward pass."""
    model, rows = scene["model"]["forward"], []
    measured = {point[0]: point for line in scene["measured"] if line["phase"] == "forward" for point in line["points"]}
    lines = [line for line in scene["recorded"] if line["phase"] == "forward"]
    recorded = [dict(zip(line["sizes"], line["time_ms"], strict=True)) for line in lines]
    for i, size in enumerate(scene["sizes"]):
        loads = "-" if model[LOADS][i] is None else f"{model[LOADS][i]:.3g}"
        row = [size, milliseconds(model["time_ms"][i]), *(si_bytes(model[key][i]) for key in QUANTITIES[1:]), loads]
        row += [milliseconds(times.get(size)) for times in recorded]
        rows.append([*row, _measured_text(measured[size]) if size in measured else "-"])
    names = ["block size", *(NAMES[key] for key in QUANTITIES), "loads per input"]
    head = [*names, *(line["label"] for line in lines), "measured, this machine (p20 to p80)"]
    return html_table(f"{scene['circuit']}: forward pass, {scene['modelLabel']}", head, rows, scene["caption"])


def _measured_text(point: list) -> str:
    _, median, low, high, caution = point
    return f"{milliseconds(median)} ({milliseconds(low)} to {milliseconds(high)}){', ' * bool(caution)}{caution}"


def _of_layers(report: TrafficReport) -> dict[int | None, list[TrafficRecord]]:
    """The records of each layer, and under None those of all."""
    found = {None: list(report.records)}
    for record in report.records:
        found.setdefault(record.layer, []).append(record)
    return found


def _series(sizes: list[int], records: Mapping[int, Mapping[int | None, list[TrafficRecord]]], layer: int | None) -> dict:
    """phase -> quantity -> one value per size; of one layer, or of the whole circuit. Forward also LOADS."""
    series = {phase: {key: [] for key in QUANTITIES} for phase in PHASES}
    mine = {size: records.get(size, {}).get(layer, []) for size in sizes}
    series["forward"][LOADS] = [loads_of_each_input(mine[size]) for size in sizes]
    for size in sizes:
        sums = {phase: dict.fromkeys(QUANTITIES, 0.0) for phase in PHASES}
        seen = set()
        for record in mine[size]:
            for phase in _phases_with(record):
                seen.add(phase)
                for key in QUANTITIES:
                    sums[phase][key] += getattr(record, key)
        for phase in PHASES:
            for key in QUANTITIES:
                series[phase][key].append(rounded(sums[phase][key]) if phase in seen else None)
    return series


def _phases_with(record: TrafficRecord) -> list[str]:
    return [phase for phase, passes in PASSES_OF.items() if record.direction in passes]


def loads_of_each_input(records: Iterable[TrafficRecord]) -> float | None:
    """Loads / distinct values of elements by the forward launches: M / tile_m where all M sums of a layer read the same
    elements (section 4.1); M by the naive parallelization, where each sum loads its own."""
    launches = [record.launch.operand("elements") for record in records if record.phase == "forward"]
    distinct = sum(operand.unique for operand in launches)
    return rounded(sum(operand.loads for operand in launches) / distinct) if distinct else None


def _whole(sizes: list[int], reports: Mapping[int, TrafficReport], recorded: Iterable[Mapping]) -> list[dict]:
    """What recorded times of more than matrix products are compared with: times of all launches of a pass or of one layer, per phase."""
    wanted = {(point["scope"], point["layer"]) for point in recorded if point.get("own") and point.get("scope") in ("pass", "layer")}
    return [{"scope": scope, "layer": layer, **_all_launches(sizes, reports, layer)} for scope, layer in sorted(wanted, key=str)]


def _all_launches(sizes: list[int], reports: Mapping[int, TrafficReport], layer: int | None) -> dict:
    times = {phase: [] for phase in PHASES}
    for size in sizes:
        report = reports.get(size)
        of_pass = dict.fromkeys(PHASES, 0.0)
        for record in (*report.records, *report.around) if report is not None else ():
            if layer in (None, record.layer):
                for phase in _phases_with(record):
                    of_pass[phase] += record.time_ms
        for phase, ms in of_pass.items():
            times[phase].append(rounded(ms) if ms else None)
    return times


def _naive(summaries: Mapping[int, PlanSummary], report: TrafficReport | None, layers: list[int]) -> dict:
    """Section 3's parallelization, one processor per sum and sample: a constant, as blocks do not occur in it. It says nothing of EM."""
    if report is None:
        return {"total": {}, "layers": {}}
    size = min(summaries)
    passes = tuple(name for name in report.passes if name != "em")
    naive = _of_layers(estimate(summaries[size], report.batch_size, report.device, passes, report.precision, naive=True))

    def of(layer: int | None) -> dict:
        series = _series([size], {size: naive}, layer)
        return {phase: {key: values[0] for key, values in series[phase].items()} for phase in PHASES if "em" not in PASSES_OF[phase]}

    return {"total": of(None), "layers": {str(layer): of(layer) for layer in layers}}


def _formulas(sizes: list[int], reports: Mapping[int, TrafficReport], layers: list[int], most: int = 16) -> dict:
    """layer -> size -> formula texts of its slowest forward launch. Deep circuits go without."""
    found: dict[str, dict[str, list[str]]] = {}
    for layer in layers if len(layers) <= most else ():
        for size in sizes:
            records = [r for r in reports[size].records if r.layer == layer and r.phase == "forward"] if size in reports else []
            if records:
                slowest = max(records, key=lambda r: r.time_ms)
                lines = [f"{NAMES.get(name, name)}: {text}" for name, text in slowest.formulas.items() if name != "l1_bytes"]
                found.setdefault(str(layer), {})[str(size)] = lines
    return found


def _recorded_lines(points: Iterable[Mapping]) -> list[dict]:
    lines: dict[tuple, dict] = {}
    for point in sorted(points, key=lambda p: (str(p.get("scope")) != "sums", p["label"], p["phase"], p["block_size"])):
        line = lines.setdefault((point["label"], point.get("scope"), point["phase"]), {
            "label": point["label"], "own": bool(point.get("own")), "scope": point.get("scope"), "phase": point["phase"], "layer": point.get("layer"),
            "batchSize": point.get("batch_size"), "sizes": [],
            **{key: [] for key in QUANTITIES}})  # fmt: skip
        line["sizes"].append(int(point["block_size"]))
        for key in QUANTITIES:
            line[key].append(rounded(point.get(key)))
    return list(lines.values())


def _measured_lines(measurements: Iterable) -> list[dict]:
    """One line per device, phase and batch; a newer measurement of a size replaces the older one."""
    lines: dict[tuple, dict] = {}
    for m in list(measurements)[-MAX_MEASURED:]:
        line = lines.setdefault((m.device_name, m.phase, m.batch_size), {
            "device": str(m.device_name), "phase": m.phase, "batchSize": m.batch_size, "repeats": m.repeats, "date": str(m.date),
            "bySize": {}})  # fmt: skip
        line["bySize"][m.block_size] = [m.block_size, rounded(m.median_ms), rounded(m.p20_ms), rounded(m.p80_ms), m.caution]
    for line in lines.values():
        line["points"] = [line["bySize"][size] for size in sorted(line["bySize"])]
        del line["bySize"]
    return list(lines.values())
