"""What one program of a backward launch does, step by step, in numpy: element flows, parameter flows and EM as the Triton kernels compute
them. tests/interpreted_triton.py compares with the real kernels, to the last bit. See kernel_steps.py for the forward pass.

Flows: F_n = d log p(root) / d log p(n) of a sample; an edge has theta_{n,c} p_c (F_n / p_n) (arXiv 2406.00766, section 5). Operands are
float16 times 2^15 relative to a scale; logarithms are to base 2.
Shape legend: B samples (whole batch, filled up to PITCH), M rows of a sum block, K rows of a child block, R parents of a child block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pcviz_kernels.config import LaunchConfig, em_config
from pcviz_kernels.launches import FLOW_SCALE
from pcviz_kernels.tiles import PITCH
from pcviz_kernels.triton_launches import LARGEST_RATIO, LEAST_FLOW, UNIT, TritonElements, TritonLayer, TritonSums, lost_log2

from .kernel_steps import element_logs, finite, first_read, level, scaled_units, to_half

MOST = np.float32(31.0)  # log2 of the largest factor that element flows multiply a step with
FLOW_LOG2 = np.float32(math.log2(FLOW_SCALE))  # parameter flows are stored times FLOW_SCALE
UNSCALED = np.float32(1 / FLOW_SCALE)


@dataclass(frozen=True, eq=False)
class LayerValues:
    """Operands of a layer's backward launches: ``halves`` float16 [element rows, B] with ``tops`` [units, B]; ``ratios`` F / p of
    sums, float16 [ratio rows, B] with ``ratio_tops`` [ratio units, B]; ``lost`` bool [ratio rows, B]: the guard has their flows.
    ``level``: all are on the scales of the sum blocks' children, so that no step multiplies by one."""

    halves: np.ndarray
    tops: np.ndarray
    ratios: np.ndarray
    ratio_tops: np.ndarray
    lost: np.ndarray
    batch: int
    level: bool


@dataclass(frozen=True, eq=False)
class FlowStep:
    """Rows ``first`` to ``first + count - 1`` of what the program walks over (parents, or samples). ``left`` and ``right``: the operands of the
    matrix product, times 2^15 each: element flows theta [tile_m, tile_k] and ratios [tile_m, tile_b], parameter flows elements
    [tile_k, tile_b] and ratios [tile_m, tile_b]; ``lost``, bool like the ratios: left to the guard. ``factor`` [tile_b] or scalar: what the
    product is multiplied by; ``acc`` after the step: element flows [tile_k, tile_b], parameter flows [tile_k, tile_m]."""

    first: int
    count: int
    left: np.ndarray
    right: np.ndarray
    lost: np.ndarray
    factor: np.ndarray
    acc: np.ndarray


@dataclass(frozen=True, eq=False)
class FlowProgram:
    """``stored``: what the program writes (or adds), as the kernel stores it; ``unit``: what an accumulator is to be multiplied by;
    ``level``: of LayerValues."""

    steps: tuple[FlowStep, ...]
    stored: np.ndarray
    unit: np.ndarray
    level: bool


def layer_values(layer: TritonLayer, node_logs: np.ndarray, node_flows: np.ndarray) -> LayerValues:
    """From base-2 logarithms and flows of all nodes, float32 [node rows, B]: what the backward launches of ``layer`` read."""
    batch = node_logs.shape[1]
    padding = ((0, 0), (0, -batch % PITCH))
    logs = np.pad(node_logs, padding, constant_values=-np.inf)
    flows = np.pad(node_flows, padding)
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        elements = element_logs(layer.products, logs)
        elements[:, batch:] = -np.inf
        halves, tops = scaled_units(layer.products, elements)
        if layer.level:
            halves, tops = _levelled(layer, elements, tops)
        ratios = np.zeros((layer.num_ratio_rows, logs.shape[1]), np.float16)
        ratio_tops = np.full((layer.num_ratio_units, logs.shape[1]), -np.inf, np.float32)
        lost = np.zeros(ratios.shape, bool)
        for launch in layer.sums:
            _ratios(launch, logs, flows, tops, ratios, ratio_tops, lost, layer.level)
    return LayerValues(halves, tops, ratios, ratio_tops, lost, batch, layer.level)


def _levelled(layer: TritonLayer, elements: np.ndarray, tops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elements as float16 relative to the largest child of the sum blocks that read them, and log2 of that largest for each unit."""
    products, block_tops = layer.products, {0: np.full(tops.shape[1], -np.inf, np.float32)}
    for launch in layer.sums:
        for g, units in enumerate(launch.block_units.numpy()):
            block_tops[launch.first_block + g] = tops[units].max(axis=0)
    tops = np.stack([block_tops[reader] for reader in products.readers.tolist()])
    halves = np.zeros(elements.shape, np.float16)
    for top, start, rows in zip(tops, products.unit_starts.numpy(), products.unit_rows.numpy()):
        halves[start : start + rows] = to_half(np.exp2(elements[start : start + rows] - finite(top)))
    return halves, tops


def _ratios(launch: TritonSums, logs, flows, tops, ratios, ratio_tops, lost, level: bool) -> None:
    """F / p of a group's sums, relative to the largest of their unit, or to what the scale of their children leaves room for; sums that the
    guard computes get 0."""
    most = np.float32(LARGEST_RATIO if level else np.inf)
    m, rows = launch.sum_block, min(UNIT, launch.sum_block)
    for g, nid in enumerate(launch.nids.numpy().astype(np.int64)):
        top = tops[launch.block_units.numpy()[g]].max(axis=0)
        real = (np.arange(m) < int(launch.num_nodes[g]))[:, None]
        log_p, flow = np.where(real, logs[nid : nid + m], -np.inf), np.where(real, flows[nid : nid + m], np.float32(0))
        kept = (log_p >= top + np.float32(lost_log2(launch.num_runs * launch.run))) & ~(np.log2(flow) - log_p > most - top)
        found = (flow > 0) & kept & (log_p > -np.inf)
        lost[launch.first_row + g * m : launch.first_row + (g + 1) * m] = ~kept & (flow > np.float32(LEAST_FLOW)) & (log_p > -np.inf)
        log_ratio = np.where(found, np.log2(flow) - log_p, np.float32(-np.inf)).astype(np.float32)
        for unit, first in enumerate(range(0, m, rows)):
            part = log_ratio[first : first + rows]
            at, largest = launch.first_row + g * m + first, np.where(top > -np.inf, most - top, top) if level else part.max(axis=0)
            ratios[at : at + rows] = to_half(np.exp2(part - finite(largest)))
            ratio_tops[launch.first_unit + g * (m // rows) + unit] = largest


def param_flows_program(layer: TritonLayer, g: int, values: LayerValues, config: LaunchConfig, column: int, tile: int) -> FlowProgram:
    """The program that owns tile ``column`` of the children and row tile ``tile`` of the sums of group ``g``, walking over the batch.
    ``stored`` [tile_k, tile_m]: sum of p_c F_n / p_n over the batch, times 2^-40, which it adds to the parameter flows."""
    launch, per_block = layer.sums[g], layer.sums[g].sum_block // config.tile_m
    block, first_m = tile // per_block, tile % per_block * config.tile_m
    rows, units, one_unit = _children(launch, block, column * config.tile_k, config.tile_k)
    at = launch.first_row + block * launch.sum_block + first_m
    unit_rows = min(UNIT, launch.sum_block)
    above = values.ratio_tops[launch.first_unit + block * (launch.sum_block // unit_rows) + first_m // unit_rows]
    lost, tensor = np.float32(lost_log2(launch.num_runs * launch.run)), config.uses_tensor_cores
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        scales = values.tops[one_unit][None, :] if launch.run >= config.tile_k and tensor else values.tops[units]
        end = -(-values.batch // config.tile_b) * config.tile_b
        largest = np.minimum(finite((scales + above[None, :])[:, :end].max()), -lost) if tensor else np.float32(0)
        if values.level:
            largest = np.float32(LARGEST_RATIO)
        limit = np.float32(0) if tensor else -lost
        acc = np.zeros((config.tile_k, config.tile_m, *(() if tensor else (config.tile_b,))), np.float32)
        steps = []
        for first in range(0, end, config.tile_b):
            b = slice(first, first + config.tile_b)
            ratio = values.ratios[at : at + config.tile_m, b]
            brought = np.exp2(np.minimum(scales[:, b] + (above[b] - largest if tensor else above[b])[None, :], limit))
            x = values.halves[rows, b].astype(np.float32) * (np.float32(1) if values.level else brought)
            if tensor:
                x = x.astype(np.float16)
                acc = np.matmul(x, ratio.T, dtype=np.float32) + acc
            else:
                acc = acc + x[:, None, :] * ratio.astype(np.float32)[None, :, :]
            count = min(config.tile_b, values.batch - first)
            gone = values.lost[at : at + config.tile_m, b]
            steps.append(FlowStep(first, count, x, ratio, gone, np.ones(1, np.float32), acc if tensor else acc.sum(axis=2)))
        unit = np.exp2(np.float32(-30.0) + largest)
        return FlowProgram(tuple(steps), steps[-1].acc * np.exp2(FLOW_LOG2 - np.float32(30.0) + largest), unit, values.level)


def _children(launch: TritonSums, block: int, first: int, count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(element rows, their units, the unit of the first) of ``count`` children of a sum block; past the last child, as the kernel reads."""
    cids, units = launch.cids.numpy().astype(np.int64)[block], launch.units.numpy().astype(np.int64)[block]
    k = first + np.arange(count)
    inside = k < launch.num_runs * launch.run
    e, within = np.where(inside, k // launch.run, 0), k % launch.run
    rows = np.where(inside, cids[e], 0) + within
    return rows, np.where(inside, units[e], 0) + within // UNIT, int(units[first // launch.run] + first % launch.run // UNIT)


def element_flows_program(
    layer: TritonLayer, g: int, values: LayerValues, half_params: np.ndarray, config: LaunchConfig, column: int, tile: int
) -> FlowProgram:
    """The program that owns batch tile ``column`` and tile ``tile`` of the children of backward group ``g``, walking over their parents.
    ``stored`` [tile_k, tile_b]: the elements' flows from this group, float32."""
    launch, per_block = layer.elements[g], layer.elements[g].child_block // config.tile_k
    c, first_k = tile // per_block, tile % per_block * config.tile_k
    b = slice(column * config.tile_b, (column + 1) * config.tile_b)
    row = int(launch.chids[c]) + first_k
    own = values.tops[int(launch.units[c]) + first_k // UNIT, b]
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        walk = _parents_one_by_one if launch.sum_block >= config.tile_m and config.uses_tensor_cores else _parents_together
        steps, last = walk(launch, values, half_params, config, c, first_k, b, own)
        unit = values.halves[row : row + config.tile_k, b].astype(np.float32) * np.float32(2.842170943040401e-14)
        flow = steps[-1].acc * last * values.halves[row : row + config.tile_k, b].astype(np.float32) * np.float32(2.842170943040401e-14)
    return FlowProgram(tuple(steps), flow, unit * last, values.level)


def _parents_one_by_one(launch: TritonElements, values, half_params, config, c, first_k, b, own):
    """A step lies inside one parent block: its product is multiplied by what brings both scales together."""
    m, tile = launch.sum_block, config.tile_m
    rows, pids, units = (getattr(launch, name).numpy().astype(np.int64)[c] for name in ("parrows", "parpids", "parunits"))
    acc, steps = np.zeros((config.tile_b, config.tile_k), np.float32), []
    for first in range(0, launch.num_parents * m, tile):
        r, j = divmod(first, m)
        theta = half_params[pids[r] + (first_k + np.arange(config.tile_k))[None, :] * m + (j + np.arange(tile))[:, None]]
        ratio = values.ratios[rows[r] + j : rows[r] + j + tile, b]
        factor = np.exp2(np.minimum(own + values.ratio_tops[units[r] + j // min(UNIT, m), b], MOST))
        if values.level:  # of all steps the same, so that the kernel multiplies once, at the end
            factor = np.full(1, 2.0**LARGEST_RATIO, np.float32)
        acc = acc + np.matmul(ratio.T, theta, dtype=np.float32) * factor[:, None]
        lost = values.lost[rows[r] + j : rows[r] + j + tile, b] & bool(units[r])  # pseudo parents have unit 0
        steps.append(FlowStep(first, tile, theta, ratio, lost, factor, acc.T))
    return steps, np.float32(1)


def _parents_together(launch: TritonElements, values, half_params, config, c, first_k, b, own):
    """A step spans parents: on tensor cores all are brought to the largest scale, without them each to the children's own."""
    m, width, tensor = launch.sum_block, launch.num_parents * launch.sum_block, config.uses_tensor_cores
    rows, pids, units = (getattr(launch, name).numpy().astype(np.int64)[c] for name in ("parrows", "parpids", "parunits"))
    largest = values.ratio_tops[units, b].max(axis=0)
    k = first_k + np.arange(config.tile_k)
    acc, steps = np.zeros((config.tile_b, config.tile_k) if tensor else (config.tile_m, config.tile_k, config.tile_b), np.float32), []
    for first in range(0, width, config.tile_m):
        at = first + np.arange(config.tile_m)
        inside = at < width
        r, within = np.where(inside, at // m, 0), at % m
        row, unit = np.where(inside, rows[r], 0) + within, np.where(inside, units[r], 0)
        entry = np.where(inside, pids[r] + within, 0)[:, None] + k[None, :] * m * inside[:, None]
        theta = np.where(inside[:, None], half_params[entry], np.float16(0))
        ratio = values.ratios[row, b] if values.level else values.ratios[row, b].astype(np.float32)
        if values.level:
            acc = acc + np.matmul(ratio.T, theta, dtype=np.float32)
        elif tensor:
            ratio = (ratio * np.exp2(values.ratio_tops[unit, b] - finite(largest)[None, :])).astype(np.float16)
            acc = acc + np.matmul(ratio.T, theta, dtype=np.float32)
        else:
            unit = unit + within // min(UNIT, m)
            ratio = ratio * np.exp2(np.minimum(own[None, :] + values.ratio_tops[unit, b], MOST))
            acc = acc + theta.astype(np.float32)[:, :, None] * ratio[:, None, :]
        lost = values.lost[row, b] & (inside & (units[r] > 0))[:, None]
        steps.append(FlowStep(first, int(inside.sum()), theta, ratio, lost, np.ones(1, np.float32), acc.T if tensor else acc.sum(axis=0)))
    if values.level:
        return steps, np.float32(2.0**LARGEST_RATIO)
    return steps, np.exp2(np.minimum(own + largest, MOST))[None, :] if tensor else np.float32(1)


def flow_levels(layer: TritonLayer, phase: str, g: int, config: LaunchConfig, column: int, tile: int, steps, fits_l2: bool) -> list[tuple[str, str]]:
    """For each step the level that its left and its right operand come from; see kernel_steps.levels."""
    if phase == "element_flows":
        launch, per_block = layer.elements[g], layer.elements[g].child_block // config.tile_k
        c, found = tile // per_block, []
        for step in steps:
            r = np.unique(np.arange(step.first, step.first + step.count) // launch.sum_block)
            left = first_read(launch.parpids.numpy(), c, r) if column == 0 and fits_l2 else np.full(len(r), not fits_l2)
            right = first_read(launch.parrows.numpy(), c, r) if tile % per_block == 0 and fits_l2 else np.full(len(r), not fits_l2)
            found.append((level(left), level(right)))
        return found
    launch, per_block = layer.sums[g], layer.sums[g].sum_block // config.tile_m
    last = min((column + 1) * config.tile_k, launch.num_runs * launch.run)
    e = np.unique(np.arange(column * config.tile_k, last) // launch.run)
    own = tile % per_block == 0 and fits_l2
    left = level(first_read(launch.cids.numpy(), tile // per_block, e)) if own else level(np.full(1, not fits_l2))
    return [(left, level(np.full(1, column == 0 or not fits_l2)))] * len(steps)


@dataclass(frozen=True, eq=False)
class EmStep:
    """``walk`` 1 adds up, 2 writes. ``theta`` and ``counts`` (theta times the stored flow, times 2^40: F of each edge over the data), float32
    [tile_k, tile_m]; ``total`` [tile_m] so far; ``new`` the parameters that the step writes, None in walk 1."""

    walk: int
    first: int
    count: int
    theta: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    new: np.ndarray | None


def em_tile(launch: TritonSums) -> LaunchConfig:
    """What a program of EM owns, tile_m sums, and walks over, tile_k children at a time."""
    return em_config(launch.sum_block, launch.num_runs * launch.run)


def em_stored(launch: TritonSums) -> np.ndarray:
    """[sum blocks that EM updates, steps of a walk] stored children in each step, for which the kernel loads parameters and flows."""
    real = np.repeat(launch.em_pids.numpy() > 0, launch.run, axis=1)
    return np.add.reduceat(real, np.arange(0, real.shape[1], em_tile(launch).tile_k), axis=1, dtype=np.int64)


def em_program(launch: TritonSums, params: np.ndarray, flows: np.ndarray, tile: int, step_size: float, pseudocount: float) -> tuple[EmStep, ...]:
    """theta <- theta + step (target - theta), target = (F + pc / n) / sum_c (F + pc / n): the program that owns row tile ``tile`` of the
    parameters that a group is the first to use. params, flows: float32 in the plan's layout, flows without the factor theta, times 2^-40."""
    config, m = em_tile(launch), launch.sum_block
    rows, tile_k = config.tile_m, config.tile_k
    block, own = tile // (m // rows), tile % (m // rows) * rows + np.arange(rows)
    pids, width = launch.em_pids.numpy().astype(np.int64)[block], launch.num_runs * launch.run
    step_size, pseudocount = np.float32(step_size), np.float32(pseudocount)
    found, edges, steps, tiles = np.zeros((tile_k, rows), np.float32), np.zeros((tile_k, rows), np.float32), [], []
    for first in range(0, width, tile_k):
        k = first + np.arange(tile_k)
        inside = k < width
        pid = np.where(inside, pids[np.where(inside, k // launch.run, 0)], 0)
        at = (pid + k % launch.run * m)[:, None] + own[None, :]
        theta = np.where(inside[:, None], params[np.where(inside[:, None], at, 0)], np.float32(0))
        flow = np.where(inside[:, None], flows[np.where(inside[:, None], at, 0)], np.float32(0))
        found = found + theta * flow
        edges = edges + (theta > 0)
        tiles.append((first, int(inside.sum()), theta, flow, (inside & (pid > 0))[:, None]))
        steps.append(EmStep(1, first, tiles[-1][1], theta, theta * flow * UNSCALED, (found * UNSCALED).sum(axis=0), None))
    edges = edges.sum(axis=0)
    total = (found * UNSCALED).sum(axis=0) + np.where(edges > 0, pseudocount, np.float32(0))
    share = pseudocount / np.maximum(edges, np.float32(1))
    for first, count, theta, flow, mask in tiles:
        theta, flow = np.where(mask, theta, np.float32(0)), np.where(mask, flow, np.float32(0))
        counts = theta * flow * UNSCALED
        with np.errstate(divide="ignore", invalid="ignore"):
            target = (counts + np.where(theta > 0, share[None, :], np.float32(0))) / total[None, :]
            new = np.where((total > 0)[None, :], theta + step_size * (target - theta), theta)
        steps.append(EmStep(2, first, count, theta, counts, total, new))
    return tuple(steps)
