"""Any order of events around a pool: calls, connects that succeed or fail, answers, deaths, withdrawals, time.

Whatever happens: no connection serves two, none is leaked, never more than the limit, nobody waits for nothing, and a
ticket ends with one result.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.http.client import ClientConnection, Ticket
from gatehouse.model.call import Origin
from gatehouse.upstream.connect import ConnectError, Connector
from gatehouse.upstream.pool import OriginPool, PoolLimits
from tests.http.line import FakeTransport
from tests.http.serving import run
from tests.upstream.farside import Caller

LIMIT = 3
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Wire(FakeTransport):
    """Ends as real transports do: one turn after it was told to."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self._connection = connection
        self.over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.over:
            super().write(data)

    def abort(self) -> None:
        if not self.over:
            self.over = True
            super().abort()
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)


class Hands:
    """Stands where the connector stands: connects when the test says so."""

    def __init__(self) -> None:
        self.pending: list[asyncio.Future[bool]] = []
        self.made: list[ClientConnection] = []
        self.wires: dict[ClientConnection, Wire] = {}

    def gate(self) -> None:
        return None

    async def open(self, origin: Origin, factory: Callable[[], ClientConnection], **kw: Any) -> ClientConnection:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.pending.append(future)
        if not await future:
            raise ConnectError("refused")
        connection = factory()
        wire = self.wires[connection] = Wire(connection)
        connection.connection_made(wire)
        self.made.append(connection)
        return connection


class World:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.hands = Hands()
        limits = PoolLimits(connections=LIMIT, waiting=6, idle_seconds=60.0, post_reuse_seconds=15.0)
        self.pool = OriginPool(
            Origin("http", "far", 80), cast(Connector, self.hands), limits, ca_file=None, private=True
        )
        self.tickets: list[Ticket] = []
        self.busy: list[ClientConnection] = []

    async def settle(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0)

    async def step(self) -> None:
        kinds = ["call", "connect", "refuse", "answer", "give up", "kill", "speak", "withdraw", "time"]
        self.happen(self.chance.choices(kinds, [30, 20, 5, 30, 5, 5, 3, 8, 4])[0])
        if self.chance.random() < 0.6:
            await self.settle()
            self.collect()
            self.check()

    def happen(self, event: str) -> None:
        match event:
            case "call":
                self.call()
            case "connect" | "refuse" if self.hands.pending:
                future = self.hands.pending.pop(self.chance.randrange(len(self.hands.pending)))
                if not future.done():
                    future.set_result(event == "connect")
            case "answer" | "give up" if self.busy:
                connection = self.busy.pop(self.chance.randrange(len(self.busy)))
                if event == "answer" and not connection.lost:
                    connection.request(Caller().fiber, "POST", b"POST / HTTP/1.1\r\n\r\n", b"")
                    connection.data_received(ANSWER)
                self.pool.give_back(connection)
            case "kill" | "speak" if self.hands.made:
                connection = self.chance.choice(self.hands.made)
                wire = self.hands.wires[connection]
                if event == "kill":
                    wire.abort()
                elif not wire.over:
                    connection.data_received(ANSWER)
            case "withdraw" if self.tickets:
                self.pool.withdraw(self.tickets.pop(self.chance.randrange(len(self.tickets))))
            case "time":
                self.pool.sweep(self.pool.now + self.chance.choice([1.0, 16.0, 61.0]))

    def call(self) -> None:
        connection = self.pool.take(careful=self.chance.random() < 0.5)
        if connection is not None:
            assert not connection.lost
            assert connection not in self.busy
            self.busy.append(connection)
            return
        ticket = self.pool.queue(Caller().fiber, 5.0)
        if ticket is None:
            assert self.pool.waiting == 6
        else:
            self.tickets.append(ticket)

    def collect(self) -> None:
        """Calls whose ticket is done go on."""
        for ticket in [each for each in self.tickets if each.connection or each.error]:
            self.tickets.remove(ticket)
            assert (ticket.connection is None) != (not ticket.error)
            if ticket.connection is not None:
                assert ticket.connection not in self.busy, "nobody else has it"
                self.busy.append(ticket.connection)

    def check(self) -> None:
        pool = self.pool
        idle = list(pool._idle)
        assert pool.size <= LIMIT
        assert len(set(idle)) == len(idle)
        assert not set(idle) & set(self.busy)
        alive = {connection for connection in self.hands.made if not self.hands.wires[connection].over}
        assert alive == {connection for connection in [*idle, *self.busy] if connection in alive}, "none is leaked"
        assert pool.waiting == len(self.tickets)
        if pool.waiting:
            assert self.busy or self.hands.pending, "nobody waits for nothing"

    async def finish(self) -> None:
        await self.settle()
        self.collect()
        self.pool.close()
        await self.settle()
        self.collect()
        assert not self.tickets
        assert self.pool.size == 0
        assert all(wire.over for wire in self.hands.wires.values())


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(5, 150))
def test_any_order_of_events(seed: int, steps: int) -> None:
    async def main() -> None:
        world = World(random.Random(seed))
        for _ in range(steps):
            await world.step()
        await world.finish()

    run(main())
