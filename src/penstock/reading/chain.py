"""The chain of a lineage: reading it from the destination alone, and checking it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from penstock.errors import IntegrityError, ManifestError
from penstock.model.columns import EVENTS
from penstock.model.lineage import Lineage, run_name, run_number
from penstock.model.maintenance import Waived
from penstock.model.manifest import Manifest, held_parts, parse_manifest
from penstock.model.storage_config import READING
from penstock.publishing.lineage import LineageDestination, add_up

_PINNED = ("steps", "dataset", "filter", "format", "compression", "options", "mapping", "reading")
#: What a source tells of how its rows are read, beside a mapping.
_READING = tuple(name for name in READING if name not in ("table", "mapping"))


@dataclass(frozen=True, slots=True)
class Link:
    """One run of a chain: its manifest, its digest, and its file name."""

    name: str
    digest: str
    manifest: Manifest
    lineage: Lineage


def chain_of(destination: LineageDestination) -> list[Link]:
    """The links of the lineage at a destination; see :func:`read_chain`."""
    return read_chain(destination.runs(), waived=lambda: _waived_at(destination))


def _waived_at(destination: LineageDestination) -> Sequence[Waived]:
    """The runs that the last one does without, as far as that one can be read."""
    found = destination.read(max(destination.numbers(), default=0))
    try:
        return () if found is None else read_link(*found).lineage.waived
    except ManifestError:
        return ()


def read_chain(
    found: Iterable[tuple[str, bytes]], *, waived: Callable[[], Sequence[Waived]] = lambda: ()
) -> list[Link]:
    """The links of a lineage, from the run manifests that lie at a destination, in order; one text is held at a time.
    Of the runs that the last one waives, which are asked for if a manifest is missed, none is among them.

    Raises :class:`ManifestError` for a manifest that is damaged, missing, foreign, repeated, or does not follow the one
    before: the chain then does not prove that nothing was lost, and nothing may be added to it.
    """
    chain: list[Link] = []
    expected = 1
    for name, text in found:
        number = run_number(name) or 0
        for lost in range(expected, number):
            if lost not in {one.run for one in waived()}:
                raise _gap(lost, number)
        expected = number + 1
        try:
            link = read_link(name, text)
        except ManifestError:
            if number in {one.run for one in waived()}:
                continue
            raise
        for fault in faults(chain[-1], link) if chain else ():
            raise ManifestError(fault.message, hint=fault.hint)
        chain.append(link)
    return without_waived(chain)


def without_waived(chain: Sequence[Link]) -> list[Link]:
    """The links whose runs the last one does not do without: what these held lies in other runs by now."""
    waived = {one.run for link in chain[-1:] for one in link.lineage.waived}
    return [link for link in chain if link.lineage.run not in waived]


def links_left(destination: LineageDestination) -> list[Link]:
    """All runs whose manifests can be read and follow each other, whatever is missing between them. Raises
    :class:`ManifestError` if none is left, or if two contradict each other."""
    links: list[Link] = []
    for name, text in destination.runs():
        try:
            links.append(read_link(name, text))
        except ManifestError:
            continue
    links = without_waived(links)
    for last, link in pairwise(links):
        for fault in faults(last, link):
            raise ManifestError(fault.message, hint=fault.hint or "begin a new lineage in another directory")
    if not links:
        raise ManifestError(
            f"{destination.place} has no manifest left that can be read: nothing says what it held",
            hint="begin a new lineage in another directory",
        )
    return links


def _gap(missing: int, before: int) -> ManifestError:
    return ManifestError(
        f"{run_name(missing)} is missing: the chain has a gap before run {before}",
        hint="bring the manifest back, or let penstock repair LINEAGE --from STORE do without it",
    )


def last_link(destination: LineageDestination) -> list[Link]:
    """The last run alone, if there is any, once names and sizes at the destination are what it says of all runs.

    Two manifests are opened, however many runs there are: the last, and the one that it names as its predecessor. What
    may be wrong with older ones is for who reads the whole chain. Raises :class:`ManifestError` if either is damaged or
    a run has no manifest, and :class:`~penstock.errors.IntegrityError` for a part that is missing or of another size.
    """
    numbers = destination.numbers()
    lost = set(range(1, max(numbers, default=0))).difference(numbers)
    waived: set[int] = set()
    links: list[Link] = []
    for number in reversed(numbers[-2:]):
        found = destination.read(number) if number not in waived else None
        if found is not None:
            links.insert(0, read_link(*found))
            waived = {one.run for one in links[-1].lineage.waived}
        for missing in sorted(lost - waived):
            raise _gap(missing, next(there for there in numbers if there > missing))
    for fault in faults(*links) if len(links) == 2 else ():
        raise ManifestError(fault.message, hint=fault.hint)
    for link in links[-1:]:
        live, totals = destination.live(), link.lineage.totals
        if (len(live), sum(live.values()), add_up(live.items())) != (totals.parts, totals.bytes, totals.names):
            _name_missing(chain_of(destination), live)
    return links[-1:]


def _name_missing(chain: Iterable[Link], live: Mapping[str, int]) -> None:
    """Refuse to go on without a part that a run names. Files beside them that are called like parts do no harm."""
    for _, entry in held_parts([link.manifest for link in chain]):
        if live.get(entry.name) != entry.bytes:
            there = "is missing" if entry.name not in live else f"has {live[entry.name]} bytes, not {entry.bytes}"
            raise IntegrityError(
                f"{entry.name} {there}; no run was added",
                hint="penstock repair LINEAGE --from STORE makes it again if the store still holds its rows",
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
    """All that speaks against the second run being the next after the first, or, if runs between them are missing,
    against its being any later one."""
    neighbours = link.lineage.run == last.lineage.run + 1
    if neighbours and link.lineage.previous != last.digest:
        yield Fault(
            "predecessor",
            f"{link.name} does not follow {last.name}: it names another manifest as its predecessor",
            "one was replaced, or is of another lineage; begin a new lineage in another directory",
        )
    kind = "gap" if link.lineage.follows > last.lineage.upto else "overlap"
    if link.lineage.follows != last.lineage.upto and (neighbours or kind == "overlap"):
        article = "a" if kind == "gap" else "an"
        yield Fault(
            kind,
            f"{link.name} leaves {article} {kind}: {last.name} ends at {last.lineage.upto},"
            f" it begins at {link.lineage.follows}",
        )
    elif neighbours and link.lineage.broken is not None:
        proven = [anchor.seq for anchor in last.lineage.anchors]
        if link.lineage.after not in proven and link.lineage.after >= min(proven, default=link.lineage.after + 1):
            yield Fault("other", f"{link.name} begins at {link.lineage.after}, which {last.name} names no row of")
    if neighbours and link.lineage.reached != max(last.lineage.reached, link.lineage.upto):
        yield Fault("other", f"{link.name} does not say how far the lineage reaches")
    if last.lineage.compared != link.lineage.compared:
        yield Fault("other", f"{link.name} compares rows by other columns than {last.name}")
    for what, before, now in pinned_differences(last.manifest, link.manifest):
        yield Fault("other", f"{link.name} has another {what} than {last.name}: {now} instead of {before}")
    if last.lineage.store not in (link.lineage.store, link.lineage.accepted):
        yield Fault("other", f"{link.name} is of another store than {last.name}")


def own_digest(text: bytes) -> str:
    """The ``manifest_sha256`` of a manifest's text that was parsed already."""
    return text.rpartition(b'"manifest_sha256": "')[2][:64].decode()


def pinned(manifest: Manifest, *, since: Manifest | None = None) -> Mapping[str, Any]:
    """What every run of a lineage shares; of a table's columns, those that it has ``since`` another run."""
    dataset = manifest.dataset
    reading = {name: manifest.source[name] for name in _READING if name in manifest.source}
    grown = since is not None and dataset.columns[: len(since.dataset.columns)] == since.dataset.columns
    if since is not None and grown and dataset.name != EVENTS.name:  # all events have the same columns
        dataset = dataset.select(since.dataset.columns)
        known = since.source.get("members", ())
        types = {name: type for name, type in reading.pop("types", {}).items() if name in known}
        reading |= {"types": types} if types else {}
    return {
        "steps": [dict(step) for step in manifest.steps],
        "dataset": str(dataset),
        "filter": dict(manifest.filter),
        "format": str(manifest.format),
        "compression": [manifest.codec, manifest.level],
        "options": dict(manifest.options),
        "mapping": {name: manifest.source.get(name) for name in ("mapping", "units") if name in manifest.source},
        "reading": reading,
    }


def pinned_differences(before: Manifest, now: Manifest) -> list[tuple[str, Any, Any]]:
    """What two manifests do not share of it: name, value before, value now. Columns may come behind the others."""
    first, second = pinned(before), pinned(now, since=before)
    return [(name, first[name], second[name]) for name in _PINNED if first[name] != second[name]]
