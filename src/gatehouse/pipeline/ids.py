"""Ids and clocks of calls. UUIDv7 (RFC 9562): sortable by time, unique over workers and machines."""

from __future__ import annotations

import random
import time
from typing import Final

_RANDOM: Final = random.SystemRandom()


class CallIds:
    """Makes call ids: 36 characters, millisecond time, then a counter from a random start under a random tail.

    Uniqueness is what an id needs, not secrecy: the tail is drawn once per process and moved on by an odd step.
    """

    __slots__ = ("_ms", "_prefix", "_step", "_tail")

    def __init__(self) -> None:
        self._tail = _RANDOM.getrandbits(74)
        self._step = _RANDOM.getrandbits(72) | 1
        self._ms = 0
        self._prefix = ""

    def next(self) -> str:
        self._tail = tail = (self._tail + self._step) & 0x3FFFFFFFFFFFFFFFFFF
        ms = time.time_ns() // 1_000_000
        if ms != self._ms:
            self._ms = ms
            self._prefix = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7"
        return f"{self._prefix}{tail >> 62:03x}-{0x8000 | tail >> 48 & 0x3FFF:04x}-{tail & 0xFFFFFFFFFFFF:012x}"
