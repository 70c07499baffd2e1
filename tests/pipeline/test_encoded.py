"""pipeline/encoded.py: encoded requests are read and go on as they came; encoded answers are metered as plain ones."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest

from gatehouse.config.settings import Limits
from gatehouse.http.content import PIECE
from gatehouse.http.exchange import Exchange
from gatehouse.pipeline.encoded import Encoded
from tests import fakes
from tests.fakes.server import Answer, Fake
from tests.http.encodings import CODINGS, br, flushed, zstd
from tests.pipeline.house import House, house, pointing_at

CHAT = "/openai/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "max_tokens": 77, "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
ANSWER = {
    "id": "c1",
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
CHUNKS = (
    {"id": "c1", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "hello"}}]},
    {"id": "c1", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "c1", "model": "gpt-4o-mini", "choices": [], "usage": USAGE},
)
EVENTS = (*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS), b"data: [DONE]\n\n")
JSON = ("content-type", "application/json")


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        running.respond(Answer(headers=(JSON,), body=json.dumps(ANSWER).encode()))
        yield running


@pytest.fixture
def running(fake: Fake) -> Iterator[House]:
    with house(pointing_at(fake.url)) as made:
        yield made


def post(to: House, body: bytes, coding: str, path: str = CHAT) -> int:
    headers = {"authorization": "Bearer sk-x", "content-type": "application/json"}
    if coding:
        headers["content-encoding"] = coding
    return httpx2.post(to.url + path, content=body, headers=headers, timeout=20).status_code


def prose(size: int) -> str:
    return "".join(random.Random(7).choices("abcdefgh ", k=size))


class TestRequests:
    @pytest.mark.parametrize("coding", sorted(CODINGS))
    def test_I1_an_encoded_body_is_read_and_goes_on_as_it_came(self, running: House, fake: Fake, coding: str) -> None:
        body = CODINGS[coding](json.dumps(ASK).encode())
        assert post(running, body, coding) == 200
        assert (fake.last.body, fake.last.header("content-encoding")) == (body, coding)
        assert fake.last.header("content-length") == str(len(body))
        decision = running.wait(1).decisions[0]
        assert (decision.model, decision.max_output, decision.unread) == ("gpt-4o-mini", 77, None)
        assert decision.request_bytes == len(body)
        assert decision.request_sha256 == hashlib.sha256(body).hexdigest()
        assert decision.forwarded_sha256 is None and not decision.streamed

    @pytest.mark.parametrize("coding", ["gzip", "zstd"])
    def test_I1_an_encoded_stream_is_not_asked_for_usage(self, running: House, fake: Fake, coding: str) -> None:
        fake.respond(Answer(headers=(("content-type", "text/event-stream"),), events=(*EVENTS[:2], EVENTS[3])))
        body = CODINGS[coding](json.dumps(ASK | {"stream": True}).encode())
        assert post(running, body, coding) == 200
        assert fake.last.body == body
        journal = running.wait(1)
        assert journal.decisions[0].stream and journal.decisions[0].rewritten == ()
        assert journal.outcomes[0].usage_source == "estimated"

    def test_identity_is_no_coding(self, running: House, fake: Fake) -> None:
        fake.respond(Answer(headers=(("content-type", "text/event-stream"),), events=EVENTS))
        assert post(running, json.dumps(ASK | {"stream": True}).encode(), "Identity") == 200
        assert fake.last.json()["stream_options"] == {"include_usage": True}
        assert running.wait(1).decisions[0].model == "gpt-4o-mini"

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
    def test_a_large_body_is_decoded_and_read_in_slices(self, fake: Fake, coding: str) -> None:
        with house(pointing_at(fake.url, limits=Limits(read_whole=10_000))) as made:
            body = CODINGS[coding](json.dumps({"messages": [{"content": prose(2_000_000)}], "model": "late"}).encode())
            assert post(made, body, coding) == 200
            assert fake.last.body == body
            decision = made.wait(1).decisions[0]
            assert (decision.model, decision.unread) == ("late", None)

    @pytest.mark.parametrize(
        ("coding", "body", "why"),
        [
            ("zstd", b"\x28\xb5\x2f\xfd-not-really", "body is not valid zstd"),
            ("gzip", b'{"model":"gpt-4o-mini"}', "body is not valid gzip"),
            ("gzip", gzip.compress(json.dumps(ASK).encode())[:-9], "body ends before its gzip data do"),
            ("br", br(b'{"model":"gpt-4o-mini","x":"' + b"a" * 9_000_000 + b'"}'), "more than 200 times"),
            ("gzip", gzip.compress(b"no json"), "body is no JSON object"),
            ("compress", b"\x1f\x9d", "content coding 'compress' cannot be read"),
            ("gzip", b"", "body is no JSON object"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_cannot_be_decoded_is_forwarded_and_recorded_unread(
        self, running: House, fake: Fake, coding: str, body: bytes, why: str
    ) -> None:
        assert post(running, body, coding) == 200
        assert fake.last.body == body
        decision = running.wait(1).decisions[0]
        assert decision.unread is not None and why in decision.unread
        assert decision.request_sha256 == hashlib.sha256(body).hexdigest()
        assert running.journal.outcomes[0].usage is not None

    def test_the_paths_model_stays_known(self, fake: Fake, running: House) -> None:
        path = "/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        assert post(running, b"rubbish", "zstd", path) == 200
        decision = running.wait(1).decisions[0]
        assert (decision.model, decision.stream) == ("gemini-2.5-flash", True)
        assert decision.unread == "body is not valid zstd"

    def test_I9_the_decoded_body_has_the_bodies_bound(self, fake: Fake) -> None:
        with house(pointing_at(fake.url, limits=Limits(body_bytes=200_000))) as made:
            body = zstd(json.dumps(ASK | {"user": prose(300_000)}).encode())
            assert len(body) < 200_000 and post(made, body, "zstd") == 200
            assert fake.last.body == body
            assert made.wait(1).decisions[0].unread == "decoded body is larger than 200000 bytes"

    def test_I9_decoded_bodies_count_among_all_bodies(self, fake: Fake) -> None:
        body = zstd(json.dumps(ASK | {"user": prose(300_000)}).encode())
        with house(pointing_at(fake.url, limits=Limits(body_memory=len(body) + 100_000))) as made:
            assert post(made, body, "zstd") == 200
            assert fake.last.body == body
            assert made.wait(1).decisions[0].unread == "no memory was left to decode the body"

    def test_bodies_nobody_meters_are_not_decoded(self, running: House, fake: Fake) -> None:
        assert post(running, b"rubbish", "gzip", "/openai/v1/vector_stores") == 200
        assert running.wait(1).decisions[0].unread is None

    def test_a_repeated_head_says_so_again(self, running: House, fake: Fake) -> None:
        """What a head says is kept for the next ones on its connection."""
        packed, plain = zstd(json.dumps(ASK).encode()), json.dumps(ASK | {"model": "other"}).encode()
        with httpx2.Client() as client:
            for body, headers in (
                (packed, {"content-encoding": "zstd"}),
                (packed, {"content-encoding": "zstd"}),
                (plain, {}),
            ):
                client.post(running.url + CHAT, content=body, headers=headers, timeout=20)
        assert [decision.model for decision in running.wait(3).decisions] == ["gpt-4o-mini", "gpt-4o-mini", "other"]
        assert not any(decision.unread for decision in running.journal.decisions)


class TestAnswers:
    @pytest.mark.parametrize("coding", sorted(CODINGS))
    def test_I1_an_encoded_answer_gives_usage_and_cost(self, running: House, fake: Fake, coding: str) -> None:
        packed = CODINGS[coding](json.dumps(ANSWER).encode())
        fake.respond(Answer(headers=(JSON, ("content-encoding", coding)), body=packed))
        assert raw(running, json.dumps(ASK).encode(), coding) == packed
        outcome = running.wait(1).outcomes[0]
        assert outcome.response_sha256 == hashlib.sha256(packed).hexdigest()
        assert outcome.usage is not None and (outcome.usage.input_total, outcome.usage.output_total) == (11, 5)
        assert (outcome.usage_source, outcome.price) == ("provider", "known")
        assert outcome.cost is not None and outcome.cost > 0

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
    def test_I1_an_encoded_stream_gives_usage_and_cost(self, running: House, fake: Fake, coding: str) -> None:
        packed = tuple(flushed(coding, EVENTS))
        kind = ("content-type", "text/event-stream")
        fake.respond(Answer(headers=(kind, ("content-encoding", coding)), events=packed))
        ask = ASK | {"stream": True, "stream_options": {"include_usage": True}}
        assert raw(running, json.dumps(ask).encode(), coding) == b"".join(packed)
        outcome = running.wait(1).outcomes[0]
        assert outcome.usage is not None and (outcome.usage.input_total, outcome.usage.output_total) == (11, 5)
        assert (outcome.usage_source, outcome.usage_note) == ("provider", None)
        assert outcome.cost is not None and outcome.cost > 0 and outcome.first_token_us is not None

    def test_an_answer_that_cannot_be_decoded_says_so_and_passes(self, running: House, fake: Fake) -> None:
        fake.respond(Answer(headers=(JSON, ("content-encoding", "br")), body=b"no brotli, this"))
        assert raw(running, json.dumps(ASK).encode(), "br") == b"no brotli, this"
        assert running.wait(1).outcomes[0].usage_note == "body is not valid br"


def raw(to: House, body: bytes, accept: str) -> bytes:
    """The body of an answer of known length, or in chunks, as it stands on the wire."""
    head = f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1:{to.port}\r\nconnection: close\r\naccept-encoding: {accept}\r\n"
    received = to.exchange_bytes(head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body))
    lines, _, rest = received.partition(b"\r\n\r\n")
    if b"transfer-encoding" not in lines:
        return rest
    out = b""
    while match := re.match(rb"([0-9a-f]+)\r\n", rest):
        size, start = int(match[1], 16), match.end()
        out += rest[start : start + size]
        rest = rest[start + size + 2 :]
    return out


@dataclass
class Room:
    """The side of a wire that counts what is held."""

    peer = local = ""
    keep = True
    active: Exchange | None = None
    room: int = 1_000_000_000
    held: int = 0
    most: int = 0

    def hold(self, size: int) -> bool:
        if self.held + size > self.room:
            return False
        self.held += size
        self.most = max(self.most, self.held)
        return True

    def release(self, size: int) -> None:
        self.held -= size

    def send(self, data: bytes) -> None: ...

    def relieve(self) -> None: ...

    def close(self, *, reset: bool = False) -> None: ...

    def next_exchange(self, exchange: Exchange) -> None: ...


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_I8_the_loop_is_not_held_by_a_large_body(coding: str) -> None:
    wire = Room()
    body = prose(3_000_000).encode()
    encoded = Encoded(wire, coding, 10_000_000)
    slices = encoded.decode(CODINGS[coding](body))
    seen = 0
    while True:
        try:
            next(slices)
        except StopIteration as done:
            assert done.value == body
            break
        assert wire.held - seen <= 256 * 1024 + PIECE
        seen = wire.held
    assert wire.held == len(body)
    encoded.forget()
    assert wire.held == 0


@pytest.mark.parametrize("room", [0, 100_000, 700_000])
def test_I9_what_was_decoded_is_given_back_whatever_happens(room: int) -> None:
    wire = Room(room=room)
    encoded = Encoded(wire, "zstd", 10_000_000)
    for _ in encoded.decode(zstd(prose(800_000).encode())):
        pass
    assert encoded.unread == "no memory was left to decode the body" and wire.most <= room
    encoded.forget()
    encoded.forget()
    assert wire.held == 0
