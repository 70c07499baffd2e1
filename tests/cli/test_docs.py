"""`docs/cli.md` names every command, every option and every field of the JSON forms."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from gatehouse.cli import difference
from gatehouse.cli.main import COMMANDS
from gatehouse.store import views
from gatehouse.store.report import BY

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = {
    found[1]: found[2]
    for found in re.finditer(r"^## `gatehouse ([^`\n]+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand by its full name."""
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(module).command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", sub) for inner, sub in command.commands.items())
        else:
            yield name, command


def section(name: str) -> str:
    (found,) = (text for title, text in SECTIONS.items() if re.match(rf"{name}( [^a-z]|$| bash| last| --)", title))
    return found


@pytest.mark.parametrize("name", dict(commands()))
def test_every_command_and_option_is_documented(name: str) -> None:
    command = dict(commands())[name]
    text = section(name)
    tables = "\n".join(line for line in text.splitlines() if line.startswith("| `-"))
    options = {word for parameter in command.params for word in parameter.opts if isinstance(parameter, click.Option)}
    documented = set(re.findall(r"`(--?[a-z-]+)`", tables))
    assert options == documented, name
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice):
            for choice in parameter.type.choices:
                assert choice in text + name or choice in " ".join(SECTIONS), (name, choice)
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.name == "form", (name, parameter.name)


def test_no_section_without_a_command() -> None:
    assert len(SECTIONS) == len(dict(commands()))


@pytest.mark.parametrize(
    ("name", "struct"),
    [
        ("report", views.Report),
        ("report", views.ReportRow),
        ("report", views.Tokens),
        ("debug", views.Trace),
        ("debug", views.Span),
        ("debug", views.Position),
        ("debug", difference.Difference),
        ("debug", difference.Figure),
    ],
)
def test_every_field_of_the_json_forms_is_documented(name: str, struct: type[msgspec.Struct]) -> None:
    rows = [line for line in section(name).splitlines() if line.startswith("| `")]
    # The group's names take its place.
    fields = (*BY, *struct.__struct_fields__[1:]) if struct is views.ReportRow else struct.__struct_fields__
    for field in fields:
        assert any(f"`{field}`" in row for row in rows), field
