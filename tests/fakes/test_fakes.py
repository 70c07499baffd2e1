"""The fakes themselves: the real SDKs accept what they say, and each way of going wrong goes wrong as named."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import time
import zlib

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests import fakes
from tests.fakes import Misbehaviour, anthropic_api, gemini_api, openai_api

MESSAGES = [{"role": "user", "content": "Say hello"}]
CHAT = json.dumps({"model": "gpt-4o", "messages": MESSAGES}).encode()


def _post(fake: fakes.Fake, body: bytes = CHAT, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer sk-test", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_openai_sdk_reads_plain_streamed_tools_and_embeddings() -> None:
    with fakes.openai() as fake, openai.OpenAI(base_url=fake.url + "/v1", api_key="sk-test", max_retries=0) as client:
        whole = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        assert whole.choices[0].message.content == openai_api.TEXT
        assert whole.usage is not None and whole.usage.total_tokens == 1127
        stream = client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == openai_api.TEXT
        assert chunks[-1].usage is not None and chunks[-1].choices == []
        assert len(client.embeddings.create(model="text-embedding-3-small", input="x").data[0].embedding) == 3
        assert [model.id for model in client.models.list()][0] == "gpt-4o"
        with pytest.raises(openai.RateLimitError):
            client.with_options(default_headers={"x-fake": "error=429"}).models.list()
        assert fake.faults == []


def test_openai_streams_carry_null_usage_only_when_asked() -> None:
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True}).encode()
    asked = json.dumps(
        {"model": "gpt-4o", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    ).encode()
    with fakes.openai() as fake:
        assert b'"usage"' not in _post(fake, body)[1]
        events = _post(fake, asked)[1].split(b"\n\n")
        assert all(b'"usage":null' in event for event in events[:-3])
        assert events[-2:] == [b"data: [DONE]", b""]


def test_anthropic_sdk_reads_plain_streamed_thinking_and_errors() -> None:
    with fakes.anthropic() as fake, anthropic.Anthropic(base_url=fake.url, api_key="sk-ant-x", max_retries=0) as client:
        message = client.messages.create(
            model="claude-sonnet-5", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
        )
        assert message.usage.input_tokens == anthropic_api.INPUT_TOKENS
        with client.messages.stream(
            model="claude-sonnet-5",
            max_tokens=4096,
            thinking={"type": "enabled", "budget_tokens": 1024},
            messages=[{"role": "user", "content": "hi"}],
        ) as stream:
            final = stream.get_final_message()
        assert [block.type for block in final.content] == ["thinking", "text"]
        assert final.usage.output_tokens == anthropic_api.OUTPUT_TOKENS + anthropic_api.THINKING_TOKENS
        with pytest.raises(anthropic.RateLimitError):
            client.models.list(extra_headers={"x-fake": "error=429"})


def test_genai_sdk_reads_plain_streamed_and_embeddings() -> None:
    with fakes.gemini() as fake:
        client = genai.Client(api_key="AIza-x", http_options=types.HttpOptions(base_url=fake.url))
        answer = client.models.generate_content(model="gemini-2.5-flash", contents="hi")
        assert answer.text == gemini_api.TEXT
        chunks = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="hi"))
        assert "".join(chunk.text or "" for chunk in chunks) == gemini_api.TEXT
        embedded = client.models.embed_content(model="gemini-embedding-001", contents="hi")
        assert embedded.embeddings is not None and len(embedded.embeddings) == 1
        client.close()


def test_gemini_array_is_one_json_document() -> None:
    with fakes.gemini() as fake:
        connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=30)
        path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?key=AIza-x"
        connection.request("POST", path, b'{"contents":[]}')
        body = connection.getresponse().read()
        connection.close()
    assert len(json.loads(body)) == len(gemini_api.PIECES)
    assert b"\n,\r\n{" in body


def test_azure_sdk_reads_the_filter_chunk_first() -> None:
    with fakes.azure() as fake:
        client = openai.AzureOpenAI(
            api_key="azure-key", azure_endpoint=fake.url, api_version="2024-02-01", azure_deployment="gpt-4o-deploy"
        )
        stream = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        chunks = list(stream)
        client.close()
        assert chunks[0].choices == [] and chunks[0].model == ""
        assert fake.last.header("api-key") == "azure-key"


@pytest.mark.parametrize("policy", ["json", "all"])
def test_gzip_follows_accept_encoding(policy: fakes.server.GzipPolicy) -> None:
    streamed = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True}).encode()
    with fakes.openai(gzip_policy=policy) as fake:
        packed = _post(fake, headers={"Accept-Encoding": "gzip"})[1]
        assert json.loads(gzip.decompress(packed))["object"] == "chat.completion"
        assert json.loads(_post(fake, headers={"Accept-Encoding": "identity"})[1])["object"] == "chat.completion"
        body = _post(fake, streamed, {"Accept-Encoding": "gzip"})[1]
        assert (zlib.decompress(body, 31) if policy == "all" else body).endswith(b"data: [DONE]\n\n")


def test_recording_keeps_order_case_and_bytes() -> None:
    with fakes.openai() as fake:
        with socket.create_connection(("127.0.0.1", fake.port), 5) as raw:
            raw.sendall(b"POST /v1/x?a=1&a=2 HTTP/1.1\r\nHost: h\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\n")
            raw.sendall(b"Content-Length: 3\r\n\r\n\x00\xff1")
            assert raw.recv(4096).startswith(b"HTTP/1.1 401")
        seen = fake.last
        assert seen.headers[1:4] == (("X-B", "1"), ("x-a", "2"), ("X-B", "3"))
        assert (seen.path, seen.query, seen.body) == ("/v1/x", "a=1&a=2", b"\x00\xff1")


@pytest.mark.parametrize("switch", ["cut=40", "close", "length=5", "cut=40,reset"])
def test_broken_answers_break(switch: str) -> None:
    with fakes.openai() as fake:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            _post(fake, headers={"x-fake": switch})
        assert fake.last.wait() == "cut"


def test_redirect_interim_and_plans_by_method() -> None:
    with fakes.openai() as fake:
        assert _post(fake, headers={"x-fake": "redirect=http://127.0.0.1:9/x"})[0] == 307
        fake.misbehave(Misbehaviour(error=500), times=1)
        assert _post(fake)[0] == 500
        assert _post(fake)[0] == 200
        with socket.create_connection(("127.0.0.1", fake.port), 5) as raw:
            raw.sendall(b"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k\r\nx-fake: interim=103\r\n\r\n")
            received = raw.recv(65536)
            while b"200 OK" not in received:
                received += raw.recv(65536)
            assert received.startswith(b"HTTP/1.1 103 ")


@pytest.mark.parametrize("switch", ["silent", "stall=30"])
def test_a_peer_that_leaves_is_noticed(switch: str) -> None:
    """What the tests of I10 rest on."""
    with fakes.openai() as fake:
        raw = socket.create_connection(("127.0.0.1", fake.port), 5)
        head = f"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k\r\nx-fake: {switch}\r\n\r\n"
        raw.sendall(head.encode())
        fake.wait(1)
        raw.close()
        assert fake.last.wait() == "gone"


def test_slow_streams_take_their_time() -> None:
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True}).encode()
    with fakes.openai() as fake:
        started = time.monotonic()
        _post(fake, body, {"x-fake": "slow=0.01"})
        assert time.monotonic() - started >= 0.01 * (len(openai_api.PIECES) + 1)


def test_async_clients_share_a_fake() -> None:
    async def run(base_url: str) -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            calls = [
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": str(n)}])
                for n in range(8)
            ]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    with fakes.openai() as fake:
        assert asyncio.run(run(fake.url + "/v1")) == [openai_api.TEXT] * 8
        assert len(fake.requests) == 8
