"""recommend: which block size and variant suit a circuit, a device and a batch. A model's answer, with what is recorded beside it.

Time is the roofline of the launches (``pcviz.traffic``: on a GPU of all that impl="triton" runs, elsewhere of the sum layers),
memory the count of ``pcviz.memory_model``. Neither is a measurement, and the first is below what kernels take, by more or less at
this or that block size: so every choice carries the ratio of model to recorded time wherever such a run ships with the package, and choices are
compared by a time that is corrected by it. With data, choices are measured, and compared by what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .advice_text import reason, table, text
from .arguments import checked_integer
from .compiler.arguments import TOLERANCE
from .compiler.compile import circuit_of
from .compiler.counting import plan_summary
from .compiler.layering import layering, legal_sizes
from .compiler.plan import CircuitPlan, PlanSummary
from .console import one_line
from .devices import DeviceSpec, device_spec
from .footprint import MemoryUse
from .ir.counts import CircuitCounts, circuit_counts
from .ir.nodes import Nodes, init_params
from .memory_model import model_memory
from .recorded import ComparedStep, compared_steps, figure_5_rows, own_launches
from .rows import to_frame
from .structures import figure_5_layer
from .traffic import SUM_PHASES, TrafficRecord, estimate, model_error

if TYPE_CHECKING:
    import torch

    from .benchmark import Measurement

PASSES = ("forward", "backward")
TRAINED_VARIANTS = ("scaled", "paper")  # of impl="triton"
NEAR, SMALLER, EQUAL = 1.25, 0.95, 1.01
"""Times within a factor of 1.25 do not decide, as the model is meant to be no closer than that; but memory does, from 5% less on."""
MEASURED_NEAR = 1.1  # the same of measured times
CHECKED = 4  # samples of which float64 knows the likelihoods; a large circuit takes seconds for each
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as the GPU's, Linux's and Windows' allocators say
LONGEST_SECONDS = 20  # a choice whose measurement would take longer is checked like all others and timed in a single run


@dataclass(frozen=True)
class Choice:
    """One block size and variant. ``time_ms``: model, forward and backward pass of the batch. ``memory``: model, of a training step.

    ``bound``: the roof that sets the pace of most of that time, ``bound_share`` of it; ``small_tiles_share``: of the time, in launches
    whose tiles are too small for tensor cores. ``model_ratio``: model / recorded time of the figure-5 layer's sum kernels at this
    block size, by the same engine and device, None where nothing was recorded. ``corrected_ms``: the model with sum kernels that are as
    far from their roofs as those were, at the nearest recorded block size; the model itself where there is none.

    ``recorded``: the training step of this very circuit, or None. ``measured_ms``: forward and backward pass of the given data on this
    machine, inputs and products included, or None (infinite: it found too little memory); ``measured`` has all its runs, and whether
    the machine was busy. ``decides_ms``, by which choices are compared: measured, or else corrected.
    """

    block_size: int
    variant: str
    time_ms: float
    corrected_ms: float
    memory: MemoryUse
    padding_share: float
    launches: int
    bound: str
    bound_share: float
    small_tiles_share: float
    model_ratio: float | None
    recorded: ComparedStep | None
    measured_ms: float | None = None
    measured: Measurement | None = None
    on_front: bool = False
    is_best: bool = False
    reason: str = ""

    @property
    def decides_ms(self) -> float:
        return self.corrected_ms if self.measured_ms is None else self.measured_ms

    def beats(self, other: Choice) -> bool:
        """Not worse in time and memory, and better in one of them."""
        mine, its = (self.decides_ms, self.memory.total), (other.decides_ms, other.memory.total)
        return mine[0] <= its[0] and mine[1] <= its[1] and mine != its

    def row(self) -> dict:
        """Plain numbers and text; what is recorded is named so, the rest is a model or a count."""
        recorded = self.recorded
        return {
            "block_size": self.block_size, "variant": self.variant, "best": self.is_best, "front": self.on_front,
            "model_time_ms": self.time_ms, "corrected_time_ms": self.corrected_ms,
            "model_memory_bytes": self.memory.total, "samples_at_a_time": self.memory.micro_batch, "model_parameter_bytes": self.memory.parameters,
            "padding_share": self.padding_share, "launches": self.launches, "bound": self.bound, "bound_share": self.bound_share,
            "model_over_recorded_time": self.model_ratio, "measured_ms": self.measured_ms,
            "recorded_step_ms": recorded and recorded.step_ms, "recorded_forward_backward_ms": recorded and recorded.forward_backward_ms,
            "recorded_peak_gib": recorded and recorded.peak_gib, "recorded": recorded and recorded.provenance.label, "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, repr=False)
class Recommendation:
    """Choices by block size, then variant. ``best``: the fastest, unless another one that is within 25% of its time (10% if
    measured) needs at least 5% less memory; on a CPU without measurements the largest block size within 25%, as the model does not
    know that calls on small blocks cost more. ``front``: those that no other beats in both time and memory. Print it; ``to_frame()`` needs pandas."""

    device: str
    kind: str  # "gpu" or "cpu"
    batch_size: int
    padding_tolerance: float
    sums: int
    edges: int
    modelled: str  # which launches the model's time is of
    choices: tuple[Choice, ...]

    @property
    def best(self) -> Choice:
        return next(choice for choice in self.choices if choice.is_best)

    @property
    def front(self) -> tuple[Choice, ...]:
        return tuple(choice for choice in self.choices if choice.on_front)

    def rows(self) -> list[dict]:
        return [choice.row() for choice in self.choices]

    def to_frame(self):
        """A pandas DataFrame of ``rows()``; ImportError, with what to install, without pandas."""
        return to_frame(self.rows())

    def __str__(self) -> str:
        return text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table(self)


def recommend(
    root,
    device: DeviceSpec | str = "H100-SXM",
    batch_size: int = 512,
    *,
    padding_tolerance: float = TOLERANCE,
    x=None,
    tell: Callable[[int, int, str], None] | None = None,
) -> Recommendation:
    """Time and memory of a training pass at every block size that the circuit ``root`` allows, by each variant that trains, and which to take.

    root: a circuit, or a plan or TensorCircuit of it. device: "H100-SXM", "cpu" (this machine, its roofs measured once per process)
    or a ``pcviz.devices.DeviceSpec``. batch_size: samples of a forward and backward pass; where they do not fit into the device's
    memory, ``memory.micro_batch`` of them run at a time. Nothing is compiled or run, unless data ``x`` [N, V] are given: then every
    choice runs their first ``batch_size`` rows here (again from the first one on where they are fewer), on the CPU or on the GPU of
    this machine as ``device`` is of one or the other kind, checked against float64: seconds for a small circuit, minutes for one of
    100M edges. tell: called with (measurements done, of how many, the next one); by default a line in the terminal or notebook.

    Raises CircuitError for a wrong structure, ValueError for arguments and for ``x`` without a GPU to measure on, RuntimeError where
    no choice fits into the memory of the machine that measures, and
    ``pcviz.benchmark.WrongResult`` should a choice compute wrong likelihoods.
    """
    root, _ = circuit_of(root)
    layers, spec, batch_size = layering(root), device_spec(device), checked_integer("batch_size", batch_size)
    if x is not None:
        _check_device(spec.kind)
    errors, counted = _figure_5_ratios(spec), circuit_counts(root)
    choices = []
    for block_size in legal_sizes(layers):
        summary = plan_summary(layers, block_size=block_size, padding_tolerance=padding_tolerance)
        for variant, records in _variants(summary, spec, batch_size).items():
            recorded = _recorded(spec, block_size, batch_size, variant, counted)
            memory = model_memory(layers, summary, batch_size, spec.kind, spec.memory_bytes)
            choices.append(_choice(variant, summary, records, memory, errors, recorded))
    if x is not None:
        choices = _measured(root, spec.kind, padding_tolerance, x[:batch_size], batch_size, choices, tell or one_line())
    modelled = "all launches" if spec.kind == "gpu" and spec.fp16_tflops else "the sum layers' launches"
    of_all = (spec.name, spec.kind, batch_size, padding_tolerance, counted.sums, counted.sum_edges, modelled)
    return Recommendation(*of_all, _compared(choices, spec.kind))


def _variants(summary: PlanSummary, spec: DeviceSpec, batch_size: int) -> dict[str, list[TrafficRecord]]:
    """The modelled launches of a forward and a backward pass, by variant."""
    if spec.kind == "cpu":
        return {"torch": list(estimate(summary, batch_size, spec, PASSES).records)}
    reports = {variant: estimate(summary, batch_size, spec, PASSES, variant=variant) for variant in TRAINED_VARIANTS}
    return {variant: [*report.records, *report.around] for variant, report in reports.items()}


def _choice(variant: str, summary: PlanSummary, records: list[TrafficRecord], memory: MemoryUse, ratios: dict[int, float], recorded) -> Choice:
    bounds: dict[str, float] = {}
    small = 0.0
    for record in records:
        bounds[record.bound] = bounds.get(record.bound, 0.0) + record.time_ms
        if record.launch.multiplies and record.device.kind == "gpu" and not record.config.uses_tensor_cores:
            small += record.time_ms
    bound, total = max(bounds, key=bounds.get), sum(bounds.values())
    return Choice(
        block_size=summary.block_size,
        variant=variant,
        time_ms=total,
        corrected_ms=total + _slower(records, summary.block_size, ratios),
        memory=memory,
        padding_share=summary.padding_share,
        launches=len(records),
        bound=bound,
        bound_share=bounds[bound] / total,
        small_tiles_share=small / total,
        model_ratio=ratios.get(summary.block_size) if variant == "scaled" else None,
        recorded=recorded,
    )


def _slower(records: list[TrafficRecord], block_size: int, ratios: dict[int, float]) -> float:
    """Milliseconds that the sum kernels take beyond their roofs, if they are as far from them as recorded ones; launches cost no more."""
    if not ratios:
        return 0.0
    nearest = min(ratios, key=lambda size: abs(math.log2(size / block_size)))
    sums = [record for record in records if record.launch.multiplies or record.phase in SUM_PHASES]
    return sum(record.time_ms - record.device.launch_overhead_us * 1e-3 for record in sums) * (1 / ratios[nearest] - 1)


def _compared(choices: list[Choice], kind: str = "gpu") -> tuple[Choice, ...]:
    """The same choices, with front, best and reasons. RuntimeError where none of them fits into memory."""
    possible = [choice for choice in choices if math.isfinite(choice.decides_ms)]
    if not possible:
        raise RuntimeError("out of memory at every block size: recommend(batch_size=...) with fewer samples, or another machine.")
    choices = [replace(choice, on_front=choice in possible and not any(other.beats(choice) for other in choices)) for choice in choices]
    if kind == "cpu" and possible[0].measured_ms is None:
        best = _largest([choice for choice in choices if math.isfinite(choice.decides_ms)])
    else:
        best = _best([choice for choice in choices if choice.on_front])
    choices = [replace(choice, is_best=choice is best) for choice in choices]
    best = next(choice for choice in choices if choice.is_best)
    return tuple(replace(choice, reason=reason(choice, best, choices)) for choice in choices)


def _largest(choices: list[Choice]) -> Choice:
    """The largest block size among those that a model without the cost of calls cannot tell from the fastest."""
    fastest = min(choice.decides_ms for choice in choices)
    return max((choice for choice in choices if choice.decides_ms <= NEAR * fastest), key=lambda choice: choice.block_size)


def _best(front: list[Choice]) -> Choice:
    fastest = min(front, key=lambda choice: choice.decides_ms)
    near = NEAR if fastest.measured_ms is None else MEASURED_NEAR

    def is_as_good(choice: Choice) -> bool:
        slower = choice.decides_ms / fastest.decides_ms
        return slower <= EQUAL or (slower <= near and choice.memory.total <= SMALLER * fastest.memory.total)

    return min(filter(is_as_good, front), key=lambda choice: choice.memory.total)


def _check_device(kind: str) -> None:
    import torch

    if kind == "gpu" and not torch.cuda.is_available():
        raise ValueError("recommend(x=...) measures on this machine, where no CUDA device is found; leave x out for the model, or pass device='cpu'.")


def _measured(root: Nodes, kind: str, padding_tolerance: float, x, batch_size: int, choices: list[Choice], tell) -> list[Choice]:
    """The same choices with their times on this machine; the rows of ``x`` again where they are fewer than ``batch_size``."""
    import torch

    from .compiler.compile import compile as compile_circuit
    from .domain import Domain
    from .reference import log_likelihood

    expected, found = None, []
    for done, choice in enumerate(choices):
        tell(done, len(choices), f"block size {choice.block_size}, {choice.variant}: a forward and backward pass")
        plan = compile_circuit(root, block_size=choice.block_size, padding_tolerance=padding_tolerance)
        if expected is None:  # it is of the circuit alone, and takes as long as many measurements
            init_params(root)
            x = Domain(plan, torch.float32, torch.device("cpu")).checked(x).x
            expected = log_likelihood(root, x[:CHECKED].numpy())
            x = x[torch.arange(batch_size) % len(x)]
        found.append(_timed(plan, kind, x, expected, choice))
    tell(len(choices), len(choices), "")
    return found


def _timed(plan: CircuitPlan, kind: str, x: torch.Tensor, expected, choice: Choice) -> Choice:
    """Of one choice: its circuit is gone before the next one asks how much memory is free."""
    from .benchmark import measure, predict_seconds
    from .circuit import TensorCircuit

    phase, repeats = "forward+backward", 5
    try:
        pc = TensorCircuit(plan, "cpu" if kind == "cpu" else "cuda", variant=None if kind == "cpu" else choice.variant)
        x = x.to(pc.device)
        for _ in range(2):  # the first call compiles kernels, the second records them
            predict_seconds(pc, x, phase=phase)
        runs = {"repeats": repeats, "max_seconds": 0.2}
        if predict_seconds(pc, x, phase=phase, repeats=repeats) > LONGEST_SECONDS:
            runs = {"repeats": 1, "max_seconds": 0, "warm_up": 0}  # it is warm from the predictions
        result = measure(pc, x, phase=phase, expected=expected, **runs)
        return replace(choice, measured_ms=result.median_ms, measured=result)
    except (RuntimeError, MemoryError) as error:  # torch's, the engine's own, numpy's
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        return replace(choice, measured_ms=math.inf)


# ---- what is recorded -----------------------------------------------------------------------------------------------------


def _is_recorded(spec: DeviceSpec) -> bool:
    """Recorded rows are of the GPU that the built-in specification was measured on."""
    return spec.name == "H100-SXM"


def _figure_5_ratios(spec: DeviceSpec) -> dict[int, float]:
    """Block size -> modelled / recorded time of pcviz's own sum kernels (variant "scaled") on the figure-5 layer, both passes together."""
    if not _is_recorded(spec):
        return {}
    root, rows = figure_5_layer(), figure_5_rows(own_launches())
    summaries = {size: plan_summary(root, block_size=size) for size in {row.block_size for row in rows}}
    modelled, recorded = dict.fromkeys(summaries, 0.0), dict.fromkeys(summaries, 0.0)
    for row, error in zip(rows, model_error(summaries, rows, spec), strict=True):
        modelled[row.block_size] += error.time_ratio * row.time_ms
        recorded[row.block_size] += row.time_ms
    return {size: modelled[size] / recorded[size] for size in summaries}


def _recorded(spec: DeviceSpec, block_size: int, batch_size: int, variant: str, counted: CircuitCounts) -> ComparedStep | None:
    """pcviz's recorded step of a circuit with the same numbers of nodes and edges."""
    wanted = (counted.nodes, counted.edges, counted.sum_edges, block_size, batch_size, variant, 0)
    for row in compared_steps() if _is_recorded(spec) else ():
        found = (row.nodes, row.edges, row.sum_edges, row.block_size, row.batch_size, row.variant, row.deterministic)
        if found == wanted and row.provenance.is_own:
            return row
    return None
