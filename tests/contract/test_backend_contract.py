"""Every backend, and every wrapper of one, keeps what the port promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import object_services
from penstock.backends.local.backend import LocalBackend
from penstock.backends.memory import MemoryBackend
from penstock.backends.objects.backend import ObjectBackend
from penstock.backends.retrying import RetryingBackend
from penstock.ports.backend import Backend
from penstock.testing.backend_contract import CHECKS
from penstock.testing.backend_place import Connect, Place
from penstock.testing.faulty import FaultyBackend


def _memory(tmp_path: Path) -> Place:
    return Place(connect=partial(MemoryBackend, str(tmp_path)))


def _local(tmp_path: Path) -> Place:
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place")
    return Place(
        connect=partial(LocalBackend, tmp_path / "place"),
        elsewhere=partial(LocalBackend, tmp_path / "link"),
        processes=True,
        lies_there=lambda: [path.name for path in (tmp_path / "place").rglob("*")],
    )


def _objects(scheme: str, tmp_path: Path) -> Place:
    return Place(connect=partial(ObjectBackend, object_services.new_place(scheme)), processes=True)


def _wrapped(wrapper: Callable[[Backend], Backend], connect: Connect) -> Backend:
    return wrapper(connect())


KINDS: dict[str, Callable[[Path], Place]] = {"local": _local, "memory": _memory}
OBJECTS = ("s3", "gs", "az")
KINDS |= {scheme: partial(_objects, scheme) for scheme in OBJECTS}
WRAPPERS: dict[str, Callable[[Backend], Backend]] = {"retrying": RetryingBackend, "faulty": FaultyBackend}


#: A service that is far is asked less often: what wraps it is no other there.
WRAPPED = [f"{wrapper}-{kind}" for wrapper in WRAPPERS for kind in ("local", "memory")] + ["retrying-s3"]


@pytest.fixture(params=[*KINDS, *WRAPPED])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    wrapper, _, kind = request.param.rpartition("-")
    if kind in OBJECTS:
        request.getfixturevalue(kind)
    plain = KINDS[kind](tmp_path)
    return replace(plain, connect=partial(_wrapped, WRAPPERS[wrapper], plain.connect)) if wrapper else plain


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_the_port_promises(check: Callable[[Place], None], place: Place) -> None:
    check(place)
