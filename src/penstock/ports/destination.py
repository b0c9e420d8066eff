"""Where exports go, and where published ones are read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from penstock.errors import UsageError
from penstock.model.manifest import Manifest, PartEntry
from penstock.ports.format import Buffer


class StagedFile(Protocol):
    """A part that is being written where no reader looks. Exactly one of ``finish`` and ``abort`` ends it."""

    def write(self, data: Buffer) -> None:
        """Append all of ``data``; the caller may reuse the buffer afterwards."""
        ...

    def finish(self) -> int:
        """Make the bytes durable; returns their number, checked against the file."""
        ...

    def abort(self) -> None:
        """Drop what was written. Never raises."""
        ...

    def read_back(self) -> AbstractContextManager[BinaryIO]:
        """What was written, from its start; after ``finish`` only."""
        ...


class Publication(Protocol):
    """One attempt to publish at a destination, which it holds alone until ``close``.

    Nothing is visible before :meth:`publish`; after it returned, the export survives ``kill -9`` and power loss.
    """

    @property
    def notes(self) -> Sequence[str]: ...

    def stage(self) -> StagedFile:
        """Begin the next part. Parts are published in the order in which they were staged."""
        ...

    def part_name(self, index: int, entry: PartEntry, ending: str) -> str:
        """The final name of a part: the destination's own if it is one file, else from ``entry``'s range and digest."""
        ...

    def publish(self, manifest: Manifest) -> None:
        """Give the staged parts the manifest's names, then the manifest its own: the commit.

        Raises :class:`~penstock.errors.DestinationExists` if someone else got there first; then nothing changed.
        """
        ...

    def close(self) -> None:
        """Drop what was not published and let others in. Safe to call twice."""
        ...


class RunPublication(Publication, Protocol):
    """One attempt to add a run to a lineage, which it holds alone until ``close``. ``publish`` raises
    :class:`~penstock.errors.Locked` if another process committed a run of the same number first."""

    def runs(self) -> Iterator[tuple[str, bytes]]:
        """File name and bytes of every committed run's manifest, in order, each read when it is taken."""
        ...


@runtime_checkable
class LineageDestination(Protocol):
    """Where an incremental export adds its runs, and where they are read from. What lies there is the truth: nothing
    about a lineage is kept anywhere else."""

    @property
    def path(self) -> Path: ...

    def runs(self) -> Iterator[tuple[str, bytes]]:
        """File name and bytes of every committed run's manifest, in order, each read when it is taken."""
        ...

    def traces(self) -> Mapping[int, str]:
        """Runs that something beside a manifest tells of, by number: what it is. Work of an interrupted run is none."""
        ...

    def begin(self) -> RunPublication:
        """Lock the lineage and clear what a crashed run of ours left. Raises :class:`~penstock.errors.Locked`."""
        ...

    def open_part(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A published part, seekable, from its start. Raises :class:`~penstock.errors.NotFound`."""
        ...

    def inspect(self, manifests: Sequence[Manifest]) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the runs: sums, strangers, leftovers."""
        ...


@runtime_checkable
class ExportDestination(Protocol):
    """Where an export goes, and where a published one is read from.

    ``single`` says whether it is one file (then there is exactly one part), ``streamed`` whether its bytes are read as
    they come, never from their end: then Arrow is the stream format, else the file format.
    """

    single: bool
    streamed: bool

    @property
    def path(self) -> Path | None:
        """The local path, if it has one."""
        ...

    @property
    def manifest_name(self) -> str: ...

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        """Lock the destination and clear what a crashed run of ours left.

        Raises :class:`~penstock.errors.DestinationExists`, :class:`~penstock.errors.Locked`,
        :class:`~penstock.errors.NoSpace` (when the estimate cannot fit), :class:`~penstock.errors.AccessDenied`.
        """
        ...

    def lineage(self) -> LineageDestination:
        """The same place for an incremental export. Raises :class:`~penstock.errors.UsageError` if it takes no runs."""
        ...

    def read_manifest(self) -> bytes:
        """The bytes of the committed manifest. Raises :class:`~penstock.errors.NotFound` or
        :class:`~penstock.errors.ManifestError`."""
        ...

    def open_part(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A published part, seekable, from its start. Raises :class:`~penstock.errors.NotFound`."""
        ...

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the parts: sums, strangers, leftovers."""
        ...


def takes_no_runs(what: str) -> UsageError:
    """What is said of a destination that no run can be added to."""
    return UsageError(
        f"{what} is one file or a stream, an incremental export needs a directory", hint="end the name with /"
    )
