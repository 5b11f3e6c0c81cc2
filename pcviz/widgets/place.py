"""Where a state leads: the circuit, settings and place of an explorer that a checked state asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..compiler.layering import layering
from .circuits import Entry
from .frames import Settings
from .settings import brief, changed_settings
from .state import SETTINGS, page_state
from .teaching import SCENES, Scene, scene_entry, scene_named


class Place(NamedTuple):
    entry: Entry
    settings: Settings
    scene: Scene | None
    page: dict
    block_size: int
    layer: int


def entry_named(entries: dict[str, Entry], name: str) -> Entry:
    """A circuit of the menu ``entries``; those of scenes come to it when they are first asked for."""
    if name not in entries:
        if name not in {scene.circuit for scene in SCENES}:
            others = "; pass your circuit to pcv.explore, too" if name == "yours" else ""
            raise ValueError(f"There is no circuit called {brief(name)} here, only {', '.join(map(repr, entries))}{others}.")
        entries[name] = scene_entry(name)
    return entries[name]


def placed(state: Mapping, entries: Mapping[str, Entry], entry: Entry, settings: Settings, block_size: int) -> Place | None:
    """The place of a checked state; what it does not say is as now. None: its circuit is being prepared. ValueError: there is none."""
    entries = dict(entries)  # a state that is refused adds no circuit to the menu
    scene = None if state.get("scene") is None else scene_named(state["scene"])
    circuit = state.get("circuit", entry.name if scene is None else scene.circuit)
    if scene is not None and circuit != scene.circuit:
        raise ValueError(f"The scene {scene.name!r} is of the circuit {scene.circuit!r}, got circuit {brief(circuit)}: leave one of them out.")
    for name in SETTINGS:
        settings = changed_settings(settings, name, state[name]) if name in state else settings
    page, chosen = page_state(state), entry_named(entries, circuit)
    entry_named(entries, (page["compare"] or {}).get("circuit", circuit))
    if chosen.coming:
        return None
    if chosen.root is None:
        raise ValueError(chosen.why_not)
    size = state.get("block_size", block_size if chosen is entry else chosen.first_size)
    if size not in chosen.sizes:
        raise ValueError(f"block_size must be one of {', '.join(map(str, chosen.sizes))} for this circuit, got {brief(size)}.")
    layer = state.get("layer", chosen.layer)
    if "layer" in state and layer > (count := len(layering(chosen.root).layers)):
        raise ValueError(f"layer must be one of 1 to {count} for this circuit (1 is next to the inputs), got {brief(layer)}.")
    return Place(chosen, settings, scene, page, size, layer)
