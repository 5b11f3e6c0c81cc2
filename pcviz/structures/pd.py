"""Poon-Domingos circuits: every way to cut a grid of variables into boxes, down to small boxes or single variables.

A *box* is a range per axis, ``((start, stop), ...)``. A box that can be cut has one product vector per cut, which pairs
the nodes of the two halves, and one vector of sums over all its products; boxes are shared between cuts.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from ..arguments import checked_integer
from ..ir.distributions import Distribution
from ..ir.nodes import InputNodes, Nodes, SumNodes, inputs, multiply, summate
from .arguments import check_dist, check_seed

Box = tuple[tuple[int, int], ...]
MAX_CUTS = 500_000
DRAWN_PRODUCTS = 4  # product vectors that a block of sums connects to, when connections are drawn


def PD(shape, num_latents: int, *, split_intervals=1, dist: Distribution, seed: int = 0, conn_block: int | None = None) -> SumNodes:
    """A Poon-Domingos circuit over a grid of variables, numbered in row-major order.

    shape: length of each axis, e.g. ``(8, 8)``; 1-D and 3-D grids work too.
    num_latents: nodes K of every vector (the root is one sum).
    split_intervals: boxes are cut at multiples of this; one integer, or one per axis.
    dist: distribution of the inputs, e.g. ``pcv.Categorical(num_cats=17)``.
    seed: seed of drawn connections and of the initial parameters.
    conn_block: None connects every sum of a box to every product, and cuts boxes without a multiple inside at every
        position, down to single variables. An integer c connects the way PyJuice does: each block of c sums draws at
        most four of the box' product vectors, and a box that has no multiple of the interval inside is one product of
        its variables under a block-diagonal vector of sums. Unlike PyJuice's, the draws of one box come from a shuffled
        deck, so that all products are used as long as there are enough draws; a product vector that nobody draws is
        left out.

    Raises ValueError for wrong arguments, and for grids of more cuts than memory and minutes allow, with an interval that works.
    """
    shape = _checked_shape(shape)
    checked_integer("PD(num_latents=...)", num_latents)
    check_dist("PD", dist)
    check_seed("PD", seed)
    intervals = _checked_intervals(split_intervals, shape)
    if conn_block is not None:
        checked_integer("PD(conn_block=...)", conn_block)
        if num_latents % conn_block:
            raise ValueError(
                f"PD: conn_block={conn_block} must divide num_latents={num_latents}, because connections are drawn per block of "
                f"conn_block sums; pass conn_block={math.gcd(conn_block, num_latents)} or another divisor, or another num_latents."
            )
    builder = _Builder(shape, int(num_latents), intervals, dist, seed, conn_block)
    builder.check_size()
    root = builder.root()
    root.seed = seed
    return root


class _Builder:
    """Builds the vectors of boxes on demand and shares them."""

    def __init__(self, shape, num_latents, intervals, dist, seed, conn_block):
        self.shape, self.num_latents, self.intervals = shape, num_latents, intervals
        self.dist, self.conn_block = dist, conn_block
        self.rng = np.random.default_rng(seed)
        self.strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        self.vectors: dict[Box, Nodes] = {}
        self.inputs: dict[int, InputNodes] = {}

    def root(self) -> SumNodes:
        box = tuple((0, length) for length in self.shape)
        products = [multiply(*map(self.box, halves), name=_cut_name(*halves)) for halves in self.cuts(box)]
        return summate(*(products or [self.variables(box)]), num_nodes=1, name="root")

    def box(self, box: Box) -> Nodes:
        """The vector of a box: sums, or inputs for a single variable (without drawn connections)."""
        nodes = self.vectors.get(box)
        if nodes is None:
            nodes = self.vectors[box] = self.build(box)
        return nodes

    def build(self, box: Box) -> Nodes:
        cuts, name = self.cuts(box), _name(box)
        if not cuts:
            return self.variables(box) if self.conn_block is None else self.diagonal(box)
        edge_ids = None
        if self.conn_block is not None and len(cuts) > DRAWN_PRODUCTS:
            edge_ids, used = self.draw(len(cuts))
            cuts = [cuts[i] for i in used]
        products = [multiply(self.box(low), self.box(high), name=_cut_name(low, high)) for low, high in cuts]
        return summate(*products, num_nodes=self.num_latents, edge_ids=edge_ids, edge_block=1 if edge_ids is None else self.conn_block, name=name)

    def cut_points(self, axis: int, start: int, stop: int) -> range:
        """Positions at which a box is cut along an axis."""
        step = self.intervals[axis]
        points = range((start // step + 1) * step, stop, step)
        if not points and self.conn_block is None:
            return range(start + 1, stop)
        return points

    def cuts(self, box: Box) -> list[tuple[Box, Box]]:
        """All (lower half, upper half) of a box."""
        halves = []
        for axis, (start, stop) in enumerate(box):
            before, after = box[:axis], box[axis + 1 :]
            halves += [((*before, (start, at), *after), (*before, (at, stop), *after)) for at in self.cut_points(axis, start, stop)]
        return halves

    def variables(self, box: Box) -> Nodes:
        """The inputs of a box' variables, multiplied when there are several."""
        offsets = (np.arange(start, stop) * stride for (start, stop), stride in zip(box, self.strides, strict=True))
        members = [self.input(int(var)) for var in reduce(np.add.outer, offsets).ravel()]
        return members[0] if len(members) == 1 else multiply(*members, name=_name(box))

    def input(self, var: int) -> InputNodes:
        if var not in self.inputs:
            self.inputs[var] = inputs(var, num_nodes=self.num_latents, dist=self.dist, name=f"x{var}")
        return self.inputs[var]

    def diagonal(self, box: Box) -> SumNodes:
        """A box that is not cut further: block i of the sums is connected to block i of the product of its variables."""
        edge_ids = np.tile(np.arange(self.num_latents // self.conn_block), (2, 1))
        return summate(self.variables(box), num_nodes=self.num_latents, edge_ids=edge_ids, edge_block=self.conn_block, name=_name(box))

    def draw(self, num_cuts: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw products for every block of sums; returns edge_ids among the products that are used, and which those are."""
        num_blocks = self.num_latents // self.conn_block
        return block_edges(deal(num_blocks, num_cuts, DRAWN_PRODUCTS, self.rng))

    def check_size(self) -> None:
        """Refuse grids whose number of cuts would take minutes and gigabytes; the message names an interval that works."""
        num_cuts = self.count_cuts()
        if num_cuts > MAX_CUTS:
            raise ValueError(
                f"PD({self.shape}, split_intervals={self.intervals}) has {num_cuts:,} cuts, more than the {MAX_CUTS:,} that are reasonable; "
                "cut less finely: pass larger split_intervals, such as 4 for a 28 x 28 grid."
            )

    def count_cuts(self) -> int:
        """Number of cuts of all boxes, from the ranges of each axis alone."""
        ranges, cuts = [], []
        for axis, length in enumerate(self.shape):
            num_cuts, todo, seen = 0, [(0, length)], {(0, length)}
            while todo:
                start, stop = todo.pop()
                for at in self.cut_points(axis, start, stop):
                    num_cuts += 1
                    new = {(start, at), (at, stop)} - seen
                    seen |= new
                    todo += new
            ranges.append(len(seen))
            cuts.append(num_cuts)
        return sum(cuts[axis] * math.prod(ranges[:axis] + ranges[axis + 1 :]) for axis in range(len(cuts)))


def block_edges(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(edge_ids [2, E] of blocks, the product vectors that are used, ascending) of ``drawn`` [sum blocks, n]: the product vectors
    that each block of sums is connected to, with all their blocks, of which each has as many as there are sum blocks."""
    num_blocks, size = drawn.shape
    used, position = np.unique(drawn, return_inverse=True)
    sums = np.repeat(np.arange(num_blocks), size * num_blocks)
    children = position.reshape(num_blocks, -1, 1) * num_blocks + np.arange(num_blocks)
    return np.stack([sums, children.ravel()]), used


def deal(hands: int, cards: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Deal ``size`` different cards of ``cards`` to each hand, going through the shuffled deck again and again.

    Returns [hands, size]. Every card is dealt when hands * size >= cards.
    """
    dealt = np.empty((hands, size), dtype=np.int64)
    deck = rng.permutation(cards)
    for hand in dealt:
        rest = deck[:size]
        hand[: len(rest)] = rest
        deck = deck[size:]
        if len(rest) < size:
            fresh = rng.permutation(cards)
            held = np.isin(fresh, rest)
            fresh = np.concatenate([fresh[~held], fresh[held]])  # no card twice in this hand
            hand[len(rest) :] = fresh[: size - len(rest)]
            deck = fresh[size - len(rest) :]
    return dealt


def _name(box: Box) -> str:
    return "[" + ", ".join(f"{start}:{stop}" for start, stop in box) + "]"


def _cut_name(low: Box, high: Box) -> str:
    return f"{_name(low)} x {_name(high)}"


def _checked_shape(shape) -> tuple[int, ...]:
    try:
        shape = tuple(shape)
    except TypeError:
        raise ValueError(f"PD(shape=...) expects the length of each axis, such as (8, 8), got {shape!r}.") from None
    if not shape:
        raise ValueError("PD(shape=...) expects at least one axis, such as (8, 8), got none.")
    return tuple(checked_integer("PD(shape=...): the length of an axis", length) for length in shape)


def _checked_intervals(split_intervals, shape) -> tuple[int, ...]:
    given = tuple(split_intervals) if isinstance(split_intervals, (tuple, list, np.ndarray)) else (split_intervals,) * len(shape)
    if len(given) != len(shape):
        raise ValueError(f"PD(split_intervals=...) expects one integer or one per axis ({len(shape)} axes), got {split_intervals!r}.")
    return tuple(checked_integer("PD(split_intervals=...)", interval) for interval in given)
