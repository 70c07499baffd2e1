"""Accepts connections from the listener that all workers share, in fair shares.

Left to the event loop, whichever worker wakes first drains the queue: of 64 connections to 2 idle workers the busier
one got up to 64 with uvloop's and asyncio's own servers (Linux 6.18). So: one connection per turn of the loop, and a
worker ahead of the least loaded one leaves the queue to it for some milliseconds. If the others do not take what waits
(they hang, or are busy), it takes more and more: fairness may delay a connection, never refuse it.

No `await`, no lock: loads are read and written in memory shared by the workers (`config.loads`).
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import ssl
from collections.abc import Callable
from typing import Final

from gatehouse.config.loads import ABSENT, Loads
from gatehouse.worker.doorkeeper import Doorkeeper

SLACK: Final = 8
"""Connections a worker may be ahead of the least loaded one, plus a quarter.

With 4 and an eighth, connections opened and closed at full speed waited for each other (10 k/s on 2 workers instead of
20 k/s); of 64 connections that stay, 40 is the most one of two workers can get.
"""

LOOK_SECONDS: Final = 0.001
PATIENCE: Final = 20
"""Looks after which connections that still wait are taken; until the others take some again, at every look then."""

MOST: Final = 64
"""Connections taken at a look: at first 1, then twice as many each time."""

OUT_OF_DESCRIPTORS_PAUSE: Final = 0.1
HANDSHAKE_SECONDS: Final = 15.0

_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Hands each accepted connection to a protocol from `factory`, over TLS if `context` is given.

    `connections` counts the open ones; when one ends, `publish` must be called, or the others keep away for no reason.
    `loads` is where worker `index` publishes that count. `door` turns away who is one too many; without it, whatever
    can be accepted is.
    """

    def __init__(
        self,
        listener: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        connections: Callable[[], int],
        loads: Loads,
        index: int,
        context: ssl.SSLContext | None = None,
        door: Doorkeeper | None = None,
    ) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._factory = factory
        self._connections = connections
        self._loads = loads
        self._index = index
        self._context = context
        self._accepting = False
        self._queue = select.poll()
        self._queue.register(listener, select.POLLIN)
        self._looks = 0
        self._batch = 1
        self._pause: asyncio.TimerHandle | None = None
        self._handing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept from now on."""
        self._accepting = True
        self.publish()
        self._loop.add_reader(self._listener, self._readable)

    def stop(self) -> None:
        """Accept no more; what waits in the queue is the other workers'. Accepted connections go on."""
        self._accepting = False
        self.publish()
        self._loop.remove_reader(self._listener)
        if self._pause:
            self._pause.cancel()
            self._pause = None

    def publish(self) -> None:
        """Tell the other workers how many connections this one has. To be called when a connection has ended."""
        self._loads.set(self._index, self._load() if self._accepting else ABSENT)

    def _load(self) -> int:
        return self._connections() + len(self._handing)

    def _readable(self) -> None:
        least = self._loads.least_other(self._index)
        if least is None:
            # Nobody to share with: drain the queue.
            self._take(MOST)
        elif self._is_ahead_of(least):
            self._wait(LOOK_SECONDS)
        else:
            self._take(1)

    def _is_ahead_of(self, least: int) -> bool:
        return self._load() > least + SLACK + least // 4

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._pause = None
        least = self._loads.least_other(self._index)
        if least is None or not self._is_ahead_of(least) or not self._queue.poll(0):
            self._looks, self._batch = 0, 1
        elif self._looks < PATIENCE:
            self._looks += 1
            self._wait(LOOK_SECONDS)
        else:
            self._take(self._batch)
            self._batch = min(self._batch * 2, MOST)
        if self._pause is None:
            self._loop.add_reader(self._listener, self._readable)

    def _take(self, most: int) -> None:
        for _ in range(most):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    if self._door is not None:
                        self._door.exhausted()
                    self._wait(OUT_OF_DESCRIPTORS_PAUSE)
                    return
                # That connection ended while it waited (accept(2) names a dozen such errors).
                continue
            if self._door is not None and self._door.turns_away(connection, len(self._handing)):
                continue
            task = self._loop.create_task(self._hand_over(connection))
            self._handing.add(task)
            task.add_done_callback(self._handing.discard)
            self.publish()

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._factory,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._context else None,
            )
        except OSError:
            # The client left, or its handshake failed: the protocol has never seen the connection.
            connection.close()
