"""OpenAI's chat completions, also as Azure and the compatible providers speak them: reading asks, metering answers.

Rules: sans-I/O. Requests and answers are decoded strictly; what that refuses is decoded tolerantly into the same types
and tidied, so that everything else is written once, for values that are what they should be. What a stream says last
about usage counts (some send it with every chunk, cumulatively), and it is final only where the generation had ended or
the stream did; otherwise it is a lower bound for an estimate.
Sources: `openai.types.chat`, Azure's content-filter chunks (`choices: []`, no `delta`), Groq's `x_groq`,
Moonshot's `choices[0].usage`, DeepSeek's `reasoning_content`, vLLM's and OpenRouter's `reasoning`.
Answers of the legacy completions are metered here too (`openai_completions`): only their `text` differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import MAX_FINISH, MAX_FINISHES, Seen, Word, meter_answer
from gatehouse.dialects.asking import SEARCH_BYTES, BodyReader, Model, ReadSlices, answers, model_asked
from gatehouse.dialects.links import chat_links
from gatehouse.dialects.links_shapes import Elements
from gatehouse.dialects.openai_shapes import Answer, Body, Choice, Message, ToolCall, UsageObject, XGroq
from gatehouse.dialects.openai_tokens import take_apart, tidied
from gatehouse.dialects.values import UNREADABLE, Count, Loose, Real, Text, count, real, size, text
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter

_decode_body: Final = msgspec.json.Decoder(Body[Model, Count, Real]).decode
_decode_answer: Final = msgspec.json.Decoder(Answer[Text, Word, Count]).decode
_answers: Final = Loose(Answer[Any, Any, Any])

_Asked = tuple[Any, Any, Any, int | None, int | None, float | None, float | None, int | None, Elements]
_Answered = tuple[
    str | None, str | None, list[Choice[str, int]] | None, UsageObject[int] | None, XGroq[int] | None, Any
]  # fmt: skip
_Chosen = tuple[int | None, Message | None, Message | None, Any, str | None, UsageObject[int] | None]
_asked: Final[Callable[[Body[str, int, float]], _Asked]] = msgspec.structs.astuple
"""The model is anything: `_ask` is told which it is."""
_answered: Final[Callable[[Answer[str, str, int]], _Answered]] = msgspec.structs.astuple
_chosen: Final[Callable[[Choice[str, int]], _Chosen]] = msgspec.structs.astuple
"""All members, in order: reading them one by one takes three times as long."""


def _ask(
    fields: Body[str, int, float], model: str | None, unread: str | None, size: int, odd: str | None = None
) -> Ask:
    _, stream, options, other, bound, temperature, top_p, choices, messages = _asked(fields)
    # Providers differ in which of the two they read: the larger one is the bound.
    if bound is None or (other is not None and other > bound):
        bound = other
    return Ask(  # by position: names are searched for, one by one
        "chat",
        model,
        stream is True,
        bound,
        temperature,
        top_p,
        choices,
        None if options is None else asks_usage(options),
        False,
        None,
        chat_links(messages),
        size,
        unread,
        odd,
    )


def asks_usage(options: object) -> bool | None:
    """What `stream_options` say of usage; `None` if nothing."""
    return options["include_usage"] is True if type(options) is dict and "include_usage" in options else None


def _ask_anyhow(fields: Body[Any, Any, Any], unread: str | None, size: int, route_model: str | None) -> Ask:
    """The same of fields that may be anything."""
    model, overlong = model_asked(fields.model, route_model)
    fields.max_tokens = count(fields.max_tokens)
    fields.max_completion_tokens = count(fields.max_completion_tokens)
    fields.temperature = real(fields.temperature)
    fields.top_p = real(fields.top_p)
    fields.n, odd = answers(fields.n)
    return _ask(fields, model, unread or overlong, size, odd)


_asks: Final = BodyReader(Body[Any, Any, Any], _ask_anyhow)


def _tidied(answer: Answer[Any, Any, Any]) -> Answer[str, str, int]:
    """An answer of tolerantly decoded members, as the strict decoder would have it."""
    answer.id = text(answer.id)
    answer.model = text(answer.model)
    answer.usage = tidied(answer.usage)
    if answer.x_groq is not None:
        answer.x_groq.usage = tidied(answer.x_groq.usage)
    for choice in answer.choices or ():
        choice.usage = tidied(choice.usage)
        choice.index = choice.index if type(choice.index) is int else None
        choice.finish_reason = text(choice.finish_reason, MAX_FINISH)
    return answer


class _ChatTally:
    """Adds up chunks, or one whole completion."""

    wanted: ClassVar = frozenset({"id", "model", "usage", "choices", "error"})
    marks: ClassVar = frozenset({"usage", "choices"})
    finish_name: ClassVar[bytes | None] = b"finish_reason"

    _reported: UsageObject[int] | None = None
    _at_end = False
    """Usage was reported when the generation had ended."""

    def __init__(self) -> None:
        self.seen = Seen()

    def event(self, name: bytes, data: bytes) -> None:
        try:
            answer = _decode_answer(data)
        except UNREADABLE:
            if data.startswith(b"[DONE]"):
                self.seen.ended = True
                self._at_end = self._reported is not None
                return
            try:
                answer = _tidied(_answers.decode(data))
            except UNREADABLE:
                self.seen.add_unread(data)
                return
        self._take(answer)

    def whole(self, body: bytes) -> None:
        try:
            answer = _decode_answer(body)
        except msgspec.ValidationError:
            try:
                answer = _tidied(_answers.strict(body))
            except msgspec.ValidationError:
                answer = _tidied(_answers.decode(body))
        usage = answer.usage
        # With both sides reported, and output, nothing is left to estimate.
        self._take(answer, usage is None or not usage.completion_tokens or usage.prompt_tokens is None)
        self._at_end = True

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        seen = self.seen
        counted = take_apart(self._reported) if self._reported is not None else None
        if counted is not None and counted.whole and (self._at_end or complete):
            usage = counted.usage
            # No output for what was generated: whatever the provider says, that was not for nothing.
            if usage.output or usage.output_total or not seen.generated:
                return seen.reading(usage, counted.check, note)
        return seen.estimate(ask, counted.usage if counted is not None else None, complete=complete, note=note)

    def _take(self, answer: Answer[str, str, int], sizes: bool = True) -> None:
        seen = self.seen
        response_id, model, choices, reported, groq, error = _answered(answer)
        if seen.model is None:
            seen.model = model or None
            seen.response_id = response_id or None
        if choices:
            seen.begun = True
            for choice in choices:
                index, delta, message, told, finish, used = _chosen(choice)
                message = delta or message
                if sizes:
                    # `text`: legacy completions. Some chat chunks repeat `delta` in it.
                    generated = size(told) if message is None else _generated(message)
                    if generated:
                        seen.generated = True
                        seen.size += generated
                tools = None if message is None else message.tool_calls
                if tools:
                    _offer(seen, tools)
                if finish and len(seen.finishes) < MAX_FINISHES:
                    seen.finishes[index or 0] = finish
                reported = reported or used
        if groq is not None:
            reported = reported or groq.usage
        if reported is not None:
            seen.begun = True
            self._reported = reported
            self._at_end = bool(seen.finishes) or not choices
        if error is not None:
            take_error(seen, error)


def take_error(seen: Seen, error: object) -> None:
    """An `error` member inside a 200 answer."""
    if type(error) is dict:
        seen.add_error(error.get("code"), error.get("type"), error.get("status"))
    else:
        seen.add_error()


def _offer(seen: Seen, calls: list[ToolCall]) -> None:
    """The tool calls an answer proposes: the next request brings their results."""
    for call in calls:
        if call.id:
            seen.add_offer(call.id)


def _generated(message: Message) -> int:
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
    size = len(body)
    if size <= SEARCH_BYTES:  # a larger one is not decoded twice
        try:
            fields = _decode_body(body)
        except UNREADABLE:
            pass
        else:
            model = fields.model
            return _ask_anyhow(fields, None, size, route_model) if model is None else _ask(fields, model, None, size)
    return _asks.read(body, route_model)


read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _ChatTally, content_type, status, DEFAULT_LIMIT)
