"""How the first owner comes to be: the tenant `default`, its project `default`, and who may do everything there.

Rules: only while the tenant has no owner; an owner is made and never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, NewProject, NewTenant, NewUser
from gatehouse.store.directory.operator import OperatorStore


@dataclass(frozen=True)
class Owner:
    """Who is to be the first."""

    email: str
    password_hash: str = field(repr=False)
    name: str | None = None


class Founded(msgspec.Struct, frozen=True):
    """What was made."""

    tenant: str
    project: str
    user: str


async def found(operator: OperatorStore, owner: Owner) -> Founded:
    """All three, or nothing; what is there of the first two stays. Raises `Taken` where there is an owner."""
    tenant = NewTenant(ids.DEFAULT, "default")
    project = NewProject(ids.DEFAULT, str(ids.uuid7()), "default")
    user = NewUser(ids.new("user"), owner.email, "owner", name=owner.name, password_hash=owner.password_hash)
    events = [
        _event("tenant.create", "tenant", tenant.id),
        _event("project.create", "project", project.id),
        _event("user.create", "user", user.id),
    ]
    await operator.set_up(tenant, project, user, events)
    return Founded(tenant.id, project.id, user.id)


def _event(action: str, kind: str, target: str) -> Event:
    details = {"role": "owner"} if kind == "user" else {}
    return Event(ids.new("event"), times.now(), "operator", action, kind, target, details=details)
