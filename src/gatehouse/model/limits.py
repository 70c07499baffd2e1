"""Limits in their one declarative form, and what a call reserves and settles on them.

Rules: amounts are integers: requests, tokens, calls at a time, nano-dollars. Counters belong to what is limited, not to
the limit: deleting a limit and making it anew frees nothing (`counter`). Windows of rates slide; spend counts by
calendar in UTC.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ScopeKind = Literal["tenant", "project", "key", "user", "model", "credential"]
Measure = Literal["requests", "tokens", "concurrency", "spend"]
Window = Literal["minute", "hour", "day", "month", "total", "now"]
"""`requests`: minute, hour, day. `tokens`: minute, day. `concurrency`: now. `spend`: day, month, total."""


class LimitEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One limit. `hard`: never exceeded (I4). Soft: exceeding it is an event."""

    id: str
    tenant: str
    scope: ScopeKind
    scope_id: str
    """Id of the key, project … ; the tenant's own id; `model`: the model asked for, as callers write it."""
    measure: Measure
    window: Window
    cap: int
    hard: bool = True
    at_cap: Literal["reject", "clamp"] = "reject"
    """`clamp`: the output maximum is lowered to what the budget still affords."""
    on_unknown: Literal["bound", "estimate"] = "bound"
    """What a call whose usage nobody knows settles by."""
    when_down: Literal["open", "closed"] | None = None
    """Where the shared ledger is away; `None`: hard spend closed, all else open (I7)."""
    assumed: int | None = None
    """Nano-dollars reserved for a call without a finite bound; `None`: such calls are refused."""

    @property
    def counter(self) -> str:
        """Names what is counted."""
        return f"{self.tenant}/{self.scope}/{self.scope_id}/{self.measure}/{self.window}"


class Reserved(msgspec.Struct, frozen=True, gc=False):
    """What a decision holds of a counter."""

    counter: str
    period: str
    """Of spend: the UTC day (`2026-11-21`), month (`2026-11`), or empty for `total`. Of rates: empty."""
    amount: int


class Bound(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The most a call can use."""

    tokens: int
    """Prompt and output."""
    cost: int | None
    """Nano-dollars, at the dearest candidate; `None`: nobody can say."""
    unbounded: str | None = None
    """Why nobody can say, for the caller."""
