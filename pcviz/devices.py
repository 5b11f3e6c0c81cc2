"""Devices as the traffic model sees them: the roofs that a launch can hit. Measured figures, not data sheets."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from pathlib import Path

PRECISIONS = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
"""Bytes of a stored entry. tf32 is a mode of the tensor cores: it stores 4 bytes."""


@dataclass(frozen=True)
class DeviceSpec:
    """Measured roofs of one device. A roof that is None is not known: its term is left out of the estimate.

    Rates are decimal: 1 TB/s is 1e12 bytes a second. ``scalar_steps_ns``: of what our kernels compute on CUDA cores, by phase, what a step
    keeps one multiprocessor busy: ns for each 4,096 values of its tile, and ns more for each row that it gathers with a scale of its own.
    ``scaled_steps_tflops``: of our kernels on tensor cores, what their steps reach that wait for parameters and scale each product (none
    of the backward pass of a level layer does);
    ``paper_step_ns``: of the paper's kernel there, what a step over 64 children of 128 samples keeps a multiprocessor busy, and each sum more.
    ``float32_step_ns``: the same of the kernel of float32 operands, over 64 children of 128 samples, on CUDA cores.
    ``latencies_us``: of our kernels, by kind, the least time of a program: before its first step and after its last, and of each step.
    """

    name: str
    kind: str  # "gpu" or "cpu"
    num_sms: int  # multiprocessors; on a CPU the threads that torch uses
    l2_cache_bytes: int  # last cache before the memory; on a CPU its last-level cache
    hbm_tb_per_s: float  # copy, bytes read and written; on a CPU the main memory
    l2_tb_per_s: float | None  # between L2 and L1
    l1_tb_per_s: float | None  # loads that hit L1
    fp32_tflops: float  # without tensor cores
    tf32_tflops: float | None = None
    bf16_tflops: float | None = None
    fp16_tflops: float | None = None
    tera_exp_per_s: float | None = None
    launch_overhead_us: float = 0.0
    memory_bytes: int | None = None  # of the device; None: not known, and taken to be enough
    scalar_steps_ns: tuple[tuple[str, float, float], ...] = ()
    scaled_steps_tflops: float | None = None
    paper_step_ns: tuple[float, float] = (0.0, 0.0)
    float32_step_ns: tuple[float, float] = (0.0, 0.0)
    latencies_us: tuple[tuple[str, float, float], ...] = ()
    source: str = ""
    date: str = ""

    def __post_init__(self):
        if self.kind not in ("gpu", "cpu"):
            raise ValueError(f"DeviceSpec(kind=...) expects 'gpu' or 'cpu', got {self.kind!r}.")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and (value < 0 or value == 0 and field.name != "launch_overhead_us"):
                raise ValueError(f"DeviceSpec({field.name}=...) expects a positive number, got {value!r}.")

    @property
    def default_precision(self) -> str:
        return "tf32" if self.tf32_tflops else "fp32"

    def tensor_tflops(self, precision: str) -> float | None:
        """Rate of matrix products in ``precision`` on tensor cores; None where the device has none for it."""
        return None if precision == "fp32" else getattr(self, f"{precision}_tflops")


H100_SXM = DeviceSpec(
    name="H100-SXM",
    kind="gpu",
    num_sms=132,
    l2_cache_bytes=50_000_000,
    hbm_tb_per_s=3.0,
    l2_tb_per_s=9.73,  # the most that a recorded launch passed when this was fitted: param_flows of figure 5 at block size 16 (fig5_pcviz_h100.csv)
    l1_tb_per_s=21.9,
    fp32_tflops=51.1,
    tf32_tflops=368.0,
    bf16_tflops=786.0,
    fp16_tflops=756.0,
    tera_exp_per_s=4.13,
    launch_overhead_us=1.02,
    memory_bytes=80_000_000_000,
    # of launches with few programs: HCLT-256 and HMM-1024 in kernels_h100.csv; those that pass values on: figure 5 in fig5_pcviz_h100.csv
    latencies_us=(
        ("guard", 0.85, 0.0), ("product", 0.67, 2.06), ("ratios", 3.5, 0.014), ("copy", 1.65, 0.0), ("scalar", 3.0, 1.0), ("tensor", 3.4, 0.4),
        ("level", 4.0, 0.22), ("param_flows", 3.4, 0.75), ("em", 3.0, 1.1), ("em_inputs", 4.0, 4.3),
    ),  # fmt: skip
    # fitted to the dense figure-5 layer at block sizes 1 to 8 (fig5_pcviz_h100.csv, layers_h100.csv); input flows and EM to HCLT-256 in
    # kernels_h100.csv
    scalar_steps_ns=(
        ("forward", 150.0, 5.7), ("param_flows", 183.0, 12.0), ("element_flows", 90.0, 15.6), ("ratios", 1400.0, 0.0),
        ("input_flows", 5.4, 0.0), ("em", 700.0, 0.0), ("paper", 485.0, 0.0),
    ),  # fmt: skip
    scaled_steps_tflops=232.0,  # that layer's sum_forward at block size 64, where nothing else takes as long (fig5_pcviz_h100.csv)
    paper_step_ns=(570.0, 33.0),  # the same by the paper's kernel, at block sizes 16 to 64
    float32_step_ns=(192.0, 47.8),  # and by that of float32 operands (layers_h100.csv)
    source="measured on one NVIDIA H100 80GB HBM3 (driver 580.159.04, torch 2.11.0+cu130, triton 3.6.0): assets/recorded/roofs_h100.csv; "
    "L2: the most that a launch of assets/recorded/fig5_pcviz_h100.csv passed when this was fitted (2026-11-26)",
    date="2026-11-23",
)


class ThisMachine:
    """This computer's CPU, measured by torch when ``spec`` is first read (about half a second) and kept after that."""

    def __init__(self, max_seconds: float = 0.25):
        self.max_seconds = max_seconds

    @cached_property
    def spec(self) -> DeviceSpec:
        return measure_cpu(self.max_seconds)


THIS_MACHINE = ThisMachine()  # one per process, so that a sweep over block sizes measures once


def measure_cpu(max_seconds: float = 0.25) -> DeviceSpec:
    """Copy bandwidth and single-precision matrix product rate of this machine's CPU: the best run within ``max_seconds``.

    Best, not median: a roof is what the machine can do when nothing else runs. Half of the time goes to each.
    """
    import torch  # only here: estimates for other devices need no torch

    source = torch.ones(8 << 20)  # 34 MB, and as much again for the target: more than most last-level caches
    target = torch.zeros_like(source)
    copy_seconds = _best_seconds(lambda: target.copy_(source), max_seconds / 2)
    n = 512
    a = b = torch.linspace(-1, 1, n * n).reshape(n, n)  # no random numbers: the caller's generator stays as it is
    out = torch.empty(n, n)
    product_seconds = _best_seconds(lambda: torch.mm(a, b, out=out), max_seconds / 2)
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    return DeviceSpec(
        name=f"this machine ({platform.processor() or platform.machine()}, {threads})",
        kind="cpu",
        num_sms=torch.get_num_threads(),
        l2_cache_bytes=last_level_cache_bytes(),
        hbm_tb_per_s=2 * source.numel() * 4 / copy_seconds / 1e12,
        l2_tb_per_s=None,
        l1_tb_per_s=None,
        fp32_tflops=2 * n**3 / product_seconds / 1e12,
        launch_overhead_us=0.0,
        source=f"measured here with torch {torch.__version__}: copy of {source.numel() * 4 // 10**6} MB, matrix product {n} x {n} x {n}",
        date=date.today().isoformat(),
    )


def _best_seconds(run, max_seconds: float) -> float:
    """Shortest of at least two runs within ``max_seconds``, the first (warm-up) not counted."""
    start = time.perf_counter()
    run()
    best, end, runs = float("inf"), start, 0
    while runs < 2 or end - start + best < max_seconds:
        begin = time.perf_counter()
        run()
        end = time.perf_counter()
        best, runs = min(best, end - begin), runs + 1
    return best


def last_level_cache_bytes(default: int = 16 << 20) -> int:
    """Size of the CPU's largest cache as Linux reports it; ``default`` (16 MiB) where the system does not say."""
    sizes = []
    units = {"K": 1 << 10, "M": 1 << 20}
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    for entry in os.listdir(folder) if folder.is_dir() else ():
        path = folder / entry / "size"
        if path.is_file():
            text = path.read_text().strip()
            if text[:-1].isdigit():
                sizes.append(int(text[:-1]) * units.get(text[-1], 1))
    return max(sizes, default=default)


def known_devices() -> tuple[str, ...]:
    return (H100_SXM.name, "cpu")


def device_spec(device: DeviceSpec | str) -> DeviceSpec:
    """A DeviceSpec by name: "H100-SXM", or "cpu" for this machine (measured once per process). A DeviceSpec stays as it is."""
    match device:
        case DeviceSpec():
            return device
        case "H100-SXM":
            return H100_SXM
        case "cpu":
            return THIS_MACHINE.spec
    known = ", ".join(map(repr, known_devices()))
    raise ValueError(f"Unknown device {device!r}. Known devices: {known}; or pass a pcviz.devices.DeviceSpec with its measured roofs.")


def check_precision(precision: str | None, spec: DeviceSpec) -> str:
    """``precision``, or the device's own when None."""
    if precision is None:
        return spec.default_precision
    if precision not in PRECISIONS:
        raise ValueError(f"precision expects None or one of {', '.join(map(repr, PRECISIONS))}, got {precision!r}.")
    if precision != "fp32" and not spec.tensor_tflops(precision):
        has = [name for name in PRECISIONS if name == "fp32" or spec.tensor_tflops(name)]
        raise ValueError(f"{spec.name} has no rate for {precision}; it has {', '.join(has)}. Choose one of these or precision=None.")
    return precision
