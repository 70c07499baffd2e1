"""Limits in their one declarative form, and what a call reserves and settles on them.

Rules: amounts are integers: requests, tokens, calls at a time, nano-dollars. Counters belong to what is limited, not to
the limit: deleting a limit and making it anew frees nothing (`counter`). Windows of rates slide; spend counts by
calendar in UTC.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

ScopeKind = Literal["tenant", "project", "key", "user", "model", "credential"]
Measure = Literal["requests", "tokens", "concurrency", "spend"]
Window = Literal["minute", "hour", "day", "month", "total", "now"]
AtCap = Literal["reject", "clamp"]
OnUnknown = Literal["bound", "estimate"]
WhenDown = Literal["open", "closed"]

WINDOWS: Final[dict[Measure, tuple[Window, ...]]] = {
    "requests": ("minute", "hour", "day"),
    "tokens": ("minute", "day"),
    "concurrency": ("now",),
    "spend": ("day", "month", "total"),
}
"""What each measure may be limited by."""

LARGEST_CAP: Final = 10**18
"""In nano-dollars a billion dollars. Sums stay within 64 bits."""
DEFAULT_SHARE: Final = 25
"""`LimitEntry.max_reserved_share` unless set."""


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
    at_cap: AtCap = "reject"
    """`clamp`: the output maximum is lowered to what the budget still affords."""
    on_unknown: OnUnknown = "bound"
    """What a call whose usage nobody knows settles by."""
    when_down: WhenDown | None = None
    """Where the shared ledger is away; `None`: hard spend closed, all else open (I7)."""
    assumed: int | None = None
    """Nano-dollars reserved for a call without a finite bound; `None`: such calls are refused."""
    max_reserved_share: int = DEFAULT_SHARE
    """Per cent of `cap` that the running calls of one key may hold; a key's and a user's own limits are all theirs."""

    @property
    def counter(self) -> str:
        """Names what is counted."""
        return f"{self.tenant}/{self.scope}/{self.scope_id}/{self.measure}/{self.window}"


def check(entry: LimitEntry) -> None:
    """Raises `ValueError` if its measure has no such window."""
    if entry.window not in WINDOWS[entry.measure]:
        raise ValueError(f"limit {entry.id}: {entry.measure} has no window {entry.window!r}")


def of_counter(name: str) -> LimitEntry:
    """What a counter's name says, as a limit without id and cap. Ids of models may hold a slash. Raises `ValueError`
    if no counter has such a name."""
    try:
        tenant, scope, rest = name.split("/", 2)
        scope_id, measure, window = rest.rsplit("/", 2)
        said = {"tenant": tenant, "scope": scope, "scope_id": scope_id, "measure": measure, "window": window}
        entry = msgspec.convert({**said, "id": "", "cap": 0}, LimitEntry)
        check(entry)
    except (ValueError, msgspec.ValidationError) as error:
        raise ValueError(f"no counter has the name {name!r}: {error}") from None
    return entry


def is_spend(counter: str) -> bool:
    """Whether a counter, by its name, is one of spend."""
    return counter.rpartition("/")[0].endswith("/spend")


class Reserved(msgspec.Struct, frozen=True, gc=False):
    """What a decision holds of a counter."""

    counter: str
    period: str
    """Of spend: the UTC day (`2026-11-21`), month (`2026-11`), or empty for `total`. Of rates: empty."""
    amount: int


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What became of one `Reserved`, of the same counter and period; or what an earlier call used after all."""

    counter: str
    period: str
    reserved: int
    """What is given back."""
    amount: int
    """What was used; of an earlier call, how much more, or less (below 0), than was settled."""


class Bound(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The most a call can use."""

    tokens: int
    """Prompt and output."""
    cost: int | None
    """Nano-dollars, at the dearest candidate; `None`: nobody can say."""
    unbounded: str | None = None
    """Why nobody can say, for the caller."""
    max_output: int = 0
    """The output maximum it counts with, tokens of one choice; 0: there is none that could be lowered."""
    output_tokens: int = 0
    """What of `tokens` grows with `max_output`: all choices together."""
    output_cost: int = 0
    """What of `cost` grows with it."""


class Clamp(msgspec.Struct, frozen=True, gc=False):
    """The call may go on with this output maximum and no more: that is what was reserved."""

    max_output: int
    """Tokens of one choice."""


class LimitEvent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Something to tell about a limit."""

    kind: Literal["threshold", "exceeded"]
    """`threshold`: use has come to `percent` of the cap, or (100) a call was refused for it. `exceeded`: use is above
    the cap: of a soft limit, or because a call used more than its bound."""
    limit: str
    tenant: str
    counter: str
    period: str
    """As in `Reserved`."""
    percent: int
    used: int
    """Settled and reserved; of `spend`, settled alone."""
    cap: int
    hard: bool
    at: int
    """Unix microseconds."""
