"""A place of one file that is held where no lock ends with its holder: by what lies staged there, under one name."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Self

from penstock.errors import Exists, ExportError, Locked
from penstock.ports.backend import Backend, Staged
from penstock.publishing.shapes import Shape

CLAIM = "claim"


class Claim:
    """A claim of an attempt's name; see :class:`penstock.ports.backend.Lock`. One that was killed leaves it behind."""

    def __init__(self, backend: Backend, staged: Staged) -> None:
        self.token = time.time_ns()
        self._backend = backend
        self._staged: Staged | None = staged

    @classmethod
    def of(cls, backend: Backend, shape: Shape) -> Self:
        """Claim a shape's place. Raises :class:`~penstock.errors.Locked` if it is claimed."""
        backend.lock(shape.attempt)
        try:
            upload = backend.stage(shape.attempt, CLAIM)
        except Exists:
            where = f"{backend.location}/.{shape.attempt}/{CLAIM}"
            hint = f"wait for it to end; if it was killed, remove {where} and run the command again"
            raise Locked(
                f"another export to {backend.location}/{shape.data or shape.manifest} runs", hint=hint
            ) from None
        try:
            return cls(backend, upload.finish())
        except BaseException:
            upload.abort()
            raise

    def release(self) -> None:
        staged, self._staged = self._staged, None
        if staged is not None:
            with suppress(ExportError):
                self._backend.drop(staged)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
