"""An export to a stream: bytes as they come, without a commit; the manifest goes to a file of its own, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import UsageError
from penstock.model.dataset import Dataset
from penstock.model.location import Location
from penstock.model.manifest import Manifest, PartEntry
from penstock.ports.backend import Backend, Staged
from penstock.ports.format import Buffer
from penstock.ports.sink import Sink
from penstock.publishing.around import Stored, local_path
from penstock.publishing.attempt import Attempt
from penstock.publishing.shapes import ManifestAlone


@dataclass(frozen=True, slots=True)
class StreamDestination:
    """A sink, and where the manifest goes, under which key, if it is wanted. That must not exist yet, unless it is to
    be overwritten, and then only a manifest of ours; it appears whole, when the stream is at its end."""

    sink: Sink
    manifest: tuple[Backend, str] | None = None

    @property
    def single(self) -> bool:
        return True

    @property
    def streamed(self) -> bool:
        """Whether bytes are read as they come: then Arrow is the stream format."""
        return True

    @property
    def place(self) -> None:
        return None

    @property
    def files(self) -> Sequence[Path]:
        path = None if self.manifest is None else local_path(*self.manifest)
        return [] if path is None else [path]

    def part(self, name: str) -> Stored:
        raise UsageError("a stream cannot be read back", hint="verify a file or a directory")

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> StreamAttempt:
        """Hold the place of the manifest. Raises :class:`~penstock.errors.DestinationExists`."""
        if self.manifest is None:
            return StreamAttempt(self.sink, None)
        backend, key = self.manifest
        attempt = Attempt(backend, ManifestAlone(key))
        try:
            attempt.aim(ManifestAlone(key), overwrite=overwrite)
        except BaseException:
            attempt.close()
            raise
        return StreamAttempt(self.sink, attempt)


class StreamAttempt:
    """What has a sink in place of a backend: what was written was read, whatever comes of it."""

    def __init__(self, sink: Sink, manifest: Attempt | None) -> None:
        self.notes: list[str] = [] if manifest is None else manifest.notes
        self._sink = sink
        self._manifest = manifest

    def stage(self, dataset: Dataset | None = None) -> StreamPart:
        return StreamPart(self._sink)

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return f"stream{ending}"

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        raise UsageError("a stream cannot be read back", hint="leave verify_written out")

    def elsewhere(self) -> tuple[Location, str]:
        raise UsageError("a stream has one writer", hint="write it with threads")

    def take(self, staged: Staged) -> None:
        raise UsageError("a stream has one writer", hint="write it with threads")

    def signed(self, manifest: Manifest) -> Manifest:
        return manifest if self._manifest is None else self._manifest.signed(manifest)

    def publish(self, manifest: Manifest) -> None:
        if self._manifest is not None:
            self._manifest.publish(manifest)

    def close(self) -> None:
        if self._manifest is not None:
            self._manifest.close()


class StreamPart:
    """The one part of a stream; see :class:`penstock.ports.backend.Upload`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._written = 0

    def write(self, data: Buffer) -> None:
        self._sink.write(data)
        self._written += memoryview(data).nbytes

    def finish(self) -> Staged:
        return Staged(attempt="stream", name="stream", size=self._written)

    def abort(self) -> None:
        return
