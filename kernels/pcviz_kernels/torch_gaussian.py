"""Gaussian inputs of impl="torch". A density may exceed 1 or be tiny, so that a block gets a scale per sample, as sums do.

Shape legend: V vectors, T tables, B samples; see ``GaussianLaunch``.
"""

from __future__ import annotations

import math

import torch

from .launches import GaussianLaunch, NodeBuffers

LN2 = math.log(2.0)
FLOOR = -1e30  # stands in for a scale of -inf where scales are subtracted


def forward(launch: GaussianLaunch, table: torch.Tensor, x: torch.Tensor, observed: torch.Tensor | None, nodes: NodeBuffers) -> None:
    """log N(x; mean, std) into the launch's rows: values in [0, 1] on the scale of each block's largest, logarithms kept."""
    std = table[launch.table_ids, :, 1:]
    logs = _deviations(launch, table, x).square_().mul_(-0.5 / LN2).sub_(std.log2() + 0.5 * math.log2(2 * math.pi))
    if observed is not None:
        logs.masked_fill_(~observed[launch.variables][:, None, :], 0.0)  # a density integrates to 1
    logs.masked_fill_(~launch.real[launch.table_ids], -torch.inf)
    rows = slice(launch.start, launch.start + len(launch.variables) * launch.stride)
    blocks = logs.view(-1, launch.block, x.shape[1])
    top = blocks.amax(dim=1)
    nodes.logs[rows] = logs.view(-1, x.shape[1])
    nodes.scales[rows][:: launch.block] = top
    nodes.values[rows] = (blocks - top.clamp(min=FLOOR)[:, None]).exp2_().view(-1, x.shape[1])


def flows(
    launch: GaussianLaunch, table: torch.Tensor, x: torch.Tensor, observed: torch.Tensor | None, node_flows: torch.Tensor, flows: torch.Tensor
) -> None:
    """Moments of the samples, weighted by the flows of the nodes, added to ``flows`` [T, stride, 3]."""
    flow = node_flows[launch.start : launch.start + len(launch.variables) * launch.stride].view(-1, launch.stride, x.shape[1])
    if observed is not None:
        flow = flow * observed[launch.variables][:, None, :]
    z = _deviations(launch, table, x).masked_fill_(flow == 0, 0.0)  # an impossible sample may lie infinitely far
    first = flow * z
    moments = torch.stack([flow.sum(dim=2), first.sum(dim=2), first.mul_(z).sum(dim=2)], dim=2)
    flows.index_add_(0, launch.table_ids, moments)


def em(launch: GaussianLaunch, table: torch.Tensor, flows: torch.Tensor, step_size: float) -> None:
    """One EM step: the moments E x and E x^2 of a node move to those of its samples by ``step_size``; nodes without flow stay.

    No pseudocount: there is no prior here; ``min_sigma`` bounds the densities.
    """
    total, mean, std = flows[..., 0], table[..., 0], table[..., 1]
    reached = launch.real[..., 0] & (total > 0)
    shift = step_size * flows[..., 1] / total  # E z, which is 0 before the step
    square = 1 + step_size * (flows[..., 2] / total - 1)  # E z^2, which is 1
    new = (std * (square - shift.square()).clamp(min=0).sqrt()).clamp(min=launch.min_sigma)
    table.copy_(torch.stack([torch.where(reached, mean + std * shift, mean), torch.where(reached, new, std)], dim=-1))


def raw_moments(table: torch.Tensor, flows: torch.Tensor) -> torch.Tensor:
    """Sums of F, F x and F x^2 [T, stride, 3] from the moments about mean and standard deviation in ``flows``."""
    (mean, std), (zeroth, first, second) = table.unbind(-1), flows.unbind(-1)
    linear = mean * zeroth + std * first
    return torch.stack([zeroth, linear, mean * (linear + std * first) + std.square() * second], dim=-1)


def _deviations(launch: GaussianLaunch, table: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """[V, stride, B] (x - mean) / std; undefined where no node is."""
    mean, std = table[launch.table_ids].split(1, dim=2)
    return (x[launch.variables][:, None, :] - mean).div_(std)
