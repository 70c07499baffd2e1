"""Rows as CSV, JSON Lines or Parquet, sent while they are read: constant memory, however many rows there are.

Rules: one line per row. JSON Lines hold the items of the JSON answer; CSV is as in `store.tables`, Parquet as in
`parquet`. An answer that cannot be finished is broken off, never ended as if it were whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec
from starlette.responses import StreamingResponse

from gatehouse.control import parquet
from gatehouse.control.parameters import MEDIA_TYPES, Format
from gatehouse.store.tables import Column, columns, csv_head, csv_lines

PIECE: Final = 500
"""Rows at a time."""
T_co = TypeVar("T_co", bound=msgspec.Struct, covariant=True)
_encoder: Final = msgspec.json.Encoder()


class Listed(Protocol[T_co]):
    """A page of a list."""

    @property
    def items(self) -> Sequence[T_co]: ...

    @property
    def next_cursor(self) -> str | None: ...


def export(
    form: Format,
    name: str,
    kind: type[msgspec.Struct],
    pieces: AsyncIterator[Sequence[msgspec.Struct]],
    group_by: Sequence[str] = (),
) -> StreamingResponse:
    """Structs of one `kind` in a form other than JSON. `group_by`: what the dict of a field `group` holds.

    Raises `InputError` where that form needs what is not installed.
    """
    if form == "parquet":
        data = parquet.written(kind, pieces, group_by)
    else:
        data = _csv(columns(kind, group_by), pieces) if form == "csv" else _lines(pieces)
    headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}.{form}"'}
    return StreamingResponse(data, headers=headers, media_type=MEDIA_TYPES[form])


async def following(
    page: Listed[T_co], more: Callable[[int, str], Awaitable[Listed[T_co]]], most: int | None
) -> AsyncIterator[Sequence[T_co]]:
    """A page, and page by page what follows it: `most` rows altogether, or all. `more`: the page of so many rows at a
    cursor. Raises what `more` raises."""
    left = most
    while True:
        yield page.items
        if left is not None:
            left -= len(page.items)
        if page.next_cursor is None or left == 0:
            return
        page = await more(PIECE if left is None else left, page.next_cursor)


async def in_pieces(rows: Sequence[msgspec.Struct]) -> AsyncIterator[Sequence[msgspec.Struct]]:
    """Rows that are at hand, `PIECE` at a time."""
    for start in range(0, len(rows), PIECE):
        yield rows[start : start + PIECE]


async def _csv(wanted: list[Column], pieces: AsyncIterator[Sequence[msgspec.Struct]]) -> AsyncIterator[bytes]:
    yield csv_head(wanted).encode()
    async for rows in pieces:
        yield csv_lines(wanted, rows).encode()


async def _lines(pieces: AsyncIterator[Sequence[msgspec.Struct]]) -> AsyncIterator[bytes]:
    async for rows in pieces:
        yield _encoder.encode_lines(rows)
