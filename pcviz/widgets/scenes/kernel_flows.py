"""The Kernel view of the backward pass: one program of a launch of element flows, of parameter flows, or of EM, step by step."""

from __future__ import annotations

import ast

import numpy as np

from ...tracing import Launch
from .common import count, si_bytes
from .kernel import MAX_CELLS, cut_tiles, drawn_step, floats, guard_why, launch_bytes, shape_text, source_file, steps_at, walk

SCALE = np.float32(2.0**-15)  # of a float16 operand
FLOW_TEXT = {
    "element_flows": ("P", "parents", "F / p", "Multiply by p of the children: their flows"),
    "param_flows": ("p", "children", "F / p", "Add to the flows of the parameters"),
}


def scene_flows(phase: str, program, launch: Launch, levels, *, number: int, sample: int, num_groups: int, num_sms: int, device: str,
                entry: int, bound: float, at_step: int = 1) -> dict:  # fmt: skip
    """``program``: FlowProgram; ``levels``: flow_steps.flow_levels; ``entry``: bytes of a value of a planned launch; ``bound``: log2 of a sum
    below which the guard has its flows; ``at_step``: that the person looks at."""
    config, column = launch.config, number % launch.grid[0]
    elements, shown = phase == "element_flows", steps_at(at_step, len(program.steps))
    sizes = _sizes(launch, number, entry, [step.count for step in program.steps])
    low = column * config.tile_b if elements else 0
    drawn = [_flow_step(phase, program.steps[i], program, levels[i], sizes[1 + i], sample, low) for i in shown]
    window = slice(MAX_CELLS)
    stored = program.stored[:MAX_CELLS, window] if elements else program.stored[:MAX_CELLS, :MAX_CELLS] * np.float32(2.0**40)
    axes = [["child", "sample"], ["sum", "sample"], ["child", "sum"]]
    if elements:
        axes = [["parent", "child"], ["parent", "sample"], ["child", "sample"]]
    names = ("children", "samples") if elements else ("children", "sums")
    caption = " ".join(["Numbers: numpy, equal to the Triton kernel by test. Bytes: model of the launch.", *cut_tiles(config)])
    return {
        **_head(phase, launch.layer, launch.group, num_groups, number, launch.programs, num_sms, device),
        "sample": sample, "batchSize": launch.batch_size, "tile": [config.tile_m, config.tile_k, config.tile_b],
        **walk(drawn, shown, sizes), "kind": "model, L1 requests", "before": launch_bytes(launch, entry) * number // launch.programs,
        "launchBytes": launch_bytes(launch, entry), "axes": axes, "guardWhy": guard_why(bound),
        "startText": f"Start: read {si_bytes(sizes[0])} of indices{'' if program.level else ', scales'} and what is read once; accumulator = 0.",
        "storeText": f"{FLOW_TEXT[phase][3]}: {si_bytes(sizes[-1])}.",
        "stored": floats(stored), "storedShape": list(stored.shape), "storedMark": sample - low if elements else -1,
        "storedHead": f"{'F' if elements else 'F / P of the batch'}: {shape_text(stored, *names)}",
        "source": _flow_source(phase, config.uses_tensor_cores, program.level, launch.sum_block >= config.tile_m), "caption": caption,
    }  # fmt: skip


def scene_em(steps, launch: Launch, stored: np.ndarray, *, group: int, num_groups: int, number: int, num_sms: int, device: str, entry: int,
             fits_l2: bool, step_size: float, pseudocount: float, at_step: int = 1) -> dict:  # fmt: skip
    """``steps``: EmStep records; ``stored``: flow_steps.em_stored; ``group``: place among the layer's launches of EM."""
    rows, block = launch.config.tile_m, number // (launch.sum_block // launch.config.tile_m)
    sizes = _em_sizes(launch, stored, entry)
    own, again = sizes[block], "L2" if fits_l2 else "HBM again, as L2 cannot hold it"
    before = sizes[:block].sum() * (launch.sum_block // rows) + sizes[block].sum() * (number % (launch.sum_block // rows)) + 8 * number
    shown = steps_at(at_step, len(steps))
    return {
        **_head("em", launch.layer, group, num_groups, number, launch.programs, num_sms, device),
        "sample": None, "batchSize": launch.batch_size, "tile": [rows, steps[0].theta.shape[0], 0],
        **walk([_em_step(steps[i], own[i], again) for i in shown], shown, [8, *own, 0]), "kind": "model, L1 requests", "before": int(before),
        "launchBytes": launch_bytes(launch, entry), "guardWhy": "",
        "axes": [["child", "sum"], ["child", "sum"], ["child", "sum"]],
        "startText": f"Start: read step size {step_size} and pseudocount {pseudocount}; the totals are 0.",
        "storeText": "Done: the parameters are written, as float32 and as float16, and their flows are cleared.",
        "stored": floats(steps[-1].new[:MAX_CELLS, :MAX_CELLS]), "storedShape": list(steps[-1].new[:MAX_CELLS, :MAX_CELLS].shape), "storedMark": -1,
        "storedHead": f"P of the last children: {shape_text(steps[-1].new[:MAX_CELLS, :MAX_CELLS], 'children', 'sums')}",
        "source": _em_source(),
        "caption": f"Numbers: numpy, equal to the Triton kernel by test; flows of {count(launch.batch_size)} samples. Bytes: model of the launch.",
    }  # fmt: skip


def _head(phase: str, layer: int, group: int, num_groups: int, number: int, programs: int, num_sms: int, device: str) -> dict:
    return {
        "view": "kernel", "why": "", "phase": phase, "variant": "", "layer": layer, "group": group, "numGroups": num_groups, "program": number,
        "programs": programs, "wave": number // num_sms + 1, "waves": -(-programs // num_sms), "numSMs": num_sms, "device": device,
    }  # fmt: skip


def _flow_step(phase: str, step, program, level: tuple[str, str], size: int, sample: int, low: int) -> dict:
    last, window = step.first + step.count - 1, slice(MAX_CELLS)
    right, lost = step.right[:MAX_CELLS, window].astype(np.float32) * SCALE, step.lost[:MAX_CELLS, window]
    guard = f"left to the guard: {count(lost.sum())} of {count(lost.size)} values of F / p" if lost.any() else ""
    more = {"lost": lost.astype(np.uint8).tobytes(), "guard": guard}
    if phase == "element_flows":
        at = sample - low
        factor = step.factor if len(step.factor) == 1 else step.factor[window]
        left, right, acc = step.left[:MAX_CELLS, :MAX_CELLS] * SCALE, right * factor, (step.acc * np.float32(2.0**-30))[:MAX_CELLS, window]
        names = [("P", "parents", "children"), ("F / p", "parents", "samples"), ("accumulator", "children", "samples")]
        rows = f"[parents {step.first}..{last}]"
        text = f"P{rows} from {level[0]}, F / p from {level[1]}, {si_bytes(size)} in all; multiply, add."
        return drawn_step(left, right, acc, names, [-1, at, at], size, text, first=low, **more)
    inside = step.first <= sample < step.first + step.count
    at = sample - step.first if inside else -1
    left, acc = step.left[:MAX_CELLS, window].astype(np.float32) * SCALE, (step.acc * program.unit)[:MAX_CELLS, :MAX_CELLS]
    names = [("p", "children", "samples"), ("F / p", "sums", "samples"), ("accumulator", "children", "sums")]
    rows = f"[samples {step.first}..{last}]"
    scales = "" if program.level else "with their scales "
    text = f"p{rows} from {level[0]}, F / p from {level[1]}, {scales}{si_bytes(size)}{' in all' * program.level}; multiply, add."
    return drawn_step(left, right, acc, names, [at, at, -1], size, text, first=step.first, **more)


def _em_sizes(launch: Launch, stored: np.ndarray, entry: int) -> np.ndarray:
    """[sum blocks, steps] bytes that a program of the block requests; with 8 more of each program they add up to what the launch does."""
    widths = [operand.width(entry) for operand in launch.operands if operand.name in ("parameters", "parameter flows")]
    stores = sum(operand.width(entry) for operand in launch.operands if operand.stores)
    width = launch.fan_in * launch.child_block
    counts = np.minimum(width - np.arange(0, width, launch.config.tile_k), launch.config.tile_k)  # of children, for each an index
    first, second = (stored * launch.config.tile_m * each + counts * 4 for each in (sum(widths), sum(widths) + stores))
    return np.concatenate([first, second], axis=1)


def _em_step(step, size: int, again: str) -> dict:
    last, tile = step.first + step.count - 1, (slice(MAX_CELLS), slice(MAX_CELLS))
    names = [("P", "children", "sums"), ("F of the edges", "children", "sums")]
    if step.walk == 1:
        text = f"add the flows of children {step.first}..{last} to the total of each sum: P and F / P from HBM, {si_bytes(size)}."
        names.append(("total of each sum", "", "sums"))
        return drawn_step(step.theta[tile], step.counts[tile], step.total[None, :MAX_CELLS], names, [-1] * 3, size, text)
    text = f"children {step.first}..{last}: P moves towards (F + pseudocount / n) / total; P and F / P from {again}, all stored: {si_bytes(size)}."
    return drawn_step(step.theta[tile], step.counts[tile], step.new[tile], [*names, ("new P", "children", "sums")], [-1] * 3, size, text, "write")


def _sizes(launch: Launch, number: int, entry: int, counts: list[int]) -> list[int]:
    """[before the first step, step 1, ..., store]: of all programs they add up to what the launch requests."""
    total, widths = launch_bytes(launch, entry), {operand.name: operand.width(entry) for operand in launch.operands}
    own = total * (number + 1) // launch.programs - total * number // launch.programs
    store = sum(operand.stores * operand.width(entry) for operand in launch.operands) // launch.programs
    tile, sums = launch.config, widths.get("ratios") or widths["flows"] + widths["values"]
    if launch.phase == "element_flows":
        steps = [rows * (tile.tile_k * widths["parameters"] + tile.tile_b * sums) for rows in counts]
    else:
        scales = _scales_of_walk(launch) / max(1, sum(counts))  # of a sample
        steps = [int(samples * (tile.tile_k * widths["elements"] + tile.tile_m * sums + scales)) for samples in counts]
    if sum(steps) + store > own:  # a planned launch counts no lanes that are masked off
        steps = [(own - store) // len(steps)] * len(steps)
    return [own - store - sum(steps), *steps, store]


def _scales_of_walk(launch: Launch) -> float:
    """Bytes of scales that the steps of a program of parameter flows load; with tensor cores as many are looked through before them."""
    named = [operand for operand in launch.operands if operand.name in ("scales", "ratio scales")]
    return sum(operand.loads * operand.width(0) for operand in named) / launch.programs / (2 if launch.config.uses_tensor_cores else 1)


def _flow_source(phase: str, tensor_cores: bool, level: bool, one_parent: bool) -> dict:
    file = source_file("triton_flows.py")
    if phase == "param_flows":
        name, helper = "param_flows_kernel", "_level_flows" if level else "_tile_flows" if tensor_cores else "_small_tile_flows"
        body, loop = file.body(name), [node for node in file.body(helper) if isinstance(node, ast.For)][-1]
        choice = next(node for node in body if isinstance(node, ast.If))
        after = body[body.index(choice) + 1]
        return file.parts(name, {"start": (body[0], choice.lineno - 1), "step": (loop, None), "store": (after, body[-1].end_lineno)})
    name = "element_flows_kernel" if tensor_cores else "element_flows_small_kernel"
    body = file.body(name)
    walk = next(node for node in body if isinstance(node, (ast.For, ast.If)))
    branch = walk.body if isinstance(walk, ast.If) and one_parent else walk.orelse if isinstance(walk, ast.If) else [walk]
    loop = [node for node in branch if isinstance(node, ast.For)][-1]
    return file.parts(name, {"start": (body[0], walk.lineno - 1), "step": (loop, None), "store": (body[body.index(walk) + 1], body[-1].end_lineno)})


def _em_source() -> dict:
    file = source_file("triton_em.py")
    body = file.body("em_sums_kernel")
    first, second = (node for node in body if isinstance(node, ast.For))
    stores = second.body[-3], second.end_lineno
    return file.parts("em_sums_kernel", {"start": (body[0], first.lineno - 1), "step": (first, None), "write": (second, None), "store": stores})
