"""What a disk may hold after the power failed: every state that the operations of a log allow, and no more hope.

The rules are POSIX's, which promise less than most file systems keep. Bytes are safe once their file was synced. A new,
changed or removed name is safe once its directory was synced; until then any subset of the changes may survive, in any
order. A rename happens as a whole or not at all. Unsynced bytes may be there, or be lost in part or altogether.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from penstock.testing.faults import Operation

#: Bytes by path, ``None`` for a directory.
Tree = Mapping[str, bytes | None]


@dataclass(slots=True)
class _File:
    written: bytes = b""
    safe: bytes = b""


_Node = _File | None
_CUTS = ("lost", "half", "kept")


@dataclass(slots=True)
class _Change:
    """Names that change together; ``None`` in ``edits`` for a name that goes."""

    directories: tuple[str, ...]
    edits: tuple[tuple[str, tuple[_Node] | None], ...]
    safe: bool = False


class Disk:
    """A directory tree as processes see it, and as it may be found later. What lies under ``root`` now is safe."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._base: dict[str, _Node] = {}
        for path, text in tree_of(root).items():
            self._base[path] = None if text is None else _File(text, text)
        self._changes: list[_Change] = []
        self._open: dict[int, _File] = {}

    def apply(self, operation: Operation) -> None:
        """Let an operation of a log happen."""
        if operation.failed:
            return
        path, target, fd = operation.path, operation.target, operation.fd
        match operation.name:
            case "create":
                assert fd is not None
                self._open[fd] = _File()
                self._change((path, (self._open[fd],)))
            case "open_lock" if path not in self._seen():
                self._change((path, (_File(),)))
            case "mkdir":
                self._change((path, (None,)))
            case "unlink" | "rmdir":
                self._change((path, None))
            case "link":
                assert target is not None
                self._change((target, (self._seen()[path],)))
            case "rename" | "rename_new":
                assert target is not None
                self._change((path, None), (target, (self._seen()[path],)))
            case "write":
                assert fd is not None
                self._open[fd].written += operation.data
            case "fsync":
                assert fd is not None
                self._open[fd].safe = self._open[fd].written
            case "fsync_directory":
                self._sync(path)

    def _change(self, *edits: tuple[str, tuple[_Node] | None]) -> None:
        self._changes.append(_Change(tuple({os.path.dirname(path) for path, _ in edits}), edits))

    def _sync(self, directory: str) -> None:
        for change in self._changes:
            change.safe = change.safe or directory in change.directories
        while self._changes and self._changes[0].safe:
            _edit(self._base, self._changes.pop(0))

    def _seen(self, kept: Iterable[_Change] | None = None) -> dict[str, _Node]:
        names = dict(self._base)
        for change in self._changes if kept is None else kept:
            _edit(names, change)
        return names

    def now(self) -> Tree:
        """What a process sees."""
        return self._rendered(self._seen(), "kept")

    def after_power_loss(self, *, most: int = 32, seed: int = 0) -> Iterator[Tree]:
        """States that may be found. All of them if they are at most about ``most``; else none, each alone, all but
        each, every prefix, and subsets drawn by ``seed``."""
        unsafe = [index for index, change in enumerate(self._changes) if not change.safe]
        told = set()
        for chosen in _subsets(unsafe, most, random.Random(seed)):  # noqa: S311  # to be repeatable, not secret
            names = self._seen(change for index, change in enumerate(self._changes) if change.safe or index in chosen)
            for cut in _CUTS:
                tree = self._rendered(names, cut)
                mark = tuple(sorted(tree.items()))
                if mark not in told:
                    told.add(mark)
                    yield tree

    def _rendered(self, names: Mapping[str, _Node], cut: str) -> Tree:
        tree: dict[str, bytes | None] = {}
        for path in sorted(names):
            parent = os.path.dirname(path)
            if parent != self._root and tree.get(parent, b"") is not None:
                continue  # its directory did not survive
            node = names[path]
            tree[path] = None if node is None else _cut(node, cut)
        return tree


def _edit(names: dict[str, _Node], change: _Change) -> None:
    for path, node in change.edits:
        if node is None:
            names.pop(path, None)
        else:
            names[path] = node[0]


def _cut(file: _File, cut: str) -> bytes:
    if file.written == file.safe or cut == "lost":
        return file.safe
    return file.written if cut == "kept" else file.written[: max(len(file.safe), len(file.written) // 2)]


def _subsets(items: list[int], most: int, chance: random.Random) -> Iterator[frozenset[int]]:
    if 1 << len(items) <= most:
        for picks in product((False, True), repeat=len(items)):
            yield frozenset(item for item, pick in zip(items, picks, strict=True) if pick)
        return
    every = frozenset(items)
    yield frozenset()
    yield every
    for index, item in enumerate(items):
        yield frozenset({item})
        yield every - {item}
        yield frozenset(items[:index])
    for _ in range(most - 3 * len(items)):
        yield frozenset(item for item in items if chance.random() < 0.5)


def tree_of(root: Path) -> dict[str, bytes | None]:
    """What lies under a directory."""
    return {str(path): None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))}


def lay_out(tree: Tree, root: Path) -> None:
    """Make ``root``, the directory that the tree is of, hold exactly this."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for path in sorted(tree):
        text = tree[path]
        if text is None:
            Path(path).mkdir()
        else:
            Path(path).write_bytes(text)
