"""How a client proves who it is, and whom it trusts: references to secrets, which are looked up for each connection."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.errors import AccessDenied, UsageError

_PREFIX = "PENSTOCK_SFTP_"
_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """Where a secret is kept: a variable of the environment, a file, or a command that prints it. At most one."""

    variable: str | None = None
    file: str | None = None
    command: str | None = None

    def look_up(self) -> str | None:
        """The secret, without the line's end; ``None`` if there is none. Raises
        :class:`~penstock.errors.AccessDenied`, and repeats nothing of it."""
        if self.variable is not None:
            return os.environ.get(self.variable)
        if self.file is not None:
            try:
                return Path(self.file).read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise AccessDenied(f"cannot read a secret from {self.file}: {type(error).__name__}") from None
        return None if self.command is None else _printed(self.command)


def _printed(command: str) -> str:
    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603  # the user's own command, without a shell
            words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=True, text=True
        )
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        name = command.split(maxsplit=1)[0] if command.split() else ""
        raise AccessDenied(f"the command {name} printed no secret: {type(error).__name__}") from None
    return done.stdout.rstrip("\r\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A private key's file, its passphrase, a password, and the file of trusted hosts. What is left out is what ``ssh``
    would take: the agent, the user's keys, and ``~/.ssh/known_hosts``."""

    key: str | None = None
    passphrase: Secret = field(default_factory=Secret)
    password: Secret = field(default_factory=Secret)
    known_hosts: str = field(default_factory=lambda: str(Path("~/.ssh/known_hosts").expanduser()))


def access_from(environment: Mapping[str, str]) -> Access:
    """What the variables ``PENSTOCK_SFTP_…`` say. Raises :class:`~penstock.errors.UsageError` for two places of one
    secret."""
    known = environment.get(f"{_PREFIX}KNOWN_HOSTS")
    given = Access(
        key=environment.get(f"{_PREFIX}KEY"),
        passphrase=_secret(environment, "PASSPHRASE"),
        password=_secret(environment, "PASSWORD"),
    )
    return (
        given
        if known is None
        else Access(key=given.key, passphrase=given.passphrase, password=given.password, known_hosts=known)
    )


def _secret(environment: Mapping[str, str], what: str) -> Secret:
    name = f"{_PREFIX}{what}"
    found = [one for one in (name, f"{name}_FILE", f"{name}_COMMAND") if one in environment]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found)} are both set", hint="leave one of them")
    return Secret(
        variable=name if name in environment else None,
        file=environment.get(f"{name}_FILE"),
        command=environment.get(f"{name}_COMMAND"),
    )
