"""Where the top-level members of a JSON body stand, so that one can be changed and every other byte kept (I1). Pure.

Positions come from lengths: where the top-level names and values of a body, with the least punctuation, add up to
exactly its size, it has no white space outside them and no repeated name, and every offset follows. With a space after
each colon and comma (how Python's `json` writes) each is held against the bytes in turn. Any other body is scanned. A
body with repeated or case-variant names that matter has no positions: nobody knows which one is read.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

import msgspec

from gatehouse.dialects.crowds import crowded
from gatehouse.dialects.scan import SLICE, Scanner, scan, scan_now
from gatehouse.dialects.values import UNREADABLE

WHOLE: Final = 8 * 1024 * 1024
"""Largest body decoded in one go (0.45 ms/MiB), as `limits.read_whole` has it."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


Span = tuple[int, int]
"""Where a value stands: byte offsets in the body, from (included) and to (excluded)."""


class Names(NamedTuple):
    """Names that matter, as they should be written, and case-folded."""

    exact: frozenset[str]
    folded: frozenset[str]


def names(*exact: str) -> Names:
    """For `locate` and `doubt`."""
    return Names(frozenset(exact), frozenset(name.casefold() for name in exact))


def locate(body: bytes, wanted: Names) -> dict[str, Span] | None:
    """The wanted members' values, by name; `None` where the body is no JSON object, or one of them is repeated or
    written in other capitals.

    For bodies read in one go; one above 1 MiB with other white space between its members needs `locate_slices`.
    """
    spans = _at_once(body, wanted)
    if spans is not None or len(body) > SLICE:
        return spans
    return _by_scan(scan_now(body, wanted.folded), wanted)


def locate_slices(body: bytes, wanted: Names) -> Generator[None, None, dict[str, Span] | None]:
    """The same for a body of any size; yields between slices."""
    spans = _at_once(body, wanted) if len(body) <= WHOLE else None
    if spans is None:
        spans = _by_scan((yield from scan(body, wanted.folded)), wanted)
    return spans


def doubt(body: bytes, wanted: Names) -> Generator[None, None, str | None]:
    """Why nobody knows which of the wanted members a provider reads; yields between slices of a large body."""
    if len(body) <= WHOLE and _at_once(body, wanted) is not None:
        return None
    found = yield from scan(body, wanted.folded)
    if found.fault is not None:
        return f"the body is no JSON object: {found.fault}"
    seen: set[str] = set()
    for member in found.members:
        if member.name not in wanted.exact:
            return f"the body spells a name otherwise than its provider documents it: `{member.name}`"
        if member.name in seen:
            return f"the body has `{member.name}` more than once"
        seen.add(member.name)
    return None


def _at_once(body: bytes, wanted: Names) -> dict[str, Span] | None:
    """Positions in a body that has either no white space between its members, or one space after each colon and comma.
    What is tried first sees at the first member whether it is wrong."""
    members = _decoded(body)
    if members is None:
        return None
    spans = _by_turns(body, members, wanted)
    return _by_lengths(body, members, wanted) if spans is None else spans


def _decoded(body: bytes) -> dict[str, msgspec.Raw] | None:
    if crowded(body):
        return None
    try:
        members: dict[str, msgspec.Raw] = _members(body)
    except UNREADABLE:
        return None
    return members


def _by_lengths(body: bytes, members: dict[str, msgspec.Raw], wanted: Names) -> dict[str, Span] | None:
    """Positions in a body without white space between its members; `None` if it has some, or a name twice."""
    exact, folded = wanted
    spans: dict[str, Span] = {}
    at = 1
    for name, raw in members.items():
        start = at + len(name) + 3
        at = start + len(raw) + 1
        if name in exact:
            spans[name] = (start, at - 1)
        elif not name.isascii() or name.casefold() in folded:
            return None
    return spans if at == len(body) and members else None


def _by_turns(body: bytes, members: dict[str, msgspec.Raw], wanted: Names) -> dict[str, Span] | None:
    """Positions in a body with one space after each colon and comma: every name and every value is found where the one
    before it ends, so nothing else is there; `None` if any is not."""
    exact, folded = wanted
    spans: dict[str, Span] = {}
    lead, at = b"{", 0
    for name, raw in members.items():
        matters = name in exact
        if not matters and (not name.isascii() or name.casefold() in folded):
            return None
        spelt = b'%b"%b": ' % (lead, name.encode())
        start = at + len(spelt)
        if not body.startswith(spelt, at) or not body.startswith(raw, start):
            return None
        at = start + len(raw)
        if matters:
            spans[name] = (start, at)
        lead = b", "
    return spans if members and body[at:] == b"}" else None


def _by_scan(found: Scanner, wanted: Names) -> dict[str, Span] | None:
    """Positions by the scanner; `None` where a name that matters is repeated or spelt otherwise."""
    if found.fault is not None or any(member.name not in wanted.exact for member in found.members):
        return None
    spans = {member.name: (member.start, member.end) for member in found.members}
    return spans if len(spans) == len(found.members) else None
