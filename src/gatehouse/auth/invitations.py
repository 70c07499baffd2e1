"""Invitations: how somebody who was made a user by another gets a password of their own.

Rules
- The text names the user and holds 256 random bits; kept is their SHA-256, in the place of the user's password. So an
  invitation ends when a password is set, and when another one takes its place.
- It holds for a week. The text is shown once and is in no `repr`.
- Pure: seconds since the epoch are passed in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, NamedTuple

LIFETIME: Final = 7 * 24 * 60 * 60
"""Seconds."""

_TEXT: Final = re.compile(r"([a-z0-9_]{1,64})\.([a-z0-9_]{1,64})\.([A-Za-z0-9_-]{43})")
_KEPT: Final = re.compile(r"invited:([0-9a-f]{64}):([0-9]{1,12})")


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation just made."""

    text: str = field(repr=False)
    """For whoever is invited, once."""
    kept: str = field(repr=False)
    """In the place of a password's hash."""
    expires: int
    """Unix seconds."""


class Presented(NamedTuple):
    """What an invitation's text says."""

    tenant: str
    user: str
    secret: str


def new_invitation(tenant: str, user: str, now: int) -> NewInvitation:
    """An invitation nobody had before."""
    secret = secrets.token_urlsafe(32)
    expires = now + LIFETIME
    return NewInvitation(f"{tenant}.{user}.{secret}", f"invited:{_digest(secret)}:{expires}", expires)


def read(text: str) -> Presented | None:
    """Whose invitation a text would be; `None` if it cannot be one."""
    match = _TEXT.fullmatch(text)
    return None if match is None else Presented(match[1], match[2], match[3])


def holds(kept: str | None, presented: Presented, now: int) -> bool:
    """Whether the one presented is the one that is kept, and still counts."""
    match = _KEPT.fullmatch(kept or "")
    return match is not None and hmac.compare_digest(match[1], _digest(presented.secret)) and now < int(match[2])


def is_invitation(kept: str | None) -> bool:
    """Whether an invitation is kept in a password's place."""
    return kept is not None and _KEPT.fullmatch(kept) is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
