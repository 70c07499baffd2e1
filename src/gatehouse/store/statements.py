"""What is asked of the store about many calls: the SELECTs behind `analytics`, and what calls may be told apart by.

Rules: bound parameters only; plain SQL that SQLite and PostgreSQL both speak. What is grouped by is computed in a
subquery, since PostgreSQL does not take two equal expressions with parameters for the same one. A statement is made for
one `Scope`, which names the tenant (I6). Buckets are UTC; weeks begin on Monday.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Subquery, case, func, or_, select

from gatehouse.store.durations import rounded
from gatehouse.store.present import INPUT_PARTS, TOKEN_PARTS
from gatehouse.store.report import FAILED
from gatehouse.store.schema import traces
from gatehouse.store.stretches import Scope
from gatehouse.store.tally import LATEST
from gatehouse.store.times import DAY, HOUR

_MONDAY: Final = 3 * DAY
"""The epoch was a Thursday, three days into its week."""
CALLER: Final = func.coalesce(traces.c.key_id, traces.c.provider_key_hash)
"""The gateway key, else the hash of the provider key that the caller brought."""
_INPUT: Final = functools.reduce(operator.add, (func.coalesce(traces.c[f"tokens_{name}"], 0) for name in INPUT_PARTS))
SIZE: Final = case(
    (traces.c.tokens_input.is_(None), None),
    (_INPUT < 1_000, "0-1k"),
    (_INPUT < 4_000, "1k-4k"),
    (_INPUT < 16_000, "4k-16k"),
    (_INPUT < 64_000, "16k-64k"),
    else_="64k+",
)
"""By tokens on the prompt side, cached ones included."""
DIMENSIONS: Final[Mapping[str, ColumnElement[Any]]] = {
    "provider": traces.c.provider,
    "model": traces.c.model,
    "route": traces.c.route,
    "key": CALLER,
    "project": traces.c.project,
    "user": traces.c.user_id,
    "team": traces.c.team,
    "environment": traces.c.environment,
    "service": traces.c.service,
    "size": SIZE,
}
"""What calls may be grouped by, each call under one value."""
GROUPS: Final[Mapping[str, ColumnElement[Any]]] = {**DIMENSIONS, "workspace": traces.c.project, "tag": traces.c.tags}
"""And by another word for the project, and each of their tags: a call counts under every one (`tally.each_tag`)."""
KIND: Final = case(
    (traces.c.key_id.is_not(None), "gateway"), (traces.c.provider_key_hash.is_not(None), "provider"), else_="none"
)
"""What `CALLER` is."""
TOKENS: Final = tuple(f"tokens_{name}" for name in TOKEN_PARTS)
"""Columns."""
_MEASURED: Final = (
    "status",
    "outcome",
    "usage_source",
    "cost",
    "price",
    "started",
    "duration_us",
    "first_token_us",
    *TOKENS,
)

Dimensions = dict[str, ColumnElement[Any]]
Statement = Callable[[Scope], Select[Any]]


def began(time: ColumnElement[int], bucket: str) -> ColumnElement[int]:
    """When the `hour`, `day` or `week` of a time begins."""
    if bucket == "week":
        return time - (time + _MONDAY) % (7 * DAY)
    return time - time % (HOUR if bucket == "hour" else DAY)


def bucket_of(microseconds: int, bucket: str | None) -> int:
    """What `began` says in SQL."""
    if bucket == "week":
        return microseconds - (microseconds + _MONDAY) % (7 * DAY)
    return microseconds - microseconds % (HOUR if bucket == "hour" else DAY)


def summed(dimensions: Dimensions, names: tuple[str, ...]) -> Statement:
    """Rows of what calls are told apart by and the sums of these names."""

    def statement(scope: Scope) -> Select[Any]:
        cut = _cut(dimensions, *(traces.c[name] for name in _MEASURED), scope=scope)
        keys = [cut.c[f"by_{name}"] for name in dimensions]
        measures = _measures(cut)
        return select(*keys, *(measures[name].label(f"sum_{name}") for name in names)).group_by(*keys)

    return statement


def timed(dimensions: Dimensions, column: ColumnElement[int]) -> Statement:
    """Rows of what calls are told apart by, a rounded duration, how many calls took it, and their exact sum."""

    def statement(scope: Scope) -> Select[Any]:
        took = (rounded(column).label("took"), column.label("waited"))
        cut = _cut(dimensions, *took, scope=(*scope, column.is_not(None)))
        keys = [*(cut.c[f"by_{name}"] for name in dimensions), cut.c.took]
        return select(*keys, func.count().label("calls"), func.sum(cut.c.waited).label("waited")).group_by(*keys)

    return statement


def _cut(dimensions: Dimensions, *columns: ColumnElement[Any], scope: Scope) -> Subquery:
    named = [expression.label(f"by_{name}") for name, expression in dimensions.items()]
    return select(*named, *columns).where(*scope).subquery()


def _measures(cut: Subquery) -> dict[str, ColumnElement[Any]]:
    c = cut.c
    estimated = c.usage_source == "estimated"
    tokens = [func.coalesce(c[name], 0) for name in TOKENS]
    return {
        "calls": func.count(),
        "errors": func.sum(case((or_(c.status >= 400, c.outcome.in_(FAILED)), 1), else_=0)),
        "metered": func.count(c.tokens_input),
        "estimated": func.sum(case((estimated, 1), else_=0)),
        "estimated_tokens": func.sum(case((estimated, sum(tokens[1:], start=tokens[0])), else_=0)),
        "cost": func.sum(c.cost),
        "priced": func.count(c.cost),
        "free": func.sum(case((c.price == "free", 1), else_=0)),
        "unknown_price": func.sum(case((c.price == "unknown", 1), else_=0)),
        "ended": func.count(c.duration_us),
        "waited": func.sum(c.duration_us),
        "began": func.count(c.first_token_us),
        "began_waited": func.sum(c.first_token_us),
        LATEST: func.max(c.started),
        **{name: func.sum(c[name]) for name in TOKENS},
    }
