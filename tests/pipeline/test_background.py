"""What a response used that was generated after its call counts once, on the record of whoever reads it.

`pipeline/record.py`, `pipeline/limited.py` and `gateway/background.py`, over real sockets and files.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gatehouse.gateway.background import KeptBackground
from gatehouse.model.background import Begun, Response
from gatehouse.model.record import Outcome
from gatehouse.model.snapshot import PriceTable
from gatehouse.model.usage import MOST_COST
from gatehouse.pipeline.limited import moment
from gatehouse.pricing.cost import Pricing
from tests import fakes
from tests.fakes import openai_text
from tests.fakes.server import Answer, Fake
from tests.pipeline.house import House, house, pointing_at
from tests.pipeline.test_limiting import PREFIX, Place, limit, post, spend

RESPONSES = "/openai/v1/responses"
ASK: dict[str, Any] = {"model": "gpt-5-mini", "input": "Say hello", "max_output_tokens": 5000}
BEGIN = ASK | {"background": True}
ID = openai_text.RESPONSE_ID
USED = openai_text.INPUT_TOKENS + openai_text.OUTPUT_TOKENS
ASSUMED = 5_000_000


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


def says(fake: Fake, response: dict[str, Any]) -> None:
    fake.respond(Answer(headers=(("content-type", "application/json"),), body=json.dumps(response).encode()))


def is_over(fake: Fake, **members: Any) -> None:
    says(fake, openai_text.response(ASK) | {"background": True} | members)


def begin(running: House, place: Place, fake: Fake) -> Outcome:
    """A call that begins a response, and its outcome."""
    says(fake, openai_text.response(BEGIN))
    assert post(running, place, BEGIN, RESPONSES).json()["status"] == "queued"
    return running.wait(len(running.journal.decisions)).outcomes[-1]


def read(running: House, place: Place, name: str = ID, **more: Any) -> Outcome:
    """Reads a response; returns the outcome of that."""
    headers = {"authorization": f"Bearer {place.key}"}
    answer = httpx2.request(more.get("method", "GET"), f"{running.url}{RESPONSES}/{name}", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return running.wait(len(running.journal.decisions)).outcomes[-1]


@contextlib.contextmanager
def slowly(running: House) -> Iterator[None]:
    """It takes half a second to find out who began a response."""
    running.recorder._background = Slow(running.background, 0.5)
    yield


@dataclasses.dataclass
class Slow:
    """A sibling of `KeptBackground` (`ports.Background`)."""

    of: KeptBackground
    seconds: float

    async def keep(self, response: Response, begun: Begun) -> None:
        await self.of.keep(response, begun)

    async def take(self, response: Response) -> Begun | None:
        await asyncio.sleep(self.seconds)
        return await self.of.take(response)


def remaining(running: House, place: Place) -> tuple[int, int]:
    """Of spend and tokens."""
    path = "/openai/v1/models"
    said = httpx2.get(running.url + path, headers={"authorization": f"Bearer {place.key}"}, timeout=10).headers
    return int(said[PREFIX + "remaining-spend"]), int(said[PREFIX + "remaining-tokens"])


def test_it_counts_once_on_the_record_of_whoever_reads_it_when_it_is_over(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url)
    with place.house(fake.url) as running:
        begun = begin(running, place, fake)
        assert (begun.usage, begun.cost, begun.price) == (None, None, "unknown")
        pending = read(running, place)
        is_over(fake)
        first, second = read(running, place), read(running, place)
    for other in (pending, second):
        assert (other.usage, other.cost, other.reports, other.price) == (None, None, None, "not_applicable")
    assert first.usage is not None and first.usage.total == USED
    assert first.cost and (first.price, first.usage_source) == ("known", "provider")
    assert first.reports == begun.call and begun.call in (first.usage_note or "")
    assert not first.offers, "the call that began it has offered it"
    decisions = running.journal.decisions
    assert [each.route for each in decisions] == ["openai/responses"] + ["openai/stored_response"] * 3


def test_I4_limits_then_count_what_it_used(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED), limit("tokens", "day", 100_000))
    with place.house(fake.url) as running:
        begun = begin(running, place, fake)
        assert remaining(running, place)[0] == 10_000_000 - ASSUMED
        is_over(fake)
        told = read(running, place)
        assert told.cost is not None
        assert remaining(running, place) == (10_000_000 - told.cost, 100_000 - USED)
    settled = {one.counter: one.amount for one in begun.settled}
    changed = {one.counter: (one.reserved, one.amount) for one in told.settled if one.amount}
    assert changed == {
        counter: (0, (told.cost if "/spend/" in counter else USED) - amount) for counter, amount in settled.items()
    }


def test_I4_by_other_prices_than_those_it_was_decided_by_limits_keep_what_is_settled(
    tmp_path: Path, fake: Fake
) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED), limit("tokens", "day", 100_000))
    with place.house(fake.url) as running:
        begun = begin(running, place, fake)
        pipeline = running.pipeline
        table = running.snapshot.prices
        later = Pricing(PriceTable("later", table.own, table.listed, table.names))
        running.call(lambda: setattr(pipeline, "live", dataclasses.replace(pipeline.live, prices=later)))
        is_over(fake)
        told = read(running, place)
        assert remaining(running, place) == (10_000_000 - ASSUMED, 100_000 - USED)
    assert (told.reports, told.price, told.price_version) == (begun.call, "known", "later") and told.cost


def test_whichever_worker_reads_it(tmp_path: Path, fake: Fake) -> None:
    """And however often it was started anew meanwhile."""
    place = Place(tmp_path, fake.url)
    there = {"background": tmp_path / "background"}
    with place.house(fake.url, **there) as first, place.house(fake.url, **there) as second:
        begun = begin(first, place, fake)
        assert read(second, place).reports is None, "it is not over"
        is_over(fake)
        told = read(second, place)
        again = read(first, place)
    assert (told.reports, again.reports) == (begun.call, None)
    assert told.usage is not None and told.usage.total == USED and told.cost
    with place.house(fake.url, **there) as first:
        begun = begin(first, place, fake)
    is_over(fake)
    with place.house(fake.url, **there) as restarted:
        assert read(restarted, place).reports == begun.call


def test_I4_limits_of_a_worker_started_anew_count_what_it_used(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED), limit("tokens", "day", 100_000))
    there = {"background": tmp_path / "background"}
    with place.house(fake.url, **there) as first:
        begun = begin(first, place, fake)
    is_over(fake)
    with place.house(fake.url, **there) as restarted:
        now = moment()
        spent, tokens = begun.settled
        restarted.call(
            lambda: restarted.limits.restore(
                {(spent.counter, spent.period): spent.amount}, {tokens.counter: [(now.unix, tokens.amount)]}, now
            )
        )
        assert remaining(restarted, place)[0] == 10_000_000 - ASSUMED
        told = read(restarted, place)
        assert told.cost is not None
        assert remaining(restarted, place) == (10_000_000 - told.cost, 100_000 - USED)


def test_of_all_who_read_it_at_once_one_counts_it(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url)
    with place.house(fake.url) as running:
        begun = begin(running, place, fake)
        is_over(fake)
        with ThreadPoolExecutor(8) as crowd:
            headers = {"authorization": f"Bearer {place.key}"}
            answers = list(
                crowd.map(
                    lambda _: httpx2.get(f"{running.url}{RESPONSES}/{ID}", headers=headers, timeout=10), range(24)
                )
            )
        assert {answer.status_code for answer in answers} == {200}
        told = running.wait(25).outcomes
    assert [one.reports for one in told if one.reports] == [begun.call]


def test_who_has_its_answer_may_call_again(tmp_path: Path, fake: Fake) -> None:
    """While nobody knows yet who began it, the call that read it holds nothing of limits."""
    place = Place(tmp_path, fake.url, limit("concurrency", "now", 1))
    with place.house(fake.url) as running, slowly(running):
        begin(running, place, fake)
        is_over(fake)
        headers = {"authorization": f"Bearer {place.key}"}
        with httpx2.Client(headers=headers, timeout=10) as client:
            answers = [client.get(f"{running.url}{RESPONSES}/{ID}") for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        told = running.wait(6).outcomes
    assert len([one for one in told if one.reports]) == 1


def test_the_record_is_of_the_call_alone(tmp_path: Path, fake: Fake) -> None:
    """Its connection may have served another meanwhile."""
    place = Place(tmp_path, fake.url)
    with place.house(fake.url) as running, slowly(running):
        begin(running, place, fake)
        is_over(fake)
        headers = {"authorization": f"Bearer {place.key}"}
        answer = httpx2.get(f"{running.url}{RESPONSES}/{ID}", headers=headers, timeout=10)
        says(fake, {"object": "list", "data": ["x" * 5000]})
        httpx2.get(f"{running.url}/openai/v1/models", headers=headers, timeout=10)
        told = {one.call: one for one in running.wait(3).outcomes}[answer.headers["x-gatehouse-id"]]
    assert told.upstream_bytes == told.response_bytes == len(answer.content)
    assert told.reports is not None and told.duration_us < 400_000


def test_I2_whatever_becomes_of_the_question_the_call_has_its_outcome(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url)
    with place.house(fake.url) as running:
        begin(running, place, fake)
        is_over(fake)
        running.run(running.background.close())
        told = read(running, place)
    assert (told.outcome, told.usage, told.reports) == ("ok", None, None)


def test_where_nothing_can_be_kept_calls_go_on(tmp_path: Path, fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    place = Place(tmp_path, fake.url)
    (tmp_path / "file").write_text("in the way")
    with place.house(fake.url, background=tmp_path / "file") as running:
        begin(running, place, fake)
        is_over(fake)
        assert read(running, place).reports is None
    said = [each.getMessage() for each in caplog.records]
    assert len([each for each in said if "in the background" in each]) >= 1, said


def test_what_a_cancelled_one_used_counts_too(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, spend(assumed=ASSUMED))
    with place.house(fake.url) as running:
        begun = begin(running, place, fake)
        is_over(fake, status="cancelled")
        told = read(running, place, f"{ID}/cancel", method="POST")
    assert told.reports == begun.call and told.usage is not None and told.usage.total == USED


def test_a_streamed_one_counts_at_its_end(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url)
    with place.house(fake.url) as running:
        begun = begin(running, place, fake)
        event = {"type": "response.completed", "response": openai_text.response(ASK)}
        body = f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()
        fake.respond(Answer(headers=(("content-type", "text/event-stream"),), body=body))
        told = read(running, place, f"{ID}?stream=true&starting_after=3")
    assert told.reports == begun.call and told.usage is not None and told.usage.total == USED


@pytest.mark.parametrize("on_unknown", ["bound", "estimate"])
def test_I4_whoever_leaves_its_stream_does_not_pay_for_what_was_streamed_alone(
    on_unknown: str, tmp_path: Path, fake: Fake
) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED, on_unknown=on_unknown))
    with place.house(fake.url) as running:
        event = {"type": "response.created", "response": openai_text.response(BEGIN)}
        body = f"event: response.created\ndata: {json.dumps(event)}\n\n".encode()
        fake.respond(Answer(headers=(("content-type", "text/event-stream"),), body=body))
        assert post(running, place, BEGIN | {"stream": True}, RESPONSES).status_code == 200
        begun = running.wait(1).outcomes[0]
        assert [one.amount for one in begun.settled] == [ASSUMED] and begun.usage is None
        is_over(fake)
        told = read(running, place)
    assert told.reports == begun.call and told.cost is not None
    assert [one.amount for one in told.settled if one.amount] == [told.cost - ASSUMED]


def test_I4_usage_beyond_all_sense_counts_as_more_than_any_call_uses(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED), limit("tokens", "day", 100_000))
    with place.house(fake.url) as running:
        begin(running, place, fake)
        most = 2**63 - 1
        is_over(fake, usage={"input_tokens": most, "output_tokens": most, "total_tokens": most})
        told = read(running, place)
        assert remaining(running, place) == (0, 0)
    assert {one.amount + ASSUMED for one in told.settled if "/spend/" in one.counter and one.amount} == {MOST_COST}


@pytest.mark.parametrize("used", [{"input_tokens": -5, "output_tokens": -7}, {"input_tokens": "many"}, [], 7])
def test_usage_that_is_none_corrects_nothing(used: object, tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED))
    with place.house(fake.url) as running:
        begin(running, place, fake)
        is_over(fake, usage=used)
        told = read(running, place)
    assert (told.usage, told.reports) == (None, None) and not any(one.amount for one in told.settled)


def test_one_that_failed_stays_as_it_was_settled(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED), limit("tokens", "day", 100_000))
    with place.house(fake.url) as running:
        begin(running, place, fake)
        is_over(fake, status="failed", usage=None, output=[], error={"code": "server_error", "message": "no"})
        assert read(running, place).usage is None
        assert remaining(running, place)[0] == 10_000_000 - ASSUMED


@pytest.mark.parametrize("what", ["another project", "another response", "not begun in the background"])
def test_others_are_not_counted(what: str, tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url)
    with place.house(fake.url) as running:
        begin(running, place, fake)
        if what == "another project":
            place.tenancy.project("prj_b", own_keys=True)
            key = place.tenancy.key(project="prj_b").text
            running.swap(place.tenancy.sections)
            is_over(fake)
            headers = {"x-gatehouse-key": key, "authorization": "Bearer sk-of-the-caller"}
            assert httpx2.get(f"{running.url}{RESPONSES}/{ID}", headers=headers, timeout=10).status_code == 200
            told = running.wait(2).outcomes[-1]
        elif what == "another response":
            is_over(fake, id="resp_other")
            told = read(running, place, "resp_other")
        else:
            is_over(fake, id="resp_at_once", background=False)
            assert post(running, place, ASK, RESPONSES).status_code == 200
            told = read(running, place, "resp_at_once")
    assert (told.usage, told.reports) == (None, None)


def test_I4_what_one_has_used_so_far_is_not_all_of_it(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, spend(10_000_000, assumed=ASSUMED))
    with place.house(fake.url) as running:
        begun = begin(running, place, fake)
        is_over(fake, status="in_progress", usage={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2})
        assert read(running, place).reports is None
        is_over(fake)
        told = read(running, place)
    assert told.reports == begun.call and told.usage is not None and told.usage.total == USED


def test_without_accounts_too(fake: Fake) -> None:
    with house(pointing_at(fake.url)) as running:
        says(fake, openai_text.response(BEGIN))
        headers = {"authorization": "Bearer sk-of-the-caller"}
        httpx2.post(running.url + RESPONSES, json=BEGIN, headers=headers, timeout=10)
        is_over(fake)
        httpx2.get(f"{running.url}{RESPONSES}/{ID}", headers=headers, timeout=10)
        told = running.wait(2).outcomes
    assert told[1].reports == told[0].call and told[1].cost
