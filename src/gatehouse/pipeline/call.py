"""The state of one running call, and how it can end early.

Rules: the first cause wins. Whoever ends a call (the sweep, a shutdown) calls `stop()`: it sets the cause and wakes the
fiber; the fiber notices at its next `check()`. Nothing is raised into a running coroutine from outside.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from gatehouse import errors
from gatehouse.auth.access import Access, Stored
from gatehouse.errors import GatehouseError
from gatehouse.http.client import ClientConnection, Ticket
from gatehouse.http.exchange import Exchange
from gatehouse.http.fiber import Fiber
from gatehouse.model.call import ANYBODY, Ask, Extent, Origin, OutcomeName, Route
from gatehouse.model.record import Decision
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.pipeline.facts import Facts
from gatehouse.pipeline.limited import Limited
from gatehouse.pipeline.links import LinkKeys
from gatehouse.pipeline.observe import Observer
from gatehouse.pipeline.way import Way
from gatehouse.ports import Prices

T = TypeVar("T")


class Phase(enum.Enum):
    """What a call waits for: decides which time-out the sweep applies."""

    REQUEST = "request"  # the server's own body time-out
    JOURNAL = "journal"
    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    ANSWER = "answer"
    TUNNEL = "tunnel"


class Ended(Exception):
    """The call ends now, with this outcome. `error` is what the caller is told, if it can still be told anything."""

    def __init__(self, outcome: OutcomeName, reason: str, error: GatehouseError | None = None) -> None:
        super().__init__(reason)
        self.outcome: OutcomeName = outcome
        self.reason = reason
        self.error = error


class Times:
    """Seconds a call may wait, from settings and route overrides."""

    __slots__ = ("connect", "first_byte", "idle", "websocket_idle")

    def __init__(self, connect: float, first_byte: float, idle: float, websocket_idle: float) -> None:
        self.connect = connect
        self.first_byte = first_byte
        self.idle = idle
        self.websocket_idle = websocket_idle


_clock: Final = time.perf_counter_ns


class Clock:
    """A coarse monotonic clock, moved by a sweep."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = time.monotonic()


class Pool(Protocol):
    """Connections to one origin (`upstream.pool.OriginPool`)."""

    def take(self, *, careful: bool) -> ClientConnection | None: ...

    def queue(self, fiber: Fiber, connect_seconds: float) -> Ticket | None: ...

    def withdraw(self, ticket: Ticket) -> None: ...

    def give_back(self, connection: ClientConnection) -> None: ...


class Pools(Protocol):
    """All pools of a worker (`upstream.pool.Upstreams`)."""

    def pool(self, origin: Origin, ca_file: str | None, private: bool) -> Pool: ...


@dataclass(frozen=True, slots=True)
class Live:
    """What the current snapshot says, ready to use. Replaced as a whole; a call keeps the one it began with."""

    version: int
    providers: Mapping[str, ProviderEntry]
    prices: Prices
    times: Callable[[str, str | None], Times]
    """Upstream time-outs for (path received, model asked)."""
    access: Access | None = None
    """Whom accounts let in; `None`: there are none, and everybody brings provider keys of their own."""


class Call:
    """One request on its way. Fields are filled from top to bottom as the steps go; absent ones were not reached.

    Defaults stand on the class: a call that ends early never pays for what it did not reach.
    """

    phase = Phase.REQUEST
    cause: Ended | None = None
    principal = ANYBODY
    facts: Facts
    """Set first of all, unless the head itself refuses the call."""
    way: Way
    """Set once the provider is known."""
    stored: Stored | None = None
    """The credential that serves; `None`: the caller's own, or none is needed."""
    ask: Ask | None = None
    times: Times | None = None
    at = 0.0
    """Unix time whose prices count."""
    extent: Extent | None = None
    """How large the request may become, where that was asked for."""
    limited: Limited | None = None
    """What it holds of limits; `None`: none concerns it."""
    max_output: int | None = None
    """The output maximum that was put into its body."""
    request_sha256: str | None = None
    rewritten: tuple[str, ...] = ()
    asks_usage = False
    """The request asks for usage that the caller did not ask for."""
    lists_models = False
    """The answer is a list of models, of which not all are for the caller."""
    continues: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    """Keys by which the calls of an agent loop know each other (`links`)."""
    link_keys: LinkKeys
    """Set with the decision."""
    kept_request: bytes | None = None
    """The request's body, where bodies are captured."""
    journalled = False
    journal_error: GatehouseError | None = None
    decision: Decision | None = None
    """Set once it is in the journal: from then on exactly one outcome is owed."""
    connection: ClientConnection | None = None
    attempts = 0
    replayed = False
    connect_us: int | None = None
    upstream_status: int | None = None
    upstream_request_id: str | None = None
    answer_type = ""
    """Media type of the answer, lower case, without parameters."""
    answer_encoding = ""
    first_byte_us: int | None = None
    observer: Observer | None = None
    status: int | None = None
    """What the caller was told."""
    digest: hashlib._Hash | None = None
    """SHA-256 over the body bytes handed to the caller's transport."""
    last_piece = b""
    kept_response: list[bytes] | None = None
    first_token_us: int | None = None
    leaving = ""
    """Why a tunnel is to end between two frames; empty: it is not."""
    recorded = False
    """Its outcome or refusal is written."""

    def __init__(self, call_id: str, exchange: Exchange, route: Route, live: Live, clock: Clock) -> None:
        self.id = call_id
        self.exchange = exchange
        self.route = route
        self.live = live
        self.started = _clock()
        self.since = clock.now
        """When the phase began, on the worker's coarse clock."""
        self.pool: Pool | None = None
        self._clock = clock

    def elapsed_us(self) -> int:
        return (_clock() - self.started) // 1000

    def stop(self, cause: Ended) -> None:
        """End the call from outside. Only the first cause counts."""
        if self.cause is None:
            self.cause = cause
            self.exchange.fiber.wake()

    def hurry(self, idle: float) -> None:
        """Wait no longer than `idle` seconds for a WebSocket that is as good as closed."""
        times = self.times
        if times is not None and times.websocket_idle > idle:
            self.times = Times(times.connect, times.first_byte, times.idle, idle)

    def leave(self, why: str) -> None:
        """End soon, as a tunnel does that is to end well."""
        self.leaving = why
        self.exchange.fiber.wake()

    def check(self) -> None:
        """Raises `Ended` if something has ended the call."""
        if self.cause is None and self.exchange.gone:
            self.cause = Ended("client_gone", "client closed the connection")
        if self.cause is not None:
            raise self.cause

    def enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._clock.now

    def written(self, error: GatehouseError | None) -> None:
        """The journal's answer to the decision."""
        self.journalled = True
        self.journal_error = error
        self.exchange.fiber.wake()

    def sweep(self, now: float) -> None:
        """Apply the time-out of the present phase."""
        times = self.times
        if times is None:
            return
        connection = self.connection
        if self.phase is Phase.CONNECT:
            if now - self.since > times.connect + 1.0:  # the connector's own bound comes first
                self._time_out("upstream_error", errors.UPSTREAM_UNREACHED, f"no connection within {times.connect:g} s")
        elif self.phase is Phase.FIRST_BYTE:
            if now - self.since > times.first_byte:
                self._time_out("upstream_error", errors.UPSTREAM_ERROR, f"no answer within {times.first_byte:g} s")
        elif self.phase is Phase.ANSWER and connection is not None and not connection.held:
            if now - connection.last_byte > times.idle and not connection.complete:
                self._time_out("cut", errors.UPSTREAM_ERROR, f"upstream silent for {times.idle:g} s")
        elif self.phase is Phase.TUNNEL:
            if now - self.since > times.websocket_idle and not (connection is not None and connection.held):
                self._time_out("cut", errors.UPSTREAM_ERROR, f"both sides silent for {times.websocket_idle:g} s")

    def _time_out(self, outcome: OutcomeName, kind: errors.Kind, why: str) -> None:
        self.stop(Ended(outcome, why, GatehouseError(kind, why)))


async def in_slices(call: Call, slices: Generator[None, None, T]) -> T:
    """What a generator returns, other calls' work between its steps. Raises `Ended` if the call is over meanwhile."""
    while True:
        try:
            next(slices)
        except StopIteration as done:
            found: T = done.value
            return found
        asyncio.get_running_loop().call_soon(call.exchange.fiber.wake)
        await call.exchange.fiber.sleep()
        call.check()
