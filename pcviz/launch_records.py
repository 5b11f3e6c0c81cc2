"""Records of a launch trace: what one kernel launch reads and writes, and a sequence of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pcviz_kernels.config import LaunchConfig, default_config

from .compiler.plan import BackwardGroupSummary, GroupSummary, LayerSummary

Config = LaunchConfig | Mapping[str, LaunchConfig] | Callable[..., LaunchConfig] | None

PASSES = {"forward": ("forward",), "backward": ("element_flows", "param_flows"), "em": ("em",)}
INDEX_BYTES = 4  # index tensors are int32 unless they need more
PASS_OF = {phase: name for name, phases in PASSES.items() for phase in phases}


@dataclass(frozen=True)
class Operand:
    """One array of a launch. All figures are entries (not bytes), over all programs.

    loads, stores: entries requested by the programs; unique: distinct entries among them (parameters of tied blocks are
    counted once, the null block that pseudo blocks read not at all); reuse_span: entries that the launch touches between two
    loads of the same entry, in the order of its programs. ``formula``: how ``loads`` comes about, with the numbers put in.

    Where the kernel fixes how an entry is stored, ``entry_bytes`` says it, and reuse_span is in bytes; else the precision does.
    ``l2_loads``: loads that pass from L2, where that is not all of them; ``shared_by_row``: the programs along the axis that runs
    fastest load the same entries, so that L1 may still hold them when a multiprocessor takes the next one.
    """

    name: str
    loads: int
    stores: int
    unique: int
    reuse_span: int
    formula: str
    is_index: bool = False
    entry_bytes: int | None = None
    l2_loads: int | None = None
    shared_by_row: bool = False

    def width(self, size: int) -> int:
        """Bytes of one entry, those of values and parameters having ``size``; flows of parameters add up over the data set and
        stay in 4 bytes."""
        if self.entry_bytes is not None:
            return self.entry_bytes
        return INDEX_BYTES if self.is_index else 4 if self.name == "parameter flows" else size

    def span_bytes(self, size: int) -> int:
        """Bytes between two loads of the same entry."""
        return self.reuse_span * (size if self.entry_bytes is None else 1)

    def from_l2(self, columns: int, num_sms: int) -> int:
        """Loads that pass from L2. With S multiprocessors a program's successor is S programs later: in the same row of C programs
        with probability (C - S) / C."""
        loads = self.loads if self.l2_loads is None else self.l2_loads
        return loads - loads * max(0, columns - num_sms) // columns if self.shared_by_row else loads


@dataclass(frozen=True)
class Launch:
    """One kernel launch. ``grid``: programs along the axis that runs fastest, and along the other one.

    A launch that runs (triton_trace.py) names its ``kernel`` and the pass it belongs to; it may have other phases, which multiply
    no parameters: their blocks and tiles are those of the rows that they own.
    """

    phase: str  # "forward", "element_flows", "param_flows", "em"; see above
    layer: int  # 1 is the layer next to the inputs
    group: int  # position among the layer's groups (element_flows: its backward groups)
    config: LaunchConfig
    sum_block: int  # M
    child_block: int  # K
    num_blocks: int  # G; element_flows: C
    fan_in: int  # E; element_flows: R parents
    stored_blocks: int
    batch_size: int  # B
    grid: tuple[int, int]
    steps: int  # steps of one program
    operands: tuple[Operand, ...]
    kernel: str = ""
    in_pass: str = ""
    num_exponentials: int | None = None
    num_operations: int = 0  # of a launch that multiplies no matrices

    @property
    def direction(self) -> str:
        """The pass: "forward", "backward" or "em"."""
        return self.in_pass or PASS_OF[self.phase]

    @property
    def of_sums(self) -> bool:
        """Whether it is one of a sum layer's own: a matrix product, or the update of its parameters by EM."""
        return self.phase in PASS_OF

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies parameters, values or flows as matrices."""
        return self.of_sums and self.phase != "em"

    @property
    def in_float32(self) -> bool:
        """Whether it is a Triton launch that multiplies float32 parameters forward, on CUDA cores (variant "float32")."""
        return bool(self.kernel) and self.phase == "forward" and self.operand("parameters").entry_bytes == 4

    @property
    def programs(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def total_steps(self) -> int:
        return self.programs * self.steps

    @property
    def cells(self) -> int:
        """Cells of the parameter matrix that the launch multiplies, pseudo blocks included."""
        return self.num_blocks * self.fan_in * self.sum_block * self.child_block if self.multiplies else 0

    @property
    def flops(self) -> int:
        """2 x cells x B: one multiply-add per cell and sample in each of the three phases; of EM its operations."""
        return 2 * self.cells * self.batch_size if self.multiplies else self.num_operations

    @property
    def tile_flops(self) -> int:
        """Operations of whole tiles, with the lanes that are masked off: 2 x steps x tile_m x tile_k x tile_b."""
        tile = self.config
        return 2 * self.total_steps * tile.tile_m * tile.tile_k * tile.tile_b if self.multiplies else self.num_operations

    @property
    def gathered(self) -> int:
        """Rows that a step gathers: children, or in element_flows parents."""
        return self.config.tile_m if self.phase == "element_flows" else self.config.tile_k

    @property
    def exponentials(self) -> int:
        """One per loaded log-probability, of a child or of a sum: exp(e - m) and exp(log F + m - log p); or what the kernel says."""
        if self.num_exponentials is not None:
            return self.num_exponentials
        return sum(operand.loads for operand in self.operands if operand.name in ("elements", "values"))

    def operand(self, name: str) -> Operand:
        for operand in self.operands:
            if operand.name == name:
                return operand
        raise ValueError(f"The {self.phase} launch has no operand {name!r}; it has {', '.join(o.name for o in self.operands)}.")

    def waves(self, num_sms: int) -> int:
        """Rounds in which ``num_sms`` multiprocessors finish the programs, one program each at a time."""
        return ceil_div(self.programs, num_sms)

    @property
    def tile_sides(self) -> tuple[int, ...]:
        """tile_m, tile_k and tile_b; of EM, which knows no samples, the first two."""
        tile = self.config
        return (tile.tile_m, tile.tile_k) if self.phase == "em" else (tile.tile_m, tile.tile_k, tile.tile_b)

    def __str__(self):
        tile = " x ".join(map(str, self.tile_sides))
        return f"{self.phase} layer {self.layer} group {self.group}: {self.programs:,} programs x {self.steps:,} steps, tile {tile}"


@dataclass(frozen=True)
class LaunchTrace:
    """The launches of the chosen passes in the order in which they run: layers up, then layers down. ``impl``: "planned" or "triton"."""

    batch_size: int
    block_size: int
    launches: tuple[Launch, ...]
    impl: str = "planned"

    def phase(self, phase: str) -> tuple[Launch, ...]:
        return tuple(launch for launch in self.launches if launch.phase == phase)

    def __iter__(self) -> Iterator[Launch]:
        return iter(self.launches)

    def __len__(self):
        return len(self.launches)

    def __str__(self):
        return "\n".join(map(str, self.launches))


def ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)


def stored_cells(group: GroupSummary | BackwardGroupSummary) -> int:
    return group.stored_blocks * group.sum_block * group.child_block


def own_cells(group: GroupSummary | BackwardGroupSummary) -> int:
    """Distinct parameters among the stored cells: tied blocks have the same."""
    return (group.stored_blocks - group.tied_blocks) * group.sum_block * group.child_block


def unique_elements(layer: LayerSummary, group: GroupSummary) -> int:
    """Distinct child rows that a forward group reads: see ``_share``."""
    same = [other for other in layer.backward_groups if _shape(other) == _shape(group)]
    rows = sum(other.num_child_blocks for other in same) * group.child_block
    return _share(rows, group, layer.groups, group.stored_blocks * group.child_block)


def unique_sums(layer: LayerSummary, group: BackwardGroupSummary) -> int:
    """Distinct sum rows that a backward group reads: see ``_share``."""
    rows = sum(other.num_sum_blocks for other in layer.groups if _shape(other) == _shape(group)) * group.sum_block
    return _share(rows, group, layer.backward_groups, group.stored_blocks * group.sum_block)


def _share(rows: int, group, groups, largest: int) -> int:
    """The group's share of ``rows``, which all groups of its block shape read together, in proportion to stored blocks.

    Exact where a block shape has one group, or where groups share no rows; rows that several groups read are counted
    once for all of them. ``largest``: no group reads more rows than its stored blocks have.
    """
    stored = sum(other.stored_blocks for other in groups if _shape(other) == _shape(group))
    return min(largest, ceil_div(rows * group.stored_blocks, stored)) if stored else 0


def _shape(group) -> tuple[int, int]:
    return (group.sum_block, group.child_block)


def config_of(config: Config, phase: str, group, batch_size: int) -> LaunchConfig:
    if isinstance(config, Mapping):
        config = config.get(phase)
    if config is None or callable(config):
        backward = phase == "element_flows"
        rows = group.num_child_blocks * group.child_block if backward else group.num_sum_blocks * group.sum_block
        return (config or default_config)(phase, group.sum_block, group.child_block, batch_size, rows)
    return config.fit(phase, group.sum_block, group.child_block)
