"""Scenes: pure functions from records to small dictionaries (JSON and bytes) that one JavaScript ``draw`` each draws."""

from .blocks import scene_blocks, static_blocks
from .compare import scene_compare
from .cost import scene_cost, static_cost
from .dag import scene_dag
from .learned import scene_learned
from .memory import scene_memory
from .table import scene_table
from .tiles import scene_tiles
from .training import scene_training, static_training

__all__ = [
    "scene_blocks",
    "scene_compare",
    "scene_cost",
    "scene_dag",
    "scene_memory",
    "scene_learned",
    "scene_table",
    "scene_tiles",
    "scene_training",
    "static_blocks",
    "static_cost",
    "static_training",
]
