"""F3–F5, F8, F10, F12: the defects seen in the system Gatehouse replaces, each with calls that would show it."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests import fakes, running
from tests.fakes import Misbehaviour, anthropic_api, gemini_api, openai_api
from tests.running import House

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Say hello"}]}'
BEARER = {"authorization": "Bearer sk-own", "content-type": "application/json"}


def _openai(house: House, streamed: bool) -> None:
    with openai.OpenAI(base_url=house.url + "/openai/v1", api_key="sk-own", max_retries=0) as client:
        if streamed:
            list(
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}], stream=True)
            )
        else:
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])


def _anthropic(house: House, streamed: bool) -> None:
    with anthropic.Anthropic(base_url=house.url + "/anthropic", api_key="sk-own", max_retries=0) as client:
        if streamed:
            with client.messages.stream(
                model="claude-sonnet-5", max_tokens=9, messages=[{"role": "user", "content": "x"}]
            ) as stream:
                stream.get_final_message()
        else:
            client.messages.create(model="claude-sonnet-5", max_tokens=9, messages=[{"role": "user", "content": "x"}])


def _genai(house: House, streamed: bool) -> None:
    with closing(genai.Client(api_key="own", http_options=types.HttpOptions(base_url=house.url + "/google"))) as client:
        if streamed:
            list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="x"))
        else:
            client.models.generate_content(model="gemini-2.5-flash", contents="x")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("call", "output"),
    [
        (_openai, openai_api.COMPLETION_TOKENS),
        (_anthropic, anthropic_api.OUTPUT_TOKENS),
        (_genai, gemini_api.CANDIDATE_TOKENS),
    ],
)
def test_f3_gzip_encoded_answers_are_counted(
    house: House, call: Callable[[House, bool], None], output: int, streamed: bool
) -> None:
    for fake in house.fakes:
        fake.gzip_policy = "all"
    with house.gateway.recorded() as records:
        call(house, streamed)
    assert records[0].usage["output"] == output
    assert records[0].outcome["usage_source"] == "provider"


def test_f3_a_truncated_gzip_answer_is_not_counted_as_nothing(house: House) -> None:
    house.openai.misbehave(Misbehaviour(cut=200))
    with house.gateway.recorded() as records:
        with pytest.raises(http.client.IncompleteRead):
            house.gateway.call("POST", "/openai/v1/chat/completions", CHAT, {**BEARER, "accept-encoding": "gzip"})
    assert records[0].outcome["outcome"] == "cut"
    assert records[0].outcome["usage_source"] == "estimated"
    assert records[0].usage["input"] > 0


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/openai/v1/chat/completions", {"authorization": "Bearer gth_test_" + "b" * 36}, 401, "UNAUTHORIZED"),
        ("/openai/v1/chat/completions", {"origin": "https://evil.example"}, 403, "FORBIDDEN"),
        ("/openai/v1/chat/completions", {"x-forwarded-for": "203.0.113.7"}, 403, "FORBIDDEN"),
        ("/openai/v1/../../etc", {}, 400, "BAD_REQUEST"),
        ("/v1/chat/completions", {}, 404, "NOT_FOUND"),
    ],
)
def test_f5_refused_calls_leave_a_record(
    house: House, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    """I2: one record that is decision and outcome in one; no provider saw a byte."""
    with house.gateway.recorded() as records:
        answered, sent, _ = house.gateway.call("POST", path, CHAT, {**BEARER, **headers})
    assert (answered, sent["x-gatehouse-error"]) == (status, "gateway")
    assert status == 404 or sent["x-should-retry"] == "false"
    [record] = records
    assert record.decision == {} and [line.kind for line in record.lines] == ["call"]
    assert (record.outcome["outcome"], record.outcome["status"], record.outcome["code"]) == ("refused", status, code)
    assert all(fake.requests == [] for fake in house.fakes)


def test_f12_nothing_internal_reaches_a_provider(house: House) -> None:
    """`House.only` checks the rest: who the client is, what the gateway adds."""
    sent = {
        **BEARER,
        "X-Gatehouse-Run": "run-7",
        "X-Gatehouse-Id": "mine",
        "X-OngoingAI-Correlation": "corr-1",
        "Cookie": "session=abc",
        "Referer": "http://127.0.0.1/x",
        "TE": "trailers",
        "Proxy-Authorization": "Basic eHg6eXk=",
        "Connection": "x-hop",
        "X-Hop": "1",
        "X-Caller": "stays",
    }
    status, _, _ = house.gateway.call("POST", "/openai/v1/chat/completions", CHAT, sent)
    assert status == 200
    seen = house.only(house.openai)
    assert seen.header("x-hop") is None
    assert seen.header("x-caller") == "stays"


def test_f10_no_call_waits_for_the_database() -> None:
    """I8: with the store locked and then the control plane dead, calls go on; the journal is the buffer."""
    with fakes.openai() as fake, running.gateway({"providers": {"openai": {"base_url": fake.url}}}) as house:
        with house.recorded():
            house.call("POST", "/openai/v1/chat/completions", CHAT, BEARER)
        with closing(sqlite3.connect(house.data / "store.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with house.recorded(20):
                started = time.monotonic()
                for _ in range(20):
                    assert house.call("POST", "/openai/v1/chat/completions", CHAT, BEARER)[0] == 200
                assert time.monotonic() - started < 10
            other.execute("ROLLBACK")
        [control] = [pid for pid, command in house.children().items() if "gatehouse.control" in command]
        os.kill(control, signal.SIGKILL)
        with house.recorded():
            assert house.call("POST", "/openai/v1/chat/completions", CHAT, BEARER)[0] == 200
        assert house.stop() == 0
        # The control plane may not have been back in time to collect: offline commands catch up first.
        report = house.run("report", "--since", "all", "--format", "json")
        assert report.returncode == 0, report.stderr
        with closing(sqlite3.connect(house.data / "store.db")) as store:
            assert store.execute("SELECT count(*) FROM traces WHERE outcome = 'ok'").fetchone() == (22,)


def test_f8_health_reads_no_calls() -> None:
    """T12: the public health check answers from what the control plane knows, whatever is in the store."""
    with fakes.openai() as fake, running.gateway({"providers": {"openai": {"base_url": fake.url}}}) as house:
        with house.recorded():
            house.call("POST", "/openai/v1/chat/completions", CHAT, BEARER)
        before = house.healthy()
        with closing(sqlite3.connect(house.data / "store.db", isolation_level=None)) as store:
            # Any query on the calls would fail now.
            store.execute("ALTER TABLE traces RENAME TO hidden")
            try:
                after = house.get_json("/health")
                assert house.get("/health/live")[0] == house.get("/health/ready")[0] == 200
            finally:
                store.execute("ALTER TABLE hidden RENAME TO traces")
        assert after["status"] == before["status"] == "healthy"
        assert "connected" in after["services"].values()
