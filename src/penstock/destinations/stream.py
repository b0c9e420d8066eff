"""An open stream, standard output above all. It has no commit: the manifest goes to a file of its own, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from penstock.destinations.fileops import FileOps
from penstock.destinations.staging import LocalStagedFile
from penstock.errors import DestinationExists, NotFound, ReaderGone, UsageError, from_os_error
from penstock.model.manifest import Manifest, PartEntry
from penstock.ports import Buffer, Publication, StagedFile


class StreamDestination:
    """Writes to a file descriptor as it goes. ``manifest`` names a file that must not exist yet."""

    single = True
    path = None
    manifest_name = "manifest"

    def __init__(self, fd: int, *, manifest: str | os.PathLike[str] | None = None, ops: FileOps | None = None) -> None:
        self._fd = fd
        self._manifest = None if manifest is None else Path(manifest)
        self._ops = ops if ops is not None else FileOps()

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        if self._manifest is not None and os.path.lexists(self._manifest) and not overwrite:
            raise DestinationExists(f"{self._manifest} exists", hint="choose another name, or use --overwrite")
        if self._manifest is not None and not self._manifest.parent.is_dir():
            raise NotFound(f"there is no directory {self._manifest.parent}", hint="create it first")
        return _StreamPublication(self._fd, self._manifest, self._ops)

    def read_manifest(self) -> bytes:
        raise UsageError("a stream cannot be read back", hint="verify a file or a directory")

    @contextmanager
    def open_part(self, name: str) -> Iterator[BinaryIO]:
        raise UsageError("a stream cannot be read back", hint="verify a file or a directory")
        yield

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        return (), ()


class _StreamPublication:
    def __init__(self, fd: int, manifest: Path | None, ops: FileOps) -> None:
        self.notes: Sequence[str] = ()
        self._fd = fd
        self._manifest = manifest
        self._ops = ops

    def stage(self) -> StagedFile:
        return _StreamPart(self._fd)

    def part_name(self, index: int, entry: PartEntry, ending: str) -> str:
        return f"stream{ending}"

    def publish(self, manifest: Manifest) -> None:
        if self._manifest is None:
            return
        aside = self._manifest.with_name(f".{self._manifest.name}.{os.getpid()}.penstock")
        staged = LocalStagedFile(aside, self._ops)
        try:
            staged.write(manifest.to_bytes())
            staged.finish()
            self._ops.rename(aside, self._manifest)
            self._ops.fsync_directory(self._manifest.parent)
        except OSError as error:
            staged.abort()
            raise from_os_error(error, f"cannot write {self._manifest}") from None

    def close(self) -> None:
        return


class _StreamPart:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._written = 0

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        try:
            while view.nbytes:
                taken = os.write(self._fd, view)
                self._written += taken
                view = view[taken:]
        except BrokenPipeError:
            raise ReaderGone("the reader of the stream went away") from None
        except OSError as error:
            raise from_os_error(error, "cannot write the stream") from None

    def finish(self) -> int:
        return self._written

    def abort(self) -> None:
        return

    @contextmanager
    def read_back(self) -> Iterator[BinaryIO]:
        raise UsageError("a stream cannot be read back", hint="leave verify_written out")
        yield
