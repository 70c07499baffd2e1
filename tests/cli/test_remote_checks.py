"""`doctor --url`: tells a gateway from something else. I3: a key goes to its own provider's route only.

Paths: what the SDKs of `docs/clients.md` send.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.listeners import HEALTHY, Listener, Reply, gateway_error, listening

OURS = {"x-gatehouse-id": "019a"}
MODELS = Reply(200, OURS, (b'{"data":[{"id":"a"},{"id":"b"}]}',))
WANTS_KEY = Reply(401, OURS, (b'{"error":{"message":"no key"}}',))
STREAM = Reply(200, OURS, tuple(b'data: {"n":%d}\n\n' % n for n in range(8)) + (b"data: [DONE]\n\n",))
SIMULATED = "/simulated/v1/chat/completions"
GATEWAY = {"/health": HEALTHY, SIMULATED: STREAM}
LISTINGS = [
    "/openai/v1/models",
    "/anthropic/v1/models",
    "/google/v1beta/models",
    "/anthropic/models",
    "/api/v1/gateway/proxy/v1/models",
    "/api/v1/gateway/proxy/v1/v1/models",
    "/trueportai-services/openai/v1/models",
    "/trueportai-services/anthropic/v1/v1/models",
    "/trueportai-services/google/v1beta/models",
]


@pytest.fixture
def gateway() -> Iterator[Listener]:
    with listening(GATEWAY, WANTS_KEY) as listener:
        yield listener


def keys_seen(listener: Listener) -> dict[str, str]:
    """Path → the key that arrived there."""
    found = {}
    for asked in listener.asked:
        for name in ("authorization", "x-api-key", "x-goog-api-key"):
            if name in asked.headers:
                found[asked.path] = asked.headers[name].removeprefix("Bearer ")
    return found


def test_a_good_gateway_without_a_key(cli: Cli, gateway: Listener) -> None:
    done = cli("doctor", "--url", gateway.url)
    assert done.code == 0, done.out
    lines = done.out.splitlines()
    assert lines[0] == f"ok    reachable      Gatehouse 9.9.9 at {gateway.url} (control connected)"
    assert lines[1] == "ok    simulated      a streamed call works (id 019a)"
    assert lines[2] == (
        f"ok    OpenAI SDKs    base URL {gateway.url}/openai/v1 reaches openai, "
        "which wants a key (status 401; none was sent)"
    )
    assert [asked.path for asked in gateway.asked] == ["/health", SIMULATED, *LISTINGS]
    assert keys_seen(gateway) == {}
    by_path = {asked.path: asked.headers for asked in gateway.asked}
    assert by_path["/anthropic/v1/models"]["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize(
    ("key", "paths"),
    [
        (
            "sk-proj-1",
            [path for path in LISTINGS if "anthropic" not in path and "google" not in path and "v1/v1" not in path],
        ),
        ("sk-ant-1", [path for path in LISTINGS if "anthropic" in path or "v1/v1" in path]),
        ("AIza1", [path for path in LISTINGS if "google" in path]),
        ("gth_live_1", LISTINGS),
    ],
)
def test_a_key_goes_to_its_own_provider_only(cli: Cli, key: str, paths: list[str]) -> None:
    with listening(GATEWAY, MODELS) as gateway:
        assert cli("doctor", "--url", gateway.url, "--key", key).code == 0
        ours = [SIMULATED] if key.startswith("gth_") else []
        assert keys_seen(gateway) == dict.fromkeys([*ours, *paths], key)
        assert len(gateway.asked) == 2 + len(LISTINGS)


def test_a_key_of_unknown_form_goes_nowhere_until_the_route_says_whose_it_is(cli: Cli, gateway: Listener) -> None:
    done = cli("doctor", "--url", gateway.url, "--key", "sk-1234")
    assert keys_seen(gateway) == {}
    assert "warn  key            its form does not say whose it is, so it was sent nowhere" in done.out
    cli("doctor", "--url", f"{gateway.url}/groq/v1/", "--key", "sk-1234")
    assert keys_seen(gateway) == {"/groq/v1/models": "sk-1234"}


def test_a_key_of_one_provider_is_not_sent_to_another(cli: Cli, gateway: Listener) -> None:
    done = cli("doctor", "--url", f"{gateway.url}/my-vllm/v1", "--key", "sk-ant-1")
    assert keys_seen(gateway) == {}
    assert "is anthropic's by its form, so it was not sent to my-vllm" in done.out
    cli("doctor", "--url", f"{gateway.url}/api/v1/gateway/proxy/v1", "--key", "sk-ant-1")
    assert keys_seen(gateway) == {"/api/v1/gateway/proxy/v1/v1/models": "sk-ant-1"}


def test_the_key_may_come_from_a_file(cli: Cli, gateway: Listener, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-ant-1\nrest\n")
    cli("doctor", "--url", f"{gateway.url}/anthropic", "--key-file", str(file))
    assert keys_seen(gateway) == {"/anthropic/v1/models": "sk-ant-1"}
    for content in ("", "a b", "ä", "x\ty"):
        file.write_text(content)
        done = cli("doctor", "--url", gateway.url, "--key-file", str(file))
        assert done.code == 2
        assert content.strip() not in done.err or not content.strip()
    assert cli("doctor", "--url", gateway.url, "--key-file", str(tmp_path / "none")).code == 2
    assert cli("doctor", "--url", gateway.url, "--key-file", str(file), "--key", "x").code == 2


@pytest.mark.parametrize(
    ("base", "reply", "code", "line"),
    [
        ("/openai/v1", MODELS, 0, "ok    OpenAI SDKs    base URL {url}/openai/v1 reaches openai, 2 models listed"),
        ("/anthropic", MODELS, 0, "ok    Anthropic SDKs base URL {url}/anthropic reaches anthropic, 2 models listed"),
        (
            "/openai/v1",
            WANTS_KEY,
            1,
            "fail  OpenAI SDKs    base URL {url}/openai/v1 reaches openai, which refuses this key (status 401)",
        ),
        (
            "/openai/v1",
            Reply(429, OURS),
            0,
            "warn  OpenAI SDKs    base URL {url}/openai/v1 reaches openai, which limits this key now (429)",
        ),
        (
            "/openai/v2",
            Reply(404, OURS),
            1,
            "fail  OpenAI SDKs    base URL {url}/openai/v2 reaches openai, which does not know this path (404)",
        ),
        (
            "/openai/v1",
            Reply(500, OURS),
            0,
            "warn  OpenAI SDKs    base URL {url}/openai/v1 reaches openai, which answered 500",
        ),
        (
            "/v1",
            gateway_error(404, "NOT_FOUND", "the unified API is not available yet; use /openai/v1"),
            1,
            "fail  OpenAI SDKs    base URL /v1: the gateway refused (NOT_FOUND): the unified API is not available yet; "
            "use /openai/v1",
        ),
        (
            "/openai/v1",
            gateway_error(401, "UNAUTHORIZED", "gateway keys need auth.enabled"),
            1,
            "fail  OpenAI SDKs    base URL /openai/v1: the gateway refused (UNAUTHORIZED): "
            "gateway keys need auth.enabled",
        ),
        (
            "/openai/v1",
            gateway_error(502, "UPSTREAM_ERROR", "openai is not reached"),
            1,
            "fail  OpenAI SDKs    base URL /openai/v1: the gateway refused (UPSTREAM_ERROR): openai is not reached",
        ),
        (
            "/openai/v1",
            Reply(502, {"server": "nginx/1.24"}),
            1,
            "fail  OpenAI SDKs    nginx/1.24 answered /openai/v1 (status 502), not Gatehouse",
        ),
    ],
)
def test_what_comes_back_is_told_apart(cli: Cli, base: str, reply: Reply, code: int, line: str) -> None:
    with listening(GATEWAY, reply) as gateway:
        done = cli("doctor", "--url", f"{gateway.url}{base}", "--key", "k")
    assert line.format(url=gateway.url) in done.out.splitlines()
    assert done.code == code


@pytest.mark.parametrize("ending", ["/chat/completions", "/responses", "/models", "/embeddings"])
def test_an_endpoint_is_no_base_url(cli: Cli, gateway: Listener, ending: str) -> None:
    done = cli("doctor", "--url", f"{gateway.url}/openai/v1{ending}", "--key", "k")
    assert done.code == 1
    assert "ends in an endpoint, which the SDK appends itself" in done.out
    assert f"→ use {gateway.url}/openai/v1\n" in done.out
    assert keys_seen(gateway) == {}


@pytest.mark.parametrize(
    ("health", "says"),
    [
        (Reply(200, {"server": "nginx"}, (b"<html>",)), "nginx answers at {url} (status 200), not a Gatehouse"),
        (Reply(200, {}, (b'{"status":"ok"}',)), "not a Gatehouse"),
        (Reply(301, {"location": "https://elsewhere.example/"}), "{url} redirects to https://elsewhere.example/;"),
        (
            gateway_error(403, "FORBIDDEN", "this Host is not served; name it in server.allowed_hosts"),
            "Gatehouse at {url} refuses this address: this Host is not served; name it in server.allowed_hosts",
        ),
    ],
)
def test_what_is_no_gateway_gets_no_key(cli: Cli, health: Reply, says: str) -> None:
    with listening({"/health": health}, MODELS) as other:
        done = cli("doctor", "--url", other.url, "--key", "sk-ant-1")
        assert done.code == 1
        assert says.format(url=other.url) in done.out
        assert keys_seen(other) == {}
        assert len(other.asked) == 1


def test_a_provider_that_the_project_does_not_use_is_a_warning_unless_it_was_named(cli: Cli) -> None:
    refused = gateway_error(403, "NO_CREDENTIAL", "this project has no credential for provider google")
    answers = GATEWAY | {"/google/v1beta/models": refused}
    with listening(answers, Reply(200, OURS, (b'{"data": []}',))) as gateway:
        whole = cli("doctor", "--url", gateway.url, "--key", "gth_live_x")
        named = cli("doctor", "--url", f"{gateway.url}/google", "--key", "gth_live_x")
    assert (whole.code, named.code) == (0, 1), whole.out
    assert "warn  Google SDKs    base URL /google: the gateway refused (NO_CREDENTIAL)" in whole.out
    assert "fail  Google SDKs    base URL /google: the gateway refused (NO_CREDENTIAL)" in named.out


def test_nobody_answers(cli: Cli) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        done = cli("doctor", "--url", url)
    assert done.code == 1
    assert f"fail  reachable      {url} does not answer: " in done.out
    assert "→ check host and port" in done.out
    assert cli("doctor", "--url", "http://no-such-host.invalid").code == 1


def test_https_to_a_plain_listener(cli: Cli, gateway: Listener) -> None:
    done = cli("doctor", "--url", gateway.url.replace("http://", "https://"))
    assert done.code == 1
    assert "it does not speak TLS; try http://" in done.out


def test_a_control_plane_that_is_down_is_no_reason_to_stop(cli: Cli) -> None:
    down = Reply(503, {}, (json.dumps({"status": "unhealthy", "services": {"control": "down"}}).encode(),))
    with listening({**GATEWAY, "/health": down}, WANTS_KEY) as gateway:
        done = cli("doctor", "--url", gateway.url)
    assert done.code == 0
    assert f"warn  reachable      Gatehouse at {gateway.url} says unhealthy (control down)" in done.out


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Reply(200, OURS, (b"".join(STREAM.pieces),)), "warn  simulated      the stream came in one piece"),
        (Reply(200, OURS, STREAM.pieces[:-1]), "fail  simulated      a streamed call broke off"),
        (gateway_error(404, "NOT_FOUND", "x"), "ok    simulated      is switched off there"),
        (gateway_error(503, "JOURNAL_FULL", "full"), "fail  simulated      the gateway refused (JOURNAL_FULL): full"),
    ],
)
def test_the_simulated_call_shows_what_stands_in_between(cli: Cli, reply: Reply, line: str) -> None:
    with listening({**GATEWAY, SIMULATED: reply}, WANTS_KEY) as gateway:
        assert line in cli("doctor", "--url", gateway.url).out


def test_a_proxy_in_the_environment_is_named_and_not_used(cli: Cli, gateway: Listener) -> None:
    with listening({}, MODELS) as proxy:
        done = cli("doctor", "--url", gateway.url, "--key", "sk-ant-1", HTTP_PROXY=proxy.url)
        assert proxy.asked == []
    assert "warn  proxy          HTTP_PROXY is set" in done.out


def test_an_answer_cannot_write_to_the_terminal(cli: Cli) -> None:
    nasty = gateway_error(404, "X\x1b[31m", "\x1b]0;pwned\x07\u202eevil")
    with listening(GATEWAY, nasty) as gateway:
        out = cli("doctor", "--url", gateway.url).out
    assert "evil" in out
    assert all(character.isprintable() or character == "\n" for character in out)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://x", "http://", "http://u:p@h", "http://h?x=1", "http://h:99999", "http://h\n"]
)
def test_urls_that_are_none(cli: Cli, url: str) -> None:
    done = cli("doctor", "--url", url)
    assert done.code == 2
    assert "--url must look like http://host:8080" in done.err
