"""OpenAI's embeddings: reading asks, metering answers. Nothing is generated; the prompt is what counts.

Source: `openai.types.create_embedding_response`. Vectors are never decoded; an answer above `answer.HOLD` is scanned.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import Seen, meter_answer
from gatehouse.dialects.asking import Read, ReadSlices, model_reader
from gatehouse.dialects.openai_chat import take_error
from gatehouse.dialects.openai_shapes import UsageObject
from gatehouse.dialects.openai_tokens import take_apart, tidied
from gatehouse.dialects.values import Loose, text
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter


class _Answer(msgspec.Struct):
    id: Any = None
    model: Any = None
    object: Any = None
    usage: UsageObject[Any] | None = None
    error: Any = None


_answers: Final = Loose(_Answer)
_decode_answer: Final = _answers.strict


class _EmbeddingsTally:
    __slots__ = ("_reported", "seen")

    wanted: ClassVar = frozenset({"id", "model", "usage", "error", "object", "data"})
    marks: ClassVar = frozenset({"usage", "data"})
    finish_name: ClassVar[bytes | None] = None

    def __init__(self) -> None:
        self.seen = Seen()
        self._reported: UsageObject[int] | None = None

    def event(self, name: bytes, data: bytes) -> None:
        """No provider streams embeddings."""

    def whole(self, body: bytes) -> None:
        try:
            answer = _decode_answer(body)
        except msgspec.ValidationError:
            answer = _answers.decode(body)
        seen = self.seen
        seen.model = text(answer.model)
        seen.response_id = text(answer.id)
        self._reported = tidied(answer.usage)
        if answer.error is not None:
            take_error(seen, answer.error)
        else:
            seen.begun = answer.usage is not None or answer.object == "list"

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        counted = take_apart(self._reported, generates=False) if self._reported is not None else None
        if counted is not None and counted.whole:
            return self.seen.reading(counted.usage, counted.check, note)
        known = counted.usage if counted is not None else None
        return self.seen.estimate(ask, known, complete=complete, note=note)


_asks: Final = model_reader("embeddings")
read: Final[Read] = _asks.read
"""(body, the path's model) → what a request for embeddings asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _EmbeddingsTally, content_type, status, DEFAULT_LIMIT)
