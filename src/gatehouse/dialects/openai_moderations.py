"""OpenAI's moderations: which model judged. Nothing is generated or billed: there is no usage, and none is estimated.

Sources: `openai.types.moderation_create_params` (`model` may be absent), `moderation_create_response`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import Seen, meter_answer
from gatehouse.dialects.asking import Read, ReadSlices, model_reader
from gatehouse.dialects.openai_chat import take_error
from gatehouse.dialects.values import Loose, text
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter


class _Answer(msgspec.Struct):
    id: Any = None
    model: Any = None
    error: Any = None


_answers: Final = Loose(_Answer)


class _ModerationsTally:
    __slots__ = ("seen",)

    wanted: ClassVar = frozenset({"id", "model", "error"})
    marks: ClassVar[frozenset[str]] = frozenset()
    finish_name: ClassVar[bytes | None] = None

    def __init__(self) -> None:
        self.seen = Seen()

    def event(self, name: bytes, data: bytes) -> None:
        """No provider streams moderations."""

    def whole(self, body: bytes) -> None:
        answer = _answers.decode(body)
        seen = self.seen
        seen.model = text(answer.model)
        seen.response_id = text(answer.id)
        if answer.error is not None:
            take_error(seen, answer.error)

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        return self.seen.reading(None, "unchecked", note)


_asks: Final = model_reader("moderations")
read: Final[Read] = _asks.read
"""(body, the path's model) → what a request for moderations asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _ModerationsTally, content_type, status, DEFAULT_LIMIT)
