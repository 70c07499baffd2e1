"""JSON and CSV on a terminal. Names, paths and messages come from callers and providers: escape sequences in them, too.

In JSON they are escaped, so that it still says exactly what is stored. CSV knows no escapes: it is made safe like all
text (`config.printable`) where a terminal shows it, and left alone on its way into a file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from gatehouse.config.printable import clean
from gatehouse.store.tables import columns, csv_head, csv_lines

PIPED_WIDTH: Final = 160
"""Columns of a table where nobody looks: what reads it should not meet words cut short."""
_ESCAPED: Final = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
"""What JSON leaves as it is and a terminal may obey: C1 controls, and characters that reorder or hide text."""


def echo_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(_escaped(msgspec.json.format(msgspec.json.encode(value), indent=2)))


def json_line(value: Any) -> str:
    """A value as JSON on one line."""
    return _escaped(msgspec.json.encode(value))


def echo_csv(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct], group_by: Sequence[str] = ()) -> None:
    """Print structs of one `kind` as CSV. `group_by`: what the dict of a field `group` holds."""
    wanted = columns(kind, group_by)
    click.echo(csv_text(csv_head(wanted) + csv_lines(wanted, rows)), nl=False)


def csv_text(text: str) -> str:
    """Lines of CSV for stdout."""
    return "".join(f"{clean(line)}\n" for line in text.splitlines()) if sys.stdout.isatty() else text


def _escaped(text: bytes) -> str:
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text.decode())
