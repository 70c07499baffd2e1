"""Real workers of one data directory, and control's part played by the test: `gateway` has no directory to publish."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec

from gatehouse.config.leash import WorkerProcess
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from tests.control.workers import Workers, workers
from tests.gateway.entries import SETTINGS


class Tree:
    """`slots` workers on one port, started one by one. Reaped as by the supervisor."""

    def __init__(self, root: Path, running: Workers, settings: Settings) -> None:
        self.data = DataDir(root)
        self.data.create()
        self.data.settings.write_bytes(msgspec.json.encode(settings))
        self.loads = running.loads
        self._running = running
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self._alive, self._kept = os.pipe()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self, index: int) -> subprocess.Popen[bytes]:
        """Worker `index`, ready."""
        ready, said = os.pipe()
        arguments = WorkerProcess(
            data=self.data.root,
            settings=self.data.settings,
            alive_fd=self._alive,
            ready_fd=said,
            load_fd=self.loads.fd,
            slots=self._running.slots,
            parent=os.getpid(),
            listen_fd=self._listener.fileno(),
            index=index,
        ).arguments()
        command = [sys.executable, "-P", "-m", "gatehouse.worker", *arguments]
        process = self._running.start(index, command, self._alive, said, self._listener.fileno())
        os.close(said)
        with os.fdopen(ready, "rb") as word:
            heard = word.readline()
        assert heard == b"ready\n", heard
        return process

    def served(self) -> bool:
        """Whether a call is served, on a connection of its own."""
        ask = {"model": "simulated", "messages": [{"role": "user", "content": "hi"}]}
        answer = httpx2.post(self.url + "/simulated/v1/chat/completions", json=ask, timeout=30)
        return bool(answer.status_code == 200)

    def versions(self) -> dict[int, int]:
        return {worker.worker: worker.version for worker in self.loads.registered()}

    def close(self) -> None:
        self._listener.close()
        os.close(self._alive)
        os.close(self._kept)


@contextmanager
def tree(root: Path, slots: int = 2, settings: Settings = SETTINGS) -> Iterator[Tree]:
    """In the end every worker is killed and reaped."""
    with workers(slots) as running:
        made = Tree(root, running, settings)
        try:
            yield made
        finally:
            made.close()
