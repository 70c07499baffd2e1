"""Connections to one origin: bounded, last in first out, handed to whoever waits.

Rules
- State changes in synchronous functions; a waiter is woken after them, never inside them.
- A waiter that receives a connection after its call ended hands it on (`withdraw`).
- An attempt to connect that fails disappoints exactly one waiter, so that a dead origin is not tried without end.
- An idle connection older than `post_reuse_seconds` is not used for a request that must not be repeated lightly.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from gatehouse.http.client import ClientConnection, Ticket
from gatehouse.http.fiber import Fiber
from gatehouse.model.call import Origin
from gatehouse.upstream.connect import ConnectError, Connector


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Counts and seconds; names as in `config.settings.Pool`."""

    connections: int
    waiting: int
    idle_seconds: float
    post_reuse_seconds: float


class OriginPool:
    """All connections of a worker to one origin with one set of trust settings."""

    def __init__(
        self, origin: Origin, connector: Connector, limits: PoolLimits, *, ca_file: str | None, private: bool
    ) -> None:
        self.origin = origin
        self.now = time.monotonic()
        self._connector = connector
        self._limits = limits
        self._ca_file = ca_file
        self._private = private
        self._loop = asyncio.get_running_loop()
        self._gate = connector.gate()
        self._all: set[ClientConnection] = set()
        self._idle: deque[ClientConnection] = deque()
        """Most recently used on the right."""
        self._waiting: deque[Ticket] = deque()
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        """Connections there are or are being made."""
        return len(self._all) + len(self._connecting)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, *, careful: bool) -> ClientConnection | None:
        """An idle connection, or none. `careful`: only one used so recently that the far end surely still has it."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.lost:
                continue
            if careful and self.now - connection.idle_since > self._limits.post_reuse_seconds:
                # All others are older still.
                idle.append(connection)
                return None
            return connection
        return None

    def queue(self, fiber: Fiber, connect_seconds: float) -> Ticket | None:
        """Ask for a connection: a new one, or one that comes back sooner. `None`: too many wait already."""
        if len(self._waiting) >= self._limits.waiting:
            return None
        ticket = Ticket(fiber, connect_seconds)
        self._waiting.append(ticket)
        if self.size >= self._limits.connections and self._idle:
            self._idle.popleft().abort()  # too old to be reused, and in the way
        self._serve_queue()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """The call ended while it waited."""
        connection = ticket.connection
        if connection is not None:
            ticket.connection = None
            if not connection.lost:
                self._offer(connection)  # nothing was sent on it since it was offered
        elif ticket in self._waiting:
            self._waiting.remove(ticket)

    def give_back(self, connection: ClientConnection) -> None:
        """A call is done with its connection: keep it if it may serve again, else end it."""
        if not connection.reusable:
            connection.abort()
            return
        connection.release()
        self._offer(connection)

    def lost(self, connection: ClientConnection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve_queue()

    def sweep(self, now: float) -> None:
        """Move the clock; close what has been idle too long."""
        self.now = now
        while self._idle and now - self._idle[0].idle_since > self._limits.idle_seconds:
            self._idle.popleft().abort()

    def close(self) -> None:
        """End everything; who waits is told."""
        for task in tuple(self._connecting):
            task.cancel()
        while self._waiting:
            self._disappoint("the gateway is stopping")
        for connection in tuple(self._all):
            connection.abort()

    def _offer(self, connection: ClientConnection) -> None:
        if self._waiting:
            ticket = self._waiting.popleft()
            ticket.connection = connection
            self._loop.call_soon(ticket.fiber.wake)
        else:
            self._idle.append(connection)

    def _serve_queue(self) -> None:
        """Connect for those who wait beyond what is already on its way, as far as there is room."""
        while len(self._waiting) > len(self._connecting) and self.size < self._limits.connections:
            task = self._loop.create_task(self._connect(self._waiting[0].connect_seconds))
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if task.cancelled():
            return
        if task.exception() is not None:
            self._disappoint("a bug in connecting")
        self._serve_queue()
        task.result()

    async def _connect(self, within: float) -> None:
        try:
            connection = await self._connector.open(
                self.origin,
                self._factory,
                gate=self._gate,
                ca_file=self._ca_file,
                private=self._private,
                within=within,
            )
        except ConnectError as error:
            self._disappoint(str(error), ours=error.ours)
            return
        if connection.lost:
            self._disappoint("closed as soon as connected")
            return
        self._all.add(connection)
        self._offer(connection)

    def _disappoint(self, why: str, *, ours: bool = False) -> None:
        if self._waiting:
            ticket = self._waiting.popleft()
            ticket.error = why
            ticket.ours = ours
            self._loop.call_soon(ticket.fiber.wake)

    def _factory(self) -> ClientConnection:
        return ClientConnection(self)


class Upstreams:
    """The pools of a worker by origin and trust, made on first use. To be asked for anew by each call: see `sweep`."""

    def __init__(self, connector: Connector, limits: PoolLimits) -> None:
        self._connector = connector
        self._limits = limits
        self._pools: dict[tuple[Origin, str | None, bool], OriginPool] = {}

    def pool(self, origin: Origin, ca_file: str | None, private: bool) -> OriginPool:
        key = (origin, ca_file, private)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = OriginPool(
                origin, self._connector, self._limits, ca_file=ca_file, private=private
            )
        return pool

    def sweep(self, now: float) -> None:
        """Move the clocks, close what is idle, and forget pools with nothing in them: callers may name many origins."""
        for key, pool in tuple(self._pools.items()):
            pool.sweep(now)
            if not (pool.size or pool.waiting):
                del self._pools[key]

    def count(self) -> tuple[int, int, int]:
        """Connections to providers: idle, in use or being made; and how many calls wait for one."""
        idle = used = waiting = 0
        for pool in self._pools.values():
            if pool.origin.scheme != "unix":  # the control plane is no provider
                idle += pool.idle
                used += pool.size - pool.idle
                waiting += pool.waiting
        return idle, used, waiting

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
