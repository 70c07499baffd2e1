"""Gemini's Live API: metering a conversation over WebSocket.

Rules: sans-I/O. Messages are JSON, in text or binary frames. `usageMetadata` counts one generation, its prompt being
the whole conversation so far: within a generation a later one replaces an earlier, those of different ones add up. A
generation ends with `turnComplete`, `interrupted` or a tool call; its usage comes with that or just behind. Only the
caller says which model it talks to, in its first message. What was generated without usage is estimated from its text.
A caller asks for a generation by a complete turn, text, the end of its activity, or what a tool said; by audio alone
nobody can tell.
Sources: `google.genai.types` (`LiveServerMessage`, `LiveServerContent`, `UsageMetadata`, `LiveClientMessage`),
`google.genai.live`; per generation and not per session: pydantic/pydantic-ai pull 7269.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gatehouse.dialects.answer import MAX_FINISH, MAX_FINISHES
from gatehouse.dialects.gemini import Reported, TokenCount, UsageMetadata
from gatehouse.dialects.turns import Asks, Conversation, Turns
from gatehouse.dialects.values import UNREADABLE, Loose, size, text, tokens
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, Usage


class _Usage(UsageMetadata):
    """By other names for what was generated; Vertex has both."""

    response_token_count: Any = None
    response_tokens_details: list[TokenCount] | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: Any = None
    inline_data: Any = None


class _Turn(msgspec.Struct):
    parts: list[_Part] | None = None


class _Transcription(msgspec.Struct, gc=False):
    text: Any = None


class _Content(msgspec.Struct, rename="camel"):
    model_turn: _Turn | None = None
    output_transcription: _Transcription | None = None
    turn_complete: Any = None
    turn_complete_reason: Any = None
    interrupted: Any = None


class _Message(msgspec.Struct, rename="camel"):
    server_content: _Content | None = None
    tool_call: Any = None
    usage_metadata: _Usage | None = None


class _Setup(msgspec.Struct):
    model: Any = None


class _Asked(msgspec.Struct):
    setup: _Setup | None = None


_messages: Final = Loose(_Message)
_asked: Final = Loose(_Asked)
_decode_said: Final = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw] | None]).decode
_ENDS: Final = {
    "clientcontent": ("turncomplete",),
    "realtimeinput": ("text", "activityend"),
    "toolresponse": ("functionresponses",),
}
"""By message, members one of which asks for a generation; all `_folded`."""
_NOTHING: Final = (b"null", b"false")


class _Asks(Asks):
    """Meters the caller's messages: in the first, which model it talks to."""

    def __init__(self) -> None:
        super().__init__()
        self.model: str | None = None
        self._first = True
        self._more = False
        """The generation that runs was asked for more than once: if it is interrupted, another follows."""

    def take(self, data: bytes) -> None:
        first, self._first = self._first, False
        if first:
            self._set_up(data)
        for name, members in _decode_said(data).items():
            ends = _ENDS.get(_folded(name), ())
            for member, value in (members or {}).items():
                if _folded(member) in ends and bytes(value) not in _NOTHING:
                    self.waiting += 1

    def skip(self) -> None:
        """It may be media alone; a generation that follows answers either."""
        self.waiting += 1

    def begun(self) -> None:
        """All that was asked for before is answered by it."""
        self._more, self.waiting = self.waiting > 1, 0

    def interrupted(self) -> None:
        """The generation that runs is."""
        self.waiting += self._more
        self._more = False

    def _set_up(self, data: bytes) -> None:
        asked = _asked.decode(data)
        if asked.setup is not None:
            self.model = (text(asked.setup.model) or "").rpartition("models/")[2] or None


def _folded(name: str) -> str:
    """Google's own SDK for Python sends snake_case, others camelCase."""
    return name.replace("_", "").lower()


class _Answers:
    """Meters the provider's messages."""

    ended = False
    first_token = False

    def __init__(self, ask: Ask, asks: _Asks) -> None:
        self._asked_model = ask.model
        self._asks = asks
        self._turns = Turns()
        self._reported: Reported | None = None
        """Of the generation that runs, or of the last one."""
        self._over = False
        """That generation has ended."""
        self._size = 0
        """Bytes of text it brought."""
        self._spoke = False
        """It brought something."""
        self._completed = 0
        self._unread = 0
        self._finishes: dict[str, None] = {}

    def feed(self, data: bytes) -> None:
        try:
            message = _messages.decode(data)
        except UNREADABLE:
            self._unread += 1
            return
        content = message.server_content or _Content()
        generated = content.model_turn is not None or content.output_transcription is not None
        silent = not self._spoke and self._reported is None
        if self._over and (generated or (message.usage_metadata is not None and self._reported is not None)):
            self._settle()
        begins = not self._spoke and (generated or message.tool_call is not None)
        if begins or (silent and content.turn_complete is True):
            self._asks.begun()
        if content.interrupted is True:
            self._asks.interrupted()
        if generated:
            self._generate(content)
        if message.usage_metadata is not None:
            self._report(message.usage_metadata)
        if message.tool_call is not None:
            self.first_token = self._over = self._spoke = True
        if content.turn_complete is True or content.interrupted is True:
            self._over = True
            self._completed += content.turn_complete is True
            reason = text(content.turn_complete_reason, MAX_FINISH)
            if reason is not None and len(self._finishes) < MAX_FINISHES:
                self._finishes[reason] = None

    def finish(self, *, complete: bool) -> Reading:
        self._settle()
        self._turns.end(self._asks, self._unread)
        reading = self._turns.reading(self._asks.model or self._asked_model)
        return msgspec.structs.replace(reading, turns=self._completed, finish_reasons=tuple(self._finishes))

    def _generate(self, content: _Content) -> None:
        self.first_token = self._spoke = True
        if content.output_transcription is not None:
            self._size += size(content.output_transcription.text)
        if content.model_turn is not None:
            for part in content.model_turn.parts or ():
                self._size += size(part.text) if part.text else 1

    def _report(self, usage: _Usage) -> None:
        if self._reported is None:
            self._reported = Reported()
        if usage.response_token_count is not None:
            usage.candidates_token_count = usage.response_token_count
        usage.candidates_tokens_details = usage.response_tokens_details or usage.candidates_tokens_details
        self._reported.add(usage)

    def _settle(self) -> None:
        """The generation is over: what it used is added up."""
        parts = self._reported.parts() if self._reported is not None else None
        if parts is not None:
            self._turns.add(Reading(None, None, (), parts[0], "provider", parts[1]), ended=self._over)
        elif self._spoke:
            note = "answers without usage, estimated without what they were asked"
            estimate = Usage(output=max(1, tokens(self._size)))
            self._turns.add(Reading(usage=estimate, source="estimated", note=note))
        self._reported = None
        self._over = self._spoke = False
        self._size = 0


def converse(ask: Ask) -> Conversation:
    """Watches a conversation."""
    asks = _Asks()
    return Conversation(_Answers(ask, asks), asks)
