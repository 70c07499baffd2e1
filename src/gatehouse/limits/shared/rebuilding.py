"""What the control plane does when the server has lost a tenant's state, or never had it, and when a worker has ended.

Rules
- The ledger is the journal. `rebuild` first fences the tenant off: of two machines one goes on, and from here no batch
  is answered. It waits until every lease has ended, reads what the journal and the store say, writes that down as a
  whole, and lets workers say what they hold (`JOIN_SECONDS`) before calls are admitted again.
- So what `read` returns must be what is on record after the fence: all lanes to their ends. What a running worker
  settles after that it says itself, in absolute numbers.
- A worker that ended keeps what its calls had reserved until its lane is read to its end: then it is buried.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import hiredis
import msgspec

from gatehouse.limits.counters import LENGTHS
from gatehouse.limits.shared.connection import Connection, Unanswered
from gatehouse.limits.shared.holdings import LEASE_US
from gatehouse.limits.shared.parts import stake_name
from gatehouse.limits.shared.scripts import REBUILD, key, packed, words
from gatehouse.limits.sliding import PARTS
from gatehouse.model.limits import Reserved, is_spend

LEASES_SECONDS: Final = LEASE_US / 1e6 + 0.25
JOIN_SECONDS: Final = 1.0
FENCE_SECONDS: Final = 60.0
"""The longest `read` may take: then the fence falls, and another machine may begin."""


class Lane(msgspec.Struct, frozen=True, gc=False):
    """What one worker's journal lane says, from its first line to its last."""

    settled: Mapping[tuple[str, str], int] = {}
    """Nano-dollars by (counter, period): all its outcomes."""
    reserved: Sequence[Reserved] = ()
    """Spend held by its decisions that have no outcome yet."""


class OnRecord(msgspec.Struct, frozen=True, gc=False):
    """What the journal and the store say of a tenant's counters."""

    settled: Mapping[tuple[str, str], int] = {}
    """Nano-dollars by (counter, period), all lanes of all machines together, whether listed below or not."""
    lanes: Mapping[str, Lane] = {}
    """By lane: the ones whose worker may still run, or that are not buried."""
    recent: Mapping[str, Sequence[tuple[int, int]]] = {}
    """By counter of requests or tokens, of all that are limited: (Unix microseconds, amount) within its window, with
    what running calls hold."""


class Rebuilder:
    """Gives the server back what it lost, for one machine.

    `quiet`: no worker can hold a lease or run a call, as at the first start on this machine alone.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        quiet: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = connection
        self._quiet = quiet
        self._sleep = sleep
        self._token = secrets.token_hex(8)

    async def lost(self, tenants: Sequence[str]) -> list[str]:
        """Those whose state is not there. Raises `Unanswered` where the server cannot be asked."""
        found = []
        for tenant in tenants:
            if (await self._run(tenant, "look", self._connection.run))[0] == "lost":
                found.append(tenant)
        return found

    async def rebuild(self, tenant: str, read: Callable[[str], Awaitable[OnRecord]]) -> bool:
        """Whether this machine rebuilt it: it was lost, and nobody else is at it.

        Raises `Unanswered` where the server went away meanwhile: then it is as lost as before, and to be tried again.
        """
        run = self._connection.run
        keep_ms = int(FENCE_SECONDS * 1000)
        if (await self._run(tenant, "fence", run, self._token, keep_ms))[0] != "fenced":
            return False
        if not self._quiet:
            await self._sleep(LEASES_SECONDS)
        record = await asyncio.wait_for(read(tenant), FENCE_SECONDS)
        join_us = 0 if self._quiet else int(JOIN_SECONDS * 1e6)
        said = await self._run(tenant, "open", run, self._token, secrets.token_hex(8), join_us, *_rows(record))
        return said[0] == "open"

    async def bury(self, tenant: str, lane: str, settled: Mapping[tuple[str, str], int]) -> bool:
        """A worker has ended and its lane is read to its end: `settled` as in `Lane`. Whether that is done.

        `False`: the state is lost; then what `rebuild` reads is to say it. May be repeated.
        """
        rows = [(stake_name(counter, period), amount) for (counter, period), amount in settled.items()]
        return (await self._run(tenant, "bury", lane, rows))[0] == "buried"

    async def _run(self, tenant: str, *argument: Any) -> tuple[str, ...]:
        if self._connection.run is None:
            raise Unanswered(self._connection.trouble)
        try:
            blob = packed(argument)
        except OverflowError as error:
            raise Unanswered(f"what is on record fits no number of the server's: {error}") from error
        try:
            return words(await REBUILD.run(self._connection, key(tenant), blob))
        except (hiredis.ReplyError, msgspec.MsgspecError) as error:
            raise Unanswered(f"the ledger's server says: {error}") from error


def _rows(record: OnRecord) -> tuple[list[Any], list[Any], list[Any]]:
    """As `rebuild.lua` reads them."""
    spends: dict[str, list[int]] = {}
    for (counter, period), amount in record.settled.items():
        spends.setdefault(stake_name(counter, period), [0, 0])[1] += amount
    lanes = []
    for lane, said in record.lanes.items():
        own: dict[str, list[int]] = {}
        for (counter, period), amount in said.settled.items():
            own.setdefault(stake_name(counter, period), [0, 0])[1] += amount
        for one in said.reserved:
            if is_spend(one.counter):
                name = stake_name(one.counter, one.period)
                own.setdefault(name, [0, 0])[0] += one.amount
                spends.setdefault(name, [0, 0])[0] += one.amount
        lanes.append((lane, [(name, *amounts) for name, amounts in own.items()]))
    rates = [_rate(counter, counted) for counter, counted in record.recent.items()]
    return [(name, *amounts) for name, amounts in spends.items()], lanes, rates


def _rate(counter: str, counted: Sequence[tuple[int, int]]) -> tuple[str, int, list[int]]:
    """By granule, each as of its end: never out of the window too early."""
    length = LENGTHS[counter.rpartition("/")[2]]
    width = length // PARTS
    sums: dict[int, int] = {}
    for at, amount in counted:
        stamp = (at // width + 1) * width - 1
        sums[stamp] = sums.get(stamp, 0) + amount
    return stake_name(counter), length, [word for stamp in sorted(sums) for word in (stamp, sums[stamp])]
