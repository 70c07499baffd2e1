"""Giving way: bulk work in slices, so that it never keeps a core for long.

A kernel with lazy preemption (the default of recent ones) takes the CPU from a busy process only when it enters the
kernel, or at the next tick: up to 4 ms, in which a call that becomes ready on the same core waits. So every slice ends
with a system call that hands the core to whoever wants it, and costs nothing where nobody does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

SLICE: Final = 4
"""Lines or rows between two chances for others: about 50 µs of work."""


def give_way() -> None:
    """Let whoever waits for this core go first."""
    os.sched_yield()


def politely(items: Iterable[T]) -> Iterator[T]:
    """The items, giving way once in a `SLICE`."""
    for number, item in enumerate(items, 1):
        yield item
        if number % SLICE == 0:
            give_way()


class PoliteRows(list[T]):
    """Rows for `executemany`, which gives way while it goes through them."""

    def __iter__(self) -> Iterator[T]:
        return politely(super().__iter__())
