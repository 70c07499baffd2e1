"""What is written of a call: its decision, its one outcome, or its refusal (which is both).

Rules
- Only facts already at hand; nothing here can end a call. `Recorder.end` is called once per call, and what the call
  held is given back before it returns.
- What a response used that was generated in the background counts once: on the record of whoever reads it first when it
  is over. Who that is, `ports.Background` knows: the outcome of such a call waits for that, and nobody else does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
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

_log: Final = logging.getLogger(__name__)

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
        if reading.stored:
            concluded = self._outcome(call, decided, outcome, reason, error, _NO_READING)
            self._go_on(self._report(call, concluded, reading, _response(call, reading.response_id or "")))
            return
        concluded = self._outcome(call, decided, outcome, reason, error, reading)
        self.journal.conclude(call.principal.tenant, concluded)
        if reading.uncounted and reading.response_id is not None and call.ask is not None and call.ask.background:
            begun = _begun(call, concluded)
            self._go_on(self._background.keep(_response(call, reading.response_id), begun))

    def _outcome(
        self,
        call: Call,
        decided: Decision,
        outcome: OutcomeName,
        reason: str,
        error: GatehouseError | None,
        reading: Reading,
    ) -> Outcome:
        """All of it as of now: what the call held is given back, and its connections may serve others."""
        prices = call.live.prices
        answered, answer_id, finishes, usage, source, check, note, uncounted, tools, job, offers, turns, _ = _read(
            reading
        )
        streamed = decided.streamed
        model = answered or decided.candidates[0].model
        provider = call.route.provider
        price, cost, price_id, left_out = _bill(prices, provider, model, usage, tools, call.at, uncounted=uncounted)
        limited = call.limited
        settled = () if limited is None else _settled(call, limited, usage, source, cost, error)
        exchange = call.exchange
        connection = call.connection
        return Outcome(  # by position, as above
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
            note if left_out is None else joined(note, left_out),
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
            call.elapsed_us(),
            call.rewritten,
            settled,
        )

    async def _report(self, call: Call, concluded: Outcome, reading: Reading, response: Response) -> None:
        """The answer is a response that an earlier call may have begun: then what it used counts on this record."""
        try:
            begun = await self._background.take(response)
            if begun is not None:
                concluded = self._reported(call, concluded, reading, begun)
        except Exception as bug:  # noqa: BLE001 - nothing may keep an outcome from its record (I2)
            _log.error("what the response of call %s used cannot be counted", call.id, exc_info=bug)
        self.journal.conclude(call.principal.tenant, concluded)

    def _reported(self, call: Call, concluded: Outcome, reading: Reading, begun: Begun) -> Outcome:
        """The same, with what the response used, by the prices that hold for when it was begun."""
        prices, provider, usage, tools = call.live.prices, call.route.provider, reading.usage, reading.tools
        note = joined(reading.note, f"of call {begun.call}, which began this response in the background")
        price, cost, price_id, left_out = _bill(
            prices, provider, reading.model, usage, tools, begun.at, uncounted=False
        )
        return msgspec.structs.replace(
            concluded,
            model=reading.model,
            response_id=reading.response_id,
            finish_reasons=reading.finish_reasons,
            usage=usage,
            usage_source=reading.source,
            usage_check=reading.check,
            usage_note=joined(note, left_out),
            tools=tools,
            cost=cost,
            price=price,
            price_id=price_id,
            price_version=prices.version,
            settled=concluded.settled + self._corrected(begun, prices.version, usage, cost),
            reports=begun.call,
        )

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


def _bill(
    prices: Prices,
    provider: str,
    model: str | None,
    usage: Usage | None,
    tools: ToolUses | None,
    at: float,
    *,
    uncounted: bool,
) -> tuple[PriceState, int | None, str | None, str | None]:
    """(state, nano-dollars, price id, what is not in them). Without usage there is nothing to price; without a price,
    no number.

    `at`: when what was used was asked for, Unix seconds: the price is the one that held then.
    """
    if usage is None:
        return "unknown" if uncounted else "not_applicable", None, None, None
    if model is None:
        return "unknown", None, None, None
    found = prices.cost(provider, model, usage, at)
    if found is None:
        return "unknown", None, None, None
    cost, price_id = found
    left_out = None
    if tools is not None:
        fees, unknown = prices.tools(provider, model, tools, at)
        cost, left_out = cost + fees, _not_in_the_cost(unknown)
    return ("known" if cost or usage.total == 0 else "free"), cost, price_id, left_out


def _settled(
    call: Call,
    limited: Limited,
    usage: Usage | None,
    source: UsageSource | None,
    cost: int | None,
    error: GatehouseError | None,
) -> tuple[Settled, ...]:
    """What became of the call's reservations: what it used, nothing where no provider can have worked on it."""
    if usage is not None:
        return limited.settle(sum(_counts(usage)), cost, estimated=source == "estimated")
    upstream = call.upstream_status
    unused = not call.attempts or (upstream is not None and upstream >= _NOTHING_MADE)
    if unused or (error is not None and error.kind.retry_elsewhere and upstream is None):
        return limited.settle(0, 0, estimated=False)
    return limited.settle(None, None, estimated=False)


def _response(call: Call, name: str) -> Response:
    return Response(call.principal.tenant, call.principal.project, call.route.provider, name)


def _begun(call: Call, concluded: Outcome) -> Begun:
    """The call as it is to be found again. It has just ended."""
    limited, settled = call.limited, concluded.settled
    if limited is not None and limited.claim.skipped:
        # Of rates that could not be asked nothing was counted, so nothing of them goes back.
        settled = tuple([one for one in settled if is_spend(one.counter)])
    steady = moment().steady - concluded.duration_us
    own = limited is not None and limited.own
    return Begun(call.id, call.at, steady, call.live.prices.version, own, settled)


def _unread_model(model: str | None) -> str | None:
    """Of a path that nobody vouched for: a gateway key may have been put there."""
    return None if model is None or resembles(model.encode()) else model


def _not_in_the_cost(tools: tuple[str, ...]) -> str | None:
    """Of the provider's own tools that ran, those nobody knows the price of."""
    return f"not in the cost: {', '.join([name.replace('_', ' ') for name in tools])}" if tools else None
