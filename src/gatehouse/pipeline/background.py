"""Responses that are generated after their call: which calls began them, until somebody reads what they used.

Rules
- What a response used counts once: on the record of whoever reads it first when it is over, in the project that began
  it, at the price of when it was begun. Limits then count that instead of what was reserved (HARD-PARTS 7.1).
- Only responses that this worker began, and of those the newest `MOST`. Of any other nothing is counted, and what was
  reserved for it stays spent.
"""

from __future__ import annotations

from typing import Final

from gatehouse.pipeline.call import Call
from gatehouse.pipeline.limited import Limited

MOST: Final = 4096

_Key = tuple[str, str, str, str]
"""Tenant, project, provider and the provider's id of the response."""


class Begun:
    """A call that is over, and whose response was not."""

    __slots__ = ("at", "call", "limited")

    def __init__(self, call: str, at: float, limited: Limited | None) -> None:
        self.call = call
        self.at = at
        """When it was decided, Unix seconds."""
        self.limited = limited


class Background:
    """One worker's."""

    def __init__(self) -> None:
        self._begun: dict[_Key, Begun] = {}
        """Oldest first."""

    def begin(self, call: Call, response: str) -> None:
        """A call is over that began a response."""
        begun = self._begun
        if len(begun) >= MOST:
            del begun[next(iter(begun))]
        begun[_key(call, response)] = Begun(call.id, call.at, call.limited)

    def take(self, call: Call, response: str | None) -> Begun | None:
        """Who began the response that a call read, when it is over; once."""
        return None if response is None else self._begun.pop(_key(call, response), None)


def _key(call: Call, response: str) -> _Key:
    principal = call.principal
    return principal.tenant, principal.project, call.route.provider, response
