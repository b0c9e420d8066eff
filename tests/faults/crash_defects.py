"""Defects to plant in the commit protocol: each is a mistake that somebody could make, and that a sweep has to see.

They are wrong steps of an attempt and wrong rows of ``decide``; other files of defects have wrong backends, and what is
wrong in what is exported, read and checked. A defect is put in for one export at a time, in the child that runs it, and
taken out again afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from backend_defects import BACKEND_DEFECTS
from bounds_defects import BOUNDS_DEFECTS
from encoding_defects import ENCODING_DEFECTS
from flattening_defects import FLATTENING_DEFECTS
from lineage_defects import LINEAGE_DEFECTS
from reading_defects import READING_DEFECTS
from where_defects import WHERE_DEFECTS
from worker_defects import WORKER_DEFECTS

from penstock import wiring
from penstock.backends.local.backend import LocalBackend
from penstock.cli.stopping import Stopping
from penstock.errors import DestinationExists, ExportError, IoError, Unknown
from penstock.exporting import committing
from penstock.exporting import export as exporting_export
from penstock.exporting import incremental as exporting_incremental
from penstock.model.manifest import Manifest
from penstock.ports.backend import Expect
from penstock.publishing import attempt as attempts
from penstock.publishing import recovery
from penstock.publishing.attempt import Attempt
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.place import Place
from penstock.publishing.recovery import Action, Clear, Found, TakeBack, readable

Patches = list[tuple[Any, str, Any]]


def _no_intent() -> Patches:
    """The manifest is written when it is needed, and nothing lies there before the data takes its name."""
    return [(Attempt, "_lay_down", lambda self, name, text: None)]


def _intent_after_the_data() -> Patches:
    """The intent is staged when the data has its names."""
    lay_down, give = Attempt._lay_down, Attempt._give_names

    def give_names(self: Any, manifest: Manifest) -> None:
        give(self, manifest)
        lay_down(self, recovery.INTENT, self._intent.to_bytes())

    return [(Attempt, "_lay_down", lambda self, name, text: None), (Attempt, "_give_names", give_names)]


def _manifest_first() -> Patches:
    """The commit comes before the parts have their names."""
    give, commit = Attempt._give_names, Attempt._commit

    def commit_first(self: Any, text: bytes) -> None:
        commit(self, text)
        give(self, readable(text))

    return [(Attempt, "_give_names", lambda self, manifest: None), (Attempt, "_commit", commit_first)]


def _no_withdrawal() -> Patches:
    """The data of a file is exchanged under its old manifest."""

    def commit(self: Any, text: bytes) -> None:
        self._backend.put(self._shape.manifest, text, expect=Expect.ANY, attempt=self._shape.attempt)

    return [(Attempt, "_withdraw", lambda self: None), (Attempt, "_commit", commit)]


def _old_parts_first() -> Patches:
    """The old export's parts are removed before the new manifest takes over."""
    commit = Attempt._commit

    def late(self: Any, text: bytes) -> None:
        actions = recovery.after_commit(self._shape, self._intent)
        self._place.execute(
            Found(shape=self._shape, intent=self._intent), [one for one in actions if isinstance(one, TakeBack)]
        )
        commit(self, text)

    return [(Attempt, "_commit", late)]


def _decided(wrong: Callable[[Found], list[Action] | None]) -> Patches:
    """A row of the decision is another; where there is none, the true one holds."""
    real = attempts.decide

    def decide(found: Found) -> list[Action]:
        actions = wrong(found)
        return real(found) if actions is None else actions

    return [(attempts, "decide", decide)]


def _recovery_forgets() -> Patches:
    """Whoever comes next throws away what is staged and looks no further."""
    return _decided(lambda found: None if found.alive else [Clear()])


def _recovery_of_runs_forgets() -> Patches:
    """The same, for runs of a lineage alone."""
    return _decided(lambda found: [Clear()] if not found.alive and "runs/" in found.shape.manifest else None)


def _withdrawn_is_cleared() -> Patches:
    """A file whose manifest was withdrawn is taken for one that was never begun."""
    return _decided(lambda found: [Clear()] if not found.alive and found.shape.single and not found.manifest else None)


def _withdrawn_is_taken_back() -> Patches:
    """What stands under the name of a file that was to be replaced is taken for a new one, and removed."""

    def decide(found: Found) -> list[Action] | None:
        if found.intent is None or not found.intent.replaces or found.manifest is not None or not found.shape.single:
            return None
        manifest = readable(found.intent.manifest)
        assert manifest is not None
        return [*(TakeBack(entry) for entry in manifest.parts), Clear()]

    return _decided(decide)


def _other_hands_not_seen() -> Patches:
    """A file that others changed since the crash is taken for the one that was to go."""
    real = attempts.decide

    def decide(found: Found) -> list[Action]:
        other = found.data is recovery.Data.OTHER and found.staged
        return real(replace(found, data=recovery.Data.BEFORE) if other else found)

    def put_data(self: Any, found: Found) -> None:
        staged = self._staged(found.shape, "data-00000")
        self.backend.place([attempts.Move(staged=staged, key=found.shape.data, expect=Expect.ANY)])

    return [(attempts, "decide", decide), (Place, "_put_data", put_data)]


def _committed_is_cleaned_up() -> Patches:
    """An intent means that its export failed: the parts go, whether it was committed or not."""

    def decide(found: Found) -> list[Action] | None:
        if found.alive or found.intent is None or found.manifest != found.intent.manifest:
            return None
        manifest = readable(found.manifest)
        assert manifest is not None
        return [*(TakeBack(entry) for entry in manifest.parts), Clear()]

    return _decided(decide)


def _kept_parts_are_taken_back() -> Patches:
    """What a failed replacement names goes, although the old export names it too."""

    def decide(found: Found) -> list[Action] | None:
        if found.intent is None or found.manifest in (None, found.intent.manifest) or found.shape.single:
            return None
        manifest = readable(found.intent.manifest)
        assert manifest is not None
        return [*(TakeBack(entry) for entry in manifest.parts), Clear()]

    return _decided(decide)


def _sums_forgotten() -> Patches:
    """What comes after the commit is left to nobody."""
    return _decided(
        lambda found: [Clear()] if found.intent is not None and found.manifest == found.intent.manifest else None
    )


def _intent_cleared_first() -> Patches:
    """The intent goes before what it explains."""
    real = Place.execute

    def execute(self: Any, found: Found, actions: Any) -> Any:
        if any(isinstance(one, Clear) for one in actions):
            for staged in list(self.backend.staged(found.shape.attempt)):
                if staged.name == recovery.INTENT:
                    self.backend.drop(staged)
        return real(self, found, actions)

    return [(Place, "execute", execute)]


def _digest_not_looked_at() -> Patches:
    """What has a part's name is taken for that part."""
    return [(Place, "holds", lambda self, entry: self.backend.stat(entry.name))]


def _recovery_sweeps_all() -> Patches:
    """Whatever no manifest names is taken for a leftover."""
    real = Attempt.__init__

    def begin(self: Any, backend: Any, shape: Any) -> None:
        real(self, backend, shape)
        committed = readable(self._place.read(shape.manifest)[0])
        named = {entry.name for entry in committed.parts} if committed is not None else set()
        for stat in list(backend.list("data/")):
            if stat.key not in named:
                backend.delete(stat.key)

    return [(Attempt, "__init__", begin)]


def _retention_by_age() -> Patches:
    """Of the data only what is in the last key stays."""
    real = Attempt.__init__

    def begin(self: Any, backend: Any, shape: Any) -> None:
        real(self, backend, shape)
        for stat in [one for one in backend.list("data/") if "run-" in one.key][:-1]:
            backend.delete(stat.key)

    return [(Attempt, "__init__", begin)]


def _lost_answer_is_a_failure() -> Patches:
    """A commit whose answer was lost is taken for one that did not happen."""
    real = Attempt._happened

    def happened(self: Any, error: ExportError, text: bytes, before: bytes | None) -> bool:
        if isinstance(error, Unknown):
            raise error
        return real(self, error, text, before)

    return [(Attempt, "_happened", happened)]


def _lost_answer_is_a_success() -> Patches:
    """A commit whose answer was lost is taken for one that happened."""
    real = Attempt._happened

    def happened(self: Any, error: ExportError, text: bytes, before: bytes | None) -> bool:
        return isinstance(error, Unknown) or real(self, error, text, before)

    return [(Attempt, "_happened", happened)]


def _undurable_commit_acknowledged() -> Patches:
    """A commit that may not outlive a power failure is reported as a success."""
    real = Attempt._happened

    def happened(self: Any, error: ExportError, text: bytes, before: bytes | None) -> bool:
        return self._place.read(self._shape.manifest)[0] == text or real(self, error, text, before)

    return [(Attempt, "_happened", happened)]


def _interrupt_after_the_commit_is_an_interrupt() -> Patches:
    """Who is interrupted when the manifest stands says that nothing was left."""
    return [(Attempt, "_stands_after_all", lambda self, text: False)]


def _strangers_file_replaced() -> Patches:
    """Whatever has the name that a manifest is to have goes, if replacing was asked for."""
    return [(attempts, "is_ours", lambda text: True)]


def _sums_of_another_taken() -> Patches:
    """Whoever's sums lie where those of an export belong, they are replaced."""
    aim, put_sums = Attempt.aim, Place._put_sums

    def blind(self: Any, shape: Any, **more: Any) -> None:
        with suppress(DestinationExists):
            aim(self, shape, **more)

    def put(self: Any, shape: Any, manifest: Manifest, old: bytes | None) -> list[str]:
        self.backend.put(shape.sums, manifest.sums(), expect=Expect.ANY, attempt=shape.attempt)
        return put_sums(self, shape, manifest, old)

    return [(Attempt, "aim", blind), (Place, "_put_sums", put)]


def _store_replaced() -> Patches:
    """A destination that is the store is a destination like another."""
    return [(wiring, "keep_apart", lambda *given, **more: None)]


def _unconfirmed_as_failed() -> Patches:
    """A commit that may have happened is told by the error that came in its way."""
    return [(Attempt, "_doubt", lambda self, text, what, hint: IoError(what, hint=hint))]


def _commit_cut_in_two() -> Patches:
    """A signal is acted on wherever it comes."""
    return [(room, "uninterrupted", nullcontext) for room in (committing, exporting_export, exporting_incremental)]


def _clearing_up_cut_short() -> Patches:
    """Each signal ends what is being done, the clearing up after the first one too."""
    real = Stopping._stop

    def stop(self: Any, *given: Any) -> None:
        self._came = False
        real(self, *given)

    return [(Stopping, "_stop", stop), *_commit_cut_in_two()]


def _late_signal_denies_the_commit() -> Patches:
    return [(Stopping, "done", lambda self: None)]


def _empty_run_not_committed() -> Patches:
    real = Attempt.publish

    def publish(self: Any, manifest: Manifest) -> None:
        if manifest.parts:
            real(self, manifest)

    return [(Attempt, "publish", publish)]


def _sums_of_the_plan() -> Patches:
    """The sums have the digests of what was to be stored, not of what is stored."""

    def sums(self: Any, gone: Any = ()) -> bytes:
        return b"".join(f"{entry.content_sha256}  {entry.name}\n".encode() for entry in self.parts)

    return [(Manifest, "sums", sums)]


def _destination_made_anew() -> Patches:
    """The path of a directory is taken, and the destination that was given forgotten."""
    return [(ExportDestination, "lineage", lambda self: LineageDestination(LocalBackend(self.path)))]


def _any_sums_excused() -> Patches:
    """Sums of runs that are not there tell of nothing."""
    return [(LineageDestination, "_sums", lambda self: {})]


def _missing_sums_never_written() -> Patches:
    """Sums that a crash left out are left out for good."""
    return [(LineageDestination, "_complete_sums", lambda self, numbers: [])]


def _failure_leaves_all() -> Patches:
    """After a failure the lock is given up, and nothing else is done."""
    real = Attempt._clear_up

    def clear_up(self: Any) -> None:
        if self._committed:
            real(self)

    return [(Attempt, "_clear_up", clear_up)]


DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _no_intent,
        _intent_after_the_data,
        _manifest_first,
        _no_withdrawal,
        _old_parts_first,
        _recovery_forgets,
        _recovery_of_runs_forgets,
        _withdrawn_is_cleared,
        _withdrawn_is_taken_back,
        _other_hands_not_seen,
        _committed_is_cleaned_up,
        _kept_parts_are_taken_back,
        _sums_forgotten,
        _intent_cleared_first,
        _digest_not_looked_at,
        _recovery_sweeps_all,
        _retention_by_age,
        _lost_answer_is_a_failure,
        _lost_answer_is_a_success,
        _undurable_commit_acknowledged,
        _interrupt_after_the_commit_is_an_interrupt,
        _strangers_file_replaced,
        _sums_of_another_taken,
        _store_replaced,
        _unconfirmed_as_failed,
        _commit_cut_in_two,
        _clearing_up_cut_short,
        _late_signal_denies_the_commit,
        _empty_run_not_committed,
        _sums_of_the_plan,
        _any_sums_excused,
        _destination_made_anew,
        _missing_sums_never_written,
        _failure_leaves_all,
    )
}
DEFECTS |= BACKEND_DEFECTS | READING_DEFECTS | BOUNDS_DEFECTS | ENCODING_DEFECTS | WORKER_DEFECTS
DEFECTS |= LINEAGE_DEFECTS | FLATTENING_DEFECTS | WHERE_DEFECTS


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The defect of this name is in the protocol as long as the block runs; none if there is no name."""
    with ExitStack() as patches:
        for owner, attribute, replacement in DEFECTS[name]() if name is not None else ():
            patches.enter_context(patch.object(owner, attribute, replacement))
        yield
