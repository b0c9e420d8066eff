"""One attempt to publish at a place: it locks, recovers, stages, lays its intent down, places data, and commits.

The order is the promise. Each step is durable before the next; the manifest under its key is the commit; what comes
after it cannot undo it. What is left of a failure is cleared as :mod:`penstock.publishing.recovery` decides, here or by
whoever comes next.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from penstock.errors import (
    Cancelled,
    Changed,
    DestinationExists,
    Exists,
    ExportError,
    IoError,
    Locked,
    NotDurable,
    Unconfirmed,
    Unknown,
)
from penstock.model.dataset import Dataset
from penstock.model.location import Location
from penstock.model.manifest import Manifest, PartEntry
from penstock.ports.backend import Backend, Expect, Expectation, Move, Staged, Stat, Upload
from penstock.ports.format import Buffer
from penstock.publishing.around import Stored, stored_part
from penstock.publishing.claim import Claim
from penstock.publishing.place import Place, is_ours, staged_name
from penstock.publishing.recovery import INTENT, SUMS, Found, Intent, decide, readable
from penstock.publishing.shapes import Run, Shape, are_sums

#: How often a step whose answer was lost is looked after and repeated.
_TURNS = 4
#: How many interrupts clearing up stands before it gives up.
_INTERRUPTS = 3
_LOOK = "verify it, and repeat the export if it is not there"
_APPEARED = "exists: it appeared or changed while the export was running"
_COMMITTED_FIRST = "the export was committed before it was interrupted"


class Taken:
    """An upload that is one of ``parts`` once it is finished."""

    def __init__(self, upload: Upload, parts: list[Staged]) -> None:
        self._upload = upload
        self._parts = parts

    def write(self, data: Buffer) -> None:
        self._upload.write(data)

    def finish(self) -> Staged:
        staged = self._upload.finish()
        self._parts.append(staged)
        return staged

    def abort(self) -> None:
        self._upload.abort()


class Attempt:
    """One attempt at a place, which it holds alone until ``close``; nothing is visible before :meth:`publish`.

    Raises :class:`~penstock.errors.Locked` if another holds the place. ``notes`` say what was cleared up.
    """

    def __init__(self, backend: Backend, shape: Shape) -> None:
        self.notes: list[str] = []
        self._backend = backend
        self._place = Place(backend)
        self._shape = shape
        #: The manifest that is to be replaced, as it was found, and the file of its name that is.
        self._old: tuple[bytes, Stat] | None = None
        self._data: Stat | None = None
        self._overwrite = False
        self._count = 0
        #: What the parts are staged as, in order.
        self._taken: list[Staged] = []
        self._size_hint: int | None = None
        self._intent: Intent | None = None
        #: Whether names may have been given; whether the manifest stands; whether it cannot be told or relied on.
        self._gave = self._committed = self._in_doubt = False
        #: Whether parts have keys; those of a stream have none.
        self._keyed = True
        self._cleared = self._closed = False
        backend.stat(shape.manifest)  # a name that leaves no room for its manifest's is told before anything is made
        self._lock = Claim.of(backend, shape) if backend.traits.apart and shape.single else backend.lock(shape.attempt)
        #: By what this attempt is told from others, where no lock keeps them out: then what they left may be in work.
        self._who = secrets.token_hex(6) if backend.traits.apart else None
        try:
            if self._who is None or shape.single:
                found = self._place.look(shape)
                self.notes += self._place.execute(found, decide(found))
        except BaseException:
            self._lock.release()
            raise

    def aim(self, shape: Shape, *, overwrite: bool = False, size_hint: int | None = None) -> None:
        """Settle what is to be published, and about how many bytes that will be at least.

        Raises :class:`~penstock.errors.DestinationExists` if something stands there and replacing it was not asked for,
        or if it is not ours to replace.
        """
        self._shape, self._size_hint, self._overwrite = shape, size_hint, overwrite
        if shape.rival is not None and any(self._backend.list(shape.rival[0])):
            raise DestinationExists(f"{self._backend.location} holds {shape.rival[1]}", hint="choose another directory")
        text, stat = self._place.read(shape.manifest)
        if self._who is not None:
            version = None if stat is None else stat.version
            self._shape = shape.apart(self._who, version)
            self.notes += self._place.clear_over(self._shape, version)
        self._data = None if shape.data is None else self._backend.stat(shape.data)
        taken = [there.key for there in (stat, self._data) if there is not None]
        if taken and not overwrite:
            hint = self.notes[-1] if self.notes else "choose another name, or replace it with --overwrite"
            raise DestinationExists(f"{self._place.where(taken[0])} exists", hint=hint)
        if text is not None and stat is not None:
            if not is_ours(text):
                raise self._foreign(shape.manifest, "exists and is not a manifest of Penstock's")
            self._old = text, stat
        if shape.sums is not None:
            sums, _ = self._place.read(shape.sums)
            if sums is not None and (text is None or not are_sums(sums)):
                raise self._foreign(shape.sums, "exists and is not of an export here")

    def _foreign(self, key: str, what: str) -> DestinationExists:
        return DestinationExists(f"{self._place.where(key)} {what}", hint="choose another place, or move it away")

    def stage(self, dataset: Dataset | None = None) -> Upload:
        """Begin the next part. Parts are published in the order in which they were finished. Raises
        :class:`~penstock.errors.NoSpace` when what is to come cannot fit."""
        return Taken(self.lay_down(), self._taken)

    def lay_down(self) -> Upload:
        """Begin to stage what is no part yet; :meth:`take` makes it one."""
        hint, self._size_hint = self._size_hint, None
        self._count += 1
        return self._backend.stage(self._shape.attempt, staged_name(self._count - 1), size_hint=hint)

    def elsewhere(self) -> tuple[Location, str]:
        """Where other processes stage for this attempt, and its name there."""
        return self._backend.location, self._shape.attempt

    def take(self, staged: Staged) -> None:
        """Let what was laid down, here or by another process, be the next part."""
        self._taken.append(staged)

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        """What is stored of a part that was staged."""
        return self.staged(self._taken[index])

    def staged(self, part: Staged) -> Stored:
        """What is stored of something that was laid down."""
        return stored_part(self._backend, part)

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        """The final name of a part."""
        return self._shape.part_name(index, entry, ending, folders)

    def roll_name(self) -> str:
        """The final name of a run's roll."""
        assert isinstance(self._shape, Run)
        return self._shape.roll

    def signed(self, manifest: Manifest) -> Manifest:
        """The manifest with what is to be said of this place: which attempt names its parts, and what is not kept there
        by the service itself."""
        traits, single = self._backend.traits, self._shape.single
        said: dict[str, object] = {**manifest.guarantees}
        if not traits.durable:
            said["durable"] = "assumed"
            self.notes.append(f"{self._backend.location} does not say that what it took outlives a power failure")
        if self._who is None:
            return replace(manifest, guarantees=said)
        decided = traits.put_absent and (traits.put_version or self._old is None or single)
        if single or not decided:
            said["one_writer"] = "claimed" if decided else "assumed"
        if not decided:
            self.notes.append(f"{self._backend.location} overwrites in silence: nothing decides between two writers")
        who = None if single else self._who
        return replace(manifest, attempt=who, guarantees=said)

    def publish(self, manifest: Manifest) -> None:
        """Give the staged parts the manifest's names, then the manifest its own: the commit.

        When this returns, the export is there and durable, also if it was interrupted after the commit. Raises
        :class:`~penstock.errors.DestinationExists` or :class:`~penstock.errors.Locked` if somebody else got there
        first, :class:`~penstock.errors.Unconfirmed` if it is there, or may be, and that is not certain or not durable;
        after any other error it is not there.
        """
        old, data = self._old, self._data
        self._keyed = self._shape.could_be(manifest)
        self._intent = Intent(
            manifest=manifest.to_bytes(),
            replaces=old is not None or data is not None,
            old=None if old is None else old[0],
            data=None if data is None else data.version,
            known=manifest,
        )
        try:
            if self._shape.sums is not None:
                self._lay_down(SUMS, manifest.sums())
            self._lay_down(INTENT, self._intent.to_bytes())
            self._withdraw()
            self._give_names(manifest)
            self._commit(self._intent.manifest)
        except (KeyboardInterrupt, Cancelled):
            if not self._stands_after_all(self._intent.manifest):
                raise
            self.notes.append(_COMMITTED_FIRST)
        except ExportError as error:
            raise self._failed(error, self._intent.manifest) from None
        self._committed = True
        try:
            self.close()
        except (KeyboardInterrupt, Cancelled):
            self.notes.append(_COMMITTED_FIRST)

    def _stands_after_all(self, text: bytes) -> bool:
        """Whether an attempt that was interrupted is committed: what was begun may have to be completed."""
        if not self._stands(text):
            self.close()
        return self._stands(text)

    def _failed(self, error: ExportError, text: bytes) -> ExportError:
        """Clear up after an error, and say what there is now."""
        if self._in_doubt:
            return error
        self.close()
        if self._stands(text):
            where = self._place.where(self._shape.manifest)
            what = f"{where} is published, but it may not outlive a power failure: {error.message}"
            return self._doubt(text, what, "check the disk and verify the export; if in doubt repeat it")
        if isinstance(error, NotDurable):
            return error.cause(f"nothing was published: {error.message}", hint="check the disk, then run it again")
        return error

    def _lay_down(self, name: str, text: bytes) -> None:
        upload = self._backend.stage(self._shape.attempt, name)
        try:
            upload.write(text)
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    def _withdraw(self) -> None:
        """One file's old manifest goes before its data, so that there is never a mixture."""
        if not self._shape.single or self._old is None:
            return
        _, stat = self._old
        for _ in range(_TURNS):
            try:
                self._backend.delete(stat.key, version=stat.version)
            except Unknown:
                continue
            break
        if self._backend.stat(stat.key) is not None:
            raise self._foreign(stat.key, _APPEARED)

    def _give_names(self, manifest: Manifest) -> None:
        # One file that was asked to be replaced goes, whatever it is by now; all else has to be free.
        expect = Expect.ANY if self._shape.single and self._overwrite else Expect.ABSENT
        moves = [
            Move(staged=self._taken[index], key=entry.name, expect=expect)
            for index, entry in enumerate(manifest.stored if self._keyed else ())
        ]
        entries = {entry.name: entry for entry in manifest.stored}
        self._gave = certain = True
        for _ in range(_TURNS):
            if not moves:
                return
            refused: ExportError | None = None
            try:
                self._backend.place(moves)
            except (Exists, Changed) as error:
                refused = error
                if self._shape.single and certain:
                    self._gave = False
                    raise
            except Unknown:
                certain = False
            else:
                return
            left = [move for move in moves if self._place.holds(entries[move.key]) is None]
            for move in left:
                there = self._backend.stat(move.key)
                if there is not None and move.expect is Expect.ABSENT:
                    raise self._foreign(move.key, _APPEARED)
            if refused is not None and left == moves:
                raise refused  # what is in the way is under no key
            moves = left
        raise IoError(f"cannot place {moves[0].key}: the answers were lost", hint="run it again")

    def _commit(self, text: bytes) -> None:
        """Put the manifest. Whatever is answered, what stands there then decides."""
        key = self._shape.manifest
        replaced = None if self._shape.single else self._old
        expect: Expectation = Expect.ABSENT if replaced is None else replaced[1].version
        for _ in range(_TURNS):
            try:
                self._backend.put(key, text, expect=expect, attempt=self._shape.attempt)
            except Cancelled:
                raise
            except ExportError as error:
                if self._happened(error, text, None if replaced is None else replaced[0]):
                    return
            else:
                return
        raise self._doubt(text, f"{self._place.where(key)} may be published: the answers were lost", _LOOK)

    def _happened(self, error: ExportError, text: bytes, before: bytes | None) -> bool:
        """After an error of the commit: whether it happened all the same. If not, and if that is no reason to try it
        again, raises what did."""
        key = self._shape.manifest
        where = self._place.where(key)
        try:
            there, _ = self._place.read(key)
        except ExportError as blind:
            what = f"{where} may be published, and cannot be read: {blind.message}"
            raise self._doubt(text, what, _LOOK) from None
        lost = isinstance(error, Unknown)
        if there == text:
            if lost or isinstance(error, (Exists, Changed)):
                return True
            what = f"{where} is published, but it may not outlive a power failure: {error.message}"
            raise self._doubt(text, what, "check the disk and verify the export; if in doubt repeat it") from None
        if there != before and (lost or isinstance(error, (Exists, Changed))):
            if readable(there) is None:
                raise self._foreign(key, _APPEARED)
            raise Locked(
                f"superseded: another process committed {where} first", hint="run it again to add what is left"
            )
        if not lost:
            raise error
        return False

    def _doubt(self, text: bytes, what: str, hint: str) -> Unconfirmed:
        """Nothing is cleared up after this: whoever comes next sees what came of it."""
        self._in_doubt = True
        return Unconfirmed(what, manifest=text, hint=hint)

    def _stands(self, text: bytes) -> bool:
        """Whether this is the committed manifest, durably."""
        key = self._shape.manifest
        try:
            if self._place.read(key)[0] != text:
                return False
            self._backend.settle([key])
        except ExportError as error:
            raise self._doubt(text, f"{self._place.where(key)} may be published: {error.message}", _LOOK) from None
        return True

    def close(self) -> None:
        """Drop what was not published and let others in. Safe to call twice; an interrupt waits until it is done."""
        interrupts: list[BaseException] = []
        while not self._closed and len(interrupts) < _INTERRUPTS:
            try:
                self._close()
            except (KeyboardInterrupt, Cancelled) as interrupt:
                interrupts.append(interrupt)
        if interrupts:
            raise interrupts[0]

    def _close(self) -> None:
        if not self._cleared:
            try:
                self._clear_up()
            except Cancelled:
                raise
            except ExportError:
                where = self._backend.location
                self.notes.append(f"leftovers at {where} are cleared by the next export there")
            self._cleared = True
        self._lock.release()
        self._closed = True

    def _clear_up(self) -> None:
        """Take back what a failure left, or end what comes after the commit."""
        if self._in_doubt:
            return
        found = Found(shape=self._shape, intent=self._intent, alive=True, gave=self._gave)
        if self._committed and self._intent is not None:
            found = replace(found, manifest=self._intent.manifest, intent=self._intent if self._keyed else None)
        else:
            found = self._place.look_after(found)
        self.notes += self._place.execute(found, decide(found))
        if self._committed and self._who is not None:
            stat = self._backend.stat(self._shape.manifest)
            if stat is not None:
                self.notes += self._place.clear_over(self._shape, stat.version)
