"""Checks of the arguments that compile, plan_summary and the explorer share."""

from ..arguments import is_integer, is_number

TOLERANCE = 0.25  # of padding, the usual one


def checked_block_size(block_size) -> int:
    """``block_size`` as Python's int; ValueError unless it is a power of two."""
    if not is_integer(block_size, 1) or block_size & (block_size - 1):
        raise ValueError(f"block_size must be a power of two (1, 2, 4, ... 32, 64, ...), got {block_size!r}.")
    return int(block_size)


def checked_tolerance(padding_tolerance) -> float:
    """``padding_tolerance`` as Python's float; ValueError unless it is finite and at least 0."""
    if not is_number(padding_tolerance) or padding_tolerance < 0:
        raise ValueError(
            f"padding_tolerance must be a number of at least 0 (pseudo edges / stored edges of a layer; 0.25 is usual), got {padding_tolerance!r}."
        )
    return float(padding_tolerance)
