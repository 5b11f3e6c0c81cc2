"""impl="torch": blocked matrix products for any device torch runs on; the CPU's engine.

The sum layer is a scaled matrix product (paper, section 4.1, with one log-scale per child block and sample): elements are
kept as exp2(e - scale) in [0, 1], so that acc = P @ (x * exp2(scale - top)) and log p = log2(acc) + top.

Guard: top is a maximum over all children of a sum *block*, and the largest may belong to other rows only. A row whose
accumulator falls below ``lost_bound`` may have lost its own children to underflow; those (row, sample) pairs, and only
those, are recomputed from the logarithms.

Loops are over launches and, where a gather would outgrow ``SCRATCH`` entries, over slices of one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .launches import ElementBuffers, ElementLaunch, InputLaunch, ProductLaunch, SumLaunch

SCRATCH = 1 << 20  # entries of one gathered operand
FLOOR = -1e30  # stands in for a scale of -inf where scales are subtracted


def lost_exponent(dtype: torch.dtype) -> int:
    """An accumulator below 2**-lost_exponent may lack a child; what underflow loses then is below rounding."""
    return {torch.float32: 80, torch.float64: 900}[dtype]


def input_forward(launch: InputLaunch, table: torch.Tensor, x: torch.Tensor, observed: torch.Tensor | None, node_values: torch.Tensor) -> None:
    """Input rows of ``node_values``. ``table`` [V * num_cats, stride] log2 probabilities, ``x`` [variables, B] int64."""
    num_vectors, batch = len(launch.variables), x.shape[1]
    rows = x[launch.variables] + launch.num_cats * torch.arange(num_vectors, device=x.device)[:, None]
    values = table.index_select(0, rows.view(-1)).view(num_vectors, batch, launch.stride).transpose(1, 2)
    out = node_values[launch.start : launch.start + num_vectors * launch.stride].view(num_vectors, launch.stride, batch)
    if observed is None:
        out.copy_(values)
    else:
        hidden = ~observed[launch.variables][:, None, :] & launch.real
        torch.where(hidden, torch.zeros((), dtype=out.dtype, device=out.device), values, out=out)


def product_forward(launch: ProductLaunch, node_values: torch.Tensor, elements: ElementBuffers) -> None:
    """Log values of the launch's element runs: the sum over factors."""
    batch = node_values.shape[1]
    runs, first = node_values.view(-1, launch.width, batch), launch.factors[:, 0].contiguous()
    found = launch.eids.view(elements.log_values)
    total = elements.scratch.take("product", len(first), launch.width, batch) if found is None else found
    torch.index_select(runs, 0, first, out=total)
    for position in range(1, launch.factors.shape[1]):
        factor = elements.scratch.take("factor", *total.shape)
        total += torch.index_select(runs, 0, launch.factors[:, position].contiguous(), out=factor)
    if found is None:
        launch.eids.set(elements.log_values, total)


def scale_elements(elements: ElementBuffers) -> None:
    """Fill ``values`` and ``scales`` from ``log_values``."""
    block = 0
    for start, width, count in elements.sections:
        rows = slice(start, start + width * count)
        logs = elements.log_values[rows].view(count, width, -1)
        scales = elements.scales[block : block + count]
        torch.amax(logs, dim=1, out=scales)
        values = elements.values[rows].view(count, width, -1)
        torch.sub(logs, scales.clamp(min=FLOOR)[:, None], out=values).exp2_()
        block += count


def _children(launch: SumLaunch, elements: ElementBuffers, low: int, high: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Children of sum blocks low .. high - 1 on one scale: (x [g, E * K, B] in [0, 1], top [g, B] log2)."""
    fan, batch, take = launch.num_child_blocks, elements.values.shape[1], elements.scratch.take
    factors = take("factors", (high - low) * fan, batch)
    torch.index_select(elements.scales, 0, launch.scale_ids[low:high].reshape(-1), out=factors)
    factors = factors.view(high - low, fan, batch)
    top = factors.amax(dim=1)
    factors.sub_(top.clamp(min=FLOOR)[:, None]).exp2_()
    if launch.child_block == 1:  # a block of one has x = 1 (or an impossible child, whose factor is 0)
        return factors, top
    x = take("children", (high - low) * fan, launch.child_block, batch)
    torch.mul(launch.cids.gather(elements.values, low * fan, high * fan, out=x), factors.view(-1, 1, batch), out=x)
    return x.view(high - low, fan * launch.child_block, batch), top


def _tiles(launch: SumLaunch, params: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Parameters of sum blocks low .. high - 1 as matrices [g, E * K, M]."""
    fan = launch.num_child_blocks
    return launch.pids.gather(params, low * fan, high * fan).view(high - low, fan * launch.child_block, launch.sum_block)


def _slices(total: int, entries_each: int):
    """(low, high) slices of ``total`` blocks with at most SCRATCH entries each."""
    step = max(1, SCRATCH // max(1, entries_each))
    for low in range(0, total, step):
        yield low, min(low + step, total)


def sum_forward(launch: SumLaunch, params: torch.Tensor, elements: ElementBuffers, node_values: torch.Tensor) -> None:
    """log p of the launch's sum blocks: log2 sum_c theta_c p_c, into rows ``nids`` of ``node_values``."""
    batch = node_values.shape[1]
    bound = 2.0 ** -lost_exponent(node_values.dtype)
    for low, high in _slices(launch.num_sum_blocks, launch.num_child_blocks * launch.child_block * batch):
        x, top = _children(launch, elements, low, high)
        theta = _tiles(launch, params, low, high)
        acc = elements.scratch.take("sums", high - low, launch.sum_block, batch)
        torch.bmm(theta.transpose(1, 2), x, out=acc)
        lost = _lost_forward(acc, top, theta, bound)
        acc.log2_().add_(top[:, None])
        if lost is not None:
            for g, m, b, logs in _lost_children(launch, elements, theta, lost, low):
                acc[g, m, b] = _logsumexp2(logs)
        launch.nids.set(node_values, acc.view(-1, batch), low, high)


def _lost_forward(acc: torch.Tensor, top: torch.Tensor, theta: torch.Tensor, bound: float) -> torch.Tensor | None:
    """Mask [g, M, B] of accumulators that may lack a child; None when there are none."""
    if acc.amin() >= bound:
        return None
    lost = (acc < bound) & (top > -torch.inf)[:, None]
    lost &= (theta.amax(dim=1) > 0)[:, :, None]  # rows without parameters are -inf already
    return lost if lost.any() else None


def _lost_children(launch: SumLaunch, elements: ElementBuffers, theta: torch.Tensor, lost: torch.Tensor, low: int):
    """For slices of the lost (sum block, row, sample) pairs: their numbers, and log2 theta_c p_c [n, E * K] exactly."""
    fan, width = launch.num_child_blocks, launch.child_block
    g, m, b = lost.nonzero(as_tuple=True)
    for first, last in _slices(len(g), fan * width):
        gs, ms, bs = g[first:last], m[first:last], b[first:last]
        rows = launch.cids.numbers.view(-1, fan)[gs + low] * width  # [n, E]
        rows = (rows[:, :, None] + torch.arange(width, device=rows.device)).view(len(gs), -1)
        yield gs, ms, bs, theta[gs, :, ms].log2() + elements.log_values[rows, bs[:, None]]


def _logsumexp2(logs: torch.Tensor) -> torch.Tensor:
    """log2 of the sum of exp2 over the last axis; -inf when all are."""
    top = logs.amax(dim=-1)
    return (logs - top.clamp(min=FLOOR)[..., None]).exp2().sum(dim=-1).log2() + top


def param_flows(
    launch: SumLaunch,
    params: torch.Tensor,
    elements: ElementBuffers,
    node_values: torch.Tensor,
    node_flows: torch.Tensor,
    ratios: torch.Tensor,
    tops: torch.Tensor,
    flows: torch.Tensor,
    element_flows: torch.Tensor,
) -> None:
    """Parameter flows of the launch's blocks (paper, section 5), added to ``flows`` *without the factor theta*:
    flows[c, n] += sum_b p_c / p_n F_n. ``flows`` is laid out like ``params``.

    Also leaves ``ratios`` [node rows, B] = F_n exp2(top - log p_n) and ``tops`` [sum blocks, B] for the element flows.
    Rows that the forward pass recomputed get ratio 0 here, and their flows exactly, to the elements too.
    """
    batch, limit = node_values.shape[1], lost_exponent(node_values.dtype)
    fan, take = launch.num_child_blocks, elements.scratch.take
    for low, high in _slices(launch.num_sum_blocks, fan * launch.child_block * batch):
        x, top = _children(launch, elements, low, high)
        tops[launch.first_block + low : launch.first_block + high] = top
        flow = launch.nids.gather(node_flows, low, high)  # [g, M, B]
        values = launch.nids.gather(node_values, low, high)
        ratio = take("ratio", *values.shape)
        torch.clamp(values, min=FLOOR, out=ratio)
        torch.sub(top[:, None], ratio, out=ratio)  # how far log p lies below top; -inf where even top is impossible
        lost = (ratio > limit) & (flow > 0) if ratio.amax() > limit else None
        ratio.clamp_(max=limit).exp2_().mul_(flow)
        if lost is not None and lost.any():
            ratio.masked_fill_(lost, 0.0)
        else:
            lost = None
        launch.nids.set(ratios, ratio.view(-1, batch), low, high)
        grads = launch.pids.view(flows, low * fan, high * fan)
        if grads is not None and lost is None:
            grads.view(high - low, -1, launch.sum_block).baddbmm_(x, ratio.transpose(1, 2))
            continue
        grads = torch.bmm(x, ratio.transpose(1, 2), out=take("grads", high - low, fan * launch.child_block, launch.sum_block))
        if lost is not None:
            theta = _tiles(launch, params, low, high)
            for g, m, b, logs in _lost_children(launch, elements, theta, lost, low):
                _exact_flows(launch, theta, grads, element_flows, flow, values, (g, m, b), logs, low)
        launch.pids.add(flows, grads.view(-1), low * fan, high * fan)


def _exact_flows(launch, theta, grads, element_flows, flow, values, pairs, logs, low) -> None:
    """Flows of lost (sum block, row, sample) pairs from logarithms: F_{n,c} = theta_c p_c / p_n F_n."""
    g, m, b = pairs
    share = (logs - values[g, m, b][:, None]).exp2() * flow[g, m, b][:, None]  # [n, E * K]
    weights = theta[g, :, m]
    children = torch.arange(logs.shape[1], device=logs.device)
    ungated = torch.where(weights > 0, share / weights.clamp(min=torch.finfo(weights.dtype).tiny), 0.0)
    grads.index_put_((g[:, None], children[None], m[:, None]), ungated, accumulate=True)
    rows = launch.cids.numbers.view(-1, launch.num_child_blocks)[g + low] * launch.child_block
    rows = (rows[:, :, None] + torch.arange(launch.child_block, device=rows.device)).view(len(g), -1)
    element_flows.index_put_((rows, b[:, None].expand_as(rows)), share, accumulate=True)


def element_flows(
    launch: ElementLaunch, params: torch.Tensor, elements: ElementBuffers, ratios: torch.Tensor, tops: torch.Tensor, flows: torch.Tensor
) -> None:
    """Flows of the launch's child blocks, added to ``flows`` [element rows, B]:
    F_c = sum_n theta_{n,c} p_c / p_n F_n over the parents n of c (paper, section 5)."""
    fan, batch, take = launch.num_parents, flows.shape[1], elements.scratch.take
    for low, high in _slices(launch.num_child_blocks, fan * launch.sum_block * batch):
        above = take("above", (high - low) * fan, batch)
        torch.index_select(tops, 0, launch.parents[low:high].reshape(-1), out=above)
        scale = elements.scales.index_select(0, launch.scale_ids[low:high])[:, None]
        factors = torch.sub(scale, above.clamp_(min=FLOOR).view(high - low, fan, batch), out=above.view(high - low, fan, batch)).exp2_()
        ratio = take("parents", (high - low) * fan, launch.sum_block, batch)
        torch.mul(launch.parids.gather(ratios, low * fan, high * fan, out=ratio), factors.view(-1, 1, batch), out=ratio)
        theta = launch.parpids.gather(params, low * fan, high * fan).view(high - low, fan, launch.child_block, launch.sum_block)
        theta = theta.transpose(1, 2).reshape(high - low, launch.child_block, fan * launch.sum_block)
        total = take("total", high - low, launch.child_block, batch)
        torch.bmm(theta, ratio.view(high - low, fan * launch.sum_block, batch), out=total)
        total *= launch.chids.gather(elements.values, low, high)
        launch.chids.add(flows, total.view(-1, batch), low, high)


def product_flows(launch: ProductLaunch, element_flows: torch.Tensor, node_flows: torch.Tensor) -> None:
    """A product hands its flow to each of its factors; summed into ``node_flows``."""
    batch = node_flows.shape[1]
    runs = element_flows.view(-1, launch.width * batch)
    total = F.embedding_bag(launch.parents, runs, launch.offsets, mode="sum")
    launch.nids.add(node_flows, total.view(-1, batch))


def input_flows(launch: InputLaunch, x: torch.Tensor, observed: torch.Tensor | None, node_flows: torch.Tensor, flows: torch.Tensor) -> None:
    """Flows of the categories, added to ``flows`` [V, stride, num_cats]; hidden variables count for nothing."""
    num_vectors, batch = len(launch.variables), x.shape[1]
    flow = node_flows[launch.start : launch.start + num_vectors * launch.stride].view(num_vectors, launch.stride, batch)
    if observed is not None:
        flow = flow * observed[launch.variables][:, None, :]
    flows.scatter_add_(2, x[launch.variables][:, None, :].expand(-1, launch.stride, -1), flow)


def em_sums(launch: SumLaunch, params: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """One EM step of the launch's parameters: theta <- (1 - step) theta + step (F + pc / n) / sum (paper, section 5).

    ``flows`` come without the factor theta. n counts the parameters of a row that are not zero; zeros stay zero, and a
    row without flow keeps its parameters when the pseudocount is 0.
    """
    for low, high in _slices(launch.num_sum_blocks, launch.num_child_blocks * launch.child_block * launch.sum_block):
        fan = launch.num_child_blocks
        theta = _tiles(launch, params, low, high)
        counts = theta * _tiles(launch, flows, low, high)
        updated = _em_rows(theta, counts, step_size, pseudocount, dim=1)
        launch.pids.set(params, updated.view(-1), low * fan, high * fan)


def em_inputs(table: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """One EM step of categorical tables [V, stride, num_cats]; ``flows`` are the categories' flows."""
    table.copy_(_em_rows(table, flows, step_size, pseudocount, dim=2))


def _em_rows(theta: torch.Tensor, counts: torch.Tensor, step_size: float, pseudocount: float, dim: int) -> torch.Tensor:
    nonzero = theta > 0
    if pseudocount:
        counts = counts + pseudocount * nonzero / nonzero.sum(dim=dim, keepdim=True).clamp(min=1)
    total = counts.sum(dim=dim, keepdim=True)
    target = torch.where(total > 0, counts / total, theta)
    return theta + step_size * (target - theta) if step_size != 1 else target
