"""Verify a lineage: the chain has no gap, no overlap and no fork, and every run of it is whole."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.lineage import NO_TOTALS
from penstock.model.manifest import Manifest
from penstock.model.result import Problem, VerifyResult
from penstock.model.sample import Sample
from penstock.ports.observer import Observer
from penstock.publishing.lineage import LineageDestination, totals_of
from penstock.reading.chain import Link, read_chain
from penstock.reading.verify import check_parts, sums_up


def verify_chain(
    destination: LineageDestination,
    *,
    quick: bool = False,
    sample: Sample | None = None,
    observer: Observer | None = None,
) -> VerifyResult:
    """Check every run of a lineage against its manifest, and the manifests against each other.

    ``quick`` looks at presence and sizes of the parts only, and so it is with parts that are not in the ``sample``.
    Returns what does not hold; raises :class:`~penstock.errors.ManifestError` when the chain itself is broken, since
    then nothing proves what is missing.
    """
    chain = read_chain(destination.runs())
    manifests = [link.manifest for link in chain]
    around, notes = destination.inspect(manifests)
    problems = [Problem(part=name, message=message) for name, message in around]
    problems += contradictions(chain)
    read = check_parts(destination, manifests, quick=quick, sample=sample, observer=observer)
    return VerifyResult(
        path=destination.place,
        parts=sum(len(manifest.parts) for manifest in manifests),
        event_count=sum(manifest.rows for manifest in manifests),
        bytes=sum(entry.bytes for manifest in manifests for entry in manifest.parts),
        parts_read=read.parts,
        bytes_read=read.bytes,
        sample=sample,
        problems=(*problems, *read.problems),
        notes=tuple(notes),
        runs=len(chain),
        manifest=manifests[-1] if manifests else None,
    )


def contradictions(chain: Sequence[Link]) -> list[Problem]:
    """What the manifests of a chain say that cannot be, whatever their parts hold."""
    found = _repeats([link.manifest for link in chain])
    before = {0: NO_TOTALS, **{link.lineage.run: link.lineage.totals for link in chain}}
    for link in chain:
        wrong = [*sums_up(link.manifest, single=False), *_outside(link.manifest)]
        totals = before.get(link.lineage.run - 1)
        if totals is not None and link.lineage.totals != totals_of(link.manifest.parts, totals):
            wrong.append("the lineage's totals are not those of the run before and of its own parts")
        found += [Problem(part=link.name, message=text) for text in wrong]
    return found


def _repeats(manifests: list[Manifest]) -> list[Problem]:
    """A part that two runs name would count twice."""
    seen: set[str] = set()
    found = []
    for manifest in manifests:
        for entry in manifest.parts:
            if entry.name in seen:
                found.append(Problem(part=entry.name, message="two runs name this part"))
            seen.add(entry.name)
    return found


def _outside(manifest: Manifest) -> list[str]:
    """Whether a run holds events from outside its stretch of arrival order."""
    lineage, span = manifest.lineage, manifest.seq_range
    if lineage is None or span is None or (lineage.after < span.first and span.last <= lineage.upto):
        return []
    return [f"events from {span.first} to {span.last} lie outside the run's stretch"]
