"""Limits on the data plane: 10,000 keys, one of them used, with and without ten limits and a caller's identity."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import accounts, bodies, calls, sides, wrk
from bench.accounts import Accounts
from bench.calls import Effort
from bench.processes import LOAD_CORE, WORK_CORE, Watched, command_line, descendants, pin
from bench.report import Aim, Finding, median
from bench.sides import Origin, Side

_CONNECTIONS = 32


def limits(effort: Effort, directory: Path) -> Finding:
    """One worker that keeps them itself, and two that share them on a Valkey; each against as many without limits."""
    finding = Finding("limits", f"Ten limits, {accounts.KEYS} keys, 1 KB chat, {_CONNECTIONS} connections")
    finding.columns = ("side", "requests/s", "ratio", "p50 µs", "p99 µs", "CPU µs/request")
    with sides.upstream(directory) as origin:
        plain, limited = directory / "plain", directory / "limited"
        who = accounts.populate(plain, origin.url)
        shutil.copytree(plain, limited)
        accounts.limit(limited, who)
        for workers, least in ((1, 0.9), (2, 0.6)):
            # Each anew: two workers would first count up what one has written to the journal.
            apart = directory / str(workers)
            for data in (plain, limited):
                shutil.copytree(data, apart / data.name)
            _measure(finding, effort, origin, who, apart, workers=workers, least=least)
    return finding


def _measure(
    finding: Finding, effort: Effort, origin: Origin, who: Accounts, directory: Path, *, workers: int, least: float
) -> None:
    key = (("authorization", f"Bearer {who.key}"),)
    both = (*key, ("x-gatehouse-identity", who.identity))
    variants = [("plain", "plain", key), ("limits", "limited", key), ("limits and identity", "limited", both)]
    headers = tuple(pair for pair in bodies.CURL_HEADERS if pair[0].lower() != "authorization")
    load = wrk.Load(bodies.chat(), _CONNECTIONS, headers)
    with contextlib.ExitStack() as stack:
        serving = {
            data: stack.enter_context(_gatehouse(origin, directory / data, workers)) for data in ("plain", "limited")
        }
        targets = [replace(serving[data], name=name, headers=sent) for name, data, sent in variants]
        runs = calls.alternate(targets, load, effort, directory)
    for name, found in runs.items():
        ratio = median(ours.per_second / theirs.per_second for ours, theirs in zip(found, runs["plain"], strict=True))
        side = f"{name}, {workers} worker{'s' * (workers > 1)}"
        cpu = {process: median(run.cpu[process] for run in found) for process in found[0].cpu}
        finding.rows.append(
            (
                side,
                f"{median(run.per_second for run in found):.0f}",
                f"{ratio:.2f}",
                f"{median(run.p50 for run in found):.0f}",
                f"{median(run.p99 for run in found):.0f}",
                ", ".join(f"{process} {value:.1f}" for process, value in cpu.items()),
            )
        )
        finding.numbers[side] = {"per_second": [run.per_second for run in found], "cpu_us": cpu, "ratio": ratio}
        if name == "limits and identity":
            work = f"ten limits and identity, {workers} worker{'s' * (workers > 1)}"
            finding.aims.append(Aim(work, f"≥ {least:.1f} × without", f"{ratio:.2f} × without", ratio >= least))


@contextlib.contextmanager
def _gatehouse(origin: Origin, data: Path, workers: int) -> Iterator[Side]:
    """`gatehouse serve` with accounts: workers on the work core, all else, a Valkey too, on the load core."""
    config = data.with_suffix(".yaml")
    config.write_text(
        f"auth:\n  enabled: true\nserver:\n  workers: {workers}\n"
        f"providers:\n  openai:\n    base_url: {json.dumps(origin.url)}\n"
    )
    with sides.serving(data, config) as (child, base):
        watched: list[Watched] = []
        for pid in descendants(child.pid):
            command = command_line(pid)
            if "gatehouse.worker" in command:
                pin(pid, WORK_CORE)
                watched.append(Watched(f"worker {len(watched)}", pid))
            else:
                pin(pid, LOAD_CORE, nice=0 if "valkey" in command else 19)
        pin(child.pid, LOAD_CORE)
        # No `base`: with accounts `/health` does not tell strangers how far the collector is; all sides are alike.
        yield Side("gatehouse", base + "/openai" + origin.path, (*watched, origin.process))
