"""`/api/v1/setup`, `/session`, `/me`, `/invitation`: coming in, going out, and what one is told of oneself.

Rules: whether an e-mail address is anybody's cannot be told from an answer, nor from the time it takes. Each attempt to
log in is an event, with the user's id at most. A log-in needs an `Origin` of ours, as all that a browser changes does.
"""

from __future__ import annotations

import contextlib
import time
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, Field, SecretStr
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth import invitations, passwords
from gatehouse.auth.roles import permissions
from gatehouse.config import founding as offers
from gatehouse.control import cookies, founding
from gatehouse.control.accounts import REPLACED, Accounts, failed, signed_in
from gatehouse.control.administration import own_event
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.founding import Owner
from gatehouse.control.parameters import Body, Id, Name, NoParameters
from gatehouse.errors import GatehouseError
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import UserChange
from gatehouse.store.directory.errors import NotThere, Replaced, Taken
from gatehouse.store.directory.views import LogIn

_WRONG: Final = "the e-mail address or the password is wrong"
_SETUP: Final[dict[founding.Standing, str]] = {
    "new": "POST token, email and password here: the token is what stands behind the # of the link",
    "owned": "there is an owner; sign in",
    "lost": founding.LOST,
}
_TENANTS: Final = 4
"""Tenants that one e-mail address is tried in, if none is named."""


class SetupState(msgspec.Struct, frozen=True):
    """Whether somebody has to be the first owner yet."""

    needed: bool
    detail: str


class SetUp(msgspec.Struct, frozen=True):
    """What was made."""

    tenant: str
    project: str
    user: str
    restart: bool
    """Whether `auth.enabled` comes into force with the next start of `serve`."""


class SessionState(msgspec.Struct, frozen=True):
    """Whether the browser is signed in, and how one can sign in here."""

    signed_in: bool
    password: bool
    sso: bool
    setup: bool


class Me(msgspec.Struct, frozen=True):
    """Who asks."""

    kind: str
    """`user`, `token`, `key`, `operator`, or `local` while auth is off."""
    id: str | None
    tenant: str
    tenant_name: str | None
    user: str | None
    email: str | None
    name: str | None
    role: str | None
    permissions: list[str]


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/setup"): (200, SetupState),
    ("POST", "/api/v1/setup"): (201, SetUp),
    ("GET", "/api/v1/session"): (200, SessionState),
    ("POST", "/api/v1/session"): (201, Me),
    ("DELETE", "/api/v1/session"): (204, None),
    ("POST", "/api/v1/invitation"): (201, Me),
    ("GET", "/api/v1/me"): (200, Me),
    ("PUT", "/api/v1/me/password"): (201, Me),
}


def email_address(value: str) -> str:
    """An address by its outline; whether it is somebody's nobody can tell from looking. Raises `ValueError`."""
    name, at, host = value.rpartition("@")
    if not (name and at and host) or not value.isprintable() or any(letter.isspace() for letter in value):
        raise ValueError("no e-mail address")
    return value


Email = Annotated[str, Field(max_length=254, description="E-mail address."), AfterValidator(email_address)]
Password = Annotated[SecretStr, Field(max_length=passwords.LONGEST)]
Secret = Annotated[SecretStr, Field(max_length=512)]


class SetupBody(Body):
    """The first owner."""

    token: Annotated[Secret, Field(description="The one that `serve` printed.")]
    email: Email
    password: Annotated[Password, Field(description=f"At least {passwords.SHORTEST} characters.")]
    name: Name | None = None


class SessionBody(Body):
    """Who logs in."""

    email: Email
    password: Password
    tenant: Annotated[Id | None, Field(description="Where the address is known in several.")] = None


class InvitationBody(Body):
    """An invitation, and the password that is to be one's own."""

    invitation: Secret
    password: Annotated[Password, Field(description=f"At least {passwords.SHORTEST} characters.")]


class PasswordBody(Body):
    """The password one has, and the one one wants."""

    current: Password
    new: Annotated[Password, Field(description=f"At least {passwords.SHORTEST} characters.")]


def routes(accounts: Accounts) -> APIRouter:
    """The routes by which people come in."""
    router = APIRouter(prefix="/api/v1", tags=["signing in"])
    _setup(router, accounts)
    _session(router, accounts)
    _oneself(router, accounts)
    return router


def _setup(router: APIRouter, accounts: Accounts) -> None:
    administration = accounts.administration

    @router.get("/setup", summary="Whether there is no owner yet")
    async def show_setup(_asked: Annotated[NoParameters, Query()]) -> Response:
        """What the link that `serve` prints leads to; its fragment is the token."""
        found = await founding.standing(administration.operator, accounts.data)
        return answer(SetupState(found == "new", _SETUP[found]))

    @router.post("/setup", summary="Make the first owner", status_code=201)
    async def set_up(body: SetupBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Once, with the token that `serve` printed, for 30 minutes. Turns `auth.enabled` on unless it is set."""
        if await founding.standing(administration.operator, accounts.data) == "lost":
            raise GatehouseError(errors.FORBIDDEN, founding.LOST)
        if not offers.offered(accounts.data, body.token.get_secret_value(), time.time()):
            detail = "the token is wrong or has expired; a new start of `serve` prints another, if there is no owner"
            raise GatehouseError(errors.UNAUTHORIZED, detail)
        hashed = await accounts.hashing.hash("password", body.password.get_secret_value())
        try:
            made = await founding.set_up(administration.operator, Owner(body.email, hashed, body.name))
        except Taken as error:
            offers.withdraw(accounts.data)
            raise GatehouseError(errors.FORBIDDEN, "there is an owner already; sign in") from error
        offers.mark(accounts.data)
        await administration.changed()
        return answer(SetUp(made.tenant, made.project, made.user, restart=not accounts.enabled), 201)


def _session(router: APIRouter, accounts: Accounts) -> None:
    administration = accounts.administration

    @router.get("/session", summary="Whether one is signed in, and how to")
    async def show_session(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        signed = caller_of(request).session is not None
        setup = not signed and await founding.standing(administration.operator, accounts.data) == "new"
        return answer(SessionState(signed, accounts.enabled, accounts.enabled and accounts.sso, setup))

    @router.post("/session", summary="Log in with a password", status_code=201)
    async def log_in(request: Request, body: SessionBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """The cookie is the session. Several wrong passwords, and one has to wait: 429."""
        accounts.check_enabled()
        origin = accounts.origins.check(request)
        address = caller_of(request).address
        found = await _known(accounts, body, address)
        who = Caller("user", found.tenant, found.user, found.user, found.role, address=address)
        me, secure, held = await _me(accounts, who), origin.startswith("https"), found.password_hash
        return await signed_in(accounts, request, who, "password", secure=secure, answered=me, held=held)

    @router.delete("/session", summary="Log out", status_code=204)
    async def log_out(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Whoever is not signed in is told the same."""
        caller = caller_of(request)
        if caller.session is not None:
            with contextlib.suppress(NotThere):
                event = caller.event("auth.logout", "session", caller.session)
                await administration.directory(caller).delete_session(caller.session, event)
            await administration.drained()
        response = done()
        cookies.put(response, cookies.gone(cookies.SESSION))
        return response

    @router.post("/invitation", summary="Take up an invitation", status_code=201)
    async def accept(request: Request, body: InvitationBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Sets one's password, and logs in. An invitation counts once, and for a week."""
        accounts.check_enabled()
        origin = accounts.origins.check(request)
        told = invitations.read(body.invitation.get_secret_value())
        taken = None if told is None else await _invited(accounts, told, body.password.get_secret_value())
        if taken is None:
            raise GatehouseError(errors.UNAUTHORIZED, "the invitation is wrong, has expired, or was taken up already")
        who, held = taken
        me, secure = await _me(accounts, who), origin.startswith("https")
        return await signed_in(accounts, request, who, "invitation", secure=secure, answered=me, held=held)


def _oneself(router: APIRouter, accounts: Accounts) -> None:
    @router.get("/me", summary="Who one is, and what one may")
    async def show_me(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        return answer(await _me(accounts, caller_of(request)))

    @router.put("/me/password", summary="Change one's password", status_code=201)
    async def change_password(
        request: Request, body: PasswordBody, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """Ends all of one's sessions but the one this answer begins, and one's platform tokens."""
        caller = caller_of(request)
        if caller.session is None or caller.user is None:
            raise GatehouseError(errors.FORBIDDEN, "a password is changed by whoever is signed in with a browser")
        origin = accounts.origins.check(request)
        accounts.attempt(caller.user, caller.address)
        directory = accounts.administration.directory(caller)
        held = await directory.password_hash(caller.user)
        if not await accounts.hashing.verify(held, body.current.get_secret_value()):
            await failed(accounts, caller.tenant, caller.user, "password")
            raise InputError(FieldError("current", "is not your password"))
        accounts.throttle.succeeded(caller.user, caller.address)
        hashed = await accounts.hashing.hash("new", body.new.get_secret_value())
        event = caller.event("user.password", "user", caller.user)
        try:
            await directory.update_user(caller.user, UserChange(password_hash=hashed), event, held=held)
        except Replaced as error:
            raise GatehouseError(errors.UNAUTHORIZED, REPLACED) from error
        me, secure = await _me(accounts, caller), origin.startswith("https")
        return await signed_in(accounts, request, caller, "password", secure=secure, answered=me, held=hashed)


async def _me(accounts: Accounts, who: Caller) -> Me:
    directory = accounts.administration.directory(who)
    tenant, user = None, None
    with contextlib.suppress(NotThere):
        tenant = (await directory.tenant()).name
    if who.user is not None:
        with contextlib.suppress(NotThere):
            user = await directory.user(who.user)
    email, name = (None, None) if user is None else (user.email, user.name)
    may = sorted(map(str, permissions(who.role) if who.kind == "user" else who.permissions))
    return Me(who.kind, who.id, who.tenant, tenant, who.user, email, name, who.role, may)


async def _known(accounts: Accounts, body: SessionBody, address: str) -> LogIn:
    """Who has this e-mail address and password. Raises `GatehouseError` (401, 429), `InputError`."""
    password = body.password.get_secret_value()
    accounts.attempt(body.email, address)
    known = await accounts.administration.operator.who_logs_in(body.email)
    asked = [each for each in known if body.tenant in (None, each.tenant)][:_TENANTS]
    right = [each for each in asked if await accounts.hashing.verify(each.password_hash, password)]
    if not asked:
        await accounts.hashing.verify(None, password)
    if not right:
        for tenant, user in [(each.tenant, each.user) for each in asked] or [(ids.DEFAULT, "")]:
            await failed(accounts, tenant, user, "password")
        raise GatehouseError(errors.UNAUTHORIZED, _WRONG)
    accounts.throttle.succeeded(body.email, address, alone=len(known) == 1)
    if len(right) > 1:
        names = ", ".join(each.tenant for each in right)
        raise InputError(FieldError("tenant", f"name one: the address is known in {names}"))
    return await _rehashed(accounts, right[0], password)


async def _rehashed(accounts: Accounts, who: LogIn, password: str) -> LogIn:
    """What is kept of a password is made anew where it was made with other parameters."""
    if who.password_hash is None or not passwords.needs_rehash(who.password_hash):
        return who
    if passwords.fault(password) is not None:
        return who  # One that could not be chosen today: its owner has it, and changes it when they like.
    hashed = await accounts.hashing.hash("password", password)
    event = own_event("user.password", "user", who.user, rehashed=True)
    directory = accounts.administration.tenant(who.tenant)
    try:
        await directory.update_user(who.user, UserChange(password_hash=hashed), event, held=who.password_hash)
    except Replaced as error:
        raise GatehouseError(errors.UNAUTHORIZED, REPLACED) from error
    return msgspec.structs.replace(who, password_hash=hashed)


async def _invited(accounts: Accounts, told: invitations.Presented, password: str) -> tuple[Caller, str] | None:
    """Who has taken up an invitation just now, and what is kept of the password; `None`: it does not count."""
    directory = accounts.administration.tenant(told.tenant)
    try:
        held, user = await directory.password_hash(told.user), await directory.user(told.user)
        shut = user.disabled or (await directory.tenant()).disabled
    except NotThere:
        return None
    if shut or not invitations.holds(held, told, int(time.time())):
        return None
    hashed = await accounts.hashing.hash("password", password)
    who = Caller("user", told.tenant, told.user, told.user, user.role)
    event = who.event("user.password", "user", told.user, invited=True)
    try:
        # Of two at once, the second finds the first one's password.
        await directory.update_user(told.user, UserChange(password_hash=hashed), event, held=held)
    except (NotThere, Replaced):
        return None
    return who, hashed
