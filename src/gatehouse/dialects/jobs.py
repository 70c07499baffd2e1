"""Answers about objects that a provider keeps (batches, files, uploads, fine-tunings, videos, operations): their id.

Rules: sans-I/O. Only small JSON documents are read, everything else goes by; nothing is counted. A listing is about no
one object.
Sources: `openai.types` (`batch`, `file_object`, `upload`, `fine_tuning_job`, `video`), `anthropic.types`
(`message_batch`, `file_metadata`), `google.genai.types` (`BatchJob`, `File`, operations: all named by their path).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gatehouse.dialects.answer import SilentMeter, counts
from gatehouse.dialects.values import UNREADABLE, text
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter

LONGEST: Final = 64 * 1024
"""Bytes of an answer that is read."""


class _Object(msgspec.Struct):
    id: Any = None
    name: Any = None
    object: Any = None
    file: Any = None


_decode: Final = msgspec.json.Decoder(_Object).decode


class JobMeter:
    """Reads the id from one answer. `named_by_path`: Google's way, `batches/b1`."""

    ended = False
    first_token = False

    def __init__(self, *, named_by_path: bool) -> None:
        self._named_by_path = named_by_path
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= LONGEST:
            self._held.append(data)
        else:
            self._held.clear()

    def finish(self, *, complete: bool) -> Reading:
        if not complete or not 0 < self._size <= LONGEST:
            return Reading()
        try:
            found = _decode(b"".join(self._held))
        except UNREADABLE:
            return Reading()
        if self._named_by_path:
            file = found.file if type(found.file) is dict else {}
            return Reading(job=text(found.name) or text(file.get("name")))
        return Reading(job=None if found.object == "list" else text(found.id))


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer of OpenAI's or Anthropic's."""
    return _meter(content_type, status, named_by_path=False)


def meter_google(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer of Google's."""
    return _meter(content_type, status, named_by_path=True)


def _meter(content_type: str, status: int, *, named_by_path: bool) -> Meter:
    if not counts(status) or content_type != "application/json":
        return SilentMeter()
    return JobMeter(named_by_path=named_by_path)
