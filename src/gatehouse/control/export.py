"""Rows as CSV or JSON Lines, sent while they are read: constant memory, however many rows there are.

Rules: one line per row. JSON Lines hold the items of the JSON answer. CSV is RFC 4180 with a header; parts of a field
have columns of their own (`tokens.input`), lists and objects are JSON text, unknown is empty. Callers choose what
stands in some fields (their model, their user agent), so text that a spreadsheet would run as a formula is put behind
an apostrophe. An answer that cannot be finished is broken off, never ended as if it were whole.
"""

from __future__ import annotations

import csv
import io
import types
import typing
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import msgspec
from starlette.responses import StreamingResponse

from gatehouse.control.parameters import Format

PIECE: Final = 500
"""Rows at a time."""
TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
"""Media types, by form."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_encoder: Final = msgspec.json.Encoder()

Column = tuple[str, tuple[str, ...]]
"""Its name, and the way to its value."""


def export(
    form: Format,
    name: str,
    kind: type[msgspec.Struct],
    pieces: AsyncIterator[Sequence[msgspec.Struct]],
    group_by: Sequence[str] = (),
) -> StreamingResponse:
    """Structs of one `kind` in a form other than JSON. `group_by`: what the dict of a field `group` holds."""
    text = _csv(columns(kind, group_by), pieces) if form == "csv" else _lines(pieces)
    headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}.{form}"'}
    return StreamingResponse(text, headers=headers, media_type=TYPES[form])


async def in_pieces(rows: Sequence[msgspec.Struct]) -> AsyncIterator[Sequence[msgspec.Struct]]:
    """Rows that are at hand."""
    for start in range(0, len(rows), PIECE):
        yield rows[start : start + PIECE]


def columns(kind: type[msgspec.Struct], group_by: Sequence[str] = ()) -> list[Column]:
    """The columns of a struct, in the order of its fields."""
    found: list[Column] = []
    for field in msgspec.structs.fields(kind):
        given = typing.get_args(field.type) if isinstance(field.type, types.UnionType) else (field.type,)
        parts = [each for each in given if isinstance(each, type) and issubclass(each, msgspec.Struct)]
        if parts:
            found += [(f"{field.encode_name}.{name}", (field.name, *way)) for name, way in columns(parts[0])]
        elif field.name == "group":
            found += [(name, ("group", name)) for name in group_by]
        else:
            found.append((field.encode_name, (field.name,)))
    return found


async def _csv(wanted: list[Column], pieces: AsyncIterator[Sequence[msgspec.Struct]]) -> AsyncIterator[bytes]:
    yield _written([[name for name, _ in wanted]])
    async for rows in pieces:
        yield _written([_cell(_value(row, way)) for _, way in wanted] for row in rows)


async def _lines(pieces: AsyncIterator[Sequence[msgspec.Struct]]) -> AsyncIterator[bytes]:
    async for rows in pieces:
        yield _encoder.encode_lines(rows)


def _written(rows: Iterable[list[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _value(row: Any, way: tuple[str, ...]) -> Any:
    for name in way:
        if row is None:
            return None
        row = row.get(name) if isinstance(row, dict) else getattr(row, name)
    return row


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return _encoder.encode(value).decode()
