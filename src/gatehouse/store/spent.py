"""What has been spent on counters of limits, as far as it is collected: for whoever looks after them.

Rules: made with a `Sight`, whose tenant is in every query (I6); what narrows calls does not narrow sums of counters, so
whoever asks must know whose they are. The limits themselves do not go by this (`ledger`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store.engine import transaction
from gatehouse.store.schema import ledger
from gatehouse.store.sight import Sight

_AT_ONCE: Final = 500
"""Counters named in one SELECT."""


class Amounts(NamedTuple):
    """Of one counter in one period, nano-dollars."""

    settled: int
    reserved: int
    """By calls that have no outcome yet."""


class Spent:
    """One tenant's counters."""

    def __init__(self, engine: AsyncEngine, sight: Sight) -> None:
        self._engine = engine
        self._tenant = sight.tenant

    async def on(self, counters: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Amounts]:
        """By counter and period, what is counted there; those without a call are left out. Raises `StoreError`."""
        wanted = list(dict.fromkeys(counters))
        found: dict[tuple[str, str], Amounts] = {}
        async with transaction(self._engine, self._tenant) as connection:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                rows = await connection.execute(
                    select(ledger.c.counter, ledger.c.period, ledger.c.settled, ledger.c.reserved).where(
                        ledger.c.tenant == self._tenant,
                        ledger.c.counter.in_([counter for counter, _ in some]),
                        ledger.c.period.in_({period for _, period in some}),
                    )
                )
                found |= {(row.counter, row.period): Amounts(row.settled, max(0, row.reserved)) for row in rows}
        return {key: found[key] for key in wanted if key in found}
