"""`python -m bench.questions [--calls N] [--data DIR] [--database URL]`: how long answers take over many calls.

Calls of the last days (`population`) are written to a journal by the worker's own writer and collected by the real
collector into a new store. Then a hundred questions, over 24 hours, 30 days and all, go through the real management API
in this process, in random order, one at a time; and pages of calls, newest to oldest; and, counted apart, what changed
from one window to the next (`explain`). `--data`: a directory that is kept; what is there already is asked, not filled
again. `--database`: an empty PostgreSQL database instead of SQLite. CPU time is that of this process: all of it with
SQLite, without the server's with PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import httpx2
from sqlalchemy.engine import URL

from bench import machine
from bench.population import Population
from bench.processes import BenchError
from bench.report import table
from gatehouse.collector.collect import Collector
from gatehouse.collector.feed import Feed
from gatehouse.collector.state import CollectorState
from gatehouse.collector.tally import Tally
from gatehouse.config import settings
from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir
from gatehouse.control import app
from gatehouse.control.health import JournalHealth, assess
from gatehouse.errors import GatehouseError
from gatehouse.journal.writer import JournalWriter
from gatehouse.store import engine, ids, present, times
from gatehouse.store.reading import Readers

_SLICE: Final = 20_000
"""Calls written before they are collected."""
_DAY: Final = 86_400_000_000
_ROUNDS: Final = 100
_WINDOWS: Final = ("24h", "30d", "all")
_BY: Final = ("provider", "model", "route", "key", "project", "user")
_APART: Final = ("traces", "logs", "explain")
"""Counted apart from the hundred."""
_HEADERS: Final = {"x-gatehouse-peer": "127.0.0.1"}


class Answered(NamedTuple):
    """One question."""

    seconds: float
    cpu: float
    path: str


def _asked() -> dict[str, list[str]]:
    """Questions by what they are about; `from` is added."""
    paths: dict[str, list[str]] = {name: [f"{name}?"] for name in ("models", "keys", "summary")}
    for name in ("usage", "cost", "latency", "errors"):
        found = [f"{name}?"]
        for number, by in enumerate(_BY):
            found += [f"{name}?group_by={by}&", f"{name}?group_by={by}&bucket={('day', 'week')[number % 2]}&"]
        found += [f"{name}?bucket={bucket}&" for bucket in ("hour", "day", "week")]
        found += [
            f"{name}?group_by=provider,model&",
            f"{name}?group_by=model&key=k0007&",
            f"{name}?user=u0042&bucket=day&",
        ]
        paths[name] = found
    return paths


async def fill(directory: Path, url: URL, calls: int, days: int) -> list[tuple[str, str]]:
    """Journal and store with so many calls; rows for people."""
    writer = JournalWriter(directory / "journal", "worker", settings.Journal(), asyncio.get_running_loop())
    writer.open()
    collector = Collector(directory / "journal", url, settings.Database(keep_days=36_500, max_bytes=2**60))
    population = Population().calls(_times(calls, days))
    collecting = used = 0.0
    for done in range(0, calls, _SLICE):
        for number, (decision, outcome) in enumerate(itertools.islice(population, _SLICE), done):
            writer.decide("default", decision, _must_be_written)
            writer.conclude("default", outcome)
            if number % 500 == 0:
                await asyncio.sleep(0)  # the journal writes at the end of a turn
        writer.flush()
        started, spent = time.monotonic(), time.process_time()
        while await collector.step():
            pass
        collecting += time.monotonic() - started
        used += time.process_time() - spent
        print(f"\r{done + _SLICE:,} calls", end="", file=sys.stderr, flush=True)
    writer.close()
    started, spent = time.monotonic(), time.process_time()
    while await collector.step() or collector.rolling:
        pass
    await collector.aclose()
    rolling, rolled = time.monotonic() - started, time.process_time() - spent
    return [
        ("collected, calls/s", f"{calls / collecting:,.0f}"),
        ("CPU per call collected, µs", f"{used / calls * 1e6:,.0f}"),
        ("summed up, calls/s", f"{calls / rolling:,.0f}"),
        ("CPU per call summed up, µs", f"{rolled / calls * 1e6:,.0f}"),
    ]


async def ask(url: URL, calls: int, days: int) -> dict[str, list[Answered]]:
    """What it took, by what was asked."""
    chance = random.Random(1)
    whole = times.rfc3339(times.now() - 400 * _DAY)
    questions = [
        (f"{name}, {window}", f"/api/v1/analytics/{path}from={whole if window == 'all' else window}")
        for name, paths in _asked().items()
        for window, path in itertools.product(_WINDOWS, paths)
    ]
    questions = chance.sample(questions, _ROUNDS - 4)
    questions += [("stats", f"/api/v1/analytics/stats?period={period}") for period in ("24h", "7d", "30d", "90d")]
    for share in range(0, 100, 5):
        below = present.cursor(ids.first_call(times.now() - days * _DAY * share // 100))
        questions.append(("traces, a page", f"/api/v1/traces?limit=50&cursor={below}"))
        offset = calls * share // 100
        questions.append(("logs, a page and its total", f"/api/v1/analytics/logs?offset={offset}"))
        questions.append(("logs of a provider", f"/api/v1/analytics/logs?provider=google&offset={offset // 6}"))
    for metric, window in itertools.product(("cost", "latency", "errors"), ("24h", "7d", "30d")):
        questions += [(f"explain {metric}, {window}", f"/api/v1/analytics/explain?metric={metric}&from={window}")] * 5
    chance.shuffle(questions)
    took: defaultdict[str, list[Answered]] = defaultdict(list)
    readers, loads = Readers(url), Loads.create(1)
    state = CollectorState(store="connected", looked=times.now())
    journal = JournalHealth(lane="", state="ok", reason=None, bytes=0, max_bytes=1, broken=[])
    health = assess("bench", state, times.now(), journal, [], warn=False)
    application = app.create(readers, lambda: health, tally=Tally(), feed=Feed(), loads=loads)
    transport = httpx2.ASGITransport(application)
    async with httpx2.AsyncClient(transport=transport, base_url="http://bench", headers=_HEADERS, timeout=60) as client:
        for name, path in [questions[0], *questions]:
            started, spent = time.monotonic(), time.process_time()
            answer = await client.get(path)
            found = Answered(time.monotonic() - started, time.process_time() - spent, path)
            if answer.status_code != 200:
                raise BenchError(f"{path}: {answer.status_code} {answer.text[:300]}")
            took[name].append(found)
    took[questions[0][0]].pop(0)  # the first of all also opens connections
    await readers.aclose()
    os.close(loads.fd)
    return took


def rows(took: dict[str, list[Answered]]) -> Iterator[tuple[str, ...]]:
    """For people."""
    analytics = [each for name, some in took.items() if not name.startswith(_APART) for each in some]
    for name, found in [*sorted(took.items()), ("all of analytics", analytics)]:
        spent = _at(sorted(each.cpu for each in found), 0.95)
        figures = [_at(sorted(each.seconds for each in found), share) for share in (0.5, 0.95, 1)]
        yield name, str(len(found)), *(f"{each * 1000:.0f}" for each in (*figures, spent)), max(found).path


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _times(calls: int, days: int) -> Iterator[int]:
    until = times.now()
    length = days * _DAY
    return (until - length + length * number // calls for number in range(calls))


def _must_be_written(error: GatehouseError | None) -> None:
    if error is not None:
        raise BenchError(f"the journal refuses: {error.detail}")


async def _run(directory: Path, calls: int, days: int, database: str | None) -> None:
    url = engine.locate(directory, database)
    facts: list[tuple[str, str]] = []
    if not DataDir(directory).journal.is_dir():
        facts = await fill(directory, url, calls, days)
    took = await ask(url, calls, days)
    print(table((f"{calls:,} calls of {days} days on {url.get_backend_name()}", ""), facts))
    print(table(("question", "asked", "p50 ms", "p95 ms", "max ms", "p95 CPU ms", "the slowest"), rows(took)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.questions", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--calls", type=int, default=200_000, help="how many (default 200000; the aim is about 5000000)"
    )
    parser.add_argument("--days", type=int, default=33, help="over how many days (default 33)")
    parser.add_argument("--database", help="an empty PostgreSQL database; default: SQLite")
    parser.add_argument("--data", type=Path, help="a directory that is kept; default: one that is removed")
    options = parser.parse_args()
    others = machine.busy()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as scratch:
        directory = Path(scratch) if options.data is None else options.data.absolute()
        asyncio.run(_run(directory, options.calls, options.days, options.database))
    print(f"others on this machine, before and after: {others:.0%}, {machine.busy():.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
