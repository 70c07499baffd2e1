"""How a call is told that a limit refuses it: which one, how much is spent and reserved, and when to come back.

Rules: of several limits in the way, the one that stays longest is named. What can never fit has no `retry_after`.
Ids only, no names; money in the text is US dollars, in `limit` nano-dollars.
"""

from __future__ import annotations

from typing import Final

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.counters import Cap, Counter
from gatehouse.model.limits import Bound, LimitEntry

_SECOND: Final = 1_000_000
_DOLLAR: Final = 1_000_000_000

_PER: Final = {
    "minute": "per minute", "hour": "per hour", "day": "per day", "month": "per month", "total": "in total", "now": "",
}  # fmt: skip


class Shortage:
    """One limit that is in a call's way."""

    __slots__ = ("cap", "counter", "held", "needed", "own", "used", "wait")

    def __init__(self, counter: Counter, cap: Cap, needed: int, used: int, wait: int | None) -> None:
        self.counter = counter
        self.cap = cap
        self.needed = needed
        self.used = used
        """Settled and reserved."""
        self.wait = wait
        """Microseconds; 0: until some running call ends; `None`: for ever."""
        self.held = 0
        """Of `used`, by running calls."""
        self.own = -1
        """What the caller's key holds, where it is its share that is in the way."""

    @property
    def never(self) -> bool:
        """The call is more than the whole limit, or the whole share of it."""
        return self.needed > self.cap.cap or self.own >= 0 and self.needed > self.cap.share


def longest(shortages: list[Shortage]) -> Shortage:
    """The shortage to name: the one that stays longest."""
    return max(shortages, key=lambda short: (short.never, short.wait is None, short.wait or 0))


def refusal(short: Shortage) -> GatehouseError:
    """429, with what `limit` says in `docs/limits.md`."""
    entry = short.cap.entry
    spend = entry.measure == "spend"
    if short.never:
        kind = errors.BUDGET_NEVER_FITS if spend else errors.RATE_NEVER_FITS
    else:
        kind = errors.BUDGET_EXCEEDED if spend else errors.RATE_LIMITED
    retry_after = None
    if not short.never and short.wait is not None:
        retry_after = max(1, -(-short.wait // _SECOND))
    held = min(short.held, short.used)
    facts = {"limit": _limit(entry) | {"spent": short.used - held, "reserved": held, "needed": short.needed}}
    return GatehouseError(kind, _detail(short, held), retry_after=retry_after, facts=facts)


def unbounded(counter: Counter, bound: Bound) -> GatehouseError:
    """403: a hard spend cap, and nobody can say what the call may cost."""
    cap = next(cap for cap in counter.caps if cap.hard and cap.entry.assumed is None)
    why = bound.unbounded or "nobody can say what it may cost"
    detail = f"limit {cap.entry.id} caps spend, and this call has no upper bound: {why}"
    return GatehouseError(errors.UNBOUNDED_COST, detail, facts={"limit": _limit(cap.entry)})


def _limit(entry: LimitEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "scope": entry.scope,
        "scope_id": entry.scope_id,
        "measure": entry.measure,
        "window": entry.window,
        "cap": entry.cap,
    }


def _detail(short: Shortage, held: int) -> str:
    entry = short.cap.entry
    start = f"limit {entry.id} of {entry.scope} {entry.scope_id}: "
    if entry.measure == "requests":
        return f"{start}{_counted(entry.cap, 'request')} {_PER[entry.window]}"
    if entry.measure == "concurrency":
        return f"{start}{_counted(entry.cap, 'call')} at a time"
    per = _PER[entry.window]
    needs = f"this call may need {_amount(short, short.needed)}"
    if short.never:
        what = "limit" if short.own < 0 else "share"
        needs += f" and never fits: ask for less output (max_tokens or its kin), or have the {what} raised"
    if short.own >= 0:
        share = f"one key may hold {_amount(short, short.cap.share)} of {_amount(short, entry.cap)} {per}"
        holds = f"({entry.max_reserved_share} %, max_reserved_share) and holds {_amount(short, short.own)}"
        return f"{start}{share} {holds}; {needs}"
    spent = f"{_amount(short, short.used - held)} used and {_amount(short, held)} reserved"
    return f"{start}{spent} of {_amount(short, entry.cap)} {per}; {needs}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _amount(short: Shortage, amount: int) -> str:
    return _usd(amount) if short.counter.measure == "spend" else f"{amount} tokens"


def _usd(amount: int) -> str:
    whole, rest = divmod(amount, _DOLLAR)
    return f"${whole}.{rest:09d}".rstrip("0").rstrip(".")
