"""The front door of a worker: guard, route, and hand to the plane that answers.

Rules: nothing here awaits. A request refused here has no call yet; it is worded in the dialect its path suggests and
leaves one refusal record, under the flood rule, since nobody was authenticated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gatehouse import errors
from gatehouse.dialects.registry import Endpoint, for_endpoint
from gatehouse.errors import GatehouseError
from gatehouse.gateway.guard import Guard
from gatehouse.http.exchange import Exchange
from gatehouse.http.message import Head
from gatehouse.http.websocket import check_handshake
from gatehouse.model.call import ANYBODY, Dialect
from gatehouse.model.record import Refusal
from gatehouse.pipeline.answer import say
from gatehouse.pipeline.serve import Pipeline
from gatehouse.ports import Journal
from gatehouse.routing.endpoints import tunnels
from gatehouse.routing.paths import recorded_path
from gatehouse.routing.table import Router

_ALLOWED: Final = b"access-control-allow-origin: %b\r\naccess-control-expose-headers: *\r\nvary: origin\r\n"
_PREFLIGHT: Final = (
    b"access-control-allow-origin: %b\r\naccess-control-allow-methods: GET, POST, PUT, PATCH, DELETE\r\n"
    b"access-control-allow-headers: %b\r\naccess-control-max-age: 600\r\nvary: origin\r\n"
)
_DIALECT_HINTS: Final[tuple[tuple[str, Dialect], ...]] = (("anthropic", "anthropic"), ("google", "google"))


class Management(Protocol):
    """The control plane, as one more upstream (`gateway.management`)."""

    def serve(self, exchange: Exchange, path: str) -> None: ...


class Front:
    """`http.server.Application` of a worker."""

    def __init__(
        self,
        *,
        guard: Guard,
        router: Router,
        pipeline: Pipeline,
        management: Management,
        journal: Journal,
        health: Callable[[], bool],
    ) -> None:
        self.router = router
        """Replaced with the snapshot."""
        self._guard = guard
        self._pipeline = pipeline
        self._management = management
        self._journal = journal
        self._health = health

    def serve(self, exchange: Exchange) -> None:
        head = exchange.head
        try:
            if not head.kin.admitted:
                self._guard.check(head, exchange.peer, exchange.wire.local)
                if exchange.upgrade:
                    self._check_upgrade(head)
                elif head.method == b"OPTIONS" and b"access-control-request-method" in head.fields:
                    self._preflight(exchange)
                    return
            resolution = self.router.resolve(head.method, head.path, head.query, head.headers)
            route = resolution.route
            if not head.kin.admitted and route is not None:
                self._admit_call(exchange)
        except GatehouseError as error:
            if error.kind is errors.BAD_REQUEST:
                exchange.keep = False  # whoever sends such a head may mean something else by what follows it
            exchange.answer(*self.reject(exchange, error))
            return
        if route is not None:
            self._pipeline.serve(exchange, route)
        elif resolution.plane == "control":
            self._management.serve(exchange, resolution.path)
        else:
            self._answer_health(exchange, resolution.path)

    def _check_upgrade(self, head: Head) -> None:
        """WebSocket is passed on where the endpoint table says so, and served nowhere."""
        route = self.router.resolve(b"GET", head.path, head.query, head.headers).route
        if route is None or not tunnels(route):
            raise GatehouseError(errors.UPGRADE_UNSUPPORTED, "WebSocket is not served here")
        check_handshake(head)

    def _admit_call(self, exchange: Exchange) -> None:
        """Check what holds for calls alone. A head without `Origin` need not be checked again while it repeats."""
        head = exchange.head
        self._guard.check_data(head)
        origin = self._guard.allowed_origin(head)
        if origin is None:
            head.kin.admitted = True
        else:
            exchange.extra = _ALLOWED % origin

    def reject(self, exchange: Exchange | None, error: GatehouseError) -> tuple[int, bytes, bytes]:
        """Word an error of a request that never became a call, and record it."""
        call_id = self._pipeline.next_id()
        head = exchange.head if exchange is not None else None
        path = recorded_path(head.path, head.query) if head is not None else ""
        refusal = Refusal(
            call=call_id,
            project=ANYBODY.project,
            outcome="refused",
            reason=error.detail,
            code=error.kind.code,
            status=error.kind.status,
            method=head.method.decode() if head is not None else "",
            path=path,
            request_bytes=exchange.received if exchange is not None else 0,
        )
        self._journal.refuse(ANYBODY.tenant, refusal, authenticated=False)
        return say(error, _endpoint_for(path), call_id)

    def _answer_health(self, exchange: Exchange, path: str) -> None:
        """Liveness: this loop turns. Readiness: it may also begin calls."""
        ready = path == "/health/live" or self._health()
        body = b'{"status":"healthy"}' if ready else b'{"status":"unhealthy"}'
        exchange.answer(200 if ready else 503, b"content-type: application/json\r\ncache-control: no-store\r\n", body)

    def _preflight(self, exchange: Exchange) -> None:
        """CORS preflights are answered here: no provider decides who may call this origin."""
        origin = self._guard.allowed_origin(exchange.head)
        if origin is None:
            error = GatehouseError(errors.FORBIDDEN, "a CORS preflight without an Origin that cors.origins names")
            exchange.answer(*self.reject(exchange, error))
            return
        asked = exchange.head.fields.get(b"access-control-request-headers", b"")
        exchange.answer(204, _PREFLIGHT % (origin, asked), b"")


def _endpoint_for(path: str) -> Endpoint:
    for hint, dialect in _DIALECT_HINTS:
        if hint in path:
            return for_endpoint(dialect, "other")
    return for_endpoint("openai", "other")
