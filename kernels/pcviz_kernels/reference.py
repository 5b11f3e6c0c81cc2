"""The reference: one short function per equation, written for reading and for float64.

Same functions, launch records and buffers as ``torch_blocks``, so that it can stand in for a fast implementation in tests
and benchmarks. Everything stays in the log domain, with one exact log-sum-exp per sum: no common scale, so no guard.
Loops go over the blocks of a launch, one at a time, and gather what the index tensors name. Slow; not for training.

Equations are those of sections 2, 4.1 and 5 of Liu, Ahmed and Van den Broeck (arXiv 2406.00766), with logarithms to
base 2. Shape legend: see ``launches``.
"""

from __future__ import annotations

import math

import torch

from .blocks import Scratch
from .launches import FLOW_SCALE, ElementBuffers, ElementLaunch, GaussianLaunch, InputLaunch, NodeBuffers, ProductLaunch, SumLaunch

# ---- forward ------------------------------------------------------------------------------------------------------------


def input_forward(
    launch: InputLaunch | GaussianLaunch, table: torch.Tensor, exact: bool, x: torch.Tensor, observed: torch.Tensor | None, nodes: NodeBuffers
) -> None:
    """log p_n(x) = log theta_{n, x_v} for inputs n over variable v; 0 where v is not observed (summed out).

    ``table`` [T * num_cats, stride] probabilities; row t * num_cats + k is category k of table t; of Gaussian inputs
    [T, stride, 2] means and standard deviations. ``exact`` is for implementations that do not keep every logarithm.
    """
    for v, (t, variable) in enumerate(zip(launch.table_ids.tolist(), launch.variables.tolist())):
        if isinstance(launch, GaussianLaunch):
            mean, std = table[t, :, :1], table[t, :, 1:]
            values = -((x[variable] - mean) ** 2) / (2 * std**2 * math.log(2)) - (std * math.sqrt(2 * math.pi)).log2()  # [stride, B]
            values[~launch.real[t, :, 0]] = -torch.inf
        else:
            values = table[t * launch.num_cats + x[variable].long()].t().log2()  # [stride, B]
        if observed is not None:
            values.masked_fill_(launch.real[t] & ~observed[variable], 0.0)
        _set_logs(nodes, slice(launch.start + v * launch.stride, launch.start + (v + 1) * launch.stride), values)


def product_forward(launch: ProductLaunch, nodes: NodeBuffers, elements: ElementBuffers) -> None:
    """log p_c = sum over the factors n of c of log p_n."""
    for run, factors in zip(launch.eids.numbers.tolist(), launch.factors.t().tolist()):
        elements.logs[_rows(run, launch.width)] = sum(nodes.logs[_rows(factor, launch.width)] for factor in factors)


def sum_forward(launch: SumLaunch, params: torch.Tensor, elements: ElementBuffers, nodes: NodeBuffers) -> None:
    """log p_n = log sum_c theta_{n,c} p_c, one sum block at a time."""
    for g in range(launch.num_sum_blocks):
        children, theta = _children(launch, g), _parameters(launch, g, params)
        terms = theta.log2()[:, :, None] + elements.logs[children][:, None, :]  # [E * K, M, B]
        _set_logs(nodes, _rows(launch.nids.numbers[g], launch.sum_block), _logsumexp2(terms))


def _set_logs(nodes: NodeBuffers, rows: slice, logs: torch.Tensor) -> None:
    """Keep logarithms only: a value of 0 says so (see NodeBuffers)."""
    nodes.logs[rows], nodes.values[rows] = logs, 0


# ---- backward -----------------------------------------------------------------------------------------------------------


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
    """F_{n,c}(D) / theta_{n,c} = sum over the batch of p_c / p_n F_n, added to ``flows`` (laid out like ``params``) times
    FLOW_SCALE.

    Cells without an edge (theta = 0) get 0. Leaves log F_n - log p_n in ``ratios`` [ratio rows, B] for ``element_flows``; ``tops`` and
    the argument ``element_flows`` serve implementations that keep values on a common scale.
    """
    for g in range(launch.num_sum_blocks):
        rows, children = _rows(launch.nids.numbers[g], launch.sum_block), _children(launch, g)
        ratio = ratios[_rows(launch.ratio_ids.numbers[g], launch.sum_block)] = _log_ratio(node_flows[rows], nodes.logs[rows])
        terms = elements.logs[children][:, None, :] + ratio  # [E * K, M, B]
        total = terms.exp2().sum(dim=2).where(_parameters(launch, g, params) > 0, 0.0)
        _store(launch, g, flows, _parameters(launch, g, flows) + FLOW_SCALE * total)


def element_flows(
    launch: ElementLaunch, params: torch.Tensor, elements: ElementBuffers, ratios: torch.Tensor, tops: torch.Tensor, flows: torch.Tensor
) -> None:
    """F_c = sum over the parents n of c of theta_{n,c} p_c / p_n F_n; set in ``flows`` [element rows, B] by the launch that has
    these children first, added by others."""
    fan = launch.num_parents
    for c in range(launch.num_child_blocks):
        rows = _rows(launch.chids.numbers[c], launch.child_block)
        if launch.first:
            flows[rows] = 0
        for r in range(c * fan, (c + 1) * fan):
            if launch.parents.view(-1)[r] == 0:
                continue  # a pseudo block: no edge, no flow
            theta = params.view(-1, launch.parpids.width)[launch.parpids.numbers[r]].view(launch.child_block, launch.sum_block)
            parents = _rows(launch.parids.numbers[r], launch.sum_block)
            terms = theta.log2()[:, :, None] + elements.logs[rows][:, None, :] + ratios[parents]  # [K, M, B]
            flows[rows] += terms.exp2().sum(dim=1)


def product_flows(launch: ProductLaunch, element_flows: torch.Tensor, node_flows: torch.Tensor, scratch: Scratch) -> None:
    """F_n = sum of F_c over the products c that have the factor n. ``scratch``: memory that this implementation does not need."""
    ends = launch.offsets.tolist() + [len(launch.parents)]
    for i, run in enumerate(launch.nids.numbers.tolist()):
        for parent in launch.parents[ends[i] : ends[i + 1]].tolist():
            node_flows[_rows(run, launch.width)] += element_flows[_rows(parent, launch.width)]


def input_flows(
    launch: InputLaunch | GaussianLaunch,
    table: torch.Tensor,
    x: torch.Tensor,
    observed: torch.Tensor | None,
    node_flows: torch.Tensor,
    flows: torch.Tensor,
) -> None:
    """F_{n,k}(D) = sum of F_n over the samples in which v is observed with category k; added to ``flows`` [T, stride, num_cats].

    Gaussian: sum of F_n z^k for k = 0, 1, 2 with z = (x_v - mean) / std; added to ``flows`` [T, stride, 3].
    """
    for v, (t, variable) in enumerate(zip(launch.table_ids.tolist(), launch.variables.tolist())):
        flow = node_flows[launch.start + v * launch.stride :][: launch.stride]  # [stride, B]
        if observed is not None:
            flow = flow * observed[variable]
        for k in range(flows.shape[2]):
            if isinstance(launch, GaussianLaunch):
                weights = ((x[variable] - table[t, :, :1]) / table[t, :, 1:]) ** k
            else:
                weights = x[variable] == k
            flows[t, :, k] += (flow * weights).where(flow > 0, 0.0).sum(dim=1)


# ---- learning -----------------------------------------------------------------------------------------------------------


def em_sums(launch: SumLaunch, params: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """theta_{n,c} <- F_{n,c}(D) / sum_c F_{n,c}(D), mixed with the old theta by ``step_size``."""
    for g in range(launch.num_sum_blocks):
        theta = _parameters(launch, g, params)
        counts = theta * _parameters(launch, g, flows) / FLOW_SCALE
        _store(launch, g, params, torch.stack([_em_row(*row, step_size, pseudocount) for row in zip(theta.t(), counts.t())], dim=1))


def em_inputs(launch: InputLaunch | GaussianLaunch, table: torch.Tensor, flows: torch.Tensor, step_size: float, pseudocount: float) -> None:
    """The same for the categories of each input node: ``table`` and ``flows`` [T, stride, num_cats]."""
    if isinstance(launch, GaussianLaunch):
        for (t, row), flow in zip(launch.real[..., 0].nonzero().tolist(), flows[launch.real[..., 0]]):
            table[t, row] = _em_gaussian(table[t, row], flow, step_size, launch.min_sigma)
        return
    for row, counts in zip(table.view(-1, table.shape[2]), flows.view(-1, table.shape[2])):
        row.copy_(_em_row(row, counts, step_size, pseudocount))


def _em_row(theta: torch.Tensor, counts: torch.Tensor, step_size: float, pseudocount: float) -> torch.Tensor:
    """One node's parameters [children] after a step; zeros stay zero, a node without flow keeps what it has."""
    edges = (theta > 0).to(theta.dtype)
    if edges.any():
        counts = counts + pseudocount * edges / edges.sum()
    return (1 - step_size) * theta + step_size * counts / counts.sum() if counts.sum() > 0 else theta


def _em_gaussian(theta: torch.Tensor, flow: torch.Tensor, step_size: float, min_sigma: float) -> torch.Tensor:
    """One node's (mean, std) after a step: E x and E x^2 move to the average over the samples, weighted by flow."""
    (mean, std), (total, first, second) = theta, flow
    if total == 0:
        return theta
    target = mean + std * first / total, mean**2 + (2 * mean * std * first + std**2 * second) / total
    square = (1 - step_size) * (mean**2 + std**2) + step_size * target[1]
    mean = (1 - step_size) * mean + step_size * target[0]
    return torch.stack([mean, (square - mean**2).clamp(min=min_sigma**2).sqrt()])


# ---- queries ------------------------------------------------------------------------------------------------------------
# Natural logarithms in plain buffers, nodes [node rows, B] and elements [element rows, B]; see torch_queries.


def product_logs(launch: ProductLaunch, nodes: torch.Tensor, elements: torch.Tensor) -> None:
    """log p_c = sum over the factors n of c of log p_n."""
    for run, factors in zip(launch.eids.numbers.tolist(), launch.factors.t().tolist()):
        elements[_rows(run, launch.width)] = sum(nodes[_rows(factor, launch.width)] for factor in factors)


def input_max(
    launch: InputLaunch | GaussianLaunch, table: torch.Tensor, x: torch.Tensor, observed: torch.Tensor, nodes: torch.Tensor
) -> None:
    """log p_n(x_v); the maximum over x_v where v is not observed."""
    for v, (t, variable) in enumerate(zip(launch.table_ids.tolist(), launch.variables.tolist())):
        for b in range(x.shape[1]):
            if isinstance(launch, GaussianLaunch):
                mean, std = table[t].unbind(dim=1)
                value = torch.distributions.Normal(mean, std, validate_args=False).log_prob(x[variable, b] if observed[variable, b] else mean)
                value = value.where(launch.real[t, :, 0], -torch.inf)
            else:
                value = (table[t, :, x[variable, b].long()] if observed[variable, b] else table[t].amax(dim=1)).log()
            nodes[launch.start + v * launch.stride :][: launch.stride, b] = value


def sum_max(launch: SumLaunch, params: torch.Tensor, elements: torch.Tensor, nodes: torch.Tensor) -> None:
    """log max_c theta_{n,c} p_c, one sum block at a time."""
    for g in range(launch.num_sum_blocks):
        terms = _parameters(launch, g, params).log()[:, :, None] + elements[_children(launch, g)][:, None, :]  # [E * K, M, B]
        nodes[_rows(launch.nids.numbers[g], launch.sum_block)] = terms.amax(dim=0)


def child_choices(
    launch: SumLaunch, params: torch.Tensor, elements: torch.Tensor, sums: torch.Tensor, samples: torch.Tensor, uniforms: torch.Tensor | None
) -> torch.Tensor:
    """Per (sum, sample) pair the first child up to which the shares theta_c p_c / p_n add up to more than its uniform, or
    the child with the largest; one pair at a time."""
    chosen = torch.empty_like(sums)
    for i, (number, b) in enumerate(zip(sums.tolist(), samples.tolist())):
        children, theta = _children(launch, number // launch.sum_block), _parameters(launch, number // launch.sum_block, params)
        terms = theta[:, number % launch.sum_block].log() + elements[children, b]
        chosen[i] = children[_choice(terms, None if uniforms is None else uniforms[i])]
    return chosen


def input_choices(
    launch: InputLaunch | GaussianLaunch, table: torch.Tensor, inputs: torch.Tensor, uniforms: torch.Tensor | None
) -> torch.Tensor:
    """The same for the categories of each input; of a Gaussian, the value below which it lies with that probability, or the mean."""
    params = table[launch.table_ids[inputs // launch.stride], inputs % launch.stride]
    if isinstance(launch, GaussianLaunch):
        half = torch.tensor(0.5) if uniforms is None else uniforms
        return torch.distributions.Normal(*params.double().unbind(dim=1)).icdf(half).to(table.dtype)
    return torch.stack([_choice(row, None if uniforms is None else uniforms[i]) for i, row in enumerate(params.log())])


def _choice(terms: torch.Tensor, uniform: torch.Tensor | None) -> torch.Tensor:
    return terms.argmax() if uniform is None else (torch.softmax(terms.double(), dim=0).cumsum(dim=0) <= uniform).sum()


# ---- what the index tensors name ----------------------------------------------------------------------------------------


def _rows(number: int, width: int) -> slice:
    """Rows of block ``number``."""
    return slice(int(number) * width, (int(number) + 1) * width)


def _children(launch: SumLaunch, g: int) -> torch.Tensor:
    """[E * K] element rows that sum block g reads, block by block."""
    blocks = launch.cids.numbers.view(-1, launch.num_child_blocks)[g]
    return (blocks[:, None] * launch.child_block + torch.arange(launch.child_block, device=blocks.device)).view(-1)


def _tiles(launch: SumLaunch, g: int) -> torch.Tensor:
    """[E] numbers of the parameter tiles of sum block g; 0 (the zero block) where the child block is a pseudo block."""
    return launch.pids.numbers.view(-1, launch.num_child_blocks)[g]


def _parameters(launch: SumLaunch, g: int, params: torch.Tensor) -> torch.Tensor:
    """[E * K, M] parameters of sum block g (or flows laid out like them)."""
    return params.view(-1, launch.pids.width)[_tiles(launch, g)].view(-1, launch.sum_block)


def _store(launch: SumLaunch, g: int, buffer: torch.Tensor, values: torch.Tensor) -> None:
    """The inverse of ``_parameters``; the zero block stays as it is."""
    tiles = _tiles(launch, g)
    buffer.view(-1, launch.pids.width)[tiles[tiles > 0]] = values.reshape(len(tiles), -1)[tiles > 0]


def _log_ratio(flows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """log F_n - log p_n; -inf where there is no flow (then p_n may be 0)."""
    return (flows.log2() - values).where(flows > 0, -torch.inf)


def _logsumexp2(terms: torch.Tensor) -> torch.Tensor:
    """log2 of the sum of exp2 over the first axis; -inf where every term is."""
    top = terms.amax(dim=0)
    base = top.where(top > -torch.inf, 0.0)
    return (terms - base).exp2().sum(dim=0).log2() + base
