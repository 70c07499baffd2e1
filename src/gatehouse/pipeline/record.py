"""What is written of a call: its decision, its one outcome, or its refusal (which is both).

Rules: synchronous, and only facts already at hand; nothing here can end a call or wait. `Recorder.end` is called once
per call. Captured bodies are compressed in a thread: they are the one thing on a record that may be large.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
import zlib
from typing import Final, Literal

from gatehouse.errors import GatehouseError
from gatehouse.model.call import Ask, OutcomeName
from gatehouse.model.record import Candidate, Capture, Decision, Outcome, Refusal
from gatehouse.model.usage import Reading, ToolUses
from gatehouse.pipeline.call import Call
from gatehouse.pipeline.facts import text
from gatehouse.ports import Journal, Limits
from gatehouse.routing.paths import recorded_path

_NO_READING: Final = Reading()
_PART_BYTES: Final = 96 * 1024
"""Compressed bytes per line, so that a line stays well within one write of the journal."""

PriceState = Literal["known", "unknown", "free", "not_applicable"]


def decision(
    call: Call, ask: Ask, candidates: tuple[Candidate, ...], body: bytes | None, forwarded: bytes | None
) -> Decision:
    """The record that must stand before anything goes upstream."""
    facts = call.facts
    route = call.route
    principal = call.principal
    trace = facts.trace
    return Decision(
        call=call.id,
        project=principal.project,
        method=facts.method,
        path=facts.recorded_path,
        path_sent=route.path,
        surface=route.surface,
        route=f"{route.provider}/{route.endpoint}",
        dialect=route.dialect,
        operation=ask.operation,
        candidates=candidates,
        model=ask.model,
        stream=ask.stream,
        key=principal.key,
        user=principal.user,
        provider_key_hash=facts.key_hash,
        user_agent=facts.user_agent,
        trace=trace.trace if trace is not None else None,
        parent_span=trace.parent if trace is not None else None,
        lineage=facts.lineage,
        continues=call.continues,
        offers=call.offers,
        job=facts.job,
        max_output=ask.max_output,
        temperature=ask.temperature,
        top_p=ask.top_p,
        choices=ask.choices,
        request_bytes=len(body) if body is not None else 0,
        request_sha256=call.request_sha256,
        forwarded_sha256=hashlib.sha256(forwarded).hexdigest() if forwarded and forwarded is not body else None,
        streamed=body is None,
        rewritten=call.rewritten,
        unread=ask.unread,
        price_version=call.live.prices.version,
        snapshot=call.live.version,
    )


class Recorder:
    """Ends calls on the record."""

    def __init__(self, journal: Journal, limits: Limits, *, capture_bytes: int) -> None:
        self.journal = journal
        self._limits = limits
        self._capture_bytes = capture_bytes
        self._capturing: set[asyncio.Future[list[Capture]]] = set()

    def end(self, call: Call, outcome: OutcomeName, reason: str, error: GatehouseError | None) -> None:
        """The call is over. One outcome if it was decided, else one refusal."""
        if call.recorded:
            return  # a bug after the record: it must not become a second one (I2)
        call.recorded = True
        if call.decision is not None:
            self._conclude(call, call.decision, outcome, reason, error)
        else:
            self.journal.refuse(call.principal.tenant, _refusal(call, outcome, reason, error), authenticated=False)
        if self._capture_bytes and call.decision is not None and call.status != 101:
            self._capture(call, call.decision)

    def _conclude(
        self, call: Call, decided: Decision, outcome: OutcomeName, reason: str, error: GatehouseError | None
    ) -> None:
        reading = call.observer.finish(complete=outcome == "ok") if call.observer is not None else _NO_READING
        duration_us = call.elapsed_us()
        model = reading.model or decided.model
        price, cost, price_id = _cost(call, model, reading, duration_us)
        note = reading.note
        if reading.tools is not None and model is not None and cost is not None:
            cost, note = _with_tools(call, model, reading.tools, cost, note)
            price = "known" if cost else price
        self._limits.settle(call.principal, reading.usage, cost)
        exchange = call.exchange
        connection = call.connection
        concluded = Outcome(
            call=call.id,
            project=decided.project,
            outcome=outcome,
            status=call.status,
            upstream_status=call.upstream_status,
            code=error.kind.code if error is not None else None,
            reason=reason or None,
            served=decided.candidates[0] if call.upstream_status else None,
            attempts=call.attempts,
            replayed=call.replayed,
            model=reading.model,
            response_id=reading.response_id,
            job=reading.job if decided.job is None else None,
            offers=call.link_keys.of_ids(reading.offers) if reading.offers else (),
            upstream_request_id=call.upstream_request_id,
            finish_reasons=reading.finish_reasons,
            usage=reading.usage,
            usage_source=reading.source,
            usage_check=reading.check if reading.usage is not None else None,
            usage_note=note,
            tools=reading.tools,
            turns=reading.turns,
            cost=cost,
            price=price,
            price_id=price_id,
            price_version=call.live.prices.version if reading.usage is not None else None,
            request_bytes=exchange.received if decided.streamed else None,
            request_sha256=call.request_sha256 if decided.streamed else None,
            response_bytes=exchange.sent,
            response_sha256=call.digest.hexdigest() if call.digest is not None else None,
            upstream_bytes=connection.received if connection is not None else 0,
            connect_us=call.connect_us,
            first_byte_us=call.first_byte_us,
            first_token_us=call.first_token_us,
            duration_us=duration_us,
            rewritten=call.rewritten,
        )
        self.journal.conclude(call.principal.tenant, concluded)

    # -- captured bodies

    def _capture(self, call: Call, decided: Decision) -> None:
        loop = asyncio.get_running_loop()
        response = b"".join(call.kept_response or ())
        request = call.kept_request or b""
        exchange = call.exchange
        request_type = text(exchange.head.fields.get(b"content-type"))
        request_encoding = text(exchange.head.fields.get(b"content-encoding"))
        limit = self._capture_bytes

        def work() -> list[Capture]:
            sides = (
                Body("request", request, exchange.received, request_type, request_encoding),
                Body("response", response, exchange.sent, call.answer_type or None, call.answer_encoding or None),
            )
            return [part for side in sides for part in _parts(decided, side, limit)]

        future = loop.run_in_executor(None, work)
        self._capturing.add(future)
        future.add_done_callback(lambda done: self._captured(call.principal.tenant, done))

    def _captured(self, tenant: str, done: asyncio.Future[list[Capture]]) -> None:
        self._capturing.discard(done)
        self.journal.capture(tenant, done.result())

    async def finish(self) -> None:
        """Wait for bodies still being compressed (at shutdown)."""
        while self._capturing:
            await asyncio.wait(set(self._capturing))


class Body:
    """One captured side."""

    __slots__ = ("data", "encoding", "media_type", "side", "size")

    def __init__(
        self, side: Literal["request", "response"], data: bytes, size: int, media_type: str | None, encoding: str | None
    ) -> None:
        self.side: Literal["request", "response"] = side
        self.data = data
        self.size = size
        self.media_type = media_type
        self.encoding = encoding


def _parts(decided: Decision, body: Body, limit: int) -> list[Capture]:
    """A body, cut at `limit`, compressed, in pieces that fit a line."""
    if not body.size:
        return []
    packed = zlib.compress(body.data[:limit], 6)
    pieces = [packed[start : start + _PART_BYTES] for start in range(0, len(packed), _PART_BYTES)]
    return [
        Capture(
            call=decided.call,
            project=decided.project,
            side=body.side,
            part=number,
            last=number == len(pieces) - 1,
            data=base64.b64encode(piece).decode(),
            content_type=body.media_type,
            content_encoding=body.encoding,
            size=body.size,
            truncated=body.size > limit,
        )
        for number, piece in enumerate(pieces)
    ]


def _refusal(call: Call, outcome: OutcomeName, reason: str, error: GatehouseError | None) -> Refusal:
    head = call.exchange.head
    ask = call.ask
    facts = getattr(call, "facts", None)
    return Refusal(
        call=call.id,
        project=call.principal.project,
        outcome=outcome if outcome in ("client_gone", "interrupted") else "refused",
        reason=reason,
        code=error.kind.code if error is not None else None,
        status=call.status,
        method=head.method.decode(),
        path=recorded_path(head.path, head.query),
        route=f"{call.route.provider}/{call.route.endpoint}",
        dialect=call.route.dialect,
        operation=ask.operation if ask is not None else None,
        model=ask.model if ask is not None else call.route.model,
        stream=ask.stream if ask is not None else False,
        key=call.principal.key,
        user=call.principal.user,
        provider_key_hash=facts.key_hash if facts is not None else None,
        user_agent=text(head.fields.get(b"user-agent")),
        lineage=facts.lineage if facts is not None else None,
        request_bytes=call.exchange.received,
        request_sha256=call.request_sha256,
        duration_us=call.elapsed_us(),
    )


def _cost(
    call: Call, model: str | None, reading: Reading, duration_us: int
) -> tuple[PriceState, int | None, str | None]:
    """(state, nano-dollars, price id). Without usage there is nothing to price; without a price, no number.

    The price is the one that held when the call began.
    """
    usage = reading.usage
    if usage is None:
        return "unknown" if reading.uncounted else "not_applicable", None, None
    if model is None:
        return "unknown", None, None
    found = call.live.prices.cost(call.route.provider, model, usage, time.time() - duration_us / 1_000_000)
    if found is None:
        return "unknown", None, None
    cost, price_id = found
    return ("known" if cost or usage.total == 0 else "free"), cost, price_id


def _with_tools(call: Call, model: str, tools: ToolUses, cost: int, note: str | None) -> tuple[int, str | None]:
    """The cost with what the provider's own tools cost, and the note, which says what of them is not in it."""
    fees, unknown = call.live.prices.tools(call.route.provider, model, tools)
    if unknown:
        names = ", ".join(name.replace("_", " ") for name in unknown)
        note = "; ".join(filter(None, (note, f"not in the cost: {names}")))
    return cost + fees, note
