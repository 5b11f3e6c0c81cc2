"""The launch trace: which programs run, which tiles they own, how far they walk and what they load.

A trace is made from the counts of a plan (PlanSummary) and one LaunchConfig per launch, so it costs microseconds and
needs neither tensors nor a device. One Launch per sum group in ``forward`` and ``param_flows``, one per backward group
in ``element_flows``, and one in ``em`` per sum group with parameters of its own; launches of inputs and products are not part of it.

Shape legend: B batch, G sum blocks with E child blocks each (padded), M rows of a sum block, K rows of a child block,
C child blocks of a backward group with R parents each. Section numbers are those of Liu, Ahmed and Van den Broeck,
"Scaling Tractable Probabilistic Circuits: A Systems Perspective" (arXiv 2406.00766).
"""

from __future__ import annotations

from collections.abc import Mapping

from pcviz_kernels.config import PHASES, LaunchConfig

from .arguments import checked_integer
from .compiler.plan import CircuitPlan, LayerSummary, PlanSummary
from .em_trace import em_launch, updated_groups
from .launch_records import PASSES, Config, Launch, LaunchTrace, Operand, ceil_div, config_of, own_cells, stored_cells, unique_elements, unique_sums
from .triton_trace import VARIANTS, triton_trace

IMPLS = ("planned", "triton")


def trace(
    plan: CircuitPlan | PlanSummary,
    batch_size: int,
    config: Config = None,
    passes: tuple[str, ...] = ("forward", "backward"),
    *,
    impl: str = "planned",
    variant: str = "scaled",
    deterministic: bool = False,
    masked: bool = False,
) -> LaunchTrace:
    """The launches of ``plan`` for ``batch_size`` samples.

    config: None (the rule of ``default_config`` for each launch), one LaunchConfig for all (its owned tile is cut to
    each block), a mapping from phase to LaunchConfig, or what is called like ``default_config`` (``pc.configs``).
    passes: some of "forward", "backward" and "em", the update of the parameters, which a training step does behind the other two.
    impl: "planned", what the paper's algorithm needs of the sum layers alone; or "triton", every launch of
    TensorCircuit(impl="triton"), with its ``variant``, ``deterministic`` mode, and for data with hidden values (``masked``). What a
    TensorCircuit without a variant runs are those of "scaled" in training, and passes=("forward",) of "float32" for likelihoods.
    Raises ValueError for wrong arguments.
    """
    summary = summary_of(plan)
    batch_size = checked_integer("batch_size", batch_size)
    passes = check_passes(passes)
    _check_config(config)
    if impl not in IMPLS or variant not in VARIANTS:
        expected = f"impl expects one of {', '.join(map(repr, IMPLS))} and variant one of {', '.join(map(repr, VARIANTS))}"
        raise ValueError(f"trace: {expected}, got {impl!r} and {variant!r}.")
    if impl == "triton":
        launches = tuple(triton_trace(summary, batch_size, config, passes, variant, deterministic, masked))
        return LaunchTrace(batch_size, summary.block_size, launches, impl)
    launches: list[Launch] = []
    if "forward" in passes:
        for layer in summary.layers:
            launches += [forward_launch(layer, g, batch_size, config) for g in range(len(layer.groups))]
    if "backward" in passes:
        for layer in reversed(summary.layers):
            launches += [element_flows_launch(layer, g, batch_size, config) for g in range(len(layer.backward_groups))]
            launches += [param_flows_launch(layer, g, batch_size, config) for g in range(len(layer.groups))]
    if "em" in passes:
        launches += [em_launch(layer, g, batch_size) for layer in summary.layers for g in updated_groups(layer)]
    return LaunchTrace(batch_size, summary.block_size, tuple(launches))


def forward_launch(layer: LayerSummary, g: int, batch_size: int, config: Config = None) -> Launch:
    """Forward of one sum group (section 4.1): a program owns [tile_m, tile_b] sums.

    Grid: ceil(B / tile_b) batch tiles (fastest) x G * M / tile_m row tiles. Each program walks ceil(E * K / tile_k)
    steps; a step loads a [tile_m, tile_k] parameter tile and a [tile_k, tile_b] tile of the children's log-probabilities.
    So each parameter is loaded ceil(B / tile_b) times and each child value M / tile_m times per sum block.
    """
    group, b = layer.groups[g], batch_size
    tile = config_of(config, "forward", group, b)
    width, rows, batches = group.num_child_blocks * group.child_block, group.sum_block // tile.tile_m, ceil_div(b, tile.tile_b)
    blocks, steps, cells = group.num_sum_blocks, ceil_div(width, tile.tile_k), own_cells(group)
    row_span = tile.tile_m * width + width * b + tile.tile_m * b
    pairs = group.num_child_blocks * max(1, group.child_block // tile.tile_k)
    all_cells = blocks * group.sum_block * width
    return _launch("forward", layer, g, tile, b, (batches, blocks * rows), steps, [
        Operand("parameters", all_cells * batches, 0, cells, width * (tile.tile_m + tile.tile_b), f"{all_cells:,} cells x {batches} batch tiles"),
        Operand("elements", blocks * rows * width * b, 0, unique_elements(layer, group) * b, row_span,
                f"{blocks:,} sum blocks x {rows} row tiles x {width:,} children x {b} samples"),
        Operand("values", 0, blocks * group.sum_block * b, blocks * group.sum_block * b, 0, "stored once"),
        _indices(batches * blocks * rows, 2 * pairs + 1, 2 * blocks * group.num_child_blocks + blocks),
    ])  # fmt: skip


def element_flows_launch(layer: LayerSummary, g: int, batch_size: int, config: Config = None) -> Launch:
    """Element flows of one backward group (section 5): a program owns the flows of [tile_k, tile_b] children.

    Grid: ceil(B / tile_b) batch tiles (fastest) x C * K / tile_k tiles of child blocks. Each program walks
    ceil(R * M / tile_m) steps over its parents; a step loads a [tile_m, tile_k] parameter tile and [tile_m, tile_b] tiles
    of the parents' flows and values. The children's own values are loaded once, at the end.
    """
    group, b = layer.backward_groups[g], batch_size
    tile = config_of(config, "element_flows", group, b)
    width, cols, batches = group.num_parents * group.sum_block, group.child_block // tile.tile_k, ceil_div(b, tile.tile_b)
    blocks, steps, cells = group.num_child_blocks, ceil_div(width, tile.tile_m), own_cells(group)
    row_span = tile.tile_k * width + 2 * width * b + 2 * tile.tile_k * b
    parents = unique_sums(layer, group) * b
    own = blocks * group.child_block * b
    reads = blocks * cols * width * b
    formula = f"{blocks:,} child blocks x {cols} tiles x {width:,} parents x {b} samples"
    pairs = group.num_parents * max(1, group.sum_block // tile.tile_m)
    all_cells = blocks * group.child_block * width
    return _launch("element_flows", layer, g, tile, b, (batches, blocks * cols), steps, [
        Operand("parameters", all_cells * batches, 0, cells, width * (tile.tile_k + 2 * tile.tile_b), f"{all_cells:,} cells x {batches} batch tiles"),
        Operand("flows", reads, 0, parents, row_span, formula),
        Operand("values", reads, 0, parents, row_span, formula),
        Operand("elements", own, 0, own, 0, f"{blocks * group.child_block:,} children x {b} samples, once"),
        Operand("element flows", 0, own, own, 0, "stored once"),
        _indices(batches * blocks * cols, 2 * pairs + 1, 2 * blocks * group.num_parents + blocks),
    ])  # fmt: skip


def param_flows_launch(layer: LayerSummary, g: int, batch_size: int, config: Config = None) -> Launch:
    """Parameter flows of one sum group (section 5): a program owns a [tile_k, tile_m] tile of parameters.

    Grid: ceil(E * K / tile_k) child tiles (fastest) x G * M / tile_m row tiles. Each program walks ceil(B / tile_b) steps;
    a step loads a [tile_k, tile_b] tile of the children's values and [tile_m, tile_b] tiles of the sums' flows and values.
    Parameters are loaded once, their flows loaded and stored once (they add up over mini-batches).
    """
    group, b = layer.groups[g], batch_size
    tile = config_of(config, "param_flows", group, b)
    width, rows, steps = group.num_child_blocks * group.child_block, group.sum_block // tile.tile_m, ceil_div(b, tile.tile_b)
    blocks, cols, cells = group.num_sum_blocks, ceil_div(width, tile.tile_k), stored_cells(group)
    row_span = width * b + 2 * tile.tile_m * b + 3 * tile.tile_m * width
    program_span = tile.tile_k * b + 2 * tile.tile_m * b + 3 * tile.tile_m * tile.tile_k
    sums = blocks * group.sum_block * b
    formula = f"{blocks * group.sum_block:,} sums x {b} samples x {cols} child tiles"
    pairs = ceil_div(min(tile.tile_k, width), group.child_block)
    return _launch("param_flows", layer, g, tile, b, (cols, blocks * rows), steps, [
        Operand("elements", blocks * rows * width * b, 0, unique_elements(layer, group) * b, row_span,
                f"{blocks:,} sum blocks x {rows} row tiles x {width:,} children x {b} samples"),
        Operand("flows", sums * cols, 0, sums, program_span, formula),
        Operand("values", sums * cols, 0, sums, program_span, formula),
        Operand("parameters", cells, 0, own_cells(group), 0, f"{cells:,} stored cells, once"),
        Operand("parameter flows", cells, cells, own_cells(group), 0, f"{cells:,} stored cells, loaded and stored once"),
        _indices(cols * blocks * rows, 2 * pairs + 1, 2 * blocks * group.num_child_blocks + blocks),
    ])  # fmt: skip


def _launch(phase, layer: LayerSummary, g: int, tile: LaunchConfig, batch_size: int, grid, steps: int, operands) -> Launch:
    backward = phase == "element_flows"
    group = layer.backward_groups[g] if backward else layer.groups[g]
    return Launch(
        phase=phase,
        layer=layer.index,
        group=g,
        config=tile,
        sum_block=group.sum_block,
        child_block=group.child_block,
        num_blocks=group.num_child_blocks if backward else group.num_sum_blocks,
        fan_in=group.num_parents if backward else group.num_child_blocks,
        stored_blocks=group.stored_blocks,
        batch_size=batch_size,
        grid=grid,
        steps=steps,
        operands=tuple(operands),
    )


def _indices(programs: int, each: int, unique: int) -> Operand:
    return Operand("indices", programs * each, 0, unique, 0, f"{programs:,} programs x {each:,} indices", is_index=True)


def summary_of(plan: CircuitPlan | PlanSummary) -> PlanSummary:
    """The counts of a plan; a PlanSummary is returned as it is."""
    if isinstance(plan, PlanSummary):
        return plan
    if isinstance(plan, CircuitPlan):
        return plan.summary
    raise ValueError(
        f"Expected a CircuitPlan (pcv.compile) or a PlanSummary (pcv.plan_summary), got {type(plan).__name__}. "
        "For a circuit, call pcv.plan_summary(root, block_size=16) first."
    )


def check_passes(passes) -> tuple[str, ...]:
    passes = (passes,) if isinstance(passes, str) else tuple(passes)
    if not passes or not set(passes) <= set(PASSES):
        raise ValueError(f"passes expects some of 'forward', 'backward' and 'em' in a tuple, got {passes!r}.")
    return passes


def _check_config(config: Config) -> None:
    configs = config.values() if isinstance(config, Mapping) else [] if config is None or callable(config) else [config]
    if isinstance(config, Mapping) and not set(config) <= set(PHASES):
        raise ValueError(f"config maps phases to LaunchConfig; phases are {', '.join(map(repr, PHASES))}, got {', '.join(map(repr, config))}.")
    for one in configs:
        if not isinstance(one, LaunchConfig):
            expected = "a LaunchConfig, a mapping from phase to LaunchConfig, a function like default_config, or None"
            raise ValueError(f"config expects {expected}, got {one!r}.")
