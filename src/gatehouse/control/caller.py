"""Who asks the management API: what the gate found out, and what every handler decides by.

Rules: a handler takes its tenant from the `Caller` and from nowhere else (I6). What a caller may do is in its
`permissions`: those of its role, of a token or key only as far as its user still has them. `only_user` and `only_key`
are set where the caller may see or change its own alone: a handler must narrow what it reads and does by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from starlette.requests import HTTPConnection

from gatehouse import errors
from gatehouse.auth.roles import ROLES, Permission
from gatehouse.errors import GatehouseError
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import ActorKind, Event
from gatehouse.store.sight import Sight

SCOPE: Final = "gatehouse.caller"
"""Key in the ASGI scope."""

Kind = Literal["operator", "user", "token", "key", "local", "nobody"]
"""`operator`: whoever may read the data directory. `user`: a session. `local`: on this machine, while auth is off."""

_ACTORS: Final[dict[Kind, ActorKind]] = {"operator": "operator", "user": "user", "token": "token", "key": "key"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what it may do."""

    kind: Kind
    tenant: str = ids.DEFAULT
    id: str | None = None
    """Of the user, the platform token or the gateway key."""
    user: str | None = None
    """Id of the person behind it, if there is one."""
    role: str | None = None
    """Of the user, or the key's own."""
    permissions: frozenset[Permission] = frozenset()
    only_user: str | None = None
    """Only what is this user's."""
    only_key: str | None = None
    """Only what is this key's: of a key that is nobody's."""
    session: str | None = None
    address: str = ""
    """Where the request came from; empty if that is not known."""

    @property
    def sight(self) -> Sight:
        """What it may see of calls, figures and events."""
        return Sight(self.tenant, user=self.only_user, key=self.only_key)

    def may(self, permission: Permission) -> bool:
        """Whether it has this permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """For what only the handler knows to be needed. Raises `GatehouseError` (403)."""
        if permission not in self.permissions:
            raise denied(self, permission)

    def may_give(self, role: str | None) -> bool:
        """Whether it may hand out a role: nobody hands on more than they have. `None` is no role."""
        return role is None or (role in ROLES and ROLES[role] <= self.permissions)

    def event(self, action: str, target_kind: str, target: str, **details: Any) -> Event:
        """What it does now, for the journal. `details`: ids, numbers and flags; no name, no secret."""
        if self.kind == "token" and self.user is not None:
            # The token is forgotten when it has expired; who acted is not.
            details = {"actor_user": self.user, **details}
        actor = _ACTORS.get(self.kind, "system")
        return Event(ids.new("event"), times.now(), actor, action, target_kind, target, actor=self.id, details=details)


def caller_of(request: HTTPConnection) -> Caller:
    """Who the gate found to be asking."""
    found: Caller = request.scope[SCOPE]
    return found


def denied(caller: Caller, *permissions: Permission) -> GatehouseError:
    """A 403 that says what is missing, and of what the caller has too little."""
    needed = " or ".join(permissions)
    has = f"the role {caller.role} does" if caller.kind == "user" and caller.role else f"this {_shown(caller)} does"
    return GatehouseError(errors.FORBIDDEN, f"this needs the permission {needed}, which {has} not have")


def _shown(caller: Caller) -> str:
    return {"token": "platform token", "key": "gateway key"}.get(caller.kind, "caller")
