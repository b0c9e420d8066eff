"""A lineage at a backend: its runs by name, the last one alone for whoever continues it, all of them for who verifies.

What lies there is the truth: nothing about a lineage is kept anywhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.model.lineage import RUNS, Totals, run_name, run_number, sums_name
from penstock.model.manifest import Manifest, PartEntry, check_part_name
from penstock.model.partition import DATA, split_name
from penstock.ports.backend import Backend, Expect
from penstock.publishing.around import Stored, leftovers, local_path, look_at_sums, stored, strangers
from penstock.publishing.attempt import Attempt
from penstock.publishing.place import Place
from penstock.publishing.recovery import readable
from penstock.publishing.shapes import Run

_RUN_PART = re.compile(r"run-(\d{6,12})-part-\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class LineageDestination:
    """Where an incremental export adds its runs, and where they are read from."""

    backend: Backend

    @property
    def path(self) -> Path | None:
        """The local path, if it has one."""
        return local_path(self.backend, None)

    @property
    def place(self) -> Path:
        """Where it is, in words."""
        return self.path or Path(str(self.backend.location))

    def begin(self) -> Attempt:
        """Hold the lineage, clear what a crashed run of ours left, and aim at the next run.

        Raises :class:`~penstock.errors.Locked`, :class:`~penstock.errors.DestinationExists` for a directory that holds
        another kind of export, or somebody else's file under a name of the next run.
        """
        attempt = Attempt(self.backend, Run(1))
        try:
            numbers = self.numbers()
            attempt.notes += self._complete_sums(numbers)
            attempt.aim(Run(max(numbers, default=0) + 1))
        except BaseException:
            attempt.close()
            raise
        return attempt

    def _complete_sums(self, numbers: Sequence[int]) -> list[str]:
        """Sums are written after their manifest; whoever comes next writes those that lack."""
        there = set(self._keys(RUNS))
        missing = [number for number in numbers if sums_name(number) not in there]
        done = []
        for number in missing:
            text, _ = Place(self.backend).read(run_name(number))
            manifest = readable(text)
            if manifest is not None and Run(number).could_be(manifest):
                sums = manifest.sums()
                self.backend.put(sums_name(number), sums, expect=Expect.ABSENT, attempt=Run(number).attempt)
                done.append(f"{sums_name(number)} was missing and was written")
        return done

    def numbers(self) -> list[int]:
        """The numbers of the committed runs, in order, from their names alone."""
        return sorted(number for key in self._keys(RUNS) if (number := run_number(key)) is not None)

    def read(self, number: int) -> tuple[str, bytes] | None:
        """Name and bytes of a committed run's manifest, if it is there."""
        text, _ = Place(self.backend).read(run_name(number))
        return None if text is None else (run_name(number), text)

    def runs(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every committed run's manifest, in order, each read when it is taken."""
        return (found for number in self.numbers() if (found := self.read(number)) is not None)

    def live(self) -> dict[str, int]:
        """Size, by name, of everything that lies where the parts of committed runs do and is called like one."""
        last = max(self.numbers(), default=0)
        sizes = {stat.key: stat.size for stat in self.backend.list(DATA)}
        return {name: size for name, size in sizes.items() if 0 < (_run_of_part(name) or 0) <= last}

    def traces(self) -> Mapping[int, str]:
        """Runs that sums or a part tell of, by number: what it is. Work of an interrupted run is no trace."""
        if any(leftovers(self.backend, Run(1))):
            parts: dict[int, str] = {}
        else:
            parts = {number: key for key in self._keys(DATA) if (number := _run_of_part(key)) is not None}
        return {**parts, **self._sums()}

    def _sums(self) -> dict[int, str]:
        """The keys of sums, by the number of their run."""
        keys = self._keys(RUNS)
        return {number: key for key in keys if (number := run_number(key, naming=sums_name)) is not None}

    def _keys(self, prefix: str) -> list[str]:
        return [stat.key for stat in self.backend.list(prefix)]

    def part(self, name: str) -> Stored:
        """What is stored of a published part."""
        return stored(self.backend, check_part_name(name))

    def inspect(self, manifests: Sequence[Manifest]) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the runs: sums, strangers, leftovers."""
        problems: list[tuple[str, str]] = []
        notes = leftovers(self.backend, Run(1))
        known: set[str] = set()
        for manifest in manifests:
            assert manifest.lineage is not None
            shape = Run(manifest.lineage.run)
            known |= {shape.manifest, shape.sums, *(entry.name for entry in manifest.parts)}
            wrong, more = look_at_sums(self.backend, shape, manifest)
            problems += wrong
            notes += more
        numbers = self.numbers()
        known |= {run_name(number) for number in numbers}
        for number, key in self._sums().items():
            known.add(key)
            if number not in numbers:  # sums follow their manifest, so that it was there
                problems.append((key, f"it is of run {number}, whose manifest is gone"))
        return problems, [*notes, *strangers(self.backend, known)]


def totals_of(entries: Sequence[PartEntry], before: Totals) -> Totals:
    """What a lineage holds with these parts, after what it held before."""
    names = int(before.names, 16) + int(add_up((entry.name, entry.bytes) for entry in entries), 16)
    return Totals(
        parts=before.parts + len(entries),
        bytes=before.bytes + sum(entry.bytes for entry in entries),
        rows=before.rows + sum(entry.rows for entry in entries),
        names=f"{names % (1 << 128):032x}",
    )


def add_up(sizes: Iterable[tuple[str, int]]) -> str:
    """The sum, modulo 2^128, of the hashes of names and sizes: the first 16 bytes of the SHA-256 of ``SIZE  NAME``."""
    total = 0
    for name, size in sizes:
        total += int.from_bytes(hashlib.sha256(f"{size}  {name}".encode()).digest()[:16], "big")
    return f"{total % (1 << 128):032x}"


def _run_of_part(key: str) -> int | None:
    match = _RUN_PART.match(split_name(key)[1])
    return None if match is None else int(match[1])
