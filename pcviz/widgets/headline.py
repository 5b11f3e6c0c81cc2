"""The headline strip: what one block size costs, in numbers that each say where they come from."""

from __future__ import annotations

from ..traffic_text import sum_formulas
from .scenes.common import PASSES_OF
from .scenes.launch_counts import LaunchCounts

FIGURES = ("time_ms", "l2_bytes", "hbm_bytes")


def scene_headline(summary, report=None, recorded: dict | None = None, measured=None, cpu: bool = False) -> dict:
    """Numbers of one block size. ``recorded``: {phase: row} of a recorded run at this size, which goes before the model;
    ``measured``: a Measurement of this size on this machine (forward), which goes before both when the device is this CPU."""
    phases = {phase: _recorded_figures(recorded[phase]) if recorded else _model_figures(report, phase, cpu) for phase in ("forward", "backward")}
    if measured is not None and cpu:
        phases["forward"]["time_ms"] = measured.median_ms
        phases["forward"]["kinds"]["time"] = "measured, machine busy" if measured.busy else f"measured ({measured.repeats} runs)"
        phases["forward"].setdefault("formulas", {})["time"] = measured.caution
    phases["both"] = _both(phases["forward"], phases["backward"])
    for name in ("em", "step") if report is not None and "em" in report.passes else ():  # modelled as a whole: no recorded layer has EM
        phases[name] = _model_figures(report, name, cpu)
    launches = LaunchCounts(summary, report)
    for phase, figures in phases.items():
        figures.update(padding_share=summary.padding_share, launches=launches.total(phase))
        figures["kinds"] = {**figures["kinds"], "padding": "of the cells", "launches": launches.kind}
        figures["formulas"] = {**figures.get("formulas", {}), "launches": launches.text(phase)}
    counts = {name: summary.total(f"{name}_edges") for name in ("pseudo", "absent", "missing")}
    counts.update(edges=summary.total("edges"), groups=summary.num_groups, launches=launches.total("forward"))
    return {"block_size": summary.block_size, "counts": counts, "phases": phases}


def _model_figures(report, phase: str, cpu: bool) -> dict:
    if report is None:
        return dict.fromkeys(FIGURES) | {"kinds": {}}
    passes = [report.of_pass(name) for name in PASSES_OF[phase]]
    time_ms, l2_bytes, hbm_bytes = (sum(getattr(each, key) for each in passes) for key in ("time_ms", "l2_to_l1_bytes", "hbm_bytes"))
    kind = "model, this CPU" if cpu else f"model, {report.device.name}"
    texts = sum_formulas([record for record in report.records if record.direction in PASSES_OF[phase]]) if report.records else {}
    formulas = {name: texts[key] for name, key in (("time", "time_ms"), ("hbm", "hbm_bytes")) if key in texts}
    return _figures(time_ms, l2_bytes, hbm_bytes, kind, "model") | {"formulas": formulas}


def _recorded_figures(row) -> dict:
    engine = engine_name(row).split()[0]  # whose kernels: the other views show the model of ours
    kind = f"{engine} recorded, {short_gpu(row.provenance.gpu)}, {row.provenance.date}"
    return _figures(row.time_ms, row.l2_to_l1_bytes, row.hbm_bytes, kind, f"{engine} recorded")


def _figures(time_ms, l2_bytes, hbm_bytes, kind: str, short_kind: str) -> dict:
    return {"time_ms": time_ms, "l2_bytes": l2_bytes, "hbm_bytes": hbm_bytes, "kinds": {"time": kind, "l2": short_kind, "hbm": short_kind}}


def _both(forward: dict, backward: dict) -> dict:
    def add(name: str):
        return None if forward[name] is None or backward[name] is None else forward[name] + backward[name]

    kinds = dict(forward["kinds"])
    if forward["kinds"].get("time") != backward["kinds"].get("time"):
        kinds["time"] = "forward measured, backward model"
    return {name: add(name) for name in FIGURES} | {"kinds": kinds}


def short_gpu(name: str) -> str:
    """'H100' from 'NVIDIA H100 80GB HBM3'"""
    words = [word for word in name.split() if word not in ("NVIDIA", "AMD", "Tesla", "GeForce")]
    return words[0] if words else name


def engine_name(row) -> str:
    return row.provenance.engine.replace("pyjuice", "PyJuice")


def recorded_label(row) -> str:
    return f"recorded, {engine_name(row)}, {short_gpu(row.provenance.gpu)}, {row.provenance.date}"


def recorded_points(rows, layer: int = 1) -> list[dict]:
    """Rows of a recorded sum layer as points of the Cost view; bytes between L1 and L2 count both ways there."""
    return [
        {
            "label": recorded_label(row),
            "own": row.provenance.is_own,
            "phase": row.phase,
            "circuit": row.provenance.circuit,
            "batch_size": row.batch_size,
            "block_size": row.block_size,
            "scope": "sums",
            "layer": layer,
            "time_ms": row.time_ms,
            "l2_bytes": row.l2_to_l1_bytes + row.l1_to_l2_bytes,
            "l2_to_l1_bytes": row.l2_to_l1_bytes,
            "hbm_bytes": row.hbm_bytes,
            "l1_bytes": row.l1_bytes,
        }
        for row in rows
    ]


def step_points(rows) -> list[dict]:
    """Recorded passes of a whole circuit as points of the Cost view. A PyJuice row without a block size of its own stands at pcviz's."""
    sizes = [row.block_size for row in rows if row.block_size]
    points = []
    for row in rows:
        same = {"label": recorded_label(row), "own": row.provenance.is_own, "circuit": row.circuit, "batch_size": row.batch_size}
        same |= {"scope": "pass", "layer": None, "block_size": row.block_size or sizes[0]}
        times = {"forward": row.forward_ms, "both": row.forward_backward_ms, "step": row.step_ms}
        points += [{**same, "phase": phase, "time_ms": ms} for phase, ms in times.items()]
    return points


def layer_points(rows, layer: int = 1) -> list[dict]:
    """Recorded times of all launches of one layer as points of the Cost view."""
    points = []
    for row in rows:
        same = {"label": recorded_label(row), "own": row.provenance.is_own, "circuit": row.provenance.circuit, "batch_size": row.batch_size}
        same |= {"scope": "layer", "layer": layer, "block_size": row.block_size}
        points += [{**same, "phase": phase, "time_ms": ms} for phase, ms in (("forward", row.forward_ms), ("backward", row.backward_ms))]
    return points
