"""Calls on record: written through the real journal, as a worker writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from gatehouse.errors import GatehouseError
from gatehouse.gateway.notices import limit_notice
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.limits import LimitEvent
from gatehouse.model.record import Candidate, Decision, Outcome
from gatehouse.model.usage import Usage
from gatehouse.pipeline.ids import CallIds

OPENAI = Candidate("openai", "https://api.openai.com", "gpt-4o-mini")
NASTY = "evil\x1b]0;pwned\x07\x9b31m\u202e[bold]x[/bold]"


def decision(call: str, *, model: str = "gpt-4o-mini", provider: Candidate = OPENAI) -> Decision:
    """A chat."""
    return Decision(
        call=call,
        project="default",
        method="POST",
        path="/openai/v1/chat/completions",
        path_sent="/v1/chat/completions",
        surface="transparent",
        route="openai/chat",
        dialect="openai",
        operation="chat",
        candidates=(provider,),
        model=model,
        stream=True,
        user_agent=NASTY,
        request_bytes=1234,
        request_sha256="f" * 64,
    )


def outcome(call: str, *, cost: int | None = 123_400) -> Outcome:
    """Its good end."""
    return Outcome(
        call=call,
        project="default",
        outcome="ok",
        status=200,
        upstream_status=200,
        served=OPENAI,
        attempts=1,
        model="gpt-4o-mini-2024-07-18",
        response_id="chatcmpl-1",
        upstream_request_id="req_1",
        finish_reasons=("stop",),
        usage=Usage(input=70, cache_read=30, output=40, reasoning=10),
        usage_source="provider",
        usage_check="ok",
        cost=cost,
        price="known" if cost is not None else "unknown",
        price_id="openai/gpt-4o-mini" if cost is not None else None,
        price_version="2026.11.1",
        response_bytes=2048,
        response_sha256="e" * 64,
        first_byte_us=100_000,
        first_token_us=101_000,
        duration_us=1_234_567,
    )


def record(data: Path, calls: Sequence[tuple[Decision, Outcome]], events: Sequence[LimitEvent] = ()) -> None:
    """Append calls, and what limits have to tell, to the journal of a data directory, in a lane of their own, and end
    it as a worker does."""
    directory = DataDir(data)
    directory.create()
    asyncio.run(_write(directory, calls, events))


async def _write(directory: DataDir, calls: Sequence[tuple[Decision, Outcome]], events: Sequence[LimitEvent]) -> None:
    loop = asyncio.get_running_loop()
    writer = JournalWriter(directory.journal, "worker", Settings().journal, loop)
    writer.open()
    for made, ended in calls:
        durable: asyncio.Future[None] = loop.create_future()

        def written(error: GatehouseError | None, durable: asyncio.Future[None] = durable) -> None:
            assert error is None
            durable.set_result(None)

        writer.decide("default", made, written)
        await asyncio.wait_for(durable, 10)
        writer.conclude("default", ended)
    for event in events:
        writer.append("admin", limit_notice(event), event.tenant)
    writer.close()


def new_ids(count: int) -> list[str]:
    """Call ids of now, in order."""
    ids = CallIds()
    return sorted(ids.next() for _ in range(count))
