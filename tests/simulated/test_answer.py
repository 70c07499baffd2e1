"""The simulated provider, asked by openai-py itself (3.52): what its own types parse is the right shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from gatehouse.config.settings import Simulated
from gatehouse.simulated.answer import Answer, answer

SETTINGS = Simulated(tokens_per_second=50)
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello!"}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a place",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 2},
                "note": {"type": "string"},
            },
            "required": ["city", "unit", "days"],
        },
    },
}
TIME: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}


def respond(request: httpx2.Request) -> httpx2.Response:
    given_ = answer(request.method.encode(), request.url.path, request.read(), SETTINGS, created=1_763_669_000)
    body = b"".join(piece for _, piece in given_.pieces)
    assert given_.length in (None, len(body))
    return httpx2.Response(given_.status, headers=given_.headers, content=body)


def connect(*, strict: bool) -> openai.OpenAI:
    return openai.OpenAI(
        base_url="http://gateway.test/v1",
        api_key="x",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(respond)),
        _strict_response_validation=strict,
    )


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    with connect(strict=True) as client:
        yield client


def ask(body: object, path: str = "/v1/chat/completions", method: bytes = b"POST") -> tuple[Answer, Any]:
    given_ = answer(method, path, json.dumps(body).encode(), SETTINGS)
    return given_, json.loads(b"".join(piece for _, piece in given_.pieces))


def chat(client: openai.OpenAI, **how: Any) -> ChatCompletion:
    return client.chat.completions.create(**{"model": "any", "messages": HELLO, **how})  # type: ignore[no-any-return]


def stream(client: openai.OpenAI, **how: Any) -> list[ChatCompletionChunk]:
    return list(client.chat.completions.create(**{"model": "any", "messages": HELLO, "stream": True, **how}))


def test_an_answer(client: openai.OpenAI) -> None:
    first = chat(client, model="gpt-4o-mini")
    assert first.object == "chat.completion"
    assert (first.model, first.created) == ("gpt-4o-mini", 1_763_669_000)
    choice = first.choices[0]
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert choice.message.content is not None
    assert '"Hello!"' in choice.message.content
    assert first.usage is not None
    assert first.usage.prompt_tokens > 0
    assert first.usage.completion_tokens > 10
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    assert chat(client, model="gpt-4o-mini") == first, "same request, same answer"
    other = chat(client, messages=[{"role": "user", "content": "Hello?"}])
    assert other.choices[0].message.content != choice.message.content
    assert other.id != first.id


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    whole = chat(client, n=2)
    chunks = stream(client, n=2, stream_options={"include_usage": True})
    for index in (0, 1):
        mine = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == index]
        assert mine[0].delta.role == "assistant"
        assert "".join(c.delta.content or "" for c in mine) == whole.choices[index].message.content
        assert [c.finish_reason for c in mine if c.finish_reason] == ["stop"]
    assert whole.choices[0].message.content != whole.choices[1].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1
    assert sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) == chunks[-1].usage.completion_tokens  # type: ignore[union-attr]


def test_usage_in_streams_is_asked_for(client: openai.OpenAI) -> None:
    """With it every chunk carries `usage`, without it none does."""
    body = {"model": "m", "messages": HELLO, "stream": True}
    for asked in (True, False):
        options = {"stream_options": {"include_usage": asked}}
        given_ = answer(b"POST", "/v1/chat/completions", json.dumps(body | options).encode(), SETTINGS)
        events = [piece for _, piece in given_.pieces]
        assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events)
        assert events[-1] == b"data: [DONE]\n\n"
        assert all((b'"usage":' in event) is asked for event in events[:-1])
    assert all(chunk.usage is None for chunk in stream(client))


def test_streams_come_at_their_rate() -> None:
    body = json.dumps({"model": "m", "messages": HELLO, "stream": True, "n": 2}).encode()
    given_ = answer(b"POST", "/v1/chat/completions", body, Simulated(tokens_per_second=25))
    assert given_.length is None
    assert dict(given_.headers)[b"content-type"].startswith(b"text/event-stream")
    delays = [delay for delay, _ in given_.pieces]
    assert set(delays) == {0.0, 0.04}
    assert delays[0] == 0.0, "the first chunk comes at once"
    assert delays.count(0.04) == max(
        len([p for _, p in answer(b"POST", "/v1/chat/completions", body, SETTINGS).pieces if b'"index":%d' % i in p])
        - 1
        for i in (0, 1)
    ), "choices of one step come together"


def test_a_limit_cuts(client: openai.OpenAI) -> None:
    full = chat(client)
    for how in ({"max_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 5}):
        cut = chat(client, **how)
        assert cut.choices[0].finish_reason == "length"
        assert cut.usage is not None
        assert cut.usage.completion_tokens == 5
        assert full.choices[0].message.content is not None
        assert full.choices[0].message.content.startswith(cut.choices[0].message.content or "?")
        assert stream(client, **how)[-1].choices[0].finish_reason == "length"


def test_stop_texts_and_length(client: openai.OpenAI) -> None:
    stopped = chat(client, stop=["simulated"]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("A ", "stop")
    long = chat(client, messages=[{"role": "user", "content": "Tell me a story in 300 words."}])
    assert len((long.choices[0].message.content or "").split()) == 300


def test_tools_on_request(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "Please call get_weather."}]
    called = chat(client, messages=asked, tools=[TIME, WEATHER])
    choice = called.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "city", "unit": "celsius", "days": 2}
    assert chat(client, messages=asked, tools=[WEATHER], tool_choice="none").choices[0].finish_reason == "stop"
    assert chat(client, tools=[WEATHER]).choices[0].finish_reason == "stop", "nobody asked for a call"


def test_tool_calls_stream(client: openai.OpenAI) -> None:
    said = 'call get_weather {"city": "Paris", "n": [1, 2]} and call `get_time`'
    how: dict[str, Any] = {"messages": [{"role": "user", "content": said}], "tools": [WEATHER, TIME]}
    whole = chat(client, **how).choices[0].message.tool_calls
    assert whole is not None
    with client.chat.completions.stream(model="any", **how) as streaming:
        final = streaming.get_final_completion()
    assembled = final.choices[0].message.tool_calls
    assert assembled is not None
    assert [(c.function.name, c.function.arguments) for c in assembled] == [
        (c.function.name, c.function.arguments) for c in whole if c.type == "function"
    ]
    assert len({c.id for c in assembled}) == 2
    assert [json.loads(c.function.arguments) for c in assembled] == [{"city": "Paris", "n": [1, 2]}, {}]
    assert final.choices[0].finish_reason == "tool_calls"
    deltas = [d for c in stream(client, **how) for d in c.choices[0].delta.tool_calls or []]
    assert [d.index for d in deltas if d.id] == [0, 1]
    assert all(d.id is None and d.type is None for d in deltas if not (d.function and d.function.name))
    one = chat(client, **how, parallel_tool_calls=False).choices[0].message.tool_calls
    assert one is not None
    assert len(one) == 1


def test_tool_choice_forces(client: openai.OpenAI) -> None:
    forced: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}
    for choice, name in (("required", "get_weather"), (forced, "get_time")):
        calls = chat(client, tools=[WEATHER, TIME], tool_choice=choice).choices[0].message.tool_calls
        assert calls is not None
        assert [c.function.name for c in calls if c.type == "function"] == [name]


def test_tool_results_are_answered(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "call get_weather"}]
    message = chat(client, messages=asked, tools=[WEATHER]).choices[0].message
    assert message.tool_calls is not None
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "21 degrees"}
    answered = chat(client, messages=[*asked, message, result], tools=[WEATHER]).choices[0]
    assert answered.finish_reason == "stop"
    assert answered.message.content == "get_weather returned: 21 degrees"


class Step(BaseModel):
    number: int
    done: bool
    tags: list[str]


class Plan(BaseModel):
    title: str
    steps: list[Step]


def test_json_answers(client: openai.OpenAI) -> None:
    plain = chat(client, response_format={"type": "json_object"}).choices[0].message.content
    assert set(json.loads(plain or "")) == {"answer"}
    parsed = client.chat.completions.parse(model="any", messages=HELLO, response_format=Step)  # type: ignore[arg-type]
    assert parsed.choices[0].message.parsed == Step(number=1, done=True, tags=["tags"])
    nested = client.chat.completions.parse(model="any", messages=HELLO, response_format=Plan)  # type: ignore[arg-type]
    assert nested.choices[0].message.parsed == Plan(title="title", steps=[Step(number=1, done=True, tags=["tags"])])


def test_embeddings() -> None:
    """openai-py asks for base64 unless told otherwise, and decodes it (its strict mode has no type for base64)."""
    client = connect(strict=False)
    both = client.embeddings.create(model="any", input=["one", "two", "one"])
    floats = client.embeddings.create(model="any", input=["one", "two", "one"], encoding_format="float")
    assert [item.index for item in both.data] == [0, 1, 2]
    assert both.data[0].embedding == both.data[2].embedding != both.data[1].embedding
    assert sum(x * x for x in both.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert both.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-7)
    assert len(both.data[0].embedding) == 256
    assert (both.usage.prompt_tokens, both.usage.total_tokens, both.model) == (3, 3, "any")
    assert len(client.embeddings.create(model="any", input="one", dimensions=8).data[0].embedding) == 8
    assert client.embeddings.create(model="any", input=[[1, 2], [3]]).usage.prompt_tokens == 3
    assert len(client.embeddings.create(model="any", input=[1, 2]).data) == 1


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["simulated-chat", "simulated-embedding"]
    assert client.models.retrieve("gpt-9").id == "gpt-9"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "robot", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"model": ""}, "model"),
        ({"model": 4}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"n": 1000}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_bad_requests_name_the_field(client: openai.OpenAI, change: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"model": "m", "messages": HELLO} | change, cast_to=object)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_missing_fields_are_named() -> None:
    for body, param in (({"messages": HELLO}, "model"), ({"model": "m"}, "messages"), ({}, "model")):
        given_, error = ask(body)
        assert (given_.status, error["error"]["param"]) == (400, param)
    empty: list[tuple[dict[str, Any], str]] = [
        ({}, "input"), ({"input": []}, "input"), ({"input": 5}, "input"), ({"input": ""}, "input[0]"),
    ]  # fmt: skip
    for body, param in empty:
        given_, error = ask({"model": "m"} | body, "/v1/embeddings")
        assert (given_.status, error["error"]["param"]) == (400, param)
    given_, error = ask({"model": "m", "input": ["x", ""]}, "/v1/embeddings")
    assert error["error"]["param"] == "input[1]"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[]", b"null", b'{"model": "\\ud800"}', b"[" * 5000, b'{"a":' * 5000]
)
def test_unreadable_bodies(body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        given_ = answer(b"POST", path, body, SETTINGS)
        error = json.loads(b"".join(piece for _, piece in given_.pieces))["error"]
        assert (given_.status, error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        (b"GET", "/v1/chat/completions", 405, "method_not_supported"),
        (b"POST", "/v1/models", 405, "method_not_supported"),
        (b"POST", "/v1/images/generations", 404, "unknown_url"),
        (b"GET", "/", 404, "unknown_url"),
        (b"GET", "", 404, "unknown_url"),
    ],
)
def test_other_paths(method: bytes, path: str, status: int, code: str) -> None:
    given_, error = ask({}, path, method)
    assert (given_.status, error["error"]["code"]) == (status, code)


def test_answers_have_a_request_id() -> None:
    first, _ = ask({"model": "m", "messages": HELLO})
    second, _ = ask({"model": "m2", "messages": HELLO})
    assert dict(first.headers)[b"x-request-id"] != dict(second.headers)[b"x-request-id"]
    assert dict(first.headers)[b"content-type"] == b"application/json"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_KEYS = st.sampled_from(
    "model messages stream n max_tokens stop tools tool_choice response_format stream_options input dimensions".split()
)


@given(
    st.dictionaries(_KEYS, _JSON, max_size=6),
    st.sampled_from(["/v1/chat/completions", "/v1/embeddings"]),
    st.fixed_dictionaries(
        {}, optional={"messages": st.just(HELLO), "model": st.just("m"), "tools": st.just([WEATHER])}
    ),
)
def test_any_json_is_answered_or_refused(body: dict[str, Any], path: str, good: dict[str, Any]) -> None:
    given_, _ = _any(body | good, path)
    assert given_.status in (200, 400)


def _any(body: object, path: str) -> tuple[Answer, bytes]:
    given_ = answer(b"POST", path, json.dumps(body).encode(), SETTINGS)
    return given_, b"".join(piece for _, piece in given_.pieces)


def test_a_schema_that_refers_to_itself_is_bounded() -> None:
    """I9."""
    node = {"type": "object", "properties": {f"p{i}": {"$ref": "#/$defs/node"} for i in range(10)}}
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}
    how = {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}}
    given_, body = _any({"model": "m", "messages": HELLO} | how, "/v1/chat/completions")
    assert given_.status == 200
    assert len(body) < 50_000


@given(_JSON, st.sampled_from(["parameters", "schema"]))
def test_any_schema_makes_a_value(schema: Any, where: str) -> None:
    schema = schema if isinstance(schema, dict) else {"type": "object", "properties": {"a": schema}}
    if where == "parameters":
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        how: dict[str, Any] = {"tools": [tool], "tool_choice": "required"}
    else:
        how = {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}}
    given_, _ = _any({"model": "m", "messages": HELLO} | how, "/v1/chat/completions")
    assert given_.status == 200
