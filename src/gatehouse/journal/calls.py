"""Which calls of this process are decided and not yet concluded. Pure.

Rules: a call is here from its decision's way into the queue to its outcome's line on disk. An outcome is accepted only
for a call that is here and has none yet: that is what makes it exactly one (I2).
"""

from __future__ import annotations

from collections.abc import Collection

from gatehouse.journal.records import OpenCall
from gatehouse.model.record import Decision

_Known = tuple[str, Decision]
"""A call's tenant, and how it was decided."""


class Calls:
    """The open calls of one lane."""

    def __init__(self) -> None:
        self._open: dict[str, _Known] = {}
        """Calls without outcome."""
        self._closing: dict[str, _Known] = {}
        """The same of calls whose outcome is not on disk yet."""
        self._undurable: dict[str, float] = {}
        """Calls whose decision stands in the file but may not survive, with the time that showed: nothing of them is
        forwarded, and how they are refused is their outcome."""

    def __len__(self) -> int:
        return len(self._open) + len(self._closing)

    def decide(self, tenant: str, decision: Decision) -> None:
        """A decision is about to be written."""
        self._open[decision.call] = (tenant, decision)

    def undecide(self, call: str) -> None:
        """The decision was not written and will not be."""
        self._open.pop(call, None)
        self._closing.pop(call, None)

    def conclude(self, call: str) -> bool:
        """An outcome is about to be written; false if the call is not open."""
        known = self._open.pop(call, None)
        if known is None:
            return False
        self._closing[call] = known
        if self._undurable:
            self._undurable.pop(call, None)
        return True

    def concluded(self, call: str) -> None:
        """The outcome is on disk."""
        self._closing.pop(call, None)

    def doubt(self, call: str, now: float) -> None:
        """The decision stands but could not be made durable; if it has an outcome already, that is enough."""
        if call in self._open:
            self._undurable[call] = now

    def doubted(self, call: str) -> bool:
        """Whether the call's decision stands though its caller was told of a failure."""
        return call in self._undurable

    def doubted_since(self, before: float) -> list[OpenCall]:
        """Those doubted before a time, that nobody has refused."""
        return [_told(self._open[call]) for call, since in self._undurable.items() if since <= before]

    def still_open(self, undecided: Collection[str]) -> list[OpenCall]:
        """What recovery would have to close, without calls whose decision is not on disk yet."""
        return [
            _told(known)
            for calls in (self._open, self._closing)
            for call, known in calls.items()
            if call not in undecided
        ]


def _told(known: _Known) -> OpenCall:
    tenant, decision = known
    return OpenCall(decision.call, tenant, decision.project, decision.reserved)
