"""OpenAI's moderations: which model judged. Nothing is generated or billed: there is no usage, and none is estimated.

Sources: `openai.types.moderation_create_params` (`model` may be absent), `moderation_create_response`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import Seen, meter_answer
from gatehouse.dialects.asking import BodyReader, model_asked
from gatehouse.dialects.openai_chat import take_error
from gatehouse.dialects.values import Loose, text
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter


class _Body(msgspec.Struct):
    model: Any = None


class _Answer(msgspec.Struct):
    id: Any = None
    model: Any = None
    error: Any = None


_bodies: Final = BodyReader(_Body)
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


def _ask(fields: _Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(fields.model, route_model)
    return Ask(operation="moderations", model=model, input_bytes=size, unread=unread or overlong)


def read(body: bytes, route_model: str | None) -> Ask:
    """What a request for moderations asks."""
    fields, unread = _bodies.read(body)
    return _ask(fields, unread, len(body), route_model)


def read_slices(body: bytes, route_model: str | None) -> Generator[None, None, Ask]:
    """The same for a large body; yields between slices."""
    fields, unread = yield from _bodies.read_slices(body)
    return _ask(fields, unread, len(body), route_model)


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _ModerationsTally, content_type, status, DEFAULT_LIMIT)
