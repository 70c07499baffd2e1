"""What the tests of limits share: entries in brief, clocks that move when told, a call as far as its bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import msgspec

from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.model.limits import Bound, Clamp, LimitEntry, Measure, ScopeKind, Window
from gatehouse.model.moment import Moment

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOON = 1_795_262_400 * SECOND
"""2026-11-21 12:00 UTC"""


def entry(
    measure: Measure,
    window: Window,
    cap: int,
    *,
    scope: ScopeKind = "key",
    scope_id: str = "key_a",
    id: str = "",
    **more: Any,
) -> LimitEntry:
    """A limit; its id, unless given, follows from what it limits."""
    made = LimitEntry(id or f"lim_{scope}_{measure}_{window}", "ten", scope, scope_id, measure, window, cap)
    return msgspec.structs.replace(made, **more)


@dataclasses.dataclass
class Clock:
    """Both clocks, in microseconds."""

    unix: int = NOON
    steady: int = 5_000_000_000_000

    def now(self) -> Moment:
        return Moment(self.unix, self.steady)

    def pass_(self, microseconds: int) -> Moment:
        self.unix += microseconds
        self.steady += microseconds
        return self.now()


class House:
    """Local limits with a clock."""

    def __init__(self, *entries: LimitEntry, unix: int = NOON) -> None:
        self.clock = Clock(unix)
        self.limits = LocalLimits()
        self.configure(entries)

    def configure(self, entries: Iterable[LimitEntry]) -> None:
        self.limits.configure({one.id: one for one in entries}, self.clock.now())

    def claim(self, key: str | None = "key_a", *, project: str = "prj", user: str | None = None) -> Claim:
        return Claim("ten", project, key, user, "gpt-4o", "crd")

    def admit(self, claim: Claim | None = None) -> Claim | GatehouseError:
        claim = claim or self.claim()
        return self.limits.admit(claim, self.clock.now()) or claim

    def admitted(self, claim: Claim | None = None) -> Claim:
        found = self.admit(claim)
        assert isinstance(found, Claim), found.detail
        return found

    def refused(self, claim: Claim | None = None) -> GatehouseError:
        found = self.admit(claim)
        assert isinstance(found, GatehouseError)
        return found

    def reserve(self, claim: Claim, tokens: int = 0, cost: int | None = 0) -> GatehouseError | Clamp | None:
        return self.limits.reserve(claim, Bound(tokens, cost), self.clock.now())

    def reserved(self, tokens: int = 0, cost: int | None = 0, key: str | None = "key_a") -> Claim:
        """A call that has reserved so much."""
        claim = self.admitted(self.claim(key))
        error = self.reserve(claim, tokens, cost)
        assert error is None
        return claim

    def short(self, tokens: int = 0, cost: int | None = 0, key: str | None = "key_a") -> GatehouseError:
        """The refusal of a call that would reserve so much."""
        claim = self.admitted(self.claim(key))
        error = self.reserve(claim, tokens, cost)
        assert isinstance(error, GatehouseError)
        self.limits.withdraw(claim, self.clock.now())
        return error

    def settle(self, claim: Claim, tokens: int | None = 0, cost: int | None = 0, *, estimated: bool = False) -> None:
        self.limits.settle(claim, tokens, cost, self.clock.now(), estimated=estimated)

    def header(self, name: str, claim: Claim | None = None) -> int | None:
        """A number of `x-gatehouse-ratelimit-…`."""
        lines = self.limits.lines(claim or self.claim(), self.clock.now()).decode().split("\r\n")
        found = dict(line.split(": ") for line in lines if line)
        value = found.get(f"x-gatehouse-ratelimit-{name}")
        return None if value is None else int(value)
