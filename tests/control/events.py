"""Server-Sent Events as a browser reads them."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import httpx2


class Event(NamedTuple):
    """As a browser's EventSource tells it."""

    id: str
    name: str
    data: Any


class Events:
    """The events of an answer."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.last_id = ""
        self.comments = 0

    async def event(self) -> Event:
        """The next one."""
        name, data = "message", ""
        async with asyncio.timeout(10):
            async for line in self._lines:
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "id":
                    self.last_id = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data += value
                elif not line and data:
                    return Event(self.last_id, name, json.loads(data))
                elif line.startswith(":"):
                    self.comments += 1
        raise AssertionError("the stream ended")

    async def events(self, count: int) -> list[Event]:
        return [await self.event() for _ in range(count)]
