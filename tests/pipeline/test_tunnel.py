"""WebSocket through the transparent routes, over plain sockets: what each side sees, and what the record says.

Frames by RFC 6455; events by `openai.types.realtime` (`response_done_event`, `realtime_response_usage`) and
`google.genai.types` (`LiveServerMessage`, `UsageMetadata`).
"""

from __future__ import annotations

import gc
import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gatehouse.config.settings import Capture, Cors, Pool, Provider, RouteTimeouts, Settings, Timeouts
from gatehouse.model.record import Outcome
from tests.fakes import sockets
from tests.fakes.sockets import End, accepted, close, frame, handshake
from tests.pipeline.house import House, house, pointing_at

REALTIME = "/openai/v1/realtime?model=gpt-realtime"
LIVE = "/google/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=g-secret"
KEY = b"Authorization: Bearer sk-of-the-caller"
ORDINARY = b"GET /openai/v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def provider() -> Iterator[sockets.Provider]:
    with sockets.provider() as made:
        yield made


@pytest.fixture
def running(provider: sockets.Provider) -> Iterator[House]:
    with house(pointing_at(provider.url)) as made:
        yield made


def call(to: House, provider: sockets.Provider, path: str = REALTIME, *lines: bytes) -> End:
    """A caller that has sent its handshake."""
    end = provider.keep(to.connect())
    end.send(handshake(path, KEY, *lines))
    return end


def tunnel(to: House, provider: sockets.Provider, path: str = REALTIME) -> tuple[End, End]:
    """Both ends of an open tunnel."""
    caller = call(to, provider, path)
    far = provider.accept()
    far.head()
    far.send(accepted())
    assert caller.head().startswith(b"HTTP/1.1 101 ")
    return caller, far


def outcome(of: House) -> Outcome:
    return of.wait(1).outcomes[0]


def event(**members: object) -> bytes:
    return frame(json.dumps(members).encode())


def done(entered: int, made: int, **members: object) -> bytes:
    usage = {"input_tokens": entered, "output_tokens": made, "total_tokens": entered + made, **members}
    return event(type="response.done", response={"id": "r", "status": "completed", "usage": usage})


class TestHandshake:
    def test_it_goes_on_and_is_decided_first(self, running: House, provider: sockets.Provider) -> None:
        """I2: the record stands before the provider is spoken to. No extensions; nothing of the browser."""
        caller = call(running, provider, REALTIME, b"Sec-WebSocket-Protocol: realtime", b"Sec-WebSocket-Extensions: x")
        far = provider.accept()
        lines = far.head().decode().split("\r\n")
        assert len(running.journal.decisions) == 1
        assert lines[0] == "GET /v1/realtime?model=gpt-realtime HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        assert headers == {
            "host": provider.url.partition("://")[2],
            "authorization": "Bearer sk-of-the-caller",
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": sockets.KEY.decode(),
            "sec-websocket-protocol": "realtime",
        }
        far.send(accepted(b"Sec-WebSocket-Protocol: realtime", b"Set-Cookie: a=b", b"x-request-id: req_1"))
        head = caller.head().lower()
        assert head.startswith(b"http/1.1 101 switching protocols")
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head
        assert b"sec-websocket-protocol: realtime" in head
        assert b"x-gatehouse-id: " in head
        assert b"x-request-id: req_1" in head
        assert b"cookie" not in head
        caller.send(close(masked=True))
        far.send(close())
        assert caller.rest() == close()
        decision = running.wait(1).decisions[0]
        assert (decision.route, decision.operation, decision.model) == ("openai/realtime", "realtime", "gpt-realtime")
        assert (decision.path, decision.stream, decision.streamed) == ("/openai/v1/realtime", True, True)
        assert decision.provider_key_hash is not None

    def test_what_the_caller_says_early_waits_for_the_101(self, running: House, provider: sockets.Provider) -> None:
        early = frame(b"early", masked=True)
        caller = provider.keep(running.connect())
        caller.send(handshake(REALTIME, KEY) + early[:3], early[3:])
        far = provider.accept()
        far.head()
        far.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            far.sock.recv(1)
        far.send(accepted())
        far.sock.settimeout(sockets.SECONDS)
        assert far.read(len(early)) == early
        assert caller.head()

    def test_the_provider_may_speak_with_its_101(self, running: House, provider: sockets.Provider) -> None:
        caller = call(running, provider)
        far = provider.accept()
        far.head()
        hello = event(type="session.created", session={"type": "realtime", "model": "gpt-realtime-2026"})
        for piece in (accepted()[:-1], accepted()[-1:] + hello + close()):
            far.send(piece)
        far.sock.close()
        caller.head()
        assert caller.rest() == hello + close()
        assert outcome(running).model == "gpt-realtime-2026"

    @pytest.mark.parametrize(
        ("status", "expected"),
        [(b"401 Unauthorized", 401), (b"426 Upgrade Required", 426), (b"200 OK", 200), (b"307 Moved", 502)],
    )
    def test_any_other_answer_is_an_ordinary_one(
        self, running: House, provider: sockets.Provider, status: bytes, expected: int
    ) -> None:
        """What the caller said early is discarded, and the connection closes."""
        caller = provider.keep(running.connect())
        caller.send(handshake(REALTIME, KEY) + frame(b"early", masked=True))
        far = provider.accept()
        far.head()
        far.send(b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nnope")
        head = caller.head()
        assert head.startswith(b"HTTP/1.1 %d " % expected)
        assert b"connection: close" in head
        assert caller.rest().endswith(b"nope") is (expected != 502)
        running.until(lambda: running.upstreams.count()[1] == 0)
        running.call(running.upstreams.close)
        assert far.rest() == b""
        found = outcome(running)
        assert (found.status, found.turns, found.usage) == (expected, None, None)

    @pytest.mark.parametrize(
        "answer",
        [
            accepted(key=b"AAAAAAAAAAAAAAAAAAAAAA=="),
            accepted(b"Sec-WebSocket-Extensions: permessage-deflate"),
            accepted().replace(b"Upgrade: websocket", b"Upgrade: h2c"),
            accepted().replace(b"Connection: Upgrade\r\n", b""),
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ],
        ids=["wrong accept", "an extension", "another protocol", "no connection", "bare"],
    )
    def test_a_wrong_101_is_502(self, running: House, provider: sockets.Provider, answer: bytes) -> None:
        caller = call(running, provider)
        far = provider.accept()
        far.head()
        far.send(answer + frame(b"not for the caller"))
        assert caller.head().startswith(b"HTTP/1.1 502 ")
        body = json.loads(caller.rest())
        assert body["code"] == "UPSTREAM_ERROR"
        assert outcome(running).outcome == "upstream_error"

    def test_no_answer_in_time(self, provider: sockets.Provider) -> None:
        with house(pointing_at(provider.url, timeouts=Timeouts(first_byte=1.0))) as running:
            caller = call(running, provider)
            far = provider.accept()
            assert caller.head().startswith(b"HTTP/1.1 502 ")
            assert far.rest().startswith(b"GET ")
            assert outcome(running).reason == "no answer within 1 s"

    def test_a_stale_connection_is_replaced(self, running: House, provider: sockets.Provider) -> None:
        first = provider.keep(running.connect())
        first.send(ORDINARY)
        far = provider.accept()
        far.head()
        far.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert first.head().startswith(b"HTTP/1.1 200")
        caller = call(running, provider)
        assert far.head().startswith(b"GET /v1/realtime")
        far.sock.close()
        again = provider.accept()
        again.head()
        again.send(accepted() + close())
        again.sock.close()
        caller.head()
        assert caller.rest() == close()
        assert running.wait(2).outcomes[1].replayed

    @pytest.mark.parametrize(
        ("request_", "status", "says"),
        [
            (handshake(REALTIME, KEY, key=b"short"), 400, "Sec-WebSocket-Key"),
            (handshake(REALTIME, KEY).replace(b"Version: 13", b"Version: 8"), 400, "Version: 13"),
            (handshake("/openai/v1/responses", KEY, method=b"POST"), 400, "a GET in HTTP/1.1"),
            (handshake(REALTIME, KEY).replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "a GET in HTTP/1.1"),
            (handshake(REALTIME, KEY, b"Content-Length: 2") + b"{}", 400, "no body"),
            (handshake(REALTIME, KEY, b"Origin: https://evil.example"), 403, "Origin"),
            (handshake(REALTIME, b"Authorization: Bearer gth_live_0123456789"), 401, "gateway keys"),
            (
                handshake(REALTIME, b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.gth_test_01"),
                401,
                "gateway keys",
            ),
            (handshake("/openai/v1/chat/completions", KEY), 426, "not served"),
            (handshake("/openai/v1/models", KEY), 426, "not served"),
            (handshake("/anthropic/v1/messages", KEY), 426, "not served"),
            (handshake("/api/v1/traces", KEY), 426, "not served"),
            (handshake("/health/live", KEY), 426, "not served"),
            (handshake(REALTIME, KEY).replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket"), 426, "websocket"),
        ],
    )
    def test_refused_before_any_provider(
        self, running: House, provider: sockets.Provider, request_: bytes, status: int, says: str
    ) -> None:
        answer = running.exchange_bytes(request_ + frame(b"hello", masked=True))
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert says in json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
        assert running.wait(1).refusals[0].status == status
        assert not provider.asked()

    def test_I3_keys_as_subprotocol_or_query_are_hashed(self, running: House, provider: sockets.Provider) -> None:
        """And neither stands on the record."""
        protocols = b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-browser"
        for path, line in ((REALTIME, protocols), (LIVE, b"Accept: */*")):
            caller = provider.keep(running.connect())
            caller.send(handshake(path, line))
            far = provider.accept()
            assert b"sk-browser" in (head := far.head()) or b"key=g-secret" in head
            far.send(accepted() + close())
            far.sock.close()
            caller.head()
            caller.rest()
        journal = running.wait(2)
        assert all(decision.provider_key_hash for decision in journal.decisions)
        assert "sk-browser" not in repr(journal)
        assert "g-secret" not in repr(journal)

    def test_an_origin_of_the_operators_may_call(self, provider: sockets.Provider) -> None:
        with house(pointing_at(provider.url, cors=Cors(origins=("https://app.example",)))) as running:
            caller = call(running, provider, REALTIME, b"Origin: https://app.example")
            far = provider.accept()
            assert b"origin" not in far.head().lower()
            far.send(accepted() + close())
            assert b"access-control-allow-origin: https://app.example" in caller.head()
            far.sock.close()
            assert caller.rest() == close()

    @pytest.mark.parametrize(
        ("path", "target", "route"),
        [
            ("/openai/v1/responses", "/v1/responses", "openai/responses"),
            (REALTIME, "/v1/realtime?model=gpt-realtime", "openai/realtime"),
            (LIVE, LIVE.removeprefix("/google"), "google/live"),
            (
                "/azure/res/dep/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-rt",
                "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-rt",
                "azure/realtime",
            ),
            ("/groq/v1/responses", "/openai/v1/responses", "groq/responses"),
            ("/mine/v1/realtime?model=m", "/v1/realtime?model=m", "mine/realtime"),
        ],
    )
    def test_where_it_goes(self, provider: sockets.Provider, path: str, target: str, route: str) -> None:
        at = Provider(base_url=provider.url)
        settings = Settings(
            providers={
                "openai": at,
                "google": at,
                "azure": at,
                "groq": Provider(base_url=f"{provider.url}/openai"),
                "mine": at,
            }
        )
        with house(settings) as running:
            caller = call(running, provider, path)
            far = provider.accept()
            assert far.head().split(b" ")[1].decode() == target
            far.send(accepted() + close())
            far.sock.close()
            caller.head()
            caller.rest()
            assert running.wait(1).decisions[0].route == route

    def test_the_simulated_provider_declines(self, provider: sockets.Provider) -> None:
        with house(Settings()) as running:
            caller = call(running, provider, "/simulated/v1/realtime")
            assert caller.head().startswith(b"HTTP/1.1 4")
            assert caller.rest()


class TestBytes:
    def test_I1_both_ways_at_every_split(self, running: House, provider: sockets.Provider) -> None:
        """Fragments, control frames between them, binary, empty frames: as they came."""
        down = (
            frame(b"frag", last=False)
            + frame(b"ping", 9)
            + frame(b"ment", 0, last=False)
            + frame(b"", 0)
            + frame(bytes(range(256)) * 300, 2)
            + done(10, 5)
        )
        up = frame(b"hello", masked=True) + frame(b"pong", 10, masked=True) + frame(b"x" * 70_000, 2, masked=True)
        caller, far = tunnel(running, provider)
        for start in range(0, 40):
            far.send(down[start : start + 1])
        far.send(down[40:])
        for start in range(0, 20):
            caller.send(up[start : start + 1])
        caller.send(up[20:])
        assert caller.read(len(down)) == down
        assert far.read(len(up)) == up
        caller.send(close(masked=True))
        assert far.read(8) == close(masked=True)
        far.send(close())
        assert caller.rest() == close()
        found = outcome(running)
        assert (found.outcome, found.reason, found.status, found.upstream_status) == ("ok", None, 101, 101)
        assert found.response_sha256 == hashlib.sha256(down + close()).hexdigest()
        assert found.request_sha256 == hashlib.sha256(up + close(masked=True)).hexdigest()
        assert found.request_bytes == len(up) + 8
        assert found.response_bytes == found.upstream_bytes == len(down) + 4
        assert (found.turns, found.usage_source) == (1, "estimated")
        assert found.usage_note == "what the caller said could not all be read; unreadable messages: 2"

    @pytest.mark.parametrize(
        ("down", "up", "who"),
        [
            (frame(b"x", first=0x40), b"", "provider"),
            (frame(b"x", 3), b"", "provider"),
            (frame(b"x", masked=True), b"", "provider"),
            (b"\x81\x7f\xff" + b"\xff" * 7, b"", "provider"),
            (frame(b"a", last=False) + frame(b"b"), b"", "provider"),
            (frame(b"x" * 200, 9), b"", "provider"),
            (b"", frame(b"x"), "caller"),
            (b"", frame(b"x", 0, masked=True), "caller"),
        ],
    )
    def test_what_breaks_the_protocol_passes_and_is_noted(
        self, running: House, provider: sockets.Provider, down: bytes, up: bytes, who: str
    ) -> None:
        caller, far = tunnel(running, provider)
        down = done(1, 1) + down + done(9, 9)
        up += frame(b"behind", masked=True)
        far.send(down)
        caller.send(up)
        assert caller.read(len(down)) == down
        assert far.read(len(up)) == up
        far.sock.close()
        caller.rest()
        found = outcome(running)
        assert found.usage_note is not None
        assert f"frames of the {who} not read to the end" in found.usage_note
        assert found.usage_source == "estimated", "I4: what was asked or answered behind it nobody knows"
        assert found.turns == (1 if who == "provider" else 2)

    def test_unreadable_text_passes(self, running: House, provider: sockets.Provider) -> None:
        caller, far = tunnel(running, provider)
        down = frame(b"\xff\xfe") + frame(b"{") + frame(b"[1]") + done(3, 2) + close()
        far.send(down)
        far.sock.close()
        assert caller.rest() == down
        found = outcome(running)
        assert (found.usage_note, found.turns) == ("unreadable messages: 3", 1)

    def test_ten_thousand_tiny_frames(self, running: House, provider: sockets.Provider) -> None:
        """Others have the loop meanwhile."""
        caller, far = tunnel(running, provider)
        down = frame(b"") * 10_000 + done(3, 2) + close()
        up = frame(b"", 2, masked=True) * 10_000
        far.send(down)
        caller.send(up)
        assert far.read(len(up)) == up
        far.sock.close()
        assert caller.rest() == down
        assert outcome(running).turns == 1

    def test_I9_a_message_beyond_the_bound_passes_unread(self, running: House, provider: sockets.Provider) -> None:
        """Its frame is announced, and most of it never comes: nothing of it is kept."""
        caller, far = tunnel(running, provider)
        huge = b"\x81\x7f" + (300 << 20).to_bytes(8, "big") + b"y" * 100_000
        far.send(done(3, 2) + huge)
        assert caller.read(len(done(3, 2) + huge)) == done(3, 2) + huge
        far.sock.close()
        caller.rest()
        found = outcome(running)
        assert found.outcome == "cut"
        assert found.usage_note == "messages of the provider too large to read: 1"
        assert found.usage is not None and found.usage_source == "estimated"

    def test_I4_what_a_caller_asked_in_a_message_that_nobody_read(
        self, running: House, provider: sockets.Provider
    ) -> None:
        caller, far = tunnel(running, provider)
        asked = frame(json.dumps({"type": "x", "more": "y" * (1 << 20)}).encode(), masked=True)
        caller.send(asked)
        assert far.read(len(asked)) == asked
        far.send(done(3, 2) + close())
        far.sock.close()
        caller.rest()
        found = outcome(running)
        noted = "what the caller said could not all be read; messages of the caller too large to read: 1"
        assert found.usage_note == noted
        assert found.usage is not None and found.usage_source == "estimated"

    def test_I4_what_was_asked_for_in_a_frame_that_ended_as_the_gateway_left(
        self, running: House, provider: sockets.Provider
    ) -> None:
        caller, far = tunnel(running, provider)
        asked = frame(json.dumps({"type": "response.create"}).encode(), masked=True)
        far.send(done(3, 2))
        caller.read(len(done(3, 2)))
        caller.send(asked[:-3])
        assert far.read(len(asked) - 3) == asked[:-3]
        running.call(running.pipeline.leave)
        caller.send(asked[-3:])
        assert far.read(3) == asked[-3:]
        found = outcome(running)
        assert (found.usage_source, found.turns) == ("estimated", 1)

    def test_I4_what_nobody_read_of_a_frame_that_ended_as_the_gateway_left(
        self, running: House, provider: sockets.Provider
    ) -> None:
        caller, far = tunnel(running, provider)
        asked = frame(b"x" * (1 << 20) + b"y" * 100, masked=True)
        far.send(done(3, 2))
        caller.read(len(done(3, 2)))
        caller.send(asked[:2])
        assert far.read(2) == asked[:2]
        running.call(running.pipeline.leave)
        caller.send(asked[2:])
        assert far.read(len(asked) - 2) == asked[2:]
        found = outcome(running)
        assert (found.usage_source, found.turns) == ("estimated", 1)

    def test_I4_what_was_asked_for_and_had_not_begun(self, running: House, provider: sockets.Provider) -> None:
        """The caller leaves before it is told: the provider may have begun, and charges for it."""
        caller, far = tunnel(running, provider)
        asked = frame(json.dumps({"type": "response.create"}).encode(), masked=True)
        caller.send(asked)
        assert far.read(len(asked)) == asked
        far.send(event(type="response.created", response={"id": "r"}) + done(3, 2))
        caller.read(len(event(type="response.created", response={"id": "r"}) + done(3, 2)))
        caller.send(asked)
        assert far.read(len(asked)) == asked
        caller.sock.close()
        found = outcome(running)
        assert (found.outcome, found.usage_source, found.turns) == ("client_gone", "estimated", 1)
        assert "had not begun" in (found.usage_note or "")

    def test_I9_a_slow_reader_slows_the_other_side(self, provider: sockets.Provider) -> None:
        with house(pointing_at(provider.url)) as running:
            caller, far = tunnel(running, provider)
            for reader, writer, masked in ((caller, far, False), (far, caller, True)):
                piece = frame(b"z" * 65_000, 2, masked=masked)
                sent = fill(writer, piece)
                assert sent < 32 << 20, "nobody slowed it down"
                assert running.server.held < 1 << 20
                total = 0
                while total < sent:
                    total += len(reader.read(min(65_536, sent - total)))
                rest = piece[sent % len(piece) :] if sent % len(piece) else b""
                writer.sock.settimeout(sockets.SECONDS)
                writer.send(rest)
                assert reader.read(len(rest)) == rest
            far.send(close())
            caller.send(close(masked=True))
            assert caller.rest() == close()
            assert outcome(running).outcome == "ok"


def fill(end: End, piece: bytes) -> int:
    """Send copies of `piece` until nobody takes any more for a while; bytes that were taken."""
    end.sock.settimeout(0.3)
    sent = 0
    while sent < 64 << 20:
        at = sent % len(piece)
        try:
            sent += end.sock.send(piece[at:])
        except (TimeoutError, ConnectionResetError):
            break
    return sent


class TestEnds:
    def test_closed_by_the_caller(self, running: House, provider: sockets.Provider) -> None:
        caller, far = tunnel(running, provider)
        caller.send(close(masked=True))
        caller.sock.shutdown(socket.SHUT_WR)
        assert far.rest() == close(masked=True)
        assert outcome(running).outcome == "ok"

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            (None, None),
            (1000, None),
            (1001, None),
            (1011, "closed by the provider with status 1011"),
            (3000, "closed by the provider with status 3000"),
        ],
    )
    def test_closed_by_the_provider(
        self, running: House, provider: sockets.Provider, code: int | None, reason: str | None
    ) -> None:
        caller, far = tunnel(running, provider)
        far.send(close(code))
        assert caller.read(len(close(code))) == close(code)
        caller.send(close(code, masked=True))
        assert far.rest() == close(code, masked=True)
        assert caller.rest() == b""
        found = outcome(running)
        assert (found.outcome, found.reason) == ("ok", reason)

    def test_I10_the_caller_vanishes(self, running: House, provider: sockets.Provider) -> None:
        caller, far = tunnel(running, provider)
        caller.send(frame(b"half", masked=True)[:7])
        assert far.read(7)
        caller.sock.close()
        assert far.rest() == b""
        found = outcome(running)
        assert (found.outcome, found.reason) == ("client_gone", "client closed the connection")

    @pytest.mark.parametrize("half", [b"", frame(b"x" * 50)[:20]])
    def test_the_provider_vanishes(self, running: House, provider: sockets.Provider, half: bytes) -> None:
        """In the middle of a frame or between two: no close frame comes, and the caller's connection ends."""
        caller, far = tunnel(running, provider)
        far.send(event(type="response.created", response={"id": "r"}))
        far.send(event(type="response.output_text.delta", response_id="r", delta="word " * 8) + half)
        far.sock.close()
        assert caller.rest().endswith(half)
        found = outcome(running)
        assert (found.outcome, found.reason) == ("cut", "upstream broke off: connection closed")
        assert (found.usage_source, found.turns) == ("estimated", 0)
        assert found.usage is not None
        assert found.usage.output == 10

    def test_nobody_speaks(self, provider: sockets.Provider) -> None:
        with house(pointing_at(provider.url, timeouts=Timeouts(websocket_idle=1.0))) as running:
            caller, far = tunnel(running, provider)
            assert caller.rest() == close(1001)
            assert far.rest()[:2] == b"\x88\x82"
            found = outcome(running)
            assert (found.outcome, found.reason) == ("cut", "both sides silent for 1 s")

    def test_a_route_may_wait_less(self, provider: sockets.Provider) -> None:
        override = RouteTimeouts(match="/openai/v1/realtime*", model="gpt-*", websocket_idle=0.3)
        with house(pointing_at(provider.url, routes=(override,))) as running:
            caller, _ = tunnel(running, provider)
            assert caller.rest() == close(1001)
            assert outcome(running).reason == "both sides silent for 0.3 s"

    def test_what_is_said_is_not_captured(self, provider: sockets.Provider) -> None:
        with house(pointing_at(provider.url, capture=Capture(bodies=True))) as running:
            caller, far = tunnel(running, provider)
            far.send(done(1, 1), close())
            caller.send(frame(b"hello", masked=True), close(masked=True))
            caller.rest()
            assert outcome(running).turns == 1
            running.run(running.recorder.finish())
            assert running.journal.captures == []

    def test_the_caller_reads_nothing(self, provider: sockets.Provider) -> None:
        with house(pointing_at(provider.url, timeouts=Timeouts(write_stall=0.5))) as running:
            _, far = tunnel(running, provider)
            fill(far, frame(b"z" * 65_000))
            assert outcome(running).outcome == "client_gone"

    def test_the_gateway_stops(self, running: House, provider: sockets.Provider) -> None:
        """Each side gets a close frame behind the frame that was on its way (1001: going away)."""
        caller, far = tunnel(running, provider)
        half = frame(b"x" * 50)
        far.send(half[:20])
        assert caller.read(20)
        running.call(running.pipeline.leave)
        assert not running.journal.outcomes
        far.send(half[20:] + frame(b"too late"))
        assert caller.rest() == half[20:] + close(1001)
        goodbye = far.rest()
        assert goodbye[:2] == b"\x88\x82"
        assert bytes(byte ^ goodbye[2 + i % 4] for i, byte in enumerate(goodbye[6:])) == (1001).to_bytes(2, "big")
        found = outcome(running)
        assert (found.outcome, found.reason) == ("interrupted", "gateway stopped")

    def test_the_gateway_stops_before_the_101(self, running: House, provider: sockets.Provider) -> None:
        caller = call(running, provider)
        far = provider.accept()
        far.head()
        running.call(running.pipeline.leave)
        far.send(accepted() + frame(b"hello"))
        assert caller.head().startswith(b"HTTP/1.1 101 ")
        assert caller.rest() == close(1001)
        assert outcome(running).outcome == "interrupted"

    def test_no_new_one_while_the_gateway_stops(self, running: House, provider: sockets.Provider) -> None:
        running.call(running.pipeline.leave)
        caller = call(running, provider)
        assert caller.head().startswith(b"HTTP/1.1 503 ")
        assert running.wait(1).refusals[0].reason == "the gateway is stopping"
        assert not provider.asked()

    def test_the_grace_time_ends_before_the_101(self, running: House, provider: sockets.Provider) -> None:
        caller = call(running, provider)
        far = provider.accept()
        far.head()
        running.call(running.pipeline.interrupt)
        assert caller.head().startswith(b"HTTP/1.1 503 ")
        assert far.rest() == b""
        assert outcome(running).outcome == "interrupted"

    def test_the_gateway_stops_and_no_frame_ends(self, running: House, provider: sockets.Provider) -> None:
        """When the grace time is over, half a frame is all there is."""
        caller, far = tunnel(running, provider)
        far.send(frame(b"x" * 50)[:20])
        assert caller.read(20)
        running.call(running.pipeline.leave)
        running.call(running.pipeline.interrupt)
        assert caller.rest() == b""
        assert len(far.rest()) == 8
        assert outcome(running).outcome == "interrupted"

    def test_the_connection_is_not_used_again(self, running: House, provider: sockets.Provider) -> None:
        caller, far = tunnel(running, provider)
        far.send(close())
        caller.send(close(masked=True) + ORDINARY)
        assert caller.rest() == close()
        assert far.rest() == close(masked=True) + ORDINARY
        assert running.upstreams.count() == (0, 0, 0)


class TestOrder:
    def test_behind_an_ordinary_request(self, running: House, provider: sockets.Provider) -> None:
        """Pipelined: the earlier one is answered first, and the WebSocket is the last on its connection."""
        caller = provider.keep(running.connect())
        hello = frame(b"hello", masked=True)
        caller.send(ORDINARY + handshake(REALTIME, KEY) + hello)
        far = provider.accept()
        far.head()
        far.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        assert caller.head().startswith(b"HTTP/1.1 200 ")
        assert caller.read(2) == b"ok"
        assert far.head().startswith(b"GET /v1/realtime")
        far.send(accepted())
        assert caller.head().startswith(b"HTTP/1.1 101 ")
        assert far.read(len(hello)) == hello
        far.send(close())
        assert caller.read(4) == close()

    def test_the_pool_counts_it(self, provider: sockets.Provider) -> None:
        with house(pointing_at(provider.url, pool=Pool(connections=1, waiting=1))) as running:
            caller, far = tunnel(running, provider)
            assert running.upstreams.count() == (0, 1, 0)
            running.until(lambda: (running.pipeline.streams, running.pipeline.websockets) == (1, 1))
            far.send(close())
            caller.send(close(masked=True))
            caller.rest()
            running.until(lambda: running.upstreams.count() == (0, 0, 0))


def alive() -> int:
    names = ("Call", "Tunnel", "FrameReader", "Observer", "Exchange", "RequestReader", "_Through")
    return sum(type(each).__name__ in names for each in gc.get_objects())


def test_I9_nothing_stays_of_a_tunnel(running: House, provider: sockets.Provider) -> None:
    """However it ends, and without the garbage collector: no cycles."""
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for end in range(4):
            caller, far = tunnel(running, provider)
            far.send(done(1, 1))
            caller.send(frame(b"hello", masked=True))
            assert caller.read(2) and far.read(2)
            if end == 0:
                far.send(close())
                caller.send(close(masked=True))
            elif end == 1:
                far.sock.close()
            elif end == 3:
                running.call(running.pipeline.leave)
            caller.sock.close()
            running.wait(end + 1)
        running.until(lambda: not running.server.connections)
        running.until(lambda: alive() == before)
    finally:
        gc.enable()


@contextmanager
def live(to: House, provider: sockets.Provider, setup: bytes) -> Iterator[End]:
    """A Gemini conversation that the caller closes in the end."""
    caller, far = tunnel(to, provider, LIVE)
    caller.send(frame(setup, 2, masked=True))
    far.read(len(frame(setup, 2, masked=True)))
    yield far
    caller.send(close(masked=True))
    far.send(close())
    caller.rest()


class TestMetering:
    def test_turns_add_up_and_are_priced(self, running: House, provider: sockets.Provider) -> None:
        caller, far = tunnel(running, provider)
        model = "gpt-4o-realtime-preview"
        far.send(event(type="session.created", session={"type": "realtime", "model": model}))
        details = {
            "input_token_details": {
                "text_tokens": 60,
                "audio_tokens": 40,
                "cached_tokens": 30,
                "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 10},
            },
            "output_token_details": {"text_tokens": 5, "audio_tokens": 15},
        }
        far.send(done(100, 20), done(100, 20, **details), close())
        far.sock.close()
        caller.rest()
        found = outcome(running)
        assert found.usage is not None
        usage = found.usage
        assert (usage.input, usage.cache_read, usage.audio_input, usage.audio_cache_read) == (140, 20, 30, 10)
        assert (usage.output, usage.audio_output) == (25, 15)
        assert (found.turns, found.usage_check, found.price, found.model) == (2, "ok", "known", model)
        assert found.cost
        assert found.finish_reasons == ("completed",)

    def test_gemini_names_its_model_in_the_callers_first_message(
        self, running: House, provider: sockets.Provider
    ) -> None:
        """In binary frames, as Google sends them."""
        with live(running, provider, b'{"setup":{"model":"models/gemini-2.5-flash"}}') as far:
            far.send(frame(b'{"setupComplete":{}}', 2))
            for total in (110, 220):
                said = {"serverContent": {"modelTurn": {"parts": [{"text": "hi"}]}}}
                ended = {
                    "serverContent": {"turnComplete": True},
                    "usageMetadata": {
                        "promptTokenCount": total - 10,
                        "responseTokenCount": 10,
                        "totalTokenCount": total,
                    },
                }
                far.send(frame(json.dumps(said).encode(), 2), frame(json.dumps(ended).encode(), 2))
        found = outcome(running)
        assert found.usage is not None
        assert (found.usage.input, found.usage.output, found.turns) == (310, 20, 2)
        assert (found.model, found.price, found.usage_check) == ("gemini-2.5-flash", "known", "ok")
        assert found.first_token_us
