"""Recorded measurements that ship with the package, as frozen records with their provenance.

Every row names its GPU, date, driver and versions. These are measurements of the engine named in ``provenance.engine``;
no figure here is a model, and none was taken on the reader's machine.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, fields
from pathlib import Path

from .assets import asset_path

LAUNCHES = "recorded/fig5_pyjuice_h100.csv"
OWN_LAUNCHES = "recorded/fig5_pcviz_h100.csv"
COMPARED_STEPS = "recorded/steps_h100.csv"
LAYER_TIMES = "recorded/layers_h100.csv"
KERNELS = "recorded/kernels_h100.csv"
EPOCHS = "recorded/epochs_h100.csv"
ROOFS = "recorded/roofs_h100.csv"
PHASE_OF_ROLE = {
    **{role: "forward" for role in ("sum_forward", "sum_guard")},
    **{role: "backward" for role in ("element_flows", "param_flows", "ratios", "flow_guard")},
}
"""Launches that belong to the sum layer itself; guards and ratios are pcviz's, which has launches of their own for them."""


def is_own(engine: str) -> bool:
    """Whether it is pcviz, whose kernels the traffic model is of; ``engine`` is a name and a version."""
    return engine.startswith("pcviz")


@dataclass(frozen=True)
class Machine:
    """Where and when something was measured. Fields that a source does not give are empty."""

    date: str
    gpu: str
    driver: str
    torch: str
    triton: str


@dataclass(frozen=True)
class Provenance(Machine):
    """Where, when and with what a row was measured."""

    engine: str
    commit: str
    circuit: str
    source: str  # file under assets

    @property
    def label(self) -> str:
        """Short text to stand beside a figure: "recorded: pyjuice 2.6.3, NVIDIA H100 80GB HBM3, 2026-11-23"."""
        return f"recorded: {f'{self.engine}, ' if self.engine else ''}{self.gpu}, {self.date}"

    @property
    def is_own(self) -> bool:
        """Whether the row is of pcviz's kernels."""
        return is_own(self.engine)


@dataclass(frozen=True)
class Setting:
    """Under what a row of ``pcviz bench`` was measured. ``kernel_hash`` says which of our kernels ran; rows of PyJuice have none, and block
    size 0 where it chose its own."""

    block_size: int
    batch_size: int
    precision: str
    variant: str
    kernel_hash: str
    provenance: Provenance


@dataclass(frozen=True)
class LaunchCounters:
    """What Nsight Compute counted in a launch. ``order``: its place in the two passes; ``role``: sum_forward, element_flows, param_flows,
    product, fill, ..."""

    order: int
    role: str
    kernel: str
    time_ms: float
    hbm_read_bytes: int
    hbm_write_bytes: int
    l2_to_l1_bytes: int
    l1_to_l2_bytes: int
    l2_sectors: int  # 32 bytes each
    l1_bytes: int

    @property
    def hbm_bytes(self) -> int:
        return self.hbm_read_bytes + self.hbm_write_bytes


@dataclass(frozen=True)
class RecordedLaunch(LaunchCounters):
    """One kernel launch, and where it was counted."""

    block_size: int
    batch_size: int
    provenance: Provenance


@dataclass(frozen=True)
class Figure5Row:
    """The sum layer's kernels at one block size and in one pass, added up (backward: element and parameter flows)."""

    block_size: int
    batch_size: int
    phase: str  # "forward" or "backward"
    launches: int
    time_ms: float
    hbm_bytes: int
    l2_to_l1_bytes: int
    l1_to_l2_bytes: int
    l1_bytes: int
    provenance: Provenance


@dataclass(frozen=True)
class StepFigures:
    """One circuit's training step (forward, backward, mini-batch EM). ``deterministic``: 1 for TensorCircuit(..., deterministic=True), else 0.
    Times are medians of calls one behind the other, as in training, where the host prepares each while the GPU has the one before;
    ``samples``: the steps in ms whose median is ``step_ms``. Errors of log p in nats, against float64 in the same run."""

    deterministic: int
    nodes: int
    edges: int
    sum_edges: int
    compile_s: float
    first_step_s: float
    forward_ms: float
    forward_backward_ms: float
    step_ms: float
    peak_gib: float
    max_abs_error: float
    mean_error: float
    samples: str


@dataclass(frozen=True)
class ComparedStep(StepFigures, Setting):
    """A step by one engine, and where it was measured; both engines ran the same circuit and batch in one process."""

    circuit: str


@dataclass(frozen=True)
class LayerFigures:
    """A large layer from stored values to stored values: medians in ms of the samples. Forward: products and sums; backward: products,
    element flows, parameter flows and the flows of the products' factors. Errors against float64 in the same run: ``max_abs_error`` and
    ``mean_error`` of the sums' logarithms in nats; ``element_flow_error`` and ``edge_flow_error``, the largest of flows, as shares of the
    largest exact one. ``stored_edges``: cells of the parameter blocks, padding included."""

    sums: int
    edges: int
    stored_edges: int
    compile_s: float
    forward_ms: float
    backward_ms: float
    max_abs_error: float
    mean_error: float
    element_flow_error: float
    edge_flow_error: float
    forward_samples: str
    backward_samples: str


@dataclass(frozen=True)
class LayerTime(LayerFigures, Setting):
    """The large layer of figure 5 at one block size by one engine, and where it was measured."""


@dataclass(frozen=True)
class RecordedKernel:
    """All ``launches`` of one kernel of pcviz in a circuit's ``passes`` (names as of ``pcv.estimate``, by blanks) of one batch: their time
    together. ``how``: by what it was measured."""

    block_size: int
    batch_size: int
    kernel_hash: str
    passes: str
    kernel: str
    launches: int
    time_ms: float
    how: str
    provenance: Provenance


@dataclass(frozen=True)
class EpochFigures:
    """One epoch of mini-batch EM. ``seconds``: of mini-batches so far, data on the GPU, without compilation and evaluation. Bits per
    dimension: ``train_bpd`` over the epoch's mini-batches as they were met, ``test_bpd`` after the epoch, on images never trained on."""

    data: str
    images: int
    step_size: float
    pseudocount: float
    epoch: int
    seconds: float
    train_bpd: float
    test_bpd: float


@dataclass(frozen=True)
class RecordedEpoch(EpochFigures, Setting):
    """An epoch by one engine, and where it was measured."""


@dataclass(frozen=True)
class RecordedRoof:
    """One measured roof of a device. ``how``: what was run."""

    name: str
    value: float
    unit: str
    how: str
    provenance: Provenance


def recorded_launches(path: str | Path | None = None) -> tuple[RecordedLaunch, ...]:
    """Every recorded launch of the figure-5 layer over 0.05 ms, by block size and order."""
    rows = _read(path, LAUNCHES, RecordedLaunch)
    return tuple(sorted(rows, key=lambda row: (row.block_size, row.order)))


def figure_5_rows(launches: tuple[RecordedLaunch, ...] | None = None, circuit: str = "fig5-dense") -> tuple[Figure5Row, ...]:
    """A layer's sum kernels, added up per block size and pass: forward rows first, block sizes ascending. ``circuit``: "fig5-drawn" is
    the layer with drawn connections, of whose rows there may be none."""
    launches = recorded_launches() if launches is None else launches
    chosen: dict[tuple[str, int, int], list[RecordedLaunch]] = {}
    for launch in launches:
        if launch.role in PHASE_OF_ROLE and launch.provenance.circuit == circuit:
            chosen.setdefault((PHASE_OF_ROLE[launch.role], launch.block_size, launch.batch_size), []).append(launch)
    ordered = sorted(chosen.items(), key=lambda item: (item[0][0] == "backward", *item[0][1:]))
    return tuple(_figure_5_row(phase, block_size, batch_size, rows) for (phase, block_size, batch_size), rows in ordered)


def _figure_5_row(phase: str, block_size: int, batch_size: int, rows: list[RecordedLaunch]) -> Figure5Row:
    return Figure5Row(
        block_size=block_size,
        batch_size=batch_size,
        phase=phase,
        launches=len(rows),
        time_ms=sum(row.time_ms for row in rows),
        hbm_bytes=sum(row.hbm_bytes for row in rows),
        l2_to_l1_bytes=sum(row.l2_to_l1_bytes for row in rows),
        l1_to_l2_bytes=sum(row.l1_to_l2_bytes for row in rows),
        l1_bytes=sum(row.l1_bytes for row in rows),
        provenance=rows[0].provenance,
    )


def compared_steps(path: str | Path | None = None, variant: str = "scaled") -> tuple[ComparedStep, ...]:
    """Training steps of the reference circuits by pcviz and by PyJuice, measured side by side (``pcviz bench step``). ``variant``: of
    pcviz's sum kernel; there are rows of the "paper" kernel for some circuits."""
    return _of_variant(_read(path, COMPARED_STEPS, ComparedStep), variant)


def steps_of_size(sum_edges: int) -> tuple[ComparedStep, ...]:
    """Compared steps, not of the deterministic mode, of the reference circuit with as many edges of sums, if there is one."""
    return tuple(row for row in compared_steps() if (row.sum_edges, row.deterministic) == (sum_edges, 0))


def own_launches() -> tuple[RecordedLaunch, ...]:
    """Every launch of pcviz's own kernels on the figure-5 layer, by block size and order."""
    return recorded_launches(asset_path(OWN_LAUNCHES))


def layer_times(path: str | Path | None = None, variant: str = "scaled") -> tuple[LayerTime, ...]:
    """Both figure-5 layers ("fig5-dense", "fig5-drawn") by pcviz and by PyJuice (``pcviz bench layer --against pyjuice``). ``variant``: of
    pcviz's sum kernel; there are rows of the "paper" kernel for some block sizes of the dense one."""
    return _of_variant(_read(path, LAYER_TIMES, LayerTime), variant)


def _of_variant(rows: tuple, variant: str) -> tuple:
    """PyJuice's rows, and those of one variant of pcviz's kernels."""
    return tuple(row for row in rows if not row.provenance.is_own or row.variant == variant)


def recorded_kernels(path: str | Path | None = None) -> tuple[RecordedKernel, ...]:
    """Times of pcviz's kernels in whole circuits, by circuit and passes."""
    return _read(path, KERNELS, RecordedKernel)


def recorded_epochs(path: str | Path | None = None) -> tuple[RecordedEpoch, ...]:
    """Epochs of EM by pcviz and by PyJuice on the same mini-batches (``pcviz bench epochs --against pyjuice``)."""
    return _read(path, EPOCHS, RecordedEpoch)


def recorded_roofs(path: str | Path | None = None) -> tuple[RecordedRoof, ...]:
    """Measured roofs of the H100 that the traffic model divides by."""
    return _read(path, ROOFS, RecordedRoof)


def _read(path: str | Path | None, asset: str, record: type) -> tuple:
    """Rows of a CSV file as records: annotated fields by name and type, provenance from its own columns."""
    source = asset if path is None else str(path)
    kinds = {"int": int, "float": float, "str": str}
    columns = {field.name: field.type for field in fields(record) if field.name != "provenance"}
    rows = []
    with open(asset_path(asset) if path is None else path, newline="", encoding="utf-8") as file:
        try:
            for line, row in enumerate(csv.DictReader(file), start=2):
                where = f"{source}, line {line}"
                if None in row:
                    raise ValueError(f"{where}: expected {len(row) - 1} cells, one per column, found {len(row[None])} more.")
                values = {name: _parse(row, name, kinds[kind], where) for name, kind in columns.items()}
                rows.append(record(**values, provenance=_provenance(row, source, where)))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{source}, after {len(rows)} rows: expected a CSV file in UTF-8, found {error}.") from error
    return tuple(rows)


def _parse(row: dict, name: str, kind: type, where: str):
    if row.get(name) is None:
        raise ValueError(f"{where}: column {name!r} is missing; found {', '.join(key for key in row if key)}.")
    try:
        value = kind(row[name])
        if not (value.isprintable() if kind is str else math.isfinite(value) and (value >= 0 or name.endswith("_error"))):
            raise ValueError(value)
    except (ValueError, OverflowError) as error:  # an int may be larger than any float
        expected = {str: "text on one line", int: "an int of 0 or more", float: "a finite float, not negative"}[kind]
        raise ValueError(f"{where}: column {name!r} expects {expected}, got {row[name][:60]!r}.") from error
    return value


def _provenance(row: dict, source: str, where: str) -> Provenance:
    for name in ("date", "gpu"):
        if not row.get(name):
            raise ValueError(f"{where}: a recorded row needs {name!r}; this one has none.")
    names = ("date", "gpu", "driver", "torch", "triton", "engine", "commit", "circuit")
    return Provenance(**{name: _parse({name: row.get(name) or ""}, name, str, where) for name in names}, source=source)
