"""The Memory view: bytes on the links between multiprocessors, caches and memory, and a roofline with one point per launch.

The axes of the roofline come from the device alone, so a smaller block size or a better tile moves the point and not the axes.
Roofline: Williams, Waterman and Patterson, CACM 52(4), 2009; one roof per level of memory: Ilic et al., IEEE CAL 13(1), 2014.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log10

from ...devices import DeviceSpec
from ...traffic import ModelError, TrafficReport
from .common import LEVELS, PHASE_NAMES, count, rounded

MAX_POINTS = 256  # launches of one block size that are drawn, those with most time first
MAX_LAYERS = 128  # layers with sums of their own
PHASES = tuple(PHASE_NAMES)
COLUMNS = ("phase", "layer", "launch", "time_ms", "flops", "hbm_bytes", "l2_bytes", "l1_bytes", "programs", "waves", "bound", "terms")
SUMS = ("time_ms", "flops", "l1_bytes", "l2_bytes", "l2_to_l1_bytes", "l1_to_l2_bytes", "hbm_bytes", "hbm_read_bytes", "hbm_write_bytes")
BELOW, ABOVE = 32.0, 128.0  # how far the axis of intensity goes on beyond the outermost ridges
DECADES = 5.5  # below the highest peak


def scene_memory(circuit_name: str, reports: Mapping[int, TrafficReport], errors: Iterable[ModelError] = (), recorded: str = "") -> dict:
    """Scene of all block sizes. ``reports``: a TrafficReport per block size, all of one device; ``errors``: model over recorded figures
    of the same implementation on the same GPU, whose label is ``recorded``."""
    some = next(iter(reports.values()))
    device, sizes = some.device, sorted(reports)
    layers = sorted({record.layer for record in some.records})[-MAX_LAYERS:]
    names = (name for report in reports.values() for record in report.records for name, _ in record.terms_ms)
    terms = list(dict.fromkeys(_limit(device, name) for name in names))  # a launch has one of the arithmetic units
    return {
        "view": "memory", "circuit": circuit_name, "sizes": sizes, "layers": layers, "batchSize": some.batch_size, "precision": some.precision,
        "modelLabel": f"model ({some.launch_kind}), {device.name}", "device": _device(device),
        **roofline(device, some.precision), "columns": list(COLUMNS), "phases": list(PHASES), "terms": terms,
        "points": {str(size): _points(reports[size], terms) for size in sizes},
        "hidden": {str(size): max(0, len(reports[size].records) - MAX_POINTS) for size in sizes},
        "totals": {str(size): _totals(reports[size], layers) for size in sizes},
        "errors": _errors(errors), "recorded": recorded, "caption": _caption(some, layers),
    }  # fmt: skip


def roofline(device: DeviceSpec, precision: str) -> dict:
    """What a roofline is drawn from: the device's links and peaks, and axes that are its own."""
    return {"links": _links(device), "peaks": _peaks(device, precision), "axes": roofline_axes(device, precision)}


def roofline_axes(device: DeviceSpec, precision: str) -> dict[str, list[float]]:
    """log10 ranges of FLOP per byte and of TFLOP/s that show every ridge of the device, whatever runs on it."""
    peaks = [peak["tflops"] for peak in _peaks(device, precision)]
    roofs = [link["tbPerS"] for link in _links(device) if link["tbPerS"]]
    x = [log10(min(peaks) / max(roofs) / BELOW), log10(max(peaks) / min(roofs) * ABOVE)]
    top = log10(max(peaks)) + 0.4
    return {"x": [round(v, 4) for v in x], "y": [round(top - DECADES, 4), round(top, 4)]}


def _device(device: DeviceSpec) -> dict:
    return {"name": device.name, "kind": device.kind, "units": device.num_sms, "cacheBytes": device.l2_cache_bytes, "source": device.source,
            "date": device.date, "overheadUs": device.launch_overhead_us}  # fmt: skip


def _links(device: DeviceSpec) -> list[dict]:
    """From the multiprocessors to the memory; ``name`` is the roof's, ``bytes`` that of what passes. A CPU has one roof that was measured,
    its memory's; its caches are one link without."""
    if device.kind == "cpu":
        threads = "1 thread" if device.num_sms == 1 else f"{device.num_sms} threads"
        links = [
            {"key": "l2_bytes", "name": "caches", "from": threads, "to": "last-level cache", "tbPerS": None},
            {"key": "hbm_bytes", "name": "memory", "from": "last-level cache", "to": "main memory", "tbPerS": rounded(device.hbm_tb_per_s)},
        ]
        return [{**link, "bytes": link["name"]} for link in links]
    links = [
        {"key": "l1_bytes", "name": "L1", "from": f"{device.num_sms} SMs", "to": "L1", "tbPerS": device.l1_tb_per_s},
        {"key": "l2_bytes", "name": "L2", "from": "L1", "to": "L2", "tbPerS": device.l2_tb_per_s},
        {"key": "hbm_bytes", "name": "HBM", "from": "L2", "to": "HBM", "tbPerS": device.hbm_tb_per_s},
    ]
    return [{**link, "bytes": LEVELS[link["key"]]} for link in links]


def _peaks(device: DeviceSpec, precision: str) -> list[dict]:
    tensor = device.tensor_tflops(precision)
    cores = [{"name": f"tensor cores, {precision}", "tflops": tensor}] if tensor else []
    return [*cores, {"name": "CUDA cores, fp32" if device.kind == "gpu" else "arithmetic, fp32", "tflops": rounded(device.fp32_tflops)}]


def _points(report: TrafficReport, terms: list[str]) -> list[list]:
    """One row of COLUMNS per launch, the slowest first; the last holds the milliseconds of each of ``terms``, None where a launch has no such."""
    slowest = sorted(report.records, key=lambda record: -record.time_ms)[:MAX_POINTS]
    return [
        [PHASES.index(r.phase), r.layer, r.group + 1, rounded(r.time_ms), r.flops, r.hbm_bytes, r.l2_bytes, r.l1_bytes, r.programs, r.waves,
         _limit(r.device, r.bound), [rounded(own.get(name), 3) for name in terms]]
        for r in slowest for own in [{_limit(r.device, name): ms for name, ms in r.terms_ms}]
    ]  # fmt: skip


def _totals(report: TrafficReport, layers: list[int]) -> dict[str, dict]:
    """"all" or layer -> "forward" | "backward" | "em" -> sums, and the time for which each limiter decides."""
    found: dict[str, dict] = {"all": {}, **{str(layer): {} for layer in layers}}
    for record in report.records:
        phase = record.direction
        for key in ("all", str(record.layer)):
            if key in found:
                sums = found[key].setdefault(phase, {**dict.fromkeys(SUMS, 0), "launches": 0, "bounds": {}})
                for name in SUMS:
                    sums[name] += getattr(record, name)
                sums["launches"] += 1
                bound = _limit(record.device, record.bound)
                sums["bounds"][bound] = sums["bounds"].get(bound, 0.0) + record.time_ms
    for sums in (sums for phases in found.values() for sums in phases.values()):
        sums["time_ms"] = rounded(sums["time_ms"])
        sums["bounds"] = {name: rounded(ms, 3) for name, ms in sums["bounds"].items()}
    return found


def _limit(device: DeviceSpec, name: str) -> str:
    """The model calls every memory HBM; a CPU's is called memory."""
    return "memory" if device.kind == "cpu" and name == "HBM" else name


def _errors(errors: Iterable[ModelError]) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for e in errors:
        ratios = {"time_ms": e.time_ratio, "hbm_bytes": e.hbm_ratio, "l2_to_l1_bytes": e.l2_to_l1_ratio, "l1_bytes": e.l1_ratio}
        found.setdefault(str(e.block_size), {})[e.phase] = {key: rounded(ratio, 3) for key, ratio in ratios.items()}
    return found


def _caption(report: TrafficReport, layers: list[int]) -> str:
    device = report.device
    parts = [f"Model, {report.launch_kind}es of the sum layers; roofs of {device.name} measured {device.date}."]
    if device.kind == "cpu":
        parts = [f"Model of planned launches with a GPU kernel's tiles; roofs measured here {device.date}. Measured times of the torch engine: Cost."]
    number = len({record.layer for record in report.records})
    if number > len(layers):
        parts.append(f"Sums of single layers: the last {len(layers)} of {count(number)}.")
    return " ".join(parts)
