"""What is read from the store: the frozen values that the API encodes and the CLI prints. Documented in `docs/api.md`.

Rules: field names are the JSON's and stay stable; times are RFC 3339 UTC with microseconds; durations are integer
microseconds; money is integer nano-dollars; `null` is unknown, never zero.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339, UTC, with microseconds."""


class Tokens(msgspec.Struct, frozen=True):
    """Token counts in disjoint parts (`model.usage.Usage`) and their sums per side."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    image_cache_read: int = 0
    audio_cache_read: int = 0
    input_total: int = 0
    output_total: int = 0


class Position(msgspec.Struct, frozen=True):
    """Where in the journal a record stands."""

    lane: str
    seq: int
    time: Time


class Span(msgspec.Struct, frozen=True):
    """One span, in OpenTelemetry's terms. Times are RFC 3339."""

    span_id: str
    parent_span_id: str | None
    trace_id: str
    name: str
    kind: str
    started_at: Time
    ended_at: Time
    status: str
    attributes: dict[str, Any]


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `outcome` is `open` until its outcome record is collected."""

    id: str
    trace_id: str
    parent_span: str | None
    tenant: str
    project: str
    started_at: Time
    ended_at: Time | None
    outcome: str
    status: int | None
    upstream_status: int | None
    code: str | None
    reason: str | None
    method: str | None
    path: str | None
    path_sent: str | None
    surface: str | None
    route: str | None
    dialect: str | None
    operation: str | None
    provider: str | None
    origin: str | None
    credential: str | None
    model: str | None
    """Model asked."""
    model_sent: str | None
    model_answered: str | None
    candidates: list[dict[str, Any]]
    """All candidates of the decision, where there was more than one."""
    stream: bool
    key: str | None
    user: str | None
    provider_key_hash: str | None
    team: str | None
    environment: str | None
    """Of the project, as they were then."""
    service: str | None
    """The application that called, as its identity token said."""
    groups: list[str]
    """Of the caller, as the token said."""
    actor: str | None
    """Who acted for the user, where the token told the two apart."""
    user_agent: str | None
    group: str | None
    thread: str | None
    run: str | None
    parent: str | None
    sequence: int | None
    tags: list[str]
    loop: str
    """The first call of the agent loop; the call itself where it goes on from none."""
    parent_call: str | None
    """The call that this one goes on from."""
    job: str | None
    """The provider's id of the batch, file, fine-tuning … it is about."""
    max_output: int | None
    temperature: float | None
    top_p: float | None
    choices: int | None
    request_bytes: int | None
    request_sha256: str | None
    forwarded_sha256: str | None
    streamed: bool
    rewritten: list[str]
    unread: str | None
    skipped: list[str]
    """Checks that could not be made and let the call pass, each with why."""
    attempts: int | None
    replayed: bool
    response_id: str | None
    upstream_request_id: str | None
    finish_reasons: list[str]
    tokens: Tokens | None
    usage_source: str | None
    usage_check: str | None
    usage_note: str | None
    tools: dict[str, int] | None
    """How often each of the provider's own tools ran."""
    turns: int | None
    cost_nano_usd: int | None
    price: str | None
    """`known`, `unknown`, `free` or `not_applicable`."""
    price_id: str | None
    price_version: str | None
    snapshot: int | None
    response_bytes: int | None
    response_sha256: str | None
    upstream_bytes: int | None
    answer_rewritten: list[str]
    connect_us: int | None
    first_byte_us: int | None
    first_token_us: int | None
    duration_us: int | None
    decision_record: Position | None
    outcome_record: Position | None


class Trace(TraceSummary, frozen=True, kw_only=True):
    """One call with its spans, and its place in its agent loop."""

    step: int
    """From 1."""
    steps: int
    """Of the loop, so far."""
    spans: list[Span]


class TracePage(msgspec.Struct, frozen=True):
    """A page of calls, newest first. `next_cursor` is `null` at the end; a page before it may hold fewer than asked."""

    items: list[TraceSummary]
    next_cursor: str | None


class Body(msgspec.Struct, frozen=True):
    """A captured body, decompressed as far as it was collected."""

    data: bytes
    content_type: str | None
    content_encoding: str | None
    size: int
    """Bytes of the whole body; `data` may hold fewer."""
    truncated: bool


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that are alike in what the report tells apart."""

    group: dict[str, str | None]
    """By name; `null` is what a call does not have."""
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    """Of the calls whose price is known; `unknown_price` counts the others."""
    unknown_price: int
    avg_us: int | None
    p95_us: int | None


class Report(msgspec.Struct, frozen=True):
    """Sums over the calls started in [since, until).

    `errors`: calls answered with status 400 or above, and those that ended `refused`, `upstream_error`, `cut`,
    `blocked` or `interrupted`. Latencies are rounded down by less than 2.5 %, of calls that have ended.
    """

    since: datetime | None
    until: datetime | None
    calls: int
    errors: int
    outcomes: dict[str, int]
    tokens: Tokens
    cost_nano_usd: int
    unknown_price: int
    estimated: int
    """Calls whose tokens were estimated."""
    refused_uncounted: int
    """Refusals beyond the flood rule's rate: not among `calls`."""
    avg_us: int | None
    p50_us: int | None
    p95_us: int | None
    rows: list[ReportRow]
    """By calls, most first."""
