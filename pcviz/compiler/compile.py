"""compile: circuit -> plan."""

from __future__ import annotations

import numpy as np

from ..ir.nodes import InputNodes, Nodes
from .arguments import TOLERANCE, checked_block_size, checked_tolerance
from .counting import grouped_inputs
from .indexing import Cursor, forward_groups, index_layer, pass_layer
from .layering import Layering, block_of, layering
from .plan import CircuitPlan, InputGroup, Section, SumGroup


def compile(root: Nodes, *, block_size: int, padding_tolerance: float = TOLERANCE) -> CircuitPlan:  # noqa: A001 (the field's name)
    """Compile the circuit under ``root`` into block-sparse index tensors (paper, section 4.2).

    ``block_size``: power of two from 1 up. ``padding_tolerance``: pseudo edges / stored edges that a layer may reach to
    need fewer launches. Raises CircuitError for a wrong structure and ValueError for wrong arguments.
    """
    block_size = checked_block_size(block_size)
    padding_tolerance = checked_tolerance(padding_tolerance)
    layers = layering(root)
    widest = _widest_block(layers, block_size)
    cursor = Cursor(node_row=widest, param=widest**2, starts={}, tiles={})
    inputs = _lay_out_inputs(layers, block_size, cursor)
    plans = tuple(index_layer(layer, block_size, padding_tolerance, cursor) for layer in layers.layers)
    return CircuitPlan(
        root=root,
        block_size=block_size,
        padding_tolerance=padding_tolerance,
        num_vars=layers.num_vars,
        num_node_rows=-(-cursor.node_row // widest) * widest,
        num_params=-(-cursor.param // widest**2) * widest**2,
        inputs=inputs,
        layers=plans,
        starts=cursor.starts,
    )


def circuit_of(given) -> tuple[Nodes, CircuitPlan | None]:
    """(root, plan) of what stands for a circuit: a root, which has no plan, a plan, or a TensorCircuit, which writes its parameters back
    first. Anything else comes back as it is, for the caller to refuse."""
    plan = given if isinstance(given, CircuitPlan) else getattr(given, "plan", None)
    if not isinstance(plan, CircuitPlan):
        return given, None
    return given.write_back() if hasattr(given, "write_back") else plan.root, plan


def circuit_at(given, block_size: int | None, padding_tolerance) -> tuple:
    """(root, block size, padding tolerance) at which ``given``, see ``circuit_of``, is shown: as asked for, else the plan's; without a plan
    None and 0.25."""
    root, plan = circuit_of(given)
    size, tolerance = (None, TOLERANCE) if plan is None else (plan.block_size, plan.padding_tolerance)
    return root, size if block_size is None else block_size, tolerance if padding_tolerance is None else padding_tolerance


def layer_groups(
    root: Nodes | Layering, layer: int, *, block_size: int, padding_tolerance: float = TOLERANCE
) -> tuple[tuple[SumGroup, ...], tuple[Section, ...]]:
    """``groups`` and ``sections`` of layer ``layer`` (1 is next to the inputs) of the plan that ``compile`` makes, by the same code but
    without the index tensors of the other layers and of the backward pass: for a look at one layer of a large circuit."""
    block_size = checked_block_size(block_size)
    padding_tolerance = checked_tolerance(padding_tolerance)
    layers = root if isinstance(root, Layering) else layering(root)
    widest, chosen = _widest_block(layers, block_size), layers.layers[layer - 1]
    cursor = Cursor(node_row=widest, param=widest**2, starts={}, tiles={})
    _lay_out_inputs(layers, block_size, cursor)
    needed = {id(nodes.storage) for nodes in chosen.sums}
    for below in layers.layers[: layer - 1]:
        pass_layer(below, block_size, padding_tolerance, cursor, needed)
    return forward_groups(chosen, block_size, padding_tolerance, cursor)


def first_rows(layers: Layering, *, block_size: int, padding_tolerance: float = TOLERANCE) -> dict[int, int]:
    """First row in the buffer of node values of every input and sum vector, by its id, as the plan of ``compile`` has them."""
    widest = _widest_block(layers, block_size)
    cursor = Cursor(node_row=widest, param=widest**2, starts={}, tiles={})
    _lay_out_inputs(layers, block_size, cursor)
    for layer in layers.layers:
        pass_layer(layer, block_size, padding_tolerance, cursor, set())
    return cursor.starts


def _widest_block(layers: Layering, block_size: int) -> int:
    """Largest block in use. The null block in front of the nodes has as many rows, the zero block of parameters that
    many squared, so that every block behind them is aligned."""
    vectors = [*layers.inputs, *(nodes for layer in layers.layers for nodes in (*layer.sums, *layer.elements))]
    return block_of(max(nodes.num_nodes for nodes in vectors), block_size)


def _lay_out_inputs(layers: Layering, block_size: int, cursor: Cursor) -> tuple[InputGroup, ...]:
    groups = []
    for (stride, *_), vectors in grouped_inputs(layers.inputs, block_size):
        starts = [cursor.take_rows(nodes, block_of(nodes.num_nodes, block_size)) for nodes in vectors]
        sources: dict[int, InputNodes] = {}
        for nodes in vectors:
            sources.setdefault(id(nodes.storage), nodes)
        number = {key: t for t, key in enumerate(sources)}
        table_ids = np.array([number[id(nodes.storage)] for nodes in vectors])
        groups.append(InputGroup(tuple(vectors), tuple(sources.values()), table_ids, starts[0], stride, min(stride, block_size), vectors[0].dist))
    return tuple(groups)
