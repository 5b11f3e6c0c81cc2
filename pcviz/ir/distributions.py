"""Input distributions: what a leaf of the circuit knows about one variable.

Each has ``num_params`` per node, ``init_params`` for a vector of n nodes (float32 [n, num_params]) and ``wrong_params``, what
is wrong with given ones. Discrete ones also have ``num_cats``: their variable takes the values 0 .. num_cats - 1, and a
node's parameters are the probabilities of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..arguments import checked_integer, is_number


@dataclass(frozen=True)
class Categorical:
    """Categorical distribution over the values 0 .. num_cats - 1.

    The parameters of a vector of n input nodes are a float32 array [n, num_cats], each row summing to 1.
    """

    num_cats: int

    def __post_init__(self):
        object.__setattr__(self, "num_cats", checked_integer("Categorical(num_cats=...)", self.num_cats))

    @property
    def num_params(self) -> int:
        return self.num_cats

    def init_params(self, num_nodes: int, rng: np.random.Generator) -> np.ndarray:
        """Random parameters [num_nodes, num_cats], float32, rows sum to 1."""
        return random_rows(num_nodes, self.num_cats, rng)

    def wrong_params(self, params: np.ndarray) -> str | None:
        return wrong_weights(params)


@dataclass(frozen=True)
class Bernoulli:
    """Bernoulli distribution over the values 0 and 1: computed as a categorical of two values.

    The parameters of a vector of n input nodes are a float32 array [n, 2]: p(0) and p(1), which sum to 1.
    """

    num_cats = num_params = 2

    def init_params(self, num_nodes: int, rng: np.random.Generator) -> np.ndarray:
        """Random parameters [num_nodes, 2], float32, rows sum to 1."""
        return random_rows(num_nodes, 2, rng)

    def wrong_params(self, params: np.ndarray) -> str | None:
        return wrong_weights(params)


@dataclass(frozen=True)
class Gaussian:
    """Normal distribution over the reals.

    ``mu`` and ``sigma`` say about where the data lie; initial means are drawn from N(mu, sigma). A sample so far from all nodes
    that its log-likelihood is 10^5 nats or more below 0 has flows of few digits in float32, in every implementation, until the
    means have moved towards it. ``min_sigma``: no standard deviation that is learned is smaller, so that no density runs away.
    The parameters of a vector of n input nodes are a float32 array [n, 2]: mean and standard deviation.
    """

    mu: float = 0.0
    sigma: float = 1.0
    min_sigma: float = 0.01

    def __post_init__(self):
        for name, value in (("mu", self.mu), ("sigma", self.sigma), ("min_sigma", self.min_sigma)):
            if not is_number(value):
                raise ValueError(f"Gaussian({name}=...) expects a finite number, got {value!r}.")
            object.__setattr__(self, name, float(value))
        if not (self.sigma > 0 and self.min_sigma > 0):
            raise ValueError(f"Gaussian: sigma and min_sigma must be above 0, got {self.sigma!r} and {self.min_sigma!r}.")

    @property
    def num_params(self) -> int:
        return 2

    def init_params(self, num_nodes: int, rng: np.random.Generator) -> np.ndarray:
        """Random parameters [num_nodes, 2], float32: means from N(mu, sigma), standard deviations just below sigma."""
        means = rng.normal(self.mu, self.sigma, num_nodes)
        stds = np.maximum(self.sigma * np.exp(-0.08 * rng.random(num_nodes)), self.min_sigma)
        return np.stack([means, stds], axis=1).astype(np.float32)

    def wrong_params(self, params: np.ndarray) -> str | None:
        return None if np.isfinite(params).all() and (params[:, 1] > 0).all() else "finite, with standard deviations above 0"


Distribution = Categorical | Bernoulli | Gaussian


def wrong_weights(params: np.ndarray) -> str | None:
    """What is wrong with probabilities that need not be normalised yet."""
    return None if np.isfinite(params).all() and (params >= 0).all() else "finite and not negative"


def random_rows(rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """A random row-stochastic matrix [rows, cols], float32: ``random_weights``, normalised."""
    weights = random_weights((rows, cols), rng)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def random_weights(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform in [0.1, 1.1) but for a common factor, in 2^16 steps, float32: initial parameters to be normalised.

    16 bits a weight: drawing them is what initialising a large circuit spends its time on.
    """
    size = math.prod(shape)
    bits = rng.integers(0, 2**64, size=-(-size // 4), dtype=np.uint64).view(np.uint16)
    weights = bits[:size].astype(np.float32).reshape(shape)
    weights += np.float32(0.1 * 2**16)
    return weights
