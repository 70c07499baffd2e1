"""Time-outs, body memory and back-pressure of client connections, with time and the client's appetite in our hands."""

from __future__ import annotations

import pytest

from gatehouse.http.exchange import Exchange
from tests.http.line import FakeTransport, Line, echo, read_answers, tell, whole_body
from tests.http.test_reader import GET, post, switched

LONG = post(b"Content-Length: 100000")


async def never(exchange: Exchange) -> None:
    while not exchange.gone:
        await exchange.fiber.sleep()
    exchange.abort()


async def streaming(exchange: Exchange) -> None:
    """Begins to answer and goes on when woken; ends when the client has left."""
    exchange.start(200, b"", None)
    exchange.write(b"first")
    while not exchange.gone:
        await exchange.fiber.sleep()
    exchange.abort()


# -- one sweep, no timers


def test_1_8_a_slow_loris_head_408() -> None:
    line = Line(header=15.0)
    for byte in b"GET / HTTP/1.1\r\nX: ":
        line.feed(bytes([byte]))
        line.pass_time(0.9)
        if line.ended():
            break
    assert [(answer.status, answer.headers["connection"]) for answer in line.answers()] == [(408, "close")]
    line.hang_up()


@pytest.mark.parametrize("before", [b"", GET, post(b"Content-Length: 3", body=b"abc")])
def test_1_8_a_head_that_began_in_the_same_read_as_what_preceded_it_times_out_too(before: bytes) -> None:
    line = Line().feed(before + b"GET / HT")
    line.pass_time(14.0)
    assert not line.ended()
    line.pass_time(2.0)
    assert line.answers()[-1].status == 408
    line.hang_up()


def test_1_8_blank_lines_do_not_keep_a_connection_alive() -> None:
    line = Line()
    for _ in range(20):
        line.feed(b"\r\n")
        line.pass_time(1.0)
    assert line.ended()
    line.hang_up()


def test_1_8_a_stalled_body_408() -> None:
    line = Line(body_idle=30.0).feed(LONG + b"abc")
    line.pass_time(29.0)
    line.feed(b"d")
    line.pass_time(29.0)
    assert not line.answers()
    line.pass_time(2.0)
    assert [answer.status for answer in line.answers()] == [408]
    assert line.ended()
    line.hang_up()


def test_1_8_an_idle_connection_is_closed_without_a_word() -> None:
    line = Line(keep_alive=75.0).feed(GET)
    line.pass_time(74.0)
    line.feed(GET)
    line.pass_time(74.0)
    assert not line.ended()
    line.pass_time(2.0)
    assert line.transport.closed
    assert [answer.status for answer in line.answers()] == [200, 200]
    line.hang_up()
    silent = Line(keep_alive=75.0)
    silent.pass_time(76.0)
    assert silent.transport.closed
    silent.hang_up()


def test_1_8_a_running_call_has_no_client_time_out() -> None:
    """Reasoning models: minutes of silence are fine."""
    line = Line(never).feed(GET)
    for _ in range(100):
        line.pass_time(60.0)
    assert not line.ended()
    line.hang_up()


def test_1_8_lingering_ends_after_2_s_of_silence_or_30_s_in_all() -> None:
    quiet = Line().feed(b"GARBAGE\r\n\r\n")
    quiet.pass_time(1.5)
    assert quiet.transport.eof and not quiet.transport.is_closing()
    quiet.pass_time(1.0)
    assert quiet.transport.aborted
    quiet.hang_up()
    talkative = Line().feed(b"GARBAGE\r\n\r\n")
    for _ in range(29):
        talkative.feed(b"more")
        talkative.pass_time(1.0)
        assert not talkative.transport.is_closing()
    talkative.feed(b"more")
    talkative.pass_time(2.0)
    assert talkative.transport.aborted
    talkative.hang_up()


def test_1_8_lingering_lets_a_slow_client_read_its_answer() -> None:
    line = Line().feed(b"GARBAGE\r\n\r\n")
    for unsent in (50, 40, 30, 20, 10):
        line.transport.unsent = unsent
        line.pass_time(10.0)
        assert not line.transport.is_closing()
    line.transport.unsent = 0
    line.pass_time(31.0)
    assert line.transport.aborted
    line.hang_up()


# -- write stall


def stalled(line: Line, unsent: int) -> None:
    """The client takes nothing for 61 s."""
    line.transport.unsent = unsent
    line.pass_time(0.5)
    line.pass_time(59.0)
    assert not line.transport.aborted
    line.pass_time(2.0)
    assert line.transport.aborted


def test_1_8_a_client_that_takes_no_bytes_is_dropped_mid_answer() -> None:
    line = Line(streaming).feed(GET)
    stalled(line, 20)
    line.hang_up()


def test_1_8_also_when_the_answer_is_handed_over_and_the_connection_kept_or_closed() -> None:
    """T: a transport that is closing waits for its buffer without end."""
    for request in (GET, post(b"Connection: close"), b"GARBAGE\r\n\r\n"):
        line = Line().feed(request)
        stalled(line, 20)
        line.hang_up()


def test_1_8_a_client_that_takes_a_little_now_and_then_is_kept() -> None:
    line = Line(streaming).feed(GET)
    for unsent in range(len(line.transport.written), 0, -1):
        line.transport.unsent = unsent
        line.pass_time(59.0)
    assert not line.ended()
    line.hang_up()


def test_1_8_an_event_now_and_then_is_no_sign_of_life() -> None:
    """What we write is not what the client takes."""
    line = Line(streaming).feed(GET)
    exchange = line.app.served[0]
    line.transport.unsent = len(line.transport.written)
    for _ in range(7):
        exchange.write(b"event")
        line.transport.unsent = len(line.transport.written)
        line.pass_time(10.0)
    assert line.transport.aborted
    line.hang_up()


# -- back-pressure


def test_I9_a_client_that_is_blocked_pauses_the_exchange_and_wakes_it_afterwards() -> None:
    line = Line(streaming).feed(GET)
    (exchange,) = line.app.served
    line.connection.pause_writing()
    states = [exchange.paused]
    line.connection.resume_writing()
    assert [*states, exchange.paused] == [True, False]
    line.hang_up()


def test_I9_the_next_exchange_of_a_blocked_client_begins_paused() -> None:
    held: list[Exchange] = []

    async def first_waits(exchange: Exchange) -> None:
        held.append(exchange)
        if len(held) == 1:
            await exchange.fiber.sleep()
        tell(exchange, 200, b"")

    line = Line(first_waits).feed(GET + GET)
    line.connection.pause_writing()
    held[0].fiber.wake()
    line.turns.settle()
    assert [exchange.paused for exchange in held] == [True, True]
    line.hang_up()


def test_1_5_reading_pauses_only_when_more_than_64_KiB_of_further_bodies_wait() -> None:
    line = Line(never).feed(GET, post(b"Content-Length: 65536"), b"a" * 65_536)
    assert line.reading()
    line.feed(post(b"Content-Length: 10", body=b"b"))
    assert not line.reading()
    line.hang_up()


def test_I9_reading_pauses_when_the_running_call_does_not_take_its_body_and_goes_on_when_it_does() -> None:
    line = Line(never).feed(post(b"Content-Length: 1000000"), b"a" * 262_144)
    assert line.reading()
    line.feed(b"a")
    assert not line.reading()
    line.pass_time(1000.0)
    assert not line.ended(), "the client is not silent, we are deaf"
    (exchange,) = line.app.served
    exchange.take()
    assert line.reading()
    line.pass_time(29.0)
    assert exchange.fault is None, "its silence counts from now"
    line.hang_up()


def test_I9_waiting_requests_are_read_on_when_their_turn_comes() -> None:
    held: list[Exchange] = []

    async def first_waits(exchange: Exchange) -> None:
        held.append(exchange)
        if len(held) == 1:
            await exchange.fiber.sleep()
        await echo(exchange)

    line = Line(first_waits).feed(GET + post(b"Content-Length: 100000", body=b"a" * 80_000))
    assert not line.reading()
    held[0].fiber.wake()
    line.turns.settle()
    assert line.reading()
    line.feed(b"a" * 20_000)
    assert [len(answer.body) for answer in line.answers()] == [14, 15 + 100_000]
    line.hang_up()


# -- I9: body memory of all connections together


class Lines:
    """Several connections of one server."""

    def __init__(self, count: int, **limits: float) -> None:
        self.first = Line(**limits)  # type: ignore[arg-type]
        self.server = self.first.server
        self.transports = [self.first.transport]
        self.connections = [self.first.connection]
        for _ in range(count - 1):
            self.transports.append(FakeTransport())
            self.connections.append(self.server.connection())
            self.connections[-1].connection_made(self.transports[-1])

    def feed(self, index: int, data: bytes) -> None:
        assert not self.transports[index].paused
        self.connections[index].data_received(data)

    def statuses(self, index: int) -> list[int]:
        return [answer.status for answer in read_answers(bytes(self.transports[index].written))]

    def paused(self) -> list[bool]:
        return [transport.paused for transport in self.transports]

    def hang_up(self) -> None:
        for connection in self.connections:
            connection.connection_lost(None)
        assert self.server.held == 0, "I9: body memory returns to nothing"


def test_I9_at_the_limit_no_body_is_read_any_further_and_others_are_not_touched() -> None:
    lines = Lines(4, body_memory=150_000)
    for index in range(3):
        lines.feed(index, LONG + b"a" * 40_000)
    assert lines.paused() == [False] * 4
    lines.feed(0, b"a" * 30_001)
    assert lines.paused() == [True, True, True, False], "at once, not each when its next bytes come"
    lines.feed(3, GET)
    assert lines.statuses(3) == [200]
    lines.feed(3, LONG + b"a")
    assert lines.paused()[3]
    lines.hang_up()


def test_I9_reading_goes_on_when_an_eighth_is_free_again() -> None:
    lines = Lines(3, body_memory=160_000)
    for index in range(3):
        lines.feed(index, LONG + b"a" * 54_000)
    assert lines.paused() == [True] * 3
    lines.connections[0].connection_lost(None)
    assert lines.paused()[1:] == [False, False]
    lines.feed(1, b"a" * 46_000)
    assert lines.statuses(1) == [200]
    lines.feed(2, b"a" * 46_000)
    assert lines.statuses(2) == [200]
    lines.connections.pop(0)
    lines.hang_up()


def test_I9_who_waits_too_long_gets_503_and_only_as_many_as_it_takes() -> None:
    """And the sweep survives that giving up one frees the others."""
    lines = Lines(4, body_memory=200_000, body_idle=0.0)
    for index in range(4):
        lines.feed(index, LONG + b"a" * 50_001)
    assert lines.paused() == [True] * 4
    lines.server.sweep()
    statuses = [lines.statuses(index) for index in range(4)]
    assert sorted(statuses) == [[], [], [], [503]]
    assert lines.paused() == [False] * 4
    lines.hang_up()


def test_I9_a_request_that_is_whole_is_neither_starved_nor_refused() -> None:
    """The byte that completes a body may be the one that crosses the limit."""

    async def keeps(exchange: Exchange) -> None:
        exchange.accept_body(1 << 20)
        exchange.take()
        while not exchange.gone:
            await exchange.fiber.sleep()
        exchange.abort()

    line = Line(keeps, body_memory=50_000, body_idle=0.0).feed(LONG + b"a" * 100_000)
    assert line.server.held == 100_000
    assert line.reading(), "its client must be heard leaving"
    line.server.sweep()
    assert not line.transport.written
    line.hang_up()


def test_I9_a_websocket_that_holds_nothing_back_is_not_starved() -> None:
    """It is not what fills the memory, and giving it up would free nothing."""
    tunnel = Line(switched, body_memory=50_000, body_idle=0.0)
    tunnel.feed(post(b"Connection: Upgrade", b"Upgrade: websocket", first=b"GET / HTTP/1.1"))
    other, transport = tunnel.server.connection(), FakeTransport()
    other.connection_made(transport)
    other.data_received(LONG + b"a" * 60_000)
    assert transport.paused
    tunnel.feed(b"heard")
    assert tunnel.reading()
    tunnel.server.sweep()
    assert [answer.status for answer in read_answers(bytes(transport.written))] == [503]
    tunnel.feed(b" still")
    assert bytes(tunnel.transport.written).endswith(b"heard still")
    other.connection_lost(None)
    tunnel.hang_up()


def test_I9_memory_bounded_over_many_connections_and_reads() -> None:
    """Whatever resumes, at most one read beyond the limit is held."""
    lines = Lines(60, body_memory=1_000_000)
    peak = 0
    for connection, transport in zip(lines.connections, lines.transports, strict=True):
        connection.data_received(post(b"Content-Length: 3000000"))
        assert not transport.paused
    for _ in range(100):
        for connection, transport in zip(lines.connections, lines.transports, strict=True):
            if not transport.paused:
                connection.data_received(b"a" * 10_000)
                peak = max(peak, lines.server.held)
    assert peak <= 1_010_000
    assert all(lines.paused())
    lines.hang_up()


# -- the end of a worker


def test_draining_closes_idle_connections_and_announces_the_end_on_running_ones() -> None:
    held: list[Exchange] = []

    async def waits(exchange: Exchange) -> None:
        held.append(exchange)
        await exchange.fiber.sleep()
        tell(exchange, 200, b"ok")

    idle, running = Line(), Line(waits)
    idle.feed(GET).server.drain()
    assert idle.transport.closed
    running.feed(GET + GET)
    running.server.drain()
    assert not running.ended()
    held[0].fiber.wake()
    running.turns.settle()
    assert [answer.headers["connection"] for answer in running.answers()] == ["close"]
    assert len(held) == 1, "the client knows that the second was not served"
    assert running.ended()
    idle.hang_up()
    running.hang_up()


def test_draining_leaves_lingering_connections_alone() -> None:
    line = Line().feed(b"GARBAGE\r\n\r\n")
    line.server.drain()
    assert not line.transport.is_closing()
    line.hang_up()


# -- the order of things


def test_the_next_request_does_not_begin_inside_the_one_that_ended() -> None:
    """A call that has ended its answer still has statements to run: its record."""
    log: list[str] = []

    async def handler(exchange: Exchange) -> None:
        log.append(f"begin {exchange.head.path}")
        await whole_body(exchange)
        await exchange.fiber.sleep()
        tell(exchange, 200, b"")
        log.append(f"end {exchange.head.path}")

    def get(path: bytes) -> bytes:
        return post(first=b"GET %b HTTP/1.1" % path)

    line = Line(handler).feed(get(b"/1") + get(b"/2"))
    line.app.served[0].fiber.wake()
    assert log == ["begin /1", "end /1"]
    line.turns.settle()
    assert log == ["begin /1", "end /1", "begin /2"]
    line.hang_up()


def test_too_many_connections_are_told_and_closed() -> None:
    lines = Lines(3, connections=2)
    assert lines.statuses(2) == [503]
    assert lines.transports[2].eof
    assert lines.statuses(0) == []
    lines.hang_up()


def test_a_connection_reports_its_addresses() -> None:
    line = Line()
    assert (line.connection.peer, line.connection.local) == ("127.0.0.9", "127.0.0.1")
    line.hang_up()
