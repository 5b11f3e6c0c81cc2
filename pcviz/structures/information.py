"""Mutual information of every pair of variables, counted in bins: sharp ones, or soft ones as PyJuice has them."""

from __future__ import annotations

import numpy as np

CHUNK = 64  # variables that are scaled together by the soft bins, PyJuice's default
LOG_OFFSET = 1e-4  # PyJuice adds it to every probability under the logarithm
ROWS = 4096  # samples that are binned at a time


def mutual_information(x: np.ndarray, num_bins: int = 32) -> np.ndarray:
    """Mutual information in nats of every pair of variables, float64 [V, V], diagonal 0."""
    num_rows, num_vars = x.shape
    codes, num_codes = bin_values(x, num_bins)
    codes = np.ascontiguousarray(codes.T, dtype=np.int64)  # [V, N]
    terms = np.arange(num_rows + 1) / num_rows
    terms[1:] *= np.log(terms[1:])  # p log p by count
    entropies = np.array([-terms[np.bincount(row, minlength=num_codes)].sum() for row in codes])
    cells = num_codes * num_codes  # of one joint table
    base = codes + np.arange(num_vars)[:, None] * cells
    result = np.zeros((num_vars, num_vars))
    for v in range(num_vars - 1):
        later = num_vars - v - 1
        index = base[v + 1 :] + (codes[v] * num_codes - (v + 1) * cells)
        joint = np.bincount(index.ravel(), minlength=later * cells)
        result[v, v + 1 :] = entropies[v] + entropies[v + 1 :] + terms[joint].reshape(later, cells).sum(axis=1)
    return np.maximum(np.round(result + result.T, 12), 0.0)  # rounded: the tree must not depend on the order of a sum


def bin_values(x: np.ndarray, num_bins: int) -> tuple[np.ndarray, int]:
    """Codes [N, V] of ``x`` and how many there are: the values themselves, or bins of equal width when there are more."""
    num_values = int(x.max()) + 1
    if num_values <= num_bins:
        return x, num_values
    return (x.astype(np.int64) * num_bins // num_values).astype(np.int32), num_bins


def soft_mutual_information(x: np.ndarray, num_bins: int, sigma: float) -> np.ndarray:
    """What PyJuice's HCLT takes for the mutual information of every pair of variables, float64 [V, V], diagonal 0.

    A value, scaled to [0, 1] over its chunk of variables, belongs to bin i to the degree exp(-(value - i / (num_bins - 1))^2 /
    (2 sigma^2)). The marginal of a variable averages normalised degrees, the joint of two adds up products of plain ones and
    is normalised at the end, so that this is an estimate only; it may be negative.
    """
    num_vars = x.shape[1]
    chunks = [_scaled(x[:, first : first + CHUNK]) for first in range(0, num_vars, CHUNK)]
    entropies = [_entropies(_marginals(chunk, num_bins, sigma)) for chunk in chunks]
    result = np.zeros((num_vars, num_vars))
    for i, first in enumerate(chunks):
        for j, second in enumerate(chunks[i:], start=i):
            joint = _joint(first, second, num_bins, sigma)
            pairs = entropies[i][:, None] + entropies[j] - _entropies(joint.reshape(*joint.shape[:2], -1))
            rows, cols = (slice(k * CHUNK, k * CHUNK + len(entropies[k])) for k in (i, j))
            result[rows, cols] = pairs
    result = np.triu(result, 1)
    return np.round(result + result.T, 6)  # float32: what differs by less is a tie


def _scaled(x: np.ndarray) -> np.ndarray:
    low, high = np.float32(x.min()), np.float32(x.max())
    return (x.astype(np.float32) - low) / (high - low + np.float32(1e-8))


def _degrees(x: np.ndarray, num_bins: int, sigma: float) -> np.ndarray:
    """[n, variables, bins] how much each value belongs to each bin, float32."""
    distance = x[:, :, None] - np.linspace(0, 1, num_bins, dtype=np.float32)
    return np.exp(np.square(distance, out=distance) * np.float32(-0.5 / sigma**2), out=distance)


def _marginals(x: np.ndarray, num_bins: int, sigma: float) -> np.ndarray:
    """[variables, bins], rows sum to 1."""
    total = np.zeros((x.shape[1], num_bins))
    for first in range(0, len(x), ROWS):
        degrees = _degrees(x[first : first + ROWS], num_bins, sigma)
        total += (degrees / degrees.sum(axis=2, keepdims=True)).sum(axis=0)
    return total / len(x)


def _joint(first: np.ndarray, second: np.ndarray, num_bins: int, sigma: float) -> np.ndarray:
    """[variables, variables, bins, bins] joint distributions."""
    total = np.float32(0)
    for start in range(0, len(first), ROWS):
        left, right = (_degrees(x[start : start + ROWS], num_bins, sigma).reshape(-1, x.shape[1] * num_bins) for x in (first, second))
        total = total + left.T @ right
    total = total.reshape(first.shape[1], num_bins, second.shape[1], num_bins).transpose(0, 2, 1, 3)
    return total / total.sum(axis=(2, 3), keepdims=True)


def _entropies(p: np.ndarray) -> np.ndarray:
    """Of distributions along the last axis."""
    return -(p * np.log(p + p.dtype.type(LOG_OFFSET))).sum(axis=-1, dtype=np.float64)
