"""Launch parameters: the one source that kernels, trace, traffic model and animation read.

A *block* belongs to the compiled data (``sum_block`` x ``child_block`` rows of a parameter block); a *tile* belongs to
the launch. Per phase a program owns two tile axes and walks over the third:

=============  =======================  ===============================================
phase          a program owns           and walks over
=============  =======================  ===============================================
forward        [tile_m, tile_b] sums    the children of its sum block, tile_k at a time
element_flows  [tile_k, tile_b] children  the parents of its child block, tile_m at a time
param_flows    [tile_k, tile_m] parameters  the batch, tile_b at a time
=============  =======================  ===============================================

An owned tile of sums (or, in element_flows, of children) lies inside one block; the axis of a sum block's children, or
of a child block's parents, may be tiled across block boundaries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

PHASES = ("forward", "element_flows", "param_flows")
REFERENCE_BATCH, REFERENCE_SMS = 512, 132  # for which the rule decides whether a launch is small
TENSOR_CORE_TILE = 16  # smallest tile side of a matrix product on tensor cores


def check_phase(phase: str) -> None:
    if phase not in PHASES:
        raise ValueError(f"phase expects one of {', '.join(map(repr, PHASES))}, got {phase!r}.")


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_power_of_two(name: str, value) -> None:
    if not _is_count(value) or value & (value - 1):
        raise ValueError(f"{name} expects a power of two of at least 1, got {value!r}.")


@dataclass(frozen=True)
class LaunchConfig:
    """Tile sides of one kernel launch (powers of two): tile_m sums, tile_k children, tile_b samples."""

    tile_m: int
    tile_k: int
    tile_b: int
    num_warps: int = 4
    num_stages: int = 2

    def __post_init__(self):
        for name in ("tile_m", "tile_k", "tile_b", "num_warps"):
            _check_power_of_two(f"LaunchConfig({name}=...)", getattr(self, name))
        if not _is_count(self.num_stages):
            raise ValueError(f"LaunchConfig(num_stages=...) expects an integer of at least 1, got {self.num_stages!r}.")

    @property
    def uses_tensor_cores(self) -> bool:
        """Whether a step is large enough for a matrix product on tensor cores: every tile side at least 16. Where operands are
        float32 such a step is a matrix product too, on CUDA cores."""
        return min(self.tile_m, self.tile_k, self.tile_b) >= TENSOR_CORE_TILE

    def fit(self, phase: str, sum_block: int, child_block: int) -> LaunchConfig:
        """This config with the owned block axis cut to the block: a tile of sums never spans two sum blocks.

        One config is given for a whole plan whose layers have different blocks (the root's sum block is 1).
        """
        check_phase(phase)
        if phase == "element_flows":
            return replace(self, tile_k=child_block) if self.tile_k > child_block else self
        return replace(self, tile_m=sum_block) if self.tile_m > sum_block else self


NAIVE = LaunchConfig(tile_m=1, tile_k=1, tile_b=1, num_warps=1, num_stages=1)
"""The parallelization of section 3: one processor per sum and sample, which reloads all its inputs."""


def default_config(phase: str, sum_block: int, child_block: int, batch_size: int = 512, num_rows: int | None = None) -> LaunchConfig:
    """The rule for tiles, one for every batch size (a new batch compiles no new kernel). All sides are powers of two.

    - With tensor cores (the owned block axis has 16 rows or more): the owned block axis is the block, at most 64. A step walks
      over 64 rows; forward over 32 where the block has 32, in element_flows over a parent block of at most 64 if it has 16
      rows. tile_b is 128; 64 in param_flows, where it is walked, in element_flows of blocks of 32, and where the launch owns so few
      rows (``num_rows``) that 128 would leave multiprocessors of an H100 without two programs. num_warps 4, 8 in element_flows where
      the owned tile has 8,192 values. num_stages 4; 3 in param_flows, in those element_flows and those of blocks of 32, and forward where
      rows are few.
    - Without: a step multiplies tile_m x tile_k x tile_b = 4,096 values in registers; the owned axis is the block, tile_b 128.
    """
    check_phase(phase)
    _check_power_of_two("default_config(sum_block=...)", sum_block)
    _check_power_of_two("default_config(child_block=...)", child_block)
    if not _is_count(batch_size):
        raise ValueError(f"default_config(batch_size=...) expects an integer of at least 1, got {batch_size!r}.")
    owned = child_block if phase == "element_flows" else sum_block
    if owned < TENSOR_CORE_TILE:
        owned, walked, tile_b, warps, stages = owned, 32 // owned, 128, 4, 2
    elif phase == "param_flows":
        owned, walked, tile_b, warps, stages = min(owned, 64), 64, 64, 4, 3
    else:
        owned = min(owned, 64)
        few = num_rows is not None and num_rows // owned * (REFERENCE_BATCH // 128) < 2 * REFERENCE_SMS
        if phase == "forward":
            walked, tile_b, warps, stages = 32 if owned == 32 else 64, 64 if few else 128, 4, 3 if few else 4
        else:
            walked, tile_b = min(sum_block, 64) if sum_block >= TENSOR_CORE_TILE else 64, 64 if few or owned == 32 else 128
            warps = 8 if owned * tile_b >= 8192 else 4
            stages = 3 if warps == 8 or owned == 32 else 4
    tile_m, tile_k = (walked, owned) if phase == "element_flows" else (owned, walked)
    return LaunchConfig(tile_m, tile_k, tile_b, num_warps=warps, num_stages=stages)


def float32_config(config: LaunchConfig) -> LaunchConfig:
    """Of a forward launch whose operands are float32, where ``config`` is that of float16: matrices are multiplied on CUDA cores, whose
    threads want few values each. tile_m and tile_b are at most 64; tiles of 64 sums have 4 warps and walk over 32 children, three steps in
    flight; smaller ones 2 warps, 64 children and two steps. Blocks below 16 rows stay as they are."""
    if not config.uses_tensor_cores:
        return config
    walked, warps, stages = (32, 4, 3) if config.tile_m >= 64 else (64, 2, 2)
    return LaunchConfig(min(64, config.tile_m), walked, min(64, config.tile_b), num_warps=warps, num_stages=stages)


def em_config(sum_block: int, num_children: int) -> LaunchConfig:
    """EM of sums: a program owns tile_m sums of one block, and walks twice over their children, tile_k at a time: 256, or 512 over thousands."""
    rows, children = min(32, sum_block), 512 if num_children >= 1024 else min(256, next_power_of_two(num_children))
    return LaunchConfig(tile_m=rows, tile_k=children, tile_b=1, num_warps=8 if rows * children >= 4096 else 4)


def em_inputs_config(stride: int, num_cats: int) -> LaunchConfig:
    """EM of inputs: a program owns tile_m nodes of one table, and walks over their categories, tile_k at a time; twice, if a step does not
    hold all of them."""
    cats = min(512, next_power_of_two(num_cats))
    rows = min(64, 8192 // cats if num_cats <= cats else 8, next_power_of_two(stride))
    return LaunchConfig(tile_m=rows, tile_k=cats, tile_b=1, num_warps=8 if rows * cats >= 4096 else 4)


def em_gaussian_config(stride: int) -> LaunchConfig:
    """EM of Gaussian inputs: a program owns tile_m nodes of one table, and both parameters of each."""
    return LaunchConfig(tile_m=min(64, next_power_of_two(stride)), tile_k=2, tile_b=1)


def input_flows_config(stride: int, num_cats: int) -> LaunchConfig:
    """Flows of categories: a program owns tile_m nodes and tile_k categories of one table, and walks over the batch, tile_b samples at a time."""
    rows = min(64, max(16, next_power_of_two(stride)))
    cats = min(256, max(16, next_power_of_two(num_cats)))
    return LaunchConfig(tile_m=rows, tile_k=cats, tile_b=64, num_warps=8 if rows * cats >= 8192 else 4)


def next_power_of_two(value: int) -> int:
    """Smallest power of two that is at least ``value``."""
    return 1 << (value - 1).bit_length()
