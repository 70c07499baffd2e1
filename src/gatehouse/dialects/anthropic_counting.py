"""Anthropic's count_tokens: reading asks. The answer's `input_tokens` were counted, not used: nothing is metered."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from gatehouse.dialects.answer import SilentMeter
from gatehouse.dialects.asking import BodyReader, model_asked
from gatehouse.model.call import Ask
from gatehouse.ports import Meter


class _Body(msgspec.Struct):
    model: Any = None


_bodies: Final = BodyReader(_Body)


def _ask(fields: _Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(fields.model, route_model)
    return Ask(operation="count_tokens", model=model, input_bytes=size, unread=unread or overlong)


def read(body: bytes, route_model: str | None) -> Ask:
    """What a request for a count asks."""
    fields, unread = _bodies.read(body)
    return _ask(fields, unread, len(body), route_model)


def read_slices(body: bytes, route_model: str | None) -> Generator[None, None, Ask]:
    """The same for a large body; yields between slices."""
    fields, unread = yield from _bodies.read_slices(body)
    return _ask(fields, unread, len(body), route_model)


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """Nothing to count."""
    return SilentMeter()
