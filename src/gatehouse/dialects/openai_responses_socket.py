"""OpenAI's responses over WebSocket: many responses on one connection, each with the events that a stream has.

Rules: sans-I/O. Every event is a message; what one means is known to `openai_responses`. Responses with different
`stream_id` run side by side, those with the same (or none) one after the other. A `response.create` is answered by a
response or an error; what asks for neither may be answered by an error, too.
Source: `openai.types.responses.responses_server_event`, `…responses_client_event` (openai-py 3.52).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gatehouse.dialects.openai_responses import ResponseTally
from gatehouse.dialects.turns import Asks, Conversation, Turns
from gatehouse.dialects.values import UNREADABLE, Loose, text
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading

MAX_LANES: Final = 64
"""`stream_id`s that may be open at a time."""


class _Lane(msgspec.Struct, gc=False):
    stream_id: Any = None


class _Asked(msgspec.Struct, gc=False):
    type: Any = None


_lanes: Final = Loose(_Lane)
_asked: Final = Loose(_Asked)


class _Asks(Asks):
    """Meters the caller's events."""

    def __init__(self) -> None:
        super().__init__()
        self.only = True
        """Nothing else was sent: then errors are for what was asked."""

    def feed(self, data: bytes) -> None:
        try:
            creates = _asked.decode(data).type == "response.create"
        except UNREADABLE:
            creates = False
        self.waiting += creates
        self.only = self.only and creates


class _Answers:
    """Meters the provider's events."""

    ended = False
    first_token = False

    def __init__(self, ask: Ask, asks: _Asks) -> None:
        self._ask = ask
        self._asks = asks
        self._turns = Turns()
        self._running: dict[str, ResponseTally] = {}
        self._unread = 0

    def feed(self, data: bytes) -> None:
        try:
            lane = text(_lanes.decode(data).stream_id) or ""
        except UNREADABLE:
            self._unread += 1
            return
        tally = self._running.get(lane)
        if tally is None:
            if len(self._running) >= MAX_LANES:
                self._turns.doubt(f"more than {MAX_LANES} streams at a time: some not counted")
                return
            tally = self._running[lane] = ResponseTally()
        begun = tally.seen.begun
        tally.event(b"", data)
        if tally.seen.begun and not begun:
            self._asks.begun()
        if tally.seen.generated:
            self.first_token = True
        if tally.seen.ended:
            if not tally.seen.begun and self._asks.only:
                self._asks.begun()
            del self._running[lane]
            self._turns.add(tally.reading(self._ask, complete=True, note=_note(tally)))

    def finish(self, *, complete: bool) -> Reading:
        turns = self._turns
        for tally in self._running.values():
            if tally.seen.begun or tally.seen.generated:
                turns.add(tally.reading(self._ask, complete=False, note=_note(tally)), ended=False)
        turns.doubt_waiting(self._asks)
        return turns.reading(None, f"unreadable events: {self._unread}" if self._unread else None)


def _note(tally: ResponseTally) -> str | None:
    return f"provider's error in the answer: {tally.seen.error}" if tally.seen.error else None


def converse(ask: Ask) -> Conversation:
    """Watches a connection for responses."""
    asks = _Asks()
    return Conversation(_Answers(ask, asks), asks)
