"""IDX files: every form is read, every damage is named, nothing large is allocated for a header that lies."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pcviz.datasets import load_idx

FASHION = Path("/usr/share/datasets/fashion-mnist")
CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array: np.ndarray, *, magic: bytes | None = None, shape=None) -> bytes:
    shape = array.shape if shape is None else shape
    magic = magic or bytes([0, 0, CODES[array.dtype.name], len(shape)])
    return magic + struct.pack(f">{len(shape)}I", *shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 3)).astype(np.uint8)


def labels(count: int) -> np.ndarray:
    return (np.arange(count) % 10).astype(np.uint8)


@pytest.fixture(params=["plain", "gz", "dotted"])
def folder(tmp_path, request):
    """MNIST's four files, tiny."""
    for start, count in (("train", 7), ("t10k", 3)):
        for kind, digit, array in (("images", 3, images(count, seed=count)), ("labels", 1, labels(count))):
            name = f"{start}-{kind}{'.' if request.param == 'dotted' else '-'}idx{digit}-ubyte"
            data = idx_bytes(array)
            if request.param == "gz":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_folder(folder):
    train, test = images(7, seed=7).reshape(7, 12), images(3, seed=3).reshape(3, 12)
    np.testing.assert_array_equal(load_idx(folder), train)
    np.testing.assert_array_equal(load_idx(str(folder), split="test"), test)
    x, y = load_idx(folder, "all", labels=True)
    np.testing.assert_array_equal(x, np.concatenate([train, test]))
    np.testing.assert_array_equal(y, np.concatenate([labels(7), labels(3)]))
    assert x.dtype == y.dtype == np.uint8 and x.flags.writeable


def test_a_file_of_images_and_its_labels(folder):
    (path,) = folder.glob("t10k-images*")
    x, y = load_idx(path, labels=True)
    assert x.shape == (3, 12) and y.tolist() == [0, 1, 2]
    (path,) = folder.glob("train-labels*")
    assert load_idx(path).tolist() == list(range(7))


@pytest.mark.parametrize("packed", [True, False])
def test_packed_or_not_is_seen_from_the_bytes(tmp_path, packed):
    data = idx_bytes(images(2))
    (tmp_path / "images.gz").write_bytes(gzip.compress(data) if packed else data)
    np.testing.assert_array_equal(load_idx(tmp_path / "images.gz"), images(2).reshape(2, 12))


def test_a_plain_file_is_taken_before_its_packed_copy(folder):
    for file in list(folder.glob("*")):
        if file.suffix != ".gz":
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
    assert load_idx(folder).shape == (7, 12)


def test_emnist_names(tmp_path):
    for part, count in (("letters", 5), ("digits", 6)):
        (tmp_path / f"emnist-{part}-train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images(count))))
        (tmp_path / f"emnist-{part}-train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels(count))))
    with pytest.raises(ValueError, match="several files.*emnist-digits-train.*emnist-letters-train.*pass the path of one"):
        load_idx(tmp_path)
    x, y = load_idx(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz", labels=True)
    assert len(x) == len(y) == 5


@pytest.mark.parametrize("dtype", CODES)
def test_every_type_of_value(tmp_path, dtype):
    array = (np.arange(24).reshape(2, 3, 4) * 3 - 7).astype(dtype)
    (tmp_path / "x").write_bytes(idx_bytes(array))
    found = load_idx(tmp_path / "x")
    assert found.dtype == np.dtype(dtype) and found.dtype.isnative
    np.testing.assert_array_equal(found, array.reshape(2, 12))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"ends within the magic number \(0 of 4 bytes\)"),
        (b"\0\0\x08", r"ends within the magic number \(3 of 4 bytes\)"),
        (b"\0\0\x08\x03\0\0", r"ends within the dimensions \(2 of 12 bytes\)"),
        (b"\x89PNG" + bytes(40), "not an IDX file: expected it to start with two zero bytes, found 89 50 4e 47"),
        (idx_bytes(images(2), magic=b"\0\0\x07\x03"), r"magic number 00 00 07 03: expected a type of 0x08.*0x0e \(byte 2\)"),
        (b"\0\0\x08\0" + bytes(9), "at least one dimension"),
        (idx_bytes(images(2))[:-1], r"expected shape \[2, 4, 3\] of uint8, 24 bytes after the header, found 23; it is cut off"),
        (idx_bytes(images(2)) + b"\0", r"expected shape \[2, 4, 3\] of uint8, 24 bytes after the header, found (25|more); its header does not"),
        (idx_bytes(images(2), shape=(0, 4, 3)), r"shape \[0, 4, 3\], which holds no value"),
        (idx_bytes(images(2), shape=(2**32 - 1, 2**32 - 1, 2**31)), "found 24; it is cut off"),
    ],
)
def test_damaged_files_are_named(tmp_path, pack, data, message):
    path = tmp_path / "broken-images"
    path.write_bytes(pack(data))
    with pytest.raises(ValueError, match=message) as caught:
        load_idx(path)
    assert str(path) in str(caught.value)


def test_damaged_gzip_files_are_named(tmp_path):
    packed = gzip.compress(idx_bytes(images(200)))
    flipped = packed[:40] + bytes([packed[40] ^ 0xFF]) + packed[41:]
    for name, data in (("cut", packed[: len(packed) // 2]), ("flipped", flipped), ("head", packed[:2] + b"\xff" * 30)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}.*(damaged gzip file|cut off)"):
            load_idx(tmp_path / name)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_lying_header_allocates_nothing_large(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(idx_bytes(images(50), shape=(1 << 20, 1 << 10, 1 << 10))))  # 1 TiB
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cut off"):
            load_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_packed_file_that_grows_past_its_header_is_not_unpacked(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(images(50)) + bytes(64 << 20)))  # 64 MiB of zeros in 64 kB
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="found more; its header does not belong to it"):
            load_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_what_is_missing_is_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; expected an IDX file or a folder"):
        load_idx(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no train images in .*empty: expected a file like train-images-idx3-ubyte or .*\.gz, found nothing"):
        load_idx(tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="found notes.txt"):
        load_idx(tmp_path / "empty", "test")
    with pytest.raises(ValueError, match="'train', 'test', 'all', got 'valid'"):
        load_idx(folder, "valid")
    (path,) = folder.glob("train-images*")
    with pytest.raises(ValueError, match="split='train' chooses among the files of a folder"):
        load_idx(path, "train")
    (labels_path,) = folder.glob("train-labels*")
    with pytest.raises(FileNotFoundError, match="expected train-labels.* beside"):
        load_idx(labels_path, labels=True)
    labels_path.unlink()
    with pytest.raises(FileNotFoundError, match="expected train-labels.* beside"):
        load_idx(folder, labels=True)


def test_images_and_labels_must_belong_together(folder):
    for path in folder.glob("train-labels*"):
        data = idx_bytes(labels(6))
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    with pytest.raises(ValueError, match="7 images but 6 labels"):
        load_idx(folder, labels=True)
    for path in folder.glob("train-labels*"):
        data = idx_bytes(images(7))
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    with pytest.raises(ValueError, match=r"expected labels, one dimension, found shape \[7, 4, 3\]"):
        load_idx(folder, labels=True)
    for path in folder.glob("t10k-images*"):
        data = idx_bytes(images(3)[:, :3])
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    with pytest.raises(ValueError, match="the splits do not fit together.*12.*9"):
        load_idx(folder, "all")


@pytest.mark.skipif(not FASHION.is_dir(), reason=f"no {FASHION} (Debian package dataset-fashion-mnist)")
def test_fashion_mnist():
    x, y = load_idx(FASHION, labels=True)
    assert x.shape == (60000, 784) and x.dtype == np.uint8 and (x.min(), x.max()) == (0, 255)
    assert np.bincount(y).tolist() == [6000] * 10
    x_test, y_test = load_idx(FASHION, "test", labels=True)
    assert x_test.shape == (10000, 784) and np.bincount(y_test).tolist() == [1000] * 10
    assert round(float(x.mean()), 2) == 72.94  # known mean: 0.2860 x 255
