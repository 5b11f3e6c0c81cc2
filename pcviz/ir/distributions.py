"""Input distributions: what a leaf of the circuit knows about one variable."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Categorical:
    """Categorical distribution over the values 0 .. num_cats - 1.

    The parameters of a vector of n input nodes are a float32 array [n, num_cats], each row summing to 1.
    """

    num_cats: int

    def __post_init__(self):
        if not isinstance(self.num_cats, (int, np.integer)) or self.num_cats < 1:
            raise ValueError(f"Categorical(num_cats=...) expects an integer of at least 1, got {self.num_cats!r}.")

    def init_params(self, num_nodes: int, rng: np.random.Generator) -> np.ndarray:
        """Random parameters [num_nodes, num_cats], float32, rows sum to 1."""
        return random_rows(num_nodes, self.num_cats, rng)


def random_rows(rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """A random row-stochastic matrix [rows, cols], float32: uniform weights in [0.1, 1.1), normalised."""
    weights = rng.random((rows, cols), dtype=np.float32)
    weights += np.float32(0.1)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
