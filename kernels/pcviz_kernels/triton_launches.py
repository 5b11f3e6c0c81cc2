"""What one launch of a Triton kernel reads and writes: compact int32 index tensors of a plan's groups on a device.

Numbers differ from ``launches.py`` in one point: scales belong to *units* of up to ``UNIT`` consecutive rows, whatever the
block size, so that at block size 1 a scale is not kept for every node.

Shape legend: G sum blocks of M rows with E child blocks of K rows each, U distinct units among a sum block's children; C
child blocks of a backward launch with R parent blocks each; T input tables; V input vectors; B samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

UNIT = 64  # rows that share a log-scale; tiles never span two units


@dataclass(frozen=True, eq=False)
class TritonInputs:
    """V input vectors of ``stride`` rows each from node row ``start``; tables [T, num_cats, stride] of a discrete distribution, or
    [T, 2, stride] of Gaussian ones (``num_cats`` 0), whose standard deviations stay above ``min_sigma``.

    ``variables``, ``num_nodes``, ``table_ids`` int32 [V]: variable, rows without missing ones, and table of each vector;
    ``table_vectors`` int32 [V] vectors ordered by table, table t having ``table_offsets[t] .. table_offsets[t + 1]``.
    """

    start: int
    stride: int
    num_cats: int
    min_sigma: float
    num_tables: int
    variables: torch.Tensor
    num_nodes: torch.Tensor
    table_ids: torch.Tensor
    table_vectors: torch.Tensor
    table_offsets: torch.Tensor

    @property
    def is_gaussian(self) -> bool:
        return self.num_cats == 0


@dataclass(frozen=True, eq=False)
class TritonProducts:
    """All elements of a layer. ``unit_starts``, ``unit_rows`` int32 [units]: element rows of a unit, unit 0 the null block.

    ``factors`` int32 [arity, element rows]: node row of each factor; 0 is the null row (p = 0), -1 no factor (p = 1).
    ``readers`` int32 [units]: of a level layer, a sum block that reads the unit, in ``block_tops``; 0 where none does.
    """

    arity: int
    num_rows: int
    unit_starts: torch.Tensor
    unit_rows: torch.Tensor
    factors: torch.Tensor
    readers: torch.Tensor


@dataclass(frozen=True, eq=False)
class TritonSums:
    """One forward group, and the parameter flows of its blocks. Child blocks whose rows and parameters follow each other are
    read as one *run* of ``run`` rows: N = E * K / run of them. ``nids`` [G] node rows, ``cids`` [G, N] element rows, ``pids``
    [G, N] parameter entries of matrices [run, M], ``units`` [G, N] unit of each run's first row, ``block_units`` [G, U]
    distinct units (padded with 0), ``num_nodes`` [G] rows without missing ones.

    ``first_row``, ``first_unit``: of this group in the layer's buffers of ratios and their log-scales; ``first_block``: of a level layer,
    its first sum block in ``block_tops``. Tied sum blocks have the
    same ``pids``: ``em_pids`` [g, N] are those that EM updates here, ``repeats`` says that some occur twice in this launch, so
    that flows must be added atomically, or in order: ``users`` [G] sum blocks by parameters, the i-th different ``pids`` being those
    of ``users[user_offsets[i] .. user_offsets[i + 1]]``.
    """

    sum_block: int
    child_block: int
    num_sum_blocks: int
    run: int
    num_runs: int
    nids: torch.Tensor
    cids: torch.Tensor
    pids: torch.Tensor
    units: torch.Tensor
    block_units: torch.Tensor
    num_nodes: torch.Tensor
    em_pids: torch.Tensor
    users: torch.Tensor
    user_offsets: torch.Tensor
    first_row: int
    first_unit: int
    first_block: int
    repeats: bool


@dataclass(frozen=True, eq=False)
class TritonElements:
    """One backward group. ``chids`` [C] element rows, ``units`` [C] unit of each one's first row; of the parents:
    ``parrows`` [C, R] rows in the layer's ratios, ``parunits`` [C, R] their units (0: pseudo), ``parpids`` [C, R] tiles [K, M].

    ``even``: the parents of every child block are at equal distances, ``steps`` int64 [C, 3] of rows, parameters and units."""

    sum_block: int
    child_block: int
    num_child_blocks: int
    num_parents: int
    chids: torch.Tensor
    units: torch.Tensor
    parrows: torch.Tensor
    parunits: torch.Tensor
    parpids: torch.Tensor
    even: bool
    steps: torch.Tensor


@dataclass(frozen=True, eq=False)
class TritonFactors:
    """Flows from products to their factors: ``nids`` [n] node rows of runs of ``width``; run i is a factor of the element
    runs ``parents[offsets[i] .. offsets[i + 1]]`` (first element rows)."""

    width: int
    nids: torch.Tensor
    parents: torch.Tensor
    offsets: torch.Tensor


@dataclass(frozen=True, eq=False)
class TritonLayer:
    """``level``: all sum blocks that read a unit read the same ones (``LayerSummary.level``), so that the largest of their scales, which the
    forward pass keeps, may be that of elements and ratios of the backward pass: it multiplies by no scale within a sum then."""

    level: bool
    products: TritonProducts
    sums: tuple[TritonSums, ...]
    elements: tuple[TritonElements, ...]
    factors: tuple[TritonFactors, ...]
    num_ratio_rows: int
    num_ratio_units: int


@dataclass(frozen=True, eq=False)
class TritonBuffers:
    """Buffers of one micro-batch, rows of ``pitch`` samples; block 0 of every index is a null block.

    ``logs`` float32 [node rows, pitch] base-2 logarithms of inputs and sums; ``flows`` float32 likewise. Of the layer at hand:
    ``elements`` float16 [element rows, pitch] values p / 2^top * 2^15, ``tops`` float32 [units, pitch] (log2 of the unit's
    largest element), ``ratios`` float16 and ``ratio_tops`` float32 likewise for F / p of sums, ``element_flows`` float32, which in
    forward passes has what the variants "float32" (p / 2^top) and "paper" (log2 p) read.
    Data: ``categories`` int32 [variables, pitch], ``reals`` float32 likewise where some variable is Gaussian, else None.
    ``block_tops`` float32 [sum blocks of level layers + 1, pitch]: largest log-scale of their children; row 0 is -inf.
    ``flags`` int32: which tiles of the last launch, or units of the layer's ratios, hold lost pairs. ``lost_ratios`` float32
    [ratio rows, pitch]: log2 of F / p of lost sums, in deterministic mode, else None.
    """

    logs: torch.Tensor
    flows: torch.Tensor
    elements: torch.Tensor
    tops: torch.Tensor
    ratios: torch.Tensor
    ratio_tops: torch.Tensor
    element_flows: torch.Tensor
    block_tops: torch.Tensor
    flags: torch.Tensor
    categories: torch.Tensor
    reals: torch.Tensor | None = None
    lost_ratios: torch.Tensor | None = None

    @property
    def pitch(self) -> int:
        return self.logs.shape[1]


LEAST_FLOW = 2.0**-30  # a lost sum with less flow hands none down
LARGEST_RATIO = 12.0
"""log2 of the largest F / p of a level layer, relative to the scale of its children; sums above it are lost. As float16 times 2^15 a flow
is then exact to rounding down to 2^-17 of a sample where its sum is as large as the largest child, further down where the sum is smaller."""


def lost_log2(num_children: int, float32: bool = False) -> float:
    """log2 of the accumulator (true values: parameters and children at most 1) below which the operands may have lost a child.

    A float16 times 2^15 is exact to rounding down to 2^-29 and off by at most 2^-40 below it. With C children the error of an
    accumulator is at most C 2^-40 from each factor; 2^9 times that keeps it below 0.4 % of the sum. A float32 is lost below
    2^-126, and 2^22 times C of those keep the error below rounding.
    """
    if float32:
        return float(math.ceil(math.log2(num_children)) - 126 + 22)
    return float(min(math.ceil(math.log2(num_children)) + 1 - 40 + 9, -8))
