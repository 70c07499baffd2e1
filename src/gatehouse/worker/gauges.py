"""What a worker says of itself at each sweep (`config.loads.Gauges`).

Rules: read from counters that are there anyway; nothing here may take time that grows with the calls that run.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from gatehouse.config.descriptors import Descriptors
from gatehouse.config.loads import JOURNAL_STATES, Gauges
from gatehouse.http.server import Server
from gatehouse.journal.writer import JournalWriter
from gatehouse.pipeline.serve import Pipeline
from gatehouse.upstream.pool import Upstreams

_KEPT: Final = 30
"""Sweeps, twice a second: about as long as scrapers let pass between two looks."""


class Lateness:
    """How late recent sweeps came, which is how long the event loop was held up."""

    def __init__(self) -> None:
        self._late: deque[float] = deque([0.0], _KEPT)

    @property
    def worst(self) -> float:
        """The longest of them, in seconds."""
        return max(self._late)

    def note(self, seconds: float) -> None:
        self._late.append(max(0.0, seconds))


def gauges(
    server: Server,
    pipeline: Pipeline,
    upstreams: Upstreams,
    journal: JournalWriter,
    lateness: Lateness,
    descriptors: Descriptors,
) -> Gauges:
    """The worker as it is now."""
    idle, used, waiting = upstreams.count()
    counters = journal.counters
    return Gauges(
        swept=time.monotonic_ns(),
        late_us=round(lateness.worst * 1_000_000),
        calls=len(pipeline.running),
        streams=pipeline.streams,
        websockets=pipeline.websockets,
        connections=len(server.connections),
        idle=idle,
        used=used,
        waiting=waiting,
        body_bytes=server.held,
        journal_state=JOURNAL_STATES.index(journal.state),
        journal_queue=journal.waiting,
        journal_errors=counters.write_errors + counters.sync_errors,
        decisions_failed=counters.decisions_failed,
        refusals_counted=counters.refusals_counted,
        captures_dropped=counters.captures_dropped,
        connections_without_request=server.without_request,
        tasks=len(asyncio.all_tasks()),
        descriptors_denied=descriptors.denied,
        descriptors_denied_at=descriptors.denied_at,
    )
