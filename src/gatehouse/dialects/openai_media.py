"""OpenAI's images, speech, transcription and translation: reading asks, metering answers.

Rules: sans-I/O. Usage is what the provider reported or nothing: neither images nor audio can be estimated from bytes,
so what was not reported is unknown, never zero. Answers that are no JSON (audio, subtitles) are not looked into.
Requests that are forms are streamed and not read: of those the ask is what the path says. Of generated images, output
that is not split (no stream splits it) is image tokens. SVG authoring is another model's usage beside the image's:
noted, not counted. Streams hold one image (OpenAI refuses `n` above 1 there), so that the event that completes it is
the last word.
Sources: `openai.types` (`images_response`, `image_gen_*_event`, `image_edit_*_event`, `audio.transcription*`,
`audio.speech_create_params`), OpenAI's schema of `speech.audio.done`, genai-prices' `images` extractor; Mistral's
transcriptions name their counts as chat does.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from gatehouse.dialects.answer import DocumentMeter, Seen, SilentMeter, StreamMeter, counts, is_event_stream, joined
from gatehouse.dialects.asking import BodyReader, answers, model_asked
from gatehouse.dialects.openai_chat import take_error
from gatehouse.dialects.values import UNREADABLE, Loose, count, real, size, text
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, Usage, UsageCheck
from gatehouse.ports import Meter

PIECE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of one event: a finished image comes in one, together with the usage."""

_MADE: Final = (".delta", ".partial_image", ".completed", ".segment")
"""What the type of an event that brings content ends with."""
_LAST: Final = (".done", ".completed")


class _Body(msgspec.Struct):
    model: Any = None
    n: Any = None
    stream: Any = None
    stream_format: Any = None


class _Split(msgspec.Struct, gc=False):
    """Tokens of one side by what they stand for."""

    text_tokens: Any = None
    image_tokens: Any = None
    audio_tokens: Any = None


class _Usage(msgspec.Struct):
    """A `usage` object: of tokens, or of seconds."""

    input_tokens: Any = None
    prompt_tokens: Any = None
    output_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    seconds: Any = None
    input_tokens_details: _Split | None = None
    input_token_details: _Split | None = None
    output_tokens_details: _Split | None = None


class _SvgUsage(msgspec.Struct, gc=False):
    model: Any = None
    input_tokens: Any = None
    output_tokens: Any = None


class _Answer(msgspec.Struct):
    """A whole answer, or one event of a stream. `code`: an `error` event may carry its own at the top."""

    type: Any = None
    id: Any = None
    model: Any = None
    created: Any = None
    text: Any = None
    delta: Any = None
    duration: Any = None
    usage: _Usage | None = None
    svg_usage: _SvgUsage | None = None
    code: Any = None
    error: Any = None


_answers: Final = Loose(_Answer)
_NO_SPLIT: Final = _Split()


class _Counted(NamedTuple):
    usage: Usage
    check: UsageCheck
    note: str | None


def _first(*values: object) -> int | None:
    """The first that is a count."""
    for value in values:
        number = count(value)
        if number is not None:
            return number
    return None


def _take_apart(reported: _Usage, *, hears: bool, speaks: bool, draws: bool) -> _Counted | None:
    """Disjoint parts; `None` where the tokens of a side, or all of them, are missing."""
    entered = _first(reported.input_tokens, reported.prompt_tokens)
    made = _first(reported.output_tokens, reported.completion_tokens)
    if entered is None or made is None or not entered + made:
        return None
    total = count(reported.total_tokens)
    check: UsageCheck = "unchecked" if total is None else "ok" if total == entered + made else "mismatch"
    into = reported.input_tokens_details or reported.input_token_details or _NO_SPLIT
    out = reported.output_tokens_details or _NO_SPLIT
    if _split_sum(into) > entered or _split_sum(out) > made:
        check = "mismatch"
    heard, note = 0, None
    if hears:
        written, sounds = count(into.text_tokens), count(into.audio_tokens)
        if sounds is None:
            sounds = entered - min(written or 0, entered)
            note = "the input's tokens were not split: all counted as audio" if written is None else note
        heard = min(sounds, entered)
    seen = min(count(into.image_tokens) or 0, entered - heard)
    spoken = made if speaks else 0
    drawn = _drawn(out, made) if draws else 0
    usage = Usage(
        input=entered - heard - seen,
        audio_input=heard,
        image_input=seen,
        output=made - spoken - drawn,
        audio_output=spoken,
        image_output=drawn,
    )
    return _Counted(usage, check, note)


def _drawn(out: _Split, made: int) -> int:
    """Image tokens among those `made`: as reported, else what is not text."""
    images = count(out.image_tokens)
    return made - min(count(out.text_tokens) or 0, made) if images is None else min(images, made)


def _split_sum(split: _Split) -> int:
    return sum(count(value) or 0 for value in (split.text_tokens, split.image_tokens, split.audio_tokens))


def _note_svg(usage: _SvgUsage) -> str:
    author = text(usage.model, 64) or "another model"
    entered, made = count(usage.input_tokens) or 0, count(usage.output_tokens) or 0
    return f"not counted: SVG authoring by {author}, {entered} input and {made} output tokens"


class _MediaTally:
    """Takes a whole answer, or the events of a stream. `hears`: the prompt is audio; `speaks`: the answer is; `draws`:
    the answer is images.
    """

    __slots__ = ("_draws", "_hears", "_reported", "_seconds", "_speaks", "_svg", "seen")

    wanted: ClassVar = frozenset({"id", "model", "created", "data", "text", "duration", "usage", "svg_usage", "error"})
    marks: ClassVar = frozenset({"data", "text", "usage"})
    finish_name: ClassVar[bytes | None] = b"finish_reason"

    def __init__(self, *, hears: bool = False, speaks: bool = False, draws: bool = False) -> None:
        self.seen = Seen()
        self._draws = draws
        self._hears = hears
        self._speaks = speaks
        self._reported: _Usage | None = None
        self._seconds: float | None = None
        self._svg: str | None = None

    def event(self, name: bytes, data: bytes) -> None:
        if data.startswith(b"[DONE]"):
            self.seen.ended = True
            return
        try:
            event = _answers.decode(data)
        except UNREADABLE:
            self.seen.add_unread(data)
            return
        kind = text(event.type) or name.decode("utf-8", "replace")
        seen = self.seen
        if kind == "error" or event.error is not None:
            take_error(seen, {"code": event.code} if event.error is None else event.error)
            return
        seen.begun = True
        if kind.endswith(_MADE):
            seen.generated = True
            seen.size += size(event.delta)
        if kind.endswith(_LAST):
            seen.ended = True
        self._take(event)

    def whole(self, body: bytes) -> None:
        answer = _answers.decode(body)
        if answer.error is not None:
            take_error(self.seen, answer.error)
            return
        self.seen.begun = not (answer.created is None and answer.text is None and answer.usage is None)
        self._take(answer)

    def reading(self, ask: Ask, *, complete: bool, note: str | None) -> Reading:
        seen, reported = self.seen, self._reported
        counted = None
        if reported is not None:
            counted = _take_apart(reported, hears=self._hears, speaks=self._speaks, draws=self._draws)
        if counted is None:
            why = self._why(complete)
            note = joined(note, why, self._svg)
            return Reading(seen.model, seen.response_id, note=note, uncounted=why is not None)
        return seen.reading(counted.usage, counted.check, joined(note, counted.note, self._svg))

    def _take(self, answer: _Answer) -> None:
        seen = self.seen
        seen.model = seen.model or text(answer.model)
        seen.response_id = seen.response_id or text(answer.id)
        seconds = real(answer.duration)
        if answer.usage is not None:
            self._reported = answer.usage
            seconds = real(answer.usage.seconds) or seconds
        self._seconds = seconds or self._seconds
        if answer.svg_usage is not None:
            self._svg = _note_svg(answer.svg_usage)

    def _why(self, complete: bool) -> str | None:
        """Why there is no usage, of what was an answer or was cut before it could show."""
        seen = self.seen
        if seen.error is not None or (complete and not (seen.begun or seen.generated)):
            return None
        if self._seconds is not None:
            return f"no tokens were reported; {self._seconds:g} seconds of audio"
        return "no tokens were reported" if complete else "the answer ended before any tokens were reported"


class _OpaqueMeter:
    """For answers that are no JSON: audio, subtitles, text. Never looked into; `first_token` is their first byte."""

    ended = False
    first_token = False

    def feed(self, data: bytes) -> None:
        self.first_token = self.first_token or bool(data)

    def finish(self, *, complete: bool) -> Reading:
        if complete and not self.first_token:
            return Reading()
        return Reading(note="answer is no JSON: not read, its usage is unknown", uncounted=True)


def _ask(operation: str, fields: _Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(fields.model, route_model)
    choices, odd = answers(fields.n)
    return Ask(
        operation=operation,
        model=model,
        stream=fields.stream is True or fields.stream_format == "sse",
        choices=choices,
        input_bytes=size,
        unread=unread or overlong,
        odd=odd,
    )


def reader(operation: str) -> BodyReader[_Body]:
    """Reads JSON requests. `operation`: `image_generation`, `speech` …"""
    return BodyReader(_Body, partial(_ask, operation))


class FormReader:
    """Reads requests that are forms with OpenAI and JSON with some others. A form is not read."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._json = reader(operation)

    def read(self, body: bytes, route_model: str | None) -> Ask:
        """What a request asks. `route_model`: the model its path names."""
        return self._json.read(body, route_model) if _is_object(body) else self._form(body, route_model)

    def read_slices(self, body: bytes, route_model: str | None) -> Generator[None, None, Ask]:
        """The same for a large body; yields between slices."""
        if _is_object(body):
            return (yield from self._json.read_slices(body, route_model))
        return self._form(body, route_model)

    def _form(self, body: bytes, route_model: str | None) -> Ask:
        return Ask(operation=self._operation, model=route_model, input_bytes=len(body))


def _is_object(body: bytes) -> bool:
    return body[:64].lstrip().startswith(b"{")


def meter_images(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for images, generated or edited."""
    return _meter(_MediaTally(draws=True), ask, content_type, status)


def meter_speech(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for speech: audio, or events with `stream_format: "sse"`."""
    return _meter(_MediaTally(speaks=True), ask, content_type, status)


def meter_transcript(ask: Ask, content_type: str, status: int) -> Meter:
    """The meter for transcriptions and translations."""
    return _meter(_MediaTally(hears=True), ask, content_type, status)


def _meter(tally: _MediaTally, ask: Ask, content_type: str, status: int) -> Meter:
    if not counts(status):
        return SilentMeter()
    if is_event_stream(content_type):
        return StreamMeter(ask, tally, PIECE_LIMIT)
    if content_type and "json" not in content_type.lower():
        return _OpaqueMeter()
    return DocumentMeter(ask, tally)
