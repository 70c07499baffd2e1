"""Real lanes to collect, and what a store then holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from gatehouse.collector.collect import Collector
from gatehouse.config import settings
from gatehouse.config.settings import Database
from gatehouse.errors import GatehouseError
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.record import Candidate, Decision, Outcome, Refusal
from gatehouse.model.usage import Usage
from gatehouse.store import engine
from tests.store import databases
from tests.store.samples import START, call_id, contents

OPENAI = Candidate("openai", "https://api.openai.com", "gpt-4o-mini")


def decision(call: str, **changed: Any) -> Decision:
    record = Decision(
        call=call,
        project="default",
        method="POST",
        path="/openai/v1/chat/completions",
        path_sent="/v1/chat/completions",
        surface="transparent",
        route="openai/chat",
        dialect="openai",
        operation="chat",
        candidates=(OPENAI,),
        model="gpt-4o-mini",
        request_bytes=1024,
        request_sha256="f" * 64,
        price_version="2026.11.1",
        snapshot=1,
    )
    return msgspec.structs.replace(record, **changed)


def outcome(call: str, **changed: Any) -> Outcome:
    record = Outcome(
        call=call,
        project="default",
        outcome="ok",
        status=200,
        upstream_status=200,
        served=OPENAI,
        attempts=1,
        model="gpt-4o-mini-2024-07-18",
        finish_reasons=("stop",),
        usage=Usage(input=100, output=50),
        usage_source="provider",
        usage_check="ok",
        cost=12_345,
        price="known",
        price_id="openai/gpt-4o-mini",
        response_bytes=2048,
        response_sha256="e" * 64,
        upstream_bytes=2048,
        first_byte_us=1000,
        duration_us=2000,
    )
    return msgspec.structs.replace(record, **changed)


def refusal(call: str, **changed: Any) -> Refusal:
    record = Refusal(
        call=call,
        project="default",
        outcome="refused",
        reason="no gateway key",
        code="UNAUTHORIZED",
        status=401,
        method="POST",
        path="/openai/v1/chat/completions",
        route="openai/chat",
        duration_us=150,
    )
    return msgspec.structs.replace(record, **changed)


def calls(count: int, seed: int = 0) -> list[str]:
    return [call_id(START + n * 1_000_000, seed) for n in range(count)]


class Worker:
    """A lane as a worker writes it."""

    def __init__(self, journal: Path, options: settings.Journal | None = None, role: str = "worker") -> None:
        self.writer = JournalWriter(journal, role, options or settings.Journal(), asyncio.get_running_loop())
        self.writer.open()

    def decide(self, call: str, tenant: str = "default", **changed: Any) -> None:
        self.writer.decide(tenant, decision(call, **changed), _must_be_written)

    def conclude(self, call: str, tenant: str = "default", **changed: Any) -> None:
        self.writer.conclude(tenant, outcome(call, **changed))

    def call(self, call: str, tenant: str = "default") -> None:
        self.decide(call, tenant)
        self.conclude(call, tenant)

    def die(self) -> None:
        """As kill -9 leaves it: what was written stands, the lock is free, nothing is closed."""
        self.writer.flush()
        self.writer._lane.close(clean=False)


def _must_be_written(error: GatehouseError | None) -> None:
    assert error is None


@asynccontextmanager
async def collecting(data: Path, keep_days: int = 36_500, max_bytes: int = 2**40) -> AsyncIterator[Collector]:
    """A collector, driven step by step."""
    kept = Database(keep_days=keep_days, max_bytes=max_bytes)
    collector = Collector(data / "journal", databases.url(data), kept)
    try:
        yield collector
    finally:
        await collector.aclose()


async def collect(data: Path) -> Collector:
    """Collect all there is, and sum it up, with a collector of its own."""
    async with collecting(data) as collector:
        while await collector.step() or collector.rolling:
            pass
    return collector


async def held(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the store."""
    reading = engine.reader(databases.url(data), everybody=True)
    try:
        return await contents(reading)
    finally:
        await reading.dispose()


def of_calls(stored: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """All but what is summed up, which comes when there is time for it."""
    return {table: rows for table, rows in stored.items() if not table.startswith("roll")}
