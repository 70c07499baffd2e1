"""dialects/openai_embeddings.py: asks, and usage of answers of any size."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given

from gatehouse.dialects import openai_embeddings
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Usage
from tests.dialects import samples
from tests.dialects.metering import estimated, metered, provider
from tests.dialects.samples import CUTS

EMBEDDINGS: tuple[Dialect, str] = ("openai", "embeddings")


def test_an_ask_is_read() -> None:
    body = b'{"input":["a","b"],"model":"text-embedding-3-small","encoding_format":"base64"}'
    assert openai_embeddings.read(body, None) == Ask("embeddings", "text-embedding-3-small", input_bytes=len(body))
    assert openai_embeddings.read(b'{"input":"a"}', "ada").model == "ada"
    assert openai_embeddings.read(b"oops", None).unread is not None


@given(CUTS)
def test_an_answer(cuts: list[int]) -> None:
    reading = metered(EMBEDDINGS, samples.EMBEDDINGS_ANSWER, cuts=cuts)
    assert provider(reading) == Usage(input=8)
    assert (reading.check, reading.model) == ("ok", "text-embedding-3-small")


@pytest.mark.parametrize("usage_first", [False, True])
@pytest.mark.parametrize("floats", [False, True])
def test_an_answer_of_many_megabytes_still_gives_usage_i9(usage_first: bool, floats: bool) -> None:
    rng = random.Random(3)
    vector: Any = [rng.uniform(-1, 1) for _ in range(1536)] if floats else "PK3sPA" * 1365
    data = [{"object": "embedding", "index": number, "embedding": vector} for number in range(320)]
    usage = {"prompt_tokens": 90_000, "total_tokens": 90_000}
    answer = {"usage": usage, "data": data} if usage_first else {"object": "list", "data": data, "usage": usage}
    body = json.dumps(answer | {"model": "text-embedding-3-small"}).encode()
    assert len(body) > (8 if floats else 2) * 1024 * 1024
    reading = metered(EMBEDDINGS, body, cuts=list(range(0, len(body), 65_536)))
    assert provider(reading) == Usage(input=90_000)
    assert (reading.check, reading.model) == ("ok", "text-embedding-3-small")


def test_a_silent_provider_and_a_cut_answer_are_estimated() -> None:
    silent = b'{"object":"list","data":[{"embedding":[0.1]}],"model":"m"}'
    assert estimated(metered(EMBEDDINGS, silent)) == Usage(input=100)
    cut = metered(EMBEDDINGS, samples.EMBEDDINGS_ANSWER[:100], complete=False)
    assert estimated(cut) == Usage(input=100), "nothing is generated"
    only_total = b'{"object":"list","data":[],"usage":{"total_tokens":6}}'
    assert provider(metered(EMBEDDINGS, only_total)) == Usage(input=6)


@pytest.mark.parametrize("body", [b'{"error":{"message":"x","type":"invalid_request_error"}}', b"<html>", b"", b"{}"])
def test_what_is_no_list_has_no_usage(body: bytes) -> None:
    assert metered(EMBEDDINGS, body).usage is None
    assert metered(EMBEDDINGS, samples.EMBEDDINGS_ANSWER, status=500).usage is None
