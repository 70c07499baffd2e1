"""How a head goes to one provider: with which credential, header lines and query. Made once per head and route.

Rules
- With accounts, a stored credential serves unless the caller brings a provider key of its own and its project lets it;
  what neither can serve is refused (403), and says which command would change that.
- A stored key must not lend its whole account: the call must match a row of the endpoint table, and what the provider
  keeps is reached only by the one project whose it is.
- Before a stored credential goes in, every position of a credential is cleared; a caller's own key goes nowhere but on
  the provider's own route (I3).
"""

from __future__ import annotations

from typing import Final

from gatehouse import errors
from gatehouse.auth.access import Grant, Stored
from gatehouse.auth.positions import Form, Positions
from gatehouse.errors import GatehouseError
from gatehouse.http.headers import RequestHeaders, lines
from gatehouse.http.message import Head, Headers
from gatehouse.http.websocket import handshake_lines
from gatehouse.model.call import Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.pipeline.trace import TRACE_HEADERS
from gatehouse.routing.scopes import Access as Row
from gatehouse.routing.scopes import access as row_of

_WEBSOCKET: Final = b"sec-websocket-key"


class Way:
    """The way to one provider."""

    __slots__ = (
        "handshake",
        "headers",
        "host",
        "identity_lines",
        "lines",
        "origin",
        "query",
        "route",
        "row",
        "signs",
        "stored",
    )

    def __init__(
        self,
        route: Route,
        entry: ProviderEntry,
        positions: Positions,
        grant: Grant | None,
        head: Head,
        filters: RequestHeaders,
    ) -> None:
        """`grant`: of the caller; `None` without accounts. Raises `GatehouseError` (403)."""
        self.route = route
        self.row: Row | None = None
        """Of the endpoint table; `None` without accounts, and for what is not in it."""
        self.stored: tuple[Stored, ...] = ()
        """The credentials that may serve; none: the caller's own key does, or nobody needs one."""
        self.signs = False
        """What goes up may have to be signed, which takes its whole body."""
        self.origin = str(route.origin)
        self.host = (self.origin.partition("://")[2] or "localhost").encode()
        form = Form(head.headers, head.query)
        if grant is not None:
            self.row = row_of(entry, route, head.method)
            form = self._authorised(grant, positions, socket=_WEBSOCKET in head.fields)
        self.query = form.query
        self.handshake = handshake_lines(form.headers) if _WEBSOCKET in head.fields else b""
        """Header lines that make it the caller's handshake; they can hold a key, too."""
        kept = filters.upstream(form.headers)
        if not TRACE_HEADERS.isdisjoint(head.fields):
            kept = [pair for pair in kept if pair[0].lower() not in TRACE_HEADERS]
        self.headers: Headers = kept
        self.lines = lines(kept)
        """The caller's header lines as they go upstream."""
        plain = [pair for pair in kept if pair[0].lower() != b"accept-encoding"]
        self.identity_lines = lines([*plain, (b"accept-encoding", b"identity")])
        """The same for an answer that is to be edited, and must arrive unencoded."""

    def _authorised(self, grant: Grant, positions: Positions, *, socket: bool) -> Form:
        """The head as it may go, with what serves it chosen. Raises `GatehouseError` (403)."""
        route, row = self.route, self.row
        grant.check_provider(route.provider)
        builtin = route.origin.builtin
        if grant.project.bound.get(route.provider) is not None and not builtin and not _own(grant, route, positions):
            if row is None:
                raise GatehouseError(
                    errors.SCOPE_DENIED,
                    "this endpoint cannot be reached with a stored credential: it is not in the endpoint table",
                )
            grant.check_scope(row.scope)
            self.stored = _able(grant, route, self.origin, row, socket=socket)
            self.signs = any([each.injection.signs for each in self.stored])
            return positions.cleared()
        grant.check_scope(row.scope if row is not None else "provider:any")
        if builtin:
            return positions.cleared()
        if not _own(grant, route, positions):
            raise _without_credential(grant, route, positions)
        return positions.own()


def _own(grant: Grant, route: Route, positions: Positions) -> bool:
    """Whether the caller's own provider key is used."""
    return bool(positions.provider) and route.surface == "transparent" and grant.may_bring(route.provider)


def _able(grant: Grant, route: Route, origin: str, row: Row, *, socket: bool) -> tuple[Stored, ...]:
    """The project's credentials that may serve this endpoint.

    Raises `GatehouseError`: 403, or 426 for a WebSocket, at which clients turn to HTTP at once.
    """
    found = grant.stored(route.provider, origin)
    if not found:
        raise _without_credential(grant, route, None)
    if not row.stored:
        return found
    project = grant.project.entry.id
    own = tuple(each for each in found if each.exclusive == project or (each.exclusive is None and not each.shared))
    if not own:
        raise GatehouseError(
            errors.UPGRADE_UNSUPPORTED if socket else errors.FORBIDDEN,
            f"what provider {route.provider} keeps cannot be reached here: the credential serves several projects; "
            "give this one a credential of its own, or mark one exclusive to it",
        )
    return own


def _without_credential(grant: Grant, route: Route, positions: Positions | None) -> GatehouseError:
    provider = route.provider
    command = f"gatehouse project enable {provider} --credential NAME"
    if grant.test:
        why = f"test keys reach `simulated` and credentials marked test; this project has none for {provider}"
        return GatehouseError(errors.NO_CREDENTIAL, f"{why}: {command}")
    if grant.project.bound.get(provider):
        why = f"no credential for provider {provider} at this address can be used; see `gatehouse credential list`"
        return GatehouseError(errors.NO_CREDENTIAL, why)
    if positions is not None and positions.provider:
        why = f"this project does not allow callers' own keys for {provider}, and has no credential for it"
        return GatehouseError(errors.NO_CREDENTIAL, f"{why}: {command}")
    return GatehouseError(errors.NO_CREDENTIAL, f"this project has no credential for provider {provider}: {command}")
