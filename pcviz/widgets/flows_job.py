"""Flows of a circuit's edges for the Blocks view, computed in the device's thread."""

from __future__ import annotations

from .circuits import Entry

BLOCK_SIZE = 16  # flows do not depend on it; this one is quick on a CPU


class FlowsJob:
    """Keeps the flows of the last circuit and its blocks of the last layer, so that further windows come at once."""

    def __init__(self):
        self._key, self._flows, self._of = None, None, None
        self._blocks: tuple = (None, None)

    def of(self, entry: Entry, settings):
        """(flows of a sum vector's edges in the shape of its params, number of samples): of the first ``batch_size`` samples."""
        from .training_run import engine

        x = entry.x[: settings.batch_size]
        key = id(entry.root), id(entry.root.params), len(x)
        if key != self._key:
            self._of = entry.root, entry.root.params  # kept, so that no other object gets their ids; training writes new ones
            self._flows, self._key = engine(entry, min(BLOCK_SIZE, entry.sizes[-1]), settings).flows(x).of, key
        return self._flows, len(x)

    def blocks(self, generation, size: int, layer: int):
        """Blocks of a layer in this thread: those of the generation belong to the frames' thread."""
        from ..compiler.blockmap import LayerBlocks

        key = generation.number, size, layer
        if self._blocks[0] != key:
            self._blocks = key, LayerBlocks(generation.layering, layer, size, generation.settings.padding_tolerance)
        return self._blocks[1]
