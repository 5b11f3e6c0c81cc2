"""Index tensors of a plan, moved to a device as the launch records that kernels take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pcviz_kernels.blocks import BlockIndex, Sets
from pcviz_kernels.launches import ElementLaunch, GaussianLaunch, InputLaunch, ProductLaunch, SumLaunch

from .compiler.plan import BackwardGroup, CircuitPlan, InputGroup, LayerPlan, ProductGroup, SumGroup
from .ir.distributions import Gaussian
from .siblings import lead_scales, sibling_sets


@dataclass(frozen=True, eq=False)
class LayerLaunches:
    """Launches of one layer; ``sections`` and ``num_scales`` describe its element buffer. ``updates``: the sum launches for
    EM, in which every parameter tile of the plan occurs once, at its first use. ``num_ratio_rows``: rows for the ratios of the
    layer's sums, see SumLaunch; ``unset_rows``: element rows that no launch of ``elements`` sets (the null block is not read)."""

    products: tuple[ProductLaunch, ...]
    sums: tuple[SumLaunch, ...]
    updates: tuple[SumLaunch, ...]
    elements: tuple[ElementLaunch, ...]
    sections: tuple[tuple[int, int, int], ...]
    num_element_rows: int
    num_scales: int
    num_sum_blocks: int
    num_ratio_rows: int
    unset_rows: torch.Tensor


def input_launches(plan: CircuitPlan, device) -> tuple[InputLaunch | GaussianLaunch, ...]:
    return tuple(_input(group, device) for group in plan.inputs)


def layer_launches(layer: LayerPlan, block_starts: np.ndarray, device) -> LayerLaunches:
    """Launches of one layer; ``block_starts``: see CircuitPlan.block_starts."""
    scale_of = _scale_lookup(layer)
    num_scales = sum(section.count for section in layer.sections)
    scale_ids = [scale_of(group.cids) for group in layer.groups]
    set_of = sibling_sets(scale_ids, [_product_blocks(group, scale_of) for group in layer.products], num_scales)
    widest = max(group.sum_block for group in layer.groups)
    sums, updates, set_read = _sums(layer, scale_ids, set_of, widest, device)
    elements, unset = _elements(layer, scale_of, set_of, set_read, widest, device)
    return LayerLaunches(
        products=tuple(_product(group, scale_of, set_of, block_starts, device) for group in layer.products),
        sums=sums,
        updates=updates,
        elements=elements,
        sections=tuple((section.start, section.width, section.count) for section in layer.sections),
        num_element_rows=layer.num_element_rows,
        num_scales=num_scales,
        num_sum_blocks=len(set_read),
        num_ratio_rows=len(set_read) * widest,
        unset_rows=_tensor(np.flatnonzero(unset), device),
    )


def _sums(layer: LayerPlan, scale_ids: list[np.ndarray], set_of: np.ndarray, widest: int, device) -> tuple[tuple, tuple, np.ndarray]:
    """Launches of the sums, those for EM, and by number of the sum block (0 is the parent of pseudo blocks) the set of siblings that it
    reads, -1 where its children are of several."""
    set_read = np.full(1 + sum(len(group.nids) for group in layer.groups), -1)
    sums, updates, first_block = [], [], 1
    for group, ids in zip(layer.groups, scale_ids):
        lead = lead_scales(ids, set_of)
        if lead is not None:
            set_read[first_block : first_block + len(lead)] = set_of[lead]
        sums.append(_sum(group, first_block, widest, ids, lead, device))
        if group.first_use.any():
            updates.append(sums[-1] if group.first_use.all() else _sum(_first_uses(group), first_block, widest, ids[group.first_use], None, device))
        first_block += len(group.nids)
    return tuple(sums), tuple(updates), set_read


def _elements(layer: LayerPlan, scale_of, set_of: np.ndarray, set_read: np.ndarray, widest: int, device) -> tuple[tuple, np.ndarray]:
    """Launches of element flows, and bool [element rows]: which of them no launch sets (those of the null block are not read)."""
    nids = np.concatenate([group.nids for group in layer.groups])
    order = np.argsort(nids)

    def number_of(parids: np.ndarray) -> np.ndarray:
        position = np.searchsorted(nids[order], parids)
        return np.where(parids > 0, order[np.minimum(position, len(order) - 1)] + 1, 0)

    elements, reached, unset = [], np.zeros(layer.num_element_rows, dtype=bool), np.ones(layer.num_element_rows, dtype=bool)
    unset[: layer.sections[0].width] = False
    for group in layer.backward_groups:
        rows = group.chids[:, None] + np.arange(group.child_block)
        first = not reached[rows].any()
        elements.append(_element(group, scale_of(group.chids), number_of(group.parids), widest, set_of, set_read, first, device))
        reached[rows] = True
        if first:
            unset[rows] = False
    return tuple(elements), unset


def _tensor(array: np.ndarray, device) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array, dtype=np.int64), device=device)


def _blocks(starts: np.ndarray, width: int, device, repeats: bool = False) -> BlockIndex:
    return BlockIndex(_tensor(starts, device), width, repeats)


def _first_uses(group: SumGroup) -> SumGroup:
    """The sum blocks of a group whose parameters no sum block before them has."""
    mine = group.first_use
    return SumGroup(group.sum_block, group.child_block, group.nids[mine], group.cids[mine], group.pids[mine], mine[mine], False)


def _scale_lookup(layer: LayerPlan):
    """Function: first element rows of blocks -> numbers of their log-scales."""
    first_scale = np.cumsum([0] + [section.count for section in layer.sections])
    starts = np.array([section.start for section in layer.sections])
    widths = np.array([section.width for section in layer.sections])

    def scale_of(cids: np.ndarray) -> np.ndarray:
        section = np.searchsorted(starts, cids, side="right") - 1
        return first_scale[section] + (cids - starts[section]) // widths[section]

    return scale_of


def _input(group: InputGroup, device) -> InputLaunch | GaussianLaunch:
    real = np.zeros((len(group.sources), group.stride, 1), dtype=bool)
    for t, nodes in enumerate(group.sources):
        real[t, : nodes.num_nodes] = True
    variables = _tensor(np.array([nodes.var for nodes in group.vectors]), device)
    table_ids, real = _tensor(group.table_ids, device), torch.as_tensor(real, device=device)
    match group.dist:
        case Gaussian(min_sigma=min_sigma):
            return GaussianLaunch(group.start, group.stride, group.block, min_sigma, variables, table_ids, real)
        case discrete:
            return InputLaunch(group.start, group.stride, discrete.num_cats, variables, table_ids, real)


def _product_blocks(group: ProductGroup, scale_of) -> np.ndarray:
    """Numbers of the element blocks that a product group fills."""
    return scale_of(group.eids[:: group.element_block // group.width])


def _product(group: ProductGroup, scale_of, set_of: np.ndarray, block_starts: np.ndarray, device) -> ProductLaunch:
    sets = np.unique(set_of[scale_of(group.eids)], return_inverse=True)[1].reshape(-1)
    return ProductLaunch(
        width=group.width,
        element_block=group.element_block,
        eids=_blocks(group.eids, group.width, device),
        scales=_blocks(_product_blocks(group, scale_of), 1, device),
        factors=_tensor(group.cids.T // group.width, device),
        factor_scales=_tensor(block_starts[group.cids].T, device),
        nids=_blocks(group.nids, group.width, device),
        parents=_tensor(group.parids // group.width, device),
        offsets=_tensor(group.offsets[:-1], device),
        sets=Sets(_tensor(sets, device)) if sets.max() + 1 < len(sets) else None,
    )


def _sum(group: SumGroup, first_block: int, widest: int, scale_ids: np.ndarray, lead: np.ndarray | None, device) -> SumLaunch:
    return SumLaunch(
        sum_block=group.sum_block,
        child_block=group.child_block,
        num_sum_blocks=group.cids.shape[0],
        num_child_blocks=group.cids.shape[1],
        nids=_blocks(group.nids, group.sum_block, device),
        cids=_blocks(group.cids, group.child_block, device),
        pids=_blocks(group.pids, group.child_block * group.sum_block, device, group.repeats),
        scale_ids=_tensor(scale_ids, device),
        first_block=first_block,
        lead_scales=None if lead is None else _tensor(lead, device),
        ratio_ids=_blocks(widest * np.arange(first_block, first_block + len(group.nids)), group.sum_block, device),
    )


def _element(group: BackwardGroup, scale_ids, parents, widest: int, set_of, set_read, first: bool, device) -> ElementLaunch:
    return ElementLaunch(
        sum_block=group.sum_block,
        child_block=group.child_block,
        num_child_blocks=group.parids.shape[0],
        num_parents=group.parids.shape[1],
        chids=_blocks(group.chids, group.child_block, device),
        scale_ids=_tensor(scale_ids, device),
        parids=_blocks(widest * parents, group.sum_block, device),
        parpids=_blocks(group.parpids, group.child_block * group.sum_block, device),
        parents=_tensor(parents, device),
        level=bool(((set_read[parents] == set_of[scale_ids][:, None]) | (parents == 0)).all()),
        first=first,
    )
