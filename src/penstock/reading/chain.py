"""The chain of a lineage: reading it from the destination alone, and checking it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import IntegrityError, ManifestError
from penstock.model.lineage import Lineage, run_name, run_number
from penstock.model.manifest import Manifest, parse_manifest
from penstock.publishing.lineage import LineageDestination, add_up

_PINNED = ("dataset", "filter", "format", "compression", "options", "mapping")


@dataclass(frozen=True, slots=True)
class Link:
    """One run of a chain: its manifest, its digest, and its file name."""

    name: str
    digest: str
    manifest: Manifest
    lineage: Lineage


def read_chain(found: Iterable[tuple[str, bytes]]) -> list[Link]:
    """The links of a lineage, from the run manifests that lie at a destination, in order; one text is held at a time.

    Raises :class:`ManifestError` for a manifest that is damaged, missing, foreign, repeated, or does not follow the one
    before: the chain then does not prove that nothing was lost, and nothing may be added to it.
    """
    chain: list[Link] = []
    for name, text in found:
        link = read_link(name, text)
        number = link.lineage.run
        if number != len(chain) + 1:
            raise _gap(len(chain) + 1, number)
        for fault in faults(chain[-1], link) if chain else ():
            raise ManifestError(fault.message, hint=fault.hint)
        chain.append(link)
    return chain


def _gap(missing: int, before: int) -> ManifestError:
    return ManifestError(
        f"{run_name(missing)} is missing: the chain has a gap before run {before}",
        hint="bring the manifest back, or begin a new lineage in another directory",
    )


def last_link(destination: LineageDestination) -> list[Link]:
    """The last run alone, if there is any, once names and sizes at the destination are what it says of all runs.

    Two manifests are opened, however many runs there are: the last, and the one that it names as its predecessor. What
    may be wrong with older ones is for who reads the whole chain. Raises :class:`ManifestError` if either is damaged or
    a run has no manifest, and :class:`~penstock.errors.IntegrityError` for a part that is missing or of another size.
    """
    numbers = destination.numbers()
    for expected, number in enumerate(numbers, 1):
        if number != expected:
            raise _gap(expected, number)
    links = [read_link(*found) for number in numbers[-2:] if (found := destination.read(number)) is not None]
    for fault in faults(*links) if len(links) == 2 else ():
        raise ManifestError(fault.message, hint=fault.hint)
    for link in links[-1:]:
        live, totals = destination.live(), link.lineage.totals
        if (len(live), sum(live.values()), add_up(live.items())) != (totals.parts, totals.bytes, totals.names):
            _name_missing(read_chain(destination.runs()), live)
    return links[-1:]


def _name_missing(chain: Iterable[Link], live: Mapping[str, int]) -> None:
    """Refuse to go on without a part that a run names. Files beside them that are called like parts do no harm."""
    for entry in (entry for link in chain for entry in link.manifest.parts):
        if live.get(entry.name) != entry.bytes:
            there = "is missing" if entry.name not in live else f"has {live[entry.name]} bytes, not {entry.bytes}"
            raise IntegrityError(
                f"{entry.name} {there}; no run was added",
                hint="penstock verify names all that is damaged; bring the file back, or begin a new lineage",
            )


def read_link(name: str, text: bytes) -> Link:
    """One run by itself. Raises :class:`ManifestError` for a manifest that is damaged, or is not of this run."""
    number = run_number(name)
    manifest = parse_manifest(text, where=name)
    lineage = manifest.lineage
    if lineage is None or number is None or lineage.run != number:
        raise ManifestError(f"{name} is not the manifest of run {number}", hint="it was renamed or is of another kind")
    return Link(name=name, digest=own_digest(text), manifest=manifest, lineage=lineage)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a run does not follow another: ``what`` is ``predecessor``, ``gap``, ``overlap`` or ``other``."""

    what: str
    message: str
    hint: str | None = None


def faults(last: Link, link: Link) -> Iterator[Fault]:
    """All that speaks against the second run being the next after the first."""
    if link.lineage.previous != last.digest:
        yield Fault(
            "predecessor",
            f"{link.name} does not follow {last.name}: it names another manifest as its predecessor",
            "one was replaced, or is of another lineage; begin a new lineage in another directory",
        )
    if link.lineage.follows != last.lineage.upto:
        kind = "gap" if link.lineage.follows > last.lineage.upto else "overlap"
        article = "a" if kind == "gap" else "an"
        yield Fault(
            kind,
            f"{link.name} leaves {article} {kind}: {last.name} ends at {last.lineage.upto},"
            f" it begins at {link.lineage.follows}",
        )
    elif link.lineage.broken is not None:
        proven = [anchor.seq for anchor in last.lineage.anchors]
        if link.lineage.after not in proven and link.lineage.after >= min(proven, default=link.lineage.after + 1):
            yield Fault("other", f"{link.name} begins at {link.lineage.after}, which {last.name} names no row of")
    if link.lineage.reached != max(last.lineage.reached, link.lineage.upto):
        yield Fault("other", f"{link.name} does not say how far the lineage reaches")
    for what, before, now in pinned_differences(last.manifest, link.manifest):
        yield Fault("other", f"{link.name} has another {what} than {last.name}: {now} instead of {before}")
    if link.lineage.store != last.lineage.store:
        yield Fault("other", f"{link.name} is of another store than {last.name}")


def own_digest(text: bytes) -> str:
    """The ``manifest_sha256`` of a manifest's text that was parsed already."""
    return text.rpartition(b'"manifest_sha256": "')[2][:64].decode()


def pinned(manifest: Manifest) -> Mapping[str, Any]:
    """What every run of a lineage shares."""
    return {
        "dataset": str(manifest.dataset),
        "filter": dict(manifest.filter),
        "format": str(manifest.format),
        "compression": [manifest.codec, manifest.level],
        "options": dict(manifest.options),
        "mapping": {name: manifest.source.get(name) for name in ("mapping", "units") if name in manifest.source},
    }


def pinned_differences(before: Manifest, now: Manifest) -> list[tuple[str, Any, Any]]:
    """What two manifests do not share of it: name, value before, value now."""
    first, second = pinned(before), pinned(now)
    return [(name, first[name], second[name]) for name in _PINNED if first[name] != second[name]]
