"""Keys as objects below a prefix; see :class:`penstock.ports.backend.Backend`.

What an attempt lays down are objects in ``.ATTEMPT/``; they get their keys by a copy that the service makes, or, if
they are small, by being put again. A version is an ETag. Every request that creates or replaces a key is sent once: an
answer that was lost is :class:`~penstock.errors.Unknown`, and never taken for somebody else's object.
"""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

from penstock.backends.objects.answers import answered
from penstock.backends.objects.reading import PIECE, Pieces
from penstock.backends.objects.services import SERVICES
from penstock.backends.objects.upload import AT_ONCE, ObjectUpload, piece_of
from penstock.errors import Changed, Exists, ExportError, IoError, NotFound, StorageError, Unknown
from penstock.model.location import Location, check_key, check_plain
from penstock.ports.backend import Expect, Expectation, Move, Staged, Stat, Traits

if TYPE_CHECKING:
    from obstore import PutMode

Result = TypeVar("Result")

_TRAITS = Traits(
    put_absent=True,
    put_version=True,
    place_absent=True,
    place_free=False,
    readable=True,
    listable=True,
    durable=True,
    lock=False,
    apart=True,
)
#: What is at most this large is placed by being put again: that takes fewer requests than a copy.
_SMALL = 4 << 20
#: Where a service is tried, and how often, if its answers are lost.
_PROBES, _TURNS = ".probe/", 3
#: A version that no object has, in words of every service.
_OTHER: PutMode = {"e_tag": f'"{"0" * 32}"', "version": "1"}


class ObjectBackend:
    """Objects at ``location``, whose path is a bucket and a prefix. Raises :class:`~penstock.errors.UsageError` for a
    scheme that is no object store's, and without the package that it takes."""

    def __init__(self, location: Location, *, small: int = _SMALL, copies: int | None = None) -> None:
        self.location = location
        self.traits = _TRAITS
        self._probed = False
        self._service = SERVICES[location.scheme]
        self._bucket, _, prefix = location.path.partition("/")
        self._store, self._once = self._service.connect(self._bucket, prefix.strip("/"))
        self._small = small
        self._copies = self._service.copies if copies is None else copies

    def _ask(self, what: str, call: Callable[[], Result], *, changes: bool = False) -> Result:
        """The result of a request, or an error of ours."""
        try:
            return call()
        except ExportError:
            raise
        except Exception as error:
            raise answered(error, f"{what} at {self.location}", self._service, self._bucket, changes=changes) from None

    def stat(self, key: str) -> Stat | None:
        return self._head(check_key(key))

    def _head(self, name: str) -> Stat | None:
        import obstore

        def head() -> Stat | None:
            try:
                return _stat(obstore.head(self._store, name))
            except FileNotFoundError:
                return None

        return self._ask(f"cannot look at {name}", head)

    def list(self, prefix: str) -> Iterator[Stat]:
        found = [stat for stat in self._listed(prefix) if not stat.key.startswith(".") or "/" not in stat.key]
        return iter(sorted(found, key=lambda stat: stat.key))

    def _listed(self, prefix: str) -> Iterator[Stat]:
        """Objects whose names begin with a prefix; a service is asked for those of a folder."""
        import obstore

        folder = prefix.rpartition("/")[0]
        if folder and any(name in ("", ".", "..") for name in folder.split("/")):
            return
        pages = iter(obstore.list(self._store, folder or None))
        while (page := self._ask(f"cannot list {folder or 'all'}", lambda: next(pages, None))) is not None:
            yield from (_stat(meta) for meta in page if meta["path"].startswith(prefix))

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._opened(check_key(key), version, start, stop)

    def _opened(self, name: str, version: str | None, start: int = 0, stop: int | None = None) -> BinaryIO:
        last = start + PIECE if stop is None else min(stop, start + PIECE)
        try:
            first, stat = self._fetch(name, start, max(last, start + 1))
        except (ExportError, ValueError):
            there = self._head(name)  # a range that an object does not have is an error of the service's own
            if there is not None and there.size > start:
                raise
            first, stat = b"", there or self._missing(name)
        if version not in (None, stat.version):
            raise _changed(name, self.location)
        end = stat.size if stop is None else min(stop, stat.size)

        def fetch(begin: int, until: int) -> bytes:
            data, now = self._fetch(name, begin, until)
            if now.version != stat.version:
                raise _changed(name, self.location)
            return data

        return io.BufferedReader(Pieces(first, start, end, fetch), 1 << 16)

    def _missing(self, name: str) -> Stat:
        raise NotFound(f"there is no {name} at {self.location}", hint="check the name")

    def _fetch(self, name: str, start: int, stop: int) -> tuple[bytes, Stat]:
        import obstore

        def get() -> tuple[bytes, Stat]:
            found = obstore.get(self._store, name, options={"range": (start, stop)})
            return bytes(found.bytes()), _stat(found.meta)

        return self._ask(f"cannot read {name}", get)

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        check_plain(attempt)
        return self._put(check_key(key), data, expect)

    def _put(self, name: str, data: bytes, expect: Expectation) -> Stat:
        mode: PutMode = "overwrite"
        if isinstance(expect, str):
            self._check(name, expect)
            mode = self._condition(name, expect) if self.traits.put_version else mode
        elif expect is Expect.ABSENT:
            if not self.traits.put_absent:
                self._check(name, expect)
            mode = "create" if self.traits.put_absent else mode
        return self._sent(name, data, mode)

    def _check(self, name: str, expect: Expectation) -> None:
        """Look whether what is expected stands there."""
        there = self._head(name)
        if expect is Expect.ABSENT and there is not None:
            raise Exists(f"{name} exists at {self.location}", hint="choose another name")
        if isinstance(expect, str) and (there is None or there.version != expect):
            raise _changed(name, self.location)

    def _condition(self, name: str, version: str) -> PutMode:
        """How a request says that this version has to stand there."""
        import obstore

        if not self._service.generations:
            return {"e_tag": f'"{version}"'}
        meta = self._ask(f"cannot look at {name}", lambda: obstore.head(self._store, name))
        if _version(meta["e_tag"]) != version:
            raise _changed(name, self.location)
        return {"version": str(meta["version"])}

    def _sent(self, name: str, data: bytes, mode: PutMode) -> Stat:
        import obstore

        def put() -> Stat:
            made = obstore.put(self._once, name, data, mode=mode, use_multipart=False)
            return Stat(key=name, size=len(data), version=_version(made["e_tag"]))

        return self._ask(f"cannot put {name}", put, changes=True)

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> ObjectUpload:
        staged = f".{check_plain(attempt)}/{check_plain(name)}"
        mark = secrets.token_bytes(16)
        try:
            self._put(staged, mark, Expect.ABSENT)
        except (Exists, Unknown) as error:
            there = self._whole(staged)
            if there is None:
                raise IoError(error.message, hint=error.hint) from None
            if there != mark:
                raise Exists(f"{attempt} staged {name} before", hint="use each name once in an attempt") from None
        piece = piece_of(size_hint or 0, spare=4)
        return ObjectUpload(self, Staged(attempt=attempt, name=name, size=0), staged, piece)

    def _whole(self, name: str) -> bytes | None:
        try:
            with self._opened(name, None) as file:
                return file.read()
        except NotFound:
            return None

    def open_staged(self, staged: Staged) -> BinaryIO:
        return self._opened(_name(staged), None)

    def staged(self, attempt: str) -> Iterator[Staged]:
        folder = f".{check_plain(attempt)}/"
        for stat in self._listed(folder):
            yield Staged(attempt=attempt, name=stat.key.removeprefix(folder), size=stat.size)

    def attempts(self) -> Iterator[str]:
        import obstore

        found = self._ask("cannot list attempts", lambda: obstore.list_with_delimiter(self._store))
        names = (f"{folder}/" for folder in found["common_prefixes"] if folder.startswith("."))
        return iter(sorted(name[1:-1] for name in names if name != _PROBES))

    def drop(self, staged: Staged) -> None:
        self._delete(_name(staged))

    def _delete(self, name: str) -> None:
        import obstore

        with suppress(NotFound):
            self._ask(f"cannot delete {name}", lambda: obstore.delete(self._store, name), changes=True)

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        return [self._place(move) for move in moves]

    def _place(self, move: Move) -> Stat:
        key, staged = check_key(move.key), _name(move.staged)
        if move.staged.size <= self._small:
            with self._opened(staged, None) as file:
                placed = self._put(key, file.read(), move.expect)
        else:
            placed = self._copied(staged, key, move)
        with suppress(ExportError):
            self._delete(staged)  # what cannot be removed is still listed as staged
        return placed

    def _copied(self, staged: str, key: str, move: Move) -> Stat:
        """What stands under a key after the staged bytes were copied there, by the service if it can."""
        import obstore

        self._check(key, move.expect)
        if self._head(staged) is None:
            self._missing(staged)
        overwrite = move.expect is not Expect.ABSENT
        try:
            if move.staged.size <= self._copies:
                copy = partial(obstore.copy, self._once, staged, key, overwrite=overwrite)
                self._ask(f"cannot copy to {key}", copy, changes=True)
            else:
                self._resend(staged, key, move.staged.size)
        except NotFound as error:  # its upload was gone: also what is said of one that was completed already
            raise Unknown(error.message, hint="look what stands there") from None
        placed = self._head(key)
        if placed is None or placed.size != move.staged.size:
            raise _changed(key, self.location)
        return placed

    def _resend(self, staged: str, key: str, size: int) -> None:
        writer = self.send(key, piece_of(size))
        try:
            with self._opened(staged, None) as file:
                while piece := file.read(PIECE):
                    self.sent(key, partial(writer.write, piece))
        except BaseException:
            with suppress(Exception):
                writer.__exit__(RuntimeError, RuntimeError(), None)
            raise
        self._ask(f"cannot write {key}", writer.close, changes=True)

    def settle(self, keys: Sequence[str]) -> None:
        """What was acknowledged is durable."""

    def delete(self, key: str, *, version: str | None = None) -> bool:
        there = self.stat(key)
        if there is None or version not in (None, there.version):
            return False
        self._delete(key)
        return True

    def lock(self, attempt: str) -> NoLock:
        """Keeps nobody out. Finds out instead whether the service keeps what is expected of a key: there are some that
        take the condition, and overwrite in silence. The traits are true from then on."""
        check_plain(attempt)
        for _ in range(_TURNS):
            with suppress(Unknown):
                self._probed = self._probed or self._probe()
                return NoLock()
        raise IoError(f"{self.location} loses its answers", hint="run the command again when the cause is gone")

    def _probe(self) -> bool:
        name = f"{_PROBES}{secrets.token_hex(6)}"
        try:
            self._sent(name, b"first", "create")
            absent = _keeps(Exists, partial(self._sent, name, b"second", "create"))
            version = _keeps(Changed, partial(self._sent, name, b"third", _OTHER))
        finally:
            self.discard(name)
        self.traits = replace(self.traits, put_absent=absent, place_absent=absent, put_version=version)
        return True

    def send(self, name: str, piece: int) -> Any:
        """A writer of an object, in pieces."""
        import obstore

        return self._ask(
            f"cannot write {name}",
            lambda: obstore.open_writer(self._store, name, buffer_size=piece, max_concurrency=AT_ONCE),
        )

    def sent(self, name: str, call: Callable[[], Any]) -> None:
        """A step of a writer."""
        self._ask(f"cannot write {name}", call)

    def size(self, name: str) -> int | None:
        """How many bytes an object has, if it is there."""
        there = self._head(name)
        return None if there is None else there.size

    def discard(self, name: str) -> None:
        """Remove an object that nobody has to find. Never raises."""
        with suppress(ExportError):
            self._delete(name)


class NoLock:
    """Nobody is kept out: what writers do here is decided by what they put."""

    def __init__(self) -> None:
        self.token = time.time_ns()

    def release(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _keeps(refusal: type[ExportError], call: Callable[[], object]) -> bool:
    """Whether a request is refused, as it should be."""
    try:
        call()
    except refusal:
        return True
    except StorageError:
        return False  # it knows no such condition
    return False


def _name(staged: Staged) -> str:
    return f".{check_plain(staged.attempt)}/{check_plain(staged.name)}"


def _stat(meta: Any) -> Stat:
    return Stat(key=meta["path"], size=meta["size"], version=_version(meta["e_tag"]))


def _version(tag: str | None) -> str:
    if not tag:
        raise IoError("the service gives no ETags: versions cannot be told apart", hint="choose another service")
    return tag.strip('"')  # listings of some services leave the quotes out


def _changed(name: str, location: Location) -> Changed:
    return Changed(f"{name} at {location} is not what it was", hint="look what stands there now")
