"""Likelihoods straight from the circuit, in float64, without compiler or engine: what benchmarks check results against."""

from __future__ import annotations

import numpy as np

from .ir.distributions import Gaussian
from .ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes, topological


def log_likelihood(root: Nodes, x: np.ndarray) -> np.ndarray:
    """[B] natural-log likelihoods of x [B, V], one node vector after the other; parameters are those of the vectors."""
    values: dict[int, np.ndarray] = {}
    with np.errstate(divide="ignore"):
        for nodes in topological(root):
            if isinstance(nodes, InputNodes):
                values[id(nodes)] = _inputs(nodes, x[:, nodes.var])
            elif isinstance(nodes, ProdNodes):
                values[id(nodes)] = _products(nodes, values)
            else:
                values[id(nodes)] = _sums(nodes, np.concatenate([values[id(child)] for child in nodes.children]))
    return values[id(root)][0]


def _inputs(nodes: InputNodes, x: np.ndarray) -> np.ndarray:
    params = nodes.params.astype(np.float64)
    match nodes.dist:
        case Gaussian():
            mean, std = params[:, :1], params[:, 1:]
            return -0.5 * ((x - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
        case _:
            return np.log(params[:, x.astype(np.int64)])


def _products(nodes: ProdNodes, values: dict[int, np.ndarray]) -> np.ndarray:
    if nodes.edge_ids is None:
        return sum(values[id(child)] for child in nodes.children)
    return sum(values[id(child)][nodes.edge_ids[:, a]] for a, child in enumerate(nodes.children))


def _sums(nodes: SumNodes, children: np.ndarray) -> np.ndarray:
    """log sum_c theta_c p_c for children [C, B]; the maximum is over each sum's own children."""
    if nodes.edge_ids is None:
        logs = np.log(nodes.params.astype(np.float64))[:, :, None] + children[None]
        top = _finite(logs.max(axis=1))
        return np.log(np.exp(logs - top[:, None]).sum(axis=1)) + top
    b = nodes.edge_block
    order = np.argsort(nodes.edge_ids[0], kind="stable")
    rows, blocks = nodes.edge_ids[:, order]
    starts = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
    own = children.reshape(-1, b, children.shape[1])[blocks]  # [E, b, B]
    logs = np.log(nodes.params[order].astype(np.float64))[..., None] + own[:, None]  # [E, sums, children, B]
    top = _finite(np.maximum.reduceat(logs.max(axis=2), starts))
    shifted = np.exp(logs - np.repeat(top, np.diff(np.append(starts, len(rows))), axis=0)[:, :, None]).sum(axis=2)
    return (np.log(np.add.reduceat(shifted, starts)) + top).reshape(nodes.num_nodes, -1)


def _finite(top: np.ndarray) -> np.ndarray:
    return np.where(np.isneginf(top), 0.0, top)
