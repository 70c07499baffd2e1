"""Calls that spend, one limit on the total for them, and how the server has it counted."""

from __future__ import annotations

import asyncio

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.limits import SharedLimits
from tests.limits.shared.servers import Valkey, admit, bound, limit, now, reserve, state

CAP = 1000
TOTAL = limit("spend", "total", CAP, max_reserved_share=100)


def claim(key: str = "k") -> Claim:
    return Claim("t", "p", key)


def money(on: Valkey) -> tuple[int, int]:
    """Reserved and settled of `TOTAL`."""
    found = state(on)
    return int(found.get("r|tenant/t/spend/total", 0)), int(found.get("s|tenant/t/spend/total", 0))


async def holds(limits: SharedLimits, most: int) -> Claim | GatehouseError:
    call = claim()
    error = await admit(limits, call)
    error = error or await reserve(limits, call, bound(1, most))
    if isinstance(error, GatehouseError):
        limits.withdraw(call, now())
        return error
    return call


async def held(limits: SharedLimits, most: int) -> Claim:
    found = await holds(limits, most)
    assert isinstance(found, Claim), found.detail
    return found


async def passes(limits: SharedLimits, most: int) -> Claim:
    """As soon as the server can be asked again."""
    found: list[Claim] = []

    async def tries() -> None:
        while not found:
            call = await holds(limits, most)
            if isinstance(call, Claim):
                found.append(call)
            else:
                assert call.kind is errors.OVERLOADED, call.detail
                await asyncio.sleep(0.02)

    await asyncio.wait_for(tries(), 30)
    return found[0]
