"""Asking OpenAI streams for usage, which `openai_filter` takes out again: the one exception to I1.

Rules: only where the caller said nothing of `include_usage`; every byte but the insertion is kept; a body with repeated
or case-variant names that matter is left alone, since nobody knows which one the provider reads.

Where things stand is `positions`' business. Options that are added to are read again, old and new, before that.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import msgspec

from gatehouse.dialects.positions import Span, locate, locate_slices, names
from gatehouse.dialects.values import UNREADABLE
from gatehouse.model.call import Ask

_NAMES: Final = names("stream", "stream_options")
_ASKED: Final = b'"stream_options":{"include_usage":true},'
_VALUE: Final = b'{"include_usage":true}'
_INNER: Final = b'"include_usage":true'

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def ask_usage(body: bytes, ask: Ask) -> bytes | None:
    """The body asking for usage, or `None` where it must not be changed.

    For bodies read in one go; one above 1 MiB with other white space between its members needs `ask_usage_slices`.
    """
    if not _may_ask(ask):
        return None
    spans = locate(body, _NAMES)
    return _insert(body, spans.get("stream_options")) if spans is not None else None


def ask_usage_slices(body: bytes, ask: Ask) -> Generator[None, None, bytes | None]:
    """The same for a body of any size; yields between slices."""
    if not _may_ask(ask):
        return None
    spans = yield from locate_slices(body, _NAMES)
    return _insert(body, spans.get("stream_options")) if spans is not None else None


def _may_ask(ask: Ask) -> bool:
    return ask.stream and ask.asks_usage is None and ask.unread is None


def _insert(body: bytes, where: Span | None) -> bytes | None:
    if where is None:
        brace = body.index(b"{") + 1
        return b"".join((body[:brace], _ASKED, memoryview(body)[brace:]))
    start, end = where
    value = body[start:end]
    if value == b"null":
        asked = _VALUE
    elif value.startswith(b"{"):
        try:
            inner = _members(value)
        except UNREADABLE:
            return None
        if any(name.casefold() == "include_usage" for name in inner):
            return None
        asked = b"{" + _INNER + (b"," if inner else b"") + value[1:]
    else:
        return None
    # I1 rests on the position: what stands there must read as intended.
    if _members(asked).get("include_usage") != msgspec.Raw(b"true"):
        return None
    return b"".join((body[:start], asked, memoryview(body)[end:]))
