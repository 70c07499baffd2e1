"""What the journal keeps of a call. Field by field in `docs/journal.md`, which says what changes `RECORD_VERSION`.

Bodies hold ids, sizes, hashes and counts: no prompt, no answer, no secret, no client address. Times that are durations
are integer microseconds; money is integer nano-dollars; absent fields are unknown, never zero. Records are trees: the
garbage collector need not look at them (`gc=False`).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gatehouse.model.call import OutcomeName
from gatehouse.model.limits import Reserved, Settled
from gatehouse.model.usage import ToolUses, Usage, UsageCheck, UsageSource

RECORD_VERSION: Final = 1


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One place a call may go: the decision lists them in order, the outcome names the one that served."""

    provider: str
    origin: str
    model: str | None = None
    credential: str | None = None
    """Id of the stored credential; absent where the caller brought its own key."""


class Lineage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Which calls belong together, in the caller's own words (`docs/lineage.md`)."""

    group: str | None = None
    thread: str | None = None
    run: str | None = None
    parent: str | None = None
    """A call's id, or the caller's own name for a step."""
    sequence: int | None = None
    tags: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Written before the first byte goes upstream (I2)."""

    call: str
    project: str
    method: str
    path: str
    """As received, without query except allow-listed parameters."""
    path_sent: str
    surface: str
    route: str
    """Provider name and endpoint, `openai/chat`: what reports group by."""
    dialect: str
    operation: str
    candidates: tuple[Candidate, ...] = ()
    model: str | None = None
    """Model asked."""
    stream: bool = False
    key: str | None = None
    """Id of the gateway key."""
    user: str | None = None
    provider_key_hash: str | None = None
    """HMAC-SHA-256 under the tenant's secret of the provider key the caller brought, 32 hex digits."""
    user_agent: str | None = None
    trace: str | None = None
    """W3C trace id the caller sent, 32 hex digits."""
    parent_span: str | None = None
    lineage: Lineage | None = None
    continues: tuple[str, ...] = ()
    """Keys, 16 hex digits each, of what this call goes on from: an earlier call's `offers` hold one of them."""
    offers: tuple[str, ...] = ()
    """Keys that a later call carries if it goes on from this one, as far as the request tells."""
    job: str | None = None
    """The provider's id of the batch, file, fine-tuning … that the path names."""
    max_output: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    choices: int | None = None
    request_bytes: int = 0
    request_sha256: str | None = None
    """Of the body as the caller sent it, de-chunked. Absent while `streamed`."""
    forwarded_sha256: str | None = None
    """Present where the forwarded body differs."""
    streamed: bool = False
    """The body was still arriving when the decision was taken; the outcome carries its hash."""
    rewritten: tuple[str, ...] = ()
    unread: str | None = None
    price_version: str | None = None
    snapshot: int = 0
    team: str | None = None
    environment: str | None = None
    """Of the project, as they were then."""
    service: str | None = None
    """The application that called, as its identity token says."""
    groups: tuple[str, ...] = ()
    """Of the caller, as the token says."""
    actor: str | None = None
    """Who acted for the user, where the token tells the two apart (RFC 8693 `act`)."""
    reserved: tuple[Reserved, ...] = ()
    """What the call holds of limits until its outcome."""
    skipped: tuple[str, ...] = ()
    """Checks that could not be made and let the call pass, each with why (I7)."""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Written exactly once per decision, whatever happened."""

    call: str
    project: str
    outcome: OutcomeName
    status: int | None = None
    """HTTP status the caller got; absent if it got none."""
    upstream_status: int | None = None
    code: str | None = None
    """Gatehouse's error code, if the gateway spoke (`errors.KINDS`)."""
    reason: str | None = None
    """What ended the call, in one short phrase, where it did not end well."""
    served: Candidate | None = None
    attempts: int = 0
    replayed: bool = False
    """A reused connection had closed before answering, and the request was sent once more on a fresh one."""
    model: str | None = None
    """Model answered."""
    response_id: str | None = None
    job: str | None = None
    """The provider's id of the batch, file, fine-tuning … that the answer is about, where the path names none."""
    offers: tuple[str, ...] = ()
    """As in the decision, as far as the answer tells."""
    upstream_request_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    usage_source: UsageSource | None = None
    usage_check: UsageCheck | None = None
    usage_note: str | None = None
    tools: ToolUses | None = None
    """The provider's own tools that were used, where it reports them."""
    turns: int | None = None
    """WebSocket: answers on the connection."""
    cost: int | None = None
    """Nano-dollars. Absent: unknown (see `price`)."""
    price: Literal["known", "unknown", "free", "not_applicable"] = "not_applicable"
    price_id: str | None = None
    """The price entry that was used, `provider/model`."""
    price_version: str | None = None
    request_bytes: int | None = None
    """Only where the request was `streamed`."""
    request_sha256: str | None = None
    response_bytes: int = 0
    """Body bytes handed to the caller's transport."""
    response_sha256: str | None = None
    upstream_bytes: int = 0
    """Body bytes received from the provider."""
    connect_us: int | None = None
    """Time until an upstream connection was at hand, where it was not at once."""
    first_byte_us: int | None = None
    first_token_us: int | None = None
    duration_us: int = 0
    rewritten: tuple[str, ...] = ()
    settled: tuple[Settled, ...] = ()
    """What became of each of the decision's `reserved`, and what `reports` changes."""
    reports: str | None = None
    """The earlier call that `usage`, `tools` and `cost` are of: its response was generated in the background."""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A call that ended before forwarding: decision and outcome in one record."""

    call: str
    project: str
    outcome: Literal["refused", "client_gone", "interrupted"]
    reason: str
    code: str | None = None
    """Gatehouse's error code; absent where the client left first."""
    status: int | None = None
    method: str = ""
    path: str = ""
    route: str | None = None
    dialect: str | None = None
    operation: str | None = None
    model: str | None = None
    stream: bool = False
    key: str | None = None
    user: str | None = None
    provider_key_hash: str | None = None
    user_agent: str | None = None
    lineage: Lineage | None = None
    request_bytes: int = 0
    request_sha256: str | None = None
    duration_us: int = 0
    team: str | None = None
    environment: str | None = None
    service: str | None = None


class RefusedMany(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Refusals beyond the flood rule's rate, counted instead of listed one by one."""

    project: str
    code: str
    reason: str
    count: int
    since: str
    until: str


class Capture(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One part of a captured body (opt-in). Parts of a body are in order; `data` is base64 of a zlib stream's piece."""

    call: str
    project: str
    side: Literal["request", "response"]
    part: int
    last: bool
    data: str
    content_type: str | None = None
    content_encoding: str | None = None
    size: int = 0
    """Bytes of the whole body, before the cap and before compression."""
    truncated: bool = False
