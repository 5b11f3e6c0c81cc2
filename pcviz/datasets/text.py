"""Windows of characters from a text file: data for hidden Markov models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..arguments import checked_integer


def characters(
    path, length: int, *, stride: int | None = None, lowercase: bool = False, vocabulary: str | None = None, encoding: str = "utf-8"
) -> tuple[np.ndarray, str]:
    """(windows [N, length], vocabulary): the text of a file, cut into windows of ``length`` characters.

    Values are places in ``vocabulary``, a string of the characters that occur, in order of their code points; so
    ``"".join(vocabulary[i] for i in window)`` is the text again. uint8 for up to 256 characters, else int32.
    path: a text file; line ends of any system are one "\\n", a byte order mark is dropped.
    stride: characters from one window to the next; None: ``length``, so that windows do not overlap. A rest that fills no
    window is left out.
    vocabulary: that of an earlier call, so that test data have the numbers of the training data; None: from this text.

    Raises FileNotFoundError, and ValueError that says where: another encoding, a text that is too short, characters that are not
    in ``vocabulary``.
    """
    length = checked_integer("characters(length=...)", length)
    stride = length if stride is None else checked_integer("characters(stride=...)", stride)
    text = _read(Path(path), encoding)
    text = text.lower() if lowercase else text
    if len(text) < length:
        raise ValueError(f"{path}: {len(text):,} characters, expected at least length={length}, one window.")
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    known = np.unique(points) if vocabulary is None else _points_of(vocabulary)
    codes = _codes(points, known, path)
    windows = np.lib.stride_tricks.sliding_window_view(codes, length)[::stride]
    return np.ascontiguousarray(windows), "".join(map(chr, known))


def _read(path: Path, encoding: str) -> str:
    if not path.exists():
        raise FileNotFoundError(f"characters: {path} does not exist (from {Path.cwd()}).")
    data = path.read_bytes()
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ValueError(f"characters(encoding={encoding!r}): no such encoding; 'utf-8' and 'latin-1' are common ones.") from None
    except UnicodeDecodeError as error:
        wrong = data[error.start : error.start + 1].hex()
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: expected text in {encoding}, found byte 0x{wrong} at offset {error.start:,} (line {line:,}): {error.reason}; "
            f"pass encoding=, e.g. 'latin-1' or 'utf-16'."
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _points_of(vocabulary: str) -> np.ndarray:
    points = [ord(character) for character in vocabulary]
    if not points or sorted(set(points)) != points:
        raise ValueError("characters(vocabulary=...) expects the string that an earlier call returned: every character once, ascending.")
    return np.array(points, dtype=np.uint32)


def _codes(points: np.ndarray, known: np.ndarray, path) -> np.ndarray:
    codes = np.minimum(np.searchsorted(known, points), len(known) - 1)
    unknown = known[codes] != points
    if unknown.any():
        first = int(np.argmax(unknown))
        raise ValueError(
            f"{path}: character {chr(points[first])!r} at place {first:,} is not in the vocabulary of {len(known)} characters "
            f"({int(unknown.sum()):,} such places); make the vocabulary from all texts, or remove them."
        )
    return codes.astype(np.uint8 if len(known) <= 256 else np.int32)
