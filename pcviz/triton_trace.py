"""The launches of impl="triton" for a plan, in the order in which they run: kernels, programs, tiles, what they read and write.

tests/test_triton_trace.py holds them equal to what TritonEngine hands to the GPU. Made from counts alone, so two things are assumed
where a plan's index tensors would say: the children of a sum block without pseudo blocks follow each other in memory (as in every
builder's circuits; after pruning they may not), and they fill their units, the runs of up to 64 rows that share a log-scale.

Kernels fill their buffers up to a multiple of PITCH samples, so that no load needs a mask along the batch: B below is that multiple.
What L1 keeps is said where it was seen under Nsight Compute: the scales that kernels without tensor cores load for every row.
Guards read their flags and, where no sum is lost, nothing else.

Shape legend: see tracing.py; U units, N runs of products that a launch reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pcviz_kernels.config import LaunchConfig, float32_config, input_flows_config, next_power_of_two
from pcviz_kernels.tiles import PITCH
from pcviz_kernels.tuned import UNIT

from .compiler.plan import FactorSummary, InputSummary, LayerSummary, PlanSummary
from .em_trace import em_inputs_launch, em_launch, updated_groups
from .launch_records import Config, Launch, Operand, ceil_div, config_of, own_cells, stored_cells, unique_elements, unique_sums
from .triton_operands import FULL, HALF, element_rows, flags, indices, parameters, read, run_of, run_rows, store, units_in

GUARD_B, FLAG_B = 32, 64  # of pcviz_kernels.triton_blocks, which needs torch
MANY_CATEGORIES = 512
VARIANTS = ("scaled", "paper", "float32")


def precision_of(variant: str | None) -> str:
    """The precision of the sums' operands in the forward pass of a training step; backward it is fp16."""
    return "fp32" if variant == "float32" else "fp16"


def triton_trace(
    summary: PlanSummary, batch_size: int, config: Config, passes: tuple[str, ...], variant: str, deterministic: bool, masked: bool
) -> Iterator[Launch]:
    """Launches of one run of ``batch_size`` samples, at most a micro-batch. ``masked``: with hidden values."""
    run = _Run(batch_size, config, variant, deterministic, masked, summary.flows_written_once)
    if "forward" in passes:
        for number, group in enumerate(summary.inputs):
            yield run.input_forward(number, group)
        for layer in summary.layers:
            yield from run.layer(layer).forward()
    if "backward" in passes:
        yield from run.start_backward(summary)
        for layer in reversed(summary.layers):
            yield from run.layer(layer).backward()
        for number, group in enumerate(summary.inputs):
            yield run.input_flows(number, group)
    if "em" in passes:
        for layer in summary.layers:
            for g in updated_groups(layer):
                yield em_launch(layer, g, batch_size, "em_sums_kernel")
        for number, group in enumerate(summary.inputs):
            yield em_inputs_launch(number, group, batch_size)


def matrix_launch(layer: LayerSummary, phase: str, g: int, batch_size: int, config: Config = None) -> Launch:
    """The launch of one group in "forward", "element_flows" or "param_flows", with the tiles of ``config``."""
    return _Run(batch_size, config, "scaled", False, False, False).layer(layer).matrices()[phase](g)


@dataclass(frozen=True)
class _Run:
    """What is alike for all launches."""

    batch_size: int
    config: Config
    variant: str
    deterministic: bool
    masked: bool
    flows_written_once: bool

    @cached_property
    def samples(self) -> int:
        return ceil_div(self.batch_size, PITCH) * PITCH

    def layer(self, layer: LayerSummary) -> _Layer:
        return _Layer(self, layer, layer.level and self.variant == "scaled")

    def launch(self, kernel: str, phase: str, in_pass: str, layer: int, group: int, tile: LaunchConfig, grid, operands, **more) -> Launch:
        """A launch that multiplies no parameters; ``more`` replaces fields."""
        operands = tuple(operand for operand in operands if operand.loads or operand.stores)
        blocks = {"sum_block": tile.tile_m, "child_block": tile.tile_k, "num_blocks": 1, "fan_in": 1, "stored_blocks": 1, "num_exponentials": 0}
        return Launch(**{
            **blocks, "phase": phase, "layer": layer, "group": group, "config": tile, "batch_size": self.batch_size, "grid": grid, "steps": 1,
            "operands": operands, "kernel": kernel, "in_pass": in_pass, **more,
        })  # fmt: skip

    def start_backward(self, summary: PlanSummary) -> Iterator[Launch]:
        """torch's kernels: flows that launches add to are cleared, and the root gets flow 1 where its value is not 0."""
        tile, rows = LaunchConfig(1, 1, 1), node_rows(summary)
        if not self.flows_written_once:
            cleared = [store("flows", rows * self.samples, FULL, "all node rows")]
            yield self.launch("zero_", "fill", "backward", 0, 0, tile, (1, rows), cleared)
        for kernel in ("gt", "mul", "copy_"):
            one = read("flows", FULL, self.batch_size, self.batch_size, "of the root", stores=self.batch_size)
            yield self.launch(kernel, "root_flows", "backward", 0, 0, tile, (1, 1), [one])

    def input_forward(self, number: int, group: InputSummary) -> Launch:
        rows, kind = min(UNIT, next_power_of_two(group.stride)), "input" if group.num_cats else "gaussian"
        columns, tiles, vectors, cats = self.samples // 64, ceil_div(group.stride, rows), group.num_vectors, group.num_cats or 2
        nodes, programs = vectors * group.stride, columns * vectors * tiles
        reads = nodes * (self.batch_size if group.num_cats else 2 * columns)
        return self.launch(f"{kind}_forward_kernel", "input", "forward", 0, number, LaunchConfig(rows, 1, 64), (columns, vectors * tiles), [
            read("tables", FULL, reads, group.num_tables * group.stride * cats, f"{nodes:,} nodes x {reads // nodes:,}",
                  l2_loads=min(reads, columns * nodes * cats)),
            *self._data(vectors, programs * 64),
            store("values", nodes * self.samples, FULL, "stored once"),
        ], num_exponentials=nodes * self.samples)  # fmt: skip

    def input_flows(self, number: int, group: InputSummary) -> Launch:
        """Flows of the parameters of inputs: as a matrix product with the indicators of categories, or for many of them one by one."""
        rows, gaussian = min(UNIT, next_power_of_two(group.stride)), group.num_cats == 0
        if group.num_cats > MANY_CATEGORIES and not self.deterministic:
            return self._scattered_flows(number, group, rows)
        tile = LaunchConfig(min(16, rows), 1, 128) if gaussian else input_flows_config(group.stride, group.num_cats)
        wide, tiles = 1 if gaussian else ceil_div(group.num_cats, tile.tile_k), ceil_div(group.stride, tile.tile_m)
        nodes = group.num_vectors * group.stride
        steps = ceil_div(self.batch_size, tile.tile_b)
        seen, table = steps * tile.tile_b, group.num_tables * group.stride
        operands = [
            read("flows", FULL, nodes * seen * wide, nodes * seen, f"{nodes:,} nodes x {seen} samples x {wide}"),
            *self._data(group.num_vectors, group.num_vectors * seen * tiles * wide),
            read("tables", FULL, 2 * table * gaussian, 2 * table, "loaded once"),
            read("table flows", FULL, (n := table * (group.num_cats or 3)), n, "loaded and stored once", stores=n),
        ]
        kernel = "gaussian_flows_kernel" if gaussian else "input_flows_kernel"
        return self.launch(kernel, "input_flows", "backward", 0, number, tile, (group.num_tables, tiles * wide), operands, steps=steps)

    def _scattered_flows(self, number: int, group: InputSummary, rows: int) -> Launch:
        nodes, tiles = group.num_vectors * group.stride, ceil_div(group.stride, rows)
        seen, table = nodes * self.batch_size, group.num_tables * group.stride * group.num_cats
        grid = (self.samples // 32, group.num_vectors * tiles)
        return self.launch("input_scatter_kernel", "input_flows", "backward", 0, number, LaunchConfig(rows, 1, 32), grid, [
            read("flows", FULL, nodes * self.samples, nodes * self.samples, f"{nodes:,} nodes x {self.samples} samples"),
            *self._data(group.num_vectors, group.num_vectors * tiles * self.samples),
            read("table flows", FULL, 0, min(seen, table), "added one by one", stores=seen),
        ])  # fmt: skip

    def _data(self, vectors: int, loads: int) -> list[Operand]:
        unique = vectors * self.samples
        return [read("data", FULL, loads, unique, "by each program"), read("mask", 1, loads * self.masked, unique, "by each program")]


@dataclass(frozen=True)
class _Layer:
    """Launches of one layer."""

    run: _Run
    layer: LayerSummary
    level: bool  # the backward pass is on the scales that the forward pass leaves

    def forward(self) -> Iterator[Launch]:
        yield self.products("forward", self.run.variant)
        for g in range(len(self.layer.groups)):
            launch = self.sums(g)
            yield launch
            yield self.guard("sum_guard_kernel", "sum_guard", "forward", g, min(16, launch.config.tile_m))

    def backward(self) -> Iterator[Launch]:
        layer, run = self.layer, self.run
        yield self.products("backward", "scaled", self.level)
        if self.shared or layer.unread_blocks:
            size = element_rows(layer) * run.samples
            cleared = [store("element flows", size, FULL, "all element rows")]
            yield self.launch("zero_", "fill", "backward", 0, LaunchConfig(1, 1, 1), (1, element_rows(layer)), cleared)
        for g in range(len(layer.groups)):
            yield self.ratios(g)
            yield self.param_flows(g)
        for g in range(len(layer.backward_groups)):
            yield self.element_flows(g)
        if run.deterministic:
            for g in range(len(layer.backward_groups)):
                yield self.lost_element_flows(g)
        for g, group in enumerate(layer.groups):
            rows = min(16, group.sum_block)
            yield self.lost_param_flows(g) if run.deterministic else self.guard("flow_guard_kernel", "flow_guard", "backward", g, rows)
        for number, factors in enumerate(layer.factors):
            yield self.product_flows(number, factors)

    def launch(self, kernel: str, phase: str, in_pass: str, group: int, tile: LaunchConfig, grid, operands, **more) -> Launch:
        return self.run.launch(kernel, phase, in_pass, self.layer.index, group, tile, grid, operands, **more)

    @property
    def shared(self) -> bool:
        """Whether a child block may get flows from two launches, which are added then."""
        return len({(group.sum_block, group.child_block) for group in self.layer.backward_groups}) > 1

    def matrices(self) -> dict[str, Callable[[int], Launch]]:
        return {"forward": self.sums, "element_flows": self.element_flows, "param_flows": self.param_flows}

    @property
    def sum_blocks(self) -> int:
        return sum(group.num_sum_blocks for group in self.layer.groups)

    def units(self, rows: int) -> int:
        return units_in(self.layer, rows)

    def own_units(self, group) -> int:
        """Units of the elements that a forward group reads, whose scales it reads once from HBM."""
        return min(self.layer.element_units, self.units(unique_elements(self.layer, group)))

    def products(self, in_pass: str, variant: str, level: bool = False) -> Launch:
        """A program owns a unit of elements and 64 samples. In the kernel of the paper's layer the elements are logarithms; they, and the
        elements of variant "float32", have 4 bytes."""
        layer, b = self.layer, self.run.samples
        columns, rows, paper, entry = b // 64, element_rows(layer), variant == "paper", HALF if variant == "scaled" else FULL
        reads, unique = (sum(f.width * getattr(f, name) for f in layer.factors) for name in ("parents", "runs"))
        kernel = "product_logs_kernel" if paper else "product_forward_kernel"
        moved = (unique * FULL + rows * entry) * 64  # of one column; values that several units read do so at even distances
        span = unique * b * FULL if paper else moved * unique // reads  # the kernel of the paper's layer takes all samples of a unit first
        return self.launch(kernel, "product", in_pass, 0, LaunchConfig(UNIT, 1, 64), (columns, layer.element_units), [
            read("values", FULL, reads * b, unique * b, f"{reads:,} factors x {b} samples", span),
            store("elements", rows * b, entry, "stored once"),
            store("scales", 0 if paper else layer.element_units * b, FULL, "one for each unit and sample"),
            read("block scales", FULL, layer.element_units * b * level, min(layer.element_units, self.sum_blocks) * b, "one a unit and sample"),
            indices(columns * layer.element_units, layer.arity * UNIT + 2 + level, layer.arity * rows),
        ], num_blocks=layer.element_units, num_exponentials=0 if paper else rows * b, steps=layer.arity)  # fmt: skip

    def sums(self, g: int) -> Launch:
        """A program owns [tile_m, tile_b] sums and walks over their children."""
        group, b, layer = self.layer.groups[g], self.run.samples, self.layer
        paper, float32 = self.run.variant == "paper", self.run.variant == "float32"
        tile = config_of(self.run.config, "forward", group, self.run.batch_size)
        tile = float32_config(tile) if float32 else tile
        width, columns = group.num_child_blocks * group.child_block, b // tile.tile_b
        rows = group.num_sum_blocks * group.sum_block
        programs, small = columns * rows // tile.tile_m, not tile.uses_tensor_cores
        kernel = "sum_forward_paper_kernel" if paper else "sum_forward_small_kernel" if small else "sum_forward_kernel"
        entry, theta, run = FULL if paper or float32 else HALF, FULL if float32 else HALF, run_of(group)
        steps, kept = ceil_div(width, tile.tile_k), self.level and not small
        units, gathers = self.units(width), small or run < tile.tile_k
        top = ceil_div(units, 8) * 8  # scales are looked through eight at a time
        scales = 0 if paper else programs * tile.tile_b * (top + (width if gathers else steps))
        from_l2 = programs * tile.tile_b * (top if small else top + units if gathers else top + steps)
        span = columns * width * (tile.tile_m * theta + tile.tile_b * entry)
        each = f"{programs:,} programs x {width:,} children x"
        return self._matrix("forward", kernel, "forward", g, tile, (columns, rows // tile.tile_m), steps, [
            parameters(programs * width * tile.tile_m, own_cells(group), run * group.sum_block, span // columns, f"{each} {tile.tile_m} sums", theta),
            read("elements", entry, programs * width * tile.tile_b, unique_elements(layer, group) * b, f"{each} {tile.tile_b} samples", span),
            read("scales", FULL, scales, min(self.own_units(group) * b, scales), f"{programs:,} programs x {scales // programs:,}", span,
                  l2_loads=0 if paper else from_l2),
            store("values", rows * b, FULL, "stored once"),
            Operand("block scales", 0, programs * tile.tile_b * kept, group.num_sum_blocks * b, 0, "by each program", entry_bytes=FULL),
            store("flags", programs, FULL, "one for each program"),
            indices(programs, 3 * width // run + top + 2, (2 * width // run + 1) * group.num_sum_blocks),
        ], programs * tile.tile_b * (width if gathers or paper else steps) + rows * b)  # fmt: skip

    def ratios(self, g: int) -> Launch:
        """F / p of a unit of sums and 64 samples, relative to their largest."""
        group, b = self.layer.groups[g], self.run.samples
        rows, sums, columns = min(UNIT, group.sum_block), group.num_sum_blocks * group.sum_block, b // FLAG_B
        programs = columns * sums // rows
        top = ceil_div(self.units(group.num_child_blocks * group.child_block), 8) * 8
        each = f"{sums:,} sums x {b} samples"
        return self.launch("ratio_kernel", "ratios", "backward", g, LaunchConfig(rows, 1, FLAG_B), (columns, sums // rows), [
            read("scales", FULL, programs * top * FLAG_B, min(self.own_units(group), programs * top) * b,
                  f"{programs:,} programs x {top} x {FLAG_B}"),
            read("values", FULL, sums * b, sums * b, each),
            read("flows", FULL, sums * b, sums * b, each),
            store("ratios", sums * b, HALF, "stored once"),
            store("ratio scales", programs * FLAG_B, FULL, "stored once"),
            store("lost ratios", sums * b * self.run.deterministic, FULL, "stored once"),
            store("flags", programs, FULL, "one for each program"),
            indices(programs, top + 2, group.num_sum_blocks * (top + 2)),
        ], num_blocks=group.num_sum_blocks, num_exponentials=2 * sums * b)  # fmt: skip

    def param_flows(self, g: int) -> Launch:
        """A program owns [tile_k, tile_m] parameters and walks over the batch; with tensor cores twice over the scales that there are."""
        group, layer = self.layer.groups[g], self.layer
        tile = config_of(self.run.config, "param_flows", group, self.run.batch_size)
        width, small = group.num_child_blocks * group.child_block, not tile.uses_tensor_cores
        ordered = self.run.deterministic and group.tied_sum_blocks > 0  # tied blocks one after the other, in one program
        blocks = group.num_sum_blocks - (group.tied_sum_blocks if ordered else 0)
        columns, rows = ceil_div(width, tile.tile_k), blocks * group.sum_block // tile.tile_m
        walks = columns * group.num_sum_blocks * group.sum_block // tile.tile_m
        steps = ceil_div(self.run.batch_size, tile.tile_b)
        b, one_unit, scaled = steps * tile.tile_b, run_of(group) >= tile.tile_k, not self.level
        scales = walks * b * (tile.tile_k if small else 2 if one_unit else 2 * tile.tile_k) * scaled
        from_l2 = 0 if small else walks * b * 2 * (1 if one_unit else self.units(tile.tile_k)) * scaled
        ratio_scales, atomic = walks * b * (1 if small else 2) * scaled, group.tied_sum_blocks > 0 and not ordered
        cells, sums = stored_cells(group), group.num_sum_blocks * group.sum_block
        span = columns * b * HALF * (tile.tile_k + tile.tile_m)
        each = f"{walks:,} tiles x {b} samples x"
        return self._matrix("param_flows", "param_flows_kernel", "backward", g, tile, (columns, rows), steps, [
            read("elements", HALF, walks * tile.tile_k * b, unique_elements(layer, group) * b, f"{each} {tile.tile_k} children", span),
            read("ratios", HALF, walks * tile.tile_m * b, sums * b, f"{each} {tile.tile_m} sums", span // columns, shared_by_row=True),
            read("scales", FULL, scales, self.own_units(group) * b, f"{each} {scales // (walks * b)}", span, l2_loads=from_l2),
            read("ratio scales", FULL, ratio_scales, sums // min(UNIT, group.sum_block) * b, f"{each} {ratio_scales // (walks * b)}",
                  span // columns, shared_by_row=True),
            read("parameter flows", FULL, 0 if atomic else cells, own_cells(group), "atomically" if atomic else "loaded and stored once",
                  stores=cells),
            indices(columns * rows, (2 + scaled) * (ceil_div(tile.tile_k, run_of(group)) + 1),
                    (2 + scaled) * group.num_sum_blocks * width // run_of(group)),
        ], walks * b * (1 if one_unit and not small else tile.tile_k) * scaled)  # fmt: skip

    def element_flows(self, g: int) -> Launch:
        """A program owns the flows of [tile_k, tile_b] elements and walks over their parents."""
        group, b, layer, add = self.layer.backward_groups[g], self.run.samples, self.layer, self.shared
        tile = config_of(self.run.config, "element_flows", group, self.run.batch_size)
        width, columns, own = group.num_parents * group.sum_block, b // tile.tile_b, group.num_child_blocks * group.child_block
        programs, small = columns * own // tile.tile_k, not tile.uses_tensor_cores
        inside = group.sum_block >= tile.tile_m and not small  # a step lies inside one parent block
        steps, unit = ceil_div(width, tile.tile_m), min(UNIT, group.sum_block)
        scaled = not self.level
        scales = programs * tile.tile_b * (steps if inside else width if small else width + group.num_parents) * scaled
        passed = group.num_parents if tile.tile_m >= 8 * group.sum_block else 0  # fewer than eight scales a step L1 keeps until the next program
        from_l2 = programs * tile.tile_b * (steps if inside else passed if small else 2 * group.num_parents) * scaled
        sums = unique_sums(layer, group) * b
        span = columns * HALF * width * (tile.tile_k + tile.tile_b)
        each = f"{programs:,} programs x {width:,} parents x"
        return self._matrix("element_flows", "element_flows_small_kernel" if small else "element_flows_kernel", "backward", g, tile,
                            (columns, own // tile.tile_k), steps, [
            parameters(programs * width * tile.tile_k, own_cells(group), group.sum_block * group.child_block, span // columns,
                        f"{each} {tile.tile_k} children"),
            read("ratios", HALF, programs * width * tile.tile_b, sums, f"{each} {tile.tile_b} samples", span),
            read("ratio scales", FULL, scales, ceil_div(sums, unit), f"{programs:,} programs x {scales // programs:,}", span, l2_loads=from_l2),
            read("elements", HALF, own * b, own * b, f"{own:,} children x {b} samples, once"),
            read("scales", FULL, programs * tile.tile_b * scaled, self.units(own) * b, f"{programs:,} programs x {tile.tile_b}"),
            read("element flows", FULL, own * b * add, own * b, "added to" if add else "stored once", stores=own * b),
            indices(programs, (2 + scaled) * (2 if inside else group.num_parents) + 1 + scaled,
                    ((2 + scaled) * group.num_parents + 1 + scaled) * group.num_child_blocks),
        ], programs * tile.tile_b * (steps if inside else width) * scaled)  # fmt: skip

    def _matrix(self, phase: str, kernel: str, in_pass: str, g: int, tile: LaunchConfig, grid, steps: int, operands, exponentials: int) -> Launch:
        backward = phase == "element_flows"
        group = self.layer.backward_groups[g] if backward else self.layer.groups[g]
        blocks, fan_in = (group.num_child_blocks, group.num_parents) if backward else (group.num_sum_blocks, group.num_child_blocks)
        return self.launch(
            kernel, phase, in_pass, g, tile, grid, operands, steps=steps, sum_block=group.sum_block, child_block=group.child_block,
            num_blocks=blocks, fan_in=fan_in, stored_blocks=group.stored_blocks, num_exponentials=exponentials,
        )  # fmt: skip

    def guard(self, kernel: str, phase: str, in_pass: str, g: int, rows: int) -> Launch:
        group, columns = self.layer.groups[g], self.run.samples // PITCH
        tiles = group.num_sum_blocks * group.sum_block // rows
        operands = [flags(columns * tiles, PITCH // 16, sectors=1)]
        return self.launch(kernel, phase, in_pass, g, LaunchConfig(rows, UNIT, GUARD_B), (columns, tiles), operands)

    def lost_param_flows(self, g: int) -> Launch:
        group = self.layer.groups[g]
        rows, columns = min(16, group.sum_block), ceil_div(group.num_child_blocks * group.child_block, 32)
        tiles = (group.num_sum_blocks - group.tied_sum_blocks) * group.sum_block // rows
        operands = [flags(columns * tiles, self.run.samples // FLAG_B)]
        return self.launch("lost_param_flows_kernel", "flow_guard", "backward", g, LaunchConfig(rows, 32, GUARD_B), (columns, tiles), operands)

    def lost_element_flows(self, g: int) -> Launch:
        group, columns = self.layer.backward_groups[g], self.run.samples // GUARD_B
        rows = min(32, group.child_block)
        tiles = group.num_child_blocks * group.child_block // rows
        operands = [flags(columns * tiles, group.num_parents)]
        return self.launch("lost_element_flows_kernel", "flow_guard", "backward", g, LaunchConfig(1, rows, GUARD_B), (columns, tiles), operands)

    def product_flows(self, number: int, factors: FactorSummary) -> Launch:
        """A program owns up to 64 rows of one run of factors and 64 samples; it adds the flows of the products."""
        b, rows, add = self.run.samples, min(UNIT, factors.width), not self.run.flows_written_once
        nodes, columns = factors.runs * factors.width, b // 64
        reads = factors.parents * factors.width * b
        unique = min(reads, element_rows(self.layer) * b)
        span = (unique + (1 + add) * nodes * b) // columns * FULL * unique // reads  # programs go through one column after the other
        return self.launch("product_flows_kernel", "product_flows", "backward", number, LaunchConfig(rows, 1, 64), (columns, nodes // rows), [
            read("element flows", FULL, reads, unique, f"{factors.parents * factors.width:,} factors x {b} samples", span),
            read("flows", FULL, nodes * b * add, nodes * b, "added to" if add else "stored once", stores=nodes * b),
            indices(columns * nodes // rows, 3 + factors.parents // max(1, factors.runs), 2 * factors.runs + factors.parents),
        ], num_blocks=factors.runs)  # fmt: skip


def node_rows(summary: PlanSummary) -> int:
    """Rows of the buffers of values and flows, the null block included."""
    pieces = [(min(summary.block_size, next_power_of_two(group.stride)), group.num_vectors * group.stride) for group in summary.inputs]
    pieces += [(group.sum_block, group.num_sum_blocks * group.sum_block) for layer in summary.layers for group in layer.groups]
    widest = max(max(block for block, _ in pieces), *(group.child_block for layer in summary.layers for group in layer.groups))
    row = widest
    for block, rows in pieces:  # in the order in which compile lays them out, each on a boundary of its blocks
        row = ceil_div(row, block) * block + rows
    return ceil_div(row, widest) * widest


def program_bytes(launch: Launch) -> list[int]:
    """What each program of a forward launch requests: [before the first step, step 1, step 2, ..., stores]."""
    tile, width = launch.config, launch.fan_in * launch.child_block
    total = {operand.name: operand.loads // launch.programs * operand.width(FULL) for operand in launch.operands}
    run = run_rows(launch.child_block, launch.fan_in, launch.num_blocks * launch.fan_in - launch.stored_blocks)
    each_row = not tile.uses_tensor_cores or run < tile.tile_k  # every child brings its scale
    child = HALF * tile.tile_m + launch.operand("elements").width(FULL) * tile.tile_b
    scales = FULL * tile.tile_b * ("scales" in total)
    counts = [min(tile.tile_k, width - first) for first in range(0, width, tile.tile_k)]
    steps = [child * count + scales * (count if each_row else 1) for count in counts]
    stores = sum(operand.stores // launch.programs * operand.width(FULL) for operand in launch.operands)
    return [sum(total.values()) - sum(steps), *steps, stores]
