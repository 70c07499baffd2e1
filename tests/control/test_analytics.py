"""`/api/v1/analytics` over a real socket and a real store."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.store import times
from gatehouse.store.rows import Batch
from tests.control.serving import api
from tests.store.samples import START, call_id, concluded, decided, opened

BASE = "/api/v1/analytics"
SECOND = 1_000_000
HOUR = 3600 * SECOND
ALL = "from=2025-11-13T00:00:00Z&to=2025-11-14T00:00:00Z"
NAMES = [call_id(START + n * HOUR, n) for n in range(4)]
ROUTES = ("usage", "cost", "latency", "errors", "models", "keys", "summary")
SERIES = ROUTES[:4]


def _fill(data: Path) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"provider": "anthropic", "model": "=cmd()", "route": "anthropic/messages", "user_agent": "@evil"},
        {"key_id": "k1"},
        {"project": "p2", "user_id": "u1"},
    ]
    ended: list[dict[str, Any]] = [
        {},
        {"provider": None, "status": 429, "price": "unknown", "cost": None},
        {"outcome": "cut", "duration_us": 2_000_000, "usage_source": "estimated"},
        {"project": "p2", "code": "OVERLOADED", "outcome": "refused", "status": 503, "attempts": 0},
    ]
    recent = call_id(times.now() // 1000 * 1000 - HOUR)

    async def run() -> None:
        async with opened(data) as (writer, _):
            await writer.apply(
                Batch(
                    (*(decided(name, **ask) for name, ask in zip(NAMES, asked, strict=True)), decided(recent)),
                    tuple(concluded(name, **end) for name, end in zip(NAMES, ended, strict=True)),
                )
            )
            other = call_id(START + HOUR + 1)
            await writer.apply(Batch((decided(other, tenant="b"),), (concluded(other, tenant="b"),)))

    asyncio.run(run())


@pytest.fixture(scope="module")
def data(new_place: Callable[[], Path]) -> Path:
    directory = new_place()
    _fill(directory)
    return directory


def _get(data: Path, *paths: str) -> list[httpx2.Response]:
    async def run() -> list[httpx2.Response]:
        async with api(data) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(run())


def _json(data: Path, *paths: str) -> list[Any]:
    responses = _get(data, *paths)
    assert {response.status_code for response in responses} == {200}, [response.text for response in responses]
    return [response.json() for response in responses]


FILTERS: list[tuple[str, int]] = [
    ("", 4),
    ("&provider=anthropic", 1),
    ("&model=%3Dcmd()", 1),
    ("&model=gpt-4o-mini-2024-07-18", 4),
    ("&route=anthropic/messages", 1),
    ("&key=k1", 1),
    (f"&key={'a' * 32}", 3),
    ("&project=p2", 1),
    ("&user=u1", 1),
    ("&outcome=cut", 1),
    ("&outcome=cut&outcome=refused", 2),
    ("&provider=openai&outcome=ok", 1),
    ("&model=%27%20OR%201=1%20--", 0),
]


def test_filters(data: Path) -> None:
    """O6."""
    answers = _json(data, *(f"{BASE}/usage?{ALL}{query}" for query, _ in FILTERS))
    for (query, calls), answer in zip(FILTERS, answers, strict=True):
        assert answer["total"]["calls"] == calls, query


def test_groups_and_buckets(data: Path) -> None:
    """O6: `group_by` of several, in a bucket each."""
    usage, cost, latency, errors = _json(
        data, *(f"{BASE}/{name}?{ALL}&group_by=provider,key&bucket=hour" for name in SERIES)
    )
    for answer in (usage, cost, latency, errors):
        assert (answer["group_by"], answer["bucket"], answer["truncated"]) == (["provider", "key"], "hour", False)
        assert [row["group"] for row in answer["items"]] == [
            {"provider": "openai", "key": "a" * 32},
            {"provider": "anthropic", "key": "a" * 32},
            {"provider": "openai", "key": "k1"},
            {"provider": "openai", "key": "a" * 32},
        ]
        assert [row["bucket"][11:16] for row in answer["items"]] == ["02:00", "03:00", "04:00", "05:00"]
    assert usage["total"]["estimated_share"] == 0.25
    assert [row["cost_nano_usd"] for row in cost["items"]] == [12_345, None, 12_345, 12_345]
    assert latency["total"]["duration"]["p99_us"] == 2_000_000
    assert errors["total"]["statuses"] == {
        "2xx": {"calls": 2, "rate": 0.5},
        "4xx": {"calls": 1, "rate": 0.25},
        "5xx": {"calls": 1, "rate": 0.25},
    }


def test_models_keys_and_the_head_figures(data: Path) -> None:
    """O6."""
    models, keys, summary = _json(data, *(f"{BASE}/{name}?{ALL}" for name in ("models", "keys", "summary")))
    assert [(row["provider"], row["model"], row["calls"]) for row in models["items"]] == [
        ("openai", "gpt-4o-mini", 3),
        ("anthropic", "=cmd()", 1),
    ]
    assert [(row["key"], row["kind"], row["calls"]) for row in keys["items"]] == [
        ("a" * 32, "provider", 3),
        ("k1", "gateway", 1),
    ]
    assert keys["items"][0]["last_used"] == "2025-11-13T05:13:20.000000Z"
    assert (summary["current"]["calls"], summary["before"]["calls"], summary["change"]["calls"]) == (4, 0, None)


def test_without_a_window_it_is_the_last_day(data: Path) -> None:
    last, ever, long_ago = _json(
        data,
        f"{BASE}/usage",
        f"{BASE}/usage?from=9999w",
        f"{BASE}/usage?from=9999w&to=1d",
    )
    assert [answer["total"]["calls"] for answer in (last, ever, long_ago)] == [1, 5, 4]
    assert times.parse(last["to"]) - times.parse(last["from"]) == 24 * HOUR


def test_a_limit_cuts_items_and_says_so(data: Path) -> None:
    for answer in _json(data, *(f"{BASE}/{name}?{ALL}&group_by=model&limit=1" for name in SERIES)):
        assert (len(answer["items"]), answer["truncated"]) == (1, True)
    models, keys = _json(data, f"{BASE}/models?{ALL}&limit=1", f"{BASE}/keys?{ALL}&limit=2")
    assert (len(models["items"]), models["truncated"]) == (1, True)
    assert (len(keys["items"]), keys["truncated"]) == (2, False)


def test_the_log_pages_by_offset(data: Path) -> None:
    """T8: their parameters, their fields."""
    everything, page, openai, one_key, days = _json(
        data,
        f"{BASE}/logs",
        f"{BASE}/logs?limit=2&offset=1",
        f"{BASE}/logs?provider=openai&start_date=2025-11-13T02:00:00Z&end_date=2025-11-13T05:00:00",
        f"{BASE}/logs?api_key=k1",
        f"{BASE}/logs?start_date=2025-11-13&end_date=2025-11-13",
    )
    assert set(everything) == {"items", "total", "offset", "limit"}
    assert (everything["total"], everything["offset"], everything["limit"]) == (5, 0, 50)
    assert (page["total"], page["offset"], page["limit"]) == (5, 1, 2)
    assert page["items"] == everything["items"][1:3]
    assert [item["id"] for item in openai["items"]] == [NAMES[2], NAMES[0]]
    assert [item["id"] for item in one_key["items"]] == [NAMES[2]]
    assert days["total"] == 4
    assert everything["items"][-1] == {
        "id": NAMES[0],
        "timestamp": "2025-11-13T02:13:20.000000Z",
        "api_key": "a" * 32,
        "path": "/chat/completions",
        "method": "POST",
        "status_code": 200,
        "latency_ms": 123.456,
        "request_size_bytes": 1024,
        "response_size_bytes": 2048,
        "provider": "openai",
        "model": "gpt-4o-mini",
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cost_usd": 0.000012345,
    }


def test_a_periods_statistics_have_their_fields(data: Path) -> None:
    """T9."""
    week, day = _json(data, f"{BASE}/stats", f"{BASE}/stats?period=24h")
    assert set(week) == {
        "period",
        "total_requests",
        "total_cost_usd",
        "total_tokens",
        "avg_latency_ms",
        "error_rate_pct",
        "by_provider",
        "by_model",
        "violations",
    }
    assert (week["period"], day["period"]) == ("7d", "24h")
    assert set(week["total_tokens"]) == {"prompt", "completion", "total"}
    assert week["by_provider"] == {"openai": 1}
    assert set(week["violations"]) == {"total", "by_type", "critical", "high"}
    assert set(week["violations"]["by_type"]) == {"pii", "injection", "bias", "exfiltration"}


def test_nobody_names_another_tenant(data: Path) -> None:
    """I6."""
    refused = _get(data, f"{BASE}/usage?tenant=b", f"{BASE}/logs?tenant=b", f"{BASE}/stats?tenant=b")
    assert {response.status_code for response in refused} == {400}


WRONG: list[tuple[str, str, str]] = [
    ("usage?group_by=colour", "group_by", "allowed, with commas: provider, model, route, key, project, user"),
    ("usage?group_by=", "group_by", "allowed"),
    ("usage?group_by=model,", "group_by", "allowed"),
    ("usage?group_by=model,model", "group_by", "named twice"),
    ("usage?group_by=model&group_by=key", "group_by", "more than once"),
    ("usage?bucket=minute", "bucket", "'hour', 'day' or 'week'"),
    ("usage?limit=0", "limit", "greater than or equal to 1"),
    ("usage?limit=10001", "limit", "less than or equal to 10000"),
    ("usage?from=yesterday", "from", "no span before now (30m, 24h, 7d, 4w), and not RFC 3339"),
    ("usage?from=2025-11-13", "from", "not RFC 3339"),
    ("usage?from=0h", "from", "not RFC 3339"),
    ("usage?to=2025-13-13T02:13:22Z", "to", "month"),
    ("usage?from=1h&to=1h", "from", "is not before `to`"),
    ("usage?from=1h&to=2h", "from", "is not before `to`"),
    ("usage?since=1h", "since", "there is no such parameter"),
    ("usage?outcome=good", "outcome[0]", "Input should be"),
    ("usage?provider=", "provider", "at least 1"),
    ("usage?format=xlsx", "format", "'json', 'csv', 'jsonl' or 'parquet'"),
    ("usage?from=1h&from=2h", "from", "more than once"),
    ("models?group_by=model", "group_by", "there is no such parameter"),
    ("keys?bucket=day", "bucket", "there is no such parameter"),
    ("summary?limit=3", "limit", "there is no such parameter"),
    ("logs?limit=501", "limit", "less than or equal to 500"),
    ("logs?offset=-1", "offset", "greater than or equal to 0"),
    ("logs?start_date=soon", "start_date", "Invalid isoformat"),
    ("logs?offset=3&format=csv", "offset", "goes with `format=json` only"),
    (f"logs?api_key=sk-{'x' * 40}", "api_key", "never by the key itself"),
    (f"logs?api_key=gth_live_{'x' * 36}", "api_key", "never by the key itself"),
    ("stats?period=1y", "period", "'24h', '7d', '30d' or '90d'"),
    ("stats?format=csv", "format", "there is no such parameter"),
]


def test_wrong_input_is_a_400_that_names_the_field(data: Path) -> None:
    responses = _get(data, *(f"{BASE}/{query}" for query, _, _ in WRONG))
    for (query, field, says), response in zip(WRONG, responses, strict=True):
        assert response.status_code == 400, (query, response.text)
        body = response.json()
        assert body["code"] == "BAD_REQUEST"
        assert [problem["field"] for problem in body["errors"]] == [field], query
        assert says in body["errors"][0]["message"], (query, body)
        assert "x" * 36 not in response.text


def test_what_is_not_there_is_a_404(data: Path) -> None:
    for response in _get(data, BASE, f"{BASE}/", f"{BASE}/nothing", f"{BASE}/usage/", f"{BASE}/violations"):
        assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


def test_without_a_store_it_says_so(tmp_path: Path) -> None:
    for response in _get(tmp_path, *(f"{BASE}/{name}" for name in (*ROUTES, "logs", "stats"))):
        assert (response.status_code, response.json()["retry_after"]) == (503, 5)


def _rows(response: httpx2.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.content.decode(), newline=""), strict=True))


def test_exports_hold_the_items_of_the_json(data: Path) -> None:
    paths = [f"{BASE}/{name}?{ALL}" for name in ROUTES]
    paths += [f"{BASE}/{name}?{ALL}&group_by=model,key&bucket=day" for name in SERIES]
    paths += [f"{BASE}/logs?end_date=2025-11-14", "/api/v1/traces?until=2025-11-14T00:00:00Z"]
    for path in paths:
        plain, lines, table = _get(data, path, f"{path}&format=jsonl", f"{path}&format=csv")
        items = plain.json().get("items", [plain.json()])
        assert [json.loads(line) for line in lines.text.splitlines()] == items, path
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert table.headers["content-type"] == "text/csv; charset=utf-8"
        assert table.headers["content-disposition"].startswith('attachment; filename="')
        assert table.headers["cache-control"] == "no-store"
        rows = _rows(table)
        assert len(rows) == len(items) > 0, path
        for row, item in zip(rows, items, strict=True):
            assert row == {name: _cell(value) for name, value in _flat(item, "bucket" in item)}, path


def _flat(item: dict[str, Any], series: bool) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in item.items():
        if name == "group" and series:
            found += value.items()
        elif isinstance(value, dict) and name not in ("outcomes", "codes", "statuses"):
            found += [(f"{name}.{inner}", each) for inner, each in value.items()]
        else:
            found.append((name, value))
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in ("=", "@") else value
    return msgspec.json.encode(value).decode()


def test_what_callers_chose_is_no_formula_in_a_spreadsheet(data: Path) -> None:
    traces, models = _get(
        data, "/api/v1/traces?provider=anthropic&format=csv", f"{BASE}/models?{ALL}&provider=anthropic&format=csv"
    )
    assert _rows(traces)[0]["user_agent"] == "'@evil"
    assert _rows(traces)[0]["model"] == _rows(models)[0]["model"] == "'=cmd()"


def test_an_export_of_calls_has_no_pages(tmp_path: Path) -> None:
    """All of them, newest first, however many pages that takes; as many as asked for; from a cursor on."""
    names = [call_id(START + n * SECOND, n) for n in range(1203)]

    async def run() -> None:
        async with opened(tmp_path) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, names)), tuple(map(concluded, names))))

    asyncio.run(run())
    path = "/api/v1/traces?format=jsonl"
    [everything, some, filtered, none, first] = _get(
        tmp_path, path, f"{path}&limit=7", f"{path}&model=gpt-4o-mini", f"{path}&model=x", "/api/v1/traces?limit=500"
    )
    ids = [json.loads(line)["id"] for line in everything.text.splitlines()]
    assert ids == names[::-1]
    assert [json.loads(line)["id"] for line in some.text.splitlines()] == ids[:7]
    assert filtered.text == everything.text
    assert (none.status_code, none.text) == (200, "")
    [rest, log, wrong] = _get(
        tmp_path,
        f"{path}&cursor={first.json()['next_cursor']}",
        f"{BASE}/logs?format=csv",
        f"{path}&cursor=AAAA",
    )
    assert [json.loads(line)["id"] for line in rest.text.splitlines()] == ids[500:]
    assert [row["id"] for row in _rows(log)] == ids
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "cursor")


def test_an_export_that_breaks_off_is_not_ended(tmp_path: Path) -> None:
    """I7: what is half is not taken for whole."""
    names = [call_id(START + n * SECOND, n) for n in range(1100)]

    async def run() -> None:
        async with opened(tmp_path) as (writer, writing):
            await writer.apply(Batch(tuple(map(decided, names))))
            async with writing.begin() as connection:
                # A row that cannot be told in JSON, on the second page.
                await connection.exec_driver_sql("UPDATE traces SET candidates = '[' WHERE call = ?", (names[300],))
        async with api(tmp_path) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get("/api/v1/traces?format=jsonl")

    asyncio.run(run())


_KEYS = ["from", "to", "group_by", "bucket", "limit", "provider", "outcome", "format", "start_date", "period", "offset"]
_VALUES = (
    st.sampled_from(["7d", "999999w", "model,key", "csv", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
    | st.sampled_from(["0001-01-01", "9999-12-31", "-1", "99999999999999999999"])
    | st.text(max_size=40)
    | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
)
_QUERIES = st.lists(st.tuples(st.sampled_from(_KEYS) | st.text(max_size=8), _VALUES), max_size=3)


@settings(max_examples=6)
@given(asked=st.lists(st.tuples(st.sampled_from([*ROUTES, "logs", "stats"]), _QUERIES), min_size=15, max_size=25))
def test_no_query_makes_a_bug(new_place: Callable[[], Path], asked: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """Never a 500 for bad input."""
    urls = [
        f"{BASE}/{name}?" + "&".join(f"{quote(key)}={quote(value)}" for key, value in query) for name, query in asked
    ]
    directory = new_place()
    _fill(directory)
    for response in _get(directory, *urls):
        assert response.status_code in (200, 400, 404), (response.url, response.text)
