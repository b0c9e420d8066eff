"""Keys as files below one directory of an SFTP server; see :class:`penstock.ports.backend.Backend`.

What an attempt lays down lies in a hidden folder until it gets its key by a hard link, which never takes a name from
anybody, or by a rename over what was expected there. A version is made of size and time of change, all that the
protocol tells, so that what replaces a file of the same size gets a later second. Keys behind a link to a folder do not
exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO
from uuid import uuid4

import asyncssh

from penstock.backends.sftp.access import Access, access_from
from penstock.backends.sftp.address import parse_address
from penstock.backends.sftp.attempts import TURNS, Attempts, Lease, Root, SftpLock
from penstock.backends.sftp.files import SftpUpload, reading
from penstock.backends.sftp.server import GONE, Found, Server, found
from penstock.backends.sftp.session import Session, Timeouts
from penstock.errors import Changed, Exists, ExportError, IoError, NoSpace, NotDurable, NotFound, Unknown
from penstock.model.location import Location, check_key, check_plain
from penstock.ports.backend import Expect, Expectation, Move, Staged, Stat, Traits

_TRAITS = Traits(
    put_absent=True,
    put_version=False,  # the version is compared before the rename: only the lock keeps others from coming between
    place_absent=True,
    place_free=True,
    readable=True,
    listable=True,
    durable=False,
    lock=True,
)
#: Share of a size hint that must fit before work begins; the rest is left to the write itself to notice.
_SURE = 0.8


class SftpBackend:
    """Keys below the directory that a location of the scheme ``sftp`` names, which is created when something is first
    laid down. Without ``access`` the variables ``PENSTOCK_SFTP_…`` say how to be let in."""

    def __init__(
        self,
        location: Location,
        *,
        access: Access | None = None,
        timeouts: Timeouts | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.location = location
        address = parse_address(location)
        session = Session(address, access if access is not None else access_from(os.environ), timeouts)
        self._server = Server(session)
        self._path = address.path
        self._root = Root(self._server, self._path)
        self._attempts = Attempts(self._server, self._root, lease if lease is not None else Lease())

    @property
    def traits(self) -> Traits:
        return replace(_TRAITS, durable=self._server.session.syncs_folders)

    def stat(self, key: str) -> Stat | None:
        there = self._look(key)
        return None if there is None else Stat(key=key, size=there.size, version=there.version)

    def _path_of(self, key: str) -> str:
        return f"{self._path}/{check_key(key)}"

    def _look(self, key: str) -> Found | None:
        """The file of a key, if there is one."""
        path = self._path_of(key)
        if any((there := self._server.look(folder)) is None or not there.is_folder for folder in self._folders(key)):
            return None
        there = self._server.look(path, follow=True)
        return there if there is not None and there.is_file else None

    def _folders(self, key: str) -> list[str]:
        """The folders of a key, from the outermost on."""
        names = key.split("/")[:-1]
        return ["/".join([self._path, *names[: number + 1]]) for number in range(len(names))]

    def list(self, prefix: str) -> Iterator[Stat]:
        return self._walk("", prefix)

    def _walk(self, above: str, prefix: str) -> Iterator[Stat]:
        """What has a key with this prefix, in the order of keys: that of a folder ends with its slash."""
        entries = self._server.entries(f"{self._path}/{above}")
        there = {f"{above}{name}{'/' * entry.is_folder}": entry for name, entry in entries.items()}
        for key in sorted(there):
            if not key.startswith(prefix[: len(key)]):
                continue
            entry: Found | None = there[key]
            if key.endswith("/"):
                if not key[len(above) :].startswith("."):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix):
                if there[key].is_link:
                    entry = self._server.look(f"{self._path}/{key}", follow=True)
                if entry is not None and entry.is_file:
                    yield Stat(key=key, size=entry.size, version=entry.version)

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        if self._look(key) is None:
            raise NotFound(f"there is no {key} at {self.location}")
        return self._opened(self._path_of(key), version=version, start=start, stop=stop)

    def _opened(self, path: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        async def opening(client: asyncssh.SFTPClient) -> tuple[asyncssh.SFTPClientFile, asyncssh.SFTPAttrs]:
            file = await client.open(path, asyncssh.FXF_READ, encoding=None)
            return file, await file.stat()

        try:
            file, attributes = self._server.ask(f"cannot read {path}", opening)
        except GONE:
            raise NotFound(f"there is no {path} on {self._server.host}") from None
        there = found(attributes)
        if version is not None and version != there.version:
            self._server.session.leave(file.close())
            raise self._changed(path)
        end = there.size if stop is None else min(stop, there.size)
        return reading(self._server, file, path, start=start, stop=end)

    def _changed(self, path: str) -> Changed:
        return Changed(f"{path} on {self._server.host} is not what it was", hint="look what stands there now")

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        self._path_of(key)
        upload = self.stage(attempt, f"put-00000-{uuid4().hex}")
        try:
            upload.write(data)
            (stat,) = self._place([Move(staged=upload.finish(), key=key, expect=expect)])
        except Unknown:
            raise  # what was to be placed may be under way
        except BaseException:
            upload.abort()
            raise
        self._attempts.remove_if_empty(attempt)
        return stat

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> SftpUpload:
        staged = Staged(attempt=check_plain(attempt), name=check_plain(name), size=0)
        self._check_space(size_hint)
        for folder in self._attempts.within(attempt):
            path = f"{folder}/{name}"
            with suppress(*GONE):  # somebody found the folder empty, and removed it, or took it over
                file = self._created(path)
                return SftpUpload(self._server, file, path, staged, lambda: self._attempts.remove_if_empty(attempt))
        raise IoError(f"{path} cannot be created", hint="run it again")

    def _created(self, path: str) -> asyncssh.SFTPClientFile:
        flags = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
        try:
            return self._server.session.ask(
                lambda client: client.open(path, flags, encoding=None, block_size=0), changes=True
            )
        except GONE:
            raise
        except asyncssh.SFTPError as error:
            if self._server.look(path) is not None:
                raise Exists(f"{path} was staged before", hint="use each name once in an attempt") from None
            raise self._server.refused_bytes(error, f"cannot create {path}", path.rpartition("/")[0]) from None

    def _check_space(self, needed: int | None) -> None:
        if needed is None or (free := self._server.free(self._path)) is None:
            return
        if free < needed * _SURE:
            raise NoSpace(
                f"{self.location} has {free} bytes free, about {needed} are needed",
                hint="free some space, compress, or choose another destination",
            )

    def open_staged(self, staged: Staged) -> BinaryIO:
        return self._opened(self._staged(staged)[0])

    def _staged(self, staged: Staged) -> tuple[str, Found]:
        """The file of what was staged. Raises :class:`~penstock.errors.NotFound`."""
        name = check_plain(staged.name)
        for folder in self._attempts.folders(check_plain(staged.attempt)):
            there = self._server.look(f"{folder}/{name}")
            if there is not None and there.is_file:
                return f"{folder}/{name}", there
        self._attempts.check(staged.attempt)
        raise NotFound(f"{name} is not staged in {self._attempts.around(staged.attempt)}")

    def staged(self, attempt: str) -> Iterator[Staged]:
        self._attempts.check(check_plain(attempt))
        for path, there in self._attempts.names(attempt):
            yield Staged(attempt=attempt, name=path.rpartition("/")[2], size=there.size)

    def attempts(self) -> Iterator[str]:
        names = sorted(name[1:] for name in self._server.entries(f"{self._path}/") if name.startswith("."))
        yield from (name for name in names if name.strip(".") and any(self._attempts.names(name)))

    def drop(self, staged: Staged) -> None:
        with suppress(NotFound):
            self._server.remove(self._staged(staged)[0])
        self._attempts.remove_if_empty(staged.attempt)

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        placed = self._place(moves)
        for attempt in {move.staged.attempt for move in moves}:
            self._attempts.remove_if_empty(attempt)
        return placed

    def _place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        """Names in order; then all that were given are made durable, whether or not one failed."""
        placed: list[Stat] = []
        for attempt in sorted({move.staged.attempt for move in moves}):
            self._attempts.sync(check_plain(attempt))
        try:
            for move in moves:
                placed.append(self._name(move))
        finally:
            self._sync([stat.key for stat in placed])
        return placed

    def _name(self, move: Move) -> Stat:
        """Give one staged file its name, and take the staged one away."""
        target = self._path_of(move.key)
        source, ours = self._staged(move.staged)
        there = self._server.look(target)
        if there is not None and there.is_folder:
            raise Exists(f"{target} is a directory, a file is meant", hint="choose another name")
        if isinstance(move.expect, str) and (there is None or there.version != move.expect):
            raise self._changed(target)
        if there is not None and there.size == ours.size and there.changed >= ours.changed:
            ours = replace(ours, changed=there.changed + 1)
            self._server.touch(source, ours, ours.changed)
        for _ in range(TURNS):
            self._make_folders(move.key)
            try:
                self._give(source, target, overwrite=move.expect is not Expect.ABSENT)
            except GONE:
                self._staged(move.staged)
                continue  # somebody found the folder of the key empty, and removed it
            except Unknown:
                raise
            except BaseException:
                self._remove_empty(move.key)
                raise
            return Stat(key=move.key, size=ours.size, version=ours.version)
        raise IoError(f"the folder of {target} goes whenever it is made", hint="look who removes it")

    def _give(self, source: str, target: str, *, overwrite: bool) -> None:
        if overwrite:
            self._server.replace(source, target)
            return
        try:
            self._server.session.ask(lambda client: client.link(source, target), changes=True)
        except GONE:
            raise
        except asyncssh.SFTPOpUnsupported:
            self._rename_new(source, target)
        except asyncssh.SFTPError as error:
            if self._server.look(target) is not None:
                raise Exists(f"{target} on {self._server.host} exists", hint="choose another name") from None
            raise self._server.told(error, f"cannot link {target}") from None
        else:
            with suppress(ExportError):
                self._server.remove(source)  # what cannot be removed is still listed as staged

    def _rename_new(self, source: str, target: str) -> None:
        """Without hard links: the rename of the protocol takes no name that another file has, in servers that keep to
        it. Whether this one does is tried out first."""
        trial = [f"{source}-{number}" for number in range(2)]
        for path in trial:
            self._server.session.use(self._created(path).close())
        try:
            self._server.session.ask(lambda client: client.rename(trial[0], trial[1]), changes=True)
        except asyncssh.SFTPError:
            pass
        else:
            raise IoError(
                f"{self._server.host} can neither link nor rename without overwriting",
                hint="export to a local disk and copy from there",
            )
        finally:
            for path in trial:
                self._server.remove(path)
        try:
            self._server.session.ask(lambda client: client.rename(source, target), changes=True)
        except GONE:
            raise
        except asyncssh.SFTPError as error:
            if self._server.look(target) is not None:
                raise Exists(f"{target} on {self._server.host} exists", hint="choose another name") from None
            raise self._server.told(error, f"cannot rename to {target}") from None

    def _make_folders(self, key: str) -> None:
        """Create the folders that are missing. Raises :class:`~penstock.errors.Exists` for what is in the way."""
        for folder in self._folders(key):
            there = self._server.look(folder)
            if there is None:
                with suppress(*GONE):  # the one around it went; the next turn makes it again
                    self._server.make_folder(folder)
            elif not there.is_folder:
                raise Exists(
                    f"{folder} is in the way: it is a link or no directory", hint="move it away, or choose another name"
                )

    def _remove_empty(self, key: str) -> None:
        """Remove the folders of a key that nothing is left in, inner ones first. Never raises."""
        for folder in reversed(self._folders(key)):
            if not self._server.remove_folder(folder):
                return

    def _sync(self, keys: Sequence[str]) -> None:
        """Make the names of keys that were given or taken durable. It may be asked for twice: nothing is unknown."""
        if not keys:
            return
        try:
            self._sync_folders(keys)
        except ExportError:
            try:
                self._sync_folders(keys)
            except ExportError as error:
                hint = "look what stands there"
                what = (
                    f"{keys[-1]} at {self.location} is changed, but it may not outlive a power failure: {error.message}"
                )
                raise NotDurable(what, cause=type(error), hint=hint) from None

    def _sync_folders(self, keys: Sequence[str]) -> None:
        folders = {folder: None for key in keys for folder in self._folders(check_key(key))}
        for folder in [*sorted(folders, key=len, reverse=True), self._path]:
            self._server.sync(folder)

    def settle(self, keys: Sequence[str]) -> None:
        self._sync_folders(keys)

    def delete(self, key: str, *, version: str | None = None) -> bool:
        path = self._path_of(key)
        there = self._look(key)
        if there is None or (version is not None and there.version != version):
            return False
        mine = self._attempts.mine()
        for attempt in self._attempts.held:
            self._attempts.sync(attempt)
        try:
            if mine is None:
                self._server.ask(f"cannot remove {path}", lambda client: client.remove(path), changes=True)
            else:  # out of the holder's folder alone: who was taken over removes nothing
                self._server.rename(path, gone := f"{mine}/put-00000-{uuid4().hex}")
                self._server.remove(gone)
        except GONE:
            self._attempts.check(None)
            return False
        self._remove_empty(key)
        self._sync([key])
        return True

    def lock(self, attempt: str) -> SftpLock:
        try:
            return self._attempts.lock(check_plain(attempt))
        except BaseException:
            self._root.discard()
            raise
