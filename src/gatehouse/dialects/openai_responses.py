"""OpenAI's responses, also as Azure and the compatible providers speak them: reading asks, metering answers.

Rules: sans-I/O. Answers are decoded strictly; what that refuses is decoded tolerantly into the same types and tidied.
A response is the same object in a JSON answer and inside a stream's events; its usage is final once its status is, and
before that a lower bound for an estimate. What a stream generates comes in `….delta` events; an item that was never
streamed counts when it is done. Unknown events are ignored.

An answer with `background` is `queued` or `in_progress`: what it will use is not known yet, which is not nothing. It
has no usage, and a note that says so; whoever reads the response later finds it. Where the provider adds an earlier
conversation to the prompt, an estimate from the body's size is too low, and says so. What hosted tools use is charged
beside `usage`: how often they ran is counted, and the tokens of generated images are noted.
Sources: `openai.types.responses` (`response`, `response_usage`, `response_status`, `response_stream_event` and each of
its events, `response_output_item`); Azure's `error` events (openai/openai-dotnet issue 881); genai-prices' extractors.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from gatehouse.dialects.answer import MAX_FINISH, Seen, Word, joined, meter_answer
from gatehouse.dialects.asking import BodyReader, Read, ReadSlices, model_asked
from gatehouse.dialects.links import input_links
from gatehouse.dialects.openai_chat import take_error
from gatehouse.dialects.openai_responses_shapes import Body, Event, Item, Kind, Response, ResponseUsage
from gatehouse.dialects.openai_shapes import UsageObject
from gatehouse.dialects.openai_tokens import take_apart, tidied
from gatehouse.dialects.values import UNREADABLE, Count, Loose, Text, count, real, size, text
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, ToolUses
from gatehouse.ports import Meter

PIECE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of one event: the last one repeats what was generated, images as well, and has the usage."""

_events: Final = Loose(Event)
_items: Final = Loose(Item)
_decode_response: Final = msgspec.json.Decoder(Response[Text, Word, Count]).decode
_responses: Final = Loose(Response[Any, Any, Any])
_decode_kind: Final = msgspec.json.Decoder(Kind).decode
_decode_kinds: Final = msgspec.json.Decoder(list[Kind]).decode
_decode_output: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

_FINAL: Final = frozenset(("completed", "incomplete", "failed", "cancelled"))
_PENDING: Final = frozenset(("queued", "in_progress"))
_LAST_EVENTS: Final = frozenset(f"response.{status}" for status in _FINAL)
_NOTHING: Final = b"null"

_CALL: Final = b'_call"'
"""Stands in every kind of tool call."""
_HOSTED: Final = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_execution",
    "image_generation_call": "image_generation",
}
"""The provider's own tools, as `ToolUses` names them."""

_TOOLS_OUTPUT: Final = "response.shell_call_output_content.delta"
"""Comes from a tool, not from the model."""
_AUDIO: Final = "response.audio.delta"
"""Its transcript is what counts."""

_PENDING_NOTE: Final = "generated in the background: what it uses is not known yet"
_CONTINUES_NOTE: Final = "estimated without the earlier conversation, which the provider adds"


def _ask(fields: Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(fields.model, route_model)
    conversation = fields.conversation
    if type(conversation) is dict:
        conversation = conversation.get("id")
    previous, conversation = text(fields.previous_response_id), text(conversation)
    return Ask(
        operation="chat",
        model=model,
        stream=fields.stream is True,
        max_output=count(fields.max_output_tokens),
        temperature=real(fields.temperature),
        top_p=real(fields.top_p),
        background=fields.background is True,
        continues=previous or conversation,
        links=input_links(fields.input, previous, conversation),
        input_bytes=size,
        unread=unread or overlong,
    )


def _tidied(response: Response[Any, Any, Any]) -> Response[str, str, int]:
    """A response of tolerantly decoded members, as the strict decoder would have it."""
    response.id = text(response.id)
    response.model = text(response.model)
    response.status = text(response.status, MAX_FINISH)
    if response.incomplete_details is not None:
        response.incomplete_details.reason = text(response.incomplete_details.reason, MAX_FINISH)
    usage = tidied(response.usage)
    if usage is not None:
        response.usage = ResponseUsage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            prompt_tokens_details=usage.prompt_tokens_details,
            completion_tokens_details=usage.completion_tokens_details,
        )
    return response


def _generated(data: bytes) -> int:
    """UTF-8 bytes of what the model wrote in an item of the output; of all of it where nobody can tell."""
    try:
        item = _items.decode(data)
    except UNREADABLE:
        return 0 if data == _NOTHING else len(data)
    action = item.action
    if type(action) is dict and "sources" in action:  # what a search found
        action = {name: value for name, value in action.items() if name != "sources"}
    written = _parts(item.content) + _parts(item.summary)
    if not written and item.encrypted_content:
        written = size(item.encrypted_content)
    for value in (item.name, item.arguments, item.input, item.code, action, item.actions, item.operation, item.queries):
        if value:
            written += size(value)
    return written


def _parts(content: object) -> int:
    """The same of a list of parts: text, a refusal, a transcript. What else they hold is not the model's."""
    if type(content) is not list:
        return size(content)
    written = 0
    for part in content:
        if type(part) is dict:
            for name in ("text", "refusal", "transcript"):
                if part.get(name):
                    written += size(part[name])
    return written


def _searches(used: object) -> int | None:
    """How often the hosted search ran, as reported."""
    searches = used.get("web_search") if type(used) is dict else None
    return count(searches.get("num_requests")) if type(searches) is dict else None


def _kinds(output: bytes) -> list[Kind]:
    try:
        return _decode_kinds(output)
    except UNREADABLE:
        return []


def _images(used: object) -> str | None:
    """What generating images used, in words; `None` if nothing is reported."""
    if type(used) is not dict:
        return None
    images = used.get("image_gen")
    tokens = count(images.get("total_tokens")) if type(images) is dict else None
    return f"charged beside usage: tokens of generated images: {tokens}" if tokens else None


class ResponseTally:
    """Adds up a stream's events, or one whole response."""

    wanted: ClassVar = frozenset(
        {"id", "model", "status", "incomplete_details", "usage", "tool_usage", "output", "error"}
    )
    marks: ClassVar = frozenset({"status", "usage", "output"})
    finish_name: ClassVar[bytes | None] = b"status"

    _reported: UsageObject[int] | None = None
    _at_end = False
    """Usage was reported when the response's status was final."""
    _pending = False
    """The whole answer says that it is still to be generated."""
    _streamed = 0
    """Bytes counted of items that are not done."""
    _hosted: str | None = None
    """What hosted tools used."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._ran: dict[str, int] = {}
        """The provider's tools."""

    def event(self, name: bytes, data: bytes) -> None:
        seen = self.seen
        try:
            event = _events.decode(data)
            kind = event.type if type(event.type) is str else name.decode("utf-8", "replace")
            if kind.endswith(".delta"):
                self._delta(kind, event.delta)
            elif kind == "response.output_item.added":
                self._add(_generated(bytes(event.item)))
            elif kind == "response.output_item.done":
                self._item_done(_generated(bytes(event.item)))
                self._called([_decode_kind(event.item)])
            elif kind == "error":
                self._error(event)
            elif event.error is not None:
                take_error(seen, event.error)
            else:
                self._whole_event(kind in _LAST_EVENTS, bytes(event.response))
        except UNREADABLE:
            if data.startswith(b"[DONE]"):
                seen.ended = True
            else:
                seen.add_unread(data)

    def whole(self, body: bytes) -> None:
        response = self._decode(body)
        seen, usage, output = self.seen, response.usage, bytes(response.output)
        if output != _NOTHING:
            seen.begun = True
            if _CALL in output:
                self._called(_kinds(output))
            # With both sides reported, and output, nothing is left to estimate.
            if usage is None or not usage.completion_tokens or usage.prompt_tokens is None:
                self._output(output)
        self._pending = response.status in _PENDING and (usage is None or not usage.completion_tokens)
        self._take(response, not self._pending)

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        seen = self.seen
        if self._ran:
            seen.tools = ToolUses(**self._ran)
        counted = take_apart(self._reported) if self._reported is not None else None
        if counted is not None and counted.whole and self._at_end:
            usage = counted.usage
            # No output for what was generated: whatever the provider says, that was not for nothing.
            if usage.output_total or not seen.generated:
                return seen.reading(usage, counted.check, joined(note, self._hosted))
        # A stream that was cut says nothing of what is generated after it.
        if self._pending or (ask.background and not seen.ended and (seen.begun or not complete)):
            return msgspec.structs.replace(seen.reading(None, "unchecked", joined(note, _PENDING_NOTE)), uncounted=True)
        known = counted.usage if counted is not None else None
        reading = seen.estimate(ask, known, complete=complete, note=note)
        if reading.usage is None:
            return reading
        return msgspec.structs.replace(
            reading,
            note=joined(
                note,
                self._hosted,
                _CONTINUES_NOTE if ask.continues is not None and (known is None or not known.input_total) else None,
            ),
        )

    @staticmethod
    def _decode(data: bytes) -> Response[str, str, int]:
        try:
            return _decode_response(data)
        except UNREADABLE:
            return _tidied(_responses.decode(data))

    def _whole_event(self, last: bool, response: bytes) -> None:
        """An event that brings the response as it stands, if any."""
        if last:
            self.seen.ended = True
        if response != _NOTHING:
            decoded = self._decode(response)
            self.seen.begun = True
            self._take(decoded, last or decoded.status in _FINAL)

    def _take(self, response: Response[str, str, int], final: bool) -> None:
        """`final`: nothing more will be generated."""
        seen = self.seen
        seen.model = response.model or seen.model
        seen.response_id = response.id or seen.response_id
        status, details = response.status, response.incomplete_details
        if status:
            seen.begun = True
            if status in _FINAL:
                seen.ended = True
                seen.finishes[0] = (details.reason if details is not None else None) or status
        if response.usage is not None:
            seen.begun = True
            self._reported = response.usage
            self._at_end = final
        seen.add_offer(response.id)
        self._hosted = _images(response.tool_usage) or self._hosted
        searches = _searches(response.tool_usage)
        if searches:
            self._ran["web_search"] = searches
        if response.error is not None:
            take_error(seen, response.error)

    def _called(self, items: list[Kind]) -> None:
        """Which of the items are calls: of the caller's tools, whose results the next request brings, or hosted."""
        for item in items:
            self.seen.add_offer(item.call_id)
            tool = _HOSTED.get(item.type) if type(item.type) is str else None
            # A search opens pages and looks through them as well: only searching is charged.
            opened = type(item.action) is dict and item.action.get("type") not in (None, "search")
            if tool is not None and not opened:
                self._ran[tool] = self._ran.get(tool, 0) + 1

    def _output(self, output: bytes) -> None:
        try:
            items = _decode_output(output)
        except UNREADABLE:
            self._add(len(output))
        else:
            for item in items:
                self._add(_generated(bytes(item)))

    def _error(self, event: Event) -> None:
        if event.error is not None:
            take_error(self.seen, event.error)
        else:
            self.seen.add_error(event.code)

    def _delta(self, kind: str, delta: object) -> None:
        if kind == _AUDIO:
            self._add(min(1, size(delta)))
        elif kind != _TOOLS_OUTPUT:
            self._add(size(delta))

    def _add(self, generated: int) -> None:
        if generated:
            self.seen.generated = True
            self.seen.size += generated
            self._streamed += generated

    def _item_done(self, generated: int) -> None:
        """An item is complete: what of it was not streamed counts now."""
        self._add(generated - min(generated, self._streamed))
        self._streamed -= generated


class _StoredTally(ResponseTally):
    """Of a response that an earlier call began: nothing, until the provider says what all of it used."""

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        found = super().reading(ask, complete=complete, note=note)
        if found.source != "provider" or not self.seen.ended:
            return Reading()  # of one that goes on, what it has used so far is not all of it
        # What a later request may go on from, the earlier call has offered.
        return msgspec.structs.replace(found, stored=True, offers=())


_asks: Final = BodyReader(Body, _ask)
read: Final[Read] = _asks.read
"""(body, the path's model) → what a request for a response asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


def meter(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for an answer."""
    return meter_answer(ask, ResponseTally, content_type, status, PIECE_LIMIT)


def meter_stored(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for the same response, read again or cancelled."""
    return meter_answer(ask, _StoredTally, content_type, status, PIECE_LIMIT)
