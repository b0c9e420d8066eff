"""What publishing says and does when something comes in between, case by case; the sweeps go through all of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock import (
    DirectoryDestination,
    Exporter,
    ExportFilter,
    ExportOptions,
    FileDestination,
    SqliteAnalyticsStorage,
)
from penstock import verify as verify_export
from penstock.errors import DestinationExists, IoError, NoSpace, Unconfirmed
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.options import ExportFormat
from penstock.model.result import ExportResult
from penstock.publishing.attempt import Attempt
from penstock.runners.threads import ThreadRunner
from penstock.testing.faults import Fail, Fault, FaultyOps, Meddle, Operation
from penstock.wiring import SystemClock

Export = Callable[..., ExportResult]


class Crash(BaseException):
    """The process dies here: nothing of the protocol may run afterwards, so the publication is abandoned as it is."""


def let_go(attempt: Any) -> None:
    """What the end of a process does to a lock."""
    if attempt._lock._fd >= 0:
        os.close(attempt._lock._fd)
        attempt._lock._fd = -1


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    return place


@pytest.fixture
def export(filled: SqliteAnalyticsStorage, place: Path) -> Export:
    """Export to ``out.ndjson`` or to the directory ``out``; ``limit`` makes another content."""

    def run(
        *faults: Fault, name: str = "out.ndjson", limit: int | None = None, overwrite: bool = False
    ) -> ExportResult:
        ops = FaultyOps(*faults)
        single = "." in name
        destination = FileDestination(place / name, ops=ops) if single else DirectoryDestination(place / name, ops=ops)
        options = ExportOptions(workers=1) if single else ExportOptions(workers=1, part_rows=100, format="ndjson")
        return Exporter(filled).export(
            destination, filter=ExportFilter(limit=limit), options=options, overwrite=overwrite
        )

    return run


@pytest.fixture
def crash(export: Export, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Export, and stop as if killed right before the operation with this name on a path with this ending."""

    def run(on: str, ending: str, **more: object) -> None:
        def die(_: object) -> None:
            raise Crash

        fault = Meddle(on=(on,), ending=ending, action=die)
        with monkeypatch.context() as patched:
            patched.setattr(Attempt, "close", let_go)
            with pytest.raises(Crash):
                export(fault, **more)
        assert fault.fired == 1

    return run


def _files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_an_interrupted_replacement_is_completed_and_told(
    export: Export, crash: Callable[..., None], place: Path
) -> None:
    export(limit=10)
    crash("rename", "/out.ndjson", overwrite=True)
    assert not (place / "out.ndjson.manifest.json").exists()
    with pytest.raises(DestinationExists, match="was completed first"):
        export()
    result = verify_export(place / "out.ndjson")
    assert result.ok
    assert result.event_count == 500


def test_a_completed_replacement_is_noted_by_a_run_that_goes_on(
    export: Export, crash: Callable[..., None], place: Path
) -> None:
    export(limit=10)
    crash("rename", "/out.ndjson", overwrite=True)
    result = export(limit=20, overwrite=True)
    assert any("an interrupted replacement" in note for note in result.notes)
    assert verify_export(place / "out.ndjson").event_count == 20


@pytest.mark.parametrize("change", ["rewritten", "replaced", "removed and made again"])
def test_a_file_that_was_changed_since_the_crash_is_left_alone(
    change: str, export: Export, crash: Callable[..., None], place: Path
) -> None:
    export(limit=10)
    crash("rename", "/out.ndjson", overwrite=True)
    target = place / "out.ndjson"
    if change == "rewritten":
        target.write_bytes(b"mine by now")
    elif change == "replaced":
        (place / "aside").write_bytes(b"mine by now")
        os.replace(place / "aside", target)
    else:
        target.unlink()
        target.write_bytes(b"mine by now")
    with pytest.raises(DestinationExists):
        export()
    assert target.read_bytes() == b"mine by now"
    assert set(_files(place)) == {"out.ndjson"}


@pytest.mark.parametrize("committed", [False, True])
def test_a_plain_export_leaves_a_committed_run_alone_and_clears_one_that_is_none(
    committed: bool, filled: SqliteAnalyticsStorage, export: Export, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: object) -> None:
        raise Crash

    ops = FaultyOps(Meddle(on=("link",), ending="000001.json", when="after" if committed else "before", action=die))
    options = ExportOptions(workers=1, format="ndjson")
    with monkeypatch.context() as patched:
        patched.setattr(Attempt, "close", let_go)
        with pytest.raises(Crash):
            export_incremental(
                filled,
                DirectoryDestination(place / "out", ops=ops).lineage(),
                layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
                filter=ExportFilter(),
                options=options,
                clock=SystemClock(),
                workers=Workers(threads=ThreadRunner(1)),
            )
    ours = [name for name in _files(place) if name.startswith("out/data/run-")]
    assert ours
    if not committed:
        assert "an interrupted run was cleared up first" in export(name="out").notes
        assert not set(ours) & set(_files(place))
        return
    for overwrite in (False, True):
        with pytest.raises(DestinationExists, match="incremental"):
            export(name="out", overwrite=overwrite)
    assert set(ours) <= set(_files(place))
    assert verify_export(place / "out").ok


def test_only_our_names_are_taken_back_after_a_crash(export: Export, crash: Callable[..., None], place: Path) -> None:
    crash("link", "/manifest.json", name="out")
    ours = sorted((place / "out").glob("data/part-*"))
    ours[0].write_bytes(b"somebody changed this part")
    (place / "out/data/part-99999-1-2-00000000.ndjson").write_bytes(b"a stranger")
    with pytest.raises(DestinationExists, match="appeared"):
        export(name="out")
    assert ours[0].read_bytes() == b"somebody changed this part"
    assert set(_files(place)) == {f"out/data/{ours[0].name}", "out/data/part-99999-1-2-00000000.ndjson"}


def test_a_foreign_manifest_that_appears_takes_nothing_of_ours_with_it(export: Export, place: Path) -> None:
    manifest = place / "out.ndjson.manifest.json"
    fault = Meddle(on=("link",), ending=manifest.name, action=lambda _: manifest.write_bytes(b"mine"))
    with pytest.raises(DestinationExists, match="appeared"):
        export(fault)
    assert _files(place) == {manifest.name: b"mine"}


def test_a_file_with_our_very_bytes_is_still_not_ours(export: Export, place: Path) -> None:
    target = place / "out.ndjson"
    export(limit=10)
    same = target.read_bytes()
    target.unlink()
    (place / "out.ndjson.manifest.json").unlink()
    fault = Meddle(on=("link",), ending="/out.ndjson", action=lambda _: target.write_bytes(same))
    with pytest.raises(DestinationExists, match="appeared"):
        export(fault, limit=10)
    assert _files(place) == {"out.ndjson": same}


def test_a_failure_after_the_commit_says_that_it_was_committed(export: Export, place: Path) -> None:
    # The last sync of the place: everything is there, but the disk did not say that it will stay.
    fault = Fail(on=("fsync_directory",), ending="/place", nth=3, code=errno.EIO)
    with pytest.raises(Unconfirmed, match="is published, but it may not outlive a power failure"):
        export(fault)
    assert fault.fired == 1
    assert verify_export(place / "out.ndjson").ok
    with pytest.raises(DestinationExists):
        export()
    assert set(_files(place)) == {"out.ndjson", "out.ndjson.manifest.json"}


@pytest.mark.parametrize("name", ["out.ndjson", "out"])
def test_an_interrupt_at_the_commit_is_a_success_only_if_that_is_durable(
    name: str, filled: SqliteAnalyticsStorage, place: Path
) -> None:
    """The manifest has its name, and who waits for the sync of that is interrupted."""

    def interrupt(operation: Operation) -> None:
        if any((one.target or "").endswith("manifest.json") for one in ops.log[:-1]) and not interrupted:
            interrupted.append(operation)
            raise KeyboardInterrupt

    interrupted: list[Operation] = []
    ops = FaultyOps(Meddle(on=("fsync_directory",), lasting=True, action=interrupt))
    make = FileDestination if "." in name else DirectoryDestination
    result = Exporter(filled).export(make(place / name, ops=ops))
    assert any("before it was interrupted" in note for note in result.notes)
    assert [one.path for one in interrupted] == [str(place / name / "_penstock" if name == "out" else place)]
    later = [one.path for one in ops.log if one.name == "fsync_directory" and one.number > interrupted[0].number]
    assert interrupted[0].path in later[:2]
    cleared = next(one.number for one in ops.log if one.name == "unlink" and one.path.endswith("/intent"))
    assert any(one.path == interrupted[0].path for one in ops.log[interrupted[0].number : cleared])


def test_a_failure_between_withdrawal_and_exchange_puts_the_old_export_back(export: Export, place: Path) -> None:
    export(limit=10)
    before = _files(place)
    with pytest.raises(NoSpace):
        export(Fail(on=("rename",), ending="/out.ndjson", code=errno.ENOSPC), overwrite=True)
    assert _files(place) == before


def test_a_failure_to_replace_a_bare_file_leaves_it(export: Export, place: Path) -> None:
    (place / "out.ndjson").write_bytes(b"bare")
    with pytest.raises(IoError):
        export(Fail(on=("rename",), ending="/out.ndjson", code=errno.EIO), overwrite=True)
    assert _files(place) == {"out.ndjson": b"bare"}


def test_a_failure_to_tidy_up_is_a_note_and_not_a_failure(export: Export, place: Path) -> None:
    result = export(Fail(on=("unlink",), ending="/intent", code=errno.EIO, lasting=True))
    assert any("are cleared by the next export" in note for note in result.notes)
    assert verify_export(place / "out.ndjson").ok
    with pytest.raises(DestinationExists):
        export()
    assert set(_files(place)) == {"out.ndjson", "out.ndjson.manifest.json"}


def test_a_link_that_is_told_to_exist_by_a_repeated_request_is_ours(export: Export, place: Path) -> None:
    # A network file system may repeat a request whose answer was lost, and then tell that the name exists.
    fault = Fail(on=("link",), ending="/out.ndjson", code=errno.EEXIST, late=True)
    export(fault)
    assert fault.fired == 1
    assert verify_export(place / "out.ndjson").ok


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
@pytest.mark.parametrize("name", ["out.ndjson", "out"])
def test_without_hard_links_it_is_renamed(code: int, name: str, export: Export, place: Path) -> None:
    for overwrite in (False, True):
        fault = Fail(on=("link",), code=code, lasting=True)
        export(fault, name=name, overwrite=overwrite)
        assert fault.fired
        assert verify_export(place / name).ok
    assert not list(place.rglob(".*penstock"))


@pytest.mark.parametrize("name", ["out.ndjson", "out"])
def test_without_links_and_exclusive_renames_it_is_refused(name: str, export: Export, place: Path) -> None:
    faults = [
        Fail(on=("link",), code=errno.EPERM, lasting=True),
        Fail(on=("rename_new",), code=errno.EINVAL, lasting=True),
    ]
    with pytest.raises(IoError, match="can neither link nor rename without overwriting"):
        export(*faults, name=name)
    assert list(place.iterdir()) == []


def test_a_directory_that_was_made_for_nothing_goes_again(export: Export, place: Path) -> None:
    with pytest.raises(NoSpace):
        export(Fail(on=("write",), code=errno.ENOSPC), name="out")
    assert list(place.iterdir()) == []
    (place / "out").mkdir()
    with pytest.raises(NoSpace):
        export(Fail(on=("write",), code=errno.ENOSPC), name="out")
    assert list(place.iterdir()) == [place / "out"]
