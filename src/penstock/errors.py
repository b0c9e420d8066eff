"""The whole error tree of Penstock. Nothing in the package raises an error of its own that is not in this file.

    ExportError                    1   something unexpected; the root, so that one ``except`` catches all of Penstock
    ├─ UsageError                  2   what was asked for cannot be done; asking differently will
    │  ├─ InvalidFormat            2   unknown format, ending, level or a combination that does not exist
    │  ├─ InvalidFilter            2   an empty, reversed or unreadable filter
    │  ├─ InvalidEvent             2   an event that breaks the event model
    │  ├─ InvalidMapping           2   a table or field mapping that names what is not there
    │  ├─ InvalidQuery             2   a query that cannot be run, or that does more than read
    │  ├─ UnfitValue               2   a stored value that its column's type does not have
    │  ├─ DestinationExists        2   there is something at the destination already
    │  │  └─ Exists                2   there is something under a key of a backend already
    │  ├─ Rewound                  2   the store does not hold any more what a lineage's last run rests on
    │  ├─ NotAStore                2   the file is not a SQLite database, or not an event store
    │  └─ NewerVersion             2   written by a newer Penstock than this one
    ├─ PartialResult               3   the rest is safe, some of it is missing or was set aside
    ├─ IntegrityError              4   stored bytes, counts or digests are not what the manifest says
    │  ├─ ManifestError            4   the manifest is missing, edited or unreadable
    │  └─ SerializationError       4   bytes do not decode as the format they claim to be
    ├─ TemporaryError              5   trying again later may work
    │  ├─ StoreBusy                5   the store stayed locked for too long, or its file was replaced meanwhile
    │  ├─ NoSpace                  5   the disk, the quota or the inodes are used up
    │  ├─ IoError                  5   the operating system reported an error while reading or writing
    │  ├─ WorkerLost               5   a worker process ended in the middle of its task
    │  └─ Changed                  5   another version stands there than the one that was expected
    ├─ Unknown                     5   whether a change happened cannot be told from the answer: look, then repeat
    ├─ NotDurable                  5   a change happened, but it may not outlive a power failure
    ├─ Unconfirmed                 5   an export is published, or may be, but that is not certain or not durable
    ├─ NotFound                    6   the store or the destination does not exist
    ├─ PermanentError              7   the destination or the credentials refuse, and will refuse again
    │  ├─ AccessDenied             7   no permission
    │  │  └─ UntrustedHost         7   a server shows a key that the file of known hosts does not hold for it
    │  └─ StorageError             7   the store is damaged or answers nonsense
    ├─ LimitReached                8   a limit that was set by the caller was reached
    ├─ EmptyExport                 9   nothing matched, and the caller said that this is a failure
    ├─ Locked                     11   another process works on the same destination
    ├─ Cancelled                 130   interrupted; nothing half-written was left behind
    └─ ReaderGone                141   the reader of standard output went away

The number is the exit code of the command. ``hint`` says what to do about it; ``retryable`` says whether the same call
may succeed later without any change.
"""

from __future__ import annotations

import errno
import os


class ExportError(Exception):
    """The root of every error Penstock raises: what happened, to what, and (in ``hint``) what to do."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class UsageError(ExportError):
    """What was asked for cannot be done; asking differently will."""

    exit_code = 2


class InvalidFormat(UsageError):
    """An unknown format, ending or compression level, or a combination that does not exist."""


class InvalidFilter(UsageError):
    """A filter that is empty, reversed or unreadable."""


class InvalidEvent(UsageError):
    """An event that breaks the event model."""


class InvalidMapping(UsageError):
    """A table or field mapping that names something that is not there."""


class InvalidQuery(UsageError):
    """A query that SQLite cannot run, or that is not one statement that only reads."""


class UnfitValue(UsageError):
    """A value of a table that its column's type does not have: another type takes it, or it may be left out."""


class DestinationExists(UsageError):
    """There is something at the destination already, and replacing it was not asked for."""


class Exists(DestinationExists):
    """There is something under a key of a backend already."""


class Rewound(UsageError):
    """The store does not hold any more what the last run of a lineage rests on: it was put back, or is another."""


class NotAStore(UsageError):
    """The file is not a SQLite database, or holds no event store."""


class NewerVersion(UsageError):
    """The store or the manifest was written by a newer Penstock than this one."""


class PartialResult(ExportError):
    """What was written is whole and safe, but some of the input is missing from it or was set aside."""

    exit_code = 3


class IntegrityError(ExportError):
    """Stored bytes, counts or digests are not what the manifest says."""

    exit_code = 4


class ManifestError(IntegrityError):
    """The manifest is missing, edited or unreadable."""


class SerializationError(IntegrityError):
    """Bytes do not decode as the format they claim to be."""


class TemporaryError(ExportError):
    """Trying again later may work."""

    exit_code = 5
    retryable = True


class StoreBusy(TemporaryError):
    """The store stayed locked by another process for longer than the busy timeout, or its file was replaced."""


class NoSpace(TemporaryError):
    """The disk, the quota or the inodes of the destination are used up."""


class IoError(TemporaryError):
    """The operating system reported an error while reading or writing."""


class WorkerLost(TemporaryError):
    """A worker process was ended, or ran out of memory, and its task cannot be done again as it was."""


class Changed(TemporaryError):
    """Another version stands under a key than the one that was expected."""


class Unknown(ExportError):
    """Whether a change happened cannot be told from the answer: look before you repeat it."""

    exit_code = 5


class NotDurable(ExportError):
    """A change happened, but it may not outlive a power failure: looking does not tell, nor does repeating it.

    ``cause`` is the error as it would be if nothing had happened.
    """

    exit_code = 5

    def __init__(self, message: str, *, cause: type[ExportError] = TemporaryError, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause


class Unconfirmed(ExportError):
    """An export may be published, or is published and may not outlive a power failure.

    ``manifest`` is the text of its manifest: read the destination back and compare before anything is repeated.
    """

    exit_code = 5

    def __init__(self, message: str, *, manifest: bytes = b"", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.manifest = manifest


class NotFound(ExportError):
    """The store or the destination does not exist."""

    exit_code = 6


class PermanentError(ExportError):
    """The destination or the credentials refuse, and will refuse again."""

    exit_code = 7


class AccessDenied(PermanentError):
    """No permission to read the store or to write the destination."""


class UntrustedHost(AccessDenied):
    """A server shows a key that the file of known hosts does not hold for it, or another one than it does."""


class StorageError(PermanentError):
    """The store is damaged or answers what it cannot mean."""


class LimitReached(ExportError):
    """A limit that the caller set was reached."""

    exit_code = 8


class EmptyExport(ExportError):
    """Nothing matched the filter, and the caller said that this is a failure."""

    exit_code = 9


class Locked(ExportError):
    """Another process works on the same destination."""

    exit_code = 11


class Cancelled(ExportError):
    """The run was interrupted; nothing half-written was left behind."""

    exit_code = 130


class ReaderGone(ExportError):
    """The reader of standard output went away before the end."""

    exit_code = 141


_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def from_os_error(error: OSError, what: str) -> ExportError:
    """Translate an operating system error into the tree; ``what`` names the file and what was being done to it."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    message = f"{what}: {reason}"
    if error.errno in _NO_SPACE:
        return NoSpace(message, hint="free some space or choose another destination, then run the command again")
    if error.errno in _DENIED:
        return AccessDenied(message, hint="check the owner and the mode of the file and of its directory")
    if error.errno == errno.ENOENT:
        return NotFound(message, hint="check the path")
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return UsageError(message, hint="check the path")
    return IoError(message, hint="nothing was published; run the command again when the cause is gone")
