"""Anthropic's messages: reading asks, metering answers.

Rules: sans-I/O. `input_tokens` excludes what was read from or written to the cache. A stream reports usage twice: in
`message_start` (input known, output a first guess) and in `message_delta` (cumulative, final with its `stop_reason`;
server tools may have raised the input side by then). A stream cut between the two keeps the first and is estimated.
Sources: `anthropic.types` (`usage`, `message_delta_usage`, `cache_creation`, `output_tokens_details`, raw events).
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from gatehouse.dialects.answer import Seen, meter_answer
from gatehouse.dialects.anthropic_shapes import Block, Body, Delta, Event, Message, UsageObject
from gatehouse.dialects.asking import BodyReader, Read, ReadSlices, model_asked
from gatehouse.dialects.links import messages_links
from gatehouse.dialects.values import UNREADABLE, Loose, count, real, size, text
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, ToolUses, Usage, UsageCheck
from gatehouse.ports import Meter

_SERVER_TOOL: Final = "srvtoolu_"
"""Begins the ids of what the provider's own tools do: no later request brings a result of it."""

_messages: Final = Loose(Message)
_decode_message: Final = _messages.strict
_deltas: Final = Loose(Delta)
_decode_delta: Final = _deltas.strict
_events: Final = Loose(Event)


def _ask(fields: Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(fields.model, route_model)
    return Ask(
        operation="chat",
        model=model,
        stream=fields.stream is True,
        max_output=count(fields.max_tokens),
        temperature=real(fields.temperature),
        top_p=real(fields.top_p),
        links=messages_links(fields.messages),
        input_bytes=size,
        unread=unread or overlong,
    )


class _Reported:
    """Usage as reported so far. Counts are cumulative, so of two the larger is the later one."""

    __slots__ = ("created", "created_1h", "created_5m", "final", "input", "output", "read", "thinking")

    def __init__(self) -> None:
        self.input: int | None = None
        self.read: int | None = None
        self.created: int | None = None
        self.created_5m: int | None = None
        self.created_1h: int | None = None
        self.output: int | None = None
        self.thinking: int | None = None
        self.final = False

    def add(self, usage: UsageObject) -> None:
        self.input = _later(usage.input_tokens, self.input)
        self.read = _later(usage.cache_read_input_tokens, self.read)
        self.created = _later(usage.cache_creation_input_tokens, self.created)
        self.output = _later(usage.output_tokens, self.output)
        if usage.cache_creation is not None:
            self.created_5m = _later(usage.cache_creation.ephemeral_5m_input_tokens, self.created_5m)
            self.created_1h = _later(usage.cache_creation.ephemeral_1h_input_tokens, self.created_1h)
        if usage.output_tokens_details is not None:
            self.thinking = _later(usage.output_tokens_details.thinking_tokens, self.thinking)

    def parts(self) -> tuple[Usage, UsageCheck]:
        """Disjoint parts. The only totals to check are those of cache writes and of thinking."""
        output = self.output or 0
        thinking = self.thinking or 0
        check: UsageCheck = "unchecked"
        short, long = self.created_5m or 0, self.created_1h or 0
        if self.created is None or (self.created_5m is None and self.created_1h is None):
            short = self.created or short
        elif short + long == self.created:
            check = "ok"
        elif short + long < self.created:
            # Written after the break-down was given: with the lifetime that the rest was written with.
            more = self.created - short - long
            short, long = (short, long + more) if long and not short else (short + more, long)
        else:
            check = "mismatch"
        if thinking > output:
            thinking, check = output, "mismatch"
        usage = Usage(
            input=self.input or 0,
            cache_read=self.read or 0,
            cache_write=short,
            cache_write_1h=long,
            output=output - thinking,
            reasoning=thinking,
        )
        return usage, check


def _later(value: object, before: int | None) -> int | None:
    number = count(value)
    if number is None or before is None:
        return before if number is None else number
    return max(before, number)


def _generated(block: Block) -> int:
    """UTF-8 bytes of what a block, or a delta, holds."""
    total = 0
    for value in (block.text, block.thinking, block.partial_json, block.name, block.input, block.data):
        if value:
            total += size(value)
    return total


class _MessageTally:
    """Adds up a stream's events, or one whole message."""

    __slots__ = ("_reported", "seen")

    wanted: ClassVar = frozenset({"id", "model", "type", "content", "stop_reason", "usage", "error"})
    marks: ClassVar = frozenset({"content", "usage"})
    finish_name: ClassVar[bytes | None] = b"stop_reason"

    def __init__(self) -> None:
        self.seen = Seen()
        self._reported: _Reported | None = None

    def event(self, name: bytes, data: bytes) -> None:
        try:
            if name == b"content_block_delta":
                try:
                    delta = _decode_delta(data).delta
                except UNREADABLE:
                    delta = _deltas.decode(data).delta
                self._block(delta)
            elif name == b"message_stop":
                self.seen.ended = True
            elif name not in (b"content_block_stop", b"ping"):
                self._other(_events.decode(data))
        except UNREADABLE:
            self.seen.add_unread(data)

    def whole(self, body: bytes) -> None:
        try:
            message = _decode_message(body)
        except msgspec.ValidationError:
            message = _messages.decode(body)
        seen = self.seen
        if message.error is not None:
            seen.add_error(message.error.type)
            return
        self._message(message)
        seen.begun = message.content is not None or message.usage is not None
        if self._reported is not None:
            self._reported.final = True

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        seen, reported = self.seen, self._reported
        if reported is None:
            return seen.estimate(ask, None, complete=complete, note=note)
        usage, check = reported.parts()
        whole = reported.final and reported.input is not None and reported.output is not None
        if whole and (usage.output_total or not seen.generated):
            return seen.reading(usage, check, note)
        return seen.estimate(ask, usage, complete=complete, note=note)

    def _block(self, block: Block | None) -> None:
        if block is not None:
            if type(block.id) is str and not block.id.startswith(_SERVER_TOOL):
                self.seen.add_offer(block.id)
            generated = _generated(block)
            if generated:
                self.seen.generated = True
                self.seen.size += generated

    def _message(self, message: Message) -> None:
        seen = self.seen
        seen.model = text(message.model) or seen.model
        seen.response_id = text(message.id) or seen.response_id
        seen.add_finish(0, message.stop_reason)
        for block in message.content or ():
            self._block(block)
        if message.usage is not None:
            self._usage(message.usage)

    def _usage(self, usage: UsageObject) -> None:
        if self._reported is None:
            self._reported = _Reported()
        self._reported.add(usage)
        used = usage.server_tool_use
        if used is not None:
            before = self.seen.tools or ToolUses()
            self.seen.tools = ToolUses(
                web_search=_later(used.web_search_requests, before.web_search) or 0,
                web_fetch=_later(used.web_fetch_requests, before.web_fetch) or 0,
            )

    def _other(self, event: Event) -> None:
        seen = self.seen
        if event.error is not None:
            seen.add_error(event.error.type)
            return
        if event.message is not None:
            seen.begun = True
            self._message(event.message)
        self._block(event.content_block)
        if event.delta is not None:
            self._block(event.delta)
            seen.add_finish(0, event.delta.stop_reason)
        if event.usage is not None:
            seen.begun = True
            self._usage(event.usage)
            if self._reported is not None and seen.finishes:
                self._reported.final = True


_asks: Final = BodyReader(Body, _ask)
read: Final[Read] = _asks.read
"""(body, the path's model) → what a request for a message asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, _MessageTally, content_type, status, DEFAULT_LIMIT)
