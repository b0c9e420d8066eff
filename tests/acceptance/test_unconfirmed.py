"""A commit that is not known to last is an error of its own, which says so and carries the manifest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock import (
    DirectoryDestination,
    Exporter,
    ExportFilter,
    ExportOptions,
    FileDestination,
    SqliteAnalyticsStorage,
)
from penstock.backends.descriptor import DescriptorSink
from penstock.backends.local.backend import LocalBackend
from penstock.errors import ExportError, IoError, NoSpace, Unconfirmed
from penstock.publishing.stream import StreamDestination
from penstock.testing.faults import Fail, FaultyOps

#: Where the manifest of each shape stands once it counts.
MANIFESTS = {
    "file": "out.ndjson.manifest.json",
    "directory": "out/_penstock/manifest.json",
    "lineage": "out/_penstock/runs/{run:06d}.json",
    "stream": "m.json",
}
Export = Callable[..., None]


def _export(shape: str, store: SqliteAnalyticsStorage, place: Path, *faults: Fail, limit: int, again: bool) -> None:
    ops = FaultyOps(*faults)
    with open(os.devnull, "wb") as null:
        destination = {
            "file": lambda: FileDestination(place / "out.ndjson", ops=ops),
            "directory": lambda: DirectoryDestination(place / "out", ops=ops),
            "lineage": lambda: DirectoryDestination(place / "out", ops=ops).lineage(),
            "stream": lambda: StreamDestination(
                DescriptorSink(null.fileno()), (LocalBackend(place, ops=ops), "m.json")
            ),
        }[shape]()
        runs = shape == "lineage"
        Exporter(store).export(
            destination,  # type: ignore[arg-type]  # each of them is one
            options=ExportOptions(format="ndjson", workers=1),
            filter=None if runs else ExportFilter(limit=limit),
            overwrite=again and not runs,
            incremental=runs,
        )


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("again", [False, True], ids=["new", "again"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("shape", MANIFESTS)
def test_an_error_tells_whether_the_commit_happened(
    shape: str, code: int, again: bool, filled: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    """Each operation fails in turn, until one more is asked for than there are."""
    plain = {errno.EIO: IoError, errno.ENOSPC: NoSpace}[code]
    confirmed = unconfirmed = fired = 0
    for number in range(1, 200):
        place = tmp_path / str(number)
        place.mkdir()
        if again:
            _export(shape, filled, place, limit=20, again=False)
        manifest = place / MANIFESTS[shape].format(run=1 + again)
        before = _read(manifest)
        fault = Fail(nth=number, code=code)
        try:
            _export(shape, filled, place, fault, limit=10, again=again)
        except Unconfirmed as error:
            unconfirmed += 1
            assert error.manifest == _read(manifest) != before  # noqa: PT017
            assert "power failure" in str(error)  # noqa: PT017
        except ExportError as error:
            assert isinstance(error, plain)  # noqa: PT017
            assert _read(manifest) == before, error  # noqa: PT017
        else:
            confirmed += 1
            assert _read(manifest) not in (None, before)
        fired += fault.fired
        if not fault.fired:
            break
    assert fired == number - 1 > 5
    assert unconfirmed >= 1
    assert confirmed >= 1
