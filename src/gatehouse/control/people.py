"""`/api/v1/users`: who belongs to a tenant, with which role.

Rules: nobody hands out a role above their own, and nobody touches whoever has one; a tenant keeps an owner
(`store.directory.people`). Whoever is made without a password gets an invitation, which is shown once. What takes
rights away answers when no worker goes by what was before. Events hold ids, roles and flags, no name and no address.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth import invitations, passwords
from gatehouse.control.accounts import Accounts, check_reach
from gatehouse.control.answers import Answers, answer, done
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.entrance import Email, Password
from gatehouse.control.parameters import Body, Id, Name, NoParameters, Paging, once
from gatehouse.control.projects import flags
from gatehouse.errors import GatehouseError
from gatehouse.model.access import Role
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewUser, UserChange, UserFilter
from gatehouse.store.directory.views import Page, User
from gatehouse.store.views import Time


class UserMade(msgspec.Struct, frozen=True):
    """A new user, and the invitation of one who has no password, which is shown once."""

    user: User
    invitation: str | None
    invitation_expires_at: Time | None


class Ended(msgspec.Struct, frozen=True):
    """How many sessions there were."""

    sessions: int


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/users"): (200, Page[User]),
    ("POST", "/api/v1/users"): (201, UserMade),
    ("GET", "/api/v1/users/{id}"): (200, User),
    ("PATCH", "/api/v1/users/{id}"): (200, User),
    ("DELETE", "/api/v1/users/{id}"): (204, None),
    ("POST", "/api/v1/users/{id}/invitation"): (201, UserMade),
    ("DELETE", "/api/v1/users/{id}/sessions"): (200, Ended),
}

UserId = Annotated[Id, Path(alias="id", description="Id of the user.")]


class UserParameters(Paging):
    """Which users."""

    email: Annotated[str | None, Field(max_length=254, description="The one with this address, in any case.")] = None
    role: Annotated[Role | None, Field(description="Those with this role.")] = None


class UserBody(Body):
    """A new user."""

    email: Email
    role: Role
    name: Name | None = None
    password: Annotated[
        Password | None,
        Field(description=f"At least {passwords.SHORTEST} characters; `null`: the answer holds an invitation."),
    ] = None


class UserUpdate(Body):
    """What changes; what is left out stays."""

    email: Email = ""
    role: Role = "viewer"
    name: Name | None = None
    disabled: Annotated[bool, Field(description="Ends sessions and platform tokens; keys are refused.")] = False


def routes(accounts: Accounts) -> APIRouter:
    """The routes over one tenant's people."""
    router = APIRouter(prefix="/api/v1/users", tags=["people"])
    administration = accounts.administration

    @router.get("", summary="Users, newest first")
    async def list_users(request: Request, asked: Annotated[UserParameters, Query()]) -> Response:
        """Those erased included: their ids stay, on calls and in the audit."""
        once(request)
        wanted = UserFilter(email=asked.email, role=asked.role)
        return answer(await administration.reading(caller_of(request)).users(wanted, asked.limit, asked.cursor))

    @router.post("", summary="Make or invite a user", status_code=201)
    async def create_user(request: Request, body: UserBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        _may_give(caller, body.role)
        name, invitation = ids.new("user"), None
        if body.password is not None:
            kept = await accounts.hashing.hash("password", body.password.get_secret_value())
        else:
            invitation = invitations.new_invitation(caller.tenant, name, int(time.time()))
            kept = invitation.kept
        new = NewUser(name, body.email, body.role, name=body.name, password_hash=kept)
        event = caller.event("user.create", "user", name, role=body.role, invited=invitation is not None)
        made = await administration.directory(caller).create_user(new, event)
        await administration.changed()
        return answer(_made(made, invitation), 201)

    @router.get("/{id}", summary="One user")
    async def show_user(request: Request, name: UserId, _asked: Annotated[NoParameters, Query()]) -> Response:
        return answer(await administration.reading(caller_of(request)).user(name))

    @router.patch("/{id}", summary="Change a user")
    async def update_user(
        request: Request, name: UserId, body: UserUpdate, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """Of the only owner, the role stays."""
        caller, given = caller_of(request), body.given()
        if "role" in given:
            _may_give(caller, body.role)
        async with administration.directory(caller).together() as directory:
            await check_reach(caller, directory, name)
            told = flags(given) | ({"role": body.role} if "role" in given else {})
            changed = await directory.update_user(
                name, UserChange(**given), caller.event("user.update", "user", name, **told)
            )
        await administration.revoked()
        return answer(changed)

    @router.delete("/{id}", summary="Erase a user", status_code=204)
    async def erase_user(request: Request, name: UserId, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Nothing is left of who it was; the id stays, and the user's keys are refused."""
        caller = caller_of(request)
        async with administration.directory(caller).together() as directory:
            await check_reach(caller, directory, name)
            await directory.erase_user(name, caller.event("user.erase", "user", name))
        await administration.revoked()
        return done()

    _ways_in(router, accounts)
    return router


def _ways_in(router: APIRouter, accounts: Accounts) -> None:
    administration = accounts.administration

    @router.post("/{id}/invitation", summary="Invite a user again", status_code=201)
    async def invite_user(request: Request, name: UserId, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Takes the place of the user's password, and of an invitation before; ends sessions and platform tokens."""
        caller = caller_of(request)
        invitation = invitations.new_invitation(caller.tenant, name, int(time.time()))
        async with administration.directory(caller).together() as directory:
            await check_reach(caller, directory, name)
            event = caller.event("user.invite", "user", name)
            invited = await directory.update_user(name, UserChange(password_hash=invitation.kept), event)
        await administration.changed()
        return answer(_made(invited, invitation), 201)

    @router.delete("/{id}/sessions", summary="End all sessions and platform tokens of a user")
    async def end_sessions(request: Request, name: UserId, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        async with administration.directory(caller).together() as directory:
            await check_reach(caller, directory, name)
            ended = await directory.end_sessions(name, caller.event("user.sessions_end", "user", name))
        await administration.drained()
        return answer(Ended(ended))


def _may_give(caller: Caller, role: str) -> None:
    """Raises `GatehouseError` (403)."""
    if not caller.may_give(role):
        raise GatehouseError(errors.FORBIDDEN, f"nobody hands out a role above their own: {role} may do more than you")


def _made(user: User, invitation: invitations.NewInvitation | None) -> UserMade:
    if invitation is None:
        return UserMade(user, None, None)
    return UserMade(user, invitation.text, times.rfc3339(invitation.expires * times.SECOND))
