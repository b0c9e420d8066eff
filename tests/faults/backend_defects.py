"""Wrong backends to plant: what a file system is told that it should not be told, or not told that it should be."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from penstock.backends.local import attempts, backend
from penstock.backends.local.attempts import Root
from penstock.backends.local.backend import LocalBackend, LocalUpload
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.ports.backend import Expect

Patches = list[tuple[Any, str, Any]]


def _data_not_synced() -> Patches:
    def finish(self: Any) -> int:
        size = os.fstat(self._fd).st_size
        fd, self._fd = self._fd, -1
        self._ops.close(fd)
        return size

    return [(LocalStagedFile, "finish", finish)]


def _names_not_synced() -> Patches:
    return [(LocalBackend, "_sync", lambda self, keys: None)]


def _parts_names_not_synced() -> Patches:
    """The manifest takes its name while the names of its parts may still be lost."""
    real = LocalBackend.place

    def place(self: Any, moves: Any) -> Any:
        with patch.object(LocalBackend, "_sync", lambda self, keys: None):
            return real(self, moves)

    return [(LocalBackend, "place", place)]


def _staged_names_not_synced() -> Patches:
    """Keys are given while the names of what is staged may still be lost, the intent's among them."""
    return [(LocalBackend, "_sync_staged", lambda self: None)]


def _new_directory_not_synced() -> Patches:
    def ensure(self: Any) -> None:
        with suppress(FileExistsError):
            self.ops.mkdir(self.path)
            self._made = True

    return [(Root, "ensure", ensure)]


def _recovery_without_sync() -> Patches:
    """What was found is not settled: names that a killed run may not have made durable are built upon."""
    return [(LocalBackend, "settle", lambda self, keys: None)]


def _final(path: Path, attempt: str) -> Path:
    return path / attempt.removesuffix(".penstock")


def _written_in_place() -> Patches:
    """One file grows under its final name."""
    stage, place = LocalBackend.stage, LocalBackend.place

    def written(self: Any, attempt: str, name: str, **more: Any) -> Any:
        if name != "data-00000" or "." not in attempt:
            return stage(self, attempt, name, **more)
        return LocalUpload(self._root, self._folder(attempt), LocalStagedFile(_final(self._path, attempt), self._ops))

    def placed(self: Any, moves: Any) -> Any:
        return place(self, [move for move in moves if "." not in move.staged.attempt])

    return [(LocalBackend, "stage", written), (LocalBackend, "place", placed)]


def _manifest_in_place() -> Patches:
    """A small whole is written under its final name instead of being given it."""

    def put(self: Any, key: str, data: bytes, *, expect: Any, attempt: str) -> Any:
        staged = LocalStagedFile(self._file(key), self._ops)
        staged.write(data)
        staged.finish()
        self._sync([key])
        return self.stat(key)

    return [(LocalBackend, "put", put)]


def _rename_over() -> Patches:
    """Names are given by a rename that replaces whatever is there."""
    return [(backend, "give_name", lambda ops, source, target: ops.rename(source, target))]


def _commit_replaces() -> Patches:
    """The commit takes its name whoever has it."""
    real = LocalBackend.put

    def put(self: Any, key: str, data: bytes, *, expect: Any, attempt: str) -> Any:
        return real(self, key, data, expect=Expect.ANY, attempt=attempt)

    return [(LocalBackend, "put", put)]


def _lock_not_held() -> Patches:
    return [(attempts.fcntl, "flock", lambda *_: None)]


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


BACKEND_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _data_not_synced,
        _names_not_synced,
        _parts_names_not_synced,
        _staged_names_not_synced,
        _new_directory_not_synced,
        _recovery_without_sync,
        _written_in_place,
        _manifest_in_place,
        _rename_over,
        _commit_replaces,
        _lock_not_held,
        _short_writes_ignored,
        _fsync_tried_again,
        _fsync_error_swallowed,
    )
}
