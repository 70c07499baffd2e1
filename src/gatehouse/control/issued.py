"""`/api/v1/auth/token`: platform tokens, the JWTs by which programs use the management API.

Rules: a token is somebody's and may do no more than they may, today and later; 24 hours at most. Whoever comes with a
token gets no other one: it would never end. The text is shown once; its `jti` is kept, and can be revoked by its
user, or by whoever manages members. A token opens nothing on the data plane.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth import platform
from gatehouse.auth.roles import ROLES, Permission, at_most, permissions
from gatehouse.control.accounts import Accounts, check_reach, still_signed_in
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import Caller, caller_of, denied
from gatehouse.control.parameters import Body, Id, NoParameters, Paging, once, referred
from gatehouse.errors import GatehouseError
from gatehouse.model.access import Role
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewToken
from gatehouse.store.directory.views import Page, PlatformToken
from gatehouse.store.views import Time

SHORTEST: Final = 60
"""Seconds that a token lives at least."""
USUAL: Final = 60 * 60


class TokenMade(msgspec.Struct, frozen=True):
    """A new platform token. `token` is shown once."""

    id: str
    """The `jti`."""
    token: str
    token_type: str
    """`Bearer`."""
    user: str
    scopes: list[str]
    """Permissions."""
    expires_at: Time


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/auth/token"): (200, Page[PlatformToken]),
    ("POST", "/api/v1/auth/token"): (201, TokenMade),
    ("DELETE", "/api/v1/auth/token/{id}"): (204, None),
}

Seconds = Annotated[
    int, Field(ge=SHORTEST, le=platform.LONGEST, description=f"How long it lives, {SHORTEST} to {platform.LONGEST}.")
]


class TokenBody(Body):
    """What the token is to be worth."""

    role: Annotated[
        Role | None, Field(description="What this role may; no more than the user. `null`: all that the user may.")
    ] = None
    scopes: Annotated[
        list[Annotated[str, Field(max_length=64)]],
        Field(max_length=len(Permission), description="Permissions, in place of a role."),
    ] = []
    ttl_seconds: Seconds = USUAL
    user: Annotated[Id | None, Field(description="Whose it is; for the operator only.")] = None


def routes(accounts: Accounts) -> APIRouter:
    """The routes over one tenant's platform tokens."""
    router = APIRouter(prefix="/api/v1/auth/token", tags=["signing in"])
    administration = accounts.administration

    @router.get("", summary="Platform tokens, newest first")
    async def list_tokens(request: Request, asked: Annotated[Paging, Query()]) -> Response:
        """One's own, or all of the tenant for whoever may see who has access."""
        once(request)
        caller = caller_of(request)
        mine = None if caller.may(Permission.ACCESS_READ) else _user(caller)
        return answer(await administration.reading(caller).tokens(asked.limit, asked.cursor, user=mine))

    @router.post("", summary="Make a platform token", status_code=201)
    async def create_token(request: Request, body: TokenBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """For whoever is signed in, or by the operator for a user."""
        caller = caller_of(request)
        if caller.kind not in ("user", "operator"):
            raise GatehouseError(errors.FORBIDDEN, "a platform token is made by whoever is signed in")
        if caller.kind == "user" and body.user not in (None, caller.user):
            raise GatehouseError(errors.FORBIDDEN, "a platform token is made for oneself")
        name = body.user or caller.user
        if name is None:
            raise InputError(FieldError("user", "name one: a token is somebody's"))
        user = await referred("user", administration.directory(caller).user(name))
        return answer(await issue(accounts, caller, name, scopes_of(user.role, body), body.ttl_seconds), 201)

    @router.delete("/{id}", summary="Revoke a platform token", status_code=204)
    async def revoke_token(
        request: Request,
        name: Annotated[Id, Path(alias="id", description="The token's `jti`.")],
        _asked: Annotated[NoParameters, Query()],
    ) -> Response:
        caller = caller_of(request)
        directory = administration.directory(caller)
        own = None if caller.may(Permission.MEMBERS_MANAGE) else _user(caller)
        whose = (await directory.token(name)).user
        if own not in (None, whose):
            raise GatehouseError(errors.NOT_FOUND, f"there is no token {name}")
        if whose != caller.user:
            await check_reach(caller, directory, whose)
        await directory.revoke_token(name, caller.event("token.revoke", "token", name))
        await administration.drained()
        return done()

    return router


def scopes_of(role: str, wanted: TokenBody) -> tuple[str, ...]:
    """What a token of a user with this role is made for. Raises `InputError`."""
    if wanted.role is not None and wanted.scopes:
        raise InputError(FieldError("scopes", "give these or a role, not both"))
    if wanted.role is not None:
        if not at_most(role, wanted.role):
            raise InputError(FieldError("role", f"the user's own role, {role}, may do less"))
        return _sorted(ROLES[wanted.role])
    if not wanted.scopes:
        return _sorted(permissions(role))
    may = {str(permission) for permission in permissions(role)}
    beyond = [name for name in wanted.scopes if name not in may]
    if beyond:
        raise InputError(FieldError("scopes", "holds what is no permission, or none that the user has"))
    return _sorted(wanted.scopes)


async def issue(accounts: Accounts, caller: Caller, user: str, scopes: tuple[str, ...], seconds: int) -> TokenMade:
    """A token for a user of the caller's tenant, on record. Raises `NotThere` for a user who may not log in;
    `GatehouseError` (401) where the caller's session was ended meanwhile."""
    now = int(time.time())
    name, expires = ids.new("token"), now + seconds
    made = accounts.tokens.issue(platform.PlatformToken(name, caller.tenant, user, scopes, now, expires))
    new = NewToken(name, user, scopes, expires * times.SECOND)
    event = caller.event("token.create", "token", name, user=user, scopes=list(scopes), ttl_seconds=seconds)
    async with accounts.administration.directory(caller).together() as inside:
        await inside.create_token(new, event)
        await still_signed_in(inside, caller)
    await accounts.administration.drained()
    return TokenMade(name, made.text, "Bearer", user, list(scopes), times.rfc3339(expires * times.SECOND))


def _user(caller: Caller) -> str:
    if caller.user is None:
        raise denied(caller, Permission.ACCESS_READ)
    return caller.user


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({str(name) for name in names}))
