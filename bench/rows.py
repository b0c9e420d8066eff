"""How many rows exported files hold: ``rows.py OUTPUT FILE…`` prints the number.

Text is counted by its line feeds (payloads hold none) or, for a JSON array, by a key that every row has once; Parquet
and Arrow by their own counts.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

_READ = 1 << 20
_KEY = b'"event_type":'


def _opened(path: str) -> BinaryIO:
    if path.endswith(".gz"):
        try:
            from isal import igzip

            return cast(BinaryIO, igzip.open(path, "rb"))
        except ImportError:
            return cast(BinaryIO, gzip.open(path, "rb"))
    if path.endswith(".zst"):
        from backports import zstd

        return cast(BinaryIO, zstd.open(path, "rb"))
    return open(path, "rb")


def _blocks(path: str) -> Iterator[bytes]:
    with _opened(path) as file:
        while block := file.read(_READ):
            yield block


def _lines(path: str) -> int:
    """Lines, a last one without its line feed included."""
    count, last = 0, b""
    for block in _blocks(path):
        count += block.count(b"\n")
        last = block[-1:]
    return count + (last not in (b"", b"\n"))


def _keys(path: str) -> int:
    count, rest = 0, b""
    for block in _blocks(path):
        text = rest + block
        count += text.count(_KEY)
        rest = text[-len(_KEY) + 1 :]
    return count


def _parquet(path: str) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _arrow(path: str) -> int:
    import pyarrow as pa

    with pa.memory_map(path) as source:
        reader: Any = pa.ipc.open_file(source)
        return sum(reader.get_batch(at).num_rows for at in range(reader.num_record_batches))


def count(output: str, path: str) -> int:
    """Rows of one file."""
    base = output.partition(".")[0]
    if base == "csv":
        return _lines(path) - 1
    return {"ndjson": _lines, "json": _keys, "parquet": _parquet, "arrow": _arrow}[base](path)


if __name__ == "__main__":
    print(sum(count(sys.argv[1], path) for path in sys.argv[2:]))
