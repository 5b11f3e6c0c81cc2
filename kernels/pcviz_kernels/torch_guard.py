"""What impl="torch" computes again from logarithms, where scaled values underflow.

A scale is that of a *block*; one node may lie so far below it that its value underflows. Three bounds keep every result
exact to rounding: a node value below ``smallest_value`` is kept as a logarithm; a sum whose accumulator is below
``lost_value`` (the block's largest child may belong to other rows only) is computed again, alone, from logarithms; before
that, elements that lie below ``weak_value`` of their scale all together (factors that are large in different rows) get
another scale. What underflow takes from an accumulator above its bound lies below rounding, so that a launch all of whose
accumulators are above it needs nothing from here.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .blocks import slices
from .launches import FLOW_SCALE, ElementBuffers, NodeBuffers, ProductLaunch, SumLaunch, log_of

FLOOR = -1e30  # stands in for a scale of -inf where scales are subtracted


def lost_value(dtype: torch.dtype) -> float:
    """An accumulator below this may lack a child; what underflow takes from a larger one is below rounding."""
    return {torch.float32: 2.0**-80, torch.float64: 2.0**-900}[dtype]


def weak_value(dtype: torch.dtype) -> float:
    """Elements below this would leave their sums too near ``lost_value``."""
    return {torch.float32: 2.0**-60, torch.float64: 2.0**-800}[dtype]


# ---- elements -----------------------------------------------------------------------------------------------------------


def renew_weak_elements(elements: ElementBuffers) -> bool:
    """Bring elements that are weak for some sample to another scale, whole launches; True if there were any. They are marked
    as ``careful`` and stay so for the backward pass."""
    careful = elements.nodes.careful
    weak = [launch for launch in elements.products if launch not in careful and _is_weak(launch, elements)]
    for launch in weak:
        careful.add(launch)
        products_from_logs(launch, elements)
    return bool(weak)


def _is_weak(launch: ProductLaunch, elements: ElementBuffers) -> bool:
    peak = launch.eids.gather(elements.values).amax(dim=1)  # [runs, B]
    if launch.sets is not None:
        peak = launch.sets.amax(peak)
    possible = launch.scales.gather(elements.scales)[:, 0] > -torch.inf
    return bool(((peak[:: launch.runs_per_block] < weak_value(peak.dtype)) & possible).any())


def products_from_logs(launch: ProductLaunch, elements: ElementBuffers) -> None:
    """Values and scales of the launch's elements; a set's scale is that of its largest element."""
    logs = _log_products(launch, elements)
    top = logs.amax(dim=1)
    if launch.sets is not None:
        top = launch.sets.amax(top)
    launch.scales.set(elements.scales, top[:: launch.runs_per_block])
    launch.eids.set(elements.values, (logs - top.clamp(min=FLOOR)[:, None]).exp2_())


def _log_products(launch: ProductLaunch, elements: ElementBuffers) -> torch.Tensor:
    """[runs, width, B] base-2 logs of the launch's elements; they are kept in ``elements.logs``."""
    nodes, batch = elements.nodes, elements.logs.shape[1]
    if launch in elements.logged:
        return launch.eids.gather(elements.logs)
    total = 0
    for factor, factor_scale in zip(launch.factors, launch.factor_scales):
        values, logs = (buffer.view(-1, launch.width, batch).index_select(0, factor) for buffer in (nodes.values, nodes.logs))
        scale = nodes.scales.index_select(0, factor_scale)[:, None]
        total = total + log_of(values, scale, logs)
    launch.eids.set(elements.logs, total)
    elements.logged.add(launch)
    return total


# ---- sums ---------------------------------------------------------------------------------------------------------------


def needs_logs(acc: torch.Tensor, top: torch.Tensor, theta: torch.Tensor) -> bool:
    """Whether some accumulator [g, M, B] is lost, or a whole block impossible."""
    return bool((top == -torch.inf).any() or (acc.amax(dim=1) == 0).any() or _lost(acc, top, theta).any())


def _lost(acc: torch.Tensor, top: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Mask [g, M, B] of accumulators that may lack a child. Rows without parameters are impossible, not lost."""
    lost = (acc < lost_value(acc.dtype)) & (top > -torch.inf)[:, None]
    return lost & (theta.amax(dim=1) > 0)[:, :, None]


def sums_from_logs(
    launch: SumLaunch, elements: ElementBuffers, nodes: NodeBuffers, acc: torch.Tensor, top: torch.Tensor, theta: torch.Tensor, low: int, high: int
) -> torch.Tensor:
    """Replace lost accumulators exactly; ``acc`` becomes the values, ``nodes.logs`` is written; returns the scales."""
    lost = _lost(acc, top, theta)
    logs = acc.log2() + top[:, None]
    for g, m, b, terms in _lost_children(launch, elements, theta, lost, low):
        logs[g, m, b] = _logsumexp2(terms)
    launch.nids.set(nodes.logs, logs, low, high)
    scale = logs.amax(dim=1)
    torch.sub(logs, scale.clamp(min=FLOOR)[:, None], out=acc).exp2_()
    return scale


def _lost_children(
    launch: SumLaunch, elements: ElementBuffers, theta: torch.Tensor, lost: torch.Tensor, low: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """For slices of the lost (sum block, row, sample) pairs: their numbers, and log2 theta_c p_c [n, E * K] exactly."""
    for product in elements.products:
        _log_products(product, elements)
    g, m, b = lost.nonzero(as_tuple=True)
    for first, last in slices(len(g), launch.num_child_blocks * launch.child_block):
        gs, ms, bs = g[first:last], m[first:last], b[first:last]
        yield gs, ms, bs, theta[gs, :, ms].log2() + elements.logs[_child_rows(launch, gs + low), bs[:, None]]


def _child_rows(launch: SumLaunch, sum_blocks: torch.Tensor) -> torch.Tensor:
    """[n, E * K] element rows that the launch's sum blocks read."""
    rows = launch.cids.numbers.view(-1, launch.num_child_blocks)[sum_blocks] * launch.child_block
    return (rows[:, :, None] + torch.arange(launch.child_block, device=rows.device)).view(len(sum_blocks), -1)


def _logsumexp2(logs: torch.Tensor) -> torch.Tensor:
    """log2 of the sum of exp2 over the last axis; -inf when all are."""
    top = logs.amax(dim=-1)
    return (logs - top.clamp(min=FLOOR)[..., None]).exp2().sum(dim=-1).log2() + top


# ---- flows --------------------------------------------------------------------------------------------------------------


def careful_ratios(values: torch.Tensor, scale: torch.Tensor, top: torch.Tensor, flow: torch.Tensor, out: torch.Tensor) -> torch.Tensor | None:
    """F_n exp2(top) / p_n [g, M, B] into ``out``, 0 where the accumulator is lost; returns the mask of those, None if there
    are none."""
    bound = lost_value(values.dtype)
    acc = torch.mul(values, (scale.clamp(min=FLOOR) - top.clamp(min=FLOOR)).exp2_()[:, None], out=out)
    lost = (acc < bound) & (flow > 0)
    torch.div(flow, acc.clamp_(min=bound), out=out)
    if not lost.any():
        return None
    out.masked_fill_(lost, 0.0)
    return lost


def add_lost_flows(
    launch: SumLaunch,
    theta: torch.Tensor,
    elements: ElementBuffers,
    nodes: NodeBuffers,
    flow: torch.Tensor,
    lost: torch.Tensor,
    grads: torch.Tensor,
    element_flows: torch.Tensor,
    low: int,
) -> None:
    """Flows of lost (sum block, row, sample) pairs from logarithms, F_{n,c} = theta_c p_c / p_n F_n: to ``grads`` [g, E * K, M]
    (see param_flows) and to ``element_flows``."""
    if not elements.has_flows:
        element_flows.zero_()
        elements.has_flows = True
    high = low + len(flow)
    scale = nodes.scales.index_select(0, launch.nids.starts[low:high])
    logs = log_of(launch.nids.gather(nodes.values, low, high), scale[:, None], launch.nids.gather(nodes.logs, low, high))
    children = torch.arange(theta.shape[1], device=theta.device)
    for g, m, b, terms in _lost_children(launch, elements, theta, lost, low):
        share = (terms - logs[g, m, b][:, None]).exp2() * flow[g, m, b][:, None]  # [n, E * K]
        weights = theta[g, :, m]
        ungated = torch.where(weights > 0, share * FLOW_SCALE / weights, 0.0)
        grads.index_put_((g[:, None], children[None], m[:, None]), ungated, accumulate=True)
        rows = _child_rows(launch, g + low)
        element_flows.index_put_((rows, b[:, None].expand_as(rows)), share, accumulate=True)
