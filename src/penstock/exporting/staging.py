"""Where parts are staged that are not those of a run in their order: behind others, or beside the run to come."""

from __future__ import annotations

from penstock.model.dataset import Dataset
from penstock.model.manifest import PartEntry
from penstock.ports.backend import Staged, Upload
from penstock.publishing.around import Stored
from penstock.publishing.attempt import Attempt, Taken
from penstock.publishing.publication import RunPublication
from penstock.publishing.shapes import Run as RunShape


class Behind:
    """Staging for parts that come behind ``before`` others of the same run."""

    def __init__(self, publication: RunPublication, before: int) -> None:
        self._publication = publication
        self._before = before

    def stage(self, dataset: Dataset | None = None) -> Upload:
        return self._publication.stage(dataset)

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        return self._publication.read_back(index + self._before, entry)

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return self._publication.part_name(index + self._before, entry, ending, folders)


class Aside:
    """Parts that are laid down beside those of the run to come, in order; ``shape`` gives them names, if any."""

    def __init__(self, publication: Attempt, shape: RunShape | None = None) -> None:
        self.parts: list[Staged] = []
        self._publication = publication
        self._shape = shape

    def stage(self, dataset: Dataset | None = None) -> Upload:
        return Taken(self._publication.lay_down(), self.parts)

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        return self._publication.staged(self.parts[index])

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return "" if self._shape is None else self._shape.part_name(index, entry, ending, folders)
