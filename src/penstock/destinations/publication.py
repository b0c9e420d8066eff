"""The publish protocol on a local file system: stage, finish the manifest, give the data its names, commit, clean up.

The manifest under its final name is the commit. Before any data takes its final name, the finished manifest lies
fsynced in the staging directory, so that whoever comes next can tell what a crash left and either undo it (a new
export) or complete it (a replaced file, whose old manifest was withdrawn already). :meth:`LocalPublication.recover` is
that one path, for the next run as for a failure in this one. ``docs/format.md``, "Publishing", lists every step.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from penstock.backends.local.naming import CANNOT_LINK, give_name
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.destinations.folders import make_folders, remove_empty, sync_folders, within
from penstock.destinations.naming import check_replaceable, holds, read_if_there, stands, stem, unconfirmed
from penstock.destinations.staging import NEW, OLD, REPLACED, REPLACING, SUMS, Staging
from penstock.errors import Cancelled, DestinationExists, ExportError, ManifestError, UsageError, from_os_error
from penstock.model.lineage import run_number
from penstock.model.manifest import Manifest, PartEntry, is_part_name, parse_manifest
from penstock.ports.destination import StagedFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The names of one destination: where parts, manifest and sums go. ``sums`` is ``None`` for a single file."""

    directory: Path
    manifest: Path
    single: Path | None
    sums: Path | None

    def part(self, name: str) -> Path:
        return self.directory / name

    def could_hold(self, manifest: Manifest) -> bool:
        """Whether an export with this manifest, and its part names, can have been meant for this place."""
        names = [entry.name for entry in manifest.parts]
        if self.single is not None:
            return names == [self.single.name]
        own = {path.name for path in (self.manifest, self.sums) if path is not None}
        return all(is_part_name(name) and name not in own for name in names)


class LocalPublication:
    """One attempt to publish at a place; see :class:`penstock.ports.Publication`."""

    def __init__(self, place: Place, staging: Staging, *, overwrite: bool, made_directory: bool = False) -> None:
        self._made_directory = made_directory
        self.notes: list[str] = []
        self._place = place
        self._staging = staging
        self._ops = staging.ops
        self._staged: LocalStagedFile | None = None
        self._count = 0
        self._published = self._cleared = self._closed = False
        self._tidy = True
        #: The manifest as it is to be published, and whether it stands under its final name, if that can be told.
        self._text: bytes | None = None
        self._visible: bool | None = False
        #: The names that this attempt gave out; ``None`` while another attempt's are being cleared up.
        self._given: set[Path] | None = None
        try:
            self._refuse_lineage()
            self.recover()
            self._replacing = self._check_free(overwrite)
        except BaseException:
            staging.close()
            raise
        self._given = set()

    def _refuse_lineage(self) -> None:
        """A directory of an incremental export, or of a run of one that was cut short, is no place for another kind."""
        if self._place.single is not None:
            return
        pending = self._parsed(self._staging.read(NEW))
        begun = pending is not None and pending.lineage is not None
        if begun or any(run_number(name) is not None for name in os.listdir(self._place.directory)):
            raise DestinationExists(
                f"{self._place.directory} holds an incremental export", hint="choose another directory"
            )

    def _check_free(self, overwrite: bool) -> bool:
        """Whether there is something to replace. Raises if there is and that was not asked for."""
        place = self._place
        taken = [path for path in (place.manifest, place.single) if path is not None and os.path.lexists(path)]
        if place.single is not None and place.single.is_dir():
            raise UsageError(
                f"{place.single} is a directory, a file is meant", hint="end the name with / for a directory"
            )
        if taken and not overwrite:
            hint = self.notes[-1] if self.notes else "choose another name, or replace it with --overwrite"
            raise DestinationExists(f"{taken[0]} exists", hint=hint)
        if place.manifest in taken:
            check_replaceable(place.manifest)
        if not taken and place.sums is not None and os.path.lexists(place.sums):
            raise DestinationExists(f"{place.sums} exists, without a manifest of ours", hint="choose another directory")
        return bool(taken)

    def stage(self) -> StagedFile:
        self._staged = LocalStagedFile(self._staging.data(self._count), self._ops)
        self._count += 1
        return self._staged

    def part_name(self, index: int, entry: PartEntry, ending: str) -> str:
        if self._place.single is not None:
            return self._place.single.name
        return f"{stem(index, entry)}{ending}"

    def publish(self, manifest: Manifest) -> None:
        self._text = manifest.to_bytes()
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
            raise self._failed(error) from None
        self._published = True
        self.close()

    def _pend(self, manifest: Manifest) -> None:
        """Lay the finished manifest down, durably, before anything becomes visible."""
        assert self._text is not None
        self._staging.store(REPLACING if self._replacing else NEW, self._text)
        if self._place.sums is not None:
            self._staging.store(SUMS, manifest.sums())
        if self._replacing:
            self._keep_old()
            if self._place.single is not None:
                self._staging.store(REPLACED, _likeness(self._place.single))
        self._staging.sync()

    def _keep_old(self) -> None:
        """Give the old manifest a second name, or a copy, so that it outlives being replaced."""
        old = self._place.manifest
        if not os.path.lexists(old):
            return
        try:
            self._ops.link(old, self._staging.path(OLD))
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            self._staging.store(OLD, read_if_there(old) or b"")

    def _replace_file(self) -> None:
        """Withdraw the old manifest, exchange the data, publish the new manifest: old, none or new, never a mixture."""
        single = self._place.single
        assert single is not None
        if os.path.lexists(self._place.manifest):
            self._ops.unlink(self._place.manifest)
            self._sync()
        self._ops.rename(self._staging.data(0), single)
        self._sync()
        self._ops.rename(self._staging.path(REPLACING), self._place.manifest)

    def _publish_directory(self, manifest: Manifest) -> None:
        make_folders(self._ops, self._place.directory, manifest.parts)
        for index, entry in enumerate(manifest.parts):
            target = self._place.part(entry.name)
            try:
                self._name(self._staging.data(index), target)
            except DestinationExists:
                if not holds(target, entry):
                    raise
        if not self._replacing:
            assert self._place.sums is not None
            self._name(self._staging.path(SUMS), self._place.sums)
        sync_folders(self._ops, self._place.directory, manifest.parts)
        if self._replacing:
            self._ops.rename(self._staging.path(REPLACING), self._place.manifest)
            return
        self._name(self._staging.path(NEW), self._place.manifest)

    def _name(self, source: Path, target: Path) -> None:
        """Give a staged file its final name, and remember, before an interrupt can come between, that it is ours."""
        assert self._given is not None
        self._given.add(target)
        try:
            give_name(self._ops, source, target)
        except DestinationExists:
            self._given.discard(target)
            raise

    def _failed(self, error: OSError) -> ExportError:
        """Clear up after a failure, and say what there is now: the old export, none, or the new one."""
        failure = from_os_error(error, f"cannot publish {self._place.manifest}")
        self.close()
        if self._visible is False or self._text is None:
            return failure
        return unconfirmed(failure, self._place.manifest, self._text, known=bool(self._visible))

    def _restore(self) -> None:
        """Put a withdrawn manifest back, as long as the data that it describes was not touched."""
        withdrawn = self._place.single is not None and not os.path.lexists(self._place.manifest)
        if withdrawn and os.path.lexists(self._staging.path(OLD)) and os.path.lexists(self._staging.data(0)):
            give_name(self._ops, self._staging.path(OLD), self._place.manifest)

    def _sync(self) -> None:
        self._ops.fsync_directory(self._place.directory)

    def recover(self) -> None:
        """Bring the place back to a whole export or none, from whatever a crash or a failure left.

        Only files that the staged manifests name, with the digests they give, are touched.
        """
        # What was committed just now needs no look: the manifest of very many parts is large.
        new = None if self._published else self._staging.read(NEW)
        replacing, old = (self._staging.read(name) for name in (REPLACING, OLD))
        if not self._published and (new, replacing, old) != (None, None, None):
            self._sync()  # what a killed run had done may not be durable yet, and is built upon below
        if new is not None and read_if_there(self._place.manifest) != new:
            pending = self._parsed(new)
            if pending is not None:
                self._discard(pending)
        pending = self._parsed(replacing)
        if pending is not None:
            self._recover_replacement(pending)
        elif old is not None and self._place.sums is not None:
            committed = self._parsed(read_if_there(self._place.manifest))
            if committed is not None:
                self._finish_directory(committed, self._parsed(old))
        self._staging.clear()

    def _recover_replacement(self, manifest: Manifest) -> None:
        single = self._place.single
        if single is None:
            self._discard(manifest)
        elif not os.path.lexists(self._place.manifest):
            entry = manifest.parts[0]
            if holds(self._staging.data(0), entry):
                if self._given is not None:
                    return  # this very attempt failed before it touched the data
                if self._staging.read(REPLACED) != _likeness(single):
                    return  # the file was changed by other hands since: it is theirs
                self._ops.rename(self._staging.data(0), single)
            elif not holds(single, entry):
                return  # as above
            self._sync()
            self._ops.rename(self._staging.path(REPLACING), self._place.manifest)
            self._sync()
            self.notes.append(f"an interrupted replacement of {single} was completed first")

    def _discard(self, manifest: Manifest) -> None:
        """Take back the names that an uncommitted export of ours gave out."""
        text = read_if_there(self._place.manifest)
        committed = self._parsed(text)
        if self._given is None and text is not None and committed is None:
            return  # a manifest that cannot be read may name any of them
        kept = {entry.name for entry in committed.parts} if committed is not None else set()
        for entry in manifest.parts:
            target = self._place.part(entry.name)
            if entry.name not in kept and self._gave(target) and self._is(target, entry):
                self._ops.unlink(target)
        remove_empty(self._ops, self._place.directory, manifest.parts)
        sums = self._place.sums
        if sums is not None and committed is None and self._gave(sums) and read_if_there(sums) == manifest.sums():
            self._ops.unlink(sums)
        sync_folders(self._ops, self._place.directory, manifest.parts)

    def _is(self, target: Path, entry: PartEntry) -> bool:
        """Whether a file inside the directory is what a manifest's entry says."""
        return within(self._place.directory, entry.name) and holds(target, entry)

    def _gave(self, target: Path) -> bool:
        """Whether a name may be from the attempt that is being cleared up."""
        return self._given is None or target in self._given

    def _finish_directory(self, manifest: Manifest, old: Manifest | None) -> None:
        """After the commit of a replacement: the sums follow, then exactly the old export's own parts go."""
        assert self._place.sums is not None
        if self._staging.read(SUMS) == manifest.sums():
            self._ops.rename(self._staging.path(SUMS), self._place.sums)
            self._sync()
        kept = {entry.name for entry in manifest.parts}
        gone = [entry for entry in (old.parts if old is not None else ()) if entry.name not in kept]
        for entry in gone:
            target = self._place.part(entry.name)
            if self._is(target, entry):
                self._ops.unlink(target)
        remove_empty(self._ops, self._place.directory, gone)
        sync_folders(self._ops, self._place.directory, gone)

    def _parsed(self, text: bytes | None) -> Manifest | None:
        """A manifest for this place, unless it is torn, in which case nothing was published from it yet."""
        if text is None:
            return None
        try:
            manifest = parse_manifest(text, where=str(self._place.manifest))
        except ManifestError:
            return None
        return manifest if self._place.could_hold(manifest) else None

    def close(self) -> None:
        """As for every publication; a second call goes on where an interrupt cut the first one short."""
        if self._closed:
            return
        if not self._cleared:
            self._clear()
        if not self._staging.close():
            self._tidy = False
        if not self._tidy:
            self.notes.append(f"leftovers in {self._staging.directory} are cleared by the next export there")
        self._closed = True
        if self._made_directory and not self._published and self._visible is False:
            try:
                self._ops.rmdir(self._place.directory)
            except OSError:
                return  # something else lies in it by now

    def _clear(self) -> None:
        """Undo or complete what was begun. Once it is over the staging directory may be another's."""
        if self._staged is not None:
            self._staged.abort()
        try:
            if not self._published:
                self._restore()
            self.recover()
        except Cancelled:
            raise
        except (OSError, ExportError):
            self._tidy = False
        self._visible = self._text is not None and stands(self._place.manifest, self._text)
        self._cleared = True


def _likeness(path: Path) -> bytes:
    """By what a file that is about to be replaced is known again: any writing to it changes this."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return b"nothing\n"
    return f"{there.st_size} bytes, changed at {there.st_mtime_ns}\n".encode()
