"""Resume: continue a lineage with what its manifests pin, after clearing up and looking whether all is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from penstock.errors import IntegrityError, InvalidFilter, ManifestError, UsageError
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.columns import COLUMNS
from penstock.model.filter import ExportFilter
from penstock.model.manifest import Manifest
from penstock.model.options import ExportFormat, ExportOptions
from penstock.model.result import ResumeResult
from penstock.model.storage_config import READING, StorageConfig
from penstock.pipeline.flattening import parse_steps
from penstock.ports.observer import Observer
from penstock.ports.source import Clock, Source
from penstock.publishing.lineage import LineageDestination
from penstock.reading.chain import Link
from penstock.reading.verify_chain import verify_chain

_DEFAULTS = {field.name: field.default for field in fields(ExportOptions)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How a lineage goes on: what its last run records. ``reading`` is of a table or a query, in the words of
    :class:`~penstock.StorageConfig`."""

    filter: ExportFilter
    options: ExportOptions
    format: ExportFormat
    reading: Mapping[str, Any]

    def opening(self, config: StorageConfig | None) -> StorageConfig:
        """How to open the store. Raises :class:`~penstock.errors.UsageError` if another table is asked for."""
        given = config if config is not None else StorageConfig()
        if given.foreign:
            raise UsageError("the lineage says which table it is of", hint="leave the table and its mapping out")
        return self.options.opening(replace(given, **self.reading), self.filter)


def plan(chain: Sequence[Link], given: ExportOptions) -> Plan:
    """Read from the last run of a lineage how it goes on; ``given`` says what its manifests leave open.

    Raises :class:`~penstock.errors.ManifestError` for a damaged one, :class:`~penstock.errors.UsageError` for options
    that are not the lineage's.
    """
    last = chain[-1]
    options = _options(last.manifest, given)
    try:
        reading = _reading(last.manifest.source)
        filter = ExportFilter(**last.manifest.filter)
    except (KeyError, TypeError, AttributeError, InvalidFilter) as error:
        raise ManifestError(
            f"{last.name} does not say how to go on: {type(error).__name__}: {error}",
            hint="continue with penstock export --incremental and the same options as before",
        ) from None
    return Plan(filter=filter, options=options, format=last.manifest.format, reading=reading)


def resume(
    storage: Source,
    destination: LineageDestination,
    plan: Plan,
    *,
    clock: Clock,
    workers: Workers,
    full: bool = False,
    observer: Observer | None = None,
) -> ResumeResult:
    """Clear up, verify, and add a run; see :func:`penstock.resume`."""
    publication = destination.begin()
    publication.close()
    verified = verify_chain(destination, quick=not full)
    if not verified.ok:
        first, *more = verified.problems
        also = f", and {len(more)} more" if more else ""
        raise IntegrityError(
            f"the lineage is not whole, no run was added: {first.part}: {first.message}{also}",
            hint="penstock verify names each problem; penstock repair LINEAGE --from STORE makes parts and runs again",
        )
    export = export_incremental(
        storage,
        destination,
        layout=plan.options.resolve(format=plan.format, codec=None, dataset=storage.dataset),
        filter=plan.filter,
        options=plan.options,
        clock=clock,
        workers=workers,
        observer=observer,
    )
    return ResumeResult(recovered=tuple(publication.notes), verified=verified, export=export)


def _options(manifest: Manifest, given: ExportOptions) -> ExportOptions:
    layout = manifest.layout
    pinned: dict[str, Any] = {
        "format": layout.format,
        "compression": layout.codec,
        "compression_level": layout.level,
        "pretty": layout.pretty,
        "csv_null": layout.csv_null,
        **{name: value for name, value in manifest.options.items() if name in _DEFAULTS},
        "columns": layout.columns,
        **_flatten(manifest),
    }
    for name, value in pinned.items():
        asked = getattr(given, name)
        if asked not in (_DEFAULTS[name], value):
            raise UsageError(
                f"the lineage was begun with {name} {value}, not {asked}",
                hint="leave it out, or begin a new lineage in another directory",
            )
    return replace(given, **pinned)


def _flatten(manifest: Manifest) -> dict[str, Any]:
    """How the runs are flattened, as options."""
    for step in parse_steps(manifest.steps):
        asked = step.asked
        return {"flatten": asked.columns, "flatten_schema": asked.schema, "flatten_columns": asked.most}
    return {"flatten": None}


def _reading(source: Mapping[str, Any]) -> dict[str, Any]:
    """How the source is read, in the words of a configuration; nothing of it is left to be guessed again."""
    found = {name: source[name] for name in READING if name in source}
    if "mapping" in found:
        columns, units = source["mapping"], source["units"]
        found["mapping"] = {}
        for name in COLUMNS:
            unit = units.get(name, "auto")
            found["mapping"][name] = columns.get(name, ":none") + (f":{unit}" if unit != "auto" else "")
    return found
