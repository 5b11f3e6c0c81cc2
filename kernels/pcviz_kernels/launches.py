"""What one launch reads and writes: the index tensors of a plan's groups on a device.

Every implementation (torch, triton) takes these records, so that the two have the same signatures.

Shape legend: G sum blocks, E child blocks of each, M rows of a sum block, K rows of a child block; C child blocks of a
backward launch, R parents of each; B samples. Scales and logarithms are to base 2: exp2 and log2 are what both CPUs and
GPUs compute fastest; the circuit converts likelihoods to natural logarithms on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .blocks import BlockIndex, Scratch, Sets

# Parameter flows are accumulated without the factor theta and times this: flow / theta of a parameter near the smallest
# float32 would overflow. Whoever reads them multiplies by theta and divides by it.
FLOW_SCALE = 2.0**-40


@dataclass(frozen=True, eq=False)
class InputLaunch:
    """V input vectors of ``stride`` rows each from row ``start``; ``variables`` [V]. They read T tables, fewer than V when some
    are tied: ``table_ids`` [V]; ``real`` [T, stride, 1] bool, the rows of a table that are nodes."""

    start: int
    stride: int
    num_cats: int
    variables: torch.Tensor
    table_ids: torch.Tensor
    real: torch.Tensor

    @property
    def repeats(self) -> bool:
        """Whether two of the vectors read the same table: then flows must be added, not stored."""
        return len(self.real) < len(self.table_ids)


@dataclass(frozen=True, eq=False)
class GaussianLaunch:
    """V vectors of Gaussian inputs, laid out as in InputLaunch, in blocks of ``block`` rows with a scale each.

    A table [T, stride, 2] has means and standard deviations; its flows [T, stride, 3] are moments about them, so that no
    digits are lost: sums over the samples of F, F z and F z^2 with z = (x - mean) / std.
    """

    start: int
    stride: int
    block: int
    min_sigma: float
    variables: torch.Tensor
    table_ids: torch.Tensor
    real: torch.Tensor


@dataclass(frozen=True, eq=False)
class ProductLaunch:
    """``eids``: runs of ``width`` element rows, in blocks of ``element_block`` whose log-scales are ``scales``;
    ``factors`` [arity, n] numbers of node runs, ``factor_scales`` [arity, n] node rows that hold their scales. Backward:
    ``nids`` runs of node rows, fed by element runs ``parents`` from ``offsets`` [m] on.

    ``sets`` of runs that may come on one scale: those of a block, and siblings (blocks that the same sum blocks read). None:
    each run is a set of its own.
    """

    width: int
    element_block: int
    eids: BlockIndex
    scales: BlockIndex
    factors: torch.Tensor
    factor_scales: torch.Tensor
    nids: BlockIndex
    parents: torch.Tensor
    offsets: torch.Tensor
    sets: Sets | None

    @property
    def runs_per_block(self) -> int:
        return self.element_block // self.width


@dataclass(frozen=True, eq=False)
class SumLaunch:
    """One forward group, and the parameter flows of its blocks.

    ``nids`` G blocks of node rows; ``cids`` G * E blocks of element rows; ``pids`` G * E parameter tiles [K, M], which occur
    more than once where sum blocks are tied (``pids.repeats``: flows must be added, not stored); ``scale_ids`` [G, E] the
    child blocks' log-scales; ``first_block``: number of the first sum block in the layer. ``lead_scales`` [G]: where the
    children of every sum block are of one set (see ProductLaunch), the log-scale of one of them; else None. ``ratio_ids``: where
    the backward pass leaves F_n / p_n for the layer's element launches, one block for each sum block of the layer, by number.
    """

    sum_block: int
    child_block: int
    num_sum_blocks: int
    num_child_blocks: int
    nids: BlockIndex
    cids: BlockIndex
    pids: BlockIndex
    scale_ids: torch.Tensor
    first_block: int
    lead_scales: torch.Tensor | None
    ratio_ids: BlockIndex


@dataclass(frozen=True, eq=False)
class ElementLaunch:
    """One backward group. ``chids`` C blocks of element rows with log-scales ``scale_ids`` [C]; their parents: ``parids``
    C * R blocks of ratio rows (see SumLaunch), ``parpids`` C * R parameter tiles [K, M], ``parents`` [C, R] numbers of sum
    blocks in the layer (0: pseudo). ``level``: every child block is of the one set that its parents read. ``first``: no launch
    of the layer before it has these child blocks.
    """

    sum_block: int
    child_block: int
    num_child_blocks: int
    num_parents: int
    chids: BlockIndex
    scale_ids: torch.Tensor
    parids: BlockIndex
    parpids: BlockIndex
    parents: torch.Tensor
    level: bool
    first: bool


@dataclass(frozen=True, eq=False)
class NodeBuffers:
    """Inputs and sums of one micro-batch, each [rows, B].

    p = values * exp2(scale), ``values`` in [0, 1]; the scale of a block stands in ``scales`` at its first row. Where
    values < ``smallest_value`` (0 included), too little of p is left in them, and ``logs`` has log2 p instead; elsewhere
    ``logs`` is undefined. ``careful``: what an implementation's forward pass wants its backward pass to look at again.
    """

    values: torch.Tensor
    scales: torch.Tensor
    logs: torch.Tensor
    careful: set = field(default_factory=set)


@dataclass(eq=False)
class ElementBuffers:
    """The elements of one layer for one micro-batch: p = values * exp2(scale of the block).

    ``values`` [rows, B] in [0, 1]; ``scales`` [blocks, B]; block 0 is the null block: value 0, scale -inf. ``logs``
    [rows, B] base-2 logs, filled from ``nodes`` for the ``products`` in ``logged`` only, when a kernel needs them.
    ``has_flows``: some element flows were added before the element launches, all others set to 0.
    """

    values: torch.Tensor
    scales: torch.Tensor
    logs: torch.Tensor
    nodes: NodeBuffers
    products: tuple[ProductLaunch, ...]
    scratch: Scratch
    logged: set[ProductLaunch]
    has_flows: bool = False


def smallest_value(dtype: torch.dtype) -> float:
    """Below this, a value is too near underflow to be multiplied: its logarithm is kept."""
    return {torch.float32: 2.0**-100, torch.float64: 2.0**-1000}[dtype]


def log_of(values: torch.Tensor, scale: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
    """log2 p of nodes; see NodeBuffers."""
    return torch.where(values < smallest_value(values.dtype), logs, values.log2() + scale)
