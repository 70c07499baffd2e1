"""Where a request came from, as the worker that passed it on says.

The socket is reached through the workers, which alone set `x-gatehouse-peer` to the caller's address; anybody else on
the socket has none, or not one that we believe.
"""

from __future__ import annotations

from typing import Final

from gatehouse.config.addresses import parsed

HEADER: Final = "x-gatehouse-peer"
JOURNAL_HEADER: Final = "x-gatehouse-journal"
"""Also the worker's own: what is wrong with its journal, if anything is."""


def is_loopback(address: str) -> bool:
    """Whether this is an address of the machine's own loopback interface; false for what is no address."""
    found = parsed(address.strip())
    return found is not None and found.is_loopback
