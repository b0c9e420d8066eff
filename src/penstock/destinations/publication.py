"""The publish protocol on a local file system: stage, finish the manifest, give the data its names, commit, clean up.

The manifest under its final name is the commit. Before any data takes its final name, the finished manifest lies
fsynced in the staging directory, so that whoever comes next can tell what a crash left and either undo it (a new
export) or complete it (a replaced file, whose old manifest was withdrawn already). :meth:`LocalPublication.recover` is
that one path, for the next run as for a failure in this one. ``docs/format.md``, "Publishing", lists every step.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from penstock.destinations.staging import NEW, OLD, REPLACING, SUMS, LocalStagedFile, Staging, read_if_there
from penstock.errors import DestinationExists, ExportError, IoError, ManifestError, UsageError, from_os_error
from penstock.model.manifest import Manifest, PartEntry, parse_manifest
from penstock.ports import StagedFile

_CANNOT_LINK = frozenset({"EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The names of one destination: where parts, manifest and sums go. ``sums`` is ``None`` for a single file."""

    directory: Path
    manifest: Path
    single: Path | None
    sums: Path | None

    def part(self, name: str) -> Path:
        return self.directory / name


class LocalPublication:
    """One attempt to publish at a place; see :class:`penstock.ports.Publication`."""

    def __init__(self, place: Place, staging: Staging, *, overwrite: bool, made_directory: bool = False) -> None:
        self._made_directory = made_directory
        self.notes: list[str] = []
        self._place = place
        self._staging = staging
        self._ops = staging.ops
        self._staged: list[LocalStagedFile] = []
        self._published = self._closed = False
        try:
            self.recover()
            self._replacing = self._check_free(overwrite)
        except BaseException:
            staging.close()
            raise

    def _check_free(self, overwrite: bool) -> bool:
        """Whether there is something to replace. Raises if there is and that was not asked for."""
        place = self._place
        taken = [path for path in (place.manifest, place.single) if path is not None and os.path.lexists(path)]
        if place.single is not None and place.single.is_dir():
            raise UsageError(
                f"{place.single} is a directory, a file is meant", hint="end the name with / for a directory"
            )
        if taken and not overwrite:
            raise DestinationExists(f"{taken[0]} exists", hint="choose another name, or replace it with --overwrite")
        if not taken and place.sums is not None and os.path.lexists(place.sums):
            raise DestinationExists(f"{place.sums} exists, without a manifest of ours", hint="choose another directory")
        return bool(taken)

    def stage(self) -> StagedFile:
        staged = LocalStagedFile(self._staging.data(len(self._staged)), self._ops)
        self._staged.append(staged)
        return staged

    def part_name(self, index: int, entry: PartEntry, ending: str) -> str:
        if self._place.single is not None:
            return self._place.single.name
        span = "empty" if entry.seq_range is None else f"{entry.seq_range.first}-{entry.seq_range.last}"
        return f"part-{index:05d}-{span}-{entry.sha256[:8]}{ending}"

    def publish(self, manifest: Manifest) -> None:
        try:
            self._pend(manifest)
            if self._place.single is None:
                self._publish_directory(manifest)
            elif self._replacing:
                self._replace_file()
            else:
                self._name(self._staging.data(0), self._place.single)
                self._sync()
                self._name(self._staging.path(NEW), self._place.manifest)
            self._sync()
        except OSError as error:
            raise from_os_error(error, f"cannot publish {self._place.manifest}") from None
        self._published = True
        self.close()

    def _pend(self, manifest: Manifest) -> None:
        """Lay the finished manifest down, durably, before anything becomes visible."""
        self._staging.store(REPLACING if self._replacing else NEW, manifest.to_bytes())
        if self._place.sums is not None:
            self._staging.store(SUMS, manifest.sums())
            if self._replacing:
                self._ops.link(self._place.manifest, self._staging.path(OLD))
        self._staging.sync()

    def _replace_file(self) -> None:
        """Withdraw the old manifest, exchange the data, publish the new manifest: old, none, or new; never a mixture."""
        single = self._place.single
        assert single is not None
        if os.path.lexists(self._place.manifest):
            self._ops.unlink(self._place.manifest)
            self._sync()
        self._ops.rename(self._staging.data(0), single)
        self._sync()
        self._name(self._staging.path(REPLACING), self._place.manifest)

    def _publish_directory(self, manifest: Manifest) -> None:
        for index, entry in enumerate(manifest.parts):
            target = self._place.part(entry.name)
            try:
                self._name(self._staging.data(index), target)
            except DestinationExists:
                if not _holds(target, entry):
                    raise
        assert self._place.sums is not None
        if not self._replacing:
            self._name(self._staging.path(SUMS), self._place.sums)
            self._sync()
            self._name(self._staging.path(NEW), self._place.manifest)
            return
        self._sync()
        self._ops.rename(self._staging.path(REPLACING), self._place.manifest)
        self._sync()
        self._finish_directory(manifest)

    def _finish_directory(self, manifest: Manifest) -> None:
        """After the commit of a replacement: the sums follow, then exactly the old export's own parts go."""
        assert self._place.sums is not None
        if self._staging.read(SUMS) == manifest.sums():
            self._ops.rename(self._staging.path(SUMS), self._place.sums)
            self._sync()
        old = self._parsed(self._staging.read(OLD))
        kept = {entry.name for entry in manifest.parts}
        for entry in old.parts if old is not None else ():
            target = self._place.part(entry.name)
            if entry.name not in kept and _holds(target, entry):
                self._ops.unlink(target)

    def _name(self, source: Path, target: Path) -> None:
        """Give a staged file its final name if that is free. Raises :class:`DestinationExists`."""
        try:
            try:
                self._ops.link(source, target)
            except OSError as error:
                if _symbol(error) not in _CANNOT_LINK:
                    raise
                self._ops.rename_new(source, target)
        except FileExistsError:
            raise DestinationExists(
                f"{target} appeared while the export was running; it was left alone", hint="choose another name"
            ) from None
        except OSError as error:
            if _symbol(error) in _CANNOT_LINK:
                raise IoError(
                    f"the file system of {target.parent} can neither link nor rename without overwriting",
                    hint="export to a local disk and copy from there",
                ) from None
            raise

    def _sync(self) -> None:
        self._ops.fsync_directory(self._place.directory)

    def recover(self) -> None:
        """Bring the place back to a whole export or none, from whatever a crash or a failure left.

        Only files that the staged manifests name, with the digests they give, are touched.
        """
        pending = self._parsed(self._staging.read(NEW))
        if pending is not None and not os.path.lexists(self._place.manifest):
            self._discard(pending)
        replacing = self._parsed(self._staging.read(REPLACING))
        if replacing is not None:
            self._recover_replacement(replacing)
        elif self._place.sums is not None and self._staging.read(OLD) is not None:
            committed = self._parsed(read_if_there(self._place.manifest))
            if committed is not None:
                self._finish_directory(committed)
        self._staging.clear()

    def _recover_replacement(self, manifest: Manifest) -> None:
        single = self._place.single
        if single is None:
            self._discard(manifest)
        elif not os.path.lexists(self._place.manifest):
            entry = manifest.parts[0]
            if _holds(self._staging.data(0), entry):
                self._ops.rename(self._staging.data(0), single)
            elif not _holds(single, entry):
                return  # the file was changed by other hands since: it is theirs
            self._sync()
            self._name(self._staging.path(REPLACING), self._place.manifest)
            self._sync()
            self.notes.append(f"an interrupted replacement of {single} was completed first")

    def _discard(self, manifest: Manifest) -> None:
        """Take back the names that an uncommitted export of ours gave out."""
        committed = self._parsed(read_if_there(self._place.manifest))
        kept = {entry.name for entry in committed.parts} if committed is not None else set()
        for entry in manifest.parts:
            target = self._place.part(entry.name)
            if entry.name not in kept and _holds(target, entry):
                self._ops.unlink(target)
        if self._place.sums is not None and committed is None and read_if_there(self._place.sums) == manifest.sums():
            self._ops.unlink(self._place.sums)
        self._sync()

    def _parsed(self, text: bytes | None) -> Manifest | None:
        """A staged manifest, unless it is torn: then nothing was published from it yet."""
        if text is None:
            return None
        try:
            return parse_manifest(text, where=str(self._place.manifest))
        except ManifestError:
            return None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for staged in self._staged:
            staged.abort()
        self._staged = []
        try:
            if self._published:
                self._staging.clear()
            else:
                self.recover()
        except (OSError, ExportError):
            self.notes.append(f"leftovers in {self._staging.directory} are cleared by the next export there")
        finally:
            self._staging.close()
        if self._made_directory and not self._published:
            try:
                self._ops.rmdir(self._place.directory)
            except OSError:
                return  # something else lies in it by now
            self._made_directory = False


def _holds(path: Path, entry: PartEntry) -> bool:
    """Whether a file is exactly what a manifest's entry says."""
    try:
        with path.open("rb") as file:
            return (
                os.fstat(file.fileno()).st_size == entry.bytes
                and hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
            )
    except (FileNotFoundError, IsADirectoryError):
        return False


def _symbol(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "")
