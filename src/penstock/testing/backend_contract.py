"""What every backend promises, as checks that any backend's tests run: ``for check in CHECKS: check(place)``.

Each check wants an empty :class:`~penstock.testing.backend_place.Place` of its own, and fails with ``AssertionError``.
What a backend's traits do not claim is not asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from penstock.errors import Changed, Exists, ExportError, Locked, NotFound, UsageError
from penstock.ports.backend import Backend, Expect, Expectation, Move, Staged
from penstock.testing.backend_place import WRITERS, Place, keys, read, refused, side_by_side, staged
from penstock.testing.backend_races import RACES

ABSENT, ANY = Expect.ABSENT, Expect.ANY
_HOSTILE = (
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../a",
    "a/../../b",
    "a/..",
    "a//b",
    "a/",
    "./a",
    "./a",
    "a\0b",
    ".x/a",
    "a/.x/b",
)


def a_client_is_a_backend(place: Place) -> None:
    client = place.connect()
    assert isinstance(client, Backend)
    assert client.location == place.connect().location
    assert str(client.location)


def a_put_keeps_what_it_expects(place: Place) -> None:
    one, other = place.connect(), place.connect()
    assert one.stat("data/a") is None
    with refused(Changed):
        one.put("data/a", b"1", expect="no such version", attempt="try")
    assert one.stat("data/a") is None
    first = one.put("data/a", b"1", expect=ABSENT, attempt="try")
    assert (first.key, first.size) == ("data/a", 1)
    with refused(Exists):
        other.put("data/a", b"22", expect=ABSENT, attempt="try")
    assert other.stat("data/a") == first
    second = other.put("data/a", b"22", expect=first.version, attempt="try")
    with refused(Changed):
        one.put("data/a", b"333", expect=first.version, attempt="try")
    assert (one.stat("data/a"), read(one, "data/a")) == (second, b"22")
    one.put("data/a", b"4444", expect=ANY, attempt="try")
    one.put("data/b", b"", expect=ANY, attempt="try")
    assert (read(other, "data/a"), read(other, "data/b")) == (b"4444", b"")


def every_put_makes_another_version(place: Place) -> None:
    client = place.connect()
    versions = [client.put("a", b"%03d" % number, expect=ANY, attempt="try").version for number in range(30)]
    assert all(one != next for one, next in pairwise(versions))
    there = client.stat("a")
    assert there is not None
    assert there.version == versions[-1]


def what_is_staged_has_no_key(place: Place) -> None:
    one, other = place.connect(), place.connect()
    done = staged(one, "done", b"done")
    assert done == Staged(attempt="try", name="done", size=4)
    begun = one.stage("try", "begun", size_hint=3)
    begun.write(b"...")
    staged(one, "done", b"elsewhere", attempt="another")
    assert not keys(other)
    assert {item.name for item in other.staged("try")} == {"done", "begun"}
    assert [item.size for item in other.staged("another")] == [9]
    assert not list(other.staged("a third"))
    assert list(other.attempts()) == ["another", "try"]
    with other.open_staged(done) as file:
        assert (file.read(), file.seek(1), file.read()) == (b"done", 1, b"one")
    begun.abort()


def a_name_is_staged_once(place: Place) -> None:
    client = place.connect()
    first = staged(client, "a", b"first")
    with refused(Exists):
        place.connect().stage("try", "a")
    with client.open_staged(first) as file:
        assert file.read() == b"first"


def what_is_given_up_leaves_nothing(place: Place) -> None:
    client = place.connect()
    upload = client.stage("try", "a")
    upload.write(b"some")
    upload.abort()
    gone = staged(client, "b", b"some")
    client.drop(gone)
    client.drop(gone)
    assert not list(client.staged("try"))
    assert not list(client.attempts())
    assert not keys(client)
    with refused(NotFound):
        client.open_staged(gone)
    with refused(NotFound):
        client.place([Move(staged=gone, key="a")])
    assert not keys(client)
    if place.lies_there is not None:
        assert not list(place.lies_there())
    staged(client, "b", b"again")


def what_is_placed_is_staged_no_more(place: Place) -> None:
    one, other = place.connect(), place.connect()
    items = [staged(one, str(number), b"%d" % number) for number in range(3)]
    moves = [Move(staged=item, key=f"data/day={item.name}/part") for item in items]
    stats = other.place(moves)
    assert [stat.key for stat in stats] == [move.key for move in moves]
    assert list(one.list("data/")) == list(stats)
    assert [read(one, move.key) for move in moves] == [b"0", b"1", b"2"]
    assert not list(one.staged("try"))
    with refused(NotFound):
        one.open_staged(items[0])


def a_placement_keeps_what_it_expects(place: Place) -> None:
    client = place.connect()
    first = client.put("a", b"first", expect=ABSENT, attempt="try")

    def move(name: str, expect: Expectation) -> Sequence[Move]:
        return [Move(staged=staged(client, name, name.encode()), key="a", expect=expect)]

    with refused(Exists):
        client.place(move("absent", ABSENT))
    with refused(Changed):
        client.place(move("wrong", "no such version"))
    assert client.stat("a") == first
    assert {item.name for item in client.staged("try")} == {"absent", "wrong"}
    (second,) = client.place(move("right", first.version))
    assert second.version != first.version
    assert (client.stat("a"), read(client, "a")) == (second, b"right")
    client.place(move("any", ANY))
    assert read(client, "a") == b"any"


def a_placement_stops_where_it_fails(place: Place) -> None:
    client = place.connect()
    client.put("data/2", b"theirs", expect=ABSENT, attempt="try")
    moves = [Move(staged=staged(client, str(number), b"ours"), key=f"data/{number}") for number in (4, 3, 2, 1)]
    with refused(Exists):
        client.place(moves)
    assert keys(client) == ["data/2", "data/3", "data/4"]
    assert read(client, "data/2") == b"theirs"
    assert {item.name for item in client.staged("try")} == {"2", "1"}


def a_range_and_a_version_are_opened(place: Place) -> None:
    client = place.connect()
    first = client.put("a", b"0123456789", expect=ABSENT, attempt="try")
    assert read(client, "a", version=first.version) == b"0123456789"
    assert read(client, "a", start=3) == b"3456789"
    assert read(client, "a", start=3, stop=5) == b"34"
    assert read(client, "a", stop=4) == b"0123"
    assert read(client, "a", start=8, stop=99) == b"89"
    assert read(client, "a", start=10) == b""
    client.put("a", b"9876543210", expect=ANY, attempt="try")
    with refused(Changed):
        client.open("a", version=first.version)
    for key in ("b", "a/b", "b/a"):
        assert client.stat(key) is None
        with refused(NotFound):
            client.open(key)


def what_is_open_is_read_to_its_end(place: Place) -> None:
    """One version, or an error: never the beginning of one and the end of another."""
    client, texts = place.connect(), (b"old" * 500_000, b"new" * 500_000)
    client.put("a", texts[0], expect=ABSENT, attempt="try")
    with client.open("a") as file:
        begun = file.read(10)
        client.put("a", texts[1], expect=ANY, attempt="try")
        try:
            assert begun + file.read() == texts[0]
        except ExportError:
            return


def a_deletion_takes_one_version(place: Place) -> None:
    client = place.connect()
    first = client.put("data/a", b"1", expect=ABSENT, attempt="try")
    second = client.put("data/a", b"2", expect=ANY, attempt="try")
    client.put("b", b"", expect=ABSENT, attempt="try")
    assert not client.delete("data/a", version=first.version)
    assert client.stat("data/a") == second
    assert client.delete("data/a", version=second.version)
    assert not client.delete("data/a", version=second.version)
    assert not client.delete("data/a")
    client.settle(["data/a", "b", "c/d"])
    assert keys(client) == ["b"]
    assert client.delete("b")
    if place.lies_there is not None:
        assert not list(place.lies_there())
    client.put("data/a", b"3", expect=ABSENT, attempt="try")


def a_listing_is_in_the_order_of_keys(place: Place) -> None:
    client = place.connect()
    names = ("b", "a/b/c", "a.b", "a/b.c", "a-b", "a", "ab", "a/ä", "aa/a", ".b") if _mixes(client) else ("b", "a.b")
    for name in names:
        client.put(name, name.encode(), expect=ABSENT, attempt="try")
    assert keys(client) == sorted(names)
    for prefix in ("a", "a/", "a/b", "a/b/", "b", "c", "c/d", "a/b/c/d", "/", ".", ".."):
        assert keys(client, prefix) == sorted(name for name in names if name.startswith(prefix)), prefix
    assert all(client.stat(stat.key) == stat for stat in client.list(""))


def _mixes(client: Backend) -> bool:
    """Whether a key may be the folder of another."""
    client.put("x", b"", expect=ABSENT, attempt="try")
    try:
        client.put("x/x", b"", expect=ABSENT, attempt="try")
    except Exists:
        return False
    finally:
        client.delete("x/x")
        client.delete("x")
    return True


def keys_that_lead_elsewhere_are_refused(place: Place) -> None:
    client = place.connect()
    item = staged(client, "a", b"a")
    for key in _HOSTILE:
        with refused(UsageError):
            client.stat(key)
        with refused(UsageError):
            client.open(key)
        with refused(UsageError):
            client.put(key, b"", expect=ANY, attempt="try")
        with refused(UsageError):
            client.place([Move(staged=item, key=key, expect=ANY)])
        with refused(UsageError):
            client.delete(key)
    for name in ("", ".", "..", "a/b", "../a", "a\0b"):
        with refused(UsageError):
            client.stage(name, "a")
        with refused(UsageError):
            client.stage("try", name)
        with refused(UsageError):
            client.lock(name)
        with refused(UsageError):
            client.put("k", b"", expect=ANY, attempt=name)
    assert not keys(client)
    assert list(client.staged("try")) == [item]


def nothing_and_much_are_stored(place: Place) -> None:
    client, block = place.connect(), bytes(range(256)) * 4096
    upload = client.stage("try", "much", size_hint=20 * len(block))
    buffer = bytearray(len(block))
    for number in range(20):
        buffer[:] = block[number:] + block[:number]
        upload.write(memoryview(buffer))
        buffer[:] = bytes(len(buffer))  # the caller's buffer is its own again
    much = upload.finish()
    assert much.size == 20 * len(block)
    nothing = client.stage("try", "nothing").finish()
    client.place([Move(staged=much, key="much"), Move(staged=nothing, key="nothing")])
    assert read(client, "nothing") == b""
    with client.open("much") as file:
        for number in range(20):
            assert file.read(len(block)) == block[number:] + block[:number]
        assert file.read() == b""


def threads_stageside_by_side(place: Place) -> None:
    client = place.connect()

    def stage(number: int) -> Staged:
        upload = client.stage("try", f"{number}")
        for _ in range(50):
            upload.write(b"%d" % number)
        return upload.finish()

    items = side_by_side([partial(stage, number) for number in range(WRITERS)])
    client.place([Move(staged=item, key=item.name) for item in items])
    assert [read(client, str(number)) for number in range(WRITERS)] == [b"%d" % n * 50 for n in range(WRITERS)]


def a_lock_keeps_others_out(place: Place) -> None:
    one = place.connect()
    if not one.traits.lock:
        return
    lock = one.lock("try")
    for other in (one, place.connect(), *((place.elsewhere(),) if place.elsewhere else ())):
        with refused(Locked):
            other.lock("try")
        other.lock("another").release()
    lock.release()
    with place.connect().lock("try") as later:
        assert later.token > lock.token
        lock.release()  # a second time, which takes nothing from the new holder
        with refused(Locked):
            one.lock("try")
    if place.lies_there is not None:
        assert not list(place.lies_there())


def what_lies_staged_outlives_its_lock(place: Place) -> None:
    one = place.connect()
    with one.lock("try"):
        item = staged(one, "a", b"a")
    other = place.connect()
    with other.lock("try"):
        assert list(other.staged("try")) == [item]
        other.place([Move(staged=item, key="data/a")])
    assert read(other, "data/a") == b"a"


CHECKS: tuple[Callable[[Place], None], ...] = (
    a_client_is_a_backend,
    a_put_keeps_what_it_expects,
    every_put_makes_another_version,
    what_is_staged_has_no_key,
    a_name_is_staged_once,
    what_is_given_up_leaves_nothing,
    what_is_placed_is_staged_no_more,
    a_placement_keeps_what_it_expects,
    a_placement_stops_where_it_fails,
    a_range_and_a_version_are_opened,
    what_is_open_is_read_to_its_end,
    a_deletion_takes_one_version,
    a_listing_is_in_the_order_of_keys,
    keys_that_lead_elsewhere_are_refused,
    nothing_and_much_are_stored,
    threads_stageside_by_side,
    a_lock_keeps_others_out,
    what_lies_staged_outlives_its_lock,
    *RACES,
)
