"""What one worker holds of one counter that it shares with others: leases to spend, and what its calls have taken.

Pure: times are microseconds of the worker's monotonic clock, passed in; nothing here talks to the server.

Rules
- A lease may be spent until its deadline, counted from before the worker asked. One of a rate ends with the granule it
  was charged to; what is left of it is given back. None is taken of a `LOG`: there every admission asks.
- Of what is held (`HELD`, `SPEND`) the worker says how much it holds in all; `told…` is what the server last heard.
- A lease grows while it is used up before its time, and shrinks while half of it is left.
"""

from __future__ import annotations

from typing import Final

RATE: Final = 1
"""A sliding window by granules: what is taken stays counted until it leaves the window."""
LOG: Final = 2
"""A sliding window by a log."""
HELD: Final = 3
"""Taken and given back."""
SPEND: Final = 4
"""Taken, and in the end settled."""

LEASE_US: Final = 1_000_000
"""The longest a lease may be spent, of the worker's monotonic clock."""
UNTOLD: Final = -1

_FIRST: Final = 8
"""The first lease, as a multiple of what the call took."""
_LARGEST: Final = 1 << 50


class Stake:
    """A worker's part of one counter (of spend: in one period)."""

    __slots__ = (
        "begins", "cap", "charged", "ends", "free", "generation", "granule", "in_use", "kind", "name",
        "owner", "pace", "settled", "spent", "told_held", "told_spent", "until", "used", "width",
    )  # fmt: skip

    def __init__(self, name: str, kind: int, width: int = 0, owner: object = None) -> None:
        self.name = name
        """Within the tenant."""
        self.kind = kind
        self.width = width
        """Microseconds: of a granule; of the whole window where it is a log."""
        self.owner = owner
        """The `parts.Part` that is told when the server's numbers change; of a share, its `parts.Share`."""
        self.begins = 0
        self.ends = -1
        """Of spend: when the period may be reserved in, Unix microseconds; -1: always."""
        self.cap = -1
        """The smallest hard cap; -1: none."""
        self.free = 0
        """Leased, and not taken by a call."""
        self.until = 0
        """When that ends."""
        self.granule = 0
        """Of a rate: where it is charged."""
        self.charged = 0
        """Of a rate: where the server charged what was last asked of it."""
        self.in_use = 0
        """Taken by running calls."""
        self.spent = 0
        """Settled since this worker's start."""
        self.told_held = 0
        self.told_spent = 0
        self.pace = 0
        """What the next lease asks for."""
        self.used = 0
        self.settled = 0
        """All workers together, as the server last said: settled apart from the rest."""
        self.generation = 0
        """Grows when what its calls had taken was released for them: this worker was taken for dead."""

    @property
    def held(self) -> int:
        """What the server is to count as held by this worker."""
        return self.in_use + self.free if self.kind >= HELD else 0

    @property
    def untold(self) -> bool:
        """Whether the server does not know yet what is held or settled."""
        return self.kind >= HELD and (self.told_held != self.in_use + self.free or self.told_spent != self.spent)

    def give_back(self, amount: int, spent: int, now: int) -> bool:
        """A call that took `amount` is over and used `spent`: what is left may serve others, while the lease holds.

        Returns whether that changes what is held and settled together: only then is there something for others.
        """
        self.in_use -= amount
        self.spent += spent
        if amount > spent and now < self.until:
            self.free += amount - spent
            return False
        return amount != spent

    def wish(self, amount: int, now: int) -> int:
        """How much to ask for beyond what calls need that found too little here."""
        if self.kind == LOG:
            return 0
        self.pace = min(max(self.pace * 2 if now < self.until else self.pace, amount * _FIRST), _LARGEST)
        return self.pace

    def lease(self, amount: int, granule: int, until: int) -> int:
        """Take down a grant. Returns what of an older granule is to be given back."""
        old = 0
        if self.kind == RATE:
            if granule != self.granule:
                old, self.free = self.free, 0
            self.granule = granule
        self.free += amount
        self.until = until
        return old

    def drop(self) -> int:
        """Let go what is leased: more is asked for. Returns what of a rate is to be given back."""
        left, self.free = self.free, 0
        return left if self.kind == RATE else 0

    def expire(self, now: int) -> int:
        """Let go a lease that is over. Returns what of a rate is to be given back."""
        if not self.free or now < self.until:
            return 0
        if self.free * 2 > self.pace:
            self.pace //= 2
        return self.drop()

    def end(self) -> None:
        """A lower cap: nothing more is taken of what was leased by the one before."""
        self.until = 0

    def forget(self) -> None:
        """The server knows nothing of this worker any more: no lease counts, and all is to be told anew."""
        self.free = 0
        self.told_held = self.told_spent = UNTOLD

    def become(self, kind: int, width: int) -> None:
        """A rate that is counted otherwise from now on: its leases end."""
        self.kind, self.width = kind, width
        self.free = 0

    def released(self) -> None:
        """This worker was taken for dead: what its calls held was released."""
        if self.kind == HELD:
            self.in_use = self.free = self.told_held = 0
            self.generation += 1
