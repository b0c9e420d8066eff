"""Who watches a verb while it works, and may stop it: one protocol and one value for all verbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from penstock.errors import Cancelled


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a verb is. ``done`` of ``total`` is the share of the work, an estimate in bytes.

    ``rows`` are those that were handled, ``bytes`` as they are stored: written by an export, read by all others. Either
    is ``None`` where it is not known on the way. ``committed`` comes once, at the end of an export: it stands, whatever
    is raised afterwards.
    """

    rows: int | None = None
    bytes: int | None = None
    done: int
    total: int
    committed: bool = False


class Observer(Protocol):
    """Watches one call of a verb, from the thread that called it."""

    def progress(self, at: Progress, /) -> None:
        """Be told how far it is: between two batches, or parts."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether to stop; looked at after each :meth:`progress`. The verb then raises
        :class:`~penstock.errors.Cancelled` and publishes nothing; what a load or a restore has stored by then stays."""
        ...


def tell(observer: Observer | None, at: Progress) -> None:
    """Say how far it is, to whoever watches. Raises :class:`~penstock.errors.Cancelled` if that one wants no more."""
    if observer is None:
        return
    observer.progress(at)
    if observer.cancelled:
        raise Cancelled("cancelled", hint="run it again to do the rest")
