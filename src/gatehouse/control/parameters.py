"""What parameters of the management API may look like: moments, names, outcomes, forms of an answer. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gatehouse.control.answers import FieldError, InputError
from gatehouse.store import times
from gatehouse.store.directory.errors import DirectoryError

T = TypeVar("T")

_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_NOT_RFC3339: Final = "not RFC 3339 with a zone, such as 2026-11-20T08:00:00Z (write + as %2B)"
_JSON: Final = frozenset({"application/json", "application/*", "*/*"})
_LAST: Final = times.parse("9999-12-31T23:59:59.999999Z")

OutcomeName = Literal["open", "ok", "refused", "upstream_error", "cut", "client_gone", "blocked", "interrupted"]
Format = Literal["json", "csv", "jsonl", "parquet"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
"""Of the forms other than JSON."""


def _moment(value: object) -> object:
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        # In a query string an unescaped plus is a space.
        return datetime.fromisoformat(value.upper())
    raise ValueError(_NOT_RFC3339)


def moment_or_ago(value: str) -> str:
    """Checks a `MomentOrAgo`. Raises `ValueError`."""
    if _RFC3339.fullmatch(value):
        datetime.fromisoformat(value.upper())
    elif times.span(value) is None:
        raise ValueError(f"no span before now (30m, 24h, 7d, 4w), and {_NOT_RFC3339}")
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
MomentOrAgo = Annotated[str, AfterValidator(moment_or_ago)]
"""RFC 3339, or a span before now: `30m`, `24h`, `7d`, `4w`."""
Word = Annotated[str, Field(min_length=1, max_length=512)]


def _shown(value: str) -> str:
    if not value.isprintable():
        raise ValueError("holds a control character, or one that no text may hold")
    if value != value.strip():
        raise ValueError("begins or ends with a space")
    return value


Text = Annotated[str, Field(max_length=256), AfterValidator(_shown)]
"""A label that people read: printable, on one line."""
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_shown)]
Id = Annotated[str, Field(pattern="^[a-z0-9_]{1,64}$")]


class Body(BaseModel):
    """A request's JSON body: no field beyond those declared, and no value that has to be converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def given(self) -> dict[str, Any]:
        """What the caller named: of a change, the rest stays as it is."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Paging(BaseModel):
    """A list, newest first, page by page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=500, description="Items on a page, at most.")] = 50
    cursor: Annotated[str | None, Field(max_length=200, description="`next_cursor` of the page before.")] = None


class NoParameters(BaseModel):
    """A route that takes none says so."""

    model_config = ConfigDict(extra="forbid")


def at(value: str, now: int) -> int:
    """The time of a `MomentOrAgo`, microseconds since the epoch, within what a year of four digits can tell."""
    ago = times.span(value)
    found = times.parse(value.upper()) if ago is None else now - ago
    return min(max(found, 0), _LAST)


def form_of(request: Request, form: Format) -> Format:
    """The form of the answer: `format`, else what `Accept` names and JSON is not among."""
    if "format" in request.query_params:
        return form
    accepted = {each.partition(";")[0].strip().lower() for each in request.headers.get("accept", "").split(",")}
    if accepted & _JSON:
        return "json"
    named = (form for form, media in MEDIA_TYPES.items() if media.partition(";")[0] in accepted)
    return next(named, "json")


def once(request: Request, several: frozenset[str] = frozenset()) -> None:
    """A parameter with one value given twice is a mistake: which of them was meant? Raises `InputError`.

    `several`: those that may be."""
    counted = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in counted.items() if count > 1 and name not in several]
    if twice:
        raise InputError(*(FieldError(name, "given more than once") for name in twice))


async def referred(field: str, found: Awaitable[T]) -> T:
    """What a field of the body names by id, or what cannot be for what it says. Raises `InputError`."""
    try:
        return await found
    except DirectoryError as error:
        raise InputError(FieldError(field, str(error))) from error
