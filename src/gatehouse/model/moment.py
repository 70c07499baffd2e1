"""A moment on both clocks: nothing in the limits reads one by itself.

Rules: a class of its own, not a struct, because it is compiled: it is read a dozen times a call.
"""

from __future__ import annotations


class Moment:
    """Now, in microseconds."""

    __slots__ = ("steady", "unix")

    def __init__(self, unix: int, steady: int) -> None:
        self.unix = unix
        """Since the epoch: what calendar periods go by."""
        self.steady = steady
        """Of the process's monotonic clock: what sliding windows go by."""
