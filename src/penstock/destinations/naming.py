"""How small files of ours are read, and how a part is known again, where anything may lie under their names."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from penstock.backends.local.naming import open_plain
from penstock.errors import DestinationExists, ExportError, ManifestError, Unconfirmed
from penstock.model.manifest import MAX_MANIFEST_BYTES, PartEntry, parse_manifest

#: How every manifest of ours begins, however damaged behind it.
_MARK = b'{\n  "penstock_manifest"'


def stem(index: int, entry: PartEntry) -> str:
    """What a part is called by, before the ending: its number, its first and last arrival number where rows have any,
    and its digest."""
    span = "" if entry.seq_range is None else f"{entry.seq_range.first}-{entry.seq_range.last}-"
    return f"part-{index:05d}-{span if entry.rows else 'empty-'}{entry.sha256[:8]}"


def read_if_there(path: Path) -> bytes | None:
    """The bytes of a small file, or ``None`` if there is none. Raises :class:`ManifestError` for a huge one."""
    try:
        with open_plain(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_MANIFEST_BYTES:
                raise ManifestError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes: not a manifest")
            return file.read()
    except FileNotFoundError:
        return None


def stands(path: Path, text: bytes) -> bool | None:
    """Whether a manifest stands under its final name; ``None`` if that cannot be told now."""
    try:
        return read_if_there(path) == text
    except (ManifestError, IsADirectoryError):
        return False
    except OSError:
        return None


def unconfirmed(failure: ExportError, path: Path, text: bytes, *, known: bool) -> Unconfirmed:
    """The failure of a commit that happened, or, if that is not ``known``, may have."""
    what = "is published, but it may not outlive a power failure" if known else "may be published, or not"
    return Unconfirmed(
        f"{path} {what}: {failure.message}",
        manifest=text,
        hint="check the disk, and verify what is there before anything is repeated",
    )


def check_replaceable(path: Path) -> None:
    """See that what is to be replaced is a manifest of ours, whole or damaged.

    Raises :class:`DestinationExists` for another program's file, :class:`NewerVersion` for a newer manifest.
    """
    text = read_if_there(path) or b""
    try:
        parse_manifest(text, where=str(path))
    except ManifestError:
        if not text.startswith(_MARK):
            raise DestinationExists(
                f"{path} exists and is not a manifest of Penstock's", hint="choose another name, or move it away"
            ) from None


def holds(path: Path, entry: PartEntry) -> bool:
    """Whether a name is of a file that is exactly what a manifest's entry says."""
    try:
        with open_plain(path, follow=False) as file:
            return (
                os.fstat(file.fileno()).st_size == entry.bytes
                and hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
            )
    except (FileNotFoundError, IsADirectoryError, ManifestError):
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False  # a link
        raise
