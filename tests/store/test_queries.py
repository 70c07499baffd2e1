"""What a tenant reads: filters, pages, ids, bodies."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gatehouse.store import engine, present, times
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.rows import Batch, BodyPart
from gatehouse.store.views import TracePage
from tests.store.samples import START, call_id, concluded, decided, opened, queried

T = TypeVar("T")
SECOND = 1_000_000


def _fill(directory: Path, *calls: tuple[dict[str, Any], dict[str, Any] | None], step: int = SECOND) -> list[str]:
    """Store calls a `step` apart; returns their ids, oldest first."""
    names = [call_id(START + n * step, n) for n in range(len(calls))]
    asked = tuple(decided(name, **ask) for name, (ask, _) in zip(names, calls, strict=True))
    ended = tuple(concluded(name, **end) for name, (_, end) in zip(names, calls, strict=True) if end is not None)

    async def run() -> None:
        async with opened(directory) as (writer, _):
            await writer.apply(Batch(asked, ended))

    asyncio.run(run())
    return names


def _ask(directory: Path, question: Callable[[Queries], Awaitable[T]], tenant: str = "default") -> T:
    async def run() -> T:
        async with queried(directory, tenant) as queries:
            return await question(queries)

    return asyncio.run(run())


def _ids(page: TracePage) -> list[str]:
    return [trace.id for trace in page.items]


CALLS: tuple[tuple[dict[str, Any], dict[str, Any] | None], ...] = (
    ({}, {}),
    ({"provider": "anthropic", "model": "claude", "operation": "chat"}, {"provider": None, "model_answered": "c-1"}),
    ({"route": "openai/embeddings", "operation": "embeddings"}, {"status": 429, "duration_us": 5}),
    ({"stream": True, "key_id": "k1", "user_id": "u1"}, {"outcome": "cut", "duration_us": 900_000}),
    ({"project": "p2", "trace_sent": True, "trace_id": "c" * 32}, {"project": "p2", "code": "OVERLOADED"}),
    ({}, None),
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (TraceFilter(), [5, 4, 3, 2, 1, 0]),
        (TraceFilter(provider="anthropic"), [1]),
        (TraceFilter(model="claude"), [1]),
        (TraceFilter(model="c-1"), [1]),
        (TraceFilter(operation="embeddings"), [2]),
        (TraceFilter(route="openai/embeddings"), [2]),
        (TraceFilter(status=(429, 500)), [2]),
        (TraceFilter(outcome=("cut",)), [3]),
        (TraceFilter(outcome=("cut", "open")), [5, 3]),
        (TraceFilter(code=("OVERLOADED",)), [4]),
        (TraceFilter(stream=True), [3]),
        (TraceFilter(stream=False, provider="openai", outcome=("ok",)), [4, 2, 0]),
        (TraceFilter(key="k1"), [3]),
        (TraceFilter(user="u1"), [3]),
        (TraceFilter(project="p2"), [4]),
        (TraceFilter(trace="c" * 32), [4]),
        (TraceFilter(min_latency_us=123_456), [4, 3, 1, 0]),
        (TraceFilter(since=START + SECOND), [5, 4, 3, 2, 1]),
        (TraceFilter(since=START + 1), [5, 4, 3, 2, 1]),
        (TraceFilter(until=START + SECOND), [0]),
        (TraceFilter(until=START + SECOND + 1), [1, 0]),
        (TraceFilter(since=START + SECOND, until=START + 3 * SECOND), [2, 1]),
        (TraceFilter(since=10**18), []),
        (TraceFilter(provider="' OR 1=1 --"), []),
    ],
)
def test_filters(place: Path, wanted: TraceFilter, found: list[int]) -> None:
    """O6."""
    names = _fill(place, *CALLS)
    page = _ask(place, lambda queries: queries.page(wanted, 50))
    assert _ids(page) == [names[n] for n in found]
    assert page.next_cursor is None


@pytest.mark.parametrize("wanted", [TraceFilter(), TraceFilter(provider="openai")])
def test_pages_hold_every_call_once_newest_first(place: Path, wanted: TraceFilter) -> None:
    names = _fill(place, *[({}, {})] * 25)

    async def walk(queries: Queries) -> list[str]:
        seen: list[str] = []
        cursor = None
        while True:
            page = await queries.page(wanted, 4, cursor)
            assert len(page.items) <= 4
            seen += _ids(page)
            cursor = page.next_cursor
            if cursor is None:
                return seen

    assert _ask(place, walk) == names[::-1]


def test_a_rare_call_is_found_behind_many_others(place: Path) -> None:
    """A filter looks at stretches: more calls than the first stretch holds lie before the one wanted."""
    names = _fill(place, *[({"model": "rare"}, {})], *[({}, {})] * 5_000, step=1000)
    page = _ask(place, lambda queries: queries.page(TraceFilter(model="rare"), 50))
    assert _ids(page) == names[:1]
    assert page.next_cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "not base64!", "é", present.cursor("x")[:-1] + "A", "A" * 5000])
def test_a_cursor_not_given_out_here_is_refused(place: Path, cursor: str) -> None:
    _fill(place, *CALLS)
    with pytest.raises(present.CursorError):
        _ask(place, lambda queries: queries.page(TraceFilter(), 5, cursor))


def test_a_tenant_sees_its_own_calls_only(place: Path) -> None:
    """I6: whatever is asked, another tenant's call is not there."""
    names = _fill(place, ({"tenant": "b", "trace_sent": True, "trace_id": "d" * 32}, {"tenant": "b"}), ({}, {}))
    cursor = present.cursor("ffffffff")

    async def look(queries: Queries) -> list[object]:
        return [
            _ids(await queries.page(TraceFilter(), 50, cursor)),
            getattr(await queries.last(), "id", None),
            [bool(await queries.trace(name)) for name in (*names, names[0].replace("-", ""), "d" * 32)],
            await queries.body(names[0], "request"),
        ]

    assert _ask(place, look) == [[names[1]], names[1], [False, True, False, False], None]
    assert _ask(place, look, "b") == [[names[0]], names[0], [True, False, True, True], None]
    assert _ask(place, look, "") == [[], None, [False] * 4, None]


def test_a_call_is_found_by_its_id_and_by_its_trace(place: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = {"trace_sent": True, "trace_id": trace, "parent_span": "b7ad6b7169203331"}
    names = _fill(place, (sent, {}), (sent, {}), ({}, {}))

    async def look(queries: Queries) -> list[str | None]:
        wanted = [names[0], names[0].upper(), names[2].replace("-", ""), trace.upper(), "0" * 32, "x", ""]
        return [getattr(await queries.trace(name), "id", None) for name in wanted]

    assert _ask(place, look) == [names[0], names[0], names[2], names[1], None, None, None]


def test_a_call_in_the_words_of_the_api(place: Path) -> None:
    more = '[{"provider":"openai","origin":"https://api.openai.com"},{"provider":"azure","origin":"https://x"}]'
    ask = {"candidates": more, "rewritten": '["stream_options"]', "key_id": "k1", "user_id": "u1"}
    [name] = _fill(place, (ask, {"answer_rewritten": '["usage"]', "replayed": True}))
    trace = _ask(place, lambda queries: queries.trace(name))
    assert trace is not None
    assert trace.started_at == "2025-11-13T02:13:20.000000Z"
    assert trace.ended_at == "2025-11-13T02:13:20.123456Z"
    assert [candidate["provider"] for candidate in trace.candidates] == ["openai", "azure"]
    assert (trace.rewritten, trace.answer_rewritten, trace.finish_reasons) == (["stream_options"], ["usage"], ["stop"])
    assert (trace.key, trace.user, trace.cost_nano_usd) == ("k1", "u1", 12_345)
    assert (trace.stream, trace.streamed, trace.replayed) == (False, False, True)
    assert trace.tokens is not None
    assert (trace.tokens.input_total, trace.tokens.output_total) == (100, 50)
    assert trace.decision_record is not None and trace.outcome_record is not None
    assert (trace.decision_record.seq, trace.outcome_record.seq) == (2, 3)
    assert trace.decision_record.time == "2025-11-13T02:13:20.000321Z"
    assert [span.kind for span in trace.spans] == ["SERVER", "CLIENT"]
    assert trace.spans[1].attributes["gen_ai.usage.input_tokens"] == 100


def test_a_captured_body_is_put_together_again(place: Path) -> None:
    """O3."""
    text = b'{"messages":[]}' * 1000
    packed = zlib.compress(text)
    call = call_id()

    def part(number: int, data: bytes, *, last: bool, side: str = "request") -> BodyPart:
        return BodyPart(
            "default", "default", call, side, number, last, "application/json", "gzip", len(text), False, data
        )

    async def run() -> None:
        async with opened(place) as (writer, _), queried(place) as queries:
            await writer.apply(Batch(bodies=(part(1, packed[20:], last=True),)))
            assert await queries.body(call, "request") is None  # the first piece is not there yet
            await writer.apply(Batch(bodies=(part(0, packed[:20], last=False), part(0, packed, last=True, side="x"))))
            body = await queries.body(call, "request")
            assert body is not None
            assert (body.data, body.size, body.truncated) == (text, len(text), False)
            assert (body.content_type, body.content_encoding) == ("application/json", "gzip")
            await writer.apply(Batch(bodies=(part(0, b"\0\0\0", last=True, side="response"),)))
            with pytest.raises(engine.StoreError, match="captured response"):
                await queries.body(call, "response")

    asyncio.run(run())


def test_times_are_exact_and_sort_as_text() -> None:
    assert times.rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert times.rfc3339(START + 7) == "2025-11-13T02:13:20.000007Z"
    assert times.parse(times.rfc3339(START + 7)) == START + 7
    assert times.parse("2025-11-13T03:13:20.000007+01:00") == START + 7
    assert times.of(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)) == 253_402_300_799_999_999
    assert times.of(datetime(1970, 1, 1)) == 0
    assert abs(times.now() - times.of(datetime.now(UTC))) < 60 * SECOND
