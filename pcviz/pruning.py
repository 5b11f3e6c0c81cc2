"""Pruning of the symbolic circuit: keep the strongest edges, drop nodes that nothing reads, renormalise."""

from __future__ import annotations

import numpy as np

from .ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes, normalise_edges, topological


def prune_edges(root: SumNodes, scores: dict[int, np.ndarray], keep: float, granularity: int) -> SumNodes:
    """The circuit with about ``keep`` of its sum edges: those of the highest ``scores`` (by id of sum vector, canonical
    shape). Every sum block keeps its best edge. Parameters are renormalised; input distributions are kept."""
    edges = {id(nodes): _scored_edges(nodes, scores[id(nodes)], granularity) for nodes in topological(root) if isinstance(nodes, SumNodes)}
    threshold = _threshold(edges.values(), keep)
    kept = {key: item.keep(threshold) for key, item in edges.items()}
    return _Rebuilder(root, kept).build()


class _ScoredEdges:
    """Edges of one sum vector at granularity ``block``: ``ids`` [2, E], ``params`` and ``score`` per edge."""

    def __init__(self, ids: np.ndarray, params: np.ndarray, score: np.ndarray, block: int):
        self.ids, self.params, self.score, self.block = ids, params, score, block

    def keep(self, threshold: float):
        chosen = self.score > threshold
        best = np.lexsort((self.score, self.ids[0]))
        last = np.append(self.ids[0][best][1:] != self.ids[0][best][:-1], True)
        chosen[best[last]] = True
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


def _threshold(edges, keep: float) -> float:
    """The score at which blocks that hold a share ``keep`` of all edges lie above it."""
    scores = np.concatenate([item.score for item in edges])
    sizes = np.concatenate([np.full(len(item.score), item.block**2) for item in edges])
    order = np.argsort(-scores)
    held = np.cumsum(sizes[order])
    cut = int(np.searchsorted(held, keep * held[-1], side="right"))
    return float(scores[order][cut]) if cut < len(scores) else -np.inf


class _Rebuilder:
    """Rebuilds the circuit from the kept edges, from the root down to find live nodes, then bottom-up."""

    def __init__(self, root: SumNodes, kept: dict[int, _ScoredEdges]):
        self.root, self.kept = root, kept
        self.order = topological(root)
        self.live = {id(nodes): np.zeros(nodes.num_nodes, dtype=bool) for nodes in self.order}

    def build(self) -> SumNodes:
        self.live[id(self.root)][:] = True
        for nodes in reversed(self.order):
            if isinstance(nodes, SumNodes):
                self._mark_children_of_sums(nodes)
            elif isinstance(nodes, ProdNodes):
                for position, child in enumerate(nodes.children):
                    factors = self._factors(nodes)[:, position]
                    self.live[id(child)][factors[self.live[id(nodes)]]] = True
        new: dict[int, Nodes] = {}
        for nodes in self.order:
            if self.live[id(nodes)].any():
                new[id(nodes)] = self._rebuilt(nodes, new)
        result = new[id(self.root)]
        result.seed = self.root.seed
        return result

    def _mark_children_of_sums(self, nodes: SumNodes) -> None:
        item = self.kept[id(nodes)]
        rows = np.repeat(self.live[id(nodes)].reshape(-1, item.block).any(axis=1), 1)
        cols = np.unique(item.ids[1][rows[item.ids[0]]])
        mask = np.zeros(nodes.num_children // item.block, dtype=bool)
        mask[cols] = True
        start = 0
        for child in nodes.children:
            self.live[id(child)] |= np.repeat(mask, item.block)[start : start + child.num_nodes]
            start += child.num_nodes

    @staticmethod
    def _factors(nodes: ProdNodes) -> np.ndarray:
        if nodes.edge_ids is not None:
            return nodes.edge_ids
        return np.repeat(np.arange(nodes.num_nodes)[:, None], nodes.arity, axis=1)

    def _renumber(self, nodes: Nodes) -> np.ndarray:
        return np.cumsum(self.live[id(nodes)]) - 1

    def _rebuilt(self, nodes: Nodes, new: dict[int, Nodes]) -> Nodes:
        live = self.live[id(nodes)]
        if isinstance(nodes, InputNodes):
            return InputNodes(nodes.var, int(live.sum()), nodes.dist, nodes.params[live], nodes.name)
        if isinstance(nodes, ProdNodes):
            factors = self._factors(nodes)[live]
            ids = np.stack([self._renumber(child)[factors[:, a]] for a, child in enumerate(nodes.children)], axis=1)
            children = [new[id(child)] for child in nodes.children]
            identity = all(child.num_nodes == len(ids) for child in children) and (ids == np.arange(len(ids))[:, None]).all()
            return ProdNodes(children, None if identity else ids, nodes.name)
        return self._rebuilt_sum(nodes, live, new)

    def _rebuilt_sum(self, nodes: SumNodes, live: np.ndarray, new: dict[int, Nodes]) -> SumNodes:
        item = self.kept[id(nodes)]
        children = [new[id(child)] for child in nodes.children if id(child) in new]
        child_live = np.concatenate([self.live[id(child)] for child in nodes.children])
        if item.block > 1 and (not live.all() or not child_live.all()):
            item = _ScoredEdges(*_to_nodes(item), 1)
        keep = live[item.ids[0]] if item.block == 1 else np.ones(item.ids.shape[1], dtype=bool)
        keep &= child_live[item.ids[1]] if item.block == 1 else True
        rows, cols = item.ids[:, keep]
        if item.block == 1:
            rows, cols = self._renumber(nodes)[rows], (np.cumsum(child_live) - 1)[cols]
        pruned = SumNodes(children, int(live.sum()), np.stack([rows, cols]), item.block, name=nodes.name)
        weights = np.maximum(item.params[keep], np.finfo(np.float32).tiny)  # an edge that is kept stays an edge
        pruned.params = normalise_edges(pruned, weights)
        return pruned


def _to_nodes(item: _ScoredEdges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same edges one by one."""
    steps = np.arange(item.block)
    rows = (item.ids[0][:, None, None] * item.block + steps[:, None] + 0 * steps).ravel()
    cols = (item.ids[1][:, None, None] * item.block + 0 * steps[:, None] + steps).ravel()
    return np.stack([rows, cols]), item.params.reshape(-1, 1, 1), np.repeat(item.score, item.block**2)
