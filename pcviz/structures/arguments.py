"""Checks of arguments that the structures share."""

from ..arguments import checked_integer
from ..ir.distributions import Distribution


def check_dist(builder: str, dist) -> None:
    if not isinstance(dist, Distribution):
        raise ValueError(f"{builder}(dist=...) expects a distribution such as pcv.Categorical(num_cats=17), got {dist!r}.")


def check_seed(builder: str, seed) -> None:
    checked_integer(f"{builder}(seed=...)", seed, least=0)
