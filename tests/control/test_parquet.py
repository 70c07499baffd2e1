"""Parquet beside CSV and JSON Lines: the same rows, with types of their own, in memory that does not grow with them."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from gatehouse.control import parquet
from gatehouse.store import figures, logs, times
from gatehouse.store.explain import Contribution
from gatehouse.store.rows import Batch
from gatehouse.store.views import TraceSummary
from tests.control.serving import api
from tests.store.samples import START, call_id, concluded, decided, opened

MEDIA_TYPE = "application/vnd.apache.parquet"
COUNT = 1_234
ALL = "from=2025-11-13T00:00:00Z&to=2025-11-14T00:00:00Z"
WITHOUT = """
import sys
sys.modules["pyarrow"] = None
from gatehouse.control import parquet
from gatehouse.control.answers import InputError
from gatehouse.store.figures import CostRow
try:
    parquet.written(CostRow, None)
except InputError as error:
    print(error)
"""
GROWTH = """
import asyncio, resource, sys
import msgspec
from gatehouse.control import parquet
from gatehouse.store.views import TraceSummary

count = int(sys.argv[1])
item = msgspec.json.decode(sys.stdin.buffer.read(), type=TraceSummary)

async def pieces():
    for at in range(0, count, 500):
        yield [msgspec.structs.replace(item, id=f"{item.id}-{n}", duration_us=n) for n in range(at, at + 500)]

async def run():
    size = 0
    async for piece in parquet.written(TraceSummary, pieces()):
        size += len(piece)
    print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(run())
"""


@pytest.fixture(scope="module")
def data(new_place: Callable[[], Path]) -> Path:
    directory = new_place()
    calls = [call_id(START + n * 1_000, n) for n in range(COUNT)]
    odd = {"cost": None, "price": "unknown", "tokens_input": None, "duration_us": None, "finish_reasons": None}

    async def run() -> None:
        async with opened(directory) as (writer, _):
            await writer.apply(
                Batch(
                    tuple(
                        decided(call, candidates='[{"provider":"x"}]' if n == 7 else None)
                        for n, call in enumerate(calls)
                    ),
                    tuple(concluded(call, **(odd if n % 3 == 1 else {})) for n, call in enumerate(calls[:-1])),
                )
            )

    asyncio.run(run())
    return directory


def _get(data: Path, path: str, **headers: str) -> httpx2.Response:
    async def run() -> httpx2.Response:
        async with api(data) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(run())


def _rows(response: httpx2.Response) -> Any:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    return pyarrow.parquet.read_table(io.BytesIO(response.content))


def _plain(value: Any, wanted: Any) -> Any:
    """A value in the words of JSON Lines, where `wanted` stands in its place."""
    if isinstance(value, datetime):
        assert value.tzinfo is not None
        return times.rfc3339(times.of(value))
    if isinstance(value, dict):
        return {name: _plain(part, wanted[name]) for name, part in value.items()}
    return json.loads(value) if isinstance(value, str) and isinstance(wanted, dict | list) else value


def test_rows_are_those_of_json_lines(data: Path) -> None:
    """In order, whatever stands in them; `null` is unknown."""
    table = _rows(_get(data, "/api/v1/traces?format=parquet"))
    lines = [json.loads(line) for line in _get(data, "/api/v1/traces?format=jsonl").text.splitlines()]
    assert [_plain(row, line) for row, line in zip(table.to_pylist(), lines, strict=True)] == lines
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["started_at"], types["ended_at"]) == ("timestamp[us, tz=UTC]",) * 2
    assert (types["cost_nano_usd"], types["temperature"], types["stream"]) == ("int64", "double", "bool")
    assert types["finish_reasons"].startswith("list<") and types["candidates"] == "string"
    assert types["tokens"].startswith("struct<input: int64") and "time: timestamp[us" in types["outcome_record"]
    assert table.num_rows == COUNT


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (f"analytics/usage?{ALL}&group_by=model,key&bucket=hour", {"bucket", "group", "tokens", "estimated_share"}),
        (f"analytics/errors?{ALL}", {"bucket", "outcomes", "error_rate"}),
        (f"analytics/latency?{ALL}&group_by=size", {"group", "duration"}),
        (f"analytics/summary?{ALL}", {"from", "to", "current", "change"}),
        (f"analytics/keys?{ALL}", {"key", "last_used"}),
        (f"analytics/explain?metric=cost&{ALL}", {"dimension", "share"}),
        ("analytics/logs?limit=5", {"timestamp", "cost_usd"}),
        (f"analytics/cost?{ALL}&model=nobody", {"calls"}),
    ],
)
def test_figures(data: Path, path: str, names: set[str]) -> None:
    table = _rows(_get(data, f"/api/v1/{path}&format=parquet"))
    assert names <= set(table.column_names)
    assert (table.num_rows == 0) == ("nobody" in path)
    if "group_by=model" in path:
        assert table.to_pylist()[0]["group"] == {"model": "gpt-4o-mini", "key": "a" * 32}
        assert table.to_pylist()[0]["bucket"] == datetime(2025, 11, 13, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (MEDIA_TYPE, MEDIA_TYPE),
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/x-ndjson;q=0.9", "application/x-ndjson"),
        (f"application/json, {MEDIA_TYPE}", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ],
)
def test_what_is_accepted_names_the_form(data: Path, accept: str, media: str) -> None:
    for path in ("traces", f"analytics/usage?{ALL}", "analytics/logs"):
        assert _get(data, f"/api/v1/{path}", accept=accept).headers["content-type"] == media
    assert _get(data, "/api/v1/traces?format=json&limit=1", accept=accept).headers["content-type"] == "application/json"


def test_without_pyarrow_it_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("format: parquet needs pyarrow") and "pip install 'gatehouse[parquet]'" in done.stdout


def test_pyarrow_is_loaded_when_it_is_asked_for_only() -> None:
    program = "import sys, gatehouse.control.app, gatehouse.worker.process; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("kind", [TraceSummary, Contribution, logs.LogItem, figures.ErrorRow, figures.Summary])
def test_a_file_of_many_row_groups_and_one_of_none(kind: type[msgspec.Struct]) -> None:
    async def none() -> AsyncIterator[Sequence[msgspec.Struct]]:
        for _ in range(2):
            yield []

    async def run() -> bytes:
        return b"".join([piece async for piece in parquet.written(kind, none())])

    assert pyarrow.parquet.read_table(io.BytesIO(asyncio.run(run()))).num_rows == 0


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """I9."""

    async def write() -> None:
        async with opened(tmp_path) as (writer, _):
            await writer.apply(Batch((decided(call_id()),), (concluded(call_id()),)))

    asyncio.run(write())
    item = _get(tmp_path, "/api/v1/traces").json()["items"][0]
    sizes, peaks = [], []
    for count in (30_000, 120_000):
        command = [sys.executable, "-c", GROWTH, str(count)]
        done = subprocess.run(command, input=json.dumps(item).encode(), capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr.decode()
        size, peak = map(int, done.stdout.split())
        sizes.append(size)
        peaks.append(peak)
    assert sizes[1] > 2 * sizes[0]
    assert peaks[1] - peaks[0] < 24 * 1024, peaks  # KiB


def test_a_file_that_was_broken_off_is_none(data: Path) -> None:
    """Never ended as if it were whole."""
    item = msgspec.convert(_get(data, "/api/v1/traces?limit=1").json()["items"][0], TraceSummary)

    async def broken() -> AsyncIterator[Sequence[msgspec.Struct]]:
        for _ in range(30):
            yield [item] * 500
        raise OSError("gone")

    async def run() -> bytes:
        sent = b""
        with pytest.raises(OSError, match="gone"):
            async for piece in parquet.written(TraceSummary, broken()):
                sent += piece
        return sent

    sent = asyncio.run(run())
    assert sent.startswith(b"PAR1") and not sent.endswith(b"PAR1")
    with pytest.raises(pyarrow.ArrowInvalid):
        pyarrow.parquet.read_table(io.BytesIO(sent))


def test_who_leaves_does_not_close_what_a_thread_writes_with() -> None:
    """A file that two threads work on at a time would take the whole process down."""
    closed_while_writing: list[bool] = []
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()

    class Writer(pyarrow.parquet.ParquetWriter):  # type: ignore[misc]
        def write_table(self, *args: Any, **named: Any) -> None:
            begun.set()
            assert go_on.wait(10)
            closed_while_writing.append(not self.is_open)
            over.set()

    class Parquet:
        ParquetWriter = Writer

    async def pieces() -> AsyncIterator[Sequence[figures.CostRow]]:
        yield []

    async def run() -> None:
        columns = parquet._columns(pyarrow, figures.CostRow)
        file = parquet._written(pyarrow, Parquet, columns, pieces())
        leaving = asyncio.ensure_future(anext(file))
        await asyncio.to_thread(begun.wait, 10)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        go_on.set()
        await asyncio.to_thread(over.wait, 10)

    asyncio.run(run())
    assert closed_while_writing == [False]
