"""A worker's life: start from the settings and the snapshot, accept, sweep, drain, stop.

Rules: it needs no control plane to serve, once control has told it or another before it which accounts there are, and
takes newer snapshots from it as they come. On SIGTERM it accepts nothing more, lets running answers finish for the
grace time, then interrupts the rest, each with its outcome on the record, and closes its lane.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import time
from typing import Final

import msgspec
import uvloop

from gatehouse.config import certificates, leash
from gatehouse.config.descriptors import Descriptors
from gatehouse.config.loads import SWEEP_SECONDS, Loads
from gatehouse.config.paths import DataDir, create_or_read_secret
from gatehouse.config.settings import Settings
from gatehouse.errors import ConfigError
from gatehouse.gateway.front import Front
from gatehouse.gateway.guard import Guard
from gatehouse.gateway.management import ManagementProxy
from gatehouse.gateway.snapshot import live
from gatehouse.gateway.unsealing import Unsealer
from gatehouse.http.server import Server, ServerLimits
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.call import Route
from gatehouse.model.snapshot import Snapshot
from gatehouse.pipeline.answer import Relay
from gatehouse.pipeline.forward import Forwarder
from gatehouse.pipeline.reading import Bounds
from gatehouse.pipeline.record import Recorder
from gatehouse.pipeline.serve import Pipeline, Steps
from gatehouse.policy.none import NoRules
from gatehouse.providers.answers import answer_headers
from gatehouse.routing.addresses import AddressRewriter
from gatehouse.routing.table import Router
from gatehouse.simulated.server import SimulatedServer
from gatehouse.upstream.connect import Connector
from gatehouse.upstream.pool import PoolLimits, Upstreams
from gatehouse.worker.acceptor import Acceptor
from gatehouse.worker.doorkeeper import Doorkeeper
from gatehouse.worker.gauges import Lateness, gauges
from gatehouse.worker.limits import WorkerLimits
from gatehouse.worker.noticing import Noticing
from gatehouse.worker.subscription import Subscription, begin

_GC_THRESHOLDS: Final = (20_000, 20, 20)
"""Calls leave no cycles behind: looking for some every 700 objects, as is the default, only costs."""
_LAST_WORDS_SECONDS: Final = 2.0
_UNTOLD_SECONDS: Final = 5.0
"""Control takes a moment to start, too: waiting is worth a line in the log only when it has taken this long."""
_log = logging.getLogger(__name__)


def main(process: leash.WorkerProcess) -> int:
    """Run until SIGTERM. Exit status 0, or 1 where the worker could not start."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="gatehouse worker: %(message)s")
    try:
        settings = msgspec.json.decode(process.settings.read_bytes(), type=Settings)
        certificates.check(settings)
        uvloop.run(Worker(process, settings).run())
    except (ConfigError, OSError, msgspec.MsgspecError, ssl.SSLError) as error:
        leash.say_failed(process, f"worker: {error}")
        return 1
    return 0


class Worker:
    """Wires the live objects of one process together."""

    def __init__(self, process: leash.WorkerProcess, settings: Settings) -> None:
        self._process = process
        self._settings = settings
        self._data = DataDir(process.data)
        self._loads = Loads(process.load_fd, process.slots)
        self._lateness = Lateness()
        self._descriptors = Descriptors()
        self._stopping = False
        self._stop_wanted = asyncio.Event()

    async def run(self) -> None:
        self._assemble()
        loop = asyncio.get_running_loop()
        stop = self._stop_wanted
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor's business
        following = loop.create_task(self._subscription.follow())
        following.add_done_callback(lambda ended: stop.set())
        if await self._informed(stop):
            await self._limits.restore(self._snapshot)
            self._acceptor.start()
        sweeping = loop.create_task(self._sweep())
        sweeping.add_done_callback(lambda ended: stop.set())
        self._sweep_once()  # what it says of itself stands there from the first moment
        leash.say_ready(self._process)
        # What is alive now stays: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await stop.wait()
        self._stopping = True
        await self._stop()
        if sweeping.done():
            sweeping.result()  # only a bug ends it: without it no time-out holds
        sweeping.cancel()
        if following.done():
            following.result()  # only a bug ends it: a worker that cannot hear of revocations must not go on
        following.cancel()

    async def _informed(self, stop: asyncio.Event) -> bool:
        """Whether there is something to decide by: soon, but with accounts that nobody has told it of yet. Until then
        every key would be unknown, so that this waits for control, for ever if need be; `False`: it is to `stop`."""
        if await self._subscription.answered() or not self._settings.auth.enabled or self._begun.published:
            return True
        told = asyncio.ensure_future(self._subscription.answered(None))
        ended = asyncio.ensure_future(stop.wait())
        done, _ = await asyncio.wait((told, ended), timeout=_UNTOLD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            _log.warning("nothing says which keys there are: waiting for the control plane")
            await asyncio.wait((told, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if told.done():
            return True
        told.cancel()
        return False

    # -- assembling

    def _assemble(self) -> None:
        settings = self._settings
        loop = asyncio.get_running_loop()
        begun = self._begun = begin(self._data.snapshot, settings, self._loads, self._process.index)
        snapshot = self._snapshot = begun.snapshot
        self._journal = JournalWriter(self._data.journal, "worker", settings.journal, loop)
        self._journal.open()
        self._upstreams = self._make_upstreams(snapshot)
        self._addresses = self._rewriter(snapshot)
        guard = Guard(settings)
        self._limits = WorkerLimits(settings, self._data, self._journal.lane)
        self._limits.configure(snapshot)
        self._limits.share(snapshot, self._journal)
        # Without accounts no stored credential is ever used.
        self._unsealer = Unsealer(settings.secrets, self._data, os.environ) if settings.auth.enabled else None
        self._live = live(snapshot, settings, unsealer=self._unsealer)
        self._pipeline = self._make_pipeline(guard)
        self._management = ManagementProxy(
            self._upstreams,
            str(self._data.control_socket),
            guard.client,
            self._journal_trouble,
            tls=settings.server.tls_cert is not None,
        )
        front = self._front = Front(
            guard=guard,
            router=Router(snapshot.providers, unified=settings.auth.enabled),
            pipeline=self._pipeline,
            management=self._management,
            journal=self._journal,
            health=self._ready,
        )
        bounded = server_limits(settings, self._descriptors.clients)
        self._server = Server(front, bounded, loop)
        tls = certificates.listener(settings.server)
        self._acceptor = Acceptor(
            socket.socket(fileno=self._process.listen_fd),
            self._server.protocol,
            lambda: len(self._server.connections),
            self._loads,
            self._process.index,
            tls,
            Doorkeeper(self._descriptors, self._server.refusal, None if tls is None else bounded.connections),
        )
        self._subscription = Subscription(
            self._data.snapshot_socket,
            begun,
            self._swap,
            lambda version: self._loads.serve_by(self._process.index, version),
        )

    def _make_pipeline(self, guard: Guard) -> Pipeline:
        settings = self._settings
        captured = settings.capture.max_bytes if settings.capture.bodies else 0
        self._background = self._limits.background()
        self._recorder = Recorder(self._journal, self._limits.limits, self._background, capture_bytes=captured)
        relay = Relay(answer_headers(), self._rewrite_address, keep_bytes=captured)
        self._noticing = Noticing(self._journal, self._limits.limits, relay.rejections)
        steps = Steps(
            limits=self._limits.limits,
            policy=NoRules(),
            forwarder=Forwarder(self._upstreams, replay=settings.pool.replay),
            relay=relay,
            recorder=self._recorder,
            client=guard.client,
        )
        bounds = Bounds(
            body_bytes=settings.limits.body_bytes,
            upload_bytes=settings.limits.upload_bytes,
            read_whole=settings.limits.read_whole,
        )
        secret = create_or_read_secret(self._data.journal_hmac)
        return Pipeline(self._live, bounds, steps, secret, capture=settings.capture.bodies)

    def _swap(self, snapshot: Snapshot, cut: tuple[str, ...]) -> None:
        """Decide by `snapshot` from the next call on. Built beside, then one reference each; running calls keep what
        they began with, and those of the keys to be `cut` end. Raises `OSError`, `ValueError`, `re.error` for what
        cannot be used; the old one then stays."""
        made = live(snapshot, self._settings, (self._snapshot, self._live), unsealer=self._unsealer)
        if snapshot.providers is not self._snapshot.providers:
            self._trust(snapshot)
            router = Router(snapshot.providers, unified=self._settings.auth.enabled)
            self._addresses = self._rewriter(snapshot)
            self._front.router = router
        self._pipeline.live = self._live = made
        self._limits.configure(snapshot)
        self._limits.share(snapshot, self._journal)
        self._snapshot = snapshot
        self._pipeline.expel()
        self._pipeline.cut(cut)

    def _rewriter(self, snapshot: Snapshot) -> AddressRewriter:
        server = self._settings.server
        return AddressRewriter(snapshot.providers, server.public_url, tls=server.tls_cert is not None)

    def _rewrite_address(self, value: bytes, route: Route, host: bytes) -> bytes | None:
        return self._addresses(value, route, host)

    def _trust(self, snapshot: Snapshot) -> None:
        for entry in snapshot.providers.values():
            if entry.origin.scheme == "https":
                self._connector.trust(entry.ca_file)  # 31 ms each: now, not under a caller's first request

    def _make_upstreams(self, snapshot: Snapshot) -> Upstreams:
        settings = self._settings
        self._connector = Connector(
            asyncio.get_running_loop(),
            dns_seconds=settings.pool.dns_seconds,
            handshakes=settings.pool.handshakes,
            builtins={"simulated": SimulatedServer(settings.simulated).protocol},
            descriptors=self._descriptors,
        )
        self._trust(snapshot)
        pool = settings.pool
        return Upstreams(
            self._connector,
            PoolLimits(
                connections=pool.connections,
                waiting=pool.waiting,
                idle_seconds=pool.idle_seconds,
                post_reuse_seconds=pool.post_reuse_seconds,
            ),
        )

    def _journal_trouble(self) -> str | None:
        return None if self._journal.state == "ok" else f"{self._journal.state} {self._journal.reason or ''}"

    def _ready(self) -> bool:
        return not self._stopping and self._journal.state == "ok"

    # -- running and stopping

    async def _sweep(self) -> None:
        while True:
            due = time.monotonic() + SWEEP_SECONDS
            await asyncio.sleep(SWEEP_SECONDS)
            self._lateness.note(time.monotonic() - due)
            self._sweep_once()

    def _sweep_once(self) -> None:
        self._server.sweep()
        now = self._server.now
        self._pipeline.sweep(now)
        self._management.sweep(now)
        self._upstreams.sweep(now)
        self._journal.sweep()
        if self._journal.lost:
            self._stop_wanted.set()  # started again, it begins a new lane
        self._limits.sweep(self._journal)
        self._noticing.sweep(self._live.access)
        self._acceptor.publish()
        said = gauges(self._server, self._pipeline, self._upstreams, self._journal, self._lateness, self._descriptors)
        self._loads.publish(self._process.index, said)

    async def _stop(self) -> None:
        """Drain within the grace time, interrupt the rest, close the lane."""
        loop = asyncio.get_running_loop()
        self._acceptor.stop()
        self._server.drain()
        self._management.drain()
        self._pipeline.leave()
        deadline = loop.time() + self._settings.server.grace_seconds
        while self._pipeline.running and loop.time() < deadline:  # noqa: ASYNC110 - once in a worker's life
            await asyncio.sleep(0.02)
        self._pipeline.interrupt()
        self._server.drain()
        deadline = loop.time() + _LAST_WORDS_SECONDS
        while self._server.connections and loop.time() < deadline:  # noqa: ASYNC110 - once in a worker's life
            await asyncio.sleep(0.02)
        await self._recorder.finish()
        await self._background.close()
        await self._limits.close()
        self._journal.close()
        self._upstreams.close()


def server_limits(settings: Settings, clients: int | None = None) -> ServerLimits:
    """The server's bounds, out of two sections of the settings. `clients`: as many as there are descriptors for."""
    limits, times = settings.limits, settings.timeouts
    return ServerLimits(
        header_bytes=limits.header_bytes,
        header_count=limits.header_count,
        url_bytes=limits.url_bytes,
        upload_bytes=limits.upload_bytes,
        body_memory=limits.body_memory,
        connections=limits.connections if clients is None else min(limits.connections, clients),
        pipelined=limits.pipelined,
        header=times.header,
        body_idle=times.body_idle,
        keep_alive=times.keep_alive,
        write_stall=times.write_stall,
    )
