"""Steps settled before an export reads its rows: what is to be known of all rows is found in a first pass over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from penstock.errors import UsageError
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.flatten import Flatten
from penstock.model.options import ExportOptions
from penstock.pipeline.flattening import Flattening, Found, parse_steps, settled
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.runner import Runner
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Slice, View
from penstock.reading.chain import Link


def flattening(
    view: View,
    dataset: Dataset,
    asked: Flatten,
    filter: ExportFilter,
    threads: Runner,
    observer: Observer | None,
) -> tuple[Flattening, list[str]]:
    """How the columns that are asked for are laid open, and what a person should know of that. Every row that the
    filter takes is read for it, by ``threads``, unless the members are named."""
    if asked.schema is not None:
        return settled(dataset, asked, None)
    found = Found(tuple(asked.columns))
    plan = view.plan(filter, max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES)
    slices = plan if view.streams else list(plan)
    total = sum(span.bytes_hint for span in slices) if isinstance(slices, list) else 0
    done = 0
    for span, each in _counted(view, slices, filter, found.columns, threads):
        found.add(each)
        done += span.bytes_hint
        tell(observer, Progress(done=done, total=max(total, done)))
    return settled(dataset, asked, found)


def _counted(
    view: View, slices: Iterable[Slice], filter: ExportFilter, columns: tuple[str, ...], threads: Runner
) -> Iterator[tuple[Slice, Found]]:
    """What each slice holds; of a filter with a limit one after the other, since it is about all of them."""

    def count(span: Slice, filter: ExportFilter = filter) -> tuple[Slice, Found]:
        found = Found(columns)
        for batch in view.read_columns(span, filter, columns):
            found.count(batch)
        return span, found

    if filter.limit is None:
        with closing(threads.map(count, slices, in_flight=threads.count + 1)) as counted:
            yield from counted
        return
    left = filter.limit
    for span in slices:
        if not left:
            return
        counts = count(span, replace(filter, limit=left))
        left -= counts[1].rows
        yield counts


def steps_of_lineage(
    chain: Sequence[Link],
    view: View,
    dataset: Dataset,
    filter: ExportFilter,
    options: ExportOptions,
    threads: Runner,
    observer: Observer | None,
) -> tuple[tuple[Flattening, ...], list[str]]:
    """What the next run of a lineage does to its rows: what the run before did, or, if it is the first, what is settled
    now. Raises :class:`~penstock.errors.UsageError` if the lineage was begun with something else than is asked for."""
    asked = options.flattening
    if chain:
        steps = parse_steps(chain[-1].manifest.steps)
        begun = steps[0].asked if steps else None
        if begun != asked:
            raise UsageError(
                f"the lineage was begun with {_said(begun)}, not with {_said(asked)}",
                hint="use the same again, or begin a new lineage in another directory",
            )
        return steps, []
    if asked is None:
        return (), []
    step, notes = flattening(view, dataset, asked, filter, threads, observer)
    if not any(laid.members for laid in step.laid):
        raise UsageError(
            f"no row has a member of {' or '.join(asked.columns)} yet, and all runs have the columns of the first",
            hint="begin the lineage when there are rows, or name the members: --flatten-schema data.MEMBER:TYPE",
        )
    return (step,), notes


def _said(asked: Flatten | None) -> str:
    if asked is None:
        return "no column flattened"
    how = f"at most {asked.most} columns" if asked.schema is None else "these members: " + ", ".join(asked.schema)
    return f"{' and '.join(asked.columns)} flattened to {how}"
