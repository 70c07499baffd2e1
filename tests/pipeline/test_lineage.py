"""Where a call belongs, as callers say and as calls tell by themselves: on the record, never upstream (O13, D6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gatehouse.config.settings import Limits, Provider, Settings
from gatehouse.model.record import Lineage, Outcome
from gatehouse.model.span import CLIENT, span_id
from gatehouse.pipeline.lineage import LONGEST, MOST_TAGS
from tests import fakes
from tests.fakes.server import Answer, Fake
from tests.pipeline.house import House, house, pointing_at

CHAT = "/openai/v1/chat/completions"
USER = {"role": "user", "content": "What is the weather in Paris?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEY = {"authorization": "Bearer sk-of-the-caller"}
JSON = (("content-type", "application/json"),)
Headers = dict[str, str] | list[tuple[str, str]]


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


@pytest.fixture
def running(fake: Fake) -> Iterator[House]:
    with house(pointing_at(fake.url)) as made:
        yield made


def post(
    to: House, *messages: object, headers: Headers | None = None, path: str = CHAT, **more: Any
) -> httpx2.Response:
    body = {"model": "gpt-4o-mini", "messages": list(messages) or [USER], **more}
    return httpx2.post(to.url + path, json=body, headers=headers or {}, timeout=10)


class TestHeaders:
    def test_they_stand_on_the_record_and_stay_here(self, running: House, fake: Fake) -> None:
        """F12."""
        sent = {
            "X-Gatehouse-Group": "nightly",
            "X-Gatehouse-Thread": "thread 7",
            "X-Gatehouse-Run": "run-1",
            "X-Gatehouse-Parent": "step-3",
            "X-Gatehouse-Sequence": "4",
            "X-Gatehouse-Tags": "team=search, nightly,, team=search",
        }
        assert post(running, headers=KEY | sent).status_code == 200
        assert running.wait(1).decisions[0].lineage == Lineage(
            "nightly", "thread 7", "run-1", "step-3", 4, ("team=search", "nightly")
        )
        assert not [name for name in fake.last.names() if "gatehouse" in name.lower()]

    def test_the_names_of_the_fifth_system(self, running: House, fake: Fake) -> None:
        """Sources: ongoingai/gateway, its trace handler's header names."""
        sent = {
            "X-OngoingAI-Trace-Group-ID": "g",
            "X-OngoingAI-Thread-ID": "t",
            "X-OngoingAI-Run-ID": "r",
            "X-OngoingAI-Parent-Checkpoint-ID": "p",
            "X-OngoingAI-Checkpoint-Seq": "2",
        }
        assert post(running, headers=KEY | sent).status_code == 200
        assert running.wait(1).decisions[0].lineage == Lineage("g", "t", "r", "p", 2)
        assert not [name for name in fake.last.names() if "ongoingai" in name.lower()]

    def test_calls_without_have_none(self, running: House) -> None:
        post(running, headers={"X-Gatehouse-Run": "", "X-Gatehouse-Tags": ","})
        assert running.wait(1).decisions[0].lineage is None

    @pytest.mark.parametrize(
        ("sent", "said"),
        [
            ({"X-Gatehouse-Group": "x" * (LONGEST + 1)}, "header X-Gatehouse-Group is not printable ASCII"),
            ({"x-gatehouse-thread": "caf\xe9"}, "header x-gatehouse-thread is not printable ASCII"),
            ({"X-OngoingAI-Run-ID": "a\tb"}, "header X-OngoingAI-Run-ID is not printable"),
            ({"X-Gatehouse-Sequence": "one"}, "header X-Gatehouse-Sequence is not a whole number"),
            ({"X-Gatehouse-Sequence": "-1"}, "header X-Gatehouse-Sequence is not a whole number"),
            ({"X-Gatehouse-Sequence": "1" * 16}, "header X-Gatehouse-Sequence is not a whole number"),
            ({"X-Gatehouse-Tags": ",".join(map(str, range(MOST_TAGS + 1)))}, "header X-Gatehouse-Tags has more than"),
            ({"X-Gatehouse-Tags": "ok," + "x" * (LONGEST + 1)}, "header X-Gatehouse-Tags has a tag"),
            ({"X-Gatehouse-Run": "a", "X-OngoingAI-Run-ID": "b"}, "says something else than another header"),
            ([("X-Gatehouse-Run", "a"), ("X-Gatehouse-Run", "b")], "says something else than another header"),
        ],
    )
    def test_a_bad_one_is_refused_by_name(self, running: House, fake: Fake, sent: Headers, said: str) -> None:
        items = sent.items() if isinstance(sent, dict) else sent
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in items]
        response = httpx2.post(running.url + CHAT, json={"messages": [USER]}, headers=pairs, timeout=10)
        assert response.status_code == 400
        assert said in response.json()["detail"]
        assert running.wait(1).refusals[0].code == "BAD_REQUEST"
        assert not fake.requests

    def test_a_refused_call_keeps_them(self, fake: Fake) -> None:
        """F5."""
        with house(pointing_at(fake.url, limits=Limits(body_bytes=10))) as running:
            assert post(running, headers={"X-Gatehouse-Run": "r"}).status_code == 413
            assert running.wait(1).refusals[0].lineage == Lineage(run="r")


class TestTrace:
    def test_by_default_nobody_upstream_learns_of_it(self, running: House, fake: Fake) -> None:
        sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b", "baggage": "user=7"}
        post(running, headers=sent)
        assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in fake.last.names()}
        decision = running.wait(1).decisions[0]
        assert (decision.trace, decision.parent_span) == (TRACE, PARENT)

    def test_a_provider_that_takes_part_gets_our_span_as_parent(self, fake: Fake) -> None:
        """W3C trace context: same trace and flags, own span, `tracestate` as it came; one head for two calls."""
        with house(propagating(fake)) as running, httpx2.Client(timeout=10) as client:
            for flags in ("01", "01", "00"):
                sent = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "tracestate": "a=b", "baggage": "user=7"}
                client.post(running.url + CHAT, json={"model": "m", "messages": [USER]}, headers=sent)
                call = running.wait(len(fake.requests)).decisions[-1].call
                assert fake.last.header("traceparent") == f"00-{TRACE}-{span_id(call, CLIENT)}-{flags}"
                assert span_id(call, CLIENT) == span_id(call, 1), "the store's CLIENT span"
                assert (fake.last.header("tracestate"), fake.last.header("baggage")) == ("a=b", "user=7")

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            (f"00-{TRACE.upper()}-{PARENT}-01", True),
            (f"01-{TRACE}-{PARENT}-07-more", True),
            (f"00-{TRACE}-{PARENT}-01-more", False),
            (f"ff-{TRACE}-{PARENT}-01", False),
            (f"00-{'0' * 32}-{PARENT}-01", False),
            (f"00-{TRACE}-{'0' * 16}-01", False),
            (f"00-{TRACE}-{PARENT}", False),
            ("nonsense", False),
        ],
    )
    def test_what_is_no_traceparent_goes_nowhere(self, fake: Fake, sent: str, kept: bool) -> None:
        with house(propagating(fake)) as running:
            post(running, headers={"traceparent": sent, "tracestate": "a=b"})
            decision = running.wait(1).decisions[0]
            assert decision.trace == (TRACE if kept else None)
            names = {name.lower() for name in fake.last.names()}
            assert ("traceparent" in names, "tracestate" in names) == (kept, kept)
            if sent.startswith("01"):
                assert str(fake.last.header("traceparent")).endswith("-03"), "flags nobody knows are zero"

    def test_a_list_may_come_in_several_lines_and_a_parent_only_once(self, fake: Fake) -> None:
        """W3C trace context, 3.3: `tracestate` in several header fields is one list; of two parents neither counts."""
        parent = ("traceparent", f"00-{TRACE}-{PARENT}-01")
        with house(propagating(fake)) as running:
            post(running, headers=[parent, ("tracestate", "a=b"), ("tracestate", "c=d")])
            assert fake.last.header("tracestate") == "a=b,c=d"
            post(running, headers=[parent, parent])
            assert fake.last.header("traceparent") is None
            assert [decision.trace for decision in running.wait(2).decisions] == [TRACE, None]


def propagating(fake: Fake) -> Settings:
    settings = pointing_at(fake.url)
    return Settings(providers={**settings.providers, "openai": Provider(base_url=fake.url, trace_context="propagate")})


class TestLoops:
    """Keys: what one call offers, the next one asks for."""

    def test_a_tool_loop_over_chat(self, running: House, fake: Fake) -> None:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        answer = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        fake.respond(Answer(headers=JSON, body=json.dumps(answer).encode()))
        post(running, USER, headers={"authorization": "Bearer sk-a"})
        result = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
        post(running, USER, message, result, headers={"authorization": "Bearer sk-a"})
        journal = running.wait(2)
        first, second = journal.decisions
        assert first.continues == () and len(first.offers) == 1
        assert second.continues == (*journal.outcomes[0].offers, *first.offers)
        assert all(len(key) == 16 and int(key, 16) for key in second.continues)
        assert "call_1" not in str(journal.decisions) + str(journal.outcomes)

    def test_a_streamed_tool_call(self, running: House, fake: Fake) -> None:
        delta = {"tool_calls": [{"index": 0, **CALL}]}
        chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]}
        body = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
        fake.respond(Answer(headers=(("content-type", "text/event-stream"),), body=body))
        post(running, stream=True)
        assert len(running.wait(1).outcomes[0].offers) == 1

    def test_other_callers_conversations_are_others(self, running: House) -> None:
        """Two keys with the same words are two loops."""
        for key in ("a", "b", "a"):
            post(running, headers={"authorization": f"Bearer sk-{key}"})
        one, other, again = (decision.offers for decision in running.wait(3).decisions)
        assert one == again != other

    def test_a_response_names_the_one_before(self, running: House, fake: Fake) -> None:
        answer = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": []}
        fake.respond(Answer(headers=JSON, body=json.dumps(answer).encode()))
        path = "/openai/v1/responses"
        httpx2.post(running.url + path, json={"model": "m", "input": "hi"}, timeout=10)
        httpx2.post(
            running.url + path, json={"model": "m", "input": "so?", "previous_response_id": "resp_1"}, timeout=10
        )
        journal = running.wait(2)
        assert journal.decisions[1].continues == journal.outcomes[0].offers != ()


class TestJobs:
    def test_a_made_batch_is_on_the_outcome_and_a_named_one_on_the_decision(self, running: House, fake: Fake) -> None:
        """D10: job ids on the record."""
        answer = json.dumps({"id": "batch_1", "object": "batch", "status": "validating"}).encode()
        fake.respond(Answer(headers=JSON, body=answer))
        asked = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        httpx2.post(running.url + "/openai/v1/batches", json=asked, timeout=10)
        httpx2.get(running.url + "/openai/v1/batches/batch_1", timeout=10)
        journal = running.wait(2)
        assert [decision.job for decision in journal.decisions] == [None, "batch_1"]
        assert [outcome.job for outcome in journal.outcomes] == ["batch_1", None]
        assert [outcome.usage for outcome in journal.outcomes] == [None, None]


class TestTools:
    @pytest.mark.parametrize(
        ("model", "tools", "fee", "note"),
        [
            ("gpt-4o", ["web_search_call", "web_search_call", "file_search_call"], 22_500_000, None),
            ("gpt-4o", ["web_search_call", "code_interpreter_call"], 10_000_000, "not in the cost: code execution"),
        ],
    )
    def test_they_are_in_the_cost_or_the_record_says_that_they_are_not(
        self, running: House, fake: Fake, model: str, tools: list[str], fee: int, note: str | None
    ) -> None:
        """Listed: $10 for 1,000 web searches, $2.50 for 1,000 file searches."""
        costs: list[Outcome] = []
        for ran in ([], tools):
            answer = {
                "id": "resp_1",
                "status": "completed",
                "model": model,
                "output": [{"type": kind, "id": "x"} for kind in ran],
                "usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
            }
            fake.respond(Answer(headers=JSON, body=json.dumps(answer).encode()))
            httpx2.post(running.url + "/openai/v1/responses", json={"model": model, "input": "hi"}, timeout=10)
            costs.append(running.wait(len(costs) + 1).outcomes[-1])
        plain, used = costs
        assert plain.cost is not None and used.cost is not None
        assert (plain.tools, used.cost - plain.cost, used.usage_note) == (None, fee, note)
        assert used.tools is not None and used.price == "known"
