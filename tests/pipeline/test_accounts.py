"""Calls with accounts on: who is let in, which credential goes upstream and which never does (I3)."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from tests import fakes
from tests.auth.tokens import issuer, token
from tests.fakes import sockets
from tests.fakes.server import Answer, Fake
from tests.pipeline.house import House, house, pointing_at
from tests.pipeline.tenancy import UUID, Tenancy

STORED = "sk-stored-with-the-gateway"
OWN = "sk-of-the-caller-itself"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/openai/v1/chat/completions"
POSITIONS: dict[str, Callable[[str], tuple[dict[str, str], str]]] = {
    "bearer": lambda key: ({"authorization": f"Bearer {key}"}, ""),
    "bearer in capitals": lambda key: ({"Authorization": f"BEARER  {key}"}, ""),
    "x-api-key": lambda key: ({"x-api-key": key}, ""),
    "api-key": lambda key: ({"api-key": key}, ""),
    "x-goog-api-key": lambda key: ({"x-goog-api-key": key}, ""),
    "query": lambda key: ({}, f"?key={key}"),
    "query, spelt otherwise": lambda key: ({}, f"?k%65y={key}"),
    "x-gatehouse-key": lambda key: ({"X-Gatehouse-Key": key}, ""),
    "x-ongoingai-gateway-key": lambda key: ({"X-OngoingAI-Gateway-Key": key}, ""),
    "basic": lambda key: ({"authorization": "Basic " + base64.b64encode(f"u:{key}".encode()).decode()}, ""),
}


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


@pytest.fixture
def tenancy(tmp_path: Path) -> Tenancy:
    return Tenancy(tmp_path / "data")


def post(to: House, path: str = CHAT, ask: object = ASK, **headers: str) -> httpx2.Response:
    return httpx2.post(to.url + path, json=ask, headers=headers, timeout=10)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_key_is_accepted_in_every_position_and_the_stored_credential_alone_goes_upstream(
    position: str, tenancy: Tenancy, fake: Fake
) -> None:
    tenancy.credential("openai", fake.url, STORED)
    key = tenancy.key()
    headers, query = POSITIONS[position](key.text)
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        extra = {"OpenAI-Organization": "org-theirs", "OpenAI-Project": "proj-theirs", "X-HTTP-Method-Override": "PUT"}
        answer = post(running, CHAT + query, **headers, **extra)
        assert answer.status_code == 200, answer.text
        journal = running.wait(1)
    seen = fake.last
    assert seen.header("authorization") == f"Bearer {STORED}"
    sent = repr(seen)
    assert key.text not in sent and key.text[10:30] not in sent
    assert "org-theirs" not in sent and "proj-theirs" not in sent and "Override" not in sent
    decision = journal.decisions[0]
    assert (decision.key, decision.project, decision.team, decision.environment) == (
        "key_0", "prj_a", "research", "prod",
    )  # fmt: skip
    assert decision.candidates[0].credential == "crd_0"
    assert decision.provider_key_hash is None


@pytest.mark.parametrize(
    ("changed", "status", "code", "words"),
    [
        ({"disabled": True}, 403, "FORBIDDEN", "disabled"),
        ({"expires": int(time.time()) - 1}, 401, "UNAUTHORIZED", "expired"),
        ({"addresses": ("10.0.0.0/8",)}, 403, "FORBIDDEN", "address"),
        ({"scopes": ("embeddings",)}, 403, "SCOPE_DENIED", "`chat`"),
        ({"models": ("gpt-5*",)}, 403, "MODEL_DENIED", "gpt-4o-mini"),
        ({"providers": ("anthropic",)}, 403, "FORBIDDEN", "provider openai"),
        ({"project": "prj_gone"}, 403, "FORBIDDEN", "gone"),
    ],
)
def test_what_a_key_may_not_do_is_refused_and_recorded(
    changed: dict[str, Any], status: int, code: str, words: str, tenancy: Tenancy, fake: Fake
) -> None:
    tenancy.credential("openai", fake.url, STORED)
    key = tenancy.key(**changed)
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        answer = post(running, authorization=f"Bearer {key.text}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert words in answer.json()["detail"]
        assert answer.headers["x-should-retry"] == "false"
        refusal = running.wait(1).refusals[0]
    assert refusal.code == code
    assert not fake.requests
    assert key.text not in answer.text


def test_nobody_and_a_providers_key_alone_are_told_what_is_missing(tenancy: Tenancy, fake: Fake) -> None:
    tenancy.credential("openai", fake.url, STORED)
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        assert post(running).status_code == 401
        answer = post(running, authorization=f"Bearer {OWN}")
        assert answer.status_code == 401 and "gateway key" in answer.json()["detail"]
        unknown = post(running, authorization="Bearer gth_live_" + "A" * 36)
        assert unknown.status_code == 401 and "unknown" in unknown.json()["detail"]
        running.wait(3)
    assert not fake.requests


def test_two_different_keys_are_ambiguous(tenancy: Tenancy, fake: Fake) -> None:
    one, two = tenancy.key(), tenancy.key()
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        answer = httpx2.post(
            running.url + CHAT, json=ASK, headers={"authorization": f"Bearer {one.text}", "x-api-key": two.text}
        )
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "ambiguous_credentials"


class TestOwnKeys:
    def test_goes_to_its_provider_while_nothing_is_stored_for_it(self, tenancy: Tenancy, fake: Fake) -> None:
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            answer = post(running, **{"authorization": f"Bearer {OWN}", "X-Gatehouse-Key": key.text})
            assert answer.status_code == 200
            decision = running.wait(1).decisions[0]
        assert fake.last.header("authorization") == f"Bearer {OWN}"
        assert key.text not in repr(fake.last)
        assert decision.provider_key_hash is not None and decision.candidates[0].credential is None

    def test_gives_way_to_a_stored_credential(self, tenancy: Tenancy, fake: Fake) -> None:
        """SDKs insist on some key: callers send a word for one beside X-Gatehouse-Key."""
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            answer = post(running, **{"authorization": "Bearer unused", "X-Gatehouse-Key": key.text})
            assert answer.status_code == 200
        assert fake.last.header("authorization") == f"Bearer {STORED}"

    def test_can_be_forbidden(self, tenancy: Tenancy, fake: Fake) -> None:
        tenancy.project(own_keys=False)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            answer = post(running, **{"authorization": f"Bearer {OWN}", "X-Gatehouse-Key": key.text})
            assert answer.status_code == 403 and answer.json()["code"] == "NO_CREDENTIAL"
        assert not fake.requests

    def test_serves_no_unified_route(self, tenancy: Tenancy, fake: Fake) -> None:
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            answer = post(
                running, "/v1/chat/completions", **{"authorization": f"Bearer {OWN}", "X-Gatehouse-Key": key.text}
            )
            assert answer.status_code == 403 and "gatehouse project enable" in answer.json()["detail"]
        assert not fake.requests


class TestStored:
    def test_no_credential_names_provider_and_command(self, tenancy: Tenancy, fake: Fake) -> None:
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            answer = post(running, authorization=f"Bearer {key.text}")
            assert answer.status_code == 403
            assert "gatehouse project enable openai --credential NAME" in answer.json()["detail"]

    def test_lends_no_account(self, tenancy: Tenancy, fake: Fake) -> None:
        """What is in no row of the endpoint table is refused; administration needs a scope of its own."""
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            for path in ("/openai/v1/organization/admin_api_keys", "/openai/v1/nobody/knows/this"):
                answer = post(running, path, authorization=f"Bearer {key.text}")
                assert (answer.status_code, answer.json()["code"]) == (403, "SCOPE_DENIED"), path
        assert not fake.requests

    def test_shared_by_projects_reaches_nothing_that_the_provider_keeps(self, tenancy: Tenancy, fake: Fake) -> None:
        entry = tenancy.credential("openai", fake.url, STORED)
        bound = tenancy.sections.projects["prj_a"].bindings
        tenancy.project("prj_b", uuid=UUID.replace("abcd", "beef"), bindings=bound)
        key, other = tenancy.key(), tenancy.key(project="prj_b")
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            for each in (key, other):
                answer = httpx2.get(
                    running.url + "/openai/v1/files/file-abc", headers={"authorization": f"Bearer {each.text}"}
                )
                assert answer.status_code == 403 and "several projects" in answer.json()["detail"]
                assert post(running, authorization=f"Bearer {each.text}").status_code == 200
            exclusive = msgspec.structs.replace(entry, exclusive="prj_b")
            running.swap(
                msgspec.structs.replace(
                    tenancy.sections, credentials={**tenancy.sections.credentials, entry.id: exclusive}
                )
            )
            statuses = [
                httpx2.get(
                    running.url + "/openai/v1/files/file-abc", headers={"authorization": f"Bearer {each.text}"}
                ).status_code
                for each in (key, other)
            ]
            assert statuses[0] == 403 and statuses[1] != 403

    def test_goes_to_no_other_origin(self, tenancy: Tenancy, fake: Fake) -> None:
        tenancy.credential("openai", "https://api.openai.com", STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            answer = post(running, authorization=f"Bearer {key.text}")
            assert answer.status_code == 403 and answer.json()["code"] == "NO_CREDENTIAL"
        assert not fake.requests

    def test_rejected_by_the_provider_is_the_gateways_fault(self, tenancy: Tenancy, fake: Fake) -> None:
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            fake.respond(Answer(status=401, body=b'{"error":{"message":"Incorrect API key provided: sk-st"}}'))
            answer = post(running, authorization=f"Bearer {key.text}")
            assert (answer.status_code, answer.json()["code"]) == (502, "CREDENTIAL_REJECTED")
            assert "sk-st" not in answer.text
            outcome = running.wait(1).outcomes[0]
        assert (outcome.upstream_status, outcome.code) == (401, "CREDENTIAL_REJECTED")

    def test_several_share_calls_by_weight_and_the_record_says_which(self, tenancy: Tenancy, fake: Fake) -> None:
        """D7."""
        tenancy.credential("openai", fake.url, STORED + "-1", weight=3)
        tenancy.credential("openai", fake.url, STORED + "-2", weight=1)
        tenancy.credential("openai", fake.url, STORED + "-3", retiring=True)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            with httpx2.Client() as client:
                for _ in range(8):
                    client.post(running.url + CHAT, json=ASK, headers={"authorization": f"Bearer {key.text}"})
            journal = running.wait(8)
        assert Counter(seen.header("authorization") for seen in fake.requests) == {
            f"Bearer {STORED}-1": 6, f"Bearer {STORED}-2": 2,
        }  # fmt: skip
        assert Counter(each.candidates[0].credential for each in journal.decisions) == {"crd_0": 6, "crd_1": 2}

    def test_account_headers_of_answers_are_removed(self, tenancy: Tenancy, fake: Fake) -> None:
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            fake.respond(
                Answer(
                    headers=(("content-type", "application/json"), ("openai-organization", "org-ours"),
                             ("x-ratelimit-limit-requests", "9")),
                    body=b"{}",
                )
            )  # fmt: skip
            answer = post(running, authorization=f"Bearer {key.text}")
        assert "openai-organization" not in answer.headers and answer.headers["x-ratelimit-limit-requests"] == "9"


def test_test_keys_reach_the_simulated_provider_and_credentials_marked_test(tenancy: Tenancy, fake: Fake) -> None:
    tenancy.credential("openai", fake.url, STORED)
    key = tenancy.key("test")
    ask = {"model": "simulated", "messages": [{"role": "user", "content": "hi"}]}
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        assert (
            post(running, "/simulated/v1/chat/completions", ask, authorization=f"Bearer {key.text}").status_code == 200
        )
        answer = post(running, authorization=f"Bearer {key.text}")
        assert (answer.status_code, answer.json()["code"]) == (403, "NO_CREDENTIAL")
        tenancy.credential("openai", fake.url, STORED + "-test", test=True)
        running.swap(tenancy.sections)
        assert post(running, authorization=f"Bearer {key.text}").status_code == 200
    assert fake.last.header("authorization") == f"Bearer {STORED}-test"


def test_a_revoked_key_is_unknown_on_a_connection_that_used_it(tenancy: Tenancy, fake: Fake) -> None:
    tenancy.credential("openai", fake.url, STORED)
    key = tenancy.key()
    headers = {"authorization": f"Bearer {key.text}"}
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running, httpx2.Client() as client:
        assert client.post(running.url + CHAT, json=ASK, headers=headers).status_code == 200
        running.swap(msgspec.structs.replace(tenancy.sections, keys={}))
        assert client.post(running.url + CHAT, json=ASK, headers=headers).status_code == 401


def test_lists_of_models_hold_those_a_key_may_ask_for(tenancy: Tenancy, fake: Fake) -> None:
    """A1: the provider's own list, filtered."""
    tenancy.credential("openai", fake.url, STORED)
    key = tenancy.key(models=("gpt-4o*",))
    header = {"authorization": f"Bearer {key.text}"}
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        fake.respond(
            Answer(
                headers=(("content-type", "application/json"),),
                body=b'{"object":"list","data":[{"id":"o3"}, {"id":"gpt-4o-mini"}]}',
            )
        )
        for path in ("/openai/v1/models", "/v1/models", "/api/v1/gateway/proxy/models"):
            answer = httpx2.get(running.url + path, headers=header)
            assert answer.json() == {"object": "list", "data": [{"id": "gpt-4o-mini"}]}, path
        refused = httpx2.get(running.url + "/v1/models/o3", headers=header)
        assert (refused.status_code, refused.json()["code"]) == (403, "MODEL_DENIED")


class TestUnified:
    @pytest.mark.parametrize("path", ["/v1/chat/completions", f"/api/{UUID}/v1/chat/completions"])
    @pytest.mark.parametrize("model", ["gpt-4o-mini", "openai:gpt-4o-mini"])
    def test_a_model_finds_its_provider(self, path: str, model: str, tenancy: Tenancy, fake: Fake) -> None:
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            body = b'{ "model" : "%s" , "messages":[],"x":1.0}' % model.encode()
            with httpx2.Client(headers={"authorization": f"Bearer {key.text}"}) as client:
                for _ in range(2):
                    assert client.post(running.url + path, content=body).status_code == 200
            journal = running.wait(2)
        assert fake.last.path == "/v1/chat/completions"
        assert fake.last.body == b'{ "model" : "gpt-4o-mini" , "messages":[],"x":1.0}', "I1: only the name changed"
        assert fake.last.header("authorization") == f"Bearer {STORED}"
        decision = journal.decisions[0]
        assert (decision.surface, decision.route, decision.model) == ("unified", "openai/chat", model)
        assert decision.candidates[0].model == "gpt-4o-mini"

    @pytest.mark.parametrize("model", ["simulated", "simulated:simulated"])
    def test_what_is_built_in_needs_no_credential_and_is_reached_by_its_name_alone(
        self, model: str, tenancy: Tenancy, fake: Fake
    ) -> None:
        key = tenancy.key("test")
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            header = {"authorization": f"Bearer {key.text}"}
            assert post(running, "/v1/chat/completions", ASK | {"model": model}, **header).status_code == 200
            assert post(running, "/v1/chat/completions", ASK, **header).status_code == 403

    @pytest.mark.parametrize("model", ["gpt-4o-mini", "openai:gpt-4o-mini"])
    def test_a_key_for_other_providers_is_told_that_it_is_the_key(
        self, model: str, tenancy: Tenancy, fake: Fake
    ) -> None:
        """And not only that the project lacks a credential, which it may have."""
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key(providers=("anthropic", "google"))
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            ask = ASK | {"model": model}
            answer = post(running, "/v1/chat/completions", ask, authorization=f"Bearer {key.text}")
            assert (answer.status_code, answer.json()["code"]) == (403, "NO_CREDENTIAL")
            assert "this gateway key reaches anthropic, google alone" in answer.json()["detail"]
        assert not fake.requests

    def test_the_address_must_name_the_keys_own_project(self, tenancy: Tenancy, fake: Fake) -> None:
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            other = UUID.replace("abcd", "beef")
            answer = post(running, f"/api/{other}/v1/chat/completions", authorization=f"Bearer {key.text}")
            assert answer.status_code == 403 and "another project" in answer.json()["detail"]

    def test_each_dialect_reaches_its_own_provider(self, tenancy: Tenancy, fake: Fake) -> None:
        for provider in ("openai", "anthropic", "google"):
            tenancy.credential(provider, fake.url, f"{STORED}-{provider}")
        key = tenancy.key()
        header = {"authorization": f"Bearer {key.text}"}
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            post(running, "/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []}, **header)
            assert fake.last.header("x-api-key") == f"{STORED}-anthropic" and fake.last.path == "/v1/messages"
            post(running, "/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []}, **header)
            assert fake.last.header("x-goog-api-key") == f"{STORED}-google"
            assert fake.last.path == "/v1beta/models/gemini-2.5-flash:generateContent"
            post(running, "/v1/models/google:gemini-2.5-flash:generateContent", {"contents": []}, **header)
            assert fake.last.path == "/v1/models/gemini-2.5-flash:generateContent"
            httpx2.get(running.url + "/v1/models", headers=header)
            assert fake.last.header("authorization") == f"Bearer {STORED}-openai"
            httpx2.get(running.url + "/v1/models", headers=header | {"anthropic-version": "2023-06-01"})
            assert fake.last.header("x-api-key") == f"{STORED}-anthropic"
            running.wait(5)

    def test_another_dialects_provider_is_refused_with_its_route(self, tenancy: Tenancy, fake: Fake) -> None:
        tenancy.credential("anthropic", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            answer = post(
                running, "/v1/chat/completions", ASK | {"model": "anthropic:claude"}, authorization=f"Bearer {key.text}"
            )
            assert answer.status_code == 400 and "/anthropic" in answer.json()["detail"]
            alias = post(
                running, "/v1/chat/completions", ASK | {"model": "promptgate:fast"}, authorization=f"Bearer {key.text}"
            )
            assert alias.status_code == 404 and "alias `fast`" in alias.json()["detail"]
        assert not fake.requests

    def test_the_proxy_base_serves_the_projects_own_provider(self, tenancy: Tenancy, fake: Fake) -> None:
        """A1 with accounts on."""
        tenancy.credential("openai", fake.url, STORED)
        key = tenancy.key()
        with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
            path = "/api/v1/gateway/proxy/v1/chat/completions"
            assert post(running, path, authorization=f"Bearer {key.text}").status_code == 200
        assert fake.last.path == "/v1/chat/completions" and fake.last.header("authorization") == f"Bearer {STORED}"


def test_I6_what_another_tenant_has_is_never_used(tenancy: Tenancy, fake: Fake, tmp_path: Path) -> None:
    entry = tenancy.credential("openai", fake.url, STORED)
    stranger = Tenancy(tmp_path / "data", "ten_b")
    theirs = stranger.key(id="key_b", project="prj_b")
    stranger.project("prj_b", uuid=UUID.replace("abcd", "beef"), bindings=tenancy.sections.projects["prj_a"].bindings)
    crossed = stranger.key(id="key_c", project="prj_a")
    both = msgspec.structs.replace(
        tenancy.sections,
        tenants={**tenancy.sections.tenants, **stranger.sections.tenants},
        projects={**stranger.sections.projects, **tenancy.sections.projects},
        keys=stranger.sections.keys,
    )
    assert entry.tenant == "ten_a"
    with house(pointing_at(fake.url), both, tenancy.unsealer()) as running:
        for key, code in ((theirs, "NO_CREDENTIAL"), (crossed, "FORBIDDEN")):
            answer = post(running, authorization=f"Bearer {key.text}")
            assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert not fake.requests


class TestWebSocket:
    PATH = "/openai/v1/realtime?model=gpt-realtime"

    def test_I3_keys_in_the_subprotocol_stay_here(self, tenancy: Tenancy) -> None:
        with sockets.provider() as provider:
            tenancy.credential("openai", provider.url, STORED)
            key = tenancy.key()
            with house(pointing_at(provider.url), tenancy.sections, tenancy.unsealer()) as running:
                caller = provider.keep(running.connect())
                offer = (
                    f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{key.text}, openai-organization.org-x"
                )
                caller.send(sockets.handshake(self.PATH, offer.encode()))
                far = provider.accept()
                head = far.head()
                assert b"gth_" not in head and b"org-x" not in head
                assert b"realtime" in head and f"authorization: Bearer {STORED}".encode() in head
                far.send(sockets.accepted())
                assert caller.head().startswith(b"HTTP/1.1 101 ")
                running.call(running.pipeline.interrupt)

    def test_ends_at_once_when_its_key_is_revoked(self, tenancy: Tenancy) -> None:
        with sockets.provider() as provider:
            tenancy.credential("openai", provider.url, STORED)
            key = tenancy.key()
            with house(pointing_at(provider.url), tenancy.sections, tenancy.unsealer()) as running:
                caller = provider.keep(running.connect())
                caller.send(sockets.handshake(self.PATH, f"Authorization: Bearer {key.text}".encode()))
                far = provider.accept()
                far.head()
                far.send(sockets.accepted())
                assert caller.head().startswith(b"HTTP/1.1 101 ")
                running.swap(msgspec.structs.replace(tenancy.sections, keys={}))
                running.call(running.pipeline.expel)
                assert caller.rest() == sockets.close(1001)
                outcome = running.wait(1).outcomes[0]
        assert (outcome.outcome, outcome.reason) == ("interrupted", "the gateway key is no longer in force")


@pytest.mark.parametrize(("tenant", "status"), [("ten_b", 200), ("ten_a", 401)])
def test_I6_another_tenants_issuer_makes_nobodys_provider_key_ours(
    tenant: str, status: int, tenancy: Tenancy, fake: Fake
) -> None:
    """A provider's key may be a JWT, of an issuer (Entra) that several tenants of the gateway know."""
    tenancy.issuer(issuer(tenant=tenant))
    own, key = token().decode(), tenancy.key()
    with house(pointing_at(fake.url), tenancy.sections, tenancy.unsealer()) as running:
        answer = post(running, authorization=f"Bearer {own}", **{"X-Gatehouse-Key": key.text})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert fake.last.header("authorization") == f"Bearer {own}"
    else:
        assert answer.json()["error"]["code"] == "ambiguous_credentials"
