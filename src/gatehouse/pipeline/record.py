"""What is written of a call: its decision, its one outcome, or its refusal (which is both).

Rules
- Synchronous, and only facts already at hand; nothing here can end a call. `Recorder.end` is called once per call.
- What a response used that was generated in the background counts once: on the record of whoever reads it first when it
  is over. Who that is, `ports.Background` knows: for that one answer the outcome waits; the caller has its answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

import msgspec

from gatehouse.auth.keys import resembles
from gatehouse.dialects.answer import joined
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.model.background import Begun, Response
from gatehouse.model.call import ANYBODY, Ask, OutcomeName, Principal
from gatehouse.model.limits import Settled, is_spend
from gatehouse.model.record import Candidate, Decision, Outcome, Refusal
from gatehouse.model.usage import Reading, ToolUses, Usage, UsageCheck, UsageSource
from gatehouse.pipeline.call import Call
from gatehouse.pipeline.capturing import Capturing
from gatehouse.pipeline.facts import text
from gatehouse.pipeline.limited import Limited, correct, moment
from gatehouse.ports import Background, Journal, Limits, Prices
from gatehouse.routing.paths import recorded_path

_NO_READING: Final = Reading()
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


class _End:
    """How a call ended that had been decided, and what metering found out."""

    __slots__ = ("duration_us", "error", "outcome", "reading", "reason")

    def __init__(
        self, outcome: OutcomeName, reason: str, error: GatehouseError | None, reading: Reading, duration_us: int
    ) -> None:
        self.outcome = outcome
        self.reason = reason
        self.error = error
        self.reading = reading
        self.duration_us = duration_us


class Recorder:
    """Ends calls on the record."""

    def __init__(self, journal: Journal, limits: Limits[Claim], background: Background, *, capture_bytes: int) -> None:
        self.journal = journal
        self._limits = limits
        self._background = background
        self._capturing = Capturing(journal, capture_bytes) if capture_bytes else None
        self._later: set[asyncio.Task[None]] = set()
        """What goes on after calls are over."""

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
        if self._capturing is not None and call.decision is not None and call.status != 101:
            self._capturing.capture(call, call.decision)

    def _conclude(
        self, call: Call, decided: Decision, outcome: OutcomeName, reason: str, error: GatehouseError | None
    ) -> None:
        reading = call.observer.finish(complete=outcome == "ok") if call.observer is not None else _NO_READING
        end = _End(outcome, reason, error, reading, call.elapsed_us())
        if reading.stored and reading.response_id is not None:
            self._go_on(self._report(call, decided, end, _response(call, reading.response_id)))
        else:
            self._write(call, decided, end, None)

    async def _report(self, call: Call, decided: Decision, end: _End, response: Response) -> None:
        """The answer is a response that an earlier call may have begun: then what it used counts here."""
        begun = await self._background.take(response)
        if begun is None:
            end.reading = _NO_READING
        else:
            note = joined(end.reading.note, f"of call {begun.call}, which began this response in the background")
            end.reading = msgspec.structs.replace(end.reading, note=note)
        self._write(call, decided, end, begun)

    def _write(self, call: Call, decided: Decision, end: _End, begun: Begun | None) -> None:
        """`begun`: the earlier call that the reading is of."""
        reading, error = end.reading, end.error
        prices, at = call.live.prices, call.at if begun is None else begun.at
        answered, answer_id, finishes, usage, source, check, note, uncounted, tools, job, offers, turns, _ = _read(
            reading
        )
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
            settled += self._corrected(begun, prices.version, usage, cost)
        exchange = call.exchange
        connection = call.connection
        concluded = Outcome(  # by position, as above
            call.id,
            decided.project,
            end.outcome,
            call.status,
            call.upstream_status,
            error.kind.code if error is not None else None,
            end.reason or None,
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
            end.duration_us,
            call.rewritten,
            settled,
            None if begun is None else begun.call,
        )
        self.journal.conclude(call.principal.tenant, concluded)
        if uncounted and answer_id is not None and call.ask is not None and call.ask.background:
            begins = _begun(call, end.duration_us, settled)
            self._go_on(self._background.keep(_response(call, answer_id), begins))

    def _corrected(self, begun: Begun, prices: str, usage: Usage | None, cost: int | None) -> tuple[Settled, ...]:
        """What it changes for an earlier call that its response used this. By other prices than those it was decided
        by, it might come to more than its bound: then what is settled stays (I4)."""
        if usage is None or not begun.settled:
            return ()
        return correct(self._limits, begun, sum(_counts(usage)), cost if begun.prices == prices else None)

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """After the call is over."""
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def finish(self) -> None:
        """Wait for what still goes on (at shutdown)."""
        while self._later:
            await asyncio.wait(set(self._later))
        if self._capturing is not None:
            await self._capturing.finish()


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


def _response(call: Call, name: str) -> Response:
    return Response(call.principal.tenant, call.principal.project, call.route.provider, name)


def _begun(call: Call, duration_us: int, settled: tuple[Settled, ...]) -> Begun:
    """The call as it is to be found again. It has just ended."""
    limited = call.limited
    own = limited is not None and limited.own
    if limited is not None and limited.claim.skipped:
        # Of rates that could not be asked nothing was counted, so nothing of them goes back.
        settled = tuple([one for one in settled if is_spend(one.counter)])
    return Begun(call.id, call.at, moment().steady - duration_us, call.live.prices.version, own, settled)


def _unread_model(model: str | None) -> str | None:
    """Of a path that nobody vouched for: a gateway key may have been put there."""
    return None if model is None or resembles(model.encode()) else model


def _not_in_the_cost(tools: tuple[str, ...]) -> str | None:
    """Of the provider's own tools that ran, those nobody knows the price of."""
    return f"not in the cost: {', '.join([name.replace('_', ' ') for name in tools])}" if tools else None
