"""A call that became a WebSocket: both directions passed on, watched, ended.

Rules
- I1: bytes go on as they come, in either direction. The one thing of ours is a close frame where the gateway itself
  ends the conversation (it stops, or nobody speaks), and only between two frames.
- I9: whichever side is slow stops the other's reading, nothing else; what is held is bounded whatever a frame's size.
- I10: a side that ends its connection ends the other's at once; what was written before still arrives.
- The observer cannot break or delay the stream: it comes after the bytes went on, gives up by itself, and lets others
  have the loop after so many frames.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import ClassVar, Final
from urllib.parse import unquote_plus

import msgspec

from gatehouse.dialects.registry import Endpoint
from gatehouse.dialects.turns import Conversation
from gatehouse.http.client import ClientConnection
from gatehouse.http.websocket import GOING_AWAY, FrameReader, close_frame
from gatehouse.model.call import Ask, Route
from gatehouse.model.usage import Reading
from gatehouse.pipeline.call import Call, Ended, Phase
from gatehouse.pipeline.observe import Observer
from gatehouse.ports import Meter

ANSWER_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of a provider's message that is read: a response's last event repeats what was generated, beside the usage."""
ASK_LIMIT: Final = 1024 * 1024
"""Bytes of a caller's message that is read."""

CLOSING_SECONDS: Final = 10.0
"""Longest silence of a side that is to answer a close frame."""

_UNREMARKABLE: Final = frozenset((None, 1000, 1001))
"""Status codes of an ordinary end."""
_MODEL_PARAMETERS: Final = ("model", "deployment")


def asked(endpoint: Endpoint, route: Route, query: str) -> Ask:
    """What a handshake asks: the model stands in the path or the query, or comes later."""
    return msgspec.structs.replace(endpoint.read(b"{}", route.model or _model(query)), stream=True, input_bytes=0)


def _model(query: str) -> str | None:
    """`None` also where several are named: nobody knows which one a provider takes."""
    named = set()
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) in _MODEL_PARAMETERS and value:
            named.add(unquote_plus(value, errors="replace")[:256])
    return named.pop() if len(named) == 1 else None


class Tunnel:
    """One call's WebSocket from the 101 on."""

    def __init__(self, call: Call, connection: ClientConnection, conversation: Conversation) -> None:
        self._call = call
        self._exchange = call.exchange
        self._connection = connection
        self._asks = conversation.asks
        self._asking = Observer(conversation.asks, "") if conversation.asks is not None else None
        self._skipped = 0
        """Messages of the caller that were too large to read, as far as that was told."""
        self._down = FrameReader(ANSWER_LIMIT, masked=False)
        self._up = FrameReader(ASK_LIMIT if conversation.asks is not None else 0, masked=True)
        self._answering = call.observer = Observer(_Noted(conversation.answers, self._asking, self._down, self._up), "")
        self._closer: FrameReader | None = None
        """The direction in which the first close frame went by."""
        self._sent = hashlib.sha256()
        """Over what the caller sent."""

    async def relay(self) -> str:
        """Pass everything on until the conversation is over. Returns what was remarkable about its end, if anything.

        Raises `Ended` for any end but a close frame's. Either way both connections are done with.
        """
        exchange, connection = self._exchange, self._connection
        self._call.enter(Phase.TUNNEL)
        try:
            while True:
                if exchange.paused and not exchange.gone:
                    connection.hold()
                else:
                    for piece in connection.take():
                        await self._pass_down(piece)
                if not (connection.paused or connection.lost):
                    for piece in exchange.take():
                        await self._pass_up(piece)
                    exchange.forget()
                ended = self._over()
                if ended is not None:
                    break
                await exchange.fiber.sleep()
        finally:
            self._hash_rest()
            exchange.end()
            connection.finish()
        if ended.outcome != "ok":
            raise ended
        return ended.reason

    # -- one direction, one piece

    async def _pass_down(self, piece: bytes) -> None:
        """From the provider to the caller."""
        call = self._call
        if call.leaving:
            found: list[bytes] = []
            self._write(piece[: self._down.finish_frame(piece, found)])
            _feed(self._answering, found)
            return
        self._write(piece)
        await self._watch(self._down, piece, self._answering)
        if call.first_token_us is None and self._answering.first_token:
            call.first_token_us = call.elapsed_us()

    async def _pass_up(self, piece: bytes) -> None:
        """From the caller to the provider."""
        self._sent.update(piece)
        if self._call.leaving:
            found: list[bytes] = []
            self._connection.send(piece[: self._up.finish_frame(piece, found)])
            _feed(self._asking, found)
        else:
            self._call.enter(Phase.TUNNEL)
            self._connection.send(piece)
            await self._watch(self._up, piece, self._asking)
        while self._asks is not None and self._skipped < self._up.skipped:
            self._skipped += 1
            self._asks.skip()

    def _write(self, data: bytes) -> None:
        if data and not self._exchange.gone:
            self._call.enter(Phase.TUNNEL)
            self._exchange.write(data)
            if self._call.digest is not None:
                self._call.digest.update(data)

    async def _watch(self, frames: FrameReader, piece: bytes, observer: Observer | None) -> None:
        """Read the messages in a piece that has gone on, and let others have the loop where they are many."""
        at = 0
        while True:
            found: list[bytes] = []
            at = frames.read(piece, at, found)
            _feed(observer, found)
            if at >= len(piece):
                return
            asyncio.get_running_loop().call_soon(self._exchange.fiber.wake)
            await self._exchange.fiber.sleep()

    # -- the end

    def _over(self) -> Ended | None:
        """How the conversation ended, if it did: the first cause there is."""
        call, exchange, connection, up, down = self._call, self._exchange, self._connection, self._up, self._down
        closed = up.closed or down.closed
        if closed and self._closer is None:
            self._closer = down if down.closed else up
            call.hurry(CLOSING_SECONDS)
        if call.cause is not None:
            self._say_goodbye()
            return self._closed() if closed else call.cause
        if up.closed and down.closed:
            return self._closed()
        if connection.lost and not connection.pieces:
            return self._closed() if closed else Ended("cut", f"upstream broke off: {connection.failure}")
        if exchange.gone:
            if closed and not connection.paused:
                return self._closed()
            connection.abort()
            return Ended("client_gone", "client closed the connection")
        if exchange.fault is not None:
            self._say_goodbye()
            return Ended("interrupted", exchange.fault.detail)
        if call.leaving and (up.whole or up.fault) and (down.whole or down.fault):
            self._say_goodbye()
            return Ended("interrupted", call.leaving)
        return None

    def _closed(self) -> Ended:
        """By a close frame; the other side only repeats its status."""
        closer = self._closer
        if closer is None or closer.close_code in _UNREMARKABLE:
            return Ended("ok", "")
        who = "the provider" if closer is self._down else "the caller"
        return Ended("ok", f"closed by {who} with status {closer.close_code}")

    def _say_goodbye(self) -> None:
        """A close frame to each side that is between two frames and has had none."""
        if self._down.whole and not self._down.closed:
            self._write(close_frame(GOING_AWAY, masked=False))
        if self._up.whole and not self._up.closed:
            self._connection.send(close_frame(GOING_AWAY, masked=True))

    def _hash_rest(self) -> None:
        """What the caller sent and nobody took belongs to what it sent."""
        for piece in self._exchange.take():
            self._sent.update(piece)
        self._call.request_sha256 = self._sent.hexdigest()


def _feed(observer: Observer | None, messages: list[bytes]) -> None:
    if observer is not None:
        for message in messages:
            observer.feed(message)


class _Noted:
    """A meter of messages, whose reading also says what could not be read of the frames, or of what was asked."""

    ended: ClassVar = False

    def __init__(self, meter: Meter, asking: Observer | None, down: FrameReader, up: FrameReader) -> None:
        self._meter = meter
        self._asking = asking
        self._down = down
        self._up = up
        self.first_token = False

    def feed(self, data: bytes) -> None:
        self._meter.feed(data)
        self.first_token = self._meter.first_token

    def finish(self, *, complete: bool) -> Reading:
        reading = self._meter.finish(complete=complete and self._down.fault is None)
        notes = [reading.note] if reading.note else []
        failed = self._asking.finish(complete=complete).note if self._asking is not None else None
        if failed is not None:
            notes.append(failed)
        for frames, who in ((self._down, "provider"), (self._up, "caller")):
            if frames.fault is not None:
                notes.append(f"frames of the {who} not read to the end: {frames.fault}")
            if frames.skipped:
                notes.append(f"messages of the {who} too large to read: {frames.skipped}")
        # Nobody knows what was asked or answered there; of skipped asks their meter was told.
        unknown = failed or self._up.fault or self._down.fault or self._down.skipped
        source = "estimated" if unknown and reading.source is not None else reading.source
        return msgspec.structs.replace(reading, source=source, note="; ".join(notes) or None)
