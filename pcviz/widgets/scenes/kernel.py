"""The Kernel view: one program of a forward launch, step by step, with the numbers of real samples."""

from __future__ import annotations

import ast
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from ...tracing import Launch
from .common import count, html_table, si_bytes

if TYPE_CHECKING:
    from ...kernel_steps import ForwardProgram

MAX_CELLS = 64  # rows and columns of a drawn tile
MAX_STEPS = 24
SCALE = np.float32(2.0**-15)


def scene_no_kernel(why: str = "") -> dict:
    """Before a program was asked for; ``why``: the reason why this circuit has none."""
    return {"view": "kernel", "why": why}


def scene_kernel(program: ForwardProgram, launch: Launch, levels: list[tuple[str, str]], *, number: int, sample: int, variant: str, num_groups: int,
                 num_sms: int, device: str, entry: int, run: int) -> dict:  # fmt: skip
    """``levels``: (of parameters, of children) for each step, from ``kernel_steps.levels``. ``entry``: bytes of a value in the model of a
    planned launch."""
    from ...kernel_steps import bytes_before, program_bytes, wave_of  # torch comes with it, and the first picture needs none

    config, column = launch.config, number % launch.grid[0]
    low = column * config.tile_b
    high = low + config.tile_b if launch.kernel else min(low + config.tile_b, launch.batch_size)
    left = min(max(0, sample - low - MAX_CELLS // 2), max(0, high - low - MAX_CELLS))
    window = slice(left, min(left + MAX_CELLS, high - low))
    sizes = program_bytes(launch, column, entry)
    widths = [launch.operand(name).width(entry) for name in ("parameters", "elements")]
    steps = program.steps[:MAX_STEPS]
    wave, waves = wave_of(launch, number, num_sms)
    return {
        "view": "kernel", "why": "", "phase": "forward", "layer": launch.layer, "group": launch.group, "numGroups": num_groups, "variant": variant,
        "program": number, "programs": launch.programs, "grid": list(launch.grid), "wave": wave, "waves": waves, "device": device,
        "sums": (number // launch.grid[0]) * config.tile_m, "samples": [low, high], "shown": [low + window.start, low + window.stop],
        "sample": sample, "batchSize": launch.batch_size, "tile": [config.tile_m, config.tile_k, config.tile_b],
        "steps": [_step(step, window, size, level, variant, widths, config, high - low) for step, size, level in zip(steps, sizes[1:], levels)],
        "numSteps": len(program.steps), "indexBytes": sizes[0], "storeBytes": sizes[-1], "before": bytes_before(launch, number, entry),
        "hidden": sum(sizes[1 + len(steps) : -1]), "launchBytes": launch_bytes(launch, entry),
        "startReads": "indices and scales" if any(operand.name == "scales" for operand in launch.operands) else "indices (nids, cids, pids)",
        "stored": _floats(np.where(np.isinf(program.logs) & (program.logs > 0), np.nan, program.logs * np.float32(np.log(2)))[:MAX_CELLS, window]),
        "source": source(variant, config.uses_tensor_cores, run, config.tile_k),
        "caption": _caption(launch, window, high - low, len(program.steps), high > launch.batch_size),
    }  # fmt: skip


def static_kernel(scene: dict) -> str:
    """HTML table: one row per step."""
    rows = [[i + 1, step["text"], si_bytes(step["bytes"])] for i, step in enumerate(scene.get("steps", []))]
    title = f"Program {scene.get('program', '-')} of layer {scene.get('layer', '-')}, forward"
    return html_table(title, ["step", "what it does", "bytes (model)"], rows, scene["why"] or scene["caption"])


def launch_bytes(launch: Launch, entry: int) -> int:
    return sum((operand.loads + operand.stores) * operand.width(entry) for operand in launch.operands)


def _step(step, window: slice, size: int, level: tuple[str, str], variant: str, widths: list[int], config, samples: int) -> dict:
    factor = step.factor[window].astype(np.float32)
    last = step.first + step.count - 1
    parts = f"{si_bytes(widths[0] * step.count * config.tile_m)} from {level[0]}, e[children {step.first}..{last}]: "
    parts += f"{si_bytes(widths[1] * step.count * samples)} from {level[1]}"
    then = "new maximum, rescale the accumulator, multiply, add." if variant == "paper" else "bring to the block's scale, multiply, add."
    return {
        "theta": _floats(step.theta.T[:MAX_CELLS, :MAX_CELLS] * SCALE),
        "e": _floats(step.x[:MAX_CELLS, window].astype(np.float32) * SCALE * factor),
        "base": _floats(step.base[window] * np.float32(np.log(2))),
        "kept": _floats(step.kept[window]),
        "acc": _floats((step.acc * np.float32(2.0**-30))[:MAX_CELLS, window]),
        "shape": [min(config.tile_m, MAX_CELLS), min(config.tile_k, MAX_CELLS), window.stop - window.start],
        "bytes": size,
        "text": f"load P[children {step.first}..{last}]: {parts}; {then}",
    }


def _floats(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _caption(launch: Launch, window: slice, samples: int, steps: int, padded: bool) -> str:
    parts = ["Numbers: numpy, equal to the Triton kernel by test. Bytes: model of the launch."]
    if window.stop - window.start < samples:
        parts.append(f"{window.stop - window.start} of the tile's {samples} samples are drawn.")
    if padded:
        parts.append(f"Samples from {count(launch.batch_size)} on are padding, p = 0.")
    if max(launch.config.tile_m, launch.config.tile_k) > MAX_CELLS:
        parts.append(f"Tiles are cut to their first {MAX_CELLS} rows and columns.")
    if steps > MAX_STEPS:
        parts.append(f"The first {MAX_STEPS} of {count(steps)} steps are shown.")
    return " ".join(parts)


def source(variant: str, tensor_cores: bool, run: int, tile_k: int) -> dict:
    """Lines of the Triton kernel that runs, as the file has them, and which of them belong to the start, a step and the store."""
    name = "sum_forward_paper_kernel" if variant == "paper" else "sum_forward_kernel" if tensor_cores else "sum_forward_small_kernel"
    text = (resources.files("pcviz_kernels") / "triton_forward.py").read_text(encoding="utf-8")
    body = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name).body
    walk = next(node for node in body if isinstance(node, (ast.For, ast.If)))
    after = body[body.index(walk) + 1]
    if isinstance(walk, ast.If):  # runs of several steps, of one step, steps that span child blocks
        loop = walk.body[0] if run > tile_k else walk.orelse[0].body[0] if run == tile_k else walk.orelse[0].orelse[0]
    else:
        loop = walk
    first = body[1].lineno if isinstance(body[0], ast.Expr) else body[0].lineno
    spans = {"start": [first, walk.lineno - 1], "step": [loop.lineno, loop.end_lineno], "store": [after.lineno, body[-1].end_lineno]}
    lines = text.splitlines()
    return {"file": "triton_forward.py", "name": name, "spans": spans,
            "lines": {key: [line[4:] for line in lines[low - 1 : high]] for key, (low, high) in spans.items()}}  # fmt: skip
