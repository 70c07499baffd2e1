"""OpenAI's chat completions, also as Azure and the compatible providers speak them: reading asks, metering answers.

Rules: sans-I/O. What a stream says last about usage counts (some send it with every chunk, cumulatively), and it is
final only where the generation had ended or the stream did; otherwise it is a lower bound for an estimate.
Sources: `openai.types.chat`, Azure's content-filter chunks (`choices: []`, no `delta`), Groq's `x_groq`,
Moonshot's `choices[0].usage`, DeepSeek's `reasoning_content`, vLLM's and OpenRouter's `reasoning`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from gatehouse.dialects.answer import Seen, meter_answer
from gatehouse.dialects.asking import BodyReader, model_asked
from gatehouse.dialects.openai_tokens import UsageObject, take_apart
from gatehouse.dialects.values import UNREADABLE, Loose, count, real, size, text
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    stream_options: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    n: Any = None


class _Function(msgspec.Struct, gc=False):
    name: Any = None
    arguments: Any = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None
    custom: Any = None


class _Audio(msgspec.Struct, gc=False):
    data: Any = None
    transcript: Any = None


class _Message(msgspec.Struct):
    """A message, or the part of one that a chunk brings."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: _Audio | None = None


class _Choice(msgspec.Struct):
    index: Any = None
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: Any = None
    usage: UsageObject | None = None


class _XGroq(msgspec.Struct):
    usage: UsageObject | None = None


class _Answer(msgspec.Struct):
    """A chat completion, or a chunk of one."""

    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: UsageObject | None = None
    x_groq: _XGroq | None = None
    error: Any = None


_bodies: Final = BodyReader(_Body)
_answers: Final = Loose(_Answer)
_decode_answer: Final = _answers.strict


def _ask(fields: _Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    options = fields.stream_options
    model, overlong = model_asked(fields.model, route_model)
    bounds = [bound for bound in (count(fields.max_completion_tokens), count(fields.max_tokens)) if bound is not None]
    return Ask(
        operation="chat",
        model=model,
        stream=fields.stream is True,
        # Providers differ in which of the two they read: the larger one is the bound.
        max_output=max(bounds) if bounds else None,
        temperature=real(fields.temperature),
        top_p=real(fields.top_p),
        choices=count(fields.n),
        asks_usage=options["include_usage"] is True if type(options) is dict and "include_usage" in options else None,
        input_bytes=size,
        unread=unread or overlong,
    )


class _ChatTally:
    """Adds up chunks, or one whole completion."""

    __slots__ = ("_at_end", "_reported", "seen")

    wanted = frozenset({"id", "model", "usage", "choices", "error"})
    marks = frozenset({"usage", "choices"})
    finish_name: bytes | None = b"finish_reason"

    def __init__(self) -> None:
        self.seen = Seen()
        self._reported: UsageObject | None = None
        self._at_end = False  # usage was reported when the generation had ended

    def event(self, name: bytes, data: bytes) -> None:
        try:
            answer = _decode_answer(data)
        except UNREADABLE:
            if data.startswith(b"[DONE]"):
                self.seen.ended = True
                self._at_end = self._reported is not None
                return
            try:
                answer = _answers.decode(data)
            except UNREADABLE:
                self.seen.add_unread(data)
                return
        self._take(answer)

    def whole(self, body: bytes) -> None:
        try:
            answer = _decode_answer(body)
        except msgspec.ValidationError:
            answer = _answers.decode(body)
        self._take(answer)
        self._at_end = True

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        seen = self.seen
        counted = take_apart(self._reported) if self._reported is not None else None
        if counted is not None and counted.whole and (self._at_end or complete):
            # No output for what was generated: whatever the provider says, that was not for nothing.
            if counted.usage.output_total or not seen.generated:
                return seen.reading(counted.usage, counted.check, note)
        return seen.estimate(ask, counted.usage if counted is not None else None, complete=complete, note=note)

    def _take(self, answer: _Answer) -> None:
        seen = self.seen
        if seen.model is None:
            seen.model = text(answer.model)
            seen.response_id = text(answer.id)
        reported = answer.usage
        if answer.choices:
            seen.begun = True
            for choice in answer.choices:
                message = choice.delta or choice.message
                if message is not None:
                    generated = _generated(message)
                    if generated:
                        seen.generated = True
                        seen.size += generated
                if choice.finish_reason is not None:
                    seen.add_finish(choice.index, choice.finish_reason)
                if choice.usage is not None:
                    reported = reported or choice.usage
        if answer.x_groq is not None:
            reported = reported or answer.x_groq.usage
        if reported is not None:
            seen.begun = True
            self._reported = reported
            self._at_end = bool(seen.finishes) or not answer.choices
        if answer.error is not None:
            take_error(seen, answer.error)


def take_error(seen: Seen, error: object) -> None:
    """An `error` member inside a 200 answer."""
    if type(error) is dict:
        seen.add_error(error.get("code"), error.get("type"), error.get("status"))
    else:
        seen.add_error()


def _generated(message: _Message) -> int:
    """UTF-8 bytes of what a message, or the part a chunk brings, holds."""
    content = message.content
    total = (len(content) if type(content) is str and content.isascii() else size(content)) if content else 0
    if message.reasoning_content:
        total += size(message.reasoning_content)
    elif message.reasoning:  # some send both, with the same text
        total += size(message.reasoning)
    if message.refusal:
        total += size(message.refusal)
    if message.tool_calls:
        for call in message.tool_calls:
            if call.function is not None:
                total += size(call.function.name) + size(call.function.arguments)
            total += size(call.custom)
    if message.function_call is not None:
        total += size(message.function_call.name) + size(message.function_call.arguments)
    if message.audio is not None:
        total += size(message.audio.transcript) or min(1, size(message.audio.data))
    return total


def read(body: bytes, route_model: str | None) -> Ask:
    """What a chat completion's request asks. `route_model`: the model its path names (Azure's deployment)."""
    fields, unread = _bodies.read(body)
    return _ask(fields, unread, len(body), route_model)


def read_slices(body: bytes, route_model: str | None) -> Generator[None, None, Ask]:
    """The same for a large body; yields between slices."""
    fields, unread = yield from _bodies.read_slices(body)
    return _ask(fields, unread, len(body), route_model)


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _ChatTally(), content_type, status, limit=DEFAULT_LIMIT)
