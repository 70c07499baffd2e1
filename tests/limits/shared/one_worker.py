"""A worker in a process of its own: `python -m tests.limits.shared.one_worker URL LANE`.

Once ready, it is told a time on stdin: it asks for one request and one dollar after the other until the monotonic clock
says so (seconds), gives back what the
calls did not use, and prints how many were admitted, and when the first was.
"""

from __future__ import annotations

import asyncio
import sys
import time

from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.connection import Connection, server
from gatehouse.limits.shared.limits import SharedLimits
from tests.limits.shared.servers import admit, bound, limit, now, reserve, until

RATE = 5000
CAP = 3_000_000
ENTRIES = [
    limit("requests", "hour", RATE),
    limit("concurrency", "now", 400),
    limit("spend", "total", CAP, max_reserved_share=100),
]


async def main(url: str, lane: str) -> None:
    link = Connection(server(url), timeout=20, connect_timeout=20)
    limits = SharedLimits(link, lane)
    limits.configure({entry.id: entry for entry in ENTRIES}, now())
    limits.start()
    await until(lambda: link.run)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    end = float(sys.stdin.readline())
    passed = spent = 0
    while time.monotonic() < end:
        call = Claim("t", "p", "k")
        if await admit(limits, call) is not None:
            await asyncio.sleep(0.001)
        elif isinstance(await reserve(limits, call, bound(1, 1000)), GatehouseError):
            limits.withdraw(call, now())
            passed += 1
            await asyncio.sleep(0.001)
        else:
            limits.settle(call, 1, 700, now())
            passed += 1
            spent += 700
    await limits.close()
    sys.stdout.write(f"{passed} {spent}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
