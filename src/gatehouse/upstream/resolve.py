"""Names to addresses: cached, refreshed in the background, checked.

Rules: a warm name never waits (I8); a stale answer serves while the refresh runs, and after a failed one. Unless an
origin is marked private, only public addresses are connected to, and exactly the address checked is the one connected
to (no second look-up by anyone).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from typing import Final

_STALE_LIMIT: Final = 1024
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SPECIAL: Final = tuple(ipaddress.ip_network(each) for each in ("192.0.0.0/24", "::/96", "64:ff9b:1::/48", "fec0::/10"))
"""Not for the public either, but public to CPython 3.11's `ipaddress` (IANA special-purpose registries; RFC 8215)."""


class ResolveError(Exception):
    """No usable address; `str(error)` says why, naming the host."""


class Resolver:
    """Addresses by (host, port), at most `max_age` seconds old before a background refresh."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_age: float) -> None:
        self._loop = loop
        self._max_age = max_age
        self._cache: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._refreshing: dict[tuple[str, int], asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str, port: int, *, private: bool) -> list[str]:
        """Addresses to try in order. Raises `ResolveError`."""
        literal = _literal(host)
        if literal is not None:
            found = [literal]
        else:
            found = await self._look_up(host, port)
        allowed = found if private else [address for address in found if is_public(address)]
        if not allowed:
            raise ResolveError(f"{host} has no public address; set `private: true` for this provider if that is meant")
        return allowed

    async def _look_up(self, host: str, port: int) -> list[str]:
        key = (host, port)
        cached = self._cache.get(key)
        if cached is not None and time.monotonic() - cached[0] < self._max_age:
            return cached[1]
        task = self._refreshing.get(key)
        if task is None:
            task = self._refreshing[key] = self._loop.create_task(self._refresh(key))
            task.add_done_callback(lambda done: self._done(key, done))
        if cached is not None:
            return cached[1]
        return await asyncio.shield(task)

    def _done(self, key: tuple[str, int], task: asyncio.Task[list[str]]) -> None:
        self._refreshing.pop(key, None)
        if not task.cancelled():
            task.exception()  # a failed refresh is not news while the old answer serves

    async def _refresh(self, key: tuple[str, int]) -> list[str]:
        host, port = key
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ResolveError(f"cannot resolve {host}: {error.strerror or error}") from error
        except UnicodeError as error:
            raise ResolveError(f"cannot resolve {host}: not a host name") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if len(self._cache) >= _STALE_LIMIT:
            self._cache.pop(next(iter(self._cache)))
        self._cache[key] = (time.monotonic(), addresses)
        return addresses


def is_public(text: str) -> bool:
    """Whether an address may be connected to on a stranger's word.

    An IPv6 address that carries an IPv4 one (NAT64, 6to4) is as public as that: a translator would lead there.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.sixtofour
        if inner is not None and not is_public(str(inner)):
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL)


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
