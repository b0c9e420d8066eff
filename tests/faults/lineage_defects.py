"""Defects to plant in the publication of runs, and in the staging that it stands on; see ``crash_defects``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import patch

from penstock.backends.local.staged_file import LocalStagedFile
from penstock.destinations import lineage as runs
from penstock.destinations import staging
from penstock.destinations.lineage import RunPublication
from penstock.destinations.local import DirectoryDestination
from penstock.destinations.naming import holds
from penstock.destinations.staging import NEW
from penstock.model.lineage import run_name
from penstock.model.manifest import Manifest

Patches = list[tuple[Any, str, Any]]


def _run_manifest_first() -> Patches:
    """The run counts before its parts have their names."""

    def publish(self: Any, manifest: Manifest) -> None:
        assert manifest.lineage is not None
        self._staging.store(NEW, manifest.to_bytes())
        self._staging.sync()
        runs.give_name(self._ops, self._staging.path(NEW), self._directory / run_name(manifest.lineage.run))
        for index, entry in enumerate(manifest.parts):
            self._name_part(self._staging.data(index), entry)
        self._ops.fsync_directory(self._directory)
        self._published = True
        self.close()

    return [(RunPublication, "publish", publish)]


def _run_names_not_synced() -> Patches:
    """The manifest takes its name while the names of its parts may still be lost."""
    real = RunPublication.publish

    def publish(self: Any, manifest: Manifest) -> None:
        sync = self._ops.fsync_directory
        met: list[object] = []

        def fsync_directory(path: Any) -> None:
            met.extend([path] if path == self._directory else [])
            if path != self._directory or len(met) != 2:  # the first is that of what is staged
                sync(path)

        with patch.object(self._ops, "fsync_directory", fsync_directory):
            real(self, manifest)

    return [(RunPublication, "publish", publish)]


def _run_recovery_forgets() -> Patches:
    """The next run throws the staging directory away and looks no further."""

    def recover(self: Any) -> list[str]:
        self._bring_sums_up()
        self._staging.clear()
        return []

    return [(RunPublication, "_recover", recover)]


def _unknown_commit_cleaned_up() -> Patches:
    """A staged manifest means that its run failed: the parts go, whether it was committed or not."""
    real = RunPublication._recover

    def recover(self: Any) -> Any:
        pending = runs._pending(self._staging.read(NEW)) if not self._published else None
        for entry in pending.parts if pending is not None else ():
            if holds(self._directory / entry.name, entry):
                self._ops.unlink(self._directory / entry.name)
        return real(self)

    return [(RunPublication, "_recover", recover)]


def _retention_by_age() -> Patches:
    """Of the data files in the directory only the youngest stay."""
    real = RunPublication._recover

    def recover(self: Any) -> Any:
        cleared = real(self)
        data = [entry for entry in os.scandir(self._directory) if ".manifest." not in entry.name and entry.is_file()]
        for entry in sorted(data, key=lambda entry: entry.stat().st_mtime_ns)[:-6]:
            self._ops.unlink(self._directory / entry.name)
        return cleared

    return [(RunPublication, "_recover", recover)]


def _sums_of_the_plan() -> Patches:
    """``SHA256SUMS`` has the digests of what was to be stored, not of what is stored."""

    def sums(self: Any) -> bytes:
        return b"".join(f"{entry.content_sha256}  {entry.name}\n".encode() for entry in self.parts)

    return [(Manifest, "sums", sums)]


def _sums_of_another_taken() -> Patches:
    """Whoever's sums lie in a new lineage's directory, they are replaced."""
    return [(RunPublication, "_refuse_sums_of_another", lambda self: None)]


def _destination_made_anew() -> Patches:
    """The path of a directory is taken, and the destination that was given forgotten."""
    return [(DirectoryDestination, "lineage", lambda self: runs.LineageDirectory(self.path))]


def _any_sums_excused() -> Patches:
    """Sums that do not match the manifests are those of a run that is being added."""
    return [(runs.LineageDirectory, "_covers_more", lambda *given: True)]


def _commit_replaces() -> Patches:
    """The commit takes its name whoever has it."""
    return [(runs, "give_name", lambda ops, source, target: ops.rename(source, target))]


def _lock_not_held() -> Patches:
    return [(staging.fcntl, "flock", lambda *_: None)]


def _fsync_error_swallowed() -> Patches:
    real = LocalStagedFile.finish

    def finish(self: Any) -> int:
        sync = self._ops.fsync

        def fsync(fd: int) -> None:
            with suppress(OSError):
                sync(fd)

        with patch.object(self._ops, "fsync", fsync):
            return real(self)

    return [(LocalStagedFile, "finish", finish)]


LINEAGE_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _run_manifest_first,
        _run_names_not_synced,
        _run_recovery_forgets,
        _unknown_commit_cleaned_up,
        _retention_by_age,
        _sums_of_the_plan,
        _sums_of_another_taken,
        _destination_made_anew,
        _any_sums_excused,
        _commit_replaces,
        _lock_not_held,
        _fsync_error_swallowed,
    )
}
