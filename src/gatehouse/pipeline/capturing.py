"""Bodies of calls that are kept with the record, where the configuration asks for it: cut, compressed, in parts.

Rules: in a thread, since a body is the one thing on a record that may be large. Nobody waits for it but a shutdown.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from typing import Final, Literal

from gatehouse.model.record import Capture, Decision
from gatehouse.pipeline.call import Call
from gatehouse.pipeline.facts import text
from gatehouse.ports import Journal

_PART_BYTES: Final = 96 * 1024
"""Compressed bytes per line, so that a line stays well within one write of the journal."""


class Capturing:
    """Puts bodies on the record."""

    def __init__(self, journal: Journal, limit: int) -> None:
        """`limit`: bytes of a body that are kept."""
        self._journal = journal
        self._limit = limit
        self._running: set[asyncio.Future[list[Capture]]] = set()

    def capture(self, call: Call, decided: Decision) -> None:
        """Both sides of a call that is over."""
        loop = asyncio.get_running_loop()
        response = b"".join(call.kept_response or ())
        request = call.kept_request or b""
        exchange = call.exchange
        request_type = text(exchange.head.fields.get(b"content-type"))
        request_encoding = text(exchange.head.fields.get(b"content-encoding"))
        limit = self._limit

        def work() -> list[Capture]:
            sides = (
                Body("request", request, exchange.received, request_type, request_encoding),
                Body("response", response, exchange.sent, call.answer_type or None, call.answer_encoding or None),
            )
            return [part for side in sides for part in _parts(decided, side, limit)]

        future = loop.run_in_executor(None, work)
        self._running.add(future)
        future.add_done_callback(lambda done: self._captured(call.principal.tenant, done))

    def _captured(self, tenant: str, done: asyncio.Future[list[Capture]]) -> None:
        self._running.discard(done)
        self._journal.capture(tenant, done.result())

    async def finish(self) -> None:
        """Wait for what is still being compressed."""
        while self._running:
            await asyncio.wait(set(self._running))


class Body:
    """One captured side of a call."""

    __slots__ = ("data", "encoding", "media_type", "side", "size")

    def __init__(
        self, side: Literal["request", "response"], data: bytes, size: int, media_type: str | None, encoding: str | None
    ) -> None:
        self.side: Literal["request", "response"] = side
        self.data = data
        self.size = size
        self.media_type = media_type
        self.encoding = encoding


def _parts(decided: Decision, body: Body, limit: int) -> list[Capture]:
    """A body, cut at `limit`, compressed, in pieces that fit a line."""
    if not body.size:
        return []
    packed = zlib.compress(body.data[:limit], 6)
    pieces = [packed[start : start + _PART_BYTES] for start in range(0, len(packed), _PART_BYTES)]
    return [
        Capture(
            call=decided.call,
            project=decided.project,
            side=body.side,
            part=number,
            last=number == len(pieces) - 1,
            data=base64.b64encode(piece).decode(),
            content_type=body.media_type,
            content_encoding=body.encoding,
            size=body.size,
            truncated=body.size > limit,
        )
        for number, piece in enumerate(pieces)
    ]
