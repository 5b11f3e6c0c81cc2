"""The Kernel view: one program of a forward launch, step by step, with the numbers of real samples."""

from __future__ import annotations

import ast
from functools import cache
from importlib import resources
from textwrap import dedent
from typing import TYPE_CHECKING

import numpy as np

from ...tracing import Launch
from .common import count, html_table, si_bytes

if TYPE_CHECKING:
    from ...kernel_steps import ForwardProgram

MAX_CELLS = 64  # rows and columns of a drawn tile
MAX_STEPS = 24
SCALE = np.float32(2.0**-15)


def scene_no_kernel(why: str = "", others: bool = False) -> dict:
    """Before a program was asked for; ``why``: the reason why there is none; ``others``: other launches of the circuit have some."""
    return {"view": "kernel", "why": why, "others": others}


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
    paper = variant == "paper"
    reference = "running max" if paper else "scale of the block"
    at = sample - low - window.start
    drawn = [_step(step, window, size, level, paper, widths, config, high - low, at, sample) for step, size, level in zip(steps, sizes[1:], levels)]
    reads = "indices and scales" if any(operand.name == "scales" for operand in launch.operands) else "indices (nids, cids, pids)"
    stored = np.where(np.isinf(program.logs) & (program.logs > 0), np.nan, program.logs * np.float32(np.log(2)))[:MAX_CELLS, window]
    return {
        "view": "kernel", "why": "", "phase": "forward", "layer": launch.layer, "group": launch.group, "numGroups": num_groups, "variant": variant,
        "program": number, "programs": launch.programs, "grid": list(launch.grid), "wave": wave, "waves": waves, "numSMs": num_sms, "device": device,
        "sums": (number // launch.grid[0]) * config.tile_m, "samples": [low, high], "shown": [low + window.start, low + window.stop],
        "sample": sample, "batchSize": launch.batch_size, "tile": [config.tile_m, config.tile_k, config.tile_b],
        "steps": drawn, "numSteps": len(program.steps), "startBytes": sizes[0], "storeBytes": sizes[-1],
        "before": bytes_before(launch, number, entry), "hidden": sum(sizes[1 + len(steps) : -1]), "launchBytes": launch_bytes(launch, entry),
        "axes": [["sum", "child"], ["child", "sample"], ["sum", "sample"]], "kind": "model, L1 requests", "reference": reference,
        "startText": f"Start: read {si_bytes(sizes[0])} of {reads}, accumulator = 0.",
        "storeText": f"Store log p of {config.tile_m} sums: {si_bytes(sizes[-1])}. NaN: lost in float16, the guard computes it again.",
        "stored": floats(stored), "storedShape": list(stored.shape), "storedHead": f"log p (nats): {shape_text(stored, 'sums', 'samples')}",
        "storedMark": at, "source": source(variant, config.uses_tensor_cores, run, config.tile_k),
        "caption": _caption(launch, window, high - low, len(program.steps), high > launch.batch_size, paper),
    }  # fmt: skip


def static_kernel(scene: dict) -> str:
    """HTML table: one row per step."""
    rows = [[i + 1, step["text"], si_bytes(step["bytes"])] for i, step in enumerate(scene.get("steps", []))]
    title = f"Program {scene.get('program', '-')} of layer {scene.get('layer', '-')}, {scene.get('phase', 'forward').replace('_', ' ')}"
    return html_table(title, ["step", "what it does", "bytes (model)"], rows, scene["why"] or scene["caption"])


def launch_bytes(launch: Launch, entry: int) -> int:
    return sum((operand.loads + operand.stores) * operand.width(entry) for operand in launch.operands)


def _step(step, window: slice, size: int, level: tuple[str, str], paper: bool, widths: list[int], config, samples: int, at: int, sample: int) -> dict:
    factor = step.factor[window].astype(np.float32)
    last = step.first + step.count - 1
    parts = f"{si_bytes(widths[0] * step.count * config.tile_m)} from {level[0]}, e[children {step.first}..{last}]: "
    parts += f"{si_bytes(widths[1] * step.count * samples)} from {level[1]}"
    then = "new maximum, rescale the accumulator, multiply, add." if paper else "bring to the block's scale, multiply, add."
    base = step.base[window][at] * np.float32(np.log(2))
    own = f"Sample {sample}: {'running max' if paper else 'scale of the block'} {base:.4g} nats"
    own += f", old accumulator × {step.kept[window][at]:.4g}." if paper else "."
    left, right = step.theta.T[:MAX_CELLS, :MAX_CELLS] * SCALE, step.x[:MAX_CELLS, window].astype(np.float32) * SCALE * factor
    acc = (step.acc * np.float32(2.0**-30))[:MAX_CELLS, window]
    names = [("P", "sums", "children"), ("e", "children", "samples"), ("accumulator", "sums", "samples")]
    return drawn_step(left, right, acc, names, [-1, at, at], size, f"load P[children {step.first}..{last}]: {parts}; {then} {own}")


def drawn_step(left, right, acc, names, marks: list[int], size: int, text: str, part: str = "step", first: int = 0) -> dict:
    """Three tiles as the page draws them. ``names``: of each, what it is, its rows and its columns; ``marks``: the column of the person's
    sample, -1 without; ``part``: which lines of the source; ``first``: the first sample that is drawn, where a step has samples of its own."""
    tiles = {"left": left, "right": right, "acc": acc}
    return {
        **{key: floats(tile) for key, tile in tiles.items()}, "shapes": [list(np.shape(tile)) for tile in tiles.values()],
        "heads": [f"{what}: {shape_text(tile, rows, columns)}" for (what, rows, columns), tile in zip(names, tiles.values())],
        "marks": marks, "bytes": size, "text": text, "part": part, "first": first,
    }  # fmt: skip


def shape_text(tile: np.ndarray, rows: str, columns: str) -> str:
    def words(number: int, name: str) -> str:
        return f"{number} {name}" if number != 1 else f"1 {'child' if name == 'children' else name[:-1]}"

    return f"{words(tile.shape[0], rows)} × {words(tile.shape[1], columns)}" if rows else words(tile.shape[1], columns)


def floats(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _caption(launch: Launch, window: slice, samples: int, steps: int, padded: bool, paper: bool) -> str:
    parts = ["Numbers: numpy, equal to the Triton kernel by test. Bytes: model of the launch."]
    if launch.kernel and paper:
        parts.append("The other views count the scaled variant, which pcviz runs.")
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
    file = source_file("triton_forward.py")
    body = file.body(name)
    walk = next(node for node in body if isinstance(node, (ast.For, ast.If)))
    if isinstance(walk, ast.If):  # runs of several steps, of one step, steps that span child blocks
        loop = walk.body[0] if run > tile_k else walk.orelse[0].body[0] if run == tile_k else walk.orelse[0].orelse[0]
    else:
        loop = walk
    return file.parts(name, {"start": (body[0], walk.lineno - 1), "step": (loop, None), "store": (body[body.index(walk) + 1], body[-1].end_lineno)})


@cache
def source_file(name: str) -> SourceFile:
    return SourceFile(name)


class SourceFile:
    """The text of a file of kernels, by functions and their statements."""

    def __init__(self, name: str):
        self.name = name
        self.text = (resources.files("pcviz_kernels") / name).read_text(encoding="utf-8")
        self._functions = {node.name: node for node in ast.parse(self.text).body if isinstance(node, ast.FunctionDef)}

    def body(self, name: str) -> list[ast.stmt]:
        """The statements of a function, without its docstring."""
        body = self._functions[name].body
        return body[1:] if isinstance(body[0], ast.Expr) else body

    def parts(self, name: str, parts: dict[str, tuple[ast.stmt, int | None]]) -> dict:
        """``parts``: name -> (first statement, last line; None for the statement's own end)."""
        spans = {key: [first.lineno, last or first.end_lineno] for key, (first, last) in parts.items()}
        lines = self.text.splitlines()
        return {"file": self.name, "name": name, "spans": spans,
                "lines": {key: dedent("\n".join(lines[low - 1 : high])).split("\n") for key, (low, high) in spans.items()}}  # fmt: skip
