"""What the API answers, as a table, as one thing's fields, or as JSON.

Rules: text is made safe for the terminal; JSON says exactly what the API said, in an object with its version `v`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatehouse.cli.terminal import PIPED_WIDTH, echo_json
from gatehouse.config.printable import clean

VERSION: Final = 1
"""Of the JSON forms."""
UNSET: Final = "–"

_Command = TypeVar("_Command", bound=Callable[..., Any])
Shown = Mapping[str, Callable[[Mapping[str, Any]], Any]]
"""Heading → what of an item stands below it."""


def format_option(command: _Command) -> _Command:
    """`--format table|json`."""
    return click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)(
        command
    )


def echo_list(form: str, items: Sequence[Mapping[str, Any]], shown: Shown, none: str) -> None:
    """A list. `none`: what to say, on stderr, where there is nothing."""
    if form == "json":
        echo_json({"v": VERSION, "items": list(items)})
    elif not items:
        click.echo(none, err=True)
    else:
        found = Table(box=box.SIMPLE, pad_edge=False)
        for heading in shown:
            found.add_column(heading, overflow="fold")
        for item in items:
            found.add_row(*(Text(word(of(item))) for of in shown.values()))
        console().print(found)


def echo_item(form: str, item: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> None:
    """One thing, field by field. `told`: what a table shows instead."""
    if form == "json":
        echo_json({"v": VERSION, **item})
        return
    lines = item if told is None else told
    width = max(map(len, lines), default=0)
    for name, value in lines.items():
        click.echo(f"{clean(name):<{width}}  {word(value)}")


def word(value: Any) -> str:
    """A value in a cell."""
    if value is None or value in ("", [], {}):
        return UNSET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(word(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}={word(inner)}" for name, inner in value.items())
    return clean(str(value))


def moment(value: str | None) -> str | None:
    """A time of the API, to the second."""
    return None if value is None else f"{value[:10]} {value[11:19]}"


def console() -> Console:
    """As wide as the terminal; where nobody looks, wide enough for words not to be cut."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
