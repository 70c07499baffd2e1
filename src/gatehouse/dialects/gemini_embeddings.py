"""Gemini's embedContent and batchEmbedContents: reading asks, metering answers. Nothing is generated.

Usage is `usageMetadata.promptTokenCount`; the split by modality is called `promptTokenDetails` by the Gemini API and
`promptTokensDetails` by Vertex. Older models report nothing: estimated, as with OpenAI's embeddings. Vectors are never
decoded; an answer above `answer.HOLD` is scanned.
Sources: `google.genai` (`models.py`: `_EmbedContentResponse_from_vertex`, `types.UsageMetadata`), Google's
`EmbeddingUsageMetadata`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import Seen, meter_answer
from gatehouse.dialects.asking import BodyReader, Read, ReadSlices, model_asked
from gatehouse.dialects.values import Loose, count
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, Usage, UsageCheck
from gatehouse.ports import Meter


class _Body(msgspec.Struct):
    model: Any = None


class _TokenCount(msgspec.Struct, rename="camel", gc=False):
    modality: Any = None
    token_count: Any = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: Any = None
    total_token_count: Any = None
    prompt_token_details: list[_TokenCount] | None = None
    prompt_tokens_details: list[_TokenCount] | None = None


class _Vector(msgspec.Struct, gc=False):
    """There is one; what it holds is skipped."""


class _Error(msgspec.Struct, gc=False):
    status: Any = None


class _Answer(msgspec.Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usage_metadata: _Usage | None = None
    error: _Error | None = None


_answers: Final = Loose(_Answer)


class _EmbeddingsTally:
    __slots__ = ("_reported", "seen")

    wanted: ClassVar = frozenset({"embedding", "embeddings", "usagemetadata", "error"})
    marks: ClassVar = frozenset({"embedding", "embeddings", "usageMetadata"})
    finish_name: ClassVar[bytes | None] = None

    def __init__(self) -> None:
        self.seen = Seen()
        self._reported: _Usage | None = None

    def event(self, name: bytes, data: bytes) -> None:
        """No provider streams embeddings."""

    def whole(self, body: bytes) -> None:
        answer = _answers.decode(body)
        if answer.error is not None:
            self.seen.add_error(answer.error.status)
            return
        self._reported = answer.usage_metadata
        vectors = answer.embeddings if answer.embedding is None else answer.embedding
        self.seen.begun = answer.usage_metadata is not None or vectors is not None

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        counted = _parts(self._reported) if self._reported is not None else None
        if counted is None:
            return self.seen.estimate(ask, None, complete=complete, note=note)
        return self.seen.reading(*counted, note)


def _parts(reported: _Usage) -> tuple[Usage, UsageCheck] | None:
    prompt, total = count(reported.prompt_token_count), count(reported.total_token_count)
    if prompt is None:
        prompt = total
    if prompt is None:
        return None
    check: UsageCheck = "unchecked" if total is None else "ok" if total == prompt else "mismatch"
    details = reported.prompt_token_details or reported.prompt_tokens_details or ()
    audio = sum(count(detail.token_count) or 0 for detail in details if detail.modality == "AUDIO")
    images = sum(count(detail.token_count) or 0 for detail in details if detail.modality == "IMAGE")
    if audio + images > prompt:
        check = "mismatch"
        audio = min(audio, prompt)
        images = min(images, prompt - audio)
    return Usage(input=prompt - audio - images, audio_input=audio, image_input=images), check


def _ask(fields: _Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(route_model, fields.model)
    return Ask(operation="embeddings", model=model, input_bytes=size, unread=unread or overlong)


_asks: Final = BodyReader(_Body, _ask)
read: Final[Read] = _asks.read
"""(body, the path's model) → what a request for embeddings asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _EmbeddingsTally, content_type, status, DEFAULT_LIMIT)
