"""Numbers as arguments, of Python or numpy: what is none is refused, what is one becomes Python's.

A numpy integer that went through would fail far from here, in ``int.bit_length`` or in JSON.
"""

from __future__ import annotations

import math
from numbers import Integral, Real

MOST_PSEUDOCOUNT = 1e30  # float32, in which EM adds it to flows, ends at 3.4e38


def is_integer(value, least: int | None = None) -> bool:
    """Whether ``value`` is an integer, of at least ``least``; True and 1.0 are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and (least is None or value >= least)


def is_number(value) -> bool:
    """Whether ``value`` is a finite real number; True is none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def checked_integer(what: str, value, least: int | None = 1) -> int:
    """``value`` as Python's int; ValueError, which begins with ``what``, unless it is an integer of at least ``least``."""
    if not is_integer(value, least):
        kind = "an integer" if least is None else f"an integer of at least {least}"
        raise ValueError(f"{what} expects {kind}, got {value!r}.")
    return int(value)


def checked_step_size(step_size) -> float:
    """How far EM moves parameters to their new estimates, in (0, 1]; ValueError otherwise."""
    if not is_number(step_size) or not 0 < step_size <= 1:
        raise ValueError(f"step_size must be in (0, 1] (1: the new estimate replaces the old; fit takes schedules, too), got {step_size!r}.")
    return float(step_size)


def checked_pseudocount(pseudocount) -> float:
    """What EM adds to the flows of a sum or an input, from 0 to MOST_PSEUDOCOUNT; ValueError otherwise."""
    if not is_number(pseudocount) or not 0 <= pseudocount <= MOST_PSEUDOCOUNT:
        raise ValueError(f"pseudocount must be a number of at least 0 and at most {MOST_PSEUDOCOUNT:g}, got {pseudocount!r}.")
    return float(pseudocount)
