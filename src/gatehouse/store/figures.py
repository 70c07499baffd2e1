"""What questions about many calls are answered with: frozen values that the API encodes. Documented in `docs/api.md`.

Rules: field names are the JSON's and stay stable; times are RFC 3339 UTC with microseconds; durations are integer
microseconds, percentiles rounded down by less than 2.5 %; money is integer nano-dollars; rates are between 0 and 1;
`null` is unknown, never zero. A group is told by its dimensions' names; `null` there is what a call does not have.
"""

from __future__ import annotations

import msgspec

from gatehouse.store.views import Time, Tokens

Group = dict[str, str | None]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that began in [from, to)."""

    since: Time = msgspec.field(name="from")
    until: Time = msgspec.field(name="to")


class Series(Window, frozen=True, kw_only=True):
    """How the calls were told apart. Groups and buckets without calls are left out."""

    group_by: list[str]
    bucket: str | None
    """`hour`, `day` or `week`."""
    truncated: bool
    """There were more items than `limit`; `total` is of all of them."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Calls and their tokens."""

    bucket: Time | None
    """When it begins, which may be before `from`."""
    group: Group
    calls: int
    metered: int
    """Calls whose tokens are known or estimated."""
    estimated: int
    """Calls whose tokens were estimated."""
    estimated_tokens: int
    estimated_share: float | None
    """Of all tokens; `null` where there are none."""
    tokens: Tokens


class UsageFigures(Series, frozen=True, kw_only=True):
    """Usage, most calls first within a bucket."""

    total: UsageRow
    items: list[UsageRow]


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """Calls and what they cost."""

    bucket: Time | None
    group: Group
    calls: int
    cost_nano_usd: int | None
    """Of the calls whose cost is known; `null` where calls have an unknown price and none a known cost."""
    priced: int
    """Calls whose cost is known, free ones included."""
    free: int
    unknown_price: int


class CostFigures(Series, frozen=True, kw_only=True):
    """Cost, highest first within a bucket."""

    total: CostRow
    items: list[CostRow]


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of some calls. Percentiles by nearest rank."""

    calls: int
    avg_us: int | None
    p50_us: int | None
    p90_us: int | None
    p95_us: int | None
    p99_us: int | None


class LatencyRow(msgspec.Struct, frozen=True, kw_only=True):
    """How long calls took."""

    bucket: Time | None
    group: Group
    duration: Distribution
    """From acceptance to end, of calls that have ended."""
    first_token: Distribution
    """From acceptance to the first token, of calls that had one."""


class LatencyFigures(Series, frozen=True, kw_only=True):
    """Latency, most calls first within a bucket."""

    total: LatencyRow
    items: list[LatencyRow]


class Share(msgspec.Struct, frozen=True):
    """Some of the calls."""

    calls: int
    rate: float


class ErrorRow(msgspec.Struct, frozen=True, kw_only=True):
    """How calls ended."""

    bucket: Time | None
    group: Group
    calls: int
    errors: int
    """As in `store.views.Report`."""
    error_rate: float | None
    """`null` where there are no calls."""
    outcomes: dict[str, Share]
    codes: dict[str, Share]
    """By Gatehouse's error code; calls without one are left out."""
    statuses: dict[str, Share]
    """By class of the HTTP status the caller got, `2xx`; `none` where it got none."""


class ErrorFigures(Series, frozen=True, kw_only=True):
    """Errors, most first within a bucket."""

    refused_uncounted: int | None
    """Refusals beyond the flood rule's rate: not among `calls`. `null` where calls are filtered: nobody can tell."""
    total: ErrorRow
    items: list[ErrorRow]


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model asked, at one provider."""

    provider: str | None
    model: str | None
    calls: int
    errors: int
    error_rate: float | None
    tokens: Tokens
    cost_nano_usd: int | None
    unknown_price: int
    last_used: Time
    """When its newest call began."""


class ModelFigures(Window, frozen=True, kw_only=True):
    """Models, most calls first."""

    truncated: bool
    items: list[ModelRow]


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One key."""

    key: str | None
    kind: str
    """`gateway`: the id of a gateway key; `provider`: the keyed hash of a provider key that its caller brought; `none`:
    calls without a key."""
    calls: int
    errors: int
    error_rate: float | None
    tokens: Tokens
    cost_nano_usd: int | None
    unknown_price: int
    last_used: Time


class KeyFigures(Window, frozen=True, kw_only=True):
    """Keys, most calls first."""

    truncated: bool
    items: list[KeyRow]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The head figures of a window."""

    calls: int
    errors: int
    error_rate: float | None
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int | None
    unknown_price: int
    avg_us: int | None
    p50_us: int | None
    p95_us: int | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """How much more than before, relative to before: 0.25 is a quarter more. `null` where that is 0 or unknown."""

    calls: float | None
    errors: float | None
    error_rate: float | None
    input_tokens: float | None
    output_tokens: float | None
    cost_nano_usd: float | None
    unknown_price: float | None
    avg_us: float | None
    p50_us: float | None
    p95_us: float | None


class Summary(Window, frozen=True, kw_only=True):
    """A window's head figures, and those of the window of the same length before it."""

    current: Head
    before: Head
    change: Change
    refused_uncounted: int | None
    """As in `ErrorFigures`, of the current window."""
