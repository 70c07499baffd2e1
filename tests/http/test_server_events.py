"""Any order of events on a few connections: bytes, answers, stalls, time, memory pressure, leaving, draining (I9, I10).

Whatever happens in whatever order: nothing is raised, nothing is written after an end, answers stand in the order of
the requests, every exchange comes to an end, and no body stays counted.
"""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.errors import GatehouseError
from gatehouse.http.connection import ServerConnection
from gatehouse.http.exchange import Exchange
from tests.http.line import FakeTransport, Line, read_answers, tell
from tests.http.test_reader import H2C, post

LIMIT = 3000


class Peer:
    """One connection and what its client is going to send."""

    def __init__(self, connection: ServerConnection, transport: FakeTransport, stream: bytes) -> None:
        self.connection = connection
        self.transport = transport
        self.stream = stream
        self.lost = False
        self.blocked = False


class World:
    """Several connections of one server, and a reluctant application that acts when it is told to."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.orders: deque[str] = deque()
        self.line = Line(self.act, body_memory=6000, pipelined=4, header_bytes=2000, write_stall=20.0)
        self.server = self.line.server
        self.peers = [Peer(self.line.connection, self.line.transport, self.requests(0))]
        for number in range(1, 3):
            transport = FakeTransport()
            connection = self.server.connection()
            connection.connection_made(transport)
            self.peers.append(Peer(connection, transport, self.requests(number)))

    def requests(self, peer: int) -> bytes:
        made = b""
        for number in range(self.chance.randint(1, 8)):
            first = b"POST /%d/%d HTTP/1.1" % (peer, number)
            body = b"b" * self.chance.choice([0, 1, 100, 2000, 4000])
            chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            match self.chance.randint(0, 6):
                case 0:
                    made += post(first=first.replace(b"POST", b"GET"))
                case 1 | 2:
                    made += post(b"Content-Length: %d" % len(body), body=body, first=first)
                case 3:
                    made += post(b"Transfer-Encoding: chunked", body=chunk, first=first)
                case 4:
                    made += post(*H2C, b"Transfer-Encoding: chunked", body=chunk, first=first)
                case 5:
                    made += post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc", first=first)
                case _:
                    made += self.chance.choice(
                        [b"", b"GARBAGE\r\n\r\n", b"\r\n", post(b"Connection: close", first=first)]
                    )
        return made

    async def act(self, exchange: Exchange) -> None:
        """Follow orders, one at a time, until the answer is over or the client has left."""
        while not (exchange.finished or exchange.gone):
            if not self.orders:
                await exchange.fiber.sleep()
                continue
            try:
                self.follow(self.orders.popleft(), exchange)
            except GatehouseError as error:
                if exchange.started:
                    exchange.abort()
                else:
                    tell(exchange, error.kind.status, b"")
        exchange.abort()

    def follow(self, order: str, exchange: Exchange) -> None:
        """Do it, unless it makes no sense now."""
        path = exchange.head.path.encode()
        promised = exchange._length
        match order:
            case "accept":
                exchange.accept_body(LIMIT)
            case "take":
                exchange.take()
            case "forget":
                exchange.forget()
            case "start" if not exchange.started:
                exchange.start(200, b"", self.chance.choice([None, len(path), len(path) + 5]))
            case "write" if exchange.started and not exchange.sent:
                exchange.write(path)
            case "end" if exchange.started and (exchange.sent or promised is None):
                exchange.end()
            case "abort" if self.chance.random() < 0.2:
                exchange.abort()
            case _ if exchange.fault is not None:
                raise exchange.fault

    def step(self) -> None:
        """The next thing that happens, on one of the connections."""
        peer = self.chance.choice(self.peers)
        if peer.transport.is_closing() and not peer.lost:
            self.lose(peer)
        elif not peer.lost:
            kinds = ["feed", "order", "time", "block", "eof", "lost", "drain", "sweep"]
            self.happen(self.chance.choices(kinds, [40, 50, 6, 6, 1, 1, 0.3, 3])[0], peer)
        self.line.turns.settle()
        assert self.server.held >= 0

    def happen(self, event: str, peer: Peer) -> None:
        chance, connection = self.chance, peer.connection
        match event:
            case "feed" if not peer.transport.paused and peer.stream:
                size = chance.choice([1, 10, 100, 1000, 5000])
                piece, peer.stream = peer.stream[:size], peer.stream[size:]
                connection.data_received(piece)
            case "order":
                self.orders.extend(chance.choices(["accept", "take", "forget", "start", "write", "end", "abort"], k=3))
                if connection.active is not None:
                    connection.active.fiber.wake()
            case "time":
                self.server.now += chance.choice([0.5, 5.0, 20.0])
                peer.transport.unsent = chance.choice([0, 0, 5, 50])
                connection.sweep(self.server.now, self.server.limits)
            case "block":
                peer.blocked = not peer.blocked
                (connection.pause_writing if peer.blocked else connection.resume_writing)()
            case "eof" if not peer.transport.paused:
                if not connection.eof_received():
                    peer.transport.close()
            case "lost":
                self.lose(peer)
            case "drain":
                self.server.drain()
            case "sweep":
                self.server.sweep()

    def lose(self, peer: Peer) -> None:
        peer.lost = True
        peer.transport.abort()
        peer.connection.connection_lost(None)
        self.line.turns.settle()

    def finish(self) -> None:
        for peer in self.peers:
            if not peer.lost:
                self.lose(peer)
        self.orders.clear()
        for exchange in self.line.app.served:
            exchange.fiber.wake()
        assert self.server.held == 0, "I9: body memory returns to nothing"
        assert not self.server.connections
        assert not self.server._starved
        assert all(exchange.finished for exchange in self.line.app.served)
        assert all(exchange.fiber.finished for exchange in self.line.app.served)
        for number, peer in enumerate(self.peers):
            paths = [e.head.path for e in self.line.app.served if e.head.path.startswith(f"/{number}/")]
            assert paths == sorted(paths), "served in the order they came"
            said = [answer for answer in read_answers(bytes(peer.transport.written)) if answer.status != 100]
            bodies = [answer.text for answer in said if answer.status == 200 and answer.text]
            assert bodies == [path for path in paths if path in bodies], "answers in order, each to its own"
            for answer in said[:-1]:
                assert answer.whole, "nothing follows an answer that was cut"
                assert answer.headers.get("connection") != "close", "nothing follows the last answer"


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(10, 400))
def test_any_order_of_events(seed: int, steps: int) -> None:
    world = World(random.Random(seed))
    for _ in range(steps):
        world.step()
    world.finish()
