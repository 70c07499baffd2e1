"""A worker with a real subscription and a pipeline that only looks keys up: `admitting.py LOAD_FD INDEX ROOT NOTES`.

It admits calls on every key it knows of the first `KEYS`, in turns of the loop, and notes for each when it was admitted
last and how often: two words in `NOTES`, shared with the test.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from gatehouse.config.loads import Loads
from gatehouse.gateway.snapshot import live
from gatehouse.model.snapshot import Snapshot
from gatehouse.pipeline.call import Live
from gatehouse.worker.subscription import Subscription, begin
from tests.gateway.entries import SETTINGS, key

KEYS: Final = 20
CALLS: Final = 200
"""A second, on each key."""


class Admitting:
    """Calls read `state` once and decide by it, as those of the real pipeline do."""

    def __init__(self, loads: Loads, index: int, root: Path, notes: memoryview) -> None:
        begun = begin(root / "snapshot.bin", SETTINGS, loads, index)
        self._notes = notes
        self._state: tuple[Snapshot, Live] = begun.snapshot, live(begun.snapshot, SETTINGS)
        self._keys = [key(number).id for number in range(KEYS)]
        self.subscription = Subscription(
            root / "snapshot.sock", begun, self._swap, lambda version: loads.serve_by(index, version)
        )

    def _swap(self, snapshot: Snapshot, _cut: tuple[str, ...]) -> None:
        self._state = snapshot, live(snapshot, SETTINGS, self._state)

    def call(self, number: int) -> None:
        if self._keys[number] in self._state[0].keys:
            self._notes[2 * number + 1] += 1
            self._notes[2 * number] = time.monotonic_ns()


async def serve(admitting: Admitting) -> None:
    following = asyncio.create_task(admitting.subscription.follow())
    await admitting.subscription.answered(5.0)
    os.write(1, b"ready\n")
    while not following.done():
        await asyncio.sleep(1 / CALLS)
        for number in range(KEYS):
            admitting.call(number)
    following.result()


def main() -> None:
    load_fd, index = map(int, sys.argv[1:3])
    with open(sys.argv[4], "r+b") as file:
        notes = memoryview(mmap.mmap(file.fileno(), KEYS * 16)).cast("q")
    uvloop.run(serve(Admitting(Loads(load_fd, 2), index, Path(sys.argv[3]), notes)))


if __name__ == "__main__":
    main()
