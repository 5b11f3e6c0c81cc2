"""LaunchConfigs that were measured to be fastest on a GPU, in the place of the rule; and which ones are worth a try."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from .config import PHASES, TENSOR_CORE_TILE, LaunchConfig, default_config, next_power_of_two

Shape = tuple[str, int, int, int]
"""Phase, sum_block, child_block, and the rows that the launch owns: what the rule decides by."""

UNIT = 64  # rows of one log-scale (triton_launches.UNIT), at most: the tile that lies within a unit is no larger


def unit_rows(most_children: int) -> int:
    """Rows of elements that share a log-scale in a layer whose sum blocks have at most ``most_children`` each: UNIT, but hardly more
    than that, so that fewer scales are set by children of other sums alone."""
    return min(UNIT, max(TENSOR_CORE_TILE, next_power_of_two(most_children)))


@dataclass(frozen=True)
class TunedConfigs:
    """Called like ``default_config``: the tuned LaunchConfig of a shape, where there is one, else the rule's."""

    configs: Mapping[Shape, LaunchConfig] = field(default_factory=dict)

    def __call__(self, phase: str, sum_block: int, child_block: int, batch_size: int = 512, num_rows: int | None = None) -> LaunchConfig:
        tuned = self.configs.get((phase, sum_block, child_block, num_rows))
        return tuned or default_config(phase, sum_block, child_block, batch_size, num_rows)

    def save(self, path: Path, key: str) -> None:
        """Under ``key`` (GPU, versions, kernels) into a JSON file, beside what it holds of other keys."""
        kept = _read(path)
        kept[key] = [{"shape": list(shape), **asdict(config)} for shape, config in self.configs.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{uuid.uuid4().hex}.part")
        partial.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, key: str) -> TunedConfigs:
        """What was saved under ``key``; nothing when the file is missing, damaged or of other kernels."""
        try:
            return cls(dict(_shape_and_config(**row) for row in _read(path).get(key, [])))
        except (TypeError, ValueError):
            return cls()


def _shape_and_config(shape, **config) -> tuple[Shape, LaunchConfig]:
    phase, *sizes = shape
    if phase not in PHASES or len(sizes) != 3 or not all(isinstance(size, int) for size in sizes):
        raise ValueError(shape)
    return (phase, *sizes), LaunchConfig(**config)


def _read(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def neighbours(config: LaunchConfig, phase: str, sum_block: int, child_block: int) -> Iterator[LaunchConfig]:
    """Configs that differ from ``config`` in one number and that the kernels of impl="triton" can run for these blocks."""
    if not config.uses_tensor_cores:
        options = {"num_warps": (2, 4, 8), "tile_b": (32, 64, 128)}
    else:
        own, walk = ("tile_k", "tile_m") if phase == "element_flows" else ("tile_m", "tile_k")
        owned, walked = (child_block, sum_block) if phase == "element_flows" else (sum_block, child_block)
        largest_own = min(owned, 2 * UNIT if phase == "forward" else UNIT)
        sides = (16, 32, 64, 128)
        options = {
            "tile_b": (32, 64) if phase == "param_flows" else (64, 128),
            "num_warps": (4, 8),
            "num_stages": (2, 3, 4, 5),
            own: tuple(side for side in sides if side <= largest_own),
            walk: tuple(side for side in sides if TENSOR_CORE_TILE <= side <= (min(walked, UNIT) if walked >= TENSOR_CORE_TILE else UNIT)),
        }
    for name, values in options.items():
        for value in values:
            if value != getattr(config, name):
                yield replace(config, **{name: value})
