"""The management API on a loopback port, as browsers and programs meet it: with what a worker adds to each request."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gatehouse.control.process import Server, server_config
from tests.control.doors import House, house


class _Worker:
    """Says where a request came from and to."""

    def __init__(self, app: ASGIApp, base: str) -> None:
        self._app = app
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            added = [(b"x-gatehouse-peer", b"127.0.0.1"), (b"x-gatehouse-base", self._base.encode())]
            scope = {**scope, "headers": [*scope["headers"], *added]}
        await self._app(scope, receive, send)


@contextmanager
def served(place: Path, **given: Any) -> Iterator[tuple[str, House]]:
    """A running API over the databases of `place`, with an owner; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ready, ended = threading.Event(), threading.Event()
    found: list[House] = []
    loops: list[tuple[asyncio.AbstractEventLoop, Server]] = []

    async def run() -> None:
        async with house(place, **given) as made:
            application: Any = _Worker(made.application, url)
            server = Server(server_config(application))
            found.append(made)
            loops.append((asyncio.get_running_loop(), server))
            ready.set()
            await server.serve(sockets=[listener])

    def serve() -> None:
        try:
            asyncio.run(run())
        finally:
            ended.set()
            ready.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(30) and found
    try:
        yield url, found[0]
    finally:
        loops[0][1].should_exit = True
        assert ended.wait(15)
        thread.join(5)
        listener.close()
