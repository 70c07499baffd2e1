"""IP addresses and networks as they are compared: wherever it matters where somebody comes from, it is asked here.

Rules: an IPv4 address in IPv6's clothes counts as the IPv4 address. What is no address is in no network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parsed(text: str) -> Address | None:
    """An address; of one that is IPv4 in IPv6's clothes, the IPv4 one. `None`: it is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def is_loopback(text: str) -> bool:
    """Whether this is an address of the machine's own loopback interface; false for what is no address."""
    found = parsed(text)
    return found is not None and found.is_loopback


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks, or single addresses. Raises `ValueError`."""
    return tuple([ipaddress.ip_network(text, strict=False) for text in texts])


def within(found: Address | None, around: Iterable[Network]) -> bool:
    """Whether it is in one of them."""
    return found is not None and any([found in network for network in around])
