"""Pruning of the symbolic circuit: keep the strongest edges, drop nodes that nothing reads, renormalise."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes, normalise_edges, sum_vectors, topological
from .ir.ties import equal_lengths, tie_classes

CLOSE = 0.01  # relative


def prune_edges(root: SumNodes, scores: dict[int, np.ndarray], keep: float, granularity: int) -> SumNodes:
    """The circuit with the share ``keep`` of its sum edges: those of the highest ``scores`` (by id of sum vector, canonical
    shape). It is met within ``CLOSE`` below, except where blocks are coarser, or where every sum block keeping its best edge
    takes more. Parameters are renormalised; input distributions are kept.

    Tied vectors keep the same edges, by the scores of the first of them, and stay tied: a node or edge of one is kept while
    any of them needs it.
    """
    order = topological(root)
    sums = [nodes for nodes in order if isinstance(nodes, SumNodes)]
    first: dict[int, SumNodes] = {}
    for nodes in sums:
        first.setdefault(id(nodes.storage), nodes)
    edges = {key: _scored_edges(nodes, scores[id(nodes)], granularity) for key, nodes in first.items()}
    pruned = _Rebuilder(root, _strongest(root, sums, edges, keep)).build()
    while tie_classes(order):  # a vector that is gone may have kept nodes alive in those tied to it
        size, again = _num_nodes(pruned), {id(nodes.storage): _all_edges(nodes) for nodes in sum_vectors(pruned)}
        pruned = _Rebuilder(pruned, again).build()
        if _num_nodes(pruned) == size:
            break
    return pruned


def _num_nodes(root: SumNodes) -> int:
    return sum(nodes.num_nodes for nodes in topological(root))


def _all_edges(nodes: SumNodes) -> _ScoredEdges:
    return _scored_edges(nodes, nodes.params, nodes.edge_block)


class _ScoredEdges:
    """Edges of one sum vector at granularity ``block``: ``ids`` [2, E], ``params`` and ``score`` per edge."""

    def __init__(self, ids: np.ndarray, params: np.ndarray, score: np.ndarray, block: int):
        self.ids, self.params, self.score, self.block = ids, params, score, block

    @cached_property
    def best(self) -> np.ndarray:
        """The strongest edge of each sum block."""
        order = np.lexsort((self.score, self.ids[0]))
        rows = self.ids[0][order]
        return order[np.append(rows[1:] != rows[:-1], True)]

    def keep(self, threshold: float):
        chosen = self.score > threshold
        chosen[self.best] = True
        return _ScoredEdges(self.ids[:, chosen], self.params[chosen], self.score[chosen], self.block)


def _scored_edges(nodes: SumNodes, score: np.ndarray, granularity: int) -> _ScoredEdges:
    """Edges as blocks of ``granularity``; vectors that it does not divide are pruned edge by edge."""
    g = granularity
    if nodes.edge_ids is not None:
        b = nodes.edge_block
        g = g if b % g == 0 else 1
        steps = np.arange(b // g)
        rows = nodes.edge_ids[0][:, None, None] * (b // g) + steps[:, None] + 0 * steps
        cols = nodes.edge_ids[1][:, None, None] * (b // g) + steps[:, None] * 0 + steps
        split = lambda a: a.reshape(-1, b // g, g, b // g, g).transpose(0, 1, 3, 2, 4).reshape(-1, g, g)  # noqa: E731
        return _ScoredEdges(np.stack([rows.ravel(), cols.ravel()]), split(nodes.params), split(score).sum((1, 2)), g)
    g = g if all(n % g == 0 for n in (nodes.num_nodes, *(child.num_nodes for child in nodes.children))) else 1
    rows, cols = nodes.num_nodes // g, nodes.num_children // g
    split = lambda a: a.reshape(rows, g, cols, g).transpose(0, 2, 1, 3).reshape(-1, g, g)  # noqa: E731
    ids = np.stack([np.repeat(np.arange(rows), cols), np.tile(np.arange(cols), rows)])
    return _ScoredEdges(ids, split(nodes.params), split(score).sum((1, 2)), g)


def _strongest(root: SumNodes, sums: list[SumNodes], edges: dict[int, _ScoredEdges], keep: float) -> dict[int, _ScoredEdges]:
    """The edges above the score at which the pruned circuit has the share ``keep`` of all edges, or just less.

    Nodes that nothing reads any more take edges along, and every sum keeps an edge, so the score is found by bisection.
    """
    items = [edges[id(nodes.storage)] for nodes in sums]
    scores = np.concatenate([item.score for item in items])
    sizes = np.concatenate([np.full(len(item.score), item.block**2) for item in items])
    order = np.argsort(-scores)
    scores, held = np.append(scores[order], -np.inf), np.cumsum(sizes[order])
    asked = keep * held[-1]
    low, high, kept = 0, len(held), None  # number of blocks above the score
    cut = int(np.searchsorted(held, asked, side="right"))
    while low <= high:
        candidate = {key: item.keep(scores[cut]) for key, item in edges.items()}
        found = _Rebuilder(root, candidate).count_edges()
        if found <= asked or kept is None and cut == 0:
            low, kept = cut + 1, candidate
            if found >= (1 - CLOSE) * asked:
                break
        else:
            high = cut - 1
        cut = (low + high) // 2
    return kept


class _Rebuilder:
    """Rebuilds the circuit from the kept edges (by id of the vector that keeps the parameters), from the root down to find
    live nodes, then bottom-up. Vectors that ties keep equally long have one mask of live nodes."""

    def __init__(self, root: SumNodes, kept: dict[int, _ScoredEdges]):
        self.root, self.kept = root, kept
        self.order = topological(root)
        same = equal_lengths(self.order)
        masks = {same[id(nodes)]: np.zeros(nodes.num_nodes, dtype=bool) for nodes in self.order}
        self.live = {key: masks[name] for key, name in same.items()}
        self.sources: dict[int, InputNodes | SumNodes] = {}  # by id of the vector that kept the parameters

    def count_edges(self) -> int:
        """Edges that ``build`` will keep."""
        self._find_live()
        count = 0
        for nodes in sum_vectors(self.root):
            item = self.kept[id(nodes.storage)]
            count += int(self.live[id(nodes)].reshape(-1, item.block).sum(axis=1)[item.ids[0]].sum()) * item.block
        return count

    def build(self) -> SumNodes:
        self._find_live()
        new: dict[int, Nodes] = {}
        reached = self._reached()
        for nodes in self.order:
            if id(nodes) in reached:
                new[id(nodes)] = self._rebuilt(nodes, new)
        result = new[id(self.root)]
        result.seed = self.root.seed
        return result

    def _find_live(self) -> None:
        self.live[id(self.root)][:] = True
        found = 0
        while found < (found := sum(int(self.live[id(nodes)].sum()) for nodes in self.order)):
            self._mark_live()  # again while ties carry news upwards

    def _reached(self) -> set[int]:
        """ids of the vectors that the root still reaches; others may have live nodes because of ties."""
        reached = {id(self.root)}
        for nodes in reversed(self.order):
            if id(nodes) in reached:
                used = self._used_columns(nodes) if isinstance(nodes, SumNodes) else [np.ones(1, dtype=bool)] * len(nodes.children)
                reached |= {id(child) for child, columns in zip(nodes.children, used) if columns.any()}
        return reached

    def _mark_live(self) -> None:
        """Mark everything that live nodes read, one pass from the root down."""
        for nodes in reversed(self.order):
            if isinstance(nodes, SumNodes):
                for child, used in zip(nodes.children, self._used_columns(nodes)):
                    self.live[id(child)] |= used
            elif isinstance(nodes, ProdNodes):
                for position, child in enumerate(nodes.children):
                    factors = self._factors(nodes)[:, position]
                    self.live[id(child)][factors[self.live[id(nodes)]]] = True

    @staticmethod
    def _factors(nodes: ProdNodes) -> np.ndarray:
        if nodes.edge_ids is not None:
            return nodes.edge_ids
        return np.repeat(np.arange(nodes.num_nodes)[:, None], nodes.arity, axis=1)

    def _renumber(self, nodes: Nodes) -> np.ndarray:
        return np.cumsum(self.live[id(nodes)]) - 1

    def _rebuilt(self, nodes: Nodes, new: dict[int, Nodes]) -> Nodes:
        live = self.live[id(nodes)]
        if isinstance(nodes, ProdNodes):
            factors = self._factors(nodes)[live]
            ids = np.stack([self._renumber(child)[factors[:, a]] for a, child in enumerate(nodes.children)], axis=1)
            children = [new[id(child)] for child in nodes.children]
            identity = all(child.num_nodes == len(ids) for child in children) and (ids == np.arange(len(ids))[:, None]).all()
            return ProdNodes(children, None if identity else ids, nodes.name)
        children = [new[id(child)] for child, used in zip(nodes.children, self._used_columns(nodes)) if used.any()]
        source = self.sources.get(id(nodes.storage))
        if source is not None:
            over = children if isinstance(nodes, SumNodes) else (nodes.var,)
            return source.duplicate(*over, tie_params=True, name=nodes.name)
        if isinstance(nodes, InputNodes):
            source = InputNodes(nodes.var, int(live.sum()), nodes.dist, nodes.params[live], nodes.name)
        else:
            source = self._rebuilt_sum(nodes, live, children)
        self.sources[id(nodes.storage)] = source
        return source

    def _used_columns(self, nodes: Nodes) -> list[np.ndarray]:
        """Per child vector, which of its nodes the live sums read; the same for all tied vectors."""
        if not nodes.children:
            return []
        item = self.kept[id(nodes.storage)]
        rows = self.live[id(nodes)].reshape(-1, item.block).any(axis=1)
        mask = np.zeros(nodes.num_children // item.block, dtype=bool)
        mask[item.ids[1][rows[item.ids[0]]]] = True
        return np.split(np.repeat(mask, item.block), np.cumsum([child.num_nodes for child in nodes.children])[:-1])

    def _rebuilt_sum(self, nodes: SumNodes, live: np.ndarray, children: list[Nodes]) -> SumNodes:
        item = self.kept[id(nodes.storage)]
        columns = zip(nodes.children, self._used_columns(nodes))
        child_live = np.concatenate([self.live[id(child)] if used.any() else used for child, used in columns])
        rows, cols = _live_blocks(live, item.block), _live_blocks(child_live, item.block)
        if rows is None or cols is None:
            item, rows, cols = _ScoredEdges(*_to_nodes(item), 1), live, child_live
        keep = rows[item.ids[0]]
        ids = np.stack([(np.cumsum(mask) - 1)[numbers[keep]] for mask, numbers in zip((rows, cols), item.ids)])
        pruned = SumNodes(children, int(live.sum()), ids, item.block, name=nodes.name)
        weights = np.maximum(item.params[keep], np.finfo(np.float32).tiny)  # an edge that is kept stays an edge
        pruned.params = normalise_edges(pruned, weights)
        return pruned


def _live_blocks(live: np.ndarray, block: int) -> np.ndarray | None:
    """Which blocks of nodes are live; None when some block is so in part."""
    blocks = live.reshape(-1, block)
    return blocks.any(axis=1) if (blocks.any(axis=1) == blocks.all(axis=1)).all() else None


def _to_nodes(item: _ScoredEdges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same edges one by one."""
    steps = np.arange(item.block)
    rows = (item.ids[0][:, None, None] * item.block + steps[:, None] + 0 * steps).ravel()
    cols = (item.ids[1][:, None, None] * item.block + 0 * steps[:, None] + steps).ravel()
    return np.stack([rows, cols]), item.params.reshape(-1, 1, 1), np.repeat(item.score, item.block**2)
