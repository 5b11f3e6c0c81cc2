"""The Tiles view: every tile that the launches of a layer may have, with the model's traffic and time, and why others are not possible."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from pcviz_kernels.tiles import REGISTERS, SHARED_BYTES, SIDES, resources, why_not, with_sides

from ...compiler.plan import LayerSummary, PlanSummary
from ...tracing import element_flows_launch, forward_launch, param_flows_launch
from ...traffic import TrafficReport, launch_traffic
from ...triton_trace import matrix_launch
from .common import PHASE_NAMES
from .memory import roofline

MAX_LAUNCHES = 24  # of a layer, those with most time first
LAUNCHES = {"forward": forward_launch, "element_flows": element_flows_launch, "param_flows": param_flows_launch}
OWNED = {"forward": ("tile_m", "tile_b"), "element_flows": ("tile_k", "tile_b"), "param_flows": ("tile_m", "tile_k")}
METRICS = ("time_ms", "l2_bytes", "hbm_bytes", "programs", "steps", "waves", "bound", "accumulators", "in_flight_bytes")
NO_TILES = "Tiles belong to the GPU's kernels; the torch engine of this CPU has none. Choose the H100 as device to see them modelled."

sided = lru_cache(maxsize=32768)(with_sides)  # launches of one shape have the same hundreds


def scene_tiles(summary: PlanSummary, report: TrafficReport, layer: int) -> dict:
    """Scene of one layer at one block size; every tile of pcviz_kernels.tiles.SIDES is in it, with its figures or the reason against it."""
    head = {"view": "tiles", "layer": layer, "blockSize": summary.block_size, "batchSize": report.batch_size}
    if report.device.kind == "cpu":
        return {**head, "why": NO_TILES, "launches": []}
    records = sorted((record for record in report.records if record.layer == layer and record.launch.multiplies), key=lambda record: -record.time_ms)
    shown = sorted(records[:MAX_LAUNCHES], key=lambda record: (list(LAUNCHES).index(record.phase), record.group))
    bounds: list[str] = []
    one = next(each for each in summary.layers if each.index == layer)
    caption = f"Model, {report.launch_kind}es, {report.device.name}: what the launch of a tile would move, and the time that the slowest roof allows."
    if len(records) > len(shown):
        caption += f" The {len(shown)} of {len(records)} launches with most time are listed."
    return {
        **head, "why": "", "sides": {name: list(values) for name, values in SIDES.items()}, "metrics": list(METRICS), "numSMs": report.device.num_sms,
        "registers": REGISTERS, "sharedBytes": SHARED_BYTES, "launches": [_launch(one, record, bounds) for record in shown], "bounds": bounds,
        "caption": caption, "roofline": roofline(report.device, report.precision),
    }  # fmt: skip


def _launch(layer: LayerSummary, record, bounds: list[str]) -> dict:
    """``tiles``: the possible ones as [tile_m, tile_k, tile_b], a row of ``table`` each; ``why``: number of the reason (from 1) against
    each tile of SIDES, 0 where it is possible."""
    launch, tiles, rows = record.launch, [], []
    reasons, why = [], []
    rule = [launch.config.tile_m, launch.config.tile_k, launch.config.tile_b]
    for m in SIDES["tile_m"]:
        for k in SIDES["tile_k"]:
            for b in SIDES["tile_b"]:
                config = sided(launch.phase, launch.sum_block, launch.child_block, m, k, b)
                config = launch.config if [m, k, b] == rule else config
                reason = why_not(config, launch.phase, launch.sum_block, launch.child_block)
                if reason and reason not in reasons:
                    reasons.append(reason)
                why.append(1 + reasons.index(reason) if reason else 0)
                if not reason:
                    tiles.append([m, k, b])
                    rows.append(_figures(layer, record, config, bounds))
    group = "child blocks" if launch.phase == "element_flows" else "sum blocks"
    return {
        "title": f"{PHASE_NAMES[launch.phase]}, launch {launch.group + 1}", "phase": launch.phase, "group": launch.group,
        "owned": list(OWNED[launch.phase]), "rule": rule, "flops": launch.flops,
        "shape": f"{launch.num_blocks:,} {group} × {launch.fan_in:,}, blocks of {launch.sum_block} sums × {launch.child_block} children",
        "tiles": tiles, "table": np.array(rows, "<f4").tobytes(), "why": bytes(why), "reasons": reasons,
    }  # fmt: skip


def _figures(layer: LayerSummary, record, config, bounds: list[str]) -> list[float]:
    place = layer, record.group, record.launch.batch_size, config
    launch = matrix_launch(layer, record.phase, *place[1:]) if record.launch.kernel else LAUNCHES[record.phase](*place)
    got, need = launch_traffic(launch, record.device, record.precision), resources(config, record.phase)
    if got.bound not in bounds:
        bounds.append(got.bound)
    return [got.time_ms, got.l2_bytes, got.hbm_bytes, launch.programs, launch.steps, got.waves, bounds.index(got.bound), need.accumulators,
            need.in_flight_bytes]  # fmt: skip
