"""Data: bundled images, IDX files, characters of a text, tables of any library as arrays. Nothing here needs the network or torch."""

from .bundled import digits
from .idx import load_idx
from .tables import as_array
from .text import characters

__all__ = ["as_array", "characters", "digits", "load_idx"]
