"""A directory that an incremental export adds runs to: parts and a manifest a run, never replaced, never removed.

A run is committed by giving its manifest the next free run's name, which only one writer can do. ``SHA256SUMS`` covers
all runs and is derived from their manifests: whoever comes next puts it right if a crash left it behind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.naming import give_name
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.destinations.folders import make_folders, remove_empty, strangers, sync_folders, within
from penstock.destinations.local import SUMS_NAME, DirectoryDestination
from penstock.destinations.naming import holds, read_if_there, stands, stem, unconfirmed
from penstock.destinations.staging import NEW, SUMS, Staging
from penstock.errors import (
    Cancelled,
    DestinationExists,
    ExportError,
    Locked,
    ManifestError,
    UsageError,
    from_os_error,
)
from penstock.model.lineage import run_name, run_number
from penstock.model.manifest import Manifest, PartEntry, parse_manifest
from penstock.model.partition import split_name
from penstock.ports.destination import StagedFile

_RUN_PART = re.compile(r"run-(\d{6,12})-part-\d")
#: Where ``manifest_sha256`` stands in a manifest's text.
_DIGEST = slice(-68, -4)


class LineageDirectory:
    """A lineage in a directory; see :class:`penstock.ports.LineageDestination`."""

    def __init__(self, path: str | os.PathLike[str], *, ops: FileOps | None = None) -> None:
        self._ops = ops if ops is not None else FileOps()
        self._plain = DirectoryDestination(path, ops=self._ops)
        self.path: Path = self._plain.path

    def runs(self) -> Iterator[tuple[str, bytes]]:
        """File name and bytes of every run's manifest, in order."""
        return run_manifests(self.path)

    def traces(self) -> dict[int, str]:
        """Runs that ``SHA256SUMS`` or a part tells of, by number. The parts of a run that was interrupted before its
        commit are no traces."""
        try:
            sums = read_if_there(self.path / SUMS_NAME) or b""
        except (ManifestError, OSError):
            sums = b""  # whatever lies there, it tells of no run
        parts = []
        for _, folders, names in os.walk(self.path):
            parts += sorted(names)
            folders[:] = [folder for folder in folders if "=" in folder]
        told = [(name.rpartition("/")[2], SUMS_NAME) for name in sums.decode("utf-8", "replace").split()]
        if not (self.path / ".penstock").exists():
            told = [(name, name) for name in parts] + told
        found = [(match[1], evidence) for name, evidence in told if (match := _RUN_PART.match(name))]
        return {int(number): evidence for number, evidence in found}

    @contextmanager
    def open_part(self, name: str) -> Iterator[BinaryIO]:
        """A published part, seekable, from its start."""
        with self._plain.open_part(name) as file:
            yield file

    def begin(self) -> RunPublication:
        """Lock the lineage, create the directory if it is missing, and clear what a crashed run left.

        Raises :class:`~penstock.errors.Locked`, :class:`~penstock.errors.UsageError` for a directory that holds another
        kind of export.
        """
        with self._plain.directory_made() as made:
            self._refuse_plain()
            try:
                staging = Staging(self.path / ".penstock", self._ops)
                try:
                    self._refuse_plain()  # one that was published before this one got the lock
                except BaseException:
                    staging.close()
                    raise
                return RunPublication(self.path, staging, made_directory=made)
            except OSError as error:
                raise from_os_error(error, f"cannot write in {self.path}") from None

    def _refuse_plain(self) -> None:
        if os.path.lexists(self.path / "manifest.json"):
            raise UsageError(
                f"{self.path} holds an export that is not incremental", hint="begin the lineage in another directory"
            )

    def inspect(self, manifests: Sequence[Manifest]) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the runs."""
        try:
            return self._look_around(manifests)
        except OSError as error:
            raise from_os_error(error, f"cannot look into {self.path}") from None

    def _covers_more(self, sums: bytes | None, known: int) -> bool:
        """Whether sums are of runs that were committed after the manifests had been read."""
        covered = b""
        for number, (name, text) in enumerate(self.runs(), 1):
            covered += parse_manifest(text, where=name).sums()
            if number > known and covered == sums:
                return True
        return False

    def _look_around(self, manifests: Sequence[Manifest]) -> tuple[list[tuple[str, str]], list[str]]:
        problems: list[tuple[str, str]] = []
        notes: list[str] = []
        interrupted = (self.path / ".penstock").exists()
        if interrupted:
            notes.append(".penstock holds the work of a running or interrupted export; the next one clears it")
        try:
            sums = read_if_there(self.path / SUMS_NAME)
        except (ManifestError, IsADirectoryError):
            sums = None
        if sums != _all_sums(manifests) and not self._covers_more(sums, len(manifests)):
            if sums == _all_sums(manifests[:-1]) or (sums is None and len(manifests) == 1):
                notes.append(f"{SUMS_NAME} does not cover the last run yet; the next export completes it")
            else:
                problems.append((SUMS_NAME, f"{SUMS_NAME} is missing or does not match the manifests"))
        parts = [entry for manifest in manifests for entry in manifest.parts]
        found = [name for name in strangers(self.path, parts, (SUMS_NAME, ".penstock")) if run_number(name) is None]
        if found:
            shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
            notes.append(f"{len(found)} files here are not of this lineage and were left alone: {shown}")
        return problems, notes


class RunPublication:
    """One attempt to add a run, alone until ``close``; see :class:`penstock.ports.RunPublication`."""

    def __init__(self, directory: Path, staging: Staging, *, made_directory: bool) -> None:
        self.notes: list[str] = []
        self._directory = directory
        self._staging = staging
        self._ops = staging.ops
        self._staged: LocalStagedFile | None = None
        self._count = 0
        self._made_directory = made_directory
        self._published = self._cleared = self._closed = False
        #: The number of this run, once it is needed: nobody else adds one meanwhile.
        self._next: int | None = None
        try:
            self.notes += self._recover()
            self._refuse_sums_of_another()
        except BaseException:
            staging.close()
            raise

    def _refuse_sums_of_another(self) -> None:
        sums = self._directory / SUMS_NAME
        if os.path.lexists(sums) and not run_numbers(self._directory):
            raise DestinationExists(f"{sums} exists, without a run of ours", hint="choose another directory")

    def runs(self) -> Iterator[tuple[str, bytes]]:
        return run_manifests(self._directory)

    def stage(self) -> StagedFile:
        self._staged = LocalStagedFile(self._staging.data(self._count), self._ops)
        self._count += 1
        return self._staged

    def part_name(self, index: int, entry: PartEntry, ending: str) -> str:
        if self._next is None:
            self._next = len(run_numbers(self._directory)) + 1
        return f"run-{self._next:06d}-{stem(index, entry)}{ending}"

    def publish(self, manifest: Manifest) -> None:
        assert manifest.lineage is not None
        target = self._directory / run_name(manifest.lineage.run)
        try:
            self._staging.store(NEW, manifest.to_bytes())
            self._staging.sync()
            make_folders(self._ops, self._directory, manifest.parts)
            for index, entry in enumerate(manifest.parts):
                self._name_part(self._staging.data(index), entry)
            sync_folders(self._ops, self._directory, manifest.parts)
            try:
                give_name(self._ops, self._staging.path(NEW), target)
            except DestinationExists:
                raise Locked(
                    f"superseded: another process committed {target.name} first",
                    hint="run it again to add what is left",
                ) from None
            self._ops.fsync_directory(self._directory)
        except OSError as error:
            raise self._failed(from_os_error(error, f"cannot publish {target}"), target, manifest) from None
        self._published = True
        self.close()

    def _failed(self, failure: ExportError, target: Path, manifest: Manifest) -> ExportError:
        """Clear up after a failure, and say whether the run is there now."""
        text = manifest.to_bytes()
        there = stands(target, text)
        self._published = bool(there)
        self.close()
        return failure if there is False else unconfirmed(failure, target, text, known=bool(there))

    def _name_part(self, source: Path, entry: PartEntry) -> None:
        target = self._directory / entry.name
        try:
            give_name(self._ops, source, target)
        except DestinationExists:
            if not holds(target, entry):
                raise

    def _recover(self) -> list[str]:
        """Take back the names that an uncommitted run gave out, and bring ``SHA256SUMS`` up to the last run.

        Only files that a staged manifest of a run names, with the digests it gives, are removed. Returns what was done.
        """
        done = ["an interrupted run was cleared up first"] if self._staging.begun() else []
        text = None if self._published else self._staging.read(NEW)  # what was committed just now needs no look
        pending = _pending(text)
        if pending is not None:
            self._ops.fsync_directory(self._directory)  # what a killed run had done may not be durable yet
            name = run_name(pending.lineage.run) if pending.lineage is not None else "manifest.json"
            committed_text = read_if_there(self._directory / name)
            if committed_text != text:
                committed = _pending(committed_text)
                kept = {entry.name for entry in committed.parts} if committed is not None else set()
                for entry in pending.parts:
                    target = self._directory / entry.name
                    if entry.name not in kept and within(self._directory, entry.name) and holds(target, entry):
                        self._ops.unlink(target)
                remove_empty(self._ops, self._directory, pending.parts)
                if pending.lineage is None and read_if_there(self._directory / SUMS_NAME) == pending.sums():
                    self._ops.unlink(self._directory / SUMS_NAME)
                sync_folders(self._ops, self._directory, pending.parts)
            else:
                done = [f"the interrupted run of {name} was committed already"]
        if self._bring_sums_up():
            done.append(f"{SUMS_NAME} was brought up to the last run")
        self._staging.clear()
        return done

    def _bring_sums_up(self) -> bool:
        """After a commit, or where a crash came between; sums that are wrong in another way tell of damage. Returns
        whether they were brought up."""
        manifests: list[Manifest] = []
        previous: str | None = None
        try:
            for name, text in self.runs():
                manifests.append(parse_manifest(text, where=name))
                lineage = manifests[-1].lineage
                if lineage is None or run_name(lineage.run) != name or lineage.previous != previous:
                    return False  # as below
                previous = text[_DIGEST].decode()
        except ExportError:
            return False  # the chain is damaged: nothing here is put right by guessing
        there, wanted = read_if_there(self._directory / SUMS_NAME), _all_sums(manifests)
        behind = (there or b"") == _all_sums(manifests[:-1])
        if self._published and len(manifests) == 1 and there not in (None, b"", wanted):
            self.notes.append(f"{SUMS_NAME} appeared during the first run; it is not ours and was left alone")
            return False
        due = bool(manifests) and there != wanted and (self._published or behind)
        if due:
            if os.path.lexists(self._staging.path(SUMS)):
                self._ops.unlink(self._staging.path(SUMS))
            self._staging.store(SUMS, wanted)
            self._ops.rename(self._staging.path(SUMS), self._directory / SUMS_NAME)
            self._ops.fsync_directory(self._directory)
        return due

    def close(self) -> None:
        """As in :class:`penstock.ports.Publication`; a second call goes on where an interrupt cut the first short."""
        if self._closed:
            return
        if not self._cleared:
            self._clear()
        self._staging.close()
        self._closed = True
        if self._made_directory and not self._published:
            try:
                self._ops.rmdir(self._directory)
            except OSError:
                return  # something else lies in it by now

    def _clear(self) -> None:
        if self._staged is not None:
            self._staged.abort()
        try:
            self._recover()
        except Cancelled:
            raise
        except (OSError, ExportError):
            self.notes.append(f"leftovers in {self._staging.directory} are cleared by the next export there")
        self._cleared = True


def run_numbers(directory: Path) -> list[int]:
    """The numbers of the runs whose manifests lie in a directory, in order."""
    try:
        return sorted(number for name in os.listdir(directory) if (number := run_number(name)) is not None)
    except OSError as error:
        raise from_os_error(error, f"cannot look into {directory}") from None


def run_manifests(directory: Path) -> Iterator[tuple[str, bytes]]:
    """File name and bytes of every run's manifest in a directory, in order, each read when it is taken."""
    try:
        for name in map(run_name, run_numbers(directory)):
            text = read_if_there(directory / name)
            if text is not None:
                yield name, text
    except IsADirectoryError as error:
        raise ManifestError(f"{error.filename} is not a regular file", hint="move it away") from None
    except OSError as error:
        raise from_os_error(error, f"cannot look into {directory}") from None


def _pending(text: bytes | None) -> Manifest | None:
    """A staged manifest, of a run or of a plain export that was begun here, unless it is torn, in which case nothing
    was published from it."""
    if text is None:
        return None
    try:
        manifest = parse_manifest(text, where=NEW)
    except ManifestError:
        return None
    prefix = "part-" if manifest.lineage is None else f"run-{manifest.lineage.run:06d}-part-"
    return manifest if all(split_name(entry.name)[1].startswith(prefix) for entry in manifest.parts) else None


def _all_sums(manifests: Sequence[Manifest]) -> bytes:
    return b"".join(manifest.sums() for manifest in manifests)
