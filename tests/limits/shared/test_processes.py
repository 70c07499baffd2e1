"""Workers in processes of their own, one of them stopped (SIGSTOP) while it holds leases, another one killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time

from gatehouse.limits.shared.rebuilding import Rebuilder
from tests.limits.shared.one_worker import CAP, RATE
from tests.limits.shared.servers import Valkey, linked, opened, state

SECONDS = 2.0


def started(on: Valkey, lane: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.limits.shared.one_worker", on.url, lane],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_i4_across_processes(on: Valkey) -> None:
    """Nothing is above a cap, and what is left over is what a killed worker held: until its lane is read."""
    asyncio.run(opened(on))
    workers = [started(on, f"lane{number}") for number in range(3)]
    said = []
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        end = time.monotonic() + SECONDS
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{end}\n")
            worker.stdin.flush()
        time.sleep(0.3)
        workers[1].send_signal(signal.SIGSTOP)
        workers[2].kill()
        time.sleep(1.1)
        workers[1].send_signal(signal.SIGCONT)
        for worker in workers[:2]:
            output, _ = worker.communicate(timeout=60)
            said.append([int(word) for word in output.split()])
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    passed, spent = (sum(column) for column in zip(*said, strict=True))
    counted, settled, reserved = (
        int(state(on)[field])
        for field in ("n|tenant/t/requests/hour", "s|tenant/t/spend/total", "r|tenant/t/spend/total")
    )
    assert 0 < passed <= counted <= RATE
    assert spent <= settled
    assert settled + reserved <= CAP
    # Both live workers have told and given back everything: the rest is the killed one's, whose lane says 0 here.
    asyncio.run(_bury(on))
    assert int(state(on)["r|tenant/t/spend/total"]) == 0


async def _bury(on: Valkey) -> None:
    settled = int(on.client().hget("gatehouse:{t}:w:lane2", "c|tenant/t/spend/total") or 0)
    async with linked(on) as link:
        assert await Rebuilder(link).bury("t", "lane2", {("t/tenant/t/spend/total", ""): settled})
