"""Queries for any device torch runs on: max-product values, and the choices of a descent from the root.

Everything here is a natural logarithm in plain [rows, B] buffers: ``nodes`` with a row per node, ``elements`` with a row
per element of one layer. -inf stands for p = 0: the null block, missing rows, pseudo blocks (whose parameters are 0).

A choice is drawn with integers: a child's weight is its probability in units of a tiny share of the largest (finer than
float32 resolves), so cumulative weights are exact on every device, and a child of weight 0 is never drawn.

Loops are over launches and, where an operand would outgrow ``SCRATCH`` entries, over slices of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .launches import GaussianLaunch, InputLaunch, ProductLaunch, SumLaunch

SCRATCH = 1 << 18  # entries of one operand, which a core's cache holds
MANTISSA = 52  # bits of a cumulative weight that a float64 uniform still resolves


def product_logs(launch: ProductLaunch, nodes: torch.Tensor, elements: torch.Tensor) -> None:
    """log p_c = sum over the factors n of c of log p_n, into rows ``eids`` of ``elements``."""
    runs = nodes.view(-1, launch.width, nodes.shape[1])
    total = runs.index_select(0, launch.factors[0])
    for factor in launch.factors[1:]:
        total += runs.index_select(0, factor)
    launch.eids.set(elements, total)


def input_max(
    launch: InputLaunch | GaussianLaunch, table: torch.Tensor, x: torch.Tensor, observed: torch.Tensor, nodes: torch.Tensor
) -> None:
    """log p_n of x_v; where v is hidden, of the node's likeliest category, or of its mean (a density). ``table``
    [T, stride, num_cats or 2], ``x`` and ``observed`` [variables, B]."""
    values, seen = x[launch.variables], observed[launch.variables][:, None, :]
    if isinstance(launch, GaussianLaunch):
        mean, std = table[launch.table_ids].split(1, dim=2)
        z = torch.where(seen, (values[:, None, :] - mean) / std, 0.0)  # [V, stride, B]
        logs = z.square_().mul_(-0.5) - std.log() - 0.5 * math.log(2 * math.pi)
        logs.masked_fill_(~launch.real[launch.table_ids], -torch.inf)
    else:
        given = table[launch.table_ids[:, None], :, values.long()].transpose(1, 2)  # [V, stride, B]
        logs = torch.where(seen, given, table.amax(dim=2, keepdim=True)[launch.table_ids]).log()
    nodes[launch.start : launch.start + len(logs) * launch.stride] = logs.reshape(-1, x.shape[1])


def sum_max(launch: SumLaunch, params: torch.Tensor, elements: torch.Tensor, nodes: torch.Tensor) -> None:
    """log max_c theta_{n,c} p_c of the launch's sum blocks, into rows ``nids`` of ``nodes``."""
    fan, width, batch = launch.num_child_blocks, launch.child_block, elements.shape[1]
    cells = fan * width * launch.sum_block
    for low, high in _slices(launch.num_sum_blocks, cells * batch):
        theta = launch.pids.gather(params, low * fan, high * fan).view(high - low, fan * width, launch.sum_block, 1).log()
        children = launch.cids.gather(elements, low * fan, high * fan).view(high - low, fan * width, 1, batch)
        out = theta.new_empty(high - low, launch.sum_block, batch)
        for first, last in _slices(batch, cells * (high - low)):
            torch.amax(theta + children[..., first:last], dim=1, out=out[..., first:last])
        launch.nids.set(nodes, out, low, high)


def child_choices(
    launch: SumLaunch, params: torch.Tensor, elements: torch.Tensor, sums: torch.Tensor, samples: torch.Tensor, uniforms: torch.Tensor | None
) -> torch.Tensor:
    """The element row [n] that each of n sums chooses: c with probability theta_c p_c / p_n, or the largest.

    ``sums`` [n]: sum block * M + row, counted in the launch; ``samples`` [n]: columns of ``elements``; ``uniforms`` [n]
    float64 in [0, 1), or None for the child with the largest theta_c p_c. No sum may be impossible (p_n = 0).
    """
    fan, width, batch = launch.num_child_blocks, launch.child_block, elements.shape[1]
    blocks, tiles = (index.numbers.view(-1, fan) for index in (launch.cids, launch.pids))
    cells = params.view(-1, width, launch.sum_block)
    within = torch.arange(width, device=sums.device)

    def terms(keys: torch.Tensor) -> torch.Tensor:
        numbers, columns = keys // batch, keys % batch
        block, row = numbers // launch.sum_block, numbers % launch.sum_block
        theta = cells[tiles[block][:, :, None], within, row[:, None, None]]  # [k, E, K]
        children = elements[blocks[block][:, :, None] * width + within, columns[:, None, None]]
        return (theta.log() + children).view(len(keys), -1)

    chosen = _choose(sums * batch + samples, fan * width, terms, uniforms)
    return blocks[sums // launch.sum_block, chosen // width] * width + chosen % width


def input_choices(
    launch: InputLaunch | GaussianLaunch, table: torch.Tensor, inputs: torch.Tensor, uniforms: torch.Tensor | None
) -> torch.Tensor:
    """The value [n] of each of n inputs: category k with probability theta_{n,k}, or the largest; a real number from the
    normal distribution, or its mean. ``inputs`` [n]: rows counted from the launch's start; ``table`` as in ``input_max``."""
    rows = launch.table_ids[inputs // launch.stride] * launch.stride + inputs % launch.stride
    params = table.view(-1, table.shape[2])
    if isinstance(launch, GaussianLaunch):
        mean, std = params[rows].double().unbind(dim=1)
        quantile = 0 if uniforms is None else torch.special.ndtri(uniforms.clamp(min=2.0**-54))  # a uniform of 0 would be -inf
        return (mean + std * quantile).to(table.dtype)
    return _choose(rows, launch.num_cats, lambda keys: params[keys].log(), uniforms)


def _choose(keys: torch.Tensor, num_terms: int, terms: Callable, uniforms: torch.Tensor | None) -> torch.Tensor:
    """A position [n] for each key; ``terms(keys)`` [k, num_terms] logarithms. Equal keys share theirs."""
    keys, order = keys.sort(stable=True)
    distinct, counts = torch.unique_consecutive(keys, return_counts=True)
    which = torch.repeat_interleave(torch.arange(len(distinct), device=keys.device), counts)
    ends = counts.cumsum(0)
    chosen = torch.empty_like(keys)
    for low, high in _slices(len(distinct), num_terms):
        mine = slice(int(ends[low] - counts[low]), int(ends[high - 1]))
        logs, rows, places = terms(distinct[low:high]), which[mine] - low, order[mine]
        chosen[places] = logs.argmax(dim=1)[rows] if uniforms is None else _draw(logs, rows, uniforms[places])
    return chosen


def _draw(logs: torch.Tensor, rows: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Positions [n] in rows ``rows`` [n] of ``logs`` [k, C], each with probability exp(logs) / their sum."""
    bits = MANTISSA - logs.shape[1].bit_length()
    weights = (logs - logs.amax(dim=1, keepdim=True)).exp_().mul_(2.0**bits)
    ends = weights.to(torch.int64).cumsum_(dim=1)
    target = (uniforms * ends[rows, -1]).to(torch.int64)  # below the last end: uniforms are, by more than rounding, below 1
    low, high = torch.zeros_like(rows), torch.full_like(rows, logs.shape[1] - 1)
    for _ in range((logs.shape[1] - 1).bit_length()):  # the first position whose end lies above the target
        middle = (low + high) // 2
        above = ends[rows, middle] > target
        low, high = torch.where(above, low, middle + 1), torch.where(above, middle, high)
    return low


def _slices(total: int, entries_each: int):
    """(low, high) slices of ``total`` things with at most SCRATCH entries each."""
    step = max(1, SCRATCH // max(1, entries_each))
    for low in range(0, total, step):
        yield low, min(low + step, total)
