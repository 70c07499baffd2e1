"""Who may speak to this origin at all: the browser and loopback rules.

Two dangers. A provider's answer must never act with the console's session, and a page elsewhere must not drive a local
gateway from a visitor's browser: so foreign origins, navigations and cross-site requests are refused. And loopback is
no credential: behind a proxy every request comes from 127.0.0.1, so without accounts a proxied request is refused
unless the operator named the proxy.

Rules: decided on the head alone, before routing; each refusal says which header and which setting.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from gatehouse import errors
from gatehouse.config.settings import Settings
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Fields, Head

_PROXIED: Final = frozenset((b"forwarded", b"via", b"x-real-ip"))
_PROXIED_PREFIX: Final = b"x-forwarded"
_LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_HOST: Final = re.compile(rb"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{0,5})?")
_HOST_BYTES: Final = 255 + len(":65535")
_REMEMBERED: Final = 1024

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Guard:
    """Built once from settings."""

    def __init__(self, settings: Settings) -> None:
        server = settings.server
        self._origins = frozenset(origin.rstrip("/").lower().encode() for origin in settings.cors.origins)
        self._hosts = _LOOPBACK_NAMES | {name.lower() for name in server.allowed_hosts}
        if server.public_url is not None:
            public = urlsplit(server.public_url).hostname
            self._hosts |= {public} if public else frozenset()
        self._proxies: tuple[Network, ...] = tuple(
            ipaddress.ip_network(entry, strict=False) for entry in server.trusted_proxies
        )
        self._known_hosts: dict[tuple[bytes, str], bool] = {}

    def check(self, head: Head, peer: str, local: str) -> None:
        """For every plane. Raises `GatehouseError`. `peer`: the client's address; `local`: ours, as it connected."""
        fields = head.fields
        if not self._host_known(head.host, local):
            raise GatehouseError(
                errors.FORBIDDEN,
                "this Host is not served; name it in server.allowed_hosts or server.public_url if it is yours",
            )
        if not _PROXIED.isdisjoint(fields) or _PROXIED_PREFIX in b"\n".join(fields):
            self._check_proxy(fields, peer)
        origin = fields.get(b"origin")
        if origin is not None and origin.lower() not in self._origins and origin.partition(b"://")[2] != head.host:
            raise GatehouseError(errors.FORBIDDEN, "this Origin may not call; name it in cors.origins")

    def check_data(self, head: Head) -> None:
        """For calls to models: no document, and no page but those the operator named, not even our own."""
        fields = head.fields
        if fields.get(b"sec-fetch-mode") == b"navigate":
            raise GatehouseError(errors.FORBIDDEN, "a browser cannot open this address (Sec-Fetch-Mode: navigate)")
        origin = fields.get(b"origin")
        if origin is not None:
            if origin.lower() not in self._origins:
                raise GatehouseError(errors.FORBIDDEN, "this Origin may not call; name it in cors.origins")
        elif fields.get(b"sec-fetch-site") == b"cross-site":
            raise GatehouseError(errors.FORBIDDEN, "cross-site browser request without an allowed Origin")

    def allowed_origin(self, head: Head) -> bytes | None:
        """The caller's `Origin`, if it is one of `cors.origins`."""
        origin = head.fields.get(b"origin")
        return origin if origin is not None and origin.lower() in self._origins else None

    def _check_proxy(self, fields: Fields, peer: str) -> None:
        """`peer` sent something that only a proxy sends: is it one of ours?"""
        name = next((name for name in fields if name in _PROXIED or name.startswith(_PROXIED_PREFIX)), None)
        address = _address(peer)
        if name is not None and not (address and any(address in network for network in self._proxies)):
            raise GatehouseError(
                errors.FORBIDDEN,
                f"the request came through a proxy ({name.decode()[:64]}) that server.trusted_proxies does not name",
            )

    def _host_known(self, host: bytes, local: str) -> bool:
        key = (host, local)
        known = self._known_hosts.get(key)
        if known is None:
            known = self._judge_host(host, local)
            if len(self._known_hosts) < _REMEMBERED and len(host) <= _HOST_BYTES:
                self._known_hosts[key] = known
        return known

    def _judge_host(self, host: bytes, local: str) -> bool:
        match = _HOST.fullmatch(host.lower()) if len(host) <= _HOST_BYTES else None
        if match is None:
            return False
        name = (match[1] or match[2]).decode("ascii").removesuffix(".")
        if name in self._hosts:
            return True
        # A literal address cannot be rebound by DNS; ours is as good as a name.
        address = _address(name)
        return address is not None and address == _address(local)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
