"""Scenes: pure functions from records to small dictionaries (JSON and bytes) that one JavaScript ``draw`` each draws."""

from .blocks import scene_blocks, static_blocks
from .compare import scene_compare, static_compare
from .cost import scene_cost, static_cost
from .dag import scene_dag, static_dag
from .learned import scene_learned, static_learned
from .memory import scene_memory, static_memory
from .table import scene_table, static_table
from .tiles import scene_tiles, static_tiles
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
    "static_compare",
    "static_cost",
    "static_dag",
    "static_memory",
    "static_learned",
    "static_table",
    "static_tiles",
    "static_training",
]
