"""A part read back: the one way in which stored bytes become rows again. Verify, restore, diff and all others take it.

A part's length is looked at first. Then its bytes are fetched: once, or twice if it is a columnar file on this machine,
which has to be hashed before a decoder leaps about in it. What is handed on was proven to be what was written: its
length and SHA-256 before the first row leaves, its content, rows, digest and spans before the last one does.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

import pyarrow as pa

from penstock.errors import IntegrityError, NotFound, UsageError, from_os_error
from penstock.formats import FORMATS
from penstock.model.manifest import PartEntry
from penstock.model.options import Layout
from penstock.model.span import Span, joined, span_of
from penstock.pipeline.compression import open_reader
from penstock.pipeline.digests import Meter, MeteredReader, OverLimit, digest_hex
from penstock.pipeline.rowtext import RowText
from penstock.publishing.around import Stored

_READ = 1 << 20
#: Stored bytes that are kept in memory before they go to the disk.
_KEPT_BYTES = 8 << 20
_BATCH_ROWS = 65_536
_HELD_BYTES = 16 << 20
_HINT = "penstock verify names all that is damaged; nothing of this part was used"


def proven(stored: Stored, layout: Layout, entry: PartEntry) -> Iterator[pa.RecordBatch]:
    """The rows of one part, in order and in bounded memory.

    None leaves before the stored bytes proved to be those of the manifest, the last ones not before the whole part did.
    Text, and what lies on another machine, is kept meanwhile in a file without a name, in ``TMPDIR`` if it is large.
    Raises :class:`~penstock.errors.IntegrityError`, :class:`~penstock.errors.NoSpace`.
    """
    wrong: list[str] = []
    held: list[pa.RecordBatch] = []
    try:
        for batch in _rows(stored, layout, entry, wrong, kept=True):
            held.append(batch)
            if len(held) > 1 and _enough(held):
                yield _joined(held[:-1])
                held = held[-1:]
    except OSError as error:
        raise from_os_error(error, f"cannot read {entry.name}") from None
    if wrong:
        raise IntegrityError(f"{entry.name}: {wrong[0]}", hint=_HINT)
    if held:
        yield _joined(held)


def damage(stored: Stored, layout: Layout, entry: PartEntry, *, quick: bool = False) -> list[str]:
    """What is wrong with a part: its stored bytes, or else what they decode to, all in one pass. ``quick`` looks at
    presence and size only."""
    if quick:
        return _other_rows(stored, entry) or _other_length(stored.size, entry)
    wrong: list[str] = []
    try:
        deque(_rows(stored, layout, entry, wrong, kept=False), maxlen=0)
    except OSError as error:
        return [f"cannot be read: {os.strerror(error.errno) if error.errno else error}"]
    return wrong


def _rows(
    stored: Stored, layout: Layout, entry: PartEntry, wrong: list[str], *, kept: bool
) -> Iterator[pa.RecordBatch]:
    """The rows of a part, from stored bytes that proved right if they are ``kept``; else text is decoded while it is
    hashed. When they end, ``wrong`` has all that is wrong with the part."""
    wrong += _other_rows(stored, entry) or _other_length(stored.size, entry)
    if wrong:
        return
    try:
        file = stored.open()
    except NotFound:  # it went since it was looked at
        wrong += _other_length(None, entry)
        return
    columnar = FORMATS[layout.format].seekable
    fetched = Meter()
    with file:
        source = cast(BinaryIO, MeteredReader(file, fetched, limit=entry.bytes))
        if not kept and not columnar:
            yield from _decoded(source, layout, entry, Meter(), wrong)
            _read_on(source)
            if stored.rows is None or not wrong:  # what is wrong with rows says more than what their lines are
                wrong[:] = _other_bytes(fetched, entry) or wrong
            return
        with _at_rest(file, source, twice=columnar and stored.local) as proof:
            wrong += _other_bytes(fetched, entry)
            if not wrong:
                yield from _decoded(proof, layout, entry, fetched if columnar else Meter(), wrong)


def _other_rows(stored: Stored, entry: PartEntry) -> list[str]:
    if stored.rows in (None, entry.rows):
        return []
    return [f"{stored.rows:,} rows lie there, the manifest says {entry.rows:,}"]


def _other_length(size: int | None, entry: PartEntry) -> list[str]:
    if size is None:
        return ["the file is missing"]
    return [] if size == entry.bytes else [f"{size} bytes are stored, the manifest says {entry.bytes}"]


def _other_bytes(fetched: Meter, entry: PartEntry) -> list[str]:
    if fetched.bytes == entry.bytes and fetched.sha256 != entry.sha256:
        return ["the stored bytes are not those that were written: SHA-256 differs"]
    return _other_length(fetched.bytes, entry)


@contextmanager
def _at_rest(file: BinaryIO, source: BinaryIO, *, twice: bool) -> Iterator[BinaryIO]:
    """All bytes of ``source``, which were read once, from their start and seekable: ``file`` itself to be read
    ``twice``, or else a copy."""
    if twice:
        _read_on(source)
        file.seek(0)
        yield file
        return
    with tempfile.SpooledTemporaryFile(_KEPT_BYTES, prefix="penstock-") as copy:
        _read_on(source, copy.write)
        copy.seek(0)
        yield cast(BinaryIO, copy)


def _read_on(source: BinaryIO, write: Callable[[bytes], object] = len) -> None:
    """Read to the end, or to where more comes than there should be."""
    with suppress(OverLimit):
        while data := source.read(_READ):
            try:
                write(data)
            except OSError as error:
                where = f"cannot keep a part in {tempfile.gettempdir()} (TMPDIR names another directory)"
                raise from_os_error(error, where) from None


def _decoded(
    file: BinaryIO, layout: Layout, entry: PartEntry, content: Meter, wrong: list[str]
) -> Iterator[pa.RecordBatch]:
    """Rows as they are decoded, then what the manifest says otherwise. ``content`` meters the uncompressed text; of a
    columnar file it has seen all."""
    format, dataset = FORMATS[layout.format], layout.dataset
    text = RowText(dataset)
    rows = digest = 0
    times: Span | None = None
    seqs: Span | None = None
    try:
        if not format.seekable:
            file = cast(BinaryIO, MeteredReader(open_reader(layout.codec, file), content, limit=entry.content_bytes))
        for batch in format.decoder(layout)(file):
            rows += batch.num_rows
            digest += text.digest(batch)
            times = joined(times, span_of(batch, dataset.time))
            seqs = joined(seqs, span_of(batch, dataset.order))
            yield batch
        while not format.seekable and file.read(_READ):
            continue
    except OverLimit as error:
        wrong.append(f"{error}, as the manifest has it")
    except (IntegrityError, UsageError) as error:
        wrong.append(str(error))
    else:
        spans = {"time_range": (dataset.time, times), "seq_range": (dataset.order, seqs)}
        found: dict[str, object] = {"rows": rows, "content_bytes": content.bytes, "content_sha256": content.sha256}
        found["rows_digest"] = digest_hex(digest)
        wrong += _differences(found, {name: span for name, (by, span) in spans.items() if by in dataset.columns}, entry)


def _differences(found: Mapping[str, object], spans: Mapping[str, Span | None], entry: PartEntry) -> list[str]:
    said = {name: getattr(entry, name) for name in (*found, *spans)}
    wrong = [f"{name} is {got!r}, the manifest says {said[name]!r}" for name, got in found.items() if got != said[name]]
    return [*wrong, *(f"{name} is not what the manifest says" for name, span in spans.items() if span != said[name])]


def _enough(held: Sequence[pa.RecordBatch]) -> bool:
    rows, size = sum(one.num_rows for one in held), sum(int(one.nbytes) for one in held)
    return bool(rows >= _BATCH_ROWS or size > _HELD_BYTES)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
