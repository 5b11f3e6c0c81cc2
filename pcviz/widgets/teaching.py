"""Scenes for teachers: a circuit, its settings, the stages to look at, what to see there and what to guess first.

``pcv.explore(scene="padding-loses")`` opens one; keys 1 to 9 switch inside the explorer. A scene is data: add one to SCENES.
Circuits are built when a scene is opened; none needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..datasets import digits
from ..ir.distributions import Categorical
from ..ir.nodes import SumNodes, init_params, inputs, multiply, sum_vectors, summate
from ..pruning import prune_edges
from ..structures.pd import PD
from ..structures.rat_spn import RAT_SPN
from .circuits import FIGURE_5, Entry, figure_5_entry, user_entry
from .frames import Settings
from .settings import brief


@dataclass(frozen=True)
class Question:
    """What to guess before the slider may move: a headline figure (time, l2, hbm, padding, launches) at block size ``size``. With
    ``base`` the answer is a ratio: how many times less than at ``base``, or more if ``more``."""

    ask: str
    figure: str
    size: int
    base: int | None = None
    more: bool = False


@dataclass(frozen=True)
class Scene:
    """``look``: one or two sentences of what to look at. ``task``: what to do, where there is no question. ``layer`` None: the one
    that the circuit opens on."""

    name: str
    title: str
    look: str
    circuit: str
    block_size: int
    settings: Settings = Settings()
    layer: int | None = None
    stages: tuple[str, ...] = ("blocks", "cost")
    question: Question | None = None
    task: str = ""
    trained: str = ""  # the task of a saved page that holds what was trained, where the task needs the engine
    tolerances: tuple[float, ...] = ()  # that its text asks for, besides that of its settings

    def saved_task(self, trained: bool) -> str:
        """The task in a saved page, which has no engine; ``trained``: whether it has curves."""
        if not self.trained:
            return self.task
        return self.trained if trained else f'In a notebook, pcv.explore(scene="{self.name}"): {self.task[0].lower()}{self.task[1:]}'

    @property
    def all_settings(self) -> list[Settings]:
        """For a saved page, which has the tolerances that it was saved with."""
        return [self.settings, *(replace(self.settings, padding_tolerance=tolerance) for tolerance in self.tolerances)]


SCENES = (
    Scene(
        "reloads", "Inputs that are loaded again and again",
        "At block size 1 each sum loads all its inputs for itself. A block loads them once for all its sums: "
        "follow L2 → L1, and see how little HBM changes.",
        FIGURE_5, 1, question=Question("How many times less L2 → L1 traffic at block size 64?", "l2", 64, base=1),
    ),
    Scene(
        "block size 1 to 64", "One layer, seven block sizes",
        "The same 29.6 million edges, cut into blocks of 1 x 1 to 64 x 64. Nothing is computed differently, only in other portions.",
        FIGURE_5, 1, question=Question("How many times faster is block size 64?", "time", 64, base=1),
    ),
    Scene(
        "padding-loses", "When larger blocks lose",
        "Each sum has 16 children, scattered over 2,048 products. A larger block stores, loads and multiplies mostly cells that are no edges. "
        "From 16 on tensor cores make up for the time, not for the bytes.",
        "scattered", 1, question=Question("How many times longer does block size 8 take?", "time", 8, base=1, more=True),
    ),
    Scene(
        "groups", "Launches, and the price of few",
        "Only sums with equally many children share a launch here (tolerance 0). Few launches have a price: pseudo blocks.",
        "pruned", 1, settings=Settings(padding_tolerance=0.0), tolerances=(0.1, 0.25),
        task="Move the tolerance of the Blocks view to 0.1, then 0.25: fewer launches, more pseudo blocks.",
    ),
    Scene(
        "underflow", "The largest child of a block is not everyone's",
        "Sum i has child i alone, which lies 12 i nats below child 0. All are scaled by the largest child of the block.",
        "far apart", 16, settings=Settings(batch_size=64), layer=1, stages=("kernel", "blocks"),
        task="Step through, and see which sums are lost in float16 and left to the guard.",
    ),
    Scene(
        "same epochs, different seconds", "Learning is the same, the clock is not",
        "Compare sizes trains some epochs at each block size, from the same parameters and in the same order.",
        "learning", 1, settings=Settings(batch_size=256), stages=("training", "blocks"),
        task="Press Compare sizes in the Training view, then switch from epochs to seconds: the same curves, at other times.",
        trained="Switch from epochs to seconds in the Training view: the same curves, at other times.",
    ),
    Scene(
        "missing rows", "Vectors that fill no block",
        "All vectors have 48 nodes: blocks of 16 fit, blocks of 32 leave rows and columns empty. Padding is paid in HBM and time.",
        "width 48", 16, question=Question("How many percent of the cells are padding at block size 32?", "padding", 32),
    ),
)  # fmt: skip


def scene_named(name: str) -> Scene:
    """The scene called ``name``; capitals, hyphens, commas and spaces make no difference."""
    found = next((scene for scene in SCENES if _key(scene.name) == _key(name)), None)
    if found is None:
        known = ", ".join(repr(scene.name) for scene in SCENES)
        raise ValueError(f"There is no scene called {brief(name)}; the scenes are {known}.")
    return found


def scene_entry(circuit: str) -> Entry:
    """The circuit of a scene, built now."""
    if circuit == FIGURE_5:
        return figure_5_entry()
    label, build = CIRCUITS[circuit]
    root, x = build()
    entry = user_entry(root, x)
    entry.name, entry.label = circuit, label
    entry.why_not = "" if entry.can_train else "This scene's circuit has no data: the digits circuit can train and measure."
    return entry


def _key(name) -> str:
    return " ".join(re.findall(r"\w+", str(name).casefold()))


def _scattered(num_nodes: int = 2048, num_children: int = 16) -> tuple[SumNodes, None]:
    """Two sum vectors whose sums have few children each, at random places."""
    rng, parts = np.random.default_rng(0), []
    for r in range(2):
        products = multiply(*(inputs(2 * r + i, num_nodes=num_nodes, dist=Categorical(num_cats=2)) for i in range(2)))
        children = np.concatenate([rng.choice(num_nodes, num_children, replace=False) for _ in range(num_nodes)])
        parts.append(summate(products, num_nodes=num_nodes, edge_ids=np.stack([np.repeat(np.arange(num_nodes), num_children), children])))
    return summate(multiply(*parts), num_nodes=1), None


def _pruned() -> tuple[SumNodes, None]:
    """PD on 8 x 8 pixels that keeps four tenths of its edges, so that child counts differ."""
    root = _pd()
    return prune_edges(root, {id(nodes): nodes.params for nodes in sum_vectors(root)}, 0.4, 1), None


def _learning() -> tuple[SumNodes, np.ndarray]:
    return _pd(), digits("train")


def _far_apart(spread: int = 40, nats: float = 12.0) -> tuple[SumNodes, np.ndarray]:
    """16 sums over 16 products: sum i has product i with parameter 1 and the others with 0. Product i lies ``nats`` i below product 0."""
    low = np.exp(-nats * np.arange(16) / spread)
    table = np.stack([low, 1 - low], axis=1)
    table[0] = 0.999, 0.001
    products = multiply(*(inputs(v, num_nodes=16, dist=Categorical(2), params=table) for v in range(spread)))
    x = np.zeros((64, spread), np.int64)
    for sample, row in enumerate(x):
        row[: sample // 8] = 1  # later samples have more ones
    sums = summate(products, num_nodes=16, params=np.eye(16))
    return summate(sums, num_nodes=1, params=np.full((1, 16), 1 / 16)), x


def _width_48() -> tuple[SumNodes, None]:
    return RAT_SPN(64, 48, depth=3, num_repetitions=2, dist=Categorical(num_cats=17), seed=0), None


def _pd() -> SumNodes:
    root = PD((8, 8), 16, split_intervals=2, dist=Categorical(num_cats=17), seed=0)
    init_params(root)
    return root


CIRCUITS: dict[str, tuple[str, Callable]] = {
    "scattered": ("Scattered: 16 of 2,048 children", _scattered),
    "pruned": ("PD on 8 x 8, pruned to 40%", _pruned),
    "far apart": ("Far apart: 16 sums by 12 nats", _far_apart),
    "learning": ("Digits: PD, K=16, untrained", _learning),
    "width 48": ("RAT-SPN, vectors of 48 nodes", _width_48),
}
