"""Several parties on one provider account: what the provider keeps for one is out of reach for the others (I6, A7).

Every row of the endpoint table that lists, reads or uses stored objects is asked for as somebody else: as another
project with the same credential, as another tenant that names it, as another tenant that has stored the same key.
Nothing may go upstream.
"""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec
import pytest

from gatehouse.config.settings import Provider, Settings
from gatehouse.routing.scope_rows import ANTHROPIC, GOOGLE, OPENAI
from tests import fakes
from tests.fakes import sockets
from tests.fakes.server import Answer, Fake
from tests.pipeline.house import House, house
from tests.pipeline.tenancy import EVERYTHING, UUID, Tenancy, together

SECRET = "sk-of-the-one-account"
SCOPES = (*EVERYTHING, "fine_tuning", "assistants", "provider:any")
BASES = {
    "openai": ("/openai/v1", "/v1", "/trueportai-services/openai/v1"),
    "anthropic": ("/anthropic/v1", "/trueportai-services/anthropic/v1"),
    "google": ("/google/v1beta", "/google/v1"),
    "azure": ("/azure/my-resource/gpt-4o/openai/v1",),
}
UNIFIED = "/v1/"
"""Where some paths are another dialect's."""
MEDIA = ("/upload", "/resumable/upload", "/download")
PROVIDERS = ("openai", "anthropic", "google", "azure")


class Call(NamedTuple):
    method: str
    path: str


def _stored() -> Iterator[Call]:
    """Every row that reaches what the provider keeps, on each of its addresses."""
    tables = (("openai", OPENAI), ("anthropic", ANTHROPIC), ("google", GOOGLE), ("azure", OPENAI))
    for provider, table in tables:
        for line in table.strip().splitlines():
            methods, path, _, _, *stored = line.split()
            if not stored:
                continue
            path = path.replace("{}", "obj_123").replace("**", "obj_123/parts")
            for base, method in itertools.product(BASES[provider], methods.split(",")):
                yield Call(method, _address(base, path))


def _address(base: str, path: str) -> str:
    for media in MEDIA:
        if path.startswith(media + "/"):
            prefix, _, version = base.rpartition("/")
            return f"{prefix}{media}/{version}{path[len(media) :]}"
    return base + path


CALLS = tuple(_stored())


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        running.respond(Answer(headers=(("content-type", "application/json"),), body=b'{"data":[]}'))
        yield running


def settings(fake: Fake) -> Settings:
    return Settings(providers={name: Provider(base_url=fake.url) for name in PROVIDERS})


def tenant(folder: Path, name: str, fake: Fake | None) -> tuple[Tenancy, str]:
    """A tenant with a project and a key; with `fake`, it has stored the account's key for each provider."""
    tenancy = Tenancy(folder / "data", name)
    if fake is not None:
        for provider in PROVIDERS:
            tenancy.credential(provider, fake.url, SECRET)
    return tenancy, tenancy.key(scopes=SCOPES).text


def refused(running: House, key: str, fake: Fake, code: str, words: str) -> None:
    """Every row, as the holder of `key`: 403 with this code and these words, and nothing upstream."""
    for call, status, body in asked(running, key):
        told = json.loads(body)
        assert status == 403, f"{call}: {status} {told}"
        if call.path.startswith(UNIFIED) and told["code"] == "SCOPE_DENIED":
            continue
        assert told["code"] == code, f"{call}: {told}"
        assert words in told["detail"], f"{call}: {told['detail']}"
    assert fake.requests == [] and running.journal.decisions == []


def asked(running: House, key: str) -> Iterator[tuple[Call, int, bytes]]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    try:
        for call in CALLS:
            body = b"{}" if call.method in ("POST", "PUT", "PATCH") else None
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            connection.request(call.method, call.path, body, headers)
            answer = connection.getresponse()
            yield call, answer.status, answer.read()
    finally:
        connection.close()


def test_there_are_such_endpoints() -> None:
    assert len(CALLS) > 400 and len(set(CALLS)) == len(CALLS)


def test_A7_two_projects_with_one_credential_reach_nothing_that_is_kept(tmp_path: Path, fake: Fake) -> None:
    tenancy, key = tenant(tmp_path, "ten_a", fake)
    bound = tenancy.sections.projects["prj_a"].bindings
    tenancy.project("prj_b", uuid=UUID.replace("abcd", "beef"), bindings=bound)
    other = tenancy.key(project="prj_b", scopes=SCOPES).text
    with house(settings(fake), tenancy.sections, tenancy.unsealer()) as running:
        for each in (key, other):
            refused(running, each, fake, "FORBIDDEN", "several projects")


NAMED_IN_BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "answer before": ("/openai/v1/responses", {"model": "m", "input": "x", "previous_response_id": "resp_1"}),
    "conversation": ("/openai/v1/responses", {"model": "m", "input": "x", "conversation": "conv_1"}),
    "prompt": ("/openai/v1/responses", {"model": "m", "prompt": {"id": "pmpt_1"}}),
    "file": (
        "/openai/v1/responses",
        {"model": "m", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
    ),
    "image": (
        "/openai/v1/responses",
        {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
    ),
    "vector store": (
        "/openai/v1/responses",
        {"model": "m", "input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    ),
    "container": (
        "/openai/v1/responses",
        {"model": "m", "input": "x", "tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    ),
    "file of a chat": (
        "/openai/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
    ),
    "audio of a chat": (
        "/openai/v1/chat/completions",
        {"model": "m", "messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
    ),
    "file of a message": (
        "/anthropic/v1/messages",
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]},
    ),
    "container of a message": (
        "/anthropic/v1/messages",
        {"model": "m", "max_tokens": 9, "messages": [], "container": "container_1"},
    ),
    "cache": (
        "/google/v1beta/models/m:generateContent",
        {"contents": [], "cachedContent": "cachedContents/c1"},
    ),
    "cache, in the other spelling": (
        "/google/v1beta/models/m:generateContent",
        {"contents": [], "cached_content": "cachedContents/c1"},
    ),
    "file of a content": (
        "/google/v1beta/models/m:generateContent",
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/f1"}
        }]}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NAMED_IN_BODIES)
@pytest.mark.parametrize("spelling", ["plain", "escaped", "gzip"])
def test_A7_nor_do_they_by_naming_it_in_a_body(what: str, spelling: str, tmp_path: Path, fake: Fake) -> None:
    tenancy, key = tenant(tmp_path, "ten_a", fake)
    tenancy.project("prj_b", uuid=UUID.replace("abcd", "beef"), bindings=tenancy.sections.projects["prj_a"].bindings)
    path, ask = NAMED_IN_BODIES[what]
    body, headers = json.dumps(ask).encode(), {"authorization": f"Bearer {key}", "content-type": "application/json"}
    if spelling == "escaped":
        for name in (b"previous_response_id", b"file_id", b"container", b"conversation", b"cachedContent", b"fileUri"):
            body = body.replace(b'"%b"' % name, b'"\\u%04x%b"' % (name[0], name[1:]))
    if spelling == "gzip":
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    with house(settings(fake), tenancy.sections, tenancy.unsealer()) as running:
        answer = httpx2.post(running.url + path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), answer.text
        running.wait(1)
    assert fake.requests == []


@pytest.mark.parametrize("packed", [False, True])
def test_A7_nor_hidden_in_a_body_that_nobody_reads_to_its_end(packed: bool, tmp_path: Path, fake: Fake) -> None:
    """Too many objects to look into each: one of them may name what is another project's."""
    tenancy, key = tenant(tmp_path, "ten_a", fake)
    tenancy.project("prj_b", uuid=UUID.replace("abcd", "beef"), bindings=tenancy.sections.projects["prj_a"].bindings)
    body = b'{"model":"m","messages":[' + b'{"content":[{"type":"text"}]},' * 60_000 + b'{"audio":{"id":"audio_1"}}]}'
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    if packed:
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    with house(settings(fake), tenancy.sections, tenancy.unsealer()) as running:
        answer = httpx2.post(running.url + "/openai/v1/chat/completions", content=body, headers=headers, timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), answer.text
        running.wait(1)
    assert fake.requests == []


def test_A7_nor_over_a_websocket_and_clients_turn_to_http_at_once(tmp_path: Path, fake: Fake) -> None:
    """Frames can name an earlier answer. Codex falls back at 426 only."""
    tenancy, key = tenant(tmp_path, "ten_a", fake)
    tenancy.project("prj_b", uuid=UUID.replace("abcd", "beef"), bindings=tenancy.sections.projects["prj_a"].bindings)
    with house(settings(fake), tenancy.sections, tenancy.unsealer()) as running, running.connect() as client:
        client.sendall(sockets.handshake("/openai/v1/responses", f"Authorization: Bearer {key}".encode()))
        assert client.recv(65_536).startswith(b"HTTP/1.1 426 ")
        running.wait(1)
    assert fake.requests == []


def test_A7_an_exclusive_credential_serves_its_project_and_no_other(tmp_path: Path, fake: Fake) -> None:
    tenancy, key = tenant(tmp_path, "ten_a", fake)
    bound = tenancy.sections.projects["prj_a"].bindings
    tenancy.project("prj_b", uuid=UUID.replace("abcd", "beef"), bindings=bound)
    other = tenancy.key(project="prj_b", scopes=SCOPES).text
    exclusive = {
        name: msgspec.structs.replace(each, exclusive="prj_a") for name, each in tenancy.sections.credentials.items()
    }
    sections = msgspec.structs.replace(tenancy.sections, credentials=exclusive)
    with house(settings(fake), sections, tenancy.unsealer()) as running:
        refused(running, other, fake, "FORBIDDEN", "several projects")
        served = 0
        for call, status, body in asked(running, key):
            assert status == 200 or call.path.startswith(UNIFIED), f"{call}: {status} {body!r}"
            served += status == 200
        running.wait(2 * len(CALLS))
    assert len(fake.requests) == served > 400


def test_I6_another_tenants_credential_is_never_found_by_its_id(tmp_path: Path, fake: Fake) -> None:
    """Whatever the directory says: a binding across tenants binds nothing."""
    ours, _ = tenant(tmp_path, "ten_a", fake)
    theirs, key = tenant(tmp_path, "ten_b", None)
    theirs.project(bindings=ours.sections.projects["prj_a"].bindings)
    with house(settings(fake), together(ours, theirs), ours.unsealer()) as running:
        refused(running, key, fake, "NO_CREDENTIAL", "no credential")


def test_I6_two_tenants_that_stored_the_same_key_share_nothing_that_is_kept(tmp_path: Path, fake: Fake) -> None:
    """One account behind two credentials: neither tenant reaches by an id what may be the other's."""
    ours, key = tenant(tmp_path, "ten_a", fake)
    theirs, other = tenant(tmp_path, "ten_b", fake)
    with house(settings(fake), together(ours, theirs), ours.unsealer()) as running:
        for each in (key, other):
            refused(running, each, fake, "FORBIDDEN", "several projects")
