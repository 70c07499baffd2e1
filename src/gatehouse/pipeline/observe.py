"""Watching an answer without touching it: content-decoding, metering, the time of the first token.

Rule: an observer cannot break what it observes. Whatever goes wrong in here ends the observation, is named on the
record (`usage_note`), and leaves the stream alone.
"""

from __future__ import annotations

import logging
from typing import Final

from gatehouse.http.content import Decoder
from gatehouse.model.usage import Reading
from gatehouse.ports import Meter

_LOG: Final = logging.getLogger(__name__)


class Observer:
    """Feeds a meter with the decoded body."""

    __slots__ = ("_decoder", "_meter", "_note")

    def __init__(self, meter: Meter, content_encoding: str) -> None:
        self._meter = meter
        self._decoder = Decoder(content_encoding) if content_encoding not in ("", "identity") else None
        self._note: str | None = None

    @property
    def first_token(self) -> bool:
        return self._meter.first_token

    @property
    def ended(self) -> bool:
        """The answer is whole by its own word, whatever the connection still has to say."""
        return self._meter.ended and self._note is None

    def feed(self, data: bytes) -> None:
        if self._note is not None:
            return
        try:
            if self._decoder is None:
                self._meter.feed(data)
            else:
                for piece in self._decoder.feed(data):
                    self._meter.feed(piece)
        except Exception as error:  # noqa: BLE001 - habit 8: metering must not touch the stream
            self._fail(error)

    def finish(self, *, complete: bool) -> Reading:
        try:
            reading = self._meter.finish(complete=complete and self._note is None and not self._unreadable)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            return Reading(note=self._note)
        note = self._note or (self._decoder.unreadable if self._decoder is not None else None)
        if note is not None:
            return Reading(
                model=reading.model,
                response_id=reading.response_id,
                usage=reading.usage,
                source="estimated" if reading.usage else None,
                note=note,
            )
        return reading

    @property
    def _unreadable(self) -> bool:
        return self._decoder is not None and self._decoder.unreadable is not None

    def _fail(self, error: Exception) -> None:
        self._note = f"metering failed: {type(error).__name__}"
        _LOG.error("metering failed", exc_info=error)
