"""OpenAI's responses over WebSocket: many responses on one connection, each with the events that a stream has.

Rules: sans-I/O. Every event is a message; what one means is known to `openai_responses`. Responses with different
`stream_id` run side by side, those with the same (or none) one after the other. What asks for a response is answered by
one, or by an error, which never ends a response that has begun; other messages may be answered by an error, too.
Source: `openai.types.responses.responses_server_event`, `…responses_client_event`, `…response_steer_event` (openai-py
3.52).
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


class _Head(msgspec.Struct, gc=False):
    type: Any = None
    stream_id: Any = None


class _Asked(msgspec.Struct, gc=False):
    type: Any = None


_heads: Final = Loose(_Head)
_asked: Final = msgspec.json.Decoder(_Asked).decode
_ASKING: Final = ("response.create", "response.steer")
_STEER: Final = "response.steer."
_NOT_STEERED: Final = "response.steer.failed"


class _Asks(Asks):
    """Meters the caller's events."""

    def __init__(self) -> None:
        super().__init__()
        self.only = True
        """Nothing else was sent: then errors are for what was asked."""

    def take(self, data: bytes) -> None:
        asks = _asked(data).type in _ASKING
        self.waiting += asks
        self.only = self.only and asks

    def skip(self) -> None:
        """Nothing else is large."""
        self.waiting += 1


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
            head = _heads.decode(data)
        except UNREADABLE:
            self._unread += 1
            return
        kind = head.type if type(head.type) is str else ""
        if kind == "error":
            self._error(text(head.stream_id) or "", data)
        elif kind.startswith(_STEER):
            if kind == _NOT_STEERED:
                self._asks.begun()
        else:
            self._event(kind, text(head.stream_id) or "", data)

    def _event(self, kind: str, lane: str, data: bytes) -> None:
        if kind == "response.created":
            self._asks.begun()
        tally = self._running.get(lane)
        if tally is None:
            if len(self._running) >= MAX_LANES:
                self._turns.doubt(f"more than {MAX_LANES} streams at a time: some not counted")
                return
            tally = self._running[lane] = ResponseTally()
        tally.event(b"", data)
        if tally.seen.generated:
            self.first_token = True
        if tally.seen.ended:
            del self._running[lane]
            self._turns.add(tally.reading(self._ask, complete=True, note=_note(tally)))

    def _error(self, lane: str, data: bytes) -> None:
        tally = ResponseTally()
        tally.event(b"", data)
        asks = self._asks
        if asks.waiting and asks.only and lane not in self._running:
            asks.begun()
            self._turns.add(tally.reading(self._ask, complete=True, note=_note(tally)))
        else:
            self._turns.note(_note(tally))

    def finish(self, *, complete: bool) -> Reading:
        turns = self._turns
        for tally in self._running.values():
            if tally.seen.begun or tally.seen.generated:
                turns.add(tally.reading(self._ask, complete=False, note=_note(tally)), ended=False)
        turns.end(self._asks, self._unread)
        return turns.reading(None)


def _note(tally: ResponseTally) -> str | None:
    return f"provider's error in the answer: {tally.seen.error}" if tally.seen.error else None


def converse(ask: Ask) -> Conversation:
    """Watches a connection for responses."""
    asks = _Asks()
    return Conversation(_Answers(ask, asks), asks)
