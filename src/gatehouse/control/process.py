"""The control process: puts the API, the collector and the journal's housekeeping together, and takes them apart.

Rules: wiring only. SIGTERM: close the lanes of dead workers, collect to the end within `DRAIN_SECONDS`, close the own
lane, end. A bug in any part ends the process with status 1: the supervisor starts it afresh, and workers serve on.
Nothing is written to stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec
import uvicorn
import uvloop
from sqlalchemy.engine import URL

from gatehouse import __version__
from gatehouse.collector.collect import Collector
from gatehouse.collector.lock import CollectorLock
from gatehouse.collector.thread import CollectorThread
from gatehouse.config import leash
from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir, create_or_read_secret
from gatehouse.config.settings import Settings
from gatehouse.control import app, founding, health
from gatehouse.control.administration import Administration, Engines, Means
from gatehouse.control.callout import Callout
from gatehouse.control.counting import Counting
from gatehouse.control.doors import Doors, opened
from gatehouse.control.housekeeping import Housekeeping
from gatehouse.control.publishing import Publisher
from gatehouse.control.sealing import MasterKeys
from gatehouse.control.sockets import BACKLOG, listen, stay
from gatehouse.errors import ConfigError
from gatehouse.journal.lines import JournalError
from gatehouse.journal.writer import JournalWriter
from gatehouse.limits.shared.embedded import binary
from gatehouse.providers.entries import entries
from gatehouse.store import engine, times
from gatehouse.store.directory import access
from gatehouse.store.engine import StoreError
from gatehouse.store.reading import Readers

DRAIN_SECONDS: Final = 5.0
"""How long it may go on collecting after SIGTERM."""

_OPEN_SECONDS: Final = 3.0
"""How long readiness waits for the store at most, so that the first `/health` is not about a start."""
_WATCH_SECONDS: Final = 0.5
_KEEP_ALIVE_SECONDS: Final = 75
_log = logging.getLogger(__name__)


def main(process: leash.ControlProcess) -> int:
    """Run until SIGTERM. Exit status 0, or 1 where control could not start. Raises what only a bug raises."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="gatehouse control: %(message)s")
    try:
        settings = msgspec.json.decode(process.settings.read_bytes(), type=Settings)
        uvloop.run(Control(process, settings).run())
    except (ConfigError, JournalError, OSError, msgspec.MsgspecError) as error:
        leash.say_failed(process, f"control: {error}")
        return 1
    return 0


class PartEndedError(Exception):
    """A part of the process is gone although nobody stopped it. A thread's own traceback stands before this one."""


class Control:
    """The live objects of one process."""

    def __init__(self, process: leash.ControlProcess, settings: Settings) -> None:
        """Raises `ConfigError` for a wrong `database.url`, and for providers that cannot be."""
        self._process = process
        self._settings = settings
        self._data = DataDir(process.data)
        url = engine.locate(self._data.root, settings.database.url)
        self._readers = Readers(url)
        self._loads = Loads(process.load_fd, process.slots)
        self._engines = Engines(access.located(url))
        self._means = means(settings, self._data, access.located(url))
        # Without accounts nothing of the directory is ever decided by.
        source = self._engines.sections if settings.auth.enabled else None
        self._publisher = Publisher(self._data.snapshot, settings, self._loads, source)
        self._counting = Counting(settings, self._data, url, self._publisher, binary())
        self._collector = CollectorThread(
            Collector(self._data.journal, url, settings.database),
            CollectorLock(self._data.collector_lock),
            drain_seconds=DRAIN_SECONDS,
        )

    async def run(self) -> None:
        """Serve until SIGTERM."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor's business
        # First of all: workers that start wait for a moment to hear of a newer snapshot.
        await self._publisher.open(listen(self._data.snapshot_socket))
        self._writer = JournalWriter(self._data.journal, "control", self._settings.journal, loop)
        self._writer.open()
        self._keeping = Housekeeping(
            self._data.journal, self._writer, self._settings.journal, lambda: self._collector.collected
        )
        listener = listen(self._data.control_socket)
        found = self._doors()
        server = Server(server_config(self._application(found)))
        self._collector.start()
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(self._publisher.run())
            serving = group.create_task(self._serve(server, listener, stop))
            recovering = group.create_task(self._keeping.recover_regularly(stop))
            sweeping = group.create_task(self._keeping.sweep())
            retaining = group.create_task(self._keeping.retain_regularly())
            watching = group.create_task(self._watch(stop))
            own = self._counting.start(group)
            if found is not None:
                own.append(group.create_task(found.duties.run(self._collector.notices, self._readers)))
                own.append(group.create_task(self._owned(found.accounts.administration)))
            await self._opened()
            await self._counting.ready()
            leash.say_ready(self._process)
            own.append(group.create_task(stay(self._data, self._data.control_socket, server.move)))
            own.append(group.create_task(stay(self._data, self._data.snapshot_socket, self._publisher.move)))
            # What is alive now stays: keep it out of every later collection.
            gc.collect()
            gc.freeze()
            await stop.wait()
            watching.cancel()
            retaining.cancel()
            await recovering
            for each in own:
                each.cancel()
            await self._finish()
            sweeping.cancel()
            self._collector.feed.close()
            server.should_exit = True
            await serving
            publishing.cancel()
        await self._publisher.aclose()
        await self._engines.aclose()
        await self._readers.aclose()
        self._data.control_socket.unlink(missing_ok=True)
        self._data.snapshot_socket.unlink(missing_ok=True)
        if self._keeping.retaining:
            # A segment is being compressed in a thread, which would hold the end up for seconds. Its draft is redone.
            os._exit(0)

    def _doors(self) -> Doors | None:
        if self._means is None:
            return None
        administration = Administration(self._engines, self._writer, self._publisher, self._means)
        token = create_or_read_secret(self._data.local_token)
        return opened(administration, self._data, self._settings, os.environ, local_token=token)

    def _application(self, found: Doors | None) -> app.ManagementApi:
        collector = self._collector
        return app.create(
            self._readers,
            partial(self._health, found),
            tally=collector.tally,
            feed=collector.feed,
            loads=self._loads,
            doors=found,
        )

    async def _serve(self, server: Server, listener: socket.socket, stop: asyncio.Event) -> None:
        await server.serve(sockets=[listener])
        if not stop.is_set():
            raise PartEndedError("the API's server ended")

    def _health(self, found: Doors | None) -> health.Health:
        writer = self._writer
        journal = health.JournalHealth(
            lane=writer.lane,
            state=writer.state,
            reason=writer.reason,
            bytes=writer.total_bytes,
            max_bytes=self._settings.journal.max_bytes,
            broken=list(self._keeping.broken),
        )
        assessed = health.assess(
            __version__,
            self._collector.state,
            times.now(),
            journal,
            self._keeping.lanes(),
            warn=self._keeping.warn,
            clock_jump=self._keeping.clock_jump,
        )
        assessed = health.told_by_publisher(assessed, self._publisher.failure)
        if found is not None:
            assessed = health.told_by_directory(assessed, found.accounts.administration.trouble)
        assessed = health.told_by_limits(assessed, self._counting.trouble)
        return health.told_by_workers(assessed, self._loads.gauges(), time.monotonic_ns())

    async def _opened(self) -> None:
        deadline = time.monotonic() + _OPEN_SECONDS
        while self._collector.state.store == "starting" and time.monotonic() < deadline:  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(0.01)

    async def _owned(self, administration: Administration) -> None:
        """Say it where the directory does not know of an owner whom the data directory knows of, or the reverse."""
        try:
            await administration.open()
            said = await founding.at_odds(administration.operator, self._data, enabled=self._settings.auth.enabled)
        except (StoreError, OSError):
            return  # The administration says so itself; what cannot be marked is at the next start.
        if said is not None:
            _log.warning("%s", said)

    async def _watch(self, stop: asyncio.Event) -> None:
        while self._collector.alive:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._writer.lost:
                stop.set()  # started again, it begins a new lane
        raise PartEndedError("the collector ended")

    async def _finish(self) -> None:
        """Put on record what workers left open, collect to the end, close the own lane."""
        await self._keeping.recover()
        self._collector.stop()
        if not await asyncio.to_thread(self._collector.join, DRAIN_SECONDS + 1):
            _log.warning("collecting did not end in time; the next start goes on")
        await self._counting.finish()
        self._writer.close()


def means(settings: Settings, data: DataDir, directory: URL) -> Means | None:
    """What administering takes. In the main thread, before there is an event loop.

    `None` where the master keys are not to be had and accounts are off: then there is nothing to administer. Raises
    `ConfigError` where accounts are on.
    """
    try:
        vault = MasterKeys(settings.secrets, data, os.environ).vault(directory)
    except ConfigError as error:
        if settings.auth.enabled:
            raise
        _log.warning("accounts cannot be administered: %s", error)
        return None
    server = settings.server
    scheme = "https" if server.tls_cert is not None else "http"
    host = f"[{server.host}]" if ":" in server.host else server.host
    address = f"{scheme}://{host}:{server.port}"
    return Means(vault, entries(settings), Callout(settings.callouts), address, server.public_url)


class Server(uvicorn.Server):
    """Leaves signals to us, and can serve at another socket."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def move(self, listener: socket.socket) -> None:
        """Serve at this one from now on, which is closed in the end. Who is connected stays so."""
        before = self.servers
        await self.startup(sockets=[listener])
        for each in before:
            each.close()


def server_config(application: app.ManagementApi) -> uvicorn.Config:
    """How uvicorn serves it: behind the workers, to nobody else."""
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        # The caller's address comes in a header of our own, from the worker alone.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
        backlog=BACKLOG,
    )
