"""The life of a call, as one linear function: `Pipeline._steps`.

What lives here: the order of the steps. What does not: how bytes are framed (`http`), what is read of them (`reading`)
and what it means (`dialects`), where a call goes (`routing`), what is allowed (`auth`, `limits`, `policy`), how records
look (`record`).

Rules
- I2: nothing goes upstream before `_decide` returned; after it, exactly one outcome is written, whatever happens.
- I8: no `await` between reading and deciding but the journal's own flush.
- A call ends early by `Ended` or `GatehouseError`, raised here, at a `check()`. Anything else is a bug: recorded, 500.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gatehouse import errors
from gatehouse.auth.access import pick
from gatehouse.auth.credentials import KeyHashes
from gatehouse.dialects.forms import model_field, rename_field
from gatehouse.dialects.registry import Endpoint, Option, for_endpoint
from gatehouse.dialects.rename import rename_slices
from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import Exchange
from gatehouse.http.message import Head
from gatehouse.limits.claim import Claim
from gatehouse.model.call import Ask, OutcomeName, Route
from gatehouse.model.record import Candidate
from gatehouse.pipeline.answer import Relay, tell
from gatehouse.pipeline.call import Call, Clock, Ended, Live, Phase, in_slices
from gatehouse.pipeline.choosing import check_model, may_reach_kept, towards
from gatehouse.pipeline.facts import Heads
from gatehouse.pipeline.forward import Forwarder
from gatehouse.pipeline.ids import CallIds
from gatehouse.pipeline.limiting import Limiting
from gatehouse.pipeline.links import LinkKeys
from gatehouse.pipeline.reading import Bounds, Reader
from gatehouse.pipeline.record import Recorder, decision
from gatehouse.pipeline.tunnel import Tunnel, asked
from gatehouse.ports import Limits, Policy
from gatehouse.providers.azure import takes_stream_options

_INSERT_AT_ONCE: Final = 1024 * 1024
"""Above, finding the place in a body may hold the loop for too long."""

_log: Final = logging.getLogger(__name__)
_now: Final = time.time


@dataclass(frozen=True, slots=True)
class Steps:
    """What the pipeline's steps are made of: each a port's implementation, replaceable on its own."""

    limits: Limits[Claim]
    policy: Policy
    forwarder: Forwarder
    relay: Relay
    recorder: Recorder
    client: Callable[[Head, str], str]
    """The address of who asks, by head and the connection's other end."""


class Pipeline:
    """Serves data-plane requests. One per worker."""

    def __init__(self, live: Live, bounds: Bounds, steps: Steps, hash_key: bytes, *, capture: bool) -> None:
        self.live = live
        self._clock = Clock()
        self.running: set[Call] = set()
        self.streams = 0
        """How many of them asked for a stream, at the last sweep."""
        self.websockets = 0
        """How many of those for a WebSocket."""
        self._leaving = False
        self._reader = Reader(bounds, capture=capture)
        self._limiting = Limiting(steps.limits, self._reader)
        self._policy = steps.policy
        self._forwarder = steps.forwarder
        self._relay = steps.relay
        self._recorder = steps.recorder
        self._client = steps.client
        self._heads = Heads(KeyHashes(hash_key))
        self._link_keys = LinkKeys(hash_key)
        self._ids = CallIds()

    # -- coming and going

    def serve(self, exchange: Exchange, route: Route) -> None:
        """Begin a call; returns when it first has to wait."""
        call = Call(self._ids.next(), exchange, route, self.live, self._clock)
        self.running.add(call)
        exchange.fiber.start(self._run(call))

    def next_id(self) -> str:
        """An id for a request that ends before it becomes a call."""
        return self._ids.next()

    def sweep(self, now: float) -> None:
        """Enforce the upstream time-outs; twice a second."""
        self._clock.now = now
        streams = websockets = 0
        for call in tuple(self.running):
            call.sweep(now)
            if call.ask is not None and call.ask.stream:
                streams += 1
                websockets += call.exchange.upgrade
        self.streams = streams
        self.websockets = websockets

    def leave(self) -> None:
        """End the WebSockets, which nobody else would, each at its next frame's end: the gateway stops."""
        self._leaving = True
        for call in tuple(self.running):
            if call.exchange.upgrade:
                call.leave("gateway stopped")

    def expel(self) -> None:
        """End the WebSockets of callers that the snapshot no longer lets in. Other calls end by themselves."""
        access = self.live.access
        for call in tuple(self.running):
            if call.exchange.upgrade and access is not None and not access.in_force(call.principal.key):
                call.leave("the gateway key is no longer in force")

    def cut(self, keys: Sequence[str]) -> None:
        """End all calls of these gateway keys, by id, as far as the snapshot no longer lets them in."""
        access = self.live.access
        shut_out = [key for key in keys if access is not None and not access.in_force(key)]
        if not shut_out:
            return
        error = GatehouseError(errors.UNAUTHORIZED, "the gateway key is no longer in force, and its calls were ended")
        for call in tuple(self.running):
            if call.principal.key in shut_out:
                call.stop(Ended("interrupted", "the gateway key is no longer in force", error))

    def interrupt(self) -> None:
        """Stop what still runs (the grace time is over): each call ends as `interrupted`."""
        error = GatehouseError(errors.OVERLOADED, "the gateway is stopping", retry_after=1)
        for call in tuple(self.running):
            call.stop(Ended("interrupted", "gateway stopped", error))

    async def _run(self, call: Call) -> None:
        """The outermost arm: whatever ends the steps becomes one answer and one record.

        An error that outlives the call (its cause, the journal's state) must not keep the traceback, whose frames hold
        the call and its bodies: raised again and again, it would gather those of every call (I9).
        """
        endpoint = for_endpoint(call.route.dialect, call.route.endpoint)
        try:
            if call.exchange.upgrade:
                await self._tunnelled(call, endpoint)
            else:
                await self._steps(call, endpoint)
        except Ended as ended:
            ended.__traceback__ = None
            self._end_early(call, endpoint, ended)
        except GatehouseError as error:
            error.__traceback__ = None
            self._end_early(call, endpoint, Ended(_unanswered(call, "upstream_error"), error.detail, error))
        except Exception as bug:  # noqa: BLE001 - the one place: a bug must leave a record and an answer
            _log.error("bug in call %s", call.id, exc_info=bug)
            told = GatehouseError(errors.INTERNAL, f"internal error; quote call {call.id}")
            self._end_early(call, endpoint, Ended(_unanswered(call, "interrupted"), f"bug: {type(bug).__name__}", told))
        finally:
            self.running.discard(call)

    def _end_early(self, call: Call, endpoint: Endpoint, ended: Ended) -> None:
        """Cancel upstream at once (I10), tell the caller if anybody listens, write the record."""
        if ended.outcome == "client_gone" and call.observer is not None and call.observer.ended:
            # Some SDKs close at the dialect's last word, before the wire's own end: they have the whole answer.
            ended = Ended("ok", "")
        connection, pool = call.connection, call.pool
        if connection is not None and pool is not None:
            pool.give_back(connection)
        tell(call, endpoint, ended)
        self._recorder.end(call, ended.outcome, ended.reason, ended.error)

    # -- the life of a call

    async def _steps(self, call: Call, endpoint: Endpoint) -> None:
        self._authenticate(call)
        body, ask = await self._reader.read(call, endpoint)
        forwarded = body
        asked_model = model = call.route.model or ask.model
        if call.route.surface == "unified":
            model, forwarded = await self._choose(call, ask, body)
        candidates = self._candidates(call, model)
        if call.stored is not None and call.stored.shared:
            await self._check_kept(call, endpoint, ask, forwarded)
        if self._limiting.active:
            await self._limiting.admit(call, asked_model, candidates)
        self._enforce(call, ask, body or b"")
        if ask.stream and endpoint.option is not None and forwarded is not None:
            forwarded = await self._ask_usage(call, endpoint.option, ask, forwarded)
        if call.limited is not None:
            forwarded = await self._limiting.reserve(call, endpoint, ask, candidates, forwarded)
        await self._decide(call, ask, candidates, body, forwarded)
        connection = await self._forwarder.forward(call, forwarded)
        await self._relay.relay(call, endpoint, ask, connection)
        call.exchange.end()
        self._recorder.end(call, "ok", "", None)
        if call.pool is not None:
            call.pool.give_back(connection)

    def _authenticate(self, call: Call) -> None:
        """On the head alone, before a byte of the body is read. Raises `GatehouseError`."""
        exchange, access = call.exchange, call.live.access
        head = exchange.head
        now = call.at = _now()
        facts = call.facts = self._heads.facts(head, call.route, access, now)
        call.principal = facts.principal
        grant = facts.grant
        if grant is not None and (grant.expires or not grant.everywhere):
            grant.check(now, "" if grant.everywhere else self._client(head, exchange.peer))
        if call.route.surface == "transparent":
            self._find_way(call)

    def _find_way(self, call: Call) -> None:
        """How the call goes to its provider. Raises `GatehouseError`."""
        call.way = self._heads.way(call.facts, call.exchange.head, call.route, call.live.providers[call.route.provider])

    async def _choose(self, call: Call, ask: Ask, body: bytes | None) -> tuple[str | None, bytes | None]:
        """The unified API: the provider follows from the model. Returns what the provider calls it, and the body that
        says so. Raises `GatehouseError`."""
        route, chosen = towards(call, ask)
        call.route = route
        self._find_way(call)
        if not chosen.renamed or chosen.model is None or body is None:
            return chosen.model, body
        if call.facts.coding:
            raise GatehouseError(
                errors.BAD_REQUEST, f"an encoded body must name the model as the provider does: {chosen.model}"
            )
        form = call.facts.form
        named = None if form is None else model_field(body, form)
        try:
            if named is not None:
                renamed = rename_field(body, named, chosen.model)
            else:
                renamed = await in_slices(call, rename_slices(body, chosen.model))
        except ValueError as error:
            raise GatehouseError(errors.BAD_REQUEST, str(error)) from None
        call.rewritten = ("model",)
        return chosen.model, renamed

    def _candidates(self, call: Call, model: str | None) -> tuple[Candidate, ...]:
        """Where the call may go. `model`: as the provider calls it. Raises `GatehouseError`.

        Azure serves the deployment in the path, whatever model the caller writes beside it: the deployment counts.
        """
        way, grant = call.way, call.facts.grant
        model = call.route.deployment or model
        if grant is not None and not grant.any_model:
            check_model(call, grant, model)
        if not way.stored:
            return (Candidate(call.route.provider, way.origin, model),)
        stored = call.stored = pick(way.stored, int(_now()))
        if stored is None:
            raise GatehouseError(
                errors.NO_CREDENTIAL,
                f"the token of the credential for provider {call.route.provider} has expired and no newer one is here",
            )
        return (Candidate(call.route.provider, way.origin, model, stored.id),)

    async def _check_kept(self, call: Call, endpoint: Endpoint, ask: Ask, body: bytes | None) -> None:
        """A credential that serves several projects lends none of them what the provider keeps for the others.

        Raises `GatehouseError` (403).
        """
        if may_reach_kept(call):
            return
        if ask.continues is None and (body is None or not await self._reader.names_kept(call, endpoint, body)):
            return
        raise GatehouseError(
            errors.FORBIDDEN,
            f"this request names what provider {call.route.provider} keeps, and the credential serves several "
            "projects; give this one a credential of its own, or mark one exclusive to it",
        )

    def _enforce(self, call: Call, ask: Ask, body: bytes) -> None:
        """The rules. Raises `GatehouseError`."""
        _raise(self._policy.enforce(call.principal, ask, body))

    async def _tunnelled(self, call: Call, endpoint: Endpoint) -> None:
        """The same steps where the caller asks for WebSocket: no body to read, and in the end a conversation."""
        if self._leaving:
            raise GatehouseError(errors.OVERLOADED, "the gateway is stopping", retry_after=1)
        head = call.exchange.head
        self._authenticate(call)
        ask = call.ask = asked(endpoint, call.route, head.query)
        call.times = call.live.times(head.path, ask.model)
        asked_model = model = ask.model
        if call.route.surface == "unified":
            model, _ = await self._choose(call, ask, None)
        candidates = self._candidates(call, model)
        if self._limiting.active:
            await self._limiting.admit(call, asked_model, candidates)
        self._enforce(call, ask, b"")
        if call.limited is not None:
            await self._limiting.reserve(call, endpoint, ask, candidates, None)
        await self._decide(call, ask, candidates, None, None)
        connection = await self._forwarder.forward(call, b"")
        remarkable = ""
        if connection.status == 101:
            self._relay.switch(call, connection)
            remarkable = await Tunnel(call, connection, endpoint.converse(ask)).relay()
        else:
            await self._relay.relay(call, endpoint, ask, connection)
            call.exchange.end()
        self._recorder.end(call, "ok", remarkable, None)
        if call.pool is not None:
            call.pool.give_back(connection)

    async def _ask_usage(self, call: Call, option: Option, ask: Ask, body: bytes) -> bytes:
        """The one exception to I1: ask an OpenAI-dialect stream for its usage."""
        head = call.exchange.head
        if not call.live.providers[call.route.provider].ask_usage or call.facts.coding:
            return body
        if call.route.deployment is not None and not takes_stream_options(call.route, head.query):
            return body
        if len(body) <= _INSERT_AT_ONCE:
            asking = option.ask_usage(body, ask)
        else:
            asking = await in_slices(call, option.ask_usage_slices(body, ask))
        if asking is None:
            return body
        call.rewritten = (*call.rewritten, "stream_options.include_usage")
        call.asks_usage = True
        return asking

    async def _decide(
        self, call: Call, ask: Ask, candidates: tuple[Candidate, ...], body: bytes | None, forwarded: bytes | None
    ) -> None:
        """The decision is in the journal when this returns (I2)."""
        if call.live is not self.live and self.live.access is not None:
            # A body may take its time: whoever was shut out meanwhile is not let in any more. Raises `GatehouseError`.
            self.live.access.grant(call.facts.positions, call.route.project, call.at)
        links = ask.links
        if links is not None:
            call.continues, call.offers = self._link_keys.of_request(links, call.facts.key_hash)
        call.link_keys = self._link_keys
        decided = decision(call, ask, candidates, body, forwarded)
        call.enter(Phase.JOURNAL)
        self._recorder.journal.decide(call.principal.tenant, decided, call.written)
        while not call.journalled:
            await call.exchange.fiber.sleep()
        _raise(call.journal_error)
        call.decision = decided
        call.check()


def _unanswered(call: Call, decided: OutcomeName) -> OutcomeName:
    return "refused" if call.decision is None else decided


def _raise(error: GatehouseError | None) -> None:
    if error is not None:
        raise error
