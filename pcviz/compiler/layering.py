"""Layers: which sum vectors run together, over which element vectors, in blocks of which size.

A layer is a set of *element vectors* (products; an input or sum vector that a sum reads directly counts as a product of
arity 1) and the sum vectors over them. Sums of equal depth share a layer; an element vector that sums of two layers
read belongs to both.

Block rule: a vector of n nodes has blocks of min(block_size, next power of two >= n). A sum vector reads all its
children in blocks of one size, the largest among them (a shorter vector gets missing rows in the element buffer), and so
do all vectors that share a child with it: one launch then serves them all, instead of one for each width. So do vectors that
are tied to it, in whatever layer: they read the same parameter tiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..ir.checks import check_circuit
from ..ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes
from ..ir.ties import DisjointSets, tie_classes

MAX_SIZES = 9  # block sizes that are offered, 1 to 256


def block_of(num_nodes: int, block_size: int) -> int:
    """Rows of one block of a vector of ``num_nodes`` nodes."""
    return min(block_size, 1 << (num_nodes - 1).bit_length())


def legal_sizes(layers: Layering) -> tuple[int, ...]:
    """Powers of two up to the longest vector of a sum layer (longer blocks would change nothing), nine at most."""
    longest = max(nodes.num_nodes for layer in layers.layers for nodes in (*layer.sums, *layer.elements))
    return tuple(2**i for i in range(min(MAX_SIZES, max(0, longest - 1).bit_length() + 1)))


def num_blocks(num_nodes: int, block: int) -> int:
    return -(-num_nodes // block)


def read_alike(sums: Iterable[SumNodes]) -> bool:
    """Whether sum vectors that share an element vector read all nodes of the same ones."""
    readers: dict[int, frozenset[int]] = {}
    for nodes in sums:
        own = frozenset(map(id, nodes.children))
        if nodes.edge_ids is not None or any(readers.setdefault(child, own) != own for child in own):
            return False
    return True


def factors_of(element: Nodes) -> tuple[Nodes, ...]:
    """The input and sum vectors that an element vector multiplies."""
    return element.children if isinstance(element, ProdNodes) else (element,)


@dataclass(frozen=True, eq=False)
class Layer:
    """Sum vectors of one depth and their element vectors, in order of first use. ``index`` 1 is next to the inputs.

    ``longest``: id of sum or element vector -> nodes of the longest element vector that is read in blocks of the same size.
    """

    index: int
    sums: tuple[SumNodes, ...]
    elements: tuple[Nodes, ...]
    longest: dict[int, int]

    @cached_property
    def arrays(self):
        """The layer as flat arrays, made once: what counting at every block size needs."""
        from .layer_arrays import LayerArrays

        return LayerArrays(self)

    @cached_property
    def reads_alike(self) -> bool:
        return read_alike(self.sums)

    def widths(self, block_size: int) -> tuple[dict[int, int], dict[int, int]]:
        """(sum_block by id of sum vector, child_block by id of sum or element vector) at this block size."""
        sum_block = {id(s): block_of(s.num_nodes, block_size) for s in self.sums}
        return sum_block, {key: block_of(length, block_size) for key, length in self.longest.items()}


@dataclass(frozen=True, eq=False)
class Layering:
    """A checked circuit cut into layers; independent of the block size."""

    root: SumNodes
    inputs: tuple[InputNodes, ...]
    layers: tuple[Layer, ...]

    @cached_property
    def num_vars(self) -> int:
        return self.root.scope.bit_length()

    @cached_property
    def numbering(self):
        """Numbers of the vectors and nodes, made once."""
        from .numbering import Numbering

        return Numbering(self)


def layering(root: Nodes) -> Layering:
    """Check ``root`` and cut it into layers; kept on the root, whose structure never changes. Raises CircuitError."""
    if getattr(root, "layering", None) is None:
        root.layering = _layering(root)
    return root.layering


def _layering(root: Nodes) -> Layering:
    order = check_circuit(root)
    depth: dict[int, int] = {}
    members: dict[int, list[SumNodes]] = {}
    for nodes in order:
        if isinstance(nodes, InputNodes):
            depth[id(nodes)] = 0
        elif isinstance(nodes, ProdNodes):
            depth[id(nodes)] = max(depth[id(child)] for child in nodes.children)
        else:
            depth[id(nodes)] = 1 + max(depth[id(child)] for child in nodes.children)
            members.setdefault(depth[id(nodes)], []).append(nodes)
    longest = _longest(members)
    layers = []
    for index in sorted(members):
        elements = {id(child): child for nodes in members[index] for child in nodes.children}
        layers.append(Layer(index, tuple(members[index]), tuple(elements.values()), longest[index]))
    inputs = tuple(nodes for nodes in order if isinstance(nodes, InputNodes))
    return Layering(root, inputs, tuple(layers))


def _longest(members: dict[int, list[SumNodes]]) -> dict[int, dict[int, int]]:
    """Per layer, ``Layer.longest``. What shares a block size is joined by children within a layer and by ties across layers."""
    ties = tie_classes(nodes for sums in members.values() for nodes in sums)
    every = {child.num_nodes for sums in members.values() for nodes in sums for child in nodes.children}
    if not ties and len(every) == 1:  # most large circuits: whatever is joined, the longest is as long as the others
        length = every.pop()
        return {index: {id(each): length for nodes in sums for each in (nodes, *nodes.children)} for index, sums in members.items()}
    parts, lengths = DisjointSets(), {}
    for index, sums in members.items():
        for nodes in sums:
            for child in nodes.children:
                parts.merge(id(nodes), (index, id(child)))
                lengths[index, id(child)] = child.num_nodes
    for first, *others in ties:
        for other in others:
            parts.merge(id(first), id(other))
    most: dict[object, int] = {}
    for key, length in lengths.items():
        part = parts.find(key)
        most[part] = max(length, most.get(part, 0))
    longest = {index: {id(nodes): most[parts.find(id(nodes))] for nodes in sums} for index, sums in members.items()}
    for index, key in lengths:
        longest[index][key] = most[parts.find((index, key))]
    return longest
