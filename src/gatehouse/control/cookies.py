"""The cookies of the management API, and where a browser's request came from.

Rules: a session's cookie is `HttpOnly` and `SameSite=Strict`, and over https `Secure` under a `__Host-` name, which no
other host can set. Over https the plain name counts for nothing. A cookie that is there twice is none: nobody has to
guess which one was meant. What changes something needs an `Origin` that is ours: `server.public_url`, or the address
that the request itself came to, which a worker has checked and says in a header of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from gatehouse import errors
from gatehouse.config import control_headers
from gatehouse.errors import GatehouseError

SESSION: Final = "gatehouse_session"
SIGN_ON: Final = "gatehouse_sso"
_HOST: Final = "__Host-"
_PORTS: Final = {"http": 80, "https": 443}


class Origins:
    """Which origins are ours."""

    def __init__(self, public_url: str | None) -> None:
        """`public_url`: `server.public_url`."""
        self._public = public_url.rstrip("/") if public_url else None

    def base(self, request: HTTPConnection) -> str:
        """What our own addresses begin with, as browsers reach us. Raises `GatehouseError` where nobody knows."""
        base = self._public or request.headers.get(control_headers.BASE)
        if not base:
            raise GatehouseError(errors.BAD_REQUEST, "this is for browsers, which come through the gateway's own port")
        return base

    def over_https(self, request: HTTPConnection) -> bool:
        """Whether the browser speaks https: to us, or to the proxy in front by the name of `server.public_url`."""
        base = request.headers.get(control_headers.BASE) or ""
        if base.startswith("https:"):
            return True
        public = self._public or ""
        return public.startswith("https:") and urlsplit(public).hostname == urlsplit(base).hostname

    def cookie(self, request: HTTPConnection, name: str) -> tuple[str, bool] | None:
        """A cookie's value, and whether it is the `Secure` one; `None` if it is not there, or there twice."""
        found: dict[str, list[str]] = {}
        for told in request.headers.getlist("cookie"):
            for part in told.split(";"):
                key, _, value = part.strip().partition("=")
                found.setdefault(key, []).append(value)
        secure = found.get(_HOST + name, [])
        if secure:
            return (secure[0], True) if len(secure) == 1 else None
        plain = found.get(name, [])
        return (plain[0], False) if len(plain) == 1 and not self.over_https(request) else None

    def own(self, request: HTTPConnection) -> str | None:
        """The request's `Origin` if it is ours, else `None`."""
        told = request.headers.getlist("origin")
        if len(told) != 1:
            return None
        origin = _normal(told[0])
        ours = [_normal(each) for each in (self._public, request.headers.get(control_headers.BASE)) if each]
        return origin if origin is not None and origin in ours else None

    def check(self, request: HTTPConnection) -> str:
        """The request's `Origin`, which is ours. Raises `GatehouseError` (403)."""
        origin = self.own(request)
        if origin is None:
            detail = (
                "a browser's request needs an Origin that is the gateway's own; behind a proxy set server.public_url"
            )
            raise GatehouseError(errors.FORBIDDEN, detail)
        return origin


def line(name: str, value: str, *, secure: bool, seconds: int, cross_site: bool = False) -> str:
    """A `Set-Cookie` value; without `seconds` the cookie goes. `cross_site`: it comes along when another site sends
    the browser here, which a log-in's way back needs."""
    parts = [f"{_HOST if secure else ''}{name}={value}", "Path=/", "HttpOnly"]
    parts += [f"SameSite={'Lax' if cross_site else 'Strict'}", f"Max-Age={seconds}"]
    if secure:
        parts.append("Secure")
    return "; ".join(parts)


def gone(name: str) -> list[str]:
    """The cookie goes, by either of its names."""
    return [line(name, "", secure=secure, seconds=0) for secure in (False, True)]


def put(response: Response, lines: Iterable[str]) -> None:
    """The answer brings these along."""
    for each in lines:
        response.headers.append("set-cookie", each)


def _normal(origin: str) -> str | None:
    """Scheme, host and port as they are compared."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.hostname.lower()}:{port}"
