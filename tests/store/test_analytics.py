"""Figures over many calls: each is what plain Python makes of the same calls, in whatever stretches they are read."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.store import engine, times
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.present import TOKEN_PARTS
from gatehouse.store.queries import TraceFilter
from gatehouse.store.rows import Batch, RefusedCount
from gatehouse.store.sight import Sight
from gatehouse.store.stretches import TooLongError
from gatehouse.store.tally import Durations, Sums, TooManyError
from tests.collector.lanes_on_disk import Worker, collect
from tests.store import databases, random_calls
from tests.store.random_calls import SPAN, Call
from tests.store.samples import LANE, START, call_id, concluded, decided, opened

T = TypeVar("T")
PAIRS = random_calls.pairs(600, seed=7)
CALLS = [random_calls.merged(*pair) for pair in PAIRS]
HOUR = 3_600_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAILED = ("refused", "upstream_error", "cut", "blocked", "interrupted")
INPUT = (
    *("input", "cache_read", "cache_write", "cache_write_1h"),
    *("audio_input", "image_input", "image_cache_read", "audio_cache_read"),
)
OUTPUT = ("output", "reasoning", "audio_output", "image_output")
DIMENSIONS: dict[str, Callable[[Call], str | None]] = {
    "provider": lambda call: call["provider"],
    "model": lambda call: call["model"],
    "route": lambda call: call["route"],
    "key": lambda call: call["key_id"] if call["key_id"] is not None else call["provider_key_hash"],
    "project": lambda call: call["project"],
    "user": lambda call: call["user_id"],
}


@asynccontextmanager
async def asking(directory: Path, tenant: str = "default", **options: Any) -> AsyncIterator[Analytics]:
    reading = engine.reader(databases.url(directory))
    try:
        yield Analytics(reading, Sight(tenant), **options)
    finally:
        await reading.dispose()


def _ask(directory: Path, question: Callable[[Analytics], Awaitable[T]], tenant: str = "default", **options: Any) -> T:
    async def run() -> T:
        async with asking(directory, tenant, **options) as analytics:
            return await question(analytics)

    return asyncio.run(run())


def _write(directory: Path, *batches: Batch) -> None:
    async def run() -> None:
        async with opened(directory) as (writer, _):
            for batch in batches:
                await writer.apply(batch)

    asyncio.run(run())


@pytest.fixture(scope="module")
def data(new_place: Callable[[], Path]) -> Path:
    directory = new_place()

    async def run() -> None:
        async with opened(directory) as (writer, _):
            await random_calls.store(writer, PAIRS)

    asyncio.run(run())
    return directory


# What is right, in plain Python.


def _bucket(call: Call, bucket: str | None) -> str | None:
    if bucket is None:
        return None
    began = (EPOCH + timedelta(microseconds=call["started"])).replace(minute=0, second=0, microsecond=0)
    if bucket != "hour":
        began = began.replace(hour=0)
    if bucket == "week":
        began -= timedelta(days=began.weekday())
    return began.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _wanted(asked: Asked, tenant: str = "default") -> list[Call]:
    by = asked.filter
    return [
        call
        for call in CALLS
        if call["tenant"] == tenant
        and asked.since <= call["started"] < asked.until
        and by.provider in (None, call["provider"])
        and (by.model is None or by.model in (call["model"], call["model_answered"]))
        and by.route in (None, call["route"])
        and by.caller in (None, DIMENSIONS["key"](call))
        and by.project in (None, call["project"])
        and by.user in (None, call["user_id"])
        and (not by.outcome or call["outcome"] in by.outcome)
    ]


def _grouped(asked: Asked, calls: Iterable[Call]) -> dict[Any, list[Call]]:
    groups: dict[Any, list[Call]] = {}
    for call in calls:
        told = [[(name, value) for value in _values(call, name)] for name in asked.group_by]
        for values in itertools.product(*told):
            groups.setdefault((_bucket(call, asked.bucket), values), []).append(call)
    return groups


def _values(call: Call, name: str) -> list[str | None]:
    """A call counts once under each of its tags."""
    if name != "tag":
        return [DIMENSIONS[name](call)]
    return list(dict.fromkeys(json.loads(call["tags"]))) if call["tags"] else [None]


def _failed(call: Call) -> bool:
    return (call["status"] or 0) >= 400 or call["outcome"] in FAILED


def _tokens(calls: list[Call]) -> dict[str, int]:
    parts = {part: sum(call[f"tokens_{part}"] or 0 for call in calls) for part in TOKEN_PARTS}
    return parts | {
        "input_total": sum(parts[part] for part in INPUT),
        "output_total": sum(parts[part] for part in OUTPUT),
    }


def _usage(calls: list[Call]) -> dict[str, Any]:
    estimated = [call for call in calls if call["usage_source"] == "estimated"]
    guessed = sum(call[f"tokens_{part}"] for call in estimated for part in TOKEN_PARTS)
    tokens = _tokens(calls)
    whole = tokens["input_total"] + tokens["output_total"]
    return {
        "calls": len(calls),
        "metered": sum(call["tokens_input"] is not None for call in calls),
        "estimated": len(estimated),
        "estimated_tokens": guessed,
        "estimated_share": guessed / whole if whole else None,
        "tokens": tokens,
    }


def _spent(calls: list[Call]) -> int | None:
    known: list[int] = [call["cost"] for call in calls if call["cost"] is not None]
    return None if not known and any(call["price"] == "unknown" for call in calls) else sum(known)


def _cost(calls: list[Call]) -> dict[str, Any]:
    return {
        "calls": len(calls),
        "cost_nano_usd": _spent(calls),
        "priced": sum(call["cost"] is not None for call in calls),
        "free": sum(call["price"] == "free" for call in calls),
        "unknown_price": sum(call["price"] == "unknown" for call in calls),
    }


def _rounded(value: int) -> int:
    if value < 100:
        return value
    decade: int = 10 ** (len(str(value)) - 1)
    step = decade // {"1": 50, "2": 20, "3": 20, "4": 20}.get(str(value)[0], 10)
    return value // step * step


def _distribution(values: list[int]) -> dict[str, Any]:
    ranked = sorted(values)
    found: dict[str, Any] = {"calls": len(ranked), "avg_us": sum(ranked) // len(ranked) if ranked else None}
    for percent in (50, 90, 95, 99):
        true = ranked[math.ceil(len(ranked) * percent / 100) - 1] if ranked else None
        found[f"p{percent}_us"] = None if true is None else _rounded(true)
    return found


def _latency(calls: list[Call]) -> dict[str, Any]:
    return {
        "duration": _distribution([call["duration_us"] for call in calls if call["duration_us"] is not None]),
        "first_token": _distribution([call["first_token_us"] for call in calls if call["first_token_us"] is not None]),
    }


def _errors(calls: list[Call]) -> dict[str, Any]:
    def shares(names: Iterable[str | None]) -> dict[str, Any]:
        counted = Counter(name for name in names if name is not None)
        return {name: {"calls": count, "rate": count / len(calls)} for name, count in sorted(counted.items())}

    failed = sum(map(_failed, calls))
    return {
        "calls": len(calls),
        "errors": failed,
        "error_rate": failed / len(calls) if calls else None,
        "outcomes": shares(call["outcome"] for call in calls),
        "codes": shares(call["code"] for call in calls),
        "statuses": shares(f"{call['status'] // 100}xx" if call["status"] else "none" for call in calls),
    }


RIGHT: dict[str, Callable[[list[Call]], dict[str, Any]]] = {
    "usage": _usage,
    "cost": _cost,
    "latency": _latency,
    "errors": _errors,
}
RANK: dict[str, Callable[[dict[str, Any]], Any]] = {
    "usage": lambda row: row["calls"],
    "cost": lambda row: -1 if row["cost_nano_usd"] is None else row["cost_nano_usd"],
    "latency": lambda row: row["duration"]["calls"],
    "errors": lambda row: row["errors"],
}

MOMENTS = st.integers(START - HOUR, START + SPAN + HOUR) | st.sampled_from([call["started"] for call in CALLS])
FILTERS = st.builds(
    TraceFilter,
    provider=st.none() | st.sampled_from(["openai", "nobody"]),
    model=st.none() | st.sampled_from(["gpt-4o", ""]),
    route=st.none() | st.just("openai/chat"),
    caller=st.none() | st.sampled_from(["k1", "a" * 32]),
    project=st.none() | st.just("p2"),
    user=st.none() | st.just("u1"),
    outcome=st.just(()) | st.just(("ok", "open")) | st.just(("refused",)),
)
NO_FILTER = st.just(TraceFilter())


@st.composite
def questions(draw: st.DrawFn) -> Asked:
    since, until = sorted((draw(MOMENTS), draw(MOMENTS) + 1))
    return Asked(
        since=since,
        until=until,
        filter=draw(NO_FILTER | FILTERS),
        group_by=tuple(draw(st.lists(st.sampled_from([*DIMENSIONS, "tag"]), max_size=3, unique=True))),
        bucket=draw(st.sampled_from([None, "hour", "day", "week"])),
        limit=draw(st.sampled_from([1, 7, 10_000])),
    )


@pytest.mark.parametrize("name", list(RIGHT))
@settings(max_examples=25)
@given(asked=questions(), stretch=st.sampled_from([1, 37, 50_000]))
def test_every_figure_is_that_of_the_calls(data: Path, name: str, asked: Asked, stretch: int) -> None:
    """O6."""
    if stretch == 1 and len(_wanted(asked)) > 40:
        stretch = 37  # a transaction for every call is slow
    answer = msgspec.to_builtins(_ask(data, lambda analytics: getattr(analytics, name)(asked), stretch=stretch))
    calls = _wanted(asked)
    right = RIGHT[name]
    assert {key: answer["total"].pop(key) for key in ("bucket", "group")} == {"bucket": None, "group": {}}
    assert answer["total"] == right(calls)
    expected = [
        {"bucket": bucket, "group": dict(group), **right(inside)}
        for (bucket, group), inside in _grouped(asked, calls).items()
    ]
    if name == "latency":
        expected = [row for row in expected if row["duration"]["calls"] or row["first_token"]["calls"]]
    groups = [(row["bucket"], row["group"]) for row in expected]
    assert all((row["bucket"], row["group"]) in groups for row in answer["items"])
    assert answer["truncated"] == (len(expected) > asked.limit)
    order = [(row["bucket"] or "", -RANK[name](row)) for row in answer["items"]]
    assert order == sorted((row["bucket"] or "", -RANK[name](row)) for row in expected)[: asked.limit]
    for row in answer["items"]:
        assert row in expected
    assert (answer["from"], answer["to"]) == (times.rfc3339(asked.since), times.rfc3339(asked.until))
    assert (answer["group_by"], answer["bucket"]) == (list(asked.group_by), asked.bucket)


def _use(calls: list[Call]) -> dict[str, Any]:
    failed = sum(map(_failed, calls))
    return {
        "calls": len(calls),
        "errors": failed,
        "error_rate": failed / len(calls),
        "tokens": _tokens(calls),
        "cost_nano_usd": _spent(calls),
        "unknown_price": sum(call["price"] == "unknown" for call in calls),
        "last_used": times.rfc3339(max(call["started"] for call in calls)),
    }


def _kind(call: Call) -> str:
    if call["key_id"] is not None:
        return "gateway"
    return "provider" if call["provider_key_hash"] is not None else "none"


@settings(max_examples=20)
@given(asked=questions(), stretch=st.sampled_from([37, 50_000]))
def test_models_and_keys_have_one_row_each(data: Path, asked: Asked, stretch: int) -> None:
    """O6."""
    by: dict[str, Callable[[Call], dict[str, Any]]] = {
        "models": lambda call: {"provider": call["provider"], "model": call["model"]},
        "keys": lambda call: {"key": DIMENSIONS["key"](call), "kind": _kind(call)},
    }
    for name, group in by.items():
        answer = msgspec.to_builtins(
            _ask(data, lambda analytics, name=name: getattr(analytics, name)(asked), stretch=stretch)  # type: ignore[misc]
        )
        calls = _wanted(asked)
        named = {tuple(group(call).values()): group(call) for call in calls}
        expected = [
            each | _use([call for call in calls if tuple(group(call).values()) == key]) for key, each in named.items()
        ]
        assert [row["calls"] for row in answer["items"]] == sorted((row["calls"] for row in expected), reverse=True)[
            : asked.limit
        ]
        assert all(row in expected for row in answer["items"])
        assert answer["truncated"] == (len(expected) > asked.limit)


def _head(calls: list[Call]) -> dict[str, Any]:
    tokens, took, use = _tokens(calls), _latency(calls)["duration"], _errors(calls)
    return {
        "calls": len(calls),
        "errors": use["errors"],
        "error_rate": use["error_rate"],
        "input_tokens": tokens["input_total"],
        "output_tokens": tokens["output_total"],
        "cost_nano_usd": _spent(calls),
        "unknown_price": sum(call["price"] == "unknown" for call in calls),
        **{name: took[name] for name in ("avg_us", "p50_us", "p95_us")},
    }


@settings(max_examples=20)
@given(asked=questions())
def test_a_summary_compares_with_the_window_before(data: Path, asked: Asked) -> None:
    """O6, O15."""
    answer = msgspec.to_builtins(_ask(data, lambda analytics: analytics.summary(asked), stretch=37))
    length = asked.until - asked.since
    now = _head(_wanted(asked))
    then = _head(_wanted(msgspec.structs.replace(asked, since=asked.since - length, until=asked.since)))
    assert answer["current"] == now
    assert answer["before"] == then
    for name, change in answer["change"].items():
        if then[name] and now[name] is not None:
            assert change == (now[name] - then[name]) / then[name]
        else:
            assert change is None


@settings(max_examples=30)
@given(
    asked=questions(),
    whole=st.booleans(),
    limit=st.integers(1, 60),
    offset=st.integers(0, 400) | st.just(10**9),
)
def test_a_page_of_the_log_and_the_number_of_all(
    data: Path, asked: Asked, whole: bool, limit: int, offset: int
) -> None:
    """T8."""
    wanted = msgspec.structs.replace(asked.filter, since=asked.since, until=asked.until)
    if whole:
        wanted, asked = TraceFilter(), Asked(since=0, until=2 * START)
    page = _ask(data, lambda analytics: analytics.log(wanted, limit, offset), stretch=37)
    calls = sorted(_wanted(asked), key=lambda call: str(call["call"]), reverse=True)
    assert (page.total, page.offset, page.limit) == (len(calls), offset, limit)
    assert [item.id for item in page.items] == [call["call"] for call in calls[offset : offset + limit]]
    for item, call in zip(page.items, calls[offset:], strict=False):
        metered = call["tokens_input"] is not None
        tokens = _tokens([call])
        assert item.timestamp == times.rfc3339(call["started"])
        assert item.api_key == DIMENSIONS["key"](call)
        assert (item.path, item.method, item.status_code) == ("/chat/completions", "POST", call["status"])
        assert item.latency_ms == (None if call["duration_us"] is None else call["duration_us"] / 1000)
        assert (item.request_size_bytes, item.response_size_bytes) == (1024, call["response_bytes"])
        assert (item.provider, item.model) == (call["provider"], call["model"])
        assert item.prompt_tokens == (tokens["input_total"] if metered else None)
        assert item.completion_tokens == (tokens["output_total"] if metered else None)
        assert item.cost_usd == (None if call["cost"] is None else call["cost"] / 10**9)


def test_a_periods_statistics(data: Path) -> None:
    """T9."""
    asked = Asked(since=START + SPAN // 4, until=START + SPAN // 2)
    found = msgspec.to_builtins(_ask(data, lambda analytics: analytics.stats("7d", asked.since, asked.until)))
    calls = _wanted(asked)
    tokens, took = _tokens(calls), [call["duration_us"] for call in calls if call["duration_us"] is not None]
    spent = _spent(calls)
    assert spent is not None
    violations = found.pop("violations")
    assert found == {
        "period": "7d",
        "total_requests": len(calls),
        "total_cost_usd": spent / 10**9,
        "total_tokens": {
            "prompt": tokens["input_total"],
            "completion": tokens["output_total"],
            "total": tokens["input_total"] + tokens["output_total"],
        },
        "avg_latency_ms": sum(took) // len(took) / 1000,
        "error_rate_pct": round(100 * sum(map(_failed, calls)) / len(calls), 4),
        "by_provider": Counter(call["provider"] for call in calls if call["provider"] is not None),
        "by_model": Counter(call["model"] for call in calls if call["model"] is not None),
    }
    # I7: nothing is looked for yet, so nothing is said to have been found or not.
    assert violations == {
        "total": None,
        "by_type": {"pii": None, "injection": None, "bias": None, "exfiltration": None},
        "critical": None,
        "high": None,
    }


def _everything(analytics: Analytics, asked: Asked) -> Iterator[Awaitable[Any]]:
    yield analytics.usage(asked)
    yield analytics.cost(asked)
    yield analytics.latency(asked)
    yield analytics.errors(asked)
    yield analytics.models(asked)
    yield analytics.keys(asked)
    yield analytics.summary(asked)
    yield analytics.log(TraceFilter(), 500, 0)
    yield analytics.stats("7d", asked.since, asked.until)


def test_a_tenant_sees_its_own_calls_only(place: Path) -> None:
    """I6: the other tenant's names and numbers are in no answer."""
    names = [call_id(START + n, n) for n in range(4)]
    theirs: dict[str, Any] = {"tenant": "b", "model": "SECRET", "user_id": "SECRET", "key_id": "SECRET"}
    _write(
        place,
        Batch(
            (*(decided(name, **theirs) for name in names[:3]), decided(names[3])),
            (*(concluded(name, tenant="b", code="SECRET") for name in names[:3]), concluded(names[3])),
            refused=(RefusedCount("b", "default", LANE, 1, "SECRET", "x", 77, START, START + 1),),
        ),
    )
    asked = Asked(since=START - HOUR, until=START + HOUR, group_by=("model", "user", "key"), bucket="hour")

    async def look(analytics: Analytics) -> list[bytes]:
        return [msgspec.json.encode(await each) for each in _everything(analytics, asked)]

    for answer in _ask(place, look):
        assert b"SECRET" not in answer and b"77" not in answer
    [usage, *_, logs, stats] = _ask(place, look)
    assert msgspec.json.decode(usage)["total"]["calls"] == 1
    assert msgspec.json.decode(logs)["total"] == 1
    assert msgspec.json.decode(stats)["total_requests"] == 1
    [usage, *_] = _ask(place, look, tenant="b")
    assert msgspec.json.decode(usage)["total"]["calls"] == 3
    [usage, *_] = _ask(place, look, tenant="")
    assert msgspec.json.decode(usage)["total"]["calls"] == 0


def test_an_empty_window_has_no_rates_and_no_items(place: Path) -> None:
    _write(place, Batch())
    asked = Asked(since=START, until=START + 1, group_by=("model",), bucket="day")

    async def look(analytics: Analytics) -> list[Any]:
        return [msgspec.to_builtins(await each) for each in _everything(analytics, asked)]

    usage, cost, latency, errors, models, keys, summary, logs, stats = _ask(place, look)
    assert all(answer["items"] == [] for answer in (usage, cost, latency, errors, models, keys, logs))
    assert (usage["total"]["calls"], usage["total"]["estimated_share"]) == (0, None)
    assert cost["total"]["cost_nano_usd"] == 0  # nothing was called: known to be nothing
    assert latency["total"]["duration"] == {"calls": 0} | dict.fromkeys(
        ("avg_us", "p50_us", "p90_us", "p95_us", "p99_us")
    )
    assert (errors["total"]["error_rate"], errors["refused_uncounted"]) == (None, 0)
    assert set(summary["change"].values()) == {None}
    assert (stats["total_requests"], stats["avg_latency_ms"], stats["error_rate_pct"]) == (0, None, None)


def test_an_unknown_price_is_never_zero(place: Path) -> None:
    names = [call_id(START + n, n) for n in range(3)]
    ends: list[dict[str, Any]] = [
        {"price": "unknown", "cost": None},
        {"price": "known", "cost": 5},
        {"price": "free", "cost": 0},
    ]
    asks = [{"model": "new"}, {"model": "listed"}, {"model": "gift"}]
    _write(
        place,
        Batch(
            tuple(decided(name, **ask) for name, ask in zip(names, asks, strict=True)),
            tuple(concluded(name, **end) for name, end in zip(names, ends, strict=True)),
        ),
    )
    asked = Asked(since=START, until=START + HOUR, group_by=("model",))
    cost = _ask(place, lambda analytics: analytics.cost(asked))
    assert {row.group["model"]: (row.cost_nano_usd, row.unknown_price) for row in cost.items} == {
        "listed": (5, 0),
        "gift": (0, 0),
        "new": (None, 1),
    }
    assert (cost.total.cost_nano_usd, cost.total.priced, cost.total.unknown_price) == (5, 2, 1)
    alone = msgspec.structs.replace(asked, filter=TraceFilter(model="new"))
    stats = _ask(place, lambda analytics: analytics.summary(alone))
    assert stats.current.cost_nano_usd is None
    page = _ask(place, lambda analytics: analytics.log(TraceFilter(model="new"), 1, 0))
    assert page.items[0].cost_usd is None


def test_windows_and_buckets_are_half_open(place: Path) -> None:
    """A call belongs to exactly one of two adjacent windows, and to one bucket."""
    week = 7 * 24 * HOUR
    monday = START - (START + 3 * 24 * HOUR) % week  # 2025-11-10T00:00:00Z
    moments = [monday - 1000, monday, monday + 1000, monday + HOUR - 1000, monday + HOUR, monday + week]
    names = [call_id(moment, n) for n, moment in enumerate(moments)]
    _write(place, Batch(tuple(map(decided, names)), tuple(map(concluded, names))))

    async def look(analytics: Analytics) -> list[Any]:
        halves = [
            (await analytics.usage(Asked(since=since, until=until))).total.calls
            for edge in (*moments, monday + 1, monday + 500)
            for since, until in ((0, edge), (edge, 2 * START))
        ]
        buckets = [
            [
                (row.bucket, row.calls)
                for row in (await analytics.usage(Asked(since=0, until=2 * START, bucket=bucket))).items
            ]
            for bucket in ("hour", "day", "week")
        ]
        return [halves, buckets]

    halves, (hours, days, weeks) = _ask(place, look)
    assert halves == [0, 6, 1, 5, 2, 4, 3, 3, 4, 2, 5, 1, 2, 4, 2, 4]
    assert hours == [
        ("2025-11-09T23:00:00.000000Z", 1),
        ("2025-11-10T00:00:00.000000Z", 3),
        ("2025-11-10T01:00:00.000000Z", 1),
        ("2025-11-17T00:00:00.000000Z", 1),
    ]
    assert days == [
        ("2025-11-09T00:00:00.000000Z", 1),
        ("2025-11-10T00:00:00.000000Z", 4),
        ("2025-11-17T00:00:00.000000Z", 1),
    ]
    assert weeks == [
        ("2025-11-03T00:00:00.000000Z", 1),
        ("2025-11-10T00:00:00.000000Z", 4),
        ("2025-11-17T00:00:00.000000Z", 1),
    ]


def test_counted_refusals_stand_beside_the_calls_unless_filtered(place: Path) -> None:
    """F5."""
    _write(place, Batch(refused=(RefusedCount("default", "default", LANE, 1, "X", "no key", 10, START, START),)))
    asked = Asked(since=START, until=START + 1)
    filtered = msgspec.structs.replace(asked, filter=TraceFilter(user="u1"))
    for each, counted in ((asked, 10), (filtered, None)):
        errors = _ask(place, lambda analytics, each=each: analytics.errors(each))  # type: ignore[misc]
        summary = _ask(place, lambda analytics, each=each: analytics.summary(each))  # type: ignore[misc]
        assert errors.refused_uncounted == summary.refused_uncounted == counted


def test_a_question_that_takes_too_long_is_given_up(data: Path) -> None:
    """Never half an answer."""
    asked = Asked(since=START, until=START + SPAN)
    for name in ("usage", "latency", "summary", "models"):
        with pytest.raises(TooLongError, match="shorter window"):
            _ask(data, lambda analytics, name=name: getattr(analytics, name)(asked), stretch=37, patience=-1)  # type: ignore[misc]
    with pytest.raises(TooLongError, match="shorter window"):
        _ask(data, lambda analytics: analytics.log(TraceFilter(), 1, 0), stretch=37, patience=-1)


def test_calls_told_apart_by_too_much_are_refused_before_memory_is_gone() -> None:
    """I9."""
    from_database = ((None, str(number), 1) for number in range(100_001))
    sums = Sums(("calls",))
    with pytest.raises(TooManyError, match="more than 100000 groups"):
        sums.add(from_database)
    durations = Durations()
    with pytest.raises(TooManyError, match="shorter window"):
        durations.add((None, str(number // 900), number % 900, 1, 1) for number in range(500_400))


def test_calls_collected_from_the_journal_are_counted(place: Path) -> None:
    """O2: from the record, through the collector."""
    names = [call_id(START + n * HOUR, n) for n in range(3)]

    async def run() -> None:
        worker = Worker(place / "journal")
        worker.call(names[0])
        worker.call(names[1])
        worker.call(names[2], "b")
        worker.writer.close()
        await collect(place)
        async with asking(place) as analytics:
            usage = await analytics.usage(Asked(since=START, until=START + 3 * HOUR, bucket="hour"))
            assert [row.calls for row in usage.items] == [1, 1]
            assert (usage.total.tokens.input, usage.total.tokens.output) == (200, 100)
            cost = await analytics.cost(Asked(since=START, until=START + 3 * HOUR))
            assert cost.total.cost_nano_usd == 2 * 12_345

    asyncio.run(run())
