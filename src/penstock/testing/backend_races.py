"""What a backend promises when several threads or processes want the same: one gets it, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from penstock.errors import Changed, Exists, Locked
from penstock.ports.backend import Backend, Expect, Move
from penstock.testing.backend_place import (
    SECONDS,
    WRITERS,
    Connect,
    Place,
    read,
    refused,
    side_by_side,
    staged,
    start_all,
)


def one_of_many_threads_creates(place: Place) -> None:
    barrier = threading.Barrier(WRITERS)
    work = [partial(contend, place.connect, who, barrier.wait, 60) for who in range(WRITERS)]
    _one_winner_each(place.connect(), side_by_side(work), 60)


def one_of_many_processes_creates(place: Place) -> None:
    if place.processes:
        spawn = multiprocessing.get_context("spawn")
        barrier, told = spawn.Barrier(WRITERS), spawn.SimpleQueue()
        children = [
            spawn.Process(target=_contend_apart, args=(place.connect, who, barrier, 40, told), daemon=True)
            for who in range(WRITERS)
        ]
        start_all(children)
        won = [told.get() for _ in children]
        for child in children:
            child.join(SECONDS)
            assert child.exitcode == 0
        _one_winner_each(place.connect(), won, 40)


def contend(connect: Connect, who: int, wait: Callable[[], object], rounds: int) -> Sequence[str]:
    """Try to create keys that others try to create at the same time; gives those that were won."""
    client, won = connect(), []
    for number in range(rounds):
        key = f"data/{number:03d}"
        item = staged(client, f"{number}", b"%d" % who, attempt=f"try-{who}") if number % 2 else None
        wait()
        try:
            if item is None:
                client.put(key, b"%d" % who, expect=Expect.ABSENT, attempt=f"try-{who}")
            else:
                client.place([Move(staged=item, key=key)])
        except Exists:
            if item is not None:
                client.drop(item)
        else:
            won.append(f"{key} {who}")
    return won


def _contend_apart(connect: Connect, who: int, barrier: Any, rounds: int, told: Any) -> None:
    told.put(contend(connect, who, lambda: barrier.wait(SECONDS), rounds))


def _one_winner_each(client: Backend, won: Iterable[Iterable[str]], rounds: int) -> None:
    told = sorted(text for texts in won for text in texts)
    assert [text.split()[0] for text in told] == [f"data/{number:03d}" for number in range(rounds)], told
    assert all(read(client, key) == who.encode() for key, who in (text.split() for text in told))


def no_replacement_is_lost(place: Place) -> None:
    """Where versions are compared by the service: as many writers as there are count up together."""
    client = place.connect()
    client.put("count", b"0", expect=Expect.ABSENT, attempt="try")
    if client.traits.put_version:
        side_by_side([partial(_count_up, place.connect(), who) for who in range(WRITERS)])
        assert read(client, "count") == b"%d" % (WRITERS * 25)


def _count_up(client: Backend, who: int) -> None:
    done = 0
    while done < 25:
        there = client.stat("count")
        assert there is not None
        try:
            number = int(read(client, "count", version=there.version))
            client.put("count", b"%d" % (number + 1), expect=there.version, attempt=f"try-{who}")
            done += 1
        except Changed:
            continue


def a_lock_ends_with_its_process(place: Place) -> None:
    if place.processes and place.connect().traits.lock:
        spawn = multiprocessing.get_context("spawn")
        held = spawn.Event()
        child = spawn.Process(target=_hold, args=(place.connect, held), daemon=True)
        start_all([child])
        assert held.wait(SECONDS)
        with refused(Locked):
            place.connect().lock("try")
        child.kill()
        child.join(SECONDS)
        place.connect().lock("try").release()


def _hold(connect: Connect, held: Any) -> None:
    with connect().lock("try"):
        held.set()
        threading.Event().wait()


RACES: tuple[Callable[[Place], None], ...] = (
    one_of_many_threads_creates,
    one_of_many_processes_creates,
    no_replacement_is_lost,
    a_lock_ends_with_its_process,
)
