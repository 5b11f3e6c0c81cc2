"""Windows of characters."""

import numpy as np
import pytest

from pcviz.datasets import characters


@pytest.fixture
def text(tmp_path):
    def write(content: str | bytes, name="text.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return write


def decoded(windows, vocabulary) -> list[str]:
    return ["".join(vocabulary[i] for i in window) for window in windows]


def test_windows_and_vocabulary(text):
    windows, vocabulary = characters(text("abcabd ab"), length=4)
    assert vocabulary == " abcd" and windows.dtype == np.uint8
    assert decoded(windows, vocabulary) == ["abca", "bd a"]
    windows, _ = characters(text("abcabd ab"), length=4, stride=2)
    assert decoded(windows, vocabulary) == ["abca", "cabd", "bd a"]
    windows, _ = characters(str(text("abcd")), length=4, stride=1)
    assert decoded(windows, "abcd") == ["abcd"]


def test_line_ends_byte_order_mark_and_case(text):
    plain = characters(text("Ab\ncD\n"), length=3)
    for content in ("Ab\r\ncD\r\n", "Ab\rcD\r", "\ufeffAb\ncD\n"):
        windows, vocabulary = characters(text(content), length=3)
        assert vocabulary == plain[1] and np.array_equal(windows, plain[0])
    assert characters(text("Ab\ncD\n"), length=3, lowercase=True)[1] == "\nabcd"


def test_any_alphabet(text):
    content = "Grüße, Ärger! 試験 𝔸 e\u0301"
    windows, vocabulary = characters(text(content), length=len(content))
    assert decoded(windows, vocabulary) == [content]
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    windows, vocabulary = characters(text(many), length=100)
    assert windows.dtype == np.int32 and vocabulary == many and decoded(windows, vocabulary) == [many[:100], many[100:200], many[200:]]


def test_test_data_take_the_vocabulary_of_the_training_data(text):
    _, vocabulary = characters(text("abcdef"), length=2)
    windows, same = characters(text("fade", "test.txt"), length=2, vocabulary=vocabulary)
    assert same == vocabulary and decoded(windows, vocabulary) == ["fa", "de"]
    with pytest.raises(ValueError, match=r"test\.txt: character 'z' at place 2 is not in the vocabulary of 6 characters \(2 such places\)"):
        characters(text("fazez", "test.txt"), length=2, vocabulary=vocabulary)
    for wrong in ("", "ba", "aab"):
        with pytest.raises(ValueError, match="the string that an earlier call returned"):
            characters(text("ab"), length=2, vocabulary=wrong)


def test_wrong_encodings_are_named(text):
    path = text("erste\nzweite Größe".encode("latin-1"))
    with pytest.raises(ValueError, match=r"expected text in utf-8, found byte 0xf6 at offset 15 \(line 2\).*encoding=, e.g. 'latin-1'"):
        characters(path, length=4)
    assert "ö" in characters(path, length=4, encoding="latin-1")[1]
    with pytest.raises(ValueError, match="no such encoding"):
        characters(path, length=4, encoding="utf-88")


@pytest.mark.parametrize("arguments", [{"length": 0}, {"length": 2.5}, {"length": 2, "stride": 0}, {"length": 2, "stride": True}])
def test_bad_arguments(text, arguments):
    with pytest.raises(ValueError, match=r"(length|stride)=.*integer of at least 1"):
        characters(text("abcdef"), **arguments)
    with pytest.raises(ValueError, match="5 characters, expected at least length=6"):
        characters(text("abcde"), length=6)
    with pytest.raises(FileNotFoundError):
        characters("nowhere.txt", length=6)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="characters: .*nowhere.txt does not exist"):
        characters(tmp_path / "nowhere.txt", length=3)
