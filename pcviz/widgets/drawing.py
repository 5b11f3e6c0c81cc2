"""``pcv.draw``: the DAG view's picture of a circuit as an SVG or PDF file.

Graphviz lays it out where its program ``dot`` is installed; elsewhere, or when that takes too long, the columns of the view do.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..compiler.compile import circuit_at
from ..compiler.counting import plan_summary
from ..compiler.layering import layering
from ..ir.nodes import Nodes
from ..traffic import estimate
from ..whole_files import check_folder, whole_file
from .circuits import legal_sizes
from .drawn_dot import DotError, dot_layout, find_dot
from .drawn_files import pdf_file, svg_file
from .drawn_shapes import Layout, columns_layout, shapes_of
from .scenes.dag import scene_dag
from .scenes.dag_costs import Costs
from .scenes.dag_parts import scene_dag_part
from .scenes.dag_picture import QUANTITIES, THEMES, Picture, picture_of_circuit, picture_of_part
from .scenes.dag_search import find_part

FORMATS = ("svg", "pdf")
LAYOUTS = (None, "dot", "columns")
MAX_DOT_LINKS = 1500  # dense fan-in makes dot run for minutes


def draw(
    circuit,
    path,
    *,
    part: str = "",
    colour: str = "edges",
    block_size: int | None = None,
    batch_size: int = 512,
    padding_tolerance: float | None = None,
    device: str = "H100-SXM",
    layout: str | None = None,
    time_limit: float = 10.0,
    theme: str = "light",
) -> Path:
    """Draw ``circuit`` into the file ``path`` (.svg or .pdf), and return its path.

    circuit: a circuit, plan or TensorCircuit. part: "" for all of it, or what the DAG view's search takes: "layer 3", "vector 17",
    "node 12345", the name of a vector; it is drawn with what it reads and what reads it. block_size, padding_tolerance: None takes
    those of a plan, else the middle one of the sizes and 0.25. At most 300 glyphs are drawn; what is more is folded to "x n".
    colour: "edges", "params", "sums", "padding" [share of the multiplied cells], or a figure of the model for a forward pass of
    ``batch_size`` samples on ``device``: "time_ms", "l2_bytes" (between L1 and L2), "hbm_bytes", "flops". layout: "dot" (Graphviz),
    "columns", or None: dot where it is installed and done within ``time_limit`` seconds, else columns. theme: "light" or "dark".

    ValueError: no such part, colour, layout, theme, block size or kind of file, or (layout="dot") a picture that is too dense or
    takes too long; FileNotFoundError: no such folder, or (layout="dot") no Graphviz.
    """
    target = Path(path)
    kind = _checked(target, colour=colour, layout=layout, theme=theme)
    root, block_size, padding_tolerance = _circuit(circuit, block_size, padding_tolerance)
    cut = layering(root)
    summary = plan_summary(cut, block_size=block_size, padding_tolerance=padding_tolerance)
    report = estimate(summary, batch_size=batch_size, device=device)
    scene = scene_dag(cut, summary, report)
    costs = Costs(cut, block_size, padding_tolerance, report)
    opened = scene_dag_part(cut.numbering, _part(cut, part), block_size, costs=costs) if part else None
    picture = picture_of_part(scene, opened, colour) if opened else picture_of_circuit(scene, colour)
    _write(target, _drawn(picture, kind, layout, time_limit, theme))
    return target


def _checked(target: Path, **choices) -> str:
    """The kind of file; ValueError when an argument is none of those that it may be."""
    kind = target.suffix.lower().lstrip(".")
    for name, value, allowed in (("path", kind, FORMATS), ("colour", choices["colour"], tuple(QUANTITIES)), ("layout", choices["layout"], LAYOUTS),
                                 ("theme", choices["theme"], tuple(THEMES))):  # fmt: skip
        if value not in allowed:
            shown = f"a file name that ends in .{' or .'.join(FORMATS)}" if name == "path" else f"one of {', '.join(map(repr, allowed))}"
            raise ValueError(f"pcv.draw: {name} must be {shown}, got {str(target) if name == 'path' else value!r}.")
    check_folder(target)
    return kind


def _circuit(circuit, block_size: int | None, tolerance: float | None) -> tuple[Nodes, int, float]:
    root, block_size, tolerance = circuit_at(circuit, block_size, tolerance)
    if not isinstance(root, Nodes):
        raise ValueError(f"pcv.draw expects a circuit, a plan or a TensorCircuit, got {type(circuit).__name__}.")
    sizes = legal_sizes(root)
    return root, sizes[len(sizes) // 2] if block_size is None else block_size, tolerance


def _part(cut, words: str) -> str:
    found = find_part(cut.numbering, words)
    if "key" not in found:
        names = ", ".join(name for _, name in found["matches"])
        more = ", ..." if found["total"] > len(found["matches"]) else "."
        raise ValueError(f"pcv.draw: {found['total']} vectors fit part={words!r}: {names}{more}")
    return found["key"]


def _drawn(picture: Picture, kind: str, layout: str | None, time_limit: float, theme: str) -> bytes:
    prefix = f"pcv-{hashlib.sha256(repr(picture).encode()).hexdigest()[:10]}"  # several pictures may stand in one page
    if layout == "dot" or (layout is None and find_dot() and len(picture.links) <= MAX_DOT_LINKS):
        try:
            if len(picture.links) > MAX_DOT_LINKS:
                raise DotError(f"{len(picture.links):,} links are more than {MAX_DOT_LINKS:,}, which takes Graphviz minutes; use layout='columns'.")
            return _file(picture, dot_layout(picture, time_limit), kind, theme, prefix)
        except DotError as error:
            if layout == "dot":
                raise ValueError(f"pcv.draw: {error}") from error
    return _file(picture, columns_layout(picture), kind, theme, prefix)


def _file(picture: Picture, layout: Layout, kind: str, theme: str, prefix: str) -> bytes:
    shapes = shapes_of(picture, layout, theme)
    return svg_file(shapes, prefix) if kind == "svg" else pdf_file(shapes)


def _write(target: Path, data: bytes) -> None:
    with whole_file(target) as part:
        part.write_bytes(data)
