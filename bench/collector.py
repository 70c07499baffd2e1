"""`python -m bench.collector [--rate N] [--seconds S] [--open S]`: the control process collecting a real journal.

A writer with the worker's own journal writes calls at a steady rate, each decided and `--open` seconds later concluded,
so that both halves reach the store in different transactions. The lag is measured from outside: the writer says when it
wrote which line, the store says which line it has; the health check is not asked. Journal and store share a disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench import machine
from bench.processes import LOAD_CORE, WORK_CORE, BenchError, cpu_seconds, pin, rss, running, start, until
from bench.report import table
from gatehouse.config import settings
from gatehouse.config.leash import ControlProcess
from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir
from gatehouse.errors import GatehouseError
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.record import Candidate, Decision, Outcome
from gatehouse.model.usage import Usage

_TICK = 0.01
_SAMPLE = 0.05
_CATCH_UP = 300.0
_SERVED = Candidate("openai", "https://api.openai.com", "gpt-4o-mini")


class Writer:
    """A lane as a worker under load writes it."""

    def __init__(self, journal: Path, rate: float, open_seconds: float) -> None:
        self._writer = JournalWriter(journal, "worker", settings.Journal(), asyncio.get_running_loop())
        self._rate = rate
        self._open_seconds = open_seconds
        self._open: deque[tuple[float, str]] = deque()
        self._random = random.Random(1)

    async def run(self, seconds: float) -> None:
        """Write for so long; says on stdout which line it has come to, and when, as often as it writes."""
        self._writer.open()
        print(self._writer.lane, flush=True)
        started = time.monotonic()
        due, last, swept = 0.0, started, started
        while (now := time.monotonic()) < started + seconds:
            due = min(due + self._rate * (now - last), self._rate)
            last = now
            while due >= 1:
                due -= 1
                self._decide(now)
            while self._open and self._open[0][0] <= now:
                self._conclude(self._open.popleft()[1])
            await asyncio.sleep(0)  # the journal writes at the end of a turn
            print(self._writer.head[0], time.time_ns(), flush=True)
            if now >= swept + 0.5:
                swept = now
                self._writer.sweep()
            await asyncio.sleep(max(0.0, now + _TICK - time.monotonic()))
        for _, call in self._open:
            self._conclude(call)
        self._writer.close()
        print(self._writer.head[0], time.time_ns(), flush=True)

    def _decide(self, now: float) -> None:
        rest = self._random.getrandbits(74)
        value = (time.time_ns() // 1_000_000) << 80 | 7 << 76 | (rest >> 62) << 64 | 2 << 62 | rest & (2**62 - 1)
        call = str(uuid.UUID(int=value))
        self._writer.decide("default", _decision(call), _must_be_written)
        self._open.append((now + self._open_seconds, call))

    def _conclude(self, call: str) -> None:
        self._writer.conclude("default", _outcome(call))


def _decision(call: str) -> Decision:
    return Decision(
        call=call,
        project="default",
        method="POST",
        path="/openai/v1/chat/completions",
        path_sent="/v1/chat/completions",
        surface="transparent",
        route="openai/chat",
        dialect="openai",
        operation="chat",
        candidates=(_SERVED,),
        model="gpt-4o-mini",
        provider_key_hash="0123456789abcdef" * 2,
        user_agent="OpenAI/Python 3.52.0",
        temperature=0.2,
        request_bytes=1024,
        request_sha256="0123456789abcdef" * 4,
        price_version="2026.11.1",
        snapshot=1,
    )


def _outcome(call: str) -> Outcome:
    return Outcome(
        call=call,
        project="default",
        outcome="ok",
        status=200,
        upstream_status=200,
        served=_SERVED,
        attempts=1,
        model="gpt-4o-mini-2024-07-18",
        response_id=f"chatcmpl-{call[:29]}",
        upstream_request_id=f"req_{call}",
        finish_reasons=("stop",),
        usage=Usage(input=200, output=50),
        usage_source="provider",
        usage_check="ok",
        cost=60_000,
        price="known",
        price_id="openai/gpt-4o-mini",
        price_version="2026.11.1",
        response_bytes=900,
        response_sha256="fedcba9876543210" * 4,
        upstream_bytes=900,
        first_byte_us=400_000,
        first_token_us=400_000,
        duration_us=1_000_000,
    )


def _must_be_written(error: GatehouseError | None) -> None:
    if error is not None:
        raise BenchError(f"the journal refuses: {error.detail}")


class Progress:
    """What the writer says, read on a thread: which line it had come to when."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        self._said = child.stdout
        self.lane = self._said.readline().strip()
        self.lines: deque[tuple[int, int]] = deque()
        """Line and nanoseconds since the epoch, oldest first."""
        self.last = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def lag(self, seq: int) -> float:
        """Seconds since the first line behind `seq` was written; 0 if there is none."""
        while self.lines and self.lines[0][0] <= seq:
            self.lines.popleft()
        return (time.time_ns() - self.lines[0][1]) / 1e9 if self.lines else 0.0

    def _listen(self) -> None:
        for line in self._said:
            seq, moment = map(int, line.split())
            self.last = seq
            self.lines.append((seq, moment))


@contextlib.contextmanager
def control(data: DataDir) -> Iterator[int]:
    """The control process as the supervisor starts it, on the load's core; its pid."""
    data.create()
    data.settings.write_bytes(msgspec.json.encode(settings.Settings()))
    alive_fd, kept_fd = os.pipe()
    ready_fd, said_fd = os.pipe()
    load_fd = Loads.create(1).fd
    process = ControlProcess(
        data=data.root,
        settings=data.settings,
        alive_fd=alive_fd,
        ready_fd=said_fd,
        load_fd=load_fd,
        slots=1,
        parent=os.getpid(),
    )
    for descriptor in (alive_fd, said_fd, load_fd):
        os.set_inheritable(descriptor, True)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "gatehouse.control", *process.arguments()],
        pass_fds=(alive_fd, said_fd, load_fd),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(said_fd)
    try:
        said = os.read(ready_fd, 4096).decode().strip()
        if said != "ready":
            raise BenchError(f"control: {said}")
        pin(child.pid, LOAD_CORE)
        yield child.pid
        child.terminate()
        child.wait(20)
    finally:
        child.kill()
        child.wait()
        for descriptor in (alive_fd, kept_fd, ready_fd, load_fd):
            os.close(descriptor)


def measure(data: DataDir, rate: float, seconds: float, open_seconds: float) -> list[tuple[str, str]]:
    """One run; rows for people."""
    command = [sys.executable, "-m", "bench.collector", "--rate", str(rate), "--seconds", str(seconds)]
    with (
        control(data) as pid,
        contextlib.closing(sqlite3.connect(data.root / "store.db", isolation_level=None)) as store,
    ):
        used, began = cpu_seconds(pid), time.monotonic()
        with running(
            start([*command, "--open", str(open_seconds), "--write", str(data.journal)], core=WORK_CORE)
        ) as child:
            progress = Progress(child)

            def collected() -> int:
                row = store.execute("SELECT seq FROM lanes WHERE lane = ?", (progress.lane,)).fetchone()
                return int(row[0]) if row else 0

            lags: list[float] = []
            while child.poll() is None:
                lags.append(progress.lag(collected()))
                time.sleep(_SAMPLE)
            took = time.monotonic() - began
            if child.returncode:
                raise BenchError(f"the writer ended with {child.returncode}")
            until(lambda: collected() >= progress.last, _CATCH_UP, "collecting to the end")
        used = cpu_seconds(pid) - used
        resident = rss(pid)
        calls, spans = store.execute("SELECT (SELECT count(*) FROM traces), (SELECT count(*) FROM spans)").fetchone()
    lags.sort()
    written = sum(path.stat().st_size for path in data.journal.rglob("*.jsonl*"))
    return [
        ("calls", f"{calls:,}"),
        ("calls/s", f"{calls / took:,.0f}"),
        ("lines of the journal/s", f"{progress.last / took:,.0f}"),
        ("spans", f"{spans:,}"),
        ("lag p50", f"{_at(lags, 0.50):.3f} s"),
        ("lag p99", f"{_at(lags, 0.99):.3f} s"),
        ("lag max", f"{lags[-1]:.3f} s"),
        ("CPU per call", f"{used / calls * 1e6:.0f} µs"),
        ("CPU of one core", f"{used / took:.0%}"),
        ("RSS of control", f"{resident / 1e6:.0f} MB"),
        ("store per call", f"{(data.root / 'store.db').stat().st_size / calls:,.0f} bytes"),
        ("journal per call", f"{written / calls:,.0f} bytes"),
    ]


async def _write(journal: Path, rate: float, seconds: float, open_seconds: float) -> None:
    await Writer(journal, rate, open_seconds).run(seconds)


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.collector", description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=5000.0, help="calls a second (default 5000)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60; the aim is about 600)")
    parser.add_argument("--open", type=float, default=2.0, help="seconds from a call's decision to its outcome")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        asyncio.run(_write(options.write, options.rate, options.seconds, options.open))
        return 0
    others = machine.busy()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as directory:
        rows = measure(DataDir(Path(directory)), options.rate, options.seconds, options.open)
    rows.append(("others on this machine, before and after", f"{others:.0%}, {machine.busy():.0%}"))
    print(table((f"collector, {options.rate:,.0f} calls/s for {options.seconds:g} s", ""), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
