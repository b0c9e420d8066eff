"""``penstock config``: what settings files say, and what they may say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from penstock.cli.choices import talk_options
from penstock.cli.export import command as export
from penstock.cli.settings import Setting, keys_of, option_name, origin, settled
from penstock.cli.talk import Talk, clean

#: What stands for STORE and DEST where no export is named.
_ANY = ["STORE", "DEST"]


@click.group("config", epilog="Example:\n\n  penstock config show daily --origin")
def command() -> None:
    """Show what penstock.toml and the environment say of exports."""


@command.command("show", epilog="Example:\n\n  penstock config show daily --origin")
@click.argument("name", required=False)
@click.option("--config", metavar="FILE", envvar="PENSTOCK_CONFIG", help="Read this file; by default ./penstock.toml.")
@click.option("--origin", "origins", is_flag=True, help="Say of every value, defaults among them, where it comes from.")
@talk_options
@click.pass_context
def show(
    ctx: click.Context, name: str | None, config: str | None, origins: bool, machine: bool, quiet: bool, verbose: bool
) -> None:
    """Print the settings of every export, or of the one called NAME, as the file would say them."""
    talk = Talk(machine=machine, quiet=quiet, verbose=verbose, data_on_stdout=False)
    named = ["--config", config] if config is not None else []
    with export.make_context("export", [*named, *([name] if name is not None else _ANY)], parent=ctx.find_root()) as of:
        settings = settled(of.obj)
        said = settings.defaults if name is None else settings.export(name)
        for key, value, where in _values(of, said):
            if where == "default" and not origins:
                continue
            talk.emit("setting", key=key, value=value, origin=where)
            if not machine:
                told = f"{key} = {json.dumps(value, ensure_ascii=False)}"
                click.echo(clean(f"{told}  # {where}" if origins else told))
    talk.emit("summary", ok=True, exit_code=0, files=[str(path) for path in settings.files])


def _values(ctx: click.Context, said: Mapping[str, Setting]) -> Iterator[tuple[str, Any, str]]:
    for end in ("store", "to"):
        if end in said:
            yield end, said[end].value, str(said[end].origin)
    known = keys_of(export)
    for option in export.params:
        if isinstance(option, click.Option) and option_name(option) in known:
            value = ctx.params[str(option.name)]
            if value not in (None, ()):
                yield option_name(option), list(value) if isinstance(value, tuple) else value, origin(ctx, option, said)


_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "flag": {"type": "boolean"},
    "number": {"type": "number"},
    "text": _TEXT,
    "list": {"anyOf": [_TEXT, _TEXTS]},
    "named": {"anyOf": [_TEXT, _TEXTS, {"type": "object", "additionalProperties": _TEXT}]},
}


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of penstock.toml, for editors and checks."""
    told = {option_name(one): one.help for one in export.params if isinstance(one, click.Option)}
    keys = {
        key: {**_SCHEMAS[kind], **({"description": told[key]} if told.get(key) else {})}
        for key, kind in keys_of(export).items()
    }
    defaults = {key: one for key, one in keys.items() if key not in ("store", "to")}
    click.echo(
        json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "penstock.toml",
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "export": _object(defaults),
                    "exports": {"type": "object", "additionalProperties": _object(keys)},
                    "mappings": {
                        "type": "object",
                        "additionalProperties": {"type": "object", "additionalProperties": _TEXT},
                    },
                },
            },
            indent=2,
        )
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}
