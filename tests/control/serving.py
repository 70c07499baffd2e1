"""The management API on a real Unix socket, in this process or in one of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import msgspec

from gatehouse.collector.feed import Feed
from gatehouse.collector.state import CollectorState
from gatehouse.collector.tally import Tally
from gatehouse.config.leash import ControlProcess
from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Database, Settings
from gatehouse.control import app
from gatehouse.control.health import Health, JournalHealth, assess
from gatehouse.control.process import Server, server_config
from gatehouse.control.sockets import listen
from gatehouse.store.reading import Readers
from tests.store import databases
from tests.store.samples import START

HERE = {"x-gatehouse-peer": "127.0.0.1"}
"""As a worker passes on a call from this machine."""
JOURNAL = JournalHealth(lane="lane-1", state="ok", reason=None, bytes=10, max_bytes=100, broken=[])
SETTINGS = Settings(database=Database(keep_days=36_500))


def well() -> Health:
    """Nothing wrong."""
    state = CollectorState(store="connected", looked=START)
    return assess("1.2.3", state, START, JOURNAL, [], warn=False)


@asynccontextmanager
async def api(
    data: Path,
    health: Callable[[], Health] = well,
    tally: Tally | None = None,
    loads: Loads | None = None,
    feed: Feed | None = None,
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the API over the store in `data`, calling from this machine. Without `loads` there is no worker."""
    readers = Readers(databases.url(data))
    path = data / "api.sock"
    shared = loads or Loads.create(1)
    application = app.create(readers, health, tally=tally or Tally(), feed=feed or Feed(), loads=shared)
    server = Server(server_config(application))
    serving = asyncio.create_task(server.serve(sockets=[listen(path)]))
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://control", headers=HERE) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
        await readers.aclose()
        path.unlink()
        if loads is None:
            os.close(shared.fd)


@dataclass
class Running:
    """A control process."""

    data: DataDir
    process: subprocess.Popen[bytes]
    said: str
    """Its first word to the supervisor."""

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(self.data.control_socket))) as client:
            return client.get(f"http://control{path}", headers=HERE if headers is None else headers)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@contextmanager
def control(root: Path, settings: Settings = SETTINGS) -> Iterator[Running]:
    """A control process as the supervisor starts it; killed at the end if it still runs."""
    data = DataDir(root)
    data.create()
    data.settings.write_bytes(msgspec.json.encode(settings))
    alive_fd, kept_fd = os.pipe()
    ready_fd, said_fd = os.pipe()
    load_fd = Loads.create(1).fd
    arguments = ControlProcess(
        data=root,
        settings=data.settings,
        alive_fd=alive_fd,
        ready_fd=said_fd,
        load_fd=load_fd,
        slots=1,
        parent=os.getpid(),
    ).arguments()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "gatehouse.control", *arguments],
        pass_fds=(alive_fd, said_fd, load_fd),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    for descriptor in (said_fd, alive_fd, load_fd):
        os.close(descriptor)
    try:
        said = os.read(ready_fd, 4096).decode()
        yield Running(data, process, said)
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        assert process.stdout.read() == b""  # control says nothing there
        process.stdout.close()
        os.close(kept_fd)
        os.close(ready_fd)
