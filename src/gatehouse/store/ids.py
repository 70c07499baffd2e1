"""What a call's id says by itself. Call ids are UUIDv7 in their usual form: they sort by the time of the call. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LATEST_MS: Final = 2**48 - 1


def started(call: str) -> int | None:
    """When the call began, in microseconds since the epoch, to the millisecond; `None` if the id is no UUIDv7."""
    if _UUID.fullmatch(call) is None or call[14] != "7":
        return None
    return int(call[:8] + call[9:13], 16) * 1000


def trace_id(call: str) -> str:
    """The W3C trace id of a call whose caller sent none: the same 128 bits, 32 hex digits."""
    if _UUID.fullmatch(call):
        return call.replace("-", "")
    return hashlib.blake2b(call.encode(), digest_size=16).hexdigest()


def call_of(trace: str) -> str:
    """The call whose `trace_id` this is, if its caller sent none."""
    return f"{trace[:8]}-{trace[8:12]}-{trace[12:16]}-{trace[16:20]}-{trace[20:]}"


def first_call(microseconds: int) -> str:
    """What no call that began at or after this time sorts before, and every call of an earlier millisecond does."""
    digits = f"{min(max(microseconds // 1000, 0), _LATEST_MS):012x}"
    return f"{digits[:8]}-{digits[8:]}-"
