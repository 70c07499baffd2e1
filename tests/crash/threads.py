"""Threads that do something for as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

PATIENCE = 30.0
"""Seconds for what a thread is about when the block is left."""


class Threads:
    """Runs each of `runs` in a thread of its own; each looks at `over` between two rounds."""

    def __init__(self, *runs: Callable[[], None]) -> None:
        self.over = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in runs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
