"""F7: nothing is lost at shutdown. The journal has every call, and the store has what the journal has."""

from __future__ import annotations

import asyncio
import http.client
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import openai
import pytest

from tests import fakes, running
from tests.fakes import Misbehaviour
from tests.running import Gateway

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Say hello"}]}'
STREAMED = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Say hello"}]}'
CALLS, CONNECTIONS = 1000, 20


async def _burst(port: int) -> int:
    """A thousand calls over twenty kept connections; how many were answered 200."""
    head = f"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer sk-own\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(CHAT)}\r\n\r\n".encode() + CHAT

    async def one_connection() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        good = 0
        for _ in range(CALLS // CONNECTIONS):
            writer.write(request)
            answered = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in answered.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length[15:]))
            good += answered.startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
        return good

    return sum(await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS))))


def _stored(house: Gateway) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(house.data / "store.db")) as store:
        return sorted(store.execute("SELECT outcome, count(*) FROM traces GROUP BY outcome").fetchall())


def test_f7_a_thousand_calls_then_sigterm(tmp_path: Path) -> None:
    with fakes.openai() as fake, running.gateway(_config(fake), data=tmp_path / "data") as house:
        assert asyncio.run(_burst(house.port)) == CALLS
        assert house.stop() == 0
        records = house.journal.records()
        assert len(records) == CALLS == len(fake.requests)
        assert {record.outcome["outcome"] for record in records.values()} == {"ok"}
        assert all([line.kind for line in record.lines] == ["decision", "outcome"] for record in records.values())
        assert _stored(house) == [("ok", CALLS)]
        report = house.run("verify")
        assert report.returncode == 0, report.stdout + report.stderr


def test_running_streams_may_finish_within_the_grace_time() -> None:
    """Read to the last byte: the SDK closes at `[DONE]`, and who leaves before the end has left."""
    with fakes.openai() as fake, running.gateway(_config(fake, grace=10.0)) as house:
        fake.misbehave(Misbehaviour(slow=0.05))
        connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
        headers = {"authorization": "Bearer sk-own", "content-type": "application/json"}
        connection.request("POST", "/openai/v1/chat/completions", STREAMED, headers)
        response = connection.getresponse()
        stopping = threading.Thread(target=house.stop)
        stopping.start()
        body = response.read()
        connection.close()
        stopping.join()
        assert body.endswith(b"data: [DONE]\n\n")
        assert [record.outcome["outcome"] for record in house.journal.records().values()] == ["ok"]
        with pytest.raises(OSError):
            http.client.HTTPConnection("127.0.0.1", house.port, timeout=2).connect()


def test_what_outlasts_the_grace_time_is_recorded_as_interrupted() -> None:
    with fakes.openai() as fake, running.gateway(_config(fake, grace=0.3)) as house:
        fake.misbehave(Misbehaviour(stall=400))
        with openai.OpenAI(base_url=house.url + "/openai/v1", api_key="sk-own", max_retries=0) as client:
            stream = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "x"}], stream=True
            )
            next(stream)
            assert house.stop() == 0
            with pytest.raises(openai.APIError):
                list(stream)
        [record] = house.journal.records().values()
        assert record.outcome["outcome"] == "interrupted"
        assert _stored(house) == [("interrupted", 1)]
        assert fake.last.wait() == "gone"


def _config(fake: fakes.Fake, grace: float = 5.0) -> dict[str, object]:
    return {"providers": {"openai": {"base_url": fake.url}}, "server": {"grace_seconds": grace}}
