"""A tenant that fills its share of the journal with what is not collected is refused alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gatehouse.config import settings
from gatehouse.errors import GatehouseError
from gatehouse.journal.shares import MOST_STEPS, Shares
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import decision, outcome, read_lane, refusal, turn


def test_what_is_collected_counts_no_more() -> None:
    shares = Shares()
    shares.most = 100
    for seq in range(1, 11):
        shares.count("a", 10)
        shares.mark(seq)
    assert shares.over("a") and not shares.over("b") and shares.pressed
    seen = []
    for collected in (4, 10, 20):
        shares.collected(collected)
        seen.append((shares.over("a"), shares.pressed))
    assert seen == [(False, True), (False, False), (False, False)]


def test_steps_are_bounded() -> None:
    shares = Shares()
    shares.most = 1 << 40
    for seq in range(1, 3 * MOST_STEPS):
        shares.count("a", 1)
        shares.mark(seq)
    assert len(shares._steps) <= MOST_STEPS
    shares.collected(3 * MOST_STEPS)
    assert shares._held == {}


def test_the_tenant_alone_is_refused_and_its_open_calls_still_end(tmp_path: Path) -> None:
    async def run() -> str:
        writer = JournalWriter(tmp_path, "worker", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        writer.shares.most = 20_000
        said: dict[str, GatehouseError | None] = {}

        def decide(tenant: str, call: str) -> None:
            writer.decide(tenant, decision(call), lambda error: said.__setitem__(call, error))

        for number in range(100):
            decide("greedy", f"greedy-{number}")
            await turn(1)
        decide("modest", "modest-0")
        await turn(1)
        refused = [call for call, error in said.items() if error is not None]
        assert 50 < len(refused) < 100 and all(call.startswith("greedy") for call in refused)
        first = said[refused[0]]
        assert first is not None and first.kind.code == "JOURNAL_FULL"
        writer.refuse("greedy", refusal(refused[0]), authenticated=True)
        writer.conclude("greedy", outcome("greedy-0"))
        await turn(3)
        assert writer.counters.refusals_counted == 1
        writer.sweep()
        writer.shares.collected(writer.head[0])
        decide("greedy", "greedy-again")
        await turn(1)
        assert said["greedy-again"] is None
        for call, error in said.items():
            if error is None and call not in ("greedy-0", "modest-0"):
                writer.conclude("greedy", outcome(call))
        writer.conclude("modest", outcome("modest-0"))
        lane = writer.lane
        writer.close()
        return lane

    lane = asyncio.run(run())
    kinds = [line.kind for line in read_lane(tmp_path, lane)]
    assert kinds.count("decision") == kinds.count("outcome")
    assert "refused_many" in kinds
