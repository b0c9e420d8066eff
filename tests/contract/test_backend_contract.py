"""Every backend, and every wrapper of one, keeps what the port promises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from penstock.backends.local.backend import LocalBackend
from penstock.backends.memory import MemoryBackend
from penstock.testing.backend_contract import CHECKS
from penstock.testing.backend_place import Place


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


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


PLACES: dict[str, Callable[[Path], Place]] = {"local": _local, "memory": _memory}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_the_port_promises(check: Callable[[Place], None], place: Place) -> None:
    check(place)
