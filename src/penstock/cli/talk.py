"""What the command says: lines for people on standard error, or JSON lines for programs, and progress."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import click

from penstock.cli.stopping import stopping
from penstock.errors import ExportError
from penstock.ports.observer import Progress

if TYPE_CHECKING:
    from penstock.model.dataset import Dataset

#: Seconds between two progress lines where there is no terminal.
_QUIET_INTERVAL = 30.0
_CONTROL = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160)]}


def noun(dataset: Dataset) -> str:
    """What rows of a dataset are called."""
    return "events" if dataset.name == "events" else "rows"


class Talk:
    """One command's talk. ``machine`` gives JSON lines, the last one a ``summary``; ``quiet`` leaves out all but
    warnings and errors; ``out`` is where JSON lines go."""

    def __init__(
        self, *, machine: bool = False, quiet: bool = False, verbose: bool = False, data_on_stdout: bool
    ) -> None:
        self.machine = machine
        self.quiet = quiet
        self.verbose = verbose
        self._out: TextIO = sys.stderr if data_on_stdout else sys.stdout
        _current.append(self)

    def leave_stdout(self) -> None:
        """Talk on standard error alone: data goes to standard output."""
        self._out = sys.stderr

    def say(self, text: str) -> None:
        """A line for a person."""
        if not (self.quiet or self.machine):
            aside(clean(text))

    def detail(self, text: str) -> None:
        """A line for a person who asked for more."""
        if self.verbose:
            self.say(text)

    def warn(self, text: str) -> None:
        """A line that is shown even when quiet was asked for."""
        if self.machine:
            self.emit("warning", message=text)
        else:
            aside(f"note: {clean(text)}")

    def emit(self, kind: str, /, **fields: Any) -> None:
        """A JSON line, when those were asked for."""
        if self.machine:
            print(json.dumps({"v": 1, "type": kind, **fields}), file=self._out, flush=True)


def aside(text: str) -> None:
    """A line on standard error. That nobody reads it, or that it is full, ends no work and changes no exit code."""
    with suppress(OSError):
        click.echo(text, err=True)


#: The talks of this command, the newest last: a fatal error is told in the way of the command it ends.
_current: list[Talk] = []


def fatal(error: ExportError) -> None:
    """Say why the command ends: one line, and what to do about it."""
    talk = _current[-1] if _current else None
    if talk is not None and talk.machine:
        facts = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        with suppress(OSError):  # that nothing can be written may be the error
            talk.emit("error", **facts)
            talk.emit("summary", ok=False, exit_code=error.exit_code)
    hint = f"\n  hint: {clean(error.hint)}" if error.hint else ""
    aside(f"penstock: {clean(error.message)}{hint}")


def clean(text: str) -> str:
    """Text without control characters, so that no event and no file name can drive the terminal."""
    return text.translate(_CONTROL)


class Bar:
    """An observer: a bar on a terminal, one line in thirty seconds elsewhere, JSON lines for programs.

    It cancels nothing: the command is interrupted by signals.
    """

    cancelled = False

    def __init__(self, talk: Talk, label: str) -> None:
        self._talk = talk
        self._label = label
        self._began = self._told = time.monotonic()
        self._rich: Any = None
        self._task: Any = None
        if not (talk.machine or talk.quiet) and sys.stderr is not None and sys.stderr.isatty():
            from rich import progress as bars
            from rich.console import Console

            self._rich = bars.Progress(
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.TextColumn("{task.percentage:>3.0f}%  {task.fields[facts]}"),
                bars.TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=10,
            )
            self._task = self._rich.add_task(label, total=None, facts="")

    def progress(self, at: Progress, /) -> None:
        """Show how far it is, and know when it is done."""
        if at.committed:
            stopping.done()
        passed = max(time.monotonic() - self._began, 1e-9)
        if self._rich is not None:
            self._rich.update(self._task, completed=at.done, total=max(at.total, 1), facts=self._facts(at, passed))
            return
        now = time.monotonic()
        if now - self._told < (1.0 if self._talk.machine else _QUIET_INTERVAL):
            return
        self._told = now
        self._talk.emit("progress", **asdict(at), seconds=round(passed, 3))
        share = f"{100 * at.done // at.total} %, " if at.total else ""
        self._talk.say(f"{self._label}: {share}{self._facts(at, passed)}")

    def _facts(self, at: Progress, passed: float) -> str:
        counted = [f"{at.rows:,} rows ({at.rows / passed:,.0f}/s)"] if at.rows is not None else []
        handled = [f"{human(at.bytes)} ({human(at.bytes / passed)}/s)"] if at.bytes is not None else []
        return ", ".join(counted + handled)

    def end(self) -> None:
        """Take the bar away, so that lines can be written where it stood. Safe to call twice."""
        if self._rich is not None:
            self._rich.stop()

    def __enter__(self) -> Self:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def human(size: float) -> str:
    """Bytes for people: ``1.5 MB``, by powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
