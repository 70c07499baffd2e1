"""P8: calls as they end, over a real socket and a real store, filtered, bounded, resumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gatehouse.collector.feed import Feed
from gatehouse.control.live import Stream
from gatehouse.store.queries import TraceFilter
from gatehouse.store.reading import Readers
from gatehouse.store.rows import Batch
from gatehouse.store.sight import Sight
from gatehouse.store.writing import StoreWriter
from tests.control.events import Events
from tests.control.serving import HERE, api
from tests.store import databases
from tests.store.samples import START, call_id, concluded, decided, opened

CALLS = [call_id(START + n * 1_000, n) for n in range(40)]


async def _still() -> bool:
    return True


@asynccontextmanager
async def _listening(client: httpx2.AsyncClient, query: str = "", **headers: str) -> AsyncIterator[Events]:
    async with client.stream("GET", f"/api/v1/live{query}", headers=headers, timeout=15) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        yield Events(response)


async def _end(writer: StoreWriter, feed: Feed, calls: Sequence[str], **changed: Any) -> None:
    """What the collector does."""
    asks = {name: changed[name] for name in ("tenant", "model", "provider") if name in changed}
    whole = await writer.apply(
        Batch(
            tuple(decided(call, **asks) for call in calls),
            tuple(concluded(call, **{k: v for k, v in changed.items() if k != "model"}) for call in calls),
        )
    )
    feed.publish((first.tenant, first.call) for first, _ in whole)


def test_a_call_that_ended_is_the_item_of_traces(place: Path) -> None:
    """I6: other people's calls are neither shown nor counted."""

    async def run() -> None:
        feed = Feed()
        async with opened(place) as (writer, _), api(place, feed=feed) as client:
            await _end(writer, feed, CALLS[:1])
            async with _listening(client) as stream:
                await _end(writer, feed, CALLS[1:2], tenant="b")
                await writer.apply(Batch((decided(CALLS[2]),)))  # open: not yet
                await _end(writer, feed, CALLS[3:5])
                events = await stream.events(2)
            items = (await client.get("/api/v1/traces")).json()["items"]
        assert [event.name for event in events] == ["call", "call"]
        shown = {item["id"]: item for item in items}
        assert [event.data for event in events] == [shown[call] for call in CALLS[3:5]]
        numbers = [int(event.id.partition("-")[2]) for event in events]
        assert numbers[1] - numbers[0] == 1

    asyncio.run(run())


def test_filters(place: Path) -> None:
    async def run() -> None:
        feed = Feed()
        async with opened(place) as (writer, _), api(place, feed=feed) as client:
            queries = ["?model=m1", "?outcome=cut&outcome=refused", "?status=500&provider=p1", "?min_latency_ms=1000"]
            async with (
                _listening(client, queries[0]) as one,
                _listening(client, queries[1]) as two,
                _listening(client, queries[2]) as three,
                _listening(client, queries[3]) as four,
            ):
                await _end(writer, feed, CALLS[0:1], model="m1")
                await _end(writer, feed, CALLS[1:2], outcome="cut")
                await _end(writer, feed, CALLS[2:3], provider="p1", status=500)
                await _end(writer, feed, CALLS[3:4], duration_us=2_000_000)
                await _end(writer, feed, CALLS[4:5], model="m1", outcome="refused", status=500, duration_us=10**7)
                await _end(writer, feed, CALLS[5:6], provider="p1", status=500)
                found = [[event.data["id"] for event in await each.events(2)] for each in (one, two, three)]
                found.append([event.data["id"] for event in await four.events(2)])
            wrong = [
                (await client.get(f"/api/v1/live?{query}")).status_code
                for query in ("limit=5", "outcome=good", "since=2026-01-01T00:00:00Z", "model=a&model=b")
            ]
        expected = [[0, 4], [1, 4], [2, 5], [3, 4]]
        assert found == [[CALLS[n] for n in each] for each in expected]
        assert wrong == [400] * 4

    asyncio.run(run())


def test_going_on_where_one_was(place: Path) -> None:
    async def run() -> None:
        feed = Feed()
        async with opened(place) as (writer, _), api(place, feed=feed) as client:
            async with _listening(client) as stream:
                await _end(writer, feed, CALLS[:4])
                first = await stream.events(2)
            await _end(writer, feed, CALLS[4:6])  # meanwhile
            async with _listening(client, **{"last-event-id": first[-1].id}) as stream:
                rest = await stream.events(4)
            async with _listening(client, **{"last-event-id": "of-another-process"}) as stream:
                await _end(writer, feed, CALLS[6:7])
                lost = await stream.events(2)
        assert [event.data["id"] for event in (*first, *rest)] == CALLS[:6]
        assert [(event.name, event.data.get("missed")) for event in lost] == [("lagged", None), ("call", None)]

    asyncio.run(run())


def test_a_slow_reader_is_told_what_it_missed(place: Path) -> None:
    """I9: what waits for it is bounded, in the feed and in the socket."""

    async def run() -> None:
        feed = Feed(kept=500)
        async with opened(place) as (writer, _), api(place, feed=feed) as client:
            async with _listening(client) as stream:
                calls = [call_id(START + n * 1_000, 1) for n in range(3_000)]
                for at in range(0, len(calls), 100):
                    await _end(writer, feed, calls[at : at + 100])
                shown: list[str] = []
                missed = 0
                while len(shown) + missed < len(calls):
                    event = await stream.event()
                    if event.name == "lagged":
                        missed += event.data["missed"]
                    else:
                        shown.append(event.data["id"])
                await _end(writer, feed, CALLS[39:40], model="last")
                last = await stream.event()
        assert missed > 0 and shown == [call for call in calls if call in set(shown)]
        assert last.data["model"] == "last"

    asyncio.run(run())


def test_listeners_are_bounded_and_let_go(place: Path) -> None:
    async def run() -> None:
        feed = Feed(listeners=1)
        async with opened(place), api(place, feed=feed) as client:
            async with _listening(client):
                refused = await client.get("/api/v1/live")
            again = client.build_request("GET", "/api/v1/live")
            async with asyncio.timeout(10):  # who left is noticed although nothing is sent
                while (answer := await client.send(again, stream=True)).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await answer.aclose()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "too many listen" in refused.json()["detail"]

    asyncio.run(run())


def test_a_quiet_stream_says_that_it_is_there(place: Path) -> None:
    """And moves its place on: who comes back need not go through what the filter left out."""

    async def run() -> None:
        feed, readers, woken = Feed(), Readers(databases.url(place)), asyncio.Event()
        async with opened(place) as (writer, _):
            listener = feed.listen("default", woken.set)
            stream = Stream(readers, Sight("default"), TraceFilter(model="other"), _still, heartbeat=0.05)
            events = stream.events(feed, listener, woken)
            said = [await anext(events), await anext(events)]
            await _end(writer, feed, CALLS[:3])
            said.append(await anext(events))
        await readers.aclose()
        places = [int(each.partition(b"-")[2]) for each in said[1:]]
        assert said[0] == b"retry: 2000\n\n"
        assert said[1] == b": here\nid: %b\n\n" % listener.place_before(3).encode()
        assert places[1] - places[0] == 3

    asyncio.run(run())


def test_it_ends_with_what_its_listener_may(place: Path) -> None:
    """Also while calls come without end: nobody listens on with what was revoked."""

    async def run() -> None:
        feed, readers, woken = Feed(), Readers(databases.url(place)), asyncio.Event()
        may = [True, True, False]

        async def still() -> bool:
            return may.pop(0)

        async with opened(place) as (writer, _):
            listener = feed.listen("default", woken.set)
            stream = Stream(readers, Sight("default"), TraceFilter(), still, heartbeat=0.02)
            said = []
            async with asyncio.timeout(10):
                async for each in stream.events(feed, listener, woken):
                    said.append(each)
                    await _end(writer, feed, CALLS[len(said) : len(said) + 1])
        await readers.aclose()
        assert may == [] and any(b"event: call" in each for each in said)

    asyncio.run(run())


def test_it_ends_with_the_process_and_with_the_store(tmp_path: Path) -> None:
    """A clean end: clients come back by themselves."""

    async def run() -> None:
        feed = Feed()
        async with opened(tmp_path), api(tmp_path, feed=feed) as client:
            async with _listening(client) as stream:
                feed.close()
                with pytest.raises(AssertionError, match="the stream ended"):
                    await stream.event()
            feed.closed = False
            async with _listening(client) as stream:
                (tmp_path / "store.db").rename(tmp_path / "gone.db")
                feed.publish([("default", CALLS[0])])
                with pytest.raises(AssertionError, match="the stream ended"):
                    await stream.event()
            assert (
                await client.get("/api/v1/live", headers={**HERE, "x-gatehouse-peer": "10.0.0.1"})
            ).status_code == 403

    asyncio.run(run())
