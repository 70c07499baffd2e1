"""A coroutine that its owner resumes, without a Task.

One call waits for one of many things at a time: its client, its upstream, the journal, a time-out, a shutdown. Each of
them sets its state synchronously and calls `wake()`; the coroutine looks at the state and decides. So there is no
`cancel()` to lose, swallow or race with a result, and no queue between an event and its handling: the coroutine runs
inside the callback that woke it, which is also what makes it fast.

Rules: wake-ups carry nothing and may be spurious, so every wait stands in a loop that checks its condition. What the
coroutine awaits must end in `sleep()` or `join()`, never in an asyncio future directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Final, TypeVar

T = TypeVar("T")


_OVER: Final = object()
_next: Final = next


class Fiber:
    """Drives one coroutine from start to end. Not reusable."""

    __slots__ = ("_running", "_steps", "_ticket", "finished")

    def __init__(self) -> None:
        self._steps: Generator[Any, Any, None] | None = None
        self._running = False
        self._ticket = False
        self.finished = False

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` up to its first wait."""
        self._steps = coroutine.__await__()
        self.wake()

    def wake(self) -> None:
        """Resume the coroutine now; if it is running already, its next `sleep()` returns at once."""
        steps = self._steps
        if self._running or steps is None:
            self._ticket = True
            return
        self._running = True
        try:
            # With a default, since catching a StopIteration costs as much as a short wait's whole work.
            over = _next(steps, _OVER) is _OVER
        except BaseException:
            self._end()
            self._running = False
            raise
        if over:
            self._end()
        self._running = False

    def _end(self) -> None:
        self.finished = True
        self._steps = None

    def sleep(self) -> Fiber:
        """To be awaited: the next `wake()`, or nothing if one came while running."""
        return self

    def __await__(self) -> Generator[None, None, None]:
        if not self._ticket:
            yield  # to whoever drives the coroutine
        self._ticket = False

    async def join(self, awaitable: Awaitable[T]) -> T:
        """Await something of asyncio's (a limiter over the network, a thread). Not for the common path."""
        future = asyncio.ensure_future(awaitable)
        future.add_done_callback(lambda _: self.wake())
        while not future.done():
            await self.sleep()
        return future.result()
