"""A worker without a gateway, on uvloop and the inherited listener.

It answers `others?` with the least load of the other workers, and any other bytes with its pid.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import cast

import uvloop

from gatehouse.config import leash
from gatehouse.config.loads import Loads
from gatehouse.worker.acceptor import Acceptor
from tests.supervisor.behaviour import begin, say


class Connection(asyncio.Protocol):
    def __init__(self, every: set[Connection], ended: Callable[[], None], others: Callable[[], int | None]) -> None:
        self._every = every
        self._ended = ended
        self._others = others

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._every.add(self)

    def data_received(self, data: bytes) -> None:
        self._transport.write(f"{self._others() if data == b'others?' else os.getpid()}\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._every.discard(self)
        self._ended()


async def serve(process: leash.WorkerProcess, name: str, stop: float | str) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    connections: set[Connection] = set()
    loads = Loads(process.load_fd, process.slots)
    with socket.socket(fileno=process.listen_fd) as listener:
        acceptor = Acceptor(
            listener,
            lambda: Connection(connections, acceptor.publish, lambda: loads.least_other(process.index)),
            lambda: len(connections),
            loads,
            process.index,
        )
        acceptor.start()
        leash.say_ready(process)
        await stopping.wait()
        acceptor.stop()
        say(event="stopping", name=name)
        await asyncio.sleep(60 if stop == "never" else float(stop))
        say(event="stopped", name=name)


def main() -> None:
    process = leash.WorkerProcess.parse(sys.argv[1:])
    name = f"worker {process.index}"
    behaviour = begin(process, name)
    uvloop.run(serve(process, name, behaviour.get("stop", 0)))


main()
