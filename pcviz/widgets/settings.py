"""What each control of the explorer takes, and what the page is told of a circuit under its settings."""

from __future__ import annotations

import reprlib
from dataclasses import asdict, replace

from .circuits import Entry
from .frames import VIEWS, Generation, Settings

DEVICES = {"H100-SXM": "H100-SXM (model)", "cpu": "this CPU (model)"}


def describe(entry: Entry, generation: Generation, entries: dict[str, Entry]) -> dict:
    """What the page is told of a generation: circuit, sizes, layers, settings, and what can be done with them."""
    settings = generation.settings
    return {
        "gen": generation.number,
        "circuit": entry.name,
        "circuits": [{"value": each.name, "label": each.label, "disabled": each.root is None} for each in entries.values()],
        "sizes": list(entry.sizes),
        "layers": [layer.index for layer in generation.layering.layers],
        "views": VIEWS,
        "needs": ["headline", "blocks"],
        "batch_size": settings.batch_size,
        "padding_tolerance": settings.padding_tolerance,
        "tolerances": generation.tolerances,
        "device": settings.device,
        "settings": asdict(settings),
        "devices": [{"value": value, "label": label} for value, label in DEVICES.items()],
        "can_train": entry.can_train,
        "can_measure": entry.can_train,
        "why_not": entry.why_not,
        "hint": entry.hint,
    }


BRIEF = reprlib.Repr()
BRIEF.maxstring = BRIEF.maxother = 60


def brief(value) -> str:
    """What was found in a place for something else, in an error: short, whatever it is."""
    try:
        return BRIEF.repr(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        return f"a very large {type(value).__name__}"


def changed_settings(settings: Settings, name: str, value) -> Settings:
    """``settings`` with one control changed; ValueError says what the control takes."""
    if name == "batch_size":
        try:
            number = int(str(value).replace(",", ""))
        except (ValueError, RecursionError):
            number = 0
        if not 1 <= number <= 1 << 20:
            raise ValueError(f"Batch size must be a whole number from 1 to 1,048,576, got {brief(value)}; {settings.batch_size} stays.")
        return replace(settings, batch_size=number)
    if name == "padding_tolerance":
        try:
            share = -1.0 if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            share = -1.0
        if not 0 <= share < float("inf"):
            raise ValueError(f"Tolerance must be a share of 0 or more, such as 0.25, got {brief(value)}; {settings.padding_tolerance} stays.")
        return replace(settings, padding_tolerance=share)
    if name == "device":
        if not isinstance(value, str) or value not in DEVICES:
            raise ValueError(f"Device must be one of {', '.join(DEVICES)}, got {brief(value)}.")
        return replace(settings, device=value)
    raise ValueError(f"There is no setting called {name!r}.")
