"""What changed when spend, latency or errors did: two windows compared, value by value of a dimension.

Rules: made of what `Analytics` answers, so that figures here are the figures there; the arithmetic stands in
`contribution`. Contributions of one dimension, the rest included, add up to the whole change. A dimension that tells
calls apart by too much is named and left out, not sampled.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from gatehouse.store import times
from gatehouse.store.analytics import PATIENCE_SECONDS, Analytics, Asked
from gatehouse.store.contribution import NOTHING, Effects, Part, Value, amounts, means, whole
from gatehouse.store.figures import Window
from gatehouse.store.queries import TraceFilter
from gatehouse.store.statements import DIMENSIONS, TOKENS
from gatehouse.store.stretches import TooLongError
from gatehouse.store.tally import TooManyError, cost, rate, token_counts

_SHIFTS: Final[Mapping[str, int]] = {"day": times.DAY, "week": 7 * times.DAY}
BASELINES: Final = ("previous", *_SHIFTS)
"""Windows of the same length: the one just before, the same hours a day or a week before."""

T = TypeVar("T")
Metric = Literal["cost", "latency", "errors"]
State = Literal["both", "new", "vanished", "rest"]
_SPENT: Final = ("calls", "cost", "priced", "unknown_price", *TOKENS)
UNITS: Final[Mapping[Metric, str]] = {"cost": "nano_usd", "latency": "us", "errors": "errors"}


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls are compared with which. Times are microseconds since the epoch."""

    since: int
    until: int
    base_since: int
    base_until: int
    filter: TraceFilter = TraceFilter()
    """Its own times are not looked at."""
    limit: int = 10
    """Values told one by one, of each dimension."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One window."""

    calls: int
    """`cost`: those whose cost is known; `latency`: those that have ended."""
    amount: int | None
    """`cost`: nano-dollars; `latency`: the mean, microseconds; `errors`: their number."""
    error_rate: float | None
    """`errors` alone."""
    p95_us: int | None
    """`latency` alone."""
    unknown_price: int | None
    """`cost` alone: calls that cost something nobody knows."""


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls with one value of a dimension contribute to the change."""

    dimension: str
    value: str | None
    """`null`: what a call does not have; of the rest always."""
    state: State
    values: int
    """How many these are: more than one in the rest."""
    calls_before: int
    calls_after: int
    before: int | None
    after: int | None
    change: int | None
    """To the whole change, in its unit."""
    share: float | None
    """In the whole change; `null` where that is 0 or unknown."""
    volume: int | None
    """Of `change`, by more or fewer calls altogether."""
    mix: int | None
    """Of `change`, by more or fewer of these among the calls."""
    per_call: int | None
    """Of `change`, by what one of these calls costs, takes, or how often it fails."""
    tokens: int | None
    """Of `per_call`, by more or fewer tokens a call."""
    price: int | None
    """Of `per_call`, by what a token costs."""
    error_rate_before: float | None
    error_rate_after: float | None
    error_rate_change: float | None
    """To the change of the error rate of all."""
    p95_us_before: int | None
    p95_us_after: int | None


class Explanation(Window, frozen=True, kw_only=True):
    """Two windows compared."""

    metric: Metric
    unit: str
    """`nano_usd`, `us`, `errors`."""
    baseline: Window
    before: Side
    after: Side
    change: int | None
    relative: float | None
    """To before: 0.25 is a quarter more. `null` where that is 0 or unknown."""
    too_many: list[str]
    """Dimensions that have too many values to compare."""
    items: list[Contribution]
    """Dimension by dimension, the largest contribution first, up or down; the rest last."""


class _Found(NamedTuple):
    """One window, told apart by one dimension."""

    parts: dict[Value, Part]
    p95: dict[Value, int | None]


class _Window(NamedTuple):
    """One window."""

    side: Side
    by: dict[str, _Found]
    """Dimensions that calls can be told apart by."""


class _Moved(NamedTuple):
    """One value, or the rest of them, in both windows."""

    value: Value
    state: State
    values: int
    before: Part
    after: Part
    effects: Effects | None
    rate: Fraction | None
    """To the change of the error rate."""
    p95: tuple[int | None, int | None]


class _Asking:
    """Puts one question after the other, and none after the deadline."""

    def __init__(self, analytics: Analytics, patience: float) -> None:
        self._analytics = analytics
        self._deadline = time.monotonic() + patience

    async def put(self, question: Callable[[Analytics], Awaitable[T]]) -> T:
        if time.monotonic() > self._deadline:
            raise TooLongError("there are more calls than can be compared in time; ask for a shorter window")
        return await question(self._analytics)


_Source = Callable[[_Asking, Asked], Awaitable[_Window]]


def baseline(named: str, since: int, until: int) -> tuple[int, int]:
    """The window that one of `BASELINES` is. Never before the epoch began."""
    shift = _SHIFTS.get(named, until - since)
    return max(since - shift, 0), max(until - shift, 0)


async def explain(
    analytics: Analytics, metric: Metric, compared: Compared, *, patience: float = PATIENCE_SECONDS
) -> Explanation:
    """Raises `StoreError`, of which `TooLongError` where questions are left after `patience` seconds; `TooManyError`
    where no dimension can be compared."""
    asking = _Asking(analytics, patience)
    windows = [
        Asked(since=since, until=until, filter=compared.filter, group_by=tuple(DIMENSIONS))
        for since, until in ((compared.base_since, compared.base_until), (compared.since, compared.until))
    ]
    before, after = [await _SOURCES[metric](asking, asked) for asked in windows]
    told = [dimension for dimension in DIMENSIONS if dimension in before.by and dimension in after.by]
    change, was = _change(before.side, after.side), before.side.amount
    items: list[Contribution] = []
    for dimension in told:
        ranked = _ranked(_moved(metric, before.by[dimension], after.by[dimension], change), compared.limit)
        items += [_contribution(metric, dimension, each, change) for each in ranked]
    return Explanation(
        since=times.rfc3339(compared.since),
        until=times.rfc3339(compared.until),
        metric=metric,
        unit=UNITS[metric],
        baseline=Window(since=times.rfc3339(compared.base_since), until=times.rfc3339(compared.base_until)),
        before=before.side,
        after=after.side,
        change=change,
        relative=None if change is None or not was else change / was,
        too_many=[dimension for dimension in DIMENSIONS if dimension not in told],
        items=items,
    )


async def _cost(asking: _Asking, asked: Asked) -> _Window:
    each = await asking.put(lambda analytics: analytics.sums_by_each(asked, _SPENT))
    total = _one_of(each).total()
    side = _side(total["priced"], cost(total), unknown_price=total["unknown_price"])
    by: dict[str, _Found] = {}
    for dimension, sums in each.items():
        parts: dict[Value, Part] = {}
        for (value,), found in sums.items():
            counted = token_counts(found)  # of all calls, those without a known cost included
            tokens = None if found["unknown_price"] else counted.input_total + counted.output_total
            parts[value] = Part(found["calls"], found["priced"], found["cost"], tokens)
        by[dimension] = _Found(parts, {})
    return _Window(side, by)


async def _latency(asking: _Asking, asked: Asked) -> _Window:
    each = await asking.put(lambda analytics: analytics.durations_by_each(asked))
    total = _one_of(each).total()
    by: dict[str, _Found] = {}
    for dimension, durations in each.items():
        took = {value: found for (value,), found in durations.items().items()}
        by[dimension] = _Found(
            {value: Part(at.calls, at.calls, at.calls * (at.avg_us or 0), None) for value, at in took.items()},
            {value: at.p95_us for value, at in took.items()},
        )
    return _Window(_side(total.calls, total.avg_us, p95_us=total.p95_us), by)


async def _errors(asking: _Asking, asked: Asked) -> _Window:
    each = await asking.put(lambda analytics: analytics.sums_by_each(asked, ("calls", "errors")))
    total = _one_of(each).total()
    side = _side(total["calls"], total["errors"], error_rate=rate(total["errors"], total["calls"]))
    by: dict[str, _Found] = {}
    for dimension, sums in each.items():
        counted = ((value, found["calls"], found["errors"]) for (value,), found in sums.items())
        by[dimension] = _Found({value: Part(calls, calls, errors, None) for value, calls, errors in counted}, {})
    return _Window(side, by)


def _one_of(each: Mapping[str, T]) -> T:
    """Whichever dimension: all calls are told apart by each."""
    for found in each.values():
        return found
    raise TooManyError("the calls differ in too much to be compared; filter, or ask for a shorter window")


_SOURCES: Final[Mapping[Metric, _Source]] = {"cost": _cost, "latency": _latency, "errors": _errors}


def _side(
    calls: int,
    amount: int | None,
    *,
    error_rate: float | None = None,
    p95_us: int | None = None,
    unknown_price: int | None = None,
) -> Side:
    return Side(calls=calls, amount=amount, error_rate=error_rate, p95_us=p95_us, unknown_price=unknown_price)


def _change(before: Side, after: Side) -> int | None:
    return None if before.amount is None or after.amount is None else after.amount - before.amount


def _moved(metric: Metric, before: _Found, after: _Found, change: int | None) -> list[_Moved]:
    effects, rates = _effects(metric, before.parts, after.parts, change)
    found: list[_Moved] = []
    for value in dict.fromkeys((*before.parts, *after.parts)):
        was, now = before.parts.get(value, NOTHING), after.parts.get(value, NOTHING)
        state: State = "new" if not was.seen else "both" if now.seen else "vanished"
        p95 = before.p95.get(value), after.p95.get(value)
        found.append(_Moved(value, state, 1, was, now, effects.get(value), rates.get(value), p95))
    return found


def _effects(
    metric: Metric, before: Mapping[Value, Part], after: Mapping[Value, Part], change: int | None
) -> tuple[dict[Value, Effects], dict[Value, Fraction]]:
    """Contributions to the change, and to that of the error rate."""
    if change is None:
        return {}, {}
    if metric == "cost":
        return amounts(before, after), {}
    moved = means(before, after) or {}
    if metric == "errors":
        return amounts(before, after), {value: mix + each for value, (mix, each) in moved.items()}
    found: dict[Value, Effects] = {}
    changes = whole([mix + each for mix, each in moved.values()], change)
    for (value, parts), exact in zip(moved.items(), changes, strict=True):
        mix, each = whole(parts, exact)
        found[value] = Effects(0, mix, each, None, None)
    return found, {}


def _ranked(moved: list[_Moved], limit: int) -> list[_Moved]:
    """The largest contributions, and what is left as one."""

    def place(each: _Moved) -> tuple[int, int, bool, str]:
        size = 0 if each.effects is None else abs(each.effects.change)
        return -size, -each.before.calls - each.after.calls, each.value is None, each.value or ""

    moved = sorted(moved, key=place)
    left = moved[limit:]
    return moved[:limit] + ([_rest(left)] if left else [])


def _rest(left: Sequence[_Moved]) -> _Moved:
    effects, rates = [each.effects for each in left], [each.rate for each in left]
    return _Moved(
        None,
        "rest",
        len(left),
        _together(each.before for each in left),
        _together(each.after for each in left),
        None if None in effects else Effects(*map(_sum, zip(*filter(None, effects), strict=True))),
        None if None in rates else sum(filter(None, rates), Fraction(0)),
        (None, None),
    )


def _together(parts: Iterable[Part]) -> Part:
    return Part(*map(_sum, zip(*parts, strict=True)))


def _sum(numbers: Iterable[int | None]) -> Any:
    """`None` where one of them is."""
    found = 0
    for number in numbers:
        if number is None:
            return None
        found += number
    return found


def _contribution(metric: Metric, dimension: str, moved: _Moved, change: int | None) -> Contribution:
    before, after, effects = moved.before, moved.after, moved.effects
    told: dict[str, int | None] = dict.fromkeys(("change", "volume", "mix", "per_call", "tokens", "price"))
    if effects is not None:
        told |= {"change": effects.change, **effects._asdict()}
        if metric == "latency":
            told["volume"] = None
        if metric != "cost":
            told["tokens"] = told["price"] = None
    rates = (_rate(before), _rate(after)) if metric == "errors" else (None, None)
    return Contribution(
        dimension=dimension,
        value=moved.value,
        state=moved.state,
        values=moved.values,
        calls_before=before.calls,
        calls_after=after.calls,
        before=_amount(metric, before),
        after=_amount(metric, after),
        **told,
        share=effects.change / change if effects is not None and change else None,
        error_rate_before=rates[0],
        error_rate_after=rates[1],
        error_rate_change=None if moved.rate is None else float(moved.rate),
        p95_us_before=moved.p95[0],
        p95_us_after=moved.p95[1],
    )


def _amount(metric: Metric, part: Part) -> int | None:
    """Of a latency the mean."""
    if metric != "latency":
        return part.amount
    return part.amount // part.calls if part.calls else None


def _rate(part: Part) -> float | None:
    return part.amount / part.calls if part.calls else None
