"""dialects/registry.py: every endpoint has an entry; what nobody meters passes unread."""

from __future__ import annotations

from typing import get_args

import pytest

from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading
from tests.dialects.samples import JSON, OPENAI_ANSWER, SSE


@pytest.mark.parametrize(
    ("dialect", "endpoint", "operation"),
    [
        ("openai", "chat", "chat"),
        ("openai", "embeddings", "embeddings"),
        ("anthropic", "messages", "chat"),
        ("google", "generate_content", "generate_content"),
        ("google", "stream_generate_content", "generate_content"),
    ],
)
def test_metered_endpoints_have_opentelemetrys_operation_names(dialect: Dialect, endpoint: str, operation: str) -> None:
    assert for_endpoint(dialect, endpoint).read(b"{}", None).operation == operation


@pytest.mark.parametrize("dialect", get_args(Dialect))
@pytest.mark.parametrize("endpoint", ["models", "files", "other", "never heard of", "messages_batches"])
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


def test_only_chat_has_the_usage_option() -> None:
    assert for_endpoint("openai", "chat").option is not None
    assert for_endpoint("openai", "embeddings").option is None
    assert for_endpoint("anthropic", "messages").option is None
