"""The data plane does not need the control plane: killed again and again, calls go on, and it comes back."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.load import Load
from tests.crash.processes import control_pid, kill, wait_until
from tests.crash.upstream import upstream
from tests.running import Gateway

DOWN = {"status": "unhealthy", "services": {"control": "down"}}


@pytest.mark.timeout(120)
def test_control_is_killed_and_comes_back(tmp_path: Path) -> None:
    """I8: no call fails or waits for it. A worker says `control: down`; it is started again with
    back-off; I2: what it had not collected, its next start collects."""
    data = tmp_path / "data"
    with upstream() as provider:
        config = {"providers": {"openai": {"base_url": provider.url}}, "server": {"workers": 2}}
        with (
            running.gateway(config, data=data) as house,
            Load(house.port, [kinds.PLAIN, kinds.STREAM, kinds.LARGE, *kinds.FAULTS], 8, 1) as loaded,
        ):
            workers = house.worker_pids()
            for strike in range(3):
                before = loaded.whole
                _kill_control(house)
                wait_until(lambda: loaded.whole > before + 50, 60.0, "calls go on")  # noqa: B023
                house.healthy(timeout=60.0)
                delays = [float(delay) for delay in re.findall(r"starting it again in ([0-9.]+) s", house.said())]
                assert len(delays) > strike
                assert delays == [0.1 * 2**death for death in range(len(delays))]
            _hang_for_a_while(house, loaded)
            house.healthy(timeout=60.0)
            assert house.worker_pids() == workers
            loaded.finish()
            assert house.stop() == 0
        calls = proof.read(data / "journal")
        proof.assert_decided_first(calls, provider.collect(), loaded.sent)
        proof.assert_ended_as_meant(calls, loaded.sent)
        proof.assert_verified(house)
        proof.assert_stored(data, calls)


def _kill_control(house: Gateway) -> None:
    """Kill it, and look at what a worker answers before it is back; once more if that was too quick to be seen."""
    pid = None
    deadline = time.monotonic() + 30.0
    while True:
        if (now := control_pid(house)) not in (None, pid):
            pid = now
            kill(pid)
        status, body = house.get("/health")
        if (status, json.loads(body)) == (503, DOWN):
            break
        assert time.monotonic() < deadline, (status, body)
    assert house.get("/health/ready")[0] == 200
    status, body = house.get("/api/v1/traces")
    assert status in (200, 503), body


def _hang_for_a_while(house: Gateway, loaded: Load) -> None:
    """Control hangs instead of dying: calls do not notice, and who asks for `/health` does not wait for ever."""
    pid = control_pid(house)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        enough = loaded.whole + 100
        wait_until(lambda: loaded.whole >= enough, 60.0, "calls go on beside a control plane that hangs")
        status, body = house.get("/health")
        assert (status, json.loads(body)) == (503, DOWN)
    finally:
        os.kill(pid, signal.SIGCONT)
