"""Verify a lineage: the chain has no gap, no overlap and no fork, and every run of it is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.model.arrival import BEGINNING
from penstock.model.lineage import NO_TOTALS, Totals
from penstock.model.manifest import Manifest, PartEntry, RunKind, held_parts
from penstock.model.result import Problem, VerifyResult
from penstock.model.sample import Sample
from penstock.pipeline.digests import digest_hex
from penstock.ports.observer import Observer
from penstock.publishing.lineage import LineageDestination, totals_of
from penstock.reading.chain import Link, chain_of
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
    chain = chain_of(destination)
    manifests = [link.manifest for link in chain]
    around, notes = destination.inspect(manifests)
    problems = [Problem(part=name, message=message) for name, message in around]
    problems += contradictions(chain)
    held = [entry for _, entry in held_parts(manifests)]
    read = check_parts(destination, manifests, quick=quick, sample=sample, observer=observer)
    return VerifyResult(
        path=destination.place,
        parts=len(held),
        event_count=sum(entry.rows for entry in held),
        bytes=sum(entry.bytes for entry in held),
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
    held: dict[str, PartEntry] = {}
    last: Link | None = None
    for link in chain:
        wrong = [*sums_up(link.manifest, single=False), *_outside(link.manifest), *_removed(link, held)]
        totals = _totals(last, link, held)
        if totals is not None and link.lineage.totals != totals:
            wrong.append("the lineage's totals are not those of the run before and of its own parts")
        found += [Problem(part=link.name, message=text) for text in wrong]
        last = link
    return found


def _removed(link: Link, held: dict[str, PartEntry]) -> Iterator[str]:
    """What is wrong with the parts that a run removed; ``held`` are those of before, and then those of after it.
    Maintenance adds the rows that it removes, and those of the runs that it waives, and no others."""
    rows = digest = 0
    for part in link.lineage.removed:
        entry = held.pop(part.name, None)
        if entry is None or (part.rows, part.bytes, part.sha256, part.rows_digest) != (
            entry.rows,
            entry.bytes,
            entry.sha256,
            entry.rows_digest,
        ):
            yield f"{part.name} is removed, which no run before holds as it is named"
        rows += part.rows
        digest += int(part.rows_digest, 16)
    held |= {entry.name: entry for entry in link.manifest.parts}
    if link.manifest.kind is not RunKind.MAINTENANCE:
        return
    for lost in link.lineage.waived:
        if lost.by == link.lineage.run:
            rows += lost.rows
            digest += int(lost.rows_digest, 16)
    if (rows, digest_hex(digest)) != (link.manifest.rows, link.manifest.rows_digest):
        yield "the rows that it adds are not those that it removes"


def _totals(last: Link | None, link: Link, held: dict[str, PartEntry]) -> Totals | None:
    """The totals that a run has to name; ``None`` behind a run that is missing, and that it does not waive."""
    if any(lost.by == link.lineage.run for lost in link.lineage.waived):
        return totals_of(held.values(), NO_TOTALS)
    if link.lineage.run != (1 if last is None else last.lineage.run + 1):
        return None
    before = NO_TOTALS if last is None else last.lineage.totals
    return totals_of(link.manifest.parts, before, link.lineage.removed)


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
    """Whether a run holds events from outside its stretch of arrival order, but for those that it marks as below it;
    one of maintenance has none of its own."""
    lineage = manifest.lineage
    if lineage is None or manifest.kind is RunKind.MAINTENANCE:
        return []
    below = any(entry.mark is not None for entry in manifest.parts)
    spans = [(manifest.seq_range, BEGINNING if below else lineage.after, lineage.upto)]
    for entry in manifest.parts:
        ends = (lineage.after, lineage.upto) if entry.mark is None else (BEGINNING, lineage.after)
        spans.append((entry.seq_range, *ends))
    return [
        f"rows from {span.first} to {span.last} lie outside the run's stretch"
        for span, after, upto in spans
        if span is not None and not after < span.first <= span.last <= upto
    ][:1]
