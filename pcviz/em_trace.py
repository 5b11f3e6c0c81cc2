"""Launches of an EM step (paper, section 5): the parameters of each sum group and the tables of inputs are written anew, their flows cleared.

EM knows no samples: what it moves depends on the parameters alone. A training step does it once, behind a forward and a backward pass.
tests/test_triton_trace.py holds the launches equal to what TritonEngine hands to the GPU.
"""

from __future__ import annotations

from pcviz_kernels.config import REFERENCE_SMS, em_config, em_gaussian_config, em_inputs_config

from .compiler.plan import InputSummary, LayerSummary
from .launch_records import Launch, Operand, ceil_div
from .triton_operands import FULL, HALF, indices, read, run_of, store

AT_A_TIME = 8 * REFERENCE_SMS  # programs that are between their two walks at the same time: what L2 would have to keep
EM_OPERATIONS = 10  # for each parameter: 3 to add up the flows of its sum, 7 to write it (pcviz_kernels/triton_em.py)


def updated_groups(layer: LayerSummary) -> list[int]:
    """Groups with parameters that EM updates there; those of all others are tied to parameters before them."""
    return [g for g, group in enumerate(layer.groups) if group.num_sum_blocks > group.sum_blocks_updated_elsewhere]


def em_launch(layer: LayerSummary, g: int, batch_size: int, kernel: str = "") -> Launch:
    """The update of a group's own parameters: a program owns some sums of one block (``em_config``) and walks twice over their children, to
    add up their flows and then to write them. Without ``kernel`` the planned launch, with one copy of the parameters, in the
    width of the precision; the kernel keeps float32 and the float16 that the other launches read."""
    group = layer.groups[g]
    blocks, width = group.num_sum_blocks - group.sum_blocks_updated_elsewhere, _width(group)
    tile = em_config(group.sum_block, width)
    stored = group.stored_blocks - group.updated_elsewhere
    programs, cells = blocks * group.sum_block // tile.tile_m, stored * group.sum_block * group.child_block
    between = 2 * width * tile.tile_m * min(programs, AT_A_TIME)
    each, span = (FULL, between * FULL) if kernel else (None, between)
    operands = [
        Operand("parameters", 2 * cells, cells, cells, span, f"{cells:,} cells, twice", entry_bytes=each),
        Operand("parameter flows", 2 * cells, cells, cells, span, f"{cells:,} cells, twice; then they are cleared", entry_bytes=each),
        store("half parameters", cells if kernel else 0, HALF, "stored once"),
        read("settings", FULL, 2 * programs, 2, "step size and pseudocount"),
        indices(programs, 2 * width, blocks * width // run_of(group)),
    ]
    return Launch(
        phase="em", layer=layer.index, group=g, config=tile, sum_block=group.sum_block, child_block=group.child_block,
        num_blocks=blocks, fan_in=group.num_child_blocks, stored_blocks=stored, batch_size=batch_size, grid=(programs, 1),
        steps=2 * ceil_div(width, tile.tile_k), operands=tuple(operand for operand in operands if operand.loads or operand.stores), kernel=kernel,
        in_pass="em", num_exponentials=0, num_operations=EM_OPERATIONS * cells,
    )  # fmt: skip


def em_inputs_launch(number: int, group: InputSummary, batch_size: int) -> Launch:
    """The update of the tables of one launch of inputs: a program owns some nodes of one table (``em_inputs_config``), and reads their
    categories twice unless it holds all of them. Gaussian inputs have two parameters a node and three moments as flows."""
    gaussian = group.num_cats == 0
    tile = em_gaussian_config(group.stride) if gaussian else em_inputs_config(group.stride, group.num_cats)
    rows, tiles, nodes = tile.tile_m, ceil_div(group.stride, tile.tile_m), group.num_tables * group.stride
    numbers, moments = (2, 3) if gaussian else (group.num_cats, group.num_cats)
    walks = 1 if gaussian or numbers <= tile.tile_k else 2
    again = ", twice" if walks == 2 else ""
    span = (walks - 1) * 2 * numbers * rows * FULL * min(tiles * group.num_tables, AT_A_TIME)
    entries, moved = nodes * numbers, nodes * moments
    return Launch(
        phase="em_inputs", layer=0, group=number, config=tile, sum_block=rows, child_block=1,
        num_blocks=group.num_tables, fan_in=1, stored_blocks=group.num_tables, batch_size=batch_size, grid=(tiles, group.num_tables),
        steps=walks * ceil_div(numbers, tile.tile_k), kernel="em_gaussian_kernel" if gaussian else "em_inputs_kernel", in_pass="em",
        num_exponentials=0, num_operations=EM_OPERATIONS * entries, operands=(
            read("tables", FULL, walks * entries, entries, f"{nodes:,} nodes x {numbers}{again}", span, stores=entries),
            read("table flows", FULL, walks * moved, moved, f"{nodes:,} nodes x {moments}{again}, then cleared", span, stores=moved),
            read("settings", FULL, walks * tiles * group.num_tables, 2, "step size and pseudocount"),
        ),
    )  # fmt: skip


def _width(group) -> int:
    return group.num_child_blocks * group.child_block
