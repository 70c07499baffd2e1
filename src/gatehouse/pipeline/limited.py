"""What one call holds of limits, for as long as it runs.

Rules: made when the limits are asked for the first time; `settle` or `withdraw` is owed once, whatever ends the call.
Nothing here waits.
"""

from __future__ import annotations

import time

from gatehouse.limits.claim import Claim
from gatehouse.model.limits import Moment, Settled
from gatehouse.ports import Limits


def moment() -> Moment:
    """Now, on both clocks."""
    return Moment(time.time_ns() // 1000, time.monotonic_ns() // 1000)


class Limited:
    """One call's place in the limits."""

    __slots__ = ("_limits", "claim", "own")

    def __init__(self, limits: Limits[Claim], claim: Claim) -> None:
        self._limits = limits
        self.claim = claim
        self.own = False
        """The caller's own provider key pays: the call costs the tenant nothing."""

    def lines(self) -> bytes:
        """Header lines that tell the caller where it stands."""
        return self._limits.lines(self.claim, moment())

    def settle(self, tokens: int | None, cost: int | None, *, estimated: bool) -> tuple[Settled, ...]:
        """The call used this; `None`: nobody knows. Returns what its outcome carries."""
        claim = self.claim
        self._limits.settle(claim, tokens, 0 if self.own else cost, moment(), estimated=estimated)
        reserved = claim.reserved
        if not reserved:
            return ()
        # What is held and never settled would stay held for ever: then all of it is used.
        done = claim.settled if len(claim.settled) == len(reserved) else reserved
        return tuple(
            [
                Settled(held.counter, held.period, held.amount, used.amount)
                for held, used in zip(reserved, done, strict=True)
            ]
        )

    def withdraw(self) -> None:
        """The call ended before it was forwarded."""
        self._limits.withdraw(self.claim, moment())
