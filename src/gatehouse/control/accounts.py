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
from gatehouse.store.directory.errors import NotThere

_AT_A_TIME: Final = 2
_WAITING: Final = 64
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
    """One per control process."""

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

    def needed(self) -> None:
        """Nobody signs in while auth is off. Raises `GatehouseError` (403)."""
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


async def signed_in(
    accounts: Accounts, request: Request, who: Caller, method: str, *, secure: bool, answered: msgspec.Struct | Response
) -> Response:
    """The answer to a log-in, with the cookie of a session that begins now. `who`: the user; `method`: how."""
    directory = accounts.administration.directory(who)
    before = caller_of(request)
    if before.session is not None:
        with contextlib.suppress(NotThere):
            ended = accounts.administration.directory(before)
            await ended.delete_session(before.session, before.event("auth.logout", "session", before.session))
    token, name = sessions.new_token(), ids.new("session")
    standing = sessions.begun(token, who.role or "", int(time.time()))
    new = NewSession(name, who.user or "", standing)
    await directory.create_session(new, who.event("auth.login", "session", name, method=method))
    await accounts.administration.drained()
    response = answered if isinstance(answered, Response) else answer(answered, 201)
    line = cookies.line(cookies.SESSION, token.text, secure=secure, seconds=sessions.ABSOLUTE)
    cookies.put(response, [line])
    return response
