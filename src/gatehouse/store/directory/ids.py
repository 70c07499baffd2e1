"""Ids of what the directory holds: a prefix that tells the kind, and a UUIDv7 in lower-case Crockford base32.

Rules: ids sort by the time they were made, and never come again. The first tenant and its first project are both called
`default`, so that calls from before there were accounts stay theirs. Pure apart from clock and randomness.
"""

from __future__ import annotations

import os
import re
import time
from typing import Final, Literal
from uuid import UUID

Kind = Literal["tenant", "project", "user", "key", "credential", "limit", "issuer", "session", "token", "event"]

DEFAULT: Final = "default"
"""Id of the first tenant, and of its first project."""

_PREFIXES: Final[dict[Kind, str]] = {
    "tenant": "ten_",
    "project": "prj_",
    "user": "usr_",
    "key": "key_",
    "credential": "crd_",
    "limit": "lim_",
    "issuer": "iss_",
    "session": "ses_",
    "token": "tok_",
    "event": "evt_",
}
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH: Final = 26
_ID: Final = re.compile(f"[0-7][{_DIGITS}]{{25}}")


def new(kind: Kind) -> str:
    """A new id, `key_` and 26 characters."""
    return named(kind, uuid7())


def named(kind: Kind, uuid: UUID) -> str:
    """The id of this kind that is a UUID."""
    number = uuid.int
    digits = ""
    for _ in range(_LENGTH):
        digits = _DIGITS[number & 31] + digits
        number >>= 5
    return _PREFIXES[kind] + digits


def uuid7() -> UUID:
    """A UUIDv7 (RFC 9562, 6.2, method 3): of two made one after the other in a process, the second sorts last."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random)


def uuid_of(kind: Kind, text: str) -> UUID:
    """The UUID that an id is. Raises `ValueError` for what is no such id."""
    require(kind, text)
    number = 0
    for digit in text[len(_PREFIXES[kind]) :]:
        number = number << 5 | _DIGITS.index(digit)
    return UUID(int=number)


def is_id(kind: Kind, text: str) -> bool:
    """Whether a text is an id of this kind, here or elsewhere."""
    if text == DEFAULT:
        return kind in ("tenant", "project")
    prefix = _PREFIXES[kind]
    return text.startswith(prefix) and _ID.fullmatch(text[len(prefix) :]) is not None


def require(kind: Kind, text: str) -> None:
    """Raises `ValueError` for what is no such id: whoever creates something makes its id with `new`."""
    if not is_id(kind, text):
        raise ValueError(f"{text!r} is no id of a {kind}")
