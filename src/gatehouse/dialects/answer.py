"""Metering one answer: how its body comes (events, one JSON document, a JSON array) apart from what it means.

Rules: a `Tally` knows a dialect's payloads and nothing of framing; a meter knows framing and nothing of payloads. What
is held is bounded: one event or array element, or a JSON document up to `HOLD` bytes; beyond that a document is scanned
as it comes and only its top-level members are read, so usage is exact however large an answer is. An unreadable piece
is counted and noted, and the rest is still metered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, ClassVar, Final, Protocol

import msgspec

from gatehouse.dialects.elements import Elements
from gatehouse.dialects.scan import ENDS_EARLY, MAX_SLICED_STEPS, Scanner, feed_within
from gatehouse.dialects.values import TEXT_LIMIT, UNREADABLE, text, tokens
from gatehouse.http.sse import Reader
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, ToolUses, Usage, UsageCheck, UsageSource
from gatehouse.ports import Meter

HOLD: Final = 1024 * 1024
"""Bytes of a JSON answer held to be decoded in one go (about 0.5 ms)."""

MAX_FINISHES: Final = 128
"""Choices whose finish reason is kept: the largest `n` any provider takes."""

MAX_OFFERS: Final = 4
"""Ids of an answer by which a later request may name it."""

MAX_FINISH: Final = 64
"""Characters of a finish reason that are kept."""

Word = Annotated[str, msgspec.Meta(max_length=MAX_FINISH)]
"""A finish reason kept as it is, unless empty."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Seen:
    """What an answer has shown so far, in no dialect."""

    begun = False
    """An answer, not an error or something else, was recognised."""
    ended = False
    """The dialect's own last word has come (`[DONE]`, `message_stop`, an error)."""
    generated = False
    """Content has come."""
    size = 0
    """UTF-8 bytes of that content."""
    model: str | None = None
    response_id: str | None = None
    error: str | None = None
    """The provider's own error inside a 200 answer."""
    unread = 0
    """Pieces that could not be read."""
    offers: tuple[str, ...] = ()
    """Ids that a later request names if it goes on from this answer."""
    tools: ToolUses | None = None
    """The provider's own tools that ran, as it reports."""

    def __init__(self) -> None:
        self.finishes: dict[int, str] = {}

    def add_unread(self, data: bytes) -> None:
        """A piece that could not be read; what it held counts as generated, for an estimate."""
        self.unread += 1
        self.size += len(data)
        self.generated = True

    def add_finish(self, choice: object, reason: object) -> None:
        word = text(reason, MAX_FINISH)
        if word and len(self.finishes) < MAX_FINISHES:
            self.finishes[choice if type(choice) is int else 0] = word

    def add_offer(self, name: object) -> None:
        """An id, of a tool call above all, by which the next request may name this answer."""
        if len(self.offers) < MAX_OFFERS and type(name) is str and 0 < len(name) <= TEXT_LIMIT:
            if name not in self.offers:
                self.offers = (*self.offers, name)

    def add_error(self, *words: object) -> None:
        """The provider's error, by the first of its words that is an identifier (messages may quote the prompt)."""
        self.ended = True
        for word in words:
            word = str(word) if type(word) is int else word
            if type(word) is str and _IDENTIFIER.fullmatch(word):
                self.error = word
                return
        self.error = self.error or "unnamed"

    def finish_reasons(self) -> tuple[str, ...]:
        return tuple(reason for _, reason in sorted(self.finishes.items()))

    def reading(self, usage: Usage | None, check: UsageCheck, note: str | None) -> Reading:
        """With usage as the provider reported it, or with none."""
        finishes = self.finishes
        reasons = tuple(finishes.values()) if len(finishes) == 1 else self.finish_reasons()
        source: UsageSource | None = None if usage is None else "provider"
        # By position, which is faster.
        return Reading(
            self.model, self.response_id, reasons, usage, source, check, note, False, self.tools, None, self.offers
        )

    def estimate(self, ask: Ask, known: Usage | None, *, complete: bool, note: str | None) -> Reading:
        """With usage estimated, but for what is `known`. Something generated is never nothing.

        No usage at all where there was no answer to count: an error in a 200 answer, or a document of another kind.
        """
        if known is None:
            if not self.generated and (self.error is not None or (complete and not self.begun)):
                return self.reading(None, "unchecked", note)
            known = Usage()
        missing = max(tokens(self.size), 1 if self.generated else 0) - known.output_total
        usage = Usage(
            input=known.input if known.input_total else tokens(ask.input_bytes),
            cache_read=known.cache_read,
            cache_write=known.cache_write,
            cache_write_1h=known.cache_write_1h,
            output=known.output + max(0, missing),
            reasoning=known.reasoning,
            audio_input=known.audio_input,
            audio_output=known.audio_output,
            image_input=known.image_input,
            image_output=known.image_output,
            image_cache_read=known.image_cache_read,
            audio_cache_read=known.audio_cache_read,
        )
        reasons, tools, offers = self.finish_reasons(), self.tools, self.offers
        return Reading(
            self.model, self.response_id, reasons, usage, "estimated", "unchecked", note, False, tools, None, offers
        )


class Tally(Protocol):
    """What a dialect makes of an answer's payloads. `seen` is shared with the meter."""

    seen: Seen
    wanted: ClassVar[frozenset[str]]
    """Top-level members, case-folded, worth reading from a document too large to hold."""
    marks: ClassVar[frozenset[str]]
    """Those among them that only an answer has, not an error or something else."""
    finish_name: ClassVar[bytes | None]
    """Name of the member, at any depth, that holds a finish reason; `None` where nothing is generated."""

    def event(self, name: bytes, data: bytes) -> None:
        """One event, or one element of a JSON array."""

    def whole(self, body: bytes) -> None:
        """A JSON document, or what could be read of one. Raises one of `UNREADABLE` if it is none."""

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading: ...


def joined(*parts: str | None) -> str | None:
    """What there is to say, as one note."""
    return "; ".join(part for part in parts if part) or None


def _counted(what: str, number: int) -> str | None:
    return f"{what}: {number}" if number else None


def _note_seen(seen: Seen) -> str | None:
    if seen.error is None and not seen.unread:
        return None
    return joined(
        f"provider's error in the answer: {seen.error}" if seen.error else None,
        _counted("unreadable pieces", seen.unread),
    )


class StreamMeter:
    """Meters an event stream."""

    __slots__ = ("_ask", "_event", "_reader", "_seen", "_tally", "first_token")

    def __init__(self, ask: Ask, tally: Tally, limit: int) -> None:
        self._ask = ask
        self._tally = tally
        self._event = tally.event
        self._seen = tally.seen
        self._reader = Reader(limit)
        self.first_token = False

    @property
    def ended(self) -> bool:
        return self._seen.ended

    def feed(self, data: bytes) -> None:
        for name, payload in self._reader.feed(data):
            self._event(name, payload)
        if self._seen.generated:
            self.first_token = True

    def finish(self, *, complete: bool) -> Reading:
        seen, reader = self._seen, self._reader
        unread, size, generated = seen.unread, seen.size, seen.generated
        for name, payload in reader.finish():
            self._event(name, payload)
        if seen.unread > unread:  # half an event is no surprise
            seen.unread, seen.size, seen.generated = unread, size, generated
        skipped = _counted("events too large to read", reader.skipped)
        if reader.skipped:
            seen.generated = seen.begun = True
        self.first_token = self.first_token or seen.generated
        return self._tally.reading(self._ask, complete=complete, note=joined(_note_seen(seen), skipped))


class ArrayMeter:
    """Meters a JSON array whose elements come one by one (Gemini streams without `alt=sse`), or one object."""

    __slots__ = ("_ask", "_elements", "_tally", "first_token")

    ended = False

    def __init__(self, ask: Ask, tally: Tally, limit: int) -> None:
        self._ask = ask
        self._tally = tally
        self._elements = Elements(limit)
        self.first_token = False

    def feed(self, data: bytes) -> None:
        for element in self._elements.feed(data):
            self._tally.event(b"", element)
        if self._tally.seen.generated:
            self.first_token = True

    def finish(self, *, complete: bool) -> Reading:
        seen, elements = self._tally.seen, self._elements
        if elements.skipped:
            seen.generated = seen.begun = True
        note = joined(
            _note_seen(seen),
            f"answer is no JSON array: {elements.fault}" if elements.fault else None,
            _counted("elements too large to read", elements.skipped),
        )
        whole = elements.fault is not None or (complete and (elements.ended or not elements.opened))
        return self._tally.reading(self._ask, complete=whole, note=note)


class DocumentMeter:
    """Meters one JSON document. `first_token` is its first byte: everything was generated before it came."""

    ended = False
    first_token = False
    _size = 0
    _scanner: Scanner | None = None
    _finishes: FinishWatch | None = None

    def __init__(self, ask: Ask, tally: Tally) -> None:
        self._ask = ask
        self._tally = tally
        self._held: list[bytes] = []

    def feed(self, data: bytes) -> None:
        size = self._size = self._size + len(data)
        self.first_token = self._tally.finish_name is not None
        if size <= HOLD:
            self._held.append(data)
        elif self._scanner is None:
            self._held.append(data)
            self._start_scan()
        else:
            self._scan(self._scanner, data)

    def finish(self, *, complete: bool) -> Reading:
        scanner = self._scanner
        if scanner is None:
            tally = self._tally
            try:
                tally.whole(b"".join(self._held))  # of one piece: that piece, not copied
                return tally.reading(self._ask, complete=True, note=_note_seen(tally.seen))
            except UNREADABLE:
                scanner = self._start_scan()
        return self._finish_scanned(scanner, complete)

    def _start_scan(self) -> Scanner:
        self._scanner = scanner = Scanner(self._tally.wanted)
        name = self._tally.finish_name
        self._finishes = FinishWatch(name) if name else None
        for piece in self._held:
            self._scan(scanner, piece)
        self._held.clear()
        return scanner

    def _scan(self, scanner: Scanner, data: bytes) -> None:
        feed_within(scanner, data, MAX_SLICED_STEPS)
        if self._finishes is not None and scanner.fault is None:
            self._finishes.feed(data)

    def _finish_scanned(self, scanner: Scanner, complete: bool) -> Reading:
        tally, seen = self._tally, self._tally.seen
        scanner.finish()
        names = scanner.names()
        values = scanner.values()
        try:
            tally.whole(_document(values))
        except UNREADABLE:
            seen.unread += 1
            _take_readable(tally, values)
        seen.begun = seen.begun or ("error" not in names and not names.isdisjoint(tally.marks))
        if self._finishes is not None and not seen.finishes:
            for choice, reason in enumerate(self._finishes.found):
                seen.add_finish(choice, reason)
        if seen.begun and tally.finish_name is not None:
            seen.size = max(seen.size, self._size)
            seen.generated = True
        note = joined(
            _note_seen(seen),
            f"answer is larger than {HOLD} bytes: only its top level was read" if self._size > HOLD else None,
            f"answer is no whole JSON object: {scanner.fault}" if scanner.fault else None,
        )
        # What is no JSON object from some byte on was not cut there.
        whole = complete or scanner.fault not in (None, ENDS_EARLY)
        return tally.reading(self._ask, complete=whole, note=note)


def _document(values: dict[str, bytes]) -> bytes:
    """A JSON object of these members."""
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + value for name, value in values.items()) + b"}"


def _take_readable(tally: Tally, values: dict[str, bytes]) -> None:
    """What is left without the members that cannot be read: a bad byte in a text must not cost the usage beside it."""
    readable = {}
    for name, value in values.items():
        try:
            msgspec.json.decode(value)
        except UNREADABLE:
            continue
        readable[name] = value
    try:
        tally.whole(_document(readable))
    except UNREADABLE:
        return


class FinishWatch:
    """Finds finish reasons below the top level of a document that is scanned.

    Sound without knowing where it is: a quote inside a JSON string is escaped, so the bytes `"name":` are a name.
    """

    __slots__ = ("_name", "_pattern", "_tail", "found")

    def __init__(self, name: bytes) -> None:
        self._name = b'"' + name + b'"'
        self._pattern = re.compile(re.escape(self._name) + rb'\s{0,8}:\s{0,8}"([A-Za-z0-9_.-]{1,64})"')
        self._tail = b""
        self.found: list[str] = []

    def feed(self, data: bytes) -> None:
        data = self._tail + data
        end = 0
        if self._name in data:
            for match in self._pattern.finditer(data):
                end = match.end()
                if len(self.found) < MAX_FINISHES:
                    self.found.append(match.group(1).decode())
        self._tail = data[max(end, len(data) - 128) :]


class SilentMeter:
    """For answers with nothing to count: errors, listings, endpoints nobody meters."""

    ended = False
    first_token = False

    def feed(self, data: bytes) -> None:
        """Nothing is read."""

    def finish(self, *, complete: bool) -> Reading:
        return Reading()


def is_event_stream(content_type: str) -> bool:
    return "event-stream" in content_type.lower()


def counts(status: int) -> bool:
    """Whether an answer of this status can have used tokens."""
    return 200 <= status < 300


def meter_answer(ask: Ask, tally: Callable[[], Tally], content_type: str, status: int, limit: int) -> Meter:
    """The meter for an answer that is an event stream or one document. `limit`: bytes of one event."""
    if status != 200 and not counts(status):
        return SilentMeter()
    if content_type != "application/json" and is_event_stream(content_type):
        return StreamMeter(ask, tally(), limit)
    return DocumentMeter(ask, tally())
