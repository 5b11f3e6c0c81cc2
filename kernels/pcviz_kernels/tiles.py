"""Which tiles a launch may have, and why not: what the kernels of impl="triton" can run for given blocks.

A *block* is a property of the stored parameters, a *tile* of one launch; every tile below gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import TENSOR_CORE_TILE, LaunchConfig, check_phase, default_config
from .tuned import UNIT

SIDES = {"tile_m": (1, 2, 4, 8, 16, 32, 64, 128), "tile_k": (1, 2, 4, 8, 16, 32, 64, 128), "tile_b": (16, 32, 64, 128, 256)}
LONGEST_RUN = 1024  # rows of children that a launch reads as one run: every length is a kernel of its own
PITCH = 128  # samples: buffers hold a multiple of it (triton_blocks.PITCH, which needs triton to be imported)
FLAGGED = 32  # sums times samples of one flag of the guard, at least: triton_engine reserves that many
REGISTERS = 255  # of a thread, on every NVIDIA GPU since Kepler
SHARED_BYTES = 227 << 10  # of a program, compute capability 9.0


@dataclass(frozen=True)
class Resources:
    """What a program holds. ``accumulators``: 32-bit registers of each thread for the accumulator alone; ``in_flight_bytes``: of operand tiles
    being loaded, num_stages at a time. Estimates: the compiler needs further registers, and may keep operands elsewhere."""

    accumulators: float
    in_flight_bytes: int


def with_sides(phase: str, sum_block: int, child_block: int, tile_m: int, tile_k: int, tile_b: int) -> LaunchConfig:
    """A config of these sides with the warps and stages that the rule would give them: 8 warps where the owned tile has 8,192 values,
    forward 16,384, else 4."""
    stages = default_config(phase, sum_block, child_block).num_stages
    owned = {"forward": tile_m * tile_b // 2, "element_flows": tile_k * tile_b, "param_flows": 0}[phase]
    tensor_cores = min(tile_m, tile_k, tile_b) >= TENSOR_CORE_TILE
    return LaunchConfig(tile_m, tile_k, tile_b, num_warps=8 if tensor_cores and owned >= 8192 else 4, num_stages=stages)


def resources(config: LaunchConfig, phase: str, entry_bytes: int = 2) -> Resources:
    """Accumulator: the owned tile, and without tensor cores a value for each product of a step. Operands: both of a step, in entries of
    ``entry_bytes``, by default float16."""
    check_phase(phase)
    m, k, b = config.tile_m, config.tile_k, config.tile_b
    owned, operands = {
        "forward": (m * b, m * k + k * b),
        "element_flows": (k * b, m * k + m * b),
        "param_flows": (m * k, k * b + m * b),
    }[phase]
    values = owned if config.uses_tensor_cores else m * k * b
    return Resources(values / (32 * config.num_warps), entry_bytes * operands * config.num_stages)


def why_not(config: LaunchConfig, phase: str, sum_block: int, child_block: int) -> str:
    """Why the kernels cannot run ``config`` for blocks of ``sum_block`` x ``child_block``; "" if they can."""
    check_phase(phase)
    own, side, block, rows = "tile_m", config.tile_m, sum_block, "sum"
    if phase == "element_flows":
        own, side, block, rows = "tile_k", config.tile_k, child_block, "child"
    if side > block:
        return f"{own} {side}: a tile of {rows} rows lies inside one {rows} block, which has {block}."
    if block < TENSOR_CORE_TILE:
        if side < block:
            return f"{own} {side}: blocks of fewer than {TENSOR_CORE_TILE} rows are not cut; this one has {block}."
    elif not config.uses_tensor_cores:
        return f"Tensor cores multiply tiles of at least {TENSOR_CORE_TILE} on every side."
    return _why_not_scales(config, phase, sum_block) or _why_not_memory(config, phase)


def _why_not_scales(config: LaunchConfig, phase: str, sum_block: int) -> str:
    """float16 operands have one scale for each UNIT of rows, and a step on tensor cores multiplies by one scale."""
    m, k = config.tile_m, config.tile_k
    if not config.uses_tensor_cores:  # each row is brought to the right scale by itself
        return ""
    if k > UNIT:
        return f"tile_k {k}: {UNIT} children share a scale, and a step has one."
    if m > UNIT and phase != "forward":
        return f"tile_m {m}: {UNIT} sums share a scale of their flows, and a step has one."
    if phase == "element_flows" and m > sum_block >= TENSOR_CORE_TILE:
        return f"tile_m {m}: a step lies inside one parent block, which has {sum_block} rows."
    return ""


def _why_not_memory(config: LaunchConfig, phase: str) -> str:
    need = resources(config, phase)
    if config.tile_b > PITCH:
        return f"tile_b {config.tile_b}: buffers hold a multiple of {PITCH} samples."
    if phase == "forward" and config.tile_m * config.tile_b < FLAGGED:
        return f"tile_b {config.tile_b}: a flag of the guard stands for at least {FLAGGED} values."
    if need.accumulators > REGISTERS:
        return f"The accumulator alone would need {need.accumulators:,.0f} registers a thread; there are {REGISTERS}."
    if need.in_flight_bytes > SHARED_BYTES:
        return f"{need.in_flight_bytes:,} bytes of operands in flight; shared memory has {SHARED_BYTES:,}."
    return ""
