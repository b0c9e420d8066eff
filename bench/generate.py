"""A deterministic event store of any size, with events like real ones, for the benchmarks.

Events have UUID ids, 30 types of 5 categories with Zipf weights, sessions of about 50 events (10 % without one), 2 %
late and tied timestamps, and JSON payloads of 80 to 250 bytes with quotes, commas and non-ASCII text; 1 % of them have
2 kB. DuckDB computes the columns, the store's own append writes them.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import duckdb
import pyarrow as pa

from penstock import SqliteAnalyticsStorage, StorageConfig
from penstock.model.columns import APPEND_SCHEMA
from penstock.model.event import KNOWN_TYPES

WORK = Path(__file__).parent / "work"
_TYPES = [name for name, category in KNOWN_TYPES.items() if category in ("usage", "performance", "error", "business")]
_CUSTOM = ["checkout.started", "page_viewed", "search", "signup"]
_NAMES = sorted([*_TYPES, *_CUSTOM], key=lambda name: hashlib.md5(name.encode()).digest())[:30]
_WORDS = (  # noqa: SIM905 - forty words read better as a text than as a list
    "account alert archive backup balance batch billing branch browser button cache calendar cart channel chart"
    " checkout client cluster column comment commit consent contact coupon currency cursor dashboard database deadline"
    " default delivery device digest discount document domain download draft driver editor"
).split()
_STEP = 262_144

_QUERY = """
WITH raw AS (
    SELECT i, hash(i) AS h, hash(i + 1000000007) AS g, md5(i::VARCHAR) AS m,
           CAST(floor(pow({types} + 1, (hash(i * 31 + 7) % 1000003) / 1000003.0)) AS INTEGER) AS pick
    FROM range({start}, {stop}) AS t(i)
), typed AS (
    SELECT *, list_extract($names, least(pick, {types})) AS event_type,
           list_extract($words, 1 + (h % 40)::INTEGER) AS word1, list_extract($words, 1 + (g % 40)::INTEGER) AS word2
    FROM raw
)
SELECT
    substr(m, 1, 8) || '-' || substr(m, 9, 4) || '-4' || substr(m, 14, 3) || '-8' || substr(m, 18, 3) || '-'
        || substr(m, 21, 12) AS id,
    list_extract($categories, list_position($names, event_type)) AS category,
    event_type,
    1767225600000000 + (CASE WHEN g % 100 < 2 THEN (i - i % 1000 - (g % 50000)::BIGINT) ELSE i END) * 250000
        AS timestamp,
    CASE WHEN h % 10 = 0 THEN NULL ELSE
        substr(md5('s' || (i // 50)::VARCHAR), 1, 8) || '-0000-4000-8000-' || lpad((i // 50)::VARCHAR, 12, '0')
    END AS session_id,
    list_extract(['low', 'normal', 'normal', 'normal', 'high', 'critical'], 1 + (h % 6)::INTEGER) AS priority,
    '{{"feature":"' || list_extract(['search', 'export', 'café', 'naïve, list', 'say \\"hi\\"'], 1 + (g % 5)::INTEGER)
        || '","ms":' || (h % 5000)::VARCHAR || '.' || (g % 10)::VARCHAR || ',"ok":' || (h % 7 <> 0)::VARCHAR
        || ',"trace":"' || m || '","note":"'
        || left(repeat(word1 || ', ' || left(md5(m), 1 + (g % 11)::INTEGER) || ' ' || word2 || ' ', 160),
                CASE WHEN h % 100 = 0 THEN 2000 ELSE (g % 150)::INTEGER END)
        || '"}}' AS data,
    '{{"app_version":"4.' || (i // 200000)::VARCHAR || '.1","os":"' || list_extract(['linux', 'macos', 'windows'],
        1 + (g % 3)::INTEGER) || '","locale":"de_DE"}}' AS metadata
FROM typed ORDER BY i
"""


def store_of(events: int) -> Path:
    """The path of a store of that many generated events; made on first use."""
    path = WORK / f"events-{events}.db"
    if not path.exists():
        WORK.mkdir(exist_ok=True)
        draft = path.with_suffix(".draft")
        for name in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            name.unlink(missing_ok=True)
        fill(draft, 0, events)
        draft.rename(path)
        for ending in ("-wal", "-shm"):
            Path(f"{draft}{ending}").unlink(missing_ok=True)
    return path


def fill(path: Path, start: int, stop: int) -> None:
    """Append the events numbered from ``start`` up to, not including, ``stop``."""
    with SqliteAnalyticsStorage(path, StorageConfig(synchronous="off")) as storage:
        for at in range(start, stop, _STEP):
            for batch in batches(at, min(at + _STEP, stop)):
                storage.append(batch, checked=True)


def batches(start: int, stop: int) -> list[pa.RecordBatch]:
    """Generated events as batches that a store can append."""
    categories = [str(KNOWN_TYPES.get(name, "custom")) for name in _NAMES]
    with duckdb.connect(config={"threads": 2}) as database:
        found = database.sql(
            _QUERY.format(start=start, stop=stop, types=len(_NAMES)),
            params={"names": _NAMES, "categories": categories, "words": _WORDS},
        ).to_arrow_table()
    arrays = [
        found[field.name].cast(pa.int64()).cast(field.type)
        if field.name == "timestamp"
        else found[field.name].cast(field.type)
        for field in APPEND_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=APPEND_SCHEMA).to_batches(max_chunksize=65_536)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    began = time.perf_counter()
    path = store_of(events)
    print(f"{path}: {events:,} events, {path.stat().st_size / 1e6:,.0f} MB, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
