"""Whatever the events: every format and codec carries them so that other libraries read the same, and so do we."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import settings as limits

import foreign_readers
import naive_format
import sample_events
from penstock import AnalyticsEvent, Exporter, ExportOptions, FileDestination, SqliteAnalyticsStorage, verify
from penstock.model.columns import EVENT_SCHEMA
from penstock.model.manifest import Manifest
from penstock.reading.published import rows_of

WRAPPED = ("", ".gz", ".zst")
PLAIN: list[tuple[str, ExportOptions]] = [
    *((f"a.{ending}{wrapper}", ExportOptions()) for ending, wrapper in product(("json", "ndjson", "csv"), WRAPPED)),
    *((f"pretty.json{wrapper}", ExportOptions(pretty=True)) for wrapper in WRAPPED),
    *((f"{codec}.parquet", ExportOptions(compression=codec)) for codec in ("none", "gzip", "zstd", "snappy", "lz4")),
    *((f"{codec}.arrow", ExportOptions(compression=codec)) for codec in ("none", "zstd", "lz4")),
]


def _ours(place: Path, manifest: Manifest) -> pa.Table:
    """What our own decoder gives."""
    (entry,) = manifest.parts
    found = rows_of(FileDestination(place / entry.name), [manifest]).read_all()
    assert found.schema.equals(EVENT_SCHEMA, check_metadata=True)
    return found


@limits(max_examples=6)
@given(sample_events.distinct())
def test_every_format_and_codec_carries_every_event_unchanged(events: list[AnalyticsEvent]) -> None:
    wanted = foreign_readers.rows_of(events)
    with tempfile.TemporaryDirectory() as name, SqliteAnalyticsStorage(Path(name, "events.db")) as store:
        place = Path(name)
        assert store.append(events).inserted == len(events)
        stored = pa.Table.from_batches(store.scan(), EVENT_SCHEMA)
        digests = set()
        for file, options in PLAIN:
            result = Exporter(store).export(place / file, options=options)
            rows = foreign_readers.read(place / file)
            assert foreign_readers.without_arrival(rows) == wanted, file
            assert [row["seq"] for row in rows] == list(range(1, len(events) + 1)), file
            assert _ours(place, result.manifest) == stored, file
            assert verify(place / file).problems == (), file
            digests.add(result.manifest.rows_digest)
        assert digests == {naive_format.digest_of_ndjson((place / "a.ndjson").read_bytes())}


@limits(max_examples=6)
@given(sample_events.distinct(1))
def test_the_same_events_make_the_same_bytes_and_the_same_digest_in_any_order(events: list[AnalyticsEvent]) -> None:
    with tempfile.TemporaryDirectory() as name:
        digests = set()
        for number, order in enumerate((events, events[::-1])):
            with SqliteAnalyticsStorage(Path(name, f"{number}.db")) as store:
                store.append(order)
                for ending in ("csv.gz", "json.zst", "parquet"):
                    files = [Path(name, f"{number}-{attempt}.{ending}") for attempt in "ab"]
                    results = [Exporter(store).export(file) for file in files]
                    assert files[0].read_bytes() == files[1].read_bytes()
                    digests |= {result.manifest.rows_digest for result in results}
        assert len(digests) == 1
