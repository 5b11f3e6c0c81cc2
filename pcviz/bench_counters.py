"""``pcviz bench layer --counters``: what Nsight Compute counts in each launch of a layer's two passes, as rows for assets/recorded.

Every configuration runs in a process of its own under ``ncu`` (`--clock-control none`): the layer is checked against float64
and its kernels compiled; then one forward and one backward pass are profiled. Columns: assets/recorded/README.md.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from pcviz_kernels.api import kernel_hash

from .bench_layer import BLOCK_SIZES, LAYERS, OurLayer, PyJuiceLayer, accepted, check_arguments, check_layer, configurations
from .bench_step import append_row, machine
from .peers import pyjuice_kernels
from .recorded import LaunchCounters, Machine

METRICS = {
    "time_ms": "gpu__time_duration.sum",
    "hbm_read_bytes": "dram__bytes_read.sum",
    "hbm_write_bytes": "dram__bytes_write.sum",
    "l2_to_l1_bytes": "l1tex__m_xbar2l1tex_read_bytes.sum",
    "l1_to_l2_bytes": "l1tex__m_l1tex2xbar_write_bytes.sum",
    "l2_sectors": "lts__t_sectors_srcunit_tex.sum",
    "l1_bytes": "l1tex__t_bytes.sum",
}
ROLES = {
    "sum_forward": "sum_forward", "sum_guard": "sum_guard", "product_forward": "product", "product_logs": "product",
    "ratio": "ratios", "param_flows": "param_flows", "element_flows": "element_flows", "flow_guard": "flow_guard",
    "product_flows": "product_backward",
    "_fw_triton": "sum_forward", "_bk_triton_modify_flow": "ratios", "_forward_backward_kernel": "product",
}  # fmt: skip
ERROR_LINE = "# max_abs_error "


@dataclass(frozen=True)
class Profiled(Machine):
    """The columns with which rows of ``bench_counters`` begin."""

    engine: str
    commit: str
    kernel_hash: str
    circuit: str
    precision: str
    variant: str
    block_size: int
    batch_size: int


@dataclass(frozen=True)
class CountedRow(LaunchCounters, Profiled):
    """One launch. ``max_abs_error`` in nats, of the layer's log values in the same process."""

    max_abs_error: str


def bench_counters(
    names, *, block_sizes, batch_size: int, variants: tuple[str, ...], peers: bool, commit: str, out: Path | None
) -> Iterator[str]:
    """Lines, one a configuration; rows, one a launch, go to ``out`` (CSV). Arguments as in ``bench_layer``.

    Raises ChildProcessError at the end when a configuration gave no rows.
    """
    check_arguments(names, peers)
    if shutil.which("ncu") is None:
        raise ValueError("bench layer --counters needs Nsight Compute: put its command ncu on the PATH.")
    engines = [("pcviz", variant) for variant in variants] + ([("pyjuice", pyjuice_kernels())] if peers else [])
    failed = []
    for name in names or LAYERS:
        for block_size, (engine, variant) in product(block_sizes or BLOCK_SIZES[name], engines):
            try:
                rows = _rows(name, block_size, batch_size, engine, variant, commit)
            except ChildProcessError as error:
                failed.append(str(error))
                continue
            for row in rows if out is not None else ():
                append_row(out, row)
            ms, size = sum(row.time_ms for row in rows), sum(row.hbm_read_bytes + row.hbm_write_bytes for row in rows)
            what = f"{name}, block size {block_size}, {rows[0].engine} {variant}"
            yield f"{what}: {len(rows)} launches, {ms:.3f} ms, {size / 1e9:.2f} GB from and to HBM"
    if failed:
        raise ChildProcessError("\n".join(failed))


def profile(name: str, block_size: int, batch_size: int, engine: str, variant: str) -> None:
    """In the process under ncu: check, then one forward and one backward pass between profiler marks."""
    found = configurations([name], (block_size,), batch_size, (variant,), peers=engine == "pyjuice")
    (configuration,) = (each for each in found if each[2].startswith(engine))
    label, build, exact, x = configuration[2], *configuration[4:5], *configuration[6:]
    running: OurLayer | PyJuiceLayer = build()
    running.prepare(x)
    errors = accepted(name, block_size, label, check_layer(running, exact, running.forward, running.backward))
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStart()
    running.forward()
    running.backward()
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()
    print(f"# engine {label}\n# precision {running.precision}\n{ERROR_LINE}{errors.max_abs_error:.2e}")


def _rows(name: str, block_size: int, batch_size: int, engine: str, variant: str, commit: str) -> list[CountedRow]:
    code = f"from pcviz.bench_counters import profile; profile({name!r}, {block_size}, {batch_size}, {engine!r}, {variant!r})"
    command = ["ncu", "--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none", "--profile-from-start", "off"]
    command += ["--metrics", ",".join(METRICS.values()), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or '"ID"' not in done.stdout:
        raise ChildProcessError(f"{name}, block size {block_size}, {engine}: ncu failed.\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    said, launches = read_report(done.stdout)
    own = kernel_hash() if engine == "pcviz" else ""
    fixed = {**machine(), "engine": said["engine"], "commit": commit, "kernel_hash": own, "circuit": name, "precision": said["precision"]}
    fixed |= {"variant": variant, "block_size": block_size, "batch_size": batch_size, "max_abs_error": said["max_abs_error"]}
    return [CountedRow(**fixed, **launch) for launch in launches]


def read_report(text: str) -> tuple[dict[str, str], list[dict]]:
    """What ``profile`` said, by name, and ncu's table: one dictionary a launch with ``order``, ``role``, ``kernel`` and the metrics."""
    lines = text.splitlines()
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    first = next(i for i, line in enumerate(lines) if line.startswith('"ID"'))
    table = [line for line in csv.DictReader(line for line in lines[first:] if line.startswith('"')) if line["ID"]]
    launches, after_flows = [], False
    for order, line in enumerate(table):
        values = {name: float(line[metric].replace(",", "")) for name, metric in METRICS.items()}
        values = {name: round(value * 1e-6, 5) if name == "time_ms" else int(value) for name, value in values.items()}
        role = role_of(line["Kernel Name"], after_flows)
        after_flows = after_flows or role == "element_flows"
        launches.append({"order": order, "role": role, "kernel": line["Kernel Name"][:60], **values})
    return said, launches


def role_of(kernel: str, after_flows: bool = False) -> str:
    """The role of a kernel in the recorded files; PyJuice's kernel of products runs both ways, and backward after the element flows."""
    if kernel.startswith("_bk_triton") and ("_ele_" in kernel or "_par_" in kernel):
        return "element_flows" if "_ele_" in kernel else "param_flows"
    role = next((role for prefix, role in ROLES.items() if kernel.startswith(prefix)), "fill")
    return "product_backward" if after_flows and kernel.startswith("_forward_backward_kernel") else role
