"""Ids of calls: UUIDv7 (RFC 9562), sortable by time, unique over workers and machines."""

from __future__ import annotations

import os
import time
from typing import Final

_DIGITS: Final = 18
"""Random hex digits per id: 72 bits beside the millisecond."""
_BLOCK: Final = 512 * _DIGITS
_clock: Final = time.time_ns


class CallIds:
    """Makes call ids of 36 characters. Randomness is drawn in blocks."""

    __slots__ = ("_at", "_block", "_ms", "_prefix")

    def __init__(self) -> None:
        self._block = ""
        self._at = 0
        self._ms = 0
        self._prefix = ""

    def next(self) -> str:
        at = self._at
        if at == len(self._block):
            self._block = os.urandom(_BLOCK // 2).hex()
            at = 0
        self._at = at + _DIGITS
        ms = _clock() // 1_000_000
        if ms != self._ms:
            self._ms = ms
            self._prefix = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7"
        random = self._block[at : at + _DIGITS]
        return f"{self._prefix}{random[:3]}-8{random[3:6]}-{random[6:]}"
