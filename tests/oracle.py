"""Exact answers for small circuits, in float64, straight from the definitions.

Independent of compiler and engine: node by node over the symbolic circuit, with loops. Results are dictionaries keyed by
node vector. x is an integer array [B, V], or one of real numbers where inputs are Gaussian.
"""

import itertools

import numpy as np

from pcviz.ir.distributions import Gaussian
from pcviz.ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes, input_vectors, topological


def worlds(num_vars: int, num_cats) -> np.ndarray:
    """Every assignment, int64 [number of worlds, num_vars]; ``num_cats``: one integer, or one per variable."""
    counts = [num_cats] * num_vars if isinstance(num_cats, (int, np.integer)) else list(num_cats)
    return np.array(list(itertools.product(*(range(count) for count in counts))), dtype=np.int64)


def worlds_of(root: Nodes) -> np.ndarray:
    """Every assignment to the variables of a circuit whose variables are all discrete."""
    counts = categories(root)
    return worlds(len(counts), counts)


def categories(root: Nodes) -> list[int]:
    """Number of categories of each variable."""
    counts = {nodes.var: nodes.dist.num_cats for nodes in input_vectors(root)}
    return [counts[var] for var in range(len(counts))]


def edges(nodes: SumNodes) -> list[tuple[int, int, float, tuple[int, ...]]]:
    """Every edge of a sum vector: (sum, child counted over all child vectors, parameter, index into ``params``)."""
    if nodes.edge_ids is None:
        return [(i, j, float(nodes.params[i, j]), (i, j)) for i in range(nodes.num_nodes) for j in range(nodes.num_children)]
    b, result = nodes.edge_block, []
    for e, (sum_block, child_block) in enumerate(nodes.edge_ids.T.tolist()):
        for i, j in itertools.product(range(b), range(b)):
            result.append((sum_block * b + i, child_block * b + j, float(nodes.params[e, i, j]), (e, i, j)))
    return result


def locate(nodes: SumNodes, child: int) -> tuple[Nodes, int]:
    """Child number ``child`` of a sum vector: its vector and its place there."""
    for vector in nodes.children:
        if child < vector.num_nodes:
            return vector, child
        child -= vector.num_nodes
    raise IndexError(child)


def factors(nodes: ProdNodes, i: int) -> list[tuple[Nodes, int]]:
    """The children of product ``i``: vector and place."""
    return [(child, i if nodes.edge_ids is None else int(nodes.edge_ids[i, a])) for a, child in enumerate(nodes.children)]


def log_values(root: Nodes, x, observed=None) -> dict[Nodes, np.ndarray]:
    """log p of every node, {vector: float64 [num_nodes, B]}. ``observed`` bool [B, V] or [1, V]; False is summed out."""
    x = np.asarray(x)
    observed = np.ones(x.shape, dtype=bool) if observed is None else np.broadcast_to(observed, x.shape)
    values: dict[Nodes, np.ndarray] = {}
    for nodes in topological(root):
        out = np.zeros((nodes.num_nodes, len(x)))
        if isinstance(nodes, InputNodes):
            for i in range(nodes.num_nodes):
                out[i] = np.where(observed[:, nodes.var], log_input(nodes, i, x[:, nodes.var]), 0.0)
        elif isinstance(nodes, ProdNodes):
            for i in range(nodes.num_nodes):
                for child, place in factors(nodes, i):
                    out[i] += values[child][place]
        else:
            out[:] = -np.inf
            for i, j, theta, _ in edges(nodes):
                child, place = locate(nodes, j)
                out[i] = np.logaddexp(out[i], _log(np.float64(theta)) + values[child][place])
        values[nodes] = out
    return values


def log_input(nodes: InputNodes, i: int, x: np.ndarray) -> np.ndarray:
    """log probability, or density, of the values ``x`` [B] under node ``i``."""
    theta = nodes.params[i].astype(np.float64)
    if isinstance(nodes.dist, Gaussian):
        return -((x - theta[0]) ** 2) / (2 * theta[1] ** 2) - np.log(theta[1]) - 0.5 * np.log(2 * np.pi)
    return _log(theta)[x.astype(np.int64)]


def log_likelihood(root: Nodes, x, observed=None) -> np.ndarray:
    """log p(x), float64 [B]; -inf where x is impossible."""
    return log_values(root, x, observed)[root][0]


def node_flows(root: Nodes, x, observed=None) -> dict[Nodes, np.ndarray]:
    """F_n(x) = d log p_root / d log p_n of every node, {vector: [num_nodes, B]}; 0 for impossible samples."""
    return _flows(root, x, observed)[0]


def param_flows(root: Nodes, x, observed=None) -> dict[Nodes, np.ndarray]:
    """Flows of the parameters summed over the samples, {input or sum vector: array like its ``params``}.

    An input table counts the observed samples only; of Gaussian inputs it has sums of F, F x and F x^2. Tied
    vectors have one array: the flows of all of them, added up.
    """
    totals = _flows(root, x, observed)[1]
    of_class: dict[int, np.ndarray] = {}
    for nodes, flow in totals.items():
        of_class[id(nodes.storage)] = of_class.get(id(nodes.storage), 0) + flow
    return {nodes: of_class[id(nodes.storage)] for nodes in totals}


def _flows(root: Nodes, x, observed):
    x = np.asarray(x)
    observed = np.ones(x.shape, dtype=bool) if observed is None else np.broadcast_to(observed, x.shape)
    values = log_values(root, x, observed)
    flows = {nodes: np.zeros_like(value) for nodes, value in values.items()}
    flows[root][0] = np.isfinite(values[root][0])
    totals: dict[Nodes, np.ndarray] = {}
    for nodes in reversed(topological(root)):
        if isinstance(nodes, ProdNodes):
            for i in range(nodes.num_nodes):
                for child, place in factors(nodes, i):
                    flows[child][place] += flows[nodes][i]
            continue
        if isinstance(nodes, InputNodes):
            gaussian = isinstance(nodes.dist, Gaussian)
            totals[nodes] = np.zeros((nodes.num_nodes, 3 if gaussian else nodes.dist.num_cats))
            for sample in np.flatnonzero(observed[:, nodes.var]):
                value, flow = x[sample, nodes.var], flows[nodes][:, sample]
                if gaussian:
                    totals[nodes] += np.outer(flow, [1, value, value**2])
                else:
                    totals[nodes][:, int(value)] += flow
            continue
        totals[nodes] = np.zeros(nodes.params.shape)
        for i, j, theta, index in edges(nodes):
            child, place = locate(nodes, j)
            possible = np.isfinite(values[nodes][i])
            ratio = np.exp(_log(np.float64(theta)) + values[child][place][possible] - values[nodes][i][possible])
            flow = ratio * flows[nodes][i][possible]
            flows[child][place][possible] += flow
            totals[nodes][index] += flow.sum()
    return flows, totals


def mpe_logs(root: Nodes, x) -> np.ndarray:
    """log of the largest product of parameters over all choices of latents, for each row of x; float64 [B].

    A choice takes one child of every sum that it reaches. Max-product over latents; take the maximum over worlds for MPE.
    """
    x = np.asarray(x)
    values: dict[Nodes, np.ndarray] = {}
    for nodes in topological(root):
        out = np.full((nodes.num_nodes, len(x)), 0.0 if isinstance(nodes, ProdNodes) else -np.inf)
        if isinstance(nodes, InputNodes):
            out = np.stack([log_input(nodes, i, x[:, nodes.var]) for i in range(nodes.num_nodes)])
        elif isinstance(nodes, ProdNodes):
            for i in range(nodes.num_nodes):
                for child, place in factors(nodes, i):
                    out[i] += values[child][place]
        else:
            for i, j, theta, _ in edges(nodes):
                child, place = locate(nodes, j)
                out[i] = np.maximum(out[i], _log(np.float64(theta)) + values[child][place])
        values[nodes] = out
    return values[root][0]


def choices(root: Nodes, x, most: int) -> list[float] | None:
    """Probability of every choice of latents together with one state x [V]: the summands whose sum is p(x), written out.

    None when there are more than ``most``.
    """
    found: dict[Nodes, list[list[float]]] = {}
    for nodes in topological(root):
        if isinstance(nodes, InputNodes):
            terms = [[float(theta)] for theta in nodes.params[:, x[nodes.var]]]
        elif isinstance(nodes, ProdNodes):
            options = [[found[child][place] for child, place in factors(nodes, i)] for i in range(nodes.num_nodes)]
            if max(np.prod([float(len(option)) for option in row]) for row in options) > most:
                return None
            terms = [[float(np.prod(combination)) for combination in itertools.product(*row)] for row in options]
        else:
            terms = [[] for _ in range(nodes.num_nodes)]
            for i, j, theta, _ in edges(nodes):
                child, place = locate(nodes, j)
                terms[i] += [theta * value for value in found[child][place]]
        if max(map(len, terms)) > most:
            return None
        found[nodes] = terms
    return found[root][0]


def flows_by_autograd(root: Nodes, x) -> dict[Nodes, np.ndarray]:
    """d sum log p(x) / d log theta by torch's autograd in float64, {input or sum vector: array like its ``params``}.

    Differentiates plain probabilities, so for small circuits only; impossible samples are left out.
    """
    import torch

    order = topological(root)
    vectors = [nodes for nodes in order if not isinstance(nodes, ProdNodes)]
    tensors = {id(nodes.storage): torch.tensor(nodes.params, dtype=torch.float64, requires_grad=True) for nodes in vectors}
    params = {nodes: tensors[id(nodes.storage)] for nodes in vectors}  # one tensor for a tie class
    x = torch.as_tensor(np.asarray(x).astype(np.int64))
    probabilities: dict[Nodes, torch.Tensor] = {}
    for nodes in order:
        if isinstance(nodes, InputNodes):
            probabilities[nodes] = params[nodes][:, x[:, nodes.var]]
        elif isinstance(nodes, ProdNodes):
            rows = [[probabilities[child][place] for child, place in factors(nodes, i)] for i in range(nodes.num_nodes)]
            probabilities[nodes] = torch.stack([torch.stack(row).prod(dim=0) for row in rows])
        else:
            children = torch.cat([probabilities[child] for child in nodes.children])
            rows = [torch.zeros(len(x), dtype=torch.float64) for _ in range(nodes.num_nodes)]
            for i, j, _, index in edges(nodes):
                rows[i] = rows[i] + params[nodes][index] * children[j]
            probabilities[nodes] = torch.stack(rows)
    likelihoods = probabilities[root][0]
    likelihoods[likelihoods > 0].log().sum().backward()
    return {nodes: (theta.detach() * theta.grad).numpy() for nodes, theta in params.items()}


def _log(values):
    with np.errstate(divide="ignore"):
        return np.log(values)
