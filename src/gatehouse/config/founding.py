"""Whether the directory has an owner, as files say it; and the one-time token by which somebody becomes the first.

Rules: `serve` prints a link whose fragment is the token. It counts for 30 minutes, and only until
there is an owner; kept is its SHA-256, in a file of this user's own. The file `accounts` says that there is an owner:
from the next start on `auth.enabled` is on unless the configuration says otherwise. Standard library and msgspec only,
as the supervisor's process reads it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from typing import Final

import msgspec

from gatehouse.config.paths import DataDir, read_private, write_private
from gatehouse.errors import ConfigError

OFFERED_SECONDS: Final = 30 * 60
"""For so long the token counts."""
_FILE_BYTES: Final = 1024
_MARKER: Final = b"The directory has an owner: auth.enabled is on unless the configuration says otherwise.\n"


class _Offer(msgspec.Struct):
    digest: str
    expires: int


def offer(data: DataDir, now: float) -> str:
    """A token that counts from now on, in place of any before. Raises `OSError`."""
    token = secrets.token_urlsafe(32)
    write_private(data.setup, msgspec.json.encode(_Offer(_digest(token), int(now) + OFFERED_SECONDS)))
    return token


def offered(data: DataDir, token: str, now: float) -> bool:
    """Whether this is the token, and it still counts."""
    try:
        kept = msgspec.json.decode(read_private(data.setup, _FILE_BYTES), type=_Offer)
    except (FileNotFoundError, ConfigError, msgspec.MsgspecError):
        return False
    return hmac.compare_digest(kept.digest, _digest(token)) and now < kept.expires


def withdraw(data: DataDir) -> None:
    """The token counts no more."""
    with suppress(OSError):
        data.setup.unlink(missing_ok=True)


def mark(data: DataDir) -> None:
    """There is an owner. Raises `OSError`."""
    if not data.accounts.exists():
        write_private(data.accounts, _MARKER)
    withdraw(data)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
