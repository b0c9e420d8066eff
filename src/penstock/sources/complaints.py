"""What SQLite and its driver say, as errors of our tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.errors import (
    AccessDenied,
    Cancelled,
    ExportError,
    InvalidQuery,
    IoError,
    NoSpace,
    NotAStore,
    StorageError,
    StoreBusy,
)
from penstock.pipeline.cursor import CursorFault, Fault

#: What SQLite says, and what that is in our tree. Looked for in this order.
_TRANSLATIONS: Sequence[tuple[str, type[ExportError], str]] = (
    ("database is locked", StoreBusy, "another process holds the lock; raise the busy timeout or try again later"),
    (
        "database table is locked",
        StoreBusy,
        "another process holds the lock; raise the busy timeout or try again later",
    ),
    ("file is not a database", NotAStore, "give the path of a SQLite file"),
    ("disk is full", NoSpace, "free some space; nothing was stored half"),
    ("malformed", StorageError, "run 'sqlite3 FILE .recover' on a copy"),
    ("attempt to write a readonly database", AccessDenied, "check the owner and the mode of the file"),
    ("unable to open database file", AccessDenied, "check the path and the mode of the file and its directory"),
    ("disk I/O error", IoError, "check the disk; nothing was stored half"),
    ("no such table", NotAStore, "name the table with --table"),
    (
        "no such column",
        NotAStore,
        "run it again if the table was altered; for names that are no UTF-8: "
        "--query 'WITH q (a, b) AS (SELECT * FROM TABLE) SELECT * FROM q'",
    ),
)
#: What a query of somebody else's may not be.
_QUERY_FAULTS: Mapping[Fault, tuple[str, str]] = {
    Fault.DENIED: ("the query may not use {said}", "give a SELECT that reads from this one file"),
    Fault.BLANK: ("the query is empty", "give one SELECT"),
    Fault.SEVERAL: (
        "the query is more than one statement",
        "give one SELECT; each further query is an export of its own",
    ),
    Fault.RESULTLESS: ("the query gives no rows", "give one SELECT"),
    Fault.PARAMETERS: (
        "nothing is given for the parameter {said} of the query",
        "write the value where {said} stands, a text in single quotes",
    ),
    Fault.WRITES: ("the query writes", "give one SELECT: the file is only ever read"),
}

#: What penstock_scan puts before its complaint about a row.
_SCAN_COMPLAINT = "penstock_scan: "


def of_driver(error: Exception, path: Path) -> ExportError:
    """What the driver raised."""
    text = str(error)
    if _SCAN_COMPLAINT in text:
        return StorageError(
            f"{path}: what is stored is no event: {text.partition(_SCAN_COMPLAINT)[2]}",
            hint="the file is damaged, or another program wrote to it",
        )
    known = _known(text, path)
    return known or StorageError(f"{path}: {text.splitlines()[0] if text else type(error).__name__}")


def of_cursor(fault: CursorFault, path: Path, *, guarded: bool) -> ExportError:
    """What a cursor could not do; ``guarded`` if its query is somebody else's."""
    if fault.fault is Fault.INTERRUPTED:
        return Cancelled(f"{path}: reading was interrupted")
    if not guarded:
        return _known(fault.said, path) or StorageError(f"{path}: {fault.said or fault}")
    if fault.fault in _QUERY_FAULTS:
        message, hint = _QUERY_FAULTS[fault.fault]
        return InvalidQuery(message.format(said=fault.said), hint=hint.format(said=fault.said))
    known = _known(fault.said, path)
    if known is not None and not isinstance(known, NotAStore):
        return known
    return InvalidQuery(f"the query cannot be run: {fault.said}", hint="try it in the sqlite3 shell")


def _known(text: str, path: Path) -> ExportError | None:
    for sign, kind, hint in _TRANSLATIONS:
        if sign in text:
            detail = text[text.index(sign) :].split("\n", maxsplit=1)[0] if kind is NotAStore else sign
            return kind(f"{path}: {detail}", hint=hint)
    return None
