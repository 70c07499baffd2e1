"""What is written of a call: its decision, its one outcome, or its refusal (which is both).

Rules: synchronous, and only facts already at hand; nothing here can end a call or wait. `Recorder.end` is called once
per call. Captured bodies are compressed in a thread: they are the one thing on a record that may be large.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from gatehouse.auth.keys import resembles
from gatehouse.dialects.answer import joined
from gatehouse.errors import GatehouseError
from gatehouse.model.call import ANYBODY, Ask, OutcomeName, Principal
from gatehouse.model.limits import Settled
from gatehouse.model.record import Candidate, Capture, Decision, Outcome, Refusal
from gatehouse.model.usage import Reading, ToolUses, Usage, UsageCheck, UsageSource
from gatehouse.pipeline.background import Background, Begun
from gatehouse.pipeline.call import Call
from gatehouse.pipeline.facts import text
from gatehouse.pipeline.limited import Limited
from gatehouse.ports import Journal, Prices
from gatehouse.routing.paths import recorded_path

_NO_READING: Final = Reading()
_PART_BYTES: Final = 96 * 1024
"""Compressed bytes per line, so that a line stays well within one write of the journal."""

_NOTHING_MADE: Final = 300
"""Statuses from here on answer with nothing that a model generated."""

_Read = tuple[
    str | None, str | None, tuple[str, ...], Usage | None, UsageSource | None, UsageCheck, str | None, bool,
    ToolUses | None, str | None, tuple[str, ...], int | None, bool,
]  # fmt: skip
_read: Final[Callable[[Reading], _Read]] = msgspec.structs.astuple
"""All of a reading, in order: reading one by one takes three times as long."""
_asked: Final[
    Callable[
        [Ask],
        tuple[
            str, str | None, bool, int | None, float | None, float | None, int | None, Any, Any, Any, Any, Any,
            str | None, Any,
        ],
    ]
] = msgspec.structs.astuple  # fmt: skip
"""The same of what is asked."""
_asking: Final[
    Callable[
        [Principal],
        tuple[Any, str, str | None, str | None, str | None, str | None, str | None, tuple[str, ...], str | None],
    ]
] = msgspec.structs.astuple
"""And of who asks."""
_counts: Final[Callable[[Usage], tuple[int, ...]]] = msgspec.structs.astuple
"""And of what was used: disjoint parts."""

PriceState = Literal["known", "unknown", "free", "not_applicable"]


def decision(
    call: Call, ask: Ask, candidates: tuple[Candidate, ...], body: bytes | None, forwarded: bytes | None
) -> Decision:
    """The record that must stand before anything goes upstream."""
    facts = call.facts
    route = call.route
    trace = facts.trace
    limited = call.limited
    operation, model, stream, maximum, temperature, top_p, choices, _, _, _, _, _, unread, _ = _asked(ask)
    _, project, key, user, team, environment, service, groups, actor = _asking(call.principal)
    # By position, in the struct's order: names are searched for, one by one.
    return Decision(
        call.id,
        project,
        facts.method,
        facts.recorded_path,
        route.path,
        route.surface,
        f"{route.provider}/{route.endpoint}",
        route.dialect,
        operation,
        candidates,
        model,
        stream,
        key,
        user,
        facts.key_hash,
        facts.user_agent,
        trace.trace if trace is not None else None,
        trace.parent if trace is not None else None,
        facts.lineage,
        call.continues,
        call.offers,
        facts.job,
        maximum if call.max_output is None else call.max_output,
        temperature,
        top_p,
        choices,
        len(body) if body is not None else 0,
        call.request_sha256,
        hashlib.sha256(forwarded).hexdigest() if forwarded and forwarded is not body else None,
        body is None,
        call.rewritten,
        unread,
        call.live.prices.version,
        call.live.version,
        team,
        environment,
        service,
        groups,
        actor,
        () if limited is None else limited.claim.reserved,
        () if limited is None else limited.claim.skipped,
    )


class Recorder:
    """Ends calls on the record."""

    def __init__(self, journal: Journal, *, capture_bytes: int) -> None:
        self.journal = journal
        self._capture_bytes = capture_bytes
        self._background = Background()
        self._capturing: set[asyncio.Future[list[Capture]]] = set()

    def end(self, call: Call, outcome: OutcomeName, reason: str, error: GatehouseError | None) -> None:
        """The call is over. One outcome if it was decided, else one refusal."""
        if call.recorded:
            return  # a bug after the record: it must not become a second one (I2)
        call.recorded = True
        if call.decision is not None:
            self._conclude(call, call.decision, outcome, reason, error)
        else:
            if call.limited is not None:
                call.limited.withdraw()
            self.journal.refuse(
                call.principal.tenant,
                _refusal(call, outcome, reason, error),
                authenticated=call.principal is not ANYBODY,
            )
        if self._capture_bytes and call.decision is not None and call.status != 101:
            self._capture(call, call.decision)

    def _conclude(
        self, call: Call, decided: Decision, outcome: OutcomeName, reason: str, error: GatehouseError | None
    ) -> None:
        reading, begun = self._found(call, complete=outcome == "ok")
        prices, at = (call.live.prices, call.at) if begun is None else (begun.prices, begun.at)
        answered, answer_id, finishes, usage, source, check, note, uncounted, tools, job, offers, turns, _ = _read(
            reading
        )
        duration_us = call.elapsed_us()
        streamed = decided.streamed
        model = answered or decided.candidates[0].model
        provider = call.route.provider
        price, cost, price_id = _cost(prices, provider, model, usage, at, uncounted=uncounted)
        if tools is not None and model is not None and cost is not None:
            fees, unknown = prices.tools(provider, model, tools, at)
            cost, note = cost + fees, joined(note, _not_in_the_cost(unknown))
            price = "known" if cost else price
        limited = call.limited
        settled = () if limited is None else _settled(call, limited, reading, cost, error)
        if begun is not None:
            settled += _corrected(begun, usage, cost)
        exchange = call.exchange
        connection = call.connection
        concluded = Outcome(  # by position, as above
            call.id,
            decided.project,
            outcome,
            call.status,
            call.upstream_status,
            error.kind.code if error is not None else None,
            reason or None,
            decided.candidates[0] if call.upstream_status else None,
            call.attempts,
            call.replayed,
            answered,
            answer_id,
            job if decided.job is None else None,
            call.link_keys.of_ids(offers) if offers else (),
            call.upstream_request_id,
            finishes,
            usage,
            source,
            check if usage is not None else None,
            note,
            tools,
            turns,
            cost,
            price,
            price_id,
            prices.version if usage is not None else None,
            exchange.received if streamed else None,
            call.request_sha256 if streamed else None,
            exchange.sent,
            call.digest.hexdigest() if call.digest is not None else None,
            connection.received if connection is not None else 0,
            call.connect_us,
            call.first_byte_us,
            call.first_token_us,
            duration_us,
            call.rewritten,
            settled,
            None if begun is None else begun.call,
        )
        self.journal.conclude(call.principal.tenant, concluded)
        if uncounted and answer_id is not None and call.ask is not None and call.ask.background:
            self._background.begin(call, answer_id)

    def _found(self, call: Call, *, complete: bool) -> tuple[Reading, Begun | None]:
        """What metering found out; and who began the response that it is of, if an earlier call did."""
        reading = call.observer.finish(complete=complete) if call.observer is not None else _NO_READING
        if not reading.stored:
            return reading, None
        begun = self._background.take(call, reading.response_id)
        if begun is None:
            return _NO_READING, None
        note = joined(reading.note, f"of call {begun.call}, which began this response in the background")
        return msgspec.structs.replace(reading, note=note), begun

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
    """One captured side of a call."""

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
        model=ask.model if ask is not None else _unread_model(call.route.model),
        stream=ask.stream if ask is not None else False,
        key=call.principal.key,
        user=call.principal.user,
        provider_key_hash=facts.key_hash if facts is not None else None,
        user_agent=text(head.fields.get(b"user-agent")),
        lineage=facts.lineage if facts is not None else None,
        request_bytes=call.exchange.received,
        request_sha256=call.request_sha256,
        duration_us=call.elapsed_us(),
        team=call.principal.team,
        environment=call.principal.environment,
        service=call.principal.service,
    )


def _cost(
    prices: Prices, provider: str, model: str | None, usage: Usage | None, at: float, *, uncounted: bool
) -> tuple[PriceState, int | None, str | None]:
    """(state, nano-dollars, price id). Without usage there is nothing to price; without a price, no number.

    `at`: when what was used was asked for, Unix seconds: the price is the one that held then.
    """
    if usage is None:
        return "unknown" if uncounted else "not_applicable", None, None
    if model is None:
        return "unknown", None, None
    found = prices.cost(provider, model, usage, at)
    if found is None:
        return "unknown", None, None
    cost, price_id = found
    return ("known" if cost or usage.total == 0 else "free"), cost, price_id


def _settled(
    call: Call, limited: Limited, reading: Reading, cost: int | None, error: GatehouseError | None
) -> tuple[Settled, ...]:
    """What became of the call's reservations: what it used, nothing where no provider can have worked on it."""
    usage = reading.usage
    if usage is not None and not reading.stored:
        return limited.settle(sum(_counts(usage)), cost, estimated=reading.source == "estimated")
    upstream = call.upstream_status
    unused = not call.attempts or (upstream is not None and upstream >= _NOTHING_MADE)
    if unused or (error is not None and error.kind.retry_elsewhere and upstream is None):
        return limited.settle(0, 0, estimated=False)
    return limited.settle(None, None, estimated=False)


def _corrected(begun: Begun, usage: Usage | None, cost: int | None) -> tuple[Settled, ...]:
    """What it changes for an earlier call that its response used this."""
    if begun.limited is None or usage is None:
        return ()
    return begun.limited.correct(sum(_counts(usage)), cost)


def _unread_model(model: str | None) -> str | None:
    """Of a path that nobody vouched for: a gateway key may have been put there."""
    return None if model is None or resembles(model.encode()) else model


def _not_in_the_cost(tools: tuple[str, ...]) -> str | None:
    """Of the provider's own tools that ran, those nobody knows the price of."""
    return f"not in the cost: {', '.join([name.replace('_', ' ') for name in tools])}" if tools else None
