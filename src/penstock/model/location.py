"""Where a backend's keys lie, as a value: what a task carries to another process, and what messages show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A place by scheme and path, such as ``file`` and ``/srv/exports``. It holds no secret: those are references."""

    scheme: str
    path: str

    def __str__(self) -> str:
        return self.path if self.scheme == "file" else f"{self.scheme}://{self.path}"
