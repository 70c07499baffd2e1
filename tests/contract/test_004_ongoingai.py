"""System 004, OngoingAI's gateway: one command, no configuration, the caller's own keys, offline reports (O1–O7)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anthropic
import openai
import pytest

from tests import fakes, running
from tests.contract.accounts import Accounts
from tests.fakes import anthropic_api, openai_api
from tests.running import House

CURL = {"user-agent": "curl/8.5.0", "accept": "*/*", "content-type": "application/json"}
OPENAI_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Reply with ok"}]}'
ANTHROPIC_BODY = (
    b'{"model":"claude-sonnet-4-latest","max_tokens":128,"messages":[{"role":"user","content":"Reply with ok"}]}'
)
THEIR_CONFIG = """\
server:
  port: 8080
  host: 0.0.0.0

storage:
  driver: sqlite # sqlite (default) | postgres
  path: ./data/ongoingai.db # SQLite path
  # dsn: postgres://... # Postgres connection string

providers:
  openai:
    upstream: https://api.openai.com
    prefix: /openai
  anthropic:
    upstream: https://api.anthropic.com
    prefix: /anthropic

tracing:
  capture_bodies: false # Off by default
  body_max_size: 1048576 # 1MB default

auth:
  enabled: false
  header: X-OngoingAI-Gateway-Key
"""


def test_004_quickstart_1_serve_without_configuration() -> None:
    """O1: one command, nothing beside it, ready; the store is there, its schema applied (O7)."""
    with running.gateway() as gateway:
        assert gateway.healthy("/api/health")["status"] == "healthy"
        assert (gateway.data / "store.db").exists()


def test_004_quickstart_2_eval_shell_init(house: House) -> None:
    """`eval "$(… shell-init)"` in a real shell, then a child that reads the variables."""
    script = 'eval "$("$PYTHON" -m gatehouse shell-init)" && "$PYTHON" -c "$PROGRAM"'
    program = "import os; print(os.environ['OPENAI_BASE_URL'], os.environ['ANTHROPIC_BASE_URL'])"
    env = {
        **os.environ,
        "PYTHON": sys.executable,
        "PROGRAM": program,
        "SHELL": "/bin/bash",
        "GATEHOUSE_DATA": str(house.gateway.data),
        "GATEHOUSE_CONFIG": str(house.gateway.config),
    }
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [house.url + "/openai/v1", house.url + "/anthropic"], done.stderr


def test_004_quickstart_2_exported_by_hand(house: House) -> None:
    """The two exports: each SDK reads its own variable."""
    program = (
        "from openai import OpenAI; from anthropic import Anthropic; "
        "print(OpenAI().chat.completions.create(model='gpt-4o-mini', messages=[{'role':'user','content':'x'}]).id); "
        "print(Anthropic().messages.create(model='claude-sonnet-5', max_tokens=9, "
        "messages=[{'role':'user','content':'x'}]).id)"
    )
    env = {
        **os.environ,
        "OPENAI_BASE_URL": house.url + "/openai/v1",
        "ANTHROPIC_BASE_URL": house.url + "/anthropic",
        "OPENAI_API_KEY": "sk-own",
        "ANTHROPIC_API_KEY": "sk-ant-own",
    }
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[1] == anthropic_api.MESSAGE_ID, done.stderr
    assert [len(fake.requests) for fake in house.fakes] == [1, 1, 0, 0]


def test_004_quickstart_3_curl_openai(house: House) -> None:
    with house.gateway.recorded() as records:
        status, _, body = house.gateway.call(
            "POST", "/openai/v1/chat/completions", OPENAI_BODY, {**CURL, "authorization": "Bearer sk-own"}
        )
    assert status == 200 and json.loads(body)["choices"][0]["message"]["content"] == openai_api.TEXT
    assert house.only(house.openai).body == OPENAI_BODY
    assert records[0].decision["user_agent"] == "curl/8.5.0"


def test_004_quickstart_3_curl_anthropic(house: House) -> None:
    headers = {**CURL, "x-api-key": "sk-ant-own", "anthropic-version": "2023-06-01"}
    with house.gateway.recorded() as records:
        status, _, body = house.gateway.call("POST", "/anthropic/v1/messages", ANTHROPIC_BODY, headers)
    assert status == 200 and json.loads(body)["content"][0]["text"] == anthropic_api.TEXT
    assert house.only(house.anthropic).body == ANTHROPIC_BODY
    # Nobody lists a price for this name: unknown, never 0.
    assert records[0].outcome["price"] == "unknown" and "cost" not in records[0].outcome


def test_004_quickstart_4_report_and_debug_last_offline(tmp_path: Path) -> None:
    """O5: with the server stopped, both read what it left."""
    with fakes.openai() as fake:
        config = {"providers": {"openai": {"base_url": fake.url}}}
        with running.gateway(config, data=tmp_path / "data") as gateway:
            with gateway.recorded() as records:
                sent = {**CURL, "authorization": "Bearer sk-own-secret"}
                gateway.call("POST", "/openai/v1/chat/completions", OPENAI_BODY, sent)
            running_report = json.loads(_ok(gateway.run("report", "--format", "json")))
            assert gateway.stop() == 0
            report = json.loads(_ok(gateway.run("report", "--format", "json")))
            last = json.loads(_ok(gateway.run("debug", "last", "--format", "json")))
            for arguments in (("report",), ("debug", "last")):
                shown = _ok(gateway.run(*arguments))
                assert "gpt-4o-mini" in shown and "sk-own-secret" not in shown
    assert json.dumps(report).count("gpt-4o-mini") == json.dumps(running_report).count("gpt-4o-mini") >= 1
    assert records[0].call in json.dumps(last)


@pytest.mark.pending(stage="Release: the container image", runs=False)
def test_004_alternative_docker() -> None: ...


@pytest.mark.pending(stage="Release: packages; `make serve` is our way from source", runs=False)
def test_004_alternative_build_from_source() -> None: ...


@pytest.mark.skip(reason="needs the programs; what they send: tests/sdk/test_claude_code.py, tests/sdk/test_codex.py")
def test_004_usage_cli_tools_after_shell_init() -> None: ...


def test_004_usage_wrap_a_script(house: House, tmp_path: Path) -> None:
    """`wrap -- python my_ai_script.py`: no environment changed but the command's."""
    script = tmp_path / "my_ai_script.py"
    script.write_text(
        "from openai import OpenAI\n"
        "answer = OpenAI().chat.completions.create(model='gpt-4o-mini', messages=[{'role': 'user', 'content': 'x'}])\n"
        "print(answer.choices[0].message.content)\n"
    )
    done = house.gateway.run("wrap", "--", sys.executable, str(script), env={"OPENAI_API_KEY": "sk-own"})
    assert _ok(done).strip() == openai_api.TEXT
    house.only(house.openai)


@pytest.mark.skip(reason="needs the program; what it sends: tests/sdk/test_claude_code.py")
def test_004_usage_wrap_claude_code() -> None: ...


def test_004_usage_sdk_openai(house: House) -> None:
    with openai.OpenAI(base_url=house.url + "/openai/v1", api_key="sk-own", max_retries=0) as client:
        response = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    assert response.choices[0].message.content == openai_api.TEXT


def test_004_usage_sdk_anthropic(house: House) -> None:
    with anthropic.Anthropic(base_url=house.url + "/anthropic", api_key="sk-ant-own", max_retries=0) as client:
        message = client.messages.create(
            model="claude-sonnet-4-latest", max_tokens=1024, messages=[{"role": "user", "content": "Hello"}]
        )
    assert message.content[0].type == "text" and message.content[0].text == anthropic_api.TEXT


def test_004_usage_vercel_ai_sdk_anthropic_as_sent(house: House) -> None:
    """@ai-sdk/anthropic leaves the version out of the path."""
    headers = {**CURL, "x-api-key": "sk-ant-own", "anthropic-version": "2023-06-01"}
    status, _, _ = house.gateway.call("POST", "/anthropic/messages", ANTHROPIC_BODY, headers)
    assert status == 200
    assert house.only(house.anthropic).target == "/v1/messages"


@pytest.mark.parametrize(
    "variable", ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OPENAI_API_BASE", "GOOGLE_GEMINI_BASE_URL"]
)
def test_004_compatibility_table_variables(house: House, variable: str) -> None:
    """The table's variables (and O12's of Gemini CLI) are those that `shell-init` sets."""
    assert f"export {variable}={house.url}" in _ok(house.gateway.run("shell-init", "bash"))


def test_004_configuration_is_imported(tmp_path: Path) -> None:
    """O7: their file, translated, is one of ours."""
    theirs, ours = tmp_path / "ongoingai.yaml", tmp_path / "gatehouse.yaml"
    theirs.write_text(THEIR_CONFIG)
    command = [sys.executable, "-m", "gatehouse", "config"]
    imported = subprocess.run(
        [*command, "import", str(theirs), "-o", str(ours)], capture_output=True, text=True, timeout=60
    )
    assert imported.returncode == 0, imported.stderr
    shown = subprocess.run(
        [*command, "show", "--format", "json", "--config", str(ours)], capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    settings = json.loads(shown.stdout)["settings"]
    assert settings["server"]["port"] == 8080
    # A listener for everybody needs `--insecure` while nobody has to log in: said, not silently carried over.
    assert "host" in imported.stderr and settings["server"]["host"] == "127.0.0.1"
    assert settings["capture"] == {"bodies": False, "max_bytes": 1_048_576}
    # Theirs are our defaults.
    assert all(provider["base_url"] is None for provider in settings["providers"].values())


@pytest.mark.parametrize("path", ["/api/traces?limit=50&provider=openai", "/api/v1/traces?limit=50&provider=openai"])
def test_004_api_list_traces(house: House, path: str) -> None:
    with house.gateway.recorded() as records:
        house.gateway.call("POST", "/openai/v1/chat/completions", OPENAI_BODY, {**CURL, "authorization": "Bearer k"})
    house.gateway.stored(records[0].call)
    page = house.gateway.get_json(path)
    found = next(item for item in page["items"] if item["id"] == records[0].call)
    assert (found["provider"], found["model"], found["outcome"]) == ("openai", "gpt-4o-mini", "ok")


def test_004_api_one_trace(house: House) -> None:
    with house.gateway.recorded() as records:
        house.gateway.call("POST", "/openai/v1/chat/completions", OPENAI_BODY, {**CURL, "authorization": "Bearer k"})
    house.gateway.stored(records[0].call)
    assert house.gateway.get_json(f"/api/traces/{records[0].call}")["id"] == records[0].call


@pytest.mark.parametrize(
    "path", ["usage?group_by=model", "cost?group_by=provider", "models", "keys", "latency", "errors"]
)
def test_004_api_analytics(house: House, path: str) -> None:
    """O6: at their path and at ours."""
    with house.gateway.recorded() as records:
        house.gateway.call("POST", "/openai/v1/chat/completions", OPENAI_BODY, {**CURL, "authorization": "Bearer k"})
    house.gateway.stored(records[0].call)
    for prefix in ("/api/analytics/", "/api/v1/analytics/"):
        items = house.gateway.get_json(prefix + path)["items"]
        assert items and ("duration" in items[0] or items[0]["calls"] >= 1)
        status, table = house.gateway.get(f"{prefix}{path}{'&' if '?' in path else '?'}format=csv")
        assert (status, len(table.splitlines())) == (200, len(items) + 1)


def test_004_api_list_traces_of_one_provider(house: House) -> None:
    """The page's own query, and a page of one call at a time."""
    with house.gateway.recorded(3) as records:
        for path, key in (("/openai/v1/models", "authorization"), ("/anthropic/v1/models", "x-api-key")):
            house.gateway.call("GET", path, None, {key: "Bearer k"})
        house.gateway.call("GET", "/anthropic/v1/models", None, {"x-api-key": "k"})
    for record in records:
        house.gateway.stored(record.call)
    page = house.gateway.get_json("/api/traces?limit=50&provider=anthropic")
    assert {item["provider"] for item in page["items"]} == {"anthropic"}
    one = house.gateway.get_json("/api/traces?limit=1&provider=anthropic")
    two = house.gateway.get_json(f"/api/traces?limit=1&provider=anthropic&cursor={one['next_cursor']}")
    assert [one["items"][0], two["items"][0]] == page["items"][:2]


def test_004_api_analytics_summary(house: House) -> None:
    """O6."""
    with house.gateway.recorded() as records:
        house.gateway.call("POST", "/openai/v1/chat/completions", OPENAI_BODY, {**CURL, "authorization": "Bearer k"})
    house.gateway.stored(records[0].call)
    theirs, ours = (house.gateway.get_json(f"{prefix}/analytics/summary?from=1h") for prefix in ("/api", "/api/v1"))
    assert theirs["current"] == ours["current"] and theirs["current"]["calls"] >= 1


def test_004_api_usage_is_grouped_as_asked(house: House) -> None:
    with house.gateway.recorded() as records:
        house.gateway.call("POST", "/openai/v1/chat/completions", OPENAI_BODY, {**CURL, "authorization": "Bearer k"})
    house.gateway.stored(records[0].call)
    usage = house.gateway.get_json("/api/analytics/usage?group_by=model")
    assert {"model": "gpt-4o-mini"} in [item["group"] for item in usage["items"]]
    cost = house.gateway.get_json("/api/analytics/cost?group_by=provider")
    assert {"provider": "openai"} in [item["group"] for item in cost["items"]]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/traces?limit=0", 400, "BAD_REQUEST"),
        ("/api/traces?colour=red", 400, "BAD_REQUEST"),
        ("/api/traces/019a7000-0000-7000-8000-000000000001", 404, "NOT_FOUND"),
        ("/api/analytics/usage?group_by=colour", 400, "BAD_REQUEST"),
        ("/api/analytics/nothing", 404, "NOT_FOUND"),
    ],
)
def test_004_api_errors(house: House, path: str, status: int, code: str) -> None:
    answered, body = house.gateway.get(path)
    assert (answered, json.loads(body)["code"]) == (status, code)


ROLES = ("owner", "admin", "developer", "member", "viewer")
MAY = {
    "proxy:write": {"owner", "admin", "developer", "member"},
    "analytics:read": {"owner", "admin", "developer", "member", "viewer"},
    "keys:manage": {"owner", "admin"},
}
"""O8. A member reads analytics of its own calls alone (A7)."""


@pytest.mark.parametrize("role", ROLES)
def test_004_team_gateway_keys(tenant: Accounts, role: str) -> None:
    """O8: the team key in its own header; the provider's key is the client's, goes through, and is nowhere stored."""
    project = tenant.ask("POST", "/api/v1/projects", {"name": f"team of {role}"}, 201)
    key = tenant.key(role=role, project=project["id"])["key"]
    headers = {"X-OngoingAI-Gateway-Key": key, "authorization": f"Bearer sk-own-of-the-{role}"}
    chat = json.loads(OPENAI_BODY)
    status, error = tenant.told("POST", "/openai/v1/chat/completions", chat, headers)
    assert status == (200 if role in MAY["proxy:write"] else 403), error
    if status == 200:
        seen = tenant.house.only(tenant.house.openai)
        assert seen.header("authorization") == f"Bearer sk-own-of-the-{role}"
        assert key not in repr((seen.target, seen.headers, seen.body))
    else:
        assert (error["code"], tenant.house.openai.requests) == ("SCOPE_DENIED", [])
    mine = {"X-OngoingAI-Gateway-Key": key}
    for path in (
        "/api/traces?limit=50&provider=anthropic", "/api/analytics/usage?group_by=model",
        "/api/analytics/cost?group_by=provider", "/api/analytics/models", "/api/analytics/keys",
        "/api/analytics/latency", "/api/analytics/errors",
    ):  # fmt: skip
        assert (tenant.told("GET", path, None, mine)[0] == 200) == (role in MAY["analytics:read"])
    other = tenant.key(project=project["id"], user=None)["id"]
    revoked, _ = tenant.told("DELETE", f"/api/v1/keys/{other}", None, mine)
    assert (revoked == 204) == (role in MAY["keys:manage"])
    assert tenant.told("GET", "/api/analytics/models", None, None)[0] == 401


def test_004_api_health(house: House) -> None:
    assert house.gateway.healthy("/api/health")["status"] == "healthy"


def _ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
