"""The OpenAI Python SDK's other text endpoints through the gateway: responses, legacy completions, moderations."""

from __future__ import annotations

import hashlib

import openai
import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from tests.fakes import Misbehaviour, openai_text
from tests.running import House
from tests.sdk.test_azure import connect as connect_azure
from tests.sdk.test_openai import connect

RESPONSE_USAGE = {
    "input": openai_text.INPUT_TOKENS - openai_text.CACHED_TOKENS,
    "cache_read": openai_text.CACHED_TOKENS,
    "output": openai_text.OUTPUT_TOKENS - openai_text.REASONING_TOKENS,
    "reasoning": openai_text.REASONING_TOKENS,
}
COMPLETION_USAGE = {"input": openai_text.PROMPT_TOKENS, "output": openai_text.COMPLETION_TOKENS}
INSTRUCT = "gpt-3.5-turbo-instruct"


def response_cost() -> int:
    """Nano-dollars, by the price library's own reckoning."""
    used = PricedUsage(
        input_tokens=openai_text.INPUT_TOKENS,
        cache_read_tokens=openai_text.CACHED_TOKENS,
        output_tokens=openai_text.OUTPUT_TOKENS,
    )
    return int(calc_price(used, "gpt-5-mini-2025-08-07", provider_id="openai").total_price * 10**9)


def completion_cost() -> int:
    used = PricedUsage(input_tokens=openai_text.PROMPT_TOKENS, output_tokens=openai_text.COMPLETION_TOKENS)
    return int(calc_price(used, INSTRUCT, provider_id="openai").total_price * 10**9)


def test_a_response(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        answer = client.responses.create(model="gpt-5-mini", input="Say hello", max_output_tokens=64)
    assert answer.output_text == openai_text.TEXT
    assert house.only(house.openai).target == "/v1/responses"
    [record] = records
    assert record.decision["route"] == "openai/responses"
    assert (record.decision["operation"], record.decision["model"]) == ("chat", "gpt-5-mini")
    assert record.decision["max_output"] == 64
    assert (record.outcome["outcome"], record.outcome["finish_reasons"]) == ("ok", ["completed"])
    assert (record.outcome["model"], record.outcome["response_id"]) == (answer.model, answer.id)
    assert record.usage == RESPONSE_USAGE
    assert (record.outcome["usage_source"], record.outcome["usage_check"]) == ("provider", "ok")
    assert (record.outcome["price"], record.outcome["cost"]) == ("known", response_cost())


def test_a_streamed_response_is_untouched_i1(house: House) -> None:
    """It reports its usage unasked: nothing is rewritten."""
    with house.gateway.recorded() as records, connect(house) as client:
        events = list(client.responses.create(model="gpt-5-mini", input="Say hello", stream=True))
    assert events[-1].type == "response.completed"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == openai_text.TEXT
    [record] = records
    assert "rewritten" not in record.decision
    assert record.decision["request_sha256"] == hashlib.sha256(house.only(house.openai).body).hexdigest()
    assert record.usage == RESPONSE_USAGE
    assert (record.outcome["price"], record.outcome["cost"]) == ("known", response_cost())
    assert 0 < record.outcome["first_token_us"] <= record.outcome["duration_us"]


def test_a_background_response_is_neither_free_nor_estimated(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        answer = client.responses.create(model="gpt-5-mini", input="Say hello", background=True)
    assert answer.status == "queued"
    [record] = records
    assert "usage" not in record.outcome and "cost" not in record.outcome
    assert record.outcome["price"] == "unknown"
    assert "background" in record.outcome["usage_note"]
    assert record.outcome["response_id"] == answer.id


def test_what_a_background_response_used_counts_when_it_is_fetched(house: House) -> None:
    with house.gateway.recorded(3) as records, connect(house) as client:
        answer = client.responses.create(model="gpt-5-mini", input="Say hello", background=True)
        for _ in range(2):
            assert client.responses.retrieve(answer.id).output_text == openai_text.TEXT
    begun, fetched, again = records
    assert fetched.outcome["reports"] == begun.decision["call"]
    assert fetched.usage == RESPONSE_USAGE and fetched.outcome["cost"] == response_cost()
    assert "usage" not in again.outcome and "reports" not in again.outcome


def test_leaving_a_streamed_response_early_is_estimated_i10(house: House) -> None:
    house.openai.misbehave(Misbehaviour(slow=0.05))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.responses.create(
            model="gpt-5-mini", input="Say hello", stream=True, previous_response_id="resp_1"
        )
        for event in stream:
            if event.type == "response.output_text.delta":
                break
        stream.close()
    assert house.only(house.openai).wait() == "gone"
    [record] = records
    assert record.outcome["outcome"] == "client_gone"
    assert record.outcome["usage_source"] == "estimated"
    assert record.usage["output"] > 0 and record.outcome["cost"] > 0
    assert "earlier conversation" in record.outcome["usage_note"]


def test_a_completion(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        answer = client.completions.create(model=INSTRUCT, prompt="Say hello", n=2)
    assert [choice.text.strip() for choice in answer.choices] == [openai_text.TEXT] * 2
    [record] = records
    assert record.decision["route"] == "openai/completions"
    assert (record.decision["operation"], record.decision["choices"]) == ("text_completion", 2)
    assert record.outcome["finish_reasons"] == ["stop", "stop"]
    assert record.usage == COMPLETION_USAGE
    assert (record.outcome["price"], record.outcome["cost"]) == ("known", completion_cost())


def test_a_streamed_completion_is_asked_for_usage_and_loses_it_again(house: House) -> None:
    """F3, I1's one exception."""
    with house.gateway.recorded() as records, connect(house) as client:
        chunks = list(client.completions.create(model=INSTRUCT, prompt="Say hello", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == openai_text.TEXT
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    assert house.only(house.openai).json()["stream_options"] == {"include_usage": True}
    [record] = records
    assert record.decision["rewritten"] == ["stream_options.include_usage"]
    assert record.usage == COMPLETION_USAGE
    assert record.outcome["cost"] == completion_cost()


def test_moderations_are_recorded_and_not_priced(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        answer = client.moderations.create(model="omni-moderation-latest", input=["a", "b"])
    assert len(answer.results) == 2
    [record] = records
    assert record.decision["route"] == "openai/moderations"
    assert (record.decision["operation"], record.decision["model"]) == ("moderations", "omni-moderation-latest")
    assert (record.outcome["model"], record.outcome["response_id"]) == (answer.model, answer.id)
    assert not {"usage", "usage_source", "cost", "price"} & set(record.outcome)


@pytest.mark.parametrize("streamed", [False, True])
def test_azures_responses(house: House, streamed: bool) -> None:
    """A resource's own path, whatever the deployment in the endpoint."""
    base = "/azure/my-resource/gpt-4o-deploy"
    with house.gateway.recorded() as records, connect_azure(house, base, "2025-04-01-preview") as client:
        if streamed:
            events = list(client.responses.create(model="gpt-5-mini", input="Say hello", stream=True))
            assert events[-1].type == "response.completed"
        else:
            client.responses.create(model="gpt-5-mini", input="Say hello")
    assert house.only(house.azure).path == "/openai/responses"
    [record] = records
    assert (record.decision["route"], record.decision["model"]) == ("azure/responses", "gpt-5-mini")
    assert record.usage == RESPONSE_USAGE
    assert record.outcome["price"] == "known"


def test_azures_completions_are_never_asked_what_they_do_not_know(house: House) -> None:
    """No dated version of them has `stream_options`: the count is an estimate and says so."""
    base = "/azure/my-resource/gpt-4o-deploy"
    with house.gateway.recorded() as records, connect_azure(house, base, "2024-10-21") as client:
        chunks = list(client.completions.create(model=INSTRUCT, prompt="Say hello", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == openai_text.TEXT
    seen = house.only(house.azure)
    assert seen.path == "/openai/deployments/gpt-4o-deploy/completions"
    assert "stream_options" not in seen.json()
    [record] = records
    assert (record.decision["route"], record.decision["operation"]) == ("azure/completions", "text_completion")
    assert record.outcome["usage_source"] == "estimated" and record.usage["output"] > 0


def test_an_error_of_a_responses_call_is_passed_on_as_it_is(house: House) -> None:
    house.openai.misbehave(Misbehaviour(error=429))
    with house.gateway.recorded() as records, connect(house) as client, pytest.raises(openai.RateLimitError):
        client.responses.create(model="gpt-5-mini", input="Say hello")
    assert (records[0].outcome["outcome"], records[0].outcome["status"]) == ("ok", 429)
    assert "usage" not in records[0].outcome
