"""Lineage headers: how a caller says which calls belong together.

Rules: `X-Gatehouse-*` and the OngoingAI gateway's names for the same, by one table. Values are short printable ASCII;
anything else is a 400 that names the header, since a call filed in the wrong place is worse than one refused. None of
these headers goes upstream (`http.headers`).
"""

from __future__ import annotations

import re
from typing import Final

from gatehouse import errors
from gatehouse.auth.keys import resembles
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Head
from gatehouse.model.record import Lineage

LONGEST: Final = 128
"""Characters of a value; of `X-Gatehouse-Tags`, of each tag."""
MOST_TAGS: Final = 16

_HEADERS: Final = {
    b"x-gatehouse-group": "group",
    b"x-gatehouse-thread": "thread",
    b"x-gatehouse-run": "run",
    b"x-gatehouse-parent": "parent",
    b"x-gatehouse-sequence": "sequence",
    b"x-gatehouse-tags": "tags",
    b"x-ongoingai-trace-group-id": "group",
    b"x-ongoingai-thread-id": "thread",
    b"x-ongoingai-run-id": "run",
    b"x-ongoingai-parent-checkpoint-id": "parent",
    b"x-ongoingai-checkpoint-seq": "sequence",
}
_PREFIXES: Final = (b"x-gatehouse-", b"x-ongoingai-")
_VALUE: Final = re.compile(rb"[ -~]{1,128}")
_SEQUENCE: Final = re.compile(rb"\d{1,15}")


def lineage_of(head: Head) -> Lineage | None:
    """What the headers say; `None` if nothing. Raises `GatehouseError` (400) that names a bad one."""
    if not any([name.startswith(_PREFIXES) for name in head.fields]):
        return None
    found: dict[str, bytes] = {}
    tags: tuple[str, ...] = ()
    for name, value in head.headers:
        field = _HEADERS.get(name.lower())
        value = value.strip()
        if field is None or not value:
            continue
        if resembles(value):
            raise _bad(name, "holds something like a gateway key")
        if field == "tags":
            tags = _tags(tags, value)
        elif found.setdefault(field, value) != value:
            raise _bad(name, "says something else than another header that means the same")
        elif field == "sequence":
            if _SEQUENCE.fullmatch(value) is None:
                raise _bad(name, "is not a whole number of up to 15 digits")
        elif _VALUE.fullmatch(value) is None:
            raise _bad(name, f"is not printable ASCII of up to {LONGEST} characters")
    if not found and not tags:
        return None
    words = {field: value.decode("ascii") for field, value in found.items()}
    sequence = words.get("sequence")
    return Lineage(
        group=words.get("group"),
        thread=words.get("thread"),
        run=words.get("run"),
        parent=words.get("parent"),
        sequence=None if sequence is None else int(sequence),
        tags=tags,
    )


def _tags(before: tuple[str, ...], value: bytes) -> tuple[str, ...]:
    """Further tags, each a word or `key=value`; one named twice counts once."""
    tags = dict.fromkeys(before)
    for part in value.split(b","):
        tag = part.strip()
        if not tag:
            continue
        if _VALUE.fullmatch(tag) is None:
            raise _bad(b"X-Gatehouse-Tags", f"has a tag that is not printable ASCII of up to {LONGEST} characters")
        tags[tag.decode("ascii")] = None
    if len(tags) > MOST_TAGS:
        raise _bad(b"X-Gatehouse-Tags", f"has more than {MOST_TAGS} tags")
    return tuple(tags)


def _bad(name: bytes, why: str) -> GatehouseError:
    return GatehouseError(errors.BAD_REQUEST, f"header {name.decode('latin-1')} {why}")
