"""Workloads of short calls: throughput under 32 connections, added latency with one, 200 KB agent requests."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import bodies, peers, report, sides, wrk
from bench.report import Aim, Finding, median
from bench.sides import Side


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    quick: bool


def chat(effort: Effort, directory: Path) -> Finding:
    """1 KB requests and answers, 32 connections."""
    finding = Finding("chat", "1 KB chat, 32 connections")
    load = wrk.Load(bodies.chat(), 32, bodies.CURL_HEADERS)
    runs = compare(finding, load, effort, directory, with_peers=True)
    _throughput_aim(finding, "1 KB chat, 32 connections", 0.25, runs)
    return finding


def chat_sdk(effort: Effort, directory: Path) -> Finding:
    """The same with the fifteen headers of the OpenAI SDK: no aim, but what callers really send."""
    finding = Finding("chat-sdk", "1 KB chat, 32 connections, the headers of the OpenAI Python SDK")
    load = wrk.Load(bodies.chat(), 32, bodies.SDK_HEADERS)
    runs = compare(finding, load, effort, directory)
    finding.notes.append(f"gatehouse / nginx: {ratio(runs):.2f}")
    return finding


def agent(effort: Effort, directory: Path) -> Finding:
    """200 KB requests, 16 connections."""
    finding = Finding("agent", "200 KB agent request, 16 connections")
    load = wrk.Load(bodies.agent(), 16, bodies.CURL_HEADERS)
    runs = compare(finding, load, effort, directory)
    _throughput_aim(finding, "200 KB agent request, 16 connections", 0.30, runs)
    return finding


def latency(effort: Effort, directory: Path) -> Finding:
    """One connection: what a proxy adds to each call."""
    finding = Finding("latency", "Added latency, 1 connection")
    load = wrk.Load(bodies.chat(), 1, bodies.CURL_HEADERS)
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(sides.upstream(directory))
        targets = [sides.direct(origin), stack.enter_context(sides.nginx(origin, directory))]
        targets.append(stack.enter_context(sides.gatehouse(origin, directory)))
        runs = alternate(targets, load, effort, directory)
    base50, base99 = (median(getattr(run, which) for run in runs["direct"]) for which in ("p50", "p99"))
    finding.columns = ("side", "p50 µs", "p99 µs", "added p50 µs", "added p99 µs")
    for name, found in runs.items():
        p50, p99 = median(run.p50 for run in found), median(run.p99 for run in found)
        finding.rows.append((name, f"{p50:.0f}", f"{p99:.0f}", f"{p50 - base50:.0f}", f"{p99 - base99:.0f}"))
        finding.numbers[name] = {"p50_us": p50, "p99_us": p99}
    ours = finding.numbers["gatehouse"]
    added50, added99 = ours["p50_us"] - base50, ours["p99_us"] - base99
    finding.aims.append(
        Aim(
            "added latency, 1 connection",
            "p50 ≤ 150 µs, p99 ≤ 1 ms",
            f"p50 {added50:.0f} µs, p99 {added99:.0f} µs",
            added50 <= 150 and added99 <= 1000,
        )
    )
    return finding


def compare(
    finding: Finding,
    load: wrk.Load,
    effort: Effort,
    directory: Path,
    *,
    with_peers: bool = False,
    embeddings_bytes: int = 0,
) -> dict[str, list[wrk.Run]]:
    """nginx and Gatehouse by turns under the same load, then each peer. `embeddings_bytes`: answers are that large."""
    with contextlib.ExitStack() as stack:
        size = embeddings_bytes or 1024
        origin = stack.enter_context(sides.upstream(directory, size=size, embeddings=embeddings_bytes > 0))
        targets = [stack.enter_context(sides.nginx(origin, directory))]
        targets.append(stack.enter_context(sides.gatehouse(origin, directory)))
        runs = alternate(targets, load, effort, directory)
    if with_peers:
        for peer in peers.PEERS:
            with sides.upstream(directory) as origin, peer(origin, directory) as side:
                if isinstance(side, Side):
                    runs.update(alternate([side], load, effort, directory))
                else:
                    finding.notes.append(side)
    nginx = median(run.per_second for run in runs["nginx"])
    finding.columns = ("side", "requests/s", "ratio", "core used", "p50 µs", "p99 µs", "CPU µs/request", "RSS MB")
    for name, found in runs.items():
        per_second = median(run.per_second for run in found)
        cpu = {process: median(run.cpu[process] for run in found) for process in found[0].cpu}
        memory = {process: found[-1].rss[process] for process in found[-1].rss if process != "upstream"}
        finding.rows.append(
            (
                name,
                f"{per_second:.0f}",
                f"{per_second / nginx:.2f}",
                f"{cpu[next(iter(cpu))] * per_second / 1e6:.0%}",
                f"{median(run.p50 for run in found):.0f}",
                f"{median(run.p99 for run in found):.0f}",
                ", ".join(f"{process} {value:.1f}" for process, value in cpu.items()),
                ", ".join(f"{process} {value / 1e6:.0f}" for process, value in memory.items()),
            )
        )
        finding.numbers[name] = {"per_second": [run.per_second for run in found], "cpu_us": cpu, "rss": memory}
    return runs


def alternate(targets: Sequence[Side], load: wrk.Load, effort: Effort, directory: Path) -> dict[str, list[wrk.Run]]:
    """A, B, A, B …: a machine whose speed drifts treats all sides alike. One short run of each goes uncounted."""
    for side in targets:
        wrk.run(side, load, min(2.0, effort.seconds), directory)
        sides.settle(side)
    runs: dict[str, list[wrk.Run]] = {side.name: [] for side in targets}
    for _ in range(effort.rounds):
        for side in targets:
            runs[side.name].append(wrk.run(side, load, effort.seconds, directory))
            sides.settle(side)
    return runs


def ratio(runs: dict[str, list[wrk.Run]]) -> float:
    """Median of the ratios round by round."""
    pairs = zip(runs["gatehouse"], runs["nginx"], strict=True)
    return median(ours.per_second / theirs.per_second for ours, theirs in pairs)


def _cpu_ratio(runs: dict[str, list[wrk.Run]]) -> float:
    """The same by CPU time a call of the two measured processes, which a busy machine disturbs less."""
    pairs = zip(runs["gatehouse"], runs["nginx"], strict=True)
    return median(next(iter(theirs.cpu.values())) / next(iter(ours.cpu.values())) for ours, theirs in pairs)


def _throughput_aim(finding: Finding, work: str, least: float, runs: dict[str, list[wrk.Run]]) -> None:
    found, by_cpu = ratio(runs), _cpu_ratio(runs)
    finding.numbers |= {"ratio": found, "cpu_ratio": by_cpu}
    finding.notes.append(
        f"nginx's CPU time per call is {by_cpu:.2f} × that of the worker (less sensitive to other load)"
    )
    finding.aims.append(report.Aim(work, f"≥ {least:.2f} × nginx", f"{found:.2f} × nginx", found >= least))
