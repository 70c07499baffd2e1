"""I2 under SIGKILL: whatever moment it strikes, what was told stands, and the chain holds."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from gatehouse.journal.verify import verify
from tests.journal.samples import calls_of, read_all
from tests.journal.test_recovery import control

ROUNDS = 4


def kill_under_load(directory: Path, segment_bytes: int, after: float) -> set[str]:
    """Run a writer for a moment, kill it, and return the calls it told us are on record."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.journal.loaded_writer", str(directory), "0", str(segment_bytes)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    out = bytearray()
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + 60
            kill_at = None
            while time.monotonic() < deadline:
                if ready.select(0.005):
                    out += os.read(child.stdout.fileno(), 1 << 16)
                    kill_at = kill_at or time.monotonic() + after
                if kill_at is not None and time.monotonic() >= kill_at:
                    break
        child.send_signal(signal.SIGKILL)
        while piece := os.read(child.stdout.fileno(), 1 << 16):
            out += piece
    finally:
        child.kill()
        child.wait(30)
        child.stdout.close()
    told = out.decode().split("\n")[:-1]
    assert not any(call.startswith("!") for call in told)
    return set(told)


@pytest.mark.parametrize("segment_bytes", [30_000, 1 << 26])
def test_what_was_told_stands_after_sigkill(tmp_path: Path, segment_bytes: int) -> None:
    """I2: every decision whose `written` ran is there; each decision has exactly one outcome after recovery."""
    rng = random.Random(segment_bytes)
    told: set[str] = set()
    for _ in range(ROUNDS):
        told |= kill_under_load(tmp_path, segment_bytes, rng.uniform(0.0, 0.3))
        report = control(tmp_path, kill=rng.random() < 0.5)
        assert report.broken == ()
        assert len(report.closed) >= 1
    control(tmp_path)
    lines = read_all(tmp_path)
    decided = calls_of(lines, "decision")
    assert len(told) > 100
    assert told <= set(decided)
    assert Counter(decided) == Counter(calls_of(lines, "outcome"))
    checked = verify(tmp_path)
    assert (checked.first_bad, checked.open_calls, checked.torn) == (None, 0, ())
