"""`python -m tests.crash.attack PORT PROVIDER SECONDS KIND…`: clients that mean ill, in a process of their own.

They ask the provider `large`, which this process is, at the port PROVIDER.

Rules: each kind keeps a number of connections busy in its way, and opens another when one is taken from it; none asks
for more work than a slow link could carry, so that what is measured is the gateway and not the machine. It says `ready`
once all have been at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable

STEP = 0.5
"""Seconds between two bytes of what is slow."""
FLOOD_PER_SECOND = 300
_HEAD = b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer x\r\n"
_STUFFED = b"GET /large/v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
_LARGE = 2 * 1024 * 1024

One = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"x-slow: ")
    await _drip(reader, writer)


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"content-length: 100000\r\n\r\n{")
    await _drip(reader, writer)


async def slow_reader(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes 1 KiB at a time of an answer of 2 MiB. (A stream reader stops reading by itself when nobody takes.)"""
    writer.write(_STUFFED)
    while not reader.at_eof():
        await reader.read(1024)
        await asyncio.sleep(STEP)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connects and says nothing."""
    await reader.read(1)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof():
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(STEP * random.uniform(0.5, 1.5))


KINDS: dict[str, tuple[One, int]] = {
    "heads": (slow_head, 200),
    "bodies": (slow_body, 100),
    "readers": (slow_reader, 40),
    "silent": (silent, 200),
}
"""Each with its number of connections. One more is `flood`."""


async def _again_and_again(port: int, one: One, begun: asyncio.Semaphore) -> None:
    first = True
    await asyncio.sleep(random.uniform(0, STEP))
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(sock=await _narrow(port), limit=2048)
            if first:
                first = False
                begun.release()
            try:
                await one(reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(random.uniform(0, 2 * STEP))


async def _narrow(port: int) -> socket.socket:
    """A connection with a small window, as who reads slowly has: else the kernel takes megabytes in their stead."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


async def _flood(port: int) -> None:
    """New connections at a steady rate, each held for a second or until it is refused."""

    async def one() -> None:
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(1.0)
            writer.transport.abort()

    running: set[asyncio.Task[None]] = set()
    began, made = time.monotonic(), 0
    while True:
        while made < (time.monotonic() - began) * FLOOD_PER_SECOND:
            made += 1
            task = asyncio.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.sleep(0.01)


async def _large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The provider: answers of `_LARGE` bytes."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % _LARGE)
            for _ in range(_LARGE // 65_536):
                writer.write(b"x" * 65_536)
                await writer.drain()
    writer.transport.abort()


async def main(port: int, provider: int, seconds: float, kinds: list[str]) -> None:
    await asyncio.start_server(_large, "127.0.0.1", provider)
    begun = asyncio.Semaphore(0)
    tasks = []
    for kind in kinds:
        if kind == "flood":
            tasks.append(asyncio.create_task(_flood(port)))
            continue
        one, count = KINDS[kind]
        tasks += [asyncio.create_task(_again_and_again(port, one, begun)) for _ in range(count)]
    for kind in kinds:
        for _ in range(KINDS[kind][1] if kind in KINDS else 0):
            await begun.acquire()
    await asyncio.sleep(STEP)  # for what the kernel takes in the readers' stead
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.wait(tasks, timeout=seconds)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
