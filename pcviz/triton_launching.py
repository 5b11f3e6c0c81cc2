"""Index tensors of a plan, on a device, as the launch records that the Triton kernels take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from pcviz_kernels.tiles import LONGEST_RUN
from pcviz_kernels.triton_launches import UNIT, TritonElements, TritonFactors, TritonInputs, TritonLayer, TritonProducts, TritonSums

from .compiler.counting import element_units, is_level
from .compiler.layering import num_blocks
from .compiler.plan import InputGroup, LayerPlan, SumGroup


def input_launch(group: InputGroup, device) -> TritonInputs:
    order = np.argsort(group.table_ids, kind="stable")
    counts = np.bincount(group.table_ids, minlength=len(group.sources))
    return TritonInputs(
        start=group.start,
        stride=group.stride,
        num_cats=0 if group.is_gaussian else group.dist.num_cats,
        min_sigma=group.dist.min_sigma if group.is_gaussian else 0.0,
        num_tables=len(group.sources),
        variables=_tensor([nodes.var for nodes in group.vectors], device),
        num_nodes=_tensor([nodes.num_nodes for nodes in group.vectors], device),
        table_ids=_tensor(group.table_ids, device),
        table_vectors=_tensor(order, device),
        table_offsets=_tensor(np.concatenate([[0], np.cumsum(counts)]), device),
    )


def layer_launches(layer: LayerPlan, device, first_block: int = 1) -> TritonLayer:
    """Launches of one layer; ``first_block``: of its sum blocks in ``block_tops``, if it is level.

    Units are runs of rows of an element vector (``unit_rows``), or of up to UNIT of a sum block.
    """
    level, layer = is_level(layer), _with_wide_null(layer)
    starts, rows = element_units(layer)
    readers = np.zeros(len(starts), dtype=np.int64)
    unit_of = np.repeat(np.arange(len(starts)), rows)  # of every element row
    first_row, first_unit, sums = 0, num_blocks(max(group.sum_block for group in layer.groups), UNIT), []  # the first units stand for pseudo parents
    ratio_rows, ratio_units = [], []
    real = _real_rows(layer)
    for group in layer.groups:
        sums.append(_sum(group, unit_of, real, first_row, first_unit, first_block if level else 0, device))
        read = _distinct_units(unit_of[group.cids], num_blocks(group.child_block, UNIT))
        readers[read] = first_block + np.arange(len(read))[:, None]
        first_block += len(read)
        each = num_blocks(group.sum_block, UNIT)
        ratio_rows.append(first_row + group.sum_block * np.arange(len(group.nids)))
        ratio_units.append(first_unit + each * np.arange(len(group.nids)))
        first_row += group.sum_block * len(group.nids)
        first_unit += each * len(group.nids)
    nids = np.concatenate([group.nids for group in layer.groups])
    parent_tables = np.zeros((2, nids.max() + 1), dtype=np.int32)  # by node row, 0 for the null row
    parent_tables[:, nids] = np.concatenate(ratio_rows), np.concatenate(ratio_units)

    readers[: num_blocks(layer.sections[0].width, UNIT)] = 0  # of the null block
    return TritonLayer(
        level=level,
        products=_products(layer, starts, rows, readers if level else readers[:0], device),
        sums=tuple(sums),
        elements=tuple(_element(group, unit_of, parent_tables, device) for group in layer.backward_groups),
        factors=tuple(_factors(group, device) for group in layer.products),
        num_ratio_rows=first_row,
        num_ratio_units=first_unit,
    )


def _tensor(array, device) -> torch.Tensor:
    array = np.ascontiguousarray(array)
    return torch.as_tensor(array.astype(np.int64 if array.size and array.max() >= 2**31 else np.int32), device=device)


def _with_wide_null(layer: LayerPlan) -> LayerPlan:
    """The layer with all elements moved behind a null block of at least UNIT rows, so that pseudo child blocks that follow each other
    form runs, as real ones do (``_run``), and do not make a group's steps short."""
    null, *sections = layer.sections
    shift = UNIT - null.width
    if shift <= 0:
        return layer

    def moved(rows: np.ndarray) -> np.ndarray:
        return np.where(rows > 0, rows + shift, 0)

    return replace(
        layer,
        sections=(replace(null, width=UNIT), *(replace(section, start=section.start + shift) for section in sections)),
        num_element_rows=layer.num_element_rows + shift,
        elements=tuple((element, start + shift) for element, start in layer.elements),
        groups=tuple(replace(group, cids=moved(group.cids)) for group in layer.groups),
        backward_groups=tuple(replace(group, chids=moved(group.chids)) for group in layer.backward_groups),
        products=tuple(replace(group, eids=moved(group.eids), parids=moved(group.parids)) for group in layer.products),
    )


def _real_rows(layer: LayerPlan) -> tuple[np.ndarray, np.ndarray]:
    """(first node rows of all sum blocks ascending, their rows without missing ones)."""
    nids = np.concatenate([slot.start + slot.grid.sum_block * np.arange(slot.grid.num_rows) for slot in layer.sums])
    rows = np.concatenate([slot.grid.real_rows() for slot in layer.sums])
    order = np.argsort(nids)
    return nids[order], rows[order]


def _sum(
    group: SumGroup, unit_of: np.ndarray, real: tuple[np.ndarray, np.ndarray], first_row: int, first_unit: int, first_block: int, device
) -> TritonSums:
    units = unit_of[group.cids]
    nids, rows = real
    run = _run(group, units)
    step = run // group.child_block
    pids = group.pids[:, ::step]
    _, user, counts = np.unique(pids, axis=0, return_inverse=True, return_counts=True)
    return TritonSums(
        sum_block=group.sum_block,
        child_block=group.child_block,
        num_sum_blocks=len(group.nids),
        run=run,
        num_runs=pids.shape[1],
        nids=_tensor(group.nids, device),
        cids=_tensor(group.cids[:, ::step], device),
        pids=_tensor(pids, device),
        units=_tensor(units[:, ::step], device),
        block_units=_tensor(_distinct_units(units, num_blocks(group.child_block, UNIT)), device),
        num_nodes=_tensor(rows[np.searchsorted(nids, group.nids)], device),
        em_pids=_tensor(pids[group.first_use], device),
        users=_tensor(np.argsort(user.ravel(), kind="stable"), device),
        user_offsets=_tensor(np.concatenate([[0], np.cumsum(counts)]), device),
        first_row=first_row,
        first_unit=first_unit,
        first_block=first_block,
        repeats=group.repeats,
    )


def _run(group: SumGroup, units: np.ndarray) -> int:
    """Rows of the longest runs, a power of two of child blocks, that follow each other in elements, parameters and units."""
    width, cells, run = group.child_block, group.child_block * group.sum_block, 1
    while 2 * run * width <= LONGEST_RUN and group.cids.shape[1] % (2 * run) == 0:
        halves = slice(None, None, 2 * run), slice(run, None, 2 * run)
        rows, pids, unit = (np.asarray(array)[:, halves[1]] - array[:, halves[0]] for array in (group.cids, group.pids, units))
        follows = (rows == run * width) & (pids == run * cells) & (unit == run * width // UNIT)
        pseudo = group.cids[:, halves[0]] == 0
        both = pseudo & (rows == 0) if 2 * run * width <= UNIT else False
        if not np.where(pseudo, both, follows).all():
            break
        run *= 2
    return run * width


def _distinct_units(units: np.ndarray, each: int) -> np.ndarray:
    """[G, U] the units that each sum block reads, without repeats in a row; padded with the null unit."""
    if each > 1:
        units = (units[:, :, None] + np.arange(each)).reshape(len(units), -1)
    new = np.ones(units.shape, dtype=bool)
    new[:, 1:] = units[:, 1:] != units[:, :-1]
    counts = new.sum(axis=1)
    table = np.zeros((len(units), counts.max()), dtype=np.int64)
    table[np.arange(counts.max()) < counts[:, None]] = units[new]
    return table


def _products(layer: LayerPlan, starts: np.ndarray, rows: np.ndarray, readers: np.ndarray, device) -> TritonProducts:
    arity = max(2, *(group.cids.shape[1] for group in layer.products))
    factors = np.full((arity, layer.num_element_rows), -1, dtype=np.int32)
    factors[0] = 0  # rows that no product fills are impossible
    for group in layer.products:
        runs = np.arange(group.width)
        at = (group.eids[:, None] + runs).ravel()
        for a, cids in enumerate(group.cids.T):
            factors[a, at] = np.where(cids[:, None] > 0, cids[:, None] + runs, 0).ravel()
    return TritonProducts(arity, layer.num_element_rows, *(_tensor(array, device) for array in (starts, rows, factors, readers)))


def _element(group, unit_of: np.ndarray, parent_tables: np.ndarray, device) -> TritonElements:
    parrows, parunits = parent_tables[:, group.parids]
    indices = (parrows, group.parpids, parunits)
    steps = [np.diff(array[:, :2].astype(np.int64), axis=1) if array.shape[1] > 1 else np.zeros((len(array), 1), np.int64) for array in indices]
    even = all(array.shape[1] < 3 or (np.diff(array, axis=1) == step).all() for array, step in zip(indices, steps))
    return TritonElements(
        sum_block=group.sum_block,
        child_block=group.child_block,
        num_child_blocks=group.parids.shape[0],
        num_parents=group.parids.shape[1],
        chids=_tensor(group.chids, device),
        units=_tensor(unit_of[group.chids], device),
        parrows=_tensor(parrows, device),
        parunits=_tensor(parunits, device),
        parpids=_tensor(group.parpids, device),
        even=even,
        steps=torch.as_tensor(np.concatenate(steps, axis=1), device=device),
    )


def _factors(group, device) -> TritonFactors:
    return TritonFactors(group.width, _tensor(group.nids, device), _tensor(group.parids, device), _tensor(group.offsets, device))
