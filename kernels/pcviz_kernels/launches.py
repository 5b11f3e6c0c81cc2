"""What one launch reads and writes: the index tensors of a plan's groups on a device.

Every implementation (torch, triton) takes these records, so that the two have the same signatures.

Shape legend: G sum blocks, E child blocks of each, M rows of a sum block, K rows of a child block; C child blocks of a
backward launch, R parents of each; B samples. Values are base-2 logarithms throughout: exp2 and log2 are what both CPUs
and GPUs compute fastest; the circuit converts likelihoods to natural logarithms on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .blocks import BlockIndex, Scratch


@dataclass(frozen=True, eq=False)
class InputLaunch:
    """V input vectors of ``stride`` rows each from row ``start``; ``variables`` [V]; ``real`` [V, stride, 1] bool."""

    start: int
    stride: int
    num_cats: int
    variables: torch.Tensor
    real: torch.Tensor


@dataclass(frozen=True, eq=False)
class ProductLaunch:
    """``eids``: runs of element rows; ``factors`` [n, arity] numbers of node runs; backward: ``nids`` runs of node rows,
    fed by element runs ``parents`` [sum of counts] from ``offsets`` [m] on."""

    width: int
    eids: BlockIndex
    factors: torch.Tensor
    nids: BlockIndex
    parents: torch.Tensor
    offsets: torch.Tensor


@dataclass(frozen=True, eq=False)
class SumLaunch:
    """One forward group, and the parameter flows of its blocks.

    ``nids`` G blocks of node rows; ``cids`` G * E blocks of element rows; ``pids`` G * E parameter tiles [K, M];
    ``scale_ids`` [G, E] the child blocks' log-scales; ``first_block``: number of the first sum block in the layer.
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


@dataclass(frozen=True, eq=False)
class ElementLaunch:
    """One backward group. ``chids`` C blocks of element rows with log-scales ``scale_ids`` [C]; their parents: ``parids``
    C * R blocks of node rows, ``parpids`` C * R parameter tiles [K, M], ``parents`` [C, R] numbers of sum blocks in the
    layer (0: pseudo)."""

    sum_block: int
    child_block: int
    num_child_blocks: int
    num_parents: int
    chids: BlockIndex
    scale_ids: torch.Tensor
    parids: BlockIndex
    parpids: BlockIndex
    parents: torch.Tensor


@dataclass(frozen=True, eq=False)
class ElementBuffers:
    """The elements of one layer for one micro-batch.

    ``log_values`` [rows, B] base-2 logs; ``values`` [rows, B] = exp2(log_values - scale of the block), in [0, 1];
    ``scales`` [blocks, B] the largest log value of each block; ``sections`` (first row, width, count) in block order.
    Block 0 is the null block: value 0, scale -inf.
    """

    log_values: torch.Tensor
    values: torch.Tensor
    scales: torch.Tensor
    sections: tuple[tuple[int, int, int], ...]
    scratch: Scratch
