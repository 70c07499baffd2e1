"""Rows to store, and what a store then holds."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine, ids, version
from gatehouse.store.queries import Queries
from gatehouse.store.rows import Concluded, Decided
from gatehouse.store.schema import metadata
from gatehouse.store.sight import Sight
from gatehouse.store.writing import StoreWriter
from tests.store import databases

START = 1_763_000_000_000_000
"""2025-11-13T02:13:20Z in microseconds."""
LANE = "019a7000-0000-7000-8000-000000000001"


_SURROGATES = {("traces", "id"), ("rollups", "position"), ("rollup_durations", "position")}
"""Columns that say in which order rows came about."""


def call_id(microseconds: int = START, seed: int = 0) -> str:
    """A UUIDv7 of that time."""
    rest = random.Random(f"{microseconds}/{seed}").getrandbits(74)
    value = (microseconds // 1000) << 80 | 7 << 76 | (rest >> 62) << 64 | 2 << 62 | rest & (2**62 - 1)
    return str(uuid.UUID(int=value))


def decided(call: str, **changed: Any) -> Decided:
    """A decision as most are."""
    began = ids.started(call) or START
    row = Decided(
        tenant="default",
        project="default",
        call=call,
        trace_id=ids.trace_id(call),
        trace_sent=False,
        parent_span=None,
        started=began,
        method="POST",
        path="/openai/v1/chat/completions",
        path_sent="/v1/chat/completions",
        surface="transparent",
        route="openai/chat",
        dialect="openai",
        operation="chat",
        model="gpt-4o-mini",
        candidates=None,
        stream=False,
        key_id=None,
        user_id=None,
        provider_key_hash="a" * 32,
        user_agent="OpenAI/Python 3.52.0",
        group_id=None,
        thread_id=None,
        run_id=None,
        parent_id=None,
        sequence=None,
        tags=None,
        loop=None,
        parent_call=None,
        max_output=256,
        temperature=0.5,
        top_p=None,
        choices=None,
        forwarded_sha256=None,
        streamed=False,
        rewritten=None,
        unread=None,
        snapshot=1,
        team=None,
        environment=None,
        service=None,
        groups=None,
        actor=None,
        skipped=None,
        decision_lane=LANE,
        decision_seq=2,
        decided=began + 321,
        provider="openai",
        origin="https://api.openai.com",
        credential=None,
        model_sent="gpt-4o-mini",
        price_version="2026.11.1",
        request_bytes=1024,
        request_sha256="f" * 64,
        job=None,
    )
    return msgspec.structs.replace(row, **changed)


def concluded(call: str, **changed: Any) -> Concluded:
    """A good end."""
    began = ids.started(call) or START
    row = Concluded(
        tenant="default",
        project="default",
        call=call,
        outcome="ok",
        status=200,
        upstream_status=200,
        code=None,
        reason=None,
        attempts=1,
        replayed=False,
        model_answered="gpt-4o-mini-2024-07-18",
        response_id="chatcmpl-1",
        upstream_request_id="req_1",
        finish_reasons='["stop"]',
        tokens_input=70,
        tokens_cache_read=20,
        tokens_cache_write=0,
        tokens_cache_write_1h=0,
        tokens_output=40,
        tokens_reasoning=10,
        tokens_audio_input=10,
        tokens_audio_output=0,
        tokens_image_input=0,
        tokens_image_output=0,
        tokens_image_cache_read=0,
        tokens_audio_cache_read=0,
        usage_source="provider",
        usage_check="ok",
        usage_note=None,
        tools=None,
        turns=None,
        cost=12_345,
        price="known",
        price_id="openai/gpt-4o-mini",
        response_bytes=2048,
        response_sha256="e" * 64,
        upstream_bytes=2048,
        connect_us=None,
        first_byte_us=100_000,
        first_token_us=100_500,
        duration_us=123_456,
        answer_rewritten=None,
        outcome_lane=LANE,
        outcome_seq=3,
        concluded=began + 123_500,
        provider="openai",
        origin="https://api.openai.com",
        credential=None,
        model_sent="gpt-4o-mini",
        price_version="2026.11.1",
        request_bytes=None,
        request_sha256=None,
        job=None,
    )
    return msgspec.structs.replace(row, **changed)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[tuple[StoreWriter, AsyncEngine]]:
    """A writer on a real store with this release's tables."""
    writing = engine.writer(databases.url(directory))
    try:
        await version.ensure(writing)
        yield StoreWriter(writing), writing
    finally:
        await writing.dispose()


@asynccontextmanager
async def queried(directory: Path, tenant: str = "default") -> AsyncIterator[Queries]:
    """A tenant's queries on the same store."""
    reading = engine.reader(databases.url(directory))
    try:
        yield Queries(reading, Sight(tenant))
    finally:
        await reading.dispose()


async def contents(reading: AsyncEngine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, without surrogate keys, in an order that does not depend on when it was written."""
    held: dict[str, list[tuple[Any, ...]]] = {}
    async with engine.transaction(reading) as connection:
        for table in metadata.sorted_tables:
            columns = [column for column in table.columns if (table.name, column.name) not in _SURROGATES]
            rows = await connection.execute(select(*columns))
            held[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return held
