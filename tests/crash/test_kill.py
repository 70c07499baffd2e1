"""I2 under `kill -9` of any process at any moment: what the upstream saw is on record, once, and the store has it."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.load import Load
from tests.crash.processes import assert_nothing_left, control_pid, free_port, kill, of, wait_until
from tests.crash.upstream import upstream
from tests.running import Gateway

CLIENTS = 12
WORKERS = 2
KINDS = (kinds.PLAIN, kinds.STREAM, kinds.SLOW, kinds.LARGE, kinds.REFUSED, *kinds.FAULTS, *kinds.LEAVERS)
VICTIMS = ("worker", "control", "parent", "starting", "both")


class Crashes:
    """A gateway on one data directory and port, killed and started again."""

    def __init__(self, stack: contextlib.ExitStack, config: dict[str, Any], data: Path, seed: int) -> None:
        self.port = free_port()
        self.killed: Counter[str] = Counter()
        self._stack = stack
        self._config = config
        self._data = data
        self._random = random.Random(seed)
        self._orphans: dict[int, str] = {}
        stack.callback(self._end)
        self.house = self._start()

    def _start(self) -> Gateway:
        arguments = ("--port", str(self.port), "--workers", str(WORKERS))
        return self._stack.enter_context(running.gateway(self._config, data=self._data, arguments=arguments))

    def pause(self, most: float) -> None:
        """A random moment."""
        time.sleep(self._random.uniform(0.0, most))

    def strike(self, victim: str) -> None:
        """Kill it, once there is one."""
        self.killed[victim] += 1
        if victim in ("worker", "both"):
            workers = wait_until(self.house.worker_pids, 30.0, f"a worker runs\n{self.house.said()}")
            kill(self._random.choice(workers))
        if victim in ("control", "both"):
            found = wait_until(lambda: control_pid(self.house), 30.0, f"control runs\n{self.house.said()}")
            kill(found)
        if victim in ("parent", "starting"):
            self._kill_parent(self.house.process)
        if victim == "starting":
            self._kill_a_start()
        if victim in ("parent", "starting"):
            self.house = self._start()

    def _kill_a_start(self) -> None:
        """Start once more and kill that before it is ready, or just after."""
        process = subprocess.Popen(
            self.house.process.args,
            env={name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.pause(1.5)
        finally:
            self._kill_parent(process)

    def _kill_parent(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(10)
        # No orphan outlives it: what is there now must be gone soon. The next start does not wait for that.
        self._orphans = of(self._data)

    def assert_no_orphans(self) -> None:
        """Of the last parent that was killed."""
        old = self._orphans
        wait_until(lambda: not (old.keys() & of(self._data).keys()), 30.0, f"these end with their parent: {old}")

    def _end(self) -> None:
        """Whatever went wrong, nothing is left behind."""
        for pid in of(self._data):
            kill(pid)


def crash(data: Path, seconds: float, seed: int, durability: str) -> Counter[str]:
    """Load, kill, start again, for so long; then everything must add up. Returns the outcomes."""
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(upstream())
        config = {
            "providers": {"openai": {"base_url": provider.url}},
            "server": {"grace_seconds": 10.0},
            "journal": {"durability": durability, "segment_bytes": 1024 * 1024},  # so that segments end, too
            "capture": {"bodies": True, "max_bytes": 64 * 1024},
        }
        crashes = Crashes(stack, config, data, seed)
        loaded = stack.enter_context(Load(crashes.port, KINDS, CLIENTS, seed))
        deadline = time.monotonic() + seconds
        order = random.Random(seed)
        while True:
            for victim in order.sample(VICTIMS, len(VICTIMS)):
                before = loaded.whole
                crashes.pause(0.8)
                crashes.strike(victim)
                crashes.assert_no_orphans()
                provider.collect()
                wait_until(lambda: loaded.whole > before, 30.0, "calls are answered again")  # noqa: B023
            if time.monotonic() >= deadline:
                break
        loaded.finish()
        house = crashes.house
        wait_until(lambda: house.get("/health")[0] == 200, 60.0, f"all is well again: {house.said()}")
        assert house.stop(timeout=60.0) == 0
        assert_nothing_left(data, crashes.port)
        calls = proof.read(data / "journal")
        proof.assert_decided_first(calls, provider.collect(), loaded.sent)
        proof.assert_verified(house)
        proof.assert_stored(data, calls)
        _assert_plausible(calls, loaded, crashes)
        return calls.tally()


def _assert_plausible(calls: proof.Calls, loaded: Load, crashes: Crashes) -> None:
    """Only what was killed is `interrupted`, and what a client was told is what the record says."""
    strikes = crashes.killed.total()
    assert calls.tally()["interrupted"] <= strikes * CLIENTS, (calls.tally(), crashes.killed)
    by_request = calls.by_request()
    for sent in loaded.sent:
        if sent.end == "whole" and sent.kind != kinds.REFUSED and sent.status == 200:
            # The client had its answer; the worker may have died before it could say so.
            assert calls.outcome(by_request[sent.sha256]) in ("ok", "interrupted"), sent
            assert by_request[sent.sha256] == sent.call


@pytest.mark.timeout(180)
def test_kill_any_process_at_any_moment(tmp_path: Path) -> None:
    """I2: `kill -9` of any process at any time loses no call; nothing is recorded twice; no orphan is left."""
    outcomes = crash(tmp_path / "data", 20.0, 1, "process")
    assert outcomes["ok"] > 100
    assert outcomes["interrupted"] > 0


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("durability", ["process", "disk"])
def test_kill_any_process_at_any_moment_for_long(tmp_path: Path, durability: str) -> None:
    """As above, for GATEHOUSE_SOAK_SECONDS (600), a new seed each time."""
    seed = time.time_ns()
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    crash(tmp_path / "data", float(os.environ.get("GATEHOUSE_SOAK_SECONDS", "600")), seed, durability)
