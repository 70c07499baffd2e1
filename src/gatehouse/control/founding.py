"""How the first owner comes to be: the tenant `default`, its project `default`, and who may do everything there.

Rules: only while the tenant has no owner; an owner is made and never changed. Where the data directory says that there
was one and the directory has none, the directory was lost: nobody becomes owner of what is left by asking first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from gatehouse.config import founding as offers
from gatehouse.config.paths import DataDir
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, NewProject, NewTenant, NewUser
from gatehouse.store.directory.operator import OperatorStore

LOST: Final = (
    "this gateway has had an owner (the file `accounts` in its data directory says so), and its directory of accounts "
    "has none: bring that back (the database file, or database.url); or, to begin anew, stop `serve`, remove the file "
    "`accounts` and run `gatehouse init`"
)
_UNMARKED: Final = (
    "the directory of accounts has an owner, and accounts are off: from the next start auth.enabled is on unless the "
    "configuration says otherwise"
)

Standing = Literal["owned", "new", "lost"]


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


async def set_up(operator: OperatorStore, owner: Owner) -> Founded:
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


async def standing(operator: OperatorStore, data: DataDir) -> Standing:
    """Whether there is an owner. `lost`: there was one. Raises `StoreError`."""
    if await operator.has_owner():
        return "owned"
    return "lost" if data.accounts.exists() else "new"


async def at_odds(operator: OperatorStore, data: DataDir, *, enabled: bool) -> str | None:
    """What to say where the directory and the file `accounts` contradict each other. A file that is missing, as after
    a restore, is made again. `enabled`: `auth.enabled`. Raises `StoreError`, `OSError`."""
    found = await standing(operator, data)
    if found == "owned" and not data.accounts.exists():
        offers.mark(data)
        return None if enabled else _UNMARKED
    return LOST if found == "lost" else None


def _event(action: str, kind: str, target: str) -> Event:
    details = {"role": "owner"} if kind == "user" else {}
    return Event(ids.new("event"), times.now(), "operator", action, kind, target, details=details)
