"""Names of node vectors as text that may be shown: anyone may have written them, and a file may hold any characters."""

from __future__ import annotations

import unicodedata

LONGEST = 300  # characters of a name that are shown


def readable(name: str, most: int = LONGEST) -> str:
    """``name`` on one line of at most ``most`` characters, cut with "…".

    What cannot be seen, or moves what stands around it (line ends, control characters, marks of writing direction), is
    written as in Python's text literals: \\n, \\x1b, \\u202e. A name with letters that run from right to left is isolated, so that
    the numbers after it keep their places.
    """
    if len(name) <= most and name.isascii() and name.isprintable():  # nearly all of them
        return name
    pieces, left = [], most
    for letter in name:
        piece = letter if letter.isprintable() else ascii(letter)[1:-1]
        left -= len(piece)
        if left < 0:
            pieces = _cut(pieces, most - 1)
            break
        pieces.append(piece)
    text = "".join(pieces)
    leftward = any(unicodedata.bidirectional(letter) in ("R", "AL", "AN") for letter in text)
    return f"\u2068{text}\u2069" if leftward else text


def unmarked(text: str) -> str:
    """``text`` of ``readable`` without the marks that isolate it."""
    return text.removeprefix("\u2068").removesuffix("\u2069")


def _cut(pieces: list[str], most: int) -> list[str]:
    """The first ``pieces`` of ``most`` characters in all, and an ellipsis."""
    while sum(map(len, pieces)) > most:
        pieces = pieces[:-1]
    return [*pieces, "…"]
