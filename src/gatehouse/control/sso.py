"""`/api/v1/sso`: signing in by OpenID Connect, in a browser or, through a loopback redirect, for `gatehouse login`.

Rules
- A log-in belongs to the browser it began in: its state is bound to a cookie, counts once, and for ten minutes.
- People are known by (issuer, subject) and never by e-mail. Somebody new becomes a user if a role follows from their
  claims. Whoever is a user already links themselves, signed in.
- The role follows from the claims at each log-in; without one nobody comes in. The only owner keeps theirs.
- A program gets a code on a loopback address, and for the code, with its PKCE verifier, a platform token (RFC 8252).
- What is under way is kept in memory, within a bound: a restart of control makes people begin again.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth.roles import permissions
from gatehouse.auth.throttle import source
from gatehouse.config.settings import Sso
from gatehouse.control import cookies, oidc
from gatehouse.control.accounts import Accounts, failed, signed_in, still_signed_in
from gatehouse.control.administration import own_event
from gatehouse.control.answers import Answers, FieldError, InputError, answer
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.entrance import Secret, email_address
from gatehouse.control.issued import USUAL, Seconds, TokenBody, TokenMade, issue, scopes_of
from gatehouse.control.oidc import Attempt, Person, Provider, SignOnError
from gatehouse.control.parameters import Body, NoParameters, once
from gatehouse.errors import GatehouseError
from gatehouse.model.access import Role
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewUser, UserChange
from gatehouse.store.directory.errors import InUse, NotThere, Taken
from gatehouse.store.directory.views import User

PATIENCE_SECONDS: Final = 600
"""Somebody has to find their second factor."""
CODE_SECONDS: Final = 60
UNDER_WAY: Final = 4096
"""Log-ins; beyond, the oldest is forgotten."""
EACH: Final = 256
"""Of them, begun from one address: an office has one."""
_LOOPBACK: Final = r"^http://(127\.0\.0\.1|\[::1\]):[0-9]{1,5}/[A-Za-z0-9/_-]{0,64}$"
_OWN_PATH: Final = r"^/([!-.0-\[\]-~][!-\[\]-~]*)?$"
"""Not `//host`, nor a backslash, which browsers take for a slash."""
_CALLBACK: Final = "/api/v1/sso/callback"
_T = TypeVar("_T")


class Address(msgspec.Struct, frozen=True):
    """Where the browser is to go."""

    location: str


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/sso/start"): (302, None),
    ("GET", "/api/v1/sso/callback"): (303, None),
    ("POST", "/api/v1/sso/token"): (201, TokenMade),
    ("POST", "/api/v1/sso/link"): (201, Address),
}


class StartParameters(BaseModel):
    """Where to go on afterwards: to a page of ours, or, for a program, to its loopback address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    next: Annotated[str, Field(max_length=512, pattern=_OWN_PATH, description="Path of a page of ours.")] = "/"
    redirect: Annotated[
        str | None, Field(pattern=_LOOPBACK, description="Loopback address of a program, which gets a `code`.")
    ] = None
    challenge: Annotated[
        str | None, Field(pattern="^[A-Za-z0-9_-]{43}$", description="The program's PKCE challenge, S256.")
    ] = None
    state: Annotated[str, Field(max_length=128, pattern="^[A-Za-z0-9_-]*$", description="Goes back as it is.")] = ""


class CallbackParameters(BaseModel):
    """What the provider sends the browser back with."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: Annotated[str, Field(max_length=128)] = ""
    code: Annotated[str | None, Field(max_length=4096)] = None
    iss: Annotated[str | None, Field(max_length=512)] = None
    error: Annotated[str | None, Field(max_length=128)] = None


class CodeBody(Body):
    """What a program got on its loopback address, and what it made the challenge of."""

    code: Secret
    verifier: Secret
    role: Role | None = None
    ttl_seconds: Seconds = USUAL


@dataclass(frozen=True)
class _Begun:
    """A log-in that is under way."""

    attempt: Attempt
    browser: bytes = field(repr=False)
    """SHA-256 of the cookie."""
    asked: StartParameters
    link: Caller | None = None
    """Who is to be linked."""


class _Granted(NamedTuple):
    """What a program's code stands for."""

    who: Caller
    challenge: str


class _Pending(Generic[_T]):
    """What counts once, and for a while. Anybody may begin a log-in: beginning many crowds out only one's own."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[bytes, tuple[float, bytes, _T]] = {}

    def put(self, value: _T, address: str) -> str:
        name, whose = secrets.token_urlsafe(32), source(address)
        theirs = [each for each, (_, who, _) in self._kept.items() if who == whose]
        if len(theirs) >= EACH:
            del self._kept[theirs[0]]
        elif len(self._kept) >= UNDER_WAY:
            del self._kept[next(iter(self._kept))]
        self._kept[_digest(name)] = time.monotonic() + self._seconds, whose, value
        return name

    def take(self, name: str) -> _T | None:
        until, _, value = self._kept.pop(_digest(name), (0.0, b"", None))
        return value if time.monotonic() < until else None


class SingleSignOn:
    """One provider for one tenant."""

    def __init__(self, accounts: Accounts, settings: Sso, provider: Provider) -> None:
        self._accounts = accounts
        self._settings = settings
        self._provider = provider
        self._begun: _Pending[_Begun] = _Pending(PATIENCE_SECONDS)
        self._codes: _Pending[_Granted] = _Pending(CODE_SECONDS)

    @property
    def tenant(self) -> str:
        """Whose people come in by it."""
        return self._settings.tenant

    async def begin(self, request: Request, asked: StartParameters, link: Caller | None = None) -> tuple[str, str]:
        """Where the browser goes to, and the cookie it takes along. Raises `GatehouseError`."""
        self._accounts.check_enabled()
        base = self._accounts.origins.base(request)
        browser = secrets.token_urlsafe(32)
        attempt = oidc.attempt(base + _CALLBACK)
        state = self._begun.put(_Begun(attempt, _digest(browser), asked, link), caller_of(request).address)
        secure = base.startswith("https:")
        line = cookies.line(cookies.SIGN_ON, browser, secure=secure, seconds=PATIENCE_SECONDS, cross_site=True)
        try:
            return await self._provider.address(attempt, state), line
        except SignOnError as error:
            raise _worded(error) from error

    async def end(self, request: Request, asked: CallbackParameters) -> Response:
        """The browser is back. Raises `GatehouseError`."""
        begun = self._begun.take(asked.state)
        told = self._accounts.origins.cookie(request, cookies.SIGN_ON)
        if begun is None or told is None or not hmac.compare_digest(_digest(told[0]), begun.browser):
            raise GatehouseError(errors.BAD_REQUEST, "this log-in did not begin in this browser, or took too long")
        try:
            who = await self._come_back(request, begun, asked)
        except GatehouseError as error:
            if begun.asked.redirect is None:
                raise
            # A program waits there, and would go on waiting (RFC 6749, 4.1.2.1).
            refused = {"error": "access_denied", "error_description": error.detail, "state": begun.asked.state}
            return _redirect(f"{begun.asked.redirect}?{urlencode(refused)}", cookies.gone(cookies.SIGN_ON))
        if begun.asked.redirect is not None:
            code = self._codes.put(_Granted(who, begun.asked.challenge or ""), caller_of(request).address)
            query = urlencode({"code": code, "state": begun.asked.state})
            return _redirect(f"{begun.asked.redirect}?{query}", cookies.gone(cookies.SIGN_ON))
        secure = begun.attempt.redirect_uri.startswith("https:")
        response = _redirect(begun.asked.next, cookies.gone(cookies.SIGN_ON))
        return await signed_in(self._accounts, request, who, "sso", secure=secure, answered=response)

    async def _come_back(self, request: Request, begun: _Begun, asked: CallbackParameters) -> Caller:
        """Who came back from the provider. Raises `GatehouseError`."""
        if asked.code is None:
            said = "the provider refused" if asked.error else "the provider sent no code"
            raise GatehouseError(errors.FORBIDDEN, f"nobody was signed in: {said}; begin again")
        address = caller_of(request).address
        # Anybody may come back with a code that is none, and each is asked of the provider and stands in the journal.
        self._accounts.attempt(asked.state, address)
        try:
            person = await self._provider.person(begun.attempt, asked.code, asked.iss)
        except SignOnError as error:
            await failed(self._accounts, self.tenant, "", "sso")
            raise _worded(error) from error
        who = await self._known(person, begun.link, address)
        self._accounts.throttle.succeeded(asked.state, address)
        return who

    async def redeem(self, body: CodeBody, address: str) -> TokenMade:
        """A program's token for its code. Raises `GatehouseError`."""
        granted = self._codes.take(body.code.get_secret_value())
        proof = oidc.challenge(body.verifier.get_secret_value())
        if granted is None or not hmac.compare_digest(granted.challenge, proof):
            raise GatehouseError(errors.UNAUTHORIZED, "the code is wrong, was used, or is older than a minute")
        who = replace(granted.who, address=address)
        wanted = TokenBody(role=body.role, ttl_seconds=body.ttl_seconds)
        return await issue(self._accounts, who, who.user or "", scopes_of(who.role or "", wanted), body.ttl_seconds)

    async def _known(self, person: Person, link: Caller | None, address: str) -> Caller:
        """The user this person is, or becomes. Raises `GatehouseError` (403)."""
        known = await self._accounts.administration.tenant(self.tenant).user_linked(person.issuer, person.subject)
        try:
            user = await self._admitted(person, known, link)
        except (Taken, NotThere, GatehouseError) as error:
            await failed(self._accounts, self.tenant, "" if known is None else known.id, "sso")
            if isinstance(error, GatehouseError):
                raise
            raise GatehouseError(errors.FORBIDDEN, _refusal(error)) from error
        may = permissions(user.role)
        return Caller("user", self.tenant, user.id, user.id, user.role, may, address=address)

    async def _admitted(self, person: Person, known: User | None, link: Caller | None) -> User:
        """Raises `GatehouseError` (403), `Taken`, `NotThere`."""
        if known is not None and known.disabled:
            raise GatehouseError(errors.FORBIDDEN, "your account is disabled")
        if link is not None:
            return await self._linked(person, link, known)
        role = self._role(person)
        return await self._made(person, role) if known is None else await self._renewed(known, role)

    def _role(self, person: Person) -> str | None:
        held = frozenset(person.roles)
        return next((row.role for row in self._settings.roles if row.value in held), self._settings.default_role)

    async def _made(self, person: Person, role: str | None) -> User:
        """Raises `Taken`."""
        if role is None:
            detail = "no role here follows from what your sign-on provider says of you"
            raise GatehouseError(errors.FORBIDDEN, f"{detail}; sso.roles and sso.default_role give one")
        try:
            email = email_address(person.email or "")
        except ValueError:
            detail = "your sign-on provider names no e-mail address; sso.scopes should hold email"
            raise GatehouseError(errors.FORBIDDEN, detail) from None
        name = ids.new("user")
        new = NewUser(name, email, role, name=person.name, issuer=person.issuer, subject=person.subject)
        event = own_event("user.create", "user", name, role=role, sso=True)
        made = await self._accounts.administration.tenant(self.tenant).create_user(new, event)
        await self._accounts.administration.changed()
        return made

    async def _renewed(self, user: User, role: str | None) -> User:
        """With the role that follows today."""
        if role is None:
            raise GatehouseError(errors.FORBIDDEN, "no role here follows any more from what your provider says of you")
        if role == user.role:
            return user
        directory = self._accounts.administration.tenant(self.tenant)
        with contextlib.suppress(InUse):
            event = own_event("user.update", "user", user.id, role=role, sso=True)
            user = await directory.update_user(user.id, UserChange(role=role), event)
            await self._accounts.administration.revoked()
        return user

    async def _linked(self, person: Person, link: Caller, known: User | None) -> User:
        """Raises `Taken`, `NotThere`."""
        if known is not None and known.id == link.user:
            return known
        directory = self._accounts.administration.directory(link)
        event = link.event("user.link", "user", link.user or "")
        change = UserChange(issuer=person.issuer, subject=person.subject)
        async with directory.together() as inside:
            changed = await inside.update_user(link.user or "", change, event)
            await still_signed_in(inside, link)
        await self._accounts.administration.drained()
        return changed


def routes(sso: SingleSignOn | None) -> APIRouter:
    """The routes. Without a provider they say so."""
    router = APIRouter(prefix="/api/v1/sso", tags=["signing in"])

    @router.get("/start", summary="Sign in by the tenant's provider", status_code=302)
    async def start_sign_on(request: Request, asked: Annotated[StartParameters, Query()]) -> Response:
        """Sends the browser there; it comes back to `/api/v1/sso/callback`."""
        once(request)
        if (asked.redirect is None) != (asked.challenge is None):
            raise InputError(FieldError("challenge", "goes with redirect, and redirect with it"))
        location, line = await _there(sso).begin(request, asked)
        return _redirect(location, [line], 302)

    @router.get("/callback", summary="Back from the provider", status_code=303)
    async def end_sign_on(request: Request, asked: Annotated[CallbackParameters, Query()]) -> Response:
        once(request)
        return await _there(sso).end(request, asked)

    @router.post("/token", summary="A program's platform token", status_code=201)
    async def redeem_code(request: Request, body: CodeBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """For the code that came to its loopback address. Counts once, and for a minute."""
        return answer(await _there(sso).redeem(body, caller_of(request).address), 201)

    @router.post("/link", summary="Link oneself to one's account at the provider", status_code=201)
    async def link_oneself(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        """The page goes to `location` then; from then on one can sign in there."""
        caller = caller_of(request)
        if caller.session is None or caller.tenant != _there(sso).tenant:
            detail = "one links oneself, signed in with a browser, in the tenant that sso.tenant names"
            raise GatehouseError(errors.FORBIDDEN, detail)
        location, line = await _there(sso).begin(request, StartParameters(), caller)
        response = answer(Address(location), 201)
        cookies.put(response, [line])
        return response

    return router


def _there(sso: SingleSignOn | None) -> SingleSignOn:
    if sso is None:
        raise GatehouseError(errors.NOT_FOUND, "no sign-on provider is configured (sso.issuer)")
    return sso


def _redirect(location: str, lines: list[str], status: int = 303) -> Response:
    headers = {"location": location, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    response = Response(status_code=status, headers=headers)
    cookies.put(response, lines)
    return response


def _worded(error: SignOnError) -> GatehouseError:
    return GatehouseError(errors.UPSTREAM_ERROR if error.ours else errors.FORBIDDEN, str(error))


def _refusal(error: Exception) -> str:
    if isinstance(error, Taken):
        # By e-mail nobody is recognised: who owns the address elsewhere need not be who has the account here.
        return "there is an account with your e-mail address, or another linked to you: sign in there, and link it"
    return "your account is gone"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
