"""One value is one time, however it came: as text, as a number of JSON, CSV, Parquet or Arrow, or in a table."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from adopted_oracle import write_table
from loading import load, ndjson, stored
from penstock import AdoptedTable, StorageConfig, ingest

FLOATS = [1793536215.1234567, 1793536215.1234565, 1793536215.5, 1793536215123.4567, 1793536215123457.0, 1.7e18]


@pytest.mark.parametrize("unit", ["", ":s"])
def test_a_float_is_the_same_time_in_every_file_and_in_a_table(tmp_path: Path, unit: str) -> None:
    values = FLOATS if not unit else [1793536215.1234567, 253402300799.1234, -0.1234565, 5.5, 1e-7]
    mapping = {"timestamp": f"at{unit}", "event_type": "kind"}
    frame = pl.DataFrame({"at": values, "kind": ["x"] * len(values)})
    frame.write_csv(tmp_path / "in.csv")
    frame.write_parquet(tmp_path / "in.parquet")
    frame.write_ipc(tmp_path / "in.arrow", compat_level=pl.CompatLevel.oldest())
    write_table(tmp_path / "app.db", "CREATE TABLE hits (at REAL, kind TEXT)", "hits", [(at, "x") for at in values])

    lines = ndjson(*(json.dumps({"at": at, "kind": "x"}) for at in values))
    assert load(tmp_path, lines, mapping=mapping).inserted == len(values)
    wanted = [event["timestamp"] for event in stored(tmp_path / "events.db")]

    for name in ("in.csv", "in.parquet", "in.arrow"):
        assert ingest(tmp_path / f"{name}.db", tmp_path / name, mapping=mapping).quarantined == 0
        assert [event["timestamp"] for event in stored(tmp_path / f"{name}.db")] == wanted, name
    with AdoptedTable(tmp_path / "app.db", StorageConfig(table="hits", mapping=mapping)) as table:
        found = pa.Table.from_batches(table.scan())["timestamp"].cast(pa.int64()).to_pylist()
    assert found == wanted
