"""dialects/gemini_caches.py: what a cache was filled with is written to a cache, not generated, and counted once.

Forms from `google.genai.types` (`CachedContent`, `CachedContentUsageMetadata`).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai.types import CachedContent
from hypothesis import given

from gatehouse.dialects import gemini_caches
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading, Usage
from tests.dialects.metering import metered, provider
from tests.dialects.samples import CUTS

CACHES: tuple[Dialect, str] = ("google", "cached_contents")
CREATED: dict[str, Any] = {
    "name": "cachedContents/4jnb8q2zdcvk",
    "model": "models/gemini-2.5-flash",
    "createTime": "2026-11-17T08:30:11.123456Z",
    "updateTime": "2026-11-17T08:30:11.123456Z",
    "expireTime": "2026-11-17T09:30:11.123456Z",
    "displayName": "",
    "usageMetadata": {"totalTokenCount": 4096},
}


def test_the_sample_is_what_the_sdk_expects() -> None:
    CachedContent.model_validate(CREATED)


@pytest.mark.parametrize(
    "model",
    ["gemini-2.5-flash", "models/gemini-2.5-flash", "projects/p/locations/l/publishers/google/models/gemini-2.5-flash"],
)
def test_an_ask_names_the_model_as_other_calls_do(model: str) -> None:
    body = json.dumps({"model": model, "contents": [{"parts": [{"text": "x"}]}], "ttl": "3600s"}).encode()
    expected = Ask("cached_contents", "gemini-2.5-flash", input_bytes=len(body))
    assert gemini_caches.read(body, None) == expected
    slices = gemini_caches.read_slices(body, None)
    with pytest.raises(StopIteration) as done:
        next(slices)
    assert done.value.value == expected
    assert gemini_caches.read(b"oops", None).unread is not None


@given(CUTS)
def test_creating_writes_to_a_cache(cuts: list[int]) -> None:
    reading = metered(CACHES, json.dumps(CREATED, indent=2).encode(), cuts=cuts)
    assert provider(reading) == Usage(cache_write=4096)
    assert (reading.model, reading.response_id) == ("gemini-2.5-flash", "cachedContents/4jnb8q2zdcvk")
    assert (reading.finish_reasons, reading.check, reading.uncounted) == ((), "unchecked", False)


@pytest.mark.parametrize("usage", [None, {}, {"totalTokenCount": "many"}, {"totalTokenCount": -1}])
def test_what_was_not_reported_is_unknown_never_zero(usage: dict[str, Any] | None) -> None:
    reading = metered(CACHES, json.dumps({**CREATED, "usageMetadata": usage}).encode())
    assert (reading.usage, reading.uncounted) == (None, True)
    cut = metered(CACHES, json.dumps(CREATED).encode()[:40], complete=False)
    assert (cut.usage, cut.uncounted) == (None, True)


@pytest.mark.parametrize("body", [b'{"error":{"code":400,"status":"INVALID_ARGUMENT"}}', b"<html>", b"", b"{}"])
def test_what_is_no_cache_has_no_usage(body: bytes) -> None:
    reading = metered(CACHES, body)
    assert (reading.usage, reading.uncounted) == (None, False)
    assert metered(CACHES, json.dumps(CREATED).encode(), status=500) == Reading()
