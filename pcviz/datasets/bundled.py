"""Real data that ship with the package."""

from __future__ import annotations

import gzip

import numpy as np

from ..assets import asset_path

SPLITS = ("train", "test", "all")


def digits(split: str = "train") -> np.ndarray:
    """Handwritten digits: uint8 [B, 64], images of 8 x 8 pixels, row by row, values 0 to 16 (17 categories).

    split: "train" (1,437 images), "test" (360: every fifth image, starting with the first) or "all" (1,797, in the
    order of the source); ValueError: another one. The split is always the same.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, CC BY 4.0.
    """
    if split not in SPLITS:
        raise ValueError(f"digits(split=...) expects one of {', '.join(map(repr, SPLITS))}, got {split!r}.")
    images = _read_digits()[:, :64]
    in_test = np.arange(len(images)) % 5 == 0
    chosen = {"train": ~in_test, "test": in_test, "all": slice(None)}[split]
    return np.ascontiguousarray(images[chosen])


def _read_digits() -> np.ndarray:
    """The bundled file, uint8 [1797, 65]: 64 pixels and the digit."""
    with gzip.open(asset_path("digits.csv.gz"), "rt", encoding="ascii") as file:
        values = np.fromstring(file.read().replace("\n", ","), dtype=np.int64, sep=",")
    return values.reshape(-1, 65).astype(np.uint8)
