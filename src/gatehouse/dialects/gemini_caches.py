"""Gemini's cachedContents, creating one: reading asks, metering answers. Nothing is generated.

What is put into a cache is charged as a prompt, so `usageMetadata.totalTokenCount` is counted as written to a cache,
and only here: reading, listing and prolonging caches report the same number and write nothing. Storage by the hour is
not usage. What was not reported is unknown: a context is often a file, whose size says nothing about its tokens.
Sources: `google.genai.types` (`CachedContent`, `CachedContentUsageMetadata`), Google's pages on context caching.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import Seen, meter_answer
from gatehouse.dialects.asking import BodyReader, Read, ReadSlices, model_asked
from gatehouse.dialects.values import Loose, count, text
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, Usage
from gatehouse.ports import Meter

OPERATION: Final = "cached_contents"


class _Body(msgspec.Struct):
    model: Any = None


class _Usage(msgspec.Struct, rename="camel", gc=False):
    total_token_count: Any = None


class _Error(msgspec.Struct, gc=False):
    status: Any = None


class _Answer(msgspec.Struct, rename="camel"):
    name: Any = None
    model: Any = None
    usage_metadata: _Usage | None = None
    error: _Error | None = None


_answers: Final = Loose(_Answer)


def _short(model: str | None) -> str | None:
    """`models/m` and Vertex' `projects/p/…/models/m` as paths of other calls name it: `m`."""
    return model if model is None else model.rpartition("models/")[2] or model


class _CacheTally:
    __slots__ = ("_written", "seen")

    wanted: ClassVar = frozenset({"name", "model", "usagemetadata", "error"})
    marks: ClassVar = frozenset({"name", "usageMetadata"})
    finish_name: ClassVar[bytes | None] = None

    def __init__(self) -> None:
        self.seen = Seen()
        self._written: int | None = None

    def event(self, name: bytes, data: bytes) -> None:
        """No provider streams the making of a cache."""

    def whole(self, body: bytes) -> None:
        answer = _answers.decode(body)
        seen = self.seen
        if answer.error is not None:
            seen.add_error(answer.error.status)
            return
        seen.begun = answer.name is not None
        seen.model = _short(text(answer.model))
        seen.response_id = text(answer.name)
        if answer.usage_metadata is not None:
            self._written = count(answer.usage_metadata.total_token_count)

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        seen = self.seen
        if self._written is None:
            uncounted = seen.error is None and (seen.begun or not complete)
            return Reading(seen.model, seen.response_id, note=note, uncounted=uncounted)
        return seen.reading(Usage(cache_write=self._written), "unchecked", note)


def _ask(fields: _Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(fields.model, route_model)
    return Ask(operation=OPERATION, model=_short(model), input_bytes=size, unread=unread or overlong)


_asks: Final = BodyReader(_Body, _ask)
read: Final[Read] = _asks.read
"""(body, the path's model) → what a request for a cache asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _CacheTally, content_type, status, DEFAULT_LIMIT)
