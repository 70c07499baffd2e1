"""Workloads of open streams, by SSE or on WebSockets: delay of each event against nginx, everything delivered, memory
a stream costs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import sides
from bench.calls import Effort
from bench.processes import LOAD_CORE, BenchError, cpu_seconds, rss, running, start
from bench.report import Aim, Finding, median
from bench.sides import Side
from bench.upstream import RATE

_EVENTS = 150
"""Events of one stream: five seconds, so that every run sees streams end and begin."""
_DELIVERED = 0.998
"""Of the events a second that nginx delivers in the same run, how many must arrive: the run's edges cut through some.

Between two streams of one client there is a pause, so that nobody gets the full rate.
"""


@dataclass(frozen=True)
class Watch:
    """One run of open streams against one side."""

    result: dict[str, Any]
    cpu: float
    """Share of a core the measured process used."""
    idle_rss: int
    open_rss: int

    @property
    def per_stream(self) -> float:
        """Bytes of resident memory each open stream added."""
        return (self.open_rss - self.idle_rss) / float(self.result["streams"])

    def delivered(self, by_nginx: float) -> bool:
        """Every stream whole, and as many events a second as through nginx."""
        return not self.result["bad"] and self.result["events_per_second"] >= by_nginx * _DELIVERED


def thousand(effort: Effort, directory: Path) -> Finding:
    """1,000 streams against nginx in alternation, then with a TLS upstream."""
    finding = _finding("streams", f"1,000 open streams, {RATE} events/s each")
    runs = _alternate(effort, directory)
    with _origin(directory, tls=True) as origin, _fresh(directory) as scratch, sides.gatehouse(origin, scratch) as side:
        secured = watch(side, 1000, effort.seconds)
    for name, found in runs.items():
        _row(finding, name, found)
    _row(finding, "gatehouse, TLS upstream", [secured])
    ours, theirs = (median(run.result["p50_ms"] for run in runs[name]) for name in ("gatehouse", "nginx"))
    rate = median(run.result["events_per_second"] for run in runs["nginx"])
    delivered = all(run.delivered(rate) for run in [*runs["gatehouse"], secured])
    plain = median(run.per_stream for run in runs["gatehouse"])
    work = "1,000 open streams, 30 events/s each"
    finding.aims += [
        Aim(work, "all delivered", "all" if delivered else "not all", delivered),
        Aim(work, "nginx's median delay + 0.3 ms", f"nginx {ours - theirs:+.2f} ms", ours - theirs <= 0.3),
        Aim(work, "≤ 20 KB a stream", f"{plain / 1000:.1f} KB", plain <= 20_000),
        Aim(
            work + ", TLS upstream",
            "≤ 80 KB a stream",
            f"{secured.per_stream / 1000:.1f} KB",
            secured.per_stream <= 80_000,
        ),
    ]
    return finding


def sockets(effort: Effort, directory: Path) -> Finding:
    """1,000 WebSockets against nginx in alternation, a response after the other on each."""
    finding = _finding("sockets", f"1,000 open WebSockets, {RATE} events/s each")
    runs = _alternate(effort, directory, on_sockets=True)
    for name, found in runs.items():
        _row(finding, name, found)
    ours, theirs = (median(run.result["p50_ms"] for run in runs[name]) for name in ("gatehouse", "nginx"))
    rate = median(run.result["events_per_second"] for run in runs["nginx"])
    delivered = all(run.delivered(rate) for run in runs["gatehouse"])
    work = f"1,000 open WebSockets, {RATE} events/s each"
    finding.aims += [
        Aim(work, "all delivered", "all" if delivered else "not all", delivered),
        Aim(work, "nginx's median delay + 0.3 ms", f"nginx {ours - theirs:+.2f} ms", ours - theirs <= 0.3),
    ]
    return finding


def fifteen_hundred(effort: Effort, directory: Path) -> Finding:
    """1,500 streams: 45,000 events a second through one core."""
    finding = _finding("streams-1500", f"1,500 open streams, {RATE} events/s each")
    with _origin(directory) as origin:
        with sides.nginx(origin, directory) as side:
            yardstick = watch(side, 1500, effort.seconds)
            _row(finding, "nginx", [yardstick])
        with _fresh(directory) as scratch, sides.gatehouse(origin, scratch) as side:
            run = watch(side, 1500, effort.seconds)
    _row(finding, "gatehouse", [run])
    rate = yardstick.result["events_per_second"]
    measured = f"{run.result['events_per_second']:.0f} of {rate:.0f} events/s, {sum(run.result['bad'].values())} bad"
    finding.aims.append(Aim("1,500 open streams, 30 events/s each", "all delivered", measured, run.delivered(rate)))
    return finding


def _alternate(effort: Effort, directory: Path, *, on_sockets: bool = False) -> dict[str, list[Watch]]:
    """1,000 streams directly, through nginx and through Gatehouse, in turns."""
    runs: dict[str, list[Watch]] = {"direct": [], "nginx": [], "gatehouse": []}
    for _ in range(effort.rounds):
        with _origin(directory) as found:
            origin = replace(found, path=sides.SOCKET_PATH) if on_sockets else found
            runs["direct"].append(watch(sides.direct(origin), 1000, effort.seconds))
            with sides.nginx(origin, directory) as side:
                runs["nginx"].append(watch(side, 1000, effort.seconds))
            # Each round has a gateway of its own: memory at 0 streams must not remember the round before.
            with _fresh(directory) as scratch, sides.gatehouse(origin, scratch) as side:
                runs["gatehouse"].append(watch(side, 1000, effort.seconds))
    return runs


def watch(side: Side, count: int, seconds: float) -> Watch:
    """Open the streams, and sample the measured process before and while they run."""
    command = [sys.executable, "-m", "bench.streams", side.url, "--events", str(_EVENTS)]
    command += ["--sockets"] * side.url.endswith(sides.SOCKET_PATH)
    _run([*command, "--streams", "10", "--seconds", "1", "--settle", "0.5"], 30)
    idle = rss(side.worker.pid)
    with running(start([*command, "--streams", str(count), "--seconds", f"{seconds:g}"], core=LOAD_CORE)) as child:
        assert child.stdout is not None
        if not child.stdout.readline():
            raise BenchError(f"the stream generator against {side.name} ended before its streams were open")
        before = cpu_seconds(side.worker.pid)
        try:
            child.wait(seconds + 30)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"the streams against {side.name} did not end") from error
        spent, peak = cpu_seconds(side.worker.pid) - before, rss(side.worker.pid)
        result: dict[str, Any] = json.loads(child.stdout.read())
    return Watch(result, spent / seconds, idle, peak)


def _run(command: list[str], seconds: float) -> None:
    """A few streams first, so that memory at 0 streams is that of a process that has worked."""
    with running(start(command, core=LOAD_CORE)) as child:
        child.communicate(timeout=seconds)


def _finding(name: str, title: str) -> Finding:
    columns = ("side", "events/s", "delay p50 ms", "p99 ms", "completed", "bad", "core used", "KB a stream")
    return Finding(name, title, columns)


def _row(finding: Finding, name: str, runs: list[Watch]) -> None:
    def middle(key: str) -> float:
        return median(run.result[key] for run in runs)

    bad = {what: count for run in runs for what, count in run.result["bad"].items()}
    finding.rows.append(
        (
            name,
            f"{middle('events_per_second'):.0f}",
            f"{middle('p50_ms'):.2f}",
            f"{middle('p99_ms'):.2f}",
            f"{middle('completed'):.0f}",
            json.dumps(bad) if bad else "0",
            f"{median(run.cpu for run in runs):.0%}",
            f"{median(run.per_stream for run in runs) / 1000:.1f}",
        )
    )
    finding.numbers[name] = [
        {**run.result, "cpu": run.cpu, "idle_rss": run.idle_rss, "open_rss": run.open_rss} for run in runs
    ]


@contextlib.contextmanager
def _origin(directory: Path, *, tls: bool = False) -> Iterator[sides.Origin]:
    with sides.upstream(directory, events=_EVENTS, tls=tls) as origin:
        yield origin


@contextlib.contextmanager
def _fresh(directory: Path) -> Iterator[Path]:
    """A scratch directory of its own for one gateway."""
    for number in range(1000):
        scratch = directory / f"run-{number}"
        if not scratch.exists():
            scratch.mkdir()
            yield scratch
            return
