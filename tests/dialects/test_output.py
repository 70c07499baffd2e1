"""Setting a request's output maximum: that member and no other byte (I1), as each dialect names it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.output import GEMINI, ambiguity, output_field, with_output, with_output_slices
from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Dialect
from tests.dialects.test_positions import SEPARATORS, VALUES, drained

FLAT: list[tuple[Dialect, str, str]] = [
    ("openai", "chat", "max_completion_tokens"),
    ("openai", "chat", "max_tokens"),
    ("openai", "completions", "max_tokens"),
    ("openai", "responses", "max_output_tokens"),
    ("anthropic", "messages", "max_tokens"),
]


@pytest.mark.parametrize(
    ("dialect", "endpoint", "provider", "model", "field"),
    [
        ("openai", "chat", "openai", "gpt-4o", "max_completion_tokens"),
        ("openai", "chat", "azure", "my-deployment", "max_completion_tokens"),
        ("openai", "chat", "openai-eu", "gpt-5.4-mini", "max_completion_tokens"),
        ("openai", "chat", "openai-eu", "o3", "max_completion_tokens"),
        ("openai", "chat", "openrouter", "openai/gpt-5", "max_tokens"),
        ("openai", "chat", "vllm", "llama-3.3-70b", "max_tokens"),
        ("openai", "chat", "mistral", None, "max_tokens"),
        ("openai", "completions", "openai", "gpt-3.5-turbo-instruct", "max_tokens"),
        ("openai", "responses", "openai", "gpt-5", "max_output_tokens"),
        ("anthropic", "messages", "anthropic", "claude-opus-5", "max_tokens"),
        ("google", "generate_content", "google", "gemini-3-flash", GEMINI),
        ("google", "stream_generate_content", "google", "gemini-3-flash", GEMINI),
        ("openai", "embeddings", "openai", "text-embedding-3-small", None),
        ("google", "embed_content", "google", "gemini-embedding-001", None),
        ("openai", "other", "openai", None, None),
    ],
)
def test_the_member_each_dialect_names_it_by(
    dialect: Dialect, endpoint: str, provider: str, model: str | None, field: str | None
) -> None:
    assert output_field(dialect, endpoint, provider, model) == field


@pytest.mark.parametrize(("dialect", "endpoint", "field"), FLAT)
@given(st.dictionaries(st.sampled_from(["model", "messages", "input", "größe"]), VALUES, min_size=1), SEPARATORS)
def test_it_is_added_and_every_other_byte_stays_i1(
    dialect: Dialect, endpoint: str, field: str, members: dict[str, Any], separators: tuple[str, str]
) -> None:
    body = json.dumps(members, separators=separators).encode()
    patched = with_output(body, dialect, endpoint, field, 8192)
    assert patched == b'{"%b":8192,' % field.encode() + body[1:]
    assert drained(with_output_slices(body, dialect, endpoint, field, 8192)) == patched
    assert for_endpoint(dialect, endpoint).read(patched, "m").max_output == 8192


@pytest.mark.parametrize(("dialect", "endpoint", "field"), FLAT)
@given(st.one_of(st.none(), st.integers(-5, 20_000), st.floats(0, 20_000), st.just("x"), st.just(8000.0)), SEPARATORS)
def test_what_is_named_is_lowered_and_what_is_lower_stays_i1(
    dialect: Dialect, endpoint: str, field: str, named: object, separators: tuple[str, str]
) -> None:
    body = json.dumps({"model": "m", field: named, "user": "max_tokens"}, separators=separators).encode()
    patched = with_output(body, dialect, endpoint, field, 8192)
    assert patched is not None
    if isinstance(named, int | float) and 1 <= named <= 8192 and float(named).is_integer():
        assert patched == body
    else:
        assert patched == body.replace(json.dumps(named).encode(), b"8192", 1)
        assert json.loads(patched) == {"model": "m", field: 8192, "user": "max_tokens"}


def test_both_spellings_of_chat_are_lowered_i1() -> None:
    body = b'{"max_tokens": 9000, "model":"m" ,"max_completion_tokens":10000}'
    expected = b'{"max_tokens": 300, "model":"m" ,"max_completion_tokens":300}'
    assert with_output(body, "openai", "chat", "max_tokens", 300) == expected
    half = b'{"max_tokens":7,"max_completion_tokens":10000}'
    assert with_output(half, "openai", "chat", "max_tokens", 300) == half.replace(b"10000", b"300")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"contents":[]}', b'{"generationConfig":{"maxOutputTokens":500},"contents":[]}'),
        (b"{ }", b'{"generationConfig":{"maxOutputTokens":500} }'),
        (b'{"generationConfig":{}}', b'{"generationConfig":{"maxOutputTokens":500}}'),
        (b'{"generationConfig":null}', b'{"generationConfig":{"maxOutputTokens":500}}'),
        (b'{"generation_config":{"topK":1}}', b'{"generation_config":{"maxOutputTokens":500,"topK":1}}'),
        (b'{"generationConfig":{"maxOutputTokens":900}}', b'{"generationConfig":{"maxOutputTokens":500}}'),
        (b'{"generationConfig":{"max_output_tokens": 900 }}', b'{"generationConfig":{"max_output_tokens": 500 }}'),
        (b'{"generationConfig":{"maxOutputTokens":400}}', b'{"generationConfig":{"maxOutputTokens":400}}'),
        (b'{"generationConfig":{"maxOutputTokens":0}}', b'{"generationConfig":{"maxOutputTokens":500}}'),
        (b'{"generationConfig":{},"generation_config":{}}', None),
        (b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":900}}', None),
        (b'{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":900}}', None),
        (b'{"GenerationConfig":{}}', None),
        (b'{"generationConfig":[]}', None),
        (b'{"generationConfig":7}', None),
    ],
)
def test_gemini_names_it_inside_its_configuration_i1(body: bytes, expected: bytes | None) -> None:
    """Camel case or snake case, as `google.genai` and the REST reference have them."""
    assert with_output(body, "google", "generate_content", GEMINI, 500) == expected
    if expected is not None:
        assert for_endpoint("google", "generate_content").read(expected, "m").max_output in (400, 500)


@pytest.mark.parametrize("body", [b'{"max_tokens":1,"max_tokens":2}', b'{"Max_Tokens":2}', b"[]", b"", b"{"])
def test_where_nobody_knows_what_is_read_nothing_is_set(body: bytes) -> None:
    assert with_output(body, "openai", "chat", "max_tokens", 10) is None


@pytest.mark.parametrize(
    ("dialect", "endpoint", "body", "why"),
    [
        ("openai", "chat", b'{"n":1,"N":100}', "`N`"),
        ("openai", "chat", b'{"tools":[],"tools":[{"type":"web_search"}]}', "`tools` more than once"),
        ("openai", "responses", b'{"background":true,"background":false}', "`background` more than once"),
        ("anthropic", "messages", b'{"Model":"claude-opus-5","model":"claude-haiku-4-5"}', "`Model`"),
        ("google", "stream_generate_content", b'{"cachedcontent":"x"}', "`cachedcontent`"),
        ("openai", "chat", b'{"model":"m","messages":[{"n":1,"n":2}],"metadata":{"N":1}}', None),
        ("openai", "embeddings", b'{"input":1,"input":2}', None),
    ],
)
def test_ambiguity_of_what_limits_depend_on(dialect: Dialect, endpoint: str, body: bytes, why: str | None) -> None:
    """400 where a limit depends on the name."""
    found = drained(ambiguity(body, dialect, endpoint))
    assert found is None if why is None else why in str(found)
