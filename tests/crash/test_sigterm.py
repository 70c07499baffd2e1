"""SIGTERM under load (F7): nothing new is accepted, running answers may end within the grace time,
what outlasts it is `interrupted`, and the store has all of it when `serve` has ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.kinds import Kind
from tests.crash.load import Load
from tests.crash.processes import assert_nothing_left, can_connect, wait_until
from tests.crash.upstream import upstream

CALLS = 1000
GRACE = 6.0
BRIEF = Kind("ends within the grace", 1, stream=True, fake="slow=0.1")
ENDLESS = Kind("outlasts the grace", 1, stream=True, fake="stall=400", outcome="interrupted")


@pytest.mark.timeout(180)
def test_sigterm_under_load(tmp_path: Path) -> None:
    """F7: of at least a thousand accepted calls none is lost at shutdown, whatever it was doing."""
    data = tmp_path / "data"
    with upstream() as provider:
        config = {"providers": {"openai": {"base_url": provider.url}}, "server": {"grace_seconds": GRACE, "workers": 2}}
        with (
            running.gateway(config, data=data) as house,
            Load(house.port, [kinds.PLAIN, kinds.STREAM, kinds.LARGE], 16, 1) as steady,
            Load(house.port, [BRIEF], 16, 2) as brief,
            Load(house.port, [ENDLESS], 6, 3) as endless,
        ):
            loads = (steady, brief, endless)
            wait_until(lambda: steady.whole + brief.whole >= CALLS and brief.running, 90.0, "a thousand calls")
            began = time.monotonic()
            os.kill(house.pid, signal.SIGTERM)
            wait_until(lambda: not can_connect(house.port), GRACE - 1.0, "new connections are refused at once")
            assert house.process.poll() is None, "it ended without its grace time"
            for each in loads:
                each.stop()
            assert house.stop(timeout=60.0) == 0
            took = time.monotonic() - began
            for each in loads:
                each.finish()
            port = house.port
        assert_nothing_left(data, port)
        sent = [call for each in loads for call in each.sent]
        calls = proof.read(data / "journal")
        proof.assert_verified(house)
        proof.assert_stored(data, calls)
        proof.assert_decided_first(calls, provider.collect(), sent)
        by_request = calls.by_request()
        for call in sent:
            if call.sha256 in by_request:
                assert calls.outcome(by_request[call.sha256]) == call.kind.outcome, call
            else:
                # Its connection was closed before the request was read; no client was told anything.
                assert call.end == "unanswered", call
        assert all(call.end == "partial" for call in endless.sent[:6])
        assert calls.tally()["ok"] >= CALLS
        assert took >= GRACE - 0.5
