"""What signing in takes besides the directory: passwords off the loop, patience with guesses, and cookies that begin.

Rules: a password is hashed and compared on a thread, a few at a time (80 ms and 64 MiB each); when too many wait, the
answer is 503. A log-in begins a session with a token nobody had before, and ends the one the browser came with.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth import passwords, sessions
from gatehouse.auth.invitations import is_invitation
from gatehouse.auth.platform import PlatformTokens
from gatehouse.auth.throttle import Throttle
from gatehouse.config.paths import DataDir
from gatehouse.control import cookies
from gatehouse.control.administration import Administration, own_event
from gatehouse.control.answers import FieldError, InputError, answer
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.cookies import Origins
from gatehouse.errors import GatehouseError
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewSession
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.errors import NotThere

_AT_A_TIME: Final = 2
_WAITING: Final = 64
REPLACED: Final = "the password was replaced meanwhile; sign in with the new one, or take up the invitation"
_T = TypeVar("_T")


class Hashing:
    """Passwords, on threads."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._waiting = 0

    async def hash(self, field: str, password: str) -> str:
        """What is kept of it. Raises `InputError` for one that cannot be somebody's."""
        fault = passwords.fault(password)
        if fault is not None:
            raise InputError(FieldError(field, fault))
        return await self._turn(lambda: passwords.hash(password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether this is the password. Nobody's takes as long."""
        kept = None if is_invitation(hashed) else hashed
        return await self._turn(lambda: passwords.verify(kept, password))

    async def _turn(self, work: Callable[[], _T]) -> _T:
        if self._waiting >= _WAITING:
            raise GatehouseError(errors.OVERLOADED, "too many log-ins wait", retry_after=2)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


@dataclass(frozen=True)
class Accounts:
    """What the routes of signing in share; one per control process."""

    administration: Administration
    data: DataDir
    tokens: PlatformTokens
    origins: Origins
    local_token: bytes = field(repr=False)
    """Whoever has it may read the data directory."""
    enabled: bool
    """`auth.enabled`."""
    sso: bool = False
    """Whether people can sign in by `sso`."""
    hashing: Hashing = field(default_factory=Hashing)
    throttle: Throttle = field(default_factory=Throttle)
    clock: Callable[[], float] = time.monotonic
    """What patience is measured by, seconds."""

    def check_enabled(self) -> None:
        """Raises `GatehouseError` (403) while auth is off: nobody signs in then."""
        if not self.enabled:
            detail = "accounts need auth.enabled: once there is an owner, it is on from the next start of `serve`"
            raise GatehouseError(errors.FORBIDDEN, detail)

    def attempt(self, account: str, address: str) -> None:
        """One more guess. Raises `GatehouseError` (429) where it is too soon."""
        wait = self.throttle.begin(account, address, self.clock())
        if wait:
            detail = f"too many attempts to sign in; try again in {wait} s"
            raise GatehouseError(errors.RATE_LIMITED, detail, retry_after=wait)


async def failed(accounts: Accounts, tenant: str, user: str, method: str) -> None:
    """On record: somebody tried to sign in and did not. `user`: the id, empty if it is nobody's."""
    event = own_event("auth.failed", "user", user, method=method)
    with contextlib.suppress(NotThere):
        await accounts.administration.tenant(tenant).record(event)
    await accounts.administration.drained()


async def check_reach(caller: Caller, directory: Directory, name: str) -> None:
    """Nobody touches a user who may more than they. Raises `NotThere`; `GatehouseError` (403)."""
    role = (await directory.user(name)).role
    if not caller.may_give(role):
        raise GatehouseError(errors.FORBIDDEN, f"user {name} has the role {role}, which may do more than you")


async def still_signed_in(inside: Directory, caller: Caller) -> None:
    """In a transaction that has changed something, so that nothing comes in between: whose session was ended meanwhile
    leaves nothing behind that lasts longer. Raises `GatehouseError` (401)."""
    if caller.session is not None:
        try:
            await inside.session(caller.session)
        except NotThere as error:
            raise GatehouseError(errors.UNAUTHORIZED, "the session is over; sign in and begin again") from error


async def signed_in(
    accounts: Accounts,
    request: Request,
    who: Caller,
    method: str,
    *,
    secure: bool,
    answered: msgspec.Struct | Response,
    held: str | None = None,
) -> Response:
    """The answer to a log-in, with the cookie of a session that begins now. `who`: the user; `method`: how. `held`:
    what the password was held against. Raises `GatehouseError` (401) where that was replaced meanwhile."""
    directory = accounts.administration.directory(who)
    before = caller_of(request)
    if before.session is not None:
        with contextlib.suppress(NotThere):
            ended = accounts.administration.directory(before)
            await ended.delete_session(before.session, before.event("auth.logout", "session", before.session))
    token, name = sessions.new_token(), ids.new("session")
    standing = sessions.begun(token, who.role or "", int(time.time()))
    new = NewSession(name, who.user or "", standing)
    async with directory.together() as inside:
        await inside.create_session(new, who.event("auth.login", "session", name, method=method))
        # From the first change on nobody else's comes in between: whose password goes now ends this session, too.
        if held is not None and await inside.password_hash(new.user) != held:
            raise GatehouseError(errors.UNAUTHORIZED, REPLACED)
    await accounts.administration.drained()
    response = answered if isinstance(answered, Response) else answer(answered, 201)
    line = cookies.line(cookies.SESSION, token.text, secure=secure, seconds=sessions.ABSOLUTE)
    cookies.put(response, [line])
    return response
