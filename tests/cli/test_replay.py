"""O13: a captured call sent again through a real gateway: what goes upstream, what is compared, what cannot be done."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatehouse.store import reading
from tests import fakes
from tests.cli.conftest import Cli, Result
from tests.cli.recording import decision, new_ids, outcome, record
from tests.fakes import Fake, anthropic_api, openai_api
from tests.running import Gateway, House, house, moment

KEY = "sk-replaying-callers-own-key"
TOOLS = {"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]}
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def capturing() -> Iterator[tuple[House, Fake]]:
    """A gateway that captures bodies up to 64 KiB, and a second provider of the OpenAI dialect."""
    with fakes.openai() as other:
        extra = {"capture": {"bodies": True, "max_bytes": 65_536}, "providers": {"other": {"base_url": other.url}}}
        with house(extra) as running:
            yield running, other


@pytest.fixture
def running(capturing: tuple[House, Fake]) -> Iterator[House]:
    yield capturing[0]
    capturing[0].reset()
    capturing[1].behave()
    capturing[1].requests.clear()


@pytest.fixture
def run(cli: Cli, capturing: tuple[House, Fake]) -> Run:
    gateway = capturing[0].gateway
    names = {"GATEHOUSE_DATA": str(gateway.data), "GATEHOUSE_CONFIG": str(gateway.config)}
    return lambda *arguments, **environ: cli("replay", *arguments, **names, **environ)


def made(gateway: Gateway, path: str, body: bytes, **headers: str) -> str:
    """A call whose record and bodies are in the store; its id."""
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    _, answered, _ = gateway.call("POST", path, body, named)
    call = str(answered["x-gatehouse-id"])
    gateway.stored(call)
    wait_captured(gateway, call)
    return call


def wait_captured(gateway: Gateway, call: str) -> None:
    """Until both bodies of an ended call are collected: their lines follow the outcome's."""

    async def there() -> bool:
        async with reading.open(gateway.data) as reader:
            return await reader.body(call, "response") is not None

    deadline = time.monotonic() + 30
    while not asyncio.run(there()):
        assert time.monotonic() < deadline, f"the bodies of {call} are not in the store:\n{gateway.said()}"
        time.sleep(0.02)


def chat(gateway: Gateway, **more: Any) -> str:
    # Spelt as no encoder would: it must come out so again (I1).
    body = (
        b'{ "messages" : [{"role":"user","content":"Hi \\u00e9"}],\n "model":"gpt-4o-mini","temperature": 1.0, %b }'
        % (json.dumps({"metadata": {"id": 9_007_199_254_740_993}, **more}).encode()[1:-1])
    )
    return made(gateway, "/openai/v1/chat/completions", body, authorization=f"Bearer {KEY}")


def test_sent_again_as_it_was(run: Run, running: House) -> None:
    """I1: the same bytes; I3: with the key given now. The replay is an ordinary call with its parent's id."""
    call = chat(running.gateway)
    since = moment()
    done = run(call, OPENAI_API_KEY="sk-another-key")
    assert (done.code, done.err) == (0, "")
    first, again = running.openai.requests
    assert again.body == first.body
    assert again.target == first.target
    assert again.header("authorization") == "Bearer sk-another-key"
    (recorded,) = running.gateway.wait_records(since, 1)
    assert recorded.outcome["outcome"] == "ok"
    assert recorded.decision["lineage"] == {"run": f"replay-{call}", "parent": call}
    lines = done.out.splitlines()
    assert lines[0].split() == [call, recorded.call]
    assert "answer: the same" in lines
    assert "shape: the same" in lines
    assert any(line.startswith("cost") and line.count("$") == 2 for line in lines)


def test_another_model_changes_its_own_bytes_only(run: Run, running: House) -> None:
    """I1: every other byte stays as the caller wrote it."""
    call = chat(running.gateway)
    done = run(call, "--model", "gpt-4.1", "--key", KEY, "--format", "json")
    said = json.loads(done.out)
    first, again = running.openai.requests
    assert again.body == first.body.replace(b'"gpt-4o-mini"', b'"gpt-4.1"')
    figures = {figure["name"]: figure for figure in said["figures"]}
    assert (figures["model"]["left"], figures["model"]["right"]) == ("gpt-4o-mini", "gpt-4.1")
    cost = figures["cost_nano_usd"]
    assert cost["change"] == cost["right"] - cost["left"] > 0
    assert (said["v"], said["left"], said["same_shape"], done.code) == (1, call, True, 0)
    assert said["answer"] == {"same": True, "lines": [], "left_out": 0}
    assert running.gateway.stored(said["right"])["model"] == "gpt-4.1"


def test_another_provider_of_the_dialect(run: Run, running: House, capturing: tuple[House, Fake]) -> None:
    other = capturing[1]
    call = chat(running.gateway)
    done = run(call, "--provider", "other", OTHER_API_KEY="sk-others-key", OPENAI_API_KEY=KEY)
    assert done.code == 0, done.err
    assert other.last.body == running.openai.last.body
    # I3: the key of one provider is not tried at another.
    assert other.last.header("authorization") == "Bearer sk-others-key"
    missing = run(call, "--provider", "other", OPENAI_API_KEY=KEY)
    assert missing.code == 2
    assert "No key for other" in missing.err
    assert "set OTHER_API_KEY" in missing.err
    assert len(other.requests) == 1


def test_streams_are_compared_by_what_they_say(run: Run, running: House) -> None:
    """The answer differs in text and in the tool it calls: exit code 1."""
    call = chat(running.gateway, stream=True)
    answer = openai_api.events(
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello\x1b[31m, other"}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [
            {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"b":1,'}}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"a":2}'}}]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    )  # fmt: skip
    running.openai.respond(answer)
    done = run(call, "--key", KEY)
    assert done.code == 1
    lines = done.out.splitlines()
    assert f"  -{openai_api.TEXT}" in lines
    assert "  +Hello�[31m, other" in lines  # control characters cannot act on the terminal
    assert "tool call 1: differs" in lines
    assert '  +look {"a":2,"b":1}' in lines
    assert "shape: differs" in lines


def test_anthropic_with_its_version_header_and_what_the_caller_adds(run: Run, running: House) -> None:
    body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 64, "stream": True, "messages": []}).encode()
    call = made(
        running.gateway, "/anthropic/v1/messages?beta=true", body, x_api_key=KEY, anthropic_version="2023-06-01"
    )
    done = run(call, "--header", "anthropic-beta: context-1m-2025-08-07", ANTHROPIC_AUTH_TOKEN="tok-1")
    assert (done.code, done.err) == (0, "")
    first, again = running.anthropic.requests
    assert (again.body, again.target) == (first.body, "/v1/messages?beta=true")
    assert again.header("anthropic-version") == "2023-06-01"
    assert again.header("anthropic-beta") == "context-1m-2025-08-07"
    assert (again.header("authorization"), again.header("x-api-key")) == ("Bearer tok-1", None)
    assert anthropic_api.TEXT not in done.out


def test_gemini_and_azure_name_the_model_in_the_path(run: Run, running: House) -> None:
    body = b'{"contents":[{"parts":[{"text":"Hi"}]}]}'
    path = "/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key=AIza-callers-key"
    call = made(running.gateway, path, body)
    done = run(call, "--model", "gemini-2.5-pro", GEMINI_API_KEY="AIza-now")
    assert done.code == 0, done.err
    assert running.gemini.last.target == "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    assert (running.gemini.last.body, running.gemini.last.header("x-goog-api-key")) == (body, "AIza-now")

    path = "/azure/my-resource/mini/chat/completions?api-version=2024-10-21"
    chat_body = b'{"model":"x","messages":[{"role":"user","content":"Hi"}]}'
    call = made(running.gateway, path, chat_body, api_key=KEY)
    done = run(call, "--model", "large", "--key", KEY)
    assert done.code == 0, done.err
    assert running.azure.last.target == "/openai/deployments/large/chat/completions?api-version=2024-10-21"
    assert (running.azure.last.body, running.azure.last.header("api-key")) == (chat_body, KEY)
    moved = run(call, "--provider", "openai", "--key", KEY)
    assert "Azure's paths name a resource" in moved.err


def test_an_encoded_body_goes_as_it_came(run: Run, running: House) -> None:
    packed = gzip.compress(b'{"model":"gpt-4o-mini","messages":[]}', mtime=0)
    running.openai.respond(openai_api.indented(openai_api.chat_completion({"model": "gpt-4o-mini"})))
    call = made(
        running.gateway, "/openai/v1/chat/completions", packed, authorization=f"Bearer {KEY}", content_encoding="gzip"
    )
    assert run(call, "--key", KEY).code == 0
    assert (running.openai.last.body, running.openai.last.header("content-encoding")) == (packed, "gzip")
    done = run(call, "--key", KEY, "--model", "gpt-4.1")
    assert running.openai.last.body == b'{"model":"gpt-4.1","messages":[]}'
    assert running.openai.last.header("content-encoding") is None
    assert "note: sent without its content coding (gzip), since the model is another one" in done.out


def test_a_body_in_chunks_and_a_call_without_one(run: Run, running: House) -> None:
    """Whole is what all of the body is, however it was framed."""
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"chunks"}]}'
    connection = http.client.HTTPConnection("127.0.0.1", running.gateway.port, timeout=20)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "transfer-encoding": "chunked"}
    pieces = (body[start : start + 7] for start in range(0, len(body), 7))
    connection.request("POST", "/openai/v1/chat/completions", pieces, headers, encode_chunked=True)
    with connection.getresponse() as response:
        call = str(response.headers["x-gatehouse-id"])
        response.read()
    connection.close()
    running.gateway.stored(call)
    wait_captured(running.gateway, call)
    assert run(call, "--key", KEY).code == 0
    assert running.openai.last.body == body

    _, answered, _ = running.gateway.call("GET", "/openai/v1/models", None, {"authorization": f"Bearer {KEY}"})
    running.gateway.stored(answered["x-gatehouse-id"])
    done = run(answered["x-gatehouse-id"], "--key", KEY)
    assert (done.code, done.err) == (0, "")
    assert (running.openai.last.method, running.openai.last.body) == ("GET", b"")
    assert "it has no body that names a model" in run(answered["x-gatehouse-id"], "--key", KEY, "--model", "x").err


def test_an_answer_that_breaks_off_is_shown_as_far_as_it_came(run: Run, running: House) -> None:
    call = chat(running.gateway, stream=True)
    running.openai.misbehave(fakes.Misbehaviour(cut=900))
    done = run(call, "--key", KEY, "--format", "json")
    assert (done.code, done.err) == (1, "")
    said = json.loads(done.out)
    figures = {figure["name"]: figure for figure in said["figures"]}
    assert (figures["outcome"]["left"], figures["outcome"]["right"]) == ("ok", "cut")
    assert not said["answer"]["same"]
    assert f"the answer of {said['right']} broke off" in said["notes"]


def test_what_fails_upstream_has_another_shape(run: Run, running: House) -> None:
    call = chat(running.gateway)
    running.openai.misbehave(fakes.Misbehaviour(error=429))
    done = run(call, "--key", KEY)
    assert done.code == 1
    status = next(line for line in done.out.splitlines() if line.startswith("status"))
    assert status.split() == ["status", "200", "429"]


def test_what_cannot_be_replayed_says_why(run: Run, running: House) -> None:
    gateway = running.gateway
    large = chat(gateway, padding="x" * 100_000)
    assert "cannot be replayed: only 64.0 KiB of its 97." in run(large, "--key", KEY).err
    upload = made(
        gateway, "/openai/v1/files", b"x" * 2_000_000, authorization=f"Bearer {KEY}", content_type="audio/mpeg"
    )
    assert "its body was an upload that streamed" in run(upload, "--key", KEY).err
    call = chat(gateway)
    for arguments, said in (
        (("--provider", "anthropic"), "speaks openai (chat) and anthropic speaks anthropic: not possible until"),
        (("--provider", "nobody"), "there is no provider nobody; there are anthropic"),
        (("--url", "http://127.0.0.1:9"), "no gateway answers at http://127.0.0.1:9"),
        (("--url", running.openai.url), "is not a Gatehouse (status 404)"),
    ):
        done = run(call, "--key", KEY, *arguments)
        assert (done.code, done.out) == (1, ""), arguments
        assert said in done.err
    for arguments in (("--url", "ftp://x"), ("--header", "no colon"), ("--key", "a b"), ("--key-file", "/nowhere")):
        assert run(call, *arguments).code == 2, arguments
    assert "No key for openai: keys are not on record" in run(call).err
    assert run("0190-nothing", "--key", KEY) == (1, "", "Error: no call 0190-nothing is on record\n")


def test_the_simulated_provider_needs_no_key(run: Run, running: House) -> None:
    body = b'{"model":"simulated","messages":[{"role":"user","content":"Hello"}]}'
    call = made(running.gateway, "/simulated/v1/chat/completions", body)
    done = run("last")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{'':<16}{call:>38}")


def test_what_was_not_captured_names_the_setting(cli: Cli, data: Path) -> None:
    (call,) = new_ids(1)
    record(data, [(decision(call), outcome(call))])
    done = cli("replay", call, OPENAI_API_KEY=KEY)
    assert (done.code, done.out) == (1, "")
    assert "its request was not captured. Set capture.bodies: true" in done.err
