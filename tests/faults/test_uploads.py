"""Providers that go wrong while a streamed body is on its way: the caller hears at once, nothing is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket

import pytest

from gatehouse.config.settings import Provider, Settings, Timeouts
from gatehouse.model.record import Outcome
from tests.fakes.misbehaving import Listener, Way, misbehaving
from tests.faults import before
from tests.faults.running import Got, read
from tests.pipeline.house import House, house

PATIENCE = 1.0
"""Seconds, where it is to run out; where it is not, the machine may be busy for longer than that."""
GENEROUS = 30.0
BODY = b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n' + b"u" * 8 * 1024 * 1024 + b"\r\n--b--\r\n"
HEAD = (
    b"POST /openai/v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-of-the-caller\r\n"
    b"content-type: multipart/form-data; boundary=b\r\nconnection: close\r\n"
)


def chunked() -> bytes:
    size = 100_000
    pieces = [BODY[at : at + size] for at in range(0, len(BODY), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def measured() -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)


@pytest.fixture(params=[measured, chunked], ids=["measured", "chunked"])
def request_bytes(request: pytest.FixtureRequest) -> bytes:
    made: bytes = request.param()
    return made


async def exchange(running: House, data: bytes) -> Got:
    """Send, and read the answer whenever it comes."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", running.port))
        sending = loop.create_task(loop.sock_sendall(client, data))
        with contextlib.suppress(ConnectionResetError):
            while piece := await loop.sock_recv(client, 65_536):
                received += piece
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await sending
    return read(bytes(received))


def upload(way: Way, data: bytes, patience: float = GENEROUS) -> tuple[Got, Outcome, Listener]:
    with misbehaving() as fake:
        listener = fake.listen(way, "openai", deaf=True)
        provider = Provider(base_url=f"http://127.0.0.1:{listener.port}")
        times = Timeouts(connect=patience, first_byte=patience, idle=patience)
        with house(Settings(providers={"openai": provider}, timeouts=times)) as running:

            async def main() -> Got:
                async with asyncio.timeout(60):
                    return await exchange(running, data)

            got = asyncio.run(main())
            outcome = running.wait(1).outcomes[0]
    assert listener.failures == []
    assert listener.served_on == [1], "a streamed body is never sent twice"
    return got, outcome, listener


@pytest.mark.parametrize("way", [before.answer_before_read, before.answer_and_read_no_further])
def test_an_early_answer_reaches_the_caller_at_once(way: Way, request_bytes: bytes) -> None:
    took: list[float] = []
    while not took or (took[-1] >= 1.0 and len(took) < 3):  # once more where the machine was busy
        got, outcome, _ = upload(way, request_bytes)
        assert (got.status, got.clean, got.excess, got.fields["x-gatehouse-error"]) == (413, True, b"", "upstream")
        assert (outcome.outcome, outcome.status, outcome.upstream_status) == ("ok", 413, 413)
        assert outcome.request_bytes is not None
        assert outcome.request_sha256 is not None
        took.append(outcome.duration_us / 1e6)
    if way is before.answer_and_read_no_further:
        assert min(took) < 1.0, "the provider, or a time-out, had to end it"


def test_a_reset_is_told_as_such(request_bytes: bytes) -> None:
    got, outcome, _ = upload(before.close_while_sent, request_bytes)
    assert (got.status, got.clean) == (502, True)
    assert (outcome.outcome, outcome.replayed, outcome.attempts) == ("upstream_error", False, 1)
    assert outcome.reason is not None and outcome.reason.startswith("no answer from upstream: connection ")


def test_a_provider_that_reads_nothing_times_out(request_bytes: bytes) -> None:
    got, outcome, _ = upload(before.half_open, request_bytes, PATIENCE)
    assert (got.status, outcome.outcome) == (502, "upstream_error")
    assert outcome.reason == f"no answer within {PATIENCE:g} s"
    assert outcome.request_sha256 != hashlib.sha256(BODY).hexdigest(), "the hash is of what came"
