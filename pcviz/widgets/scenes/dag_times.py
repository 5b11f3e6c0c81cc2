"""Times of layers that are no model, for the colours of the DAG view: recorded on a GPU, or measured on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

KINDS = ("recorded_ms", "measured_ms")


@dataclass(frozen=True)
class Times:
    """Times of a forward pass at one block size. ``label``: kind, device, date; empty without times, and ``why`` says what to do.
    ``number`` tells later ones from earlier ones.

    ``layers``: ms of a layer's launches, products and sums. ``sums``: of a layer, [groups] ms of the launches of its sums, where they
    were timed one by one; elsewhere a glyph's share is that of the layer's multiplied cells.
    """

    label: str = ""
    why: str = ""
    number: int = 0
    layers: dict[int, float] = field(default_factory=dict)
    sums: dict[int, np.ndarray] = field(default_factory=dict)

    def of_blocks(self, layer: int, group: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """[blocks] ms of the sum blocks of a layer, which belong to launches ``group`` and multiply ``cells``; nan where nothing is known."""
        if layer in self.sums:
            return (self.sums[layer] / np.bincount(group))[group]
        return self.layers[layer] * cells / cells.sum() if layer in self.layers else np.full(len(cells), np.nan)

    def for_page(self) -> dict:
        return {"label": self.label, "why": self.why, "number": self.number}


def measured_times(measurements: list, block_size: int, why_not: str) -> Times:
    """Of the last Measurement at ``block_size`` that has times of launches. ``why_not``: why nothing can be measured, if so."""
    found = [each for each in measurements if each.block_size == block_size and each.launches]
    if not found:
        return Times(why=why_not or f"Nothing is measured at block size {block_size} under these settings: press Measure.")
    last, layers, sums = found[-1], {}, {}
    for launch in last.launches:
        layers[launch.layer] = layers.get(launch.layer, 0.0) + launch.time_ms
        if launch.role == "sum":
            sums.setdefault(launch.layer, []).append(launch.time_ms)
    inputs = layers.pop(0, 0.0)
    label = f"measured, {last.impl}, {last.device_name}, {last.date}, block size {block_size}, batch {last.batch_size}; inputs take {inputs:.3g} ms"
    label += f"; {last.caution}" * last.busy
    return Times(label, "", len(found), layers, {layer: np.array(times) for layer, times in sums.items()})


def recorded_times(rows: list, block_size: int) -> Times:
    """Of recorded LayerTime rows of our engine on layer 1 of this circuit, under these settings."""
    found = [row for row in rows if row.block_size == block_size]
    if not found:
        return Times(why="Single layers were recorded of figure 5's circuit alone, on an H100 with 512 samples.")
    row, made = found[0], found[0].provenance
    label = f"recorded, {made.engine}, {made.gpu}, {made.date}, block size {block_size}, batch {row.batch_size}"
    return Times(label, "", 1, {1: row.forward_ms})
