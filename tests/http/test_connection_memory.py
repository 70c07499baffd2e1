"""I9: what a connection leaves behind when it is over: nothing, at once, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc

import uvloop

from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import Exchange
from gatehouse.http.server import Server
from tests.http.line import LIMITS, tell, whole_body

ASK = b"POST /v1/x HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi"


class Forgetful:
    """`http.server.Application` that keeps nothing of what it serves."""

    def serve(self, exchange: Exchange) -> None:
        exchange.fiber.start(self._answer(exchange))

    def reject(self, exchange: Exchange | None, error: GatehouseError) -> tuple[int, bytes, bytes]:
        return error.kind.status, b"", b""

    async def _answer(self, exchange: Exchange) -> None:
        await whole_body(exchange)
        tell(exchange, 200, b"x")


def connections_alive() -> int:
    return sum(type(each).__name__ in ("ServerConnection", "RequestReader", "Head") for each in gc.get_objects())


def test_I9_a_connection_that_is_over_is_gone_without_the_collector() -> None:
    async def main() -> None:
        server = Server(Forgetful(), LIMITS, asyncio.get_running_loop())
        listener = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        gc.collect()
        gc.disable()
        before = connections_alive()
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(ASK)
                await asyncio.wait_for(reader.readuntil(b"x"), 30)
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(30):
            while server.connections:  # noqa: ASYNC110 - the kernel gives no event for what a peer did
                await asyncio.sleep(0.002)
        await asyncio.sleep(0)
        assert connections_alive() == before
        listener.close()

    try:
        uvloop.run(main())
    finally:
        gc.enable()
