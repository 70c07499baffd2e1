"""Images and audio with the OpenAI Python SDK through the gateway: bytes untouched, usage as reported or unknown (A8,
D1)."""

from __future__ import annotations

import base64
import io

import openai
import pytest

from tests.fakes import Answer, Misbehaviour, openai_api
from tests.running import House

KEY = "sk-proj-callers-own-key-0001"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8).decode()
SOUND = b"RIFF" + bytes(range(256)) * 2000
IMAGE_USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 50},
    "output_tokens": 4160,
    "total_tokens": 4210,
}
IMAGES = {"created": 1757000000, "data": [{"b64_json": PNG}], "usage": IMAGE_USAGE}
EVENT = {
    "b64_json": PNG,
    "background": "opaque",
    "created_at": 1757000000,
    "output_format": "png",
    "quality": "high",
    "size": "1024x1024",
}
HEARD = {
    "type": "tokens",
    "input_tokens": 131,
    "input_token_details": {"text_tokens": 3, "audio_tokens": 128},
    "output_tokens": 40,
    "total_tokens": 171,
}


def connect(house: House) -> openai.OpenAI:
    return openai.OpenAI(base_url=house.url + "/openai/v1", api_key=KEY, max_retries=0, timeout=20)


def test_images_generated(house: House) -> None:
    """Images' tokens have rates of their own: 50 at 5 and 4160 at 40 US dollars per million."""
    house.openai.respond(openai_api.indented(IMAGES))
    with house.gateway.recorded() as records, connect(house) as client:
        images = client.images.generate(model="gpt-image-1", prompt="a lamp", n=1)
    assert images.data is not None and images.data[0].b64_json == PNG
    assert house.only(house.openai).path == "/v1/images/generations"
    [record] = records
    assert record.decision["route"] == "openai/image_generation"
    assert (record.decision["operation"], record.decision["model"]) == ("image_generation", "gpt-image-1")
    assert record.usage == {"input": 50, "image_output": 4160}
    assert (record.outcome["usage_source"], record.outcome["usage_check"]) == ("provider", "ok")
    assert (record.outcome["price"], record.outcome["price_id"]) == ("known", "openai/gpt-image-1")
    assert record.outcome["cost"] == 50 * 5_000 + 4160 * 40_000


def test_images_streamed(house: House) -> None:
    partial = {"type": "image_generation.partial_image", "partial_image_index": 0, **EVENT}
    completed = {"type": "image_generation.completed", "usage": IMAGE_USAGE, **EVENT}
    house.openai.respond(openai_api.events(partial, completed))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.images.generate(model="gpt-image-1", prompt="a lamp", stream=True, partial_images=1)
        events = list(stream)
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    [record] = records
    assert record.decision["stream"] is True
    assert record.usage == {"input": 50, "image_output": 4160}
    assert record.outcome["first_token_us"] > 0


def test_images_edited_by_a_form_that_is_streamed_past(house: House) -> None:
    house.openai.respond(openai_api.indented(IMAGES))
    with house.gateway.recorded() as records, connect(house) as client:
        client.images.edit(model="gpt-image-1", image=("a.png", io.BytesIO(SOUND)), prompt="brighter")
    assert SOUND in house.only(house.openai).body
    [record] = records
    assert record.decision["operation"] == "image_edit" and "model" not in record.decision
    assert "unread" not in record.decision
    assert record.usage == {"input": 50, "image_output": 4160}


def test_transcription(house: House) -> None:
    """A form: what was asked for is not read, so nobody knows the model, nor its price."""
    house.openai.respond(openai_api.indented({"text": "The lamp is lit.", "usage": HEARD}))
    with house.gateway.recorded() as records, connect(house) as client:
        heard = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.wav", io.BytesIO(SOUND)))
    assert heard.text == "The lamp is lit."
    assert SOUND in house.only(house.openai).body
    [record] = records
    assert record.decision["route"] == "openai/transcription"
    assert "unread" not in record.decision
    assert record.usage == {"input": 3, "audio_input": 128, "output": 40}
    assert (record.outcome["usage_check"], record.outcome["price"]) == ("ok", "unknown")


def test_transcription_streamed(house: House) -> None:
    delta = {"type": "transcript.text.delta", "delta": "The lamp is lit."}
    house.openai.respond(
        openai_api.events(delta, {"type": "transcript.text.done", "text": "The lamp is lit.", "usage": HEARD})
    )
    with house.gateway.recorded() as records, connect(house) as client:
        file = ("a.wav", io.BytesIO(b"RIFF"))
        events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file, stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert records[0].usage == {"input": 3, "audio_input": 128, "output": 40}


def test_a_transcription_charged_by_the_second_is_unknown_never_zero(house: House) -> None:
    house.openai.respond(openai_api.indented({"text": "x", "usage": {"type": "duration", "seconds": 9.5}}))
    with house.gateway.recorded() as records, connect(house) as client:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", io.BytesIO(b"RIFF")))
    outcome = records[0].outcome
    assert ("usage" in outcome, "cost" in outcome, outcome["price"]) == (False, False, "unknown")
    assert outcome["usage_note"] == "no tokens were reported; 9.5 seconds of audio"


def test_speech(house: House) -> None:
    house.openai.respond(Answer(200, (("content-type", "audio/mpeg"),), SOUND, chunked=True))
    with house.gateway.recorded() as records, connect(house) as client:
        spoken = client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="The lamp is lit.")
    assert spoken.content == SOUND
    [record] = records
    assert (record.decision["operation"], record.decision["model"]) == ("speech", "gpt-4o-mini-tts")
    assert ("usage" in record.outcome, record.outcome["price"]) == (False, "unknown")
    assert record.outcome["first_token_us"] > 0


def test_speech_as_events(house: House) -> None:
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    delta = {"type": "speech.audio.delta", "audio": PNG}
    house.openai.respond(openai_api.events(delta, {"type": "speech.audio.done", "usage": usage}))
    with house.gateway.recorded() as records, connect(house) as client:
        create = client.audio.speech.with_streaming_response.create
        with create(model="gpt-4o-mini-tts", voice="alloy", input="x", stream_format="sse") as answer:
            assert b"speech.audio.done" in b"".join(answer.iter_bytes())
    [record] = records
    assert record.decision["stream"] is True
    assert record.usage == {"input": 14, "audio_output": 101}
    assert (record.outcome["price"], record.outcome["cost"]) == ("known", 14 * 600 + 101 * 12_000)


@pytest.mark.parametrize("status", [400, 429, 500])
def test_errors_of_the_provider_use_nothing(house: House, status: int) -> None:
    house.openai.misbehave(Misbehaviour(error=status))
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises(openai.APIStatusError):
            client.images.generate(model="gpt-image-1", prompt="x")
    assert (records[0].usage, "price" in records[0].outcome) == ({}, False)
