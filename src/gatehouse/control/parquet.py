"""Rows as Parquet, sent row group by row group: memory holds one group, and a few bytes of footer for each before it.

Rules: pyarrow is the extra `parquet`: it is imported when somebody asks for this form, and nowhere else. Types are what
the API's fields are: times are timestamps (UTC, microseconds), money and durations 64-bit integers, parts of a field
structs, lists of text lists; objects, which have no fixed fields, JSON text. A `group` without names is left out. The
footer comes last, so a file that was broken off cannot be read.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import typing
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec

from gatehouse.control.answers import FieldError, InputError
from gatehouse.store import times
from gatehouse.store.tables import given, is_group, struct_of
from gatehouse.store.views import Time

ROWS: Final = 10_000
"""In a row group, about."""
_SCALARS: Final = {str: "string", int: "int64", float: "float64", bool: "bool_"}
_encode: Final = msgspec.json.Encoder().encode

Convert = Callable[[Any], Any]


class _Column(typing.NamedTuple):
    name: str
    type: Any
    """Arrow's."""
    convert: Convert
    """A field's value in terms of that type; `None` stays."""
    attribute: str


def written(
    kind: type[msgspec.Struct], pieces: AsyncIterator[Sequence[msgspec.Struct]], group_by: Sequence[str] = ()
) -> AsyncIterator[bytes]:
    """A file of structs of one `kind`, piece by piece. `group_by`: what the dict of a field `group` holds.

    Raises `InputError` where pyarrow is not installed.
    """
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        detail = "parquet needs pyarrow, which is not installed here: pip install 'gatehouse[parquet]'"
        raise InputError(FieldError("format", detail)) from error
    return _written(arrow, parquet, _columns(arrow, kind, group_by), pieces)


async def _written(
    arrow: Any, parquet: Any, columns: list[_Column], pieces: AsyncIterator[Sequence[msgspec.Struct]]
) -> AsyncIterator[bytes]:
    schema = arrow.schema([(column.name, column.type) for column in columns])
    sink = _Sink()
    batches: list[Any] = []
    rows = 0
    # Not in a `with`: whoever is cancelled while a thread writes must not close what that thread writes with.
    writer = parquet.ParquetWriter(sink, schema, compression="zstd")
    async for piece in pieces:
        if piece:
            batches.append(arrow.record_batch(_arrays(arrow, columns, piece), schema=schema))
            rows += len(piece)
        if rows >= ROWS:
            await asyncio.to_thread(writer.write_table, arrow.Table.from_batches(batches, schema))
            batches, rows = [], 0
            yield sink.take()
    await asyncio.to_thread(writer.write_table, arrow.Table.from_batches(batches, schema))
    writer.close()
    yield sink.take()


def _arrays(arrow: Any, columns: list[_Column], rows: Sequence[msgspec.Struct]) -> list[Any]:
    return [
        arrow.array([_converted(column.convert, getattr(row, column.attribute)) for row in rows], column.type)
        for column in columns
    ]


def _columns(arrow: Any, kind: type[msgspec.Struct], group_by: Sequence[str] = ()) -> list[_Column]:
    found: list[_Column] = []
    for field in msgspec.structs.fields(kind):
        if not is_group(field):
            found.append(_Column(field.encode_name, *_type(arrow, field.type), field.name))
        elif group_by:
            names = arrow.struct([(name, arrow.string()) for name in group_by])
            found.append(_Column("group", names, lambda value: value, "group"))
    return found


def _type(arrow: Any, annotation: Any) -> tuple[Any, Convert]:
    """Of a field: Arrow's type, and how its values become that."""
    [plain] = [each for each in given(annotation) if each is not type(None)]
    part = struct_of(plain)
    if part is not None:
        columns = _columns(arrow, part)
        return arrow.struct([(column.name, column.type) for column in columns]), lambda value: _fields(columns, value)
    if plain == Time:
        return arrow.timestamp("us", tz="UTC"), times.parse
    if plain == list[str]:
        return arrow.list_(arrow.string()), lambda value: value
    if typing.get_origin(plain) is typing.Literal:
        plain = str
    if plain in _SCALARS:
        return getattr(arrow, _SCALARS[plain])(), lambda value: value
    return arrow.string(), lambda value: _encode(value).decode()


def _fields(columns: list[_Column], value: Any) -> dict[str, Any]:
    return {column.name: _converted(column.convert, getattr(value, column.attribute)) for column in columns}


def _converted(convert: Convert, value: Any) -> Any:
    return None if value is None else convert(value)


class _Sink(io.RawIOBase):
    """A file that hands out what was written since it was last asked."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        """The bytes so far that were not handed out."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
