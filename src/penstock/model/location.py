"""Where a backend's bytes lie, as values: the location of all its keys, and what a key may be."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import UsageError


@dataclass(frozen=True, slots=True)
class Location:
    """A place by scheme and path, such as ``file`` and ``/srv/exports``. It holds no secret: those are references."""

    scheme: str
    path: str

    def __str__(self) -> str:
        return self.path if self.scheme == "file" else f"{self.scheme}://{self.path}"


def check_key(key: str) -> str:
    """Return the key if it is plain names joined by ``/``, folders without a leading dot. Raises
    :class:`~penstock.errors.UsageError` if it could lead out of its place, or to what is staged there."""
    *folders, name = key.split("/")
    if "\0" in key or name in ("", ".", "..") or any(folder[:1] in ("", ".") for folder in folders):
        raise UsageError(f"{key!r} is no key", hint="a key is plain names joined by /, such as data/part-00000.parquet")
    return key


def check_plain(name: str) -> str:
    """Return the name of an attempt, or of what it stages, if it is a plain one. Raises
    :class:`~penstock.errors.UsageError` if it is not."""
    if "/" in name:
        raise UsageError(f"{name!r} is no plain name", hint="leave / out of it")
    return check_key(name)
