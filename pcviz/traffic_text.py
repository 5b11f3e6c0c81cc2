"""Text of the traffic model: formulas with their numbers put in, and the tables of a report."""

from __future__ import annotations

from .devices import PRECISIONS
from .em_trace import EM_OPERATIONS
from .launch_records import Launch
from .text_tables import html_table, text_table
from .traffic import Traffic, TrafficRecord, TrafficReport, add_up, hbm_loads
from .traffic_time import L2_BESIDE_HBM, L2_WAITED_FOR, arithmetic_roof, imbalance, is_level, resident, step_ns

# what a person reads of each level: requests of the multiprocessors; between L1 and L2, both ways; read from L2 alone; read and written
LEVELS = {"l1_bytes": "L1", "l2_bytes": "L1-L2", "l2_to_l1_bytes": "L2 → L1", "hbm_bytes": "HBM"}
HEADINGS = ("pass", "launches", "programs", "time ms", f"{LEVELS['hbm_bytes']} GB", f"{LEVELS['l2_bytes']} GB", "GFLOP", "bound by")
LEFT = (0, len(HEADINGS) - 1)  # columns of texts


def formulas(record: TrafficRecord) -> dict[str, str]:
    """One line per number of ``record``."""
    launch, spec = record.launch, record.device
    size = PRECISIONS[record.precision]
    loads = [f"{o.name} {o.formula} x {o.width(size)} B" for o in launch.operands if o.loads]
    stores = [f"{o.name} {o.stores:,} x {o.width(size)} B" for o in launch.operands if o.stores]
    stored = f"stores ({' + '.join(stores)})"
    moved = f"loads ({' + '.join(loads)}) + {stored} = {quantity(record.l1_bytes, 'B')}"
    return {
        "programs": f"{launch.grid[0]:,} x {launch.grid[1]:,} = {launch.programs:,} programs of {launch.steps:,} steps",
        "waves": f"ceil({launch.programs:,} programs / {spec.num_sms} multiprocessors) = {record.waves:,}",
        "l1_bytes": moved,
        "l2_bytes": f"no reuse in L1 assumed: {moved}" if record.l2_bytes == record.l1_bytes else _l2_formula(record, size, stored),
        "hbm_bytes": _hbm_formula(record, size),
        "flops": _flops_formula(launch),
        "time_ms": _time_formula(record),
    }


def _flops_formula(launch) -> str:
    found = quantity(launch.flops, "FLOP")
    if launch.phase == "em":
        return f"{EM_OPERATIONS} x {launch.flops // EM_OPERATIONS:,} parameters = {found}"
    return f"2 x {launch.cells:,} cells x {launch.batch_size:,} samples = {found}"


def _l2_formula(record: TrafficRecord, size: int, stored: str) -> str:
    """Where L1 keeps some of what is loaded again, or a sector is more than what is asked for."""
    parts = []
    for operand in record.launch.operands:
        passed = operand.from_l2(record.launch.grid[0], record.device.num_sms)
        if operand.loads:
            parts.append(f"{operand.name} {passed:,} x {operand.width(size)} B" + (f" (of {operand.loads:,})" if passed != operand.loads else ""))
    return f"from L2 ({' + '.join(parts)}) + {stored} = {quantity(record.l2_bytes, 'B')}"


def _hbm_formula(record: TrafficRecord, size: int) -> str:
    parts = []
    for operand in record.launch.operands:
        width = operand.width(size)
        read = hbm_loads(operand, record.device, size)
        if read:
            again = f" (re-read: {quantity(operand.span_bytes(size), 'B')} between two loads exceed L2)" if read > operand.unique else ""
            parts.append(f"{operand.name} read {read:,} x {width} B{again}")
        if operand.stores:
            parts.append(f"{operand.name} written {min(operand.stores, operand.unique):,} x {width} B")
    return f"{' + '.join(parts)} = {quantity(record.hbm_bytes, 'B')}"


def _time_formula(record: TrafficRecord) -> str:
    launch, spec = record.launch, record.device
    unit, tflops = arithmetic_roof(launch, spec, record.precision)
    rates = {
        "HBM": f"{quantity(record.hbm_bytes, 'B')} / {spec.hbm_tb_per_s:.3g} TB/s",
        "L2": f"{quantity(record.l2_bytes, 'B')} / {spec.l2_tb_per_s} TB/s",
        "HBM + L2": f"{_both(launch)}, {quantity(record.l2_to_l1_bytes, 'B')} from L2 / {spec.l2_tb_per_s} TB/s",
        "L1": f"{quantity(record.l1_bytes, 'B')} / {spec.l1_tb_per_s} TB/s",
        unit: f"{quantity(launch.tile_flops, 'FLOP')} in whole tiles / {tflops:.4g} TFLOP/s",
        "instructions": f"{launch.total_steps:,} steps x {step_ns(launch, spec):.4g} ns / {spec.num_sms} multiprocessors",
        "latency": f"{launch.programs:,} programs of {launch.steps:,} steps, {spec.num_sms} x {resident(launch)} at a time",
        "HBM + latency": "root of the sum of squares of HBM, instructions and latency",
        "exponentials": f"{quantity(launch.exponentials, ' exponentials')} / {spec.tera_exp_per_s} T/s",
    }
    uneven = imbalance(launch, spec)
    terms = []
    for name, ms in record.terms_ms:
        scale = f" x {uneven:.3g} uneven" if name not in ("HBM", "latency", "HBM + latency") and uneven > 1.005 else ""
        terms.append(f"{name} {rates[name]}{scale} = {milliseconds(ms, 4)}")
    overhead = f" + launch {spec.launch_overhead_us} µs" if spec.launch_overhead_us else ""
    return f"max({'; '.join(terms)}){overhead} = {milliseconds(record.time_ms, 4)}, bound by {record.bound}"


def _both(launch: Launch) -> str:
    """How the two add up in ``traffic_time.time_terms``."""
    if is_level(launch):
        return f"root of the sum of squares of HBM and {L2_BESIDE_HBM} of L2"
    return f"one after the other, {L2_WAITED_FOR} of L2"


def sum_formulas(records) -> dict[str, str]:
    """For each summed number: the number of launches, the sum, and the formula of the launch that contributes most."""
    result = {}
    for name in ("time_ms", "flops", "hbm_bytes", "l2_bytes", "l1_bytes"):
        total = sum(getattr(record, name) for record in records)
        top = max(records, key=lambda record: getattr(record, name))
        share = getattr(top, name) / total if total else 0.0
        found = milliseconds(total, 4) if name == "time_ms" else quantity(total, "FLOP" if name == "flops" else "B")
        where = f"{top.phase.replace('_', ' ')} of layer {top.layer}, group {top.group}"
        result[name] = f"{found} in {len(records)} launches; the largest, {where}, has {share:.0%}: {top.formulas[name]}"
    return result


def quantity(value: float, unit: str) -> str:
    """Four digits with the prefix that leaves few zeros: "0.5123 GB", "85.31 kB"; ``unit``: "B", "FLOP" ...."""
    prefix, scale = next(((prefix, scale) for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if value >= 0.1 * scale), ("", 1))
    return f"{value / scale:,.4g} {prefix}{unit}"


def milliseconds(ms: float | None, digits: int = 3) -> str:
    """"1.34 ms", "860 µs", "2.1 s"; "-" for None."""
    if ms is None:
        return "-"
    if ms >= 1e6:
        return f"{ms / 1000:,.0f} s"
    ms = float(f"{ms:.{digits}g}")  # so that 999.7 ms are 1 s, and not 1e+03 ms
    value, unit = (ms / 1000, "s") if ms >= 1000 else (ms, "ms") if ms >= 1 or ms == 0 else (1000 * ms, "µs")
    return f"{value:.{digits}g} {unit}"


def milliseconds_between(low: float, high: float) -> str:
    """"9 to 31.2 ms", "860 µs to 1.3 ms"; one time if both read the same."""
    (least, unit), (most, its_unit) = (milliseconds(ms).split() for ms in (low, high))
    if unit != its_unit:
        return f"{least} {unit} to {most} {its_unit}"
    return f"{most} {unit}" if least == most else f"{least} to {most} {unit}"


def report_text(report: TrafficReport) -> str:
    """The table of a report, as ``print`` shows it."""
    return f"{_caption(report)}\n{text_table([HEADINGS, *_rows(report)], left=LEFT)}"


def report_html(report: TrafficReport) -> str:
    """The same as HTML."""
    return html_table([HEADINGS, *_rows(report)], left=LEFT, caption=_caption(report))


def _caption(report: TrafficReport) -> str:
    variant = ", naive parallelization" if report.naive else ""
    precision = " and ".join(sorted({record.precision for record in report.records})) or report.precision
    return (
        f"{report.label}{variant}: sum layers at block size {report.block_size}, batch {report.batch_size}, {precision}, "
        f"{report.device.name} (roofs {report.device.date})"
    )


def _rows(report: TrafficReport):
    for name in report.passes:
        records = [record for record in report.records if record.direction == name]
        yield _row(name, add_up(records), records)
    if len(report.passes) > 1:
        yield _row("total", report.total, report.records)


def _row(name: str, sums: Traffic, records) -> tuple[str, ...]:
    share: dict[str, float] = {}
    for record in records:
        share[record.bound] = share.get(record.bound, 0.0) + record.time_ms
    bound = max(share, key=share.get) if share else ""
    return (
        name,
        f"{sums.launches:,}",
        f"{sums.programs:,}",
        f"{sums.time_ms:.4g}",
        f"{sums.hbm_bytes / 1e9:.4g}",
        f"{sums.l2_bytes / 1e9:.4g}",
        f"{sums.flops / 1e9:.4g}",
        f"{bound} ({share[bound] / sums.time_ms:.0%} of the time)" if bound else "",
    )
