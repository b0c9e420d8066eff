"""A lineage at a backend: its runs by name, the last one alone for whoever continues it, all of them for who verifies.

What lies there is the truth: nothing about a lineage is kept anywhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from penstock.errors import DestinationExists, Exists, ManifestError
from penstock.model.lineage import RUNS, Totals, run_name, run_number, run_of_roll, sums_name
from penstock.model.maintenance import Removed
from penstock.model.manifest import Manifest, PartEntry, check_part_name, held_parts, removed_parts
from penstock.model.options import ExportFormat
from penstock.model.partition import DATA, split_name
from penstock.model.roll import Roll
from penstock.ports.backend import Backend, Expect, Move, Staged, Stat
from penstock.publishing.around import Stored, leftovers, local_path, look_at_sums, stored, strangers
from penstock.publishing.attempt import Attempt
from penstock.publishing.place import Place
from penstock.publishing.publication import RunPublication
from penstock.publishing.recovery import readable
from penstock.publishing.shapes import Run, are_sums

_RUN_PART = re.compile(r"run-(\d{6,12})-part-\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class LineageDestination:
    """Where an incremental export adds its runs, and where they are read from."""

    backend: Backend

    @property
    def only(self) -> ExportFormat | None:
        """The one format that its parts have, if the place settles that."""
        return None

    @property
    def files(self) -> Sequence[Path]:
        """The local files that it writes, as far as they are known by name."""
        return []

    @property
    def path(self) -> Path | None:
        """The local path, if it has one."""
        return local_path(self.backend, None)

    @property
    def place(self) -> Path | str:
        """Where it is, in words."""
        return self.path or str(self.backend.location)

    def begin(self) -> RunPublication:
        """Hold the lineage, clear what a crashed run of ours left, and aim at the next run.

        Raises :class:`~penstock.errors.Locked`, :class:`~penstock.errors.DestinationExists` for a directory that holds
        another kind of export, or somebody else's file under a name of the next run, and
        :class:`~penstock.errors.ManifestError` if the last runs lost their manifests.
        """
        return self._begin(lambda: max(self.numbers(), default=0) + 1)

    def begin_repair(self) -> Attempt:
        """The same, at the first run that nothing tells of."""
        return self._begin(self.following)

    def _begin(self, following: Callable[[], int]) -> Attempt:
        attempt = Attempt(self.backend, Run(1))
        try:
            attempt.notes += self._complete_sums(self.numbers())
            number = following()
            try:
                attempt.aim(Run(number))
            except DestinationExists:
                self._check_sums(number)
                raise
        except BaseException:
            attempt.close()
            raise
        return attempt

    def following(self) -> int:
        """The first number of a run that nothing tells of."""
        return max([0, *self.numbers(), *self.traces()]) + 1

    def _check_sums(self, number: int) -> None:
        """Raise :class:`~penstock.errors.ManifestError` if a run has sums of ours: they followed its manifest."""
        sums, _ = Place(self.backend).read(sums_name(number))
        if sums and are_sums(sums):
            raise ManifestError(
                f"{run_name(number)} is missing: {sums_name(number)} tells of it",
                hint="bring the manifest back, or let penstock repair LINEAGE --from STORE do without it",
            )

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
                try:
                    self.backend.put(sums_name(number), sums, expect=Expect.ABSENT, attempt=Run(number).attempt)
                except Exists:
                    if Place(self.backend).read(sums_name(number))[0] != sums:
                        raise
                    continue  # whoever committed the run was done with them
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

    def parts_of_run(self, number: int) -> list[Stat]:
        """What lies there and is called like a part of a run."""
        return [stat for stat in self.backend.list(DATA) if _run_of_part(stat.key) == number]

    def holds(self, entry: PartEntry | Roll) -> Stat | None:
        """What stands under a part's name, if it is exactly what the entry says."""
        return Place(self.backend).holds(entry)

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

    def roll(self, roll: Roll) -> Stored:
        """What is stored of the roll of a run."""
        return stored(self.backend, roll.name)

    def version(self, entry: PartEntry | Roll) -> str | None:
        """What stands under a name, whatever it holds."""
        there = self.backend.stat(entry.name if isinstance(entry, Roll) else check_part_name(entry.name))
        return None if there is None else there.version

    def put_back(self, entry: PartEntry | Roll, staged: Staged, *, over: str | None) -> None:
        """Give a part or a roll its bytes again, in place of the damaged ones of the version ``over``, if there are
        any. Raises :class:`~penstock.errors.Exists` or :class:`~penstock.errors.Changed` if something else stands there
        by now."""
        self.backend.place([Move(staged=staged, key=entry.name, expect=Expect.ABSENT if over is None else over)])

    def clear(self, manifests: Sequence[Manifest]) -> None:
        """Do what follows from runs of maintenance that are committed: the parts that they removed go, and so do the
        sums and rolls of runs that are waived, and parts of these whose bytes are those of a part that is held; all
        other sums tell of what is held."""
        gone = removed_parts(manifests)
        self.drop([stat for stat in self.backend.list(DATA) if stat.key in gone])
        waived = _waived(manifests)
        self.drop([stat for stat in self.backend.list(RUNS) if run_of_roll(stat.key) in waived])
        entries = [entry for _, entry in held_parts(manifests)]
        for part in (part for number in sorted(_waived(manifests)) for part in self.parts_of_run(number)):
            alike = [replace(entry, name=part.key) for entry in entries if entry.bytes == part.size]
            if any(self.holds(entry) == part for entry in alike):
                self.drop([part])
        held = {manifest.lineage.run: manifest.sums(gone) for manifest in manifests if manifest.lineage is not None}
        for number in sorted({*held, *self._sums()}):
            key, wanted = sums_name(number), held.get(number)
            there, stat = Place(self.backend).read(key)
            if there == wanted or not are_sums(there or b""):
                continue
            if wanted is not None:
                expect = Expect.ABSENT if stat is None else stat.version
                self.backend.put(key, wanted, expect=expect, attempt=Run(number).attempt)
            elif stat is not None and number in _waived(manifests):
                self.drop([stat])

    def drop(self, stats: Iterable[Stat]) -> None:
        """Remove what stands there, as far as it is still what was seen."""
        for stat in stats:
            self.backend.delete(stat.key, version=stat.version)

    def inspect(self, manifests: Sequence[Manifest]) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the runs: sums, strangers, leftovers."""
        problems: list[tuple[str, str]] = []
        notes = leftovers(self.backend, Run(1))
        known: set[str] = set()
        gone = removed_parts(manifests)
        for manifest in manifests:
            assert manifest.lineage is not None
            shape = Run(manifest.lineage.run)
            names = {entry.name for entry in manifest.parts}
            known |= {shape.manifest, shape.sums, *(names - gone)}
            roll = manifest.lineage.roll
            if roll is not None:
                known.add(roll.name)
                if Place(self.backend).holds(roll) is None:
                    problems.append((roll.name, "the roll is missing, or is not what the manifest names"))
            wrong, more = look_at_sums(self.backend, shape, manifest, gone)
            problems += wrong
            notes += more
        numbers = self.numbers()
        known |= {run_name(number) for number in numbers}
        waived = _waived(manifests)
        for number, key in self._sums().items():
            known.add(key)
            if number not in {*numbers, *waived}:  # sums follow their manifest, so that it was there
                problems.append((key, f"it is of run {number}, whose manifest is gone"))
        return problems, [*notes, *strangers(self.backend, known)]


def totals_of(
    entries: Collection[PartEntry | Removed], before: Totals, removed: Collection[PartEntry | Removed] = ()
) -> Totals:
    """What a lineage holds with these parts and without those that were removed, after what it held before."""
    names = int(before.names, 16)
    names += int(add_up((entry.name, entry.bytes) for entry in entries), 16)
    names -= int(add_up((entry.name, entry.bytes) for entry in removed), 16)
    return Totals(
        parts=before.parts + len(entries) - len(removed),
        bytes=before.bytes + sum(entry.bytes for entry in entries) - sum(entry.bytes for entry in removed),
        rows=before.rows + sum(entry.rows for entry in entries) - sum(entry.rows for entry in removed),
        names=f"{names % (1 << 128):032x}",
    )


def add_up(sizes: Iterable[tuple[str, int]]) -> str:
    """The sum, modulo 2^128, of the hashes of names and sizes: the first 16 bytes of the SHA-256 of ``SIZE  NAME``."""
    total = 0
    for name, size in sizes:
        total += int.from_bytes(hashlib.sha256(f"{size}  {name}".encode()).digest()[:16], "big")
    return f"{total % (1 << 128):032x}"


def _waived(manifests: Sequence[Manifest]) -> set[int]:
    """The runs that a lineage does without: its last run names them all."""
    return {lost.run for manifest in manifests[-1:] if manifest.lineage for lost in manifest.lineage.waived}


def _run_of_part(key: str) -> int | None:
    match = _RUN_PART.match(split_name(key)[1])
    return None if match is None else int(match[1])
