"""Every secret is planted, on every way a call can end, and then searched for everywhere (I3, A2).

Where: journal, store, snapshot, logs, answers and errors, heads and bodies that went upstream, gauges. A provider's key
may be found upstream, in its own place; sealed in the snapshot; a gateway key nowhere but as its digest in the
snapshot. Searched for plain, in base64 and percent-encoded; captures are decoded first.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from gatehouse.config import settings as config
from gatehouse.gateway import persisted
from gatehouse.gateway.snapshot import build, filled
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.record import Capture, Decision, Outcome, Refusal
from gatehouse.ports import Written
from tests import fakes
from tests.auth.tokens import issuer, token
from tests.collector.lanes_on_disk import collect
from tests.fakes import sockets
from tests.fakes.server import Answer, Fake
from tests.pipeline.house import House, MemoryJournal, house, pointing_at
from tests.pipeline.tenancy import Tenancy

STORED = "sk-stored-plainly-unguessable-4417"
REJECTED = "sk-stored-but-rejected-upstream-9020"
OWN = "sk-own-of-the-caller-unguessable-8832"
PASSWORD = "correct-horse-battery-staple-5561"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/openai/v1/chat/completions"
NAMED = (
    "user-agent",
    "x-gatehouse-thread",
    "x-ongoingai-run-id",
    "x-gatehouse-tags",
    "traceparent",
    "accept",
    "x-note",
)
"""Headers of which something is kept, or goes on."""
NAMED_IN_PATHS = (
    "/google/v1beta/models/{}:generateContent", "/v1beta/models/{}:generateContent", "/openai/v1/files/{}/content",
    "/v1beta/models/promptgate:{}:generateContent", "/v1beta/models/{}:gemini:generateContent", "/openai/v1/batches/{}",
    "/azure/res/{}/chat/completions", "/openai/v1/realtime?model={}",
)  # fmt: skip
JSON = (("content-type", "application/json"),)


class FiledJournal(MemoryJournal):
    """On disk as well, by the real writer."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._opened: JournalWriter | None = None

    @property
    def writer(self) -> JournalWriter:
        if self._opened is None:
            self._opened = JournalWriter(self._directory, "worker", config.Journal(), asyncio.get_running_loop())
            self._opened.open()
        return self._opened

    def decide(self, tenant: str, decision: Decision, written: Written) -> None:
        self.decisions.append(decision)
        self.writer.decide(tenant, decision, written)

    def conclude(self, tenant: str, outcome: Outcome) -> None:
        super().conclude(tenant, outcome)
        self.writer.conclude(tenant, outcome)

    def refuse(self, tenant: str, refusal: Refusal, *, authenticated: bool) -> None:
        super().refuse(tenant, refusal, authenticated=authenticated)
        self.writer.refuse(tenant, refusal, authenticated=authenticated)

    def capture(self, tenant: str, parts: Sequence[Capture]) -> None:
        super().capture(tenant, parts)
        self.writer.capture(tenant, parts)


class Planted:
    """The secrets, and every answer that a caller got."""

    def __init__(self, tenancy: Tenancy, fake: Fake) -> None:
        now = int(time.time())
        tenancy.credential("openai", fake.url, STORED)
        tenancy.credential("anthropic", fake.url, REJECTED)
        tenancy.issuer(issuer(tenant="ten_a", project="prj_a", scopes=("chat",)))
        keys: dict[str, dict[str, Any]] = {
            "valid": {}, "disabled": {"disabled": True}, "expired": {"expires": now - 1},
            "elsewhere": {"addresses": ("10.0.0.0/8",)}, "narrow": {"scopes": ("models",)},
        }  # fmt: skip
        self.gateway = {name: tenancy.key(**changed).text for name, changed in keys.items()}
        self.gateway["unknown"] = "gth_live_" + "Qw5" * 12
        self.tokens = {
            "valid": token(iat=now, exp=now + 600).decode(),
            "expired": token(iat=now - 900, exp=now - 400).decode(),
            "of another": token(kid="rsa", iat=now, exp=now + 600).decode(),
        }
        self.answers: list[str] = []

    def of_ours(self) -> dict[str, str]:
        """What must not leave: enough of each to be worth hiding."""
        keys = {f"gateway key, {name}": text[9:33] for name, text in self.gateway.items()}
        return {**keys, **{f"token, {name}": text.rpartition(".")[2][:32] for name, text in self.tokens.items()}}

    def everything(self) -> dict[str, str]:
        return {**self.of_ours(), "stored": STORED, "rejected": REJECTED, "own": OWN, "password": PASSWORD}

    def call(self, to: House, path: str = CHAT, ask: object = ASK, **headers: str) -> int:
        """The status; 0 where the answer was cut."""
        with contextlib.suppress(httpx2.RemoteProtocolError):
            answer = httpx2.post(to.url + path, json=ask, headers=headers, timeout=10)
            self.answers.append(f"{answer.status_code}\n{answer.headers}\n{answer.text}")
            return answer.status_code
        return 0


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


def test_I3_no_sink_holds_a_secret(tmp_path: Path, fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gatehouse")
    caplog.set_level(logging.CRITICAL, "httpx2")  # the caller's own
    caplog.set_level(logging.CRITICAL, "httpcore2")
    tenancy = Tenancy(tmp_path / "data")
    planted = Planted(tenancy, fake)
    settings = pointing_at(fake.url, capture=config.Capture(bodies=True))
    journal = FiledJournal(tmp_path / "journal")
    with house(settings, tenancy.sections, tenancy.unsealer(), journal=journal) as running:
        _calls(running, planted, fake)
        _conversation(planted, tenancy)
        running.until(lambda: len(journal.decisions) == len(journal.outcomes))
        running.call(lambda: journal.writer.flush())
        running.call(lambda: journal.writer.close())
        pipeline = repr(vars(running.pipeline))
    assert len(journal.refusals) > 15 and len(journal.decisions) > 8 and journal.captures
    asyncio.run(collect(tmp_path))
    persisted.write(tmp_path / "snapshot.bin", filled(build(settings), tenancy.sections, 1))

    sinks = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in _files(tmp_path)}
    assert any(name.startswith("store") for name in sinks) and any(name.startswith("journal/") for name in sinks)
    sinks["captures"] = b"".join(_inflated(journal.captures))
    sinks["logs"] = caplog.text.encode()
    sinks["reprs"] = repr([journal.decisions, journal.outcomes, journal.refusals, pipeline]).encode()
    sinks["upstream"] = _upstream(fake)
    sinks["answers"] = "\n".join(planted.answers).encode()
    found = {(sink, name) for sink, content in sinks.items() for name in _holds(content, planted.everything())}
    assert found == {("upstream", "stored"), ("upstream", "rejected"), ("upstream", "own"), ("upstream", "password")}
    entry, sealed = tenancy.sections.keys["key_0"], tenancy.sections.credentials["crd_0"].sealed
    assert entry.digest in sinks["snapshot.bin"] and sealed in sinks["snapshot.bin"]
    assert not [name for name, content in sinks.items() if entry.digest in content and name != "snapshot.bin"]
    assert not [name for name, content in sinks.items() if entry.digest.hex().encode() in content]


def _calls(running: House, planted: Planted, fake: Fake) -> None:
    """Answered, refused, rejected, failed and cut; each secret in each place where somebody puts it."""
    valid = planted.gateway["valid"]
    for text in (*planted.gateway.values(), *planted.tokens.values()):
        basic = base64.b64encode(f"user:{text}".encode()).decode()
        planted.call(running, authorization=f"Bearer {text}")
        planted.call(running, **{"x-api-key": text, "x-fake": "cut=20"})
        planted.call(running, authorization=f"Basic {basic}")
        planted.call(running, f"{CHAT}?key={text}&k%65y={text}", **{"user-agent": "sdk/1"})
        planted.call(running, **{"X-Gatehouse-Key": valid, "X-Gatehouse-Identity": text})
        if text.startswith("gth_"):
            planted.call(running, f"/openai/v1/models/{text}", authorization=f"Bearer {valid}")
            for path in NAMED_IN_PATHS:
                planted.call(running, path.format(text), authorization=f"Bearer {valid}")
            for model in (text, f"openai:{text}", f"promptgate:{text}"):
                planted.call(running, "/v1/chat/completions", ASK | {"model": model}, authorization=f"Bearer {valid}")
            planted.call(running, f"/nowhere/{text}?{text}={text}", authorization=f"Bearer {valid}")
            for name in NAMED:
                planted.call(running, authorization=f"Bearer {valid}", **{name: text})
            planted.call(running, authorization=f"Bearer {valid}", **{f"x-{text}": "name"})
    own = {"X-Gatehouse-Key": valid}
    google = "/google/v1beta/models/gemini-2.5-flash:generateContent"
    planted.call(running, google, {"contents": []}, **own, **{"x-goog-api-key": OWN})
    planted.call(running, f"{google}?key={OWN}&alt=json", {"contents": []}, **own)
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    planted.call(running, google, {"contents": []}, **own, authorization=f"Basic {basic}")
    planted.call(running, authorization=f"Bearer {OWN}")
    for status in (401, 403):
        told = json.dumps({"error": {"message": f"Incorrect API key provided: {REJECTED}"}}).encode()
        fake.respond(Answer(status, JSON, told))
        ask = ASK | {"max_tokens": 9}
        assert planted.call(running, "/anthropic/v1/messages", ask, **{"x-api-key": valid}) == 502
    fake.behave()


def _conversation(planted: Planted, tenancy: Tenancy) -> None:
    """A WebSocket whose subprotocol holds the key."""
    with sockets.provider() as provider:
        tenancy.credential("openai", provider.url, STORED)
        with house(pointing_at(provider.url), tenancy.sections, tenancy.unsealer()) as other:
            caller = provider.keep(other.connect())
            offer = f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{planted.gateway['valid']}"
            caller.send(sockets.handshake("/openai/v1/realtime?model=gpt-realtime", offer.encode()))
            head = provider.accept().head()
            assert _holds(head, planted.everything()) == ["stored"]
            other.call(other.pipeline.interrupt)


def _files(directory: Path) -> list[Path]:
    """All but the master keys' own directory and what tests of other things left."""
    return [path for path in directory.rglob("*") if path.is_file() and path.parent.name != "secrets"]


def _inflated(captures: list[Capture]) -> Iterator[bytes]:
    """Bodies; their parts are pieces of one zlib stream."""
    streams: dict[tuple[str, str], bytes] = {}
    for part in captures:
        streams[part.call, part.side] = streams.get((part.call, part.side), b"") + base64.b64decode(part.data)
    for body in streams.values():
        yield zlib.decompressobj().decompress(body)


def _upstream(fake: Fake) -> bytes:
    lines = [line for seen in fake.requests for line in (seen.target, repr(seen.headers), seen.body.decode("latin-1"))]
    hidden = [
        base64.b64decode(value.partition(" ")[2]).decode()
        for seen in fake.requests for value in seen.values("authorization") if value.startswith("Basic ")
    ]  # fmt: skip
    return "\n".join(lines + hidden).encode()


def _holds(content: bytes, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if any(form in content for form in _forms(secret))]


def _forms(secret: str) -> Iterator[bytes]:
    """As it stands, and as base64 has its middle at each of the three alignments."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + secret.encode())[4:-4]
