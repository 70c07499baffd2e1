"""Structs as rows of a table, and tables as CSV. Pure.

Rules: parts of a field have columns of their own (`tokens.input`); CSV is RFC 4180, lists and objects are JSON text,
unknown is empty. Callers choose what stands in some fields (their model, their user agent), so text that a spreadsheet
would run as a formula is put behind an apostrophe.
"""

from __future__ import annotations

import csv
import io
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are full-width forms, which some spreadsheets take for the others."""
_encoder: Final = msgspec.json.Encoder()

Column = tuple[str, tuple[str, ...]]
"""Its name, and the way to its value."""


def columns(kind: type[msgspec.Struct], group_by: Sequence[str] = ()) -> list[Column]:
    """The columns of a struct, in the order of its fields. `group_by`: what the dict of a field `group` holds."""
    found: list[Column] = []
    for field in msgspec.structs.fields(kind):
        part = struct_of(field.type)
        if part is not None:
            found += [(f"{field.encode_name}.{name}", (field.name, *way)) for name, way in columns(part)]
        elif is_group(field):
            found += [(name, ("group", name)) for name in group_by]
        else:
            found.append((field.encode_name, (field.name,)))
    return found


def is_group(field: msgspec.structs.FieldInfo) -> bool:
    """Whether a field holds what calls were told apart by (`figures.Group`)."""
    return field.name == "group" and typing.get_origin(field.type) is dict


def given(annotation: Any) -> tuple[Any, ...]:
    """What a field's type allows, one by one."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return typing.get_args(annotation) if union else (annotation,)


def struct_of(annotation: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, if it holds one."""
    return next(
        (each for each in given(annotation) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None
    )


def value(row: Any, way: tuple[str, ...]) -> Any:
    """What stands in a column; `None` where what it is part of is not there."""
    for name in way:
        if row is None:
            return None
        row = row.get(name) if isinstance(row, dict) else getattr(row, name)
    return row


def csv_head(wanted: Sequence[Column]) -> str:
    """The line that names the columns."""
    return _written([[name for name, _ in wanted]])


def csv_lines(wanted: Sequence[Column], rows: Iterable[msgspec.Struct]) -> str:
    """A line per row."""
    return _written([_cell(value(row, way)) for _, way in wanted] for row in rows)


def _written(rows: Iterable[list[str]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def _cell(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, str):
        return f"'{found}" if found.startswith(_FORMULA) else found
    return _encoder.encode(found).decode()
