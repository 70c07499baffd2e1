"""What one call holds of limits, for as long as it runs.

Rules: made when the limits are asked for the first time; `settle` or `withdraw` is owed once, whatever ends the call.
Nothing here waits.
"""

from __future__ import annotations

import time
from typing import Final

from gatehouse.limits.claim import Claim
from gatehouse.model.background import Begun
from gatehouse.model.limits import Settled, is_spend
from gatehouse.model.moment import Moment
from gatehouse.model.usage import MOST_COST, MOST_TOKENS
from gatehouse.ports import Limits

_unix: Final = time.time_ns
_steady: Final = time.monotonic_ns


def moment() -> Moment:
    """Now, on both clocks."""
    unix: int = _unix()
    steady: int = _steady()
    return Moment(unix // 1000, steady // 1000)


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
        tokens, cost = _sane(tokens, MOST_TOKENS), 0 if self.own else _sane(cost, MOST_COST)
        self._limits.settle(claim, tokens, cost, moment(), estimated=estimated)
        if len(claim.settled) == len(claim.reserved):
            return claim.settled
        # What is held and never settled would stay held for ever: then all of it is used.
        return tuple([Settled(held.counter, held.period, held.amount, held.amount) for held in claim.reserved])

    def withdraw(self) -> None:
        """The call ended before it was forwarded."""
        self._limits.withdraw(self.claim, moment())


def correct(limits: Limits[Claim], begun: Begun, tokens: int, cost: int | None) -> tuple[Settled, ...]:
    """A call that was settled before used this after all; `cost` `None`: nobody knows. Returns what that changes."""
    tokens, cost = min(tokens, MOST_TOKENS), 0 if begun.own else _sane(cost, MOST_COST)
    now = moment()
    # A clock that was set back says too little, as does the steady one after the machine's restart. If both do, what
    # windows count stays: nobody knows when that leaves them.
    ago = max(now.unix - int(begun.at * 1e6), now.steady - begun.steady)
    changes = []
    for one in begun.settled:
        used = cost if is_spend(one.counter) else tokens if ago > 0 else None
        if used is not None and used != one.amount:
            changes.append(Settled(one.counter, one.period, 0, used - one.amount))
    limits.correct(changes, ago, now)
    return tuple(changes)


def _sane(used: int | None, most: int) -> int | None:
    """Whatever a provider claims."""
    return most if used is not None and used > most else used
