"""Node vectors, the symbolic circuit: inputs, multiply, summate.

A circuit is a DAG of *node vectors*; one vector holds ``num_nodes`` nodes of one kind and one scope. The verbs follow
PyJuice. Nothing here touches a device: edges are numpy index arrays, parameters are numpy arrays in canonical form, and
the compiler turns both into the block layout of a plan. Vectors may share parameters: ``duplicate(..., tie_params=True)``.

Shape legend: M sums of a vector, C children (all child vectors end to end), E edges, b edge block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..arguments import is_integer
from .arrays import CircuitError, check_params, check_range, float_array, index_array
from .distributions import Distribution, random_weights, wrong_weights
from .names import readable
from .threads import for_each


class Nodes:
    """One vector of nodes. ``scope`` is a bit mask: bit v is set when variable v is in scope."""

    kind = "nodes"
    seed = 0  # of the initial parameters; builders set it on the root
    layering = None  # of the circuit under this root, kept by the compiler

    def __init__(self, num_nodes: int, children: tuple[Nodes, ...], scope: int, name: str | None):
        if not isinstance(name, (str, type(None))):
            raise CircuitError(f"{self.kind} over variables {describe_scope(scope)}: name must be text or None, got {name!r}.")
        self.name = name
        if not is_integer(num_nodes, 1):
            raise CircuitError(f"{self.label} over variables {describe_scope(scope)}: num_nodes must be an integer of at least 1, got {num_nodes!r}.")
        self.num_nodes = int(num_nodes)
        self.children = children
        self.scope = scope

    @property
    def variables(self) -> tuple[int, ...]:
        """Variables in scope, ascending."""
        bits = self.scope
        return tuple(v for v in range(bits.bit_length()) if bits >> v & 1)

    def __repr__(self):
        return f"{type(self).__name__}({self.label}, num_nodes={self.num_nodes}, scope={describe_scope(self.scope)})"

    @property
    def label(self) -> str:
        """The vector's name as it may be shown, else its kind."""
        return readable(self.name) if self.name else self.kind


class ParamNodes(Nodes):
    """A vector with parameters: its own, or those of ``tied_to``, the vector that it was duplicated from.

    A *tie class* is a source and its tied duplicates. It has one array, kept by the source, that all of them read and write
    as ``params``; ``tied_to`` is never tied itself. The source need not be part of the circuit.
    """

    tied_to: ParamNodes | None = None
    _params: np.ndarray | None = None

    @property
    def storage(self) -> ParamNodes:
        """The vector that keeps the parameters: the same one for a whole tie class."""
        return self.tied_to or self

    @property
    def params(self) -> np.ndarray | None:
        return self.storage._params

    @params.setter
    def params(self, params: np.ndarray | None) -> None:
        self.storage._params = params

    def _share(self, copy: ParamNodes, tie_params: bool) -> None:
        """Give a duplicate of this vector its parameters: these very ones, or a copy of them."""
        if tie_params:
            copy.tied_to = self.storage
        elif self.params is not None:
            copy.params = self.params.copy()


class InputNodes(ParamNodes):
    """``num_nodes`` distributions over variable ``var``. ``params``: what ``dist`` says, or None until initialised."""

    kind = "input"

    def __init__(self, var: int, num_nodes: int, dist: Distribution, params=None, name: str | None = None):
        if not is_integer(var, 0):
            raise CircuitError(f"inputs(var=...) expects a variable index of 0 or more, got {var!r}.")
        if not isinstance(dist, Distribution):
            raise CircuitError(f"inputs(var={var}): dist must be a distribution such as pcv.Categorical(num_cats=17), got {dist!r}.")
        super().__init__(num_nodes, (), 1 << int(var), name)
        self.var = int(var)
        self.dist = dist
        if params is not None:
            self.params = float_array(params, (self.num_nodes, dist.num_params), repr(self))
            check_params(dist.wrong_params(self.params), repr(self))

    @property
    def num_params(self) -> int:
        """Entries of ``params``."""
        return self.num_nodes * self.dist.num_params

    def duplicate(self, var: int | None = None, *, tie_params: bool = False, name: str | None = None) -> InputNodes:
        """The same distributions over variable ``var`` (None: over this one): with ``tie_params`` the parameters are shared,
        else copied."""
        copy = InputNodes(self.var if var is None else var, self.num_nodes, self.dist, None, name)
        self._share(copy, tie_params)
        return copy


class ProdNodes(Nodes):
    """Products. ``edge_ids`` [num_nodes, arity]: product i multiplies node ``edge_ids[i, a]`` of child vector a.

    None stands for the identity: product i multiplies node i of every child vector.
    """

    kind = "product"

    def __init__(self, children, edge_ids=None, name: str | None = None):
        children = _child_vectors(children, "multiply")
        scope = _disjoint_scope(children)
        if edge_ids is not None:
            edge_ids = self._checked_edges(edge_ids, children, f"multiply over variables {describe_scope(scope)}")
        elif len({child.num_nodes for child in children}) > 1:
            sizes = ", ".join(str(child.num_nodes) for child in children)
            raise CircuitError(
                f"multiply over variables {describe_scope(scope)}: child vectors have {sizes} nodes; without edge_ids they must be equally long."
            )
        super().__init__(len(edge_ids) if edge_ids is not None else children[0].num_nodes, children, scope, name)
        self.edge_ids = edge_ids

    @staticmethod
    def _checked_edges(edge_ids, children: tuple[Nodes, ...], where: str) -> np.ndarray:
        edge_ids = index_array(edge_ids, f"{where}: edge_ids")
        if edge_ids.ndim != 2 or edge_ids.shape[1] != len(children):
            expected = f"[num_nodes, {len(children)}], one column per child vector"
            raise CircuitError(f"{where}: edge_ids must have shape {expected}, got {list(edge_ids.shape)}.")
        for a, child in enumerate(children):
            check_range(edge_ids[:, a], child.num_nodes, f"{where}: column {a} of edge_ids, child {child!r}")
        return edge_ids

    @property
    def arity(self) -> int:
        return len(self.children)

    def duplicate(self, *children: Nodes, name: str | None = None) -> ProdNodes:
        """The same products over ``children`` (none given: over the same ones)."""
        return ProdNodes(_matching_children(self, children), self.edge_ids, name)


class SumNodes(ParamNodes):
    """``num_nodes`` sums over the nodes of all child vectors, end to end.

    ``edge_ids`` [2, E] (row 0 sum blocks, row 1 child blocks) connects blocks of ``edge_block`` nodes; each child vector
    contributes num_nodes / edge_block blocks. None stands for fully connected. ``params``, canonical: [M, C] when fully
    connected, else [E, edge_block, edge_block] (sums x children), float32, or None until initialised.
    """

    kind = "sum"

    def __init__(self, children, num_nodes: int, edge_ids=None, edge_block: int = 1, params=None, name: str | None = None):
        children = _child_vectors(children, "summate")
        _check_smooth(children)
        _check_distinct(children)
        super().__init__(num_nodes, children, children[0].scope, name)
        if not is_integer(edge_block, 1):
            raise CircuitError(f"{self.where}: edge_block must be an integer of at least 1, got {edge_block!r}.")
        self.edge_block = int(edge_block)
        self.num_children = sum(child.num_nodes for child in children)
        self.edge_ids = None if edge_ids is None else self._checked_edges(edge_ids)
        if params is not None:
            self.params = float_array(params, self.param_shape, repr(self))
            check_params(wrong_weights(self.params), repr(self))

    @property
    def param_shape(self) -> tuple[int, ...]:
        if self.edge_ids is None:
            return (self.num_nodes, self.num_children)
        return (self.edge_ids.shape[1], self.edge_block, self.edge_block)

    @property
    def num_edges(self) -> int:
        return math.prod(self.param_shape)

    num_params = num_edges

    @property
    def where(self) -> str:
        return f"summate over variables {describe_scope(self.scope)}"

    def duplicate(self, *children: Nodes, tie_params: bool = False, name: str | None = None) -> SumNodes:
        """The same sums over ``children``, which must be as long as the present ones (none given: over the same ones).

        With ``tie_params`` the parameters are shared, else copied.
        """
        copy = SumNodes(_matching_children(self, children), self.num_nodes, self.edge_ids, self.edge_block, None, name)
        self._share(copy, tie_params)
        return copy

    def _checked_edges(self, edge_ids) -> np.ndarray:
        where, b = self.where, self.edge_block
        edge_ids = index_array(edge_ids, f"{where}: edge_ids")
        if edge_ids.ndim != 2 or edge_ids.shape[0] != 2:
            raise CircuitError(f"{where}: edge_ids must have shape [2, E] (sum blocks, child blocks), got {list(edge_ids.shape)}.")
        for nodes in (self, *self.children):
            if nodes.num_nodes % b:
                raise CircuitError(f"{where}: edge_block {b} must divide the length of every vector; {nodes!r} has {nodes.num_nodes} nodes.")
        num_child_blocks = self.num_children // b
        check_range(edge_ids[0], self.num_nodes // b, f"{where}: sum blocks (row 0 of edge_ids)")
        check_range(edge_ids[1], num_child_blocks, f"{where}: child blocks (row 1 of edge_ids)")
        keys, counts = np.unique(edge_ids[0] * num_child_blocks + edge_ids[1], return_counts=True)
        if len(keys) < edge_ids.shape[1]:
            first = int(np.argmax(counts > 1))
            row, col = divmod(int(keys[first]), num_child_blocks)
            raise CircuitError(f"{where}: edge from sum block {row} to child block {col} is given {counts[first]} times; give each edge once.")
        empty = np.setdiff1d(np.arange(self.num_nodes // b), edge_ids[0])
        if len(empty):
            raise CircuitError(f"{where}: sum block {int(empty[0])} has no edge ({len(empty)} such blocks); every sum needs a child.")
        return edge_ids


def inputs(var: int, *, num_nodes: int, dist: Distribution, params=None, name: str | None = None) -> InputNodes:
    """A vector of ``num_nodes`` input nodes over variable ``var`` (from 0 up), all with distribution ``dist``.

    params: [num_nodes, dist.num_params], probabilities [num_nodes, num_cats] of a Categorical, mean and standard deviation
    [num_nodes, 2] of a Gaussian; None: random ones when they are needed. Raises CircuitError for anything else.
    """
    return InputNodes(var, num_nodes, dist, params, name)


def multiply(*children: Nodes, edge_ids=None, name: str | None = None) -> ProdNodes:
    """A vector of products, one factor from each of ``children`` (inputs or sums).

    edge_ids: integers [num_nodes, children]: product i multiplies node ``edge_ids[i, a]`` of child vector a. None: node i of
    each, which are then equally long. Raises CircuitError, also when two children share a variable.
    """
    return ProdNodes(children, edge_ids, name)


def summate(*children: Nodes, num_nodes: int, edge_ids=None, edge_block: int = 1, params=None, name: str | None = None) -> SumNodes:
    """A vector of ``num_nodes`` sums over the nodes of ``children`` (products, inputs or sums), all vectors end to end.

    edge_ids: integers [2, E], sum blocks over child blocks, of ``edge_block`` nodes each; None: fully connected.
    params: [num_nodes, children's nodes] where fully connected, else [E, edge_block, edge_block] (sums x children), not negative;
    None: random ones when they are needed. Raises CircuitError, also when children are over different variables.
    """
    return SumNodes(children, num_nodes, edge_ids, edge_block, params, name)


def topological(root: Nodes) -> list[Nodes]:
    """Every vector that ``root`` reaches, children before parents, in a deterministic order."""
    order, done, stack = [], set(), [(root, iter(root.children))]
    open_ids = {id(root)}
    while stack:
        nodes, remaining = stack[-1]
        child = next(remaining, None)
        if child is None:
            stack.pop()
            done.add(id(nodes))
            order.append(nodes)
        elif id(child) not in done and id(child) not in open_ids:
            open_ids.add(id(child))
            stack.append((child, iter(child.children)))
    return order


def sum_vectors(root: Nodes) -> Iterator[SumNodes]:
    return (nodes for nodes in topological(root) if isinstance(nodes, SumNodes))


def input_vectors(root: Nodes) -> Iterator[InputNodes]:
    return (nodes for nodes in topological(root) if isinstance(nodes, InputNodes))


def init_params(root: Nodes, seed: int | None = None, *, overwrite: bool = False) -> None:
    """Give random normalised parameters to every vector that has none (to all of them with ``overwrite``).

    ``seed`` None: the seed that the root was built with. Tied vectors are given theirs once.
    """
    keepers: dict[int, ParamNodes] = {}
    for nodes in topological(root):
        if isinstance(nodes, ParamNodes) and (nodes.params is None or overwrite):
            keepers.setdefault(id(nodes.storage), nodes)
    generators = np.random.default_rng(root.seed if seed is None else seed).spawn(len(keepers))
    for_each(lambda pair: _init_vector(*pair), zip(keepers.values(), generators), sum(nodes.num_params for nodes in keepers.values()))


def _init_vector(nodes: ParamNodes, rng: np.random.Generator) -> None:
    if isinstance(nodes, InputNodes):
        nodes.params = nodes.dist.init_params(nodes.num_nodes, rng)
    else:
        weights = random_weights(nodes.param_shape, rng)
        weights /= edge_totals(nodes, weights)
        nodes.params = weights


def normalise_edges(nodes: SumNodes, weights: np.ndarray) -> np.ndarray:
    """``weights`` (canonical shape, not negative) scaled so that each sum's parameters sum to 1; float32."""
    return np.divide(weights, edge_totals(nodes, weights)).astype(np.float32, copy=False)


def edge_totals(nodes: SumNodes, weights: np.ndarray) -> np.ndarray:
    """Total of each sum's ``weights`` (canonical shape), shaped to divide them by it; same dtype."""
    if nodes.edge_ids is None:
        return weights.sum(axis=1, keepdims=True)
    totals = np.zeros((nodes.num_nodes // nodes.edge_block, nodes.edge_block))
    np.add.at(totals, nodes.edge_ids[0], np.einsum("eij->ei", weights))
    return totals[nodes.edge_ids[0]][:, :, None].astype(weights.dtype)


def describe_scope(scope: int, most: int = 6) -> str:
    """'{0, 1, 2}', shortened to the first ``most`` variables."""
    shown, rest = [], scope
    while rest and len(shown) < most:
        lowest = rest & -rest
        shown.append(str(lowest.bit_length() - 1))
        rest ^= lowest
    return "{" + ", ".join(shown) + (f", ... {scope.bit_count()} variables" if rest else "") + "}"


def _child_vectors(children, verb: str) -> tuple[Nodes, ...]:
    if not children:
        raise CircuitError(f"{verb}: expects at least one child vector, got none.")
    for child in children:
        if not isinstance(child, Nodes):
            raise CircuitError(f"{verb}: children must be node vectors (from pcv.inputs, pcv.multiply, pcv.summate), got {type(child).__name__}.")
    return tuple(children)


def _matching_children(nodes: Nodes, children: tuple[Nodes, ...]) -> tuple[Nodes, ...]:
    """Children for a duplicate of ``nodes``: as many vectors, each as long as the one it stands for."""
    children = _child_vectors(children or nodes.children, "duplicate")
    lengths, expected = ([child.num_nodes for child in vectors] for vectors in (children, nodes.children))
    if lengths != expected:
        raise CircuitError(f"duplicate of {nodes!r}: expects {len(expected)} child vectors of {expected} nodes, got {len(lengths)} of {lengths}.")
    return children


def _disjoint_scope(children: tuple[Nodes, ...]) -> int:
    """Union of the children's scopes; a product must be decomposable (no variable occurs twice) and no product of products."""
    scope = 0
    for child in children:
        if isinstance(child, ProdNodes):
            raise CircuitError(f"multiply: child {child!r} is itself a product; multiply its children directly or put a summate between.")
        if scope & child.scope:
            shared = describe_scope(scope & child.scope)
            raise CircuitError(f"not decomposable: multiply would combine children that share variables {shared}; child {child!r} and one before it.")
        scope |= child.scope
    return scope


def _check_smooth(children: tuple[Nodes, ...]) -> None:
    """A sum must be smooth: all children have the same scope."""
    first = children[0]
    for child in children:
        if child.scope != first.scope:
            raise CircuitError(
                f"not smooth: summate over children with different scopes; {first!r} has {describe_scope(first.scope & ~child.scope)} "
                f"that {child!r} lacks, and lacks {describe_scope(child.scope & ~first.scope)}."
            )


def _check_distinct(children: tuple[Nodes, ...]) -> None:
    """A sum lists each child vector once: two edges to one node are one edge whose parameters are added."""
    seen = set()
    for child in children:
        if id(child) in seen:
            raise CircuitError(f"summate over variables {describe_scope(child.scope)}: child {child!r} is given twice; give each vector once.")
        seen.add(id(child))
