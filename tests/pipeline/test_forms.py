"""Forms (transcriptions, edits of images) where the model in them matters: keys for some models, the unified API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from gatehouse.config.settings import Limits, Provider, Settings
from tests import fakes
from tests.fakes.server import Answer, Fake
from tests.pipeline.house import House, house
from tests.pipeline.tenancy import Tenancy

AUDIO = b"RIFF" + bytes(range(256)) * 4000
PATH = "/openai/v1/audio/transcriptions"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        running.respond(Answer(200, (("content-type", "application/json"),), b'{"text":"hello"}'))
        yield running


@pytest.fixture
def tenancy(tmp_path: Path, fake: Fake) -> Tenancy:
    made = Tenancy(tmp_path / "data")
    made.credential("openai", fake.url, "sk-stored")
    made.credential("groq", fake.url, "gsk-stored")
    return made


def _settings(fake: Fake, **more: Any) -> Settings:
    return Settings(providers={name: Provider(base_url=fake.url) for name in ("openai", "groq")}, **more)


def _parts(model: str | None, *, last: bool) -> list[tuple[str, Any]]:
    named: list[tuple[str, Any]] = [] if model is None else [("model", (None, model))]
    file: list[tuple[str, Any]] = [("file", ("a.wav", AUDIO, "audio/wav"))]
    return file + named if last else named + file


def _send(to: House, path: str, key: str, parts: list[tuple[str, Any]]) -> httpx2.Response:
    return httpx2.post(to.url + path, files=parts, headers={"authorization": f"Bearer {key}"}, timeout=20)


@pytest.mark.parametrize("last", [False, True])
def test_a_key_for_some_models_transcribes_with_those(tenancy: Tenancy, fake: Fake, last: bool) -> None:
    """Wherever in the form the model stands. I1: what arrives is what was sent."""
    key = tenancy.key(models=("whisper-*",)).text
    with house(_settings(fake), tenancy.sections, tenancy.unsealer()) as running:
        assert _send(running, PATH, key, _parts("whisper-1", last=last)).status_code == 200
        assert AUDIO in fake.last.body and b"whisper-1" in fake.last.body
        for model in ("gpt-4o-transcribe", None):
            answer = _send(running, PATH, key, _parts(model, last=last))
            assert (answer.status_code, answer.json()["code"]) == (403, "MODEL_DENIED")
        twice = _send(running, PATH, key, [*_parts("whisper-1", last=last), ("model", (None, "gpt-4o-transcribe"))])
        assert (twice.status_code, twice.json()["code"]) == (403, "MODEL_DENIED")
        journal = running.wait(4)
    assert len(fake.requests) == 1
    assert [(each.model, each.streamed) for each in journal.decisions] == [("whisper-1", False)]


def test_what_nobody_needs_to_read_is_streamed_as_before(tenancy: Tenancy, fake: Fake) -> None:
    key = tenancy.key().text
    with house(_settings(fake), tenancy.sections, tenancy.unsealer()) as running:
        assert _send(running, PATH, key, _parts("whisper-1", last=False)).status_code == 200
        journal = running.wait(1)
    assert (journal.decisions[0].model, journal.decisions[0].streamed) == (None, True)


def test_the_unified_api_goes_by_the_model_in_the_form(tenancy: Tenancy, fake: Fake) -> None:
    """P6: the provider is named in it, and does not see its own name there."""
    key = tenancy.key().text
    with house(_settings(fake), tenancy.sections, tenancy.unsealer()) as running:
        with openai.OpenAI(base_url=running.url + "/v1", api_key=key, max_retries=0) as client:
            client.audio.transcriptions.create(model="groq:whisper-large-v3", file=("a.wav", AUDIO))
        seen = fake.last
        assert b"whisper-large-v3" in seen.body and b"groq:" not in seen.body and AUDIO in seen.body
        assert seen.header("authorization") == "Bearer gsk-stored"
        journal = running.wait(1)
    decided = journal.decisions[0]
    assert (decided.route, decided.model, decided.rewritten) == (
        "groq/transcription",
        "groq:whisper-large-v3",
        ("model",),
    )


def test_a_form_that_must_be_read_is_bounded_as_bodies_are(tenancy: Tenancy, fake: Fake) -> None:
    """I9."""
    key = tenancy.key(models=("whisper-*",)).text
    settings = _settings(fake, limits=Limits(body_bytes=100_000))
    with house(settings, tenancy.sections, tenancy.unsealer()) as running:
        answer = _send(running, PATH, key, _parts("whisper-1", last=False))
        assert (answer.status_code, answer.json()["code"]) == (413, "TOO_LARGE")
        running.wait(1)
