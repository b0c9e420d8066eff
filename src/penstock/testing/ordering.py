"""The order in which a publication has to do things, checked on the log of its operations.

A crash shows some orders to be wrong, a power loss more of them; reading the log shows every one, on any file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from penstock.publishing.recovery import INTENT
from penstock.testing.faults import Operation

_NAMING = ("link", "rename", "rename_new")


class _Watch:
    """What is durable so far, and what was done out of turn."""

    def __init__(self, place: Path, manifest: Path) -> None:
        self.manifest = str(manifest)
        self.place = str(place)
        self.problems: list[str] = []
        self.unsynced_files: set[str] = set()
        self.staged_intent = False
        #: Names that changed in a directory since it was synced.
        self.unsynced_names: dict[str, set[str]] = {}
        self.committed = False

    def staged(self, path: str) -> bool:
        name = Path(path).parent.name
        return name.startswith(".") and name.endswith("penstock")

    def changed(self, path: str) -> None:
        self.unsynced_names.setdefault(os.path.dirname(path), set()).add(path)

    def waiting(self, directory: str) -> set[str]:
        return self.unsynced_names.get(directory, set())

    def _waiting_below(self) -> set[str]:
        """Names in the place and in folders of it that are not durable yet."""
        ours = (self.place, f"{self.place}{os.sep}")
        places = [
            directory for directory in self.unsynced_names if directory == ours[0] or directory.startswith(ours[1])
        ]
        return {name for directory in places if not self.staged(f"{directory}/_") for name in self.waiting(directory)}

    def name(self, operation: Operation) -> None:
        source, target = operation.path, str(operation.target)
        self.changed(target)
        if operation.name != "link":
            self.changed(source)
        if self.staged(target):
            return
        if source in self.unsynced_files:
            self.problems.append(f"{operation}: a file took its name before its bytes were durable")
        if target == self.manifest:
            # A folder that is made for the manifest alone comes with it.
            others = {name for name in self._waiting_below() - {source} if not self.manifest.startswith(name)}
            if others:
                self.problems.append(f"{operation}: the commit came before the names of {_names(others)} were durable")
            self.committed = True
        elif not self.committed or "_penstock" not in Path(target).parts:
            self._data(operation, source)

    def _data(self, operation: Operation, source: str) -> None:
        if self.committed:
            self.problems.append(f"{operation}: data took its name after the commit")
        staging = os.path.dirname(source)
        if not self.staged_intent:
            self.problems.append(f"{operation}: data took its name before the intent was staged")
        elif any(Path(path).name == INTENT for path in self.waiting(staging)) or staging in self.waiting(
            os.path.dirname(staging)
        ):
            self.problems.append(f"{operation}: data took its name before the intent was durable")
        if self.manifest in self.waiting(os.path.dirname(self.manifest)):
            self.problems.append(f"{operation}: data took its name before the old manifest was durably withdrawn")

    def _commit_waits(self) -> bool:
        """Whether the manifest's name, or that of a folder it lies in, is not durable yet."""
        below = Path(self.manifest).relative_to(self.place)
        names = [self.manifest, *(str(Path(self.place, folder)) for folder in below.parents if folder.name)]
        return any(name in self.waiting(os.path.dirname(name)) for name in names)

    def remove(self, operation: Operation) -> None:
        outside = not self.staged(operation.path)
        if outside and self.committed and self._commit_waits():
            self.problems.append(f"{operation}: something was removed before the commit was durable")
        if outside and not self.committed and operation.name == "unlink" and operation.path != self.manifest:
            self.problems.append(f"{operation}: something was removed before the commit")
        self.changed(operation.path)

    def end(self) -> None:
        if not self.committed:
            self.problems.append("nothing was committed")
        elif self._commit_waits():
            self.problems.append("the commit was never made durable")
        if self.place in self.waiting(os.path.dirname(self.place)):
            self.problems.append("the name of the new directory was never made durable")


def order_problems(log: Iterable[Operation], place: Path, manifest: Path) -> list[str]:
    """What a successful export in ``place`` did out of turn; ``manifest`` is where its manifest came to lie."""
    watch = _Watch(place, manifest)
    for operation in log:
        if operation.failed:
            continue
        path = operation.path
        match operation.name:
            case "write":
                watch.unsynced_files.add(path)
            case "fsync":
                watch.unsynced_files.discard(path)
                watch.staged_intent |= Path(path).name == INTENT
            case "fsync_directory":
                watch.unsynced_names.pop(path, None)
            case "create" | "mkdir":
                watch.changed(path)
            case "unlink" | "rmdir":
                watch.remove(operation)
            case name if name in _NAMING:
                watch.name(operation)
    watch.end()
    return watch.problems


def _names(paths: Iterable[str]) -> str:
    return ", ".join(sorted(Path(path).name for path in paths))
