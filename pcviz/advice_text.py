"""Words of a recommendation: why a choice is good or bad, and the tables."""

from __future__ import annotations

import math
from html import escape

from .footprint import readable_bytes
from .text_tables import html_table, text_table
from .traffic_text import milliseconds

HEADINGS = ("", "block size", "variant", "model", "corrected", "measured", "memory", "parameters", "padding", "launches", "model / recorded", "why")
MUCH_PADDING, MANY_SMALL = 0.05, 0.5  # shares that are worth a word
ALIKE = 0.01  # what differs by less is called the same


def reason(choice, best, choices) -> str:
    """A sentence: how the choice compares, and what is behind it."""
    if not math.isfinite(choice.decides_ms):
        return "does not fit into the memory of this machine"
    return "; ".join([_comparison(choice, best, choices), ", ".join(_causes(choice)), *_of_measuring(choice.measured)])


def _of_measuring(measured) -> list[str]:
    """What has to be said of a Measurement, or of None."""
    if measured is None:
        return []
    return ["one run"] * (measured.repeats == 1) + [measured.caution] * measured.busy


def _comparison(choice, best, choices) -> str:
    fastest = min(choices, key=lambda each: each.decides_ms)
    if choice is fastest and choice is best:
        return "fastest"
    if choice.on_front:
        other = fastest if choice is best else best
    else:
        other = min((each for each in choices if each.beats(choice)), key=lambda each: each.decides_ms)
    what = f"{other.variant} at the same block size" if other.block_size == choice.block_size else f"block size {other.block_size}"
    return f"{_times(choice, other)} {what}, {_memory(choice, other)}"


def _times(choice, other) -> str:
    ratio = choice.decides_ms / other.decides_ms
    if abs(ratio - 1) < ALIKE:
        return "as fast as"
    if ratio < 1.2:
        return f"{100 * abs(ratio - 1):.0f}% {'slower' if ratio > 1 else 'faster'} than"
    return f"{ratio:.2g}x the time of"


def _memory(choice, other) -> str:
    ratio = choice.memory.total / other.memory.total
    return "the same memory" if abs(ratio - 1) < ALIKE else f"{100 * abs(ratio - 1):.0f}% {'more' if ratio > 1 else 'less'} memory"


def _causes(choice) -> list[str]:
    when = "throughout" if choice.bound_share > 0.995 else f"in {100 * choice.bound_share:.0f}% of the time"
    if choice.bound == "launch":
        causes = [f"the launches themselves set the pace {when}"]
    else:
        causes = [f"{choice.bound} {'set' if choice.bound.endswith('s') else 'sets'} the pace {when}"]
    if choice.decides_ms != choice.time_ms:
        causes[0] = f"by the model {causes[0]}"
    if choice.small_tiles_share > MANY_SMALL and choice.bound != "launch":
        causes.append("tiles below 16 leave tensor cores idle")
    if choice.padding_share > MUCH_PADDING:
        causes.append(f"{100 * choice.padding_share:.0f}% of the cells are padding")
    return causes


def headline(found) -> str:
    sums, samples = (f"{number:,} {one}{'' if number == 1 else 's'}" for number, one in ((found.sums, "sum"), (found.batch_size, "sample")))
    return (
        f"{sums}, {found.edges:,} edges; {samples} on {found.device}, padding tolerance {found.padding_tolerance:g}. "
        f"Model: time of {found.modelled}, forward and backward; memory of a training step. "
        ">: take this one; *: no other is both faster and smaller."
    )


def notes(found) -> list[str]:
    """What is known of the model's error."""
    ratios = [choice.model_ratio for choice in found.choices if choice.model_ratio is not None]
    if ratios:
        spread = f"{min(ratios):.2g} to {max(ratios):.2g}" if len(ratios) > 1 else f"{ratios[0]:.2g}"
        what = "the model's time of the figure-5 layer's sum kernels over that of pcviz's on an H100"
        lines = [
            f"Model / recorded: {what}, {spread} here (1: agreement; -: nothing recorded).",
            "Corrected: with sum kernels as far from their roofs as those, at the nearest recorded block size; choices are compared by it.",
        ]
    else:
        lines = [f"Nothing is recorded of these block sizes on {found.device}."]
    measured = any(choice.measured_ms is not None for choice in found.choices)
    if measured:
        runs = [choice.measured for choice in found.choices if choice.measured is not None]
        lines.append(f"Measured: forward and backward pass, all layers, {runs[0].device_name}, {runs[0].date}; choices are compared by it.")
        if any(run.busy for run in runs):
            lines.append("Other programs took the machine meanwhile: times are too long, and their order may be wrong. Measure again when idle.")
    else:
        lines.append("To measure all of it on this machine, give data: pcv.recommend(root, x=x, ...).")
    if found.kind == "cpu" and not measured:
        more = "so the largest block size whose time is within 25% of the least is taken"
        lines.append(f"On a CPU the model knows arithmetic and memory, not what a call costs: small blocks are slower than it says, {more}.")
    pieces = {choice.memory.micro_batch for choice in found.choices}
    if min(pieces) < found.batch_size:
        most = f"{max(pieces):,}" if len(pieces) == 1 else f"{min(pieces):,} to {max(pieces):,}"
        lines.append(f"{most} samples run at a time: memory is that of as many, time that of all {found.batch_size:,}.")
    return lines + [_recorded(choice) for choice in found.choices if choice.recorded is not None]


def _recorded(choice) -> str:
    row = choice.recorded
    return (
        f"This circuit at block size {choice.block_size}, {row.provenance.label}: forward and backward {row.forward_backward_ms:.2f} ms "
        f"(model: {choice.time_ms:.2f}, corrected: {choice.corrected_ms:.2f}), step {row.step_ms:.2f} ms, peak {row.peak_gib:.2f} GiB "
        f"(model: {choice.memory.total / 2**30:.2f})."
    )


def _cells(choice) -> tuple[str, ...]:
    return (
        ">" if choice.is_best else "*" if choice.on_front else "",
        str(choice.block_size),
        choice.variant,
        _milliseconds(choice.time_ms),
        _milliseconds(choice.corrected_ms),
        _milliseconds(choice.measured_ms),
        readable_bytes(choice.memory.total),
        readable_bytes(choice.memory.parameters),
        f"{100 * choice.padding_share:.0f}%",
        f"{choice.launches:,}",
        "-" if choice.model_ratio is None else f"{choice.model_ratio:.2f}",
        choice.reason,
    )


def _milliseconds(value: float | None) -> str:
    return milliseconds(value) if value is None or math.isfinite(value) else "too large"


def _rows(found) -> list[tuple[str, ...]]:
    """Headings and cells; without what was measured or corrected, where nothing was."""
    rows = [HEADINGS, *map(_cells, found.choices)]
    known = {
        "measured": any(choice.measured_ms is not None for choice in found.choices),
        "corrected": any(choice.corrected_ms != choice.time_ms for choice in found.choices),
        "model / recorded": any(choice.model_ratio is not None for choice in found.choices),
    }
    shown = [i for i, heading in enumerate(HEADINGS) if known.get(heading, True)]
    return [tuple(row[i] for i in shown) for row in rows]


def text(found) -> str:
    rows = _rows(found)
    return "\n".join([headline(found), text_table(rows, left=[len(rows[0]) - 1]), *notes(found)])


def table(found) -> str:
    """The same as HTML."""
    rows = _rows(found)
    below = "".join(f"<p>{escape(note)}</p>" for note in notes(found))
    return f"<p>{escape(headline(found))}</p>{html_table(rows, left=[len(rows[0]) - 1])}{below}"
