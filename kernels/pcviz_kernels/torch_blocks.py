"""impl="torch": blocked matrix products for any device torch runs on; the CPU's engine.

A sum layer is a plain matrix product of scaled values (paper, section 4.1, with one log-scale per block and sample): a
node is value * exp2(scale) with values in [0, 1], a product multiplies values and adds scales, a sum is P @ x with all
children brought to the scale of the largest. No logarithm or exponential is taken per node, only per block. Where that
underflows, ``torch_guard`` computes from logarithms what was lost; that costs one look at the smallest accumulator.

Outside the matrix products time goes where memory is read, so a value is touched as rarely as can be: siblings (see
ProductLaunch) are brought to one scale when they are formed, and runs of blocks are read in place.

Loops are over launches and, where a gather would outgrow ``blocks.SCRATCH`` entries, over slices of one.
"""

from __future__ import annotations

import torch

from . import torch_gaussian
from .blocks import Scratch, part, slices
from .launches import FLOW_SCALE, ElementBuffers, ElementLaunch, GaussianLaunch, InputLaunch, NodeBuffers, ProductLaunch, SumLaunch
from .torch_guard import FLOOR, add_lost_flows, careful_ratios, lost_value, needs_logs, products_from_logs, renew_weak_elements, sums_from_logs
from .torch_queries import child_choices, input_choices, input_max, product_logs, sum_max  # noqa: F401 (part of the implementation)


def input_forward(
    launch: InputLaunch | GaussianLaunch, table: torch.Tensor, exact: bool, x: torch.Tensor, observed: torch.Tensor | None, nodes: NodeBuffers
) -> None:
    """Input rows of ``nodes``. ``table`` [T * num_cats, stride] probabilities (Gaussian: [T, stride, 2]), ``x`` [variables, B]
    int64, or of the circuit's dtype when some variable is Gaussian; ``exact``: some real probability is below
    ``smallest_value``, so logarithms are kept too."""
    if isinstance(launch, GaussianLaunch):
        return torch_gaussian.forward(launch, table, x, observed, nodes)
    num_vectors, batch = len(launch.variables), x.shape[1]
    rows = x[launch.variables].to(torch.int64) + launch.num_cats * launch.table_ids[:, None]
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
    """Values and scales of the launch's element blocks: factors multiplied, their scales added; sets on one scale."""
    if launch in nodes.careful:
        products_from_logs(launch, elements)
        return
    (arity, runs), batch, scratch = launch.factors.shape, nodes.values.shape[1], elements.scratch
    shape = runs, launch.width, batch
    found = scratch.view(launch.eids, elements.values, 0, runs, *shape)
    product = scratch.take("product", *shape) if found is None else found
    values, factors = scratch.rows(nodes.values, -1, launch.width, batch), launch.factors.unbind()
    torch.index_select(values, 0, factors[0], out=product)
    for factor in factors[1:]:
        product *= torch.index_select(values, 0, factor, out=scratch.take("factor", *shape))
    scale = nodes.scales.index_select(0, launch.factor_scales.view(-1)).view(arity, runs, batch).sum(dim=0)
    if launch.sets is not None:
        top = launch.sets.amax(scale)
        product *= scale.sub_(top.clamp(min=FLOOR)).exp2_()[:, None]
        scale = top
    scratch.write(launch.scales, elements.scales, scale if launch.runs_per_block == 1 else scale[:: launch.runs_per_block])
    if found is None:
        launch.eids.set(elements.values, product)


def _children(launch: SumLaunch, elements: ElementBuffers, low: int, high: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Children of sum blocks low .. high - 1 on one scale: (x [g, E * K, B] in [0, 1], top [g, B] log2)."""
    fan, batch, scratch = launch.num_child_blocks, elements.values.shape[1], elements.scratch
    shape = high - low, fan * launch.child_block, batch
    x = scratch.read("children", launch.cids, elements.values, low * fan, high * fan, *shape)
    if launch.lead_scales is not None:
        return x, elements.scales.index_select(0, part(launch.lead_scales, low, high))
    scale = elements.scales.index_select(0, part(launch.scale_ids, low, high).view(-1)).view(high - low, fan, batch)
    top = scale.amax(dim=1)
    factors = scale.sub_(top.clamp(min=FLOOR)[:, None]).exp2_().view(-1, 1, batch)
    blocks = (high - low) * fan, launch.child_block, batch
    scaled = scratch.take("children", *shape)
    torch.mul(x.view(blocks), factors, out=scaled.view(blocks))
    return scaled, top


def _tiles(launch: SumLaunch, params: torch.Tensor, low: int, high: int, scratch: Scratch) -> torch.Tensor:
    """Parameters of sum blocks low .. high - 1 as matrices [g, E * K, M]."""
    fan = launch.num_child_blocks
    return scratch.read("tiles", launch.pids, params, low * fan, high * fan, high - low, fan * launch.child_block, launch.sum_block)


def sum_forward(launch: SumLaunch, params: torch.Tensor, elements: ElementBuffers, nodes: NodeBuffers) -> None:
    """p_n = sum_c theta_c p_c of the launch's sum blocks, into rows ``nids`` of ``nodes``, scaled to a largest value of 1."""
    batch, scratch, lost_below = nodes.values.shape[1], elements.scratch, lost_value(nodes.values.dtype)
    for low, high in slices(launch.num_sum_blocks, launch.num_child_blocks * launch.child_block * batch):
        x, top = _children(launch, elements, low, high)
        theta = _tiles(launch, params, low, high, scratch)
        shape = high - low, launch.sum_block, batch
        found = scratch.view(launch.nids, nodes.values, low, high, *shape)
        acc = scratch.take("sums", *shape) if found is None else found
        torch.bmm(theta.transpose(1, 2), x, out=acc)
        lost = not float(acc.amin()) >= lost_below
        if lost:
            nodes.careful.add((launch, low))
            lost = needs_logs(acc, top, theta)
            if lost and renew_weak_elements(elements):
                x, top = _children(launch, elements, low, high)
                torch.bmm(theta.transpose(1, 2), x, out=acc)
                lost = needs_logs(acc, top, theta)
        if lost:
            scale = sums_from_logs(launch, elements, nodes, acc, top, theta, low, high)
        else:
            peak = acc.amax(dim=1)
            acc.div_(peak[:, None])
            scale = peak.log2_().add_(top)
        nodes.scales.index_copy_(0, part(launch.nids.starts, low, high), scale)
        if found is None:
            launch.nids.set(nodes.values, acc, low, high)


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

    Also leaves ``ratios`` [ratio rows, B] = F_n exp2(top) / p_n and ``tops`` [sum blocks, B] for the element flows. Rows
    that the forward pass took from logarithms get ratio 0 here, and their flows exactly, to the elements too.
    """
    batch, fan, scratch = node_flows.shape[1], launch.num_child_blocks, elements.scratch
    for low, high in slices(launch.num_sum_blocks, fan * launch.child_block * batch):
        x, top = _children(launch, elements, low, high)
        tops[launch.first_block + low : launch.first_block + high] = top
        shape, lost = (high - low, launch.sum_block, batch), None
        flow = scratch.read("flow", launch.nids, node_flows, low, high, *shape)
        values = scratch.read("sums", launch.nids, nodes.values, low, high, *shape)
        scale = nodes.scales.index_select(0, part(launch.nids.starts, low, high))
        found = scratch.view(launch.ratio_ids, ratios, low, high, *shape)
        ratio = scratch.take("ratio", *shape) if found is None else found
        if (launch, low) in nodes.careful:
            lost = careful_ratios(values, scale, top, flow, out=ratio)
        else:
            torch.mul(values, scale.sub_(top).exp2_()[:, None], out=ratio)
            torch.div(flow, ratio, out=ratio)
        if found is None:
            launch.ratio_ids.set(ratios, ratio, low, high)
        shape = high - low, fan * launch.child_block, launch.sum_block
        grads = scratch.view(launch.pids, flows, low * fan, high * fan, *shape)
        if grads is not None and lost is None:
            grads.baddbmm_(x, ratio.transpose(1, 2), alpha=FLOW_SCALE)
            continue
        grads = scratch.take("grads", *shape)
        torch.baddbmm(grads, x, ratio.transpose(1, 2), beta=0, alpha=FLOW_SCALE, out=grads)
        if lost is not None:
            theta = _tiles(launch, params, low, high, scratch)
            add_lost_flows(launch, theta, elements, nodes, flow, lost, grads, element_flows, low)
        launch.pids.add(flows, grads.view(-1), low * fan, high * fan)


def element_flows(
    launch: ElementLaunch, params: torch.Tensor, elements: ElementBuffers, ratios: torch.Tensor, tops: torch.Tensor, flows: torch.Tensor
) -> None:
    """Flows of the launch's child blocks, F_c = sum_n theta_{n,c} p_c / p_n F_n over the parents n of c (paper, section 5): set in
    ``flows`` [element rows, B] by the launch that has them first, added by others."""
    fan, batch, scratch = launch.num_parents, flows.shape[1], elements.scratch
    for low, high in slices(launch.num_child_blocks, fan * launch.sum_block * batch):
        times, parids = 1, launch.parids
        if fan == 1 and launch.level and high - low == launch.num_child_blocks:
            times, parids = parids.repeated  # child blocks of one parent in a row are one matrix
        count, rows = (high - low) // times, launch.child_block * times
        ratio = scratch.read("parents", parids, ratios, low * fan // times, high * fan // times, count, fan * launch.sum_block, batch)
        if not launch.level:
            ratio = _on_scale_of_children(launch, elements, ratio, tops, low, high)
        theta = scratch.read("tiles", launch.parpids, params, low * fan, high * fan, count, fan, rows, launch.sum_block)
        theta = theta.transpose(1, 2).reshape(count, rows, fan * launch.sum_block)
        shape = high - low, launch.child_block, batch
        found, sets = scratch.view(launch.chids, flows, low, high, *shape), launch.first and not elements.has_flows
        total = found if found is not None and sets else scratch.take("total", *shape)
        torch.bmm(theta, ratio, out=total.view(count, rows, batch))
        values = scratch.read("children", launch.chids, elements.values, low, high, *shape)
        if found is None:
            (launch.chids.set if sets else launch.chids.add)(flows, total.mul_(values), low, high)
        elif sets:
            total *= values
        else:
            found.addcmul_(total, values)


def _on_scale_of_children(launch: ElementLaunch, elements: ElementBuffers, ratio, tops, low: int, high: int) -> torch.Tensor:
    """``ratio`` [c, R * M, B] times exp2(scale of the child - scale of its parents' children)."""
    fan, batch = launch.num_parents, ratio.shape[2]
    above = tops.index_select(0, part(launch.parents, low, high).view(-1)).clamp_(min=FLOOR).view(high - low, fan, batch)
    scale = elements.scales.index_select(0, part(launch.scale_ids, low, high))[:, None]
    factors = torch.sub(scale, above, out=above).exp2_().view(-1, 1, batch)
    blocks = (high - low) * fan, launch.sum_block, batch
    scaled = elements.scratch.take("parents", *ratio.shape)
    torch.mul(ratio.view(blocks), factors, out=scaled.view(blocks))
    return scaled


def product_flows(launch: ProductLaunch, element_flows: torch.Tensor, node_flows: torch.Tensor, scratch: Scratch) -> None:
    """A product hands its flow to each of its factors; summed into ``node_flows``."""
    runs, width, batch = launch.factors.shape[1], launch.width, node_flows.shape[1]
    flows = scratch.read("product", launch.eids, element_flows, 0, runs, runs, width * batch)
    total = scratch.rows(node_flows, -1, width * batch)
    for factor in launch.factors.unbind():
        total.index_add_(0, factor, flows)


def input_flows(
    launch: InputLaunch | GaussianLaunch,
    table: torch.Tensor,
    x: torch.Tensor,
    observed: torch.Tensor | None,
    node_flows: torch.Tensor,
    flows: torch.Tensor,
) -> None:
    """Flows of the categories, added to ``flows`` [T, stride, num_cats] (Gaussian: moments); hidden variables count for nothing."""
    if isinstance(launch, GaussianLaunch):
        return torch_gaussian.flows(launch, table, x, observed, node_flows, flows)
    num_vectors, batch = len(launch.variables), x.shape[1]
    flow = node_flows[launch.start : launch.start + num_vectors * launch.stride].view(num_vectors, launch.stride, batch)
    if observed is not None:
        flow = flow * observed[launch.variables][:, None, :]
    categories = x[launch.variables].to(torch.int64)
    if launch.repeats:
        flows.transpose(1, 2).index_put_((launch.table_ids[:, None], categories), flow.transpose(1, 2), accumulate=True)
    else:
        flows.scatter_add_(2, categories[:, None, :].expand(-1, launch.stride, -1), flow)


def em_sums(launch: SumLaunch, params: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """One EM step of the launch's parameters: theta <- (1 - step) theta + step (F + pc / n) / sum (paper, section 5).

    ``flows`` come without the factor theta and times FLOW_SCALE. n counts the parameters of a row that are not zero;
    zeros stay zero, and a row without flow keeps its parameters when the pseudocount is 0.
    """
    fan = launch.num_child_blocks
    shape = fan * launch.child_block, launch.sum_block
    for low, high in slices(launch.num_sum_blocks, fan * launch.child_block * launch.sum_block):
        theta, counts = (launch.pids.gather(buffer, low * fan, high * fan).view(high - low, *shape) for buffer in (params, flows))
        _em_rows(theta, theta * counts, step_size, FLOW_SCALE * pseudocount, dim=1)
        if launch.pids.run is None:
            launch.pids.set(params, theta, low * fan, high * fan)


def em_inputs(launch: InputLaunch | GaussianLaunch, table: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """One EM step of categorical tables [T, stride, num_cats]; ``flows`` are the categories' flows. Gaussian: see torch_gaussian."""
    if isinstance(launch, GaussianLaunch):
        return torch_gaussian.em(launch, table, flows, step_size)
    _em_rows(table, flows.clone(), step_size, pseudocount, dim=2)


def _em_rows(theta: torch.Tensor, counts: torch.Tensor, step_size: float, pseudocount: float, dim: int) -> None:
    """Move ``theta`` in place towards ``counts`` plus pseudocounts, normalised along ``dim``; ``counts`` is used up."""
    if pseudocount:
        edges = theta.sign()
        counts.addcmul_(edges, pseudocount / edges.sum(dim=dim, keepdim=True).clamp_(min=1))
    total = counts.sum(dim=dim, keepdim=True)
    counts.div_(total.where(total > 0, 1))
    theta.lerp_(counts, (total > 0).to(theta.dtype).mul_(step_size))
