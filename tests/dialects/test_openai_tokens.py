"""dialects/openai_tokens.py: disjoint parts of usage as OpenAI and its relatives report it, checked by their totals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.openai_shapes import UsageObject
from gatehouse.dialects.openai_tokens import take_apart
from gatehouse.model.call import Dialect
from gatehouse.model.usage import Usage
from tests.dialects.metering import metered, provider

CHAT: tuple[Dialect, str] = ("openai", "chat")


def usage_of(reported: dict[str, Any]) -> tuple[Usage, str]:
    reading = metered(CHAT, json.dumps({"choices": [], "usage": reported}).encode())
    return provider(reading), reading.check


def test_audio_and_cache_writes_are_parts() -> None:
    usage, check = usage_of(
        {
            "prompt_tokens": 1000,
            "completion_tokens": 300,
            "total_tokens": 1300,
            "prompt_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100, "audio_tokens": 250},
            "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 200},
        }
    )
    assert usage == Usage(
        input=250, cache_read=400, cache_write=100, audio_input=250, output=60, reasoning=40, audio_output=200
    )
    assert check == "ok"


def test_images_are_parts_where_they_are_counted() -> None:
    """xAI counts those of the prompt, OpenRouter those of the answer. Images may be among the cached: those are cached.

    Source of the latter: an answer of `google/gemini-2.5-flash-image`.
    """
    prompt = {"prompt_tokens": 300, "completion_tokens": 9, "total_tokens": 309}
    usage, check = usage_of(prompt | {"prompt_tokens_details": {"text_tokens": 44, "image_tokens": 256}})
    assert (usage, check) == (Usage(input=44, image_input=256, output=9), "ok")
    usage, check = usage_of(prompt | {"prompt_tokens_details": {"cached_tokens": 100, "image_tokens": 256}})
    assert (usage, check) == (Usage(cache_read=100, image_input=200, output=9), "ok")
    answer = {"prompt_tokens": 6, "completion_tokens": 1299, "total_tokens": 1305}
    usage, check = usage_of(answer | {"completion_tokens_details": {"image_tokens": 1290}})
    assert (usage, check) == (Usage(input=6, output=9, image_output=1290), "ok")


@pytest.mark.parametrize(
    "details",
    [
        {"prompt_tokens_details": {"cached_tokens": 64}},
        {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        {"cached_tokens": 64},
        {"cache_read_input_tokens": 64},
        {"prompt_tokens_details": None, "cached_tokens": 64.0},
        {"prompt_tokens_details": {"cached_tokens": 64}, "prompt_cache_hit_tokens": 64},
    ],
)
def test_cached_tokens_by_any_name(details: dict[str, Any]) -> None:
    """OpenAI, DeepSeek, Moonshot and Together, Databricks."""
    usage, check = usage_of({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105} | details)
    assert usage == Usage(input=36, cache_read=64, output=5)
    assert check == "ok"


def test_xai_counts_reasoning_beside_completion() -> None:
    """From an xAI account: 10120 + 1499 + 2809 = 14428."""
    usage, check = usage_of(
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        }
    )
    assert usage == Usage(input=9992, cache_read=128, output=1499, reasoning=2809)
    assert check == "ok"


def test_xai_where_reasoning_is_the_smaller_part() -> None:
    """Only the total tells: 20 + 7 + 3 = 30."""
    details = {"completion_tokens_details": {"reasoning_tokens": 3}}
    reported = {"prompt_tokens": 20, "completion_tokens": 7} | details
    assert usage_of(reported | {"total_tokens": 30}) == (Usage(input=20, output=7, reasoning=3), "ok")
    assert usage_of(reported | {"total_tokens": 27}) == (Usage(input=20, output=4, reasoning=3), "ok")


def test_cached_tokens_beside_the_prompt() -> None:
    usage, _ = usage_of({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 1000})
    assert usage == Usage(input=10, cache_read=1000, output=5)


def test_totals_are_checked() -> None:
    assert usage_of({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 16})[1] == "mismatch"
    assert usage_of({"prompt_tokens": 10, "completion_tokens": 5})[1] == "unchecked"
    assert usage_of({"prompt_tokens": 10, "completion_tokens": 5.0, "total_tokens": 15})[1] == "ok"


def test_a_missing_side_follows_from_the_total() -> None:
    assert usage_of({"prompt_tokens": 10, "total_tokens": 16})[0] == Usage(input=10, output=6)
    assert usage_of({"completion_tokens": 6, "total_tokens": 16})[0] == Usage(input=10, output=6)
    assert take_apart(UsageObject()) is None
    assert take_apart(UsageObject(total_tokens=9)) is None


COUNTS = (
    st.none() | st.integers(-3, 2000) | st.floats(0, 100) | st.just("x") | st.booleans() | st.integers(2**62, 2**70)
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: COUNTS
            for name in ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
        }
        | {
            "prompt_tokens_details": st.none()
            | st.just([])
            | st.fixed_dictionaries(
                {},
                optional=dict.fromkeys(("cached_tokens", "audio_tokens", "image_tokens", "cache_write_tokens"), COUNTS),
            ),
            "completion_tokens_details": st.none()
            | st.fixed_dictionaries(
                {}, optional=dict.fromkeys(("reasoning_tokens", "audio_tokens", "image_tokens"), COUNTS)
            ),
        },
    )
)
def test_parts_are_never_negative_and_ok_means_that_they_add_up(reported: dict[str, Any]) -> None:
    reading = metered(CHAT, json.dumps({"choices": [], "usage": reported}).encode())
    usage = reading.usage
    if usage is None:
        return
    parts = (
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.output,
        usage.reasoning,
        usage.audio_input,
        usage.audio_output,
        usage.image_input,
        usage.image_output,
    )
    assert min(parts) >= 0
    if reading.check == "ok":
        assert usage.total == reported["total_tokens"] or usage.total > 2**60
