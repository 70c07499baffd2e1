"""Whether a body holds so many values that to decode each of them would hold up all other calls.

Rules: of most bodies the size says enough; of the others a look at some places that nobody can foresee.
"""

from __future__ import annotations

import random
from typing import Final

CROWD: Final = 256 * 1024
"""Commas in a body from which on it may hold absurdly many values: each takes up to forty times its bytes in memory."""

_OBJECTS: Final = 64 * 1024
"""The same for objects, where each is decoded: a microsecond or two."""

_MOST: Final = {b",": CROWD, b"{": _OBJECTS}
_FEW: Final = 256 * 1024
"""Bytes of a body that is not looked at."""
_GLANCES: Final = 64
_GLANCE: Final = 512
"""Bytes looked at, at each of so many places at least that nobody can foresee."""
_STRETCH: Final = 64 * 1024
"""Of a larger body one place in each of these, so that no corner of it stays unseen."""
_CHANCE: Final = random.SystemRandom()


def crowded(body: bytes) -> bool:
    """Whether to read all of a body would take too long, whatever its size."""
    return len(body) > _FEW and many(body, b"{", b",")


def many(body: bytes, *marks: bytes) -> bool:
    """Whether a large body has too many of any of these: counted only where a look at some places says it may have."""
    size = len(body)
    glances = max(_GLANCES, size // _STRETCH)
    places = _CHANCE.choices(range(size - _GLANCE), k=glances)
    for mark in marks:
        seen = sum(body.count(mark, at, at + _GLANCE) for at in places)
        if seen * size > _MOST[mark] // 2 * _GLANCE * glances and body.count(mark) > _MOST[mark]:
            return True
    return False
