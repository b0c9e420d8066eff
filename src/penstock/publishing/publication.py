"""What an export asks of an attempt to publish it, wherever that is."""

from __future__ import annotations

from typing import Protocol

from penstock.model.dataset import Dataset
from penstock.model.location import Location
from penstock.model.manifest import Manifest, PartEntry
from penstock.ports.backend import Staged, Upload
from penstock.publishing.around import Stored


class Staging(Protocol):
    """Where parts are laid down before anything is published."""

    def stage(self, dataset: Dataset | None = None) -> Upload:
        """Begin the next part, with rows of a dataset. Parts are published in the order in which they were staged."""
        ...

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        """What is stored of a part that was staged."""
        ...

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        """The final name of a part."""
        ...


class Publication(Staging, Protocol):
    """One attempt to publish. Nothing is visible before :meth:`publish`; after it returned, it is there to stay."""

    notes: list[str]

    def elsewhere(self) -> tuple[Location, str]:
        """Where other processes stage for this attempt, and its name there. Raises
        :class:`~penstock.errors.UsageError` if none can."""
        ...

    def take(self, staged: Staged) -> None:
        """Let what another process staged be the next part."""
        ...

    def signed(self, manifest: Manifest) -> Manifest:
        """The manifest as it is to be published: with what the place has to say."""
        ...

    def publish(self, manifest: Manifest) -> None:
        """Give the staged parts their names, then the manifest its own: the commit."""
        ...

    def close(self) -> None:
        """Drop what was not published and let others in. Safe to call twice."""
        ...


class RunPublication(Publication, Protocol):
    """An attempt to publish a run of a lineage."""

    def lay_down(self) -> Upload:
        """Begin to stage the run's roll, which is no part."""
        ...

    def roll_name(self) -> str:
        """The final name of the roll."""
        ...
