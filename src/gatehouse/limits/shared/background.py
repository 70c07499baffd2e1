"""`ports.Background` on the server that several machines share: whichever of them reads a response finds its call.

Rules: as `gateway.background`, which has the files of one machine. It has a connection of its own, made when it is
first needed. While the server is away nothing is kept, and what was kept waits there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import hiredis
import msgspec

from gatehouse.limits.shared.connection import Connection, Unanswered
from gatehouse.limits.shared.scripts import BACKGROUND, key, packed
from gatehouse.model.background import KEPT_SECONDS, MOST, Begun, Response

CONNECT_SECONDS: Final = 1.0
"""The longest that the first one waits for a connection."""

_log = logging.getLogger(__name__)


class SharedBackground:
    """What one worker says there, and asks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._started = False
        self._trouble = ""

    async def keep(self, response: Response, begun: Begun) -> None:
        await self._run(response, "keep", msgspec.json.encode(begun).decode(), MOST, KEPT_SECONDS)

    async def take(self, response: Response) -> Begun | None:
        found = await self._run(response, "take")
        if found is None:
            return None
        try:
            return msgspec.json.decode(found, type=Begun)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say(f"who began a response in the background cannot be read: {error}")
            return None

    async def close(self) -> None:
        """After the last call."""
        if self._started:
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
        if self._started:
            return
        self._started = True
        self._connection.start()
        deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
        while self._connection.run is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - once
            await asyncio.sleep(0.01)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble
