"""An open stream, standard output above all. It has no commit: the manifest goes to a file of its own, or nowhere."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.naming import give_name
from penstock.destinations.naming import check_replaceable, stands, unconfirmed
from penstock.destinations.staging import NEW, Staging
from penstock.errors import (
    Cancelled,
    DestinationExists,
    ExportError,
    IoError,
    NotFound,
    ReaderGone,
    UsageError,
    from_os_error,
)
from penstock.model.manifest import Manifest, PartEntry
from penstock.ports.destination import LineageDestination, Publication, StagedFile, takes_no_runs
from penstock.ports.format import Buffer


class StreamDestination:
    """Writes to a file descriptor as it goes. ``manifest`` names a file that must not exist yet, unless it is to be
    overwritten, and then only a manifest of ours; it appears whole, when the stream is at its end."""

    single = streamed = True
    path = None
    manifest_name = "manifest"

    def __init__(self, fd: int, *, manifest: str | os.PathLike[str] | None = None, ops: FileOps | None = None) -> None:
        self._fd = fd
        self._manifest = None if manifest is None else Path(manifest)
        self._ops = ops if ops is not None else FileOps()

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        if self._manifest is None:
            return _StreamPublication(self._fd, None)
        try:
            return _StreamPublication(self._fd, _ManifestFile(self._manifest, self._ops, overwrite=overwrite))
        except OSError as error:
            raise from_os_error(error, f"cannot write {self._manifest}") from None

    def lineage(self) -> LineageDestination:
        raise takes_no_runs("a stream")

    def read_manifest(self) -> bytes:
        raise UsageError("a stream cannot be read back", hint="verify a file or a directory")

    @contextmanager
    def open_part(self, name: str) -> Iterator[BinaryIO]:
        raise UsageError("a stream cannot be read back", hint="verify a file or a directory")
        yield

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        return (), ()


class _ManifestFile:
    """The manifest of a stream: staged beside its place, then named at once. What a killed run left is cleared."""

    def __init__(self, path: Path, ops: FileOps, *, overwrite: bool) -> None:
        if not path.parent.is_dir():
            raise NotFound(f"there is no directory {path.parent}", hint="create it first")
        if path.is_dir():
            raise UsageError(f"{path} is a directory, a file is meant", hint="choose another name")
        self.path = path
        self._ops = ops
        self._overwrite = overwrite
        self._cleared, self._tidy = False, True
        self.staging = Staging(path.with_name(f".{path.name}.penstock"), ops)
        try:
            self.staging.clear()
            if os.path.lexists(path):
                if not overwrite:
                    raise DestinationExists(f"{path} exists", hint="choose another name, or use --overwrite")
                check_replaceable(path)
        except BaseException:
            self.staging.close()
            raise

    def publish(self, text: bytes) -> None:
        try:
            self.staging.store(NEW, text)
            self.staging.sync()
            if self._overwrite:
                self._ops.rename(self.staging.path(NEW), self.path)
            else:
                give_name(self._ops, self.staging.path(NEW), self.path)
            self._ops.fsync_directory(self.path.parent)
        except OSError as error:
            failure = from_os_error(error, f"cannot write {self.path}")
            there = stands(self.path, text)
            raise failure if there is False else unconfirmed(failure, self.path, text, known=bool(there)) from None

    def close(self) -> bool:
        """Clear the staging directory away; whether that went well. A second call goes on where the first ended."""
        if not self._cleared:
            try:
                self.staging.clear()
            except Cancelled:
                raise
            except (OSError, ExportError):
                self._tidy = False
            self._cleared = True
        return self.staging.close() and self._tidy


class _StreamPublication:
    def __init__(self, fd: int, manifest: _ManifestFile | None) -> None:
        self.notes: list[str] = []
        self._fd = fd
        self._manifest = manifest

    def stage(self) -> StagedFile:
        return _StreamPart(self._fd)

    def part_name(self, index: int, entry: PartEntry, ending: str) -> str:
        return f"stream{ending}"

    def publish(self, manifest: Manifest) -> None:
        if self._manifest is not None:
            self._manifest.publish(manifest.to_bytes())

    def close(self) -> None:
        manifest = self._manifest
        if manifest is None:
            return
        tidy = manifest.close()
        self._manifest = None
        if not tidy:
            self.notes.append(f"leftovers in {manifest.staging.directory} are cleared by the next export there")


class _StreamPart:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._written = 0

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        try:
            while view.nbytes:
                taken = self._take(view)
                self._written += taken
                view = view[taken:]
        except BrokenPipeError:
            raise ReaderGone("the reader of the stream went away") from None
        except OSError as error:
            raise from_os_error(error, "cannot write the stream") from None

    def _take(self, view: memoryview) -> int:
        """One write, after waiting for the reader if the descriptor is one that does not wait by itself."""
        while True:
            try:
                taken = os.write(self._fd, view)
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self._fd, select.POLLOUT)
                waiting.poll()
                continue
            if taken == 0:
                raise IoError("cannot write the stream: it takes no more bytes")
            return taken

    def finish(self) -> int:
        return self._written

    def abort(self) -> None:
        return

    @contextmanager
    def read_back(self) -> Iterator[BinaryIO]:
        raise UsageError("a stream cannot be read back", hint="leave verify_written out")
        yield
