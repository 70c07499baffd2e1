"""Asking OpenAI streams for usage, which `openai_filter` takes out again: the one exception to I1 (HARD-PARTS 2.4).

Rules: only where the caller said nothing of `include_usage`; every byte but the insertion is kept; a body with repeated
or case-variant names that matter is left alone, since nobody knows which one the provider reads.

Positions come from lengths: where the top-level names and values of a body, with the least punctuation, add up to
exactly its size, it has no white space outside them and no repeated name, and every offset follows. Any other body is
scanned. Options that are added to are read again, old and new, before they are used.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import msgspec

from gatehouse.dialects.scan import SLICE, Scanner, scan, scan_now
from gatehouse.dialects.values import UNREADABLE
from gatehouse.model.call import Ask

_NAMES: Final = frozenset({"stream", "stream_options"})
_ASKED: Final = b'"stream_options":{"include_usage":true},'
_VALUE: Final = b'{"include_usage":true}'
_INNER: Final = b'"include_usage":true'

WHOLE: Final = 8 * 1024 * 1024
"""Largest body decoded in one go (0.45 ms/MiB), as `limits.read_whole` has it."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Where(msgspec.Struct, frozen=True):
    """Where `stream_options` has its value; `start` is -1 where the body has none."""

    start: int
    end: int


def ask_usage(body: bytes, ask: Ask) -> bytes | None:
    """The body asking for usage, or `None` where it must not be changed.

    For bodies read in one go; one above 1 MiB with white space between its members needs `ask_usage_slices`.
    """
    if not _may_ask(ask):
        return None
    where = _by_lengths(body)
    if where is None and len(body) <= SLICE:
        where = _by_scan(scan_now(body, _NAMES))
    return _insert(body, where) if where is not None else None


def ask_usage_slices(body: bytes, ask: Ask) -> Generator[None, None, bytes | None]:
    """The same for a body of any size; yields between slices."""
    if not _may_ask(ask):
        return None
    where = _by_lengths(body) if len(body) <= WHOLE else None
    if where is None:
        where = _by_scan((yield from scan(body, _NAMES)))
    return _insert(body, where) if where is not None else None


def _may_ask(ask: Ask) -> bool:
    return ask.stream and ask.asks_usage is None and ask.unread is None


def _by_lengths(body: bytes) -> _Where | None:
    """Positions in a body without white space between its members; `None` if it has some, or a name twice."""
    try:
        members = _members(body)
    except UNREADABLE:
        return None
    where = _Where(-1, -1)
    at = 1
    for name, raw in members.items():
        if not name.isascii() or (name not in _NAMES and name.casefold() in _NAMES):
            return None
        start = at + len(name) + 3
        at = start + len(raw) + 1
        if name == "stream_options":
            where = _Where(start, at - 1)
    return where if at == len(body) and members else None


def _by_scan(found: Scanner) -> _Where | None:
    """Positions by the scanner; `None` where a name that matters is repeated or spelt otherwise."""
    if found.fault is not None or any(member.name not in _NAMES for member in found.members):
        return None
    if len({member.name for member in found.members}) != len(found.members):
        return None
    for member in found.members:
        if member.name == "stream_options":
            return _Where(member.start, member.end)
    return _Where(-1, -1)


def _insert(body: bytes, where: _Where) -> bytes | None:
    if where.start < 0:
        brace = body.index(b"{") + 1
        return b"".join((body[:brace], _ASKED, memoryview(body)[brace:]))
    value = body[where.start : where.end]
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
    return b"".join((body[: where.start], asked, memoryview(body)[where.end :]))
