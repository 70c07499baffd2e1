"""How roll-ups are read: which of them can answer a question, which hours and days of a window they hold, and the
SELECTs that sum them up. `rolling` makes them.

Rules: a cube tells calls apart by some columns, and a question is put to the first that has all it asks for, or to the
calls themselves. A window is covered by whole days, whole hours and, for what is left, calls: each call is in exactly
one of them. An hour or a day counts only where `rolled` says so in the same transaction as its rows are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Select, Table, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.store.queries import TraceFilter
from gatehouse.store.rows import RollupRow
from gatehouse.store.schema import rolled, rollup_durations, rollups
from gatehouse.store.sight import Sight
from gatehouse.store.statements import began
from gatehouse.store.stretches import Scope
from gatehouse.store.tally import LATEST
from gatehouse.store.times import DAY, HOUR

Grain = Literal["hour", "day"]

LENGTHS: Final[Mapping[Grain, int]] = {"hour": HOUR, "day": DAY}
CUBES: Final[Mapping[str, tuple[str, ...]]] = {
    "projects": ("project", "team", "environment", "service"),
    "models": ("provider", "model", "model_answered", "route"),
    "keys": ("caller", "kind"),
    "users": ("user_id",),
    "sizes": ("provider", "model", "model_answered", "route", "size"),
    "callers": (
        *("project", "team", "environment", "service"),
        *("provider", "model", "model_answered", "route", "caller", "kind", "user_id"),
    ),
}
"""What each tells apart, besides how calls ended. The smallest first."""
MAIN: Final = "projects"
"""The one that every hour has that is rolled up."""
LARGEST: Final = "callers"
"""The one that an hour with too many groups goes without."""
ENDS: Final = ("outcome", "code", "status_class")
SUMS: Final = RollupRow.__struct_fields__[RollupRow.__struct_fields__.index("calls") :]
"""The columns that add up, but for `latest`."""
TIMES: Final[Mapping[str, tuple[str, str, str]]] = {
    "duration_us": ("ended", "waited", "durations"),
    "first_token_us": ("began", "began_waited", "first_tokens"),
}
"""Where the durations of a column of calls are kept: how many, their exact sum, and the counts."""
OTHER: Final = "(other)"
"""A name that stands for those beyond `rolling.MOST`."""

_COLUMNS: Final[Mapping[str, str]] = {
    **{name: name for name in ("provider", "model", "route", "project", "size", "kind", "outcome", "code")},
    **{name: name for name in ("team", "environment", "service")},
    "workspace": "project",
    "key": "caller",
    "user": "user_id",
    "class": "status_class",
}
"""By the name of a dimension."""
_FILTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "since": (),
    "until": (),
    "project": ("project",),
    "provider": ("provider",),
    "model": ("model", "model_answered"),
    "route": ("route",),
    "caller": ("caller",),
    "user": ("user_id",),
    "team": ("team",),
    "environment": ("environment",),
    "service": ("service",),
    "outcome": ("outcome",),
    "code": ("code",),
}
"""By the name of a filter."""

_BY: Final = "by_"

Rows = Callable[[Scope], Select[Any]]


class Segment(NamedTuple):
    """A part of a window, [since, until): whole days, whole hours, or calls."""

    grain: Grain | Literal["call"]
    since: int
    until: int


def cube_for(dimensions: Iterable[str], sight: Sight, wanted: TraceFilter, *, ends: bool) -> str | None:
    """The cube that can tell these dimensions, filters and what may be seen apart. `ends`: whether the question may
    look at how calls ended, which durations are not told apart by. `None`: only the calls can."""
    needed = sight.told_by()
    for name in dimensions:
        if name not in _COLUMNS:
            return None
        needed.add(_COLUMNS[name])
    for field in msgspec.structs.fields(wanted):
        if getattr(wanted, field.name) != field.default:
            if field.name not in _FILTERS:
                return None
            needed.update(_FILTERS[field.name])
    if not ends and needed.intersection(ENDS):
        return None
    return next((cube for cube, columns in CUBES.items() if needed.difference(ENDS).issubset(columns)), None)


def together(dimensions: Iterable[str], sight: Sight, wanted: TraceFilter, *, ends: bool) -> list[tuple[str, ...]]:
    """Dimensions that are answered from the same cube, or from calls. `ends` as in `cube_for`."""
    found: dict[str | None, tuple[str, ...]] = {}
    for name in dimensions:
        cube = cube_for((name,), sight, wanted, ends=ends)
        found[cube] = (*found.get(cube, ()), name)
    return list(found.values())


def conditions(table: Table, sight: Sight, wanted: TraceFilter) -> list[ColumnElement[bool]]:
    """What `queries.conditions` says of calls, of the rows of a roll-up."""
    c = table.c
    found = sight.own(table)
    for name in ("project", "team", "environment", "service", "provider", "route", "caller", "user"):
        value = getattr(wanted, name)
        if value is not None:
            found.append(c[_FILTERS[name][0]] == value)
    if wanted.model is not None:
        found.append(or_(c.model == wanted.model, c.model_answered == wanted.model))
    if wanted.outcome:
        found.append(c.outcome.in_(wanted.outcome))
    if wanted.code:
        found.append(c.code.in_(wanted.code))
    return found


async def plan(
    connection: AsyncConnection, tenant: str, cube: str, since: int, until: int, order: Sequence[Grain]
) -> list[Segment]:
    """How a window is covered, in order of time. `order`: which grain goes first."""
    segments = [Segment("call", since, until)]
    for grain in order:
        covered: list[Segment] = []
        for segment in segments:
            if segment.grain != "call" or segment.until - segment.since < LENGTHS[grain]:
                covered.append(segment)
                continue
            statement = select(rolled.c.start).where(*at(rolled, tenant, cube, segment._replace(grain=grain)))
            starts = (await connection.execute(statement.order_by(rolled.c.start))).scalars()
            covered += cover(segment, starts, grain)
        segments = covered
    return segments


def cover(gap: Segment, starts: Iterable[int], grain: Grain) -> list[Segment]:
    """A stretch of calls, as far as possible by the hours or days that begin at `starts`. Pure."""
    found: list[Segment] = []
    reached = gap.since
    for start in starts:
        end = start + LENGTHS[grain]
        if start < reached or end > gap.until:
            continue
        if start > reached:
            found.append(Segment("call", reached, start))
        if found and found[-1].grain == grain and found[-1].until == start:
            found[-1] = found[-1]._replace(until=end)
        else:
            found.append(Segment(grain, start, end))
        reached = end
    if reached < gap.until:
        found.append(Segment("call", reached, gap.until))
    return found


async def holds(connection: AsyncConnection, tenant: str, cube: str, segment: Segment) -> bool:
    """Whether all hours or days of a segment are still rolled up."""
    length = LENGTHS["day" if segment.grain == "day" else "hour"]
    statement = select(func.count()).select_from(rolled).where(*at(rolled, tenant, cube, segment))
    found: int = (await connection.execute(statement)).scalar_one()
    return found == (segment.until - segment.since) // length


def within(table: Table, sight: Sight, cube: str, segment: Segment, wanted: TraceFilter) -> Scope:
    """The rows of one segment, of the calls that are wanted."""
    return (*at(table, sight.tenant, cube, segment), *conditions(table, sight, wanted))


def summed(dimensions: Iterable[str], names: tuple[str, ...], bucket: str | None) -> Rows:
    """What `statements.summed` says of calls."""

    def statement(scope: Scope) -> Select[Any]:
        cut = select(*_named(rollups, dimensions, bucket), *(rollups.c[name] for name in names)).where(*scope)
        inner = cut.subquery()
        keys = [column for column in inner.c if column.name.startswith(_BY)]
        sums = [(func.max if name == LATEST else func.sum)(inner.c[name]).label(f"sum_{name}") for name in names]
        return select(*keys, *sums).group_by(*keys)

    return statement


def timed(dimensions: Iterable[str], column: str, bucket: str | None) -> Rows:
    """Rows of what calls are told apart by, how many calls have a duration, their exact sum, and what `durations.pack`
    made of them. `column`: `duration_us` or `first_token_us`."""

    def statement(scope: Scope) -> Select[Any]:
        kept = (rollup_durations.c[name] for name in TIMES[column])
        return select(*_named(rollup_durations, dimensions, bucket), *kept).where(*scope)

    return statement


def _named(table: Table, dimensions: Iterable[str], bucket: str | None) -> list[ColumnElement[Any]]:
    by: list[ColumnElement[Any]] = [
        table.c[_COLUMNS[name]].label(_BY + name) for name in dimensions if name != "bucket"
    ]
    return by if bucket is None else [began(table.c.start, bucket).label(_BY + "bucket"), *by]


def at(table: Table, tenant: str, cube: str, segment: Segment) -> Scope:
    """The rows of one segment, of all its calls."""
    c = table.c
    return (
        c.tenant == tenant,
        c.cube == cube,
        c.grain == segment.grain,
        c.start >= segment.since,
        c.start < segment.until,
    )
