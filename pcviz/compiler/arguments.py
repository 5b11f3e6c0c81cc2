"""Checks of the arguments that compile, plan_summary and the explorer share."""

import math

import numpy as np


def check_block_size(block_size: int) -> None:
    if isinstance(block_size, bool) or not isinstance(block_size, (int, np.integer)) or block_size < 1 or block_size & (block_size - 1):
        raise ValueError(f"block_size must be a power of two (1, 2, 4, ... 32, 64, ...), got {block_size!r}.")


def check_tolerance(padding_tolerance: float) -> None:
    if not isinstance(padding_tolerance, (int, float, np.floating)) or not math.isfinite(padding_tolerance) or padding_tolerance < 0:
        raise ValueError(
            f"padding_tolerance must be a number of at least 0 (pseudo edges / stored edges of a layer; 0.25 is usual), got {padding_tolerance!r}."
        )
