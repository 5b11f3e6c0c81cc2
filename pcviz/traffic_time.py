"""The time of one launch: what each roof of a device alone would take, and what no roof says, fitted to recorded launches."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pcviz_kernels.config import NAIVE
from pcviz_kernels.tiles import SHARED_BYTES, resources

from .devices import DeviceSpec
from .launch_records import PASSES, Launch, ceil_div
from .triton_operands import FULL, HALF

SCALAR_STEP = 4096  # values of a step on CUDA cores for which DeviceSpec.scalar_steps_ns has the time
# phase -> kind of DeviceSpec.latencies_us
LATENCY_OF = {"sum_guard": "guard", "flow_guard": "guard", "product": "product", "ratios": "ratios", "em": "em", "em_inputs": "em_inputs"}
PARAMETERS_WAITED_FOR = ("forward", "element_flows")
L2_WAITED_FOR = 0.78  # of what passes from L2 where steps scale: the rest does while memory is waited for (dense figure-5 layer, blocks of 16 to 64)
L2_BESIDE_HBM = 0.83  # the same of level launches, which wait for the longer of both, and a little for the other
RESIDENT = 8  # programs of four warps on a multiprocessor, by registers
THREADS = 2048  # of a multiprocessor, compute capability 8.0 and 9.0
UNROLLED = 4  # children that a thread of the naive parallelization waits for at a time: what compilers make of such a loop


def time_terms(
    launch: Launch, spec: DeviceSpec, precision: str, l1_bytes: int, l2_bytes: int, l2_to_l1_bytes: int, hbm_bytes: int
) -> tuple[tuple[str, float], ...]:
    """Milliseconds that each roof alone would take.

    The rates of L1, L2, arithmetic and exponentials belong to all multiprocessors together; with P programs on S of them
    the fullest one does ceil(P / S) programs, so these terms are longer by ceil(P / S) * S / P.
    """
    uneven = imbalance(launch, spec)
    terms = [("HBM", hbm_bytes / spec.hbm_tb_per_s * 1e-9)]
    if spec.l2_tb_per_s:
        terms.append(("L2", l2_bytes / spec.l2_tb_per_s * 1e-9 * uneven))
        if waits_for_both(launch):
            passed = l2_to_l1_bytes / spec.l2_tb_per_s * 1e-9 * uneven
            if is_level(launch):
                terms.append(("HBM + L2", math.hypot(terms[0][1], L2_BESIDE_HBM * passed)))
            else:
                terms.append(("HBM + L2", terms[0][1] + L2_WAITED_FOR * passed))
    if spec.l1_tb_per_s:
        terms.append(("L1", l1_bytes / spec.l1_tb_per_s * 1e-9 * uneven))
    unit, tflops = arithmetic_roof(launch, spec, precision)
    terms.append((unit, launch.tile_flops / tflops * 1e-9 * uneven))
    if spec.tera_exp_per_s:
        terms.append(("exponentials", launch.exponentials / spec.tera_exp_per_s * 1e-9 * uneven))
    if launch.kernel and spec.scalar_steps_ns:
        terms.append(("instructions", launch.total_steps / spec.num_sms * step_ns(launch, spec) * 1e-6 * uneven))
    if (launch.kernel or launch.config == NAIVE) and spec.latencies_us:
        terms.append(("latency", latency_ms(launch, spec)))
    if launch.kernel and not launch.multiplies:
        terms.extend(_together(dict(terms)))
    return tuple(terms)


def _together(terms: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Of launches that multiply no matrices: what memory, instructions and waiting take together where no one of them is far above the others,
    as none hides the others wholly then. The root of the sum of squares, which fits the recorded ratios and product flows."""
    parts = {name: terms[name] for name in ("HBM", "instructions", "latency") if terms.get(name)}
    together = math.hypot(*parts.values())
    if together > 1.05 * max(terms.values()):
        yield "HBM + latency", together


def waits_for_both(launch: Launch) -> bool:
    """Whether what comes from memory and what passes from L2 to L1 are both waited for: in our kernels on tensor cores, and of float32 in tiles
    of their size, as each step needs both, and shared memory and registers leave room for two to eight programs on a multiprocessor, too few
    to fill one transfer with another's. One after the other where a step scales its operand or product, as nothing is loaded or multiplied
    meanwhile; in a level launch as the root of the sum of squares. Stores to L2 are not waited for."""
    return bool(launch.kernel) and launch.multiplies and launch.config.uses_tensor_cores


def is_level(launch: Launch) -> bool:
    """Whether it is one of the backward pass of a level layer (``LayerSummary.level``), whose steps scale nothing."""
    return bool(launch.kernel) and launch.phase in PASSES["backward"] and not any(operand.name == "ratio scales" for operand in launch.operands)


def step_ns(launch: Launch, spec: DeviceSpec) -> float:
    """What a step keeps a multiprocessor busy: where it computes on CUDA cores (products in registers, of float32 matrices, EM, the
    indicators of input flows); and on tensor cores where parameters are an operand, because each product is scaled before it is added,
    or, in the kernel of the paper, because a step finds the largest child, and an exponential for each, before it multiplies."""
    tile, phase = launch.config, "paper" if launch.kernel == "sum_forward_paper_kernel" else launch.phase
    whole = spec.paper_step_ns if phase == "paper" else spec.float32_step_ns if launch.in_float32 else None
    if whole and tile.uses_tensor_cores:
        start, each = whole
        return (start + each * tile.tile_m) * tile.tile_k * tile.tile_b / (2 * SCALAR_STEP)
    if launch.multiplies and tile.uses_tensor_cores:
        rate = spec.scaled_steps_tflops if launch.phase in PARAMETERS_WAITED_FOR and not is_level(launch) else None
        return 2 * tile.tile_m * tile.tile_k * tile.tile_b * spec.num_sms / rate * 1e-3 if rate else 0.0
    fixed, each = next((row[1:] for row in spec.scalar_steps_ns if row[0] == phase), (0.0, 0.0))
    return fixed * tile.tile_m * tile.tile_k * tile.tile_b / SCALAR_STEP + each * launch.gathered


def latency_ms(launch: Launch, spec: DeviceSpec) -> float:
    """Least time of the programs, as many at a time as multiprocessors hold: what each waits for, whatever the bandwidth."""
    kind, steps = LATENCY_OF.get(launch.phase, "copy"), launch.steps
    if launch.config == NAIVE:
        kind, steps = "scalar", ceil_div(steps, UNROLLED)
    elif launch.phase == "ratios":
        steps = launch.config.tile_m  # rows of a program: the more it owns, the fewer are resident
    elif launch.multiplies:
        kind = "param_flows" if launch.phase == "param_flows" else "tensor"
        kind = "scalar" if not launch.config.uses_tensor_cores else "level" if is_level(launch) else kind
    start, each = next((row[1:] for row in spec.latencies_us if row[0] == kind), (0.0, 0.0))
    return ceil_div(launch.programs, spec.num_sms * resident(launch)) * (start + steps * each) * 1e-3


def resident(launch: Launch) -> int:
    """Programs that a multiprocessor holds at a time: RESIDENT, or as many as its shared memory has room for; of section 3's
    parallelization, whose programs are single threads, THREADS."""
    if launch.config == NAIVE:
        return THREADS
    if not launch.multiplies or not launch.config.uses_tensor_cores:
        return RESIDENT
    in_flight = resources(launch.config, launch.phase, FULL if launch.in_float32 else HALF).in_flight_bytes
    return max(1, min(RESIDENT, SHARED_BYTES // in_flight))


def imbalance(launch: Launch, spec: DeviceSpec) -> float:
    """How much longer the fullest multiprocessor works than the average: ceil(P / S) * S / P."""
    return ceil_div(launch.programs, spec.num_sms) * spec.num_sms / launch.programs


def arithmetic_roof(launch: Launch, spec: DeviceSpec, precision: str) -> tuple[str, float]:
    """(unit, TFLOP/s): tensor cores when every tile side is at least 16 and the precision uses them."""
    tensor = spec.tensor_tflops(precision)
    if tensor and launch.config.uses_tensor_cores:
        return "tensor cores", tensor
    return ("CUDA cores" if spec.kind == "gpu" else "arithmetic"), spec.fp32_tflops
