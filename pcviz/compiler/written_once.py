"""Whether the backward pass on a GPU writes the flow of each node once: then it need neither clear flows nor add to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..ir.nodes import Nodes, ProdNodes
from .layering import factors_of
from .plan import LayerPlan


def flows_written_once(layers: Iterable[Iterable[tuple[Nodes, int]]]) -> bool:
    """``layers``: the element vectors of each layer, with the rows of their blocks. True where every vector is a factor in one layer
    alone, in one launch (of products of one arity and one element block), of products of node i with node i: so in HMM, HCLT and RAT-SPN where
    variables can be halved evenly. In PD a region is a factor in several layers."""
    before: set[int] = set()
    for elements in layers:
        launch_of: dict[int, tuple[int, int]] = {}
        for element, block in elements:
            factors = factors_of(element)
            gathers = isinstance(element, ProdNodes) and element.edge_ids is not None
            launch = len(factors), block
            for factor in factors:
                if gathers or factor.num_nodes != element.num_nodes or launch_of.setdefault(id(factor), launch) != launch:
                    return False
        if not before.isdisjoint(launch_of):
            return False
        before.update(launch_of)
    return True


def elements_with_blocks(layer: LayerPlan) -> Iterator[tuple[Nodes, int]]:
    """Those of a compiled layer."""
    sections = np.array([section.start for section in layer.sections])
    for element, start in layer.elements:
        yield element, layer.sections[int(np.searchsorted(sections, start, side="right")) - 1].width
