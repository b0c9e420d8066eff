"""How often stored bytes are fetched: counted at the backend, for everything that reads exports back."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pytest

import sample_events
from penstock import (
    AnalyticsEvent,
    Exporter,
    ExportFilter,
    ExportOptions,
    SqliteAnalyticsStorage,
    diff,
    restore,
    verify,
)
from penstock.backends.local.backend import LocalBackend
from penstock.backends.memory import MemoryBackend
from penstock.errors import IntegrityError
from penstock.ports.backend import Backend, Expect, Staged
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.shapes import Directory
from penstock.testing.faulty import FaultyBackend

RUNS = 100
EVENTS = sample_events.varied(2_000, payload=400)
TEXTS = [("ndjson", "none"), ("ndjson", "gzip"), ("json", "none"), ("csv", "zstd")]
#: The index at its end is where a columnar file is opened, and read more often.
INDEX = 192 << 10
COLUMNAR = ["parquet", "arrow"]


class Fetched(io.RawIOBase):
    """A file whose bytes are counted as they are read; elsewhere than on this machine it goes once through."""

    def __init__(self, file: BinaryIO, seeks: bool, count: Callable[[int], None]) -> None:
        super().__init__()
        self._file, self._seeks, self._count = file, seeks, count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seeks

    def seek(self, place: int, whence: int = 0) -> int:
        if not self._seeks:
            raise io.UnsupportedOperation("seek")
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._count(len(data))
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class Counting(FaultyBackend):
    """A backend that counts, by key or by the name under which it was staged, the bytes that are fetched through it."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.fetched: Counter[str] = Counter()

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._counted(key, super().open(key, version=version, start=start, stop=stop))

    def open_staged(self, staged: Staged) -> BinaryIO:
        return self._counted(staged.name, super().open_staged(staged))

    def _counted(self, key: str, file: BinaryIO) -> BinaryIO:
        local = self.location.scheme == "file"
        return cast(BinaryIO, Fetched(file, local, lambda size: self.fetched.update({key: size})))

    def opened(self) -> Counter[str]:
        """How often each key was opened."""
        return Counter(operation.path for operation in self.log if operation.name == "open")


KINDS: dict[str, Callable[[str], Backend]] = {"local": LocalBackend, "memory": MemoryBackend}


@pytest.fixture
def store(tmp_path: Path) -> SqliteAnalyticsStorage:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append(EVENTS)
        yield storage


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Counting:
    return Counting(KINDS[request.param](str(tmp_path / "there")))


def sizes(backend: Backend) -> dict[str, int]:
    return {stat.key: stat.size for stat in backend.list("")}


def parts(backend: Backend) -> dict[str, int]:
    return {key: size for key, size in sizes(backend).items() if key.startswith("data/")}


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All that lies in a lineage of a hundred runs."""
    place = tmp_path_factory.mktemp("hundred")
    backend = MemoryBackend(str(place))
    with SqliteAnalyticsStorage(place / "events.db") as storage:
        for number in range(RUNS):
            storage.append(EVENTS[4 * number : 4 * number + 4])
            options = ExportOptions(format="ndjson", compression="gzip", workers=1)
            Exporter(storage).export(LineageDestination(backend), incremental=True, options=options)
    return {key: backend.open(key).read() for key in sizes(backend)}


@pytest.mark.parametrize("backend", KINDS, indirect=True)
def test_verify_of_a_hundred_runs_reads_every_stored_byte_once(backend: Counting, lineage: dict[str, bytes]) -> None:
    for key, data in lineage.items():
        backend.put(key, data, expect=Expect.ABSENT, attempt="copy")
    result = verify(LineageDestination(backend))
    assert (result.ok, result.runs, result.event_count) == (True, RUNS, 4 * RUNS)
    assert backend.fetched == {key: len(data) for key, data in lineage.items()}
    assert set(backend.opened().values()) == {1}


@pytest.mark.parametrize("backend", KINDS, indirect=True)
def test_the_hundredth_run_opens_the_last_two_manifests_and_no_part(
    backend: Counting, store: SqliteAnalyticsStorage
) -> None:
    runs = LineageDestination(backend)
    for _ in range(RUNS - 1):
        Exporter(store).export(runs, options=ExportOptions(format="ndjson", workers=1), incremental=True)
    backend.log.clear()
    result = Exporter(store).export(runs, options=ExportOptions(format="ndjson", workers=1), incremental=True)
    assert result.manifest.lineage is not None
    assert result.manifest.lineage.run == RUNS
    opened = sorted(key for key in backend.opened() if key.endswith(".json"))
    assert opened == ["_penstock/runs/000098.json", "_penstock/runs/000099.json"]
    assert not [key for key in backend.opened() if key.startswith("data/")]


@pytest.mark.parametrize("backend", KINDS, indirect=True)
def test_no_run_is_added_to_a_lineage_that_lost_a_part(backend: Counting, store: SqliteAnalyticsStorage) -> None:
    runs = LineageDestination(backend)
    options = ExportOptions(format="ndjson", workers=1)
    Exporter(store).export(runs, options=options, incremental=True)
    for number in range(2):
        store.append([sample_events.varied(3, seed=900 + number)[0]])
        Exporter(store).export(runs, options=options, incremental=True)
    gone = sorted(parts(backend))[0]
    backend.delete(gone)
    with pytest.raises(IntegrityError, match=f"{gone} is missing; no run was added"):
        Exporter(store).export(runs, options=options, incremental=True)
    assert runs.numbers() == [1, 2, 3]


@pytest.mark.parametrize("backend", KINDS, indirect=True)
def test_whoever_uses_the_rows_of_a_lineage_reads_its_parts_once(
    backend: Counting, lineage: dict[str, bytes], store: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    for key, data in lineage.items():
        backend.put(key, data, expect=Expect.ABSENT, attempt="copy")
    here = sizes(backend)
    runs = LineageDestination(backend)
    assert diff(runs, store, filter=ExportFilter(limit=4 * RUNS)).equal
    assert {key: backend.fetched[key] for key in parts(backend)} == parts(backend)
    backend.fetched.clear()
    assert restore(runs, tmp_path / "back.db").inserted == 4 * RUNS
    assert backend.fetched == {key: size for key, size in here.items() if not key.endswith(".sha256")}


@pytest.mark.parametrize("backend", KINDS, indirect=True)
@pytest.mark.parametrize(("format", "codec"), TEXTS)
def test_text_is_fetched_once(
    backend: Counting, format: str, codec: str, store: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    options = ExportOptions(format=format, compression=codec, part_rows=700, verify_written=True)
    place = ExportDestination(backend, Directory())
    result = Exporter(store).export(place, options=options)
    assert len(parts(backend)) == 3
    assert sorted(backend.fetched[f"data-{number:05d}"] for number in range(3)) == sorted(parts(backend).values())
    for use in _uses(place, result, tmp_path):
        backend.fetched.clear()
        use()
        assert {key: backend.fetched[key] for key in parts(backend)} == parts(backend)


@pytest.mark.parametrize("backend", KINDS, indirect=True)
@pytest.mark.parametrize("format", COLUMNAR)
def test_columnar_files_are_fetched_once_and_on_this_machine_twice(
    backend: Counting, format: str, store: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    place = ExportDestination(backend, Directory())
    result = Exporter(store).export(place, options=ExportOptions(format=format))
    ((key, size),) = parts(backend).items()
    for use in _uses(place, result, tmp_path):
        backend.fetched.clear()
        use()
        if backend.location.scheme == "memory":
            assert backend.fetched[key] == size
        else:
            assert size < backend.fetched[key] <= 2 * size + INDEX


def _uses(place: ExportDestination, result: Any, tmp_path: Path) -> list[Callable[[], None]]:
    """Everything that reads an export; each proves that it read all of it."""

    def verified() -> None:
        assert verify(place).ok

    def restored() -> None:
        assert restore(place, tmp_path / "back.db").inserted == len(EVENTS)

    def read() -> None:
        assert pa.table(result).num_rows == len(EVENTS)

    def compared() -> None:
        assert diff(place, tmp_path / "events.db").equal

    return [verified, restored, read, compared]


def test_a_part_that_grew_is_refused_by_its_length(store: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    backend = Counting(LocalBackend(tmp_path / "there"))
    place = ExportDestination(backend, Directory())
    Exporter(store).export(place, options=ExportOptions(format="ndjson"))
    ((key, size),) = parts(backend).items()
    os.truncate(tmp_path / "there" / key, 100 << 30)
    (problem,) = verify(place).problems
    assert problem.message == f"{100 << 30} bytes are stored, the manifest says {size}"
    assert key not in backend.fetched


@pytest.mark.parametrize("backend", KINDS, indirect=True)
@pytest.mark.parametrize("name", ["ndjson", "arrow"])
def test_no_row_leaves_before_all_of_its_part_is_proven(backend: Counting, name: str, tmp_path: Path) -> None:
    """More than is ever held back, and its very last value is another."""
    big = [AnalyticsEvent("feature_used", data={"text": "x" * (1 << 20)}) for _ in range(24)]
    with SqliteAnalyticsStorage(tmp_path / "big.db") as storage:
        storage.append([*big, AnalyticsEvent("feature_used", data={"text": "last"})])
        place = ExportDestination(backend, Directory())
        result = Exporter(storage).export(place, options=ExportOptions(format=name, compression="none"))
    ((key, _),) = parts(backend).items()
    data = backend.open(key).read()
    backend.put(key, data.replace(b"last", b"lost"), expect=Expect.ANY, attempt="damage")
    with result.reader() as reader, pytest.raises(IntegrityError, match="SHA-256 differs"):
        reader.read_next_batch()
    with SqliteAnalyticsStorage(tmp_path / "back.db") as back:
        with pytest.raises(IntegrityError, match="SHA-256 differs"):
            restore(place, back)
        assert back.count() == 0
    assert [problem.message for problem in verify(place).problems] == [
        "the stored bytes are not those that were written: SHA-256 differs"
    ]
