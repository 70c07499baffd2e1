"""WebSocket through the transparent routes with the real clients (openai-py, google-genai, `websockets`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests import running
from tests.fakes import conversations
from tests.fakes.conversations import MODEL, Talker, talker
from tests.http.certificates import self_signed
from tests.running import Gateway, Record

KEY = "sk-of-the-caller"
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
"""openai-py 3.52 does not, and `websockets` 17 says so."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Talker]:
    with talker() as made:
        yield made


@pytest.fixture(scope="module")
def shared(provider: Talker) -> Iterator[Gateway]:
    with running.gateway(configuration(provider)) as started:
        yield started


@pytest.fixture
def gateway(shared: Gateway, provider: Talker) -> Gateway:
    provider.requests.clear()
    return shared


def configuration(provider: Talker) -> dict[str, Any]:
    return {"providers": {name: {"base_url": provider.url} for name in ("openai", "google", "azure", "mine")}}


def told(record: Record) -> tuple[Any, ...]:
    outcome = record.outcome
    return (
        record.decision["route"],
        record.decision["operation"],
        outcome["outcome"],
        outcome["status"],
        outcome.get("turns"),
        outcome.get("usage_check"),
        outcome.get("price"),
    )


def test_openai_realtime(gateway: Gateway, provider: Talker) -> None:
    """Two turns on one connection are one call, with the usage of both, priced; and the store has it."""
    client = OpenAI(api_key=KEY, base_url=f"{gateway.url}/openai/v1")
    with gateway.recorded() as records:
        with client.realtime.connect(model=MODEL) as connection:
            assert connection.recv().type == "session.created"
            for _ in range(2):
                connection.response.create()
                seen = [connection.recv() for _ in range(3)]
                assert [event.type for event in seen] == [
                    "response.created",
                    "response.output_text.delta",
                    "response.done",
                ]
                assert getattr(seen[1], "delta", None) == "Hello ☃"
    asked = provider.requests[0]
    assert asked.path == f"/v1/realtime?model={MODEL}"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "sec-websocket-extensions" not in asked.headers
    assert told(records[0]) == ("openai/realtime", "realtime", "ok", 101, 2, "ok", "known")
    assert records[0].decision["model"] == records[0].outcome["model"] == MODEL
    assert records[0].outcome["usage"] == {"input": 120, "audio_input": 80, "output": 10, "audio_output": 30}
    assert records[0].outcome["first_token_us"] > 0
    trace = gateway.stored(records[0].decision["call"])
    assert (trace["operation"], trace["status"], trace["outcome"], trace["turns"]) == ("realtime", 101, "ok", 2)


def test_openai_realtime_async(gateway: Gateway) -> None:
    async def talk() -> str:
        client = AsyncOpenAI(api_key=KEY, base_url=f"{gateway.url}/openai/v1")
        async with client.realtime.connect(model=MODEL) as connection:
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await connection.response.create()
            async for event in connection:
                if event.type == "response.done":
                    return str(event.response.status)
        return ""

    with gateway.recorded() as records:
        assert asyncio.run(talk()) == "completed"
    assert told(records[0]) == ("openai/realtime", "realtime", "ok", 101, 1, "ok", "known")


def test_azure_realtime(gateway: Gateway, provider: Talker) -> None:
    client = AzureOpenAI(
        api_key=KEY,
        api_version="2024-10-01-preview",
        azure_endpoint=f"{gateway.url}/azure/res/dep",
        websocket_base_url=f"{gateway.url.replace('http', 'ws', 1)}/azure/res/dep/openai",
    )
    with gateway.recorded() as records:
        with client.realtime.connect(model=MODEL) as connection:
            assert connection.recv().type == "session.created"
    assert provider.requests[0].path == f"/openai/realtime?api-version=2024-10-01-preview&deployment={MODEL}"
    assert provider.requests[0].headers["api-key"] == KEY
    assert records[0].decision["path"] == "/azure/res/dep/openai/realtime?api-version=2024-10-01-preview"
    assert told(records[0])[:5] == ("azure/realtime", "realtime", "ok", 101, 0)
    assert records[0].decision["model"] == MODEL


def test_openai_responses(gateway: Gateway, provider: Talker) -> None:
    client = OpenAI(api_key=KEY, base_url=f"{gateway.url}/openai/v1")
    with gateway.recorded() as records:
        with client.responses.connect() as connection:
            for _ in range(2):
                connection.response.create(model="gpt-4o-mini", input="hi")
                assert [connection.recv().type for _ in range(3)][-1] == "response.completed"
    assert provider.requests[0].path == "/v1/responses"
    assert told(records[0]) == ("openai/responses", "chat", "ok", 101, 2, "ok", "known")
    assert records[0].outcome["usage"] == {"input": 16, "cache_read": 6, "output": 10, "reasoning": 4}
    assert records[0].outcome["model"] == "gpt-4o-mini"


def test_openai_responses_async(gateway: Gateway) -> None:
    async def talk() -> list[str]:
        client = AsyncOpenAI(api_key=KEY, base_url=f"{gateway.url}/mine/v1")
        async with client.responses.connect() as connection:
            await connection.response.create(model="m", input="hi")
            return [(await connection.recv()).type for _ in range(3)]

    with gateway.recorded() as records:
        assert asyncio.run(talk())[-1] == "response.completed"
    assert told(records[0])[:5] == ("mine/responses", "chat", "ok", 101, 1)


def test_gemini_live(provider: Talker, tmp_path: Path) -> None:
    """Over TLS: this client speaks WebSocket no other way."""
    pem = self_signed(tmp_path, "IP:127.0.0.1")

    async def talk(url: str) -> str:
        options = types.HttpOptions(
            base_url=f"{url}/google", async_client_args={"ssl": ssl.create_default_context(cafile=pem)}
        )
        client = genai.Client(api_key="g-key", http_options=options)
        async with client.aio.live.connect(
            model="gemini-2.5-flash", config=types.LiveConnectConfig(response_modalities=[types.Modality.TEXT])
        ) as live:
            await live.send_client_content(turns={"role": "user", "parts": [{"text": "hi"}]})
            return "".join([message.text or "" async for message in live.receive()])

    server = {"tls_cert": str(pem), "tls_key": str(pem)}
    provider.requests.clear()
    with running.gateway({**configuration(provider), "server": server}) as gateway, gateway.recorded() as records:
        assert asyncio.run(talk(gateway.url)) == "Hello"
    asked = provider.requests[0]
    assert asked.path.startswith("/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent")
    assert asked.headers["x-goog-api-key"] == "g-key"
    assert told(records[0]) == ("google/live", "live", "ok", 101, 1, "ok", "known")
    assert records[0].outcome["usage"] == {"input": 30, "output": 4}
    assert records[0].outcome["model"] == "gemini-2.5-flash"


def test_pings_large_messages_and_close_reasons(gateway: Gateway) -> None:
    address = f"{gateway.url.replace('http', 'ws', 1)}/mine/v1/realtime?model=m"
    with gateway.recorded() as records:
        with connect(address, additional_headers={"authorization": "Bearer k"}, max_size=None) as connection:
            assert json.loads(connection.recv())["type"] == "session.created"
            assert connection.ping().wait(5), "answered by the provider"
            connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 900_000}))
            connection.close(4000, "a reason that stays between them")
    assert records[0].outcome["reason"] == "closed by the caller with status 4000"
    assert "stays between" not in json.dumps(records[0].outcome)
    assert records[0].outcome["request_bytes"] > 900_000


def test_a_refusal_is_one_the_clients_understand(gateway: Gateway) -> None:
    client = OpenAI(api_key="gth_live_0123456789", base_url=f"{gateway.url}/openai/v1")
    with pytest.raises(InvalidStatus) as caught, gateway.recorded():
        client.realtime.connect(model=MODEL).enter()
    assert caught.value.response.status_code == 401
    assert b"gateway keys need auth.enabled" in bytes(caught.value.response.body or b"")


def test_the_gateway_stops(provider: Talker) -> None:
    """SIGTERM: a close frame with 1001, a record, and no waiting for a conversation that nobody would end."""
    with running.gateway(configuration(provider)) as gateway:
        address = f"{gateway.url.replace('http', 'ws', 1)}/openai/v1/realtime?model={MODEL}"
        with connect(address, additional_headers={"authorization": "Bearer k"}) as connection:
            connection.recv()
            stopper = threading.Thread(target=gateway.stop, args=(signal.SIGTERM, 15.0))
            stopper.start()
            with pytest.raises(ConnectionClosed) as caught:
                connection.recv(timeout=10)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1001
            stopper.join(15)
        assert gateway.process.returncode == 0
        (record,) = gateway.journal.records().values()
        assert (record.outcome["outcome"], record.outcome["reason"]) == ("interrupted", "gateway stopped")


def test_kill_of_the_worker_leaves_a_record(provider: Talker) -> None:
    """I2: whatever dies, the call that was open has one outcome."""
    with running.gateway(configuration(provider)) as gateway:
        address = f"{gateway.url.replace('http', 'ws', 1)}/openai/v1/realtime?model={MODEL}"
        authorized = {"authorization": "Bearer k"}
        with gateway.recorded() as records, connect(address, additional_headers=authorized) as connection:
            connection.recv()
            for pid in gateway.worker_pids():
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                connection.recv(timeout=10)
        assert records[0].outcome["outcome"] == "interrupted"


def test_the_fakes_numbers_are_consistent() -> None:
    usage: Any = conversations.REALTIME_USAGE
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
