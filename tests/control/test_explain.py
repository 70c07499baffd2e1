"""O15 over a real socket: parameters, forms, and the window that is compared with."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from gatehouse.store.explain import Contribution
from gatehouse.store.rows import Batch
from gatehouse.store.statements import DIMENSIONS
from tests.control.serving import api
from tests.store.samples import START, call_id, concluded, decided, opened

ROUTE = "/api/v1/analytics/explain"
HOUR = 3_600_000_000
WINDOW = "from=2025-11-13T03:00:00Z&to=2025-11-13T04:00:00Z"
"""START is 02:13:20."""
BEFORE = [call_id(START + n * 1_000, n) for n in range(3)]
AFTER = [call_id(START + HOUR + n * 1_000, n) for n in range(4)]


@pytest.fixture(scope="module")
def data(new_place: Callable[[], Path]) -> Path:
    directory = new_place()
    models = ["a", "b", "b", "a", "a", "b", "=cmd()"]

    async def run() -> None:
        async with opened(directory) as (writer, _):
            calls = [*BEFORE, *AFTER]
            await writer.apply(
                Batch(
                    tuple(decided(call, model=model) for call, model in zip(calls, models, strict=True)),
                    tuple(concluded(call, cost=1_000 * (n + 1)) for n, call in enumerate(calls)),
                )
            )

    asyncio.run(run())
    return directory


def _get(data: Path, *queries: str) -> list[httpx2.Response]:
    async def run() -> list[httpx2.Response]:
        async with api(data) as client:
            return [await client.get(f"{ROUTE}?{query}") for query in queries]

    return asyncio.run(run())


def _models(answer: Any) -> list[tuple[str | None, str, int]]:
    items = answer["items"]
    return [(item["value"], item["state"], item["change"]) for item in items if item["dimension"] == "model"]


def test_the_hour_before_and_the_largest_contribution_first(data: Path) -> None:
    [response] = _get(data, f"metric=cost&{WINDOW}")
    answer = response.json()
    assert answer["baseline"] == {"from": "2025-11-13T02:00:00.000000Z", "to": "2025-11-13T03:00:00.000000Z"}
    assert (answer["before"]["amount"], answer["after"]["amount"], answer["change"]) == (6_000, 22_000, 16_000)
    assert (answer["metric"], answer["unit"], answer["too_many"]) == ("cost", "nano_usd", [])
    assert _models(answer) == [("a", "both", 8_000), ("=cmd()", "new", 7_000), ("b", "both", 1_000)]
    dimensions = list(dict.fromkeys(item["dimension"] for item in answer["items"]))
    assert dimensions == list(DIMENSIONS)


def test_the_rest_and_filters_and_other_baselines(data: Path) -> None:
    same, other = (quote(f"2025-11-13T0{hour}:00:00Z/2025-11-13T0{hour + 1}:00:00Z") for hour in (2, 3))
    rest, only, week, named, swapped = (
        response.json()
        for response in _get(
            data,
            f"metric=cost&{WINDOW}&limit=1",
            f"metric=errors&{WINDOW}&model=b",
            f"metric=cost&{WINDOW}&baseline=week",
            f"metric=cost&{WINDOW}&baseline={same}",
            f"metric=cost&from=2025-11-13T02:00:00Z&to=2025-11-13T03:00:00Z&baseline={other}",
        )
    )
    assert _models(rest) == [("a", "both", 8_000), (None, "rest", 8_000)]
    assert (only["before"]["calls"], only["after"]["calls"], only["after"]["error_rate"]) == (2, 1, 0.0)
    assert week["baseline"]["from"] == "2025-11-06T03:00:00.000000Z"
    assert {state for _, state, _ in _models(week)} == {"new"} and week["relative"] is None
    assert named["items"] and named["change"] == 16_000
    assert swapped["change"] == -16_000 and ("=cmd()", "vanished", -7_000) in _models(swapped)


def test_as_a_table(data: Path) -> None:
    [response] = _get(data, f"metric=cost&{WINDOW}&format=csv")
    assert response.headers["content-disposition"] == 'attachment; filename="explain.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert list(rows[0]) == list(Contribution.__struct_fields__)
    assert [row["value"] for row in rows if row["dimension"] == "model"] == ["a", "'=cmd()", "b"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "metric"),
        ("metric=money", "metric"),
        ("metric=cost&baseline=yesterday", "baseline"),
        ("metric=cost&baseline=1h/2h", "baseline"),
        ("metric=cost&baseline=24h/x", "baseline"),
        ("metric=cost&baseline=/", "baseline"),
        ("metric=cost&limit=0", "limit"),
        ("metric=cost&limit=101", "limit"),
        ("metric=cost&group_by=model", "group_by"),
        ("metric=cost&from=1h&to=2h", "from"),
        ("metric=cost&metric=errors", "metric"),
    ],
)
def test_wrong_parameters_are_named(data: Path, query: str, field: str) -> None:
    [response] = _get(data, query)
    assert response.status_code == 400
    assert [problem["field"] for problem in response.json()["errors"]] == [field]
