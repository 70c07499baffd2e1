"""dialects/gemini.py: asks in both spellings; both forms of stream; parts that add up to `totalTokenCount`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gatehouse.dialects import gemini
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import ToolUses, Usage
from tests.dialects import samples
from tests.dialects.metering import estimated, first_token_at, metered, provider
from tests.dialects.samples import CUTS, JSON, SSE, cut

STREAM: tuple[Dialect, str] = ("google", "stream_generate_content")
SINGLE: tuple[Dialect, str] = ("google", "generate_content")
FORMS = {"sse": (samples.GEMINI_STREAM, SSE), "array": (samples.GEMINI_ARRAY, JSON)}
USAGE = Usage(input=44, cache_read=54, audio_input=20, output=11, reasoning=31, audio_cache_read=10)
"""120 prompt tokens (64 cached, of those 10 audio; 30 audio in all), 8 for tools, 31 thoughts, 11 candidates."""


@pytest.mark.parametrize(
    "config",
    [
        {"generationConfig": {"maxOutputTokens": 64, "temperature": 0, "topP": 0.5, "candidateCount": 2}},
        {"generation_config": {"max_output_tokens": 64, "temperature": 0, "top_p": 0.5, "candidate_count": 2}},
        {"generationConfig": {"max_output_tokens": 64.0, "temperature": 0, "top_p": 0.5, "candidateCount": 2}},
    ],
)
def test_an_ask_is_read(config: dict[str, Any]) -> None:
    body = json.dumps({"contents": [{"parts": [{"text": "hi"}]}]} | config).encode()
    expected = Ask("generate_content", "gemini-2.5-flash", False, 64, 0.0, 0.5, 2, input_bytes=len(body))
    assert structs.replace(gemini.read(body, "gemini-2.5-flash"), links=None) == expected
    streamed = gemini.read_stream(body, "gemini-2.5-flash")
    assert streamed.stream and streamed.max_output == 64


@pytest.mark.parametrize("body", [b"", b"[]", b'{"generationConfig":'])
def test_an_unreadable_body_keeps_what_the_path_says(body: bytes) -> None:
    ask = gemini.read_stream(body, "gemini-2.5-flash")
    assert ask.unread is not None
    assert (ask.model, ask.stream) == ("gemini-2.5-flash", True)


def test_a_strange_config_harms_nothing() -> None:
    for config in (b"[]", b"7", b'"x"', b"null", b'{"maxOutputTokens":[]}'):
        ask = gemini.read(b'{"model":"models/g","generationConfig":%b}' % config, None)
        assert (ask.model, ask.max_output, ask.unread) == ("models/g", None, None)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_any_split_of_a_stream_gives_the_same_reading(form: str) -> None:
    stream, content_type = FORMS[form]
    whole = metered(STREAM, stream, content_type)
    assert provider(whole) == USAGE
    assert (whole.check, whole.note) == ("ok", None)
    assert (whole.model, whole.response_id, whole.finish_reasons) == ("gemini-2.5-flash", "kPq2aLmX", ("STOP",))
    for at in range(0, len(stream), 3):
        assert metered(STREAM, stream, content_type, cuts=[at]) == whole
    assert metered(STREAM, stream, content_type, cuts=list(range(len(stream)))) == whole


@given(CUTS)
def test_an_answer(cuts: list[int]) -> None:
    reading = metered(SINGLE, samples.GEMINI_ANSWER, cuts=cuts, ask=Ask("generate_content", input_bytes=400))
    assert provider(reading) == USAGE
    assert reading.check == "ok"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_stream_cut_after_its_first_piece_keeps_the_prompt_i10(form: str) -> None:
    stream, content_type = FORMS[form]
    at = stream.index(b"There are")
    reading = metered(STREAM, stream[:at], content_type, complete=False)
    usage = estimated(reading)
    assert (usage.input, usage.cache_read, usage.audio_input, usage.audio_cache_read) == (36, 54, 20, 10)
    assert usage.reasoning == 31
    assert reading.note is None
    assert estimated(metered(STREAM, b"", content_type, complete=False)) == Usage(input=100)


def test_a_cut_stream_keeps_the_images_of_its_prompt_i10() -> None:
    piece = {
        "candidates": [{"content": {"parts": [{"text": "Fog and bells."}]}}],
        "usageMetadata": {
            "promptTokenCount": 264,
            "totalTokenCount": 264,
            "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}],
        },
    }
    stream = b"data: " + json.dumps(piece).encode() + b"\r\n\r\n"
    reading = metered(STREAM, stream, SSE, complete=False)
    assert estimated(reading) == Usage(input=6, output=4, image_input=258)


def test_a_silent_provider_is_estimated() -> None:
    """Vertex sends `usageMetadata` without counts until the last piece."""
    piece = {
        "candidates": [{"content": {"parts": [{"text": "Fog and bells."}]}}],
        "usageMetadata": {"trafficType": "ON_DEMAND"},
    }
    stream = b"data: " + json.dumps(piece).encode() + b"\r\n\r\n"
    assert estimated(metered(STREAM, stream, SSE)) == Usage(input=100, output=4)


def test_a_single_object_where_an_array_was_due() -> None:
    ask = Ask("generate_content", stream=True, input_bytes=400)
    assert provider(metered(STREAM, samples.GEMINI_ANSWER, ask=ask)) == USAGE
    error = b'{"error":{"code":503,"message":"secret words","status":"UNAVAILABLE"}}'
    reading = metered(STREAM, error, ask=ask)
    assert reading.usage is None and reading.note == "provider's error in the answer: UNAVAILABLE"
    assert metered(STREAM, b"<html>", ask=ask).usage is None


def test_a_blocked_prompt_costs_its_prompt() -> None:
    body = (
        b'{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},"usageMetadata": {"promptTokenCount": 9,'
        b'"totalTokenCount": 9},"modelVersion": "gemini-2.5-flash"}'
    )
    reading = metered(SINGLE, body, ask=Ask("generate_content"))
    assert provider(reading) == Usage(input=9)
    assert (reading.check, reading.finish_reasons) == ("ok", ("PROHIBITED_CONTENT",))


@pytest.mark.parametrize(
    ("reported", "usage", "check"),
    [
        ({"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}, Usage(input=5, output=3), "ok"),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 9},
            Usage(input=5, output=3),
            "mismatch",
        ),
        ({"promptTokenCount": 5, "candidatesTokenCount": 3}, Usage(input=5, output=3), "unchecked"),
        (
            {"promptTokenCount": 5, "totalTokenCount": 9, "thoughtsTokenCount": 1},
            Usage(input=5, output=3, reasoning=1),
            "ok",
        ),
        ({"promptTokenCount": 5, "cachedContentTokenCount": 7}, Usage(cache_read=7), "mismatch"),
        (
            {
                "promptTokenCount": 5,
                "candidatesTokenCount": 30,
                "totalTokenCount": 35,
                "candidatesTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 25},
                    {"modality": "TEXT", "tokenCount": 5},
                ],
            },
            Usage(input=5, output=5, audio_output=25),
            "ok",
        ),
        (
            {
                "promptTokenCount": 5,
                "toolUsePromptTokenCount": 10,
                "totalTokenCount": 15,
                "toolUsePromptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
            },
            Usage(input=11, audio_input=4),
            "ok",
        ),
        (
            {
                "promptTokenCount": 600,
                "cachedContentTokenCount": 300,
                "candidatesTokenCount": 1299,
                "toolUsePromptTokenCount": 10,
                "totalTokenCount": 1909,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 84},
                    {"modality": "IMAGE", "tokenCount": 516},
                ],
                "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
                "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
            },
            Usage(
                input=48,
                cache_read=42,
                output=9,
                image_input=262,
                image_output=1290,
                image_cache_read=258,
            ),
            "ok",
        ),
        (
            {
                "promptTokenCount": 5,
                "cachedContentTokenCount": 2,
                "candidatesTokenCount": 3,
                "totalTokenCount": 8,
                "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}],
                "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 3}],
                "candidatesTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 2},
                    {"modality": "IMAGE", "tokenCount": 9},
                ],
            },
            Usage(image_input=3, image_cache_read=2, audio_output=2, image_output=1),
            "ok",
        ),
        (
            {
                "promptTokenCount": 20,
                "cachedContentTokenCount": 6,
                "candidatesTokenCount": 1,
                "totalTokenCount": 21,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}, {"modality": "IMAGE", "tokenCount": 8}],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}, {"modality": "IMAGE", "tokenCount": 3}],
            },
            Usage(input=3, audio_input=5, audio_cache_read=4, image_input=6, image_cache_read=2, output=1),
            "ok",
        ),
    ],
)
def test_parts_and_the_total(reported: dict[str, Any], usage: Usage, check: str) -> None:
    body = json.dumps({"candidates": [], "usageMetadata": reported}).encode()
    reading = metered(SINGLE, body, ask=Ask("generate_content"))
    assert provider(reading) == usage
    assert reading.check == check


def test_a_generated_image_of_several_megabytes_is_read_with_its_usage_i9() -> None:
    """Up to 8 MiB in one piece of a stream; in a document of any size, by its top level."""
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1290, "totalTokenCount": 1295}
    image = {"mimeType": "image/png", "data": "QUJD" * 1_000_000}
    answer = {
        "candidates": [{"content": {"parts": [{"inlineData": image}]}, "finishReason": "STOP"}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash-image",
    }
    document = json.dumps(answer).encode()
    for route, body, content_type in (
        (STREAM, b"data: " + document + b"\r\n\r\n", SSE),
        (STREAM, b"[" + document + b"]", JSON),
        (SINGLE, document, JSON),
    ):
        cuts = list(range(0, len(body), 65_536))
        reading = metered(route, body, content_type, cuts=cuts, ask=Ask("generate_content", stream=route is STREAM))
        assert provider(reading) == Usage(input=5, output=1290)
        assert reading.finish_reasons == ("STOP",)
    huge = document.replace(b"QUJD", b"QUJD" * 3)
    reading = metered(STREAM, b"data: " + huge + b"\r\n\r\n" + samples.GEMINI_STREAM, SSE)
    assert provider(reading) == USAGE and reading.note == "events too large to read: 1"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_first_token_is_the_first_part(form: str) -> None:
    stream, content_type = FORMS[form]
    ask = Ask("generate_content", stream=True)
    at = first_token_at(STREAM, stream, content_type, ask)
    assert at is not None and stream.index(b"Counting") < at < stream.index(b"There are")
    for part in ({"functionCall": {"name": "f", "args": {}}}, {"inlineData": {"mimeType": "image/png"}}, {"text": "x"}):
        piece = b"data: " + json.dumps({"candidates": [{"content": {"parts": [part]}}]}).encode() + b"\n\n"
        assert first_token_at(STREAM, piece, SSE, ask) == len(piece), part


@given(st.binary(max_size=150), CUTS)
def test_no_stream_raises(stream: bytes, cuts: list[int]) -> None:
    for content_type in (SSE, JSON):
        assert metered(STREAM, stream, content_type, cuts=cuts) == metered(STREAM, stream, content_type)


def test_strange_pieces_are_counted_and_the_rest_is_metered() -> None:
    strange = b'data: {oops\n\ndata: {"candidates":{"a":1},"usageMetadata":{"promptTokensDetails":7}}\n\n'
    reading = metered(STREAM, strange + samples.GEMINI_STREAM, SSE)
    assert provider(reading) == USAGE
    assert reading.note == "unreadable pieces: 1"
    assert cut(b"", [1]) == [b"", b""]


def test_what_ran_is_counted_and_what_the_next_request_names_is_known() -> None:
    """Sources: `google.genai.types` (`GroundingMetadata.web_search_queries`, `FunctionCall.id`)."""

    def piece(**candidate: Any) -> bytes:
        usage = {"promptTokenCount": 9, "candidatesTokenCount": 1, "totalTokenCount": 10}
        return json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()

    call = {"parts": [{"functionCall": {"id": "fn-1", "name": "f", "args": {}}}], "role": "model"}
    pieces = (
        piece(content=call, groundingMetadata={"webSearchQueries": ["a"]}),
        piece(finishReason="STOP", groundingMetadata={"webSearchQueries": ["a", "b"]}),
    )
    stream = b"".join(b"data: " + each + b"\r\n\r\n" for each in pieces)
    for grounding in (None, {}, {"webSearchQueries": None}, {"webSearchQueries": 7}):
        assert metered(("google", "generate_content"), piece(groundingMetadata=grounding)).tools is None
    reading = metered(("google", "stream_generate_content"), stream, SSE)
    assert (reading.tools, reading.offers) == (ToolUses(web_search=2), ("fn-1",))
