"""Files that are damaged by chance, each known by its format and number: whole exports and foreign files to begin with,
and what a seed does to them. ``python mutants.py PLACE FORMAT NUMBER`` writes one again, to look at it."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd

import sample_events
from forged import signed
from penstock import ExportOptions, SqliteAnalyticsStorage, export

FORMATS = ("json", "ndjson", "csv", "parquet", "arrow")
#: Our own exports of each format, by ending and compression.
_OWN = {
    "json": [("json", None), ("json.gz", None), ("json.zst", None)],
    "ndjson": [("ndjson", None), ("ndjson.gz", None), ("ndjson.zst", None)],
    "csv": [("csv", None), ("csv.gz", None), ("csv.zst", None)],
    "parquet": [("parquet", "zstd"), ("parquet", "none"), ("parquet", "snappy")],
    "arrow": [("arrow", "none"), ("arrow", "zstd"), ("arrow", "lz4")],
}
_STAMP = "2026-11-01T12:00:00Z"
#: Every so many mutants one is of a foreign file, which no manifest is about.
_FOREIGN_EVERY = 5
_UNPACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.decompress, "zst": zstd.decompress}
_PACK: dict[str, Callable[[bytes], bytes]] = {"gz": lambda data: gzip.compress(data, 1), "zst": zstd.compress}
_NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    127,
    255,
    256,
    65_535,
    1 << 20,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 40,
    (1 << 63) - 1,
    -(1 << 63),
)


@dataclass(frozen=True)
class Mutant:
    """A damaged file. ``manifest`` is forged to be about it, so that decoders are given its bytes; none if foreign."""

    name: str
    content: bytes
    manifest: bytes | None


def whole_files(place: Path) -> None:
    """Make the files that mutants come from: ``own`` exports with their manifests, and ``foreign`` ones."""
    (place / "own").mkdir(parents=True)
    (place / "foreign").mkdir()
    for size, events in (("few", sample_events.fixed()), ("many", sample_events.varied(70, payload=30))):
        with SqliteAnalyticsStorage(place / f"{size}.db") as store:
            store.append(events)
        for kinds in _OWN.values():
            for number, (ending, compression) in enumerate(kinds):
                options = ExportOptions(compression=compression, row_group_rows=25, pretty=ending == "json.gz")
                export(place / f"{size}.db", place / "own" / f"{size}{number}.{ending}", options=options)
    _foreign_tables(place / "foreign")
    lines = [f'{{"event_type":"e{n}","timestamp":"{_STAMP}","x":{{"y":[{n},"é"]}}}}' for n in range(40)]
    (place / "foreign" / "lines.ndjson").write_text("\n".join(lines))
    (place / "foreign" / "array.json").write_text("[" + ",\n ".join(lines) + "]")
    rows = [f'e{n};"{_STAMP}";"a ""{n}""\nb";' for n in range(40)]
    (place / "foreign" / "rows.csv").write_bytes("\r\n".join(["event_type;timestamp;note;", *rows]).encode())


def _foreign_tables(place: Path) -> None:
    count = 12
    plain = {
        "event_type": pa.array([f"e{n}" for n in range(count)]),
        "timestamp": pa.array([_STAMP] * count).dictionary_encode(),
        "amount": pa.array([Decimal("1.50")] * count),
        "price": pa.array([None, 1.5] * (count // 2)),
        "day": pa.array([n * 1000 for n in range(count)], pa.date32()),
        "at": pa.array([n * 10**9 for n in range(count)], pa.timestamp("ns", "Europe/Berlin")),
        "raw": pa.array([b"\xff\x00"] * count, pa.binary()),
        "fixed": pa.array([b"0123456789abcdef"] * count, pa.binary(16)),
        "wide": pa.array(["€" * n for n in range(count)], pa.large_string()),
        "list": pa.array([["a", None, "b" * n] for n in range(count)]),
        "map": pa.array([[("k", n)] for n in range(count)], pa.map_(pa.string(), pa.int32())),
        "struct": pa.array([{"a": n, "b": [{"c": "x"}]} for n in range(count)]),
        "flag": pa.array([True, None] * (count // 2)),
    }
    odd = {
        "view": pa.array(["v" * n * 3 for n in range(count)], pa.string_view()),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([5, count], pa.int32()), pa.array(["a", "b"])),
        "lists": pa.ListViewArray.from_arrays([0] * count, [2] * count, pa.array(["x", "y"])),
        "nothing": pa.nulls(count),
        "span": pa.array([(1, 2, 3)] * count, pa.month_day_nano_interval()),
    }
    pq.write_table(pa.table(plain), place / "a.parquet", row_group_size=5, compression="zstd")
    pq.write_table(
        pa.table(plain), place / "b.parquet", data_page_version="2.0", use_dictionary=False, compression="gzip"
    )
    delta = {
        "list.list.element": "DELTA_BYTE_ARRAY",
        "event_type": "DELTA_BYTE_ARRAY",
        "wide": "DELTA_LENGTH_BYTE_ARRAY",
    }
    pq.write_table(
        pa.table(plain), place / "c.parquet", use_dictionary=False, column_encoding=delta, store_schema=False
    )
    # Mostly of numbers that say where something else begins.
    places = {f"n{n}": pa.array([[["a"], ["b", "c"]], [], [[str(n)]]] * 2) for n in range(12)}
    for name, codec, content in (
        ("a.arrow", None, plain | odd),
        ("b.arrow", "zstd", plain | odd),
        ("c.arrow", "lz4", plain | odd),
        ("d.arrow", None, places),
        ("e.arrow", None, places),
    ):
        make = pa.ipc.new_stream if name in ("c.arrow", "e.arrow") else pa.ipc.new_file
        options = pa.ipc.IpcWriteOptions(compression=codec)
        table = pa.table(content)
        with pa.OSFile(str(place / name), "wb") as sink, make(sink, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=7)


class Mutants:
    """The mutants of one format, from the whole files in ``place``. The same seed and number give the same bytes."""

    def __init__(self, place: Path, format: str, seed: int) -> None:
        self._format = format
        self._seed = seed
        self._own = self._read(place / "own", {ending for ending, _ in _OWN[format]})
        self._foreign = self._read(place / "foreign", {format})
        self._manifests = {
            name: json.loads((place / "own" / f"{name}.manifest.json").read_bytes()) for name, _ in self._own
        }

    @staticmethod
    def _read(place: Path, endings: set[str]) -> list[tuple[str, bytes]]:
        paths = sorted(path for path in place.iterdir() if path.name.partition(".")[2] in endings)
        return [(path.name, path.read_bytes()) for path in paths]

    def make(self, number: int) -> Mutant:
        chance = random.Random(f"{self._seed} {self._format} {number}")
        foreign = number % _FOREIGN_EVERY == 0
        files = self._foreign if foreign else self._own
        name, content = chance.choice(files)
        packed = name.rpartition(".")[2]
        if packed in _PACK and chance.random() < 0.6:
            # Damage before compression gets past the compression's own sums.
            content = _PACK[packed](_damaged(chance, _UNPACK[packed](content), [content]))
        else:
            content = _damaged(chance, content, [other for _, other in files])
        return Mutant(name, content, None if foreign else self._forged(name, content))

    def _forged(self, name: str, content: bytes) -> bytes:
        raw: dict[str, Any] = json.loads(json.dumps(self._manifests[name]))
        digest = hashlib.sha256(content).hexdigest()
        part = raw["parts"][0]
        part |= {"bytes": len(content), "sha256": digest, "content_bytes": max(part["content_bytes"], len(content)) * 4}
        return signed(raw | {"checksum": digest})


def _damaged(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    whole = content
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        content = chance.choice(_WAYS)(chance, content, others)
    return content if content != whole else content[:-1]


def _place(chance: random.Random, content: bytes) -> int:
    """Somewhere, more often at the ends: that is where formats say how they are laid out."""
    size = len(content)
    return min(
        size,
        chance.choice(
            (
                chance.randrange(size + 1),
                chance.randrange(min(size, 400) + 1),
                size - chance.randrange(min(size, 1200) + 1),
            )
        ),
    )


def _flip(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = _place(chance, content)
        if at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    at, size = _place(chance, content), chance.choice((1, 1, 2, 4, 16))
    return (
        content[:at]
        + bytes(chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256))) for _ in range(size))
        + content[at + size :]
    )


def _length(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A number where one may stand: aligned, in either order of bytes, or in the digits of a compact one."""
    at = _place(chance, content)
    number = chance.choice((*_NUMBERS, len(content), len(content) - at, chance.randrange(1 << 32)))
    if chance.random() < 0.2:
        return content[:at] + _compact(abs(number)) + content[at + chance.choice((1, 2, 5)) :]
    code, bits = chance.choice((("<i", 32), ("<q", 64), ("<h", 16), (">i", 32)))
    number &= (1 << bits) - 1
    field = struct.pack(code.upper(), number)
    at -= at % len(field)
    return content[:at] + field + content[at + len(field) :]


def _compact(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def _near(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A number that stands there, made another that is near, or many times as large."""
    at = _place(chance, content)
    at -= at % 4
    if at + 4 > len(content):
        return content
    (number,) = struct.unpack_from("<I", content, at)
    number = chance.choice((number + 1, number - 1, number * 2, number * 1000, number ^ 0x8000_0000, number + 8))
    return content[:at] + struct.pack("<I", number & 0xFFFF_FFFF) + content[at + 4 :]


def _truncate(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    at = _place(chance, content)
    return content[:at] if chance.random() < 0.7 else content[at:]


def _splice(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    return content[: _place(chance, content)] + other[_place(chance, other) :]


def _block(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A block again, gone, or elsewhere."""
    at, size = _place(chance, content), chance.choice((1, 4, 8, 64, 300))
    block, way = content[at : at + size], chance.randrange(4)
    if way == 0:
        return content[:at] + block * chance.choice((2, 3, 100)) + content[at + size :]
    if way == 1:
        return content[:at] + content[at + size :]
    to = _place(chance, content)
    if way == 2:
        return content[:to] + block + content[to:]
    return content[:to] + block + content[to + len(block) :]


_WAYS = (_flip, _flip, _overwrite, _length, _length, _near, _truncate, _splice, _block)

if __name__ == "__main__":
    place = Path(sys.argv[1])
    if not place.exists():
        whole_files(place)
    mutant = Mutants(place, sys.argv[2], 0).make(int(sys.argv[3]))
    (place / mutant.name).write_bytes(mutant.content)
    (place / f"{mutant.name}.manifest.json").write_bytes(mutant.manifest or b"")
    print(place / mutant.name)
