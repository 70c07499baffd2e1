"""Tricks on the data plane with accounts on: each was tried, some worked once."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from tests import fakes
from tests.fakes import sockets
from tests.fakes.server import Answer, Fake, Misbehaviour
from tests.pipeline.house import House, house, pointing_at
from tests.pipeline.tenancy import EVERYTHING, Tenancy

STORED = "sk-stored-with-the-gateway"
OWN = "sk-of-the-caller-itself"
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
CHAT = "/openai/v1/chat/completions"
UNKNOWN = "gth_live_" + "A" * 36


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


@pytest.fixture
def tenancy(tmp_path: Path, fake: Fake) -> Tenancy:
    tenancy = Tenancy(tmp_path / "data")
    for provider in ("openai", "anthropic", "google", "azure"):
        tenancy.credential(provider, fake.url, STORED)
    return tenancy


def request(*lines: str, path: str = CHAT, body: bytes = BODY, version: str = "1.1") -> bytes:
    head = [f"POST {path} HTTP/{version}", "Host: 127.0.0.1", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


def statuses(running: House, *requests: bytes) -> list[int]:
    """Of requests sent at once on one connection; the last one closes it."""
    last = requests[-1].replace(b"Host: ", b"Connection: close\r\nHost: ", 1)
    received = running.exchange_bytes(b"".join(requests[:-1]) + last)
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def test_each_request_of_a_pipeline_is_known_by_its_own_key(tenancy: Tenancy, fake: Fake) -> None:
    """Facts are remembered with a head: only with one that says the same."""
    key, other = tenancy.key(), tenancy.key(scopes=("embeddings",))
    good, bad = request(bearer(key.text)), request(bearer(UNKNOWN))
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        sent = (good, bad, good, request(), request(bearer(other.text)), good, good, bad)
        assert statuses(running, *sent) == [200, 401, 200, 401, 403, 200, 200, 401]
        also = request(bearer(key.text), f"X-Gatehouse-Key: {other.text}")
        assert statuses(running, good, also, good) == [200, 401, 200]
        running.wait(11)
    assert len(fake.requests) == 6


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: X-Gatehouse-Key, Authorization", "X-Gatehouse-Key: {key}"),
        ("Connection: x-gatehouse-key", "X-Gatehouse-Key: {key}", "Authorization: Bearer own"),
        ("Authorization: Bearer own", "authorization: Bearer {key}", "AUTHORIZATION: Bearer own2"),
        ("x-api-key: own", "api-key: {key}", "X_Api_Key: own", "X-Goog-Api-Key: own"),
        ("X_Gatehouse_Key: own", "X-Gatehouse-Key: {key}", "Authorization_: own", "_Authorization: own"),
        ("Authorization: bEaReR \t {key} \t",),
        ("Proxy-Authorization: Basic b3duOm93bg==", "Authorization: Bearer {key}", "Cookie: own=own"),
    ],
)
def test_I3_lines_that_hide_or_repeat_a_credential(lines: tuple[str, ...], tenancy: Tenancy, fake: Fake) -> None:
    key = tenancy.key()
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        assert statuses(running, request(*(line.format(key=key.text) for line in lines))) == [200]
        running.wait(1)
    names = [name for name in fake.last.names() if "auth" in name or "key" in name or "cookie" in name]
    assert names == ["authorization"] and fake.last.header("authorization") == f"Bearer {STORED}"
    assert "own" not in repr(fake.last.headers) and "b3du" not in repr(fake.last.headers)


@pytest.mark.parametrize(
    ("lines", "query"),
    [
        (("Authorization: Bearer {key}, Bearer {other}",), ""),
        (("Authorization: Bearer {key} {key}",), ""),
        (("Authorization: Token {key}",), ""),
        (("Authorization_: Bearer {key}",), ""),
        (("X_Gatehouse_Key: {key}",), ""),
        (("Cookie: session={key}",), ""),
        (("Forwarded: for={key}",), ""),
        ((), "?a=1;key={key}"),
        ((), "?KEY[]={key}"),
        ((), "?%6b%65%79%3d{key}"),
        (("X-Gatehouse-Identity: {key}",), ""),
        (("Authorization: Bearer {key}", "X-Gatehouse-Identity: "), ""),
        (("Authorization: Bearer {key}", "X-Note: {other}"), ""),
        (("Authorization: Bearer {key}",), "?note={other}"),
        (("Authorization: Bearer {key}",), "?note=%2567th_live_{other_rest}"),
    ],
)
def test_what_is_no_place_for_a_key_lets_nobody_in(
    lines: tuple[str, ...], query: str, tenancy: Tenancy, fake: Fake
) -> None:
    key, other = tenancy.key().text, tenancy.key().text
    words = {"key": key, "other": other, "other_rest": other[9:]}
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        sent = request(*(line.format(**words) for line in lines), path=CHAT + query.format(**words))
        assert statuses(running, sent)[0] in (401, 403)
        running.wait(1)
    assert fake.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[],"api_key":"%b"}',
        b"api_key=%b&model=m",
        b'--x\r\ncontent-disposition: form-data; name="api_key"\r\n\r\n%b\r\n--x--\r\n',
    ],
)
def test_a_key_in_a_body_is_none(body: bytes, tenancy: Tenancy, fake: Fake) -> None:
    key = tenancy.key()
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        assert statuses(running, request(body=body % key.text.encode())) == [401]
        running.wait(1)
    assert fake.requests == []


def test_I3_nothing_of_a_trailer_goes_upstream(tenancy: Tenancy, fake: Fake) -> None:
    key = tenancy.key()
    head = request(bearer(key.text), "Connection: close").replace(b"Content-Length: 67", b"Transfer-Encoding: chunked")
    chunked = head.replace(BODY, b"%x\r\n%b\r\n0\r\nX-Api-Key: %b\r\nAuthorization: Bearer own\r\n\r\n" % (
        len(BODY), BODY, key.text.encode()))  # fmt: skip
    assert b"chunked" in head
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        running.exchange_bytes(chunked)
        running.wait(1)
    assert all(key.text not in repr(seen) and "Bearer own" not in repr(seen) for seen in fake.requests)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_http_is_let_in_by_the_same_rules(version: str, tenancy: Tenancy, fake: Fake) -> None:
    key = tenancy.key()
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        found = [
            running.exchange_bytes(request(*lines, "Connection: close", version=version)).split(b" ")[1]
            for lines in ((bearer(key.text),), (bearer(UNKNOWN),), ())
        ]
        assert found == [b"200", b"401", b"401"]
        running.wait(3)


def test_a_refused_caller_is_not_asked_for_its_body(tenancy: Tenancy, fake: Fake) -> None:
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running, running.connect() as client:
        client.sendall(request(bearer(UNKNOWN), "Expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 401 ")


class TestRevocation:
    def test_in_the_middle_of_a_stream_ends_nothing_and_lets_nobody_in_again(
        self, tenancy: Tenancy, fake: Fake
    ) -> None:
        key = tenancy.key()
        fake.misbehave(Misbehaviour(slow=0.05))
        ask = json.loads(BODY) | {"stream": True}
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            with httpx2.Client(headers={"authorization": f"Bearer {key.text}"}, timeout=10) as client:
                with client.stream("POST", running.url + CHAT, json=ask) as answer:
                    pieces = answer.iter_bytes()
                    next(pieces)
                    running.swap(msgspec.structs.replace(tenancy.sections, keys={}))
                    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
                assert client.post(running.url + CHAT, content=BODY).status_code == 401
            assert [outcome.outcome for outcome in running.wait(2).outcomes] == ["ok"]

    @pytest.mark.parametrize("gone", ["revoked", "disabled", "project disabled"])
    def test_while_the_body_is_on_its_way_lets_nobody_in(self, gone: str, tenancy: Tenancy, fake: Fake) -> None:
        """Else requests begun in time, and held open, would be a stock of admissions."""
        key = tenancy.key()
        sections = tenancy.sections
        sent = request(bearer(key.text))
        with house(pointing_at(fake.url), sections, tenancy.unsealer()) as running, running.connect() as client:
            client.sendall(sent[:-10])
            running.until(lambda: bool(running.pipeline.running))
            if gone == "revoked":
                sections = msgspec.structs.replace(sections, keys={})
            elif gone == "disabled":
                disabled = {name: msgspec.structs.replace(each, disabled=True) for name, each in sections.keys.items()}
                sections = msgspec.structs.replace(sections, keys=disabled)
            else:
                tenancy.project(disabled=True)
                sections = tenancy.sections
            running.swap(sections)
            client.sendall(sent[-10:])
            assert client.recv(65_536)[9:12] == (b"401" if gone == "revoked" else b"403")
            running.wait(1)
        assert fake.requests == []


HIDDEN: dict[str, tuple[str, Any, dict[str, str]]] = {
    "twice": (CHAT, b'{"model":"o3","model":"gpt-4o"}', {}),
    "twice, the other way": (CHAT, b'{"model":"gpt-4o","model":"o3"}', {}),
    "in capitals": (CHAT, b'{"Model":"o3"}', {}),
    "escaped": (CHAT, b'{"\\u006dodel":"o3"}', {}),
    "as a list": (CHAT, b'{"model":["o3"]}', {}),
    "as a list within": (CHAT, b'{"model":"gpt-4o","models":["o3"]}', {}),
    "as no JSON": (CHAT, b'{"model":"gpt-4o","model":"o3"', {}),
    "as a form": (CHAT, b'{"model":"o3"}', {"content-type": "multipart/form-data"}),
    "as bytes": (CHAT, b'{"model":"o3"}', {"content-type": "application/octet-stream"}),
    "in an encoding nobody knows": (CHAT, b'{"model":"o3"}', {"content-encoding": "x-own"}),
    "in an encoding": (CHAT, gzip.compress(b'{"model":"o3"}'), {"content-encoding": "gzip"}),
    "in an encoding, twice": (
        CHAT, gzip.compress(b'{"model":"o3","model":"gpt-4o"}'), {"content-encoding": "gzip"},
    ),
    "far behind": (CHAT, b'{"x":"%b","model":"o3"}' % (b"x" * 2_000_000), {}),
    "in a long name": (CHAT, {"model": "o3" + "x" * 1_000_000}, {}),
    "as a fallback": ("/anthropic/v1/messages", {"model": "gpt-4o", "fallbacks": [{"model": "o3"}]}, {}),
    "in a prompt": ("/openai/v1/responses", {"model": "gpt-4o", "prompt": {"id": "pmpt_1"}}, {}),
    "in a tool": ("/openai/v1/responses", {"model": "gpt-4o", "tools": [{"type": "image_generation"}]}, {}),
    "nowhere": ("/openai/v1/responses", {"input": "x"}, {}),
    "in a form": (
        "/openai/v1/audio/transcriptions",
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\no3\r\n--x--\r\n',
        {"content-type": "multipart/form-data; boundary=x"},
    ),
    "where nobody reads": ("/openai/v1/rerank", {"model": "o3"}, {}),
    "in a batch": ("/openai/v1/batches", {"input_file_id": "file-1"}, {}),
    "in batched requests": ("/anthropic/v1/messages/batches", {"requests": [{"params": {"model": "o3"}}]}, {}),
    "in a training": ("/openai/v1/fine_tuning/jobs", {"model": "o3"}, {}),
    "by a run": ("/openai/v1/threads/thread_1/runs", {"assistant_id": "asst_1"}, {}),
    "in a deployment": ("/azure/res/o3-deploy/chat/completions?api-version=2024-10-21", {"model": "gpt-4o"}, {}),
    "in a deployment, named twice": (
        "/azure/res/o3-deploy/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        {"model": "gpt-4o"}, {},
    ),
    "in a path": ("/google/v1beta/models/o3:generateContent", {"model": "gpt-4o"}, {}),
    "in an encoded path": ("/google/v1beta/models/%6f3%3AgenerateContent", {"model": "gpt-4o"}, {}),
    "behind a provider": ("/v1/chat/completions", {"model": "openai:o3"}, {}),
    "behind a provider in a path": ("/v1beta/models/google:o3:generateContent", {"model": "gpt-4o"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("where", HIDDEN)
def test_a_model_that_a_key_may_not_ask_for_is_found_wherever_it_hides(
    where: str, tenancy: Tenancy, fake: Fake
) -> None:
    """What does not show, once and plainly, which model it runs is refused to such a key."""
    key = tenancy.key(models=("gpt-4o*",), scopes=(*EVERYTHING, "fine_tuning", "assistants"))
    path, ask, headers = HIDDEN[where]
    body = ask if isinstance(ask, bytes) else json.dumps(ask).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key.text}", **headers}
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        answer = httpx2.post(running.url + path, content=body, headers=headers, timeout=10)
        assert answer.status_code == 403, answer.text
        assert answer.json()["code"] in ("MODEL_DENIED", "SCOPE_DENIED")
        plainly = httpx2.post(running.url + CHAT, content=BODY, headers=headers | {"content-type": "application/json"}
                              ) if "content-encoding" not in headers else None  # fmt: skip
        assert plainly is None or plainly.status_code == 200
    assert len(fake.requests) == (plainly is not None)


def form(boundary: str, model: str, *, also: str = "") -> str:
    part = 'content-disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    parts = [part.format("model", model), *([part.format("prompt", also)] if also else [])]
    return "".join(f"--{boundary}\r\n{each}" for each in parts) + f"--{boundary}--"


@pytest.mark.parametrize("lines", [
    ("Content-Type: multipart/form-data; boundary=a", "Content-Type: multipart/form-data; boundary=b"),
    ("Content-Type: multipart/form-data; boundary=b", "Content-Type: multipart/form-data; boundary=a"),
    ("Content-Type: multipart/form-data; boundary=b", "Content_Type: multipart/form-data; boundary=a"),
])  # fmt: skip
def test_nor_in_a_form_within_a_form(lines: tuple[str, ...], tenancy: Tenancy, fake: Fake) -> None:
    """Once, the last Content-Type was ours and the first the provider's: each read its own boundary."""
    key = tenancy.key(models=("whisper-1",))
    body = f"{form('b', 'whisper-1', also=form('a', 'o3'))}\r\n".encode()
    head = ["POST /openai/v1/audio/transcriptions HTTP/1.1", "Host: 127.0.0.1", bearer(key.text), *lines]
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        sent = "\r\n".join([*head, "Connection: close", f"Content-Length: {len(body)}", "", ""]).encode() + body
        status = running.exchange_bytes(sent)[9:12]
        running.wait(1)
    if "_" not in lines[1]:
        assert status == b"400" and not fake.requests
    else:
        assert (
            fake.last.header("content-type") == lines[0].partition(": ")[2] and "content_type" not in fake.last.names()
        )


@pytest.mark.parametrize(
    "query", ["", "?model=o3", "?model=gpt-4o-realtime&model=o3", "?model=o3&model=gpt-4o-realtime"]
)
def test_nor_over_a_websocket(query: str, tenancy: Tenancy, fake: Fake) -> None:
    key = tenancy.key(models=("gpt-4o*",))
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running, running.connect() as client:
        client.sendall(sockets.handshake(f"/openai/v1/realtime{query}", bearer(key.text).encode()))
        assert client.recv(65_536)[9:12] in (b"403", b"426")
        running.wait(1)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("path", "model", "status"),
    [
        ("/v1/chat/completions", "openai:", 400),
        ("/v1/chat/completions", "promptgate:", 404),
        ("/v1/chat/completions", "gatehouse:openai:gpt", 404),
        ("/v1/chat/completions", "google:gemini", 400),
        ("/v1/chat/completions", "azure:gpt", 400),
        ("/v1beta/models/google::generateContent", None, 403),
        ("/v1beta/models/:gemini:generateContent", None, 403),
        ("/v1beta/models/gemini:generateContent:streamGenerateContent", None, 404),
        ("/v1beta/models/openai:gpt:generateContent", None, 400),
        ("/v1beta/models/Google:gemini:generateContent", None, 403),
        ("/google/v1beta/models/a%3Ab%3AgenerateContent", None, 403),
        ("/google/v1beta/models/gemini:generateContent/../x:countTokens", None, 400),
    ],
)
def test_odd_names_of_models_reach_nobody(
    path: str, model: str | None, status: int, tenancy: Tenancy, fake: Fake
) -> None:
    key = tenancy.key()
    ask = {"contents": []} if model is None else {"model": model, "messages": []}
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        sent = request(bearer(key.text), path=path, body=json.dumps(ask).encode())
        assert statuses(running, sent) == [status]
        running.wait(1)
    assert fake.requests == []


@pytest.mark.parametrize("model", ["ünï", "gpt\u0000", "\ud800", ":gpt", "x" * 1_000_000, 1, None, ["a"], {}])
def test_and_what_the_gateway_cannot_read_arrives_as_it_was_written(
    model: object, tenancy: Tenancy, fake: Fake
) -> None:
    """I1: the provider says what it thinks of it."""
    fake.respond(Answer(400, (("content-type", "application/json"),), b'{"error":{}}'))
    key = tenancy.key()
    body = json.dumps({"model": model, "messages": []}).encode()
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        assert statuses(running, request(bearer(key.text), path="/v1/chat/completions", body=body)) == [400]
        running.wait(1)
    assert fake.last.body == body


@pytest.mark.parametrize(
    "path",
    [
        "/OPENAI/v1/chat/completions", "/openai/V1/chat/completions", "/openai/v1/Chat/completions",
        "/openai//v1/chat/completions", "/openai/v1/chat%2Fcompletions", "/openai/v1/chat%252Fcompletions",
        "/openai/v1/%63hat/completions", "/openai/v1/chat/completions;x=1", "/openai/v1/chat/completions%20",
        "/openai/v1/chat/completions%00", "/openai/v1/files/../chat/completions", "/openai/v1/./chat/completions",
        "/openai/v1/files/%2e%2e/organization/users", "/openai/v1/chat/completions\\..",
        "/api/v1/../v1/chat/completions",
    ],
)  # fmt: skip
def test_paths_that_two_servers_would_read_differently_go_nowhere(path: str, tenancy: Tenancy, fake: Fake) -> None:
    key = tenancy.key(scopes=(*EVERYTHING, "provider:any"))
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as client:
            client.sendall(request(bearer(key.text), path=path))
            assert client.recv(65_536)[9:12] in (b"400", b"403", b"404")
        running.wait(1)
    assert fake.requests == []
