"""Settings files: ``penstock.toml`` in the working directory or where ``--config`` says, and the user's own.

What may stand in one follows from the options of ``penstock export``: a key is an option's long name, and its value
what the option takes. Options win over the environment, that over the project's file, and that over the user's.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from click.core import ParameterSource

from penstock.errors import ExportError, InvalidMapping, UsageError, from_os_error
from penstock.model.nearest import listed, nearest
from penstock.model.table_url import DATABASES

NAME = "penstock.toml"
PREFIX = "PENSTOCK"
#: What names where to read and where to write; paths, and so are the options beside them.
_ENDS = ("store", "to")
_PATHS = ("store", "query-file", "manifest")
_LEFT_OUT = ("config", "dry-run", "help")
#: Options that name columns, and what stands between column and word.
_NAMED = {"map": "=", "rename": "=", "types": ":"}
#: Options that take names with commas between.
_LISTS = ("columns", "key", "flatten", "flatten-schema")
_TABLES = ("export", "exports", "mappings")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, and the file that says it."""

    value: Any
    origin: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """What the files say: ``defaults`` of every export, ``exports`` by their names, ``mappings`` by theirs. ``files``
    are those that were there, the one that wins first; ``looked`` is where a project's file was looked for."""

    files: tuple[Path, ...] = ()
    looked: Path = Path(NAME)
    defaults: Mapping[str, Setting] = field(default_factory=dict)
    exports: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    mappings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def export(self, name: str) -> Mapping[str, Setting]:
        """What is said of an export, defaults among it. Raises :class:`~penstock.errors.UsageError`."""
        if name not in self.exports:
            there = f"{self.files[0]} has no export {name!r}" if self.files else f"there is no {self.looked}"
            known = f"its exports are {listed(list(self.exports))}" if self.exports else ""
            raise UsageError(
                f"DEST is missing, and {there}",
                hint=nearest(name, self.exports) + known
                or f"write penstock export {name} DEST, or [exports.{name}] with store and to into {NAME}",
            )
        said = {**self.defaults, **self.exports[name]}
        for end in _ENDS:
            if end not in said or not said[end].value:
                raise UsageError(f"exports.{name} does not say {end}", hint=f'add to it: {end} = "{_EXAMPLES[end]}"')
        return said

    def mapped(self, given: Sequence[str]) -> tuple[str, ...]:
        """Mappings as ``--map`` takes them: a name alone is one of the files'."""
        return tuple(piece for text in given for piece in self._pieces(text))

    def _pieces(self, text: str) -> Iterator[str]:
        if "=" not in text and self.mappings and text not in self.mappings:
            raise InvalidMapping(
                f"no mapping is called {text!r}",
                hint=nearest(text, self.mappings)
                + f"mappings are {listed(list(self.mappings))}; or write FIELD=NAME, as timestamp=created_at",
            )
        if "=" in text or text not in self.mappings:
            yield text
        else:
            yield from (f"{name}={value}" for name, value in self.mappings[text].items())


_EXAMPLES = {"store": "app.db", "to": "archive/"}


def settings_of(given: str | None, command: click.Command) -> Settings:
    """The settings in the file that was named, or in the working directory, and in the user's. Raises
    :class:`~penstock.errors.UsageError` for what a file may not say, and as reading a file does."""
    project = Path(NAME if given is None else given)
    kinds = keys_of(command)
    found: list[tuple[Path, Mapping[str, Any]]] = []
    for path, needed in ((project, given is not None), (_users_own(), False)):
        text = _text(path, needed=needed)
        if text is not None:
            found.append((path, _read(path, text, kinds)))
    defaults: dict[str, Setting] = {}
    exports: dict[str, dict[str, Setting]] = {}
    mappings: dict[str, Mapping[str, str]] = {}
    for path, said in reversed(found):
        defaults |= _settings(path, said.get("export", {}))
        exports |= {name: _settings(path, one) for name, one in said.get("exports", {}).items()}
        mappings |= said.get("mappings", {})
    files = tuple(path for path, _ in found)
    return Settings(files=files, looked=project, defaults=defaults, exports=exports, mappings=mappings)


def _users_own() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "penstock" / NAME


def _text(path: Path, *, needed: bool) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if needed:
            raise from_os_error(error, f"cannot read {path}") from None
        return None
    except OSError as error:
        raise from_os_error(error, f"cannot read {path}") from None
    except ValueError:
        raise UsageError(f"{path} is not UTF-8, or has no name of a file", hint="give a file of TOML") from None


def _read(path: Path, text: str, kinds: Mapping[str, str]) -> Mapping[str, Any]:
    import tomllib  # loaded where there is a file

    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}", hint="see docs/configuration.md for an example") from None
    _check_known(path, "it", said, _TABLES)
    tables = [("export", said.get("export", {}))]
    for kind in ("exports", "mappings"):
        named = _table(path, kind, said.get(kind, {}))
        tables += [(f"{kind}.{name}", one) for name, one in named.items()]
    for name, table in tables:
        _table(path, name, table)
        if name.startswith("mappings."):
            _check_texts(path, name, table)
            continue
        _check_known(path, name, table, [key for key in kinds if name != "export" or key not in _ENDS])
        for key, value in table.items():
            if not _fits(key, kinds[key], value):
                moment = isinstance(value, (datetime.date, datetime.time))  # a datetime is a date
                raise UsageError(
                    f"{path}: {name}.{key} is {value if moment else repr(value)}",
                    hint=f"it has to be {_WORDS[kinds[key]]}, as in the option"
                    + (f': write it in quotes, {key} = "{value}"' if moment else ""),
                )
    return said


def _table(path: Path, name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {name} is no table", hint=f"write [{name}], and below it KEY = VALUE")
    return value


def _check_texts(path: Path, name: str, table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if not isinstance(value, str):
            raise UsageError(f"{path}: {name}.{key} is {value!r}", hint='it has to be a text, as "created_at:ms"')


def _check_known(path: Path, name: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(
                f"{path}: {name} has no key {key!r}",
                hint=nearest(key, known) + f"it may have {listed(known)}",
            )


_WORDS = {
    "flag": "true or false",
    "number": "a number",
    "text": "a text",
    "list": "a text, or a list of texts",
    "named": "a text, a list of texts, or a table of texts",
}


def keys_of(command: click.Command) -> dict[str, str]:
    """What may be said of an export: the names of options, and of what kind each value is."""
    kinds = {"store": "text", "to": "list"}
    for option in command.params:
        if isinstance(option, click.Option) and (name := option_name(option)) not in _LEFT_OUT:
            kinds[name] = _kind(name, option)
    return kinds


def option_name(option: click.Parameter) -> str:
    """The long name of an option."""
    return next(name for name in option.opts if name.startswith("--")).removeprefix("--")


def _kind(name: str, option: click.Option) -> str:
    if option.is_flag:
        return "flag"
    if isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)):
        return "number"
    if name in _NAMED:
        return "named"
    return "list" if option.multiple or name in _LISTS else "text"


def _fits(key: str, kind: str, value: Any) -> bool:
    match value:
        case bool():
            return kind == "flag"
        case int() | float():
            return kind == "number"
        case str():
            return kind in ("text", "list", "named")
        case list():
            return kind in ("list", "named") and all(isinstance(one, str) for one in value)
        case dict():
            return kind == "named" and all(isinstance(one, str) for one in value.values())
    return False


def _settings(path: Path, table: Mapping[str, Any]) -> dict[str, Setting]:
    return {key: Setting(_as_option(path, key, value), path) for key, value in table.items()}


def _as_option(path: Path, key: str, value: Any) -> Any:
    """A value as its option takes it. A path is one from where the file lies."""
    if key == "to":
        return [_beside(path, one) for one in ([value] if isinstance(value, str) else value)]
    if key in _PATHS:
        return _beside(path, value)
    if isinstance(value, dict):
        return [f"{name}{_NAMED[key]}{word}" for name, word in value.items()]
    if key in _LISTS and isinstance(value, list):
        return ",".join(value)
    return [value] if key in _NAMED and isinstance(value, str) else value


def _beside(path: Path, value: str) -> str:
    """A path from where the file lies, also that of a database; with the slash at its end, which says what it is."""
    scheme, mark, file = value.partition(":///")
    if mark and DATABASES.get(scheme) == () and not file.startswith("/") and path.parent != Path():
        return f"{scheme}:///{quote(str(path.parent))}/{file}"
    if value == "-" or "://" in value:
        return value
    return os.path.join("" if path.parent == Path() else path.parent, os.path.expanduser(value))


class ConfiguredCommand(click.Command):
    """A command whose options may be said by settings files. An export that is named there stands for STORE and DEST.
    ``ctx.obj`` has the settings, or the error that the command is to raise once it knows how to talk."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        store, dests = _plain(given.get("store")), given.get("dests")
        named = store if not (isinstance(dests, (list, tuple)) and dests) else None
        said: Mapping[str, Setting] = {}
        try:
            ctx.obj = settings = settings_of(_plain(given.get("config")) or os.environ.get(f"{PREFIX}_CONFIG"), self)
            said = settings.export(named) if named is not None else settings.defaults
        except ExportError as error:
            ctx.obj = error
        options = {option_name(each): each for each in self.params if isinstance(each, click.Option)}
        ctx.default_map = {
            str(options[key].name): [one.value] if options[key].multiple and isinstance(one.value, str) else one.value
            for key, one in said.items()
            if key in options
        }
        return super().parse_args(ctx, args)


def _plain(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def settled(found: Settings | ExportError) -> Settings:
    """The settings; raises the error if there is one."""
    if isinstance(found, ExportError):
        raise found
    return found


def origin(ctx: click.Context, option: click.Parameter, said: Mapping[str, Setting]) -> str:
    """Where the value of an option comes from: ``option``, a variable of the environment, a file, or ``default``."""
    match ctx.get_parameter_source(str(option.name)):
        case ParameterSource.COMMANDLINE:
            return "option"
        case ParameterSource.ENVIRONMENT:
            return f"{PREFIX}_EXPORT_{str(option.name).upper()}"
        case ParameterSource.DEFAULT_MAP:
            return str(said[option_name(option)].origin)
    return "default"
