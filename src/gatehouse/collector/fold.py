"""Lines of the journal as rows of the store. Pure.

Rules: a line becomes the same rows whenever and beside whichever others it is read. A line whose body cannot be read is
named and left out: it must not hold up the lines behind it. Kinds that make no row only move their lane's mark. U+0000
becomes U+FFFD, whichever database the rows are for.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from gatehouse.journal.reader import Line
from gatehouse.journal.records import Admin
from gatehouse.model.record import Candidate, Capture, Decision, Lineage, Outcome, Refusal, RefusedMany
from gatehouse.model.usage import MOST_COST, MOST_TOKENS, Usage
from gatehouse.store import ids, times
from gatehouse.store.rows import AuditRow, Batch, BodyPart, Concluded, Decided, LedgerRow, LinkKey, Mark, RefusedCount


class Folded(msgspec.Struct, frozen=True):
    """What lines came to."""

    batch: Batch
    unreadable: tuple[str, ...]
    """Lines left out, each with its place and why."""


class _Rows:
    """Rows as they gather. The first decision and the first outcome of a call count."""

    def __init__(self) -> None:
        self.decided: dict[tuple[str, str], Decided] = {}
        self.concluded: dict[tuple[str, str], Concluded] = {}
        self.links: dict[LinkKey, None] = {}
        self.refused: list[RefusedCount] = []
        self.bodies: list[BodyPart] = []
        self.audit: list[AuditRow] = []
        self.ledger: dict[tuple[str, str, str], list[int]] = {}
        """By tenant, counter and period: what is settled, and reserved, more than before."""

    def decision(self, line: Line) -> None:
        record = _DECISION.decode(line.body or b"")
        self.decided.setdefault((line.tenant, record.call), _decided(line, record))
        self._link(line, record.call, record.continues, offered=False)
        self._link(line, record.call, record.offers, offered=True)
        for held in record.reserved:
            self._count(line, held.counter, held.period)[1] += held.amount

    def outcome(self, line: Line) -> None:
        record = _OUTCOME.decode(line.body or b"")
        self.concluded.setdefault((line.tenant, record.call), _concluded(line, record))
        self._link(line, record.call, record.offers, offered=True)
        for done in record.settled:
            changed = self._count(line, done.counter, done.period)
            changed[0] += done.amount
            changed[1] -= done.reserved

    def admin(self, line: Line) -> None:
        record = _ADMIN.decode(line.body or b"")
        self.audit.append(
            AuditRow(
                tenant=line.tenant,
                id=record.id,
                at=times.parse(record.at),
                actor_kind=record.actor_kind,
                actor=record.actor,
                action=record.action,
                target_kind=record.target_kind,
                target=record.target,
                details=_JSON.encode(record.details).decode(),
                lane=line.lane,
                seq=line.seq,
            )
        )

    def refusal(self, line: Line) -> None:
        record = _REFUSAL.decode(line.body or b"")
        self.decided.setdefault((line.tenant, record.call), _decided(line, _asked(record)))
        self.concluded.setdefault((line.tenant, record.call), _concluded(line, _ended(record)))

    def refused_many(self, line: Line) -> None:
        record = _REFUSED_MANY.decode(line.body or b"")
        self.refused.append(
            RefusedCount(
                tenant=line.tenant,
                project=record.project,
                lane=line.lane,
                seq=line.seq,
                code=record.code,
                reason=record.reason,
                count=record.count,
                since=times.parse(record.since),
                until=times.parse(record.until),
            )
        )

    def _link(self, line: Line, call: str, keys: tuple[str, ...], *, offered: bool) -> None:
        if keys:
            day = _started(call, times.parse(line.time)) // _DAY
            for key in keys[:_MOST_LINKS]:
                self.links[LinkKey(line.tenant, day, key, call, offered)] = None

    def _count(self, line: Line, counter: str, period: str) -> list[int]:
        return self.ledger.setdefault((line.tenant, counter, period), [0, 0])

    def capture(self, line: Line) -> None:
        record = _CAPTURE.decode(line.body or b"")
        self.bodies.append(
            BodyPart(
                tenant=line.tenant,
                project=record.project,
                call=record.call,
                side=record.side,
                part=record.part,
                last=record.last,
                content_type=record.content_type,
                content_encoding=record.content_encoding,
                size=record.size,
                truncated=record.truncated,
                data=base64.b64decode(record.data, validate=True),
            )
        )


_DECISION: Final = msgspec.json.Decoder(Decision)
_OUTCOME: Final = msgspec.json.Decoder(Outcome)
_REFUSAL: Final = msgspec.json.Decoder(Refusal)
_REFUSED_MANY: Final = msgspec.json.Decoder(RefusedMany)
_CAPTURE: Final = msgspec.json.Decoder(Capture)
_ADMIN: Final = msgspec.json.Decoder(Admin)
_JSON: Final = msgspec.json.Encoder()
_DAY: Final = 86_400 * 1_000_000
_MOST_SEQUENCE: Final = 10**15
_MOST_LINKS: Final = 8
"""Keys of one record."""
_NO_LINEAGE: Final = Lineage()
_ZERO: Final = rb"\u0000"
_ZEROS: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_REPLACED: Final = rb"\1\\ufffd"
"""PostgreSQL keeps no U+0000 in text, and no caller may keep its call out of the store by sending one."""
_KINDS: Final[dict[str, Callable[[_Rows, Line], None]]] = {
    "decision": _Rows.decision,
    "outcome": _Rows.outcome,
    "call": _Rows.refusal,
    "refused_many": _Rows.refused_many,
    "capture": _Rows.capture,
    "admin": _Rows.admin,
}


def fold(lines: Iterable[Line]) -> Folded:
    """Rows for these lines, which are in order within each lane, and the marks behind them."""
    rows = _Rows()
    last: dict[str, Line] = {}
    unreadable: list[str] = []
    for line in lines:
        last[line.lane] = line
        take = _KINDS.get(line.kind)
        # A body may have been erased; the line then only counts.
        if take is None or line.body is None:
            continue
        if _ZERO in line.body:
            line = msgspec.structs.replace(line, body=_ZEROS.sub(_REPLACED, line.body))
        try:
            take(rows, line)
        except (msgspec.DecodeError, ValueError) as error:
            unreadable.append(f"{line.file}:{line.line_no}: {line.kind}: {error}")
    batch = Batch(
        decided=tuple(rows.decided.values()),
        concluded=tuple(rows.concluded.values()),
        links=tuple(rows.links),
        refused=tuple(rows.refused),
        bodies=tuple(rows.bodies),
        audit=tuple(rows.audit),
        ledger=tuple(LedgerRow(*key, *changed) for key, changed in rows.ledger.items()),
        marks=tuple(Mark(line.lane, line.seq, line.hash, times.parse(line.time)) for line in last.values()),
    )
    return Folded(batch, tuple(unreadable))


def _decided(line: Line, record: Decision) -> Decided:
    time = times.parse(line.time)
    first = record.candidates[0] if record.candidates else Candidate(record.route.partition("/")[0], "")
    lineage = record.lineage or _NO_LINEAGE
    return Decided(
        tenant=line.tenant,
        project=record.project,
        call=record.call,
        trace_id=record.trace or ids.trace_id(record.call),
        trace_sent=record.trace is not None,
        parent_span=record.parent_span,
        started=_started(record.call, time),
        method=record.method or None,
        path=record.path or None,
        path_sent=record.path_sent or None,
        surface=record.surface or None,
        route=record.route or None,
        dialect=record.dialect or None,
        operation=record.operation or None,
        model=record.model,
        candidates=_JSON.encode(record.candidates).decode() if len(record.candidates) > 1 else None,
        stream=record.stream,
        key_id=record.key,
        user_id=record.user,
        provider_key_hash=record.provider_key_hash,
        user_agent=record.user_agent,
        group_id=lineage.group,
        thread_id=lineage.thread,
        run_id=lineage.run,
        parent_id=lineage.parent,
        sequence=None if lineage.sequence is None else min(lineage.sequence, _MOST_SEQUENCE),
        tags=_list(lineage.tags),
        loop=None,
        parent_call=None,
        max_output=record.max_output,
        temperature=record.temperature,
        top_p=record.top_p,
        choices=record.choices,
        forwarded_sha256=record.forwarded_sha256,
        streamed=record.streamed,
        rewritten=_list(record.rewritten),
        unread=record.unread,
        snapshot=record.snapshot or None,
        team=record.team,
        environment=record.environment,
        service=record.service,
        groups=_list(record.groups),
        actor=record.actor,
        skipped=_list(record.skipped),
        decision_lane=line.lane,
        decision_seq=line.seq,
        decided=time,
        provider=first.provider or None,
        origin=first.origin or None,
        credential=first.credential,
        model_sent=first.model,
        price_version=record.price_version,
        # Still arriving: the outcome knows.
        request_bytes=None if record.streamed else record.request_bytes,
        request_sha256=record.request_sha256,
        job=record.job,
    )


def _concluded(line: Line, record: Outcome) -> Concluded:
    served = record.served
    usage, cut = _bounded(record.usage)
    return Concluded(
        tenant=line.tenant,
        project=record.project,
        call=record.call,
        outcome=record.outcome,
        status=record.status,
        upstream_status=record.upstream_status,
        code=record.code,
        reason=record.reason,
        attempts=record.attempts,
        replayed=record.replayed,
        model_answered=record.model,
        response_id=record.response_id,
        upstream_request_id=record.upstream_request_id,
        finish_reasons=_list(record.finish_reasons),
        tokens_input=None if usage is None else usage.input,
        tokens_cache_read=None if usage is None else usage.cache_read,
        tokens_cache_write=None if usage is None else usage.cache_write,
        tokens_cache_write_1h=None if usage is None else usage.cache_write_1h,
        tokens_output=None if usage is None else usage.output,
        tokens_reasoning=None if usage is None else usage.reasoning,
        tokens_audio_input=None if usage is None else usage.audio_input,
        tokens_audio_output=None if usage is None else usage.audio_output,
        tokens_image_input=None if usage is None else usage.image_input,
        tokens_image_output=None if usage is None else usage.image_output,
        tokens_image_cache_read=None if usage is None else usage.image_cache_read,
        tokens_audio_cache_read=None if usage is None else usage.audio_cache_read,
        usage_source=record.usage_source,
        usage_check=record.usage_check,
        usage_note="a count beyond all sense is cut in the store; the journal has it" if cut else record.usage_note,
        tools=None if record.tools is None else _JSON.encode(record.tools).decode(),
        turns=record.turns,
        cost=None if record.cost is None else min(record.cost, MOST_COST),
        price=record.price,
        price_id=record.price_id,
        response_bytes=record.response_bytes,
        response_sha256=record.response_sha256,
        upstream_bytes=record.upstream_bytes,
        connect_us=record.connect_us,
        first_byte_us=record.first_byte_us,
        first_token_us=record.first_token_us,
        # Recovery does not know how long a call ran whose process died.
        duration_us=None if record.outcome == "interrupted" and not record.duration_us else record.duration_us,
        answer_rewritten=_list(record.rewritten),
        outcome_lane=line.lane,
        outcome_seq=line.seq,
        concluded=times.parse(line.time),
        provider=None if served is None else served.provider,
        origin=None if served is None else served.origin,
        credential=None if served is None else served.credential,
        model_sent=None if served is None else served.model,
        price_version=record.price_version,
        request_bytes=record.request_bytes,
        request_sha256=record.request_sha256,
        job=record.job,
    )


def _asked(record: Refusal) -> Decision:
    """The decision half of a record that is both."""
    return Decision(
        call=record.call,
        project=record.project,
        method=record.method,
        path=record.path,
        path_sent="",
        surface="",
        route=record.route or "",
        dialect=record.dialect or "",
        operation=record.operation or "",
        model=record.model,
        stream=record.stream,
        key=record.key,
        user=record.user,
        provider_key_hash=record.provider_key_hash,
        user_agent=record.user_agent,
        lineage=record.lineage,
        request_bytes=record.request_bytes,
        request_sha256=record.request_sha256,
        team=record.team,
        environment=record.environment,
        service=record.service,
    )


def _ended(record: Refusal) -> Outcome:
    """The outcome half of a record that is both."""
    return Outcome(
        call=record.call,
        project=record.project,
        outcome=record.outcome,
        status=record.status,
        code=record.code,
        reason=record.reason,
        duration_us=record.duration_us,
    )


def _bounded(usage: Usage | None) -> tuple[Usage | None, bool]:
    """The counts as the store can keep them, and whether any had to be cut."""
    if usage is None or max(counts := msgspec.structs.astuple(usage)) <= MOST_TOKENS:
        return usage, False
    return Usage(*(min(count, MOST_TOKENS) for count in counts)), True


def _started(call: str, time: int) -> int:
    began = ids.started(call)
    return time if began is None else began


def _list(items: tuple[str, ...]) -> str | None:
    return _JSON.encode(items).decode() if items else None
