"""Defects to plant in the protocol: each is a mistake that somebody could make, and that a sweep has to see.

A defect is put in for one export at a time, in the child that runs it, and taken out again afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bounds_defects import BOUNDS_DEFECTS
from lineage_defects import LINEAGE_DEFECTS
from reading_defects import READING_DEFECTS

from penstock import wiring
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.cli.stopping import Stopping
from penstock.destinations import lineage as runs
from penstock.destinations import publication as protocol
from penstock.destinations import stream
from penstock.destinations.local import DirectoryDestination
from penstock.destinations.naming import read_if_there
from penstock.destinations.publication import LocalPublication
from penstock.destinations.staging import NEW, OLD, REPLACING
from penstock.exporting import committing
from penstock.exporting import export as exporting_export
from penstock.exporting import incremental as exporting_incremental
from penstock.model.manifest import Manifest

Patches = list[tuple[Any, str, Callable[..., Any]]]


def _no_pending_manifest() -> Patches:
    """The manifest is written when it is needed, not before the data takes its name."""

    def publish(self: Any, manifest: Manifest) -> None:
        self._name(self._staging.data(0), self._place.single)
        self._sync()
        self._staging.store(NEW, manifest.to_bytes())
        self._name(self._staging.path(NEW), self._place.manifest)
        self._sync()
        self._published = True
        self.close()

    return [(LocalPublication, "publish", publish)]


def _manifest_first() -> Patches:
    def publish(self: Any, manifest: Manifest) -> None:
        self._text = manifest.to_bytes()
        self._pend(manifest)
        self._name(self._staging.path(NEW), self._place.manifest)
        self._sync()
        self._name(self._staging.data(0), self._place.single)
        self._sync()
        self._published = True
        self.close()

    return [(LocalPublication, "publish", publish)]


def _no_withdrawal() -> Patches:
    """The data of a file is exchanged under its old manifest."""

    def replace(self: Any) -> None:
        self._ops.rename(self._staging.data(0), self._place.single)
        self._sync()
        self._ops.rename(self._staging.path(REPLACING), self._place.manifest)

    return [(LocalPublication, "_replace_file", replace)]


def _data_not_synced() -> Patches:
    def finish(self: Any) -> int:
        size = os.fstat(self._fd).st_size
        fd, self._fd = self._fd, -1
        self._ops.close(fd)
        return size

    return [(LocalStagedFile, "finish", finish)]


def _names_not_synced() -> Patches:
    return [(LocalPublication, "_sync", lambda self: None), (protocol, "sync_folders", lambda *given: None)]


def _new_directory_not_synced() -> Patches:
    return [(DirectoryDestination, "_sync_name", lambda self: None)]


def _written_in_place() -> Patches:
    """The file grows under its final name."""

    def stage(self: Any) -> LocalStagedFile:
        staged = LocalStagedFile(self._place.single, self._ops)
        self._staged.append(staged)
        return staged

    real = LocalPublication._name

    def name(self: Any, source: Path, target: Path) -> None:
        if target != self._place.single:
            real(self, source, target)

    return [(LocalPublication, "stage", stage), (LocalPublication, "_name", name)]


def _old_parts_first() -> Patches:
    """The old export's parts are removed before the new manifest takes over."""
    real = LocalPublication._publish_directory

    def publish(self: Any, manifest: Manifest) -> None:
        self._finish_directory(manifest, self._parsed(self._staging.read(OLD)))
        real(self, manifest)

    return [(LocalPublication, "_publish_directory", publish)]


def _manifest_in_place() -> Patches:
    """The manifest is written under its final name instead of being renamed to it."""

    def publish(self: Any, manifest: Manifest) -> None:
        self._text = manifest.to_bytes()
        self._pend(manifest)
        self._name(self._staging.data(0), self._place.single)
        self._sync()
        staged = LocalStagedFile(self._place.manifest, self._ops)
        staged.write(manifest.to_bytes())
        staged.finish()
        self._sync()
        self._published = True
        self.close()

    return [(LocalPublication, "publish", publish)]


def _recovery_forgets() -> Patches:
    """The next run throws the staging directory away and looks no further."""
    return [(LocalPublication, "recover", lambda self: self._staging.clear())]


def _recovery_without_sync() -> Patches:
    """The next run builds on names that a killed run may not have made durable."""
    real_recover, real_sync = LocalPublication.recover, LocalPublication._sync

    def recover(self: Any) -> None:
        self.first_sync_left_out = False
        real_recover(self)
        self.first_sync_left_out = True

    def sync(self: Any) -> None:
        if not getattr(self, "first_sync_left_out", True):
            self.first_sync_left_out = True
            return
        real_sync(self)

    return [(LocalPublication, "recover", recover), (LocalPublication, "_sync", sync)]


def _recovery_sweeps_all() -> Patches:
    """Whatever no manifest names is taken for a leftover."""
    real = LocalPublication.recover

    def recover(self: Any) -> None:
        real(self)
        committed = self._parsed(read_if_there(self._place.manifest))
        named = {entry.name for entry in committed.parts} if committed is not None else set()
        for entry in os.scandir(self._place.directory):
            if entry.is_file() and entry.name not in named | {"manifest.json", "SHA256SUMS"}:
                os.unlink(entry.path)

    return [(LocalPublication, "recover", recover)]


def _rename_over() -> Patches:
    """Names are given by a rename that replaces whatever is there."""
    return [(protocol, "give_name", lambda ops, source, target: ops.rename(source, target))]


def _strangers_file_replaced() -> Patches:
    """Whatever has the name that a manifest is to have goes, if replacing was asked for."""
    return [(stream, "check_replaceable", lambda path: None)]


def _store_replaced() -> Patches:
    """A destination that is the store is a destination like another."""
    return [(wiring, "keep_apart", lambda *given, **more: None)]


def _unconfirmed_as_failed() -> Patches:
    """A commit that may have happened is told by the error that came in its way."""
    rooms = (protocol, runs, stream)
    return [(room, "unconfirmed", lambda failure, *given, **more: failure) for room in rooms]


def _commit_cut_in_two() -> Patches:
    """A signal is acted on wherever it comes."""
    return [(room, "uninterrupted", nullcontext) for room in (committing, exporting_export, exporting_incremental)]


def _clearing_up_cut_short() -> Patches:
    """Each signal ends what is being done, the clearing up after the first one too."""
    real = Stopping._stop

    def stop(self: Any, *given: Any) -> None:
        self._came = False
        real(self, *given)

    return [(Stopping, "_stop", stop), *_commit_cut_in_two()]


def _late_signal_denies_the_commit() -> Patches:
    return [(Stopping, "done", lambda self: None)]


def _short_writes_ignored() -> Patches:
    def write(self: Any, data: Any) -> None:
        view = memoryview(data).cast("B")
        self._ops.write(self._fd, view)
        self._written += view.nbytes

    def finish(self: Any) -> int:
        self._ops.fsync(self._fd)
        fd, self._fd = self._fd, -1
        self._ops.close(fd)
        return int(self._written)

    return [(LocalStagedFile, "write", write), (LocalStagedFile, "finish", finish)]


def _fsync_tried_again() -> Patches:
    real = LocalStagedFile.finish

    def finish(self: Any) -> int:
        try:
            self._ops.fsync(self._fd)
        except OSError:
            return real(self)
        size = os.fstat(self._fd).st_size
        fd, self._fd = self._fd, -1
        self._ops.close(fd)
        return size

    return [(LocalStagedFile, "finish", finish)]


def _failure_leaves_all() -> Patches:
    """After a failure the lock is given up, and nothing else is done."""

    def close(self: Any) -> None:
        if self._published and not self._closed:
            self._staging.clear()
        self._closed = True
        self._staging.close()

    return [(LocalPublication, "close", close)]


DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _no_pending_manifest,
        _manifest_first,
        _no_withdrawal,
        _data_not_synced,
        _names_not_synced,
        _new_directory_not_synced,
        _written_in_place,
        _old_parts_first,
        _manifest_in_place,
        _recovery_forgets,
        _recovery_without_sync,
        _recovery_sweeps_all,
        _rename_over,
        _strangers_file_replaced,
        _store_replaced,
        _unconfirmed_as_failed,
        _commit_cut_in_two,
        _clearing_up_cut_short,
        _late_signal_denies_the_commit,
        _short_writes_ignored,
        _fsync_tried_again,
        _failure_leaves_all,
    )
}
DEFECTS |= LINEAGE_DEFECTS | READING_DEFECTS | BOUNDS_DEFECTS


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The defect of this name is in the protocol as long as the block runs; none if there is no name."""
    with ExitStack() as patches:
        for owner, attribute, replacement in DEFECTS[name]() if name is not None else ():
            patches.enter_context(patch.object(owner, attribute, replacement))
        yield
