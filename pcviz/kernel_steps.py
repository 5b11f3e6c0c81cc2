"""What one program of a forward launch does, step by step, in numpy: the numbers of the Triton kernel without Triton.

tests/interpreted_triton.py runs the real kernels under Triton's interpreter and compares: operands of every matrix product and
stored logarithms are equal to the last bit. So a laptop without Triton can show them. Logarithms are to base 2.

Shape legend: B batch, M sums of a block, W children of a sum block with its pseudo blocks, in steps of tile_k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pcviz_kernels.config import LaunchConfig
from pcviz_kernels.triton_launches import UNIT, TritonLayer, TritonProducts, TritonSums, lost_log2

from . import triton_trace
from .tracing import VARIANTS, Launch, ceil_div

HALF = np.float32(32768.0)  # values in [0, 1] are stored as float16 times 2^15; float32 as they are


@dataclass(frozen=True, eq=False)
class ForwardStep:
    """Children ``first`` to ``first + count - 1`` of the sum block. ``theta`` float16 [tile_k, tile_m] and ``x`` [tile_k, tile_b] (float16
    as the matrix product gets it, float32 without tensor cores), both times 2^15; ``base`` [tile_b] the logarithm that x is relative to
    (paper: the running maximum; else the largest scale of all children); ``factor`` [tile_b] what the product is
    multiplied by; ``acc`` float32 [tile_m, tile_b] after the step, times 2^30; ``kept`` [tile_b] what the old accumulator was multiplied by.
    Variant "float32" has all in float32, times 1."""

    first: int
    count: int
    rows: np.ndarray  # [tile_k] element rows, 0 where the row belongs to a pseudo block or lies past the last child
    theta: np.ndarray
    x: np.ndarray
    base: np.ndarray
    factor: np.ndarray
    kept: np.ndarray
    acc: np.ndarray


@dataclass(frozen=True, eq=False)
class ForwardProgram:
    """Steps of one program and what it stores: ``logs`` [tile_m, tile_b], +inf for sums that the guard computes again. ``stored_one``: as what
    1 is stored in the steps' operands."""

    steps: tuple[ForwardStep, ...]
    logs: np.ndarray
    stored_one: float


def forward_program(
    layer: TritonLayer, g: int, node_logs: np.ndarray, params: np.ndarray, config: LaunchConfig, column: int, tile: int, variant: str
) -> ForwardProgram:
    """The program of batch tile ``column`` and row tile ``tile`` of the launch of group ``g``.

    node_logs: float32 [node rows, B], base 2, of inputs and lower layers; params: in the plan's layout, float16 times 2^15, or
    for variant "float32" float32. ``config``: the launch's.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant expects one of {', '.join(map(repr, VARIANTS))}, got {variant!r}.")
    launch, products = layer.sums[g], layer.products
    tiles = launch.num_sum_blocks * launch.sum_block // config.tile_m
    if not 0 <= tile < tiles:
        raise ValueError(f"tile expects 0 to {tiles - 1} in group {g}, got {tile!r}.")
    low = column * config.tile_b
    logs = np.full((len(node_logs), config.tile_b), -np.inf, dtype=np.float32)
    shown = node_logs[:, low : low + config.tile_b]
    if not shown.shape[1]:
        raise ValueError(f"column expects a batch tile of {node_logs.shape[1]} samples, tile_b {config.tile_b}; got {column!r}.")
    logs[:, : shown.shape[1]] = shown
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        elements = element_logs(products, logs)
        elements[:, shown.shape[1] :] = -np.inf
        walk = _paper if variant == "paper" else _scaled
        steps, float32 = tuple(walk(launch, products, elements, params, config, tile)), variant == "float32"
        stored_one = np.float32(1) if float32 else HALF
        return ForwardProgram(steps, _stored(launch, steps, config, tile, stored_one, float32), float(stored_one))


def element_logs(products: TritonProducts, logs: np.ndarray) -> np.ndarray:
    """[element rows, tile_b] log p of products; the rows of no product are impossible."""
    total = None
    for factor in products.factors.numpy():
        part = np.where((factor >= 0)[:, None], logs[np.maximum(factor, 0)], np.float32(0.0))
        total = part if total is None else total + part
    return total


def _children(launch: TritonSums, config: LaunchConfig, tile: int) -> Iterator[tuple]:
    """(first child, real children, element rows, parameters [tile_k, tile_m], units) of each step."""
    g, first_m = tile // (launch.sum_block // config.tile_m), tile % (launch.sum_block // config.tile_m) * config.tile_m
    cids, pids, units = (getattr(launch, name).numpy().astype(np.int64)[g] for name in ("cids", "pids", "units"))
    width, m = launch.num_runs * launch.run, first_m + np.arange(config.tile_m)
    for first in range(0, width, config.tile_k):
        k = first + np.arange(config.tile_k)
        inside = k < width
        e, within = np.where(inside, k // launch.run, 0), k % launch.run
        rows = np.where(inside, cids[e] + within, 0)
        yield first, int(inside.sum()), rows, inside, (pids[e] + within * launch.sum_block)[:, None] + m, units[e] + within // UNIT


def _read(rows: np.ndarray, inside: np.ndarray, first: int, launch: TritonSums) -> np.ndarray:
    """The rows that the kernel really reads: lanes past the last child read the first rows of all, with parameters of 0."""
    return np.where(inside, rows, np.arange(first, first + len(rows)) % launch.run)


def _paper(launch: TritonSums, products, elements, half_params, config: LaunchConfig, tile: int) -> Iterator[ForwardStep]:
    largest = np.full(config.tile_b, -np.inf, dtype=np.float32)
    acc = np.zeros((config.tile_b, config.tile_m), dtype=np.float32)
    for first, count, rows, inside, at, _ in _children(launch, config, tile):
        child = np.where(inside[:, None], elements[rows], np.float32(-np.inf))
        theta = np.where(inside[:, None], half_params[np.where(inside[:, None], at, 0)], np.float16(0))
        new = np.maximum(largest, child.max(axis=0))
        x = to_half(np.exp2(child - finite(new)))
        if config.uses_tensor_cores:
            product = np.matmul(x.T, theta, dtype=np.float32)
        else:
            product = (theta.astype(np.float32)[:, :, None] * x.astype(np.float32)[:, None, :]).sum(axis=0).T
        kept = np.exp2(largest - finite(new))
        acc = acc * kept[:, None] + product
        largest = new
        yield ForwardStep(first, count, rows, theta, x, largest, np.ones_like(kept), kept, acc.T)


def _scaled(launch: TritonSums, products: TritonProducts, elements, params, config: LaunchConfig, tile: int) -> Iterator[ForwardStep]:
    stored, tops = scaled_units(products, elements, params.dtype)
    top = tops[launch.block_units.numpy()[tile // (launch.sum_block // config.tile_m)]].max(axis=0)
    base, ones = finite(top), np.ones(config.tile_b, dtype=np.float32)
    tensor, runs = config.uses_tensor_cores, launch.run >= config.tile_k
    acc = np.zeros((config.tile_b, config.tile_m) if tensor else (config.tile_k, config.tile_m, config.tile_b), dtype=np.float32)
    for first, count, rows, inside, at, units in _children(launch, config, tile):
        theta = np.where(inside[:, None], params[np.where(inside[:, None], at, 0)], params.dtype.type(0))
        factor = ones
        if tensor and runs:  # one unit: the product is brought to the base, not its operand
            x, factor = stored[rows], np.exp2(tops[units[0]] - base)
            acc = acc + np.matmul(x.T, theta, dtype=np.float32) * factor[:, None]
        else:
            x = stored[_read(rows, inside, first, launch)].astype(np.float32) * np.exp2(tops[np.where(inside, units, 0)] - base)
            if tensor:
                x = x.astype(params.dtype)
                acc = acc + np.matmul(x.T, theta, dtype=np.float32)
            else:
                acc = acc + theta.astype(np.float32)[:, :, None] * x[:, None, :]
        yield ForwardStep(first, count, rows, theta, x, top, factor, ones, acc.T if tensor else acc.sum(axis=0))


def scaled_units(products: TritonProducts, elements: np.ndarray, dtype=np.float16) -> tuple[np.ndarray, np.ndarray]:
    """Elements relative to the largest of their unit, as float16 times 2^15 or as float32, and log2 of that largest."""
    values, tops = np.zeros(elements.shape, dtype=dtype), []
    for start, rows in zip(products.unit_starts.numpy(), products.unit_rows.numpy()):
        part = elements[start : start + rows]
        tops.append(part.max(axis=0))
        scaled = np.exp2(part - finite(tops[-1]))
        values[start : start + rows] = to_half(scaled) if dtype == np.float16 else scaled
    return values, np.stack(tops)


def _stored(
    launch: TritonSums, steps: tuple[ForwardStep, ...], config: LaunchConfig, tile: int, stored_one: np.float32, float32: bool
) -> np.ndarray:
    per_block = launch.sum_block // config.tile_m
    m = tile % per_block * config.tile_m + np.arange(config.tile_m)
    value, top = steps[-1].acc * (1 / (stored_one * stored_one)), steps[-1].base
    real = m < int(launch.num_nodes[tile // per_block])
    lost = (value < np.float32(2.0 ** lost_log2(launch.num_runs * launch.run, float32))) & (top > -np.inf) & real[:, None]
    return np.where(lost, np.float32(np.inf), np.log2(value) + top)


def finite(top: np.ndarray) -> np.ndarray:
    return np.where(top > -np.inf, top, np.float32(0.0))


def to_half(values: np.ndarray) -> np.ndarray:
    return (values * HALF).astype(np.float16)


def lost_bound(launch: Launch, variant: str = "scaled") -> float:
    """log2 of an accumulator, relative to the block's scale, below which the guard computes a sum again."""
    return lost_log2(launch.fan_in * launch.child_block, variant == "float32")


def program_bytes(launch: Launch, column: int, entry: int) -> list[int]:
    """Bytes that a program of batch tile ``column`` requests: [indices, step 1, step 2, ..., store]. Over all programs they add up to
    the traffic model's ``l1_bytes`` of the launch. ``entry``: bytes of a value and of a parameter of a planned launch (indices have 4)."""
    if launch.kernel:
        return triton_trace.program_bytes(launch)
    config, width = launch.config, launch.fan_in * launch.child_block
    samples = min(config.tile_b, launch.batch_size - column * config.tile_b)
    counts = [min(config.tile_k, width - first) for first in range(0, width, config.tile_k)]
    indices = launch.operand("indices").loads // launch.programs
    return [4 * indices, *(entry * count * (config.tile_m + samples) for count in counts), entry * config.tile_m * samples]


def bytes_before(launch: Launch, program: int, entry: int) -> int:
    """What the programs before ``program`` request, in the order of the grid (batch tiles run fastest)."""
    columns = launch.grid[0]
    each = [sum(program_bytes(launch, column, entry)) for column in (range(columns) if columns < 3 else (0, columns - 1))]
    full = each[0]
    last = each[-1]
    rounds, rest = divmod(program, columns)
    return rounds * (full * (columns - 1) + last) + full * rest


def wave_of(launch: Launch, program: int, num_sms: int) -> tuple[int, int]:
    """(wave of the program, number of waves), both from 1, with one program at a time on each multiprocessor."""
    return program // num_sms + 1, ceil_div(launch.programs, num_sms)


def levels(launch: TritonSums, config: LaunchConfig, column: int, tile: int, steps: tuple[ForwardStep, ...], fits_l2: bool) -> list[tuple[str, str]]:
    """For each step the level that its parameters and its children come from: "HBM" where this program is the first to read them
    (or where L2 is too small to keep them), else "L2"; a step that spans both says so. As in the traffic model, L1 keeps nothing."""
    per_block = launch.sum_block // config.tile_m
    g, own = tile // per_block, tile % per_block == 0
    cids, pids = launch.cids.numpy(), launch.pids.numpy()
    found = []
    for step in steps:
        runs = np.unique(np.arange(step.first, step.first + step.count) // launch.run)
        new_e = first_read(cids, g, runs) if own and fits_l2 else np.full(len(runs), not fits_l2)
        new_p = first_read(pids, g, runs) if column == 0 and fits_l2 else np.full(len(runs), not fits_l2)
        found.append((level(new_p), level(new_e)))
    return found


def first_read(index: np.ndarray, g: int, runs: np.ndarray) -> np.ndarray:
    """Which of the runs of sum block ``g`` no earlier sum block reads."""
    return ~np.isin(index[g, runs], index[:g])


def level(new: np.ndarray) -> str:
    return "HBM" if new.all() else "L2" if not new.any() else "HBM and L2"
