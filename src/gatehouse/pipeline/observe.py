"""Watching an answer without touching it: content-decoding, metering, the time of the first token.

Rule: an observer cannot break what it observes. Whatever goes wrong in here ends the observation, is named on the
record (`usage_note`), and leaves the stream alone.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Final

from gatehouse.http.content import Decoder
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter

SLICE: Final = 32 * 1024
"""Decoded bytes, or encoded ones, between two yields: three milliseconds of the smallest events there are."""

_log: Final = logging.getLogger(__name__)


class Observer:
    """Feeds a meter with the decoded body."""

    first_token = False
    """Generated content has come."""
    _decoder: Decoder | None = None
    _note: str | None = None

    def __init__(self, meter: Meter, content_encoding: str) -> None:
        self._meter = meter
        if content_encoding and content_encoding != "identity":
            self._decoder = Decoder(content_encoding)

    @property
    def ended(self) -> bool:
        """The answer is whole by its own word, whatever the connection still has to say."""
        return self._meter.ended and self._note is None

    def feed(self, data: bytes) -> None:
        if self._decoder is not None:
            for _ in self.feed_slices(data):
                pass
            return
        if self._note is not None:
            return
        meter = self._meter
        try:
            meter.feed(data)
        except Exception as error:  # noqa: BLE001 - metering must not touch the stream
            self._fail(error)
        self.first_token = meter.first_token

    def feed_slices(self, data: bytes) -> Generator[None, None, None]:
        """The same for much data, or what may hold much: yields between slices, so that other calls go on (I8)."""
        meter = self._meter
        pending = 0
        try:
            for start in range(0, len(data), SLICE):
                if self._note is not None:
                    return
                given = data[start : start + SLICE]
                for piece in (given,) if self._decoder is None else self._decoder.feed(given):
                    if pending >= SLICE:
                        pending = 0
                        yield
                    meter.feed(piece)
                    pending += len(piece)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        self.first_token = meter.first_token

    def finish(self, *, complete: bool) -> Reading:
        note = self._note or (self._decoder.unreadable if self._decoder is not None else None)
        try:
            reading = self._meter.finish(complete=complete and note is None)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            return Reading(note=self._note)
        if note is not None:
            return Reading(
                model=reading.model,
                response_id=reading.response_id,
                usage=reading.usage,
                source="estimated" if reading.usage else None,
                note=note,
                uncounted=reading.uncounted,
                turns=reading.turns,
                stored=reading.stored,
            )
        return reading

    def _fail(self, error: Exception) -> None:
        self._note = f"metering failed: {type(error).__name__}"
        _log.error("metering failed", exc_info=error)
