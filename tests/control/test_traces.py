"""`/api/v1/traces` over a real socket and a real store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.store import present
from gatehouse.store.rows import Batch, BodyPart
from gatehouse.store.views import Trace, TracePage
from tests.control.serving import api
from tests.store.samples import START, call_id, concluded, decided, opened

SECOND = 1_000_000
NAMES = [call_id(START + n * SECOND, n) for n in range(6)]


def _fill(data: Path) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"provider": "anthropic", "model": "claude", "route": "anthropic/messages"},
        {"stream": True, "key_id": "k1"},
        {"trace_sent": True, "trace_id": "c" * 32},
        {"project": "p2", "user_id": "u1", "operation": "embeddings"},
        {},
    ]
    ended: list[dict[str, Any]] = [
        {},
        {"provider": None, "status": 429},
        {"outcome": "cut", "duration_us": 2_000_000},
        {"code": "OVERLOADED", "outcome": "refused", "status": 503, "attempts": 0},
        {"project": "p2"},
    ]

    async def run() -> None:
        async with opened(data) as (writer, _):
            body = BodyPart("default", "default", NAMES[0], "request", 0, True, None, None, 1, False, b"the prompt")
            await writer.apply(
                Batch(
                    tuple(decided(name, **ask) for name, ask in zip(NAMES, asked, strict=True)),
                    tuple(concluded(name, **end) for name, end in zip(NAMES, ended, strict=False)),
                    bodies=(body,),
                )
            )
            other = call_id(START + 9 * SECOND)
            await writer.apply(Batch((decided(other, tenant="b"),), (concluded(other, tenant="b"),)))

    asyncio.run(run())


@pytest.fixture
def data(place: Path) -> Path:
    _fill(place)
    return place


def _remove_store(data: Path) -> None:
    for path in data.glob("store.db*"):
        path.unlink()


def _get(data: Path, *paths: str) -> list[httpx2.Response]:
    async def run() -> list[httpx2.Response]:
        async with api(data) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(run())


FILTERS: list[tuple[str, list[int]]] = [
    ("", [5, 4, 3, 2, 1, 0]),
    ("limit=2", [5, 4]),
    ("provider=anthropic", [1]),
    ("model=claude", [1]),
    ("route=anthropic/messages", [1]),
    ("operation=embeddings", [4]),
    ("status=429", [1]),
    ("status=429&status=503", [3, 1]),
    ("outcome=cut&outcome=open", [5, 2]),
    ("code=OVERLOADED", [3]),
    ("key=k1", [2]),
    ("user=u1", [4]),
    ("project=p2", [4]),
    ("stream=true", [2]),
    ("min_latency_ms=1999.5", [2]),
    (f"trace={'C' * 32}", [3]),
    ("since=2025-11-13T02:13:22Z", [5, 4, 3, 2]),
    ("until=2025-11-13T02:13:22.000000Z", [1, 0]),
    (f"since={quote('2025-11-13T03:13:24+01:00')}", [5, 4]),
    ("since=2025-11-13t02:13:22z&outcome=ok", [4]),
    ("model=%27%20OR%201=1%20--", []),
    ("model=%00%ff", []),
]


def test_filters(data: Path) -> None:
    """O6."""
    responses = _get(data, *(f"/api/v1/traces?{query}" for query, _ in FILTERS))
    for (query, found), response in zip(FILTERS, responses, strict=True):
        assert response.status_code == 200, response.text
        page = msgspec.json.decode(response.content, type=TracePage)
        assert [trace.id for trace in page.items] == [NAMES[n] for n in found], query


def test_pages_follow_the_cursor(data: Path) -> None:
    async def run() -> None:
        async with api(data) as client:
            seen: list[str] = []
            cursor: str | None = None
            while True:
                query = {"limit": "4"} | ({"cursor": cursor} if cursor else {})
                page = (await client.get("/api/v1/traces", params=query)).json()
                seen += [trace["id"] for trace in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert seen == NAMES[::-1]

    asyncio.run(run())


def test_one_call_with_its_spans(data: Path) -> None:
    """A6: by call id, by the same without dashes, by the trace id the caller sent."""
    paths = (NAMES[0], NAMES[0].replace("-", "").upper(), "c" * 32)
    first, same, sent = _get(data, *(f"/api/v1/traces/{path}" for path in paths))
    trace = msgspec.json.decode(first.content, type=Trace)
    assert trace.id == NAMES[0]
    assert [span.kind for span in trace.spans] == ["SERVER", "CLIENT"]
    assert trace.spans[1].attributes["gen_ai.request.model"] == "gpt-4o-mini"
    assert same.json() == first.json()
    assert sent.json()["id"] == NAMES[3]
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "no-store"


def test_no_prompt_or_answer_leaves_here(data: Path) -> None:
    """Call metadata only until accounts exist."""
    responses = _get(data, "/api/v1/traces", f"/api/v1/traces/{NAMES[0]}")
    assert all(b"prompt" not in response.content for response in responses)


def test_nobody_names_another_tenant(data: Path) -> None:
    """I6."""
    [refused] = _get(data, "/api/v1/traces?tenant=b")
    assert refused.status_code == 400


WRONG: list[tuple[str, str, str]] = [
    ("limit=0", "limit", "greater than or equal to 1"),
    ("limit=501", "limit", "less than or equal to 500"),
    ("limit=many", "limit", "valid integer"),
    ("limit=1&limit=2", "limit", "more than once"),
    ("cursor=AAAA", "cursor", "not a cursor of this API"),
    (f"cursor={'A' * 300}", "cursor", "at most 200"),
    ("cursor=%ff%00", "cursor", "not a cursor of this API"),
    (f"cursor={present.cursor(NAMES[0])[:-3]}", "cursor", "not a cursor of this API"),
    ("since=yesterday", "since", "not RFC 3339"),
    ("since=2025-11-13", "since", "not RFC 3339"),
    ("since=2025-11-13T02:13:22", "since", "not RFC 3339"),
    ("since=1763000000", "since", "not RFC 3339"),
    ("since=2025-11-13T03:13:24+01:00", "since", "write + as %2B"),
    ("until=2025-13-13T02:13:22Z", "until", "month"),
    ("min_latency_ms=-1", "min_latency_ms", "greater than or equal to 0"),
    ("min_latency_ms=nan", "min_latency_ms", "finite"),
    ("min_latency_ms=1e300", "min_latency_ms", "less than or equal"),
    ("status=20", "status[0]", "greater than or equal to 100"),
    ("status=200&status=x", "status[1]", "valid integer"),
    ("outcome=good", "outcome[0]", "Input should be"),
    ("stream=perhaps", "stream", "valid boolean"),
    ("trace=xyz", "trace", "not of the form"),
    ("provider=", "provider", "at least 1"),
    ("colour=red", "colour", "there is no such parameter"),
    ("Limit=1", "Limit", "there is no such parameter"),
]


def test_wrong_input_is_a_400_that_names_the_field(data: Path) -> None:
    responses = _get(data, *(f"/api/v1/traces?{query}" for query, _, _ in WRONG))
    for (query, field, says), response in zip(WRONG, responses, strict=True):
        assert response.status_code == 400, query
        body = response.json()
        assert set(body) == {"detail", "code", "retry_after", "errors"}
        assert body["code"] == "BAD_REQUEST"
        [problem] = body["errors"]
        assert problem["field"] == field
        assert says in problem["message"], query
        assert body["detail"] == f"{field}: {problem['message']}"


def test_what_is_not_there_is_a_404_in_the_same_shape(data: Path) -> None:
    paths = ("/api/v1/traces/nothing", f"/api/v1/traces/{'0' * 32}", "/api/v1/nothing", "/", "/docs", "/api/v1/traces/")
    for response in _get(data, *paths):
        assert response.status_code == 404, response.url
        assert response.json()["code"] == "NOT_FOUND"
    [named] = _get(data, f"/api/v1/traces/{NAMES[0]}?spans=no")
    assert (named.status_code, named.json()["errors"][0]["field"]) == (400, "spans")
    [long] = _get(data, f"/api/v1/traces/{'x' * 65}")
    assert (long.status_code, long.json()["errors"][0]["field"]) == (400, "id")


def test_other_methods_are_refused_in_the_same_shape(data: Path) -> None:
    async def run() -> None:
        async with api(data) as client:
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                response = await client.request(method, "/api/v1/traces", json={"a": 1})
                assert (response.status_code, response.json()["code"]) == (405, "NOT_FOUND")

    asyncio.run(run())


def test_without_a_store_it_says_so_and_when_to_come_back(tmp_path: Path) -> None:
    [response] = _get(tmp_path, "/api/v1/traces")
    body = response.json()
    assert (response.status_code, body["code"], body["retry_after"]) == (503, "OVERLOADED", 5)
    assert response.headers["retry-after"] == "5"
    assert "no store at" in body["detail"]


def test_a_store_built_anew_is_read_anew(tmp_path: Path) -> None:
    _fill(tmp_path)

    async def run() -> None:
        async with api(tmp_path) as client:
            assert len((await client.get("/api/v1/traces")).json()["items"]) == 6
            _remove_store(tmp_path)
            async with opened(tmp_path) as (writer, _):
                await writer.apply(Batch((decided(NAMES[2]),)))
                assert [trace["id"] for trace in (await client.get("/api/v1/traces")).json()["items"]] == [NAMES[2]]

    asyncio.run(run())


_KNOWN = ["limit", "cursor", "since", "until", "model", "status", "outcome", "stream", "min_latency_ms", "trace"]
_NAMES = st.sampled_from(_KNOWN) | st.text(max_size=8)
_VALUES = st.text(max_size=40) | st.integers().map(str) | st.floats().map(str) | st.datetimes().map(str)
_QUERIES = st.lists(st.tuples(_NAMES, _VALUES), max_size=4)
_PATHS = st.just("") | st.text(max_size=20).map(lambda name: f"/{quote(name, safe='')}")


@settings(max_examples=6)
@given(asked=st.lists(st.tuples(_PATHS, _QUERIES), min_size=10, max_size=20))
def test_no_query_makes_a_bug(new_place: Callable[[], Path], asked: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """Never a 500 for bad input."""
    urls = [
        f"/api/v1/traces{path}?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in query)
        for path, query in asked
    ]
    directory = new_place()
    _fill(directory)
    for response in _get(directory, *urls):
        assert response.status_code in (200, 400, 404), response.url
        assert response.headers["content-type"] == "application/json"


def test_lineage_is_asked_for_by_its_headers_words(place: Path) -> None:
    """O13: what belongs together is found, by one parameter or several, tags by all of them."""
    first = decided(NAMES[0], run_id="r", group_id="g", thread_id="t", tags='["team=a","nightly"]', job="batch_1")
    second = decided(NAMES[1], run_id="r", parent_id=NAMES[0], sequence=2, tags='["nightly"]')

    async def fill() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch(decided=(first, second)))

    asyncio.run(fill())
    asked = {
        "run=r": [1, 0],
        "run=r&group=g": [0],
        "thread=t": [0],
        "tag=nightly": [1, 0],
        "tag=nightly&tag=team%3Da": [0],
        f"parent={NAMES[0]}": [1],
        f"loop={NAMES[1].upper()}": [1, 0],
        "job=batch_1": [0],
        "run=other": [],
    }
    answers = _get(place, *(f"/api/v1/traces?{query}" for query in asked), f"/api/v1/traces/{NAMES[1]}")
    for answer, numbers in zip(answers, asked.values(), strict=False):
        assert [each["id"] for each in answer.json()["items"]] == [NAMES[number] for number in numbers], answer.url
    shown = answers[-1].json()
    assert (shown["loop"], shown["parent_call"], shown["step"], shown["steps"]) == (NAMES[0], NAMES[0], 2, 2)
    assert (shown["sequence"], shown["tags"]) == (2, ["nightly"])
    [refused] = _get(place, "/api/v1/traces?run=a&run=b")
    assert refused.status_code == 400
