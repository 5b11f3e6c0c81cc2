"""The Kernel view: one program of a forward launch, step by step, with the numbers of real samples."""

from __future__ import annotations

import ast
from functools import cache
from importlib import resources
from textwrap import dedent
from typing import TYPE_CHECKING

import numpy as np

from ...tracing import Launch
from .common import count, si_bytes

if TYPE_CHECKING:
    from ...kernel_steps import ForwardProgram

MAX_CELLS = 128  # rows and columns of a drawn tile: no side that pcviz_kernels.tiles allows is longer
MAX_STEPS = 16  # sent at a time; the page asks for others when it comes to them
CAPTION_OF_VARIANT = {  # of one whose launches the other views do not count
    "paper": "The other views count the scaled variant, which training runs.",
    "float32": "Likelihoods are computed so; training, which the other views count, by the scaled variant.",
}


def scene_no_kernel(why: str = "", others: bool = False) -> dict:
    """Before a program was asked for; ``why``: the reason why there is none; ``others``: other launches of the circuit have some."""
    return {"view": "kernel", "why": why, "others": others}


def scene_kernel(program: ForwardProgram, launch: Launch, levels: list[tuple[str, str]], *, number: int, sample: int, variant: str, num_groups: int,
                 num_sms: int, device: str, entry: int, run: int, exact: np.ndarray, at_step: int = 1) -> dict:  # fmt: skip
    """``levels``: (of parameters, of children) for each step, from ``kernel_steps.levels``. ``entry``: bytes of a value in the model of a
    planned launch. ``exact`` [tile_m, tile_b]: log2 p of the program's sums, which the guard finds too; ``at_step``: that the person looks at."""
    from ...kernel_steps import bytes_before, lost_bound, program_bytes, wave_of  # torch comes with it, and the first picture needs none

    config, column = launch.config, number % launch.grid[0]
    low = column * config.tile_b
    high = low + config.tile_b if launch.kernel else min(low + config.tile_b, launch.batch_size)
    window = slice(0, min(MAX_CELLS, high - low))
    sizes = program_bytes(launch, column, entry)
    widths = [launch.operand(name).width(entry) for name in ("parameters", "elements")]
    shown = steps_at(at_step, len(program.steps))
    wave, waves = wave_of(launch, number, num_sms)
    paper = variant == "paper"
    reference = "running max" if paper else "scale of the block"
    at = sample - low
    unscale = np.float32(1 / program.stored_one)
    drawn = [_step(program.steps[i], unscale, window, sizes[1 + i], levels[i], paper, widths, config, high - low, at, sample) for i in shown]
    reads = "indices and scales" if any(operand.name == "scales" for operand in launch.operands) else "indices (nids, cids, pids)"
    lost = (program.logs == np.inf)[:MAX_CELLS, window]
    stored = (np.where(program.logs == np.inf, exact, program.logs) * np.float32(np.log(2)))[:MAX_CELLS, window]
    return {
        "view": "kernel", "why": "", "phase": "forward", "layer": launch.layer, "group": launch.group, "numGroups": num_groups, "variant": variant,
        "program": number, "programs": launch.programs, "grid": list(launch.grid), "wave": wave, "waves": waves, "numSMs": num_sms, "device": device,
        "sums": (number // launch.grid[0]) * config.tile_m, "samples": [low, high], "shown": [low, low + window.stop],
        "sample": sample, "batchSize": launch.batch_size, "tile": [config.tile_m, config.tile_k, config.tile_b],
        **walk(drawn, shown, sizes), "before": bytes_before(launch, number, entry), "launchBytes": launch_bytes(launch, entry),
        "lost": lost.astype(np.uint8).tobytes(), "guard": _guard_text(lost, at, sample), "guardWhy": guard_why(lost_bound(launch, variant), variant),
        "axes": [["sum", "child"], ["child", "sample"], ["sum", "sample"]], "kind": "model, L1 requests", "reference": reference,
        "startText": f"Start: read {si_bytes(sizes[0])} of {reads}, accumulator = 0.",
        "storeText": f"Store log p of {config.tile_m} {'sums' if config.tile_m > 1 else 'sum'}: {si_bytes(sizes[-1])}.",
        "stored": floats(stored), "storedShape": list(stored.shape), "storedHead": f"log p (nats): {shape_text(stored, 'sums', 'samples')}",
        "storedMark": at, "source": source(variant, config.uses_tensor_cores, run, config.tile_k),
        "caption": _caption(launch, high > launch.batch_size, variant),
    }  # fmt: skip


def steps_at(step: int, count_: int) -> range:
    """The steps that are sent when the person looks at ``step`` (from 1; beyond the last: what is stored)."""
    first = min(max(0, step - 1 - MAX_STEPS // 4), max(0, count_ - MAX_STEPS))
    return range(first, min(first + MAX_STEPS, count_))


def walk(drawn: list[dict], shown: range, sizes: list[int]) -> dict:
    """``sizes``: bytes of the start, of every step and of the store."""
    return {"steps": drawn, "firstStep": shown.start, "numSteps": len(sizes) - 2, "startBytes": int(sizes[0]), "storeBytes": int(sizes[-1]),
            "stepBytes": np.array(sizes[1:-1], "<u4").tobytes()}  # fmt: skip


def guard_why(bound: float, variant: str = "scaled") -> str:
    entry = variant if variant == "float32" else "float16"
    return (f"Below 2^{bound:.0f} of the block's scale {entry} may have lost a child. Such a sum is left to the guard, a kernel of its own, which "
            "computes it again from logarithms.")  # fmt: skip


def _guard_text(lost: np.ndarray, at: int, sample: int) -> str:
    if not lost.any():
        return ""
    own = f"{int(lost[:, at].sum())} of {lost.shape[0]} sums of sample {sample}"
    return f"left to the guard: {own}, {count(lost.sum())} of {count(lost.size)} values of the tile"


def launch_bytes(launch: Launch, entry: int) -> int:
    return sum((operand.loads + operand.stores) * operand.width(entry) for operand in launch.operands)


def _step(
    step, unscale, window: slice, size: int, level: tuple[str, str], paper: bool, widths: list[int], config, samples: int, at: int, sample: int
) -> dict:
    """``unscale``: the factor from what is stored to what it stands for."""
    factor = step.factor[window].astype(np.float32)
    last = step.first + step.count - 1
    parts = f"{si_bytes(widths[0] * step.count * config.tile_m)} from {level[0]}, and e, {si_bytes(widths[1] * step.count * samples)} from {level[1]}"
    then = "new maximum, rescale, multiply, add." if paper else "bring to the block's scale, multiply, add."
    base = step.base[window][at] * np.float32(np.log(2))
    own = f"Sample {sample}: {'running max' if paper else 'scale of the block'} {base:.4g} nats"
    own += f", accumulator × {step.kept[window][at]:.4g}." if paper else "."
    loaded = slice(0, min(step.count, MAX_CELLS))  # the rest of the tile is masked
    left, right = step.theta.T[:MAX_CELLS, loaded] * unscale, step.x[loaded, window].astype(np.float32) * unscale * factor
    acc = (step.acc * (unscale * unscale))[:MAX_CELLS, window]
    children = "children" if step.count == config.tile_k else f"of {config.tile_k} children"
    names = [("P", "sums", children), ("e", children, "samples"), ("accumulator", "sums", "samples")]
    return drawn_step(left, right, acc, names, [-1, at, at], size, f"P[children {step.first}..{last}], {parts}; {then} {own}")


def drawn_step(left, right, acc, names, marks: list[int], size: int, text: str, part: str = "step", first: int = 0, **more) -> dict:
    """Three tiles as the page draws them. ``names``: of each, what it is, its rows and its columns; ``marks``: the column of the person's
    sample, -1 without; ``part``: which lines of the source; ``first``: the first sample that is drawn, where a step has samples of its own;
    ``more``: "lost" and "guard", which cells of the second tile are left to the guard, and how many."""
    tiles = {"left": left, "right": right, "acc": acc}
    return {
        **{key: floats(tile) for key, tile in tiles.items()}, "shapes": [list(np.shape(tile)) for tile in tiles.values()],
        "heads": [f"{what}: {shape_text(tile, rows, columns)}" for (what, rows, columns), tile in zip(names, tiles.values())],
        "marks": marks, "bytes": int(size), "text": text, "part": part, "first": first, **more,
    }  # fmt: skip


def shape_text(tile: np.ndarray, rows: str, columns: str) -> str:
    def words(number: int, name: str) -> str:
        one = {"children": "child"}.get(name, name if name.startswith("of ") else name[:-1])
        return f"{number} {name if number != 1 else one}"

    return f"{words(tile.shape[0], rows)} × {words(tile.shape[1], columns)}" if rows else words(tile.shape[1], columns)


def floats(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _caption(launch: Launch, padded: bool, variant: str) -> str:
    parts = ["Numbers: numpy, equal to the Triton kernel by test. Bytes: model of the launch."]
    if launch.kernel and variant in CAPTION_OF_VARIANT:
        parts.append(CAPTION_OF_VARIANT[variant])
    if padded:
        parts.append(f"Samples from {count(launch.batch_size)} on are padding, p = 0.")
    return " ".join([*parts, *cut_tiles(launch.config)])


def cut_tiles(config) -> list[str]:
    """A config that a person gave may have longer sides than any that the rule or the Tiles view has."""
    if max(config.tile_m, config.tile_k, config.tile_b) <= MAX_CELLS:
        return []
    return [f"Tiles are cut to their first {MAX_CELLS} rows and columns."]


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
