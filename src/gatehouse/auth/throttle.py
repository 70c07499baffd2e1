"""How soon somebody may try to log in again: per account and per address, doubling with each failure.

Rules
- An attempt counts as failed from its beginning until it succeeds: a thousand at once do not all pass the check.
- A log-in that succeeds clears its account, and of the address takes back its own attempt only: having one account
  cannot buy guesses at others with it. Nor with one of the same name in another tenant: that clears nothing either.
- Accounts go by the name that was typed, whatever tenant it is of and whether it exists: the answer says nothing.
- Memory is bounded: beyond `REMEMBERED`, whoever tried longest ago is forgotten. To get forgotten this way costs an
  attacker that many attempts for every few guesses.
- Pure: seconds on a monotonic clock are passed in. Kept in the control process; a restart forgets.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from typing import Final, NamedTuple

from gatehouse.config.addresses import parsed

REMEMBERED: Final = 16_384
"""Accounts, and likewise addresses."""
_NAME: Final = 512
"""Characters of a name that count; longer ones are nobody's."""


class Rule(NamedTuple):
    """How patient we are with one kind of who."""

    free: int
    """Attempts before anybody has to wait."""
    longest: float
    """Seconds; waits are 1, 2, 4 … up to this."""
    forgets: float
    """Seconds without an attempt after which all is forgotten."""


ACCOUNT: Final = Rule(free=5, longest=60, forgets=3600)
"""Not longer than a minute: whoever knows the name of an account could lock its owner out."""
ADDRESS: Final = Rule(free=20, longest=900, forgets=3600)
"""Many people may share an address."""


class _Tries:
    """Failures by who, the latest last."""

    __slots__ = ("_known", "_remembered", "_rule")

    def __init__(self, rule: Rule, remembered: int) -> None:
        self._rule = rule
        self._remembered = remembered
        self._known: dict[bytes, tuple[int, float]] = {}
        """Failures, and when the last attempt was."""

    def __len__(self) -> int:
        return len(self._known)

    def wait(self, who: bytes, now: float) -> float:
        failures, last = self._known.get(who, (0, now))
        if now - last >= self._rule.forgets:
            del self._known[who]
            return 0.0
        doublings = failures - self._rule.free
        if doublings < 0:
            return 0.0
        pause = self._rule.longest if doublings >= 32 else min(float(2**doublings), self._rule.longest)
        return max(last + pause - now, 0.0)

    def count(self, who: bytes, now: float) -> None:
        failures, _ = self._known.pop(who, (0, now))
        if len(self._known) >= self._remembered:
            del self._known[next(iter(self._known))]
        self._known[who] = (failures + 1, now)

    def clear(self, who: bytes) -> None:
        self._known.pop(who, None)

    def take_back(self, who: bytes) -> None:
        failures, last = self._known.get(who, (0, 0.0))
        if failures > 1:
            self._known[who] = (failures - 1, last)
        else:
            self.clear(who)


class Throttle:
    """Attempts to log in. One per control process."""

    __slots__ = ("_accounts", "_addresses")

    def __init__(self, *, remembered: int = REMEMBERED) -> None:
        self._accounts = _Tries(ACCOUNT, remembered)
        self._addresses = _Tries(ADDRESS, remembered)

    def __len__(self) -> int:
        return len(self._accounts) + len(self._addresses)

    def begin(self, account: str, address: str, now: float) -> int:
        """Whole seconds to wait; 0: try, and the attempt counts as failed until `succeeded`."""
        who, where = _account(account), source(address)
        wait = max(self._accounts.wait(who, now), self._addresses.wait(where, now))
        if wait > 0:
            return math.ceil(wait)
        self._accounts.count(who, now)
        self._addresses.count(where, now)
        return 0

    def succeeded(self, account: str, address: str, *, alone: bool = True) -> None:
        """That attempt was the owner's. `alone`: nobody else goes by this name."""
        if alone:
            self._accounts.clear(_account(account))
        else:
            self._accounts.take_back(_account(account))
        self._addresses.take_back(source(address))


def _account(name: str) -> bytes:
    """By digest: of bounded size, and no e-mail address lies about in memory."""
    plain = unicodedata.normalize("NFKC", name[:_NAME]).strip().casefold()
    return hashlib.blake2b(plain.encode(errors="replace"), digest_size=16).digest()


def source(text: str) -> bytes:
    """Whom an address stands for. Of IPv6 the /64: one customer has at least as many addresses as that. What is no
    address is one of its own."""
    found = parsed(text.partition("%")[0])
    if found is None:
        return b""
    return found.packed[:8] if found.version == 6 else found.packed
