"""Workloads over many calls: the worker's memory from call 100 k to 1 M, and the collector keeping up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from bench import bodies, sides, wrk
from bench.calls import Effort
from bench.processes import LOAD_CORE, rss, running, start
from bench.report import Aim, Finding

_RATE = 5000
"""Calls a second that the collector must keep up with."""
_CONNECTIONS = 64


def memory(effort: Effort, directory: Path) -> Finding:
    """Resident memory of an idle worker, and its growth over ten times as many calls."""
    first, last = (20_000, 200_000) if effort.quick else (100_000, 1_000_000)
    finding = Finding("memory", f"Worker memory from call {first:,} to {last:,}", ("calls", "RSS MB"))
    load = wrk.Load(bodies.chat(), 32, bodies.CURL_HEADERS)
    with sides.upstream(directory) as origin, sides.gatehouse(origin, directory) as side:
        time.sleep(1.0)
        idle = rss(side.worker.pid)
        samples = [(0, idle)]
        calls, due = 0, [first, *(last * tenth // 10 for tenth in range(2, 11))]
        while due:
            calls += wrk.run(side, load, 1.0 if effort.quick else 2.0, directory).requests
            while due and calls >= due[0]:
                samples.append((due.pop(0), rss(side.worker.pid)))
    finding.rows = [(f"{count:,}", f"{size / 1e6:.1f}") for count, size in samples]
    growth = samples[-1][1] / samples[1][1] - 1
    finding.numbers = {"samples": samples, "growth": growth}
    finding.aims += [
        Aim("worker RSS idle", "≤ 90 MB", f"{idle / 1e6:.0f} MB", idle <= 90_000_000),
        Aim(
            "worker RSS from call 100 k to 1 M",
            "≤ 5 % growth",
            f"{growth:+.1%}" + (f" ({first:,} to {last:,})" if effort.quick else ""),
            None if effort.quick and growth > 0.05 else growth <= 0.05,
        ),
    ]
    return finding


def collector(effort: Effort, directory: Path) -> Finding:
    """5,000 calls a second for ten minutes: how far the store lags behind the journal."""
    seconds = 20.0 if effort.quick else 600.0
    finding = Finding("collector", f"Collector on SQLite, {_RATE:,} calls/s for {seconds:g} s", ("figure", "value"))
    with sides.upstream(directory) as origin, sides.gatehouse(origin, directory) as side:
        base = side.url.partition("/openai")[0]
        load = _paced(side, directory)
        script = wrk.write_script(load, directory)
        lags: list[float] = []
        started = time.monotonic()
        with running(start(wrk.command(side.url, load, script, seconds), core=LOAD_CORE)) as child:
            while child.poll() is None:
                time.sleep(0.5)
                lags.append(sides.lag_seconds(base))
            assert child.stdout is not None
            found = wrk.parse(child.stdout.read(), side.url)
        rate = found["requests"] / (found["us"] / 1e6)
        caught_up = _catch_up(base)
        took = time.monotonic() - started
    ordered = sorted(lags)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    finding.rows = [
        ("calls/s", f"{rate:.0f}"),
        ("lag p50 s", f"{p50:.2f}"),
        ("lag p99 s", f"{p99:.2f}"),
        ("lag max s", f"{ordered[-1]:.2f}"),
        ("caught up after the load, s", f"{caught_up:.1f}"),
        ("whole run, s", f"{took:.0f}"),
    ]
    finding.numbers = {"rate": rate, "lag_p50": p50, "lag_p99": p99, "lag_max": ordered[-1], "caught_up": caught_up}
    enough = rate >= 0.95 * _RATE
    measured = f"lag p99 {p99:.2f} s at {rate:.0f} calls/s for {seconds:g} s"
    met = p99 <= 2.0 and enough
    finding.aims.append(
        Aim(
            "collector on SQLite",
            "10 minutes at 5 k calls/s, lag p99 ≤ 2 s",
            measured,
            None if effort.quick and met else met,
        )
    )
    return finding


def _paced(side: sides.Side, directory: Path) -> wrk.Load:
    """A load of `_RATE` calls a second: connections that pause before each call, as many as a trial says it takes."""
    pause = round(_CONNECTIONS / _RATE * 1000)
    trial = wrk.Load(bodies.chat(), _CONNECTIONS, bodies.CURL_HEADERS, pause_ms=pause)
    found = wrk.run(side, trial, 3.0, directory).per_second
    return replace(trial, connections=min(1000, round(_CONNECTIONS * _RATE / found)))


def _catch_up(base: str) -> float:
    """Seconds until the lag is gone once the load has stopped."""
    started = time.monotonic()
    while sides.lag_seconds(base) > 0.5:
        if time.monotonic() - started > 300:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - started
