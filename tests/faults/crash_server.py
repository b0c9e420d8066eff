"""A process of one thread that runs sweeps on request: a JSON line in, a JSON line out.

The test session itself cannot fork safely, since it may have threads by then; this process imports penstock, opens no
store, and forks for everything else.
"""

from __future__ import annotations

import gc
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_sqlite
import crash_errors
import crash_power
import crash_sweeps
import lineage_errors
import pyarrow as pa

from penstock.model.columns import EVENT_SCHEMA, batch_of
from penstock.model.event import AnalyticsEvent
from penstock.pipeline.canonical import rows_digest
from penstock.testing.forks import assert_can_fork

SWEEPS: dict[str, Any] = {
    sweep.__name__: sweep
    for sweep in (
        crash_sweeps.kill_sweep,
        crash_sweeps.double_sweep,
        crash_errors.error_sweep,
        crash_errors.short_write_sweep,
        crash_errors.interrupt_sweep,
        crash_errors.intruder_sweep,
        crash_power.power_sweep,
        crash_power.power_in_recovery_sweep,
        crash_power.order_check,
        lineage_errors.lineage_error_sweep,
        lineage_errors.lineage_short_write_sweep,
        lineage_errors.lineage_order_check,
        lineage_errors.lineage_power_sweep,
        lineage_errors.lineage_kill_sweep,
    )
}


def warm_up() -> None:
    """Load the driver and Arrow's kernels once, on data in memory, so that no child spends its time on it."""
    with (
        adbc.AdbcDatabase(driver=adbc_driver_sqlite._driver_path(), uri=":memory:") as database,
        adbc.AdbcConnection(database) as connection,
        adbc.AdbcStatement(connection) as statement,
    ):
        statement.set_sql_query("SELECT 1")
        stream, _ = statement.execute_query()
        pa.RecordBatchReader._import_from_c(stream.address).read_all()
    batch = batch_of([AnalyticsEvent("feature_used", data={"feature": "search"})])
    columns = {name: batch.column(name) for name in batch.schema.names}
    columns |= {"seq": pa.array([1]), "received_at": columns["timestamp"]}
    rows_digest(pa.record_batch([columns[name] for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA))
    gc.freeze()


def serve() -> None:
    """Answer requests until the other side closes."""
    warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            assert_can_fork(".db", ".db-wal", ".db-shm")
            count = SWEEPS[request["sweep"]](request["name"], Path(request["root"]), **request["arguments"])
            answer = {"count": count.to_json()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
