"""Workers as control knows them: processes with their words in shared memory, and a supervisor that clears these."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from gatehouse.config.loads import Loads
from gatehouse.config.settings import Settings
from gatehouse.control.publishing import Publisher, Source
from gatehouse.control.sockets import listen
from gatehouse.model.snapshot import Sections
from tests.gateway.entries import SETTINGS


class Directory:
    """The directory, as far as a publisher knows it. `error`: what reading it raises."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self.error: Exception | None = None
        self.read = 0

    async def __call__(self) -> Sections:
        self.read += 1
        if self.error is not None:
            raise self.error
        return self.sections


class Workers:
    """Children with a slot each in `loads`. Reaped as the supervisor does it: the words are cleared before."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.loads = Loads.create(slots)
        self._watching: list[threading.Thread] = []
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, index: int, command: list[str], *shared: int) -> subprocess.Popen[bytes]:
        """Run `command`, which inherits the memory's descriptor and `shared`, and speaks on its stdout."""
        process = subprocess.Popen(
            command, pass_fds=(self.loads.fd, *shared), stdout=subprocess.PIPE, start_new_session=True
        )
        self._running.append(process)
        watching = threading.Thread(target=self._watch, args=(index, process), daemon=True)
        self._watching.append(watching)
        watching.start()
        return process

    def code(self, index: int, code: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A worker that runs this code with `loads` and its `index` at hand; it has said a line when this returns."""
        start = "import sys\nfrom gatehouse.config.loads import Loads\n"
        start += f"loads, index = Loads({self.loads.fd}, {self.slots}), {index}\n"
        process = self.start(index, [sys.executable, "-c", start + code, *arguments])
        assert process.stdout is not None and process.stdout.readline()
        return process

    def close(self) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for watching in self._watching:
            watching.join(30)
        for process in self._running:
            assert process.stdout is not None
            process.stdout.close()
        os.close(self.loads.fd)

    def _watch(self, index: int, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ChildProcessError):  # `close` has looked after it, and so reaped it
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.loads.clear(index)
        process.wait()


@contextmanager
def workers(slots: int) -> Iterator[Workers]:
    """Killed and reaped in the end."""
    made = Workers(slots)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def published(
    root: Path,
    loads: Loads,
    source: Source | None = None,
    settings: Settings = SETTINGS,
    path: Path | None = None,
) -> AsyncIterator[Publisher]:
    """A running publisher with its files in `root`: `snapshot.sock`, and `snapshot.bin` unless `path` names another."""
    publisher = Publisher(path or root / "snapshot.bin", settings, loads, source)
    socket = root / "snapshot.sock"
    await publisher.open(listen(socket))
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await publisher.aclose()
        socket.unlink(missing_ok=True)


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Look until it is so: for what other processes and threads do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.002)
