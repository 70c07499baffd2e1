"""Signals as bytes on a descriptor, so that one poll waits for them and for everything else."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self


class Signals:
    """Inside the `with`, the given signals are only noted: `fd` becomes readable, `take` returns their numbers.

    Main thread only. On leaving, the dispositions and the wake-up descriptor are as before.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._before: list[tuple[int, Any]] = []
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._wakeup_before = -1

    @property
    def fd(self) -> int:
        """To poll for reading."""
        return self._ours.fileno()

    def __enter__(self) -> Self:
        self._wakeup_before = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            # A handler has to be there for Python to write to the descriptor; being caught, it is reset by exec.
            self._before.append((number, signal.signal(number, _note)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before:
            if before is not None:
                signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup_before)
        self._ours.close()
        self._theirs.close()

    def take(self) -> bytes:
        """The signals since the last call, in order, one byte each."""
        try:
            return os.read(self.fd, 4096)
        except BlockingIOError:
            return b""


def _note(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has it."""
