"""Threads for long loops over vectors: numpy fills and copies large arrays without holding Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

WORTH_IT = 1 << 20  # entries; below, threads cost more than they save


def for_each(function: Callable[[object], None], items: Iterable, entries: int) -> None:
    """Call ``function`` on every item; on all cores when there are many ``entries`` of arrays to fill. Errors are raised."""
    if entries < WORTH_IT:
        for item in items:
            function(item)
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(function, items))
