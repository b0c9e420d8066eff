"""Every backend, and every wrapper of one, keeps what the port promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from penstock.backends.local.backend import LocalBackend
from penstock.backends.memory import MemoryBackend
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


def _wrapped(wrapper: Callable[[Backend], Backend], connect: Connect) -> Backend:
    return wrapper(connect())


KINDS: dict[str, Callable[[Path], Place]] = {"local": _local, "memory": _memory}
WRAPPERS: dict[str, Callable[[Backend], Backend]] = {"retrying": RetryingBackend, "faulty": FaultyBackend}


@pytest.fixture(params=[*KINDS, *(f"{wrapper}-{kind}" for wrapper in WRAPPERS for kind in KINDS)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    wrapper, _, kind = request.param.rpartition("-")
    plain = KINDS[kind](tmp_path)
    return replace(plain, connect=partial(_wrapped, WRAPPERS[wrapper], plain.connect)) if wrapper else plain


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_the_port_promises(check: Callable[[Place], None], place: Place) -> None:
    check(place)
