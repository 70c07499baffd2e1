"""The control side of the snapshot's socket, by hand: it sends what a test says, to one worker after another."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gatehouse.gateway.frames import Hello

GO = b""
"""In a script: wait for `go`."""


class ControlSide:
    """`scripts`: per connection what is sent after the worker's word; then it hangs up, but after the last."""

    def __init__(self, path: Path, scripts: Sequence[Sequence[bytes]]) -> None:
        self.hellos: list[int] = []
        self._go = threading.Semaphore(0)
        self._over = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(20)
        self._thread = threading.Thread(target=self._serve, args=(scripts,), daemon=True)
        self._thread.start()

    def go(self) -> None:
        self._go.release()

    def close(self) -> None:
        self._over.set()
        self._go.release()
        self._thread.join(10)
        self._listener.close()

    def _serve(self, scripts: Sequence[Sequence[bytes]]) -> None:
        for number, script in enumerate(scripts):
            connection, _ = self._listener.accept()
            with connection:
                said = connection.recv(1024)
                self.hellos.append(msgspec.msgpack.decode(said[4:], type=Hello).version)
                for piece in script:
                    if piece is GO:
                        self._go.acquire()
                    else:
                        connection.sendall(piece)
                if number == len(scripts) - 1:
                    self._over.wait(30)


@contextmanager
def control_side(path: Path, *scripts: Sequence[bytes]) -> Iterator[ControlSide]:
    side = ControlSide(path, scripts)
    try:
        yield side
    finally:
        side.close()
