"""The chain of a lineage: reading it from the destination alone, and checking it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import ManifestError
from penstock.model.lineage import Lineage, run_name, run_number
from penstock.model.manifest import Manifest, parse_manifest

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
            raise ManifestError(
                f"{run_name(len(chain) + 1)} is missing: the chain has a gap before run {number}",
                hint="bring the manifest back, or begin a new lineage in another directory",
            )
        for fault in faults(chain[-1], link) if chain else ():
            raise ManifestError(fault.message, hint=fault.hint)
        chain.append(link)
    return chain


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
