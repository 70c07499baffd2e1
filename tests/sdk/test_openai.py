"""The OpenAI Python SDK through the gateway: what upstream saw, what the caller got, what the record says."""

from __future__ import annotations

import asyncio
import hashlib
import json

import openai
import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.fakes import Misbehaviour, openai_api
from tests.running import House

KEY = "sk-proj-callers-own-key-0001"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
BASES = ("/openai/v1", "/api/v1/gateway/proxy/v1", "/trueportai-services/openai/v1")
CHAT_USAGE = {
    "input": openai_api.PROMPT_TOKENS - openai_api.CACHED_TOKENS,
    "cache_read": openai_api.CACHED_TOKENS,
    "output": openai_api.COMPLETION_TOKENS,
}


def connect(house: House, base: str = "/openai/v1", key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=house.url + base, api_key=key, max_retries=0, timeout=20)


def chat_cost() -> int:
    """Nano-dollars, by the price library's own reckoning."""
    used = PricedUsage(
        input_tokens=openai_api.PROMPT_TOKENS,
        cache_read_tokens=openai_api.CACHED_TOKENS,
        output_tokens=openai_api.COMPLETION_TOKENS,
    )
    return int(calc_price(used, "gpt-4o-2024-08-06", provider_id="openai").total_price * 10**9)


@pytest.mark.parametrize("base", BASES)
def test_chat_on_every_base(house: House, base: str) -> None:
    """A1, T1, O1: unchanged client, one base URL; the record knows model, tokens, cost and a keyed hash of the key."""
    with house.gateway.recorded() as records, connect(house, base) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
        completion = raw.parse()
    assert completion.choices[0].message.content == openai_api.TEXT
    assert completion.usage is not None and completion.usage.total_tokens == 1127
    seen = house.only(house.openai)
    assert (seen.method, seen.target) == ("POST", "/v1/chat/completions")
    assert seen.header("authorization") == f"Bearer {KEY}"
    [record] = records
    assert raw.headers["x-gatehouse-id"] == record.call
    assert record.decision["path"] == base + "/chat/completions"
    assert record.decision["path_sent"] == "/v1/chat/completions"
    assert record.decision["route"] == "openai/chat"
    assert record.decision["operation"] == "chat"
    assert record.decision["model"] == "gpt-4o"
    assert KEY not in json.dumps([record.decision, record.outcome])
    assert len(record.decision["provider_key_hash"]) == 32
    assert record.outcome["outcome"] == "ok"
    assert (record.outcome["status"], record.outcome["upstream_status"]) == (200, 200)
    assert record.outcome["model"] == "gpt-4o-2024-08-06"
    assert record.outcome["finish_reasons"] == ["stop"]
    assert record.outcome["upstream_request_id"] == openai_api.REQUEST_ID
    assert record.usage == CHAT_USAGE
    assert (record.outcome["usage_source"], record.outcome["usage_check"]) == ("provider", "ok")
    assert (record.outcome["price"], record.outcome["cost"]) == ("known", chat_cost())


def test_answers_lose_only_what_the_origin_must_not_get(house: House) -> None:
    """Rate-limit headers pass, cookies and alternative services do not; gateway headers are there."""
    with connect(house) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    assert raw.headers["x-ratelimit-remaining-requests"] == "9999"
    assert raw.headers["x-request-id"] == openai_api.REQUEST_ID
    assert raw.headers["x-content-type-options"] == "nosniff"
    assert not {"set-cookie", "alt-svc"} & {name.lower() for name in raw.headers}


def test_async_calls_side_by_side(house: House) -> None:
    async def run() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=house.url + "/openai/v1", api_key=KEY, max_retries=0) as client:
            calls = [client.chat.completions.create(model="gpt-4o", messages=HELLO) for _ in range(16)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    with house.gateway.recorded(16) as records:
        assert asyncio.run(run()) == [openai_api.TEXT] * 16
    assert {record.outcome["outcome"] for record in records} == {"ok"}
    assert len({record.call for record in records}) == 16


def test_async_stream(house: House) -> None:
    async def run() -> str:
        async with openai.AsyncOpenAI(base_url=house.url + "/openai/v1", api_key=KEY, max_retries=0) as client:
            stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    with house.gateway.recorded() as records:
        assert asyncio.run(run()) == openai_api.TEXT
    assert records[0].usage == CHAT_USAGE


def test_stream_with_usage_asked_for_by_the_caller_is_untouched(house: House) -> None:
    """I1: nothing to rewrite, so the upstream request and the caller's answer are byte for byte what was sent."""
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    [record] = records
    assert "rewritten" not in record.decision and "forwarded_sha256" not in record.decision
    assert record.decision["request_sha256"] == hashlib.sha256(house.only(house.openai).body).hexdigest()
    assert record.usage == CHAT_USAGE
    assert 0 < record.outcome["first_token_us"] <= record.outcome["duration_us"]


def test_stream_usage_is_asked_for_and_taken_out_again(house: House) -> None:
    """F3, I1's one exception: the caller sees no trace of usage, the record has it, and says what was rewritten."""
    with house.gateway.recorded() as records, connect(house) as client:
        chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == openai_api.TEXT
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    seen = house.only(house.openai)
    assert seen.json()["stream_options"] == {"include_usage": True}
    assert (seen.header("accept-encoding") or "identity") == "identity"
    [record] = records
    assert record.decision["rewritten"] != []
    assert record.decision["forwarded_sha256"] == hashlib.sha256(seen.body).hexdigest()
    assert record.usage == CHAT_USAGE
    assert record.outcome["cost"] == chat_cost()


@pytest.mark.parametrize("streamed", [False, True])
def test_tools(house: House, streamed: bool) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        if streamed:
            with client.chat.completions.stream(model="gpt-4o", messages=HELLO, tools=[WEATHER]) as stream:
                choice = stream.get_final_completion().choices[0]
        else:
            choice = client.chat.completions.parse(model="gpt-4o", messages=HELLO, tools=[WEATHER]).choices[0]
    calls = choice.message.tool_calls
    assert calls is not None and calls[0].function.arguments == '{"city":"Paris","units":"c"}'
    assert records[0].outcome["finish_reasons"] == ["tool_calls"]


def test_reasoning_tokens_are_a_part_of_their_own(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        client.chat.completions.create(model="o3-mini", messages=HELLO)
    assert records[0].usage == {**CHAT_USAGE, "reasoning": openai_api.REASONING_TOKENS}


def test_embeddings(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert len(answer.data) == 2
    [record] = records
    assert record.decision["operation"] == "embeddings"
    assert record.usage == {"input": openai_api.EMBEDDING_TOKENS}
    assert record.outcome["price"] == "known"


def test_models_are_listed_and_not_priced(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        assert [model.id for model in client.models.list()][0] == "gpt-4o"
    assert "usage" not in records[0].outcome
    # `price` is then `not_applicable`, its default, which is not written.
    assert "price" not in records[0].outcome and "cost" not in records[0].outcome


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_providers_own_error_is_passed_on_as_it_is(
    house: House, status: int, expected: type[openai.APIStatusError]
) -> None:
    """T13's declared deviation, I11; and the call leaves a record (F5)."""
    house.openai.misbehave(Misbehaviour(error=status))
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises(expected) as raised:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert raised.value.response.headers["x-gatehouse-error"] == "upstream"
    assert "detail" not in raised.value.response.json()
    if status == 429:
        assert raised.value.response.headers["retry-after"] == "1"
    [record] = records
    assert record.outcome["outcome"] == "ok"
    assert (record.outcome["status"], record.outcome["upstream_status"]) == (status, status)


def test_a_retry_after_of_days_does_not_put_clients_to_sleep(house: House) -> None:
    """The provider's word stays, and clients are told not to wait for it."""
    limited = openai_api.failure(
        429, "Slow down", "requests", None, "rate_limit_exceeded", (("retry-after", "864000"),)
    )
    house.openai.respond(limited)
    with connect(house).with_options(max_retries=2) as client:
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert raised.value.response.headers["retry-after"] == "864000"
    assert raised.value.response.headers["x-should-retry"] == "false"
    house.only(house.openai)


def test_cancelling_a_stream_reaches_the_provider_and_is_recorded(house: House) -> None:
    """I10, F4: upstream is left at once; what was used so far is on the record, marked as estimated."""
    house.openai.misbehave(Misbehaviour(slow=0.05))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        for _, _ in zip(range(3), stream, strict=False):
            pass
        stream.close()
    assert house.only(house.openai).wait() == "gone"
    [record] = records
    assert record.outcome["outcome"] == "client_gone"
    assert record.outcome["usage_source"] == "estimated"
    assert record.usage["output"] > 0 and record.usage["input"] > 0
    assert record.outcome["cost"] > 0


def test_leaving_before_the_answer_reaches_the_provider_too(house: House) -> None:
    house.openai.misbehave(Misbehaviour(silent=True))
    with house.gateway.recorded() as records, connect(house).with_options(timeout=2.0) as client:
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert house.only(house.openai).wait() == "gone"
    assert records[0].outcome["outcome"] == "client_gone"
    assert "upstream_status" not in records[0].outcome


def test_a_stream_the_provider_cuts_ends_in_an_error(house: House) -> None:
    """F4, F3: never a clean end; the outcome is `cut`, the tokens so far are estimated and not zero."""
    house.openai.misbehave(Misbehaviour(cut=1500))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError):
            list(stream)
    [record] = records
    assert record.outcome["outcome"] == "cut"
    assert (record.outcome["usage_source"], record.usage["output"] > 0) == ("estimated", True)


@pytest.mark.parametrize("plan", [Misbehaviour(cut=100), Misbehaviour(length=50)])
def test_a_plain_answer_cut_short_does_not_look_whole(house: House, plan: Misbehaviour) -> None:
    house.openai.misbehave(plan)
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert records[0].outcome["outcome"] == "cut"


@pytest.mark.parametrize("plan", [Misbehaviour(close=True), Misbehaviour(close=True, reset=True)])
def test_an_upstream_that_gives_no_answer_is_502(house: House, plan: Misbehaviour) -> None:
    """T13, I11: the body has `detail`, `code`, `retry_after` at the top and reads as the SDK's own exception."""
    house.openai.misbehave(plan, times=2)
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert raised.value.status_code == 502
    body = raised.value.response.json()
    assert body["code"] == "UPSTREAM_ERROR" and isinstance(body["detail"], str) and "retry_after" in body
    assert raised.value.response.headers["x-gatehouse-error"] == "gateway"
    assert records[0].outcome["outcome"] == "upstream_error"


def test_a_redirect_is_502_and_nobody_is_sent_there(house: House) -> None:
    """I3: SDKs re-post prompt and key to a 307's target."""
    house.openai.misbehave(Misbehaviour(redirect=house.anthropic.url + "/v1/chat/completions"))
    with house.gateway.recorded(), connect(house) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert raised.value.status_code == 502
    house.only(house.openai)


def test_interim_heads_are_consumed(house: House) -> None:
    house.openai.misbehave(Misbehaviour(interim=103))
    with house.gateway.recorded() as records, connect(house) as client:
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message.content
    assert records[0].outcome["status"] == 200


def test_the_sdks_organization_headers_pass_with_the_callers_own_key(house: House) -> None:
    """Without a stored credential nothing of the caller's own is taken away."""
    with openai.OpenAI(
        base_url=house.url + "/openai/v1", api_key=KEY, organization="org-1", project="proj_1"
    ) as client:
        client.models.list()
    seen = house.only(house.openai)
    assert (seen.header("openai-organization"), seen.header("openai-project")) == ("org-1", "proj_1")


def test_a_gateway_key_is_refused_and_never_forwarded(house: House) -> None:
    """With auth off a gateway key is 401, on the record (F5), and no provider sees it (I3)."""
    with house.gateway.recorded() as records, connect(house, key="gth_live_" + "a" * 36) as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert raised.value.response.json()["code"] == "UNAUTHORIZED"
    assert all(fake.requests == [] for fake in house.fakes)
    assert records[0].outcome["outcome"] == "refused" and records[0].decision == {}


def test_the_unified_path_names_the_route_that_exists(house: House) -> None:
    with house.gateway.recorded() as records, connect(house, "/v1") as client:
        with pytest.raises(openai.NotFoundError) as raised:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    body = raised.value.response.json()
    assert body["code"] == "NOT_FOUND" and "/openai/v1" in body["detail"]
    assert records[0].outcome["code"] == "NOT_FOUND"
