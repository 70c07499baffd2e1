"""Serves the simulated provider inside the worker, as a real HTTP upstream over a socket pair.

So a call to it takes every step that a call to a provider takes: the pool, the parser, back-pressure, cancellation.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gatehouse.config.settings import Simulated
from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import Exchange
from gatehouse.http.headers import lines
from gatehouse.http.server import Server, ServerLimits
from gatehouse.simulated.answer import answer

_BODY_LIMIT: Final = 64 * 1024 * 1024
_FOREVER: Final = 86_400.0


class SimulatedServer:
    """`http.server.Application` of the simulated provider, with the server around it."""

    def __init__(self, settings: Simulated) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        limits = ServerLimits(
            header_bytes=1024 * 1024,
            header_count=1024,
            url_bytes=64 * 1024,
            upload_bytes=_BODY_LIMIT,
            body_memory=_BODY_LIMIT * 4,
            connections=1_000_000,
            pipelined=1,
            header=_FOREVER,
            body_idle=_FOREVER,
            keep_alive=_FOREVER,
            write_stall=_FOREVER,
        )
        self._server = Server(self, limits, self._loop)

    def protocol(self) -> asyncio.Protocol:
        """The serving side of one connection."""
        return self._server.protocol()

    def serve(self, exchange: Exchange) -> None:
        exchange.fiber.start(self._answer(exchange))

    def reject(self, exchange: Exchange | None, error: GatehouseError) -> tuple[int, bytes, bytes]:
        return error.kind.status, b"content-type: text/plain\r\n", error.detail.encode()

    async def _answer(self, exchange: Exchange) -> None:
        pieces: list[bytes] = []
        exchange.accept_body(_BODY_LIMIT)
        while True:
            pieces += exchange.take()
            if exchange.complete:
                break
            if exchange.gone or exchange.fault is not None:
                exchange.abort()
                return
            await exchange.fiber.sleep()
        head = exchange.head
        made = answer(head.method, head.path, b"".join(pieces), self._settings, created=int(time.time()))
        exchange.start(made.status, lines(made.headers), made.length)
        for wait, piece in made.pieces:
            if wait:
                exchange.flush()
                await self._pause(exchange, wait)
            while exchange.paused and not exchange.gone:
                await exchange.fiber.sleep()
            if exchange.gone:
                exchange.abort()
                return
            exchange.write(piece)
        exchange.end()

    async def _pause(self, exchange: Exchange, seconds: float) -> None:
        """Sleep, but notice a caller that leaves."""
        over = False

        def ring() -> None:
            nonlocal over
            over = True
            exchange.fiber.wake()

        timer = self._loop.call_later(seconds, ring)
        while not (over or exchange.gone):
            await exchange.fiber.sleep()
        timer.cancel()
