"""The life of a call, over real sockets: what upstream sees, what the caller gets, what the record says."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Iterator

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatehouse import errors
from gatehouse.config.settings import Capture, Cors, Limits, Pool, RouteTimeouts, Simulated, Timeouts
from gatehouse.errors import GatehouseError
from tests import fakes
from tests.fakes.server import Answer, Fake, Misbehaviour
from tests.pipeline.house import House, house, pointing_at

CHAT = "/openai/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
KEY = {"authorization": "Bearer sk-of-the-caller"}


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


@pytest.fixture
def running(fake: Fake) -> Iterator[House]:
    with house(pointing_at(fake.url)) as made:
        yield made


def post(to: House, path: str = CHAT, **kwargs: object) -> httpx2.Response:
    arguments: dict[str, object] = {"json": ASK, "headers": KEY, "timeout": 10} | kwargs
    return httpx2.post(to.url + path, **arguments)  # type: ignore[arg-type]


class TestFaithful:
    def test_I1_bytes_are_the_peers_own_both_ways(self, running: House, fake: Fake) -> None:
        body = b'{ "model":"gpt-4o-mini", "messages":[], "seed":9007199254740993, "x":1.0, "x ":"\\ud83d" }'
        answer = b'{"id":"a","model":"m","choices":[], "big":12345678901234567890 , "f":1.0}'
        fake.respond(Answer(headers=(("content-type", "application/json"),), body=answer))
        response = post(running, json=None, content=body)
        assert fake.last.body == body
        assert response.content == answer
        journal = running.wait(1)
        assert journal.decisions[0].request_sha256 == hashlib.sha256(body).hexdigest()
        assert journal.decisions[0].forwarded_sha256 is None
        assert journal.outcomes[0].response_sha256 == hashlib.sha256(answer).hexdigest()

    def test_metering_reaches_the_record(self, running: House) -> None:
        assert post(running).status_code == 200
        outcome = running.wait(1).outcomes[0]
        assert outcome.outcome == "ok"
        assert outcome.usage is not None and outcome.usage.total > 0
        assert outcome.usage_source == "provider" and outcome.usage_check == "ok"
        assert outcome.price == "known" and outcome.cost is not None and outcome.cost > 0
        assert outcome.first_byte_us is not None and outcome.duration_us >= outcome.first_byte_us

    def test_streams_are_metered_and_the_asked_for_usage_is_taken_out_again(self, running: House, fake: Fake) -> None:
        response = post(running, json=ASK | {"stream": True})
        assert b'"usage"' not in response.content
        assert response.content.endswith(b"data: [DONE]\n\n")
        assert fake.last.json()["stream_options"] == {"include_usage": True}
        journal = running.wait(1)
        assert journal.decisions[0].rewritten == ("stream_options.include_usage",)
        assert journal.decisions[0].forwarded_sha256 == hashlib.sha256(fake.last.body).hexdigest()
        outcome = journal.outcomes[0]
        assert outcome.usage_source == "provider" and outcome.first_token_us is not None
        assert outcome.response_sha256 == hashlib.sha256(response.content).hexdigest()

    def test_a_caller_who_asked_for_usage_gets_it(self, running: House) -> None:
        response = post(running, json=ASK | {"stream": True, "stream_options": {"include_usage": True}})
        assert b'"usage":{' in response.content
        assert running.wait(1).decisions[0].rewritten == ()

    def test_F12_internal_and_private_headers_stay_here(self, running: House, fake: Fake) -> None:
        private = {"cookie": "session=1", "referer": "http://x/", "x-gatehouse-run": "7", "x-ongoingai-trace": "8"}
        post(running, headers=KEY | private)
        assert not set(private) & set(fake.last.names())
        assert fake.last.header("authorization") == KEY["authorization"]
        assert fake.last.header("host") == fake.url.partition("://")[2]

    def test_dangerous_answer_headers_do_not_come_down(self, running: House, fake: Fake) -> None:
        headers = (("content-type", "text/html"), ("set-cookie", "a=b"), ("access-control-allow-origin", "*"))
        fake.respond(Answer(headers=headers, body=b"<script>1</script>"))
        response = post(running)
        assert "set-cookie" not in response.headers and "access-control-allow-origin" not in response.headers
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("sandbox")

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
            max_leaves=20,
        ),
        st.sampled_from([None, 1, " "]),
    )
    def test_I1_over_random_json(self, running: House, fake: Fake, value: object, indent: int | str | None) -> None:
        fake.respond(Answer(headers=(("content-type", "application/json"),), body=b"{}"))
        body = json.dumps(value, indent=indent).encode()
        post(running, json=None, content=body, headers=KEY | {"content-type": "application/json"})
        assert fake.last.body == body


class TestRecord:
    def test_I2_nothing_goes_upstream_before_the_decision_is_written(self, running: House, fake: Fake) -> None:
        running.journal.hold = True
        with running.connect() as client:
            client.sendall(raw_request(b"{}"))
            running.until(lambda: len(running.journal.held) == 1)
            time.sleep(0.1)
            assert fake.requests == []
            running.call(lambda: running.journal.held.pop()(None))
            fake.wait(1)
            running.wait(1)

    def test_a_journal_that_cannot_write_forwards_nothing(self, running: House, fake: Fake) -> None:
        running.journal.refuse_with = GatehouseError(errors.JOURNAL_FULL, "the journal is full")
        response = post(running)
        assert response.status_code == 503 and response.json()["code"] == "JOURNAL_FULL"
        assert fake.requests == []

    def test_F5_a_refused_call_leaves_one_record(self, running: House, fake: Fake) -> None:
        response = post(running, headers={"authorization": "Bearer gth_live_" + "a" * 36})
        assert response.status_code == 401 and "auth.enabled" in response.json()["detail"]
        refusal = running.wait(1).refusals[0]
        assert (refusal.outcome, refusal.code, refusal.status) == ("refused", "UNAUTHORIZED", 401)
        assert refusal.call == response.headers["x-gatehouse-id"]
        assert fake.requests == []

    def test_an_unknown_path_leaves_one_record(self, running: House) -> None:
        assert post(running, "/nowhere/v1/chat").status_code == 404
        assert running.wait(1).refusals[0].code == "NOT_FOUND"

    def test_secrets_in_the_query_are_not_recorded(self, running: House) -> None:
        post(running, f"{CHAT}?key=AIzaSECRET&k%65y=AIzaSECRET&alt=sse")
        decision = running.wait(1).decisions[0]
        assert decision.path == f"{CHAT}?alt=sse"

    def test_provider_keys_are_kept_as_a_keyed_hash(self, running: House) -> None:
        post(running)
        decision = running.wait(1).decisions[0]
        assert decision.provider_key_hash is not None and len(decision.provider_key_hash) == 32
        assert decision.provider_key_hash != hashlib.sha256(b"sk-of-the-caller").hexdigest()[:32]

    def test_the_callers_trace_is_kept(self, running: House) -> None:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        post(running, headers=KEY | {"traceparent": parent})
        decision = running.wait(1).decisions[0]
        assert (decision.trace, decision.parent_span) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")

    def test_a_providers_error_passes_as_it_is(self, running: House, fake: Fake) -> None:
        fake.misbehave(Misbehaviour(error=429))
        response = post(running)
        assert response.status_code == 429 and response.headers["x-gatehouse-error"] == "upstream"
        outcome = running.wait(1).outcomes[0]
        assert (outcome.outcome, outcome.status, outcome.usage) == ("ok", 429, None)

    def test_an_unknown_price_is_unknown_not_zero(self, running: House, fake: Fake) -> None:
        body = b'{"model":"nobody-knows","usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
        fake.respond(Answer(headers=(("content-type", "application/json"),), body=body))
        post(running)
        outcome = running.wait(1).outcomes[0]
        assert (outcome.price, outcome.cost) == ("unknown", None)


class TestUpstreamFaults:
    def test_redirects_are_not_followed(self, running: House, fake: Fake) -> None:
        fake.misbehave(Misbehaviour(redirect="http://127.0.0.1:1/stolen"))
        response = post(running)
        assert response.status_code == 502 and "location" not in response.headers
        assert len(fake.requests) == 1

    @pytest.mark.parametrize("plan", [Misbehaviour(close=True), Misbehaviour(close=True, reset=True)])
    def test_no_answer_is_502(self, running: House, fake: Fake, plan: Misbehaviour) -> None:
        fake.misbehave(plan)
        response = post(running)
        assert response.status_code == 502 and response.json()["code"] == "UPSTREAM_ERROR"
        assert running.wait(1).outcomes[0].outcome == "upstream_error"
        assert len(fake.requests) == 1, "a fresh connection's request is not repeated"

    def test_a_dead_idle_connection_is_replaced_once(self, running: House, fake: Fake) -> None:
        post(running)
        fake.misbehave(Misbehaviour(close=True))
        assert post(running).status_code == 200
        outcome = running.wait(2).outcomes[1]
        assert (outcome.replayed, outcome.attempts) == (True, 2)

    def test_nobody_listening_is_502(self, fake: Fake) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}"
            with house(pointing_at(address)) as made:
                response = post(made)
                assert response.status_code == 502
                assert made.wait(1).outcomes[0].outcome == "upstream_error"

    def test_a_cut_stream_ends_with_the_dialects_error_and_abnormally(self, running: House, fake: Fake) -> None:
        fake.misbehave(Misbehaviour(cut=400))
        raw = running.exchange_bytes(raw_request(json.dumps(ASK | {"stream": True}).encode()))
        assert b'data: {"error"' in raw or b'data: {"type":"error"' in raw or b'"error":' in raw
        assert not raw.endswith(b"0\r\n\r\n")
        outcome = running.wait(1).outcomes[0]
        assert outcome.outcome == "cut" and outcome.code == "UPSTREAM_ERROR"
        assert outcome.usage_source == "estimated" and outcome.usage is not None and outcome.usage.total > 0

    def test_a_cut_answer_of_known_length_is_short(self, running: House, fake: Fake) -> None:
        fake.misbehave(Misbehaviour(cut=50))
        raw = running.exchange_bytes(raw_request(json.dumps(ASK).encode()))
        head, _, body = raw.partition(b"\r\n\r\n")
        assert b"content-length" in head.lower() and len(body) == 50
        assert running.wait(1).outcomes[0].outcome == "cut"

    def test_silence_before_the_head_times_out_per_route(self, fake: Fake) -> None:
        """D9: a route, or a model that thinks for long, may have a time-out of its own."""
        override = RouteTimeouts(match="/openai/v1/chat/*", model="gpt-4o*", first_byte=0.3)
        with house(pointing_at(fake.url, routes=(override,))) as made:
            fake.misbehave(Misbehaviour(silent=True))
            assert post(made).status_code == 502
            assert "0.3 s" in (made.wait(1).outcomes[0].reason or "")
            assert fake.last.wait() == "gone"

    def test_silence_inside_the_answer_is_a_cut(self, fake: Fake) -> None:
        with house(pointing_at(fake.url, timeouts=Timeouts(idle=0.3))) as made:
            fake.misbehave(Misbehaviour(stall=200))
            raw = made.exchange_bytes(raw_request(json.dumps(ASK | {"stream": True}).encode()))
            assert not raw.endswith(b"0\r\n\r\n")
            assert made.wait(1).outcomes[0].outcome == "cut"

    def test_an_informational_answer_is_consumed(self, running: House, fake: Fake) -> None:
        fake.misbehave(Misbehaviour(interim=103))
        assert post(running).status_code == 200

    def test_a_waiting_room_that_is_full_is_503(self, fake: Fake) -> None:
        with house(pointing_at(fake.url, pool=Pool(connections=1, waiting=1))) as made:
            fake.misbehave(Misbehaviour(silent=True), times=None)
            clients = [made.connect() for _ in range(2)]
            clients[0].sendall(raw_request(b"{}"))
            fake.wait(1)  # until then it waits too, for its connection
            clients[1].sendall(raw_request(b"{}"))
            made.until(lambda: made.call(made.upstreams.count)[2] == 1)
            assert post(made).json()["code"] == "OVERLOADED"
            for client in clients:
                client.close()
            made.wait(3)

    def test_a_providers_endless_retry_after_stops_the_sdks(self, running: House, fake: Fake) -> None:
        headers = (("content-type", "application/json"), ("retry-after", "864000"))
        fake.respond(Answer(status=429, headers=headers, body=b'{"error":{}}'))
        response = post(running)
        assert response.headers["retry-after"] == "864000" and response.headers["x-should-retry"] == "false"


class TestClientLeaves:
    def test_F4_I10_upstream_is_cancelled_at_once_and_usage_is_estimated(self, running: House, fake: Fake) -> None:
        took = []
        for number in range(1, 4):
            fake.misbehave(Misbehaviour(slow=0.2))
            with running.connect() as client:
                client.sendall(raw_request(json.dumps(ASK | {"stream": True}).encode()))
                assert client.recv(10)
                fake.wait(number)
            left = time.monotonic()
            assert fake.last.wait() == "gone"
            took.append(time.monotonic() - left)
            outcome = running.wait(number).outcomes[-1]
            assert outcome.outcome == "client_gone" and outcome.usage_source == "estimated"
        assert min(took) < 1.0, "the best of three: the machine may be busy"

    def test_after_the_dialects_last_word_the_call_is_ok(self, running: House, fake: Fake) -> None:
        """openai-python closes at `[DONE]`; the provider's last bytes may come later."""
        events = (b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n', b"data: [DONE]\n\n", b"\n")
        headers = (("content-type", "text/event-stream"),)
        fake.respond(Answer(headers=headers, events=events, gap=0.3))
        with running.connect() as client:
            client.sendall(raw_request(json.dumps(ASK | {"stream": True}).encode()))
            received = b""
            while b"[DONE]" not in received:
                received += client.recv(65_536)
        assert running.wait(1).outcomes[0].outcome == "ok"

    def test_before_the_answer(self, running: House, fake: Fake) -> None:
        fake.misbehave(Misbehaviour(silent=True))
        with running.connect() as client:
            client.sendall(raw_request(b"{}"))
            fake.wait(1)
        assert fake.last.wait() == "gone"
        assert running.wait(1).outcomes[0].outcome == "client_gone"

    def test_before_the_whole_request(self, running: House, fake: Fake) -> None:
        with running.connect() as client:
            client.sendall(raw_request(b"{}")[:-1])
            running.until(lambda: bool(running.pipeline.running))
        assert running.wait(1).refusals[0].outcome == "client_gone"
        assert fake.requests == []

    def test_while_the_journal_writes(self, running: House, fake: Fake) -> None:
        running.journal.hold = True
        with running.connect() as client:
            client.sendall(raw_request(b"{}"))
            running.until(lambda: len(running.journal.held) == 1)
        running.until(lambda: not running.server.connections)
        running.call(lambda: running.journal.held.pop()(None))
        assert running.wait(1).outcomes[0].outcome == "client_gone"
        assert fake.requests == []


class TestBodies:
    def test_too_large_is_413_and_never_sent(self, fake: Fake) -> None:
        with house(pointing_at(fake.url, limits=Limits(body_bytes=1000))) as made:
            response = post(made, json=None, content=b"x" * 1001)
            assert response.status_code == 413 and response.headers["x-should-retry"] == "false"
            assert fake.requests == []
            assert made.wait(1).refusals[0].code == "TOO_LARGE"

    def test_large_json_is_read_in_slices(self, fake: Fake) -> None:
        with house(pointing_at(fake.url, limits=Limits(read_whole=10_000))) as made:
            body = json.dumps({"messages": [{"content": "x" * 3_000_000}], "model": "gpt-4o-mini"}).encode()
            post(made, json=None, content=body)
            assert fake.last.body == body
            assert made.wait(1).decisions[0].model == "gpt-4o-mini"

    def test_an_unreadable_body_is_forwarded_and_recorded_unread(self, running: House, fake: Fake) -> None:
        post(running, json=None, content=b"{not json")
        assert fake.last.body == b"{not json"
        assert running.wait(1).decisions[0].unread

    def test_uploads_stream_through_and_are_hashed(self, running: House, fake: Fake) -> None:
        data = b"0123456789abcdef" * 40_000
        body = b'--b\r\ncontent-disposition: form-data; name="f"\r\n\r\n' + data + b"\r\n--b--\r\n"
        headers = KEY | {"content-type": "multipart/form-data; boundary=b"}
        post(running, "/openai/v1/files", json=None, content=body, headers=headers)
        assert fake.last.body == body
        journal = running.wait(1)
        if journal.decisions[0].streamed:
            assert journal.outcomes[0].request_sha256 == hashlib.sha256(body).hexdigest()
            assert journal.outcomes[0].request_bytes == len(body)
        else:
            assert journal.decisions[0].request_sha256 == hashlib.sha256(body).hexdigest()

    def test_captured_bodies_are_kept_up_to_the_cap(self, fake: Fake) -> None:
        with house(pointing_at(fake.url, capture=Capture(bodies=True, max_bytes=40))) as made:
            post(made)
            made.until(lambda: len(made.journal.captures) == 2)
            sides = {part.side: part for part in made.journal.captures}
            assert sides["request"].truncated and sides["request"].last and sides["response"].truncated
            made.wait(1)


class TestBrowsers:
    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "https://evil.example"},
            {"sec-fetch-mode": "navigate"},
            {"sec-fetch-site": "cross-site"},
            {"host": "evil.example"},
            {"x-forwarded-for": "1.2.3.4"},
            {"via": "1.1 proxy"},
        ],
    )
    def test_are_refused(self, running: House, fake: Fake, headers: dict[str, str]) -> None:
        assert post(running, headers=KEY | headers).status_code == 403
        assert fake.requests == []

    def test_allowed_origins_get_what_cors_needs(self, fake: Fake) -> None:
        app = "https://app.example.com"
        with house(pointing_at(fake.url, cors=Cors(origins=(app,)))) as made:
            preflight = httpx2.request(
                "OPTIONS",
                made.url + CHAT,
                headers={"origin": app, "access-control-request-method": "POST"},
            )
            assert preflight.status_code == 204 and fake.requests == []
            assert preflight.headers["access-control-allow-origin"] == app
            assert post(made, headers=KEY | {"origin": app}).headers["access-control-allow-origin"] == app
            made.wait(1)

    def test_upgrades_that_nobody_tunnels_are_426(self, running: House, fake: Fake) -> None:
        request = (
            b"GET /openai/v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert running.exchange_bytes(request).startswith(b"HTTP/1.1 426 ")
        assert running.wait(1).refusals[0].code == "UPGRADE_UNSUPPORTED"
        assert fake.requests == []


def test_interrupted_streams_say_so(running: House, fake: Fake) -> None:
    fake.misbehave(Misbehaviour(slow=0.5))
    with running.connect() as client:
        client.sendall(raw_request(json.dumps(ASK | {"stream": True}).encode()))
        assert client.recv(10)
        running.call(running.pipeline.interrupt)
        rest = b""
        while piece := client.recv(65_536):
            rest += piece
    assert not rest.endswith(b"0\r\n\r\n")
    assert running.wait(1).outcomes[0].outcome == "interrupted"


def test_I9_a_slow_reader_slows_its_own_upstream(running: House, fake: Fake) -> None:
    body = b"x" * 30_000_000
    fake.respond(Answer(headers=(("content-type", "application/octet-stream"),), body=body))
    with running.connect() as client:
        client.sendall(raw_request(b"{}"))
        client.recv(1)
        running.until(lambda: any(call.connection and call.connection.held for call in running.pipeline.running))
        call = next(iter(running.pipeline.running))
        assert call.connection is not None and call.connection.received < 20_000_000
        while client.recv(1_000_000):
            if running.journal.outcomes:
                break
    assert running.wait(1).outcomes[0].response_bytes == len(body)


def test_the_simulated_provider_takes_the_whole_way(running: House) -> None:
    response = post(running, "/simulated/v1/chat/completions", headers={})
    assert response.status_code == 200 and response.json()["choices"]
    outcome = running.wait(1).outcomes[0]
    assert (outcome.outcome, outcome.price, outcome.cost) == ("ok", "free", 0)


def test_the_simulated_provider_streams_at_its_rate(fake: Fake) -> None:
    with house(pointing_at(fake.url, simulated=Simulated(tokens_per_second=200))) as made:
        response = post(made, "/simulated/v1/chat/completions", json=ASK | {"stream": True}, headers={})
        assert response.content.endswith(b"data: [DONE]\n\n")
        outcome = made.wait(1).outcomes[0]
        assert outcome.outcome == "ok" and outcome.usage_source == "provider"
        assert outcome.duration_us > 50_000


def raw_request(body: bytes, path: str = CHAT) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
        b"authorization: Bearer sk-of-the-caller\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    )
