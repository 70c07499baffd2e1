"""Responses that are generated after their call: which calls began them, until somebody reads what they used.

Rules
- What a response used counts once: on the record of whoever reads it first when it is over, in the project that began
  it, at the prices of when it was begun. Limits then count that instead of what was reserved.
- Only responses that this worker began, and of those `MOST`: beyond, the project that has most loses its oldest, so
  nobody makes others' be forgotten. Of a forgotten one nothing is counted, and what was reserved for it stays spent.
"""

from __future__ import annotations

from typing import Final

from gatehouse.pipeline.call import Call
from gatehouse.pipeline.limited import Limited
from gatehouse.ports import Prices

MOST: Final = 4096

_Key = tuple[str, str]
"""Provider, and its id of the response."""


class Begun:
    """A call that is over, and whose response was not."""

    __slots__ = ("at", "call", "limited", "prices")

    def __init__(self, call: str, at: float, prices: Prices, limited: Limited | None) -> None:
        self.call = call
        self.at = at
        """When it was decided, Unix seconds."""
        self.prices = prices
        """By which it was decided."""
        self.limited = limited


class Background:
    """The responses that one worker's calls began."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], dict[_Key, Begun]] = {}
        """By tenant and project, oldest first."""
        self._count = 0

    def begin(self, call: Call, response: str) -> None:
        """A call is over that began a response."""
        own, key = self._begun.setdefault(_owner(call), {}), (call.route.provider, response)
        self._count += key not in own
        own[key] = Begun(call.id, call.at, call.live.prices, call.limited)
        if self._count > MOST:
            self._drop(max(self._begun, key=self._size))

    def take(self, call: Call, response: str | None) -> Begun | None:
        """Who began the response that a call read, when it is over; once."""
        if response is None:
            return None
        owner, key = _owner(call), (call.route.provider, response)
        begun = self._begun.get(owner, {}).get(key)
        if begun is not None:
            self._drop(owner, key)
        return begun

    def _size(self, owner: tuple[str, str]) -> int:
        return len(self._begun[owner])

    def _drop(self, owner: tuple[str, str], key: _Key | None = None) -> None:
        """One of a project's: the oldest, unless it is said which."""
        own = self._begun[owner]
        del own[key or next(iter(own))]
        self._count -= 1
        if not own:
            del self._begun[owner]


def _owner(call: Call) -> tuple[str, str]:
    return call.principal.tenant, call.principal.project
