"""Bayesian networks as exact ground truth: known small ones, random ones, .bif files; and their conversion to circuits.

The numbers of the known networks are those of their publications:
asia: Lauritzen and Spiegelhalter 1988; cancer, earthquake: Korb and Nicholson 2010; survey: Scutari and Denis 2014.
"""

import itertools
import re
from dataclasses import dataclass

import numpy as np

import pcviz as pcv
from pcviz.ir.nodes import SumNodes


@dataclass(frozen=True)
class Network:
    """``states[v]`` of variable v, its ``parents[v]``, ``tables[v]`` [states of each parent, states of v] = P(v | parents)."""

    states: list[int]
    parents: list[tuple[int, ...]]
    tables: list[np.ndarray]

    @property
    def num_vars(self) -> int:
        return len(self.states)

    def scopes(self) -> list[tuple[int, ...]]:
        return [(*self.parents[v], v) for v in range(self.num_vars)]

    def log_joint(self, x: np.ndarray) -> np.ndarray:
        """log P(x) of full assignments [N, V], float64."""
        with np.errstate(divide="ignore"):
            return sum(np.log(table[tuple(x[:, scope].T)]) for table, scope in zip(self.tables, map(list, self.scopes())))

    def marginal(self, keep: list[int]) -> np.ndarray:
        """P over the variables ``keep``, summed over all others: an array [states of each]."""
        operands = [part for table, scope in zip(self.tables, self.scopes()) for part in (table, list(scope))]
        return np.einsum(*operands, keep, optimize="greedy")

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Assignments [count, V] drawn parents first; int64."""
        rng, x = np.random.default_rng(seed), np.zeros((count, self.num_vars), dtype=np.int64)
        for v in self.order():
            below = np.cumsum(np.atleast_2d(self.tables[v][tuple(x[:, self.parents[v]].T)]), axis=1)
            x[:, v] = (rng.random((count, 1)) * below[:, -1:] >= below).sum(axis=1)
        return x

    def order(self) -> list[int]:
        """Parents before children."""
        order: list[int] = []
        while len(order) < self.num_vars:
            order += [v for v in range(self.num_vars) if v not in order and set(self.parents[v]) <= set(order)]
        return order


# ---- known and random networks -------------------------------------------------------------------------------------------


def known_networks() -> dict[str, Network]:
    yes = lambda *p: [[q, 1 - q] for q in p]  # noqa: E731  (rows P(yes), P(no))
    asia = [2] * 8, {  # asia, tub, smoke, lung, bronc, either, xray, dysp; state 0 is yes
        0: ((), [0.01, 0.99]), 1: ((0,), yes(0.05, 0.01)), 2: ((), [0.5, 0.5]), 3: ((2,), yes(0.1, 0.01)), 4: ((2,), yes(0.6, 0.3)),
        5: ((3, 1), yes(1, 1, 1, 0)), 6: ((5,), yes(0.98, 0.05)), 7: ((4, 5), yes(0.9, 0.8, 0.7, 0.1)),
    }  # fmt: skip
    cancer = [2] * 5, {  # pollution (low, high), smoker, cancer, xray, dyspnoea
        0: ((), [0.9, 0.1]), 1: ((), [0.3, 0.7]), 2: ((0, 1), yes(0.03, 0.001, 0.05, 0.02)), 3: ((2,), yes(0.9, 0.2)), 4: ((2,), yes(0.65, 0.3)),
    }  # fmt: skip
    earthquake = [2] * 5, {  # burglary, earthquake, alarm, John calls, Mary calls
        0: ((), [0.01, 0.99]), 1: ((), [0.02, 0.98]), 2: ((0, 1), yes(0.95, 0.94, 0.29, 0.001)), 3: ((2,), yes(0.9, 0.05)), 4: ((2,), yes(0.7, 0.01)),
    }  # fmt: skip
    travel = [[0.48, 0.42, 0.10], [0.58, 0.24, 0.18], [0.56, 0.36, 0.08], [0.70, 0.21, 0.09]]
    survey = [3, 2, 2, 2, 2, 3], {  # age, sex, education (high, uni), occupation (emp, self), residence (small, big), travel
        0: ((), [0.3, 0.5, 0.2]), 1: ((), [0.6, 0.4]), 2: ((0, 1), yes(0.75, 0.64, 0.72, 0.70, 0.88, 0.90)), 3: ((2,), yes(0.96, 0.92)),
        4: ((2,), yes(0.25, 0.2)), 5: ((3, 4), travel),
    }  # fmt: skip
    named = {"asia": asia, "cancer": cancer, "earthquake": earthquake, "survey": survey}
    return {name: _network(states, rows) for name, (states, rows) in named.items()}


def _network(states, rows) -> Network:
    parents = [rows[v][0] for v in range(len(states))]
    tables = [np.array(rows[v][1], dtype=np.float64).reshape([states[p] for p in parents[v]] + [states[v]]) for v in range(len(states))]
    return Network(states, parents, tables)


def random_network(seed: int, num_vars: int = 8, max_parents: int = 3) -> Network:
    """2 to 4 states, up to ``max_parents`` parents, a fifth of the probabilities exactly zero; the names of variables are no order."""
    rng = np.random.default_rng(seed)
    states, names = [int(n) for n in rng.integers(2, 5, num_vars)], rng.permutation(num_vars)
    parents: list[tuple[int, ...]] = [()] * num_vars
    tables = [np.zeros(0)] * num_vars
    for place, v in enumerate(names.tolist()):
        chosen = rng.choice(names[:place], size=min(place, int(rng.integers(0, max_parents + 1))), replace=False) if place else []
        parents[v] = tuple(int(p) for p in chosen)
        weights = rng.gamma(0.7, size=[*(states[p] for p in parents[v]), states[v]]) + 1e-3
        weights[..., 1:][rng.random(weights[..., 1:].shape) < 0.2] = 0
        tables[v] = weights / weights.sum(axis=-1, keepdims=True)
    return Network(states, parents, tables)


def read_bif(text: str) -> Network:
    """A network in the Bayesian Interchange Format, as far as the files of the bnlearn repository use it. Rows are normalised."""
    names, labels = [], []
    for name, values in re.findall(r"variable\s+(\S+)\s*\{\s*type\s+discrete\s*\[\s*\d+\s*\]\s*\{([^}]*)\}", text):
        names.append(name)
        labels.append([value.strip() for value in values.split(",")])
    number = {name: v for v, name in enumerate(names)}
    parents: list[tuple[int, ...]] = [()] * len(names)
    tables = [np.zeros(0)] * len(names)
    for head, body in re.findall(r"probability\s*\(([^)]*)\)\s*\{([^}]*)\}", text):
        child, _, given = (part.strip() for part in head.partition("|"))
        v = number[child]
        parents[v] = tuple(number[name.strip()] for name in given.split(",")) if given else ()
        table = np.full([*(len(labels[p]) for p in parents[v]), len(labels[v])], np.nan)
        for states, values in re.findall(r"(?:\(([^)]*)\)|table)\s*([^;]*);", body):
            place = tuple(labels[p].index(state.strip()) for p, state in zip(parents[v], states.split(","))) if states else ()
            table[place] = [float(value) for value in values.split(",")]
        tables[v] = table / table.sum(axis=-1, keepdims=True)
    assert not any(np.isnan(table).any() or table.size == 0 for table in tables), "a row of a table is missing"
    return Network([len(values) for values in labels], parents, tables)


# ---- conversion --------------------------------------------------------------------------------------------------------


def circuit_of(network: Network) -> SumNodes:
    """The network as a circuit by variable elimination (min-fill order).

    Eliminating v multiplies the tables and messages that mention it and sums v out. So there is one product for every state of
    v and of its neighbours then (the indicator of v times the messages), and one sum for every state of the neighbours, with the
    tables as weights. Sums are normalised and hand their totals upwards, where they multiply the weights; the last total is 1.
    """
    tables = dict(enumerate(zip(map(set, network.scopes()), network.scopes(), network.tables)))
    messages: list[tuple[tuple[int, ...], SumNodes, np.ndarray]] = []  # scope, vector, totals [states of each variable in scope]
    for v in _min_fill(network):
        own = [tables.pop(k) for k in [k for k, (members, _, _) in tables.items() if v in members]]
        received = [message for message in messages if v in message[0]]
        messages = [message for message in messages if v not in message[0]]
        scope = sorted(set().union(*(members for members, _, _ in own), *(message[0] for message in received)) - {v})
        shape = [network.states[u] for u in (*scope, v)]
        assert np.prod(shape) <= 1 << 18, f"eliminating variable {v} takes {np.prod(shape)} products"
        weights = np.ones(shape)
        for _, axes, table in own:
            weights *= _spread(table, axes, (*scope, v), shape)
        for axes, _, totals in received:
            weights *= _spread(totals, axes, (*scope, v), shape)
        messages.append(_message(network, v, tuple(scope), weights, received))
    roots = [vector for _, vector, _ in messages]
    assert np.isclose(np.prod([float(totals) for _, _, totals in messages]), 1)
    return roots[0] if len(roots) == 1 else pcv.summate(pcv.multiply(*roots), num_nodes=1, params=[[1.0]])


def _message(network: Network, v: int, scope: tuple[int, ...], weights: np.ndarray, received):
    states = network.states[v]
    leaf = pcv.inputs(v, num_nodes=states, dist=pcv.Categorical(states), params=np.eye(states, dtype=np.float32))
    cells = dict(zip((*scope, v), np.indices(weights.shape).reshape(weights.ndim, -1)))
    columns = [cells[v]]
    for axes, _, totals in received:
        columns.append(np.ravel_multi_index([cells[u] for u in axes], totals.shape) if axes else np.zeros_like(cells[v]))
    products = pcv.multiply(leaf, *(vector for _, vector, _ in received), edge_ids=np.stack(columns, axis=1))
    totals = weights.sum(axis=-1)
    rows = np.divide(weights, totals[..., None], out=np.full(weights.shape, 1 / states), where=totals[..., None] > 0)
    edges = np.stack([np.repeat(np.arange(totals.size), states), np.arange(weights.size)])
    vector = pcv.summate(products, num_nodes=totals.size, edge_ids=edges, params=rows.reshape(-1, 1, 1))
    return scope, vector, totals


def _spread(table: np.ndarray, axes, scope, shape) -> np.ndarray:
    """``table`` over the variables ``axes`` as an array that broadcasts over ``scope``."""
    order = sorted(range(len(axes)), key=lambda a: scope.index(axes[a]))
    return table.transpose(order).reshape([n if u in axes else 1 for u, n in zip(scope, shape)])


def _min_fill(network: Network) -> list[int]:
    """Always next the variable whose elimination joins the fewest pairs of variables, then the one with the smallest table."""
    near = [set() for _ in range(network.num_vars)]
    for scope in network.scopes():
        for a, b in itertools.permutations(scope, 2):
            near[a].add(b)
    order, left = [], set(range(network.num_vars))

    def cost(v):
        fill = sum(b not in near[a] for a, b in itertools.combinations(near[v], 2))
        return fill, np.prod([network.states[u] for u in near[v]], dtype=float), v

    while left:
        v = min(left, key=cost)
        for a, b in itertools.permutations(near[v], 2):
            near[a].add(b)
        for a in near[v]:
            near[a].discard(v)
        left.remove(v)
        order.append(v)
    return order
