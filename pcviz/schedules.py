"""Step sizes that change over a run of EM. A schedule is any function of the progress (0 at the first mini-batch, 1 at the last)."""

from __future__ import annotations

import math
from collections.abc import Callable

from .arguments import is_number

Schedule = Callable[[float], float]


def linear(start: float, end: float) -> Schedule:
    """From ``start`` to ``end`` on a straight line."""
    _check("linear", start, end)
    return lambda progress: start + (end - start) * progress


def cosine(start: float, end: float) -> Schedule:
    """From ``start`` to ``end`` on half a cosine: slow at both ends."""
    _check("cosine", start, end)
    return lambda progress: end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _check(name: str, *values: float) -> None:
    for value in values:
        if not is_number(value) or not 0 < value <= 1:
            raise ValueError(f"schedules.{name} expects step sizes in (0, 1], got {value!r}.")
