"""`ports.Background` on the server that several machines share: whichever of them reads a response finds its call.

Rules: as `gateway.background`, which has the files of one machine. It has a connection of its own, made when it is
first needed. While the server is away nothing is kept, and what was kept waits there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import hiredis
import msgspec

from gatehouse.limits.shared.connection import Connection, Unanswered
from gatehouse.limits.shared.scripts import BACKGROUND, key, packed
from gatehouse.model.background import KEPT_SECONDS, MOST, Begun, Response

CONNECT_SECONDS: Final = 1.0
"""The longest that the first ones wait for a connection."""

_log = logging.getLogger(__name__)


class SharedBackground:
    """What one worker says there, and asks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._until: float | None = None
        """Until when whoever asks waits for the connection; `None`: it is not wanted yet."""
        self._trouble = ""

    async def keep(self, response: Response, begun: Begun) -> None:
        await self._run(response, "keep", msgspec.json.encode(begun).decode(), MOST, KEPT_SECONDS)

    async def take(self, response: Response) -> Begun | None:
        found = await self._run(response, "take")
        if found is None:
            return None
        try:
            begun = msgspec.json.decode(found, type=Begun)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say(f"who began a response in the background cannot be read: {error}")
            return None
        # Maybe of another machine, whose monotonic clock says nothing here.
        return msgspec.structs.replace(begun, steady=time.monotonic_ns() // 1000)

    async def close(self) -> None:
        """After the last call."""
        if self._until is not None:
            await self._connection.close()

    async def _run(self, response: Response, verb: str, *more: Any) -> bytes | None:
        project, name = response.place
        place = b"%b:b:%b" % (key(response.tenant), project.encode())
        try:
            await self._connected()
            said: bytes | None = await BACKGROUND.run(self._connection, place, packed((verb, name, *more)))
        except (hiredis.ReplyError, Unanswered) as error:
            self._say(f"what a response in the background used cannot be counted: {error}")
            return None
        return said

    async def _connected(self) -> None:
        loop = asyncio.get_running_loop()
        if self._until is None:
            self._until = loop.time() + CONNECT_SECONDS
            self._connection.start()
        while self._connection.run is None and loop.time() < self._until:  # noqa: ASYNC110 - once in a worker's life
            await asyncio.sleep(0.01)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble
