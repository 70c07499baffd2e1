"""Whole processes whose clock is set by hours, forward and back, under load. See docs/faults.md, "The clock".

The clock is libfaketime's (Debian: `faketime`), which the system's own programs of that name use; skipped without it.
Monotonic time goes on, as it does when a clock is set.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import running
from tests.crash import kinds, proof
from tests.crash.load import Load
from tests.crash.processes import wait_until
from tests.crash.upstream import upstream
from tests.running import Gateway

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
JUMPS = ("+5h", "-1d", "+400d")
CALLS = 30
LONGEST = 60_000_000
"""Microseconds: more than any call here can take."""

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime (apt-get install faketime)")


@pytest.mark.timeout(120)
def test_a_clock_that_jumps_under_load(tmp_path: Path) -> None:
    """Nobody's call notices; the record's order and durations hold, and store and journal agree."""
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    env = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    data = tmp_path / "data"
    with upstream() as provider:
        config = {
            "providers": {"openai": {"base_url": provider.url}},
            "journal": {"segment_bytes": 1024 * 1024, "segment_seconds": 2},
        }
        with (
            running.gateway(config, data=data, env=env) as house,
            Load(house.port, [kinds.PLAIN, kinds.STREAM, kinds.SLOW, kinds.REFUSED, *kinds.FAULTS], 3, 1) as loaded,
        ):
            for jump in JUMPS:
                served = loaded.whole
                wait_until(lambda: loaded.whole >= served + CALLS, 30.0, f"calls before {jump}")  # noqa: B023
                offset.write_text(f"{jump}\n")
                served = loaded.whole
                wait_until(lambda: loaded.whole >= served + CALLS, 30.0, f"calls after {jump}")  # noqa: B023
                wait_until(lambda: "collector" in _health(house), 30.0, "control answers")
                health = _health(house)
                assert health["collector"]["lag_seconds"] >= 0
                jumped = _seconds(jump)
                assert abs(health["clock_jump_seconds"] - jumped) < 5.0, (jump, health)
                assert any("clock was set" in warning for warning in health["warnings"])
                metrics = house.get("/metrics")[1].decode()
                shown = next(line for line in metrics.splitlines() if line.startswith("gatehouse_clock_jump_seconds "))
                assert abs(float(shown.split()[1]) - jumped) < 5.0
            loaded.finish()
            house.healthy(timeout=30.0)
            doctor = house.run("doctor")
            assert "clock was set" in doctor.stdout, doctor.stdout
            page = house.get_json("/api/v1/traces?limit=50")
            starts = [item["started_at"] for item in page["items"]]
            assert starts == sorted(starts, reverse=True)
            assert house.stop() == 0
        assert {sent.status for sent in loaded.sent if sent.kind.outcome == "ok"} <= {200, 500}
        calls = proof.read(data / "journal")
        proof.assert_decided_first(calls, provider.collect(), loaded.sent)
        proof.assert_ended_as_meant(calls, loaded.sent)
        proof.assert_stored(data, calls)
        proof.assert_verified(house)
    durations = [line.body["duration_us"] for line in calls.outcomes.values()]
    assert all(0 <= duration < LONGEST for duration in durations), (min(durations), max(durations))
    assert all(re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-7.*", call) for call in calls.outcomes)


def _health(house: Gateway) -> dict[str, Any]:
    health: dict[str, Any] = json.loads(house.get("/health")[1])
    return health


def _seconds(jump: str) -> float:
    units = {"h": 3600, "d": 86_400}
    return int(jump.rstrip("hd")) * units.get(jump[-1], 1)
