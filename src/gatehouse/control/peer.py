"""Where a request came from, as the worker that passed it on says.

The socket is reached through the workers, which alone set `x-gatehouse-peer` to the caller's address; anybody else on
the socket has none, or not one that we believe.
"""

from __future__ import annotations

import ipaddress
from typing import Final

HEADER: Final = "x-gatehouse-peer"
JOURNAL_HEADER: Final = "x-gatehouse-journal"
"""Also the worker's own: what is wrong with its journal, if anything is."""


def is_loopback(address: str) -> bool:
    """Whether this is an address of the machine's own loopback interface; false for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
