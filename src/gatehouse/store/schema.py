"""The tables. Every field is explained in `docs/store.md`.

Rules: a table's columns are the fields of its struct in `rows`, so that what is written and what is declared cannot
differ. Tenant stands first in every key and index of what belongs to a tenant. Few indexes, since each is paid for with
every call: calls are read newest first along (tenant, call), because call ids are UUIDv7 and sort by time; `queries`
bounds how far a filter looks. Plain SQL types only: this file serves SQLite and PostgreSQL alike. A change here or in
`rows` needs a migration, and `REVISION` names the newest one.
"""

from __future__ import annotations

import types
import typing
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    true,
)
from sqlalchemy.types import TypeEngine

from gatehouse.store.rows import (
    IDENTITY,
    TRACE_COLUMNS,
    AuditRow,
    BodyPart,
    Concluded,
    Decided,
    LedgerRow,
    LinkKey,
    Mark,
    RefusedCount,
    Rolled,
    RollupDurations,
    RollupRow,
    SpanRow,
)

REVISION: Final = "0004"
"""The migration this release's tables are at."""

metadata: Final = MetaData()

_SQL: Final[dict[type, type[TypeEngine[Any]]]] = {
    str: Text,
    int: BigInteger,
    bool: Boolean,
    float: Double,
    bytes: LargeBinary,
}


def _columns(*structs: type[msgspec.Struct]) -> dict[str, Column[Any]]:
    """One column per field, in order; nullable where the field may be `None`."""
    columns: dict[str, Column[Any]] = {}
    for struct in structs:
        for name, annotation in typing.get_type_hints(struct).items():
            given = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
            [kind] = [each for each in given if each is not types.NoneType]
            columns.setdefault(name, Column(name, _SQL[kind](), nullable=types.NoneType in given, autoincrement=False))
    return columns


def _trace_columns() -> list[Column[Any]]:
    columns = _columns(Decided, Concluded)
    # Either half may be missing: only what both halves can tell is certain to be there.
    for name, column in columns.items():
        column.nullable = name not in (*IDENTITY, "trace_id", "started", "outcome")
    return [columns[name] for name in TRACE_COLUMNS]


traces: Final = Table(
    "traces",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    *_trace_columns(),
    Index("traces_call", "tenant", "call", unique=True),
)
"""One row per call."""

# What is partial on PostgreSQL stands in the migration: naming that dialect here would load it at every start (30 ms).
# Only calls whose caller sent a W3C trace id: the others' trace id is their call id.
Index(
    "traces_sent",
    traces.c.tenant,
    traces.c.trace_id,
    traces.c.call,
    sqlite_where=traces.c.trace_sent == true(),
)
# Outcomes that were collected before their decision: nearly always empty.
Index(
    "traces_undecided",
    traces.c.tenant,
    traces.c.call,
    sqlite_where=traces.c.decision_lane.is_(None),
)

# Only calls that belong to one; as for the index above, what is partial on PostgreSQL stands in the migration.
for _column in (traces.c.loop, traces.c.group_id, traces.c.thread_id, traces.c.run_id, traces.c.job):
    Index(
        f"traces_{_column.name.removesuffix('_id')}",
        traces.c.tenant,
        _column,
        traces.c.call,
        sqlite_where=_column.is_not(None),
    )

link_keys: Final = Table(
    "link_keys",
    metadata,
    *_columns(LinkKey).values(),
    PrimaryKeyConstraint("tenant", "day", "key", "call", "offered"),
    sqlite_with_rowid=False,
)
"""By what calls of the last days may be known to go on from each other."""

spans: Final = Table(
    "spans",
    metadata,
    *_columns(SpanRow).values(),
    PrimaryKeyConstraint("tenant", "call", "position"),
    sqlite_with_rowid=False,
)
"""The spans of ended calls."""

bodies: Final = Table(
    "bodies",
    metadata,
    *_columns(BodyPart).values(),
    PrimaryKeyConstraint("tenant", "call", "side", "part"),
)
"""Captured bodies (opt-in), in pieces of one zlib stream per side."""

refusals: Final = Table(
    "refusals",
    metadata,
    *_columns(RefusedCount).values(),
    PrimaryKeyConstraint("tenant", "lane", "seq"),
)
"""Refusals that the flood rule counted instead of listing."""

audit: Final = Table(
    "audit",
    metadata,
    *_columns(AuditRow).values(),
    PrimaryKeyConstraint("tenant", "id"),
    sqlite_with_rowid=False,
)
"""Changes of the administrative state, and log-ins; ids sort by time."""

ledger: Final = Table(
    "ledger",
    metadata,
    *_columns(LedgerRow).values(),
    PrimaryKeyConstraint("tenant", "counter", "period"),
    sqlite_with_rowid=False,
)
"""What limits count, as far as it is collected: `lanes` says how far that is."""

lanes: Final = Table("lanes", metadata, *_columns(Mark).values(), PrimaryKeyConstraint("lane"))
"""How far each lane of the journal is collected. Belongs to no tenant."""

rollups: Final = Table(
    "rollups",
    metadata,
    *_columns(RollupRow).values(),
    PrimaryKeyConstraint("tenant", "cube", "grain", "start", "position"),
    sqlite_with_rowid=False,
)
"""Hours and days of calls, summed up."""

rollup_durations: Final = Table(
    "rollup_durations",
    metadata,
    *_columns(RollupDurations).values(),
    PrimaryKeyConstraint("tenant", "cube", "grain", "start", "position"),
)
"""How long they took."""

rolled: Final = Table(
    "rolled",
    metadata,
    *_columns(Rolled).values(),
    PrimaryKeyConstraint("tenant", "cube", "grain", "start"),
    sqlite_with_rowid=False,
)
"""The hours and days that are summed up."""
