"""What the API answers, as a table, as one thing's fields, or as JSON.

Rules: text is made safe for the terminal; JSON says exactly what the API said, in an object with its version `v`. A
table is for people: what programs read is JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatehouse.cli.terminal import PIPED_WIDTH, echo_json
from gatehouse.config.printable import clean

VERSION: Final = 1
"""Of the JSON forms."""
UNSET: Final = "–"
_WHOLE: Final = 44
"""Up to so many characters, what stands in a cell is not folded: ids and keys are copied from here. In a terminal that
is too narrow, columns that say nothing are left out, and if need be lines go on in the next one."""
_LEAST: Final = 24
"""Characters that longer text gets at least."""
_BETWEEN: Final = 3
"""Columns of the screen that go with each of a table."""

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
        screen = console()
        columns = {heading: [word(of(item)) for item in items] for heading, of in shown.items()}
        if _needs(columns) > screen.width:
            columns = {heading: cells for heading, cells in columns.items() if set(cells) != {UNSET}}
        found = Table(box=box.SIMPLE, pad_edge=False)
        for heading, cells in columns.items():
            found.add_column(heading, overflow="fold", no_wrap=_widest(heading, cells) <= _WHOLE)
        for row in zip(*columns.values(), strict=True):
            found.add_row(*map(Text, row))
        screen.width = max(screen.width, _needs(columns))
        screen.print(found, soft_wrap=True)


def _needs(columns: Mapping[str, Sequence[str]]) -> int:
    """How wide a table is in which nothing but long text is folded."""
    widest = [_widest(*each) for each in columns.items()]
    return sum(each if each <= _WHOLE else _LEAST for each in widest) + _BETWEEN * len(widest)


def _widest(heading: str, cells: Sequence[str]) -> int:
    return max(map(cell_len, (heading, *cells)))


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
