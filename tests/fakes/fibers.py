"""A fiber that does nothing but tell of its wake-ups."""

from __future__ import annotations

from collections.abc import Callable

from gatehouse.http.fiber import Fiber


def telling(woken: Callable[[], None]) -> Fiber:
    """A started fiber that calls `woken` each time it is woken."""
    fiber = Fiber()

    async def tell() -> None:
        while True:
            await fiber.sleep()
            woken()

    fiber.start(tell())
    return fiber
