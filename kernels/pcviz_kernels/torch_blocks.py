"""impl="torch": blocked matrix products for any device torch runs on; the CPU's engine.

A sum layer is a plain matrix product of scaled values (paper, section 4.1, with one log-scale per block and sample): a
node is value * exp2(scale) with values in [0, 1], a product multiplies values and adds scales, a sum is P @ x with all
children brought to the scale of the largest. No logarithm or exponential is taken per node, only per block.

Guard. A scale is that of a *block*; one node may lie so far below it that its value underflows. Three bounds keep every
result exact to rounding: a node value below ``smallest_value`` is kept as a logarithm; a block of elements whose largest
value is below ``weak`` is computed again from logarithms; a sum whose accumulator is below ``lost`` (the block's largest
child may belong to other rows only) is computed again, alone, from logarithms.

Loops are over launches and, where a gather would outgrow ``SCRATCH`` entries, over slices of one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .blocks import Scratch
from .launches import FLOW_SCALE, ElementBuffers, ElementLaunch, InputLaunch, NodeBuffers, ProductLaunch, SumLaunch, log_of
from .torch_queries import category_choices, child_choices, input_max, product_logs, sum_max  # noqa: F401 (part of the implementation)

SCRATCH = 1 << 22  # entries of one gathered operand
FLOOR = -1e30  # stands in for a scale of -inf where scales are subtracted


def lost_value(dtype: torch.dtype) -> float:
    """An accumulator below this may lack a child; what underflow takes from a larger one is below rounding."""
    return {torch.float32: 2.0**-80, torch.float64: 2.0**-900}[dtype]


def weak_value(dtype: torch.dtype) -> float:
    """A block of elements below this would leave its sums too near ``lost_value``."""
    return {torch.float32: 2.0**-60, torch.float64: 2.0**-800}[dtype]


def input_forward(launch: InputLaunch, table: torch.Tensor, exact: bool, x: torch.Tensor, observed: torch.Tensor | None, nodes: NodeBuffers) -> None:
    """Input rows of ``nodes``. ``table`` [T * num_cats, stride] probabilities, ``x`` [variables, B] int64; ``exact``: some
    real probability is below ``smallest_value``, so logarithms are kept too."""
    num_vectors, batch = len(launch.variables), x.shape[1]
    rows = x[launch.variables] + launch.num_cats * launch.table_ids[:, None]
    values = table.index_select(0, rows.view(-1)).view(num_vectors, batch, launch.stride).transpose(1, 2)
    mine = slice(launch.start, launch.start + num_vectors * launch.stride)
    out = nodes.values[mine].view(num_vectors, launch.stride, batch)
    if observed is None:
        out.copy_(values)
    else:
        hidden = ~observed[launch.variables][:, None, :] & launch.real[launch.table_ids]
        torch.where(hidden, torch.ones((), dtype=out.dtype, device=out.device), values, out=out)
    nodes.scales[mine] = 0
    if exact:
        torch.log2(nodes.values[mine], out=nodes.logs[mine])


def product_forward(launch: ProductLaunch, nodes: NodeBuffers, elements: ElementBuffers) -> None:
    """Values and scales of the launch's element blocks: factors multiplied, their scales added."""
    batch, take = nodes.values.shape[1], elements.scratch.take
    found = launch.eids.view(elements.values)
    product = take("product", launch.factors.shape[1], launch.width, batch) if found is None else found
    runs = nodes.values.view(-1, launch.width, batch)
    torch.index_select(runs, 0, launch.factors[0], out=product)
    scale = nodes.scales.index_select(0, launch.factor_scales[0])
    for factor, factor_scale in zip(launch.factors[1:], launch.factor_scales[1:]):
        product *= torch.index_select(runs, 0, factor, out=take("factor", *product.shape))
        scale += nodes.scales.index_select(0, factor_scale)
    blocks, top = product.view(-1, launch.element_block, batch), scale
    if launch.width < launch.element_block:  # the runs of a block may come on different scales
        scale = scale.view(len(blocks), -1, batch)
        top = scale.amax(dim=1)
        product.mul_((scale - top.clamp(min=FLOOR)[:, None]).exp2_().view(-1, 1, batch))
    peak, weak = blocks.amax(dim=1), weak_value(product.dtype)
    if peak.amin() < weak and ((peak < weak) & (top > -torch.inf)).any():
        top = _products_from_logs(launch, elements, blocks)
    launch.scales.set(elements.scales, top)
    if found is None:
        launch.eids.set(elements.values, product)


def _products_from_logs(launch: ProductLaunch, elements: ElementBuffers, out: torch.Tensor) -> torch.Tensor:
    """Values of the launch's element blocks into ``out``, on the scale of each block's largest element; the scales."""
    _log_products(launch, elements)
    logs = launch.eids.gather(elements.logs).view(out.shape)
    top = logs.amax(dim=1)
    torch.sub(logs, top.clamp(min=FLOOR)[:, None], out=out).exp2_()
    return top


def _log_products(launch: ProductLaunch, elements: ElementBuffers) -> None:
    """Base-2 logs of the launch's elements into ``elements.logs``."""
    nodes, batch = elements.nodes, elements.logs.shape[1]
    total = 0
    for factor, factor_scale in zip(launch.factors, launch.factor_scales):
        values, logs = (buffer.view(-1, launch.width, batch).index_select(0, factor) for buffer in (nodes.values, nodes.logs))
        scale = nodes.scales.index_select(0, factor_scale)[:, None]
        total = total + log_of(values, scale, logs)
    launch.eids.set(elements.logs, total)
    elements.logged.add(id(launch))


def _children(launch: SumLaunch, elements: ElementBuffers, low: int, high: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Children of sum blocks low .. high - 1 on one scale: (x [g, E * K, B] in [0, 1], top [g, B] log2)."""
    fan, batch, take = launch.num_child_blocks, elements.values.shape[1], elements.scratch.take
    if fan == 1:  # the only child block is the largest
        top = elements.scales.index_select(0, launch.scale_ids[low:high, 0])
        return launch.cids.gather(elements.values, low, high), top
    factors = take("factors", (high - low) * fan, batch)
    torch.index_select(elements.scales, 0, launch.scale_ids[low:high].reshape(-1), out=factors)
    factors = factors.view(high - low, fan, batch)
    top = factors.amax(dim=1)
    factors.sub_(top.clamp(min=FLOOR)[:, None]).exp2_()
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


def sum_forward(launch: SumLaunch, params: torch.Tensor, elements: ElementBuffers, nodes: NodeBuffers) -> None:
    """p_n = sum_c theta_c p_c of the launch's sum blocks, into rows ``nids`` of ``nodes``, scaled to a largest value of 1."""
    batch, lost_below = nodes.values.shape[1], lost_value(nodes.values.dtype)
    for low, high in _slices(launch.num_sum_blocks, launch.num_child_blocks * launch.child_block * batch):
        x, top = _children(launch, elements, low, high)
        theta = _tiles(launch, params, low, high)
        found = launch.nids.view(nodes.values, low, high)
        acc = elements.scratch.take("sums", high - low, launch.sum_block, batch) if found is None else found
        torch.bmm(theta.transpose(1, 2), x, out=acc)
        peak = acc.amax(dim=1)
        if acc.amin() < lost_below and _needs_logs(acc, top, peak, theta):
            scale = _sums_from_logs(launch, elements, nodes, acc, top, theta, low, high)
        else:
            scale = peak.log2() + top
            acc.div_(peak[:, None])
        nodes.scales.index_copy_(0, launch.nids.starts[low:high], scale)
        if found is None:
            launch.nids.set(nodes.values, acc, low, high)


def _lost(acc: torch.Tensor, top: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Mask [g, M, B] of accumulators that may lack a child. Rows without parameters are impossible, not lost."""
    lost = (acc < lost_value(acc.dtype)) & (top > -torch.inf)[:, None]
    return lost & (theta.amax(dim=1) > 0)[:, :, None]


def _needs_logs(acc: torch.Tensor, top: torch.Tensor, peak: torch.Tensor, theta: torch.Tensor) -> bool:
    """Whether some sum is lost, or a whole block impossible."""
    return bool((top == -torch.inf).any() or (peak == 0).any() or _lost(acc, top, theta).any())


def _sums_from_logs(launch, elements, nodes, acc, top, theta, low: int, high: int) -> torch.Tensor:
    """Replace lost accumulators exactly; ``acc`` becomes the values, ``nodes.logs`` is written; returns the scales."""
    lost = _lost(acc, top, theta)
    logs = acc.log2() + top[:, None]
    for g, m, b, terms in _lost_children(launch, elements, theta, lost, low):
        logs[g, m, b] = _logsumexp2(terms)
    launch.nids.set(nodes.logs, logs, low, high)
    scale = logs.amax(dim=1)
    torch.sub(logs, scale.clamp(min=FLOOR)[:, None], out=acc).exp2_()
    return scale


def _lost_children(launch: SumLaunch, elements: ElementBuffers, theta: torch.Tensor, lost: torch.Tensor, low: int):
    """For slices of the lost (sum block, row, sample) pairs: their numbers, and log2 theta_c p_c [n, E * K] exactly."""
    fan, width = launch.num_child_blocks, launch.child_block
    for product in elements.products:
        if id(product) not in elements.logged:
            _log_products(product, elements)
    g, m, b = lost.nonzero(as_tuple=True)
    for first, last in _slices(len(g), fan * width):
        gs, ms, bs = g[first:last], m[first:last], b[first:last]
        rows = launch.cids.numbers.view(-1, fan)[gs + low] * width  # [n, E]
        rows = (rows[:, :, None] + torch.arange(width, device=rows.device)).view(len(gs), -1)
        yield gs, ms, bs, theta[gs, :, ms].log2() + elements.logs[rows, bs[:, None]]


def _logsumexp2(logs: torch.Tensor) -> torch.Tensor:
    """log2 of the sum of exp2 over the last axis; -inf when all are."""
    top = logs.amax(dim=-1)
    return (logs - top.clamp(min=FLOOR)[..., None]).exp2().sum(dim=-1).log2() + top


def param_flows(
    launch: SumLaunch,
    params: torch.Tensor,
    elements: ElementBuffers,
    nodes: NodeBuffers,
    node_flows: torch.Tensor,
    ratios: torch.Tensor,
    tops: torch.Tensor,
    flows: torch.Tensor,
    element_flows: torch.Tensor,
) -> None:
    """Parameter flows of the launch's blocks (paper, section 5), added to ``flows`` *without the factor theta*:
    flows[c, n] += sum_b p_c / p_n F_n, times FLOW_SCALE. ``flows`` is laid out like ``params``.

    Also leaves ``ratios`` [node rows, B] = F_n exp2(top) / p_n and ``tops`` [sum blocks, B] for the element flows. Rows
    that the forward pass took from logarithms get ratio 0 here, and their flows exactly, to the elements too.
    """
    batch, lost_below = node_flows.shape[1], lost_value(node_flows.dtype)
    fan, take = launch.num_child_blocks, elements.scratch.take
    for low, high in _slices(launch.num_sum_blocks, fan * launch.child_block * batch):
        x, top = _children(launch, elements, low, high)
        tops[launch.first_block + low : launch.first_block + high] = top
        flow = launch.nids.gather(node_flows, low, high)  # [g, M, B]
        scale = nodes.scales.index_select(0, launch.nids.starts[low:high])
        below = (scale.clamp(min=FLOOR) - top.clamp(min=FLOOR)).exp2_()
        acc = torch.mul(launch.nids.gather(nodes.values, low, high), below[:, None], out=take("sums", *flow.shape))
        lost = (acc < lost_below) & (flow > 0) if acc.amin() < lost_below else None
        ratio = launch.nids.view(ratios, low, high)
        ratio = torch.div(flow, acc.clamp_(min=lost_below), out=take("ratio", *flow.shape) if ratio is None else ratio)
        if lost is not None and lost.any():
            ratio.masked_fill_(lost, 0.0)
        else:
            lost = None
        if launch.nids.run is None:
            launch.nids.set(ratios, ratio, low, high)
        grads = launch.pids.view(flows, low * fan, high * fan)
        if grads is not None and lost is None:
            grads.view(high - low, -1, launch.sum_block).baddbmm_(x, ratio.transpose(1, 2), alpha=FLOW_SCALE)
            continue
        grads = take("grads", high - low, fan * launch.child_block, launch.sum_block)
        torch.baddbmm(grads, x, ratio.transpose(1, 2), beta=0, alpha=FLOW_SCALE, out=grads)
        if lost is not None:
            logs = log_of(launch.nids.gather(nodes.values, low, high), scale[:, None], launch.nids.gather(nodes.logs, low, high))
            theta = _tiles(launch, params, low, high)
            for g, m, b, terms in _lost_children(launch, elements, theta, lost, low):
                _exact_flows(launch, theta, grads, element_flows, flow, logs, (g, m, b), terms, low)
        launch.pids.add(flows, grads.view(-1), low * fan, high * fan, scratch=elements.scratch)


def _exact_flows(launch, theta, grads, element_flows, flow, logs, pairs, terms, low) -> None:
    """Flows of lost (sum block, row, sample) pairs from logarithms: F_{n,c} = theta_c p_c / p_n F_n."""
    g, m, b = pairs
    share = (terms - logs[g, m, b][:, None]).exp2() * flow[g, m, b][:, None]  # [n, E * K]
    weights = theta[g, :, m]
    children = torch.arange(terms.shape[1], device=terms.device)
    ungated = torch.where(weights > 0, share * FLOW_SCALE / weights, 0.0)
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
        launch.chids.add(flows, total, low, high, scratch=elements.scratch)


def product_flows(launch: ProductLaunch, element_flows: torch.Tensor, node_flows: torch.Tensor, scratch: Scratch) -> None:
    """A product hands its flow to each of its factors; summed into ``node_flows``."""
    batch = node_flows.shape[1]
    runs = element_flows.view(-1, launch.width * batch)
    total = F.embedding_bag(launch.parents, runs, launch.offsets, mode="sum")
    launch.nids.add(node_flows, total.view(-1, launch.width, batch), scratch=scratch)


def input_flows(launch: InputLaunch, x: torch.Tensor, observed: torch.Tensor | None, node_flows: torch.Tensor, flows: torch.Tensor) -> None:
    """Flows of the categories, added to ``flows`` [T, stride, num_cats]; hidden variables count for nothing."""
    num_vectors, batch = len(launch.variables), x.shape[1]
    flow = node_flows[launch.start : launch.start + num_vectors * launch.stride].view(num_vectors, launch.stride, batch)
    if observed is not None:
        flow = flow * observed[launch.variables][:, None, :]
    categories = x[launch.variables]
    if launch.repeats:
        flows.transpose(1, 2).index_put_((launch.table_ids[:, None], categories), flow.transpose(1, 2), accumulate=True)
    else:
        flows.scatter_add_(2, categories[:, None, :].expand(-1, launch.stride, -1), flow)


def em_sums(launch: SumLaunch, params: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """One EM step of the launch's parameters: theta <- (1 - step) theta + step (F + pc / n) / sum (paper, section 5).

    ``flows`` come without the factor theta and times FLOW_SCALE. n counts the parameters of a row that are not zero;
    zeros stay zero, and a row without flow keeps its parameters when the pseudocount is 0.
    """
    for low, high in _slices(launch.num_sum_blocks, launch.num_child_blocks * launch.child_block * launch.sum_block):
        fan = launch.num_child_blocks
        theta = _tiles(launch, params, low, high)
        counts = theta * _tiles(launch, flows, low, high) / FLOW_SCALE
        updated = _em_rows(theta, counts, step_size, pseudocount, dim=1)
        launch.pids.set(params, updated.view(-1), low * fan, high * fan)


def em_inputs(table: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """One EM step of categorical tables [T, stride, num_cats]; ``flows`` are the categories' flows."""
    table.copy_(_em_rows(table, flows, step_size, pseudocount, dim=2))


def _em_rows(theta: torch.Tensor, counts: torch.Tensor, step_size: float, pseudocount: float, dim: int) -> torch.Tensor:
    nonzero = theta > 0
    if pseudocount:
        counts = counts + pseudocount * nonzero / nonzero.sum(dim=dim, keepdim=True).clamp(min=1)
    total = counts.sum(dim=dim, keepdim=True)
    target = torch.where(total > 0, counts / total, theta)
    return theta + step_size * (target - theta) if step_size != 1 else target
