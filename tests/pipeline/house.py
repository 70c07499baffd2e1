"""A data plane in this process: the real server, front, pipeline and pools, with a journal in memory.

The journal is a sibling of the real one (`ports.Journal`): it keeps records as values and can be told to refuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import uvloop

from gatehouse.config.settings import Provider, Settings
from gatehouse.errors import GatehouseError
from gatehouse.gateway.background import KeptBackground
from gatehouse.gateway.front import Front, Management
from gatehouse.gateway.guard import Guard
from gatehouse.gateway.snapshot import build, filled, live
from gatehouse.gateway.unsealing import Unsealer
from gatehouse.http.exchange import Exchange
from gatehouse.http.server import Server
from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.model.record import Capture, Decision, Outcome, Refusal
from gatehouse.model.snapshot import Sections
from gatehouse.pipeline.answer import Relay
from gatehouse.pipeline.forward import Forwarder
from gatehouse.pipeline.limited import moment
from gatehouse.pipeline.reading import Bounds
from gatehouse.pipeline.record import Recorder
from gatehouse.pipeline.serve import Pipeline, Steps
from gatehouse.policy.none import NoRules
from gatehouse.ports import Limits, Written
from gatehouse.providers.answers import answer_headers
from gatehouse.routing.addresses import AddressRewriter
from gatehouse.routing.table import Router
from gatehouse.simulated.server import SimulatedServer
from gatehouse.upstream.connect import Connector
from gatehouse.upstream.pool import PoolLimits, Upstreams
from gatehouse.worker.process import server_limits

T = TypeVar("T")


@dataclass
class MemoryJournal:
    """Keeps what it is told. `refuse_with`: what every further decision is answered with."""

    decisions: list[Decision] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    refuse_with: GatehouseError | None = None
    hold: bool = False
    """Keep decisions waiting, as a slow disk would."""
    held: list[Written] = field(default_factory=list)

    def decide(self, tenant: str, decision: Decision, written: Written) -> None:
        if self.refuse_with is not None:
            written(self.refuse_with)
            return
        self.decisions.append(decision)
        if self.hold:
            self.held.append(written)
        else:
            asyncio.get_running_loop().call_soon(written, None)

    def conclude(self, tenant: str, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def refuse(self, tenant: str, refusal: Refusal, *, authenticated: bool) -> None:
        self.refusals.append(refusal)

    def capture(self, tenant: str, parts: Sequence[Capture]) -> None:
        self.captures.extend(parts)

    def ended(self) -> int:
        return len(self.outcomes) + len(self.refusals)


class NoManagement:
    """No control plane beside this data plane."""

    def serve(self, exchange: Exchange, path: str) -> None:
        exchange.start(404, b"", 0)
        exchange.end()


class House:
    """The running data plane. Everything on it happens on its own thread's loop; `call` runs something there."""

    def __init__(
        self,
        settings: Settings,
        sections: Sections | None = None,
        unsealer: Unsealer | None = None,
        limits: Callable[[], Limits[Claim]] = LocalLimits,
        journal: MemoryJournal | None = None,
        management: Management | None = None,
        background: Path | None = None,
    ) -> None:
        self.settings = settings
        self._make_limits = limits
        self.unsealer = unsealer
        self._plain = build(settings)
        self.snapshot = filled(self._plain, sections or Sections(), self._plain.version)
        self.journal = journal or MemoryJournal()
        self._management = management or NoManagement()
        self._own = tempfile.TemporaryDirectory()
        self._background_at = background or Path(self._own.name)
        self.port = 0
        self._loop = uvloop.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="house", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, action: Callable[[], T]) -> T:
        """Run `action` on the loop and return its result."""

        async def act() -> T:
            return action()

        return self.run(act())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def swap(self, sections: Sections) -> None:
        """Decide by these sections from the next call on."""

        def swapped() -> None:
            newer = filled(self._plain, sections, self.snapshot.version + 1)
            before = self.snapshot, self.pipeline.live
            self.pipeline.live = live(newer, self.settings, before, unsealer=self.unsealer)
            self.snapshot = newer
            self.limits.configure(newer.limits, moment())

        self.call(swapped)

    def wait(self, ended: int, seconds: float = 30.0) -> MemoryJournal:
        """The journal, once it holds so many ended calls."""
        self.until(lambda: self.journal.ended() >= ended, seconds)
        return self.journal

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.005)

    def exchange_bytes(self, data: bytes, seconds: float = 30.0) -> bytes:
        """Send raw bytes, read to the end of the connection."""
        with self.connect(seconds) as client:
            client.sendall(data)
            received = b""
            while piece := client.recv(65_536):
                received += piece
            return received

    def connect(self, seconds: float = 30.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    # -- the loop's side

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _start(self) -> None:
        settings = self.settings
        snapshot = self.snapshot
        pool = settings.pool
        self.upstreams = Upstreams(
            Connector(
                self._loop,
                dns_seconds=pool.dns_seconds,
                handshakes=pool.handshakes,
                builtins={"simulated": SimulatedServer(settings.simulated).protocol},
            ),
            PoolLimits(
                connections=pool.connections,
                waiting=pool.waiting,
                idle_seconds=pool.idle_seconds,
                post_reuse_seconds=pool.post_reuse_seconds,
            ),
        )
        guard = Guard(settings)
        limits = self.limits = self._make_limits()
        limits.configure(snapshot.limits, moment())
        kept = settings.capture.max_bytes if settings.capture.bodies else 0
        self.background = KeptBackground(self._background_at)
        self.recorder = Recorder(self.journal, limits, self.background, capture_bytes=kept)
        rewriter = AddressRewriter(snapshot.providers, settings.server.public_url, tls=False)
        self.pipeline = Pipeline(
            live(snapshot, settings, unsealer=self.unsealer),
            Bounds(settings.limits.body_bytes, settings.limits.upload_bytes, settings.limits.read_whole),
            Steps(
                limits=limits,
                policy=NoRules(),
                forwarder=Forwarder(self.upstreams, replay=pool.replay),
                relay=Relay(answer_headers(), rewriter, keep_bytes=kept),
                recorder=self.recorder,
                client=guard.client,
            ),
            b"k" * 32,
            capture=settings.capture.bodies,
        )
        front = Front(
            guard=guard,
            router=Router(snapshot.providers, unified=self.unsealer is not None),
            pipeline=self.pipeline,
            management=self._management,
            journal=self.journal,
            health=lambda: True,
        )
        self.server = Server(front, server_limits(settings), self._loop)
        listener = await self._loop.create_server(self.server.protocol, "127.0.0.1", 0)
        self.port = cast(asyncio.Server, listener).sockets[0].getsockname()[1]
        self._listener = listener
        self._sweeper = self._loop.create_task(self._sweep())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self.server.sweep()
            self.pipeline.sweep(self.server.now)
            self.upstreams.sweep(self.server.now)

    async def _stop(self) -> None:
        self._sweeper.cancel()
        self._listener.close()
        self.pipeline.interrupt()
        self.server.drain()
        for connection in tuple(self.server.connections):
            connection.close(reset=True)
        self.upstreams.close()
        await asyncio.sleep(0.05)
        await self.recorder.finish()
        await self.background.close()
        self._own.cleanup()
        if isinstance(self.limits, SharedLimits):
            await self.limits.close()


@contextlib.contextmanager
def house(
    settings: Settings,
    sections: Sections | None = None,
    unsealer: Unsealer | None = None,
    limits: Callable[[], Limits[Claim]] = LocalLimits,
    journal: MemoryJournal | None = None,
    management: Management | None = None,
    background: Path | None = None,
) -> Iterator[House]:
    """A running data plane. At its end: every decision has its one outcome, and no body is held any more."""
    made = House(settings, sections, unsealer, limits, journal, management, background)
    made._thread.start()
    assert made._started.wait(30)
    try:
        yield made
    finally:
        made._loop.call_soon_threadsafe(made._loop.stop)
        made._thread.join(30)
    decided = [decision.call for decision in made.journal.decisions]
    concluded = [outcome.call for outcome in made.journal.outcomes]
    assert sorted(decided) == sorted(concluded), "I2: every decision has exactly one outcome"
    assert not made.pipeline.running
    assert made.server.held == 0, "I9: body memory returns to nothing"


def pointing_at(url: str, **sections: Any) -> Settings:
    """Settings with every native provider at `url`."""
    provider = Provider(base_url=url)
    return Settings(
        providers={"openai": provider, "anthropic": provider, "google": provider, "azure": provider}, **sections
    )
