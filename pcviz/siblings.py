"""Siblings: element blocks that the same sum blocks read. An engine may bring them to one scale when it forms them.

Nothing is lost by that: whoever reads one of them reads the largest, too.
"""

from __future__ import annotations

import numpy as np

PADDING = 4  # sets are stored as a table that is as wide as the largest; a launch whose table would be longer gets no sets


def sibling_sets(scale_ids: list[np.ndarray], product_blocks: list[np.ndarray], num_scales: int) -> np.ndarray:
    """[num_scales] the number of the set that each block of a layer is in. Blocks are numbered like their log-scales, with the
    null block 0; a set does not reach beyond one product launch.

    ``scale_ids``: per sum launch [G, E] the child blocks of each sum block. ``product_blocks``: per product launch its blocks.
    """
    rng = np.random.default_rng(0)
    marks = np.zeros(num_scales, dtype=np.uint64)  # equal marks: equal sets of readers, each of which has a random number
    for ids in scale_ids:
        readers = rng.integers(2**63, size=len(ids), dtype=np.uint64)
        np.add.at(marks, ids.ravel(), np.repeat(readers, ids.shape[1]))
    for blocks in product_blocks:
        marks[blocks] ^= rng.integers(2**63, dtype=np.uint64)
    marks[0] = 0
    set_of = np.unique(marks, return_inverse=True)[1].reshape(-1)
    for blocks in product_blocks:
        sizes = np.unique(set_of[blocks], return_counts=True)[1]
        if len(sizes) * sizes.max() > PADDING * len(blocks):
            set_of[blocks] = num_scales + blocks
    return set_of


def lead_scales(ids: np.ndarray, set_of: np.ndarray) -> np.ndarray | None:
    """[G] one child block of each sum block (``ids`` [G, E]; 0: pseudo) if its children are all of one set; else None."""
    lead = np.take_along_axis(ids, np.argmax(ids > 0, axis=1)[:, None], axis=1)
    return lead[:, 0] if ((set_of[ids] == set_of[lead]) | (ids == 0)).all() else None
