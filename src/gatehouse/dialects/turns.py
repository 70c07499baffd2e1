"""What the answers on one WebSocket come to together, whatever the dialect.

Rules: usage is the sum of the answers', and only as good as the worst of them: estimated if any part is, or if one was
asked for and had not begun at the end; a mismatch if any does not add up. Names and ids are those of the latest answer;
what is kept does not grow with their number.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import msgspec

from gatehouse.dialects.answer import SilentMeter
from gatehouse.dialects.values import UNREADABLE
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, ToolUses, Usage, UsageCheck
from gatehouse.ports import Meter

T = TypeVar("T", Usage, ToolUses)

_MAX_WORDS: Final = 8
"""Different finish reasons, and notes, that are kept."""


class Asks:
    """Meters a caller's messages: which answers it asks for. A dialect says what asks for one (`take`)."""

    ended = False
    first_token = False

    def __init__(self) -> None:
        self.waiting = 0
        """Answers that were asked for and have not begun."""
        self.unread = False
        """Something was said that nobody could read: it may have asked for any."""

    def feed(self, data: bytes) -> None:
        if not data:
            return
        try:
            self.take(data)
        except UNREADABLE:
            self.unread = True

    def skip(self) -> None:
        """A message was too large to read."""
        self.unread = True

    def take(self, data: bytes) -> None:
        """One message. Raises one of `UNREADABLE`."""
        raise NotImplementedError

    def begun(self) -> None:
        """An answer has begun, or is refused: the oldest that was asked for, if any was."""
        self.waiting = max(0, self.waiting - 1)

    def finish(self, *, complete: bool) -> Reading:
        return Reading()


class Conversation(NamedTuple):
    """Watches one WebSocket. Each `feed` is one whole message."""

    answers: Meter
    """Of the provider's messages. `finish` says what all of them come to."""
    asks: Asks | None = None
    """Of the caller's; `None`: they are not needed."""


def unheard(ask: Ask) -> Conversation:
    """For endpoints nobody meters."""
    return Conversation(SilentMeter())


class Turns:
    """Adds up readings."""

    def __init__(self) -> None:
        self.count = 0
        """Answers that ended."""
        self._usage: Usage | None = None
        self._estimated = False
        self._check: UsageCheck = "unchecked"
        self._uncounted = False
        self._model: str | None = None
        self._response_id: str | None = None
        self._tools: ToolUses | None = None
        self._offers: tuple[str, ...] = ()
        self._finishes: dict[str, None] = {}
        self._notes: dict[str, None] = {}

    def add(self, reading: Reading, *, ended: bool = True) -> None:
        """One answer's. `ended`: not cut by the end of the connection; of one that was, more was used than it says."""
        self.count += ended
        self._estimated = self._estimated or not ended
        self._model = reading.model or self._model
        self._response_id = reading.response_id or self._response_id
        self._uncounted = self._uncounted or reading.uncounted
        _keep(self._finishes, *reading.finish_reasons)
        _keep(self._notes, reading.note)
        self._offers = reading.offers or self._offers
        if reading.tools is not None:
            self._tools = reading.tools if self._tools is None else summed(self._tools, reading.tools)
        if reading.usage is None:
            return
        self._estimated = self._estimated or reading.source == "estimated"
        if self._usage is None:
            self._usage, self._check = reading.usage, reading.check
            return
        self._usage = summed(self._usage, reading.usage)
        if reading.check != self._check:
            self._check = "mismatch" if "mismatch" in (self._check, reading.check) else "unchecked"

    def note(self, text: str | None) -> None:
        """Something else to say."""
        _keep(self._notes, text)

    def doubt(self, why: str) -> None:
        """More may have been used than the answers say."""
        self._estimated = True
        self.note(why)

    def end(self, asks: Asks, unread: int, *, uncounted: bool = False) -> None:
        """The connection has ended. `unread`: messages of the provider that nobody could read. `uncounted`: something
        was generated outside of all answers."""
        self._uncounted = self._uncounted or uncounted
        if asks.waiting:
            self.doubt("asked for an answer that had not begun at the end")
        if asks.unread:
            self.doubt("what the caller said could not all be read")
        if unread:
            self.doubt(f"unreadable messages: {unread}")

    def reading(self, model: str | None) -> Reading:
        """All of them. `model`: where no answer names its own."""
        estimated = self._estimated or self._uncounted
        return Reading(
            model=self._model or model,
            response_id=self._response_id,
            finish_reasons=tuple(self._finishes),
            usage=self._usage,
            source=None if self._usage is None else "estimated" if estimated else "provider",
            check=self._check,
            note="; ".join(self._notes) or None,
            uncounted=self._uncounted,
            tools=self._tools,
            offers=self._offers,
            turns=self.count,
        )


def _keep(kept: dict[str, None], *words: str | None) -> None:
    for word in words:
        if word and len(kept) < _MAX_WORDS:
            kept[word] = None


def summed(one: T, other: T) -> T:
    """Both, part by part."""
    both = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return type(one)(*[mine + its for mine, its in both])
