"""System 000, AuditTrail's gateway proxy: one OpenAI-compatible base for every client (A1), keys of its own (A3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import anthropic
import openai
import pytest

from tests.contract import accounts
from tests.contract.accounts import Accounts, stored
from tests.fakes import anthropic_api, openai_api
from tests.running import House

BASE = "/api/v1/gateway/proxy/v1"
KEY = "sk-proj-own-key"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def test_000_block_1_environment_and_one_liner(house: House) -> None:
    """The page's quickstart: two variables, then the SDK in one line. Auth is off: the key is the caller's own."""
    program = (
        "from openai import OpenAI; client = OpenAI(); "
        "answer = client.chat.completions.create(model='gpt-4o', messages=[{'role': 'user', 'content': 'hi'}]); "
        "print(answer.choices[0].message.content)"
    )
    env = {**os.environ, "OPENAI_BASE_URL": house.url + BASE, "OPENAI_API_KEY": KEY}
    with house.gateway.recorded() as records:
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == openai_api.TEXT, done.stderr
    assert house.only(house.openai).target == "/v1/chat/completions"
    assert records[0].decision["path"] == BASE + "/chat/completions"


@pytest.mark.parametrize("streamed", [False, True])
def test_000_supported_endpoint_chat_completions(house: House, streamed: bool) -> None:
    with openai.OpenAI(base_url=house.url + BASE, api_key=KEY, max_retries=0) as client:
        if streamed:
            stream = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        else:
            answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
            text = answer.choices[0].message.content or ""
    assert text == openai_api.TEXT


def test_000_supported_endpoint_models(house: House) -> None:
    with openai.OpenAI(base_url=house.url + BASE, api_key=KEY, max_retries=0) as client:
        assert "gpt-4o" in [model.id for model in client.models.list()]


def test_000_the_anthropic_sdk_on_the_same_base(house: House) -> None:
    with anthropic.Anthropic(base_url=house.url + BASE, api_key="sk-ant-own", max_retries=0) as client:
        message = client.messages.create(
            model="claude-sonnet-5", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
        )
    assert message.content[0].type == "text" and message.content[0].text == anthropic_api.TEXT
    assert house.only(house.anthropic).path == "/v1/messages"


def test_000_the_azure_sdk_on_the_same_base(house: House) -> None:
    client = openai.AzureOpenAI(
        azure_endpoint=house.url + BASE, api_key="azure-own", api_version="2024-02-01", max_retries=0
    )
    with client, house.gateway.recorded() as records:
        client.chat.completions.create(model="gpt-4o-deploy", messages=[{"role": "user", "content": "hi"}])
    assert house.only(house.azure).path == "/openai/deployments/gpt-4o-deploy/chat/completions"
    assert records[0].decision["route"] == "azure/chat"


def test_000_every_call_is_a_trace_with_spans(house: House) -> None:
    """A6: a trace with child spans under the gen_ai attribute contract, whichever way the call came."""
    with house.gateway.recorded() as records:
        sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        house.gateway.call("POST", BASE + "/chat/completions", json.dumps(CHAT).encode(), sent)
    trace = house.gateway.stored(records[0].call)
    attributes = {key: value for span in trace["spans"] for key, value in span["attributes"].items()}
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.request.model"] == "gpt-4o"
    assert attributes["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert attributes["gen_ai.usage.input_tokens"] == openai_api.PROMPT_TOKENS
    assert attributes["gen_ai.usage.output_tokens"] == openai_api.COMPLETION_TOKENS
    assert len(trace["spans"]) > 1


def test_000_virtual_key_management(tenant: Accounts) -> None:
    """A3, A4: the page's table. The default rate, a monthly cap, last four characters only, gone at once."""
    path = "/api/v1/gateway/keys"
    made = tenant.ask("POST", path, {"name": "ci", "rate_limit_per_minute": 90, "monthly_spend_cap_usd": 20}, 201)
    assert (made["rate_limit_per_minute"], made["monthly_spend_cap_usd"]) == (90, 20)
    plain = tenant.ask("POST", path, {}, 201)
    assert (plain["rate_limit_per_minute"], plain["monthly_spend_cap_usd"]) == (60, None)
    listed = tenant.ask("GET", path)["items"]
    assert {made["id"], plain["id"]} <= {each["id"] for each in listed}
    assert {each["key"] for each in listed if each["id"] == made["id"]} == {f"gth_live_…{made['last4']}"}
    assert made["key"] not in json.dumps(listed)
    bearer = {"authorization": f"Bearer {made['key']}"}
    assert tenant.told("POST", BASE + "/chat/completions", CHAT, bearer)[0] == 200
    tenant.ask("DELETE", f"{path}/{made['id']}", None, 204)
    status, error = tenant.told("POST", BASE + "/chat/completions", CHAT, bearer)
    assert (status, error["code"]) == (401, "UNAUTHORIZED")
    tenant.ask("DELETE", f"{path}/{made['id']}", None, 404)


def test_000_a_virtual_key_instead_of_the_providers(tenant: Accounts) -> None:
    """A1 with auth, A2: the provider gets the stored key, and nothing of the gateway's; the call is its owner's."""
    key = tenant.ask("POST", "/api/v1/gateway/keys", {}, 201)
    house = tenant.house
    with house.gateway.recorded() as records:
        with openai.OpenAI(base_url=house.url + BASE, api_key=key["key"], max_retries=0) as client:
            answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == openai_api.TEXT
    seen = house.only(house.openai)
    assert seen.target == "/v1/chat/completions"
    assert seen.header("authorization") == f"Bearer {accounts.SECRET.format('openai')}"
    assert key["key"][9:] not in repr((seen.target, seen.headers, seen.body))
    assert (records[0].decision["key"], records[0].decision["user"]) == (key["id"], key["user"])


def test_000_models_are_those_that_the_key_may_ask_for(tenant: Accounts) -> None:
    """A1: the provider's own list."""
    every, some = tenant.key(), tenant.key(models=["gpt-4o-*"])
    found = []
    for key in (every, some):
        with openai.OpenAI(base_url=tenant.house.url + BASE, api_key=key["key"], max_retries=0) as client:
            found.append([model.id for model in client.models.list()])
    assert "gpt-4o" in found[0]
    assert found[1] == [name for name in found[0] if name.startswith("gpt-4o-")] != []


def test_000_the_anthropic_sdk_with_a_virtual_key(tenant: Accounts) -> None:
    key = tenant.key()["key"]
    with anthropic.Anthropic(base_url=tenant.house.url + BASE, api_key=key, max_retries=0) as client:
        message = client.messages.create(
            model="claude-sonnet-5", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
        )
    assert message.content[0].type == "text" and message.content[0].text == anthropic_api.TEXT
    assert tenant.house.only(tenant.house.anthropic).header("x-api-key") == accounts.SECRET.format("anthropic")


def test_000_the_azure_sdk_with_a_virtual_key(tenant: Accounts) -> None:
    """The base names no resource: the call goes to the one that the project has a credential for."""
    house = tenant.house
    client = openai.AzureOpenAI(
        azure_endpoint=house.url + BASE, api_key=tenant.key()["key"], api_version="2024-02-01", max_retries=0
    )
    with client, house.gateway.recorded() as records:
        client.chat.completions.create(model="gpt-4o-deploy", messages=[{"role": "user", "content": "hi"}])
    seen = house.only(house.azure)
    assert seen.target == "/openai/deployments/gpt-4o-deploy/chat/completions?api-version=2024-02-01"
    assert seen.header("api-key") == accounts.SECRET.format("azure")
    decided = records[0].decision
    assert (decided["route"], decided["model"]) == ("azure/chat", "gpt-4o-deploy")


@pytest.mark.parametrize("capped", ["rate", "spend"])
def test_000_exceeding_either_is_429(tenant: Accounts, capped: str) -> None:
    """A4: its rate per minute, and its spend per month."""
    given = {"rate_limit_per_minute": 2} if capped == "rate" else {"monthly_spend_cap_usd": 0.004}
    key = tenant.ask("POST", "/api/v1/gateway/keys", given, 201)["key"]
    body = {**CHAT, "max_tokens": 64}
    statuses = []
    for _ in range(4):
        status, found = tenant.told("POST", BASE + "/chat/completions", body, {"authorization": f"Bearer {key}"})
        statuses.append(status)
    assert statuses[0] == 200 and statuses[-1] == 429
    assert found["code"] == ("RATE_LIMITED" if capped == "rate" else "BUDGET_EXCEEDED")
    assert statuses.count(200) == 2 or capped == "spend"


def test_000_a_member_sees_own_keys_and_traces_only(tenant: Accounts) -> None:
    """A7."""
    person = {"email": "member@example.com", "role": "member"}
    member = tenant.ask("POST", "/api/v1/users", person, 201)["user"]
    theirs = tenant.key(name="theirs", user=member["id"], role="member")
    mine = tenant.key(name="mine")
    calls = []
    for key in (theirs, mine):
        with tenant.house.gateway.recorded() as records:
            tenant.told("POST", BASE + "/chat/completions", CHAT, {"authorization": f"Bearer {key['key']}"})
        calls.append(records[0].call)
    stored(tenant, calls[1])
    bearer = {"authorization": f"Bearer {theirs['key']}"}
    for path in ("/api/v1/gateway/keys", "/api/v1/keys"):
        status, page = tenant.told("GET", path, None, bearer)
        assert (status, [each["id"] for each in page["items"]]) == (200, [theirs["id"]])
    status, page = tenant.told("GET", "/api/v1/traces?limit=500", None, bearer)
    assert (status, [each["id"] for each in page["items"]]) == (200, [calls[0]])
    assert tenant.told("GET", f"/api/v1/traces/{calls[1]}", None, bearer)[0] == 404
    assert tenant.told("DELETE", f"/api/v1/gateway/keys/{mine['id']}", None, bearer)[0] == 404
