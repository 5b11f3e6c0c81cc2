"""The circuits that the explorer's menu offers, and what is known of each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..compiler.layering import layering
from ..compiler.layering import legal_sizes as block_sizes
from ..datasets import as_array
from ..ir.nodes import sum_vectors

FIGURE_5 = "figure 5"
DIGITS = "digits"
MOST_SUMMARIES = 64
FIGURE_5_SIZES = (1, 2, 4, 8, 16, 32, 64)  # those that were recorded


@dataclass
class Entry:
    """One circuit of the menu. ``root`` is None until its circuit is prepared; ``coming``: that may still happen."""

    name: str
    label: str
    root: object = None
    sizes: tuple[int, ...] = (1,)
    layer: int = 1
    x: np.ndarray | None = None
    x_test: np.ndarray | None = None
    recorded: tuple = ()
    first_size: int = 1
    hint: str = ""
    why_not: str = ""  # why it cannot train here
    coming: bool = False
    image: tuple[int, int] | None = None  # [height, width], when the variables are the pixels of an image
    measured: list = field(default_factory=list)
    _summaries: dict = field(default_factory=dict)

    def summary(self, block_size: int, padding_tolerance: float):
        """The PlanSummary of this circuit, made once: opening, the still picture and the frames all need that of the first size."""
        key = block_size, padding_tolerance
        if key not in self._summaries:
            from ..compiler.counting import plan_summary

            if len(self._summaries) == MOST_SUMMARIES:  # a tolerance slider passes many
                self._summaries.pop(next(iter(self._summaries)), None)
            self._summaries[key] = plan_summary(self.root, block_size=block_size, padding_tolerance=padding_tolerance)
        return self._summaries[key]

    def forget(self) -> None:
        """Free what can be made again: a notebook keeps every explorer that a cell has shown, closed ones too."""
        self._summaries.clear()

    @property
    def can_train(self) -> bool:
        return self.root is not None and self.x is not None and not self.why_not

    @property
    def why_no_kernel(self) -> str:
        """What to do for the Kernel view, which needs data; empty with data."""
        if self.x is not None:
            return ""
        if self.name == "yours":
            return "The Kernel view shows real numbers: give the circuit's data too, pcv.explore(root, x)."
        return "The Kernel view shows real numbers, and this circuit has no data. Press 5 for a scene that has, or choose the digits circuit."


def figure_5_entry() -> Entry:
    """The sum layer of the paper's figure 5, with the figures recorded on an H100. Needs no torch."""
    from ..recorded import figure_5_rows
    from ..structures.figure5 import figure_5_layer

    return Entry(
        name=FIGURE_5,
        label="Figure 5: PD layer, 30M edges",
        root=figure_5_layer(),
        sizes=FIGURE_5_SIZES,
        recorded=figure_5_rows(),
        hint=f"Drag to {FIGURE_5_SIZES[-1]}. Guess first: how many times faster?",
        why_not="The figure-5 layer has recorded figures and no data to learn from: choose the digits circuit to train or measure.",
    )


def digits_entry() -> Entry:
    """Place of the default circuit in the menu; ``prepare_digits`` fills it."""
    return Entry(name=DIGITS, label="Digits: PD (preparing ...)", why_not="The engine is being prepared.", coming=True)


def user_entry(root, x=None, x_test=None, image_shape=None) -> Entry:
    """A circuit of the user's; without data it can be looked at, not trained. Data that may be images are taken for images."""
    label = circuit_label(root)
    x, x_test = (None if data is None else checked_data(root, data, name) for name, data in (("x", x), ("x_test", x_test)))
    if image_shape is not None and x is not None:
        check_image_shape(image_shape, x.shape[1])
    return Entry(
        name="yours",
        label=label,
        root=root,
        sizes=legal_sizes(root),
        layer=default_layer(root),
        x=x,
        x_test=x_test,
        image=None if x is None else image_shape or image_of(root, x),
        why_not="" if x is not None else "No data: call pcv.explore(root, x) to train and measure.",
    )


def checked_data(root, data, name: str) -> np.ndarray:
    """``data``, as everywhere (``as_array``), as numbers [N, V], one column a variable of the circuit; their values the engine checks."""
    num_vars = root.scope.bit_length()
    try:
        array = as_array(data, name)
    except (ValueError, TypeError) as error:  # texts, rows of unequal length
        raise ValueError(f"{name} must be data of this circuit, numbers [samples, {num_vars}]: {error}") from error
    if array.ndim != 2 or not len(array) or array.shape[1] != num_vars or array.dtype.kind not in "biuf":
        found = f"{type(data).__name__} of {array.dtype} {list(array.shape)}"
        raise ValueError(f"{name} must be data of this circuit, numbers [samples, {num_vars}] with one sample or more, got {found}.")
    return array


def check_image_shape(image_shape, num_vars: int) -> None:
    try:
        height, width = image_shape
        fits = height * width == num_vars and height > 0
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"image_shape must be (height, width) with as many pixels as x has variables, {num_vars}, got {image_shape!r}.")


def image_of(root, x) -> tuple[int, int] | None:
    """[height, width] where data [N, V] may be images: whole numbers, V a square number of at least 49, and no sums that share
    their parameters, as the steps of a sequence do."""
    x, vectors = np.asarray(x), list(sum_vectors(root))
    side = math.isqrt(x.shape[1]) if x.ndim == 2 else 0
    tied = len({id(nodes.storage) for nodes in vectors}) < len(vectors)
    return (side, side) if side >= 7 and side * side == x.shape[1] and np.issubdtype(x.dtype, np.integer) and not tied else None


def legal_sizes(root) -> tuple[int, ...]:
    """The block sizes that change something: ticks of the slider."""
    return block_sizes(layering(root))


def default_layer(root) -> int:
    """The layer with most edges among those with most groups: the one that shows something."""
    from ..compiler.counting import plan_summary

    sizes = legal_sizes(root)
    summary = plan_summary(root, block_size=sizes[len(sizes) // 2])
    return max(summary.layers, key=lambda layer: (len(layer.groups), layer.edges)).index


def circuit_label(root) -> str:
    sums = [nodes for layer in layering(root).layers for nodes in layer.sums]
    edges = sum(nodes.num_edges for nodes in sums)
    return f"Your circuit: {sum(nodes.num_nodes for nodes in sums):,} sums, {edges:,} edges"

