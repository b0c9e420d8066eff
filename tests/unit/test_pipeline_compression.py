"""gzip and zstd: what is written is read by the common tools, and what is damaged is noticed."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import SerializationError
from penstock.pipeline.compression import compress, open_reader

TEXT = b"".join(b'{"n":%d,"word":"%d"}\n' % (number, number * number) for number in range(40))
CODECS = ["gzip", "zstd"]


def _packed(codec: str, text: bytes = TEXT, level: int | None = None) -> bytes:
    return b"".join(bytes(piece) for piece in compress(codec, level, [text]))


def _unpacked(codec: str, data: bytes) -> bytes:
    return open_reader(codec, io.BytesIO(data)).read()


class _Trickle(io.RawIOBase):
    """Gives one byte at a time, as a slow pipe may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(1)


@pytest.mark.parametrize("codec", [*CODECS, "none"])
@pytest.mark.parametrize("text", [b"", b"x", TEXT, bytes(3_000_000), random.Random(1).randbytes(700_000)], ids=len)
def test_what_is_packed_comes_back(codec: str, text: bytes) -> None:
    assert _unpacked(codec, _packed(codec, text)) == text


@pytest.mark.parametrize("codec", CODECS)
def test_pieces_make_one_member_and_members_one_stream(codec: str) -> None:
    pieces = [TEXT[:10], b"", memoryview(TEXT)[10:300], bytearray(TEXT[300:])]
    member = b"".join(bytes(piece) for piece in compress(codec, None, pieces))
    assert _unpacked(codec, member) == TEXT
    assert _unpacked(codec, member + _packed(codec, b"") + _packed(codec, b"end")) == TEXT + b"end"


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_that_trickles_is_read_whole(codec: str) -> None:
    source: Any = _Trickle(_packed(codec, TEXT * 20) * 2)
    assert open_reader(codec, source).read() == TEXT * 40


@pytest.mark.parametrize(
    ("codec", "level"),
    [("gzip", None), *(("gzip", n) for n in range(1, 10)), ("zstd", None), ("zstd", 1), ("zstd", 19)],
)
def test_the_common_tools_read_every_level(tmp_path: Path, codec: str, level: int | None) -> None:
    path = tmp_path / ("x.gz" if codec == "gzip" else "x.zst")
    path.write_bytes(b"".join(_packed(codec, text, level) for text in (b"", TEXT, b"", TEXT)))
    if codec == "gzip":
        assert gzip.decompress(path.read_bytes()) == TEXT * 2
    tools = [["gzip", "-t"], ["zcat"]] if codec == "gzip" else [["zstd", "-tq"], ["zstd", "-dcq"]]
    assert subprocess.run([*tools[0], str(path)], capture_output=True, check=True).stderr == b""
    assert subprocess.run([*tools[1], str(path)], capture_output=True, check=True).stdout == TEXT * 2


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_text_and_level_give_the_same_bytes_and_levels_are_honoured(codec: str) -> None:
    chance = random.Random(2)
    text = b"".join(b'{"n":%d,"word":"%d"}' % (number, chance.randrange(300)) for number in range(5000))
    sizes = {}
    for level in (1, 3, 4, 6, 9):
        assert _packed(codec, text, level) == _packed(codec, text, level)
        sizes[level] = len(_packed(codec, text, level))
    assert sizes[9] < sizes[1]
    assert len(set(sizes.values())) > 2


def test_gzip_members_say_nothing_of_the_time() -> None:
    for level in (None, *range(1, 10)):
        assert _packed("gzip", level=level)[4:8] == bytes(4)


@pytest.mark.parametrize("codec", CODECS)
def test_a_member_that_is_cut_short_anywhere_is_refused(codec: str) -> None:
    data = _packed(codec)
    for length in range(len(data)):
        with pytest.raises(SerializationError):
            _unpacked(codec, data[:length])


@pytest.mark.parametrize("codec", CODECS)
def test_a_second_member_that_is_cut_short_is_refused(codec: str) -> None:
    data = _packed(codec)
    for length in range(1, len(data)):
        with pytest.raises(SerializationError):
            _unpacked(codec, data + data[:length])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("junk", [b"\x00", b"\n", b"junk", bytes(100), b"\x1f", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", TEXT])
def test_bytes_after_the_last_member_are_refused(codec: str, junk: bytes) -> None:
    with pytest.raises(SerializationError):
        _unpacked(codec, _packed(codec) + junk)


@pytest.mark.parametrize("codec", CODECS)
def test_a_flipped_bit_is_noticed_or_changes_no_content(codec: str) -> None:
    """A few bits mean nothing for the content (the time in a header, what fills the last byte); SHA-256 finds those."""
    data = _packed(codec)
    silent = 0
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            try:
                found = _unpacked(codec, bytes(changed))
            except SerializationError:
                continue
            assert found == TEXT
            silent += 1
    assert silent < len(data), "one bit in eight"


@pytest.mark.parametrize("codec", CODECS)
def test_other_data_is_refused(codec: str) -> None:
    for data in (b"", TEXT, bytes(1000), _packed("zstd" if codec == "gzip" else "gzip")):
        with pytest.raises(SerializationError):
            _unpacked(codec, data)


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_is_read_in_small_bites(codec: str) -> None:
    bomb = _packed(codec, bytes(64 << 20), 9)
    assert len(bomb) < 1 << 17
    stream = io.BytesIO(bomb)
    reader = open_reader(codec, stream)
    assert len(reader.read(1000)) == 1000
    total = 1000
    while data := reader.read(1 << 20):
        assert len(data) <= 1 << 20
        total += len(data)
    assert total == 64 << 20


def test_errors_of_the_system_are_passed_on_as_they_are() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    source: Any = Broken()
    for codec in CODECS:
        with pytest.raises(OSError, match="Input/output error"):
            open_reader(codec, source).read()
