"""Flows of a circuit for the Blocks and the DAG view, computed in the device's thread."""

from __future__ import annotations

from .circuits import Entry

BLOCK_SIZE = 16  # flows do not depend on it; this one is quick on a CPU


class FlowsJob:
    """Keeps the flows of the last circuit and its blocks of the last layer, so that further windows come at once."""

    def __init__(self):
        self._key, self._flows, self._of = None, None, None
        self._blocks: tuple = (None, None)
        self._nodes: tuple = (None, None)

    def of(self, entry: Entry, settings, sample: int | None = None):
        """(flows of a sum vector's edges in the shape of its params, number of samples): of the first ``batch_size`` samples, or of one."""
        from .training_run import engine

        x = entry.x[: settings.batch_size] if sample is None else entry.x[sample : sample + 1]
        key = id(entry.root), id(entry.root.params), len(x), sample
        if key != self._key:
            self._of = entry.root, entry.root.params  # kept, so that no other object gets their ids; training writes new ones
            self._flows, self._key = engine(entry, min(BLOCK_SIZE, entry.sizes[-1]), settings).flows(x).of, key
        return self._flows, len(x)

    def nodes(self, entry: Entry, settings, numbering, sample: int | None):
        """([num_nodes] mean flow of each node, number of samples); ``sample``: of this one alone."""
        from .scenes.dag_flow import node_flows

        if sample is not None and not 0 <= sample < len(entry.x):
            raise ValueError(f"There is no sample {sample:,}: the data have the samples 0 to {len(entry.x) - 1:,}.")
        flows_of, samples = self.of(entry, settings, sample)
        if self._nodes[0] != self._key:
            self._nodes = self._key, node_flows(numbering, flows_of, samples)
        return self._nodes[1], samples

    def blocks(self, generation, size: int, layer: int):
        """Blocks of a layer in this thread: those of the generation belong to the frames' thread."""
        from ..compiler.blockmap import LayerBlocks

        key = generation.number, generation.settings.padding_tolerance, size, layer
        if self._blocks[0] != key:
            self._blocks = key, LayerBlocks(generation.layering, layer, size, generation.settings.padding_tolerance)
        return self._blocks[1]
