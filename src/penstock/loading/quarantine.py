"""Where records go that are not events: one NDJSON file, appended to, durable before the load ends."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from penstock.errors import LimitReached, NotFound, UsageError, from_os_error
from penstock.loading.rows import Reject
from penstock.pipeline.closing import Closing

#: Most bytes that one load adds to a quarantine, where nothing else is said.
MOST_BYTES = 256 << 20


class Quarantine(Closing):
    """Counts what is set aside, and keeps it in the file at ``path`` (nowhere, if that is ``None``).

    An entry is ``{"file", "line" or "record", "reason", "raw"}``; ``raw_base64`` instead of ``raw`` when the record is
    not UTF-8; ``raw_bytes``, its length, when only its beginning is kept. The file is made for the first entry, and
    appended to if it is there. Raises what writing a file can raise.

    All entries of one load have at most ``most`` bytes: :class:`~penstock.errors.LimitReached` tells of the record that
    has no room any more, and of it and what comes after nothing is kept.
    """

    def __init__(self, path: Path | None, *, most: int = MOST_BYTES) -> None:
        if most < 1:
            raise UsageError(f"the quarantine must have room for 1 byte or more, not {most}")
        self.path = path
        self._left = self._most = most
        self._kept = 0
        self.reasons: Counter[str] = Counter()
        self._file: FileIO | None = None

    @property
    def count(self) -> int:
        """How many records were set aside."""
        return self.reasons.total()

    def add(self, file: str, rejects: Iterable[Reject]) -> None:
        """Set records of a file aside."""
        lines: list[bytes] = []
        without_room: Reject | None = None
        for reject in rejects:
            self.reasons[reject.reason] += 1
            if without_room is not None:
                continue
            line = json.dumps(_entry(file, reject), ensure_ascii=False).encode("utf-8", "backslashreplace")
            self._left -= len(line) + 1
            if self._left < 0:
                without_room = reject
            else:
                lines.append(line)
        self._keep(lines)
        self._kept += len(lines)
        if without_room is not None:
            raise LimitReached(
                f"the load stopped before {without_room.unit} {without_room.number:,} of {file}: the quarantine of this"
                f" load may have {self._most:,} bytes, and holds {self._kept:,} records",
                hint="see why they are no events; --max-quarantine makes room for more, and loading again is safe",
            )

    def _keep(self, lines: Sequence[bytes]) -> None:
        if lines and self.path is not None:
            try:
                if self._file is None:
                    self._file = _opened(self.path)
                _write(self._file, b"\n".join(lines) + b"\n")
            except OSError as error:
                raise from_os_error(error, f"cannot write the quarantine {self.path}") from None

    def close(self) -> None:
        """Make the entries durable. Safe to call twice."""
        file, self._file = self._file, None
        if file is None or self.path is None:
            return
        try:
            with file:
                os.fsync(file.fileno())
            directory = os.open(self.path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise from_os_error(error, f"cannot write the quarantine {self.path}") from None


def beside(store: Path) -> Path:
    """The quarantine of a store, where no other is named."""
    return Path(f"{store}.quarantine.ndjson")


def check(path: Path, *, apart_from: Sequence[Path]) -> None:
    """See that entries could be written to a path. Raises :class:`~penstock.errors.UsageError` for a directory and for
    the files named, :class:`~penstock.errors.NotFound` for a directory that is missing."""
    if path.is_dir():
        raise UsageError(f"the quarantine {path} is a directory", hint="name a file")
    for other in apart_from:
        if path.absolute() == other.absolute() or (path.exists() and other.exists() and path.samefile(other)):
            raise UsageError(f"the quarantine {path} is the store itself", hint="name another file")
    if not path.absolute().parent.is_dir():
        raise NotFound(f"there is no directory {path.absolute().parent}", hint="create it first")


def _entry(file: str, reject: Reject) -> dict[str, Any]:
    reason = f"{reject.reason}: {reject.detail}" if reject.detail else reject.reason
    entry: dict[str, Any] = {"file": file, reject.unit: reject.number, "reason": reason}
    raw = reject.raw
    if reject.length is not None:
        entry["raw_bytes"] = reject.length
        raw = _whole_characters(raw)
    try:
        entry["raw"] = raw.decode()
    except UnicodeDecodeError:
        entry["raw_base64"] = base64.b64encode(reject.raw).decode()
    return entry


def _whole_characters(text: bytes) -> bytes:
    """The text without a last character that was cut through."""
    for size in range(4):
        try:
            text[: len(text) - size].decode()
        except UnicodeDecodeError:
            continue
        return text[: len(text) - size]
    return text


def _opened(path: Path) -> FileIO:
    """The file at its end, on a new line: a run that was killed may have left half of an entry."""
    file = path.open("a+b", buffering=0)
    try:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            _write(file, b"\n")
    except BaseException:
        file.close()
        raise
    return file


def _write(file: FileIO, text: bytes) -> None:
    """Append whole entries at once, so that two loads at a time do not mix theirs."""
    view = memoryview(text)
    while view:
        view = view[file.write(view) :]
