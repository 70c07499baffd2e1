"""Connecting: the address that was checked, the next one after 250 ms, TLS that is meant, bounds."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gatehouse.config.descriptors import Descriptors
from gatehouse.http.client import ClientConnection
from gatehouse.model.call import Origin
from gatehouse.upstream.connect import ConnectError, Connector
from tests.crash.processes import free_port
from tests.http.certificates import self_signed, server_context
from tests.http.serving import run
from tests.upstream.farside import (
    Caller,
    FarConnection,
    FarSide,
    NamingLoop,
    ask,
    connected,
    connector,
    far_side,
    pool_of,
    until,
)


class Owner:
    def __init__(self) -> None:
        self.now = 0.0
        self.gone: list[ClientConnection] = []

    def lost(self, connection: ClientConnection) -> None:
        self.gone.append(connection)


async def opened(
    origin: Origin,
    *,
    using: Connector | None = None,
    ca_file: str | None = None,
    private: bool = True,
    within: float = 5.0,
) -> ClientConnection:
    using = using or connector()
    owner = Owner()
    return await using.open(
        origin, lambda: ClientConnection(owner), gate=using.gate(), ca_file=ca_file, private=private, within=within
    )


@contextlib.contextmanager
def deaf_address(host: str, port: int) -> Iterator[socket.socket]:
    """An address whose queue is full: a connection to it hangs until somebody accepts."""
    listener = socket.socket()
    fillers = []
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((host, port))
            fillers.append(filler)
        yield listener
    finally:
        for sock in (listener, *fillers):
            sock.close()


# -- addresses


def test_an_answer_comes_over_it_and_it_knows_its_address() -> None:
    async def main() -> None:
        async with far_side() as far:
            connection = await opened(far.origin)
            assert connection.address == "127.0.0.1"
            assert await ask(connection) == b"1"
            connection.abort()

    run(main())


def test_a_private_address_is_not_connected_to_unless_meant() -> None:
    async def main() -> None:
        async with far_side() as far:
            for host in ("127.0.0.1", "localhost"):
                with pytest.raises(ConnectError, match="no public address"):
                    await opened(Origin("http", host, far.port), private=False)
            assert not far.connections

    run(main())


def test_1_9_the_next_address_is_tried_after_250_ms_when_the_first_hangs() -> None:
    async def main() -> None:
        async with far_side() as far:
            with deaf_address("127.0.0.2", far.port):
                took = [await _seconds_to_the_last(["127.0.0.2", "127.0.0.1"], far.port) for _ in range(3)]
                assert 0.2 < min(took) < 0.9

    run(main())


def test_1_9_a_refused_address_does_not_delay_the_next() -> None:
    async def main() -> None:
        async with far_side() as far:
            took = [await _seconds_to_the_last(["127.0.0.3", "127.0.0.4", "127.0.0.1"], far.port) for _ in range(3)]
            assert min(took) < 0.2

    run(main())


async def _seconds_to_the_last(addresses: list[str], port: int) -> float:
    """How long it takes to connect to a host with these addresses. The best of some: the machine may be busy."""
    loop = NamingLoop({"far.test": addresses})
    began = time.monotonic()
    connection = await opened(Origin("http", "far.test", port), using=connector(loop.as_loop()))
    took = time.monotonic() - began
    assert connection.address == addresses[-1]
    connection.abort()
    return took


class Tie(NamingLoop):
    """Every connection is made at once, but nobody hears of it before `start`."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        super().__init__(dict(names))
        self.start = asyncio.Event()
        self.runners = 0

    async def create_connection(self, *args: Any, **kw: Any) -> tuple[asyncio.Transport, asyncio.Protocol]:
        made = await self._loop.create_connection(*args, **kw)
        self.runners += 1
        await self.start.wait()
        return cast(tuple[asyncio.Transport, asyncio.Protocol], made)


def test_1_9_who_loses_the_race_is_closed_even_if_it_connects_in_the_same_turn() -> None:
    async def main() -> None:
        async with far_side() as far:
            twin = await asyncio.get_running_loop().create_server(lambda: FarConnection(far), "127.0.0.2", far.port)
            loop = Tie({"far.test": ["127.0.0.1", "127.0.0.2"]})
            opening = asyncio.ensure_future(
                opened(Origin("http", "far.test", far.port), using=connector(loop.as_loop()))
            )
            await until(lambda: loop.runners == 2)
            await until(lambda: far.open_connections() == 2)
            loop.start.set()
            connection = await opening
            await until(lambda: far.open_connections() == 1)
            assert await ask(connection) == b"1"
            connection.abort()
            twin.close()

    run(main())


def test_1_9_giving_up_leaves_no_connection() -> None:
    """Time-outs and cancellation in the turn in which a connection comes (T: 1.6)."""

    async def main() -> None:
        async with far_side() as far:
            loop = Tie({"far.test": ["127.0.0.1"]})
            opening = asyncio.ensure_future(
                opened(Origin("http", "far.test", far.port), using=connector(loop.as_loop()))
            )
            await until(lambda: loop.runners == 1)
            loop.start.set()
            await asyncio.sleep(0)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await opening).abort()
            await until(lambda: far.open_connections() == 0)

    run(main())


# -- failures, worded without address or secret


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection(scheme: str) -> None:
    origin = Origin("http" if scheme == "http" else "https", "127.0.0.1", free_port())
    with pytest.raises(ConnectError, match=r"^cannot connect: Connection refused$"):
        run(opened(origin))


def test_a_hanging_connection_ends_in_time() -> None:
    port = free_port()
    with deaf_address("127.0.0.1", port), pytest.raises(ConnectError, match=r"^no connection within 0.2 s$"):
        run(opened(Origin("http", "127.0.0.1", port), within=0.2))


def test_a_name_that_hangs_ends_in_time() -> None:
    async def main() -> None:
        loop = NamingLoop({"far.test": ["127.0.0.1"]})
        loop.answering.clear()
        with pytest.raises(ConnectError, match=r"^no connection within 0.1 s$"):
            await opened(Origin("http", "far.test", 80), using=connector(loop.as_loop()), within=0.1)
        loop.answering.set()

    run(main())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_out_of_descriptors(scheme: str, tmp_path: Path) -> None:
    """It says nothing of the provider, and what was opened is closed again."""

    async def main() -> None:
        tls = self_signed(tmp_path, "IP:127.0.0.1") if scheme == "https" else None
        async with far_side(tls=server_context(tls) if tls else None) as far:
            descriptors = Descriptors(16)  # every new one is kept back
            loop = asyncio.get_running_loop()
            short = Connector(loop, dns_seconds=60.0, handshakes=4, builtins={}, descriptors=descriptors)
            origin = Origin("https" if tls else "http", "127.0.0.1", far.port)
            with pytest.raises(ConnectError, match="out of file descriptors") as refused:
                await opened(origin, using=short, ca_file=str(tls) if tls else None)
            assert refused.value.ours
            assert descriptors.denied == 1
            await until(lambda: not far.open_connections())

    run(main())


@pytest.mark.parametrize("path", ["/nonexistent/control.sock", "/tmp/" + "x" * 200])
def test_a_unix_socket_that_is_not_there(path: str) -> None:
    with pytest.raises(ConnectError, match="cannot connect"):
        run(opened(Origin("unix", path, 0)))


def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            with pytest.raises(ConnectError, match="cannot connect: No such file"):
                await opened(Origin("https", "127.0.0.1", far.port), ca_file=str(tmp_path / "missing.pem"))

    run(main())


# -- unix, in-process


def test_unix_sockets_and_in_process_upstreams(tmp_path: Path) -> None:
    async def main() -> None:
        far = FarSide()
        path = str(tmp_path / "s")
        server = await asyncio.get_running_loop().create_unix_server(lambda: FarConnection(far), path)
        over_unix = await opened(Origin("unix", path, 0))
        inside = await opened(
            Origin("builtin", "simulated", 0), using=connector(simulated=lambda: FarConnection(far)), private=False
        )
        assert [await ask(over_unix), await ask(inside)] == [b"1", b"2"]
        over_unix.abort()
        inside.abort()
        await until(lambda: far.open_connections() == 0)
        server.close()

    run(main())


# -- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("certificates")
    return {
        names: self_signed(directory, names)
        for names in ("DNS:far.test", "DNS:other.test", "DNS:far.test,IP:127.0.0.1")
    }


async def tls_answer(origin_host: str, served: Path, trusted: Path | None) -> bytes:
    async with far_side(server_context(served)) as far:
        loop = NamingLoop({"far.test": ["127.0.0.1"]})
        connection = await opened(
            Origin("https", origin_host, far.port),
            using=connector(loop.as_loop()),
            ca_file=str(trusted) if trusted else None,
        )
        try:
            return await ask(connection)
        finally:
            connection.abort()


def test_TLS_with_a_custom_authority(certificates: dict[str, Path]) -> None:
    pem = certificates["DNS:far.test"]
    assert run(tls_answer("far.test", pem, pem)) == b"1"
    pem = certificates["DNS:far.test,IP:127.0.0.1"]
    assert run(tls_answer("127.0.0.1", pem, pem)) == b"1"


def test_TLS_of_a_wrong_name_is_refused(certificates: dict[str, Path]) -> None:
    pem = certificates["DNS:other.test"]
    with pytest.raises(ConnectError, match=r"^certificate not accepted: Hostname mismatch"):
        run(tls_answer("far.test", pem, pem))
    pem = certificates["DNS:far.test"]
    with pytest.raises(ConnectError, match=r"^certificate not accepted: IP address mismatch"):
        run(tls_answer("127.0.0.1", pem, pem))


def test_a_failure_does_not_say_where_the_provider_is(certificates: dict[str, Path]) -> None:
    pem = certificates["DNS:other.test"]
    with pytest.raises(ConnectError, match=r"^certificate not accepted: (?!.*far\.test)"):
        run(tls_answer("far.test", pem, pem))
    host = "x" * 64 + ".test"
    with pytest.raises(ConnectError, match=r"^cannot resolve its host: not a host name$"):
        run(opened(Origin("http", host, 80)))


def test_TLS_of_an_unknown_authority_is_refused(certificates: dict[str, Path]) -> None:
    for trusted in (None, certificates["DNS:other.test"]):
        with pytest.raises(ConnectError, match=r"^certificate not accepted: self.signed certificate"):
            run(tls_answer("far.test", certificates["DNS:far.test"], trusted))


def test_TLS_to_a_plain_port() -> None:
    async def main() -> None:
        async with far_side() as far:
            far.answer = lambda number: b"HTTP/1.1 400 Bad Request\r\n\r\n"
            task = asyncio.ensure_future(opened(Origin("https", "127.0.0.1", far.port), within=5.0))
            await until(lambda: far.connections and far.connections[0].received)
            far.connections[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(ConnectError, match="TLS failed") as raised:
                await task
            assert not re.search(r"127\.0\.0\.1|\[Errno|\.c:", str(raised.value))

    run(main())


def test_one_context_per_authority(certificates: dict[str, Path]) -> None:
    """31 ms each: built once."""

    async def main() -> None:
        made = connector()
        pem = str(certificates["DNS:far.test"])
        assert made.trust(pem) is made.trust(pem)
        assert made.trust(None) is not made.trust(pem)
        assert made.trust(pem).verify_mode is ssl.CERT_REQUIRED
        assert made.trust(pem).check_hostname

    run(main())


def test_1_1_a_body_to_eof_over_TLS_is_whole_only_with_close_notify(certificates: dict[str, Path]) -> None:
    """Whoever can cut the TCP connection must not be able to shorten an answer unnoticed."""
    pem = certificates["DNS:far.test"]

    async def main(notify: bool) -> tuple[bool, bytes]:
        async with far_side(server_context(pem)) as far:
            far.answer = lambda number: b"HTTP/1.1 200 OK\r\n\r\nhello"
            loop = NamingLoop({"far.test": ["127.0.0.1"]})
            connection = await opened(
                Origin("https", "far.test", far.port), using=connector(loop.as_loop()), ca_file=str(pem)
            )
            asking = asyncio.ensure_future(ask(connection))
            await until(lambda: connection.received == 5)
            (theirs,) = far.connections
            if notify:
                theirs.transport.close()
            else:
                theirs.transport.abort()  # a FIN, but no close_notify before it
            await until(lambda: connection.lost)
            with contextlib.suppress(AssertionError):
                return connection.complete, await asking
            return connection.complete, b""

    assert run(main(notify=True)) == (True, b"hello")
    assert run(main(notify=False)) == (False, b"")


def test_I10_cancelling_over_TLS_frees_the_place_in_the_pool(certificates: dict[str, Path]) -> None:
    pem = certificates["DNS:far.test,IP:127.0.0.1"]

    async def main() -> None:
        async with far_side(server_context(pem)) as far:
            far.answer = lambda number: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
            pool = pool_of(Origin("https", "127.0.0.1", far.port), ca_file=str(pem))
            connection, caller = await connected(pool), Caller()
            connection.request(caller.fiber, "GET", b"GET / HTTP/1.1\r\nhost: far\r\n\r\n", b"")
            await caller.until(lambda: connection.received == 5)
            pool.give_back(connection)
            await until(lambda: pool.size == 0 and far.open_connections() == 0)

    run(main())


def test_1_9_handshakes_in_flight_are_bounded_and_a_dead_provider_takes_nobody_elses_turn(
    certificates: dict[str, Path],
) -> None:
    """Each pool has a gate of its own."""
    pem = certificates["DNS:far.test,IP:127.0.0.1"]

    async def main() -> None:
        owner = Owner()
        made = connector(handshakes=2)
        async with far_side() as silent, far_side(server_context(pem)) as far:
            silent.answer = lambda number: None
            gate = made.gate()
            waiting = [
                asyncio.ensure_future(
                    made.open(
                        Origin("https", "127.0.0.1", silent.port),
                        lambda: ClientConnection(owner),
                        gate=gate,
                        ca_file=str(pem),
                        private=True,
                        within=0.5,
                    )
                )
                for _ in range(5)
            ]
            await until(lambda: len(silent.connections) == 2)
            connection = await opened(Origin("https", "127.0.0.1", far.port), using=made, ca_file=str(pem), within=0.4)
            assert await ask(connection) == b"1"
            connection.abort()
            assert len(silent.connections) == 2
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert [str(error) for error in results] == ["no connection within 0.5 s"] * 5
            await until(lambda: silent.open_connections() == 0)

    run(main())
