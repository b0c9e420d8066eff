"""The command. Each verb is a file that parses, calls one public function and renders; this file finds the verb, and
turns errors into one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import click

from penstock.cli.stopping import stopping
from penstock.errors import Cancelled, ExportError, ReaderGone, UsageError
from penstock.model.version import VERSION

#: Verb, module and one line of help; the module is loaded when its verb is used.
VERBS = {
    "demo": ("penstock.cli.demo", "Make a small real store, export it in every format, verify, and show what to try."),
    "ingest": ("penstock.cli.ingest", "Load event files into a store."),
    "inspect": ("penstock.cli.inspect", "Show what a store holds: counts, time span, sizes, events over time."),
    "export": (
        "penstock.cli.export",
        "Write events or a table to a file, a directory or standard output, with a manifest.",
    ),
    "resume": ("penstock.cli.resume", "Continue a lineage with its own settings, after a crash or at any time."),
    "verify": ("penstock.cli.verify", "Check an export against its manifest, to the last byte and event."),
    "repair": ("penstock.cli.repair", "Make missing and damaged parts of a lineage again from its store."),
    "restore": ("penstock.cli.restore", "Put the events of an export back into a store."),
    "diff": ("penstock.cli.diff", "Name the events or rows that two exports, or an export and a store, do not share."),
    "gaps": ("penstock.cli.gaps", "List what is missing from a lineage, or looks as if it were."),
    "config": ("penstock.cli.config", "Show what penstock.toml says of exports, and what it may say."),
    "doctor": ("penstock.cli.doctor", "Check this installation, and a store, for what could go wrong."),
}


@contextmanager
def _readers() -> Iterator[None]:
    """What is written has readers. Click would leave with 1 where it has none."""
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone("the reader went away") from None


class Verbs(click.Group):
    """A group whose commands are imported one by one, when asked for."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        with _readers():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _readers():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(VERBS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from difflib import get_close_matches

        if args and not args[0].startswith("-") and args[0] not in VERBS:
            near = get_close_matches(args[0], VERBS, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"there is no command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Verbs,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "auto_envvar_prefix": "PENSTOCK",
    },
    epilog="Exit codes: 0 done, 1 a bug, 2 usage, 3 partial, 4 verification failed, 5 try again later, 6 not found, "
    "7 refused, 8 a limit was reached, 9 empty, 11 locked, 130 or 143 cancelled, 141 the reader went away.",
)
@click.version_option(VERSION, prog_name="penstock", message="%(prog)s %(version)s")
def root() -> None:
    """Events and tables out of the SQLite file your application writes to: typed, filtered, verified, in any format.

    Data goes to standard output, talk to standard error. Start with: penstock demo
    """


class _Unneeded:
    """Hides from Arrow what it imports where it is installed, to see whether a list is one of theirs: a quarter of a
    second and 60 MiB. The command does without them."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name in ("dateutil", "numpy", "pandas"):
            raise ModuleNotFoundError(f"the command does without {name}", name=name)


def main() -> None:
    """Entry point of the ``penstock`` command.

    Everything is closed and flushed when ``run`` returns. The interpreter is not wound down: Arrow's threads may still
    be ending then, and have been seen to abort a process whose work was done.
    """
    sys.meta_path.insert(0, _Unneeded())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # nothing at all if it was closed before the start
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code. Never raises, never shows a traceback for bad input."""
    stopping.arm()
    try:
        outcome: Any = root.main(arguments, prog_name="penstock", standalone_mode=False)
        _flush()
        return outcome if isinstance(outcome, int) else 0
    except ReaderGone as gone:
        _discard_output()
        return gone.exit_code
    except BrokenPipeError:
        _discard_output()
        return ReaderGone.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        if "--json" in arguments:
            _summarize(error.format_message(), data_on_stdout="-" in arguments)
        error.show()
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _tell(Cancelled("cancelled; nothing half-written was left behind"))
    except ExportError as error:
        return _tell(error)
    except OSError as error:
        from penstock.errors import from_os_error

        return _tell(from_os_error(error, str(error.filename or "the operating system")))
    except MemoryError:
        sized = arguments[:1] in (["export"], ["resume"])
        return _tell(
            ExportError("out of memory", hint="lower --memory-limit" if sized else "give the process more memory")
        )


def _tell(error: ExportError) -> int:
    from penstock.cli.talk import fatal

    fatal(error)
    return error.exit_code


def _summarize(message: str, *, data_on_stdout: bool) -> None:
    """A program that asked for JSON lines gets them also where the command line could not be read."""
    from penstock.cli.talk import Talk

    talk = Talk(machine=True, data_on_stdout=data_on_stdout)
    talk.emit("error", message=message, hint=None, exit_code=UsageError.exit_code)
    talk.emit("summary", ok=False, exit_code=UsageError.exit_code)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard_output() -> None:
    """Nobody reads standard output any more: let what is buffered vanish without a complaint at exit."""
    import os

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
