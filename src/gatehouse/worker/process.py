"""A worker's life: start from the settings and the snapshot, accept, sweep, drain, stop.

Rules: it needs no control plane to serve. On SIGTERM it accepts nothing more, lets running answers finish for the grace
time, then interrupts the rest, each with its outcome on the record, and closes its lane.
"""

from __future__ import annotations

import asyncio
import gc
import logging
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
from gatehouse.gateway.snapshot import build, live
from gatehouse.http.server import Server, ServerLimits
from gatehouse.journal.writer import JournalWriter
from gatehouse.limits.unlimited import Unlimited
from gatehouse.model.snapshot import Snapshot
from gatehouse.pipeline.answer import Relay
from gatehouse.pipeline.forward import Forwarder
from gatehouse.pipeline.record import Recorder
from gatehouse.pipeline.serve import Bounds, Pipeline, Steps
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

_LOG: Final = logging.getLogger(__name__)
_GC_THRESHOLDS: Final = (20_000, 20, 20)
"""Calls leave no cycles behind: looking for some every 700 objects, as is the default, only costs."""
_LAST_WORDS_SECONDS: Final = 2.0


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

    async def run(self) -> None:
        self._assemble()
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor's business
        self._acceptor.start()
        leash.say_ready(self._process)
        # What is alive now stays: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        sweeping = loop.create_task(self._sweep())
        await stop.wait()
        self._stopping = True
        await self._stop()
        sweeping.cancel()

    # -- assembling

    def _assemble(self) -> None:
        settings = self._settings
        loop = asyncio.get_running_loop()
        snapshot = self._snapshot()
        self._journal = JournalWriter(self._data.journal, "worker", settings.journal, loop)
        self._journal.open()
        self._upstreams = self._make_upstreams(snapshot)
        limits = Unlimited()
        recorder = self._recorder = Recorder(
            self._journal, limits, capture_bytes=settings.capture.max_bytes if settings.capture.bodies else 0
        )
        steps = Steps(
            limits=limits,
            policy=NoRules(),
            forwarder=Forwarder(self._upstreams, replay=settings.pool.replay),
            relay=Relay(
                answer_headers(),
                AddressRewriter(
                    snapshot.providers, settings.server.public_url, tls=settings.server.tls_cert is not None
                ),
                keep_bytes=settings.capture.max_bytes if settings.capture.bodies else 0,
            ),
            recorder=recorder,
        )
        bounds = Bounds(
            body_bytes=settings.limits.body_bytes,
            upload_bytes=settings.limits.upload_bytes,
            read_whole=settings.limits.read_whole,
        )
        self._pipeline = Pipeline(
            live(snapshot, settings),
            bounds,
            steps,
            create_or_read_secret(self._data.journal_hmac),
            capture=settings.capture.bodies,
        )
        guard = Guard(settings)
        self._management = ManagementProxy(
            self._upstreams, str(self._data.control_socket), guard.client, self._journal_trouble
        )
        front = Front(
            guard=guard,
            router=Router(snapshot.providers),
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

    def _snapshot(self) -> Snapshot:
        return build(self._settings)

    def _make_upstreams(self, snapshot: Snapshot) -> Upstreams:
        settings = self._settings
        connector = Connector(
            asyncio.get_running_loop(),
            dns_seconds=settings.pool.dns_seconds,
            handshakes=settings.pool.handshakes,
            builtins={"simulated": SimulatedServer(settings.simulated).protocol},
            descriptors=self._descriptors,
        )
        for entry in snapshot.providers.values():
            if entry.origin.scheme == "https":
                connector.trust(entry.ca_file)  # 31 ms each: now, not under a caller's first request
        pool = settings.pool
        return Upstreams(
            connector,
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
        await self._recorder.finish()
        self._server.drain()
        deadline = loop.time() + _LAST_WORDS_SECONDS
        while self._server.connections and loop.time() < deadline:  # noqa: ASYNC110 - once in a worker's life
            await asyncio.sleep(0.02)
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
