"""Gemini's generateContent and streamGenerateContent: reading asks, metering answers.

Rules: sans-I/O. Requests are camelCase or snake_case. A stream is SSE (`alt=sse`) or one JSON array, in both each piece
is a whole response whose `usageMetadata` is cumulative, so counts only grow; the last piece has a finish reason.
`promptTokenCount` includes cached content; thoughts and tool prompts stand beside, `totalTokenCount` is the sum of the
four. Sources: `google.genai.types` (`GenerateContentResponse`, `…UsageMetadata`, `Part`), genai-prices' extractors.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import ArrayMeter, DocumentMeter, Seen, SilentMeter, StreamMeter, counts, is_event_stream
from gatehouse.dialects.asking import BodyReader, Read, ReadSlices, answers, model_asked
from gatehouse.dialects.links import contents_links
from gatehouse.dialects.links_shapes import Elements
from gatehouse.dialects.values import UNREADABLE, Loose, count, real, size, text
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, ToolUses, Usage, UsageCheck
from gatehouse.ports import Meter

PIECE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of one event or array element: a generated image comes in one, together with the usage."""


class _Body(msgspec.Struct, rename="camel"):
    model: Any = None
    contents: Elements = None
    generation_config: Any = None
    snake: Any = msgspec.field(default=None, name="generation_config")


class TokenCount(msgspec.Struct, rename="camel", gc=False):
    modality: Any = None
    token_count: Any = None


class UsageMetadata(msgspec.Struct, rename="camel"):
    """`usageMetadata`."""

    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    total_token_count: Any = None
    prompt_tokens_details: list[TokenCount] | None = None
    cache_tokens_details: list[TokenCount] | None = None
    candidates_tokens_details: list[TokenCount] | None = None
    tool_use_prompt_tokens_details: list[TokenCount] | None = None


class _Blob(msgspec.Struct, rename="camel", gc=False):
    mime_type: Any = None


class _Part(msgspec.Struct, rename="camel"):
    text: Any = None
    function_call: Any = None
    tool_call: Any = None
    executable_code: Any = None
    inline_data: _Blob | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Grounding(msgspec.Struct, rename="camel", gc=False):
    web_search_queries: Any = None


class _Candidate(msgspec.Struct, rename="camel"):
    index: Any = None
    content: _Content | None = None
    finish_reason: Any = None
    grounding_metadata: _Grounding | None = None


class _Feedback(msgspec.Struct, rename="camel", gc=False):
    block_reason: Any = None


class _Error(msgspec.Struct, gc=False):
    status: Any = None


class _Response(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: Any = None
    response_id: Any = None
    prompt_feedback: _Feedback | None = None
    error: _Error | None = None


_responses: Final = Loose(_Response)
_decode_response: Final = _responses.strict


def _ask(fields: _Body, unread: str | None, size: int, route_model: str | None, *, stream: bool) -> Ask:
    model, overlong = model_asked(route_model, fields.model)
    config: dict[str, Any] = {}
    for part in (fields.snake, fields.generation_config):
        if type(part) is dict:
            config.update(part)
    choices, odd = answers(config.get("candidateCount"), config.get("candidate_count"))
    return Ask(
        operation="generate_content",
        model=model,
        stream=stream,
        max_output=count(_either(config, "maxOutputTokens", "max_output_tokens")),
        temperature=real(config.get("temperature")),
        top_p=real(_either(config, "topP", "top_p")),
        choices=choices,
        links=contents_links(fields.contents),
        input_bytes=size,
        unread=unread or overlong,
        odd=odd,
    )


def _either(config: dict[str, Any], camel: str, snake: str) -> object:
    value = config.get(camel)
    return config.get(snake) if value is None else value


def _of(modality: str, details: list[TokenCount] | None) -> int | None:
    if not details:
        return None
    return sum(count(detail.token_count) or 0 for detail in details if detail.modality == modality)


class Reported:
    """Usage as reported so far: what comes later replaces what came before, count by count."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, usage: UsageMetadata) -> None:
        """Take in one `usageMetadata`."""
        for name, value in (
            ("prompt", usage.prompt_token_count),
            ("cached", usage.cached_content_token_count),
            ("candidates", usage.candidates_token_count),
            ("thoughts", usage.thoughts_token_count),
            ("tool", usage.tool_use_prompt_token_count),
            ("total", usage.total_token_count),
            ("prompt_audio", _of("AUDIO", usage.prompt_tokens_details)),
            ("prompt_images", _of("IMAGE", usage.prompt_tokens_details)),
            ("cached_audio", _of("AUDIO", usage.cache_tokens_details)),
            ("cached_images", _of("IMAGE", usage.cache_tokens_details)),
            ("candidates_audio", _of("AUDIO", usage.candidates_tokens_details)),
            ("candidates_images", _of("IMAGE", usage.candidates_tokens_details)),
            ("tool_audio", _of("AUDIO", usage.tool_use_prompt_tokens_details)),
            ("tool_images", _of("IMAGE", usage.tool_use_prompt_tokens_details)),
        ):
            number = count(value) if value is not None else None
            if number is not None:
                self._counts[name] = number

    def parts(self) -> tuple[Usage, UsageCheck] | None:
        """Disjoint parts, checked against the provider's total; `None` if it reported no prompt."""
        counts = self._counts
        prompt = counts.get("prompt")
        if prompt is None:
            return None
        thoughts, tool, total = counts.get("thoughts", 0), counts.get("tool", 0), counts.get("total")
        candidates = counts.get("candidates")
        if candidates is None:  # left out where zero, and by some where not
            candidates = max(0, (total or 0) - prompt - thoughts - tool)
        check: UsageCheck = "unchecked"
        if total is not None:
            check = "ok" if total == prompt + candidates + thoughts + tool else "mismatch"
        cached = counts.get("cached", 0)
        if cached > prompt:
            prompt, check = cached, "mismatch"
        heard_before, seen_before = self._media("cached", cached)
        heard, seen = self._media("prompt", prompt - cached, (heard_before, seen_before))
        tool_heard, tool_seen = self._media("tool", tool)
        spoken, drawn = self._media("candidates", candidates)
        usage = Usage(
            input=prompt - cached - heard - seen + tool - tool_heard - tool_seen,
            cache_read=cached - heard_before - seen_before,
            audio_input=heard + tool_heard,
            output=candidates - spoken - drawn,
            reasoning=thoughts,
            audio_output=spoken,
            image_input=seen + tool_seen,
            image_output=drawn,
            image_cache_read=seen_before,
            audio_cache_read=heard_before,
        )
        return usage, check

    def _media(self, side: str, most: int, cached: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """Audio and image tokens among the `most` of a side, those `cached` left out."""
        audio = min(most, max(0, self._counts.get(f"{side}_audio", 0) - cached[0]))
        images = min(most - audio, max(0, self._counts.get(f"{side}_images", 0) - cached[1]))
        return audio, images


def _generated(part: _Part) -> int:
    """UTF-8 bytes of what a part holds; media count as something, not by their size."""
    total = size(part.text) if part.text else 0
    for value in (part.function_call, part.tool_call, part.executable_code):
        if value is not None:
            total += size(value)
    return total + 1 if part.inline_data is not None else total


def _take_part(seen: Seen, part: _Part) -> None:
    if type(part.function_call) is dict:
        seen.add_offer(part.function_call.get("id"))
    generated = _generated(part)
    if generated:
        seen.generated = True
        seen.size += generated


def _searched(seen: Seen, queries: object) -> None:
    """What the answer was grounded on. Each piece of a stream repeats the queries so far."""
    if type(queries) is list:
        before = seen.tools.web_search if seen.tools is not None else 0
        seen.tools = ToolUses(web_search=max(len(queries), before))


class _ResponseTally:
    """Adds up a stream's responses, or takes the one."""

    __slots__ = ("_reported", "seen")

    wanted: ClassVar = frozenset(
        {"candidates", "usagemetadata", "modelversion", "responseid", "promptfeedback", "error"}
    )
    marks: ClassVar = frozenset({"candidates", "usageMetadata"})
    finish_name: ClassVar[bytes | None] = b"finishReason"

    def __init__(self) -> None:
        self.seen = Seen()
        self._reported = Reported()

    def event(self, name: bytes, data: bytes) -> None:
        try:
            self.whole(data)
        except UNREADABLE:
            try:
                self._take(_responses.decode(data))
            except UNREADABLE:
                self.seen.add_unread(data)

    def whole(self, body: bytes) -> None:
        try:
            response = _decode_response(body)
        except msgspec.ValidationError:
            response = _responses.decode(body)
        self._take(response)

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        seen = self.seen
        parts = self._reported.parts()
        if parts is None:
            return seen.estimate(ask, None, complete=complete, note=note)
        usage, check = parts
        if (complete or seen.finishes) and (usage.output_total or not seen.generated):
            return seen.reading(usage, check, note)
        return seen.estimate(ask, usage, complete=complete, note=note)

    def _take(self, response: _Response) -> None:
        seen = self.seen
        if seen.model is None:
            seen.model = text(response.model_version)
        if seen.response_id is None:
            seen.response_id = text(response.response_id)
        for candidate in response.candidates or ():
            seen.begun = True
            if candidate.content is not None:
                for part in candidate.content.parts or ():
                    _take_part(seen, part)
            if candidate.finish_reason is not None:
                seen.add_finish(candidate.index, candidate.finish_reason)
            if candidate.grounding_metadata is not None:
                _searched(seen, candidate.grounding_metadata.web_search_queries)
        if response.prompt_feedback is not None and response.prompt_feedback.block_reason is not None:
            seen.begun = True
            seen.add_finish(0, response.prompt_feedback.block_reason)
        if response.usage_metadata is not None:
            seen.begun = True
            self._reported.add(response.usage_metadata)
        if response.error is not None:
            seen.add_error(response.error.status)


_asks: Final = BodyReader(_Body, partial(_ask, stream=False))
_asks_stream: Final = BodyReader(_Body, partial(_ask, stream=True))
read: Final[Read] = _asks.read
"""(body, the path's model) → what a `generateContent` request asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""
read_stream: Final[Read] = _asks_stream.read
"""(body, the path's model) → what a `streamGenerateContent` request asks."""
read_stream_slices: Final[ReadSlices] = _asks_stream.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer: an event stream, a JSON array that streams, or one document."""
    if not counts(status):
        return SilentMeter()
    if is_event_stream(content_type):
        return StreamMeter(ask, _ResponseTally(), PIECE_LIMIT)
    if ask.stream:
        return ArrayMeter(ask, _ResponseTally(), PIECE_LIMIT)
    return DocumentMeter(ask, _ResponseTally())
