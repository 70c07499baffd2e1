"""Who may ask: until there are accounts, callers on this machine.

The socket is reached through the workers, which alone set `x-gatehouse-peer` to the caller's address; anybody else on
the socket has none, or not one that we believe. Decided on `scope["path"]`, never on a URL built from `Host`.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from gatehouse import errors
from gatehouse.control.answers import refuse

HEADER: Final = b"x-gatehouse-peer"
JOURNAL_HEADER: Final = "x-gatehouse-journal"
"""Also the worker's own: what is wrong with its journal, if anything is."""
LOCAL: Final = "gatehouse.local"
"""Key in the scope: whether the caller is on this machine."""
PUBLIC: Final = frozenset({"/health"})
"""Paths that answer any caller, with less."""


class PeerGate:
    """ASGI middleware: 403 unless the caller is on this machine, or the path is for everybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = [value for name, value in scope["headers"] if name == HEADER]
        local = len(named) == 1 and is_loopback(named[0].decode("latin-1"))
        if local or (named and scope["path"] in PUBLIC):
            scope[LOCAL] = local
            await self._app(scope, receive, send)
            return
        detail = "the management API answers callers on this machine only; open it from there"
        await refuse(errors.FORBIDDEN, detail)(scope, receive, send)


def is_loopback(address: str) -> bool:
    """Whether this is an address of the machine's own loopback interface; false for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
