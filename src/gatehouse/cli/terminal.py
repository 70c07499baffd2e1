"""JSON on a terminal. Names, paths and messages come from callers and providers: they may hold escape sequences.

They are escaped, so that the JSON still says exactly what is stored. (Text is made safe by `config.printable`.)
"""

from __future__ import annotations

import re
from typing import Any, Final

import click
import msgspec

_ESCAPED: Final = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
"""What JSON leaves as it is and a terminal may obey: C1 controls, and characters that reorder or hide text."""


def echo_json(value: Any) -> None:
    """Print a value as indented JSON."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    click.echo(_ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
