"""A supervisor in a process of its own, watched through the one pipe that it and all its children write to."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gatehouse.config.paths import DataDir

ROOT = Path(__file__).resolve().parents[2]

Event = dict[str, Any]


class Served:
    """`settings` per child as in `behaviour.begin`; further arguments are fields of `Options`.

    Lines of JSON are events; all others are the log. The pipe ends when the last process of the tree has ended.
    """

    def __init__(self, data: Path, settings: dict[str, Any] | None = None, *, prefix: str = "", **options: Any) -> None:
        self.data = DataDir(data)
        self.events: list[Event] = []
        self.log: list[str] = []
        self._unread = b""
        given = {"host": "127.0.0.1", "port": 0, "workers": 2, "grace_seconds": 5.0, **options}
        given |= {"data": str(data), "settings": settings or {}}
        cwd = data.parent / "elsewhere"
        cwd.mkdir(exist_ok=True)
        # Would break any child that looked for modules in its working directory.
        (cwd / "json.py").write_text("raise SystemExit('taken from the working directory')")
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$0" "$@" {prefix}']
            + [sys.executable, "-P", "-m", "tests.supervisor.serving_process", json.dumps(given)],
            cwd=cwd,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()

    def event(self, event: str, seconds: float = 30.0, **wanted: object) -> Event:
        """The next event of that kind, kept or to come, with these values."""
        deadline = time.monotonic() + seconds
        while True:
            for found in self.events:
                if found["event"] == event and wanted.items() <= found.items():
                    self.events.remove(found)
                    return found
            assert self._read(deadline), f"the pipe ended without {event} {wanted}: {self.log} {self.events}"

    def line(self, part: str, seconds: float = 30.0) -> str:
        """The next line of the log with `part` in it, kept or to come."""
        deadline = time.monotonic() + seconds
        while True:
            for found in self.log:
                if part in found:
                    self.log.remove(found)
                    return found
            assert self._read(deadline), f"the pipe ended without {part!r}: {self.log} {self.events}"

    def end(self, seconds: float = 30.0) -> int:
        """Wait until no process of the tree is left; returns the supervisor's exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self.process.wait(max(0.0, deadline - time.monotonic()) + 1)

    def ready(self) -> Event:
        return self.event("ready")

    def started(self, name: str) -> Event:
        return self.event("start", name=name)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def interrupt(self) -> None:
        self.signal(signal.SIGINT)

    def connect(self, port: int) -> tuple[socket.socket, int]:
        """A new connection, and the pid of the worker that answers on it."""
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        return connection, ask(connection)

    def _read(self, deadline: float) -> bool:
        assert self.process.stdout
        descriptor = self.process.stdout.fileno()
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f"nothing more within the time: {self.log} {self.events}")
        piece = os.read(descriptor, 65536)
        *lines, self._unread = (self._unread + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))
            else:
                self.log.append(line.decode())
        return bool(piece)


def ask(connection: socket.socket) -> int:
    """The pid of the worker at the other end."""
    connection.sendall(b"who?\n")
    return int(connection.recv(64))
