"""One run of wrk: the script it loads, and what it prints, read back."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from bench.processes import LOAD_CORE, BenchError, rss, running, spent, start
from bench.sides import Side

_SCRIPT = """\
wrk.method = "POST"
wrk.body = io.open("{body}", "rb"):read("*a")
{headers}
{delay}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"us":%d,"requests":%d,"p50":%d,"p99":%d,"max":%d,"status":%d,"socket":%d}}\\n',
    summary.duration, summary.requests, latency:percentile(50), latency:percentile(99), latency.max,
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Run:
    """One run against one side. Latencies in microseconds; CPU in microseconds a request, by process."""

    requests: int
    per_second: float
    p50: float
    p99: float
    cpu: dict[str, float]
    rss: dict[str, int]


@dataclass(frozen=True)
class Load:
    """What wrk sends, and how."""

    body: bytes
    connections: int
    headers: tuple[tuple[str, str], ...]
    pause_ms: int = 0
    """Each connection waits this long before each request: holds the rate down."""


def write_script(load: Load, directory: Path) -> Path:
    body = directory / "body.json"
    body.write_bytes(load.body)
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in load.headers)
    delay = f"function delay() return {load.pause_ms} end" if load.pause_ms else ""
    script = directory / "load.lua"
    script.write_text(_SCRIPT.format(body=body, headers=lines, delay=delay))
    return script


def command(url: str, load: Load, script: Path, seconds: float) -> list[str]:
    return ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script), url]


def run(side: Side, load: Load, seconds: float, directory: Path) -> Run:
    """Run wrk on the load core and report it together with what the side's processes spent."""
    url, watched = side.url, side.watched
    load = replace(load, headers=(*load.headers, *side.headers))
    script = write_script(load, directory)
    before = spent(watched)
    with running(start(command(url, load, script, seconds), core=LOAD_CORE)) as child:
        try:
            output, _ = child.communicate(timeout=seconds + 60)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"wrk against {url} did not end") from error
    after = spent(watched)
    found = parse(output, url)
    return Run(
        found["requests"],
        found["requests"] / found["us"] * 1e6,
        found["p50"],
        found["p99"],
        {p.name: (after[p.pid] - before[p.pid]) / found["requests"] * 1e6 for p in watched},
        {p.name: rss(p.pid) for p in watched},
    )


def parse(output: str, url: str) -> dict[str, int]:
    """The script's line. Any failed request makes a run worthless: it is an error, not a number."""
    lines = [line for line in output.splitlines() if line.startswith('{"us"')]
    if not lines:
        raise BenchError(f"wrk against {url} printed no result:\n{output[-500:]}")
    found: dict[str, int] = json.loads(lines[-1])
    if found["status"] or found["socket"] or not found["requests"]:
        faults = f"{found['status']} not 2xx, {found['socket']} socket errors"
        raise BenchError(f"wrk against {url}: {found['requests']} answers, {faults}")
    return found
