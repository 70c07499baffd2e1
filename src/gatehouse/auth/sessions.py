"""Sessions of people on the management API: their tokens, and when a session is renewed or over.

Rules
- A token has 256 random bits; kept is its SHA-256. It is in no `repr`.
- It is replaced every `ROTATED` seconds, and at once when what its user may do has changed. After the former, the one
  before still serves for `OVERLAP`, for requests that are under way. Whoever comes with it later has stolen it, or had
  theirs stolen: the session ends for both.
- A session ends `IDLE` after its last request and `ABSOLUTE` after the log-in, whatever happens in between.
- Pure: seconds since the epoch are passed in. A clock that was set back makes no session younger than it was.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Literal

ROTATED: Final = 15 * 60
OVERLAP: Final = 30
IDLE: Final = 2 * 60 * 60
ABSOLUTE: Final = 24 * 60 * 60
"""Seconds."""

Verdict = Literal["valid", "rotate", "expired", "stolen", "unknown"]
"""`rotate`: valid, and the answer brings the next token. `stolen`: end the session. `unknown`: no token of it."""

_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made."""

    text: str = field(repr=False)
    """For the cookie."""
    digest: bytes = field(repr=False)
    """SHA-256, 32 bytes."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is kept of a session. Times are Unix seconds."""

    digest: bytes = field(repr=False)
    """Of the token that is its present one."""
    previous: bytes | None = field(repr=False)
    """Of the one before, while it may still come."""
    began: int
    rotated: int
    seen: int
    """When it was last used."""
    rights: str
    """What its user could do when the token was made (their role); another one now asks for a new token."""


def new_token() -> NewToken:
    """A token nobody had before."""
    text = secrets.token_urlsafe(_BYTES)
    return NewToken(text, _digest(text))


def digest_of(text: str) -> bytes | None:
    """What a token is looked up by; `None` if the text cannot be one."""
    return _digest(text) if _TOKEN.fullmatch(text) else None


def begun(token: NewToken, rights: str, now: int) -> Standing:
    """A session after a log-in."""
    return Standing(token.digest, None, began=now, rotated=now, seen=now, rights=rights)


def judged(standing: Standing, digest: bytes, rights: str, now: int) -> Verdict:
    """What to do about a request that comes with the token of this digest. `rights`: its user's present role."""
    now = max(now, standing.seen)
    if now >= standing.began + ABSOLUTE or now >= standing.seen + IDLE:
        return "expired"
    if hmac.compare_digest(digest, standing.digest):
        return "rotate" if rights != standing.rights or now >= standing.rotated + ROTATED else "valid"
    if standing.previous is None or not hmac.compare_digest(digest, standing.previous):
        return "unknown"
    return "valid" if now < standing.rotated + OVERLAP else "stolen"


def rotated(standing: Standing, token: NewToken, rights: str, now: int) -> Standing:
    """The session with its next token. A change of rights leaves nothing to the one before."""
    now = max(now, standing.seen)
    previous = standing.digest if rights == standing.rights else None
    return Standing(token.digest, previous, began=standing.began, rotated=now, seen=now, rights=rights)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
