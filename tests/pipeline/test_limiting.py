"""Limits on the data plane, over real sockets: what is admitted, reserved, put into bodies, settled and told (I4)."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.limits.shared.connection import Connection, server
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.model.limits import Bound, LimitEntry, LimitEvent, Measure, ScopeKind, Settled, Window
from gatehouse.model.moment import Moment
from gatehouse.model.record import Decision, Outcome
from tests import fakes
from tests.auth.tokens import issuer, token
from tests.fakes import sockets
from tests.fakes.server import Answer, Fake, Misbehaviour
from tests.pipeline.house import House, MemoryJournal, house, pointing_at
from tests.pipeline.tenancy import Tenancy

CHAT = "/openai/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
SMALL = ASK | {"max_completion_tokens": 100}
AZURE = "/azure/res/o1-pro/chat/completions?api-version=2024-10-21"
DOLLAR = 1_000_000_000
PREFIX = "x-gatehouse-ratelimit-"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


@pytest.fixture
def azure() -> Iterator[Fake]:
    """One that has any deployment, and `o1-pro` in it."""
    usage = {"prompt_tokens": 50, "completion_tokens": 100, "total_tokens": 150}
    body = json.dumps({"id": "chatcmpl-1", "model": "o1-pro", "choices": [], "usage": usage}).encode()
    with fakes.azure(gzip_policy="never") as running:
        running.respond(Answer(headers=(("content-type", "application/json"),), body=body))
        yield running


class Place:
    """A tenant with one key and one stored credential, and its limits."""

    def __init__(self, folder: Path, url: str, *limits: LimitEntry) -> None:
        self.tenancy = Tenancy(folder / "data")
        self.tenancy.credential("openai", url, "sk-stored-with-the-gateway")
        self.key = self.tenancy.key().text
        self.limit(*limits)

    def limit(self, *limits: LimitEntry) -> None:
        entries = {each.id: each for each in limits}
        self.tenancy.sections = msgspec.structs.replace(self.tenancy.sections, limits=entries)

    def house(self, url: str, background: Path | None = None, **sections: Any) -> Any:
        settings, own = pointing_at(url, **sections), self.tenancy
        return house(settings, own.sections, own.unsealer(), background=background)


def limit(
    measure: Measure, window: Window, cap: int, scope: ScopeKind = "key", scope_id: str = "key_0", **more: Any
) -> LimitEntry:
    made = LimitEntry(f"lim_{measure}_{window}", "ten_a", scope, scope_id, measure, window, cap)
    return msgspec.structs.replace(made, **more)


def spend(cap: int = DOLLAR, **more: Any) -> LimitEntry:
    return limit("spend", "total", cap, **more)


def post(to: House, place: Place, ask: object = ASK, path: str = CHAT, **more: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {place.key}"} | more.pop("headers", {})
    arguments: dict[str, Any] = {"json": ask, "headers": headers, "timeout": 10} | more
    return httpx2.post(to.url + path, **arguments)


def raw(place: Place, ask: object, path: str = CHAT) -> bytes:
    body = json.dumps(ask).encode()
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {place.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode() + body


def only(journal: MemoryJournal) -> tuple[Decision, Outcome]:
    (decision,), (outcome,) = journal.decisions, journal.outcomes
    return decision, outcome


def balanced(journal: MemoryJournal) -> bool:
    """Each outcome gives back what its decision reserved, counter by counter."""
    held = {each.call: [(one.counter, one.period, one.amount) for one in each.reserved] for each in journal.decisions}
    given = {each.call: [(one.counter, one.period, one.reserved) for one in each.settled] for each in journal.outcomes}
    return held == given


def spent(journal: MemoryJournal) -> int:
    return sum(one.amount for each in journal.outcomes for one in each.settled if "/spend/" in one.counter)


class TestRates:
    def test_I4_no_more_than_the_cap_and_the_answer_says_so(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, limit("requests", "minute", 2))
        with place.house(fake.url) as running:
            first = post(running, place)
            assert (first.headers[PREFIX + "limit"], first.headers[PREFIX + "remaining"]) == ("2", "1")
            assert post(running, place).status_code == 200
            third = post(running, place)
            journal = running.wait(3)
        assert (third.status_code, third.json()["code"], third.json()["error"]["code"]) == (
            429, "RATE_LIMITED", "rate_limit_exceeded",
        )  # fmt: skip
        assert third.headers[PREFIX + "remaining"] == "0"
        assert 0 < int(third.headers["retry-after"]) == third.json()["retry_after"] <= 60
        facts = third.json()["limit"]
        assert (facts["id"], facts["scope"], facts["cap"]) == ("lim_requests_minute", "key", 2)
        assert len(fake.requests) == 2
        assert journal.refusals[0].code == "RATE_LIMITED" and journal.refusals[0].key == "key_0"
        assert journal.decisions[0].reserved == () and journal.outcomes[0].settled == ()

    def test_nothing_is_put_into_bodies_where_only_requests_are_counted(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, limit("requests", "minute", 2))
        with place.house(fake.url) as running:
            post(running, place)
            assert running.wait(1).decisions[0].forwarded_sha256 is None
        assert fake.last.json() == ASK

    def test_concurrency_ends_with_its_call(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, limit("concurrency", "now", 1))
        with place.house(fake.url) as running:
            fake.misbehave(Misbehaviour(silent=True))
            with running.connect() as client:
                client.sendall(raw(place, ASK))
                fake.wait(1)
                refused = post(running, place)
                assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
            running.until(lambda: len(running.journal.outcomes) == 1)
            answer = post(running, place)
            assert (answer.status_code, answer.headers[PREFIX + "remaining-concurrency"]) == (200, "0")
            running.wait(3)
            assert post(running, place).status_code == 200

    def test_counters_go_by_the_first_key_of_a_rotation(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, limit("requests", "minute", 1))
        with place.house(fake.url) as running:
            assert post(running, place).status_code == 200
            place.key = place.tenancy.key(counts_as="key_0").text
            running.swap(place.tenancy.sections)
            assert post(running, place).status_code == 429

    def test_a_model_as_callers_write_it(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, limit("requests", "minute", 1, "model", "openai:gpt-4o-mini"))
        with place.house(fake.url) as running:
            named = ASK | {"model": "openai:gpt-4o-mini"}
            statuses = [post(running, place, ask, path="/v1/chat/completions").status_code for ask in (named, named)]
            assert statuses == [200, 429]
            assert post(running, place).status_code == 200

    @pytest.mark.parametrize("scope_ids", [("gpt-4o-mini",), ("gpt-4o-mini", "openai:gpt-4o-mini")])
    def test_I4_a_provider_before_it_takes_no_call_out_of_a_models_limit(
        self, scope_ids: tuple[str, ...], tmp_path: Path, fake: Fake
    ) -> None:
        limits = [limit("requests", "minute", 1, "model", each) for each in scope_ids]
        named = [msgspec.structs.replace(each, id=f"{each.id}_{at}") for at, each in enumerate(limits)]
        place = Place(tmp_path, fake.url, *named)
        with place.house(fake.url) as running:
            models = ("gpt-4o-mini", "openai:gpt-4o-mini", "gpt-4o-mini")
            asks = [ASK | {"model": model} for model in models]
            statuses = [post(running, place, ask, path="/v1/chat/completions").status_code for ask in asks]
            assert statuses == [200, 429, 429]

    @pytest.mark.parametrize("path", [AZURE, AZURE.replace("/chat", "/openai/deployments/gpt-4.1-nano/chat")])
    def test_I4_on_azure_no_name_beside_the_deployments_takes_a_call_out_of_its_limit(
        self, path: str, tmp_path: Path, azure: Fake
    ) -> None:
        place = Place(tmp_path, azure.url, limit("requests", "minute", 1, "model", "o1-pro"))
        place.tenancy.credential("azure", azure.url, "azure-stored")
        with place.house(azure.url) as running:
            asks = [ASK | {"model": model} for model in ("o1-pro", "gpt-4.1-nano")]
            assert [post(running, place, ask, path).status_code for ask in asks] == [200, 429]

    def test_limits_change_with_the_snapshot_and_free_nothing(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url)
        with place.house(fake.url) as running:
            assert PREFIX + "limit" not in post(running, place).headers
            for cap, status in ((1, 200), (1, 429), (2, 200), (0, 429)):
                place.limit(limit("requests", "minute", cap))
                running.swap(place.tenancy.sections)
                assert post(running, place).status_code == status
            place.limit()
            running.swap(place.tenancy.sections)
            assert post(running, place).status_code == 200


class TestSpend:
    def test_I4_the_worst_case_is_reserved_and_the_truth_settled(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(), limit("tokens", "minute", 100_000))
        with place.house(fake.url) as running:
            answer = post(running, place)
            assert answer.status_code == 200
            decision, outcome = only(running.wait(1))
            assert balanced(running.journal)
        held = {one.counter.rpartition("ten_a/key/key_0/")[2]: one.amount for one in decision.reserved}
        used = {one.counter.rpartition("ten_a/key/key_0/")[2]: one.amount for one in outcome.settled}
        assert outcome.cost is not None and outcome.usage is not None
        assert used == {"spend/total": outcome.cost, "tokens/minute": outcome.usage.total}
        assert held["spend/total"] > outcome.cost and held["tokens/minute"] > outcome.usage.total
        assert int(answer.headers[PREFIX + "remaining-spend"]) == DOLLAR - held["spend/total"]

    def test_who_names_no_output_maximum_gets_one_and_it_is_on_record(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend())
        with place.house(fake.url) as running:
            post(running, place)
            post(running, place, SMALL)
            journal = running.wait(2)
        first, second = journal.decisions
        assert fake.requests[0].json() == ASK | {"max_completion_tokens": 8192}
        assert (first.rewritten, first.max_output) == (("max_output",), 8192)
        assert first.forwarded_sha256 is not None
        assert fake.requests[1].json() == SMALL
        assert (second.rewritten, second.max_output, second.forwarded_sha256) == ((), 100, None)
        assert second.reserved[0].amount < first.reserved[0].amount / 10

    def test_I4_on_azure_the_deployment_has_the_price_whatever_model_the_caller_names(
        self, tmp_path: Path, azure: Fake
    ) -> None:
        """Azure does not look at the model in the body: it names a cheap one, and a dear one answers."""
        place = Place(tmp_path, azure.url, spend(5 * DOLLAR))
        place.tenancy.credential("azure", azure.url, "azure-stored")
        cheap = SMALL | {"model": "gpt-4.1-nano"}
        with place.house(azure.url) as running:
            assert post(running, place, cheap, AZURE).status_code == 200
            unknown = post(running, place, cheap, AZURE.replace("o1-pro", "prod-7"))
            assert (unknown.status_code, unknown.json()["code"]) == (403, "UNBOUNDED_COST")
            running.wait(2)
        decision, _ = only(running.journal)
        assert (decision.model, decision.candidates[0].model) == ("gpt-4.1-nano", "o1-pro")
        assert decision.reserved[0].amount > DOLLAR // 20

    def test_a_deleted_limit_asks_nothing_of_bodies_and_frees_nothing(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend())
        with place.house(fake.url) as running:
            left = [int(post(running, place, SMALL).headers[PREFIX + "remaining-spend"])]
            place.limit()
            running.swap(place.tenancy.sections)
            post(running, place)
            assert fake.last.json() == ASK
            place.limit(spend())
            running.swap(place.tenancy.sections)
            left.append(int(post(running, place, SMALL).headers[PREFIX + "remaining-spend"]))
        assert left[1] < left[0]

    def test_I4_what_does_not_fit_is_never_sent(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(1000))
        with place.house(fake.url) as running:
            answer = post(running, place)
            journal = running.wait(1)
        assert (answer.status_code, answer.json()["code"], answer.json()["error"]["code"]) == (
            429, "BUDGET_EXCEEDED", "never_fits",
        )  # fmt: skip
        assert answer.headers["x-should-retry"] == "false" and answer.json()["retry_after"] is None
        assert answer.headers[PREFIX + "remaining-spend"] == "1000"
        assert not fake.requests and not journal.decisions

    def test_I4_over_many_calls_at_a_time(self, tmp_path: Path, fake: Fake) -> None:
        cap = 200_000_000
        place = Place(tmp_path, fake.url, spend(cap))
        with place.house(fake.url) as running:

            async def call(client: httpx2.AsyncClient, number: int) -> int:
                ask = ASK | {"stream": number % 2 == 0, "max_tokens": 20_000 + number}
                headers = {"authorization": f"Bearer {place.key}"}
                return (await client.post(running.url + CHAT, json=ask, headers=headers)).status_code

            async def all_of_them() -> list[int]:
                async with httpx2.AsyncClient(timeout=10) as client:
                    return await asyncio.gather(*[call(client, number) for number in range(60)])

            statuses = asyncio.run(all_of_them())
            journal = running.wait(60)
            assert balanced(journal)
        held: dict[str, int] = {}
        most = 0
        assert {200, 429} >= set(statuses) and 200 in statuses
        for decision in journal.decisions:
            held[decision.call] = decision.reserved[0].amount
            most = max(most, max(held.values()))
        assert most <= cap and spent(journal) <= cap

    def test_a_call_over_the_cap_is_clamped_to_what_is_left(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(1_000_000, at_cap="clamp"))
        with place.house(fake.url) as running:
            answer = post(running, place, ASK | {"max_tokens": 100_000, "stream": True})
            assert answer.status_code == 200
            decision, _ = only(running.wait(1))
        sent = fake.last.json()["max_tokens"]
        assert 256 <= sent < 8192 and decision.max_output == sent
        assert set(decision.rewritten) == {"stream_options.include_usage", "max_output"}
        assert decision.reserved[0].amount <= 1_000_000

    @pytest.mark.parametrize(
        ("plan", "outcome"),
        [
            (Misbehaviour(error=500), "ok"),
            (Misbehaviour(error=429), "ok"),
            (Misbehaviour(redirect="http://127.0.0.1:1/"), "upstream_error"),
        ],
    )
    def test_a_providers_error_costs_nothing(
        self, plan: Misbehaviour, outcome: str, tmp_path: Path, fake: Fake
    ) -> None:
        place = Place(tmp_path, fake.url, spend(), limit("tokens", "day", 100_000))
        with place.house(fake.url) as running:
            fake.misbehave(plan)
            answer = post(running, place)
            assert answer.headers[PREFIX + "limit-spend"] == str(DOLLAR)
            _, concluded = only(running.wait(1))
            assert balanced(running.journal)
        assert concluded.outcome == outcome
        assert [one.amount for one in concluded.settled] == [0, 0]

    def test_nor_does_one_that_is_not_reached(self, tmp_path: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            place = Place(tmp_path, url, spend())
            with place.house(url) as running:
                assert post(running, place).status_code == 502
                _, outcome = only(running.wait(1))
        assert [one.amount for one in outcome.settled] == [0]

    def test_what_nobody_knows_settles_by_the_bound(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend())
        with place.house(fake.url) as running:
            fake.misbehave(Misbehaviour(close=True))
            assert post(running, place).status_code == 502
            decision, outcome = only(running.wait(1))
        assert outcome.settled[0].amount == decision.reserved[0].amount > 0

    @pytest.mark.parametrize("on_unknown", ["bound", "estimate"])
    def test_I10_a_caller_that_leaves_a_stream(self, on_unknown: str, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(on_unknown=on_unknown))
        with place.house(fake.url) as running:
            fake.misbehave(Misbehaviour(slow=0.2))
            with running.connect() as client:
                client.sendall(raw(place, ASK | {"stream": True}))
                assert client.recv(10)
                fake.wait(1)
            decision, outcome = only(running.wait(1))
            assert balanced(running.journal)
        assert outcome.outcome == "client_gone" and outcome.usage_source == "estimated"
        settled, reserved = outcome.settled[0].amount, decision.reserved[0].amount
        assert settled == (reserved if on_unknown == "bound" else outcome.cost)

    def test_a_decision_that_cannot_be_written_holds_nothing(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(10_000_000), limit("concurrency", "now", 1))
        with place.house(fake.url) as running:
            running.journal.refuse_with = GatehouseError(errors.JOURNAL_FULL, "no room", retry_after=5)
            for _ in range(5):
                assert post(running, place).status_code == 503
            running.journal.refuse_with = None
            assert post(running, place).status_code == 200

    def test_the_callers_own_key_costs_the_tenant_nothing(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(1), limit("requests", "minute", 1))
        place.tenancy.project(bindings=place.tenancy.sections.projects["prj_a"].bindings, own_keys=True)
        with place.house(fake.url) as running:
            own = {"x-gatehouse-key": place.key, "authorization": "Bearer sk-of-the-caller"}
            assert post(running, place, headers=own).status_code == 200
            decision, outcome = only(running.wait(1))
            assert post(running, place, headers=own).status_code == 429
        assert outcome.cost and decision.reserved[0].amount == outcome.settled[0].amount == 0


class TestWithoutBound:
    @pytest.mark.parametrize(
        ("path", "ask"),
        [
            (CHAT, ASK | {"model": "nobody-knows-this"}),
            ("/openai/v1/responses", {"model": "gpt-4o-mini", "input": "hi", "background": True}),
            ("/openai/v1/audio/speech", {"model": "tts-1", "input": "hi", "voice": "alloy"}),
        ],
    )
    def test_is_refused_under_a_hard_cap(self, path: str, ask: object, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend())
        with place.house(fake.url) as running:
            answer = post(running, place, ask, path)
        assert (answer.status_code, answer.json()["code"]) == (403, "UNBOUNDED_COST")
        assert answer.headers["x-should-retry"] == "false" and answer.json()["limit"]["id"] == "lim_spend_total"
        assert not fake.requests

    def test_goes_with_an_assumed_amount_and_counts_so_while_nobody_knows_better(
        self, tmp_path: Path, fake: Fake
    ) -> None:
        place = Place(tmp_path, fake.url, spend(assumed=5_000_000))
        with place.house(fake.url) as running:
            assert post(running, place, ASK | {"model": "nobody-knows-this"}).status_code == 200
            decision, outcome = only(running.wait(1))
        assert (decision.reserved[0].amount, outcome.settled[0].amount) == (5_000_000, 5_000_000)

    def test_an_encoded_body_has_none(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(), limit("tokens", "day", 10_000_000))
        packed = gzip.compress(json.dumps(SMALL).encode())
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        with place.house(fake.url) as running:
            answer = post(running, place, json=None, content=packed, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "UNBOUNDED_COST")
            place.limit(limit("tokens", "day", 10_000_000))
            running.swap(place.tenancy.sections)
            post(running, place, json=None, content=packed, headers=headers)
            running.wait(2)
        assert fake.last.body == packed
        assert running.journal.decisions[0].reserved[0].amount > 100_000

    @pytest.mark.parametrize(
        "body",
        [
            b'{"model":"gpt-4o-mini","max_tokens":5,"max_tokens":99999,"messages":[]}',
            b'{"model":"gpt-4o-mini","Max_Tokens":99999,"max_tokens":5,"messages":[]}',
            b'{"model":"gpt-4o-mini","model":"gpt-4o","messages":[]}',
            b'{"model":"gpt-4o-mini","messages":[',
        ],
    )
    def test_what_the_provider_might_read_otherwise_is_refused(self, body: bytes, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, limit("tokens", "day", 10_000_000))
        with place.house(fake.url) as running:
            answer = post(running, place, json=None, content=body, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), answer.text
        assert not fake.requests

    def test_what_is_free_needs_none(self, tmp_path: Path, fake: Fake) -> None:
        place = Place(tmp_path, fake.url, spend(0))
        with place.house(fake.url) as running:
            headers = {"authorization": f"Bearer {place.key}"}
            assert httpx2.get(running.url + "/openai/v1/models", headers=headers).status_code == 200
            _, outcome = only(running.wait(1))
        assert [one.amount for one in outcome.settled] == [0]


class TestWebSocket:
    PATH = "/openai/v1/realtime?model=gpt-realtime"

    def test_is_counted_refused_without_an_assumed_amount_and_let_go(self, tmp_path: Path) -> None:
        with sockets.provider() as provider:
            place = Place(tmp_path, provider.url, spend(), limit("concurrency", "now", 1))
            shake = sockets.handshake(self.PATH, f"Authorization: Bearer {place.key}".encode())
            with place.house(provider.url) as running:
                with running.connect() as client:
                    client.sendall(shake)
                    assert b"403 " in client.recv(4096).split(b"\r\n")[0]
                place.limit(spend(assumed=1000), limit("concurrency", "now", 1))
                running.swap(place.tenancy.sections)
                caller = provider.keep(running.connect())
                caller.send(shake)
                far = provider.accept()
                far.head()
                far.send(sockets.accepted())
                head = caller.head()
                assert head.startswith(b"HTTP/1.1 101 ")
                assert b"x-gatehouse-ratelimit-remaining-concurrency: 0" in head
                with running.connect() as other:
                    other.sendall(shake)
                    assert b"429 " in other.recv(4096).split(b"\r\n")[0]
                running.call(running.pipeline.interrupt)
                running.until(lambda: len(running.journal.outcomes) == 1)
                decision, outcome = only(running.journal)
                assert balanced(running.journal)
        assert decision.reserved[0].amount == outcome.settled[0].amount == 1000


class Hesitant:
    """A limiter that has to be asked for (`ports.Limits`), and answers when it is let."""

    active = True

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.at_reserve = False
        self._behind = LocalLimits()

    def _later(self, answer: Callable[[], Any]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append(lambda: future.set_result(answer()))
        return future

    def configure(self, entries: Mapping[str, LimitEntry], now: Moment) -> None:
        self._behind.configure(entries, now)

    def admit(self, claim: Claim, now: Moment) -> Any:
        if self.at_reserve:
            return self._behind.admit(claim, now)
        return self._later(lambda: self._behind.admit(claim, now))

    def reserve(self, claim: Claim, bound: Bound, now: Moment) -> Any:
        return self._later(lambda: self._behind.reserve(claim, bound, now))

    def settle(
        self, claim: Claim, tokens: int | None, cost: int | None, now: Moment, *, estimated: bool = False
    ) -> None:
        self._behind.settle(claim, tokens, cost, now, estimated=estimated)

    def withdraw(self, claim: Claim, now: Moment) -> None:
        self._behind.withdraw(claim, now)

    def correct(self, changes: Sequence[Settled], ago: int, now: Moment) -> None:
        self._behind.correct(changes, ago, now)

    def lines(self, claim: Claim, now: Moment) -> bytes:
        return self._behind.lines(claim, now)

    def events(self) -> Sequence[LimitEvent]:
        return self._behind.events()


class TestShared:
    @pytest.mark.parametrize("at_reserve", [False, True])
    def test_a_caller_that_leaves_while_the_limiter_is_asked_leaks_nothing(
        self, at_reserve: bool, tmp_path: Path, fake: Fake
    ) -> None:
        place = Place(tmp_path, fake.url, limit("concurrency", "now", 1), spend())
        limits = Hesitant()
        limits.at_reserve = at_reserve
        sections, opening = place.tenancy.sections, place.tenancy.unsealer()
        with house(pointing_at(fake.url), sections, opening, lambda: limits) as running:
            with running.connect() as client:
                client.sendall(raw(place, SMALL))
                running.until(lambda: len(limits.waiting) == 1)
            running.until(lambda: not running.server.connections)
            running.call(limits.waiting.pop())
            assert running.wait(1).refusals[0].outcome == "client_gone"
            limits.at_reserve = True
            with running.connect() as client:
                client.sendall(raw(place, SMALL))
                running.until(lambda: len(limits.waiting) == 1)
                running.call(limits.waiting.pop())
                head = client.recv(65_536)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"remaining-concurrency: 0" in head
            running.wait(2)
        assert not fake.requests[1:]

    def test_I7_while_it_is_away_each_limit_says_what_holds_and_the_record_says_which(
        self, tmp_path: Path, fake: Fake
    ) -> None:
        place = Place(tmp_path, fake.url, limit("requests", "minute", 5))
        away = f"unix://{tmp_path}/nobody.sock"

        def alone() -> SharedLimits:
            shared = SharedLimits(Connection(server(away), timeout=0.05, connect_timeout=0.2), "lane")
            shared.start()
            return shared

        sections, opening = place.tenancy.sections, place.tenancy.unsealer()
        with house(pointing_at(fake.url), sections, opening, alone) as running:
            assert post(running, place).status_code == 200
            decision, _ = only(running.wait(1))
            assert len(decision.skipped) == 1 and decision.skipped[0].startswith("limit lim_requests_minute: ")
            place.limit(spend())
            running.swap(place.tenancy.sections)
            refused = post(running, place, SMALL)
            assert (refused.status_code, refused.json()["code"]) == (503, "OVERLOADED")
            assert refused.json()["limit"]["id"] == "lim_spend_total"
        assert len(fake.requests) == 1


def test_a_shared_credential_lends_nobody_what_the_provider_keeps(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url)
    bindings = place.tenancy.sections.projects["prj_a"].bindings
    place.tenancy.project("prj_b", uuid="0192f0c1-2345-7000-8000-00000000beef", bindings=bindings)
    with place.house(fake.url) as running:
        asks = (
            ("/openai/v1/responses", {"model": "gpt-4o-mini", "input": "hi", "previous_response_id": "resp_theirs"}),
            (CHAT, ASK | {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f-1"}}]}]}),
        )
        for path, ask in asks:
            answer = post(running, place, ask, path)
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), answer.text
        assert post(running, place).status_code == 200
    assert len(fake.requests) == 1


def test_I6_no_identity_token_makes_a_caller_one_of_the_directorys_users(tmp_path: Path, fake: Fake) -> None:
    """What is somebody's own, on record and in limits, is told by the user's id."""
    place = Place(tmp_path, fake.url)
    place.tenancy.issuer(issuer(tenant="ten_a", project="prj_a", scopes=("chat",)))
    now = int(time.time())
    as_theirs = token(iat=now, exp=now + 600, sub="usr_01m7yn1mv9fyfb91dp0kpg3xtb").decode()
    with place.house(fake.url) as running:
        for headers in ({"authorization": f"Bearer {as_theirs}"}, {"X-Gatehouse-Identity": as_theirs}):
            assert post(running, place, SMALL, headers=headers).status_code == 401
    assert fake.requests == []


def test_I4_a_token_beside_a_key_takes_no_call_out_of_its_users_limit(tmp_path: Path, fake: Fake) -> None:
    place = Place(tmp_path, fake.url, limit("requests", "day", 1, "user", "usr_1"))
    place.tenancy.issuer(issuer(tenant="ten_a", project="prj_a", scopes=("chat",)))
    place.key = place.tenancy.key(user="usr_1").text
    now = int(time.time())
    bob = token(iat=now, exp=now + 600, sub="bob").decode()
    with place.house(fake.url) as running:
        assert post(running, place, SMALL).status_code == 200
        assert post(running, place, SMALL, headers={"X-Gatehouse-Identity": bob}).status_code == 429


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        (CHAT, SMALL | {"n": "64"}),
        (CHAT, SMALL | {"n": -1}),
        ("/openai/v1/images/generations", {"model": "dall-e-2", "prompt": "x", "n": "10"}),
    ],
)
def test_I4_a_number_of_answers_that_some_read_otherwise_is_refused(
    path: str, ask: dict[str, Any], tmp_path: Path, fake: Fake
) -> None:
    """Some providers take `"64"` for a number."""
    place = Place(tmp_path, fake.url, spend())
    with place.house(fake.url) as running:
        assert post(running, place, ask, path).status_code == 400
    assert fake.requests == []


def test_I4_a_limit_on_a_user_whom_identity_tokens_name(tmp_path: Path, fake: Fake) -> None:
    """D2: alone, and beside a key; other users of the issuer are not concerned."""
    place = Place(tmp_path, fake.url, limit("requests", "day", 2, "user", "alice"))
    place.tenancy.issuer(issuer(tenant="ten_a", project="prj_a", scopes=("chat",)))
    now = int(time.time())
    alice, bob = (token(iat=now, exp=now + 600, sub=name).decode() for name in ("alice", "bob"))
    with place.house(fake.url) as running:
        asked = [
            {"authorization": f"Bearer {alice}"},
            {"authorization": f"Bearer {place.key}", "X-Gatehouse-Identity": alice},
            {"authorization": f"Bearer {alice}"},
            {"authorization": f"Bearer {bob}"},
        ]
        answers = [httpx2.post(running.url + CHAT, json=SMALL, headers=each, timeout=10) for each in asked]
        assert [each.status_code for each in answers] == [200, 200, 429, 200]
        assert answers[2].json()["limit"]["scope_id"] == "alice"
        journal = running.wait(4)
    assert [each.user for each in journal.decisions] == ["alice", "alice", "bob"]
