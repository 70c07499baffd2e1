"""The life of a call, as one linear function: `Pipeline._steps`.

What lives here: the order of the steps, and reading what is asked. What does not: how bytes are framed (`http`), what
they mean (`dialects`), where they go (`routing`), what is allowed (`limits`, `policy`), how records look (`record`).

Rules
- I2: nothing goes upstream before `_decide` returned; after it, exactly one outcome is written, whatever happens.
- I8: no `await` between reading and deciding but the journal's own flush.
- A call ends early by `Ended` or `GatehouseError`, raised here, at a `check()`. Anything else is a bug: recorded, 500.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from gatehouse import errors
from gatehouse.auth.credentials import KeyHashes
from gatehouse.dialects.registry import Endpoint, Option, for_endpoint
from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import Exchange
from gatehouse.http.headers import RequestHeaders
from gatehouse.http.websocket import handshake_lines
from gatehouse.model.call import Ask, OutcomeName, Route
from gatehouse.model.record import Candidate
from gatehouse.pipeline.answer import Relay, tell
from gatehouse.pipeline.call import Call, Ended, Live, Phase
from gatehouse.pipeline.encoded import Encoded
from gatehouse.pipeline.facts import facts_of
from gatehouse.pipeline.forward import Forwarder
from gatehouse.pipeline.ids import CallIds
from gatehouse.pipeline.links import LinkKeys
from gatehouse.pipeline.record import Recorder, decision
from gatehouse.pipeline.tunnel import Tunnel, asked
from gatehouse.ports import Limits, Policy
from gatehouse.providers.azure import takes_stream_options

T = TypeVar("T")

_INSERT_AT_ONCE: Final = 1024 * 1024
"""Above, finding the place in a body may hold the loop for too long."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes; names as in `config.settings.Limits`."""

    body_bytes: int
    upload_bytes: int
    read_whole: int


@dataclass(frozen=True, slots=True)
class Steps:
    """What the pipeline's steps are made of: each a port's implementation, replaceable on its own."""

    limits: Limits
    policy: Policy
    forwarder: Forwarder
    relay: Relay
    recorder: Recorder


class Pipeline:
    """Serves data-plane requests. One per worker."""

    def __init__(self, live: Live, bounds: Bounds, steps: Steps, hash_key: bytes, *, capture: bool) -> None:
        self.live = live
        self.now = time.monotonic()
        """Coarse clock, moved by `sweep`."""
        self.running: set[Call] = set()
        self.streams = 0
        """How many of them asked for a stream, at the last sweep."""
        self.websockets = 0
        """How many of those for a WebSocket."""
        self._leaving = False
        self._bounds = bounds
        self._limits = steps.limits
        self._policy = steps.policy
        self._forwarder = steps.forwarder
        self._relay = steps.relay
        self._recorder = steps.recorder
        self._key_hashes = KeyHashes(hash_key)
        self._link_keys = LinkKeys(hash_key)
        self._request_headers = RequestHeaders()
        self._capture = capture
        self._ids = CallIds()
        self._loop = asyncio.get_running_loop()

    # -- coming and going

    def serve(self, exchange: Exchange, route: Route) -> None:
        """Begin a call; returns when it first has to wait."""
        call = Call(self._ids.next(), exchange, route, self.live, self)
        self.running.add(call)
        exchange.fiber.start(self._run(call))

    def next_id(self) -> str:
        """An id for a request that ends before it becomes a call."""
        return self._ids.next()

    def sweep(self, now: float) -> None:
        """Enforce the upstream time-outs; twice a second."""
        self.now = now
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
                call.leave()

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
            _LOG.error("bug in call %s", call.id, exc_info=bug)
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
        # Authenticate: on the head alone. Without accounts, everybody brings a provider key of their own.
        call.facts = facts_of(call.exchange.head, call.route, self._key_hashes, self._request_headers)
        body, ask = await self._read(call, endpoint)
        candidates = (Candidate(call.route.provider, call.facts.origin, call.route.model or ask.model),)
        reserving = self._admit(call, ask, candidates, body or b"")
        if reserving is not None:
            _raise(await call.exchange.fiber.join(reserving))
        forwarded = body
        if ask.stream and endpoint.option is not None and body is not None:
            forwarded = await self._ask_usage(call, endpoint.option, ask, body)
        await self._decide(call, ask, candidates, body, forwarded)
        connection = await self._forwarder.forward(call, forwarded)
        await self._relay.relay(call, endpoint, ask, connection)
        call.exchange.end()
        self._recorder.end(call, "ok", "", None)
        if call.pool is not None:
            call.pool.give_back(connection)

    def _admit(
        self, call: Call, ask: Ask, candidates: tuple[Candidate, ...], body: bytes
    ) -> Awaitable[GatehouseError | None] | None:
        """Admit, enforce and reserve. Raises `GatehouseError`; returns what to wait for, if
        reserving takes time."""
        _raise(self._limits.admit(call.principal, call.route))
        _raise(self._policy.enforce(call.principal, ask, body))
        reserved = self._limits.reserve(call.principal, ask, candidates)
        if reserved is None or not isinstance(reserved, GatehouseError):
            return reserved
        raise reserved

    async def _tunnelled(self, call: Call, endpoint: Endpoint) -> None:
        """The same steps where the caller asks for WebSocket: no body to read, and in the end a conversation."""
        if self._leaving:
            raise GatehouseError(errors.OVERLOADED, "the gateway is stopping", retry_after=1)
        head = call.exchange.head
        call.facts = facts_of(head, call.route, self._key_hashes, self._request_headers)
        call.facts.lines += handshake_lines(head)
        ask = call.ask = asked(endpoint, call.route, head.query)
        call.times = call.live.times(head.path, ask.model)
        candidates = (Candidate(call.route.provider, call.facts.origin, ask.model),)
        reserving = self._admit(call, ask, candidates, b"")
        if reserving is not None:
            _raise(await call.exchange.fiber.join(reserving))
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

    async def _read(self, call: Call, endpoint: Endpoint) -> tuple[bytes | None, Ask]:
        """The body, and what it asks. `None`: it is no JSON that anybody meters, and passed through as it arrives."""
        exchange = call.exchange
        route = call.route
        facts = call.facts
        exchange.accept_body(self._bounds.upload_bytes if facts.upload else self._bounds.body_bytes)
        body: bytes | None
        if exchange.complete and len(exchange.pieces) == 1:
            body = exchange.take()[0]
            call.request_sha256 = hashlib.sha256(body).hexdigest()
        elif exchange.complete or facts.body_plan == "whole":
            body = await self._gather(call)
        else:
            body = None
        if self._capture:
            call.kept_request = body
        if facts.coding and facts.body_plan == "whole":
            ask = await self._read_encoded(call, endpoint, body or b"")
        elif body is None or len(body) <= self._bounds.read_whole:
            ask = endpoint.read(body or b"", route.model)
        else:
            # In slices, so that other calls go on meanwhile.
            ask = await self._in_slices(call, endpoint.read_slices(body, route.model))
        call.ask = ask
        call.times = call.live.times(exchange.head.path, ask.model)
        return body, ask

    async def _gather(self, call: Call) -> bytes:
        """A body that comes in pieces, hashed as they come."""
        exchange = call.exchange
        digest = hashlib.sha256()
        pieces: list[bytes] = []
        while True:
            for piece in exchange.take():
                digest.update(piece)
                pieces.append(piece)
            if exchange.complete:
                break
            _raise(exchange.fault)
            call.check()
            await exchange.fiber.sleep()
        call.request_sha256 = digest.hexdigest()
        return b"".join(pieces)

    async def _read_encoded(self, call: Call, endpoint: Endpoint, body: bytes) -> Ask:
        """What a body asks that came encoded, and goes on so. It counts as `unread` if that cannot be known."""
        model = call.route.model
        encoded = Encoded(call.exchange.wire, call.facts.coding, self._bounds.body_bytes)
        try:
            plain = await self._in_slices(call, encoded.decode(body))
            if encoded.unread is not None:
                asked = endpoint.read(b"", model)
                return msgspec.structs.replace(asked, unread=encoded.unread, input_bytes=len(body))
            if len(plain) <= self._bounds.read_whole:
                return endpoint.read(plain, model)
            return await self._in_slices(call, endpoint.read_slices(plain, model))
        finally:
            encoded.forget()

    async def _in_slices(self, call: Call, slices: Generator[None, None, T]) -> T:
        while True:
            try:
                next(slices)
            except StopIteration as done:
                found: T = done.value
                return found
            self._loop.call_soon(call.exchange.fiber.wake)
            await call.exchange.fiber.sleep()
            call.check()

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
            asking = await self._in_slices(call, option.ask_usage_slices(body, ask))
        if asking is None:
            return body
        call.rewritten = ("stream_options.include_usage",)
        return asking

    async def _decide(
        self, call: Call, ask: Ask, candidates: tuple[Candidate, ...], body: bytes | None, forwarded: bytes | None
    ) -> None:
        """The decision is in the journal when this returns (I2)."""
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
