"""What stands in the store, row by row: the contract between the collector, which makes rows, and `writing`.

Rules: a field's name is its column's name and the order of fields is the order of columns. Times are integer
microseconds since the epoch, UTC; durations integer microseconds; money integer nano-dollars; lists are JSON text.
`None` is unknown, never zero. A call's row has two halves, `Decided` and `Concluded`, which arrive in either order and
maybe long apart. `SHARED` columns are known to both: the conclusion knows better, so its value stands where it has one.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What the decision record says of a call (`model.record.Decision`), and where in the journal it says so."""

    tenant: str
    project: str
    call: str
    trace_id: str
    """32 hex digits: the caller's W3C trace id, else the call's own UUID."""
    trace_sent: bool
    parent_span: str | None
    started: int
    method: str | None
    path: str | None
    path_sent: str | None
    surface: str | None
    route: str | None
    dialect: str | None
    operation: str | None
    model: str | None
    candidates: str | None
    """JSON, only where there was more than one."""
    stream: bool
    key_id: str | None
    user_id: str | None
    provider_key_hash: str | None
    user_agent: str | None
    group_id: str | None
    thread_id: str | None
    run_id: str | None
    parent_id: str | None
    """As the caller's headers say, like the three before it; a call's id or a name of the caller's own."""
    sequence: int | None
    tags: str | None
    loop: str | None
    """The first call of the agent loop that this one goes on; `None` where it goes on none. Filled in by `linking`."""
    parent_call: str | None
    """The call that this one goes on from. Filled in by `linking`."""
    max_output: int | None
    temperature: float | None
    top_p: float | None
    choices: int | None
    forwarded_sha256: str | None
    streamed: bool
    rewritten: str | None
    unread: str | None
    snapshot: int | None
    team: str | None
    environment: str | None
    service: str | None
    groups: str | None
    """JSON list."""
    actor: str | None
    skipped: str | None
    """JSON list."""
    decision_lane: str
    decision_seq: int
    decided: int
    provider: str | None
    origin: str | None
    credential: str | None
    model_sent: str | None
    price_version: str | None
    request_bytes: int | None
    request_sha256: str | None
    job: str | None


class Concluded(msgspec.Struct, frozen=True, gc=False):
    """What the outcome record says of a call (`model.record.Outcome`), and where in the journal it says so."""

    tenant: str
    project: str
    call: str
    outcome: str
    status: int | None
    upstream_status: int | None
    code: str | None
    reason: str | None
    attempts: int
    replayed: bool
    model_answered: str | None
    response_id: str | None
    upstream_request_id: str | None
    finish_reasons: str | None
    tokens_input: int | None
    tokens_cache_read: int | None
    tokens_cache_write: int | None
    tokens_cache_write_1h: int | None
    tokens_output: int | None
    tokens_reasoning: int | None
    tokens_audio_input: int | None
    tokens_audio_output: int | None
    tokens_image_input: int | None
    tokens_image_output: int | None
    tokens_image_cache_read: int | None
    tokens_audio_cache_read: int | None
    usage_source: str | None
    usage_check: str | None
    usage_note: str | None
    tools: str | None
    """JSON object: how often each of the provider's own tools ran."""
    turns: int | None
    cost: int | None
    price: str | None
    price_id: str | None
    response_bytes: int
    response_sha256: str | None
    upstream_bytes: int
    connect_us: int | None
    first_byte_us: int | None
    first_token_us: int | None
    duration_us: int | None
    answer_rewritten: str | None
    outcome_lane: str
    outcome_seq: int
    concluded: int
    provider: str | None
    origin: str | None
    credential: str | None
    model_sent: str | None
    price_version: str | None
    request_bytes: int | None
    request_sha256: str | None
    job: str | None


IDENTITY: Final = ("tenant", "project", "call")
SHARED: Final = tuple(
    name for name in Concluded.__struct_fields__ if name in Decided.__struct_fields__ and name not in IDENTITY
)
"""Columns both halves know. The conclusion's value wins where it has one."""
TRACE_COLUMNS: Final = (
    *Decided.__struct_fields__,
    *(name for name in Concluded.__struct_fields__ if name not in Decided.__struct_fields__),
)
"""Every column of a call's row, the surrogate key aside."""


class SpanRow(msgspec.Struct, frozen=True, gc=False):
    """One span of a call, in OpenTelemetry's terms."""

    tenant: str
    call: str
    position: int
    """0: the root SERVER span; from 1: one CLIENT span per attempt."""
    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    started: int
    ended: int
    status: str
    """`unset` or `error`."""
    attributes: str
    """JSON object."""


class BodyPart(msgspec.Struct, frozen=True, gc=False):
    """One piece of a captured body: a piece of one zlib stream, in order of `part`."""

    tenant: str
    project: str
    call: str
    side: str
    part: int
    last: bool
    content_type: str | None
    content_encoding: str | None
    size: int
    truncated: bool
    data: bytes


class RefusedCount(msgspec.Struct, frozen=True, gc=False):
    """Refusals the flood rule counted instead of listing. `lane` and `seq` make it idempotent."""

    tenant: str
    project: str
    lane: str
    seq: int
    code: str | None
    reason: str
    count: int
    since: int
    until: int


class AuditRow(msgspec.Struct, frozen=True, gc=False):
    """One change of the administrative state, or a log-in."""

    tenant: str
    id: str
    at: int
    actor_kind: str
    actor: str | None
    action: str
    target_kind: str
    target: str
    details: str
    """JSON object."""
    lane: str
    seq: int


class LedgerRow(msgspec.Struct, frozen=True, gc=False):
    """What limits count: used, and reserved by calls that have no outcome yet. In a batch: by how much that changes."""

    tenant: str
    counter: str
    period: str
    """Day or month of spend, in UTC; empty where it never ends."""
    settled: int
    reserved: int


class LinkKey(msgspec.Struct, frozen=True, gc=False):
    """One key by which calls of an agent loop know each other (`linking`)."""

    tenant: str
    day: int
    """Of the call, since the epoch: what is too old to be gone on from is deleted by it."""
    key: str
    """16 hex digits."""
    call: str
    offered: bool
    """A later call may go on from this one by this key; else: this one wants to go on from whoever offered it."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """How far a lane is collected: its last collected line."""

    lane: str
    seq: int
    hash: str
    """SHA-256 of that line's header, hex: what the next line's `prev` must be."""
    time: int


class RollupRow(msgspec.Struct, frozen=True, gc=False):
    """An hour or a day of calls that share a group and an end, summed up."""

    tenant: str
    cube: str
    """What is told apart: a name of `rollups.CUBES`."""
    grain: str
    """`hour` or `day`."""
    start: int
    position: int
    project: str | None
    provider: str | None
    model: str | None
    model_answered: str | None
    route: str | None
    caller: str | None
    kind: str | None
    user_id: str | None
    size: str | None
    team: str | None
    environment: str | None
    service: str | None
    outcome: str
    code: str | None
    status_class: int | None
    calls: int
    errors: int
    metered: int
    estimated: int
    estimated_tokens: int
    cost: int
    priced: int
    free: int
    unknown_price: int
    ended: int
    waited: int
    latest: int
    tokens_input: int
    tokens_cache_read: int
    tokens_cache_write: int
    tokens_cache_write_1h: int
    tokens_output: int
    tokens_reasoning: int
    tokens_audio_input: int
    tokens_audio_output: int
    tokens_image_input: int
    tokens_image_output: int
    tokens_image_cache_read: int
    tokens_audio_cache_read: int


class RollupDurations(msgspec.Struct, frozen=True, gc=False):
    """How long the calls of an hour or a day took that share a group."""

    tenant: str
    cube: str
    grain: str
    start: int
    position: int
    project: str | None
    provider: str | None
    model: str | None
    model_answered: str | None
    route: str | None
    caller: str | None
    kind: str | None
    user_id: str | None
    size: str | None
    team: str | None
    environment: str | None
    service: str | None
    ended: int
    waited: int
    durations: bytes
    """Calls by rounded duration, as `durations.pack` says."""
    began: int
    began_waited: int
    first_tokens: bytes


class Rolled(msgspec.Struct, frozen=True, gc=False):
    """An hour or a day that is summed up."""

    tenant: str
    cube: str
    grain: str
    start: int
    calls: int


class Batch(msgspec.Struct, frozen=True):
    """What one transaction writes. At most one `Decided` and one `Concluded` per call."""

    decided: tuple[Decided, ...] = ()
    concluded: tuple[Concluded, ...] = ()
    refused: tuple[RefusedCount, ...] = ()
    bodies: tuple[BodyPart, ...] = ()
    marks: tuple[Mark, ...] = ()
    links: tuple[LinkKey, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    ledger: tuple[LedgerRow, ...] = ()
    """At most one per counter and period."""
