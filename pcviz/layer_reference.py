"""The sum layer of ``figure_5_layer`` in float64, region by region as dense matrix products: no compiler, no plan, no kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .ir.nodes import ProdNodes, SumNodes, init_params, multiply, summate


@dataclass(frozen=True, eq=False)
class ExactLayer:
    """Per region, float64: ``values`` [K, B] natural-log values of its sums; ``element_flows`` [C, B] flows of the products that it
    reads, which are those of their factors too; ``edge_flows`` flows of its edges over the batch, theta included, in canonical shape."""

    regions: tuple[SumNodes, ...]
    values: list[torch.Tensor]
    element_flows: list[torch.Tensor]
    edge_flows: list[np.ndarray]


def regions_of(root: SumNodes) -> tuple[SumNodes, ...]:
    """The vectors of the large layer of a circuit by ``figure_5_layer``."""
    top = root.children[0]
    return top.children if isinstance(top, ProdNodes) else (top,)


def exact_layer(root: SumNodes, x: np.ndarray, device: str = "cpu") -> ExactLayer:
    """Values and flows (paper, sections 2 and 5) of the layer for ``x`` [B, V]; parameters are those of the vectors."""
    init_params(root)
    regions, x = regions_of(root), torch.as_tensor(x, device=device)
    weights = [torch.as_tensor(_dense(region), device=device) for region in regions]
    values = [_sums(theta, *_products(region, x)) for region, theta in zip(regions, weights)]
    joint = sum(values) + torch.as_tensor(root.params[0], dtype=torch.float64, device=device).log()[:, None]
    flows = (joint - joint.logsumexp(dim=0)).exp()  # [K, B] of the sums: alike for all regions
    element_flows, edge_flows = [], []
    for region, theta, own in zip(regions, weights, values):
        p, top = _products(region, x)
        ratios = flows * (top - own).exp()  # F / p of the sums, on the scale of p
        element_flows.append(p * (theta.T @ ratios))
        edge_flows.append(_canonical(region, (theta * (ratios @ p.T)).cpu().numpy()))
    return ExactLayer(regions, values, element_flows, edge_flows)


def coarse_edges(nodes: SumNodes, edges: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """(edge_ids, values [E', block, block]) of ``edges`` [E, b, b], values of the edges of ``nodes``, put together to wider blocks;
    0 where ``nodes`` has no edge."""
    wide, columns = block // nodes.edge_block, nodes.num_children // block
    sums, children = nodes.edge_ids
    found, at = np.unique(sums // wide * columns + children // wide, return_inverse=True)
    tiles = np.zeros((len(found), wide, nodes.edge_block, wide, nodes.edge_block), dtype=edges.dtype)
    tiles[at, sums % wide, :, children % wide] = edges
    return np.stack([found // columns, found % columns]), tiles.reshape(-1, block, block)


def coarse_circuit(root: SumNodes, block: int) -> SumNodes:
    """The same circuit with every region's edges at least ``block`` wide: of libraries that know no finer ones than their blocks."""
    init_params(root)
    regions = [_coarse(region, block) for region in regions_of(root)]
    same = summate(multiply(*regions) if len(regions) > 1 else regions[0], num_nodes=1)
    same.params = root.params.copy()
    return same


def _coarse(nodes: SumNodes, block: int) -> SumNodes:
    if nodes.edge_ids is None or nodes.edge_block >= block:
        return nodes
    edge_ids, params = coarse_edges(nodes, nodes.params, block)
    same = summate(*nodes.children, num_nodes=nodes.num_nodes, edge_ids=edge_ids, edge_block=block, name=nodes.name)
    same.params = params
    return same


def _products(region: SumNodes, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(values [C, B] of a region's products divided by the largest, its natural logarithm [B])."""
    logs = torch.cat([sum(_inputs(factor, x) for factor in product.children) for product in region.children])
    top = logs.amax(dim=0)
    return (logs - top).exp(), top


def _inputs(nodes, x: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(nodes.params, dtype=torch.float64, device=x.device).log()[:, x[:, nodes.var]]


def _sums(theta: torch.Tensor, p: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    return (theta @ p).log() + top


def _dense(nodes: SumNodes) -> np.ndarray:
    """[M, C] parameters, 0 where there is no edge."""
    params = nodes.params.astype(np.float64)
    return params if nodes.edge_ids is None else _blocks(nodes, np.zeros((nodes.num_nodes, nodes.num_children)), params)


def _blocks(nodes: SumNodes, dense: np.ndarray, params: np.ndarray) -> np.ndarray:
    b = nodes.edge_block
    dense.reshape(nodes.num_nodes // b, b, -1, b)[nodes.edge_ids[0], :, nodes.edge_ids[1]] = params
    return dense


def _canonical(nodes: SumNodes, dense: np.ndarray) -> np.ndarray:
    b = nodes.edge_block
    return dense if nodes.edge_ids is None else dense.reshape(nodes.num_nodes // b, b, -1, b)[nodes.edge_ids[0], :, nodes.edge_ids[1]]
