"""What settings are made of: sections, and values that have a unit or a form.

Rules: what a value may be stands in its type, so that files, the environment and the documentation say the same.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86_400, extra={"unit": "seconds"})]
Bytes = Annotated[int, Meta(ge=1, extra={"unit": "bytes"})]
Count = Annotated[int, Meta(ge=1)]
Money = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$",
        extra={"unit": "US dollars", "says": "a decimal number such as 2.50 (up to 9 digits either side)"},
    ),
]
"""US dollars as a decimal string, to the nano-dollar: a binary float would not be the number you wrote."""

Variable = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", extra={"says": "the name of a variable, such as MASTER_KEYS"}),
]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in the file."""
