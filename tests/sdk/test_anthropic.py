"""The Anthropic Python SDK through the gateway."""

from __future__ import annotations

import asyncio
import json

import anthropic
import pytest
from anthropic.types import Message, MessageParam, ThinkingConfigParam, ToolParam
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from tests.fakes import Answer, Misbehaviour, anthropic_api
from tests.running import House

KEY = "sk-ant-api03-callers-own-key"
MODEL = "claude-sonnet-5"
HELLO: list[MessageParam] = [{"role": "user", "content": "Say hello"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"location": {"type": "string"}}},
}
BASES = (
    "/anthropic",
    "/trueportai-services/anthropic/v1",
    "/trueportai-services/anthropic",
    "/api/v1/gateway/proxy/v1",
)


def connect(house: House, base: str = "/anthropic") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=house.url + base, api_key=KEY, max_retries=0, timeout=20)


@pytest.mark.parametrize("base", BASES)
def test_messages_on_every_base(house: House, base: str) -> None:
    """T2, O1, A1: `/v1/v1/` becomes `/v1/`; the key arrives where the SDK put it."""
    with house.gateway.recorded() as records, connect(house, base) as client:
        message = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO)
    assert message.content[0].type == "text" and message.content[0].text == anthropic_api.TEXT
    seen = house.only(house.anthropic)
    assert (seen.method, seen.target) == ("POST", "/v1/messages")
    assert (seen.header("x-api-key") or seen.header("authorization")) in (KEY, f"Bearer {KEY}")
    assert seen.header("anthropic-version") is not None
    [record] = records
    assert record.decision["route"] == "anthropic/messages"
    assert record.decision["operation"] == "chat"
    assert record.decision["max_output"] == 64
    assert record.outcome["outcome"] == "ok"
    assert record.outcome["model"] == MODEL
    assert record.outcome["response_id"] == anthropic_api.MESSAGE_ID
    assert record.outcome["upstream_request_id"] == anthropic_api.REQUEST_ID
    assert record.usage == {"input": anthropic_api.INPUT_TOKENS, "output": anthropic_api.OUTPUT_TOKENS}
    priced = PricedUsage(input_tokens=anthropic_api.INPUT_TOKENS, output_tokens=anthropic_api.OUTPUT_TOKENS)
    expected = calc_price(priced, MODEL, provider_id="anthropic").total_price
    assert record.outcome["cost"] == int(expected * 10**9)


def test_a_bearer_token_is_forwarded_as_one(house: House) -> None:
    """Claude Code sends ANTHROPIC_AUTH_TOKEN so (O12)."""
    token = "sk-ant-oat01-token"
    with anthropic.Anthropic(base_url=house.url + "/anthropic", auth_token=token, max_retries=0) as client:
        client.messages.create(model=MODEL, max_tokens=64, messages=HELLO)
    seen = house.only(house.anthropic)
    assert seen.header("authorization") == f"Bearer {token}"
    assert seen.header("x-api-key") is None


@pytest.mark.parametrize("streamed", [False, True])
def test_cache_writes_of_both_lifetimes_are_disjoint_parts(house: House, streamed: bool) -> None:
    """FIELD: cached tokens counted twice or not at all. The four input parts come apart, streamed or not."""
    cached: list[MessageParam] = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        }
    ]
    with house.gateway.recorded() as records, connect(house) as client:
        if streamed:
            with client.messages.stream(model=MODEL, max_tokens=64, messages=cached) as stream:
                stream.get_final_message()
        else:
            client.messages.create(model=MODEL, max_tokens=64, messages=cached)
    assert records[0].usage == {
        "input": anthropic_api.INPUT_TOKENS,
        "cache_read": anthropic_api.CACHE_READ,
        "cache_write": anthropic_api.CACHE_WRITE_5M,
        "cache_write_1h": anthropic_api.CACHE_WRITE_1H,
        "output": anthropic_api.OUTPUT_TOKENS,
    }
    assert records[0].outcome["usage_source"] == "provider"


def test_stream_events_arrive_as_sent(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO, stream=True)
        kinds = [event.type for event in stream]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert kinds.count("content_block_delta") == len(anthropic_api.PIECES)
    assert records[0].outcome["finish_reasons"] == ["end_turn"]
    assert records[0].usage["output"] == anthropic_api.OUTPUT_TOKENS
    assert records[0].outcome["first_token_us"] > 0


def test_async_stream(house: House) -> None:
    async def run() -> str:
        client = anthropic.AsyncAnthropic(base_url=house.url + "/anthropic", api_key=KEY, max_retries=0)
        async with client, client.messages.stream(model=MODEL, max_tokens=64, messages=HELLO) as stream:
            return "".join([text async for text in stream.text_stream])

    assert asyncio.run(run()) == anthropic_api.TEXT


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking_is_counted_as_reasoning(house: House, streamed: bool) -> None:
    thinking: ThinkingConfigParam = {"type": "enabled", "budget_tokens": 1024}
    message: Message
    with house.gateway.recorded() as records, connect(house) as client:
        if streamed:
            with client.messages.stream(model=MODEL, max_tokens=4096, thinking=thinking, messages=HELLO) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(model=MODEL, max_tokens=4096, thinking=thinking, messages=HELLO)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert records[0].usage["reasoning"] == anthropic_api.THINKING_TOKENS
    assert records[0].usage["output"] == anthropic_api.OUTPUT_TOKENS


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_use(house: House, streamed: bool) -> None:
    message: Message
    with house.gateway.recorded() as records, connect(house) as client:
        if streamed:
            with client.messages.stream(model=MODEL, max_tokens=64, messages=HELLO, tools=[WEATHER]) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO, tools=[WEATHER])
    used = message.content[-1]
    assert used.type == "tool_use" and used.input == {"location": "Paris"}
    assert records[0].outcome["finish_reasons"] == ["tool_use"]


def test_models_and_token_counting_use_nothing(house: House) -> None:
    with house.gateway.recorded(2) as records, connect(house) as client:
        assert client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens == anthropic_api.INPUT_TOKENS
        assert [model.id for model in client.models.list()] == [MODEL]
    assert (records[0].decision["operation"], records[0].decision["model"]) == ("count_tokens", MODEL)
    assert [record.usage for record in records] == [{}, {}]
    assert not any("price" in record.outcome for record in records), "not applicable"


def test_a_batchs_results_pass_untouched_and_are_not_priced(house: House) -> None:
    """Each result names its usage: whoever downloads them twice has not used it twice."""
    message = {"role": "assistant", "usage": {"input_tokens": 9, "output_tokens": 9}, "content": []}
    line = {"custom_id": "a", "result": {"type": "succeeded", "message": message}}
    results = b"".join(json.dumps(line).encode() + b"\n" for _ in range(1000))
    house.anthropic.respond(Answer(200, (("content-type", "application/x-jsonl"),), results))
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    with house.gateway.recorded(2) as records:
        for _ in range(2):
            path = "/anthropic/v1/messages/batches/msgbatch_1/results"
            status, _, body = house.gateway.call("GET", path, headers=headers)
            assert (status, body) == (200, results)
    assert {record.decision["route"] for record in records} == {"anthropic/batches"}
    assert [record.usage for record in records] == [{}, {}]
    assert not any("price" in record.outcome for record in records), "not applicable"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
def test_errors_of_the_provider(house: House, status: int, expected: type[anthropic.APIStatusError]) -> None:
    house.anthropic.misbehave(Misbehaviour(error=status))
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises(expected) as raised:
            client.messages.create(model=MODEL, max_tokens=64, messages=HELLO)
    assert raised.value.status_code == status
    assert raised.value.response.json()["type"] == "error"
    assert records[0].outcome["upstream_status"] == status


def test_overloaded_in_the_middle_of_a_stream(house: House) -> None:
    """The provider's own error event passes; the outcome still says how the transport ended."""
    asked = {"model": MODEL, "max_tokens": 64, "messages": HELLO}
    house.anthropic.respond(anthropic_api.overloaded_mid_stream(asked))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO, stream=True)
        with pytest.raises(anthropic.APIStatusError) as raised:
            list(stream)
    assert "overloaded_error" in str(raised.value)
    assert records[0].outcome["outcome"] == "ok"
    assert records[0].usage["input"] == anthropic_api.INPUT_TOKENS


@pytest.mark.parametrize("cut", [*range(960, 1000, 5), 1000])
def test_a_stream_the_provider_cuts_ends_in_an_error(house: House, cut: int) -> None:
    """F4: the dialect's own error event, also behind half an event, then an abnormal end; what `message_start` said is
    not lost (F3)."""
    house.anthropic.misbehave(Misbehaviour(cut=cut))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO, stream=True)
        with pytest.raises(anthropic.APIStatusError):
            list(stream)
    assert records[0].outcome["outcome"] == "cut"
    assert records[0].usage["input"] == anthropic_api.INPUT_TOKENS


def test_cancelling_a_stream(house: House) -> None:
    """I10, F4."""
    house.anthropic.misbehave(Misbehaviour(slow=0.05))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO, stream=True)
        for _, _ in zip(range(4), stream, strict=False):
            pass
        stream.close()
    assert house.only(house.anthropic).wait() == "gone"
    assert records[0].outcome["outcome"] == "client_gone"
    assert records[0].outcome["usage_source"] == "estimated"


def test_gateway_errors_are_the_sdks_own_exceptions(house: House) -> None:
    """I11: one body that this SDK reads too."""
    house.anthropic.misbehave(Misbehaviour(close=True), times=2)
    with house.gateway.recorded(), connect(house) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            client.messages.create(model=MODEL, max_tokens=64, messages=HELLO)
    body = raised.value.response.json()
    assert (body["type"], body["code"], raised.value.status_code) == ("error", "UPSTREAM_ERROR", 502)
    assert body["error"]["message"]
