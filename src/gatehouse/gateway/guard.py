"""Who may speak to this origin at all: the browser and loopback rules.

Two dangers. A provider's answer must never act with the console's session, and a page elsewhere must not drive a local
gateway from a visitor's browser: so foreign origins, navigations and cross-site requests are refused. And loopback is
no credential: behind a proxy every request comes from 127.0.0.1, so without accounts a proxied request is refused
unless the operator named the proxy.

Rules: decided on the head alone, before routing; each refusal says which header and which setting.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from gatehouse import errors
from gatehouse.config.addresses import parsed
from gatehouse.config.settings import Settings
from gatehouse.errors import GatehouseError
from gatehouse.gateway.proxies import Proxies, sent_by_proxy
from gatehouse.http.message import Head

_LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_FETCHED: Final = (b"empty", b"websocket")
"""What a browser says of requests that a script makes and reads itself."""
_HOST: Final = re.compile(rb"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{0,5})?")
_HOST_BYTES: Final = 255 + len(":65535")
_REMEMBERED: Final = 1024


class Guard:
    """Built once from settings."""

    def __init__(self, settings: Settings) -> None:
        server = settings.server
        self._origins = frozenset(origin.rstrip("/").lower().encode() for origin in settings.cors.origins)
        self._hosts = _LOOPBACK_NAMES | {name.lower() for name in server.allowed_hosts}
        if server.public_url is not None:
            public = urlsplit(server.public_url).hostname
            self._hosts |= {public} if public else frozenset()
        self._proxies = Proxies(server.trusted_proxies)
        self._known_hosts: dict[tuple[bytes, str], bool] = {}

    def check(self, head: Head, peer: str, local: str) -> None:
        """For every plane. Raises `GatehouseError`. `peer`: the client's address; `local`: ours, as it connected."""
        fields = head.fields
        if not self._host_known(head.host, local):
            raise GatehouseError(
                errors.FORBIDDEN,
                "this Host is not served; name it in server.allowed_hosts or server.public_url if it is yours",
            )
        told = sent_by_proxy(fields)
        if told is not None and not self._proxies.trusts(peer):
            raise GatehouseError(
                errors.FORBIDDEN,
                f"the request came through a proxy ({told.decode()[:64]}) that server.trusted_proxies does not name",
            )
        origin = fields.get(b"origin")
        if origin is not None and origin.lower() not in self._origins and origin.partition(b"://")[2] != head.host:
            raise GatehouseError(errors.FORBIDDEN, "this Origin may not call; name it in cors.origins")

    def check_data(self, head: Head) -> None:
        """For calls to models: no document, and no page but those the operator named, not even our own."""
        fields = head.fields
        if fields.get(b"sec-fetch-mode") == b"navigate":
            raise GatehouseError(errors.FORBIDDEN, "a browser cannot open this address (Sec-Fetch-Mode: navigate)")
        if fields.get(b"sec-fetch-dest", b"empty") not in _FETCHED:
            # As a script, a worker or a frame it would be part of a page, ours perhaps.
            raise GatehouseError(errors.FORBIDDEN, "a page can fetch this address, not embed it (Sec-Fetch-Dest)")
        origin = fields.get(b"origin")
        if origin is not None:
            if origin.lower() not in self._origins:
                raise GatehouseError(errors.FORBIDDEN, "this Origin may not call; name it in cors.origins")
        elif fields.get(b"sec-fetch-site") == b"cross-site":
            raise GatehouseError(errors.FORBIDDEN, "cross-site browser request without an allowed Origin")

    def client(self, head: Head, peer: str) -> str:
        """The address of who asks, which behind a proxy is not `peer`; empty where the proxy does not say."""
        return self._proxies.client(head.headers, head.fields, peer)

    def allowed_origin(self, head: Head) -> bytes | None:
        """The caller's `Origin`, if it is one of `cors.origins`."""
        origin = head.fields.get(b"origin")
        return origin if origin is not None and origin.lower() in self._origins else None

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
        literal = parsed(name)
        return literal is not None and literal == parsed(local)
