"""Users of one tenant.

Rules: an e-mail address names one user per tenant, in any case; a sign-on provider's (issuer, subject) as well. What
tells who somebody was can be erased, the id stays. A tenant that has an owner keeps one. A user who is disabled, or
whose password is replaced, is shut out: sessions and platform tokens end.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType
from sqlalchemy import ColumnElement, FromClause, Row, case, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.auth.invitations import is_invitation
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, NewUser, UserChange, UserFilter
from gatehouse.store.directory.entrances import shut_out
from gatehouse.store.directory.errors import InUse, NotThere, Replaced, Taken
from gatehouse.store.directory.limits import drop_limits
from gatehouse.store.directory.schema import keys, users
from gatehouse.store.directory.scoped import Scoped, changed, folded, viewed
from gatehouse.store.directory.views import Page, User

OWNER: Final = "owner"
"""The role that a tenant is never without, once somebody has it (`auth.roles`)."""
NOBODY: Final = {"email": None, "email_key": None, "name": None, "password_hash": None, "issuer": None, "subject": None}


def role_now(people: FromClause) -> ColumnElement[str | None]:
    """Of a row of users: the role that counts; of a disabled one, a role without any permission."""
    return case((people.c.disabled, ""), else_=people.c.role)


class People(Scoped):
    """Users."""

    async def create_user(self, new: NewUser, event: Event) -> User:
        """Raises `Taken`."""
        ids.require("user", new.id)
        async with self._changing(event) as connection:
            await self._nobody_else(connection, new.email, new.issuer, new.subject)
            more = {"email_key": folded(new.email), "created_at": event.at, "disabled": False}
            await self._put(connection, users, new, **more)
            return _user(await self._row(connection, users, new.id, "user"))

    async def user(self, name: str) -> User:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            return _user(await self._row(connection, users, name, "user"))

    async def users(self, wanted: UserFilter, limit: int, cursor: str | None = None) -> Page[User]:
        """Newest first, those erased included. Raises `CursorError`."""
        conditions: list[ColumnElement[bool]] = []
        if wanted.email is not None:
            conditions.append(users.c.email_key == folded(wanted.email))
        if wanted.role is not None:
            conditions.append(users.c.role == wanted.role)
        rows, further = await self._page(users, conditions, limit, cursor)
        return Page([_user(row) for row in rows], further)

    async def user_linked(self, issuer: str, subject: str) -> User | None:
        """Whom a sign-on provider means. `None`: nobody yet."""
        async with self._opened() as connection:
            where = (users.c.issuer == issuer, users.c.subject == subject)
            found = (await connection.execute(self._select(users).where(*where))).one_or_none()
            return None if found is None else _user(found)

    async def password_hash(self, name: str) -> str | None:
        """What a user's password is held against; `None`: the user has none. Raises `NotThere`."""
        async with self._opened() as connection:
            found: str | None = (await self._row(connection, users, name, "user")).password_hash
            return found

    async def update_user(
        self, name: str, change: UserChange, event: Event, *, held: str | None | UnsetType = UNSET
    ) -> User:
        """`held`: what a password was held against, and is replaced only if it is still kept.

        Raises `NotThere`, `Taken`, `Replaced`; `InUse` where the tenant would be left without an owner."""
        async with self._changing(event) as connection:
            before = await self._row(connection, users, name, "user")
            if before.erased_at is not None:
                raise NotThere(f"user {name} was erased")
            if held is not UNSET and before.password_hash != held:
                raise Replaced(f"the password of user {name} was replaced meanwhile")
            values = changed(change)
            if (values.get("role", OWNER), values.get("disabled", False)) != (OWNER, False):
                await self._keep_an_owner(connection, before)
            if change.email is not UNSET:
                values["email_key"] = folded(change.email)
                if values["email_key"] != before.email_key:
                    await self._nobody_else(connection, change.email, None, None)
            link = values.get("issuer", before.issuer), values.get("subject", before.subject)
            if link != (before.issuer, before.subject):
                await self._nobody_else(connection, None, *link)
            await self._change(connection, users, name, **values)
            if "password_hash" in values or values.get("disabled"):
                await shut_out(connection, self._tenant, name, event.at)
            return _user(await self._row(connection, users, name, "user"))

    async def erase_user(self, name: str, event: Event) -> None:
        """Nothing is left of who it was: not in the user, not in labels of the user's keys, which are refused from now
        on. Raises `NotThere`; `InUse` where the tenant would be left without an owner."""
        async with self._changing(event) as connection:
            before = await self._row(connection, users, name, "user")
            if before.erased_at is not None:
                raise NotThere(f"user {name} was erased")
            await self._keep_an_owner(connection, before)
            await self._change(connection, users, name, disabled=True, erased_at=event.at, **NOBODY)
            own = (keys.c.tenant == self._tenant, keys.c.user_id == name)
            await connection.execute(update(keys).where(*own).values(owner=None, name=None))
            await shut_out(connection, self._tenant, name, event.at)
            await drop_limits(connection, self._tenant, "user", name, event.at)

    async def _nobody_else(
        self, connection: AsyncConnection, email: str | None, issuer: str | None, subject: str | None
    ) -> None:
        """Raises `Taken`."""
        if email is not None and not await self._free(connection, users, users.c.email_key == folded(email)):
            raise Taken(f"there is a user with the e-mail address {email} already")
        if issuer is None or subject is None:
            return
        if not await self._free(connection, users, users.c.issuer == issuer, users.c.subject == subject):
            raise Taken(f"another user is linked to the subject {subject} of {issuer} already")

    async def _keep_an_owner(self, connection: AsyncConnection, user: Row[Any]) -> None:
        """Raises `InUse` if this is the only owner."""
        others = (users.c.role == OWNER, ~users.c.disabled, users.c.id != user.id)
        if user.role == OWNER and not user.disabled and await self._free(connection, users, *others):
            raise InUse(f"user {user.id} is the only owner; make somebody else one first")


def _user(row: Row[Any]) -> User:
    kept = row.password_hash
    return viewed(User, row, has_password=kept is not None and not is_invitation(kept))
