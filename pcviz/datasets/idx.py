"""IDX files: the format of MNIST, Fashion-MNIST and EMNIST (its description: LeCun, Cortes, Burges, THE MNIST DATABASE).

Bytes 0 and 1 are zero, byte 2 names the type, byte 3 the number of dimensions; then one big-endian uint32 per dimension,
then the values, big-endian, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
SPLITS = {"train": ("train",), "test": ("t10k", "test"), "all": ("train", "test")}
CHUNK_BYTES = 1 << 20


def load_idx(path, split: str | None = None, *, labels: bool = False):
    """Images of an IDX file, gzip or not: [N, V] with the pixels row by row, uint8 in MNIST and its kin.

    path: a file, or a folder with files named as MNIST's (``train-images-idx3-ubyte.gz``, ``t10k-labels-idx1-ubyte``, ...; also
    EMNIST's, when only one of its parts is there).
    split: of a folder: "train" (default), "test" or "all"; a file is what it is.
    labels: return (images, labels [N]); of a file, the labels are looked for beside it.
    A file of labels gives [N]. EMNIST stores its images transposed, and so they come.

    Raises ValueError that says what was expected and what was found: another format, an unknown type, too few or too many
    bytes, images and labels of different number. Memory is taken as values arrive, not as the header promises.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"load_idx: {path} does not exist; expected an IDX file or a folder of them, e.g. train-images-idx3-ubyte.gz.")
    if path.is_dir():
        split = split or "train"
        if split not in SPLITS:
            raise ValueError(f"load_idx(split=...) expects one of {', '.join(map(repr, SPLITS))}, got {split!r}.")
        files = [_find(path, part, "images") for part in ((split,) if split != "all" else SPLITS["all"])]
    elif split is not None:
        raise ValueError(f"load_idx: split={split!r} chooses among the files of a folder, but {path} is a file; leave split out.")
    else:
        files = [path]
    images = _joined([_rows(read_idx(file)) for file in files], files)
    if not labels:
        return images
    numbers = np.concatenate([_labels_of(file) for file in files])
    if len(numbers) != len(images):
        raise ValueError(f"{path}: {len(images):,} images but {len(numbers):,} labels; the files belong to different data.")
    return images, numbers


def read_idx(path: Path) -> np.ndarray:
    """The array of one IDX file, in its own shape and native byte order."""
    path = Path(path)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            return _read(file, path, None if packed else path.stat().st_size)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error}); fetch it anew.") from None


def _read(file: BinaryIO, path: Path, size: int | None) -> np.ndarray:
    """``size``: bytes of the whole file, None when only reading tells."""
    magic = _exactly(file, 4, path, "the magic number")
    if magic[:2] != b"\0\0":
        raise ValueError(f"{path}: not an IDX file: expected it to start with two zero bytes, found {magic.hex(' ')}.")
    if magic[2] not in TYPES or magic[3] == 0:
        known = ", ".join(f"0x{code:02x}" for code in TYPES)
        raise ValueError(f"{path}: magic number {magic.hex(' ')}: expected a type of {known} (byte 2) and at least one dimension (byte 3).")
    shape = np.frombuffer(_exactly(file, 4 * magic[3], path, "the dimensions"), dtype=">u4").tolist()
    if 0 in shape:
        raise ValueError(f"{path}: the header says shape {shape}, which holds no value; expected at least one.")
    dtype = np.dtype(TYPES[magic[2]])
    expected, header = math.prod(shape) * dtype.itemsize, 4 + 4 * magic[3]
    stated = f"{path}: expected shape {shape} of {dtype.newbyteorder('=').name}, {expected:,} bytes after the header, found"
    if size is not None and size - header != expected:
        raise ValueError(f"{stated} {size - header:,}; {_wrong_length(size - header, expected)}")
    data = _at_most(file, expected + 1)
    if len(data) != expected:
        raise ValueError(f"{stated} {'more' if len(data) > expected else f'{len(data):,}'}; {_wrong_length(len(data), expected)}")
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _wrong_length(found: int, expected: int) -> str:
    return "it is cut off: fetch it anew." if found < expected else "its header does not belong to it: fetch it anew."


def _exactly(file: BinaryIO, count: int, path: Path, what: str) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError(f"{path}: not an IDX file: it ends within {what} ({len(data)} of {count} bytes).")
    return data


def _at_most(file: BinaryIO, count: int) -> bytearray:
    """Up to ``count`` bytes; memory grows with what is there."""
    data = bytearray()
    while len(data) < count and (chunk := file.read(min(CHUNK_BYTES, count - len(data)))):
        data += chunk
    return data


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1) if array.ndim > 1 else array


def _joined(parts: list[np.ndarray], files: list[Path]) -> np.ndarray:
    if len({(part.shape[1:], part.dtype) for part in parts}) > 1:
        shapes = ", ".join(f"{file.name} {list(part.shape)} {part.dtype}" for file, part in zip(files, parts))
        raise ValueError(f"{files[0].parent}: the splits do not fit together: {shapes}.")
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _labels_of(images: Path) -> np.ndarray:
    """Labels from the file beside ``images``."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    stem = name.removesuffix(".gz")
    found = [images.with_name(name) for name in (name, stem, stem + ".gz") if name != images.name and images.with_name(name).is_file()]
    if not found:
        raise FileNotFoundError(f"load_idx(labels=True): expected {name} beside {images}; it is not there.")
    labels = read_idx(found[0])
    if labels.ndim != 1:
        raise ValueError(f"{found[0]}: expected labels, one dimension, found shape {list(labels.shape)}.")
    return labels


def _find(folder: Path, split: str, kind: str) -> Path:
    """The file of a split in a folder; gzip or not, names with "-idx3" or ".idx3", EMNIST's with a prefix."""
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    stems = {name.removesuffix(".gz"): name for name in names}  # the plain file after the packed one, so it wins
    ends = tuple(f"{start}-{kind}{dot}idx3-ubyte" for start in SPLITS[split] for dot in "-.")
    found = [name for stem, name in stems.items() if stem.endswith(ends)]
    if not found:
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
        raise FileNotFoundError(f"load_idx: no {split} {kind} in {folder}: expected a file like {ends[0]} or {ends[0]}.gz, found {listed}.")
    if len(found) > 1:
        raise ValueError(f"load_idx: several files of {split} {kind} in {folder}: {', '.join(found)}; pass the path of one.")
    return folder / found[0]
