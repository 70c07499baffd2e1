"""dialects/openai_media.py: usage of images and audio as reported, never guessed; forms and audio are not read.

Forms from `openai.types` (`images_response`, `image_gen_*_event`, `image_edit_*_event`, `audio.transcription*`) and
OpenAI's schema of `speech.audio.*`, which the SDK has no types for.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import ImageEditCompletedEvent, ImageGenCompletedEvent, ImagesResponse
from openai.types.audio import Transcription, TranscriptionTextDoneEvent

from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading, Usage
from tests.dialects.metering import first_token_at, metered, provider
from tests.dialects.samples import CUTS, JSON, OPENAI_ANSWER, SSE

GENERATION: tuple[Dialect, str] = ("openai", "image_generation")
EDIT: tuple[Dialect, str] = ("openai", "image_edit")
VARIATION: tuple[Dialect, str] = ("openai", "image_variation")
SPEECH: tuple[Dialect, str] = ("openai", "speech")
TRANSCRIPTION: tuple[Dialect, str] = ("openai", "transcription")
TRANSLATION: tuple[Dialect, str] = ("openai", "translation")
MEDIA = (GENERATION, EDIT, VARIATION, SPEECH, TRANSCRIPTION, TRANSLATION)

IMAGE_USAGE: dict[str, Any] = {
    "input_tokens": 244,
    "input_tokens_details": {"image_tokens": 194, "text_tokens": 50},
    "output_tokens": 4175,
    "output_tokens_details": {"image_tokens": 4160, "text_tokens": 15},
    "total_tokens": 4419,
}
IMAGE_PARTS = Usage(input=50, image_input=194, output=15, image_output=4160)
STREAMED_PARTS = Usage(input=50, image_input=194, image_output=4175)
"""`EVENT_USAGE`: events do not split their output, which is "the number of image tokens in the output image"."""
IMAGES: dict[str, Any] = {"created": 1757000000, "background": "opaque", "data": [{"b64_json": "iVBORw0KGgo="}]}
IMAGE_EVENT: dict[str, Any] = {
    "b64_json": "iVBORw0KGgo=",
    "background": "opaque",
    "created_at": 1757000000,
    "output_format": "png",
    "quality": "high",
    "size": "1024x1024",
}
EVENT_USAGE = {key: value for key, value in IMAGE_USAGE.items() if key != "output_tokens_details"}
HEARD: dict[str, Any] = {
    "type": "tokens",
    "input_tokens": 131,
    "input_token_details": {"text_tokens": 3, "audio_tokens": 128},
    "output_tokens": 40,
    "total_tokens": 171,
}
SPOKEN = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}


def document(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def stream(*events: dict[str, Any], named: bool = True) -> bytes:
    pieces = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        pieces.append(f"{name}data: {json.dumps(event, separators=(',', ':'))}\n\n")
    return "".join(pieces).encode()


def image_stream(kind: str) -> bytes:
    partial = [{"type": f"{kind}.partial_image", "partial_image_index": index, **IMAGE_EVENT} for index in (0, 1)]
    return stream(*partial, {"type": f"{kind}.completed", "usage": EVENT_USAGE, **IMAGE_EVENT})


TRANSCRIPT_STREAM = stream(
    {"type": "transcript.text.delta", "delta": "The lamp"},
    {"type": "transcript.text.delta", "delta": " is lit."},
    {"type": "transcript.text.done", "text": "The lamp is lit.", "usage": HEARD},
)
SPEECH_STREAM = stream(
    {"type": "speech.audio.delta", "audio": "SUQzBAAAAAA="},
    {"type": "speech.audio.delta", "audio": "//uQxAAAAAA="},
    {"type": "speech.audio.done", "usage": SPOKEN},
)
STREAMS: dict[str, tuple[tuple[Dialect, str], bytes, Usage, str | None]] = {
    "generation": (
        GENERATION,
        image_stream("image_generation"),
        STREAMED_PARTS,
        None,
    ),
    "edit": (
        EDIT,
        image_stream("image_edit"),
        STREAMED_PARTS,
        None,
    ),
    "transcription": (TRANSCRIPTION, TRANSCRIPT_STREAM, Usage(input=3, audio_input=128, output=40), None),
    "speech": (SPEECH, SPEECH_STREAM, Usage(input=14, audio_output=101), None),
}


def test_the_samples_are_what_the_sdk_expects() -> None:
    ImagesResponse.model_validate({**IMAGES, "usage": IMAGE_USAGE}, strict=True)
    ImageGenCompletedEvent.model_validate({"type": "image_generation.completed", "usage": EVENT_USAGE, **IMAGE_EVENT})
    ImageEditCompletedEvent.model_validate({"type": "image_edit.completed", "usage": EVENT_USAGE, **IMAGE_EVENT})
    Transcription.model_validate({"text": "x", "usage": HEARD}, strict=True)
    Transcription.model_validate({"text": "x", "usage": {"type": "duration", "seconds": 9.5}}, strict=True)
    TranscriptionTextDoneEvent.model_validate({"type": "transcript.text.done", "text": "x", "usage": HEARD})


def test_json_asks_are_read() -> None:
    body = b'{"model":"gpt-image-1","prompt":"a lamp","n":2,"stream":true,"partial_images":1}'
    ask = for_endpoint(*GENERATION).read(body, None)
    assert ask == Ask("image_generation", "gpt-image-1", True, choices=2, input_bytes=len(body))
    body = b'{"input":"hi","model":"gpt-4o-mini-tts","voice":"alloy","stream_format":"sse"}'
    assert for_endpoint(*SPEECH).read(body, None) == Ask("speech", "gpt-4o-mini-tts", True, input_bytes=len(body))
    assert not for_endpoint(*SPEECH).read(body.replace(b"sse", b"audio"), None).stream
    assert for_endpoint(*SPEECH).read(b"oops", "deployed").unread is not None
    body = b' {"model":"grok-imagine","prompt":"x","image":{"url":"data:"}}'
    assert for_endpoint(*EDIT).read(body, None) == Ask("image_edit", "grok-imagine", input_bytes=len(body))


@pytest.mark.parametrize("route", [EDIT, VARIATION, TRANSCRIPTION, TRANSLATION])
@pytest.mark.parametrize(
    "body", [b"", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x--']
)
def test_of_a_form_the_ask_is_what_the_path_says(route: tuple[Dialect, str], body: bytes) -> None:
    """Whether it came in one piece or is streamed past."""
    entry = for_endpoint(*route)
    expected = Ask(route[1], "deployed", input_bytes=len(body))
    assert entry.read(body, "deployed") == expected
    slices = entry.read_slices(body, "deployed")
    with pytest.raises(StopIteration) as done:
        next(slices)
    assert done.value.value == expected


@pytest.mark.parametrize("route", [GENERATION, EDIT, SPEECH])
def test_a_large_ask_is_read_in_slices(route: tuple[Dialect, str]) -> None:
    body = b'{"model":"m","image":"' + b"QUJD" * 600_000 + b'","n":1}'
    slices = for_endpoint(*route).read_slices(body, None)
    turns = 0
    while True:
        try:
            next(slices)
            turns += 1
        except StopIteration as done:
            assert done.value == for_endpoint(*route).read(body, None)
            break
    assert turns >= 1


@given(CUTS)
def test_an_images_answer(cuts: list[int]) -> None:
    for route in (GENERATION, EDIT, VARIATION):
        reading = metered(route, document({**IMAGES, "usage": IMAGE_USAGE}), cuts=cuts)
        assert provider(reading) == IMAGE_PARTS
        assert (reading.check, reading.note, reading.uncounted) == ("ok", None, False)


@pytest.mark.parametrize(
    ("usage", "expected", "check"),
    [
        ({"input_tokens": 9, "output_tokens": 4}, Usage(input=9, image_output=4), "unchecked"),
        (
            {"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"text_tokens": 1}},
            Usage(input=9, output=1, image_output=3),
            "unchecked",
        ),
        (
            {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13, "input_tokens_details": {"image_tokens": 10}},
            Usage(image_input=9, image_output=4),
            "mismatch",
        ),
        (
            {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13, "output_tokens_details": {"image_tokens": 5}},
            Usage(input=9, image_output=4),
            "mismatch",
        ),
    ],
)
def test_tokens_of_images(usage: dict[str, Any], expected: Usage, check: str) -> None:
    reading = metered(GENERATION, document({**IMAGES, "usage": usage}))
    assert provider(reading) == expected
    assert (reading.check, reading.note) == (check, None)


def test_images_of_several_megabytes_are_scanned_i9() -> None:
    answer = {**IMAGES, "data": [{"b64_json": "iVBORw0KGgo" * 100_000}] * 3, "usage": IMAGE_USAGE}
    body = document(answer)
    reading = metered(GENERATION, body, cuts=list(range(0, len(body), 65_536)))
    assert provider(reading) == IMAGE_PARTS
    assert reading.note is not None and "image tokens" not in reading.note
    large = {"type": "image_generation.completed", **IMAGE_EVENT, "b64_json": "QUJD" * 1_000_000, "usage": EVENT_USAGE}
    body = stream(large)
    reading = metered(GENERATION, body, SSE, cuts=list(range(0, len(body), 65_536)))
    assert provider(reading) == STREAMED_PARTS


def test_an_event_too_large_to_read_makes_usage_unknown_i9() -> None:
    large = {"type": "image_generation.completed", **IMAGE_EVENT, "b64_json": "QUJD" * 2_200_000, "usage": EVENT_USAGE}
    reading = metered(GENERATION, stream(large), SSE)
    assert (reading.usage, reading.uncounted) == (None, True)
    assert reading.note == "events too large to read: 1; no tokens were reported"


@pytest.mark.parametrize("kind", sorted(STREAMS))
def test_any_split_of_a_stream_gives_the_same_reading(kind: str) -> None:
    route, body, usage, note = STREAMS[kind]
    whole = metered(route, body, SSE)
    assert provider(whole) == usage
    assert (whole.check, whole.note, whole.uncounted) == ("ok", note, False)
    for at in range(len(body)):
        assert metered(route, body, SSE, cuts=[at]) == whole
    assert metered(route, body, SSE, cuts=list(range(len(body)))) == whole
    assert metered(route, body + b"data: [DONE]\n\n", SSE) == whole


@pytest.mark.parametrize("kind", sorted(STREAMS))
def test_the_type_may_stand_in_the_events_name_alone(kind: str) -> None:
    route, body, usage, _ = STREAMS[kind]
    unnamed = b"\n".join(line for line in body.split(b"\n") if not line.startswith(b"event: "))
    assert provider(metered(route, unnamed, SSE)) == usage
    lines = [f"event: {json.loads(line[6:])['type']}\n".encode() + line for line in unnamed.split(b"\n\n") if line]
    untyped = b"\n\n".join(lines).replace(b'"type":', b'"kind":') + b"\n\n"
    assert provider(metered(route, untyped, SSE)) == usage


@pytest.mark.parametrize("kind", sorted(STREAMS))
def test_first_and_last_word(kind: str) -> None:
    route, body, _, _ = STREAMS[kind]
    ask = Ask(route[1])
    first = body.index(b"\n\n") + 2
    assert first_token_at(route, body, SSE, ask) == first
    meter = for_endpoint(*route).meter(ask, SSE, 200)
    meter.feed(body[:-1])
    assert not meter.ended
    meter.feed(body[-1:])
    assert meter.ended


@pytest.mark.parametrize("kind", sorted(STREAMS))
def test_a_cut_stream_has_no_usage_rather_than_a_guess_i10(kind: str) -> None:
    route, body, usage, _ = STREAMS[kind]
    reading = metered(route, body[: body.index(b'"usage"')], SSE, complete=False)
    assert (reading.usage, reading.source, reading.uncounted) == (None, None, True)
    assert reading.note == "the answer ended before any tokens were reported"
    assert provider(metered(route, body, SSE, complete=False)) == usage, "what was reported stands"
    assert metered(route, b"", SSE, complete=False) == reading, "nor where it was cut before its first event"
    assert metered(route, b"", SSE) == Reading()


TRANSCRIPTS: list[tuple[dict[str, Any], Usage, str, str | None]] = [
    (HEARD, Usage(input=3, audio_input=128, output=40), "ok", None),
    (
        {"input_tokens": 131, "output_tokens": 40, "total_tokens": 171},
        Usage(audio_input=131, output=40),
        "ok",
        "the input's tokens were not split: all counted as audio",
    ),
    (
        {"input_tokens": 9, "output_tokens": 1, "input_token_details": {"text_tokens": 2}},
        Usage(input=2, audio_input=7, output=1),
        "unchecked",
        None,
    ),
    (
        {"input_tokens": 9, "output_tokens": 1, "input_token_details": {"audio_tokens": 12}},
        Usage(audio_input=9, output=1),
        "mismatch",
        None,
    ),
    (
        {"input_tokens": 9, "output_tokens": 1, "total_tokens": 11, "input_token_details": {"audio_tokens": 9}},
        Usage(audio_input=9, output=1),
        "mismatch",
        None,
    ),
    (
        {"prompt_audio_seconds": 3, "prompt_tokens": 4, "completion_tokens": 27, "total_tokens": 31},
        Usage(audio_input=4, output=27),
        "ok",
        "the input's tokens were not split: all counted as audio",
    ),
]


@pytest.mark.parametrize(("usage", "expected", "check", "note"), TRANSCRIPTS)
def test_transcripts(usage: dict[str, Any], expected: Usage, check: str, note: str | None) -> None:
    for route in (TRANSCRIPTION, TRANSLATION):
        reading = metered(route, document({"text": "The lamp is lit.", "usage": usage}))
        assert provider(reading) == expected
        assert (reading.check, reading.note) == (check, note)
        assert reading.usage is not None
        assert reading.usage.input_total == (usage.get("input_tokens") or usage["prompt_tokens"]), "none counted twice"


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (
            {"text": "x", "usage": {"type": "duration", "seconds": 9.5}},
            "no tokens were reported; 9.5 seconds of audio",
        ),
        (
            {"text": "x", "duration": 12.0, "language": "english", "segments": []},
            "no tokens were reported; 12 seconds of audio",
        ),
        ({"text": "x"}, "no tokens were reported"),
        ({"text": "x", "usage": {"input_tokens": 9}}, "no tokens were reported"),
        (
            {"text": "x", "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}},
            "no tokens were reported",
        ),
        ({"text": "x", "usage": {"input_tokens": "many", "output_tokens": -1}}, "no tokens were reported"),
    ],
)
def test_what_was_not_reported_is_unknown_never_zero(answer: dict[str, Any], note: str) -> None:
    reading = metered(TRANSCRIPTION, document(answer))
    assert (reading.usage, reading.source, reading.uncounted, reading.note) == (None, None, True, note)


def test_images_without_usage_are_unknown() -> None:
    """dall-e models are charged by the image and report nothing."""
    reading = metered(GENERATION, document(IMAGES))
    assert (reading.usage, reading.uncounted, reading.note) == (None, True, "no tokens were reported")
    cut = metered(GENERATION, document(IMAGES)[:60], complete=False)
    assert (cut.usage, cut.uncounted) == (None, True)


def test_svg_authoring_is_another_models_usage() -> None:
    svg = {"input_tokens": 7, "model": "gpt-5.6", "output_tokens": 90, "reasoning_tokens": 20, "total_tokens": 97}
    body = document({**IMAGES, "usage": IMAGE_USAGE, "svg_usage": svg})
    ImagesResponse.model_validate_json(body)
    reading = metered(GENERATION, body)
    assert provider(reading) == IMAGE_PARTS
    assert reading.note == "not counted: SVG authoring by gpt-5.6, 7 input and 90 output tokens"


@pytest.mark.parametrize("content_type", ["audio/mpeg", "application/octet-stream", "text/plain; charset=utf-8"])
@pytest.mark.parametrize("route", [SPEECH, TRANSCRIPTION])
def test_what_is_no_json_is_never_read(route: tuple[Dialect, str], content_type: str) -> None:
    reading = metered(route, document({"text": "x", "usage": HEARD}), content_type, cuts=[5])
    assert reading == Reading(note="answer is no JSON: not read, its usage is unknown", uncounted=True)
    assert metered(route, b"", content_type) == Reading()
    assert first_token_at(route, b"ID3\x04", content_type, Ask(route[1])) == 1


@pytest.mark.parametrize("route", MEDIA)
def test_errors_use_nothing(route: tuple[Dialect, str]) -> None:
    error = b'{"error":{"message":"secret words","type":"image_generation_user_error","code":"moderation_blocked"}}'
    assert metered(route, error, status=400) == Reading()
    reading = metered(route, error)
    assert (reading.usage, reading.uncounted) == (None, False)
    assert reading.note == "provider's error in the answer: moderation_blocked"
    event = b'event: error\ndata: {"type":"error","error":{"type":"server_error","code":"image_generation_failed"}}\n\n'
    reading = metered(route, event, SSE)
    assert (reading.usage, reading.uncounted) == (None, False)
    assert reading.note == "provider's error in the answer: image_generation_failed"
    bare = metered(route, b'data: {"type":"error","code":"rate_limited","message":"secret"}\n\n', SSE)
    assert bare.note == "provider's error in the answer: rate_limited"
    for body in (b"<html>", b"", b"{}"):
        assert metered(route, body, JSON).usage is None
    assert metered(route, OPENAI_ANSWER, status=503) == Reading()


@given(st.binary(max_size=120), CUTS)
def test_no_answer_raises(body: bytes, cuts: list[int]) -> None:
    for route in (GENERATION, SPEECH, TRANSCRIPTION):
        for content_type in (SSE, JSON, "audio/wav"):
            assert metered(route, body, content_type, cuts=cuts) == metered(route, body, content_type)


def test_strange_events_are_counted_and_the_rest_is_metered() -> None:
    strange = b'data: {oops\n\ndata: {"type":7,"usage":{"input_tokens_details":3}}\n\n'
    reading = metered(TRANSCRIPTION, strange + TRANSCRIPT_STREAM, SSE)
    assert provider(reading) == Usage(input=3, audio_input=128, output=40)
    assert reading.note == "unreadable pieces: 1"
