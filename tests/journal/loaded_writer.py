"""A process that writes a journal under load: `python -m tests.journal.loaded_writer DIRECTORY CALLS [SEGMENT_BYTES]`.

Prints each call when its decision is on record, `!call` when it could not be, and ends when all have an outcome.
CALLS 0: for ever, a third of the calls left open.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gatehouse.config import settings
from gatehouse.errors import GatehouseError
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import decision, outcome, refusal


async def main(directory: Path, calls: int, segment_bytes: int) -> None:
    options = settings.Journal(segment_bytes=segment_bytes)
    writer = JournalWriter(directory, "worker", options, asyncio.get_running_loop())
    writer.open()
    stood: list[str] = []

    def tell(call: str) -> Callable[[GatehouseError | None], None]:
        def written(error: GatehouseError | None) -> None:
            os.write(1, f"{'!' if error else ''}{call}\n".encode())
            if error is None:
                stood.append(call)

        return written

    n = 0
    while not calls or n < calls:
        for _ in range(7):
            call = f"{os.getpid()}-{n}"
            writer.decide(f"t{n % 3}", decision(call), tell(call))
            n += 1
            if calls and n == calls:
                break
        writer.refuse("t0", refusal(f"{os.getpid()}-r{n}"), authenticated=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for call in [call for call in stood if calls or int(call.split("-")[1]) % 3]:
            writer.conclude(f"t{int(call.split('-')[1]) % 3}", outcome(call))
        stood.clear()
        if n % 70 == 0 or calls:
            writer.sweep()
    for _ in range(400):
        for call in stood:
            writer.conclude("t0", outcome(call))
        stood.clear()
        if not writer.open_calls:
            break
        writer.sweep()
        await asyncio.sleep(0.005)
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1 << 26))
