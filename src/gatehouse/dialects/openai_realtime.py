"""OpenAI's realtime API, also as Azure and compatible providers speak it: metering a conversation over WebSocket.

Rules: sans-I/O. Each response has its own `response.done`, with usage for the whole of the conversation so far: they
add up. Cached audio is counted as cached, cached images as cached images. What no `response.done` counted is estimated
from its text; audio cannot be. Nor is it known what one cost that was asked for and had not begun at the end; whether
the provider was about to begin one by itself, as it does where it listens for the ends of turns, nobody can tell, nor
which of two that come together was asked for.
Transcripts of what the caller said come from another model, with usage of their own: noted, not counted; except in
sessions that only transcribe. Translation reports nothing: unknown. Audio itself is never looked into.
Sources: `openai.types.realtime` (`realtime_server_event` and its events, `realtime_response`, `…_usage`, `…_status`,
`realtime_session_create_request`, `realtime_translation_server_event`); the beta's names of the same events.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gatehouse.dialects.answer import MAX_FINISH
from gatehouse.dialects.openai_shapes import Details, UsageObject
from gatehouse.dialects.openai_tokens import Counted, take_apart, tidied
from gatehouse.dialects.turns import Asks, Conversation, Turns
from gatehouse.dialects.values import UNREADABLE, Loose, count, real, text, tokens
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, Usage, UsageCheck

MAX_OPEN: Final = 64
"""Responses that may be generated at a time; there is one, and what goes on beside the conversation."""

_NOTHING: Final = msgspec.Raw(b"null")
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
_NOT_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.failed"
_COMMITTED: Final = "input_audio_buffer.committed"
_COMMIT: Final = "input_audio_buffer.commit"
_CREATE: Final = "response.create"
_BUSY: Final = "conversation_already_has_active_response"
"""Error code: such a `response.create` makes no response."""
_EMPTY: Final = "input_audio_buffer_commit_empty"
"""Error code: such a `commit` takes nothing."""
_QUOTES: Final = 2


class _CachedSplit(msgspec.Struct, gc=False):
    audio_tokens: Any = None
    image_tokens: Any = None


class _Split(msgspec.Struct):
    """Tokens of one side by what they stand for."""

    cached_tokens: Any = None
    audio_tokens: Any = None
    image_tokens: Any = None
    cached_tokens_details: _CachedSplit | None = None


class _Usage(msgspec.Struct):
    """Of a response, or of a transcript."""

    input_tokens: Any = None
    output_tokens: Any = None
    total_tokens: Any = None
    seconds: Any = None
    input_token_details: _Split | None = None
    output_token_details: _Split | None = None


class _StatusDetails(msgspec.Struct, gc=False):
    reason: Any = None


class _Response(msgspec.Struct):
    id: Any = None
    status: Any = None
    status_details: _StatusDetails | None = None
    usage: _Usage | None = None


class _Transcription(msgspec.Struct, gc=False):
    model: Any = None


class _AudioInput(msgspec.Struct):
    transcription: _Transcription | None = None


class _Audio(msgspec.Struct):
    input: _AudioInput | None = None


class _Session(msgspec.Struct):
    type: Any = None
    model: Any = None
    audio: _Audio | None = None


class _Error(msgspec.Struct, gc=False):
    code: Any = None


class _Asked(msgspec.Struct, gc=False):
    type: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    error: _Error | None = None
    session: _Session | None = None
    response: _Response | None = None
    response_id: Any = None
    delta: msgspec.Raw = _NOTHING
    usage: _Usage | None = None


_events: Final = Loose(_Event)
_asked: Final = msgspec.json.Decoder(_Asked).decode


class _Asks(Asks):
    """Meters the caller's events."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        """What was said and is to be taken as a whole: in sessions that only transcribe that is what is asked."""

    def take(self, data: bytes) -> None:
        kind = _asked(data).type
        self.waiting += kind == _CREATE
        self.commits += kind == _COMMIT

    def refused(self, code: object) -> None:
        """An error of the provider's. Of others nobody knows whether they are for what was asked."""
        if code == _BUSY:
            self.begun()
        elif code == _EMPTY:
            self.committed()

    def committed(self) -> None:
        """One was taken, or refused."""
        self.commits = max(0, self.commits - 1)


class _Answers:
    """Meters the provider's events."""

    ended = False
    first_token = False

    def __init__(self, asks: _Asks) -> None:
        self._asks = asks
        self._turns = Turns()
        self._model: str | None = None
        self._transcribes = False
        """The session only transcribes."""
        self._open: dict[str, int] = {}
        """Bytes of text generated so far, by response."""
        self._unread = 0
        self._heard = 0
        """What was committed in a session that only transcribes, and is not transcribed yet."""
        self._beside = [0, 0, 0.0]
        """Input and output tokens, and seconds, of transcripts."""
        self._uncounted = False
        """Something was generated outside of any response."""

    def feed(self, data: bytes) -> None:
        try:
            event = _events.decode(data)
        except UNREADABLE:
            self._unread += 1
            return
        kind = event.type if type(event.type) is str else ""
        if kind.endswith(".delta"):
            self._delta(kind, event)
        elif kind == "response.created" and event.response is not None:
            self._asks.begun()
            if len(self._open) < MAX_OPEN:
                self._open.setdefault(_id(event.response.id), 0)
            else:
                self._turns.doubt(f"more than {MAX_OPEN} responses at a time")
        elif kind == "error" and event.error is not None:
            self._asks.refused(event.error.code)
        elif kind == _COMMITTED:
            self._asks.committed()
            self._heard += self._transcribes
        elif kind == "response.done" and event.response is not None:
            self._done(event.response)
        elif kind in (_TRANSCRIBED, _NOT_TRANSCRIBED):
            self._heard = max(0, self._heard - 1)
            if kind == _TRANSCRIBED:
                self._transcribed(event.usage or _Usage())
        elif event.session is not None:
            self._session(event.session)

    def finish(self, *, complete: bool) -> Reading:
        turns = self._turns
        for size in self._open.values():
            turns.add(_estimated(size), ended=False)
        if self._heard or (self._transcribes and self._asks.commits):
            turns.doubt("something that was said had not been transcribed at the end")
        turns.end(self._asks, self._unread, uncounted=self._uncounted)
        turns.note(self._note_beside())
        return turns.reading(self._model)

    def _session(self, session: _Session) -> None:
        self._transcribes = session.type == "transcription"
        if self._transcribes and session.audio is not None and session.audio.input is not None:
            transcription = session.audio.input.transcription
            self._model = (text(transcription.model) if transcription is not None else None) or self._model
        else:
            self._model = text(session.model) or self._model

    def _delta(self, kind: str, event: _Event) -> None:
        if kind.startswith("response."):
            self.first_token = True
            name = _id(event.response_id)
            if name in self._open:
                # Of audio only its transcript says how much was said.
                spoken = 1 if kind.endswith("audio.delta") else max(0, len(bytes(event.delta)) - _QUOTES)
                self._open[name] += spoken
        elif kind.startswith("session."):
            self.first_token = self._uncounted = True

    def _done(self, response: _Response) -> None:
        size = self._open.pop(_id(response.id), 0)
        details = response.status_details
        reason = text(details.reason if details is not None else None, MAX_FINISH) or text(response.status, MAX_FINISH)
        usage = response.usage
        counted = _take_apart(usage) if usage is not None else None
        if counted is None and response.status != "failed":
            self._turns.doubt("answers without usage")
        reading = (
            _estimated(size) if counted is None else Reading(None, None, (), counted.usage, "provider", counted.check)
        )
        self._turns.add(
            msgspec.structs.replace(
                reading, response_id=text(response.id), finish_reasons=(reason,) if reason else (), model=self._model
            )
        )

    def _transcribed(self, usage: _Usage) -> None:
        entered, made = count(usage.input_tokens), count(usage.output_tokens)
        if not self._transcribes:
            self._beside[0] += entered or 0
            self._beside[1] += made or 0
            self._beside[2] += real(usage.seconds) or 0.0
            return
        self.first_token = True
        if entered is None:
            self._beside[2] += real(usage.seconds) or 0.0
            self._turns.add(Reading(model=self._model, uncounted=True))
            return
        split = usage.input_token_details or _Split()
        heard = min(entered, entered if split.audio_tokens is None else count(split.audio_tokens) or 0)
        counted = Usage(input=entered - heard, audio_input=heard, output=made or 0)
        total = count(usage.total_tokens)
        check: UsageCheck = "unchecked" if total is None else "ok" if total == counted.total else "mismatch"
        self._turns.add(Reading(self._model, None, (), counted, "provider", check))

    def _note_beside(self) -> str | None:
        entered, made, seconds = self._beside
        told = [f"{entered} input and {made} output tokens"] if entered or made else []
        if seconds:
            told.append(f"{seconds:g} s of audio")
        if not told:
            return None
        return (
            f"not counted: transcripts by another model, {' and '.join(told)}"
            if not self._transcribes
            else (f"charged by the second: {' and '.join(told)}")
        )


def _id(value: object) -> str:
    return text(value) or ""


def _estimated(size: int) -> Reading:
    """Of a response without usage."""
    if not size:
        return Reading()
    note = "answers without usage, estimated without what they were asked"
    return Reading(usage=Usage(output=tokens(size)), source="estimated", note=note)


def _take_apart(usage: _Usage) -> Counted | None:
    """Disjoint parts, cached audio and images included."""
    reported = _as_chat(usage)
    counted = take_apart(reported) if reported is not None else None
    cached = usage.input_token_details.cached_tokens_details if usage.input_token_details is not None else None
    if counted is None or cached is None:
        return counted
    parts = counted.usage
    heard = min(parts.cache_read, count(cached.audio_tokens) or 0)
    seen = min(parts.cache_read - heard, count(cached.image_tokens) or 0)
    written = parts.cache_read - heard - seen
    parts = msgspec.structs.replace(parts, cache_read=written, image_cache_read=seen, audio_cache_read=heard)
    return Counted(parts, counted.check, counted.whole)


def _as_chat(usage: _Usage) -> UsageObject[int] | None:
    """A usage object by the names of chat completions, which say the same."""
    into, out = usage.input_token_details or _Split(), usage.output_token_details or _Split()
    cached = into.cached_tokens_details
    heard, seen = count(into.audio_tokens) or 0, count(into.image_tokens) or 0
    if cached is not None:
        heard = max(0, heard - (count(cached.audio_tokens) or 0))
        seen = max(0, seen - (count(cached.image_tokens) or 0))
    return tidied(
        UsageObject(
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
            total_tokens=usage.total_tokens,
            prompt_tokens_details=Details(cached_tokens=into.cached_tokens, audio_tokens=heard, image_tokens=seen),
            completion_tokens_details=Details(audio_tokens=out.audio_tokens),
        )
    )


def converse(ask: Ask) -> Conversation:
    """Watches a conversation."""
    asks = _Asks()
    return Conversation(_Answers(asks), asks)
