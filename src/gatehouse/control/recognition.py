"""Who stands behind a request: a session's cookie, a platform token, a gateway key with a role, or the local token.

Rules
- What was found out is asked of the directory anew each time: who was disabled a moment ago is nobody now.
- At most one credential counts. One in a header is meant, whatever cookies a browser adds; two different ones in
  headers are refused. Query strings hold none: they end up in logs.
- Without `auth.enabled` none counts but the local token, and whoever is on this machine may read.
- A session is judged by `auth.sessions`; whoever comes with a token that was replaced long ago ends it for both.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from starlette.requests import HTTPConnection

from gatehouse import errors
from gatehouse.auth import sessions
from gatehouse.auth.keys import digest, resembles
from gatehouse.auth.roles import Permission, granted, permissions
from gatehouse.config import control_headers
from gatehouse.config.addresses import is_loopback, networks, parsed, within
from gatehouse.control import cookies
from gatehouse.control.accounts import Accounts
from gatehouse.control.administration import own_event
from gatehouse.control.caller import Caller, caller_of
from gatehouse.errors import GatehouseError
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.errors import NotThere
from gatehouse.store.directory.views import Holder, Presented

SEEN_SECONDS: Final = 60
"""How exactly it is kept when a session was used last."""

LOCAL: Final = frozenset((Permission.TRACES_READ, Permission.ANALYTICS_READ, Permission.EXPORT_READ))
"""What whoever is on this machine may while auth is off: metadata of calls."""
_KEY_HEADERS: Final = ("x-api-key", "x-gatehouse-key", "x-ongoingai-gateway-key")
_BEARER: Final = "bearer"
_ELSEWHERE: Final = "the management API answers callers on this machine only; open it from there"
_SIGN_IN: Final = "this needs somebody signed in, a platform token or a gateway key with a role"


class Recognised(NamedTuple):
    """Who asks; `cookies` go with the answer, whatever it is."""

    caller: Caller
    cookies: Sequence[str] = ()


class Refused(Exception):
    """Nobody who may ask. `cookies` go with the refusal. `everywhere`: what anybody may do they may not either."""

    def __init__(self, error: GatehouseError, cookies: Sequence[str] = (), *, everywhere: bool = False) -> None:
        super().__init__(error.detail)
        self.error = error
        self.cookies = cookies
        self.everywhere = everywhere


class Recognition:
    """Finds out who asks; one per control process."""

    def __init__(self, accounts: Accounts | None) -> None:
        """Without accounts whoever is on this machine may read, and nobody else."""
        self._accounts = accounts

    async def of(self, request: HTTPConnection) -> Recognised:
        """Who asks. `nobody`: no credential. Raises `Refused`, `StoreError`."""
        address = peer(request)
        accounts = self._accounts
        if accounts is not None and control_headers.LOCAL_TOKEN in request.headers:
            return Recognised(_operator(request, accounts.local_token))
        if address is None:
            # Whoever comes to the socket past the workers.
            raise Refused(GatehouseError(errors.FORBIDDEN, _ELSEWHERE), everywhere=True)
        if accounts is None or not accounts.enabled:
            if is_loopback(address):
                return Recognised(Caller("local", permissions=LOCAL, address=address))
            return Recognised(Caller("nobody", address=address))
        told = _told(request)
        if told is not None:
            return Recognised(await self._by_header(accounts, told, address))
        cookie = accounts.origins.cookie(request, cookies.SESSION)
        if cookie is not None:
            return await self._by_cookie(accounts, *cookie, address)
        return Recognised(Caller("nobody", address=address))

    async def still(self, request: HTTPConnection) -> bool:
        """Whether the caller of a request that lasts may still what it might at the beginning. Raises `StoreError`."""
        caller = caller_of(request)
        if caller.session is None or self._accounts is None:
            try:
                return (await self.of(request)).caller.permissions == caller.permissions
            except Refused:
                return False
        # By its id: the cookie that began this may have been replaced since, and is not to be judged again.
        directory = self._accounts.administration.tenant(caller.tenant)
        try:
            await directory.session(caller.session)
            user, tenant = await directory.user(caller.user or ""), await directory.tenant()
        except NotThere:
            return False
        return user.role == caller.role and not (user.disabled or tenant.disabled)

    def stranger(self) -> GatehouseError:
        """Why nobody may not do this."""
        if self._accounts is None or not self._accounts.enabled:
            return GatehouseError(errors.FORBIDDEN, _ELSEWHERE)
        return GatehouseError(errors.UNAUTHORIZED, _SIGN_IN)

    async def _by_header(self, accounts: Accounts, told: str, address: str) -> Caller:
        now = times.now()
        if resembles(told.encode(errors="replace")):
            holder = await accounts.administration.operator.gateway_key(digest(told.encode()), now)
            if holder is None:
                raise Refused(GatehouseError(errors.UNAUTHORIZED, "this gateway key is not known, or no longer taken"))
            return _by_key(holder, address)
        try:
            token = accounts.tokens.verify(told, now / times.SECOND)
        except GatehouseError as error:
            raise Refused(error) from None
        holder = await accounts.administration.operator.platform_token(token.id, now)
        if holder is None or (holder.tenant, holder.user) != (token.tenant, token.user):
            raise Refused(GatehouseError(errors.UNAUTHORIZED, "the platform token was revoked, or its user is gone"))
        may = granted(holder.user_role, set(holder.scopes) & set(token.scopes))
        return Caller("token", holder.tenant, holder.id, holder.user, holder.user_role, may, address=address)

    async def _by_cookie(self, accounts: Accounts, text: str, secure: bool, address: str) -> Recognised:
        over = Refused(
            GatehouseError(errors.UNAUTHORIZED, "the session is over; sign in"), cookies.gone(cookies.SESSION)
        )
        key = sessions.digest_of(text)
        found = None if key is None else await accounts.administration.operator.session(key)
        if key is None or found is None:
            raise over
        holder, standing, now = found.holder, found.standing, int(time.time())
        rights = holder.user_role or ""
        who = holder.user
        may = permissions(rights)
        caller = Caller("user", holder.tenant, who, who, rights, may, session=holder.id, address=address)
        match sessions.judged(standing, key, rights, now):
            case "valid":
                if now >= standing.seen + SEEN_SECONDS:
                    await accounts.administration.tenant(holder.tenant).see_session(holder.id, now)
                return Recognised(caller)
            case "rotate":
                return Recognised(caller, await _rotated(accounts, found, secure, now))
            case "stolen":
                await _end(accounts, caller)
                raise over
            case _:
                raise over


def peer(request: HTTPConnection) -> str | None:
    """The caller's address, as the worker says, empty where it does not know. `None`: no worker sent the request."""
    told = request.headers.getlist(control_headers.PEER)
    return told[0].strip() if len(told) == 1 else None


def _told(request: HTTPConnection) -> str | None:
    """The one credential in the headers. Raises `Refused` for two."""
    found = {value: name for name in _KEY_HEADERS for value in request.headers.getlist(name)}
    for value in request.headers.getlist("authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() != _BEARER:
            raise Refused(GatehouseError(errors.UNAUTHORIZED, "the management API takes Authorization: Bearer only"))
        found[token.strip()] = "authorization"
    if len(found) > 1:
        detail = f"the request holds different credentials ({', '.join(found.values())}); send one"
        raise Refused(GatehouseError(errors.AMBIGUOUS_CREDENTIALS, detail))
    return next(iter(found), None)


def _operator(request: HTTPConnection, local_token: bytes) -> Caller:
    """Whoever may read the data directory, in the tenant that is named."""
    told = request.headers.getlist(control_headers.LOCAL_TOKEN)
    if len(told) != 1 or not hmac.compare_digest(told[0].encode(), local_token.hex().encode()):
        raise Refused(
            GatehouseError(errors.UNAUTHORIZED, "this is not the local token of the `serve` that runs"), everywhere=True
        )
    named = {*request.headers.getlist(control_headers.TENANT), *request.query_params.getlist("tenant")}
    tenant = named.pop() if len(named) == 1 else ids.DEFAULT
    if named or not ids.is_id("tenant", tenant):
        raise Refused(GatehouseError(errors.BAD_REQUEST, "tenant: names no tenant, or two; give the id of one"))
    return Caller("operator", tenant, permissions=frozenset(Permission))


def _by_key(holder: Holder, address: str) -> Caller:
    """Raises `Refused`."""
    if holder.role is None:
        detail = "this gateway key has no role: it opens the data plane, and nothing here"
        raise Refused(GatehouseError(errors.FORBIDDEN, detail))
    if holder.addresses and not within(parsed(address), networks(holder.addresses)):
        raise Refused(GatehouseError(errors.FORBIDDEN, "this gateway key may not be used from this address"))
    may = permissions(holder.role)
    if holder.user is not None:
        may &= permissions(holder.user_role)
    if holder.maker_role is not None:
        may &= permissions(holder.maker_role)
    return Caller("key", holder.tenant, holder.id, holder.user, holder.role, may, address=address)


async def _rotated(accounts: Accounts, found: Presented, secure: bool, now: int) -> list[str]:
    """The cookie with the session's next token; none where another request was faster."""
    token = sessions.new_token()
    holder = found.holder
    after = sessions.rotated(found.standing, token, holder.user_role or "", now)
    done = await accounts.administration.tenant(holder.tenant).rotate_session(holder.id, found.standing, after)
    seconds = after.began + sessions.ABSOLUTE - now
    return [cookies.line(cookies.SESSION, token.text, secure=secure, seconds=seconds)] if done else []


async def _end(accounts: Accounts, caller: Caller) -> None:
    """Somebody came with a token that had been replaced long before."""
    event = own_event("session.stolen", "session", caller.session or "", user=caller.user)
    try:
        await accounts.administration.tenant(caller.tenant).delete_session(caller.session or "", event)
    except NotThere:
        return
    await accounts.administration.drained()
