"""The server on real sockets: what only kernels show. Clients that leave, reset, linger, read slowly, speak TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from pathlib import Path

import pytest

from gatehouse.http.exchange import Exchange
from tests.http.certificates import self_signed, server_context
from tests.http.line import echo, limited, read_answers, read_chunks, tell
from tests.http.serving import Client, Served, run, serving
from tests.http.test_reader import GET, post

BODY = b"0123456789abcdef" * 1024


async def until_gone(exchange: Exchange) -> None:
    exchange.accept_body(1 << 20)
    exchange.start(200, b"", None)
    exchange.flush()
    while not exchange.gone:
        await exchange.fiber.sleep()
    exchange.abort()


async def converse(served: Served) -> None:
    client = await served.connect()
    for i in range(20):
        body = b"%d" % i
        await client.send(post(b"Content-Length: %d" % len(body), body=body) * 2)
        received = b""
        while received.count(b"POST /v1/x 1.1 " + body) < 2:
            received += await client.receive()
        assert len(read_answers(received)) == 2
    client.close()


def test_answers_come_in_order_on_a_kept_connection() -> None:
    async def main() -> None:
        async with serving() as served:
            await converse(served)

    run(main())


# -- I10: a client that leaves


@pytest.mark.parametrize("waiting", [0, 65_536])
@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_I10_a_client_that_leaves_is_noticed_within_50_ms(how: str, waiting: int) -> None:
    """While a call runs, and with 64 KiB of a further request waiting. The best of five: the machine may be busy."""

    async def noticed_after(served: Served) -> float:
        client = await served.connect()
        await client.send(GET)
        await client.read_until(b"\r\n\r\n")
        exchange = served.app.served[-1]
        if waiting:
            await client.send(post(b"Content-Length: 1000000", body=b"a" * waiting))
            await served.until(lambda: served.server.held == waiting)
        began = time.monotonic()
        if how == "FIN":
            client.close()
        else:
            client.reset()
        await served.until(lambda: exchange.finished, 2.0)
        took = time.monotonic() - began
        assert exchange.gone
        await served.until(lambda: not served.server.connections)
        return took

    async def main() -> None:
        async with serving(until_gone) as served:
            assert min([await noticed_after(served) for _ in range(5)]) < 0.05

    run(main())


def test_I10_a_half_close_counts_as_leaving() -> None:
    async def main() -> None:
        async with serving(until_gone) as served:
            client = await served.connect()
            await client.send(GET)
            await client.read_until(b"\r\n\r\n")
            client.sock.shutdown(socket.SHUT_WR)
            assert await client.read() == b""
            assert served.app.served[0].gone

    run(main())


def test_I10_a_client_that_sends_and_leaves_at_once() -> None:
    async def main() -> None:
        async with serving(until_gone) as served:
            for _ in range(20):
                client = await served.connect()
                await client.send(GET)
                client.reset()
            await served.until(lambda: not served.server.connections)
            assert all(exchange.finished for exchange in served.app.served)

    run(main())


def test_I10_a_client_that_leaves_mid_body() -> None:
    async def main() -> None:
        async with serving() as served:
            client = await served.connect()
            await client.send(post(b"Content-Length: 100000", body=BODY))
            await served.until(lambda: bool(served.server.held))
            client.close()
            await served.until(lambda: not served.server.connections)
            assert served.app.served[0].gone

    run(main())


# -- refused, and the answer can be read (lingering close)


def test_413_can_be_read_by_a_client_that_sends_everything_first() -> None:
    """T: without lingering its unread bytes turn our answer into a reset."""
    size = 24 << 20

    async def main(head: bytes, framing: tuple[bytes, bytes]) -> None:
        async with serving(limited(100_000)) as served:
            client = await served.connect()
            await client.send(post(head) + framing[0])
            for _ in range(size // 65_536):
                await client.send(b"a" * 65_536)
            await client.send(framing[1])
            (answer,) = read_answers(await client.read())
            assert (answer.status, answer.headers["connection"], answer.whole) == (413, "close", True)
            await served.until(lambda: not served.server.connections)

    run(main(b"Content-Length: %d" % size, (b"", b"")))
    run(main(b"Transfer-Encoding: chunked", (b"%x\r\n" % size, b"\r\n0\r\n\r\n")))


@pytest.mark.parametrize("request_", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: gw\r\nX: " + b"a" * 3_000_000])
def test_refusals_of_heads_can_be_read_too(request_: bytes) -> None:
    async def main() -> None:
        async with serving() as served:
            client = await served.connect()
            await client.send(request_ + b"b" * 1_000_000)
            (answer,) = read_answers(await client.read())
            assert answer.status in (400, 431)

    run(main())


def test_what_is_pipelined_behind_the_last_answer_does_not_break_it() -> None:
    async def main() -> None:
        async with serving() as served:
            client = await served.connect()
            await client.send(post(b"Connection: close") + GET * 1000)
            (answer,) = read_answers(await client.read())
            assert (answer.status, answer.headers["connection"]) == (200, "close")

    run(main())


def test_too_many_connections_503() -> None:
    async def main() -> None:
        async with serving(connections=2) as served:
            clients = [await served.connect() for _ in range(2)]
            for client in clients:
                await client.send(GET)
                await client.read_until(b"1.1 ")
            third = await served.connect()
            await third.send(GET)
            assert [answer.status for answer in read_answers(await third.read())] == [503]
            clients[0].close()
            await served.until(lambda: len(served.server.connections) < 2)
            assert [answer.status for answer in await served.ask(post(b"Connection: close"))] == [200]

    run(main())


# -- I9: slow readers


def test_I9_a_slow_reader_pauses_its_answer_and_gets_all_of_it() -> None:
    size = 40 << 20
    most = 0

    async def fast(exchange: Exchange) -> None:
        nonlocal most
        exchange.start(200, b"", size)
        while exchange.sent < size and not exchange.gone:
            while exchange.paused and not exchange.gone:
                await exchange.fiber.sleep()
            exchange.write(b"a" * 65_536)
            (connection,) = served_now[0].server.connections
            most = max(most, connection._transport.get_write_buffer_size())
        exchange.end()

    served_now: list[Served] = []

    async def main() -> None:
        async with serving(fast) as served:
            served_now.append(served)
            client = await served.connect()
            await client.send(GET)
            await served.until(lambda: served.app.served[0].paused if served.app.served else False)
            assert served.app.served[0].sent < size // 2
            received = await client.read_until(b"\r\n\r\n")
            got = len(received.partition(b"\r\n\r\n")[2])
            while got < size:
                got += len(await client.receive(1 << 20))
            assert got == size
            client.close()

    run(main())
    assert most <= 128 * 1024 + 65_536, "I9: bounded, whatever the answer's length"


def test_1_8_a_client_that_takes_nothing_is_dropped() -> None:
    async def flood(exchange: Exchange) -> None:
        exchange.start(200, b"", None)
        while not exchange.gone:
            while exchange.paused and not exchange.gone:
                await exchange.fiber.sleep()
            exchange.write(b"a" * 65_536)
        exchange.abort()

    async def main() -> None:
        async with serving(flood, write_stall=0.2) as served:
            client = await served.connect()
            await client.send(GET)
            await served.until(lambda: bool(served.app.served and served.app.served[0].finished))
            assert served.app.served[0].gone
            client.close()

    run(main())


# -- abnormal ends as a client sees them


async def cut_answer(length: int | None, request: bytes) -> bytes:
    async def handler(exchange: Exchange) -> None:
        exchange.start(200, b"", length)
        exchange.write(b"hello")
        await exchange.fiber.sleep()
        exchange.abort()

    async with serving(handler) as served:
        client = await served.connect()
        await client.send(request)
        received = await client.read_until(b"hello")
        served.app.served[0].fiber.wake()
        return received + await client.read()


def test_1_7_chunked_ends_without_the_last_chunk() -> None:
    received = run(cut_answer(None, GET))
    assert read_chunks(received.partition(b"\r\n\r\n")[2]) == (b"hello", b"", False)


def test_1_7_content_length_ends_short() -> None:
    (answer,) = read_answers(run(cut_answer(10, GET)))
    assert (answer.body, answer.whole) == (b"hello", False)


def test_1_7_close_delimited_ends_with_a_reset_not_with_a_clean_end() -> None:
    """T: uvloop's `abort()` alone ends with a clean FIN."""
    with pytest.raises(ConnectionResetError):
        run(cut_answer(None, b"GET / HTTP/1.0\r\nHost: gw\r\n\r\n"))


def test_close_delimited_answers_end_cleanly_when_they_are_whole() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.start(200, b"", None)
        for _ in range(50):
            exchange.write(BODY)
        exchange.end()

    async def main() -> None:
        async with serving(handler) as served:
            (answer,) = await served.ask(b"GET / HTTP/1.0\r\nHost: gw\r\n\r\n")
            assert answer.body == BODY * 50

    run(main())


# -- large bodies, both framings


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_arrives_whole(chunked: bool) -> None:
    body = BODY * 200

    async def main() -> None:
        async with serving() as served:
            client = await served.connect()
            if chunked:
                data = b"".join(b"%x\r\n%b\r\n" % (len(BODY), BODY) for _ in range(200)) + b"0\r\n\r\n"
                sending = asyncio.ensure_future(client.send(post(b"Transfer-Encoding: chunked", body=data) + GET))
            else:
                sending = asyncio.ensure_future(client.send(post(b"Content-Length: %d" % len(body), body=body) + GET))
            received = b""
            while not received.endswith(b"GET /v1/x 1.1 "):
                received += await client.receive(1 << 20)
            await sending
            first, second = read_answers(received)
            assert first.body == b"POST /v1/x 1.1 " + body
            assert second.status == 200
            client.close()

    run(main())


# -- TLS


def test_TLS_serves_refuses_and_lingers(tmp_path: Path) -> None:
    """A transport that cannot end one side alone still lets the client read its 413."""
    pem = self_signed(tmp_path, "DNS:localhost")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(limited(100_000)) as served:
            listener = await loop.create_server(served.server.protocol, "127.0.0.1", 0, ssl=server_context(pem))
            port = listener.sockets[0].getsockname()[1]
            trust = ssl.create_default_context(cafile=str(pem))
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
            writer.write(post(b"Content-Length: 5", body=b"hello"))
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            writer.write(post(b"Content-Length: 3000000") + b"a" * 3_000_000)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 413")
            assert b"connection: close" in head
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await served.until(lambda: not served.server.connections)
            listener.close()

    run(main())


def test_TLS_a_client_that_leaves_is_noticed_and_a_cut_answer_does_not_end_cleanly(tmp_path: Path) -> None:
    """I10."""
    pem = self_signed(tmp_path, "DNS:localhost")
    trust = ssl.create_default_context(cafile=str(pem))

    async def opened(port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def main() -> None:
        async with serving(until_gone) as served:
            listener = await asyncio.get_running_loop().create_server(
                served.server.protocol, "127.0.0.1", 0, ssl=server_context(pem)
            )
            port = listener.sockets[0].getsockname()[1]
            for how in ("close", "abort"):
                _, writer = await opened(port, GET)
                getattr(writer.transport, how)()
                await served.until(lambda: all(exchange.gone for exchange in served.app.served))
            reader, writer = await opened(port, b"GET / HTTP/1.0\r\nHost: gw\r\n\r\n")
            served.app.served[-1].abort()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            await served.until(lambda: not served.server.connections)
            listener.close()

    run(main())


# -- time-outs, once with real time


def test_1_8_time_outs_fire_on_the_real_clock() -> None:
    async def main() -> None:
        async with serving(header=0.1, body_idle=0.1) as served:
            assert [answer.status for answer in await served.ask(b"GET / HT")] == [408]
            assert [answer.status for answer in await served.ask(post(b"Content-Length: 9", body=b"x"))] == [408]
        async with serving(keep_alive=0.1) as served:
            assert [answer.status for answer in await served.ask(GET)] == [200]

    run(main())


# -- many at once


def test_a_hundred_clients_at_once_each_get_their_own_answers() -> None:
    async def one(served: Served, number: int) -> None:
        client = await served.connect()
        for turn in range(10):
            body = b"%d-%d" % (number, turn)
            await client.send(post(b"Content-Length: %d" % len(body), body=body))
            assert (await client.read_until(b"-%d" % turn)).endswith(b"POST /v1/x 1.1 " + body)
        client.close()

    async def main() -> None:
        async with serving(echo) as served:
            await asyncio.gather(*(one(served, number) for number in range(100)))

    run(main())


def test_an_exchange_that_answers_after_its_client_left_harms_nobody() -> None:
    held: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        held.append(exchange)
        while not (exchange.gone and exchange.extra):
            await exchange.fiber.sleep()
        tell(exchange, 200, b"late")

    async def main() -> None:
        async with serving(handler) as served:
            client: Client = await served.connect()
            await client.send(GET)
            await served.until(lambda: bool(held))
            client.reset()
            await served.until(lambda: not served.server.connections)
            held[0].extra = b"x: y\r\n"
            held[0].fiber.wake()
            assert held[0].finished
            assert held[0].sent == 0

    run(main())


def test_connections_without_a_request_are_counted() -> None:
    """Nothing is on record of a connection that never brought a whole head."""

    async def main() -> None:
        async with serving() as served:
            whole = post(b"Content-Length: 5", body=b"abcde")
            for sent in (b"", b"GET /v1/x HT", whole, b"\x16\x03\x01\x02\x00\r\n\r\n"):
                client = await served.connect()
                await client.send(sent)
                await served.until(lambda: len(served.server.connections) == 1)
                client.close()
                await served.until(lambda: not served.server.connections)
            assert served.server.without_request == 3

    run(main())
