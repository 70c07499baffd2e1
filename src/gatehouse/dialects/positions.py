"""Where the top-level members of a JSON body stand, so that one can be changed and every other byte kept (I1). Pure.

The names and values that a parser finds, written out again as JSON is mostly written, are the very bytes of most
bodies: then nothing else is in it, no name is there twice, and every offset follows. Any other body is scanned. A body
with repeated or case-variant names that matter has no positions: nobody knows which one is read.
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
_FIRST: Final = b'{"'
_SPACED: Final = (b'": ', b', "')
"""Between a name and its value, and between a value and the next name: as Python's `json` writes."""
_DENSE: Final = (b'":', b',"')
"""As most others write."""
_LAST: Final = b"}"

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
    """Positions in a body as JSON is mostly written; `None` if it is not, or has a name twice."""
    if crowded(body):
        return None
    try:
        members: dict[str, msgspec.Raw] = _members(body)
    except UNREADABLE:
        return None
    if not members:
        return None
    exact, folded = wanted
    spans: dict[str, Span] = {}
    pieces: list[bytes] = []
    spaced = body.find(_SPACED[0], 0, len(next(iter(members))) + 5) > 0
    colon, comma = _SPACED if spaced else _DENSE
    lead, at = _FIRST, 0
    for name, raw in members.items():
        written = name.encode()
        pieces += (lead, written, colon, raw)
        at += len(lead) + len(written) + len(colon)
        end = at + len(raw)
        if name in exact:
            spans[name] = (at, end)
        elif name.casefold() in folded:
            return None
        at, lead = end, comma
    if at + len(_LAST) != len(body):
        return None
    pieces.append(_LAST)
    # Where each is as short as can be, nothing else has room in the same length.
    return spans if not spaced or b"".join(pieces) == body else None


def _by_scan(found: Scanner, wanted: Names) -> dict[str, Span] | None:
    """Positions by the scanner; `None` where a name that matters is repeated or spelt otherwise."""
    if found.fault is not None or any(member.name not in wanted.exact for member in found.members):
        return None
    spans = {member.name: (member.start, member.end) for member in found.members}
    return spans if len(spans) == len(found.members) else None
