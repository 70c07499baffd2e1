"""dialects/registry.py: every endpoint has an entry; what nobody meters passes unread."""

from __future__ import annotations

import tracemalloc
from typing import get_args

import pytest
from msgspec import structs

from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading
from tests.dialects.metering import metered
from tests.dialects.samples import JSON, OPENAI_ANSWER, SSE


def test_anthropics_count_tokens_reads_the_model() -> None:
    endpoint = for_endpoint("anthropic", "count_tokens")
    body = b'{"messages":[{"role":"user","content":"hi"}],"model":"claude-sonnet-5"}'
    expected = Ask("count_tokens", "claude-sonnet-5", input_bytes=len(body))
    assert endpoint.read(body, None) == expected
    slices = endpoint.read_slices(body, None)
    with pytest.raises(StopIteration) as done:
        next(slices)
    assert done.value.value == expected
    assert endpoint.read(b"oops", None).unread is not None


INTRICATE = {
    ("openai", "chat"): b'{"messages":[%b]}',
    ("openai", "responses"): b'{"input":[%b]}',
    ("openai", "completions"): b'{"prompt":[%b]}',
    ("openai", "image_edit"): b'{"images":[%b]}',
    ("anthropic", "messages"): b'{"messages":[{"content":[%b]}]}',
    ("anthropic", "count_tokens"): b'{"messages":[%b]}',
    ("google", "generate_content"): b'{"contents":[{"parts":[%b]}]}',
    ("google", "cached_contents"): b'{"contents":[%b]}',
}


@pytest.mark.parametrize(("dialect", "endpoint"), INTRICATE)
def test_I8_a_body_of_a_million_objects_is_not_decoded(dialect: Dialect, endpoint: str) -> None:
    """Eight megabytes of `{}` held the loop for two seconds, to tell how much the request may come to."""
    few, many = (INTRICATE[dialect, endpoint] % b",".join([b"{}"] * number) for number in (20_000, 400_000))
    entry = for_endpoint(dialect, endpoint)
    assert entry.intricate(many) and not entry.intricate(few)
    assert not entry.intricate(few + b" " * 8_000_000)
    tracemalloc.start()
    slices = entry.extent_slices(many)
    with pytest.raises(StopIteration) as done:
        while True:
            next(slices)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1024 * 1024
    assert done.value.value.window and done.value.value.dear and done.value.value.size == len(many)


def test_of_what_is_text_and_nothing_else_size_is_enough() -> None:
    numbers = b'{"input":[' + b"1," * 400_000 + b"1]}"
    assert not for_endpoint("openai", "embeddings").intricate(numbers)


def test_what_anthropic_counted_was_not_used() -> None:
    assert metered(("anthropic", "count_tokens"), b'{"input_tokens":377}', JSON) == Reading()


@pytest.mark.parametrize(
    ("dialect", "endpoint", "operation"),
    [
        ("openai", "chat", "chat"),
        ("openai", "responses", "chat"),
        ("openai", "completions", "text_completion"),
        ("openai", "embeddings", "embeddings"),
        ("anthropic", "messages", "chat"),
        ("google", "generate_content", "generate_content"),
        ("google", "stream_generate_content", "generate_content"),
        ("google", "embed_content", "embeddings"),
    ],
)
def test_metered_endpoints_have_opentelemetrys_operation_names(dialect: Dialect, endpoint: str, operation: str) -> None:
    assert for_endpoint(dialect, endpoint).read(b"{}", None).operation == operation


@pytest.mark.parametrize(
    ("dialect", "endpoint"),
    [
        *(("openai", endpoint) for endpoint in ("image_generation", "image_edit", "image_variation")),
        *(("openai", endpoint) for endpoint in ("speech", "transcription", "translation")),
        ("openai", "moderations"),
        ("anthropic", "count_tokens"),
        ("google", "cached_contents"),
    ],
)
def test_other_read_endpoints_keep_their_own_word(dialect: Dialect, endpoint: str) -> None:
    assert for_endpoint(dialect, endpoint).read(b"{}", None).operation == endpoint


@pytest.mark.parametrize(
    ("dialect", "endpoint", "answer"),
    [
        ("google", "count_tokens", b'{"totalTokens":1530,"cachedContentTokenCount":1024}'),
        ("anthropic", "batches", b'{"custom_id":"a","result":{"message":{"usage":{"input_tokens":9}}}}\n'),
        ("anthropic", "files", b'{"id":"file_1","size_bytes":9}'),
        ("openai", "images", b'{"created":1,"data":[],"usage":{"input_tokens":9,"output_tokens":9}}'),
        ("openai", "audio", b'{"text":"x","usage":{"input_tokens":9,"output_tokens":9}}'),
        ("openai", "batches", b'{"id":"batch_1","usage":{"input_tokens":9,"output_tokens":9}}'),
    ],
)
def test_counts_listings_and_results_are_no_usage(dialect: Dialect, endpoint: str, answer: bytes) -> None:
    """A batch's usage is reported with each of its results again: whoever downloads them twice used nothing twice."""
    entry = for_endpoint(dialect, endpoint)
    for content_type in (JSON, "application/x-jsonl"):
        meter = entry.meter(entry.read(b"", None), content_type, 200)
        meter.feed(answer)
        assert structs.replace(meter.finish(complete=True), job=None) == Reading()


@pytest.mark.parametrize("dialect", get_args(Dialect))
@pytest.mark.parametrize("endpoint", ["models", "images", "other", "never heard of", "messages_batches"])
def test_any_other_endpoint_reads_and_counts_nothing(dialect: Dialect, endpoint: str) -> None:
    entry = for_endpoint(dialect, endpoint)
    ask = entry.read(b"\xff not json", "path-model")
    assert ask == Ask(operation=endpoint, model="path-model", input_bytes=10)
    slices = entry.read_slices(b"\xff not json", "path-model")
    with pytest.raises(StopIteration) as done:
        next(slices)
    assert done.value.value == ask
    for content_type in (JSON, SSE, "image/png"):
        meter = entry.meter(ask, content_type, 200)
        meter.feed(OPENAI_ANSWER)
        assert meter.finish(complete=True) == Reading()
        assert not meter.first_token
    assert entry.option is None


def test_only_completions_have_the_usage_option() -> None:
    assert for_endpoint("openai", "chat").option is not None
    assert for_endpoint("openai", "completions").option is not None
    assert for_endpoint("openai", "responses").option is None
    assert for_endpoint("openai", "embeddings").option is None
    assert for_endpoint("anthropic", "messages").option is None
