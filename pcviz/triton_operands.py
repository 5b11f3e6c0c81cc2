"""Operands of the launches of impl="triton": arrays by name, width and number of entries, and what counts do not say about them."""

from __future__ import annotations

from pcviz_kernels.tiles import LONGEST_RUN
from pcviz_kernels.tuned import UNIT

from .compiler.plan import GroupSummary, LayerSummary
from .launch_records import Operand, ceil_div

SECTOR = 32  # bytes: the least that passes from L2
HALF, FULL = 2, 4  # bytes of a float16 and of a float32


def element_rows(layer: LayerSummary) -> int:
    """Rows of the engine's elements: its null block has UNIT rows at least."""
    return layer.num_element_rows + max(0, UNIT - max(group.child_block for group in layer.groups))


def units_in(layer: LayerSummary, rows: int) -> int:
    """Units among that many rows of elements, which the layer's average size of a unit says."""
    null = max(group.child_block for group in layer.groups)
    return max(1, round(rows * (layer.element_units - ceil_div(null, UNIT)) / max(1, layer.num_element_rows - null)))


def run_rows(child_block: int, num_child_blocks: int, pseudo_blocks: int) -> int:
    """Rows of a run of children, as triton_launching finds them where the children of all sum blocks follow each other, and pseudo
    blocks, which form runs of at most UNIT rows, come in whole runs."""
    run, longest = 1, UNIT if pseudo_blocks else LONGEST_RUN
    while 2 * run * child_block <= longest and num_child_blocks % (2 * run) == 0 and pseudo_blocks % (2 * run) == 0:
        run *= 2
    return run * child_block


def run_of(group: GroupSummary) -> int:
    return run_rows(group.child_block, group.num_child_blocks, group.pseudo_blocks)


def parameters(loads: int, unique: int, together: int, span: int, formula: str, width: int = HALF) -> Operand:
    """Parameters, of which ``together`` lie side by side: less than a sector's worth takes a whole sector."""
    waste = max(1, SECTOR // (width * together))
    return read("parameters", width, loads, unique, formula, span, l2_loads=loads * waste)


def read(name: str, width: int, loads: int, unique: int, formula: str, span: int = 0, **more) -> Operand:
    """An operand whose entries have ``width`` bytes; ``span`` in bytes."""
    return Operand(name, loads, more.pop("stores", 0), unique, span, formula, entry_bytes=width, **more)


def store(name: str, count: int, width: int, formula: str) -> Operand:
    return Operand(name, 0, count, count, 0, formula, entry_bytes=width)


def flags(programs: int, each: int, sectors: int | None = None) -> Operand:
    """Written by the launch before, so that memory need not be asked for them; a program's lie in so many sectors (None: each in one)."""
    sectors = each if sectors is None else sectors
    return read("flags", FULL, programs * each, 0, f"{programs:,} programs x {each:,}", l2_loads=programs * sectors * SECTOR // FULL)


def indices(programs: int, each: int, unique: int) -> Operand:
    return Operand("indices", programs * each, 0, unique, 0, f"{programs:,} programs x {each:,} indices", is_index=True, entry_bytes=FULL)
