"""Verify: every stored byte against the manifest, then every event against its digests. Needs no store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.model.manifest import Manifest, held_parts, parse_manifest
from penstock.model.result import Problem, VerifyResult
from penstock.model.sample import Sample
from penstock.pipeline.digests import digest_hex
from penstock.ports.observer import Observer, Progress, tell
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.reading.part import damage


@dataclass(frozen=True, slots=True)
class Read:
    """What came of the parts: problems, and how many of them, of how many stored bytes, were read to the end."""

    problems: list[Problem]
    parts: int
    bytes: int


def verify(
    destination: ExportDestination,
    *,
    quick: bool = False,
    sample: Sample | None = None,
    observer: Observer | None = None,
) -> VerifyResult:
    """Check an export against its manifest. The stored bytes of text are read once, those of columnar files twice.

    ``quick`` looks at presence and sizes of the parts only, and so it is with parts that are not in the ``sample``.
    Returns what does not hold, part by part. Raises
    :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.ManifestError`, :class:`~penstock.errors.NewerVersion`.
    """
    manifest = parse_manifest(destination.read_manifest(), where=destination.manifest_name)
    around, notes = destination.inspect(manifest)
    problems = [Problem(part=name, message=message) for name, message in around]
    problems += [
        Problem(part=destination.manifest_name, message=text) for text in sums_up(manifest, single=destination.single)
    ]
    read = check_parts(destination, [manifest], quick=quick, sample=sample, observer=observer)
    return VerifyResult(
        path=destination.place,
        parts=len(manifest.parts),
        event_count=manifest.rows,
        bytes=sum(entry.bytes for entry in manifest.parts),
        parts_read=read.parts,
        bytes_read=read.bytes,
        sample=sample,
        problems=(*problems, *read.problems),
        notes=tuple(notes),
        manifest=manifest,
    )


def check_parts(
    destination: ExportDestination | LineageDestination,
    manifests: Sequence[Manifest],
    *,
    quick: bool,
    sample: Sample | None,
    observer: Observer | None,
) -> Read:
    """Check the parts that the manifests hold in order, one after the other."""
    parts = held_parts(manifests)
    done, total = 0, sum(entry.bytes for _, entry in parts)
    problems: list[Problem] = []
    read: list[int] = []
    for number, (manifest, entry) in enumerate(parts):
        whole = not quick and (sample is None or sample.takes(number))
        found = damage(destination.part(entry.name), manifest.layout, entry, quick=not whole)
        problems += [Problem(part=entry.name, message=text) for text in found]
        read += [entry.bytes] if whole else []
        done += entry.bytes
        tell(observer, Progress(bytes=done, done=done, total=total))
    return Read(problems, len(read), sum(read))


def sums_up(manifest: Manifest, *, single: bool) -> list[str]:
    """Whether the manifest's totals are those of its parts."""
    found = []
    if digest_hex(sum(int(entry.rows_digest, 16) for entry in manifest.parts)) != manifest.rows_digest:
        found.append("the rows digest is not the sum of the parts'")
    checksum = manifest.parts[0].sha256 if single and manifest.parts else hashlib.sha256(manifest.sums()).hexdigest()
    if checksum != manifest.checksum:
        found.append("the checksum is not that of the parts")
    return found
