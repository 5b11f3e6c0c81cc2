"""What a circuit has learned, computed in the device's thread between two mini-batches: samples, completions and flows."""

from __future__ import annotations

import numpy as np

from .circuits import Entry
from .scenes.learned import LayerFlow, Pictures, image_counts, scene_learned
from .training_run import Row, Training

FLOW_SAMPLES = 32
SEED = 0  # the same random numbers each time: what changes is the circuit


def learned(training: Training, row: Row) -> dict:
    """The scene of the circuit as it stands after ``row``, the last."""
    circuit, entry = training.circuit, training.entry
    data = np.asarray(entry.x if entry.x_test is None else entry.x_test)
    pictures, why = None, "This circuit's data are no images."
    if entry.image is not None:
        pictures, why = _pictures(circuit, entry, data)
    some = data[:FLOW_SAMPLES]
    flows = circuit.node_flows(some).double().mean(dim=1).cpu().numpy()
    layers = _by_layer(circuit.plan, flows)
    return scene_learned(row.step.epoch, row.step.step, circuit.block_size, layers, len(some), pictures, why, training.comparing)


def _pictures(circuit, entry: Entry, data: np.ndarray) -> tuple[Pictures, str]:
    num_samples, num_completions = image_counts(data.shape[1])
    originals, why = data[:num_completions], ""
    hidden = lower_half(entry.image)
    try:
        completed = circuit.sample(1, x=originals, observed=~hidden[None], seed=SEED)[0].cpu().numpy()
    except ValueError as error:  # an upper half that the circuit holds for impossible
        originals, completed, why = originals[:0], originals[:0], str(error)
    samples = circuit.sample(num_samples, seed=SEED).cpu().numpy()
    return Pictures(entry.image, float(entry.x.min()), float(entry.x.max()), samples, originals, completed, hidden), why


def lower_half(shape: tuple[int, int]) -> np.ndarray:
    """[V] bool"""
    height, width = shape
    return np.repeat(np.arange(height) >= height / 2, width)


def _by_layer(plan, flows: np.ndarray) -> list[LayerFlow]:
    layers = enumerate(plan.layers, start=1)
    return [LayerFlow(index, np.concatenate([flows[plan.rows_of(slot.grid.nodes)] for slot in layer.sums])) for index, layer in layers]
