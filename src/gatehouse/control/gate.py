"""The gate of the management API: nothing behind it runs for a caller who may not.

Rules
- The socket is reached through the workers, which alone say the caller's address, or with the local token; anybody
  else on it is refused.
- Decided on `scope["path"]`, never on a URL built from `Host`, by the one table (`permissions`). What has no row is not
  there.
- A session changes something only from a page of ours (`Origin`).
- What the gate found out stands in the scope: `gatehouse.caller`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatehouse import errors
from gatehouse.auth.roles import Permission
from gatehouse.control.answers import NOTHING_HERE, RETRY_SECONDS, refuse
from gatehouse.control.caller import SCOPE, Caller, denied
from gatehouse.control.cookies import Origins
from gatehouse.control.permissions import House, Own, Rule, Rules
from gatehouse.control.recognition import Recognised, Recognition, Refused, peer
from gatehouse.errors import GatehouseError
from gatehouse.store.directory import ids
from gatehouse.store.engine import StoreError

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLIC_BYTES: Final = 16 * 1024
"""Of a body that nobody known sends: a few short texts to sign in with. To read megabytes holds everybody else up."""


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, recognition: Recognition, origins: Origins, rules: Rules) -> None:
        self._app = app
        self._recognition = recognition
        self._origins = origins
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            recognised = await self._passed(scope)
        except Refused as refused:
            error = refused.error
            answer = refuse(error.kind, error.detail, retry_after=error.retry_after)
            if error.kind is errors.METHOD_NOT_ALLOWED:
                answer.headers["allow"] = ", ".join(sorted(self._rules.of(scope["path"])))
            await answer(scope, receive, _with(send, refused.cookies))
        except StoreError as error:
            detail = f"the directory cannot be read now: {error}"
            await refuse(errors.OVERLOADED, detail, retry_after=RETRY_SECONDS)(scope, receive, send)
        else:
            scope[SCOPE] = recognised.caller
            await self._app(scope, receive, _with(send, recognised.cookies))

    async def _passed(self, scope: Scope) -> Recognised:
        """Who may pass. Raises `Refused`, `StoreError`."""
        request = HTTPConnection(scope)
        method = scope["method"]
        rules = self._rules.of(scope["path"])
        public = rules.get(method) == "public"
        try:
            recognised = await self._recognition.of(request)
        except Refused as refused:
            if not public or refused.everywhere:
                raise
            # Whose session is over wants to sign in.
            recognised = Recognised(Caller("nobody", address=peer(request) or ""), refused.cookies)
        try:
            caller = self._judged(request, method, rules, recognised.caller)
        except GatehouseError as error:
            raise Refused(error, recognised.cookies) from None
        if caller.kind == "operator":
            _without_tenant(scope)
        return Recognised(caller, recognised.cookies)

    def _judged(self, request: HTTPConnection, method: str, rules: Mapping[str, Rule], caller: Caller) -> Caller:
        """The caller, narrowed to its own where it may see no more. Raises `GatehouseError`."""
        if caller.kind == "nobody" and rules.get(method) != "public":
            raise self._recognition.stranger()
        if method not in rules:
            raise _nothing_here(method, rules)
        if caller.kind == "nobody" and int(request.headers.get("content-length", "0")) > _PUBLIC_BYTES:
            raise GatehouseError(errors.TOO_LARGE, f"a body for this path has at most {_PUBLIC_BYTES} bytes")
        by_page = caller.session is not None or (caller.kind == "nobody" and "origin" in request.headers)
        if method not in SAFE and by_page:
            self._origins.check(request)
        return _allowed(caller, rules[method])


def oversees(caller: Caller) -> bool:
    """Whether it may know of the gateway as a whole."""
    return _of_the_house(caller, Permission.ANALYTICS_READ)


def _allowed(caller: Caller, rule: Rule) -> Caller:
    """Raises `GatehouseError` (403)."""
    match rule:
        case "public":
            return caller
        case "caller" if caller.kind != "nobody":
            return caller
        case "operator" if caller.kind == "operator":
            return caller
        case House(permission) if _of_the_house(caller, permission):
            return caller
        case Own(everything, own):
            if caller.may(everything):
                return caller
            if caller.may(own):
                return _narrowed(caller)
            raise denied(caller, everything, own)
        case Permission() if caller.may(rule):
            return caller
        case Permission():
            raise denied(caller, rule)
        case _:
            detail = "this is for whoever operates the gateway: use the `gatehouse` command where it runs"
            raise GatehouseError(errors.FORBIDDEN, detail)


def _narrowed(caller: Caller) -> Caller:
    if caller.user is not None:
        return replace(caller, only_user=caller.user)
    return replace(caller, only_key=caller.id)


def _of_the_house(caller: Caller, permission: Permission) -> bool:
    return caller.kind == "operator" or (caller.tenant == ids.DEFAULT and caller.may(permission))


def _nothing_here(method: str, rules: Mapping[str, Rule]) -> GatehouseError:
    if rules:
        return GatehouseError(errors.METHOD_NOT_ALLOWED, f"{method} is not possible here")
    return GatehouseError(errors.NOT_FOUND, NOTHING_HERE)


def _without_tenant(scope: Scope) -> None:
    """The operator's `tenant` is not a route's parameter."""
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in given if name != "tenant"]
    if len(kept) != len(given):
        scope["query_string"] = urlencode(kept).encode()


def _with(send: Send, cookies: Sequence[str]) -> Send:
    """The answer with these cookies, unless it sets some itself."""
    if not cookies:
        return send

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Any = MutableHeaders(scope=message)
            if "set-cookie" not in headers:
                for cookie in cookies:
                    headers.append("set-cookie", cookie)
        await send(message)

    return sending
