"""What the circuit has learned so far: images that it draws, images that it completes, and the flow through its layers.

Beside the curves of the Training view. Sent again about once a second while a circuit trains, so its bytes are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .common import rounded

BYTES = 12_000  # of the images of one scene
SAMPLES, COMPLETIONS = 16, 8
MAX_LAYERS = 64  # bars
MOST = 0.9  # of a layer's flow


@dataclass(frozen=True)
class Pictures:
    """Images of [height, width] pixels as rows of V values from ``low`` to ``high``. ``hidden`` [V]: pixels that were completed."""

    shape: tuple[int, int]
    low: float
    high: float
    samples: np.ndarray
    originals: np.ndarray
    completed: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class LayerFlow:
    """Flows of one sum layer: ``flows`` [sums], each the mean over samples of d log p(x) / d log p(sum)."""

    layer: int
    flows: np.ndarray

    @property
    def mass(self) -> float:
        """Sums of the layer that a sample passes through, on average."""
        return float(self.flows.sum())

    @property
    def carriers(self) -> int:
        """Least number of sums that carry ``MOST`` of the layer's flow."""
        if not self.mass:
            return 0
        return int(np.searchsorted(np.cumsum(np.sort(self.flows)[::-1]), MOST * self.mass * (1 - 1e-9)) + 1)


def image_counts(num_pixels: int) -> tuple[int, int]:
    """(samples, completions) of a scene: 16 and 8, fewer where images are large; a completion takes two images."""
    completions = max(1, min(COMPLETIONS, BYTES // (4 * num_pixels)))
    return max(2, min(SAMPLES, 2 * completions)), completions


def scene_learned(
    epoch: int, step: int, block_size: int, flows: Sequence[LayerFlow], num_samples: int, pictures: Pictures | None, why: str = "",
    compared: bool = False,
) -> dict:  # fmt: skip
    """Scene after one mini-batch. ``num_samples``: of data, that the flows are means of; ``why`` there are no completions; ``compared``: it
    is of a run of a comparison, and the circuit gets back what it had learned before."""
    shown = list(flows)[-MAX_LAYERS:]
    return {
        "view": "learned",
        "epoch": epoch,
        "step": step,
        "blockSize": block_size,
        "compared": compared,
        "images": None if pictures is None else _images(pictures),
        "why": why,
        "flow": {
            "layers": [each.layer for each in shown],
            "mass": [rounded(each.mass) for each in shown],
            "sums": [len(each.flows) for each in shown],
            "carriers": [each.carriers for each in shown],
            "most": MOST,
            "numSamples": num_samples,
        },
        "caption": " ".join(_notes(len(flows), compared)),
    }


def _notes(num_layers: int, compared: bool) -> Iterator[str]:
    if compared:
        yield "After the comparison the circuit has its parameters of before, not these."
    if num_layers > MAX_LAYERS:
        yield f"The last {MAX_LAYERS} of {num_layers} layers."


def _images(pictures: Pictures) -> dict:
    height, width = pictures.shape

    def grey(values: np.ndarray) -> bytes:
        """One byte a pixel: 0 for ``low``, 255 for ``high``."""
        span = max(pictures.high - pictures.low, 1e-9)
        return np.clip(np.rint(255 * (np.asarray(values, dtype=np.float64) - pictures.low) / span), 0, 255).astype(np.uint8).tobytes()

    return {
        "height": height,
        "width": width,
        "numSamples": len(pictures.samples),
        "numCompletions": len(pictures.completed),
        "samples": grey(pictures.samples),
        "originals": grey(pictures.originals),
        "completed": grey(pictures.completed),
        "hidden": np.asarray(pictures.hidden, dtype=np.uint8).tobytes(),
    }
