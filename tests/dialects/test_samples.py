"""The samples are what the SDKs' own types take, so that meters are tested on true formats."""

from __future__ import annotations

import json

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types import Completion, CreateEmbeddingResponse, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import CompactedResponse, Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gatehouse.http.sse import Reader
from tests.dialects import openai_text_samples, samples


def payloads(stream: bytes) -> list[tuple[str, object]]:
    reader = Reader()
    events = reader.feed(stream) + reader.finish()
    return [(name.decode(), json.loads(data)) for name, data in events if data != b"[DONE]"]


@pytest.mark.parametrize(
    "stream",
    [samples.OPENAI_STREAM_ASKED, samples.OPENAI_STREAM_PLAIN, samples.OPENAI_TOOL_STREAM, samples.GROQ_STREAM],
)
def test_openai_streams(stream: bytes) -> None:
    for _, payload in payloads(stream):
        ChatCompletionChunk.model_validate(payload)


def test_openai_answers() -> None:
    ChatCompletion.model_validate_json(samples.OPENAI_ANSWER)
    CreateEmbeddingResponse.model_validate_json(samples.EMBEDDINGS_ANSWER)


def test_openais_other_text_answers() -> None:
    adapter: TypeAdapter[object] = TypeAdapter(ResponseStreamEvent)
    streams = (openai_text_samples.RESPONSES_STREAM, openai_text_samples.RESPONSES_ERROR)
    for name, payload in payloads(b"".join((*streams, openai_text_samples.RESPONSES_FAILED))):
        assert isinstance(payload, dict) and payload["type"] == name
        adapter.validate_python(payload)
    for answer in (openai_text_samples.RESPONSES_ANSWER, openai_text_samples.RESPONSES_QUEUED):
        Response.model_validate_json(answer)
    CompactedResponse.model_validate_json(openai_text_samples.COMPACTED_ANSWER)
    for stream in (openai_text_samples.COMPLETIONS_STREAM_ASKED, openai_text_samples.COMPLETIONS_STREAM_PLAIN):
        for _, payload in payloads(stream):
            choices = payload["choices"] if isinstance(payload, dict) else []
            # The SDK's type has no `null`, which every chunk but the last one has.
            ended = [choice | {"finish_reason": choice["finish_reason"] or "stop"} for choice in choices]
            Completion.model_validate(payload | {"choices": ended} if isinstance(payload, dict) else payload)
    Completion.model_validate_json(openai_text_samples.COMPLETIONS_ANSWER)
    ModerationCreateResponse.model_validate_json(openai_text_samples.MODERATIONS_ANSWER)


def test_anthropic() -> None:
    adapter: TypeAdapter[object] = TypeAdapter(RawMessageStreamEvent)
    events = payloads(samples.ANTHROPIC_STREAM)
    assert [name for name, _ in events[:2]] == ["message_start", "content_block_start"]
    for name, payload in events:
        if name != "ping":
            adapter.validate_python(payload)
    Message.model_validate_json(samples.ANTHROPIC_ANSWER)


def test_gemini() -> None:
    for _, payload in payloads(samples.GEMINI_STREAM):
        GenerateContentResponse.model_validate(payload)
    for payload in json.loads(samples.GEMINI_ARRAY):
        GenerateContentResponse.model_validate(payload)
