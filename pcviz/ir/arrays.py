"""Arrays that a node vector is given, edges and parameters, and the error that says what is wrong with a circuit."""

from __future__ import annotations

import numpy as np


class CircuitError(ValueError):
    """The structure of a circuit is wrong; the message names the node vector and the variables."""


def index_array(values, what: str) -> np.ndarray:
    """``values`` as int64; CircuitError, which begins with ``what``, unless they are integers, at least one."""
    array = np.asarray(values)
    if array.size == 0:
        raise CircuitError(f"{what}: expects at least one edge, got an empty array.")
    if not np.issubdtype(array.dtype, np.integer):
        raise CircuitError(f"{what}: expects integers, got dtype {array.dtype}.")
    return array.astype(np.int64)


def check_range(values: np.ndarray, limit: int, what: str) -> None:
    """CircuitError unless all are in 0 .. limit - 1."""
    if values.min() < 0 or values.max() >= limit:
        bad = values[(values < 0) | (values >= limit)][0]
        raise CircuitError(f"{what}: index {int(bad)} is out of range, expected 0 to {limit - 1}.")


def float_array(values, shape: tuple[int, ...], what: str) -> np.ndarray:
    """``values`` as float32; CircuitError unless they have this shape."""
    array = np.asarray(values, dtype=np.float32)
    if array.shape != shape:
        raise CircuitError(f"{what}: params must have shape {list(shape)}, got {list(array.shape)}.")
    return array


def check_params(wrong: str | None, what: str) -> None:
    """CircuitError where ``wrong`` says what parameters would have to be."""
    if wrong is not None:
        raise CircuitError(f"{what}: params must be {wrong}.")
