"""How much of the journal one tenant may fill before it is collected: beyond, its calls alone are refused.

Rules: what a lane has written is counted per tenant, and taken off again as it is collected, in steps of `mark`. The
bound holds per lane: whoever sets it divides by the number of lanes that grow. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MOST_STEPS: Final = 4096
"""Beyond, every two become one."""


class Shares:
    """Uncollected bytes of one lane."""

    def __init__(self) -> None:
        self.most = 0
        """Bytes per tenant; 0: not bounded."""
        self._held: dict[str, int] = {}
        self._fresh: dict[str, int] = {}
        """Since the last step."""
        self._steps: deque[tuple[int, dict[str, int]]] = deque()
        """Up to which line, and how much by then."""

    def count(self, tenant: str, size: int) -> None:
        """A line is about to be written."""
        self._fresh[tenant] = self._fresh.get(tenant, 0) + size
        self._held[tenant] = self._held.get(tenant, 0) + size

    def over(self, tenant: str) -> bool:
        """Whether the tenant has filled its share."""
        return self.most > 0 and self._held.get(tenant, 0) >= self.most

    @property
    def pressed(self) -> bool:
        """Whether it matters how far the lane is collected: somebody has filled half of its share."""
        return self.most > 0 and max(self._held.values(), default=0) * 2 >= self.most

    def mark(self, seq: int) -> None:
        """All that is counted so far stands in lines up to this one."""
        if not self._fresh:
            return
        self._steps.append((seq, self._fresh))
        self._fresh = {}
        if len(self._steps) > MOST_STEPS:
            self._steps = deque(_halved(self._steps))

    def collected(self, seq: int) -> None:
        """Lines up to this one are collected."""
        while self._steps and self._steps[0][0] <= seq:
            for tenant, size in self._steps.popleft()[1].items():
                left = self._held[tenant] - size
                if left:
                    self._held[tenant] = left
                else:
                    del self._held[tenant]


def _halved(steps: deque[tuple[int, dict[str, int]]]) -> list[tuple[int, dict[str, int]]]:
    halved = []
    while steps:
        seq, sizes = steps.popleft()
        if steps:
            seq, more = steps.popleft()
            for tenant, size in more.items():
                sizes[tenant] = sizes.get(tenant, 0) + size
        halved.append((seq, sizes))
    return halved
