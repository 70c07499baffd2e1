"""Rows as `views`: what stands in the columns, in the words of the API. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, Final

import msgspec

from gatehouse.store import times
from gatehouse.store.views import Position, Span, Tokens, Trace, TraceSummary

_CHECK: Final = 4
"""Bytes of check sum in a cursor."""
_CALL: Final = re.compile(r"[!-~]{1,64}")

_RENAMED: Final = {
    "id": "call",
    "key": "key_id",
    "user": "user_id",
    "group": "group_id",
    "thread": "thread_id",
    "run": "run_id",
    "parent": "parent_id",
    "cost_nano_usd": "cost",
}
_LISTS: Final = ("candidates", "tags", "rewritten", "answer_rewritten", "finish_reasons", "groups", "skipped")
_FLAGS: Final = ("stream", "streamed", "replayed")
_COMPUTED: Final = frozenset(
    {
        "started_at",
        "ended_at",
        "loop",
        "tokens",
        "tools",
        "decision_record",
        "outcome_record",
        "spans",
        *_LISTS,
        *_FLAGS,
    }
)
_PLAIN: Final = tuple(
    (name, _RENAMED.get(name, name)) for name in TraceSummary.__struct_fields__ if name not in _COMPUTED
)


class CursorError(ValueError):
    """A cursor that was not given out here."""


def summary(row: Any) -> TraceSummary:
    """A row of `traces`, by column names."""
    return TraceSummary(**_fields(row))


def trace(row: Any, spans: list[Span], step: int, steps: int) -> Trace:
    """A row of `traces` with its spans, and its place in its agent loop."""
    return Trace(**_fields(row), step=step, steps=steps, spans=spans)


def span(row: Any) -> Span:
    """A row of `spans`."""
    return Span(
        span_id=row.span_id,
        parent_span_id=row.parent_span_id,
        trace_id=row.trace_id,
        name=row.name,
        kind=row.kind,
        started_at=times.rfc3339(row.started),
        ended_at=times.rfc3339(row.ended),
        status=row.status,
        attributes=msgspec.json.decode(row.attributes),
    )


def tokens(parts: dict[str, int]) -> Tokens:
    """Token counts by the name of their part (`model.usage.Usage`), with their sums."""
    return Tokens(
        **parts,
        input_total=sum(parts[name] for name in INPUT_PARTS),
        output_total=sum(parts[name] for name in OUTPUT_PARTS),
    )


INPUT_PARTS: Final = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "image_input",
    "image_cache_read",
    "audio_cache_read",
)
"""Those on the prompt side."""
OUTPUT_PARTS: Final = ("output", "reasoning", "audio_output", "image_output")
"""Those that were generated."""
TOKEN_PARTS: Final = tuple(name for name in Tokens.__struct_fields__ if not name.endswith("_total"))


def cursor(last: str) -> str:
    """An opaque word for "calls older than this one", or whatever else is paged through by id."""
    raw = last.encode()
    return base64.urlsafe_b64encode(hashlib.blake2b(raw, digest_size=_CHECK).digest() + raw).rstrip(b"=").decode()


def call_at(cursor: str) -> str:
    """The call a cursor stands for. Raises `CursorError`."""
    call = id_at(cursor)
    if _CALL.fullmatch(call) is None:
        raise CursorError("not a cursor of this API")
    return call


def id_at(cursor: str) -> str:
    """The id a cursor stands for. Raises `CursorError`."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = raw[_CHECK:].decode("ascii")
    except ValueError as error:
        raise CursorError("not a cursor of this API") from error
    if hashlib.blake2b(raw[_CHECK:], digest_size=_CHECK).digest() != raw[:_CHECK]:
        raise CursorError("not a cursor of this API")
    return found


def _fields(row: Any) -> dict[str, Any]:
    ended = None if row.duration_us is None else times.rfc3339(row.started + row.duration_us)
    fields: dict[str, Any] = {name: getattr(row, column) for name, column in _PLAIN}
    fields |= {name: _list(getattr(row, name)) for name in _LISTS}
    fields |= {name: bool(getattr(row, name)) for name in _FLAGS}
    return fields | {
        "started_at": times.rfc3339(row.started),
        "ended_at": ended,
        "loop": row.loop or row.call,
        "tools": None if row.tools is None else msgspec.json.decode(row.tools, type=dict[str, int]),
        "tokens": _tokens(row),
        "decision_record": _position(row.decision_lane, row.decision_seq, row.decided),
        "outcome_record": _position(row.outcome_lane, row.outcome_seq, row.concluded),
    }


def _tokens(row: Any) -> Tokens | None:
    if row.tokens_input is None:
        return None
    return tokens({name: getattr(row, f"tokens_{name}") or 0 for name in TOKEN_PARTS})


def _position(lane: str | None, seq: int, time: int) -> Position | None:
    return None if lane is None else Position(lane, seq, times.rfc3339(time))


def _list(text: str | None) -> list[Any]:
    return msgspec.json.decode(text, type=list) if text else []
