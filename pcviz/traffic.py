"""The traffic model: bytes at three levels, operations and a time for each launch.

Every figure is a *model* of a launch, planned (the paper's algorithm) or one that runs (impl="triton"): what it would move and how
long the slowest roof would take, not what it was seen to do. Compare it with recorded or measured figures of the same device only, as
``model_error`` does. Bytes through L2 and HBM and times of our launches are within 3 % of the counters (median), a time never off by more
than 22 %; of a layer that nothing was fitted to, times are within 5 % (median) and 19 %; EM, which has no recorded counters, takes 0.87 to
1.12 of its recorded time. tests/test_traffic.py prints them.

The three levels, and what is assumed about reuse:

- ``l1_bytes``: what the programs request, loads and stores, each tile once per step that uses it. Counter: l1tex__t_bytes.
- ``l2_bytes``: what passes between L2 and L1 in both directions. Assumed: no reuse in L1 (a program walks over more bytes
  than L1 holds, and neighbouring programs run on different multiprocessors), so every request passes; of launches that run,
  but what ``Operand.l2_loads`` and ``shared_by_row`` say.
- ``hbm_bytes``: from and to memory, for a launch that starts with an empty L2. Each distinct byte is read once; an
  operand is read again on every reload when more bytes than L2 holds are touched between two loads of it, in the order
  of the programs. Stores are written once. Rows that several groups of a layer read are counted once for all of them
  (see ``launch_records._share``): exact for PD and HCLT, below a counter's figure where pruning makes groups share children.

Time is that of the slowest roof; of our kernels on tensor cores HBM and L2 one after the other, because each step waits for both and few
programs share a multiprocessor, or where steps scale nothing (level layers) the root of the sum of their squares; of those that multiply
nothing HBM, instructions and latency together where none is far above the others (``traffic_time``). What no roof says is fitted to recorded
launches: what steps keep a multiprocessor busy without tensor cores (``DeviceSpec.scalar_steps_ns``, ``float32_step_ns``), and on them
where parameters are waited for (``scaled_steps_tflops``); what a program waits for (``latencies_us``). Not modelled: registers, which leave
room for one program instead of two where sum blocks have 128 rows.

Sections: arXiv 2406.00766, section 3 (the naive parallelization), 4.1 (reloads), figure 5 (traffic against block size).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pcviz_kernels.config import NAIVE, LaunchConfig

from .compiler.plan import CircuitPlan, PlanSummary
from .devices import PRECISIONS, DeviceSpec, check_precision, device_spec
from .tracing import Config, Launch, Operand, check_passes, trace
from .traffic_time import time_terms
from .triton_trace import precision_of

SUM_PHASES = ("sum_guard", "ratios", "flow_guard")  # that belong to the sum layer besides its matrix products
LABELS = {"planned": "model, planned launch", "triton": "model, Triton launch"}


@dataclass(frozen=True)
class Traffic:
    """Sums over launches. Bytes are whole bytes; time is the sum of the launches' times, as they run one after another."""

    launches: int
    programs: int
    l1_bytes: int
    l2_to_l1_bytes: int
    l1_to_l2_bytes: int
    hbm_bytes: int
    flops: int
    time_ms: float

    @property
    def l2_bytes(self) -> int:
        return self.l2_to_l1_bytes + self.l1_to_l2_bytes


@dataclass(frozen=True)
class TrafficRecord:
    """One planned launch. ``terms_ms``: what each roof alone would take; ``bound``: the name of the slowest."""

    launch: Launch
    device: DeviceSpec
    precision: str
    l2_to_l1_bytes: int
    l1_to_l2_bytes: int
    hbm_read_bytes: int
    hbm_write_bytes: int
    terms_ms: tuple[tuple[str, float], ...]
    l1_bytes: int
    label: str = LABELS["planned"]

    @property
    def phase(self) -> str:
        return self.launch.phase

    @property
    def layer(self) -> int:
        return self.launch.layer

    @property
    def group(self) -> int:
        return self.launch.group

    @property
    def programs(self) -> int:
        return self.launch.programs

    @property
    def config(self) -> LaunchConfig:
        return self.launch.config

    @property
    def flops(self) -> int:
        return self.launch.flops

    @property
    def direction(self) -> str:
        return self.launch.direction

    @property
    def l2_bytes(self) -> int:
        return self.l2_to_l1_bytes + self.l1_to_l2_bytes

    @property
    def hbm_bytes(self) -> int:
        return self.hbm_read_bytes + self.hbm_write_bytes

    @property
    def waves(self) -> int:
        return self.launch.waves(self.device.num_sms)

    @cached_property
    def time_ms(self) -> float:
        """The slowest roof, plus the launch overhead."""
        return max(ms for _, ms in self.terms_ms) + self.device.launch_overhead_us * 1e-3

    @cached_property
    def bound(self) -> str:
        """The limiter: "HBM", "L2", "HBM + L2" (where steps wait for both), "L1", "tensor cores", "CUDA cores" ("arithmetic" on a CPU),
        "exponentials", "instructions" and "latency" (both fitted, no roofs), "HBM + latency" (where none hides the others), or "launch"."""
        name, ms = max(self.terms_ms, key=lambda term: term[1])
        return "launch" if self.device.launch_overhead_us * 1e-3 > ms else name

    @cached_property
    def formulas(self) -> dict[str, str]:
        """For each number its formula with the numbers put in, as text for hovers. Made when first read."""
        from .traffic_text import formulas

        return formulas(self)


@dataclass(frozen=True)
class TrafficReport:
    """The launches of a plan's sum layers on one device, and their sums.

    ``records``: the matrix products and, in the pass "em", the updates of their parameters. With ``impl`` "triton", ``around`` are the
    other launches of these passes, in the same order: inputs, products, scales of flows, guards, fills.
    """

    device: DeviceSpec
    batch_size: int
    block_size: int
    precision: str
    passes: tuple[str, ...]
    records: tuple[TrafficRecord, ...]
    naive: bool = False
    impl: str = "planned"
    around: tuple[TrafficRecord, ...] = ()

    @property
    def label(self) -> str:
        return LABELS[self.impl]

    @property
    def launch_kind(self) -> str:
        """"planned launch" or "Triton launch": what stands beside a number of the model."""
        return self.label.removeprefix("model, ")

    @cached_property
    def total(self) -> Traffic:
        return add_up(self.records)

    def of_pass(self, name: str) -> Traffic:
        """Sums over "forward", "backward" (element flows and parameter flows) or "em"."""
        if name not in self.passes:
            raise ValueError(f"This report covers {' and '.join(self.passes)}, not {name!r}; call pcv.estimate(..., passes=({name!r},)).")
        return add_up(record for record in self.records if record.direction == name)

    @property
    def forward(self) -> Traffic:
        return self.of_pass("forward")

    @property
    def backward(self) -> Traffic:
        return self.of_pass("backward")

    def of_layer(self, index: int, name: str | None = None) -> Traffic:
        """Sums over one layer (1 is the layer next to the inputs), in one pass or in all."""
        chosen = [record for record in self.records if record.layer == index]
        if not chosen:
            raise ValueError(f"No layer {index}; this plan has layers {', '.join(map(str, sorted({r.layer for r in self.records})))}.")
        return add_up(record for record in chosen if name is None or record.direction == name)

    def formulas(self, name: str | None = None) -> dict[str, str]:
        """Formulas of the sums over one pass, or over all: how many launches add up, and the largest of them."""
        from .traffic_text import sum_formulas

        self.of_pass(name or self.passes[0])  # says what to do when the pass is not covered
        return sum_formulas([record for record in self.records if name is None or record.direction == name])

    def __str__(self):
        from .traffic_text import report_text

        return report_text(self)

    def _repr_html_(self):
        from .traffic_text import report_html

        return report_html(self)


def estimate(
    plan: CircuitPlan | PlanSummary,
    batch_size: int = 512,
    device: DeviceSpec | str = "H100-SXM",
    passes: tuple[str, ...] = ("forward", "backward"),
    precision: str | None = None,
    config: Config = None,
    *,
    naive: bool = False,
    impl: str | None = None,
    variant: str = "scaled",
) -> TrafficReport:
    """Traffic [bytes] and roofline time [ms] of the sum layers' launches, one record per launch of ``batch_size`` samples.

    plan: a CircuitPlan or, for sliders, a PlanSummary (counts are all that is used). device: "H100-SXM", "cpu" (this
    machine, measured once per process) or a DeviceSpec. passes: with "em" as the third, those of a training step.
    precision: "fp32", "tf32", "bf16" or "fp16"; None takes tf32 where the device has it. It sets the rate of matrix products,
    and 16-bit ones store 2 bytes per entry instead of 4. config: see ``pcviz.tracing.trace``. naive: section 3's parallelization
    instead, one processor per sum and sample that reloads all its inputs. impl: "triton" models the launches that TensorCircuit runs
    on a GPU, whose precision is fp16 (fp32 in forward passes of variant "float32"); "planned" those that the paper's algorithm needs, in
    any precision. None: "triton" on a GPU, unless another precision or ``naive`` is asked for. variant: of impl="triton", see ``trace``;
    the default is training's, while ``pc(x)`` alone runs variant "float32" on a GPU.

    Raises ValueError for wrong arguments, such as a precision that the device has no rate for.
    """
    spec, own = device_spec(device), precision_of(variant)
    if impl is None:
        impl = "triton" if spec.kind == "gpu" and spec.fp16_tflops and precision in (None, own) and not naive else "planned"
    precision = check_precision(own if impl == "triton" and precision is None else precision, spec)
    if naive and (config is not None or impl == "triton"):
        raise ValueError("estimate(naive=True) has tiles of its own (1 x 1 x 1); leave config=None and impl=None.")
    if impl == "triton" and precision != own:
        models = f"estimate(impl='triton', variant={variant!r}) models {own} operands"
        raise ValueError(f"{models}, got precision {precision!r}; impl='planned' takes any.")
    passes = check_passes(passes)
    launches = trace(plan, batch_size, NAIVE if naive else config, passes, impl=impl, variant=variant)
    records = [
        launch_traffic(launch, spec, precision if impl == "planned" or launch.in_float32 else "fp16", LABELS[impl]) for launch in launches
    ]
    of_sums, around = (tuple(record for record in records if record.launch.of_sums == chosen) for chosen in (True, False))
    of_records = {record.precision for record in of_sums}  # of variant "float32" two: backward passes are the same in all
    precision = of_records.pop() if len(of_records) == 1 else precision
    return TrafficReport(spec, launches.batch_size, launches.block_size, precision, passes, of_sums, naive, impl, around)


def launch_traffic(launch: Launch, spec: DeviceSpec, precision: str, label: str = LABELS["planned"]) -> TrafficRecord:
    """The record of one launch: bytes from its operands, then one term per roof."""
    size = PRECISIONS[precision]
    requests = loads = stores = reads = writes = 0
    for operand in launch.operands:
        width = operand.width(size)
        requests += operand.loads * width
        loads += operand.from_l2(launch.grid[0], spec.num_sms) * width
        stores += operand.stores * width
        writes += min(operand.stores, operand.unique) * width
        reads += hbm_loads(operand, spec, size) * width
    terms = time_terms(launch, spec, precision, requests + stores, loads + stores, loads, reads + writes)
    return TrafficRecord(launch, spec, precision, loads, stores, reads, writes, terms, requests + stores, label)


def hbm_loads(operand: Operand, spec: DeviceSpec, size: int) -> int:
    """Entries read from memory: each once, or on every load when L2 cannot hold what lies between two loads."""
    fits = operand.span_bytes(size) <= spec.l2_cache_bytes
    return min(operand.loads, operand.unique) if fits else max(operand.unique, operand.from_l2(1, spec.num_sms))


def add_up(records) -> Traffic:
    records = tuple(records)
    return Traffic(
        launches=len(records),
        programs=sum(record.programs for record in records),
        l1_bytes=sum(record.l1_bytes for record in records),
        l2_to_l1_bytes=sum(record.l2_to_l1_bytes for record in records),
        l1_to_l2_bytes=sum(record.l1_to_l2_bytes for record in records),
        hbm_bytes=sum(record.hbm_bytes for record in records),
        flops=sum(record.flops for record in records),
        time_ms=sum(record.time_ms for record in records),
    )


@dataclass(frozen=True)
class ModelError:
    """Model over recorded figure, for one block size and pass: 1.0 is agreement."""

    block_size: int
    phase: str  # "forward" or "backward"
    time_ratio: float
    hbm_ratio: float
    l2_to_l1_ratio: float
    l1_ratio: float
    engine: str  # whose launches were recorded


def model_error(
    summaries: Mapping[int, PlanSummary], rows, device: DeviceSpec | str = "H100-SXM", precision: str | None = None
) -> tuple[ModelError, ...]:
    """Ratios of the model's figures to recorded ones, per block size and pass of the sum kernels.

    summaries: block size -> counts of the recorded circuit; rows: ``pcviz.recorded.figure_5_rows()``. Of pcviz's own rows the
    model is that of its launches, guards and scales of flows included, and a ratio says how wrong the model is. Another
    implementation (``engine``) has other tiles: its rows are compared with the planned launches, and a ratio says how far that
    implementation is from what this plan would need.
    """
    errors = []
    for row in rows:
        if row.block_size in summaries:
            impl = "triton" if row.provenance.is_own else "planned"
            report = estimate(summaries[row.block_size], row.batch_size, device, (row.phase,), precision, impl=impl)
            got = add_up([*report.records, *(record for record in report.around if record.phase in SUM_PHASES)])
            errors.append(ModelError(
                row.block_size, row.phase, got.time_ms / row.time_ms, got.hbm_bytes / row.hbm_bytes,
                got.l2_to_l1_bytes / row.l2_to_l1_bytes, got.l1_bytes / row.l1_bytes, row.provenance.engine,
            ))  # fmt: skip
    return tuple(errors)
