"""Nodes that nothing reads: found from the root down, and left out."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from .nodes import InputNodes, Nodes, ParamNodes, ProdNodes, SumNodes, topological
from .ties import equal_lengths


def without_unread(root: SumNodes) -> SumNodes:
    """The same circuit without the nodes that no parent reads and the children that a sum vector has no edge to; ``root``
    itself when there are none.

    Parameters that stay are the same to the last bit. Tied vectors stay tied and equally long: a node of one stays while a
    node of the same number is read in any of them.
    """
    while True:
        order = topological(root)
        live = _live_nodes(root, order)
        if all(live[id(nodes)].all() and all(read.any() for read in _read_children(nodes, live)) for nodes in order):
            return root
        root = _rebuilt(root, order, live)  # once more: a tied vector that is gone now may have kept nodes of others


def _live_nodes(root: SumNodes, order: list[Nodes]) -> dict[int, np.ndarray]:
    """Which nodes are read, bool [num_nodes] by id of vector; vectors that ties keep equally long have one mask."""
    names = equal_lengths(order)
    masks: dict[Hashable, np.ndarray] = {names[id(nodes)]: np.zeros(nodes.num_nodes, dtype=bool) for nodes in order}
    live = {key: masks[name] for key, name in names.items()}
    live[id(root)][:] = True
    found = 0
    while found < (found := sum(int(mask.sum()) for mask in masks.values())):  # again while ties carry news upwards
        for nodes in reversed(order):
            for child, read in zip(nodes.children, _read_children(nodes, live)):
                live[id(child)] |= read
    return live


def _read_children(nodes: Nodes, live: dict[int, np.ndarray]) -> list[np.ndarray]:
    """Per child vector, which of its nodes the live ones of ``nodes`` read."""
    mine = live[id(nodes)]
    if not mine.any() or isinstance(nodes, InputNodes):
        return [np.zeros(child.num_nodes, dtype=bool) for child in nodes.children]
    if isinstance(nodes, ProdNodes):
        factors = None if nodes.edge_ids is None else nodes.edge_ids[mine].T
        return [mine if factors is None else _mask(child.num_nodes, factors[a]) for a, child in enumerate(nodes.children)]
    if nodes.edge_ids is None:
        return [np.ones(child.num_nodes, dtype=bool) for child in nodes.children]
    sums, blocks = nodes.edge_ids
    rows = mine.reshape(-1, nodes.edge_block).any(axis=1)
    read = np.repeat(_mask(nodes.num_children // nodes.edge_block, blocks[rows[sums]]), nodes.edge_block)
    return np.split(read, np.cumsum([child.num_nodes for child in nodes.children])[:-1])


def _mask(length: int, numbers: np.ndarray) -> np.ndarray:
    mask = np.zeros(length, dtype=bool)
    mask[numbers] = True
    return mask


def _rebuilt(root: SumNodes, order: list[Nodes], live: dict[int, np.ndarray]) -> SumNodes:
    new: dict[int, Nodes] = {}
    keepers: dict[int, ParamNodes] = {}  # by id of the vector that kept the parameters before
    for nodes in order:
        mine = live[id(nodes)]
        if not mine.any():
            continue
        read = [mask.any() for mask in _read_children(nodes, live)]
        children = [new[id(child)] for child, needed in zip(nodes.children, read) if needed]
        if isinstance(nodes, ProdNodes):
            new[id(nodes)] = _products(nodes, children, live)
            continue
        keeper = keepers.get(id(nodes.storage))
        if keeper is not None:
            new[id(nodes)] = keeper.duplicate(*(children or (nodes.var,)), tie_params=True, name=nodes.name)
            continue
        if isinstance(nodes, InputNodes):
            params = _part(nodes.params, mine)
            new[id(nodes)] = InputNodes(nodes.var, int(mine.sum()), nodes.dist, params, nodes.name)
        else:
            columns = np.concatenate([live[id(child)] & needed for child, needed in zip(nodes.children, read)])
            new[id(nodes)] = _sums(nodes, children, mine, columns)
        keepers[id(nodes.storage)] = new[id(nodes)]
    result = new[id(root)]
    result.seed = root.seed
    return result


def _products(nodes: ProdNodes, children: list[Nodes], live: dict[int, np.ndarray]) -> ProdNodes:
    mine = np.flatnonzero(live[id(nodes)])
    factors = nodes.edge_ids[mine] if nodes.edge_ids is not None else np.repeat(mine[:, None], nodes.arity, axis=1)
    numbers = [np.cumsum(live[id(child)]) - 1 for child in nodes.children]
    edge_ids = np.stack([number[column] for number, column in zip(numbers, factors.T)], axis=1)
    identity = all(child.num_nodes == len(mine) for child in children) and (edge_ids == np.arange(len(mine))[:, None]).all()
    return ProdNodes(children, None if identity else edge_ids, nodes.name)


def _sums(nodes: SumNodes, children: list[Nodes], mine: np.ndarray, columns: np.ndarray) -> SumNodes:
    """The sums ``mine`` over ``children``, which are the nodes ``columns`` of the old ones. Blocks of edges that are live in
    part are taken apart."""
    num_nodes, params = int(mine.sum()), nodes.params
    if nodes.edge_ids is None:
        return SumNodes(children, num_nodes, None, nodes.edge_block, _part(params, mine), nodes.name)
    block, (sums, blocks) = nodes.edge_block, nodes.edge_ids
    if not (_whole_blocks(mine, block) and _whole_blocks(columns, block)):
        steps = np.arange(block)
        cells = np.broadcast_arrays(sums[:, None, None] * block + steps[:, None], blocks[:, None, None] * block + steps)
        sums, blocks = (part.ravel() for part in cells)
        block, params = 1, None if params is None else params.reshape(-1, 1, 1)
    rows, cols = mine[::block], columns[::block]
    keep = rows[sums]
    edge_ids = np.stack([(np.cumsum(rows) - 1)[sums[keep]], (np.cumsum(cols) - 1)[blocks[keep]]])
    return SumNodes(children, num_nodes, edge_ids, block, _part(params, keep), nodes.name)


def _part(params: np.ndarray | None, keep: np.ndarray) -> np.ndarray | None:
    return params if params is None or keep.all() else params[keep]


def _whole_blocks(mask: np.ndarray, block: int) -> bool:
    """Whether every block of nodes is live as a whole or not at all."""
    blocks = mask.reshape(-1, block)
    return bool((blocks == blocks[:, :1]).all())
