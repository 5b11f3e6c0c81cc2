"""Files that appear at once and whole, whatever happens while they are written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A name beside ``target`` to write to, which takes its place at the end; after an exception nothing is left of it.

    Nobody can have foreseen the name: no other process writes there, and no link lies in wait.
    """
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def check_folder(target: Path) -> None:
    """FileNotFoundError unless the folder of ``target`` is there: said before the work for a file begins."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target} cannot be written: there is no folder {target.parent}.")
