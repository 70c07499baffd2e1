"""dialects/gemini_embeddings.py: asks, and usage of answers of any size.

Forms from `google.genai` (`models.py`, `types.UsageMetadata`) and the Gemini API's `EmbeddingUsageMetadata`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from gatehouse.dialects import gemini_embeddings
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Usage
from tests.dialects.metering import estimated, metered, provider
from tests.dialects.samples import CUTS

EMBED: tuple[Dialect, str] = ("google", "embed_content")
VECTOR = {"values": [-0.02342152, 0.01676572, 0.009261323]}


def test_an_ask_is_read() -> None:
    body = b'{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"x"}]}}]}'
    expected = Ask("embeddings", "gemini-embedding-001", input_bytes=len(body))
    assert gemini_embeddings.read(body, "gemini-embedding-001") == expected
    slices = gemini_embeddings.read_slices(body, "gemini-embedding-001")
    with pytest.raises(StopIteration) as done:
        next(slices)
    assert done.value.value == expected
    ask = gemini_embeddings.read(b"oops", "m")
    assert ask.unread is not None and ask.model == "m"


REPORTED: list[tuple[dict[str, Any], Usage, str]] = [
    (
        {"promptTokenCount": 6, "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 6}]},
        Usage(input=6),
        "unchecked",
    ),
    ({"promptTokenCount": 6, "totalTokenCount": 6}, Usage(input=6), "ok"),
    ({"promptTokenCount": 6, "totalTokenCount": 8}, Usage(input=6), "mismatch"),
    ({"totalTokenCount": 6}, Usage(input=6), "ok"),
    (
        {
            "promptTokenCount": 40,
            "promptTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 32},
                {"modality": "TEXT", "tokenCount": 8},
            ],
        },
        Usage(input=8, audio_input=32),
        "unchecked",
    ),
    (
        {"promptTokenCount": 4, "promptTokenDetails": [{"modality": "AUDIO", "tokenCount": 5}]},
        Usage(audio_input=4),
        "mismatch",
    ),
    (
        {"promptTokenCount": 262, "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}]},
        Usage(input=4, image_input=258),
        "unchecked",
    ),
    (
        {
            "promptTokenCount": 9,
            "totalTokenCount": 9,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}, {"modality": "IMAGE", "tokenCount": 5}],
        },
        Usage(audio_input=5, image_input=4),
        "mismatch",
    ),
]


@pytest.mark.parametrize(("reported", "usage", "check"), REPORTED)
@pytest.mark.parametrize("many", [False, True])
def test_usage(reported: dict[str, Any], usage: Usage, check: str, many: bool) -> None:
    vectors = {"embeddings": [VECTOR, VECTOR]} if many else {"embedding": VECTOR}
    reading = metered(EMBED, json.dumps({**vectors, "usageMetadata": reported}, indent=2).encode())
    assert provider(reading) == usage
    assert reading.check == check


@given(CUTS)
def test_any_split_gives_the_same_reading(cuts: list[int]) -> None:
    body = json.dumps({"embeddings": [VECTOR], "usageMetadata": {"promptTokenCount": 6}}, indent=2).encode()
    assert metered(EMBED, body, cuts=cuts) == metered(EMBED, body)


@pytest.mark.parametrize("usage_first", [False, True])
def test_an_answer_of_many_megabytes_still_gives_usage_i9(usage_first: bool) -> None:
    usage: dict[str, Any] = {"usageMetadata": {"promptTokenCount": 90_000}}
    vectors: dict[str, Any] = {"embeddings": [{"values": [0.0123456789] * 3072}] * 100}
    body = json.dumps(usage | vectors if usage_first else vectors | usage).encode()
    assert len(body) > 4 * 1024 * 1024
    assert provider(metered(EMBED, body, cuts=list(range(0, len(body), 65_536)))) == Usage(input=90_000)


def test_a_silent_provider_and_a_cut_answer_are_estimated() -> None:
    silent = json.dumps({"embedding": VECTOR}).encode()
    assert estimated(metered(EMBED, silent)) == Usage(input=100)
    assert estimated(metered(EMBED, silent[:30], complete=False)) == Usage(input=100)


@pytest.mark.parametrize("body", [b'{"error":{"code":400,"status":"INVALID_ARGUMENT"}}', b"<html>", b"", b"{}"])
def test_what_holds_no_vector_has_no_usage(body: bytes) -> None:
    assert metered(EMBED, body).usage is None
    assert metered(EMBED, json.dumps({"embedding": VECTOR}).encode(), status=500).usage is None
