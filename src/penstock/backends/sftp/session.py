"""One connection to a server, shared by threads: an event loop on a thread of its own carries it.

A connection that is gone is made again for the next request. Whoever asked for a change when it went is told
:class:`~penstock.errors.Unknown`, whoever only looked, a :class:`~penstock.errors.TemporaryError`. What the server
itself refuses is raised as it says it, as an :class:`asyncssh.SFTPError`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncssh

from penstock.backends.sftp.access import Access
from penstock.backends.sftp.address import Address
from penstock.errors import AccessDenied, ExportError, IoError, NotFound, Unknown, UntrustedHost

Result = TypeVar("Result")
Call = Callable[[asyncssh.SFTPClient], Awaitable[Result]]
_LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError, OSError, EOFError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """Seconds: until the server answers at all, until it let the user in, until one request is answered. A server that
    is silent for three times ``keepalive`` is gone."""

    connect: float = 20
    login: float = 30
    request: float = 60
    keepalive: float = 10


@dataclass(slots=True)
class _Open:
    """What is open: the loop's alone."""

    connection: asyncssh.SSHClientConnection | None = None
    client: asyncssh.SFTPClient | None = None
    syncs_folders: bool = False


class _Loop:
    """The event loop of this process; a forked child has one of its own."""

    _guard = threading.Lock()
    _there: tuple[int, asyncio.AbstractEventLoop] | None = None

    @classmethod
    def get(cls) -> asyncio.AbstractEventLoop:
        with cls._guard:
            if cls._there is None or cls._there[0] != os.getpid():
                loop = asyncio.new_event_loop()
                # Of a request in several pieces one failure is told to who asked; that others failed too adds nothing.
                loop.set_exception_handler(_told_already)
                threading.Thread(target=loop.run_forever, name="penstock-sftp", daemon=True).start()
                cls._there = os.getpid(), loop
            return cls._there[1]


def _told_already(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave it at that."""


class Session:
    """A connection that is made when it is first needed. It ends with whoever holds the session."""

    def __init__(self, address: Address, access: Access, timeouts: Timeouts | None = None) -> None:
        self.address = address
        self._access = access
        self._timeouts = timeouts if timeouts is not None else Timeouts()
        self._loop = _Loop.get()
        self._open = _Open()
        self._connecting = asyncio.Lock()
        weakref.finalize(self, _abandon, self._loop, self._open)

    @property
    def syncs_folders(self) -> bool:
        """Whether the server makes names durable, and so files too."""
        self.ask(_nothing)
        return self._open.syncs_folders

    def ask(self, call: Call[Result], *, changes: bool = False) -> Result:
        """What the server answers to one request. With ``changes`` a lost answer is
        :class:`~penstock.errors.Unknown`."""
        return self._wait(self._asked(call, changes))

    def use(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What comes of work with something that is open: it is not repeated, and ends with its connection."""
        return self._wait(self._timed(work, False))

    def begin(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """As :meth:`use`, side by side with what the caller does meanwhile."""
        return asyncio.run_coroutine_threadsafe(self._timed(work, False), self._loop)

    def keep_doing(self, work: Call[object], *, every: float) -> Callable[[], object]:
        """Ask for something again and again, whatever comes of it, but not after the server said that what it is about
        is not there. Gives what ends it."""
        state = weakref.ref(self)
        task = asyncio.run_coroutine_threadsafe(_repeat(state, work, every), self._loop)
        return task.cancel

    def leave(self, work: Coroutine[Any, Any, object]) -> None:
        """Have something done, some time, if it can be: also from where nobody may wait."""
        asyncio.run_coroutine_threadsafe(_quietly(work, self._timeouts.request), self._loop)

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _asked(self, call: Call[Result], changes: bool) -> Result:
        for _ in range(2):
            client = await self._connected()
            try:
                return await self._timed(call(client), changes)
            except _NeverSent:
                continue
        raise IoError(f"the connection to {self.address.host} goes as soon as it is there", hint="run it again later")

    async def _timed(self, work: Awaitable[Result], changes: bool) -> Result:
        try:
            return await asyncio.wait_for(work, self._timeouts.request)
        except asyncssh.SFTPNoConnection:
            self._forget()
            raise _NeverSent(f"the connection to {self.address.host} was lost", hint="run it again") from None
        except (TimeoutError, *_LOST) as error:
            self._forget()
            silent = isinstance(error, TimeoutError)
            what = (
                f"{self.address.host} did not answer in time"
                if silent
                else f"the connection to {self.address.host} was lost"
            )
            if changes:
                raise Unknown(f"{what}: a change may have happened or not", hint="look what stands there") from None
            raise IoError(what, hint="run it again") from None

    def _forget(self) -> None:
        if self._open.connection is not None:
            self._open.connection.abort()
        self._open.connection = self._open.client = None

    async def _connected(self) -> asyncssh.SFTPClient:
        async with self._connecting:
            there = self._open.connection
            if there is not None and there.is_closed():
                self._forget()
            if self._open.client is None:
                try:
                    self._open.client = await self._connect()
                except BaseException:
                    self._forget()
                    raise
            return self._open.client

    async def _connect(self) -> asyncssh.SFTPClient:
        host = self.address.host
        try:
            self._open.connection = await asyncssh.connect(host, **await asyncio.to_thread(self._settings))
            client = await asyncio.wait_for(
                self._open.connection.start_sftp_client(path_errors="surrogateescape"), self._timeouts.login
            )
        except asyncssh.HostKeyNotVerifiable:
            raise self._untrusted() from None
        except asyncssh.PermissionDenied:
            hint = "check the user, and give a key (PENSTOCK_SFTP_KEY=FILE), an agent, or a password by reference"
            raise AccessDenied(f"{host} lets nobody in with what it was shown", hint=hint) from None
        except asyncssh.ChannelOpenError:
            raise AccessDenied(f"{host} has no SFTP for this user", hint="have it allowed on the server") from None
        except TimeoutError:
            raise IoError(f"{host} did not answer in time", hint="check host and port, or run it again later") from None
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise IoError(f"cannot look up {host}", hint="run it again later") from None
            raise NotFound(f"there is no host {host}", hint="check its name") from None
        except OSError as error:
            raise IoError(
                f"cannot reach {host}: {os.strerror(error.errno) if error.errno else error}", hint="check host and port"
            ) from None
        except (asyncssh.Error, EOFError) as error:
            raise IoError(
                f"cannot speak SFTP with {host}: {type(error).__name__}", hint="check host and port"
            ) from None
        self._open.syncs_folders = await _syncs_folders(client)
        return client

    def _settings(self) -> dict[str, Any]:
        """What a connection is made with. Secrets are looked up here, and kept by nobody."""
        access, times = self._access, self._timeouts
        settings: dict[str, Any] = {
            "known_hosts": access.known_hosts if os.path.isfile(access.known_hosts) else b"",
            "connect_timeout": times.connect,
            "login_timeout": times.login,
            "keepalive_interval": times.keepalive,
            "keepalive_count_max": 3,
        }
        if self.address.user is not None:
            settings["username"] = self.address.user
        if self.address.port is not None:
            settings["port"] = self.address.port
        password = access.password.look_up()
        if password is not None:
            settings["password"] = password
        if access.key is not None:
            settings["client_keys"] = [_key(access)]
        return settings

    def _untrusted(self) -> ExportError:
        host, port, file = self.address.host, self.address.port or 22, self._access.known_hosts
        named = host if port == 22 else f"[{host}]:{port}"
        known: tuple[object, ...] = ()
        with suppress(OSError, ValueError, asyncssh.Error):
            known = tuple(asyncssh.match_known_hosts(file, host, "", port))
        if any(known):
            return UntrustedHost(
                f"the key of {named} is not the one in {file}: another server answers, or it was set up anew",
                hint=f"if it was, run: ssh-keygen -R '{named}' -f {file}, then put its new key there",
            )
        return UntrustedHost(
            f"the key of {named} is not in {file}",
            hint=f"run: ssh-keyscan -p {port} {host} >> {file}, and compare the key with the server's own",
        )


class _NeverSent(IoError):
    """A request that was not sent, since the connection was gone already."""


def _key(access: Access) -> asyncssh.SSHKey:
    try:
        return asyncssh.read_private_key(access.key or "", access.passphrase.look_up())
    except asyncssh.KeyEncryptionError:
        hint = "set PENSTOCK_SFTP_PASSPHRASE_FILE or PENSTOCK_SFTP_PASSPHRASE_COMMAND"
        raise AccessDenied(f"the key {access.key} has another passphrase, or none was given", hint=hint) from None
    except asyncssh.KeyImportError:
        raise AccessDenied(f"{access.key} is no private key", hint="check PENSTOCK_SFTP_KEY") from None
    except FileNotFoundError:
        raise NotFound(f"there is no key {access.key}", hint="check PENSTOCK_SFTP_KEY") from None
    except OSError as error:
        raise AccessDenied(f"cannot read the key {access.key}: {error.strerror}", hint="check its mode") from None


async def _syncs_folders(client: asyncssh.SFTPClient) -> bool:
    """Whether folders can be made durable: OpenSSH opens one like a file."""
    try:
        async with client.open(".", asyncssh.FXF_READ, encoding=None) as folder:
            await folder.fsync()
    except asyncssh.SFTPError:
        return False
    return True


async def _nothing(_: asyncssh.SFTPClient) -> None:
    """Be connected."""


async def _quietly(work: Awaitable[object], seconds: float) -> None:
    with suppress(asyncssh.Error, OSError, EOFError, TimeoutError, ValueError):
        await asyncio.wait_for(work, seconds)


async def _repeat(session: weakref.ref[Session], work: Call[object], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        there = session()
        if there is None:
            return
        try:
            await there._asked(work, False)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return
        except (asyncssh.Error, ExportError):
            continue
        finally:
            del there


def _abandon(loop: asyncio.AbstractEventLoop, there: _Open) -> None:
    """Let go of a connection that nobody uses any more."""
    if there.connection is not None and not loop.is_closed():
        loop.call_soon_threadsafe(there.connection.abort)
