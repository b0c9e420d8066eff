"""The files of a server, asked for one thing at a time; what it refuses is said in our words."""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass

import asyncssh

from penstock.backends.sftp.session import Call, Result, Session
from penstock.errors import (
    AccessDenied,
    ExportError,
    IoError,
    NoSpace,
    NotFound,
    UsageError,
)

GONE = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
_NO_SPACE = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_DENIED = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect)
_NAMES = (asyncssh.SFTPBadMessage, asyncssh.SFTPInvalidFilename, asyncssh.SFTPFileIsADirectory)
#: Free bytes under which a refusal without a reason is taken for a full disk.
_FULL = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a path is: a file with its size and its time of change in seconds, a folder, or something else."""

    mode: int
    size: int
    changed: int
    read: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def version(self) -> str:
        return f"{self.size:x}-{self.changed:x}"


class Server:
    """A session, and the words for what it refuses."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.host = session.address.host

    def ask(self, what: str, call: Call[Result], *, changes: bool = False) -> Result:
        """As :meth:`Session.ask`; raises our errors, but :data:`GONE` for what is not there."""
        try:
            return self.session.ask(call, changes=changes)
        except GONE:
            raise
        except asyncssh.SFTPError as error:
            raise self.told(error, what) from None

    def told(self, error: asyncssh.SFTPError, what: str) -> ExportError:
        """A refusal in our words."""
        message = f"{self.host}: {what}: {error.reason or type(error).__name__}"
        if isinstance(error, _NO_SPACE):
            return NoSpace(message, hint="free some space there, or choose another destination")
        if isinstance(error, _DENIED):
            return AccessDenied(message, hint="check the owner and the mode of the file and of its directory")
        if isinstance(error, GONE):
            return NotFound(message, hint="check the path")
        if isinstance(error, _NAMES):
            return UsageError(message, hint="check the path: the server does not take this name")
        if isinstance(error, asyncssh.SFTPOpUnsupported):
            return UsageError(message, hint="the server cannot do that: choose another destination")
        return IoError(message, hint="nothing was published; run the command again when the cause is gone")

    def refused_bytes(self, error: asyncssh.SFTPError, what: str, folder: str) -> ExportError:
        """As :meth:`told`, of bytes that were to be written: a server that gives no reason may have no space."""
        told = self.told(error, what)
        if type(told) is IoError and (free := self.free(folder)) is not None and free < _FULL:
            return NoSpace(told.message, hint="free some space there, or choose another destination")
        return told

    def free(self, folder: str) -> int | None:
        """Bytes that can still be written, if the server tells."""
        try:
            room = self.session.ask(lambda client: client.statvfs(folder))
        except (asyncssh.SFTPError, ExportError):
            return None
        return room.bavail * room.frsize

    def look(self, path: str, *, follow: bool = False) -> Found | None:
        """What a path is; ``None`` if nothing is there."""
        try:
            attributes = self.ask(
                f"cannot look at {path}", lambda client: client.stat(path) if follow else client.lstat(path)
            )
        except GONE:
            return None
        return found(attributes)

    def entries(self, folder: str) -> dict[str, Found]:
        """What lies in a folder, links as such; nothing if there is none."""
        try:
            there = self.ask(f"cannot look into {folder}", lambda client: client.readdir(folder))
        except GONE:
            return {}
        return {str(one.filename): found(one.attrs) for one in there if one.filename not in (".", "..")}

    def make_folder(self, path: str) -> bool:
        """Make a folder; whether something was there already. Raises :data:`GONE` without the one around it."""
        try:
            self.session.ask(lambda client: client.mkdir(path), changes=True)
        except GONE:
            raise
        except asyncssh.SFTPError as error:
            if self.look(path) is None:
                raise self.refused_bytes(error, f"cannot create {path}", path) from None
            return False
        return True

    def remove_folder(self, path: str) -> bool:
        """Remove a folder that is empty; whether it is gone. Never raises."""
        with suppress(asyncssh.SFTPError, ExportError):
            self.session.ask(lambda client: client.rmdir(path), changes=True)
            return True
        return False

    def remove(self, path: str) -> None:
        """Remove a file, or find it gone."""
        with suppress(*GONE):
            self.ask(f"cannot remove {path}", lambda client: client.remove(path), changes=True)

    def rename(self, source: str, target: str) -> None:
        """Rename a file or a folder to a name that nobody else uses. Raises :data:`GONE`."""
        try:
            self.session.ask(lambda client: client.posix_rename(source, target), changes=True)
        except asyncssh.SFTPOpUnsupported:
            self.ask(f"cannot rename {source}", lambda client: client.rename(source, target), changes=True)
        except GONE:
            raise
        except asyncssh.SFTPError as error:
            raise self.told(error, f"cannot rename {source}") from None

    def replace(self, source: str, target: str) -> None:
        """Rename a file, over whatever file has the name. Raises :data:`GONE`."""
        self.ask(f"cannot replace {target}", lambda client: client.posix_rename(source, target), changes=True)

    def touch(self, path: str, there: Found, changed: int) -> None:
        """Give a file another time of change."""
        self.ask(
            f"cannot set the time of {path}", lambda client: client.utime(path, (there.read, changed)), changes=True
        )

    def sync(self, folder: str) -> None:
        """Make the names in a folder durable, where the server can. One that is gone has none."""
        if not self.session.syncs_folders:
            return

        async def durable(client: asyncssh.SFTPClient) -> None:
            async with client.open(folder, asyncssh.FXF_READ, encoding=None) as opened:
                await opened.fsync()

        with suppress(*GONE):
            self.ask(f"cannot make what lies in {folder} durable", durable)


def found(attributes: asyncssh.SFTPAttrs) -> Found:
    return Found(
        mode=attributes.permissions or 0,
        size=attributes.size or 0,
        changed=int(attributes.mtime or 0),
        read=int(attributes.atime or 0),
    )
