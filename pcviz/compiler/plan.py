"""The records that compilation produces: a summary of counts, and the plan with its index tensors.

Shape legend: G sum blocks of a group, E child blocks per sum block (after padding), M rows of a sum block
(``sum_block``), K rows of a child block (``child_block``); C child blocks of a backward group, R parents of each.

Paddings, counted in *edges* (cells of the parameter matrix):

- ``absent_edges``: cells of a stored block that the circuit does not connect (the block grid is coarser than the circuit);
- ``missing_edges``: cells of a stored block that lie in a missing row or column (a vector whose length is no multiple of its block);
- ``pseudo_edges``: cells of the pseudo blocks that even out a group. The padding tolerance is about these alone.

``edges + absent_edges + missing_edges == stored_edges``, and the kernels multiply ``stored_edges + pseudo_edges`` cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..ir.distributions import Distribution, Gaussian
from ..ir.nodes import InputNodes, Nodes, SumNodes
from .layering import block_of
from .tiles import TileGrid


@dataclass(frozen=True)
class GroupSummary:
    """Counts of one forward group: one launch of the sum kernel."""

    sum_block: int  # M, rows of a sum block
    child_block: int  # K, rows of a child block
    num_sum_blocks: int  # G
    num_child_blocks: int  # E, after padding
    stored_blocks: int  # blocks of the circuit; G * E - stored_blocks are pseudo
    edges: int
    missing_edges: int
    tied_blocks: int = 0  # stored blocks whose parameters another block of the launch has already
    tied_sum_blocks: int = 0  # sum blocks of which that is true
    updated_elsewhere: int = 0  # stored blocks whose parameters a sum block before them in the plan has already: EM updates them there
    sum_blocks_updated_elsewhere: int = 0  # sum blocks of which that is true

    @property
    def absent_edges(self) -> int:
        return self.stored_edges - self.missing_edges - self.edges

    @property
    def pseudo_blocks(self) -> int:
        return self.num_sum_blocks * self.num_child_blocks - self.stored_blocks

    @property
    def stored_edges(self) -> int:
        return self.stored_blocks * self.sum_block * self.child_block

    @property
    def pseudo_edges(self) -> int:
        return self.pseudo_blocks * self.sum_block * self.child_block


@dataclass(frozen=True)
class BackwardGroupSummary:
    """Counts of one backward group: one launch of the element-flow kernel. Parents of a child block are sum blocks."""

    sum_block: int  # M
    child_block: int  # K
    num_child_blocks: int  # C
    num_parents: int  # R, after padding
    stored_blocks: int
    tied_blocks: int = 0  # stored blocks whose parameters another block of the launch has already

    @property
    def pseudo_blocks(self) -> int:
        return self.num_child_blocks * self.num_parents - self.stored_blocks


@dataclass(frozen=True)
class FactorSummary:
    """Counts of one launch that hands flows of products to their factors: ``runs`` of ``width`` node rows, each a factor somewhere,
    and ``parents``, the runs of products that all of them together are factors of."""

    width: int
    runs: int
    parents: int


@dataclass(frozen=True)
class InputSummary:
    """Counts of one launch of input vectors, of ``stride`` rows each; tied ones share a table. ``num_cats``: 0 for Gaussian inputs."""

    stride: int
    num_vectors: int
    num_tables: int
    num_cats: int


@dataclass(frozen=True)
class LayerSummary:
    """Counts of one layer: products (elements) first, then the sums over them."""

    index: int  # 1 is the layer next to the inputs
    num_sum_vectors: int
    num_sums: int
    num_sum_rows: int  # with missing rows
    num_product_vectors: int
    num_products: int
    num_element_rows: int  # with missing rows
    edges: int
    absent_edges: int
    missing_edges: int
    groups: tuple[GroupSummary, ...]
    backward_groups: tuple[BackwardGroupSummary, ...]
    product_launches: int
    arity: int = 2  # of the product with most factors, at least 2
    element_units: int = 0  # runs of rows that share a log-scale in impl="triton" (pcviz_kernels.tuned.unit_rows), the null block's included
    factors: tuple[FactorSummary, ...] = ()
    unread_blocks: int = 0  # child blocks that only sums of other layers read
    level: bool = False  # sums that share an element vector read all nodes of the same ones, in blocks that tensor cores take

    @property
    def stored_edges(self) -> int:
        return sum(group.stored_edges for group in self.groups)

    @property
    def pseudo_edges(self) -> int:
        return sum(group.pseudo_edges for group in self.groups)

    @property
    def pseudo_blocks(self) -> int:
        return sum(group.pseudo_blocks for group in self.groups)

    @property
    def stored_blocks(self) -> int:
        return sum(group.stored_blocks for group in self.groups)


@dataclass(frozen=True)
class PlanSummary:
    """Counts of a whole plan; equal for ``plan_summary(...)`` and ``compile(...).summary``, by test."""

    block_size: int
    padding_tolerance: float
    num_vars: int
    num_input_vectors: int
    num_input_nodes: int
    input_launches: int
    layers: tuple[LayerSummary, ...]
    inputs: tuple[InputSummary, ...] = ()
    flows_written_once: bool = False  # see written_once.py

    def total(self, name: str) -> int:
        """Sum of a count over all layers, e.g. ``total("pseudo_edges")``."""
        return sum(getattr(layer, name) for layer in self.layers)

    @property
    def num_groups(self) -> int:
        return sum(len(layer.groups) for layer in self.layers)

    @property
    def sum_launches(self) -> int:
        """Launches of the sum kernel in a forward pass: one per group."""
        return self.num_groups

    @property
    def forward_launches(self) -> int:
        """All launches of a forward pass: inputs, products, sums."""
        return self.input_launches + self.total("product_launches") + self.num_groups

    @property
    def padding_share(self) -> float:
        """Share of multiplied cells that are no edge of the circuit (absent + missing + pseudo)."""
        cells = self.total("stored_edges") + self.total("pseudo_edges")
        return 1 - self.total("edges") / cells

    def __str__(self):
        from .report import report_text

        return report_text(self)

    def _repr_html_(self):
        from .report import report_html

        return report_html(self)


@dataclass(frozen=True, eq=False)
class InputGroup:
    """Input vectors of equal block, length and number of categories (or all Gaussian): one launch.

    ``vectors`` in the order of their rows; ``start`` is the first row of the node buffer; each takes ``stride`` rows, in
    blocks of ``block``. ``dist`` stands for all of them; they differ at most in what initial parameters are drawn from.
    Tied vectors read one table: ``table_ids`` [V] is that of each vector, ``sources`` [T] the first vector of each table.
    """

    vectors: tuple[InputNodes, ...]
    sources: tuple[InputNodes, ...]
    table_ids: np.ndarray
    start: int
    stride: int
    block: int
    dist: Distribution

    @property
    def num_params(self) -> int:
        """Parameters of a node: categories, or mean and standard deviation."""
        return self.dist.num_params

    @property
    def num_flows(self) -> int:
        """Entries of a node that flows are summed into: categories, or three moments."""
        return 3 if self.is_gaussian else self.dist.num_params

    @property
    def is_gaussian(self) -> bool:
        return isinstance(self.dist, Gaussian)


@dataclass(frozen=True, eq=False)
class ProductGroup:
    """Products of one arity, gathered in runs of ``width`` rows into element blocks of ``element_block``: one launch.

    ``eids`` [n]: first element row of each run; ``cids`` [n, arity]: first node row of each child's run.
    Backward, per node run that is a child here: ``nids`` [m] its first node row, ``parids`` (``offsets`` [m + 1], CSR)
    the element runs it feeds.
    """

    width: int
    element_block: int
    eids: np.ndarray
    cids: np.ndarray
    nids: np.ndarray
    parids: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, eq=False)
class SumGroup:
    """One launch of the sum kernel: G sum blocks with E child blocks each.

    ``nids`` [G] first node row of each sum block; ``cids`` [G, E] first element row of each child block (0: the null
    block, a pseudo block); ``pids`` [G, E] first entry of its parameters in the flat buffer (0: the zero block). A
    block's parameters are stored child-major, [K, M]: one sum block's matrix is [E * K, M].

    Tied sum blocks have the same ``pids``. ``first_use`` [G]: no sum block before it in the plan has them (EM updates them
    here); ``repeats``: two sum blocks of this launch have the same.
    """

    sum_block: int
    child_block: int
    nids: np.ndarray
    cids: np.ndarray
    pids: np.ndarray
    first_use: np.ndarray
    repeats: bool


@dataclass(frozen=True, eq=False)
class BackwardGroup:
    """One launch of the element-flow kernel: C child blocks with R parent blocks each.

    ``chids`` [C] first element row; ``parids`` [C, R] first node row of each parent sum block (0: pseudo);
    ``parpids`` [C, R] first entry of the parameters between them (0: the zero block).
    """

    sum_block: int
    child_block: int
    chids: np.ndarray
    parids: np.ndarray
    parpids: np.ndarray


@dataclass(frozen=True, eq=False)
class SumSlot:
    """Where one sum vector lives: ``grid`` its tiles, ``start`` its first node row, ``tile_pids`` its parameters.

    ``tile_pids`` [T] in the grid's tile order: first entry of each tile, [child_block, sum_block] child-major. Tied vectors
    have the same tiles; ``first_use``: no vector before it in the plan has them.
    """

    grid: TileGrid
    start: int
    tile_pids: np.ndarray
    first_use: bool


@dataclass(frozen=True, eq=False)
class Section:
    """A run of element rows in blocks of one width: rows start .. start + width * count; one log-scale a block."""

    start: int
    width: int
    count: int


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer: product groups fill an element buffer, sum groups read it.

    The element buffer has ``num_element_rows`` rows; the first section is one null block (log p = -inf), which pseudo
    blocks read. ``elements``: (element vector, its first row).
    """

    products: tuple[ProductGroup, ...]
    groups: tuple[SumGroup, ...]
    backward_groups: tuple[BackwardGroup, ...]
    sections: tuple[Section, ...]
    num_element_rows: int
    sums: tuple[SumSlot, ...]
    elements: tuple[tuple[Nodes, int], ...]


@dataclass(frozen=True, eq=False)
class CircuitPlan:
    """A circuit compiled at one block size. Built by ``compile``; frozen: ``pc.recompile`` makes another one."""

    root: SumNodes
    block_size: int
    padding_tolerance: float
    num_vars: int
    num_node_rows: int  # the first rows are the null block (log p = -inf)
    num_params: int  # entries of the flat parameter buffer; a zero block in front
    inputs: tuple[InputGroup, ...]
    layers: tuple[LayerPlan, ...]
    starts: dict[int, int] = field(repr=False)  # id of input or sum vector -> its first node row

    @cached_property
    def summary(self) -> PlanSummary:
        """Counts read off the index tensors."""
        from .counting import summary_of_plan

        return summary_of_plan(self)

    def rows_of(self, nodes: Nodes) -> slice:
        """Node rows of an input or sum vector (without its missing rows)."""
        start = self.starts.get(id(nodes))
        if start is None:
            raise ValueError(f"{nodes!r} is no input or sum vector of this circuit.")
        return slice(start, start + nodes.num_nodes)

    def node_vectors(self) -> Iterator[InputNodes | SumNodes]:
        """The vectors that have node rows: inputs, then sums layer by layer."""
        yield from (nodes for group in self.inputs for nodes in group.vectors)
        yield from (slot.grid.nodes for layer in self.layers for slot in layer.sums)

    def block_starts(self) -> np.ndarray:
        """[num_node_rows] first row of the block that each node row lies in."""
        starts = np.zeros(self.num_node_rows, dtype=np.int64)
        for nodes in self.node_vectors():
            rows, block = self.rows_of(nodes), block_of(nodes.num_nodes, self.block_size)
            starts[rows] = rows.start + np.arange(nodes.num_nodes) // block * block
        return starts

    def __str__(self):
        return str(self.summary)

    __repr__ = __str__  # not the arrays, which may have millions of entries

    def _repr_html_(self):
        return self.summary._repr_html_()
