"""`gatehouse config validate | show | import`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from gatehouse.cli.options import Setup, config_option, data_option, set_up
from gatehouse.cli.terminal import echo_json
from gatehouse.config import certificates, load, schema
from gatehouse.config.importing import translate
from gatehouse.config.printable import clean
from gatehouse.config.settings import Settings

_USERINFO: Final = re.compile(r"://\S*@")


@click.group(name="config")
def command() -> None:
    """Check, show and import configuration."""


@command.command(name="validate")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@data_option
@config_option
@click.pass_obj
def validate(environ: Mapping[str, str], file: Path | None, data: str | None, config: Path | None) -> None:
    """Check FILE (else the file that `serve` would read) with the environment on top, and the certificates it names.

    Exit code 2 if it is wrong.
    """
    setup = set_up(environ, data, file or config)
    certificates.check(setup.settings)
    click.echo(f"valid: {_source(setup)}")


@command.command(name="show")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@data_option
@config_option
@click.pass_obj
def show(environ: Mapping[str, str], form: str, data: str | None, config: Path | None) -> None:
    """Print the settings in force, and where each that was set comes from. Passwords in URLs are masked."""
    setup = set_up(environ, data, config)
    plain = _masked(msgspec.to_builtins(setup.settings))
    origins = _origins(setup)
    if form == "json":
        file = setup.effective.file
        echo_json({"file": str(file) if file else None, "settings": plain, "origins": origins})
        return
    click.echo(f"# {_source(setup)}")
    for line in _yaml(plain, "", "", origins):
        click.echo(line)


@command.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write, which must not exist yet.")
def import_(file: Path, output: Path | None) -> None:
    """Translate an OngoingAI gateway's FILE (ongoingai.yaml). What cannot be translated is listed on stderr."""
    imported = translate(load.read_text(file), str(file))
    if output is None:
        click.echo(imported.text, nl=False)
    else:
        try:
            with output.open("x", encoding="utf-8") as written:
                written.write(imported.text)
        except OSError as error:
            raise click.ClickException(f"cannot write {clean(str(output))}: {error.strerror}") from error
    for note in imported.notes:
        click.echo(f"not carried over: {clean(str(note))}", err=True)


def _source(setup: Setup) -> str:
    file = setup.effective.file
    read = f"configuration from {clean(str(file))}" if file else "no configuration file"
    variables = {origin for origin in setup.effective.origins.values() if origin.startswith("GATEHOUSE_")}
    return read + (f", {len(variables)} from the environment" if variables else "")


def _origins(setup: Setup) -> dict[str, str]:
    """Of values only: a section's place is that of its keys."""
    known = {path: field for path, field in schema.walk(Settings) if field.shape in ("value", "list")}
    names = {schema.dotted(path) for path in known if "[]" not in path}
    return {
        key: origin
        for key, origin in setup.effective.origins.items()
        if key in names or re.sub(r"^providers\.[^.]+\.", f"providers.{schema.NAME}.", key) in names
    }


def _masked(value: Any) -> Any:
    match value:
        case dict():
            return {key: _masked(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_masked(inner) for inner in value]
        case str():
            return _USERINFO.sub("://***@", value)
        case _:
            return value


def _yaml(value: Mapping[str, Any], path: str, indent: str, origins: Mapping[str, str]) -> Iterator[str]:
    """Text is written as JSON writes it, which YAML reads alike; lists in flow form, an item a line."""
    for name, inner in value.items():
        key = f"{path}.{name}" if path else name
        label = f"{indent}{name if name.isidentifier() else json.dumps(name)}:"
        origin = f"  # {clean(origins[key])}" if key in origins else ""
        if isinstance(inner, dict) and inner:
            yield label + origin
            yield from _yaml(inner, key, indent + "  ", origins)
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            yield label + origin
            yield from (f"{indent}  - {json.dumps(item)}" for item in inner)
        else:
            yield f"{label} {json.dumps(inner)}{origin}"
