"""Workloads of large bodies: 2 MB agent requests, pictures in requests, embeddings in answers. No aims of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench import bodies, calls, wrk
from bench.calls import Effort
from bench.report import Finding, median
from bench.upstream import vectors_of

_AGENT: Final = 2_000_000
_IMAGES: Final = 4_000_000
_EMBEDDINGS: Final = 8_000_000


def agent(effort: Effort, directory: Path) -> Finding:
    """2 MB requests, 8 connections: an agent late in its day."""
    finding = Finding("agent-2mb", "2 MB agent request, 8 connections")
    return _measured(finding, wrk.Load(bodies.agent(_AGENT), 8, bodies.CURL_HEADERS), _AGENT, effort, directory)


def images(effort: Effort, directory: Path) -> Finding:
    """4 MB requests, 4 connections: nearly all of it base64."""
    finding = Finding("images", "4 MB chat with pictures as data URLs, 4 connections")
    return _measured(finding, wrk.Load(bodies.images(_IMAGES), 4, bodies.CURL_HEADERS), _IMAGES, effort, directory)


def embeddings(effort: Effort, directory: Path) -> Finding:
    """8 MB answers, 4 connections: some 430 vectors as text."""
    finding = Finding("embeddings", "8 MB embeddings answer, 4 connections")
    load = wrk.Load(bodies.embeddings(vectors_of(_EMBEDDINGS)), 4, bodies.CURL_HEADERS)
    return _measured(finding, load, _EMBEDDINGS, effort, directory, embeddings_bytes=_EMBEDDINGS)


def _measured(
    finding: Finding, load: wrk.Load, size: int, effort: Effort, directory: Path, *, embeddings_bytes: int = 0
) -> Finding:
    """`size`: bytes of the larger body of a call."""
    runs = calls.compare(finding, load, effort, directory, embeddings_bytes=embeddings_bytes)
    rates = {name: median(run.per_second for run in found) * size / 1e6 for name, found in runs.items()}
    shown = ", ".join(f"{name} {rate:.0f} MB/s" for name, rate in rates.items())
    finding.notes.append(f"gatehouse / nginx: {calls.ratio(runs):.2f} ({shown})")
    finding.numbers["ratio"] = calls.ratio(runs)
    return finding
