"""System 002, PromptGate: an OpenAI-compatible wrapper with its own base URL per project, aliases and scoped tokens.

Projects, stored credentials and tokens are made as its page has it (P1–P3, P5); aliases (P4, and the model names with
them) come with Stage 4.
"""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.contract import accounts
from tests.contract.accounts import Accounts, until
from tests.fakes import openai_api

ALIASES = pytest.mark.pending(stage="Stage 4 (P4, P6, P7: aliases)")


@pytest.fixture(scope="module")
def project(running_accounts: Accounts) -> Any:
    """Steps 1 to 3 of the page: a credential, a project, a provider of it; and step 5, its token."""
    ask = running_accounts.ask
    secret = {"name": "OpenAI Production", "provider": "openai", "secret": accounts.SECRET.format("production")}
    credential = ask("POST", "/api/v1/credentials", secret, 201)
    made = ask("POST", "/api/v1/projects", {"name": "OpenAI Proxy", "type": "AI Wrapper", "environment": "prod"}, 201)
    ask("PUT", f"/api/v1/projects/{made['id']}/providers/openai/{credential['id']}", {})
    token = {"name": "Production app", "environment": "live", "scopes": ["chat", "models"], "project": made["id"]}
    return {**made, "key": running_accounts.key(**token), "credential": credential}


def _base(project: Any) -> str:
    return f"/api/{project['uuid']}/v1"


def _chat(tenant: Accounts, project: Any, model: str) -> str | None:
    url = tenant.house.url + _base(project)
    with openai.OpenAI(base_url=url, api_key=project["key"]["key"], max_retries=0) as client:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello!"}])
    return answer.choices[0].message.content


def test_002_step_1_credentials(tenant: Accounts, project: Any) -> None:
    """P1: name, provider and secret; the secret is nowhere to be read, only its last four characters."""
    secret = accounts.SECRET.format("production")
    listed = tenant.ask("GET", "/api/v1/credentials?name=OpenAI%20Production")
    [found] = listed["items"]
    assert (found["name"], found["provider"], found["last4"]) == ("OpenAI Production", "openai", secret[-4:])
    assert secret not in json.dumps([listed, project])
    for path in tenant.house.gateway.data.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_002_steps_2_and_3_projects_and_providers(tenant: Accounts, project: Any) -> None:
    """P2, P3: a base URL of its own; providers are enabled by credential; what is not enabled cannot be reached."""
    shown = tenant.ask("GET", f"/api/v1/projects/{project['id']}")
    assert (shown["name"], shown["type"], shown["environment"]) == ("OpenAI Proxy", "AI Wrapper", "prod")
    assert [(each["provider"], each["credential"]) for each in shown["bindings"]] == [
        ("openai", project["credential"]["id"])
    ]
    hello = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello!"}]}
    bearer = {"authorization": f"Bearer {project['key']['key']}"}
    status, error = tenant.told("POST", _base(project) + "/messages", hello, bearer)
    assert (status, error["code"]) == (403, "NO_CREDENTIAL")


def test_002_step_5_api_tokens(tenant: Accounts, project: Any) -> None:
    """P5: name, environment, scopes; the plaintext once. It works at its project's address and at no other."""
    key = project["key"]
    assert (key["name"], key["environment"], key["scopes"]) == ("Production app", "live", ["chat", "models"])
    shown = tenant.ask("GET", f"/api/v1/keys/{key['id']}")
    assert key["key"].startswith("gth_live_") and shown["key"] == f"gth_live_…{key['last4']}"
    bearer = {"authorization": f"Bearer {key['key']}"}
    hello = {"model": "openai:gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}
    assert tenant.told("POST", f"/api/{tenant.uuid}/v1/chat/completions", hello, bearer)[0] == 403
    status, error = tenant.told(
        "POST", _base(project) + "/embeddings", {"model": "openai:text-embedding-3-small", "input": "x"}, bearer
    )
    assert (status, error["code"]) == (403, "SCOPE_DENIED")
    test_key = tenant.key(environment="test", project=project["id"])["key"]
    status, error = tenant.told(
        "POST", _base(project) + "/chat/completions", hello, {"authorization": f"Bearer {test_key}"}
    )
    assert test_key.startswith("gth_test_") and (status, error["code"]) == (403, "NO_CREDENTIAL")


def test_002_step_6_base_url(tenant: Accounts, project: Any) -> None:
    """`PG_BASE` is the gateway's URL and the project's id: its models are listed there."""
    url = tenant.house.url + _base(project)
    with openai.OpenAI(base_url=url, api_key=project["key"]["key"], max_retries=0) as client:
        assert list(client.models.list())


@pytest.mark.parametrize("model", ["openai:gpt-4o-mini", "openai:gpt-4o", "gpt-4o"])
def test_002_step_6_openai_python(tenant: Accounts, project: Any, model: str) -> None:
    """P6, as far as no alias is named: the provider gets its own word for the model."""
    assert _chat(tenant, project, model) == openai_api.TEXT
    seen = tenant.house.only(tenant.house.openai)
    assert json.loads(seen.body)["model"] == model.rpartition(":")[2]
    assert seen.header("authorization") == f"Bearer {accounts.SECRET.format('production')}"


@ALIASES
@pytest.mark.parametrize("model", ["promptgate:fast", "fast"])
def test_002_step_6_openai_python_by_alias(tenant: Accounts, project: Any, model: str) -> None:
    assert _chat(tenant, project, model) == openai_api.TEXT
    assert json.loads(tenant.house.only(tenant.house.openai).body)["model"] == "gpt-4o-mini"


@ALIASES
def test_002_step_6_openai_node_as_sent(tenant: Accounts, project: Any) -> None:
    body = {"model": "promptgate:fast", "messages": [{"role": "user", "content": "Hello!"}]}
    sent = {"authorization": f"Bearer {project['key']['key']}", "user-agent": "OpenAI/JS 6.49.0"}
    assert tenant.told("POST", _base(project) + "/chat/completions", body, sent)[0] == 200


@ALIASES
def test_002_step_6_langchain_python_as_sent(tenant: Accounts, project: Any) -> None:
    """langchain-openai calls through the OpenAI SDK."""
    assert _chat(tenant, project, "promptgate:fast") == openai_api.TEXT


@ALIASES
def test_002_step_6_vercel_ai_sdk_as_sent(tenant: Accounts, project: Any) -> None:
    """@ai-sdk/openai sends its prompt to the Responses API."""
    prompt = [{"role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}]
    sent = {"authorization": f"Bearer {project['key']['key']}", "user-agent": "ai/6 ai-sdk/openai"}
    body = {"model": "promptgate:fast", "input": prompt}
    assert tenant.told("POST", _base(project) + "/responses", body, sent)[0] == 200


@pytest.mark.parametrize("window", ["minute", "hour"])
@pytest.mark.parametrize("scope", ["key", "project"])
def test_002_rate_limits(tenant: Accounts, scope: str, window: str) -> None:
    """P9: per minute and per hour; for a token, and for the whole project."""
    made = tenant.ask("POST", "/api/v1/projects", {"name": f"limited by {scope} {window}", "own_keys": True}, 201)
    keys = [tenant.key(project=made["id"], limits=[]) for _ in range(2)]
    on = made["id"] if scope == "project" else keys[0]["id"]
    limit = {"scope": scope, "scope_id": on, "measure": "requests", "window": window, "cap": 2}
    tenant.ask("POST", "/api/v1/limits", limit, 201)
    hello = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}

    def ask(key: Any) -> tuple[int, Any]:
        sent = {"authorization": "Bearer sk-own", "x-gatehouse-key": key["key"]}
        return tenant.told("POST", "/openai/v1/chat/completions", hello, sent)

    def in_force() -> bool:
        # A new limit reaches the worker within a second.
        return ask(keys[0])[0] == 429

    until(in_force)
    error = ask(keys[0])[1]
    assert (error["code"], error["limit"]["scope"], error["limit"]["window"]) == ("RATE_LIMITED", scope, window)
    assert error["limit"]["spent"] == 2
    assert ask(keys[1])[0] == (429 if scope == "project" else 200)


def test_002_monthly_budget_of_a_project(tenant: Accounts, project: Any) -> None:
    """P9: what the whole project may spend, by the calendar month."""
    made = tenant.ask("POST", "/api/v1/projects", {"name": "budgeted"}, 201)
    tenant.ask("PUT", f"/api/v1/projects/{made['id']}/providers/openai/{project['credential']['id']}", {})
    limit = {"scope": "project", "scope_id": made["id"], "measure": "spend", "window": "month", "cap": 3_000_000}
    tenant.ask("POST", "/api/v1/limits", limit, 201)
    bearer = {"authorization": f"Bearer {tenant.key(project=made['id'])['key']}"}
    hello = {"model": "gpt-4o", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello!"}]}

    def spent() -> bool:
        status, error = tenant.told("POST", f"/api/{made['uuid']}/v1/chat/completions", hello, bearer)
        return status == 429 and error["code"] == "BUDGET_EXCEEDED" and error["limit"]["window"] == "month"

    until(spent)


def test_002_metrics_and_audit(tenant: Accounts, project: Any) -> None:
    """P8: what was done to the project is in the audit log, and can be exported; its calls count as its own."""
    made = tenant.ask("GET", "/api/v1/audit?limit=500")["items"]
    found = {(each["action"], each["target"]) for each in made}
    assert {("project.create", project["id"]), ("key.create", project["key"]["id"])} <= found
    status, _, table = tenant.house.gateway.call(
        "GET", "/api/v1/audit?format=csv", None, {"authorization": f"Bearer {tenant.token}"}
    )
    assert status == 200 and project["id"].encode() in table
