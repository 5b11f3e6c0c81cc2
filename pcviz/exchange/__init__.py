"""Circuits to and from PyJuice: structure, parameters, ties and block sizes, exactly (float32), without compiling there.

PyJuice (2.6.3) keeps edges and parameters in blocks: ``edge_ids`` [2, E] of a sum vector join ``block_size`` sums to
``ch_block_size`` children, ``_params`` is [E, block_size, ch_block_size]. A product vector has one row of ``edge_ids`` per
block, or one per node. All children of a product have its block size, those of a sum one of their own, a power of two that
divides their lengths. PyJuice is imported in ``to_pyjuice`` alone; ``from_pyjuice`` knows its classes by name.
"""

from .incoming import from_pyjuice
from .outgoing import to_pyjuice

__all__ = ["from_pyjuice", "to_pyjuice"]
