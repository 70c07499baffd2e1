"""What each route of the management API asks for: the one table.

Rules
- Deny by default: a route without a row is there for nobody. A test walks every route and every row.
- A row is found by the path alone, as the router finds the route: segment by segment, what is written out before what
  is named in braces.
- `Own`: the first permission allows it for the whole tenant, the second alone for one's own things.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from gatehouse.auth.roles import Permission as P


class Own(NamedTuple):
    """`all`: for everybody's things. `own`: for one's own."""

    all: P
    own: P


class House(NamedTuple):
    """About the gateway as a whole: for the operator, and in the first tenant for who has the permission."""

    permission: P


Rule = P | Own | House | Literal["public", "caller", "operator"]
"""`public`: anybody. `caller`: anybody known. `operator`: whoever may read the data directory."""

_TRACES: Final = Own(P.TRACES_READ, P.TRACES_READ_OWN)
_KEYS: Final = Own(P.KEYS_MANAGE, P.KEYS_MANAGE_OWN)
_KEYS_SEEN: Final = Own(P.ACCESS_READ, P.KEYS_MANAGE_OWN)
_FIGURES: Final = Own(P.ANALYTICS_READ, P.TRACES_READ_OWN)

TABLE: Final[Mapping[tuple[str, str], Rule]] = MappingProxyType(
    {
        ("GET", "/health"): "public",
        ("HEAD", "/health"): "public",
        ("GET", "/metrics"): House(P.ANALYTICS_READ),
        ("HEAD", "/metrics"): House(P.ANALYTICS_READ),
        ("GET", "/api/v1/openapi.json"): "caller",
        # Calls and figures
        ("GET", "/api/v1/traces"): _TRACES,
        ("GET", "/api/v1/traces/{id}"): _TRACES,
        ("GET", "/api/v1/live"): _TRACES,
        ("GET", "/api/v1/analytics/usage"): _FIGURES,
        ("GET", "/api/v1/analytics/cost"): _FIGURES,
        ("GET", "/api/v1/analytics/latency"): _FIGURES,
        ("GET", "/api/v1/analytics/errors"): _FIGURES,
        ("GET", "/api/v1/analytics/models"): _FIGURES,
        ("GET", "/api/v1/analytics/keys"): _FIGURES,
        ("GET", "/api/v1/analytics/summary"): _FIGURES,
        ("GET", "/api/v1/analytics/explain"): _FIGURES,
        ("GET", "/api/v1/analytics/logs"): _TRACES,  # calls, one by one
        ("GET", "/api/v1/analytics/stats"): _FIGURES,
        # Signing in
        ("GET", "/api/v1/setup"): "public",
        ("POST", "/api/v1/setup"): "public",
        ("GET", "/api/v1/session"): "public",
        ("POST", "/api/v1/session"): "public",
        ("DELETE", "/api/v1/session"): "public",
        ("POST", "/api/v1/invitation"): "public",
        ("GET", "/api/v1/sso/start"): "public",
        ("GET", "/api/v1/sso/callback"): "public",
        ("POST", "/api/v1/sso/token"): "public",
        ("POST", "/api/v1/sso/link"): "caller",
        # Oneself
        ("GET", "/api/v1/me"): "caller",
        ("PUT", "/api/v1/me/password"): "caller",
        ("GET", "/api/v1/auth/token"): "caller",
        ("POST", "/api/v1/auth/token"): "caller",
        ("DELETE", "/api/v1/auth/token/{id}"): "caller",
        # Projects, credentials, keys, limits, issuers
        ("GET", "/api/v1/projects"): P.PROJECTS_READ,
        ("POST", "/api/v1/projects"): P.PROJECTS_MANAGE,
        ("GET", "/api/v1/projects/{id}"): P.PROJECTS_READ,
        ("PATCH", "/api/v1/projects/{id}"): P.PROJECTS_MANAGE,
        ("DELETE", "/api/v1/projects/{id}"): P.PROJECTS_MANAGE,
        ("PUT", "/api/v1/projects/{id}/providers/{provider}/{credential}"): P.PROJECTS_MANAGE,
        ("DELETE", "/api/v1/projects/{id}/providers/{provider}/{credential}"): P.PROJECTS_MANAGE,
        ("DELETE", "/api/v1/projects/{id}/providers/{provider}"): P.PROJECTS_MANAGE,
        ("GET", "/api/v1/credentials"): P.ACCESS_READ,
        ("POST", "/api/v1/credentials"): P.CREDENTIALS_MANAGE,
        ("GET", "/api/v1/credentials/{id}"): P.ACCESS_READ,
        ("PATCH", "/api/v1/credentials/{id}"): P.CREDENTIALS_MANAGE,
        ("DELETE", "/api/v1/credentials/{id}"): P.CREDENTIALS_MANAGE,
        ("POST", "/api/v1/credentials/{id}/rotate"): P.CREDENTIALS_MANAGE,
        ("POST", "/api/v1/credentials/{id}/test"): P.CREDENTIALS_MANAGE,
        ("GET", "/api/v1/keys"): _KEYS_SEEN,
        ("POST", "/api/v1/keys"): _KEYS,
        ("GET", "/api/v1/keys/{id}"): _KEYS_SEEN,
        ("PATCH", "/api/v1/keys/{id}"): _KEYS,
        ("DELETE", "/api/v1/keys/{id}"): _KEYS,
        ("POST", "/api/v1/keys/{id}/rotate"): _KEYS,
        ("GET", "/api/v1/gateway/keys"): _KEYS_SEEN,
        ("POST", "/api/v1/gateway/keys"): _KEYS,
        ("DELETE", "/api/v1/gateway/keys/{id}"): _KEYS,
        ("GET", "/api/v1/services/keys"): _KEYS_SEEN,
        ("POST", "/api/v1/services/keys"): _KEYS,
        ("GET", "/api/v1/limits"): P.PROJECTS_READ,
        ("POST", "/api/v1/limits"): P.LIMITS_MANAGE,
        ("GET", "/api/v1/limits/{id}"): P.PROJECTS_READ,
        ("PATCH", "/api/v1/limits/{id}"): P.LIMITS_MANAGE,
        ("DELETE", "/api/v1/limits/{id}"): P.LIMITS_MANAGE,
        ("GET", "/api/v1/issuers"): P.ACCESS_READ,
        ("POST", "/api/v1/issuers"): P.TENANT_MANAGE,
        ("GET", "/api/v1/issuers/{id}"): P.ACCESS_READ,
        ("PATCH", "/api/v1/issuers/{id}"): P.TENANT_MANAGE,
        ("DELETE", "/api/v1/issuers/{id}"): P.TENANT_MANAGE,
        ("POST", "/api/v1/issuers/{id}/refresh"): P.TENANT_MANAGE,
        # What happened
        ("GET", "/api/v1/audit"): P.AUDIT_READ,
        ("GET", "/api/v1/events"): P.ANALYTICS_READ,
        ("GET", "/api/v1/events/webhook"): P.LIMITS_MANAGE,
        ("PUT", "/api/v1/events/webhook"): P.LIMITS_MANAGE,
        ("DELETE", "/api/v1/events/webhook"): P.LIMITS_MANAGE,
        ("POST", "/api/v1/events/webhook/test"): P.LIMITS_MANAGE,
        ("POST", "/api/v1/secrets/rotate"): "operator",
        # People and tenants
        ("GET", "/api/v1/users"): P.ACCESS_READ,
        ("POST", "/api/v1/users"): P.MEMBERS_MANAGE,
        ("GET", "/api/v1/users/{id}"): P.ACCESS_READ,
        ("PATCH", "/api/v1/users/{id}"): P.MEMBERS_MANAGE,
        ("DELETE", "/api/v1/users/{id}"): P.MEMBERS_MANAGE,
        ("POST", "/api/v1/users/{id}/invitation"): P.MEMBERS_MANAGE,
        ("DELETE", "/api/v1/users/{id}/sessions"): P.MEMBERS_MANAGE,
        ("GET", "/api/v1/tenants"): "operator",
        ("POST", "/api/v1/tenants"): "operator",
        ("PATCH", "/api/v1/tenants/{id}"): "operator",
    }
)
"""(method, path template) → who may."""


class _Node:
    """Templates by their next segment."""

    __slots__ = ("any", "methods", "named")

    def __init__(self) -> None:
        self.named: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.methods: dict[str, Rule] = {}


class Rules:
    """The table, ready to be asked."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root = _Node()
        for (method, template), rule in TABLE.items():
            _placed(self._root, template.split("/")).methods[method] = rule

    def of(self, path: str) -> Mapping[str, Rule]:
        """The rules of a path by method; none if there is nothing at this path."""
        found = _found(self._root, path.split("/"))
        return {} if found is None else found.methods


def _placed(node: _Node, segments: Iterable[str]) -> _Node:
    for segment in segments:
        if segment.startswith("{"):
            if node.any is None:
                node.any = _Node()
            node = node.any
        else:
            node = node.named.setdefault(segment, _Node())
    return node


def _found(node: _Node, segments: list[str]) -> _Node | None:
    """As the router does: the first template that fits whole."""
    if not segments:
        return node if node.methods else None
    first, rest = segments[0], segments[1:]
    if first in node.named:
        found = _found(node.named[first], rest)
        if found is not None:
            return found
    return _found(node.any, rest) if node.any is not None and first else None
