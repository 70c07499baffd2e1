"""What a call leaves behind when it is over: nothing (I9).

A worker makes millions of calls, so a few bytes a call are a leak, and neither types nor the record show it: mypyc, for
one, forgets to give back the integer in `b"%d" % number` from 2 ** 62 on. So Python's own count of what is allocated
must not grow with the calls. Tested interpreted and compiled, as all of this directory.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gatehouse.config.settings import Provider, Settings
from gatehouse.model.record import Capture, Decision, Outcome, Refusal
from gatehouse.ports import Written
from tests import fakes
from tests.fakes import Fake
from tests.pipeline.house import House, MemoryJournal, house

CALLS = 100
WARM = 30
ALLOWED = 0.1
"""Blocks a call: what leaks leaves at least one."""

TURNS = [
    {"role": role, "content": f"{number} " + "and so on " * 40} for number in range(4) for role in ("user", "assistant")
]
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "the lamp"}'}}
CHAT = [
    {"role": "system", "content": "You look after the lamps."},
    *TURNS,
    {"role": "user", "content": [{"type": "text", "text": "Which one?"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "x" * 900},
]
CONTENTS = [
    {"role": "model" if at % 2 else "user", "parts": [{"text": turn["content"]}]} for at, turn in enumerate(TURNS)
]


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    def data(self, number: int) -> bytes:
        """No two calls are the same."""
        return json.dumps({**self.body, "user": f"user-{number}"}).encode()


KEY = "sk-of-the-caller"
OPENAI = {"authorization": f"Bearer {KEY}"}
ANTHROPIC = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
GOOGLE = {"x-goog-api-key": KEY}
GEMINI = "/google/v1beta/models/gemini-2.5-flash"
ASKED = {
    "chat": Asked("/openai/v1/chat/completions", OPENAI, {"model": "gpt-4o-mini", "messages": CHAT}),
    "responses": Asked("/openai/v1/responses", OPENAI, {"model": "gpt-4o-mini", "input": TURNS}),
    "messages": Asked(
        "/anthropic/v1/messages", ANTHROPIC, {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": TURNS}
    ),
    "contents": Asked(f"{GEMINI}:generateContent", GOOGLE, {"contents": CONTENTS}),
}
STREAMED = {
    **{name: replace(asked, body={**asked.body, "stream": True}) for name, asked in ASKED.items()},
    "contents": Asked(f"{GEMINI}:streamGenerateContent?alt=sse", GOOGLE, {"contents": CONTENTS}),
}


class Forgetful(MemoryJournal):
    """Counts what ended, and keeps nothing."""

    count = 0

    def decide(self, tenant: str, decision: Decision, written: Written) -> None:
        asyncio.get_running_loop().call_soon(written, None)

    def conclude(self, tenant: str, outcome: Outcome) -> None:
        assert outcome.outcome in ("ok", "client_gone"), outcome
        self.count += 1

    def refuse(self, tenant: str, refusal: Refusal, *, authenticated: bool) -> None:
        raise AssertionError(refusal)

    def capture(self, tenant: str, parts: Sequence[Capture]) -> None:
        raise AssertionError(parts)

    def ended(self) -> int:
        return self.count


@dataclass(frozen=True)
class Place:
    house: House
    fakes: tuple[Fake, ...]

    def whole(self, asked: Asked, calls: int) -> None:
        """Each read to its end, all on one connection."""
        client = http.client.HTTPConnection("127.0.0.1", self.house.port, timeout=30)
        for number in range(calls):
            client.request("POST", asked.path, asked.data(number), asked.headers)
            response = client.getresponse()
            assert response.status == 200, response.read()
            response.read()
        client.close()

    def left(self, asked: Asked, calls: int) -> None:
        """Each left once its answer has begun."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
        head = f"POST {asked.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.house.port}\r\nx-fake: slow=30\r\n{lines}"
        for number in range(calls):
            data = asked.data(number)
            with self.house.connect(30.0) as client:
                client.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
                assert client.recv(12) == b"HTTP/1.1 200"

    def growth(self, ask: Callable[[Asked, int], None], asked: Asked) -> float:
        """Blocks a call."""
        before = self._after(ask, asked, WARM)
        return (self._after(ask, asked, CALLS) - before) / CALLS

    def _after(self, ask: Callable[[Asked, int], None], asked: Asked, calls: int) -> int:
        """Blocks allocated once these calls are over."""
        ended = self.house.journal.ended() + calls
        ask(asked, calls)
        self.house.wait(ended)
        self.house.until(lambda: not self.house.server.connections)
        for fake in self.fakes:
            for seen in fake.requests:
                seen.wait()
            fake.requests.clear()
        self.house.call(gc.collect)
        return sys.getallocatedblocks()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with (
        fakes.openai(gzip_policy="never") as openai,
        fakes.anthropic(gzip_policy="never") as anthropic,
        fakes.gemini(gzip_policy="never") as gemini,
    ):
        named = {"openai": openai, "anthropic": anthropic, "google": gemini}
        settings = Settings(providers={name: Provider(base_url=fake.url) for name, fake in named.items()})
        with house(settings, journal=Forgetful()) as made:
            yield Place(made, (openai, anthropic, gemini))


@pytest.mark.parametrize("how", ["whole", "streamed", "left"])
@pytest.mark.parametrize("name", ASKED)
def test_I9_a_call_that_is_over_leaves_nothing_behind(place: Place, name: str, how: str) -> None:
    asked = (ASKED if how == "whole" else STREAMED)[name]
    ask = place.left if how == "left" else place.whole
    # The test's own threads may keep something once; a leak grows every time.
    grown: list[float] = []
    while not grown or (grown[-1] >= ALLOWED and len(grown) < 5):
        grown.append(place.growth(ask, asked))
    assert min(grown) < ALLOWED, grown
