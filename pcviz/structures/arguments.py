"""Checks of arguments that the structures share."""

import numpy as np

from ..ir.distributions import Distribution


def check_integer(what: str, value, least: int = 1) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{what} expects an integer of at least {least}, got {value!r}.")


def check_dist(builder: str, dist) -> None:
    if not isinstance(dist, Distribution):
        raise ValueError(f"{builder}(dist=...) expects a distribution such as pcv.Categorical(num_cats=17), got {dist!r}.")


def check_seed(builder: str, seed) -> None:
    check_integer(f"{builder}(seed=...)", seed, least=0)
