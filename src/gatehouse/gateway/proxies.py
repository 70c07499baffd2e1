"""Proxies in front of us: which ones are believed, and whom they name as their client.

Rules: a client's address comes from the socket or, where a proxy that the operator named speaks, from the right-most
hop that is none of those proxies: anybody can write what stands left of it. A caller that came through a proxy is not
on this machine: a loopback address is one of the proxy's, or a lie.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from gatehouse.config.addresses import Address, networks, parsed, within
from gatehouse.http.message import Fields, Headers

UNKNOWN: Final = ""
"""The client of a proxy that does not say who it is."""
_NAMES: Final = frozenset((b"forwarded", b"via", b"x-real-ip"))
_PREFIX: Final = b"x-forwarded"
_CHAIN: Final = b"x-forwarded-for"
_HOP: Final = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d{1,5})?|([0-9.]+)(?::\d{1,5})?|([0-9a-fA-F:.]+)")
"""An address as `X-Forwarded-For` and RFC 7239's `for=` write it, with a port or without."""
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"\\]*)"|([^\s;"]*))\s*(?:;|$)', re.IGNORECASE)


class Proxies:
    """`server.trusted_proxies`."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks = networks(trusted)

    def trusts(self, peer: str) -> bool:
        """Whether this is the address of a proxy that is believed."""
        return within(parsed(peer), self._networks)

    def client(self, headers: Headers, fields: Fields, peer: str) -> str:
        """Whose request it is: an address, or `UNKNOWN`. `peer`: who sent it; `fields`: of `headers`."""
        if sent_by_proxy(fields) is None:
            return peer
        if not self.trusts(peer):
            return UNKNOWN
        chains = [hops for hops in (_forwarded(headers), _listed(headers)) if hops]
        named = {self._outermost(hops) for hops in chains}
        # Two headers that disagree: one of them was not written by our proxy.
        return named.pop() if len(named) == 1 else UNKNOWN

    def _outermost(self, hops: Sequence[str]) -> str:
        """The right-most hop that is none of ours; the left-most if all are."""
        found: Address | None = None
        for hop in reversed(hops):
            found = _hop(hop)
            if not within(found, self._networks):
                break
        return UNKNOWN if found is None or found.is_loopback else str(found)


def sent_by_proxy(fields: Fields) -> bytes | None:
    """The header that only a proxy sends, if there is one."""
    if _NAMES.isdisjoint(fields) and _PREFIX not in b"\n".join(fields):
        return None
    return next((name for name in fields if name in _NAMES or name.startswith(_PREFIX)), None)


def _hop(text: str) -> Address | None:
    match = _HOP.fullmatch(text)
    return None if match is None else parsed(match[1] or match[2] or match[3])


def _listed(headers: Headers) -> list[str]:
    return [hop.strip() for hop in _values(headers, _CHAIN)]


def _forwarded(headers: Headers) -> list[str]:
    """RFC 7239: one `for=` per element; an element without one hides its client."""
    found = (_FOR.search(element.strip()) for element in _values(headers, b"forwarded"))
    return [UNKNOWN if match is None else match[1] or match[2] or UNKNOWN for match in found]


def _values(headers: Headers, wanted: bytes) -> list[str]:
    """The elements of all lines of a header, in order."""
    lines = (value.decode("latin-1") for name, value in headers if name.lower() == wanted)
    return [element for line in lines for element in line.split(",")]
